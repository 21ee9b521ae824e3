-- How many resources the engine has to look at, and the time that it looks from (:as_of, else now by the server's clock).
SELECT moment.as_of, (
    SELECT count(*) FROM capacity_ops.engine_due(decode(CAST(:tenant AS text), 'hex'), :system_only, CAST(:resource_type AS text),
                                                 moment.as_of, :again, '')) AS resources
FROM (SELECT coalesce(CAST(:as_of AS timestamptz), clock_timestamp()) AS as_of) moment;
