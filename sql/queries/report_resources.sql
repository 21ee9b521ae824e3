-- Every resource of the scope as it stands: newest measurement, peak of 30 days, levels, status and how far its measurements can be relied on.
SELECT encode(n.resource_utilization_hk, 'hex') AS resource, n.resource_type, n.resource_name, n.unit,
       coalesce(t.tenant_name, t.tenant_bk, CASE WHEN n.tenant_hk IS NULL THEN 'System' ELSE encode(n.tenant_hk, 'hex') END) AS tenant,
       capacity_ops.tenant_key(n.tenant_hk) AS tenant_key, coalesce(t.is_active, true) AS is_active,
       n.current_value AS usage, n.capacity, n.utilization_percentage AS utilization, n.measurement_timestamp AS measured_at,
       n.is_stale, l.warning, l.critical,
       capacity_ops.status(CASE WHEN NOT n.is_stale THEN n.utilization_percentage END, l.warning, l.critical) AS status,
       p.peak, q.score AS quality, q.completeness, q.freshness, q.validity, q.measurements, q.longest_gap,
       n.record_source LIKE 'IMPORT:%' AS is_imported, n.record_source = 'SIMULATION' AS is_simulated
FROM (SELECT capacity_ops.own_servers() AS servers) own
CROSS JOIN capacity_ops.newest(NULL, CAST(:as_of AS timestamptz)) n
LEFT JOIN capacity_ops.tenant t ON t.tenant_hk = n.tenant_hk
CROSS JOIN LATERAL capacity_ops.levels(n.tenant_hk, n.resource_type) l
LEFT JOIN LATERAL capacity_ops.data_quality(n.resource_utilization_hk, CAST(:as_of AS timestamptz),
                                            make_interval(days => CAST(:days AS integer))) q ON true
LEFT JOIN LATERAL (SELECT max(s.current_value) AS peak FROM capacity_planning.resource_utilization_s s
                   WHERE s.resource_utilization_hk = n.resource_utilization_hk AND s.load_end_date IS NULL
                     AND s.measurement_timestamp > CAST(:as_of AS timestamptz) - interval '30 days'
                     AND s.measurement_timestamp <= CAST(:as_of AS timestamptz)
                     AND (s.system_identifier IS NULL OR s.system_identifier = ANY (own.servers))) p ON true
WHERE (:scope = 'ALL' OR capacity_ops.tenant_key(n.tenant_hk) = :scope)
  AND (:resource_type = 'ALL' OR n.resource_type = :resource_type)
ORDER BY n.tenant_hk NULLS FIRST, n.resource_type, n.resource_name;
