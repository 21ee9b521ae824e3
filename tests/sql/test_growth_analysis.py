"""Series whose answer is known, and what must not disturb it."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest

QUARTERS = np.arange(0, 60.01, 0.25)
DAYS = np.arange(0, 61.0)
NO_TREND = {"STABLE", "SEASONAL", "CYCLICAL"}


def line(t):
    return 40e9 + 1e9 * t


def is_line(row, rate=1.0, level=100e9, per_day=1e9, tolerance=0.02):
    """A line of 1e9 a day that stands at ``level`` now, seen within the tolerance."""
    assert row["pattern_type"] == "LINEAR", row
    assert float(row["growth_rate_percentage"]) == pytest.approx(rate, rel=tolerance), row
    assert float(row["forecast_30d"]) == pytest.approx(level + 30 * per_day, rel=tolerance), row


def test_finds_what_the_guide_plants(bench):
    cases = {
        "linear": (line(QUARTERS), {"LINEAR"}, (96, 104), (0.96, 1.04), (128e9, 132e9)),
        "exponential": (20e9 * 1.02**QUARTERS, {"EXPONENTIAL"}, (53, 60), (1.9, 2.1), (113e9, 125e9)),
        "flat": (50e9 + 5e8 * np.sin(QUARTERS * 12.9898), {"STABLE"}, None, (-0.1, 0.1), (48e9, 52e9)),
        "weekly": (50e9 + 6e9 * np.sin(2 * np.pi * QUARTERS / 7), NO_TREND, None, (-0.2, 0.2), (42e9, 58e9)),
        "cleanup": (
            line(QUARTERS) - 45e9 * (QUARTERS >= 40),
            {"LINEAR"},
            (135, 155),
            (1.65, 2.0),
            (82e9, 88e9),
        ),
        "shrinking": (90e9 - 0.5e9 * QUARTERS, {"DECREASING"}, None, (-0.9, -0.76), (42e9, 48e9)),
    }
    for name, (values, *_) in cases.items():
        bench.plant(name, 60 - QUARTERS, values)
    rows = bench.analyze()
    for name, (_, patterns, days, rate, usage) in cases.items():
        row = rows[name]
        assert row["pattern_type"] in patterns, name
        assert rate[0] <= row["growth_rate_percentage"] <= rate[1], name
        assert usage[0] <= row["forecast_30d"] <= usage[1], name
        if days is None:
            assert row["time_to_capacity_days"] is None, name
        else:
            assert days[0] <= row["time_to_capacity_days"] <= days[1], name


@pytest.mark.parametrize("size", [200e9, -35e9])
def test_one_outlier_changes_nothing(bench, size):
    for day in (0, 1, 7, 30, 53, 58, 59, 60):
        values = line(DAYS)
        values[day] += size
        bench.plant(f"outlier on day {day}", 60 - DAYS, np.maximum(values, 0), capacity=1e15)
    for row in bench.analyze(days=90).values():
        is_line(row)
        assert row["outliers_detected"] == 1, row
        assert row["pattern_breaks"] == [], row


def test_a_cleanup_starts_a_new_regime_wherever_it_is(bench):
    for day in (3, 10, 20, 30, 40, 50, 56, 58):
        bench.plant(f"cleanup on day {day}", 60 - DAYS, line(DAYS) - 30e9 * (day <= DAYS))
    for name, row in bench.analyze().items():
        is_line(row, level=70e9, rate=1 / 0.7)
        (found,) = row["pattern_breaks"]
        assert found["change"] == pytest.approx(-30e9, rel=0.05), name
        assert row["regime_start"].isoformat() == found["at"], name


def test_two_cleanups_and_a_step_up(bench):
    sawtooth = line(QUARTERS) - 15e9 * (QUARTERS >= 25.1) - 20e9 * (QUARTERS >= 45.3)
    bench.plant("two cleanups", 60 - QUARTERS, sawtooth)
    bench.plant("onboarding", 60 - QUARTERS, line(QUARTERS) + 25e9 * (QUARTERS >= 33))
    rows = bench.analyze()
    is_line(rows["two cleanups"], level=65e9, rate=1 / 0.65, tolerance=0.03)
    assert len(rows["two cleanups"]["pattern_breaks"]) == 2
    is_line(rows["onboarding"], level=125e9, rate=1 / 1.25)
    assert len(rows["onboarding"]["pattern_breaks"]) == 1


def test_a_shift_of_one_day_is_no_shift_yet(bench):
    bench.plant("yesterday", 60 - DAYS, line(DAYS) - 30e9 * (DAYS >= 60))
    row = bench.analyze()["yesterday"]
    assert row["pattern_breaks"] == []
    is_line(row)


def test_a_weekly_cycle_is_no_trend_and_no_shift(bench):
    phases = range(7)
    for phase in phases:
        week = np.floor(QUARTERS + phase) % 7 < 5
        bench.plant(f"working days {phase}", 60 - QUARTERS, 50e9 + 20e9 * week, capacity=1e15)
        bench.plant(f"growing {phase}", 60 - QUARTERS, 50e9 + 0.3e9 * QUARTERS + 20e9 * week, capacity=1e15)
        bench.plant(f"sine {phase}", 60 - QUARTERS, 50e9 + 6e9 * np.sin(2 * np.pi * (QUARTERS + phase) / 7))
    rows = bench.analyze()
    for phase in phases:
        still = rows[f"working days {phase}"]
        assert (still["pattern_type"], still["growth_rate_percentage"]) == ("SEASONAL", 0), still
        assert still["seasonality_detected"], still
        ahead = 70e9 if (89 + phase) % 7 < 5 else 50e9  # a day is the 24 hours before the hour of as_of
        assert float(still["forecast_30d"]) == pytest.approx(ahead), still
        assert still["pattern_breaks"] == [], still
        growing = rows[f"growing {phase}"]
        assert growing["pattern_type"] == "LINEAR", growing
        assert float(growing["growth_per_day"]) == pytest.approx(0.3e9, rel=0.03), growing
        assert rows[f"sine {phase}"]["pattern_type"] == "SEASONAL"
        assert 42e9 <= rows[f"sine {phase}"]["forecast_30d"] <= 58e9


def test_the_season_belongs_to_its_weekday(bench):
    bench.plant("weekend", 60 - DAYS, 50e9 + 20e9 * (DAYS % 7 < 5))
    row = bench.analyze()["weekend"]
    for horizon, column in (
        (7, "forecast_7d"),
        (30, "forecast_30d"),
        (90, "forecast_90d"),
        (365, "forecast_1y"),
    ):
        expected = 70e9 if (60 + horizon) % 7 < 5 else 50e9
        assert float(row[column]) == pytest.approx(expected), column


def test_gaps(bench):
    rng = np.random.default_rng(2)
    sparse = DAYS[rng.random(DAYS.size) > 0.5]
    hole = DAYS[(DAYS < 25) | (DAYS > 37)]
    for name, days in (("half missing", sparse), ("two weeks missing", hole), ("every third day", DAYS[::3])):
        bench.plant(name, 60 - days, line(days) + 2e8 * rng.normal(size=days.size))
        bench.plant(f"{name}, cleaned up", 60 - days, line(days) - 30e9 * (days >= 22), capacity=1e12)
    for name, row in bench.analyze().items():
        level = 70e9 if "cleaned" in name else 100e9
        is_line(row, level=level, rate=100e9 / level, tolerance=0.04)


@pytest.mark.parametrize("step", [1 / 96, 1 / 24, 0.25, 1.0, 2.0])
def test_any_spacing(bench, step):
    t = np.arange(0, 60 + step / 2, step)
    bench.plant("line", 60 - t, line(t))
    bench.plant("cleanup", 60 - t, line(t) - 30e9 * (t >= 30))
    rows = bench.analyze(days=90)
    is_line(rows["line"])
    is_line(rows["cleanup"], level=70e9, rate=1 / 0.7)
    assert rows["line"]["data_points_used"] == t.size


def test_once_a_day_at_an_unsteady_hour(bench):
    late = np.random.default_rng(4).uniform(0, 0.3, DAYS.size)
    late[-1] = 0.1
    bench.plant("nightly", 60.3 - DAYS - late, line(DAYS + late) + 20e9 * (DAYS % 7 < 5), capacity=1e15)
    row = bench.analyze()["nightly"]
    assert row["seasonality_detected"]
    assert float(row["growth_per_day"]) == pytest.approx(1e9, rel=0.03)
    assert row["data_points_used"] == 60


def test_monthly_measurements_over_a_year(bench):
    months = np.arange(0, 14) * 30.0
    bench.plant("meter", months[::-1], 40e9 + 1e8 * months)
    row = bench.analyze(days=365)["meter"]
    assert row["pattern_type"] == "LINEAR"
    assert float(row["growth_per_day"]) == pytest.approx(1e8, rel=0.01)
    assert float(row["forecast_90d"]) == pytest.approx(40e9 + 1e8 * (390 + 90), rel=0.01)
    assert bench.analyze(days=90)["meter"]["pattern_type"] == "INSUFFICIENT_DATA"


def test_tells_a_line_from_compound_growth_through_noise(bench):
    rng = np.random.default_rng(8)
    for i in range(20):
        noise = 1 + 0.02 * rng.normal(size=DAYS.size)
        bench.plant(f"line {i}", 60 - DAYS, line(DAYS) * noise)
        bench.plant(f"compound {i}", 60 - DAYS, 20e9 * 1.02**DAYS * noise)
    found = {name: row["pattern_type"] for name, row in bench.analyze().items()}
    assert sum(found[f"line {i}"] == "LINEAR" for i in range(20)) >= 19, found
    assert sum(found[f"compound {i}"] == "EXPONENTIAL" for i in range(20)) >= 19, found


def test_noise_is_no_trend(bench):
    rng = np.random.default_rng(9)
    for i in range(60):
        bench.plant(f"noise {i}", 60 - DAYS, 50e9 * (1 + 0.05 * rng.normal(size=DAYS.size)))
    trends = [name for name, row in bench.analyze().items() if row["trend_direction"] != "STABLE"]
    assert len(trends) <= 2


def test_slow_growth_and_disorder(bench):
    rng = np.random.default_rng(10)
    bench.plant("slow", 60 - DAYS, 50e9 + 2.5e7 * DAYS + 1e7 * rng.normal(size=DAYS.size))
    bench.plant("wild", 60 - DAYS, 50e9 * np.exp(0.8 * rng.normal(size=DAYS.size)))
    bench.plant("monthly bill", 60 - DAYS, 50e9 + 6e9 * np.sin(2 * np.pi * DAYS / 30))
    found = {name: row["pattern_type"] for name, row in bench.analyze().items()}
    assert found == {"slow": "SLOW_GROWTH", "wild": "IRREGULAR", "monthly bill": "CYCLICAL"}


def test_constant_and_zero(bench):
    bench.plant("constant", 60 - DAYS, 50e9 + 0 * DAYS)
    bench.plant("zero", 60 - DAYS, 0 * DAYS)
    rows = bench.analyze()
    constant, zero = rows["constant"], rows["zero"]
    assert (constant["pattern_type"], constant["growth_rate_percentage"], constant["forecast_1y"]) == (
        "STABLE",
        0,
        50e9,
    )
    assert constant["confidence_level"] == 100
    assert (zero["pattern_type"], zero["forecast_1y"]) == ("STABLE", 0)
    assert (zero["growth_rate_percentage"], zero["confidence_level"]) == (None, None)
    assert "0" in zero["reason"]


@pytest.mark.parametrize("scale", [1e-140, 1e-9, 1.0, 1e30, 1e140])
def test_any_scale(bench, scale):
    noise = np.random.default_rng(1).normal(size=DAYS.size)
    bench.plant("line", 60 - DAYS, scale * (40 + DAYS + 0.1 * noise), capacity=None)
    bench.plant("compound", 60 - DAYS, scale * 1.02**DAYS * (1 + 0.001 * noise), capacity=None)
    rows = bench.analyze()
    assert float(rows["line"]["growth_rate_percentage"]) == pytest.approx(1, rel=0.02)
    assert float(rows["line"]["forecast_30d"]) == pytest.approx(130 * scale, rel=0.02)
    assert rows["compound"]["pattern_type"] == "EXPONENTIAL"
    assert float(rows["compound"]["growth_rate_percentage"]) == pytest.approx(2, rel=0.02)


def test_never_below_zero(bench):
    bench.plant("drain", 60 - DAYS, 61e9 - 1e9 * DAYS)
    row = bench.analyze()["drain"]
    assert (row["pattern_type"], row["forecast_30d"], row["forecast_1y"]) == ("DECREASING", 0, 0)


def test_growth_out_of_all_proportion_is_not_projected(bench):
    bench.plant("explosion", 20 - np.arange(21.0), 10.0 ** np.arange(21.0), capacity=None)
    row = bench.analyze()["explosion"]
    assert row["pattern_type"] == "EXPONENTIAL"
    assert (row["forecast_90d"], row["forecast_1y"]) == (None, None)
    assert "scale" in row["reason"]


def test_too_little_data_gives_a_reason_instead_of_a_number(bench):
    bench.plant("three points", [1, 0.5, 0], line(np.array([59, 59.5, 60])))
    bench.plant("six days", [20, 16, 12, 8, 4, 0], np.full(6, 50e9))
    bench.plant("thirteen days", np.arange(0, 12.9, 0.25), np.full(52, 50e9))
    bench.plant("fourteen days", np.arange(0, 13.1, 0.25), np.full(53, 50e9))
    bench.plant("last year", 400 - DAYS, line(DAYS))
    rows = bench.analyze()
    assert rows.pop("fourteen days")["pattern_type"] == "STABLE"
    numbers = {"growth_rate_percentage", "confidence_level", "time_to_capacity_days", "forecast_model"}
    numbers |= {f"forecast_{horizon}" for horizon in ("7d", "30d", "90d", "1y")}
    for row in rows.values():
        assert row["pattern_type"] == "INSUFFICIENT_DATA", row
        assert {row[column] for column in numbers} == {None}, row
        assert row["reason"], row
    assert "nothing was measured in these 60 days, the last time on 2025-11-26" in rows["last year"]["reason"]
    assert "Keep measuring" in rows["six days"]["recommended_action"]


def test_stale_is_said(bench):
    bench.plant("stale", 80 - DAYS, line(DAYS))
    row = bench.analyze()["stale"]
    assert "last measured on 2026-10-12" in row["reason"]
    assert float(row["forecast_30d"]) == pytest.approx(line(60 + 20 + 30), rel=0.01)
    assert row["time_to_capacity_days"] == 80


def test_days_are_whole_and_rounded_down(bench):
    bench.plant("near", 60 - DAYS, line(DAYS), capacity=100.6e9)
    bench.plant("at", 60 - DAYS, line(DAYS), capacity=100e9)
    bench.plant("past", 60 - DAYS, line(DAYS), capacity=90e9)
    bench.plant("far", 60 - DAYS, line(DAYS), capacity=1e18)
    bench.plant("unknown", 60 - DAYS, line(DAYS), capacity=None)
    rows = bench.analyze()
    assert {name: row["time_to_capacity_days"] for name, row in rows.items()} == {
        "near": 0, "at": 0, "past": 0, "far": None, "unknown": None,
    }  # fmt: skip
    assert rows["near"]["time_to_warning_days"] == 0
    assert "century" in rows["far"]["reason"]
    assert "capacity unknown" in rows["unknown"]["reason"]
    action = rows["unknown"]["recommended_action"]
    assert "register_capacity" in action
    statement = action[action.index("SELECT") :].rstrip(";").replace("<bytes>", "200e9")
    bench.rows(statement)
    assert (
        bench.analyze("unknown")["unknown"]["capacity"] == 200e9
    )  # the first one holds from the newest measurement on


def test_a_level_that_reached_its_limit_in_the_window_is_not_nothing_to_do(bench):
    calm = np.full(61, 30e9)
    t = np.arange(0, 61, 0.25)
    values = np.where(
        np.abs(t - 50.25) < 0.01, 99e9, 30e9
    )  # one measurement of four that day: its median stays calm
    bench.plant("peaked", 60 - t, values, capacity=100e9)
    bench.plant("calm", 60 - DAYS, calm, capacity=100e9)
    rows = bench.analyze()
    assert "peaked at 92.2 GiB (99.0 %)" in rows["peaked"]["recommended_action"]
    assert rows["peaked"]["action_priority"] == "MEDIUM"
    assert rows["calm"]["recommended_action"].endswith("Nothing to do.")


def test_season_reaches_the_limit_before_the_trend_does(bench):
    peaks = 50e9 + 0.2e9 * DAYS + 20e9 * (DAYS % 7 == 4)
    bench.plant("peaks", 60 - DAYS, peaks, capacity=90e9)
    row = bench.analyze()["peaks"]
    ahead = np.arange(1, 1000)
    reached = next(h for h in ahead if 50e9 + 0.2e9 * (60 + h) + 20e9 * ((60 + h) % 7 == 4) >= 90e9 - 1)
    assert row["time_to_capacity_days"] == reached - 1


def test_warning_and_critical_come_from_the_thresholds(bench):
    tenant = bench.plant("limits", 60 - DAYS, line(DAYS))
    row = bench.analyze()["limits"]
    assert (row["time_to_warning_days"], row["time_to_critical_days"], row["time_to_capacity_days"]) == (
        60,
        80,
        100,
    )
    bench.rows(
        "SELECT capacity_planning.create_capacity_threshold(%s, 'early', 'STORAGE', 70, 'WARNING')", tenant
    )
    assert bench.analyze()["limits"]["time_to_warning_days"] == 40


def test_late_arrivals_count_as_if_they_had_been_in_time(bench):
    late = (DAYS > 40) & (DAYS < 50)
    bench.plant("late", 60 - DAYS[~late], line(DAYS[~late]))
    bench.plant("in time", 60 - DAYS, line(DAYS))
    assert bench.analyze()["late"]["data_points_used"] == 51
    bench.plant("late", 60 - DAYS[late], line(DAYS[late]))
    rows = bench.analyze()
    for name in ("late", "in time"):
        del rows[name]["tenant_hk"], rows[name]["resource_name"], rows[name]["recommended_action"]
    assert rows["late"] == rows["in time"]


def test_as_of_sees_nothing_later(bench):
    bench.plant("cut", 60 - DAYS, line(DAYS) - 45e9 * (DAYS > 50))
    early = bench.analyze(as_of=bench.value("SELECT '2026-11-01Z'::timestamptz - interval '20 days'"))["cut"]
    assert early["analysis_period_end"].isoformat().startswith("2026-10-12")
    assert float(early["current_usage"]) == line(40)
    is_line(early, level=80e9, rate=1 / 0.8)


def test_whose_resources_are_analysed(bench):
    active = bench.plant("active", 60 - DAYS, line(DAYS))
    inactive = bench.plant("inactive", 60 - DAYS, line(DAYS))
    bench.plant("copied", 60 - DAYS, line(DAYS), server=4242)
    bench.connection.execute(
        "INSERT INTO auth.tenant_profile_s VALUES (%s, now(), NULL, '', 'gone', NULL, false, 5, 'test')",
        [inactive],
    )
    assert set(bench.analyze()) == {"active"}
    assert set(bench.analyze("active")) == {"active"}
    assert bench.analyze("inactive") == {}
    assert bench.analyze(kind="MEMORY") == {}
    bench.connection.execute("DELETE FROM auth.tenant_profile_s")
    bench.connection.execute("DELETE FROM auth.tenant_h WHERE tenant_hk <> %s", [active])
    assert set(bench.analyze()) == {"active"}
    with pytest.raises(psycopg.errors.RaiseException, match="unknown tenant"):
        bench.rows("SELECT * FROM capacity_planning.analyze_growth_patterns(%s)", inactive)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("NULL, NULL, 0", "between 1 and 3650, not 0"),
        ("NULL, NULL, -5", "not -5"),
        ("NULL, NULL, 100000", "not 100000"),
        ("NULL, NULL, 30, 'infinity'", "must be a time"),
    ],
)
def test_refuses_what_makes_no_sense(bench, arguments, message):
    with pytest.raises(psycopg.errors.RaiseException, match=message):
        bench.rows(f"SELECT * FROM capacity_planning.analyze_growth_patterns({arguments})")


def test_confidence_needs_history_and_tells_easy_from_hard(bench):
    rng = np.random.default_rng(3)
    bench.plant("easy", 60 - DAYS, line(DAYS))
    bench.plant("hard", 60 - DAYS, 50e9 * np.exp(0.5 * rng.normal(size=DAYS.size)))
    bench.plant("young", 30 - np.arange(31.0), line(np.arange(31.0)))
    rows = bench.analyze()
    assert rows["easy"]["confidence_level"] == 100
    assert 0 < rows["hard"]["confidence_level"] < 90
    assert rows["young"]["confidence_level"] is None
    assert "0 of the 3 backtest origins" in rows["young"]["reason"]
