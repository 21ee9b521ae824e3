-- The guide's required extensions, and whether this server has them.
SELECT w.name, e.extversion AS installed, a.default_version AS available
FROM (VALUES ('pg_stat_statements'), ('pgcrypto')) AS w (name)
LEFT JOIN pg_extension e ON e.extname = w.name
LEFT JOIN pg_available_extensions a ON a.name = w.name
ORDER BY w.name;
