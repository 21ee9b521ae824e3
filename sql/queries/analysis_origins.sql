-- When history is yet to be analysed from: the first of each month, and :as_of (NULL: now), wherever a resource has 14 days
-- of measurements before it and no forecast of :method from then or later.
WITH resource AS (
    SELECT tenant_hk, resource_type, resource_name, min(measurement_timestamp) + interval '14 days' AS ready
    FROM capacity_planning.resource_utilization_s
    WHERE load_end_date IS NULL AND (NOT :system_only OR tenant_hk IS NULL)
      AND (CAST(:tenant AS text) IS NULL OR tenant_hk = decode(CAST(:tenant AS text), 'hex'))
    GROUP BY 1, 2, 3),
due AS (
    SELECT r.ready, max(f.forecast_timestamp) AS newest
    FROM resource r
    LEFT JOIN capacity_planning.capacity_forecast_s f
        ON f.tenant_hk IS NOT DISTINCT FROM r.tenant_hk AND f.resource_type = r.resource_type
       AND f.resource_name = r.resource_name AND f.method = :method AND f.load_end_date IS NULL
    GROUP BY r.tenant_hk, r.resource_type, r.resource_name, r.ready),
span AS (
    SELECT min(ready) AS first, coalesce(CAST(:as_of AS timestamptz), now()) AS last FROM due),
origins AS (
    SELECT generate_series(date_trunc('month', first) + interval '1 month', last, '1 month') AS origin FROM span
    UNION
    SELECT last FROM span)
SELECT origin
FROM origins o
WHERE EXISTS (SELECT FROM due WHERE due.ready <= o.origin AND (due.newest IS NULL OR due.newest < o.origin))
ORDER BY origin;
