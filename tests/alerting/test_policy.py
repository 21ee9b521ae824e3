"""One policy, one resource, one evaluation after the other: every expected time is counted by hand."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from capacity_kit.alerting import policy
from capacity_kit.alerting.policy import (
    DAY,
    HOUR,
    MINUTE,
    Calendar,
    Gates,
    Hours,
    Pair,
    Policy,
    Window,
    micros,
)
from capacity_kit.errors import CapacityError

MUTED, MAINTENANCE, CLOSED = Gates(muted=True), Gates(maintenance=True), Gates(business_hours=False)


def on(day: int) -> pd.Timestamp:
    return pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(days=day - 1)


def run(asked: Policy, *values: float, gates: dict[int, Gates] | None = None, every: int = 10) -> Pair:
    """An evaluation every ten minutes from minute 0; `gates` by evaluation."""
    pair = Pair(asked)
    for n, value in enumerate(values):
        pair.evaluate(n * every * MINUTE, value, (gates or {}).get(n, Gates()))
    return pair


def spans(pair: Pair, every: int = 10) -> list[tuple[int | None, ...]]:
    """Start, end and alert of each episode, as numbers of evaluations."""

    def number(at: int | None) -> int | None:
        return None if at is None else at // (every * MINUTE)

    return [
        (number(e.started_at), number(e.ended_at), number(e.alert and e.alert.raised_at))
        for e in pair.episodes
    ]


# Episodes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "breaches"), [(">=", [80, 81]), (">", [81]), ("<=", [79, 80]), ("<", [79])]
)
def test_operators_at_the_line(operator, breaches):
    assert [v for v in (79, 80, 81) if run(Policy(80, operator=operator), v).episodes] == breaches


def test_a_margin_never_leads_beyond_what_usage_can_be():
    assert spans(run(Policy(1, margin=2), 2, 0.5, 0)) == [(0, 2, 0)]
    assert spans(run(Policy(99, operator="<=", margin=2), 98, 99.5, 100)) == [(0, 2, 0)]
    assert spans(run(Policy(0, margin=2), 0, 0)) == [(0, None, 0)], "past the level, wherever it lies"
    runway = Policy(99, "RUNWAY", "<=", margin=2)
    assert spans(run(runway, 98, 100, 101)) == [(0, 2, 0)], "days have no end"


def test_an_episode_lasts_until_usage_is_below_by_the_margin():
    assert spans(run(Policy(80, margin=2), 79, 80, 78.1, 79.9, 78, 80)) == [(1, 4, 1), (5, None, 5)]
    assert spans(run(Policy(80, margin=0), 80, 79.9, 80)) == [(0, 1, 0), (2, None, 2)]
    assert spans(run(Policy(80, operator="<=", margin=2), 80, 81.9, 82)) == [(0, 2, 0)]
    above = run(Policy(80, operator=">", margin=0), 81, 80)
    assert spans(above) == [(0, 1, 0)], "at the line, which is not past it"


def test_no_verdict_neither_begins_nor_ends_an_episode_and_is_no_peak():
    pair = run(Policy(80), np.nan, 82, np.nan, 88, 81, np.nan, 70)
    assert spans(pair) == [(1, 6, 1)]
    assert pair.episodes[0].peak == 88
    assert pair.episodes[0].ended_by == "RECOVERY"


def test_of_a_falling_threshold_and_a_runway_the_peak_is_the_least():
    assert run(Policy(20, operator="<"), 15, 12, 18).episodes[0].peak == 12
    ahead = run(Policy(21, "RUNWAY", "<="), 30, 21, 14, 22.9, np.inf)
    assert (spans(ahead), ahead.episodes[0].peak) == ([(1, 4, 1)], 14)


def test_an_absence_has_no_margin():
    assert spans(run(Policy(45, "ABSENCE", ">"), 45, 46, 45)) == [(1, 2, 1)]


# Slots -------------------------------------------------------------------------------------------------------------


def test_slots_are_not_skipped_by_jitter():
    pair = Pair(Policy(80, frequency_minutes=15, margin=0))
    for minute, value in ((0, 70), (14, 90), (15, 91), (29, 70), (30, 70)):
        pair.evaluate(minute * MINUTE, value)
    [episode] = pair.episodes
    assert (episode.started_at, episode.ended_at, episode.peak) == (15 * MINUTE, 30 * MINUTE, 91)


def test_a_clock_set_back_is_a_slot_of_its_own():
    assert policy.is_considered(15, 10 * MINUTE, 100 * MINUTE)
    assert not policy.is_considered(15, 100 * MINUTE, 100 * MINUTE)
    assert policy.is_considered(0, 100 * MINUTE, 100 * MINUTE)
    assert policy.is_considered(15, 0, None)


# Gates -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "gates", "word"),
    [
        (Policy(80), MUTED, "MUTED"),
        (Policy(80), MAINTENANCE, "MAINTENANCE"),
        (Policy(80, business_hours_only=True), CLOSED, "OUTSIDE_BUSINESS_HOURS"),
        (Policy(80, alert_enabled=False), MUTED, "DISABLED"),
        (Policy(80), Gates(muted=True, maintenance=True), "MUTED"),
        (Policy(80, business_hours_only=True), Gates(maintenance=True, business_hours=False), "MAINTENANCE"),
    ],
)
def test_the_first_gate_that_is_shut_is_named(asked, gates, word):
    pair = run(asked, 85, 70, gates={0: gates, 1: gates})
    assert spans(pair) == [(0, 1, None)]
    assert pair.episodes[0].held_by == word


def test_what_does_not_hold_a_policy_lets_it_through():
    assert spans(run(Policy(80, maintenance_exempt=True), 85, gates={0: MAINTENANCE})) == [(0, None, 0)]
    assert spans(run(Policy(80), 85, gates={0: CLOSED})) == [(0, None, 0)]


def test_a_held_episode_is_alerted_when_the_gate_opens_and_remembers_what_held_it():
    pair = run(Policy(80), 85, 85, 85, gates={0: MAINTENANCE, 1: MUTED})
    assert spans(pair) == [(0, None, 2)]
    assert pair.episodes[0].held_by == "MUTED"


def test_it_is_alerted_though_usage_is_within_the_margin_by_then():
    assert spans(run(Policy(80, margin=2), 85, 79, gates={0: MUTED})) == [(0, None, 1)]


def test_suppression_runs_from_the_last_alert_to_before_its_end():
    asked = Policy(80, suppression_minutes=30)
    pair = run(asked, 85, 70, 85, 85, 70)
    assert spans(pair) == [(0, 1, 0), (2, 4, 3)], "held at 20 minutes, let through at 30"
    assert pair.episodes[1].held_by == "SUPPRESSED"
    assert spans(run(asked, 85, 70, 85, 70)) == [(0, 1, 0), (2, 3, None)]


def test_an_alert_that_nobody_resolves_holds_all_that_follow():
    pair = run(Policy(80, auto_resolution=False), 85, 70, 85)
    assert spans(pair) == [(0, 1, 0), (2, None, None)]
    assert pair.episodes[1].held_by == "ALREADY_ALERTED"
    assert pair.alerts[0].resolved_at is None


# Escalation and resolution -----------------------------------------------------------------------------------------


def escalated(pair: Pair) -> list[int]:
    return [at // MINUTE for at in pair.alerts[0].escalated_at]


def test_escalations_come_with_each_delay_until_it_is_over():
    assert escalated(run(Policy(80, escalation_minutes=15), *[85] * 6, 70)) == [20, 30, 50]
    assert escalated(run(Policy(80), *[85] * 6)) == []


def test_what_ends_does_not_escalate_but_what_nobody_resolves_does():
    assert escalated(run(Policy(80, escalation_minutes=10), 85, 70)) == []
    assert escalated(run(Policy(80, escalation_minutes=10, auto_resolution=False), 85, 70)) == [10]


@pytest.mark.parametrize(("gates", "hours_only"), [(MUTED, False), (MAINTENANCE, False), (CLOSED, True)])
def test_a_shut_gate_holds_escalations_and_one_makes_up_for_all(gates, hours_only):
    asked = Policy(80, escalation_minutes=10, business_hours_only=hours_only)
    pair = run(asked, 85, 85, 85, 85, gates={1: gates, 2: gates})
    assert escalated(pair) == [30]
    assert pair.alerts[0].escalations == 1


def test_acknowledging_ends_escalation_and_resolving_the_episode():
    pair = Pair(Policy(80, escalation_minutes=10, suppression_minutes=15))
    pair.evaluate(0, 85)
    pair.acknowledge(5 * MINUTE)
    pair.acknowledge(6 * MINUTE)
    pair.evaluate(10 * MINUTE, 85)
    assert (escalated(pair), pair.alerts[0].acknowledged_at) == ([], 5 * MINUTE)
    pair.resolve(12 * MINUTE, "ada")
    assert (pair.episodes[0].ended_by, pair.alerts[0].resolved_by) == ("OPERATOR", "ada")
    pair.evaluate(14 * MINUTE, 85)
    assert pair.episodes[1].held_by == "SUPPRESSED", "it persists: a new episode, and suppression applies"
    pair.evaluate(15 * MINUTE, 85)
    assert pair.alerts[1].raised_at == 15 * MINUTE


# Verdicts ----------------------------------------------------------------------------------------------------------


def judged(
    *used: float, raised: int = 1, hands: tuple[int, ...] = (), as_of: int = 99, asked: Policy | None = None
):
    """Daily measurements from day 0; a horizon of five days after the alert."""
    at = np.arange(len(used)) * DAY
    found = policy.judge(
        asked or Policy(80, target=90),
        raised * DAY,
        at,
        np.array(used, dtype=float),
        np.isin(np.arange(len(used)), hands),
        horizon_days=5,
        as_of=as_of * DAY,
    )
    return found.verdict, None if found.reached_at is None else found.reached_at // DAY


def test_true_when_the_target_came_until_the_horizon():
    assert judged(70, 81, 85, 91) == ("TRUE", 3)
    assert judged(70, 81, 82, 83, 84, 85, 90) == ("TRUE", 6), "the horizon is closed at its end"
    assert judged(70, 81, 82, 83, 84, 85, 86, 91) == ("FALSE", None)
    assert judged(95, 95) == ("TRUE", 1), "past it already when it began"
    assert judged(95, np.nan, 91) == ("TRUE", 2), "what is not known is past nothing"


def test_open_until_the_horizon_has_passed():
    assert judged(70, 81, 82, as_of=6) == ("OPEN", None)
    assert judged(70, 81, 82, as_of=7) == ("FALSE", None)
    assert judged(70, 81, 82, 95, as_of=2) == ("OPEN", None), "what comes later is not known"


def test_censored_when_a_hand_was_there_first_or_nothing_was_measured():
    assert judged(70, 81, 60, 91, hands=(2,)) == ("CENSORED", None)
    assert judged(70, 81, 91, 60, hands=(3,)) == ("TRUE", 2)
    assert judged(70, 81, 91, hands=(2,)) == ("CENSORED", None), "at the same measurement"
    assert judged(70, 81, 82, hands=(1,)) == ("FALSE", None), (
        "what had been done before is known to the alert"
    )
    assert judged(70, 81) == ("CENSORED", None)
    assert judged(70, 81, as_of=4) == ("OPEN", None)


def test_a_runway_has_the_horizon_of_its_days_and_an_absence_is_its_own_fact():
    ahead = Policy(2, "RUNWAY", "<=", target=90)
    assert judged(70, 71, 80, 90, asked=ahead) == ("TRUE", 3)
    assert judged(70, 71, 80, 85, 95, asked=ahead) == ("FALSE", None)
    assert judged(70, 71, asked=Policy(45, "ABSENCE", ">")) == ("TRUE", 1)
    assert judged(70, 10, 5, 1, asked=Policy(20, operator="<")) == ("OPEN", None), (
        "nothing is defined below a level"
    )


def test_a_hand_adds_capacity_or_cuts_what_piles_up():
    value = [100, 96, 95, 90.25, 200, 189, 0, 0]
    assert np.flatnonzero(policy.interventions(value, [1e3] * 8, accumulating=True)).tolist() == [3, 5, 6]
    assert not policy.interventions(value, [1e3] * 8, accumulating=False).any()
    capacity = [100, 100, 200, 150, np.nan, 300, 400]
    assert np.flatnonzero(policy.interventions([1] * 7, capacity, accumulating=True)).tolist() == [2, 6]
    assert policy.interventions([], [], accumulating=True).tolist() == []


def test_a_level_is_reached_again_only_after_the_margin():
    at = np.arange(8)
    assert policy.reaches(at, np.array([80, 90, 89, 90, 88, 90, np.nan, 91.0]), 90, 2) == [1, 5]
    assert policy.reaches(at[:3], np.array([95.0, 80, 95]), 90, 2) == [2], (
        "what began past it was not reached"
    )
    assert policy.reaches(at[:3], np.array([np.nan, 89, 90]), 90, 2) == [2]
    assert policy.reaches(at[:0], np.zeros(0), 90, 2) == []


def test_announced_is_at_least_the_lead_and_at_most_the_horizon_before():
    raised = [10 * HOUR]
    horizon = 100 * HOUR
    for reached, told in ((33, False), (34, True), (110, True), (111, False)):
        assert policy.is_announced(raised, reached * HOUR, lead_hours=24, horizon=horizon) is told


# Hours -------------------------------------------------------------------------------------------------------------


def times(*said: str) -> np.ndarray:
    return micros(pd.DatetimeIndex(said, tz="UTC"))


def test_business_hours_follow_the_wall_clock_over_its_changes():
    berlin = Calendar("Europe/Berlin")
    before, after = "2026-03-27", "2026-03-30"  # Friday in winter time, Monday in summer time
    assert berlin.business(
        times(f"{before} 07:59", f"{before} 08:00", f"{before} 15:59", f"{before} 16:00")
    ).tolist() == [False, True, True, False]
    assert berlin.business(
        times(f"{after} 06:59", f"{after} 07:00", f"{after} 14:59", f"{after} 15:00")
    ).tolist() == [False, True, True, False]


def test_weekends_and_holidays_are_those_of_the_zone():
    sydney = Calendar("Australia/Sydney", opens=dt.time(8), holidays=frozenset({dt.date(2026, 6, 9)}))
    said = times("2026-06-07 22:30", "2026-06-08 22:30", "2026-06-09 22:30", "2026-06-05 22:30")
    assert sydney.business(said).tolist() == [True, False, True, False]


def test_a_night_may_span_midnight():
    said = times("2026-06-01 21:59", "2026-06-01 22:00", "2026-06-02 05:59", "2026-06-02 06:00")
    assert Calendar().night(said).tolist() == [False, True, True, False]
    short = Calendar(night_from=dt.time(1), night_to=dt.time(5))
    said = times("2026-06-01 00:30", "2026-06-01 01:00", "2026-06-01 05:00")
    assert short.night(said).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-28", 7),
        ("Europe/Berlin", "2026-10-24", 9),
        ("America/New_York", "2026-10-24", 8),  # it changes its clock a week later
        ("America/New_York", "2026-10-31", 9),
        ("America/New_York", "2026-03-07", 7),
    ],
)
def test_the_night_in_which_the_clock_changes_has_its_own_length(zone, day, hours):
    noon = pd.Timestamp(f"{day} 12:00", tz=zone).tz_convert("UTC")
    quarters = micros(pd.date_range(noon, periods=4 * 26, freq="15min"))[: 4 * 24]
    assert Calendar(zone).night(quarters).sum() == 4 * hours


@pytest.mark.parametrize(
    ("zone", "called"),
    [
        # Friday 16:00 in Berlin; the clock goes back on Sunday, Monday is a holiday: first called on Tuesday at 09:00
        ("Europe/Berlin", ["10-27 08:00", "10-27 10:00", "10-27 12:00"]),
        # Friday 10:00 in New York; no holiday, and no change of the clock yet
        ("America/New_York", ["10-23 16:00", "10-23 18:00", "10-23 20:00", "10-26 13:00"]),
    ],
)
def test_escalation_keeps_to_the_hours_of_its_zone_over_a_change_of_the_clock_and_a_holiday(zone, called):
    off = frozenset({dt.date(2026, 10, 26)}) if zone == "Europe/Berlin" else frozenset()
    at = micros(pd.date_range("2026-10-23 14:00", "2026-10-27 13:59", freq="30min", tz="UTC"))
    pair = Pair(Policy(80, escalation_minutes=120, business_hours_only=True))
    for now, gates in zip(at.tolist(), Hours(Calendar(zone, holidays=off)).gates(at), strict=True):
        pair.evaluate(now, 85, gates)
    [alert] = pair.alerts
    assert alert.raised_at == at[0]
    first = [f"{pd.Timestamp(one, unit='us'):%m-%d %H:%M}" for one in alert.escalated_at[: len(called)]]
    assert first == called


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ("2026-06-01 00:00", "2026-06-08 00:00", 40),
        ("2026-06-05 16:30", "2026-06-08 09:15", 0.75),
        ("2026-06-01 10:00", "2026-06-01 10:00", 0),
    ],
)
def test_the_working_clock_runs_in_business_hours_alone(start, end, hours):
    a, b = times(start, end)
    at, worked = Calendar().working_time(int(a), int(b))
    assert np.interp(b, at, worked) - np.interp(a, at, worked) == hours * HOUR


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_the_day_on_which_the_clock_changes_has_its_own_length(day, hours):
    zone = "Europe/Berlin"
    always = Calendar(zone, tuple(range(1, 8)), dt.time(0), dt.time.max)
    a, b = micros(pd.DatetimeIndex([day, pd.Timestamp(day) + pd.Timedelta(days=1)]).tz_localize(zone))
    at, worked = always.working_time(int(a), int(b))
    assert worked[-1] - worked[0] == hours * HOUR
    assert at[-1] >= b


def moment(said: str, zone: str = "UTC") -> dt.datetime:
    return pd.Timestamp(said, tz=zone).to_pydatetime()


def test_a_window_covers_from_its_start_to_before_its_end():
    once = Window(moment("2026-06-01 02:00"), moment("2026-06-01 04:00"))
    said = times(
        "2026-06-01 01:59", "2026-06-01 02:00", "2026-06-01 03:59", "2026-06-01 04:00", "2026-06-08 02:00"
    )
    assert once.covers(said).tolist() == [False, True, True, False, False]


def test_a_window_comes_again_at_the_same_wall_time():
    """Every other Sunday at three in Berlin: in UTC two o'clock in winter, one in summer."""
    start, end = moment("2026-03-15 03:00", "Europe/Berlin"), moment("2026-03-15 05:00", "Europe/Berlin")
    window = Window(start, end, 2, "Europe/Berlin")
    said = times("2026-03-01 02:00", "2026-03-15 02:00", "2026-03-22 02:00", "2026-03-29 01:00", "2026-03-29 00:59",
                 "2026-04-12 01:00", "2026-04-12 02:59", "2026-04-12 03:00")  # fmt: skip
    assert window.covers(said).tolist() == [False, True, False, True, False, True, True, False]


def test_hours_say_all_gates_at_once():
    first = Window(moment("2026-06-01 10:00"), moment("2026-06-01 11:00"))
    second = Window(moment("2026-06-01 12:00"), moment("2026-06-01 13:00"))
    hours = Hours(Calendar(), (first, second), ((moment("2026-06-01 12:30"), moment("2026-06-01 14:00")),))
    said = hours.gates(times("2026-06-01 08:00", "2026-06-01 10:00", "2026-06-01 12:30", "2026-06-01 13:59"))
    assert said == [CLOSED, MAINTENANCE, Gates(muted=True, maintenance=True), MUTED]
    assert Hours().gates(times("2026-06-01 10:00")) == [Gates()]


# Rows, counts, rules -----------------------------------------------------------------------------------------------


def test_a_row_of_the_database_becomes_a_policy():
    row = {
        "threshold_type": "WARNING", "threshold_percentage": 80, "threshold_value": 80, "threshold_operator": ">",
        "recovery_margin": None, "evaluation_frequency_minutes": 15, "suppression_enabled": True,
        "suppression_duration_minutes": 60, "escalation_enabled": None, "escalation_delay_minutes": 30,
        "business_hours_only": None, "maintenance_window_exempt": True, "alert_enabled": None,
        "auto_resolution_enabled": False, "threshold_probability": np.nan,
    }  # fmt: skip
    assert Policy.of(row, target=90, margin=3) == Policy(
        80, operator=">", margin=3, target=90, frequency_minutes=15, suppression_minutes=60, maintenance_exempt=True,
        auto_resolution=False,
    )  # fmt: skip
    ahead = {"threshold_type": "RUNWAY", "threshold_value": 21, "threshold_percentage": 85, "threshold_operator": "<=",
             "threshold_probability": 50, "recovery_margin": 1, "suppression_enabled": False,
             "suppression_duration_minutes": 60}  # fmt: skip
    assert Policy.of(ahead, target=85) == Policy(21, "RUNWAY", "<=", 1, 85, 50)


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": np.nan},
        {"level": 80, "margin": -1},
        {"level": 80, "suppression_minutes": -1},
        {"level": 80, "operator": "="},
        {"level": 9, "condition": "RUNWAY"},
        {"level": 9, "condition": "ABSENCE", "operator": "<="},
        {"level": 9, "condition": "RUNWAY", "operator": "<=", "probability": 80},
    ],
)
def test_an_impossible_policy_is_refused(wrong):
    with pytest.raises(CapacityError):
        Policy(**wrong)


def test_rates_leave_open_and_censored_alerts_out_and_need_the_minimum():
    counts = {"true": 2, "false": 1, "censored": 4, "open": 1, "reached": 4, "announced": 3}
    scored = policy.rated(counts, minimum=3)
    assert (scored.alerts, scored.censored) == (8, 4)
    assert scored.precision == pytest.approx(66.667, abs=1e-3)
    assert scored.false_positive_rate == pytest.approx(33.333, abs=1e-3)
    assert scored.recall == 75.0
    few = policy.rated(counts, minimum=5)
    assert (few.precision, few.false_positive_rate, few.recall) == (None, None, None)
    nothing = policy.rated(dict.fromkeys(counts, 0), minimum=0)
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
    assert leads.iloc[0] == 2 * pd.Timedelta(days=1)
    assert pd.isna(leads.iloc[1]), "the last forecast before it did not name it"
    assert leads.iloc[2] == 2 * pd.Timedelta(days=1)
    assert leads.iloc[3] == 21 * pd.Timedelta(days=1)
    assert pd.isna(leads.iloc[4]), "no forecast was there before it"
