-- An alert is over by hand, its episode with it; whom it was told hears of that.
SELECT capacity_alerting.resolve(p_alert_hk => decode(:alert, 'hex'), p_by => :by, p_note => CAST(:note AS text), p_how => CAST(:how AS text));
