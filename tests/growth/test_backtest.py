"""The engine judged on the past."""

import numpy as np
import pytest

from capacity_kit.growth import forecast
from capacity_kit.growth.backtest import announcements, backtest


def test_each_origin_sees_nothing_after_itself():
    x = np.random.default_rng(0).random(200).cumsum()
    scored = backtest([x], 30, 7, origins=2)
    assert scored.origin.tolist() == [169, 139]
    alone = forecast([x[:140]], 30, 7).quantiles[0]
    np.testing.assert_allclose(scored.error[1], x[140:170] - alone[:, 3])
    later = np.concatenate([x[:170], np.full(30, 1e9)])
    np.testing.assert_allclose(backtest([later], 30, 7, origins=2).error[1], scored.error[1])


def test_a_straight_line_is_no_riddle():
    scored = backtest([5 + 2 * np.arange(200.0)], 30, 7)
    assert scored.mean_absolute_error() == pytest.approx(np.zeros(30), abs=1e-6)
    assert (scored.pinball < 1e-2).all()


def test_noise_is_covered():
    x = np.random.default_rng(1).normal(100, 5, (60, 300))
    scored = backtest(list(x), 20, 7)
    assert 0.72 < scored.coverage().mean() < 0.92
    assert (scored.of(7).series == 7).all()


def test_too_short_a_record_has_no_rows():
    scored = backtest([np.arange(20.0), []], 30, 7)
    assert scored.error.shape == (0, 30)
    assert np.isnan(scored.coverage()).all()


def test_gaps_in_the_truth_are_not_scored():
    x = np.arange(200.0)
    x[180] = np.nan
    assert np.isnan(backtest([x], 30, 7).error[0]).sum() == 1


def test_what_grows_steadily_is_announced_and_what_stands_still_is_not_warned_of():
    t = np.arange(300.0)
    found = announcements([100 + t, 100 + t % 7], [350.0, 200.0], 60, 7)
    assert found.reached == found.announced == found.warned > 0
    assert (found.recall, found.precision) == (1, 1)


def test_no_limit_no_announcement():
    found = announcements([np.arange(300.0)], [np.nan], 60, 7)
    assert (found.reached, found.warned) == (0, 0)
    assert np.isnan(found.recall)
    assert np.isnan(found.precision)
