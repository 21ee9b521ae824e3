"""A runway over a tenant's reports as a line of a few hundred bytes, with the same in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from math import sqrt
from typing import Final, NamedTuple

from markupsafe import Markup

from capacity_kit import units

YEAR: Final = 365
"""Days: a runway that is longer is drawn as long as this."""

SOON: Final = 30
"""Days: a runway as short is grave."""

NEAR: Final = 90
"""Days: one as short is to be watched."""

LONGEST: Final = 36
"""Points of a line, the newest."""

_WIDTH: Final = 104
_HEIGHT: Final = 36
_EDGE: Final = 3


class Point(NamedTuple):
    """A runway by one report.

    Attributes
    ----------
    as_of : str
        The report's time: ``2026-11-01T00:00:00Z``.
    p10, p50, p90 : int or None
        Days; None: later than a year, or, of the outer two beside a `p50`, perhaps not known.
    """

    as_of: str
    p10: int | None
    p50: int | None
    p90: int | None


def words(point: Point) -> str:
    """A runway in words."""
    if point.p50 is None:
        return "more than a year"
    return "full" if point.p50 <= 0 else units.days(point.p50)


def mood(point: Point) -> str:
    """How grave it is, as the theme names it."""
    if point.p50 is None or point.p50 > NEAR:
        return "good"
    return "attention" if point.p50 > SOON else "bad"


def drawn(points: Sequence[Point]) -> Markup:
    """The line of runways, the oldest first, in a band from 1 in 10 to 9 in 10; empty without a second point.

    The height is the root of the days, so that the last weeks are told apart beside a year; the dashed line is at
    `NEAR` days. Equal distances along it are equal times.
    """
    shown = list(points)[-LONGEST:]
    if len(shown) < 2:
        return Markup("")
    days = [_day(point.as_of) for point in shown]
    span = max(days[-1] - days[0], 1e-9)
    across = [_EDGE + (_WIDTH - 2 * _EDGE) * (day - days[0]) / span for day in days]
    line = [f"{x:.0f} {_height(point.p50):.1f}" for x, point in zip(across, shown, strict=True)]
    parts = [f'<path class="near" d="M0 {_height(NEAR):.1f}H{_WIDTH}"/>']
    if any(point.p10 is not None for point in shown):
        upper = [f"{x:.0f} {_height(_late(point)):.1f}" for x, point in zip(across, shown, strict=True)]
        lower = [f"{x:.0f} {_height(_early(point)):.1f}" for x, point in zip(across, shown, strict=True)]
        parts.append(f'<path class="band" d="M{"L".join([*upper, *reversed(lower)])}Z"/>')
    last = f'cx="{across[-1]:.0f}" cy="{_height(shown[-1].p50):.1f}"'
    parts.append(f'<path class="line" d="M{"L".join(line)}"/><circle {last} r="2.5"/>')
    said = (
        f"Runway over {len(shown)} reports: {words(shown[0])} on {shown[0].as_of[:10]}, "
        f"{words(shown[-1])} on {shown[-1].as_of[:10]}"
    )
    return Markup(  # noqa: S704 -- numbers, and words that are escaped
        f'<svg class="spark {mood(shown[-1])}" role="img" aria-label="{escape(said)}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg>'
    )


def _late(point: Point) -> int | None:
    return point.p50 if point.p10 is None and point.p50 is not None else point.p90


def _early(point: Point) -> int | None:
    return point.p50 if point.p10 is None else point.p10


def _height(days: int | None) -> float:
    share = 1.0 if days is None else sqrt(min(max(days, 0), YEAR) / YEAR)
    return _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * share


def _day(as_of: str) -> float:
    return datetime.fromisoformat(as_of).timestamp() / 86400
