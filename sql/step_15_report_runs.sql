-- Step 15: which reports are scheduled, and every attempt at making one.
--
--   capacity_reporting.register_reports   makes scheduled reports known; from then on they can be due
--   capacity_reporting.hold_run           keeps other hosts from a run, until the end of the transaction
--   capacity_reporting.begin_run          records that an attempt begins, if one is to be made
--   capacity_reporting.end_run            records how it ended, and when the next one may follow
--
-- A run is one report of one target (a tenant, a resource type) for one time that it was due at, and its key says so:
-- however many hosts call, and however often one of them dies, it comes to an end once. The caller holds the run in one
-- transaction and commits its beginning in another: a beginning without an end whose lock is free was cut off.
--
-- Apply with psql -f after step 13; safe to apply again. One transaction: it is deployed whole or not at all.
BEGIN;
SELECT pg_advisory_xact_lock(hashtextextended('capacity_planning:deploy', 0));
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL lock_timeout = '30s';

DO $guard$
BEGIN
    IF to_regprocedure('capacity_ops.begin_version()') IS NULL THEN
        RAISE EXCEPTION 'step 9 is missing here: apply step_9_capacity_planning.sql first';
    ELSIF to_regclass('capacity_alerting.notification_h') IS NULL THEN
        RAISE EXCEPTION 'step 13 is missing here: apply step_13_notifications.sql first';
    ELSIF EXISTS (SELECT FROM capacity_ops.deployment WHERE step = 15 AND string_to_array(version, '.')::int[] > '{0,1,0}') THEN
        RAISE EXCEPTION 'this database holds a newer version of the report runs than 0.1.0: nothing was changed';
    ELSIF obj_description(to_regnamespace('capacity_reporting'), 'pg_namespace') IS DISTINCT FROM 'Reporting: scheduled reports and their runs.'
          AND (EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('capacity_reporting'))
            OR EXISTS (SELECT FROM pg_proc WHERE pronamespace = to_regnamespace('capacity_reporting'))) THEN
        RAISE EXCEPTION 'this database already holds a schema capacity_reporting that is not this project''s: nothing was changed'
            USING HINT = 'Rename or drop what is there, or deploy into another database.';
    END IF;
END
$guard$;

CREATE SCHEMA IF NOT EXISTS capacity_reporting;
COMMENT ON SCHEMA capacity_reporting IS 'Reporting: scheduled reports and their runs.';

CREATE TABLE IF NOT EXISTS capacity_reporting.report_h (
    report_hk     bytea        PRIMARY KEY,
    report_bk     text         NOT NULL UNIQUE,
    load_date     timestamptz  NOT NULL,
    record_source varchar(100) NOT NULL
);
COMMENT ON TABLE capacity_reporting.report_h IS 'A report that was scheduled once: <name in the schedule>|<target>.';

CREATE TABLE IF NOT EXISTS capacity_reporting.report_s (
    report_hk     bytea        NOT NULL REFERENCES capacity_reporting.report_h,
    load_date     timestamptz  NOT NULL,
    load_end_date timestamptz,
    hash_diff     bytea        NOT NULL,
    name          text         NOT NULL,
    target        text         NOT NULL,
    cron          text         NOT NULL,
    time_zone     text         NOT NULL,
    since         timestamptz  NOT NULL,
    record_source varchar(100) NOT NULL,
    PRIMARY KEY (report_hk, load_date)
);
CREATE UNIQUE INDEX IF NOT EXISTS report_s_current ON capacity_reporting.report_s (report_hk) WHERE load_end_date IS NULL;
COMMENT ON TABLE capacity_reporting.report_s IS 'When a report is due: a version for each change of its cron line.';
COMMENT ON COLUMN capacity_reporting.report_s.target IS 'The tenant or resource type that it was fanned out to; empty: not fanned out.';
COMMENT ON COLUMN capacity_reporting.report_s.since IS 'Times of the cron line up to here are none that were missed: the line was not there yet.';
SELECT capacity_ops.keep_versions('capacity_reporting.report_s');

CREATE TABLE IF NOT EXISTS capacity_reporting.report_run_h (
    report_run_hk bytea        PRIMARY KEY,
    report_run_bk text         NOT NULL UNIQUE,
    load_date     timestamptz  NOT NULL,
    record_source varchar(100) NOT NULL
);
COMMENT ON TABLE capacity_reporting.report_run_h IS 'A run: <name>|<target>|<time it was due at, UTC>. The key of what recipients are told of it begins so.';

CREATE TABLE IF NOT EXISTS capacity_reporting.report_run_l (
    report_run_l_hk bytea        PRIMARY KEY,
    report_hk       bytea        NOT NULL REFERENCES capacity_reporting.report_h,
    report_run_hk   bytea        NOT NULL UNIQUE REFERENCES capacity_reporting.report_run_h,
    due_at          timestamptz  NOT NULL,
    load_date       timestamptz  NOT NULL,
    record_source   varchar(100) NOT NULL
);
CREATE INDEX IF NOT EXISTS report_run_l_report ON capacity_reporting.report_run_l (report_hk, due_at DESC);
COMMENT ON TABLE capacity_reporting.report_run_l IS 'Which report a run made.';
COMMENT ON COLUMN capacity_reporting.report_run_l.due_at IS 'The time of the cron line that it was made for.';

CREATE TABLE IF NOT EXISTS capacity_reporting.report_run_s (
    report_run_hk bytea        NOT NULL REFERENCES capacity_reporting.report_run_h,
    load_date     timestamptz  NOT NULL,
    load_end_date timestamptz,
    hash_diff     bytea        NOT NULL,
    attempt       integer      NOT NULL CHECK (attempt > 0),
    phase         varchar(10)  NOT NULL CHECK (phase IN ('BEGUN', 'ENDED')),
    host          text         NOT NULL,
    state         varchar(20)  CHECK (state IN ('ok', 'at risk', 'cannot be trusted', 'failed')),
    is_last       boolean,
    headline      text,
    place         text,
    result        jsonb,
    next_at       timestamptz,
    record_source varchar(100) NOT NULL,
    PRIMARY KEY (report_run_hk, load_date),
    CHECK ((phase = 'ENDED') = (state IS NOT NULL) AND (phase = 'ENDED') = (is_last IS NOT NULL))
);
CREATE UNIQUE INDEX IF NOT EXISTS report_run_s_last ON capacity_reporting.report_run_s (report_run_hk) WHERE is_last;
COMMENT ON TABLE capacity_reporting.report_run_s IS 'How attempts at a run began and ended, all of them current: nothing here is changed. A run ends once (is_last).';
COMMENT ON COLUMN capacity_reporting.report_run_s.attempt IS 'Its number, from 1; one that has begun and not ended goes on, or was cut off.';
COMMENT ON COLUMN capacity_reporting.report_run_s.host IS 'Who makes it: host name and process number.';
COMMENT ON COLUMN capacity_reporting.report_run_s.is_last IS 'true: the run is over. false: another attempt follows, from next_at on.';
COMMENT ON COLUMN capacity_reporting.report_run_s.place IS 'The folder below the site that it was published to; NULL: it came to nothing that could be.';
COMMENT ON COLUMN capacity_reporting.report_run_s.result IS 'Verdict, headline and key figures, as in result.json.';

CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE ON capacity_reporting.report_run_s
    FOR EACH ROW EXECUTE FUNCTION capacity_alerting.refuse_change();

CREATE OR REPLACE FUNCTION capacity_reporting.register_reports(p_reports jsonb, p_now timestamptz)
RETURNS TABLE (name text, target text, since timestamptz)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    -- The call that first reads a line is often the one that it is due at, seconds ago.
    v_since timestamptz := p_now - interval '5 minutes';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('capacity_reporting:register', 0));
    WITH given AS (
        SELECT capacity_ops.hash_key(r.name || '|' || r.target) AS hk, r.*
        FROM jsonb_to_recordset(p_reports) AS r (name text, target text, cron text, time_zone text)
    ), hub AS (
        INSERT INTO capacity_reporting.report_h (report_hk, report_bk, load_date, record_source)
        SELECT g.hk, g.name || '|' || g.target, clock_timestamp(), 'capacity_reporting' FROM given g
        ON CONFLICT DO NOTHING RETURNING report_hk
    )
    INSERT INTO capacity_reporting.report_s (report_hk, load_date, hash_diff, name, target, cron, time_zone, since, record_source)
    SELECT g.hk, clock_timestamp(),
           capacity_ops.hash_diff(jsonb_build_object('report_hk', g.hk, 'name', g.name, 'target', g.target, 'cron', g.cron,
               'time_zone', g.time_zone, 'since', v_since, 'record_source', 'capacity_reporting'), VARIADIC '{}'::text[]),
           g.name, g.target, g.cron, g.time_zone, v_since, 'capacity_reporting'
    FROM given g JOIN hub h ON h.report_hk = g.hk;
    -- A line that was changed counts anew; so does one that was first read by a clock that has been set back since.
    UPDATE capacity_reporting.report_s s SET cron = g.cron, time_zone = g.time_zone, since = v_since
    FROM jsonb_to_recordset(p_reports) AS g (name text, target text, cron text, time_zone text)
    WHERE s.report_hk = capacity_ops.hash_key(g.name || '|' || g.target) AND s.load_end_date IS NULL
      AND (s.cron <> g.cron OR s.time_zone <> g.time_zone OR s.since > p_now);
    RETURN QUERY
    SELECT s.name, s.target, s.since
    FROM jsonb_to_recordset(p_reports) AS g (name text, target text)
    JOIN capacity_reporting.report_s s ON s.report_hk = capacity_ops.hash_key(g.name || '|' || g.target) AND s.load_end_date IS NULL;
END
$$;
COMMENT ON FUNCTION capacity_reporting.register_reports(jsonb, timestamptz) IS
    'Makes scheduled reports known ([{name, target, cron, time_zone}]) and returns since when each of them can have been missed.';

CREATE OR REPLACE FUNCTION capacity_reporting.run_key(p_name text, p_target text, p_due_at timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT p_name || '|' || p_target || '|' || to_char(p_due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
END;
COMMENT ON FUNCTION capacity_reporting.run_key(text, text, timestamptz) IS 'A run''s business key.';

CREATE OR REPLACE FUNCTION capacity_reporting.hold_run(p_name text, p_target text, p_due_at timestamptz) RETURNS boolean
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    -- The transaction stays open while the report is made: it has no snapshot meanwhile, and holds no vacuum back.
    SELECT set_config('idle_in_transaction_session_timeout', '0', true);
    SELECT pg_try_advisory_xact_lock(hashtextextended('capacity_reporting:run:' || capacity_reporting.run_key(p_name, p_target, p_due_at), 0));
END;
COMMENT ON FUNCTION capacity_reporting.hold_run(text, text, timestamptz) IS
    'Whether this transaction may make the run; false: another one is at it. Held until the transaction ends, in whatever way.';

CREATE OR REPLACE FUNCTION capacity_reporting.record_run(
    p_run bytea, p_attempt integer, p_phase text, p_host text, p_state text, p_is_last boolean, p_headline text, p_place text,
    p_result jsonb, p_next_at timestamptz) RETURNS void
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    INSERT INTO capacity_reporting.report_run_s (report_run_hk, load_date, hash_diff, attempt, phase, host, state, is_last, headline, place, result, next_at, record_source)
    SELECT p_run,
           capacity_ops.next_load_date((SELECT max(s.load_date) FROM capacity_reporting.report_run_s s WHERE s.report_run_hk = p_run)),
           capacity_ops.hash_diff(jsonb_build_object('report_run_hk', p_run, 'attempt', p_attempt, 'phase', p_phase, 'host', p_host, 'state', p_state,
               'is_last', p_is_last, 'headline', p_headline, 'place', p_place, 'result', p_result, 'next_at', p_next_at,
               'record_source', 'capacity_reporting'), VARIADIC '{}'::text[]),
           p_attempt, p_phase, p_host, p_state, p_is_last, p_headline, p_place, p_result, p_next_at, 'capacity_reporting';
END;
COMMENT ON FUNCTION capacity_reporting.record_run(bytea, integer, text, text, text, boolean, text, text, jsonb, timestamptz) IS
    'Adds a row to report_run_s; the caller holds the lock on the run''s hub row.';

CREATE OR REPLACE FUNCTION capacity_reporting.begin_run(p_name text, p_target text, p_due_at timestamptz, p_host text)
RETURNS TABLE (attempt integer, cut_off integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_key text := capacity_reporting.run_key(p_name, p_target, p_due_at);
    v_run bytea := capacity_ops.hash_key(v_key);
    v_report bytea := capacity_ops.hash_key(p_name || '|' || p_target);
    v_now timestamptz := clock_timestamp();
    v_last capacity_reporting.report_run_s;
    v_begun integer;
    v_ended integer;
BEGIN
    INSERT INTO capacity_reporting.report_run_h (report_run_hk, report_run_bk, load_date, record_source)
    VALUES (v_run, v_key, v_now, 'capacity_reporting') ON CONFLICT DO NOTHING;
    INSERT INTO capacity_reporting.report_run_l (report_run_l_hk, report_hk, report_run_hk, due_at, load_date, record_source)
    VALUES (capacity_ops.hash_key(encode(v_report, 'hex') || '|' || encode(v_run, 'hex')), v_report, v_run, p_due_at, v_now, 'capacity_reporting')
    ON CONFLICT DO NOTHING;
    PERFORM FROM capacity_reporting.report_run_h WHERE report_run_hk = v_run FOR UPDATE;
    SELECT * INTO v_last FROM capacity_reporting.report_run_s WHERE report_run_hk = v_run ORDER BY load_date DESC LIMIT 1;
    SELECT count(*) FILTER (WHERE phase = 'BEGUN'), count(*) FILTER (WHERE phase = 'ENDED') INTO v_begun, v_ended
    FROM capacity_reporting.report_run_s WHERE report_run_hk = v_run;
    -- A row from ahead was written by a clock that has been set back since: its next_at is not waited for.
    IF v_last.is_last OR (v_last.next_at > v_now AND v_last.load_date <= v_now + interval '1 minute') THEN
        RETURN;
    END IF;
    PERFORM capacity_reporting.record_run(v_run, v_begun + 1, 'BEGUN', p_host, NULL, NULL, NULL, NULL, NULL, NULL);
    RETURN QUERY SELECT v_begun + 1, v_begun - v_ended;
END
$$;
COMMENT ON FUNCTION capacity_reporting.begin_run(text, text, timestamptz, text) IS
    'Records that p_host begins an attempt at a run that it holds, and returns its number and how many attempts before were cut off; no row: the run is over, or the next attempt not yet due.';

CREATE OR REPLACE FUNCTION capacity_reporting.end_run(
    p_name text, p_target text, p_due_at timestamptz, p_attempt integer, p_host text, p_retries integer, p_state text, p_headline text,
    p_place text, p_result jsonb) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_run bytea := capacity_ops.hash_key(capacity_reporting.run_key(p_name, p_target, p_due_at));
    v_failed integer;
    v_is_last boolean;
BEGIN
    PERFORM FROM capacity_reporting.report_run_h WHERE report_run_hk = v_run FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no run %', capacity_reporting.run_key(p_name, p_target, p_due_at);
    ELSIF EXISTS (SELECT FROM capacity_reporting.report_run_s WHERE report_run_hk = v_run AND (is_last OR (phase = 'ENDED' AND attempt >= p_attempt))) THEN
        RETURN NULL;  -- another host, to whom a lost connection gave the lock, was first
    END IF;
    SELECT count(*) INTO v_failed FROM capacity_reporting.report_run_s WHERE report_run_hk = v_run AND phase = 'ENDED';
    v_is_last := p_state <> 'failed' OR v_failed >= p_retries;
    PERFORM capacity_reporting.record_run(v_run, p_attempt, 'ENDED', p_host, p_state, v_is_last, p_headline, p_place, p_result,
        CASE WHEN NOT v_is_last THEN clock_timestamp() + make_interval(mins => least(60, 2 ^ least(v_failed, 6))::int) END);
    RETURN v_is_last;
END
$$;
COMMENT ON FUNCTION capacity_reporting.end_run(text, text, timestamptz, integer, text, integer, text, text, text, jsonb) IS
    'Records how an attempt ended and returns whether the run is over with it: it is unless it failed and p_retries allow another, 1, 2, 4, ... 60 minutes later. NULL: it was recorded by somebody else, and nobody is to be told again.';

CREATE OR REPLACE VIEW capacity_reporting.report_run AS
SELECT l.report_hk, l.report_run_hk, h.report_run_bk AS key, split_part(h.report_run_bk, '|', 1) AS name,
       (SELECT s.target FROM capacity_reporting.report_s s WHERE s.report_hk = l.report_hk AND s.load_end_date IS NULL) AS target,
       l.due_at, b.attempts, b.begun_at, e.ended_at, coalesce(e.is_last, false) AS is_over, e.state, e.headline, e.place, e.result,
       CASE WHEN NOT coalesce(e.is_last, false) AND b.last_attempt = e.attempt THEN e.next_at END AS next_at
FROM capacity_reporting.report_run_l l
JOIN capacity_reporting.report_run_h h ON h.report_run_hk = l.report_run_hk
CROSS JOIN LATERAL (
    SELECT count(*) AS attempts, max(a.attempt) AS last_attempt, min(a.load_date) AS begun_at
    FROM capacity_reporting.report_run_s a WHERE a.report_run_hk = l.report_run_hk AND a.phase = 'BEGUN') b
LEFT JOIN LATERAL (
    SELECT a.attempt, a.load_date AS ended_at, a.is_last, a.state, a.headline, a.place, a.result, a.next_at
    FROM capacity_reporting.report_run_s a WHERE a.report_run_hk = l.report_run_hk AND a.phase = 'ENDED'
    ORDER BY a.load_date DESC LIMIT 1) e ON true;
COMMENT ON VIEW capacity_reporting.report_run IS
    'One row a run: how its last attempt ended. is_over false: an attempt goes on, was cut off (then the next call repeats it), or follows at next_at.';

INSERT INTO capacity_ops.deployment (step, version, applied_at, applied_by)
VALUES (15, '0.1.0', clock_timestamp(), session_user)
ON CONFLICT (step) DO UPDATE SET version = excluded.version, applied_at = excluded.applied_at, applied_by = excluded.applied_by;

COMMIT;
