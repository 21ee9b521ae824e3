"""What a notebook shows: large tables fold without hiding anything from print or from a reader without style."""

from __future__ import annotations

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from capacity_kit.reporting import render, show


@pytest.fixture
def caught(monkeypatch):
    said = []
    monkeypatch.setattr(show, "_display", lambda plain, html: said.append((plain, html)))
    return said


def table(caught, rows, **options):
    show.table(pd.DataFrame({"Name": [f"row {i}" for i in range(rows)]}), "Caption", **options)
    plain, html = caught[-1]
    return plain, BeautifulSoup(render.clean(html), "html.parser")


def test_a_large_table_shows_its_first_rows_and_unfolds_the_rest(caught):
    plain, html = table(caught, 20, first=6)
    lines = html.select(".folded > .table tbody tr")
    assert [line.get("class") for line in lines] == [None] * 6 + [["rest"]] * 14
    assert html.select_one(".folded > details > summary .closed").text == "14 more rows"
    assert "row 19" in plain, "whoever compares outputs compares all of them"


@pytest.mark.parametrize("rows", [1, 6, 8])
def test_a_few_rows_more_are_not_worth_folding(caught, rows):
    _, html = table(caught, rows, first=6)
    assert not html.select(".folded, details, .rest")
    assert len(html.select("tbody tr")) == rows


def test_what_wants_attention_is_never_folded(caught):
    said = ["ok"] * 20
    said[9], said[15] = "failed", "attention"
    frame = pd.DataFrame({"Name": [f"row {i}" for i in range(20)], "Verdict": said})
    show.table(frame, "Caption", verdicts=["Verdict"], first=6)
    html = BeautifulSoup(render.clean(caught[-1][1]), "html.parser")
    open_ = [tr.td.text for tr in html.select("tbody tr:not(.rest)")]
    assert open_ == [f"row {i}" for i in (0, 1, 2, 3, 4, 5, 9, 15)], "in their order"
    assert html.select_one("summary .closed").text == "12 more rows"


def test_what_is_beyond_the_top_is_counted_beside_what_is_folded(caught):
    plain, html = table(caught, 40, first=6, top=25)
    assert html.select_one("summary .closed").text == "19 more rows"
    assert html.select_one(".more").text == "15 more rows are not shown."
    assert plain.endswith("15 more rows are not shown.")


def test_the_column_of_owners_is_marked_head_and_cells(caught):
    show.table(pd.DataFrame({"Tenant": ["A", "B"], "Resource": ["x", "y"]}), "Caption")
    html = BeautifulSoup(render.clean(caught[-1][1]), "html.parser")
    assert [cell.text for cell in html.select(".owner")] == ["Tenant", "A", "B"]
