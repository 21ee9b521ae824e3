-- For each threshold on a level two resources that nobody has: one exactly past its level, one just short of it. Whoever runs this
-- rolls it back: it is how a threshold is shown to fire, and to keep quiet, without waiting for a bad day.
WITH trial AS (
    SELECT t.tenant_hk, t.resource_type, t.resource_category, side.name,
           'synthetic ' || side.name || ' ' || encode(t.capacity_threshold_hk, 'hex') AS resource_name,
           t.threshold_percentage + CASE WHEN t.threshold_operator IN ('>=', '>') THEN 1 ELSE -1 END
               * (CASE WHEN t.threshold_operator IN ('>=', '<=') THEN 0.00 ELSE 0.01 END - CASE side.name WHEN 'short' THEN 0.01 ELSE 0 END) AS share
    FROM capacity_planning.capacity_threshold_s t
    CROSS JOIN (VALUES ('past'), ('short')) AS side (name)
    WHERE t.load_end_date IS NULL AND t.threshold_type IN ('WARNING', 'CRITICAL') AND (:scope = 'ALL' OR capacity_ops.tenant_key(t.tenant_hk) = :scope)),
keyed AS (
    SELECT trial.*, capacity_ops.resource_key(resource_type, resource_name, tenant_hk) AS resource_bk FROM trial),
hub AS (
    INSERT INTO capacity_planning.resource_utilization_h (resource_utilization_hk, resource_utilization_bk, load_date, record_source)
    SELECT capacity_ops.hash_key(resource_bk), resource_bk, clock_timestamp(), 'VERIFICATION' FROM keyed)
INSERT INTO capacity_planning.resource_utilization_s
    (resource_utilization_hk, load_date, hash_diff, tenant_hk, measurement_timestamp, resource_type, resource_name, resource_category,
     current_value, unit, maximum_capacity, record_source)
SELECT capacity_ops.hash_key(resource_bk), clock_timestamp(), capacity_ops.hash_key('verification'), tenant_hk, CAST(:as_of AS timestamptz),
       resource_type, resource_name, resource_category, share, 'percent', 100, 'VERIFICATION'
FROM keyed;
