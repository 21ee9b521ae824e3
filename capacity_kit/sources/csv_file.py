"""Measurements from CSV files, in the shapes that people have them.

- *canonical*: one measurement a line, in the columns ``measured_at``, ``tenant``, ``resource_type``,
  ``resource_name``, ``value``, ``capacity``, ``unit``; needs no layout, and may do without ``tenant`` and ``capacity``
- *long*: one measurement a line, in columns of other names
- *wide*: one time a line, a column for each resource

A file is read in pieces, judged whole, and refused whole, in one line that names the lines at fault.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import compress, islice
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from capacity_kit.errors import USAGE, CapacityError
from capacity_kit.sources import frame as measurements

_BATCH: Final = 50_000
"""Measurements a piece, about 20 MB while it is worked on."""

_ISO: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII
)
_LINE_BREAK: Final = re.compile(r"\r\n|\r|\n")
_SYSTEM: Final = frozenset({"", "SYSTEM"})
_LAST_UNIX_SECOND: Final = 253_402_300_799
"""The end of the year 9999; a greater number counts milliseconds, or nothing at all."""


@dataclass(frozen=True)
class Layout:
    """Which column of a file holds what. The defaults are the canonical file.

    Attributes
    ----------
    time
        The column of times.
    values
        The columns of values. One: a measurement a line. Several, or one as ``COLUMN=NAME``: a wide file,
        each column a resource named ``NAME``, or like the column itself.
    name_column, name
        The column that names the resource, or one name for all of the file.
    type_column, resource_type
        The column of resource types, or one type for all of the file.
    unit_column, unit
        The column of units, or one unit for all of the file.
    tenant_column, tenant
        The column of tenants, or one tenant for all of the file: a key, or ``SYSTEM`` (also: an empty cell).
    capacity_column, capacity
        The column of capacities (an empty cell: not known), or one capacity for all of the file.
    time_zone
        The zone of times that do not say theirs, such as ``Europe/Berlin``.
    unix_seconds
        Whether times are seconds since 1970.
    """

    time: str = "measured_at"
    values: tuple[str, ...] = ("value",)
    name_column: str | None = None
    name: str | None = None
    type_column: str | None = None
    resource_type: str | None = None
    unit_column: str | None = None
    unit: str | None = None
    tenant_column: str | None = None
    tenant: str | None = None
    capacity_column: str | None = None
    capacity: float | None = None
    time_zone: str = "UTC"
    unix_seconds: bool = False

    def __post_init__(self) -> None:
        for option, column, constant in (
            ("name", self.name_column, self.name),
            ("type", self.type_column, self.resource_type),
            ("unit", self.unit_column, self.unit),
            ("tenant", self.tenant_column, self.tenant),
            ("capacity", self.capacity_column, self.capacity),
        ):
            if column is not None and constant is not None:
                raise CapacityError(f"give a {option} or a column of {option}s, not both", exit_code=USAGE)
        if not self.values:
            raise CapacityError("name at least one column of values", exit_code=USAGE)
        if self.is_wide and (self.name_column or self.name):
            raise CapacityError(
                "with several columns of values each is a resource of its own: no name beside them",
                "Name a resource by COLUMN=NAME.",
                exit_code=USAGE,
            )
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            raise CapacityError(
                f"{self.time_zone!r} is not a time zone", "Give one such as UTC or Europe/Berlin.", USAGE
            ) from None

    @property
    def is_wide(self) -> bool:
        """Whether each column of values is a resource."""
        return len(self.values) > 1 or "=" in self.values[0]

    @property
    def resources(self) -> dict[str, str]:
        """Resource names by column of values."""
        pairs = (value.partition("=") for value in self.values)
        return {column: name or column for column, _, name in pairs}


@dataclass
class CsvFile:
    """One CSV file of measurements.

    Parameters
    ----------
    path
        The file: UTF-8, comma separated, with a header.
    tenant_of
        Finds a tenant by its key or hash key, such as ``Vault.tenant``: returns the hex of ``tenant_hk``;
        None or a CapacityError: there is no such tenant.
    layout
        Which column holds what.

    Attributes
    ----------
    gaps
        Empty cells of a wide file so far: times at which a resource was not measured.
    is_naive
        Whether the times do not say their zone; None before the first is read.
    fraction_read
        How much of the file is read, from 0 to 1, for a progress bar.
    """

    path: Path
    tenant_of: Callable[[str], str | None]
    layout: Layout = field(default_factory=Layout)
    gaps: int = field(default=0, init=False)
    is_naive: bool | None = field(default=None, init=False)
    fraction_read: float = field(default=0.0, init=False)
    _tenants: dict[str, str | None] = field(default_factory=dict, init=False, repr=False)

    @property
    def record_source(self) -> str:
        """What the vault is told as the origin."""
        return f"IMPORT:{self.path.name}"

    @property
    def method(self) -> str:
        """How the values came here, in words."""
        return "capacity import csv: " + ", ".join(self.layout.values)

    @property
    def notes(self) -> list[str]:
        """What the reader of an import should know, once the file is read."""
        notes = []
        if self.is_naive:
            notes.append(f"times without a zone were read as {self.layout.time_zone}")
        if self.gaps:
            notes.append(f"{self.gaps:,} empty cells were taken for gaps")
        return notes

    def batches(self, now: pd.Timestamp | None = None) -> Iterator[pd.DataFrame]:
        """Read the file as measurement frames, some ten thousands of rows each.

        When a line is at fault, no more frames are made, but the file is read to its end, so that the
        refusal can say how many lines are.

        Parameters
        ----------
        now
            The present time in UTC (default: the clock's).

        Yields
        ------
        DataFrame
            A measurement frame.

        Raises
        ------
        CapacityError
            When the file cannot be read or any line of it is at fault.
        """
        now = now or pd.Timestamp.now("UTC")
        refusals = measurements.Refusals(self.path.name)
        rows = 0
        for cells, lines in self._pieces(max(1, _BATCH // len(self.layout.values)), refusals):
            rows += len(lines)
            batch = self._frame(cells, lines, refusals)
            measurements.check(batch, refusals, now)
            if not refusals and len(batch):
                yield batch
        if not rows and not refusals:
            refusals.add("a header and nothing below it")
        refusals.raise_if_any()

    def _pieces(
        self, size: int, refusals: measurements.Refusals
    ) -> Iterator[tuple[dict[str, list[str]], np.ndarray]]:
        """Yield the cells of some lines, by column, and the numbers of those lines."""
        try:
            if self.path.exists() and not self.path.is_file():  # a pipe has no end to wait for
                raise CapacityError(f"{self.path}: not a file", "Save it as a CSV file and import that.")
            total = max(1, self.path.stat().st_size)
            with self.path.open("rb") as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as stream:
                reader = csv.reader(stream, strict=True)
                header = [name.strip() for name in next(reader, [])]
                positions = self._positions(header)
                line = reader.line_num
                while rows := list(islice(reader, size)):
                    self.fraction_read = raw.tell() / total
                    lines, line = _line_numbers(rows, line, reader.line_num), reader.line_num
                    widths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
                    fits = widths == len(header)
                    refusals.check(
                        f"not as many cells as the header's {len(header)}", ~fits & (widths > 0), lines
                    )
                    columns = list(zip(*(rows if fits.all() else compress(rows, fits)), strict=True))
                    if columns:
                        cells = {name: list(map(str.strip, columns[at])) for name, at in positions.items()}
                        yield cells, lines[fits]
        except OSError as error:
            raise CapacityError(f"{self.path}: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise CapacityError(
                f"{self.path.name}: not UTF-8 text (line {self._first_undecodable_line()})",
                "Save it as CSV in UTF-8. Nothing was stored.",
            ) from None
        except csv.Error as error:
            raise CapacityError(
                f"{self.path.name}: not CSV ({error}, line {reader.line_num})", "Nothing was stored."
            ) from None

    def _positions(self, header: list[str]) -> dict[str, int]:
        """Find the columns that the layout names; the canonical ones are found without being named."""
        if not any(header):
            raise CapacityError(f"{self.path.name}: empty", "Nothing was stored.")
        layout = self.layout
        wanted = [layout.time, *layout.resources]
        for role, column, constant in (
            ("resource_name", layout.name_column, layout.name or self._is_named_by_column(header) or None),
            ("resource_type", layout.type_column, layout.resource_type),
            ("unit", layout.unit_column, layout.unit),
            ("tenant", layout.tenant_column, layout.tenant),
            ("capacity", layout.capacity_column, layout.capacity),
        ):
            if column is not None:
                wanted.append(column)
            elif constant is None and (role in header or role not in ("tenant", "capacity")):
                wanted.append(role)
        if missing := [name for name in wanted if name not in header]:
            raise CapacityError(
                f"{self.path.name}: no column {', '.join(map(repr, missing))} (line 1 has {', '.join(header)[:200]})",
                "Say which column holds it, or give one value for all of the file. Nothing was stored.",
            )
        if doubled := [name for name in wanted if header.count(name) > 1]:
            raise CapacityError(
                f"{self.path.name}: column {doubled[0]!r} more than once (line 1)", "Nothing was stored."
            )
        return {name: header.index(name) for name in wanted}

    def _is_named_by_column(self, header: list[str]) -> bool:
        """Whether a column of values is the resource's name, nothing else being one."""
        return self.layout.is_wide or (
            self.layout.values != ("value",) and "resource_name" not in header and not self.layout.name_column
        )

    def _first_undecodable_line(self) -> int:
        with self.path.open("rb") as raw:
            for number, line in enumerate(raw, 1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return number
        return 1

    def _frame(
        self, cells: dict[str, list[str]], lines: np.ndarray, refusals: measurements.Refusals
    ) -> pd.DataFrame:
        """Turn cells into a measurement frame, without the lines whose fault is found here."""
        layout = self.layout
        times, good = self._times(cells[layout.time], lines, refusals)
        tenant, has_tenant = self._tenant(cells, lines, refusals)
        capacity, is_given = _numbers(_texts(cells, "capacity", layout.capacity_column, None), len(lines))
        refusals.check("the capacity is not a number", is_given & np.isnan(capacity), lines)
        if layout.capacity is not None:
            capacity = np.full(len(lines), layout.capacity)
        good &= has_tenant & ~(is_given & np.isnan(capacity))

        kinds = _texts(cells, "resource_type", layout.type_column, layout.resource_type)
        names = _texts(cells, "resource_name", layout.name_column, layout.name)
        common = pd.DataFrame(
            {
                "measured_at": times,
                "tenant": tenant,
                "resource_type": kinds.upper()
                if isinstance(kinds, str)
                else [kind.upper() for kind in kinds],
                "capacity": capacity,
                "unit": _texts(cells, "unit", layout.unit_column, layout.unit),
                "line": lines,
            }
        )
        frames = []
        for column, name in layout.resources.items():
            value, is_given = _numbers(cells[column], len(lines))
            if layout.is_wide:
                self.gaps += int((~is_given).sum())
            else:
                refusals.check("the value is missing", ~is_given, lines)
            named = name if layout.is_wide else names or column
            frames.append(common.assign(resource_name=named, value=value).loc[good & is_given])
        frame: pd.DataFrame = pd.concat(frames, ignore_index=True)
        return frame

    def _tenant(
        self, cells: dict[str, list[str]], lines: np.ndarray, refusals: measurements.Refusals
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the tenants: their hash keys (None: the system), and which lines have one that exists."""
        labels = _texts(cells, "tenant", self.layout.tenant_column, self.layout.tenant)
        if isinstance(labels, str):
            labels = [labels] * len(lines)
        for label in set(labels) - self._tenants.keys():
            self._tenants[label] = None if label in _SYSTEM else self._find_tenant(label)
        unknown = {label for label, found in self._tenants.items() if found is None} - _SYSTEM
        tenants = np.array([self._tenants[label] for label in labels], dtype=object)
        exists = np.array([label not in unknown for label in labels])
        for label in sorted(unknown.intersection(labels)):
            refusals.add(
                f"unknown tenant {label!r}",
                [n for n, text in zip(lines, labels, strict=True) if text == label],
            )
        return tenants, exists

    def _find_tenant(self, label: str) -> str | None:
        try:
            return self.tenant_of(label)
        except CapacityError:
            return None

    def _times(
        self, texts: list[str], lines: np.ndarray, refusals: measurements.Refusals
    ) -> tuple[pd.DatetimeIndex, np.ndarray]:
        """Read the times as UTC, and say for which lines that was possible."""
        if self.layout.unix_seconds:
            seconds, _ = _numbers(texts, len(lines))
            good = (seconds >= 0) & (seconds <= _LAST_UNIX_SECOND)
            refusals.check("the time is not in seconds since 1970", ~good, lines)
            micros = np.where(good, seconds * 1e6, 0).round().astype(np.int64)
            return pd.DatetimeIndex(micros.view("datetime64[us]"), tz="UTC"), good

        matches = [_ISO.fullmatch(text) for text in texts]
        naive = np.array([match is None or match["zone"] is None for match in matches])
        readable = pd.Index([match and match[0] for match in matches], dtype=object)
        moments = pd.to_datetime(readable, format="ISO8601", errors="coerce", utc=True).as_unit("us")
        good = np.asarray(moments.notna())
        if not good.all():
            sample = texts[int(np.argmin(good))]
            refusals.check("the time is not understood", ~good, lines, sample)
        if self.is_naive is None and good.any():
            self.is_naive = bool(naive[good.argmax()])
        other = good & (naive != self.is_naive)
        refusals.check("some times say their zone and others do not", other, lines)
        good &= ~other
        if self.is_naive and self.layout.time_zone != "UTC":
            moments = (
                moments.tz_localize(None)
                .tz_localize(self.layout.time_zone, ambiguous="NaT", nonexistent="NaT")
                .tz_convert("UTC")
            )
            changed = good & np.asarray(moments.isna())
            refusals.check(
                f"a clock change in {self.layout.time_zone} skips or repeats the time", changed, lines
            )
            good &= ~changed
        return moments, good


def _line_numbers(rows: list[list[str]], before: int, after: int) -> np.ndarray:
    """Number the rows that stand on the lines after ``before`` up to ``after``, each by its last line."""
    if after - before == len(rows):
        return np.arange(before + 1, after + 1)
    heights = [1 + sum(len(_LINE_BREAK.findall(cell)) for cell in row) for row in rows]
    return before + np.cumsum(heights)


def _texts(
    cells: dict[str, list[str]], role: str, column: str | None, constant: str | None
) -> list[str] | str:
    """Return a column's cells, or what holds for all of the file; empty when neither is there."""
    return cells.get(column or role, "") if constant is None else constant


def _numbers(texts: list[str] | str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Read numbers: as floats (NaN: empty or none), and whether each cell held anything."""
    if isinstance(texts, str):
        texts = [texts] * count
    is_given = np.array([text != "" for text in texts])
    try:
        if "_" not in "".join(texts):  # which Python would read as a number's grouping
            return np.array([float(text or "nan") for text in texts]), is_given
    except ValueError:
        pass
    return np.array([_number(text) for text in texts]), is_given


def _number(text: str) -> float:
    try:
        return float("nan" if "_" in text else text)
    except ValueError:
        return float("nan")
