-- Step 12: forecasts that were made outside the database, by the kit's growth engine.
--
--   capacity_ops.engine_due               the resources that it has to look at, in the order of their keys
--   capacity_ops.record_engine_forecasts  its results as patterns and forecasts under method ENGINE, beside method SQL
--   capacity_ops.level_shifts             the level shifts that it found, with the evidence of the database
--   capacity_ops.engine_decisions         whether it announced the critical levels that were reached
--
-- Apply with psql -f after step 11; safe to apply again. One transaction: it is deployed whole or not at all.
BEGIN;
SELECT pg_advisory_xact_lock(hashtextextended('capacity_planning:deploy', 0));
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL lock_timeout = '30s';

DO $guard$
BEGIN
    IF to_regprocedure('capacity_ops.record_outlook(jsonb[])') IS NULL THEN
        RAISE EXCEPTION 'step 10 is missing here: apply step_10_growth_forecasting.sql first';
    ELSIF EXISTS (SELECT FROM capacity_ops.deployment WHERE step = 12 AND string_to_array(version, '.')::int[] > '{0,1,0}') THEN
        RAISE EXCEPTION 'this database holds a newer version of the engine''s forecasts than 0.1.0: nothing was changed';
    END IF;
END
$guard$;

DROP FUNCTION IF EXISTS capacity_ops.priority(numeric, numeric, numeric, numeric, integer, integer, integer, text);  -- one rule for both methods, in step 10

-- The newest measurement as capacity_ops.newest finds it, but hub by hub in the order of their keys: a page of resources
-- costs what the page holds, however many there are. Inlined by the planner, so that a LIMIT reaches the index.
DROP FUNCTION IF EXISTS capacity_ops.engine_due(bytea, boolean, text, timestamptz, boolean, bytea);  -- its columns may have changed
CREATE FUNCTION capacity_ops.engine_due(
    p_tenant_hk bytea, p_system_only boolean, p_resource_type text, p_as_of timestamptz, p_again boolean, p_after bytea)
RETURNS TABLE (resource_utilization_hk bytea, tenant_hk bytea, resource_type varchar, resource_name varchar, resource_category varchar,
               unit varchar, current_usage numeric, capacity numeric, measured_at timestamptz, origin_at timestamptz)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT h.resource_utilization_hk, m.tenant_hk, m.resource_type, m.resource_name, m.resource_category, m.unit, m.current_value,
           coalesce(m.maximum_capacity, capacity_ops.capacity_at(m.tenant_hk, m.resource_type, m.resource_name, m.measurement_timestamp)),
           m.measurement_timestamp,
           m.measurement_timestamp + make_interval(hours => 24 * floor(date_part('epoch', p_as_of - m.measurement_timestamp) / 86400)::int)
    FROM capacity_planning.resource_utilization_h h
    CROSS JOIN LATERAL (
        SELECT s.* FROM capacity_planning.resource_utilization_s s
        WHERE s.resource_utilization_hk = h.resource_utilization_hk AND s.load_end_date IS NULL AND s.measurement_timestamp <= p_as_of
          AND (s.system_identifier IS NULL OR s.system_identifier = ANY ((SELECT capacity_ops.own_servers())::bigint[]))
        ORDER BY s.measurement_timestamp DESC LIMIT 1) m
    CROSS JOIN LATERAL (SELECT capacity_ops.resource_key(m.resource_type, m.resource_name, m.tenant_hk) AS own) key
    WHERE h.resource_utilization_hk > p_after
      AND (p_tenant_hk IS NULL OR m.tenant_hk = p_tenant_hk)
      AND (NOT p_system_only OR m.tenant_hk IS NULL)
      AND (p_resource_type IS NULL OR m.resource_type = p_resource_type)
      AND capacity_ops.is_watched(m.tenant_hk)
      -- a resource that also stands under a key of somebody else's making is looked at once, under its own
      AND (h.resource_utilization_bk = key.own OR NOT EXISTS (
              SELECT FROM capacity_planning.resource_utilization_s s
              WHERE s.resource_utilization_hk = capacity_ops.hash_key(key.own) AND s.load_end_date IS NULL AND s.measurement_timestamp <= p_as_of))
      AND (p_again OR NOT EXISTS (
              SELECT FROM capacity_planning.capacity_forecast_s f
              WHERE f.capacity_forecast_hk = capacity_ops.hash_key(key.own || '|ENGINE') AND f.load_end_date IS NULL
                AND greatest(f.forecast_timestamp, f.last_model_training) = p_as_of));
END;
COMMENT ON FUNCTION capacity_ops.engine_due(bytea, boolean, text, timestamptz, boolean, bytea) IS
    'The resources of a scope with their newest measurement at or before p_as_of, after the key p_after; p_again: also those whose forecast under method ENGINE is of p_as_of already. origin_at: the newest measurement moved on by whole days.';

-- Big-endian pairs of eight bytes, which numpy reads as they are. Values that no double can square stay out.
CREATE OR REPLACE FUNCTION capacity_ops.engine_measurements(
    p_resource_utilization_hk bytea, p_unit varchar, p_measured_at timestamptz, p_origin_at timestamptz, p_days integer)
RETURNS TABLE (measurements bytea) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT string_agg(timestamptz_send(s.measurement_timestamp) || float8send(s.current_value::float8), ''::bytea)
    FROM capacity_planning.resource_utilization_s s
    WHERE s.resource_utilization_hk = p_resource_utilization_hk AND s.load_end_date IS NULL AND s.unit = p_unit
      AND s.measurement_timestamp <= p_measured_at
      AND s.measurement_timestamp > p_origin_at - make_interval(hours => 24 * p_days)
      AND s.current_value < 1e150
      AND (s.system_identifier IS NULL OR s.system_identifier = ANY ((SELECT capacity_ops.own_servers())::bigint[]));
END;
COMMENT ON FUNCTION capacity_ops.engine_measurements(bytea, varchar, timestamptz, timestamptz, integer) IS
    'What was measured of a resource in p_days days before its origin: (microseconds since 2000, value) packed together; NULL: nothing.';

CREATE OR REPLACE FUNCTION capacity_ops.engine_capacity_changes(
    p_tenant_hk bytea, p_resource_type varchar, p_resource_name varchar, p_unit varchar, p_capacity numeric, p_measured_at timestamptz, p_as_of timestamptz)
RETURNS TABLE (changes text) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT string_agg(extract(epoch FROM r.valid_from) || ' ' || r.capacity, ',' ORDER BY r.valid_from)
    FROM capacity_ops.capacity_registry r
    WHERE r.resource_type = p_resource_type AND r.resource_name = p_resource_name
      AND coalesce(r.tenant_hk, ''::bytea) = coalesce(p_tenant_hk, ''::bytea) AND r.unit = p_unit
      AND r.valid_from > p_measured_at AND (r.valid_from <= p_as_of OR r.registered_at <= p_as_of)
      -- what the source itself says of its capacity, it will say again
      AND p_capacity IS NOT DISTINCT FROM capacity_ops.capacity_at(p_tenant_hk, p_resource_type, p_resource_name, p_measured_at);
END;
COMMENT ON FUNCTION capacity_ops.engine_capacity_changes(bytea, varchar, varchar, varchar, numeric, timestamptz, timestamptz) IS
    'Capacities that are registered for times after the newest measurement, as far as that was known at p_as_of: "seconds since 1970, capacity" separated by commas; NULL: none, or the capacity is not the registry''s.';

CREATE OR REPLACE FUNCTION capacity_ops.engine_companies(p_as_of timestamptz, p_members integer, p_tenants integer, p_tenant_members integer)
RETURNS TABLE (is_type boolean, name text, resource_utilization_hk bytea) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH due AS MATERIALIZED (
        SELECT d.resource_utilization_hk, d.resource_type, d.tenant_hk,
               row_number() OVER (PARTITION BY d.resource_type ORDER BY d.resource_utilization_hk) AS of_type,
               row_number() OVER (PARTITION BY d.tenant_hk ORDER BY d.resource_utilization_hk) AS of_tenant
        FROM capacity_ops.engine_due(NULL, false, NULL, p_as_of, true, '') d),
    tenant AS (
        SELECT d.tenant_hk FROM due d GROUP BY d.tenant_hk HAVING count(*) >= 4 ORDER BY count(*) DESC, d.tenant_hk NULLS FIRST LIMIT p_tenants)
    SELECT true, d.resource_type, d.resource_utilization_hk FROM due d WHERE d.of_type <= p_members
    UNION ALL
    SELECT false, capacity_ops.tenant_key(d.tenant_hk), d.resource_utilization_hk
    FROM due d JOIN tenant t ON t.tenant_hk IS NOT DISTINCT FROM d.tenant_hk WHERE d.of_tenant <= p_tenant_members
    ORDER BY 1, 2, 3
$$;
COMMENT ON FUNCTION capacity_ops.engine_companies(timestamptz, integer, integer, integer) IS
    'Who is heard for the series that are too short to speak for themselves: p_members resources of each type, and p_tenant_members of each of the p_tenants tenants (the system is one) that have the most, four at least; the first in the order of their keys, which are hashes, so that this is a fair sample and always the same one.';

-- The calendar belongs to a later step and to the people who are alerted: an analyst need not be allowed to read it.
CREATE OR REPLACE FUNCTION capacity_ops.engine_holidays() RETURNS TABLE (day date) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'capacity_alerting' AND c.relname = 'holiday'
                 AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) THEN
        RETURN QUERY EXECUTE 'SELECT h.day FROM capacity_alerting.holiday h WHERE h.tenant_hk IS NULL';
    END IF;
END
$$;
COMMENT ON FUNCTION capacity_ops.engine_holidays() IS
    'The holidays of everyone''s calendar, as far as there is one and the role may read it.';

---------------------------------------------------------------------------------------------------------------------
-- Why a level shifted: what the database itself knows of that day. Nothing is concluded from coincidence alone: each row
-- says what was seen, and no row means that nothing was.
---------------------------------------------------------------------------------------------------------------------
CREATE INDEX IF NOT EXISTS resource_utilization_h_tenant
    ON capacity_planning.resource_utilization_h ((substring(resource_utilization_bk FROM '[^|]*$')));

DROP FUNCTION IF EXISTS capacity_ops.moved_at(bytea, timestamptz);  -- before it was told of when it is asked
DROP FUNCTION IF EXISTS capacity_ops.regime_evidence(bytea, timestamptz);
CREATE OR REPLACE FUNCTION capacity_ops.moved_at(p_resource_utilization_hk bytea, p_at timestamptz, p_as_of timestamptz)
RETURNS TABLE (before numeric, after numeric, change numeric, source_before text, source_after text, server_before bigint, server_after bigint)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT m.before, m.after, m.after - m.before, m.source_before, m.source_after, m.server_before, m.server_after
    FROM (SELECT (percentile_cont(0.5) WITHIN GROUP (ORDER BY s.current_value) FILTER (WHERE s.measurement_timestamp < p_at - interval '12 hours'))::numeric AS before,
                 (percentile_cont(0.5) WITHIN GROUP (ORDER BY s.current_value) FILTER (WHERE s.measurement_timestamp >= p_at - interval '1 second'))::numeric AS after,
                 max(s.current_value) FILTER (WHERE s.measurement_timestamp < p_at - interval '12 hours')
                     - min(s.current_value) FILTER (WHERE s.measurement_timestamp < p_at - interval '12 hours') AS spread,
                 max(s.record_source) FILTER (WHERE s.measurement_timestamp < p_at - interval '12 hours') AS source_before,
                 max(s.record_source) FILTER (WHERE s.measurement_timestamp >= p_at - interval '1 second') AS source_after,
                 max(s.system_identifier) FILTER (WHERE s.measurement_timestamp < p_at - interval '12 hours') AS server_before,
                 max(s.system_identifier) FILTER (WHERE s.measurement_timestamp >= p_at - interval '1 second') AS server_after
          FROM capacity_planning.resource_utilization_s s
          WHERE s.resource_utilization_hk = p_resource_utilization_hk AND s.load_end_date IS NULL
            AND s.measurement_timestamp > p_at - interval '5 days' AND s.measurement_timestamp <= least(p_at + interval '3 days', p_as_of)
            -- within the day that ends then, it may have been either
            AND (s.measurement_timestamp <= p_at - interval '23 hours' OR s.measurement_timestamp >= p_at - interval '1 second')) m
    WHERE abs(m.after - m.before) >= greatest(3 * m.spread, 0.02 * m.before);
END;
COMMENT ON FUNCTION capacity_ops.moved_at(bytea, timestamptz, timestamptz) IS
    'How a resource''s level moved in the 24 hours before p_at: medians of the four days before them and of the three days after, as far as they were measured by p_as_of. No row: by less than 2 %, or than three times what it moved by in the four days before.';

CREATE OR REPLACE FUNCTION capacity_ops.regime_evidence(p_resource_utilization_hk bytea, p_at timestamptz, p_as_of timestamptz)
RETURNS TABLE (kind text, at timestamptz, says text) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
#variable_conflict use_column
DECLARE
    v_from constant timestamptz := p_at - interval '30 hours';  -- the day that ends at p_at, and a quarter of one on either side
    v_to constant timestamptz := least(p_at + interval '6 hours', p_as_of);
    v_one record;
    v_moved record;
    v_count bigint;
    v_names text;
BEGIN
    SELECT s.tenant_hk, s.resource_type, s.resource_name, s.unit, capacity_ops.tenant_key(s.tenant_hk) AS tenant_key INTO v_one
    FROM capacity_planning.resource_utilization_s s
    WHERE s.resource_utilization_hk = p_resource_utilization_hk AND s.load_end_date IS NULL AND s.measurement_timestamp <= p_as_of
    ORDER BY s.measurement_timestamp DESC LIMIT 1;
    SELECT * INTO v_moved FROM capacity_ops.moved_at(p_resource_utilization_hk, p_at, p_as_of);

    -- Another meter
    IF v_moved.server_before <> v_moved.server_after THEN
        RETURN QUERY SELECT 'SERVER', p_at, format('measured on server %s before and on %s since', v_moved.server_before, v_moved.server_after);
    END IF;
    RETURN QUERY SELECT 'SERVER', a.adopted_at, format('server %s was adopted', a.system_identifier)
        FROM capacity_ops.adopted_server a WHERE a.adopted_at > v_from AND a.adopted_at <= v_to AND a.adopted_by = capacity_ops.server_identifier();
    IF v_moved.source_before <> v_moved.source_after THEN
        RETURN QUERY SELECT 'SOURCE', p_at, format('the measurements come from %s before and from %s since', v_moved.source_before, v_moved.source_after);
    END IF;
    IF v_one.tenant_hk IS NULL OR v_one.resource_type IN ('CONNECTIONS', 'TRANSACTIONS') THEN
        RETURN QUERY SELECT 'RESTART', pg_postmaster_start_time(), 'the server was started'
            WHERE pg_postmaster_start_time() > v_from AND pg_postmaster_start_time() <= v_to;
        RETURN QUERY SELECT 'RESET', d.stats_reset, format('the statistics of database %s were reset', d.datname)
            FROM pg_stat_database d WHERE d.stats_reset > v_from AND d.stats_reset <= v_to ORDER BY d.datname LIMIT 3;
    END IF;

    -- Somebody came, or went
    IF v_one.tenant_hk IS NOT NULL THEN
        RETURN QUERY SELECT 'ONBOARDING', t.load_date, 'the tenant was created'
            FROM auth.tenant_h t WHERE t.tenant_hk = v_one.tenant_hk AND t.load_date > v_from AND t.load_date <= v_to;
    ELSE
        RETURN QUERY SELECT 'ONBOARDING', max(t.load_date), format('%s tenant(s) were created', count(*))
            FROM auth.tenant_h t WHERE v_moved.change > 0 AND t.load_date > v_from AND t.load_date <= v_to HAVING count(*) > 0;
        RETURN QUERY SELECT 'OFFBOARDING', max(p.load_date), format('%s tenant(s) became inactive', count(*))
            FROM auth.tenant_profile_s p
            WHERE v_moved.change < 0 AND p.is_active IS FALSE AND p.load_date > v_from AND p.load_date <= v_to HAVING count(*) > 0;
    END IF;
    RETURN QUERY SELECT 'ONBOARDING', p_at, format('users of the %s rose from %s to %s', CASE WHEN v_one.tenant_hk IS NULL THEN 'platform' ELSE 'tenant' END,
                                                   trim_scale(m.before), trim_scale(m.after))
        FROM capacity_planning.resource_utilization_h h
        CROSS JOIN LATERAL capacity_ops.moved_at(h.resource_utilization_hk, p_at, p_as_of) m
        WHERE v_moved.change > 0 AND m.change >= 3 AND substring(h.resource_utilization_bk FROM '[^|]*$') = v_one.tenant_key
          AND starts_with(h.resource_utilization_bk, 'USERS|') AND h.resource_utilization_hk <> p_resource_utilization_hk;

    -- Others moved with it
    IF v_moved.change <> 0 THEN
        SELECT count(*), string_agg(o.name, ', ' ORDER BY o.name) FILTER (WHERE o.n <= 5) INTO v_count, v_names
        FROM (SELECT regexp_replace(h.resource_utilization_bk, '^([^|]*)[|](.*)[|][^|]*$', '\1 \2') AS name,
                     row_number() OVER (ORDER BY h.resource_utilization_bk) AS n
              FROM capacity_planning.resource_utilization_h h
              CROSS JOIN LATERAL capacity_ops.moved_at(h.resource_utilization_hk, p_at, p_as_of) m
              WHERE substring(h.resource_utilization_bk FROM '[^|]*$') = v_one.tenant_key
                AND h.resource_utilization_hk <> p_resource_utilization_hk AND sign(m.change) = sign(v_moved.change)) o;
        IF v_count > 0 THEN
            RETURN QUERY SELECT CASE WHEN v_moved.change < 0 THEN 'CLEANUP' ELSE 'TOGETHER' END, p_at,
                format('%s resources of the %s %s together: this one, %s', v_count + 1, CASE WHEN v_one.tenant_hk IS NULL THEN 'system' ELSE 'tenant' END,
                       CASE WHEN v_moved.change < 0 THEN 'fell' ELSE 'rose' END, v_names);
        END IF;
        IF v_one.tenant_hk IS NOT NULL THEN
            RETURN QUERY SELECT 'SYSTEM', p_at, format('the system''s %s %s moved with it, by %s%s', s.resource_type, s.resource_name,
                                                       CASE WHEN m.change < 0 THEN '-' ELSE '+' END, capacity_ops.amount(abs(m.change), s.unit))
                FROM capacity_planning.resource_utilization_h h
                CROSS JOIN LATERAL capacity_ops.moved_at(h.resource_utilization_hk, p_at, p_as_of) m
                CROSS JOIN LATERAL (SELECT n.* FROM capacity_planning.resource_utilization_s n
                                    WHERE n.resource_utilization_hk = h.resource_utilization_hk AND n.load_end_date IS NULL AND n.measurement_timestamp <= p_as_of
                                    ORDER BY n.measurement_timestamp DESC LIMIT 1) s
                WHERE substring(h.resource_utilization_bk FROM '[^|]*$') = 'SYSTEM' AND s.resource_type = v_one.resource_type AND s.unit = v_one.unit
                  AND sign(m.change) = sign(v_moved.change) AND abs(m.change) >= abs(v_moved.change) / 2;
        END IF;
    END IF;
    IF v_moved.change < 0 AND v_one.unit = 'bytes' AND v_one.resource_type = 'STORAGE' THEN
        RETURN QUERY SELECT 'VACUUM', v.at, format('VACUUM of %I.%I (%s)', v.schemaname, v.relname, capacity_ops.amount(v.size, 'bytes'))
            FROM (SELECT t.schemaname, t.relname, greatest(t.last_vacuum, t.last_autovacuum) AS at, 8192 * c.relpages::numeric AS size
                  FROM pg_stat_all_tables t JOIN pg_class c ON c.oid = t.relid) v
            WHERE v.at > v_from AND v.at <= v_to AND v.size >= abs(v_moved.change) / 10 ORDER BY v.size DESC LIMIT 3;
    END IF;
    RETURN QUERY SELECT 'CAPACITY', r.valid_from, format('a capacity of %s is registered from then on%s', capacity_ops.amount(r.capacity, r.unit),
                                                         coalesce(' (' || r.reason || ')', ''))
        FROM capacity_ops.capacity_registry r
        WHERE r.resource_type = v_one.resource_type AND r.resource_name = v_one.resource_name AND r.tenant_hk IS NOT DISTINCT FROM v_one.tenant_hk
          AND r.valid_from > v_from AND r.valid_from <= v_to;
END
$$;
COMMENT ON FUNCTION capacity_ops.regime_evidence(bytea, timestamptz, timestamptz) IS
    'What the database knew by p_as_of that may explain a level shift of a resource in the 24 hours before p_at, a quarter of a day on either side allowed: SERVER, SOURCE (another meter), RESTART, RESET, ONBOARDING, OFFBOARDING, CLEANUP and TOGETHER (other resources of the same tenant, or of the system, moved in the same direction, see capacity_ops.moved_at), SYSTEM (its series moved in the same direction by half as much or more), VACUUM (of a table that holds a tenth of the change or more; the newest run of each is known only), CAPACITY. No row: nothing was found.';

-- Documents as capacity_ops.outlook makes them, less what the database itself knows: keys, priority and action, and how
-- far this method''s forecasts were off.
CREATE OR REPLACE FUNCTION capacity_ops.engine_outlook(p_found jsonb[], p_as_of timestamptz) RETURNS SETOF jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
    SELECT f.j || jsonb_build_object(
               'key', k.key, 'growth_pattern_hk', k.hk, 'capacity_forecast_hk', k.hk, 'method', 'ENGINE', 'record_source', 'capacity-kit.growth',
               'forecast_timestamp', p_as_of, 'analysis_timestamp', p_as_of, 'last_model_training', p_as_of,
               'utilization_percentage', round(100 * x.current_usage / x.current_capacity, 6),
               'action_priority', r.priority,
               'risk_assessment', CASE WHEN x.current_capacity IS NULL OR (x.forecast_model IS NULL AND r.priority = 'LOW') THEN 'UNKNOWN' ELSE r.priority END,
               'model_accuracy', (SELECT capacity_ops.accuracy(a.wape::float8) FROM capacity_ops.past_errors(k.hk, x.resource_utilization_hk, 30, p_as_of) a),
               'recommended_action', left(CASE
                   WHEN x.current_capacity IS NULL THEN
                       format('%s stands at %s. Its capacity is unknown: SELECT capacity_ops.register_capacity(%s, %L, %L, <%s>, %L);', t.label, t.usage,
                              coalesce(quote_literal(x.tenant_hk) || '::bytea', 'NULL'), x.resource_type, x.resource_name, x.unit, x.unit)
                   WHEN x.current_usage >= x.current_capacity THEN format('%s is full: %s of %s. Free or add capacity now.', t.label, t.usage, t.capacity)
                   WHEN x.current_usage >= l.critical THEN format('%s is past its critical level: %s of %s%s. Free or add capacity now.', t.label, t.usage, t.capacity, t.full)
                   WHEN x.current_usage >= l.warning THEN format('%s is past its warning level: %s of %s%s. Plan more capacity.', t.label, t.usage, t.capacity, t.full)
                   WHEN x.forecast_model IS NULL AND x.measured_at <= p_as_of - interval '31 days' THEN
                       format('%s was last measured on %s, at %s of %s. See to it that it is measured again.', t.label, to_char(x.measured_at, 'YYYY-MM-DD'), t.usage, t.capacity)
                   WHEN x.forecast_model IS NULL THEN format('Keep measuring %s: %s measurements are stored for this window, too few for a forecast. It stands at %s of %s.', t.label, x.data_points_used, t.usage, t.capacity)
                   WHEN x.time_to_capacity_days IS NOT NULL THEN
                       format('%s stands at %s of %s%s. %s', t.label, t.usage, t.capacity, t.full,
                              CASE WHEN x.time_to_warning_days <= 180 THEN format('Order more capacity before %s, when it is expected at its warning level.', t.warning_on)
                                   ELSE coalesce(t.peaked, 'Nothing to do yet.') END)
                   ELSE format('%s stands at %s of %s and is not expected to be full within a year (probability %s %%). %s', t.label, t.usage, t.capacity,
                               coalesce(round(100 * (x.model_parameters #>> '{runway,capacity,by,365}')::numeric)::text, 'unknown'), coalesce(t.peaked, 'Nothing to do.')) END, 500))
    FROM unnest(p_found) AS f (j)
    CROSS JOIN LATERAL jsonb_to_record(f.j) AS x (
        resource_utilization_hk bytea, tenant_hk bytea, resource_type varchar, resource_name varchar, unit varchar, current_usage numeric,
        current_capacity numeric, time_to_capacity_days integer, time_to_warning_days integer, time_to_critical_days integer,
        trend_direction varchar, forecast_model varchar, data_points_used integer, model_parameters jsonb, measured_at timestamptz)
    CROSS JOIN LATERAL (SELECT own.key, capacity_ops.hash_key(own.key) AS hk
        FROM (SELECT capacity_ops.resource_key(x.resource_type, x.resource_name, x.tenant_hk) || '|ENGINE' AS key) own) k
    CROSS JOIN LATERAL (SELECT x.current_capacity * v.warning / 100 AS warning, x.current_capacity * v.critical / 100 AS critical
        FROM capacity_ops.levels(x.tenant_hk, x.resource_type) v) l
    CROSS JOIN LATERAL (SELECT capacity_ops.priority(x.current_usage, x.current_capacity, l.warning, l.critical, x.time_to_capacity_days,
        x.time_to_warning_days, x.time_to_critical_days, x.trend_direction, (x.model_parameters ->> 'peak_30d')::float8) AS priority) r
    CROSS JOIN LATERAL (
        SELECT format('%s %s', x.resource_type, x.resource_name) AS label, capacity_ops.amount(x.current_usage, x.unit) AS usage,
               capacity_ops.amount(x.current_capacity, x.unit) AS capacity,
               CASE WHEN (x.model_parameters ->> 'peak_30d')::float8 >= l.critical
                    THEN capacity_ops.peak_told((x.model_parameters ->> 'peak_30d')::float8, x.current_capacity, x.unit, 30) END AS peaked,
               to_char(p_as_of + make_interval(hours => 24 * x.time_to_warning_days), 'YYYY-MM-DD') AS warning_on,
               coalesce(format(', as likely as not full by %s (in %s days), with a probability of %s %% within 90 days',
                               to_char(p_as_of + make_interval(hours => 24 * x.time_to_capacity_days), 'YYYY-MM-DD'), x.time_to_capacity_days,
                               round(100 * (x.model_parameters #>> '{runway,capacity,by,90}')::numeric)), '') AS full) t
$$;
COMMENT ON FUNCTION capacity_ops.engine_outlook(jsonb[], timestamptz) IS
    'The engine''s documents, made complete for capacity_ops.record_outlook.';

CREATE OR REPLACE FUNCTION capacity_ops.record_engine_forecasts(p_found jsonb[], p_as_of timestamptz)
RETURNS TABLE (recorded integer, unchanged integer, later integer, skipped integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_started timestamptz := clock_timestamp();
    v_later bytea[];
    v_found jsonb[];
    v_keys bytea[];
BEGIN
    IF NOT capacity_ops.begin_recording('analyze') THEN
        RETURN QUERY SELECT 0, 0, 0, cardinality(p_found);
        RETURN;
    END IF;
    SELECT array_agg(o) INTO v_found
    FROM (SELECT DISTINCT ON (o ->> 'key') o FROM capacity_ops.engine_outlook(p_found, p_as_of) o ORDER BY o ->> 'key', o ->> 'measured_at' DESC) once;
    SELECT coalesce(array_agg(f.capacity_forecast_hk), '{}') INTO v_later
    FROM unnest(v_found) j
    JOIN capacity_planning.capacity_forecast_s f ON f.capacity_forecast_hk = (j ->> 'capacity_forecast_hk')::bytea
    WHERE f.load_end_date IS NULL AND greatest(f.forecast_timestamp, f.last_model_training) > p_as_of;
    IF v_later <> '{}' THEN
        RAISE NOTICE '% resource(s) have a forecast of the engine later than % already: shown, not recorded', cardinality(v_later), p_as_of;
    END IF;
    SELECT coalesce(array_agg(j), '{}'), coalesce(array_agg((j ->> 'capacity_forecast_hk')::bytea), '{}') INTO v_found, v_keys
    FROM unnest(v_found) j WHERE (j ->> 'capacity_forecast_hk')::bytea <> ALL (v_later);
    PERFORM capacity_ops.record_outlook(v_found);
    -- What came out as before makes no version; that it was looked at is said in place, so that a rerun does not look again.
    UPDATE capacity_planning.capacity_forecast_s f SET last_model_training = p_as_of
    WHERE f.capacity_forecast_hk = ANY (v_keys) AND f.load_end_date IS NULL AND f.last_model_training < p_as_of;
    RETURN QUERY
    SELECT count(*) FILTER (WHERE f.load_date >= v_started)::int, count(*) FILTER (WHERE f.load_date < v_started)::int, cardinality(v_later), 0
    FROM capacity_planning.capacity_forecast_s f WHERE f.capacity_forecast_hk = ANY (v_keys) AND f.load_end_date IS NULL;
END
$$;
COMMENT ON FUNCTION capacity_ops.record_engine_forecasts(jsonb[], timestamptz) IS
    'Records the engine''s results as of a time under method ENGINE: new versions of what changed, nothing where nothing did, nothing where a later forecast is there. skipped: another session was recording. Of method ENGINE: projected_usage_* are medians, model_parameters holds the quantiles of model_parameters.levels at each horizon and, for each level, the days (p10, p50, p90; from forecast_timestamp, rounded down, NULL beyond a year) and the probabilities by 7, 30, 90 and 365 days; time_to_*_days is p50. Of what fluctuates (CPU, CONNECTIONS, MEMORY, TRANSACTIONS, rates) projected_usage_* are of the day''s mean, and the days until a level are those of its maximum (runway_of; maximum, maximum_of_an_hour: its quantiles). reconciled: STORAGE, ROWS, USERS and CONNECTIONS of tenants and what is nobody''s (unattributed, its medians, and unattributed_quantiles, at the system''s) add up to the system''s where both are measured in one unit, or why they do not. company: how many series of the type and of the tenant it learnt from. reconciled.backtested: whether the backtest is of forecasts that were made to add up too; of those before it, where a tenant has other origins than the system. confidence_level: 100 - WAPE at 30 days in a backtest from the origins that method SQL is tested from, so that the two can be compared; each is held against what it forecasts of a day.';

COMMENT ON COLUMN capacity_planning.growth_pattern_s.external_events_impact IS
    'Method ENGINE: what the database knew of the days on which the level shifted. shifts: all that the window holds, oldest first (at: the end of the day; change, in the unit; evidence: rows of capacity_ops.regime_evidence, none where it knew nothing); shift_at, evidence: of the newest, from which the forecast goes on. NULL: no shift. To be read by capacity_ops.level_shifts.';

---------------------------------------------------------------------------------------------------------------------
-- What the engine recorded in documents, as rows
---------------------------------------------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION capacity_ops.level_shifts(p_as_of timestamptz DEFAULT NULL)
RETURNS TABLE (tenant_hk bytea, resource_type varchar, resource_name varchar, unit varchar, shifted_at timestamptz, change numeric,
               is_newest boolean, cause text, evidence text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
BEGIN ATOMIC
    SELECT p.tenant_hk, p.resource_type, p.resource_name, p.unit, (s.j ->> 'at')::timestamptz, (s.j ->> 'change')::numeric,
           s.j ->> 'at' IS NOT DISTINCT FROM p.impact ->> 'shift_at', s.j #>> '{evidence,0,kind}', e.says
    FROM (SELECT DISTINCT ON (g.growth_pattern_hk) g.tenant_hk, g.resource_type, g.resource_name, g.unit, g.external_events_impact AS impact
          FROM capacity_planning.growth_pattern_s g
          WHERE g.method = 'ENGINE' AND (g.load_end_date IS NULL OR p_as_of IS NOT NULL) AND (p_as_of IS NULL OR g.analysis_timestamp <= p_as_of)
          ORDER BY g.growth_pattern_hk, g.analysis_timestamp DESC, g.load_date DESC) p
    CROSS JOIN LATERAL jsonb_array_elements(p.impact -> 'shifts') AS s (j)
    CROSS JOIN LATERAL (SELECT string_agg(one.j ->> 'says', '; ' ORDER BY one.n) AS says
                        FROM jsonb_array_elements(s.j -> 'evidence') WITH ORDINALITY AS one (j, n)) e;
END;
COMMENT ON FUNCTION capacity_ops.level_shifts(timestamptz) IS
    'Every level shift that the engine found in the window of its newest analysis at p_as_of (NULL: the current one): the end of its day, by how much, and what the database knew of that day (cause: the kind of the first evidence; both NULL where it knew nothing). is_newest: the forecast goes on from there.';

CREATE OR REPLACE FUNCTION capacity_ops.engine_decisions(p_as_of timestamptz DEFAULT NULL)
RETURNS TABLE (tenant_hk bytea, resource_type varchar, resource_name varchar, horizon_days integer, probability numeric,
               judged integer, reached integer, announced integer, false_announcements integer)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT f.tenant_hk, f.resource_type, f.resource_name, (f.said ->> 'days')::integer, (f.said ->> 'probability')::numeric,
           (f.said ->> 'judged')::integer, (f.said ->> 'reached')::integer, (f.said ->> 'announced')::integer, (f.said ->> 'false')::integer
    FROM (SELECT DISTINCT ON (s.capacity_forecast_hk) s.tenant_hk, s.resource_type, s.resource_name, s.model_parameters -> 'announced' AS said
          FROM capacity_planning.capacity_forecast_s s
          WHERE s.method = 'ENGINE' AND (s.load_end_date IS NULL OR p_as_of IS NOT NULL) AND (p_as_of IS NULL OR s.forecast_timestamp <= p_as_of)
          ORDER BY s.capacity_forecast_hk, s.forecast_timestamp DESC, s.load_date DESC) f
    WHERE (f.said ->> 'judged')::integer > 0;
END;
COMMENT ON FUNCTION capacity_ops.engine_decisions(timestamptz) IS
    'The engine''s backtest of the decision, as recorded with its newest forecasts at p_as_of (NULL: the current ones). At each origin (judged) a resource was below today''s critical level: at how many of them was that level reached within horizon_days, how many of these were announced (by a probability of at least `probability`, with nothing known of what came), and how many announcements were false. Resources without a capacity, and without an origin that can be judged, have no row.';

INSERT INTO capacity_ops.deployment (step, version, applied_at, applied_by)
VALUES (12, '0.1.0', clock_timestamp(), session_user)
ON CONFLICT (step) DO UPDATE SET version = excluded.version, applied_at = excluded.applied_at, applied_by = excluded.applied_by;

COMMIT;
