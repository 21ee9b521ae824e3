"""The notebooks: each cell gives what is committed, each is short, and each can be read by who did not write it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from capacity_kit.reporting import parameters, run

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SEEDED_AS_OF = "2026-11-01T00:00:00Z"
LONGEST_CELL = 16


def read(path: Path):
    return nbformat.read(path, as_version=4)


def code(path: Path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def outputs(path: Path):
    return [output for cell in code(path) for output in cell.outputs]


def test_the_four_are_there():
    names = ["deployment_verification", "growth_analysis", "monthly_review", "threshold_tuning"]
    assert [path.stem for path in NOTEBOOKS] == names
    assert list(run.available()) == names


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_code_cell_gives_what_is_committed(path, seeded):
    """nbval, as its own pytest: it compares the outputs of every cell, PNG excepted, whose words are compared."""
    settings = {"CAPACITY_DSN": seeded, "CAPACITY_AS_OF": SEEDED_AS_OF}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        str(path),
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(ROOT),
    ]
    sanitize = ["--nbval-sanitize-with", str(Path(__file__).with_name("sanitize.cfg"))]
    done = subprocess.run(
        [*command, *sanitize],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **settings},
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert f"{len(code(path))} passed" in done.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_code_cell_was_executed_in_order_without_error(path):
    """A cell without a count is compared with nothing."""
    assert [cell.execution_count for cell in code(path)] == list(range(1, len(code(path)) + 1))
    assert all(output.output_type == "display_data" for output in outputs(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_are_declared_and_described(path):
    declared = {p.name: p for p in parameters.declared(read(path), path.stem)}
    assert declared["as_of"].optional
    assert declared["tenant"].default == "ALL"
    assert all(len(p.description) > 10 for p in declared.values())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_are_short_and_define_nothing(path):
    for cell in code(path):
        assert len(cell.source.splitlines()) <= LONGEST_CELL
        tree = ast.parse(cell.source)
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Lambda)]
        assert "dsn" not in cell.source.lower() or "CAPACITY_DSN" not in cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_reader_is_led_by_prose(path):
    cells = [cell for cell in read(path).cells if "parameters" not in cell.metadata.get("tags", [])]
    assert cells[0].source.startswith("# ")
    headings = [cell for cell in cells if cell.cell_type == "markdown" and cell.source.startswith("## ")]
    assert len(headings) >= 4
    assert all(len(cell.source.splitlines()) > 1 for cell in headings), "each section says what it is about"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_figures_have_words_and_nothing_carries_a_secret_or_a_path(path):
    for output in outputs(path):
        if "image/png" in output.data:
            alt = output.metadata["image/png"]["alt"]
            assert len(alt) > 20
            assert output.data["text/plain"] == f"[figure] {alt}"
    text = path.read_text(encoding="utf-8")
    for secret in ("postgresql://", "password", "/tmp/", "/work/", "/root/", "/home/"):
        assert secret not in text


def test_simulated_data_is_said_in_every_notebook():
    for path in NOTEBOOKS:
        found = [o.data["application/vnd.capacity.result+json"] for o in outputs(path) if len(o.data) == 3]
        assert len(found) == 1
        assert "simulation" in found[0]["simulated"]
