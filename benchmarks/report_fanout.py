"""Twelve tenants' reports of growth_analysis: a plain loop of papermill and nbconvert, then capacity run-due.

Both in one run, on a server of this run's own, from a cold start, with the same notebooks and the same measurements.
The loop calls the commands ``papermill`` and ``jupyter nbconvert`` for one tenant after another; run-due checks, makes,
renders, publishes and records the same reports. Prints the seconds of each, what run-due needed of memory beside what
its processes share, and ``ratio N``: loop / run-due.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
import psycopg

from capacity_kit import vault
from capacity_kit.vault import embedded

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
AS_OF = "2026-11-01T00:00:00Z"
SCHEDULE = """
reports:
  - name: growth
    notebook: growth_analysis
    fan_out: {{tenant: [{tenants}]}}
    cron: "0 0 1 * *"
    recipients: [EMAIL]
"""
SERIES = """
SELECT measurement_timestamp AS measured_at, resource_type, resource_name, current_value AS value,
       maximum_capacity AS capacity, unit
FROM capacity_planning.resource_utilization_s
WHERE load_end_date IS NULL AND tenant_hk = decode(%s, 'hex')
"""


def main() -> int:
    """Prepare, measure both, and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tenants", type=int, default=12)
    count = options.parse_args().tenants
    with tempfile.TemporaryDirectory(prefix="capacity-bench-", dir="/tmp") as name:
        home = Path(name)
        home.chmod(0o755)
        try:
            dsn = embedded.up({}, home).dsn
            tenants = prepare(dsn, count)
            environment = {
                **os.environ,
                "CAPACITY_DSN": dsn,
                "CAPACITY_AS_OF": AS_OF,
                "CAPACITY_TIMEZONE": "UTC",
            }
            loop = plain_loop(tenants, home / "loop", environment)
            ours, peak = run_due(tenants, home, environment)
        finally:
            embedded.down(home)
    print(f"{count} reports, {os.cpu_count()} processors, load before {os.getloadavg()[2]:.1f}")
    print(f"loop of papermill and nbconvert: {loop:.1f} s")
    print(f"capacity run-due: {ours:.1f} s, at most {peak >> 20} MB of its own memory")
    print(f"ratio {loop / ours:.1f}")
    return 0


def prepare(dsn: str, count: int) -> list[str]:
    """Deploy, simulate five tenants, copy their histories to as many more as are asked for, and analyse them."""
    quiet(["deploy", "--dsn", dsn])
    quiet(["simulate", "--seed", "7", "--as-of", AS_OF, "--dsn", dsn])
    with vault.open(dsn) as opened, psycopg.connect(dsn, autocommit=True) as connection:
        first = list(opened.tenants()["tenant_bk"])
        more = [f"{first[n % len(first)]}-{n // len(first) + 1}" for n in range(len(first), count)]
        for n, tenant in enumerate(more, len(first)):
            connection.execute(
                "INSERT INTO auth.tenant_h (tenant_hk, tenant_bk, load_date, record_source) "
                "VALUES (sha256(convert_to(%s, 'UTF8')), %s, now(), 'SIMULATION')",
                (tenant, tenant),
            )
            rows = connection.execute(SERIES, (opened.tenant(first[n % len(first)]),))
            names = [column.name for column in rows.description or ()]
            frame = pd.DataFrame(rows.fetchall(), columns=names)
            frame = frame.assign(
                tenant=opened.tenant(tenant),
                line=range(1, len(frame) + 1),
                value=frame["value"].astype(float),
                capacity=frame["capacity"].astype(float),
            )
            opened.load([frame], "SIMULATION")
    quiet(["analyze", "--thresholds", "--as-of", AS_OF, "--dsn", dsn])
    quiet(["analyze", "--engine", "local", "--as-of", AS_OF, "--dsn", dsn])
    return [*first, *more][:count]


def quiet(command: list[str]) -> None:
    """Run one of the kit's commands without its words."""
    subprocess.run([BIN / "capacity", *command], check=True, stdout=subprocess.DEVNULL)


def plain_loop(tenants: list[str], folder: Path, environment: dict[str, str]) -> float:
    """Seconds that the two commands take, one tenant after another."""
    folder.mkdir()
    notebook = ROOT / "notebooks" / "growth_analysis.ipynb"
    begin = time.monotonic()
    for tenant in tenants:
        made = folder / f"{tenant}.ipynb"
        for command in (
            [
                BIN / "papermill",
                notebook,
                made,
                "-p",
                "tenant",
                tenant,
                "--no-progress-bar",
                "--log-level",
                "ERROR",
            ],
            [BIN / "jupyter", "nbconvert", "--to", "html", "--no-input", "--log-level", "ERROR", made],
        ):
            subprocess.run(command, check=True, env=environment, cwd=folder, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - begin
    assert len(list(folder.glob("*.html"))) == len(tenants)
    return seconds


def run_due(tenants: list[str], home: Path, environment: dict[str, str]) -> tuple[float, int]:
    """Seconds that run-due takes, and bytes that its processes held at most beside what they share."""
    schedule, site = home / "schedule.yml", home / "site"
    schedule.write_text(SCHEDULE.format(tenants=", ".join(tenants)))
    begin = time.monotonic()
    running = subprocess.Popen(
        [BIN / "capacity", "run-due", "--schedule", schedule, "--site", site],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    peak = [0]
    watching = threading.Thread(target=watch, args=(running.pid, peak), daemon=True)
    watching.start()
    said, _ = running.communicate()
    seconds = time.monotonic() - begin
    watching.join()
    pages = list(site.glob("growth_analysis/*/2*/index.html"))  # not the pages of a tenant, nor latest
    assert running.returncode in (0, 3), said
    assert len(pages) == len(tenants), said
    return seconds, peak[0]


def watch(pid: int, peak: list[int]) -> None:
    """Keep the largest sum of what a process and those that it started have for themselves."""
    while True:
        try:
            top = psutil.Process(pid)
            members = [top, *top.children(recursive=True)]
            if top.status() == psutil.STATUS_ZOMBIE:
                return
            held = 0
            for member in members:
                try:
                    held += member.memory_full_info().uss
                except psutil.Error:
                    continue
            peak[0] = max(peak[0], held)
        except psutil.Error:
            return
        time.sleep(0.5)


if __name__ == "__main__":
    raise SystemExit(main())
