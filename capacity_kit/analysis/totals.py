"""Tenants' forecasts, and a rest that is nobody's, made to add up to the system's.

A first pass over the tenants' series sums what their forecasts say; from the sums, whose size does not grow with the
number of tenants, follows by how much each forecast of the second pass has to move. It is the closed form of
:func:`capacity_kit.growth.reconcile.reconcile`, worked out for one member at a time: a part moves by the gap between
the whole and the sum of the parts, times its share of all variances.

What is made to add up are medians, since those are what is recorded as the forecast. Bands come from sample paths that
are moved in the same way, path by path, and then as a whole onto the median.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capacity_kit.analysis.chunks import Resource
from capacity_kit.analysis.grids import DAY
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
    """

    parts: int
    median: Floats
    weight: Floats
    steepest: Floats
    paths: Floats
    past: Floats

    def __add__(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(
            self.parts + other.parts,
            self.median + other.median,
            self.weight + other.weight,
            np.maximum(self.steepest, other.steepest),
            self.paths + other.paths,
            self.past + other.past,
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
    """

    name: str
    parts: int
    rest: Mapping[int, float]
    gap: Floats
    path_gap: Floats
    total: Floats
    by_size: npt.NDArray[np.bool_]

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


def summed(
    resources: Sequence[Resource], histories: Sequence[Floats], said: Forecast, days: int
) -> Sums | None:
    """What the parts that have a forecast add up to; None if none has.

    Parameters
    ----------
    resources : sequence of Resource
    histories : sequence of ndarray
        Of the same resources, by day.
    said : Forecast
        With its paths.
    days : int
        Of the past that the sum is wanted of.
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
        np.sum([held(resources[int(i)], histories[int(i)], days) for i in known], axis=0),
    )


def held(resource: Resource, history: Floats, days: int | None = None) -> Floats:
    """A past that ends at the origin, gaps crossed in a straight line; the last value holds on, 0 precedes the first.

    Parameters
    ----------
    resource : Resource
    history : ndarray, shape (time,)
        Of its newest days.
    days : int, optional
        How many are wanted; all by default.
    """
    since = round((resource.origin - resource.measured_at).total_seconds() / DAY)
    at = np.flatnonzero(np.isfinite(history) & (history >= 0))
    filled = np.interp(np.arange(history.size + since), at, history[at], left=0.0)
    if days is None:
        return filled
    return np.concatenate([np.zeros(max(days - filled.size, 0)), filled[-days:]])


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
    agreed = found.moved(both.of([1])).quantiles[0, :, MEDIAN]
    return replace(found, rest={day + 1: float(value) for day, value in enumerate(agreed)})


def told(whole: Whole | str, is_whole: bool, horizons: Sequence[int]) -> dict[str, Any]:
    """What is recorded of it."""
    if isinstance(whole, str):
        return {"with": None, "why": whole}
    if not is_whole:
        return {"with": whole.name}
    return {"parts": whole.parts, "unattributed": {str(days): whole.rest[days] for days in horizons}}


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
