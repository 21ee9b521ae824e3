-- A mute ends now; it stays on record.
SELECT capacity_alerting.unmute(p_mute_id => :number);
