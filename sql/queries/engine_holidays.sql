-- Days on which people in general are not at work, as days since 1970-01-01: what fluctuates is another thing on them.
SELECT h.day - DATE '1970-01-01' AS day FROM capacity_ops.engine_holidays() h ORDER BY 1;
