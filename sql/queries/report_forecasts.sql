-- What the growth engine had recorded of each resource at :as_of, closed since or not, beside which a report shows the database's own
-- analysis; is_better by the rule of capacity_ops.better_forecast, as it would have judged then. What is older than 7 days has nothing to say.
SELECT DISTINCT ON (u.resource_utilization_hk)
       encode(u.resource_utilization_hk, 'hex') AS resource, e.forecast_timestamp AS issued_at, e.projected_usage_7d AS forecast_7d,
       e.projected_usage_30d AS forecast_30d, e.projected_usage_90d AS forecast_90d, e.projected_usage_1y AS forecast_1y,
       e.time_to_warning_days, e.time_to_critical_days, e.time_to_capacity_days, e.confidence_level, e.trend_direction,
       e.recommended_action, e.action_priority, e.model_parameters, p.pattern_type, p.pattern_description,
       d.method IS NULL OR coalesce(e.confidence_level > d.confidence_level, e.confidence_level IS NOT NULL) OR (
           e.confidence_level IS NOT DISTINCT FROM d.confidence_level
           AND coalesce((e.model_parameters ->> 'wape_30d')::numeric < (d.model_parameters ->> 'wape_30d')::numeric, false)) AS is_better,
       d.confidence_level AS other_confidence
FROM capacity_planning.forecast_utilization_l u
JOIN capacity_planning.capacity_forecast_s e
  ON e.capacity_forecast_hk = u.capacity_forecast_hk AND e.method = 'ENGINE' AND e.forecast_model IS NOT NULL
 AND e.forecast_timestamp <= CAST(:as_of AS timestamptz)
 AND (e.model_parameters ->> 'origin')::timestamptz > CAST(:as_of AS timestamptz) - interval '8 days'
LEFT JOIN LATERAL (
    SELECT g.pattern_type, g.pattern_description FROM capacity_planning.growth_pattern_s g
    WHERE g.growth_pattern_hk = e.capacity_forecast_hk AND g.analysis_timestamp <= e.forecast_timestamp
    ORDER BY g.analysis_timestamp DESC, g.load_date DESC LIMIT 1) p ON true
LEFT JOIN LATERAL (
    SELECT s.method, s.confidence_level, s.model_parameters
    FROM capacity_planning.forecast_utilization_l v
    JOIN capacity_planning.capacity_forecast_s s ON s.capacity_forecast_hk = v.capacity_forecast_hk AND s.method = 'SQL'
    WHERE v.resource_utilization_hk = u.resource_utilization_hk AND s.forecast_timestamp <= CAST(:as_of AS timestamptz)
      AND coalesce((s.model_parameters ->> 'origin')::timestamptz, s.forecast_timestamp)
          >= (e.model_parameters ->> 'origin')::timestamptz - interval '7 days'
    ORDER BY s.forecast_timestamp DESC, s.load_date DESC LIMIT 1) d ON true
WHERE (:scope = 'ALL' OR capacity_ops.tenant_key(e.tenant_hk) = :scope)
  AND (:resource_type = 'ALL' OR e.resource_type = :resource_type)
ORDER BY u.resource_utilization_hk, e.forecast_timestamp DESC, e.load_date DESC;
