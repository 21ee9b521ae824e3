"""Everything that is measured here, each benchmark in a process of its own and one after the other.

    python benchmarks/run.py [--only NAME ...] [--write benchmarks/results.md]

With --write the sections of those that ran to their end are put in place of their earlier ones; whatever else the file
says stays. Exits 1 when one missed its target or broke.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("BENCH_DATA", HERE.parents[1] / "shared" / "data"))
SCORER = DATA.parent / "bench" / "score.py"
HEAD = """# Measured

`make bench` runs all of it, `benchmarks/run.py --only NAME --write benchmarks/results.md` a part; each section says
when, and how busy the machine was. Speeds are of one processor unless a row says otherwise.
"""


class Benchmark(NamedTuple):
    """A section of the report.

    Attributes
    ----------
    title : str
    command : tuple of str
        What is run, from the checkout, by this interpreter.
    is_markdown : bool
        Whether it prints a table of Markdown, or one of spaces.
    """

    title: str
    command: tuple[str, ...]
    is_markdown: bool = True


BENCHMARKS = {
    "score": Benchmark(
        "The engine's forecasts against published models, on real series",
        (
            str(SCORER),
            "benchmarks.forecasters:forecast",
            "--runway",
            "benchmarks.forecasters:runway",
            "--data",
            str(DATA),
        ),
        is_markdown=False,
    ),
    "bands": Benchmark(
        "What the engine's bands hold, beyond the record and on simulated tenants",
        ("benchmarks/band_cover.py", "--data", str(DATA)),
    ),
    "side_by_side": Benchmark(
        "The engine and others in one go: speed, and how good", ("benchmarks/side_by_side.py",)
    ),
    "engine": Benchmark("The engine alone: speed and memory", ("benchmarks/time_engine.py",), False),
    "map": Benchmark("Many series: the map", ("benchmarks/map_speed.py",), False),
    "memory": Benchmark("Many series: memory", ("benchmarks/map_memory.py",), False),
    "evaluation": Benchmark(
        "Evaluating a hundred thousand thresholds", ("benchmarks/evaluation_speed.py",), False
    ),
    "replay": Benchmark("Replaying thresholds over history", ("benchmarks/replay_speed.py",), False),
    "reports": Benchmark("Many tenants' reports", ("benchmarks/report_fanout.py",), False),
    "imports": Benchmark("Imports", ("benchmarks/import_speed.py",)),
    "analyses": Benchmark("Analyses in SQL", ("benchmarks/analysis_speed.py",)),
    "pgbench": Benchmark("Growth under pgbench", ("benchmarks/pgbench_growth.py", "--seconds", "180"), False),
}


def run(benchmark: Benchmark) -> tuple[str, bool, bool]:
    """Its section, whether it ran to its end, and whether it also met its target."""
    busy, started = os.getloadavg()[0], datetime.now(UTC)
    done = subprocess.run(
        [sys.executable, *benchmark.command],
        cwd=HERE.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    sys.stderr.write(done.stderr)
    said = done.stdout.strip("\n")
    # A missed target and an uncaught exception are both exit code 1.
    is_whole = bool(said) and done.returncode in (0, 1) and "Traceback (most recent" not in done.stderr
    body = said if benchmark.is_markdown else f"```\n{said}\n```"
    shown = " ".join(benchmark.command).replace(f"{HERE.parents[1]}/", "../")
    load = f"load average {busy:.1f} at the start, {os.getloadavg()[0]:.1f} at the end"
    when = f"{started:%Y-%m-%d}, {os.cpu_count()} processors, {load}"
    return f"## {benchmark.title}\n\n`{shown}`; {when}.\n\n{body}\n", is_whole, not done.returncode


def merged(earlier: str, sections: list[str]) -> str:
    """A report with some of its sections replaced, and new ones at its end."""
    head, *kept = earlier.split("\n## ") if earlier else [HEAD]
    by_title = {text.split("\n", 1)[0]: text.strip() for text in kept}
    for section in sections:
        text = section.removeprefix("## ")
        by_title[text.split("\n", 1)[0]] = text.strip()
    order = [b.title for b in BENCHMARKS.values() if b.title in by_title]
    order += [title for title in by_title if title not in order]
    return "\n\n".join([head.strip(), *(f"## {by_title[title]}" for title in order)]) + "\n"


def main() -> int:
    """Run the benchmarks; 1 when one missed its target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), metavar="NAME",
                        help=f"of {', '.join(BENCHMARKS)}")  # fmt: skip
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the sections in this file")
    asked = parser.parse_args()
    missed = []
    for name in asked.only:
        script = HERE.parent / BENCHMARKS[name].command[0]
        if not script.exists():
            print(f"{name}: skipped, {script} is not here.", flush=True)
            continue
        section, is_whole, is_met = run(BENCHMARKS[name])
        print(section, flush=True)
        if asked.write and is_whole:  # written one by one: what comes later may be interrupted
            earlier = asked.write.read_text(encoding="utf-8") if asked.write.exists() else ""
            asked.write.write_text(merged(earlier, [section]), encoding="utf-8")
        missed += [name] * (not is_met)
    if missed:
        print(f"Missed a target, or failed: {', '.join(missed)}.")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
