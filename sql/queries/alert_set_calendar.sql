-- When a tenant's people (NULL: everyone without a calendar of their own) are at work; what is NULL stays, or is as everyone's.
SELECT capacity_alerting.set_business_calendar(
           p_tenant_hk => decode(CAST(:tenant AS text), 'hex'),
           p_time_zone => coalesce(CAST(:time_zone AS text), own.time_zone, everyones.time_zone, 'UTC'),
           p_working_days => coalesce(CAST(:working_days AS integer[]), own.working_days, everyones.working_days),
           p_opens => coalesce(CAST(:opens AS time), own.opens, everyones.opens), p_closes => coalesce(CAST(:closes AS time), own.closes, everyones.closes),
           p_night_from => coalesce(CAST(:night_from AS time), own.night_from, everyones.night_from),
           p_night_to => coalesce(CAST(:night_to AS time), own.night_to, everyones.night_to))
FROM (VALUES (1)) AS one (row)
LEFT JOIN capacity_alerting.business_calendar own ON own.tenant_hk = decode(CAST(:tenant AS text), 'hex')
LEFT JOIN capacity_alerting.business_calendar everyones ON everyones.tenant_hk IS NULL;
