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
