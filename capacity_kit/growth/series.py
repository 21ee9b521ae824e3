"""Measurements as they come into series on a regular grid: late, doubled and missing ones included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
How = Literal["last", "mean", "max"]

MOST = 100_000_000  # steps of a grid: more are a mistake, and no memory


@dataclass(frozen=True)
class Series:
    """Values on a regular grid.

    Attributes
    ----------
    start : float
        Beginning of the first bin, in the unit of the times given (seconds since 1970 by custom).
    step : float
        Width of a bin in the same unit.
    values : ndarray, shape (bins,)
        One value a bin in the unit of the measurements; NaN marks a gap, and no gap is ever filled here.
    left_out : int
        Measurements that were not finite, or were said again by a later one for the same time.
    """

    start: float
    step: float
    values: Floats
    left_out: int


def regular(times: npt.ArrayLike, values: npt.ArrayLike, step: float, how: How = "last") -> Series:
    """Bring measurements onto a grid.

    Parameters
    ----------
    times : array_like, shape (measurements,)
        In any order; of two alike the later in the array is the correction.
    values : array_like, shape (measurements,)
        In any unit. Not finite: left out.
    step : float
        Width of a bin, in the unit of the times. Bins begin at multiples of it, so series of one step align.
    how : {"last", "mean", "max"}
        Usage is its last value or its mean in a bin; of a rate the maximum is asked for too.

    Raises
    ------
    ValueError
        If the arrays differ in length, the step is not positive, `how` is none of the three, or the times are more than
        MOST steps apart.
    """
    t, v = np.asarray(times, float).ravel(), np.asarray(values, float).ravel()
    if t.size != v.size:
        raise ValueError(f"{t.size} times but {v.size} values")
    if not step > 0:
        raise ValueError(f"the step must be positive, not {step}")
    if how not in get_args(How):
        raise ValueError(f"a bin has its last value, its mean or its max, and no {how!r}")
    given = t.size
    known = np.isfinite(t) & np.isfinite(v)
    t, v = t[known], v[known]
    if not t.size:
        return Series(float("nan"), step, np.empty(0), given)
    order = np.argsort(t, kind="stable")
    t, v = t[order], v[order]
    newest = np.append(t[1:] != t[:-1], True)
    t, v = t[newest], v[newest]
    if (t[-1] - t[0]) / step > MOST:
        raise ValueError(f"times from {t[0]:g} to {t[-1]:g}, in steps of {step:g}: are some in another unit?")
    bins = np.floor(t / step).astype(np.int64)
    first = int(bins[0])
    bins -= first
    out = np.full(int(bins[-1]) + 1, np.nan)
    if how == "last":
        out[bins] = v  # in order of time: the last one stays
    elif how == "max":
        out[bins] = -np.inf
        np.maximum.at(out, bins, v)
    else:
        count = np.bincount(bins)
        filled = count > 0
        out[filled] = np.bincount(bins, v)[filled] / count[filled]
    return Series(first * step, step, out, given - t.size)


def rates(times: npt.ArrayLike, totals: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Rates of a counter that only rises, except when it is reset.

    Parameters
    ----------
    times : array_like, shape (readings,)
        Strictly rising.
    totals : array_like, shape (readings,)
        The counter. A fall is a reset to zero: what it shows since is what came since. Of a NaN there is no rate.

    Returns
    -------
    times, rates : ndarray, shape (readings - 1,)
        Ends of the intervals, and units a unit of time within each.

    Raises
    ------
    ValueError
        If the arrays differ in length, or times do not rise.
    """
    t, total = np.asarray(times, float), np.asarray(totals, float)
    if t.shape != total.shape:
        raise ValueError(f"{t.size} times but {total.size} totals")
    if not (np.diff(t) > 0).all():
        raise ValueError("times must rise")
    gain = np.diff(total)
    return t[1:], np.where(gain < 0, total[1:], gain) / np.diff(t)
