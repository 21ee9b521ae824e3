"""Bring measurements into the vault: COPY into a staging table, then one set-based statement a step.

All of it is one transaction, so a load that is interrupted leaves nothing, and loading the same
measurements again adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import numpy as np
import pandas as pd
import psycopg
from sqlalchemy import Connection, TextClause

from capacity_kit.errors import CapacityError
from capacity_kit.sources import frame as measurements
from capacity_kit.vault import queries

Progress = Callable[[str, int], None]
"""Called with a stage (``reading``, ``checking``, ``recording``) and the measurements read so far."""

# One tuple of COPY's binary format, each field preceded by its length in bytes. numpy writes a
# batch of these in one go, many times faster than any text that the server would have to parse.
_TUPLE: Final = np.dtype(
    [
        ("fields", ">i2"),
        ("resource_length", ">i4"),
        ("resource", ">i4"),
        ("measured_at_length", ">i4"),
        ("measured_at", ">i8"),
        ("value_length", ">i4"),
        ("value", ">f8"),
        ("capacity_length", ">i4"),
        ("capacity", ">f8"),
        ("line_length", ">i4"),
        ("line", ">i8"),
    ]
)
_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_POSTGRES_EPOCH: Final = np.datetime64("2000-01-01", "us")


@dataclass(frozen=True)
class Loaded:
    """What a load did.

    Attributes
    ----------
    rows
        Measurements that the source held.
    inserted
        Measurements that were not there yet.
    corrected
        Measurements whose value or capacity was another before; the earlier version is kept, closed.
    resources
        Resources that the source measures.
    dropped
        Measurements left out because another of the same resource and time was preferred.
    """

    rows: int
    inserted: int
    corrected: int
    resources: int
    dropped: int = 0


def load(
    connection: Connection,
    batches: Iterable[pd.DataFrame],
    record_source: str,
    *,
    label: str | None = None,
    method: str | None = None,
    duplicates: Literal["refuse", "first", "last"] = "refuse",
    progress: Progress | None = None,
    now: pd.Timestamp | None = None,
) -> Loaded:
    """Store measurements.

    Parameters
    ----------
    connection
        A connection in a transaction, which the caller commits. Isolation READ COMMITTED, so that
        of two loads at once the second sees what the first stored.
    batches
        Measurement frames (see :mod:`capacity_kit.sources.frame`), read one at a time: memory stays flat.
    record_source
        Who says so, such as ``IMPORT:usage.csv``; cut at 100 characters.
    label
        What the source is called in messages (default: the record source).
    method
        How it was measured, in words; cut at 100 characters.
    duplicates
        What to do when the source holds two measurements of one resource at one time.
    progress
        Told of each stage and each batch.
    now
        The present time in UTC (default: the clock's).

    Returns
    -------
    Loaded
        What was stored.

    Raises
    ------
    CapacityError
        When a measurement is impossible, doubled, of an unknown tenant or in another unit than its
        resource's earlier ones; names the lines. The caller's transaction is then to be rolled back.
    """
    label = label or record_source
    tell: Progress = progress or (lambda stage, rows: None)
    refusals = measurements.Refusals(label)
    now = now or pd.Timestamp.now("UTC")

    for name in ("load_drop_staging", "load_create_resource", "load_create_incoming"):
        _run(connection, name)
    known: dict[tuple[str | None, str, str, str], int] = {}
    rows = _copy(connection, batches, known, refusals, now, tell)
    if not rows:
        raise CapacityError(f"{label}: no measurements in it", "Nothing was stored.")

    tell("checking", rows)
    _run(connection, "load_lock")
    _stage_resources(connection, known)
    for name in ("load_analyze_incoming", "load_analyze_resource"):
        _run(connection, name)
    _check_resources(connection, refusals)
    dropped = 0
    if duplicates == "refuse":
        _check_duplicates(connection, refusals)
    else:
        dropped = _run(connection, "load_drop_duplicates", keep=duplicates)
    _run(connection, "load_pace")

    tell("recording", rows)
    said = {
        "record_source": record_source[:100],
        "measurement_source": label[:100],
        "measurement_method": method and method[:100],
    }
    _run(connection, "load_find_corrections")
    load_date = _scalar(connection, "load_date")
    _run(connection, "load_hubs", load_date=load_date, record_source=said["record_source"])
    corrected = _run(connection, "load_close", load_date=load_date)
    stored = _run(connection, "load_insert", load_date=load_date, **said)
    _run(connection, "load_drop_staging")
    return Loaded(rows, stored - corrected, corrected, len(known), dropped)


def _copy(
    connection: Connection,
    batches: Iterable[pd.DataFrame],
    known: dict[tuple[str | None, str, str, str], int],
    refusals: measurements.Refusals,
    now: pd.Timestamp,
    tell: Progress,
) -> int:
    """Stream the batches into the staging table; numbers each resource in ``known``. Returns the rows."""
    rows = 0
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    with driver.cursor() as cursor, cursor.copy(_query(connection, "load_copy").text) as copy:
        copy.write(_HEADER)
        for batch in batches:
            measurements.check(batch, refusals, now)
            refusals.raise_if_any()
            copy.write(_tuples(batch, _number(batch, known)))
            rows += len(batch)
            tell("reading", rows)
        copy.write(_TRAILER)
    return rows


def _number(batch: pd.DataFrame, known: dict[tuple[str | None, str, str, str], int]) -> np.ndarray:
    """Give each row the number of its resource, numbering the new ones on."""
    grouped = batch.groupby(measurements.IDENTITY, sort=False, dropna=False, observed=True)
    group = grouped.ngroup().to_numpy()
    first = np.unique(group, return_index=True)[1]
    identities = zip(*(batch[name].iloc[first] for name in measurements.IDENTITY), strict=True)
    numbers = [
        known.setdefault((None if pd.isna(tenant) else tenant, kind, name, unit), len(known))
        for tenant, kind, name, unit in identities
    ]
    return np.asarray(numbers, dtype=np.int32)[group]


def _tuples(batch: pd.DataFrame, resource: np.ndarray) -> bytes:
    """Write a batch in COPY's binary format."""
    tuples = np.empty(len(batch), dtype=_TUPLE)
    stamps = batch["measured_at"].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    tuples["fields"] = 5
    for name, values in (
        ("resource", resource),
        ("measured_at", (stamps - _POSTGRES_EPOCH).astype(np.int64)),
        ("value", batch["value"].to_numpy(dtype=float)),
        ("capacity", batch["capacity"].to_numpy(dtype=float)),
        ("line", batch["line"].to_numpy()),
    ):
        tuples[f"{name}_length"] = _TUPLE[name].itemsize
        tuples[name] = values
    return tuples.tobytes()


def _stage_resources(connection: Connection, known: dict[tuple[str | None, str, str, str], int]) -> None:
    """Tell the server which resource each number stands for."""
    tenants, kinds, names, units = (list(column) for column in zip(*known, strict=True))
    _run(
        connection,
        "load_resources",
        resource=list(known.values()),
        tenant=tenants,
        resource_type=kinds,
        resource_name=names,
        unit=units,
    )


def _check_resources(connection: Connection, refusals: measurements.Refusals) -> None:
    """Refuse tenants that are not there, and units that contradict each other or the stored ones."""
    for row in _rows(connection, "load_unknown_tenants"):
        refusals.add(f"unknown tenant {row.tenant}", row.lines, row.count)
    for row in _rows(connection, "load_units"):
        refusals.add(
            f"{row.resource_type} {row.resource_name} is measured in {row.expected}, not in {row.unit}",
            row.lines,
            row.count,
        )
    refusals.raise_if_any()


def _check_duplicates(connection: Connection, refusals: measurements.Refusals) -> None:
    """Refuse two measurements of one resource at one time."""
    for row in _rows(connection, "load_duplicates"):
        refusals.add("the same resource and time more than once", row.lines, row.count)
    refusals.raise_if_any("To keep one of them: --duplicates first, or last.")


def _query(connection: Connection, name: str) -> TextClause:
    version = connection.dialect.server_version_info or (0,)
    return queries.find(name, int(version[0]))


def _rows(connection: Connection, name: str) -> list[Any]:
    return list(connection.execute(_query(connection, name)))


def _scalar(connection: Connection, name: str) -> Any:
    return connection.execute(_query(connection, name)).scalar_one()


def _run(connection: Connection, name: str, **parameters: object) -> int:
    """Run a statement and return how many rows it touched."""
    return connection.execute(_query(connection, name), parameters).rowcount
