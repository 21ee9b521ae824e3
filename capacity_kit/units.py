"""How a number, a duration, a time or a name is said to a reader. Every figure, table and sentence uses these."""

from __future__ import annotations

import math
import unicodedata
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

DASH = "–"
_BINARY = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def missing(value: Any) -> bool:
    """True for None, NaN and NaT."""
    return value is None or bool(pd.isna(value))


def binary_scale(largest: float) -> tuple[float, str]:
    """The divisor and the binary unit in which `largest` bytes reads best.

    Returns
    -------
    divisor : float
        Bytes in one unit.
    unit : str
        'bytes', 'KiB', 'MiB', 'GiB', ...
    """
    power = 0
    while abs(largest) >= 1024 and power < len(_BINARY) - 1:
        largest /= 1024
        power += 1
    return float(1024**power), _BINARY[power]


def number(value: float | None, digits: int = 3) -> str:
    """`value` with about `digits` significant digits and thousands separated; a dash where it is missing."""
    if value is None or missing(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def quantity(value: float | None, unit: str) -> str:
    """`value` in `unit`; bytes in binary units, so 1073741824 bytes is '1 GiB'."""
    if value is None or missing(value):
        return DASH
    if unit == "bytes":
        divisor, unit = binary_scale(value)
        value = value / divisor
    said = number(value)
    if said == "1" and unit.endswith("s") and unit.isalpha():
        unit = unit[:-1]
    return f"{said} {unit}"


def count(number: int, one: str, many: str = "") -> str:
    """A number of things: '1 alert', '1,204 alerts'; `many` where they are not called by `one` and an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def percent(value: float | None) -> str:
    """`value`, already in percent, with one decimal."""
    return DASH if value is None or missing(value) else f"{value:,.1f} %"


def share(value: float | None) -> str:
    """A probability in words that no reader takes for more than it is: '< 1 %', '42 %', '> 99 %'."""
    if value is None or missing(value):
        return DASH
    whole = round(100 * value)
    return "< 1 %" if whole < 1 else "> 99 %" if whole > 99 else f"{whole} %"


def days(value: float | None, unknown: str = DASH) -> str:
    """A number of whole days in words: 0 is 'now', None is `unknown`."""
    if value is None or missing(value):
        return unknown
    count = math.floor(value)
    if count <= 0:
        return "now"
    if count == 1:
        return "1 day"
    if count < 730:
        return f"{count:,} days"
    return f"{count / 365.25:,.1f} years"


def at(when: datetime | pd.Timestamp | None, timezone: str = "UTC", *, clock: bool = True) -> str:
    """`when` in the reader's time zone: '2026-11-01 00:00 UTC', or the date alone.

    Raises
    ------
    ZoneInfoNotFoundError
        If there is no time zone of that name.
    """
    if when is None or missing(when):
        return DASH
    stamp = pd.Timestamp(when)
    stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp
    local = stamp.tz_convert(ZoneInfo(timezone))
    return local.strftime("%Y-%m-%d %H:%M %Z" if clock else "%Y-%m-%d")


def plain(name: Any, width: int = 60) -> str:
    """A name on one line: no control or direction characters, at most `width` characters."""
    text = "".join(
        " " if c.isspace() else c
        for c in str(name)
        if unicodedata.category(c) not in ("Cf", "Cc", "Cs") or c.isspace()
    )
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def title(resource_type: str) -> str:
    """'TRANSACTION_ID' as 'Transaction id'; 'CPU' and 'WAL' stay."""
    if resource_type in ("CPU", "WAL"):
        return resource_type
    return resource_type.replace("_", " ").strip().capitalize()


def resource(resource_type: str, resource_name: str) -> str:
    """A resource in words: 'Storage documents'; 'Users' where its name only says its type again."""
    kind, name = title(resource_type), plain(resource_name, 40)
    return kind if name.lower() == kind.lower() else f"{kind} {name}"
