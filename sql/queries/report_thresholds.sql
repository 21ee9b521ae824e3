-- The thresholds of the scope, each with what an alert of it warns of: a WARNING of the critical level, a CRITICAL of a full resource.
SELECT encode(t.capacity_threshold_hk, 'hex') AS threshold, t.threshold_name, t.resource_type, t.threshold_type, t.threshold_operator,
       t.threshold_percentage AS level, t.is_active IS NOT FALSE AS is_active, t.alert_enabled IS NOT FALSE AS alert_enabled,
       t.next_review_date, t.average_resolution_time_minutes,
       coalesce(n.tenant_name, n.tenant_bk, CASE WHEN t.tenant_hk IS NULL THEN 'System' ELSE encode(t.tenant_hk, 'hex') END) AS tenant,
       capacity_ops.tenant_key(t.tenant_hk) AS tenant_key,
       CASE WHEN t.threshold_type = 'WARNING' THEN coalesce(l.critical, 100) ELSE 100 END AS target
FROM capacity_planning.capacity_threshold_s t
LEFT JOIN capacity_ops.tenant n ON n.tenant_hk = t.tenant_hk
CROSS JOIN LATERAL capacity_ops.levels(t.tenant_hk, t.resource_type) l
WHERE t.load_end_date IS NULL
  AND (:scope = 'ALL' OR capacity_ops.tenant_key(t.tenant_hk) = :scope)
  AND (:resource_type = 'ALL' OR t.resource_type = :resource_type)
ORDER BY t.tenant_hk NULLS FIRST, t.resource_type, t.threshold_percentage, t.threshold_name;
