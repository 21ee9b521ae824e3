"""What somebody else in the same database can do to a capture, an analysis or a deployment: nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from psycopg import errors

from capacity_kit import resources

CAPTURE = "SELECT count(*) FROM capacity_planning.capture_resource_utilization(NULL)"
ANALYZE = "SELECT count(*) FROM capacity_planning.analyze_growth_patterns()"


def test_functions_in_public_are_never_taken_for_the_servers_own(pg):
    pg.run("CREATE TABLE public.taken (by text)")
    for name, arguments, result, body in (
        ("upper", "varchar", "text", "pg_catalog.upper($1::text)"),
        ("lower", "varchar", "text", "pg_catalog.lower($1::text)"),
        ("same", "varchar, varchar", "boolean", "$1::text OPERATOR(pg_catalog.=) $2::text"),
        ("same", "varchar, text", "boolean", "$1::text OPERATOR(pg_catalog.=) $2"),
    ):
        pg.run(
            f"CREATE FUNCTION public.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS "
            f"$$ BEGIN INSERT INTO public.taken VALUES ('{name}'); RETURN {body}; END $$"
        )
    pg.run("CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.same)")
    pg.run("CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = text, FUNCTION = public.same)")
    for statement in (
        CAPTURE,
        ANALYZE,
        "SELECT capacity_planning.create_capacity_threshold(NULL, 't', 'STORAGE', 80)",
        "SELECT count(*) FROM capacity_planning.evaluate_capacity_thresholds()",
        "SELECT count(*) FROM capacity_planning.current_capacity_status",
        "SELECT count(*) FROM capacity_planning.growth_forecast_summary",
        "SELECT capacity_ops.register_capacity(NULL, 'STORAGE', 'cluster', 5e15, 'bytes')",
        "CALL capacity_planning.run_capacity_analysis(NULL, true)",
        "SELECT capacity_alerting.create_absence_threshold(NULL, 'silent', 'ALL', 0)",
        "SELECT capacity_alerting.create_runway_threshold(NULL, 'runway', 'ALL', 21)",
        "SELECT capacity_alerting.declare_maintenance(now(), now() + interval '1 hour', NULL, 'CPU', 1)",
        "SELECT capacity_alerting.mute_alerts(now() + interval '1 hour', p_resource_type => 'CPU')",
        "SELECT count(*) FROM capacity_alerting.rehearse()",
        "UPDATE capacity_planning.capacity_threshold_s SET evaluation_frequency_minutes = 0",
        "SELECT count(*) FROM capacity_planning.evaluate_capacity_thresholds()",
        "SELECT capacity_alerting.acknowledge(alert_hk) FROM capacity_alerting.alert LIMIT 1",
        "SELECT capacity_alerting.resolve(alert_hk) FROM capacity_alerting.alert",
        "SELECT count(*) FROM capacity_alerting.threshold_problem",
        "SELECT count(*) FROM capacity_alerting.threshold_record",
        "SELECT count(*) FROM capacity_alerting.episode",
    ):
        pg.run(statement)
    assert pg.rows("SELECT * FROM public.taken") == []
    assert pg.value("SELECT count(*) FROM capacity_alerting.alert") > 0, "all of it had something to do"


def test_one_measurement_of_long_ago_does_not_stop_the_analysis(pg):
    pg.run(CAPTURE)
    pg.run(
        "INSERT INTO capacity_planning.resource_utilization_s SELECT (jsonb_populate_record(s, "
        '\'{"measurement_timestamp": "1900-01-01T00:00:00Z"}\')).* '
        "FROM capacity_planning.resource_utilization_s s WHERE resource_type = 'STORAGE'"
    )
    assert pg.value(ANALYZE) > 0
    pg.run("SELECT capacity_planning.scheduled_capacity_analysis()")


@pytest.mark.parametrize("unlimited", [-1, 0])
def test_a_limit_that_is_none_is_unknown_and_stops_nobody(pg, unlimited):
    pg.run("INSERT INTO auth.tenant_h VALUES ('\\x01', 't', now(), 'test')")
    pg.run(
        "INSERT INTO auth.tenant_profile_s VALUES ('\\x01', now(), NULL, '', 't', NULL, true, %s, 'test')",
        unlimited,
    )
    assert pg.value(CAPTURE) > 5
    limits = (
        "SELECT maximum_capacity FROM capacity_planning.resource_utilization_s WHERE resource_type = 'USERS'"
    )
    assert pg.rows(limits) == [(None,), (None,)]


def test_a_locked_table_is_left_out_and_nobody_waits_for_it(pg):
    pg.run("CREATE TABLE public.own (tenant_hk bytea); CREATE SEQUENCE public.numbers")
    with pg.connect(autocommit=False) as other:
        other.execute("LOCK TABLE public.own IN ACCESS EXCLUSIVE MODE")
        other.execute("ALTER SEQUENCE public.numbers CACHE 5")
        with pg.connect() as connection:
            said: list[str] = []
            connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
            begun = time.monotonic()
            assert connection.execute(CAPTURE).fetchone()[0] > 3
            assert time.monotonic() - begun < 10
    assert any("locked by another session" in message for message in said), said


@pytest.mark.parametrize("schema", ["capacity_ops", "capacity_planning"])
def test_a_schema_with_nothing_but_a_function_is_somebody_elses_too(empty, schema):
    empty.run((resources.path("sql") / "platform_standin.sql").read_text())
    empty.run(f"CREATE SCHEMA {schema}")
    empty.run(f"CREATE FUNCTION {schema}.hash_key(text) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    with pytest.raises(errors.RaiseException, match=f"{schema}.hash_key"):
        empty.run(Path(resources.path("sql") / "step_9_capacity_planning.sql").read_text())
    assert empty.value(f"SELECT {schema}.hash_key('x')") == 1


def test_names_cannot_make_one_key_of_two(pg):
    with pytest.raises(errors.RaiseException, match="no |"):
        pg.run("SELECT capacity_planning.create_capacity_threshold(NULL, 'a', 'b|c', 80)")
    with pytest.raises(errors.RaiseException, match="control characters"):
        pg.run("SELECT capacity_ops.register_capacity(NULL, 'STORAGE', E'x\\x1b[2J', 5, 'bytes')")


def test_captures_at_once_under_another_isolation_level_skip_and_do_not_fail(pg):
    failures: list[Exception] = []

    def run() -> None:
        try:
            with pg.connect(options="-c default_transaction_isolation=serializable") as own:
                own.execute(CAPTURE)
        except errors.SerializationFailure:
            pass  # what that level promises
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    count = "SELECT count(*) FROM capacity_planning.resource_utilization_s WHERE resource_type = 'STORAGE'"
    assert 1 <= pg.value(count) <= 4
