-- What became of the alerts that evaluation recorded in the 365 days up to :as_of (NULL: now), threshold by threshold: the counts
-- behind the rates, how many verdicts an operator gave, and why a rate is NULL. Only thresholds with an alert or a reach have a row.
SELECT coalesce(n.tenant_bk, CASE WHEN t.tenant_hk IS NULL THEN 'SYSTEM' ELSE encode(t.tenant_hk, 'hex') END) AS tenant,
       coalesce(n.tenant_name, n.tenant_bk, CASE WHEN t.tenant_hk IS NULL THEN 'System' ELSE encode(t.tenant_hk, 'hex') END) AS tenant_name,
       coalesce(n.is_simulated, false) AS is_simulated, encode(t.capacity_threshold_hk, 'hex') AS threshold, t.threshold_name, t.resource_type, t.threshold_type,
       r.alerts, r.true_alerts, r.false_alerts, r.censored_alerts, r.open_alerts, coalesce(said.by_operators, 0) AS by_operators,
       r.reaches, r.announced, r.false_positive_rate::float8 AS false_positive_rate, r.true_positive_rate::float8 AS true_positive_rate,
       r.effectiveness::float8 AS threshold_effectiveness_score, extract(epoch FROM r.lead_time)::float8 / 3600 AS lead_hours,
       m.least AS minimum, r.resolved, r.resolution_minutes::float8 AS average_resolution_time_minutes,
       CASE WHEN r.false_positive_rate IS NULL THEN format('%s of %s decided', r.true_alerts + r.false_alerts, m.least) END AS false_positives_lacking,
       CASE WHEN t.threshold_type = 'ABSENCE' THEN 'announces no level'
            WHEN r.true_positive_rate IS NULL THEN format('%s of %s reaches', r.reaches, m.least) END AS recall_lacking
FROM capacity_alerting.record_at(decode(CASE WHEN :scope NOT IN ('ALL', 'SYSTEM') THEN :scope END, 'hex'), coalesce(CAST(:as_of AS timestamptz), now())) r
JOIN capacity_planning.capacity_threshold_s t ON t.capacity_threshold_hk = r.capacity_threshold_hk AND t.load_end_date IS NULL
CROSS JOIN (SELECT greatest(capacity_ops.setting('verdict_minimum'), 1)::integer AS least) m
LEFT JOIN capacity_ops.tenant n ON n.tenant_hk = t.tenant_hk
LEFT JOIN LATERAL (
    SELECT count(*)::integer AS by_operators
    FROM capacity_alerting.alert_l l JOIN capacity_alerting.alert_s a ON a.alert_hk = l.alert_hk AND a.load_end_date IS NULL
    WHERE l.capacity_threshold_hk = t.capacity_threshold_hk AND a.verdict <> 'OPEN' AND a.verdict_by <> 'auto'
      AND a.raised_at > coalesce(CAST(:as_of AS timestamptz), now()) - interval '365 days' AND a.raised_at <= coalesce(CAST(:as_of AS timestamptz), now())) said ON true
WHERE (:scope <> 'SYSTEM' OR t.tenant_hk IS NULL) AND (:resource_type = 'ALL' OR t.resource_type IN (:resource_type, 'ALL'))
ORDER BY r.alerts DESC, t.tenant_hk NULLS FIRST, t.resource_type, t.threshold_name;
