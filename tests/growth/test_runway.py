"""First passage, and its edges."""

import numpy as np
import pytest

from capacity_kit.growth import forecast
from capacity_kit.growth.runway import first_step, marks, paths, peaks, reached


@pytest.fixture(scope="module")
def walks():
    rng = np.random.default_rng(3)
    return np.abs(1000 + rng.normal(0.5, 4, (40, 400)).cumsum(axis=1))


@pytest.fixture(scope="module")
def said(walks):
    return forecast(list(walks), 90, 7)


def test_marks_run_from_one_to_the_horizon():
    for horizon in (1, 2, 7, 90, 1000):
        at = marks(horizon)
        assert (at[0], at[-1]) == (1, horizon)
        assert (np.diff(at) > 0).all()


def test_over_the_level_already_is_certain_and_takes_no_time(walks, said):
    for level in (walks[:, -1], walks[:, -1] * 0.5, np.zeros(40)):
        assert (said.reached(level) == 1).all()
        assert (said.runway(level) == 0).all()


def test_a_level_out_of_sight_is_never_reached(said):
    assert (said.reached(1e9) == 0).all()
    assert np.isinf(said.runway(1e9)).all()


def test_probability_rises_with_time_and_falls_with_the_level(walks, said):
    low, high = said.reached(walks[:, -1] + 20), said.reached(walks[:, -1] + 40)
    for p in (low, high):
        assert ((p >= 0) & (p <= 1)).all()
        assert (np.diff(p, axis=1) >= 0).all()
    assert (high <= low).all()


def test_to_be_there_at_some_time_is_at_least_as_likely_as_to_be_there_at_one(walks, said):
    """At the 75 % quantile of the last day a quarter stands; no fewer have been there by then."""
    assert (said.reached(said.quantiles[:, -1, 4])[:, -1] >= 0.25 - 1 / 24).all()


def test_probabilities_are_kept():
    """Of random walks that were given a probability, about as many get there."""
    rng = np.random.default_rng(11)
    walks = 1e4 + rng.normal(0, 1, (1000, 430)).cumsum(axis=1)
    level = walks[:, 364] + 8
    p = forecast(list(walks[:, :365]), 65, 7).reached(level)[:, -1]
    came = (walks[:, 365:] >= level[:, None]).any(axis=1)
    assert p.mean() == pytest.approx(came.mean(), abs=0.1)


def test_p10_comes_before_p50_before_p90(walks, said):
    level = walks[:, -1] + 30
    assert (said.runway(level, 0.1) <= said.runway(level, 0.5)).all()
    assert (said.runway(level, 0.5) <= said.runway(level, 0.9)).all()


def test_a_straight_line_gets_there_on_its_day():
    x = 40 + np.arange(61.0)
    for share in (0.1, 0.5, 0.9):
        assert forecast([x], 365, 7).runway([200], share)[0] == pytest.approx(100, abs=1)


def test_the_runway_of_a_sawtooth_is_that_of_its_envelope():
    t = np.arange(365)
    sawtooth = 100 + 0.1 * t + 3.0 * (t % 10)  # the teeth's tips rise by 1 in 10 days
    tip = sawtooth[-30:].max()
    assert forecast([sawtooth], 90, 10).runway([tip + 4]).tolist() == [35]
    without_the_cycle = forecast([sawtooth], 90, 7).reached([tip + 4])[0]
    assert without_the_cycle[34] > 0.3
    assert without_the_cycle[3] == 0


def test_an_unknown_level_has_an_unknown_runway(said):
    p = said.of([0]).reached([np.nan])
    assert np.isnan(p).all()
    assert np.isnan(said.of([0]).runway([np.nan])).all()


def test_first_step_counts_from_one():
    p = np.array([[0.1, 0.5, 0.9], [0, 0, 0.05], [np.nan] * 3])
    np.testing.assert_array_equal(first_step(p, 0.5), [2, np.inf, np.nan])


def test_paths_have_the_quantiles_of_the_forecast():
    x = np.random.default_rng(0).normal(0, 1, (5, 365)).cumsum(axis=1) + 1000
    at = np.array([1])
    quantiles = np.sort(np.random.default_rng(1).normal(1000, 9, (5, 1, 7)))
    middle = np.quantile(paths(x, quantiles, at)[:, 0], 0.5, axis=1)
    np.testing.assert_allclose(middle, quantiles[:, 0, 3], atol=0.5)


def test_a_tooth_between_marks_counts():
    futures = np.array([[[0.0], [9.0], [1.0], [2.0]]])
    np.testing.assert_array_equal(peaks(futures, np.arange(1, 5), np.array([1, 4]))[0, :, 0], [0, 9])


def test_between_marks_a_path_is_straight():
    highest = np.broadcast_to(np.array([1.0, 11.0])[None, :, None], (1, 2, 4))
    p = reached(highest, np.array([1, 11]), np.array([0.0]), np.array([6.0]), 11)
    assert p[0].tolist() == [0] * 5 + [1] * 6


def test_a_step_that_came_once_is_no_threat_every_day():
    """What may come on one day of many is counted once, not as often as there are days."""
    rng = np.random.default_rng(1)
    x = 500 + rng.normal(0, 1, (200, 365)) + 100 * (np.arange(365) >= 200)
    reached = forecast(list(x), 90, 7).reached(x[:, -1] + 50)
    assert reached[:, -1].mean() < 0.12  # it was .65


def test_steps_that_came_again_and_again_are_expected_to():
    """Three onboardings in a year, of 200 customers; what comes is as often as it was."""
    rng = np.random.default_rng(2)
    years = 500 + rng.normal(0, 1, (200, 455))
    for own in years:
        for day in rng.choice(np.arange(5, 360), 3, replace=False):
            own[day:] += rng.uniform(80, 120)
        own[365:] += np.where(np.arange(90) >= rng.exponential(365 / 3), 100.0, 0.0)
    past, truth = years[:, :365], years[:, 365:]
    said = forecast(list(past), 90, 7)
    three = said.shifts == 3
    assert three.mean() > 0.7
    came = (truth.max(axis=1) > past[:, -1] + 50)[three].mean()
    reached = said.reached(past[:, -1] + 50)[three, -1].mean()
    assert 0.3 < reached <= came + 0.05


@pytest.mark.parametrize("days", [10, 25, 45])
def test_growth_that_changed_lately_has_the_runway_of_its_new_pace(days):
    """From .2 to 5 a day: no backtest can have seen it, and the level is thirty days away."""
    t = np.arange(455)
    noise = np.random.default_rng(5).normal(0, 1, (30, t.size))
    x = 100 + 0.2 * t + 4.8 * np.maximum(t - (365 - days), 0) + noise
    said = forecast(list(x[:, :365]), 90, 7)
    level = x[:, 364] + 150
    assert np.median(said.runway(level)) == pytest.approx(30, abs=4)  # it was infinite, 79 and more
    assert said.reached(level)[:, 59].mean() > 0.55
    inside = (x[:, 365:] >= said.quantiles[..., 1]) & (x[:, 365:] <= said.quantiles[..., -2])
    assert inside.mean() > 0.75


def test_noise_of_the_past_does_not_make_paths_change_places():
    """A band that opens since nobody knows the course: who is high on one day is so on the next, and no one else."""
    x = 1000 + np.random.default_rng(4).normal(0, 1, (5, 365))
    steps = np.arange(1, 61)
    course = 3 * steps[:, None] * np.array([-1.6, -1.3, -0.7, 0, 0.7, 1.3, 1.6])
    quantiles = np.broadcast_to(1000 + course, (5, 60, 7))
    futures = paths(x, quantiles, steps)
    level = quantiles[0, -1, 4]  # a quarter of them is there in the end
    assert (futures.max(axis=1) >= level).mean() <= 0.27  # it was .70 and more
    still = np.broadcast_to(1000 + course[:1] / 3, (5, 60, 7))
    assert (
        paths(x, still, steps).max(axis=1) >= still[0, 0, 4]
    ).mean() > 0.9  # noise itself does change places
