"""A connection is lent without its password: whoever has the loan connects, and finds the password nowhere."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import psycopg
import pytest

from capacity_kit import vault
from capacity_kit.vault import broker
from capacity_kit.vault.embedded import Cluster
from tests.conftest import FAST, PG15, _directory, skip_or_fail

IS_TLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
ALIVE = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"


@pytest.fixture
def dsn(guarded):
    port, secret = guarded
    return f"postgresql://clerk:{secret}@127.0.0.1:{port}/capacity"


def lent(dsn=None):
    with vault.open(dsn) as opened:
        return broker.lent(opened)


def test_the_loan_connects_as_the_same_role_without_the_password(dsn, guarded):
    with lent(dsn) as loan:
        assert guarded[1] not in loan.dsn + repr(loan)
        assert loan.secrets == {guarded[1]}
        with psycopg.connect(loan.dsn) as connection:
            assert connection.execute("SELECT current_user, current_database()").fetchone() == (
                "clerk",
                "capacity",
            )
            assert connection.info.password == ""
            connection.execute("CREATE TEMPORARY TABLE t (x text)")
            with connection.cursor().copy("COPY t FROM STDIN") as copy:
                for _ in range(2000):
                    copy.write_row(["y" * 1000])
            assert connection.execute("SELECT sum(length(x)) FROM t").fetchone() == (2_000_000,)
            assert len(connection.execute("SELECT x FROM t").fetchall()) == 2000
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(loan.dsn, connect_timeout=2)
    assert not Path(loan.dsn.split("host=")[1].split()[0]).exists()


@pytest.mark.parametrize("by", ["PGPASSWORD", "passfile", "service"])
def test_a_password_is_kept_wherever_libpq_found_it(by, guarded, monkeypatch, tmp_path):
    port, secret = guarded
    if by == "service":
        file = tmp_path / "services"
        file.write_text(
            f"[here]\nhost=127.0.0.1\nport={port}\nuser=clerk\ndbname=capacity\npassword={secret}\n"
        )
        monkeypatch.setenv("PGSERVICEFILE", str(file))
        monkeypatch.setenv("PGSERVICE", "here")
    else:
        for name, value in (
            ("PGHOST", "127.0.0.1"),
            ("PGPORT", port),
            ("PGUSER", "clerk"),
            ("PGDATABASE", "capacity"),
        ):
            monkeypatch.setenv(name, str(value))
        if by == "PGPASSWORD":
            monkeypatch.setenv("PGPASSWORD", secret)
        else:
            file = tmp_path / "pgpass"
            file.write_text(f"*:*:*:*:{secret}\n")
            file.chmod(0o600)
            monkeypatch.setenv("PGPASSFILE", str(file))
    with lent() as loan:
        assert loan.secrets == {secret}
        assert [path.name for path in loan.files] == {
            "PGPASSWORD": [],
            "passfile": ["pgpass"],
            "service": ["services"],
        }[by]
        for name in ("PGSERVICE", "PGPASSWORD", "PGPASSFILE", "PGHOST"):
            monkeypatch.delenv(name, raising=False)
        with psycopg.connect(loan.dsn) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("clerk",)


def test_whoever_names_another_role_or_database_has_the_lent_one(dsn):
    with lent(dsn) as loan, psycopg.connect(loan.dsn, user="postgres", dbname="postgres") as connection:
        assert connection.execute("SELECT current_user, current_database()").fetchone() == (
            "clerk",
            "capacity",
        )


def test_a_query_can_be_cancelled_through_it(dsn):
    with lent(dsn) as loan, psycopg.connect(loan.dsn) as connection:
        threading.Timer(0.3, connection.cancel_safe).start()
        begin = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(20)")
        assert time.monotonic() - begin < 10


def test_many_at_a_time_and_one_that_ends_ends_its_servers_side(dsn):
    with lent(dsn) as loan:
        open_ones = [psycopg.connect(loan.dsn, autocommit=True) for _ in range(8)]
        pids = [connection.info.backend_pid for connection in open_ones]
        for connection in open_ones[1:]:
            connection.close()
        end = time.monotonic() + 10
        count = 8
        while count > 1 and time.monotonic() < end:
            (count,) = (
                open_ones[0]
                .execute("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", (pids,))
                .fetchone()
            )
        open_ones[0].close()
        assert count == 1


@pytest.mark.parametrize("encryption", ["md5", "password"])
def test_the_other_ways_of_asking_for_a_password(encryption, guarded):
    port, secret = guarded
    with psycopg.connect(
        f"postgresql://clerk:{secret}@127.0.0.1:{port}/capacity", autocommit=True
    ) as connection:
        (rules,) = connection.execute("SHOW hba_file").fetchone()
        before = Path(rules).read_text()
        connection.execute("SET password_encryption = 'md5'")
        connection.execute(f"CREATE ROLE old LOGIN PASSWORD '{secret}'")
        Path(rules).write_text(f"host all old 127.0.0.1/32 {encryption}\n{before}")
        connection.execute("SELECT pg_reload_conf()")
        try:
            time.sleep(0.2)
            with (
                lent(f"postgresql://old:{secret}@127.0.0.1:{port}/capacity") as loan,
                psycopg.connect(loan.dsn) as other,
            ):
                assert other.execute("SELECT current_user").fetchone() == ("old",)
        finally:
            Path(rules).write_text(before)
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("DROP ROLE old")


def test_a_wrong_answer_is_the_servers_own_words(guarded):
    with (
        lent(f"postgresql://clerk:{guarded[1]}@127.0.0.1:{guarded[0]}/capacity") as loan,
        psycopg.connect(
            f"postgresql://clerk:{guarded[1]}@127.0.0.1:{guarded[0]}/capacity", autocommit=True
        ) as connection,
    ):
        connection.execute("ALTER ROLE clerk PASSWORD 'changed-meanwhile'")
        try:
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(loan.dsn)
        finally:
            connection.execute(f"ALTER ROLE clerk PASSWORD '{guarded[1]}'")


def test_where_there_is_no_password_the_settings_themselves_are_lent(pg18, monkeypatch):
    with lent(pg18.dsn) as loan:
        assert loan.secrets == frozenset()
        with psycopg.connect(loan.dsn) as connection:
            assert connection.info.dbname == pg18.name


def test_without_unix_sockets_a_word_of_the_loan_lets_in(dsn, guarded, monkeypatch):
    monkeypatch.setattr(broker, "_ON_FILES", False)
    with lent(dsn) as loan:
        assert guarded[1] not in loan.dsn
        with psycopg.connect(loan.dsn) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("clerk",)
        with pytest.raises(psycopg.OperationalError, match="not the word of this loan"):
            psycopg.connect(loan.dsn, password="another")


def test_what_is_no_postgresql_is_sent_away(dsn):
    with lent(dsn) as loan, socket.socket(socket.AF_UNIX) as asking:
        asking.connect(loan.dsn.split("host=")[1].split()[0] + "/.s.PGSQL.5432")
        asking.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert b"not PostgreSQL" in asking.recv(1000)


@pytest.mark.pg15
def test_over_tls_it_is_tls_to_the_server(tmp_path):
    if not (PG15 / "initdb").exists() or shutil.which("openssl") is None:
        skip_or_fail("PostgreSQL 15 or openssl", "install it: apt-get install postgresql-15 openssl")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with _directory() as home:
        cluster = Cluster(home / "data", PG15, "postgres" if os.geteuid() == 0 else None, port)
        cluster.start(FAST)
        try:
            key, certificate = cluster.data / "server.key", cluster.data / "server.crt"
            subprocess.run(
                ["openssl", "req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=localhost", "-newkey",
                 "rsa:2048", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                check=True, capture_output=True,
            )  # fmt: skip
            key.chmod(0o600)
            for file in (key, certificate):
                shutil.chown(file, cluster.data.owner())
            root = tmp_path / "root.crt"
            root.write_text(certificate.read_text())
            with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as connection:
                connection.execute("CREATE ROLE clerk LOGIN PASSWORD 'Tr0ub4dor-und-3'")
            rules = cluster.data / "pg_hba.conf"
            rules.write_text("hostssl all clerk 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
            cluster.stop()
            cluster.start({**FAST, "listen_addresses": "127.0.0.1", "ssl": "on"})
            address = f"postgresql://clerk:Tr0ub4dor-und-3@127.0.0.1:{port}/postgres"
            address += f"?sslmode=verify-full&sslrootcert={root}"
            with lent(address) as loan, psycopg.connect(loan.dsn) as other:
                assert other.execute(IS_TLS).fetchone() == (True,)
                rows = other.execute("SELECT repeat('x', 1000) FROM generate_series(1, 5000)").fetchall()
                assert len(rows) == 5000
        finally:
            cluster.stop()
