-- Whose warning would not come before its critical level: a tuning that left this behind is refused as a whole.
SELECT coalesce(n.tenant_bk, CASE WHEN w.tenant_hk IS NULL THEN 'SYSTEM' ELSE encode(w.tenant_hk, 'hex') END) AS tenant, w.resource_type,
       w.threshold_name AS warning, w.threshold_percentage AS warning_level, c.threshold_name AS critical, c.threshold_percentage AS critical_level
FROM capacity_planning.capacity_threshold_s w
JOIN capacity_planning.capacity_threshold_s c ON c.tenant_hk IS NOT DISTINCT FROM w.tenant_hk AND c.resource_type = w.resource_type
 AND c.threshold_type = 'CRITICAL' AND c.load_end_date IS NULL AND c.is_active IS NOT FALSE AND c.threshold_operator IN ('>=', '>')
LEFT JOIN capacity_ops.tenant n ON n.tenant_hk = w.tenant_hk
WHERE w.threshold_type = 'WARNING' AND w.load_end_date IS NULL AND w.is_active IS NOT FALSE AND w.threshold_operator IN ('>=', '>')
  AND w.threshold_percentage >= c.threshold_percentage
  AND (encode(w.capacity_threshold_hk, 'hex') = ANY (CAST(:thresholds AS text[])) OR encode(c.capacity_threshold_hk, 'hex') = ANY (CAST(:thresholds AS text[])));
