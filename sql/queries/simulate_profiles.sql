-- What the platform would know of the simulated tenants, where it knows nothing yet.
INSERT INTO auth.tenant_profile_s
    (tenant_hk, load_date, hash_diff, tenant_name, domain_name, is_active, max_users, record_source)
SELECT h.tenant_hk, util.current_load_date(),
       sha256(convert_to(concat_ws('|', t.tenant_name, t.tenant_bk, t.max_users), 'UTF8')),
       t.tenant_name, t.tenant_bk || '.example', true, t.max_users, 'SIMULATION'
FROM unnest(CAST(:tenant AS text[]), CAST(:tenant_bk AS text[]), CAST(:tenant_name AS text[]), CAST(:max_users AS integer[]))
    AS t (tenant, tenant_bk, tenant_name, max_users)
JOIN auth.tenant_h h ON h.tenant_hk = decode(t.tenant, 'hex') AND h.record_source = 'SIMULATION'
WHERE NOT EXISTS (SELECT FROM auth.tenant_profile_s p WHERE p.tenant_hk = h.tenant_hk AND p.load_end_date IS NULL);
