-- The tables of capacity_planning and their columns, from the catalog: information_schema hides what the role may
-- not use, and a schema that is hidden is not absent.
SELECT c.relname AS table_name, a.attname AS column_name
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = 'capacity_planning' AND c.relkind IN ('r', 'p', 'f')
ORDER BY 1, 2;
