-- Every level shift that the engine knew of at :as_of, the newest first, with what the database knew of that day: why a history has steps.
SELECT encode(capacity_ops.hash_key(capacity_ops.resource_key(l.resource_type, l.resource_name, l.tenant_hk)), 'hex') AS resource,
       l.resource_type, l.resource_name, l.unit, l.shifted_at, l.change, l.is_newest, l.cause, l.evidence,
       coalesce(t.tenant_name, t.tenant_bk, CASE WHEN l.tenant_hk IS NULL THEN 'System' ELSE encode(l.tenant_hk, 'hex') END) AS tenant
FROM capacity_ops.level_shifts(CAST(:as_of AS timestamptz)) l
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = l.tenant_hk
WHERE (:scope = 'ALL' OR capacity_ops.tenant_key(l.tenant_hk) = :scope)
  AND (:resource_type = 'ALL' OR l.resource_type = :resource_type)
ORDER BY l.shifted_at DESC, l.tenant_hk NULLS FIRST, l.resource_type, l.resource_name;
