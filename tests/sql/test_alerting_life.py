"""The life of an alert: episodes, the gates that hold an alert back, escalation, resolution, counters."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import errors
from psycopg.rows import dict_row

HOUR, DAY = 60, 1440


def breach(*minutes: float) -> list[tuple[float, float]]:
    return [(m, 95) for m in minutes]


# Episodes and hysteresis


def test_a_breach_is_one_episode_and_one_alert_until_it_is_over(stage):
    stage.threshold()
    stage.play((0, 50), (15, 92), (30, 97), (45, 94), (60, 80), (75, 50))
    (episode,) = stage.episodes()
    assert (episode["started_at"], episode["ended_at"]) == (stage.at(15), stage.at(60))
    assert (episode["ended_by"], episode["peak"], episode["first_measured_at"]) == (
        "RECOVERY",
        97,
        stage.at(15),
    )
    (alert,) = stage.alerts()
    assert (alert["raised_at"], alert["resolved_at"], alert["resolved_by"]) == (
        stage.at(15),
        stage.at(60),
        "auto",
    )
    assert (alert["status"], alert["severity"], alert["value_at_raise"]) == ("RESOLVED", "CRITICAL", 92)
    assert alert["message"] == "CRITICAL: STORAGE disk is at 92.0% of its capacity, past the level of 90%."


def test_a_value_on_the_line_does_not_flap(stage):
    stage.threshold(90)
    stage.play(*((15 * i, 90.0 if i % 2 else 89.9) for i in range(20)))
    assert len(stage.episodes()) == len(stage.alerts()) == 1
    stage.play((400, 88.01))
    assert stage.episodes()[0]["ended_at"] is None, "two points below the level, no less"
    stage.play((415, 88))
    assert stage.episodes()[0]["ended_at"] == stage.at(415)


@pytest.mark.parametrize(
    ("operator", "breaching", "near", "clear"),
    [(">", 90.1, 88.1, 88), ("<=", 20, 21.9, 22), ("<", 19.9, 21.9, 22)],
)
def test_each_operator_recovers_on_its_own_side(stage, operator, breaching, near, clear):
    stage.threshold(90 if operator == ">" else 20, threshold_operator=operator)
    stage.play((0, breaching), (15, near))
    assert stage.episodes()[0]["ended_at"] is None
    stage.play((30, clear))
    assert stage.episodes()[0]["ended_at"] == stage.at(30)


@pytest.mark.parametrize(("margin", "near", "clear"), [(0, 90, 89.99), (5, 85.01, 85)])
def test_the_margin_is_the_thresholds_own_before_the_setting(stage, margin, near, clear):
    stage.threshold(recovery_margin=margin)
    stage.play((0, 95), (15, near))
    assert stage.episodes()[0]["ended_at"] is None
    stage.play((30, clear))
    assert stage.episodes()[0]["ended_at"] == stage.at(30)


def test_no_verdict_changes_nothing(stage):
    stage.threshold()
    stage.play((0, 95))
    stage.evaluate(120)  # stale
    assert stage.episodes()[0]["ended_at"] is None
    stage.play((135, 95), (150, 50))
    assert len(stage.episodes()) == 1


def test_a_quick_relapse_is_a_new_episode(stage):
    stage.threshold()
    stage.play((0, 95), (15, 50), (30, 95))
    assert stage.raised() == [0, 30]


def test_every_resource_has_its_own_alert(stage):
    stage.threshold()
    for name in ("first", "second"):
        stage.measure(0, 95, name=name)
    stage.evaluate(0)
    assert {a["resource_name"] for a in stage.alerts()} == {"first", "second"}


def test_nothing_is_overwritten(stage):
    stage.threshold()
    stage.play((0, 95), (15, 50))
    versions = stage.rows(
        "SELECT resolved_at, load_end_date IS NULL AS now FROM capacity_alerting.alert_s ORDER BY load_date"
    )
    assert [v["now"] for v in versions].index(True) == len(versions) - 1 > 0
    assert versions[0]["resolved_at"] is None
    assert len(stage.rows("SELECT FROM capacity_alerting.episode_s")) == 2
    with pytest.raises(errors.RaiseException, match="not changed"):
        stage.run("UPDATE capacity_alerting.evaluation SET raised = 0")


# Frequency


def test_frequency_is_in_slots_of_the_clock_and_jitter_skips_none(stage):
    stage.threshold(evaluation_frequency_minutes=15)
    stage.play((1, 50), (14.9, 95))
    assert stage.episodes() == [], "the same quarter of an hour"
    stage.evaluate(15)
    assert len(stage.alerts()) == 1
    stage.threshold(name="other", evaluation_frequency_minutes=15)
    for late in (31, 45.1, 60.2):  # each in a slot of its own, though some are less than 15 minutes apart
        stage.play((late, 50 if late == 45.1 else 95))
    assert [e["ended_at"] for e in stage.episodes() if e["threshold_name"] == "full"] == [
        stage.at(45.1),
        None,
    ]


@pytest.mark.parametrize("frequency", [None, 0, -5])
def test_without_a_frequency_every_evaluation_counts(stage, frequency):
    stage.threshold(evaluation_frequency_minutes=frequency)
    stage.play((0, 50), (1, 95), (2, 50))
    assert len(stage.episodes()) == 1


def test_the_slot_of_a_tenant_is_used_up_by_its_own_evaluation_only(stage):
    acme, other = stage.tenant("acme"), stage.tenant("other")
    for tenant in (acme, other):
        stage.threshold(tenant=tenant, evaluation_frequency_minutes=60)
        stage.measure(0, 50, tenant=tenant)
    stage.evaluate(0)
    for tenant in (acme, other):
        stage.measure(70, 95, tenant=tenant)
    stage.evaluate(70, acme)
    assert [a["tenant_hk"] for a in stage.alerts()] == [acme]
    stage.evaluate(80)
    assert {a["tenant_hk"] for a in stage.alerts()} == {acme, other}


def test_gates_open_between_the_turns_of_a_threshold(stage):
    """The turn of a day is midnight, when nobody is at work."""
    daily = stage.threshold(evaluation_frequency_minutes=1440, business_hours_only=True)
    stage.play((0, 95), (525, 95))
    assert stage.episodes()[0]["held_by"] == "OUTSIDE_BUSINESS_HOURS"
    stage.play((540, 97))
    assert stage.raised() == [540]
    assert stage.alerts()[0]["value_at_raise"] == 97
    assert stage.episodes()[0]["peak"] == 95, "it is judged when it is its turn"
    stage.configure(daily, escalation_enabled=True, escalation_delay_minutes=30)
    stage.play((585, 50))
    assert stage.alerts()[0]["escalations"] == 1
    assert stage.episodes()[0]["ended_at"] is None
    stage.play((1440, 50))
    assert stage.alerts()[0]["resolved_at"] == stage.at(1440)


def test_what_is_over_is_not_alerted_between_the_turns_of_a_threshold(stage):
    stage.threshold(evaluation_frequency_minutes=1440, business_hours_only=True)
    stage.play((0, 95), (540, 50), (555, 89))
    assert stage.raised() == [555], "within the recovery margin, it lasts"
    stage.threshold(name="muted", evaluation_frequency_minutes=1440)
    stage.run(f"SELECT capacity_alerting.mute_alerts('{stage.at(2000)}', p_from => '{stage.at(1400)}')")
    stage.play((1440, 95), (1999, 50), (2000, 50))
    assert stage.raised() == [555]
    assert {e["held_by"] for e in stage.episodes() if e["threshold_name"] == "muted"} == {"MUTED"}
    stage.play((2880, 50))
    assert stage.raised() == [555]


# The gates


def test_suppression_ends_at_its_minute(stage):
    stage.threshold(suppression_enabled=True, suppression_duration_minutes=60)
    stage.play((0, 95), (15, 50), (59.9, 95))
    assert stage.raised() == [0]
    assert stage.episodes()[1]["held_by"] == "SUPPRESSED"
    stage.evaluate(60)
    assert stage.raised() == [0, 60]


def test_an_episode_that_ends_under_suppression_is_never_alerted_and_says_why(stage):
    stage.threshold(suppression_enabled=True, suppression_duration_minutes=60)
    stage.play((0, 95), (15, 50), (30, 95), (45, 50), (90, 50))
    assert stage.raised() == [0]
    assert [(e["is_alerted"], e["held_by"]) for e in stage.episodes()] == [
        (True, None),
        (False, "SUPPRESSED"),
    ]


def test_a_suppression_without_a_duration_suppresses_nothing(stage):
    stage.threshold(suppression_enabled=True, suppression_duration_minutes=None)
    stage.play((0, 95), (15, 50), (30, 95))
    assert stage.raised() == [0, 30]


def test_a_disabled_threshold_has_episodes_and_no_alerts_until_it_is_enabled(stage):
    hk = stage.threshold(alert_enabled=False)
    stage.play((0, 95), (15, 95))
    assert stage.alerts() == []
    assert stage.episodes()[0]["held_by"] == "DISABLED"
    stage.configure(hk, alert_enabled=None)
    stage.evaluate(30)
    assert stage.raised() == [30], "unknown counts as enabled"


@pytest.mark.parametrize(
    "scope",
    [
        "p_threshold_hk => %(hk)s",
        "p_resource_type => 'STORAGE'",
        "p_resource_name => 'disk', p_resource_type => 'STORAGE'",
        "p_by => 'ann'",
    ],
)
def test_a_mute_holds_until_its_end(stage, scope):
    hk = stage.threshold()
    stage.run(
        f"SELECT capacity_alerting.mute_alerts(%(until)s, {scope}, p_from => %(since)s)",
        {"hk": hk, "until": stage.at(60), "since": stage.at(0)},
    )
    stage.play(*breach(0, 15, 59.9))
    assert stage.alerts() == []
    assert stage.episodes()[0]["held_by"] == "MUTED"
    stage.evaluate(60)
    assert stage.raised() == [60]


def test_a_mute_or_maintenance_of_the_system_holds_no_tenants(stage):
    acme = stage.tenant("acme")
    stage.threshold()
    stage.threshold(tenant=acme)
    for call in (
        f"mute_alerts('{stage.at(60)}', p_from => '{stage.at(0)}', p_system_only => true)",
        f"declare_maintenance('{stage.at(60)}', '{stage.at(120)}', p_system_only => true)",
    ):
        stage.run(f"SELECT capacity_alerting.{call}")
    for minutes in (0, 90, 120):
        stage.measure(minutes, 95)
        stage.measure(minutes, 95, tenant=acme)
        stage.evaluate(minutes)
    assert [(row["tenant_hk"], at) for row, at in zip(stage.alerts(), stage.raised(), strict=True)] == [
        (acme, 0),
        (None, 120),
    ]
    for call in ("mute_alerts('2030-01-01', p_tenant_hk => %s, p_system_only => true)",
                 "declare_maintenance('2030-01-01', '2030-01-02', %s, p_system_only => true)"):  # fmt: skip
        with pytest.raises(errors.RaiseException, match="of the system alone, or of a tenant"):
            stage.run(f"SELECT capacity_alerting.{call}", acme)


@pytest.mark.parametrize(
    "columns", [{"evaluation_frequency_minutes": 2**31 - 1}, {"escalation_delay_minutes": 2**31 - 1}]
)
def test_no_length_of_time_that_is_accepted_stops_evaluation(stage, columns):
    stage.threshold(escalation_enabled=True, **columns)
    stage.run(
        "SELECT capacity_alerting.declare_maintenance(%s, %s, p_repeat_weeks => 520)",
        stage.at(-60),
        stage.at(-30),
    )
    stage.play((0, 95), (15, 96))
    assert stage.raised() == [0]
    for call in (
        "create_runway_threshold(NULL, 'r', 'STORAGE', 36501)",
        "create_absence_threshold(NULL, 'a', 'STORAGE', 1e9)",
    ):
        with pytest.raises(errors.RaiseException, match="more than a hundred years"):
            stage.run(f"SELECT capacity_alerting.{call}")
    with pytest.raises(errors.RaiseException, match="1 to 520 weeks"):
        stage.run(
            "SELECT capacity_alerting.declare_maintenance(%s, %s, p_repeat_weeks => 4000)",
            stage.at(0),
            stage.at(30),
        )


@pytest.mark.parametrize(
    "scope", ["p_resource_type => 'CPU'", "p_resource_name => 'other'", "p_tenant_hk => %(tenant)s"]
)
def test_a_mute_of_something_else_holds_nothing(stage, scope):
    stage.threshold()
    stage.run(
        f"SELECT capacity_alerting.mute_alerts(%(until)s, {scope}, p_from => %(since)s)",
        {"until": stage.at(60), "since": stage.at(0), "tenant": stage.tenant("acme")},
    )
    stage.play(*breach(15))
    assert stage.raised() == [15]


def test_a_mute_can_be_ended_and_needs_an_end(stage):
    stage.threshold()
    mute = stage.value("SELECT capacity_alerting.mute_alerts(%s, p_from => %s)", stage.at(DAY), stage.at(0))
    stage.play(*breach(0))
    stage.run("SELECT capacity_alerting.unmute(%s, %s)", mute, stage.at(10))
    stage.evaluate(15)
    assert stage.raised() == [15]
    for arguments, message in (
        ("NULL", "needs an end"),
        ("'infinity'", "needs an end"),
        ("'2020-01-01Z'", "end after it begins"),
    ):
        with pytest.raises(errors.RaiseException, match=message):
            stage.run(f"SELECT capacity_alerting.mute_alerts({arguments})")
    with pytest.raises(errors.RaiseException, match="no mute"):
        stage.run("SELECT capacity_alerting.unmute(%s, %s)", mute, stage.at(20))


def test_maintenance_holds_from_its_start_until_before_its_end(stage):
    stage.threshold()
    stage.run("SELECT capacity_alerting.declare_maintenance(%s, %s)", stage.at(15), stage.at(60))
    stage.play(*breach(15, 30, 59.9))
    assert stage.alerts() == []
    assert stage.episodes()[0]["held_by"] == "MAINTENANCE"
    stage.evaluate(60)
    assert stage.raised() == [60]


def test_an_exempt_threshold_is_alerted_in_maintenance(stage):
    stage.threshold(maintenance_window_exempt=True)
    stage.run("SELECT capacity_alerting.declare_maintenance(%s, %s)", stage.at(0), stage.at(60))
    stage.play(*breach(0))
    assert stage.raised() == [0]


def test_maintenance_of_one_tenant_or_type_covers_no_other(stage):
    acme = stage.tenant("acme")
    stage.threshold()
    stage.run("SELECT capacity_alerting.declare_maintenance(%s, %s, %s)", stage.at(0), stage.at(60), acme)
    stage.run("SELECT capacity_alerting.declare_maintenance(%s, %s, NULL, 'CPU')", stage.at(0), stage.at(60))
    assert not stage.value("SELECT capacity_alerting.is_in_maintenance(NULL, 'STORAGE', %s)", stage.at(5))
    assert stage.value("SELECT capacity_alerting.is_in_maintenance(%s, 'STORAGE', %s)", acme, stage.at(5))
    assert stage.value("SELECT capacity_alerting.is_in_maintenance(NULL, 'CPU', %s)", stage.at(5))


def test_repeating_maintenance_keeps_its_local_time_over_summer_time(stage):
    # Sundays from 01:00 to 05:00 in Berlin, every second week; summer time from 29 March to 25 October
    window = stage.value(
        "SELECT capacity_alerting.declare_maintenance('2026-03-15 00:00Z', '2026-03-15 04:00Z', "
        "NULL, NULL, 2, 'Europe/Berlin')"
    )
    covered = {
        "2026-03-14T23:59Z": False, "2026-03-15T00:00Z": True, "2026-03-15T03:59Z": True, "2026-03-15T04:00Z": False,
        "2026-03-01T01:00Z": False,  # before the first
        "2026-03-22T01:00Z": False,  # the week between
        "2026-03-29T00:00Z": True, "2026-03-29T02:59Z": True, "2026-03-29T03:00Z": False,  # it lacks an hour
        # an hour earlier in UTC
        "2026-04-11T22:59Z": False, "2026-04-11T23:00Z": True, "2026-04-12T02:59Z": True, "2026-04-12T03:00Z": False,
        # the night that has one more
        "2026-10-24T22:59Z": False, "2026-10-24T23:00Z": True, "2026-10-25T03:59Z": True, "2026-10-25T04:00Z": False,
    }  # fmt: skip
    for at, expected in covered.items():
        assert (
            stage.value("SELECT capacity_alerting.is_in_maintenance(NULL, 'CPU', %s::timestamptz)", at)
            is expected
        ), at
    stage.run("SELECT capacity_alerting.cancel_maintenance(%s)", window)
    assert not stage.value("SELECT capacity_alerting.is_in_maintenance(NULL, 'CPU', '2026-03-15 01:00Z')")
    with pytest.raises(errors.RaiseException, match="no maintenance window"):
        stage.run("SELECT capacity_alerting.cancel_maintenance(%s)", window)


def test_business_hours_hold_over_night_weekend_and_holiday(stage):
    stage.threshold(business_hours_only=True)
    stage.run("INSERT INTO capacity_alerting.holiday VALUES (NULL, '2026-03-09', 'a Monday off')")
    friday_evening = 4 * DAY + 17 * HOUR  # the first moment after hours
    stage.play((friday_evening, 95))
    assert stage.episodes()[0]["held_by"] == "OUTSIDE_BUSINESS_HOURS"
    for minutes in (
        5 * DAY + 10 * HOUR,
        7 * DAY + 10 * HOUR,
        8 * DAY + 9 * HOUR - 1,
    ):  # Saturday, the holiday, Tuesday 08:59
        stage.measure(minutes, 95)
        stage.evaluate(minutes)
    assert stage.alerts() == []
    stage.play((8 * DAY + 9 * HOUR, 95))
    assert stage.raised() == [8 * DAY + 9 * HOUR]


@pytest.mark.parametrize(
    ("at", "within"),
    [
        ("2026-03-27T08:00Z", True), ("2026-03-27T07:59Z", False), ("2026-03-27T16:00Z", False),  # Friday, winter
        ("2026-03-30T07:00Z", True), ("2026-03-30T06:59Z", False), ("2026-03-30T15:00Z", False),  # Monday, summer
        ("2026-03-28T10:00Z", False),  # Saturday
        ("2026-05-01T10:00Z", False),  # a holiday of its own
        ("2026-05-04T10:00Z", True),  # everyone else's holiday
    ],
)  # fmt: skip
def test_business_hours_are_local_and_a_tenants_own(stage, at, within):
    acme = stage.tenant("acme")
    stage.run("SELECT capacity_alerting.set_business_calendar(%s, 'Europe/Berlin')", acme)
    stage.run(
        "INSERT INTO capacity_alerting.holiday VALUES (%s, '2026-05-01', 'Labour Day'), (NULL, "
        "'2026-05-04', 'x')",
        acme,
    )
    assert (
        stage.value("SELECT capacity_alerting.is_in_business_hours(%s, %s::timestamptz)", acme, at) is within
    )


def test_without_any_calendar_it_is_nine_to_five_utc(stage):
    stage.run("DELETE FROM capacity_alerting.business_calendar")
    within = "SELECT capacity_alerting.is_in_business_hours(NULL, %s::timestamptz)"
    assert [stage.value(within, f"2026-03-02T{t}Z") for t in ("08:59", "09:00", "16:59", "17:00")] == [
        False,
        True,
        True,
        False,
    ]


def test_a_time_zone_that_nobody_knows_is_refused_when_it_is_set(stage):
    for statement in (
        "SELECT capacity_alerting.set_business_calendar(NULL, 'Europe/Nowhere')",
        "SELECT capacity_alerting.declare_maintenance(now(), now() + interval '1 hour', "
        "p_time_zone => 'Mars')",
    ):
        with pytest.raises(errors.InvalidParameterValue):
            stage.run(statement)


def test_the_gates_are_named_in_their_order(stage):
    hk = stage.threshold(
        alert_enabled=False,
        business_hours_only=True,
        suppression_enabled=True,
        suppression_duration_minutes=10000,
    )
    mute = stage.value(
        "SELECT capacity_alerting.mute_alerts(%s, p_from => %s)", stage.at(DAY), stage.at(-DAY)
    )
    window = stage.value(
        "SELECT capacity_alerting.declare_maintenance(%s, %s)", stage.at(-DAY), stage.at(DAY)
    )
    stage.play((0, 95))  # Monday at midnight
    named = [stage.episodes()[0]["held_by"]]
    for minutes, release in (
        (1, lambda: stage.configure(hk, alert_enabled=True)),
        (2, lambda: stage.run("SELECT capacity_alerting.unmute(%s, %s)", mute, stage.at(1.5))),
        (3, lambda: stage.run("SELECT capacity_alerting.cancel_maintenance(%s)", window)),
        (4, lambda: stage.configure(hk, business_hours_only=False)),
    ):
        release()
        stage.evaluate(minutes)
        named.append(stage.episodes()[0]["held_by"])
    assert named == ["DISABLED", "MUTED", "MAINTENANCE", "OUTSIDE_BUSINESS_HOURS", "OUTSIDE_BUSINESS_HOURS"]
    assert stage.raised() == [4], "there was no alert before that could suppress it"


# Resolution


def test_without_auto_resolution_an_alert_waits_for_an_operator(stage):
    hk = stage.threshold(auto_resolution_enabled=False)
    stage.play((0, 95), (15, 50), (30, 95))
    assert [a["status"] for a in stage.alerts()] == ["OPEN"]
    assert [e["held_by"] for e in stage.episodes()] == [None, "ALREADY_ALERTED"]
    alert = stage.alerts()[0]["alert_hk"]
    stage.run("SELECT capacity_alerting.resolve(%s, 'ann', 'cleaned', NULL, %s)", alert, stage.at(40))
    stage.evaluate(45)
    assert stage.raised() == [0, 45], "the second breach is still there"
    stage.play((60, 50))
    stage.configure(hk, auto_resolution_enabled=True)
    stage.evaluate(75)
    assert [a["status"] for a in stage.alerts()] == ["RESOLVED", "RESOLVED"]


def test_a_breach_that_persists_after_an_operators_resolution_is_alerted_anew(stage):
    stage.threshold(suppression_enabled=True, suppression_duration_minutes=60)
    stage.play((0, 95))
    stage.run(
        "SELECT capacity_alerting.resolve(%s, 'ann', NULL, NULL, %s)",
        stage.alerts()[0]["alert_hk"],
        stage.at(5),
    )
    assert stage.episodes()[0]["ended_by"] == "OPERATOR"
    stage.play(*breach(15, 45))
    assert (len(stage.episodes()), stage.raised()) == (2, [0])
    stage.play(*breach(60))
    assert stage.raised() == [0, 60]


def test_operators_acts_that_make_no_sense_are_refused(stage):
    stage.threshold()
    stage.play((0, 95))
    alert = stage.alerts()[0]["alert_hk"]
    stage.run("SELECT capacity_alerting.acknowledge(%s, 'ann', 'on it', %s)", alert, stage.at(5))
    for statement, message in (
        ("SELECT capacity_alerting.acknowledge(%s, 'bob')", "acknowledged at .* by ann"),
        ("SELECT capacity_alerting.resolve(%s, p_how => 'PRAYED')", "CAPACITY_ADDED, USAGE_CUT or NULL"),
        ("SELECT capacity_alerting.resolve(%s, p_at => '2020-01-01Z')", "raised at"),
        ("SELECT capacity_alerting.give_verdict(%s, 'MAYBE')", "TRUE, FALSE, CENSORED or OPEN"),
        ("SELECT capacity_alerting.give_verdict(%s, NULL)", "TRUE, FALSE, CENSORED or OPEN"),
    ):
        with pytest.raises(errors.RaiseException, match=message):
            stage.run(statement, alert)
    stage.run("SELECT capacity_alerting.resolve(%s, 'ann')", alert)
    for act in ("acknowledge", "resolve"):
        with pytest.raises(errors.RaiseException, match="resolved at .* by ann"):
            stage.run(f"SELECT capacity_alerting.{act}(%s)", alert)
        with pytest.raises(errors.RaiseException, match="unknown alert"):
            stage.run(f"SELECT capacity_alerting.{act}('\\x00')")
    row = stage.alerts()[0]
    assert (row["acknowledged_by"], row["acknowledged_note"], row["status"]) == ("ann", "on it", "RESOLVED")


@pytest.mark.parametrize("end", ["threshold", "deleted", "tenant", "type"])
def test_what_is_no_longer_watched_ends_as_withdrawn(stage, end):
    acme = stage.tenant("acme")
    hk = stage.threshold(tenant=acme)
    stage.play((0, 95), tenant=acme)
    if end == "threshold":
        stage.configure(hk, is_active=False)
    elif end == "deleted":
        stage.run("DELETE FROM capacity_planning.capacity_threshold_s")
    elif end == "type":
        stage.configure(hk, resource_type="CPU")
    else:
        stage.run(
            "INSERT INTO auth.tenant_profile_s VALUES (%s, now(), NULL, '', 'acme', NULL, false, 1, 'test')",
            acme,
        )
    stage.measure(15, 95, tenant=acme)
    stage.evaluate(15)
    assert [(e["ended_by"], e["ended_at"]) for e in stage.episodes()] == [("WITHDRAWN", stage.at(15))]
    assert [a["resolved_by"] for a in stage.alerts()] == ["auto"]


# Escalation


def escalations(stage) -> int:
    return stage.alerts()[0]["escalations"]


def test_escalation_comes_after_each_delay_until_somebody_acknowledges(stage):
    stage.threshold(
        escalation_enabled=True, escalation_delay_minutes=15, escalation_contacts=["ops@example.org"]
    )
    stage.play(*breach(0, 14.9))
    assert escalations(stage) == 0
    stage.play(*breach(15))
    assert escalations(stage) == 1
    stage.play(*breach(20, 29.9))
    assert escalations(stage) == 1
    stage.play(*breach(50))
    assert escalations(stage) == 2, "as many as people were told, whatever was missed"
    stage.run("SELECT capacity_alerting.acknowledge(%s, 'ann')", stage.alerts()[0]["alert_hk"])
    stage.play(*breach(90))
    assert escalations(stage) == 2


@pytest.mark.parametrize(
    "configured",
    [{"escalation_enabled": False}, {"escalation_delay_minutes": None}, {"escalation_delay_minutes": 0}],
)
def test_no_escalation_without_switch_or_delay(stage, configured):
    stage.threshold(
        **{
            "escalation_enabled": True,
            "escalation_delay_minutes": 15,
            "escalation_contacts": ["SLACK"],
            **configured,
        }
    )
    stage.play(*breach(0, 60))
    assert escalations(stage) == 0


def test_an_alert_that_resolves_itself_does_not_escalate_in_the_same_breath(stage):
    stage.threshold(escalation_enabled=True, escalation_delay_minutes=15, escalation_contacts=["SLACK"])
    stage.play((0, 95), (30, 50))
    assert (escalations(stage), stage.alerts()[0]["status"]) == (0, "RESOLVED")


def test_one_that_waits_for_its_operator_escalates_though_the_breach_is_over(stage):
    stage.threshold(
        escalation_enabled=True,
        escalation_delay_minutes=15,
        escalation_contacts=["SLACK"],
        auto_resolution_enabled=False,
    )
    stage.play((0, 95), (10, 50), (20, 50))
    assert escalations(stage) == 1


@pytest.mark.parametrize(
    "gate",
    [
        "SELECT capacity_alerting.mute_alerts(%(until)s, p_from => %(since)s)",
        "SELECT capacity_alerting.declare_maintenance(%(since)s, %(until)s)",
    ],
)
def test_escalation_waits_where_an_alert_would(stage, gate):
    stage.threshold(escalation_enabled=True, escalation_delay_minutes=15, escalation_contacts=["SLACK"])
    stage.play(*breach(0))
    stage.run(gate, {"since": stage.at(5), "until": stage.at(60)})
    stage.play(*breach(30))
    assert escalations(stage) == 0
    stage.play(*breach(60))
    assert escalations(stage) == 1


def test_escalation_waits_for_business_hours(stage):
    stage.threshold(
        escalation_enabled=True,
        escalation_delay_minutes=15,
        escalation_contacts=["SLACK"],
        business_hours_only=True,
    )
    stage.play((16.9 * HOUR, 95), (18 * HOUR, 95))
    assert escalations(stage) == 0
    stage.play((33 * HOUR, 95))
    assert escalations(stage) == 1
    assert stage.notifications()[-1]["subject"].endswith("(escalation 1)"), "the first that anybody gets"


# Counters


def test_counters_count_alerts_of_a_day_a_week_and_a_month(stage):
    hk = stage.threshold()
    for start in (0, 10 * DAY, 25 * DAY, 30 * DAY - 30):
        stage.play((start, 95), (start + 15, 50))
    stage.evaluate(30 * DAY)
    current = "FROM capacity_planning.capacity_threshold_s WHERE capacity_threshold_hk = %s AND load_end_date IS NULL"
    row = stage.rows(f"SELECT * {current}", hk)[0]
    assert (row["trigger_count_24h"], row["trigger_count_7d"], row["trigger_count_30d"]) == (1, 2, 3), (
        "the first is 30 days old to the minute"
    )
    assert (row["last_triggered_date"], row["average_resolution_time_minutes"]) == (
        stage.at(30 * DAY - 30),
        15,
    )
    before = stage.rows(
        "SELECT count(*) AS n, max(load_date) AS at FROM capacity_planning.capacity_threshold_s"
    )
    stage.evaluate(70 * DAY)
    row = stage.rows(f"SELECT * {current}", hk)[0]
    assert (row["trigger_count_24h"], row["trigger_count_7d"], row["trigger_count_30d"]) == (0, 0, 0)
    assert (
        stage.rows("SELECT count(*) AS n, max(load_date) AS at FROM capacity_planning.capacity_threshold_s")
        == before
    ), "counters make no versions"
    assert stage.value("SELECT trigger_frequency FROM capacity_planning.capacity_alerts") == 0


def test_a_threshold_that_was_evaluated_counts_zero_and_one_that_was_not_counts_nothing(stage):
    quiet = stage.threshold(name="quiet")
    counted = (
        "SELECT trigger_count_24h FROM capacity_planning.capacity_threshold_s "
        "WHERE capacity_threshold_hk = %s AND load_end_date IS NULL"
    )
    assert stage.value(counted, quiet) is None
    stage.evaluate(0)
    assert stage.value(counted, quiet) == 0


# Time and sessions


def test_a_time_that_was_evaluated_already_is_shown_and_not_recorded(stage):
    stage.threshold()
    stage.play((0, 95), (30, 95))
    notices = []
    stage.connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    assert [r["threshold_exceeded"] for r in stage.evaluate(15)] == [True]
    assert [r["threshold_exceeded"] for r in stage.evaluate(30)] == [True]
    assert stage.value("SELECT count(*) FROM capacity_alerting.evaluation") == 2
    assert len([n for n in notices if "recorded already" in n]) == 2


def test_a_time_ahead_is_shown_and_not_recorded(stage):
    stage.threshold()
    notices = []
    stage.connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    stage.rows(
        "SELECT * FROM capacity_planning.evaluate_capacity_thresholds(NULL, now() + interval '10 minutes')"
    )
    stage.rows("SELECT * FROM capacity_planning.evaluate_capacity_thresholds(NULL, 'infinity')")
    assert stage.value("SELECT count(*) FROM capacity_alerting.evaluation") == 0
    assert any("lies ahead" in n for n in notices)


def test_a_clock_that_was_set_back_is_said_and_evaluation_goes_on(stage):
    stage.threshold(
        evaluation_frequency_minutes=60, suppression_enabled=True, suppression_duration_minutes=60
    )
    now = datetime.now(UTC)
    minutes = (now - stage.at(0)) / timedelta(minutes=1)
    stage.measure(minutes - 1, 95)
    stage.run(  # as recorded by a clock that was three days ahead
        "INSERT INTO capacity_alerting.evaluation (evaluated_at, is_live, thresholds, exceeded, "
        "unknown, opened, ended, raised, "
        "escalated, resolved, notifications, duration_ms, recorded_at) VALUES (%s, true, 1, 0, 0, "
        "0, 0, 0, 0, 0, 0, 1, now())",
        now + timedelta(days=3),
    )
    notices = []
    stage.connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    stage.rows("SELECT * FROM capacity_planning.evaluate_capacity_thresholds()")
    assert any("was set back" in n for n in notices)
    assert len(stage.alerts()) == 1
    stage.rows("SELECT * FROM capacity_planning.evaluate_capacity_thresholds()")
    assert stage.value("SELECT count(*) FROM capacity_alerting.evaluation") == 3
    assert len([n for n in notices if "was set back" in n]) == 1, "from then on the clock is right"


def test_a_read_only_transaction_gets_the_verdicts_and_records_nothing(stage):
    stage.threshold()
    stage.measure(0, 95)
    with stage.connection.transaction():
        stage.run("SET TRANSACTION READ ONLY")
        assert [r["threshold_exceeded"] for r in stage.evaluate(0)] == [True]
    assert stage.episodes() == []
    stage.evaluate(0)
    assert len(stage.episodes()) == 1


def test_two_sessions_at_once_raise_one_alert(stage, pg18):
    stage.threshold()
    minutes = (datetime.now(UTC) - stage.at(0)) / timedelta(minutes=1)
    stage.measure(minutes - 1, 95)
    failures: list[Exception] = []

    def evaluate() -> None:
        try:
            with pg18.connect(row_factory=dict_row) as own:
                own.execute("SELECT * FROM capacity_planning.evaluate_capacity_thresholds()")
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)

    threads = [threading.Thread(target=evaluate) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(stage.episodes()) == len(stage.alerts()) == len(stage.notifications()) == 1
    assert stage.value("SELECT count(*) FROM capacity_alerting.evaluation") == 6


def test_a_session_that_records_is_not_waited_for_longer_than_the_setting(stage, pg18):
    stage.threshold()
    stage.measure(0, 95)
    stage.run("UPDATE capacity_ops.setting SET value = 0.1 WHERE name = 'lock_wait_seconds'")
    with pg18.connect() as other, other.transaction():
        other.execute("SELECT capacity_ops.begin_recording('evaluate')")
        assert [r["threshold_exceeded"] for r in stage.evaluate(0)] == [True]
    assert stage.episodes() == []


def test_a_rolled_back_evaluation_leaves_nothing(stage):
    stage.threshold()
    stage.measure(0, 95)
    with stage.connection.transaction(force_rollback=True):
        stage.evaluate(0)
        assert len(stage.notifications()) == 1
    assert (
        stage.alerts()
        == stage.notifications()
        == stage.rows("SELECT * FROM capacity_alerting.evaluation")
        == []
    )


def test_an_unknown_tenant_is_refused(stage):
    with pytest.raises(errors.RaiseException, match="unknown tenant"):
        stage.evaluate(0, b"nobody")
