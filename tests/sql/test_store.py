"""The store: keys, versions, registry, deployment, and what it refuses."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.rows import dict_row

SQL = Path(__file__).resolve().parents[2] / "sql"
STEP_9 = (SQL / "step_9_capacity_planning.sql").read_text()
TENANT = "sha256('acme'::bytea)"


def connect(pg) -> psycopg.Connection[dict]:
    return pg.connect(row_factory=dict_row)


def one(db: psycopg.Connection[dict], query: str, *args: object):
    return next(iter(db.execute(query, args).fetchone().values()))


@pytest.fixture
def db(pg):
    with connect(pg) as connection:
        connection.execute(f"INSERT INTO auth.tenant_h VALUES ({TENANT}, 'acme', now(), 'test')")
        yield connection


def versions(db: psycopg.Connection[dict]) -> list[dict]:
    return db.execute("SELECT * FROM capacity_planning.capacity_threshold_s ORDER BY load_date").fetchall()


@pytest.fixture
def threshold(db):
    db.execute("SELECT capacity_planning.create_capacity_threshold(NULL, 'disk', 'STORAGE', 80)")
    return db


# Versions


def test_an_update_of_a_setting_keeps_the_earlier_version(threshold):
    threshold.execute("UPDATE capacity_planning.capacity_threshold_s SET suppression_duration_minutes = 120")
    old, new = versions(threshold)
    assert (old["suppression_duration_minutes"], new["suppression_duration_minutes"]) == (60, 120)
    assert old["load_end_date"] == new["load_date"]
    assert new["load_end_date"] is None
    assert old["hash_diff"] != new["hash_diff"]


def test_an_update_of_many_rows_keeps_the_earlier_version_of_each(db):
    for n in range(50):
        db.execute(
            "SELECT capacity_planning.create_capacity_threshold(NULL, %s, 'STORAGE', %s)",
            [f"disk {n}", n + 1],
        )
    db.execute(
        "UPDATE capacity_planning.capacity_threshold_s SET threshold_percentage = threshold_percentage + 40, "
        "threshold_tuning_history = '[{\"n\": 1}]', notification_channels = '{SLACK}'"
    )
    old = [row for row in versions(db) if row["load_end_date"]]
    new = {row["threshold_name"]: row for row in versions(db) if not row["load_end_date"]}
    assert len(old) == len(new) == 50
    for row in old:
        after = new[row["threshold_name"]]
        assert row["load_end_date"] == after["load_date"]
        assert row["threshold_percentage"] == after["threshold_percentage"] - 40
        assert (row["notification_channels"], after["notification_channels"]) == (None, ["SLACK"])
        assert row["hash_diff"] != after["hash_diff"]


def test_an_update_that_changes_nothing_leaves_no_version(threshold):
    threshold.execute(
        "UPDATE capacity_planning.capacity_threshold_s SET threshold_percentage = 80.0, is_active = true"
    )
    assert len(versions(threshold)) == 1


def test_counters_change_in_place(threshold):
    before = versions(threshold)[0]["hash_diff"]
    threshold.execute(
        "UPDATE capacity_planning.capacity_threshold_s SET trigger_count_24h = 3, false_positive_rate = 1"
    )
    (row,) = versions(threshold)
    assert row["trigger_count_24h"] == 3
    assert row["hash_diff"] == before


def test_two_updates_in_one_transaction_are_two_versions_in_order(threshold):
    with threshold.transaction():
        for level in (70, 60):
            threshold.execute(
                "UPDATE capacity_planning.capacity_threshold_s SET threshold_percentage = %s WHERE "
                "load_end_date IS NULL",
                [level],
            )
    rows = versions(threshold)
    assert [r["threshold_percentage"] for r in rows] == [80, 70, 60]
    assert [r["load_end_date"] is None for r in rows] == [False, False, True]
    assert rows[-1]["threshold_value"] == 60, "the level in percent follows the percentage"


def test_history_cannot_be_changed(threshold):
    threshold.execute("UPDATE capacity_planning.capacity_threshold_s SET threshold_percentage = 70")
    with pytest.raises(errors.RaiseException, match="closed version"):
        threshold.execute(
            "UPDATE capacity_planning.capacity_threshold_s SET threshold_percentage = 10 WHERE "
            "load_end_date IS NOT NULL"
        )


def test_defining_a_threshold_anew_keeps_what_was_configured(threshold):
    threshold.execute("UPDATE capacity_planning.capacity_threshold_s SET notification_channels = '{SLACK}'")
    threshold.execute("SELECT capacity_planning.create_capacity_threshold(NULL, 'disk', 'STORAGE', 75)")
    threshold.execute("SELECT capacity_planning.create_capacity_threshold(NULL, 'disk', 'STORAGE', 75)")
    rows = versions(threshold)
    assert [r["threshold_percentage"] for r in rows] == [80, 80, 75]
    assert rows[-1]["notification_channels"] == ["SLACK"]


def test_one_threshold_defined_by_many_sessions_at_once_has_one_current_version(db, pg):
    def define(level: int) -> None:
        with connect(pg) as own:
            own.execute(
                "SELECT capacity_planning.create_capacity_threshold(NULL, 'busy', 'STORAGE', %s)", [level]
            )

    threads = [threading.Thread(target=define, args=[50 + i]) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = versions(db)
    assert len(rows) == 8
    assert [r["load_end_date"] is None for r in rows].count(True) == 1
    assert one(db, "SELECT count(*) FROM capacity_planning.capacity_threshold_h") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("NULL, 'x', 'STORAGE', 0", "positive percentage"),
        ("NULL, 'x', 'STORAGE', 'NaN'", "positive percentage"),
        ("NULL, 'x', 'STORAGE', NULL", "positive percentage"),
        ("NULL, '', 'STORAGE', 80", "type and a name are needed"),
        ("NULL, 'x', 'STORAGE', 80, 'LOUD'", "WARNING or CRITICAL"),
        ("sha256('nobody'::bytea), 'x', 'STORAGE', 80", "unknown tenant"),
    ],
)
def test_a_threshold_that_makes_no_sense_is_refused(db, arguments, message):
    with pytest.raises(errors.RaiseException, match=message):
        db.execute(
            sql.SQL("SELECT capacity_planning.create_capacity_threshold({})").format(sql.SQL(arguments))
        )
    assert versions(db) == []


def test_a_measurement_changed_by_hand_keeps_what_was_measured(db):
    db.execute("SELECT FROM capacity_planning.capture_resource_utilization()")
    db.execute(
        "UPDATE capacity_planning.resource_utilization_s SET current_value = current_value + 1 "
        "WHERE resource_type = 'STORAGE' AND tenant_hk IS NULL"
    )
    rows = db.execute(
        "SELECT current_value, load_end_date IS NULL AS is_current FROM "
        "capacity_planning.resource_utilization_s "
        "WHERE resource_type = 'STORAGE' AND tenant_hk IS NULL ORDER BY load_date"
    ).fetchall()
    assert [r["is_current"] for r in rows] == [False, True]
    assert rows[1]["current_value"] == rows[0]["current_value"] + 1


@pytest.mark.parametrize("value", ["-1", "'NaN'", "'Infinity'", "'-Infinity'"])
@pytest.mark.parametrize("column", ["current_value", "maximum_capacity"])
def test_impossible_numbers_are_refused_at_the_door(db, column, value):
    db.execute("SELECT FROM capacity_planning.capture_resource_utilization()")
    with pytest.raises(errors.CheckViolation):
        db.execute(
            sql.SQL("UPDATE capacity_planning.resource_utilization_s SET {} = {}").format(
                sql.Identifier(column), sql.SQL(value)
            )
        )


# The registry of capacities


def test_a_capacity_holds_from_its_day_until_the_next(db):
    register = "SELECT capacity_ops.register_capacity(NULL, 'STORAGE', 'cluster', %s, 'bytes', %s)"
    db.execute(register, [100, "2026-01-01Z"])
    db.execute(register, [200, "2026-02-01Z"])
    at = "SELECT capacity_ops.capacity_at(NULL, 'STORAGE', 'cluster', %s)"
    assert [one(db, at, day) for day in ("2025-12-31Z", "2026-01-01Z", "2026-01-31Z", "2026-02-01Z")] == [
        None,
        100,
        100,
        200,
    ]


def test_registering_the_same_moment_again_corrects_it(db):
    for capacity in (100, 150):
        db.execute(
            "SELECT capacity_ops.register_capacity(NULL, 'STORAGE', 'cluster', %s, 'bytes', '2026-01-01Z')",
            [capacity],
        )
    rows = db.execute("SELECT capacity, registered_by FROM capacity_ops.capacity_registry").fetchall()
    assert [r["capacity"] for r in rows] == [150]
    assert rows[0]["registered_by"] == one(db, "SELECT session_user")


@pytest.mark.parametrize("capacity", [0, -5, "NaN", "Infinity", None])
def test_a_capacity_that_is_none_is_refused(db, capacity):
    with pytest.raises(errors.RaiseException, match="positive number"):
        db.execute(
            "SELECT capacity_ops.register_capacity(NULL, 'STORAGE', 'cluster', %s::numeric, 'bytes')",
            [capacity],
        )


def test_a_capacity_in_another_unit_than_the_measurements_is_refused(db):
    db.execute("SELECT FROM capacity_planning.capture_resource_utilization()")
    with pytest.raises(errors.RaiseException, match="measured in bytes, not in GiB"):
        db.execute("SELECT capacity_ops.register_capacity(NULL, 'STORAGE', 'cluster', 5, 'GiB')")


def test_a_registered_capacity_turns_unknown_into_a_verdict(db):
    read = "SELECT * FROM capacity_planning.capture_resource_utilization()"
    before = {r["resource_type"]: r for r in db.execute(read)}["STORAGE"]
    assert (before["capacity"], before["utilization_percentage"], before["status"]) == (None, None, "UNKNOWN")
    db.execute(
        "SELECT capacity_ops.register_capacity(NULL, 'STORAGE', 'cluster', %s, 'bytes')",
        [before["current_usage"] * 2],
    )
    after = {r["resource_type"]: r for r in db.execute(read)}["STORAGE"]
    assert after["status"] == "NORMAL"
    assert 49 < after["utilization_percentage"] < 52


def test_the_first_capacity_holds_from_the_newest_measurement_on_and_later_ones_from_now(db):
    db.execute("SELECT FROM capacity_planning.capture_resource_utilization()")
    measured = one(db, "SELECT max(measurement_timestamp) FROM capacity_planning.resource_utilization_s")
    register = "SELECT capacity_ops.register_capacity(NULL, 'WAL', 'pg_wal', %s::numeric, 'bytes')"
    assert one(db, register, 1e12) == measured
    status = "SELECT status FROM capacity_planning.current_capacity_status WHERE resource_type = 'WAL'"
    assert one(db, status) == "NORMAL", "judged at once"
    assert one(db, register, 1) > measured
    assert one(db, status) == "NORMAL", "a change holds from now on"


# The archive


def test_archiving_twice_keeps_one_copy(db):
    db.execute("SELECT FROM capacity_planning.capture_resource_utilization()")
    db.execute("INSERT INTO capacity_planning.capacity_forecast_h VALUES ('\\x01', 'k', now(), 'test')")
    db.execute(
        "INSERT INTO capacity_planning.capacity_forecast_s (capacity_forecast_hk, load_date, "
        "hash_diff, forecast_timestamp, resource_type, "
        "resource_name, resource_category, method, current_usage, unit, record_source) "
        "VALUES ('\\x01', now(), '', now(), 'STORAGE', 'cluster', 'DATABASE', 'SQL', 1, 'bytes', 'test')"
    )
    for _ in range(2):
        db.execute(
            "INSERT INTO capacity_planning.capacity_forecast_archive SELECT * FROM "
            "capacity_planning.capacity_forecast_s"
        )
    assert one(db, "SELECT count(*) FROM capacity_planning.capacity_forecast_archive") == 1


# Deployment


def relations(db: psycopg.Connection[dict]) -> list[tuple]:
    return [
        tuple(r.values())
        for r in db.execute(
            "SELECT n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = "
            "c.relnamespace "
            "WHERE n.nspname IN ('capacity_planning', 'capacity_ops') ORDER BY 1, 2"
        )
    ]


def test_step_9_alone_can_be_applied_again_and_undoes_nothing(threshold):
    before = relations(threshold), versions(threshold)
    threshold.execute(STEP_9)
    assert (relations(threshold), versions(threshold)) == before


def test_deployments_at_once_end_as_one(db, pg):
    failures = []

    def deploy() -> None:
        try:
            with connect(pg) as own:
                own.execute(STEP_9)
        except psycopg.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=deploy) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_somebody_elses_schema_is_named_and_left_alone(db):
    db.execute("DROP SCHEMA capacity_planning, capacity_ops CASCADE")
    db.execute("CREATE SCHEMA capacity_planning CREATE TABLE plans (id int)")
    with pytest.raises(
        errors.RaiseException, match=r"not this project's \(capacity_planning.plans\): nothing was changed"
    ):
        db.execute(STEP_9)
    db.execute("ROLLBACK")
    assert relations(db) == [("capacity_planning", "plans", "r")]


def test_a_newer_schema_is_left_alone(db):
    db.execute("UPDATE capacity_ops.deployment SET version = '99.0.0' WHERE step = 9")
    with pytest.raises(errors.RaiseException, match="newer version"):
        db.execute(STEP_9)
    db.execute("ROLLBACK")
    assert one(db, "SELECT version FROM capacity_ops.deployment WHERE step = 9") == "99.0.0"
