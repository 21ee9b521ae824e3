"""How long the database's own analysis of thirteen simulated months takes, on a server of its own.

python benchmarks/analysis_speed.py
"""

from __future__ import annotations

import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from capacity_kit import vault
from capacity_kit.sources import simulation
from capacity_kit.vault import embedded


def main() -> None:
    """Print a table in Markdown."""
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


if __name__ == "__main__":
    main()
