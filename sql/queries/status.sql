-- What runs out next: each resource's newest measurement at or before :as_of (NULL: now) beside its current forecast.
-- What is past a level comes first, then what cannot be judged (stale, no capacity), then the rest by its runway.
SELECT coalesce(t.tenant_bk, CASE WHEN n.tenant_hk IS NULL THEN 'SYSTEM' ELSE encode(n.tenant_hk, 'hex') END) AS tenant,
       n.resource_type, n.resource_name, n.current_value AS usage, n.capacity, n.unit, n.utilization_percentage,
       n.measurement_timestamp AS measured_at, n.is_stale,
       CASE WHEN n.is_stale THEN 'STALE' ELSE capacity_ops.status(n.utilization_percentage, l.warning, l.critical) END AS status,
       f.time_to_critical_days, f.time_to_capacity_days, f.trend_direction, f.confidence_level, f.forecast_timestamp,
       f.recommended_action, n.record_source = 'SIMULATION' AS is_simulated
FROM capacity_ops.newest(decode(CAST(:tenant AS text), 'hex'), coalesce(CAST(:as_of AS timestamptz), now())) n
CROSS JOIN LATERAL capacity_ops.levels(n.tenant_hk, n.resource_type) l
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = n.tenant_hk
LEFT JOIN LATERAL (
    SELECT s.*
    FROM capacity_planning.capacity_forecast_s s
    WHERE s.tenant_hk IS NOT DISTINCT FROM n.tenant_hk AND s.resource_type = n.resource_type
      AND s.resource_name = n.resource_name AND s.load_end_date IS NULL
    ORDER BY s.forecast_timestamp DESC
    LIMIT 1) f ON true
WHERE (NOT :system_only OR n.tenant_hk IS NULL) AND coalesce(t.is_active, n.tenant_hk IS NULL)
ORDER BY array_position('{CRITICAL,WARNING,STALE,UNKNOWN}'::text[], CASE WHEN n.is_stale THEN 'STALE' ELSE capacity_ops.status(n.utilization_percentage, l.warning, l.critical) END)
             NULLS LAST,
         f.time_to_capacity_days NULLS LAST, n.utilization_percentage DESC NULLS LAST, tenant, n.resource_type, n.resource_name;
