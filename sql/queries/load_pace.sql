-- How often each resource is measured: the median spacing here; of a single measurement, what its earlier ones say.
WITH gap AS (
    SELECT resource, measured_at - lag(measured_at) OVER (PARTITION BY resource ORDER BY measured_at) AS gap
    FROM pg_temp.load_incoming),
pace AS (
    SELECT resource, extract(epoch FROM percentile_disc(0.5) WITHIN GROUP (ORDER BY gap)) AS seconds
    FROM gap
    GROUP BY resource)
UPDATE pg_temp.load_resource r
SET monitoring_frequency_seconds = coalesce(
    CASE WHEN p.seconds IS NOT NULL THEN greatest(1, least(round(p.seconds), 2147483647)) END,
    (SELECT s.monitoring_frequency_seconds FROM capacity_planning.resource_utilization_s s
     WHERE s.resource_utilization_hk = r.resource_utilization_hk AND s.load_end_date IS NULL
     ORDER BY s.measurement_timestamp DESC LIMIT 1))
FROM pace p
WHERE p.resource = r.resource
