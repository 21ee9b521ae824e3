-- Stored measurements that the source now gives another value or capacity. A source that does not say a capacity
-- does not unsay the stored one.
CREATE TEMPORARY TABLE load_correction ON COMMIT DROP AS
SELECT i.resource, i.measured_at, s.resource_utilization_hk, s.load_date, s.maximum_capacity
FROM pg_temp.load_incoming i
JOIN pg_temp.load_resource r USING (resource)
JOIN capacity_planning.resource_utilization_s s
    ON s.resource_utilization_hk = r.resource_utilization_hk AND s.measurement_timestamp = i.measured_at
   AND s.load_end_date IS NULL
WHERE s.current_value <> CAST(CAST(i.value AS text) AS numeric)
   OR (i.capacity <> 'NaN' AND s.maximum_capacity IS DISTINCT FROM CAST(CAST(i.capacity AS text) AS numeric))
