"""Forecasts of the growth engine on their way into the satellites, a chunk of resources in each transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import psycopg

from capacity_kit.vault import queries

if TYPE_CHECKING:
    from capacity_kit.vault.vault import Vault


@dataclass(frozen=True)
class Recorded:
    """What became of some forecasts.

    Attributes
    ----------
    recorded
        New versions.
    unchanged
        Said what the current version says.
    later
        Not recorded: a later forecast is there already.
    skipped
        Not recorded: another session was recording at that moment.
    """

    recorded: int = 0
    unchanged: int = 0
    later: int = 0
    skipped: int = 0


def record(vault: Vault, documents: Sequence[Mapping[str, Any]], as_of: datetime) -> Recorded:
    """Record what the engine found: all of it or, should anything go wrong, none.

    Parameters
    ----------
    vault
        An open vault.
    documents
        One a resource, as :func:`capacity_kit.analysis.work.analyse` makes them.
    as_of
        The time that was looked from.
    """
    with vault.transaction() as opened:
        vault.execute("engine_create_incoming")
        driver = cast("psycopg.Connection[Any]", opened.connection.driver_connection)
        statement = queries.find("engine_copy", vault.server.major).text
        with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for document in documents:
                copy.write_row((json.dumps(document, allow_nan=False),))
        found = vault.read("engine_record", as_of=as_of).iloc[0]
    return Recorded(*(int(found[name]) for name in ("recorded", "unchanged", "later", "skipped")))
