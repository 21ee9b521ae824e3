-- Every forecast as issued up to :as_of, of two methods at one moment the better by its backtest, and whether it named a day on which
-- its resource would be critical: for the lead time to what then happened.
SELECT DISTINCT ON (l.resource_utilization_hk, f.forecast_timestamp)
       encode(l.resource_utilization_hk, 'hex') AS resource, f.forecast_timestamp AS issued_at, f.method,
       f.time_to_critical_days IS NOT NULL AS is_named
FROM (SELECT DISTINCT ON (s.capacity_forecast_hk, s.forecast_timestamp) s.*
      FROM capacity_planning.capacity_forecast_s s
      WHERE s.forecast_timestamp <= CAST(:as_of AS timestamptz) AND (:scope = 'ALL' OR capacity_ops.tenant_key(s.tenant_hk) = :scope)
      ORDER BY s.capacity_forecast_hk, s.forecast_timestamp, s.load_date DESC) f
JOIN capacity_planning.forecast_utilization_l l ON l.capacity_forecast_hk = f.capacity_forecast_hk
ORDER BY l.resource_utilization_hk, f.forecast_timestamp, f.confidence_level DESC NULLS LAST,
         (f.model_parameters ->> 'wape_30d')::numeric NULLS LAST, f.forecast_model IS NULL, f.method DESC;
