-- Somebody is at it: the alert escalates no further, nor what the same message told of where the alert leads it; how many they are.
SELECT capacity_alerting.acknowledge(p_alert_hk => decode(:alert, 'hex'), p_by => :by, p_note => CAST(:note AS text)) AS acknowledged;
