-- Make the default thresholds that are missing, for a tenant, the system, or (:tenant NULL) the system and every active
-- tenant: what run_capacity_analysis does for one of them, without its capture and analysis as of now, so that an
-- imported or simulated history gets its thresholds too.
SELECT count(*) AS made
FROM (
    SELECT capacity_planning.create_capacity_threshold(
               whose.tenant_hk, format('%s %s', d.resource_type, lower(level.kind))::varchar, d.resource_type, level.percentage,
               level.kind)
    FROM (SELECT NULL::bytea AS tenant_hk WHERE CAST(:tenant AS text) IS NULL
          UNION ALL
          SELECT t.tenant_hk FROM capacity_ops.tenant t
          WHERE t.is_active AND NOT :system_only
            AND (CAST(:tenant AS text) IS NULL OR t.tenant_hk = decode(CAST(:tenant AS text), 'hex'))) whose
    JOIN capacity_ops.default_threshold d
        ON d.scope = CASE WHEN whose.tenant_hk IS NULL THEN 'SYSTEM' ELSE 'TENANT' END
    CROSS JOIN LATERAL (VALUES ('WARNING'::varchar, d.warning), ('CRITICAL', d.critical)) AS level (kind, percentage)
    WHERE NOT EXISTS (
        SELECT FROM capacity_planning.capacity_threshold_s t
        WHERE t.load_end_date IS NULL AND t.tenant_hk IS NOT DISTINCT FROM whose.tenant_hk
          AND t.resource_type = d.resource_type AND t.threshold_type = level.kind)) made;
