"""The whole engine judged on the series' own past: how far off, how well covered, and whether limits were announced.

References
----------
.. [1] Tashman (2000), Out-of-sample tests of forecasting accuracy, International Journal of Forecasting 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capacity_kit.growth.engine import FEWEST_POINTS, forecast
from capacity_kit.growth.models import LEVELS, MEDIAN

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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
    """

    series: Ints
    origin: Ints
    error: Floats
    pinball: Floats
    inside: Floats

    def of(self, series: int) -> Backtest:
        """The rows of one series."""
        rows = self.series == series
        return Backtest(
            self.series[rows], self.origin[rows], self.error[rows], self.pinball[rows], self.inside[rows]
        )

    def mean_absolute_error(self) -> Floats:
        """By step ahead, shape (horizon,); NaN where nothing was to be compared."""
        return _mean(np.abs(self.error))

    def coverage(self) -> Floats:
        """Share of truths in the 80 % band by step ahead, shape (horizon,)."""
        return _mean(self.inside)


def backtest(
    histories: Sequence[npt.ArrayLike], horizon: int, seasons: int | Sequence[int] = (), origins: int = 5
) -> Backtest:
    """Forecast each series from several points of its past and score what came.

    Origins lie one horizon apart, closer only where the record is short, and leave at least half of it to learn from
    at the earliest; each forecast sees nothing after its origin.

    Parameters
    ----------
    histories : sequence of array_like, each of shape (time,)
    horizon : int
        Steps ahead; no truth, no row.
    seasons : int or sequence of int
    origins : int
        At most so many a series.
    """
    rows = [
        (i, o)
        for i, history in enumerate(histories)
        for o in _origins(len(np.asarray(history)), horizon, origins)
    ]
    series = np.array([i for i, _ in rows], np.int64)
    origin = np.array([o for _, o in rows], np.int64)
    truth = np.empty((len(rows), horizon))
    for row, (i, o) in enumerate(rows):
        truth[row] = np.asarray(histories[i], float)[o + 1 : o + 1 + horizon]
    truth = np.where(np.isfinite(truth) & (truth >= 0), truth, np.nan)
    said = forecast([np.asarray(histories[i], float)[: o + 1] for i, o in rows], horizon, seasons).quantiles
    off = truth[..., None] - said
    inside = (truth >= said[..., 1]) & (truth <= said[..., -2])
    unknown = np.isnan(off[..., MEDIAN])
    return Backtest(
        series,
        origin,
        off[..., MEDIAN],
        np.maximum(LEVELS * off, (LEVELS - 1) * off).mean(axis=-1),
        np.where(unknown, np.nan, inside.astype(float)),
    )


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
    def recall(self) -> float:
        """Share of the limits reached that were announced; NaN if none was reached."""
        return self.announced / self.reached if self.reached else float("nan")

    @property
    def precision(self) -> float:
        """Share of the warnings that came true; NaN if there were none."""
        return self.announced / self.warned if self.warned else float("nan")


def announcements(
    histories: Sequence[npt.ArrayLike],
    levels: npt.ArrayLike,
    lead: int,
    seasons: int | Sequence[int] = (),
    origins: int = 5,
    threshold: float = 0.5,
) -> Announcements:
    """Of the limits that were reached within `lead` steps, how many were announced; of the warnings, how many true.

    Origins at which the limit was reached already do not count.

    Parameters
    ----------
    histories : sequence of array_like, each of shape (time,)
    levels : array_like, shape (series,)
        One limit a series; NaN for none.
    lead : int
        Steps between a warning and the limit: 90 days.
    threshold : float
        Probability from which a forecast is a warning.
    """
    limits = np.broadcast_to(np.asarray(levels, float), (len(histories),))
    pasts, truths, at = [], [], []
    for history, limit in zip(histories, limits, strict=True):
        values = np.asarray(history, float)
        for o in _origins(len(values), lead, origins):
            if np.isfinite(limit) and not values[o] >= limit:
                pasts.append(values[: o + 1])
                truths.append(bool((values[o + 1 : o + 1 + lead] >= limit).any()))
                at.append(limit)
    said = forecast(pasts, lead, seasons).reached(np.array(at))[:, -1] >= threshold
    came = np.array(truths, bool)
    return Announcements(int(came.sum()), int((came & said).sum()), int(said.sum()))


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
