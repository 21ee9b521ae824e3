-- The measurements of some resources up to :as_of, each with the capacity of its time. Where there are more than a
-- figure can show, the last of each of :points equal spans of what was measured: enough for the eye, and bounded whatever the spacing.
WITH measured AS MATERIALIZED (
    SELECT s.resource_utilization_hk, s.tenant_hk, s.resource_type, s.resource_name, s.unit, s.measurement_timestamp AS at,
           s.current_value, s.maximum_capacity,
           min(s.measurement_timestamp) OVER series AS first,
           extract(epoch FROM max(s.measurement_timestamp) OVER series - min(s.measurement_timestamp) OVER series) / CAST(:points AS integer) AS width
    FROM (SELECT capacity_ops.own_servers() AS servers) own
    CROSS JOIN unnest(CAST(:resources AS text[])) AS wanted (resource)
    JOIN capacity_planning.resource_utilization_s s
      ON s.resource_utilization_hk = decode(wanted.resource, 'hex') AND s.load_end_date IS NULL
     AND s.measurement_timestamp > CAST(:as_of AS timestamptz) - make_interval(days => CAST(:days AS integer))
     AND s.measurement_timestamp <= CAST(:as_of AS timestamptz)
     AND (s.system_identifier IS NULL OR s.system_identifier = ANY (own.servers))
    WINDOW series AS (PARTITION BY s.resource_utilization_hk)),
thinned AS (
    SELECT DISTINCT ON (m.resource_utilization_hk, span.number) m.*
    FROM measured m
    CROSS JOIN LATERAL (SELECT ceil(extract(epoch FROM m.at - m.first) / nullif(m.width, 0)) AS number) span
    ORDER BY m.resource_utilization_hk, span.number, m.at DESC)
SELECT encode(t.resource_utilization_hk, 'hex') AS resource, t.resource_type, t.resource_name, t.unit, t.at AS measured_at,
       t.current_value AS value,
       coalesce(t.maximum_capacity, capacity_ops.capacity_at(t.tenant_hk, t.resource_type, t.resource_name, t.at)) AS capacity
FROM thinned t
ORDER BY t.resource_utilization_hk, t.at;
