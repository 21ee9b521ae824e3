-- Take a tuning back: each of these of its thresholds becomes what it was, as a new version that says so; one that was changed since
-- it was looked at stays.
WITH entry AS (
    SELECT t.capacity_threshold_hk, t.load_date AS seen, s.entry, r.*
    FROM jsonb_to_recordset(CAST(:thresholds AS jsonb)) AS p (threshold text, seen timestamptz)
    JOIN capacity_planning.capacity_threshold_s t ON t.capacity_threshold_hk = decode(p.threshold, 'hex') AND t.load_date = p.seen
    CROSS JOIN LATERAL jsonb_array_elements(t.threshold_tuning_history) AS s (entry)
    CROSS JOIN LATERAL (
        SELECT w.threshold_percentage, coalesce(w.threshold_value, t.threshold_value) AS threshold_value, w.threshold_probability,
               w.recovery_margin, w.suppression_enabled, w.suppression_duration_minutes, w.business_hours_only
        FROM jsonb_populate_record(t, s.entry -> 'from') w) r
    WHERE t.load_end_date IS NULL AND s.entry ->> 'tuning' = :tuning AND s.entry ->> 'action' = 'APPLIED')
UPDATE capacity_planning.capacity_threshold_s t
SET threshold_percentage = e.threshold_percentage, threshold_value = e.threshold_value, threshold_probability = e.threshold_probability,
    recovery_margin = e.recovery_margin, suppression_enabled = e.suppression_enabled,
    suppression_duration_minutes = e.suppression_duration_minutes, business_hours_only = e.business_hours_only,
    threshold_tuning_history = t.threshold_tuning_history || jsonb_build_array(jsonb_build_object(
        'tuning', CAST(:tuning AS text), 'action', 'REVERTED', 'at', transaction_timestamp(), 'by', CAST(:by AS text),
        'from', e.entry -> 'to', 'to', e.entry -> 'from', 'reason', CAST(:reason AS text)))
FROM entry e
WHERE t.capacity_threshold_hk = e.capacity_threshold_hk AND t.load_end_date IS NULL AND t.load_date = e.seen  -- looked at again where another session held it
RETURNING encode(t.capacity_threshold_hk, 'hex') AS threshold;
