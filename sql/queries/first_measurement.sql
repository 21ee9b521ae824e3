-- A resource's first measurement of this server at or after :since, the first that a capacity registered from then on judges;
-- NULL when none was taken since.
SELECT min(measurement_timestamp) AS measured_at
FROM capacity_planning.resource_utilization_s
WHERE resource_utilization_hk = capacity_ops.hash_key(capacity_ops.resource_key(
          CAST(:resource_type AS text), CAST(:resource_name AS text), decode(CAST(:tenant AS text), 'hex')))
  AND load_end_date IS NULL AND measurement_timestamp >= CAST(:since AS timestamptz)
  AND (system_identifier IS NULL OR system_identifier = ANY (capacity_ops.own_servers()));
