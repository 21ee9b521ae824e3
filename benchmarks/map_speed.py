"""How many series a second the map does: in memory, and from the database to the database, with one and two workers.

    python benchmarks/map_speed.py [SERIES] [DAYS]

Each is the best of three runs, since whatever else the machine does only slows them; each forecasts a year ahead and
backtests from five to ten origins. A private server is started for it and removed again. Series are of 200 to DAYS
days, so that few are equally long.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import psycopg
from psycopg import sql

from capacity_kit import vault
from capacity_kit.analysis import run, work
from capacity_kit.analysis.local import workers
from capacity_kit.vault import embedded

AS_OF = datetime(2026, 11, 1, tzinfo=UTC)
MUST = 1.7  # times as fast with two workers as with one, the database apart
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
FILL = """
WITH tenant AS (
    INSERT INTO auth.tenant_h SELECT sha256(convert_to('t' || i, 'UTF8')), 't' || i, now(), 'benchmark'
    FROM generate_series(1, {series}) i RETURNING tenant_hk, substr(tenant_bk, 2)::int AS i),
keyed AS (SELECT i, tenant_hk, capacity_ops.resource_key('STORAGE', 'data', tenant_hk) AS key FROM tenant),
hub AS (
    INSERT INTO capacity_planning.resource_utilization_h
    SELECT capacity_ops.hash_key(key), key, now(), 'benchmark' FROM keyed)
INSERT INTO capacity_planning.resource_utilization_s
    (resource_utilization_hk, load_date, hash_diff, measurement_timestamp, current_value, tenant_hk, resource_type,
     resource_name, resource_category, unit, maximum_capacity, record_source)
SELECT capacity_ops.hash_key(k.key), now(), '', {as_of}::timestamptz - make_interval(hours => 24 * d),
       round((1e9 * (100 + k.i % 17 + ({days} - d) * (1 + k.i % 5) / 20.0 + (k.i % 3) * sin(d * 2 * pi() / 7)
              + 2 * sin(d * d * (1 + k.i % 11))))::numeric),
       k.tenant_hk, 'STORAGE', 'data', 'STORAGE', 'bytes', 150e9, 'benchmark'
FROM keyed k CROSS JOIN LATERAL generate_series(0, least({days}, 200 + k.i * 37 % greatest({days} - 199, 1)) - 1) d"""


def main() -> int:
    """Print a table."""
    series, days = (int(text) for text in [*sys.argv[1:], *("1024", "395")[len(sys.argv) - 1 :]])
    with tempfile.TemporaryDirectory(prefix="capacity-map-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        home = Path(directory) / "home"
        dsn = embedded.up(FAST, home).dsn
        try:
            return int(measure(dsn, series, days) < MUST)
        finally:
            embedded.down(home)


def measure(dsn: str, series: int, days: int) -> float:
    """Fill the database, then time; how many times as fast two workers are, the database apart."""
    with vault.open(dsn) as store:
        store.deploy()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(sql.SQL(FILL).format(series=series, days=days, as_of=AS_OF))
            connection.execute("ANALYZE")
        scope = {"tenant": None, "system_only": False, "resource_type": None, "again": True}
        chunks = list(run._chunks(store, scope | {"as_of": AS_OF, "days": run.DAYS, "size": run.SIZE}))
        seconds: dict[tuple[str, int], list[float]] = {}
        for repeat in range(3):
            for count in (1, 2):
                with workers(count) as over:
                    tasks = [partial(work.analyse, chunk) for chunk in chunks]
                    list(over(tasks[:2]))  # started, and warm
                    start = time.perf_counter()
                    list(over(tasks))
                    seconds.setdefault(("in memory", count), []).append(time.perf_counter() - start)
                    start = time.perf_counter()
                    day = AS_OF + timedelta(days=2 * repeat + count)
                    list(run.analyse(store, as_of=day, over=over))
                    seconds.setdefault(("database to database", count), []).append(
                        time.perf_counter() - start
                    )
    print(
        f"{series:,} series of 200 to {days} days; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    for what in ("in memory", "database to database"):
        one, two = (series / min(seconds[what, count]) for count in (1, 2))
        must = f"; must {MUST}" if what == "in memory" else ""
        print(f"{what:22}{one:6.0f} a second with 1 worker{two:6.0f} with 2 ({two / one:.2f} times{must})")
    return min(seconds["in memory", 1]) / min(seconds["in memory", 2])


if __name__ == "__main__":
    sys.exit(main())
