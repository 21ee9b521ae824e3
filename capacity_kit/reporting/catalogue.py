"""What reports a site holds, without reading them all again each time that one is added."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from capacity_kit import units
from capacity_kit.reporting import site
from capacity_kit.reporting.result import Result, State

NAME: Final = ".catalogue.json"
LATEST: Final = "latest"
"""The last part of the address that always leads to a tenant's newest report."""

_LARGEST: Final = 1 << 20
"""Bytes: no result is as long, and what is is not one of ours."""
_HEADLINE: Final = 300
"""Characters of a headline that lists show."""
_SETTLED: Final = 2_000_000_000
"""Nanoseconds: the time of change of a folder says nothing of a second change as soon after as that."""
_PLACE: Final = re.compile(r"[^/._][^/]*/[^/.][^/]*/[^/.][^/]*")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_UNREADABLE: Final = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
"""What a file that is not as we write it may end in."""
_AGES: Final = 1_000_000
"""Days: no runway is as long."""


class Lasts(NamedTuple):
    """The shortest runway that a report found: until capacity, of the resources whose runway it knows.

    Attributes
    ----------
    resource : str
        Whose it is, in words.
    p10, p50, p90 : int or None
        Days by which its capacity is reached with a probability of 10, 50 and 90 %; None: later than a year, or,
        beside a `p50`, not known.
    """

    resource: str
    p10: int | None
    p50: int | None
    p90: int | None


class Entry(NamedTuple):
    """One report: where it is, and what lists say of it.

    Attributes
    ----------
    place : str
        Its folder from the site's top: ``<notebook>/<tenant>/<time>``.
    mark : str
        Tells whether its ``result.json`` is still the one that was read.
    title, tenant, label : str
        What was run, for whom (key and words).
    as_of : str
        For which moment: ``2026-11-01T00:00:00Z``, which sorts as time does.
    verdict : State
        What it found.
    headline : str
        In one sentence.
    is_simulated : bool
        Whether some of its measurements are.
    lasts : Lasts or None
        The shortest runway, None where it knows none.
    """

    place: str
    mark: str
    title: str
    tenant: str
    label: str
    as_of: str
    verdict: State
    headline: str
    is_simulated: bool
    lasts: Lasts | None = None

    @property
    def href(self) -> str:
        """Its page, from the site's top."""
        return f"{self.place}/index.html"

    @property
    def time(self) -> str:
        """The last part of its address."""
        return self.place.rpartition("/")[2]

    @property
    def pair(self) -> str:
        """Notebook and tenant, as its address has them."""
        return self.place.rpartition("/")[0]

    @property
    def folder(self) -> str:
        """The tenant, as its address has it."""
        return self.place.split("/")[1]

    @property
    def series(self) -> str:
        """What it is one of in time: reports of one notebook for one tenant, with the same other parameters."""
        return f"{self.pair}/{self.time[18:]}"

    @property
    def is_usual(self) -> bool:
        """Whether it was made with default parameters: the address of another ends in their digest."""
        return self.time.endswith("Z")


class Pair(NamedTuple):
    """One folder of reports, of a notebook for a tenant.

    Attributes
    ----------
    changed : int
        When reports were last added or removed (nanoseconds by the file system's clock); 0: too lately to be told
        from a change after that.
    reports : dict
        Its reports by place.
    """

    changed: int
    reports: dict[str, Entry]


Catalogue = dict[str, Pair]
"""Folder of a notebook and tenant, from the site's top, to its reports."""


def shortest(result: Result) -> Lasts | None:
    """The shortest runway until capacity that a report knows; None where it knows none."""
    known = [r for r in result.runway if r.level == "capacity" and r.method is not None]
    if not known:
        return None
    first = min(
        known, key=lambda r: (r.p50_days is None, r.p50_days or 0, r.p10_days is None, r.p10_days or 0)
    )
    name = units.resource(first.resource_type, first.resource_name)
    return Lasts(name, first.p10_days, first.p50_days, first.p90_days)


def moment(as_of: str) -> datetime:
    """A report's time; one without a zone is in UTC.

    Raises
    ------
    ValueError
        If it is none.
    """
    found = datetime.fromisoformat(as_of)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def load(root: Path, made_by: str) -> Catalogue:
    """The catalogue as it was last saved by the same pages; empty where there is none that can be read."""
    try:
        kept = json.loads((root / NAME).read_text(encoding="utf-8"))
        if kept["made_by"] != made_by:
            return {}
        return {
            pair: Pair(int(changed), {row[0]: _entry(row, pair) for row in rows})
            for pair, (changed, rows) in kept["pairs"].items()
        }
    except _UNREADABLE:
        return {}


def _entry(row: Sequence[Any], pair: str) -> Entry:
    """An entry of that folder with whose facts pages and paths can be made.

    Raises
    ------
    ValueError, TypeError
        If it is none.
    """
    *facts, lasts = row
    entry = Entry._make([*facts, None if lasts is None else Lasts._make(lasts)])
    if not (
        all(isinstance(fact, str) for fact in facts[:8])
        and _PLACE.fullmatch(entry.place)
        and entry.pair == pair
        and _TIME.fullmatch(entry.as_of)
        and datetime.fromisoformat(entry.as_of)
        and entry.verdict in site.GRAVITY
        and isinstance(entry.is_simulated, bool)
        and (entry.lasts is None or isinstance(entry.lasts.resource, str))
        and all(day is None or (type(day) is int and 0 <= day <= _AGES) for day in (entry.lasts or ())[1:])
    ):
        raise ValueError("no entry of a catalogue")
    return entry


def save(root: Path, found: Catalogue, made_by: str) -> None:
    """Keep the catalogue for the next time; call it while the site is locked."""
    pairs = {pair: [known.changed, list(known.reports.values())] for pair, known in found.items()}
    text = json.dumps({"made_by": made_by, "pairs": pairs}, ensure_ascii=False, separators=(",", ":"))
    site.put_file(root, NAME, text)


def refreshed(root: Path, known: Catalogue) -> tuple[Catalogue, set[str]]:
    """What is there now, and which folders had to be looked into for it.

    A folder of a notebook and tenant is looked into when it changed since: reports come and go as folders in it,
    and `capacity_kit.reporting.site.put` has it change when one is replaced.
    """
    now = site.clock(root)
    found: Catalogue = {}
    looked = set()
    for pair, changed in _pairs(root):
        before = known.get(pair, Pair(0, {}))
        if changed and changed == before.changed:
            found[pair] = before
            continue
        looked.add(pair)
        reports = {entry.place: entry for entry in _read(root, pair, before.reports)}
        if reports:
            found[pair] = Pair(changed if changed < now - _SETTLED else 0, reports)
    return found, looked | (known.keys() - found.keys())


def _pairs(root: Path) -> Iterator[tuple[str, int]]:
    """Folders of a notebook and tenant, and when each last changed. Those of the site's own pages begin with _."""
    for notebook in _folders(root):
        if not notebook.name.startswith("_"):
            for tenant in _folders(Path(notebook.path)):
                try:
                    yield f"{notebook.name}/{tenant.name}", tenant.stat().st_mtime_ns
                except OSError:
                    continue


def _folders(within: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(within) as listed:
            return sorted((e for e in listed if e.name[0] != "." and e.is_dir()), key=lambda e: e.name)
    except OSError:
        return []


def _read(root: Path, pair: str, known: Mapping[str, Entry]) -> Iterator[Entry]:
    """The reports of a folder, oldest first; one whose ``result.json`` or page is missing or unreadable is none."""
    for folder in _folders(root / pair):
        if folder.name == LATEST:
            continue
        place = f"{pair}/{folder.name}"
        file = root / place / "result.json"
        try:
            at = file.stat()
            if not file.is_file() or at.st_size > _LARGEST or not (file.parent / "index.html").is_file():
                continue
            mark = f"{at.st_mtime_ns}-{at.st_size}-{at.st_ino}"
            kept = known.get(place)
            yield kept if kept is not None and kept.mark == mark else _made(place, mark, Result.read(file))
        except _UNREADABLE:
            continue


def _made(place: str, mark: str, result: Result) -> Entry:
    """What lists say of a report.

    Raises
    ------
    ValueError, TypeError, AttributeError, OverflowError
        If it is none that could be listed.
    """
    headline = (
        result.headline if len(result.headline) <= _HEADLINE else f"{result.headline[: _HEADLINE - 1]}…"
    )
    entry = Entry(
        place,
        mark,
        result.title or result.notebook,
        result.tenant,
        result.tenant_label or result.tenant,
        moment(result.as_of).strftime("%Y-%m-%dT%H:%M:%SZ"),
        result.verdict,
        headline,
        bool(result.simulated),
        shortest(result),
    )
    "".join(str(fact) for fact in entry).encode()  # what no page could be written with is refused here
    return _entry(entry, entry.pair)
