"""Capture: every number is what the server itself says, and what cannot be measured is "
"left out with a reason."""

from __future__ import annotations

import threading
import time
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from psycopg import errors
from psycopg.rows import dict_row

CAPTURE = "SELECT * FROM capacity_planning.capture_resource_utilization(%s)"
HISTORY = (
    "SELECT * FROM capacity_planning.resource_utilization_s WHERE resource_type = %s ORDER BY "
    "measurement_timestamp"
)


def connect(pg) -> psycopg.Connection[dict]:
    return pg.connect(row_factory=dict_row)


def one(db: psycopg.Connection[dict], query: str, *args: object):
    return next(iter(db.execute(query, args).fetchone().values()))


@pytest.fixture
def db(pg):
    with connect(pg) as connection:
        connection.notices = []
        connection.add_notice_handler(lambda notice: connection.notices.append(notice.message_primary))
        yield connection


def capture(db: psycopg.Connection[dict], tenant: bytes | None = None) -> dict[str, dict]:
    return {r["resource_type"]: r for r in db.execute(CAPTURE, [tenant])}


def add_tenant(
    db: psycopg.Connection[dict],
    name: str,
    *,
    users: int = 0,
    active: bool = True,
    max_users: int | None = None,
) -> bytes:
    hk = one(
        db,
        "INSERT INTO auth.tenant_h VALUES (sha256(%s::bytea), %s, now(), 'test') RETURNING tenant_hk",
        name.encode(),
        name,
    )
    db.execute(
        "INSERT INTO auth.tenant_profile_s VALUES (%s, now(), NULL, '', %s, NULL, %s, %s, 'test')",
        [hk, name, active, max_users],
    )
    db.execute(
        "INSERT INTO auth.user_h SELECT sha256((%s || i)::bytea), %s || i, %s, now(), 'test' FROM "
        "generate_series(1, %s) i",
        [name, name, hk, users],
    )
    return hk


# The system


def test_storage_moves_with_what_is_written(db):
    before = capture(db)["STORAGE"]["current_usage"]
    db.execute("CREATE TABLE public.ballast AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
    size = one(db, "SELECT pg_total_relation_size('public.ballast')")
    assert float(capture(db)["STORAGE"]["current_usage"] - before) == pytest.approx(size, rel=0.05)


def test_connections_count_sessions_against_what_others_than_superusers_get(db, pg):
    before = capture(db)["CONNECTIONS"]
    holders = [connect(pg) for _ in range(3)]
    after = capture(db)["CONNECTIONS"]
    for holder in holders:
        holder.close()
    assert after["current_usage"] - before["current_usage"] == 3
    reserved = one(
        db,
        "SELECT sum(setting::int) FROM pg_settings WHERE name IN "
        "('superuser_reserved_connections', 'reserved_connections')",
    )
    assert after["capacity"] == int(one(db, "SHOW max_connections")) - reserved


def test_transactions_are_a_rate_between_two_readings(db):
    started = (
        time.monotonic()
    )  # the first reading lies somewhere within this capture, which a busy machine draws out
    assert "TRANSACTIONS" not in capture(db)
    assert any(n.startswith("TRANSACTIONS left out: a rate needs two readings") for n in db.notices)
    for _ in range(200):
        db.execute("SELECT 1")
    time.sleep(1.1)
    db.execute("SELECT 1")  # a session hands its statistics over at the end of a transaction, once a second
    rate = float(capture(db)["TRANSACTIONS"]["current_usage"])
    assert rate > 200 / (time.monotonic() - started) * 0.8


def test_a_reset_of_the_statistics_is_no_negative_rate(db):
    capture(db)
    time.sleep(1.1)
    db.execute("SELECT pg_stat_reset()")
    rows = capture(db)
    assert "TRANSACTIONS" not in rows or rows["TRANSACTIONS"]["current_usage"] >= 0
    metrics = db.execute(HISTORY, ["TRANSACTIONS"]).fetchall()
    assert not metrics or metrics[-1]["related_metrics"]["databases_reset"] >= 1


def test_wraparound_ages_are_the_servers(db):
    rows = capture(db)
    age = one(db, "SELECT max(age(datfrozenxid)) FROM pg_database")
    assert 0 <= age - rows["TRANSACTION_ID"]["current_usage"] <= 50
    assert rows["MULTIXACT"]["current_usage"] == one(db, "SELECT max(mxid_age(datminmxid)) FROM pg_database")
    assert rows["TRANSACTION_ID"]["capacity"] == 2**31 - 1 - 3_000_000


@pytest.mark.parametrize(
    ("define", "used", "room", "column"),
    [
        ("CREATE TABLE public.t (id smallint GENERATED ALWAYS AS IDENTITY)", 30000, 32767, "t.id"),
        (
            "CREATE SEQUENCE public.s; CREATE TABLE public.t (id int DEFAULT nextval('public.s'))",
            30000,
            2**31 - 1,
            "t.id",
        ),
        (
            "CREATE TABLE public.t (id int GENERATED ALWAYS AS IDENTITY (MINVALUE 1 MAXVALUE 40000))",
            30000,
            40000,
            "t.id",
        ),
    ],
)
def test_a_sequence_is_as_full_as_its_column_is_narrow(db, define, used, room, column):
    db.execute(define)
    name = one(
        db,
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'S' AND relnamespace = "
        "'public'::regnamespace",
    )
    db.execute("SELECT setval(%s, %s)", [name, used])
    row = capture(db)["SEQUENCES"]
    assert (row["current_usage"], row["capacity"]) == (used, room)
    assert db.execute(HISTORY, ["SEQUENCES"]).fetchone()["related_metrics"]["column"].endswith(column)


def test_a_descending_sequence_counts_downwards_and_a_cycling_one_does_not_run_out(db):
    db.execute(
        "CREATE SEQUENCE public.d AS smallint INCREMENT -1 MINVALUE -100 MAXVALUE -1; SELECT "
        "setval('public.d', -90)"
    )
    db.execute("CREATE SEQUENCE public.c AS smallint MAXVALUE 10 CYCLE; SELECT setval('public.c', 10)")
    row = capture(db)["SEQUENCES"]
    assert (row["current_usage"], row["capacity"]) == (90, 100)


def test_a_replication_slot_holds_back_wal(db):
    db.execute("SELECT pg_create_physical_replication_slot('held', true)")
    try:
        db.execute("SET synchronous_commit TO on")  # what is held back counts once it is written
        db.execute("CREATE TABLE public.w AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
        row = capture(db)["REPLICATION_SLOT"]
        assert row["resource_name"] == "held"
        assert row["current_usage"] > 4_000_000
        assert row["capacity"] is None
    finally:
        db.execute("SELECT pg_drop_replication_slot('held')")


def test_memory_is_the_hosts(db):
    with Path("/proc/meminfo").open() as file:
        total = int(next(line for line in file if line.startswith("MemTotal")).split()[1]) * 1024
    row = capture(db)["MEMORY"]
    assert row["capacity"] == total
    assert 0 < row["current_usage"] < total


def test_processors_are_busy_when_they_are(db):
    capture(db)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        pass
    row = capture(db)["CPU"]
    assert 0.3 < row["current_usage"] <= row["capacity"]


def test_what_a_role_may_not_measure_is_left_out_with_a_reason(db, pg):
    db.execute("DROP ROLE IF EXISTS capacity_lowly")
    db.execute("CREATE ROLE capacity_lowly LOGIN")
    try:
        db.execute("GRANT USAGE ON SCHEMA capacity_planning, capacity_ops, auth TO capacity_lowly")
        db.execute("GRANT ALL ON ALL TABLES IN SCHEMA capacity_planning, capacity_ops TO capacity_lowly")
        db.execute("GRANT SELECT ON auth.tenant_h, auth.tenant_profile_s TO capacity_lowly")
        db.execute("SET ROLE capacity_lowly")
        rows = capture(db)
        db.execute("RESET ROLE")
        assert {"CONNECTIONS", "TRANSACTION_ID", "MULTIXACT"} <= set(rows)
        assert not {"WAL", "MEMORY", "CPU", "USERS"} & set(rows)
        for left_out in ("WAL", "MEMORY and CPU", "USERS"):
            assert any(n.startswith(f"{left_out} left out") for n in db.notices), left_out
        assert "upper bound" in rows["CONNECTIONS"]["measurement_method"]
    finally:
        db.execute("RESET ROLE; DROP OWNED BY capacity_lowly; DROP ROLE capacity_lowly")


def test_each_row_says_how_it_was_measured(db):
    capture(db)
    rows = db.execute("SELECT * FROM capacity_planning.resource_utilization_s").fetchall()
    server = one(db, "SELECT system_identifier FROM pg_control_system()")
    for row in rows:
        assert row["measurement_method"]
        assert row["measurement_source"].startswith("PostgreSQL ")
        assert row["system_identifier"] == server
        assert row["measurement_latency_ms"] >= 0
        assert row["peak_value_30d"] == row["minimum_value_24h"] == row["current_value"], (
            "alone, it is its own peak"
        )


# What is stored decides the rest


def plant(db: psycopg.Connection[dict], values: list[tuple[str, float]], **columns: object) -> None:
    """Clone the newest STORAGE row at other times."""
    for ago, value in values:
        db.execute(
            "INSERT INTO capacity_planning.resource_utilization_s SELECT (jsonb_populate_record(s, "
            "%s::jsonb || jsonb_build_object("
            "'measurement_timestamp', now() - %s::interval, 'load_date', now() - %s::interval, "
            "'current_value', %s::numeric))).* "
            "FROM capacity_planning.resource_utilization_s s WHERE resource_type = 'STORAGE' AND "
            "tenant_hk IS NULL "
            "ORDER BY measurement_timestamp DESC LIMIT 1",
            [psycopg.types.json.Jsonb(columns), ago, ago, value],
        )


def test_peaks_and_averages_come_from_what_is_stored(db):
    capture(db)
    now = db.execute(HISTORY, ["STORAGE"]).fetchone()["current_value"]
    plant(db, [("40 days", 9e15), ("20 days", 3e12), ("3 days", 2e12), ("2 hours", 1.0)])
    capture(db)
    row = db.execute(HISTORY, ["STORAGE"]).fetchall()[-1]
    latest = row["current_value"]
    assert (row["peak_value_24h"], row["minimum_value_24h"]) == (max(now, latest), 1)
    assert (row["peak_value_7d"], row["peak_value_30d"]) == (Decimal("2e12"), Decimal("3e12"))
    assert float(row["average_value_24h"]) == pytest.approx(float(1 + now + latest) / 3)
    assert float(row["average_value_30d"]) == pytest.approx(float(Decimal("5e12") + 1 + now + latest) / 5)


def test_data_quality_counts_gaps_staleness_and_the_impossible(db):
    capture(db)
    hk = db.execute(HISTORY, ["STORAGE"]).fetchone()["resource_utilization_hk"]
    db.execute("DELETE FROM capacity_planning.resource_utilization_s WHERE resource_type <> 'STORAGE'")
    quality = "SELECT * FROM capacity_ops.data_quality(%s, %s, '24 hours')"
    start = one(db, "SELECT date_trunc('hour', now()) - interval '10 days'")
    db.execute(
        "DELETE FROM capacity_planning.resource_utilization_s s USING (SELECT "
        "min(measurement_timestamp) m FROM "
        "capacity_planning.resource_utilization_s) f WHERE s.measurement_timestamp < f.m"
    )
    db.execute(
        "INSERT INTO capacity_planning.resource_utilization_s SELECT (jsonb_populate_record(s, "
        "jsonb_build_object("
        "'measurement_timestamp', t, 'load_date', t))).* FROM capacity_planning.resource_utilization_s s, "
        "generate_series(%s::timestamptz, %s::timestamptz + interval '23 hours 45 minutes', '15 minutes') t",
        [start, start],
    )
    full = db.execute(quality, [hk, start + one(db, "SELECT interval '23 hours 45 minutes'")]).fetchone()
    assert (full["score"], full["measurements"]) == (100, 96)
    db.execute(
        "DELETE FROM capacity_planning.resource_utilization_s WHERE measurement_timestamp >= "
        "%s::timestamptz + interval '6 hours' "
        "AND measurement_timestamp < %s::timestamptz + interval '12 hours'",
        [start, start],
    )
    gap = db.execute(quality, [hk, start + one(db, "SELECT interval '23 hours 45 minutes'")]).fetchone()
    assert float(gap["completeness"]) == pytest.approx(75) == float(gap["score"])
    assert gap["longest_gap"].total_seconds() == 6.25 * 3600
    stale = db.execute(
        quality, [hk, start + one(db, "SELECT interval '23 hours 45 minutes' + interval '90 minutes'")]
    ).fetchone()
    assert float(stale["freshness"]) == pytest.approx(50)
    assert db.execute(quality, [hk, "2000-01-01Z"]).fetchone() is None


# Tenants


def test_a_tenants_capture_is_what_it_can_be_shown_to_own(db):
    acme = add_tenant(db, "acme", users=3, max_users=10)
    other = add_tenant(db, "other", users=1)
    db.execute("CREATE TABLE public.docs (tenant_hk bytea, body text); CREATE TABLE public.unowned (x int)")
    db.execute("INSERT INTO public.docs SELECT %s, repeat('x', 100) FROM generate_series(1, 50)", [acme])
    rows = capture(db, acme)
    assert (rows["USERS"]["current_usage"], rows["USERS"]["capacity"], rows["USERS"]["status"]) == (
        3,
        10,
        "NORMAL",
    )
    assert rows["ROWS"]["current_usage"] == 50 + 3 + 1 + 1  # documents, users, profile, hub
    size = one(db, "SELECT sum(pg_column_size(d.*)) FROM public.docs d")
    assert rows["STORAGE"]["current_usage"] > size
    assert capture(db, other)["ROWS"]["current_usage"] == 3
    assert all(r["tenant_hk"] == acme for r in rows.values())


def test_null_captures_every_active_tenant_and_returns_the_systems_rows(db):
    acme, gone = add_tenant(db, "acme", users=2), add_tenant(db, "gone", active=False)
    simulated = add_tenant(db, "simulated")
    db.execute("UPDATE auth.tenant_h SET record_source = 'SIMULATION' WHERE tenant_hk = %s", [simulated])
    assert all(r["tenant_hk"] is None for r in db.execute(CAPTURE, [None]))
    stored = {
        bytes(r["tenant_hk"])
        for r in db.execute(
            "SELECT DISTINCT tenant_hk FROM capacity_planning.resource_utilization_s WHERE tenant_hk "
            "IS NOT NULL"
        )
    }
    assert stored == {acme}
    assert capture(db, gone) == {}
    assert capture(db, simulated) == {}


def test_a_large_table_is_sampled_and_says_so(db):
    acme = add_tenant(db, "acme")
    db.execute("CREATE TABLE public.big (tenant_hk bytea, body text)")
    db.execute("INSERT INTO public.big SELECT %s, repeat('x', 500) FROM generate_series(1, 40000)", [acme])
    db.execute("UPDATE capacity_ops.setting SET value = 8000000 WHERE name = 'tenant_scan_bytes'")
    row = capture(db, acme)["ROWS"]
    assert "of the pages sampled" in row["measurement_method"]
    assert float(row["current_usage"]) == pytest.approx(40000, rel=0.15)


def test_what_is_simulated_is_no_part_of_what_is_measured(db):
    add_tenant(db, "acme", users=2, max_users=10)
    simulated = add_tenant(db, "simulated", max_users=500)
    db.execute("UPDATE auth.tenant_h SET record_source = 'SIMULATION' WHERE tenant_hk = %s", [simulated])
    assert capture(db)["USERS"]["capacity"] == 10


def test_an_unknown_tenant_is_an_error(db):
    with pytest.raises(errors.RaiseException, match="unknown tenant"):
        capture(db, b"nobody")


# Two at once


def test_captures_at_once_end_as_one_after_the_other(db, pg):
    def run() -> None:
        with connect(pg) as own:
            own.execute(CAPTURE, [None])

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = db.execute(HISTORY, ["STORAGE"]).fetchall()
    assert len(rows) == 4 == len({r["measurement_timestamp"] for r in rows})
    assert (
        one(
            db,
            "SELECT count(*) FROM capacity_planning.resource_utilization_h WHERE "
            "resource_utilization_bk = 'STORAGE|cluster|SYSTEM'",
        )
        == 1
    )


def test_a_scheduled_run_that_overlaps_skips_at_once(db, pg):
    with connect(pg) as other, other.transaction():
        other.execute(CAPTURE, [None])
        started = time.monotonic()
        db.execute("SELECT capacity_planning.scheduled_capacity_analysis()")
        assert time.monotonic() - started < 3
    assert any("another session is recording this (capture)" in n for n in db.notices)
    assert len(db.execute(HISTORY, ["STORAGE"]).fetchall()) == 1


def test_a_capture_by_hand_waits_a_little_then_measures_without_recording(db, pg):
    db.execute("UPDATE capacity_ops.setting SET value = 0.3 WHERE name = 'lock_wait_seconds'")
    with connect(pg) as other, other.transaction():
        other.execute(CAPTURE, [None])
        assert "STORAGE" in capture(db)
    assert any("nothing recorded" in n for n in db.notices)
    assert len(db.execute(HISTORY, ["STORAGE"]).fetchall()) == 1


# Whose server


def test_a_restored_copy_is_not_taken_for_the_original(db):
    capture(db)
    db.execute("UPDATE capacity_planning.resource_utilization_s SET system_identifier = 42")
    db.execute("DELETE FROM capacity_planning.resource_utilization_s WHERE load_end_date IS NOT NULL")
    newest = "SELECT count(*) FROM capacity_ops.newest(NULL, now())"
    assert one(db, newest) == 0
    capture(db)
    assert any("holds measurements of server 42" in n for n in db.notices)
    assert len(db.execute(HISTORY, ["STORAGE"]).fetchall()) == 2, "the original's history stays"
    db.execute("SELECT capacity_ops.adopt_server(42)")
    db.notices.clear()
    capture(db)
    assert not any("server 42" in n for n in db.notices)


def test_only_a_server_that_was_measured_here_can_be_adopted(db):
    with pytest.raises(errors.RaiseException, match="no measurement of a server 7"):
        db.execute("SELECT capacity_ops.adopt_server(7)")
