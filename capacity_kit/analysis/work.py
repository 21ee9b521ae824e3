"""What a worker does with a chunk: regular series, forecast, runway, backtest, explanation; a record a resource.

A pure function of the chunk, so that it makes no difference where it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capacity_kit import growth, units
from capacity_kit.analysis.chunks import Chunk, Resource
from capacity_kit.growth.backtest import Backtest, backtest
from capacity_kit.growth.explain import explain
from capacity_kit.growth.models import LEVELS, MEDIAN
from capacity_kit.growth.series import How, regular

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Record = dict[str, Any]

DAY: Final = 86_400.0
HORIZONS: Final = (7, 30, 90, 365)
HORIZON: Final = 365  # days ahead
WEEK: Final = 7

FLUCTUATING: Final = frozenset({"CONNECTIONS", "CPU", "MEMORY", "TRANSACTIONS"})
"""Types of which a day is its mean: they come and go within it. Of what is stored it is the last value."""

SHORTEST: Final = 14  # days that a forecast needs
ORIGINS: Final = 6  # of the backtest, evenly over the record
TESTED: Final = 90  # days ahead that are backtested
FEWEST_ORIGINS: Final = 3  # below, an error is an anecdote and stays unsaid

REAL: Final = 0.01  # of its level in a year that a trend must be worth
SLOW: Final = 0.001  # of its level a day below which growth is slow
SWING: Final = 0.02  # of its level that a cycle must move it by
NOISE: Final = 0.2  # of its level by which half of its days may miss a quiet series
DIGITS: Final = 12  # significant ones that are recorded: the last few of a double depend on who adds up first


def analyse(chunk: Chunk) -> list[Record]:
    """Analyse some resources.

    Parameters
    ----------
    chunk : Chunk

    Returns
    -------
    list of dict
        One a resource in the chunk's order, its keys named after the columns of growth_pattern_s and
        capacity_forecast_s that they fill; plain numbers, strings, lists and dicts only.
    """
    days = [daily(r, t, v) for r, t, v in zip(chunk.resources, chunk.times, chunk.values, strict=True)]
    histories = [history[history.size - in_step(history.size) :] for history in days]
    enough = [h if h.size >= SHORTEST else h[:0] for h in histories]
    said = growth.forecast(enough, HORIZON, WEEK)
    tested = _tested(enough)
    capacity = np.array([r.capacity for r in chunk.resources])
    share = {
        "warning": np.array([r.warning for r in chunk.resources]) / 100,
        "critical": np.array([r.critical for r in chunk.resources]) / 100,
        "capacity": np.ones(len(chunk)),
    }
    levels = {name: capacity * part for name, part in share.items()}
    reached = {name: said.reached(level) for name, level in levels.items()}
    return [
        _record(
            chunk,
            i,
            histories[i],
            said,
            tested,
            {name: (levels[name][i], reached[name][i]) for name in levels},
        )
        for i in range(len(chunk))
    ]


def daily(resource: Resource, times: npt.ArrayLike, values: npt.ArrayLike) -> Floats:
    """One value a day, the last day ending at the resource's newest measurement; NaN where a day has none.

    Measured about once a day, a day is centred on that hour, so that a late measurement does not fall into the next.
    """
    t = np.asarray(times, float)
    if not t.size:
        return np.empty(0)
    how: How = "mean" if is_fluctuating(resource) else "last"
    newest = resource.measured_at.timestamp()
    often = t.size > 1.5 * np.ptp(t) / DAY
    # The grid's bins include their beginning and not their end; a day, counted backwards, includes its end.
    shift = 1e-3 if often else DAY / 2
    return regular(t - newest - shift, values, DAY, how).values


def is_fluctuating(resource: Resource) -> bool:
    """Whether a day of it is its mean (a rate, sessions) rather than its last value (what is stored)."""
    return resource.resource_type in FLUCTUATING or resource.unit.endswith("/s")


def in_step(days: int) -> int:
    """How many of a record's newest days are used: all, or a sixteenth less where that makes it as long as others.

    The engine works on equally long records together, many times faster than on each alone.
    """
    step = 1 if days < 16 * WEEK else WEEK
    while step >= WEEK and 2 * step * 16 <= days:
        step *= 2
    return days - days % step


def origins(days: int) -> Ints:
    """From which days of a record it is backtested: evenly between its first third and 30 days before its end.

    What lies before each is again as long as before others.
    """
    first, last = max(SHORTEST - 1, days // 3), days - 1 - 30
    if last < first:
        return np.empty(0, np.int64)
    evenly = np.linspace(first, last, min(ORIGINS, 1 + (last - first) // 3)).astype(np.int64)
    return np.unique([in_step(int(o) + 1) - 1 for o in evenly])


def _tested(histories: Sequence[Floats]) -> Backtest:
    """Every history from each of its origins; what lies beyond its end is a gap, and judges nothing."""
    past, owner = [], []
    for i, history in enumerate(histories):
        for o in origins(history.size):
            ahead = history[o + 1 : o + 1 + TESTED]
            past.append(
                np.concatenate([history[: o + 1], ahead, np.full(TESTED - ahead.size, np.nan)]),
            )
            owner.append(i)
    found = backtest(past, TESTED, WEEK, origins=1)
    return replace(found, series=np.array(owner, np.int64)[found.series])


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


def _trend(days: int, said: growth.Forecast, i: int) -> _Trend:
    """The fourth week ahead against the first: whole weeks, so that a weekly cycle cancels."""
    first = float(said.quantiles[i, :WEEK, MEDIAN].mean())
    later = said.quantiles[i, 3 * WEEK : 4 * WEEK].mean(axis=0)
    apart, ahead = 3 * WEEK, (WEEK + 1) / 2  # days between them, and from now to the middle of the first
    weights = dict(zip(said.models, said.weights[i], strict=True))
    compounds = weights["compound growth"] >= 0.5 and first > 0 and later[MEDIAN] > 0
    if compounds:
        growing = (later[MEDIAN] / first) ** (1 / apart) - 1
        level = first / (1 + growing) ** ahead
        per_day = level * growing
    else:
        per_day = (later[MEDIAN] - first) / apart
        level = max(0.0, first - per_day * ahead)
    real = (later[2] > level or later[4] < level) and abs(per_day) * 365 >= REAL * level
    if not real:
        per_day, level = 0.0, first
    ratio = per_day / level if level > 0 else float("nan")
    week = said.quantiles[i, :WEEK, MEDIAN]
    swing = float(np.ptp(week - per_day * np.arange(WEEK))) / 2 / level if level > 0 else 0.0
    cyclic = bool(sum(weights[name] for name in weights if "cycle" in name) >= 0.5 and 2 * swing >= SWING)
    spread = float(said.quantiles[i, WEEK - 1, 4] - said.quantiles[i, WEEK - 1, 2]) / 2
    if not real:
        direction = "STABLE"
        pattern = "SEASONAL" if cyclic else "IRREGULAR" if spread > NOISE * level else "STABLE"
    elif per_day < 0:
        direction = pattern = "DECREASING"
    else:
        direction = "INCREASING"
        pattern = "SLOW_GROWTH" if ratio < SLOW else "EXPONENTIAL" if compounds else "LINEAR"
    return _Trend(level, ratio, per_day, pattern, direction, cyclic if days >= 4 * WEEK else None, swing)


def _record(
    chunk: Chunk,
    i: int,
    history: Floats,
    said: growth.Forecast,
    tested: Backtest,
    levels: dict[str, tuple[float, Floats]],
) -> Record:
    resource, times = chunk.resources[i], chunk.times[i]
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
        "pattern_description": explain(said, i),
        "model_parameters": {"peak_30d": _plain(_peak(resource, times, chunk.values[i]))},
    }
    if not np.isfinite(said.quantiles[i, 0, MEDIAN]):
        return record
    return record | _outlook(record, chunk, i, history, said, tested, levels)


def _outlook(
    record: Record,
    chunk: Chunk,
    i: int,
    history: Floats,
    said: growth.Forecast,
    tested: Backtest,
    levels: dict[str, tuple[float, Floats]],
) -> Record:
    """What only a resource with a forecast has."""
    resource = chunk.resources[i]
    trend = _trend(history.size, said, i)
    own = tested.of(i)
    errors = {days: _error(own, history, days) for days in (7, 30, 90)}
    accuracy = {days: None if e is None else _plain(max(0.0, 100 - e), 6) for days, e in errors.items()}
    elapsed = (chunk.as_of - resource.origin).total_seconds() / DAY
    runway = {
        name: _runway(resource, level, probability, elapsed)
        for name, (level, probability) in levels.items()
        if np.isfinite(level)
    }
    medians = {days: _plain(said.quantiles[i, days - 1, MEDIAN]) for days in HORIZONS}
    low, high = said.quantiles[i, 29, [1, 5]]
    weights = {
        name: round(float(weight), 4)
        for name, weight in zip(said.models, said.weights[i], strict=True)
        if weight >= 0.01
    }
    inside = own.inside[:, 29][np.isfinite(own.inside[:, 29])]
    shift = _day(resource, history, int(said.regime_start[i])).date() if said.shifts[i] else None
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
            "days": history.size,
            **record["model_parameters"],
            "levels": LEVELS.tolist(),
            "quantiles": {
                str(days): [_plain(v) for v in said.quantiles[i, days - 1].tolist()] for days in HORIZONS
            },
            "runway": runway,
            "weights": weights,
            "level": _plain(trend.level),
            "per_day": _plain(trend.per_day),
            "shifts": int(said.shifts[i]),
            "left_out": int(said.left_out[i]),
            **{f"wape_{days}d": _plain(e, 6) for days, e in errors.items()},
            "origins": len(own.origin),
            "coverage_30d": _plain(float(inside.mean()), 4) if inside.size else None,
        },
        "pattern_type": trend.pattern,
        "seasonality_detected": trend.has_cycle,
        "seasonal_period_days": WEEK if trend.has_cycle else None,
        "seasonal_amplitude": _plain(100 * trend.swing, 6) if trend.has_cycle else None,
        "pattern_breaks_detected": int(said.shifts[i]),
        "last_pattern_break_date": shift and shift.isoformat(),
        "forecast_accuracy_7d": accuracy[7],
        "forecast_accuracy_30d": accuracy[30],
        "forecast_accuracy_90d": accuracy[90],
        "confidence_intervals": {
            "30d": {"share": 80, "origins": len(own.origin), "low": _plain(low), "high": _plain(high)}
        },
        "pattern_description": _sentence(resource, history, said, i, own),
        "next_analysis_due_date": (resource.origin + timedelta(days=_due(runway))).date().isoformat(),
    }


def _runway(resource: Resource, level: float, probability: Floats, elapsed: float) -> Record:
    """Whole days from the time that is looked from until a level is reached, rounded down; None: not within the year.

    Parameters
    ----------
    resource : Resource
    level : float
        In its unit.
    probability : ndarray, shape (horizon,)
        That it has been reached by each day after the origin.
    elapsed : float
        Days from the origin until then.
    """
    if resource.usage >= level:
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


def _error(own: Backtest, history: Floats, days: int) -> float | None:
    """Mean absolute error so many days ahead in percent of what came; None from fewer than three origins."""
    off = np.abs(own.error[:, days - 1])
    known = np.isfinite(off)
    truth = history[own.origin[known] + days].sum()
    enough = int(known.sum()) >= FEWEST_ORIGINS and truth > 0
    return 100 * float(off[known].sum()) / float(truth) if enough else None


def _sentence(resource: Resource, history: Floats, said: growth.Forecast, i: int, own: Backtest) -> str:
    """The engine's sentence, on 30 days ahead."""
    known = np.isfinite(own.error[:, 29])
    month = Backtest(
        np.zeros(int(known.sum()), np.int64),
        own.origin[known],
        own.error[known, :30],
        own.pinball[known, :30],
        own.inside[known, :30],
    )
    alone = said.of([i])
    return explain(
        replace(alone, quantiles=alone.quantiles[:, :30]),
        0,
        show=lambda amount: units.quantity(amount, resource.unit),
        step="day",
        when=lambda index: units.at(_day(resource, history, index), clock=False),
        tested=month,
    )


def _day(resource: Resource, history: Floats, index: int) -> datetime:
    """The end of a day of the history."""
    return resource.measured_at - timedelta(days=history.size - 1 - index)


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).isoformat()


def _plain(value: float | None, digits: int = DIGITS) -> float | int | None:
    """A number to be recorded: so many significant digits, whole ones without a fraction, None for what is not one."""
    if value is None or not np.isfinite(value):
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded
