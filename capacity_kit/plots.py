"""The figures: one function each, from a frame to drawn axes and the alt text computed from the same numbers.

Nothing here reads a clock, a database or matplotlib's global state, and names are drawn as they are
(never read as mathematical markup). Times are drawn in the reader's time zone, bytes in binary units.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, ParamSpec
from zoneinfo import ZoneInfo

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from capacity_kit import units

INK: Final = "#1f2933"
MUTED: Final = "#5c6670"
FAINT: Final = "#dde2e7"
BLUE: Final = "#1f5fa8"
ORANGE: Final = "#b8530c"
AMBER: Final = "#94690a"
RED: Final = "#b3261e"
GREEN: Final = "#2c7a4b"

HORIZONS: Final = {"forecast_7d": 7, "forecast_30d": 30, "forecast_90d": 90, "forecast_1y": 365}
"""Forecast columns of an analysis and their horizons in days."""

_FEW: Final = 60
"""Measurements under which each is drawn as a dot: a line alone would hide how little is known."""

_STYLE: Final = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "ytick.left": False,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


class Plot(NamedTuple):
    """A figure and what it says.

    Attributes
    ----------
    ax : Axes
        The drawn axes; its figure is ``ax.figure``.
    alt : str
        One or two sentences with the figure's own numbers.
    """

    ax: Axes
    alt: str


_P = ParamSpec("_P")


def _styled(draw: Callable[_P, Plot]) -> Callable[_P, Plot]:
    """Draw under the house style, leaving matplotlib's own settings alone."""

    @functools.wraps(draw)
    def styled(*args: _P.args, **kwargs: _P.kwargs) -> Plot:
        with _style():
            return draw(*args, **kwargs)

    return styled


@contextmanager
def _style() -> Iterator[None]:
    # A figure that is not pyplot's is laid out and drawn later, so only creation needs the style.
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        yield


def _axes(height: float = 3.6, width: float = 8.4) -> Axes:
    return Figure(figsize=(width, height), dpi=200, layout="constrained").add_subplot()


def _on(when: Any) -> float:
    """A time as matplotlib counts it."""
    return float(date2num(when))  # type: ignore[no-untyped-call]


def _time_axis(ax: Axes, timezone: str) -> None:
    zone = ZoneInfo(timezone)
    locator = AutoDateLocator(tz=zone, minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))  # type: ignore[no-untyped-call]
    ax.xaxis.grid(False)


def _value_axis(ax: Axes, scale: float) -> None:
    """Ticks that are round in the unit shown, which is `scale` times the unit of the data."""
    low, high = ax.get_ylim()
    marks = np.asarray(MaxNLocator(5).tick_values(low / scale, high / scale)) * scale
    ax.set_yticks(marks[(low <= marks) & (marks <= high)])
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: units.number(value / scale)))


def _spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """`positions` moved apart until neighbours are `gap` apart, in their order, between `low` and `high`."""
    order = np.argsort(positions, kind="stable")
    placed = np.asarray(positions, dtype=float)[order]
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    if len(placed) and placed[-1] > high:
        placed[-1] = high
        for i in range(len(placed) - 2, -1, -1):
            placed[i] = min(placed[i], placed[i + 1] - gap)
    placed = np.maximum(placed, low)
    result = np.empty(len(placed))
    result[order] = placed
    return [float(p) for p in result]


def _label_right(ax: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Write (value, text, colour) beside the right edge, none over another."""
    low, high = ax.get_ylim()
    places = _spread([value for value, _, _ in labels], (high - low) * 0.068, low, high)
    for (_, text, colour), place in zip(labels, places, strict=True):
        ax.annotate(
            text,
            xy=(1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            fontsize=8.5,
            va="center",
        )


def _empty(message: str) -> Plot:
    """Axes that say in words why there is nothing to draw."""
    ax = _axes(1.4)
    ax.set_axis_off()
    ax.text(0.5, 0.5, message, ha="center", va="center", color=MUTED, fontsize=10, transform=ax.transAxes)
    return Plot(ax, message)


def _name(row: pd.Series[Any]) -> str:
    """'Storage documents · Harbour', the tenant behind it where the row has one."""
    said = units.resource(str(row["resource_type"]), str(row["resource_name"]))
    named = "tenant" in row.index and not units.missing(row["tenant"])
    return f"{said} · {units.plain(row['tenant'], 32)}" if named else said


@_styled
def history(
    measured: pd.DataFrame,
    outlook: pd.Series[Any] | None = None,
    *,
    warning: float | None = None,
    critical: float | None = None,
    timezone: str = "UTC",
) -> Plot:
    """History of one resource with its regimes, trend, forecast and the levels it must not reach.

    Parameters
    ----------
    measured
        Columns ``measured_at`` (UTC), ``value`` and ``capacity`` (NaN where unknown), one row a
        measurement, oldest first; ``resource_type``, ``resource_name``, ``unit`` and, if any, ``tenant``
        are read from the first row.
    outlook
        The resource's row of the growth analysis: ``forecast_7d`` … ``forecast_1y``, ``growth_per_day``,
        ``regime_start``, ``pattern_breaks`` ([{"at", "change"}]), ``wape_30d`` (percent); ``method`` ('SQL' or
        'ENGINE') if it is not SQL's, and ``engine``, what the growth engine recorded: ``origin``, ``issued_at``,
        ``level``, ``quantiles`` (.05 .1 .25 .5 .75 .9 .95 by days ahead), ``runway`` (days from ``issued_at``) and
        ``passed`` (days since). None draws the history alone.
    warning, critical
        Levels in percent of capacity, None where there is no such threshold.
    timezone
        The reader's time zone.
    """
    if measured.empty:
        named = "" if outlook is None or "resource_type" not in outlook else f"{_name(outlook)}: "
        return _empty(f"{named}no measurements in this period.")
    unit = str(measured["unit"].iloc[0])
    name = _name(measured.iloc[0])
    times = measured["measured_at"]
    values = measured["value"].to_numpy(dtype=float)
    now, last = times.iloc[-1], float(values[-1])
    known = measured["capacity"].dropna()
    capacity = float(known.iloc[-1]) if len(known) else None
    fan = _fan(outlook)
    by_engine = outlook is not None and outlook.get("method") == "ENGINE"
    trend = None if by_engine else _trend(outlook, measured)
    begin = float(fan[1][0, 3]) if fan and by_engine else last
    ahead = _ahead(outlook, now, begin if trend is None else trend[3])
    top = max([*values, *(value for _, value in ahead[1:])])
    if (
        fan
    ):  # a band that leaves every scale would press the rest flat: it is cut, and its numbers are in words
        top = max(top, min(float(fan[1][:, -1].max()), 2 * top))
    scale, shown_unit = units.binary_scale(float(values.max())) if unit == "bytes" else (1.0, unit)

    ax = _axes()
    ax.plot(times, values, color=BLUE, linewidth=1.3, marker="o" if len(values) < _FEW else "", markersize=3)
    levels = _draw_levels(ax, measured, top, warning, critical)
    breaks = _draw_breaks(ax, outlook, times.iloc[0], now)
    if fan:
        _draw_fan(ax, *fan)
    if trend is not None:
        ax.plot([_on(t) for t in trend[:2]], trend[2:], color=ORANGE, linewidth=2.2)
    if len(ahead) > 1:
        ax.plot([_on(t) for t, _ in ahead], [v for _, v in ahead], color=ORANGE, linestyle=(0, (4, 2.5)))
        ax.plot([_on(t) for t, _ in ahead[1:]], [v for _, v in ahead[1:]], "o", color=ORANGE, markersize=4.5)
        ax.axvline(now, color=MUTED, linewidth=0.7)
    if "capacity" in levels:
        _draw_passage(ax, outlook, levels["capacity"])
    ax.set_ylim(0, max([top, *levels.values()]) * 1.12 or 1.0)
    ax.margins(x=0.01)
    _time_axis(ax, timezone)
    _value_axis(ax, scale)
    ax.set_ylabel(shown_unit)
    ax.set_title(name)
    end = (
        [(ahead[-1][1], f"in 1 year {units.quantity(ahead[-1][1], unit)}", ORANGE)] if len(ahead) == 5 else []
    )
    colours = {"capacity": INK, "critical": RED, "warning": AMBER}
    _label_right(
        ax,
        [*end, *((value, f"{k} {units.quantity(value, unit)}", colours[k]) for k, value in levels.items())],
    )
    rising = len(ahead) > 1 and ahead[-1][1] >= ahead[0][1]
    for (when, value), days, below in zip(ahead[2:4], (30, 90), (rising, not rising), strict=False):
        # Below a rising line on its right, above it on its left: there the line is not in the way.
        ax.annotate(
            f"{days} d: {units.quantity(value, unit)}",
            xy=(_on(when), value),
            xytext=(6, -9) if below else (-5, 8),
            textcoords="offset points",
            ha="left" if below else "right",
            va="center",
            color=ORANGE,
            fontsize=8,
        )
    return Plot(ax, _history_alt(name, unit, measured, capacity, ahead, breaks, outlook))


def _trend(
    outlook: pd.Series[Any] | None, measured: pd.DataFrame
) -> tuple[pd.Timestamp, pd.Timestamp, float, float] | None:
    """Begin, end and the values there of the line that the analysis fitted to the present regime.

    The analysis says how steep it is; its height is where half of the regime's measurements lie above it.
    """
    if outlook is None or units.missing(outlook.get("growth_per_day")):
        return None
    start = outlook.get("regime_start")
    start = outlook.get("analysis_period_start") if units.missing(start) else start
    if units.missing(start):
        return None
    used = measured[measured["measured_at"] >= start]
    if used.empty:
        return None
    slope, end = float(outlook["growth_per_day"]), used["measured_at"].iloc[-1]
    before = (end - used["measured_at"]) / pd.Timedelta(days=1)
    level = float((used["value"] + slope * before).median())
    return used["measured_at"].iloc[0], end, level - slope * float(before.iloc[0]), level


def _ahead(
    outlook: pd.Series[Any] | None, now: pd.Timestamp, level: float
) -> list[tuple[pd.Timestamp, float]]:
    """The forecast as points in time, from the present level on; empty where there is none."""
    if outlook is None:
        return []
    points = [
        (now + pd.Timedelta(days=days), float(outlook[column]))
        for column, days in HORIZONS.items()
        if not units.missing(outlook.get(column))
    ]
    return [(now, level), *points] if points else []


def _fan(
    outlook: pd.Series[Any] | None,
) -> tuple[list[pd.Timestamp], npt.NDArray[np.float64]] | None:
    """Times, and quantiles of shape (times, 7), of the growth engine's forecast from its present level on."""
    engine = None if outlook is None else outlook.get("engine")
    if not isinstance(engine, dict):
        return None
    origin = pd.Timestamp(engine["origin"])
    by_days = sorted((int(days), found) for days, found in engine["quantiles"].items())
    times = [origin, *(origin + pd.Timedelta(days=days) for days, _ in by_days)]
    return times, np.array([[engine["level"]] * 7, *(found for _, found in by_days)], dtype=float)


def _draw_fan(ax: Axes, times: list[pd.Timestamp], quantiles: npt.NDArray[np.float64]) -> None:
    """The bands that hold 9 in 10 and half of what may come; straight between the horizons that were recorded."""
    at = [_on(t) for t in times]
    for low, alpha in ((0, 0.13), (2, 0.22)):
        ax.fill_between(
            at, quantiles[:, low], quantiles[:, -1 - low], color=ORANGE, alpha=alpha, linewidth=0, zorder=1
        )


def _passage(outlook: pd.Series[Any] | None) -> list[pd.Timestamp | None] | None:
    """When the engine expects the capacity to be reached: by 1 in 10, as likely as not, 9 in 10; None without a day."""
    engine = None if outlook is None else outlook.get("engine")
    if not isinstance(engine, dict):
        return None
    runway = engine["runway"].get("capacity")
    if runway is None or runway["p10"] is None:
        return None
    return [
        None if runway[part] is None else engine["issued_at"] + pd.Timedelta(days=runway[part])
        for part in ("p10", "p50", "p90")
    ]


def _draw_passage(ax: Axes, outlook: pd.Series[Any] | None, capacity: float) -> None:
    """From the day of 1 in 10 to that of 9 in 10 along the capacity, the day in the middle marked."""
    days = _passage(outlook)
    if days is None or outlook is None:
        return
    last = days[2] or outlook["engine"]["issued_at"] + pd.Timedelta(days=365)
    ax.plot([_on(days[0]), _on(last)], [capacity] * 2, color=INK, linewidth=4.5, alpha=0.35, zorder=3)
    if days[1] is not None:
        ax.plot([_on(days[1])], [capacity], "D", color=INK, markersize=5, zorder=4)


def _draw_levels(
    ax: Axes, measured: pd.DataFrame, top: float, warning: float | None, critical: float | None
) -> dict[str, float]:
    """Draw capacity as it was, and the levels under it; those far above everything measured are left to words."""
    known = measured.dropna(subset=["capacity"])
    if known.empty:
        return {}
    capacity = float(known["capacity"].iloc[-1])
    shares = {"capacity": 100.0, "critical": critical, "warning": warning}
    looks = {"capacity": (INK, "-"), "critical": (RED, (0, (5, 2))), "warning": (AMBER, (0, (2, 2)))}
    levels = {}
    for name, share in shares.items():
        if share is None or capacity * share / 100 > 2.5 * top:
            continue
        colour, line = looks[name]
        ax.step(
            known["measured_at"],
            known["capacity"] * share / 100,
            where="post",
            color=colour,
            linewidth=1.0,
            linestyle=line,
        )
        ax.axhline(capacity * share / 100, color=colour, linewidth=0.6, alpha=0.45, linestyle=line)
        levels[name] = capacity * share / 100
    return levels


def _breaks(outlook: pd.Series[Any] | None) -> list[dict[str, Any]]:
    found = None if outlook is None else outlook.get("pattern_breaks")
    return list(found) if isinstance(found, list) else []


def _draw_breaks(
    ax: Axes, outlook: pd.Series[Any] | None, first: pd.Timestamp, now: pd.Timestamp
) -> list[tuple[pd.Timestamp, float | None]]:
    """Mark where a new regime began; returns those within the drawn time, with the change of level."""
    marks = [(pd.Timestamp(b["at"]), b.get("change")) for b in _breaks(outlook)]
    marks = [(at.tz_localize("UTC") if at.tzinfo is None else at, change) for at, change in marks]
    marks = [(at, change) for at, change in marks if first < at <= now]
    for at, _ in marks:
        ax.axvline(_on(at), color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
    if marks:
        ax.annotate(
            "new regime",
            xy=(_on(marks[-1][0]), 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -2),
            textcoords="offset points",
            va="top",
            color=MUTED,
            fontsize=8,
        )
    return marks


def _history_alt(
    name: str,
    unit: str,
    measured: pd.DataFrame,
    capacity: float | None,
    ahead: list[tuple[pd.Timestamp, float]],
    breaks: list[tuple[pd.Timestamp, float | None]],
    outlook: pd.Series[Any] | None,
) -> str:
    first, last = measured.iloc[0], measured.iloc[-1]
    text = (
        f"{name}: from {units.quantity(first['value'], unit)} on {first['measured_at']:%Y-%m-%d} "
        f"to {units.quantity(last['value'], unit)} on {last['measured_at']:%Y-%m-%d}"
    )
    if capacity is None:
        text += "; capacity is not known."
    else:
        share = units.percent(100 * last["value"] / capacity)
        text += f", {share} of the capacity of {units.quantity(capacity, unit)}."
    if breaks:
        text += f" {len(breaks)} level shift{'s' * (len(breaks) > 1)}, the last on {breaks[-1][0]:%Y-%m-%d}."
    if ahead:
        said = ", ".join(f"{units.quantity(v, unit)} in {(t - ahead[0][0]).days} days" for t, v in ahead[1:])
        text += f" Forecast: {said}."
    error = None if outlook is None else outlook.get("wape_30d")
    if error is not None and not units.missing(error):
        text += f" Backtested error at 30 days: {units.percent(error)}."
    return text + _fan_alt(unit, outlook)


def _fan_alt(unit: str, outlook: pd.Series[Any] | None) -> str:
    fan = _fan(outlook)
    if fan is None or outlook is None:
        return ""
    engine = outlook["engine"]
    said = ", ".join(
        f"{units.quantity(row[0], unit)} to {units.quantity(row[-1], unit)} in {(at - fan[0][0]).days} days"
        for at, row in zip(fan[0][1:], fan[1][1:], strict=True)
    )
    text = f" The engine's band of 9 in 10: {said}."
    days = _passage(outlook)
    if days is not None:
        named = list(zip(("1 in 10", "even", "9 in 10"), days, strict=True))
        told = [f"{word} by {day:%Y-%m-%d}" for word, day in named if day is not None]
        late = [word for word, day in named if day is None]
        told += [f"{' and '.join(late)} later than a year"] if late else []
        of = f", by {engine['runway_of']}" if "runway_of" in engine else ""
        text += f" Chances to be full{of}: {', '.join(told)}."
    return text


@_styled
def runway(outlook: pd.DataFrame, *, horizon_days: int = 365, top: int = 20, narrow: bool = False) -> Plot:
    """Days until each resource is full, shortest first.

    Parameters
    ----------
    outlook
        One row a resource: ``resource_type``, ``resource_name``, ``tenant`` if any, ``time_to_capacity_days``
        (NaN: not within the horizon or unknown), ``capacity`` (NaN unknown) and ``growth_per_day``; ``method`` and
        ``engine`` as in `history`: where the engine's forecast is the one shown, a line from its day of 1 in 10 to that
        of 9 in 10, and the probability of a year where it expects none.
    horizon_days
        Where the bars end; a longer runway is said in words.
    top
        How many resources are drawn; the count of the rest is stated.
    narrow
        Half as wide, names and words above the bars: to be read on a phone.
    """
    if outlook.empty:
        return _empty("No resource has been analysed yet.")
    rows = outlook.assign(_days=outlook["time_to_capacity_days"].astype(float))
    rows["_known"] = rows["capacity"].notna()
    rows = rows.sort_values(["_days", "_known"], ascending=[True, False], na_position="last", kind="stable")
    shown, rest = rows.head(top), max(0, len(rows) - top)
    ax = _axes(0.9 + 0.58 * len(shown), 4.2) if narrow else _axes(0.9 + 0.34 * len(shown))
    places = np.arange(len(shown))
    lengths = shown["_days"].fillna(0).clip(upper=horizon_days).to_numpy(dtype=float)
    colours = [RED if d < 30 else AMBER if d < 90 else BLUE for d in shown["_days"].fillna(math.inf)]
    ax.barh(places, lengths, color=colours, height=0.28 if narrow else 0.58)
    for place, length, (_, row) in zip(places, lengths, shown.iterrows(), strict=True):
        spread = _spread_of_days(row)
        if spread is not None:
            low, high = min(spread[0], horizon_days), horizon_days if spread[1] is None else spread[1]
            ax.plot([low, high], [place] * 2, color=INK, linewidth=1.6, alpha=0.75, solid_capstyle="butt")
            ax.plot([low], [place], "|", color=INK, markersize=7)
            if spread[1] is not None:
                ax.plot([high], [place], "|", color=INK, markersize=7)
            length = max(length, float(high))
        if narrow:
            _above(ax, float(place), _name(row), _runway_words(row, horizon_days))
            continue
        ax.annotate(
            _runway_words(row, horizon_days),
            xy=(length, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=INK if not units.missing(row["_days"]) else MUTED,
        )
    ax.set_yticks(places, [""] * len(shown) if narrow else [_name(row) for _, row in shown.iterrows()])
    ax.tick_params(axis="y", labelcolor=INK)
    ax.set_ylim(len(shown) - 0.5, -0.9 if narrow else -0.5)
    ax.set_xlim(0, horizon_days * (1.0 if narrow else 1.42))
    ax.set_xticks([mark for mark in (0, 30, 90, 180, 365) if mark <= horizon_days])
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", visible=True)
    ax.set_xlabel("days until full")
    ax.set_title("Runway" + (f": the {len(shown)} shortest of {len(rows)}" if rest else ""))
    full = rows[rows["_days"].notna()]
    unknown = int((~rows["_known"]).sum())
    text = (
        f"Days until full for {len(shown)} of {len(rows)} resources."
        if rest
        else f"Days until full for {len(rows)} resources."
    )
    if len(full):
        named = "; ".join(
            f"{_name(row)}, {_runway_words(row, horizon_days)}" for _, row in full.head(3).iterrows()
        )
        text += f" Shortest: {named}."
    else:
        text += " None is on its way to its capacity."
    if unknown:
        text += f" The capacity of {unknown} is not known."
    return Plot(ax, text)


def _above(ax: Axes, place: float, name: str, words: str) -> None:
    """Write a bar's name and words in two lines above it, from the left edge on."""
    for text, lift, colour in ((name, 21, INK), (words, 10.5, MUTED)):
        ax.annotate(
            text,
            xy=(0, place),
            xytext=(0, lift),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=colour,
        )


def _spread_of_days(row: pd.Series[Any]) -> tuple[int, int | None] | None:
    """Days of 1 in 10 and of 9 in 10 (None: more than a year) where the engine's runway is the one shown; else None."""
    if row.get("method") != "ENGINE":
        return None
    runway = row["engine"]["runway"].get("capacity")
    if runway is None or runway["p10"] is None:
        return None
    passed = int(row["engine"].get("passed", 0))
    late = runway["p90"]
    return max(0, int(runway["p10"]) - passed), None if late is None else max(0, int(late) - passed)


def _by_a_year(row: pd.Series[Any]) -> str:
    return units.share(row["engine"]["runway"]["capacity"]["by"]["365"])


def _runway_words(row: pd.Series[Any], horizon_days: int) -> str:
    """A runway in words: its days, 'not growing', 'capacity unknown', 'too little history'."""
    left = row["_days"]
    if not units.missing(left):
        said = units.days(left) if left <= horizon_days else f"more than {horizon_days} days"
        spread = _spread_of_days(row)
        if spread is None or left <= 0:
            return said
        return f"{said} ({spread[0]:,} to {'over 365' if spread[1] is None else f'{spread[1]:,}'})"
    if units.missing(row["capacity"]):
        return "capacity unknown"
    if row.get("method") == "ENGINE":
        return f"not within a year ({_by_a_year(row)})"
    growth = row.get("growth_per_day")
    if growth is None or units.missing(growth):
        return "too little history"
    return "not growing" if growth <= 0 else "not in sight"


_OUTCOMES: Final = {"true": GREEN, "false": RED, "censored": MUTED, "open": AMBER}
"""What followed an alert, in the order in which it is counted."""


@_styled
def threshold_history(
    measured: pd.DataFrame,
    episodes: pd.DataFrame,
    *,
    level: float,
    name: str,
    timezone: str = "UTC",
) -> Plot:
    """Utilization of one resource against one threshold, with the episodes and the alerts that it would have raised.

    Parameters
    ----------
    measured
        Columns ``measured_at`` (UTC) and ``utilization`` (percent of capacity), oldest first.
    episodes
        Columns ``start``, ``end`` (NaT while it lasts) and ``outcome``: 'true', 'false', 'censored', 'open', or missing
        where something held the alert back; ``raised_at`` where an alert came later than its episode.
    level
        The threshold in percent of capacity.
    name
        The threshold's name, as its owner wrote it.
    """
    title = units.plain(name)
    drawn = measured.dropna(subset=["utilization"])
    if drawn.empty:
        return _empty(f"{title}: no utilization to compare, since capacity is not known.")
    ax = _axes(2.7)
    times, shares = drawn["measured_at"], drawn["utilization"].to_numpy(dtype=float)
    ax.plot(times, shares, color=BLUE, linewidth=1.2)
    ax.axhline(level, color=RED, linewidth=1.0, linestyle=(0, (5, 2)))
    for episode in episodes.itertuples():
        end = times.iloc[-1] if units.missing(episode.end) else episode.end
        held = units.missing(episode.outcome)
        colour = FAINT if held else _OUTCOMES[str(episode.outcome).lower()]
        ax.axvspan(_on(episode.start), _on(end), color=colour, alpha=0.6 if held else 0.22, lw=0)
        if not held:
            raised = getattr(episode, "raised_at", episode.start)
            ax.plot([_on(raised)], [level], "v", color=colour, markersize=6)
    ax.set_ylim(0, max(105.0, float(shares.max()) * 1.08))
    ax.margins(x=0.01)
    _time_axis(ax, timezone)
    ax.set_ylabel("% of capacity")
    ax.set_title(title)
    _label_right(
        ax,
        [
            (level, f"threshold {units.number(level)} %", RED),
            (float(shares[-1]), f"now {units.percent(shares[-1])}", BLUE),
        ],
    )
    followed = episodes["outcome"].dropna().str.lower() if len(episodes) else pd.Series(dtype=str)
    counted = {word: int((followed == word).sum()) for word in _OUTCOMES}
    held_back = len(episodes) - len(followed)
    shown = {word: n for word, n in counted.items() if n or word != "censored"}
    right = 0
    for word in reversed(shown):
        ax.annotate(
            f"▼ {shown[word]} {word}",
            xy=(1.0, 1.0),
            xycoords="axes fraction",
            xytext=(-right, 8),
            textcoords="offset points",
            ha="right",
            color=_OUTCOMES[word],
            fontsize=8.5,
        )
        right += 24 + 5 * len(word) + 5 * len(str(shown[word]))
    text = (
        f"{title}: utilization between {units.percent(shares.min())} and {units.percent(shares.max())} "
        f"against a threshold of {units.number(level)} %. {len(followed)} alert{'s' * (len(followed) != 1)}: "
        f"{counted['true']} followed by what they warned of, {counted['false']} not, "
        f"{counted['open']} still undecided"
    )
    if counted["censored"]:
        text += f", {counted['censored']} censored: capacity was added or usage cut before anybody could tell"
    if held_back:
        text += f"; {held_back} more episode{'s' * (held_back != 1)} held back"
    return Plot(ax, f"{text}.")


@_styled
def tradeoff(candidates: pd.DataFrame, *, present: int, proposed: int | None, name: str) -> Plot:
    """Precision against recall of the policies that a threshold could have.

    Parameters
    ----------
    candidates
        One row a policy: ``precision`` and ``recall`` (percent; NaN under the minimum of cases) and ``alerts``.
    present, proposed
        Their places in `candidates`; proposed None: the present one stays.
    name
        The threshold's name, as its owner wrote it.
    """
    title = units.plain(name)
    known = candidates.reset_index(drop=True).dropna(subset=["precision", "recall"])
    if known.empty:
        return _empty(f"{title}: too few cases for the precision and recall of any candidate.")
    ax = _axes(3.4)
    spots = known.groupby(["recall", "precision"]).size().reset_index(name="size")
    ax.scatter(
        spots["recall"],
        spots["precision"],
        s=22 + 10 * np.sqrt(spots["size"].to_numpy(dtype=float)),
        color=BLUE,
        alpha=0.45,
        linewidths=0,
        clip_on=False,
        zorder=3,
    )
    marked = [(present, "now", RED)] + ([(proposed, "proposed", GREEN)] if proposed is not None else [])
    said = []
    for place, word, colour in marked:
        if place not in known.index:
            said.append(f"{word}: too few cases")
            continue
        row: pd.Series[Any] = known.loc[place]  # type: ignore[assignment]
        recall, precision, alerts = (float(v) for v in row[["recall", "precision", "alerts"]])
        ring: dict[str, Any] = {"markersize": 10, "markerfacecolor": "none", "markeredgewidth": 1.8}
        ax.plot([recall], [precision], "o", color=colour, clip_on=False, zorder=4, **ring)
        above = word == "proposed"
        ax.annotate(
            word,
            xy=(recall, precision),
            xytext=(9 if recall < 85 else -9, 9 if above else -9),
            textcoords="offset points",
            ha="left" if recall < 85 else "right",
            va="bottom" if above else "top",
            color=colour,
            fontsize=9,
            fontweight="bold",
        )
        said.append(
            f"{word}: precision {units.percent(precision)}, recall {units.percent(recall)}, "
            f"{units.number(alerts)} alerts"
        )
    ax.set_xlim(0, 100)
    ax.set_ylim(0, 104)
    ax.xaxis.grid(True)
    ax.set_xlabel("recall: % of reached levels that were announced in time")
    ax.set_ylabel("precision: % of alerts that were true")
    ax.set_title(title)
    unknown = len(candidates) - len(known)
    text = (
        f"{title}: {len(known)} candidate policies by precision and recall. {'; '.join(said).capitalize()}."
    )
    if unknown:
        text += f" {unknown} more have too few cases for both rates."
    return Plot(ax, text)


@_styled
def ledger(issued: pd.DataFrame, *, target_percent: float = 15.0, timezone: str = "UTC") -> Plot:
    """Forecasts as issued against what was then measured.

    Parameters
    ----------
    issued
        One row a forecast: ``target_at`` (UTC, the time it was made for), ``forecast``, ``measured``,
        ``resource_type``, ``resource_name`` and ``tenant`` if any.
    target_percent
        The error that the success criteria allow, in percent of the measured value.
    """
    scored = issued[issued["measured"].notna() & (issued["measured"] != 0)]
    if scored.empty:
        return _empty("No forecast has come due yet, so none can be scored.")
    errors = 100 * (scored["forecast"] - scored["measured"]) / scored["measured"]
    kept = float((errors.abs() <= target_percent).mean() * 100)
    ax = _axes(3.0)
    inside = errors.abs() <= target_percent
    edge = (
        4 * target_percent
    )  # a few wild ones would press the rest flat: they are drawn at the edge, and counted
    beyond = errors.abs() > edge
    for mask, colour, mark in (
        (inside, BLUE, "o"),
        (~inside & ~beyond, ORANGE, "o"),
        (errors > edge, RED, "^"),
        (errors < -edge, RED, "v"),
    ):
        ax.plot(
            scored.loc[mask, "target_at"],
            errors[mask].clip(-edge, edge),
            mark,
            color=colour,
            markersize=4.5,
            alpha=0.75,
            markeredgewidth=0,
        )
    ax.axhline(0, color=INK, linewidth=0.8)
    for line in (-target_percent, target_percent):
        ax.axhline(line, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    reach = min(1.08 * edge, max(target_percent * 1.6, float(errors.abs().max()) * 1.15))
    ax.set_ylim(-reach, reach)
    ax.yaxis.set_major_locator(MaxNLocator(5))
    _time_axis(ax, timezone)
    ax.set_ylabel("error, % of measured")
    ax.set_title("Forecasts 30 days ahead, against what was measured")
    _label_right(
        ax,
        [
            (target_percent, f"+{units.number(target_percent)} %", MUTED),
            (-target_percent, f"-{units.number(target_percent)} %", MUTED),
        ],
    )
    worst = int(np.argmax(errors.abs()))
    named = _name(scored.iloc[worst])
    worst_at = (_on(scored["target_at"].iloc[worst]), float(errors.clip(-edge, edge).iloc[worst]))
    if not inside.iloc[worst]:
        left = worst_at[0] > float(np.mean(ax.get_xlim()))
        ax.annotate(
            named,
            xy=worst_at,
            xytext=(-7 if left else 7, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=8,
            color=ORANGE,
        )
    text = (
        f"{len(scored)} forecasts made 30 days ahead: {units.percent(kept)} came within "
        f"{units.number(target_percent)} % of what was measured; the median error is "
        f"{units.percent(errors.abs().median())}, the largest {units.percent(errors.abs().max())} "
        f"({named}, {scored['target_at'].iloc[worst]:%Y-%m-%d})."
    )
    if beyond.any():
        text += f" Drawn at the edge, beyond {units.number(edge)} %: {int(beyond.sum())}."
    return Plot(ax, text)
