"""What the tests of the analysis share: databases with series in them whose answer is known, or many that differ."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from capacity_kit import vault

AS_OF = datetime(2026, 11, 1, tzinfo=UTC)

TENANTS = """
INSERT INTO auth.tenant_h SELECT sha256(convert_to('t' || i, 'UTF8')), 't' || i, now(), 'test'
FROM generate_series(1, %(count)s) i;
"""
SERIES = """
WITH resource AS (
    SELECT i, sha256(convert_to('t' || i, 'UTF8')) AS tenant FROM generate_series(1, %(count)s) i),
keyed AS (
    SELECT r.*, capacity_ops.resource_key('STORAGE', 'data', r.tenant) AS key FROM resource r),
hub AS (
    INSERT INTO capacity_planning.resource_utilization_h
    SELECT capacity_ops.hash_key(key), key, now(), 'test' FROM keyed)
INSERT INTO capacity_planning.resource_utilization_s
    (resource_utilization_hk, load_date, hash_diff, measurement_timestamp, current_value, tenant_hk, resource_type,
     resource_name, resource_category, unit, maximum_capacity, record_source)
SELECT capacity_ops.hash_key(k.key), now(), '', %(as_of)s::timestamptz - make_interval(hours => 24 * d),
       round((1e9 * (100 + k.i %% 17 + (%(days)s - d) * (1 + k.i %% 5) / 50.0
              + (k.i %% 3) * sin(d * 2 * pi() / 7) + 2 * sin(d * d * (1 + k.i %% 11)) ))::numeric),
       k.tenant, 'STORAGE', 'data', 'STORAGE', 'bytes', 250e9, 'test'
FROM keyed k CROSS JOIN generate_series(0, %(days)s - 1) d;
"""


def fill(connection, count, days=120, as_of=AS_OF):
    """So many tenants, each with one series of so many days; no two alike."""
    for statement in (TENANTS, SERIES):
        connection.execute(statement, {"count": count, "days": days, "as_of": as_of})
    connection.execute("ANALYZE")


@pytest.fixture(scope="module")
def many(server18):
    """A database with 40 series, for tests that leave it as it is."""
    database = server18.create("deployed")
    with database.connect() as connection:
        fill(connection, 40)
    yield database
    database.drop()


@pytest.fixture
def own(server18):
    """A database with 40 series of one test's own."""
    database = server18.create("deployed")
    with database.connect() as connection:
        fill(connection, 40)
    yield database
    database.drop()


@pytest.fixture
def opened(many):
    with vault.open(many.dsn) as store:
        yield store


def close(one, other, tolerance=1e-9):
    """Whether two records say the same, numbers to a relative tolerance."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[k], other[k], tolerance) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(close(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(one, int | float) and not isinstance(one, bool):
        return bool(np.isclose(one, other, rtol=tolerance, atol=0))
    return one == other
