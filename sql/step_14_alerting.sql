-- Step 14: the life of an alert, from the breach to the verdict on it.
--
--   breach -> episode -> alert -> notification (step 13) -> acknowledgement -> resolution -> verdict
--
--   capacity_alerting.record_evaluation    what evaluate_capacity_thresholds calls: all of the above, in its transaction
--   capacity_alerting.acknowledge, resolve, give_verdict, mute_alerts, declare_maintenance   what operators call
--   capacity_alerting.create_runway_threshold, create_absence_threshold                      thresholds that are no levels
--   capacity_alerting.rehearse             every threshold, from a synthetic breach to a rendered message, and nothing kept
--
-- An episode is a run of breaches of one threshold by one resource; an alert is what is made of it when nothing holds it
-- back; an alert bears its episode's key. Time is the evaluation's, never the clock's: what is evaluated as of an
-- earlier time comes out as it would have then.
--
-- Apply with psql -f after step 13; safe to apply again. One transaction: it is deployed whole or not at all.
BEGIN;
SELECT pg_advisory_xact_lock(hashtextextended('capacity_planning:deploy', 0));
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL lock_timeout = '30s';

DO $guard$
BEGIN
    IF to_regproc('capacity_ops.define_threshold') IS NULL THEN
        RAISE EXCEPTION 'step 9 is missing here, or older than this one: apply step_9_capacity_planning.sql first';
    ELSIF to_regclass('capacity_alerting.notification_s') IS NULL THEN
        RAISE EXCEPTION 'step 13 is missing here: apply step_13_notifications.sql first';
    ELSIF EXISTS (SELECT FROM capacity_ops.deployment WHERE step = 14 AND string_to_array(version, '.')::int[] > '{0,1,0}') THEN
        RAISE EXCEPTION 'this database holds a newer version of alerting than 0.1.0: nothing was changed';
    END IF;
END
$guard$;

---------------------------------------------------------------------------------------------------------------------
-- What operators set: hours, maintenance, mutes
---------------------------------------------------------------------------------------------------------------------
INSERT INTO capacity_ops.setting (name, value, description) VALUES
    ('recovery_margin', 2, 'how far back beyond its level usage must go before a breach is over: percentage points, for runway days'),
    ('verdict_horizon_days', 30, 'an alert on a level is true when the next level is reached within so many days'),
    ('verdict_lead_hours', 24, 'a level counts as announced when an alert was raised at least so long before it was reached'),
    ('verdict_minimum', 5, 'rates of a threshold are NULL while fewer alerts (or reaches of the next level) than this stand behind them'),
    ('notify_within_hours', 24, 'an evaluation as of an earlier time than this before the clock notifies nobody')
ON CONFLICT (name) DO NOTHING;

CREATE TABLE IF NOT EXISTS capacity_alerting.business_calendar (
    tenant_hk    bytea,
    time_zone    text      NOT NULL DEFAULT 'UTC',
    working_days integer[] NOT NULL DEFAULT '{1,2,3,4,5}' CHECK (working_days <@ '{1,2,3,4,5,6,7}'),
    opens        time      NOT NULL DEFAULT '09:00',
    closes       time      NOT NULL DEFAULT '17:00',
    night_from   time      NOT NULL DEFAULT '22:00',
    night_to     time      NOT NULL DEFAULT '06:00',
    CHECK (opens < closes)
);
CREATE UNIQUE INDEX IF NOT EXISTS business_calendar_owner ON capacity_alerting.business_calendar ((coalesce(tenant_hk, ''::bytea)));
COMMENT ON TABLE capacity_alerting.business_calendar IS
    'When people are at work: a tenant''s own, and under NULL everyone else''s. Without a row: Monday to Friday, 09:00 to 17:00 UTC.';
COMMENT ON COLUMN capacity_alerting.business_calendar.working_days IS 'ISO weekdays, 1 is Monday.';
COMMENT ON COLUMN capacity_alerting.business_calendar.closes IS 'The first moment outside business hours.';
COMMENT ON COLUMN capacity_alerting.business_calendar.night_from IS 'Pages from night_from to night_to wake somebody: counted apart when thresholds are tuned.';
INSERT INTO capacity_alerting.business_calendar DEFAULT VALUES ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS capacity_alerting.holiday (
    tenant_hk bytea,
    day       date NOT NULL,
    name      text NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS holiday_day ON capacity_alerting.holiday ((coalesce(tenant_hk, ''::bytea)), day);
COMMENT ON TABLE capacity_alerting.holiday IS 'Days on which a calendar''s people are not at work; tenant_hk names the calendar, NULL everyone else''s.';

CREATE TABLE IF NOT EXISTS capacity_alerting.maintenance_window (
    maintenance_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_hk      bytea,
    resource_type  varchar(50),
    starts_at      timestamptz NOT NULL,
    ends_at        timestamptz NOT NULL,
    repeat_weeks   integer     CHECK (repeat_weeks BETWEEN 1 AND 520),
    time_zone      text        NOT NULL DEFAULT 'UTC',
    reason         text,
    declared_by    text        NOT NULL DEFAULT session_user,
    declared_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (isfinite(starts_at) AND isfinite(ends_at) AND starts_at < ends_at AND ends_at - starts_at <= make_interval(weeks => coalesce(repeat_weeks, 1000000)))
);
COMMENT ON TABLE capacity_alerting.maintenance_window IS
    'Planned work: alerts wait until it is over, unless their threshold is exempt (maintenance_window_exempt). tenant_hk NULL: the system and every tenant; resource_type NULL: every type. From starts_at until before ends_at.';
ALTER TABLE capacity_alerting.maintenance_window ADD COLUMN IF NOT EXISTS is_system_only boolean NOT NULL DEFAULT false
    CHECK (NOT is_system_only OR tenant_hk IS NULL);
COMMENT ON COLUMN capacity_alerting.maintenance_window.is_system_only IS 'The system''s resources alone: those that are no tenant''s.';
COMMENT ON COLUMN capacity_alerting.maintenance_window.repeat_weeks IS 'Again after so many weeks, at the same local time in time_zone; NULL: once.';

CREATE TABLE IF NOT EXISTS capacity_alerting.mute (
    mute_id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    capacity_threshold_hk bytea,
    tenant_hk             bytea,
    resource_type         varchar(50),
    resource_name         varchar(200),
    from_at               timestamptz NOT NULL,
    until_at              timestamptz NOT NULL,
    muted_by              text        NOT NULL DEFAULT session_user,
    reason                text,
    CHECK (isfinite(from_at) AND isfinite(until_at) AND from_at <= until_at)
);
ALTER TABLE capacity_alerting.mute ADD COLUMN IF NOT EXISTS is_system_only boolean NOT NULL DEFAULT false CHECK (NOT is_system_only OR tenant_hk IS NULL);
COMMENT ON TABLE capacity_alerting.mute IS 'What operators do not want to hear of for a while, from from_at until before until_at. NULL: any.';
COMMENT ON COLUMN capacity_alerting.mute.is_system_only IS 'The system''s resources alone: those that are no tenant''s.';

CREATE OR REPLACE FUNCTION capacity_alerting.check_time_zone() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM clock_timestamp() AT TIME ZONE NEW.time_zone;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION capacity_alerting.check_time_zone() IS 'A time zone that the server does not know is refused when it is set, not when an alert waits for it.';
CREATE OR REPLACE TRIGGER check_time_zone BEFORE INSERT OR UPDATE OF time_zone ON capacity_alerting.business_calendar
    FOR EACH ROW EXECUTE FUNCTION capacity_alerting.check_time_zone();
CREATE OR REPLACE TRIGGER check_time_zone BEFORE INSERT OR UPDATE OF time_zone ON capacity_alerting.maintenance_window
    FOR EACH ROW EXECUTE FUNCTION capacity_alerting.check_time_zone();

CREATE OR REPLACE FUNCTION capacity_alerting.is_in_business_hours(p_tenant_hk bytea, p_at timestamptz) RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT extract(isodow FROM l.at)::int = ANY (c.working_days) AND l.at::time >= c.opens AND l.at::time < c.closes
           AND NOT EXISTS (SELECT FROM capacity_alerting.holiday h
                           WHERE coalesce(h.tenant_hk, ''::bytea) = coalesce(c.tenant_hk, ''::bytea) AND h.day = l.at::date)
    FROM (SELECT b.tenant_hk, b.time_zone, b.working_days, b.opens, b.closes, 0 AS place FROM capacity_alerting.business_calendar b
          WHERE coalesce(b.tenant_hk, ''::bytea) IN (''::bytea, coalesce(p_tenant_hk, ''::bytea))
          UNION ALL SELECT NULL, 'UTC', '{1,2,3,4,5}', '09:00', '17:00', 1) c
    CROSS JOIN LATERAL (SELECT p_at AT TIME ZONE c.time_zone AS at) l
    ORDER BY c.place, c.tenant_hk IS NULL LIMIT 1;
END;
COMMENT ON FUNCTION capacity_alerting.is_in_business_hours(bytea, timestamptz) IS
    'Whether a tenant''s people are at work: a working day that is no holiday, opens <= local time < closes, by its own calendar, else by everyone''s.';

-- Keys "whose|what" (whose: a tenant's key in hex, nothing for the system, * for all; what: a resource type or *), so that a
-- storm looks a handful of keys up where it would go through every window for every breach.
CREATE OR REPLACE FUNCTION capacity_alerting.windows_at(p_at timestamptz) RETURNS jsonb LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT jsonb_object_agg(k.key, true)
    FROM (SELECT DISTINCT CASE WHEN w.is_system_only THEN '' ELSE coalesce(encode(w.tenant_hk, 'hex'), '*') END || '|' || coalesce(w.resource_type, '*') AS key
          FROM capacity_alerting.maintenance_window w
          CROSS JOIN LATERAL (SELECT w.starts_at AT TIME ZONE w.time_zone AS starts, w.ends_at AT TIME ZONE w.time_zone AS ends,
                                     p_at AT TIME ZONE w.time_zone AS at) l
          CROSS JOIN LATERAL (SELECT make_interval(weeks => w.repeat_weeks * floor(extract(epoch FROM l.at - l.starts) / (604800.0 * w.repeat_weeks))::int) AS passed) r
          WHERE CASE WHEN w.repeat_weeks IS NULL THEN w.starts_at <= p_at AND p_at < w.ends_at
                     ELSE l.at >= l.starts AND l.at < l.ends + r.passed END) k;
END;
COMMENT ON FUNCTION capacity_alerting.windows_at(timestamptz) IS 'Whom and what the maintenance windows cover at a time, as capacity_alerting.is_covered reads it; NULL: nothing.';

CREATE OR REPLACE FUNCTION capacity_alerting.is_covered(p_windows jsonb, p_tenant_hk bytea, p_resource_type text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(p_windows ?| ARRAY['*|*', '*|' || p_resource_type, coalesce(encode(p_tenant_hk, 'hex'), '') || '|*',
                                       coalesce(encode(p_tenant_hk, 'hex'), '') || '|' || p_resource_type], false);
END;

CREATE OR REPLACE FUNCTION capacity_alerting.is_in_maintenance(p_tenant_hk bytea, p_resource_type text, p_at timestamptz) RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT capacity_alerting.is_covered(capacity_alerting.windows_at(p_at), p_tenant_hk, p_resource_type);
END;
COMMENT ON FUNCTION capacity_alerting.is_in_maintenance(bytea, text, timestamptz) IS
    'Whether a maintenance window covers a tenant''s (NULL: the system''s) resources of a type at a time. A window of one tenant never covers the system.';

CREATE OR REPLACE FUNCTION capacity_alerting.is_muted(
    p_threshold_hk bytea, p_tenant_hk bytea, p_resource_type text, p_resource_name text, p_at timestamptz) RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT EXISTS (
        SELECT FROM capacity_alerting.mute m
        WHERE m.from_at <= p_at AND p_at < m.until_at
          AND (m.capacity_threshold_hk IS NULL OR m.capacity_threshold_hk = p_threshold_hk)
          AND CASE WHEN m.is_system_only THEN p_tenant_hk IS NULL ELSE m.tenant_hk IS NULL OR m.tenant_hk = p_tenant_hk END
          AND (m.resource_type IS NULL OR m.resource_type = p_resource_type)
          AND (m.resource_name IS NULL OR m.resource_name = p_resource_name));
END;

---------------------------------------------------------------------------------------------------------------------
-- Episodes, alerts, evaluations
---------------------------------------------------------------------------------------------------------------------
CREATE TABLE IF NOT EXISTS capacity_alerting.episode_h (
    episode_hk    bytea        PRIMARY KEY,
    episode_bk    text         NOT NULL UNIQUE,
    load_date     timestamptz  NOT NULL,
    record_source varchar(100) NOT NULL
);
COMMENT ON TABLE capacity_alerting.episode_h IS 'A run of breaches. Its business key: the threshold''s, the resource''s and the time it was first seen.';

CREATE TABLE IF NOT EXISTS capacity_alerting.episode_l (
    link_episode_hk         bytea        PRIMARY KEY,
    episode_hk              bytea        NOT NULL UNIQUE REFERENCES capacity_alerting.episode_h,
    capacity_threshold_hk   bytea        NOT NULL REFERENCES capacity_planning.capacity_threshold_h,
    resource_utilization_hk bytea        NOT NULL REFERENCES capacity_planning.resource_utilization_h,
    tenant_hk               bytea,
    load_date               timestamptz  NOT NULL,
    record_source           varchar(100) NOT NULL
);
CREATE INDEX IF NOT EXISTS episode_l_pair ON capacity_alerting.episode_l (capacity_threshold_hk, resource_utilization_hk);
COMMENT ON TABLE capacity_alerting.episode_l IS 'Which threshold was breached by which resource.';

CREATE TABLE IF NOT EXISTS capacity_alerting.episode_s (
    episode_hk        bytea        NOT NULL REFERENCES capacity_alerting.episode_h,
    load_date         timestamptz  NOT NULL,
    load_end_date     timestamptz,
    hash_diff         bytea        NOT NULL,
    tenant_hk         bytea,
    resource_type     varchar(50)  NOT NULL,
    resource_name     varchar(200) NOT NULL,
    condition         varchar(20)  NOT NULL CHECK (condition IN ('LEVEL', 'RUNWAY', 'ABSENCE')),
    level             numeric,
    next_level        numeric,
    capacity          numeric,
    unit              varchar(30),
    started_at        timestamptz  NOT NULL,
    first_measured_at timestamptz,
    ended_at          timestamptz,
    ended_by          varchar(20)  CHECK (ended_by IN ('RECOVERY', 'WITHDRAWN', 'OPERATOR')),
    peak              numeric,
    held_by           varchar(30),
    reached_at        timestamptz,
    record_source     varchar(100) NOT NULL,
    PRIMARY KEY (episode_hk, load_date)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX IF NOT EXISTS episode_s_current ON capacity_alerting.episode_s (episode_hk) WHERE load_end_date IS NULL;
CREATE INDEX IF NOT EXISTS episode_s_open ON capacity_alerting.episode_s (episode_hk) WHERE load_end_date IS NULL AND ended_at IS NULL;
DROP INDEX IF EXISTS capacity_alerting.episode_s_reached;  -- reaches have a table of their own
COMMENT ON TABLE capacity_alerting.episode_s IS 'What is known of an episode.';
COMMENT ON COLUMN capacity_alerting.episode_s.level IS 'The threshold''s level when it began, percent of capacity; NULL for ABSENCE.';
COMMENT ON COLUMN capacity_alerting.episode_s.next_level IS
    'What an alert of it warns of, percent of capacity: for WARNING the CRITICAL level of the same owner and type (100 where there is none), for other levels 100, for RUNWAY the level itself. NULL: nothing is beyond it (ABSENCE, and levels that are breached from above).';
COMMENT ON COLUMN capacity_alerting.episode_s.started_at IS 'The evaluation that first saw it, by the measurement of first_measured_at.';
COMMENT ON COLUMN capacity_alerting.episode_s.ended_by IS 'RECOVERY: usage went back beyond the recovery margin. WITHDRAWN: the threshold or its tenant is no longer active. OPERATOR: its alert was resolved by hand.';
COMMENT ON COLUMN capacity_alerting.episode_s.peak IS 'The extreme that was seen: percent of capacity; RUNWAY: the fewest days left; ABSENCE: the most minutes without a measurement.';
COMMENT ON COLUMN capacity_alerting.episode_s.held_by IS
    'What last kept it from being alerted: ALREADY_ALERTED, DISABLED, MUTED, MAINTENANCE, OUTSIDE_BUSINESS_HOURS, SUPPRESSED. It is alerted when the last of them lets go, unless it has ended before.';
COMMENT ON COLUMN capacity_alerting.episode_s.reached_at IS 'The first evaluation that saw next_level reached.';

CREATE TABLE IF NOT EXISTS capacity_alerting.reach (
    capacity_threshold_hk   bytea       NOT NULL,
    resource_utilization_hk bytea       NOT NULL,
    tenant_hk               bytea,
    level                   numeric     NOT NULL,
    reached_at              timestamptz NOT NULL,
    left_at                 timestamptz,
    is_start                boolean     NOT NULL,
    PRIMARY KEY (capacity_threshold_hk, resource_utilization_hk, reached_at)
);
CREATE UNIQUE INDEX IF NOT EXISTS reach_lasting ON capacity_alerting.reach (capacity_threshold_hk, resource_utilization_hk) WHERE left_at IS NULL;
COMMENT ON TABLE capacity_alerting.reach IS
    'Each time that usage came to what a threshold warns of (episode_s.next_level), from when it was measured there until it was seen the recovery margin below: what true_positive_rate counts. An episode may hold several, and one may outlast episodes.';
COMMENT ON COLUMN capacity_alerting.reach.is_start IS 'Nothing of the resource was measured before: it began there, and nobody could have announced it. Not counted.';

CREATE TABLE IF NOT EXISTS capacity_alerting.alert_h (
    alert_hk      bytea        PRIMARY KEY,
    alert_bk      text         NOT NULL UNIQUE,
    load_date     timestamptz  NOT NULL,
    record_source varchar(100) NOT NULL
);
COMMENT ON TABLE capacity_alerting.alert_h IS 'An alert bears its episode''s key: an episode is alerted once at most.';

CREATE TABLE IF NOT EXISTS capacity_alerting.alert_l (
    link_alert_hk           bytea        PRIMARY KEY,
    alert_hk                bytea        NOT NULL UNIQUE REFERENCES capacity_alerting.alert_h,
    episode_hk              bytea        NOT NULL REFERENCES capacity_alerting.episode_h,
    capacity_threshold_hk   bytea        NOT NULL REFERENCES capacity_planning.capacity_threshold_h,
    resource_utilization_hk bytea        NOT NULL REFERENCES capacity_planning.resource_utilization_h,
    tenant_hk               bytea,
    load_date               timestamptz  NOT NULL,
    record_source           varchar(100) NOT NULL
);
CREATE INDEX IF NOT EXISTS alert_l_pair ON capacity_alerting.alert_l (capacity_threshold_hk, resource_utilization_hk);
COMMENT ON TABLE capacity_alerting.alert_l IS 'Which episode was alerted, of which threshold and resource.';

CREATE TABLE IF NOT EXISTS capacity_alerting.alert_s (
    alert_hk             bytea        NOT NULL REFERENCES capacity_alerting.alert_h,
    load_date            timestamptz  NOT NULL,
    load_end_date        timestamptz,
    hash_diff            bytea        NOT NULL,
    tenant_hk            bytea,
    raised_at            timestamptz  NOT NULL,
    severity             varchar(20)  NOT NULL,
    condition            varchar(20)  NOT NULL,
    level                numeric,
    next_level           numeric,
    horizon_until        timestamptz  NOT NULL,
    value_at_raise       numeric,
    utilization_at_raise numeric,
    message              text         NOT NULL,
    acknowledged_at      timestamptz,
    acknowledged_by      text,
    acknowledged_note    text,
    resolved_at          timestamptz,
    resolved_by          text,
    resolved_note        text,
    resolved_how         varchar(20)  CHECK (resolved_how IN ('CAPACITY_ADDED', 'USAGE_CUT')),
    escalations          integer      NOT NULL DEFAULT 0,
    verdict              varchar(10)  NOT NULL DEFAULT 'OPEN' CHECK (verdict IN ('TRUE', 'FALSE', 'CENSORED', 'OPEN')),
    verdict_by           text,
    verdict_at           timestamptz,
    verdict_reason       text,
    reached_at           timestamptz,
    lead_time            interval,
    judged_until         timestamptz,
    record_source        varchar(100) NOT NULL,
    PRIMARY KEY (alert_hk, load_date)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX IF NOT EXISTS alert_s_current ON capacity_alerting.alert_s (alert_hk) WHERE load_end_date IS NULL;
CREATE INDEX IF NOT EXISTS alert_s_unresolved ON capacity_alerting.alert_s (alert_hk) WHERE load_end_date IS NULL AND resolved_at IS NULL;
CREATE INDEX IF NOT EXISTS alert_s_undecided ON capacity_alerting.alert_s (alert_hk) WHERE load_end_date IS NULL AND verdict = 'OPEN';
CREATE INDEX IF NOT EXISTS alert_s_resolved_by_hand ON capacity_alerting.alert_s (resolved_at) WHERE load_end_date IS NULL AND resolved_by <> 'auto';
CREATE INDEX IF NOT EXISTS alert_s_raised ON capacity_alerting.alert_s (raised_at) WHERE load_end_date IS NULL;
ALTER TABLE capacity_alerting.alert_s ADD COLUMN IF NOT EXISTS escalated_at timestamptz;
COMMENT ON TABLE capacity_alerting.alert_s IS 'What is known of an alert, and what was done about it.';
COMMENT ON COLUMN capacity_alerting.alert_s.next_level IS 'What it warns of: see episode_s.next_level.';
COMMENT ON COLUMN capacity_alerting.alert_s.horizon_until IS 'Until when it may come true: setting verdict_horizon_days after it was raised; RUNWAY: the days of its threshold.';
COMMENT ON COLUMN capacity_alerting.alert_s.value_at_raise IS 'Percent of capacity; RUNWAY: days left; ABSENCE: minutes without a measurement.';
COMMENT ON COLUMN capacity_alerting.alert_s.escalations IS 'How often it was escalated: what gates held back meanwhile was escalated once. escalated_at: the last time.';
COMMENT ON COLUMN capacity_alerting.alert_s.verdict IS
    'TRUE: next_level was reached by a measurement from raised_at (being past it already counts) to horizon_until; ABSENCE is its own fact. FALSE: the horizon passed without. CENSORED: before that, and before it was reached, the capacity grew from one measurement to the next, usage of what accumulates (STORAGE, DISK, ROWS, USERS, SEQUENCES) fell by 5 % or more, the operator resolved it saying so, or nothing was measured until the horizon. OPEN: not decided yet; so stays an alert on a level that is breached from above. An operator''s verdict stands.';
COMMENT ON COLUMN capacity_alerting.alert_s.verdict_by IS 'auto, or who gave it.';
COMMENT ON COLUMN capacity_alerting.alert_s.reached_at IS 'The measurement at which next_level was reached; raised_at where it was past it already.';
COMMENT ON COLUMN capacity_alerting.alert_s.lead_time IS 'reached_at - raised_at.';
COMMENT ON COLUMN capacity_alerting.alert_s.judged_until IS 'Measurements up to here are known not to decide; at the horizon all are looked at once more.';

CREATE TABLE IF NOT EXISTS capacity_alerting.notification_alert_l (
    link_notification_alert_hk bytea        PRIMARY KEY,
    notification_hk            bytea        NOT NULL REFERENCES capacity_alerting.notification_h,
    alert_hk                   bytea        NOT NULL REFERENCES capacity_alerting.alert_h,
    is_cause                   boolean      NOT NULL,
    load_date                  timestamptz  NOT NULL,
    record_source              varchar(100) NOT NULL,
    UNIQUE (notification_hk, alert_hk)
);
CREATE INDEX IF NOT EXISTS notification_alert_l_alert ON capacity_alerting.notification_alert_l (alert_hk);
COMMENT ON TABLE capacity_alerting.notification_alert_l IS
    'Which alerts a notification told of, or, later than it went out, answers for: a tenant''s alert joins what was told of the shared resource that it has a share of (episode_s.capacity is the same).';
COMMENT ON COLUMN capacity_alerting.notification_alert_l.is_cause IS 'The first of the group: the shared resource, else the fullest.';

CREATE TABLE IF NOT EXISTS capacity_alerting.evaluation (
    evaluation_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    evaluated_at  timestamptz NOT NULL,
    tenant_hk     bytea,
    is_live       boolean     NOT NULL,
    thresholds    integer     NOT NULL,
    exceeded      integer     NOT NULL,
    unknown       integer     NOT NULL,
    opened        integer     NOT NULL,
    ended         integer     NOT NULL,
    raised        integer     NOT NULL,
    escalated     integer     NOT NULL,
    resolved      integer     NOT NULL,
    notifications integer     NOT NULL,
    duration_ms   integer     NOT NULL,
    recorded_at   timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS evaluation_scope ON capacity_alerting.evaluation (tenant_hk, evaluation_id);
CREATE INDEX IF NOT EXISTS evaluation_live ON capacity_alerting.evaluation (evaluated_at) WHERE is_live;
COMMENT ON TABLE capacity_alerting.evaluation IS 'Every evaluation that was recorded, in the order in which that happened; nothing here is changed.';
COMMENT ON COLUMN capacity_alerting.evaluation.evaluated_at IS 'The time that it was of.';
COMMENT ON COLUMN capacity_alerting.evaluation.tenant_hk IS 'Of this tenant only; NULL: of the system and every tenant.';
COMMENT ON COLUMN capacity_alerting.evaluation.is_live IS 'Of the present, not as of a time that was asked for.';
COMMENT ON COLUMN capacity_alerting.evaluation.exceeded IS 'Verdicts: a threshold and a resource each. unknown: no verdict was possible.';
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE ON capacity_alerting.evaluation
    FOR EACH ROW EXECUTE FUNCTION capacity_alerting.refuse_change();

CREATE TABLE IF NOT EXISTS capacity_alerting.turn (
    is_only  boolean     PRIMARY KEY DEFAULT true CHECK (is_only),
    taken_at timestamptz
);
COMMENT ON TABLE capacity_alerting.turn IS
    'One row, which every recorded evaluation updates: one whose snapshot is older than the evaluation before it (REPEATABLE READ, SERIALIZABLE) cannot, and so does not record twice what it does not see.';
INSERT INTO capacity_alerting.turn DEFAULT VALUES ON CONFLICT DO NOTHING;

DO $versions$
BEGIN
    PERFORM capacity_ops.keep_versions('capacity_alerting.episode_s');
    PERFORM capacity_ops.keep_versions('capacity_alerting.alert_s');
    IF to_regtype('capacity_alerting.pair') IS NULL THEN
        CREATE TYPE capacity_alerting.pair AS (
            capacity_threshold_hk bytea, resource_utilization_hk bytea, tenant_hk bytea, condition text, resource_type text, resource_name text,
            level numeric, measure numeric, utilization numeric, current_value numeric, capacity numeric, unit text, measured_at timestamptz,
            exceeded boolean, is_cleared boolean, is_upward boolean);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = 'capacity_alerting.pair'::regclass AND a.attname = 'is_due') THEN
        ALTER TYPE capacity_alerting.pair ADD ATTRIBUTE is_due boolean;
    END IF;
END
$versions$;
COMMENT ON TYPE capacity_alerting.pair IS
    'A threshold and a resource as one evaluation found them (see capacity_ops.judged). is_cleared: back beyond the recovery margin. is_upward: more is worse. is_due: it is the threshold''s turn (evaluation_frequency_minutes).';

---------------------------------------------------------------------------------------------------------------------
-- What operators call: mutes, maintenance, hours
---------------------------------------------------------------------------------------------------------------------
DROP FUNCTION IF EXISTS capacity_alerting.mute_alerts(timestamptz, bytea, bytea, text, text, text, text, timestamptz);  -- before it knew of the system alone
CREATE OR REPLACE FUNCTION capacity_alerting.mute_alerts(
    p_until timestamptz, p_threshold_hk bytea DEFAULT NULL, p_tenant_hk bytea DEFAULT NULL, p_resource_type text DEFAULT NULL,
    p_resource_name text DEFAULT NULL, p_by text DEFAULT NULL, p_reason text DEFAULT NULL, p_from timestamptz DEFAULT NULL,
    p_system_only boolean DEFAULT false)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_from timestamptz := coalesce(p_from, clock_timestamp());
    v_id bigint;
BEGIN
    PERFORM capacity_ops.require_tenant(p_tenant_hk);
    IF p_threshold_hk IS NOT NULL AND NOT EXISTS (SELECT FROM capacity_planning.capacity_threshold_h WHERE capacity_threshold_hk = p_threshold_hk) THEN
        RAISE EXCEPTION 'unknown threshold %', encode(p_threshold_hk, 'hex');
    ELSIF p_until IS NULL OR NOT isfinite(p_until) THEN
        RAISE EXCEPTION 'a mute needs an end: what is muted for ever is forgotten';
    ELSIF p_until <= v_from THEN
        RAISE EXCEPTION 'a mute must end after it begins (%)', v_from;
    ELSIF p_system_only AND p_tenant_hk IS NOT NULL THEN
        RAISE EXCEPTION 'a mute is of the system alone, or of a tenant';
    END IF;
    INSERT INTO capacity_alerting.mute (capacity_threshold_hk, tenant_hk, is_system_only, resource_type, resource_name, from_at, until_at, muted_by, reason)
    VALUES (p_threshold_hk, p_tenant_hk, coalesce(p_system_only, false), p_resource_type, p_resource_name, v_from, p_until, coalesce(p_by, session_user),
            p_reason)
    RETURNING mute_id INTO v_id;
    RETURN v_id;
END
$$;
COMMENT ON FUNCTION capacity_alerting.mute_alerts(timestamptz, bytea, bytea, text, text, text, text, timestamptz, boolean) IS
    'No new alerts and no escalations until p_until of what the arguments name (NULL: any; p_system_only: of no tenant''s); returns the number by which unmute ends it.';

CREATE OR REPLACE FUNCTION capacity_alerting.unmute(p_mute_id bigint, p_at timestamptz DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_at timestamptz := coalesce(p_at, clock_timestamp());
BEGIN
    UPDATE capacity_alerting.mute SET until_at = greatest(from_at, v_at) WHERE mute_id = p_mute_id AND until_at > v_at;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no mute % that is still to end', p_mute_id;
    END IF;
END
$$;
COMMENT ON FUNCTION capacity_alerting.unmute(bigint, timestamptz) IS 'Ends a mute now.';

DROP FUNCTION IF EXISTS capacity_alerting.declare_maintenance(timestamptz, timestamptz, bytea, text, integer, text, text, text);  -- before it knew of the system alone
CREATE OR REPLACE FUNCTION capacity_alerting.declare_maintenance(
    p_starts_at timestamptz, p_ends_at timestamptz, p_tenant_hk bytea DEFAULT NULL, p_resource_type text DEFAULT NULL,
    p_repeat_weeks integer DEFAULT NULL, p_time_zone text DEFAULT NULL, p_reason text DEFAULT NULL, p_by text DEFAULT NULL,
    p_system_only boolean DEFAULT false)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_id bigint;
BEGIN
    PERFORM capacity_ops.require_tenant(p_tenant_hk);
    IF p_starts_at IS NULL OR p_ends_at IS NULL OR p_starts_at >= p_ends_at THEN
        RAISE EXCEPTION 'a maintenance window must end after it begins';
    ELSIF p_repeat_weeks NOT BETWEEN 1 AND 520 THEN
        RAISE EXCEPTION 'a maintenance window is repeated after 1 to 520 weeks, not %', p_repeat_weeks;
    ELSIF p_system_only AND p_tenant_hk IS NOT NULL THEN
        RAISE EXCEPTION 'a maintenance window is of the system alone, or of a tenant';
    END IF;
    INSERT INTO capacity_alerting.maintenance_window (tenant_hk, is_system_only, resource_type, starts_at, ends_at, repeat_weeks, time_zone, reason, declared_by)
    VALUES (p_tenant_hk, coalesce(p_system_only, false), p_resource_type, p_starts_at, p_ends_at, p_repeat_weeks,
            coalesce(p_time_zone, (SELECT c.time_zone FROM capacity_alerting.business_calendar c
                                   WHERE coalesce(c.tenant_hk, ''::bytea) IN (''::bytea, coalesce(p_tenant_hk, ''::bytea))
                                   ORDER BY c.tenant_hk IS NULL LIMIT 1), 'UTC'),
            p_reason, coalesce(p_by, session_user))
    RETURNING maintenance_id INTO v_id;
    RETURN v_id;
END
$$;
COMMENT ON FUNCTION capacity_alerting.declare_maintenance(timestamptz, timestamptz, bytea, text, integer, text, text, text, boolean) IS
    'Planned work during which alerts wait; p_system_only: of no tenant''s resources; p_repeat_weeks: again at the same local time (NULL zone: the business calendar''s). Returns the number by which cancel_maintenance takes it back.';

CREATE OR REPLACE FUNCTION capacity_alerting.cancel_maintenance(p_maintenance_id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM capacity_alerting.maintenance_window WHERE maintenance_id = p_maintenance_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no maintenance window %', p_maintenance_id;
    END IF;
END
$$;
COMMENT ON FUNCTION capacity_alerting.cancel_maintenance(bigint) IS 'Takes a maintenance window back.';

CREATE OR REPLACE FUNCTION capacity_alerting.set_business_calendar(
    p_tenant_hk bytea, p_time_zone text, p_working_days integer[] DEFAULT NULL, p_opens time DEFAULT NULL, p_closes time DEFAULT NULL,
    p_night_from time DEFAULT NULL, p_night_to time DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM capacity_ops.require_tenant(p_tenant_hk);
    IF coalesce(p_opens, '09:00') >= coalesce(p_closes, '17:00') THEN
        RAISE EXCEPTION 'business hours must open before they close, on one day: not % to %', coalesce(p_opens, '09:00'), coalesce(p_closes, '17:00');
    END IF;
    INSERT INTO capacity_alerting.business_calendar AS c (tenant_hk, time_zone, working_days, opens, closes, night_from, night_to)
    VALUES (p_tenant_hk, p_time_zone, coalesce(p_working_days, '{1,2,3,4,5}'), coalesce(p_opens, '09:00'), coalesce(p_closes, '17:00'),
            coalesce(p_night_from, '22:00'), coalesce(p_night_to, '06:00'))
    ON CONFLICT ((coalesce(tenant_hk, ''::bytea))) DO UPDATE
        SET time_zone = excluded.time_zone, working_days = coalesce(p_working_days, c.working_days), opens = coalesce(p_opens, c.opens),
            closes = coalesce(p_closes, c.closes), night_from = coalesce(p_night_from, c.night_from), night_to = coalesce(p_night_to, c.night_to);
END
$$;
COMMENT ON FUNCTION capacity_alerting.set_business_calendar(bytea, text, integer[], time, time, time, time) IS
    'When a tenant''s people (NULL: everyone without a calendar of their own) are at work; NULL arguments stay as they are.';

---------------------------------------------------------------------------------------------------------------------
-- Thresholds that are no levels, and what is checked when any threshold is set
---------------------------------------------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION capacity_alerting.default_template(p_condition text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE p_condition
        WHEN 'RUNWAY' THEN '{alert_severity}: {resource_type} {resource_name} {runway}. It is at {current_usage}% now.'
        WHEN 'ABSENCE' THEN '{alert_severity}: {resource_type} {resource_name} has not been measured for {absence}.'
        ELSE '{alert_severity}: {resource_type} {resource_name} is at {current_usage}% of its capacity, past the level of {threshold_percentage}%.' END;
END;

DROP FUNCTION IF EXISTS capacity_alerting.define_threshold(bytea, text, text, text, numeric, text, text, numeric, numeric, integer);  -- it is capacity_ops' now
CREATE OR REPLACE FUNCTION capacity_alerting.require_value(p_threshold_name text, p_value numeric, p_unit text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_value IS NULL OR NOT (p_value >= 0 AND p_value < 'Infinity') THEN
        RAISE EXCEPTION 'threshold "%" needs a number of % that is not negative, not %', p_threshold_name, p_unit, coalesce(p_value::text, 'NULL');
    ELSIF p_value > (CASE p_unit WHEN 'days' THEN 36500 ELSE 52560000 END) THEN
        RAISE EXCEPTION 'threshold "%" looks over % %: more than a hundred years', p_threshold_name, p_value, p_unit;
    END IF;
END
$$;
COMMENT ON FUNCTION capacity_alerting.require_value(text, numeric, text) IS 'Refuses what no threshold can look over.';

CREATE OR REPLACE FUNCTION capacity_alerting.create_runway_threshold(
    p_tenant_hk bytea, p_threshold_name text, p_resource_type text, p_days numeric, p_probability numeric DEFAULT 90, p_level_percentage numeric DEFAULT NULL)
RETURNS bytea LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_probability IS NULL OR p_probability NOT IN (10, 50, 90) THEN
        RAISE EXCEPTION 'threshold "%": forecasts hold the days for a probability of 10, 50 or 90 percent, not %', p_threshold_name, coalesce(p_probability::text, 'NULL');
    ELSIF NOT (p_level_percentage > 0 AND p_level_percentage < 'Infinity') THEN
        RAISE EXCEPTION 'threshold "%" needs a positive percentage, not %', p_threshold_name, p_level_percentage;
    END IF;
    PERFORM capacity_alerting.require_value(p_threshold_name, p_days, 'days');
    RETURN capacity_ops.define_threshold(p_tenant_hk, p_threshold_name, p_resource_type, 'RUNWAY', '<=', p_days, 'days', p_level_percentage, p_probability,
                                         'WARNING', capacity_alerting.default_template('RUNWAY'), 1440, NULL, 'capacity_alerting.thresholds');
END
$$;
COMMENT ON FUNCTION capacity_alerting.create_runway_threshold(bytea, text, text, numeric, numeric, numeric) IS
    'Defines, or changes, a threshold on runway: exceeded when the current forecast reaches the level (NULL: the CRITICAL one) within p_days with p_probability percent (10, 50, 90). Resource type ALL: every type of the tenant (NULL: of the system).';

CREATE OR REPLACE FUNCTION capacity_alerting.create_absence_threshold(
    p_tenant_hk bytea, p_threshold_name text, p_resource_type text, p_minutes numeric DEFAULT NULL)
RETURNS bytea LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_minutes numeric := coalesce(p_minutes, capacity_ops.setting('monitoring_interval_seconds') / 20);
BEGIN
    PERFORM capacity_alerting.require_value(p_threshold_name, v_minutes, 'minutes');
    RETURN capacity_ops.define_threshold(p_tenant_hk, p_threshold_name, p_resource_type, 'ABSENCE', '>', v_minutes, 'minutes', NULL, NULL,
                                         'WARNING', capacity_alerting.default_template('ABSENCE'), 60, NULL, 'capacity_alerting.thresholds');
END
$$;
COMMENT ON FUNCTION capacity_alerting.create_absence_threshold(bytea, text, text, numeric) IS
    'Defines, or changes, a threshold on the absence of measurements: exceeded when the newest is older than p_minutes (NULL: three monitoring intervals). Resource type ALL: every type of the tenant (NULL: of the system).';

CREATE OR REPLACE FUNCTION capacity_alerting.named(p_receivers text[]) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT array_agg(trim(r) ORDER BY n) FROM unnest(p_receivers) WITH ORDINALITY AS u (r, n) WHERE trim(r) <> '';
END;
COMMENT ON FUNCTION capacity_alerting.named(text[]) IS 'The channels or contacts of a list, blank ones left out; NULL: none.';

CREATE OR REPLACE FUNCTION capacity_alerting.placeholders() RETURNS text[] LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT array_agg(a.attname::text ORDER BY a.attnum)
           || '{resource_name,tenant_id,current_usage,current_value,capacity,measurement_timestamp,days_left,runway,minutes_since,absence,runbook_url,report_url}'::text[]
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = 'capacity_planning.capacity_threshold_s'::regclass AND a.attnum > 0 AND NOT a.attisdropped;
END;
CREATE OR REPLACE FUNCTION capacity_alerting.link_placeholders() RETURNS text[] LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT array_agg(a.attname::text ORDER BY a.attnum) || '{resource_name,tenant_id}'::text[]
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = 'capacity_planning.capacity_threshold_s'::regclass AND a.attnum > 0 AND NOT a.attisdropped;
END;
COMMENT ON FUNCTION capacity_alerting.link_placeholders() IS 'What runbook_url and report_url may name: the threshold''s own columns, and whose which resource it is.';
COMMENT ON FUNCTION capacity_alerting.placeholders() IS
    'What a message template may name: the threshold''s own columns and what an evaluation knows. {current_usage} is percent of capacity.';

CREATE OR REPLACE FUNCTION capacity_alerting.check_template() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_unknown text;
BEGIN
    SELECT string_agg(DISTINCT '{' || m[1] || '}', ', ') INTO v_unknown
    FROM regexp_matches(NEW.alert_message_template, '\{([^{}]*)\}', 'g') m WHERE m[1] <> ALL (capacity_alerting.placeholders());
    IF v_unknown IS NOT NULL THEN
        RAISE EXCEPTION 'the message template of threshold "%" names what nothing knows: %', NEW.threshold_name, v_unknown
            USING HINT = 'SELECT unnest(capacity_alerting.placeholders()) lists what it may name.', ERRCODE = 'check_violation';
    ELSIF length(NEW.alert_message_template) > 4000 THEN
        RAISE EXCEPTION 'the message template of threshold "%" is longer than 4,000 characters', NEW.threshold_name USING ERRCODE = 'check_violation';
    ELSIF EXISTS (SELECT FROM unnest(NEW.notification_channels || NEW.escalation_contacts) c WHERE c LIKE '%://%') THEN
        RAISE EXCEPTION 'threshold "%": a channel is named, not addressed', NEW.threshold_name
            USING HINT = 'Its address, which is a secret, stands where notifications are sent from.', ERRCODE = 'check_violation';
    ELSIF concat_ws(' ', NEW.alert_message_template, NEW.auto_resolution_action) ~ '://[^/[:space:]]*@' THEN
        RAISE EXCEPTION 'threshold "%": a link with a name or a password in it goes to everybody who is told', NEW.threshold_name
            USING HINT = 'Leave what stands before the @ out of it.', ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER check_template BEFORE INSERT OR UPDATE OF alert_message_template, auto_resolution_action, notification_channels, escalation_contacts
    ON capacity_planning.capacity_threshold_s
    FOR EACH ROW WHEN (NEW.load_end_date IS NULL) EXECUTE FUNCTION capacity_alerting.check_template();

CREATE OR REPLACE FUNCTION capacity_alerting.check_link() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_unknown text;
BEGIN
    SELECT string_agg(DISTINCT '{' || m[1] || '}', ', ') INTO v_unknown
    FROM regexp_matches(NEW.value, '\{([^{}]*)\}', 'g') m WHERE m[1] <> ALL (capacity_alerting.link_placeholders());
    IF v_unknown IS NOT NULL THEN
        RAISE EXCEPTION '% names what no link knows: %', NEW.name, v_unknown
            USING HINT = 'SELECT unnest(capacity_alerting.link_placeholders()) lists what it may name.', ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER check_link BEFORE INSERT OR UPDATE OF value ON capacity_alerting.text_setting
    FOR EACH ROW WHEN (NEW.value IS NOT NULL AND NEW.name IN ('runbook_url', 'report_url')) EXECUTE FUNCTION capacity_alerting.check_link();
UPDATE capacity_alerting.text_setting s
SET description = replace(s.description, 'placeholders as in message templates', 'placeholders: capacity_alerting.link_placeholders()')
WHERE s.description LIKE '%placeholders as in message templates';

-- Said when it is set; it stays in capacity_alerting.threshold_problem.
CREATE OR REPLACE FUNCTION capacity_alerting.warn_of_threshold() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_other capacity_planning.capacity_threshold_s;
BEGIN
    IF NEW.threshold_type IN ('WARNING', 'CRITICAL') AND NEW.threshold_operator IN ('>=', '>') THEN
        SELECT t.* INTO v_other FROM capacity_planning.capacity_threshold_s t
        WHERE t.load_end_date IS NULL AND t.is_active IS NOT FALSE AND t.resource_type = NEW.resource_type
          AND coalesce(t.tenant_hk, ''::bytea) = coalesce(NEW.tenant_hk, ''::bytea) AND t.threshold_operator IN ('>=', '>')
          AND t.threshold_type = CASE NEW.threshold_type WHEN 'WARNING' THEN 'CRITICAL' ELSE 'WARNING' END
          AND CASE NEW.threshold_type WHEN 'WARNING' THEN NEW.threshold_percentage >= t.threshold_percentage
                   ELSE t.threshold_percentage >= NEW.threshold_percentage END
        LIMIT 1;
        IF FOUND THEN
            RAISE NOTICE '% threshold "%" at % %% of % and % threshold "%" at % %% contradict each other: the warning is not below the critical level',
                NEW.threshold_type, NEW.threshold_name, NEW.threshold_percentage, NEW.resource_type,
                v_other.threshold_type, v_other.threshold_name, v_other.threshold_percentage;
        END IF;
    END IF;
    IF NEW.escalation_enabled AND capacity_alerting.named(NEW.escalation_contacts) IS NULL THEN
        RAISE NOTICE 'threshold "%" escalates to nobody: it has no escalation_contacts, so escalations go to its own channels again', NEW.threshold_name;
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER warn_of_threshold
    AFTER INSERT OR UPDATE OF threshold_percentage, threshold_type, threshold_operator, is_active, escalation_enabled, escalation_contacts
    ON capacity_planning.capacity_threshold_s
    FOR EACH ROW WHEN (NEW.load_end_date IS NULL AND NEW.is_active IS NOT FALSE) EXECUTE FUNCTION capacity_alerting.warn_of_threshold();

---------------------------------------------------------------------------------------------------------------------
-- What came of the alerts of each threshold
---------------------------------------------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION capacity_alerting.record_at(p_tenant_hk bytea, p_at timestamptz)
RETURNS TABLE (capacity_threshold_hk bytea, alerts_24h integer, alerts_7d integer, alerts_30d integer, alerts integer, last_raised_at timestamptz,
               resolved integer, resolution_minutes numeric, true_alerts integer, false_alerts integer, censored_alerts integer, open_alerts integer,
               reaches integer, announced integer, false_positive_rate numeric, true_positive_rate numeric, effectiveness numeric, lead_time interval)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH raised AS (
        SELECT l.capacity_threshold_hk AS hk, count(*) FILTER (WHERE a.raised_at > p_at - interval '24 hours')::int AS day,
               count(*) FILTER (WHERE a.raised_at > p_at - interval '7 days')::int AS week,
               count(*) FILTER (WHERE a.raised_at > p_at - interval '30 days')::int AS month,
               count(*)::int AS n, max(a.raised_at) AS last, count(a.resolved_at)::int AS resolved,
               avg(extract(epoch FROM a.resolved_at - a.raised_at)) / 60 AS minutes,
               count(*) FILTER (WHERE a.verdict = 'TRUE')::int AS yes, count(*) FILTER (WHERE a.verdict = 'FALSE')::int AS no,
               count(*) FILTER (WHERE a.verdict = 'CENSORED')::int AS censored, count(*) FILTER (WHERE a.verdict = 'OPEN')::int AS undecided,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY a.lead_time) FILTER (WHERE a.verdict = 'TRUE') AS lead
        FROM capacity_alerting.alert_s a JOIN capacity_alerting.alert_l l ON l.alert_hk = a.alert_hk
        WHERE a.load_end_date IS NULL AND a.raised_at > p_at - interval '365 days' AND a.raised_at <= p_at
          AND (p_tenant_hk IS NULL OR l.tenant_hk = p_tenant_hk)
        GROUP BY l.capacity_threshold_hk),
    reach AS (
        SELECT r.hk, count(*)::int AS n, count(*) FILTER (WHERE r.announced_until >= r.reached_at)::int AS announced
        FROM (SELECT v.hk, v.reached_at, max(v.horizon_until) OVER (PARTITION BY v.hk, v.resource_utilization_hk ORDER BY v.at) AS announced_until
              FROM (SELECT o.capacity_threshold_hk AS hk, o.resource_utilization_hk, o.reached_at AS at, o.reached_at, NULL::timestamptz AS horizon_until
                    FROM capacity_alerting.reach o
                    CROSS JOIN (SELECT e.evaluated_at + make_interval(secs => 3600 * capacity_ops.setting('verdict_lead_hours')::float8) AS earliest
                                FROM capacity_alerting.evaluation e ORDER BY e.evaluation_id LIMIT 1) known
                    WHERE NOT o.is_start AND o.reached_at > p_at - interval '365 days' AND o.reached_at <= p_at AND o.reached_at >= known.earliest
                      AND (p_tenant_hk IS NULL OR o.tenant_hk = p_tenant_hk)
                    UNION ALL
                    SELECT l.capacity_threshold_hk, l.resource_utilization_hk, a.raised_at + make_interval(secs => 3600 * s.lead_hours::float8), NULL, a.horizon_until
                    FROM (SELECT capacity_ops.setting('verdict_lead_hours') AS lead_hours) s
                    CROSS JOIN capacity_alerting.alert_s a JOIN capacity_alerting.alert_l l ON l.alert_hk = a.alert_hk
                    WHERE a.load_end_date IS NULL AND a.horizon_until > p_at - interval '365 days' AND a.raised_at <= p_at
                      AND (p_tenant_hk IS NULL OR l.tenant_hk = p_tenant_hk)) v) r
        WHERE r.reached_at IS NOT NULL
        GROUP BY r.hk),
    rate AS (
        SELECT coalesce(a.hk, r.hk) AS hk, coalesce(a.day, 0) AS day, coalesce(a.week, 0) AS week, coalesce(a.month, 0) AS month, coalesce(a.n, 0) AS n, a.last,
               coalesce(a.resolved, 0) AS resolved, a.minutes, coalesce(a.yes, 0) AS yes, coalesce(a.no, 0) AS no, coalesce(a.censored, 0) AS censored,
               coalesce(a.undecided, 0) AS undecided, a.lead, coalesce(r.n, 0) AS reaches, coalesce(r.announced, 0) AS announced,
               CASE WHEN a.yes + a.no >= m.least AND a.yes + a.no > 0 THEN 100.0 * a.no / (a.yes + a.no) END AS false_rate,
               CASE WHEN r.n >= m.least THEN 100.0 * r.announced / r.n END AS true_rate
        FROM raised a FULL JOIN reach r ON r.hk = a.hk
        CROSS JOIN (SELECT capacity_ops.setting('verdict_minimum') AS least) m)
    SELECT t.hk, t.day, t.week, t.month, t.n, t.last, t.resolved, t.minutes, t.yes, t.no, t.censored, t.undecided, t.reaches, t.announced,
           round(t.false_rate, 2), round(t.true_rate, 2),
           round(CASE WHEN 100 - t.false_rate + t.true_rate = 0 THEN 0 ELSE 2 * (100 - t.false_rate) * t.true_rate / (100 - t.false_rate + t.true_rate) END, 2),
           t.lead
    FROM rate t;
END;
COMMENT ON FUNCTION capacity_alerting.record_at(bytea, timestamptz) IS
    'Thresholds with an alert or a reach in the 365 days before a time, and the counts behind their rates. lead_time: the median over true alerts.';

CREATE OR REPLACE VIEW capacity_alerting.threshold_record AS
SELECT t.capacity_threshold_hk, t.tenant_hk, capacity_ops.tenant_key(t.tenant_hk) AS tenant_id, t.threshold_name, t.resource_type, t.threshold_type,
       coalesce(r.alerts, 0) AS alerts, coalesce(r.true_alerts, 0) AS true_alerts, coalesce(r.false_alerts, 0) AS false_alerts,
       coalesce(r.censored_alerts, 0) AS censored_alerts, coalesce(r.open_alerts, 0) AS open_alerts,
       coalesce(r.reaches, 0) AS reaches, coalesce(r.announced, 0) AS announced,
       r.false_positive_rate, r.true_positive_rate, r.effectiveness AS threshold_effectiveness_score, r.lead_time,
       coalesce(r.resolved, 0) AS resolved, round(r.resolution_minutes)::integer AS average_resolution_time_minutes,
       (SELECT capacity_ops.setting('verdict_minimum')) AS minimum
FROM capacity_planning.capacity_threshold_s t
LEFT JOIN capacity_alerting.record_at(NULL, clock_timestamp()) r ON r.capacity_threshold_hk = t.capacity_threshold_hk
WHERE t.load_end_date IS NULL;
COMMENT ON VIEW capacity_alerting.threshold_record IS
    'One row a threshold: the counts of the last 365 days behind its rates. A rate is NULL while its denominator is under minimum.';

COMMENT ON COLUMN capacity_planning.capacity_threshold_s.escalation_delay_minutes IS
    'An alert that nobody acknowledged is escalated after so long, and after as long again: by the first evaluation then, whether it is this threshold''s turn or not.';
COMMENT ON COLUMN capacity_planning.capacity_threshold_s.evaluation_frequency_minutes IS
    'How often it is judged: episodes begin, go on and end in the first evaluation of each such slot of the clock. Gates, escalation and what is still to be told are looked at in every one. NULL or 0: every evaluation judges.';
COMMENT ON COLUMN capacity_planning.capacity_threshold_s.trigger_count_24h IS
    'trigger_count_24h, _7d, _30d: alerts raised in so long before the newest evaluation that considered the threshold; last_triggered_date: the newest of them. NULL: never evaluated.';
COMMENT ON COLUMN capacity_planning.capacity_threshold_s.average_resolution_time_minutes IS
    'Mean of resolved_at - raised_at over the alerts of the last 365 days that are resolved. NULL: none is.';
COMMENT ON COLUMN capacity_planning.capacity_threshold_s.false_positive_rate IS
    '100 x FALSE / (TRUE + FALSE) over the alerts raised in the last 365 days (capacity_alerting.alert_s.verdict); open and censored ones count in neither. NULL while TRUE + FALSE is under the setting verdict_minimum (5). The counts: capacity_alerting.threshold_record.';
COMMENT ON COLUMN capacity_planning.capacity_threshold_s.true_positive_rate IS
    '100 x announced reaches / reaches of the last 365 days. A reach (capacity_alerting.reach): an evaluation of this threshold finds usage at the next level (for WARNING the CRITICAL level, else 100; for RUNWAY its level), for the first time since one found it the setting recovery_margin below; one that came sooner than verdict_lead_hours after the first evaluation could not be announced and does not count. Announced: an alert of this threshold on the same resource was raised at least verdict_lead_hours (24) before and its horizon had not passed. NULL while reaches are fewer than verdict_minimum (5), and for ABSENCE.';
COMMENT ON COLUMN capacity_planning.capacity_threshold_s.threshold_effectiveness_score IS
    'F1 in percent: 2 P R / (P + R), P = 100 - false_positive_rate (precision), R = true_positive_rate (recall). NULL where either is.';

---------------------------------------------------------------------------------------------------------------------
-- The evaluation's steps, in their order
---------------------------------------------------------------------------------------------------------------------

-- What a verdict on an alert is made of: measurements after it was raised, and what the operator said.
CREATE OR REPLACE FUNCTION capacity_alerting.judge_alerts(p_tenant_hk bytea, p_at timestamptz) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_servers bigint[] := capacity_ops.own_servers();
    v_decided integer;
BEGIN
    WITH undecided AS MATERIALIZED (
        SELECT a.alert_hk, l.resource_utilization_hk, a.raised_at, a.next_level, a.horizon_until, a.horizon_until < p_at AS is_over,
               CASE WHEN a.horizon_until < p_at THEN a.raised_at ELSE greatest(a.raised_at, a.judged_until) END AS known_until,
               CASE WHEN a.resolved_how IS NOT NULL AND a.resolved_at <= a.horizon_until THEN a.resolved_at END AS by_hand_at, a.resolved_how, a.resolved_by
        FROM capacity_alerting.alert_s a JOIN capacity_alerting.alert_l l ON l.alert_hk = a.alert_hk
        WHERE a.load_end_date IS NULL AND a.verdict = 'OPEN' AND a.next_level IS NOT NULL AND a.raised_at <= p_at
          AND (p_tenant_hk IS NULL OR l.tenant_hk = p_tenant_hk)),
    seen AS MATERIALIZED (
        SELECT u.*, m.measured, m.reached_at, m.grew_at, m.fell_at
        FROM undecided u
        CROSS JOIN LATERAL (
            SELECT count(*) AS measured,
                   min(s.at) FILTER (WHERE s.current_value / s.capacity * 100 >= u.next_level) AS reached_at,
                   min(s.at) FILTER (WHERE s.capacity > s.capacity_before) AS grew_at,
                   min(s.at) FILTER (WHERE s.accumulates AND s.value_before > 0 AND s.current_value <= 0.95 * s.value_before) AS fell_at
            FROM (SELECT c.*, lag(c.current_value) OVER past AS value_before, lag(c.capacity) OVER past AS capacity_before
                  FROM (SELECT r.measurement_timestamp AS at, r.current_value,
                               coalesce(r.maximum_capacity, capacity_ops.capacity_at(r.tenant_hk, r.resource_type, r.resource_name, r.measurement_timestamp)) AS capacity,
                               r.resource_type IN ('STORAGE', 'DISK', 'ROWS', 'USERS', 'SEQUENCES') AS accumulates
                        FROM capacity_planning.resource_utilization_s r
                        WHERE r.resource_utilization_hk = u.resource_utilization_hk AND r.load_end_date IS NULL
                          AND (r.system_identifier IS NULL OR r.system_identifier = ANY (v_servers))
                          AND r.measurement_timestamp <= least(p_at, u.horizon_until)
                          AND r.measurement_timestamp >= coalesce((  -- and the one before, to compare with
                              SELECT b.measurement_timestamp FROM capacity_planning.resource_utilization_s b
                              WHERE b.resource_utilization_hk = u.resource_utilization_hk AND b.load_end_date IS NULL
                                AND (b.system_identifier IS NULL OR b.system_identifier = ANY (v_servers))
                                AND b.measurement_timestamp <= u.known_until ORDER BY b.measurement_timestamp DESC LIMIT 1), u.known_until)) c
                  WINDOW past AS (ORDER BY c.at)) s
            WHERE s.at > u.known_until) m),
    decided AS (
        SELECT s.*, c.at AS censored_at,
               CASE WHEN s.reached_at < c.at OR (s.reached_at IS NOT NULL AND c.at IS NULL) THEN 'TRUE'
                    WHEN c.at IS NOT NULL OR (s.is_over AND s.measured = 0) THEN 'CENSORED'
                    WHEN s.is_over THEN 'FALSE' ELSE 'OPEN' END AS verdict
        FROM seen s CROSS JOIN LATERAL (SELECT least(s.grew_at, s.fell_at, s.by_hand_at) AS at) c),
    free AS MATERIALIZED (  -- what an operator's session holds waits for the next evaluation, and that for nobody
        SELECT c.alert_hk FROM decided d JOIN capacity_alerting.alert_s c ON c.alert_hk = d.alert_hk AND c.load_end_date IS NULL AND c.verdict = 'OPEN'
        WHERE d.verdict <> 'OPEN' OR d.measured >= 50
        FOR NO KEY UPDATE OF c SKIP LOCKED),
    waiting AS (  -- reading fifty rows again costs less than writing one every time
        UPDATE capacity_alerting.alert_s a SET judged_until = p_at
        FROM decided d JOIN free f ON f.alert_hk = d.alert_hk
        WHERE d.verdict = 'OPEN' AND a.alert_hk = d.alert_hk AND a.load_end_date IS NULL),
    verdict AS (
        UPDATE capacity_alerting.alert_s a
        SET verdict = d.verdict, verdict_by = 'auto', verdict_at = p_at,
            reached_at = CASE d.verdict WHEN 'TRUE' THEN d.reached_at END, lead_time = CASE d.verdict WHEN 'TRUE' THEN d.reached_at - d.raised_at END,
            verdict_reason = CASE
                WHEN d.verdict = 'TRUE' THEN format('%s%% of the capacity was reached', trim_scale(d.next_level))
                WHEN d.verdict = 'FALSE' THEN format('%s%% of the capacity was not reached until %s', trim_scale(d.next_level),
                                                     to_char(d.horizon_until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'))
                WHEN d.censored_at IS NULL THEN 'nothing was measured until the horizon'
                WHEN d.censored_at = d.grew_at THEN format('the capacity grew by %s', to_char(d.grew_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'))
                WHEN d.censored_at = d.fell_at THEN format('usage fell by 5%% or more by %s', to_char(d.fell_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'))
                ELSE format('%s said: %s', d.resolved_by, CASE d.resolved_how WHEN 'CAPACITY_ADDED' THEN 'capacity was added' ELSE 'usage was cut' END) END
        FROM decided d JOIN free f ON f.alert_hk = d.alert_hk
        WHERE d.verdict <> 'OPEN' AND a.alert_hk = d.alert_hk AND a.load_end_date IS NULL
        RETURNING a.alert_hk)
    SELECT count(*) INTO v_decided FROM verdict;
    RETURN v_decided;
END
$$;
COMMENT ON FUNCTION capacity_alerting.judge_alerts(bytea, timestamptz) IS
    'Gives the verdicts that measurements up to a time allow (see alert_s.verdict); how many.';

CREATE OR REPLACE FUNCTION capacity_alerting.count_triggers(p_tenant_hk bytea, p_at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE capacity_planning.capacity_threshold_s t
    SET trigger_count_24h = n.alerts_24h, trigger_count_7d = n.alerts_7d, trigger_count_30d = n.alerts_30d,
        last_triggered_date = coalesce(n.last_raised_at, t.last_triggered_date), average_resolution_time_minutes = n.minutes,
        false_positive_rate = n.false_positive_rate, true_positive_rate = n.true_positive_rate, threshold_effectiveness_score = n.effectiveness
    FROM (SELECT c.capacity_threshold_hk, coalesce(r.alerts_24h, 0) AS alerts_24h, coalesce(r.alerts_7d, 0) AS alerts_7d,
                 coalesce(r.alerts_30d, 0) AS alerts_30d, r.last_raised_at, round(r.resolution_minutes)::integer AS minutes,
                 r.false_positive_rate, r.true_positive_rate, r.effectiveness
          FROM capacity_planning.capacity_threshold_s c
          LEFT JOIN capacity_alerting.record_at(p_tenant_hk, p_at) r ON r.capacity_threshold_hk = c.capacity_threshold_hk
          WHERE c.load_end_date IS NULL AND c.is_active IS NOT FALSE AND (p_tenant_hk IS NULL OR c.tenant_hk = p_tenant_hk)
            AND (c.trigger_count_24h, c.trigger_count_7d, c.trigger_count_30d, coalesce(r.last_raised_at, c.last_triggered_date),
                 c.average_resolution_time_minutes, c.false_positive_rate, c.true_positive_rate, c.threshold_effectiveness_score)
                IS DISTINCT FROM
                (coalesce(r.alerts_24h, 0), coalesce(r.alerts_7d, 0), coalesce(r.alerts_30d, 0), c.last_triggered_date,
                 round(r.resolution_minutes)::integer, r.false_positive_rate, r.true_positive_rate, r.effectiveness)
          FOR NO KEY UPDATE OF c SKIP LOCKED) n  -- whoever holds a threshold open holds up nobody's alerts: the next evaluation counts again
    WHERE t.capacity_threshold_hk = n.capacity_threshold_hk AND t.load_end_date IS NULL;
END
$$;
COMMENT ON FUNCTION capacity_alerting.count_triggers(bytea, timestamptz) IS
    'Writes the counters and rates of capacity_threshold_s, in place, where they changed.';

CREATE OR REPLACE FUNCTION capacity_alerting.family(p_resource_type text, p_condition text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN p_condition = 'ABSENCE' THEN 'ABSENCE'
                WHEN p_resource_type IN ('STORAGE', 'DISK', 'WAL', 'ROWS', 'REPLICATION_SLOT') THEN 'STORAGE'
                ELSE p_resource_type END;
END;
COMMENT ON FUNCTION capacity_alerting.family(text, text) IS 'What fails together: alerts of one family are one page.';

CREATE OR REPLACE FUNCTION capacity_alerting.severity_rank(p_severity text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(array_position('{INFO,WARNING,CRITICAL,EMERGENCY}'::text[], upper(p_severity)), 1);
END;

CREATE OR REPLACE FUNCTION capacity_alerting.render_link(p_template text, p_values jsonb) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT nullif(capacity_ops.render_template(p_template, coalesce(jsonb_object_agg(f.key, (
        SELECT string_agg(CASE WHEN c.c ~ '^[A-Za-z0-9._~-]$' THEN c.c
                               ELSE regexp_replace(upper(encode(convert_to(c.c, 'UTF8'), 'hex')), '(..)', '%\1', 'g') END, '' ORDER BY c.place)
        FROM regexp_split_to_table(p_values ->> f.key, '') WITH ORDINALITY AS c (c, place))), '{}')), '')
    FROM (SELECT DISTINCT m[1] AS key FROM regexp_matches(p_template, '\{([a-z0-9_]+)\}', 'g') m WHERE p_values ? m[1]) f;
END;
COMMENT ON FUNCTION capacity_alerting.render_link(text, jsonb) IS
    'A link with its placeholders filled in, as RFC 3986 has them within a path: a name with a blank or a slash in it does not break it. NULL: not set.';

CREATE OR REPLACE FUNCTION capacity_alerting.is_told(p_at timestamptz) RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT p_at >= clock_timestamp() - make_interval(secs => 3600 * capacity_ops.setting('notify_within_hours')::float8);
END;
COMMENT ON FUNCTION capacity_alerting.is_told(timestamptz) IS 'Whether an evaluation as of a time tells anybody: history is told to nobody.';

DROP FUNCTION IF EXISTS capacity_alerting.is_standing(bytea);
CREATE OR REPLACE FUNCTION capacity_alerting.standing_notifications() RETURNS TABLE (notification_hk bytea) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT k.notification_hk
    FROM capacity_alerting.notification_alert_l k
    JOIN capacity_alerting.alert_s a ON a.alert_hk = k.alert_hk AND a.load_end_date IS NULL AND a.resolved_at IS NULL
    WHERE k.is_cause
      AND k.notification_hk IN (SELECT o.notification_hk FROM capacity_alerting.outbox o
                                UNION ALL SELECT d.notification_hk FROM capacity_alerting.delivery_s d WHERE d.outcome = 'SENT');
END;
COMMENT ON FUNCTION capacity_alerting.standing_notifications() IS
    'The notifications that answer for what joins them: they arrived or still may, and the alert that they lead with is not resolved.';

CREATE OR REPLACE FUNCTION capacity_alerting.usage_at(p_resource_hk bytea, p_at timestamptz) RETURNS TABLE (percent numeric, measured_at timestamptz)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT 100 * s.current_value / coalesce(s.maximum_capacity, capacity_ops.capacity_at(s.tenant_hk, s.resource_type, s.resource_name, s.measurement_timestamp)),
           s.measurement_timestamp
    FROM (SELECT (SELECT capacity_ops.own_servers()) AS servers) own
    CROSS JOIN capacity_planning.resource_utilization_s s
    WHERE s.resource_utilization_hk = p_resource_hk AND s.load_end_date IS NULL AND s.measurement_timestamp <= p_at
      AND (s.system_identifier IS NULL OR s.system_identifier = ANY (own.servers))
    ORDER BY s.measurement_timestamp DESC LIMIT 1;
END;
COMMENT ON FUNCTION capacity_alerting.usage_at(bytea, timestamptz) IS 'How full a resource was by its newest measurement at a time; percent NULL: its capacity is not known.';

-- One notification for each (channel, contact, kind, family) of these alerts: a storm is one page, and a disk that is full is none of being about to be.
DROP FUNCTION IF EXISTS capacity_alerting.notify_of(text, bytea[], bytea, timestamptz);  -- before a rehearsal left the alerts that stand alone
CREATE OR REPLACE FUNCTION capacity_alerting.notify_of(p_kind text, p_alerts bytea[], p_scope bytea, p_at timestamptz, p_is_rehearsal boolean) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_default text[] := (SELECT array_agg(c.name ORDER BY c.name) FROM capacity_alerting.channel c WHERE c.is_default);
    v_runbook text := (SELECT s.value FROM capacity_alerting.text_setting s WHERE s.name = 'runbook_url');
    v_report text := (SELECT s.value FROM capacity_alerting.text_setting s WHERE s.name = 'report_url');
    v_sent integer;
BEGIN
    IF NOT capacity_alerting.is_told(p_at) THEN
        RETURN 0;
    END IF;
    WITH event AS MATERIALIZED (
        SELECT a.alert_hk, h.alert_bk, a.tenant_hk, a.severity, capacity_alerting.severity_rank(a.severity) AS rank, a.condition, a.message, a.escalations,
               a.raised_at, e.resource_type, e.capacity, e.unit, e.peak, capacity_ops.one_line(e.resource_name) AS resource_name, capacity_alerting.family(e.resource_type, a.condition) AS family,
               CASE a.condition WHEN 'RUNWAY' THEN -a.value_at_raise ELSE a.value_at_raise END AS fullness, l.capacity_threshold_hk, l.resource_utilization_hk,
               t.auto_resolution_action, capacity_ops.one_line(w.tenant_name) AS tenant_name,
               CASE WHEN p_kind = 'ESCALATION' THEN capacity_alerting.named(t.escalation_contacts) END AS contacts,
               coalesce(capacity_alerting.named(t.notification_channels), v_default) AS channels
        FROM capacity_alerting.alert_s a
        JOIN capacity_alerting.alert_h h ON h.alert_hk = a.alert_hk
        JOIN capacity_alerting.alert_l l ON l.alert_hk = a.alert_hk
        JOIN capacity_alerting.episode_s e ON e.episode_hk = l.episode_hk AND e.load_end_date IS NULL
        CROSS JOIN LATERAL capacity_alerting.current_threshold(l.capacity_threshold_hk) t
        LEFT JOIN capacity_ops.tenant w ON w.tenant_hk = a.tenant_hk
        WHERE a.alert_hk = ANY (p_alerts) AND a.load_end_date IS NULL),
    -- a contact is a mail address, told through EMAIL, or else a channel's name
    told AS MATERIALIZED (
        SELECT DISTINCT e.alert_hk, coalesce(w.channel, '') AS channel, w.contact, e.contacts IS NULL AND p_kind = 'ESCALATION' AS is_unheard
        FROM event e
        CROSS JOIN LATERAL (
            SELECT upper(trim(c)) AS channel, NULL::text AS contact FROM unnest(e.channels) c WHERE e.contacts IS NULL
            UNION ALL
            SELECT CASE WHEN c ~ '@' THEN 'EMAIL' ELSE upper(trim(c)) END, CASE WHEN c ~ '@' THEN trim(c) END FROM unnest(e.contacts) c) w
        WHERE w.channel <> ''),
    -- a tenant's alert says nothing new while the shared resource's, as severe or more, was told on that channel and stands: a
    -- share of the same capacity, that is; a quota of its own that fills is another matter
    known AS MATERIALIZED (
        SELECT DISTINCT ON (o.alert_hk, o.channel) o.alert_hk, o.channel, n.notification_hk
        FROM told o
        JOIN event e ON e.alert_hk = o.alert_hk AND e.tenant_hk IS NOT NULL
        JOIN capacity_alerting.alert_s c ON c.load_end_date IS NULL AND c.resolved_at IS NULL AND c.tenant_hk IS NULL
             AND c.alert_hk <> ALL (p_alerts) AND capacity_alerting.severity_rank(c.severity) >= e.rank
        JOIN capacity_alerting.episode_s ce ON ce.episode_hk = c.alert_hk AND ce.load_end_date IS NULL
             AND capacity_alerting.family(ce.resource_type, c.condition) = e.family
             AND (ce.resource_type = e.resource_type OR ce.resource_type IN ('STORAGE', 'DISK'))  -- a full slot says nothing of a quota
             AND ce.capacity = e.capacity AND ce.unit = e.unit
        JOIN capacity_alerting.notification_alert_l k ON k.alert_hk = c.alert_hk AND k.is_cause
        JOIN capacity_alerting.notification_s n ON n.notification_hk = k.notification_hk AND n.load_end_date IS NULL
             AND n.kind = 'ALERT' AND n.channel = o.channel AND n.contact IS NULL
        JOIN capacity_alerting.standing_notifications() sn ON sn.notification_hk = n.notification_hk
        WHERE p_kind = 'ALERT' AND NOT p_is_rehearsal
        ORDER BY o.alert_hk, o.channel, n.queued_at DESC),
    placed AS MATERIALIZED (
        SELECT o.channel, o.contact, o.is_unheard, e.*,
               row_number() OVER (PARTITION BY o.channel, o.contact, e.family
                                  ORDER BY e.tenant_hk IS NOT NULL, e.condition = 'RUNWAY', e.fullness DESC NULLS LAST, e.rank DESC, e.resource_type, e.resource_name, e.alert_hk) AS place
        FROM told o JOIN event e ON e.alert_hk = o.alert_hk
        WHERE NOT EXISTS (SELECT FROM known k WHERE k.alert_hk = o.alert_hk AND k.channel = o.channel)),
    grouped AS MATERIALIZED (
        SELECT p.channel, p.contact, p.family, count(*) AS n,
               (array_agg(p.severity ORDER BY p.rank DESC, p.place))[1] AS severity, bool_or(p.is_unheard) AS is_unheard,
               count(DISTINCT p.tenant_hk) AS tenants,
               string_agg(concat_ws(': ', p.tenant_name, p.message), E'\n' ORDER BY p.place) FILTER (WHERE p.place <= 10) AS lines
        FROM placed p GROUP BY p.channel, p.contact, p.family),
    -- the cause stands for the group: its incident, its runbook, what is to be done about it
    written AS MATERIALIZED (
        SELECT g.*, c.alert_hk, d.dedup_key, left(encode(sha256(convert_to(concat_ws('|', d.dedup_key, p_kind, g.channel, coalesce(g.contact, ''), d.n), 'UTF8')), 'hex'), 32) AS key,
               format('%s: %s %s of %s%s%s', g.severity, c.resource_type, c.resource_name,
                      CASE WHEN c.tenant_hk IS NULL THEN 'the system' ELSE coalesce(c.tenant_name, 'a tenant that is gone') END,
                      CASE WHEN g.n > 1 THEN format(' and %s more', to_char(g.n - 1, 'FM999,999,999')) END,
                      CASE p_kind WHEN 'ESCALATION' THEN format(' (escalation %s)', c.escalations) END) AS subject,
               concat_ws(E'\n',
                   CASE WHEN p_kind = 'ESCALATION' THEN format('Not acknowledged since %s.', to_char(c.raised_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')) END,
                   CASE WHEN g.is_unheard THEN 'No escalation contacts are set: this goes to the alert''s own channels again.' END,
                   CASE WHEN g.n > 1 THEN format('%s alerts%s.%s', to_char(g.n, 'FM999,999,999'),
                        CASE WHEN g.tenants > 1 THEN format(' of %s tenants', to_char(g.tenants, 'FM999,999,999')) END,
                        CASE WHEN c.tenant_hk IS NULL AND g.tenants > 0 THEN ' The shared resource stands first.' END) END,
                   g.lines,
                   CASE WHEN g.n > 10 THEN format('and %s more', to_char(g.n - 10, 'FM999,999,999')) END,
                   -- the lines are of when it was raised, and whoever is called now reads them now
                   CASE WHEN p_kind = 'ESCALATION' OR c.raised_at < p_at THEN (
                       SELECT format('Now: %s %s ', c.resource_type, c.resource_name)
                              || CASE WHEN c.condition = 'ABSENCE' OR u.percent IS NULL THEN format('was last measured at %s.', m.at)
                                      ELSE format('is at %s%%, measured at %s.', round(u.percent, 1), m.at) END
                              || CASE WHEN c.condition <> 'LEVEL' OR u.percent IS NULL THEN ''
                                      WHEN v.named ->> 'threshold_operator' IN ('>=', '>') THEN format(' The most since it began: %s%%.', round(greatest(c.peak, u.percent), 1))
                                      ELSE format(' The least since it began: %s%%.', round(least(c.peak, u.percent), 1)) END
                       FROM capacity_alerting.usage_at(c.resource_utilization_hk, p_at) u
                       CROSS JOIN LATERAL (SELECT to_char(u.measured_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') AS at) m) END,
                   CASE WHEN c.auto_resolution_action <> '' THEN 'What is to be done: ' || capacity_ops.render_template(c.auto_resolution_action, v.named) END,
                   CASE WHEN p_kind = 'ALERT' THEN format('Raised at %s.', to_char(c.raised_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')) END,
                   'Acknowledge: capacity alerts ack ' || left(encode(c.alert_hk, 'hex'), 8),
                   'Runbook: ' || capacity_alerting.render_link(v_runbook, v.named),
                   'Report: ' || capacity_alerting.render_link(v_report, v.named)) AS body
        FROM grouped g
        JOIN placed c ON c.place = 1 AND c.channel = g.channel AND c.contact IS NOT DISTINCT FROM g.contact AND c.family = g.family
        CROSS JOIN LATERAL (
            SELECT i.dedup_key, 1 + (SELECT count(*) FROM capacity_alerting.notification_s b
                                     WHERE b.dedup_key = i.dedup_key AND b.load_end_date IS NULL AND b.kind = p_kind AND b.channel = g.channel
                                       AND b.contact IS NOT DISTINCT FROM g.contact) AS n
            FROM (SELECT coalesce(
                      (SELECT n.dedup_key FROM capacity_alerting.notification_alert_l k
                       JOIN capacity_alerting.notification_s n ON n.notification_hk = k.notification_hk AND n.load_end_date IS NULL
                       WHERE k.alert_hk = c.alert_hk AND p_kind = 'ESCALATION' ORDER BY n.queued_at, n.channel LIMIT 1),
                      left(encode(sha256(convert_to(concat_ws('|', c.condition, g.family, capacity_ops.tenant_key(p_scope),
                          to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), c.alert_bk), 'UTF8')), 'hex'), 32)) AS dedup_key) i) d
        CROSS JOIN LATERAL (
            SELECT to_jsonb(t) || jsonb_build_object('resource_type', c.resource_type, 'resource_name', c.resource_name,
                                                     'tenant_id', capacity_ops.tenant_key(c.tenant_hk)) AS named
            FROM capacity_alerting.current_threshold(c.capacity_threshold_hk) t) v),
    queued AS MATERIALIZED (
        SELECT w.channel, w.contact, w.family, capacity_alerting.enqueue_notification(
                   w.key, p_kind, w.channel, w.contact, w.severity, w.subject, concat_ws(E'\n', w.body, 'key: ' || w.key), w.dedup_key, p_at) AS notification_hk
        FROM written w),
    linked AS (
        INSERT INTO capacity_alerting.notification_alert_l (link_notification_alert_hk, notification_hk, alert_hk, is_cause, load_date, record_source)
        SELECT capacity_ops.hash_key(encode(x.notification_hk, 'hex') || '|' || encode(x.alert_hk, 'hex')), x.notification_hk, x.alert_hk, x.is_cause,
               clock_timestamp(), 'capacity_alerting'
        FROM (SELECT q.notification_hk, p.alert_hk, p.place = 1 AS is_cause
              FROM queued q
              JOIN placed p ON p.channel = q.channel AND p.contact IS NOT DISTINCT FROM q.contact AND p.family = q.family
              UNION ALL
              SELECT k.notification_hk, k.alert_hk, false FROM known k) x
        ON CONFLICT DO NOTHING)
    SELECT count(*) INTO v_sent FROM queued;
    RETURN v_sent;
END
$$;
COMMENT ON FUNCTION capacity_alerting.notify_of(text, bytea[], bytea, timestamptz, boolean) IS
    'Queues what people are told of these alerts (ALERT or ESCALATION), grouped by what fails together; how many notifications. Nothing where p_at is older than notify_within_hours. p_is_rehearsal: nothing joins what was told before.';

-- Whoever was told hears of the end: once, when all that the incident holds is resolved.
CREATE OR REPLACE FUNCTION capacity_alerting.notify_of_end(p_alerts bytea[], p_at timestamptz) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_runbook text := (SELECT s.value FROM capacity_alerting.text_setting s WHERE s.name = 'runbook_url');
    v_report text := (SELECT s.value FROM capacity_alerting.text_setting s WHERE s.name = 'report_url');
    v_sent integer;
BEGIN
    IF NOT capacity_alerting.is_told(p_at) THEN
        RETURN 0;
    END IF;
    WITH incident AS MATERIALIZED (
        SELECT DISTINCT n.dedup_key
        FROM capacity_alerting.notification_alert_l k
        JOIN capacity_alerting.notification_s n ON n.notification_hk = k.notification_hk AND n.load_end_date IS NULL
        WHERE k.alert_hk = ANY (p_alerts) AND n.kind IN ('ALERT', 'ESCALATION')
          AND NOT EXISTS (SELECT FROM capacity_alerting.notification_s r WHERE r.dedup_key = n.dedup_key AND r.load_end_date IS NULL AND r.kind = 'RESOLUTION'
                            AND r.channel = n.channel AND r.contact IS NOT DISTINCT FROM n.contact)),
    told AS MATERIALIZED (
        SELECT DISTINCT i.dedup_key, n.channel, n.contact, n.notification_hk, k.alert_hk, k.is_cause, n.kind, a.resolved_at, a.raised_at, a.severity, a.message,
               a.resolved_by, e.ended_by = 'WITHDRAWN' AND a.resolved_by = 'auto' AS is_withdrawn, l.resource_utilization_hk, e.resource_type, capacity_ops.one_line(e.resource_name) AS resource_name, a.tenant_hk
        FROM incident i
        JOIN capacity_alerting.notification_s n ON n.dedup_key = i.dedup_key AND n.load_end_date IS NULL AND n.kind IN ('ALERT', 'ESCALATION')
        JOIN capacity_alerting.notification_alert_l k ON k.notification_hk = n.notification_hk
        JOIN capacity_alerting.alert_s a ON a.alert_hk = k.alert_hk AND a.load_end_date IS NULL
        JOIN capacity_alerting.episode_s e ON e.episode_hk = k.alert_hk AND e.load_end_date IS NULL
        JOIN capacity_alerting.alert_l l ON l.alert_hk = k.alert_hk),
    over AS MATERIALIZED (
        SELECT t.dedup_key, count(DISTINCT t.alert_hk) AS n, min(t.raised_at) AS raised_at, max(t.resolved_at) AS resolved_at
        FROM told t GROUP BY t.dedup_key HAVING bool_and(t.resolved_at IS NOT NULL)),
    line AS MATERIALIZED (
        SELECT x.dedup_key,
               string_agg(x.line || CASE WHEN x.is_withdrawn
                                         THEN ', when its threshold or tenant was switched off'
                                              || coalesce((SELECT format('; at %s%% when last measured', round(u.percent, 1))
                                                           FROM capacity_alerting.usage_at(x.resource_utilization_hk, p_at) u WHERE u.percent IS NOT NULL), '')
                                         ELSE '' END,
                          E'\n' ORDER BY x.place) FILTER (WHERE x.place <= 10) AS lines,
               bool_or(x.is_withdrawn) AS is_withdrawn, bool_or(x.is_withdrawn) FILTER (WHERE x.place = 1) AS leads_withdrawn,
               min(x.what) FILTER (WHERE x.place = 1) AS what, min(x.severity) FILTER (WHERE x.place = 1) AS severity
        FROM (SELECT t.dedup_key, t.severity, t.is_withdrawn, t.resource_utilization_hk, format('%s %s of %s', t.resource_type, t.resource_name, o.owner) AS what,
                     format('%s %s of %s: from %s to %s%s', t.resource_type, t.resource_name, o.owner,
                            to_char(t.raised_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), to_char(t.resolved_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
                            CASE WHEN t.resolved_by <> 'auto' THEN ', resolved by ' || t.resolved_by END) AS line,
                     row_number() OVER (PARTITION BY t.dedup_key ORDER BY t.is_cause DESC, t.raised_at, t.resource_type, t.resource_name, t.alert_hk) AS place
              FROM (SELECT DISTINCT ON (t.dedup_key, t.alert_hk) t.* FROM told t JOIN over o ON o.dedup_key = t.dedup_key
                    ORDER BY t.dedup_key, t.alert_hk, t.is_cause DESC) t
              CROSS JOIN LATERAL (SELECT CASE WHEN t.tenant_hk IS NULL THEN 'the system'
                                              ELSE coalesce((SELECT capacity_ops.one_line(w.tenant_name) FROM capacity_ops.tenant w WHERE w.tenant_hk = t.tenant_hk), 'a tenant that is gone') END AS owner) o) x
        GROUP BY x.dedup_key),
    cause AS MATERIALIZED (
        SELECT DISTINCT ON (t.dedup_key) t.dedup_key,
               to_jsonb(s) || jsonb_build_object('resource_type', t.resource_type, 'resource_name', t.resource_name,
                                                 'tenant_id', capacity_ops.tenant_key(t.tenant_hk)) AS named
        FROM told t
        JOIN capacity_alerting.alert_l l ON l.alert_hk = t.alert_hk
        LEFT JOIN capacity_planning.capacity_threshold_s s ON s.capacity_threshold_hk = l.capacity_threshold_hk AND s.load_end_date IS NULL
        ORDER BY t.dedup_key, t.is_cause DESC, t.raised_at, t.resource_type, t.resource_name, t.alert_hk),
    written AS MATERIALIZED (
        SELECT r.*, left(encode(sha256(convert_to(concat_ws('|', r.dedup_key, 'RESOLUTION', r.channel, coalesce(r.contact, ''), 1), 'UTF8')), 'hex'), 32) AS key
        FROM (SELECT DISTINCT t.dedup_key, t.channel, t.contact FROM told t JOIN over o ON o.dedup_key = t.dedup_key) r),
    queued AS MATERIALIZED (
        SELECT w.dedup_key, capacity_alerting.enqueue_notification(w.key, 'RESOLUTION', w.channel, w.contact, l.severity,
                   format('%s: %s%s', CASE WHEN l.leads_withdrawn THEN 'No longer watched' ELSE 'Resolved' END, l.what, CASE WHEN o.n > 1 THEN format(' and %s more', to_char(o.n - 1, 'FM999,999,999')) END),
                   concat_ws(E'\n', CASE WHEN o.n > 1 THEN format('All %s alerts are over%s.', to_char(o.n, 'FM999,999,999'),
                                                                 CASE WHEN l.is_withdrawn THEN ' or no longer watched' END) END, l.lines,
                             CASE WHEN o.n > 10 THEN format('and %s more', to_char(o.n - 10, 'FM999,999,999')) END,
                             'Runbook: ' || capacity_alerting.render_link(v_runbook, c.named),
                             'Report: ' || capacity_alerting.render_link(v_report, c.named), 'key: ' || w.key),
                   w.dedup_key, p_at) AS notification_hk
        FROM written w JOIN over o ON o.dedup_key = w.dedup_key JOIN line l ON l.dedup_key = w.dedup_key JOIN cause c ON c.dedup_key = w.dedup_key),
    linked AS (
        INSERT INTO capacity_alerting.notification_alert_l (link_notification_alert_hk, notification_hk, alert_hk, is_cause, load_date, record_source)
        SELECT capacity_ops.hash_key(encode(x.notification_hk, 'hex') || '|' || encode(x.alert_hk, 'hex')), x.notification_hk, x.alert_hk, false,
               clock_timestamp(), 'capacity_alerting'
        FROM (SELECT DISTINCT q.notification_hk, t.alert_hk FROM queued q JOIN told t ON t.dedup_key = q.dedup_key) x
        ON CONFLICT DO NOTHING)
    SELECT count(*) INTO v_sent FROM queued;
    RETURN v_sent;
END
$$;
COMMENT ON FUNCTION capacity_alerting.notify_of_end(bytea[], timestamptz) IS
    'Queues the resolution of the incidents that these alerts belong to, where all of an incident''s alerts are resolved, for each channel and contact that was told; how many.';

-- Whoever asks of some thresholds looks each of them up: with nested loops off, a join would go through all of them.
CREATE OR REPLACE FUNCTION capacity_alerting.current_threshold(p_threshold_hk bytea) RETURNS SETOF capacity_planning.capacity_threshold_s LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT t.* FROM capacity_planning.capacity_threshold_s t WHERE t.capacity_threshold_hk = p_threshold_hk AND t.load_end_date IS NULL OFFSET 0;
END;
COMMENT ON FUNCTION capacity_alerting.current_threshold(bytea) IS 'A threshold''s current version.';

-- All that follows from one evaluation. p_is_rehearsal: every threshold is looked at, gates are named but hold nothing, and what
-- stands is neither touched nor waited for. Rows that an operator's open transaction holds are left to the next evaluation
-- (SKIP LOCKED): whoever goes to lunch between BEGIN and COMMIT silences nobody else's alerts.
CREATE OR REPLACE FUNCTION capacity_alerting.follow_verdicts(p_tenant_hk bytea, p_at timestamptz, p_is_live boolean, p_is_rehearsal boolean)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off SET enable_nestloop = off SET enable_mergejoin = off SET work_mem = '64MB' AS $$
DECLARE
    v_started timestamptz := clock_timestamp();
    v_margin numeric := capacity_ops.setting('recovery_margin');
    v_horizon interval := make_interval(secs => 86400 * capacity_ops.setting('verdict_horizon_days')::float8);
    v_is_muting boolean := EXISTS (SELECT FROM capacity_alerting.mute m WHERE m.from_at <= p_at AND p_at < m.until_at);
    v_windows jsonb := capacity_alerting.windows_at(p_at);
    v_links jsonb := (SELECT jsonb_object_agg(s.name, s.value) FROM capacity_alerting.text_setting s WHERE s.name IN ('runbook_url', 'report_url'));
    v_full capacity_alerting.evaluation;
    v_pairs capacity_alerting.pair[];
    v_raised bytea[];
    v_escalated bytea[];
    v_resolved bytea[];
    v_over bytea[];
    v_told_since timestamptz := p_at - make_interval(secs => 3600 * capacity_ops.setting('notify_within_hours')::float8);
    v_untold bytea[];
    v_thresholds integer;
    v_exceeded integer;
    v_unknown integer;
    v_opened integer := 0;
    v_ended integer := 0;
    v_count integer;
    v_sent integer := 0;
BEGIN
    -- Whose turn it is, what they say, and of those the ones that anything follows from. Turns are slots of the clock: cron's
    -- jitter skips none. A clock that was set back makes it everybody's turn. Episodes begin, go on and end when it is their
    -- threshold's turn; what waits for a gate, for an acknowledgement or to be told is looked at in every evaluation.
    SELECT * INTO v_full FROM capacity_alerting.evaluation e WHERE e.tenant_hk IS NULL ORDER BY e.evaluation_id DESC LIMIT 1;
    WITH own AS MATERIALIZED (
        SELECT DISTINCT ON (e.tenant_hk) e.tenant_hk, e.evaluated_at FROM capacity_alerting.evaluation e
        WHERE e.tenant_hk IS NOT NULL AND e.evaluation_id > coalesce(v_full.evaluation_id, 0)
        ORDER BY e.tenant_hk, e.evaluation_id DESC),
    standing AS MATERIALIZED (
        SELECT x.capacity_threshold_hk, x.resource_utilization_hk, bool_or(x.is_waiting) AS is_waiting
        FROM (SELECT l.capacity_threshold_hk, l.resource_utilization_hk,
                     NOT EXISTS (SELECT FROM capacity_alerting.alert_h h WHERE h.alert_hk = e.episode_hk) AS is_waiting
              FROM capacity_alerting.episode_s e JOIN capacity_alerting.episode_l l ON l.episode_hk = e.episode_hk
              WHERE e.load_end_date IS NULL AND e.ended_at IS NULL
              UNION ALL
              SELECT l.capacity_threshold_hk, l.resource_utilization_hk, a.acknowledged_at IS NULL
              FROM capacity_alerting.alert_s a JOIN capacity_alerting.alert_l l ON l.alert_hk = a.alert_hk
              WHERE a.load_end_date IS NULL AND a.resolved_at IS NULL
              UNION ALL
              SELECT o.capacity_threshold_hk, o.resource_utilization_hk, false FROM capacity_alerting.reach o WHERE o.left_at IS NULL) x
        GROUP BY x.capacity_threshold_hk, x.resource_utilization_hk),
    verdict AS (
        SELECT j.*, t.threshold_operator, t.threshold_value, coalesce(t.recovery_margin, v_margin) AS margin, s.capacity_threshold_hk IS NOT NULL AS is_standing, s.is_waiting,
               p_is_rehearsal OR coalesce(t.evaluation_frequency_minutes, 0) <= 0 OR previous.at IS NULL OR p_at < previous.at
               OR previous.at < made.at  -- it was not there then
               OR floor(extract(epoch FROM p_at) / (60.0 * t.evaluation_frequency_minutes)) > floor(extract(epoch FROM previous.at) / (60.0 * t.evaluation_frequency_minutes)) AS is_due
        FROM capacity_ops.judged(p_tenant_hk, p_at) j
        JOIN capacity_planning.capacity_threshold_s t ON t.capacity_threshold_hk = j.capacity_threshold_hk AND t.load_end_date IS NULL
        LEFT JOIN capacity_planning.capacity_threshold_h th ON p_is_live AND th.capacity_threshold_hk = j.capacity_threshold_hk
        CROSS JOIN LATERAL (SELECT th.load_date AS at) made  -- in history, thresholds are taken to have been there always
        LEFT JOIN own o ON o.tenant_hk = j.tenant_hk
        LEFT JOIN standing s ON s.capacity_threshold_hk = j.capacity_threshold_hk AND s.resource_utilization_hk = j.resource_utilization_hk
        CROSS JOIN LATERAL (SELECT coalesce(o.evaluated_at, v_full.evaluated_at) AS at) previous)
    SELECT count(DISTINCT v.capacity_threshold_hk), count(*) FILTER (WHERE v.exceeded), count(*) FILTER (WHERE v.exceeded IS NULL),
           array_agg(ROW(v.capacity_threshold_hk, v.resource_utilization_hk, v.tenant_hk, v.condition, v.resource_type, v.resource_name, v.level, v.measure,
                         v.utilization, v.current_value, v.capacity, v.unit, v.measurement_timestamp, v.exceeded,
                         NOT v.exceeded AND CASE v.condition
                             WHEN 'LEVEL' THEN CASE WHEN v.threshold_operator IN ('>=', '>') THEN v.measure <= greatest(v.level - v.margin, 0) ELSE v.measure >= least(v.level + v.margin, 100) END
                             WHEN 'RUNWAY' THEN v.measure IS NULL OR v.measure >= v.threshold_value + v.margin
                             ELSE true END,
                         v.condition = 'ABSENCE' OR (v.condition = 'LEVEL' AND v.threshold_operator IN ('>=', '>')), v.is_due)::capacity_alerting.pair)
               FILTER (WHERE CASE WHEN v.is_due THEN v.exceeded OR v.is_standing ELSE v.is_waiting END AND v.resource_utilization_hk IS NOT NULL)
    INTO v_thresholds, v_exceeded, v_unknown, v_pairs
    FROM verdict v;

    -- What a clock that ran ahead began has begun now: else nothing would be escalated, suppressed or judged until then
    IF p_is_live AND NOT p_is_rehearsal THEN
        UPDATE capacity_alerting.episode_s e SET started_at = p_at
        FROM (SELECT c.episode_hk FROM capacity_alerting.episode_s c
              WHERE c.load_end_date IS NULL AND c.ended_at IS NULL AND c.started_at > p_at + interval '5 minutes'
                AND (p_tenant_hk IS NULL OR c.tenant_hk = p_tenant_hk)
              FOR NO KEY UPDATE OF c SKIP LOCKED) free
        WHERE e.episode_hk = free.episode_hk AND e.load_end_date IS NULL;
        UPDATE capacity_alerting.alert_s a SET raised_at = p_at, escalated_at = NULL, horizon_until = a.horizon_until - (a.raised_at - p_at)
        FROM (SELECT c.alert_hk FROM capacity_alerting.alert_s c
              WHERE c.load_end_date IS NULL AND c.resolved_at IS NULL AND c.raised_at > p_at + interval '5 minutes'
                AND (p_tenant_hk IS NULL OR c.tenant_hk = p_tenant_hk)
              FOR NO KEY UPDATE OF c SKIP LOCKED) free
        WHERE a.alert_hk = free.alert_hk AND a.load_end_date IS NULL;
    END IF;

    IF NOT p_is_rehearsal THEN
        -- Episodes end
        UPDATE capacity_alerting.episode_s e SET ended_at = p_at, ended_by = 'RECOVERY'
        FROM (SELECT c.episode_hk
              FROM unnest(v_pairs) p
              JOIN capacity_alerting.episode_l l ON l.capacity_threshold_hk = p.capacity_threshold_hk AND l.resource_utilization_hk = p.resource_utilization_hk
              JOIN capacity_alerting.episode_s c ON c.episode_hk = l.episode_hk AND c.load_end_date IS NULL AND c.ended_at IS NULL
              WHERE p.is_due AND p.is_cleared
              FOR NO KEY UPDATE OF c SKIP LOCKED) free
        WHERE e.episode_hk = free.episode_hk AND e.load_end_date IS NULL;
        GET DIAGNOSTICS v_ended = ROW_COUNT;
        UPDATE capacity_alerting.episode_s e SET ended_at = p_at, ended_by = 'WITHDRAWN'
        FROM (SELECT c.episode_hk
              FROM capacity_alerting.episode_s c JOIN capacity_alerting.episode_l l ON l.episode_hk = c.episode_hk
              WHERE c.load_end_date IS NULL AND c.ended_at IS NULL AND (p_tenant_hk IS NULL OR l.tenant_hk = p_tenant_hk)
                AND (SELECT true FROM capacity_planning.capacity_threshold_s t  -- looked up for each open episode: a join would go through all thresholds and tenants
                     WHERE t.capacity_threshold_hk = l.capacity_threshold_hk AND t.load_end_date IS NULL AND t.is_active IS NOT FALSE
                       AND (t.resource_type = c.resource_type OR t.resource_type = 'ALL')
                       AND (t.tenant_hk IS NULL OR EXISTS (SELECT FROM capacity_ops.tenant w WHERE w.tenant_hk = t.tenant_hk AND w.is_active))) IS NULL
              FOR NO KEY UPDATE OF c SKIP LOCKED) free
        WHERE e.episode_hk = free.episode_hk AND e.load_end_date IS NULL;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        v_ended := v_ended + v_count;

        -- They go on
        UPDATE capacity_alerting.episode_s e
        SET peak = CASE WHEN free.is_upward THEN greatest(e.peak, free.measure) ELSE least(e.peak, free.measure) END,
            reached_at = coalesce(e.reached_at, CASE WHEN free.utilization >= e.next_level THEN p_at END)
        FROM (SELECT c.episode_hk, p.is_upward, p.measure, p.utilization
              FROM unnest(v_pairs) p
              JOIN capacity_alerting.episode_l l ON l.capacity_threshold_hk = p.capacity_threshold_hk AND l.resource_utilization_hk = p.resource_utilization_hk
              JOIN capacity_alerting.episode_s c ON c.episode_hk = l.episode_hk AND c.load_end_date IS NULL AND c.ended_at IS NULL
              WHERE p.is_due AND p.exceeded IS NOT NULL
                AND (CASE WHEN p.is_upward THEN p.measure > c.peak ELSE p.measure < c.peak END OR (c.reached_at IS NULL AND p.utilization >= c.next_level))
              FOR NO KEY UPDATE OF c SKIP LOCKED) free
        WHERE e.episode_hk = free.episode_hk AND e.load_end_date IS NULL;
    END IF;

    IF v_pairs IS NOT NULL THEN  -- most evaluations have nothing to follow
        -- They begin
        WITH begun AS MATERIALIZED (
            SELECT p.*, k.bk, capacity_ops.hash_key(k.bk) AS hk,
                   CASE WHEN p.condition = 'RUNWAY' THEN p.level
                        WHEN p.condition = 'LEVEL' AND p.is_upward THEN CASE WHEN t.threshold_type = 'WARNING' THEN coalesce(c.critical, 100) ELSE 100 END END AS next_level
            FROM unnest(v_pairs) p
            CROSS JOIN LATERAL capacity_alerting.current_threshold(p.capacity_threshold_hk) t
            JOIN capacity_planning.capacity_threshold_h th ON th.capacity_threshold_hk = p.capacity_threshold_hk
            JOIN capacity_planning.resource_utilization_h rh ON rh.resource_utilization_hk = p.resource_utilization_hk
            LEFT JOIN LATERAL capacity_ops.levels(p.tenant_hk, CASE WHEN t.threshold_type = 'WARNING' THEN p.resource_type END) c ON true  -- NULL: looks nowhere
            -- a name with a | in it says where the threshold's key ends, or two pairs could have one key
            CROSS JOIN LATERAL (SELECT concat_ws('|', th.capacity_threshold_bk, rh.resource_utilization_bk, to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                CASE WHEN th.capacity_threshold_bk LIKE '%|%|%|%|%' THEN length(th.capacity_threshold_bk) END) AS bk) k
            WHERE p.is_due AND p.exceeded
              AND NOT EXISTS (SELECT FROM capacity_alerting.episode_l l JOIN capacity_alerting.episode_s e ON e.episode_hk = l.episode_hk
                              WHERE l.capacity_threshold_hk = p.capacity_threshold_hk AND l.resource_utilization_hk = p.resource_utilization_hk
                                AND e.load_end_date IS NULL AND e.ended_at IS NULL AND NOT p_is_rehearsal)),
        hub AS (
            INSERT INTO capacity_alerting.episode_h (episode_hk, episode_bk, load_date, record_source)
            SELECT b.hk, b.bk, v_started, 'capacity_alerting' FROM begun b ON CONFLICT DO NOTHING RETURNING episode_hk),
        link AS (
            INSERT INTO capacity_alerting.episode_l (link_episode_hk, episode_hk, capacity_threshold_hk, resource_utilization_hk, tenant_hk, load_date, record_source)
            SELECT sha256(b.hk || b.capacity_threshold_hk || b.resource_utilization_hk), b.hk, b.capacity_threshold_hk, b.resource_utilization_hk, b.tenant_hk,
                   v_started, 'capacity_alerting'
            FROM begun b JOIN hub h ON h.episode_hk = b.hk)
        INSERT INTO capacity_alerting.episode_s (episode_hk, load_date, hash_diff, tenant_hk, resource_type, resource_name, condition, level, next_level, capacity,
            unit, started_at, first_measured_at, peak, reached_at, record_source)
        SELECT b.hk, v_started, sha256(convert_to(concat_ws('|', b.bk, b.level, b.next_level, b.capacity, b.measured_at), 'UTF8')), b.tenant_hk, b.resource_type,
               b.resource_name, b.condition, b.level, b.next_level, b.capacity, b.unit, p_at, b.measured_at, b.measure,
               CASE WHEN b.utilization >= b.next_level THEN p_at END, 'capacity_alerting'
        FROM begun b JOIN hub h ON h.episode_hk = b.hk;
        GET DIAGNOSTICS v_opened = ROW_COUNT;

        -- They come to what was warned of, or have left it
        IF NOT p_is_rehearsal THEN
            UPDATE capacity_alerting.reach o SET left_at = p.measured_at
            FROM unnest(v_pairs) p
            WHERE p.is_due AND o.capacity_threshold_hk = p.capacity_threshold_hk AND o.resource_utilization_hk = p.resource_utilization_hk
              AND o.left_at IS NULL AND p.utilization <= o.level - v_margin;
            INSERT INTO capacity_alerting.reach (capacity_threshold_hk, resource_utilization_hk, tenant_hk, level, reached_at, is_start)
            SELECT p.capacity_threshold_hk, p.resource_utilization_hk, p.tenant_hk, e.next_level, p.measured_at,
                   (SELECT min(m.measurement_timestamp) FROM capacity_planning.resource_utilization_s m
                    WHERE m.resource_utilization_hk = p.resource_utilization_hk AND m.load_end_date IS NULL) >= p.measured_at
            FROM unnest(v_pairs) p
            JOIN capacity_alerting.episode_l l ON l.capacity_threshold_hk = p.capacity_threshold_hk AND l.resource_utilization_hk = p.resource_utilization_hk
            JOIN capacity_alerting.episode_s e ON e.episode_hk = l.episode_hk AND e.load_end_date IS NULL AND e.ended_at IS NULL
            WHERE p.is_due AND p.utilization >= e.next_level
              AND NOT EXISTS (SELECT FROM capacity_alerting.reach o WHERE o.capacity_threshold_hk = p.capacity_threshold_hk
                                AND o.resource_utilization_hk = p.resource_utilization_hk AND o.left_at IS NULL)
            ON CONFLICT DO NOTHING;
        END IF;

        -- Alerts are raised, or held by the first gate that is shut. What is over, and only waits for its threshold's turn to end, is no alert.
        WITH last AS MATERIALIZED (
            SELECT l.capacity_threshold_hk, l.resource_utilization_hk, max(a.raised_at) AS raised_at, bool_or(a.resolved_at IS NULL) AS is_unresolved
            FROM unnest(v_pairs) p
            JOIN capacity_alerting.alert_l l ON l.capacity_threshold_hk = p.capacity_threshold_hk AND l.resource_utilization_hk = p.resource_utilization_hk
            JOIN capacity_alerting.alert_s a ON a.alert_hk = l.alert_hk AND a.load_end_date IS NULL
            GROUP BY l.capacity_threshold_hk, l.resource_utilization_hk),
        candidate AS MATERIALIZED (
            SELECT e.episode_hk, e.next_level, e.held_by, p.*, t.alert_severity, t.threshold_type, t.threshold_value, t.alert_message_template,
                   CASE WHEN last.is_unresolved AND NOT p_is_rehearsal THEN 'ALREADY_ALERTED'
                        WHEN t.alert_enabled IS FALSE THEN 'DISABLED'
                        WHEN v_is_muting AND capacity_alerting.is_muted(p.capacity_threshold_hk, p.tenant_hk, p.resource_type, p.resource_name, p_at) THEN 'MUTED'
                        WHEN t.maintenance_window_exempt IS NOT TRUE AND capacity_alerting.is_covered(v_windows, p.tenant_hk, p.resource_type) THEN 'MAINTENANCE'
                        WHEN t.business_hours_only AND NOT capacity_alerting.is_in_business_hours(p.tenant_hk, p_at) THEN 'OUTSIDE_BUSINESS_HOURS'
                        WHEN t.suppression_enabled AND p_at >= last.raised_at
                             AND p_at < last.raised_at + make_interval(mins => coalesce(t.suppression_duration_minutes, 0)) THEN 'SUPPRESSED' END AS gate,
                   t AS threshold
            FROM unnest(v_pairs) p
            JOIN capacity_alerting.episode_l l ON l.capacity_threshold_hk = p.capacity_threshold_hk AND l.resource_utilization_hk = p.resource_utilization_hk
            JOIN capacity_alerting.episode_s e ON e.episode_hk = l.episode_hk AND e.load_end_date IS NULL AND e.ended_at IS NULL
            CROSS JOIN LATERAL capacity_alerting.current_threshold(p.capacity_threshold_hk) t
            LEFT JOIN last ON last.capacity_threshold_hk = p.capacity_threshold_hk AND last.resource_utilization_hk = p.resource_utilization_hk
            WHERE (NOT p_is_rehearsal OR e.started_at = p_at)
              AND NOT EXISTS (SELECT FROM capacity_alerting.alert_h h WHERE h.alert_hk = e.episode_hk)),
        held AS (  -- no operator's routine touches an episode that has no alert
            UPDATE capacity_alerting.episode_s e SET held_by = c.gate
            FROM candidate c WHERE c.gate IS NOT NULL AND c.gate IS DISTINCT FROM c.held_by AND e.episode_hk = c.episode_hk AND e.load_end_date IS NULL),
        due AS MATERIALIZED (
            SELECT c.*, v.facts, h.episode_bk,
                   CASE c.condition WHEN 'RUNWAY' THEN p_at + make_interval(secs => 86400 * least(c.threshold_value, 36500)::float8) ELSE p_at + v_horizon END AS horizon_until,
                   c.condition = 'ABSENCE' OR coalesce(c.utilization >= c.next_level, false) AS is_true
            FROM candidate c
            JOIN capacity_alerting.episode_h h ON h.episode_hk = c.episode_hk
            CROSS JOIN LATERAL (SELECT to_jsonb(c.threshold) || capacity_ops.message_values(c.condition, c.resource_type, c.resource_name, c.tenant_hk, c.level, c.measure,
                c.utilization, c.current_value, c.capacity, c.unit, c.measured_at, (c.threshold).threshold_probability) AS facts) v
            WHERE (c.gate IS NULL AND (c.is_due OR c.is_cleared IS NOT TRUE)) OR p_is_rehearsal),
        hub AS (
            INSERT INTO capacity_alerting.alert_h (alert_hk, alert_bk, load_date, record_source)
            SELECT d.episode_hk, d.episode_bk, v_started, 'capacity_alerting' FROM due d),
        link AS (
            INSERT INTO capacity_alerting.alert_l (link_alert_hk, alert_hk, episode_hk, capacity_threshold_hk, resource_utilization_hk, tenant_hk, load_date, record_source)
            SELECT sha256(d.episode_hk || d.capacity_threshold_hk || d.resource_utilization_hk), d.episode_hk, d.episode_hk, d.capacity_threshold_hk,
                   d.resource_utilization_hk, d.tenant_hk, v_started, 'capacity_alerting' FROM due d),
        satellite AS (
            INSERT INTO capacity_alerting.alert_s (alert_hk, load_date, hash_diff, tenant_hk, raised_at, severity, condition, level, next_level, horizon_until,
                value_at_raise, utilization_at_raise, message, verdict, verdict_by, verdict_at, verdict_reason, reached_at, lead_time, record_source)
            SELECT d.episode_hk, v_started, sha256(convert_to(concat_ws('|', d.episode_bk, p_at, d.measure, d.level), 'UTF8')), d.tenant_hk, p_at,
                   coalesce(d.alert_severity, CASE WHEN d.threshold_type = 'CRITICAL' THEN 'CRITICAL' ELSE 'WARNING' END), d.condition, d.level, d.next_level,
                   d.horizon_until, d.measure, d.utilization,
                   capacity_ops.render_template(coalesce(nullif(d.alert_message_template, ''), capacity_alerting.default_template(d.condition)),
                       d.facts || (SELECT coalesce(jsonb_object_agg(u.key, coalesce(capacity_alerting.render_link(u.value, d.facts), '')), '{}')
                                   FROM jsonb_each_text(v_links) u WHERE d.alert_message_template LIKE '%{' || u.key || '}%')),
                   CASE WHEN d.is_true THEN 'TRUE' ELSE 'OPEN' END, CASE WHEN d.is_true THEN 'auto' END, CASE WHEN d.is_true THEN p_at END,
                   CASE WHEN d.condition = 'ABSENCE' THEN 'the absence is the fact itself'
                        WHEN d.is_true THEN format('%s%% of the capacity was reached already', trim_scale(d.next_level)) END,
                   CASE WHEN d.is_true THEN p_at END, CASE WHEN d.is_true THEN interval '0' END, 'capacity_alerting'
            FROM due d
            RETURNING alert_hk)
        SELECT array_agg(s.alert_hk) INTO v_raised FROM satellite s;
    END IF;

    IF NOT p_is_rehearsal THEN
        -- They are raised again, to whom they are escalated, until somebody acknowledges
        WITH free AS MATERIALIZED (
            SELECT c.alert_hk
            FROM unnest(v_pairs) p
            JOIN capacity_alerting.alert_l l ON l.capacity_threshold_hk = p.capacity_threshold_hk AND l.resource_utilization_hk = p.resource_utilization_hk
            JOIN capacity_alerting.alert_s c ON c.alert_hk = l.alert_hk AND c.load_end_date IS NULL AND c.resolved_at IS NULL AND c.acknowledged_at IS NULL
            JOIN capacity_alerting.episode_s e ON e.episode_hk = l.episode_hk AND e.load_end_date IS NULL
            JOIN capacity_planning.capacity_threshold_s t ON t.capacity_threshold_hk = p.capacity_threshold_hk AND t.load_end_date IS NULL
                 AND t.escalation_enabled AND t.escalation_delay_minutes > 0
            WHERE floor(extract(epoch FROM p_at - c.raised_at) / (60.0 * t.escalation_delay_minutes))
                  > floor(extract(epoch FROM coalesce(c.escalated_at, c.raised_at) - c.raised_at) / (60.0 * t.escalation_delay_minutes))
              AND t.alert_enabled IS NOT FALSE
              AND (e.ended_at IS NULL OR t.auto_resolution_enabled IS FALSE)  -- one that resolves itself now is no page any more
              AND NOT (v_is_muting AND capacity_alerting.is_muted(p.capacity_threshold_hk, p.tenant_hk, p.resource_type, p.resource_name, p_at))
              AND NOT (t.maintenance_window_exempt IS NOT TRUE AND capacity_alerting.is_covered(v_windows, p.tenant_hk, p.resource_type))
              AND (t.business_hours_only IS NOT TRUE OR capacity_alerting.is_in_business_hours(p.tenant_hk, p_at))
            FOR NO KEY UPDATE OF c SKIP LOCKED),
        escalated AS (
            UPDATE capacity_alerting.alert_s a SET escalations = a.escalations + 1, escalated_at = p_at
            FROM free f WHERE a.alert_hk = f.alert_hk AND a.load_end_date IS NULL
            RETURNING a.alert_hk)
        SELECT array_agg(x.alert_hk) INTO v_escalated FROM escalated x;

        -- They are over
        WITH free AS MATERIALIZED (
            SELECT c.alert_hk
            FROM capacity_alerting.alert_s c
            JOIN capacity_alerting.alert_l l ON l.alert_hk = c.alert_hk
            JOIN capacity_alerting.episode_s e ON e.episode_hk = l.episode_hk AND e.load_end_date IS NULL AND e.ended_at IS NOT NULL
            LEFT JOIN capacity_planning.capacity_threshold_s t ON t.capacity_threshold_hk = l.capacity_threshold_hk AND t.load_end_date IS NULL
            WHERE c.load_end_date IS NULL AND c.resolved_at IS NULL AND t.auto_resolution_enabled IS NOT FALSE
              AND (p_tenant_hk IS NULL OR l.tenant_hk = p_tenant_hk)
            FOR NO KEY UPDATE OF c SKIP LOCKED),
        resolved AS (
            UPDATE capacity_alerting.alert_s a SET resolved_at = greatest(p_at, a.raised_at), resolved_by = 'auto'  -- also by a clock that was set back
            FROM free f WHERE a.alert_hk = f.alert_hk AND a.load_end_date IS NULL
            RETURNING a.alert_hk)
        SELECT array_agg(x.alert_hk) INTO v_resolved FROM resolved x;
        v_over := v_resolved;
        IF capacity_alerting.is_told(p_at) THEN
            -- Of two sessions that resolve the last alerts of one incident neither sees that it is over: what operators resolved is looked at again
            SELECT v_over || array_agg(a.alert_hk) INTO v_over
            FROM capacity_alerting.alert_s a
            WHERE a.load_end_date IS NULL AND a.resolved_by <> 'auto' AND a.resolved_at >= v_told_since;
        END IF;
    END IF;

    -- What still stands and nobody is told of: history raised it, there was no channel then, or what it joined is over or never arrived
    IF v_pairs IS NOT NULL AND NOT p_is_rehearsal AND capacity_alerting.is_told(p_at) THEN
        SELECT array_agg(a.alert_hk) INTO v_untold
        FROM unnest(v_pairs) p
        JOIN capacity_alerting.alert_l l ON l.capacity_threshold_hk = p.capacity_threshold_hk AND l.resource_utilization_hk = p.resource_utilization_hk
        JOIN capacity_alerting.alert_s a ON a.alert_hk = l.alert_hk AND a.load_end_date IS NULL AND a.resolved_at IS NULL AND a.acknowledged_at IS NULL
        CROSS JOIN LATERAL capacity_alerting.current_threshold(p.capacity_threshold_hk) t
        LEFT JOIN unnest(v_raised) r (alert_hk) ON r.alert_hk = a.alert_hk
        WHERE p.exceeded AND r.alert_hk IS NULL
          AND NOT EXISTS (
              SELECT FROM capacity_alerting.notification_alert_l k
              JOIN capacity_alerting.notification_s n ON n.notification_hk = k.notification_hk AND n.load_end_date IS NULL AND n.kind IN ('ALERT', 'ESCALATION')
              WHERE k.alert_hk = a.alert_hk AND n.queued_at >= a.raised_at)
          AND NOT EXISTS (
              SELECT FROM capacity_alerting.notification_alert_l k JOIN capacity_alerting.standing_notifications() sn ON sn.notification_hk = k.notification_hk
              WHERE k.alert_hk = a.alert_hk)
          AND t.alert_enabled IS NOT FALSE
          AND NOT (v_is_muting AND capacity_alerting.is_muted(p.capacity_threshold_hk, p.tenant_hk, p.resource_type, p.resource_name, p_at))
          AND NOT (t.maintenance_window_exempt IS NOT TRUE AND capacity_alerting.is_covered(v_windows, p.tenant_hk, p.resource_type))
          AND (t.business_hours_only IS NOT TRUE OR capacity_alerting.is_in_business_hours(p.tenant_hk, p_at));
    END IF;

    IF NOT p_is_rehearsal THEN
        PERFORM capacity_alerting.judge_alerts(p_tenant_hk, p_at);
        PERFORM capacity_alerting.count_triggers(p_tenant_hk, p_at);
    END IF;

    IF v_raised IS NOT NULL OR v_untold IS NOT NULL THEN
        v_sent := v_sent + capacity_alerting.notify_of('ALERT', coalesce(v_raised, '{}') || coalesce(v_untold, '{}'), p_tenant_hk, p_at, p_is_rehearsal);
    END IF;
    IF v_escalated IS NOT NULL THEN
        v_sent := v_sent + capacity_alerting.notify_of('ESCALATION', v_escalated, p_tenant_hk, p_at, false);
    END IF;
    IF v_over IS NOT NULL THEN
        v_sent := v_sent + capacity_alerting.notify_of_end(v_over, p_at);
    END IF;

    INSERT INTO capacity_alerting.evaluation (evaluated_at, tenant_hk, is_live, thresholds, exceeded, unknown, opened, ended, raised, escalated, resolved,
                                              notifications, duration_ms, recorded_at)
    VALUES (p_at, p_tenant_hk, p_is_live, v_thresholds, v_exceeded, v_unknown, v_opened, v_ended, coalesce(cardinality(v_raised), 0),
            coalesce(cardinality(v_escalated), 0), coalesce(cardinality(v_resolved), 0), v_sent,
            round(1000 * extract(epoch FROM clock_timestamp() - v_started)), clock_timestamp());
END
$$;
COMMENT ON FUNCTION capacity_alerting.follow_verdicts(bytea, timestamptz, boolean, boolean) IS
    'Episodes, alerts, escalations, resolutions, verdicts, counters and notifications of one evaluation, and its row in capacity_alerting.evaluation.';

CREATE OR REPLACE FUNCTION capacity_alerting.record_evaluation(p_tenant_hk bytea, p_at timestamptz, p_is_live boolean)
RETURNS timestamptz LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_at timestamptz := p_at;
    v_previous timestamptz;
BEGIN
    PERFORM capacity_ops.require_tenant(p_tenant_hk);
    IF NOT isfinite(p_at) OR NOT capacity_ops.begin_recording('evaluate') THEN
        RETURN p_at;
    END IF;
    BEGIN
        UPDATE capacity_alerting.turn SET taken_at = clock_timestamp();
    EXCEPTION WHEN serialization_failure THEN
        RAISE NOTICE 'another session evaluated since this transaction (%) began: it recorded nothing', current_setting('transaction_isolation');
        RETURN p_at;
    END;
    SELECT e.evaluated_at INTO v_previous FROM capacity_alerting.evaluation e
    WHERE p_tenant_hk IS NULL OR e.tenant_hk IS NULL OR e.tenant_hk = p_tenant_hk
    ORDER BY e.evaluation_id DESC LIMIT 1;
    IF p_is_live THEN
        v_at := clock_timestamp();  -- after the wait, so that evaluations follow each other in time as they do in effect
        IF v_at < v_previous THEN
            RAISE NOTICE 'the clock (%) is behind the previous evaluation (%): it was set back, or one was recorded as of a later time; recorded all the same',
                v_at, v_previous;
        END IF;
    ELSIF v_at <= v_previous THEN
        RAISE NOTICE 'an evaluation of % is recorded already: as of % only the verdicts are shown, nothing is recorded', v_previous, v_at;
        RETURN v_at;
    ELSIF v_at > clock_timestamp() + interval '5 minutes' THEN
        RAISE NOTICE '% lies ahead: only the verdicts are shown, nothing is recorded', v_at;
        RETURN v_at;
    END IF;
    PERFORM capacity_alerting.follow_verdicts(p_tenant_hk, v_at, p_is_live, false);
    RETURN v_at;
END
$$;
COMMENT ON FUNCTION capacity_alerting.record_evaluation(bytea, timestamptz, boolean) IS
    'Called by evaluate_capacity_thresholds: records what follows from the verdicts at p_at (live: now), one session at a time; returns the time that was evaluated. An earlier time than the previous evaluation''s is recorded only when it is the clock''s own.';

---------------------------------------------------------------------------------------------------------------------
-- What operators call: alerts
---------------------------------------------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION capacity_alerting.require_alert(p_alert_hk bytea) RETURNS capacity_alerting.alert_s
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_alert capacity_alerting.alert_s;
BEGIN
    SELECT * INTO v_alert FROM capacity_alerting.alert_s a WHERE a.alert_hk = p_alert_hk AND a.load_end_date IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown alert %', coalesce(encode(p_alert_hk, 'hex'), 'NULL') USING HINT = 'capacity_alerting.alert lists the alerts.';
    END IF;
    RETURN v_alert;
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION 'another session is at work on this alert: try again when it is done';
END
$$;
COMMENT ON FUNCTION capacity_alerting.require_alert(bytea) IS
    'The alert, held until the transaction ends: against other operators, who give up soon, not against evaluations, which pass it over.';

DO $returned$
BEGIN
    IF (SELECT p.prorettype = 'void'::regtype FROM pg_proc p WHERE p.oid = to_regprocedure('capacity_alerting.acknowledge(bytea, text, text, timestamptz)')) THEN
        DROP FUNCTION capacity_alerting.acknowledge(bytea, text, text, timestamptz);  -- before it told how many
    END IF;
END
$returned$;
CREATE OR REPLACE FUNCTION capacity_alerting.acknowledge(p_alert_hk bytea, p_by text DEFAULT NULL, p_note text DEFAULT NULL, p_at timestamptz DEFAULT NULL)
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    v_count integer;
    v_alert capacity_alerting.alert_s := capacity_alerting.require_alert(p_alert_hk);
BEGIN
    IF v_alert.resolved_at IS NOT NULL THEN
        RAISE EXCEPTION 'this alert was resolved at % by %', to_char(v_alert.resolved_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), v_alert.resolved_by;
    ELSIF v_alert.acknowledged_at IS NOT NULL THEN
        RAISE EXCEPTION 'this alert was acknowledged at % by %', to_char(v_alert.acknowledged_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), v_alert.acknowledged_by;
    END IF;
    UPDATE capacity_alerting.alert_s a
    SET acknowledged_at = coalesce(p_at, clock_timestamp()), acknowledged_by = coalesce(p_by, session_user), acknowledged_note = p_note
    WHERE a.load_end_date IS NULL AND a.resolved_at IS NULL AND a.acknowledged_at IS NULL
      AND (a.alert_hk = p_alert_hk OR a.alert_hk IN (
          SELECT o.alert_hk
          FROM capacity_alerting.notification_alert_l k
          JOIN capacity_alerting.notification_s n ON n.notification_hk = k.notification_hk AND n.load_end_date IS NULL AND n.kind IN ('ALERT', 'ESCALATION')
          JOIN capacity_alerting.notification_alert_l o ON o.notification_hk = k.notification_hk
          WHERE k.alert_hk = p_alert_hk AND k.is_cause));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;
COMMENT ON FUNCTION capacity_alerting.acknowledge(bytea, text, text, timestamptz) IS
    'Somebody has it in hand: no more escalations. With the alert that a message leads with goes all else that it told of, or that joined it since: who answers a page answers all of it. How many alerts that were.';

CREATE OR REPLACE FUNCTION capacity_alerting.resolve(
    p_alert_hk bytea, p_by text DEFAULT NULL, p_note text DEFAULT NULL, p_how text DEFAULT NULL, p_at timestamptz DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    v_alert capacity_alerting.alert_s := capacity_alerting.require_alert(p_alert_hk);
    v_at timestamptz := coalesce(p_at, clock_timestamp());
BEGIN
    IF v_alert.resolved_at IS NOT NULL THEN
        RAISE EXCEPTION 'this alert was resolved at % by %', to_char(v_alert.resolved_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), v_alert.resolved_by;
    ELSIF p_how NOT IN ('CAPACITY_ADDED', 'USAGE_CUT') THEN
        RAISE EXCEPTION 'how an alert was resolved is CAPACITY_ADDED, USAGE_CUT or NULL, not %', p_how;
    ELSIF v_at < v_alert.raised_at THEN
        RAISE EXCEPTION 'this alert was raised at %, after %', to_char(v_alert.raised_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
            to_char(v_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"');
    END IF;
    UPDATE capacity_alerting.alert_s a
    SET resolved_at = v_at, resolved_by = coalesce(p_by, session_user), resolved_note = p_note, resolved_how = p_how
    WHERE a.alert_hk = p_alert_hk AND a.load_end_date IS NULL;
    UPDATE capacity_alerting.episode_s e SET ended_at = v_at, ended_by = 'OPERATOR'
    FROM capacity_alerting.alert_l l
    WHERE l.alert_hk = p_alert_hk AND e.episode_hk = l.episode_hk AND e.load_end_date IS NULL AND e.ended_at IS NULL;
    PERFORM capacity_alerting.notify_of_end(ARRAY[p_alert_hk], v_at);
END
$$;
COMMENT ON FUNCTION capacity_alerting.resolve(bytea, text, text, text, timestamptz) IS
    'Resolves an alert by hand and ends its episode; whoever was told hears of it. A breach that persists begins a new episode at the next evaluation. p_how CAPACITY_ADDED or USAGE_CUT: its verdict is CENSORED unless it came true before.';

CREATE OR REPLACE FUNCTION capacity_alerting.give_verdict(
    p_alert_hk bytea, p_verdict text, p_by text DEFAULT NULL, p_reason text DEFAULT NULL, p_at timestamptz DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    v_alert capacity_alerting.alert_s := capacity_alerting.require_alert(p_alert_hk);
    v_at timestamptz := coalesce(p_at, clock_timestamp());
BEGIN
    IF p_verdict IS NULL OR p_verdict NOT IN ('TRUE', 'FALSE', 'CENSORED', 'OPEN') THEN
        RAISE EXCEPTION 'a verdict is TRUE, FALSE, CENSORED or OPEN, not %', coalesce(p_verdict, 'NULL');
    END IF;
    UPDATE capacity_alerting.alert_s a
    SET verdict = p_verdict, verdict_reason = p_reason, judged_until = NULL,
        verdict_by = CASE WHEN p_verdict <> 'OPEN' THEN coalesce(p_by, session_user) END, verdict_at = CASE WHEN p_verdict <> 'OPEN' THEN v_at END,
        reached_at = CASE WHEN p_verdict = 'TRUE' THEN a.reached_at END, lead_time = CASE WHEN p_verdict = 'TRUE' THEN a.lead_time END
    WHERE a.alert_hk = p_alert_hk AND a.load_end_date IS NULL;
END
$$;
COMMENT ON FUNCTION capacity_alerting.give_verdict(bytea, text, text, text, timestamptz) IS
    'An operator''s verdict, which stands whatever measurements say; OPEN gives it back to them.';

---------------------------------------------------------------------------------------------------------------------
-- What people and the kit read
---------------------------------------------------------------------------------------------------------------------
CREATE OR REPLACE VIEW capacity_alerting.episode AS
SELECT e.episode_hk, l.capacity_threshold_hk, l.resource_utilization_hk, e.tenant_hk, capacity_ops.tenant_key(e.tenant_hk) AS tenant_id,
       t.threshold_name, t.threshold_type, e.resource_type, e.resource_name, e.condition, e.level, e.next_level, e.capacity, e.unit,
       e.started_at, e.first_measured_at, e.ended_at, e.ended_by, e.peak, e.held_by, e.reached_at, h.alert_hk IS NOT NULL AS is_alerted
FROM capacity_alerting.episode_s e
JOIN capacity_alerting.episode_l l ON l.episode_hk = e.episode_hk
LEFT JOIN capacity_planning.capacity_threshold_s t ON t.capacity_threshold_hk = l.capacity_threshold_hk AND t.load_end_date IS NULL
LEFT JOIN capacity_alerting.alert_h h ON h.alert_hk = e.episode_hk
WHERE e.load_end_date IS NULL;
COMMENT ON VIEW capacity_alerting.episode IS 'One row an episode. Not alerted and over: held_by says why it never was.';

CREATE OR REPLACE VIEW capacity_alerting.alert AS
SELECT a.alert_hk, l.capacity_threshold_hk, l.resource_utilization_hk, a.tenant_hk, capacity_ops.tenant_key(a.tenant_hk) AS tenant_id,
       t.threshold_name, t.threshold_type, e.resource_type, e.resource_name, a.condition, a.severity, a.level, a.next_level, a.value_at_raise, e.peak, e.unit,
       a.raised_at, CASE WHEN a.resolved_at IS NOT NULL THEN 'RESOLVED' WHEN a.acknowledged_at IS NOT NULL THEN 'ACKNOWLEDGED' ELSE 'OPEN' END AS status,
       a.message, e.started_at, e.ended_at, e.ended_by, e.held_by, a.acknowledged_at, a.acknowledged_by, a.acknowledged_note,
       a.resolved_at, a.resolved_by, a.resolved_note, a.resolved_how, a.escalations,
       a.verdict, a.verdict_by, a.verdict_at, a.verdict_reason, a.horizon_until, a.reached_at, a.lead_time
FROM capacity_alerting.alert_s a
JOIN capacity_alerting.alert_l l ON l.alert_hk = a.alert_hk
JOIN capacity_alerting.episode_s e ON e.episode_hk = l.episode_hk AND e.load_end_date IS NULL
LEFT JOIN capacity_planning.capacity_threshold_s t ON t.capacity_threshold_hk = l.capacity_threshold_hk AND t.load_end_date IS NULL
WHERE a.load_end_date IS NULL;
COMMENT ON VIEW capacity_alerting.alert IS 'One row an alert: what raised it, what was done about it, what became of it.';

CREATE OR REPLACE FUNCTION capacity_alerting.short_id(p_alert_hk bytea) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT left(encode(p_alert_hk, 'hex'), greatest(4, 1 + max(same.length))::integer)
    FROM (VALUES ((SELECT h.alert_hk FROM capacity_alerting.alert_h h WHERE h.alert_hk < p_alert_hk ORDER BY h.alert_hk DESC LIMIT 1)),
                 ((SELECT h.alert_hk FROM capacity_alerting.alert_h h WHERE h.alert_hk > p_alert_hk ORDER BY h.alert_hk LIMIT 1))) AS next (hk)
    CROSS JOIN LATERAL (SELECT count(*) AS length FROM generate_series(1, 16) n
                        WHERE left(encode(next.hk, 'hex'), n) = left(encode(p_alert_hk, 'hex'), n)) same;
END;
COMMENT ON FUNCTION capacity_alerting.short_id(bytea) IS
    'What people type to name an alert: the shortest beginning of its key, of four characters or more, that no other alert has.';

CREATE OR REPLACE VIEW capacity_alerting.threshold_problem AS
WITH threshold AS MATERIALIZED (
    SELECT t.*, coalesce(t.tenant_hk, ''::bytea) AS owner, t.threshold_operator IN ('>=', '>') AND t.threshold_type IN ('WARNING', 'CRITICAL') AS is_level
    FROM capacity_planning.capacity_threshold_s t WHERE t.load_end_date IS NULL AND t.is_active IS NOT FALSE),
lowest AS MATERIALIZED (
    SELECT t.owner, t.resource_type, min(t.threshold_percentage) AS critical FROM threshold t
    WHERE t.is_level AND t.threshold_type = 'CRITICAL' GROUP BY t.owner, t.resource_type),
found AS (
    SELECT t.capacity_threshold_hk, 'contradictory levels' AS problem,
           format('Its warning at %s %% is not below the critical level of %s %%.', trim_scale(t.threshold_percentage), trim_scale(l.critical)) AS advice
    FROM threshold t JOIN lowest l ON l.owner = t.owner AND l.resource_type = t.resource_type
    WHERE t.is_level AND t.threshold_type = 'WARNING' AND t.threshold_percentage >= l.critical
    UNION ALL
    SELECT t.capacity_threshold_hk, 'escalation without contacts', 'Set escalation_contacts: escalations go to its own channels again.'
    FROM threshold t WHERE t.escalation_enabled AND capacity_alerting.named(t.escalation_contacts) IS NULL
    UNION ALL
    SELECT t.capacity_threshold_hk, 'escalation without a delay', 'Set escalation_delay_minutes: it never escalates.'
    FROM threshold t WHERE t.escalation_enabled AND coalesce(t.escalation_delay_minutes, 0) <= 0
    UNION ALL
    SELECT t.capacity_threshold_hk, 'no channel', 'Set notification_channels, or make a channel the default: its alerts are recorded and nobody is told.'
    FROM threshold t WHERE capacity_alerting.named(t.notification_channels) IS NULL AND NOT EXISTS (SELECT FROM capacity_alerting.channel c WHERE c.is_default)
    UNION ALL
    SELECT t.capacity_threshold_hk, 'unknown channel', format('%s is not in capacity_alerting.channel.', u.names)
    FROM threshold t
    CROSS JOIN LATERAL (SELECT string_agg(upper(trim(n)), ', ') AS names FROM unnest(capacity_alerting.named(t.notification_channels)) n
                        WHERE NOT EXISTS (SELECT FROM capacity_alerting.channel c WHERE c.name = upper(trim(n)))) u
    WHERE t.notification_channels <> '{}' AND u.names IS NOT NULL
    UNION ALL
    SELECT t.capacity_threshold_hk, 'disabled', 'alert_enabled is false: its breaches are recorded and never alerted.' FROM threshold t WHERE t.alert_enabled IS FALSE
    UNION ALL
    SELECT t.capacity_threshold_hk, 'holidays run out',
           format('Its calendar knows of none after %s, and would call people then: fill in more with capacity alerts calendar.', d.last)
    FROM threshold t
    CROSS JOIN LATERAL (SELECT max(h.day) AS last FROM capacity_alerting.holiday h
                        WHERE coalesce(h.tenant_hk, ''::bytea) = CASE WHEN EXISTS (SELECT FROM capacity_alerting.business_calendar b WHERE b.tenant_hk = t.tenant_hk)
                                                                      THEN t.owner ELSE ''::bytea END) d
    WHERE t.business_hours_only AND d.last < (clock_timestamp() AT TIME ZONE 'UTC')::date + 60
    UNION ALL
    SELECT t.capacity_threshold_hk, 'unknown placeholder', format('Its template names %s.', u.names)
    FROM threshold t
    CROSS JOIN LATERAL (SELECT string_agg(DISTINCT '{' || m[1] || '}', ', ') AS names FROM regexp_matches(t.alert_message_template, '\{([^{}]*)\}', 'g') m
                        WHERE m[1] <> ALL ((SELECT capacity_alerting.placeholders())::text[])) u
    WHERE u.names IS NOT NULL
    UNION ALL
    SELECT t.capacity_threshold_hk, 'tenant not active', 'Its tenant is inactive or gone: nothing is evaluated.'
    FROM threshold t WHERE t.tenant_hk IS NOT NULL AND t.tenant_hk NOT IN (SELECT w.tenant_hk FROM capacity_ops.tenant w WHERE w.is_active)
    UNION ALL
    SELECT DISTINCT j.capacity_threshold_hk, j.obstacle, CASE j.obstacle
               WHEN 'never measured' THEN format('There is no measurement of %s.', j.resource_type)
               WHEN 'stale' THEN format('%s %s was last measured at %s.', j.resource_type, j.resource_name,
                                        to_char(j.measurement_timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'))
               WHEN 'capacity unknown' THEN format('Register the capacity of %s %s.', j.resource_type, j.resource_name)
               WHEN 'no forecast of method ENGINE of the last 7 days' THEN 'Run capacity analyze --engine local, once a day.'
               WHEN 'no forecast of the last 7 days' THEN 'Run capacity analyze, once a day.'
               ELSE format('%s %s: no verdict is possible.', j.resource_type, j.resource_name) END
    FROM capacity_ops.judged(NULL, clock_timestamp()) j WHERE j.obstacle IS NOT NULL)
SELECT f.capacity_threshold_hk, t.tenant_hk, capacity_ops.tenant_key(t.tenant_hk) AS tenant_id, t.threshold_name, t.resource_type, t.threshold_type,
       f.problem, f.advice
FROM found f JOIN threshold t ON t.capacity_threshold_hk = f.capacity_threshold_hk;
COMMENT ON VIEW capacity_alerting.threshold_problem IS 'What keeps active thresholds from doing what they are for, now: none, one or several rows a threshold.';

CREATE OR REPLACE FUNCTION capacity_alerting.rehearsal_round(p_threshold_type text, p_operator text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN p_threshold_type = 'ABSENCE' THEN 'ABSENCE' WHEN p_threshold_type <> 'RUNWAY' AND p_operator IN ('<=', '<') THEN 'BELOW' ELSE 'ABOVE' END;
END;
COMMENT ON FUNCTION capacity_alerting.rehearsal_round(text, text) IS 'Which synthetic measurement breaches a threshold: one above its level, one below it, or none.';

-- A breach is made, goes its whole way, and is undone by an exception of its own; what was found has left before. It holds no lock
-- that an evaluation waits for: one that comes meanwhile records, and sees nothing of it.
CREATE OR REPLACE FUNCTION capacity_alerting.rehearse(p_tenant_hk bytea DEFAULT NULL)
RETURNS TABLE (capacity_threshold_hk bytea, tenant_hk bytea, tenant_id text, threshold_name varchar, resource_type varchar, resource_name varchar,
               condition text, fired boolean, reason text, message text, subject text, body text, channels text[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off SET enable_nestloop = off SET enable_mergejoin = off SET work_mem = '64MB' AS $$
#variable_conflict use_column
DECLARE
    v_at timestamptz;
    v_obstacles jsonb;
    v_round text;
BEGIN
    PERFORM capacity_ops.require_tenant(p_tenant_hk);
    IF current_setting('transaction_read_only') = 'on' THEN
        RAISE EXCEPTION 'a rehearsal writes, and undoes it: this transaction may only read';
    END IF;
    v_at := clock_timestamp();
    SELECT coalesce(jsonb_object_agg(encode(o.hk, 'hex'), o.obstacle), '{}') INTO v_obstacles
    FROM (SELECT j.capacity_threshold_hk AS hk, max(j.obstacle) AS obstacle FROM capacity_ops.judged(p_tenant_hk, v_at) j
          GROUP BY j.capacity_threshold_hk HAVING bool_and(j.obstacle IS NOT NULL)) o;
    FOREACH v_round IN ARRAY '{ABOVE,BELOW,ABSENCE}'::text[] LOOP
        CONTINUE WHEN NOT EXISTS (
            SELECT FROM capacity_planning.capacity_threshold_s t
            WHERE t.load_end_date IS NULL AND t.is_active IS NOT FALSE AND (p_tenant_hk IS NULL OR t.tenant_hk = p_tenant_hk)
              AND capacity_alerting.rehearsal_round(t.threshold_type, t.threshold_operator) = v_round);
        BEGIN
            WITH looked_at AS MATERIALIZED (
                SELECT j.*, t.threshold_value
                FROM capacity_ops.judged(p_tenant_hk, v_at) j
                JOIN capacity_planning.capacity_threshold_s t ON t.capacity_threshold_hk = j.capacity_threshold_hk AND t.load_end_date IS NULL
                WHERE j.resource_utilization_hk IS NOT NULL AND capacity_alerting.rehearsal_round(t.threshold_type, t.threshold_operator) = v_round),
            made AS MATERIALIZED (
                SELECT l.resource_utilization_hk, l.tenant_hk, l.resource_type, l.resource_name, l.unit, min(l.capacity) AS capacity,
                       CASE v_round WHEN 'ABOVE' THEN min(l.capacity) * (max(l.level) + 1) / 100 WHEN 'BELOW' THEN min(l.capacity) * min(l.level) / 200
                                    ELSE min(l.current_value) END AS value,
                       CASE v_round WHEN 'ABSENCE' THEN v_at - make_interval(secs => 60 * least(max(l.threshold_value), 52560000)::float8 + 60) ELSE v_at END AS at
                FROM looked_at l GROUP BY l.resource_utilization_hk, l.tenant_hk, l.resource_type, l.resource_name, l.unit),
            hidden AS (  -- as if the newest measurement were older than the longest absence that is allowed
                UPDATE capacity_planning.resource_utilization_s s SET load_end_date = v_at
                FROM made m WHERE v_round = 'ABSENCE' AND s.resource_utilization_hk = m.resource_utilization_hk AND s.load_end_date IS NULL
                  AND s.measurement_timestamp >= m.at)
            INSERT INTO capacity_planning.resource_utilization_s (resource_utilization_hk, load_date, hash_diff, tenant_hk, measurement_timestamp, resource_type,
                resource_name, resource_category, current_value, unit, maximum_capacity, record_source)
            SELECT m.resource_utilization_hk, v_at, '', m.tenant_hk, m.at, m.resource_type, m.resource_name, 'REHEARSAL', m.value, m.unit, m.capacity, 'REHEARSAL'
            FROM made m WHERE m.value IS NOT NULL;

            PERFORM capacity_alerting.follow_verdicts(p_tenant_hk, v_at, true, true);

            RETURN QUERY
            SELECT DISTINCT ON (t.capacity_threshold_hk)
                   t.capacity_threshold_hk, t.tenant_hk, capacity_ops.tenant_key(t.tenant_hk), t.threshold_name, coalesce(e.resource_type, t.resource_type),
                   e.resource_name, c.condition, r.why IS NULL, r.why, a.message, n.subject, n.body, n.channels
            FROM capacity_planning.capacity_threshold_s t
            CROSS JOIN LATERAL (SELECT CASE WHEN t.threshold_type IN ('RUNWAY', 'ABSENCE') THEN t.threshold_type::text ELSE 'LEVEL' END AS condition) c
            LEFT JOIN LATERAL (
                SELECT s.* FROM capacity_alerting.episode_l l JOIN capacity_alerting.episode_s s ON s.episode_hk = l.episode_hk
                WHERE l.capacity_threshold_hk = t.capacity_threshold_hk AND s.load_end_date IS NULL AND s.started_at = v_at AND s.ended_at IS NULL) e ON true
            LEFT JOIN capacity_alerting.alert_s a ON a.alert_hk = e.episode_hk AND a.load_end_date IS NULL
            LEFT JOIN LATERAL (
                SELECT min(w.subject) AS subject, min(w.body) AS body, array_agg(w.channel ORDER BY w.channel) AS channels
                FROM capacity_alerting.notification_alert_l k JOIN capacity_alerting.notification_s w ON w.notification_hk = k.notification_hk AND w.load_end_date IS NULL
                WHERE k.alert_hk = a.alert_hk HAVING count(*) > 0) n ON true
            CROSS JOIN LATERAL (SELECT coalesce(v_obstacles ->> encode(t.capacity_threshold_hk, 'hex'), CASE WHEN a.alert_hk IS NULL THEN 'the breach raised no alert' END,
                                                e.held_by, CASE WHEN n.channels IS NULL THEN 'no channel' END) AS why) r
            WHERE t.load_end_date IS NULL AND t.is_active IS NOT FALSE AND (p_tenant_hk IS NULL OR t.tenant_hk = p_tenant_hk)
              AND v_round = capacity_alerting.rehearsal_round(t.threshold_type, t.threshold_operator)
              AND (t.tenant_hk IS NULL OR t.tenant_hk IN (SELECT w.tenant_hk FROM capacity_ops.tenant w WHERE w.is_active))
            ORDER BY t.capacity_threshold_hk, r.why IS NOT NULL, a.message IS NULL, e.resource_name;
            RAISE EXCEPTION USING ERRCODE = 'CAP00', MESSAGE = 'rehearsed';
        EXCEPTION WHEN SQLSTATE 'CAP00' THEN
            NULL;
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION capacity_alerting.rehearse(bytea) IS
    'Makes every active threshold (NULL tenant: all) breach by a synthetic measurement that goes through evaluation to a rendered message, and undoes all of it: a row a threshold. fired: a breach now would be told. reason: why not: nothing can be measured against it (never measured, stale, capacity unknown, no forecast ...), what would hold the alert now (DISABLED, MUTED, MAINTENANCE, OUTSIDE_BUSINESS_HOURS, SUPPRESSED; the message is shown all the same), or no channel.';

INSERT INTO capacity_ops.deployment (step, version, applied_at, applied_by)
VALUES (14, '0.1.0', clock_timestamp(), session_user)
ON CONFLICT (step) DO UPDATE SET version = excluded.version, applied_at = excluded.applied_at, applied_by = excluded.applied_by;

COMMIT;
