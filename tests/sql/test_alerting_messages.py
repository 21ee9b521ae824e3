"""What people are told of alerts, what a storm makes of it, templates, and the rehearsal of it all."""

from __future__ import annotations

import pytest
from psycopg import errors

DAY = 1440


def told(stage, kind: str | None = None) -> list[tuple]:
    return [
        (n["kind"], n["channel"], n["contact"]) for n in stage.notifications() if kind in (None, n["kind"])
    ]


def body(stage, kind: str = "ALERT") -> list[str]:
    return [n["body"].splitlines() for n in stage.notifications() if n["kind"] == kind][-1]


# To whom


def test_an_alert_goes_to_its_channels_and_its_resolution_to_the_same(stage):
    stage.threshold(notification_channels=["email", " Slack ", "EMAIL", ""])
    stage.play((0, 95), (15, 96), (30, 50))
    assert told(stage) == [
        ("ALERT", "EMAIL", None),
        ("ALERT", "SLACK", None),
        ("RESOLUTION", "EMAIL", None),
        ("RESOLUTION", "SLACK", None),
    ]
    rows = stage.notifications()
    assert len({n["dedup_key"] for n in rows}) == 1
    assert len({n["key"] for n in rows}) == 4
    assert all(n["body"].splitlines()[-1] == f"key: {n['key']}" for n in rows)
    assert rows[0]["queued_at"] == stage.at(0)


@pytest.mark.parametrize("channels", [None, []])
def test_without_channels_it_goes_to_the_defaults(stage, channels):
    stage.run("UPDATE capacity_alerting.channel SET is_default = name IN ('EMAIL', 'PAGERDUTY')")
    stage.threshold(notification_channels=channels)
    stage.play((0, 95))
    assert told(stage) == [("ALERT", "EMAIL", None), ("ALERT", "PAGERDUTY", None)]


def test_without_any_channel_the_alert_is_recorded_and_the_problem_named(stage):
    stage.run("UPDATE capacity_alerting.channel SET is_default = false")
    stage.threshold()
    stage.play((0, 95))
    assert (len(stage.alerts()), told(stage)) == (1, [])
    assert "no channel" in problems(stage)


def test_an_unknown_channel_is_queued_all_the_same(stage):
    stage.threshold(notification_channels=["PIGEON"])
    stage.play((0, 95))
    assert told(stage) == [("ALERT", "PIGEON", None)]
    assert "unknown channel" in problems(stage)


def test_escalations_go_to_the_contacts_with_keys_of_their_own_and_they_hear_of_the_end(stage):
    stage.threshold(
        notification_channels=["SLACK"], escalation_enabled=True, escalation_delay_minutes=15,
        escalation_contacts=["admin@example.org", "pagerduty"],
    )  # fmt: skip
    stage.play((0, 95), (15, 95), (30, 95), (45, 50))
    assert (
        told(stage, "ESCALATION")
        == [("ESCALATION", "EMAIL", "admin@example.org"), ("ESCALATION", "PAGERDUTY", None)] * 2
    )
    assert told(stage, "RESOLUTION") == [
        ("RESOLUTION", "EMAIL", "admin@example.org"),
        ("RESOLUTION", "PAGERDUTY", None),
        ("RESOLUTION", "SLACK", None),
    ]
    rows = stage.notifications()
    assert len({n["dedup_key"] for n in rows}) == 1
    assert len({n["key"] for n in rows}) == len(rows) == 8
    assert body(stage, "ESCALATION")[0] == "Not acknowledged since 2026-03-02 00:00 UTC."
    assert rows[-4]["subject"].endswith("(escalation 2)")


def test_what_is_told_later_than_it_was_raised_says_how_it_stands_now(stage):
    falls = stage.threshold(20, of="CPU", name="idle", escalation_enabled=True, escalation_delay_minutes=15)
    stage.configure(falls, threshold_operator="<=")
    stage.threshold(escalation_enabled=True, escalation_delay_minutes=15)
    stage.measure(0, 91)
    stage.measure(0, 10, kind="CPU", name="cores")
    stage.evaluate(0)
    assert not any("Now:" in n["body"] for n in stage.notifications())
    stage.play((5, 99.9), (20, 99.5))
    (cores,) = [
        n["body"] for n in stage.notifications() if "CPU" in n["subject"] and n["kind"] == "ESCALATION"
    ]
    (disk,) = [
        n["body"] for n in stage.notifications() if "disk" in n["subject"] and n["kind"] == "ESCALATION"
    ]
    assert "STORAGE disk is at 91.0% of its capacity" in disk
    assert (
        "Now: STORAGE disk is at 99.5%, measured at 2026-03-02 00:20 UTC. The most since it began: 99.9%."
        in disk
    )
    assert (
        "Now: CPU cores is at 10.0%, measured at 2026-03-02 00:00 UTC. The least since it began: 10.0%."
        in cores
    )


def test_what_is_no_longer_watched_is_not_told_as_over(stage):
    full = stage.threshold()
    stage.play((0, 95), (15, 99.5))
    stage.configure(full, is_active=False)
    stage.evaluate(30)
    end = stage.notifications()[-1]
    assert (end["kind"], end["subject"]) == ("RESOLUTION", "No longer watched: STORAGE disk of the system")
    assert end["body"].splitlines()[0] == (
        "STORAGE disk of the system: from 2026-03-02 00:00 to 2026-03-02 00:30 UTC, when its threshold or tenant was "
        "switched off; at 99.5% when last measured"
    )


def test_an_escalation_without_contacts_says_so_on_the_alerts_own_channels(stage):
    stage.threshold(notification_channels=["SLACK"], escalation_enabled=True, escalation_delay_minutes=15)
    stage.play((0, 95), (15, 95))
    assert told(stage, "ESCALATION") == [("ESCALATION", "SLACK", None)]
    assert (
        body(stage, "ESCALATION")[1]
        == "No escalation contacts are set: this goes to the alert's own channels again."
    )


def test_an_operators_resolution_is_told_too(stage):
    stage.threshold()
    stage.play((0, 95))
    stage.run(
        "SELECT capacity_alerting.resolve(%s, 'ann', NULL, NULL, %s)",
        stage.alerts()[0]["alert_hk"],
        stage.at(5),
    )
    assert (
        body(stage, "RESOLUTION")[0]
        == "STORAGE disk of the system: from 2026-03-02 00:00 to 2026-03-02 00:05 UTC, resolved by ann"
    )


def test_a_held_alert_tells_nobody(stage):
    stage.threshold(alert_enabled=False)
    stage.play((0, 95), (15, 50))
    assert told(stage) == []


def test_history_is_told_to_nobody(stage):
    stage.run("UPDATE capacity_ops.setting SET value = 24 WHERE name = 'notify_within_hours'")
    stage.threshold()
    stage.play((0, 95), (15, 50))
    assert (len(stage.alerts()), told(stage)) == (1, [])
    since = stage.value("SELECT extract(epoch FROM now() - %s)::float8 / 60", stage.at(0))
    stage.play((since - 60, 95))
    assert told(stage) == [("ALERT", "EMAIL", None)]


def live(stage, value: float) -> None:
    """Measure now, and evaluate live."""
    stage.measure(
        stage.value("SELECT extract(epoch FROM clock_timestamp() - %s)::float8 / 60", stage.at(0)), value
    )
    stage.run("SELECT * FROM capacity_planning.evaluate_capacity_thresholds()")


def test_what_history_raised_and_still_stands_is_told_by_the_present_once(stage):
    stage.run("UPDATE capacity_ops.setting SET value = 24 WHERE name = 'notify_within_hours'")
    stage.threshold()
    stage.play((0, 95), (15, 96))
    assert (len(stage.alerts()), told(stage)) == (1, [])
    stage.run(
        "SELECT capacity_alerting.mute_alerts(clock_timestamp() + interval '1 hour', p_resource_type => 'STORAGE')"
    )
    live(stage, 97)
    assert told(stage) == [], "muted"
    stage.run("SELECT capacity_alerting.unmute(1)")
    live(stage, 97)
    live(stage, 98)
    assert told(stage) == [("ALERT", "EMAIL", None)]
    assert "Raised at 2026-03-02 00:00 UTC." in body(stage)
    live(stage, 50)
    assert told(stage, "RESOLUTION") == [("RESOLUTION", "EMAIL", None)]


@pytest.mark.parametrize("end", ["acknowledge", "resolve"])
def test_what_somebody_answered_for_is_not_told_by_the_present(stage, end):
    stage.run("UPDATE capacity_ops.setting SET value = 24 WHERE name = 'notify_within_hours'")
    stage.threshold(auto_resolution_enabled=False)
    stage.play((0, 95))
    stage.run(f"SELECT capacity_alerting.{end}(alert_hk) FROM capacity_alerting.alert")
    live(stage, 85)
    assert told(stage) == []


# What it says


def test_a_message_says_what_to_do_and_where_to_read_on(stage):
    stage.run(
        "UPDATE capacity_alerting.text_setting SET value = 'https://wiki.example/{resource_type}' "
        "WHERE name = 'runbook_url'"
    )
    stage.run(
        "UPDATE capacity_alerting.text_setting SET value = 'https://reports.example' WHERE name = "
        "'report_url'"
    )
    stage.threshold(
        auto_resolution_action="rotate the logs of {resource_name} {now}",
        alert_message_template="{resource_name} of {tenant_id}: {current_usage}% "
        "({current_value} of {capacity} {unit}), {runbook_url}",
    )
    stage.play((0, 95.25), (15, 50))
    answer = f"Acknowledge: capacity alerts ack {stage.alerts()[0]['alert_hk'].hex()[:8]}"
    assert body(stage)[:-1] == [
        "disk of SYSTEM: 95.3% (95.25 of 100 bytes), https://wiki.example/STORAGE",
        "What is to be done: rotate the logs of disk {now}",
        "Raised at 2026-03-02 00:00 UTC.",
        answer,
        "Runbook: https://wiki.example/STORAGE",
        "Report: https://reports.example",
    ]
    assert body(stage, "RESOLUTION")[1:-1] == [
        "Runbook: https://wiki.example/STORAGE",
        "Report: https://reports.example",
    ]


def test_links_that_are_not_set_are_left_out(stage):
    stage.threshold(alert_message_template=None)
    stage.play((0, 95))
    assert len(body(stage)) == 4, "the message, since when, how to answer it, and the key"
    assert body(stage)[0] == "CRITICAL: STORAGE disk is at 95.0% of its capacity, past the level of 90%."


def test_a_name_breaks_no_link(stage):
    stage.run(
        "UPDATE capacity_alerting.text_setting SET value = "
        "'https://wiki.example/{threshold_name}?of={resource_name}&n={escalation_contacts}' WHERE name = 'runbook_url'"
    )
    stage.threshold(name="disk full", alert_message_template="{runbook_url}")
    stage.measure(0, 95, name="/data ä%&")
    stage.evaluate(0)
    link = "https://wiki.example/disk%20full?of=%2Fdata%20%C3%A4%25%26&n=unknown"
    assert body(stage)[0] == link
    assert body(stage)[3] == f"Runbook: {link}"


@pytest.mark.parametrize(
    ("template", "unknown"),
    [
        ("{no_such_thing}", "{no_such_thing}"),
        ("{Current_Usage} {x y} {current_usage}", "{Current_Usage}, {x y}"),
        ("{}", "{}"),
    ],
)
def test_an_unknown_placeholder_is_refused_when_it_is_set(stage, template, unknown):
    hk = stage.threshold()
    with pytest.raises(errors.CheckViolation, match="names what nothing knows") as refused:
        stage.configure(hk, alert_message_template=template)
    assert unknown in str(refused.value)
    assert "placeholders()" in refused.value.diag.message_hint


def test_every_placeholder_that_is_allowed_is_rendered(stage):
    names = stage.value("SELECT capacity_alerting.placeholders()")
    stage.threshold(
        alert_message_template=" ".join(f"{{{name}}}" for name in names if name != "alert_message_template")
    )
    stage.play((0, 95))
    assert "{" not in stage.alerts()[0]["message"]


# A storm


def storm(stage, tenants: int) -> None:
    stage.run(
        "INSERT INTO auth.tenant_h SELECT sha256(('t' || g)::bytea), 't' || g, now(), 'test' FROM "
        "generate_series(1, %s) g",
        tenants,
    )
    stage.run(
        "SELECT capacity_planning.create_capacity_threshold(tenant_hk, 'full', 'STORAGE', 90, "
        "'CRITICAL') FROM auth.tenant_h"
    )
    stage.threshold(of="DISK", name="shared")
    stage.run(
        "UPDATE capacity_planning.capacity_threshold_s SET evaluation_frequency_minutes = NULL "
        "WHERE load_end_date IS NULL"
    )
    stage.run(
        "INSERT INTO capacity_planning.resource_utilization_h SELECT capacity_ops.hash_key(k), k, "
        "now(), 'test' "
        "FROM auth.tenant_h t, capacity_ops.resource_key('STORAGE', 'schema', t.tenant_hk) k"
    )


def fill(stage, minutes: float, percent: float) -> None:
    stage.run(
        "INSERT INTO capacity_planning.resource_utilization_s (resource_utilization_hk, load_date, "
        "hash_diff, tenant_hk, "
        "measurement_timestamp, resource_type, resource_name, resource_category, current_value, "
        "unit, maximum_capacity, record_source) "
        "SELECT h.resource_utilization_hk, now(), '', t.tenant_hk, %s, 'STORAGE', 'schema', "
        "'TENANT', %s, 'bytes', 100, 'test' "
        "FROM auth.tenant_h t JOIN capacity_planning.resource_utilization_h h "
        "ON h.resource_utilization_bk = capacity_ops.resource_key('STORAGE', 'schema', t.tenant_hk)",
        *(stage.at(minutes), percent),
    )


def test_a_full_disk_under_a_thousand_tenants_is_one_page_and_one_resolution(stage):
    storm(stage, 1000)
    stage.measure(0, 92, kind="DISK", name="/data")
    fill(stage, 0, 97)
    stage.evaluate(0)
    assert len(stage.alerts()) == 1001
    (page,) = stage.notifications()
    assert page["subject"] == "CRITICAL: DISK /data of the system and 1,000 more"
    lines = page["body"].splitlines()
    assert lines[0] == "1,001 alerts of 1,000 tenants. The shared resource stands first."
    assert lines[1] == "CRITICAL: DISK /data is at 92.0% of its capacity, past the level of 90%."
    assert [lines[11], lines[14]] == ["and 991 more", f"key: {page['key']}"]
    assert all(line.startswith("t") for line in lines[2:11]), "a tenant's line names it"
    stage.measure(15, 50, kind="DISK", name="/data")
    fill(stage, 15, 97)
    stage.evaluate(15)
    assert len(stage.notifications()) == 1, "not all of it is over"
    fill(stage, 30, 50)
    stage.measure(30, 50, kind="DISK", name="/data")
    stage.evaluate(30)
    resolution = stage.notifications()[-1]
    assert len(stage.notifications()) == 2
    assert resolution["subject"] == "Resolved: DISK /data of the system and 1,000 more"
    assert resolution["body"].splitlines()[0] == "All 1,001 alerts are over."
    assert resolution["dedup_key"] == page["dedup_key"]


def test_tenants_join_the_page_of_the_shared_resource_and_count_for_its_end(stage):
    storm(stage, 2)
    stage.measure(0, 95, kind="DISK", name="/data")
    stage.evaluate(0)
    assert len(stage.notifications()) == 1
    stage.measure(15, 95, kind="DISK", name="/data")
    fill(stage, 15, 97)
    stage.evaluate(15)
    assert (len(stage.alerts()), len(stage.notifications())) == (3, 1)
    stage.measure(30, 50, kind="DISK", name="/data")
    stage.evaluate(30)
    assert [n["kind"] for n in stage.notifications()] == ["ALERT", "ALERT"], "theirs is a page of its own now"
    fill(stage, 45, 50)
    stage.evaluate(45)
    assert [n["subject"].split(" of ")[0] for n in stage.notifications()[2:]] == [
        "Resolved: DISK /data",
        "Resolved: STORAGE schema",
    ]


def test_a_quota_of_a_tenants_own_is_a_page_of_its_own(stage):
    """What fills it is not the shared disk, in hand since yesterday."""
    acme, other = stage.tenant("acme"), stage.tenant("other")
    for tenant in (None, acme, other):
        stage.threshold(tenant=tenant)
    stage.play((0, 91))
    stage.run("SELECT capacity_alerting.acknowledge(%s, 'ann')", stage.alerts()[0]["alert_hk"])
    stage.measure(1140, 91)
    stage.measure(1140, 9.9, capacity=10, tenant=acme, name="documents")
    stage.measure(1140, 95, tenant=other, name="documents")
    stage.evaluate(1140)
    assert len(stage.alerts()) == 3
    assert [n["subject"] for n in stage.notifications()] == [
        "CRITICAL: STORAGE disk of the system",
        "CRITICAL: STORAGE documents of acme",
    ]


def test_a_tenant_that_is_worse_off_than_the_shared_resource_is_told_apart(stage):
    storm(stage, 1)
    stage.run(
        "UPDATE capacity_planning.capacity_threshold_s SET alert_severity = 'WARNING' WHERE "
        "threshold_name = 'shared' AND load_end_date IS NULL"
    )
    stage.measure(0, 95, kind="DISK", name="/data")
    stage.evaluate(0)
    fill(stage, 15, 97)
    stage.evaluate(15)
    assert [n["severity"] for n in stage.notifications()] == ["WARNING", "CRITICAL"]


def test_other_families_and_other_channels_do_not_join(stage):
    storm(stage, 1)
    stage.run(
        "UPDATE capacity_planning.capacity_threshold_s SET notification_channels = '{SLACK}' WHERE "
        "tenant_hk IS NOT NULL AND load_end_date IS NULL"
    )
    stage.threshold(
        of="CPU", name="cpu", tenant=stage.rows("SELECT tenant_hk FROM auth.tenant_h")[0]["tenant_hk"]
    )
    stage.measure(0, 95, kind="DISK", name="/data")
    stage.evaluate(0)
    fill(stage, 15, 97)
    stage.measure(
        15, 95, kind="CPU", tenant=stage.rows("SELECT tenant_hk FROM auth.tenant_h")[0]["tenant_hk"]
    )
    stage.evaluate(15)
    assert told(stage) == [("ALERT", "EMAIL", None), ("ALERT", "EMAIL", None), ("ALERT", "SLACK", None)]


def test_after_the_end_a_new_breach_is_a_new_page(stage):
    stage.threshold()
    stage.play((0, 95), (15, 50), (30, 95), (45, 50))
    assert [n["kind"] for n in stage.notifications()] == ["ALERT", "RESOLUTION"] * 2
    assert len({n["dedup_key"] for n in stage.notifications()}) == 2


# What is wrong with a threshold


def problems(stage) -> set[str]:
    return {row["problem"] for row in stage.rows("SELECT * FROM capacity_alerting.threshold_problem")}


@pytest.fixture
def notices(stage):
    heard: list[str] = []
    stage.connection.add_notice_handler(lambda notice: heard.append(notice.message_primary))
    return heard


def test_levels_that_contradict_each_other_are_said_and_listed(stage, notices):
    stage.threshold(90, "CRITICAL")
    stage.threshold(89, "WARNING", name="early")
    assert notices == []
    assert "contradictory levels" not in problems(stage)
    stage.threshold(90, "WARNING", name="early")
    assert len(notices) == 1
    assert "contradict each other" in notices[0]
    assert "contradictory levels" in problems(stage)
    stage.threshold(95, "WARNING", name="other", tenant=stage.tenant("acme"))
    assert len(notices) == 1, "another owner's levels are its own"


def test_holidays_that_run_out_are_listed_where_they_matter(stage):
    acme = stage.tenant("acme")
    holiday = "INSERT INTO capacity_alerting.holiday VALUES (%s, current_date + %s::int, 'feast')"
    of_all = stage.threshold()
    stage.threshold(tenant=acme, business_hours_only=True)
    assert "holidays run out" not in problems(stage), "there never were any"
    stage.run(holiday, None, 10)
    assert "holidays run out" in problems(stage), "acme goes by everyone's"
    stage.run("SELECT capacity_alerting.set_business_calendar(%s, 'Europe/Berlin')", acme)
    stage.run(holiday, acme, 70)
    assert "holidays run out" not in problems(stage), "the other threshold keeps no hours"
    stage.configure(of_all, business_hours_only=True)
    assert "holidays run out" in problems(stage)
    stage.run(holiday, None, 80)
    assert "holidays run out" not in problems(stage)


def test_an_escalation_to_nobody_is_said_and_listed(stage, notices):
    hk = stage.threshold()
    stage.configure(hk, escalation_enabled=True, escalation_delay_minutes=None)
    assert ["escalates to nobody" in n for n in notices] == [True]
    assert {"escalation without contacts", "escalation without a delay"} <= problems(stage)
    stage.configure(hk, escalation_contacts=["SLACK"], escalation_delay_minutes=5)
    assert not {"escalation without contacts", "escalation without a delay"} & problems(stage)


def test_what_cannot_be_judged_is_listed(stage):
    acme = stage.tenant("acme")
    stage.threshold(alert_enabled=False)
    stage.threshold(of="CPU")
    stage.threshold(of="USERS")
    stage.threshold(tenant=acme)
    stage.run(
        "INSERT INTO auth.tenant_profile_s VALUES (%s, now(), NULL, '', 'acme', NULL, false, 1, 'test')", acme
    )
    stage.measure(0, 50, kind="CPU")
    now = stage.value("SELECT extract(epoch FROM now() - %s)::float8 / 60", stage.at(0))
    stage.measure(now - 1, 50, kind="USERS", capacity=None)
    assert problems(stage) == {"disabled", "never measured", "stale", "capacity unknown", "tenant not active"}


# The rehearsal


def everything(stage) -> list[int]:
    tables = stage.rows(
        "SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n "
        "ON n.oid = c.relnamespace "
        "WHERE c.relkind = 'r' AND n.nspname IN ('capacity_planning', 'capacity_ops', "
        "'capacity_alerting') ORDER BY 1"
    )
    return [
        (t["name"], stage.value(f"SELECT md5(string_agg(x::text, '' ORDER BY x::text)) FROM {t['name']} x"))
        for t in tables
    ]


def test_a_rehearsal_takes_every_threshold_to_a_message_and_leaves_nothing(stage):
    now = stage.value("SELECT extract(epoch FROM now() - %s)::float8 / 60", stage.at(0))
    stage.threshold()
    stage.threshold(80, "WARNING", name="early")
    stage.threshold(10, name="empty", threshold_operator="<=")
    stage.threshold(name="unmeasured", of="GPU")
    stage.threshold(name="without capacity", of="USERS")
    stage.threshold(name="gone", is_active=False)
    stage.run("SELECT capacity_alerting.create_absence_threshold(NULL, 'silent', 'ALL', 60)")
    stage.run("SELECT capacity_alerting.create_runway_threshold(NULL, 'runway', 'STORAGE', 21)")
    stage.measure(now - 5, 50)
    stage.measure(now - 3, 50, kind="USERS", capacity=None)
    before = everything(stage)
    rows = {r["threshold_name"]: r for r in stage.rows("SELECT * FROM capacity_alerting.rehearse()")}
    assert everything(stage) == before
    assert {name: (r["fired"], r["reason"]) for name, r in rows.items()} == {
        "full": (True, None),
        "early": (True, None),
        "empty": (True, None),
        "silent": (True, None),
        "unmeasured": (False, "never measured"),
        "without capacity": (False, "capacity unknown"),
        "runway": (False, "no forecast of method ENGINE of the last 7 days"),
    }
    assert (
        rows["full"]["message"]
        == "CRITICAL: STORAGE disk is at 91.0% of its capacity, past the level of 90%."
    )
    assert rows["full"]["channels"] == ["EMAIL"]
    assert rows["full"]["body"].splitlines()[-1].startswith("key: ")
    assert rows["silent"]["message"].endswith("has not been measured for 61 minutes.")
    assert rows["empty"]["message"].startswith("CRITICAL: STORAGE disk is at 5.0%")


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda s, hk: s.configure(hk, alert_enabled=False), "DISABLED"),
        (
            lambda s, hk: s.run("SELECT capacity_alerting.mute_alerts(now() + interval '1 day', %s)", hk),
            "MUTED",
        ),
        (
            lambda s, hk: s.run(
                "SELECT capacity_alerting.declare_maintenance(now(), now() + interval '1 day')"
            ),
            "MAINTENANCE",
        ),
        (
            lambda s, hk: (
                s.configure(hk, business_hours_only=True),
                s.run("SELECT capacity_alerting.set_business_calendar(NULL, 'UTC', '{}')"),
            ),
            "OUTSIDE_BUSINESS_HOURS",
        ),
        (lambda s, hk: s.run("UPDATE capacity_alerting.channel SET is_default = false"), "no channel"),
    ],
)
def test_what_would_hold_an_alert_now_is_named_and_its_message_shown(stage, prepare, reason):
    hk = stage.threshold()
    stage.measure(stage.value("SELECT extract(epoch FROM now() - %s)::float8 / 60", stage.at(0)) - 5, 50)
    prepare(stage, hk)
    (row,) = stage.rows("SELECT * FROM capacity_alerting.rehearse()")
    assert (row["fired"], row["reason"]) == (False, reason)
    assert row["message"].startswith("CRITICAL: STORAGE disk")


def test_a_rehearsal_beside_an_open_alert_and_within_a_suppression(stage):
    now = stage.value("SELECT extract(epoch FROM now() - %s)::float8 / 60", stage.at(0))
    hk = stage.threshold()
    stage.play((now - 5, 95))
    before = everything(stage)
    assert [r["fired"] for r in stage.rows("SELECT * FROM capacity_alerting.rehearse()")] == [True]
    stage.configure(hk, suppression_enabled=True, suppression_duration_minutes=60)
    assert [r["reason"] for r in stage.rows("SELECT * FROM capacity_alerting.rehearse()")] == ["SUPPRESSED"]
    assert [a["status"] for a in stage.alerts()] == ["OPEN"]
    assert {
        name for (name, now), (_, then) in zip(everything(stage), before, strict=True) if now != then
    } == {"capacity_planning.capacity_threshold_s"}


def test_a_rehearsal_of_one_tenant_and_of_none(stage):
    acme = stage.tenant("acme")
    stage.threshold()
    stage.threshold(tenant=acme)
    stage.measure(
        stage.value("SELECT extract(epoch FROM now() - %s)::float8 / 60", stage.at(0)) - 5, 50, tenant=acme
    )
    assert [r["tenant_hk"] for r in stage.rows("SELECT * FROM capacity_alerting.rehearse(%s)", acme)] == [
        acme
    ]
    assert len(stage.rows("SELECT * FROM capacity_alerting.rehearse()")) == 2
    stage.run("SET default_transaction_read_only = on")
    with pytest.raises(errors.RaiseException, match="may only read"):
        stage.rows("SELECT * FROM capacity_alerting.rehearse()")
