"""Tenants' forecasts, and a rest that is nobody's, made to add up to the system's.

A first pass over the tenants' series sums what their forecasts say; from the sums, whose size does not grow with the
number of tenants, follows by how much each forecast of the second pass has to move. It is the closed form of
:func:`capacity_kit.growth.reconcile.reconcile`, worked out for one member at a time: a part moves by the gap between
the whole and the sum of the parts, times its share of all variances.

What is made to add up are medians, since those are what is recorded as the forecast. Bands come from sample paths that
are moved in the same way, path by path, and then as a whole onto the median.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capacity_kit.growth import Forecast, runway
from capacity_kit.growth.models import LEVELS, MEDIAN

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SUMMABLE: Final = ("CONNECTIONS", "ROWS", "STORAGE", "USERS")
"""Types of which the system's is what its tenants have and a rest, where both are measured in one unit."""


@dataclass(frozen=True)
class Sums:
    """What the forecasts of some parts add up to, by day ahead.

    Attributes
    ----------
    parts : int
    median, weight : ndarray, shape (horizon,)
        Of the medians; of the variances, which say who moves how far.
    steepest : ndarray, shape (horizon,)
        The largest quotient of variance and median: the part that would be the first to fall below zero.
    paths : ndarray, shape (horizon, paths)
    past : ndarray, shape (days,)
        Usage, the last day ending at the origin.
    before : mapping of int to Sums
        The same as it stood at origins of a backtest, by their dates: days since 1970-01-01.
    """

    parts: int
    median: Floats
    weight: Floats
    steepest: Floats
    paths: Floats
    past: Floats
    before: Mapping[int, Sums] = field(default_factory=dict)

    def __add__(self, other: Sums) -> Sums:
        """Both together."""
        before = {**self.before, **other.before}
        for date in self.before.keys() & other.before.keys():
            before[date] = self.before[date] + other.before[date]
        return Sums(
            self.parts + other.parts,
            self.median + other.median,
            self.weight + other.weight,
            np.maximum(self.steepest, other.steepest),
            self.paths + other.paths,
            self.past + other.past,
            before,
        )


@dataclass(frozen=True)
class Whole:
    """How far the members of one sum have to move.

    Attributes
    ----------
    name : str
        Whose parts they are.
    parts : int
        Those that are forecast, without the rest.
    rest : mapping of int to float
        By days ahead: the median of what is nobody's.
    gap : ndarray, shape (horizon,)
        The median of the whole less the sum of the parts' medians, the rest's among them.
    path_gap : ndarray, shape (horizon, paths)
        The same of the paths.
    total : ndarray, shape (horizon,)
        What a member's share is a share of: all variances; where `by_size`, all medians.
    by_size : ndarray of bool, shape (horizon,)
        Days on which variances would push a part below zero: there each gives in proportion to its size.
    tested : mapping of int to Whole or None
        How far they would have had to move at the origins of the whole's backtest, by their dates (days since
        1970-01-01); None where they would have been left as they were.
    rest_quantiles : ndarray, shape (horizon, 7), or None
        At the levels of ``models.LEVELS``, of what is nobody's.
    """

    name: str
    parts: int
    rest: Mapping[int, float]
    gap: Floats
    path_gap: Floats
    total: Floats
    by_size: npt.NDArray[np.bool_]
    tested: Mapping[int, Whole | None] = field(default_factory=dict)
    rest_quantiles: Floats | None = None

    def moved(self, said: Forecast, is_whole: bool = False) -> Forecast:
        """Forecasts of parts, or that of the whole, moved to where they add up.

        Parameters
        ----------
        said : Forecast
            With its paths.
        is_whole : bool
            Whether it is the whole's.
        """
        assert said.paths is not None
        median, paths = said.quantiles[..., MEDIAN], said.paths
        if is_whole:
            variance = paths.var(axis=-1)
            share = -np.where(self.by_size, 0.0, _divided(variance, self.total, 1.0))
        else:
            share = _divided(np.where(self.by_size, median, _weight(median, paths)), self.total, 0.0)
        agreed = np.maximum(median + self.gap * share, 0)
        paths = paths + self.path_gap * share[..., None]
        ordered = np.sort(paths, axis=-1)
        onto = (agreed - _quantile(ordered, 0.5))[..., None]
        paths = np.maximum(paths + onto, 0)
        quantiles = np.stack([_quantile(ordered, level) for level in LEVELS], axis=-1) + onto
        quantiles[..., MEDIAN] = agreed
        steps = np.arange(1, said.horizon + 1)
        return replace(
            said,
            quantiles=np.maximum.accumulate(np.maximum(quantiles, 0), axis=-1),
            peaks=runway.peaks(paths, steps, said.marks),
            paths=paths,
        )


def summed(said: Forecast, past: Callable[[int], Floats]) -> Sums | None:
    """What the parts that have a forecast add up to; None if none has.

    Parameters
    ----------
    said : Forecast
        With its paths.
    past : callable
        The usage of one of them, by its place: of as many days as the sum is wanted of, the last one ending at the
        origin.
    """
    assert said.paths is not None
    known = np.flatnonzero(np.isfinite(said.quantiles[:, 0, MEDIAN]))
    if not known.size:
        return None
    median, paths = said.quantiles[known][..., MEDIAN], said.paths[known]
    weight = _weight(median, paths)
    return Sums(
        known.size,
        median.sum(axis=0),
        weight.sum(axis=0),
        _divided(weight, median, 0.0).max(axis=0),
        paths.sum(axis=0),
        np.sum([past(int(i)) for i in known], axis=0),
    )


def held(history: Floats) -> Floats:
    """A past without gaps, crossed in a straight line; the last value holds on, 0 precedes the first.

    Parameters
    ----------
    history : ndarray, shape (time,)
    """
    at = np.flatnonzero(np.isfinite(history) & (history >= 0))
    return np.interp(np.arange(history.size), at, history[at], left=0.0)


def newest(past: Floats, days: int) -> Floats:
    """The last so many days of a past, 0 before its first."""
    return np.concatenate([np.zeros(max(days - past.size, 0)), past[max(past.size - days, 0) :]])


def agree(name: str, parts: Sums, both: Forecast) -> Whole:
    """Work out how far the members have to move.

    Parameters
    ----------
    name : str
        Of the whole.
    parts : Sums
    both : Forecast
        Of the whole and of the rest, in this order, with their paths.
    """
    assert both.paths is not None
    whole, rest = both.quantiles[..., MEDIAN]
    weight = _weight(both.quantiles[1:, :, MEDIAN], both.paths[1:])[0]
    medians = parts.median + rest
    variances = parts.weight + weight + both.paths[0].var(axis=-1)
    gap = whole - medians
    steepest = np.maximum(parts.steepest, _divided(weight, rest, 0.0))
    by_size = ((steepest * -gap > variances) | (variances <= 0)) & (medians > 0)
    found = Whole(
        name,
        parts.parts,
        {},
        gap,
        both.paths[0] - parts.paths - both.paths[1],
        np.where(by_size, medians, variances),
        by_size,
    )
    agreed = found.moved(both.of([1])).quantiles[0]
    medians_agreed = {day + 1: float(value) for day, value in enumerate(agreed[:, MEDIAN])}
    return replace(found, rest=medians_agreed, rest_quantiles=agreed)


def told(whole: Whole | str, is_whole: bool, horizons: Sequence[int], is_tested: bool) -> dict[str, Any]:
    """What is recorded of it.

    Parameters
    ----------
    whole : Whole or str
        What it adds up to, or why it does not.
    is_whole : bool
    horizons : sequence of int
        Days ahead.
    is_tested : bool
        Whether what was backtested was made to add up too.
    """
    if isinstance(whole, str):
        return {"with": None, "why": whole}
    said: dict[str, Any] = {"backtested": is_tested}
    if not is_whole:
        return {"with": whole.name} | said
    assert whole.rest_quantiles is not None
    return {
        "parts": whole.parts,
        "unattributed": {str(days): whole.rest[days] for days in horizons},
        "unattributed_quantiles": {str(days): whole.rest_quantiles[days - 1].tolist() for days in horizons},
    } | said


def _weight(median: Floats, paths: Floats) -> Floats:
    """The variance of a part, but no more than the square of its median: it can give no more than it has."""
    return np.asarray(np.minimum(paths.var(axis=-1), median**2))


def _divided(one: Floats, other: Floats, otherwise: float) -> Floats:
    shape = np.broadcast_shapes(one.shape, other.shape)
    return np.asarray(np.divide(one, other, out=np.full(shape, otherwise), where=other > 0))


def _quantile(ordered: Floats, level: float) -> Floats:
    """Of sorted paths, shape (..., paths): in the middle between two, as ``numpy.quantile`` does by Hazen's rule."""
    at = min(max(level * ordered.shape[-1] - 0.5, 0.0), ordered.shape[-1] - 1.0)
    low = min(int(at), ordered.shape[-1] - 2)
    return np.asarray(ordered[..., low] + (ordered[..., low + 1] - ordered[..., low]) * (at - low))
