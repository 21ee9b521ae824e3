-- Whether alerting has told how good any threshold is: until then none of them is tuned.
SELECT count(*) > 0 AS rated
FROM capacity_planning.capacity_threshold_s t
WHERE t.load_end_date IS NULL AND t.false_positive_rate IS NOT NULL
  AND (:scope = 'ALL' OR capacity_ops.tenant_key(t.tenant_hk) = :scope);
