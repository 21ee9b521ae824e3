-- The newest tuning that was applied and not taken back: its thresholds as they were, as it made them, and as they are now.
WITH step AS (
    SELECT t.capacity_threshold_hk, t.load_date, t.tenant_hk, t.threshold_name, t.resource_type, s.entry, s.n,
           jsonb_build_object('threshold_percentage', t.threshold_percentage, 'threshold_value', CASE WHEN t.unit <> 'percent' THEN t.threshold_value END,
               'threshold_probability', t.threshold_probability, 'recovery_margin', t.recovery_margin, 'suppression_enabled', t.suppression_enabled,
               'suppression_duration_minutes', t.suppression_duration_minutes, 'business_hours_only', t.business_hours_only) AS is_now
    FROM capacity_planning.capacity_threshold_s t
    CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(t.threshold_tuning_history) WHEN 'array' THEN t.threshold_tuning_history ELSE '[]' END)
        WITH ORDINALITY AS s (entry, n)
    WHERE t.load_end_date IS NULL AND s.entry ? 'tuning'),
applied AS (
    SELECT a.*, a.entry ->> 'tuning' AS tuning, (a.entry ->> 'at')::timestamptz AS at
    FROM step a
    WHERE a.entry ->> 'action' = 'APPLIED'
      AND NOT EXISTS (SELECT FROM step r WHERE r.capacity_threshold_hk = a.capacity_threshold_hk
                      AND r.entry ->> 'action' = 'REVERTED' AND r.entry ->> 'tuning' = a.entry ->> 'tuning'))
SELECT encode(a.capacity_threshold_hk, 'hex') AS threshold, a.load_date AS seen, a.threshold_name, a.resource_type, a.tuning, a.at, a.entry ->> 'by' AS applied_by,
       coalesce(n.tenant_bk, CASE WHEN a.tenant_hk IS NULL THEN 'SYSTEM' ELSE encode(a.tenant_hk, 'hex') END) AS tenant,
       a.entry -> 'from' AS was, a.entry -> 'to' AS became, a.is_now = a.entry -> 'to' AS is_as_tuned
FROM applied a
LEFT JOIN capacity_ops.tenant n ON n.tenant_hk = a.tenant_hk
WHERE a.tuning = (SELECT l.tuning FROM applied l ORDER BY l.at DESC, l.tuning DESC LIMIT 1)
ORDER BY a.tenant_hk NULLS FIRST, a.resource_type, a.threshold_name;
