"""Step 13 by itself: what goes into the outbox, who may take it out, and what is kept of every attempt."""

from __future__ import annotations

import threading

import psycopg
import pytest
from psycopg import errors

from capacity_kit import resources

ENQUEUE = (
    "SELECT capacity_alerting.enqueue_notification(p_key => %s, p_kind => %s, p_channel => %s, p_contact => %s, "
    "p_severity => 'CRITICAL', p_subject => 'a subject', p_body => 'a body', p_dedup_key => %s, p_queued_at => now())"
)
HK = "capacity_ops.hash_key(%s)"
STATE = "SELECT state, attempts, last_error FROM capacity_alerting.notification WHERE key = %s"


def enqueue(pg, key, kind="ALERT", channel="EMAIL", contact=None, dedup=None):
    pg.run(ENQUEUE, key, kind, channel, contact, dedup or key)


def claim(pg, sender="one", limit=10, lease=60, excluded=()):
    rows = pg.rows(
        "SELECT key FROM capacity_alerting.claim_notifications(%s, %s, %s, %s)",
        sender,
        limit,
        lease,
        list(excluded),
    )
    return [key for (key,) in rows]


def settle(pg, key, outcome, sender="one", error=None, retry_after=None):
    return pg.value(
        f"SELECT capacity_alerting.settle_notification({HK}, %s, %s, %s, 7, %s)",
        key, sender, outcome, error, retry_after,
    )  # fmt: skip


def due_now(pg):
    pg.run("UPDATE capacity_alerting.outbox SET due_at = now() - interval '1 second'")


def test_what_is_rolled_back_was_never_queued(pg):
    with pg.connect(autocommit=False) as connection:
        connection.execute(ENQUEUE, ("undone", "ALERT", "EMAIL", None, "d"))
        connection.rollback()
    enqueue(pg, "done")
    assert pg.rows("SELECT notification_bk FROM capacity_alerting.notification_h") == [("done",)]
    assert claim(pg) == ["done"]


def test_a_key_is_queued_once(pg):
    enqueue(pg, "key")
    enqueue(pg, "key", channel="SLACK")
    assert claim(pg) == ["key"]
    settle(pg, "key", "SENT")
    enqueue(pg, "key")
    assert claim(pg) == []
    assert pg.rows("SELECT channel FROM capacity_alerting.notification_s") == [("EMAIL",)]


def test_a_set_is_queued_in_one_statement(pg):
    pg.run(
        "SELECT capacity_alerting.enqueue_notification("
        "'key ' || n % 50, 'ALERT', 'email', '', NULL, 's', 'b', 'd' || n, now()) FROM generate_series(1, 100) n"
    )
    assert len(claim(pg, limit=1000)) == 50
    assert pg.rows("SELECT DISTINCT channel, contact FROM capacity_alerting.notification") == [
        ("EMAIL", None)
    ]


def test_the_hash_of_what_it_says_is_that_of_every_satellite(pg):
    enqueue(pg, "key")
    assert pg.value(
        "SELECT hash_diff = capacity_ops.hash_diff(to_jsonb(s), VARIADIC '{}'::text[]) "
        "FROM capacity_alerting.notification_s s"
    )
    assert pg.value("SELECT notification_hk = sha256('key') FROM capacity_alerting.notification_h")


@pytest.mark.parametrize("odd", ["", "x" * 300, "two\nlines", "ÄÖ"])
def test_no_name_of_a_channel_stops_an_evaluation(pg, odd):
    enqueue(pg, "key", channel=odd)
    assert pg.rows(
        "SELECT key, is_known_channel FROM capacity_alerting.claim_notifications('one', 5, 5)"
    ) == [("key", False)]


def test_an_unknown_kind_and_a_missing_channel_are_refused(pg):
    with pytest.raises(errors.CheckViolation):
        enqueue(pg, "key", kind="GOSSIP")
    with pytest.raises(errors.NotNullViolation):
        enqueue(pg, "key", channel=None)


def test_a_claim_keeps_others_out_until_its_lease_is_over(pg):
    enqueue(pg, "key")
    assert claim(pg) == ["key"]
    assert claim(pg, "two") == []
    pg.run("UPDATE capacity_alerting.outbox SET leased_until = now() - interval '1 second'")
    assert claim(pg, "two") == ["key"]
    lost = pg.rows("SELECT attempt, outcome, sender, error FROM capacity_alerting.delivery_s")
    assert lost == [(1, "FAILED", "one", "its sender did not say how this ended: it may have been delivered")]


def test_one_that_no_sender_survives_is_lent_ever_more_seldom(pg):
    enqueue(pg, "key")
    leases = []
    for _ in range(14):
        assert claim(pg, lease=60) == ["key"]
        leases.append(
            pg.value(
                "SELECT round(extract(epoch FROM leased_until - changed_at) / 60)::int FROM capacity_alerting.outbox"
            )
        )
        pg.run("UPDATE capacity_alerting.outbox SET leased_until = now() - interval '1 second'")
    assert leases == [1, 1, 1, 1, 1, 2, 4, 8, 16, 32, 64, 64, 64, 64]
    pg.run("UPDATE capacity_alerting.outbox SET since = since - interval '72 hours', attempts = 9")
    assert claim(pg) == ["key"], "few have tried: their host may have been away"
    pg.run("UPDATE capacity_alerting.outbox SET leased_until = now() - interval '1 second'")
    assert claim(pg) == []
    state, attempts, error = pg.rows(STATE, "key")[0]
    assert (state, attempts) == ("DEAD", 15)
    assert error == "given up: none of its senders said how this ended, and it may have been delivered"
    assert pg.value(f"SELECT capacity_alerting.requeue_notification({HK})", "key")
    assert claim(pg) == ["key"]


def test_two_claims_at_once_share_without_waiting(pg):
    for number in range(4):
        enqueue(pg, f"key {number}")
    with pg.connect(autocommit=False) as first, pg.connect(autocommit=False) as second:
        second.execute("SET lock_timeout = '2s'")
        statement = "SELECT key FROM capacity_alerting.claim_notifications(%s, 2, 60)"
        one = first.execute(statement, ("one",)).fetchall()
        two = second.execute(statement, ("two",)).fetchall()
    assert len(one) == len(two) == 2
    assert not set(one) & set(two)


def test_a_late_sender_counts_only_if_it_sent(pg):
    enqueue(pg, "key")
    claim(pg, "slow")
    pg.run("UPDATE capacity_alerting.outbox SET leased_until = now() - interval '1 second'")
    claim(pg, "quick")
    assert settle(pg, "key", "DEAD", "slow", "refused") == "FAILED"
    assert pg.value("SELECT leased_by FROM capacity_alerting.outbox") == "quick"
    assert settle(pg, "key", "SENT", "slow") == "SENT"
    assert pg.rows("SELECT FROM capacity_alerting.outbox") == []
    assert settle(pg, "key", "FAILED", "quick", "gone") == "FAILED"
    assert pg.rows(STATE, "key")[0][0] == "SENT"


def test_the_wait_doubles_up_to_an_hour(pg):
    enqueue(pg, "key")
    waits = []
    for _ in range(9):
        assert claim(pg) == ["key"]
        assert settle(pg, "key", "FAILED", error="no") == "FAILED"
        waits.append(
            pg.value(
                "SELECT round(extract(epoch FROM due_at - changed_at) / 60)::int FROM capacity_alerting.outbox"
            )
        )
        assert claim(pg) == []
        due_now(pg)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(("asked", "minutes"), [(None, 1), (5, 1), (600, 10), (10**9, 1440)])
def test_patience_that_was_asked_for_is_had_within_reason(pg, asked, minutes):
    enqueue(pg, "key")
    claim(pg)
    settle(pg, "key", "FAILED", error="no", retry_after=asked)
    assert pg.value(
        "SELECT round(extract(epoch FROM due_at - changed_at) / 60)::int FROM capacity_alerting.outbox"
    ) == minutes  # fmt: skip


def test_after_three_days_it_is_a_dead_letter_that_can_be_sent_again(pg):
    enqueue(pg, "key")
    pg.run("UPDATE capacity_alerting.outbox SET since = since - interval '71 hours 59 minutes'")
    claim(pg)
    assert settle(pg, "key", "FAILED", error="no answer") == "FAILED"
    pg.run("UPDATE capacity_alerting.outbox SET since = since - interval '1 minute'")
    due_now(pg)
    claim(pg)
    assert settle(pg, "key", "FAILED", error="no answer") == "DEAD"
    state, attempts, error = pg.rows(STATE, "key")[0]
    assert (state, attempts) == ("DEAD", 2)
    assert error.startswith("given up after 2 attempts since ")
    assert error.endswith(": no answer")
    assert claim(pg) == []

    assert pg.value(f"SELECT capacity_alerting.requeue_notification({HK})", "key")
    assert pg.rows(STATE, "key")[0][0] == "PENDING"
    assert claim(pg) == ["key"]
    assert settle(pg, "key", "FAILED", error="again") == "FAILED"
    assert not pg.value(f"SELECT capacity_alerting.requeue_notification({HK})", "key")
    assert claim(pg) == ["key"]
    settle(pg, "key", "SENT")
    assert pg.rows(STATE, "key")[0][0] == "SENT"
    outcomes = pg.rows("SELECT outcome FROM capacity_alerting.delivery_s ORDER BY load_date")
    assert [outcome for (outcome,) in outcomes] == ["FAILED", "DEAD", "REQUEUED", "FAILED", "SENT"]


def test_a_resolution_never_overtakes_its_alert(pg):
    enqueue(pg, "alert", dedup="incident")
    enqueue(pg, "over", "RESOLUTION", dedup="incident")
    enqueue(pg, "over elsewhere", "RESOLUTION", channel="SLACK", dedup="incident")
    assert claim(pg) == ["alert", "over elsewhere"]
    settle(pg, "alert", "FAILED", error="no")
    assert claim(pg) == []
    due_now(pg)
    assert claim(pg) == ["alert"]
    settle(pg, "alert", "SENT")
    assert claim(pg) == ["over"]


def test_a_dead_alert_holds_its_resolution_back_no_longer_and_is_followed_by_it_when_requeued(pg):
    enqueue(pg, "alert", dedup="incident")
    enqueue(pg, "over", "RESOLUTION", dedup="incident")
    claim(pg)
    settle(pg, "alert", "DEAD", error="refused")
    assert claim(pg) == ["over"]
    settle(pg, "over", "SENT")
    pg.run(f"SELECT capacity_alerting.requeue_notification({HK})", "alert")
    assert claim(pg) == ["alert"]
    settle(pg, "alert", "SENT")
    assert claim(pg) == ["over"]


@pytest.mark.parametrize("kind", ["ALERT", "ESCALATION"])
def test_a_dead_alert_goes_out_before_its_resolution_that_still_waits(pg, kind):
    enqueue(pg, "alert", kind, dedup="incident")
    claim(pg)
    settle(pg, "alert", "DEAD", error="refused")
    enqueue(pg, "over", "RESOLUTION", dedup="incident")
    assert pg.value(f"SELECT capacity_alerting.requeue_notification({HK})", "alert")
    assert claim(pg) == ["alert"]
    settle(pg, "alert", "SENT")
    assert claim(pg) == ["over"]
    settle(pg, "over", "SENT")
    assert claim(pg) == []


def test_a_dead_alert_waits_for_its_resolution_that_is_on_its_way(pg):
    enqueue(pg, "alert", dedup="incident")
    claim(pg)
    settle(pg, "alert", "DEAD", error="refused")
    enqueue(pg, "over", "RESOLUTION", dedup="incident")
    assert claim(pg) == ["over"]
    assert not pg.value(f"SELECT capacity_alerting.requeue_notification({HK})", "alert")
    settle(pg, "over", "SENT")
    assert pg.value(f"SELECT capacity_alerting.requeue_notification({HK})", "alert")
    assert claim(pg) == ["alert"]
    settle(pg, "alert", "SENT")
    assert claim(pg) == ["over"]


def test_an_address_where_a_name_belongs_is_not_kept(pg):
    enqueue(pg, "key", "ESCALATION", "https://hooks.example.com/T/SECRETTOKEN", "json://host/SECRETTOKEN")
    kept = pg.rows("SELECT channel, contact FROM capacity_alerting.notification")
    assert kept == [("HTTPS://***", "json://***")]
    assert "SECRET" not in str(pg.rows("SELECT * FROM capacity_alerting.notification_s")).upper()


def test_channels_that_rest_are_left_out(pg):
    enqueue(pg, "mail")
    enqueue(pg, "chat", channel="SLACK")
    assert claim(pg, excluded=["EMAIL"]) == ["chat"]
    assert claim(pg, excluded=["SLACK"]) == ["mail"]


def test_a_clock_set_back_keeps_nothing_waiting(pg):
    enqueue(pg, "failed")
    enqueue(pg, "held")
    claim(pg)
    settle(pg, "failed", "FAILED", error="no")
    pg.run(
        "UPDATE capacity_alerting.outbox SET due_at = due_at + interval '1 day', "
        "changed_at = changed_at + interval '1 day', leased_until = leased_until + interval '1 day'"
    )
    assert set(claim(pg, "two")) == {"failed", "held"}


def test_attempts_are_never_changed(pg):
    enqueue(pg, "key")
    claim(pg)
    settle(pg, "key", "FAILED", error="no")
    with pytest.raises(errors.RaiseException, match="is not changed"):
        pg.run("UPDATE capacity_alerting.delivery_s SET outcome = 'SENT'")


def test_what_was_told_is_kept_when_somebody_changes_it(pg):
    enqueue(pg, "key")
    pg.run("UPDATE capacity_alerting.notification_s SET body = 'another'")
    assert pg.rows(
        "SELECT body, load_end_date IS NULL FROM capacity_alerting.notification_s ORDER BY load_date"
    ) == [
        ("a body", False),
        ("another", True),
    ]
    assert pg.rows("SELECT body FROM capacity_alerting.claim_notifications('one', 5, 5)") == [("another",)]


def test_what_cannot_be_settled_says_so(pg):
    enqueue(pg, "key")
    with pytest.raises(errors.RaiseException, match="no outcome"):
        settle(pg, "key", "MAYBE")
    with pytest.raises(errors.RaiseException, match="no notification"):
        settle(pg, "another", "SENT")
    with pytest.raises(errors.RaiseException, match="no notification"):
        pg.run(f"SELECT capacity_alerting.requeue_notification({HK})", "another")


def test_settling_twice_at_once_is_kept_twice(pg):
    enqueue(pg, "key")
    claim(pg)

    def again():
        settle(pg, "key", "SENT")

    threads = [threading.Thread(target=again) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pg.value("SELECT count(*) FROM capacity_alerting.delivery_s") == 4


@pytest.mark.parametrize("url", ["https://me:secret@wiki/run", "https://token@wiki/"])
def test_a_link_with_a_password_is_refused(pg, url):
    with pytest.raises(errors.CheckViolation) as raised:
        pg.run("UPDATE capacity_alerting.text_setting SET value = %s WHERE name = 'runbook_url'", url)
    assert "wiki" not in str(raised.value)
    pg.run(
        "UPDATE capacity_alerting.text_setting SET value = 'https://wiki/{resource_type}?to=a@b' "
        "WHERE name = 'runbook_url'"
    )


def test_an_address_in_place_of_a_channels_name_is_refused_and_not_repeated(pg):
    with pytest.raises(errors.CheckViolation, match="not addressed") as raised:
        pg.run("INSERT INTO capacity_alerting.channel VALUES ('slack://token/secret', false, 'chat')")
    assert "secret/" not in str(raised.value)
    assert "token" not in str(raised.value)


def test_the_evaluation_of_one_tenant_is_no_heartbeat_of_all(pg):
    evaluated(pg, "interval '2 hours'")
    evaluated(pg, "interval '1 minute'", tenant=b"a")
    assert pg.value("SELECT capacity_alerting.claim_heartbeat('one', 60)") is None
    pg.run("DELETE FROM capacity_alerting.evaluation WHERE tenant_hk IS NULL")
    assert pg.value("SELECT capacity_alerting.claim_heartbeat('one', 60)") is not None, "evaluated one by one"


def test_the_heartbeat_is_claimed_once_for_each_evaluation_and_never_for_an_old_one(pg):
    evaluated(pg, "interval '1 minute'")
    beat = "SELECT capacity_alerting.claim_heartbeat(%s, 60)"
    first = pg.value(beat, "one")
    assert first is not None
    assert pg.value(beat, "two") is None
    pg.run("SELECT capacity_alerting.settle_heartbeat('one', %s, 'no answer')", first)
    assert pg.value(beat, "two") == first
    pg.run("SELECT capacity_alerting.settle_heartbeat('two', %s, NULL)", first)
    assert pg.value(beat, "one") is None
    evaluated(pg, "interval '0'")
    assert pg.value(beat, "one") > first


def test_an_evaluation_that_is_overdue_has_no_heartbeat(pg):
    evaluated(pg, "interval '46 minutes'")
    assert pg.value("SELECT capacity_alerting.claim_heartbeat('one', 60)") is None
    evaluated(pg, "interval '44 minutes'")
    assert pg.value("SELECT capacity_alerting.claim_heartbeat('one', 60)") is not None


def test_a_clock_set_back_stops_no_heartbeat(pg):
    evaluated(pg, "interval '-1 day'")
    assert pg.value("SELECT capacity_alerting.claim_heartbeat('one', 60)") is None
    evaluated(pg, "interval '1 minute'")
    assert pg.value("SELECT capacity_alerting.claim_heartbeat('one', 60)") is not None


def test_an_evaluation_of_another_time_has_no_heartbeat(pg):
    evaluated(pg, "interval '0'", is_live=False)
    assert pg.value("SELECT capacity_alerting.claim_heartbeat('one', 60)") is None


def evaluated(pg, ago, is_live=True, tenant=None):
    """Record an evaluation as step 14 does."""
    pg.run(
        "INSERT INTO capacity_alerting.evaluation (evaluated_at, is_live, tenant_hk, thresholds, exceeded, unknown, "
        "opened, ended, raised, escalated, resolved, notifications, duration_ms, recorded_at) "
        f"VALUES (now() - {ago}, %s, %s, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, now() - {ago})",
        is_live,
        tenant,
    )


def test_the_step_alone_can_be_applied_again_and_loses_nothing(pg):
    enqueue(pg, "key")
    claim(pg)
    settle(pg, "key", "FAILED", error="no")
    pg.run("UPDATE capacity_alerting.channel SET is_default = true WHERE name = 'SLACK'")
    before = pg.rows("SELECT * FROM capacity_alerting.notification")
    apply(pg)
    assert pg.rows("SELECT * FROM capacity_alerting.notification") == before
    assert pg.value("SELECT is_default FROM capacity_alerting.channel WHERE name = 'SLACK'")


def test_a_strange_schema_of_that_name_is_left_alone(pg):
    pg.run("COMMENT ON SCHEMA capacity_alerting IS 'mine'")
    with pytest.raises(errors.RaiseException, match="not this project's: nothing was changed"):
        apply(pg)


def test_a_newer_version_is_left_alone(pg):
    pg.run("UPDATE capacity_ops.deployment SET version = '9.0.0' WHERE step = 13")
    with pytest.raises(errors.RaiseException, match="newer version"):
        apply(pg)


def test_everything_says_what_it_is_for(pg):
    assert pg.rows(
        "SELECT c.oid::regclass FROM pg_class c "
        "WHERE c.relnamespace = 'capacity_alerting'::regnamespace AND c.relkind IN ('r', 'v') "
        "AND obj_description(c.oid, 'pg_class') IS NULL "
        "UNION ALL SELECT NULL FROM pg_proc p WHERE p.pronamespace = 'capacity_alerting'::regnamespace "
        "AND p.proname ~ '(notification|heartbeat|delivery)' AND obj_description(p.oid, 'pg_proc') IS NULL"
    ) == []  # fmt: skip


def apply(pg):
    source = (resources.path("sql") / "step_13_notifications.sql").read_text()
    with psycopg.connect(pg.dsn, autocommit=True) as connection:
        connection.execute(source.encode())
