-- Two measurements of one resource at one time: which of them holds is not for us to guess.
WITH doubled AS (
    SELECT unnest(array_agg(i.line ORDER BY i.line)) AS line
    FROM pg_temp.load_incoming i
    GROUP BY i.resource, i.measured_at
    HAVING count(*) > 1)
SELECT count(*) AS count, (array_agg(line ORDER BY line))[1:5] AS lines
FROM doubled
HAVING count(*) > 0
