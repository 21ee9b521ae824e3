"""The site's own pages: what needs attention, every report by month and by tenant, and how to search them."""

from __future__ import annotations

import base64
import hashlib
import heapq
import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from capacity_kit import resources
from capacity_kit.reporting import catalogue, feed, site, sparkline
from capacity_kit.reporting.catalogue import LATEST, Catalogue, Entry, Pair

MONTHS: Final = "_month"
ATTENTION: Final = "_attention"

FIRST: Final = 10
"""Reports that need attention on the front page, of each state as many; more have pages of their own."""
NEWEST: Final = 12
"""Of the newest reports as many are on the front page; more are on the tenants' and the months' pages."""
NAMED: Final = 40
"""Tenants that are named on the front page; of more there is a list apart."""
LONG: Final = 100
"""Rows of a page."""


class Row(NamedTuple):
    """A report in a list, and the runways of its series up to it."""

    entry: Entry
    runway: Sequence[sparkline.Point] = ()

    @property
    def spark(self) -> Markup:
        """The runways as a line."""
        return sparkline.drawn(self.runway)

    @property
    def lasts(self) -> str:
        """Its own runway in words; empty where it knows none."""
        return sparkline.words(_point(self.entry)) if self.entry.lasts else ""


class Tenant(NamedTuple):
    """A tenant in the list of all: its gravest standing report, and how many reports there are."""

    folder: str
    label: str
    gravest: Entry
    newest: Entry
    reports: int
    row: Row | None


class Found:
    """All reports of a site, in the orders that pages want."""

    def __init__(self, known: Catalogue) -> None:
        self.known = known
        self.entries = [entry for pair in known.values() for entry in pair.reports.values()]
        self.series: dict[str, list[Entry]] = defaultdict(list)
        self.by_tenant: dict[str, list[Entry]] = defaultdict(list)
        self.by_month: dict[str, list[Entry]] = defaultdict(list)
        for entry in sorted(self.entries, key=lambda e: (e.as_of, e.place)):
            self.series[entry.series].append(entry)
            self.by_tenant[entry.folder].append(entry)
            self.by_month[entry.as_of[:7]].append(entry)

    @cached_property
    def standing(self) -> list[Entry]:
        """What holds now, the gravest first.

        Of each notebook and tenant that is the newest report; one with other parameters holds beside it as long as it
        is newer than the last one with default parameters, which looked at everything.
        """
        usual = {runs[-1].pair: runs[-1].as_of for runs in self.series.values() if runs[-1].is_usual}
        holding = [
            runs[-1]
            for runs in self.series.values()
            if runs[-1].is_usual or runs[-1].as_of > usual.get(runs[-1].pair, "")
        ]
        return sorted(holding, key=gravity)

    @cached_property
    def attention(self) -> list[Entry]:
        """Of those the ones that need attention."""
        return [entry for entry in self.standing if entry.verdict != "ok"]

    def first(self, most: int) -> list[Entry]:
        """Of those so many, the gravest first: of each state as many, so that failures hide nothing at risk."""
        by_state: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.attention:
            by_state[entry.verdict].append(entry)
        turns = sorted(
            (turn, site.GRAVITY[entry.verdict], entry)
            for entries in by_state.values()
            for turn, entry in enumerate(entries)
        )
        chosen = {entry for *_, entry in turns[:most]}
        return [entry for entry in self.attention if entry in chosen]

    def row(self, entry: Entry) -> Row:
        """A report with the runways of its series up to it."""
        if entry.lasts is None:
            return Row(entry)
        runs = self.series[entry.series]
        return Row(entry, [_point(e) for e in runs if e.lasts is not None and e.as_of <= entry.as_of])

    def tenants(self) -> list[Tenant]:
        """The tenants by name, ALL and the system first."""
        gravest: dict[str, Entry] = {}
        lasting: dict[str, Entry] = {}
        for entry in self.standing:
            gravest.setdefault(entry.folder, entry)
            best = lasting.get(entry.folder)
            if entry.lasts is not None and (
                best is None or len(self.series[entry.series]) > len(self.series[best.series])
            ):
                lasting[entry.folder] = entry
        listed = [
            Tenant(
                folder,
                runs[-1].label,
                gravest[folder],
                runs[-1],
                len(runs),
                self.row(lasting[folder]) if folder in lasting else None,
            )
            for folder, runs in self.by_tenant.items()
        ]
        return sorted(listed, key=lambda t: (not t.folder.startswith("_"), _in_order(t.label), t.folder))


def gravity(entry: Entry) -> tuple[Any, ...]:
    """Sorts the gravest first; of the same state the one with the shortest runway, then the newest."""
    days = None if entry.lasts is None else entry.lasts.p50
    when = tuple(-ord(letter) for letter in entry.as_of)
    return site.GRAVITY[entry.verdict], days is None, days or 0, when, _in_order(entry.label), entry.place


def _in_order(name: str) -> str:
    """Sorts names as people do: 9 before 10, and capitals beside small letters."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(12), name.casefold())


def _point(entry: Entry) -> sparkline.Point:
    assert entry.lasts is not None
    return sparkline.Point(entry.as_of, *entry.lasts[1:])


def write(root: Path, site_url: str | None = None, *, afresh: bool = False) -> Path:
    """Write the site's own pages, the feed and the ``latest`` addresses from the reports that are there.

    Only what a change since the last time concerns is looked into and written. Call it while the site is locked.

    Parameters
    ----------
    root : Path
        The site.
    site_url : str, optional
        Where readers find it, for the feed's links; the site remembers it.
    afresh : bool
        Read every report again, and write every page.

    Returns
    -------
    Path
        The front page.
    """
    before = {} if afresh else catalogue.load(root, _made_by())
    known, looked = catalogue.refreshed(root, before)
    found = Found(known)
    _write_latest(root, known, looked)
    touched = {entry for pair in looked for entry in _differing(before.get(pair), known.get(pair))}
    _write_months(root, found, {entry.as_of[:7] for entry in touched})
    _write_tenants(root, found, {entry.folder for entry in touched})
    _write_attention(root, found)
    site.put_file(root, site.SEARCH, searched(found))
    newest = heapq.nlargest(feed.LONGEST, found.entries, key=lambda entry: (entry.as_of, entry.place))
    site.put_file(root, feed.NAME, feed.text(newest, feed.about(root, site_url)))
    site.put_file(root, "index.html", _front(found))
    catalogue.save(root, known, _made_by())
    return root / "index.html"


def _differing(before: Pair | None, after: Pair | None) -> Iterable[Entry]:
    """Reports of a folder that came, went or are others now, as they were and as they are."""
    was, now = (set(pair.reports.values()) if pair else set() for pair in (before, after))
    return was ^ now


@cache
def _environment() -> Environment:
    folder = resources.path("theme") / "site"
    styles = (folder.parent / "style.css", folder / "site.css")
    made = Environment(loader=FileSystemLoader(folder), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.globals |= {
        # The theme's own files.
        "css": Markup("\n".join(file.read_text(encoding="utf-8") for file in styles)),  # noqa: S704
        "tenants": site.TENANTS,
        "months": MONTHS,
        "needing": ATTENTION,
        "latest": LATEST,
    }
    return made


@cache
def _made_by() -> str:
    """A digest of what makes the pages: pages by another are all written anew."""
    folder = resources.path("theme")
    files = [
        folder / "style.css",
        *sorted((folder / "site").iterdir()),
        Path(__file__),
        Path(catalogue.__file__),
        Path(sparkline.__file__),
    ]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _page(template: str, up: str, **facts: Any) -> str:
    return _environment().get_template(template).render(up=up, **facts)


def _front(found: Found) -> str:
    script = (resources.path("theme") / "site" / site.SEARCH).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    tenants = found.tenants()
    return _page(
        "index.html.j2",
        "",
        script=Markup(script),  # noqa: S704 -- the theme's own file
        script_digest=digest,
        count=len(found.entries),
        tenants_count=len(tenants),
        named=tenants if len(tenants) <= NAMED else [],
        attention=[found.row(entry) for entry in found.first(FIRST)],
        attention_count=len(found.attention),
        tally=[
            (state, n) for state in site.GRAVITY if (n := sum(e.verdict == state for e in found.attention))
        ],
        newest=[
            found.row(e) for e in heapq.nlargest(NEWEST, found.entries, key=lambda e: (e.as_of, e.place))
        ],
        months_counts=[(month, len(runs)) for month, runs in sorted(found.by_month.items(), reverse=True)],
        titles=sorted({entry.title for entry in found.entries}),
        states=list(site.GRAVITY),
        data=site.SEARCH,
    )


def _write_months(root: Path, found: Found, changed: set[str]) -> None:
    names = sorted(found.by_month)
    for month in _wanted(root / MONTHS, names, changed):
        at = names.index(month)
        _put_pages(
            root,
            Path(MONTHS, month),
            "month.html.j2",
            "../../",
            [found.row(entry) for entry in sorted(found.by_month[month], key=gravity)],
            month=month,
            earlier=names[at - 1] if at else None,
            later=names[at + 1] if at + 1 < len(names) else None,
        )


def _write_tenants(root: Path, found: Found, changed: set[str]) -> None:
    for folder in _wanted(root / site.TENANTS, found.by_tenant, changed):
        runs = found.by_tenant[folder]
        newest = {entry.pair: entry for entry in runs}
        _put_pages(
            root,
            Path(site.TENANTS, folder),
            "tenant.html.j2",
            "../../",
            [found.row(entry) for entry in reversed(runs)],
            label=runs[-1].label,
            newest=sorted(newest.values(), key=lambda entry: entry.title),
        )
    _put_pages(root, Path(site.TENANTS), "tenants.html.j2", "../", found.tenants())


def _write_attention(root: Path, found: Found) -> None:
    if len(found.attention) > FIRST:
        rows = [found.row(entry) for entry in found.attention]
        _put_pages(root, Path(ATTENTION), "attention.html.j2", "../", rows)
    elif (root / ATTENTION).is_dir():
        shutil.rmtree(root / ATTENTION, ignore_errors=True)


def _wanted(folder: Path, names: Iterable[str], changed: set[str]) -> list[str]:
    """Of these pages the ones that changed or are missing; what is there for no name any more is removed."""
    there = {child.name for child in folder.iterdir() if child.is_dir()} if folder.is_dir() else set()
    for gone in there - set(names):
        shutil.rmtree(folder / gone, ignore_errors=True)
    return [name for name in names if name in changed or name not in there]


def _put_pages(root: Path, place: Path, template: str, up: str, rows: Sequence[Any], **facts: Any) -> None:
    """Write a list as pages of `LONG` rows, as far as they are others than those that are there."""
    parts = [rows[start : start + LONG] for start in range(0, len(rows), LONG)] or [rows]
    names = ["index.html", *(f"page-{number}.html" for number in range(2, len(parts) + 1))]
    made = {
        name: _page(template, up, rows=part, name=name, names=names, count=len(rows), **facts)
        for name, part in zip(names, parts, strict=True)
    }
    there = root / place
    if files := {name: html for name, html in made.items() if not _holds(there / name, html)}:
        site.put(root, place, files)
    for left in there.glob("page-*.html"):
        if left.name not in made:
            left.unlink()


def _holds(file: Path, text: str) -> bool:
    try:
        return file.read_bytes() == text.encode()
    except OSError:
        return False


def _write_latest(root: Path, known: Catalogue, looked: set[str]) -> None:
    """Have ``<notebook>/<tenant>/latest/`` lead to the newest report: of all, or of those with default parameters."""
    for pair in looked:
        folder = root / pair
        if not folder.resolve().is_relative_to(root.resolve()):
            continue  # another site's, linked into this one: its own writer sees to it
        if pair in known:
            first = max(
                known[pair].reports.values(), key=lambda entry: (entry.is_usual, entry.as_of, entry.time)
            )
            html = _page("latest.html.j2", "../../../", to=f"../{first.time}/index.html", entry=first)
            if not _holds(folder / LATEST / "index.html", html):
                site.put(root, Path(pair, LATEST), {"index.html": html})
        elif not (folder / LATEST).is_symlink():
            shutil.rmtree(folder / LATEST, ignore_errors=True)


_SPELLED: Final[Mapping[int, str]] = {ord("<"): "\\u003c", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def searched(found: Found) -> str:
    """What the search looks through, as a call with one argument: each name once, and each report as two numbers."""
    titles: dict[tuple[str, str], int] = {}
    tenants: dict[str, int] = {}
    times: dict[str, int] = {}
    states = list(site.GRAVITY)
    pairs = []
    for pair, known in found.known.items():
        runs = list(known.reports.values())
        numbers = []
        for entry in runs:
            numbers += [times.setdefault(entry.time, len(times)), site.GRAVITY[entry.verdict]]
        title = titles.setdefault((pair.partition("/")[0], runs[-1].title), len(titles))
        pairs.append([title, tenants.setdefault(runs[-1].folder, len(tenants)), numbers])
    labels = [
        [folder, found.by_tenant[folder][-1].label, found.by_tenant[folder][-1].tenant] for folder in tenants
    ]
    data = {"states": states, "titles": list(titles), "tenants": labels, "times": list(times), "pairs": pairs}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).translate(dict(_SPELLED))
    return f"capacityReports({text});\n"
