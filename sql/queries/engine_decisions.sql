-- The engine's backtest of the decision at :as_of, by resource: of the critical levels that were reached, how many it would have announced.
SELECT encode(capacity_ops.hash_key(capacity_ops.resource_key(d.resource_type, d.resource_name, d.tenant_hk)), 'hex') AS resource,
       d.resource_type, d.resource_name, d.horizon_days, d.probability, d.judged, d.reached, d.announced, d.false_announcements,
       coalesce(t.tenant_name, t.tenant_bk, CASE WHEN d.tenant_hk IS NULL THEN 'System' ELSE encode(d.tenant_hk, 'hex') END) AS tenant
FROM capacity_ops.engine_decisions(CAST(:as_of AS timestamptz)) d
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = d.tenant_hk
WHERE (:scope = 'ALL' OR capacity_ops.tenant_key(d.tenant_hk) = :scope)
  AND (:resource_type = 'ALL' OR d.resource_type = :resource_type)
ORDER BY d.tenant_hk NULLS FIRST, d.resource_type, d.resource_name;
