-- When history is to be analysed from: the first of each month that has 14 days of measurements before it, and :as_of.
WITH span AS (
    SELECT min(measurement_timestamp) AS first, coalesce(CAST(:as_of AS timestamptz), now()) AS last
    FROM capacity_planning.resource_utilization_s
    WHERE load_end_date IS NULL AND (NOT :system_only OR tenant_hk IS NULL)
      AND (CAST(:tenant AS text) IS NULL OR tenant_hk = decode(CAST(:tenant AS text), 'hex')))
SELECT origin
FROM span
CROSS JOIN LATERAL (
    SELECT generate_series(date_trunc('month', first + interval '14 days') + interval '1 month', last, '1 month')
    UNION
    SELECT last) o (origin)
WHERE first IS NOT NULL
ORDER BY origin;
