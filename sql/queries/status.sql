-- What runs out next: each resource's newest measurement at or before :as_of (NULL: now) beside its newest forecast of then,
-- closed since or not, by the method that erred less (capacity_ops.better_forecast, as it would have judged then) with its chances if it is the engine. A forecast that knew a capacity where the measurement has none, or the reverse, has nothing to say.
-- What is past a level comes first, then what cannot be judged (stale, no capacity), then the rest by its runway.
SELECT coalesce(t.tenant_bk, CASE WHEN n.tenant_hk IS NULL THEN 'SYSTEM' ELSE encode(n.tenant_hk, 'hex') END) AS tenant, n.tenant_hk,
       n.resource_type, n.resource_name, n.current_value AS usage, n.capacity, n.unit, n.utilization_percentage,
       n.measurement_timestamp AS measured_at, n.is_stale,
       CASE WHEN n.is_stale THEN 'STALE' ELSE capacity_ops.status(n.utilization_percentage, l.warning, l.critical) END AS status,
       CASE WHEN NOT o.is_outdated THEN f.time_to_critical_days END AS time_to_critical_days,
       CASE WHEN NOT o.is_outdated THEN f.time_to_capacity_days END AS time_to_capacity_days,
       CASE WHEN NOT o.is_outdated THEN (f.model_parameters #>> '{runway,capacity,p10}')::integer END AS early_days,
       CASE WHEN NOT o.is_outdated THEN (f.model_parameters #>> '{runway,capacity,p90}')::integer END AS late_days,
       CASE WHEN NOT o.is_outdated THEN (f.model_parameters #>> '{runway,capacity,by,90}')::float8 END AS probability_90d,
       f.trend_direction, f.confidence_level, f.method, f.forecast_timestamp,
       CASE WHEN NOT o.is_outdated THEN f.recommended_action END AS recommended_action, o.is_outdated,
       n.record_source = 'SIMULATION' AS is_simulated
FROM capacity_ops.newest(decode(CAST(:tenant AS text), 'hex'), coalesce(CAST(:as_of AS timestamptz), now())) n
CROSS JOIN LATERAL capacity_ops.levels(n.tenant_hk, n.resource_type) l
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = n.tenant_hk
LEFT JOIN LATERAL (
    SELECT b.*
    FROM (SELECT a.*, max(a.origin) OVER () - a.origin AS behind
          FROM (SELECT DISTINCT ON (s.method) s.*, coalesce((s.model_parameters ->> 'origin')::timestamptz, s.forecast_timestamp) AS origin
                FROM capacity_planning.forecast_utilization_l u
                JOIN capacity_planning.capacity_forecast_s s USING (capacity_forecast_hk)
                WHERE u.resource_utilization_hk = n.resource_utilization_hk
                  AND CASE WHEN CAST(:as_of AS timestamptz) IS NULL THEN s.load_end_date IS NULL
                           ELSE s.forecast_timestamp <= CAST(:as_of AS timestamptz) END
                ORDER BY s.method, s.forecast_timestamp DESC, s.load_date DESC) a) b
    WHERE b.behind <= interval '7 days'
    ORDER BY b.confidence_level DESC NULLS LAST, (b.model_parameters ->> 'wape_30d')::numeric NULLS LAST, b.forecast_model IS NULL, b.method DESC
    LIMIT 1) f ON true
CROSS JOIN LATERAL (
    SELECT f.forecast_timestamp IS NOT NULL AND (f.current_capacity IS NULL) <> (n.capacity IS NULL) AS is_outdated) o
WHERE (NOT :system_only OR n.tenant_hk IS NULL) AND coalesce(t.is_active, n.tenant_hk IS NULL)
ORDER BY array_position('{CRITICAL,WARNING,STALE,UNKNOWN}'::text[], CASE WHEN n.is_stale THEN 'STALE' ELSE capacity_ops.status(n.utilization_percentage, l.warning, l.critical) END)
             NULLS LAST,
         time_to_capacity_days NULLS LAST, n.utilization_percentage DESC NULLS LAST, tenant, n.resource_type, n.resource_name;
