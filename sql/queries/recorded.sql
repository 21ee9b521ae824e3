-- What was recorded in this transaction, as capture returns it: a capture records the tenants too, and returns the
-- system's rows only.
SELECT n.tenant_hk, n.resource_type, n.resource_name, n.current_value AS current_usage, n.capacity, n.unit,
       round(n.utilization_percentage, 4) AS utilization_percentage,
       capacity_ops.status(n.utilization_percentage, l.warning, l.critical) AS status, s.measurement_method
FROM capacity_ops.newest(NULL, clock_timestamp()) n
CROSS JOIN LATERAL capacity_ops.levels(n.tenant_hk, n.resource_type) l
JOIN capacity_planning.resource_utilization_s s
    ON s.resource_utilization_hk = n.resource_utilization_hk AND s.measurement_timestamp = n.measurement_timestamp
   AND s.load_end_date IS NULL
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = n.tenant_hk
WHERE n.measurement_timestamp >= now() AND s.measurement_latency_ms IS NOT NULL
ORDER BY t.tenant_bk NULLS FIRST, n.resource_type, n.resource_name;
