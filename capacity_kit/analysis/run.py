"""Read chunks of series from the database, have them worked on, record what was found, and say how far it is.

A first pass finds what series say of each other: companies of a resource type and of a tenant, and by how much the
forecasts of tenants and of the system have to move to add up. It looks at all resources and records nothing, so what
follows is the same however the work is divided, and however often it is interrupted.

Each chunk is recorded in a transaction of its own. Interrupted at any moment, a run loses the chunks in work and
nothing else; run again for the same time, it leaves alone what is recorded for that time already.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

import pandas as pd

from capacity_kit.analysis import work
from capacity_kit.analysis.chunks import Chunk, Floats, Resource, measurements
from capacity_kit.analysis.company import Companies, heard
from capacity_kit.analysis.grids import SHORTEST, histories, is_fluctuating, last_day, stale_days
from capacity_kit.analysis.local import Map, Task, in_process
from capacity_kit.analysis.totals import SUMMABLE, Sums, Whole
from capacity_kit.analysis.work import Known, Record
from capacity_kit.errors import USAGE, CapacityError
from capacity_kit.growth import Calendar, Prior
from capacity_kit.growth.engine import HEARD
from capacity_kit.vault import ALL, SYSTEM, Vault, forecasts
from capacity_kit.vault.forecasts import Recorded

SIZE: Final = 512
"""Resources in a chunk: enough that many are equally long, which the engine works on together."""

DAYS: Final = 730
"""How far back a forecast looks: two years show a yearly cycle, and what is older misleads as often as it helps."""

PAGE: Final = 64
"""Resources that are read at once where only their series of days are kept."""

TENANTS_HEARD: Final = 64
"""Tenants, those with the most resources, whose resources hear each other; of the others, only those of a type do."""

TENANT_HEARD: Final = 32
"""Resources of a tenant that are heard."""


@dataclass(frozen=True)
class Analysed:
    """A chunk that is done, and how far the whole is.

    Attributes
    ----------
    as_of : datetime
        The time that was looked from.
    records : list of dict
        One a resource; see :func:`capacity_kit.analysis.work.analyse`.
    recorded : Recorded
        What became of them; all zero in a dry run.
    done, total : int
        Resources so far, and in all, as they were counted at the beginning.
    seconds_left : float
        By the pace so far.
    """

    as_of: datetime
    records: list[Record]
    recorded: Recorded
    done: int
    total: int
    seconds_left: float


def analyse(
    store: Vault,
    tenant: str = ALL,
    resource_type: str = ALL,
    days: int = DAYS,
    as_of: datetime | str | None = None,
    *,
    size: int = SIZE,
    over: Map = in_process,
    dry_run: bool = False,
    tell: Callable[[float, str, float], None] | None = None,
) -> Iterator[Analysed]:
    """Forecast resources with the growth engine, and record the forecasts under method ENGINE.

    Nothing happens until it is iterated over; stopping is possible after every chunk.

    Parameters
    ----------
    store : Vault
        An open vault. A dry run needs no more than the right to read.
    tenant : str
        ALL, SYSTEM or one tenant.
    resource_type : str
        ALL, or a type such as STORAGE.
    days : int
        How many days back a forecast looks; at least 14.
    as_of : datetime or str, optional
        Look at the measurements as they stood then (default: ``CAPACITY_AS_OF``, else now).
    size : int
        Resources in a chunk.
    over : Map
        Where the work is done: :func:`capacity_kit.analysis.local.workers` and its like.
    dry_run : bool
        Record nothing, and look at everything, recorded or not.
    tell : callable, optional
        Hears of the first pass, which yields nothing: how many resources it has seen, what it does, of how many.

    Yields
    ------
    Analysed
        Chunk by chunk, in the order of the resources' keys.

    Raises
    ------
    CapacityError
        When the tenant is unknown, or `days` or `size` is too small.
    """
    if days < SHORTEST:
        raise CapacityError(
            f"A forecast needs {SHORTEST} days or more, not {days}", "Give it a longer --days.", USAGE
        )
    if size < 1:
        raise CapacityError(f"A chunk must hold at least one resource, not {size}")
    scope = _scope(store, tenant, resource_type, dry_run)
    moment, total = _counted(store, scope, as_of)
    if not total:
        return
    scope |= {"as_of": moment, "days": days, "size": size}
    holidays = tuple(int(day) for day in store.read("engine_holidays")["day"])
    tell = tell or _untold
    tell(0, "hearing what series say of each other", total)
    known = Known(_companies(store, scope, over, holidays), holidays=holidays)
    if tenant == ALL:
        known = replace(
            known,
            wholes=_wholes(store, known, scope, over, tell),
            why="the system's is not measured in this unit",
        )
    started, done = time.monotonic(), 0
    for found in over(partial(work.analyse, chunk, known) for chunk in _chunks(store, scope)):
        records = _explained(store, found, moment)
        recorded = Recorded() if dry_run else forecasts.record(store, records, moment)
        done += len(records)
        left = (time.monotonic() - started) / done * max(total - done, 0)
        yield Analysed(moment, records, recorded, done, total, left)


def measured(
    store: Vault, tenant: str = ALL, resource_type: str = ALL, as_of: datetime | str | None = None
) -> tuple[datetime, int]:
    """The time that is looked from, and how many resources were measured by then, recorded already or not.

    Parameters
    ----------
    store, tenant, resource_type, as_of
        As of :func:`analyse`.
    """
    return _counted(store, _scope(store, tenant, resource_type, True), as_of)


def _scope(store: Vault, tenant: str, resource_type: str, again: bool) -> dict[str, Any]:
    return {
        "tenant": store.tenant(tenant),
        "system_only": tenant == SYSTEM,
        "resource_type": None if resource_type == ALL else resource_type,
        "again": again,
    }


def _counted(store: Vault, scope: dict[str, Any], as_of: datetime | str | None) -> tuple[datetime, int]:
    """The time that is looked from, and how many resources of the scope there are to be looked at."""
    counted = store.read("engine_count", as_of=store.as_of(as_of), **scope)
    return counted["as_of"].iloc[0].to_pydatetime(), int(counted["resources"].iloc[0])


def _untold(_done: float, _doing: str, _of: float) -> None:
    """Nobody listens."""


def runway(record: Record, share: str, level: str = "capacity") -> int | None:
    """Days until a record's resource reaches a level: ``p10``, ``p50`` or ``p90``; None where it is not expected to."""
    days: int | None = record.get("model_parameters", {}).get("runway", {}).get(level, {}).get(share)
    return days


def urgency(record: Record) -> tuple[float, ...]:
    """What sorts the most urgent record first: what is full first, then what is nearest to a level."""
    days = [runway(record, share) for share in ("p50", "p10")] + [runway(record, "p50", "warning")]
    share = record["current_usage"] / (record["current_capacity"] or float("inf"))
    return (*(float("inf") if d is None else float(d) for d in days), -share)


def _companies(store: Vault, scope: dict[str, Any], over: Map, holidays: tuple[int, ...]) -> Companies:
    """What there is to be heard, of every type that is looked at and of the tenants that have many resources."""
    members = store.read(
        "engine_companies",
        as_of=scope["as_of"],
        members=HEARD,
        tenants=TENANTS_HEARD,
        tenant_members=TENANT_HEARD,
    )
    if scope["resource_type"] is not None:
        members = members[~members["is_type"] | (members["name"] == scope["resource_type"])]
    groups: dict[tuple[bool, str], list[str]] = {}
    rows: Iterator[Any] = members.itertuples(index=False)
    for member in rows:
        groups.setdefault((bool(member.is_type), member.name), []).append(member.resource_utilization_hk)
    learnt = over(_heard(store, keys, scope["as_of"], scope["days"], holidays) for keys in groups.values())
    found: dict[bool, dict[str, Prior]] = {True: {}, False: {}}
    for (is_type, name), prior in zip(groups, learnt, strict=True):
        found[is_type][name] = prior
    return Companies(found[True], found[False])


def _heard(store: Vault, keys: list[str], as_of: datetime, days: int, holidays: tuple[int, ...]) -> Task:
    """The task of hearing some resources; they are read few at a time, since all of their measurements are many."""
    series: list[Floats] = []
    last: list[int] = []
    fluctuating = True
    for start in range(0, len(keys), PAGE):
        some = ",".join(keys[start : start + PAGE])
        chunk = _chunk(store.read("engine_heard", keys=some, as_of=as_of, days=days), as_of)
        for resource, times, history in zip(chunk.resources, chunk.times, histories(chunk), strict=True):
            if history.size:
                series.append(history)
                last.append(last_day(resource, times) + stale_days(resource))
                fluctuating = fluctuating and is_fluctuating(resource)
    return partial(heard, series, work.HORIZON, Calendar(last, holidays) if fluctuating else None)


def _wholes(
    store: Vault,
    known: Known,
    scope: dict[str, Any],
    over: Map,
    tell: Callable[[float, str, float], None] = _untold,
) -> dict[tuple[str, str], Whole | str]:
    """By how much the forecasts of the system and its tenants have to move to add up, by resource type and unit."""
    everything = scope | {"again": True}
    systems: dict[tuple[str, str], list[Chunk]] = {}
    for chunk in _chunks(store, everything | {"system_only": True}):
        for i, resource in enumerate(chunk.resources):
            if resource.resource_type in SUMMABLE:
                systems.setdefault((resource.resource_type, resource.unit), []).append(chunk.of([i]))
    found: dict[tuple[str, str], Whole | str] = {}
    for (kind, unit), candidates in systems.items():
        days = work.past(candidates[0]).size
        if len(candidates) > 1:
            found[kind, unit] = f"the system has {len(candidates)} resources of this type"
            continue
        counted = store.read("engine_count", **_asked(everything | {"resource_type": kind}))
        tell(0, f"adding up {kind}", float(counted["resources"].iloc[0]))
        before, sizes, done = work.before(candidates[0]), deque[int](), 0
        total: Sums | None = None
        for parts in over(
            _summing(store, everything | {"resource_type": kind}, sizes, known, unit, days, before)
        ):
            total = parts if total is None else total if parts is None else total + parts
            done += sizes.popleft()
            tell(done, f"adding up {kind}", float(counted["resources"].iloc[0]))
        found[kind, unit] = (
            "no tenant's is measured in this unit"
            if total is None
            else work.whole(candidates[0], known, total)
        )
    return found


def _summing(
    store: Vault,
    scope: dict[str, Any],
    sizes: deque[int],
    known: Known,
    unit: str,
    days: int,
    before: dict[int, int],
) -> Iterator[Task]:
    """The tasks of adding up the tenants' forecasts; how many resources each has goes to `sizes`."""
    for chunk in _chunks(store, scope):
        sizes.append(len(chunk))
        yield partial(work.summed, chunk, known, unit, days, before)


def _explained(store: Vault, records: list[Record], moment: datetime) -> list[Record]:
    """The records, their level shifts explained by what the database knew of those days by ``moment``."""
    asked = [(r["resource_utilization_hk"][2:], at) for r in records for at in work.shifted(r)]
    if not asked:
        return records
    rows = store.read(
        "engine_evidence",
        keys=",".join(key for key, _ in asked),
        times=",".join(at for _, at in asked),
        as_of=moment,
    )
    evidence: dict[str, dict[str, list[dict[str, str]]]] = {key: {} for key, _ in asked}
    for row in rows.itertuples(index=False):
        found: Any = row
        evidence[found.resource_utilization_hk].setdefault(found.asked_at, []).append(
            {"kind": found.kind, "at": found.at.isoformat(), "says": found.says}
        )
    return [
        work.explained(r, evidence[key]) if (key := r["resource_utilization_hk"][2:]) in evidence else r
        for r in records
    ]


def _asked(scope: dict[str, Any]) -> dict[str, Any]:
    """What ``engine_count`` asks of a scope."""
    return {name: scope[name] for name in ("tenant", "system_only", "resource_type", "again", "as_of")}


def _chunks(store: Vault, scope: dict[str, Any]) -> Iterator[Chunk]:
    """The scope's resources, so many at a time, each time those after the last."""
    after = ""
    while not (page := store.read("engine_series", after=after, **scope)).empty:
        after = page["resource_utilization_hk"].iloc[-1]
        yield _chunk(page, scope["as_of"])


def _changes(text: str) -> tuple[tuple[float, float], ...]:
    """Times and capacities, as capacity_ops.engine_capacity_changes writes them."""
    pairs = (part.split() for part in text.split(","))
    return tuple((float(at), float(capacity)) for at, capacity in pairs)


def _chunk(page: pd.DataFrame, as_of: datetime) -> Chunk:
    rows: Iterator[Any] = page.itertuples(index=False)
    resources = tuple(
        Resource(
            row.resource_utilization_hk,
            None if pd.isna(row.tenant_hk) else row.tenant_hk,
            row.resource_type,
            row.resource_name,
            row.resource_category,
            row.unit,
            row.current_usage,
            row.capacity,
            row.warning,
            row.critical,
            row.measured_at.to_pydatetime(),
            row.origin_at.to_pydatetime(),
            () if pd.isna(row.changes) else _changes(row.changes),
        )
        for row in rows
    )
    packed = [None if pd.isna(text) else text for text in page["measurements"]]
    times, values = zip(*(measurements(text) for text in packed), strict=True)
    return Chunk(as_of, resources, times, values)
