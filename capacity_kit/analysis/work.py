"""What a worker does with a chunk: regular series, forecast, runway, backtest, explanation; a record a resource.

A pure function of the chunk and of what a first pass found, so that it makes no difference where it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from capacity_kit import growth, units
from capacity_kit.analysis import totals
from capacity_kit.analysis.chunks import Chunk, Resource
from capacity_kit.analysis.company import Companies
from capacity_kit.analysis.grids import (
    DAY,
    SHORTEST,
    UNMEASURED,
    WEEK,
    daily,
    histories,
    hourly,
    in_step,
    is_fluctuating,
    last_day,
    origins,
    place,
    stale_days,
)
from capacity_kit.growth import Calendar, Forecast, Prior
from capacity_kit.growth.backtest import Backtest, backtest
from capacity_kit.growth.explain import ANNOUNCES, explain
from capacity_kit.growth.models import LEVELS, MEDIAN
from capacity_kit.growth.regimes import Regime, dated

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Record = dict[str, Any]
T = TypeVar("T")

HORIZONS: Final = (7, 30, 90, 365)
HORIZON: Final = 365  # days ahead
HOURS_AHEAD: Final = 24 * WEEK
CYCLES_OF_HOURS: Final = (24, 24 * WEEK)

SLICE: Final = 128  # series whose sample paths are in memory at once

TESTED: Final = 90  # days ahead that are backtested
FEWEST_ORIGINS: Final = 3  # below, an error is an anecdote and stays unsaid

REAL: Final = 0.01  # of its level in a year that a trend must be worth
OUTPACED: Final = 2.0  # times the forecast's growth that the newest regime's must be to be told beside it
SLOW: Final = 0.001  # of its level a day below which growth is slow
SWING: Final = 0.02  # of its level that a cycle must move it by
NOISE: Final = 0.2  # of its level by which half of its days may miss a quiet series
DIGITS: Final = 12  # significant ones that are recorded: the last few of a double depend on who adds up first


@dataclass(frozen=True)
class Known:
    """What a first pass over the series found, for every chunk of the second.

    Attributes
    ----------
    companies : Companies
        What series hear of others.
    wholes : mapping
        By resource type and unit: what the forecasts of the system and its tenants have to add up to, or why they
        do not.
    why : str
        Why forecasts of any other type and unit do not.
    holidays : tuple of int
        Days since 1970-01-01 on which people are not at work.
    """

    companies: Companies = field(default_factory=Companies)
    wholes: Mapping[tuple[str, str], totals.Whole | str] = field(default_factory=dict)
    why: str = "only some of the resources were looked at"
    holidays: tuple[int, ...] = ()


NOTHING: Final = Known()


def analyse(chunk: Chunk, known: Known = NOTHING) -> list[Record]:
    """Analyse some resources.

    Parameters
    ----------
    chunk : Chunk
    known : Known
        From a first pass over all of them.

    Returns
    -------
    list of dict
        One a resource in the chunk's order, its keys named after the columns of growth_pattern_s and
        capacity_forecast_s that they fill; plain numbers, strings, lists and dicts only.
    """
    days = histories(chunk)
    said = _reconciled(chunk, days, known)
    highs = _highs(chunk, known)
    capacity = np.array([r.capacity for r in chunk.resources])
    share = {
        "warning": np.array([r.warning for r in chunk.resources]) / 100,
        "critical": np.array([r.critical for r in chunk.resources]) / 100,
        "capacity": np.ones(len(chunk)),
    }
    levels = {name: capacity * part for name, part in share.items()}  # as of the newest measurements
    tested = _tested(chunk, known, levels["critical"])
    regimes = dated(days, WEEK)
    reached = {name: highs.reached(said, level) for name, level in levels.items()}
    for i, resource in enumerate(chunk.resources):
        if resource.changes and np.isfinite(said.quantiles[i, 0, MEDIAN]):
            ahead = resource.origin.timestamp() + DAY * np.arange(1, HORIZON + 1)
            held = resource.capacity_at(np.array([chunk.as_of.timestamp(), *ahead]))
            paths = _paths(chunk.of([i]), known)
            for name in levels:
                level = held * share[name][i]
                levels[name][i] = level[0]
                there = np.maximum.accumulate(paths >= level[1:, None], axis=0)
                reached[name][i] = np.where(np.isnan(level[1:]), np.nan, there.mean(axis=1))
    return [
        _record(
            _Found(
                chunk.resources[i],
                chunk.times[i],
                chunk.values[i],
                days[i],
                (chunk.as_of - chunk.resources[i].origin).total_seconds() / DAY,
                said.of([i]),
                tested.scores.of(i),
                tested.full[i],
                i in tested.moved,
                regimes[i],
                highs.by_day.of([highs.rows[i]]) if i in highs.rows else None,
                highs.by_hour.of([highs.hours[i]]) if i in highs.hours else None,
                {name: (float(levels[name][i]), reached[name][i]) for name in levels},
            ),
            known,
        )
        for i in range(len(chunk))
    ]


def summed(
    chunk: Chunk, known: Known, unit: str, days: int, before: Mapping[int, int] = MappingProxyType({})
) -> totals.Sums | None:
    """What the forecasts of a chunk's tenants add up to, of the resources that are measured in a unit.

    Parameters
    ----------
    chunk : Chunk
        Of one resource type.
    known : Known
        Whom they hear.
    unit : str
    days : int
        Of the past that the sum is wanted of.
    before : mapping of int to int
        Origins of the system's backtest, as days since 1970-01-01, and of how long a past the sum is wanted there.
    """
    rows = [i for i, r in enumerate(chunk.resources) if r.tenant is not None and r.unit == unit]
    total: totals.Sums | None = None
    for some in _slices(rows):
        own = chunk.of(some)
        found = histories(own)
        said = _forecast(found, _grouped(own, known), keep_paths=True)

        def past(i: int, own: Chunk = own, found: list[Floats] = found) -> Floats:
            return totals.newest(totals.held(found[i]), days)

        part = totals.summed(said, past)
        if part is not None:
            part = replace(part, before=_summed_before(own, known, before))
            total = part if total is None else total + part
    return total


def _summed_before(chunk: Chunk, known: Known, before: Mapping[int, int]) -> dict[int, totals.Sums]:
    """The same as it was said at each of some dates, by those of the parts that had a past by then."""
    full = [daily(*of) for of in zip(chunk.resources, chunk.times, chunk.values, strict=True)]
    found = {}
    for date, days in before.items():
        cuts = _cuts(chunk, full, [[date]] * len(chunk))
        said = _forecast(_slices_of(full, cuts), _grouped_of(chunk, known, full, cuts), True, TESTED)

        def past(i: int, cuts: list[_Cut] = cuts, days: int = days) -> Floats:
            cut = cuts[i]
            return totals.newest(totals.held(full[cut.row])[: cut.index + 1], days)

        part = totals.summed(said, past)
        if part is not None:
            found[date] = part
    return found


def whole(chunk: Chunk, known: Known, parts: totals.Sums) -> totals.Whole | str:
    """How far the forecasts of a resource of the system and of its parts have to move to add up; or why they cannot.

    Parameters
    ----------
    chunk : Chunk
        The one resource.
    known : Known
        Whom it hears.
    parts : Sums
        Of the tenants', over as many days as :func:`past` has, and at the origins of :func:`before`.
    """
    (resource,), (history,) = chunk.resources, histories(chunk)
    if not history.size:
        return "the system's series is too short for a forecast, or no longer measured"
    name = f"{resource.resource_type} {resource.resource_name}"
    groups = _grouped(chunk.of([0, 0]), known)
    rest = _rest(past(chunk), parts)
    if rest[-1] < 0:
        return "the tenants' together are more than the system's"
    rest[rest.size - stale_days(resource) :] = np.nan
    both = _forecast([history, rest], groups, keep_paths=True)
    if not np.isfinite(both.quantiles[:, 0, MEDIAN]).all():
        return "what is left to the system beside its tenants' is too short for a forecast"
    return replace(totals.agree(name, parts, both), tested=_whole_before(chunk, known, name, parts))


def _whole_before(
    chunk: Chunk, known: Known, name: str, parts: totals.Sums
) -> dict[int, totals.Whole | None]:
    """How far they would have had to move at each origin of the whole's backtest."""
    (resource,) = chunk.resources
    full = [daily(resource, chunk.times[0], chunk.values[0])] * 2
    found: dict[int, totals.Whole | None] = {}
    for date, days in before(chunk).items():
        found[date] = None
        cuts = _cuts(chunk.of([0, 0]), full, [[date]] * 2)
        if date not in parts.before:
            continue
        rest = _rest(totals.newest(totals.held(full[0])[: cuts[0].index + 1], days), parts.before[date])
        if rest[-1] < 0:
            continue
        series = [*_slices_of(full, cuts[:1]), rest]
        both = _forecast(series, _grouped_of(chunk.of([0, 0]), known, full, cuts), True, TESTED)
        if np.isfinite(both.quantiles[:, 0, MEDIAN]).all():
            found[date] = totals.agree(name, parts.before[date], both)
    return found


def _rest(past: Floats, parts: totals.Sums) -> Floats:
    """What is nobody's; rounding is no rest."""
    rest = past - parts.past
    rest[np.abs(rest) < 1e-9 * parts.past] = 0.0
    return rest


def before(chunk: Chunk) -> dict[int, int]:
    """From which dates a chunk's one resource is backtested, and how many days of its past each of them looks at."""
    (resource,), (times,) = chunk.resources, chunk.times
    days = daily(resource, times, chunk.values[0]).size
    at = {date: place(resource, days, date) for date in origins(resource, times)}
    return {date: in_step(index + 1) for date, index in at.items() if index >= SHORTEST - 1}


def past(chunk: Chunk) -> Floats:
    """The past of a chunk's one resource, the last day ending at its origin."""
    (history,) = histories(chunk)
    return totals.held(history) if history.size else np.empty(0)


@dataclass(frozen=True)
class _Group:
    """Some of a chunk's resources that are forecast together.

    Attributes
    ----------
    rows : list of int
    priors : list of Prior
        What each of them hears.
    calendar : Calendar or None
        Of what fluctuates: people's days make it, and what is stored only sums them up.
    """

    rows: list[int]
    priors: list[Prior]
    calendar: Calendar | None


def _grouped(chunk: Chunk, known: Known, ago: Sequence[int] | None = None) -> list[_Group]:
    """The chunk's resources by what they are; their series may end so many days ago, by default at the origin."""
    priors = known.companies.of(chunk.resources)
    ago = [-stale_days(resource) for resource in chunk.resources] if ago is None else ago
    rows: dict[bool, list[int]] = {}
    for i, resource in enumerate(chunk.resources):
        rows.setdefault(is_fluctuating(resource), []).append(i)
    return [
        _Group(
            own,
            [priors[i] for i in own],
            Calendar([last_day(chunk.resources[i], chunk.times[i]) - ago[i] for i in own], known.holidays)
            if fluctuates
            else None,
        )
        for fluctuates, own in rows.items()
    ]


def _forecast(
    series: Sequence[Floats], groups: Sequence[_Group], keep_paths: bool = False, horizon: int = HORIZON
) -> Forecast:
    """Forecast series of days, group by group; the first steps are those of a whole year's forecast."""
    parts = [
        growth.forecast([series[i] for i in g.rows], horizon, WEEK, g.priors, keep_paths, g.calendar, HORIZON)
        for g in groups
    ]
    return _joined(parts, [g.rows for g in groups], horizon)


def _joined(parts: Sequence[Forecast], rows: Sequence[Sequence[int]], horizon: int = HORIZON) -> Forecast:
    """Forecasts of some rows each as one forecast of all rows, in their order."""
    if len(parts) < 2:
        return parts[0] if parts else growth.forecast([], horizon, WEEK, keep_paths=True)
    models = max(
        (part.models for part in parts), key=len
    )  # with a calendar there are further ones behind the others
    parts = [replace(p, weights=np.pad(p.weights, ((0, 0), (0, len(models) - len(p.models))))) for p in parts]
    order = np.argsort(np.concatenate(rows))
    joined: dict[str, Any] = {
        f.name: np.concatenate([getattr(part, f.name) for part in parts])[order]
        for f in fields(Forecast)
        if f.name not in {"marks", "models"} and getattr(parts[0], f.name) is not None
    }
    return replace(parts[0], models=models, **joined)


def _slices(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Rows, so many at a time that their sample paths are no burden."""
    return (rows[start : start + SLICE] for start in range(0, len(rows), SLICE))


def _reconciled(chunk: Chunk, days: list[Floats], known: Known) -> Forecast:
    """The chunk's forecasts, those that are parts of a sum or the sum itself moved to where they add up."""
    members: dict[tuple[str, str, bool], list[int]] = {}
    alone: list[int] = []
    for i, resource in enumerate(chunk.resources):
        key = resource.resource_type, resource.unit
        if isinstance(known.wholes.get(key), totals.Whole) and days[i].size:
            members.setdefault((*key, resource.tenant is None), []).append(i)
        else:
            alone.append(i)

    def said(rows: Sequence[int], keep_paths: bool = False) -> Forecast:
        return _forecast([days[i] for i in rows], _grouped(chunk.of(rows), known), keep_paths)

    parts, order = [said(alone)] if alone else [], [alone] if alone else []
    for (kind, unit, is_whole), rows in members.items():
        whole = known.wholes[kind, unit]
        assert isinstance(whole, totals.Whole)
        for some in _slices(rows):
            parts.append(replace(whole.moved(said(some, True), is_whole), paths=None))
            order.append(list(some))
    return _joined(parts, order)


def _paths(chunk: Chunk, known: Known) -> Floats:
    """Futures of a chunk's one resource that meet its limits, shape (horizon, paths)."""
    (resource,) = chunk.resources
    if is_fluctuating(resource):
        said = _forecast(histories(chunk, "max"), _grouped(chunk, known), keep_paths=True)
    else:
        said = _forecast(histories(chunk), _grouped(chunk, known), keep_paths=True)
        whole = known.wholes.get((resource.resource_type, resource.unit))
        if isinstance(whole, totals.Whole):
            said = whole.moved(said, resource.tenant is None)
    assert said.paths is not None
    return np.asarray(said.paths[0])


@dataclass(frozen=True)
class _Highs:
    """Forecasts of the maxima of what fluctuates: they, and not its means, meet a limit.

    Attributes
    ----------
    rows, hours : dict of int to int
        Which resources of the chunk have one by day, and which of those one by hour: their place in the forecasts.
    by_day, by_hour : Forecast
    """

    rows: dict[int, int]
    by_day: Forecast
    hours: dict[int, int]
    by_hour: Forecast

    def reached(self, said: Forecast, levels: Floats) -> Floats:
        """Probability that each resource has reached its level by each day, shape (resources, horizon)."""
        out = said.reached(levels)
        at = list(self.rows)
        if at:
            out[at] = self.by_day.reached(levels[at])
        at = list(self.hours)
        if at:
            # Neither is always the better one: hours know the time of day, days the growth from week to week.
            out[at, :WEEK] = (out[at, :WEEK] + self.by_hour.reached(levels[at])[:, 23::24]) / 2
            out[at] = np.maximum.accumulate(out[at], axis=1)
        return out


def _highs(chunk: Chunk, known: Known) -> _Highs:
    able = [i for i, r in enumerate(chunk.resources) if is_fluctuating(r)]
    own = chunk.of(able)
    by_day = _forecast(histories(own, "max"), _grouped(own, known))
    has_one = np.flatnonzero(np.isfinite(by_day.quantiles[:, 0, MEDIAN])).tolist()
    hours = {able[n]: hourly(own.resources[n], own.times[n], own.values[n]) for n in has_one}
    hours = {i: found for i, found in hours.items() if found.size}
    by_hour = growth.forecast([*hours.values()], HOURS_AHEAD, CYCLES_OF_HOURS)
    rows = {able[n]: row for row, n in enumerate(has_one)}
    return _Highs(rows, by_day.of(has_one), {i: row for row, i in enumerate(hours)}, by_hour)


@dataclass(frozen=True)
class _Cut:
    """A resource of a chunk as it was known at an origin of its backtest.

    Attributes
    ----------
    row : int
        Which resource.
    date : int
        Of the origin, days since 1970-01-01.
    index : int
        Of its last value, in its series of days.
    """

    row: int
    date: int
    index: int


def _cuts(chunk: Chunk, full: Sequence[Floats], dates: Sequence[Sequence[int]]) -> list[_Cut]:
    """Each resource at its dates, where it had a past by then."""
    return [
        _Cut(i, date, index)
        for i, resource in enumerate(chunk.resources)
        for date in dates[i]
        if (index := place(resource, full[i].size, date)) >= SHORTEST - 1
    ]


def _slices_of(full: Sequence[Floats], cuts: Sequence[_Cut], ahead: int = 0) -> list[Floats]:
    """What was known at each of them, as long as a forecast would have used it, and some of what came."""
    return [full[c.row][c.index + 1 - in_step(c.index + 1) : c.index + 1 + ahead] for c in cuts]


def _grouped_of(chunk: Chunk, known: Known, full: Sequence[Floats], cuts: Sequence[_Cut]) -> list[_Group]:
    rows = chunk.of([c.row for c in cuts])
    return _grouped(rows, known, [full[c.row].size - 1 - c.index for c in cuts])


@dataclass(frozen=True)
class _Tests:
    """What the backtest of a chunk found.

    Attributes
    ----------
    scores : Backtest
        Its series are the chunk's resources, and its origins places in their series of days.
    full : list of ndarray
        Those.
    moved : set of int
        Resources whose forecasts were made to add up at their origins too.
    """

    scores: Backtest
    full: list[Floats]
    moved: set[int]


def _tested(chunk: Chunk, known: Known, levels: Floats) -> _Tests:
    """Every series from each of its origins, as it would have been recorded, and whether a level came as was said.

    A forecast that adds up with others is backtested so, where the origins of what it adds up to are its own; a tenant
    with a shorter record than the system has others, and is backtested alone.
    """
    measured = list(zip(chunk.resources, chunk.times, chunk.values, strict=True))
    full = [daily(*one) for one in measured]
    dates = [origins(resource, times) for resource, times, _ in measured]
    moved: dict[int, tuple[totals.Whole, bool]] = {}
    for i, resource in enumerate(chunk.resources):
        whole = known.wholes.get((resource.resource_type, resource.unit))
        if isinstance(whole, totals.Whole) and dates[i] and whole.tested.keys() >= set(dates[i]):
            moved[i] = whole, resource.tenant is None
    alike: dict[tuple[bool, tuple[str, str, bool] | None], list[_Cut]] = {}
    for cut in _cuts(chunk, full, dates):
        resource = chunk.resources[cut.row]
        sum_of = (resource.resource_type, resource.unit, resource.tenant is None)
        key = is_fluctuating(resource), sum_of if cut.row in moved else None
        alike.setdefault(key, []).append(cut)
    cuts: list[_Cut] = []
    found = [_backtest(chunk, known, full, [], levels)]
    for (_, sum_of_these), own in alike.items():
        # Those of one date together: many of them are equally long.
        for some in [own] if sum_of_these is None else _slices(sorted(own, key=lambda cut: cut.date)):
            to = None if sum_of_these is None else partial(_moved, some, *moved[some[0].row])
            found.append(_backtest(chunk, known, full, some, levels, to))
            cuts += some
    joined: dict[str, Any] = {
        f.name: np.concatenate([getattr(part, f.name) for part in found]) for f in fields(Backtest)
    }
    scores = Backtest(**joined)
    # Of what fluctuates the maxima meet a level, so they are what announces it.
    able = [
        n for n, c in enumerate(cuts) if is_fluctuating(chunk.resources[c.row]) and np.isfinite(levels[c.row])
    ]
    if able:
        highest = [daily(*one, "max") if is_fluctuating(one[0]) else one[1][:0] for one in measured]
        high = _backtest(chunk, known, highest, [cuts[n] for n in able], levels)
        assert scores.probability is not None
        assert scores.came is not None
        scores.probability[able], scores.came[able] = high.probability, high.came
    return _Tests(scores, full, set(moved))


def _backtest(
    chunk: Chunk,
    known: Known,
    full: Sequence[Floats],
    cuts: Sequence[_Cut],
    levels: Floats,
    moved: Callable[[Forecast], Forecast] | None = None,
) -> Backtest:
    """Score cuts that share a calendar, each as a record of its own: it is as long as a forecast would have used it."""
    (group,) = _grouped_of(chunk, known, full, cuts) or [_Group([], [], None)]
    scores = backtest(
        _slices_of(full, cuts, TESTED),
        TESTED,
        WEEK,
        [[in_step(c.index + 1) - 1] for c in cuts],
        group.priors,
        levels[[c.row for c in cuts]],
        None if group.calendar is None else _until(group.calendar, full, cuts),
        moved,
        HORIZON,
    )
    row, index = (np.array([getattr(c, name) for c in cuts], np.int64) for name in ("row", "index"))
    return replace(scores, series=row, origin=index)


def _until(calendar: Calendar, full: Sequence[Floats], cuts: Sequence[_Cut]) -> Calendar:
    """The calendar of the cuts with what came after them."""
    came = [min(TESTED, full[c.row].size - 1 - c.index) for c in cuts]
    return calendar.of(calendar.lasts(len(cuts)) + np.array(came, np.int64))


def _moved(cuts: Sequence[_Cut], whole: totals.Whole, is_whole: bool, said: Forecast) -> Forecast:
    """Forecasts of the cuts, moved by as much as each would have been at its origin."""
    by_date: dict[int, list[int]] = {}
    for n, cut in enumerate(cuts):
        by_date.setdefault(cut.date, []).append(n)
    parts = []
    for date, places in by_date.items():
        then = whole.tested[date]
        part = said.of(places)
        parts.append(part if then is None else then.moved(part, is_whole))
    return _joined(parts, list(by_date.values()), TESTED)


@dataclass(frozen=True)
class _Trend:
    """Where a forecast leads, the weekly cycle averaged out.

    Attributes
    ----------
    level : float
        Present level, in the unit of the series.
    ratio : float
        Change over the next day as a share of it; 0 where no trend is real, NaN where the level is 0.
    per_day : float
        The same in the unit.
    pattern, direction : str
    has_cycle : bool or None
        Whether a weekly cycle carries the forecast; None: too short to tell.
    swing : float
        Half of what the cycle moves it by, as a share of the level.
    """

    level: float
    ratio: float
    per_day: float
    pattern: str
    direction: str
    has_cycle: bool | None
    swing: float

    def over(self, days: int) -> float:
        """Change over some days as a share of the level."""
        return (1 + self.ratio) ** days - 1 if self.pattern == "EXPONENTIAL" else self.ratio * days


def _trend(days: int, said: Forecast) -> _Trend:
    """The fourth week ahead against the first: whole weeks, so that a weekly cycle cancels."""
    first = float(said.quantiles[0, :WEEK, MEDIAN].mean())
    later = said.quantiles[0, 3 * WEEK : 4 * WEEK].mean(axis=0)
    apart, ahead = 3 * WEEK, (WEEK + 1) / 2  # days between them, and from now to the middle of the first
    weights = dict(zip(said.models, said.weights[0], strict=True))
    compounds = weights["compound growth"] >= 0.5 and first > 0 and later[MEDIAN] > 0
    if compounds:
        growing = (later[MEDIAN] / first) ** (1 / apart) - 1
        level = first / (1 + growing) ** ahead
        per_day = level * growing
    else:
        per_day = (later[MEDIAN] - first) / apart
        level = max(0.0, first - per_day * ahead)
    clear = later[2] > level or later[4] < level
    if said.shifts[0]:
        # The band allows for more such shifts, on one side; the other side is that of the growth between them.
        clear = abs(later[MEDIAN] - level) > min(later[4] - later[MEDIAN], later[MEDIAN] - later[2])
    real = clear and abs(per_day) * 365 >= REAL * level
    if not real:
        per_day, level = 0.0, first
    ratio = per_day / level if level > 0 else float("nan")
    week = said.quantiles[0, :WEEK, MEDIAN]
    swing = float(np.ptp(week - per_day * np.arange(WEEK))) / 2 / level if level > 0 else 0.0
    cyclic = bool(sum(weights[name] for name in weights if "cycle" in name) >= 0.5 and 2 * swing >= SWING)
    spread = float(said.quantiles[0, WEEK - 1, 4] - said.quantiles[0, WEEK - 1, 2]) / 2
    if not real:
        direction = "STABLE"
        pattern = "SEASONAL" if cyclic else "IRREGULAR" if spread > NOISE * level else "STABLE"
    elif per_day < 0:
        direction = pattern = "DECREASING"
    else:
        direction = "INCREASING"
        pattern = "SLOW_GROWTH" if ratio < SLOW else "EXPONENTIAL" if compounds else "LINEAR"
    return _Trend(level, ratio, per_day, pattern, direction, cyclic if days >= 4 * WEEK else None, swing)


@dataclass(frozen=True)
class _Found:
    """All that is known of one resource.

    Attributes
    ----------
    resource : Resource
    times, values : ndarray, shape (measurements,)
    history : ndarray, shape (days,)
        As long as the forecast used it.
    elapsed : float
        Days from the origin until the time that is looked from.
    said : Forecast
        Of this one.
    tested : Backtest
    full : ndarray, shape (days,)
        What its origins are places in.
    moved : bool
        Whether what was tested was made to add up too.
    regimes : tuple of Regime
        Oldest first.
    high, hours : Forecast or None
        Of its maxima by day and by hour, where it fluctuates; of this one.
    levels : dict
        By name: the level in the resource's unit, and the probability that it has been reached by each day.
    """

    resource: Resource
    times: Floats
    values: Floats
    history: Floats
    elapsed: float
    said: Forecast
    tested: Backtest
    full: Floats
    moved: bool
    regimes: tuple[Regime, ...]
    high: Forecast | None
    hours: Forecast | None
    levels: dict[str, tuple[float, Floats]]


def _record(found: _Found, known: Known) -> Record:
    resource, times = found.resource, found.times
    record: Record = {
        "resource_utilization_hk": rf"\x{resource.key}",
        "tenant_hk": None if resource.tenant is None else rf"\x{resource.tenant}",
        "resource_type": resource.resource_type,
        "resource_name": resource.resource_name,
        "resource_category": resource.resource_category,
        "unit": resource.unit,
        "measured_at": resource.measured_at.isoformat(),
        "current_usage": _plain(resource.usage),
        "current_capacity": _plain(resource.capacity),
        "analysis_period_start": _at(times.min() if times.size else resource.origin.timestamp()),
        "analysis_period_end": resource.measured_at.isoformat(),
        "data_points_analyzed": times.size,
        "data_points_used": times.size,
        "pattern_type": "INSUFFICIENT_DATA",
        "trend_direction": "UNKNOWN",
        "model_parameters": {"peak_30d": _plain(_peak(resource, times, found.values))},
    }
    if not np.isfinite(found.said.quantiles[0, 0, MEDIAN]):
        late = stale_days(resource) > UNMEASURED
        told = f"No forecast: nothing was measured in {UNMEASURED} days, the last time on {_last(resource)}."
        return record | {"pattern_description": told if late else explain(found.said, 0)}
    outlook = _outlook(found, known)
    return record | outlook | {"model_parameters": record["model_parameters"] | outlook["model_parameters"]}


def _outlook(found: _Found, known: Known) -> Record:
    """What only a resource with a forecast has."""
    resource, said, history, own = found.resource, found.said, found.history, found.tested
    days = history.size - stale_days(resource)
    trend = _trend(days, said)
    errors = {days: _error(own, found.full, days) for days in (7, 30, 90)}
    accuracy = {days: None if e is None else _plain(max(0.0, 100 - e), 6) for days, e in errors.items()}
    usage = resource.usage if found.high is None else max(resource.usage, float(found.high.last[0]))
    runway = {
        name: _runway(usage, level, probability, found.elapsed)
        for name, (level, probability) in found.levels.items()
        if np.isfinite(level)
    }
    medians = {days: _plain(said.quantiles[0, days - 1, MEDIAN]) for days in HORIZONS}
    low, high = said.quantiles[0, 29, [1, 5]]
    weights = {
        name: round(float(weight), 4)
        for name, weight in zip(said.models, said.weights[0], strict=True)
        if weight >= 0.01
    }
    inside = own.inside[:, 29][np.isfinite(own.inside[:, 29])]
    tested = int(np.isfinite(own.error[:, 29]).sum())
    shift = _day(resource, history, int(said.regime_start[0])) if said.shifts[0] else None
    return {
        "projected_usage_7d": medians[7],
        "projected_usage_30d": medians[30],
        "projected_usage_90d": medians[90],
        "projected_usage_1y": medians[365],
        "growth_rate_percentage": _plain(100 * trend.ratio, 8),
        "growth_rate_daily": _plain(100 * trend.ratio, 8),
        "growth_rate_weekly": _plain(100 * trend.over(7), 8),
        "growth_rate_monthly": _plain(100 * trend.over(30), 8),
        **{f"time_to_{name}_days": found["p50"] for name, found in runway.items()},
        "trend_direction": trend.direction,
        "confidence_level": accuracy[30],
        "forecast_model": max(weights, key=lambda name: weights[name]),
        "forecast_horizon_days": HORIZON,
        "model_parameters": {
            "origin": resource.origin.isoformat(),
            "a_day_is": "its mean" if is_fluctuating(resource) else "its last value",
            "days": days,
            "levels": LEVELS.tolist(),
            "quantiles": _quantiles(said, HORIZONS),
            "runway": runway,
            **_maxima(found),
            **_company(found, known),
            "weights": weights,
            "level": _plain(trend.level),
            "per_day": _plain(trend.per_day),
            "shifts": int(said.shifts[0]),
            "shift_at": shift and shift.isoformat(),
            "regimes": [
                {
                    "from": _day(resource, history, r.start).isoformat(),
                    "kind": r.kind,
                    "change": _plain(r.size),
                }
                for r in found.regimes
            ],
            "announced": _announced(own),
            "capacity_changes": [
                {"from": _at(at), "capacity": _plain(held)} for at, held in resource.changes
            ],
            "left_out": int(said.left_out[0]),
            **{f"wape_{days}d": _plain(e, 6) for days, e in errors.items()},
            "origins": tested,
            "coverage_30d": _plain(float(inside.mean()), 4) if inside.size else None,
        },
        "pattern_type": trend.pattern,
        "seasonality_detected": trend.has_cycle,
        "seasonal_period_days": WEEK if trend.has_cycle else None,
        "seasonal_amplitude": _plain(100 * trend.swing, 6) if trend.has_cycle else None,
        "pattern_breaks_detected": int(said.shifts[0]),
        "last_pattern_break_date": shift and shift.date().isoformat(),
        "forecast_accuracy_7d": accuracy[7],
        "forecast_accuracy_30d": accuracy[30],
        "forecast_accuracy_90d": accuracy[90],
        "confidence_intervals": {
            "30d": {"share": 80, "origins": tested, "low": _plain(low), "high": _plain(high)}
        },
        "pattern_description": _sentence(found),
        "next_analysis_due_date": (resource.origin + timedelta(days=_due(runway))).date().isoformat(),
    }


def _quantiles(said: Forecast, steps: Sequence[int]) -> Record:
    return {str(step): [_plain(v) for v in said.quantiles[0, step - 1].tolist()] for step in steps}


def _announced(own: Backtest) -> Record:
    """On the record's own past: whether the critical level was announced where it came, and only there.

    An origin announces it by a probability of ANNOUNCES or more within TESTED days. Judged are the origins that lay
    below the level and of whose days enough is known.
    """
    said = own.announcements(ANNOUNCES)
    assert own.probability is not None
    assert own.came is not None
    judged = int((np.isfinite(own.probability) & np.isfinite(own.came)).sum())
    return {
        "days": TESTED,
        "probability": ANNOUNCES,
        "judged": judged,
        "reached": said.reached,
        "announced": said.announced,
        "false": said.false,
    }


def _maxima(found: _Found) -> Record:
    """Of what fluctuates: the forecasts that its runway is of."""
    if found.high is None:
        return {}
    said: Record = {
        "runway_of": _runway_of(found),
        "maximum": {"now": _plain(float(found.high.last[0])), "quantiles": _quantiles(found.high, HORIZONS)},
    }
    if found.hours is not None:
        said["maximum_of_an_hour"] = {
            "now": _plain(float(found.hours.last[0])),
            "hours": int(found.hours.points[0]),
            "quantiles": _quantiles(found.hours, (1, 24, HOURS_AHEAD)),
        }
    return said


def _runway_of(found: _Found) -> str:
    if found.hours is not None:
        return "the maximum of a day, and for 7 days also of an hour"
    return "the maximum of a day"


def _company(found: _Found, known: Known) -> Record:
    """Whom it heard, and what it adds up to."""
    resource = found.resource
    said: Record = {"company": known.companies.told(resource)}
    if resource.resource_type in totals.SUMMABLE:
        together = known.wholes.get((resource.resource_type, resource.unit), known.why)
        said["reconciled"] = totals.told(together, resource.tenant is None, HORIZONS, found.moved)
    return said


SHIFTS: Final = frozenset({"level", "reset"})
"""Kinds of regimes that begin with a step of the level; with the others it is the growth that changes."""

CAUSES: Final = {
    "CLEANUP": "the cleanup of",
    "ONBOARDING": "the onboarding of",
    "OFFBOARDING": "the offboarding of",
    "SERVER": "the change of server on",
    "SOURCE": "the change of source on",
    "RESTART": "the restart of",
    "VACUUM": "the VACUUM of",
}
"""What a shift is called by the evidence for it; with other evidence, or none, it has a date alone."""


def shifted(record: Record) -> dict[str, float | None]:
    """The level shifts of a record, oldest first: the end of the day of each, and what it shifted by."""
    parameters = record["model_parameters"]
    found = {r["from"]: r["change"] for r in parameters.get("regimes", []) if r["kind"] in SHIFTS}
    newest = parameters.get("shift_at")
    return dict(sorted(({newest: None} | found if newest else found).items()))


def explained(record: Record, evidence: Mapping[str, Sequence[Mapping[str, str]]]) -> Record:
    """A record whose level shifts are explained by what the database knows of those days, or said to be unexplained.

    Parameters
    ----------
    record : dict
        From :func:`analyse`, with a shift.
    evidence : mapping of str to sequence of mapping
        By the times that :func:`shifted` gives: ``kind``, ``at`` and ``says``, as capacity_ops.regime_evidence found
        them; the first names the shift. The sentence is on the newest shift, the record on all of them.
    """
    newest = record["model_parameters"]["shift_at"]
    found: Record = {
        "shifts": [
            {"at": at, "change": change, "evidence": [dict(one) for one in evidence.get(at, ())]}
            for at, change in shifted(record).items()
        ]
    }
    if newest is None:
        return record | {"external_events_impact": found}
    day, known = record["last_pattern_break_date"], evidence.get(newest, ())
    cause = CAUSES.get(known[0]["kind"]) if known else None
    why = known[0]["says"] if known else "nothing that the database knows of explains it"
    told = f"{cause} {day} ({why})" if cause else f"{day} ({why})"
    said, since = record["pattern_description"], f"since {day}"
    if since in said:
        said = said.replace(since, f"since {told}", 1)
    else:
        said = f"{said[:-1]}; its level shifted {'with' if cause else 'on'} {told}."
    found = {"shift_at": newest, "evidence": [dict(one) for one in known]} | found
    return record | {"pattern_description": said, "external_events_impact": found}


def _runway(usage: float, level: float, probability: Floats, elapsed: float) -> Record:
    """Whole days from the time that is looked from until a level is reached, rounded down; None: not within the year.

    Parameters
    ----------
    usage, level : float
        In one unit.
    probability : ndarray, shape (horizon,)
        That it has been reached by each day after the origin.
    elapsed : float
        Days from the origin until then.
    """
    if usage >= level:
        return {"level": _plain(level), "p10": 0, "p50": 0, "p90": 0, "by": {str(d): 1 for d in HORIZONS}}
    out: Record = {"level": _plain(level)}
    for name, share in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9)):
        there = np.flatnonzero(probability >= share)
        out[name] = int(max(0.0, np.floor(there[0] + 1 - elapsed))) if there.size else None
    return out | {"by": {str(days): _plain(probability[days - 1], 6) for days in HORIZONS}}


def _peak(resource: Resource, times: Floats, values: Floats) -> float:
    """The highest measurement of the last 30 days; NaN without any."""
    recent = values[times > resource.origin.timestamp() - 30 * DAY]
    return float(recent.max(initial=-np.inf, where=np.isfinite(recent)))


def _due(runway: dict[str, Record]) -> int:
    """Days until it should be looked at again: a tenth of those to its critical level, between 1 and 7."""
    days = runway.get("critical", {}).get("p50")
    return WEEK if days is None else max(1, min(WEEK, days // 10))


def _error(own: Backtest, full: Floats, days: int) -> float | None:
    """Mean absolute error so many days ahead in percent of what came; None from fewer than three origins."""
    off = np.abs(own.error[:, days - 1])
    known = np.isfinite(off)
    truth = full[own.origin[known] + days].sum()
    enough = int(known.sum()) >= FEWEST_ORIGINS and truth > 0
    return 100 * float(off[known].sum()) / float(truth) if enough else None


def _sentence(found: _Found) -> str:
    """The engine's sentence, on 30 days ahead."""
    resource, own = found.resource, found.tested
    month = replace(
        own,
        series=np.zeros(len(own.origin), np.int64),
        error=own.error[:, :30],
        pinball=own.pinball[:, :30],
        inside=own.inside[:, :30],
    )
    notes = [f"last measured on {_last(resource)}"] if stale_days(resource) else []
    for at, held in resource.changes:
        day = units.at(datetime.fromtimestamp(at, UTC), clock=False)
        notes.append(f"it holds {units.quantity(held, resource.unit)} from {day} on")
    if found.high is not None:
        now = units.quantity(float(found.high.last[0]), resource.unit)
        notes.append(f"the runway is of {_runway_of(found)}, now {now}")
    return explain(
        replace(found.said, quantiles=found.said.quantiles[:, :30]),
        0,
        show=lambda amount: units.quantity(amount, resource.unit),
        step="day",
        when=lambda index: units.at(_day(resource, found.history, index), clock=False),
        tested=month,
        regimes=found.regimes,
        note="; ".join(notes),
        level="critical level",
        doubt=_outpaced(found),
    )


def _outpaced(found: _Found) -> str:
    """Whether it has grown much faster since its growth changed than the forecast takes over, and then full when."""
    newest = max(found.regimes, key=lambda regime: regime.start, default=None)
    if newest is None or newest.kind != "slope":
        return ""
    since = found.history[newest.start :]
    known = np.flatnonzero(np.isfinite(since) & (since >= 0))
    if known.size < 2 * WEEK:
        return ""
    ends = known[:WEEK], known[-WEEK:]
    pace = float((np.median(since[ends[1]]) - np.median(since[ends[0]])) / np.median(ends[1] - ends[0]))
    ahead = found.said.quantiles[0, :, MEDIAN]
    if pace <= OUTPACED * max(0.0, float(ahead[4 * WEEK] - ahead[0]) / (4 * WEEK)):
        return ""
    resource = found.resource
    told = (
        f"its growth changed on {units.at(_day(resource, found.history, newest.start), clock=False)} and most of its "
        f"past says otherwise: since then it is +{units.quantity(pace, resource.unit)} a day"
    )
    left = resource.capacity - resource.usage
    if found.high is not None or resource.changes or not left > 0:
        return told
    days = left / pace - found.elapsed - stale_days(resource)
    return f"{told}, and going on so it is full in {max(0, int(days))} days"


def _last(resource: Resource) -> str:
    return units.at(resource.measured_at, clock=False)


def _day(resource: Resource, history: Floats, index: int) -> datetime:
    """The end of a day of the history."""
    return resource.origin - timedelta(days=history.size - 1 - index)


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).isoformat()


def _plain(value: float | None, digits: int = DIGITS) -> float | int | None:
    """A number to be recorded: so many significant digits, whole ones without a fraction, None for what is not one."""
    if value is None or not np.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded
