-- Keep every other host from a run until this transaction ends; false where one has it already.
SELECT capacity_reporting.hold_run(:report, :target, CAST(:due_at AS timestamptz)) AS is_held;
