"""The engine as a scorer calls it: one configuration for every task.

``forecast(histories, horizon, season, freq)`` and ``runway(histories, horizon, season, freq, levels)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from capacity_kit import growth
from capacity_kit.growth.models import LEVELS

Floats = npt.NDArray[np.float64]


def _engine(histories: Sequence[Floats], horizon: int, season: int, freq: str) -> growth.Forecast:
    seasons = (season, 7 * season) if freq == "h" else (season,)
    return growth.forecast(histories, horizon, seasons, growth.learn(histories, horizon, seasons))


def forecast(histories: Sequence[Floats], horizon: int, season: int, freq: str) -> Floats:
    """The 10 %, 50 % and 90 % quantiles of each future step, shape (series, 3, horizon)."""
    quantiles = _engine(histories, horizon, season, freq).quantiles
    return np.moveaxis(quantiles[..., np.isin(LEVELS, (0.1, 0.5, 0.9))], 1, 2)


def runway(
    histories: Sequence[Floats], horizon: int, season: int, freq: str, levels: npt.ArrayLike
) -> Floats:
    """The probability that each series has reached its level by each step, shape (series, horizon)."""
    return _engine(histories, horizon, season, freq).reached(levels)
