-- A hub row for each resource that is measured for the first time.
INSERT INTO capacity_planning.resource_utilization_h
    (resource_utilization_hk, resource_utilization_bk, load_date, record_source)
SELECT r.resource_utilization_hk, capacity_ops.resource_key(r.resource_type, r.resource_name, r.tenant_hk),
       CAST(:load_date AS timestamptz), :record_source
FROM pg_temp.load_resource r
ON CONFLICT (resource_utilization_hk) DO NOTHING
