-- The guide's schema verification: how many columns each table has, and how many of them are required.
SELECT t.table_name, count(c.column_name) AS columns, count(*) FILTER (WHERE c.is_nullable = 'NO') AS required
FROM information_schema.tables t
LEFT JOIN information_schema.columns c ON c.table_schema = t.table_schema AND c.table_name = t.table_name
WHERE t.table_schema = 'capacity_planning' AND t.table_type = 'BASE TABLE'
GROUP BY t.table_name
ORDER BY t.table_name;
