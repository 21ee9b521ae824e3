"""The engine as a whole: its promises, its edges, and series whose future is known."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capacity_kit.growth import Calendar, forecast, learn
from capacity_kit.growth.backtest import backtest
from capacity_kit.growth.engine import FEWEST_POINTS, HEARD
from capacity_kit.growth.models import LEVELS, MEDIAN

CASES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
HORIZON = 20


@st.composite
def batches(draw):
    """Series of several kinds, lengths and magnitudes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = draw(
        st.lists(
            st.sampled_from(["walk", "counts", "steps", "flat", "cycle", "sawtooth", "teeth", "onboarding"]),
            min_size=1,
            max_size=4,
        )
    )
    return [series(kind, draw(st.integers(FEWEST_POINTS, 120)), rng) for kind in kinds]


def series(kind: str, length: int, rng: np.random.Generator) -> np.ndarray:
    t = np.arange(length)
    made = {
        "walk": lambda: 100 + rng.normal(0.1, 1, length).cumsum(),
        "counts": lambda: rng.poisson(0.3, length),
        "steps": lambda: np.where(t > length // 2, 900, 100) + rng.integers(0, 9, length),
        "flat": lambda: np.full(length, 42.0),
        "cycle": lambda: 50 + 9 * np.sin(2 * np.pi * t / 7) + rng.normal(0, 1, length),
        "sawtooth": lambda: 1.0 + t % 9,
        "teeth": lambda: 40 + 0.2 * t + t - np.maximum.accumulate(np.where(rng.random(length) < 0.12, t, 0)),
        "onboarding": lambda: 200 + rng.normal(0, 1, length) + 90 * (rng.random(length) < 0.03).cumsum(),
    }[kind]()
    return np.maximum(np.asarray(made, float), 0)


@CASES
@given(batches())
def test_quantiles_rise_and_stay_above_zero_and_a_series_that_moved_has_a_band(histories):
    quantiles = forecast(histories, HORIZON, 7).quantiles
    assert np.isfinite(quantiles).all()
    assert (quantiles >= 0).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    moved = np.array([np.ptp(h) > 0 for h in histories])
    assert (quantiles[moved, :, -1] > quantiles[moved, :, 0]).all()


@CASES
@given(batches(), st.sampled_from([1e-12, 2.0**-20, 3.0, 1e15]))
def test_scale_equivariance(histories, scale):
    plain = forecast(histories, HORIZON, 7)
    scaled = forecast([h * scale for h in histories], HORIZON, 7)
    size = np.array([max(h.max(), 1) for h in histories])
    np.testing.assert_allclose(
        scaled.quantiles / scale / size[:, None, None],
        plain.quantiles / size[:, None, None],
        rtol=1e-6,
        atol=1e-9,
    )


@CASES
@given(st.integers(0, 2**32 - 1), st.integers(FEWEST_POINTS, 200), st.floats(0, 1e7))
def test_shift_equivariance_away_from_zero(seed, length, by):
    """All but growth in proportion to the level, which has no meaning of its own far from zero: it becomes drift."""
    x = 1e6 + np.random.default_rng(seed).normal(0, 1, (2, length)).cumsum(axis=1)
    here, there = forecast(list(x), HORIZON, 7), forecast(list(x + by), HORIZON, 7)
    np.testing.assert_allclose(there.quantiles - by, here.quantiles, atol=1e-2)


@CASES
@given(batches(), st.integers(1, 300))
def test_whatever_the_horizon(histories, horizon):
    """Also many times the history: what is said stays finite, in order and of the same length."""
    said = forecast(histories, horizon, 7)
    assert said.quantiles.shape == (len(histories), horizon, len(LEVELS))
    assert np.isfinite(said.quantiles).all()
    assert (np.diff(said.quantiles, axis=-1) >= 0).all()
    reached = said.reached(said.last * 1.5 + 1)
    assert ((reached >= 0) & (reached <= 1)).all()
    assert (np.diff(reached, axis=1) >= 0).all()


@CASES
@given(batches(), st.randoms())
def test_order_and_company_change_nothing(histories, random):
    order = list(range(len(histories)))
    random.shuffle(order)
    together = forecast(histories, HORIZON, 7)
    shuffled = forecast([histories[i] for i in order], HORIZON, 7)
    # Sums over a batch may be rounded in another order: equal to far more than any figure shown, not to the bit.
    np.testing.assert_allclose(shuffled.quantiles, together.of(order).quantiles, rtol=1e-9)
    np.testing.assert_allclose(shuffled.peaks, together.of(order).peaks, rtol=1e-9)
    alone = forecast(histories[:1], HORIZON, 7)
    np.testing.assert_allclose(alone.quantiles, together.of([0]).quantiles, rtol=1e-9)


@CASES
@given(batches(), st.floats(0, 2))
def test_probabilities_are_probabilities(histories, part):
    said = forecast(histories, HORIZON, 7)
    low, high = said.reached(said.last * part), said.reached(said.last * part + 5)
    assert ((low >= 0) & (low <= 1)).all()
    assert (np.diff(low, axis=1) >= 0).all()
    assert (high <= low).all()


# What the engine is told, and where its median must be after 30 days and its runway to 200 must end, if anywhere.
KNOWN = {
    "linear": (lambda t: 40 + t, (128, 132), (96, 104)),
    "exponential": (lambda t: 20 * 1.02**t, (113, 125), (53, 60)),
    "flat": (lambda t: 50 + 0.5 * np.sin(t * 12.9898), (48, 52), None),
    "weekly": (lambda t: 50 + 6 * np.sin(2 * np.pi * t / 7), (42, 58), None),
    "cleanup": (lambda t: 40 + t - np.where(t >= 40, 45, 0), (82, 88), (135, 155)),
    "shrinking": (lambda t: 90 - 0.5 * t, (42, 48), None),
}


@pytest.mark.parametrize("a_day", [1, 4])
@pytest.mark.parametrize("name", KNOWN)
def test_known_futures(name, a_day):
    make, (low, high), days = KNOWN[name]
    said = forecast([make(np.arange(0, 60 + 1e-9, 1 / a_day))], 365 * a_day, 7 * a_day)
    assert low <= said.quantiles[0, 30 * a_day - 1, MEDIAN] <= high
    runway = said.runway([200])[0] / a_day
    if days:
        assert days[0] <= runway <= days[1]
    else:
        assert np.isinf(runway)


def test_bands_cover_what_they_say():
    rng = np.random.default_rng(8)
    kinds = {
        "walk": 1e4 + rng.normal(0, 1, (300, 395)).cumsum(axis=1),
        "noise": np.maximum(rng.normal(100, 10, (300, 395)), 0),
        "bursts": (rng.random((300, 395)) < 0.1).cumsum(axis=1) * 7.0,
    }
    for kind, x in kinds.items():
        quantiles = forecast(list(x[:, :365]), 30, 7).quantiles
        truth = x[:, 365:]
        inside = ((truth >= quantiles[..., 1]) & (truth <= quantiles[..., -2])).mean()
        assert 0.72 <= inside <= 0.93, (kind, inside)


@CASES
@given(batches(), st.integers(0, 40_000), st.lists(st.integers(0, 40_000), max_size=9))
def test_a_calendar_keeps_every_promise(histories, last, holidays):
    said = forecast(histories, HORIZON, 7, calendar=Calendar(last, holidays))
    assert np.isfinite(said.quantiles).all()
    assert (said.quantiles >= 0).all()
    assert (np.diff(said.quantiles, axis=-1) >= 0).all()
    np.testing.assert_allclose(said.weights.sum(axis=1), 1)
    alone = forecast(histories[:1], HORIZON, 7, calendar=Calendar([last], holidays))
    np.testing.assert_allclose(alone.quantiles, said.of([0]).quantiles, rtol=1e-9)


@CASES
@given(batches())
def test_paths_never_fall_below_zero_and_hold_the_peaks(histories):
    said = forecast(histories, HORIZON, 7, keep_paths=True)
    assert (said.paths >= 0).all()
    np.testing.assert_allclose(said.paths.max(axis=(1, 2)), said.peaks[:, -1].max(axis=1))


@pytest.mark.parametrize(
    "history",
    [[], [5.0], [1.0, 2.0, 3.0], [np.nan] * 50, [np.inf] * 50, [-1.0] * 50],
    ids=["empty", "one point", "three points", "all gaps", "infinite", "negative"],
)
def test_too_little_gives_no_forecast_rather_than_an_invented_one(history):
    said = forecast([history, np.arange(50.0)], HORIZON, 7)
    assert np.isnan(said.quantiles[0]).all()
    assert np.isnan(said.reached([99.0, 99.0])[0]).all()
    assert np.isnan(said.runway([99.0, 99.0])[0])
    assert np.isfinite(said.quantiles[1]).all()


def test_three_points_over_the_level_are_over_the_level():
    said = forecast([[90.0, 95.0, 99.0]], HORIZON)
    assert (said.reached(95) == 1).all()
    assert said.runway([95])[0] == 0


@pytest.mark.parametrize("value", [0.0, 7.5])
def test_a_constant_stays(value):
    said = forecast([np.full(100, value)], HORIZON, 7)
    assert (said.quantiles == value).all()
    assert (said.reached(value + 1) == 0).all()


def test_gaps_are_crossed_and_broken_values_are_counted():
    x = np.arange(100.0)
    x[[10, 40, 41]] = np.nan, np.inf, -5
    said = forecast([x], 10)
    assert (said.points[0], said.left_out[0]) == (97, 3)
    assert said.quantiles[0, -1, MEDIAN] == pytest.approx(109, abs=1)


def test_a_gap_of_months():
    x = np.arange(400.0)
    x[100:250] = np.nan
    assert forecast([x], 30, 7).quantiles[0, -1, MEDIAN] == pytest.approx(429)


def test_a_gap_at_the_beginning_is_not_a_past():
    x = np.arange(60.0)
    held = np.concatenate([np.full(40, np.nan), x])
    np.testing.assert_allclose(forecast([held], 10, 7).quantiles, forecast([x], 10, 7).quantiles)


def test_a_gap_at_the_end_is_forecast_too():
    """Steps count from the end of the history, and a level may have been reached within the gap."""
    t = np.arange(365)
    x = 100 + t + 3 * np.sin(t * 2 * np.pi / 7) + np.random.default_rng(4).normal(0, 1, t.size)
    now = forecast([x], 50, 7, keep_paths=True, weighed=30)
    then = forecast([np.append(x, np.full(20, np.nan))], 30, 7, keep_paths=True)
    np.testing.assert_allclose(then.quantiles, now.quantiles[:, 20:])
    np.testing.assert_allclose(then.paths, now.paths[:, 20:])
    assert (then.last, then.points, then.left_out) == (now.last, 365, 20)
    for level in (470, 490, 510):
        truth = (np.maximum.accumulate(now.paths, axis=1) >= level).mean(axis=-1)[:, 20:]
        np.testing.assert_allclose(then.reached([level])[:, then.marks - 1], truth[:, then.marks - 1])


def test_beside_others_a_gap_at_the_end_changes_nothing():
    x = np.random.default_rng(5).normal(1, 1, 200).cumsum()
    of = [x, np.append(x, np.nan), np.append(x[1:], np.nan), x[:190]]
    last = [700, 701, 701, 690]
    together = forecast(of, 40, 7, calendar=Calendar(last, ()))
    for i in range(4):
        alone = forecast([of[i]], 40, 7, calendar=Calendar([last[i]], ()))
        np.testing.assert_allclose(together.of([i]).quantiles, alone.quantiles)
    np.testing.assert_allclose(together.quantiles[1, :39], together.quantiles[0, 1:], rtol=0.02)
    assert np.isfinite(forecast([of[1], np.append(x, np.full(900, np.nan))], 1500, 7).peaks).all()


def test_a_horizon_much_longer_than_the_past():
    said = forecast([100 + np.arange(20.0), np.random.default_rng(0).random(20)], 2000, 7)
    assert np.isfinite(said.quantiles).all()
    assert said.quantiles[0, -1, MEDIAN] == pytest.approx(2119, rel=0.01)
    assert (np.diff(said.quantiles, axis=-1) >= 0).all()


def test_extremes_of_magnitude():
    t = np.arange(80.0)
    for scale in (1e-300, 1e-12, 1e15, 1e300):
        quantiles = forecast([scale * (10 + t % 7)], HORIZON, 7).quantiles
        assert np.isfinite(quantiles).all()
        assert quantiles.max() < 1e3 * scale


def test_ten_million_points_are_a_long_series_and_no_more():
    said = forecast([np.arange(10_000_000.0)], 30, 7)
    assert said.points[0] == 10_000_000
    assert said.quantiles[0, -1, MEDIAN] == pytest.approx(10_000_029)


def test_seven_quantiles_in_the_agreed_order():
    assert LEVELS.tolist() == [0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95]
    assert forecast([np.arange(50.0)], 3).quantiles.shape == (1, 3, 7)


def test_an_empty_batch():
    assert forecast([], HORIZON, 7).quantiles.shape == (0, HORIZON, 7)


def test_weights_sum_to_one():
    said = forecast([np.arange(300.0) % 24, np.arange(20.0)], 48, (24, 168))
    np.testing.assert_allclose(said.weights.sum(axis=1), 1)
    assert said.models[int(said.weights[0].argmax())] == "cycle of 24"


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="horizon"):
        forecast([np.arange(50.0)], 0)
    with pytest.raises(ValueError, match="season"):
        forecast([np.arange(50.0)], 5, 0)
    with pytest.raises(ValueError, match="at least one step, not -3"):
        forecast([np.arange(50.0)], 5, 7, weighed=-3)
    for horizon, seasons in ((5.0, 7), (5, 3.5), (5, (7, 3.5))):
        with pytest.raises(ValueError, match="whole numbers"):
            forecast([np.arange(50.0)], horizon, seasons)
    same = forecast([np.arange(50.0)], np.int64(5), np.int64(7))
    np.testing.assert_array_equal(same.quantiles, forecast([np.arange(50.0)], 5, 7).quantiles)
    with pytest.raises(ValueError, match="history 1 has 2 dimensions"):
        forecast([np.arange(50.0), np.ones((2, 50))], 5)


def test_series_learn_from_their_company():
    """Counts of mostly nothing, six weeks of each; then a year."""

    def loss(length, alone):
        x = np.random.default_rng(6).poisson(0.2, (200, length + 30)).astype(float)
        past, truth = list(x[:, :length]), x[:, length:, None]
        prior = learn(past, 30, 7)
        off = truth - (forecast(past, 30, 7) if alone else forecast(past, 30, 7, prior)).quantiles
        return np.maximum(LEVELS * off, (LEVELS - 1) * off).mean()

    assert loss(45, alone=False) < loss(45, alone=True)
    assert loss(365, alone=False) < loss(365, alone=True)


def test_one_batch_may_hold_members_of_several_companies():
    rng = np.random.default_rng(9)
    counts = list(rng.poisson(0.2, (20, 45)).astype(float))
    walks = list(500 + rng.normal(0, 1, (20, 45)).cumsum(axis=1))
    of_counts, of_walks = learn(counts, 20, 7), learn(walks, 20, 7)
    together = forecast(counts + walks, 20, 7, [of_counts] * 20 + [of_walks] * 20)
    np.testing.assert_allclose(
        together.quantiles[:20], forecast(counts, 20, 7, of_counts).quantiles, rtol=1e-9
    )
    np.testing.assert_allclose(together.quantiles[20:], forecast(walks, 20, 7, of_walks).quantiles, rtol=1e-9)
    tested = backtest(counts + walks, 5, 7, 1, [of_counts] * 20 + [of_walks] * 20)
    np.testing.assert_allclose(tested.of(30).error, backtest([walks[10]], 5, 7, 1, of_walks).error, rtol=1e-9)
    with pytest.raises(ValueError, match="2 histories but 1 priors"):
        forecast(counts[:2], 20, 7, [of_counts])


def test_a_prior_makes_chunks_of_one_company_agree():
    x = list(np.random.default_rng(7).normal(50, 5, (6, 40)))
    prior = learn(x, 10, 7)
    assert prior.series == 6
    assert min(prior.disadvantage.values()) >= 0
    together = forecast(x, 10, 7, prior).quantiles
    apart = np.concatenate([forecast(x[:2], 10, 7, prior).quantiles, forecast(x[2:], 10, 7, prior).quantiles])
    np.testing.assert_allclose(apart, together, rtol=1e-9)


def test_nobody_to_learn_from():
    assert learn([[1.0, 2.0]], 10, 7).series == 0
    assert learn([], 10, 7).series == 0


def test_a_company_of_one_says_nothing_new():
    x = [np.random.default_rng(9).normal(50, 5, 60)]
    alone, company = forecast(x, 10, 7), forecast(x, 10, 7, learn(x, 10, 7))
    np.testing.assert_array_equal(alone.quantiles, company.quantiles)


def test_of_a_large_company_some_are_heard():
    assert learn(list(np.random.default_rng(9).normal(50, 5, (1000, 40))), 10, 7).series == HEARD


def test_a_single_spike_is_no_new_level_but_two_values_are():
    x = np.random.default_rng(10).normal(50, 1, 200)
    spike, shift = x.copy(), x.copy()
    spike[-1] += 30
    shift[-2:] += 30
    median = forecast([spike, shift], 7, 7).quantiles[:, -1, MEDIAN]
    assert median == pytest.approx([50, 80], abs=3)


def test_the_regime_is_told_in_the_histories_own_index():
    x = 40 + np.arange(61.0) - np.where(np.arange(61) >= 40, 45, 0)
    said = forecast([x, np.concatenate([np.full(9, np.nan), x]), np.arange(61.0)], 10)
    assert said.regime_start.tolist() == [40, 49, 0]
    assert said.shifts.tolist() == [1, 1, 0]


def test_over_a_year_a_week_stays_a_week():
    """Steps that are read off between others would smear it."""
    t = np.arange(400 + 365)
    x = 100 + 20 * np.sin(2 * np.pi * t / 7)
    median = forecast([x[:400]], 365, 7).quantiles[0, :, MEDIAN]
    np.testing.assert_allclose(median, x[400:], atol=2)


def test_the_first_steps_of_a_longer_forecast():
    x = list(np.random.default_rng(12).normal(0, 1, (3, 300)).cumsum(axis=1) + 100)
    long, short = forecast(x, 120, 7), forecast(x, 30, 7, weighed=120)
    np.testing.assert_allclose(short.weights, long.weights)
    band = np.ptp(long.quantiles[:, :30], axis=-1)[..., None]
    assert (np.abs(short.quantiles - long.quantiles[:, :30]) < 0.1 * band).all()  # other lags are drawn
    assert not np.allclose(forecast(x, 30, 7).weights, long.weights)
