"""Level shifts found, and what is no shift left alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capacity_kit.growth.regimes import Regime, dated, levelled, pace, resets, shifts


def test_a_cleanup_is_found_and_taken_out():
    t = np.arange(61.0)
    x = (40 + t - 45 * (t >= 40))[None]
    found = shifts(x)
    assert found.count[0] == 1
    assert found.at[0, 0] == found.regime_start[0] == 40
    assert found.size[0, 0] == -44
    np.testing.assert_allclose(np.diff(levelled(x, found)[0])[[38, 40]], 1)
    assert levelled(x, found)[0, -1] == x[0, -1]


def test_an_onboarding_and_a_cleanup():
    x = np.random.default_rng(1).normal(0, 1, (1, 300)).cumsum(axis=1) + 500
    x[:, 100:] += 120
    x[:, 220:] -= 90
    found = shifts(x)
    assert set(found.at[0, : found.count[0]]) == {100, 220}
    assert found.regime_start[0] == 220


def cleaned_up(*days: int) -> np.ndarray:
    """Grows by about 1 a day; on each of some days 60 go."""
    x = 200 + np.random.default_rng(1).normal(1, 0.1, 200).cumsum()
    for day in days:
        x[day:] -= 60
    return x


def test_a_cleanup_is_a_shift_and_two_are_resets():
    one, two = cleaned_up(80)[None], cleaned_up(80, 150)[None]
    assert shifts(one).count[0] == 1
    assert shifts(one).cleanup[0]
    assert not resets(levelled(one, shifts(one)))
    assert shifts(two).count[0] == 0
    assert resets(two)[0].tolist() == [80, 150]
    (found,) = dated([two[0]], 7)
    assert [(r.start, r.kind) for r in found] == [(80, "reset"), (150, "reset")]
    assert all(-60 < r.size < -58 for r in found)


def test_falls_that_nothing_had_grown_between_are_shifts():
    close = cleaned_up(80, 90)[None]
    assert shifts(close).at[0, :2].tolist() in ([80, 90], [90, 80])
    assert not resets(levelled(close, shifts(close)))


def test_what_falls_and_does_not_grow_is_no_cleanup():
    x = np.random.default_rng(2).normal(0, 0.1, (1, 200)).cumsum(axis=1) + 500
    x[:, 100:] -= 10
    assert shifts(x).count[0] == 1
    assert not shifts(x).cleanup[0]


def test_an_onboarding_shows_through_a_noisy_week():
    t = np.arange(250)
    noise = np.random.default_rng(3).normal(0, 1, (20, 250))
    before = 20 + 5 * np.sin(2 * np.pi * t / 7) + noise
    after = before + 20 * (t >= 151)
    assert shifts(after).count.sum() == 0  # no step stands apart from those within the week
    found = shifts(after, 7)
    assert (found.count == 1).mean() > 0.9
    there = found.count == 1
    assert (np.abs(found.at[there, 0] - 151) <= 1).all()
    assert found.size[there, 0] == pytest.approx(20, abs=2)
    assert shifts(before, 7).count.sum() == 0


def test_a_weekly_sawtooth_is_the_way_it_moves():
    t = np.arange(300)
    assert shifts((t % 7.0)[None]).count[0] == 0


def test_in_a_series_that_hardly_moves_a_step_is_all_there_is():
    x = np.zeros((1, 100))
    x[:, 50:] = 10
    x[:, 70:] += 0.01
    assert shifts(x).count[0] == 0


def test_noise_has_no_shifts():
    x = np.random.default_rng(2).normal(100, 5, (500, 365))
    assert shifts(x).count.mean() < 0.01
    assert shifts(x.cumsum(axis=1)).count.mean() < 0.01


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6))
def test_scale_and_level_do_not_matter(seed, scale):
    x = np.random.default_rng(seed).integers(0, 50, (3, 60)).astype(float)
    x[0, 30:] += 5000
    assert (shifts(x).at == shifts(x * scale).at).all()
    assert (shifts(x).at == shifts(x + 1024).at).all()


def test_the_last_value_alone_is_no_regime():
    x = np.random.default_rng(3).normal(50, 1, (1, 200))
    x[:, -1] += 30
    assert shifts(x).count[0] == 0
    x[:, -2] += 30
    assert shifts(x).at[0, 0] == 198


def test_too_short_to_tell():
    assert shifts(np.ones((2, 3))).count.tolist() == [0, 0]


T = np.arange(365)


def slopes(x, cycle=7):
    return [r for r in dated([x], cycle)[0] if r.kind == "slope"]


def test_growth_that_becomes_another_is_dated():
    noise = np.random.default_rng(4).normal(0, 3, (50, 365))
    found = [slopes(1000 + T + 1.5 * np.maximum(T - 250, 0) + own) for own in noise]
    assert [len(one) for one in found].count(1) >= 48
    starts, sizes = np.array([(one[-1].start, one[-1].size) for one in found if one]).T
    assert np.median(np.abs(starts - 250)) <= 3
    assert np.median(np.abs(sizes - 1.5)) < 0.1


def test_growth_that_ends_and_begins_again():
    x = (
        100
        + np.interp(T, [0, 120, 240, 364], [0, 240, 240, 480])
        + np.random.default_rng(0).normal(0, 1, 365)
    )
    (ends, begins) = slopes(x)
    assert (ends.start, begins.start) == pytest.approx((120, 240), abs=3)
    assert (ends.size, begins.size) == pytest.approx((-2, 2), abs=0.1)


def test_a_shift_and_a_slope_are_told_apart_and_come_in_order():
    x = 500 + T + 2.0 * np.maximum(T - 120, 0) - 300 * (T >= 250) + np.random.default_rng(1).normal(0, 1, 365)
    slope, level = dated([x], 7)[0]
    assert (slope.kind, level.kind, level.start) == ("slope", "level", 250)
    assert slope.start == pytest.approx(120, abs=3)
    assert level.size == pytest.approx(-300, abs=6)


def test_what_does_not_change_its_slope_is_not_said_to():
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 1, (200, 365))
    lean = noise.copy()
    for day in range(1, 365):
        lean[:, day] += 0.95 * lean[:, day - 1]
    kinds = {
        "noise": 500 + T + 5 * noise,
        "walk": 1000 + noise.cumsum(axis=1),
        "slow noise": 100 + lean,
        "week": 100 + T + 9 * np.sin(2 * np.pi * T / 7) + noise,
        "bursts": 10.0 * (rng.random(noise.shape) < 0.05).cumsum(axis=1),
        "counts": rng.poisson(0.3, noise.shape),
        "compound": 100 * 1.005**T + noise,
        "sawtooth": np.tile(100.0 + T % 40, (3, 1)),
    }
    for kind, x in kinds.items():
        said = [any(r.kind == "slope" for r in one) for one in dated(list(x), 7)]
        assert np.mean(said) <= 0.03, kind


@pytest.mark.parametrize("days", [10, 25, 60, 90])
def test_growth_that_became_another_lately_is_dated(days):
    noise = np.random.default_rng(6).normal(0, 1, (50, 365))
    x = 100 + 0.2 * T + 4.8 * np.maximum(T - (365 - days), 0) + noise
    assert not shifts(x, 7).count.any()  # ten days of growth are no step from one week to the next
    newest = [slopes(own)[-1] for own in x if slopes(own)]
    assert len(newest) >= 48
    starts, sizes = np.array([(one.start, one.size) for one in newest]).T
    assert np.abs(np.median(starts) - (365 - days)) <= 2
    assert np.median(sizes) == pytest.approx(4.8, rel=0.05)


def test_a_new_pace_is_not_found_in_what_has_none():
    noise = np.random.default_rng(7).normal(0, 1, (200, 365))
    bursts = np.random.default_rng(8).pareto(1.5, noise.shape).cumsum(axis=1)
    for x in (noise, noise.cumsum(axis=1), bursts, 100 * 1.005**T + noise, 10 * 1.05**T + 0 * noise):
        assert (pace(x, 7).stretch > 0).mean() <= 0.01


def test_a_new_pace_is_one_whatever_the_unit_and_way():
    x = 500 + 0.2 * T + 4.8 * np.maximum(T - 340, 0) + np.random.default_rng(9).normal(0, 1, (20, 365))
    up, down = pace(x), pace(1024 * (9000 - x))
    np.testing.assert_array_equal(up.stretch, down.stretch)
    np.testing.assert_allclose(up.slope, -down.slope / 1024)
    np.testing.assert_allclose(up.plain, down.plain)
    assert (pace(x[:, :20]).stretch == 0).all()


def test_gaps_and_a_late_beginning_do_not_move_dates():
    x = 100 + T + 3.0 * np.maximum(T - 200, 0)
    held = np.concatenate([np.full(40, np.nan), x])
    held[[100, 101, 300]] = np.nan, -1, np.inf
    (found,) = dated([held], 7)[0]
    assert found.start == pytest.approx(240, abs=1)
    assert found.size == pytest.approx(3)


def test_nothing_little_or_constant_has_no_regimes():
    histories = [[], [1.0], [np.nan] * 99, np.arange(11.0), np.full(400, 7.0), np.zeros(400)]
    assert dated(histories) == [()] * len(histories)


def test_a_regime_does_not_depend_on_unit():
    x = 100 + T + 3.0 * np.maximum(T - 200, 0) + np.random.default_rng(0).normal(0, 1, 365)
    (plain,) = dated([x], 7)[0]
    for scale in (1e-12, 1e15):
        (scaled,) = dated([x * scale], 7)[0]
        assert scaled == Regime(plain.start, "slope", pytest.approx(plain.size * scale))


def test_a_million_points_are_dated_as_few_are():
    t = np.arange(1_000_000.0)
    (found,) = dated([t + np.maximum(t - 600_000, 0)])[0]
    assert found == Regime(600_000, "slope", pytest.approx(1.0))
