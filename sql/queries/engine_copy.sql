-- One document a line, as text: the server parses it once, into jsonb.
COPY pg_temp.engine_incoming (document) FROM STDIN
