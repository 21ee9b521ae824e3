-- The tenants as they are now, for whoever has to name one.
SELECT tenant_hk, tenant_bk, tenant_name, is_active, max_users, is_simulated
FROM capacity_ops.tenant
ORDER BY tenant_bk;
