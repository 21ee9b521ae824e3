-- Measurements of a tenant that the platform does not have: refused, with the lines.
SELECT encode(r.tenant_hk, 'hex') AS tenant, count(*) AS count, (array_agg(i.line ORDER BY i.line))[1:5] AS lines
FROM pg_temp.load_resource r
JOIN pg_temp.load_incoming i USING (resource)
WHERE r.tenant_hk IS NOT NULL AND NOT EXISTS (SELECT FROM auth.tenant_h t WHERE t.tenant_hk = r.tenant_hk)
GROUP BY r.tenant_hk
ORDER BY min(i.line)
LIMIT 3
