-- The alerts of the scope for whoever looks at three at night: what is open first, the gravest first, each with a short id to type.
-- At most :most of them (NULL: all), beside how many there are; ids are made for those alone.
WITH chosen AS MATERIALIZED (
    SELECT a.*, coalesce(t.tenant_bk, CASE WHEN a.tenant_hk IS NULL THEN 'SYSTEM' ELSE encode(a.tenant_hk, 'hex') END) AS tenant,
           coalesce(t.is_simulated, false) AS is_simulated, count(*) OVER () AS in_all, count(*) FILTER (WHERE a.status = 'OPEN') OVER () AS in_all_open,
           row_number() OVER (ORDER BY array_position('{OPEN,ACKNOWLEDGED,RESOLVED}'::text[], a.status), a.severity = 'CRITICAL' DESC, a.raised_at DESC,
                                       a.alert_hk) AS place
    FROM capacity_alerting.alert a
    LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = a.tenant_hk
    WHERE (CAST(:tenant AS text) IS NULL OR a.tenant_hk = decode(CAST(:tenant AS text), 'hex')) AND (NOT :system_only OR a.tenant_hk IS NULL)
      AND (a.status <> 'RESOLVED' OR (:resolved_too AND (CAST(:since AS timestamptz) IS NULL OR a.raised_at >= CAST(:since AS timestamptz))))
    ORDER BY place
    LIMIT CAST(:most AS bigint))
SELECT capacity_alerting.short_id(a.alert_hk) AS id, encode(a.alert_hk, 'hex') AS alert, a.tenant, a.is_simulated, a.threshold_name, a.threshold_type, a.resource_type, a.resource_name,
       a.condition, a.severity, a.status, a.message, a.level, a.next_level, a.value_at_raise, a.peak, a.raised_at, a.started_at, a.ended_at, a.ended_by,
       a.escalations, a.acknowledged_at, a.acknowledged_by, a.acknowledged_note, a.resolved_at, a.resolved_by, a.resolved_note, a.resolved_how,
       a.verdict, a.verdict_by, a.verdict_at, a.verdict_reason, a.horizon_until, a.reached_at, a.lead_time, a.in_all, a.in_all_open
FROM chosen a
ORDER BY a.place;
