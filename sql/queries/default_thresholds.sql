-- Make the default thresholds that are missing, for a tenant, the system, or (:tenant NULL) the system and every active
-- tenant, without the capture and analysis as of now that run_capacity_analysis brings along: an imported or simulated
-- history gets its thresholds too.
SELECT coalesce(sum(capacity_ops.create_default_thresholds(whose.tenant_hk)), 0) AS made
FROM (SELECT NULL::bytea AS tenant_hk WHERE CAST(:tenant AS text) IS NULL
      UNION ALL
      SELECT t.tenant_hk FROM capacity_ops.tenant t
      WHERE t.is_active AND NOT :system_only
        AND (CAST(:tenant AS text) IS NULL OR t.tenant_hk = decode(CAST(:tenant AS text), 'hex'))) whose;
