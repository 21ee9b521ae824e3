"""Rows of PostgreSQL as frames whose column types do not depend on what happens to be in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

_INTEGERS = frozenset({20, 21, 23, 26})
_FLOATS = frozenset({700, 701, 1700})
_BOOLEAN, _DATE, _TIMESTAMP, _TIMESTAMPTZ, _INTERVAL = 16, 1082, 1114, 1184, 1186
_TEXTS = frozenset({17, 18, 19, 25, 1042, 1043})


def frame(columns: Sequence[tuple[str, int]], rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Build a frame from a result.

    Parameters
    ----------
    columns
        Name and type (PostgreSQL's OID) of each column.
    rows
        The result's rows.

    Returns
    -------
    DataFrame
        timestamptz as UTC, numeric as float64, integers as int64 (Int64 where something is NULL), boolean as
        bool (boolean where something is NULL), interval as timedelta, text as str; json and arrays as objects.
    """
    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    return pd.DataFrame(
        {name: _series(oid, column) for (name, oid), column in zip(columns, values, strict=True)},
        index=pd.RangeIndex(len(rows)),
    )


def _series(oid: int, values: Sequence[Any]) -> pd.Series[Any]:
    nulls = any(value is None for value in values)
    if oid in _FLOATS:
        return pd.Series(values, dtype="float64")
    if oid in _INTEGERS:
        return pd.Series(values, dtype="Int64" if nulls else "int64")
    if oid == _BOOLEAN:
        return pd.Series(values, dtype="boolean" if nulls else "bool")
    if oid in _TEXTS:
        return pd.Series(values, dtype="str")
    if oid == _TIMESTAMPTZ:
        return pd.Series(pd.to_datetime(list(values), utc=True)).astype("datetime64[us, UTC]")
    if oid in (_TIMESTAMP, _DATE):
        return pd.Series(pd.to_datetime(list(values))).astype("datetime64[us]")
    if oid == _INTERVAL:
        return pd.Series(pd.to_timedelta(list(values))).astype("timedelta64[us]")
    return pd.Series(list(values), dtype="object")
