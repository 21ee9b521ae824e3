"""The outbox from Python: what a claim holds, what is committed when, and what a person is told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from capacity_kit import vault
from capacity_kit.errors import CapacityError
from capacity_kit.vault.outbox import Notification, Outbox

ENQUEUE = "SELECT capacity_alerting.enqueue_notification(%s, 'ALERT', %s, %s, NULL, 's', 'b', NULL, %s, %s)"
THEN = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def outbox(pg18):
    with vault.open(pg18.dsn) as opened:
        yield Outbox(opened)


def test_a_claim_holds_what_was_queued_and_is_committed(pg18, outbox):
    pg18.run(ENQUEUE, "a", "email", None, THEN, None)
    pg18.run(ENQUEUE, "b", "PIGEON", "x@y.org", THEN, "/tmp/report.html")
    first, second = outbox.claim("me", 10, 60)
    hk = pg18.value(
        "SELECT encode(notification_hk, 'hex') FROM capacity_alerting.notification_h WHERE notification_bk = 'a'"
    )
    assert first == Notification(hk, "a", "ALERT", "EMAIL", None, None, "s", "b", "a", None, 1, True)
    assert (second.contact, second.attachment, second.is_known_channel) == (
        "x@y.org",
        "/tmp/report.html",
        True,  # a mail address goes by EMAIL, whatever the channel
    )
    assert pg18.value("SELECT count(*) FROM capacity_alerting.outbox WHERE leased_by = 'me'") == 2
    assert outbox.claim("me", 10, 60) == []


def test_a_channel_can_be_left_out(pg18, outbox):
    pg18.run(ENQUEUE, "a", "EMAIL", None, THEN, None)
    assert outbox.claim("me", 10, 60, ["SLACK", "EMAIL"]) == []
    assert [found.key for found in outbox.claim("me", 10, 60, ["SLACK"])] == ["a"]


def test_settling_says_what_follows(pg18, outbox):
    pg18.run(ENQUEUE, "a", "EMAIL", None, THEN, None)
    (found,) = outbox.claim("me", 10, 60)
    assert outbox.settle(found.notification_hk, "me", "FAILED", "no: 100 % :full", 5, 120) == "FAILED"
    waiting = outbox.state().iloc[0]
    assert (waiting["key"], waiting["state"], waiting["attempts"]) == ("a", "PENDING", 1)
    assert waiting["last_error"] == "no: 100 % :full"
    assert (waiting["due_at"] - waiting["last_attempt_at"]).total_seconds() == pytest.approx(120, abs=1)


def test_dead_letters_are_listed_first_and_sent_again_one_or_all(pg18, outbox):
    for key in ("a", "b", "c"):
        pg18.run(ENQUEUE, key, "EMAIL", None, THEN, None)
    for found in outbox.claim("me", 2, 60):
        outbox.settle(found.notification_hk, "me", "DEAD", "refused", 5)
    assert list(outbox.state()["state"]) == ["DEAD", "DEAD", "PENDING"]
    assert outbox.requeue("a") == 1
    assert outbox.requeue("a") == 0
    assert outbox.requeue() == 1
    assert len(outbox.claim("me", 10, 60)) == 3
    with pytest.raises(CapacityError, match="no notification 'nowhere'"):
        outbox.requeue("nowhere")


def test_a_test_message_is_queued_as_any_other(pg18, outbox):
    key = outbox.enqueue_test("email")
    (found,) = outbox.claim("me", 10, 60)
    assert (found.key, found.kind, found.channel) == (key, "TEST", "EMAIL")
    assert found.body.endswith(f"key: {key}")
    assert outbox.enqueue_test("email") != key


def test_a_heartbeat_is_claimed_and_settled(pg18, outbox):
    assert outbox.claim_heartbeat("me", 60) is None
    pg18.run("SELECT count(*) FROM capacity_planning.evaluate_capacity_thresholds()")
    evaluated_at = outbox.claim_heartbeat("me", 60)
    assert abs((datetime.now(UTC) - evaluated_at).total_seconds()) < 60
    outbox.settle_heartbeat("me", evaluated_at, None)
    assert outbox.claim_heartbeat("me", 60) is None


def test_a_database_without_the_step_says_what_to_do(pg18, outbox):
    pg18.run("DROP SCHEMA capacity_alerting CASCADE")
    with pytest.raises(CapacityError):
        outbox.claim("me", 10, 60)
