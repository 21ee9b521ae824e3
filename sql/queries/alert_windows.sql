-- The maintenance windows that are not over, the next first.
SELECT w.maintenance_id, coalesce(n.tenant_bk, encode(w.tenant_hk, 'hex'), CASE WHEN w.is_system_only THEN 'SYSTEM' END) AS tenant, w.resource_type, w.starts_at, w.ends_at, w.repeat_weeks,
       w.time_zone, w.reason, w.declared_by
FROM capacity_alerting.maintenance_window w
LEFT JOIN capacity_ops.tenant n ON n.tenant_hk = w.tenant_hk
WHERE w.repeat_weeks IS NOT NULL OR w.ends_at > clock_timestamp()
ORDER BY w.starts_at, w.maintenance_id;
