"""Level shifts: a cleanup, a resize, an onboarding. Found, and taken out so that what went on underneath shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST = 3  # shifts that happen more often are the series' way of moving, and its gains tell of them
FEWEST_RESETS = 3  # two whole teeth between them
TEETH = 2.0  # times the largest rise that falls must be
LAPSED = 2.0  # times the longest tooth since the last reset, and there will be no more
STANDS_OUT = 5.0  # times the largest other step: the tail of a skewed distribution rarely leaves such a hole


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
    """

    count: Ints
    at: Ints
    size: Floats

    @property
    def regime_start(self) -> Ints:
        """Index at which the present regime began, shape (series,)."""
        return np.asarray(np.maximum(self.at.max(axis=1), 0))


def shifts(x: Floats) -> Shifts:
    """Single steps that stand apart from all others of a series that otherwise moves too.

    A step counts when it is STANDS_OUT times the largest of the rest, and when the rest together moves at least as
    far: in a series that hardly moves otherwise, a step is not an exception but all there is to go by. The very last
    step is left out: one value may be a whim.

    Parameters
    ----------
    x : ndarray, shape (series, time)
    """
    series, length = x.shape
    none = Shifts(np.zeros(series, np.int64), np.full((series, MOST), -1), np.zeros((series, MOST)))
    if length < MOST + 3:
        return none
    step = np.diff(x[:, :-1], axis=1)
    large = np.abs(step)
    top = np.sort(large, axis=1)[:, : -MOST - 2 : -1]
    rest = large.sum(axis=1, keepdims=True) - np.cumsum(top[:, :MOST], axis=1)
    apart = (top[:, :MOST] >= STANDS_OUT * top[:, 1:]) & (top[:, 1:] > 0) & (rest >= top[:, :1])
    count = np.where(apart, np.arange(1, MOST + 1), 0).max(axis=1)
    rows = np.flatnonzero(count)
    if not rows.size:
        return none
    largest = np.argsort(-large[rows], axis=1, kind="stable")[:, :MOST]
    there = np.arange(MOST) < count[rows, None]
    none.count[rows] = count[rows]
    none.at[rows] = np.where(there, largest + 1, -1)
    none.size[rows] = np.where(there, np.take_along_axis(step[rows], largest, axis=1), 0.0)
    return none


def resets(x: Floats) -> dict[int, Ints]:
    """Sawtooth series, which grow and are reset again and again: by retention, VACUUM, freezing, archiving.

    The third largest fall is TEETH times the largest rise, which no walk, cycle or noise brings about; a fall of half
    its size is a reset. Where the last one lies LAPSED times the longest tooth back, they have ended.

    Parameters
    ----------
    x : ndarray, shape (series, time)
        Level shifts taken out.

    Returns
    -------
    dict of int to ndarray
        By index of the series: the indices of the first values after its resets, three at least.
    """
    found: dict[int, Ints] = {}
    if x.shape[1] < 3 * FEWEST_RESETS:
        return found
    step = np.diff(x, axis=1)
    falls = -np.partition(step, FEWEST_RESETS - 1, axis=1)[:, FEWEST_RESETS - 1]
    for row in np.flatnonzero((falls > 0) & (falls >= TEETH * np.maximum(step.max(axis=1), 0))):
        at = np.flatnonzero(step[row] <= -falls[row] / 2) + 1
        at = at[np.diff(at, prepend=-2) > 1]  # a reset that takes some days is one
        if at.size >= FEWEST_RESETS and x.shape[1] - at[-1] <= LAPSED * np.diff(at).max():
            found[int(row)] = at
    return found


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
