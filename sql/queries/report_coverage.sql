-- Of all that somebody set a threshold for, what is measured: a tenant's resource type with an active threshold is covered
-- when the evaluation could use a measurement of it, fresh and not older than three intervals.
SELECT DISTINCT coalesce(t.tenant_name, t.tenant_bk, CASE WHEN e.tenant_hk IS NULL THEN 'System' ELSE encode(e.tenant_hk, 'hex') END) AS tenant,
       e.resource_type, bool_or(e.verdict_reason IS NULL OR e.verdict_reason = 'capacity unknown') AS is_covered,
       min(e.verdict_reason) AS reason
FROM capacity_planning.evaluate_capacity_thresholds(NULL, CAST(:as_of AS timestamptz)) e
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = e.tenant_hk
WHERE :scope = 'ALL' OR capacity_ops.tenant_key(e.tenant_hk) = :scope
GROUP BY 1, 2
ORDER BY 1, 2;
