-- What has not reached anybody: what waits in the outbox, and the dead letters, the oldest first.
SELECT n.key, n.kind, n.channel, n.contact, n.severity, n.subject, n.state, n.attempts, n.due_at, n.last_attempt_at, n.last_error, n.queued_at
FROM capacity_alerting.notification n
WHERE n.state IN ('PENDING', 'DEAD')
ORDER BY n.state = 'PENDING', n.queued_at, n.key;
