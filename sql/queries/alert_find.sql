-- The alerts whose key begins as somebody typed it: one, if it was typed far enough.
SELECT encode(a.alert_hk, 'hex') AS alert, a.resource_type, a.resource_name, a.status,
       coalesce(t.tenant_bk, CASE WHEN a.tenant_hk IS NULL THEN 'SYSTEM' ELSE encode(a.tenant_hk, 'hex') END) AS tenant
FROM capacity_alerting.alert a
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = a.tenant_hk
WHERE a.alert_hk BETWEEN decode(rpad(:beginning, 64, '0'), 'hex') AND decode(rpad(:beginning, 64, 'f'), 'hex')
ORDER BY a.alert_hk
LIMIT 6;
