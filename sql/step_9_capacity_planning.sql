-- Step 9: the store, what it measures and what it decides.
--
--   capacity_planning   the ten Data Vault tables, the views and the routines that operators call
--   capacity_ops        what those stand on: settings, the registry of capacities, helper functions
--
-- Apply with psql -f; safe to apply again. The file is one transaction: it is deployed whole or not at all.
BEGIN;
SELECT pg_advisory_xact_lock(hashtextextended('capacity_planning:deploy', 0));
SET LOCAL client_min_messages = warning;

-- Refuse what cannot work, or what is not ours, before the first change.
DO $guard$
DECLARE
    v_found text;
BEGIN
    IF current_setting('server_version_num')::int < 140000 THEN
        RAISE EXCEPTION 'PostgreSQL 14 or newer is needed; this server is %', current_setting('server_version');
    END IF;
    IF to_regclass('auth.tenant_h') IS NULL THEN
        RAISE EXCEPTION 'auth.tenant_h is missing: apply platform_standin.sql first';
    END IF;
    IF to_regclass('capacity_ops.deployment') IS NULL THEN
        SELECT string_agg(format('%I.%I', n.nspname, c.relname), ', ' ORDER BY n.nspname, c.relname) INTO v_found
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('capacity_planning', 'capacity_ops') AND c.relkind IN ('r', 'p', 'v', 'm', 'f');
        IF v_found IS NOT NULL THEN
            RAISE EXCEPTION 'this database already holds a capacity schema that is not this project''s (%): nothing was changed', v_found
                USING HINT = 'Rename or drop those relations, or deploy into another database.';
        END IF;
    ELSIF EXISTS (SELECT FROM capacity_ops.deployment WHERE string_to_array(version, '.')::int[] > '{0,1,0}') THEN
        RAISE EXCEPTION 'this database holds a newer version of the capacity schema than 0.1.0: nothing was changed';
    END IF;
END
$guard$;

CREATE SCHEMA IF NOT EXISTS capacity_planning;
CREATE SCHEMA IF NOT EXISTS capacity_ops;
COMMENT ON SCHEMA capacity_planning IS 'Capacity planning: measurements, growth patterns, forecasts and thresholds as a Data Vault.';
COMMENT ON SCHEMA capacity_ops IS 'What capacity_planning stands on: settings, the registry of capacities, helper functions.';

---------------------------------------------------------------------------------------------------------------------
-- Hubs: a business concept each (this tenant's STORAGE), never an event.
---------------------------------------------------------------------------------------------------------------------
CREATE TABLE IF NOT EXISTS capacity_planning.resource_utilization_h (
    resource_utilization_hk bytea        PRIMARY KEY,
    resource_utilization_bk varchar(400) NOT NULL UNIQUE,
    load_date               timestamptz  NOT NULL,
    record_source           varchar(100) NOT NULL
);

CREATE TABLE IF NOT EXISTS capacity_planning.growth_pattern_h (
    growth_pattern_hk bytea        PRIMARY KEY,
    growth_pattern_bk varchar(400) NOT NULL UNIQUE,
    load_date         timestamptz  NOT NULL,
    record_source     varchar(100) NOT NULL
);

CREATE TABLE IF NOT EXISTS capacity_planning.capacity_forecast_h (
    capacity_forecast_hk bytea        PRIMARY KEY,
    capacity_forecast_bk varchar(400) NOT NULL UNIQUE,
    load_date            timestamptz  NOT NULL,
    record_source        varchar(100) NOT NULL
);

CREATE TABLE IF NOT EXISTS capacity_planning.capacity_threshold_h (
    capacity_threshold_hk bytea        PRIMARY KEY,
    capacity_threshold_bk varchar(400) NOT NULL UNIQUE,
    load_date             timestamptz  NOT NULL,
    record_source         varchar(100) NOT NULL
);

---------------------------------------------------------------------------------------------------------------------
-- Satellites and links. Numbers are numeric without precision: bytes of a cluster overflow numeric(15,4).
-- Columns that nothing fills yet stay NULL: a column of the platform's is no reason to invent its content.
---------------------------------------------------------------------------------------------------------------------
CREATE TABLE IF NOT EXISTS capacity_planning.resource_utilization_s (
    resource_utilization_hk      bytea        NOT NULL REFERENCES capacity_planning.resource_utilization_h,
    load_date                    timestamptz  NOT NULL,
    load_end_date                timestamptz,
    hash_diff                    bytea        NOT NULL,
    tenant_hk                    bytea,
    measurement_timestamp        timestamptz  NOT NULL,
    resource_type                varchar(50)  NOT NULL,
    resource_name                varchar(200) NOT NULL,
    resource_category            varchar(50)  NOT NULL,
    current_value                numeric      NOT NULL,
    unit                         varchar(30)  NOT NULL,
    maximum_capacity             numeric,
    utilization_percentage       numeric,
    peak_value_24h               numeric,
    average_value_24h            numeric,
    minimum_value_24h            numeric,
    peak_value_7d                numeric,
    average_value_7d             numeric,
    minimum_value_7d             numeric,
    peak_value_30d               numeric,
    average_value_30d            numeric,
    minimum_value_30d            numeric,
    threshold_warning            numeric,
    threshold_critical           numeric,
    threshold_maximum            numeric,
    status                       varchar(20),
    alert_triggered              boolean,
    last_alert_time              timestamptz,
    measurement_source           varchar(100),
    measurement_method           varchar(100),
    measurement_accuracy         numeric,
    measurement_latency_ms       integer,
    related_metrics              jsonb,
    performance_impact_score     numeric,
    business_criticality         varchar(20),
    auto_scaling_enabled         boolean,
    auto_scaling_triggered       boolean,
    auto_scaling_action          varchar(200),
    maintenance_window_exempt    boolean,
    monitoring_frequency_seconds integer,
    retention_period_days        integer,
    data_quality_score           numeric,
    anomaly_detected             boolean,
    anomaly_score                numeric,
    seasonal_pattern_detected    boolean,
    trend_analysis               jsonb,
    system_identifier            bigint,
    record_source                varchar(100) NOT NULL,
    PRIMARY KEY (resource_utilization_hk, measurement_timestamp, load_date)
);

CREATE TABLE IF NOT EXISTS capacity_planning.growth_pattern_s (
    growth_pattern_hk                 bytea        NOT NULL REFERENCES capacity_planning.growth_pattern_h,
    load_date                         timestamptz  NOT NULL,
    load_end_date                     timestamptz,
    hash_diff                         bytea        NOT NULL,
    tenant_hk                         bytea,
    analysis_timestamp                timestamptz  NOT NULL,
    pattern_type                      varchar(50)  NOT NULL,
    resource_type                     varchar(50)  NOT NULL,
    resource_name                     varchar(200) NOT NULL,
    method                            varchar(20)  NOT NULL,
    unit                              varchar(30)  NOT NULL,
    analysis_period_start             timestamptz  NOT NULL,
    analysis_period_end               timestamptz  NOT NULL,
    data_points_analyzed              integer      NOT NULL,
    growth_rate_percentage            numeric,
    growth_acceleration               numeric,
    seasonality_detected              boolean,
    seasonal_period_days              integer,
    seasonal_amplitude                numeric,
    trend_strength                    numeric,
    pattern_stability                 numeric,
    pattern_confidence                numeric,
    outliers_detected                 integer,
    outlier_impact_score              numeric,
    correlation_factors               jsonb,
    external_events_impact            jsonb,
    pattern_breaks_detected           integer,
    last_pattern_break_date           date,
    forecast_accuracy_7d              numeric,
    forecast_accuracy_30d             numeric,
    forecast_accuracy_90d             numeric,
    model_selection_criteria          jsonb,
    cross_validation_score            numeric,
    residual_analysis                 jsonb,
    pattern_description               text,
    business_drivers                  text[],
    risk_factors                      text[],
    pattern_sustainability_assessment text,
    recommended_monitoring_frequency  varchar(50),
    next_analysis_due_date            date,
    pattern_revision_history          jsonb,
    statistical_significance          numeric,
    confidence_intervals              jsonb,
    record_source                     varchar(100) NOT NULL,
    PRIMARY KEY (growth_pattern_hk, load_date)
);

CREATE TABLE IF NOT EXISTS capacity_planning.capacity_forecast_s (
    capacity_forecast_hk       bytea        NOT NULL REFERENCES capacity_planning.capacity_forecast_h,
    load_date                  timestamptz  NOT NULL,
    load_end_date              timestamptz,
    hash_diff                  bytea        NOT NULL,
    tenant_hk                  bytea,
    forecast_timestamp         timestamptz  NOT NULL,
    resource_type              varchar(50)  NOT NULL,
    resource_name              varchar(200) NOT NULL,
    resource_category          varchar(50)  NOT NULL,
    method                     varchar(20)  NOT NULL,
    current_usage              numeric      NOT NULL,
    unit                       varchar(30)  NOT NULL,
    current_capacity           numeric,
    utilization_percentage     numeric,
    projected_usage_7d         numeric,
    projected_usage_30d        numeric,
    projected_usage_90d        numeric,
    projected_usage_1y         numeric,
    growth_rate_daily          numeric,
    growth_rate_weekly         numeric,
    growth_rate_monthly        numeric,
    time_to_capacity_days      integer,
    time_to_warning_days       integer,
    time_to_critical_days      integer,
    recommended_action         varchar(500),
    action_priority            varchar(20),
    confidence_level           numeric,
    forecast_model             varchar(50),
    model_accuracy             numeric,
    seasonal_factor            numeric,
    trend_direction            varchar(20),
    volatility_score           numeric,
    data_points_used           integer,
    forecast_horizon_days      integer,
    last_model_training        timestamptz,
    model_parameters           jsonb,
    external_factors           jsonb,
    business_impact_assessment text,
    cost_projection            numeric,
    risk_assessment            varchar(20),
    mitigation_strategies      text[],
    record_source              varchar(100) NOT NULL,
    PRIMARY KEY (capacity_forecast_hk, load_date)
);

CREATE TABLE IF NOT EXISTS capacity_planning.capacity_threshold_s (
    capacity_threshold_hk           bytea        NOT NULL REFERENCES capacity_planning.capacity_threshold_h,
    load_date                       timestamptz  NOT NULL,
    load_end_date                   timestamptz,
    hash_diff                       bytea        NOT NULL,
    tenant_hk                       bytea,
    threshold_name                  varchar(200) NOT NULL,
    resource_type                   varchar(50)  NOT NULL,
    resource_category               varchar(50)  NOT NULL,
    threshold_type                  varchar(50)  NOT NULL,
    threshold_value                 numeric      NOT NULL,
    unit                            varchar(30)  NOT NULL,
    threshold_percentage            numeric,
    threshold_operator              varchar(10)  NOT NULL,
    evaluation_frequency_minutes    integer,
    alert_enabled                   boolean,
    alert_severity                  varchar(20),
    alert_message_template          text,
    notification_channels           text[],
    escalation_enabled              boolean,
    escalation_delay_minutes        integer,
    escalation_contacts             text[],
    auto_resolution_enabled         boolean,
    auto_resolution_action          varchar(500),
    suppression_enabled             boolean,
    suppression_duration_minutes    integer,
    business_hours_only             boolean,
    maintenance_window_exempt       boolean,
    threshold_effectiveness_score   numeric,
    false_positive_rate             numeric,
    true_positive_rate              numeric,
    last_triggered_date             timestamptz,
    trigger_count_24h               integer,
    trigger_count_7d                integer,
    trigger_count_30d               integer,
    average_resolution_time_minutes integer,
    threshold_tuning_history        jsonb,
    related_thresholds              text[],
    dependency_thresholds           text[],
    business_justification          text,
    compliance_requirement          varchar(100),
    cost_impact_per_trigger         numeric,
    performance_impact_assessment   text,
    threshold_documentation         text,
    created_by                      varchar(100),
    approved_by                     varchar(100),
    approval_date                   timestamptz,
    review_frequency_days           integer,
    next_review_date                date,
    is_active                       boolean,
    record_source                   varchar(100) NOT NULL,
    PRIMARY KEY (capacity_threshold_hk, load_date)
);

CREATE TABLE IF NOT EXISTS capacity_planning.forecast_utilization_l (
    link_forecast_utilization_hk bytea        NOT NULL,
    capacity_forecast_hk         bytea        NOT NULL REFERENCES capacity_planning.capacity_forecast_h,
    resource_utilization_hk      bytea        NOT NULL REFERENCES capacity_planning.resource_utilization_h,
    tenant_hk                    bytea,
    load_date                    timestamptz  NOT NULL,
    record_source                varchar(100) NOT NULL,
    PRIMARY KEY (link_forecast_utilization_hk)
);

CREATE TABLE IF NOT EXISTS capacity_planning.pattern_forecast_l (
    link_pattern_forecast_hk bytea        NOT NULL,
    growth_pattern_hk        bytea        NOT NULL REFERENCES capacity_planning.growth_pattern_h,
    capacity_forecast_hk     bytea        NOT NULL REFERENCES capacity_planning.capacity_forecast_h,
    tenant_hk                bytea,
    load_date                timestamptz  NOT NULL,
    record_source            varchar(100) NOT NULL,
    PRIMARY KEY (link_pattern_forecast_hk)
);
ALTER TABLE capacity_planning.resource_utilization_s
    DROP CONSTRAINT IF EXISTS resource_utilization_s_possible,
    ADD CONSTRAINT resource_utilization_s_possible CHECK (
        current_value >= 0 AND current_value < 'Infinity'                -- NaN sorts above Infinity
        AND (maximum_capacity > 0 AND maximum_capacity < 'Infinity')     -- unknown is NULL, never 0
        AND isfinite(measurement_timestamp)) NOT VALID;
ALTER TABLE capacity_planning.capacity_threshold_s
    DROP CONSTRAINT IF EXISTS capacity_threshold_s_possible,
    ADD CONSTRAINT capacity_threshold_s_possible CHECK (
        threshold_percentage > 0 AND threshold_percentage < 'Infinity'
        AND threshold_operator IN ('>=', '>', '<=', '<')) NOT VALID;

-- One current row a key; what the routines and the views look for.
CREATE UNIQUE INDEX IF NOT EXISTS resource_utilization_s_current
    ON capacity_planning.resource_utilization_s (resource_utilization_hk, measurement_timestamp) WHERE load_end_date IS NULL;
CREATE INDEX IF NOT EXISTS resource_utilization_s_time
    ON capacity_planning.resource_utilization_s USING brin (measurement_timestamp);
CREATE UNIQUE INDEX IF NOT EXISTS growth_pattern_s_current
    ON capacity_planning.growth_pattern_s (growth_pattern_hk) WHERE load_end_date IS NULL;
CREATE INDEX IF NOT EXISTS growth_pattern_s_resource
    ON capacity_planning.growth_pattern_s (tenant_hk, resource_type, resource_name) WHERE load_end_date IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS capacity_forecast_s_current
    ON capacity_planning.capacity_forecast_s (capacity_forecast_hk) WHERE load_end_date IS NULL;
CREATE INDEX IF NOT EXISTS capacity_forecast_s_resource
    ON capacity_planning.capacity_forecast_s (tenant_hk, resource_type, resource_name) WHERE load_end_date IS NULL;
CREATE INDEX IF NOT EXISTS capacity_forecast_s_issued
    ON capacity_planning.capacity_forecast_s (capacity_forecast_hk, forecast_timestamp);
CREATE UNIQUE INDEX IF NOT EXISTS capacity_threshold_s_current
    ON capacity_planning.capacity_threshold_s (capacity_threshold_hk) WHERE load_end_date IS NULL;
CREATE INDEX IF NOT EXISTS capacity_threshold_s_resource
    ON capacity_planning.capacity_threshold_s (resource_type, tenant_hk) WHERE load_end_date IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS forecast_utilization_l_pair
    ON capacity_planning.forecast_utilization_l (capacity_forecast_hk, resource_utilization_hk);
CREATE INDEX IF NOT EXISTS forecast_utilization_l_resource
    ON capacity_planning.forecast_utilization_l (resource_utilization_hk);
CREATE UNIQUE INDEX IF NOT EXISTS pattern_forecast_l_pair
    ON capacity_planning.pattern_forecast_l (growth_pattern_hk, capacity_forecast_hk);
CREATE INDEX IF NOT EXISTS pattern_forecast_l_forecast
    ON capacity_planning.pattern_forecast_l (capacity_forecast_hk);

---------------------------------------------------------------------------------------------------------------------
-- capacity_ops: what operators set, and what PostgreSQL cannot know.
---------------------------------------------------------------------------------------------------------------------
CREATE TABLE IF NOT EXISTS capacity_ops.deployment (
    step       integer     PRIMARY KEY,
    version    text        NOT NULL,
    applied_at timestamptz NOT NULL,
    applied_by text        NOT NULL
);
COMMENT ON TABLE capacity_ops.deployment IS 'Which step files were applied here, in which version: how a later deployment knows this schema for its own.';

CREATE TABLE IF NOT EXISTS capacity_ops.setting (
    name        text    PRIMARY KEY,
    value       numeric NOT NULL,
    description text    NOT NULL
);
INSERT INTO capacity_ops.setting (name, value, description) VALUES
    ('monitoring_interval_seconds', 900, 'how often the schedule captures; a measurement older than three intervals is stale'),
    ('lock_wait_seconds', 5, 'how long a capture or an analysis asked for by hand waits for another session that is recording'),
    ('tenant_scan_bytes', 268435456, 'tables up to this size are counted whole for a tenant''s rows and bytes; larger ones are sampled')
ON CONFLICT (name) DO NOTHING;

CREATE TABLE IF NOT EXISTS capacity_ops.capacity_registry (
    tenant_hk     bytea,
    resource_type varchar(50)  NOT NULL,
    resource_name varchar(200) NOT NULL,
    capacity      numeric      NOT NULL CHECK (capacity > 0 AND capacity < 'Infinity'),
    unit          varchar(30)  NOT NULL,
    valid_from    timestamptz  NOT NULL CHECK (isfinite(valid_from)),
    registered_by text         NOT NULL DEFAULT session_user,
    registered_at timestamptz  NOT NULL DEFAULT clock_timestamp(),
    reason        text
);
CREATE UNIQUE INDEX IF NOT EXISTS capacity_registry_key ON capacity_ops.capacity_registry
    (resource_type, resource_name, (coalesce(tenant_hk, ''::bytea)), valid_from);
COMMENT ON TABLE capacity_ops.capacity_registry IS
    'What a resource can hold where the server cannot know it (its disk, a licence): valid from a time on until the next entry, with who said so. Written by capacity_ops.register_capacity.';

CREATE TABLE IF NOT EXISTS capacity_ops.default_threshold (
    scope             text        NOT NULL CHECK (scope IN ('SYSTEM', 'TENANT')),
    resource_type     varchar(50) NOT NULL,
    resource_category varchar(50) NOT NULL,
    warning           numeric     NOT NULL CHECK (warning > 0),
    critical          numeric     NOT NULL CHECK (critical > warning),
    why               text        NOT NULL,
    PRIMARY KEY (scope, resource_type)
);
INSERT INTO capacity_ops.default_threshold (scope, resource_type, resource_category, warning, critical, why) VALUES
    ('SYSTEM', 'STORAGE',          'DATABASE', 80, 90, 'the platform''s default'),
    ('SYSTEM', 'CONNECTIONS',      'DATABASE', 75, 85, 'the platform''s default'),
    ('SYSTEM', 'USERS',            'PLATFORM', 80, 90, 'the platform''s default'),
    ('SYSTEM', 'MEMORY',           'HOST',     80, 90, 'the platform''s default'),
    ('SYSTEM', 'CPU',              'HOST',     80, 90, 'sustained load above this leaves no room for a failover or a backup'),
    ('SYSTEM', 'DISK',             'HOST',     80, 90, 'as for STORAGE'),
    ('SYSTEM', 'TRANSACTIONS',     'DATABASE', 80, 90, 'against the rate that a load test showed: register it as the capacity'),
    ('SYSTEM', 'TRANSACTION_ID',   'DATABASE', 50, 75, 'VACUUM''s failsafe begins at 1.6 billion, 75 % of the limit'),
    ('SYSTEM', 'MULTIXACT',        'DATABASE', 50, 75, 'VACUUM''s failsafe begins at 1.6 billion, 75 % of the limit'),
    ('SYSTEM', 'SEQUENCES',        'DATABASE', 75, 90, 'widening a key''s type takes a rewrite of its table: weeks of notice are wanted'),
    ('SYSTEM', 'WAL',              'DATABASE', 70, 85, 'a full pg_wal stops the server'),
    ('SYSTEM', 'REPLICATION_SLOT', 'DATABASE', 70, 85, 'past max_slot_wal_keep_size the slot is lost and its replica must be rebuilt'),
    ('TENANT', 'STORAGE',          'TENANT',   80, 90, 'the platform''s default'),
    ('TENANT', 'CONNECTIONS',      'TENANT',   75, 85, 'the platform''s default'),
    ('TENANT', 'USERS',            'TENANT',   80, 90, 'the platform''s default'),
    ('TENANT', 'ROWS',             'TENANT',   80, 90, 'as for STORAGE, where a limit on rows is registered')
ON CONFLICT (scope, resource_type) DO NOTHING;
COMMENT ON TABLE capacity_ops.default_threshold IS
    'Warning and critical levels, percent of capacity, that run_capacity_analysis(X, true) makes thresholds of where X has none.';

CREATE TABLE IF NOT EXISTS capacity_ops.counter (
    system_identifier bigint      NOT NULL,
    name              text        NOT NULL,
    measured_at       timestamptz NOT NULL,
    value             jsonb       NOT NULL,
    PRIMARY KEY (system_identifier, name)
);
COMMENT ON TABLE capacity_ops.counter IS 'Cumulative counters as the last capture read them: a rate is the difference of two readings.';

CREATE TABLE IF NOT EXISTS capacity_ops.adopted_server (
    system_identifier bigint      NOT NULL,
    adopted_by        bigint      NOT NULL,
    adopted_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    adopted_by_role   text        NOT NULL DEFAULT session_user,
    PRIMARY KEY (system_identifier, adopted_by)
);
COMMENT ON TABLE capacity_ops.adopted_server IS
    'Servers whose measurements this one continues (a migration by dump and restore). Without an entry, a restored copy keeps the original''s history but draws no conclusion from it.';

CREATE TABLE IF NOT EXISTS capacity_ops.forecast_archive (LIKE capacity_planning.capacity_forecast_s);
CREATE UNIQUE INDEX IF NOT EXISTS forecast_archive_key ON capacity_ops.forecast_archive (capacity_forecast_hk, load_date);

---------------------------------------------------------------------------------------------------------------------
-- Keys, versions, clocks
---------------------------------------------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION capacity_ops.hash_key(p_business_key text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$ SELECT sha256(convert_to(p_business_key, 'UTF8')) $$;
COMMENT ON FUNCTION capacity_ops.hash_key(text) IS 'SHA-256 of the business key''s UTF-8 bytes.';

CREATE OR REPLACE FUNCTION capacity_ops.tenant_key(p_tenant_hk bytea) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT coalesce(encode(p_tenant_hk, 'hex'), 'SYSTEM') $$;
COMMENT ON FUNCTION capacity_ops.tenant_key(bytea) IS 'A tenant in business keys and views: the hex of tenant_hk, or SYSTEM.';

CREATE OR REPLACE FUNCTION capacity_ops.resource_key(p_resource_type text, p_resource_name text, p_tenant_hk bytea) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT p_resource_type || '|' || p_resource_name || '|' || coalesce(encode(p_tenant_hk, 'hex'), 'SYSTEM') $$;
COMMENT ON FUNCTION capacity_ops.resource_key(text, text, bytea) IS 'RESOURCE_TYPE|resource_name|tenant.';

CREATE OR REPLACE FUNCTION capacity_ops.next_load_date(p_previous timestamptz) RETURNS timestamptz
LANGUAGE sql VOLATILE
AS $$ SELECT greatest(clock_timestamp(), p_previous + interval '1 microsecond') $$;
COMMENT ON FUNCTION capacity_ops.next_load_date(timestamptz) IS
    'Now, but always after the version before: two versions in one microsecond, or a clock set back, keep their order.';

CREATE OR REPLACE FUNCTION capacity_ops.hash_diff(p_row jsonb, VARIADIC p_ignored text[]) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT sha256(convert_to((p_row - (p_ignored || '{load_date,load_end_date,hash_diff}'))::text, 'UTF8')) $$;
COMMENT ON FUNCTION capacity_ops.hash_diff(jsonb, text[]) IS 'SHA-256 of a satellite row''s business columns.';

CREATE OR REPLACE FUNCTION capacity_ops.setting(p_name text) RETURNS numeric
LANGUAGE sql STABLE
AS $$ SELECT value FROM capacity_ops.setting WHERE name = p_name $$;

-- Nothing in a satellite is overwritten: an UPDATE of what a row says makes a new version of it and keeps the earlier
-- one, closed. The arguments name the columns that are no statement of their own and change in place.
CREATE OR REPLACE FUNCTION capacity_ops.begin_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_in_place text[] := '{load_date,load_end_date,hash_diff}' || TG_ARGV;
    v_old jsonb := to_jsonb(OLD) - v_in_place;
BEGIN
    IF TG_TABLE_NAME = 'capacity_threshold_s' AND NEW.unit = 'percent'
       AND NEW.threshold_percentage IS DISTINCT FROM OLD.threshold_percentage THEN
        NEW.threshold_value := NEW.threshold_percentage;
    END IF;
    IF v_old = to_jsonb(NEW) - v_in_place THEN
        RETURN NEW;  -- closing a row, or a counter
    END IF;
    IF OLD.load_end_date IS NOT NULL THEN
        RAISE EXCEPTION 'a closed version of % is history and cannot be changed: add AND load_end_date IS NULL', TG_TABLE_NAME;
    END IF;
    NEW.load_date := capacity_ops.next_load_date(OLD.load_date);
    NEW.hash_diff := capacity_ops.hash_diff(to_jsonb(NEW), VARIADIC v_in_place);
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION capacity_ops.keep_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO %I.%I SELECT ($1).*', TG_TABLE_SCHEMA, TG_TABLE_NAME)
        USING jsonb_populate_record(OLD, jsonb_build_object('load_end_date', NEW.load_date));
    RETURN NULL;
END
$$;

DO $triggers$
DECLARE
    v_table text;
    v_in_place text;
BEGIN
    FOR v_table, v_in_place IN VALUES
        ('resource_utilization_s', ''),
        ('growth_pattern_s', $c$'analysis_timestamp'$c$),
        ('capacity_forecast_s', $c$'forecast_timestamp', 'last_model_training'$c$),
        ('capacity_threshold_s', $c$'threshold_effectiveness_score', 'false_positive_rate', 'true_positive_rate',
            'last_triggered_date', 'trigger_count_24h', 'trigger_count_7d', 'trigger_count_30d',
            'average_resolution_time_minutes'$c$)
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER begin_version BEFORE UPDATE ON capacity_planning.%I
            FOR EACH ROW EXECUTE FUNCTION capacity_ops.begin_version(%s)', v_table, v_in_place);
        EXECUTE format('CREATE OR REPLACE TRIGGER keep_version AFTER UPDATE ON capacity_planning.%I
            FOR EACH ROW WHEN (NEW.load_date IS DISTINCT FROM OLD.load_date) EXECUTE FUNCTION capacity_ops.keep_version()', v_table);
    END LOOP;
END
$triggers$;

-- The server's own number, so that a restored copy is not taken for the original. NULL where the role may not ask.
CREATE OR REPLACE FUNCTION capacity_ops.server_identifier() RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT system_identifier FROM pg_control_system());
EXCEPTION WHEN insufficient_privilege THEN
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION capacity_ops.own_servers() RETURNS bigint[] LANGUAGE sql STABLE
AS $$
    SELECT array_append(array_agg(system_identifier), capacity_ops.server_identifier())
    FROM capacity_ops.adopted_server WHERE adopted_by = capacity_ops.server_identifier()
$$;
COMMENT ON FUNCTION capacity_ops.own_servers() IS 'This server, and those whose history it continues.';

CREATE OR REPLACE FUNCTION capacity_ops.is_own(p_system_identifier bigint) RETURNS boolean LANGUAGE sql STABLE
AS $$ SELECT p_system_identifier IS NULL OR p_system_identifier = ANY (capacity_ops.own_servers()) $$;
COMMENT ON FUNCTION capacity_ops.is_own(bigint) IS 'Whether a measurement is of this server (or of none: imported, simulated).';

CREATE OR REPLACE FUNCTION capacity_ops.adopt_server(p_system_identifier bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF capacity_ops.server_identifier() IS NULL THEN
        RAISE EXCEPTION 'this role may not read pg_control_system(): adopt as a role that may';
    ELSIF NOT EXISTS (SELECT FROM capacity_planning.resource_utilization_s WHERE system_identifier = p_system_identifier) THEN
        RAISE EXCEPTION 'no measurement of a server % is stored here', p_system_identifier;
    END IF;
    INSERT INTO capacity_ops.adopted_server (system_identifier, adopted_by)
    VALUES (p_system_identifier, capacity_ops.server_identifier()) ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION capacity_ops.adopt_server(bigint) IS 'After a migration: what server X measured is this server''s own history.';

-- One session records at a time. A scheduled run that overlaps skips; one asked for by hand waits a little, then
-- computes without recording. Nothing waits longer: the guide''s loop over tenants holds its locks for minutes.
CREATE OR REPLACE FUNCTION capacity_ops.begin_recording(p_activity text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_key bigint := hashtextextended('capacity_planning:' || p_activity, 0);
    v_stack text;
    v_until timestamptz := clock_timestamp() + make_interval(secs => capacity_ops.setting('lock_wait_seconds')::float8);
BEGIN
    GET DIAGNOSTICS v_stack = PG_CONTEXT;
    LOOP
        IF pg_try_advisory_xact_lock(v_key) THEN
            RETURN true;
        END IF;
        EXIT WHEN clock_timestamp() >= v_until OR v_stack ~ 'scheduled_capacity_analysis|run_capacity_analysis';
        PERFORM pg_sleep(0.05);
    END LOOP;
    RAISE NOTICE 'another session is recording this (%): skipped here, nothing recorded', p_activity;
    RETURN false;
END
$$;
COMMENT ON FUNCTION capacity_ops.begin_recording(text) IS
    'True: this transaction records. False: another does, and a NOTICE said so; waits lock_wait_seconds at most, not at all under a scheduled run.';

---------------------------------------------------------------------------------------------------------------------
-- Tenants, capacities, newest measurements
---------------------------------------------------------------------------------------------------------------------
CREATE OR REPLACE VIEW capacity_ops.tenant AS
SELECT h.tenant_hk, h.tenant_bk, coalesce(p.tenant_name, h.tenant_bk) AS tenant_name,
       coalesce(p.is_active, true) AS is_active, p.max_users, h.record_source = 'SIMULATION' AS is_simulated
FROM auth.tenant_h h
LEFT JOIN LATERAL (
    SELECT s.tenant_name, s.is_active, s.max_users FROM auth.tenant_profile_s s
    WHERE s.tenant_hk = h.tenant_hk AND s.load_end_date IS NULL ORDER BY s.load_date DESC LIMIT 1) p ON true;
COMMENT ON VIEW capacity_ops.tenant IS
    'Tenants as they are now. One without a profile counts as active; a simulated one owns nothing that could be measured here.';

CREATE OR REPLACE FUNCTION capacity_ops.is_watched(p_tenant_hk bytea) RETURNS boolean LANGUAGE sql STABLE
AS $$ SELECT p_tenant_hk IS NULL OR EXISTS (SELECT FROM capacity_ops.tenant t WHERE t.tenant_hk = p_tenant_hk AND t.is_active) $$;
COMMENT ON FUNCTION capacity_ops.is_watched(bytea) IS 'The system, or a tenant that is there and active.';

CREATE OR REPLACE FUNCTION capacity_ops.require_tenant(p_tenant_hk bytea) RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_tenant_hk IS NOT NULL AND NOT EXISTS (SELECT FROM auth.tenant_h WHERE tenant_hk = p_tenant_hk) THEN
        RAISE EXCEPTION 'unknown tenant %', encode(p_tenant_hk, 'hex') USING HINT = 'auth.tenant_h lists the tenants.';
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION capacity_ops.capacity_at(p_tenant_hk bytea, p_resource_type text, p_resource_name text, p_at timestamptz)
RETURNS numeric LANGUAGE sql STABLE
AS $$
    SELECT capacity FROM capacity_ops.capacity_registry
    WHERE resource_type = p_resource_type AND resource_name = p_resource_name
      AND coalesce(tenant_hk, ''::bytea) = coalesce(p_tenant_hk, ''::bytea) AND valid_from <= p_at
    ORDER BY valid_from DESC LIMIT 1
$$;
COMMENT ON FUNCTION capacity_ops.capacity_at(bytea, text, text, timestamptz) IS 'The registered capacity at a time; NULL: none registered.';

CREATE OR REPLACE FUNCTION capacity_ops.newest(p_tenant_hk bytea, p_as_of timestamptz)
RETURNS TABLE (resource_utilization_hk bytea, tenant_hk bytea, resource_type varchar, resource_name varchar,
               resource_category varchar, unit varchar, measurement_timestamp timestamptz, current_value numeric,
               capacity numeric, utilization_percentage numeric, interval_seconds numeric, is_stale boolean, record_source varchar)
LANGUAGE sql STABLE
AS $$
    SELECT m.resource_utilization_hk, m.tenant_hk, m.resource_type, m.resource_name, m.resource_category, m.unit,
           m.measurement_timestamp, m.current_value, c.capacity, m.current_value / c.capacity * 100,
           i.seconds, p_as_of - m.measurement_timestamp > make_interval(secs => 3 * i.seconds::float8), m.record_source
    FROM (SELECT capacity_ops.own_servers() AS servers) own
    CROSS JOIN capacity_planning.resource_utilization_h h
    CROSS JOIN LATERAL (
        SELECT s.* FROM capacity_planning.resource_utilization_s s
        WHERE s.resource_utilization_hk = h.resource_utilization_hk AND s.load_end_date IS NULL
          AND s.measurement_timestamp <= p_as_of
          AND (s.system_identifier IS NULL OR s.system_identifier = ANY (own.servers))
        ORDER BY s.measurement_timestamp DESC LIMIT 1) m
    CROSS JOIN LATERAL (SELECT coalesce(m.maximum_capacity,
        capacity_ops.capacity_at(m.tenant_hk, m.resource_type, m.resource_name, m.measurement_timestamp)) AS capacity) c
    CROSS JOIN LATERAL (SELECT coalesce(m.monitoring_frequency_seconds, capacity_ops.setting('monitoring_interval_seconds')) AS seconds) i
    WHERE p_tenant_hk IS NULL OR m.tenant_hk = p_tenant_hk
$$;
COMMENT ON FUNCTION capacity_ops.newest(bytea, timestamptz) IS
    'One row a resource: its newest measurement of this server at or before a time, with its capacity then (its own row''s, else the registry''s). Stale: older than three monitoring intervals. NULL tenant: the system and every tenant.';

CREATE OR REPLACE FUNCTION capacity_ops.register_capacity(
    p_tenant_hk bytea, p_resource_type varchar, p_resource_name varchar, p_capacity numeric, p_unit varchar,
    p_valid_from timestamptz DEFAULT NULL, p_reason text DEFAULT NULL, p_registered_by text DEFAULT NULL)
RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
    v_unit varchar;
    v_from timestamptz := coalesce(p_valid_from, clock_timestamp());
BEGIN
    PERFORM capacity_ops.require_tenant(p_tenant_hk);
    IF p_capacity IS NULL OR NOT (p_capacity > 0 AND p_capacity < 'Infinity') THEN
        RAISE EXCEPTION 'a capacity must be a positive number, not %', coalesce(p_capacity::text, 'NULL');
    END IF;
    SELECT s.unit INTO v_unit FROM capacity_planning.resource_utilization_s s
    WHERE s.resource_utilization_hk = capacity_ops.hash_key(capacity_ops.resource_key(p_resource_type, p_resource_name, p_tenant_hk))
      AND s.load_end_date IS NULL ORDER BY s.measurement_timestamp DESC LIMIT 1;
    IF v_unit <> p_unit THEN
        RAISE EXCEPTION '% % is measured in %, not in %', p_resource_type, p_resource_name, v_unit, p_unit;
    END IF;
    INSERT INTO capacity_ops.capacity_registry AS r
        (tenant_hk, resource_type, resource_name, capacity, unit, valid_from, registered_by, reason)
    VALUES (p_tenant_hk, p_resource_type, p_resource_name, p_capacity, p_unit, v_from, coalesce(p_registered_by, session_user), p_reason)
    ON CONFLICT (resource_type, resource_name, (coalesce(tenant_hk, ''::bytea)), valid_from) DO UPDATE
        SET capacity = excluded.capacity, unit = excluded.unit, registered_by = excluded.registered_by,
            registered_at = excluded.registered_at, reason = excluded.reason
        WHERE r.capacity <> excluded.capacity;
    RETURN v_from;
END
$$;
COMMENT ON FUNCTION capacity_ops.register_capacity(bytea, varchar, varchar, numeric, varchar, timestamptz, text, text) IS
    'What a resource can hold from a time on (NULL: from now), in the unit it is measured in; NULL tenant: the system.';

CREATE OR REPLACE FUNCTION capacity_ops.data_quality(p_hk bytea, p_as_of timestamptz, p_window interval)
RETURNS TABLE (score numeric, completeness numeric, freshness numeric, validity numeric,
               measurements bigint, interval_seconds numeric, longest_gap interval)
LANGUAGE sql STABLE
AS $$
    WITH point AS (
        SELECT s.measurement_timestamp AS at, s.monitoring_frequency_seconds AS frequency,
               s.measurement_timestamp > s.load_date + interval '5 minutes'
               OR (s.resource_type IN ('MEMORY', 'CPU', 'DISK', 'SEQUENCES') AND s.current_value > s.maximum_capacity) AS is_impossible,
               s.measurement_timestamp - lag(s.measurement_timestamp) OVER (ORDER BY s.measurement_timestamp) AS gap
        FROM capacity_planning.resource_utilization_s s
        WHERE s.resource_utilization_hk = p_hk AND s.load_end_date IS NULL
          AND s.measurement_timestamp > p_as_of - p_window AND s.measurement_timestamp <= p_as_of),
    pace AS (
        SELECT coalesce((SELECT frequency FROM point ORDER BY at DESC LIMIT 1),
                        percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM gap))::numeric,
                        capacity_ops.setting('monitoring_interval_seconds')) AS seconds
        FROM point),
    seen AS (
        SELECT count(*) AS n, min(at) AS first, max(at) AS last, max(gap) AS longest,
               avg(CASE WHEN is_impossible THEN 0 ELSE 1 END) AS valid,
               count(DISTINCT floor(extract(epoch FROM at) / greatest(p.seconds, 1))) AS filled, max(p.seconds) AS seconds
        FROM point CROSS JOIN pace p),
    part AS (
        SELECT n, longest, seconds, valid,
               least(1, filled / greatest(1, floor(extract(epoch FROM last - first) / greatest(seconds, 1)) + 1)) AS complete,
               least(1, 3 * seconds / greatest(extract(epoch FROM p_as_of - last), 1)) AS fresh
        FROM seen WHERE n > 0)
    SELECT round(100 * complete * fresh * valid, 2), round(100 * complete, 2), round(100 * fresh, 2), round(100 * valid, 2),
           n, seconds, longest
    FROM part
$$;
COMMENT ON FUNCTION capacity_ops.data_quality(bytea, timestamptz, interval) IS
    'How far a resource''s measurements in a window can be relied on; the formula stands on resource_utilization_s.data_quality_score. No row: nothing was measured in the window.';

COMMENT ON COLUMN capacity_planning.resource_utilization_s.data_quality_score IS
    'Over the 24 hours before the measurement: 100 × completeness × freshness × validity. Completeness: monitoring intervals with a measurement / intervals between the first and the last one. Freshness: min(1, 3 intervals / age of the newest). Validity: share of measurements that are possible (none later than its own loading, no MEMORY, CPU, DISK or SEQUENCES above what exists). Interval: monitoring_frequency_seconds, else the median gap. NULL on imports.';
COMMENT ON COLUMN capacity_planning.resource_utilization_s.peak_value_24h IS
    'peak_*, average_*, minimum_*: over the measurements stored in the 24 hours, 7 or 30 days up to and with this one; averages are plain means of measurements. Computed at capture, NULL on imports.';
COMMENT ON COLUMN capacity_planning.resource_utilization_s.tenant_hk IS 'Whose resource: a tenant''s, or NULL for the system as a whole.';
COMMENT ON COLUMN capacity_planning.resource_utilization_s.maximum_capacity IS 'What the source itself says the resource can hold; NULL: ask capacity_ops.capacity_at.';
COMMENT ON COLUMN capacity_planning.resource_utilization_s.system_identifier IS 'pg_control_system() of the server that was measured; NULL: imported or simulated, or the role may not ask.';
COMMENT ON COLUMN capacity_planning.resource_utilization_s.monitoring_frequency_seconds IS 'How often this resource is measured: the schedule''s interval at capture, the median spacing of the file on imports.';
COMMENT ON COLUMN capacity_planning.capacity_threshold_s.threshold_value IS 'The level in `unit`; in percent it is threshold_percentage.';
COMMENT ON COLUMN capacity_planning.capacity_threshold_s.trigger_count_24h IS
    'trigger_count_*, last_triggered_date, average_resolution_time_minutes and the rates are results of alerting and NULL until it has any.';

INSERT INTO capacity_ops.deployment (step, version, applied_at, applied_by)
VALUES (9, '0.1.0', clock_timestamp(), session_user)
ON CONFLICT (step) DO UPDATE SET version = excluded.version, applied_at = excluded.applied_at, applied_by = excluded.applied_by;

COMMIT;
