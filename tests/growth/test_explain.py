"""A forecast in a sentence."""

import numpy as np

from capacity_kit.growth import forecast
from capacity_kit.growth.backtest import backtest
from capacity_kit.growth.explain import explain


def gigabytes(value: float) -> str:
    return f"{value:.1f} GB"


def test_growth_is_said_by_the_day():
    x = 40 + 1.2 * np.arange(300.0)
    said = explain(forecast([x], 30, 7), 0, gigabytes, "day", backtest([x], 30, 7))
    assert said.startswith("+1.2 GB a day; ")
    assert "not to be trusted" not in said
    assert said.endswith("4 origins backtested.")


def test_shifts_are_named():
    x = 40 + np.arange(61.0) - np.where(np.arange(61) >= 40, 45, 0)
    assert "level shifts taken out (1)" in explain(forecast([x], 30, 7), 0)


def test_doubts_are_said():
    rng = np.random.default_rng(0)
    x = rng.exponential(1, 40) * (rng.random(40) < 0.5)
    said = explain(forecast([x], 30, 7), 0, tested=backtest([x], 30, 7))
    assert "not to be trusted far: the band is wider than the value itself" in said
    assert "the record is shorter than two horizons" in said
    assert "only 0 origins could be backtested" in said


def test_too_little_is_said_to_be_too_little():
    assert explain(forecast([[1.0, 2.0]], 30), 0).startswith("No forecast: 2 usable measurements")
