-- Which resources are heard, of each resource type and of the tenants that have many: the same ones for whatever is analysed.
SELECT c.is_type, c.name, c.resource_utilization_hk
FROM capacity_ops.engine_companies(CAST(:as_of AS timestamptz), :members, :tenants, :tenant_members) c;
