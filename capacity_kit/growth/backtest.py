"""The whole engine judged on the series' own past: how far off, how well covered, and whether limits were announced.

References
----------
.. [1] Tashman (2000), Out-of-sample tests of forecasting accuracy, International Journal of Forecasting 16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capacity_kit.growth.calendar import Calendar
from capacity_kit.growth.engine import FEWEST_POINTS, NOBODY, Forecast, Prior, forecast, one_each
from capacity_kit.growth.models import LEVELS, MEDIAN

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Announcements:
    """What a warning a lead time ahead would have been worth.

    Attributes
    ----------
    reached : int
        Times that a limit was reached within the lead time of an origin.
    announced : int
        Of these, how many had been given a probability of at least the threshold at that origin.
    warned : int
        Origins at which there was such a probability.
    """

    reached: int
    announced: int
    warned: int

    @property
    def false(self) -> int:
        """Warnings that did not come true."""
        return self.warned - self.announced

    @property
    def recall(self) -> float:
        """Share of the limits reached that were announced; NaN if none was reached."""
        return self.announced / self.reached if self.reached else float("nan")

    @property
    def precision(self) -> float:
        """Share of the warnings that came true; NaN if there were none."""
        return self.announced / self.warned if self.warned else float("nan")


@dataclass(frozen=True)
class Backtest:
    """Scores of rolling-origin forecasts, one row a series and origin.

    Attributes
    ----------
    series : ndarray of int, shape (rows,)
        Index of the series.
    origin : ndarray of int, shape (rows,)
        Index of the last value that the forecast knew.
    error : ndarray, shape (rows, horizon)
        Truth less median, in the unit of the series; NaN where the truth is a gap.
    pinball : ndarray, shape (rows, horizon)
        Mean pinball loss of all quantiles, in the unit of the series.
    inside : ndarray, shape (rows, horizon)
        1 where the truth lay within the 80 % band, 0 where not.
    probability : ndarray, shape (rows,), or None without levels
        That the series' level would be reached within the horizon, as said at the origin. NaN where there was nothing
        to say: without a level, and where it had been reached already.
    came : ndarray, shape (rows,), or None
        1 where it was then reached, 0 where it was not. NaN where there was nothing to say, and where what is known
        of the horizon ends before either is certain.
    """

    series: Ints
    origin: Ints
    error: Floats
    pinball: Floats
    inside: Floats
    probability: Floats | None = None
    came: Floats | None = None

    def of(self, series: int) -> Backtest:
        """The rows of one series."""
        return self.rows(self.series == series)

    def rows(self, which: npt.NDArray[np.bool_] | Ints) -> Backtest:
        """Some of the rows, by mask or index."""
        return Backtest(
            self.series[which],
            self.origin[which],
            self.error[which],
            self.pinball[which],
            self.inside[which],
            None if self.probability is None else self.probability[which],
            None if self.came is None else self.came[which],
        )

    def mean_absolute_error(self) -> Floats:
        """By step ahead, shape (horizon,); NaN where nothing was to be compared."""
        return _mean(np.abs(self.error))

    def coverage(self) -> Floats:
        """Share of truths in the 80 % band by step ahead, shape (horizon,)."""
        return _mean(self.inside)

    def announcements(self, threshold: float = 0.5) -> Announcements:
        """What warnings from a probability of `threshold` would have been worth, over all rows with a verdict.

        Raises
        ------
        ValueError
            Without levels.
        """
        if self.probability is None or self.came is None:
            raise ValueError("announcements need levels: call backtest(..., levels=...)")
        judged = np.isfinite(self.probability) & np.isfinite(self.came)
        came, warned = self.came[judged] == 1, self.probability[judged] >= threshold
        return Announcements(int(came.sum()), int((came & warned).sum()), int(warned.sum()))


def backtest(
    histories: Sequence[npt.ArrayLike],
    horizon: int,
    seasons: int | Sequence[int] = (),
    origins: int | Sequence[npt.ArrayLike] = 5,
    prior: Prior | Sequence[Prior] = NOBODY,
    levels: npt.ArrayLike | None = None,
    calendar: Calendar | None = None,
    moved: Callable[[Forecast], Forecast] | None = None,
    weighed: int | None = None,
) -> Backtest:
    """Forecast each series from several points of its past and score what came.

    Each forecast sees nothing after its origin.

    Parameters
    ----------
    histories : sequence of array_like, each of shape (time,)
    horizon : int
        Steps ahead.
    seasons : int or sequence of int
    origins : int, or sequence of array_like of int
        At most so many a series: they lie one horizon apart, closer only where the record is short, and leave at least
        half of it to learn from at the earliest; no whole truth, no row.
        Or for each series the indices of the last values known, in the order that the rows shall have. Of what lies
        beyond the end of a history there is no truth, and it judges nothing.
    prior : Prior, or sequence of Prior
        Of the company, or one a history. Learnt from whole histories it knows a little of what the origins must not:
        of the models, not of the series.
    levels : array_like, shape (series,)
        One level a series, or NaN, to be announced.
    calendar : Calendar, optional
        Of the whole histories.
    moved : callable, optional
        What becomes of the forecasts, one row a series and origin in their order, with their paths, before they are
        scored: reconciliation.
    weighed : int, optional
        As of :func:`capacity_kit.growth.forecast`.

    Raises
    ------
    ValueError
        If there are not as many lists of origins as histories, or an origin lies outside its history.
    """
    past = [np.asarray(history, float) for history in histories]
    chosen = _chosen(past, horizon, origins)
    rows = [(i, int(o)) for i, own in enumerate(chosen) for o in own]
    series = np.array([i for i, _ in rows], np.int64)
    origin = np.array([o for _, o in rows], np.int64)
    truth = np.full((len(rows), horizon), np.nan)
    for row, (i, o) in enumerate(rows):
        came = past[i][o + 1 : o + 1 + horizon]
        truth[row, : came.size] = came
    truth = np.where(np.isfinite(truth) & (truth >= 0), truth, np.nan)
    if calendar is not None:
        size = np.array([values.size for values in past], np.int64)
        calendar = calendar.of((calendar.lasts(len(past)) - size + 1)[series] + origin)
    priors = one_each(prior, len(past))
    whole = forecast(
        [past[i][: o + 1] for i, o in rows],
        horizon,
        seasons,
        [priors[i] for i in series],
        keep_paths=moved is not None,
        calendar=calendar,
        weighed=weighed,
    )
    if moved is not None:
        whole = moved(whole)
    said = whole.quantiles
    off = truth[..., None] - said
    inside = (truth >= said[..., 1]) & (truth <= said[..., -2])
    unknown = np.isnan(off[..., MEDIAN])
    verdicts = (None, None) if levels is None else _verdicts(whole, truth, levels, series, len(past))
    return Backtest(
        series,
        origin,
        off[..., MEDIAN],
        np.maximum(LEVELS * off, (LEVELS - 1) * off).mean(axis=-1),
        np.where(unknown, np.nan, inside.astype(float)),
        *verdicts,
    )


def _verdicts(
    said: Forecast, truth: Floats, levels: npt.ArrayLike, series: Ints, count: int
) -> tuple[Floats, Floats]:
    """The probability of each row's level, and whether it came."""
    level = np.broadcast_to(np.asarray(levels, float), (count,))[series]
    ahead = np.isfinite(level) & ~(said.last >= level)
    there = (truth >= level[:, None]).any(axis=1)
    certain = there | ~np.isnan(truth[:, -1])
    return (
        np.where(ahead, said.reached(level)[:, -1], np.nan),
        np.where(ahead & certain, there.astype(float), np.nan),
    )


def _chosen(past: Sequence[Floats], horizon: int, origins: int | Sequence[npt.ArrayLike]) -> list[Ints]:
    """Each history's origins."""
    if isinstance(origins, int):
        return [_origins(values.size, horizon, origins) for values in past]
    if len(origins) != len(past):
        raise ValueError(f"{len(past)} histories but {len(origins)} lists of origins")
    chosen = [np.asarray(own, np.int64).ravel() for own in origins]
    for i, (values, own) in enumerate(zip(past, chosen, strict=True)):
        if ((own < 0) | (own >= values.size)).any():
            raise ValueError(f"history {i} has {values.size} values, and an origin outside them")
    return chosen


def _origins(length: int, horizon: int, most: int) -> Ints:
    """Indices of the last known value, the latest first."""
    latest = length - 1 - horizon
    earliest = max(length // 2, FEWEST_POINTS - 1)
    if latest < earliest:
        return np.empty(0, np.int64) if latest < FEWEST_POINTS - 1 else np.array([latest])
    count = min(most, 1 + (latest - earliest) // max(horizon, 1)) if latest - earliest >= horizon else 1
    return np.arange(count) * -horizon + latest


def _mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(values.shape[1], np.nan), where=count > 0))
