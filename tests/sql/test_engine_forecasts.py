"""Step 12: what the database adds to the engine's forecasts."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import numpy as np

from capacity_kit import resources

AS_OF = datetime(2026, 11, 1, tzinfo=UTC)

OLD_PRIORITY = """
CREATE FUNCTION capacity_ops.priority(numeric, numeric, numeric, numeric, integer, integer, integer, text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT 'LOW' $$"""


def test_one_rule_of_priority_is_left_where_an_earlier_one_stood(pg):
    pg.run(OLD_PRIORITY)
    for step in ("step_10_growth_forecasting.sql", "step_12_engine_forecasts.sql"):
        pg.run((resources.path("sql") / step).read_text())
    found = pg.rows("SELECT pronargs FROM pg_proc WHERE proname = 'priority'")
    assert found == [(9,)]


def test_the_rule_of_priority(pg):
    def rule(
        usage, capacity=100, to_capacity=None, to_warning=None, to_critical=None, going="STABLE", peak=0
    ):
        return pg.value(
            "SELECT capacity_ops.priority(%s, %s, 80, 90, %s, %s, %s, %s, %s)",
            usage, capacity, to_capacity, to_warning, to_critical, going, peak,
        )  # fmt: skip

    assert [rule(u) for u in (10, 80, 90)] == ["LOW", "HIGH", "CRITICAL"]
    assert [rule(10, to_capacity=d) for d in (7, 30, 90, 91)] == ["CRITICAL", "HIGH", "MEDIUM", "LOW"]
    assert [rule(10, to_critical=d) for d in (7, 8)] == ["HIGH", "LOW"]
    assert [rule(10, to_warning=d) for d in (30, 31)] == ["MEDIUM", "LOW"]
    assert [rule(10, peak=p) for p in (89.9, 90, None)] == ["LOW", "MEDIUM", "LOW"]
    assert [rule(10, None, going=g, peak=1e9) for g in ("INCREASING", "STABLE")] == ["MEDIUM", "LOW"]


DAYS = np.arange(40)[::-1]
SHIFT = AS_OF - timedelta(
    days=10
)  # the end of the day on which levels shift: the first measurement of the new one


def levels(before, after):
    return np.where(DAYS > 10, before, after) + 0.0


def evidence(bench, name, tenant, at=SHIFT, kind="STORAGE", as_of=AS_OF):
    key = f"{kind}|{name}|{tenant.hex() if tenant else 'SYSTEM'}"
    rows = bench.rows(
        "SELECT * FROM capacity_ops.regime_evidence(%s, %s, %s)",
        hashlib.sha256(key.encode()).digest(),
        at,
        as_of,
    )
    return {row["kind"]: row["says"] for row in rows}


def plant_for(bench, tenant, name, values, kind="STORAGE", unit="bytes", source="test", server=None):
    """A series of an existing tenant, or of the system."""
    key = f"{kind}|{name}|{tenant.hex() if tenant else 'SYSTEM'}"
    hk = hashlib.sha256(key.encode()).digest()
    bench.rows(
        "INSERT INTO capacity_planning.resource_utilization_h VALUES (%s, %s, now(), 'test') RETURNING 1",
        hk,
        key,
    )
    bench.rows(
        """INSERT INTO capacity_planning.resource_utilization_s
               (resource_utilization_hk, load_date, hash_diff, measurement_timestamp, current_value, tenant_hk,
                resource_type, resource_name, resource_category, unit, system_identifier, record_source)
           SELECT %s, now(), '', at, value, %s, %s, %s, 'TEST', %s, server, source
           FROM unnest(%s::timestamptz[], %s::numeric[], %s::bigint[], %s::text[]) AS m (at, value, server, source)
           RETURNING 1""",
        hk, tenant, kind, name, unit, [AS_OF - timedelta(days=int(d)) for d in DAYS], [float(v) for v in values],
        [server(d) if server else None for d in DAYS], [source(d) if callable(source) else source for d in DAYS],
    )  # fmt: skip


def test_no_evidence_is_no_row(bench):
    tenant = bench.plant("lonely", DAYS, levels(50e9, 20e9))
    assert evidence(bench, "lonely", tenant) == {}
    assert bench.rows("SELECT * FROM capacity_ops.regime_evidence('\\x00', %s, %s)", SHIFT, AS_OF) == []


def test_what_fell_together_was_cleaned_up(bench):
    tenant = bench.plant("a", DAYS, levels(50e9, 20e9))
    plant_for(bench, tenant, "b", levels(900, 300), "ROWS", "rows")
    plant_for(bench, tenant, "c", levels(80e9, 60e9))
    plant_for(bench, tenant, "grows", 100 + 7 * (40 - DAYS), "ROWS", "rows")
    plant_for(bench, tenant, "rose", levels(10, 20), "ROWS", "rows")
    plant_for(bench, None, "cluster", 900e9 + levels(130e9, 80e9))
    other = bench.plant("somebody else's", DAYS, levels(50e9, 20e9))
    said = evidence(bench, "a", tenant)
    assert said == {
        "CLEANUP": "3 resources of the tenant fell together: this one, ROWS b, STORAGE c",
        "SYSTEM": "the system's STORAGE cluster moved with it, by -46.57 GiB",
    }
    assert set(evidence(bench, "somebody else's", other)) == {"SYSTEM"}
    assert evidence(bench, "rose", tenant, kind="ROWS") == {}
    # A day on which nothing shifted has no such evidence, whatever happened later.
    assert evidence(bench, "a", tenant, SHIFT - timedelta(days=6)) == {}


def test_nothing_later_than_the_time_of_the_run_is_evidence(bench):
    tenant = bench.plant("a", DAYS, levels(50e9, 20e9))
    values = levels(80e9, 60e9)
    values[DAYS == 10] = 80e9  # it fell too, and was first measured so a day after
    plant_for(bench, tenant, "later", values)
    bench.rows("UPDATE auth.tenant_h SET load_date = %s RETURNING 1", SHIFT + timedelta(hours=5))
    plant_for(bench, None, "grew", levels(50e9, 80e9))
    run_at = SHIFT + timedelta(hours=1)
    assert evidence(bench, "a", tenant, as_of=run_at) == {}
    assert set(evidence(bench, "a", tenant)) == {"CLEANUP", "ONBOARDING"}
    assert evidence(bench, "grew", None, as_of=run_at) == {}
    assert evidence(bench, "grew", None) == {"ONBOARDING": "1 tenant(s) were created"}


def test_who_came_is_said(bench):
    tenant = bench.plant("new", DAYS, levels(10e9, 40e9))
    assert evidence(bench, "new", tenant) == {}
    bench.rows("UPDATE auth.tenant_h SET load_date = %s WHERE tenant_hk = %s RETURNING 1", SHIFT, tenant)
    assert evidence(bench, "new", tenant) == {"ONBOARDING": "the tenant was created"}
    bench.rows("UPDATE auth.tenant_h SET load_date = now() WHERE tenant_hk = %s RETURNING 1", tenant)
    plant_for(bench, tenant, "users", levels(50, 60), "USERS", "users")
    assert evidence(bench, "new", tenant) == {
        "ONBOARDING": "users of the tenant rose from 50 to 60",
        "TOGETHER": "2 resources of the tenant rose together: this one, USERS users",
    }
    plant_for(bench, None, "cluster", levels(100e9, 140e9))
    bench.rows("UPDATE auth.tenant_h SET load_date = %s WHERE tenant_hk = %s RETURNING 1", SHIFT, tenant)
    assert evidence(bench, "cluster", None) == {"ONBOARDING": "1 tenant(s) were created"}


def test_another_meter_is_said_first(bench):
    tenant = bench.tenant("moved")
    plant_for(
        bench, tenant, "moved", levels(50e9, 20e9),
        source=lambda d: "old.csv" if d > 10 else "new.csv", server=lambda d: 1 if d > 10 else 2,
    )  # fmt: skip
    plant_for(bench, tenant, "with it", levels(50e9, 20e9))
    assert list(evidence(bench, "moved", tenant)) == ["SERVER", "SOURCE", "CLEANUP"]


def test_a_capacity_that_changed_that_day_is_said(bench):
    tenant = bench.plant("disk", DAYS, levels(10e9, 40e9))
    bench.rows(
        "SELECT capacity_ops.register_capacity(%s, 'STORAGE', 'disk', 1099511627776, 'bytes', %s, 'new disk')",
        tenant,
        SHIFT,
    )
    assert evidence(bench, "disk", tenant) == {
        "CAPACITY": "a capacity of 1 TiB is registered from then on (new disk)"
    }
    assert evidence(bench, "disk", tenant, SHIFT + timedelta(days=3)) == {}


def test_a_vacuum_of_a_table_that_is_too_small_explains_nothing(pg):
    """The server's own clock: a table vacuumed now, and storage that fell today."""
    pg.run("CREATE TABLE public.filled AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 20000)")
    pg.run("VACUUM ANALYZE public.filled")
    pg.run("SELECT pg_stat_force_next_flush()")
    found = {}
    for name, factor in (("small", 1), ("large", 1000)):
        key = f"STORAGE|{name}|SYSTEM"
        hk = hashlib.sha256(key.encode()).digest()
        pg.run("INSERT INTO capacity_planning.resource_utilization_h VALUES (%s, %s, now(), 'test')", hk, key)
        pg.run(
            """INSERT INTO capacity_planning.resource_utilization_s
                   (resource_utilization_hk, load_date, hash_diff, measurement_timestamp, current_value, resource_type,
                    resource_name, resource_category, unit, record_source)
               SELECT %s, now(), '', now() - make_interval(hours => 24 * d),
                      %s * CASE WHEN d > 0 THEN 50e6 ELSE 20e6 END, 'STORAGE', %s, 'TEST', 'bytes', 'test'
               FROM generate_series(0, 20) d""",
            hk, factor, name,
        )  # fmt: skip
        rows = pg.rows("SELECT kind, says FROM capacity_ops.regime_evidence(%s, now(), now())", hk)
        found[name] = [says for kind, says in rows if kind == "VACUUM"]
    assert len(found["small"]) == 1
    assert found["small"][0].startswith("VACUUM of public.filled (")
    assert found["large"] == []
