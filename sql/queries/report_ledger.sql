-- Forecasts :horizon days ahead as they were issued, whose day came in the last :days days, beside what was then measured, as far
-- as that was known at :as_of.
SELECT l.resource_type, l.resource_name, l.unit, l.forecast_timestamp AS issued_at, l.target_at, l.projected AS forecast, came.measured,
       coalesce(t.tenant_name, t.tenant_bk, CASE WHEN l.tenant_hk IS NULL THEN 'System' ELSE encode(l.tenant_hk, 'hex') END) AS tenant
FROM capacity_ops.ledger l
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = l.tenant_hk
LEFT JOIN LATERAL capacity_ops.measured_near(
    capacity_ops.hash_key(capacity_ops.resource_key(l.resource_type, l.resource_name, l.tenant_hk)), l.target_at, CAST(:as_of AS timestamptz)) came ON true
WHERE l.method = 'SQL' AND l.horizon_days = :horizon AND l.target_at <= CAST(:as_of AS timestamptz)
  AND l.target_at > CAST(:as_of AS timestamptz) - make_interval(days => CAST(:days AS integer))
  AND (:scope = 'ALL' OR capacity_ops.tenant_key(l.tenant_hk) = :scope)
ORDER BY l.target_at, l.tenant_hk NULLS FIRST, l.resource_type, l.resource_name;
