"""Measurements as they come, onto a grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capacity_kit.growth.series import rates, regular

NAN = float("nan")


def test_last_mean_and_max_of_a_bin():
    times, values = [0, 10, 59, 60, 200], [1.0, 5.0, 3.0, 7.0, 9.0]
    np.testing.assert_array_equal(regular(times, values, 60).values, [3, 7, NAN, 9])
    np.testing.assert_array_equal(regular(times, values, 60, "mean").values, [3, 7, NAN, 9])
    np.testing.assert_array_equal(regular(times, values, 60, "max").values, [5, 7, NAN, 9])


def test_a_gap_of_months_is_a_gap():
    grid = regular([0, 86400 * 90], [1, 2], 86400)
    assert grid.values.size == 91
    assert np.isnan(grid.values[1:-1]).all()


def test_late_doubled_and_broken_measurements():
    grid = regular([120, 0, 60, 60, 30, NAN], [3.0, 1.0, 2.0, 20.0, np.inf, 5.0], 60)
    np.testing.assert_array_equal(grid.values, [1, 20, 3])
    assert grid.left_out == 3


def test_bins_begin_at_multiples_of_the_step():
    assert regular([125], [1], 60).start == 120
    assert regular([-5], [1], 60).start == -60


@given(st.permutations(range(20)))
def test_order_of_arrival_does_not_matter(order):
    times = np.arange(20) * 37.0
    values = np.sqrt(times)
    shuffled = regular(times[order], values[order], 60)
    np.testing.assert_array_equal(shuffled.values, regular(times, values, 60).values)


def test_ten_million_points():
    times = np.arange(10_000_000.0)
    assert regular(times, times, 3600).values[-1] == 9_999_999


def test_nothing_gives_nothing():
    assert regular([], [], 60).values.size == 0


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="2 times but 1 values"):
        regular([1, 2], [1], 60)
    with pytest.raises(ValueError, match="positive"):
        regular([1], [1], 0)
    with pytest.raises(ValueError, match="median"):
        regular([1], [1], 60, "median")
    with pytest.raises(ValueError, match="another unit"):
        regular([0, 1e30], [1, 2], 1)


def test_a_reset_of_a_counter_is_no_negative_rate():
    times, rate = rates([0, 10, 20, 30], [100, 200, 50, 60])
    np.testing.assert_array_equal(times, [10, 20, 30])
    np.testing.assert_array_equal(rate, [10, 5, 1])


def test_times_of_a_counter_must_rise():
    with pytest.raises(ValueError, match="rise"):
        rates([0, 0], [1, 2])
    with pytest.raises(ValueError, match="3 times but 2 totals"):
        rates([0, 1, 2], [1, 2])
