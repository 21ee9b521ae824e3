"""Forecast series with a reference model and print how long that took, as JSON.

    side_by_side_reference.py MODEL SERIES.npz FORECASTS.npz HORIZON SEASON FREQ

Runs in the environment of requirements-reference.txt. SERIES.npz holds one array a series under its number; into
FORECASTS.npz go the 10 %, 50 % and 90 % quantiles of each step under the same numbers. Models are as their authors
set them, with an 80 % band. Importing them, and a first forecast, are not timed.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import warnings
from collections.abc import Callable

import numpy as np

WINDOW = {"D": 30, "h": 168}  # steps that a straight line is drawn through
HISTORY_BEGINS = "2020-01-06"  # a Monday; prophet wants dates


def straight_line(horizon: int, freq: str) -> Callable[[np.ndarray], np.ndarray]:
    """Least squares through the last steps, as PromQL's predict_linear: a line, and no band."""

    def forecast(y: np.ndarray) -> np.ndarray:
        tail = y[-WINDOW[freq] :]
        slope, level = np.polyfit(np.arange(1 - len(tail), 1), tail, 1)
        return np.tile(level + slope * np.arange(1, horizon + 1), (3, 1))

    return forecast


def statsforecast(name: str, horizon: int, season: int) -> Callable[[np.ndarray], np.ndarray]:
    """One of statsforecast's models, called without frames around it."""
    from statsforecast import models

    model = getattr(models, name)(season_length=season)

    def forecast(y: np.ndarray) -> np.ndarray:
        said = model.forecast(y=y.astype(np.float64), h=horizon, level=[80])
        return np.stack([said["lo-80"], said["mean"], said["hi-80"]])

    return forecast


def prophet(horizon: int, freq: str) -> Callable[[np.ndarray], np.ndarray]:
    """Prophet, its band drawn from its own samples."""
    import pandas as pd
    from prophet import Prophet

    logging.getLogger("cmdstanpy").disabled = True
    logging.getLogger("prophet").setLevel(logging.ERROR)

    def forecast(y: np.ndarray) -> np.ndarray:
        times = pd.date_range(HISTORY_BEGINS, periods=len(y) + horizon, freq=freq)
        model = Prophet(interval_width=0.8)
        model.fit(pd.DataFrame({"ds": times[: len(y)], "y": y}))
        said = model.predict(pd.DataFrame({"ds": times[len(y) :]}))
        return said[["yhat_lower", "yhat", "yhat_upper"]].to_numpy().T

    return forecast


def processor_time() -> float:
    """Seconds that this process has worked, and the processes that it has started and seen end: prophet's are such."""
    both = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def main() -> None:
    """Forecast, time, write."""
    name, source, target, horizon, season, freq = sys.argv[1:]
    steps = int(horizon)
    warnings.simplefilter("ignore")
    with np.load(source) as stored:
        series = {number: stored[number] for number in stored.files}
    if name == "line":
        forecast = straight_line(steps, freq)
    elif name == "Prophet":
        forecast = prophet(steps, freq)
    else:
        forecast = statsforecast(name, steps, int(season))
    np.random.seed(0)  # noqa: NPY002 -- prophet draws its band from the global generator
    forecast(next(iter(series.values())))
    started = processor_time()
    found = {number: forecast(y) for number, y in series.items()}
    seconds = processor_time() - started
    np.savez(target, **found)
    print(json.dumps({"series": len(series), "seconds": seconds}))


if __name__ == "__main__":
    main()
