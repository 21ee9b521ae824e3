"""How fast a million measurements of a thousand resources are imported, and in how much memory.

    python benchmarks/import_speed.py [--dsn DSN] [--resources 1000] [--measurements 1000]

Without --dsn the embedded server is started in a directory of its own and removed at the end; with it, the
database must be empty. Three files: regular spacing with the resources in turn, irregular spacing, and a wide
one; each is imported, imported again (which adds nothing), and one is imported with every value corrected.
The target is 60 seconds an import of a million on 2 cores, with a peak of memory that does not grow with the file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from capacity_kit import vault
from capacity_kit.sources.csv_file import CsvFile, Layout
from capacity_kit.vault import embedded

WIDE = 100  # columns


@dataclass
class Timed:
    """How long a step took, and the most memory that this process held meanwhile."""

    seconds: float = 0.0
    megabytes: float = 0.0


@contextmanager
def timed() -> Iterator[Timed]:
    """Watch the clock and this process's memory, ten times a second."""
    result, process, done = Timed(), psutil.Process(), threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            result.megabytes = max(result.megabytes, process.memory_info().rss / 2**20)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        yield result
    finally:
        result.seconds = time.perf_counter() - start
        done.set()
        watcher.join()


def write_long(
    path: Path, resources: int, measurements: int, *, irregular: bool = False, plus: float = 0.0
) -> None:
    """Write a canonical file, time by time, each with every resource."""
    random = np.random.default_rng(1)
    names = [f"volume {number}" for number in range(resources)]
    begin = pd.Timestamp("2026-01-01", tz="UTC")
    with path.open("w", encoding="utf-8") as file:
        file.write("measured_at,resource_type,resource_name,value,capacity,unit\n")
        for step in range(measurements):
            offset = np.full(resources, step * 900.0)
            if irregular:  # anywhere within its quarter of an hour, to the millisecond
                offset += random.uniform(0, 899, resources).round(3)
            stamps = (begin + pd.to_timedelta(offset, unit="s")).strftime("%Y-%m-%dT%H:%M:%S.%f%z")
            values = random.uniform(0, 1e9, resources).round(3) + plus
            file.writelines(
                f"{stamp},VOLUME,{name},{value!r},2000000000,bytes\n"
                for stamp, name, value in zip(stamps, names, values.tolist(), strict=True)
            )


def write_wide(path: Path, measurements: int) -> None:
    """Write a file with a column for each resource."""
    values = np.random.default_rng(2).integers(0, 10**12, (measurements, WIDE))
    times = pd.date_range("2024-01-01", periods=measurements, freq="1h", tz="UTC")
    frame = pd.DataFrame(values, columns=[f"wide {number}" for number in range(WIDE)])
    frame.insert(0, "time", times)
    frame.to_csv(path, index=False)


def main() -> int:
    """Run the benchmark and print a table in Markdown; 1 when an import took longer than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dsn", help="an empty database; default: an embedded server of its own")
    parser.add_argument("--resources", type=int, default=1000)
    parser.add_argument("--measurements", type=int, default=1000, help="of each resource")
    parser.add_argument(
        "--limit", type=float, default=60.0, help="seconds allowed for a million measurements"
    )
    asked = parser.parse_args()

    home = Path(tempfile.mkdtemp(prefix="capacity-benchmark-"))
    try:
        dsn = asked.dsn or embedded.up(home=home).dsn
        return run(dsn, home, asked)
    finally:
        if not asked.dsn:
            embedded.down(home)
        shutil.rmtree(home, ignore_errors=True)


def run(dsn: str, home: Path, asked: argparse.Namespace) -> int:
    """Import each file and say how it went."""
    rows = asked.resources * asked.measurements
    files = {
        "regular": (home / "regular.csv", Layout()),
        "irregular": (home / "irregular.csv", Layout()),
        "corrected": (home / "corrected.csv", Layout()),
        "wide": (
            home / "wide.csv",
            Layout(
                time="time",
                values=tuple(f"wide {n}" for n in range(WIDE)),
                resource_type="VOLUME",
                unit="bytes",
            ),
        ),
    }
    write_long(files["regular"][0], asked.resources, asked.measurements)
    write_long(files["irregular"][0], asked.resources, asked.measurements, irregular=True)
    write_long(files["corrected"][0], asked.resources, asked.measurements, plus=1.0)
    write_wide(files["wide"][0], rows // WIDE)

    too_slow = False
    with vault.open(dsn) as opened:
        opened.deploy()
        print(
            f"PostgreSQL {opened.server.version}, {os.cpu_count()} processors, Python {sys.version.split()[0]}; a "
            f"million rows must take {asked.limit:.0f} s at most, but where every value is corrected.\n"
        )
        print("| file | rows | MB | import | rows/s | stored | corrected | peak RSS |")
        print("|---|---|---|---|---|---|---|---|")
        for name, key in (("regular", "regular"), ("irregular, new resources' times", "irregular"),
                          ("regular, again", "regular"), ("wide", "wide"), ("wide, again", "wide"),
                          ("every value corrected", "corrected")):  # fmt: skip
            path, layout = files[key]
            source = CsvFile(path, opened.tenant, layout)
            with timed() as took:
                done = opened.load(
                    source.batches(), source.record_source, label=path.name, method=source.method
                )
            size, rate = path.stat().st_size / 1e6, done.rows / took.seconds
            print(
                f"| {name} | {done.rows:,} | {size:.0f} | {took.seconds:.1f} s | {rate:,.0f} "
                f"| {done.inserted:,} | {done.corrected:,} | {took.megabytes:.0f} MB |",
                flush=True,
            )
            if not done.corrected:  # a correction writes every row twice, and no target is set for it
                too_slow |= took.seconds > asked.limit * max(done.rows / 1e6, 0.1)
    return int(too_slow)


if __name__ == "__main__":
    sys.exit(main())
