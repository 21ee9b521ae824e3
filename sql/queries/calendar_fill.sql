-- Holidays (:days, a list of day and name) that a business calendar does not hold yet: a tenant's, or with NULL everyone's.
INSERT INTO capacity_alerting.holiday (tenant_hk, day, name)
SELECT decode(CAST(:tenant AS text), 'hex'), d.day, d.name
FROM jsonb_to_recordset(CAST(:days AS jsonb)) AS d (day date, name text)
ON CONFLICT DO NOTHING;
