-- The next :size resources after the key :after with what was measured of each in :days days.
WITH page AS MATERIALIZED (
    SELECT d.* FROM capacity_ops.engine_due(decode(CAST(:tenant AS text), 'hex'), :system_only, CAST(:resource_type AS text),
                                            CAST(:as_of AS timestamptz), :again, decode(CAST(:after AS text), 'hex')) d
    ORDER BY d.resource_utilization_hk LIMIT :size)
SELECT p.resource_utilization_hk, p.tenant_hk, p.resource_type, p.resource_name, p.resource_category, p.unit, p.current_usage, p.capacity,
       p.measured_at, p.origin_at, l.warning, l.critical, k.measurements, c.changes
FROM page p
CROSS JOIN LATERAL capacity_ops.levels(p.tenant_hk, p.resource_type) l
CROSS JOIN LATERAL capacity_ops.engine_measurements(p.resource_utilization_hk, p.unit, p.measured_at, p.origin_at, CAST(:days AS integer)) k
CROSS JOIN LATERAL capacity_ops.engine_capacity_changes(p.tenant_hk, p.resource_type, p.resource_name, p.unit, p.capacity, p.measured_at,
                                                        CAST(:as_of AS timestamptz)) c
ORDER BY p.resource_utilization_hk;
