"""Named queries: ``sql/queries/<name>.sql``, with a version suffix where PostgreSQL's versions differ.

``wal.sql`` serves every version, ``wal.pg17.sql`` version 17 and later; the highest that the server is new
enough for is taken. Parameters are ``:name``.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from sqlalchemy import TextClause, text

from capacity_kit import resources
from capacity_kit.errors import CapacityError


@cache
def find(name: str, major: int) -> TextClause:
    """Return a query by its name, for a server's version; see `file`."""
    return text(file(name, major).read_text(encoding="utf-8"))


@cache
def file(name: str, major: int) -> Path:
    """Return the file of a query by its name, for a server's version.

    Parameters
    ----------
    name
        The file's name without its suffixes.
    major
        The server's major version, such as 15.

    Raises
    ------
    CapacityError
        When there is no such query for that version.
    """
    best, source = -1, None
    for one in (resources.path("sql") / "queries").glob(f"{name}.*"):
        suffix = re.fullmatch(rf"{re.escape(name)}(?:\.pg(\d+))?\.sql", one.name)
        version = int(suffix[1] or 0) if suffix else -1
        if best < version <= major:
            best, source = version, one
    if source is None:
        raise CapacityError(f"There is no query {name!r} for PostgreSQL {major}")
    return source
