"""Ends of months and holidays: told from other days, learnt where they matter, and left alone where not."""

import numpy as np
import pytest

from capacity_kit.growth import Calendar, forecast, learn
from capacity_kit.growth.backtest import backtest
from capacity_kit.growth.calendar import HOLIDAY, ORDINARY, apart
from capacity_kit.growth.models import LEVELS, MEDIAN

DAYS, AHEAD = 365, 90


def day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(int))


TODAY = day("2026-11-23")
FIRST = TODAY - DAYS + 1
T = np.arange(DAYS + AHEAD)
DATES = (FIRST + T).astype("datetime64[D]")
MONTHS = DATES.astype("datetime64[M]")
LAST_OF_MONTH = (MONTHS + 1).astype("datetime64[D]") - DATES == np.timedelta64(1, "D")
HOLIDAYS = [
    day(f"{year}-{date}")
    for year in (2025, 2026, 2027)
    for date in (
        "01-01",
        "01-06",
        "04-06",
        "05-01",
        "05-14",
        "05-25",
        "06-04",
        "10-03",
        "12-25",
        "12-26",
    )
]
ON_HOLIDAY = np.isin(FIRST + T, HOLIDAYS)
CALENDAR = Calendar(TODAY, HOLIDAYS)


def pinball(said, truth):
    off = truth[..., None] - said.quantiles
    return np.maximum(LEVELS * off, (LEVELS - 1) * off).mean()


def both(x):
    """Losses without and with a calendar, and its weight."""
    past, truth = list(x[:, :DAYS]), x[:, DAYS:]
    without = forecast(past, AHEAD, 7, learn(past, AHEAD, 7))
    known = forecast(past, AHEAD, 7, learn(past, AHEAD, 7, CALENDAR), calendar=CALENDAR)
    weight = sum(known.weights[:, i].mean() for i, name in enumerate(known.models) if "calendar" in name)
    return pinball(without, truth), pinball(known, truth), weight


def test_kinds_of_days():
    calendar = Calendar(0, [day("2024-03-01"), day("2024-12-24")])
    kinds = calendar.kinds(day("2024-02-26"), 6)
    assert kinds[0] == ORDINARY
    assert len(set(kinds[1:5])) == 4  # 27, 28 and 29 February of a leap year, and a 1 March that is a holiday
    assert kinds[4] == HOLIDAY
    years = calendar.kinds(day("2023-01-01"), 365)
    assert (years != ORDINARY).sum() == 12 * 5


@pytest.mark.parametrize(
    ("kind", "gain"), [("level", 2.5), ("growth", 1.4), ("week", 1.5), ("holidays", 1.1)], ids=str
)
def test_days_that_are_unlike_others_are_learnt(kind, gain):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(40, T.size))
    week = np.where(T % 7 < 2, 40, 100)
    x = {
        "level": 100 * (1 + 2 * LAST_OF_MONTH) * np.exp(0.05 * noise),
        "growth": 1000 + 2 * T + 300 * LAST_OF_MONTH + 5 * noise.cumsum(axis=1),
        "week": week * (1 + 1.5 * LAST_OF_MONTH) * np.exp(0.08 * noise),
        "holidays": week * (1 - 0.7 * ON_HOLIDAY) * np.exp(0.08 * noise),
    }[kind]
    without, known, weight = both(x)
    assert known * gain < without
    assert weight > (0.25 if kind == "holidays" else 0.8)  # ten days of a year


def test_series_that_know_no_calendar_lose_nothing():
    noise = np.random.default_rng(1).normal(0, 5, (40, T.size))
    for x in (1000 + noise.cumsum(axis=1), 100 + noise):
        without, known, weight = both(x)
        assert known < 1.01 * without
        assert weight < 0.2


def test_a_spike_is_expected_on_its_day_and_no_other():
    x = 100 + 50.0 * LAST_OF_MONTH
    median = forecast([x[:DAYS]], AHEAD, 7, calendar=CALENDAR).quantiles[0, :, MEDIAN]
    np.testing.assert_allclose(median, x[DAYS:], atol=1)


def test_a_spike_above_the_level_reaches_it_on_its_day():
    x = 100 + 50.0 * LAST_OF_MONTH + np.random.default_rng(0).normal(0, 1, T.size)
    said = forecast([x[:DAYS]], AHEAD, 7, calendar=CALENDAR)
    days_to_the_end_of_november = 7
    assert said.runway([140])[0] == pytest.approx(days_to_the_end_of_november, abs=1)


def test_each_series_has_its_own_end():
    x = 100 + 50.0 * LAST_OF_MONTH
    ends = [DAYS, DAYS - 10, DAYS - 40]
    together = forecast(
        [x[end - 300 : end] for end in ends], 30, 7, calendar=Calendar([FIRST + end - 1 for end in ends])
    )
    for i, end in enumerate(ends):
        np.testing.assert_allclose(together.quantiles[i, :, MEDIAN], x[end : end + 30], atol=1)
        alone = forecast([x[end - 300 : end]], 30, 7, calendar=Calendar(FIRST + end - 1))
        np.testing.assert_array_equal(alone.quantiles[0], together.quantiles[i])


def test_backtests_know_the_day_of_each_origin():
    x = 100 + 50.0 * LAST_OF_MONTH
    calendar = Calendar(FIRST + T.size - 1)
    known = backtest([x], 60, 7, origins=3, calendar=calendar)
    assert known.pinball.mean() < 0.1 * backtest([x], 60, 7, origins=3).pinball.mean()


def test_quantiles_stay_in_order_and_above_zero():
    rng = np.random.default_rng(3)
    x = np.maximum(rng.normal(5, 4, (20, DAYS)) - 30 * LAST_OF_MONTH[:DAYS], 0)
    quantiles = forecast(list(x), 400, 7, calendar=CALENDAR).quantiles
    assert (quantiles >= 0).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()


@pytest.mark.parametrize("scale", [1e-12, 1e15])
def test_units_do_not_matter(scale):
    x = (100 + 50.0 * LAST_OF_MONTH + np.random.default_rng(0).normal(0, 1, T.size))[:DAYS]
    plain = forecast([x], 40, 7, calendar=CALENDAR).quantiles
    np.testing.assert_allclose(
        forecast([x * scale], 40, 7, calendar=CALENDAR).quantiles, plain * scale, rtol=1e-6
    )


def test_what_is_apart_is_not_in_the_past():
    x = 100.0 + T[None, :DAYS] % 7 + 50.0 * LAST_OF_MONTH[:DAYS]
    kinds = CALENDAR.kinds(FIRST, DAYS)
    without = apart(x, kinds, 7).past.x[0]
    np.testing.assert_allclose(without[30:], (100 + T % 7)[30:DAYS], atol=1e-9)


def test_where_every_day_is_a_holiday_none_is():
    calendar = Calendar(TODAY, np.arange(FIRST, TODAY + AHEAD + 1))
    x = np.random.default_rng(0).normal(100, 1, DAYS)
    assert np.isfinite(forecast([x], AHEAD, 7, calendar=calendar).quantiles).all()


def test_short_and_empty_records():
    said = forecast([[], np.arange(15.0)], 10, 7, calendar=CALENDAR)
    assert np.isnan(said.quantiles[0]).all()
    assert np.isfinite(said.quantiles[1]).all()


def test_a_calendar_of_other_series_is_refused():
    with pytest.raises(ValueError, match="2 histories but a calendar of 3"):
        forecast([np.arange(50.0)] * 2, 5, calendar=Calendar([1, 2, 3]))
