-- Read each dashboard view: a view that was broken by a later change fails here, and nowhere earlier.
SELECT (SELECT count(*) FROM capacity_planning.current_capacity_status) AS current_capacity_status,
       (SELECT count(*) FROM capacity_planning.growth_forecast_summary) AS growth_forecast_summary,
       (SELECT count(*) FROM capacity_planning.capacity_alerts)         AS capacity_alerts;
