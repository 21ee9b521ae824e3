"""A forecast in one sentence: what drives it, how sure it is, and when not to trust it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from capacity_kit.growth.backtest import Backtest
from capacity_kit.growth.engine import FEWEST_POINTS, Forecast
from capacity_kit.growth.models import MEDIAN

WIDE = 1.0  # an 80 % band as wide as its median says little
FEW_ORIGINS = 3  # with fewer, a backtest is an anecdote
TELLS = 0.3  # part of the weight from which a cycle is worth a word
FAINT = 1e-3  # of the value: growth over the horizon, or a cycle, that no one would see


def explain(
    said: Forecast,
    series: int,
    show: Callable[[float], str] = "{:,.4g}".format,
    step: str = "step",
    when: Callable[[int], str] = "point {}".format,
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
    when : callable
        Puts an index of the history into words: its date.
    tested : Backtest, optional
        Of the same series, in the same order.
    """
    if said.points[series] < FEWEST_POINTS:
        return (
            f"No forecast: {said.points[series]} usable measurements, "
            f"and fewer than {FEWEST_POINTS} tell nothing of what comes."
        )
    median, low, high = (said.quantiles[series, :, at] for at in (MEDIAN, 1, -2))
    cycles = _cycles(said, series)
    parts = [_growth(said, series, max(cycles, default=0), show, step, when)]
    parts += [f"cycle of {cycle} {step}s ±{show(half)}" for cycle, half in cycles.items()]
    parts.append(f"80 % band in {said.horizon} {step}s {show(float(low[-1]))} to {show(float(high[-1]))}")
    doubts = []
    if high[-1] - low[-1] > WIDE * median[-1]:
        doubts.append("the band is wider than the value itself")
    if said.points[series] < 2 * said.horizon:
        doubts.append("the record is shorter than two horizons")
    if tested is not None:
        own = tested.of(series)
        count = len(own.origin)
        if count:
            error = show(float(own.mean_absolute_error()[-1]))
            parts.append(f"{count} origins backtested, error at {said.horizon} {step}s {error}")
        if count < FEW_ORIGINS:
            doubts.append("too little past to test it on")
    doubt = f"; do not lean on it: {' and '.join(doubts)}" if doubts else ""
    return f"{'; '.join(parts)}{doubt}."


def _growth(
    said: Forecast,
    series: int,
    cycle: int,
    show: Callable[[float], str],
    step: str,
    when: Callable[[int], str],
) -> str:
    median = said.quantiles[series, :, MEDIAN]
    # Over whole cycles, so that a Sunday is compared with a Sunday; and not from the last value, which may be a whim.
    span = (said.horizon - 1) // max(cycle, 1) * max(cycle, 1)
    change = float(median[-1] - median[-1 - span]) / span if span else float(median[0] - said.last[series])
    since = f" since {when(int(said.regime_start[series]))}" if said.shifts[series] else ""
    if abs(change) * said.horizon <= FAINT * float(median[-1]):
        return f"level{since}"
    return f"{'+' if change > 0 else '−'}{show(abs(change))} a {step}{since}"


def _cycles(said: Forecast, series: int) -> dict[int, float]:
    """Cycles that have a say in the forecast and stand out of its band: half their height by their steps."""
    median, low, high = (said.quantiles[series, :, at] for at in (MEDIAN, 1, -2))
    weight: dict[int, float] = {}
    for name, part in zip(said.models, said.weights[series], strict=True):
        if "cycle of " in name:
            cycle = int(name.rpartition(" ")[2])
            weight[cycle] = weight.get(cycle, 0.0) + float(part)
    found = {}
    for cycle, part in weight.items():
        if part < TELLS or cycle >= said.horizon:
            continue
        drift = (median[cycle] - median[0]) / cycle * np.arange(cycle)
        height = float(np.ptp(median[:cycle] - drift))
        if height > max(float((high - low)[:cycle].mean()), FAINT * float(median[:cycle].mean())):
            found[cycle] = height / 2
    return found
