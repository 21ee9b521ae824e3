-- Every forecast as issued up to :as_of, and whether it named a day on which its resource would be critical: for the lead time to what then happened.
SELECT DISTINCT encode(l.resource_utilization_hk, 'hex') AS resource, f.forecast_timestamp AS issued_at,
       f.time_to_critical_days IS NOT NULL AS is_named
FROM capacity_planning.capacity_forecast_s f
JOIN capacity_planning.forecast_utilization_l l ON l.capacity_forecast_hk = f.capacity_forecast_hk
WHERE f.method = 'SQL' AND f.forecast_timestamp <= CAST(:as_of AS timestamptz)
  AND (:scope = 'ALL' OR capacity_ops.tenant_key(f.tenant_hk) = :scope)
ORDER BY 1, 2;
