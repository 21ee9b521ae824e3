"""What alerting withstands: locks, snapshots, values and names that nobody meant, messages that never arrived."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
from psycopg import errors
from psycopg.rows import dict_row

from capacity_kit import resources

THRESHOLDS = "UPDATE capacity_planning.capacity_threshold_s SET "
SETTING = "UPDATE capacity_ops.setting SET value = "
LIVE = "SELECT * FROM capacity_planning.evaluate_capacity_thresholds()"
CLOCK = "SELECT extract(epoch FROM clock_timestamp() - %s) / 60"


def minutes_now(stage) -> float:
    """The present, in the stage's minutes."""
    return float(stage.value(CLOCK, stage.at(0)))


def bodies(stage, kind: str = "ALERT") -> list[str]:
    return [n["body"] for n in stage.notifications() if n["kind"] == kind]


# Locks and snapshots


def test_a_snapshot_from_before_another_evaluation_records_nothing(stage, pg18):
    full = stage.threshold(alert_enabled=False)
    stage.measure(minutes_now(stage) - 1, 95)
    notices: list[str] = []
    with pg18.connect(autocommit=False) as late:
        late.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        late.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        late.execute("SELECT count(*) FROM capacity_alerting.episode")
        stage.run(LIVE)
        assert [row[-1] for row in late.execute("SELECT threshold_exceeded FROM (" + LIVE + ") v")] == [True]
        late.commit()
    assert any("recorded nothing" in said for said in notices), notices
    assert len(stage.episodes()) == stage.value("SELECT count(*) FROM capacity_alerting.evaluation") == 1
    stage.configure(full, alert_enabled=True)
    stage.run(LIVE)
    assert len(stage.alerts()) == 1


def test_a_fresh_snapshot_of_another_isolation_level_records(stage, pg18):
    stage.threshold()
    stage.measure(minutes_now(stage) - 1, 95)
    stage.run(LIVE)
    with pg18.connect(options="-c default_transaction_isolation=serializable") as own:
        for _ in range(2):
            own.execute(LIVE)
    assert stage.value("SELECT count(*) FROM capacity_alerting.evaluation") == 3


def test_a_session_that_holds_a_threshold_keeps_nobody_waiting(stage, pg18):
    held = stage.threshold(name="held")
    free = stage.threshold(80, "WARNING", name="free")
    stage.measure(0, 95)
    stage.run("SET statement_timeout = '20s'")
    counted = (
        "SELECT threshold_name, trigger_count_24h FROM capacity_planning.capacity_threshold_s "
        "WHERE load_end_date IS NULL"
    )
    with pg18.connect(autocommit=False) as other:
        other.execute(
            "UPDATE capacity_planning.capacity_threshold_s SET business_justification = 'lunch' "
            "WHERE capacity_threshold_hk = %s AND load_end_date IS NULL",
            [held],
        )
        stage.evaluate(0)
        assert len(stage.alerts()) == 2
        assert {r["threshold_name"]: r["trigger_count_24h"] for r in stage.rows(counted)} == {
            "held": None,
            "free": 1,
        }
        other.rollback()
    stage.evaluate(1)
    assert {r["trigger_count_24h"] for r in stage.rows(counted)} == {1}
    assert free != held


ACTS = {
    "acknowledge": "SELECT capacity_alerting.acknowledge(%s, 'mira')",
    "resolve": "SELECT capacity_alerting.resolve(%s, 'mira')",
    "give_verdict": "SELECT capacity_alerting.give_verdict(%s, 'FALSE', 'mira')",
    "update": "UPDATE capacity_alerting.alert_s SET acknowledged_by = 'mira' WHERE alert_hk = %s",
}


@pytest.mark.parametrize("act", ACTS)
def test_an_operator_who_does_not_commit_silences_nobody(stage, pg18, act):
    """What the open transaction holds waits for the next evaluation; all else is recorded and told meanwhile."""
    escalating = {
        "escalation_enabled": True,
        "escalation_delay_minutes": 5,
        "notification_channels": ["SLACK"],
    }
    stage.threshold(**escalating)
    stage.threshold(of="CPU", **escalating)
    stage.play((0, 95))
    stage.play((0.5, 95), kind="CPU")
    held, free = (a["alert_hk"] for a in stage.alerts())
    stage.run("SET statement_timeout = '4s'")
    with pg18.connect(autocommit=False) as operator:
        operator.execute(ACTS[act], [held])
        stage.measure(10, 96)
        stage.measure(10, 96, kind="CPU")
        stage.measure(10, 95, name="second")
        stage.evaluate(10)  # opened, raised, escalated, told
        said = {a["alert_hk"]: a for a in stage.alerts()}
        assert len(said) == 3
        assert (said[held]["escalations"], said[free]["escalations"]) == (0, 1)
        stage.measure(20, 10)
        stage.measure(20, 10, kind="CPU")
        stage.evaluate(20)  # ended, resolved, judged, told
        said = {a["alert_hk"]: a for a in stage.alerts()}
        assert (said[held]["status"], said[free]["status"]) == ("OPEN", "RESOLVED")
        assert stage.value("SELECT count(*) FROM capacity_alerting.evaluation") == 4
        operator.commit()
    stage.evaluate(21)
    after = {a["alert_hk"]: a for a in stage.alerts()}[held]
    assert after["status"] == "RESOLVED"
    assert after["ended_by"] == ("OPERATOR" if act == "resolve" else "RECOVERY")
    assert (after["verdict"], after["verdict_by"]) == (
        ("FALSE", "mira") if act == "give_verdict" else ("CENSORED", "auto")
    )
    said = [(n["kind"], n["severity"]) for n in stage.notifications() if n["kind"] == "RESOLUTION"]
    assert len(said) == 2


def test_two_operators_at_one_alert_do_not_wait_for_ever(stage, pg18):
    stage.threshold()
    stage.play((0, 95))
    alert = stage.alerts()[0]["alert_hk"]
    with pg18.connect(autocommit=False) as first:
        first.execute(ACTS["acknowledge"], [alert])
        stage.run(
            "ALTER FUNCTION capacity_alerting.resolve(bytea, text, text, text, timestamptz) SET lock_timeout = 50"
        )
        with pytest.raises(errors.RaiseException, match="another session is at work on this alert"):
            stage.run(ACTS["resolve"], alert)
        first.commit()
    stage.run(ACTS["resolve"], alert)
    assert stage.alerts()[0]["status"] == "RESOLVED"


def test_an_incident_that_two_sessions_ended_at_once_is_told_of_by_the_next_evaluation(stage, pg18):
    """Neither sees the other's resolution, so neither says that all is over."""
    stage.threshold(notification_channels=["SLACK"])
    stage.measure(0, 95, name="first")
    stage.measure(0, 95, name="second")
    stage.evaluate(0)
    assert len(bodies(stage)) == 1
    one, other = (a["alert_hk"] for a in stage.alerts())
    with pg18.connect(autocommit=False) as operator:
        operator.execute("SELECT capacity_alerting.resolve(%s, p_at => %s)", [one, stage.at(1)])
        stage.run("SELECT capacity_alerting.resolve(%s, p_at => %s)", other, stage.at(1))
        operator.commit()
    assert bodies(stage, "RESOLUTION") == []
    for minutes in (2, 3):
        stage.measure(minutes, 10, name="first")
        stage.measure(minutes, 10, name="second")
        stage.evaluate(minutes)
    assert len(bodies(stage, "RESOLUTION")) == 1


def test_a_rehearsal_holds_up_no_evaluation_and_none_holds_it_up(stage, pg18):
    stage.threshold()
    stage.threshold(of="CPU")
    stage.run("SELECT capacity_alerting.create_absence_threshold(NULL, 'silent', 'ALL', 60)")
    now = minutes_now(stage)
    stage.measure(now - 2, 95)
    stage.measure(now - 2, 10, kind="CPU")
    stage.run(LIVE)
    assert len(stage.alerts()) == 1
    stage.run("SET statement_timeout = '4s'")
    with pg18.connect(autocommit=False) as other:
        other.execute("SELECT capacity_ops.begin_recording('evaluate')")
        fired = other.execute("SELECT fired FROM capacity_alerting.rehearse()").fetchall()
        assert fired == [(True,)] * 3
        other.rollback()
        other.execute("SELECT fired FROM capacity_alerting.rehearse()")
        stage.measure(now - 1, 10)
        stage.measure(now - 1, 95, kind="CPU")
        stage.run(LIVE)
        assert [a["status"] for a in stage.alerts()] == ["RESOLVED", "OPEN"]
        other.rollback()


def test_a_notification_that_is_put_back_holds_up_no_evaluation(stage, pg18):
    """A tenant's alert joins what is being requeued by a transaction that is still open."""
    acme = stage.tenant("acme")
    stage.threshold(notification_channels=["SLACK"])
    stage.threshold(tenant=acme, notification_channels=["SLACK"])
    stage.play((0, 95))
    settle(stage, "SENT")
    stage.measure(5, 99, tenant=acme)
    stage.run("SET statement_timeout = '4s'")
    with pg18.connect(autocommit=False) as operator:
        operator.execute(
            "SELECT capacity_alerting.requeue_notification(notification_hk) FROM capacity_alerting.notification_h"
        )
        stage.evaluate(5)
        operator.commit()
    assert (len(stage.alerts()), len(bodies(stage))) == (2, 1)


def test_windows_of_maintenance_are_gone_through_once_an_evaluation(stage):
    stage.threshold(of="CPU")
    acme = stage.tenant("acme")
    stage.threshold(tenant=acme, of="CPU", name="acme's")
    for i in range(400):
        stage.measure(0, 95, kind="CPU", name=f"c{i}")
    stage.measure(0, 95, kind="CPU", tenant=acme)
    stage.run(
        "INSERT INTO capacity_alerting.maintenance_window "
        "(tenant_hk, resource_type, starts_at, ends_at, repeat_weeks, time_zone) "
        "SELECT %(acme)s, 'CPU', %(from)s, %(from)s + interval '1 hour', 1, 'Europe/Berlin' "
        "FROM generate_series(1, 5000)",
        {"acme": acme, "from": stage.at(-7 * 1440 * 3)},
    )
    stage.evaluate(0)
    assert (len(stage.alerts()), {e["held_by"] for e in stage.episodes()}) == (400, {None, "MAINTENANCE"})
    took = stage.value("SELECT duration_ms FROM capacity_alerting.evaluation")
    assert took < 2500, "two million times a window of a time zone are some seven seconds"


# Values


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        ("SELECT capacity_alerting.create_runway_threshold(NULL, 'r', 'STORAGE', 1000000000)", "a hundred years"),
        ("SELECT capacity_alerting.create_absence_threshold(NULL, 'a', 'STORAGE', 1000000000)", "a hundred years"),
        (
            "SELECT capacity_alerting.declare_maintenance(now(), now() + interval '1 hour', NULL, NULL, 4000)",
            "520 weeks",
        ),
        (SETTING + "'NaN' WHERE name = 'verdict_horizon_days'", "setting_in_range"),
        (SETTING + "1e12 WHERE name = 'notify_within_hours'", "setting_in_range"),
        (SETTING + "-1 WHERE name = 'recovery_margin'", "setting_in_range"),
        (
            "SELECT capacity_alerting.set_business_calendar(NULL, 'UTC', NULL, '18:00', '08:00')",
            "open before they close",
        ),
        (
            THRESHOLDS + "alert_message_template = repeat('{unit} abcdefg ', 70000)",
            "4,000 characters",
        ),
        (
            THRESHOLDS + "notification_channels = '{https://hooks.example/SECRET}'",
            "named, not addressed",
        ),
        (
            THRESHOLDS + "escalation_contacts = '{json://host/SECRET}'",
            "named, not addressed",
        ),
        (
            THRESHOLDS + "alert_message_template = 'see https://me:SECRET@wiki/x'",
            "goes to everybody who is told",
        ),
        (
            THRESHOLDS + "auto_resolution_action = 'see https://me:SECRET@wiki/x'",
            "goes to everybody who is told",
        ),
        (
            "UPDATE capacity_alerting.text_setting SET value = 'https://host/{nonsense}' WHERE name = 'runbook_url'",
            "{nonsense}",
        ),
    ],
)  # fmt: skip
def test_what_no_evaluation_could_use_is_refused_when_it_is_set(stage, statement, match):
    stage.threshold()
    with pytest.raises(errors.DatabaseError, match=match) as raised:
        stage.run(statement)
    assert "SECRET" not in str(raised.value.diag.message_primary)


def test_what_was_set_before_it_was_refused_stops_no_evaluation(stage):
    stage.run("ALTER TABLE capacity_ops.setting DROP CONSTRAINT setting_in_range")
    stage.run(
        SETTING + "'NaN' WHERE name IN ('verdict_horizon_days', 'notify_within_hours', 'lock_wait_seconds')"
    )
    hk = stage.value("SELECT capacity_alerting.create_runway_threshold(NULL, 'r', 'STORAGE', 21)")
    stage.configure(hk, threshold_value=10**9, threshold_percentage=90)
    stage.threshold()
    stage.play((0, 95), (1, 96))
    assert stage.value("SELECT count(*) FROM capacity_alerting.evaluation") == 2
    stage.run((resources.path("sql") / "step_9_capacity_planning.sql").read_text())  # is applied all the same


def test_no_number_of_minutes_stops_an_evaluation(stage):
    stage.threshold(
        evaluation_frequency_minutes=40_000_000, escalation_enabled=True, escalation_delay_minutes=40_000_000
    )
    stage.play((0, 95), (1, 96))
    assert stage.value("SELECT count(*) FROM capacity_alerting.evaluation") == 2


@pytest.mark.parametrize("channels", [[None], [" "], [None, " ", "slack"]])
def test_blank_channels_are_none(stage, channels):
    stage.run("UPDATE capacity_alerting.channel SET is_default = name = 'EMAIL'")
    stage.threshold(notification_channels=channels)
    stage.play((0, 95))
    assert [n["channel"] for n in stage.notifications()] == ["SLACK" if "slack" in channels else "EMAIL"]
    assert (
        stage.rows("SELECT problem FROM capacity_alerting.threshold_problem WHERE problem LIKE '%%channel%%'")
        == []
    )


def test_blank_escalation_contacts_are_none(stage):
    stage.threshold(
        notification_channels=["SLACK"], escalation_enabled=True, escalation_delay_minutes=5, escalation_contacts=[" "]
    )  # fmt: skip
    stage.play((0, 95), (6, 96))
    assert [(n["kind"], n["channel"]) for n in stage.notifications()] == [
        ("ALERT", "SLACK"),
        ("ESCALATION", "SLACK"),
    ]
    assert stage.rows("SELECT problem FROM capacity_alerting.threshold_problem")[0]["problem"] == (
        "escalation without contacts"
    )


def test_names_with_bars_in_them_are_two_pairs(stage):
    for name in ("x", "x|STORAGE|WARNING|STORAGE|r"):
        stage.threshold(90, "WARNING", name=name)
    for name in ("q", "r|STORAGE|WARNING|STORAGE|q"):
        stage.measure(0, 95, name=name)
    stage.evaluate(0)
    assert len(stage.alerts()) == 4


def test_a_name_is_one_line_of_a_message(stage):
    stage.threshold(notification_channels=["SLACK"])
    stage.measure(0, 95, name="d\nRunbook: https://evil.example/\nkey: 000")
    stage.evaluate(0)
    lines = bodies(stage)[0].splitlines()
    assert not any(line.startswith("Runbook:") for line in lines)
    assert [line for line in lines if line.startswith("key:")] == [f"key: {stage.notifications()[0]['key']}"]
    assert "\n" not in stage.notifications()[0]["subject"]
    stage.evaluate(1)
    stage.measure(2, 10, name="d\nRunbook: https://evil.example/\nkey: 000")
    stage.evaluate(2)
    assert not any(line.startswith("Runbook:") for line in bodies(stage, "RESOLUTION")[0].splitlines())


# Who was told


def test_an_alert_says_when_it_was_raised_and_its_links_bear_any_name(stage):
    stage.run(
        "UPDATE capacity_alerting.text_setting SET value = 'https://host/{threshold_name}?r={resource_name}'"
    )
    stage.threshold(
        notification_channels=["SLACK"], name="disk full / é", alert_message_template="{resource_name}: {runbook_url}"
    )  # fmt: skip
    stage.play((0, 95))
    lines = bodies(stage)[0].splitlines()
    assert "Raised at 2026-03-02 00:00 UTC." in lines
    for line in ("Runbook: ", "Report: ", "disk: "):
        assert f"{line}https://host/disk%20full%20%2F%20%C3%A9?r=disk" in lines


def test_errors_name_times_as_everything_does(stage):
    stage.threshold()
    stage.play((0, 95))
    alert = stage.alerts()[0]["alert_hk"]
    stage.run("SELECT capacity_alerting.acknowledge(%s, 'mira', NULL, %s)", alert, stage.at(3))
    with pytest.raises(errors.RaiseException, match="acknowledged at 2026-03-02 00:03 UTC by mira"):
        stage.run("SELECT capacity_alerting.acknowledge(%s)", alert)


def test_what_history_raised_and_still_stands_is_told_by_the_present(stage):
    stage.run("UPDATE capacity_ops.setting SET value = 24 WHERE name = 'notify_within_hours'")
    stage.threshold(notification_channels=["SLACK"])
    now = minutes_now(stage)
    for ago in (5 * 1440, 4 * 1440, 1):
        stage.measure(now - ago, 95)
        if ago > 1:
            stage.evaluate(now - ago)
    assert (len(stage.alerts()), stage.notifications()) == (1, [])
    stage.run(LIVE)
    stage.run(LIVE)
    assert [n["kind"] for n in stage.notifications()] == ["ALERT"]
    assert f"Raised at {stage.alerts()[0]['raised_at']:%Y-%m-%d %H:%M} UTC." in bodies(stage)[0]


def settle(stage, outcome: str) -> None:
    stage.run("SELECT count(*) FROM capacity_alerting.claim_notifications('s', 100, 60)")
    stage.run(
        "SELECT capacity_alerting.settle_notification(o.notification_hk, 's', %s, 'no', 1) "
        "FROM capacity_alerting.outbox o",
        outcome,
    )


@pytest.mark.parametrize(("outcome", "messages"), [("SENT", 1), ("DEAD", 2)])
def test_a_tenants_alert_joins_what_arrived_or_still_may(stage, outcome, messages):
    acme = stage.tenant("acme")
    stage.threshold(notification_channels=["SLACK"])
    stage.threshold(tenant=acme, notification_channels=["SLACK"])
    stage.play((0, 95))
    settle(stage, outcome)
    stage.measure(5, 99, tenant=acme)
    stage.evaluate(5)
    assert (len(stage.alerts()), len(bodies(stage))) == (2, messages)


def test_what_joined_is_told_when_that_which_it_joined_is_over(stage):
    acme = stage.tenant("acme")
    stage.threshold(notification_channels=["SLACK"])
    stage.threshold(tenant=acme, notification_channels=["SLACK"])
    stage.play((0, 95))
    settle(stage, "SENT")
    stage.measure(5, 99, tenant=acme)
    stage.evaluate(5)
    assert len(bodies(stage)) == 1
    stage.measure(10, 50)
    stage.evaluate(10)
    assert len(bodies(stage)) == 2
    assert "acme" in bodies(stage)[1]
    stage.evaluate(15)
    assert len(bodies(stage)) == 2
    stage.measure(20, 50, tenant=acme)
    stage.evaluate(20)
    assert len(bodies(stage, "RESOLUTION")) == 2


def test_a_slot_says_nothing_of_a_quota(stage):
    acme = stage.tenant("acme")
    stage.threshold(of="REPLICATION_SLOT", notification_channels=["SLACK"])
    stage.threshold(tenant=acme, notification_channels=["SLACK"])
    stage.play((0, 95), kind="REPLICATION_SLOT", name="slot1")
    settle(stage, "SENT")
    stage.measure(5, 99, tenant=acme)
    stage.evaluate(5)
    assert len(bodies(stage)) == 2


# The clock, and the operator's hand


@pytest.mark.parametrize(("operator", "level", "usage"), [(">=", 1, (2, 0)), ("<=", 99, (98, 100))])
def test_a_level_nearer_to_an_end_than_the_margin_recovers_there(stage, operator, level, usage):
    stage.threshold(level, threshold_operator=operator)
    stage.play((0, usage[0]), (15, usage[1]))
    assert [a["status"] for a in stage.alerts()] == ["RESOLVED"]


def test_a_threshold_made_since_the_last_evaluation_has_its_turn_now(stage):
    stage.threshold(80, "WARNING", of="CPU")
    stage.measure(minutes_now(stage) - 1, 95)
    stage.run(LIVE)
    stage.threshold(evaluation_frequency_minutes=52_560_000)
    stage.run(LIVE)
    assert len(stage.alerts()) == 1


def test_a_threshold_that_was_switched_off_escalates_no_more(stage):
    full = stage.threshold(escalation_enabled=True, escalation_delay_minutes=5)
    stage.play((0, 95))
    stage.configure(full, alert_enabled=False)
    stage.evaluate(60)
    assert stage.alerts()[0]["escalations"] == 0


def test_what_a_clock_that_ran_ahead_raised_is_brought_back(stage, pg18):
    stage.threshold(escalation_enabled=True, escalation_delay_minutes=1)
    ahead = round(minutes_now(stage)) + 14400
    for minutes in (ahead - 14401, ahead):
        stage.measure(minutes, 95)
    stage.run("SELECT capacity_alerting.follow_verdicts(NULL, %s, true, false)", stage.at(ahead))
    stage.run(LIVE)
    alert, episode = stage.alerts()[0], stage.episodes()[0]
    now = stage.at(minutes_now(stage))
    assert now - timedelta(minutes=5) < alert["raised_at"] == episode["started_at"] <= now
    assert now + timedelta(days=29) < alert["horizon_until"] < now + timedelta(days=31)
    with pg18.connect(row_factory=dict_row) as own:
        versions = own.execute(
            "SELECT raised_at FROM capacity_alerting.alert_s ORDER BY load_date"
        ).fetchall()
    assert [v["raised_at"] for v in versions] == [stage.at(ahead), alert["raised_at"]]


def test_a_page_is_acknowledged_whole(stage):
    acme = stage.tenant("acme")
    stage.threshold(notification_channels=["SLACK"])
    stage.threshold(tenant=acme, notification_channels=["SLACK"])
    stage.threshold(of="CPU", notification_channels=["SLACK"])
    stage.measure(0, 95)
    stage.measure(0, 95, tenant=acme)
    stage.measure(0, 95, kind="CPU")
    stage.evaluate(0)
    cause = next(
        a["alert_hk"]
        for a in stage.alerts()
        if a["tenant_id"] == "SYSTEM" and a["resource_type"] == "STORAGE"
    )
    assert stage.value("SELECT capacity_alerting.acknowledge(%s, 'mira', 'mine')", cause) == 2
    assert sorted((a["resource_type"], a["status"], a["acknowledged_by"]) for a in stage.alerts()) == [
        ("CPU", "OPEN", None), ("STORAGE", "ACKNOWLEDGED", "mira"), ("STORAGE", "ACKNOWLEDGED", "mira"),
    ]  # fmt: skip
