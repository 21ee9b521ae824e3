"""Known answers for lines: other projects' regression vectors, recomputed, to a relative 1e-9."""

import numpy as np
import pytest

from capacity_kit.growth.lines import Moments, least_squares, line_of, robust_line, time_to

# NIST StRD Norris
# fmt: off
NORRIS = np.array([
    (0.2, 0.1), (337.4, 338.8), (118.2, 118.1), (884.6, 888.0), (10.1, 9.2), (226.5, 228.1), (666.3, 668.5),
    (996.3, 998.5), (448.6, 449.1), (777.0, 778.9), (558.2, 559.2), (0.4, 0.3), (0.6, 0.1), (775.5, 778.1),
    (666.9, 668.8), (338.0, 339.3), (447.5, 448.9), (11.6, 10.8), (556.0, 557.7), (228.1, 228.3),
    (995.8, 998.0), (887.6, 888.8), (120.2, 119.6), (0.3, 0.3), (0.3, 0.6), (556.8, 557.6), (339.1, 339.3),
    (887.2, 888.0), (999.0, 998.5), (779.0, 778.9), (11.1, 10.2), (118.3, 117.6), (229.2, 228.9),
    (669.1, 668.4), (448.9, 449.2), (0.5, 0.2),
])
# fmt: on


def close(value: float) -> object:
    return pytest.approx(value, rel=1e-9)


def test_prometheus_predict_linear():
    x = np.arange(0, 3001, 300)
    line = least_squares(x, [0, 10, 20, 30, 40, 0, 10, 20, 30, 40, 50])
    assert line.slope == close(0.010606060606060607)
    assert line.at(4200) == close(51.36363636363637)
    assert line.at(6600) == close(76.81818181818181)
    assert line.at(7800) == close(89.54545454545455)


def test_the_same_line_at_the_times_of_today():
    x = 1_764_000_000 + np.arange(0, 3001, 300.0)
    line = least_squares(x, [0, 10, 20, 30, 40, 0, 10, 20, 30, 40, 50])
    assert line.slope == close(0.010606060606060607)


def test_victoriametrics_deriv():
    x = np.array([5, 15, 24, 36, 49, 60, 78, 80, 97, 115, 120, 130]) / 1000
    line = least_squares(x, [123, 34, 44, 21, 54, 34, 99, 12, 44, 32, 34, 34])
    assert line.slope == close(-266.85860231406065)
    assert line.at(0.13) == close(30.382432471845043)
    assert line.at(0.23) == close(3.696572240438975)


def test_postgresql_regr_and_its_partial_states():
    moments = Moments.of([10, 20, 30, 80, 100], [150, 250, 350, 540, 200])
    assert (moments.sxx, moments.syy, moments.sxy) == (close(6280), close(95080), close(8680))
    whole = Moments(3, 60, 200, 750, 20000, 2000) + Moments(2, 180, 200, 740, 57800, -3400)
    assert whole == Moments(5, 240, close(6280), 1490, close(95080), close(8680))
    assert line_of(whole).slope == close(8680 / 6280)


def test_moments_add_up_with_nothing():
    some = Moments.of([1, 2], [3, 5])
    assert some + Moments.of([], []) == some == Moments.of([], []) + some


def test_nist_norris():
    line = least_squares(*NORRIS.T)
    assert line.intercept == close(-0.262323073774029)
    assert line.intercept_error == close(0.232818234301152)
    assert line.slope == close(1.00211681802045)
    assert line.slope_error == close(0.000429796848199937)
    assert line.residual == close(26.6173985294224)


def test_checkmk_time_until_full():
    assert time_to(2000, 150, 150 - 100) == 37


@pytest.mark.parametrize("slope", [0.0, -1.0, 1.0])
def test_zabbix_trap_above_the_level_no_time_is_left_whatever_the_slope(slope):
    assert time_to(90, 95, slope) == 0
    assert time_to(95, 95, slope) == 0


def test_a_line_that_does_not_rise_never_gets_there():
    assert time_to(90, 80, 0) == time_to(90, 80, -1) == float("inf")
    assert np.isnan(time_to(float("nan"), 80, 1))


def test_robust_line_is_not_tilted_by_a_few():
    x = np.arange(100.0)
    y = 5 + 2 * x
    y[[7, 40, 41, 80]] = 1e6
    line = robust_line(x, y)
    assert line.slope == close(2)
    assert line.intercept == close(5)


def test_robust_line_of_many_points():
    x = np.arange(100_000.0)
    assert robust_line(x, 3 * x - 1).slope == close(3)


def test_gaps_are_left_out():
    assert least_squares([0, 1, 2, 3], [0, np.nan, 2, np.inf]).slope == close(1)


@pytest.mark.parametrize("fit", [least_squares, robust_line])
@pytest.mark.parametrize("x", [[], [1], [2, 2, 2]])
def test_one_time_carries_no_line(fit, x):
    with pytest.raises(ValueError, match="two different times"):
        fit(x, x)
