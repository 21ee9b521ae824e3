"""A sawtooth: growth, and resets that take it back again and again, as retention, VACUUM, freezing and archiving do.

What comes next depends on how high the present tooth has grown, and how high it may get on the envelope of the peaks:
gains since any time whatever, which other models draw from, know neither and let a sawtooth run through its ceiling.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from capacity_kit.growth.calibrate import widened, widening
from capacity_kit.growth.lines import robust_line
from capacity_kit.growth.models import LEVELS, MEDIAN, Model, Past, quantiles_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LIKE = 24  # memories of a like height that are drawn: more would not be alike
ROUNDING = 1e-6  # of a series' range


def growth_and_resets(past: Past, origin: int, steps: Ints) -> Floats:
    """What came whenever it stood as high above its last reset: the rest of the tooth, its end, the next teeth.

    Never above the envelope of the peaks. NaN for series that are no sawtooth.
    """
    out = np.full((len(past.x), len(steps), len(LEVELS)), np.nan)
    for row, resets in past.resets.items():
        known = resets[resets <= origin]
        if known.size > 1:
            out[row] = _of_one(past.x[row, : origin + 1], known, steps)
        else:
            out[row] = past.x[row, origin]
    return out


def _of_one(x: Floats, resets: Ints, steps: Ints) -> Floats:
    """Quantiles of one series to its end, with its resets; shape (steps, quantiles)."""
    origin, first = x.size - 1, int(resets[0])
    trough = np.repeat(x[resets], np.diff(resets, append=x.size))
    height = x[first:] - trough
    # Lags stop at half of what there is, so that memories remain; further on whole teeth are added.
    longest = max(height.size // 2, 1)
    tooth = min(max(round(float(resets[-1] - resets[0]) / (resets.size - 1)), 1), longest)
    cycle = longest // tooth * tooth
    lags = np.where(steps <= longest, steps, steps - -(-(steps - longest) // tooth) * tooth)
    beyond = bool(steps[-1] > longest)
    wanted = np.append(lags, cycle) if beyond else lags
    # Rounded, so that heights are alike whatever the last digits say, and turned round: of such the newest first.
    apart = np.round(np.abs(height - height[-1]) / (ROUNDING * np.ptp(x)))
    alike = origin - np.argsort(apart[::-1], kind="stable")
    in_time = np.flatnonzero(alike <= origin - wanted.max())[:LIKE]  # early enough for every lag
    alike = alike[np.union1d(in_time, np.arange(min(2 * LIKE, alike.size)))]
    late = alike > origin - wanted[:, None]
    count = min(LIKE, alike.size - int(late.sum(axis=1).max()))
    start = alike[late.argsort(axis=1, kind="stable")[:, :count]]
    gains = quantiles_of(x[start + wanted[:, None]] - x[start])
    out = x[-1] + gains[: steps.size]
    if beyond:
        out += (gains[-1, MEDIAN] / cycle * (steps - lags))[:, None]
    out = widened(out, _widening(resets.size - 1))
    return np.minimum(out, envelope(x, resets, steps)[:, None])


@lru_cache(maxsize=1024)
def _widening(teeth: int) -> Floats:
    return widening(np.array([teeth]))


def envelope(x: Floats, resets: Ints, steps: Ints) -> Floats:
    """As high as the peaks before resets lead one to expect, shape (steps,).

    A robust line through the peaks, and above it as far as they were at most, with room for one higher. Through two
    peaks there always is a line: the fewer there are, the more the slope is that of the feet, which stray less.
    """
    at, peaks = resets - 1, x[resets - 1]
    heard = (at.size - 2) / at.size
    slope = heard * robust_line(at, peaks).slope + (1 - heard) * robust_line(resets, x[resets]).slope
    start = float(np.median(peaks - slope * at))
    off = peaks - start - slope * at
    room = float(off.max() + (off.max() - off.min()) / at.size)
    ceiling = start + slope * (x.size - 1 + steps) + room
    return np.asarray(np.maximum(ceiling, x[-1]))


SAWTOOTH = Model("growth and resets", "sawtooth", 1.0, growth_and_resets)
