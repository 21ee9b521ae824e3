"""Evaluation: a verdict by the newest measurement, or a reason why there is none."""

from __future__ import annotations

import pytest
from psycopg.rows import dict_row

ACME, OTHER = b"a" * 32, b"b" * 32


@pytest.fixture
def db(pg):
    with pg.connect(row_factory=dict_row) as connection:
        for hk, name in ((ACME, "acme"), (OTHER, "other")):
            connection.execute("INSERT INTO auth.tenant_h VALUES (%s, %s, now(), 'test')", [hk, name])
            connection.execute(
                "INSERT INTO auth.tenant_profile_s VALUES (%s, now(), NULL, '', %s, NULL, true, 5, 'test')",
                [hk, name],
            )
        yield connection


def measure(
    db,
    usage: float,
    capacity: float | None,
    *,
    tenant: bytes | None = ACME,
    ago: str = "0",
    name: str = "disk",
    kind: str = "STORAGE",
) -> None:
    db.execute(
        "WITH h AS (INSERT INTO capacity_planning.resource_utilization_h SELECT "
        "capacity_ops.hash_key(k), k, now(), 'test' "
        "FROM capacity_ops.resource_key(%(kind)s, %(name)s, %(tenant)s) k ON CONFLICT DO NOTHING) "
        "INSERT INTO capacity_planning.resource_utilization_s (resource_utilization_hk, load_date, "
        "hash_diff, tenant_hk, measurement_timestamp, "
        "resource_type, resource_name, resource_category, current_value, unit, maximum_capacity, "
        "record_source) "
        "SELECT capacity_ops.hash_key(capacity_ops.resource_key(%(kind)s, %(name)s, %(tenant)s)), "
        "now(), '', %(tenant)s, now() - %(ago)s::interval, "
        "%(kind)s, %(name)s, 'TEST', %(usage)s, 'bytes', %(capacity)s, 'test'",
        {"kind": kind, "name": name, "tenant": tenant, "ago": ago, "usage": usage, "capacity": capacity},
    )


def threshold(
    db, level: float = 90, *, tenant: bytes | None = ACME, name: str = "disk full", kind: str = "CRITICAL"
) -> None:
    db.execute(
        "SELECT capacity_planning.create_capacity_threshold(%s, %s, 'STORAGE', %s, %s)",
        [tenant, name, level, kind],
    )


def evaluate(db, tenant: bytes | None = ACME, as_of: str | None = None) -> list[dict]:
    return db.execute(
        "SELECT * FROM capacity_planning.evaluate_capacity_thresholds(%s, %s)", [tenant, as_of]
    ).fetchall()


@pytest.mark.parametrize(("usage", "exceeded"), [(89.99, False), (90, True), (120, True)])
def test_a_level_is_exceeded_when_it_is_reached(db, usage, exceeded):
    threshold(db)
    measure(db, usage, 100)
    (row,) = evaluate(db)
    assert row["threshold_exceeded"] is exceeded
    assert row["alert_severity"] == ("CRITICAL" if exceeded else "NORMAL")
    assert (row["alert_message"] is not None) is exceeded


def test_the_newest_measurement_decides(db):
    threshold(db)
    measure(db, 99, 100, ago="30 minutes")
    measure(db, 10, 100, ago="10 minutes")
    assert [r["threshold_exceeded"] for r in evaluate(db)] == [False]


def test_no_verdict_on_stale_data(db):
    threshold(db)
    measure(db, 99, 100, ago="46 minutes")
    (row,) = evaluate(db)
    assert (row["threshold_exceeded"], row["alert_severity"], row["verdict_reason"]) == (
        None,
        "UNKNOWN",
        "stale",
    )
    assert "Check the capture schedule" in row["recommended_action"]


def test_no_verdict_without_a_capacity_and_the_way_to_one(db):
    threshold(db)
    measure(db, 99, None)
    (row,) = evaluate(db)
    assert (row["threshold_exceeded"], row["verdict_reason"]) == (None, "capacity unknown")
    statement = row["recommended_action"].split("Register it: ")[1].replace("<bytes>", "100")
    db.execute(statement.replace("100,", "100,", 1))
    assert db.execute("SELECT capacity FROM capacity_ops.capacity_registry").fetchone()["capacity"] == 100


def test_no_verdict_on_what_was_never_measured(db):
    threshold(db)
    (row,) = evaluate(db)
    assert (row["threshold_exceeded"], row["verdict_reason"]) == (None, "never measured")


def test_capacity_is_the_registrys_at_the_time_of_the_measurement(db):
    threshold(db)
    measure(db, 95, None, ago="10 minutes")
    register = (
        "SELECT capacity_ops.register_capacity(%s, 'STORAGE', 'disk', %s, 'bytes', now() - %s::interval)"
    )
    db.execute(register, [ACME, 100, "1 day"])
    db.execute(register, [ACME, 1000, "1 minute"])
    assert [r["threshold_exceeded"] for r in evaluate(db)] == [True]


def test_as_of_limits_what_is_known(db):
    threshold(db)
    measure(db, 95, 100, ago="2 days")
    measure(db, 10, 100)
    then = db.execute("SELECT (now() - interval '2 days' + interval '1 minute')::text AS t").fetchone()["t"]
    assert [r["threshold_exceeded"] for r in evaluate(db, as_of=then)] == [True]


def test_each_tenant_is_judged_by_its_own_usage_and_null_means_all(db):
    for tenant, usage in ((ACME, 95), (OTHER, 20)):
        threshold(db, tenant=tenant, name=f"disk {usage}")
        measure(db, usage, 100, tenant=tenant)
    threshold(db, tenant=None, name="system")
    measure(db, 50, 100, tenant=None)
    verdicts = {r["threshold_name"]: r["threshold_exceeded"] for r in evaluate(db, None)}
    assert verdicts == {"disk 95": True, "disk 20": False, "system": False}
    assert [r["threshold_name"] for r in evaluate(db, OTHER)] == ["disk 20"]


def test_every_resource_of_the_type_gets_its_verdict(db):
    threshold(db)
    measure(db, 95, 100, name="first")
    measure(db, 20, 100, name="second")
    assert {r["resource_name"]: r["threshold_exceeded"] for r in evaluate(db)} == {
        "first": True,
        "second": False,
    }


@pytest.mark.parametrize(
    "end", ["UPDATE auth.tenant_profile_s SET is_active = false WHERE tenant_hk = %s", "DELETE"]
)
def test_a_tenant_that_is_inactive_or_gone_is_not_alerted_and_its_history_stays(db, end):
    threshold(db)
    measure(db, 95, 100)
    if end == "DELETE":
        db.execute("DELETE FROM auth.tenant_profile_s WHERE tenant_hk = %s", [ACME])
        db.execute("DELETE FROM auth.tenant_h WHERE tenant_hk = %s", [ACME])
    else:
        db.execute(end, [ACME])
    assert evaluate(db, None) == []
    assert (
        db.execute("SELECT count(*) FROM capacity_planning.resource_utilization_s").fetchone()["count"] == 1
    )
    assert db.execute("SELECT count(*) FROM capacity_planning.capacity_alerts").fetchone()["count"] == 0


def test_an_inactive_threshold_gives_no_verdict_row(db):
    threshold(db)
    measure(db, 95, 100)
    db.execute("UPDATE capacity_planning.capacity_threshold_s SET is_active = false")
    assert evaluate(db) == []


@pytest.mark.parametrize(
    ("operator", "usage", "exceeded"), [(">", 90, False), ("<=", 90, True), ("<", 90, False), ("<", 89, True)]
)
def test_operators(db, operator, usage, exceeded):
    threshold(db)
    measure(db, usage, 100)
    db.execute("UPDATE capacity_planning.capacity_threshold_s SET threshold_operator = %s", [operator])
    assert [r["threshold_exceeded"] for r in evaluate(db)] == [exceeded]


def test_a_message_is_rendered_with_the_rows_columns_once(db):
    threshold(db, name="name with {current_usage}")
    db.execute(
        "UPDATE capacity_planning.capacity_threshold_s SET alert_message_template = "
        "'{threshold_name}: {resource_type} {resource_name} {current_usage}% of "
        "{threshold_percentage}%.'"
    )
    measure(db, 95.55, 100)
    assert evaluate(db)[0]["alert_message"] == "name with {current_usage}: STORAGE disk 95.6% of 90%."


def test_evaluation_reads_only(db):
    threshold(db)
    measure(db, 95, 100)
    with db.transaction():
        db.execute("SET TRANSACTION READ ONLY")
        assert len(evaluate(db, None)) == 1


def test_the_status_view_shows_the_fullest_resource_of_a_type(db):
    measure(db, 20, 100, name="small")
    measure(db, 95, 100, name="full")
    measure(db, 99, 100, name="old", ago="2 days")
    (row,) = db.execute("SELECT * FROM capacity_planning.current_capacity_status").fetchall()
    assert (row["resource_name"], row["status"], row["tenant_id"]) == ("full", "CRITICAL", ACME.hex())
    assert (row["measurement_count"], row["peak_24h"]) == (1, 95)
