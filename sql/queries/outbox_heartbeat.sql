-- The newest evaluation, where the world outside is still to be told of it and this sender is to do that; else NULL.
SELECT capacity_alerting.claim_heartbeat(p_sender => :sender, p_lease_seconds => :lease) AS evaluated_at;
