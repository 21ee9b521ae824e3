"""The servers and databases that tests run on: real ones, each test in a database of its own."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from capacity_kit import cli, vault
from capacity_kit.vault import embedded
from capacity_kit.vault.embedded import Cluster

SHARED = Path(__file__).resolve().parents[2] / "shared"
PG15 = Path(os.environ.get("CAPACITY_PG15_BIN", "/usr/lib/postgresql/15/bin"))
SEED, SEEDED_AS_OF = 7, "2026-11-01T00:00:00Z"
MEMORY, ROOM = Path("/dev/shm"), 4 << 30  # bytes: more than all servers of a run need
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
LONGEST = (
    "reporting/test_due.py", "reporting/test_browser.py", "notebooks/test_notebooks.py", "analysis/test_run.py",
    "test_cli.py", "analysis/test_command.py", "test_cli_alerts.py", "reporting/test_run.py",
    "analysis/test_totals.py", "alerting/test_replay.py", "reporting/test_fanout.py", "test_real_data.py",
    "alerting/test_delivery.py", "vault/test_embedded.py", "test_pgbench.py", "test_packaging.py",
)  # fmt: skip
_numbers = itertools.count(1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The modules that take longest come first, then those of most tests: so all workers end at about one time."""
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(LONGEST)}
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (ranks.get(item.path, len(ranks)), -counts[item.path], str(item.path)))


def skip_or_fail(what: str, how: str) -> None:
    """Skip a test that needs something; on the machine that is meant to have it all, fail."""
    if os.environ.get("CAPACITY_NO_SKIP") == "1":
        pytest.fail(f"{what} is missing here, and CAPACITY_NO_SKIP=1 allows no skip: {how}", pytrace=False)
    pytest.skip(f"{what} is missing; {how}")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on, or reaches, what the developer's environment names."""
    for name in list(os.environ):
        if name.startswith("CAPACITY_") and name not in ("CAPACITY_NO_SKIP", "CAPACITY_PG15_BIN"):
            monkeypatch.delenv(name)
        if name.startswith("PG"):
            monkeypatch.delenv(name)


@dataclass(frozen=True)
class Server:
    """A running server with a database ``deployed`` to copy from."""

    cluster: Cluster
    major: int

    def dsn(self, database: str) -> str:
        return self.cluster.dsn(database)

    def run(self, statement: str, database: str = "postgres") -> None:
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def create(self, template: str = "template0") -> Database:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return Database(self, name)


@dataclass(frozen=True)
class Database:
    """A database of one test's own."""

    server: Server
    name: str

    @property
    def dsn(self) -> str:
        return self.server.dsn(self.name)

    @property
    def major(self) -> int:
        return self.server.major

    def connect(self, **options: Any) -> psycopg.Connection:
        """A connection of its own, in autocommit unless told otherwise."""
        return psycopg.connect(self.dsn, **{"autocommit": True, **options})

    def vault(self) -> vault.Vault:
        return vault.open(self.dsn)

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(statement.encode(), parameters or None).fetchall()

    def run(self, statement: str, *parameters: Any) -> None:
        with self.connect() as connection:
            connection.execute(statement.encode(), parameters or None)

    def value(self, statement: str, *parameters: Any) -> Any:
        return self.rows(statement, *parameters)[0][0]

    def drop(self) -> None:
        self.server.run(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")


@contextmanager
def _directory() -> Iterator[Path]:
    """A directory for a server's data that its account can get to: in memory where there is room, else in /tmp.

    A test's database is a thousand small files: on a disk, making them costs ten times the processor time.
    """
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    path = Path(tempfile.mkdtemp(prefix="capacity-test-", dir=MEMORY if has_room else None))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _deployed(server: Server) -> Server:
    server.run("CREATE DATABASE deployed TEMPLATE template0")
    with vault.open(server.dsn("deployed")) as opened:
        opened.deploy()
    return server


@pytest.fixture(scope="session")
def server18() -> Iterator[Server]:
    """The embedded server."""
    with _directory() as home:
        try:
            embedded.up(FAST, home)
            yield _deployed(Server(embedded._cluster(home), 18))
        finally:
            embedded.down(home)


@pytest.fixture(scope="session")
def server15() -> Iterator[Server]:
    """PostgreSQL 15 as Debian packages it, on a Unix socket."""
    if not (PG15 / "initdb").exists():
        skip_or_fail("PostgreSQL 15", "install it: apt-get install postgresql-15 postgresql-contrib")
    account = "postgres" if os.geteuid() == 0 else None
    with _directory() as home:
        cluster = Cluster(home / "data", PG15, account)
        try:
            cluster.start(FAST)
            yield _deployed(Server(cluster, 15))
        finally:
            cluster.stop()


@pytest.fixture(scope="session")
def seeded(server18: Server) -> str:
    """The connection string of a database that always holds the same: what the notebooks' outputs were made on.

    Set ``CAPACITY_AS_OF`` to ``SEEDED_AS_OF`` to look at it. Read only: it is shared by all tests.
    """
    dsn = server18.dsn(embedded.DATABASE)
    with vault.open(dsn) as opened:
        opened.execute("install_extensions")  # as capacity up does
    for command in (
        ["deploy"],
        ["simulate", "--seed", str(SEED), "--as-of", SEEDED_AS_OF],
        ["analyze", "--history", "--thresholds", "--as-of", SEEDED_AS_OF],
        ["analyze", "--history", "--engine", "local", "--as-of", SEEDED_AS_OF],
    ):
        assert cli.main([*command, "--dsn", dsn]) == 0
    assert cli.main(["evaluate", "--since", "60d", "--as-of", SEEDED_AS_OF, "--dsn", dsn]) in (0, 3)
    return dsn


@pytest.fixture(params=[pytest.param("server15", marks=pytest.mark.pg15), "server18"], ids=["pg15", "pg18"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of the servers in turn."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def pg(server: Server) -> Iterator[Database]:
    """A fresh database with the schema deployed, on each of the servers."""
    database = server.create("deployed")
    yield database
    database.drop()


@pytest.fixture
def empty(server: Server) -> Iterator[Database]:
    """A fresh database with nothing in it, on each of the servers."""
    database = server.create()
    yield database
    database.drop()


@pytest.fixture
def pg18(server18: Server) -> Iterator[Database]:
    """A fresh database with the schema deployed, on the embedded server only."""
    database = server18.create("deployed")
    yield database
    database.drop()


@pytest.fixture(scope="session")
def guarded() -> Iterator[tuple[int, str]]:
    """A server on the loopback network that wants a password of its role ``clerk``: port and password."""
    secret = "Tr0ub4dor-und-3"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with _directory() as home:
        embedded.up(FAST, home)
        embedded.down(home)
        cluster = replace(embedded._cluster(home), port=port)
        rules = cluster.data / "pg_hba.conf"
        rules.write_text("host all all 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
        try:
            cluster.start({**FAST, "listen_addresses": "127.0.0.1"})
            with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
                connection.execute(f"CREATE ROLE clerk SUPERUSER LOGIN PASSWORD '{secret}'".encode())
            yield port, secret
        finally:
            cluster.stop()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line; gives its exit code, what it printed, and what it said on stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def shared() -> Path:
    """The platform's contract and data, where they are beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not here: the platform's contract and data are not part of the project")
    return SHARED


@pytest.fixture(scope="session")
def chromium() -> str:
    """The program of a Chromium that is installed."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    skip_or_fail("Chromium", "install it: apt-get install chromium")
    raise AssertionError


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    """A headless Chromium, driven by playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()
