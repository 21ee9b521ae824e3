"""An open database: named queries into frames, what the database's routines do, and deployment."""

from __future__ import annotations

import difflib
import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, cast

import pandas as pd
import psycopg
from pydantic import SecretStr
from sqlalchemy import Connection, CursorResult, Engine, exc

from capacity_kit import settings
from capacity_kit.errors import CapacityError
from capacity_kit.vault import connection, frames, load, queries
from capacity_kit.vault import deploy as deployment
from capacity_kit.vault.deploy import SchemaState
from capacity_kit.vault.load import Loaded

ALL: Final = "ALL"
SYSTEM: Final = "SYSTEM"


@dataclass(frozen=True)
class Server:
    """The server at the other end.

    Attributes
    ----------
    version_number
        Such as 150004.
    version
        Such as ``15.4 (Debian 15.4-1)``.
    database, role
        What was connected to, and as whom.
    is_on_socket
        Reached over a Unix socket: it runs on this host.
    data_directory
        Where its files are; None where the role may not know.
    is_beyond_database
        The role may run programs, or read or write files, on the server's host.
    """

    version_number: int
    version: str
    database: str
    role: str
    is_on_socket: bool
    data_directory: str | None
    is_beyond_database: bool = False

    @property
    def major(self) -> int:
        """The major version, such as 15."""
        return self.version_number // 10_000


class Vault:
    """An open database.

    Parameters
    ----------
    target
        Where to connect.
    on_notice
        Called with each NOTICE and WARNING that the server sends; they are kept in ``notices`` too.

    Attributes
    ----------
    asked
        The files of the queries that it has run, for a report to say what SQL it rests on.

    Raises
    ------
    CapacityError
        When the server cannot be reached or is too old.
    """

    def __init__(self, target: connection.Target, on_notice: Callable[[str], None] | None = None) -> None:
        self.target = target
        self.notices: list[str] = []
        self._hear = partial(_hear, self.notices, on_notice)
        self.asked: set[Path] = set()
        # Neither the engine nor what it calls leads back here: whoever drops a vault without closing it leaves no
        # session behind, in the process that opened it.
        self._engine = connection.engine(target, self._hear)
        weakref.finalize(self, _dispose, self._engine, os.getpid()).atexit = False
        self._open: Connection | None = None
        self.server = self._greet()

    def __repr__(self) -> str:
        return f"<Vault {self.server.database} on PostgreSQL {self.server.version}>"

    def __enter__(self) -> Vault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @property
    def dsn(self) -> SecretStr:
        """The connection string, for handing on to a child process's environment; never to be shown."""
        return self.target.dsn

    @contextmanager
    def transaction(self, rollback: bool = False, read_only: bool = False) -> Iterator[Connection]:
        """Do several things as one: all of them, or none.

        Within it ``read``, ``execute`` and the rest share the transaction. Inside another transaction it is a
        savepoint.

        Parameters
        ----------
        rollback
            Undo everything at the end: for trying what would happen.
        read_only
            Refuse every change: the database's routines then show what they find, and record nothing.

        Yields
        ------
        Connection
            SQLAlchemy's connection, for those in this room who COPY.
        """
        with self._explained():
            if self._open is not None:
                with self._open.begin_nested() as savepoint:
                    if read_only:  # not by execute(), at the end of whose own savepoint it would be over
                        self._run("read_only", {})
                    yield self._open
                    if rollback:
                        savepoint.rollback()
                return
            with self._engine.connect() as self._open:
                try:
                    with self._open.begin() as transaction:
                        if read_only:
                            self._run("read_only", {})
                        yield self._open
                        if rollback:
                            transaction.rollback()
                finally:
                    self._open = None

    def read(self, name: str, **parameters: Any) -> pd.DataFrame:
        """Run a named query and return its rows.

        Parameters
        ----------
        name
            The query: ``sql/queries/<name>.sql``.
        **parameters
            Its parameters.

        Returns
        -------
        DataFrame
            See :func:`capacity_kit.vault.frames.frame` for the types of its columns.
        """
        with self.transaction():
            result = self._run(name, parameters)
            columns = cast(list[tuple[str, int]], [column[:2] for column in result.cursor.description])
            return frames.frame(columns, result.fetchall())

    def execute(self, name: str, **parameters: Any) -> int:
        """Run a named statement and return the number of rows that it touched."""
        with self.transaction():
            return self._run(name, parameters).rowcount

    def load(self, batches: Iterable[pd.DataFrame], record_source: str, **options: Any) -> Loaded:
        """Store measurements, all of them or none; see :func:`capacity_kit.vault.load.load` for the options."""
        with self.transaction() as opened:
            return load.load(opened, batches, record_source, **options)

    def script(self, statements: str) -> None:
        """Run a file of statements as it stands, in the open transaction or in one of its own."""
        with self.transaction() as opened:
            driver = opened.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            driver.execute(statements.encode())

    def deploy(self) -> SchemaState:
        """Bring the database up to this package's schema; see :func:`capacity_kit.vault.deploy.deploy`."""
        return deployment.deploy(self)

    def inspect(self) -> SchemaState:
        """Tell what stands in the database; see :func:`capacity_kit.vault.deploy.inspect`."""
        return deployment.inspect(self)

    def require_deployed(self) -> None:
        """Refuse a database in which the schema is not there, not ours, or behind."""
        deployment.require_deployed(self.inspect())

    def tenants(self) -> pd.DataFrame:
        """Return the tenants: tenant_hk (hex), tenant_bk, tenant_name, is_active, max_users, is_simulated."""
        return self.read("tenants")

    def tenant(self, label: str) -> str | None:
        """Return the key (hex of tenant_hk) of a tenant that a person named; None for ALL and SYSTEM.

        Parameters
        ----------
        label
            ALL, SYSTEM, a tenant's business key, or the hex of its hash key.

        Raises
        ------
        CapacityError
            When there is no such tenant; names those that come close.
        """
        if label in (ALL, SYSTEM):
            return None
        known = self.tenants()
        by_name = dict(zip(known["tenant_bk"], known["tenant_hk"], strict=True))
        if label in by_name:
            return str(by_name[label])
        if label.lower() in set(by_name.values()):
            return label.lower()
        close = difflib.get_close_matches(label, by_name, n=3, cutoff=0.4) or sorted(by_name)[:3]
        hint = f"Known are: {', '.join([ALL, SYSTEM, *close])}{', ...' if len(by_name) > len(close) else ''}"
        raise CapacityError(f"There is no tenant {label!r}", hint)

    def capture(self, tenant: str = SYSTEM, measured: pd.DataFrame | None = None) -> pd.DataFrame:
        """Have the server measure itself, and record what it measured.

        Parameters
        ----------
        tenant
            ALL, SYSTEM or one tenant. With SYSTEM the tenants are recorded too, and not shown.
        measured
            What a program on the server's host measured: resource_type, resource_name, current_value, unit,
            capacity, method, source. Recorded with the system's resources, where the server gave none of that type.

        Returns
        -------
        DataFrame
            A row a resource: tenant_hk, resource_type, resource_name, current_usage, capacity, unit,
            utilization_percentage, status, measurement_method. What could not be measured is in ``notices``.
        """
        with self.transaction():
            brought = None if measured is None else measured.to_json(orient="records")
            captured = self.read("capture", tenant=self.tenant(tenant), measured=brought)
            if tenant != ALL:
                return captured
            recorded = self.read("recorded")
            return captured if recorded.empty else recorded  # empty: another session was recording

    def analyze(
        self, tenant: str = ALL, resource_type: str = ALL, days: int = 30, as_of: datetime | str | None = None
    ) -> pd.DataFrame:
        """Have the database analyse growth, and record its forecasts and patterns.

        Parameters
        ----------
        tenant
            ALL, SYSTEM or one tenant.
        resource_type
            ALL, or a type such as STORAGE.
        days
            How far back a fit looks.
        as_of
            Look at the measurements as they stood then (default: ``CAPACITY_AS_OF``, else now).

        Returns
        -------
        DataFrame
            A row a resource; the columns of ``analyze_growth_patterns`` and ``tenant``, ``is_simulated``.
        """
        return self.read(
            "analyze",
            tenant=self.tenant(tenant),
            resource_type=None if resource_type == ALL else resource_type,
            days=days,
            as_of=self.as_of(as_of),
            system_only=tenant == SYSTEM,
        )

    def origins(
        self, tenant: str = ALL, as_of: datetime | str | None = None, method: str = "SQL"
    ) -> list[datetime]:
        """When history is yet to be analysed from: the first of each month since measuring began, and ``as_of``.

        Parameters
        ----------
        tenant
            ALL, SYSTEM or one tenant.
        as_of
            The last time to look from (default: ``CAPACITY_AS_OF``, else now).
        method
            Whose forecasts: SQL or ENGINE.

        Returns
        -------
        list of datetime
            The oldest first: where a later forecast stands, an earlier one is not recorded any more.
        """
        found = self.read(
            "analysis_origins",
            tenant=self.tenant(tenant),
            system_only=tenant == SYSTEM,
            as_of=self.as_of(as_of),
            method=method,
        )
        return [origin.to_pydatetime() for origin in found["origin"]]

    def analyze_history(
        self,
        tenant: str = ALL,
        as_of: datetime | str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> pd.DataFrame:
        """Analyse as if it had been done on the first of each month since measuring began, and at ``as_of``.

        So a fresh import has forecasts that can be held against what then came. What was analysed from a month
        already is left alone.

        Parameters
        ----------
        tenant
            ALL, SYSTEM or one tenant.
        as_of
            The last time to look from (default: ``CAPACITY_AS_OF``, else now).
        progress
            Told how many of how many are done.

        Returns
        -------
        DataFrame
            The last analysis, as ``analyze`` returns it.
        """
        origins = self.origins(tenant, as_of)
        if not origins:
            return self.analyze(tenant, as_of=as_of)
        for done, origin in enumerate(origins, 1):
            analysed = self.analyze(tenant, as_of=origin)
            if progress:
                progress(done, len(origins))
        return analysed

    def status(self, tenant: str = ALL, as_of: datetime | str | None = None) -> pd.DataFrame:
        """Tell what runs out next: what is past a level, then what cannot be judged, then the rest by its runway.

        Parameters
        ----------
        tenant
            ALL, SYSTEM or one tenant.
        as_of
            Look at the measurements as they stood then (default: ``CAPACITY_AS_OF``, else now).

        Returns
        -------
        DataFrame
            A row a resource; see ``sql/queries/status.sql``.
        """
        return self.read(
            "status", tenant=self.tenant(tenant), as_of=self.as_of(as_of), system_only=tenant == SYSTEM
        )

    def evaluate(self, tenant: str = ALL, as_of: datetime | str | None = None) -> pd.DataFrame:
        """Have the database judge each active threshold by the newest measurement, and record what follows.

        What follows are episodes, alerts and notifications. In a read-only transaction nothing is recorded, and for a
        time before the last evaluation neither; ``notices`` then says so.

        Parameters
        ----------
        tenant
            ALL, SYSTEM or one tenant.
        as_of
            Look at the measurements as they stood then (default: ``CAPACITY_AS_OF``, else now).

        Returns
        -------
        DataFrame
            A row a threshold; the columns of ``evaluate_capacity_thresholds`` and ``tenant``, ``is_simulated``.
        """
        return self.read(
            "evaluate", tenant=self.tenant(tenant), as_of=self.as_of(as_of), system_only=tenant == SYSTEM
        )

    def evaluate_history(
        self,
        since: timedelta,
        every: timedelta,
        tenant: str = ALL,
        as_of: datetime | str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> pd.DataFrame:
        """Evaluate as if it had been done regularly over stored history, up to ``as_of``.

        So a fresh import has the alerts that it would have raised, if nothing was evaluated yet: times up to the last
        recorded evaluation are left out, and ``notices`` then says so.

        Parameters
        ----------
        since, every
            How far back to begin, and how long from one evaluation to the next.
        tenant
            ALL, SYSTEM or one tenant.
        as_of
            The last time to evaluate at (default: ``CAPACITY_AS_OF``, else now).
        progress
            Told how many of how many are done.

        Returns
        -------
        DataFrame
            The last evaluation, as ``evaluate`` returns it.
        """
        last = self.as_of(as_of) or datetime.now(UTC)
        recorded = self.read("alert_evaluated", tenant=self.tenant(tenant))["evaluated_at"].iloc[0]
        times = [last - n * every for n in reversed(range(since // every + 1))]
        if not pd.isna(recorded):
            skipped = sum(at <= recorded for at in times[:-1])
            times = [at for at in times[:-1] if at > recorded] + times[-1:]
            if skipped:
                self._hear(
                    f"evaluated up to {recorded:%Y-%m-%d %H:%M} UTC already: {skipped} times are left out, "
                    "since history is gone through once, before the first evaluation, and only goes on from the last"
                )
        for done, at in enumerate(times, 1):
            judged = self.evaluate(tenant, at)
            if progress:
                progress(done, len(times))
        return judged

    def register(
        self,
        tenant: str,
        resource_type: str,
        resource_name: str,
        capacity: float,
        unit: str,
        valid_from: datetime | None = None,
        reason: str | None = None,
        registered_by: str | None = None,
    ) -> datetime:
        """Say what a resource can hold.

        Parameters
        ----------
        tenant
            SYSTEM or one tenant.
        resource_type, resource_name
            The resource.
        capacity
            What it can hold, in ``unit``; above 0.
        unit
            The unit that it is measured in.
        valid_from
            From when on (default: now).
        reason
            Why, for whoever asks later.
        registered_by
            Who says so (default: the database role).

        Returns
        -------
        datetime
            From when on it holds.
        """
        registered = self.read(
            "register_capacity",
            tenant=self.tenant(tenant),
            resource_type=resource_type,
            resource_name=resource_name,
            capacity=capacity,
            unit=unit,
            valid_from=valid_from,
            reason=reason,
            registered_by=registered_by,
        )
        moment: pd.Timestamp = registered["valid_from"].iloc[0]
        return moment.to_pydatetime()

    def unit_of(self, tenant: str, resource_type: str, resource_name: str) -> str | None:
        """Return the unit that a resource is measured in; None when it was never measured."""
        found = self.read(
            "resource_unit",
            tenant=self.tenant(tenant),
            resource_type=resource_type,
            resource_name=resource_name,
        )
        return None if found.empty else str(found["unit"].iloc[0])

    def make_thresholds(self, tenant: str = ALL) -> int:
        """Make the default thresholds that are missing; return how many were made.

        Parameters
        ----------
        tenant
            ALL (the system and every active tenant), SYSTEM or one tenant.
        """
        made = self.read("default_thresholds", tenant=self.tenant(tenant), system_only=tenant == SYSTEM)
        return int(made["made"].iloc[0])

    @staticmethod
    def as_of(moment: datetime | str | None) -> datetime | None:
        """Read a point in time: as given, else ``CAPACITY_AS_OF``, else None for now. Without a zone it is UTC."""
        if moment is None:
            return settings.load().as_of
        if isinstance(moment, str):
            try:
                moment = datetime.fromisoformat(moment)
            except ValueError:
                raise CapacityError(
                    f"{moment!r} is not a time", "Write it as 2026-11-01 or 2026-11-01T12:00:00Z."
                ) from None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    def _run(self, name: str, parameters: dict[str, Any]) -> CursorResult[Any]:
        assert self._open is not None
        self.asked.add(queries.file(name, self.server.major))
        return self._open.execute(queries.find(name, self.server.major), parameters)

    def _greet(self) -> Server:
        self.server = Server(
            0, "", "", "", False, None
        )  # until the server says which it is, the plain queries serve
        found = self.read("server").iloc[0]
        number = int(found["version_number"])
        connection.require_version(number)
        directory = found["data_directory"]
        return Server(
            number,
            str(found["version"]),
            str(found["database"]),
            str(found["role"]),
            bool(found["is_on_socket"]),
            None if pd.isna(directory) else str(directory),
            bool(found["is_beyond_database"]),
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the server refuses into one line that says what to do."""
        try:
            yield
        except exc.DBAPIError as error:
            if isinstance(error.orig, psycopg.Error):
                raise connection.explain(error.orig) from error.orig
            raise
        except psycopg.Error as error:
            raise connection.explain(error) from error


def open(  # noqa: A001 -- vault.open(dsn) reads as what it does
    dsn: str | None = None, on_notice: Callable[[str], None] | None = None
) -> Vault:
    """Open a database.

    Parameters
    ----------
    dsn
        A connection string; None: ``CAPACITY_DSN``, else libpq's own variables, else the embedded server.
    on_notice
        Called with each NOTICE and WARNING that the server sends.

    Raises
    ------
    CapacityError
        When the server cannot be reached or is too old.
    """
    return Vault(connection.resolve(dsn), on_notice)


def _hear(notices: list[str], on_notice: Callable[[str], None] | None, notice: str) -> None:
    notices.append(notice)
    if on_notice:
        on_notice(notice)


def _dispose(engine: Engine, opener: int) -> None:
    if os.getpid() == opener:
        engine.dispose()
