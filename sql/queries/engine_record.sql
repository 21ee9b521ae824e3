-- Records what was staged, all of it or none: how many resources have a new version, none, a later one already, or were skipped.
SELECT r.* FROM capacity_ops.record_engine_forecasts((SELECT array_agg(i.document) FROM pg_temp.engine_incoming i), CAST(:as_of AS timestamptz)) r;
