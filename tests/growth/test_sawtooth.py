"""A sawtooth reaches a level when its envelope does, and not when a tooth drawn on would."""

import numpy as np
import pytest

from capacity_kit.growth import forecast
from capacity_kit.growth.models import LEVELS, MEDIAN, Past
from capacity_kit.growth.regimes import resets
from capacity_kit.growth.sawtooth import envelope, growth_and_resets

AHEAD = 90


def sawtooth(seed: int, tooth: int = 30, rise: float = 0.0, days: int = 365) -> np.ndarray:
    """Grows by about 1 a day, is reset every `tooth` days or some more or less; its foot rises by `rise` a day."""
    rng = np.random.default_rng(seed)
    made, grown, left = [], 0.0, 0
    for day in range(days):
        grown += max(0.0, 1 + 0.3 * rng.normal())
        left -= 1
        if left <= 0:
            grown, left = 0.0, tooth + int(rng.integers(-tooth // 6, tooth // 6 + 1))
        made.append(100 + rise * day + grown)
    return np.array(made)


def several(**how) -> tuple[list[np.ndarray], np.ndarray]:
    whole = np.array([sawtooth(seed, days=365 + AHEAD, **how) for seed in range(40)])
    return list(whole[:, :365]), whole[:, 365:]


@pytest.mark.parametrize("tooth", [12, 30, 60])
def test_a_flat_envelope_below_the_level_does_not_reach_it(tooth):
    past, _ = several(tooth=tooth)
    peak = np.array([x.max() for x in past])
    reached = forecast(past, AHEAD, 7).reached(peak + tooth / 2)
    assert reached[:, -1].mean() < 0.1
    # the same teeth, one drawn on for as long
    drawn_on = forecast([np.arange(100.0, 100 + tooth)], AHEAD, 7).reached([100 + tooth * 1.5])
    assert drawn_on[0, -1] == 1


@pytest.mark.parametrize(("tooth", "most"), [(12, 0.05), (20, 0.1), (33, 0.3), (40, 0.3)])
def test_a_hundred_days_of_teeth_have_an_envelope_too(tooth, most):
    """Two to eight resets: what other models would draw on is taken back again."""
    rng = np.random.default_rng(5)
    day = np.arange(100) + rng.integers(tooth, size=(60, 1))
    grown = rng.gamma(2, 1, day.shape).cumsum(axis=1)
    foot = np.maximum.accumulate(np.where(day % tooth == 0, grown, 0), axis=1)
    x = 100 + grown - foot + rng.normal(0, 0.2, day.shape)
    reached = forecast(list(x), AHEAD, 7).reached(1.15 * x.max(axis=1))
    assert reached[:, -1].mean() < most  # it was .16 to .76


def test_a_rising_envelope_crosses_when_it_does():
    past, truth = several(rise=0.3)
    level = np.array([x[-120:].max() for x in past]) + 10
    came = (truth >= level[:, None]).argmax(axis=1) + 1
    said = forecast(past, AHEAD, 7)
    assert (truth.max(axis=1) >= level).all()
    assert np.abs(said.runway(level) - came).mean() < 12
    assert said.reached(level)[:, -1].mean() > 0.9


def test_it_says_where_in_its_tooth_it_will_be():
    """Its resets, and the height it has now, make it far surer than gains since any time whatever."""
    past, truth = several()
    said = forecast(past, AHEAD, 7)
    assert said.weights[:, said.models.index("growth and resets")].mean() > 0.8
    off = truth[..., None] - said.quantiles
    assert np.maximum(LEVELS * off, (LEVELS - 1) * off).mean() < 2.0  # 3.1 without the model
    inside = (truth >= said.quantiles[..., 1]) & (truth <= said.quantiles[..., -2])
    assert 0.72 < inside.mean() < 0.9


def test_an_exact_sawtooth_is_no_riddle():
    x = 100.0 + np.arange(300) % 17
    quantiles = forecast([x], 60, 7).quantiles[0]
    np.testing.assert_allclose(quantiles[:, MEDIAN], 100 + np.arange(300, 360) % 17, atol=0.5)


def test_resets_are_found_where_they_are():
    x = 50.0 + np.arange(100) % 20
    found = resets(np.array([x, x[::-1], np.arange(100.0)]))
    assert list(found) == [0]
    assert found[0].tolist() == [20, 40, 60, 80]


def test_a_cleanup_that_takes_days_is_one_reset():
    tooth = np.concatenate([np.arange(30.0), [15.0]])
    assert resets(np.tile(tooth, 6)[None])[0].tolist() == [30, 61, 92, 123, 154, 185]


def test_walks_noise_counts_and_bursts_are_no_sawteeth():
    rng = np.random.default_rng(2)
    noise = rng.normal(100, 9, (200, 365))
    kinds = [noise, noise.cumsum(axis=1), rng.poisson(0.5, noise.shape), rng.pareto(2, noise.shape)]
    assert sum(len(resets(np.asarray(kind, float))) for kind in kinds) == 0
    assert resets(50 + 9 * np.sin(2 * np.pi * np.arange(365) / 30)[None]) == {}


def test_resets_that_have_ended_are_none():
    teeth = 50.0 + np.arange(100) % 20
    assert resets(np.concatenate([teeth, 70 + np.arange(60.0)])[None]) == {}


def test_too_short_for_teeth():
    assert resets(np.array([[1.0, 2, 1, 2, 1, 2]])) == {}


def test_the_envelope_is_the_line_of_the_peaks():
    t = np.arange(100)
    x = 50.0 + t % 20 + 0.1 * t
    found = resets(x[None])[0]
    np.testing.assert_allclose(envelope(x, found, np.array([0, 20])), [50 + 19 + 9.9, 50 + 19 + 11.9])


def test_other_series_are_left_to_other_models():
    t = np.arange(100.0)
    past = Past(np.array([50 + t % 20, t]))
    out = growth_and_resets(past, 99, np.array([1, 5]))
    assert np.isfinite(out[0]).all()
    assert np.isnan(out[1]).all()
    said = forecast([50 + t % 20, t], 10, 7)
    assert said.weights[1, said.models.index("growth and resets")] == 0


def test_before_its_second_reset_it_knows_of_none():
    past = Past(50.0 + np.arange(100)[None] % 20)
    assert (growth_and_resets(past, 30, np.array([1, 5]))[0] == past.x[0, 30]).all()
