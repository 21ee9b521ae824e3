"""The engine judged on the past."""

from dataclasses import replace

import numpy as np
import pytest

from capacity_kit.growth import Forecast, forecast, learn
from capacity_kit.growth.backtest import backtest


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
    found = backtest([100 + t, 100 + t % 7], 60, 7, levels=[350.0, 200.0]).announcements()
    assert found.reached == found.announced == found.warned > 0
    assert (found.recall, found.precision) == (1, 1)


def test_no_limit_no_announcement():
    found = backtest([np.arange(300.0)], 60, 7, levels=[np.nan]).announcements()
    assert (found.reached, found.warned) == (0, 0)
    assert np.isnan(found.recall)
    assert np.isnan(found.precision)


def test_origins_of_ones_own_choice():
    x = np.random.default_rng(3).random(200).cumsum()
    chosen = backtest([x, x[:100]], 30, 7, origins=[[169, 139], [98]])
    assert chosen.series.tolist() == [0, 0, 1]
    assert chosen.origin.tolist() == [169, 139, 98]
    by_itself = backtest([x], 30, 7, origins=2)
    np.testing.assert_array_equal(chosen.of(0).error, by_itself.error)
    # of 30 days after day 98 of 100 one is known
    assert np.isfinite(chosen.error[2]).tolist() == [True] + [False] * 29
    assert np.isnan(chosen.inside[2, 1:]).all()


def test_an_origin_outside_its_history_is_named():
    with pytest.raises(ValueError, match="history 1 has 5 values"):
        backtest([np.arange(50.0), np.arange(5.0)], 3, origins=[[40], [5]])
    with pytest.raises(ValueError, match="1 histories but 2 lists"):
        backtest([np.arange(50.0)], 3, origins=[[40], [5]])


def test_a_prior_is_used():
    x = list(np.random.default_rng(6).poisson(0.2, (40, 75)).astype(float))
    prior = learn([own[:45] for own in x], 30, 7)
    origins = [[44]] * len(x)
    with_company = backtest(x, 30, 7, origins=origins, prior=prior)
    assert with_company.pinball.mean() < backtest(x, 30, 7, origins=origins).pinball.mean()
    expected = forecast([x[0][:45]], 30, 7, prior).quantiles[0, :, 3]
    np.testing.assert_allclose(with_company.error[0], x[0][45:] - expected)


def test_levels_are_announced_or_not():
    t = np.arange(300.0)
    origins = [[200], [200, 250, 280], [200], [295]]
    histories = [100 + t, 100 + t % 7, 100 + t, 100 + t]
    tested = backtest(histories, 60, 7, origins, levels=[350.0, 200.0, 250.0, 500.0])
    nan = np.nan
    np.testing.assert_array_equal(
        tested.came, [1, 0, nan, nan, nan, nan]
    )  # unknown ends, and one already there
    np.testing.assert_allclose(tested.probability[:4], [1, 0, 0, 0], atol=0.05)
    assert np.isnan(tested.probability[4])
    found = tested.announcements()
    assert (found.reached, found.announced, found.warned, found.false) == (1, 1, 1, 0)
    assert tested.of(1).announcements().reached == 0


def test_a_warning_that_does_not_come_true_is_counted():
    x = np.concatenate([100 + np.arange(200.0), np.full(60, 299.0)])
    found = backtest([x], 60, 7, [[199]], levels=[330.0]).announcements()
    assert (found.reached, found.warned, found.false, found.precision) == (0, 1, 1, 0)


def test_without_levels_nothing_is_announced():
    with pytest.raises(ValueError, match="levels"):
        backtest([np.arange(200.0)], 30).announcements()


def test_what_becomes_of_the_forecasts_is_what_is_scored():
    x = [np.random.default_rng(2).normal(100, 5, 80)]
    seen = []

    def raised(said: Forecast) -> Forecast:
        seen.append(said)
        return replace(said, quantiles=said.quantiles + 1000)

    plain, moved = backtest(x, 10, 7, 2), backtest(x, 10, 7, 2, moved=raised)
    assert seen[0].paths is not None
    assert len(seen[0].last) == len(moved.origin)
    np.testing.assert_allclose(moved.error, plain.error - 1000)
    assert not moved.inside.any()
