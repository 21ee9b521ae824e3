"""Tuning finds what is planted, keeps what is good, and is not taken in by the past."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from capacity_kit import units
from capacity_kit.alerting.policy import Policy
from capacity_kit.alerting.replay import Fleet, Runway
from capacity_kit.alerting.tuning import Costs, Threshold, _drawn, candidates_of, changes, propose
from capacity_kit.errors import CapacityError

START = pd.Timestamp("2026-01-05", tz="UTC")
PRESENT = Policy(80, target=95, margin=2)


def hourly(values: np.ndarray, name: str) -> pd.DataFrame:
    at = pd.date_range(START, periods=len(values), freq="h")
    return pd.DataFrame({"resource": name, "measured_at": at, "value": values, "capacity": 100.0})


def fleet_of(histories: list[np.ndarray]) -> Fleet:
    frames = [hourly(values, f"r{n:02}") for n, values in enumerate(histories)]
    return Fleet.of(pd.concat(frames), pd.DatetimeIndex(frames[0]["measured_at"]))


def noisy(days: int, seed: int, height: float = 83.0) -> np.ndarray:
    """It passes 80 % every day and never comes near 95 %."""
    rng = np.random.default_rng(seed)
    hours = np.arange(days * 24)
    return (
        (height + 74) / 2
        + (height - 74) / 2 * np.sin(2 * np.pi * hours / 24)
        + rng.normal(0, 0.3, hours.size)
    )


def filling(days: int, every: int) -> np.ndarray:
    """It fills up from 60 % to 97 % in `every` days, again and again, and is above 80 % in nearly the last tenth."""
    phase = (np.arange(days * 24) / 24) % every / every
    return np.where(phase < 0.9, 60 + 19 * phase / 0.9, 79 + 18 * (phase - 0.9) / 0.1)


def test_false_alerts_every_day_are_tuned_away():
    fleet = fleet_of([noisy(150, seed) for seed in range(4)])
    [found] = propose(fleet, [Threshold("t", PRESENT, (0, 1, 2, 3))])
    assert found.proposed is not None
    assert found.recommendation == "INCREASE_THRESHOLD"
    assert 0 < found.low <= found.saved <= found.high
    assert found.saved == found.cost_present - found.cost_proposed
    assert found.events >= 100
    chosen = found.candidates[found.candidates["is_proposed"]].iloc[0]
    present = found.candidates[found.candidates["is_present"]].iloc[0]
    assert chosen["cost"] == found.candidates["cost"].min() < present["cost"]
    assert chosen["policy"] == found.proposed
    assert "saved" in found.reason


def test_a_threshold_that_announces_every_reach_without_a_false_alert_is_kept():
    fleet = fleet_of([filling(240, 40), filling(240, 48)])
    costs = Costs(missed=8, false=0.5, night=0)
    [found] = propose(fleet, [Threshold("t", replace(PRESENT, level=79), (0, 1))], costs)
    assert found.proposed is None
    assert not found.each
    assert found.reason.startswith("Keep:")
    assert found.score.recall == 100
    assert found.recommendation == "OPTIMAL"


def test_one_that_misses_reaches_is_lowered():
    fleet = fleet_of([filling(400, 40)] * 4)  # an alert of the time before is beyond the horizon
    present = replace(PRESENT, level=94)
    [found] = propose(fleet, [Threshold("t", present, (0, 1, 2, 3))], Costs(night=0))
    assert found.score.recall == 0
    assert found.proposed is not None
    assert found.proposed.level < 94
    assert found.low > 0


@pytest.mark.parametrize("together", [False, True])
def test_a_storm_at_night_costs_one_night_page(together):
    """Twelve disks pass the level together at midnight of every other day: a page is charged once, however many."""
    hours = np.arange(24 * 150)
    usage = np.where((hours % 48 < 3), 84.0, 70.0)
    fleet = fleet_of([usage] * 12)
    thresholds = [Threshold("t", PRESENT, tuple(range(12)))]
    if together:
        thresholds = [Threshold(f"t{n}", PRESENT, tuple(range(3 * n, 3 * n + 3))) for n in range(4)]
    [found] = propose(fleet, thresholds, Costs(missed=0, false=0, night=2), together=together)
    present = found.candidates[found.candidates["is_present"]].iloc[0]
    assert present["alerts"] == 12 * 75
    assert present["night_pages"] == 75
    weeks = found.judged_days / 7
    assert found.cost_present == pytest.approx(2 * 3.5 * weeks, abs=2)
    assert found.events == pytest.approx(3.5 * weeks, abs=1)
    assert found.saved == found.cost_present


def test_what_only_the_past_says_is_not_proposed():
    """Half a year of false alerts, and then what they warned of comes again and again: who raised the level pays."""
    quiet = noisy(180, 3, height=80.6)
    storm = filling(200, 40)
    fleet = fleet_of([np.concatenate([quiet, storm])] * 3)
    raised = (PRESENT, replace(PRESENT, level=94.5))
    [found] = propose(fleet, [Threshold("t", PRESENT, (0, 1, 2), raised)], Costs(missed=40, night=0))
    by_hindsight = found.candidates["cost"].tolist()
    assert found.proposed is None
    assert found.saved < 0, "chosen on the past, the higher level misses what came"
    [cheaper] = propose(fleet, [Threshold("t", PRESENT, (0, 1, 2), raised)], Costs(missed=20, night=0))
    assert f"would have cost {units.number(-cheaper.saved)} hours of work more" in cheaper.reason
    assert by_hindsight[1] > by_hindsight[0]


def test_the_choice_does_not_know_what_follows():
    """What is judged up to a day stays as it was, whatever comes after: the last fold's time only is added."""
    before = [noisy(150, seed) for seed in range(3)]
    after = [np.concatenate([values, np.full(24 * 60, 70.0)]) for values in before]
    threshold = Threshold("t", PRESENT, (0, 1, 2), (PRESENT, replace(PRESENT, level=84.0)))
    [short] = propose(fleet_of(before), [threshold], folds=1)
    [long] = propose(fleet_of(after), [threshold], folds=1)
    assert short.each == long.each
    assert long.judged_days > short.judged_days


def test_too_little_history_and_too_few_events_decide_nothing():
    [short] = propose(fleet_of([noisy(60, 1)]), [Threshold("t", PRESENT, (0,))])
    assert "days of history" in short.reason
    assert (short.judged_days, short.events) == (0, 0)
    rare = np.full(24 * 150, 70.0)
    rare[24 * 20 :: 24 * 45] = 81  # every six weeks, for an hour
    [few] = propose(fleet_of([rare]), [Threshold("t", PRESENT, (0,))], Costs(missed=0))
    assert few.events < 5
    assert few.reason.startswith(f"Keep: {few.events} event")
    assert "5 are needed" in few.reason
    rare[24 * 21 :] = 70
    rare[24 * 90] = 81
    [single] = propose(fleet_of([rare]), [Threshold("t", PRESENT, (0,))], Costs(missed=0, night=0))
    assert single.events == 1
    assert single.reason.startswith("Keep: 1 event would")
    [none] = propose(fleet_of([np.full(24 * 150, 50.0)]), [Threshold("t", PRESENT, (0,))])
    assert "no alert" in none.reason


def test_saving_little_with_much_at_stake_is_not_certain():
    fleet = fleet_of([noisy(150, 1)])
    [found] = propose(fleet, [Threshold("t", PRESENT, (0,))], Costs(missed=1000))
    assert found.saved > 0
    assert found.low < 0
    assert found.proposed is None
    assert "does not exclude" in found.reason


def test_all_together_move_by_the_same():
    fleet = fleet_of([noisy(150, seed) for seed in range(4)])
    thresholds = [Threshold(f"t{n}", replace(PRESENT, level=79.0 + n / 2), (n,)) for n in range(4)]
    by_day = Costs(night=0)  # a night page of several is charged once where they are judged together
    [found] = propose(fleet, thresholds, by_day, together=True)
    assert found.key == "ALL"
    assert set(found.each) == {"t0", "t1", "t2", "t3"}
    moved = {found.each[t.key].level - t.present.level for t in thresholds}
    assert len(moved) == 1
    apart = propose(fleet, thresholds, by_day)
    assert [p.key for p in apart] == ["t0", "t1", "t2", "t3"]
    assert sum(p.cost_present for p in apart) == pytest.approx(found.cost_present)


def test_the_same_seed_says_the_same_in_one_process_and_in_two():
    fleet = fleet_of([noisy(150, seed) for seed in range(2)])
    threshold = [Threshold("t", PRESENT, (0, 1))]
    first, second = (propose(fleet, threshold, workers=workers)[0] for workers in (1, 2))
    assert first[:12] == second[:12]
    [other] = propose(fleet, threshold, seed=1)
    assert (other.low, other.high) != (first.low, first.high)
    assert other.saved == first.saved


def test_runways_and_absences_have_candidates_too():
    fleet = fleet_of([noisy(150, 1)])
    ahead = Policy(21, "RUNWAY", "<=", target=95.0)
    silent = Policy(180, "ABSENCE", ">")
    origins = np.arange(fleet.evaluated_at[0], fleet.evaluated_at[-1], 86_400_000_000)
    fleet = replace(fleet, runways={95.0: Runway(origins, np.full((1, origins.size, 3), np.inf))})
    thresholds = [
        Threshold("silent", silent, (0,)),
        Threshold("t", PRESENT, (0,)),
        Threshold("ahead", ahead, (0,)),
    ]
    found = propose(fleet, thresholds)
    assert [p.key for p in found] == ["silent", "t", "ahead"]
    assert [p.proposed is None for p in found] == [True, False, True]
    assert "no measurement shows" in found[0].reason
    assert found[1][:6] == propose(fleet, [thresholds[1]])[0][:6], "it waits for its own verdicts only"
    assert set(propose(fleet, thresholds[:2], together=True)[0].each) == {"t"}
    with pytest.raises(CapacityError, match="warns of anything"):
        propose(fleet, thresholds[:1], together=True)
    assert {p.probability for p in candidates_of(ahead)} == {10, 50, 90}
    assert max(p.level for p in candidates_of(silent)) == 1440


def test_candidates_begin_with_the_present_and_stay_below_what_they_warn_of():
    some = candidates_of(replace(PRESENT, level=92))
    assert some[0] == replace(PRESENT, level=92)
    assert max(p.level for p in some) < 95
    assert len(some) == len(candidates_of(PRESENT))


def test_changes_are_said_in_the_columns_of_the_threshold():
    proposed = replace(PRESENT, level=85, suppression_minutes=240, business_hours_only=True)
    assert changes(PRESENT, proposed) == {
        "threshold_percentage": (80, 85),
        "business_hours_only": (False, True),
        "suppression_duration_minutes": (0, 240),
        "suppression_enabled": (False, True),
    }
    assert changes(Policy(21, "RUNWAY", "<="), Policy(30, "RUNWAY", "<=", probability=50)) == {
        "threshold_value": (21, 30),
        "threshold_probability": (90, 50),
    }
    assert changes(PRESENT, PRESENT) == {}


def test_costs_say_what_they_are_and_refuse_nonsense():
    assert "8 for a level" in Costs().explained()
    with pytest.raises(CapacityError, match="missed"):
        Costs(missed=-1)
    with pytest.raises(CapacityError, match="night"):
        Costs(night=float("nan"))


def test_a_storm_is_no_more_certain_than_one_event():
    """The interval of what one week saved is as wide for a hundred resources as for one: it happened once."""
    rng = np.random.default_rng(0)
    one, hundred = np.zeros((1, 4)), np.zeros((100, 4))
    one[0, 1], hundred[:, 1] = 100, 1
    apart = rng.permutation(np.repeat(np.arange(4), 25))
    spread = np.zeros((100, 4))
    spread[np.arange(100), apart] = 1
    widths = [
        np.ptp(np.quantile(_drawn(saved, np.random.default_rng(1)), [0.05, 0.95]))
        for saved in (one, hundred, spread)
    ]
    assert widths[0] == pytest.approx(100 * np.log(0.95 / 0.05), rel=0.1)
    assert widths[1] == pytest.approx(widths[0], rel=0.1)
    assert widths[2] < widths[0] * 0.7
    assert _drawn(spread, np.random.default_rng(1)).mean() == pytest.approx(100, rel=0.05)


def test_a_threshold_that_watches_nothing_is_kept():
    fleet = fleet_of([noisy(150, 1)])
    ahead = Policy(40, "ABSENCE", ">")  # it waits by itself for verdicts of its own
    found = propose(
        fleet, [Threshold("t", PRESENT, (0,)), Threshold("none", PRESENT, ()), Threshold("a", ahead, ())]
    )
    assert [p.proposed is None for p in found] == [False, True, True]
    assert found[1].score.alerts == 0


def test_what_cannot_be_tuned_is_said():
    fleet = fleet_of([noisy(10, 1)])
    with pytest.raises(CapacityError, match="no threshold"):
        propose(fleet, [])
    with pytest.raises(CapacityError, match="watches a resource"):
        propose(fleet, [Threshold("t", PRESENT, ())])
    with pytest.raises(CapacityError, match="as many candidates"):
        propose(
            fleet,
            [Threshold("a", PRESENT, (0,), (PRESENT,)), Threshold("b", PRESENT, (0,))],
            together=True,
        )
    with pytest.raises(CapacityError, match="fold"):
        propose(fleet, [Threshold("a", PRESENT, (0,))], folds=0)
