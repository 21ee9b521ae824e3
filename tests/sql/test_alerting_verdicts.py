"""What is true of an alert: verdicts, the rates that follow from them, and alerts on runway and on absence."""

from __future__ import annotations

import json

import pytest
from psycopg import errors

DAY = 1440
HORIZON = 30 * DAY


def verdicts(stage) -> list[str]:
    return [a["verdict"] for a in stage.alerts()]


def reason(stage) -> str:
    return stage.alerts()[0]["verdict_reason"]


# Levels


def test_a_critical_alert_is_true_when_capacity_is_reached(stage):
    stage.threshold()
    stage.play((0, 95), (15, 99.9), (2 * DAY, 100))
    (alert,) = stage.alerts()
    assert (alert["verdict"], alert["verdict_by"], alert["reached_at"]) == ("TRUE", "auto", stage.at(2 * DAY))
    assert alert["lead_time"] == stage.at(2 * DAY) - stage.at(0)
    assert reason(stage) == "100% of the capacity was reached"


def test_a_warning_warns_of_the_critical_level_of_its_own_tenant(stage):
    acme = stage.tenant("acme")
    stage.threshold(80, "WARNING", tenant=acme, name="early")
    stage.threshold(95, "CRITICAL", tenant=acme)
    stage.threshold(85, "CRITICAL", tenant=None)
    stage.play((0, 82), (15, 90), tenant=acme)
    assert [(a["next_level"], a["verdict"]) for a in stage.alerts()] == [(95, "OPEN")]
    stage.play((30, 95), tenant=acme)
    assert stage.alerts()[0]["verdict"] == "TRUE"


def test_a_warning_without_a_critical_threshold_warns_of_the_default_or_of_capacity(stage):
    stage.threshold(80, "WARNING")
    stage.threshold(80, "WARNING", of="LICENCES")
    stage.measure(0, 85)
    stage.measure(0, 85, kind="LICENCES")
    stage.evaluate(0)
    assert {a["resource_type"]: a["next_level"] for a in stage.alerts()} == {"STORAGE": 90, "LICENCES": 100}


def test_what_is_held_already_at_the_start_counts(stage):
    stage.threshold()
    stage.play((0, 100))
    (alert,) = stage.alerts()
    assert (alert["verdict"], alert["lead_time"].total_seconds()) == ("TRUE", 0)


def test_the_horizon_includes_its_last_moment(stage):
    stage.threshold()
    stage.play((0, 95), (HORIZON - DAY, 96), (HORIZON, 100))
    assert verdicts(stage) == ["TRUE"]


def test_false_when_the_horizon_has_passed_and_not_before(stage):
    stage.threshold()
    stage.play((0, 95), (HORIZON - DAY, 96), (HORIZON, 99))
    assert verdicts(stage) == ["OPEN"]
    stage.evaluate(HORIZON + 1)
    assert verdicts(stage) == ["FALSE"]
    assert reason(stage) == "100% of the capacity was not reached until 2026-04-01 00:00 UTC"
    stage.play((HORIZON + 2, 100))
    assert verdicts(stage) == ["FALSE"]


def test_reached_between_two_evaluations_is_seen(stage):
    stage.threshold()
    stage.play((0, 95))
    stage.measure(15, 100)
    stage.measure(30, 96)
    stage.evaluate(30)
    assert stage.alerts()[0]["reached_at"] == stage.at(15)


def test_what_was_measured_late_is_looked_at_when_the_horizon_has_passed(stage):
    stage.threshold()
    stage.play((0, 95))
    for minutes in range(1, 60):
        stage.measure(minutes, 96)
    stage.play((DAY, 96))
    stage.measure(30.5, 100)  # loaded after the evaluation that covers its time
    stage.play((2 * DAY, 96))
    assert verdicts(stage) == ["OPEN"]
    stage.evaluate(HORIZON + 1)
    assert verdicts(stage) == ["TRUE"]


@pytest.mark.parametrize(
    ("kind", "value", "verdict"),
    [
        ("STORAGE", 90.25, "CENSORED"),
        ("STORAGE", 90.3, "OPEN"),
        ("CPU", 50, "OPEN"),
        ("WAL", 50, "OPEN"),
        ("USERS", 50, "CENSORED"),
    ],
)
def test_a_cut_of_five_percent_of_what_accumulates_censors(stage, kind, value, verdict):
    stage.threshold(of=kind)
    stage.play((0, 95), (15, value), kind=kind)
    assert verdicts(stage) == [verdict]


def test_capacity_that_grew_censors_though_usage_grows_on(stage):
    stage.threshold()
    stage.play((0, 95))
    stage.play((15, 95), capacity=120)
    assert verdicts(stage) == ["CENSORED"]
    assert reason(stage) == "the capacity grew by 2026-03-02 00:15 UTC"


def test_capacity_that_shrinks_does_not_censor_and_the_registrys_counts_too(stage):
    register = "SELECT capacity_ops.register_capacity(NULL, 'STORAGE', 'disk', %s::numeric, 'bytes', %s)"
    for capacity, day in ((100, -1), (99, 0.5), (200, 1.5)):
        stage.run(register, capacity, stage.at(day * DAY))
    stage.threshold()
    stage.play((0, 95), (DAY, 95), capacity=None)
    assert verdicts(stage) == ["OPEN"]
    stage.play((2 * DAY, 95), capacity=None)
    assert verdicts(stage) == ["CENSORED"]


def test_true_wins_only_where_it_came_first(stage):
    stage.threshold()
    stage.play((0, 95))
    stage.measure(15, 100)
    stage.measure(30, 50)
    stage.evaluate(45)
    assert verdicts(stage) == ["TRUE"]
    stage.threshold(of="USERS")
    stage.play((60, 95), kind="USERS")
    stage.measure(75, 80, kind="USERS")
    stage.measure(90, 100, kind="USERS")
    stage.evaluate(105)
    assert verdicts(stage)[1] == "CENSORED"


@pytest.mark.parametrize(
    ("how", "verdict"), [(None, "OPEN"), ("CAPACITY_ADDED", "CENSORED"), ("USAGE_CUT", "CENSORED")]
)
def test_an_operator_who_did_something_about_it_censors(stage, how, verdict):
    stage.threshold()
    stage.play((0, 95))
    stage.run(
        "SELECT capacity_alerting.resolve(%s, 'ann', NULL, %s, %s)",
        stage.alerts()[0]["alert_hk"],
        how,
        stage.at(5),
    )
    stage.play((15, 96))
    assert verdicts(stage)[0] == verdict


def test_nothing_measured_is_no_evidence_that_nothing_happened(stage):
    stage.threshold()
    stage.play((0, 95))
    stage.evaluate(HORIZON + 1)
    assert verdicts(stage) == ["CENSORED"]
    assert reason(stage) == "nothing was measured until the horizon"


def test_an_operators_verdict_stands_until_it_is_given_back(stage):
    stage.threshold()
    stage.play((0, 95))
    give = "SELECT capacity_alerting.give_verdict(%s, %s, 'ann', 'a load test', %s)"
    alert = stage.alerts()[0]["alert_hk"]
    stage.run(give, alert, "FALSE", stage.at(1))
    stage.play((15, 100))
    row = stage.alerts()[0]
    assert (row["verdict"], row["verdict_by"], row["verdict_reason"]) == ("FALSE", "ann", "a load test")
    stage.run(give, alert, "OPEN", stage.at(16))
    stage.play((30, 100))
    assert (verdicts(stage)[0], stage.alerts()[0]["verdict_by"]) == ("TRUE", "auto")


def test_a_level_that_is_breached_from_above_stays_open_for_the_operator(stage):
    stage.threshold(20, threshold_operator="<=")
    stage.play((0, 10), (15, 10))
    stage.evaluate(HORIZON + 1)
    assert verdicts(stage) == ["OPEN"]


# Rates


def rates(stage) -> tuple[float | None, ...]:
    row = stage.rows(
        "SELECT * FROM capacity_planning.capacity_threshold_s WHERE threshold_name = 'full' AND "
        "load_end_date IS NULL"
    )[0]
    return tuple(
        row[c] and float(row[c])
        for c in ("false_positive_rate", "true_positive_rate", "threshold_effectiveness_score")
    )


def test_rates_follow_from_verdicts_and_are_unknown_under_the_minimum(stage):
    stage.threshold()
    stage.run("UPDATE capacity_ops.setting SET value = 1 WHERE name = 'verdict_horizon_days'")
    for i in range(3):  # announced two hours before, a day before; false
        start = i * 10 * DAY
        stage.play((start, 95), (start + 120, 100), (start + 1380, 50))
    for i in range(3, 4):
        start = i * 10 * DAY
        stage.play((start, 95), (start + DAY, 96), (start + DAY + 1, 50))
    assert rates(stage) == (None, None, None), "four alerts are not enough"
    stage.run("UPDATE capacity_ops.setting SET value = 2 WHERE name = 'verdict_lead_hours'")
    for i in range(4, 6):
        start = i * 10 * DAY
        stage.play((start, 95), (start + 119, 100), (start + 1380, 50))
    assert verdicts(stage) == ["TRUE", "TRUE", "TRUE", "FALSE", "TRUE", "TRUE"]
    # one of six is false; three of five reaches were announced two hours before
    assert rates(stage) == pytest.approx((16.67, 60, 2 * 83.3333 * 60 / 143.3333), abs=0.01)
    (record,) = stage.rows("SELECT * FROM capacity_alerting.record_at(NULL, %s)", stage.at(60 * DAY))
    assert [
        record[c]
        for c in ("alerts", "true_alerts", "false_alerts", "censored_alerts", "reaches", "announced")
    ] == [6, 5, 1, 0, 5, 3]
    assert stage.rows("SELECT * FROM capacity_alerting.record_at(NULL, %s)", stage.at(500 * DAY)) == [], (
        "a year counts"
    )


def reaches(stage, at: float = 60 * DAY):
    rows = stage.rows("SELECT reaches, announced FROM capacity_alerting.record_at(NULL, %s)", stage.at(at))
    return [tuple(row.values()) for row in rows]


def test_each_time_that_the_level_is_come_to_is_a_reach_also_within_one_episode(stage):
    stage.threshold(80, "WARNING")
    stage.threshold(90)
    stage.play((0, 50), (DAY, 85), (3 * DAY, 91), (4 * DAY, 89), (5 * DAY, 95), (6 * DAY, 88), (7 * DAY, 92))
    stage.play((8 * DAY, 100), (9 * DAY, 50))
    assert stage.value("SELECT count(*) FROM capacity_alerting.episode WHERE threshold_type = 'WARNING'") == 1
    lasted = stage.rows(
        "SELECT level, reached_at, left_at FROM capacity_alerting.reach ORDER BY level, reached_at"
    )
    assert [tuple(row.values()) for row in lasted] == [
        (90, stage.at(3 * DAY), stage.at(6 * DAY)),  # 89 is within the margin of two
        (90, stage.at(7 * DAY), stage.at(9 * DAY)),
        (100, stage.at(8 * DAY), stage.at(9 * DAY)),
    ]
    assert sorted(reaches(stage)) == [(1, 1), (2, 2)]


def test_what_could_not_be_announced_is_no_reach(stage):
    """Past it from the first measurement on, or before the first evaluation's lead time was over."""
    stage.threshold()
    stage.measure(0, 100, name="full from the start")
    stage.play((0, 95), (120, 100))
    assert reaches(stage) == [(0, 0)]
    stage.play((2 * DAY, 100))
    assert reaches(stage) == [(0, 0)]
    stage.measure(3 * DAY, 50, name="full from the start")
    stage.play((3 * DAY, 50))
    stage.measure(4 * DAY, 100, name="full from the start")
    stage.play((4 * DAY, 100))
    assert reaches(stage) == [(2, 2)], "both were alerted at the start, and the horizon is thirty days"


def test_the_same_reach_seen_by_two_evaluations_or_over_two_episodes_is_one(stage):
    """An operator ends the episode while usage stays where it is: the new episode is no new reach."""
    stage.threshold()
    stage.play((0, 50), (2 * DAY, 100))
    stage.evaluate(2 * DAY + 5)
    stage.run(
        "SELECT capacity_alerting.resolve(%s, p_at => %s)",
        stage.alerts()[0]["alert_hk"],
        stage.at(2 * DAY + 6),
    )
    stage.play((2 * DAY + 15, 100))
    assert len(stage.episodes()) == 2
    assert reaches(stage) == [(1, 0)]


# Absence


def test_absence_is_a_breach_of_its_minutes_and_true_at_once(stage):
    stage.run("SELECT capacity_alerting.create_absence_threshold(NULL, 'silent', 'STORAGE', 45)")
    stage.measure(0, 50, capacity=None)
    (row,) = stage.evaluate(45)
    assert (row["threshold_exceeded"], row["recommended_action"]) == (
        False,
        "None: last measured 45 minutes ago.",
    )
    (row,) = stage.evaluate(60)
    assert (row["threshold_exceeded"], row["threshold_percentage"]) == (True, None)
    assert row["recommended_action"] == "Not measured for 60 minutes. Check the capture schedule."
    stage.evaluate(75)
    (alert,) = stage.alerts()
    assert (alert["condition"], alert["verdict"], alert["peak"]) == ("ABSENCE", "TRUE", 75)
    assert alert["message"] == "WARNING: STORAGE disk has not been measured for 60 minutes."
    stage.play((90, 50), capacity=None)
    assert stage.alerts()[0]["status"] == "RESOLVED"


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (1, "1 minute"),
        (50.4, "50 minutes"),
        (120, "120 minutes"),
        (150, "2.5 hours"),
        (2879, "48.0 hours"),
        (2880, "2.0 days"),
        (31532, "21.9 days"),
    ],
)
def test_an_absence_is_said_in_hours_and_days_where_minutes_are_many(stage, minutes, words):
    stage.run("SELECT capacity_alerting.create_absence_threshold(NULL, 'silent', 'STORAGE', 0.5)")
    stage.measure(0, 50)
    (row,) = stage.evaluate(minutes)
    assert row["recommended_action"] == f"Not measured for {words}. Check the capture schedule."
    assert stage.alerts()[0]["message"] == row["alert_message"]
    assert row["alert_message"] == f"WARNING: STORAGE disk has not been measured for {words}."


def test_absence_of_all_types_is_three_intervals_unless_told_otherwise(stage):
    hk = stage.value("SELECT capacity_alerting.create_absence_threshold(NULL, 'silent', 'ALL')")
    assert (
        stage.value(
            "SELECT threshold_value FROM capacity_planning.capacity_threshold_s WHERE "
            "capacity_threshold_hk = %s",
            hk,
        )
        == 45
    )
    stage.measure(0, 1, kind="CPU", name="host")
    stage.measure(0, 1)
    stage.measure(0, 1, tenant=stage.tenant("acme"))
    assert [(r["resource_type"], r["threshold_exceeded"]) for r in stage.evaluate(50)] == [
        ("CPU", True),
        ("STORAGE", True),
    ]
    assert len(stage.notifications()) == 1, "one page"


def test_what_was_never_measured_is_not_absent(stage):
    stage.run("SELECT capacity_alerting.create_absence_threshold(NULL, 'silent', 'GPU', 45)")
    (row,) = stage.evaluate(0)
    assert (row["threshold_exceeded"], row["verdict_reason"]) == (None, "never measured")


# Runway


def forecast(
    stage,
    minutes: float,
    days: dict[str, int | None],
    *,
    capacity: float = 100,
    level: float = 90,
    method: str = "ENGINE",
) -> None:
    """A forecast of the critical level of STORAGE disk, as the engine or the database records it."""
    runway = {"critical": {"level": capacity * level / 100, **days}}
    stage.run(
        "WITH k AS (SELECT 'STORAGE|disk|SYSTEM|' || %(method)s AS bk), h AS (INSERT INTO "
        "capacity_planning.capacity_forecast_h "
        "SELECT capacity_ops.hash_key(bk), bk, now(), 'test' FROM k ON CONFLICT DO NOTHING), c AS "
        "(UPDATE capacity_planning.capacity_forecast_s f "
        "SET load_end_date = clock_timestamp() FROM k WHERE f.capacity_forecast_hk = "
        "capacity_ops.hash_key(k.bk) AND f.load_end_date IS NULL) "
        "SELECT FROM k",
        {"method": method},
    )
    stage.run(
        "INSERT INTO capacity_planning.capacity_forecast_s (capacity_forecast_hk, load_date, "
        "hash_diff, forecast_timestamp, last_model_training, "
        "resource_type, resource_name, resource_category, method, current_usage, unit, "
        "current_capacity, time_to_critical_days, "
        "forecast_model, model_parameters, record_source) SELECT "
        "capacity_ops.hash_key('STORAGE|disk|SYSTEM|' || %(method)s), "
        "clock_timestamp(), '', %(at)s, %(at)s, 'STORAGE', 'disk', 'TEST', %(method)s, 50, "
        "'bytes', %(capacity)s, %(p50)s, 'LINEAR', %(runway)s, 'test'",
        {"method": method, "at": stage.at(minutes), "capacity": capacity, "p50": days.get("p50")}
        | {"runway": json.dumps({"runway": runway} if method == "ENGINE" else {})},
    )


def runway_threshold(stage, days: float = 21, probability: int = 90, level: float | None = None) -> bytes:
    hk = stage.value(
        "SELECT capacity_alerting.create_runway_threshold(NULL, 'runway', 'STORAGE', %s, %s, %s)",
        days,
        probability,
        level,
    )
    stage.configure(hk, evaluation_frequency_minutes=None, suppression_enabled=False)
    return bytes(hk)


@pytest.mark.parametrize(("probability", "exceeded"), [(10, True), (50, True), (90, False)])
def test_runway_is_exceeded_by_the_days_of_its_probability(stage, probability, exceeded):
    runway_threshold(stage, 21, probability)
    stage.measure(0, 50)
    forecast(stage, 0, {"p10": 12, "p50": 20, "p90": 40})
    (row,) = stage.evaluate(15)
    assert (row["threshold_exceeded"], row["threshold_percentage"]) == (exceeded, 90)


def test_a_full_disk_is_no_second_page_for_being_about_to_be_full(stage):
    stage.threshold()
    stage.configure(runway_threshold(stage, 21), notification_channels=["EMAIL"])
    stage.run("UPDATE capacity_alerting.channel SET is_default = name = 'EMAIL'")
    stage.measure(0, 50)
    forecast(stage, 0, {"p10": 12, "p50": 20, "p90": 40})
    stage.play((15, 95))
    assert [a["condition"] for a in stage.alerts()] == ["LEVEL", "RUNWAY"]
    assert [n["subject"] for n in stage.notifications()] == [
        "CRITICAL: STORAGE disk of the system and 1 more"
    ]


def test_days_left_run_down_from_the_forecast_and_the_alert_says_so(stage):
    runway_threshold(stage, 21)
    stage.measure(0, 50)
    forecast(stage, 0, {"p10": 12, "p50": 20, "p90": 23})
    stage.measure(DAY, 50)
    assert [r["threshold_exceeded"] for r in stage.evaluate(DAY)] == [False]
    stage.measure(2 * DAY, 51)
    (row,) = stage.evaluate(2 * DAY)
    assert (
        row["recommended_action"]
        == "90% of the capacity will be reached in 21.0 days with a probability of 90%. Free or add "
        "capacity before then."
    )
    (alert,) = stage.alerts()
    assert (alert["condition"], alert["value_at_raise"], alert["level"], alert["next_level"]) == (
        "RUNWAY",
        21,
        90,
        90,
    )
    assert alert["message"] == (
        "WARNING: STORAGE disk will be at 90% of its capacity in 21.0 days, with a probability of "
        "90%. It is at 51.0% now."
    )
    assert alert["horizon_until"] == stage.at(23 * DAY)


def test_runway_recovers_beyond_its_margin_of_days(stage):
    runway_threshold(stage, 21)
    stage.measure(0, 50)
    forecast(stage, 0, {"p90": 10})
    stage.evaluate(0)
    for minutes, days in ((10, 22), (20, 23)):
        forecast(stage, minutes, {"p90": days})
        stage.evaluate(minutes)
        assert (stage.episodes()[0]["ended_at"] is None) is (days == 22)
    forecast(stage, 30, {"p90": 5})
    stage.evaluate(30)
    forecast(stage, 40, {"p90": None})
    stage.evaluate(40)
    assert [e["ended_at"] is not None for e in stage.episodes()] == [True, True]


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda s: None, "no forecast of method ENGINE of the last 7 days"),
        (lambda s: forecast(s, -7 * DAY - 1, {"p90": 5}), "no forecast of method ENGINE of the last 7 days"),
        (
            lambda s: forecast(s, 1, {"p90": 5}),
            "no forecast of method ENGINE of the last 7 days",
        ),  # not known yet
        (
            lambda s: forecast(s, 0, {"p50": 5}, method="SQL"),
            "no forecast of method ENGINE of the last 7 days",
        ),
        (
            lambda s: forecast(s, 0, {"p90": 5}, capacity=80),
            "no forecast of method ENGINE of the last 7 days",
        ),  # of another capacity
        (lambda s: s.configure(runway_threshold(s), threshold_percentage=77), "the level is not forecast"),
    ],
)
def test_without_a_forecast_of_it_there_is_no_verdict_and_a_reason(stage, prepare, reason):
    runway_threshold(stage)
    stage.measure(0, 50)
    prepare(stage)
    (row,) = stage.evaluate(0)
    assert (row["threshold_exceeded"], row["verdict_reason"], row["alert_severity"]) == (
        None,
        reason,
        "UNKNOWN",
    )
    assert row["recommended_action"].startswith("No verdict: ")
    if "ENGINE" in reason:
        assert row["recommended_action"].endswith(" Run capacity analyze --engine local.")
    assert stage.episodes() == []


def test_what_keeps_a_runway_from_a_verdict_is_listed_with_what_helps(stage):
    runway_threshold(stage)
    half = stage.value(
        "SELECT capacity_alerting.create_runway_threshold(NULL, 'half', 'STORAGE', 21, 50, 90)"
    )
    stage.measure(stage.value("SELECT extract(epoch FROM now() - %s)::float8 / 60", stage.at(0)), 50)
    advice = stage.rows(
        "SELECT capacity_threshold_hk AS hk, advice FROM capacity_alerting.threshold_problem "
        "WHERE problem LIKE 'no forecast%'"
    )
    assert {(row["hk"] == half, row["advice"]) for row in advice} == {
        (False, "Run capacity analyze --engine local, once a day."),
        (True, "Run capacity analyze, once a day."),
    }


def test_a_probability_of_half_takes_the_databases_own_forecast_too(stage):
    runway_threshold(stage, 21, 50)
    stage.measure(0, 50)
    forecast(stage, 0, {"p50": 20}, method="SQL")
    assert [r["threshold_exceeded"] for r in stage.evaluate(0)] == [True]


def test_a_forecast_that_does_not_get_there_is_no_breach(stage):
    runway_threshold(stage)
    stage.measure(0, 50)
    forecast(stage, 0, {"p10": None, "p50": None, "p90": None})
    (row,) = stage.evaluate(0)
    assert (row["threshold_exceeded"], row["recommended_action"]) == (
        False,
        "None: 90% of the capacity is not in sight.",
    )


def test_past_the_level_is_no_days_left_without_any_forecast(stage):
    runway_threshold(stage)
    stage.play((0, 92))
    (alert,) = stage.alerts()
    assert (alert["value_at_raise"], alert["verdict"]) == (0, "TRUE")
    assert (
        alert["message"] == "WARNING: STORAGE disk is past 90% of its capacity already. It is at 92.0% now."
    )


def test_a_forecast_that_has_run_down_says_now_and_not_in_no_days(stage):
    runway_threshold(stage, 21)
    stage.measure(0, 80)
    forecast(stage, 0, {"p90": 1})
    stage.measure(DAY, 89)
    (row,) = stage.evaluate(DAY)
    assert row["recommended_action"].startswith("90% of the capacity will be reached any moment now with")
    assert (
        stage.alerts()[0]["message"]
        == row["alert_message"]
        == (
            "WARNING: STORAGE disk will be at 90% of its capacity any moment now, with a probability of 90%. "
            "It is at 89.0% now."
        )
    )


def test_a_runway_alert_is_true_when_its_level_was_reached_in_the_time_it_gave(stage):
    runway_threshold(stage, 10)
    stage.measure(0, 80)
    forecast(stage, 0, {"p90": 8})
    stage.evaluate(0)
    stage.play((9 * DAY, 89.9))
    assert verdicts(stage) == ["OPEN"]
    stage.play((10 * DAY, 90))
    assert verdicts(stage) == ["TRUE"]


def test_and_false_when_it_was_not(stage):
    runway_threshold(stage, 10)
    stage.measure(0, 80)
    forecast(stage, 0, {"p90": 8})
    stage.evaluate(0)
    stage.play((9 * DAY, 81), (10 * DAY + 1, 89))
    assert verdicts(stage) == ["FALSE"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("create_runway_threshold(NULL, 'r', 'STORAGE', 21, 80)", "10, 50 or 90 percent, not 80"),
        ("create_runway_threshold(NULL, 'r', 'STORAGE', NULL)", "number of days"),
        ("create_runway_threshold(NULL, 'r', 'STORAGE', -1)", "not negative"),
        ("create_runway_threshold(NULL, 'r', 'STORAGE', 5, 90, 0)", "positive percentage"),
        ("create_absence_threshold(NULL, 'a', 'STORAGE', 'NaN')", "number of minutes"),
        ("create_absence_threshold(NULL, 'a', '', 5)", "type and a name"),
        ("create_absence_threshold('\\x01', 'a', 'STORAGE', 5)", "unknown tenant"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(stage, call, message):
    with pytest.raises(errors.RaiseException, match=message):
        stage.run(f"SELECT capacity_alerting.{call}")


def test_defining_a_condition_anew_changes_it_and_keeps_what_was_configured(stage):
    hk = runway_threshold(stage, 21)
    stage.configure(hk, notification_channels=["SLACK"])
    assert runway_threshold(stage, 14, 50) == hk
    (row,) = stage.rows("SELECT * FROM capacity_planning.capacity_threshold_s WHERE load_end_date IS NULL")
    assert (row["threshold_value"], row["threshold_probability"], row["notification_channels"]) == (
        14,
        50,
        ["SLACK"],
    )


def test_neither_runway_nor_absence_moves_the_levels(stage):
    runway_threshold(stage, level=33)
    stage.run("SELECT capacity_alerting.create_absence_threshold(NULL, 'silent', 'STORAGE')")
    assert stage.rows("SELECT * FROM capacity_ops.levels(NULL, 'STORAGE')") == [
        {"warning": 80, "critical": 90}
    ]
