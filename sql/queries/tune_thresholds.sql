-- The active thresholds of the scope with all of their policy, and what an alert of each warns of: a WARNING of the critical level,
-- a CRITICAL of a full resource, a runway of its own level.
SELECT encode(t.capacity_threshold_hk, 'hex') AS threshold, t.load_date AS seen, t.threshold_name, t.resource_type, t.threshold_type, t.unit,
       t.threshold_operator, t.threshold_value, t.threshold_percentage, t.threshold_probability, t.recovery_margin,
       t.evaluation_frequency_minutes, t.alert_enabled, t.suppression_enabled, t.suppression_duration_minutes, t.escalation_enabled,
       t.escalation_delay_minutes, t.business_hours_only, t.maintenance_window_exempt, t.auto_resolution_enabled,
       CASE WHEN t.threshold_type <> 'ABSENCE' THEN coalesce(t.threshold_percentage, l.critical, 100) END AS level, capacity_ops.setting('recovery_margin') AS margin,
       CASE t.threshold_type WHEN 'WARNING' THEN coalesce(l.critical, 100) WHEN 'RUNWAY' THEN coalesce(t.threshold_percentage, l.critical, 100)
                             ELSE 100 END AS target,
       CASE t.threshold_percentage WHEN l.warning THEN 'warning' WHEN 100 THEN 'capacity' ELSE 'critical' END AS runway_level,
       coalesce(n.tenant_name, n.tenant_bk, CASE WHEN t.tenant_hk IS NULL THEN 'System' ELSE encode(t.tenant_hk, 'hex') END) AS tenant,
       capacity_ops.tenant_key(t.tenant_hk) AS tenant_key
FROM capacity_planning.capacity_threshold_s t
LEFT JOIN capacity_ops.tenant n ON n.tenant_hk = t.tenant_hk
CROSS JOIN LATERAL capacity_ops.levels(t.tenant_hk, t.resource_type) l
WHERE t.load_end_date IS NULL AND t.is_active IS NOT FALSE
  AND (:scope = 'ALL' OR capacity_ops.tenant_key(t.tenant_hk) = :scope)
  AND (:resource_type = 'ALL' OR t.resource_type IN (:resource_type, 'ALL'))
ORDER BY t.tenant_hk NULLS FIRST, t.resource_type, t.threshold_percentage, t.threshold_name;
