-- Names the staged resources. The category is the one that thresholds know for the type, so that a resource is
-- filed alike whether it was captured or imported.
INSERT INTO pg_temp.load_resource
    (resource, resource_utilization_hk, tenant_hk, resource_type, resource_name, resource_category, unit)
SELECT i.resource, capacity_ops.hash_key(capacity_ops.resource_key(i.resource_type, i.resource_name, t.tenant_hk)),
       t.tenant_hk, i.resource_type, i.resource_name,
       coalesce(d.resource_category, 'CUSTOM'), i.unit
FROM unnest(CAST(:resource AS integer[]), CAST(:tenant AS text[]), CAST(:resource_type AS text[]),
            CAST(:resource_name AS text[]), CAST(:unit AS text[])) AS i (resource, tenant, resource_type, resource_name, unit)
CROSS JOIN LATERAL (SELECT decode(i.tenant, 'hex') AS tenant_hk) t
LEFT JOIN capacity_ops.default_threshold d
    ON d.resource_type = i.resource_type AND d.scope = CASE WHEN t.tenant_hk IS NULL THEN 'SYSTEM' ELSE 'TENANT' END
