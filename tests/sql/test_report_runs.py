"""Step 15 by itself: who may make a run, how attempts count, and that nothing recorded is changed."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb

from capacity_kit import resources
from capacity_kit.vault.runs import Run, Runs

DUE = datetime(2026, 11, 2, 6, tzinfo=UTC)
BEGIN = "SELECT attempt, cut_off FROM capacity_reporting.begin_run('weekly', 'a', %s, 'host:1')"


def register(pg, now, cron="0 6 * * 1", zone="UTC"):
    reports = Jsonb([{"name": "weekly", "target": "a", "cron": cron, "time_zone": zone}])
    return pg.value("SELECT since FROM capacity_reporting.register_reports(%s, %s)", reports, now)


def end(pg, attempt, state, retries=1):
    return pg.value(
        "SELECT capacity_reporting.end_run('weekly', 'a', %s, %s, 'host:1', %s, %s, 'a headline', 'a/place', NULL)",
        DUE, attempt, retries, state,
    )  # fmt: skip


@pytest.fixture
def runs(pg):
    register(pg, DUE)
    return pg


def test_a_report_counts_from_when_it_was_first_read(pg):
    first = register(pg, DUE)
    assert first == DUE - timedelta(minutes=5)
    assert register(pg, DUE + timedelta(days=1)) == first
    assert register(pg, DUE + timedelta(days=2), cron="0 7 * * 1") == DUE + timedelta(days=2, minutes=-5)
    assert register(pg, DUE + timedelta(days=3), cron="0 7 * * 1", zone="Asia/Tokyo") > first
    assert pg.value("SELECT count(*) FROM capacity_reporting.report_s") == 3, "each line is kept as a version"
    assert pg.value("SELECT count(*) FROM capacity_reporting.report_s WHERE load_end_date IS NULL") == 1


def test_a_clock_that_was_set_back_counts_anew(pg):
    register(pg, DUE + timedelta(days=365))
    assert register(pg, DUE) == DUE - timedelta(minutes=5)


def test_a_run_is_held_by_one_transaction_at_a_time_however_it_ends(runs):
    hold = "SELECT capacity_reporting.hold_run('weekly', 'a', %s)"
    one, other = runs.connect(autocommit=False), runs.connect(autocommit=False)
    try:
        assert one.execute(hold, (DUE,)).fetchone() == (True,)
        assert other.execute(hold, (DUE,)).fetchone() == (False,)
        assert other.execute(hold, (DUE + timedelta(days=7),)).fetchone() == (True,)
        runs.run("SELECT pg_terminate_backend(%s)", one.info.backend_pid)
        end = time.monotonic() + 10
        held = None
        while held != (True,) and time.monotonic() < end:
            other.rollback()
            held = other.execute(hold, (DUE,)).fetchone()
        assert held == (True,)
    finally:
        one.close()
        other.close()


def test_while_a_report_is_made_the_lock_holds_no_vacuum_back(runs):
    with runs.vault() as opened, Runs(opened).held(Run(DUE, "weekly", "a")) as is_held:
        assert is_held
        found = runs.rows(
            "SELECT backend_xmin, backend_xid FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'idle in transaction'"
        )
    assert found == [(None, None)]


def test_attempts_are_counted_and_those_cut_off_too(runs):
    assert runs.rows(BEGIN, DUE) == [(1, 0)]
    assert runs.rows(BEGIN, DUE) == [(2, 1)]
    assert end(runs, 2, "ok") is True
    assert runs.rows(BEGIN, DUE) == [], "it is over"
    assert runs.rows("SELECT attempts, is_over, state, place FROM capacity_reporting.report_run") == [
        (2, True, "ok", "a/place")
    ]


def test_a_failed_run_is_tried_again_after_a_while(runs):
    runs.rows(BEGIN, DUE)
    assert end(runs, 1, "failed") is False
    wait = runs.value("SELECT next_at - ended_at FROM capacity_reporting.report_run")
    assert timedelta(seconds=55) < wait < timedelta(seconds=65)
    assert runs.rows(BEGIN, DUE) == [], "not yet"


def test_without_retries_left_it_is_over(runs):
    runs.rows(BEGIN, DUE)
    assert end(runs, 1, "failed", retries=0) is True


def test_who_comes_second_records_nothing(runs):
    runs.rows(BEGIN, DUE)
    assert end(runs, 1, "ok") is True
    assert end(runs, 1, "at risk") is None
    assert runs.rows("SELECT state FROM capacity_reporting.report_run") == [("ok",)]


def test_what_was_recorded_is_not_changed(runs):
    runs.rows(BEGIN, DUE)
    with pytest.raises(psycopg.errors.RaiseException, match="is not changed"):
        runs.run("UPDATE capacity_reporting.report_run_s SET attempt = 7")


def test_the_key_is_the_databases_too(runs):
    runs.rows(BEGIN, DUE)
    assert runs.value("SELECT key FROM capacity_reporting.report_run") == Run(DUE, "weekly", "a").key


def test_the_hashes_are_those_of_every_satellite(runs):
    runs.rows(BEGIN, DUE)
    end(runs, 1, "failed")
    for table in ("report_s", "report_run_s"):
        assert runs.rows(
            "SELECT DISTINCT hash_diff = capacity_ops.hash_diff(to_jsonb(s), VARIADIC '{}'::text[]) "
            f"FROM capacity_reporting.{table} s"
        ) == [(True,)]


def test_the_step_can_be_applied_again_and_keeps_what_is_there(runs):
    runs.rows(BEGIN, DUE)
    step = next(resources.path("sql").glob("step_15_*.sql")).read_text()
    runs.run(step)
    assert runs.value("SELECT count(*) FROM capacity_reporting.report_run") == 1


def test_without_step_13_it_refuses(empty):
    sql = resources.path("sql")
    empty.run((sql / "platform_standin.sql").read_text())
    empty.run(next(sql.glob("step_9_*.sql")).read_text())
    with pytest.raises(psycopg.errors.RaiseException, match="step 13 is missing"):
        empty.run(next(sql.glob("step_15_*.sql")).read_text())


def test_a_strange_schema_of_that_name_is_left_alone(empty):
    sql = resources.path("sql")
    empty.run((sql / "platform_standin.sql").read_text())
    for number in (9, 13):
        empty.run(next(sql.glob(f"step_{number}_*.sql")).read_text())
    empty.run("CREATE SCHEMA capacity_reporting CREATE TABLE theirs (n int)")
    with pytest.raises(psycopg.errors.RaiseException, match="not this project's"):
        empty.run(next(sql.glob("step_15_*.sql")).read_text())
