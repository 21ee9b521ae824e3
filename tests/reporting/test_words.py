"""What tables, criteria and checklists say of what they were given."""

from __future__ import annotations

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from capacity_kit.reporting import criteria, rehearsal, show, tables


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0.4 s"),
        (2, "2 s"),
        (59, "59 s"),
        (60, "1 min"),
        (90, "1.5 min"),
        (7200, "2 h"),
        (3 * 86400, "3 days"),
        (0, "0 s"),
    ],
)
def test_a_span_is_said_in_its_largest_sensible_unit(seconds, said):
    assert tables.span(pd.Timedelta(seconds=seconds)) == said


@pytest.fixture
def shown(monkeypatch):
    """The HTML of a table with a text, a figure and a verdict."""
    caught = []
    monkeypatch.setattr(show, "_display", lambda _, html: caught.append(BeautifulSoup(html, "html.parser")))
    frame = pd.DataFrame({"name": ["a < b"], "count": [3], "said": ["ok"]})
    headings = {"name": 'Na"me', "count": "Count", "said": "Verdict"}
    show.table(frame, "Caption", columns=headings, figures=["count"], verdicts=["said"])
    return caught[0]


def test_each_cell_says_its_column(shown):
    assert [td["data-label"] for td in shown.find_all("td")] == ['Na"me', "Count", "Verdict"]


def test_text_is_aligned_to_the_left_in_jupyter_too(shown):
    for cells in (shown.find_all("th"), shown.find_all("td")):
        assert ["text-align:left" in cell.get("style", "") for cell in cells] == [True, False, True]


def covered(*rows):
    return pd.DataFrame(rows, columns=["tenant", "resource_type", "is_covered", "reason"])


def test_coverage_says_what_is_missing_and_why():
    found = criteria.coverage(
        covered(
            ("A", "STORAGE", True, None),
            ("A", "TRANSACTIONS", False, "capacity unknown"),
            ("B", "TRANSACTIONS", False, "capacity unknown"),
            ("B", "USERS", False, "stale"),
        )
    )
    assert (found.value, found.verdict) == ("25.0 %", "missed")
    assert "Transactions (capacity unknown)" in found.how
    assert "Users (stale)" in found.how


def test_automation_counts_measurements_and_says_so():
    found = criteria.automation(pd.Series({"measurements": 200, "imported": 2, "simulated": 0}))
    assert (found.value, found.verdict) == ("99.0 %", "met")
    assert "198 of the last month's 200 measurements" in found.how
    assert "counts measurements" in found.how


def test_what_is_only_simulated_says_nothing_of_automation():
    found = criteria.automation(pd.Series({"measurements": 0, "imported": 0, "simulated": 2400}))
    assert found.verdict == "not known"
    assert "2,400 simulated" in found.how


def test_whether_thresholds_are_tuned_is_for_a_person():
    fired = pd.DataFrame({"verdict": ["fired", "switched off"]})
    (tuned,) = [i for i in rehearsal.checklist([], [], fired) if i.item == "Alert thresholds tuned"]
    assert tuned.verdict == "for a person"
    assert "threshold tuning report" in tuned.to_do
    silent = pd.DataFrame({"verdict": ["fired", "did not fire"]})
    (tuned,) = [i for i in rehearsal.checklist([], [], silent) if i.item == "Alert thresholds tuned"]
    assert tuned.verdict == "failed"
