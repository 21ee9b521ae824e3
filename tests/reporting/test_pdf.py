"""A report printed by a real browser: whole, with what is folded on a screen, or one line that says why not."""

from __future__ import annotations

import re
import shutil

import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from capacity_kit.errors import CapacityError
from capacity_kit.reporting import pdf, render, show
from capacity_kit.reporting.result import Result


def page(tmp_path, rows, monkeypatch):
    shown = []
    monkeypatch.setattr(show, "_display", lambda _, html: shown.append(html))
    show.table(pd.DataFrame({"Name": [f"row {i}" for i in range(rows)]}), "Caption", top=rows)
    cell = new_code_cell(outputs=[new_output("display_data", data={"text/html": shown[0]})])
    notebook = new_notebook(cells=[new_markdown_cell("# Growth"), cell])
    made = Result("ok", "Fine.", title="Growth", tenant="ALL", as_of="2026-11-01T00:00:00+00:00")
    path = tmp_path / "index.html"
    path.write_text(render.page(notebook, made, {}))
    return path


def pages_of(path):
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", path.read_bytes()))


def test_a_page_is_printed_with_what_is_folded_on_a_screen(tmp_path, chromium, monkeypatch):
    monkeypatch.setenv("CAPACITY_BROWSER", chromium)
    found = pdf.write(page(tmp_path, 400, monkeypatch))
    assert found == tmp_path / "report.pdf"
    assert pages_of(found) > 5, "six rows fill no page; four hundred do"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["index.html", "report.pdf"]


@pytest.mark.parametrize("program", ["no-such-browser", "false", "true"])
def test_what_cannot_print_is_said_in_a_line_and_leaves_nothing(tmp_path, monkeypatch, program):
    if program != "no-such-browser" and not shutil.which(program):
        pytest.skip(f"{program} is not here")
    monkeypatch.setenv("CAPACITY_BROWSER", program)
    (tmp_path / "index.html").write_text("<p>x")
    with pytest.raises(CapacityError) as said:
        pdf.write(tmp_path / "index.html")
    assert "\n" not in str(said.value)
    assert program in str(said.value)
    assert [p.name for p in tmp_path.iterdir()] == ["index.html"]


def test_without_any_browser_it_says_how_to_have_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pdf, "_NAMES", ("chromium",))
    with pytest.raises(CapacityError, match="Install chromium, or name one by CAPACITY_BROWSER"):
        pdf.write(tmp_path / "index.html")
