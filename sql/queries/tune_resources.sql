-- The measured resources of the scope, after how many minutes without a measurement each counts as stale, and what it fails together with.
SELECT encode(n.resource_utilization_hk, 'hex') AS resource, capacity_ops.tenant_key(n.tenant_hk) AS tenant_key, n.resource_type, n.resource_name,
       3 * n.interval_seconds / 60 AS stale_minutes, capacity_alerting.family(n.resource_type, 'LEVEL') AS family
FROM capacity_ops.newest(NULL, CAST(:as_of AS timestamptz)) n
WHERE (:scope = 'ALL' OR capacity_ops.tenant_key(n.tenant_hk) = :scope)
  AND (:resource_type = 'ALL' OR n.resource_type = :resource_type) AND capacity_ops.is_watched(n.tenant_hk)
ORDER BY n.tenant_hk NULLS FIRST, n.resource_type, n.resource_name;
