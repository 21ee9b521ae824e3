"""Reaching a server: which one, with what secret, and what a person is told when it does not work."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

import psycopg
from psycopg import conninfo
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.numeric import FloatLoader
from psycopg.types.string import ByteaLoader
from pydantic import SecretStr
from sqlalchemy import Connection as SQLAlchemyConnection
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from capacity_kit import settings
from capacity_kit.errors import CapacityError
from capacity_kit.vault import embedded, queries

OLDEST: Final = 14
"""The oldest PostgreSQL that the workbench runs on."""

_secrets: set[str] = set()
SHORTEST_SECRET: Final = 4
"""A shorter password is no secret, and blotting it out would spoil every text that has it for a syllable."""

_NAMES_A_SERVER: Final = ("PGSERVICE", "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE")
_HOW_TO_NAME: Final = (
    "Name a server by --dsn, CAPACITY_DSN or libpq's variables, or start a private one: capacity up."
)


@dataclass(frozen=True)
class Target:
    """A server to connect to.

    Attributes
    ----------
    dsn
        Its connection string; empty: libpq reads its own variables. Never shown.
    origin
        Who named it.
    """

    dsn: SecretStr
    origin: Literal["argument", "CAPACITY_DSN", "libpq", "embedded"]

    @property
    def passwords(self) -> set[str]:
        """The password in the connection string and that in PGPASSWORD: both are kept out of what is printed."""
        try:
            named = conninfo.conninfo_to_dict(self.dsn.get_secret_value()).get("password")
        except psycopg.Error:
            named = None
        return {str(secret) for secret in (named, os.environ.get("PGPASSWORD")) if secret}


def resolve(dsn: str | None = None) -> Target:
    """Decide which server is meant: the argument, ``CAPACITY_DSN``, libpq's variables, or the embedded one.

    Parameters
    ----------
    dsn
        A connection string in one of libpq's forms; None: look further.

    Raises
    ------
    CapacityError
        When the string cannot be read; it is not repeated, since it may hold a password.
    """
    from_environment = settings.load().dsn
    if dsn:
        return Target(_readable(dsn, "--dsn"), "argument")
    if from_environment:
        return Target(_readable(from_environment.get_secret_value(), "CAPACITY_DSN"), "CAPACITY_DSN")
    if any(os.environ.get(name) for name in _NAMES_A_SERVER):
        return Target(SecretStr(""), "libpq")
    found = embedded.status()
    if found.state != "running":
        raise CapacityError("No server is named, and the embedded one does not run", _HOW_TO_NAME)
    return Target(SecretStr(found.dsn), "embedded")


def without_secrets(dsn: str, name: str) -> str:
    """A connection string for a place that others read.

    Raises
    ------
    CapacityError
        When it holds a password, or cannot be read; `name` says whose it is.
    """
    read = _readable(dsn, name).get_secret_value()
    if {"password", "sslpassword"} & conninfo.conninfo_to_dict(read).keys():
        raise CapacityError(
            f"The password in {name} would stand in the entry for all to read",
            "Leave it to ~/.pgpass or a service file.",
        )
    return read


def _readable(dsn: str, name: str) -> SecretStr:
    """Refuse a string whose parts libpq would take for something else, a password's rest for a host."""
    dsn = re.sub(r"^(postgres(?:ql)?)\+psycopg2?://", r"\1://", dsn.strip())
    if "://" in dsn:
        authority, _, path = dsn.split("://", 1)[1].partition("/")
        if authority.count("@") > 1 or "@" in path.partition("?")[0]:
            raise CapacityError(
                f"{name} has an @ or a / too many",
                "Write @ as %40 and / as %2F in its password, or use PGPASSWORD or ~/.pgpass.",
            )
    try:
        conninfo.conninfo_to_dict(dsn)
    except psycopg.Error:
        raise CapacityError(
            f"{name} is not a connection string",
            "Expected postgresql://user@host/database or host=... dbname=... user=...",
        ) from None
    return SecretStr(dsn)


def engine(target: Target, on_notice: Callable[[str], None] | None = None) -> Engine:
    """Return an engine whose connections know this workbench's ways.

    The connection string stays out of SQLAlchemy, whose URLs end up in representations and messages.
    numeric comes as float, bytea as its hex.

    Parameters
    ----------
    target
        Where to connect.
    on_notice
        Called with each NOTICE or WARNING that the server sends.
    """
    keep_secret(*target.passwords)

    def connect() -> psycopg.Connection[Any]:
        defaults = {"application_name": "capacity-kit", "connect_timeout": 10, "client_encoding": "UTF8"}
        taken = conninfo.conninfo_to_dict(target.dsn.get_secret_value())
        named = {"PGAPPNAME": "application_name", "PGCONNECT_TIMEOUT": "connect_timeout"}
        ours = {k: v for k, v in defaults.items() if k not in taken}
        for variable, name in named.items():
            if os.environ.get(variable):
                ours.pop(name, None)
        try:
            # Prepared by name, a statement belongs to a server's session, and a pooler may give us another one.
            connection = _Session.connect(
                target.dsn.get_secret_value(),
                prepare_threshold=None,
                **ours,  # type: ignore[arg-type]
            )
        except psycopg.Error as error:
            raise unreachable(error, target) from None
        connection.adapters.register_loader("numeric", FloatLoader)
        connection.adapters.register_loader("bytea", _HexLoader)
        if on_notice:
            connection.add_notice_handler(lambda said: _pass_on(said, on_notice))
        with connection.transaction():
            connection.begin_session()
        return connection

    made = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=4,
        # Whatever the role prefers: what waited for a lock must see what it waited for.
        isolation_level="READ COMMITTED",
    )
    event.listen(made, "begin", _begin)
    return made


class _Session(psycopg.Connection[Any]):
    """A connection that may lead to another of the server's sessions with each transaction."""

    is_pooled = False

    def begin_session(self) -> None:
        """Set what every session sets; behind a pooler for the transaction only, since the next one is another's."""
        statement = str(queries.find("session", OLDEST)).replace(":pid", "%(pid)s")
        settled = self.execute(statement.encode(), {"pid": self.info.backend_pid}).fetchone()
        assert settled is not None
        self.is_pooled = bool(settled[0])


def _begin(beginning: SQLAlchemyConnection) -> None:
    session = beginning.connection.driver_connection
    if isinstance(session, _Session) and session.is_pooled:
        session.begin_session()


def _pass_on(said: psycopg.errors.Diagnostic, on_notice: Callable[[str], None]) -> None:
    """Pass on what a routine raised, and warnings; not that something to be dropped was not there."""
    if said.source_function == "exec_stmt_raise" or said.severity_nonlocalized == "WARNING":
        on_notice(said.message_primary or "")


class _HexLoader(Loader):
    """bytea as hex: keys are compared, joined and shown, never computed with."""

    def load(self, data: Buffer) -> str:
        raw = bytes(data)
        if raw.startswith(rb"\x"):
            return raw[2:].decode()
        return bytes(ByteaLoader(self.oid).load(raw)).hex()  # the server's bytea_output is escape


def unreachable(error: psycopg.Error, target: Target) -> CapacityError:
    """Say in one line why a connection failed, and what to do.

    libpq's message is shortened to its last line and never holds the password.
    """
    lines = [line.strip(" \t-") for line in str(error).splitlines() if line.strip()] or [
        "the connection failed"
    ]
    first = lines[1] if lines[0].startswith("Multiple connection attempts") else lines[0]
    said = redact(re.sub(r"^(connection failed: |connection is bad: )+", "", first), target)
    for pattern, message, hint in _CONNECTION_FAILURES:
        if found := re.search(pattern, str(error), re.IGNORECASE):
            words = {k: redact(v, target) for k, v in found.groupdict().items()}
            return CapacityError(message.format(said=said, **words), hint)
    return CapacityError(f"The server cannot be reached: {said}", "Check host, port and network.")


_CONNECTION_FAILURES: Final = (
    (
        r"password authentication failed for user \"(?P<user>[^\"]+)\"",
        "The server refused the password of {user}",
        "Give the right one by PGPASSWORD, ~/.pgpass or the connection string.",
    ),
    (
        r"no password supplied",
        "The server wants a password",
        "Give it by PGPASSWORD, ~/.pgpass or the connection string.",
    ),
    (
        r"database \"(?P<database>[^\"]+)\" does not exist",
        "There is no database {database} on that server",
        "Create it with createdb, or name another one.",
    ),
    (
        r"role \"(?P<role>[^\"]+)\" does not exist",
        "There is no role {role} on that server",
        "Name the role to connect as: user=...",
    ),
    (
        r"no pg_hba.conf entry",
        "The server does not let this host, user and database in: {said}",
        "Its pg_hba.conf decides.",
    ),
    (
        r"too many clients|remaining connection slots",
        "The server has no free connection",
        "Try again later, or raise max_connections.",
    ),
    (r"the database system is (?P<doing>[a-z ]+)", "The server is {doing}", "Try again in a moment."),
    (
        r"could not translate host name|name or service not known",
        "The host's name is not known: {said}",
        "Check its spelling.",
    ),
    (r"timeout expired|timed out", "The server did not answer in time", "Check host, port and firewall."),
    (
        r"connection refused|no such file or directory|is the server running",
        "No server answers: {said}",
        _HOW_TO_NAME,
    ),
    (
        r"definition of service|service file",
        "libpq's service file does not serve: {said}",
        "Check PGSERVICE and ~/.pg_service.conf.",
    ),
)


def redact(text: str, target: Target) -> str:
    """Return a text with the target's password blotted out."""
    keep_secret(*target.passwords)
    return redact_all(text)


def keep_secret(*secrets: str) -> None:
    """Blot these out of every text from now on, in every form in which a program may print them."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            escaped = secret.replace("\\", "\\\\").replace("'", "\\'")
            _secrets.update({secret, repr(secret)[1:-1], escaped, quote(secret), quote(secret, safe="")})
            _secrets.update({json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]})
            _secrets.update({html.escape(secret), repr(secret + "'\"")[1:-4]})


def redact_all(text: str) -> str:
    """Return a text with every password blotted out that this process connected, or tried to connect, with."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def require_version(version: int) -> None:
    """Refuse a server that is too old.

    Parameters
    ----------
    version
        ``server_version_num``, such as 150004.
    """
    if version < OLDEST * 10_000:
        raise CapacityError(
            f"PostgreSQL {OLDEST} or newer is needed; this server is {version // 10_000}",
            "Upgrade it, or name another.",
        )


def explain(error: psycopg.Error) -> CapacityError:
    """Say in one line what a statement met, and what to do.

    What the database's own routines raise is passed on as they worded it.
    """
    said = error.diag.message_primary or (str(error).strip().splitlines() or [type(error).__name__])[0]
    hint = error.diag.message_hint or ""
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return CapacityError(
            f"This role lacks a right: {said}", hint or "Connect as the schema's owner, or have it granted."
        )
    if isinstance(
        error,
        psycopg.errors.UndefinedTable | psycopg.errors.UndefinedFunction | psycopg.errors.InvalidSchemaName,
    ) and re.search(r"capacity_(planning|ops)|auth\.", said):
        return CapacityError(
            f"The capacity schema is not (wholly) in this database: {said}", "Run: capacity deploy"
        )
    if isinstance(error, psycopg.errors.DiskFull):
        return CapacityError(
            f"The server's disk is full: {said}", "Free some space there; nothing was half-written."
        )
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return CapacityError("This server only reads (a standby?)", "Connect to its primary.")
    if isinstance(error, psycopg.errors.QueryCanceled):
        return CapacityError(
            f"The server gave up: {said}", "Raise statement_timeout for this role, or ask for less."
        )
    if isinstance(
        error,
        psycopg.errors.LockNotAvailable
        | psycopg.errors.DeadlockDetected
        | psycopg.errors.SerializationFailure,
    ):
        return CapacityError(f"Another session was in the way: {said}", "Try again.")
    if isinstance(error, psycopg.DataError):
        return CapacityError(said[:1].upper() + said[1:], hint)
    if error.sqlstate is None or error.sqlstate.startswith(("08", "57P")):
        return CapacityError(
            f"The connection to the server was lost: {said}", "What was not committed is undone; try again."
        )
    return CapacityError(said[:1].upper() + said[1:], hint)
