-- For reports, dry runs and whoever only looks: an analysis that may not write shows its numbers and records none of them.
SET TRANSACTION READ ONLY;
