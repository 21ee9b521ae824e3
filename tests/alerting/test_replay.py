"""The replay of many says what the plain policy says of one: on histories that nobody would think of."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capacity_kit.alerting import policy as rules
from capacity_kit.alerting.policy import DAY, HOUR, MINUTE, Calendar, Hours, Pair, Policy, Window
from capacity_kit.alerting.replay import Fleet, Runway, replay, runways
from capacity_kit.errors import CapacityError

# Two hours before the clocks go back in Berlin, and on a Saturday: nights, weekends and a change of the clock are near.
START = pd.Timestamp("2026-10-24 22:00", tz="UTC")
VERDICTS = ("true", "false", "censored", "open")
FLAT = [0.0, 78.0, 79.0, 80.0, 80.0, 81.0, 82.0, 90.0, 95.0, 100.0]

levels = st.sampled_from([78.0, 80.0, 82.0, 90.0])
policies = st.builds(
    Policy,
    level=levels,
    operator=st.sampled_from([">=", ">", "<=", "<"]),
    margin=st.sampled_from([0.0, 1.0, 2.0, 10.0, 90.0]),
    target=st.sampled_from([82.0, 90.0, 100.0]),
    frequency_minutes=st.sampled_from([0, 0, 15, 60]),
    suppression_minutes=st.sampled_from([0, 30, 240]),
    escalation_minutes=st.sampled_from([0, 45, 180]),
    business_hours_only=st.booleans(),
    maintenance_exempt=st.booleans(),
    alert_enabled=st.sampled_from([True, True, True, False]),
    auto_resolution=st.sampled_from([True, True, True, False]),
)
runway_policies = st.builds(
    replace,
    st.just(Policy(20.0, "RUNWAY", "<=", 2.0, 90.0)),
    level=st.sampled_from([10.0, 20.0]),
    margin=st.sampled_from([0.0, 2.0]),
    probability=st.sampled_from([10, 50, 90]),
    suppression_minutes=st.sampled_from([0, 240]),
)
absence_policies = st.builds(
    replace,
    st.just(Policy(45.0, "ABSENCE", ">")),
    level=st.sampled_from([30.0, 45.0, 120.0]),
    suppression_minutes=st.sampled_from([0, 240]),
)
hours = st.builds(
    Hours,
    st.builds(
        Calendar,
        zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"]),
        working_days=st.sampled_from([(1, 2, 3, 4, 5), (6, 7), (7,)]),
        opens=st.sampled_from([dt.time(0), dt.time(2, 30), dt.time(9)]),
        closes=st.sampled_from([dt.time(3), dt.time(17)]),
        holidays=st.sampled_from([frozenset(), frozenset({dt.date(2026, 10, 25)})]),
    ),
    windows=st.lists(
        st.builds(
            lambda after, length, weeks, zone: Window(
                START.to_pydatetime() + dt.timedelta(minutes=after - 7 * 1440),
                START.to_pydatetime() + dt.timedelta(minutes=after - 7 * 1440 + length),
                weeks,
                zone,
            ),
            st.integers(0, 20000),
            st.integers(1, 600),
            st.sampled_from([None, 1, 2]),
            st.sampled_from(["UTC", "Europe/Berlin"]),
        ),
        max_size=2,
    ).map(tuple),
    mutes=st.sampled_from(
        [
            (),
            ((START.to_pydatetime() + dt.timedelta(hours=3), START.to_pydatetime() + dt.timedelta(hours=9)),),
        ]
    ),
)


seeds = st.integers(0, 2**32 - 1)


@st.composite
def histories(draw):
    """Measurements that stand on the line, jump over it, go missing, and lose or change their capacity.

    Long ones, so drawn by a generator of their own: lists that hypothesis draws one by one are too short to hold much.
    """
    rng = np.random.default_rng(draw(seeds))
    frames = []
    for name in "abc"[: rng.integers(1, 4)]:
        gaps = rng.choice([1, 5, 14, 15, 15, 15, 16, 45, 200], rng.integers(20, 90))
        values = rng.choice([*FLAT, 40.0, np.nan], gaps.size)
        values = np.where(rng.random(gaps.size) < 0.4, np.roll(values, 1), values)
        capacity = np.full(gaps.size, 100.0)
        if rng.random() < 0.5:
            capacity = rng.choice([*[100.0] * 6, 90.0, 104.0, 200.0, np.nan], gaps.size)
        at = START + pd.to_timedelta(np.cumsum(gaps) - 30, unit="min")
        frames.append(
            pd.DataFrame({"resource": name, "measured_at": at, "value": values, "capacity": capacity})
        )
    return pd.concat(frames, ignore_index=True)


@st.composite
def evaluations(draw):
    """A schedule that is sometimes late and sometimes stops."""
    rng = np.random.default_rng(draw(seeds))
    gaps = rng.choice([1, 14, 15, 15, 15, 16, 30, 60, 400], rng.integers(20, 100))
    return START + pd.to_timedelta(np.cumsum(gaps), unit="min")


def signal(fleet: Fleet, row: int, policy: Policy, at: int) -> float:
    """What an evaluation sees of a resource, said plainly."""
    mine = slice(fleet.first[row], fleet.first[row + 1])
    known = fleet.measured_at[mine] <= at
    if policy.condition == "ABSENCE":
        return (at - fleet.measured_at[mine][known][-1]) / MINUTE if known.any() else np.nan
    used = fleet.utilization[mine][known][-1] if known.any() else np.nan
    if policy.condition == "LEVEL":
        stale = known.any() and at - fleet.measured_at[mine][known][-1] > fleet.stale_after[row]
        return np.nan if stale else float(used)
    if not used < policy.target:
        return 0.0 if used >= policy.target else np.nan
    runway = fleet.runways[policy.target]
    column = (10, 50, 90).index(policy.probability)
    issued = np.flatnonzero((runway.origins <= at) & ~np.isnan(runway.days[row, :, column]))
    if not issued.size or at - runway.origins[issued[-1]] > 7 * DAY:
        return np.nan
    days = runway.days[row, issued[-1], column]
    return max((runway.origins[issued[-1]] - at) / DAY + days, 0.0)


def plainly(fleet: Fleet, row: int, policy: Policy, known: Hours, horizon_days: float):
    """One pair, one evaluation after the other."""
    pair = Pair(policy)
    for at, gates in zip(fleet.evaluated_at.tolist(), known.gates(fleet.evaluated_at), strict=True):
        pair.evaluate(at, signal(fleet, row, policy, at), gates)
    mine = slice(fleet.first[row], fleet.first[row + 1])
    judged = [
        rules.judge(
            policy,
            alert.raised_at,
            fleet.measured_at[mine],
            fleet.utilization[mine],
            fleet.intervened[mine],
            horizon_days=horizon_days,
            as_of=int(fleet.evaluated_at[-1]),
        )
        for alert in pair.alerts
    ]
    return pair, judged


def moment(value):
    return None if pd.isna(value) else int(rules.micros([value])[0])


def held_alike(fleet, chosen, known, horizon_days=0.4):
    """Both ways, for every pair: episodes, alerts, escalations, verdicts, reaches and counts."""
    found = replay(fleet, chosen, horizon_days=horizon_days, lead_hours=1, minimum=1, detail=True)
    for n, policy in enumerate(chosen):
        totals = dict.fromkeys(
            ("alerts", "true", "false", "censored", "open", "escalations", "reached", "announced"), 0
        )
        pages: set[tuple[str, int]] = set()
        nights: set[tuple[str, int]] = set()
        for row, name in enumerate(fleet.resources):
            pair, judged = plainly(fleet, row, policy, known[name], horizon_days)
            mine = found.episodes.query("policy == @n and resource == @row")
            said = [
                (
                    moment(e.start),
                    moment(e.end),
                    e.peak,
                    None if pd.isna(e.held_by) else e.held_by,
                    moment(e.raised_at),
                    moment(e.resolved_at),
                    e.escalations,
                )
                for e in mine.itertuples()
            ]
            assert said == [
                (
                    e.started_at,
                    e.ended_at,
                    e.peak,
                    e.held_by,
                    e.alert and e.alert.raised_at,
                    e.alert and e.alert.resolved_at,
                    e.alert.escalations if e.alert else 0,
                )
                for e in pair.episodes
            ]
            raised = mine[mine["raised_at"].notna()]
            assert raised["outcome"].tolist() == [j.verdict for j in judged]
            assert [moment(at) for at in raised["reached_at"]] == [j.reached_at for j in judged]
            totals["alerts"] += len(pair.alerts)
            totals["escalations"] += sum(len(a.escalated_at) for a in pair.alerts)
            told = {("alert", a.raised_at) for a in pair.alerts}
            told |= {("escalation", at) for a in pair.alerts for at in a.escalated_at}
            pages |= told
            nights |= {one for one in told if known[name].calendar.night(np.array([one[1]]))[0]}
            for j in judged:
                totals[j.verdict.lower()] += 1
            if policy.is_judged and policy.condition != "ABSENCE":
                own = slice(fleet.first[row], fleet.first[row + 1])
                reached = [
                    at
                    for at in rules.reaches(
                        fleet.measured_at[own], fleet.utilization[own], policy.target, 2.0
                    )
                    if fleet.evaluated_at[0] + HOUR <= at <= fleet.evaluated_at[-1]
                ]
                announced = [
                    rules.is_announced(
                        [a.raised_at for a in pair.alerts],
                        at,
                        lead_hours=1,
                        horizon=policy.horizon(horizon_days),
                    )
                    for at in reached
                ]
                listed = found.reached.query("policy == @n and resource == @row")
                assert [moment(at) for at in listed["at"]] == reached
                assert listed["announced"].tolist() == announced
                totals["reached"] += len(reached)
                totals["announced"] += sum(announced)
        assert {name: int(found.scores[name][n]) for name in totals} == totals
        assert found.scores["pages"][n] == len(pages)
        assert found.scores["night_pages"][n] == len(nights)


common = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@common
@given(
    histories(),
    evaluations(),
    st.lists(policies, min_size=1, max_size=4),
    hours,
    hours,
    st.sampled_from([None, 60.0]),
)
def test_levels(measured, evaluated, chosen, one, other, stale):
    known = {"a": one, "b": other, "c": one}
    fleet = Fleet.of(measured, evaluated, hours=known, stale_minutes=stale, accumulating={"a"})
    held_alike(fleet, chosen, known)


@common
@given(histories(), evaluations(), st.lists(absence_policies, min_size=1, max_size=2), hours)
def test_absences(measured, evaluated, chosen, known):
    fleet = Fleet.of(measured, evaluated, hours=known)
    held_alike(fleet, chosen, dict.fromkeys("abc", known))


@common
@given(histories(), evaluations(), st.lists(runway_policies, min_size=1, max_size=3), hours, st.data())
def test_runways(measured, evaluated, chosen, known, data):
    fleet = Fleet.of(measured, evaluated, hours=known)
    days = st.sampled_from([0.0, 5.0, 10.0, 12.0, 20.0, 22.5, 40.0, np.inf, np.nan])
    origins = START + pd.to_timedelta([-8 * 1440, 0, 300, 900], unit="min")
    shape = (len(fleet.resources), 4, 3)
    said = np.array(data.draw(st.lists(days, min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))))
    fleet = replace(fleet, runways={90.0: Runway(rules.micros(origins), said.reshape(shape))})
    held_alike(fleet, chosen, dict.fromkeys("abc", known))


# Said by hand ------------------------------------------------------------------------------------------------------


def quarters(*values: float, name: str = "r", capacity: float = 100.0) -> pd.DataFrame:
    """A measurement every quarter of an hour from Monday 2026-06-01, 08:00 UTC."""
    at = pd.date_range("2026-06-01 08:00", periods=len(values), freq="15min", tz="UTC")
    return pd.DataFrame({"resource": name, "measured_at": at, "value": values, "capacity": capacity})


def test_a_value_on_the_line_is_one_episode_with_a_margin_and_many_without():
    fleet = Fleet.of(quarters(*[80, 79.5] * 20))
    scores = replay(fleet, [Policy(80, margin=2), Policy(80, margin=0)]).scores
    assert scores["episodes"].tolist() == [1, 20]


def test_suppression_counts_from_the_last_alert_and_lets_through_what_lasts():
    fleet = Fleet.of(quarters(85, 70, 85, 70, 70, 85, 85, 70))
    held = replay(fleet, [Policy(80, suppression_minutes=60)], detail=True).episodes
    clock = held["raised_at"].dt.strftime("%H:%M").tolist()
    assert clock[0] == "08:00"
    assert pd.isna(clock[1]), "it was over before 09:00"
    assert clock[2] == "09:15", "an hour had passed when it began"
    assert held["held_by"].fillna("").tolist() == ["", "SUPPRESSED", ""]


def test_what_is_over_between_two_turns_is_not_alerted_when_the_gate_opens():
    """Judged at every full hour; muted until half past nine."""
    muted = Hours(
        mutes=((dt.datetime(2026, 6, 1, 8, tzinfo=dt.UTC), dt.datetime(2026, 6, 1, 9, 30, tzinfo=dt.UTC)),)
    )
    for values, raised in (
        ([85] * 9, "09:30"),
        ([85] * 6 + [70, 85, 85], "09:45"),
        ([85] * 6 + [70, 70, 85], "10:00"),
        ([85] * 6 + [70, 70, 70], None),
    ):
        fleet = Fleet.of(quarters(*values), hours=muted)
        held_alike(fleet, [Policy(80, frequency_minutes=60)], {"r": muted})
        [episode] = replay(fleet, [Policy(80, frequency_minutes=60)], detail=True).episodes.itertuples()
        assert episode.held_by == "MUTED"
        assert (None if pd.isna(episode.raised_at) else episode.raised_at.strftime("%H:%M")) == raised


def test_a_storm_is_one_page():
    storm = pd.concat([quarters(70, 85, 85, name=f"tenant {n:03}") for n in range(200)])
    found = replay(Fleet.of(storm), [Policy(80)])
    assert found.scores["alerts"][0] == 200
    assert found.scores["pages"][0] == 1


def test_a_page_is_at_night_where_the_people_are():
    """At 10:00 UTC it is night in Los Angeles and day in Berlin; one page wakes whoever sleeps."""
    zones = {"berlin": "Europe/Berlin", "la": "America/Los_Angeles"}
    both = pd.concat([quarters(*[70] * 8, 85, name=name) for name in zones])
    known = {name: Hours(Calendar(zone)) for name, zone in zones.items()}
    found = replay(Fleet.of(both, hours=known), [Policy(80)] * 2, [(0, 0), (1, 0), (1, 1)], nights=True)
    assert found.scores["pages"].tolist() == [1, 1]
    assert found.scores["night_pages"].tolist() == [0, 1]
    assert found.nights["pair"].tolist() == [2]


def test_what_fails_together_is_one_page_and_each_escalation_one_more():
    """A hundred disks and a hundred pools fail at 23:00: two pages, and two more for each time that nobody answers."""
    storm = [
        quarters(*[70] * 60, *[85] * 10, name=f"{kind} {n:03}")
        for kind in ("disk", "pool")
        for n in range(100)
    ]
    names = {frame["resource"].iloc[0] for frame in storm}
    fleet = Fleet.of(pd.concat(storm), families={name: name[:4] for name in names})
    found = replay(fleet, [Policy(80), Policy(80, escalation_minutes=60)], nights=True)
    assert found.scores["alerts"].tolist() == [100 * 2] * 2
    assert found.scores["pages"].tolist() == [2, 2 + 2 * 2]
    assert found.scores["night_pages"].tolist() == [2, 6]
    assert found.nights.groupby(found.pairs[found.nights["pair"], 0])["page"].nunique().tolist() == [2, 6]
    assert replay(Fleet.of(pd.concat(storm)), [Policy(80)]).scores["night_pages"].tolist() == [1]
    assert replay(fleet, [Policy(80)]).nights.empty


def test_lead_time_in_hours_and_in_working_hours():
    """Raised on Friday at 16:00, reached on Monday at 10:00: 66 hours, of which two are worked."""
    at = pd.to_datetime(["2026-06-05 15:00", "2026-06-05 16:00", "2026-06-08 10:00"], utc=True)
    measured = pd.DataFrame({"resource": "r", "measured_at": at, "value": [70.0, 85, 95], "capacity": 100.0})
    scores = replay(Fleet.of(measured, at), [Policy(80, target=90)]).scores
    assert scores["lead_hours"][0] == 66
    assert scores["lead_working_hours"][0] == 2


def test_the_horizon_and_the_lead_are_closed_at_their_ends():
    """Raised at 08:15, and an hour is both what it is given and what it must be early by."""

    def judged(*after: float) -> tuple[list[str], list[int]]:
        found = replay(
            Fleet.of(quarters(70, *after)),
            [Policy(80, target=90)],
            horizon_days=1 / 24,
            lead_hours=1,
            detail=True,
        )
        return found.episodes["outcome"].tolist(), found.scores[["reached", "announced"]].iloc[0].tolist()

    assert judged(85, 85, 85, 85, 85) == (["OPEN"], [0, 0]), "at 09:15 it may still come"
    assert judged(85, 85, 85, 85, 85, 85) == (["FALSE"], [0, 0])
    assert judged(85, 85, 85, 85, 95) == (["TRUE"], [1, 1])
    assert judged(85, 85, 85, 85, 85, 95) == (["FALSE"], [1, 0])
    assert judged(85, 85, 85, 95) == (["TRUE"], [1, 0]), "a quarter of an hour too late to be announced"


def test_a_resource_is_not_compared_with_the_one_before_it():
    both = pd.concat([quarters(90, 90, name="a"), quarters(10, 10, 20, name="b", capacity=200)])
    assert not Fleet.of(both, accumulating={"a", "b"}).intervened.any()
    cut = pd.concat([quarters(90, 80, name="a"), quarters(10, 9, name="b")])
    assert Fleet.of(cut, accumulating={"b"}).intervened.tolist() == [False, False, False, True]


def test_a_measurement_is_stale_only_after_its_time():
    for at, episodes in (("09:00", 1), ("09:01", 0)):
        fleet = Fleet.of(quarters(85), pd.DatetimeIndex([f"2026-06-01 {at}"], tz="UTC"), stale_minutes=60)
        assert replay(fleet, [Policy(80)]).scores["episodes"][0] == episodes


def test_what_is_reached_together_with_more_capacity_is_censored():
    grown = quarters(70, 85, 130).assign(capacity=[100.0, 100, 140])
    found = replay(Fleet.of(grown), [Policy(80, target=90)], detail=True)
    assert found.episodes["outcome"].tolist() == ["CENSORED"]


def test_counts_are_kept_apart_at_cuts_and_add_up():
    fleet = Fleet.of(quarters(*[85, 70] * 8))
    whole, parts = replay(fleet, [Policy(80)]), replay(fleet, [Policy(80)], cuts=fleet.evaluated_at[[4, 8]])
    assert parts.counts["alerts"].tolist() == [[2, 2, 4]]
    assert all((parts.counts[name].sum(axis=1) == whole.counts[name][:, 0]).all() for name in whole.counts)


def test_some_pairs_only_and_in_processes_say_the_same():
    rng = np.random.default_rng(5)
    measured = pd.concat([quarters(*rng.uniform(60, 100, 200), name=f"r{n:03}") for n in range(130)])
    fleet = Fleet.of(measured)
    chosen = [Policy(level, suppression_minutes=45, target=95) for level in (75, 80, 85)]
    pairs = [(n, r) for n in range(3) for r in range(130) if (n + r) % 3]
    here = replay(fleet, chosen, pairs, horizon_days=0.5, lead_hours=1, detail=True)
    there = replay(fleet, chosen, pairs, horizon_days=0.5, lead_hours=1, detail=True, workers=2)
    everyone = replay(fleet, chosen, horizon_days=0.5, lead_hours=1, detail=True)
    pd.testing.assert_frame_equal(here.scores, there.scores)
    pd.testing.assert_frame_equal(here.episodes, there.episodes)
    pd.testing.assert_frame_equal(here.reached, there.reached)
    wanted = everyone.episodes[(everyone.episodes["policy"] + everyone.episodes["resource"]) % 3 > 0]
    pd.testing.assert_frame_equal(here.episodes, wanted.reset_index(drop=True))


def test_a_forecast_is_given_nothing_of_what_came_after_its_origin():
    fleet = Fleet.of(pd.concat([quarters(*range(10), name="a"), quarters(*range(4), name="b")]))
    seen: list[tuple[int, int]] = []

    def forecast(known: Fleet, origin: int, levels: tuple[float, ...]):
        assert levels == (90.0, 100.0)
        seen.append((int(known.measured_at.max()), origin))
        assert np.diff(known.first).tolist() == [min(10, len(seen) * 3), min(4, len(seen) * 3)]
        return np.arange(2)[:, None, None] + np.array(levels)[None, :, None] + np.array([0.1, 0.5, 0.9])

    origins = pd.to_datetime(["2026-06-01 08:30", "2026-06-01 09:15"], utc=True)
    made, seconds = runways(fleet, origins, [90, 100], forecast)
    assert all(newest <= origin for newest, origin in seen)
    assert seconds > 0
    assert made[100.0].days.shape == (2, 2, 3)
    assert made[100.0].days[1, 0].tolist() == [101.1, 101.5, 101.9]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: Fleet.of(quarters()), "no measurement"),
        (
            lambda: Fleet.of(quarters(1), pd.DatetimeIndex(["2026-06-01", "2026-06-01"], tz="UTC")),
            "follow each other",
        ),
        (lambda: replay(Fleet.of(quarters(1)), []), "no policy"),
        (lambda: replay(Fleet.of(quarters(1)), [Policy(80)], workers=0), "at least one worker"),
        (
            lambda: replay(Fleet.of(quarters(1)), [Policy(9, "RUNWAY", "<=", target=85)]),
            "No forecasts .* of 85 %",
        ),
    ],
)
def test_what_cannot_be_replayed_is_said(ask, said):
    with pytest.raises(CapacityError, match=said):
        ask()
