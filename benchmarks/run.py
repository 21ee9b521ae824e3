"""How long loads and analyses take here: runs each benchmark on a server of its own and prints one report.

python benchmarks/run.py [--write benchmarks/results.md]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from capacity_kit import vault
from capacity_kit.sources import simulation
from capacity_kit.vault import embedded

HERE = Path(__file__).parent


def analyses() -> None:
    """Time the analysis of the simulated thirteen months, on a server of its own."""
    home = Path(tempfile.mkdtemp(prefix="capacity-benchmark-"))
    try:
        with vault.open(embedded.up(home=home).dsn) as opened:
            opened.deploy()
            made = simulation.simulate(opened, as_of=datetime(2026, 11, 1, tzinfo=UTC))
            print("| analysis | resources | measurements | time |\n|---|---|---|---|")
            for days in (30, 90, 365):
                start = time.perf_counter()
                found = opened.analyze(days=days, as_of=made.as_of)
                print(f"| {days} days | {len(found)} | {made.rows:,} | {time.perf_counter() - start:.1f} s |")
    finally:
        embedded.down(home)
        shutil.rmtree(home, ignore_errors=True)


def main() -> int:
    """Run the benchmarks; 1 when one missed its target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the report in this file too")
    asked = parser.parse_args()
    imports = subprocess.run(
        [sys.executable, HERE / "import_speed.py"], stdout=subprocess.PIPE, text=True, check=False
    )
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        analyses()
    report = "\n".join(
        (
            f"# Measured on {datetime.now(UTC):%Y-%m-%d}",
            "",
            "## Imports",
            "",
            imports.stdout,
            "## Analyses",
            "",
            printed.getvalue(),
        )
    )
    print(report)
    if asked.write:
        asked.write.write_text(report, encoding="utf-8")
    return imports.returncode


if __name__ == "__main__":
    sys.exit(main())
