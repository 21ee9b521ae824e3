-- That the heartbeat of an evaluation went out, or why it did not.
SELECT capacity_alerting.settle_heartbeat(p_sender => :sender, p_evaluated_at => CAST(:evaluated_at AS timestamptz), p_error => CAST(:error AS text));
