-- Say what a resource can hold from a time on (NULL: from now).
SELECT capacity_ops.register_capacity(
           p_tenant_hk => decode(CAST(:tenant AS text), 'hex'), p_resource_type => CAST(:resource_type AS varchar),
           p_resource_name => CAST(:resource_name AS varchar), p_capacity => CAST(:capacity AS numeric),
           p_unit => CAST(:unit AS varchar), p_valid_from => CAST(:valid_from AS timestamptz),
           p_reason => CAST(:reason AS text), p_registered_by => CAST(:registered_by AS text)) AS valid_from;
