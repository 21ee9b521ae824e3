-- Where a report's runs up to :due_at were published, the newest first: what lies beyond those to be kept may go.
SELECT r.place
FROM capacity_reporting.report_run r
WHERE r.report_hk = capacity_ops.hash_key(CAST(:report AS text) || '|' || CAST(:target AS text))
  AND r.place IS NOT NULL AND r.due_at <= CAST(:due_at AS timestamptz)
ORDER BY r.due_at DESC;
