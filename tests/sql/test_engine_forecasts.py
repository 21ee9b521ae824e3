"""Step 12: what the database adds to the engine's forecasts."""

from __future__ import annotations

from capacity_kit import resources

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
