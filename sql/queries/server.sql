-- Which server this is, and whether the role ends at the database. data_directory is shown to members of
-- pg_read_all_settings only, and missing otherwise.
SELECT current_setting('server_version_num')::int AS version_number,
       current_setting('server_version')          AS version,
       current_database()                         AS database,
       session_user                               AS role,
       inet_server_addr() IS NULL                 AS is_on_socket,
       (SELECT bool_or(pg_has_role(session_user, r.oid, 'MEMBER')) FROM pg_roles r
         WHERE r.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')
       )                                          AS is_beyond_database,
       (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory;
