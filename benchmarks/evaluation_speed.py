"""How fast thresholds are evaluated: a hundred thousand of fifty thousand tenants, on a private server.

    python benchmarks/evaluation_speed.py [--tenants 50000]

Each tenant has one resource with two thresholds, WARNING and CRITICAL. Measured are the first evaluation after one
tenant in a hundred went over both levels, the same again a slot later, when nothing is new, and a storm: a tenth of all
tenants go over both levels at once. Last, every threshold is rehearsed, as `capacity verify --alerts` does, while
another session evaluates. `recorded` is an evaluation as it is called, verdicts returned and what follows from them
recorded, committed to disk; `verdicts` is the same in a transaction that may only read. Processor time is the server's
and says what an evaluation costs; elapsed time also says how busy the machine is. Exits 1 when one that is recorded
takes more than 5 s, the rehearsal more than 60, or something does not find what was put there.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import psycopg

from capacity_kit import vault
from capacity_kit.vault import embedded, verify

MUST, MUST_REHEARSE = 5.0, 60.0
SLOT = timedelta(minutes=15)
TENANTS = """
INSERT INTO auth.tenant_h (tenant_hk, tenant_bk, load_date, record_source)
SELECT sha256(convert_to('t' || i, 'UTF8')), 't' || i, now(), 'benchmark' FROM generate_series(1, %s) i"""
THRESHOLDS = """
SELECT count(capacity_planning.create_capacity_threshold(t.tenant_hk, 'storage ' || l.name, 'STORAGE', l.level, l.name))
FROM auth.tenant_h t, (VALUES ('WARNING', 80), ('CRITICAL', 90)) l (name, level)"""
RESOURCES = """
INSERT INTO capacity_planning.resource_utilization_h
SELECT capacity_ops.hash_key(k), k, now(), 'benchmark'
FROM auth.tenant_h t, LATERAL capacity_ops.resource_key('STORAGE', 'data', t.tenant_hk) k"""
MEASURED = """
INSERT INTO capacity_planning.resource_utilization_s
    (resource_utilization_hk, load_date, hash_diff, tenant_hk, measurement_timestamp, resource_type, resource_name,
     resource_category, current_value, unit, maximum_capacity, record_source)
SELECT capacity_ops.hash_key(k), now(), '', t.tenant_hk, %(at)s, 'STORAGE', 'data', 'STORAGE',
       CASE WHEN substr(t.tenant_bk, 2)::int %% %(share)s = 0 THEN 95 ELSE 50 END, 'bytes', 100, 'benchmark'
FROM auth.tenant_h t, LATERAL capacity_ops.resource_key('STORAGE', 'data', t.tenant_hk) k"""
EVALUATE = """
SELECT count(*), count(*) FILTER (WHERE threshold_exceeded)
FROM capacity_planning.evaluate_capacity_thresholds(NULL, %s)"""
RECORDED = """
SELECT opened, raised, notifications FROM capacity_alerting.evaluation ORDER BY evaluation_id DESC LIMIT 1"""


def main() -> int:
    """Print a table; 1 when the target was missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tenants", type=int, default=50_000)
    tenants = parser.parse_args().tenants
    with tempfile.TemporaryDirectory(prefix="capacity-evaluation-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        home = Path(directory) / "home"
        dsn = embedded.up(home=home).dsn
        try:
            return measure(dsn, tenants)
        finally:
            embedded.down(home)


def measure(dsn: str, tenants: int) -> int:
    """Fill the database, then evaluate."""
    now = datetime.now(UTC) - 3 * SLOT
    with vault.open(dsn) as store:
        store.deploy()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(TENANTS, (tenants,))
        connection.execute(THRESHOLDS)
        connection.execute(RESOURCES)
        for n in (3, 2, 1):
            connection.execute(MEASURED, {"at": now - n * SLOT, "share": tenants + 1})
        connection.execute(MEASURED, {"at": now, "share": 100})
        connection.execute("VACUUM ANALYZE")
        print(f"{2 * tenants:,} thresholds of {tenants:,} tenants' resources; load average "
              f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")  # fmt: skip
        few, many = 2 * (tenants // 100), 2 * (tenants // 10)
        late = [timed(connection, "first, 1 % in breach", now, 2 * tenants, few, few)]
        connection.execute(MEASURED, {"at": now + SLOT, "share": 100})
        late.append(timed(connection, "again, nothing new", now + SLOT, 2 * tenants, few, 0))
        connection.execute(MEASURED, {"at": now + 2 * SLOT, "share": 10})
        late.append(
            timed(connection, "a storm, 10 % in breach", now + 2 * SLOT, 2 * tenants, many, many - few)
        )
        late.append(rehearsed(dsn, connection, 2 * tenants))
    return int(any(late))


def rehearsed(dsn: str, connection: psycopg.Connection, thresholds: int) -> bool:
    """Rehearse every threshold, evaluating meanwhile; whether that took too long.

    Raises
    ------
    SystemExit
        When one did not fire, or an evaluation that came meanwhile was not recorded.
    """
    before = (connection.execute("SELECT count(*) FROM capacity_alerting.evaluation").fetchone() or (0,))[0]
    with vault.open(dsn) as store, ThreadPoolExecutor(1) as beside:
        begun = time.perf_counter()
        found = beside.submit(verify.rehearse, store)
        waits = []
        while not wait((found,), timeout=5).done:
            asked = time.perf_counter()
            connection.execute("SELECT count(*) FROM capacity_planning.evaluate_capacity_thresholds()")
            waits.append(time.perf_counter() - asked)
        took = time.perf_counter() - begun
        verdicts = found.result()["verdict"].value_counts()
    [(after,)] = connection.execute("SELECT count(*) FROM capacity_alerting.evaluation").fetchall()
    if after - before != len(waits) or verdicts.get("ok", 0) != thresholds:
        raise SystemExit(f"{after - before} of {len(waits)} evaluations recorded, {dict(verdicts)}")
    print(f"every threshold rehearsed in {took:.1f} s (must {MUST_REHEARSE:g}), {len(waits)} evaluations meanwhile, "
          f"the slowest in {max(waits, default=0):.2f} s", flush=True)  # fmt: skip
    return took > MUST_REHEARSE


def timed(
    connection: psycopg.Connection, what: str, at: datetime, verdicts: int, exceeded: int, raised: int
) -> bool:
    """Evaluate once reading and once recording; whether that took too long.

    Raises
    ------
    SystemExit
        When it does not say what was put there.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        begun = time.perf_counter()
        connection.execute(EVALUATE, (at,)).fetchone()
        reading = time.perf_counter() - begun
    server = psutil.Process(connection.info.backend_pid)
    busy, begun = sum(server.cpu_times()[:2]), time.perf_counter()
    said = connection.execute(EVALUATE, (at,)).fetchone()
    recording = time.perf_counter() - begun
    busy = sum(server.cpu_times()[:2]) - busy
    found = (*(said or ()), *(connection.execute(RECORDED).fetchone() or ()))
    if found[:4] != (verdicts, exceeded, raised, raised):
        raise SystemExit(f"{what}: {found} found, and not {(verdicts, exceeded, raised, raised)}")
    print(f"{what:24} recorded {recording:6.2f} s (must {MUST:g}; processor {busy:6.2f})   verdicts {reading:6.2f} s   "
          f"exceeded {exceeded:6,}   alerts {raised:6,}   messages {found[4]}", flush=True)  # fmt: skip
    return recording > MUST


if __name__ == "__main__":
    sys.exit(main())
