-- The resource types that there are: measured at least once, or with a threshold. A report on another one is a typing error.
SELECT DISTINCT split_part(resource_utilization_bk, '|', 1) AS resource_type FROM capacity_planning.resource_utilization_h
UNION
SELECT resource_type FROM capacity_planning.capacity_threshold_s WHERE load_end_date IS NULL
ORDER BY 1;
