"""When a level is reached: paths that keep both the forecast's quantiles and the series' own dependence over time.

A quantile says how high one day may be; whether a level is reached *by* a day depends on how days hang together. The
past shows that: each past stretch of the series lends its ranks, and the forecast its values at those ranks.

References
----------
.. [1] Clark, Gangopadhyay, Hay, Rajagopalan, Wilby (2004), The Schaake shuffle: a method for reconstructing space-time
   variability in forecasted precipitation and temperature fields, J. Hydrometeorology 5.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from capacity_kit.growth.calibrate import NORMAL, with_tails
from capacity_kit.growth.models import LEVELS, between

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PATHS = 48  # a probability to within two in a hundred, far finer than its calibration can be
# Times as wide as past gains stray, from which a band is so because nobody knows the course: that of a walk is up to as
# wide, for how few gains it was learnt from, and is still a walk's. At 1, the runway of real storage scores 2 % worse.
CERTAIN = 2.0
MARKS = 20  # steps at which heights are kept, denser near the present


def marks(horizon: int) -> Ints:
    """Steps at which the heights of paths are kept: 1, ... horizon, in a geometric row."""
    return np.unique(np.round(np.geomspace(1, horizon, min(MARKS, horizon))).astype(np.int64))


def paths(x: Floats, quantiles: Floats, steps: Ints) -> Floats:
    """Futures that have the forecast's quantiles at each step and the past's ranks from step to step [1]_.

    Parameters
    ----------
    x : ndarray, shape (series, time)
        The past, shifts taken out.
    quantiles : ndarray, shape (series, steps, quantiles)
        The forecast.
    steps : ndarray, shape (steps,)
        Its steps ahead.

    Returns
    -------
    ndarray, shape (series, steps, paths)
        In the unit of the series; at most PATHS, fewer of a short past.
    """
    length = x.shape[1]
    # A horizon longer than half the past borrows the ranks of shorter stretches.
    lent = np.maximum(steps * min(1.0, max(length // 2, 1) / steps[-1]), 1).astype(np.int64)
    starts = np.unique(np.linspace(0, length - 1 - lent[-1], PATHS).astype(np.int64))
    gains = x.take(lent[:, None] + starts, 1)
    gains -= x.take(starts, 1)[:, None]
    gains += _kept(gains, quantiles)
    # Equal gains keep one order at all steps: the ranks of a series that stands still are no noise.
    gains += 1e-9 * np.ptp(x, axis=1)[:, None, None] * np.arange(starts.size)
    values, level = with_tails(quantiles)
    share = (np.arange(starts.size) + 0.5) / starts.size
    at = np.searchsorted(level, share, side="right") - 1
    way = (share - level[at]) / (level[at + 1] - level[at])
    upper = between(values.take(at, -1), values.take(at + 1, -1), way)
    np.put_along_axis(gains, np.argsort(gains, axis=-1), np.maximum(upper, 0, out=upper), axis=-1)
    return np.asarray(gains)


def _kept(gains: Floats, quantiles: Floats) -> Floats:
    """What a path is off by from its first step to its last, shape (series, steps, paths).

    A band CERTAIN times as wide as past gains stray, and wider, is so because the course is not known, and a course is
    kept: only what past gains do stray by changes places from day to day. Paths whose stretch gained more in the end
    have the higher course.
    """
    strays = np.partition(gains, (low := gains.shape[-1] // 4, high := gains.shape[-1] - 1 - low), axis=-1)
    lower, upper = LEVELS.searchsorted([0.25, 0.75])
    known = strays[..., high] - strays[..., low]
    course = np.sqrt(
        np.maximum(np.square(quantiles[..., upper] - quantiles[..., lower]) - np.square(CERTAIN * known), 0)
    )
    rank = gains[:, -1].argsort(axis=-1, kind="stable").argsort(axis=-1)
    score = np.interp((rank + 0.5) / rank.shape[-1], LEVELS, NORMAL) / (NORMAL[upper] - NORMAL[lower])
    return np.asarray(course[..., None] * score[:, None])


def peaks(futures: Floats, steps: Ints, kept: Ints) -> Floats:
    """The highest that each path has been by each mark, sorted over the paths.

    Parameters
    ----------
    futures : ndarray, shape (series, steps, paths)
        From :func:`paths`.
    steps : ndarray, shape (steps,)
        All of them, so that a tooth of a saw between two marks counts too.
    kept : ndarray, shape (marks,)
        The marks.

    Returns
    -------
    ndarray, shape (series, marks, paths)
        In the unit of the series; rises along the last axis, and along the marks.
    """
    upto = np.searchsorted(steps, kept, side="right")
    highest = np.maximum.reduceat(futures, np.append(0, upto[:-1]), axis=1)
    np.maximum.accumulate(highest, axis=1, out=highest)
    highest.sort(axis=-1)
    return np.asarray(highest)


def reached(highest: Floats, steps: Ints, last: Floats, levels: Floats, horizon: int) -> Floats:
    """Probability that a level has been reached by each step.

    Parameters
    ----------
    highest : ndarray, shape (series, marks, paths)
        From :func:`peaks`.
    steps : ndarray, shape (marks,)
    last : ndarray, shape (series,)
        The present value: where it is at the level or past it, the answer is 1 throughout, forecast or not.
    levels : ndarray, shape (series,)
        One level a series, in its unit; NaN gives NaN.
    horizon : int

    Returns
    -------
    ndarray, shape (series, horizon)
        Rises with the step and falls with the level.
    """
    unknown = np.isnan(levels) | np.isnan(highest[:, 0, 0])
    levels = np.where(np.isnan(levels), np.inf, levels)
    beyond = highest >= levels[:, None, None]
    first = beyond.argmax(axis=1)[:, None]  # the mark by which each path is there
    after = np.take_along_axis(highest, first, 1)[:, 0]
    before = np.take_along_axis(highest, np.maximum(first - 1, 0), 1)[:, 0]
    before = np.where(first[:, 0] > 0, before, last[:, None])
    end = steps[first[:, 0]]
    start = np.where(first[:, 0] > 0, steps[first[:, 0] - 1], 0)
    on = beyond.any(axis=1) & (after > before)
    way = np.divide(levels[:, None] - before, after - before, out=np.ones_like(after), where=on)
    # Rounding must not make a step of what is a whole number of them.
    when = np.ceil(start + (end - start) * np.clip(way, 0, 1) - 1e-9).astype(np.int64)
    when = np.where(beyond.any(axis=1), np.clip(when, 1, horizon), horizon + 1)
    series, paths = when.shape
    at = (np.arange(series)[:, None] * (horizon + 2) + when).ravel()
    arrived = np.bincount(at, minlength=series * (horizon + 2)).reshape(series, horizon + 2)
    out = np.cumsum(arrived[:, 1 : horizon + 1], axis=1) / paths
    out[unknown] = np.nan
    out[last >= levels] = 1.0
    return np.asarray(out)


def first_step(probability: Floats, share: float) -> Floats:
    """Steps until a level is reached with a probability of at least `share`.

    Parameters
    ----------
    probability : ndarray, shape (series, horizon)
        From :func:`reached`.
    share : float
        .1, .5 and .9 give the P10, P50 and P90 of the runway.

    Returns
    -------
    ndarray, shape (series,)
        Infinity where it does not come to that within the horizon; NaN where nothing is known. A level that is
        reached already is the caller's 0: here the first step counts as 1.
    """
    there = probability >= share
    first = np.where(there.any(axis=1), there.argmax(axis=1) + 1.0, np.inf)
    return np.where(np.isnan(probability).any(axis=1), np.nan, first)
