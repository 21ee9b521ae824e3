-- The guide's index monitoring, with the names that PostgreSQL really uses: how often each index has served a query.
SELECT s.relname AS table_name, s.indexrelname AS index_name, s.idx_scan AS scans, i.indisunique AS is_unique, i.indisvalid AS is_valid
FROM pg_stat_user_indexes s
JOIN pg_index i ON i.indexrelid = s.indexrelid
WHERE s.schemaname = 'capacity_planning'
ORDER BY s.relname, s.indexrelname;
