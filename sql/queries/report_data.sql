-- The guide's data quality verification, by resource type, as the measurements stood at :as_of.
SELECT s.resource_type, count(*) AS measurements, count(DISTINCT s.resource_utilization_hk) AS resources,
       count(*) FILTER (WHERE s.current_value > 0) AS above_zero,
       avg(s.current_value / nullif(coalesce(s.maximum_capacity,
           capacity_ops.capacity_at(s.tenant_hk, s.resource_type, s.resource_name, s.measurement_timestamp)), 0) * 100) AS utilization,
       max(s.measurement_timestamp) AS newest
FROM capacity_planning.resource_utilization_s s
WHERE s.load_end_date IS NULL AND s.measurement_timestamp <= CAST(:as_of AS timestamptz)
  AND s.measurement_timestamp > CAST(:as_of AS timestamptz) - make_interval(days => CAST(:days AS integer))
  AND (:scope = 'ALL' OR capacity_ops.tenant_key(s.tenant_hk) = :scope)
GROUP BY s.resource_type
ORDER BY s.resource_type;
