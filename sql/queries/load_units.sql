-- One resource is counted in one unit for all time, or its series means nothing: refused is a unit other than the
-- stored measurements', the registered capacity's, or that of an earlier line of the same source.
WITH contradiction AS (
    SELECT r.resource, r.resource_type, r.resource_name, r.unit,
           coalesce(stored.unit, registered.unit, first_value(r.unit) OVER (
               PARTITION BY r.resource_utilization_hk ORDER BY r.resource)) AS expected
    FROM pg_temp.load_resource r
    LEFT JOIN LATERAL (
        SELECT s.unit FROM capacity_planning.resource_utilization_s s
        WHERE s.resource_utilization_hk = r.resource_utilization_hk AND s.load_end_date IS NULL
        ORDER BY s.measurement_timestamp DESC LIMIT 1) stored ON true
    LEFT JOIN LATERAL (
        SELECT c.unit FROM capacity_ops.capacity_registry c
        WHERE c.resource_type = r.resource_type AND c.resource_name = r.resource_name
          AND c.tenant_hk IS NOT DISTINCT FROM r.tenant_hk
        ORDER BY c.valid_from DESC LIMIT 1) registered ON true)
SELECT c.resource_type, c.resource_name, c.unit, c.expected, count(*) AS count,
       (array_agg(i.line ORDER BY i.line))[1:5] AS lines
FROM contradiction c
JOIN pg_temp.load_incoming i USING (resource)
WHERE c.unit <> c.expected
GROUP BY c.resource_type, c.resource_name, c.unit, c.expected
ORDER BY min(i.line)
LIMIT 3
