-- What every session of the workbench sets: times come and go in UTC, whatever the server's or the role's zone.
SELECT set_config('TimeZone', 'UTC', false);
