-- The mutes that hold now or will, the first to end first; a threshold's says whose the threshold is.
SELECT m.mute_id, t.threshold_name,
       coalesce(n.tenant_bk, encode(o.tenant_hk, 'hex'), CASE WHEN m.is_system_only OR t.capacity_threshold_hk IS NOT NULL THEN 'SYSTEM' END) AS tenant,
       m.resource_type, m.resource_name, m.from_at, m.until_at, m.muted_by, m.reason
FROM capacity_alerting.mute m
LEFT JOIN capacity_planning.capacity_threshold_s t ON t.capacity_threshold_hk = m.capacity_threshold_hk AND t.load_end_date IS NULL
CROSS JOIN LATERAL (SELECT coalesce(m.tenant_hk, t.tenant_hk) AS tenant_hk) o
LEFT JOIN capacity_ops.tenant n ON n.tenant_hk = o.tenant_hk
WHERE m.until_at > clock_timestamp()
ORDER BY m.until_at, m.mute_id;
