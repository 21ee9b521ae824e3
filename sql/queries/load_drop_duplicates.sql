-- Of measurements of one resource at one time, keeps the first or the last line, as the operator asked.
DELETE FROM pg_temp.load_incoming i
USING (
    SELECT resource, measured_at, CASE WHEN :keep = 'first' THEN min(line) ELSE max(line) END AS kept
    FROM pg_temp.load_incoming
    GROUP BY resource, measured_at
    HAVING count(*) > 1) d
WHERE i.resource = d.resource AND i.measured_at = d.measured_at AND i.line <> d.kept
