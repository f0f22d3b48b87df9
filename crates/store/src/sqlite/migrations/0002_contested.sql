-- When an item's object was found gone that had been filled within a day before: instants as JSON, oldest first. NULL, as
-- for nearly all items: never.
ALTER TABLE item ADD COLUMN losses TEXT;
