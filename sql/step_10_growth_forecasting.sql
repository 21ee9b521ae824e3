-- Step 10: what the measurements say about the future.
--
--   capacity_ops.growth                          the analysis itself: one statement over one reading of the measurements
--   capacity_ops.ledger                          every forecast as issued, beside what was then measured
--   capacity_planning.analyze_growth_patterns    the analysis, recorded and versioned
--   capacity_planning.run_capacity_analysis      capture, analyse, set default thresholds, evaluate
--   capacity_planning.scheduled_capacity_analysis
--
-- Apply with psql -f after step 9; safe to apply again. One transaction: it is deployed whole or not at all.
BEGIN;
SELECT pg_advisory_xact_lock(hashtextextended('capacity_planning:deploy', 0));
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL lock_timeout = '30s';

DO $guard$
DECLARE
    v_step_9 text;
BEGIN
    IF to_regclass('capacity_ops.deployment') IS NOT NULL THEN
        SELECT version INTO v_step_9 FROM capacity_ops.deployment WHERE step = 9;
    END IF;
    IF v_step_9 IS NULL THEN
        RAISE EXCEPTION 'step 9 is missing here: apply step_9_capacity_planning.sql first';
    ELSIF EXISTS (SELECT FROM capacity_ops.deployment WHERE step = 10 AND string_to_array(version, '.')::int[] > '{0,1,0}') THEN
        RAISE EXCEPTION 'this database holds a newer version of the growth forecasting than 0.1.0: nothing was changed';
    END IF;
END
$guard$;

---------------------------------------------------------------------------------------------------------------------
-- Small helpers
---------------------------------------------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION capacity_ops.amount(p_value numeric, p_unit text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN p_unit = 'bytes' AND abs(p_value) >= 1024
                THEN trim_scale(round(p_value / 1024.0 ^ scale.power, 2)) || ' ' || (ARRAY['KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'])[scale.power]
                WHEN p_value = 1 THEN '1 ' || regexp_replace(p_unit, 's(/|$)', '\1')
                WHEN abs(p_value) >= 100 OR p_value = 0 THEN round(p_value) || ' ' || p_unit
                ELSE trim_scale(round(p_value, 2 - floor(log(abs(p_value)))::int)) || ' ' || p_unit END
    FROM (SELECT least(6, floor(log(1024.0, greatest(abs(p_value), 1024))))::int AS power) scale;
END;
COMMENT ON FUNCTION capacity_ops.amount(numeric, text) IS
    'An amount to be read: bytes in binary units, anything else with three significant digits and its unit.';

-- STRICT: greatest() passes over NULL, and an accuracy of 0 would stand where none is known.
CREATE OR REPLACE FUNCTION capacity_ops.accuracy(p_wape float8) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT round(greatest(0, 100 - p_wape)::numeric, 2);
END;
COMMENT ON FUNCTION capacity_ops.accuracy(float8) IS '100 minus a weighted absolute percentage error, not below 0.';

CREATE OR REPLACE FUNCTION capacity_ops.projected(
    p_model text, p_level float8, p_slope float8, p_season float8[], p_phase integer, p_days float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN p_level IS NULL OR (p_model = 'EXPONENTIAL' AND p_slope * p_days > 200) THEN NULL
                ELSE greatest(0, CASE p_model WHEN 'EXPONENTIAL' THEN p_level * exp(greatest(p_slope * p_days, -200))
                                              ELSE p_level + p_slope * p_days END
                                 + coalesce(p_season[1 + ((p_phase % 7) + 7) % 7], 0)) END;
END;
COMMENT ON FUNCTION capacity_ops.projected(text, float8, float8, float8[], integer, float8) IS
    'Usage p_days after the origin: level and slope of a LINEAR or EXPONENTIAL model plus the weekday''s part (p_season by days back modulo 7, p_phase: days back of the target). Never below zero; NULL without a model, and beyond e^200 times the level.';

CREATE OR REPLACE FUNCTION capacity_ops.days_until(
    p_model text, p_level float8, p_slope float8, p_season float8[], p_target float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    -- Without a season the crossing is exact. With one, each weekday has its own first day at or above the target;
    -- usage reaches it within the 24 hours before the earliest of them.
    SELECT min(CASE WHEN p_season IS NULL THEN need ELSE greatest(0, phase + 7 * ceil(greatest(0, need - phase) / 7) - 1) END)
    FROM (
        SELECT phase, CASE
                   WHEN base >= p_target THEN 0
                   WHEN p_slope <= 0 OR p_slope IS NULL THEN NULL
                   WHEN p_model = 'EXPONENTIAL' THEN CASE WHEN p_level > 0 AND p_target - s > 0 THEN greatest(0, ln((p_target - s) / p_level) / p_slope) END
                   ELSE (p_target - base) / p_slope END AS need
        FROM generate_series(0, CASE WHEN p_season IS NULL THEN 0 ELSE 6 END) phase
        CROSS JOIN LATERAL (SELECT coalesce(p_season[1 + (7 - phase) % 7], 0) AS s) weekday
        CROSS JOIN LATERAL (SELECT p_level + s AS base) present) crossing
    WHERE need IS NOT NULL;
END;
COMMENT ON FUNCTION capacity_ops.days_until(text, float8, float8, float8[], float8) IS
    'Days from the origin until the model reaches a target for the first time; 0: it stands there already; NULL: it never does.';

CREATE OR REPLACE FUNCTION capacity_ops.whole_days_until(
    p_usage numeric, p_model text, p_level float8, p_slope float8, p_season float8[], p_target numeric, p_elapsed float8) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN p_usage >= p_target THEN 0
                WHEN reached IS NULL OR reached - p_elapsed > 36500 THEN NULL
                ELSE floor(greatest(0, reached - p_elapsed))::int END
    FROM (SELECT capacity_ops.days_until(p_model, p_level, p_slope, p_season, p_target::float8) AS reached) model;
END;
COMMENT ON FUNCTION capacity_ops.whole_days_until(numeric, text, float8, float8, float8[], numeric, float8) IS
    'days_until in whole days from p_elapsed days after the origin, rounded down; 0 where the newest measurement is there already; NULL: not within a century.';

CREATE OR REPLACE FUNCTION capacity_ops.priority(
    p_usage numeric, p_capacity numeric, p_warning_level numeric, p_critical_level numeric,
    p_to_capacity integer, p_to_warning integer, p_to_critical integer, p_direction text, p_peak float8) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN p_capacity IS NULL THEN CASE WHEN p_direction = 'INCREASING' THEN 'MEDIUM' ELSE 'LOW' END
                WHEN p_usage >= p_critical_level OR p_to_capacity <= 7 THEN 'CRITICAL'
                WHEN p_usage >= p_warning_level OR p_to_capacity <= 30 OR p_to_critical <= 7 THEN 'HIGH'
                WHEN p_to_capacity <= 90 OR p_to_warning <= 30 OR p_peak >= p_critical_level THEN 'MEDIUM'
                ELSE 'LOW' END;
END;
COMMENT ON FUNCTION capacity_ops.priority(numeric, numeric, numeric, numeric, integer, integer, integer, text, float8) IS
    'The rule that stands at capacity_forecast_s.action_priority, for every method: usage, capacity, levels and p_peak (the highest measurement of the window) in the unit of the resource, days until capacity, warning and critical level.';

CREATE OR REPLACE FUNCTION capacity_ops.peak_told(p_peak float8, p_capacity numeric, p_unit text, p_days integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT format('But it peaked at %s (%s %%) in these %s days, past the critical level: look at what happened then.',
                  capacity_ops.amount(p_peak::numeric, p_unit), round((100 * p_peak / p_capacity::float8)::numeric, 1), p_days);
END;
COMMENT ON FUNCTION capacity_ops.peak_told(float8, numeric, text, integer) IS
    'What an action says of a resource whose forecast is no reason to act and whose highest measurement is one.';

---------------------------------------------------------------------------------------------------------------------
-- The analysis
--
-- One reading of the measurements gives daily medians; everything after works on those, for all resources and all
-- origins at once. The present (origin 0) and every origin of the backtest go through the same lines: a fit knows
-- nothing but the window before its origin.
--
-- The grid of days ends at the resource's newest measurement, moved on by whole days to the last one before p_as_of: so
-- an analysis repeated without news gives the same numbers to the last digit, and no new version.
--
-- A day is 24 hours, whatever the session's time zone and its summer time.
--
-- The function's own settings: its steps are large sets without statistics, where a nested loop is ruinous and
-- compiling the statement costs more than running it.
---------------------------------------------------------------------------------------------------------------------
DROP FUNCTION IF EXISTS capacity_ops.growth(bytea, text, integer, timestamptz);  -- its columns may have changed
CREATE FUNCTION capacity_ops.growth(p_tenant_hk bytea, p_resource_type text, p_analysis_days integer, p_as_of timestamptz)
RETURNS TABLE (
    resource_utilization_hk bytea, tenant_hk bytea, resource_type varchar, resource_name varchar, resource_category varchar, unit varchar,
    current_usage numeric, peak float8, capacity numeric, warning numeric, critical numeric, measured_at timestamptz, is_stale boolean, origin_at timestamptz,
    daily_points integer, data_points integer, period_start timestamptz, period_end timestamptz, regime_start timestamptz, breaks jsonb,
    model text, level float8, slope float8, season float8[], significance float8, trend_share float8, sigma float8, autocorrelation float8,
    error_linear float8, error_exponential float8, season_ratio float8, cycle_days integer, acceleration float8, outliers integer, outlier_share float8,
    pattern_type text, same_pattern float8, same_direction float8, origins integer,
    wape_7d float8, wape_30d float8, wape_90d float8, origins_7d integer, origins_30d integer, origins_90d integer, errors_30d float8[])
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_nestloop = off SET work_mem = '64MB'
AS $$
WITH resource AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY n.tenant_hk NULLS FIRST, n.resource_type, n.resource_name)::int AS id, n.*,
           n.measurement_timestamp + make_interval(hours => 24 * floor(date_part('epoch', p_as_of - n.measurement_timestamp) / 86400)::int) AS origin_at
    FROM (SELECT DISTINCT ON (n.tenant_hk, n.resource_type, n.resource_name) n.*
          FROM capacity_ops.newest(p_tenant_hk, p_as_of) n
          WHERE (p_resource_type IS NULL OR n.resource_type = p_resource_type)
            AND (n.tenant_hk IS NULL OR n.tenant_hk IN (SELECT t.tenant_hk FROM capacity_ops.tenant t WHERE t.is_active))
          ORDER BY n.tenant_hk, n.resource_type, n.resource_name, n.measurement_timestamp DESC) n),

-- k: whole days back from the origin; x: mean time of the day's measurements, days before the origin as a negative number;
-- y: their median. Measured once a day or less often, a day is centred on its hour, so that a late run does not fall
-- into the next one.
day AS MATERIALIZED (
    SELECT r.id, d.*
    FROM resource r
    CROSS JOIN LATERAL (SELECT capacity_ops.own_servers() AS servers) own
    CROSS JOIN LATERAL (
        SELECT b.k, max(b.y) AS peak, -(b.k + sum(b.age - 86400::bigint * b.k)::float8 / count(*) / 86400) AS x,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY b.y) AS y, count(*)::int AS measurements, max(b.age) AS oldest, min(b.age) AS newest
        FROM (SELECT a.age, a.y, floor(a.age / 86400.0::float8 + CASE WHEN count(*) OVER () > 1.5 * max(a.age) OVER () / 86400 THEN 0 ELSE 0.5 END)::int AS k
              FROM (SELECT date_part('epoch', r.origin_at - s.measurement_timestamp)::bigint AS age, CASE WHEN s.current_value < 1e-150 THEN 0 ELSE s.current_value::float8 END AS y
                    FROM capacity_planning.resource_utilization_s s
                    WHERE s.resource_utilization_hk = r.resource_utilization_hk AND s.load_end_date IS NULL AND s.unit = r.unit
                      AND s.current_value < 1e150  -- squares and compound growth stay within float8
                      AND s.measurement_timestamp <= r.measurement_timestamp
                      AND (s.system_identifier IS NULL OR s.system_identifier = ANY (own.servers))) a) b
        GROUP BY b.k) d),

-- Each day's step from the day before, what the same step was a week earlier, and the change over that week.
step AS MATERIALIZED (
    SELECT w.id, w.k, w.x, w.y, w.gap, w.dy, CASE WHEN w.y > 0 AND w.y > w.dy THEN ln(w.y / (w.y - w.dy)) END AS dl, w.y - w.y_week AS d7,
           CASE WHEN w.back = 1 AND first_value(w.back) OVER week = 1 THEN w.dy - first_value(w.dy) OVER week END AS dy_news
    FROM (SELECT d.id, d.k, d.x, d.y, d.x - lag(d.x) OVER past AS gap, d.y - lag(d.y) OVER past AS dy,
                 lag(d.k) OVER past - d.k AS back, first_value(d.y) OVER week AS y_week
          FROM day d
          WINDOW past AS (PARTITION BY d.id ORDER BY d.k DESC),
                 week AS (PARTITION BY d.id ORDER BY d.k RANGE BETWEEN 7 FOLLOWING AND 7 FOLLOWING)) w
    WINDOW week AS (PARTITION BY w.id ORDER BY w.k RANGE BETWEEN 7 FOLLOWING AND 7 FOLLOWING)),

-- The present, and the origins of the backtest: evenly over what has 14 days before it and 30 after (7 in a record too
-- short for three of those), five to ten of them. They lie on dates whose number is divisible by a power of two, so that
-- they stay where they are from day to day, and the engine's backtest has the same ones (origins in
-- capacity_kit/analysis/work.py): what judges the methods against each other judges both of the same days.
origin AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY p.id, p.o)::int AS nr, p.*
    FROM (SELECT h.id, 0 AS o, p_analysis_days AS days FROM (SELECT DISTINCT d.id FROM day d) h
          UNION ALL
          SELECT h.id, g.o, greatest(p_analysis_days, 14)
          FROM (SELECT d.id, max(d.k) - 13 AS first, CASE WHEN max(d.k) - 13 >= 32 THEN 30 ELSE 7 END AS last FROM day d GROUP BY d.id) h
          JOIN resource r ON r.id = h.id
          CROSS JOIN LATERAL (SELECT min(p.s) AS s FROM unnest('{1,2,4,8,16,32,64,128,256,512,1024,2048,4096,8192,16384}'::int[]) AS p (s)
                              WHERE 10 * p.s > h.first - h.last) apart
          CROSS JOIN LATERAL (SELECT floor(date_part('epoch', r.origin_at) / 86400)::int AS day) present
          CROSS JOIN LATERAL generate_series(h.last + (present.day - h.last) % apart.s, h.first, apart.s) AS g (o)) p),
point AS MATERIALIZED (
    SELECT w.*, CASE WHEN w.rn > 1 THEN w.dy END AS move, CASE WHEN w.rn > 1 THEN w.dl END AS moved
    FROM (SELECT o.nr, s.k, s.x + o.o AS x, s.y, s.gap, s.dy, s.dl, s.d7, s.dy_news,
                 row_number() OVER (PARTITION BY o.nr ORDER BY s.k DESC)::int AS rn
          FROM origin o JOIN step s ON s.id = o.id AND s.k >= o.o AND s.k < o.o + o.days) w),
pace AS MATERIALIZED (
    SELECT p.nr, count(*)::int AS n, percentile_cont(0.5) WITHIN GROUP (ORDER BY p.move / p.gap) AS rate,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY p.moved / p.gap) AS ratio,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY p.y) AS size
    FROM point p GROUP BY p.nr
    HAVING count(*) >= 7 AND max(p.k) - min(p.k) >= 13),

-- A level shift is a step that neither the trend (linear or compound) nor the same weekday's step a week earlier
-- explains, and that lasts. u: what the best of the three explanations leaves of the day's step.
news AS MATERIALIZED (
    SELECT e.nr, e.k, e.x, e.y, e.d7, e.rn, e.n, e.rate, e.size,
           CASE WHEN abs(e.weekly) <= least(abs(e.linear), abs(e.compound)) THEN e.weekly
                WHEN abs(e.compound) < abs(e.linear) THEN e.compound ELSE e.linear END AS u
    FROM (SELECT p.nr, p.k, p.x, p.y, p.d7, p.rn, c.n, c.rate, c.size, p.dy_news AS weekly, p.move - c.rate * p.gap AS linear,
                 p.y - (p.y - p.move) * exp(least(c.ratio * p.gap, 100)) AS compound
          FROM point p JOIN pace c ON c.nr = p.nr) e),
suspect AS MATERIALIZED (
    SELECT s.nr, s.k, s.x, s.rn, s.rate, s.u, f.floor
    FROM news s
    JOIN (SELECT n.nr, greatest(6 * 1.4826 * percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(n.u)), 0.01 * abs(max(n.size)), 1e-150) AS floor
          FROM news n GROUP BY n.nr) f ON f.nr = s.nr AND abs(s.u) > f.floor),
lasting AS (
    SELECT l.*, CASE WHEN l.weekly IS NOT NULL AND l.n_after < 7 THEN l.weekly ELSE l.plain END AS jump
    FROM (SELECT c.nr, c.rn, max(c.k) AS k, c.u, c.floor,
                 percentile_cont(0.5) WITHIN GROUP (ORDER BY s.y - c.rate * (s.x - c.x)) FILTER (WHERE s.rn >= c.rn)
                 - percentile_cont(0.5) WITHIN GROUP (ORDER BY s.y - c.rate * (s.x - c.x)) FILTER (WHERE s.rn < c.rn) AS plain,
                 percentile_cont(0.5) WITHIN GROUP (ORDER BY s.d7 - 7 * c.rate) FILTER (WHERE s.rn >= c.rn AND s.k + 7 > c.k) AS weekly,
                 count(*) FILTER (WHERE s.rn >= c.rn) AS n_after, count(*) FILTER (WHERE s.rn < c.rn) AS n_before
          FROM suspect c JOIN news s ON s.nr = c.nr AND s.rn BETWEEN c.rn - 7 AND c.rn + 6
          GROUP BY c.nr, c.rn, c.u, c.floor) l
    WHERE l.n_after >= 2 AND l.n_before >= 2
      AND sign(l.plain) = sign(l.u) AND abs(l.plain) >= greatest(l.floor, abs(l.u) * 2 / 3)
      AND (l.weekly IS NULL OR (sign(l.weekly) = sign(l.u) AND abs(l.weekly) >= greatest(l.floor, abs(l.u) * 2 / 3)))),
-- A shift spread over neighbouring days counts once, on the day of its largest step.
shift AS MATERIALIZED (
    SELECT l.nr, l.rn, l.k, l.jump
    FROM (SELECT l.*, abs(l.u) * (1 + 1e-9 * l.rn) AS weight,
                 max(abs(l.u) * (1 + 1e-9 * l.rn)) OVER (PARTITION BY l.nr ORDER BY l.rn RANGE BETWEEN 3 PRECEDING AND 3 FOLLOWING) AS heaviest
          FROM lasting l) l
    WHERE l.weight = l.heaviest),

-- z: usage as if every later shift had happened already. The fit uses the present regime when that is long enough
-- (14 daily points over 20 days), else the whole window with the shifts taken out.
used AS MATERIALIZED (
    SELECT v.*, CASE WHEN v.lowest > 0 AND v.pooled_shifts = 0 THEN ln(v.z) END AS lz,
           row_number() OVER (PARTITION BY v.nr ORDER BY v.rn)::int AS i, count(*) OVER (PARTITION BY v.nr)::int AS m
    FROM (SELECT r.*, min(r.z) OVER (PARTITION BY r.nr) AS lowest,
                 CASE WHEN r.n - r.regime_rn >= 13 AND r.regime_days >= 20 THEN 0 ELSE r.regime_rn END AS pooled_shifts
          FROM (SELECT s.nr, s.k, s.x, s.y, s.rn, s.n, s.size,
                       s.y + coalesce(sum(f.jump) OVER (PARTITION BY s.nr ORDER BY s.rn DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS z,
                       coalesce(max(f.rn) OVER (PARTITION BY s.nr), 0) AS regime_rn,
                       max(s.x) OVER (PARTITION BY s.nr) - coalesce(max(CASE WHEN f.rn IS NOT NULL THEN s.x END) OVER (PARTITION BY s.nr),
                                                                         min(s.x) OVER (PARTITION BY s.nr)) AS regime_days
                FROM news s LEFT JOIN shift f ON f.nr = s.nr AND f.rn = s.rn) r) v
    WHERE v.pooled_shifts > 0 OR v.rn >= v.regime_rn),

-- Theil-Sen on pairs half and two thirds of the fit apart, whole weeks where that is possible: a weekly cycle cancels.
slope AS MATERIALIZED (
    SELECT s.nr, percentile_cont(0.5) WITHIN GROUP (ORDER BY b.linear) AS b, percentile_cont(0.5) WITHIN GROUP (ORDER BY b.logarithmic) AS bl
    FROM (SELECT u.nr, u.x, u.z, u.lz,
                 lead(u.x, p.near) OVER fit AS x1, lead(u.z, p.near) OVER fit AS z1, lead(u.lz, p.near) OVER fit AS lz1,
                 lead(u.x, p.far) OVER fit AS x2, lead(u.z, p.far) OVER fit AS z2, lead(u.lz, p.far) OVER fit AS lz2
          FROM used u
          CROSS JOIN LATERAL (SELECT CASE WHEN u.m >= 14 THEN u.m / 2 / 7 * 7 ELSE u.m / 2 END AS near,
                                     CASE WHEN u.m >= 14 THEN u.m * 2 / 3 / 7 * 7 ELSE u.m * 2 / 3 END AS far) p
          WINDOW fit AS (PARTITION BY u.nr ORDER BY u.i)) s
    CROSS JOIN LATERAL (VALUES ((s.z1 - s.z) / (s.x1 - s.x), (s.lz1 - s.lz) / (s.x1 - s.x)),
                               ((s.z2 - s.z) / (s.x2 - s.x), (s.lz2 - s.lz) / (s.x2 - s.x))) AS b (linear, logarithmic)
    GROUP BY s.nr),
centre AS MATERIALIZED (
    SELECT u.nr, max(s.b) AS b, max(s.bl) AS bl, max(u.lz) AS top, percentile_cont(0.5) WITHIN GROUP (ORDER BY u.z - s.b * u.x) AS c,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY u.lz - s.bl * u.x) AS cl
    FROM used u JOIN slope s ON s.nr = u.nr
    GROUP BY u.nr),

-- The weekly season: medians by weekday of what the line leaves, kept when they explain it (mean absolute error falls
-- below 70 %, each side divided by its degrees of freedom). Three whole weeks are needed to tell a season from noise.
weekday AS MATERIALIZED (
    SELECT u.nr, u.k % 7 AS weekday, count(*) AS n,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY u.z - c.b * u.x - c.c) AS part
    FROM used u JOIN centre c ON c.nr = u.nr
    WHERE u.m >= 21
    GROUP BY u.nr, u.k % 7),
season AS MATERIALIZED (
    SELECT a.nr, e.ratio, CASE WHEN e.ratio < 0.7 THEN a.season END AS season, CASE WHEN e.ratio < 0.7 THEN a.middle END AS middle
    FROM (SELECT w.nr, max(w.middle) AS middle, array_agg(w.part - w.middle ORDER BY w.weekday) AS season
          FROM (SELECT w.*, avg(w.part) OVER (PARTITION BY w.nr) AS middle FROM weekday w) w
          GROUP BY w.nr HAVING count(*) = 7 AND min(w.n) >= 3) a
    JOIN (SELECT u.nr, sum(abs(u.z - c.b * u.x - c.c - w.part)) / (count(*) - 7)
                            / nullif(sum(abs(u.z - c.b * u.x - c.c)) / (count(*) - 1), 0) AS ratio
          FROM used u
          JOIN centre c ON c.nr = u.nr
          JOIN weekday w ON w.nr = u.nr AND w.weekday = u.k % 7
          GROUP BY u.nr) e ON e.nr = a.nr),

-- What line and exponential leave, in units of usage, both without the season.
fit AS MATERIALIZED (
    SELECT f.*, f.d - f.c - f.b * f.x AS e1, CASE WHEN f.cl IS NOT NULL THEN f.d - f.middle - exp(least(f.cl + f.bl * f.x, f.top + 200)) END AS e2
    FROM (SELECT u.nr, u.i, u.m, u.x, u.size, c.b, c.bl, c.c + coalesce(t.middle, 0) AS c, c.cl, c.top, coalesce(t.middle, 0) AS middle,
                 u.z - coalesce(t.season[1 + u.k % 7], 0) AS d
          FROM used u
          JOIN centre c ON c.nr = u.nr
          LEFT JOIN season t ON t.nr = u.nr) f),
stat AS MATERIALIZED (
    SELECT l.nr, max(l.m) AS m, max(l.size) AS size, max(l.x) - min(l.x) AS length, greatest(1e-9 * abs(max(l.size)), 1e-150) AS eps, avg(abs(l.e1)) AS mae1, avg(abs(l.e2)) AS mae2,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(l.e1)) AS mad1, percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(l.e2)) AS mad2,
           sum((l.e1 / l.top) * (l.p1 / l.top)) / nullif(sum((l.e1 / l.top) * (l.e1 / l.top)), 0) AS rho1,
           sum((l.e2 / l.top) * (l.p2 / l.top)) / nullif(sum((l.e2 / l.top) * (l.e2 / l.top)), 0) AS rho2,
           avg(abs(l.e1 - l.p1)) AS apart1, avg(abs(l.e2 - l.p2)) AS apart2, avg(abs(l.e1 - l.p7)) AS apart7, avg(abs(l.e1 - l.p14)) AS apart14, avg(abs(l.e1 - l.p15)) AS apart15, avg(abs(l.e1 - l.p30)) AS apart30
    FROM (SELECT f.nr, f.i, f.m, f.size, f.x, f.e1, f.e2, nullif(max(abs(f.d)) OVER (PARTITION BY f.nr), 0) AS top, lag(f.e1) OVER fit AS p1, lag(f.e2) OVER fit AS p2, lag(f.e1, 7) OVER fit AS p7, lag(f.e1, 14) OVER fit AS p14,
                 lag(f.e1, 15) OVER fit AS p15, lag(f.e1, 30) OVER fit AS p30
          FROM fit f WINDOW fit AS (PARTITION BY f.nr ORDER BY f.i)) l
    GROUP BY l.nr),

-- Which model, and whether its trend is more than noise: the fitted change over the fit's length against the standard
-- error that independent errors would give it, their number reduced by autocorrelation.
chosen AS MATERIALIZED (
    SELECT c.*, (SELECT max(s) - min(s) FROM unnest(c.season) s) AS swing, abs(c.change) / (c.sigma * sqrt(12 * (1 + c.rho) / (1 - c.rho) / c.m)) AS significance,
           CASE WHEN c.season IS NOT NULL OR c.mae1 < 0.01 * abs(c.size) THEN NULL
                WHEN c.m >= 28 AND c.apart14 < 0.7 * c.mae1 AND c.apart14 < 0.5 * c.apart7 THEN 14
                WHEN c.m >= 60 AND c.apart30 < 0.7 * c.mae1 AND c.apart30 < 0.5 * c.apart15 THEN 30 END AS cycle
    FROM (SELECT s.*, v.is_exponential,
                 CASE WHEN v.is_exponential THEN exp(s.cl) - exp(s.cl - s.bl * s.length) ELSE s.b * s.length END AS change,
                 CASE WHEN v.is_exponential THEN exp(s.cl) * (exp(least(s.bl * 365, 200)) - 1) ELSE s.b * 365 END AS change_1y,
                 -- the median error, or the mean one where most points lie on the line itself
                 greatest(s.eps, CASE WHEN v.is_exponential THEN CASE WHEN s.mad2 > s.eps THEN 1.4826 * s.mad2 ELSE 1.2533 * s.mae2 END
                                      ELSE CASE WHEN s.mad1 > s.eps THEN 1.4826 * s.mad1 ELSE 1.2533 * s.mae1 END END) AS sigma,
                 least(0.95, greatest(0, coalesce(CASE WHEN v.is_exponential THEN s.rho2 ELSE s.rho1 END, 0))) AS rho
          FROM (SELECT o.id, o.o, s.*, c.b, c.bl, c.c + coalesce(t.middle, 0) AS c, c.cl, t.ratio, t.season
                FROM stat s
                JOIN origin o ON o.nr = s.nr
                JOIN centre c ON c.nr = s.nr
                LEFT JOIN season t ON t.nr = s.nr) s
          CROSS JOIN LATERAL (SELECT coalesce(2 * s.m * ln(greatest(s.mae1, s.eps) / greatest(s.mae2, s.eps)) > 10
                                              AND s.mae2 < 0.9 * s.mae1, false) AS is_exponential) v) c),
trend AS MATERIALIZED (
    SELECT c.*, CASE WHEN c.significance < 3 OR abs(c.change_1y) < 0.01 * abs(c.size) OR c.change = 0 THEN 'LEVEL'
                     WHEN c.is_exponential THEN 'EXPONENTIAL' ELSE 'LINEAR' END AS model,
           CASE WHEN c.cycle IS NOT NULL THEN c.cycle
                WHEN CASE WHEN c.is_exponential THEN c.apart2 < 0.9 * c.mae2 ELSE c.apart1 < 0.9 * c.mae1 END THEN 3 ELSE 14 END AS anchor_points
    FROM chosen c),
-- Where the model stands at its origin: moved to the median of what the last days leave. Three of them where usage
-- wanders (neighbouring days are closer to each other than to the model), fourteen where it scatters, or a whole cycle.
anchored AS MATERIALIZED (
    SELECT t.*, greatest(0, CASE t.model WHEN 'EXPONENTIAL' THEN exp(t.cl) WHEN 'LINEAR' THEN t.c ELSE 0 END + a.offset_now) AS level,
           CASE t.model WHEN 'EXPONENTIAL' THEN t.bl WHEN 'LINEAR' THEN t.b ELSE 0 END AS slope, a.outliers, a.outlier_share
    FROM trend t
    JOIN (SELECT f.nr,
                 percentile_cont(0.5) WITHIN GROUP (ORDER BY CASE t.model WHEN 'EXPONENTIAL' THEN f.e2 + f.middle WHEN 'LINEAR' THEN f.e1 ELSE f.d END)
                     FILTER (WHERE f.i > f.m - t.anchor_points) AS offset_now,
                 count(*) FILTER (WHERE r.off)::int AS outliers,
                 coalesce(sum(r.e) FILTER (WHERE r.off), 0) / nullif(sum(r.e), 0) AS outlier_share
          FROM fit f JOIN trend t ON t.nr = f.nr
          CROSS JOIN LATERAL (SELECT abs(CASE t.model WHEN 'EXPONENTIAL' THEN f.e2 ELSE f.e1 END) AS e,
                                     abs(CASE t.model WHEN 'EXPONENTIAL' THEN f.e2 ELSE f.e1 END) > greatest(5 * t.sigma, 0.02 * abs(t.size)) AS off) r
          GROUP BY f.nr) a ON a.nr = t.nr),
typed AS MATERIALIZED (
    SELECT a.*, CASE
               WHEN a.model = 'LEVEL' THEN CASE WHEN a.swing >= 0.02 * a.level THEN 'SEASONAL' WHEN a.cycle IS NOT NULL THEN 'CYCLICAL'
                                                WHEN a.sigma > greatest(0.2 * a.level, a.eps) OR coalesce(s.shifts, 0) >= 3 THEN 'IRREGULAR' ELSE 'STABLE' END
               WHEN a.slope < 0 THEN 'DECREASING'
               WHEN CASE a.model WHEN 'EXPONENTIAL' THEN exp(a.slope) - 1 ELSE a.slope / nullif(a.level, 0) END < 0.001 THEN 'SLOW_GROWTH'
               ELSE a.model END AS pattern
    FROM anchored a LEFT JOIN (SELECT f.nr, count(*) AS shifts FROM shift f GROUP BY f.nr) s ON s.nr = a.nr),

-- Each origin's forecasts against the day that was then measured, nearest to the horizon within half the usual spacing.
history AS MATERIALIZED (
    SELECT s.id, least(15, coalesce(floor(percentile_disc(0.5) WITHIN GROUP (ORDER BY round(s.gap)) / 2), 0))::int AS reach
    FROM step s GROUP BY s.id),
target AS MATERIALIZED (
    SELECT t.*, h.days, g.k
    FROM typed t
    JOIN history y ON y.id = t.id
    CROSS JOIN LATERAL (VALUES (7), (30), (90)) AS h (days)
    CROSS JOIN LATERAL generate_series(greatest(0, t.o - h.days - y.reach), t.o - h.days + y.reach) AS g (k)
    WHERE t.o >= h.days),
scored AS MATERIALIZED (
    SELECT DISTINCT ON (t.nr, t.days) t.id, t.o, t.days, d.y AS actual, t.level,
           capacity_ops.projected(t.model, t.level, t.slope, t.season, d.k, d.x + t.o) AS forecast
    FROM target t JOIN day d ON d.id = t.id AND d.k = t.k
    ORDER BY t.nr, t.days, abs(d.k - t.o + t.days), d.k),
backtest AS MATERIALIZED (
    SELECT s.id, 100 * sum(abs(s.forecast - s.actual)) FILTER (WHERE s.days = 7) / nullif(sum(abs(s.actual)) FILTER (WHERE s.days = 7), 0) AS wape_7d,
           100 * sum(abs(s.forecast - s.actual)) FILTER (WHERE s.days = 30) / nullif(sum(abs(s.actual)) FILTER (WHERE s.days = 30), 0) AS wape_30d,
           100 * sum(abs(s.forecast - s.actual)) FILTER (WHERE s.days = 90) / nullif(sum(abs(s.actual)) FILTER (WHERE s.days = 90), 0) AS wape_90d,
           count(*) FILTER (WHERE s.days = 7)::int AS origins_7d, count(*) FILTER (WHERE s.days = 30)::int AS origins_30d,
           count(*) FILTER (WHERE s.days = 90)::int AS origins_90d,
           array_agg((s.actual - s.forecast) / nullif(s.level, 0) ORDER BY s.o) FILTER (WHERE s.days = 30) AS errors_30d
    FROM scored s WHERE s.forecast IS NOT NULL GROUP BY s.id),
agreement AS MATERIALIZED (
    SELECT n.id, count(*)::int AS origins, avg((p.pattern = n.pattern)::int::float8) AS same_pattern,
           avg((sign(p.slope) = sign(n.slope))::int::float8) AS same_direction
    FROM typed n JOIN typed p ON p.id = n.id AND p.o > 0
    WHERE n.o = 0 GROUP BY n.id),
-- The slope of the fit's later half minus that of its earlier half, by medians of its quarters; percent of the level a day.
curvature AS MATERIALIZED (
    SELECT o.id, ((q.q4 - q.q3) - (q.q2 - q.q1)) / (q.length / 4) AS change
    FROM (SELECT f.nr, max(f.x) - min(f.x) AS length,
                 percentile_cont(0.5) WITHIN GROUP (ORDER BY f.d) FILTER (WHERE (f.i - 1) * 4 / f.m = 0) AS q1,
                 percentile_cont(0.5) WITHIN GROUP (ORDER BY f.d) FILTER (WHERE (f.i - 1) * 4 / f.m = 1) AS q2,
                 percentile_cont(0.5) WITHIN GROUP (ORDER BY f.d) FILTER (WHERE (f.i - 1) * 4 / f.m = 2) AS q3,
                 percentile_cont(0.5) WITHIN GROUP (ORDER BY f.d) FILTER (WHERE (f.i - 1) * 4 / f.m = 3) AS q4
          FROM fit f JOIN origin o ON o.nr = f.nr AND o.o = 0 WHERE f.m >= 12 GROUP BY f.nr) q
    JOIN origin o ON o.nr = q.nr),
extent AS MATERIALIZED (
    SELECT d.id, count(*)::int AS daily_points, sum(d.measurements)::int AS measurements, max(d.oldest) AS oldest, min(d.newest) AS newest, max(d.peak) AS peak
    FROM day d WHERE d.k < p_analysis_days GROUP BY d.id),
broken AS MATERIALIZED (
    SELECT o.id, max(r.origin_at - make_interval(secs => d.oldest::float8)) AS regime_start,
           jsonb_agg(jsonb_build_object('at', r.origin_at - make_interval(secs => d.oldest::float8), 'change', f.jump::numeric) ORDER BY f.rn) AS breaks
    FROM shift f
    JOIN origin o ON o.nr = f.nr AND o.o = 0
    JOIN day d ON d.id = o.id AND d.k = f.k
    JOIN resource r ON r.id = o.id
    GROUP BY o.id)
SELECT r.resource_utilization_hk, r.tenant_hk, r.resource_type, r.resource_name, r.resource_category, r.unit,
       r.current_value, e.peak, r.capacity, l.warning, l.critical, r.measurement_timestamp, r.is_stale, r.origin_at,
       coalesce(e.daily_points, 0), coalesce(e.measurements, 0),
       coalesce(r.origin_at - make_interval(secs => e.oldest::float8), r.origin_at - make_interval(hours => 24 * p_analysis_days)),
       coalesce(r.origin_at - make_interval(secs => e.newest::float8), r.origin_at),
       CASE WHEN t.id IS NOT NULL THEN coalesce(b.regime_start, r.origin_at - make_interval(secs => e.oldest::float8)) END, coalesce(b.breaks, '[]'),
       t.model, t.level, t.slope, t.season, t.significance, (t.change / t.sigma) ^ 2 / ((t.change / t.sigma) ^ 2 + 12), t.sigma, t.rho, t.mae1, t.mae2, t.ratio, t.cycle,
       100 * c.change / nullif(t.level, 0), t.outliers, t.outlier_share, coalesce(t.pattern, 'INSUFFICIENT_DATA'),
       100 * g.same_pattern, 100 * g.same_direction, coalesce(g.origins, 0),
       k.wape_7d, k.wape_30d, k.wape_90d, coalesce(k.origins_7d, 0), coalesce(k.origins_30d, 0), coalesce(k.origins_90d, 0), k.errors_30d
FROM resource r
CROSS JOIN LATERAL capacity_ops.levels(r.tenant_hk, r.resource_type) l
LEFT JOIN extent e ON e.id = r.id
LEFT JOIN typed t ON t.id = r.id AND t.o = 0
LEFT JOIN broken b ON b.id = r.id
LEFT JOIN curvature c ON c.id = r.id
LEFT JOIN agreement g ON g.id = r.id
LEFT JOIN backtest k ON k.id = r.id
$$;
COMMENT ON FUNCTION capacity_ops.growth(bytea, text, integer, timestamptz) IS
    'The numbers behind analyze_growth_patterns, one row a resource of the system and of active tenants: model (LEVEL, LINEAR, EXPONENTIAL), level and slope at origin_at, weekly season, level shifts, errors of the backtest. NULL model: fewer than 7 days with measurements, or less than 14 days from the first to the last of them.';

---------------------------------------------------------------------------------------------------------------------
-- The ledger: forecasts as issued, beside what was then measured
---------------------------------------------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION capacity_ops.measured_near(p_resource_utilization_hk bytea, p_at timestamptz, p_as_of timestamptz)
RETURNS TABLE (measured numeric, measured_at timestamptz) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT CASE WHEN count(*) FILTER (WHERE n.is_same_day) > 1
                THEN (percentile_cont(0.5) WITHIN GROUP (ORDER BY n.value) FILTER (WHERE n.is_same_day))::numeric
                ELSE (array_agg(n.value ORDER BY n.distance, n.at))[1] END,
           (array_agg(n.at ORDER BY n.distance, n.at))[1]
    FROM (SELECT s.current_value AS value, s.measurement_timestamp AS at, abs(date_part('epoch', s.measurement_timestamp - p_at)) AS distance,
                 s.measurement_timestamp > p_at - interval '24 hours' AND s.measurement_timestamp <= p_at AS is_same_day
          FROM capacity_planning.resource_utilization_s s
          WHERE p_at <= p_as_of AND s.resource_utilization_hk = p_resource_utilization_hk AND s.load_end_date IS NULL
            AND (s.system_identifier IS NULL OR s.system_identifier = ANY ((SELECT capacity_ops.own_servers())::bigint[]))
            AND s.measurement_timestamp >= p_at - interval '24 hours' AND s.measurement_timestamp <= least(p_at + interval '24 hours', p_as_of)) n
    HAVING count(*) > 0;
END;
COMMENT ON FUNCTION capacity_ops.measured_near(bytea, timestamptz, timestamptz) IS
    'What a forecast for a time is held against once that time has passed: the median of the 24 hours up to it (a forecast is of the median of such a day); where less than two measurements lie in them the nearest one, at most 24 hours away.';

CREATE OR REPLACE VIEW capacity_ops.ledger AS
SELECT i.capacity_forecast_hk, i.tenant_hk, i.resource_type, i.resource_name, i.method, i.forecast_timestamp, i.horizon_days, i.target_at,
       i.projected, m.measured, 100 * abs(i.projected - m.measured) / nullif(m.measured, 0) AS absolute_percentage_error, m.measured_at, i.unit
FROM (SELECT DISTINCT f.capacity_forecast_hk, f.tenant_hk, f.resource_type, f.resource_name, f.method, f.unit, f.forecast_timestamp,
             h.days AS horizon_days, coalesce((f.model_parameters ->> 'origin')::timestamptz, f.forecast_timestamp) + make_interval(hours => 24 * h.days) AS target_at,
             h.projected
      FROM capacity_planning.capacity_forecast_s f
      CROSS JOIN LATERAL (VALUES (7, f.projected_usage_7d), (30, f.projected_usage_30d), (90, f.projected_usage_90d),
                                 (365, f.projected_usage_1y)) AS h (days, projected)
      WHERE h.projected IS NOT NULL) i
LEFT JOIN LATERAL (
    SELECT n.measured, n.measured_at FROM capacity_planning.forecast_utilization_l l
    CROSS JOIN LATERAL capacity_ops.measured_near(l.resource_utilization_hk, i.target_at, clock_timestamp()) n
    WHERE l.capacity_forecast_hk = i.capacity_forecast_hk LIMIT 1) m ON true;
COMMENT ON VIEW capacity_ops.ledger IS
    'One row a forecast as issued and horizon: what was projected, and what was then measured (capacity_ops.measured_near; NULL: nothing, or not yet). absolute_percentage_error is in percent of what was measured; NULL where that is 0.';

CREATE OR REPLACE FUNCTION capacity_ops.past_errors(p_capacity_forecast_hk bytea, p_resource_utilization_hk bytea, p_horizon_days integer, p_as_of timestamptz)
RETURNS TABLE (forecasts bigint, wape numeric) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT count(m.measured), 100 * sum(abs(i.projected - m.measured)) / nullif(sum(m.measured), 0)
    FROM (SELECT DISTINCT ON (date_trunc('day', f.forecast_timestamp, 'UTC'))
                 CASE p_horizon_days WHEN 7 THEN f.projected_usage_7d WHEN 30 THEN f.projected_usage_30d WHEN 90 THEN f.projected_usage_90d END AS projected,
                 coalesce((f.model_parameters ->> 'origin')::timestamptz, f.forecast_timestamp) + make_interval(hours => 24 * p_horizon_days) AS target_at
          FROM capacity_planning.capacity_forecast_s f
          WHERE f.capacity_forecast_hk = p_capacity_forecast_hk
            AND f.forecast_timestamp BETWEEN p_as_of - make_interval(hours => 24 * (p_horizon_days + 90)) AND p_as_of - make_interval(hours => 24 * p_horizon_days)
          ORDER BY date_trunc('day', f.forecast_timestamp, 'UTC'), f.forecast_timestamp, f.load_date) i
    CROSS JOIN LATERAL capacity_ops.measured_near(p_resource_utilization_hk, i.target_at, p_as_of) m
    WHERE i.projected IS NOT NULL;
END;
COMMENT ON FUNCTION capacity_ops.past_errors(bytea, bytea, integer, timestamptz) IS
    'How far one resource''s forecasts as issued (the first of each day) were off at a horizon of 7, 30 or 90 days, over targets of the last 90 days: 100 sum |projected - measured| / sum measured.';

---------------------------------------------------------------------------------------------------------------------
-- What the numbers mean: one document a resource, its keys named after the columns that they fill
---------------------------------------------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION capacity_ops.outlook(p_tenant_hk bytea, p_resource_type text, p_analysis_days integer, p_as_of timestamptz)
RETURNS SETOF jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET jit = off SET timezone = 'UTC'  -- times inside a document are text, and are compared as such
AS $$
WITH found AS MATERIALIZED (
    SELECT g.*, date_part('epoch', p_as_of - g.origin_at) / 86400 AS elapsed,
           g.capacity * g.warning / 100 AS warning_level, g.capacity * g.critical / 100 AS critical_level,
           capacity_ops.projected(g.model, g.level, g.slope, g.season, -7, 7)::numeric AS f7,
           capacity_ops.projected(g.model, g.level, g.slope, g.season, -30, 30)::numeric AS f30,
           capacity_ops.projected(g.model, g.level, g.slope, g.season, -90, 90)::numeric AS f90,
           capacity_ops.projected(g.model, g.level, g.slope, g.season, -365, 365)::numeric AS f365,
           g.level::numeric AS fitted, capacity_ops.projected(g.model, g.level, g.slope, NULL, 0, 1) - g.level AS per_day,
           100 * (capacity_ops.projected(g.model, g.level, g.slope, NULL, 0, 1) / nullif(g.level, 0) - 1) AS rate_1d,
           100 * (capacity_ops.projected(g.model, g.level, g.slope, NULL, 0, 7) / nullif(g.level, 0) - 1) AS rate_7d,
           100 * (capacity_ops.projected(g.model, g.level, g.slope, NULL, 0, 30) / nullif(g.level, 0) - 1) AS rate_30d,
           (SELECT max(s) - min(s) FROM unnest(g.season) s) / 2 AS amplitude,
           CASE WHEN g.model IS NULL THEN 'UNKNOWN' WHEN g.slope > 0 THEN 'INCREASING' WHEN g.slope < 0 THEN 'DECREASING' ELSE 'STABLE' END AS direction,
           CASE WHEN g.model IS NOT NULL AND g.origins_30d >= 3 THEN capacity_ops.accuracy(g.wape_30d) END AS confidence,
           format('%s %s', g.resource_type, g.resource_name) AS label,
           capacity_ops.hash_key(capacity_ops.resource_key(g.resource_type, g.resource_name, g.tenant_hk) || '|SQL') AS hk
    FROM capacity_ops.growth(p_tenant_hk, p_resource_type, p_analysis_days, p_as_of) g),
timed AS MATERIALIZED (
    SELECT f.*, 100 * f.current_usage / f.capacity AS utilization,
           capacity_ops.whole_days_until(f.current_usage, f.model, f.level, f.slope, f.season, f.capacity, f.elapsed) AS to_capacity,
           capacity_ops.whole_days_until(f.current_usage, f.model, f.level, f.slope, f.season, f.critical_level, f.elapsed) AS to_critical,
           capacity_ops.whole_days_until(f.current_usage, f.model, f.level, f.slope, f.season, f.warning_level, f.elapsed) AS to_warning,
           jsonb_array_length(f.breaks) AS shifts
    FROM found f),
ranked AS MATERIALIZED (
    SELECT t.*, capacity_ops.priority(t.current_usage, t.capacity, t.warning_level, t.critical_level, t.to_capacity, t.to_warning, t.to_critical,
                                      t.direction, t.peak) AS priority,
           coalesce(t.peak >= t.critical_level, false) AS peaked,
           -- what must be added for usage in 90 days to stay under the warning level
           greatest(0, CASE WHEN t.unit = 'bytes' THEN n.needed ELSE ceil(n.needed) END) AS missing
    FROM timed t
    CROSS JOIN LATERAL (SELECT greatest(t.f90, t.current_usage) / nullif(t.warning, 0) * 100 - t.capacity AS needed) n),
told AS MATERIALIZED (
    SELECT r.*, CASE
               WHEN r.capacity IS NULL THEN concat_ws(' ',
                   CASE WHEN r.model IS NULL THEN format('%s stands at %s; too little is measured for a forecast.', r.label, w.usage)
                        WHEN r.direction = 'INCREASING' THEN format('%s grows by %s a day and will be at %s on %s.', r.label, w.per_day, w.f90, w.in_90_days)
                        WHEN r.direction = 'DECREASING' THEN format('%s shrinks by %s a day.', r.label, w.per_day)
                        ELSE format('%s stays at about %s.', r.label, w.level) END,
                   format('Its capacity is unknown: SELECT capacity_ops.register_capacity(%s, %L, %L, <%s>, %L);',
                          coalesce(quote_literal(r.tenant_hk) || '::bytea', 'NULL'), r.resource_type, r.resource_name, r.unit, r.unit))
               WHEN r.current_usage >= r.capacity THEN
                   format('%s is full: %s of %s. Free or add capacity now%s.', r.label, w.usage, w.capacity, w.add)
               WHEN r.current_usage >= r.critical_level THEN
                   format('%s is past its critical level: %s of %s (%s %%)%s. Free or add capacity now%s.', r.label, w.usage, w.capacity, w.utilization,
                          coalesce(', full about ' || w.full_on, ''), w.add)
               WHEN r.current_usage >= r.warning_level THEN
                   format('%s is past its warning level: %s of %s (%s %%)%s. Plan more capacity%s.', r.label, w.usage, w.capacity, w.utilization,
                          CASE WHEN r.to_capacity IS NOT NULL THEN format(', full about %s (in %s days)', w.full_on, r.to_capacity) ELSE ', without growth' END, w.add)
               WHEN r.model IS NULL THEN
                   format('Keep measuring %s: days with measurements in this window: %s; a forecast needs 7 or more over at least 14. It stands at %s of %s.',
                          r.label, r.daily_points, w.usage, w.capacity)
               WHEN r.to_capacity IS NOT NULL THEN
                   format('%s grows by %s a day: %s%s of %s about %s (in %s days). %s.', r.label, w.per_day,
                          coalesce(format('warning level about %s, ', w.warning_on), ''), 'capacity', w.capacity, w.full_on, r.to_capacity,
                          CASE WHEN r.missing > 0 THEN format('Add capacity for at least %s before %s', w.missing, w.warning_on)
                               WHEN r.to_warning <= 180 THEN format('Order more capacity before %s', w.warning_on)
                               ELSE rtrim(w.verdict, '.') END)
               WHEN r.direction = 'DECREASING' THEN
                   format('%s shrinks by %s a day, now %s of %s (%s %%). %s', r.label, w.per_day, w.usage, w.capacity, w.utilization, w.verdict)
               WHEN r.direction = 'INCREASING' THEN
                   format('%s grows by %s a day and does not reach %s within a century. %s', r.label, w.per_day, w.capacity, w.verdict)
               ELSE format('%s stays at about %s of %s (now %s %%). %s', r.label, w.level, w.capacity, w.utilization, w.verdict) END AS action,
           concat_ws('; ',
               CASE WHEN p_analysis_days < 14 THEN 'a window under 14 days is shown, not recorded' END,
               CASE WHEN r.model IS NULL AND r.data_points = 0 THEN format('nothing was measured in these %s days, the last time on %s', p_analysis_days, w.measured_on)
                    WHEN r.model IS NULL THEN format('no forecast: days with measurements from %2$s to %3$s: %1$s; 7 over at least 14 are needed',
                                                     r.daily_points, w.period_start, w.period_end) END,
               CASE WHEN r.is_stale AND r.data_points > 0 THEN format('last measured on %s', w.measured_on) END,
               CASE WHEN r.capacity IS NULL THEN 'capacity unknown, so no days to it'
                    WHEN r.model IS NOT NULL AND r.to_capacity IS NULL THEN
                        CASE WHEN r.direction = 'INCREASING' THEN 'capacity is not reached within a century' ELSE 'no growth towards capacity' END END,
               CASE WHEN r.model IS NOT NULL AND r.rate_1d IS NULL THEN 'the fitted level is 0, and growth in percent of 0 has no meaning' END,
               CASE WHEN r.model IS NOT NULL AND r.f365 IS NULL THEN 'the projection leaves every scale' END,
               CASE WHEN r.model IS NOT NULL AND r.confidence IS NULL THEN
                   CASE WHEN r.origins_30d >= 3 THEN 'no confidence: usage was 0 wherever the backtest looked'
                        ELSE format('no confidence: %s of the 3 backtest origins that it needs have 14 days before and 30 after them', r.origins_30d) END END) AS reason
    FROM ranked r
    CROSS JOIN LATERAL (
        SELECT CASE WHEN r.peaked THEN capacity_ops.peak_told(r.peak, r.capacity, r.unit, p_analysis_days) ELSE 'Nothing to do.' END AS verdict,
               capacity_ops.amount(r.current_usage, r.unit) AS usage, capacity_ops.amount(r.capacity, r.unit) AS capacity,
               capacity_ops.amount(abs(r.per_day)::numeric, r.unit) AS per_day, capacity_ops.amount(r.fitted, r.unit) AS level,
               capacity_ops.amount(r.f90, r.unit) AS f90, round(r.utilization, 1) AS utilization, capacity_ops.amount(r.missing, r.unit) AS missing,
               CASE WHEN r.missing > 0 THEN format(' (at least %s more to stay under %s %% for 90 days)',
                                                   capacity_ops.amount(r.missing, r.unit), trim_scale(r.warning)) ELSE '' END AS add,
               to_char((p_as_of AT TIME ZONE 'UTC') + interval '90 days', 'YYYY-MM-DD') AS in_90_days,
               to_char((p_as_of AT TIME ZONE 'UTC') + make_interval(days => r.to_capacity), 'YYYY-MM-DD') AS full_on,
               to_char((p_as_of AT TIME ZONE 'UTC') + make_interval(days => r.to_warning), 'YYYY-MM-DD') AS warning_on,
               to_char(r.measured_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS measured_on,
               to_char(r.period_start AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS period_start,
               to_char(r.period_end AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS period_end) w)
SELECT jsonb_build_object(
           'resource_utilization_hk', t.resource_utilization_hk, 'key', capacity_ops.resource_key(t.resource_type, t.resource_name, t.tenant_hk) || '|SQL',
           'growth_pattern_hk', t.hk, 'capacity_forecast_hk', t.hk, 'tenant_hk', t.tenant_hk, 'resource_type', t.resource_type,
           'resource_name', t.resource_name, 'resource_category', t.resource_category, 'unit', t.unit, 'method', 'SQL',
           'record_source', 'capacity_planning.analyze',
           -- the forecast
           'forecast_timestamp', p_as_of, 'current_usage', t.current_usage, 'current_capacity', t.capacity,
           'utilization_percentage', round(t.utilization, 6), 'projected_usage_7d', t.f7, 'projected_usage_30d', t.f30,
           'projected_usage_90d', t.f90, 'projected_usage_1y', t.f365, 'growth_rate_daily', round(t.rate_1d::numeric, 6),
           'growth_rate_weekly', round(t.rate_7d::numeric, 6), 'growth_rate_monthly', round(t.rate_30d::numeric, 6),
           'time_to_capacity_days', t.to_capacity, 'time_to_warning_days', t.to_warning, 'time_to_critical_days', t.to_critical,
           'recommended_action', left(t.action, 500), 'action_priority', t.priority, 'confidence_level', t.confidence)
       || jsonb_build_object(
           'forecast_model', t.model || CASE WHEN t.season IS NOT NULL THEN '+WEEKLY' ELSE '' END,
           'model_accuracy', (SELECT capacity_ops.accuracy(a.wape::float8) FROM capacity_ops.past_errors(t.hk, t.resource_utilization_hk, 30, p_as_of) a),
           'seasonal_factor', CASE WHEN t.season IS NOT NULL THEN round((1 + t.season[1] / nullif(t.level, 0))::numeric, 6) END,
           'trend_direction', t.direction, 'volatility_score', round((100 * t.sigma / nullif(t.level, 0))::numeric, 4),
           'data_points_used', t.data_points, 'forecast_horizon_days', CASE WHEN t.model IS NOT NULL THEN 365 END, 'last_model_training', p_as_of,
           'model_parameters', CASE WHEN t.model IS NOT NULL THEN jsonb_build_object(
               'origin', t.origin_at, 'analysis_days', p_analysis_days, 'level', t.fitted, 'slope', t.slope::numeric, 'season', to_jsonb(t.season),
               'regime_start', t.regime_start, 'wape_7d', round(t.wape_7d::numeric, 4), 'wape_30d', round(t.wape_30d::numeric, 4),
               'wape_90d', round(t.wape_90d::numeric, 4), 'origins', t.origins_30d, 'warning', t.warning, 'critical', t.critical) END,
           'risk_assessment', CASE WHEN t.capacity IS NULL OR (t.model IS NULL AND t.priority = 'LOW') THEN 'UNKNOWN' ELSE t.priority END)
       || jsonb_build_object(
           -- the pattern
           'analysis_timestamp', p_as_of, 'pattern_type', t.pattern_type, 'analysis_period_start', t.period_start, 'analysis_period_end', t.period_end,
           'data_points_analyzed', t.data_points, 'growth_rate_percentage', round(t.rate_1d::numeric, 6),
           'growth_acceleration', round(t.acceleration::numeric, 6),
           'seasonality_detected', CASE WHEN t.season_ratio IS NOT NULL THEN t.season IS NOT NULL END,
           'seasonal_period_days', CASE WHEN t.season IS NOT NULL THEN 7 ELSE t.cycle_days END,
           'seasonal_amplitude', round((100 * t.amplitude / nullif(t.level, 0))::numeric, 4),
           'trend_strength', round((100 * t.trend_share)::numeric, 2), 'pattern_stability', CASE WHEN t.origins >= 3 THEN round(t.same_direction::numeric, 2) END,
           'pattern_confidence', CASE WHEN t.origins >= 3 THEN round(t.same_pattern::numeric, 2) END, 'outliers_detected', t.outliers,
           'outlier_impact_score', round((100 * t.outlier_share)::numeric, 2), 'pattern_breaks_detected', CASE WHEN t.model IS NOT NULL THEN t.shifts END,
           'last_pattern_break_date', (t.breaks -> -1 ->> 'at')::timestamptz AT TIME ZONE 'UTC',
           'forecast_accuracy_7d', CASE WHEN t.origins_7d >= 3 THEN capacity_ops.accuracy(t.wape_7d) END,
           'forecast_accuracy_30d', t.confidence,
           'forecast_accuracy_90d', CASE WHEN t.origins_90d >= 3 THEN capacity_ops.accuracy(t.wape_90d) END)
       || jsonb_build_object(
           'model_selection_criteria', CASE WHEN t.model IS NOT NULL THEN jsonb_build_object('mean_error_linear', t.error_linear::numeric,
               'mean_error_exponential', t.error_exponential::numeric, 'season_error_ratio', round(t.season_ratio::numeric, 4)) END,
           'cross_validation_score', (SELECT capacity_ops.accuracy(avg(e))
               FROM unnest(ARRAY[CASE WHEN t.origins_7d >= 3 THEN t.wape_7d END, CASE WHEN t.origins_30d >= 3 THEN t.wape_30d END,
                                 CASE WHEN t.origins_90d >= 3 THEN t.wape_90d END]) e HAVING count(e) > 0),
           'residual_analysis', CASE WHEN t.model IS NOT NULL THEN jsonb_build_object('sigma', t.sigma::numeric, 'autocorrelation', round(t.autocorrelation::numeric, 4)) END,
           'statistical_significance', round(least(t.significance, 1000)::numeric, 2),
           'confidence_intervals', (SELECT jsonb_build_object('30d', jsonb_build_object('share', 80, 'origins', count(e),
                   'low', greatest(0, t.f30 + t.fitted * (percentile_cont(0.1) WITHIN GROUP (ORDER BY e))::numeric),
                   'high', greatest(0, t.f30 + t.fitted * (percentile_cont(0.9) WITHIN GROUP (ORDER BY e))::numeric)))
               FROM unnest(t.errors_30d) e HAVING count(e) >= 5 AND t.f30 IS NOT NULL),
           'pattern_description', CASE WHEN t.model IS NULL THEN format('too little data: days with measurements in the window: %s', t.daily_points) ELSE concat_ws(', ',
               CASE t.direction WHEN 'INCREASING' THEN 'grows' WHEN 'DECREASING' THEN 'shrinks' ELSE 'holds its level' END
                   || CASE WHEN t.direction <> 'STABLE' AND t.rate_1d IS NOT NULL THEN format(' by %s %% a day', trim_scale(round(abs(t.rate_1d)::numeric, 4))) ELSE '' END,
               CASE WHEN t.season IS NOT NULL THEN 'with a weekly cycle' END,
               CASE WHEN t.cycle_days IS NOT NULL THEN format('with a cycle of %s days', t.cycle_days) END,
               CASE WHEN t.shifts > 0 THEN format('%s level shift(s), the last one by %s', t.shifts,
                    capacity_ops.amount((t.breaks -> -1 ->> 'change')::numeric, t.unit)) END) END,
           'risk_factors', to_jsonb(array_remove(ARRAY[
               CASE WHEN t.capacity IS NULL THEN 'capacity unknown' END,
               CASE WHEN t.shifts > 0 THEN 'level shifts: the forecast assumes that none follows' END,
               CASE WHEN t.model = 'EXPONENTIAL' THEN 'growth compounds' END,
               CASE WHEN t.confidence < 85 THEN 'backtest: less than 85 % at 30 days' END], NULL)),
           'next_analysis_due_date', (t.origin_at AT TIME ZONE 'UTC')::date
               + CASE WHEN t.model IS NULL THEN 1 ELSE greatest(1, least(7, t.to_critical / 10)) END)
       || jsonb_build_object(
           -- what only the caller sees
           'growth_per_day', t.per_day::numeric, 'regime_start', t.regime_start, 'pattern_breaks', t.breaks,
           'wape_7d', round(t.wape_7d::numeric, 4), 'wape_30d', round(t.wape_30d::numeric, 4), 'wape_90d', round(t.wape_90d::numeric, 4),
           'backtest_origins', t.origins_30d, 'reason', nullif(t.reason, ''))
FROM told t
ORDER BY t.tenant_hk NULLS FIRST, t.resource_type, t.resource_name
$$;
COMMENT ON FUNCTION capacity_ops.outlook(bytea, text, integer, timestamptz) IS
    'capacity_ops.growth put into the words and columns of growth_pattern_s and capacity_forecast_s, one document a resource.';

---------------------------------------------------------------------------------------------------------------------
-- The routines that operators call
---------------------------------------------------------------------------------------------------------------------
-- New versions of what changed, nothing where nothing did: hash_diff leaves out the times of computing. Rows are built by
-- column name, so that the documents and the tables cannot drift apart in silence; OFFSET 0 builds each of them once.
CREATE OR REPLACE FUNCTION capacity_ops.record_outlook(p_found jsonb[]) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_at timestamptz := clock_timestamp();
    v_patterns capacity_planning.growth_pattern_s[];
    v_forecasts capacity_planning.capacity_forecast_s[];
BEGIN
    INSERT INTO capacity_planning.growth_pattern_h (growth_pattern_hk, growth_pattern_bk, load_date, record_source)
    SELECT (j ->> 'growth_pattern_hk')::bytea, j ->> 'key', v_at, j ->> 'record_source' FROM unnest(p_found) j ON CONFLICT DO NOTHING;
    INSERT INTO capacity_planning.capacity_forecast_h (capacity_forecast_hk, capacity_forecast_bk, load_date, record_source)
    SELECT (j ->> 'capacity_forecast_hk')::bytea, j ->> 'key', v_at, j ->> 'record_source' FROM unnest(p_found) j ON CONFLICT DO NOTHING;

    SELECT array_agg(n.made) INTO v_patterns
    FROM unnest(p_found) j
    LEFT JOIN capacity_planning.growth_pattern_s c ON c.growth_pattern_hk = (j ->> 'growth_pattern_hk')::bytea AND c.load_end_date IS NULL
    CROSS JOIN LATERAL (
        SELECT jsonb_populate_record(NULL::capacity_planning.growth_pattern_s, j || jsonb_build_object(
            'load_date', capacity_ops.next_load_date(c.load_date), 'hash_diff', '\x'::bytea, 'pattern_revision_history',
            CASE WHEN c.pattern_type <> j ->> 'pattern_type' THEN coalesce(c.pattern_revision_history, '[]')
                     || jsonb_build_object('at', j ->> 'analysis_timestamp', 'from', c.pattern_type, 'to', j ->> 'pattern_type')
                 ELSE c.pattern_revision_history END)) AS made OFFSET 0) r
    CROSS JOIN LATERAL (
        SELECT jsonb_populate_record(r.made, jsonb_build_object('hash_diff',
            capacity_ops.hash_diff(to_jsonb(r.made), VARIADIC capacity_ops.in_place('growth_pattern_s')))) AS made OFFSET 0) n
    WHERE c.hash_diff IS DISTINCT FROM (n.made).hash_diff;
    UPDATE capacity_planning.growth_pattern_s c SET load_end_date = n.load_date
    FROM unnest(v_patterns) n WHERE c.growth_pattern_hk = n.growth_pattern_hk AND c.load_end_date IS NULL;
    INSERT INTO capacity_planning.growth_pattern_s SELECT n.* FROM unnest(v_patterns) n;

    SELECT array_agg(n.made) INTO v_forecasts
    FROM unnest(p_found) j
    LEFT JOIN capacity_planning.capacity_forecast_s c ON c.capacity_forecast_hk = (j ->> 'capacity_forecast_hk')::bytea AND c.load_end_date IS NULL
    CROSS JOIN LATERAL (
        SELECT jsonb_populate_record(NULL::capacity_planning.capacity_forecast_s, j || jsonb_build_object(
            'load_date', capacity_ops.next_load_date(c.load_date), 'hash_diff', '\x'::bytea)) AS made OFFSET 0) r
    CROSS JOIN LATERAL (
        SELECT jsonb_populate_record(r.made, jsonb_build_object('hash_diff',
            capacity_ops.hash_diff(to_jsonb(r.made), VARIADIC capacity_ops.in_place('capacity_forecast_s')))) AS made OFFSET 0) n
    WHERE c.hash_diff IS DISTINCT FROM (n.made).hash_diff;
    UPDATE capacity_planning.capacity_forecast_s c SET load_end_date = n.load_date
    FROM unnest(v_forecasts) n WHERE c.capacity_forecast_hk = n.capacity_forecast_hk AND c.load_end_date IS NULL;
    INSERT INTO capacity_planning.capacity_forecast_s SELECT n.* FROM unnest(v_forecasts) n;

    INSERT INTO capacity_planning.forecast_utilization_l
        (link_forecast_utilization_hk, capacity_forecast_hk, resource_utilization_hk, tenant_hk, load_date, record_source)
    SELECT capacity_ops.hash_key(encode(l.forecast_hk, 'hex') || '|' || encode(l.utilization_hk, 'hex')), l.forecast_hk, l.utilization_hk,
           (j ->> 'tenant_hk')::bytea, v_at, j ->> 'record_source'
    FROM unnest(p_found) j
    CROSS JOIN LATERAL (SELECT (j ->> 'capacity_forecast_hk')::bytea AS forecast_hk, (j ->> 'resource_utilization_hk')::bytea AS utilization_hk) l
    ON CONFLICT DO NOTHING;
    INSERT INTO capacity_planning.pattern_forecast_l
        (link_pattern_forecast_hk, growth_pattern_hk, capacity_forecast_hk, tenant_hk, load_date, record_source)
    SELECT capacity_ops.hash_key(encode(l.pattern_hk, 'hex') || '|' || encode(l.forecast_hk, 'hex')), l.pattern_hk, l.forecast_hk,
           (j ->> 'tenant_hk')::bytea, v_at, j ->> 'record_source'
    FROM unnest(p_found) j
    CROSS JOIN LATERAL (SELECT (j ->> 'growth_pattern_hk')::bytea AS pattern_hk, (j ->> 'capacity_forecast_hk')::bytea AS forecast_hk) l
    ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION capacity_ops.record_outlook(jsonb[]) IS 'Records the documents of capacity_ops.outlook: hubs, versions of pattern and forecast, links.';

DO $changed$
DECLARE
    v_known oid := to_regprocedure('capacity_planning.analyze_growth_patterns(bytea, varchar, integer, timestamptz)');
BEGIN
    -- CREATE OR REPLACE cannot change result columns; dropping would lose what was granted, so only where it must be.
    IF v_known IS NOT NULL AND (SELECT count(*) FROM pg_proc, unnest(proargmodes) m WHERE oid = v_known AND m = 't') <> 35 THEN
        DROP FUNCTION capacity_planning.analyze_growth_patterns(bytea, varchar, integer, timestamptz);
    END IF;
END
$changed$;

CREATE OR REPLACE FUNCTION capacity_planning.analyze_growth_patterns(
    p_tenant_hk bytea DEFAULT NULL, p_resource_type varchar DEFAULT NULL, p_analysis_days integer DEFAULT 30, p_as_of timestamptz DEFAULT NULL)
RETURNS TABLE (resource_type varchar, pattern_type varchar, growth_rate_percentage numeric, confidence_level numeric,
               forecast_7d numeric, forecast_30d numeric, forecast_90d numeric, time_to_capacity_days integer, recommended_action varchar,
               tenant_hk bytea, resource_name varchar, unit varchar, current_usage numeric, capacity numeric, utilization_percentage numeric,
               forecast_1y numeric, time_to_warning_days integer, time_to_critical_days integer, trend_direction varchar, growth_per_day numeric,
               regime_start timestamptz, seasonality_detected boolean, seasonal_amplitude numeric, outliers_detected integer, pattern_breaks jsonb,
               wape_7d numeric, wape_30d numeric, wape_90d numeric, backtest_origins integer, data_points_used integer,
               analysis_period_start timestamptz, analysis_period_end timestamptz, action_priority varchar, forecast_model varchar, reason text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_as_of timestamptz := coalesce(p_as_of, clock_timestamp());
    v_days integer := coalesce(p_analysis_days, 30);
    v_recording boolean := false;
    v_found jsonb[];
    v_later bytea[];
BEGIN
    PERFORM capacity_ops.require_tenant(p_tenant_hk);
    IF v_days NOT BETWEEN 1 AND 3650 THEN
        RAISE EXCEPTION 'p_analysis_days must be between 1 and 3650, not %', v_days;
    ELSIF NOT isfinite(v_as_of) THEN
        RAISE EXCEPTION 'p_as_of must be a time, not %', v_as_of;
    ELSIF NOT capacity_ops.is_watched(p_tenant_hk) THEN
        RAISE NOTICE 'tenant % is inactive: it is not analysed, its history stays', encode(p_tenant_hk, 'hex');
        RETURN;
    END IF;
    IF v_days >= 14 AND NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::boolean THEN
        v_recording := capacity_ops.begin_recording('analyze');
    END IF;
    SELECT coalesce(array_agg(o ORDER BY n), '{}') INTO v_found
    FROM capacity_ops.outlook(p_tenant_hk, p_resource_type, v_days, v_as_of) WITH ORDINALITY AS f (o, n);

    IF v_recording THEN
        SELECT coalesce(array_agg(f.capacity_forecast_hk), '{}') INTO v_later
        FROM unnest(v_found) j
        JOIN capacity_planning.capacity_forecast_s f ON f.capacity_forecast_hk = (j ->> 'capacity_forecast_hk')::bytea
        WHERE f.load_end_date IS NULL AND f.forecast_timestamp > v_as_of;
        IF v_later <> '{}' THEN
            RAISE NOTICE '% resource(s) have a forecast later than % already: shown, not recorded', cardinality(v_later), v_as_of;
            v_found := (SELECT array_agg(CASE WHEN (j ->> 'capacity_forecast_hk')::bytea = ANY (v_later)
                            THEN j || jsonb_build_object('reason', concat_ws('; ', j ->> 'reason', 'not recorded: a later forecast is there already')) ELSE j END ORDER BY n)
                        FROM unnest(v_found) WITH ORDINALITY AS f (j, n));
        END IF;
        PERFORM capacity_ops.record_outlook((SELECT array_agg(j) FROM unnest(v_found) j WHERE (j ->> 'capacity_forecast_hk')::bytea <> ALL (v_later)));
    END IF;

    RETURN QUERY
    SELECT x.resource_type, x.pattern_type, x.growth_rate_percentage, x.confidence_level, x.projected_usage_7d, x.projected_usage_30d,
           x.projected_usage_90d, x.time_to_capacity_days, x.recommended_action, x.tenant_hk, x.resource_name, x.unit, x.current_usage,
           x.current_capacity, x.utilization_percentage, x.projected_usage_1y, x.time_to_warning_days, x.time_to_critical_days,
           x.trend_direction, x.growth_per_day, x.regime_start, x.seasonality_detected, x.seasonal_amplitude, x.outliers_detected,
           x.pattern_breaks, x.wape_7d, x.wape_30d, x.wape_90d, x.backtest_origins, x.data_points_used, x.analysis_period_start,
           x.analysis_period_end, x.action_priority, x.forecast_model, x.reason
    FROM unnest(v_found) WITH ORDINALITY AS f (j, n)
    CROSS JOIN LATERAL jsonb_to_record(f.j) AS x (
        resource_type varchar, pattern_type varchar, growth_rate_percentage numeric, confidence_level numeric, projected_usage_7d numeric,
        projected_usage_30d numeric, projected_usage_90d numeric, time_to_capacity_days integer, recommended_action varchar, tenant_hk bytea,
        resource_name varchar, unit varchar, current_usage numeric, current_capacity numeric, utilization_percentage numeric,
        projected_usage_1y numeric, time_to_warning_days integer, time_to_critical_days integer, trend_direction varchar,
        growth_per_day numeric, regime_start timestamptz, seasonality_detected boolean, seasonal_amplitude numeric, outliers_detected integer,
        pattern_breaks jsonb, wape_7d numeric, wape_30d numeric, wape_90d numeric, backtest_origins integer, data_points_used integer,
        analysis_period_start timestamptz, analysis_period_end timestamptz, action_priority varchar, forecast_model varchar, reason text)
    ORDER BY f.n;
END
$$;
COMMENT ON FUNCTION capacity_planning.analyze_growth_patterns(bytea, varchar, integer, timestamptz) IS
    'Growth of each resource (NULL tenant: the system''s and every active tenant''s; NULL type: all) from the measurements of the last p_analysis_days up to p_as_of (NULL: now), recorded as pattern and forecast under method SQL. Windows under 14 days, and times before the recorded forecast, are shown and not recorded. reason says why a number is missing.';

CREATE OR REPLACE PROCEDURE capacity_planning.run_capacity_analysis(p_tenant_hk bytea DEFAULT NULL, p_create_default_thresholds boolean DEFAULT true)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_row record;
    v_shown integer := 0;
    v_total integer;
BEGIN
    RAISE NOTICE 'Capturing current resource utilization...';
    PERFORM capacity_planning.capture_resource_utilization(p_tenant_hk);

    RAISE NOTICE 'Analyzing growth patterns...';
    FOR v_row IN
        SELECT a.*, count(*) OVER () AS total FROM capacity_planning.analyze_growth_patterns(p_tenant_hk, NULL, 30) a
        ORDER BY a.time_to_capacity_days, a.tenant_hk NULLS FIRST, a.resource_type, a.resource_name LIMIT 50
    LOOP
        RAISE NOTICE 'Resource: %, Pattern: %, Growth Rate: %, Days to Capacity: %', v_row.resource_type, v_row.pattern_type,
            coalesce(round(v_row.growth_rate_percentage, 4) || '%', 'unknown'),
            coalesce(v_row.time_to_capacity_days::text, CASE WHEN v_row.capacity IS NULL OR v_row.forecast_model IS NULL THEN 'unknown' ELSE 'none in sight' END);
        v_shown := v_shown + 1;
        v_total := v_row.total;
    END LOOP;
    IF v_total > v_shown THEN
        RAISE NOTICE '... and % more resources: SELECT * FROM capacity_planning.growth_forecast_summary', v_total - v_shown;
    END IF;

    IF p_create_default_thresholds THEN
        RAISE NOTICE 'Creating default capacity thresholds...';
        PERFORM capacity_ops.create_default_thresholds(p_tenant_hk);
    END IF;

    RAISE NOTICE 'Evaluating capacity thresholds...';
    PERFORM capacity_planning.evaluate_capacity_thresholds(p_tenant_hk);
    RAISE NOTICE 'Capacity analysis completed successfully';
END
$$;
COMMENT ON PROCEDURE capacity_planning.run_capacity_analysis(bytea, boolean) IS
    'Capture, analyse over 30 days, make the default thresholds that are missing (NULL: the system''s, else the tenant''s), evaluate; NOTICEs tell of it, the 50 most urgent resources by name.';

---------------------------------------------------------------------------------------------------------------------
-- Rules behind the columns
---------------------------------------------------------------------------------------------------------------------
COMMENT ON COLUMN capacity_planning.growth_pattern_s.pattern_type IS
    'Method SQL, by daily medians of the window. INSUFFICIENT_DATA: fewer than 7 days with measurements, or less than 14 days from the first to the last. A trend is real when the fitted change over the fit is at least 3 standard errors (statistical_significance) and at least 1 % of the median level in a year; the exponential is chosen over the line when 2 n ln(mean error of the line / of the exponential) > 10 and its error is under 90 % of the line''s. With a trend: DECREASING (slope < 0), SLOW_GROWTH (under 0.1 % of the level a day), EXPONENTIAL, else LINEAR. Without: SEASONAL (a weekly cycle that lowers the mean error under 70 %, degrees of freedom counted, and swings by 2 % of the level or more), CYCLICAL (days 14 or 30 apart differ by less than 70 % of the mean error and less than half of what days 7 or 15 apart do), IRREGULAR (noise over 20 % of the level, or 3 level shifts or more), else STABLE. Method ENGINE, by the forecast of up to 730 days, a value a day (the last one of what is stored, the mean of what fluctuates). INSUFFICIENT_DATA: fewer than 14 days from the first to the last, or 12 with measurements, or none in the last 30 days. A trend is real when the middle half of the fourth week ahead leaves out the present level (after level shifts, of which the forecast expects more, its narrower side), and a year of it is 1 % of that. With a trend: DECREASING, SLOW_GROWTH (under 0.1 % of the level a day), EXPONENTIAL (compound growth has half of the weight), else LINEAR. Without: SEASONAL (cycles have half of the weight, and swing by 2 % of the level or more), IRREGULAR (half of the days a week ahead lie 20 % of the level or more apart from the middle), else STABLE.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.analysis_period_start IS 'First and last measurement (analysis_period_end) that the window holds.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.data_points_analyzed IS 'Measurements in the window.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.growth_rate_percentage IS
    'Change over the next day in percent of the present fitted level; 0 when no trend is real. NULL: no model, or a level of 0.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.growth_acceleration IS
    'Slope of the fit''s later half minus slope of its earlier half (medians of quarters), percent of the fitted level a day.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.seasonality_detected IS 'A weekly cycle is in the fit. NULL: less than three whole weeks to judge by.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.seasonal_amplitude IS 'Half of the distance between the highest and the lowest weekday, percent of the fitted level.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.trend_strength IS
    '100 V / (V + s^2): V the variance of the fitted trend over the fit (its change squared / 12), s the robust spread of what it leaves.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.pattern_stability IS
    'Share of the backtest''s origins, percent, whose fit pointed in the same direction (up, down, level) as the present one. NULL under 3 origins.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.pattern_confidence IS
    'Share of the backtest''s origins, percent, whose fit had the same pattern_type as the present one. NULL under 3 origins.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.outliers_detected IS
    'Days of the fit further from the model than 5 robust standard deviations and 2 % of the level; outlier_impact_score is their share of all absolute errors, percent.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.pattern_breaks_detected IS
    'Level shifts in the window: a day''s step that neither the trend (the median step, or the median ratio) nor the same weekday''s step a week earlier explains, above 6 robust standard deviations of such steps and 1 % of the level, and that the medians of up to 7 days before and after (at least 2 each), and the change over 7 days, confirm by at least two thirds.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.forecast_accuracy_30d IS
    'forecast_accuracy_7d, _30d, _90d: greatest(0, 100 - WAPE) at that horizon over the backtest''s origins (five to ten, evenly over the history with 14 days before and 30 after, or 7 where that leaves under three; each fitted on its own past only, and of the same days under either method); NULL under 3 origins. cross_validation_score is 100 minus the mean of those WAPEs.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.statistical_significance IS
    'The fitted change in standard errors: |change| / (s sqrt(12 / n)), s the robust spread of the residuals, n their number times (1 - r) / (1 + r) for the autocorrelation r of neighbouring days (0 to 0.95). Shown up to 1000.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.confidence_intervals IS
    'Usage in 30 days, 10th to 90th percentile: the projection plus that percentile of the backtest''s errors at 30 days relative to the level at their origins. NULL under 5 origins.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.next_analysis_due_date IS
    'A tenth of the days to the critical level after the newest day, at least 1 and at most 7; 1 while data is insufficient.';
COMMENT ON COLUMN capacity_planning.growth_pattern_s.pattern_revision_history IS 'Changes of pattern_type from analysis to analysis: [{at, from, to}], oldest first.';
COMMENT ON COLUMN capacity_planning.capacity_forecast_s.confidence_level IS
    'greatest(0, 100 - WAPE at 30 days) of the backtest on this resource''s own history (see growth_pattern_s.forecast_accuracy_30d). NULL until 3 origins have 14 days before and 30 days after them.';
COMMENT ON COLUMN capacity_planning.capacity_forecast_s.model_accuracy IS
    'greatest(0, 100 - WAPE) of this resource''s forecasts as issued for 30 days ahead, the first of each day, whose target lies in the last 90 days, against what was then measured (capacity_ops.ledger). NULL until one has matured.';
COMMENT ON COLUMN capacity_planning.capacity_forecast_s.growth_rate_daily IS
    'Percent of the present fitted level a day; growth_rate_weekly and growth_rate_monthly: the trend''s change over 7 and 30 days in percent of it.';
COMMENT ON COLUMN capacity_planning.capacity_forecast_s.projected_usage_30d IS
    'projected_usage_7d, _30d, _90d, _1y: trend plus the weekday''s part so many days after the origin (the newest measurement, moved on by whole days), never below 0.';
COMMENT ON COLUMN capacity_planning.capacity_forecast_s.time_to_capacity_days IS
    'Whole days from forecast_timestamp, rounded down, until the forecast reaches the capacity (time_to_warning_days, time_to_critical_days: the level of capacity_ops.levels). 0: it is there. NULL: not within a century, not growing, or no capacity known.';
COMMENT ON COLUMN capacity_planning.capacity_forecast_s.action_priority IS
    'CRITICAL: at the critical level, or full within 7 days. HIGH: at the warning level, full within 30 days or critical within 7. MEDIUM: full within 90 days, warning within 30, a measurement of the window (method SQL: p_analysis_days; ENGINE: the last 30 days) past the critical level, or growing with unknown capacity. Else LOW. risk_assessment is the same, UNKNOWN without capacity or model.';
COMMENT ON COLUMN capacity_planning.capacity_forecast_s.volatility_score IS 'Robust spread of the residuals in percent of the fitted level.';
COMMENT ON COLUMN capacity_planning.capacity_forecast_s.seasonal_factor IS 'What the origin''s weekday is, as a multiple of the week''s mean level. NULL without a weekly cycle.';
COMMENT ON COLUMN capacity_planning.capacity_forecast_s.cost_projection IS 'NULL: nothing here knows a price. So are external_factors, business_impact_assessment and mitigation_strategies.';

INSERT INTO capacity_ops.deployment (step, version, applied_at, applied_by)
VALUES (10, '0.1.0', clock_timestamp(), session_user)
ON CONFLICT (step) DO UPDATE SET version = excluded.version, applied_at = excluded.applied_at, applied_by = excluded.applied_by;

COMMIT;
