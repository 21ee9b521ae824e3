-- What became of each scheduled report, for what is due and for capacity schedule list: its last run up to :now, and
-- those of the last week that are not over. Runs from ahead of :now belong to a clock that was set back, and do not count.
SELECT s.name, s.target, r.due_at, r.is_over, r.attempts, r.state, r.headline, r.ended_at, r.next_at, r.cut_off, r.is_newest
FROM capacity_reporting.report_s s
CROSS JOIN LATERAL (
    SELECT l.due_at, v.is_over, v.attempts, v.state, v.headline, v.ended_at, v.next_at,
           v.attempts - (SELECT count(*) FROM capacity_reporting.report_run_s a WHERE a.report_run_hk = v.report_run_hk AND a.phase = 'ENDED') AS cut_off,
           row_number() OVER (ORDER BY l.due_at DESC) = 1 AS is_newest
    FROM capacity_reporting.report_run_l l
    JOIN capacity_reporting.report_run v ON v.report_run_hk = l.report_run_hk
    WHERE l.report_hk = s.report_hk AND l.due_at <= CAST(:now AS timestamptz) AND l.due_at > CAST(:now AS timestamptz) - interval '400 days') r
WHERE s.load_end_date IS NULL AND (r.is_newest OR (NOT r.is_over AND r.due_at > CAST(:now AS timestamptz) - interval '7 days'))
ORDER BY s.name, s.target, r.due_at;
