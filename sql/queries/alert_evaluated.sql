-- Up to when evaluations of the tenant (NULL: of all) are recorded, and when the last of any was: what comes after is new.
SELECT max(e.evaluated_at) FILTER (WHERE e.scope IS NULL OR encode(e.scope, 'hex') = CAST(:tenant AS text)) AS evaluated_at,
       max(e.recorded_at) AS recorded_at, clock_timestamp() AS now
FROM capacity_alerting.evaluation e;
