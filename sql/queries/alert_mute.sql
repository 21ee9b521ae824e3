-- No new alerts and no escalations for a while of what the parameters name (NULL: any).
SELECT capacity_alerting.mute_alerts(p_until => :until, p_threshold_hk => decode(CAST(:threshold AS text), 'hex'),
           p_tenant_hk => decode(CAST(:tenant AS text), 'hex'), p_resource_type => CAST(:resource_type AS text),
           p_resource_name => CAST(:resource_name AS text), p_by => :by, p_reason => CAST(:reason AS text),
           p_from => CAST(:since AS timestamptz), p_system_only => :system_only) AS mute_id;
