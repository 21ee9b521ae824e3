"""The models, each on the series it is made for."""

import numpy as np
import pytest

from capacity_kit.growth.models import (
    LEVELS,
    MEDIAN,
    Past,
    active_drift,
    ages,
    drift,
    fading_trend,
    fitting,
    growth,
    quantiles_of,
    recent_slope,
    seasonal,
    seasonal_drift,
    seasonal_level,
    standing,
    trailing_mean,
    trend,
)

STEPS = np.arange(1, 31)


def ahead(model, x, steps=STEPS):
    return model(Past(np.asarray(x, float)[None]), len(x) - 1, steps)[0]


def test_ages_forget_by_the_half_life():
    drawn = ages(10_000, 100.0, 4_000)
    assert (drawn < 100).mean() == pytest.approx(0.5, abs=0.01)
    assert (drawn < 200).mean() == pytest.approx(0.75, abs=0.01)


def test_ages_without_forgetting_are_all_of_them():
    np.testing.assert_array_equal(ages(50, float("inf"), 64), np.arange(50))


def test_quantiles_are_numpys():
    samples = np.random.default_rng(0).gamma(2, size=(3, 37))
    expected = np.quantile(samples, LEVELS, axis=1, method="hazen").T
    np.testing.assert_allclose(quantiles_of(samples.copy()), expected)


def test_trailing_mean_of_as_many_as_there_are():
    np.testing.assert_allclose(trailing_mean(np.array([[1.0, 3.0, 5.0, 7.0]]), 2), [[1, 2, 4, 6]])


def test_one_jump_does_not_tilt_the_slope():
    x = np.arange(200.0)
    x[195:] += 1000
    assert recent_slope(x[None], 50)[0, -1] == pytest.approx(1)


@pytest.mark.parametrize("model", [drift, active_drift, trend, fading_trend])
def test_a_straight_line_goes_on(model):
    np.testing.assert_allclose(
        ahead(model, 7 + 3 * np.arange(120.0)), 7 + 3 * (119 + STEPS)[:, None] + np.zeros(7)
    )


def test_compound_growth_goes_on():
    np.testing.assert_allclose(ahead(growth, 1.02 ** np.arange(120))[:, MEDIAN], 1.02 ** (119 + STEPS))


def test_the_trend_is_the_recent_one():
    x = np.concatenate([np.zeros(150), 2 * np.arange(150.0)])
    assert ahead(trend, x)[-1, MEDIAN] == pytest.approx(x[-1] + 60, rel=0.02)


def test_growth_that_comes_to_rest():
    """Past slopes were always too steep for what came, and those that fade were right."""
    t = np.arange(360.0)
    x = 1000 - 900 * 0.5 ** (t / 60)
    truth = 1000 - 900 * 0.5 ** ((359 + STEPS) / 60)
    off = {m: np.abs(ahead(m, x)[:, MEDIAN] - truth).mean() for m in (drift, trend, fading_trend)}
    assert off[fading_trend] < off[trend] < off[drift]


def test_a_fading_trend_fades_only_as_far_as_the_past_bears_out():
    x = 7 + 3 * np.arange(60.0)
    np.testing.assert_allclose(ahead(fading_trend, x, np.array([400]))[0, MEDIAN], x[-1] + 1200)


def test_of_many_lags_some_are_drawn_and_the_rest_lies_between():
    x = np.random.default_rng(0).normal(0, 1, 800).cumsum()
    few = np.array([1, 5, 200])
    many = ahead(drift, x, np.arange(1, 201))
    np.testing.assert_allclose(many[few - 1], ahead(drift, x, few))
    np.testing.assert_allclose(many[149], ahead(drift, x, np.array([150]))[0], atol=0.4 * np.ptp(many[149]))


def test_activity_scales_what_comes():
    steps = np.concatenate([np.tile([0.0, 1.0], 100), np.tile([0.0, 9.0], 20)])
    assert (np.diff(ahead(active_drift, steps.cumsum())[-1])[-1] >= 0).all()
    assert ahead(active_drift, steps.cumsum())[-1, -1] > ahead(drift, steps.cumsum())[-1, -1]


def test_a_cycle_comes_back():
    x = np.tile([1.0, 5, 9, 5, 1, 0, 0], 20)
    np.testing.assert_allclose(ahead(seasonal(7), x, np.arange(1, 15))[:, MEDIAN], x[:14])


def test_a_growing_cycle_keeps_growing_and_cycling():
    t = np.arange(160)
    x = 100 + t + 20 * (t % 7 == 3)
    expected = 100 + (159 + STEPS) + 20 * ((159 + STEPS) % 7 == 3)
    np.testing.assert_allclose(ahead(seasonal_drift(7), x), expected[:, None] + np.zeros(7))


def test_counts_of_mostly_nothing():
    x = np.zeros(400)
    x[::8] = 5
    quantiles = ahead(standing(float("inf")), x)
    assert (quantiles[:, :5] == 0).all()
    assert (quantiles[:, -1] == 5).all()


def test_beyond_half_the_past_the_median_goes_straight_on():
    x = 7 + 3 * np.arange(40.0)
    np.testing.assert_allclose(
        ahead(drift, x, np.array([10, 400]))[:, MEDIAN], x[-1] + 3 * np.array([10, 400])
    )


def test_beyond_half_the_past_a_cycle_keeps_its_phase():
    t = np.arange(40)
    x = 100 + t + 20 * (t % 7 == 3)
    steps = np.arange(1, 200)
    expected = 100 + (39 + steps) + 20 * ((39 + steps) % 7 == 3)
    np.testing.assert_allclose(ahead(seasonal_drift(7), x, steps)[:, MEDIAN], expected)


def test_a_cycle_must_have_been_seen_four_times():
    assert [m.name for m in fitting(28, (7, 24)) if m.family == "seasonal"] == ["cycle of 7"]
    assert not [m for m in fitting(27, (7,)) if m.family == "seasonal"]


def test_a_noisy_week_on_a_growing_level_goes_on_where_it_is():
    """Nearer than from a single day, which is a whim, and than the weeks of a year, which were lower."""
    t = np.arange(395)
    rng = np.random.default_rng(8)
    off = {seasonal_level: 0.0, seasonal_drift: 0.0, seasonal: 0.0}
    for _ in range(20):
        x = 100 + 0.1 * t + 10 * np.sin(2 * np.pi * t / 7) + rng.normal(0, 4, 395)
        for model in off:
            off[model] += float(np.abs(x[365:] - ahead(model(7), x[:365])[:, MEDIAN]).mean()) / 20
    assert off[seasonal_level] < 0.95 * off[seasonal_drift]
    assert off[seasonal_level] < 0.5 * off[seasonal]


@pytest.mark.parametrize("cycle", [7, 24])
def test_a_cycle_without_noise_is_no_riddle_at_any_lag(cycle):
    t = np.arange(20 * cycle + 3 + 90)
    x = 50 + 10 * np.sin(2 * np.pi * t / cycle)
    said = ahead(seasonal_level(cycle), x[:-90], np.arange(1, 91))
    np.testing.assert_allclose(said, np.repeat(x[-90:, None], 7, axis=1), atol=1e-9)
