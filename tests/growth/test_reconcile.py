"""Parts and whole agree."""

import numpy as np
import pytest

from capacity_kit.growth import forecast
from capacity_kit.growth.models import MEDIAN
from capacity_kit.growth.reconcile import reconcile

PARTS = np.array([[10.0, 20.0], [30.0, 40.0]])


def test_what_agrees_already_stays():
    parts, whole = reconcile(PARTS, np.array([40.0, 60.0]), np.ones((2, 1)), np.ones(1))
    np.testing.assert_array_equal(parts, PARTS)
    np.testing.assert_array_equal(whole, [40, 60])


def test_the_closed_form_is_the_minimum():
    rng = np.random.default_rng(0)
    b, y, v, v0 = rng.uniform(50, 90, 5), 400.0, rng.uniform(1, 9, 5), 3.0
    parts, whole = reconcile(b, np.array(y), v, np.array(v0))

    def cost(x):
        return ((x - b) ** 2 / v).sum() + (x.sum() - y) ** 2 / v0

    assert whole == pytest.approx(parts.sum())
    for _ in range(200):
        assert cost(parts) <= cost(parts + rng.normal(0, 0.1, 5))


def test_the_certain_are_not_moved():
    parts, _ = reconcile(PARTS, np.array([50.0, 80.0]), np.array([[0.0], [4.0]]), np.zeros(1))
    np.testing.assert_allclose(parts, [[10, 20], [40, 60]])
    parts, whole = reconcile(PARTS, np.array([50.0, 80.0]), np.ones((2, 1)), np.array([np.inf]))
    np.testing.assert_allclose(parts, PARTS)
    np.testing.assert_allclose(whole, [40, 60])


def test_nothing_falls_below_zero_and_the_sum_still_holds():
    parts, whole = reconcile(PARTS, np.array([5.0, 5.0]), np.array([[9.0], [1.0]]), np.zeros(1))
    assert (parts >= 0).all()
    np.testing.assert_allclose(parts.sum(axis=0), whole)


def test_all_certain_and_at_odds_the_parts_win():
    parts, whole = reconcile(PARTS, np.array([0.0, 0.0]), np.zeros((2, 1)), np.zeros(1))
    np.testing.assert_array_equal(parts, PARTS)
    np.testing.assert_array_equal(whole, [40, 60])


def test_paths_have_the_quantiles_of_the_forecast_at_every_step():
    x = 100 + np.random.default_rng(2).normal(0.2, 1, (3, 300)).cumsum(axis=1)
    for horizon in (40, 400):
        said = forecast(list(x), horizon, 7, keep_paths=True)
        middle = np.median(said.paths, axis=-1)
        band = said.quantiles[..., -2] - said.quantiles[..., 1]
        assert (np.abs(middle - said.quantiles[..., MEDIAN]) <= 0.1 * band).all()
