"""Days unlike others: the ends and beginnings of months, and holidays.

Batch runs, invoices and pay days come with the month, which no cycle of fixed length follows; on holidays nobody works.
Such days are taken out of a series, any model forecasts what is left, and what they add is put back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from capacity_kit.growth.models import CYCLES, LEVELS, MEDIAN, Model, Past, quantiles_of, trailing_mean

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ORDINARY = 0
LAST_DAYS, FIRST_DAYS = 3, 2  # of a month that are kinds of their own
HOLIDAY = LAST_DAYS + FIRST_DAYS + 1
FEWEST_SEEN = 3  # days of a kind that must have been seen; of fewer a day is taken for an ordinary one

CREDIT = 1 / 4  # of a model's own: most series know no calendar, and those that do show it soon
# Models that gain too little by it: the others say nearly the same.
UNCHANGED = frozenset({"drift by activity", "compound growth", "level of days"})


@dataclass(frozen=True)
class Calendar:
    """Where daily series lie in the calendar.

    Attributes
    ----------
    last : array_like of int, shape (series,) or one for all
        Days since 1970-01-01 of each history's newest value.
    holidays : array_like of int
        Days since 1970-01-01, past and to come, in any order; the same for all series.
    """

    last: npt.ArrayLike
    holidays: npt.ArrayLike = ()

    def lasts(self, series: int) -> Ints:
        """The newest day of each of so many series.

        Raises
        ------
        ValueError
            If it was given for another number of series.
        """
        last = np.asarray(self.last, np.int64)
        if last.ndim and last.shape != (series,):
            raise ValueError(f"{series} histories but a calendar of {last.size}")
        return np.broadcast_to(last, (series,))

    def of(self, last: npt.ArrayLike) -> Calendar:
        """The same holidays for series that end on other days."""
        return Calendar(last, self.holidays)

    def kinds(self, first: int, days: int) -> Ints:
        """Kinds of days from a first one on: ORDINARY, the last and the first ones of a month, HOLIDAY."""
        day = first + np.arange(days)
        date = day.astype("datetime64[D]")
        month = date.astype("datetime64[M]")
        since = (date - month.astype("datetime64[D]")).astype(np.int64)
        until = ((month + 1).astype("datetime64[D]") - date).astype(np.int64)
        kind = np.where(
            until <= LAST_DAYS, until, np.where(since < FIRST_DAYS, LAST_DAYS + 1 + since, ORDINARY)
        )
        return np.where(np.isin(day, np.asarray(self.holidays, np.int64)), HOLIDAY, kind)


@dataclass(frozen=True)
class Apart:
    """A batch of series on their ordinary days, the last of which holds on over the others, and those others.

    Attributes
    ----------
    x : ndarray, shape (series, time)
        The series.
    past : Past
        On their ordinary days.
    kinds : ndarray of int, shape (time + horizon,)
    """

    x: Floats
    past: Past
    kinds: Ints

    def put_back(self, quantiles: Floats, origin: int, steps: Ints) -> Floats:
        """A forecast of ordinary days, with what the others added as far as the origin knows.

        Both are uncertain, and know nothing of each other: distances from the median add up as their squares do.

        Parameters
        ----------
        quantiles : ndarray, shape (series, steps, quantiles)
        origin : int
            Index of the last known value.
        steps : ndarray, shape (steps,)
        """
        out = quantiles.copy()
        ahead, seen = self.kinds[origin + steps], self.kinds[: origin + 1]
        for kind in np.unique(ahead[ahead != ORDINARY]):
            days = np.flatnonzero(seen == kind)
            if days.size < FEWEST_SEEN:
                continue
            added = quantiles_of(self.x[:, days] - self.past.x[:, days])[:, None]
            there = ahead == kind
            middle, own = out[:, there, MEDIAN, None], added[..., MEDIAN, None]
            off = np.hypot(out[:, there] - middle, added - own)
            out[:, there] = middle + own + np.sign(LEVELS - 0.5) * off
        return out


def apart(x: Floats, kinds: Ints, cycle: int) -> Apart:
    """Take the days that are not ordinary out of series.

    Parameters
    ----------
    x : ndarray, shape (series, time)
    kinds : ndarray of int, shape (time + horizon,)
    cycle : int
        Days of the shortest cycle: the last ordinary day holds on at its phase.
    """
    time = np.arange(x.shape[1])
    ordinary = kinds[: time.size] == ORDINARY
    last = np.maximum.accumulate(np.where(ordinary, time, -1))
    last = np.where(last < 0, ordinary.argmax(), last)
    usual = _profile(x, ordinary, cycle)
    return Apart(x, Past(x[:, last] + usual[:, time % cycle] - usual[:, last % cycle]), kinds)


def _profile(x: Floats, ordinary: npt.NDArray[np.bool_], cycle: int) -> Floats:
    """By how much each phase of a cycle differs from the mean of the cycle that ends there, shape (series, cycle)."""
    usual = np.zeros((len(x), cycle))
    if x.shape[1] < CYCLES * cycle:
        return usual
    off = x - trailing_mean(x, cycle)
    time = np.arange(x.shape[1])
    for phase in range(cycle):
        there = ordinary & (time % cycle == phase) & (time >= cycle)
        if there.any():
            usual[:, phase] = np.median(off[:, there], axis=1)
    return usual


def by_calendar(models: Iterable[Model]) -> tuple[Model, ...]:
    """Of some models those that forecast ordinary days, while what others add is put back."""
    return tuple(
        replace(model, name=f"{model.name} and the calendar", credit=CREDIT * model.credit, by_calendar=True)
        for model in models
        if model.name not in UNCHANGED
    )
