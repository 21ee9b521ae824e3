-- The month in counts: measurements, how many of them came by hand, and apart from them what was simulated; forecasts, patterns,
-- answers to alerts, and thresholds made (their first version) and changed (every version after it).
SELECT m.measurements, m.imported, m.simulated,
       (SELECT max(f.forecast_timestamp) FROM capacity_planning.capacity_forecast_s f
        WHERE f.forecast_timestamp <= CAST(:as_of AS timestamptz) AND (:scope = 'ALL' OR capacity_ops.tenant_key(f.tenant_hk) = :scope)) AS last_forecast,
       (SELECT count(*) FROM capacity_planning.capacity_forecast_s f
        WHERE f.load_end_date IS NULL AND (:scope = 'ALL' OR capacity_ops.tenant_key(f.tenant_hk) = :scope)) AS forecasts,
       (SELECT count(*) FROM capacity_planning.growth_pattern_s p
        WHERE p.load_end_date IS NULL AND p.pattern_confidence > 80 AND (:scope = 'ALL' OR capacity_ops.tenant_key(p.tenant_hk) = :scope)) AS sure_patterns,
       (SELECT count(*) FROM capacity_planning.growth_pattern_s p
        WHERE p.load_end_date IS NULL AND p.pattern_confidence IS NOT NULL
          AND (:scope = 'ALL' OR capacity_ops.tenant_key(p.tenant_hk) = :scope)) AS patterns,
       a.resolved, a.response_minutes,
       v.thresholds_made, v.thresholds_changed
FROM (SELECT CAST(:as_of AS timestamptz) - interval '1 month' AS at) since
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE s.record_source <> 'SIMULATION') AS measurements,
           count(*) FILTER (WHERE s.record_source LIKE 'IMPORT:%') AS imported,
           count(*) FILTER (WHERE s.record_source = 'SIMULATION') AS simulated
    FROM capacity_planning.resource_utilization_s s
    WHERE s.load_end_date IS NULL AND s.measurement_timestamp > since.at AND s.measurement_timestamp <= CAST(:as_of AS timestamptz)
      AND (:scope = 'ALL' OR capacity_ops.tenant_key(s.tenant_hk) = :scope)) m
CROSS JOIN LATERAL (
    SELECT count(*) AS resolved, avg(extract(epoch FROM r.resolved_at - r.raised_at) / 60) AS response_minutes
    FROM capacity_alerting.alert_s r
    WHERE r.load_end_date IS NULL AND r.resolved_at > since.at AND r.resolved_at <= CAST(:as_of AS timestamptz)
      AND (:scope = 'ALL' OR capacity_ops.tenant_key(r.tenant_hk) = :scope)) a
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE NOT e.is_later) AS thresholds_made, count(*) FILTER (WHERE e.is_later) AS thresholds_changed
    FROM capacity_planning.capacity_threshold_s t
    CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM capacity_planning.capacity_threshold_s b
                                       WHERE b.capacity_threshold_hk = t.capacity_threshold_hk AND b.load_date < t.load_date) AS is_later) e
    WHERE t.load_date > since.at AND t.load_date <= CAST(:as_of AS timestamptz)
      AND (:scope = 'ALL' OR capacity_ops.tenant_key(t.tenant_hk) = :scope)) v;
