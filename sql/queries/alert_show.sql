-- All that is known of one alert, with the keys of its threshold and its tenant.
SELECT capacity_alerting.short_id(a.alert_hk) AS id, encode(a.alert_hk, 'hex') AS alert, coalesce(t.tenant_bk, CASE WHEN a.tenant_hk IS NULL THEN 'SYSTEM' ELSE encode(a.tenant_hk, 'hex') END) AS tenant,
       coalesce(t.is_simulated, false) AS is_simulated, a.threshold_name, a.threshold_type, a.resource_type, a.resource_name, a.condition, a.severity, a.status, a.message,
       a.level, a.next_level, a.value_at_raise, a.peak, a.raised_at, a.started_at, a.ended_at, a.ended_by, a.escalations,
       a.acknowledged_at, a.acknowledged_by, a.acknowledged_note, a.resolved_at, a.resolved_by, a.resolved_note, a.resolved_how,
       a.verdict, a.verdict_by, a.verdict_at, a.verdict_reason, a.horizon_until, a.reached_at, a.lead_time,
       encode(a.capacity_threshold_hk, 'hex') AS threshold, CASE WHEN a.tenant_hk IS NOT NULL THEN encode(a.tenant_hk, 'hex') END AS tenant_hk
FROM capacity_alerting.alert a
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = a.tenant_hk
WHERE a.alert_hk = decode(:alert, 'hex');
