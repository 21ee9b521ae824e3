"""From an executed notebook to one HTML page that stands alone: no code, no script, no address but its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from html import escape
from typing import Any, Final

import bleach  # type: ignore[import-untyped]
import mistune
import pandas as pd
from markupsafe import Markup
from nbconvert.exporters import HTMLExporter
from nbformat import NotebookNode
from traitlets.config import Config

from capacity_kit import resources, units
from capacity_kit.reporting import changes, site
from capacity_kit.reporting.result import MIME, Result, cards

# fmt: off
_TAGS: Final = frozenset([
    "a", "abbr", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "details", "div", "dl", "dt",
    "em", "figcaption", "figure", "h2", "h3", "h4", "hr", "li", "ol", "p", "pre", "section",
    "small", "span", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr",
    "ul",
])
_ATTRIBUTES: Final = frozenset([
    "abbr", "aria-label", "class", "colspan", "data-label", "id", "role", "rowspan", "scope", "tabindex", "title",
])
# fmt: on
_LABEL: Final = re.compile(r'aria-label="([^"]*)"')
_PRINTED: Final = 100_000
"""Characters of printed text that a page shows; what is beyond stands in the notebook beside it."""
_PRIORITY: Final = [MIME, "image/png", "text/html", "text/markdown", "text/plain"]


def clean(html: str) -> str:
    """HTML without anything that could run, load or lead away; everything else is what it was."""
    return str(bleach.clean(html, tags=_TAGS, attributes=_allowed, protocols=[], strip=True))


def _allowed(tag: str, name: str, value: str) -> bool:
    return name in _ATTRIBUTES or (tag == "a" and name == "href" and value.startswith("#"))


class Page:
    """What the template asks for while it goes through a notebook.

    Parameters
    ----------
    result : Result
        What was found, for whom and with what.
    descriptions : mapping
        Parameter name to its description.
    """

    def __init__(self, result: Result, descriptions: Mapping[str, str]) -> None:
        self.result = result
        self.descriptions = descriptions
        self.headings: list[tuple[str, str]] = []
        self._regions: Counter[str] = Counter()
        self._room = _PRINTED
        self._markdown = mistune.create_markdown(renderer=_Headings(self.headings), plugins=["table"])

    @property
    def as_of(self) -> str:
        """The moment that the report is about, in the reader's time zone."""
        return (
            units.at(pd.Timestamp(self.result.as_of), self.result.timezone)
            if self.result.as_of
            else units.DASH
        )

    @property
    def tenant_page(self) -> str:
        """Where the tenant's reports are listed, from the site's top."""
        return site.tenant_page(self.result.tenant)

    @property
    def compared_with(self) -> str:
        """The moment of the report before this one, in the reader's time zone."""
        return units.at(pd.Timestamp(self.result.compared_with), self.result.timezone)

    @property
    def changes(self) -> tuple[str, ...]:
        """What changed since then, or why that is not known."""
        return changes.told(self.result)

    @property
    def css(self) -> str:
        """The theme's style sheet."""
        return style()

    @property
    def cards(self) -> str:
        """The verdict and the KPI cards."""
        return cards(self.result)

    def region(self, label: str) -> str:
        """A name for a part of the page that no other part has: the label, numbered from its second use on."""
        self._regions[label] += 1
        return label if self._regions[label] == 1 else f"{label} ({self._regions[label]})"

    def block(self, html: str) -> str:
        """An output's HTML, cleaned, its tables named apart."""
        return _LABEL.sub(lambda found: f'aria-label="{self.region(found[1])}"', clean(html))

    def printed(self, text: str) -> str:
        """Printed text as it is, as far as the page has room for it."""
        shown, self._room = text[: self._room], max(0, self._room - len(text))
        html = f"<pre>{escape(shown)}</pre>" if shown else ""
        if len(shown) < len(text):
            rest = f"{len(text) - len(shown):,} more characters were printed here"
            html += f'<p class="more">{rest}; they stand in notebook.ipynb beside this page.</p>'
        return html

    def prose(self, source: str) -> str:
        """Markdown as HTML. Markup in it is text, and its first-level heading is the page's, shown once above."""
        return clean(str(self._markdown(source)))


class _Headings(mistune.HTMLRenderer):
    """Markdown to HTML, keeping the headings for the table of contents."""

    def __init__(self, found: list[tuple[str, str]]) -> None:
        super().__init__(escape=True)
        self._found = found

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        if level == 1:
            return ""
        plain = Markup(text).striptags()  # noqa: S704 -- only its words are kept
        name = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-") or "section"
        name = f"{name}-{len(self._found) + 1}" if name in [n for n, _ in self._found] else name
        if level == 2:
            self._found.append((name, plain))
        return (
            f'<h{level} id="{name}">{text}</h{level}>\n' if level == 2 else f"<h{level}>{text}</h{level}>\n"
        )


def title_of(notebook: NotebookNode, name: str) -> str:
    """The notebook's first heading of the first level, or its file's name in words."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := re.search(r"^# +(.+)$", cell.source, re.MULTILINE)):
            return found[1].strip()
    return name.replace("_", " ").capitalize()


def page(notebook: NotebookNode, result: Result, descriptions: Mapping[str, str]) -> str:
    """An executed notebook as a page.

    Parameters
    ----------
    notebook : NotebookNode
        Executed; of a failed one, the cells up to the failure.
    result : Result
        Complete: with notebook, title, tenant, parameters and versions.
    descriptions : mapping
        Parameter name to its description.

    Returns
    -------
    str
        One HTML document.
    """
    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        config=Config({"NbConvertBase": {"display_data_priority": _PRIORITY}}),
        template_name="report",
        extra_template_basedirs=[str(resources.path("theme"))],
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_raw=True,
    )
    shown = Page(result, descriptions)
    exporter.environment.globals["page"] = shown
    html, _ = exporter.from_notebook_node(notebook)
    return html


@cache
def style() -> str:
    """The theme's style sheet, the same for reports and index."""
    return (resources.path("theme") / "style.css").read_text(encoding="utf-8")
