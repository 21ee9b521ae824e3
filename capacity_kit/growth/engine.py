"""One forecast from many models: each weighed, series by series, by what it would have said before.

The loss is the pinball loss of all quantiles, whose minimum is the true distribution [1]_. Quantiles are averaged
level by level, which keeps them in order and keeps the shape of bands that disagree on the place [2]_.

References
----------
.. [1] Gneiting, Raftery (2007), Strictly proper scoring rules, prediction, and estimation, JASA 102.
.. [2] Lichtendahl, Grushka-Cockayne, Winkler (2013), Is it better to average probabilities or quantiles?
   Management Science 59.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capacity_kit.growth import runway
from capacity_kit.growth.calibrate import gain_memories, widened, widening, with_shifts
from capacity_kit.growth.models import LEVELS, Model, Past, fitting, growth
from capacity_kit.growth.regimes import levelled, shifts

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FEWEST_POINTS = 12  # below, there is no past to forecast from
LONGEST = 4096  # most recent points that are looked at, or four horizons: what is older tells little and costs as much
CHUNK = 256  # series worked on at once: more no longer save time, only memory
EVERY_STEP = (
    256  # steps ahead that are all worked out; of longer horizons as many, and those between in proportion
)

ORIGINS = 12  # at which the models are judged, dense near the present, where their differences show
STEPS_JUDGED = 8  # steps ahead at each of them
# A loss under a hundredth of what the seasonal naive method is off by is as good as none: without a floor a series that
# stood still once would trust whoever said so without end.
AS_GOOD_AS_NONE = 0.01
# Losses are averaged by their square roots: half-way between the mean, which one bad origin decides, and the logarithm,
# which one lucky origin decides.
POWER = 0.5
# Evidence grows with how often the record holds the stretch that is judged, and ends with the number of origins. More
# trust (2) follows noise, less (1) gives up sharpness; both change the loss by some two in a hundred.
TRUST = 1.5
# A series that moved has a band: a thousandth of its mean step, growing as that of a random walk.
THINNEST = 1e-3


@dataclass(frozen=True)
class Forecast:
    """What a batch of series will do.

    Attributes
    ----------
    quantiles : ndarray, shape (series, horizon, 7)
        At the levels of ``models.LEVELS``, in each series' unit; never below zero, never falling from one level to the
        next. NaN where there are fewer than FEWEST_POINTS measurements.
    last : ndarray, shape (series,)
        The newest measurement; NaN without any.
    marks : ndarray, shape (marks,)
        Steps at which the heights of paths are kept.
    peaks : ndarray, shape (series, marks, paths)
        How high each path has been by then, sorted.
    models : tuple of str
        Names of the models.
    weights : ndarray, shape (series, models)
        Each model's part in the median; they sum to 1.
    shifts : ndarray of int, shape (series,)
        Level shifts that were taken out of the past.
    regime_start : ndarray of int, shape (series,)
        Index in the history of the first value after the newest of them; 0 without any.
    points, left_out : ndarray of int, shape (series,)
        Measurements that were used, and those that were not: not finite, or below zero, which no usage is.
    """

    quantiles: Floats
    last: Floats
    marks: Ints
    peaks: Floats
    models: tuple[str, ...]
    weights: Floats
    shifts: Ints
    regime_start: Ints
    points: Ints
    left_out: Ints

    @property
    def horizon(self) -> int:
        """Steps ahead."""
        return int(self.quantiles.shape[1])

    def of(self, series: npt.ArrayLike) -> Forecast:
        """The forecast of some of the series, by index, in that order and as often as named."""
        at = np.asarray(series, np.int64)
        return Forecast(
            self.quantiles[at],
            self.last[at],
            self.marks,
            self.peaks[at],
            self.models,
            self.weights[at],
            self.shifts[at],
            self.regime_start[at],
            self.points[at],
            self.left_out[at],
        )

    def reached(self, levels: npt.ArrayLike) -> Floats:
        """Probability that each series has reached its level by each step, shape (series, horizon).

        Parameters
        ----------
        levels : array_like, shape (series,)
            In each series' unit. A level that has been reached already has probability 1 throughout.
        """
        wanted = np.broadcast_to(np.asarray(levels, float), self.last.shape)
        return runway.reached(self.peaks, self.marks, self.last, wanted, self.horizon)

    def runway(self, levels: npt.ArrayLike, share: float = 0.5) -> Floats:
        """Steps until each series has reached its level with a probability of `share`, shape (series,).

        0 where it is there already; infinity where it does not come to that within the horizon; NaN where nothing is
        known.
        """
        first = runway.first_step(self.reached(levels), share)
        return np.where(self.last >= np.asarray(levels, float), 0.0, first)


def forecast(histories: Sequence[npt.ArrayLike], horizon: int, seasons: int | Sequence[int] = ()) -> Forecast:
    """Forecast a batch of series.

    Parameters
    ----------
    histories : sequence of array_like, each of shape (time,)
        Usage on a regular grid, oldest first; lengths may differ. What is not finite or below zero is a gap, and a gap
        holds the value before it. Each series is forecast for itself alone: neither order nor company matters.
    horizon : int
        Steps ahead; may be longer than the histories.
    seasons : int or sequence of int
        Steps of the cycles that may be there: (24, 168) for hours, 7 for days.

    Raises
    ------
    ValueError
        If the horizon or a season is less than one step, or a history is not one-dimensional.
    """
    cycles = (seasons,) if isinstance(seasons, int) else tuple(seasons)
    if horizon < 1:
        raise ValueError(f"the horizon must be at least one step, not {horizon}")
    if any(cycle < 1 for cycle in cycles):
        raise ValueError(f"a season must be at least one step, not {min(cycles)}")
    count = len(histories)
    names = tuple(model.name for model in fitting(LONGEST**2, cycles))
    marks = runway.marks(horizon)
    out = Forecast(
        np.full((count, horizon, len(LEVELS)), np.nan),
        np.full(count, np.nan),
        marks,
        np.full((count, marks.size, runway.PATHS), np.nan),
        names,
        np.zeros((count, len(names))),
        *(np.zeros(count, np.int64) for _ in range(4)),
    )
    by_length: dict[int, list[int]] = {}
    most = max(LONGEST, 4 * horizon)
    for i, history in enumerate(histories):
        values = np.asarray(history, float)
        if values.ndim != 1:
            raise ValueError(f"history {i} has {values.ndim} dimensions, not one")
        usable = np.isfinite(values) & (values >= 0)
        out.points[i] = usable.sum()
        out.left_out[i] = values.size - out.points[i]
        if out.points[i]:
            out.last[i] = values[usable][-1]
        if out.points[i] >= FEWEST_POINTS:
            by_length.setdefault(min(values.size - int(usable.argmax()), most), []).append(i)
    for length, members in by_length.items():
        for start in range(0, len(members), CHUNK):
            chunk = members[start : start + CHUNK]
            x = np.stack([_held(np.asarray(histories[i], float)[-length:]) for i in chunk])
            _forecast_chunk(x, np.array(chunk), horizon, cycles, out)
    return out


def _held(values: Floats) -> Floats:
    """Gaps hold the value before them; a gap at the beginning, which only a cut can leave, the first one after."""
    usable = np.isfinite(values) & (values >= 0)
    newest = np.maximum.accumulate(np.where(usable, np.arange(values.size), -1))
    return values[np.where(newest < 0, usable.argmax(), newest)]


def _forecast_chunk(raw: Floats, members: Ints, horizon: int, cycles: tuple[int, ...], out: Forecast) -> None:
    """Forecast equally long series and write the results to their places."""
    length = raw.shape[1]
    # A power of two: exact, and 1e-300 and 1e300 alike become numbers that can be squared.
    unit = np.exp2(np.floor(np.log2(np.maximum(raw.max(axis=1, keepdims=True), np.finfo(float).tiny))))
    raw = raw / unit
    found = shifts(raw)
    past = Past(levelled(raw, found))
    known = fitting(length, cycles)
    steps = _steps(horizon)
    weights = _weights(past, known, horizon, min(cycles, default=1))
    quantiles = np.zeros((len(raw), steps.size, len(LEVELS)))
    cycle = widening(np.array([length / min(cycles, default=1)]))
    for weight, model in zip(weights.T, known, strict=True):
        said = model.quantiles(past, length - 1, steps)
        factors = widening(gain_memories(said, steps, length)) if model.family == "moving" else cycle
        quantiles += np.where(weight > 0, weight, 0)[:, None, None] * widened(said, factors)
    quantiles = _opened(with_shifts(quantiles, found, steps, length), raw, steps)
    highest = runway.peaks(past.x, quantiles, steps, out.marks)
    if steps.size < horizon:
        quantiles = _between(quantiles, steps, horizon)
    paths = highest.shape[-1]
    spread = np.arange(out.peaks.shape[-1]) * paths // out.peaks.shape[-1]
    out.quantiles[members] = quantiles * unit[..., None]
    out.peaks[members] = highest[..., spread] * unit[..., None]
    columns = np.array([out.models.index(model.name) for model in known])
    out.weights[members[:, None], columns] = weights
    out.shifts[members] = found.count
    out.regime_start[members] = found.regime_start


def _steps(horizon: int) -> Ints:
    if horizon <= EVERY_STEP:
        return np.arange(1, horizon + 1)
    return np.unique(np.round(np.geomspace(1, horizon, EVERY_STEP)).astype(np.int64))


def _between(quantiles: Floats, steps: Ints, horizon: int) -> Floats:
    """Quantiles at every step, in proportion between those worked out."""
    at = np.arange(1, horizon + 1)
    right = np.clip(np.searchsorted(steps, at), 1, steps.size - 1)
    part = ((at - steps[right - 1]) / (steps[right] - steps[right - 1]))[:, None]
    return np.asarray(quantiles[:, right - 1] * (1 - part) + quantiles[:, right] * part)


def _weights(past: Past, known: tuple[Model, ...], horizon: int, cycle: int) -> Floats:
    """Each model's weight, shape (series, models): its credit, times its past loss to a negative power."""
    x, length = past.x, past.x.shape[1]
    back = min(cycle, length // 4)
    usual = np.abs(x[:, back:] - x[:, :-back]).mean(axis=1, keepdims=True)
    usual = np.where(usual > 0, usual, 1.0)
    furthest = min(max(horizon, length // 8), length // 2)
    cuts = np.unique(np.round(np.geomspace(1, furthest, ORIGINS)).astype(np.int64))
    total = np.zeros((len(x), len(known)))
    for cut in cuts:
        steps = np.unique(np.round(np.linspace(1, min(cut, horizon), STEPS_JUDGED)).astype(np.int64))
        origin = length - 1 - int(cut)
        truth = x[:, origin + steps, None]
        for column, model in enumerate(known):
            off = truth - np.maximum(model.quantiles(past, origin, steps), 0)
            loss = np.maximum(LEVELS * off, (LEVELS - 1) * off).mean(axis=(1, 2))
            total[:, column] += (loss / usual[:, 0] + AS_GOOD_AS_NONE) ** POWER
    loss = np.log(total / cuts.size) / POWER
    for column, model in enumerate(known):
        if model.family != "moving":
            loss[:, column] += np.log1p(_unseen(x, back))
        elif model.quantiles is growth:
            loss[~past.compounds, column] = np.inf
    trust = min(TRUST * length / furthest, ORIGINS)
    evidence = np.log([model.credit for model in known]) - trust * (loss - loss.min(axis=1, keepdims=True))
    weights = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _unseen(x: Floats, cycle: int) -> Floats:
    """How far the present lies outside all that was seen before the last cycle, in ranges of that; shape (series,).

    A model that expects the series back where it was has no precedent for that from here.
    """
    seen = x[:, :-cycle]
    low, high, now = seen.min(axis=1), seen.max(axis=1), x[:, -1]
    outside = np.maximum(np.maximum(low - now, now - high), 0)
    return np.asarray(outside / np.where(high > low, high - low, np.where(outside > 0, outside / 1000, 1.0)))


def _opened(quantiles: Floats, raw: Floats, steps: Ints) -> Floats:
    """Quantiles in order, none below zero, and at least THINNEST apart if the series has ever moved."""
    ordered = np.maximum.accumulate(np.maximum(quantiles, 0), axis=-1)
    thinnest = THINNEST * np.abs(np.diff(raw, axis=1)).mean(axis=1)[:, None] * np.sqrt(steps)
    missing = np.maximum(thinnest - (ordered[..., -1] - ordered[..., 0]), 0)[..., None]
    return np.asarray(np.maximum(ordered + missing * (LEVELS - 0.5), 0))
