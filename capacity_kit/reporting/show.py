"""What a notebook shows: sentences, tables and figures, with every value escaped.

Each call displays one thing as HTML and as plain text, so that a notebook reads well in Jupyter, a rendered
report needs nothing else, and a comparison of outputs compares the words of a figure too.
"""

from __future__ import annotations

import io
import warnings
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from capacity_kit import units
from capacity_kit.plots import Plot

_MOODS: Final = {
    "ok": "good",
    "met": "good",
    "optimal": "good",
    "yes": "good",
    "fired": "good",
    "used": "good",
    "keeps unique": "good",
    "normal": "good",
    "attention": "attention",
    "with care": "attention",
    "unused": "attention",
    "high": "attention",
    "stale": "attention",
    "warning": "attention",
    "increase_threshold": "attention",
    "decrease_threshold": "attention",
    "critical": "bad",
    "failed": "bad",
    "missed": "bad",
    "missing": "bad",
    "did not fire": "bad",
    "not known": "unknown",
    "not used yet": "unknown",
    "not decided": "unknown",
}

_LEFT: Final = ' style="text-align:left"'
"""Jupyter aligns every cell to the right. A report has its own style sheet, and this does not reach it."""

_LONG: Final = 36
"""Characters from which on a cell keeps some width on a narrow screen."""

OWNER: Final = "Tenant"
"""The column that a report on one tenant leaves out: its title says it."""

_FEW: Final = 2
"""Rows that are not worth folding."""

_WIDE: Final = 14
"""Characters from which on a verdict has a line of its own there."""

_WORD: Final = (11, 13)
"""Characters of the longest word, of a cell and of its heading, that fit into a third of a narrow screen."""

_THIRD: Final = 14
"""Characters of a text that fit into one line of it."""


def say(*sentences: str) -> None:
    """A paragraph made from values: shown as it is, never read as markup."""
    text = " ".join(sentences)
    _display(text, f"<p>{escape(text)}</p>")


def items(lines: Sequence[str], empty: str) -> None:
    """A list, one line each; `empty` where there is none."""
    if not lines:
        say(empty)
        return
    _display(
        "\n".join(f"- {line}" for line in lines),
        "<ul>" + "".join(f"<li>{escape(x)}</li>" for x in lines) + "</ul>",
    )


def table(
    frame: pd.DataFrame,
    caption: str,
    *,
    columns: Mapping[str, str] | None = None,
    figures: Sequence[str] = (),
    verdicts: Sequence[str] = (),
    top: int = 50,
    first: int = 5,
    empty: str = "Nothing to show.",
) -> None:
    """A table with a caption, its figures aligned, its verdicts said in a word and a colour.

    Parameters
    ----------
    frame : DataFrame
        Texts and numbers, ready to be read; a missing value is shown as a dash.
    caption : str
        What the table shows, with its units.
    columns : mapping, optional
        Column name to heading, in the order to show; all columns under their names when left out.
    figures : sequence of str
        Columns to align to the right.
    verdicts : sequence of str
        Columns to mark by what they say.
    top : int
        Rows shown; the count of the rest is stated under the table.
    first : int
        Rows that a report shows at once on a screen, and those whose verdict wants attention; the others unfold, and
        are printed.
    empty : str
        What to say when there is no row; nothing when it is empty.
    """
    columns = columns or {str(name): str(name) for name in frame.columns}
    if frame.empty:
        if empty:
            _display(f"{caption}: {empty}", f"<p>{escape(empty)}</p>")
        return
    shown = frame.head(top)
    rest = len(frame) - len(shown)
    more = f"{rest} more {'rows are' if rest > 1 else 'row is'} not shown." if rest else ""
    side = {name: ' class="figure"' if name in figures else _LEFT for name in columns}
    side |= {name: f' class="owner"{_LEFT}' for name, heading in columns.items() if heading == OWNER}
    head = "".join(f'<th scope="col"{side[name]}>{escape(heading)}</th>' for name, heading in columns.items())
    rows = [{name: _cell(row[name]) for name in columns} for _, row in shown.iterrows()]
    lines = ["".join(_td(t, columns[n], n in figures, n in verdicts) for n, t in row.items()) for row in rows]
    hidden = {i for i, row in enumerate(rows) if i >= first and not _is_grave(row, verdicts)}
    hidden = hidden if len(hidden) > _FEW else set()
    body = "".join(f"<tr{_class('rest' if i in hidden else '')}>{line}</tr>" for i, line in enumerate(lines))
    html = (
        f'<div class="table" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption><span>{escape(caption)}</span></caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
    if hidden:
        html = f'<div class="folded">{html}{_unfold(f"{len(hidden)} more rows", "Fewer rows")}</div>'
    html += f'<p class="more">{more}</p>' if more else ""
    plain = "\n".join(" | ".join(row.values()) for row in rows)
    _display(f"{caption}\n{' | '.join(columns.values())}\n{plain}\n{more}".rstrip(), html)


def _is_grave(row: Mapping[str, str], verdicts: Sequence[str]) -> bool:
    return any(_MOODS.get(row[name].lower()) in ("attention", "bad") for name in verdicts if name in row)


def _unfold(closed: str, opened: str) -> str:
    """What is pressed to see, or to hide again, what is marked as the rest beside it."""
    return (
        f'<details><summary><span class="closed">{escape(closed)}</span>'
        f'<span class="opened">{escape(opened)}</span></summary></details>'
    )


def _cell(value: Any) -> str:
    if units.missing(value):
        return units.DASH
    return (
        units.number(value, 6)
        if isinstance(value, int | float) and not isinstance(value, bool)
        else str(value)
    )


def _td(text: str, heading: str, figure: bool, verdict: bool) -> str:
    label = f' data-label="{escape(heading)}"'
    longest = [max(map(len, words.split()), default=0) for words in (text, heading)]
    is_broad = longest[0] > _WORD[0] or longest[1] > _WORD[1] or (len(text) > _THIRD and not figure)
    broad = " broad" if is_broad else ""
    if verdict:
        mood = _MOODS.get(text.lower(), "neutral")
        kind = "marks" if len(text) > _WIDE else broad
        return f'<td{_class(kind)}{label}{_LEFT}><span class="mark {mood}">{escape(text)}</span></td>'
    kind = f"figure{broad}" if figure else "long" if len(text) > _LONG else broad
    kind = "owner" if heading == OWNER else kind
    return f"<td{label}{_class(kind)}{'' if figure else _LEFT}>{escape(text)}</td>"


def _class(names: str) -> str:
    return f' class="{names.strip()}"' if names else ""


def figure(plot: Plot, caption: str = "", *, folded: str = "", narrow: Plot | None = None) -> None:
    """A figure with its alt text, sharp on any screen.

    Parameters
    ----------
    plot : Plot
        From `capacity_kit.plots`.
    caption : str
        A sentence under it.
    folded : str
        What a report shows in its place on a screen until it is unfolded; empty: it is not folded.
    narrow : Plot, optional
        The same for a narrow screen, where that one could not be read.
    """
    data, width, height = png(_figure_of(plot))
    metadata: dict[str, Any] = {"alt": plot.alt, "caption": caption, "width": width, "height": height}
    metadata["folded"] = folded
    if narrow is not None:
        small, *size = png(_figure_of(narrow))
        metadata["narrow"] = {"png": b64encode(small).decode(), "width": size[0], "height": size[1]}
    display(  # type: ignore[no-untyped-call]
        {"image/png": data, "text/plain": f"[figure] {plot.alt}"}, raw=True, metadata={"image/png": metadata}
    )


def _figure_of(plot: Plot) -> Figure:
    drawn = plot.ax.figure
    assert isinstance(drawn, Figure)
    return drawn


def png(drawn: Figure) -> tuple[bytes, int, int]:
    """A figure as a small PNG at twice the size it is shown in, with that size in CSS pixels."""
    raw = io.BytesIO()
    with warnings.catch_warnings():
        # Names may hold characters that the font lacks; the alt text has them all.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        drawn.savefig(raw, format="png", dpi=200)
    image = Image.open(raw).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    packed = io.BytesIO()
    image.save(packed, format="PNG", optimize=True)
    return packed.getvalue(), image.width // 2, image.height // 2


def _display(plain: str, html: str) -> None:
    display({"text/html": html, "text/plain": plain}, raw=True)  # type: ignore[no-untyped-call]
