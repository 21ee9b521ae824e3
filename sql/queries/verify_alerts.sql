-- Every active threshold's synthetic breach, from evaluation to a rendered message, beside what else keeps it from its work. Whoever runs this rolls it back.
WITH problem AS MATERIALIZED (
    SELECT DISTINCT k.capacity_threshold_hk, k.tenant_hk, k.threshold_name, k.resource_type, k.problem,
           min(k.advice) OVER (PARTITION BY k.capacity_threshold_hk, k.problem) AS advice
    FROM capacity_alerting.threshold_problem k),
rehearsed AS MATERIALIZED (SELECT * FROM capacity_alerting.rehearse()),
told AS MATERIALIZED (
    SELECT r.capacity_threshold_hk, string_agg(q.problem, '; ' ORDER BY q.problem = r.reason DESC, q.problem) AS problem,
           string_agg(q.advice, ' ' ORDER BY q.problem = r.reason DESC, q.problem) AS advice
    FROM rehearsed r JOIN problem q ON q.capacity_threshold_hk = r.capacity_threshold_hk
    GROUP BY r.capacity_threshold_hk)
SELECT encode(r.capacity_threshold_hk, 'hex') AS threshold,
       coalesce(t.tenant_bk, CASE WHEN r.tenant_hk IS NULL THEN 'SYSTEM' ELSE encode(r.tenant_hk, 'hex') END) AS tenant,
       r.threshold_name, r.resource_type, r.resource_name, r.condition, r.fired, r.reason, r.message, r.subject, r.body, r.channels,
       p.problem, p.advice
FROM rehearsed r
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = r.tenant_hk
LEFT JOIN told p ON p.capacity_threshold_hk = r.capacity_threshold_hk
UNION ALL
SELECT encode(k.capacity_threshold_hk, 'hex'), coalesce(t.tenant_bk, encode(k.tenant_hk, 'hex')), k.threshold_name, k.resource_type, NULL, NULL, false,
       k.problem, NULL, NULL, NULL, NULL, k.problem, k.advice
FROM problem k
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = k.tenant_hk
WHERE k.problem = 'tenant not active'
ORDER BY 7, 2, 4, 3;
