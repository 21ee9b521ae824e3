-- What a report rests on: how many resources, how new their measurements are, and whose are simulated, so that its face can say so.
SELECT count(*) AS resources,
       count(*) FILTER (WHERE n.record_source = 'SIMULATION') AS simulated_resources,
       count(*) FILTER (WHERE n.is_stale) AS stale_resources,
       max(n.measurement_timestamp) AS newest,
       (SELECT array_agg(DISTINCT coalesce(t.tenant_name, t.tenant_bk)::text) FROM capacity_ops.tenant t
        WHERE t.is_simulated AND (:scope = 'ALL' OR capacity_ops.tenant_key(t.tenant_hk) = :scope)) AS simulated_tenants
FROM capacity_ops.newest(NULL, CAST(:as_of AS timestamptz)) n
WHERE :scope = 'ALL' OR capacity_ops.tenant_key(n.tenant_hk) = :scope;
