-- What each forecast, as issued, said of the critical level, and whether usage then reached it: the first day of the :horizon after it
-- whose median was at that level, or its maximum where the engine's runway is of that. Only forecasts whose time is up at :as_of, of resources that had a capacity and were still below the level.
SELECT encode(u.resource_utilization_hk, 'hex') AS resource, f.method, f.forecast_timestamp AS issued_at,
       coalesce(f.time_to_critical_days <= CAST(:horizon AS integer), false) AS is_announced,
       coalesce((f.model_parameters #>> ARRAY['runway', 'critical', 'by', CAST(:horizon AS text)])::float8,
                CASE WHEN f.time_to_critical_days <= CAST(:horizon AS integer) THEN 1.0 ELSE 0.0 END) AS probability,
       came.after IS NOT NULL AS is_reached, came.after AS reached_after_days
FROM (SELECT capacity_ops.own_servers() AS servers) own
CROSS JOIN (SELECT DISTINCT ON (s.capacity_forecast_hk, s.forecast_timestamp) s.* FROM capacity_planning.capacity_forecast_s s
            WHERE s.forecast_timestamp <= CAST(:as_of AS timestamptz) - make_interval(days => CAST(:horizon AS integer))
              AND s.forecast_timestamp > CAST(:as_of AS timestamptz) - make_interval(days => CAST(:days AS integer))
              AND s.forecast_model IS NOT NULL AND s.current_capacity > 0
              AND (:scope = 'ALL' OR capacity_ops.tenant_key(s.tenant_hk) = :scope)
            ORDER BY s.capacity_forecast_hk, s.forecast_timestamp, s.load_date DESC) f
JOIN capacity_planning.forecast_utilization_l u ON u.capacity_forecast_hk = f.capacity_forecast_hk
CROSS JOIN LATERAL (SELECT f.current_capacity * v.critical / 100 AS critical FROM capacity_ops.levels(f.tenant_hk, f.resource_type) v) level
LEFT JOIN LATERAL (
    SELECT min(day.number) AS after
    FROM (SELECT ceil(extract(epoch FROM s.measurement_timestamp - f.forecast_timestamp) / 86400)::integer AS number
          FROM capacity_planning.resource_utilization_s s
          WHERE s.resource_utilization_hk = u.resource_utilization_hk AND s.load_end_date IS NULL
            AND s.measurement_timestamp > f.forecast_timestamp
            AND s.measurement_timestamp <= f.forecast_timestamp + make_interval(days => CAST(:horizon AS integer))
            AND (s.system_identifier IS NULL OR s.system_identifier = ANY (own.servers))
          GROUP BY 1
          HAVING CASE WHEN f.model_parameters ? 'runway_of' THEN max(s.current_value)
                      ELSE percentile_cont(0.5) WITHIN GROUP (ORDER BY s.current_value) END >= level.critical) day) came ON true
WHERE f.current_usage < level.critical
ORDER BY f.forecast_timestamp, u.resource_utilization_hk, f.method;
