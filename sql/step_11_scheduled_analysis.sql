-- Step 11: the function that a schedule calls.
--
-- The operators' guide counts five routines after step 10 and creates this one itself, later: so it comes in a step of
-- its own, holds nothing but the guide's three calls, and one that is there already (the guide's, or an operator's own)
-- stays as it is.
--
-- Apply with psql -f after step 10; safe to apply again.
BEGIN;
SELECT pg_advisory_xact_lock(hashtextextended('capacity_planning:deploy', 0));
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL lock_timeout = '30s';

DO $scheduled$
BEGIN
    IF to_regprocedure('capacity_planning.analyze_growth_patterns(bytea, varchar, integer, timestamptz)') IS NULL THEN
        RAISE EXCEPTION 'step 10 is missing here: apply step_10_growth_forecasting.sql first';
    ELSIF to_regprocedure('capacity_planning.scheduled_capacity_analysis()') IS NULL THEN
        CREATE FUNCTION capacity_planning.scheduled_capacity_analysis() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            PERFORM capacity_planning.capture_resource_utilization(NULL);
            PERFORM capacity_planning.analyze_growth_patterns(NULL, NULL, 30);
            PERFORM capacity_planning.evaluate_capacity_thresholds(NULL);
            RAISE NOTICE 'Scheduled capacity analysis completed at %', CURRENT_TIMESTAMP;
        END;
        $$;
        COMMENT ON FUNCTION capacity_planning.scheduled_capacity_analysis() IS
            'One scheduled run: capture, analyse every tenant over 30 days, evaluate the thresholds.';
    END IF;
END
$scheduled$;

INSERT INTO capacity_ops.deployment (step, version, applied_at, applied_by)
VALUES (11, '0.1.0', clock_timestamp(), session_user)
ON CONFLICT (step) DO UPDATE SET version = excluded.version, applied_at = excluded.applied_at, applied_by = excluded.applied_by;

COMMIT;
