-- Forecasts of both methods as they were issued, whose day came in the last :days days, beside what was then measured, as far as that was
-- known at :as_of. Each is held against what it is of: the engine's against the day's mean or its last value, the database's own against the median.
SELECT l.resource_type, l.resource_name, l.unit, l.method, l.horizon_days, l.forecast_timestamp AS issued_at, l.target_at, l.projected AS forecast,
       coalesce(own.measured, came.measured) AS measured, f.quantiles,
       encode(key.hk, 'hex') AS resource,
       row_number() OVER (PARTITION BY key.hk, l.horizon_days, l.forecast_timestamp
                          ORDER BY f.confidence_level DESC NULLS LAST, f.wape NULLS LAST, l.method DESC) = 1 AS is_better,
       coalesce(t.tenant_name, t.tenant_bk, CASE WHEN l.tenant_hk IS NULL THEN 'System' ELSE encode(l.tenant_hk, 'hex') END) AS tenant
FROM (SELECT capacity_ops.own_servers() AS servers) server
CROSS JOIN capacity_ops.ledger l
CROSS JOIN LATERAL (SELECT capacity_ops.hash_key(capacity_ops.resource_key(l.resource_type, l.resource_name, l.tenant_hk)) AS hk) key
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = l.tenant_hk
LEFT JOIN LATERAL (
    SELECT s.confidence_level, (s.model_parameters ->> 'wape_30d')::numeric AS wape, s.model_parameters ->> 'a_day_is' AS a_day_is,
           s.model_parameters -> 'quantiles' -> l.horizon_days::text AS quantiles
    FROM capacity_planning.capacity_forecast_s s
    WHERE s.capacity_forecast_hk = l.capacity_forecast_hk AND s.forecast_timestamp = l.forecast_timestamp
    ORDER BY s.load_date DESC LIMIT 1) f ON true
LEFT JOIN LATERAL capacity_ops.measured_near(key.hk, l.target_at, CAST(:as_of AS timestamptz)) came ON true
LEFT JOIN LATERAL (
    SELECT CASE f.a_day_is WHEN 'its mean' THEN avg(s.current_value) WHEN 'its last value'
                THEN (array_agg(s.current_value ORDER BY s.measurement_timestamp DESC))[1] END AS measured
    FROM capacity_planning.resource_utilization_s s
    WHERE f.a_day_is IS NOT NULL AND s.resource_utilization_hk = key.hk AND s.load_end_date IS NULL
      AND s.measurement_timestamp > l.target_at - interval '24 hours' AND s.measurement_timestamp <= l.target_at
      AND (s.system_identifier IS NULL OR s.system_identifier = ANY (server.servers))) own ON true
WHERE l.target_at <= CAST(:as_of AS timestamptz) AND l.target_at > CAST(:as_of AS timestamptz) - make_interval(days => CAST(:days AS integer))
  AND (:scope = 'ALL' OR capacity_ops.tenant_key(l.tenant_hk) = :scope)
ORDER BY l.target_at, l.tenant_hk NULLS FIRST, l.resource_type, l.resource_name, l.horizon_days, l.method;
