import pickle
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from capacity_kit import growth
from capacity_kit.analysis import run
from capacity_kit.analysis.chunks import measurements
from capacity_kit.analysis.company import heard
from capacity_kit.analysis.grids import daily, in_step, origins
from capacity_kit.analysis.work import analyse
from capacity_kit.growth.models import MEDIAN

AS_OF = datetime(2026, 11, 1, tzinfo=UTC)

T = np.arange(0, 60.01, 0.25)
TRUTH = [  # name, usage on day t, pattern, days to 200e9, growth a day in percent, usage in 30 days
    ("linear", 40e9 + 1e9 * T, {"LINEAR"}, (96, 104), (0.96, 1.04), (128e9, 132e9)),
    ("exponential", 20e9 * 1.02**T, {"EXPONENTIAL"}, (53, 60), (1.9, 2.1), (113e9, 125e9)),
    ("flat", 50e9 + 5e8 * np.sin(T * 12.9898), {"STABLE"}, None, (-0.1, 0.1), (48e9, 52e9)),
    ("weekly", 50e9 + 6e9 * np.sin(2 * np.pi * T / 7), {"STABLE", "SEASONAL"}, None, (-0.2, 0.2), (42e9, 58e9)),
    ("cleanup", 40e9 + 1e9 * T - np.where(T >= 40, 45e9, 0), {"LINEAR"}, (135, 155), (1.65, 2.0), (82e9, 88e9)),
    ("shrinking", 90e9 - 0.5e9 * T, {"DECREASING"}, None, (-0.9, -0.76), (42e9, 48e9)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "usage", "pattern", "days", "rate", "in_30"), TRUTH, ids=[c[0] for c in TRUTH]
)
def test_series_whose_answer_is_known(chunk, name, usage, pattern, days, rate, in_30):
    (found,) = analyse(chunk((60 - T, usage)))
    assert found["pattern_type"] in pattern
    assert rate[0] <= found["growth_rate_percentage"] <= rate[1]
    assert in_30[0] <= found["projected_usage_30d"] <= in_30[1]
    if days is None:
        assert found["time_to_capacity_days"] is None
    else:
        assert days[0] <= found["time_to_capacity_days"] <= days[1]


def lately(noise):
    """Level for a year, 5 GB a day in the last 25 days."""
    t = np.arange(365.0)
    strays = np.random.default_rng(3).normal(0, noise, t.size)
    return t[::-1], 100e9 + 0.2e9 * t + 4.8e9 * np.maximum(t - 340, 0) + strays


def test_growth_that_is_faster_of_late_is_forecast_and_told(chunk):
    """150 GB from full, at 5 GB a day: thirty days."""
    days, usage = lately(1e9)
    (found,) = analyse(chunk((days, usage), capacity=usage[-1] + 150e9))
    assert found["time_to_capacity_days"] == pytest.approx(30, abs=4)
    said = re.match(
        r"\+(\S+) GiB a day since (\S+), (\S+) GiB more than before;", found["pattern_description"]
    )
    assert float(said[1]) == pytest.approx(5e9 / 2**30, rel=0.1)
    assert "2026-10-05" <= said[2] <= "2026-10-09"
    assert float(said[3]) == pytest.approx(4.8e9 / 2**30, rel=0.1)
    assert "most of its past" not in found["pattern_description"]


def test_growth_that_is_faster_of_late_than_forecast_is_told_beside_it(chunk):
    """The same in noise, in which the forecast does not take it over."""
    days, usage = lately(5e9)
    late, steady = (
        analyse(chunk((days, x), capacity=x[-1] + 150e9))[0]["pattern_description"]
        for x in (usage, 100e9 + 2e9 * days[::-1] + np.random.default_rng(3).normal(0, 1e9, 365))
    )
    said = re.search(
        r"its growth changed on (\S+) .* since then it is \+(\S+) GiB a day, .* full in (\d+) days", late
    )
    assert "2026-09-29" <= said[1] <= "2026-10-14"
    assert float(said[2]) == pytest.approx(5e9 / 2**30, rel=0.25)
    assert int(said[3]) == pytest.approx(30, abs=8)
    assert "most of its past" not in steady


def test_a_level_that_a_forecast_returns_to_is_no_trend(chunk):
    """The last week stands out; what comes is the usual again, at once."""
    rng = np.random.default_rng(5)
    usage = 50e9 + rng.normal(0, 1e9, 200)
    usage[-7:] += 5e9
    (found,) = analyse(chunk((np.arange(200)[::-1], usage)))
    assert found["trend_direction"] == "STABLE"
    assert found["growth_rate_percentage"] == 0


def test_a_cleanup_is_told_with_its_date(chunk):
    (found,) = analyse(chunk((60 - T, TRUTH[4][1])))
    assert found["pattern_breaks_detected"] == 1
    assert found["last_pattern_break_date"] in ("2026-10-11", "2026-10-12")
    assert found["last_pattern_break_date"] in found["pattern_description"]


def test_every_record_is_what_the_engine_says(many, close):
    """From the rows in the database to the engine by another way, and back."""
    rows = many.rows(
        "SELECT encode(resource_utilization_hk, 'hex'), array_agg(current_value::float8 ORDER BY measurement_timestamp)"
        " FROM capacity_planning.resource_utilization_s GROUP BY 1 ORDER BY 1"
    )
    series = [np.array(values[-119:]) for _, values in rows]
    said = growth.forecast(series, 365, 7, heard(series, 365))
    with many.vault() as store:
        (done,) = run.analyse(store, as_of="2026-11-01", dry_run=True)
    assert [r["resource_utilization_hk"][2:] for r in done.records] == [key for key, _ in rows]
    for i, record in enumerate(done.records):
        for days in (7, 30, 90, 365):
            kept = record["model_parameters"]["quantiles"][str(days)]
            assert close(kept, said.quantiles[i, days - 1].tolist())
        assert close(record["projected_usage_1y"], float(said.quantiles[i, 364, MEDIAN]))
    for name, level in (("warning", 0.8 * 150e9), ("critical", 0.9 * 150e9), ("capacity", 150e9)):
        reached = said.reached(np.full(len(rows), level))
        for share, key in ((0.1, "p10"), (0.5, "p50"), (0.9, "p90")):
            steps = said.runway(np.full(len(rows), level), share)
            kept = [r["model_parameters"]["runway"][name][key] for r in done.records]
            assert kept == [None if np.isinf(s) else int(s) for s in steps]
        kept = [r["model_parameters"]["runway"][name]["by"]["90"] for r in done.records]
        assert close(kept, np.round(reached[:, 89], 6).tolist(), 1e-4)
    assert any(r["time_to_capacity_days"] for r in done.records)


def test_chunking_changes_nothing(many, close):
    with many.vault() as store:
        (whole,) = run.analyse(store, as_of="2026-11-01", dry_run=True)
        parts = list(run.analyse(store, as_of="2026-11-01", size=7, dry_run=True))
    assert [len(part.records) for part in parts] == [7, 7, 7, 7, 7, 5]
    assert [(part.done, part.total) for part in parts] == [
        (7, 40),
        (14, 40),
        (21, 40),
        (28, 40),
        (35, 40),
        (40, 40),
    ]
    assert close([r for part in parts for r in part.records], whole.records)
    assert parts[0].seconds_left > parts[-1].seconds_left == 0


def test_a_chunk_travels(chunk):
    one = chunk((60 - T, TRUTH[0][1]), (60 - T, TRUTH[1][1]))
    assert analyse(pickle.loads(pickle.dumps(one))) == analyse(one)


def test_the_error_of_the_backtest_is_that_of_forecasts_from_the_past(chunk):
    rng = np.random.default_rng(1)
    usage = 50e9 + np.cumsum(rng.normal(1e8, 4e8, 147))
    one = chunk((np.arange(147)[::-1], usage))
    (found,) = analyse(one)
    off, truth = [], []
    for date in origins(one.resources[0], one.times[0]):
        o = 146 - (int(AS_OF.timestamp() // 86400) - date)
        said = growth.forecast([usage[o + 1 - in_step(o + 1) : o + 1]], 90, 7).quantiles[0, 29, MEDIAN]
        off.append(abs(said - usage[o + 30]))
        truth.append(usage[o + 30])
    wape = 100 * np.sum(off) / np.sum(truth)
    assert found["model_parameters"]["wape_30d"] == pytest.approx(wape, rel=1e-5)
    assert found["confidence_level"] == pytest.approx(100 - wape, rel=1e-5)
    assert found["model_parameters"]["origins"] == len(off) == 6


def test_origins_leave_a_past_and_a_future_and_stay_where_they_are(chunk):
    today = int(AS_OF.timestamp() // 86400)

    def ago(days):
        one = chunk((np.arange(days), np.ones(days)))
        return [today - date for date in origins(one.resources[0], one.times[0])]

    assert ago(0) == ago(45) == []
    longest = ago(899)
    for days in range(46, 900, 7):
        found = ago(days)
        assert 30 <= min(found) <= max(found) <= days - 14
        assert min(days - 43, 5) <= len(found) <= 10
        assert {o for o in longest if o <= max(found)} <= set(found)
    tomorrow = chunk((np.arange(200), np.ones(200)))
    (later,) = (replace(r, origin=r.origin + timedelta(1)) for r in tomorrow.resources)
    assert len(set(ago(200)) & {today - date for date in origins(later, tomorrow.times[0])}) >= 5


def test_records_of_many_lengths_are_brought_to_few():
    lengths = range(1, 1461)
    used = [in_step(days) for days in lengths]
    assert all(days * 15 / 16 < kept <= days for days, kept in zip(lengths, used, strict=True))
    assert used[:111] == list(lengths)[:111]
    assert len(set(used[200:400])) < 20
    assert len(set(used[365:])) < 40


def test_of_what_is_stored_a_day_is_its_last_value_and_of_what_fluctuates_its_mean(chunk):
    days = np.arange(0, 20, 0.25)
    value = np.arange(days.size)[::-1]  # newest last
    stored = chunk((days, value))
    assert daily(stored.resources[0], stored.times[0], stored.values[0]).tolist() == value[::4][::-1].tolist()
    for kind, unit in (("CPU", "cores"), ("REQUESTS", "requests/s")):
        rate = chunk((days, value), kind=kind, unit=unit)
        means = value[::-1].reshape(20, 4).mean(axis=1)
        assert daily(rate.resources[0], rate.times[0], rate.values[0]).tolist() == means.tolist()


def test_what_fluctuates_reaches_a_limit_by_its_maximum(chunk):
    """The mean of every day is far below the limit, which an hour of each day grows towards."""
    rng = np.random.default_rng(4)
    hours = np.arange(60 * 24)[::-1] / 24
    of_day = (np.arange(60 * 24) - 60 * 24 + 1) % 24
    grown = np.arange(60 * 24) // 24
    value = np.where(of_day == 3, 60 + grown / 2, 10) + rng.uniform(0, 1, 60 * 24)
    (found,) = analyse(chunk((hours, value), capacity=100, kind="CPU", unit="cores"))
    assert found["projected_usage_30d"] == pytest.approx(14, abs=2)
    parameters = found["model_parameters"]
    assert parameters["maximum"]["now"] == pytest.approx(90, abs=1.1)
    assert 12 <= parameters["runway"]["capacity"]["p50"] <= 28
    assert found["time_to_capacity_days"] == parameters["runway"]["capacity"]["p50"]
    assert found["time_to_critical_days"] <= 4
    assert (
        "runway is of the maximum of a day, and for 7 days also of an hour, now 8"
        in found["pattern_description"]
    )
    assert parameters["a_day_is"] == "its mean"
    by = [parameters["runway"]["capacity"]["by"][days] for days in ("7", "30", "90", "365")]
    assert by == sorted(by)
    # Of what is stored, the value itself counts.
    (stored,) = analyse(chunk((hours, value), capacity=100))
    assert "maximum" not in stored["model_parameters"]


def test_what_fluctuates_beside_one_too_young_for_a_forecast_keeps_its_own_maximum(chunk):
    hours = np.arange(30 * 24)[::-1] / 24
    old = [(hours, 20 + 5 * np.sin(hours * 2 * np.pi) + level) for level in (0, 30)]
    beside = chunk(([0.04, 0], [1, 1]), *old, capacity=100, kind="CPU", unit="cores")
    _, *found = analyse(beside)
    assert found == [analyse(beside.of([place]))[0] for place in (1, 2)]
    assert [record["model_parameters"]["maximum"]["now"] for record in found] == [25, 55]


def test_an_hour_of_the_coming_week_that_is_known_for_its_peaks_is_said_in_time(chunk):
    """One hour of the week stands out."""
    hours = np.arange(56 * 24)
    value = 20 + 5 * np.sin(hours * 2 * np.pi / 24) + np.where(hours % 168 == 12, 70, 0)
    back = (hours.size - 1 - hours) / 24
    (found,) = analyse(chunk((back, value), capacity=85, kind="CONNECTIONS", unit="connections"))
    parameters = found["model_parameters"]
    assert parameters["maximum_of_an_hour"]["hours"] == 56 * 24
    assert parameters["runway"]["capacity"]["by"]["7"] > 0.5
    # Measured once a day, there are days only.
    (daily,) = analyse(chunk((back[::24], value[::24]), capacity=85, kind="CONNECTIONS", unit="connections"))
    assert "maximum_of_an_hour" not in daily["model_parameters"]
    assert daily["model_parameters"]["runway_of"] == "the maximum of a day"


def test_ends_of_months_are_known_of_what_fluctuates(chunk):
    """The last days of every month are busy; the days before them are not."""
    days = np.arange(420)[::-1]
    dates = [AS_OF - timedelta(days=int(d), hours=12) for d in days]
    last = np.array([(date + timedelta(days=2)).month != date.month for date in dates])
    value = 100 + 60 * last + np.random.default_rng(1).normal(0, 3, 420)
    (found,) = analyse(chunk((days, value), capacity=400, kind="TRANSACTIONS", unit="transactions/s"))
    assert "ends of months and holidays reckoned apart" in found["pattern_description"]
    assert found["forecast_model"].endswith("and the calendar")
    # Thirty days after the last of October is the last of November.
    assert found["projected_usage_30d"] == pytest.approx(160, abs=12)
    assert found["projected_usage_7d"] == pytest.approx(100, abs=8)


def test_a_late_measurement_stays_in_its_day_and_a_missed_day_is_a_gap(chunk):
    days = np.arange(30.0)
    days[5] -= 0.3
    days = np.delete(days, 10)
    one = chunk((days, 100 - days))
    found = daily(one.resources[0], one.times[0], one.values[0])
    assert found.size == 30
    assert np.flatnonzero(np.isnan(found)).tolist() == [19]


def test_too_little_is_said_to_be_too_little(chunk):
    short, empty, few = analyse(
        chunk((np.arange(0, 1.5, 0.5), [3, 2, 1]), ([], []), (np.arange(0, 13), np.arange(13)))
    )
    for record in (short, empty, few):
        assert record["pattern_type"] == "INSUFFICIENT_DATA"
        assert record["trend_direction"] == "UNKNOWN"
        assert "No forecast" in record["pattern_description"]
        assert not {"projected_usage_30d", "time_to_capacity_days", "confidence_level"} & record.keys()


def test_without_a_capacity_there_is_a_forecast_and_no_runway(chunk):
    (found,) = analyse(chunk((60 - T, TRUTH[0][1]), capacity=float("nan")))
    assert found["current_capacity"] is None
    assert found["projected_usage_30d"] > 0
    assert found["model_parameters"]["runway"] == {}
    assert "time_to_capacity_days" not in found


@pytest.mark.parametrize(
    ("changes", "days"),
    [
        (((60, 400e9),), 300),  # a larger disk before the old one is full
        (((10, 120e9),), 20),  # a smaller one
        (((10, 105e9),), 10),  # too small on the day that it comes
        (((110, 400e9),), 100),  # too late
        (((-0.5, 150e9), (60, 400e9)), 50),  # changed since the newest measurement
    ],
)
def test_a_runway_ends_at_a_barrier_that_moves(chunk, changes, days):
    """100 GB now, and a GB a day more, against 200 GB."""
    one = chunk((60 - T, TRUTH[0][1]), capacity=200e9)
    later = tuple((AS_OF.timestamp() + 86400 * day, capacity) for day, capacity in changes)
    (resource,) = one.resources
    (found,) = analyse(replace(one, resources=(replace(resource, changes=later),)))
    assert found["time_to_capacity_days"] == pytest.approx(days, abs=1 + days * 0.02)
    assert found["current_capacity"] == 200e9
    assert "it holds" in found["pattern_description"]
    by = list(found["model_parameters"]["runway"]["capacity"]["by"].values())
    assert by == sorted(by)


def test_a_level_that_is_reached_is_no_days_away(chunk):
    (found,) = analyse(chunk((60 - T, TRUTH[0][1]), capacity=100e9))
    for name in ("warning", "critical", "capacity"):
        assert found[f"time_to_{name}_days"] == 0
        assert set(found["model_parameters"]["runway"][name]["by"].values()) == {1}


def test_days_count_from_the_time_that_is_looked_from(chunk):
    """Measured three and a half days before: it is as full as it was then expected to be by now."""
    (now,) = analyse(chunk((60 - T, TRUTH[0][1])))
    (late,) = analyse(chunk((63.5 - T, TRUTH[0][1])))
    assert late["model_parameters"]["origin"] == (datetime(2026, 10, 31, 12, tzinfo=UTC)).isoformat()
    assert now["time_to_capacity_days"] == 100
    assert late["time_to_capacity_days"] == 96


def test_while_nothing_is_measured_the_day_it_is_full_comes_nearer(chunk):
    """The forecast is of the newest measurement, however long ago that was."""
    now, five, thirty, none = (analyse(chunk((60 + late - T, TRUTH[0][1])))[0] for late in (0, 5, 30, 31))
    assert [r["time_to_capacity_days"] for r in (now, five, thirty)] == [100, 95, 70]
    for found, late in ((five, 5), (thirty, 30)):
        assert found["projected_usage_30d"] == pytest.approx(
            now["projected_usage_30d"] + late * 1e9, rel=0.01
        )
        assert found["model_parameters"]["days"] == now["model_parameters"]["days"] == 61
        assert f"last measured on {(AS_OF - timedelta(late)).date()}" in found["pattern_description"]
    assert none["pattern_type"] == "INSUFFICIENT_DATA"
    assert none["pattern_description"] == (
        "No forecast: nothing was measured in 30 days, the last time on 2026-10-01."
    )
    assert "time_to_capacity_days" not in none


def test_a_cleanup_keeps_its_date_while_nothing_is_measured(chunk):
    (now,) = analyse(chunk((60 - T, TRUTH[4][1])))
    (late,) = analyse(chunk((70 - T, TRUTH[4][1])))
    day = datetime.fromisoformat(now["last_pattern_break_date"]) - timedelta(10)
    assert late["last_pattern_break_date"] == day.date().isoformat()
    assert late["pattern_breaks_detected"] == now["pattern_breaks_detected"] == 1


def test_what_the_database_packs_is_read_as_it_is():
    moment = datetime(2026, 11, 1, 12, 30, 0, 250_000, tzinfo=UTC)
    micros = (moment - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    times, values = measurements(
        (np.array([micros], ">i8").tobytes() + np.array([2.5], ">f8").tobytes()).hex()
    )
    assert times.tolist() == [moment.timestamp()]
    assert values.tolist() == [2.5]
    assert [part.size for part in measurements(None)] == [0, 0]


@pytest.mark.parametrize("scale", [1e-12, 1e15, 1e120])
def test_any_scale(chunk, scale):
    (found,) = analyse(chunk((60 - T, (40 + T) * scale), capacity=200 * scale))
    assert found["time_to_capacity_days"] == 100
    assert found["pattern_type"] == "LINEAR"


def test_strange_series_have_an_answer(chunk):
    rng = np.random.default_rng(3)
    days = np.arange(90)
    series = [
        (days, np.zeros(90)),
        (days, np.full(90, 7.0)),
        (days, np.where(days % 9 == 0, 5.0, 0.0)),
        (days, rng.pareto(0.5, 90)),
        (days, np.where(days == 3, np.nan, -5.0)),
        (np.concatenate([days, days + 400]), np.ones(180)),
    ]
    for record in analyse(chunk(*series, capacity=10.0)):
        assert record["pattern_type"]
        assert record["pattern_description"].endswith(".")
