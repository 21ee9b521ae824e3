-- How an attempt at delivering ended, and what follows from it: SENT, FAILED (another follows) or DEAD.
SELECT capacity_alerting.settle_notification(p_notification_hk => decode(:notification_hk, 'hex'), p_sender => :sender, p_outcome => :outcome,
           p_error => :error, p_duration_ms => :duration_ms, p_retry_after_seconds => CAST(:retry_after AS integer)) AS outcome;
