-- What every session of the workbench sets: times come and go in UTC, whatever the server's or the role's zone; and no
-- name is looked up in a schema where others may have put one of theirs.
SELECT set_config('TimeZone', 'UTC', false), set_config('search_path', 'pg_catalog, pg_temp', false);
