-- What the cluster's storage takes up, what is registered as its capacity and by whom, and whether parts of it lie in
-- tablespaces elsewhere: what is needed to fill in the capacity from the filesystem.
SELECT (SELECT sum(pg_database_size(oid)) FROM pg_database)                        AS stored,
       (SELECT count(*) FROM pg_tablespace WHERE pg_tablespace_location(oid) <> '') AS tablespaces_elsewhere,
       r.capacity, r.registered_by
FROM (VALUES (1)) always (n)
LEFT JOIN LATERAL (
    SELECT capacity, registered_by FROM capacity_ops.capacity_registry
    WHERE tenant_hk IS NULL AND resource_type = 'STORAGE' AND resource_name = 'cluster' AND valid_from <= now()
    ORDER BY valid_from DESC LIMIT 1) r ON true;
