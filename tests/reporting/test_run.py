"""Notebooks on a real server: what is published when they end well, badly, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from capacity_kit import settings
from capacity_kit.errors import CapacityError
from capacity_kit.reporting import run

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
    assert set(found["versions"]) == {"capacity-kit", "PostgreSQL", "Python"}
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


def test_a_password_reaches_no_notebook_page_or_result(publish, pg18):
    dsn = pg18.dsn + "&password=hunter2-secret"
    leak = "import os; print(os.environ['CAPACITY_DSN'])"
    done = publish(leak, "import os; raise RuntimeError(os.environ['CAPACITY_DSN'])", dsn=dsn)
    for file in [*done.page.parent.iterdir(), done.page.parents[3] / "index.html"]:
        assert "hunter2" not in file.read_text(), file.name
    assert "***" in done.result.failure.error


def test_no_form_of_a_password_and_no_second_one_reaches_a_page(publish, pg18, monkeypatch):
    hard, other = "S3cr%t p@ss/w'\"\\ ‹é", "a-second-one"
    monkeypatch.setenv("PGPASSWORD", other)
    dsn = f"{pg18.dsn}&password={quote(hard, safe='')}"
    forms = (
        "import os, json; from psycopg import conninfo; d = conninfo.conninfo_to_dict(os.environ['CAPACITY_DSN'])",
        "print(d); print(repr(d['password'])); print(json.dumps(d))",
        "print(os.environ['CAPACITY_DSN']); display(dict(os.environ))",
        "print(conninfo.make_conninfo(**d)); print(os.environ.get('PGPASSWORD'))",
    )
    done = publish(*forms, GOOD, dsn=dsn)
    for file in done.page.parent.iterdir():
        text = file.read_text()
        for part in ("S3cr", "p@ss", "p%40ss", other):
            assert part not in text, (file.name, part, text[max(0, text.find(part) - 80) :][:200])


def test_a_password_that_is_a_word_of_the_notebook_format_spoils_nothing(publish, pg18):
    done = publish(GOOD, dsn=pg18.dsn + "&password=code")
    assert done.result.verdict != "failed"


def test_a_notebook_works_in_a_folder_of_its_own(publish, tmp_path):
    before = set(Path.cwd().iterdir())
    publish("open('litter.txt', 'w').write('x')", GOOD)
    assert set(Path.cwd().iterdir()) == before
    assert not list(tmp_path.rglob("litter.txt"))
