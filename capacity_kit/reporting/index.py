"""The site's front page: every report that was published, what it found first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Final

from markupsafe import Markup

from capacity_kit.reporting import render, site
from capacity_kit.reporting.result import Result, State

_GRAVITY: Final[dict[State, int]] = {"failed": 0, "cannot be trusted": 1, "at risk": 2, "ok": 3}


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


def write(root: Path) -> Path:
    """Write ``index.html`` from the reports that are there; call it while the site is locked.

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
    site.put_file(root, "index.html", html)
    return root / "index.html"
