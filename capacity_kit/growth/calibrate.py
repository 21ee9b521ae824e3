"""Bands as wide as they must be: for how little past there is, for shifts that may come again, for a new pace.

References
----------
.. [1] Student (1908), The probable error of a mean, Biometrika 6; the predictive form in any textbook: a new draw
   lies within t(n - 1) sqrt(1 + 1/n) sample deviations of the sample's mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from capacity_kit.growth.models import LEVELS, MEDIAN
from capacity_kit.growth.regimes import PARTS, Pace, Shifts

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Student's t at .75, .90 and .95, by the inverse of the degrees of freedom, in which it is nearly straight.
_INVERSE_FREEDOM = np.array([0, 1 / 30, 1 / 10, 1 / 5, 1 / 3, 1 / 2, 1])
_T = {
    0.75: np.array([0.6745, 0.6828, 0.6998, 0.7267, 0.7649, 0.8165, 1.0000]),
    0.90: np.array([1.2816, 1.3104, 1.3722, 1.4759, 1.6377, 1.8856, 3.0777]),
    0.95: np.array([1.6449, 1.6973, 1.8125, 2.0150, 2.3534, 2.9200, 6.3138]),
}
# Of the record, what counts for gains: memories fade (which leaves .87 of it, by Kish's effective size), and activity
# comes in spells, so that neighbouring gains are no strangers. At 1, bands over a quarter of the record cover .74
# where .80 is said; at .6 they are wider than they need be.
COUNTS = 0.75
NORMAL = np.array([-1.6449, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 1.6449])  # quantiles, at LEVELS
# Of the models' disagreement. None is the loss of one in a hundred on counts and machines; all of it costs half of one
# on storage, and bands of machines that are too wide.
DISAGREEMENT = 0.5
_GOLDEN = (5**0.5 - 1) / 2
FEWEST = 2.0  # independent memories below which Student's t knows no width
# Beyond a quarter of the record, where there are fewer, bands of real storage held 56 % over one record's length and
# 31 % over three. At 1/2 they hold 69 and 56 %, at 1 they are wider than any loss rewards; the mean loss is the same.
BEYOND = 0.75
AGAIN = 0.09  # most that a shift seen once may claim of what comes: the tails outside the 80 % band
CLEANED = 0.3  # the same of a cleanup seen once, of what grows: the middle of what may come stays without
SIZES = np.array([2 / 3, 1, 3 / 2])  # of a shift that comes again, in those of the one that was seen


def widening(memories: Floats) -> Floats:
    """How much wider than the sample a band must be, by the number of independent memories behind it [1]_.

    Quantiles of 270 overlapping 90-day gains in a year are quantiles of about three: without this, bands cover their
    nominal share at short horizons and far less at long ones. Further ahead than the record bears out, where no two
    gains are independent, the factor goes on to grow with how much further that is, to the power of BEYOND.

    Parameters
    ----------
    memories : ndarray, any shape

    Returns
    -------
    ndarray, shape (..., quantiles)
        Factors on the distance from the median, 1 for a long past; 1 at the median itself.
    """
    n = np.maximum(memories, FEWEST)
    # An end costs one memory: counted with it they stay positive, however few.
    beyond = np.maximum((FEWEST + 1) / np.maximum(memories + 1, np.finfo(float).tiny), 1)
    further = np.sqrt(1 + 1 / n) * beyond**BEYOND
    by_level = {
        level: np.interp(1 / (n - 1), _INVERSE_FREEDOM, t) / t[0] * further for level, t in _T.items()
    }
    one = np.ones_like(n)
    return np.stack([one if q == 0.5 else by_level[round(max(q, 1 - q), 2)] for q in LEVELS], axis=-1)


def widened(quantiles: Floats, factors: Floats) -> Floats:
    """Quantiles moved away from their median by factors of :func:`widening`, shapes (..., quantiles)."""
    middle = quantiles[..., MEDIAN, None]
    out = quantiles - middle
    out *= factors
    out += middle
    return np.asarray(out)


def disagreeing(quantiles: Floats, middles: Floats, weights: Floats) -> Floats:
    """A band as wide as the models disagree on its place, too.

    The variance of a mixture is the mean of the variances and the variance of the means; quantiles averaged level by
    level know but the former. In full the latter makes bands too wide, as models that are off are off together with
    their weights: DISAGREEMENT of it.

    Parameters
    ----------
    quantiles : ndarray, shape (series, steps, quantiles)
        Of all models together.
    middles : ndarray, shape (models, series, steps)
        Each model's median.
    weights : ndarray, shape (models, series)
        They sum to 1.
    """
    middle = quantiles[..., MEDIAN, None]
    apart = np.einsum("ms,mst->st", weights, np.square(middles - middle[..., 0]))
    off = np.hypot(quantiles - middle, DISAGREEMENT * np.sqrt(apart)[..., None] * NORMAL)
    return np.asarray(middle + np.sign(LEVELS - 0.5) * off)


def gain_memories(quantiles: Floats, steps: Ints, length: int) -> Floats:
    """Independent memories among the k-step gains of a record.

    Gains over k steps that do not overlap: COUNTS * length / k, less one for the end. If the band does not widen with
    k as that of a random walk does, gains forget sooner than k, and there are more of them.

    Parameters
    ----------
    quantiles : ndarray, shape (series, steps, quantiles)
        Of a model of gains; the first step must be 1.
    steps : ndarray, shape (steps,)
    length : int
        Steps of the record.

    Returns
    -------
    ndarray, shape (series, steps)
    """
    width = quantiles[..., -2] - quantiles[..., 1]
    first = width[:, :1]
    rounding = 1e-9 * (quantiles[..., -1].max(axis=1) - quantiles[..., 0].min(axis=1))[:, None]
    ratio = np.divide(width, first, out=np.full_like(width, np.inf), where=first > rounding)
    return np.asarray(COUNTS * length / np.clip(ratio**2, 1, steps) - 1)


def with_shifts(quantiles: Floats, found: Shifts, steps: Ints, length: int) -> Floats:
    """The forecast if the shifts of the record may come again: a mixture of itself with itself shifted.

    They come as a Poisson process. One of them tells that such may be, and claims no more than AGAIN; each further one
    tells how often: onboardings that came again and again are expected to. A cleanup of what grows tells as much by
    itself, up to CLEANED. The next one need not be as large: SIZES of it are as likely.

    Parameters
    ----------
    quantiles : ndarray, shape (series, steps, quantiles)
        Without shifts.
    found : Shifts
        Of the record; series without any are returned as they are.
    steps : ndarray, shape (steps,)
    length : int
        Steps of the record.
    """
    rows = np.flatnonzero(found.count)
    if not rows.size:
        return quantiles
    count, size = found.count[rows, None], found.size[rows]
    come = _come(found, rows, steps, length)
    stay = quantiles[rows]
    parts = [(1 - come, stay)]
    for j in range(int(count.max())):
        share = np.where(j < count, come / count / SIZES.size, 0)
        parts += [(share, stay + times * size[:, j, None, None]) for times in SIZES]
    out = quantiles.copy()
    out[rows] = mixed(parts)
    return out


def going_on(quantiles: Floats, found: Pace, now: Floats, steps: Ints, length: int) -> Floats:
    """The forecast if a pace that no model can have learnt may last: a mixture of itself with that.

    The new pace has as much of it as it is plain; and as the change is the one in the record, another comes as any
    does of whose rate nothing else is known: within as many steps as the record has, with a chance of a half.

    Parameters
    ----------
    quantiles : ndarray, shape (series, steps, quantiles)
        Of the models; series without a new pace are returned as they are.
    found : Pace
    now : ndarray, shape (series,)
        The present value.
    steps : ndarray, shape (steps,)
    length : int
        Steps of the record.
    """
    rows = np.flatnonzero(found.stretch)
    if not rows.size:
        return quantiles
    # The pace is known as a mean of PARTS gains, and single values stray by as much as those do.
    part = found.stretch[rows, None] / PARTS
    stray = np.hypot(steps / PARTS**0.5, part) * found.off[rows, None]
    width = widening(np.array(float(PARTS))) * NORMAL
    ahead = (now[rows, None] + found.slope[rows, None] * steps)[..., None] + stray[..., None] * width
    share = found.plain[rows, None] * length / (length + steps)
    out = quantiles.copy()
    out[rows] = mixed([(1 - share, quantiles[rows]), (share, ahead)])
    return out


def mixed(shared: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Quantiles of a mixture.

    Parameters
    ----------
    shared : sequence of (ndarray, ndarray)
        The share of each part, shape (...), and its quantiles, shape (..., quantiles); shares sum to 1.
    """
    tailed = [(share, *with_tails(quantiles)) for share, quantiles in shared]
    level = tailed[0][2]
    parts = [(share, part) for share, part, _ in tailed]
    grid = np.sort(np.concatenate([part for _, part in parts], axis=-1), axis=-1)
    before, upto = np.zeros_like(grid), np.zeros_like(grid)
    for weight, part in parts:
        before += weight[..., None] * _share(grid, part, level, grid[..., None] > part[..., None, :])
        upto += weight[..., None] * _share(grid, part, level, grid[..., None] >= part[..., None, :])
    return _where_reached(before, upto, grid)


def _come(found: Shifts, rows: Ints, steps: Ints, length: int) -> Floats:
    """Probability that a shift has come again by each step, shape (rows, steps)."""
    count = found.count[rows, None]
    seldom = np.minimum(1 - np.exp(-count * steps / length), AGAIN)
    others = np.maximum(seldom, 1 - np.exp(-(count - 1) * steps / length))
    # Of a rate of which nothing else is known: so many in the record, none in as many steps more.
    cleanups = np.minimum(1 - (length / (length + steps)) ** count, CLEANED)
    return np.asarray(np.where(found.cleanup[rows, None], np.maximum(cleanups, others), others))


def jumping(futures: Floats, found: Shifts, steps: Ints, length: int) -> Floats:
    """Paths of which as many as :func:`with_shifts` says have shifted by each step, and stay so.

    Ranks of past gains would hand the shifted tail from path to path, until in the end all had been there.

    Parameters
    ----------
    futures : ndarray, shape (series, steps, paths)
        Without shifts.
    found, steps, length
        As of :func:`with_shifts`.
    """
    rows = np.flatnonzero(found.count)
    if not rows.size:
        return futures
    count = found.count[rows, None]
    # Which paths, which of the shifts, and of what size, by sequences that fill [0, 1] evenly and know nothing of each
    # other.
    path = np.arange(1, futures.shape[-1] + 1)
    turn, which = path * _GOLDEN % 1, (path * 2**0.5 % 1 * count).astype(np.int64)
    times = SIZES[(path * 3**0.5 % 1 * SIZES.size).astype(np.int64)]
    size = np.take_along_axis(found.size[rows], which, axis=1) * times
    out = futures.copy()
    out[rows] += (turn < _come(found, rows, steps, length)[..., None]) * size[:, None]
    return np.maximum(out, 0)


def with_tails(quantiles: Floats) -> tuple[Floats, Floats]:
    """Quantiles with an end on either side, as far out again as the last two lie apart; and their levels."""
    below = 2 * quantiles[..., :1] - quantiles[..., 1:2]
    above = 2 * quantiles[..., -1:] - quantiles[..., -2:-1]
    return np.concatenate([below, quantiles, above], axis=-1), np.concatenate([[0.0], LEVELS, [1.0]])


def _share(grid: Floats, part: Floats, level: Floats, passed: npt.NDArray[np.bool_]) -> Floats:
    """Share of a distribution, piecewise linear through (part, level), below each point of the grid.

    `passed` says which points of the part each point of the grid has left behind, shape (..., grid, part): with those
    that it stands on, the share up to and with the point; without them, the share before it.
    """
    at = passed.sum(axis=-1) - 1
    inside = np.clip(at, 0, part.shape[-1] - 2)
    lower, upper = np.take_along_axis(part, inside, -1), np.take_along_axis(part, inside + 1, -1)
    way = np.divide(grid - lower, upper - lower, out=np.zeros_like(grid), where=upper > lower)
    share = level[inside] + (level[inside + 1] - level[inside]) * np.clip(way, 0, 1)
    return np.where(at < 0, 0.0, np.where(at > inside, 1.0, share))


def _where_reached(before: Floats, upto: Floats, grid: Floats) -> Floats:
    """The value at which the share first reaches each level: on a point of the grid, or between two in proportion."""
    found = []
    for level in LEVELS:
        at = np.clip((upto < level - 1e-12).sum(axis=-1), 1, grid.shape[-1] - 1)[..., None]
        low, high = np.take_along_axis(upto, at - 1, -1), np.take_along_axis(before, at, -1)
        start, end = np.take_along_axis(grid, at - 1, -1), np.take_along_axis(grid, at, -1)
        way = np.divide(level - low, high - low, out=np.ones_like(low), where=high > low)
        found.append((start + (end - start) * np.clip(way, 0, 1))[..., 0])
    return np.stack(found, axis=-1)
