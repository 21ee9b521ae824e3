-- The next :size resources after the key :after with what was measured of each in :days days: (microseconds since 2000, value)
-- pairs of big-endian eight bytes, which numpy reads as they are. Values that no double can square stay out.
WITH page AS MATERIALIZED (
    SELECT d.* FROM capacity_ops.engine_due(decode(CAST(:tenant AS text), 'hex'), :system_only, CAST(:resource_type AS text),
                                            CAST(:as_of AS timestamptz), :again, decode(CAST(:after AS text), 'hex')) d
    ORDER BY d.resource_utilization_hk LIMIT :size)
SELECT p.resource_utilization_hk, p.tenant_hk, p.resource_type, p.resource_name, p.resource_category, p.unit, p.current_usage, p.capacity,
       p.measured_at, p.origin_at, l.warning, l.critical, k.measurements
FROM page p
CROSS JOIN LATERAL capacity_ops.levels(p.tenant_hk, p.resource_type) l
CROSS JOIN LATERAL (
    SELECT string_agg(timestamptz_send(s.measurement_timestamp) || float8send(CAST(s.current_value AS float8)), '') AS measurements
    FROM capacity_planning.resource_utilization_s s
    WHERE s.resource_utilization_hk = p.resource_utilization_hk AND s.load_end_date IS NULL AND s.unit = p.unit
      AND s.measurement_timestamp <= p.measured_at
      AND s.measurement_timestamp > p.origin_at - make_interval(hours => 24 * CAST(:days AS integer))
      AND s.current_value < 1e150
      AND (s.system_identifier IS NULL OR s.system_identifier = ANY (CAST((SELECT capacity_ops.own_servers()) AS bigint[])))) k
ORDER BY p.resource_utilization_hk;
