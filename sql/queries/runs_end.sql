-- Record how an attempt ended, and learn whether the run is over with it.
SELECT capacity_reporting.end_run(:report, :target, CAST(:due_at AS timestamptz), CAST(:attempt AS integer), :host, CAST(:retries AS integer),
           :state, :headline, CAST(:place AS text), CAST(:result AS jsonb)) AS is_last;
