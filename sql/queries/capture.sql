-- Measure, and record what was measured: the system's resources, or with :tenant (hex of tenant_hk) a tenant's;
-- :measured is what a program on the server's host adds to them.
SELECT c.tenant_hk, c.resource_type, c.resource_name, c.current_usage, c.capacity, c.unit, c.utilization_percentage, c.status,
       c.measurement_method
FROM capacity_planning.capture_resource_utilization(decode(CAST(:tenant AS text), 'hex'), CAST(:measured AS jsonb)) c
ORDER BY c.resource_type, c.resource_name;
