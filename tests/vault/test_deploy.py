import threading

import psycopg
import pytest

from capacity_kit import vault
from capacity_kit.errors import CapacityError
from capacity_kit.vault import deploy


def test_an_empty_database_becomes_a_deployed_one(empty):
    with empty.vault() as opened:
        assert opened.inspect().state == "absent"
        assert opened.deploy().state == "current"
        assert set(opened.inspect().versions) == {number for number, _ in deploy.steps()}


def test_deploying_again_changes_nothing(pg):
    relations = "SELECT count(*) FROM pg_class WHERE relnamespace::regnamespace::text ~ 'capacity'"
    before = pg.value(relations)
    with pg.vault() as opened:
        assert opened.deploy().state == "current"
    assert pg.value(relations) == before


def test_two_deployments_at_once_end_as_if_one_came_after_the_other(empty):
    failures = []

    def run():
        try:
            with empty.vault() as opened:
                opened.deploy()
        except CapacityError as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with empty.vault() as opened:
        assert opened.inspect().state == "current"


def test_a_deployment_that_breaks_off_leaves_nothing(empty, monkeypatch, tmp_path):
    last = tmp_path / "step_99_broken.sql"
    last.write_text("BEGIN;\nCREATE TABLE capacity_ops.half (n int);\nSELECT 1 / 0;\nCOMMIT;\n")
    steps = deploy.steps()
    monkeypatch.setattr(deploy, "steps", lambda: [*steps, (99, last)])
    with empty.vault() as opened:
        with pytest.raises(CapacityError, match="Division by zero"):
            opened.deploy()
        assert opened.inspect().state == "absent"
    assert (
        empty.value("SELECT count(*) FROM pg_namespace WHERE nspname IN ('auth', 'util', 'capacity_ops')")
        == 0
    )


def test_a_deployment_whose_connection_is_cut_leaves_nothing(empty, monkeypatch, tmp_path):
    last = tmp_path / "step_99_cut.sql"
    last.write_text("BEGIN;\nSELECT pg_terminate_backend(pg_backend_pid());\nCOMMIT;\n")
    steps = deploy.steps()
    monkeypatch.setattr(deploy, "steps", lambda: [*steps, (99, last)])
    with empty.vault() as opened, pytest.raises(CapacityError, match="connection to the server was lost"):
        opened.deploy()
    assert empty.value("SELECT count(*) FROM pg_namespace WHERE nspname ~ 'capacity|auth|util'") == 0


def test_somebody_elses_schema_is_described_and_left_alone(empty):
    empty.run(
        "CREATE SCHEMA capacity_planning; CREATE TABLE capacity_planning.servers (name text, rack int);"
        "CREATE TABLE capacity_planning.capacity_forecast_h (capacity_forecast_hk bytea, load_date timestamptz)"
    )
    with empty.vault() as opened:
        found = opened.inspect()
        assert found.state == "foreign"
        assert "capacity_forecast_h lacks capacity_forecast_bk, record_source" in found.differences
        assert "table resource_utilization_s is missing" in found.differences
        assert "table servers is not one of the ten" in found.differences
        with pytest.raises(CapacityError, match="not this project's.*Nothing was touched"):
            opened.deploy()
        with pytest.raises(CapacityError, match="not this project's"):
            opened.require_deployed()
    assert (
        empty.value("SELECT count(*) FROM pg_namespace WHERE nspname IN ('auth', 'util', 'capacity_ops')")
        == 0
    )


def test_an_older_schema_is_brought_up_to_date_and_a_newer_one_left_alone(pg):
    with pg.vault() as opened:
        pg.run("UPDATE capacity_ops.deployment SET version = '0.0.9'")
        assert opened.inspect().state == "older"
        with pytest.raises(CapacityError, match=r"behind this package's.*0\.0\.9.*capacity deploy"):
            opened.require_deployed()
        assert opened.deploy().state == "current"
        pg.run("UPDATE capacity_ops.deployment SET version = '7.0.0'")
        assert opened.inspect().state == "newer"
        with pytest.raises(CapacityError, match=r"newer \(7\.0\.0\).*Upgrade"):
            opened.deploy()


def test_a_column_that_was_dropped_is_missed_and_not_passed_over(pg):
    pg.run("ALTER TABLE capacity_planning.growth_pattern_s DROP COLUMN business_drivers CASCADE")
    with pg.vault() as opened:
        found = opened.inspect()
        assert found.state == "older"
        assert found.differences == ("growth_pattern_s lacks business_drivers",)
        with pytest.raises(CapacityError, match="changed by hand: growth_pattern_s lacks business_drivers"):
            opened.deploy()


def test_an_unmarked_schema_is_not_taken_for_ours(pg):
    pg.run("ALTER TABLE capacity_ops.deployment RENAME TO renamed")
    with pg.vault() as opened:
        assert opened.inspect().state == "foreign"


def test_a_role_without_rights_is_told_so_and_nothing_is_made(empty):
    empty.run("DROP ROLE IF EXISTS visitor")
    empty.run("CREATE ROLE visitor LOGIN")
    dsn = empty.dsn.replace("postgres@", "visitor@")
    with (
        vault.open(dsn) as opened,
        pytest.raises(CapacityError, match="role lacks a right.*permission denied"),
    ):
        opened.deploy()
    with empty.vault() as opened:
        assert opened.inspect().state == "absent"
    empty.run("DROP ROLE visitor")


def test_the_expected_columns_are_the_platforms(shared):
    ours = (deploy.resources.path("sql") / "platform_columns.csv").read_bytes()
    assert ours == (shared / "contract" / "platform_columns.csv").read_bytes()


def test_every_step_writes_the_version_that_the_package_looks_for(pg):
    assert pg.rows("SELECT DISTINCT version FROM capacity_ops.deployment") == [(deploy.SCHEMA_VERSION,)]


def test_a_file_that_is_not_one_transaction_is_refused(pg18, monkeypatch, tmp_path):
    file = tmp_path / "step_99_half.sql"
    file.write_text("BEGIN;\nSELECT 1;\nCOMMIT;\nBEGIN;\nSELECT 1;\nCOMMIT;\n")
    steps = deploy.steps()
    monkeypatch.setattr(deploy, "steps", lambda: [*steps, (99, file)])
    with pg18.vault() as opened, pytest.raises(CapacityError, match="one transaction"):
        opened.deploy()


def test_deploying_and_looking_leaves_no_transaction_behind(pg):
    with pg.vault() as opened:
        opened.inspect()
        with psycopg.connect(pg.dsn) as other:
            states = other.execute(
                "SELECT state FROM pg_stat_activity"
                " WHERE application_name = 'capacity-kit' AND datname = current_database()"
            ).fetchall()
    assert states == [("idle",)]


def test_a_role_that_only_owns_its_database_can_do_it_all(empty):
    """As on a managed server: no superuser, no pg_monitor, no files of the host."""
    empty.run("DROP ROLE IF EXISTS planner")
    empty.run(f"CREATE ROLE planner LOGIN; ALTER DATABASE {empty.name} OWNER TO planner")
    try:
        with vault.open(empty.dsn.replace("postgres@", "planner@")) as opened:
            assert opened.deploy().state == "current"
            captured = opened.capture("ALL")
            assert {"STORAGE", "CONNECTIONS"} <= set(captured["resource_type"])
            assert opened.make_thresholds() > 0
            assert not opened.evaluate().empty
            assert opened.server.data_directory is None
            opened.require_deployed()
    finally:
        empty.drop()
        empty.server.run("DROP ROLE planner")
