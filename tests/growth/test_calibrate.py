"""Bands widen for a short past, and for shifts that may come again."""

from dataclasses import replace

import numpy as np
import pytest

from capacity_kit.growth.calibrate import (
    AGAIN,
    BEYOND,
    CLEANED,
    COUNTS,
    DISAGREEMENT,
    FEWEST,
    SIZES,
    disagreeing,
    gain_memories,
    jumping,
    widened,
    widening,
    with_shifts,
)
from capacity_kit.growth.models import LEVELS, MEDIAN
from capacity_kit.growth.regimes import MOST, Shifts


def one_shift(size: float) -> Shifts:
    sizes = np.zeros((1, MOST))
    sizes[0, 0] = size
    return Shifts(np.array([1]), np.full((1, MOST), 50), sizes, np.array([False]))


def test_widening_is_students():
    assert widening(np.array([4.0]))[0, -2] == pytest.approx(1.6377 / 1.2816 * 1.25**0.5)
    assert widening(np.array([1e9]))[0] == pytest.approx(np.ones(7), abs=1e-6)


def test_widening_falls_with_what_is_known_and_rises_to_the_tails():
    factors = widening(np.linspace(1, 200, 50))
    assert (np.diff(factors, axis=0) <= 1e-12).all()
    assert (factors[:, MEDIAN] == 1).all()
    assert (factors[:, -1] >= factors[:, -3]).all()


def test_beyond_the_record_bands_go_on_to_widen():
    near, far = widening(np.array([FEWEST, (FEWEST + 1) / 4 - 1]))  # four times as far
    np.testing.assert_allclose(far[:MEDIAN] / near[:MEDIAN], 4**BEYOND)
    assert far[MEDIAN] == 1


def test_normal_samples_are_covered_once_widened():
    rng = np.random.default_rng(5)
    sample, new = np.sort(rng.normal(size=(20_000, 5)), axis=1), rng.normal(size=20_000)
    middle, spread = sample.mean(axis=1), sample.std(axis=1, ddof=1)
    band = middle[:, None] + spread[:, None] * np.array(
        [-1.6449, -1.2816, -0.6745, 0, 0.6745, 1.2816, 1.6449]
    )
    wide = widened(band, widening(np.array([5.0])))
    assert ((new >= wide[:, 1]) & (new <= wide[:, -2])).mean() == pytest.approx(0.80, abs=0.01)
    assert ((new >= band[:, 1]) & (new <= band[:, -2])).mean() < 0.70


def test_models_that_disagree_widen_the_band_and_leave_its_middle():
    band = np.broadcast_to(100 + np.linspace(-3, 3, 7), (1, 5, 7))
    weights = np.array([[0.5], [0.5]])
    agreed = disagreeing(band, np.full((2, 1, 5), 100.0), weights)
    np.testing.assert_allclose(agreed, band)
    apart = disagreeing(band, np.array([[[90.0] * 5], [[110.0] * 5]]), weights)
    np.testing.assert_allclose(apart[..., MEDIAN], 100)
    assert apart[0, 0, -2] - 100 == pytest.approx(np.hypot(2, DISAGREEMENT * 10 * 1.2816), rel=1e-3)
    nothing = disagreeing(band, np.array([[[90.0] * 5], [[110.0] * 5]]), np.array([[0.0], [1.0]]))
    assert np.ptp(nothing) > np.ptp(band)  # off its own model's median there is a band, too


def test_memories_of_a_random_walk_and_of_noise():
    steps = np.arange(1, 41)
    walk = np.sqrt(steps)[None, :, None] * np.linspace(-2, 2, 7)
    noise = np.ones(40)[None, :, None] * np.linspace(-2, 2, 7)
    assert gain_memories(walk, steps, 400)[0, -1] == pytest.approx(COUNTS * 10 - 1)
    assert gain_memories(noise, steps, 400)[0, -1] == pytest.approx(COUNTS * 400 - 1)


def test_no_shift_changes_nothing():
    quantiles = np.sort(np.random.default_rng(0).normal(size=(1, 9, 7)))
    none = Shifts(np.zeros(1, np.int64), np.full((1, MOST), -1), np.zeros((1, MOST)), np.array([False]))
    assert with_shifts(quantiles, none, np.arange(1, 10), 100) is quantiles


@pytest.mark.parametrize("size", [-1000.0, 1000.0])
def test_a_shift_reaches_its_tail_and_not_the_middle(size):
    steps = np.arange(1, 91)
    quantiles = np.broadcast_to(500 + np.linspace(-3, 3, 7), (1, 90, 7)).copy()
    out = with_shifts(quantiles, one_shift(size), steps, 365)
    tail = 0 if size < 0 else -1
    assert abs(out[0, -1, tail] - 500) > 500
    assert abs(out[0, -1, MEDIAN] - 500) < 3
    np.testing.assert_allclose(out[0, 0], quantiles[0, 0], atol=0.2)
    assert (np.diff(out, axis=-1) >= 0).all()


def test_the_mixture_is_the_mixture():
    steps = np.array([10_000])
    quantiles = (100 + 10 * LEVELS)[None, None]
    out = with_shifts(quantiles, one_shift(1000.0), steps, 365)
    assert out[0, 0, 1] == pytest.approx(np.interp(0.10 / (1 - AGAIN), LEVELS, quantiles[0, 0]))


def test_a_forecast_without_a_band_keeps_none_but_for_the_tail():
    """A jump of the distribution is a jump, and not a slope between what is and what may come."""
    quantiles = np.full((1, 30, 7), 500.0)
    out = with_shifts(quantiles, one_shift(-400.0), np.arange(1, 31), 300)
    assert (out[0, :10] == 500).all()
    assert (out[0, -1, 2:] == 500).all()
    assert out[0, -1, 0] == 100


def test_what_grows_and_was_cleaned_up_is_so_again():
    steps = np.arange(1, 91)
    quantiles = np.broadcast_to(500 + np.linspace(-3, 3, 7), (1, 90, 7)).copy()
    once = one_shift(-100.0)
    cleaned = replace(once, cleanup=np.array([True]))
    plain, out = (with_shifts(quantiles, found, steps, 200)[0, -1] for found in (once, cleaned))
    came = 1 - 200 / 290
    assert plain[1] > 495  # within the nine in a hundred that any shift may claim
    assert out[2] < 440  # 25 %, and what comes with more than that
    assert abs(out[MEDIAN] - 500) < 3
    paths = jumping(np.full((1, 90, 480), 500.0), cleaned, steps, 200)
    assert (paths[0, -1] < 500).mean() == pytest.approx(min(came, CLEANED), abs=0.01)


def shifts_of(*sizes: float) -> Shifts:
    count = len(sizes)
    padded = np.array([[*sizes, *[0.0] * (MOST - count)]])
    return Shifts(np.array([count]), np.where(padded != 0, 50, -1), padded, np.array([False]))


def test_shifts_that_came_again_and_again_come_at_their_rate():
    steps = np.arange(1, 91)
    quantiles = np.broadcast_to(500 + np.linspace(-3, 3, 7), (1, 90, 7)).copy()
    out = with_shifts(quantiles, shifts_of(100.0, 90.0, 110.0), steps, 365)
    came = 1 - np.exp(-2 * 90 / 365)  # the first told that they may, two more how often
    assert out[0, -1, -2] > 580  # the 90 % quantile: came is .39
    assert out[0, -1, MEDIAN] < 505
    assert np.interp(550, out[0, -1], LEVELS) == pytest.approx(1 - came, abs=0.1)


@pytest.mark.parametrize("sizes", [(100.0,), (-100.0,), (100.0, 80.0), (90.0, -90.0, 100.0)])
def test_paths_shift_once_and_stay_as_often_as_the_quantiles_say(sizes):
    steps = np.arange(1, 91)
    futures = np.full((1, 90, 480), 500.0)
    out = jumping(futures, shifts_of(*sizes), steps, 365)
    moved = out != 500
    assert (np.diff(moved.astype(int), axis=1) >= 0).all()  # none comes back
    came = max(AGAIN, 1 - np.exp(-(len(sizes) - 1) * 90 / 365))
    assert moved[0, -1].mean() == pytest.approx(came, abs=0.01)
    of_each = {500 + size * times for size in sizes for times in SIZES}
    assert set(np.unique(out[0, -1]).round(6)) == {500.0, *np.round(sorted(of_each), 6)}


def test_paths_without_shifts_stay_as_they_are():
    futures = np.ones((1, 3, 4))
    none = Shifts(np.zeros(1, np.int64), np.full((1, MOST), -1), np.zeros((1, MOST)), np.array([False]))
    assert jumping(futures, none, np.arange(1, 4), 100) is futures
