-- The resources with the keys :keys (their hex, separated by commas) with what was measured of each in :days days.
SELECT d.resource_utilization_hk, d.tenant_hk, d.resource_type, d.resource_name, d.resource_category, d.unit, d.current_usage, d.capacity,
       d.measured_at, d.origin_at, CAST(NULL AS numeric) AS warning, CAST(NULL AS numeric) AS critical, k.measurements, CAST(NULL AS text) AS changes
FROM unnest(string_to_array(CAST(:keys AS text), ',')) AS asked (key)
CROSS JOIN LATERAL (
    SELECT e.* FROM capacity_ops.engine_due(NULL, false, NULL, CAST(:as_of AS timestamptz), true, '') e
    WHERE e.resource_utilization_hk = decode(asked.key, 'hex')) d
CROSS JOIN LATERAL capacity_ops.engine_measurements(d.resource_utilization_hk, d.unit, d.measured_at, d.origin_at, CAST(:days AS integer)) k
ORDER BY d.resource_utilization_hk;
