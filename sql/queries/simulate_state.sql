-- Whether a simulation may be written here: how many tenants are real, and which simulation is there already.
SELECT (SELECT count(*) FROM auth.tenant_h WHERE record_source <> 'SIMULATION') AS real_tenants,
       newest.measurement_timestamp AS newest, newest.measurement_method AS method
FROM (VALUES (1)) AS always (row)
LEFT JOIN (
    SELECT s.measurement_timestamp, s.measurement_method
    FROM auth.tenant_h t
    JOIN capacity_planning.resource_utilization_h h ON h.record_source = 'SIMULATION'
    JOIN capacity_planning.resource_utilization_s s
        ON s.resource_utilization_hk = h.resource_utilization_hk AND s.tenant_hk = t.tenant_hk AND s.load_end_date IS NULL
    WHERE t.record_source = 'SIMULATION' AND s.record_source = 'SIMULATION'
    ORDER BY s.measurement_timestamp DESC
    LIMIT 1) newest ON true;
