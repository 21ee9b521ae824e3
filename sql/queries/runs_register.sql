-- Make the scheduled reports known (:reports as JSON) at :now, and learn since when each of them can have been missed.
SELECT name, target, since
FROM capacity_reporting.register_reports(CAST(:reports AS jsonb), CAST(:now AS timestamptz));
