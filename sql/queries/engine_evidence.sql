-- What the database knew by :as_of of the days :times (separated by commas, as :keys are) on which the levels of the resources :keys shifted.
SELECT asked.key AS resource_utilization_hk, asked.at AS asked_at, e.kind, e.at, e.says
FROM unnest(string_to_array(CAST(:keys AS text), ','), string_to_array(CAST(:times AS text), ',')) WITH ORDINALITY AS asked (key, at, n)
CROSS JOIN LATERAL capacity_ops.regime_evidence(decode(asked.key, 'hex'), CAST(asked.at AS timestamptz), CAST(:as_of AS timestamptz)) WITH ORDINALITY AS e (kind, at, says, n)
ORDER BY asked.n, e.n;
