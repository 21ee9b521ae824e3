-- Planned work, during which alerts wait.
SELECT capacity_alerting.declare_maintenance(p_starts_at => :starts, p_ends_at => :ends, p_tenant_hk => decode(CAST(:tenant AS text), 'hex'),
           p_resource_type => CAST(:resource_type AS text), p_repeat_weeks => CAST(:repeat_weeks AS integer),
           p_time_zone => CAST(:time_zone AS text), p_reason => CAST(:reason AS text), p_by => :by,
           p_system_only => :system_only) AS maintenance_id;
