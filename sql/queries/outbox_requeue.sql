-- Send again: the notification under :key, or with NULL every dead letter, in the order in which they were queued.
SELECT count(*) FILTER (WHERE capacity_alerting.requeue_notification(n.notification_hk)) AS requeued, count(*) AS found
FROM (SELECT notification_hk FROM capacity_alerting.notification
      WHERE key = CAST(:key AS text) OR (CAST(:key AS text) IS NULL AND state = 'DEAD')
      ORDER BY queued_at, kind = 'RESOLUTION') n;
