-- The run before this one that came to a verdict: what "changed since the last report" is measured against.
SELECT r.due_at, r.state, r.headline
FROM capacity_reporting.report_run r
WHERE r.report_hk = capacity_ops.hash_key(CAST(:report AS text) || '|' || CAST(:target AS text))
  AND r.due_at < CAST(:due_at AS timestamptz) AND r.is_over AND r.state <> 'failed'
ORDER BY r.due_at DESC
LIMIT 1;
