-- Which server this is. data_directory is shown to members of pg_read_all_settings only, and missing otherwise.
SELECT current_setting('server_version_num')::int AS version_number,
       current_setting('server_version')          AS version,
       current_database()                         AS database,
       session_user                               AS role,
       inet_server_addr() IS NULL                 AS is_on_socket,
       (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory;
