-- The alerts whose key begins as somebody typed it: one, if it was typed far enough. Where none does, those that a message
-- tells of first whose own key, or its incident's, begins so: at three at night that may be all that somebody has.
WITH typed AS MATERIALIZED (
    SELECT h.alert_hk, false AS by_message FROM capacity_alerting.alert_h h
    WHERE h.alert_hk BETWEEN decode(rpad(:beginning, 64, '0'), 'hex') AND decode(rpad(:beginning, 64, 'f'), 'hex')
    ORDER BY h.alert_hk LIMIT 6),
incident AS (
    SELECT DISTINCT n.dedup_key
    FROM capacity_alerting.notification_s n JOIN capacity_alerting.notification_h h ON h.notification_hk = n.notification_hk
    WHERE n.load_end_date IS NULL AND (starts_with(h.notification_bk, :beginning) OR starts_with(n.dedup_key, :beginning)) AND NOT EXISTS (SELECT FROM typed)),
told AS (
    SELECT DISTINCT k.alert_hk, true AS by_message
    FROM incident i
    JOIN capacity_alerting.notification_s n ON n.dedup_key = i.dedup_key AND n.load_end_date IS NULL
    JOIN capacity_alerting.notification_alert_l k ON k.notification_hk = n.notification_hk AND k.is_cause)
SELECT encode(a.alert_hk, 'hex') AS alert, a.resource_type, a.resource_name, a.status, x.by_message,
       coalesce(t.tenant_bk, CASE WHEN a.tenant_hk IS NULL THEN 'SYSTEM' ELSE encode(a.tenant_hk, 'hex') END) AS tenant
FROM (SELECT * FROM typed UNION ALL SELECT * FROM told) x
JOIN capacity_alerting.alert a ON a.alert_hk = x.alert_hk
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = a.tenant_hk
ORDER BY a.alert_hk
LIMIT 6;
