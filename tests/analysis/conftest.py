"""What the tests of the analysis share: databases with series in them, no two alike."""

from __future__ import annotations

import importlib.util
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from capacity_kit.analysis.chunks import Chunk, Resource

# Spark has an environment of its own, and its test with it: make test-spark.
collect_ignore = [] if importlib.util.find_spec("pyspark") else ["test_spark.py"]

AS_OF = datetime(2026, 11, 1, tzinfo=UTC)

TENANTS = """
INSERT INTO auth.tenant_h SELECT sha256(convert_to('t' || i, 'UTF8')), 't' || i, now(), 'test'
FROM generate_series(1, %(count)s) i"""
SERIES = """
WITH keyed AS (
    SELECT i, t.hk, capacity_ops.resource_key('STORAGE', 'data', t.hk) AS key
    FROM generate_series(1, %(count)s) i CROSS JOIN LATERAL (SELECT sha256(convert_to('t' || i, 'UTF8')) AS hk) t),
hub AS (
    INSERT INTO capacity_planning.resource_utilization_h
    SELECT capacity_ops.hash_key(key), key, now(), 'test' FROM keyed)
INSERT INTO capacity_planning.resource_utilization_s
    (resource_utilization_hk, load_date, hash_diff, measurement_timestamp, current_value, tenant_hk, resource_type,
     resource_name, resource_category, unit, maximum_capacity, record_source)
SELECT capacity_ops.hash_key(k.key), now(), '', %(as_of)s::timestamptz - make_interval(hours => 24 * d),
       round((1e9 * (100 + k.i %% 17 + (%(days)s - d) * (1 + k.i %% 5) / 20.0
              + (k.i %% 3) * sin(d * 2 * pi() / 7) + 2 * sin(d * d * (1 + k.i %% 11))))::numeric),
       k.hk, 'STORAGE', 'data', 'STORAGE', 'bytes', 150e9, 'test'
FROM keyed k CROSS JOIN generate_series(0, %(days)s - 1) d"""


def _fill(database, count, days=120):
    with database.connect() as connection:
        for statement in (TENANTS, SERIES):
            connection.execute(statement, {"count": count, "days": days, "as_of": AS_OF})
        connection.execute("ANALYZE")


@pytest.fixture(scope="session")
def fill():
    """Give a database so many tenants, each with one series of so many days."""
    return _fill


@pytest.fixture(scope="session")
def many(server18):
    """A database with 40 series, for tests that leave it as it is."""
    database = server18.create("deployed")
    _fill(database, 40)
    yield database
    database.drop()


@pytest.fixture
def own(server18, many):
    """A database with the same 40 series, of one test's own."""
    database = server18.create(many.name)
    yield database
    database.drop()


@pytest.fixture
def own15(server15):
    """As `own`, on PostgreSQL 15."""
    database = server15.create("deployed")
    _fill(database, 40)
    yield database
    database.drop()


@pytest.fixture(scope="session")
def close():
    """Whether two answers say the same, numbers to a relative tolerance."""

    def same(one, other, tolerance=1e-9):
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(same(one[k], other[k], tolerance) for k in one)
        if isinstance(one, list | tuple):
            return len(one) == len(other) and all(
                same(a, b, tolerance) for a, b in zip(one, other, strict=True)
            )
        if isinstance(one, int | float) and not isinstance(one, bool):
            return bool(np.isclose(one, other, rtol=tolerance, atol=0))
        return one == other

    return same


@pytest.fixture(scope="session")
def chunk():
    """A chunk of series given by days before AS_OF and values."""

    def made(*series, capacity=200e9, kind="STORAGE", unit="bytes", warning=80.0, critical=90.0):
        resources, times, values = [], [], []
        for number, (days, value) in enumerate(series):
            at = AS_OF.timestamp() - 86400 * np.asarray(days, float)
            newest = datetime.fromtimestamp(at.max(), UTC) if at.size else AS_OF
            times.append(at)
            values.append(np.asarray(value, float))
            usage = float(values[-1][at.argmax()]) if at.size else 0.0
            origin = newest + timedelta(days=(AS_OF - newest).days)
            resources.append(
                Resource(
                    f"{number:064x}", None, kind, f"r{number}", "TEST", unit, usage, capacity, warning,
                    critical, newest, origin,
                )
            )  # fmt: skip
        return Chunk(AS_OF, tuple(resources), tuple(times), tuple(values))

    return made


@pytest.fixture(scope="session")
def dask_cluster():
    """The map over a Dask cluster, where Dask is installed."""
    if importlib.util.find_spec("distributed") is None:
        hint = "Dask is missing; pip install 'capacity-kit[dask]'"
        if os.environ.get("CAPACITY_NO_SKIP") == "1":
            pytest.fail(f"{hint} (CAPACITY_NO_SKIP=1 allows no skip)", pytrace=False)
        pytest.skip(hint)
    from capacity_kit.analysis.dask import cluster

    return cluster
