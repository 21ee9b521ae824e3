"""From the measurements of a resource to the regular series that are forecast: a value a day, and a maximum an hour."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from capacity_kit.analysis.chunks import Chunk, Resource
from capacity_kit.growth.series import How, regular

Floats = npt.NDArray[np.float64]

HOUR: Final = 3_600.0
DAY: Final = 86_400.0
WEEK: Final = 7
MONTH: Final = 30

FLUCTUATING: Final = frozenset({"CONNECTIONS", "CPU", "MEMORY", "TRANSACTIONS"})
"""Types of which a day is its mean: they come and go within it. Of what is stored it is the last value."""

SHORTEST: Final = 14  # days that a forecast needs
UNMEASURED: Final = 30  # of the newest days: after more of them without a measurement nothing is forecast
HOURS: Final = 90 * 24  # of the newest, that a forecast of hours looks at
FEWEST_HOURS: Final = 28 * 24  # that it needs: four weeks, to tell a cycle of a week from chance


def is_fluctuating(resource: Resource) -> bool:
    """Whether a day of it is its mean (a rate, sessions) rather than its last value (what is stored)."""
    return resource.resource_type in FLUCTUATING or resource.unit.endswith("/s")


def daily(resource: Resource, times: npt.ArrayLike, values: npt.ArrayLike, how: How | None = None) -> Floats:
    """One value a day, the last day ending at the resource's newest measurement; NaN where a day has none.

    Measured about once a day, a day is centred on that hour, so that a late measurement does not fall into the next.

    Parameters
    ----------
    resource : Resource
    times : array_like, shape (measurements,)
        Seconds since 1970.
    values : array_like, shape (measurements,)
    how : {"last", "mean", "max"}, optional
        What of a day; by default what :func:`is_fluctuating` says.
    """
    t = np.asarray(times, float)
    if not t.size:
        return np.empty(0)
    # The grid's bins include their beginning and not their end; a day, counted backwards, includes its end.
    shift = 1e-3 if _is_often(t) else DAY / 2
    usual: How = "mean" if is_fluctuating(resource) else "last"
    return regular(t - resource.measured_at.timestamp() - shift, values, DAY, how or usual).values


def last_day(resource: Resource, times: npt.ArrayLike) -> int:
    """The day that the last value of :func:`daily` is of, where most of it lies: days since 1970-01-01."""
    middle = resource.measured_at.timestamp() - (DAY / 2 if _is_often(np.asarray(times, float)) else 0)
    return int(middle // DAY)


def stale_days(resource: Resource) -> int:
    """Whole days from the newest measurement to the origin."""
    return round((resource.origin - resource.measured_at).total_seconds() / DAY)


def place(resource: Resource, days: int, date: int) -> int:
    """Where the day that ends on a date is in a series of :func:`daily`; negative where it is not.

    Parameters
    ----------
    resource : Resource
    days : int
        Length of the series.
    date : int
        Days since 1970-01-01, counted as :func:`origins` does.
    """
    after = int(resource.origin.timestamp() // DAY) - date - stale_days(resource)
    return days - 1 - after if after >= 0 else -1


def origins(resource: Resource, times: npt.ArrayLike) -> list[int]:
    """The dates from which a resource is backtested, days since 1970-01-01, the newest first.

    The same as those of the database's own analysis (``origin`` in capacity_ops.growth), so that what judges the two
    methods against each other judges both of the same days: five to ten, evenly over what has 14 days before it and
    30 after; none in a record too short for three. They are divisible by a power of two: those of a longer record are
    among those of a shorter one, and all stay where they are from day to day.

    Parameters
    ----------
    resource : Resource
    times : array_like, shape (measurements,)
        Seconds since 1970.
    """
    t = np.asarray(times, float)
    if not t.size:
        return []
    today = int(resource.origin.timestamp() // DAY)
    oldest = int((resource.origin.timestamp() - t.min()) / DAY + (0 if _is_often(t) else 0.5))
    first = oldest - (SHORTEST - 1)
    if first < MONTH + 2:
        return []
    apart = 1
    while 10 * apart <= first - MONTH:
        apart *= 2
    return [today - o for o in range(MONTH + (today - MONTH) % apart, first + 1, apart)]


def _is_often(times: Floats) -> bool:
    """Whether it is measured more than about once a day."""
    return bool(times.size and times.size > 1.5 * np.ptp(times) / DAY)


def hourly(resource: Resource, times: npt.ArrayLike, values: npt.ArrayLike) -> Floats:
    """The maximum of each of the newest HOURS hours, the last one ending at the newest measurement.

    Empty where it is not measured every hour as a rule, or not for long enough, or not up to the origin: what is hours
    old says nothing of the next ones.
    """
    t, v = np.asarray(times, float), np.asarray(values, float)
    newest = resource.measured_at.timestamp()
    recent = t > newest - HOURS * HOUR
    if resource.origin != resource.measured_at or recent.sum() < FEWEST_HOURS:
        return np.empty(0)
    hours = regular(t[recent] - newest - 1e-3, v[recent], HOUR, "max").values
    return hours if hours.size >= FEWEST_HOURS and np.isfinite(hours).mean() > 0.5 else np.empty(0)


def histories(chunk: Chunk, how: How | None = None) -> list[Floats]:
    """A series of days up to each resource's origin, as long as forecasts use it; NaN where a day has no value.

    Empty where it is too short for a forecast, or nothing was measured for UNMEASURED days.
    """
    found = []
    for resource, times, values in zip(chunk.resources, chunk.times, chunk.values, strict=True):
        days = daily(resource, times, values, how)
        used = days[days.size - in_step(days.size) :]
        late = stale_days(resource)
        able = used.size >= SHORTEST and late <= UNMEASURED
        found.append(np.append(used, np.full(late, np.nan)) if able else used[:0])
    return found


def in_step(days: int) -> int:
    """How many of a record's newest days are used: all, or a sixteenth less where that makes it as long as others.

    The engine works on equally long records together, many times faster than on each alone.
    """
    step = 1 if days < 16 * WEEK else WEEK
    while step >= WEEK and 2 * step * 16 <= days:
        step *= 2
    return days - days % step
