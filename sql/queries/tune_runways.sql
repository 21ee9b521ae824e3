-- What the growth engine's forecasts said when they were issued: days until a level, by probability. Nothing here was known later than its origin.
SELECT encode(u.resource_utilization_hk, 'hex') AS resource, s.forecast_timestamp AS issued_at, level.name AS level,
       (level.days ->> 'p10')::float8 AS p10, (level.days ->> 'p50')::float8 AS p50, (level.days ->> 'p90')::float8 AS p90
FROM capacity_planning.capacity_forecast_s s
JOIN capacity_planning.forecast_utilization_l u USING (capacity_forecast_hk)
CROSS JOIN LATERAL jsonb_each(s.model_parameters -> 'runway') AS level (name, days)
WHERE s.method = 'ENGINE' AND jsonb_typeof(s.model_parameters -> 'runway') = 'object' AND jsonb_typeof(level.days) = 'object'
  AND encode(u.resource_utilization_hk, 'hex') = ANY (CAST(:resources AS text[])) AND s.forecast_timestamp <= CAST(:as_of AS timestamptz)
ORDER BY s.forecast_timestamp, s.load_date;
