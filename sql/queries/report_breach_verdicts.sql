-- What the evaluation said of the synthetic resources: each threshold must be exceeded by its own one past the level, and not by the one short of it.
WITH judged AS MATERIALIZED (
    SELECT e.* FROM capacity_ops.verdicts(NULL, CAST(:as_of AS timestamptz)) e
    WHERE e.resource_name LIKE 'synthetic %')
SELECT t.threshold_name, t.resource_type, t.threshold_type, t.threshold_percentage AS level,
       coalesce(n.tenant_name, n.tenant_bk, CASE WHEN t.tenant_hk IS NULL THEN 'System' ELSE encode(t.tenant_hk, 'hex') END) AS tenant,
       t.is_active IS NOT FALSE AND capacity_ops.is_watched(t.tenant_hk) AS is_watched,
       coalesce(bool_or(j.threshold_exceeded) FILTER (WHERE j.resource_name LIKE 'synthetic past %'), false) AS fired,
       coalesce(bool_or(j.threshold_exceeded) FILTER (WHERE j.resource_name LIKE 'synthetic short %'), false) AS fired_early
FROM capacity_planning.capacity_threshold_s t
LEFT JOIN capacity_ops.tenant n ON n.tenant_hk = t.tenant_hk
LEFT JOIN judged j ON j.tenant_hk IS NOT DISTINCT FROM t.tenant_hk AND j.resource_type = t.resource_type AND j.threshold_name = t.threshold_name
     AND j.threshold_percentage = t.threshold_percentage AND right(j.resource_name, 64) = encode(t.capacity_threshold_hk, 'hex')
WHERE t.load_end_date IS NULL AND t.threshold_type IN ('WARNING', 'CRITICAL') AND (:scope = 'ALL' OR capacity_ops.tenant_key(t.tenant_hk) = :scope)
GROUP BY t.capacity_threshold_hk, t.threshold_name, t.resource_type, t.threshold_type, t.threshold_percentage, t.tenant_hk, t.is_active,
         n.tenant_name, n.tenant_bk
ORDER BY t.tenant_hk NULLS FIRST, t.resource_type, t.threshold_percentage, t.threshold_name;
