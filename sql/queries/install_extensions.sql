-- On the embedded server, what the guide asks of every server: the statistics of its statements; in public, as psql would put it.
CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public;
