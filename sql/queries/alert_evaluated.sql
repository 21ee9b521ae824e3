-- The last recorded evaluation that covers the tenant (NULL: any), and the number of the last of all: what comes after is new.
SELECT (SELECT e.evaluated_at FROM capacity_alerting.evaluation e
        WHERE CAST(:tenant AS text) IS NULL OR e.tenant_hk IS NULL OR e.tenant_hk = decode(CAST(:tenant AS text), 'hex')
        ORDER BY e.evaluation_id DESC LIMIT 1) AS evaluated_at,
       coalesce((SELECT max(e.evaluation_id) FROM capacity_alerting.evaluation e), 0) AS evaluation_id, clock_timestamp() AS now,
       capacity_ops.setting('monitoring_interval_seconds')::float8 AS interval_seconds;
