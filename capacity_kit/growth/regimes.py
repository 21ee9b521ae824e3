"""Where a series became another: level shifts (a cleanup, a resize, an onboarding), resets that recur, other slopes.

Level shifts are taken out, so that what went on underneath shows.

References
----------
.. [1] Pettitt (1979), A non-parametric approach to the change-point problem, Applied Statistics 28.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from capacity_kit.growth.lines import Line, robust_line

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST = 3  # shifts that happen more often are the series' way of moving, and its gains tell of them
FEWEST_RESETS = 3  # two whole teeth between them
TAKEN_BACK = 0.5  # of a fall that must have grown since the one before, for falls to be a reset each
TEETH = 2.0  # times the largest rise that falls must be
LAPSED = 2.0  # times the longest tooth since the last reset, and there will be no more
BLOCKS = 52  # that a record is cut into to look for other slopes: weeks of a year
FEWEST_BLOCKS = 6  # of a regime: fewer tell a slope from a whim by luck alone
CHANCE = 0.005  # that a series whose slope never changes is said to have changed it, at each look
MOST_LEAN = 4.0  # times that neighbouring gains' leaning on each other may count for or against a change
AS_WELL = 1.2  # times as far off that one rule may be to be preferred to several
STANDS_OUT = 5.0  # times the largest other step: the tail of a skewed distribution rarely leaves such a hole
RESTLESS = 10.0  # times the shift that a series must move in all for its cycles' means to be what shifts
FEWEST_CYCLES = 6  # that such a series must have
PARTS = (
    4  # of the stretch at a new pace, each of which must have gained more than the past ever did in as long
)
SHORTEST = 8  # steps of that: fewer are a burst as likely as a new pace
LONGEST = 0.25  # of the record: what has gone on for longer the models know
SAMPLED = 32  # points on either side of such a change
FURTHER = 1.4  # times as long ago as the stretch that is looked at the change may be


@dataclass(frozen=True)
class Shifts:
    """Level shifts of a batch of series.

    Attributes
    ----------
    count : ndarray of int, shape (series,)
        How many, 0 to MOST.
    at : ndarray of int, shape (series, MOST)
        Index of the first value of the new regime, the largest shift first; -1 where there is none.
    size : ndarray, shape (series, MOST)
        By how much, in the unit of the series; 0 where there is none.
    cleanup : ndarray of bool, shape (series,)
        Whether all of them are falls, none larger than what grows beside them: what grows so is cleaned up again.
    """

    count: Ints
    at: Ints
    size: Floats
    cleanup: npt.NDArray[np.bool_]

    @property
    def regime_start(self) -> Ints:
        """Index at which the present regime began, shape (series,)."""
        return np.asarray(np.maximum(self.at.max(axis=1), 0))


def shifts(x: Floats, cycle: int = 1) -> Shifts:
    """Single steps that stand apart from all others of a series that otherwise moves too.

    A step counts when it is STANDS_OUT times the largest of the rest, and when the rest together moves at least as
    far: in a series that hardly moves otherwise, a step is not an exception but all there is to go by. The very last
    step is left out: one value may be a whim. Falls that take back again and again what grew are no shifts, but
    :func:`resets`.

    Where no single step does, a step from the mean of a cycle to that of the next may: of a series that moves RESTLESS
    times as far within its cycles, so that no step in it would stand apart.

    Parameters
    ----------
    x : ndarray, shape (series, time)
    cycle : int
        Steps of the shortest cycle; 1 for none.
    """
    series, length = x.shape
    count = np.zeros(series, np.int64)
    at, size = np.full((series, MOST), -1), np.zeros((series, MOST))
    if length >= MOST + 3:
        rows, found, step = _single(x)
        largest = np.argsort(-np.abs(step[rows]), axis=1, kind="stable")[:, :MOST]
        there = np.arange(MOST) < found[:, None]
        count[rows] = found
        at[rows] = np.where(there, largest + 1, -1)
        size[rows] = np.where(there, np.take_along_axis(step[rows], largest, axis=1), 0.0)
        for row in rows[found > 1]:
            if _taken_back(x[row], np.sort(at[row, : count[row]])):
                count[row], at[row], size[row] = 0, -1, 0.0
    if cycle > 1 and length >= FEWEST_CYCLES * cycle:
        rows, first, by = _between_cycles(x, cycle)
        # A growth that has begun so lately is not yet told from a step by means of cycles; by its parts it is.
        steps = (count[rows] == 0) & (pace(x[rows], cycle).stretch == 0)
        rows, first, by = (values[steps] for values in (rows, first, by))
        count[rows], at[rows, 0], size[rows, 0] = 1, first, by
    net = x[:, -1] - x[:, 0] - size.sum(axis=1)
    return Shifts(count, at, size, (count > 0) & (size <= 0).all(axis=1) & (net >= -size.min(axis=1)))


def _single(x: Floats) -> tuple[Ints, Ints, Floats]:
    """Series in which single steps stand apart, how many, and the steps of all series but the last one."""
    step = np.diff(x[:, :-1], axis=1)
    large = np.abs(step)
    top = np.sort(large, axis=1)[:, : -MOST - 2 : -1]
    rest = large.sum(axis=1, keepdims=True) - np.cumsum(top[:, :MOST], axis=1)
    apart = (top[:, :MOST] >= STANDS_OUT * top[:, 1:]) & (top[:, 1:] > 0) & (rest >= top[:, :1])
    count = np.where(apart, np.arange(1, MOST + 1), 0).max(axis=1)
    rows = np.flatnonzero(count)
    return rows, count[rows], step


def _between_cycles(x: Floats, cycle: int) -> tuple[Ints, Ints, Floats]:
    """Series whose mean over a cycle takes one step that stands apart; the first value after it, and its size."""
    total = np.concatenate([np.zeros((len(x), 1)), np.cumsum(x, axis=1)], axis=1)
    mean = (total[:, cycle:] - total[:, :-cycle]) / cycle  # of the cycle that begins there
    step = mean[:, cycle:] - mean[:, :-cycle]
    large = np.abs(step)
    at = large.argmax(axis=1)
    top = large[np.arange(len(x)), at]
    near = np.abs(np.arange(large.shape[1]) - at[:, None]) < cycle
    others = np.where(near, 0.0, large).max(axis=1)
    moves = np.abs(np.diff(x, axis=1)).sum(axis=1)
    rows = np.flatnonzero((others > 0) & (top >= STANDS_OUT * others) & (moves >= RESTLESS * top))
    return rows, at[rows] + cycle, step[rows, at[rows]]


def _taken_back(x: Floats, at: Ints) -> bool:
    """Whether a series falls again and again, each time after growing TAKEN_BACK of the fall since the last."""
    fall = x[at - 1] - x[at]
    return bool((fall > 0).all() and (x[at[1:] - 1] - x[at[:-1]] >= TAKEN_BACK * fall[1:]).all())


def resets(x: Floats) -> dict[int, Ints]:
    """Sawtooth series, which grow and are reset again and again: by retention, VACUUM, freezing, archiving.

    The third largest fall is TEETH times the largest rise, which no walk, cycle or noise brings about; a fall of half
    its size is a reset. Two are enough where the second took back what had grown since the first. Where the last one
    lies LAPSED times the longest tooth back, they have ended.

    Parameters
    ----------
    x : ndarray, shape (series, time)
        Level shifts taken out.

    Returns
    -------
    dict of int to ndarray
        By index of the series: the indices of the first values after its resets, two at least.
    """
    found: dict[int, Ints] = {}
    if x.shape[1] < 3 * FEWEST_RESETS:
        return found
    step = np.diff(x, axis=1)
    rise = np.maximum(step.max(axis=1), 0)
    smallest = np.partition(step, FEWEST_RESETS - 1, axis=1)[:, :FEWEST_RESETS]
    smallest.sort(axis=1)
    for fewest in (FEWEST_RESETS, 2):
        falls = -smallest[:, fewest - 1]
        for row in np.flatnonzero((falls > 0) & (falls >= TEETH * rise)):
            at = np.flatnonzero(step[row] <= -falls[row] / 2) + 1
            at = at[np.diff(at, prepend=-2) > 1]  # a reset that takes some days is one
            enough = at.size >= fewest and (at.size >= FEWEST_RESETS or _taken_back(x[row], at))
            if row not in found and enough and x.shape[1] - at[-1] <= LAPSED * np.diff(at).max():
                found[int(row)] = at
    return found


@dataclass(frozen=True)
class Pace:
    """At what pace each of a batch of series goes since lately, as none of them ever did before.

    Attributes
    ----------
    stretch : ndarray of int, shape (series,)
        Steps at that pace; 0 where there is none such.
    plain : ndarray, shape (series,)
        From 0 to 1: how far the new gains lie outside all earlier ones, as part of that and a quarter of both ranges.
    slope : ndarray, shape (series,)
        Growth a step: the median over the parts of the stretch.
    off : ndarray, shape (series,)
        Standard deviation of that growth from part to part.
    """

    stretch: Ints
    plain: Floats
    slope: Floats
    off: Floats


def pace(x: Floats, cycle: int = 1) -> Pace:
    """Slopes that changed so lately that no backtest can have seen it.

    A stretch to the present is cut in PARTS. Each of them must have gained more, or each less, than the record before
    ever did in as long, whenever: the gains of noise, cycles, walks and bursts all do so once in thousands of times. Of
    several stretches the one that shows it most plainly counts.

    Parameters
    ----------
    x : ndarray, shape (series, time)
        Level shifts taken out.
    cycle : int
        Steps of the shortest cycle: a shorter stretch is a part of it.
    """
    series, length = x.shape
    stretch, plain, slope, off = np.zeros(series, np.int64), *np.zeros((3, series))
    part = -(-max(SHORTEST, cycle) // PARTS)
    while PARTS * part <= LONGEST * length:
        ends = length - 1 - part * np.arange(PARTS + 1)
        new = x[:, ends[:-1]] - x[:, ends[1:]]
        least, most = new.min(axis=1), new.max(axis=1)
        before = length - int(FURTHER * PARTS * part)
        usual = (x[:, before - 1] - x[:, 0]) * (part / (before - 1))
        rows = np.flatnonzero((least > usual) | (most < usual))  # of the others no gain need be looked at
        old = x[rows, part:before] - x[rows, : before - part]
        low, high = old.min(axis=1), old.max(axis=1)
        new, least, most = new[rows], least[rows], most[rows]
        now = np.median(new, axis=1)
        clear = np.where(least > high, now - high, np.where(most < low, low - now, 0.0))
        seen = (high - low + most - least) / 4
        this = np.divide(clear, clear + seen, out=np.zeros(rows.size), where=clear > 0)
        better = this > plain[rows]
        rows, new = rows[better], new[better]
        stretch[rows], plain[rows] = PARTS * part, this[better]
        slope[rows], off[rows] = now[better] / part, new.std(axis=1, ddof=1) / part
        part = max(part + 1, int(part * FURTHER))
    for row in np.flatnonzero(stretch):
        both = _about(x[row], 0, length - int(FURTHER * stretch[row]), int(stretch[row]))
        apart = sum(_off(part.y, part.at, part.line) for part in both)
        if _compounds(np.concatenate([p.at for p in both]), np.concatenate([p.y for p in both]), apart):
            stretch[row] = 0  # such growth is at a new pace every day, and has a model of its own
    return Pace(stretch, plain, slope, off)


def levelled(x: Floats, found: Shifts) -> Floats:
    """The series with its shifts taken out: the past brought to the level of the present.

    Parameters
    ----------
    x : ndarray, shape (series, time)
    found : Shifts
        Of the same series.

    Returns
    -------
    ndarray, shape (series, time)
        Ends where `x` ends. May dip below zero in the past.
    """
    rows = np.flatnonzero(found.count)
    if not rows.size:
        return x
    out = x.copy()
    time = np.arange(x.shape[1])
    for column in range(MOST):
        before = time < found.at[rows, column, None]
        out[rows] += before * found.size[rows, column, None]
    return out


@dataclass(frozen=True)
class Regime:
    """How the stretch that begins at an index differs from the one before.

    Attributes
    ----------
    start : int
        Index in the history of its first value.
    kind : {"level", "slope", "reset"}
        Whether it began with a shift, with another growth, or with growth taken back once more.
    size : float
        Of the shift in the unit of the series; of the change of growth in units a step.
    """

    start: int
    kind: Literal["level", "slope", "reset"]
    size: float


def dated(histories: Sequence[npt.ArrayLike], cycle: int = 1) -> list[tuple[Regime, ...]]:
    """Level shifts, resets and changes of slope of each series, oldest first.

    Slopes are compared between medians of blocks, so that neither noise nor single values matter, once shifts are
    taken out: the ranks of the blocks' gains before some point against those after it [1]_, at the point where they
    differ most, and so on in both parts. The regime begins where robust lines through the two parts meet.
    A sawtooth, whose slope changes at every reset, has no other changes of slope.

    Parameters
    ----------
    histories : sequence of array_like, each of shape (time,)
        As of :func:`capacity_kit.growth.forecast`; what is not finite or below zero is a gap.
    cycle : int
        Steps of the shortest cycle; blocks hold whole ones.
    """
    return [_regimes(np.asarray(history, np.float64), cycle) for history in histories]


def _regimes(history: Floats, cycle: int) -> tuple[Regime, ...]:
    known = np.flatnonzero(np.isfinite(history) & (history >= 0))
    if not known.size:
        return ()
    first = int(known[0])
    x = np.interp(np.arange(first, int(known[-1]) + 1), known, history[known])[None]
    found = shifts(x, cycle)
    there = found.at[0] >= 0
    out = [
        Regime(first + int(at), "level", float(size))
        for at, size in zip(found.at[0, there], found.size[0, there], strict=True)
    ]
    flat = levelled(x, found)
    teeth = resets(flat)
    if teeth:
        fall = np.diff(flat[0])
        out += [Regime(first + int(at), "reset", float(fall[at - 1])) for at in teeth[0]]
    else:
        out += [
            Regime(first + at, "slope", size) for at, size in _with_late(_slopes(flat[0], cycle), flat, cycle)
        ]
    return tuple(sorted(out, key=lambda regime: regime.start))


def _slopes(x: Floats, cycle: int) -> list[tuple[int, float]]:
    """Where the slope changes, and by how much."""
    block = max(round(x.size / BLOCKS / cycle), 1) * cycle
    count = x.size // block
    if count < 2 * FEWEST_BLOCKS:
        return []
    left_out = x.size - count * block
    y: Floats = np.median(x[left_out:].reshape(count, block), axis=1)
    at: Floats = left_out + block * np.arange(float(count)) + (block - 1) / 2
    ends = [0, *_changes(np.diff(y)), count]
    parts = [slice(a, b) for a, b in pairwise(ends)]
    lines = [robust_line(at[part], y[part]) for part in parts]
    off = sum(_off(y[part], at[part], line) for part, line in zip(parts, lines, strict=True))
    if len(parts) == 1 or _compounds(at, y, off):
        return []
    out = []
    for end, (before, after) in zip(ends[1:], pairwise(lines), strict=False):
        change = after.slope - before.slope
        if change:
            out.append((_meeting(before, after, left_out + end * block, block), change))
    return out


def _with_late(slopes: list[tuple[int, float]], x: Floats, cycle: int) -> list[tuple[int, float]]:
    """Changes of slope with that to the present pace, which takes the place of what was found of it by blocks."""
    found = pace(x, cycle)
    stretch, length = int(found.stretch[0]), x.shape[1]
    if not stretch:
        return slopes
    start = length - int(FURTHER * stretch)
    earlier = [(at, size) for at, size in slopes if at < start - stretch]
    known = max((at for at, _ in earlier), default=0)
    before, after = _about(x[0], known, start, stretch)
    change = float(found.slope[0]) - before.line.slope
    # Where the new pace, drawn back from the middle of its stretch, meets the line before it.
    middle, there = float(np.median(after.at)), float(np.median(after.y))
    meet = middle - (there - before.line.intercept - before.line.slope * middle) / change
    return [*earlier, (min(max(round(meet), start - stretch), length - 1), change)]


class _Stretch(NamedTuple):
    at: Floats
    y: Floats
    line: Line


def _about(x: Floats, known: int, start: int, stretch: int) -> tuple[_Stretch, _Stretch]:
    """At most SAMPLED points each before a change and in the stretch after it, and a line through them."""
    both = []
    for first, end in ((known, start), (x.size - 1 - stretch, x.size)):
        at = np.unique(np.linspace(first, end - 1, SAMPLED).astype(np.int64))
        both.append(_Stretch(at.astype(float), x[at], robust_line(at.astype(float), x[at])))
    return both[0], both[1]


def _off(y: Floats, at: Floats, line: Line) -> float:
    return float(np.abs(y - line.intercept - line.slope * at).sum())


def _compounds(at: Floats, y: Floats, off: float) -> bool:
    """Whether one curve of growth in proportion to the level says it as well as lines that are off by as much."""
    if y.min() <= 0:
        return False
    line = robust_line(at, np.log(y))
    return float(np.abs(y - np.exp(line.intercept + line.slope * at)).sum()) <= AS_WELL * off


def _meeting(before: Line, after: Line, about: int, block: int) -> int:
    """Where two lines meet, if that is near where it was looked for."""
    meet = (before.intercept - after.intercept) / (after.slope - before.slope)
    return round(meet) if abs(meet - about) <= 2 * block else about


def _changes(gains: Floats, offset: int = 0) -> list[int]:
    """Blocks at which the gains become others, by Pettitt's test [1]_ at the best point, then on both of its sides.

    Where all of them show none, the first and the last two thirds are looked at: what changes and changes back
    cancels in the whole.
    """
    n = gains.size
    for start, end in ((0, n), (0, 2 * n // 3), (n - 2 * n // 3, n)):
        inside = _change(gains[start:end])
        if inside:
            at = start + inside
            return [*_changes(gains[:at], offset), offset + at, *_changes(gains[at:], offset + at)]
    return []


def _change(gains: Floats) -> int:
    """Where some gains become others; 0 for nowhere."""
    n = gains.size
    if n < 2 * FEWEST_BLOCKS - 1:
        return 0
    rank = np.sign(gains[:, None] - gains).sum(axis=1)
    apart = np.abs(np.cumsum(rank))[FEWEST_BLOCKS - 2 : n - FEWEST_BLOCKS + 1]
    at = int(apart.argmax()) + FEWEST_BLOCKS - 1
    # Gains lean on each other: those of noise take each other back, those of bursts add up. As far as luck has it, the
    # former counts for nothing.
    left = np.concatenate([rank[:at] - rank[:at].mean(), rank[at:] - rank[at:].mean()])
    own = float(left @ left)
    lean = float(left[1:] @ left[:-1]) / own if own else 0.0
    lean = lean if lean > 0 else min(lean + n**-0.5, 0)
    # Ties say nothing: the variance is that of the ranks there are, which without ties is (n^2 - 1) / 3.
    spread = float(rank @ rank) * min(max(1 + 2 * lean, 1 / MOST_LEAN), MOST_LEAN)
    return at if 2 * np.exp(-2 * float(apart.max()) ** 2 / max(spread, 1.0)) <= CHANCE else 0
