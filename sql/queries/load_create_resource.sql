-- The resources that are being loaded, each under the number that its measurements are staged with.
CREATE TEMPORARY TABLE load_resource (
    resource                     integer PRIMARY KEY,
    resource_utilization_hk      bytea   NOT NULL,
    tenant_hk                    bytea,
    resource_type                text    NOT NULL,
    resource_name                text    NOT NULL,
    resource_category            text    NOT NULL,
    unit                         text    NOT NULL,
    monitoring_frequency_seconds integer
) ON COMMIT DROP
