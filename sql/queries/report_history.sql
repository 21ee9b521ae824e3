-- The measurements of some resources up to :as_of, each with the capacity of its time. Where there are more than a
-- figure can show, the last of each of :points equal spans: enough for the eye, and bounded whatever the spacing.
SELECT DISTINCT ON (s.resource_utilization_hk, bucket.number)
       encode(s.resource_utilization_hk, 'hex') AS resource, s.resource_type, s.resource_name, s.unit,
       s.measurement_timestamp AS measured_at, s.current_value AS value,
       coalesce(s.maximum_capacity,
                capacity_ops.capacity_at(s.tenant_hk, s.resource_type, s.resource_name, s.measurement_timestamp)) AS capacity
FROM (SELECT capacity_ops.own_servers() AS servers) own
CROSS JOIN unnest(CAST(:resources AS text[])) AS wanted (resource)
JOIN capacity_planning.resource_utilization_s s
  ON s.resource_utilization_hk = decode(wanted.resource, 'hex') AND s.load_end_date IS NULL
 AND s.measurement_timestamp > CAST(:as_of AS timestamptz) - make_interval(days => CAST(:days AS integer))
 AND s.measurement_timestamp <= CAST(:as_of AS timestamptz)
 AND (s.system_identifier IS NULL OR s.system_identifier = ANY (own.servers))
CROSS JOIN LATERAL (SELECT floor(extract(epoch FROM CAST(:as_of AS timestamptz) - s.measurement_timestamp)
                                 * CAST(:points AS integer) / (CAST(:days AS integer) * 86400)) AS number) bucket
ORDER BY s.resource_utilization_hk, bucket.number DESC, s.measurement_timestamp DESC;
