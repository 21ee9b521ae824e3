"""What the benchmarks say of themselves, without running one: sections by name, and the tools that they judge by."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def run(monkeypatch):
    """benchmarks/run.py."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("run")


def test_a_section_takes_the_place_of_its_earlier_one_and_the_rest_stays(run):
    engine, imports = run.BENCHMARKS["engine"].title, run.BENCHMARKS["imports"].title
    first = run.merged("", [f"## {imports}\n\nold\n", "## By hand\n\nkept\n"])
    both = run.merged(first, [f"## {imports}\n\nnew\n", f"## {engine}\n\nadded\n"])
    assert "old" not in both
    assert [line for line in both.splitlines() if line.startswith("## ")] == [
        f"## {engine}",
        f"## {imports}",
        "## By hand",
    ]
    assert both.startswith(run.HEAD.strip())
    assert run.merged(both, []) == both


def test_every_benchmark_is_there(run):
    for name, benchmark in run.BENCHMARKS.items():
        if name != "score":  # of the data, which are not ours
            assert (ROOT / benchmark.command[0]).exists(), name


def test_what_cannot_be_run_is_said_in_a_line_and_is_no_failure():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "run.py", "--only", "score"],
        env={"BENCH_DATA": "/nowhere/data"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "score: skipped, /nowhere/bench/score.py is not here.\n"


def test_a_missed_target_is_an_exit_code(run, tmp_path, monkeypatch, capsys):
    script = tmp_path / "missed.py"
    script.write_text("print('| too slow |'); raise SystemExit(1)")
    monkeypatch.setattr(run, "BENCHMARKS", {"slow": run.Benchmark("Slow", (str(script),))})
    report = tmp_path / "results.md"
    monkeypatch.setattr(sys, "argv", ["run.py", "--only", "slow", "--write", str(report)])
    assert run.main() == 1
    assert "Missed a target, or failed: slow." in capsys.readouterr().out
    assert "| too slow |" in report.read_text()
    assert re.search(r"load average \d+\.\d at the start, \d+\.\d at the end\.", report.read_text())


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("print('| half |'); raise ValueError('no server')", 1),
        ("raise SystemExit(2)", 1),
        ("import sys; print('Not measured: no network', file=sys.stderr)", 0),
    ],
    ids=["broken", "wrong call", "nothing to measure with"],
)
def test_what_was_not_measured_to_the_end_keeps_its_earlier_section(
    run, tmp_path, monkeypatch, capsys, script, code
):
    (tmp_path / "broken.py").write_text(script)
    monkeypatch.setattr(run, "BENCHMARKS", {"broken": run.Benchmark("Mine", (str(tmp_path / "broken.py"),))})
    report = tmp_path / "results.md"
    report.write_text("# Measured\n\n## Mine\n\nmeasured before\n")
    monkeypatch.setattr(sys, "argv", ["run.py", "--only", "broken", "--write", str(report)])
    assert run.main() == code
    assert ("Missed a target, or failed: broken." in capsys.readouterr().out) == bool(code)
    assert report.read_text() == "# Measured\n\n## Mine\n\nmeasured before\n"


def test_the_straight_line_is_one(tmp_path):
    line = ROOT / "benchmarks" / "side_by_side_reference.py"
    np.savez(tmp_path / "series.npz", **{"4": 100 + 2.0 * np.arange(60)})
    command = [line, "line", tmp_path / "series.npz", tmp_path / "said.npz", "5", "7", "D"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
    assert done.stdout.startswith('{"series": 1, "seconds": ')
    with np.load(tmp_path / "said.npz") as found:
        assert found["4"] == pytest.approx(np.tile(218 + 2.0 * np.arange(1, 6), (3, 1)))
