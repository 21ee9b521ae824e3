"""Notebooks on a real server: what is published when they end well, badly, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from capacity_kit import settings
from capacity_kit.errors import CapacityError
from capacity_kit.reporting import run
from capacity_kit.reporting.result import MIME

PARAMETERS = """
tenant: str = "ALL"  # whose resources
resource_type: str = "ALL"  # which of them
days: int = 30  # days of history
as_of: str | None = None  # the moment
"""
GOOD = """
from capacity_kit.reporting.result import Kpi, publish
publish("ok", f"{days} days.", [Kpi("Days", str(days))])
"""


@pytest.fixture
def publish(tmp_path, pg18, request):
    """A function that runs a notebook of these cells and publishes it."""

    def published(*sources: str, dsn: str | None = None, timeout: int = 60, progress=None, **given):
        cells = [
            new_markdown_cell("# Trial\n\nOpening."),
            new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
            new_markdown_cell("## Section one"),
            *(new_code_cell(source) for source in sources),
        ]
        file = tmp_path / "trial.ipynb"
        nbformat.write(new_notebook(cells=cells), file)
        where = settings.load().model_copy(update={"site": tmp_path / "site"})
        return run.run(
            str(file), given, settings=where, dsn=dsn or pg18.dsn, cell_timeout=timeout, progress=progress
        )

    return published


def test_a_report_is_page_notebook_and_result(publish, tmp_path):
    told = []
    done = publish(GOOD, days="14", as_of="2026-11-01", progress=lambda *step: told.append(step))
    assert done.result.exit_code == 0
    assert done.result.headline == "14 days."
    assert done.page == tmp_path / "site/trial/_all" / done.page.parent.name / "index.html"
    assert done.page.parent.name.startswith("2026-11-01T000000Z")
    assert sorted(p.name for p in done.page.parent.iterdir()) == [
        "index.html",
        "notebook.ipynb",
        "result.json",
    ]
    found = json.loads((done.page.parent / "result.json").read_text())
    asked = {"tenant": "ALL", "resource_type": "ALL", "days": 14, "as_of": "2026-11-01T00:00:00+00:00"}
    assert found["parameters"] == asked
    assert set(found["versions"]) == {"capacity-kit", "schema", "PostgreSQL", "Python", "confinement"}
    assert found["versions"]["confinement"].endswith("whose role may use files and programs of its host")
    html = done.page.read_text()
    assert "14 days." in html
    assert "publish(" not in html
    assert told[0][:2] == (0, 5)
    assert told[-1][:2] == (5, 5)
    assert "14 days." in (tmp_path / "site/index.html").read_text()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1/0", "ZeroDivisionError: division by zero"),
        ("import time; time.sleep(60)", "CellTimeoutError"),
        ("import os; os._exit(1)", "DeadKernelError"),
    ],
    ids=["exception", "time-out", "dead kernel"],
)
def test_a_failed_notebook_gives_a_partial_report_with_the_failure_on_top(publish, tmp_path, source, said):
    done = publish("print('kept')", source, "print('never')", GOOD, timeout=4)
    assert done.result.verdict == "failed"
    assert done.result.exit_code == 4
    assert done.result.failure.notebook == "trial"
    assert done.result.failure.section == "Section one"
    assert said in done.result.failure.error
    html = done.page.read_text()
    assert html.index(said) < html.index("Contents")
    assert "kept" in html
    assert "never" not in html
    assert "failed" in (tmp_path / "site/index.html").read_text()


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ({"verdict": "ok", "headline": "x", "kpis": [{"label": "Days", "value": 3}]}, "kpis.0.value: "),
        ({"verdict": "fine", "headline": "x"}, "unknown verdict 'fine'"),
    ],
)
def test_what_is_published_but_no_result_is_a_failure_that_says_why(publish, shown, said):
    done = publish(f"display({{'{MIME}': {shown!r}, 'text/plain': 'x'}}, raw=True)")
    assert done.result.verdict == "failed"
    assert done.result.headline.startswith(f"Failed: what the notebook published is no result: {said}")
    assert done.result.complaint() is None
    assert json.loads((done.page.parent / "result.json").read_text())["sql"]["step_9_capacity_planning.sql"]


def test_a_notebook_that_publishes_nothing_has_failed(publish):
    done = publish("x = 1")
    assert done.result.verdict == "failed"
    assert "without publishing" in done.result.headline


@pytest.mark.parametrize(
    "given",
    [
        {"day": 3},
        {"days": "three"},
        {"tenant": "nobody"},
        {"resource_type": "STORAG"},
        {"as_of": "yesterday"},
    ],
)
def test_what_is_wrong_is_refused_before_a_kernel_starts(publish, tmp_path, given):
    told = []
    with pytest.raises(CapacityError) as refused:
        publish(GOOD, progress=lambda *step: told.append(step), **given)
    assert "\n" not in str(refused.value)
    assert told == []
    assert not (tmp_path / "site").exists()


def test_an_unknown_notebook_is_refused_with_the_names_of_those_there_are():
    with pytest.raises(CapacityError, match="no notebook 'growth'"):
        run.find("growth")


def test_a_secret_holds_the_whole_report_back_in_one_line_without_it(publish, pg18, tmp_path, monkeypatch):
    monkeypatch.setenv("CAPACITY_CHANNEL_CHAT", "slack://T0KEN4ABCDEFGHIJKL/rest")
    dsn = pg18.dsn + "&password=hunter2-secret"
    cells = ("print('kept')", "print('hunter2' + '-secret')", GOOD)
    with pytest.raises(CapacityError) as held:
        publish(*cells, dsn=dsn)
    assert held.value.message == "The report trial is held back: cell 6 holds the database's password"
    assert "hunter2" not in str(held.value)
    with pytest.raises(CapacityError, match="cell 5 holds the database's password"):
        publish("raise RuntimeError('hunter2' + '-secret')", dsn=dsn)
    with pytest.raises(CapacityError, match="cell 5 holds the address of channel CHAT"):
        publish("print('T0KEN4' + 'ABCDEFGHIJKL')", GOOD)
    assert not list((tmp_path / "site").rglob("*"))


def test_a_secret_that_only_the_page_shows_holds_it_back(publish, pg18, tmp_path, monkeypatch):
    monkeypatch.setenv("DEPLOY_TOKEN", "a-token-of-the-deployment")
    monkeypatch.setattr(run.render, "page", lambda *_: "<p>a-token-of-<b>the</b>-deployment</p>")
    with pytest.raises(CapacityError, match="held back: the page holds the value of DEPLOY_TOKEN"):
        publish(GOOD)
    assert not list((tmp_path / "site").rglob("*"))


def test_a_password_too_short_to_be_told_from_a_word_is_blotted_out(publish, pg18):
    done = publish("print('hush' + '55')", GOOD, dsn=pg18.dsn + "&password=hush55")
    assert done.result.verdict == "ok"
    for file in done.page.parent.iterdir():
        assert "hush55" not in file.read_text(), file.name
    assert "***" in done.page.read_text()


def test_a_password_that_is_a_word_of_the_notebook_format_spoils_nothing(publish, pg18):
    done = publish(GOOD, dsn=pg18.dsn + "&password=code")
    assert done.result.verdict != "failed"


def test_a_report_says_what_changed_since_the_one_before(publish):
    first = publish(GOOD, as_of="2026-11-01")
    assert (first.result.compared_with, first.result.changes) == ("", ())
    told = 'publish("at risk", "Now.", [Kpi("Days", "3")])'
    second = publish(GOOD.rpartition("publish(")[0] + told, as_of="2026-11-02")
    assert second.result.compared_with == "2026-11-01T00:00:00+00:00"
    assert second.result.changes[0] == "The verdict is “at risk”; it was “ok”."
    assert json.loads((second.page.parent / "result.json").read_text())["changes"] == list(
        second.result.changes
    )


def test_a_kernel_is_given_no_password(publish, pg18, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "hush-hush-hush")
    monkeypatch.setenv("CAPACITY_CHANNEL_CHAT", "slack://T0KEN4ABCDEFGHIJKL/rest")
    done = publish(
        "import os, pathlib\nfrom capacity_kit.reporting.study import Study\nstudy = Study()\n"
        "seen = str(os.environ) + pathlib.Path('/proc/self/environ').read_text() + study.vault.dsn.get_secret_value()\n"
        "print(['hush-' * 2 in seen, 'hunter2' in seen, 'T0KEN4' in seen, study.read('runs_clock').shape])",
        GOOD,
        dsn=pg18.dsn + "&password=hunter2-secret",
    )
    assert done.result.verdict == "ok", done.result.headline
    assert "[False, False, False, (1, 1)]" in done.page.read_text()


def test_a_notebook_works_in_a_folder_of_its_own(publish, tmp_path):
    before = set(Path.cwd().iterdir())
    publish("open('litter.txt', 'w').write('x')", GOOD)
    assert set(Path.cwd().iterdir()) == before
    assert not list(tmp_path.rglob("litter.txt"))
