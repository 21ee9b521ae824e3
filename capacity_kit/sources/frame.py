"""The measurement frame: what every source yields and the vault stores.

One row is one measurement:

=================  ==========================================================================
measured_at        when, as UTC (``datetime64[us, UTC]``)
tenant             whose: hex of ``tenant_hk``; missing (None, NaN): the system as a whole
resource_type      what kind of resource, such as ``STORAGE``
resource_name      which one of its kind
value              how much of it was in use, in ``unit`` (float)
capacity           how much it can hold, in ``unit``; NaN: not known here (float)
unit               such as ``bytes``
line               where it stands in its source, counted from 1 (int), for messages
=================  ==========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import pandas as pd

from capacity_kit.errors import CapacityError

COLUMNS: Final = (
    "measured_at",
    "tenant",
    "resource_type",
    "resource_name",
    "value",
    "capacity",
    "unit",
    "line",
)
IDENTITY: Final = ["tenant", "resource_type", "resource_name", "unit"]
"""The columns that say which resource a measurement is of, and in what it is counted."""

AHEAD: Final = pd.Timedelta(days=1)
"""How far a clock may be ahead of ours before its times are taken for a mistake."""

EARLIEST: Final = pd.Timestamp("1970-01-01", tz="UTC")
"""What is older than Unix time was not measured by anything."""

_LINES_SHOWN: Final = 5
_REASONS_SHOWN: Final = 4
_TYPE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,49}")


class Refusals:
    """What is wrong with a source: every reason, with its first lines and how many there are.

    Parameters
    ----------
    label
        What the source is called in messages: a file's name.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self._found: dict[str, tuple[list[int], int]] = {}
        self._samples: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, why: str, lines: Iterable[int] = (), count: int | None = None) -> None:
        """Note a reason; nothing is noted when ``lines`` is given and holds none.

        Parameters
        ----------
        why
            The reason, as it continues "file: ".
        lines
            Where it shows, counted from 1.
        count
            How many lines there are, when ``lines`` holds the first few only.
        """
        found = [int(line) for line in lines]
        shown, before = self._found.get(why, ([], 0))
        self._found[why] = (
            (shown + found)[:_LINES_SHOWN],
            before + (len(found) if count is None else count),
        )

    def check(self, why: str, wrong: np.ndarray, lines: np.ndarray, sample: str | None = None) -> None:
        """Note a reason for the lines where ``wrong`` (bool, same shape as ``lines``) is true.

        The first ``sample`` of a reason is shown with it.
        """
        if wrong.any():
            self.add(why, lines[wrong])
            if sample is not None:
                self._samples.setdefault(why, f", such as {sample[:40]!r}")

    def __str__(self) -> str:
        reasons = [
            why + self._samples.get(why, "") + _in_lines(lines, count)
            for why, (lines, count) in self._found.items()
        ]
        if len(reasons) > _REASONS_SHOWN:
            reasons[_REASONS_SHOWN:] = [f"and {len(reasons) - _REASONS_SHOWN:,} reasons more"]
        return f"{self.label}: {'; '.join(reasons)}"

    def raise_if_any(self, hint: str = "") -> None:
        """Raise what was noted as one line.

        Parameters
        ----------
        hint
            What can be done about it.

        Raises
        ------
        CapacityError
            When there is any reason.
        """
        if self:
            raise CapacityError(str(self), f"Nothing was stored. {hint}")


def _in_lines(lines: list[int], count: int) -> str:
    """Say where: `` (line 3)``, `` (lines 3, 4, 5, 6, 7 and 12 more)``."""
    if not lines:
        return ""
    more = f" and {count - len(lines):,} more" if count > len(lines) else ""
    return f" ({'line' if count == 1 else 'lines'} {', '.join(map(str, lines))}{more})"


def check(frame: pd.DataFrame, refusals: Refusals, now: pd.Timestamp) -> None:
    """Note everything that makes a row of a frame impossible as a measurement.

    Parameters
    ----------
    frame
        A measurement frame.
    refusals
        Where to note it.
    now
        The present time (UTC): a measurement cannot be more than a day ahead of it.

    Raises
    ------
    TypeError
        When this is no measurement frame at all: a mistake in the source's code, not in its data.
    """
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        raise TypeError(f"not a measurement frame: {', '.join(missing)} missing")
    if str(getattr(frame["measured_at"].dtype, "tz", None)) != "UTC":
        raise TypeError("not a measurement frame: measured_at is not in UTC")
    lines = frame["line"].to_numpy()
    value = frame["value"].to_numpy(dtype=float)
    capacity = frame["capacity"].to_numpy(dtype=float)

    refusals.check("the time is missing", frame["measured_at"].isna().to_numpy(), lines)
    refusals.check(
        "the time is more than a day ahead of now", (frame["measured_at"] > now + AHEAD).to_numpy(), lines
    )
    refusals.check("the time is before 1970", (frame["measured_at"] < EARLIEST).to_numpy(), lines)
    refusals.check("the value is not a number", np.isnan(value), lines)
    refusals.check("the value is infinite", np.isinf(value), lines)
    refusals.check("the value is negative", (value < 0) & ~np.isinf(value), lines)
    refusals.check("the capacity is infinite", np.isinf(capacity), lines)
    refusals.check("the capacity is 0 or negative", (capacity <= 0) & ~np.isinf(capacity), lines)
    _check_text(
        frame["resource_type"],
        lambda text: _TYPE.fullmatch(text) is not None,
        "the resource type is not a word of capitals, digits and _ (50 at most)",
        refusals,
        lines,
    )
    _check_text(
        frame["resource_name"],
        lambda text: _is_label(text, 200),
        "the resource name is missing, longer than 200 characters or not printable",
        refusals,
        lines,
    )
    _check_text(
        frame["unit"],
        lambda text: _is_label(text, 30),
        "the unit is missing, longer than 30 characters or not printable",
        refusals,
        lines,
    )


def _check_text(
    column: pd.Series, is_good: Callable[[str], bool], why: str, refusals: Refusals, lines: np.ndarray
) -> None:
    """Judge each distinct text of a column once."""
    codes, texts = pd.factorize(column)
    bad = [code for code, text in enumerate(texts) if not (isinstance(text, str) and is_good(text))]
    refusals.check(why, np.isin(codes, [*bad, -1]), lines)


def _is_label(text: str, longest: int) -> bool:
    return 0 < len(text) <= longest and text.isprintable() and text == text.strip()
