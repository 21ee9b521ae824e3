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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import numpy.typing as npt

from capacity_kit.growth import runway
from capacity_kit.growth.calendar import ORDINARY, Apart, Calendar, apart, by_calendar
from capacity_kit.growth.calibrate import (
    disagreeing,
    gain_memories,
    going_on,
    jumping,
    widened,
    widening,
    with_shifts,
)
from capacity_kit.growth.models import LEVELS, MEDIAN, Model, Past, fitting, growth
from capacity_kit.growth.regimes import levelled, pace, shifts
from capacity_kit.growth.sawtooth import SAWTOOTH, envelope

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FEWEST_POINTS = 12  # below, there is no past to forecast from
LONGEST = 4096  # most recent points that are looked at, or four horizons: what is older tells little and costs as much
CHUNK = 128  # series worked on at once: more no longer save time, only memory
EVERY_STEP = 400  # steps ahead that are all worked out; of longer horizons so many, the rest in proportion

ORIGINS = 12  # at which the models are judged, dense near the present, where their differences show
STEPS_JUDGED = 8  # steps ahead at each of them
_ALIKE: Floats = np.ones(len(LEVELS))  # a product with it sums a short axis twice as fast as a sum does
# A loss under a hundredth of what the seasonal naive method is off by is as good as none: without a floor a series that
# stood still once would trust whoever said so without end.
AS_GOOD_AS_NONE = 0.01
# Losses are averaged by their square roots: half-way between the mean, which one bad origin decides, and the logarithm,
# which one lucky origin decides.
POWER = 0.5
# Evidence grows with how often the record holds the stretch that is judged, and ends with the number of origins. More
# trust follows noise, less gives up sharpness: at 1 and at 3 the loss is two in a hundred more on one task or another.
TRUST = 2.0
# What other series say counts as much as one more such stretch of a series' own past: up to eight in a hundred of the
# loss where there are two months, next to nothing where there is a year.
COMPANY = 2.0
HEARD = 128  # of a company, picked evenly: twice as many change the loss by less than one in a thousand
OUT = 3.0  # twenty times the best loss: a model that is that far off is no further off for being worse
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
    paths : ndarray, shape (series, horizon, paths), or None
        Futures with the forecast's quantiles at every step and the past's dependence over time, if they were asked for.
        Series of one length lend their ranks from the same past stretches, so that path by path they belong together.
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
    paths: Floats | None = None

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
            None if self.paths is None else self.paths[at],
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


@dataclass(frozen=True)
class Prior:
    """What a company of series says of the models, for those of its members that are too short to say it themselves.

    Attributes
    ----------
    disadvantage : mapping of str to float
        By model: how much worse than each series' best, as the mean logarithm of the losses' ratio; at most OUT.
    series : int
        How many series were heard.
    """

    disadvantage: Mapping[str, float]
    series: int


NOBODY = Prior({}, 0)


def learn(
    histories: Sequence[npt.ArrayLike],
    horizon: int,
    seasons: int | Sequence[int] = (),
    calendar: Calendar | None = None,
) -> Prior:
    """A first pass over a company of series: those of a tenant, or of a resource type; HEARD of them are heard.

    Given to every :func:`forecast` of its members, it makes them learn from each other and yet leaves each forecast
    the same, however the series are divided among chunks and workers.

    Parameters
    ----------
    histories, horizon, seasons, calendar
        As of :func:`forecast`.
    """
    cycles = _checked(horizon, seasons)
    total: dict[str, float] = {}
    heard: dict[str, int] = {}
    count = 0
    picked = np.unique(np.linspace(0, max(len(histories) - 1, 0), HEARD).astype(np.int64))[: len(histories)]
    if calendar is not None:
        calendar = calendar.of(calendar.lasts(len(histories))[picked])
    for members, raw, kinds, _ in _chunks([_usable(histories[i], i) for i in picked], horizon, calendar):
        x = raw / _unit(raw)
        past = Past(levelled(x, shifts(x, min(cycles, default=1))))
        ordinary = None if kinds is None else apart(past.x, kinds, min(cycles, default=1))
        # Few are sawteeth, and what they have to say of that model their resets say.
        known = tuple(model for model in _models(past, cycles, ordinary) if model is not SAWTOOTH)
        loss, _ = _losses(past, ordinary, known, horizon, min(cycles, default=1))
        behind = np.minimum(loss - loss.min(axis=1, keepdims=True), OUT)
        for model, mine in zip(known, behind.T, strict=True):
            total[model.name] = total.get(model.name, 0.0) + float(mine.sum())
            heard[model.name] = heard.get(model.name, 0) + len(members)
        count += len(members)
    return Prior({name: total[name] / heard[name] for name in total}, count)


def forecast(
    histories: Sequence[npt.ArrayLike],
    horizon: int,
    seasons: int | Sequence[int] = (),
    prior: Prior | Sequence[Prior] = NOBODY,
    keep_paths: bool = False,
    calendar: Calendar | None = None,
    weighed: int | None = None,
) -> Forecast:
    """Forecast a batch of series.

    Parameters
    ----------
    histories : sequence of array_like, each of shape (time,)
        Usage on a regular grid, oldest first; lengths may differ. What is not finite or below zero is a gap, crossed in
        a straight line; one at the end is forecast like all that comes after it, and steps count from the end of the
        history. Each series is forecast for itself alone: neither order nor company matters.
    horizon : int
        Steps ahead; may be longer than the histories.
    seasons : int or sequence of int
        Steps of the cycles that may be there: (24, 168) for hours, 7 for days.
    prior : Prior, or sequence of Prior
        From :func:`learn`, for series with a short past: of the one company that all belong to, or one a history.
    keep_paths : bool
        Keep the sample paths, for sums of series: ``PATHS`` times the memory of a median.
    calendar : Calendar, optional
        Of steps that are days: the models may then know the ends of months and holidays. Series that end on one day
        are worked on together.
    weighed : int, optional
        Steps ahead for which the models are weighed, by default the horizon. To score the first steps of a longer
        forecast, its weights are wanted and no more than those steps.

    Raises
    ------
    ValueError
        If a number of steps is not whole or less than one, a history is not one-dimensional, or priors or calendar are
        those of another number of series.
    """
    cycles = _checked(horizon, seasons)
    if weighed is not None:
        _checked(weighed, ())
    usable = [_usable(history, i) for i, history in enumerate(histories)]
    count = len(usable)
    priors = one_each(prior, count)
    ever = fitting(LONGEST**2, cycles)
    names = tuple(m.name for m in (*ever, SAWTOOTH, *(by_calendar(ever) if calendar is not None else ())))
    marks = runway.marks(horizon)
    out = Forecast(
        np.full((count, horizon, len(LEVELS)), np.nan),
        np.array([values[known][-1] if known.any() else np.nan for values, known in usable]),
        marks,
        np.full((count, marks.size, runway.PATHS), np.nan),
        names,
        np.zeros((count, len(names))),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.array([known.sum() for _, known in usable], np.int64),
        np.array([known.size - known.sum() for _, known in usable], np.int64),
        np.full((count, horizon, runway.PATHS), np.nan) if keep_paths else None,
    )
    for members, raw, kinds, gap in _chunks(usable, horizon, calendar):
        own = [priors[i] for i in members]
        _forecast_chunk(raw, members, horizon, gap, weighed or horizon, cycles, own, kinds, out)
    return out


def one_each(prior: Prior | Sequence[Prior], series: int) -> list[Prior]:
    """A prior for each of so many series."""
    priors = [prior] * series if isinstance(prior, Prior) else list(prior)
    if len(priors) != series:
        raise ValueError(f"{series} histories but {len(priors)} priors")
    return priors


Usable = tuple[Floats, npt.NDArray[np.bool_]]


def _checked(horizon: int, seasons: int | Sequence[int]) -> tuple[int, ...]:
    cycles = tuple(seasons) if isinstance(seasons, Sequence | np.ndarray) else (seasons,)
    for steps in (horizon, *cycles):
        if not isinstance(steps, Integral):
            raise ValueError(f"a horizon and a season are whole numbers of steps, not {steps}")
    if horizon < 1:
        raise ValueError(f"the horizon must be at least one step, not {horizon}")
    if any(cycle < 1 for cycle in cycles):
        raise ValueError(f"a season must be at least one step, not {min(cycles)}")
    return cycles


def _usable(history: npt.ArrayLike, number: int) -> Usable:
    """The values of a history, and which of them are measurements."""
    values = np.asarray(history, np.float64)
    if values.ndim != 1:
        raise ValueError(f"history {number} has {values.ndim} dimensions, not one")
    return values, np.isfinite(values) & (values >= 0)


def _chunks(
    usable: Sequence[Usable], horizon: int, calendar: Calendar | None
) -> Iterator[tuple[Ints, Floats, Ints | None, int]]:
    """Series that can be forecast, equally long ones together, and of one calendar.

    Their indices, values of shape (series, time), kinds of days of shape (time + gap + horizon,), and how many steps
    of their histories follow the newest measurement: the gap.
    """
    most = max(LONGEST, 4 * horizon)
    last = np.zeros(len(usable), np.int64) if calendar is None else calendar.lasts(len(usable))
    # With a calendar all steps are worked out: of long horizons fewer series at once, and no more memory.
    together = CHUNK if calendar is None else max(CHUNK * EVERY_STEP // max(horizon, EVERY_STEP), 1)
    alike: dict[tuple[int, int, int], list[int]] = {}
    for i, (values, known) in enumerate(usable):
        if known.sum() >= FEWEST_POINTS:
            gap = int(known[::-1].argmax())
            length = min(values.size - gap - int(known.argmax()), most)
            alike.setdefault((length, gap, int(last[i])), []).append(i)
    for (length, gap, end), members in alike.items():
        kinds = None if calendar is None else calendar.kinds(end + 1 - length - gap, length + gap + horizon)
        for start in range(0, len(members), together):
            chunk = members[start : start + together]
            of = [slice(usable[i][0].size - gap - length, usable[i][0].size - gap) for i in chunk]
            raw = np.stack(
                [_bridged(usable[i][0][s], usable[i][1][s]) for i, s in zip(chunk, of, strict=True)]
            )
            yield np.array(chunk), raw, kinds, gap


def _bridged(values: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """Gaps crossed in a straight line, so that what was gained across them is right."""
    if known.all():
        return values
    at = np.flatnonzero(known)
    return np.asarray(np.interp(np.arange(values.size), at, values[at]))


def _unit(raw: Floats) -> Floats:
    """Powers of two, shape (series, 1), that bring each series near one: dividing by them loses no digit."""
    largest = np.maximum(raw.max(axis=1, keepdims=True), np.finfo(float).tiny)
    return np.asarray(np.exp2(np.floor(np.log2(largest))))


def _forecast_chunk(
    raw: Floats,
    members: Ints,
    horizon: int,
    gap: int,
    weighed: int,
    cycles: tuple[int, ...],
    priors: Sequence[Prior],
    kinds: Ints | None,
    out: Forecast,
) -> None:
    """Forecast equally long series and write the results to their places."""
    length = raw.shape[1]
    unit = _unit(raw)
    raw = raw / unit
    found = shifts(raw, min(cycles, default=1))
    past = Past(levelled(raw, found))
    ordinary = None if kinds is None else apart(past.x, kinds, min(cycles, default=1))
    known = _models(past, cycles, ordinary)
    wanted = _steps(horizon, ordinary)
    steps = np.append(_steps(gap, ordinary), gap + wanted) if gap else wanted
    weights = _weights(past, ordinary, known, weighed, min(cycles, default=1), priors)
    quantiles = np.zeros((len(raw), steps.size, len(LEVELS)))
    middles = np.zeros((len(known), len(raw), steps.size))
    cycle = widening(np.array([length / min(cycles, default=1)]))
    for weight, model, middle in zip(weights.T, known, middles, strict=True):
        own = ordinary if model.by_calendar else None
        said = model.quantiles(past if own is None else own.past, length - 1, steps)
        if model is SAWTOOTH:
            rows = list(past.resets)
            quantiles[rows] += weight[rows, None, None] * said[rows]
            middle[rows] = said[rows, :, MEDIAN]
            continue
        factors = widening(gain_memories(said, steps, length)) if model.family == "moving" else cycle
        said = widened(said, factors)
        if own is not None:
            said = own.put_back(said, length - 1, steps)
        quantiles += weight[:, None, None] * said
        middle[:] = said[..., MEDIAN]
    quantiles = disagreeing(quantiles, middles, weights.T)
    lately = pace(past.x, min(cycles, default=1))
    lately.stretch[list(past.resets)] = 0  # a sawtooth changes its pace at every reset
    quantiles = going_on(quantiles, lately, past.x[:, -1], steps, length)
    for row, resets in past.resets.items():
        # What is grown and taken back does not grow on in any other way, whatever the other models say.
        quantiles[row] = np.minimum(quantiles[row], envelope(past.x[row], resets, steps)[:, None])
    steady = _opened(quantiles, raw, steps)
    paths = jumping(runway.paths(past.x, steady, steps), found, steps, length)
    quantiles = (
        _opened(with_shifts(quantiles, found, steps, length), raw, steps) if found.count.any() else steady
    )
    highest = runway.peaks(paths, steps, gap + out.marks)  # a level may have been reached unseen
    every = np.arange(runway.PATHS) * paths.shape[-1] // runway.PATHS
    quantiles, paths = quantiles[:, -wanted.size :], paths[:, -wanted.size :, every]
    out.quantiles[members] = _between(quantiles, wanted, horizon) * unit[..., None]
    out.peaks[members] = highest[..., every] * unit[..., None]
    if out.paths is not None:
        out.paths[members] = _between(paths, wanted, horizon) * unit[..., None]
    columns = np.array([out.models.index(model.name) for model in known])
    out.weights[members[:, None], columns] = weights
    out.shifts[members] = found.count
    looked_at_from = out.points[members] + out.left_out[members] - gap - length
    out.regime_start[members] = np.where(found.count > 0, looked_at_from + found.regime_start, 0)


def _models(past: Past, cycles: tuple[int, ...], ordinary: Apart | None) -> tuple[Model, ...]:
    known = fitting(past.x.shape[1], cycles)
    return (
        *known,
        *((SAWTOOTH,) if past.resets else ()),
        *(by_calendar(known) if ordinary is not None else ()),
    )


def _steps(horizon: int, ordinary: Apart | None) -> Ints:
    """Steps that are worked out; where single days have their own effect, none is read off between others."""
    if horizon <= EVERY_STEP or ordinary is not None:
        return np.arange(1, horizon + 1)
    return np.unique(np.round(np.geomspace(1, horizon, EVERY_STEP)).astype(np.int64))


def _between(values: Floats, steps: Ints, horizon: int) -> Floats:
    """Values of shape (series, steps, ...) at every step, in proportion between those worked out."""
    if steps.size == horizon:
        return values
    at = np.arange(1, horizon + 1)
    right = np.clip(np.searchsorted(steps, at), 1, steps.size - 1)
    part = ((at - steps[right - 1]) / (steps[right] - steps[right - 1]))[:, None]
    return np.asarray(values[:, right - 1] * (1 - part) + values[:, right] * part)


def _weights(
    past: Past,
    ordinary: Apart | None,
    known: tuple[Model, ...],
    horizon: int,
    cycle: int,
    priors: Sequence[Prior],
) -> Floats:
    """Each model's weight, shape (series, models): its credit, times its loss to a negative power."""
    loss, trust = _losses(past, ordinary, known, horizon, cycle)
    heard = np.array([[prior.disadvantage.get(model.name, 0.0) for model in known] for prior in priors])
    series = np.array([max(prior.series, 1) for prior in priors])
    others = COMPANY * (1 - 1 / series)[:, None]  # a company of one says nothing new
    credit = np.log([model.credit for model in known]) - others * heard
    evidence = credit - trust * (loss - loss.min(axis=1, keepdims=True))
    weights = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _losses(
    past: Past, ordinary: Apart | None, known: tuple[Model, ...], horizon: int, cycle: int
) -> tuple[Floats, float]:
    """Logarithm of each model's past loss, shape (series, models), and how much it is to be trusted."""
    x, length = past.x, past.x.shape[1]
    back = min(cycle, length // 4)
    usual = np.abs(x[:, back:] - x[:, :-back]).mean(axis=1)
    usual = np.where(usual > 0, usual, 1.0)
    furthest = min(max(horizon, length // 8), length // 2)
    cuts = np.unique(np.round(np.geomspace(1, furthest, ORIGINS)).astype(np.int64))
    total = np.zeros((len(x), len(known)))
    for cut in cuts:
        steps = np.unique(np.round(np.linspace(1, min(cut, horizon), STEPS_JUDGED)).astype(np.int64))
        origin = length - 1 - int(cut)
        stands_for = np.full(steps.size, 1 / steps.size)
        if ordinary is not None:
            steps, stands_for = _judged(ordinary, origin, steps)
        truth = x[:, origin + steps, None]
        for column, model in enumerate(known):
            if ordinary is not None and model.by_calendar:
                said = ordinary.put_back(model.quantiles(ordinary.past, origin, steps), origin, steps)
            else:
                said = model.quantiles(past, origin, steps)
            off = truth - np.maximum(said, 0)
            loss = (off @ LEVELS - np.minimum(off, 0, out=off) @ _ALIKE) @ stands_for / len(LEVELS)
            total[:, column] += (loss / usual + AS_GOOD_AS_NONE) ** POWER
    log_loss = np.log(total / cuts.size) / POWER
    for column, model in enumerate(known):
        if model is SAWTOOTH:
            log_loss[np.isnan(log_loss[:, column]), column] = np.inf
        elif model.family != "moving":
            log_loss[:, column] += np.log1p(_unseen(x, back))
        elif model.quantiles is growth:
            log_loss[~past.compounds, column] = np.inf
    return log_loss, min(TRUST * length / furthest, ORIGINS)


def _judged(ordinary: Apart, origin: int, steps: Ints) -> tuple[Ints, Floats]:
    """Steps to judge a model by, and the share of the way each stands for: days that are not ordinary, all of them.

    Among a few steps there would be none of them, or one that then counts for many.
    """
    way = np.arange(1, int(steps[-1]) + 1)
    other = ordinary.kinds[origin + way] != ORDINARY
    usual = steps[~other[steps - 1]]
    if not usual.size or not other.any():
        return steps, np.full(steps.size, 1 / steps.size)
    judged = np.concatenate([usual, way[other]])
    share = (
        np.concatenate([np.full(usual.size, (~other).sum() / usual.size), np.ones(other.sum())]) / way.size
    )
    order = np.argsort(judged)
    return judged[order], share[order]


def _unseen(x: Floats, cycle: int) -> Floats:
    """How far the present lies outside all that was seen before the last cycle, in ranges of that; shape (series,).

    A model that expects the series back where it was has no precedent for that from here. Of the last two values the
    nearer counts: a single one may be a whim.
    """
    seen = x[:, :-cycle] if cycle > 1 else x[:, :-2]
    low, high, now = seen.min(axis=1), seen.max(axis=1), x[:, -2:]
    outside = np.maximum(np.maximum(low[:, None] - now, now - high[:, None]), 0).min(axis=1)
    return np.asarray(outside / np.where(high > low, high - low, np.where(outside > 0, outside / 1000, 1.0)))


def _opened(quantiles: Floats, raw: Floats, steps: Ints) -> Floats:
    """Quantiles in order, none below zero, and at least THINNEST apart if the series has ever moved."""
    ordered = np.maximum.accumulate(np.maximum(quantiles, 0), axis=-1)
    thinnest = THINNEST * np.abs(np.diff(raw, axis=1)).mean(axis=1)[:, None] * np.sqrt(steps)
    missing = np.maximum(thinnest - (ordered[..., -1] - ordered[..., 0]), 0)[..., None]
    return np.asarray(np.maximum(ordered + missing * (LEVELS - 0.5), 0))
