"""A forecast in one sentence: what drives it, how sure it is, and when not to trust it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from capacity_kit.growth.backtest import Backtest
from capacity_kit.growth.engine import FEWEST_POINTS, Forecast
from capacity_kit.growth.models import MEDIAN
from capacity_kit.growth.regimes import Regime
from capacity_kit.growth.sawtooth import SAWTOOTH

WIDE = 1.0  # an 80 % band as wide as its median says little
FEW_ORIGINS = 3  # with fewer, a backtest is an anecdote
TELLS = 0.3  # part of the weight from which a cycle, or the calendar, is worth a word
ANNOUNCES = 0.5  # probability from which a forecast has announced a level
FEW_TRUTHS = 5  # with fewer, a band's share of them is an anecdote
FAINT = 1e-3  # of the value: growth over the horizon, or a cycle, that no one would see


def explain(
    said: Forecast,
    series: int,
    show: Callable[[float], str] = "{:,.4g}".format,
    step: str = "step",
    when: Callable[[int], str] = "point {}".format,
    tested: Backtest | None = None,
    regimes: Sequence[Regime] = (),
    note: str = "",
    level: str = "level",
    doubt: str = "",
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
    regimes : sequence of Regime
        Of this series, from :func:`capacity_kit.growth.regimes.dated`: with them the sentence says what changed when
        the present regime began, and knows of changes of slope too.
    note : str
        One more part of the sentence, before the doubts.
    level : str
        What the level is called that was backtested.
    doubt : str
        One more doubt.
    """
    if said.points[series] < FEWEST_POINTS:
        return (
            f"No forecast: {said.points[series]} usable measurements, "
            f"and fewer than {FEWEST_POINTS} tell nothing of what comes."
        )
    median, low, high = (said.quantiles[series, :, at] for at in (MEDIAN, 1, -2))
    cycles = _cycles(said, series)
    parts = [
        _growth(said, series, max(cycles, default=0), show, step) + _since(said, series, regimes, show, when)
    ]
    parts += [f"cycle of {cycle} {step}s ±{show(half)}" for cycle, half in cycles.items()]
    if (
        sum(w for name, w in zip(said.models, said.weights[series], strict=True) if "calendar" in name)
        >= TELLS
    ):
        parts.append("ends of months and holidays reckoned apart")
    parts.append(f"80 % band in {said.horizon} {step}s {show(float(low[-1]))} to {show(float(high[-1]))}")
    doubts = [doubt] if doubt else []
    if high[-1] - low[-1] > WIDE * median[-1]:
        doubts.append("the band is wider than the value itself")
    if said.points[series] < 2 * said.horizon:
        doubts.append("the record is shorter than two horizons")
    if tested is not None:
        of_it = tested.of(series)
        own = of_it.rows(np.isfinite(of_it.error[:, -1]))
        count = len(own.origin)
        if count:
            error = show(float(own.mean_absolute_error()[-1]))
            parts.append(f"{count} origins backtested, error at {said.horizon} {step}s {error}")
        if count < FEW_ORIGINS:
            doubts.append("too little past to test it on")
        doubts += _past_failures(of_it, own.inside[:, -1], level)
    if note:
        parts.append(note)
    why = f"; do not lean on it: {' and '.join(doubts)}" if doubts else ""
    return f"{'; '.join(parts)}{why}."


def _past_failures(tested: Backtest, inside: npt.NDArray[np.float64], level: str) -> list[str]:
    """What its own past says against it."""
    found = []
    held = int(inside.sum())
    if len(inside) >= FEW_TRUTHS and 2 * held <= len(inside):
        found.append(f"{held} of {len(inside)} values lay in the 80 % band")
    if tested.probability is not None:
        past = tested.announcements(ANNOUNCES)
        if past.false > max(past.announced, 1):
            found.append(f"{past.false} of {past.warned} announcements of its {level} were false")
        if past.reached - past.announced > max(past.announced, 1):
            found.append(
                f"{past.reached - past.announced} of {past.reached} times its {level} came unannounced"
            )
    return found


def _growth(
    said: Forecast,
    series: int,
    cycle: int,
    show: Callable[[float], str],
    step: str,
) -> str:
    median = said.quantiles[series, :, MEDIAN]
    # Over whole cycles, so that a Sunday is compared with a Sunday; and not from the last value, which may be a whim.
    span = (said.horizon - 1) // max(cycle, 1) * max(cycle, 1)
    change = float(median[-1] - median[-1 - span]) / span if span else float(median[0] - said.last[series])
    if _is_sawtooth(said, series):
        return f"grows and is reset again and again, up to {show(float(median.max()))}"
    if abs(change) * said.horizon <= FAINT * float(median[-1]):
        return "level"
    return f"{'+' if change > 0 else '−'}{show(abs(change))} a {step}"


def _is_sawtooth(said: Forecast, series: int) -> bool:
    """Whether growth that is taken back has a say in the forecast."""
    return bool(said.weights[series, said.models.index(SAWTOOTH.name)] >= TELLS)


def _since(
    said: Forecast,
    series: int,
    regimes: Sequence[Regime],
    show: Callable[[float], str],
    when: Callable[[int], str],
) -> str:
    """When the present regime began, and how."""
    if not regimes:
        return f" since {when(int(said.regime_start[series]))}" if said.shifts[series] else ""
    newest = max(regimes, key=lambda regime: regime.start)
    size = show(abs(newest.size))
    if _is_sawtooth(said, series) and newest.kind == "reset":
        return f", the last time on {when(newest.start)}, by {size}"
    if newest.kind != "slope":
        how = f"when it {'rose' if newest.size > 0 else 'fell'} by {size}"
    else:
        how = f"{size} {'more' if newest.size > 0 else 'less'} than before"
    return f" since {when(newest.start)}, {how}"


def _cycles(said: Forecast, series: int) -> dict[int, float]:
    """Cycles that have a say in the forecast and stand out of its band: half their height by their steps."""
    median, low, high = (said.quantiles[series, :, at] for at in (MEDIAN, 1, -2))
    weight: dict[int, float] = {}
    for name, part in zip(said.models, said.weights[series], strict=True):
        named = re.search(r"cycle of (\d+)", name)
        if named:
            cycle = int(named[1])
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
