-- The guide's index monitoring, with the names that PostgreSQL really uses: how often each index has served a query, and whether that has
-- been counted long enough to tell: 30 days since the first resource was known and the statistics were last reset. Those of the background
-- writer are reset when a crash, or an upgrade to another cluster, loses all of them.
SELECT s.relname AS table_name, s.indexrelname AS index_name, s.idx_scan AS scans, i.indisunique AS is_unique, i.indisvalid AS is_valid,
       coalesce(greatest(d.stats_reset, w.stats_reset, since.first) < now() - interval '30 days', false) AS is_settled
FROM pg_stat_user_indexes s
JOIN pg_index i ON i.indexrelid = s.indexrelid
JOIN pg_stat_database d ON d.datname = current_database()
CROSS JOIN pg_stat_bgwriter w
CROSS JOIN (SELECT min(h.load_date) AS first FROM capacity_planning.resource_utilization_h h) since
WHERE s.schemaname = 'capacity_planning'
ORDER BY s.relname, s.indexrelname;
