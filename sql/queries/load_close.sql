-- A corrected measurement's earlier version stays, closed.
UPDATE capacity_planning.resource_utilization_s s
SET load_end_date = CAST(:load_date AS timestamptz)
FROM pg_temp.load_correction c
WHERE s.resource_utilization_hk = c.resource_utilization_hk AND s.measurement_timestamp = c.measured_at
  AND s.load_date = c.load_date
