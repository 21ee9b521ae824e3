-- Forecasts :horizon days ahead as they were issued, whose day came in the last :days days, beside what was then measured: a
-- forecast is of the median of a day, so it is held against the median of the 24 hours up to its target, not against one moment.
SELECT l.resource_type, l.resource_name, l.unit, l.forecast_timestamp AS issued_at, l.target_at, l.projected AS forecast, day.median AS measured,
       coalesce(t.tenant_name, t.tenant_bk, CASE WHEN l.tenant_hk IS NULL THEN 'System' ELSE encode(l.tenant_hk, 'hex') END) AS tenant
FROM capacity_ops.ledger l
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = l.tenant_hk
CROSS JOIN LATERAL (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY s.current_value) AS median
    FROM capacity_planning.resource_utilization_s s
    WHERE s.resource_utilization_hk = capacity_ops.hash_key(capacity_ops.resource_key(l.resource_type, l.resource_name, l.tenant_hk))
      AND s.load_end_date IS NULL AND capacity_ops.is_own(s.system_identifier)
      AND s.measurement_timestamp > l.target_at - interval '1 day' AND s.measurement_timestamp <= l.target_at) day
WHERE l.horizon_days = :horizon AND l.target_at <= CAST(:as_of AS timestamptz)
  AND l.target_at > CAST(:as_of AS timestamptz) - make_interval(days => CAST(:days AS integer))
  AND (:scope = 'ALL' OR capacity_ops.tenant_key(l.tenant_hk) = :scope)
ORDER BY l.target_at, l.tenant_hk NULLS FIRST, l.resource_type, l.resource_name;
