-- A verdict for each active threshold by the newest measurement at or before :as_of (NULL: now), the gravest first.
SELECT e.*, coalesce(t.tenant_bk, CASE WHEN e.tenant_hk IS NULL THEN 'SYSTEM' ELSE encode(e.tenant_hk, 'hex') END) AS tenant,
       coalesce(t.is_simulated, false) AS is_simulated
FROM capacity_planning.evaluate_capacity_thresholds(
         p_tenant_hk => decode(CAST(:tenant AS text), 'hex'), p_as_of => CAST(:as_of AS timestamptz)) e
LEFT JOIN capacity_ops.tenant t USING (tenant_hk)
WHERE NOT :system_only OR e.tenant_hk IS NULL
ORDER BY e.threshold_exceeded DESC NULLS LAST, e.alert_severity = 'CRITICAL' DESC, t.tenant_bk NULLS FIRST, e.resource_type,
         e.resource_name, e.threshold_name;
