"""Thresholds against history: every expected number is counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from capacity_kit.alerting import policy

DAY = pd.Timedelta(days=1)


def days(*shares: float) -> pd.DataFrame:
    """One measurement a day from 2026-01-01."""
    times = pd.date_range("2026-01-01", periods=len(shares), freq="D", tz="UTC")
    return pd.DataFrame({"measured_at": times, "utilization": np.array(shares, dtype=float)})


def on(day: int) -> pd.Timestamp:
    return pd.Timestamp("2026-01-01", tz="UTC") + (day - 1) * DAY


def replay(
    measured: pd.DataFrame, level: float = 80, target: float = 90, horizon: int = 5, lead: int = 1
) -> policy.Replay:
    as_of = measured["measured_at"].iloc[-1]
    return policy.replay(
        measured, level=level, target=target, horizon=horizon * DAY, lead_time=lead * DAY, as_of=as_of
    )


def test_a_breach_is_at_or_past_the_level_and_never_unknown():
    assert policy.breaches([79.9, 80.0, np.nan, 95.0], 80).tolist() == [False, True, False, True]
    assert policy.breaches(85.0, 80).tolist() is True


def test_an_episode_runs_from_the_first_breach_to_the_first_measurement_below():
    measured = days(70, 82, 88, 79, 81, 85)
    found = policy.episodes(measured["measured_at"], measured["utilization"], 80)
    assert found["start"].tolist() == [on(2), on(5)]
    assert found["end"].iloc[0] == on(4)
    assert pd.isna(found["end"].iloc[1])
    assert found["peak"].tolist() == [88.0, 85.0]


def test_a_measurement_without_a_verdict_neither_ends_nor_begins_an_episode():
    measured = days(82, np.nan, 83, 70)
    found = policy.episodes(measured["measured_at"], measured["utilization"], 80)
    assert found["start"].tolist() == [on(1)]
    assert found["end"].tolist() == [on(4)]


@pytest.mark.parametrize("shares", [(), (np.nan, np.nan), (10, 20)])
def test_nothing_past_the_level_gives_no_episode(shares):
    measured = days(*shares)
    found = policy.episodes(measured["measured_at"], measured["utilization"], 80)
    assert found.empty
    assert list(found.columns) == ["start", "end", "peak"]


def test_an_alert_is_true_when_its_target_came_within_the_horizon_and_open_until_it_passed():
    true = replay(days(70, 81, 85, 91, 70, 70, 70, 70))
    assert true.alerts["outcome"].tolist() == ["true"]
    assert true.reached["announced"].tolist() == [True]
    false = replay(days(70, 81, 70, 70, 70, 70, 70, 70))
    assert false.alerts["outcome"].tolist() == ["false"]
    undecided = replay(days(70, 70, 70, 70, 81, 82))
    assert undecided.alerts["outcome"].tolist() == ["open"]


def test_the_horizon_is_closed_at_its_end():
    late = replay(days(70, 81, 82, 83, 84, 85, 91, 70, 70))
    assert late.alerts["outcome"].tolist() == ["true"], "reached 5 days after the alert, horizon 5"
    too_late = replay(days(70, 81, 82, 83, 84, 85, 86, 91, 70))
    assert too_late.alerts["outcome"].tolist() == ["false"], "reached 6 days after the alert"
    assert too_late.reached["announced"].tolist() == [False]


def test_a_jump_past_both_levels_makes_the_alert_true_but_announces_nothing():
    jump = replay(days(70, 95, 70, 70, 70, 70, 70, 70))
    assert jump.alerts["outcome"].tolist() == ["true"]
    assert jump.reached["announced"].tolist() == [False]


def test_what_was_reached_when_history_began_is_not_held_against_the_threshold():
    begun = replay(days(95, 95, 70, 70, 70, 70, 70, 70))
    assert begun.alerts["outcome"].tolist() == ["true"]
    assert begun.reached.empty


def test_rates_leave_open_alerts_out_and_need_the_minimum():
    outcome = pd.Series(["true", "false", "true", "open"])
    told = pd.Series([True, False, True, True])
    scored = policy.score(outcome, told, minimum=3)
    assert (scored.alerts, scored.true, scored.false, scored.open) == (4, 2, 1, 1)
    assert scored.precision == pytest.approx(66.667, abs=1e-3)
    assert scored.false_positive_rate == pytest.approx(33.333, abs=1e-3)
    assert scored.recall == 75.0
    few = policy.score(outcome, told, minimum=5)
    assert (few.precision, few.false_positive_rate, few.recall) == (None, None, None)
    nothing = policy.score(pd.Series(dtype=object), pd.Series(dtype=bool), minimum=0)
    assert (nothing.precision, nothing.recall) == (None, None)


@pytest.mark.parametrize(
    ("false_positive", "true_positive", "said"),
    [
        (20.1, 100.0, "INCREASE_THRESHOLD"),
        (20.1, None, "INCREASE_THRESHOLD"),
        (20.0, 79.9, "DECREASE_THRESHOLD"),
        (20.0, 80.0, "OPTIMAL"),
        (None, 10.0, None),
        (0.0, None, None),
        (None, None, None),
    ],
)
def test_the_guides_rule(false_positive, true_positive, said):
    assert policy.recommendation(false_positive, true_positive) == said


def test_lead_time_counts_from_the_first_forecast_of_those_that_kept_naming_the_level():
    issued = pd.DataFrame(
        {"issued_at": [on(1), on(5), on(10), on(20)], "is_named": [True, False, True, True]}
    )
    reached = pd.Series([on(3), on(7), on(12), on(31), on(1)])
    leads = policy.lead_times(reached, issued)
    assert leads.iloc[0] == 2 * DAY
    assert pd.isna(leads.iloc[1]), "the last forecast before it did not name it"
    assert leads.iloc[2] == 2 * DAY
    assert leads.iloc[3] == 21 * DAY
    assert pd.isna(leads.iloc[4]), "no forecast was there before it"
