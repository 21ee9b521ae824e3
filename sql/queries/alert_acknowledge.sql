-- Somebody is at it: the alert escalates no further.
SELECT capacity_alerting.acknowledge(p_alert_hk => decode(:alert, 'hex'), p_by => :by, p_note => CAST(:note AS text));
