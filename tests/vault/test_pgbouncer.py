"""Through PgBouncer in transaction mode, where each transaction may come to another of the server's sessions."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time

import psycopg
import pytest

from capacity_kit import cli, vault
from tests.conftest import skip_or_fail


@pytest.fixture
def pooled(pg18, tmp_path):
    """The connection string of a pooler with two sessions of the server."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        skip_or_fail("PgBouncer", "install it: apt-get install pgbouncer")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    at = psycopg.conninfo.conninfo_to_dict(pg18.dsn)
    users = tmp_path / "users.txt"
    users.write_text('"postgres" ""\n')
    file = tmp_path / "pgbouncer.ini"
    file.write_text(
        f"[databases]\n{pg18.name} = host={at['host']} port={at['port']} user=postgres\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {users}\n"
        "pool_mode = transaction\ndefault_pool_size = 4\nserver_reset_query =\nlogfile =\npidfile =\n"
    )
    account = []
    if os.geteuid() == 0:
        for path in [*tmp_path.parents][:-2]:
            path.chmod(path.stat().st_mode | 0o011)
        for path in (tmp_path, users, file):
            path.chmod(0o755)
        # The server's account: its socket lies in a folder that nobody else enters.
        account = ["-u", pg18.server.cluster.account or "postgres"]
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen([program, *account, str(file)], stdout=log, stderr=log)
    dsn = f"postgresql://postgres@127.0.0.1:{port}/{pg18.name}"
    try:
        end = time.monotonic() + 15
        while True:
            try:
                psycopg.connect(dsn, connect_timeout=2).close()
                break
            except psycopg.OperationalError:
                assert time.monotonic() < end, (tmp_path / "log").read_text()
                time.sleep(0.05)
        yield dsn
    finally:
        running.terminate()
        running.wait(10)


def test_what_a_session_sets_reaches_each_transaction_and_nobody_else(pooled):
    with vault.open(pooled) as first, vault.open(pooled) as second:
        for _ in range(8):  # a statement that would be prepared is prepared by now
            with first.transaction():
                held = first.read("session", pid=0).iloc[0]
                # While the first is in a transaction, the second has another session of the server.
                other = second.read("session", pid=0).iloc[0]
                assert bool(held["is_so"])
                assert bool(other["is_so"])
                first.tenants()
        with first.transaction() as opened:
            driver = opened.connection.driver_connection
            shown = [driver.execute(f"SHOW {name}").fetchone()[0] for name in ("TimeZone", "search_path")]
    assert shown == ["UTC", "pg_catalog, pg_temp"]
    with psycopg.connect(pooled, autocommit=True) as stranger:
        for _ in range(6):
            assert "public" in stranger.execute("SHOW search_path").fetchone()[0]


def test_the_days_work_is_done_through_it(pg18, pooled, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CAPACITY_DSN", pooled)
    schedule = tmp_path / "schedule.yml"
    schedule.write_text(
        "reports:\n- {name: it, notebook: deployment_verification, cron: '0 6 * * 1', recipients: [CHAT]}\n"
    )
    assert cli.main(["capture"]) == 0
    assert cli.main(["analyze"]) in (0, 3)
    assert cli.main(["evaluate"]) in (0, 3)
    monkeypatch.setenv("CAPACITY_AS_OF", "2026-11-02T06:01:00Z")
    code = cli.main(["run-due", "--schedule", str(schedule), "--site", str(tmp_path / "site")])
    assert code in (0, 3), capsys.readouterr()
    assert list((tmp_path / "site").glob("deployment_verification/*/2026-11-02T060000Z/index.html"))
    assert cli.main(["run-due", "--schedule", str(schedule), "--site", str(tmp_path / "site")]) == 0
    assert "Nothing is due" in capsys.readouterr().out
    monkeypatch.setenv("CAPACITY_CHANNEL_CHAT", "json://127.0.0.1:1/")
    cli.main(["alerts", "send"])
    assert "1 to be tried again" in capsys.readouterr().out
    assert pg18.value("SELECT attempts FROM capacity_alerting.notification") == 1
