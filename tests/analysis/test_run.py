import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from psycopg import conninfo

from capacity_kit import vault
from capacity_kit.analysis import run
from capacity_kit.analysis.local import windowed, workers
from capacity_kit.errors import CapacityError
from capacity_kit.vault.forecasts import Recorded

AS_OF = datetime(2026, 11, 1, tzinfo=UTC)
CURRENT = """
    SELECT to_jsonb(s) - '{load_date,hash_diff}'::text[] AS said
    FROM capacity_planning.capacity_forecast_s s WHERE load_end_date IS NULL
    UNION ALL
    SELECT to_jsonb(s) - '{load_date,hash_diff}'::text[]
    FROM capacity_planning.growth_pattern_s s WHERE load_end_date IS NULL
    ORDER BY 1"""
LEFT = "SELECT " + ", ".join(
    f"(SELECT count(*) FROM capacity_planning.{table})"
    for table in (
        "capacity_forecast_s",
        "growth_pattern_s",
        "capacity_forecast_h",
        "growth_pattern_h",
        "forecast_utilization_l",
        "pattern_forecast_l",
    )
)
BY_RESOURCE = """
    FROM (SELECT l.resource_utilization_hk, f.* FROM capacity_planning.capacity_forecast_s f
          JOIN capacity_planning.forecast_utilization_l l USING (capacity_forecast_hk)) f"""
RUN = """
    import sys, time
    from capacity_kit import vault
    from capacity_kit.analysis import run
    from capacity_kit.analysis.local import workers

    if __name__ == "__main__":
        with vault.open(sys.argv[1]) as store, workers(int(sys.argv[2])) as over:
            for done in run.analyse(store, as_of="2026-11-01", size=4, over=over):
                print(done.done, flush=True)
                time.sleep(float(sys.argv[3]))
"""


def analyse(database, **options):
    """All that a run says, and the notices that it drew."""
    with database.vault() as store:
        return list(run.analyse(store, **{"as_of": AS_OF, **options})), store.notices


def total(done):
    return Recorded(*(sum(getattr(d.recorded, name) for d in done) for name in Recorded.__dataclass_fields__))


@pytest.mark.parametrize("database", ["own", "own15"])
def test_what_is_found_is_recorded_beside_the_databases_own_analysis(request, database):
    own = request.getfixturevalue(database)
    own.rows("SELECT * FROM capacity_planning.analyze_growth_patterns(NULL, NULL, 60, %s)", AS_OF)
    done, _ = analyse(own, size=16)
    assert total(done) == Recorded(recorded=40)
    assert own.rows(LEFT) == [(80, 80, 80, 80, 80, 80)]
    said = {r["resource_utilization_hk"][2:]: r for d in done for r in d.records}
    rows = own.rows(
        "SELECT encode(f.resource_utilization_hk, 'hex'), to_jsonb(f), to_jsonb(p), h.capacity_forecast_bk"
        + BY_RESOURCE
        + " JOIN capacity_planning.capacity_forecast_h h USING (capacity_forecast_hk)"
        " JOIN capacity_planning.pattern_forecast_l USING (capacity_forecast_hk)"
        " JOIN capacity_planning.growth_pattern_s p USING (growth_pattern_hk)"
        " WHERE f.method = 'ENGINE' AND p.method = 'ENGINE'"
    )
    assert len(rows) == 40
    for key, forecast, pattern, business_key in rows:
        record = said[key]
        assert business_key == f"STORAGE|data|{record['tenant_hk'][2:]}|ENGINE"
        for name, value in record.items():
            kept = pattern if name in pattern and name not in forecast else forecast
            if name in kept:
                assert kept[name] == value
        assert set(record) - {"measured_at", "resource_utilization_hk"} <= forecast.keys() | pattern.keys()
        assert forecast["utilization_percentage"] == pytest.approx(100 * record["current_usage"] / 150e9)
        assert pattern["pattern_description"].endswith(".")
        assert forecast["recommended_action"]


def test_the_order_of_urgency_is_the_databases_own(own):
    own.rows("SELECT * FROM capacity_planning.analyze_growth_patterns(NULL, NULL, 60, %s)", AS_OF)
    analyse(own)
    found = own.rows(
        """
        SELECT f.method, f.action_priority,
               capacity_ops.priority(f.current_usage, f.current_capacity, f.current_capacity * l.warning / 100,
                   f.current_capacity * l.critical / 100, f.time_to_capacity_days, f.time_to_warning_days,
                   f.time_to_critical_days, f.trend_direction,
                   CASE WHEN f.method = 'SQL' THEN (
                            SELECT max(s.current_value) FROM capacity_planning.resource_utilization_s s
                            WHERE s.resource_utilization_hk = f.resource_utilization_hk
                              AND s.load_end_date IS NULL AND s.measurement_timestamp > %s)
                        ELSE (f.model_parameters ->> 'peak_30d')::numeric END)
        FROM (SELECT l.resource_utilization_hk, f.* FROM capacity_planning.capacity_forecast_s f
              JOIN capacity_planning.forecast_utilization_l l USING (capacity_forecast_hk)) f
        CROSS JOIN LATERAL capacity_ops.levels(f.tenant_hk, f.resource_type) l""",
        AS_OF - timedelta(days=60),
    )
    assert len(found) == 80
    assert all(kept == by_rule for _, kept, by_rule in found)
    assert len({kept for _, kept, _ in found}) >= 3


def test_what_peaked_past_its_critical_level_is_of_interest_to_both_methods(own):
    """A forecast that stays far below, and a day three weeks ago that did not."""
    key = own.value("SELECT min(resource_utilization_hk) FROM capacity_planning.resource_utilization_h")
    own.run("DELETE FROM capacity_planning.resource_utilization_s WHERE resource_utilization_hk <> %s", key)
    change = "UPDATE capacity_planning.resource_utilization_s SET {} WHERE load_end_date IS NULL"
    own.run(change.format("maximum_capacity = 1e12, current_value = 2e11"))
    own.run(change.format("current_value = 95e10") + " AND measurement_timestamp = %s", AS_OF - timedelta(21))
    own.rows("SELECT * FROM capacity_planning.analyze_growth_patterns(NULL, NULL, 60, %s)", AS_OF)
    analyse(own)
    current = (
        "SELECT method, action_priority, recommended_action FROM capacity_planning.capacity_forecast_s"
        " WHERE load_end_date IS NULL"
    )
    found = {method: said for method, *said in own.rows(current)}
    for method in ("SQL", "ENGINE"):
        assert found[method][0] == "MEDIUM"
        assert "peaked at 884.76 GiB (95.0 %)" in found[method][1]
    # A month later it is forgotten.
    analyse(own, as_of=AS_OF + timedelta(days=30))
    found = {method: said for method, *said in own.rows(current)}
    assert found["ENGINE"][0] == "LOW"
    assert "peaked" not in found["ENGINE"][1]


def test_the_better_forecast_is_the_one_that_erred_less(own):
    own.rows("SELECT * FROM capacity_planning.analyze_growth_patterns(NULL, NULL, 60, %s)", AS_OF)
    assert own.rows("SELECT DISTINCT method FROM capacity_ops.better_forecast") == [("SQL",)]
    analyse(own)
    better = own.rows("SELECT resource_utilization_hk, b.method, b.confidence_level FROM capacity_ops.better_forecast b"
                      " JOIN capacity_planning.forecast_utilization_l USING (capacity_forecast_hk)")  # fmt: skip
    assert len(better) == 40
    best = dict(own.rows(f"SELECT resource_utilization_hk, max(confidence_level) {BY_RESOURCE} GROUP BY 1"))
    assert {hk: confidence for hk, _, confidence in better} == best
    assert {method for _, method, _ in better} == {"SQL", "ENGINE"}
    # A method that nobody ran for a month is out of it.
    own.rows(
        "SELECT * FROM capacity_planning.analyze_growth_patterns(NULL, NULL, 60, %s)",
        AS_OF + timedelta(days=30),
    )
    assert own.rows("SELECT DISTINCT method FROM capacity_ops.better_forecast") == [("SQL",)]


def test_both_methods_are_tested_from_the_same_origins(own):
    """Records of many lengths, one of them measured a while ago."""
    own.run("""
        DELETE FROM capacity_planning.resource_utilization_s s USING auth.tenant_h t
        WHERE t.tenant_hk = s.tenant_hk AND mod(substr(t.tenant_bk, 2)::int, 2) = 0
          AND '2026-11-01Z'::timestamptz - s.measurement_timestamp
              > make_interval(hours => 24 * (33 + 2 * substr(t.tenant_bk, 2)::int))""")
    own.run("""
        DELETE FROM capacity_planning.resource_utilization_s s USING auth.tenant_h t
        WHERE t.tenant_hk = s.tenant_hk AND t.tenant_bk = 't40' AND s.measurement_timestamp > '2026-10-25Z'""")
    own.rows("SELECT * FROM capacity_planning.analyze_growth_patterns(NULL, NULL, 30, %s)", AS_OF)
    analyse(own)
    found = own.rows("""
        SELECT e.data_points_used, (q.model_parameters ->> 'origins')::int, (e.model_parameters ->> 'origins')::int
        FROM capacity_planning.capacity_forecast_s e
        JOIN capacity_planning.capacity_forecast_s q USING (tenant_hk, resource_type, resource_name)
        WHERE e.method = 'ENGINE' AND q.method = 'SQL' AND q.forecast_model IS NOT NULL ORDER BY 1""")
    assert len(found) == 40
    assert len({points for points, _, _ in found}) > 15
    assert {by_sql for _, by_sql, _ in found} == {0, 3, 6, 7, 8, 9, 10}
    assert [by_sql for _, by_sql, _ in found] == [by_engine for _, _, by_engine in found]


def test_the_ledger_scores_the_engines_forecasts_too(own):
    analyse(own, as_of=AS_OF - timedelta(days=40))
    analyse(own)
    scored = own.rows(
        "SELECT count(*) FROM capacity_ops.ledger"
        " WHERE method = 'ENGINE' AND horizon_days = 30 AND measured IS NOT NULL"
    )
    assert scored == [(40,)]
    (accuracy,) = own.rows(
        "SELECT min(model_accuracy), max(model_accuracy) FROM capacity_planning.capacity_forecast_s"
        " WHERE method = 'ENGINE' AND load_end_date IS NULL"
    )
    assert 0 <= accuracy[0] <= accuracy[1] <= 100


def test_the_same_time_again_repeats_nothing(own):
    first, _ = analyse(own)
    before = own.rows(CURRENT), own.rows(LEFT)
    again, _ = analyse(own)
    assert again == []
    assert (own.rows(CURRENT), own.rows(LEFT)) == before
    assert total(first).recorded == 40


def test_what_came_out_as_before_makes_no_version_and_is_not_looked_at_again(own):
    analyse(own, as_of=AS_OF + timedelta(hours=1))
    later = AS_OF + timedelta(hours=3)
    assert total(analyse(own, as_of=later)[0]) == Recorded(unchanged=40)
    assert own.rows(LEFT)[0][:2] == (40, 40)
    assert analyse(own, as_of=later)[0] == []
    tomorrow = AS_OF + timedelta(days=1)
    assert total(analyse(own, as_of=tomorrow)[0]) == Recorded(recorded=40)
    assert own.rows(
        "SELECT count(*) FROM capacity_planning.capacity_forecast_s WHERE load_end_date IS NULL"
    ) == [(40,)]


def test_an_earlier_time_is_shown_and_not_recorded(own):
    analyse(own)
    before = own.rows(CURRENT)
    done, notices = analyse(own, as_of=AS_OF - timedelta(days=10), size=25)
    assert total(done) == Recorded(later=40)
    assert len([r for d in done for r in d.records]) == 40
    assert any("later than" in notice for notice in notices)
    assert own.rows(CURRENT) == before


def test_two_workers_say_what_one_says(many, close):
    one = [r for d in analyse(many, size=8, dry_run=True)[0] for r in d.records]
    with workers(2) as over:
        two = [r for d in analyse(many, size=8, dry_run=True, over=over)[0] for r in d.records]
    assert close(one, two)


@pytest.mark.parametrize("count", [1, 2])
def test_killed_and_run_again_it_leaves_what_an_uninterrupted_run_leaves(own, many, tmp_path, count):
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(RUN))
    command = [sys.executable, str(script), own.dsn, str(count)]
    with subprocess.Popen([*command, "0.2"], stdout=subprocess.PIPE, text=True) as running:
        assert [running.stdout.readline().strip() for _ in range(3)] == ["4", "8", "12"]
        children = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
    recorded = own.rows(LEFT)[0][0]
    assert 12 <= recorded < 40
    done = subprocess.run([*command, "0"], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) == 40 - recorded
    killed = own.rows(CURRENT), own.rows(LEFT)
    whole = own.server.create(many.name)
    try:
        analyse(whole)
        assert (whole.rows(CURRENT), whole.rows(LEFT)) == killed
    finally:
        whole.drop()


def test_a_chunk_is_recorded_wholly_or_not_at_all(own):
    own.run("ALTER TABLE capacity_planning.pattern_forecast_l ADD CONSTRAINT refused CHECK (false) NOT VALID")
    with pytest.raises(CapacityError, match="refused"):
        analyse(own)
    assert own.rows(LEFT) == [(0, 0, 0, 0, 0, 0)]


def test_a_dry_run_needs_only_the_right_to_read(own):
    own.run("CREATE ROLE analyst LOGIN")
    try:
        own.run(
            f"""
            GRANT USAGE ON SCHEMA capacity_planning, capacity_ops, auth TO analyst;
            GRANT SELECT ON ALL TABLES IN SCHEMA capacity_planning, capacity_ops, auth TO analyst;
            REVOKE TEMPORARY ON DATABASE {own.name} FROM PUBLIC;
            ALTER ROLE analyst SET default_transaction_read_only = on"""
        )
        with vault.open(conninfo.make_conninfo(own.dsn, user="analyst")) as store:
            assert store.server.role == "analyst"
            done = list(run.analyse(store, as_of=AS_OF, dry_run=True))
            assert [len(d.records) for d in done] == [40]
            assert total(done) == Recorded()
            with store.transaction(read_only=True):  # the database's own analysis, as --dry-run runs it
                assert len(store.analyze(as_of=AS_OF)) == 40
            with pytest.raises(CapacityError):
                list(run.analyse(store, as_of=AS_OF))
        assert own.rows(LEFT) == [(0, 0, 0, 0, 0, 0)]
    finally:
        own.run("DROP OWNED BY analyst; DROP ROLE analyst")


def test_while_another_session_records_nothing_is_recorded(own):
    own.run("UPDATE capacity_ops.setting SET value = 0.1 WHERE name = 'lock_wait_seconds'")
    with own.connect(autocommit=False) as other:
        other.execute("SELECT capacity_ops.begin_recording('analyze')")
        done, notices = analyse(own)
    assert total(done) == Recorded(skipped=40)
    assert any("another session" in notice for notice in notices)
    assert own.rows(LEFT) == [(0, 0, 0, 0, 0, 0)]
    assert total(analyse(own)[0]).recorded == 40


FELL = """
    UPDATE capacity_planning.resource_utilization_s s
    SET current_value = round(CASE WHEN s.measurement_timestamp > %s THEN 70e9 ELSE 100e9 END
                              + 3e8 * (date_part('epoch', s.measurement_timestamp - %s) / 86400)::numeric
                              + 1e8 * (extract(doy FROM s.measurement_timestamp) %% 2))
    FROM auth.tenant_h t WHERE t.tenant_hk = s.tenant_hk AND t.tenant_bk = %s AND s.load_end_date IS NULL"""


SECOND = """
    WITH keyed AS (
        SELECT t.tenant_hk, k.key, capacity_ops.hash_key(k.key) AS hk FROM auth.tenant_h t
        CROSS JOIN LATERAL capacity_ops.resource_key('STORAGE', 'index', t.tenant_hk) k (key)
        WHERE t.tenant_bk = 't3'),
    hub AS (INSERT INTO capacity_planning.resource_utilization_h SELECT hk, key, now(), 'test' FROM keyed)
    INSERT INTO capacity_planning.resource_utilization_s
    SELECT r.* FROM capacity_planning.resource_utilization_s s JOIN keyed k USING (tenant_hk)
    CROSS JOIN LATERAL jsonb_populate_record(
        s, jsonb_build_object('resource_name', 'index', 'resource_utilization_hk', k.hk)) r"""


def test_a_shift_is_explained_by_what_the_database_knows_or_said_to_be_unexplained(own):
    at = AS_OF - timedelta(days=30)
    own.run(SECOND)
    for tenant in ("t3", "t5"):
        own.run(FELL, at - timedelta(hours=12), AS_OF - timedelta(days=120), tenant)
    shown = {r["resource_utilization_hk"]: r for d in analyse(own, dry_run=True)[0] for r in d.records}
    analyse(own)
    found = own.rows("""
        SELECT t.tenant_bk, p.resource_name, p.pattern_description, p.external_events_impact, p.last_pattern_break_date
        FROM capacity_planning.growth_pattern_s p JOIN auth.tenant_h t USING (tenant_hk)
        WHERE p.method = 'ENGINE' AND p.pattern_breaks_detected > 0 AND t.tenant_bk IN ('t3', 't5') ORDER BY 1, 2""")
    assert [row[:2] for row in found] == [("t3", "data"), ("t3", "index"), ("t5", "data")]
    for tenant, name, said, impact, day in found:
        assert day == at.date()
        assert impact["shift_at"] == at.isoformat()
        assert said in {record["pattern_description"] for record in shown.values()}
        if tenant == "t3":
            other = {"data": "index", "index": "data"}[name]
            assert (
                f"since the cleanup of {day} (2 resources of the tenant fell together: this one, STORAGE {other})"
                in said
            )
            assert [e["kind"] for e in impact["evidence"]] == ["CLEANUP"]
            assert impact["shifts"][-1]["evidence"] == impact["evidence"]
        else:
            assert f"since {day} (nothing that the database knows of explains it)" in said
            assert impact["evidence"] == []


def test_every_shift_of_the_window_is_recorded_with_its_evidence(own):
    """Storage that was cleaned up once with another resource of the tenant, and that rose alone later."""
    fell, rose = AS_OF - timedelta(days=80), AS_OF - timedelta(days=30)
    values = """
        UPDATE capacity_planning.resource_utilization_s s
        SET current_value = round(CASE WHEN s.measurement_timestamp < %(fell)s THEN 100e9
                                       WHEN s.measurement_timestamp < %(rose)s OR s.resource_name = 'index' THEN 60e9
                                       ELSE 90e9 END
                                  + 3e8 * (date_part('epoch', s.measurement_timestamp - %(start)s) / 86400)::numeric
                                  + 5e8 * (extract(doy FROM s.measurement_timestamp) %% 2))
        FROM auth.tenant_h t WHERE t.tenant_hk = s.tenant_hk AND t.tenant_bk = 't3'"""
    own.run(SECOND)
    with own.connect() as connection:
        connection.execute(values, {"start": AS_OF - timedelta(days=120), "fell": fell, "rose": rose})
    analyse(own, tenant="t3")
    shifts = own.rows("""
        SELECT l.shifted_at, round(l.change, -10) / 1e10, l.is_newest, l.cause, l.evidence
        FROM capacity_ops.level_shifts() l WHERE l.resource_name = 'data' ORDER BY 1""")
    assert shifts == [
        (fell, -4, False, "CLEANUP", "2 resources of the tenant fell together: this one, STORAGE index"),
        (rose, 3, True, None, None),
    ]
    with own.vault() as store:
        scope = {"scope": "ALL", "resource_type": "STORAGE"}
        shown = store.read("engine_shifts", as_of=AS_OF, **scope)
        assert shown["tenant"].tolist() == ["t3"] * 3
        assert shown["shifted_at"].is_monotonic_decreasing
        assert store.read("engine_shifts", as_of=AS_OF - timedelta(days=1), **scope).empty
    found = own.value("SELECT external_events_impact FROM capacity_planning.growth_pattern_s"
                      " WHERE resource_name = 'data' AND method = 'ENGINE'")  # fmt: skip
    assert found["shift_at"] == rose.isoformat()
    assert found["evidence"] == []


def test_whether_limits_were_announced_is_recorded_and_to_be_read(own):
    """A line that reached its critical level in the record is announced; without a capacity there is no verdict."""
    line = """
        UPDATE capacity_planning.resource_utilization_s s
        SET current_value = round(40e9 + 1e9 * (date_part('epoch', s.measurement_timestamp - %s) / 86400)::numeric),
            maximum_capacity = CASE WHEN t.tenant_bk = 't3' THEN 150e9 END
        FROM auth.tenant_h t WHERE t.tenant_hk = s.tenant_hk AND t.tenant_bk IN ('t3', 't4')"""
    own.run(line, AS_OF - timedelta(days=120))
    analyse(own, tenant="t3")
    analyse(own, tenant="t4")
    with own.vault() as store:
        found = store.read("engine_decisions", as_of=AS_OF, scope="ALL", resource_type="ALL")
    assert found["tenant"].tolist() == ["t3"]
    (row,) = found.to_dict("records")
    # 135e9 is passed 95 days after the beginning: all origins that lay below had it within 90 days.
    assert row["horizon_days"] == 90
    assert row["judged"] == row["reached"] == row["announced"] > 0
    assert row["false_announcements"] == 0


def test_a_capacity_that_changes_midway_moves_the_runway_and_not_the_forecast(own):
    """Usage is what is forecast; the barrier is what the resource holds at its newest measurement."""
    before = {r["resource_utilization_hk"]: r for d in analyse(own, dry_run=True)[0] for r in d.records}
    own.run(
        "UPDATE capacity_planning.resource_utilization_s SET maximum_capacity = NULL WHERE load_end_date IS NULL"
    )
    tenant, key = own.rows("""
        SELECT s.tenant_hk, encode(s.resource_utilization_hk, 'hex') FROM capacity_planning.resource_utilization_s s
        JOIN auth.tenant_h t USING (tenant_hk) WHERE t.tenant_bk = 't9' LIMIT 1""")[0]
    for days, capacity in ((120, 150e9), (20, 300e9)):
        own.run(
            "SELECT capacity_ops.register_capacity(%s, 'STORAGE', 'data', %s::numeric, 'bytes', %s)",
            *(tenant, capacity, AS_OF - timedelta(days=days)),
        )
    after = {r["resource_utilization_hk"]: r for d in analyse(own, dry_run=True)[0] for r in d.records}
    old, new = before[rf"\x{key}"], after[rf"\x{key}"]
    assert (old["current_capacity"], new["current_capacity"]) == (150e9, 300e9)
    assert new["model_parameters"]["quantiles"] == old["model_parameters"]["quantiles"]
    assert new["model_parameters"]["runway"]["capacity"]["level"] == 300e9
    assert new["model_parameters"]["runway"]["warning"]["level"] == 240e9
    assert old["time_to_capacity_days"] < (new["time_to_capacity_days"] or 366)
    (then,) = (
        r
        for d in analyse(own, as_of=AS_OF - timedelta(days=21), dry_run=True)[0]
        for r in d.records
        if r["resource_utilization_hk"] == rf"\x{key}"
    )
    assert then["current_capacity"] == 150e9
    assert then["model_parameters"]["capacity_changes"] == []  # what was registered later was not known then
    later = AS_OF + timedelta(days=10)
    own.run(
        "INSERT INTO capacity_ops.capacity_registry VALUES (%s, 'STORAGE', 'data', 110e9, 'bytes', %s, 'x', %s)",
        *(tenant, later, AS_OF - timedelta(days=1)),
    )
    planned = {r["resource_utilization_hk"]: r for d in analyse(own, dry_run=True)[0] for r in d.records}
    ahead = planned[rf"\x{key}"]["model_parameters"]
    assert ahead["capacity_changes"] == [{"from": later.isoformat(), "capacity": 110e9}]
    assert new["model_parameters"]["runway"]["capacity"]["by"]["30"] == 0
    assert ahead["runway"]["capacity"]["p50"] == 10
    assert ahead["runway"]["capacity"]["by"] == {"7": 0, "30": 1, "90": 1, "365": 1}


def test_scope(own):
    own.run(
        "INSERT INTO auth.tenant_profile_s"
        " SELECT tenant_hk, now(), NULL, tenant_hk, tenant_bk, NULL, false, 10, 'test'"
        " FROM auth.tenant_h WHERE tenant_bk = 't7'"
    )
    for scope, count in (({}, 39), ({"tenant": "t3"}, 1), ({"tenant": "t7"}, 0), ({"tenant": "SYSTEM"}, 0),
                         ({"resource_type": "STORAGE"}, 39), ({"resource_type": "CPU"}, 0)):  # fmt: skip
        done, _ = analyse(own, dry_run=True, **scope)
        assert sum(len(d.records) for d in done) == count
    with pytest.raises(CapacityError, match="no tenant"):
        analyse(own, tenant="nobody")
    with pytest.raises(CapacityError, match="14 days"):
        analyse(own, days=13)
    with pytest.raises(CapacityError, match="at least one resource"):
        analyse(own, size=0)
    with pytest.raises(CapacityError, match="at least one worker"), workers(0):
        pass


def test_a_resource_under_somebody_elses_key_is_looked_at_once(own):
    own.run("""
        INSERT INTO capacity_planning.resource_utilization_h VALUES ('\\x00', 'other', now(), 'test');
        INSERT INTO capacity_planning.resource_utilization_s
        SELECT (jsonb_populate_record(s, '{"resource_utilization_hk": "\\\\x00"}')).*
        FROM capacity_planning.resource_utilization_s s
        JOIN auth.tenant_h t USING (tenant_hk) WHERE t.tenant_bk = 't3'""")
    assert total(analyse(own)[0]) == Recorded(recorded=40)


def test_what_is_no_longer_measured_has_no_forecast_left(own):
    later = AS_OF + timedelta(days=31)
    for at in (AS_OF, later):
        own.rows("SELECT * FROM capacity_planning.analyze_growth_patterns(NULL, NULL, 30, %s)", at)
        done, _ = analyse(own, as_of=at)
        assert total(done).recorded == 40
    said = own.rows("""
        SELECT projected_usage_30d, recommended_action, forecast_timestamp FROM capacity_planning.capacity_forecast_s
        WHERE method = 'ENGINE' AND load_end_date IS NULL""")
    assert {(ahead, at) for ahead, _, at in said} == {(None, later)}
    assert any("was last measured on 2026-11-01" in action for _, action, _ in said)
    assert not any("Keep measuring" in action for _, action, _ in said)
    shown = own.rows(
        "SELECT projected_30d, min_days_to_capacity FROM capacity_planning.growth_forecast_summary"
    )
    assert set(shown) == {(None, None)}


def test_as_of_limits_what_is_seen_and_is_now_by_default(own):
    done, _ = analyse(own, as_of=AS_OF - timedelta(days=60), dry_run=True)
    assert {r["data_points_used"] for d in done for r in d.records} == {60}
    before = datetime.now(UTC)
    done, _ = analyse(own, as_of=None, days=14 + (before - AS_OF).days, dry_run=True)
    assert before - timedelta(seconds=5) <= done[0].as_of <= datetime.now(UTC) + timedelta(seconds=5)


def test_no_more_tasks_are_taken_than_can_be_worked_on():
    taken = []

    class Promise:
        def __init__(self, task):
            self.task = task

        def result(self):
            return self.task

    def tasks():
        for i in range(100):
            taken.append(i)
            yield i

    for task in windowed(Promise, tasks(), 4):
        assert len(taken) - task <= 4


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_series(server18, fill, tmp_path):
    script = tmp_path / "memory.py"
    script.write_text(
        "import resource, sys\n"
        "from capacity_kit import vault\n"
        "from capacity_kit.analysis import run\n"
        "with vault.open(sys.argv[1]) as store:\n"
        "    done = [d.done for d in run.analyse(store, as_of='2026-11-01', size=64)]\n"
        "print(done[-1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    peak = {}
    for count in (200, 1200):
        database = server18.create("deployed")
        fill(database, count, 60)
        done = subprocess.run(
            [sys.executable, str(script), database.dsn], capture_output=True, text=True, check=True
        )
        database.drop()
        series, megabytes = done.stdout.split()
        assert int(series) == count
        peak[count] = float(megabytes)
    assert peak[1200] - peak[200] < 8, peak
