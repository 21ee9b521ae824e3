-- Whether a level was crossed, either way, between two times: thresholds of :tenant (NULL: everybody's, or with
-- :system_only the system's) whose verdict is another, per resource. One that is over now and had no verdict then counts:
-- nobody was told of it. One that has no verdict now does not.
SELECT count(*) AS crossed
FROM capacity_ops.verdicts(decode(CAST(:tenant AS text), 'hex'), CAST(:at AS timestamptz)) a
LEFT JOIN capacity_ops.verdicts(decode(CAST(:tenant AS text), 'hex'), CAST(:before AS timestamptz)) b
  ON a.tenant_hk IS NOT DISTINCT FROM b.tenant_hk AND a.threshold_name = b.threshold_name AND a.resource_type = b.resource_type
 AND a.resource_name IS NOT DISTINCT FROM b.resource_name
WHERE (a.threshold_exceeded AND b.threshold_exceeded IS NOT TRUE OR NOT a.threshold_exceeded AND b.threshold_exceeded)
  AND (NOT CAST(:system_only AS boolean) OR a.tenant_hk IS NULL)
  AND (CAST(:resource_type AS text) IS NULL OR a.resource_type = :resource_type);
