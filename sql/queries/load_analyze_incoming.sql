-- Nothing analyses a temporary table by itself, and without statistics the joins below are planned for a thousand rows.
ANALYZE pg_temp.load_incoming
