-- Of all that somebody set a threshold for, what is watched: a tenant's resource type with an active threshold is covered when the
-- evaluation could judge a fresh measurement of it, and no capacity is unknown: a threshold on an unknown capacity can never fire.
SELECT coalesce(t.tenant_name, t.tenant_bk, CASE WHEN e.tenant_hk IS NULL THEN 'System' ELSE encode(e.tenant_hk, 'hex') END) AS tenant,
       e.resource_type, c.is_covered, CASE WHEN NOT c.is_covered THEN e.reason END AS reason
FROM (SELECT v.tenant_hk, v.resource_type, bool_or(v.verdict_reason IS NULL) AS is_judged, min(v.verdict_reason) AS reason,
             count(*) FILTER (WHERE v.verdict_reason = 'capacity unknown') AS unknown
      FROM capacity_ops.verdicts(NULL, CAST(:as_of AS timestamptz)) v
      WHERE :scope = 'ALL' OR capacity_ops.tenant_key(v.tenant_hk) = :scope
      GROUP BY v.tenant_hk, v.resource_type) e
CROSS JOIN LATERAL (SELECT e.is_judged AND e.unknown = 0 AS is_covered) c
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = e.tenant_hk
ORDER BY 1, 2;
