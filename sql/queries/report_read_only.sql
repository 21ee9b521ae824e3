-- A report looks and changes nothing: an analysis that may not write shows its numbers and records none of them.
SET TRANSACTION READ ONLY;
