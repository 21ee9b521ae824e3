-- Stores every staged measurement that has no current row: the new ones, and the corrected ones, just closed.
-- double precision goes to numeric by way of its shortest text, since the direct cast keeps 15 digits only.
-- Rows are written resource by resource, the order in which they are read.
INSERT INTO capacity_planning.resource_utilization_s
    (resource_utilization_hk, load_date, hash_diff, tenant_hk, measurement_timestamp,
     resource_type, resource_name, resource_category, current_value, unit, maximum_capacity, utilization_percentage,
     measurement_source, measurement_method, monitoring_frequency_seconds, record_source)
SELECT r.resource_utilization_hk, CAST(:load_date AS timestamptz),
       sha256(convert_to(concat_ws('|', m.value, m.capacity, r.unit), 'UTF8')),
       r.tenant_hk, m.measured_at, r.resource_type, r.resource_name, r.resource_category,
       m.value, r.unit, m.capacity, round(m.value / m.capacity * 100, 6),
       CAST(:measurement_source AS varchar), CAST(:measurement_method AS varchar), r.monitoring_frequency_seconds,
       CAST(:record_source AS varchar)
FROM (
    SELECT i.resource, i.measured_at, CAST(CAST(i.value AS text) AS numeric) AS value,
           coalesce(CAST(CAST(nullif(i.capacity, 'NaN') AS text) AS numeric), c.maximum_capacity) AS capacity
    FROM pg_temp.load_incoming i
    LEFT JOIN pg_temp.load_correction c ON c.resource = i.resource AND c.measured_at = i.measured_at
    ORDER BY i.resource, i.measured_at) m
JOIN pg_temp.load_resource r ON r.resource = m.resource
WHERE NOT EXISTS (
    SELECT FROM capacity_planning.resource_utilization_s s
    WHERE s.resource_utilization_hk = r.resource_utilization_hk AND s.measurement_timestamp = m.measured_at
      AND s.load_end_date IS NULL)
