"""Straight lines through points, and how long a line takes to a level.

References
----------
.. [1] Youngs, Cramer (1971), Some results relevant to choice of sum and sum-of-product algorithms, Technometrics 13.
.. [2] Sen (1968), Estimates of the regression coefficient based on Kendall's tau, JASA 63.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FEW = 64  # points whose pairs are remembered


@dataclass(frozen=True)
class Moments:
    """Sums that suffice for a least-squares line and can be added up over rollups [1]_.

    Attributes
    ----------
    count : float
        Points.
    sum_x, sum_y : float
        Sums.
    sxx, syy, sxy : float
        Sums of squares and products about the means.
    """

    count: float
    sum_x: float
    sxx: float
    sum_y: float
    syy: float
    sxy: float

    @classmethod
    def of(cls, x: npt.ArrayLike, y: npt.ArrayLike) -> Moments:
        """Moments of points; a point with a part that is not finite is left out."""
        px, py = _known(x, y)
        if not px.size:
            return cls(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        dx, dy = px - px.mean(), py - py.mean()
        sums = (px.size, px.sum(), dx @ dx, py.sum(), dy @ dy, dx @ dy)
        return cls(*(float(value) for value in sums))

    def __add__(self, other: Moments) -> Moments:
        if not self.count or not other.count:
            return self if self.count else other
        weight = self.count * other.count / (self.count + other.count)
        dx = self.sum_x / self.count - other.sum_x / other.count
        dy = self.sum_y / self.count - other.sum_y / other.count
        return Moments(
            self.count + other.count,
            self.sum_x + other.sum_x,
            self.sxx + other.sxx + dx * dx * weight,
            self.sum_y + other.sum_y,
            self.syy + other.syy + dy * dy * weight,
            self.sxy + other.sxy + dx * dy * weight,
        )


@dataclass(frozen=True)
class Line:
    """A straight line y = intercept + slope x, and how well it is known.

    Attributes
    ----------
    slope, intercept : float
        In units of y a unit of x, and of y.
    slope_error, intercept_error : float
        Standard errors; NaN with fewer than three points.
    residual : float
        Residual sum of squares.
    """

    slope: float
    intercept: float
    slope_error: float = float("nan")
    intercept_error: float = float("nan")
    residual: float = float("nan")

    def at(self, x: float) -> float:
        """Value of the line at x."""
        return self.intercept + self.slope * x


def line_of(moments: Moments) -> Line:
    """The least-squares line of some moments.

    Raises
    ------
    ValueError
        With fewer than two distinct x: every slope fits.
    """
    if moments.count < 2 or moments.sxx <= 0:
        raise ValueError("a line needs points at two different times")
    slope = moments.sxy / moments.sxx
    mean_x, mean_y = moments.sum_x / moments.count, moments.sum_y / moments.count
    residual = max(moments.syy - slope * moments.sxy, 0.0)
    variance = residual / (moments.count - 2) if moments.count > 2 else float("nan")
    return Line(
        slope,
        mean_y - slope * mean_x,
        (variance / moments.sxx) ** 0.5,
        (variance * (1 / moments.count + mean_x**2 / moments.sxx)) ** 0.5,
        residual,
    )


def least_squares(x: npt.ArrayLike, y: npt.ArrayLike) -> Line:
    """Ordinary least squares, about the means so that large times cost no digits."""
    return line_of(Moments.of(x, y))


def robust_line(x: npt.ArrayLike, y: npt.ArrayLike, most: int = 500) -> Line:
    """Theil and Sen's line [2]_: the median slope of all pairs, and the median of what is left.

    Parameters
    ----------
    x, y : array_like, shape (points,)
        Parts that are not finite are left out.
    most : int
        Points beyond which every n-th is taken: pairs grow with the square.

    Raises
    ------
    ValueError
        With fewer than two distinct x.
    """
    px, py = _known(x, y)
    if px.size > most:
        kept = np.linspace(0, px.size - 1, most).astype(np.int64)
        px, py = px[kept], py[kept]
    first, second = _pairs(px.size) if px.size <= FEW else np.triu_indices(px.size, 1)
    run, rise = px[second] - px[first], py[second] - py[first]
    apart = run != 0
    if not apart.any():
        raise ValueError("a line needs points at two different times")
    slope = float(np.median(rise[apart] / run[apart]))
    middle = float(np.median(px))  # about the middle: large times cost no digits
    return Line(slope, float(np.median(py - slope * (px - middle))) - slope * middle)


@lru_cache(maxsize=FEW)
def _pairs(count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The indices of all pairs of so many points."""
    return np.triu_indices(count, 1)


def _known(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats]:
    px, py = np.asarray(x, np.float64), np.asarray(y, np.float64)
    known = np.isfinite(px) & np.isfinite(py)
    return px[known], py[known]


def time_to(level: float, value: float, slope: float) -> float:
    """Time until a line that stands at `value` reaches `level` from below.

    Returns
    -------
    float
        0 where the value is there already, however it moves; infinity where a line that does not rise never gets
        there; NaN where one of the three is unknown.
    """
    if np.isnan(level) or np.isnan(value) or np.isnan(slope):
        return float("nan")
    if value >= level:
        return 0.0
    return (level - value) / slope if slope > 0 else float("inf")
