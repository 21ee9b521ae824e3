"""What the tests of the analysis share: a database to fill with series whose answer is known."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.rows import dict_row

AS_OF = datetime(2026, 11, 1, tzinfo=UTC)
COLUMNS = (
    "resource_utilization_hk, load_date, hash_diff, measurement_timestamp, current_value, tenant_hk, resource_type, "
    "resource_name, resource_category, unit, maximum_capacity, system_identifier, record_source"
)


@dataclass
class Bench:
    """A deployed database, and series planted in it: one tenant each, named after the series."""

    connection: psycopg.Connection[dict[str, Any]]

    def tenant(self, name: str) -> bytes:
        hk = hashlib.sha256(name.encode()).digest()
        self.connection.execute(
            "INSERT INTO auth.tenant_h VALUES (%s, %s, now(), 'test') ON CONFLICT DO NOTHING", [hk, name]
        )
        return hk

    def plant(
        self,
        name: str,
        days: Any,
        values: Any,
        *,
        capacity: float | None = 200e9,
        unit: str = "bytes",
        kind: str = "STORAGE",
        as_of: datetime = AS_OF,
        server: int | None = None,
    ) -> bytes:
        """Measurements ``values`` taken ``days`` days before ``as_of``; returns the tenant's key."""
        tenant = self.tenant(name)
        key = f"{kind}|{name}|{tenant.hex()}"
        resource = hashlib.sha256(key.encode()).digest()
        self.connection.execute(
            "INSERT INTO capacity_planning.resource_utilization_h VALUES (%s, %s, now(), 'test') "
            "ON CONFLICT DO NOTHING",
            [resource, key],
        )
        same = (tenant, kind, name, "TEST", unit, capacity, server, "test")
        with self.connection.cursor().copy(
            f"COPY capacity_planning.resource_utilization_s ({COLUMNS}) FROM STDIN".encode()
        ) as copy:
            for day, value in zip(np.atleast_1d(days), np.atleast_1d(values), strict=True):
                at = as_of - timedelta(seconds=round(float(day) * 86400))
                copy.write_row((resource, datetime.now(UTC), b"", at, repr(float(value)), *same))
        return tenant

    def analyze(
        self, name: str | None = None, days: int = 60, as_of: datetime = AS_OF, kind: str | None = None
    ) -> dict[str, dict[str, Any]]:
        """The rows of analyze_growth_patterns by resource name."""
        tenant = self.tenant(name) if name else None
        rows = self.connection.execute(
            "SELECT * FROM capacity_planning.analyze_growth_patterns(%s, %s, %s, %s)",
            [tenant, kind, days, as_of],
        )
        return {row["resource_name"]: row for row in rows}

    def rows(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        return self.connection.execute(statement.encode(), parameters or None).fetchall()

    def value(self, statement: str, *parameters: Any) -> Any:
        return next(iter(self.rows(statement, *parameters)[0].values()))


@pytest.fixture
def bench(pg):
    with pg.connect(row_factory=dict_row) as connection:
        yield Bench(connection)


START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday


@dataclass
class Stage:
    """A deployed database in which alerts are made to happen: times are minutes after ``START``."""

    connection: psycopg.Connection[dict[str, Any]]

    def at(self, minutes: float) -> datetime:
        return START + timedelta(minutes=minutes)

    def tenant(self, name: str) -> bytes:
        hk = hashlib.sha256(name.encode()).digest()
        self.run("INSERT INTO auth.tenant_h VALUES (%s, %s, now(), 'test') ON CONFLICT DO NOTHING", hk, name)
        return hk

    def measure(
        self,
        minutes: float,
        value: float,
        *,
        capacity: float | None = 100,
        tenant: bytes | None = None,
        kind: str = "STORAGE",
        name: str = "disk",
    ) -> None:
        self.run(
            "WITH k AS (SELECT capacity_ops.resource_key(%(kind)s, %(name)s, %(tenant)s) AS bk), h AS ("
            "INSERT INTO capacity_planning.resource_utilization_h "
            "SELECT capacity_ops.hash_key(bk), bk, now(), 'test' FROM k ON CONFLICT DO NOTHING) "
            f"INSERT INTO capacity_planning.resource_utilization_s ({COLUMNS}) "
            "SELECT capacity_ops.hash_key(bk), now(), '', %(at)s, %(value)s, %(tenant)s, %(kind)s, %(name)s, "
            "'TEST', 'bytes', %(capacity)s, NULL, 'test' FROM k",
            {"kind": kind, "name": name, "tenant": tenant, "at": self.at(minutes), "value": value}
            | {"capacity": capacity},
        )

    def threshold(
        self,
        level: float = 90,
        kind: str = "CRITICAL",
        *,
        tenant: bytes | None = None,
        name: str = "full",
        of: str = "STORAGE",
        **columns: Any,
    ) -> bytes:
        """Define a threshold that is looked at in every evaluation and suppresses nothing unless told otherwise."""
        hk = self.value(
            "SELECT capacity_planning.create_capacity_threshold(%s, %s, %s, %s, %s)",
            *(tenant, name, of, level, kind),
        )
        self.configure(hk, **{"evaluation_frequency_minutes": None, "suppression_enabled": False, **columns})
        return bytes(hk)

    def configure(self, threshold: bytes, **columns: Any) -> None:
        assignments = ", ".join(f"{column} = %s" for column in columns)
        self.run(
            f"UPDATE capacity_planning.capacity_threshold_s SET {assignments} "
            "WHERE capacity_threshold_hk = %s AND load_end_date IS NULL",
            *(*columns.values(), threshold),
        )

    def evaluate(self, minutes: float, tenant: bytes | None = None) -> list[dict[str, Any]]:
        return self.rows(
            "SELECT * FROM capacity_planning.evaluate_capacity_thresholds(%s, %s)", tenant, self.at(minutes)
        )

    def play(self, *usage: tuple[float, float], **of: Any) -> None:
        """Measure and evaluate at each (minutes, percent of capacity)."""
        for minutes, value in usage:
            self.measure(minutes, value, **of)
            self.evaluate(minutes)

    def alerts(self) -> list[dict[str, Any]]:
        return self.rows(
            "SELECT * FROM capacity_alerting.alert ORDER BY raised_at, tenant_hk NULLS FIRST, severity"
        )

    def episodes(self) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM capacity_alerting.episode ORDER BY started_at, threshold_name")

    def notifications(self) -> list[dict[str, Any]]:
        return self.rows(
            "SELECT * FROM capacity_alerting.notification ORDER BY queued_at, kind, channel, contact"
        )

    def raised(self) -> list[float]:
        """When alerts were raised, in minutes."""
        return [(row["raised_at"] - START) / timedelta(minutes=1) for row in self.alerts()]

    def run(self, statement: str, *parameters: Any) -> None:
        given = (
            parameters[0] if len(parameters) == 1 and isinstance(parameters[0], dict) else parameters or None
        )
        self.connection.execute(statement.encode(), given)

    def rows(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        return self.connection.execute(statement.encode(), parameters or None).fetchall()

    def value(self, statement: str, *parameters: Any) -> Any:
        return next(iter(self.rows(statement, *parameters)[0].values()))


@pytest.fixture
def stage(pg18):
    """Where history is told to people too, so that messages can be looked at."""
    with pg18.connect(row_factory=dict_row) as connection:
        made = Stage(connection)
        made.run("UPDATE capacity_ops.setting SET value = 1e6 WHERE name = 'notify_within_hours'")
        yield made
