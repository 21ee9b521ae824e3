-- Declared maintenance and mutes that a replay honours: mutes of one threshold alone are left out, since they say nothing of another policy.
SELECT 'MAINTENANCE' AS kind, CASE WHEN w.tenant_hk IS NOT NULL THEN encode(w.tenant_hk, 'hex') WHEN w.is_system_only THEN 'SYSTEM' END AS tenant_key,
       w.resource_type, CAST(NULL AS text) AS resource_name, w.starts_at, w.ends_at, w.repeat_weeks, w.time_zone
FROM capacity_alerting.maintenance_window w
UNION ALL
SELECT 'MUTE', CASE WHEN m.tenant_hk IS NOT NULL THEN encode(m.tenant_hk, 'hex') WHEN m.is_system_only THEN 'SYSTEM' END, m.resource_type, m.resource_name,
       m.from_at, m.until_at, NULL, 'UTC'
FROM capacity_alerting.mute m
WHERE m.capacity_threshold_hk IS NULL;
