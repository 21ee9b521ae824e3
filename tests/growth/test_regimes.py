"""Level shifts found, and what is no shift left alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from capacity_kit.growth.regimes import levelled, shifts


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
