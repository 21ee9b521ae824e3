-- What the guide's daily, weekly and monthly maintenance would find to do at :as_of; what was only simulated is nobody's to clean up.
SELECT (SELECT count(*) FROM capacity_planning.resource_utilization_s s
        WHERE s.measurement_timestamp < CAST(:as_of AS timestamptz) - interval '90 days' AND s.record_source <> 'SIMULATION'
          AND (:scope = 'ALL' OR capacity_ops.tenant_key(s.tenant_hk) = :scope)) AS old_measurements,
       (SELECT count(*) FROM capacity_planning.capacity_forecast_s f
        WHERE f.forecast_timestamp < CAST(:as_of AS timestamptz) - interval '6 months'
          AND (:scope = 'ALL' OR capacity_ops.tenant_key(f.tenant_hk) = :scope)
          AND NOT EXISTS (SELECT FROM capacity_planning.capacity_forecast_archive a
                          WHERE a.capacity_forecast_hk = f.capacity_forecast_hk AND a.load_date = f.load_date)) AS unarchived_forecasts,
       (SELECT count(*) FROM capacity_planning.capacity_threshold_s t
        WHERE t.load_end_date IS NULL AND t.next_review_date <= CAST(:as_of AS timestamptz)
          AND (:scope = 'ALL' OR capacity_ops.tenant_key(t.tenant_hk) = :scope)) AS reviews_due,
       (SELECT count(*) FROM capacity_planning.growth_pattern_s p
        WHERE p.load_end_date IS NULL AND p.next_analysis_due_date <= CAST(:as_of AS timestamptz)
          AND (:scope = 'ALL' OR capacity_ops.tenant_key(p.tenant_hk) = :scope)) AS analyses_due;
