-- Whose working hours are which, with their holidays; the row without a tenant is everyone else's.
SELECT CASE WHEN c.tenant_hk IS NOT NULL THEN encode(c.tenant_hk, 'hex') END AS tenant_key, c.time_zone, c.working_days, c.opens, c.closes,
       c.night_from, c.night_to, coalesce(n.tenant_name, n.tenant_bk, encode(c.tenant_hk, 'hex'), 'everyone') AS tenant,
       ARRAY(SELECT h.day FROM capacity_alerting.holiday h WHERE h.tenant_hk IS NOT DISTINCT FROM c.tenant_hk ORDER BY h.day) AS holidays
FROM capacity_alerting.business_calendar c
LEFT JOIN capacity_ops.tenant n ON n.tenant_hk = c.tenant_hk
ORDER BY c.tenant_hk NULLS FIRST;
