-- Until when a lease holds: on the boot that it names by boottime, on any other by the wall clock. Of those that an older
-- format left nothing is known, so they have expired long ago.
ALTER TABLE lease ADD COLUMN boot_id TEXT NOT NULL DEFAULT '';
ALTER TABLE lease ADD COLUMN until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lease ADD COLUMN until_wall INTEGER NOT NULL DEFAULT 0;
