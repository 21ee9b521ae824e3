-- One load date for all of a load, after every version that it closes.
SELECT capacity_ops.next_load_date(max(load_date)) FROM pg_temp.load_correction
