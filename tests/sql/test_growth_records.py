"""What an analysis leaves behind: versions, links, the ledger; and what it must not do to others."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest

from capacity_kit import resources

AS_OF = datetime(2026, 11, 1, tzinfo=UTC)
DAYS = np.arange(0, 61.0)
FORECASTS = "SELECT * FROM capacity_planning.capacity_forecast_s WHERE resource_name = %s ORDER BY load_date"
PATTERNS = "SELECT * FROM capacity_planning.growth_pattern_s WHERE resource_name = %s ORDER BY load_date"
ANALYZE = "SELECT count(*) FROM capacity_planning.analyze_growth_patterns(NULL, NULL, 60, %s)"


def line(t):
    return 40e9 + 1e9 * t


@contextmanager
def notices(connection):
    """What the server says meanwhile."""
    said = []
    handler = lambda diagnostic: said.append(diagnostic.message_primary)  # noqa: E731
    connection.add_notice_handler(handler)
    yield said
    connection.remove_notice_handler(handler)


def test_what_is_returned_is_recorded_and_linked(bench):
    tenant = bench.plant("disk", 60 - DAYS, line(DAYS) - 30e9 * (DAYS > 30))
    row = bench.analyze()["disk"]
    (forecast,) = bench.rows(FORECASTS, "disk")
    for column, stored in {
        "forecast_7d": "projected_usage_7d",
        "forecast_30d": "projected_usage_30d",
        "forecast_90d": "projected_usage_90d",
        "forecast_1y": "projected_usage_1y",
        "growth_rate_percentage": "growth_rate_daily",
        "capacity": "current_capacity",
    }.items():
        assert row[column] == forecast[stored], column
    for column in set(row) & set(forecast):
        assert row[column] == forecast[column], column
    (pattern,) = bench.rows(PATTERNS, "disk")
    for column in set(row) & set(pattern):
        assert row[column] == pattern[column], column
    assert (forecast["method"], pattern["method"], forecast["forecast_timestamp"]) == ("SQL", "SQL", AS_OF)
    assert pattern["pattern_breaks_detected"] == 1
    assert str(pattern["last_pattern_break_date"]) == "2026-10-03"
    (linked,) = bench.rows(
        "SELECT f.capacity_forecast_bk, r.resource_utilization_bk, g.growth_pattern_bk "
        "FROM capacity_planning.capacity_forecast_h f "
        "JOIN capacity_planning.forecast_utilization_l USING (capacity_forecast_hk) "
        "JOIN capacity_planning.resource_utilization_h r USING (resource_utilization_hk) "
        "JOIN capacity_planning.pattern_forecast_l USING (capacity_forecast_hk) "
        "JOIN capacity_planning.growth_pattern_h g USING (growth_pattern_hk)"
    )
    key = f"STORAGE|disk|{tenant.hex()}"
    assert list(linked.values()) == [f"{key}|SQL", key, f"{key}|SQL"]
    assert forecast["capacity_forecast_hk"] == bench.value("SELECT sha256(%s::bytea)", f"{key}|SQL".encode())


def test_a_version_when_there_is_news_and_none_otherwise(bench):
    bench.plant("disk", 60 - DAYS, line(DAYS), capacity=200.5e9)
    bench.analyze()
    for later in (0, 1, 3600):  # the same measurements, looked at again within the day
        bench.analyze(as_of=AS_OF + timedelta(seconds=later))
    assert len(bench.rows(FORECASTS, "disk")) == len(bench.rows(PATTERNS, "disk")) == 1
    bench.plant("disk", -0.5, line(60.5))
    bench.analyze(as_of=AS_OF + timedelta(hours=12))
    closed, current = bench.rows(FORECASTS, "disk")
    assert closed["load_end_date"] == current["load_date"] > closed["load_date"]
    assert current["load_end_date"] is None
    assert (closed["forecast_timestamp"], current["forecast_timestamp"]) == (
        AS_OF,
        AS_OF + timedelta(hours=12),
    )
    bench.rows(
        "UPDATE capacity_planning.resource_utilization_s SET current_value = current_value + 1e9 "
        "WHERE measurement_timestamp > %s RETURNING 1",
        AS_OF,
    )
    bench.analyze(as_of=AS_OF + timedelta(hours=12))
    assert len(bench.rows(FORECASTS, "disk")) == 3
    assert len(bench.rows("SELECT FROM capacity_planning.forecast_utilization_l")) == 1
    assert len(bench.rows("SELECT FROM capacity_planning.pattern_forecast_l")) == 1


def test_the_sessions_time_zone_changes_nothing(bench):
    bench.plant(
        "disk", 60 - DAYS, line(DAYS) - 30e9 * (DAYS > 30), capacity=200.5e9
    )  # summer time ends in between
    rows = bench.analyze(as_of=AS_OF + timedelta(hours=60))
    for zone in ("America/New_York", "Asia/Kolkata", "Europe/Berlin"):
        bench.connection.execute(f"SET timezone = '{zone}'")
        assert bench.analyze(as_of=AS_OF + timedelta(hours=60)) == rows
    assert len(bench.rows(FORECASTS, "disk")) == len(bench.rows(PATTERNS, "disk")) == 1


def test_an_operators_update_stays_as_a_version(bench):
    bench.plant("disk", 60 - DAYS, line(DAYS))
    bench.analyze()
    bench.rows("UPDATE capacity_planning.capacity_forecast_s SET model_accuracy = 1 RETURNING 1")
    bench.analyze()
    found = bench.rows(FORECASTS, "disk")
    assert [row["model_accuracy"] for row in found] == [None, 1, None]
    assert [row["load_end_date"] for row in found[:2]] == [row["load_date"] for row in found[1:]]


def test_the_history_of_a_pattern(bench):
    bench.plant("disk", 60 - DAYS, line(DAYS))
    bench.analyze(as_of=AS_OF - timedelta(days=50))
    bench.analyze(as_of=AS_OF - timedelta(days=20))
    bench.analyze()
    *_, last = bench.rows(PATTERNS, "disk")
    assert [(step["from"], step["to"]) for step in last["pattern_revision_history"]] == [
        ("INSUFFICIENT_DATA", "LINEAR")
    ]


def test_an_earlier_time_is_shown_and_not_recorded(bench):
    bench.plant("disk", 60 - DAYS, line(DAYS))
    bench.analyze()
    with notices(bench.connection) as said:
        row = bench.analyze(as_of=AS_OF - timedelta(days=10))["disk"]
    assert float(row["current_usage"]) == line(50)
    assert "not recorded" in row["reason"]
    assert any("later" in message and "not recorded" in message for message in said), said
    assert [f["forecast_timestamp"] for f in bench.rows(FORECASTS, "disk")] == [AS_OF]


def test_a_window_under_14_days_is_shown_and_not_recorded(bench):
    bench.plant("disk", 60 - DAYS, line(DAYS))
    row = bench.analyze(days=7)["disk"]
    assert row["pattern_type"] == "INSUFFICIENT_DATA"
    assert "not recorded" in row["reason"]
    assert bench.rows(FORECASTS, "disk") == bench.rows(PATTERNS, "disk") == []
    assert bench.analyze(days=14)["disk"]["pattern_type"] == "LINEAR"
    assert len(bench.rows(FORECASTS, "disk")) == 1


def test_insufficient_data_is_recorded_as_such(bench):
    bench.plant("disk", [1, 0.5, 0], [1, 2, 3])
    bench.analyze()
    (forecast,) = bench.rows(FORECASTS, "disk")
    assert (forecast["projected_usage_30d"], forecast["forecast_model"]) == (None, None)
    assert (forecast["trend_direction"], forecast["risk_assessment"]) == ("UNKNOWN", "UNKNOWN")
    assert forecast["model_parameters"] is None


def test_reading_only_is_enough_to_look(bench):
    bench.plant("disk", 60 - DAYS, line(DAYS))
    bench.connection.execute("SET default_transaction_read_only = on")
    assert bench.rows(ANALYZE, AS_OF) == [{"count": 1}]
    bench.connection.execute("SET default_transaction_read_only = off")
    assert bench.rows(FORECASTS, "disk") == []


def test_the_ledger_holds_each_forecast_beside_what_came(bench):
    t = np.arange(0, 201.0)
    values = line(t) + 20e9 * np.sin(t / 9)
    bench.plant("disk", 200 - t, values, capacity=1e12)
    issued = [AS_OF - timedelta(days=int(back)) for back in (120, 90, 60, 30, 0)]
    for at in issued:
        bench.analyze(as_of=at)
        bench.analyze(as_of=at)  # asked twice, issued once
    bench.rows(
        "UPDATE capacity_planning.capacity_forecast_s SET volatility_score = 1 WHERE load_end_date IS NULL RETURNING 1"
    )
    ledger = bench.rows("SELECT * FROM capacity_ops.ledger ORDER BY forecast_timestamp, horizon_days")
    assert len(ledger) == 5 * 4
    for row in ledger:
        back = (AS_OF - row["target_at"]).days
        assert row["target_at"] == row["forecast_timestamp"] + timedelta(days=row["horizon_days"])
        if back < 0:
            assert row["measured"] is None
        else:
            assert float(row["measured"]) == pytest.approx(values[200 - back])
            error = abs(row["projected"] - row["measured"]) / row["measured"] * 100
            assert row["absolute_percentage_error"] == pytest.approx(error)
    matured = [row for row in ledger if row["horizon_days"] == 30 and row["measured"] is not None]
    assert len(matured) == 4
    off = sum(abs(row["projected"] - row["measured"]) for row in matured)
    accuracy = 100 - 100 * off / sum(row["measured"] for row in matured)
    *_, before, current = bench.rows(FORECASTS, "disk")
    assert before["model_accuracy"] == current["model_accuracy"]
    assert float(current["model_accuracy"]) == pytest.approx(float(accuracy), abs=0.01)
    first = bench.rows(FORECASTS, "disk")[0]
    assert first["model_accuracy"] is None


def test_measured_within_a_day_of_the_target_or_not_at_all(bench):
    t = np.arange(0, 61.0)
    bench.plant("disk", 60 - t, line(t))
    bench.analyze()
    for days, expected in ((29.2, line(89.2)), (30.9, line(89.2)), (30.5, line(90.5))):
        bench.plant("disk", -days, line(60 + days))
        row = bench.rows(
            "SELECT n.* FROM capacity_planning.forecast_utilization_l, "
            "capacity_ops.measured_near(resource_utilization_hk, %s, 'infinity') n",
            AS_OF + timedelta(days=30),
        )
        assert float(row[0]["measured"]) == pytest.approx(expected)
    assert (
        bench.rows(
            "SELECT n.* FROM capacity_planning.forecast_utilization_l, "
            "capacity_ops.measured_near(resource_utilization_hk, %s, 'infinity') n",
            AS_OF + timedelta(days=40),
        )
        == []
    )


def test_two_analyses_at_once_record_once(bench, pg):
    bench.plant("disk", 60 - DAYS, line(DAYS))
    bench.connection.execute("UPDATE capacity_ops.setting SET value = 0.5 WHERE name = 'lock_wait_seconds'")
    with pg.connect(autocommit=False) as first:
        first.execute(ANALYZE, [AS_OF])  # recorded, not committed: the guide's DO block in mid-loop
        with notices(bench.connection) as said:
            begun = time.monotonic()
            assert bench.rows(ANALYZE, AS_OF) == [{"count": 1}]
            waited = time.monotonic() - begun
        assert 0.5 <= waited < 5
        assert any("nothing recorded" in message for message in said), said
        begun = time.monotonic()
        bench.rows("SELECT capacity_planning.scheduled_capacity_analysis()")
        assert time.monotonic() - begun < 5
        first.commit()
    assert len(bench.rows(FORECASTS, "disk")) == 1
    bench.analyze(as_of=AS_OF + timedelta(days=1))
    found = bench.rows(FORECASTS, "disk")
    assert [row["load_end_date"] is None for row in found] == [False, True]


def test_the_guides_loop_over_tenants(bench):
    for name in ("one", "two", "three"):
        bench.plant(name, 60 - DAYS, line(DAYS))
    bench.connection.execute(
        "INSERT INTO auth.tenant_profile_s SELECT tenant_hk, now(), NULL, '', 'gone', NULL, false, 5, 'test' "
        "FROM auth.tenant_h WHERE tenant_bk = 'two'"
    )
    bench.connection.execute(
        "DO $$ DECLARE r record; BEGIN FOR r IN SELECT tenant_hk FROM auth.tenant_h LOOP "
        "PERFORM capacity_planning.analyze_growth_patterns(r.tenant_hk, NULL, 30); END LOOP; END $$"
    )
    found = bench.rows("SELECT resource_name FROM capacity_planning.capacity_forecast_s ORDER BY 1")
    assert [row["resource_name"] for row in found] == ["one", "three"]


def test_run_capacity_analysis_says_what_it_does(bench):
    tenant = bench.plant("disk", 60 - DAYS, line(DAYS), as_of=datetime.now(UTC))
    with notices(bench.connection) as said:
        bench.connection.execute("CALL capacity_planning.run_capacity_analysis(NULL, true)")
    steps = [message for message in said if message.endswith("...") or "completed" in message]
    assert steps == [
        "Capturing current resource utilization...",
        "Analyzing growth patterns...",
        "Creating default capacity thresholds...",
        "Evaluating capacity thresholds...",
        "Capacity analysis completed successfully",
    ]
    lines = [message for message in said if message.startswith("Resource: ")]
    assert lines[0] == "Resource: STORAGE, Pattern: LINEAR, Growth Rate: 1.0000%, Days to Capacity: 99"
    assert any(
        "INSUFFICIENT_DATA, Growth Rate: unknown, Days to Capacity: unknown" in message for message in lines
    )
    thresholds = bench.rows("SELECT * FROM capacity_planning.capacity_threshold_s")
    assert {row["tenant_hk"] for row in thresholds} == {None}
    defaults = bench.value("SELECT 2 * count(*) FROM capacity_ops.default_threshold WHERE scope = 'SYSTEM'")
    assert len(thresholds) == defaults
    with notices(bench.connection) as said:
        bench.connection.execute("CALL capacity_planning.run_capacity_analysis(%s, true)", [tenant])
        bench.connection.execute("CALL capacity_planning.run_capacity_analysis(%s, false)", [tenant])
    assert said.count("Creating default capacity thresholds...") == 1
    of_tenant = bench.rows("SELECT * FROM capacity_planning.capacity_threshold_s WHERE tenant_hk IS NOT NULL")
    assert {row["tenant_hk"] for row in of_tenant} == {tenant}
    assert {
        (row["resource_type"], row["threshold_type"], row["threshold_percentage"]) for row in of_tenant
    } >= {
        ("STORAGE", "WARNING", 80),
        ("STORAGE", "CRITICAL", 90),
    }


def test_default_thresholds_only_where_none_is(bench):
    bench.rows("SELECT capacity_planning.create_capacity_threshold(NULL, 'my own', 'STORAGE', 60, 'WARNING')")
    bench.rows("UPDATE capacity_planning.capacity_threshold_s SET is_active = false RETURNING 1")
    for _ in range(2):
        bench.connection.execute("CALL capacity_planning.run_capacity_analysis(NULL, true)")
    found = bench.rows(
        "SELECT threshold_name, threshold_type, is_active FROM capacity_planning.capacity_threshold_s "
        "WHERE resource_type = 'STORAGE' AND load_end_date IS NULL ORDER BY threshold_type DESC"
    )
    assert [list(row.values()) for row in found] == [
        ["my own", "WARNING", False],
        ["STORAGE critical", "CRITICAL", True],
    ]


def test_many_resources_are_not_all_named(bench):
    now = datetime.now(UTC)
    for i in range(55):
        bench.plant(f"disk {i}", 0, 1e9, as_of=now)
    with notices(bench.connection) as said:
        bench.connection.execute("CALL capacity_planning.run_capacity_analysis(NULL, false)")
    assert sum(message.startswith("Resource: ") for message in said) == 50
    assert any("more resources" in message for message in said)


def test_the_files_apply_again_and_in_order_only(bench, empty):
    sql = {file.name: file.read_text() for file in sorted(resources.path("sql").glob("step_1*.sql"))}
    rights = "SELECT proacl::text FROM pg_proc WHERE proname = 'analyze_growth_patterns'"
    bench.connection.execute(
        "GRANT EXECUTE ON FUNCTION capacity_planning.analyze_growth_patterns TO pg_monitor"
    )
    granted = bench.value(rights)
    bench.connection.execute(
        "CREATE OR REPLACE FUNCTION capacity_planning.scheduled_capacity_analysis() RETURNS void "
        "LANGUAGE sql AS 'SELECT 1'"
    )
    for text in sql.values():
        bench.connection.execute(text.encode())
    assert bench.value(rights) == granted
    own = "SELECT prosrc FROM pg_proc WHERE proname = 'scheduled_capacity_analysis'"
    assert bench.value(own).strip() == "SELECT 1"
    steps = bench.rows("SELECT step FROM capacity_ops.deployment WHERE step >= 10 ORDER BY step")
    assert [row["step"] for row in steps] == [int(name.split("_")[1]) for name in sql]
    for name, needed in (
        ("step_10_growth_forecasting.sql", "step 9"),
        ("step_11_scheduled_analysis.sql", "step 10"),
        ("step_12_engine_forecasts.sql", "step 10"),
    ):
        with (
            empty.connect() as connection,
            pytest.raises(psycopg.errors.RaiseException, match=f"{needed} is missing"),
        ):
            connection.execute(sql[name].encode())
