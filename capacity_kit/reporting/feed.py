"""The site's feed (Atom, RFC 4287): for those who want to be told of new reports without being sent anything."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from capacity_kit.reporting import site
from capacity_kit.reporting.catalogue import Entry

NAME: Final = "feed.xml"
LONGEST: Final = 500
"""Reports that the feed tells of, the newest."""

_ATOM: Final = "http://www.w3.org/2005/Atom"
_ABOUT: Final = ".site.json"
_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold."""


@dataclass(frozen=True)
class About:
    """What a site knows of itself.

    Attributes
    ----------
    key : UUID
        Made once; entries' ids are derived from it, so that they stay when the site moves.
    url : str
        Where readers find it, ending with a slash; empty: links are relative.
    """

    key: uuid.UUID
    url: str = ""


def about(root: Path, url: str | None = None) -> About:
    """What the site knows of itself, with its address as last given; call it while the site is locked."""
    file = root / _ABOUT
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        known = About(uuid.UUID(kept["key"]), str(kept["url"]))
    except (OSError, ValueError, TypeError, KeyError):
        known = About(uuid.uuid4())
        url = url or ""
    if url is None:
        return known
    known = About(known.key, f"{url.rstrip('/')}/" if url else "")
    site.put_file(root, _ABOUT, json.dumps({"key": str(known.key), "url": known.url}) + "\n")
    return known


def text(newest: Sequence[Entry], of: About) -> str:
    """The feed of these reports.

    Parameters
    ----------
    newest : sequence of Entry
        The reports to tell of, the newest first.
    of : About
        The site.
    """
    feed = ElementTree.Element("feed", {"xmlns": _ATOM})
    _add(feed, "id", of.key.urn)
    _add(feed, "title", "Capacity reports")
    _add(feed, "updated", newest[0].as_of if newest else "1970-01-01T00:00:00Z")
    _add(ElementTree.SubElement(feed, "author"), "name", "capacity-kit")
    ElementTree.SubElement(feed, "link", {"rel": "self", "href": f"{of.url}{NAME}"})
    ElementTree.SubElement(
        feed, "link", {"rel": "alternate", "type": "text/html", "href": f"{of.url}index.html"}
    )
    for found in newest:
        entry = ElementTree.SubElement(feed, "entry")
        _add(entry, "id", uuid.uuid5(of.key, found.place).urn)
        _add(entry, "title", f"{found.title}, {found.label}: {found.verdict}")
        _add(entry, "updated", found.as_of)
        ElementTree.SubElement(
            entry, "link", {"rel": "alternate", "type": "text/html", "href": f"{of.url}{found.href}"}
        )
        ElementTree.SubElement(entry, "category", {"term": found.verdict})
        _add(entry, "summary", found.headline or found.title)
    ElementTree.indent(feed)
    return ElementTree.tostring(feed, encoding="unicode", xml_declaration=False) + "\n"


def _add(parent: ElementTree.Element, name: str, said: str) -> None:
    ElementTree.SubElement(parent, name).text = _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", said)
