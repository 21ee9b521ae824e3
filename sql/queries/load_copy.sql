-- The fastest way in; binary, so that the server parses nothing.
COPY pg_temp.load_incoming (resource, measured_at, value, capacity, line) FROM STDIN (FORMAT binary)
