-- An operator's verdict on an alert, which stands against what measurements say.
SELECT capacity_alerting.give_verdict(p_alert_hk => decode(:alert, 'hex'), p_verdict => :verdict, p_by => :by, p_reason => CAST(:reason AS text));
