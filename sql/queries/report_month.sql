-- The month in counts: measurements and how many came by hand, forecasts, patterns, and answers to alerts.
SELECT (SELECT count(*) FROM capacity_planning.resource_utilization_s s
        WHERE s.load_end_date IS NULL AND s.measurement_timestamp > since.at AND s.measurement_timestamp <= CAST(:as_of AS timestamptz)
          AND (:scope = 'ALL' OR capacity_ops.tenant_key(s.tenant_hk) = :scope)) AS measurements,
       (SELECT count(*) FROM capacity_planning.resource_utilization_s s
        WHERE s.load_end_date IS NULL AND s.measurement_timestamp > since.at AND s.measurement_timestamp <= CAST(:as_of AS timestamptz)
          AND s.record_source LIKE 'IMPORT:%' AND (:scope = 'ALL' OR capacity_ops.tenant_key(s.tenant_hk) = :scope)) AS imported,
       (SELECT max(f.forecast_timestamp) FROM capacity_planning.capacity_forecast_s f
        WHERE f.forecast_timestamp <= CAST(:as_of AS timestamptz) AND (:scope = 'ALL' OR capacity_ops.tenant_key(f.tenant_hk) = :scope)) AS last_forecast,
       (SELECT count(*) FROM capacity_planning.capacity_forecast_s f
        WHERE f.load_end_date IS NULL AND (:scope = 'ALL' OR capacity_ops.tenant_key(f.tenant_hk) = :scope)) AS forecasts,
       (SELECT count(*) FROM capacity_planning.growth_pattern_s p
        WHERE p.load_end_date IS NULL AND p.pattern_confidence > 80 AND (:scope = 'ALL' OR capacity_ops.tenant_key(p.tenant_hk) = :scope)) AS sure_patterns,
       (SELECT count(*) FROM capacity_planning.growth_pattern_s p
        WHERE p.load_end_date IS NULL AND (:scope = 'ALL' OR capacity_ops.tenant_key(p.tenant_hk) = :scope)) AS patterns,
       (SELECT avg(t.average_resolution_time_minutes) FROM capacity_planning.capacity_threshold_s t
        WHERE t.load_end_date IS NULL AND (:scope = 'ALL' OR capacity_ops.tenant_key(t.tenant_hk) = :scope)) AS response_minutes,
       (SELECT count(*) FROM capacity_planning.capacity_threshold_s t
        WHERE t.load_date > since.at AND t.load_date <= CAST(:as_of AS timestamptz)
          AND (:scope = 'ALL' OR capacity_ops.tenant_key(t.tenant_hk) = :scope)) AS threshold_changes
FROM (SELECT CAST(:as_of AS timestamptz) - interval '1 month' AS at) since;
