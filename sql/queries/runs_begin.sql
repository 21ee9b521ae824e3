-- Record that an attempt at a run begins, before it does: no row where none is to be made.
SELECT attempt, cut_off
FROM capacity_reporting.begin_run(:report, :target, CAST(:due_at AS timestamptz), :host);
