-- Whom was told of an alert, and what became of that, oldest first.
SELECT n.key, n.kind, n.channel, n.contact, n.severity, n.subject, n.state, n.attempts, n.queued_at, n.sent_at, n.last_error, l.is_cause
FROM capacity_alerting.notification_alert_l l
JOIN capacity_alerting.notification n ON n.notification_hk = l.notification_hk
WHERE l.alert_hk = decode(:alert, 'hex')
ORDER BY n.queued_at, n.kind, n.channel, n.contact;
