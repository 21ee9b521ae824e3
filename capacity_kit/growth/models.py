"""What a series may do next: one function a model, each giving quantiles of the future from the past alone.

Three families, each with its own idea of what stays the same:

- moving: what the series gains in k steps (drift, the same scaled to recent activity or from the same phase of a
  cycle, from that or from the mean of its newest values; a robust trend that goes on or fades, growth in proportion
  to the level);
- standing: the values themselves, remembered for a short, a middle or a long time (cycles of no fixed period,
  counts with many zeros);
- seasonal: the values at the same phase of a cycle.

All are empirical: a forecast is a set of quantiles of things that happened, so zeros, steps, skew and heavy tails need
no distribution's name [1]_.

Arrays are batches: ``(series, time)`` in, ``(series, steps, quantiles)`` out, in the unit of the series.

References
----------
.. [1] Hyndman, Athanasopoulos (2021), Forecasting: principles and practice, 3rd ed., 5.5 (bootstrapped residuals).
.. [2] Hyndman, Fan (1996), Sample quantiles in statistical packages, The American Statistician 50: definition 5.
.. [3] Gardner, McKenzie (1985), Forecasting trends in time series, Management Science 31 (the damped trend).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import Literal

import numpy as np
import numpy.typing as npt

from capacity_kit.growth.regimes import resets

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEVELS: Floats = np.array([0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95])
MEDIAN = 3
GAINS = 40  # gains drawn a quantile and step: they overlap so much that more say nothing more
DRAWN = 40  # lags that are all drawn; of more so many, the rest in proportion: a cycle has models of its own
TOGETHER = 8  # lags worked on at once: as many as still fit a processor's cache
VALUES = 512  # values drawn a quantile: cheap, being the same for every step
COMPOUNDS = 0.1  # of its mean that a series must stay above to be said to grow in proportion to its level


@dataclass
class Past:
    """A batch of equally long series and what the models derive from it once.

    Attributes
    ----------
    x : ndarray, shape (series, time)
        Values on a regular grid, oldest first.
    step : ndarray, shape (series, time)
        Absolute change to each value from the one before.
    activity : ndarray, shape (series, time)
        Mean absolute change over the twelfth of the record (a month of a year) that ends at each time.
    slope : ndarray, shape (series, time)
        Robust growth a step over the quarter of the record that ends at each time.
    logs : ndarray, shape (series, time)
        Logarithms, held above a thousandth of the mean.
    resets : dict of int to ndarray
        Of sawtooth series, by index: the indices of the first values after their resets.
    """

    x: Floats
    step: Floats = field(init=False)
    activity: Floats = field(init=False)
    slope: Floats = field(init=False)
    logs: Floats = field(init=False)
    resets: dict[int, Ints] = field(init=False)
    _usual: dict[int, Floats] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.step = np.abs(np.diff(self.x, axis=1, prepend=self.x[:, :1]))
        self.activity = trailing_mean(self.step, self.month)
        self.slope = recent_slope(self.x, self.quarter)
        self.resets = resets(self.x)
        usual = np.abs(self.x).mean(axis=1, keepdims=True)
        self.logs = np.log(np.maximum(self.x, np.where(usual > 0, 1e-3 * usual, 1.0)))

    def usual(self, cycle: int) -> Floats:
        """Mean of the NEWEST values at the phase of each time, shape (series, time); itself for those there are not.

        Worked out once for each cycle.
        """
        if cycle not in self._usual:
            total = self.x.copy()
            for back in range(cycle, NEWEST * cycle, cycle):
                total[:, back:] += self.x[:, :-back]
                total[:, :back] += self.x[:, :back]
            self._usual[cycle] = total / NEWEST
        return self._usual[cycle]

    @property
    def month(self) -> int:
        """A twelfth of the record, in steps."""
        return max(int(self.x.shape[1]) // 12, 2)

    @property
    def quarter(self) -> int:
        """A quarter of the record, in steps."""
        return max(int(self.x.shape[1]) // 4, 2)

    @property
    def compounds(self) -> npt.NDArray[np.bool_]:
        """Whether a series keeps far enough from zero for its logarithm to mean anything, shape (series,)."""
        return np.asarray(self.x.min(axis=1) > COMPOUNDS * np.abs(self.x).mean(axis=1))


Quantiles = Callable[[Past, int, Ints], Floats]


@dataclass(frozen=True)
class Model:
    """A way to forecast.

    Attributes
    ----------
    name : str
        For people.
    family : {"moving", "standing", "seasonal"}
        What it takes to stay the same.
    credit : float
        Weight before any evidence.
    quantiles : callable
        From a past, the index of its last known value, and steps ahead, to quantiles
        of shape (series, steps, quantiles).
    by_calendar : bool
        Whether it forecasts ordinary days, and what others add is put back.
    """

    name: str
    family: Literal["moving", "sawtooth", "standing", "seasonal"]
    credit: float
    quantiles: Quantiles
    by_calendar: bool = False


@lru_cache(maxsize=4096)
def ages(available: int, half_life: float, most: int) -> Ints:
    """Ages to draw so that plain quantiles of the draw are those of a memory that fades.

    Parameters
    ----------
    available : int
        How many ages there are, 0 the newest.
    half_life : float
        Steps after which a memory counts half; infinity never forgets.
    most : int
        How many to draw.

    Returns
    -------
    ndarray of int, shape (min(available, most),)
        Quantiles of the exponential weights: nothing is random.
    """
    count = min(available, most)
    share = (np.arange(count) + 0.5) / count
    if np.isinf(half_life):
        drawn = share * available
    else:
        drawn = -np.log2(1 - share * (1 - 0.5 ** (available / half_life))) * half_life
    return np.minimum(drawn.astype(np.int64), available - 1)


def quantiles_of(samples: Floats) -> Floats:
    """Quantiles of the last axis, which is sorted in place, at LEVELS: the i-th of n stands for (i - 1/2) / n [2]_."""
    samples.sort(axis=-1)
    below, above, part = _places(samples.shape[-1])
    return between(samples.take(below, -1), samples.take(above, -1), part)


def between(lower: Floats, upper: Floats, part: Floats) -> Floats:
    """Part of the way from lower to upper values; those are used up."""
    upper -= lower
    upper *= part
    upper += lower
    return upper


@lru_cache(maxsize=1024)
def _places(count: int) -> tuple[Ints, Ints, Floats]:
    """Where the quantiles of `count` sorted samples lie: between which two, and how far along."""
    place = np.clip(LEVELS * count - 0.5, 0, count - 1)
    below = place.astype(np.int64)
    return below, np.minimum(below + 1, count - 1), place - below


def trailing_mean(x: Floats, window: int) -> Floats:
    """Mean of the last `window` values at each time, of as many as there are at the beginning."""
    total = np.concatenate([np.zeros((len(x), 1)), np.cumsum(x, axis=1)], axis=1)
    end = np.arange(1, x.shape[1] + 1)
    start = np.maximum(end - window, 0)
    return np.asarray(np.maximum(total[:, 1:] - total[:, start], 0) / (end - start))


def recent_slope(x: Floats, window: int) -> Floats:
    """Median of nine half-window slopes inside the window that ends at each time; one jump cannot tilt it.

    Returns
    -------
    ndarray, shape (series, time)
        Growth a step; zero while the window is not yet full.
    """
    half = max(window // 2, 1)
    gain = (x[:, half:] - x[:, :-half]) / half  # column i ends at time i + half
    full = x.shape[1] - window
    back = np.unique(np.linspace(0, window - half, 9).astype(np.int64))
    slope = np.zeros_like(x)
    inside = np.stack([gain[:, window - half - b :][:, :full] for b in back], axis=2)
    inside.sort(axis=2)  # for so few, far quicker than np.median
    slope[:, window:] = (inside[..., (back.size - 1) // 2] + inside[..., back.size // 2]) / 2
    return slope


def _longest(origin: int, warm: int) -> int:
    """The longest lag that leaves memories: half of what there is."""
    return max((origin + 1 - warm) // 2, 1)


def _of_errors(
    past: Past,
    origin: int,
    steps: Ints,
    warm: int,
    error: Callable[[Ints, Ints], Floats],
    every: int = 1,
) -> Floats:
    """Quantiles of what a rule was off by at every past time, those of the last half of the record counting double.

    Lags stop at half of what there is, so that memories remain; further on the median goes straight on and the band
    widens as that of a random walk.

    Parameters
    ----------
    warm : int
        First time at which the rule could be applied.
    error : callable
        From ends and starts, both of shape (lags, memories), to errors of shape (series, lags, memories).
    every : int
        Steps between the starts that are remembered; a lag keeps its phase in a cycle of so many steps.
    """
    longest = _longest(origin, warm)
    cycle = max(longest // every, 1) * every
    lags = np.where(steps <= longest, steps, steps - -(-(steps - longest) // every) * every)
    wanted, place = np.unique(lags, return_inverse=True)
    drawn = np.union1d(wanted if every > 1 else wanted[_row(wanted.size)], cycle)
    known = np.empty((len(past.x), drawn.size, len(LEVELS)))
    starts = []
    for lag in drawn:
        back = -(-int(lag) // every) * every  # the newest start that has the phase and whose end is known
        count = max((origin - warm - back) // every + 1, 1)
        starts.append(origin - back - every * ages(count, (origin + 1) / 2 / every, GAINS))
    for _, alike in groupby(range(drawn.size), key=lambda column: (starts[column].size, column // TOGETHER)):
        columns = list(alike)
        start = np.stack([starts[column] for column in columns])
        known[:, columns[0] : columns[-1] + 1] = quantiles_of(error(start + drawn[columns, None], start))
    slope = known[:, np.searchsorted(drawn, cycle), MEDIAN, None, None] / cycle
    right = np.searchsorted(drawn, wanted)
    if (drawn[right] > wanted).any():
        right = np.maximum(right, 1)
        part = (wanted - drawn[right - 1]) / (drawn[right] - drawn[right - 1])
        out = between(known.take(right - 1, 1), known.take(right, 1), part[:, None]).take(place, 1)
    else:
        out = known.take(right[place], 1)
    if steps[-1] <= longest:
        return out
    middle = out[..., MEDIAN, None]
    further = (steps - lags)[:, None]
    return np.asarray(
        middle + slope * further + (out - middle) * np.sqrt(np.maximum(steps / longest, 1))[:, None]
    )


@lru_cache(maxsize=256)
def _row(count: int) -> Ints:
    """Which of so many lags are drawn: all of a few, else the first ones and then in a geometric row."""
    if count <= DRAWN:
        return np.arange(count)
    return np.unique(np.round(np.geomspace(1, count, DRAWN)).astype(np.int64)) - 1


def drift(past: Past, origin: int, steps: Ints) -> Floats:
    """From here, as much as it gained before in as many steps."""
    x = past.x
    return x[:, origin, None, None] + _of_errors(
        past, origin, steps, 0, lambda end, start: x.take(end, 1) - x.take(start, 1)
    )


def active_drift(past: Past, origin: int, steps: Ints) -> Floats:
    """Drift, each past gain scaled by the activity of now against that of then.

    The square root stands half-way between a burst that lasts and one that is over.
    """
    x = past.x
    usual = past.step[:, : origin + 1].mean(axis=1, keepdims=True)
    scale = np.sqrt(past.activity[:, : origin + 1] + np.where(usual > 0, usual, 1.0))
    now = scale[:, origin, None, None]

    def error(end: Ints, start: Ints) -> Floats:
        return np.asarray((x.take(end, 1) - x.take(start, 1)) * (now / scale.take(start, 1)))

    return x[:, origin, None, None] + _of_errors(past, origin, steps, past.month, error)


def trend(past: Past, origin: int, steps: Ints) -> Floats:
    """On along the robust slope of the last quarter, off by what that was off by before."""
    x, slope = past.x, past.slope

    def error(end: Ints, start: Ints) -> Floats:
        return np.asarray(x.take(end, 1) - x.take(start, 1) - (end - start) * slope.take(start, 1))

    ahead = steps[:, None] * slope[:, origin, None, None]
    return np.asarray(x[:, origin, None, None] + ahead + _of_errors(past, origin, steps, past.quarter, error))


def fading_trend(past: Past, origin: int, steps: Ints) -> Floats:
    """On along the same slope, of which half is left after a month: growth that comes to rest [3]_.

    Only as far as the past bears it out: what faded no further there goes straight on.
    """
    x, slope = past.x, past.slope
    kept = 0.5 ** (1 / past.month)

    def worth(lag: Ints) -> Floats:
        """Steps of growth that are left of so many."""
        return np.asarray(kept * (1 - kept**lag) / (1 - kept))

    def error(end: Ints, start: Ints) -> Floats:
        return np.asarray(x.take(end, 1) - x.take(start, 1) - worth(end - start) * slope.take(start, 1))

    seen = _longest(origin, past.quarter)
    near = np.minimum(steps, seen)
    ahead = (worth(near) * (1 + (steps - near) / seen))[:, None] * slope[:, origin, None, None]
    return np.asarray(x[:, origin, None, None] + ahead + _of_errors(past, origin, steps, past.quarter, error))


def growth(past: Past, origin: int, steps: Ints) -> Floats:
    """Drift of the logarithm: gains in proportion to the level, as of all that compounds.

    Past the factor that the whole record spans, it goes straight on: nothing doubles for ever.
    """
    logs = past.logs
    seen = np.ptp(logs[:, : origin + 1], axis=1)[:, None, None]
    gains = _of_errors(past, origin, steps, 0, lambda end, start: logs.take(end, 1) - logs.take(start, 1))
    factor = np.exp(np.minimum(gains, seen)) * (1 + np.maximum(gains - seen, 0))
    return np.asarray(past.x[:, origin, None, None] * factor)


def standing(memory: float) -> Quantiles:
    """Quantiles of the values themselves, remembered with a half-life of `memory` times the record."""

    def quantiles(past: Past, origin: int, steps: Ints) -> Floats:
        drawn = ages(origin + 1, memory * (origin + 1), VALUES)
        values = quantiles_of(past.x.take(origin - drawn, 1))
        return np.broadcast_to(values[:, None], (len(values), len(steps), len(LEVELS)))

    return quantiles


def seasonal(cycle: int) -> Quantiles:
    """Quantiles of the values at the same phase of a cycle of `cycle` steps, all remembered alike."""

    def quantiles(past: Past, origin: int, steps: Ints) -> Floats:
        out = np.empty((len(past.x), len(steps), len(LEVELS)))
        phases = steps % cycle
        for phase in np.unique(phases):
            newest = origin - (-int(phase)) % cycle
            out[:, phases == phase] = quantiles_of(past.x[:, newest::-cycle].copy())[:, None]
        return out

    return quantiles


def seasonal_drift(cycle: int) -> Quantiles:
    """Drift, of the gains alone that set out from the same phase of a cycle of `cycle` steps."""

    def quantiles(past: Past, origin: int, steps: Ints) -> Floats:
        x = past.x
        gains = _of_errors(
            past, origin, steps, 0, lambda end, start: x.take(end, 1) - x.take(start, 1), every=cycle
        )
        return np.asarray(x[:, origin, None, None] + gains)

    return quantiles


def seasonal_level(cycle: int) -> Quantiles:
    """From the mean of the newest values at the same phase of a cycle, as far off as that was before.

    A single value is a whim, and the values of a year are those of another level: between the two.
    """

    def quantiles(past: Past, origin: int, steps: Ints) -> Floats:
        x, usual = past.x, past.usual(cycle)

        def newest(lag: Ints, start: Ints) -> Ints:
            """The newest time, from a start back, at the phase of so many steps on."""
            return np.asarray(start + lag - -(-lag // cycle) * cycle)

        def error(end: Ints, start: Ints) -> Floats:
            return np.asarray(x.take(end, 1) - usual.take(newest(end - start, start), 1))

        ahead = usual.take(newest(steps, np.array([origin])), 1)[..., None]
        return np.asarray(ahead + _of_errors(past, origin, steps, NEWEST * cycle, error))

    return quantiles


MOVING = (
    Model("drift", "moving", 1 / 5, drift),
    Model("drift by activity", "moving", 1 / 5, active_drift),
    Model("trend", "moving", 1 / 10, trend),
    Model("fading trend", "moving", 1 / 10, fading_trend),
    Model("compound growth", "moving", 1 / 5, growth),
)
# The shorter its memory, the more a model must have proved: what was quiet for days may not stay so for months.
STANDING = (
    Model("level of days", "standing", 0.05, standing(0.03)),
    Model("level of weeks", "standing", 0.30, standing(1 / 12)),
    Model("level of all times", "standing", 0.60, standing(float("inf"))),
)
CYCLES = 4  # times that a cycle must have been seen
NEWEST = 4  # cycles that say what a phase is at present
CYCLES_OF_LEVEL = 3 * NEWEST  # that must have been seen to tell how far off that is


def fitting(length: int, seasons: tuple[int, ...]) -> tuple[Model, ...]:
    """The models for a record of some length; the families have the same credit, about 1."""
    cycles = [cycle for cycle in seasons if cycle > 1 and length >= CYCLES * cycle]
    return (
        *MOVING,
        *STANDING,
        *(
            Model(f"drift in a cycle of {c}", "moving", 1 / 5 / len(cycles), seasonal_drift(c))
            for c in cycles
        ),
        *(
            Model(f"level in a cycle of {c}", "moving", 1 / 5 / len(cycles), seasonal_level(c))
            for c in cycles
            if length >= CYCLES_OF_LEVEL * c
        ),
        *(Model(f"cycle of {c}", "seasonal", 1 / len(cycles), seasonal(c)) for c in cycles),
    )
