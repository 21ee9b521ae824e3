-- A load stages in temporary tables; they go at once, so that one transaction can hold several loads.
DROP TABLE IF EXISTS pg_temp.load_resource, pg_temp.load_incoming, pg_temp.load_correction;
