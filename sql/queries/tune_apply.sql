-- Apply proposed changes as new versions of thresholds, each with its reason; a threshold that was changed since it was looked at stays.
-- What can be tuned is named here, so that a proposal reaches no other column. The trigger keeps the earlier version; of a level in
-- percent threshold_value follows by itself.
WITH proposed AS (
    SELECT p.*, decode(p.threshold, 'hex') AS hk
    FROM jsonb_to_recordset(CAST(:proposals AS jsonb)) AS p (threshold text, seen timestamptz, changes jsonb, reason text, evidence jsonb)),
wanted AS (
    SELECT t.capacity_threshold_hk, p.seen, p.reason, p.evidence, w.*,
           jsonb_build_object('threshold_percentage', t.threshold_percentage, 'threshold_value', CASE WHEN t.unit <> 'percent' THEN t.threshold_value END,
               'threshold_probability', t.threshold_probability, 'recovery_margin', t.recovery_margin, 'suppression_enabled', t.suppression_enabled,
               'suppression_duration_minutes', t.suppression_duration_minutes, 'business_hours_only', t.business_hours_only) AS was,
           jsonb_build_object('threshold_percentage', w.threshold_percentage, 'threshold_value', CASE WHEN t.unit <> 'percent' THEN w.threshold_value END,
               'threshold_probability', w.threshold_probability, 'recovery_margin', w.recovery_margin, 'suppression_enabled', w.suppression_enabled,
               'suppression_duration_minutes', w.suppression_duration_minutes, 'business_hours_only', w.business_hours_only) AS becomes
    FROM proposed p
    JOIN capacity_planning.capacity_threshold_s t ON t.capacity_threshold_hk = p.hk AND t.load_end_date IS NULL AND t.load_date = p.seen
    CROSS JOIN LATERAL (
        SELECT r.threshold_percentage, r.threshold_value, r.threshold_probability, r.recovery_margin, r.suppression_enabled, r.suppression_duration_minutes, r.business_hours_only
        FROM jsonb_populate_record(t, p.changes) r) w)
UPDATE capacity_planning.capacity_threshold_s t
SET threshold_percentage = w.threshold_percentage, threshold_value = w.threshold_value, threshold_probability = w.threshold_probability,
    recovery_margin = w.recovery_margin,
    suppression_enabled = w.suppression_enabled, suppression_duration_minutes = w.suppression_duration_minutes,
    business_hours_only = w.business_hours_only,
    threshold_tuning_history = coalesce(t.threshold_tuning_history, '[]'::jsonb) || jsonb_build_array(jsonb_build_object(
        'tuning', CAST(:tuning AS text), 'action', 'APPLIED', 'at', transaction_timestamp(), 'by', CAST(:by AS text),
        'from', w.was, 'to', w.becomes, 'reason', w.reason, 'evidence', w.evidence))
FROM wanted w
WHERE t.capacity_threshold_hk = w.capacity_threshold_hk AND t.load_end_date IS NULL AND t.load_date = w.seen  -- looked at again where another session held it
  AND w.was <> w.becomes
RETURNING encode(t.capacity_threshold_hk, 'hex') AS threshold;
