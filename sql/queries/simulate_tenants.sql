-- The simulated tenants, marked as such by their record source: nothing is ever captured of them.
INSERT INTO auth.tenant_h (tenant_hk, tenant_bk, load_date, record_source)
SELECT decode(t.tenant, 'hex'), t.tenant_bk, util.current_load_date(), 'SIMULATION'
FROM unnest(CAST(:tenant AS text[]), CAST(:tenant_bk AS text[])) AS t (tenant, tenant_bk)
ON CONFLICT DO NOTHING;
