-- Whether the schedule runs: the newest measurement of the server itself, and what has been concluded from it.
SELECT (SELECT max(measurement_timestamp) FROM capacity_planning.resource_utilization_s
        WHERE tenant_hk IS NULL AND load_end_date IS NULL AND record_source = 'capacity_planning.capture') AS captured_at,
       now() AS now,
       capacity_ops.setting('monitoring_interval_seconds') AS interval_seconds,
       (SELECT count(*) FROM capacity_planning.capacity_forecast_s WHERE load_end_date IS NULL)                AS forecasts,
       (SELECT count(*) FROM capacity_planning.capacity_threshold_s WHERE load_end_date IS NULL AND is_active) AS thresholds;
