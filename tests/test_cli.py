import json
import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

import capacity_kit
from capacity_kit import errors, units

COMMANDS = [
    "up", "down", "deploy", "verify", "capture", "import", "import csv", "simulate", "analyze", "evaluate", "status",
    "report", "register",
]  # fmt: skip


@pytest.fixture
def measured(pg, run):
    """A database with a few tenants' measurements."""
    assert run("simulate", "--dsn", pg.dsn, "--as-of", "2026-11-01")[0] == errors.OK
    return pg


def one_line(text):
    return text.count("\n") == 1 and text.startswith("capacity: ") and "Traceback" not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run, command):
    code, out, _ = run(*command.split(), "--help")
    assert code == errors.OK
    assert f"Usage: capacity {command}" in out
    assert len(out.splitlines()[2].strip()) > 10


def test_help_names_every_command_and_the_exit_codes(run):
    code, out, _ = run("--help")
    assert code == errors.OK
    listed = {line.split()[0] for line in out.partition("Commands:")[2].splitlines() if line.startswith("  ")}
    assert {command.split()[0] for command in COMMANDS} <= listed
    for number in range(5):
        assert f"{number} " in out


def test_the_version_is_the_packages(run):
    assert run("--version")[1].strip() == f"capacity {capacity_kit.__version__}"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("capture", "--times", "0"),
        ("status", "--as-of", "yesterday"),
        ("register", "STORAGE", "cluster", "many"),
        ("register", "STORAGE", "cluster", "5", "--tenant", "ALL"),
        ("capture", "--host-metrics", "perhaps"),
        ("import", "csv", "x.csv", "--duplicates", "both"),
        ("analyze", "--history", "--days", "9"),
        ("report", "-p", "tenant"),
    ],
)
def test_a_wrong_command_line_exits_2(run, monkeypatch, tmp_path, pg18, arguments):
    monkeypatch.setenv("CAPACITY_DSN", pg18.dsn)
    code, _, err = run(*arguments)
    assert code == errors.USAGE
    assert err
    assert "Traceback" not in err


def test_a_wrong_setting_is_named(run, monkeypatch):
    monkeypatch.setenv("CAPACITY_TIMEZONE", "Middle/Earth")
    code, _, err = run("status")
    assert code == errors.ERROR
    assert one_line(err)
    assert "CAPACITY_TIMEZONE" in err


@pytest.mark.parametrize(
    "command", ["deploy", "verify", "capture", "simulate", "analyze", "evaluate", "status", "report"]
)
def test_without_a_server_a_command_says_what_to_do(run, monkeypatch, tmp_path, command):
    monkeypatch.setenv("CAPACITY_HOME", str(tmp_path))
    code, out, err = run(command)
    assert code == errors.ERROR
    assert not out
    assert one_line(err)
    assert "capacity up" in err
    code, _, err = run(command, "--dsn", "host=127.0.0.1 port=1")
    assert code == errors.ERROR
    assert one_line(err)


def test_without_the_schema_a_command_says_what_to_do(run, empty):
    for command in ("capture", "simulate", "analyze", "evaluate", "status"):
        code, _, err = run(command, "--dsn", empty.dsn)
        assert code == errors.ERROR
        assert one_line(err)
        assert "Run: capacity deploy" in err


def test_an_unknown_database_is_named(run, server):
    code, _, err = run("status", "--dsn", server.dsn("nowhere"))
    assert code == errors.ERROR
    assert one_line(err)
    assert "no database nowhere" in err


def test_a_foreign_schema_is_described_and_left_alone(run, empty):
    empty.run("CREATE SCHEMA capacity_planning; CREATE TABLE capacity_planning.shelf (n int)")
    for command in ("deploy", "capture", "status"):
        code, _, err = run(command, "--dsn", empty.dsn)
        assert code == errors.ERROR
        assert one_line(err)
        assert "not this project's" in err
    code, out, _ = run("verify", "--dsn", empty.dsn)
    assert code == errors.ATTENTION
    assert "shelf" in out
    assert (
        empty.value("SELECT count(*) FROM pg_class WHERE relnamespace::regnamespace::text ~ 'capacity'") == 1
    )


def test_an_older_and_a_newer_schema_are_refused(run, pg):
    pg.run("UPDATE capacity_ops.deployment SET version = '0.0.1'")
    assert "Run: capacity deploy" in run("capture", "--dsn", pg.dsn)[2]
    pg.run("UPDATE capacity_ops.deployment SET version = '9.0.0'")
    for command in ("capture", "deploy"):
        code, _, err = run(command, "--dsn", pg.dsn)
        assert code == errors.ERROR
        assert "newer (9.0.0)" in err


def test_a_role_without_rights_is_told_so(run, pg):
    pg.run("DROP ROLE IF EXISTS guest")
    pg.run("CREATE ROLE guest LOGIN")
    try:
        code, _, err = run("capture", "--dsn", pg.dsn.replace("postgres@", "guest@"))
        assert code == errors.ERROR
        assert one_line(err)
        assert "lacks a right" in err
    finally:
        pg.run("DROP ROLE guest")


@pytest.mark.parametrize("command", ["capture", "analyze", "evaluate", "status"])
def test_an_unknown_tenant_is_named_with_those_that_come_close(run, measured, command):
    code, _, err = run(command, "--dsn", measured.dsn, "--tenant", "alder-fink")
    assert code == errors.ERROR
    assert one_line(err)
    assert "'alder-fink'" in err
    assert "alder-finch" in err


def test_a_capacity_of_zero_is_refused(run, pg):
    run("capture", "--dsn", pg.dsn, "--host-metrics", "no")
    code, _, err = run("register", "WAL", "pg_wal", "0", "--dsn", pg.dsn)
    assert code == errors.ERROR
    assert one_line(err)
    assert "positive number" in err
    code, _, err = run("register", "WAL", "elsewhere", "5", "--dsn", pg.dsn)
    assert code == errors.ERROR
    assert "never measured" in err


def test_an_empty_history_is_said(run, pg):
    for command in ("analyze", "status"):
        code, out, err = run(command, "--dsn", pg.dsn)
        assert code == errors.ERROR
        assert not out
        assert one_line(err)
    code, out, _ = run("evaluate", "--dsn", pg.dsn)
    assert code == errors.OK
    assert "no thresholds" in out


def test_capture_measures_this_server_and_its_host(run, pg):
    code, out, _ = run("capture", "--dsn", pg.dsn, "--json")
    assert code == errors.OK
    rows = {(row["resource_type"], row["resource_name"]): row for row in json.loads(out)}
    storage = rows["STORAGE", "cluster"]
    assert storage["current_usage"] > 1e6
    assert storage["capacity"] > storage["current_usage"]  # filled in from the filesystem
    assert storage["status"] in ("NORMAL", "WARNING", "CRITICAL")
    assert {"CONNECTIONS", "MEMORY", "CPU", "DISK"} <= {kind for kind, _ in rows}
    by = pg.rows("SELECT registered_by, reason FROM capacity_ops.capacity_registry")
    assert len(by) == 1
    assert by[0][0].startswith("filesystem:/")


def test_a_filesystem_that_hardly_moved_is_not_registered_again(run, pg, monkeypatch):
    registered = "SELECT count(*) FROM capacity_ops.capacity_registry"
    for free, entries in ((5e11, 1), (5.02e11, 1), (4.98e11, 1), (5.1e11, 2), (5.1e11, 2)):
        monkeypatch.setattr("shutil.disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        assert run("capture", "--dsn", pg.dsn)[0] == errors.OK
        assert pg.value(registered) == entries


def test_what_a_person_registered_is_left_alone(run, pg):
    run("capture", "--dsn", pg.dsn, "--host-metrics", "no")
    assert (
        run("register", "STORAGE", "cluster", "2TiB", "--dsn", pg.dsn, "--reason", "bought")[0] == errors.OK
    )
    run("capture", "--dsn", pg.dsn)
    assert pg.rows("SELECT capacity, reason FROM capacity_ops.capacity_registry") == [(2 * 1024**4, "bought")]


def test_capture_repeats(run, pg):
    code, *_ = run("capture", "--dsn", pg.dsn, "--times", "3", "--every", "0.2", "--host-metrics", "no")
    assert code == errors.OK
    captured = "SELECT count(*) FROM capacity_planning.resource_utilization_s WHERE resource_type = 'STORAGE'"
    assert pg.value(captured) == 3


def test_memory_and_processors_are_not_measured_twice(run, pg):
    for _ in range(2):  # processors need a second reading
        run("capture", "--dsn", pg.dsn)
    newest = (
        "SELECT count(DISTINCT record_source) FROM capacity_planning.resource_utilization_s"
        " WHERE resource_type = 'MEMORY' AND load_end_date IS NULL"
    )
    assert pg.value(newest) == 1


def test_the_host_of_a_server_elsewhere_is_not_taken_for_the_servers(run, pg, monkeypatch):
    monkeypatch.setattr("capacity_kit.vault.capture.runs_here", lambda opened: False)
    code, out, _ = run("capture", "--dsn", pg.dsn, "--json")
    assert code == errors.OK
    assert "DISK" not in {row["resource_type"] for row in json.loads(out)}


def test_simulated_rows_say_so(run, measured):
    code, out, _ = run("status", "--dsn", measured.dsn, "--as-of", "2026-11-01")
    assert code == errors.OK
    assert "(simulated)" in out
    assert "nobody's real usage" in out
    code, out, _ = run("status", "--dsn", measured.dsn, "--json")
    assert {row["status"] for row in json.loads(out)} == {"STALE"}


def test_history_is_analysed_month_by_month_and_judged(run, measured):
    code, out, _ = run(
        "analyze", "--dsn", measured.dsn, "--history", "--thresholds", "--as-of", "2026-11-01", "--json"
    )
    assert code == errors.OK
    assert len(json.loads(out)) == 20
    months = "SELECT count(DISTINCT forecast_timestamp) FROM capacity_planning.capacity_forecast_s"
    assert measured.value(months) >= 11
    versions = measured.value("SELECT count(*) FROM capacity_planning.capacity_forecast_s")
    code, _, err = run("analyze", "--dsn", measured.dsn, "--history", "--as-of", "2026-11-01")
    assert (code, measured.value("SELECT count(*) FROM capacity_planning.capacity_forecast_s")) == (
        0,
        versions,
    )
    assert "not recorded" not in err
    code, out, _ = run("evaluate", "--dsn", measured.dsn, "--as-of", "2026-11-01")
    assert " nan" not in out
    code, out, _ = run("evaluate", "--dsn", measured.dsn, "--as-of", "2026-11-01", "--json")
    judged = json.loads(out)
    critical = [row for row in judged if row["threshold_exceeded"] and row["alert_severity"] == "CRITICAL"]
    assert code == (errors.ATTENTION if critical else errors.OK)
    assert {row["tenant"] for row in critical} == {"meridian-logistics"}
    assert (
        run("evaluate", "--dsn", measured.dsn, "--as-of", "2026-11-01", "--tenant", "harbour-dental")[0]
        == errors.OK
    )


def test_verify_lists_what_to_do_and_is_content_when_it_is_done(run, measured):
    code, out, _ = run("verify", "--dsn", measured.dsn)
    assert code == errors.ATTENTION
    assert "never measured" in out
    measured.run("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    run("capture", "--dsn", measured.dsn)
    run("analyze", "--dsn", measured.dsn, "--thresholds")
    code, out, _ = run("verify", "--dsn", measured.dsn, "--json")
    assert {check["item"]: check["verdict"] for check in json.loads(out)} == {
        "PostgreSQL": "ok", "pg_stat_statements": "ok", "pgcrypto": "not needed", "schema": "ok", "tables": "ok",
        "routines": "ok", "indexes": "ok", "views": "ok", "measurements": "ok", "forecasts": "ok", "thresholds": "ok",
    }  # fmt: skip
    assert code == errors.OK
    measured.run("DROP VIEW capacity_planning.capacity_alerts")
    code, out, _ = run("verify", "--dsn", measured.dsn)
    assert code == errors.ATTENTION
    assert "views\tfailed" in out


def test_a_file_is_imported_once(run, pg, tmp_path):
    file = tmp_path / "usage.csv"
    file.write_text("at,bytes\n2026-10-01T00:00:00Z,100\n2026-10-02T00:00:00Z,110\n")
    command = ("import", "csv", file, "--dsn", pg.dsn, "--time", "at", "--value", "bytes", "--name", "archive",
               "--type", "STORAGE", "--unit", "bytes", "--json")  # fmt: skip
    code, out, _ = run(*command)
    assert code == errors.OK
    assert json.loads(out)["inserted"] == 2
    assert json.loads(run(*command)[1])["inserted"] == 0
    file.write_text("at,bytes\n2026-10-03T00:00:00Z,120\nyesterday,NaN\n")
    code, _, err = run(*command)
    assert code != errors.OK
    assert one_line(err)
    assert "line 3" in err
    assert pg.value("SELECT count(*) FROM capacity_planning.resource_utilization_s") == 2


def test_a_file_that_is_not_there_is_named(run, pg):
    code, _, err = run("import", "csv", "no-such.csv", "--dsn", pg.dsn)
    assert code == errors.ERROR
    assert one_line(err)
    assert "no-such.csv" in err


def test_names_are_data_and_never_markup_or_control(run, pg):
    pg.run(
        "INSERT INTO auth.tenant_h VALUES (sha256('x'), %s, now(), 'test')", "[red]\x1b[31mevil[/red]\n<b>"
    )
    run("capture", "--dsn", pg.dsn, "--host-metrics", "no")
    code, out, _ = run("status", "--dsn", pg.dsn)
    assert code == errors.OK
    assert "\x1b" not in out
    assert "[red]" in out


@pytest.fixture
def tenants(pg, run, monkeypatch):
    """Two tenants, one with a name that a shell would take apart, that nobody said a capacity of; captured once."""
    for name in ("acme", "o'neill & sons"):
        pg.run("INSERT INTO auth.tenant_h VALUES (sha256(%s), %s, now(), 'test')", name.encode(), name)
    monkeypatch.setenv("CAPACITY_DSN", pg.dsn)
    assert run("capture", "--host-metrics", "no")[0] == errors.OK
    return pg


def printed_commands(out):
    """The commands that were printed for copying."""
    return [line.strip() for line in out.splitlines() if line.startswith("  capacity register ")]


def run_literally(run, command, amount):
    """Run a printed command as a shell would, its placeholder replaced."""
    program, *arguments = shlex.split(re.sub(r"<AMOUNT in [^>]+>", amount, command))
    assert program == "capacity"
    return run(*arguments)


def test_what_status_prints_for_registering_works_as_it_stands(run, tenants):
    unknown = {(r["tenant"], r["resource_type"], r["resource_name"])
               for r in json.loads(run("status", "--json")[1]) if r["capacity"] is None}  # fmt: skip
    assert {whose for whose, *_ in unknown} == {"SYSTEM", "acme", "o'neill & sons"}
    commands = printed_commands(run("status")[1])
    assert len(commands) == len(unknown)
    for command in commands:
        code, _, err = run_literally(run, command, "1e15")
        assert code == errors.OK, err
    entries = tenants.rows(
        "SELECT coalesce(t.tenant_bk, 'SYSTEM'), r.resource_type, r.resource_name FROM capacity_ops.capacity_registry r"
        " LEFT JOIN auth.tenant_h t USING (tenant_hk)"
    )
    assert set(entries) == unknown


def test_what_evaluate_prints_for_registering_works_as_it_stands(run, tenants):
    assert run("analyze", "--thresholds")[0] == errors.OK
    _, out, _ = run("evaluate")
    commands = printed_commands(out)
    assert {re.search("--tenant (.+)$", command)[1] for command in commands} >= {"SYSTEM", "acme"}
    assert len(commands) == len(set(commands))  # though a resource has several thresholds
    for command in commands:
        assert run_literally(run, command, "1e15")[0] == errors.OK
    run("capture", "--host-metrics", "no")
    assert not set(commands) & set(printed_commands(run("evaluate")[1]))


@pytest.mark.parametrize("command", ["capture", "analyze", "evaluate", "status", "report"])
def test_an_inactive_tenant_is_called_so(run, tenants, command):
    run("analyze", "--thresholds")
    tenants.run(
        "INSERT INTO auth.tenant_profile_s SELECT tenant_hk, now(), NULL, tenant_hk, tenant_bk, NULL, false, 10, 'test'"
        " FROM auth.tenant_h WHERE tenant_bk = 'acme'"
    )
    code, out, _ = run(command, "--tenant", "acme")
    assert code == errors.OK
    assert out == "acme is inactive: it is neither captured nor judged, and its history stays.\n"
    code, out, _ = run(command, "--tenant", "acme", "--json")
    assert (code, json.loads(out)) == (errors.OK, [])
    if command == "analyze":
        assert run(command, "--tenant", "acme", "--engine", "local")[0] == errors.OK
    if command == "report":
        assert run(command, "-p", "tenant=acme")[1].startswith("acme is inactive")


def test_status_looks_at_the_forecasts_of_its_time(run, pg, monkeypatch):
    monkeypatch.setenv("CAPACITY_DSN", pg.dsn)
    run("simulate", "--as-of", "2026-11-01")
    run("analyze", "--history", "--as-of", "2026-11-01")

    def issued(*arguments):
        return {row["forecast_timestamp"][:10] for row in json.loads(run("status", "--json", *arguments)[1])}

    assert issued() == {"2026-11-01"}
    assert issued("--as-of", "2026-08-15") == {"2026-08-01"}
    assert issued("--as-of", "2026-08-01") == {"2026-08-01"}


def test_an_action_from_before_a_capacity_was_known_is_not_repeated(run, pg, monkeypatch, tmp_path):
    monkeypatch.setenv("CAPACITY_DSN", pg.dsn)
    file = tmp_path / "usage.csv"
    days = [
        f"{datetime.now(UTC) - timedelta(days=n):%Y-%m-%dT%H:%M:%SZ},{1000 - 10 * n}\n" for n in range(40)
    ]
    file.write_text("measured_at,value\n" + "".join(days))
    assert run("import", "csv", file, "--name", "archive", "--type", "STORAGE", "--unit", "bytes")[0] == 0
    assert run("analyze")[0] == errors.OK
    assert printed_commands(run("status")[1]) != []
    since = (datetime.now(UTC) - timedelta(days=60)).isoformat()
    assert run("register", "STORAGE", "archive", "5000", "--from", since)[0] == errors.OK
    _, out, _ = run("status")
    assert "\tanalyse again: capacity analyze\n" in out
    assert "unknown" not in out
    assert printed_commands(out) == []
    assert run("analyze")[0] == errors.OK
    assert "analyse again" not in run("status")[1]
    pg.run("DELETE FROM capacity_ops.capacity_registry")
    _, out, _ = run("status")
    assert "\tanalyse again: capacity analyze\n" in out


def test_registering_says_from_which_measurement_on_it_is_judged(run, tenants):
    at = tenants.value(
        "SELECT max(measurement_timestamp) FROM capacity_planning.resource_utilization_s"
        " WHERE resource_type = 'WAL'"
    )
    code, out, _ = run("register", "WAL", "pg_wal", "5GiB", "--from", (at - timedelta(hours=1)).isoformat())
    assert code == errors.OK
    assert out == f"SYSTEM WAL pg_wal holds 5 GiB: judged from the measurement of {units.at(at)} on.\n"
    _, out, _ = run("register", "WAL", "pg_wal", "6GiB")
    assert out == "SYSTEM WAL pg_wal holds 6 GiB: judged from the next capture on.\n"
    later = datetime(2100, 1, 1, tzinfo=UTC)
    _, out, _ = run("register", "WAL", "pg_wal", "7GiB", "--from", later.isoformat())
    assert (
        out == "SYSTEM WAL pg_wal holds 7 GiB: judged from the first capture after 2100-01-01 00:00 UTC on.\n"
    )
    _, out, _ = run("register", "WAL", "pg_wal", "8GiB", "--json")
    assert json.loads(out)["judged_from"] is None


def test_what_goes_wrong_unforeseen_is_one_line_and_with_debug_a_traceback(run, pg18, monkeypatch):
    def broken(*_):
        raise KeyError("surprise")

    monkeypatch.setattr("capacity_kit.vault.Vault.status", broken)
    code, _, err = run("status", "--dsn", pg18.dsn)
    assert code == errors.ERROR
    assert one_line(err)
    assert "defect" in err
    code, _, err = run("--debug", "status", "--dsn", pg18.dsn)
    assert "Traceback" in err
    code, _, err = run("status", "--dsn", pg18.dsn, "--debug")
    assert "Traceback" in err


def test_up_status_and_down_of_the_embedded_server(run, monkeypatch, server18):
    home = server18.cluster.data.parent
    monkeypatch.setenv("CAPACITY_HOME", str(home))
    code, out, _ = run("up", "--json")
    assert code == errors.OK
    assert json.loads(out)["state"] == "running"
    assert run("verify")[0] in (errors.OK, errors.ATTENTION)  # nothing named: the embedded server


@pytest.mark.parametrize("given", ["dsn", "keywords", "setting", "variable", "debug"])
def test_a_wrong_password_is_said_and_shown_nowhere(guarded, run, monkeypatch, tmp_path, given):
    port, secret = guarded
    wrong = secret + "-wrong"
    address = f"postgresql://clerk:{wrong}@127.0.0.1:{port}/capacity"
    arguments, environment = [], {"CAPACITY_HOME": str(tmp_path)}
    if given in ("dsn", "debug"):
        arguments = ["--dsn", address]
    elif given == "keywords":
        arguments = ["--dsn", f"host=127.0.0.1 port={port} dbname=capacity user=clerk password={wrong}"]
    elif given == "setting":
        environment["CAPACITY_DSN"] = address
    else:
        environment |= {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "clerk", "PGPASSWORD": wrong}
        environment |= {"PGDATABASE": "capacity"}
    arguments += ["--debug"] if given == "debug" else []
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "capacity_kit", "status", *arguments],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    said = [(done.returncode, done.stdout, done.stderr)]
    said += [
        run(command, *arguments) for command in ("deploy", "report")
    ]  # in this process, which is quicker
    for code, out, err in said:
        assert code == errors.ERROR
        assert "refused the password of clerk" in err
        assert secret not in out + err
        assert ("Traceback" in err) == (given == "debug")
    assert [
        path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_text(errors="replace")
    ] == []


def test_the_right_password_serves_and_is_shown_nowhere(guarded, tmp_path):
    port, secret = guarded
    environment = {**os.environ, "CAPACITY_DSN": f"postgresql://clerk:{secret}@127.0.0.1:{port}/capacity"}
    for command in (["deploy"], ["capture", "--json"], ["status", "--debug"], ["verify"]):
        done = subprocess.run(
            [sys.executable, "-m", "capacity_kit", *command],
            env=environment, capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert done.returncode in (errors.OK, errors.ATTENTION), done.stderr
        assert secret not in done.stdout + done.stderr


def test_what_analyze_prints_for_registering_works_as_it_stands(run, tenants):
    code, out, _ = run("analyze")
    assert code == errors.OK
    assert "SELECT" not in out
    assert "Register its capacity." in out
    commands = printed_commands(out)
    assert {re.search("--tenant (.+)$", command)[1] for command in commands} >= {"SYSTEM", "acme"}
    for command in commands:
        assert run_literally(run, command, "1e15")[0] == errors.OK
    run("capture", "--host-metrics", "no")
    assert not set(commands) & set(printed_commands(run("analyze")[1]))


def test_evaluate_counts_what_has_no_verdict_apart(run, pg):
    run("simulate", "--dsn", pg.dsn, "--as-of", "2026-11-01")
    run("analyze", "--dsn", pg.dsn, "--thresholds", "--as-of", "2026-11-01")
    judged = json.loads(run("evaluate", "--dsn", pg.dsn, "--as-of", "2026-11-01", "--json")[1])
    exceeded = sum(row["threshold_exceeded"] is True for row in judged)
    unknown = sum(row["threshold_exceeded"] is None for row in judged)
    said = (
        f"{len(judged)} verdicts: {exceeded} exceeded, {len(judged) - exceeded - unknown} not exceeded, "
        f"{unknown} unknown."
    )
    assert min(exceeded, unknown) > 0
    assert said in run("evaluate", "--dsn", pg.dsn, "--as-of", "2026-11-01")[1]
    _, out, _ = run("evaluate", "--dsn", pg.dsn)  # long after the last measurement: all of them are stale
    assert f"{len(judged)} verdicts: 0 exceeded, 0 not exceeded, {len(judged)} unknown." in out
