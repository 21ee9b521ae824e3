"""A forecast in a sentence."""

import numpy as np

from capacity_kit.growth import Calendar, forecast
from capacity_kit.growth.backtest import Backtest, backtest
from capacity_kit.growth.explain import explain
from capacity_kit.growth.regimes import dated


def gigabytes(value: float) -> str:
    return f"{value:.1f} GB"


def test_growth_cycle_band_and_backtest():
    t = np.arange(300.0)
    x = 40 + 1.2 * t + 8 * np.sin(2 * np.pi * t / 7)
    said = explain(forecast([x], 30, 7), 0, gigabytes, "day", tested=backtest([x], 30, 7))
    assert said == (
        "+1.2 GB a day; cycle of 7 days ±7.8 GB; 80 % band in 30 days 434.8 GB to 434.8 GB; "
        "4 origins backtested, error at 30 days 0.0 GB."
    )


def test_a_shift_is_named_with_its_date():
    x = 40 + np.arange(61.0) - np.where(np.arange(61) >= 40, 45, 0)
    said = explain(forecast([x], 30, 7), 0, gigabytes, "day", "day {}".format)
    assert said.startswith("+1.0 GB a day since day 40; ")


def test_regimes_tell_what_changed_and_when():
    t = np.arange(300.0)
    dates = {"step": "day", "when": "day {}".format}
    fell = 40 + t - np.where(t >= 200, 145, 0)
    said = explain(forecast([fell], 30, 7), 0, gigabytes, **dates, regimes=dated([fell], 7)[0])
    assert said.startswith("+1.0 GB a day since day 200, when it fell by 144.0 GB; ")
    faster = 40 + t + 2 * np.maximum(t - 200, 0)
    said = explain(forecast([faster], 30, 7), 0, gigabytes, **dates, regimes=dated([faster], 7)[0])
    assert " GB a day since day 200, 2.0 GB more than before; " in said


def test_a_sawtooth_is_said_to_be_one():
    said = explain(forecast([100.0 + np.arange(300) % 17], 30, 7), 0, gigabytes, "day")
    assert said.startswith("grows and is reset again and again, up to 116.0 GB; ")


def test_resets_are_dated_by_the_last_of_them():
    t = np.arange(300.0)
    dates = {"step": "day", "when": "day {}".format}
    teeth = 100 + t % 17
    said = explain(forecast([teeth], 30, 7), 0, gigabytes, **dates, regimes=dated([teeth], 7)[0])
    assert "reset again and again, up to 116.0 GB, the last time on day 289, by 16.0 GB; " in said
    twice = 100 + t + np.random.default_rng(0).normal(0, 0.05, 300) - 90.0 * (t >= 150) - 90.0 * (t >= 260)
    said = explain(forecast([twice], 30, 7), 0, gigabytes, **dates, regimes=dated([twice], 7)[0])
    assert "day 260, " in said
    assert said.startswith("grows and is reset again and again")
    assert "by 89.2 GB" in said


def test_what_stands_still_is_level():
    assert explain(forecast([np.full(100, 7.0)], 30), 0).startswith("level; ")
    assert explain(forecast([np.zeros(100)], 30), 0).startswith("level; ")


def test_shrinking():
    assert explain(forecast([500 - np.arange(200.0)], 30), 0).startswith("−1 a step; ")


def test_doubts_are_said():
    rng = np.random.default_rng(0)
    x = rng.exponential(1, 40) * (rng.random(40) < 0.5)
    said = explain(forecast([x], 30, 7), 0, tested=backtest([x], 30, 7))
    assert "do not lean on it: the band is wider than the value itself" in said
    assert "the record is shorter than two horizons" in said
    assert "too little past to test it on" in said


def test_too_little_is_said_to_be_too_little():
    assert explain(forecast([[1.0, 2.0]], 30), 0).startswith("No forecast: 2 usable measurements")


def test_a_calendar_with_a_say_is_named_and_cycles_are_still_read():
    first, days = 20_000, np.arange(400)
    month = (first + days).astype("datetime64[D]").astype("datetime64[M]")
    last = (first + days + 1).astype("datetime64[D]").astype("datetime64[M]") > month
    x = 100 + 20.0 * (days % 7 == 3) + 50 * last
    said = forecast([x], 30, 7, calendar=Calendar(first + 399))
    assert "; cycle of 7 days ±10; ends of months and holidays reckoned apart; " in explain(
        said, 0, step="day"
    )
    assert "calendar" not in explain(forecast([x], 30, 7), 0)


def test_a_note_comes_before_the_doubts():
    said = explain(forecast([np.arange(40.0)], 30, 7), 0, note="to the pool's maximum")
    assert "; to the pool's maximum; do not lean on it: " in said


def scored(inside, probability, came):
    """Scores of as many origins, one step ahead."""
    rows = np.zeros(len(inside))
    steps = np.asarray(inside, float)[:, None]
    return Backtest(
        rows.astype(int), rows.astype(int), np.where(np.isnan(steps), np.nan, 1.0), steps, steps,
        np.asarray(probability), np.asarray(came),
    )  # fmt: skip


def test_what_its_past_says_against_it_is_a_doubt():
    said = forecast([100 + np.arange(300.0)], 1, 7)
    false = scored([1, 1, 1, 1, 1, 1], [0.9, 0.6, 0.7, 0.8, 0.5, 0.1], [1.0, 0, 0, 0, 0, 0])
    assert explain(said, 0, tested=false, level="critical level").endswith(
        "; do not lean on it: 4 of 5 announcements of its critical level were false."
    )
    missed = scored([1, 0, 0, 1, 0, np.nan], [0.1, 0.2, 0.3, 0.9, np.nan, 0.1], [1.0, 1, 1, 1, np.nan, 0])
    sentence = explain(said, 0, tested=missed)
    assert "; 5 origins backtested, error at 1 steps 1; " in sentence
    assert sentence.endswith(
        "2 of 5 values lay in the 80 % band and 3 of 4 times its level came unannounced."
    )
    good = scored([1, 1, 1, 1, 0, 1], [0.9, 0.9, 0.7, 0.1, 0.1, 0.1], [1.0, 1, 0, 0, 0, 0])
    assert "do not lean" not in explain(said, 0, tested=good)
