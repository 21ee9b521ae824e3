-- What the evaluations that were recorded since evaluation :after began and ended.
SELECT count(*) AS evaluations, coalesce(sum(e.opened), 0)::bigint AS opened, coalesce(sum(e.ended), 0)::bigint AS ended,
       coalesce(sum(e.raised), 0)::bigint AS raised, coalesce(sum(e.resolved), 0)::bigint AS resolved,
       coalesce(sum(e.notifications), 0)::bigint AS notifications
FROM capacity_alerting.evaluation e
WHERE e.evaluation_id > :after;
