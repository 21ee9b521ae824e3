-- Step 9: the store, what it measures and what it decides.
--
--   capacity_planning   the ten Data Vault tables, the views and the routines that operators call
--   capacity_ops        what those stand on: settings, the registry of capacities, helper functions
--
-- Apply with psql -f; safe to apply again. The file is one transaction: it is deployed whole or not at all.
BEGIN;
SELECT pg_advisory_xact_lock(hashtextextended('capacity_planning:deploy', 0));
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL lock_timeout = '30s';

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
        SELECT string_agg(o.name, ', ' ORDER BY o.name) INTO v_found
        FROM (SELECT c.oid::regclass::text, c.relnamespace FROM pg_class c WHERE c.relkind <> 'i' AND c.relkind <> 't'
              UNION ALL SELECT p.oid::regprocedure::text, p.pronamespace FROM pg_proc p
              UNION ALL SELECT t.oid::regtype::text, t.typnamespace FROM pg_type t WHERE t.typrelid = 0 AND t.typelem = 0) o (name, namespace)
        JOIN pg_namespace n ON n.oid = o.namespace
        WHERE n.nspname IN ('capacity_planning', 'capacity_ops');
        IF v_found IS NOT NULL THEN
            RAISE EXCEPTION 'this database already holds a capacity schema that is not this project''s (%): nothing was changed', v_found
                USING HINT = 'Rename or drop what is there, or deploy into another database.';
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
    PRIMARY KEY (resource_utilization_hk, measurement_timestamp, load_date),
    CONSTRAINT resource_utilization_s_possible CHECK (
        current_value >= 0 AND current_value < 'Infinity'               -- NaN sorts above Infinity
        AND maximum_capacity > 0 AND maximum_capacity < 'Infinity'      -- unknown is NULL, never 0
        AND isfinite(measurement_timestamp))
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
    PRIMARY KEY (capacity_threshold_hk, load_date),
    CONSTRAINT capacity_threshold_s_possible CHECK (
        threshold_percentage > 0 AND threshold_percentage < 'Infinity'
        AND threshold_operator IN ('>=', '>', '<=', '<'))
);
ALTER TABLE capacity_planning.capacity_threshold_s
    ADD COLUMN IF NOT EXISTS threshold_probability numeric,
    ADD COLUMN IF NOT EXISTS recovery_margin numeric;
-- Counters change in place with every evaluation that finds something: room for them on the page.
ALTER TABLE capacity_planning.capacity_threshold_s SET (fillfactor = 50);

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
DROP INDEX IF EXISTS capacity_planning.capacity_threshold_s_resource;  -- its form without coalesce found no NULL tenant
CREATE INDEX IF NOT EXISTS capacity_threshold_s_owner
    ON capacity_planning.capacity_threshold_s (resource_type, (coalesce(tenant_hk, ''::bytea))) WHERE load_end_date IS NULL;
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
ALTER TABLE capacity_ops.setting DROP CONSTRAINT IF EXISTS setting_in_range;
ALTER TABLE capacity_ops.setting ADD CONSTRAINT setting_in_range  -- beyond it no interval can be made, and every evaluation would fail
    CHECK (value >= 0 AND value < CASE name WHEN 'tenant_scan_bytes' THEN 1e18 ELSE 1e7 END) NOT VALID;
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
    ('TENANT', 'USERS',            'TENANT',   80, 90, 'the platform''s default')
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
LANGUAGE sql STABLE STRICT PARALLEL SAFE  -- no more than convert_to is: else it would not be spelt out where it is called
BEGIN ATOMIC
    SELECT sha256(convert_to(p_business_key, 'UTF8'));
END;
COMMENT ON FUNCTION capacity_ops.hash_key(text) IS 'SHA-256 of the business key''s UTF-8 bytes.';

CREATE OR REPLACE FUNCTION capacity_ops.tenant_key(p_tenant_hk bytea) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(encode(p_tenant_hk, 'hex'), 'SYSTEM');
END;
COMMENT ON FUNCTION capacity_ops.tenant_key(bytea) IS 'A tenant in business keys and views: the hex of tenant_hk, or SYSTEM.';

CREATE OR REPLACE FUNCTION capacity_ops.resource_key(p_resource_type text, p_resource_name text, p_tenant_hk bytea) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT p_resource_type || '|' || p_resource_name || '|' || coalesce(encode(p_tenant_hk, 'hex'), 'SYSTEM');
END;
COMMENT ON FUNCTION capacity_ops.resource_key(text, text, bytea) IS 'RESOURCE_TYPE|resource_name|tenant.';

CREATE OR REPLACE FUNCTION capacity_ops.next_load_date(p_previous timestamptz) RETURNS timestamptz
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    SELECT greatest(clock_timestamp(), p_previous + interval '1 microsecond');
END;
COMMENT ON FUNCTION capacity_ops.next_load_date(timestamptz) IS
    'Now, but always after the version before: two versions in one microsecond, or a clock set back, keep their order.';

CREATE OR REPLACE FUNCTION capacity_ops.hash_diff(p_row jsonb, VARIADIC p_ignored text[]) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT sha256(convert_to((p_row - (p_ignored || '{load_date,load_end_date,hash_diff}'))::text, 'UTF8'));
END;
COMMENT ON FUNCTION capacity_ops.hash_diff(jsonb, text[]) IS 'SHA-256 of a satellite row''s business columns.';

CREATE OR REPLACE FUNCTION capacity_ops.setting(p_name text) RETURNS numeric
LANGUAGE sql STABLE
BEGIN ATOMIC
    -- within the bounds that the table has, also where a value was set before it had them
    SELECT CASE name WHEN 'tenant_scan_bytes' THEN value ELSE greatest(0, least(value, 1e7)) END FROM capacity_ops.setting WHERE name = p_name;
END;

CREATE OR REPLACE FUNCTION capacity_ops.in_place(p_table text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT '{load_date,load_end_date,hash_diff}'::text[] || CASE p_table
        WHEN 'growth_pattern_s' THEN '{analysis_timestamp}'::text[]
        WHEN 'capacity_forecast_s' THEN '{forecast_timestamp,last_model_training}'
        WHEN 'capacity_threshold_s' THEN '{threshold_effectiveness_score,false_positive_rate,true_positive_rate,last_triggered_date,trigger_count_24h,trigger_count_7d,trigger_count_30d,average_resolution_time_minutes}'
        WHEN 'episode_s' THEN '{peak,held_by,reached_at}'
        WHEN 'alert_s' THEN '{judged_until}'
        ELSE '{}' END;
END;
COMMENT ON FUNCTION capacity_ops.in_place(text) IS
    'A satellite''s columns that are no statement of their own (times of computing, counters): they change in place and stay out of hash_diff.';

-- Nothing in a satellite is overwritten: an UPDATE of what a row says makes a new version of it and keeps the earlier
-- one, closed.
CREATE OR REPLACE FUNCTION capacity_ops.begin_version() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_in_place text[] := capacity_ops.in_place(TG_TABLE_NAME);
    v_new jsonb;
BEGIN
    IF TG_TABLE_NAME = 'capacity_threshold_s' THEN  -- apart, since the other tables have no such fields
        IF NEW.unit = 'percent' AND NEW.threshold_percentage IS DISTINCT FROM OLD.threshold_percentage THEN
            NEW.threshold_value := NEW.threshold_percentage;
        END IF;
    END IF;
    v_new := to_jsonb(NEW) - v_in_place;
    IF to_jsonb(OLD) - v_in_place = v_new THEN
        RETURN NEW;  -- closing a row, or a counter
    END IF;
    IF OLD.load_end_date IS NOT NULL THEN
        RAISE EXCEPTION 'a closed version of % is history and cannot be changed: add AND load_end_date IS NULL', TG_TABLE_NAME;
    END IF;
    NEW.load_date := capacity_ops.next_load_date(OLD.load_date);
    NEW.hash_diff := capacity_ops.hash_diff(v_new, VARIADIC '{}'::text[]);
    RETURN NEW;
END
$$;

-- The trigger is called for columns that are statements only: a hundred thousand counters are written without it. Each table
-- has a function of its own that keeps its earlier versions: one for all would be planned anew for each row.
CREATE OR REPLACE FUNCTION capacity_ops.keep_versions(p_table regclass) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_columns text;
    v_keep text;
BEGIN
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO v_columns
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE a.attrelid = p_table AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (capacity_ops.in_place(c.relname));
    EXECUTE format('CREATE OR REPLACE TRIGGER begin_version BEFORE UPDATE OF %s ON %s
        FOR EACH ROW EXECUTE FUNCTION capacity_ops.begin_version()', v_columns, p_table);
    SELECT format('capacity_ops.%I', 'keep_version_of_' || c.relname) INTO v_keep FROM pg_class c WHERE c.oid = p_table;
    EXECUTE format('CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $keep$
        BEGIN
            OLD.load_end_date := NEW.load_date;
            INSERT INTO %s SELECT OLD.*;
            RETURN NULL;
        END
        $keep$', v_keep, p_table);
    EXECUTE format('CREATE OR REPLACE TRIGGER keep_version AFTER UPDATE ON %s
        FOR EACH ROW WHEN (NEW.load_date IS DISTINCT FROM OLD.load_date) EXECUTE FUNCTION %s()', p_table, v_keep);
    EXECUTE format('COMMENT ON FUNCTION %s() IS %L', v_keep, format('An UPDATE of %s keeps the earlier version, closed when the new one begins.', p_table));
END
$$;
COMMENT ON FUNCTION capacity_ops.keep_versions(regclass) IS 'From now on an UPDATE of this satellite keeps the earlier version.';

DO $triggers$
BEGIN
    PERFORM capacity_ops.keep_versions(format('capacity_planning.%I', t)::regclass)
    FROM unnest('{resource_utilization_s,growth_pattern_s,capacity_forecast_s,capacity_threshold_s}'::text[]) t;
    PERFORM capacity_ops.keep_versions(t.tgrelid) FROM pg_trigger t WHERE t.tgfoid = to_regprocedure('capacity_ops.keep_version()');
END
$triggers$;
DROP FUNCTION IF EXISTS capacity_ops.keep_version();  -- before each table had one of its own

-- The server's own number, so that a restored copy is not taken for the original. NULL where the role may not ask.
CREATE OR REPLACE FUNCTION capacity_ops.server_identifier() RETURNS bigint LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT system_identifier FROM pg_control_system());
EXCEPTION WHEN insufficient_privilege THEN
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION capacity_ops.own_servers() RETURNS bigint[] LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT array_append(array_agg(system_identifier), capacity_ops.server_identifier())
    FROM capacity_ops.adopted_server WHERE adopted_by = capacity_ops.server_identifier();
END;
COMMENT ON FUNCTION capacity_ops.own_servers() IS 'This server, and those whose history it continues.';

CREATE OR REPLACE FUNCTION capacity_ops.is_own(p_system_identifier bigint) RETURNS boolean LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT p_system_identifier IS NULL OR p_system_identifier = ANY (capacity_ops.own_servers());
END;
COMMENT ON FUNCTION capacity_ops.is_own(bigint) IS 'Whether a measurement is of this server (or of none: imported, simulated).';

CREATE OR REPLACE FUNCTION capacity_ops.adopt_server(p_system_identifier bigint) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
CREATE OR REPLACE FUNCTION capacity_ops.begin_recording(p_activity text) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
        -- Under another isolation level than READ COMMITTED this transaction would not see what the other one recorded.
        EXIT WHEN clock_timestamp() >= v_until OR v_stack ~ 'scheduled_capacity_analysis|run_capacity_analysis'
               OR current_setting('transaction_isolation') <> 'read committed';
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
BEGIN ATOMIC
    SELECT p_tenant_hk IS NULL OR EXISTS (SELECT FROM capacity_ops.tenant t WHERE t.tenant_hk = p_tenant_hk AND t.is_active);
END;
COMMENT ON FUNCTION capacity_ops.is_watched(bytea) IS 'The system, or a tenant that is there and active.';

CREATE OR REPLACE FUNCTION capacity_ops.require_tenant(p_tenant_hk bytea) RETURNS void LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_tenant_hk IS NOT NULL AND NOT EXISTS (SELECT FROM auth.tenant_h WHERE tenant_hk = p_tenant_hk) THEN
        RAISE EXCEPTION 'unknown tenant %', encode(p_tenant_hk, 'hex') USING HINT = 'auth.tenant_h lists the tenants.';
    END IF;
END
$$;

-- Keys join their parts with |: a type without one keeps them apart whatever a name holds.
CREATE OR REPLACE FUNCTION capacity_ops.require_names(p_resource_type text, p_name text) RETURNS void LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(p_resource_type, '') = '' OR coalesce(p_name, '') = '' THEN
        RAISE EXCEPTION 'a resource type and a name are needed';
    ELSIF p_resource_type ~ '[|[:cntrl:]]' OR length(p_resource_type) > 50 THEN
        RAISE EXCEPTION 'a resource type has at most 50 characters, no | and no control characters';
    ELSIF p_name ~ '[[:cntrl:]]' THEN
        RAISE EXCEPTION 'a name has no control characters';
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION capacity_ops.capacity_at(p_tenant_hk bytea, p_resource_type text, p_resource_name text, p_at timestamptz)
RETURNS numeric LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT capacity FROM capacity_ops.capacity_registry
    WHERE resource_type = p_resource_type AND resource_name = p_resource_name
      AND coalesce(tenant_hk, ''::bytea) = coalesce(p_tenant_hk, ''::bytea) AND valid_from <= p_at
    ORDER BY valid_from DESC LIMIT 1;
END;
COMMENT ON FUNCTION capacity_ops.capacity_at(bytea, text, text, timestamptz) IS 'The registered capacity at a time; NULL: none registered.';

CREATE OR REPLACE FUNCTION capacity_ops.newest(p_tenant_hk bytea, p_as_of timestamptz)
RETURNS TABLE (resource_utilization_hk bytea, tenant_hk bytea, resource_type varchar, resource_name varchar,
               resource_category varchar, unit varchar, measurement_timestamp timestamptz, current_value numeric,
               capacity numeric, utilization_percentage numeric, interval_seconds numeric, is_stale boolean, record_source varchar)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT m.resource_utilization_hk, m.tenant_hk, m.resource_type, m.resource_name, m.resource_category, m.unit,
           m.measurement_timestamp, m.current_value, c.capacity, m.current_value / c.capacity * 100,
           i.seconds, p_as_of - m.measurement_timestamp > make_interval(secs => 3 * i.seconds::float8), m.record_source
    FROM (SELECT (SELECT capacity_ops.own_servers()) AS servers, (SELECT capacity_ops.setting('monitoring_interval_seconds')) AS pace) own
    CROSS JOIN capacity_planning.resource_utilization_h h
    CROSS JOIN LATERAL (
        SELECT s.* FROM capacity_planning.resource_utilization_s s
        WHERE s.resource_utilization_hk = h.resource_utilization_hk AND s.load_end_date IS NULL
          AND s.measurement_timestamp <= p_as_of
          AND (s.system_identifier IS NULL OR s.system_identifier = ANY (own.servers))
        ORDER BY s.measurement_timestamp DESC LIMIT 1) m
    CROSS JOIN LATERAL (SELECT coalesce(m.maximum_capacity, (  -- capacity_at, spelt out: a function is called for each row
        SELECT r.capacity FROM capacity_ops.capacity_registry r
        WHERE r.resource_type = m.resource_type AND r.resource_name = m.resource_name
          AND coalesce(r.tenant_hk, ''::bytea) = coalesce(m.tenant_hk, ''::bytea) AND r.valid_from <= m.measurement_timestamp
        ORDER BY r.valid_from DESC LIMIT 1)) AS capacity OFFSET 0) c
    CROSS JOIN LATERAL (SELECT coalesce(m.monitoring_frequency_seconds, own.pace) AS seconds) i
    WHERE p_tenant_hk IS NULL OR m.tenant_hk = p_tenant_hk;
END;
COMMENT ON FUNCTION capacity_ops.newest(bytea, timestamptz) IS
    'One row a resource: its newest measurement of this server at or before a time, with its capacity then (its own row''s, else the registry''s). Stale: older than three monitoring intervals. NULL tenant: the system and every tenant.';

CREATE OR REPLACE FUNCTION capacity_ops.register_capacity(
    p_tenant_hk bytea, p_resource_type varchar, p_resource_name varchar, p_capacity numeric, p_unit varchar,
    p_valid_from timestamptz DEFAULT NULL, p_reason text DEFAULT NULL, p_registered_by text DEFAULT NULL)
RETURNS timestamptz LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_unit varchar;
    v_newest timestamptz;
    v_from timestamptz;
BEGIN
    PERFORM capacity_ops.require_tenant(p_tenant_hk);
    PERFORM capacity_ops.require_names(p_resource_type, p_resource_name);
    IF p_capacity IS NULL OR NOT (p_capacity > 0 AND p_capacity < 'Infinity') THEN
        RAISE EXCEPTION 'a capacity must be a positive number, not %', coalesce(p_capacity::text, 'NULL');
    END IF;
    SELECT s.unit, s.measurement_timestamp INTO v_unit, v_newest FROM capacity_planning.resource_utilization_s s
    WHERE s.resource_utilization_hk = capacity_ops.hash_key(capacity_ops.resource_key(p_resource_type, p_resource_name, p_tenant_hk))
      AND s.load_end_date IS NULL ORDER BY s.measurement_timestamp DESC LIMIT 1;
    IF v_unit <> p_unit THEN
        RAISE EXCEPTION '% % is measured in %, not in %', p_resource_type, p_resource_name, v_unit, p_unit;
    END IF;
    -- The first that is said of a resource is what it has held all along, as far as the newest measurement goes: a verdict
    -- need not wait for the next capture. A later one is a change, from now on.
    v_from := coalesce(p_valid_from,
        CASE WHEN NOT EXISTS (SELECT FROM capacity_ops.capacity_registry r WHERE r.resource_type = p_resource_type AND r.resource_name = p_resource_name
                              AND coalesce(r.tenant_hk, ''::bytea) = coalesce(p_tenant_hk, ''::bytea)) THEN v_newest END,
        clock_timestamp());
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
    'What a resource can hold from a time on, in the unit it is measured in; NULL tenant: the system. NULL time: from the newest measurement on where no capacity was registered before, else from now. Returns that time.';

CREATE OR REPLACE FUNCTION capacity_ops.data_quality(p_hk bytea, p_as_of timestamptz, p_window interval)
RETURNS TABLE (score numeric, completeness numeric, freshness numeric, validity numeric,
               measurements bigint, interval_seconds numeric, longest_gap interval)
LANGUAGE sql STABLE
BEGIN ATOMIC
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
    FROM part;
END;
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
COMMENT ON COLUMN capacity_planning.capacity_threshold_s.threshold_type IS
    'WARNING, CRITICAL: a level, percent of capacity. RUNWAY: threshold_value days until threshold_percentage is reached, with threshold_probability. ABSENCE: threshold_value minutes without a measurement.';
COMMENT ON COLUMN capacity_planning.capacity_threshold_s.threshold_value IS 'The level in `unit`; in percent it is threshold_percentage.';
COMMENT ON COLUMN capacity_planning.capacity_threshold_s.threshold_percentage IS
    'The level, percent of capacity. NULL on RUNWAY: the CRITICAL level of capacity_ops.levels; NULL on ABSENCE, which has none.';
COMMENT ON COLUMN capacity_planning.capacity_threshold_s.threshold_probability IS
    'RUNWAY only: the probability, percent (10, 50 or 90), with which the forecast reaches the level within threshold_value days. 10 and 90 need a forecast of method ENGINE.';
COMMENT ON COLUMN capacity_planning.capacity_threshold_s.recovery_margin IS
    'How far back beyond the level usage must go before a breach counts as over (hysteresis): percentage points, on RUNWAY days. NULL: the setting recovery_margin.';
COMMENT ON COLUMN capacity_planning.capacity_threshold_s.trigger_count_24h IS
    'trigger_count_*, last_triggered_date, average_resolution_time_minutes and the rates are results of alerting and NULL until it has any.';

---------------------------------------------------------------------------------------------------------------------
-- Thresholds
---------------------------------------------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION capacity_ops.levels(p_tenant_hk bytea, p_resource_type text)
RETURNS TABLE (warning numeric, critical numeric) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce((SELECT min(t.threshold_percentage) FROM capacity_planning.capacity_threshold_s t
                     WHERE t.resource_type = p_resource_type AND coalesce(t.tenant_hk, ''::bytea) = coalesce(p_tenant_hk, ''::bytea)
                       AND t.load_end_date IS NULL AND t.is_active IS NOT FALSE AND t.threshold_type = 'WARNING' AND t.threshold_operator IN ('>=', '>')),
                    (SELECT d.warning FROM capacity_ops.default_threshold d
                     WHERE d.resource_type = p_resource_type AND d.scope = CASE WHEN p_tenant_hk IS NULL THEN 'SYSTEM' ELSE 'TENANT' END)),
           coalesce((SELECT min(t.threshold_percentage) FROM capacity_planning.capacity_threshold_s t
                     WHERE t.resource_type = p_resource_type AND coalesce(t.tenant_hk, ''::bytea) = coalesce(p_tenant_hk, ''::bytea)
                       AND t.load_end_date IS NULL AND t.is_active IS NOT FALSE AND t.threshold_type = 'CRITICAL' AND t.threshold_operator IN ('>=', '>')),
                    (SELECT d.critical FROM capacity_ops.default_threshold d
                     WHERE d.resource_type = p_resource_type AND d.scope = CASE WHEN p_tenant_hk IS NULL THEN 'SYSTEM' ELSE 'TENANT' END))
    LIMIT 1;  -- computed once a row, however often the caller names it
END;
COMMENT ON FUNCTION capacity_ops.levels(bytea, text) IS
    'Percent of capacity at which a tenant''s (NULL: the system''s) resources of a type are in WARNING and CRITICAL: the lowest active thresholds, else the defaults. NULL: neither is defined.';

CREATE OR REPLACE FUNCTION capacity_ops.status(p_utilization numeric, p_warning numeric, p_critical numeric) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN p_utilization IS NULL THEN 'UNKNOWN'
                WHEN p_utilization >= p_critical THEN 'CRITICAL'
                WHEN p_utilization >= p_warning THEN 'WARNING'
                ELSE 'NORMAL' END;
END;

-- Every threshold is made here, whatever it looks at (a level; runway and absence of step 14).
CREATE OR REPLACE FUNCTION capacity_ops.define_threshold(
    p_tenant_hk bytea, p_threshold_name text, p_resource_type text, p_threshold_type text, p_operator text, p_value numeric, p_unit text,
    p_percentage numeric, p_probability numeric, p_severity text, p_template text, p_suppression_minutes integer, p_alert_enabled boolean, p_record_source text)
RETURNS bytea LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_key text := concat_ws('|', capacity_ops.tenant_key(p_tenant_hk), p_threshold_name, p_resource_type, p_threshold_type);
    v_row capacity_planning.capacity_threshold_s;
BEGIN
    PERFORM capacity_ops.require_tenant(p_tenant_hk);
    PERFORM capacity_ops.require_names(p_resource_type, p_threshold_name);
    IF length(p_threshold_name) > 200 THEN
        RAISE EXCEPTION 'a threshold''s name has at most 200 characters';
    END IF;
    v_row.capacity_threshold_hk := capacity_ops.hash_key(v_key);
    v_row.load_date := clock_timestamp();
    v_row.tenant_hk := p_tenant_hk;
    v_row.threshold_name := p_threshold_name;
    v_row.resource_type := p_resource_type;
    v_row.resource_category := coalesce((SELECT d.resource_category FROM capacity_ops.default_threshold d
        WHERE d.resource_type = p_resource_type AND d.scope = CASE WHEN p_tenant_hk IS NULL THEN 'SYSTEM' ELSE 'TENANT' END), 'CUSTOM');
    v_row.threshold_type := p_threshold_type;
    v_row.threshold_value := p_value;
    v_row.unit := p_unit;
    v_row.threshold_percentage := p_percentage;
    v_row.threshold_probability := p_probability;
    v_row.threshold_operator := p_operator;
    v_row.evaluation_frequency_minutes := 15;
    v_row.alert_enabled := coalesce(p_alert_enabled, true);
    v_row.alert_severity := p_severity;
    v_row.alert_message_template := p_template;
    v_row.escalation_enabled := false;
    v_row.suppression_enabled := true;
    v_row.suppression_duration_minutes := p_suppression_minutes;
    v_row.business_hours_only := false;
    v_row.maintenance_window_exempt := false;
    v_row.created_by := session_user;
    v_row.is_active := true;
    v_row.record_source := p_record_source;
    v_row.hash_diff := capacity_ops.hash_diff(to_jsonb(v_row), VARIADIC capacity_ops.in_place('capacity_threshold_s'));

    INSERT INTO capacity_planning.capacity_threshold_h
    VALUES (v_row.capacity_threshold_hk, v_key, v_row.load_date, v_row.record_source) ON CONFLICT DO NOTHING;
    -- Defined anew: what was asked for changes, what was configured since stays; the trigger keeps the earlier version.
    INSERT INTO capacity_planning.capacity_threshold_s AS t SELECT v_row.*
    ON CONFLICT (capacity_threshold_hk) WHERE load_end_date IS NULL DO UPDATE
        SET threshold_value = excluded.threshold_value, threshold_percentage = excluded.threshold_percentage,
            threshold_probability = excluded.threshold_probability, alert_enabled = coalesce(p_alert_enabled, t.alert_enabled), is_active = true
        WHERE (t.threshold_value, t.threshold_percentage, t.threshold_probability, t.alert_enabled, t.is_active)
              IS DISTINCT FROM (excluded.threshold_value, excluded.threshold_percentage, excluded.threshold_probability,
                                coalesce(p_alert_enabled, t.alert_enabled), true);
    RETURN v_row.capacity_threshold_hk;
END
$$;
COMMENT ON FUNCTION capacity_ops.define_threshold(bytea, text, text, text, text, numeric, text, numeric, numeric, text, text, integer, boolean, text) IS
    'Makes a threshold, or changes what it looks at where it is there already; returns its hash key. p_alert_enabled NULL: as it is, true where it is new.';

CREATE OR REPLACE FUNCTION capacity_planning.create_capacity_threshold(
    p_tenant_hk bytea, p_threshold_name varchar, p_resource_type varchar, p_threshold_percentage numeric,
    p_threshold_type varchar DEFAULT 'WARNING', p_alert_enabled boolean DEFAULT true)
RETURNS bytea LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_threshold_percentage IS NULL OR NOT (p_threshold_percentage > 0 AND p_threshold_percentage < 'Infinity') THEN
        RAISE EXCEPTION 'threshold "%" needs a positive percentage, not %', p_threshold_name, coalesce(p_threshold_percentage::text, 'NULL');
    ELSIF upper(coalesce(p_threshold_type, '')) NOT IN ('WARNING', 'CRITICAL') THEN
        RAISE EXCEPTION 'threshold "%" must be of type WARNING or CRITICAL, not %', p_threshold_name, coalesce(p_threshold_type, 'NULL');
    END IF;
    RETURN capacity_ops.define_threshold(
        p_tenant_hk, p_threshold_name, p_resource_type, upper(p_threshold_type), '>=', p_threshold_percentage, 'percent', p_threshold_percentage, NULL,
        upper(p_threshold_type), '{alert_severity}: {resource_type} {resource_name} is at {current_usage}% of its capacity, past the level of {threshold_percentage}%.',
        60, coalesce(p_alert_enabled, true), 'capacity_planning.thresholds');
END
$$;
COMMENT ON FUNCTION capacity_planning.create_capacity_threshold(bytea, varchar, varchar, numeric, varchar, boolean) IS
    'Defines a threshold of a tenant (NULL: of the system only) on a resource type, or changes it; returns its hash key.';

CREATE OR REPLACE FUNCTION capacity_ops.create_default_thresholds(p_tenant_hk bytea) RETURNS bigint LANGUAGE sql VOLATILE
BEGIN ATOMIC
    SELECT count(*) FROM (
        SELECT capacity_planning.create_capacity_threshold(
                   p_tenant_hk, format('%s %s', d.resource_type, lower(v.kind))::varchar, d.resource_type, v.level, v.kind)
        FROM capacity_ops.default_threshold d
        CROSS JOIN LATERAL (VALUES ('WARNING'::varchar, d.warning), ('CRITICAL', d.critical)) AS v (kind, level)
        WHERE d.scope = CASE WHEN p_tenant_hk IS NULL THEN 'SYSTEM' ELSE 'TENANT' END
          AND NOT EXISTS (SELECT FROM capacity_planning.capacity_threshold_s t
                          WHERE t.load_end_date IS NULL AND t.tenant_hk IS NOT DISTINCT FROM p_tenant_hk
                            AND t.resource_type = d.resource_type AND t.threshold_type = v.kind)) made;
END;
COMMENT ON FUNCTION capacity_ops.create_default_thresholds(bytea) IS
    'Makes the default thresholds of a tenant (NULL: of the system) where it has none of that resource type and kind; how many were made.';

-- {name} in a template becomes the value of that key. Left to right, once: a value that holds {name} itself stays as it is.
CREATE OR REPLACE FUNCTION capacity_ops.render_template(p_template text, p_values jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT string_agg(literal.part || CASE WHEN p_values ? mark.name THEN coalesce(p_values ->> mark.name, 'unknown')
                                           ELSE coalesce('{' || mark.name || '}', '') END, '' ORDER BY n)
    FROM regexp_split_to_table(p_template, '\{[a-z0-9_]+\}') WITH ORDINALITY AS literal (part, n)
    LEFT JOIN LATERAL (SELECT m[1] AS name FROM regexp_matches(p_template, '\{([a-z0-9_]+)\}', 'g') WITH ORDINALITY AS r (m, i)
                       WHERE r.i = literal.n) mark ON true;
END;

-- What a message may say beside its threshold's own columns.
CREATE OR REPLACE FUNCTION capacity_ops.one_line(p_name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT regexp_replace(p_name, U&'[[:cntrl:]\2028\2029\202A-\202E\2066-\2069]+', ' ', 'g');
END;
COMMENT ON FUNCTION capacity_ops.one_line(text) IS 'A name that others gave, as a message may bear it: it ends no line and turns no text around.';

CREATE OR REPLACE FUNCTION capacity_ops.span(p_minutes numeric) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN round(p_minutes) = 1 THEN '1 minute'
                WHEN round(p_minutes) <= 120 THEN round(p_minutes) || ' minutes'
                WHEN p_minutes < 2880 THEN round(p_minutes / 60, 1) || ' hours'
                ELSE round(p_minutes / 1440, 1) || ' days' END;
END;
COMMENT ON FUNCTION capacity_ops.span(numeric) IS 'So many minutes in words: minutes up to two hours, hours up to two days, then days.';

CREATE OR REPLACE FUNCTION capacity_ops.message_values(
    p_condition text, p_resource_type text, p_resource_name text, p_tenant_hk bytea, p_level numeric, p_measure numeric, p_utilization numeric,
    p_current_value numeric, p_capacity numeric, p_unit text, p_measured_at timestamptz, p_probability numeric DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT jsonb_build_object('resource_type', p_resource_type, 'resource_name', capacity_ops.one_line(p_resource_name), 'tenant_id', capacity_ops.tenant_key(p_tenant_hk),
        'threshold_percentage', trim_scale(p_level), 'current_usage', round(p_utilization, 1), 'current_value', p_current_value,
        'capacity', p_capacity, 'unit', p_unit,
        'measurement_timestamp', to_char(p_measured_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
        'days_left', CASE WHEN p_condition = 'RUNWAY' THEN round(p_measure, 1) END,
        'runway', CASE WHEN p_condition = 'RUNWAY' THEN CASE
            WHEN p_utilization >= p_level THEN format('is past %s%% of its capacity already', trim_scale(p_level))
            ELSE format('will be at %s%% of its capacity %s, with a probability of %s%%', trim_scale(p_level),
                        CASE WHEN p_measure < 0.05 THEN 'any moment now' ELSE format('in %s days', round(p_measure, 1)) END, trim_scale(p_probability)) END END,
        'minutes_since', CASE WHEN p_condition = 'ABSENCE' THEN round(p_measure) END,
        'absence', CASE WHEN p_condition = 'ABSENCE' THEN capacity_ops.span(p_measure) END);
END;
COMMENT ON FUNCTION capacity_ops.message_values(text, text, text, bytea, numeric, numeric, numeric, numeric, numeric, text, timestamptz, numeric) IS
    'The placeholders of message templates that are no columns of capacity_threshold_s. current_usage is percent of capacity; runway and absence say in words what days_left and minutes_since count.';

-- One row a threshold and resource that it covers. Everything is joined by hashes, also where the planner knows nothing yet of
-- what was written a moment ago: with a hundred thousand thresholds a nested loop would be ruinous.
CREATE OR REPLACE FUNCTION capacity_ops.judged(p_tenant_hk bytea, p_as_of timestamptz)
RETURNS TABLE (capacity_threshold_hk bytea, resource_utilization_hk bytea, tenant_hk bytea, condition text, resource_type varchar, resource_name varchar,
               level numeric, measure numeric, utilization numeric, current_value numeric, capacity numeric, unit varchar,
               measurement_timestamp timestamptz, interval_seconds numeric, obstacle text, exceeded boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH newest AS MATERIALIZED (SELECT n.*, coalesce(n.tenant_hk, ''::bytea) AS owner FROM capacity_ops.newest(p_tenant_hk, p_as_of) n),
    threshold AS MATERIALIZED (
        SELECT t.capacity_threshold_hk, t.tenant_hk, coalesce(t.tenant_hk, ''::bytea) AS owner, t.resource_type, t.threshold_type, t.threshold_value,
               t.threshold_percentage, t.threshold_operator, t.threshold_probability
        FROM capacity_planning.capacity_threshold_s t
        WHERE t.load_end_date IS NULL AND t.is_active IS NOT FALSE AND (p_tenant_hk IS NULL OR t.tenant_hk = p_tenant_hk)
          AND (t.tenant_hk IS NULL OR t.tenant_hk IN (SELECT w.tenant_hk FROM capacity_ops.tenant w WHERE w.is_active)))
    SELECT v.capacity_threshold_hk, v.resource_utilization_hk, v.tenant_hk, 'LEVEL', v.resource_type, v.resource_name, v.threshold_percentage,
           v.utilization_percentage, v.utilization_percentage, v.current_value, v.capacity, v.unit, v.measurement_timestamp, v.interval_seconds,
           v.obstacle,
           CASE WHEN v.obstacle IS NOT NULL THEN NULL
                ELSE CASE v.threshold_operator
                    WHEN '>=' THEN v.utilization_percentage >= v.threshold_percentage
                    WHEN '>'  THEN v.utilization_percentage >  v.threshold_percentage
                    WHEN '<=' THEN v.utilization_percentage <= v.threshold_percentage
                    WHEN '<'  THEN v.utilization_percentage <  v.threshold_percentage END END
    FROM (SELECT t.*, n.resource_utilization_hk, n.resource_name, n.utilization_percentage, n.current_value, n.capacity, n.unit,
                 n.measurement_timestamp, n.interval_seconds,
                 CASE WHEN n.resource_name IS NULL THEN 'never measured'
                      WHEN n.is_stale THEN 'stale'
                      WHEN n.capacity IS NULL THEN 'capacity unknown'
                      WHEN t.threshold_percentage IS NULL THEN 'no level' END AS obstacle
          FROM threshold t
          LEFT JOIN newest n ON n.resource_type = t.resource_type AND n.owner = t.owner
          WHERE t.threshold_type NOT IN ('RUNWAY', 'ABSENCE')) v
    UNION ALL
    SELECT v.capacity_threshold_hk, v.resource_utilization_hk, v.tenant_hk, 'RUNWAY', coalesce(v.of_type, v.resource_type), v.resource_name, v.level,
           v.days, v.utilization_percentage, v.current_value, v.capacity, v.unit, v.measurement_timestamp, v.interval_seconds, v.obstacle,
           CASE WHEN v.obstacle IS NULL THEN coalesce(v.days <= v.threshold_value, false) END
    FROM (SELECT t.*, n.resource_utilization_hk, n.resource_type AS of_type, n.resource_name, n.utilization_percentage, n.current_value, n.capacity,
                 n.unit, n.measurement_timestamp, n.interval_seconds, l.level,
                 CASE WHEN n.utilization_percentage >= l.level THEN 0
                      WHEN f.days IS NOT NULL THEN greatest(0, f.days + extract(epoch FROM f.forecast_timestamp - p_as_of) / 86400) END AS days,
                 CASE WHEN n.resource_name IS NULL THEN 'never measured'
                      WHEN n.capacity IS NULL THEN 'capacity unknown'
                      WHEN l.level IS NULL THEN 'no level'
                      WHEN n.utilization_percentage >= l.level THEN NULL
                      WHEN l.name IS NULL THEN 'the level is not forecast'
                      WHEN f.method IS NULL AND t.threshold_probability = 50 THEN 'no forecast of the last 7 days'
                      WHEN f.method IS NULL THEN 'no forecast of method ENGINE of the last 7 days' END AS obstacle
          FROM threshold t
          LEFT JOIN newest n ON (n.resource_type = t.resource_type OR t.resource_type = 'ALL') AND n.owner = t.owner
          LEFT JOIN LATERAL (
              SELECT c.level, CASE c.level WHEN 100 THEN 'capacity' WHEN c.critical THEN 'critical' WHEN c.warning THEN 'warning' END AS name
              FROM (SELECT coalesce(t.threshold_percentage, o.critical) AS level, o.* FROM capacity_ops.levels(t.tenant_hk, n.resource_type) o) c) l ON true
          LEFT JOIN LATERAL (  -- the forecast that was known then; of two methods the one that capacity_ops.better_forecast takes
              SELECT s.method, s.forecast_timestamp,
                     CASE WHEN s.method = 'ENGINE' THEN (s.model_parameters #>> ARRAY['runway', l.name, 'p' || trim_scale(t.threshold_probability)])::numeric
                          WHEN l.name = 'capacity' THEN s.time_to_capacity_days
                          WHEN l.name = 'critical' THEN s.time_to_critical_days
                          ELSE s.time_to_warning_days END AS days
              FROM (VALUES ('ENGINE'), ('SQL')) AS m (method)
              CROSS JOIN LATERAL (
                  SELECT c.* FROM capacity_planning.capacity_forecast_s c
                  WHERE c.capacity_forecast_hk = capacity_ops.hash_key(capacity_ops.resource_key(n.resource_type, n.resource_name, n.tenant_hk) || '|' || m.method)
                    AND c.forecast_timestamp <= p_as_of
                  ORDER BY c.forecast_timestamp DESC, c.load_date DESC LIMIT 1) s
              WHERE s.forecast_model IS NOT NULL
                AND p_as_of - least(greatest(s.forecast_timestamp, s.last_model_training), p_as_of) <= interval '7 days'
                AND CASE WHEN s.method = 'ENGINE'  -- of this level of this capacity, and no other
                         THEN abs((s.model_parameters #>> ARRAY['runway', l.name, 'level'])::numeric - n.capacity * l.level / 100) <= n.capacity * 1e-6
                         ELSE t.threshold_probability = 50 AND s.current_capacity = n.capacity END
              ORDER BY s.confidence_level DESC NULLS LAST, (s.model_parameters ->> 'wape_30d')::numeric NULLS LAST, s.method DESC LIMIT 1) f ON true
          WHERE t.threshold_type = 'RUNWAY') v
    UNION ALL
    SELECT v.capacity_threshold_hk, v.resource_utilization_hk, v.tenant_hk, 'ABSENCE', coalesce(v.of_type, v.resource_type), v.resource_name, NULL,
           v.minutes, v.utilization_percentage, v.current_value, v.capacity, v.unit, v.measurement_timestamp, v.interval_seconds,
           CASE WHEN v.resource_name IS NULL THEN 'never measured' END, v.minutes > v.threshold_value
    FROM (SELECT t.*, n.resource_utilization_hk, n.resource_type AS of_type, n.resource_name, n.utilization_percentage, n.current_value, n.capacity,
                 n.unit, n.measurement_timestamp, n.interval_seconds, extract(epoch FROM p_as_of - n.measurement_timestamp) / 60 AS minutes
          FROM threshold t
          LEFT JOIN newest n ON (n.resource_type = t.resource_type OR t.resource_type = 'ALL') AND n.owner = t.owner
          WHERE t.threshold_type = 'ABSENCE') v;
END;
COMMENT ON FUNCTION capacity_ops.judged(bytea, timestamptz) IS
    'What each active threshold says of each resource that it covers, by what was known at a time. measure: LEVEL percent of capacity, RUNWAY days until the level is reached (NULL: not in sight), ABSENCE minutes since the newest measurement. exceeded is NULL where no verdict is possible, and obstacle says why.';

CREATE OR REPLACE FUNCTION capacity_ops.verdicts(p_tenant_hk bytea, p_as_of timestamptz)
RETURNS TABLE (threshold_name varchar, resource_type varchar, current_utilization numeric, threshold_percentage numeric,
               threshold_exceeded boolean, alert_severity varchar, recommended_action text,
               tenant_hk bytea, resource_name varchar, current_usage numeric, capacity numeric, unit varchar,
               measurement_timestamp timestamptz, alert_message text, verdict_reason text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT t.threshold_name, j.resource_type, round(j.utilization, 2), j.level, j.exceeded,
           CASE WHEN j.exceeded THEN t.alert_severity WHEN NOT j.exceeded THEN 'NORMAL' ELSE 'UNKNOWN' END,
           CASE
               WHEN j.obstacle = 'never measured' THEN
                   format('No verdict: %s has not been measured here. What a capture leaves out it says in a NOTICE.', j.resource_type)
               WHEN j.obstacle = 'stale' THEN
                   format('No verdict: last measured at %s UTC, more than three intervals of %s minutes ago. Check the capture schedule.',
                          to_char(j.measurement_timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), round(j.interval_seconds / 60))
               WHEN j.obstacle = 'capacity unknown' THEN
                   format('No verdict: the capacity of %s %s is unknown. Register it: SELECT capacity_ops.register_capacity(%s, %L, %L, <%s>, %L);',
                          j.resource_type, j.resource_name, coalesce(quote_literal(j.tenant_hk) || '::bytea', 'NULL'),
                          j.resource_type, j.resource_name, j.unit, j.unit)
               WHEN j.obstacle = 'no level' THEN 'No verdict: the threshold names no level, and there is no CRITICAL one to take its place.'
               WHEN j.obstacle = 'the level is not forecast' THEN
                   format('No verdict: forecasts are of the WARNING and CRITICAL levels and of 100%%, not of %s%%.', trim_scale(j.level))
               WHEN j.condition = 'RUNWAY' AND j.obstacle IS NOT NULL THEN
                   format('No verdict: %s. Run capacity analyze%s.', j.obstacle, CASE WHEN j.obstacle LIKE '%ENGINE%' THEN ' --engine local' END)
               WHEN j.condition = 'RUNWAY' THEN CASE
                   WHEN j.measure IS NULL THEN format('None: %s%% of the capacity is not in sight.', trim_scale(j.level))
                   WHEN j.utilization >= j.level THEN format('The level of %s%% is past already: free or add capacity.', trim_scale(j.level))
                   ELSE format('%s%s%% of the capacity %s reached %s with a probability of %s%%.%s', CASE WHEN NOT j.exceeded THEN 'None: ' END,
                               trim_scale(j.level), CASE WHEN j.exceeded THEN 'will be' ELSE 'is' END,
                               CASE WHEN j.measure < 0.05 THEN 'any moment now' ELSE format('in %s days', round(j.measure, 1)) END,
                               trim_scale(t.threshold_probability), CASE WHEN j.exceeded THEN ' Free or add capacity before then.' END) END
               WHEN j.condition = 'ABSENCE' THEN
                   CASE WHEN j.exceeded THEN format('Not measured for %s. Check the capture schedule.', capacity_ops.span(j.measure))
                        ELSE format('None: last measured %s ago.', capacity_ops.span(j.measure)) END
               WHEN j.exceeded THEN
                   format('%s: free or add capacity.', CASE
                       WHEN j.utilization >= 100 THEN 'Capacity is exhausted'
                       WHEN f.time_to_capacity_days IS NOT NULL THEN format('At the present growth capacity is reached in %s days', f.time_to_capacity_days)
                       ELSE 'No growth towards capacity is recorded, the level itself is past' END)
               ELSE 'None.' END,
           j.tenant_hk, j.resource_name, j.current_value, j.capacity, j.unit, j.measurement_timestamp,
           m.message, j.obstacle
    FROM capacity_ops.judged(p_tenant_hk, p_as_of) j
    JOIN capacity_planning.capacity_threshold_s t ON t.capacity_threshold_hk = j.capacity_threshold_hk AND t.load_end_date IS NULL
    LEFT JOIN LATERAL (
        SELECT s.time_to_capacity_days FROM capacity_planning.capacity_forecast_s s
        WHERE s.load_end_date IS NULL AND s.capacity_forecast_hk = CASE WHEN j.exceeded AND j.condition = 'LEVEL'
            THEN capacity_ops.hash_key(capacity_ops.resource_key(j.resource_type, j.resource_name, j.tenant_hk) || '|SQL') END) f ON true
    LEFT JOIN LATERAL (  -- looked up again, so that the join above does not carry every threshold's every column
        SELECT capacity_ops.render_template(s.alert_message_template, to_jsonb(s) || capacity_ops.message_values(
                   j.condition, j.resource_type, j.resource_name, j.tenant_hk, j.level, j.measure, j.utilization,
                   j.current_value, j.capacity, j.unit, j.measurement_timestamp, s.threshold_probability)) AS message
        FROM capacity_planning.capacity_threshold_s s
        WHERE s.capacity_threshold_hk = CASE WHEN j.exceeded THEN j.capacity_threshold_hk END AND s.load_end_date IS NULL OFFSET 0) m ON true
    ORDER BY j.exceeded DESC NULLS LAST, j.utilization DESC NULLS LAST, j.tenant_hk NULLS FIRST,
             j.resource_type, j.resource_name, j.level DESC, t.threshold_name;
END;
DROP FUNCTION IF EXISTS capacity_ops.message_values(text, text, text, bytea, numeric, numeric, numeric, numeric, numeric, text, timestamptz);  -- before it knew of probability
COMMENT ON FUNCTION capacity_ops.verdicts(bytea, timestamptz) IS
    'What evaluate_capacity_thresholds returns, without recording anything.';

CREATE OR REPLACE FUNCTION capacity_planning.evaluate_capacity_thresholds(p_tenant_hk bytea DEFAULT NULL, p_as_of timestamptz DEFAULT NULL)
RETURNS TABLE (threshold_name varchar, resource_type varchar, current_utilization numeric, threshold_percentage numeric,
               threshold_exceeded boolean, alert_severity varchar, recommended_action text,
               tenant_hk bytea, resource_name varchar, current_usage numeric, capacity numeric, unit varchar,
               measurement_timestamp timestamptz, alert_message text, verdict_reason text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_nestloop = off SET enable_mergejoin = off SET work_mem = '64MB' AS $$
DECLARE
    v_at timestamptz := coalesce(p_as_of, clock_timestamp());
BEGIN
    -- A later step records what follows from the verdicts. One that may only read gets them alone.
    IF current_setting('transaction_read_only') = 'off'
       AND to_regprocedure('capacity_alerting.record_evaluation(bytea, timestamptz, boolean)') IS NOT NULL THEN
        EXECUTE 'SELECT capacity_alerting.record_evaluation($1, $2, $3)' INTO v_at USING p_tenant_hk, v_at, p_as_of IS NULL;
    END IF;
    RETURN QUERY SELECT * FROM capacity_ops.verdicts(p_tenant_hk, v_at);
END
$$;
COMMENT ON FUNCTION capacity_planning.evaluate_capacity_thresholds(bytea, timestamptz) IS
    'A verdict for each active threshold and each resource it covers, by the newest measurement at p_as_of (RUNWAY: by the forecast known then). threshold_exceeded is NULL where no verdict is possible, and verdict_reason says why. Where step 14 is, episodes, alerts and notifications that follow are recorded in the same transaction; in a read-only one the verdicts come alone. What one evaluation raises is grouped into one message: called tenant by tenant, each tenant is a message of its own.';

---------------------------------------------------------------------------------------------------------------------
-- Capture: what this server, and each tenant, uses now
---------------------------------------------------------------------------------------------------------------------

-- Two readings of a cumulative counter: the one before comes back, the new one is kept.
CREATE OR REPLACE FUNCTION capacity_ops.read_counter(p_name text, p_at timestamptz, p_value jsonb, p_keep boolean)
RETURNS TABLE (measured_at timestamptz, value jsonb) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_server bigint := coalesce(capacity_ops.server_identifier(), 0);
BEGIN
    RETURN QUERY SELECT c.measured_at, c.value FROM capacity_ops.counter c WHERE c.system_identifier = v_server AND c.name = p_name;
    IF p_keep THEN
        INSERT INTO capacity_ops.counter AS c (system_identifier, name, measured_at, value) VALUES (v_server, p_name, p_at, p_value)
        ON CONFLICT (system_identifier, name) DO UPDATE SET measured_at = excluded.measured_at, value = excluded.value;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION capacity_ops.measure_system(p_at timestamptz, p_keep boolean)
RETURNS TABLE (resource_type text, resource_name text, resource_category text, current_value numeric, unit text,
               capacity numeric, method text, metrics jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_sees_all boolean := pg_has_role('pg_read_all_stats', 'USAGE');
    v_value jsonb;
    v_before record;
    v_seconds numeric;
    v_text text;
    v_count bigint;
    -- A server stops assigning IDs 3 million before the wraparound at 2^31 (xidStopLimit, multiStopLimit).
    v_wraparound constant numeric := 2147483647 - 3000000;
BEGIN
    -- STORAGE
    BEGIN
        IF v_sees_all OR NOT EXISTS (SELECT FROM pg_database WHERE NOT has_database_privilege(oid, 'CONNECT')) THEN
            RETURN QUERY SELECT 'STORAGE', 'cluster', 'DATABASE', sum(pg_database_size(oid)), 'bytes', NULL::numeric,
                'sum of pg_database_size over all databases',
                jsonb_build_object('databases', jsonb_object_agg(datname, pg_database_size(oid))) FROM pg_database;
        ELSE
            RAISE NOTICE 'STORAGE left out: this role may not size every database; GRANT pg_read_all_stats to it';
        END IF;
    EXCEPTION WHEN invalid_catalog_name OR undefined_object OR undefined_file THEN
        RAISE NOTICE 'STORAGE left out: a database was dropped meanwhile (%)', SQLERRM;
    END;

    -- CONNECTIONS: against what is granted to others than superusers.
    RETURN QUERY SELECT 'CONNECTIONS', 'client backends', 'DATABASE', c.used::numeric, 'connections',
        current_setting('max_connections')::numeric - current_setting('superuser_reserved_connections')::numeric
            - coalesce(current_setting('reserved_connections', true)::numeric, 0),
        c.method, NULL::jsonb
    FROM (SELECT count(*), 'client backends in pg_stat_activity' FROM pg_stat_activity WHERE v_sees_all AND backend_type = 'client backend'
          HAVING v_sees_all
          UNION ALL
          SELECT sum(numbackends), 'sum of numbackends in pg_stat_database: with workers, an upper bound' FROM pg_stat_database
          HAVING NOT v_sees_all) c (used, method);

    -- TRANSACTIONS: the rate since the previous capture; a database whose counters were reset meanwhile is not counted.
    SELECT jsonb_object_agg(datid::text, jsonb_build_array(xact_commit + xact_rollback, stats_reset)) INTO v_value
    FROM pg_stat_database WHERE datid <> 0;
    SELECT * INTO v_before FROM capacity_ops.read_counter('TRANSACTIONS', p_at, v_value, p_keep);
    v_seconds := extract(epoch FROM p_at - v_before.measured_at);
    IF v_before IS NULL OR v_seconds IS NULL THEN
        RAISE NOTICE 'TRANSACTIONS left out: a rate needs two readings, this was the first';
    ELSIF v_seconds < 1 THEN
        RAISE NOTICE 'TRANSACTIONS left out: less than a second since the reading before';
    ELSE
        RETURN QUERY
        WITH change AS (
            SELECT (now.value ->> 0)::numeric - (old.value ->> 0)::numeric AS transactions,
                   now.value -> 1 IS NOT DISTINCT FROM old.value -> 1 AND (now.value ->> 0)::numeric >= (old.value ->> 0)::numeric AS is_sound
            FROM jsonb_each(v_value) now JOIN jsonb_each(v_before.value) old USING (key))
        SELECT 'TRANSACTIONS', 'cluster', 'DATABASE', round(sum(transactions) FILTER (WHERE is_sound) / v_seconds, 4), 'transactions/s', NULL::numeric,
               'commits and rollbacks in pg_stat_database since the previous capture',
               jsonb_build_object('seconds', round(v_seconds, 3), 'databases_reset', count(*) FILTER (WHERE NOT is_sound))
        FROM change HAVING bool_or(is_sound);
        IF NOT FOUND THEN
            RAISE NOTICE 'TRANSACTIONS left out: the statistics were reset since the reading before';
        END IF;
    END IF;

    -- USERS: against the sum of what active tenants are granted, where every one has a limit.
    BEGIN
        RETURN QUERY SELECT 'USERS', 'platform users', 'PLATFORM', (SELECT count(*) FROM auth.user_h)::numeric, 'users',
            (SELECT sum(max_users) FROM capacity_ops.tenant WHERE is_active AND NOT is_simulated
             HAVING bool_and(max_users > 0 IS TRUE))::numeric,  -- 0 or less is no limit
            'rows of auth.user_h against the active tenants'' max_users', NULL::jsonb;
    EXCEPTION WHEN insufficient_privilege THEN
        RAISE NOTICE 'USERS left out: %', SQLERRM;
    END;

    -- TRANSACTION_ID, MULTIXACT
    RETURN QUERY SELECT 'TRANSACTION_ID', 'oldest database', 'DATABASE', age(datfrozenxid)::numeric, 'transactions', v_wraparound,
        'age(datfrozenxid), the oldest of all databases', jsonb_build_object('database', datname)
    FROM pg_database ORDER BY age(datfrozenxid) DESC, datname LIMIT 1;
    RETURN QUERY SELECT 'MULTIXACT', 'oldest database', 'DATABASE', mxid_age(datminmxid)::numeric, 'multixacts', v_wraparound,
        'mxid_age(datminmxid), the oldest of all databases', jsonb_build_object('database', datname)
    FROM pg_database ORDER BY mxid_age(datminmxid) DESC, datname LIMIT 1;

    -- SEQUENCES: values used of those that the narrowest column fed by the sequence can hold.
    BEGIN
        RETURN QUERY
        WITH sequence AS (
            SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, s.seqincrement > 0 AS ascends, s.seqmin, s.seqmax, s.seqtypid,
                   pg_sequence_last_value(c.oid)::numeric AS last
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid
            WHERE CASE WHEN c.relkind = 'S' AND c.relpersistence <> 't' AND NOT s.seqcycle THEN has_sequence_privilege(c.oid, 'SELECT, USAGE') END),
        fed AS (  -- by ownership (serial, identity) or by a column default
            SELECT d.objid AS oid, a.atttypid, format('%s.%I', a.attrelid::regclass, a.attname) AS column
            FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
            UNION
            SELECT d.refobjid, a.atttypid, format('%s.%I', a.attrelid::regclass, a.attname)
            FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
            WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass),
        filled AS (
            SELECT s.name, f.column, t.type::regtype::text AS type,
                   CASE WHEN s.last IS NULL THEN 0 WHEN s.ascends THEN s.last - s.seqmin + 1 ELSE s.seqmax - s.last + 1 END AS used,
                   CASE WHEN s.ascends THEN least(s.seqmax, edge.high) - s.seqmin + 1 ELSE s.seqmax - greatest(s.seqmin, edge.low) + 1 END AS room
            FROM sequence s LEFT JOIN fed f USING (oid)
            CROSS JOIN LATERAL (SELECT coalesce(f.atttypid, s.seqtypid) AS type) t
            CROSS JOIN LATERAL (SELECT CASE t.type WHEN 'int2'::regtype THEN 32767::numeric WHEN 'int4'::regtype THEN 2147483647
                                              ELSE 9223372036854775807 END AS high,
                                       CASE t.type WHEN 'int2'::regtype THEN -32768::numeric WHEN 'int4'::regtype THEN -2147483648
                                              ELSE -9223372036854775808 END AS low) edge)
        SELECT 'SEQUENCES', 'fullest', 'DATABASE', used, 'values', room, 'pg_sequence_last_value against the column''s type',
               jsonb_build_object('sequence', name, 'column', filled.column, 'type', type)
        FROM filled WHERE room > 0 ORDER BY used / room DESC, name LIMIT 1;
    EXCEPTION WHEN lock_not_available THEN
        RAISE NOTICE 'SEQUENCES left out: one of them is locked by another session';
    END;
    SELECT count(*) INTO v_count FROM pg_class
    WHERE CASE WHEN relkind = 'S' AND relpersistence <> 't' THEN NOT has_sequence_privilege(oid, 'SELECT, USAGE') END;
    IF v_count > 0 THEN
        RAISE NOTICE 'SEQUENCES: % of them may not be read by this role and are left out', v_count;
    END IF;

    -- WAL, and what replication slots hold back of it
    IF has_function_privilege('pg_ls_waldir()', 'EXECUTE') THEN
        RETURN QUERY SELECT 'WAL', 'pg_wal', 'DATABASE', sum(size), 'bytes', NULL::numeric, 'sum of pg_ls_waldir', NULL::jsonb FROM pg_ls_waldir();
    ELSE
        RAISE NOTICE 'WAL left out: this role may not call pg_ls_waldir(); GRANT pg_monitor to it';
    END IF;
    RETURN QUERY SELECT 'REPLICATION_SLOT', s.slot_name::text, 'DATABASE', greatest(0, pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)), 'bytes',
        CASE WHEN current_setting('max_slot_wal_keep_size') NOT IN ('-1', '0') THEN pg_size_bytes(current_setting('max_slot_wal_keep_size'))::numeric END,
        'WAL since the slot''s restart_lsn against max_slot_wal_keep_size', jsonb_build_object('active', s.active, 'slot_type', s.slot_type)
    FROM pg_replication_slots s WHERE s.restart_lsn IS NOT NULL;

    -- MEMORY, CPU of the server's host, where the role may read its files
    IF NOT (has_function_privilege('pg_read_file(text)', 'EXECUTE') AND pg_has_role('pg_read_server_files', 'USAGE')) THEN
        RAISE NOTICE 'MEMORY and CPU left out: this role may not read the host''s files; the workbench reads them where it runs on the host';
        RETURN;
    END IF;
    BEGIN
        v_text := pg_read_file('/proc/meminfo');
        RETURN QUERY SELECT 'MEMORY', 'host', 'HOST', (m.total - m.available) * 1024, 'bytes', m.total * 1024,
            'MemTotal - MemAvailable of the host''s /proc/meminfo', NULL::jsonb
        FROM (SELECT substring(v_text FROM 'MemTotal: +(\d+) kB')::numeric, substring(v_text FROM 'MemAvailable: +(\d+) kB')::numeric) m (total, available)
        WHERE m.total > 0 AND m.available IS NOT NULL;

        -- /proc/stat: user nice system idle iowait irq softirq steal …, in ticks over all processors
        v_text := pg_read_file('/proc/stat');
        SELECT jsonb_build_object('total', sum(ticks), 'idle', sum(ticks) FILTER (WHERE n IN (4, 5)),
                                  'cores', (SELECT count(*) FROM regexp_matches(v_text, '^cpu\d+ ', 'gn'))) INTO v_value
        FROM (SELECT t::numeric, row_number() OVER () FROM regexp_split_to_table(substring(v_text FROM '^cpu +([\d ]+)'), ' +')
              WITH ORDINALITY AS s (t, i) WHERE t <> '' AND i <= 8) field (ticks, n);
        SELECT * INTO v_before FROM capacity_ops.read_counter('CPU', p_at, v_value, p_keep);
        IF v_before.value IS NULL THEN
            RAISE NOTICE 'CPU left out: a rate needs two readings, this was the first';
        ELSIF p_at - v_before.measured_at < interval '1 second' OR (v_value ->> 'total')::numeric <= (v_before.value ->> 'total')::numeric THEN
            RAISE NOTICE 'CPU left out: less than a second since the reading before, or the host was restarted';
        ELSE
            RETURN QUERY SELECT 'CPU', 'host', 'HOST',
                round((v_value ->> 'cores')::numeric * greatest(0, 1 - ((v_value ->> 'idle')::numeric - (v_before.value ->> 'idle')::numeric)
                    / ((v_value ->> 'total')::numeric - (v_before.value ->> 'total')::numeric)), 4),
                'cores', (v_value ->> 'cores')::numeric, 'busy ticks of the host''s /proc/stat since the previous capture', NULL::jsonb;
        END IF;
    EXCEPTION WHEN undefined_file OR insufficient_privilege OR io_error OR invalid_parameter_value THEN
        RAISE NOTICE 'MEMORY and CPU left out: %', SQLERRM;
    END;
END
$$;

-- What each tenant (or one) can be shown to own: users, and rows of every table with a tenant_hk and what they occupy.
-- One pass over each table for all tenants together; past tenant_scan_bytes in all, an even sample of pages.
CREATE OR REPLACE FUNCTION capacity_ops.measure_tenants(p_tenant_hk bytea)
RETURNS TABLE (tenant_hk bytea, resource_type text, resource_name text, resource_category text, current_value numeric, unit text,
               capacity numeric, method text, metrics jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_sql text;
    v_left_out text;
    v_tables bigint;
    v_percent numeric;
BEGIN
    IF has_table_privilege('auth.user_h', 'SELECT') THEN
        RETURN QUERY SELECT t.tenant_hk, 'USERS', 'users', 'TENANT', count(u.user_hk)::numeric, 'users', CASE WHEN t.max_users > 0 THEN t.max_users END::numeric,
            'rows of auth.user_h against the tenant''s max_users', NULL::jsonb
        FROM capacity_ops.tenant t LEFT JOIN auth.user_h u USING (tenant_hk)
        WHERE t.is_active AND NOT t.is_simulated AND (p_tenant_hk IS NULL OR t.tenant_hk = p_tenant_hk)
        GROUP BY t.tenant_hk, t.max_users;
    ELSE
        RAISE NOTICE 'USERS of tenants left out: this role may not read auth.user_h';
    END IF;

    BEGIN
        WITH candidate AS (
            SELECT c.oid, n.nspname, c.relname, pg_table_size(c.oid) AS size,
                   has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE') AND NOT row_security_active(c.oid) AS readable
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_hk' AND a.atttypid = 'bytea'::regtype AND NOT a.attisdropped
            WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT IN ('capacity_planning', 'capacity_ops', 'pg_catalog', 'information_schema')),
        sampled AS (
            SELECT *, least(100, 100 * capacity_ops.setting('tenant_scan_bytes') / nullif(sum(size) FILTER (WHERE readable) OVER (), 0)) AS percent FROM candidate)
        SELECT string_agg(format('SELECT tenant_hk, count(*) * %s AS owned, sum(28 + %s) * %s AS bytes FROM ONLY %I.%I%s GROUP BY 1',
                                 100 / percent, sizes.sum, 100 / percent, nspname, relname,
                                 CASE WHEN percent < 100 THEN format(' TABLESAMPLE SYSTEM (%s) REPEATABLE (0)', round(percent, 4)) ELSE '' END),
                          ' UNION ALL ') FILTER (WHERE readable),
               string_agg(format('%I.%I', nspname, relname), ', ') FILTER (WHERE NOT readable),
               count(*) FILTER (WHERE readable), min(percent)
        INTO v_sql, v_left_out, v_tables, v_percent
        FROM sampled
        CROSS JOIN LATERAL (SELECT string_agg(format('coalesce(pg_column_size(%I), 0)', attname), ' + ') AS sum
                            FROM pg_attribute WHERE attrelid = sampled.oid AND attnum > 0 AND NOT attisdropped) sizes;
        IF v_left_out IS NOT NULL THEN
            RAISE NOTICE 'ROWS and STORAGE of tenants: without %, which this role may not read whole', v_left_out;
        END IF;
        IF v_sql IS NULL THEN
            RAISE NOTICE 'ROWS and STORAGE of tenants left out: no readable table has a tenant_hk';
            RETURN;
        END IF;
        RETURN QUERY EXECUTE format($query$
            WITH owned AS (SELECT tenant_hk, sum(owned) AS owned, sum(bytes) AS bytes FROM (%s) each_table GROUP BY 1)
            SELECT t.tenant_hk, v.resource_type, 'owned rows', 'TENANT', round(coalesce(v.value, 0)), v.unit, NULL::numeric, v.method || $2, jsonb_build_object('tables', $3)
            FROM capacity_ops.tenant t LEFT JOIN owned o USING (tenant_hk)
            CROSS JOIN LATERAL (VALUES ('ROWS', o.owned, 'rows', 'rows with the tenant''s key'),
                                       ('STORAGE', o.bytes, 'bytes', 'pg_column_size of those rows and their headers')) v (resource_type, value, unit, method)
            WHERE t.is_active AND NOT t.is_simulated AND ($1 IS NULL OR t.tenant_hk = $1)$query$, v_sql)
        USING p_tenant_hk, CASE WHEN v_percent < 100 THEN format(', %s %% of the pages sampled', round(v_percent, 2)) ELSE ', all counted' END, v_tables;
    EXCEPTION WHEN lock_not_available THEN
        RAISE NOTICE 'ROWS and STORAGE of tenants left out: a table of theirs is locked by another session';
    END;
END
$$;

DROP FUNCTION IF EXISTS capacity_planning.capture_resource_utilization(bytea);  -- its form without p_measured
CREATE OR REPLACE FUNCTION capacity_planning.capture_resource_utilization(p_tenant_hk bytea DEFAULT NULL, p_measured jsonb DEFAULT NULL)
RETURNS TABLE (resource_type varchar, current_usage numeric, capacity numeric, utilization_percentage numeric, status varchar,
               tenant_hk bytea, resource_name varchar, unit varchar, measurement_method varchar)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
#variable_conflict use_column
DECLARE
    v_at timestamptz;
    v_recording boolean;
    v_server bigint := capacity_ops.server_identifier();
    v_own bigint[] := capacity_ops.own_servers();
    v_other bigint;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this server is a standby and cannot record: capture on its primary';
    END IF;
    PERFORM capacity_ops.require_tenant(p_tenant_hk);
    IF NOT capacity_ops.is_watched(p_tenant_hk) THEN
        RAISE NOTICE 'tenant % is inactive: nothing is captured, its history stays', encode(p_tenant_hk, 'hex');
        RETURN;
    ELSIF EXISTS (SELECT FROM capacity_ops.tenant t WHERE t.tenant_hk = p_tenant_hk AND t.is_simulated) THEN
        RAISE NOTICE 'tenant % is simulated: there is nothing of it to measure', encode(p_tenant_hk, 'hex');
        RETURN;
    END IF;
    v_recording := capacity_ops.begin_recording('capture');
    v_at := clock_timestamp();  -- after the wait, so that captures follow each other in time as they do in effect
    IF v_server IS NULL THEN
        RAISE NOTICE 'measurements are recorded without the server''s identifier: this role may not call pg_control_system()';
    ELSE
        SELECT s.system_identifier INTO v_other FROM capacity_planning.resource_utilization_s s
        WHERE s.resource_utilization_hk = capacity_ops.hash_key(capacity_ops.resource_key('TRANSACTION_ID', 'oldest database', NULL))
          AND s.load_end_date IS NULL AND s.system_identifier <> ALL (v_own) ORDER BY s.measurement_timestamp DESC LIMIT 1;
        IF FOUND THEN
            RAISE NOTICE 'this database holds measurements of server %, and this is %: they are kept, and not taken for this server''s. After a migration: SELECT capacity_ops.adopt_server(%)',
                v_other, v_server, v_other;
        END IF;
    END IF;

    RETURN QUERY
    WITH system AS MATERIALIZED (
        SELECT NULL::bytea AS tenant_hk, m.*, 'capacity_planning.capture' AS source
        FROM capacity_ops.measure_system(v_at, v_recording) m WHERE p_tenant_hk IS NULL),
    measured AS MATERIALIZED (
        SELECT * FROM system
        UNION ALL  -- what the caller measured of the host, where the server could not
        SELECT NULL, x.resource_type, x.resource_name, 'HOST', x.current_value, x.unit, x.capacity, x.method, NULL, x.source
        FROM jsonb_to_recordset(p_measured) AS x (resource_type text, resource_name text, current_value numeric, unit text, capacity numeric, method text, source text)
        WHERE p_tenant_hk IS NULL AND x.resource_type NOT IN (SELECT resource_type FROM system)
        UNION ALL
        SELECT m.*, 'capacity_planning.capture' FROM capacity_ops.measure_tenants(p_tenant_hk) m WHERE v_recording OR p_tenant_hk IS NOT NULL),
    keyed AS (
        SELECT m.*, k.bk, capacity_ops.hash_key(k.bk) AS hk, CASE WHEN m.capacity > 0 AND m.capacity < 'Infinity' THEN m.capacity END AS own
        FROM measured m CROSS JOIN LATERAL (SELECT capacity_ops.resource_key(m.resource_type, m.resource_name, m.tenant_hk) AS bk) k),
    judged AS (
        SELECT k.*, c.capacity AS known, k.current_value / c.capacity * 100 AS utilization, l.warning, l.critical,
               capacity_ops.status(k.current_value / c.capacity * 100, l.warning, l.critical) AS status
        FROM keyed k
        CROSS JOIN LATERAL (SELECT coalesce(k.own, capacity_ops.capacity_at(k.tenant_hk, k.resource_type, k.resource_name, v_at)) AS capacity) c
        CROSS JOIN LATERAL capacity_ops.levels(k.tenant_hk, k.resource_type) l),
    hub AS (
        INSERT INTO capacity_planning.resource_utilization_h (resource_utilization_hk, resource_utilization_bk, load_date, record_source)
        SELECT hk, bk, v_at, source FROM keyed WHERE v_recording ON CONFLICT DO NOTHING),
    recorded AS (
        INSERT INTO capacity_planning.resource_utilization_s (
            resource_utilization_hk, load_date, hash_diff, tenant_hk, measurement_timestamp, resource_type, resource_name, resource_category,
            current_value, unit, maximum_capacity, utilization_percentage,
            peak_value_24h, average_value_24h, minimum_value_24h, peak_value_7d, average_value_7d, minimum_value_7d,
            peak_value_30d, average_value_30d, minimum_value_30d, threshold_warning, threshold_critical, threshold_maximum, status,
            measurement_source, measurement_method, measurement_latency_ms, related_metrics, monitoring_frequency_seconds,
            data_quality_score, system_identifier, record_source)
        SELECT j.hk, v_at, sha256(convert_to(concat_ws('|', j.current_value, j.own, j.unit), 'UTF8')), j.tenant_hk, v_at,
               j.resource_type, j.resource_name, j.resource_category, j.current_value, j.unit, j.own, round(j.utilization, 6),
               greatest(p.peak_24h, j.current_value), (coalesce(p.sum_24h, 0) + j.current_value) / (p.n_24h + 1), least(p.minimum_24h, j.current_value),
               greatest(p.peak_7d, j.current_value), (coalesce(p.sum_7d, 0) + j.current_value) / (p.n_7d + 1), least(p.minimum_7d, j.current_value),
               greatest(p.peak_30d, j.current_value), (coalesce(p.sum_30d, 0) + j.current_value) / (p.n_30d + 1), least(p.minimum_30d, j.current_value),
               j.known * j.warning / 100, j.known * j.critical / 100, j.known, j.status,
               CASE j.source WHEN 'capacity_planning.capture' THEN 'PostgreSQL ' || current_setting('server_version') ELSE j.source END, j.method,
               round(1000 * extract(epoch FROM clock_timestamp() - v_at)), j.metrics, capacity_ops.setting('monitoring_interval_seconds'),
               q.score, v_server, j.source
        FROM judged j
        CROSS JOIN LATERAL (
            SELECT max(s.current_value) FILTER (WHERE d.day) AS peak_24h, max(s.current_value) FILTER (WHERE d.week) AS peak_7d, max(s.current_value) AS peak_30d,
                   min(s.current_value) FILTER (WHERE d.day) AS minimum_24h, min(s.current_value) FILTER (WHERE d.week) AS minimum_7d, min(s.current_value) AS minimum_30d,
                   sum(s.current_value) FILTER (WHERE d.day) AS sum_24h, sum(s.current_value) FILTER (WHERE d.week) AS sum_7d, sum(s.current_value) AS sum_30d,
                   count(*) FILTER (WHERE d.day) AS n_24h, count(*) FILTER (WHERE d.week) AS n_7d, count(*) AS n_30d
            FROM capacity_planning.resource_utilization_s s
            CROSS JOIN LATERAL (SELECT s.measurement_timestamp > v_at - interval '24 hours' AS day, s.measurement_timestamp > v_at - interval '7 days' AS week) d
            WHERE s.resource_utilization_hk = j.hk AND s.load_end_date IS NULL AND (s.system_identifier IS NULL OR s.system_identifier = ANY (v_own))
              AND s.measurement_timestamp > v_at - interval '30 days' AND s.measurement_timestamp <= v_at) p
        LEFT JOIN LATERAL capacity_ops.data_quality(j.hk, v_at, interval '24 hours') q ON true
        WHERE v_recording)
    SELECT j.resource_type::varchar, j.current_value, j.known, round(j.utilization, 4), j.status::varchar,
           j.tenant_hk, j.resource_name::varchar, j.unit::varchar, j.method::varchar
    FROM judged j WHERE j.tenant_hk IS NOT DISTINCT FROM p_tenant_hk
    ORDER BY j.resource_type, j.resource_name;
END
$$;
COMMENT ON FUNCTION capacity_planning.capture_resource_utilization(bytea, jsonb) IS
    'Measures and records what is used now: NULL the system and every active tenant (the system''s rows come back), else one tenant. What cannot be measured here is left out with a NOTICE that says why; p_measured may bring what a program on the host measured: [{resource_type, resource_name, current_value, unit, capacity, method, source}].';

---------------------------------------------------------------------------------------------------------------------
-- Views that the platform's clients read
---------------------------------------------------------------------------------------------------------------------
CREATE OR REPLACE VIEW capacity_planning.current_capacity_status AS
SELECT DISTINCT ON (n.tenant_hk, n.resource_type)
       capacity_ops.tenant_key(n.tenant_hk) AS tenant_id, n.resource_type, n.resource_category,
       n.current_value AS current_usage, n.capacity AS total_capacity, round(n.utilization_percentage, 4) AS utilization_percentage,
       day.peak AS peak_24h, day.average AS average_24h, n.measurement_timestamp AS last_measurement,
       capacity_ops.status(CASE WHEN NOT n.is_stale THEN n.utilization_percentage END, l.warning, l.critical) AS status,
       stored.measurement_count, n.resource_name, n.unit, n.is_stale, n.record_source
FROM capacity_ops.newest(NULL, clock_timestamp()) n
CROSS JOIN LATERAL capacity_ops.levels(n.tenant_hk, n.resource_type) l
CROSS JOIN LATERAL (
    SELECT max(s.current_value) AS peak, avg(s.current_value) AS average FROM capacity_planning.resource_utilization_s s
    WHERE s.resource_utilization_hk = n.resource_utilization_hk AND s.load_end_date IS NULL
      AND s.measurement_timestamp > clock_timestamp() - interval '24 hours') day
CROSS JOIN LATERAL (
    SELECT count(*) AS measurement_count FROM capacity_planning.resource_utilization_s s
    WHERE s.resource_utilization_hk = n.resource_utilization_hk AND s.load_end_date IS NULL) stored
ORDER BY n.tenant_hk, n.resource_type, n.is_stale, n.utilization_percentage DESC NULLS LAST, n.resource_name;
COMMENT ON VIEW capacity_planning.current_capacity_status IS
    'One row a tenant and resource type: its fullest resource by the newest measurement. Status UNKNOWN: no capacity is known, or the measurement is stale.';

-- A method that nobody runs any more does not win by what it once was: both must be of about the same time.
CREATE OR REPLACE VIEW capacity_ops.better_forecast AS
SELECT DISTINCT ON (f.tenant_hk, f.resource_type, f.resource_name) f.*
FROM (SELECT s.*, max(coalesce((s.model_parameters ->> 'origin')::timestamptz, s.forecast_timestamp))
                      OVER (PARTITION BY s.tenant_hk, s.resource_type, s.resource_name)
                  - coalesce((s.model_parameters ->> 'origin')::timestamptz, s.forecast_timestamp) AS behind
      FROM capacity_planning.capacity_forecast_s s WHERE s.load_end_date IS NULL) f
WHERE f.behind <= interval '7 days'
ORDER BY f.tenant_hk, f.resource_type, f.resource_name, f.confidence_level DESC NULLS LAST,
         (f.model_parameters ->> 'wape_30d')::numeric NULLS LAST, f.forecast_model IS NULL, f.method DESC;
COMMENT ON VIEW capacity_ops.better_forecast IS
    'One row a resource: of its current forecasts of the last 7 days the one whose method erred less 30 days ahead in its backtest (confidence_level); where neither can say, method SQL.';

CREATE OR REPLACE VIEW capacity_planning.growth_forecast_summary AS
SELECT DISTINCT ON (f.tenant_hk, f.resource_type)
       capacity_ops.tenant_key(f.tenant_hk) AS tenant_id, f.resource_type, f.resource_category, f.current_usage,
       f.projected_usage_30d AS projected_30d, f.projected_usage_90d AS projected_90d,
       f.growth_rate_daily AS daily_growth_rate, f.growth_rate_monthly AS monthly_growth_rate,
       min(f.time_to_capacity_days) OVER type AS min_days_to_capacity, round(avg(f.confidence_level) OVER type, 2) AS avg_confidence,
       f.forecast_model, f.trend_direction, f.forecast_timestamp AS last_forecast, f.action_priority AS priority,
       f.resource_name, f.unit, f.method, f.recommended_action
FROM capacity_ops.better_forecast f
WINDOW type AS (PARTITION BY f.tenant_hk, f.resource_type)
ORDER BY f.tenant_hk, f.resource_type, f.utilization_percentage DESC NULLS LAST, f.resource_name;
COMMENT ON VIEW capacity_planning.growth_forecast_summary IS
    'One row a tenant and resource type: the better forecast of its fullest resource (capacity_ops.better_forecast), with the soonest exhaustion and the mean confidence over all resources of the type.';

CREATE OR REPLACE VIEW capacity_planning.capacity_alerts AS
SELECT capacity_ops.tenant_key(t.tenant_hk) AS tenant_id, t.threshold_name, t.resource_type, t.threshold_type, t.threshold_percentage,
       t.alert_severity, t.last_triggered_date, t.trigger_count_24h, t.trigger_count_7d, t.trigger_count_30d,
       t.average_resolution_time_minutes, t.false_positive_rate, t.true_positive_rate, t.threshold_effectiveness_score,
       round(t.trigger_count_30d / 30.0, 2) AS trigger_frequency, t.is_active IS NOT FALSE AS is_active
FROM capacity_planning.capacity_threshold_s t
WHERE t.load_end_date IS NULL AND capacity_ops.is_watched(t.tenant_hk);
COMMENT ON VIEW capacity_planning.capacity_alerts IS
    'Current thresholds of the system and of active tenants with what alerting found of them; trigger_frequency is triggers a day over 30 days. Counts and rates are NULL until alerting has results.';

-- The guide archives by INSERT … SELECT *; the archive keeps one copy of a version however often that runs.
CREATE OR REPLACE VIEW capacity_planning.capacity_forecast_archive AS SELECT * FROM capacity_ops.forecast_archive;
CREATE OR REPLACE FUNCTION capacity_ops.archive_forecast() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO capacity_ops.forecast_archive SELECT NEW.* ON CONFLICT (capacity_forecast_hk, load_date) DO NOTHING;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER archive_forecast INSTEAD OF INSERT ON capacity_planning.capacity_forecast_archive
    FOR EACH ROW EXECUTE FUNCTION capacity_ops.archive_forecast();

INSERT INTO capacity_ops.deployment (step, version, applied_at, applied_by)
VALUES (9, '0.1.0', clock_timestamp(), session_user)
ON CONFLICT (step) DO UPDATE SET version = excluded.version, applied_at = excluded.applied_at, applied_by = excluded.applied_by;

COMMIT;
