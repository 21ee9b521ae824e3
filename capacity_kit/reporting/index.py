"""The site's front page: every report that was published, what it found first."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Final

from markupsafe import Markup

from capacity_kit.reporting import feed, render, site
from capacity_kit.reporting.result import Result, State

_GRAVITY: Final[dict[State, int]] = {"failed": 0, "cannot be trusted": 1, "at risk": 2, "ok": 3}


LATEST: Final = "latest"
"""The last part of the address that always leads to a tenant's newest report."""

_LARGEST: Final = 1 << 20
"""Bytes: no result is as long, and what is is not one of ours."""


@dataclass(frozen=True)
class Entry:
    """One report on the index: where it is, and what it found."""

    href: str
    result: Result


def entries(root: Path) -> list[Entry]:
    """Every report below `root`, by notebook, tenant and time (newest first).

    A folder whose ``result.json`` is missing or cannot be read is not a report, and is left out.
    """
    found = []
    for file in root.glob("*/*/*/result.json"):
        try:
            if not file.is_file() or file.stat().st_size > _LARGEST:
                continue
            result = Result.read(file)
            datetime.fromisoformat(result.as_of)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        if (file.parent / "index.html").is_file() and result.verdict in _GRAVITY:
            found.append(Entry(f"{file.parent.relative_to(root).as_posix()}/index.html", result))
    found.sort(key=lambda entry: entry.result.as_of, reverse=True)
    found.sort(key=lambda entry: (entry.result.title, entry.result.notebook, entry.result.tenant))
    return found


def write(root: Path, site_url: str | None = None) -> Path:
    """Write ``index.html``, the feed and the ``latest`` addresses from the reports that are there.

    Call it while the site is locked.

    Parameters
    ----------
    root : Path
        The site.
    site_url : str, optional
        Where readers find it, for the feed's links; the site remembers it.

    Returns
    -------
    Path
        The page.
    """
    found = entries(root)
    newest = {(e.result.notebook, e.result.tenant): e for e in reversed(found)}
    attention = [e for e in newest.values() if e.result.verdict != "ok"]
    attention.sort(
        key=lambda entry: (_GRAVITY[entry.result.verdict], entry.result.title, entry.result.tenant)
    )
    groups = [(title, list(group)) for title, group in groupby(found, key=lambda entry: entry.result.title)]
    html = render.site_template("index.html.j2").render(
        css=Markup(render.style()),  # noqa: S704 -- the theme's own file
        groups=groups,
        attention=attention,
        count=len(found),
    )
    _write_latest(root, found)
    site.put_file(root, feed.NAME, feed.text([(e.href, e.result) for e in found], feed.about(root, site_url)))
    site.put_file(root, "index.html", html)
    return root / "index.html"


def _write_latest(root: Path, found: Sequence[Entry]) -> None:
    """Have ``<notebook>/<tenant>/latest/`` lead to the newest report: of all, or of those with default parameters."""
    newest: dict[Path, tuple[bool, datetime, str]] = {}
    for entry in found:
        place = Path(entry.href).parent
        # The folder of a report with other parameters has their digest after the time.
        rank = (place.name.endswith("Z"), datetime.fromisoformat(entry.result.as_of), place.name)
        newest[place.parent] = max(newest.get(place.parent, rank), rank)
    template = render.site_template("latest.html.j2")
    for parent, (_, _, name) in newest.items():
        if not (root / parent).resolve().is_relative_to(root.resolve()):
            continue  # another site's, linked into this one: its own writer sees to it
        html = template.render(to=f"../{name}/index.html")
        page = root / parent / LATEST / "index.html"
        if not page.is_file() or page.read_text(encoding="utf-8") != html:
            site.put(root, parent / LATEST, {"index.html": html})
    for left in root.glob(f"*/*/{LATEST}"):
        if left.parent.relative_to(root) not in newest and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
