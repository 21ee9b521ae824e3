"""How much memory the map needs, by the number of series: it must not grow with them.

    python benchmarks/map_memory.py [--database] [SERIES ...]      # DAYS=80 in the environment: backtested too

Series of DAYS days, all forecast for a year, in one process; each number of series in a fresh one, since a process
only tells its peak. Without --database the reader makes the series up, and both passes of the map are run over them:
the sums of the tenants' forecasts, then the records, which are counted and thrown away. With --database a private
server is filled, read and written to; the memory is that of the kit's process.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import psycopg
from map_speed import AS_OF, FAST, FILL
from psycopg import sql

from capacity_kit import vault
from capacity_kit.analysis import run, work
from capacity_kit.analysis.chunks import Chunk, Resource
from capacity_kit.analysis.local import in_process
from capacity_kit.vault import embedded

DAYS = int(os.environ.get("DAYS", "40"))
MUST = 300  # MB above import, for any number of series


def peak() -> float:
    """Most memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def made_up(series: int) -> Iterator[Chunk]:
    """Tenants' series, a chunk at a time, and a chunk with the system's one at last."""
    times = AS_OF.timestamp() - 86400.0 * np.arange(DAYS)[::-1]
    total = np.zeros(DAYS)
    for start in range(0, series, run.SIZE):
        count = min(run.SIZE, series - start)
        rng = np.random.default_rng(start)
        usage = 1e9 * (
            100 + rng.uniform(0, 1, (count, 1)) * np.arange(DAYS) + rng.normal(0, 1, (count, DAYS))
        )
        total += usage.sum(axis=0)
        yield chunk([f"{start + i:064x}" for i in range(count)], times, usage)
    yield chunk([None], times, (1.1 * total)[None])


def chunk(tenants: list[str | None], times: np.ndarray, usage: np.ndarray) -> Chunk:
    """Some resources of the same times."""
    resources = tuple(
        Resource(
            tenant or "", tenant, "STORAGE", "data", "STORAGE", "bytes", float(values[-1]), 150e9, 80.0, 90.0,
            AS_OF, AS_OF,
        )
        for tenant, values in zip(tenants, usage, strict=True)
    )  # fmt: skip
    return Chunk(AS_OF, resources, (times,) * len(tenants), tuple(usage))


def in_memory(series: int) -> int:
    """Both passes; how many records there were."""
    *_, system = made_up(1)
    days, before = work.past(system).size, work.before(system)
    sums = None
    for tenants in made_up(series):
        system = tenants
        found = work.summed(tenants, work.NOTHING, "bytes", days, before)
        sums = found if sums is None else sums if found is None else sums + found
    assert sums is not None
    whole = work.whole(system, work.NOTHING, sums)
    assert not isinstance(whole, str)
    known = work.Known(wholes={("STORAGE", "bytes"): whole})
    return sum(
        len(records) for records in in_process(partial(work.analyse, c, known) for c in made_up(series))
    )


def from_database(dsn: str) -> int:
    """All that there is, recorded; how many records there were."""
    with vault.open(dsn) as store:
        return sum(len(done.records) for done in run.analyse(store, as_of=AS_OF))


def measured(*arguments: str) -> int:
    """Run one number of series in a process of its own, which prints its line; 1 if that took too much."""
    return subprocess.run([sys.executable, __file__, "--one", *arguments], check=False).returncode


def one(what: str) -> int:
    """A line of the table; 1 if it took too much."""
    before, start = peak(), time.perf_counter()
    count = in_memory(int(what)) if what.isdigit() else from_database(what)
    seconds = time.perf_counter() - start
    above = peak() - before
    print(
        f"{count:>10,} series {above:8.0f} MB above import (must {MUST}) {seconds:10.0f} s"
        f" {count / seconds:8.0f} a second",
        flush=True,
    )
    return int(above > MUST)


def main() -> int:
    """Print a table; 1 if a line of it took too much."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--one"]:
        return one(arguments[1])
    counts = [int(text) for text in arguments if text.isdigit()] or [10_000, 100_000]
    if "--database" not in arguments:
        return max(measured(str(count)) for count in counts)
    worst = 0
    with tempfile.TemporaryDirectory(prefix="capacity-map-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        for count in counts:
            home = Path(directory) / str(count)
            try:
                dsn = embedded.up(FAST, home).dsn
                with vault.open(dsn) as store:
                    store.deploy()
                with psycopg.connect(dsn, autocommit=True) as connection:
                    connection.execute(sql.SQL(FILL).format(series=count, days=DAYS, as_of=AS_OF))
                    connection.execute("ANALYZE")
                worst = max(worst, measured(dsn))
            finally:
                embedded.down(home)
    return worst


if __name__ == "__main__":
    sys.exit(main())
