-- A lease says of which gaps the staged objects were being published, and not only that something was: after a kill these
-- are believed, and what else the same command put into the lake is not. Of a lease that a format 1 left nothing is
-- known, so none of its objects is believed.

ALTER TABLE lease DROP COLUMN publishing;
-- As `gaps`; empty before publishing begins.
ALTER TABLE lease ADD COLUMN staged BLOB NOT NULL DEFAULT x'';
