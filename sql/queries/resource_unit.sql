-- The unit that a resource is measured in, by its newest measurement; no row when it was never measured.
SELECT unit
FROM capacity_planning.resource_utilization_s
WHERE resource_utilization_hk = capacity_ops.hash_key(capacity_ops.resource_key(
          CAST(:resource_type AS text), CAST(:resource_name AS text), decode(CAST(:tenant AS text), 'hex')))
  AND load_end_date IS NULL
ORDER BY measurement_timestamp DESC
LIMIT 1;
