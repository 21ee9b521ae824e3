"""How the command line speaks: tables for people, JSON and tabs for programs, progress on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

import pandas as pd
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column, Table
from rich.text import Text

from capacity_kit import units

out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(highlight=False, soft_wrap=True, markup=False, stderr=True)

_COLOURS = {
    "CRITICAL": "bold red",
    "failed": "bold red",
    "WARNING": "yellow",
    "STALE": "yellow",
    "UNKNOWN": "yellow",
    "attention": "yellow",
    "NORMAL": "green",
    "ok": "green",
}


class Tell(Protocol):
    """Says how much of a long work is done, what is being done, and of how much."""

    def __call__(self, done: float, doing: str | None = None, of: float | None = None) -> None:
        """Tell."""


def rows(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows of a frame, by name."""
    return iter(frame.itertuples())


def table(header: Sequence[str], lines: Sequence[Sequence[Any]], *, prose: bool = False) -> None:
    """Print a table; on a pipe, its cells separated by tabs. Names are data: nothing in them is markup.

    Parameters
    ----------
    header
        The columns' names.
    lines
        The cells; what is missing shows as nothing.
    prose
        Whether the last column is to be read to its end: on a terminal it is cut at the edge otherwise.
    """
    cells = [["" if units.missing(cell) else units.plain(cell, 2000) for cell in line] for line in lines]
    if not out.is_terminal:
        out.file.writelines("\t".join(line) + "\n" for line in (list(header), *cells))
        return
    if not prose:
        taken = sum(2 + max(cell_len(text) for text in column) for column in zip(header, *cells, strict=True))
        last = max(32, out.width - taken + 2 + max(cell_len(line[-1]) for line in (header, *cells)))
        cells = [[*line[:-1], units.plain(line[-1], last)] for line in cells]
    # On a narrow terminal a key goes on in the next line: cut, it could not be typed.
    columns = (Column(name, overflow="fold") for name in header)
    shown = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for line in cells:
        shown.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in line))
    out.print(shown, soft_wrap=False)


def paragraphs(header: Sequence[str], lines: Sequence[Sequence[Any]]) -> None:
    """Print a table for a terminal, each line with a paragraph below it: its last cell, which has no column.

    The first column gives way to a narrow terminal, down to 24 characters; the paragraphs wrap.
    """
    cells = [["" if units.missing(cell) else units.plain(cell, 2000) for cell in line[:-1]] for line in lines]
    widths = [max(cell_len(text) for text in column) for column in zip(header, *cells, strict=True)]
    widths[0] = min(widths[0], max(24, out.width - sum(2 + width for width in widths[1:])))
    for line, shown in zip((None, *lines), (header, *cells), strict=True):
        fitting = [units.plain(shown[0], widths[0]), *shown[1:]]
        padded = (set_cell_size(text, width) for text, width in zip(fitting, widths, strict=True))
        out.print(Text("  ".join(padded).rstrip(), style="" if line else "bold"))
        if line:
            out.print(Padding(Text(units.plain(line[-1], 4000)), (0, 0, 0, 4)), soft_wrap=False)


def as_json(answer: Any) -> None:
    """Print an answer as JSON: frames as lists of records, times in ISO 8601, what is unknown as null."""
    if isinstance(answer, pd.DataFrame):
        answer = json.loads(answer.to_json(orient="records", date_format="iso", double_precision=15))
    # not by out.print, which lays text out: of ten thousand alerts that took twenty times as long as all the rest
    print(json.dumps(answer, default=_plain, indent=2, ensure_ascii=False), file=out.file)


@contextmanager
def json_list() -> Iterator[Callable[[Sequence[Any]], None]]:
    """Print a list as JSON piece by piece, so that a long one need not be in memory.

    Yields
    ------
    callable
        Prints some more of its elements. What ends early, or fails, leaves a list that is not closed.
    """
    begun = False

    def more(elements: Sequence[Any]) -> None:
        nonlocal begun
        for element in elements:
            text = json.dumps(element, default=_plain, indent=2, ensure_ascii=False)
            print("," if begun else "[", text, sep="\n", file=out.file)
            begun = True

    yield more
    print("]" if begun else "[]", file=out.file)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@contextmanager
def progress(what: str, total: float | None = None, *, shown: bool = True) -> Iterator[Tell]:
    """Show a bar on a terminal's stderr; without a total, only that work goes on.

    Yields
    ------
    Tell
        What the work calls as it goes.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not (shown and err.is_terminal)) as bar:
        task = bar.add_task(what, total=total)

        def tell(done: float, doing: str | None = None, of: float | None = None) -> None:
            bar.update(
                task, completed=done, total=of or total, description=f"{what}: {doing}" if doing else what
            )

        yield tell
