"""A forecast in one sentence: what drives it, how sure it is, and when not to trust it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from capacity_kit.growth.backtest import Backtest
from capacity_kit.growth.engine import FEWEST_POINTS, Forecast
from capacity_kit.growth.models import MEDIAN

WIDE = 1.0  # an 80 % band as wide as its median says little
FEW_ORIGINS = 3  # with fewer, a backtest is an anecdote


def explain(
    said: Forecast,
    series: int,
    show: Callable[[float], str] = "{:,.4g}".format,
    step: str = "step",
    tested: Backtest | None = None,
) -> str:
    """One sentence on the forecast of one series.

    Parameters
    ----------
    said : Forecast
    series : int
        Which of its series.
    show : callable
        Puts an amount into words, with its unit.
    step : str
        What one step is called: "day", "hour".
    tested : Backtest, optional
        Of the same series, in the same order.
    """
    if said.points[series] < FEWEST_POINTS:
        return (
            f"No forecast: {said.points[series]} usable measurements, "
            f"and fewer than {FEWEST_POINTS} tell nothing of what comes."
        )
    end = said.quantiles[series, -1]
    change = float(end[MEDIAN] - said.last[series]) / said.horizon
    sign = "+" if change >= 0 else "−"
    parts = [f"{sign}{show(abs(change))} a {step}" if change else "no change expected"]
    if said.shifts[series]:
        parts[0] += f", level shifts taken out ({said.shifts[series]})"
    weights = dict(zip(said.models, said.weights[series], strict=True))
    leading = max(weights, key=lambda name: weights[name])
    parts.append(f"mostly {leading} ({weights[leading]:.0%})")
    parts.append(f"80 % band in {said.horizon} {step}s {show(float(end[1]))} to {show(float(end[-2]))}")
    doubts = []
    if end[-2] - end[1] > WIDE * max(end[MEDIAN], np.finfo(float).tiny):
        doubts.append("the band is wider than the value itself")
    if said.points[series] < 2 * said.horizon:
        doubts.append("the record is shorter than two horizons")
    if tested is not None:
        own = tested.of(series)
        if len(own.origin):
            error = float(own.mean_absolute_error()[-1])
            parts.append(f"off by {show(error)} at that distance in {len(own.origin)} origins backtested")
        if len(own.origin) < FEW_ORIGINS:
            doubts.append(f"only {len(own.origin)} origins could be backtested")
    doubt = f"; not to be trusted far: {' and '.join(doubts)}" if doubts else ""
    return f"{'; '.join(parts)}{doubt}."
