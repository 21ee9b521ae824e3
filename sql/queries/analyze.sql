-- Analyse growth and record forecasts and patterns, as the measurements stood at :as_of (NULL: now).
SELECT a.*, coalesce(t.tenant_bk, CASE WHEN a.tenant_hk IS NULL THEN 'SYSTEM' ELSE encode(a.tenant_hk, 'hex') END) AS tenant,
       coalesce(t.is_simulated, false) AS is_simulated
FROM capacity_planning.analyze_growth_patterns(
         p_tenant_hk => decode(CAST(:tenant AS text), 'hex'), p_resource_type => CAST(:resource_type AS varchar),
         p_analysis_days => :days, p_as_of => CAST(:as_of AS timestamptz)) a
LEFT JOIN capacity_ops.tenant t USING (tenant_hk)
WHERE NOT :system_only OR a.tenant_hk IS NULL
ORDER BY t.tenant_bk NULLS FIRST, a.resource_type, a.resource_name;
