-- Whose requests a reservation is for, where the limits of its source are told apart by a value. What an older format left is
-- nobody's: it counts for the source and for all sources together.
ALTER TABLE reservation ADD COLUMN value TEXT;
