-- What every session of the workbench sets: times come and go in UTC, whatever the server's or the role's zone; and no
-- name is looked up in a schema where others may have put one of theirs. Behind a pooler (the server's session is not
-- the one that the connection was greeted with, :pid) for this transaction only: the session is lent to others next.
SELECT pooled.is_so, set_config('TimeZone', 'UTC', pooled.is_so), set_config('search_path', 'pg_catalog, pg_temp', pooled.is_so)
FROM (SELECT pg_backend_pid() <> :pid) AS pooled (is_so);
