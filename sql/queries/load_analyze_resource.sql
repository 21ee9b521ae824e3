-- As for the staged measurements.
ANALYZE pg_temp.load_resource
