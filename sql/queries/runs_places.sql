-- Where a report's runs up to :due_at were published, the newest first: what lies beyond those to be kept may go, but for
-- pages that a message speaks of or takes along which is not sent yet (a long key goes by its hash: those by their file).
WITH waiting AS MATERIALIZED (
    SELECT h.notification_bk AS key, s.attachment
    FROM capacity_alerting.outbox o
    JOIN capacity_alerting.notification_h h ON h.notification_hk = o.notification_hk
    JOIN capacity_alerting.notification_s s ON s.notification_hk = o.notification_hk AND s.load_end_date IS NULL
    WHERE s.kind = 'REPORT')
SELECT r.place,
       EXISTS (SELECT FROM waiting w
               WHERE starts_with(w.key, r.key || '|') OR w.attachment LIKE '%/' || r.place || '/index.html') AS is_awaited
FROM capacity_reporting.report_run r
WHERE r.report_hk = capacity_ops.hash_key(CAST(:report AS text) || '|' || CAST(:target AS text))
  AND r.place IS NOT NULL AND r.due_at <= CAST(:due_at AS timestamptz)
ORDER BY r.due_at DESC;
