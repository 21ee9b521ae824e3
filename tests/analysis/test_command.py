import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import conninfo
from rich.console import Console

from capacity_kit import cli, errors

COUNT = "SELECT count(*) FROM capacity_planning.capacity_forecast_s WHERE method = %s"


@pytest.fixture
def run(capsys):
    """Run capacity analyze; gives its exit code, what it printed, and what it said on stderr."""

    def run(database, *arguments):
        code = cli.main(["analyze", "--dsn", database.dsn, "--as-of", "2026-11-01", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_engine_analyses_and_tells_the_most_urgent_first(own, run):
    code, out, _ = run(own, "--engine", "local")
    assert code == errors.OK
    assert "40 resources as of 2026-11-01 00:00 UTC: 40 new forecasts, 0 as before." in out
    assert own.rows(COUNT, "ENGINE") == [(40,)]
    assert own.rows(COUNT, "SQL") == [(0,)]
    code, out, _ = run(own, "--engine", "local")
    assert code == errors.OK
    assert out == "All 40 resources are recorded as of 2026-11-01 00:00 UTC already.\n"
    code, _, err = run(own, "--engine", "local", "--type", "NOSUCH")
    assert code == errors.ERROR
    assert "Nothing was measured of it" in err


def test_a_narrow_terminal_cuts_no_sentence(many, run, monkeypatch):
    shown = Console(force_terminal=True, width=80, file=io.StringIO(), highlight=False, soft_wrap=True)
    monkeypatch.setattr("capacity_kit.console.out", shown)
    code, _, _ = run(many, "--engine", "local", "--dry-run", "--type", "STORAGE")
    assert code == errors.OK
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown.file.getvalue().splitlines()]
    assert lines[0].split("  ")[0] == "resource"
    assert max(map(len, lines)) <= 80
    assert not any("…" in line or "+00:00" in line for line in lines)
    # Below the row of each resource, indented, the whole of its sentence.
    first = lines.index(next(line for line in lines if line.startswith("t")))
    said = " ".join(line.strip() for line in lines[first + 1 : first + 5])
    assert "days backtested" not in lines[first]
    assert re.search(
        r"in 30 days: .* a day.*80 % band in 30 days .* origins backtested, error at 30 days", said
    )
    assert sum(line.startswith("t") for line in lines) == 40


def test_workers_and_clusters_find_what_one_process_finds(many, run, dask_cluster):
    found = []
    for how in (["local"], ["local", "--workers", "2"], ["dask"]):
        code, out, _ = run(many, "--engine", *how, "--dry-run", "--json")
        assert code == errors.OK
        found.append(json.loads(out))
    assert len(found[0]) == 40
    assert found[0] == found[1] == found[2]
    assert many.rows(COUNT, "ENGINE") == [(0,)]


def test_the_engine_looks_back_month_by_month(own, run):
    code, _, _ = run(own, "--engine", "local", "--history")
    assert code == errors.OK
    issued = own.rows(
        "SELECT DISTINCT forecast_timestamp FROM capacity_planning.capacity_forecast_s"
        " WHERE method = 'ENGINE' ORDER BY 1"
    )
    assert len(issued) > 1
    assert issued[-1][0].isoformat().startswith("2026-11-01")
    assert all(at.day == 1 for (at,) in issued)


def test_a_dry_run_of_the_databases_own_analysis_records_nothing(own, run):
    code, out, _ = run(own, "--dry-run", "--json")
    assert code == errors.OK
    assert len(json.loads(out)) == 40
    assert own.rows(COUNT, "SQL") == [(0,)]


@pytest.fixture
def standby(own15):
    """A hot standby of the server of `own15`, which answers and takes nothing in; and the same database on it."""
    primary = own15.server.cluster
    with tempfile.TemporaryDirectory(prefix="capacity-test-", dir=primary.data.parents[1]) as directory:
        home = Path(directory)
        if primary.account:
            shutil.chown(home, primary.account)
        cluster = replace(primary, data=home / "standby", port=primary.port + 1)
        socket = conninfo.conninfo_to_dict(own15.dsn)["host"]
        try:
            primary._run(
                "pg_basebackup", "-D", cluster.data, "-h", socket, "-p", primary.port, "-U", "postgres",
                "-R", "-c", "fast",
            )  # fmt: skip
            cluster.start({"fsync": "off"})
            yield replace(own15, server=replace(own15.server, cluster=cluster))
        finally:
            cluster.stop()


@pytest.mark.pg15
@pytest.mark.parametrize("engine", ["sql", "local"])
def test_a_replica_is_enough_for_a_dry_run(standby, run, engine):
    assert standby.value("SELECT pg_is_in_recovery()")
    code, out, err = run(standby, "--engine", engine, "--dry-run", "--json")
    assert code == errors.OK, err
    assert len(json.loads(out)) == 40
    code, _, err = run(standby, "--engine", "local")
    assert code == errors.ERROR
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--workers", "2"),
        ("--engine", "local", "--scheduler", "tcp://host:8786"),
        ("--history", "--dry-run"),
        ("--thresholds", "--dry-run"),
        ("--engine", "abacus"),
        ("--engine", "local", "--workers", "0"),
        ("--engine", "local", "--days", "5"),
        ("--days", "100000000"),
    ],
)
def test_what_does_not_go_together_is_refused(many, run, arguments):
    code, out, err = run(many, *arguments)
    assert code == errors.USAGE
    assert err
    assert not out


def test_only_the_most_urgent_are_shown(own, run, monkeypatch):
    monkeypatch.setattr("capacity_kit.cli.analysis.SHOWN", 3)
    code, out, _ = run(own, "--engine", "local", "--dry-run")
    assert code == errors.OK
    assert out.count("STORAGE data") == 3
    assert "nothing recorded; shown are the 3 most urgent" in out


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_interrupted_run_says_how_to_go_on(fill, server18, workers):
    database = server18.create("deployed")
    fill(database, 1600, 60)
    command = [sys.executable, "-m", "capacity_kit", "analyze", "--engine", "local", "--workers", workers]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    try:
        with subprocess.Popen([*command, "--dsn", database.dsn], **pipes, start_new_session=True) as running:
            while database.rows(COUNT, "ENGINE")[0][0] < 1024:
                assert running.poll() is None
                time.sleep(0.02)  # the processor is theirs
            os.killpg(running.pid, signal.SIGINT)
            _, err = running.communicate(timeout=60)
        assert "of 1,600 resources are done; the same command with --as-of 20" in err
        assert err.count("\n") == 2
        as_of = err.partition("--as-of ")[2].split()[0]
        recorded = database.rows(COUNT, "ENGINE")[0][0]
        again = subprocess.run([*command, "--dsn", database.dsn, "--as-of", as_of], **pipes, check=True)
        assert f"{1600 - recorded:,} resources as of" in again.stdout
    finally:
        database.drop()


@pytest.mark.slow
def test_a_worker_that_dies_leaves_word_how_to_go_on(fill, server18):
    database = server18.create("deployed")
    fill(database, 4000, 16)
    command = [sys.executable, "-m", "capacity_kit", "analyze", "--engine", "local", "--workers", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    try:
        with subprocess.Popen([*command, "--dsn", database.dsn], **pipes) as running:
            while not database.rows(COUNT, "ENGINE")[0][0]:
                assert running.poll() is None
                time.sleep(0.02)
            own = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
            for worker in own:
                if b"spawn_main" in Path(f"/proc/{worker}/cmdline").read_bytes():
                    os.kill(int(worker), signal.SIGKILL)
            _, err = running.communicate(timeout=60)
        assert running.returncode == errors.ERROR
        assert "of 4,000 resources are done; the same command with --as-of 20" in err
        assert "A worker died" in err
    finally:
        database.drop()


@pytest.mark.parametrize(("engine", "library"), [("dask", "distributed"), ("spark", "pyspark")])
def test_a_cluster_that_is_not_installed_is_said(many, engine, library):
    program = (
        f"import sys; sys.modules[{library!r}] = None; from capacity_kit import cli; "
        f"sys.exit(cli.main(['analyze', '--dsn', {many.dsn!r}, '--engine', {engine!r}, '--dry-run']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == errors.ERROR
    assert "is not installed" in done.stderr
    assert f"capacity-kit[{engine}]" in done.stderr
    assert done.stderr.count("\n") == 1
