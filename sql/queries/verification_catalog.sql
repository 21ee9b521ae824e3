-- What the guide's verification counts, from the catalog alone, so that it can be asked of any database.
SELECT current_setting('server_version_num')::int AS version_number,
       (SELECT array_agg(relname::text ORDER BY relname) FROM pg_class
        WHERE relnamespace = to_regnamespace('capacity_planning') AND relkind IN ('r', 'p')) AS tables,
       (SELECT array_agg(proname::text ORDER BY proname) FROM pg_proc
        WHERE pronamespace = to_regnamespace('capacity_planning')) AS routines,
       (SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
        WHERE c.relnamespace = to_regnamespace('capacity_planning')) AS indexes,
       (SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
        WHERE c.relnamespace = to_regnamespace('capacity_planning') AND NOT i.indisvalid) AS broken_indexes,
       (SELECT array_agg(extname::text) FROM pg_extension) AS extensions,
       (SELECT array_agg(name::text) FROM pg_available_extensions) AS available_extensions;
