-- The business calendars: everyone's first, each with how many holidays it still knows of.
SELECT coalesce(n.tenant_bk, encode(c.tenant_hk, 'hex'), 'everyone') AS tenant, c.time_zone, c.working_days, c.opens, c.closes, c.night_from, c.night_to,
       h.ahead AS holidays_ahead, h.next AS next_holiday
FROM capacity_alerting.business_calendar c
LEFT JOIN capacity_ops.tenant n ON n.tenant_hk = c.tenant_hk
CROSS JOIN LATERAL (
    SELECT count(*) AS ahead, to_char(min(d.day), 'YYYY-MM-DD') || ' ' || (array_agg(d.name ORDER BY d.day))[1] AS next
    FROM capacity_alerting.holiday d
    WHERE d.tenant_hk IS NOT DISTINCT FROM c.tenant_hk AND d.day >= (clock_timestamp() AT TIME ZONE c.time_zone)::date) h
ORDER BY c.tenant_hk NULLS FIRST;
