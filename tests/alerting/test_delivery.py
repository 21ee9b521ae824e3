"""A sender on a real outbox: everything arrives, each under its key, whatever the receivers do."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from contextlib import contextmanager

import pytest

from capacity_kit import vault
from capacity_kit.alerting import delivery
from capacity_kit.alerting.delivery import Summary
from capacity_kit.errors import CapacityError
from capacity_kit.vault.outbox import Outbox
from tests.faults.receivers import OK, Mailbox, Web

TOKEN = "tok3nOfTheChatThatNobodySees"
CHANGED = (
    "SELECT capacity_alerting.enqueue_notification(%s, %s, %s, %s, 'CRITICAL', 'full', 'it is', %s, now())"
)


@pytest.fixture
def pg(pg18):
    """One server is enough: what depends on PostgreSQL's version is tested with the step."""
    return pg18


@pytest.fixture
def web(monkeypatch):
    with Web() as opened:
        monkeypatch.setenv("CAPACITY_CHANNEL_SLACK", f"json://127.0.0.1:{opened.port}/{TOKEN}")
        monkeypatch.setenv(
            "CAPACITY_CHANNEL_PAGERDUTY", f"pagerduty+http://R0uting@127.0.0.1:{opened.port}/v2"
        )
        yield opened


@pytest.fixture
def mailbox(monkeypatch):
    with Mailbox() as opened:
        monkeypatch.setenv(
            "CAPACITY_CHANNEL_EMAIL", f"mailto://127.0.0.1:{opened.port}/ops@x.org?from=c@x.org"
        )
        yield opened


@contextmanager
def outbox_of(pg):
    with vault.open(pg.dsn) as opened:
        yield Outbox(opened)


def enqueue(pg, key, channel="SLACK", kind="ALERT", contact=None, dedup=None):
    pg.run(CHANGED, key, kind, channel, contact, dedup or key)


def send(pg, **options):
    with outbox_of(pg) as outbox:
        return delivery.send_due(outbox, **options)


def state(pg, key):
    return pg.rows(
        "SELECT state, attempts, last_error FROM capacity_alerting.notification WHERE key = %s", key
    )[0]


def a_day_passes(pg, hours=24):
    pg.run(
        "UPDATE capacity_alerting.outbox SET due_at = due_at - make_interval(hours => %s), "
        "since = since - make_interval(hours => %s)",
        hours,
        hours,
    )


def keys(web):
    return Counter(
        line.removeprefix("key: ")
        for request in web.requests
        for line in request.document["message"].splitlines()
        if line.startswith("key: ")
    )


def test_each_goes_where_it_belongs(pg, web, mailbox):
    enqueue(pg, "chat", "SLACK")
    enqueue(pg, "page", "PAGERDUTY")
    enqueue(pg, "mail", "EMAIL")
    enqueue(pg, "to her", "EMAIL", "ESCALATION", "her@x.org")
    enqueue(pg, "to her too", "SLACK", "ESCALATION", "her@x.org")
    enqueue(pg, "to a channel", "EMAIL", "ESCALATION", "pagerduty")
    assert send(pg) == Summary(sent=6)
    assert sorted(mailbox.envelopes) == [["her@x.org"], ["her@x.org"], ["ops@x.org"]]
    assert sorted(request.path for request in web.requests) == [f"/{TOKEN}", "/v2", "/v2"]
    assert send(pg) == Summary()


def test_a_channel_that_nobody_knows_and_a_contact_that_is_none_are_dead_at_once(pg, web):
    enqueue(pg, "one", "CARRIER PIGEON")
    enqueue(pg, "two", "SLACK", "ESCALATION", "the boss")
    done = send(pg)
    assert (done.sent, done.dead) == (0, 2)
    assert state(pg, "one") == ("DEAD", 1, "there is no channel 'CARRIER PIGEON'")
    assert state(pg, "two") == ("DEAD", 1, "contact 'the boss' is neither a mail address nor a channel")


def test_a_channel_without_an_address_here_waits_for_one(pg, web):
    enqueue(pg, "one", "EMAIL")
    enqueue(pg, "two", "SLACK", "ESCALATION", "her@x.org")
    enqueue(pg, "three", "SLACK", "ESCALATION", "email")
    assert send(pg) == Summary()  # another host may have it
    a_day_passes(pg, 1)
    assert send(pg).later == 3
    assert state(pg, "three")[2] == state(pg, "one")[2]
    assert state(pg, "one")[0::2] == (
        "PENDING",
        "this sender has no address of channel EMAIL: set CAPACITY_CHANNEL_EMAIL",
    )


def test_a_sender_that_lacks_an_address_takes_nothing_from_one_that_has_it(pg, web, mailbox, monkeypatch):
    """A watching one without the address comes first each time; the other one comes by every few minutes."""
    address = os.environ["CAPACITY_CHANNEL_EMAIL"]
    enqueue(pg, "one", "EMAIL")
    enqueue(pg, "two", "SLACK", "ESCALATION", "her@x.org")
    enqueue(pg, "a test", "EMAIL", "TEST")
    monkeypatch.delenv("CAPACITY_CHANNEL_EMAIL")
    assert send(pg).troubles == (
        "EMAIL: this sender has no address of channel EMAIL: set CAPACITY_CHANNEL_EMAIL",
    )
    assert send(pg) == Summary()
    pg.run("UPDATE capacity_alerting.outbox SET due_at = due_at - interval '9 minutes'")
    assert send(pg).sent == 0
    monkeypatch.setenv("CAPACITY_CHANNEL_EMAIL", address)
    assert send(pg).sent >= 2
    assert {state(pg, key)[0] for key in ("one", "two")} == {"SENT"}


def test_without_any_address_nothing_is_touched(pg):
    enqueue(pg, "key")
    with pytest.raises(CapacityError, match="No channel has an address here"):
        send(pg)
    assert state(pg, "key") == ("PENDING", 0, None)


def test_a_refused_address_is_a_dead_letter_with_its_reason_and_can_be_sent_again(pg, mailbox):
    mailbox.answer_recipient = lambda _: "550 no such user"
    enqueue(pg, "key", "EMAIL")
    assert send(pg).dead == 1
    found = state(pg, "key")
    assert found[0] == "DEAD"
    assert found[2].endswith("refused every receiver: 550 no such user")
    mailbox.answer_recipient = lambda _: "250 OK"
    with outbox_of(pg) as outbox:
        assert list(outbox.state()["key"]) == ["key"]
        assert outbox.requeue("key") == 1
        assert delivery.send_due(outbox).sent == 1
        assert outbox.state().empty
    assert mailbox.mails[0]["X-Capacity-Key"] == "key"


def test_a_receiver_that_is_away_for_a_day_gets_everything_in_the_end(pg, web):
    web.answer = lambda _: (503, {}, b"closed")
    for number in range(10):
        enqueue(pg, f"key {number}")
    for _ in range(6):
        assert send(pg).sent == 0
        a_day_passes(pg, 4)
    web.answer = lambda _: OK
    web.requests.clear()
    assert send(pg) == Summary(sent=10)
    assert keys(web) == {f"key {number}": 1 for number in range(10)}


def test_a_receiver_that_is_away_for_three_days_leaves_dead_letters(pg, web):
    web.answer = lambda _: (503, {}, b"closed")
    enqueue(pg, "key")
    send(pg)
    a_day_passes(pg, 72)
    assert send(pg).dead == 1
    assert state(pg, "key")[2].startswith("given up after 2 attempts")


def test_a_server_that_hangs_holds_up_nobody_else(pg, web, mailbox):
    web.answer = lambda _: "hang"
    for number in range(10):
        enqueue(pg, f"hung {number}", "SLACK")
    for number in range(10):
        enqueue(pg, f"mail {number}", "EMAIL")
    began = time.monotonic()
    done = send(pg, timeout=9)
    assert done.sent == 10
    assert 1 <= done.later <= 4
    assert time.monotonic() - began < 20  # ten that hang, one after the other, would take 30
    assert len(mailbox.mails) == 10
    assert {state(pg, f"hung {number}")[0] for number in range(10)} == {"PENDING"}


def test_one_that_never_comes_to_an_end_is_left_behind(pg, web):
    web.answer = lambda _: "drip"  # no time-out between two bytes ever ends this
    enqueue(pg, "key")
    began = time.monotonic()
    done = send(pg, timeout=0.9)
    assert done == Summary(later=1, troubles=("SLACK: no end within 0.9 s",))
    assert time.monotonic() - began < 5


def test_patience_is_had_with_a_receiver_that_asks_for_it(pg, web):
    web.answer = lambda _: (429, {"Retry-After": "1800"}, b"")
    for number in range(5):
        enqueue(pg, f"key {number}")
    with outbox_of(pg) as outbox:
        sender = delivery.Sender(outbox)
        assert sender.run().later <= 2
        asked = len(web.requests)
        assert sender.run() == Summary()
    assert len(web.requests) == asked <= 2
    assert (
        pg.value(
            "SELECT round(extract(epoch FROM max(due_at) - now()) / 60)::int FROM capacity_alerting.outbox"
        )
        == 30
    )


def test_one_bad_receiver_does_not_silence_a_channel(pg, mailbox):
    mailbox.answer_recipient = lambda address: "451 later" if address == "slow@x.org" else "250 OK"
    for number in range(5):
        enqueue(pg, f"slow {number}", "EMAIL", "ESCALATION", "slow@x.org")
    enqueue(pg, "key", "EMAIL")
    done = send(pg)
    assert (done.sent, done.later) == (1, 5)


def test_two_senders_at_once_send_each_once(pg, web):
    def slowly(_):
        time.sleep(0.02)
        return OK

    web.answer = slowly
    for number in range(40):
        enqueue(pg, f"key {number}")
    done = []

    def work():
        done.append(send(pg))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(summary.sent for summary in done) == 40
    assert keys(web) == {f"key {number}": 1 for number in range(40)}


def test_what_a_dead_sender_had_is_sent_by_another_when_its_lease_is_over(pg, web):
    enqueue(pg, "key")
    with outbox_of(pg) as outbox:
        assert [found.key for found in outbox.claim("the dead", 5, 60)] == ["key"]
        assert delivery.send_due(outbox) == Summary()
        pg.run("UPDATE capacity_alerting.outbox SET leased_until = now() - interval '1 second'")
        assert delivery.send_due(outbox) == Summary(sent=1)
    assert state(pg, "key")[:2] == ("SENT", 2)


def test_a_full_disk_at_the_settling_means_once_more_under_the_same_key(pg, web):
    enqueue(pg, "key")
    pg.run(
        "CREATE FUNCTION public.full() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$"
    )
    pg.run(
        "CREATE TRIGGER full_disk BEFORE INSERT ON capacity_alerting.delivery_s "
        "FOR EACH ROW EXECUTE FUNCTION public.full()"
    )
    with pytest.raises(CapacityError, match="disk is full"):
        send(pg)
    assert state(pg, "key")[0] == "PENDING"
    pg.run("DROP TRIGGER full_disk ON capacity_alerting.delivery_s")
    pg.run("UPDATE capacity_alerting.outbox SET leased_until = now() - interval '1 second'")
    assert send(pg).sent == 1
    assert keys(web) == {"key": 2}


def test_words_that_the_database_does_not_take_are_no_reason_to_send_again(pg, mailbox, monkeypatch):
    monkeypatch.setenv(
        "CAPACITY_CHANNEL_EMAIL", f"mailto://127.0.0.1:{mailbox.port}/a@x.org/b@x.org?from=c@x.org"
    )
    mailbox.answer_recipient = lambda address: "550 odd\x00 words" if address[0] == "b" else "250 OK"
    pg.run(
        "CREATE FUNCTION public.picky() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.error ~ 'odd' THEN RAISE EXCEPTION 'not these words'; END IF; RETURN NEW; END $$"
    )
    pg.run(
        "CREATE TRIGGER picky BEFORE INSERT ON capacity_alerting.delivery_s "
        "FOR EACH ROW EXECUTE FUNCTION public.picky()"
    )
    enqueue(pg, "key", "EMAIL")
    assert send(pg).sent == 1
    assert state(pg, "key") == ("SENT", 1, "what was said of this could not be recorded")


def test_a_database_that_goes_away_while_sending_loses_nothing(pg, web):
    def cut(_):
        pg.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'capacity-kit'"
        )
        return OK

    web.answer = cut
    enqueue(pg, "key")
    assert send(pg).sent == 1  # settled on a new connection
    assert keys(web) == {"key": 1}


def test_no_secret_is_left_anywhere(pg, web, mailbox, monkeypatch, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    password = "pa%24%24w0rd%40home"
    monkeypatch.setenv(
        "CAPACITY_CHANNEL_EMAIL",
        f"mailto://someuser:{password}@127.0.0.1:{mailbox.port}/ops@x.org?from=c@x.org",
    )
    monkeypatch.setenv("CAPACITY_CHANNEL_TEAMS", "nonsense://s3cretOfTeams")
    web.answer = lambda request: (
        500,
        {},
        f"you sent {request.path} {request.body.decode()} pa$$w0rd@home".encode(),
    )
    for channel in ("SLACK", "PAGERDUTY", "EMAIL", "TEAMS"):
        enqueue(pg, channel, channel)
    done = send(pg)
    assert done.later == 4
    stored = str(pg.rows("SELECT * FROM capacity_alerting.delivery_s"))
    said = [
        stored,
        repr(done),
        caplog.text,
        *capfd.readouterr(),
        str(pg.rows("SELECT query FROM pg_stat_activity")),
    ]
    for secret in (TOKEN, "R0uting", password, "pa$$w0rd@home", "s3cretOfTeams", "someuser"):
        if secret == "pa$$w0rd@home":  # another channel's: only EMAIL's own texts have to be free of it
            assert secret not in str(state(pg, "EMAIL"))
        else:
            assert not [text for text in said if secret in text], secret
    assert pg.value("SELECT count(*) FROM capacity_alerting.delivery_s WHERE error ~ '[*]{3}'") >= 2


def test_a_limit_is_kept(pg, web):
    for number in range(5):
        enqueue(pg, f"key {number}")
    assert send(pg, limit=3) == Summary(sent=3)
    assert send(pg, limit=0) == Summary()
    assert send(pg) == Summary(sent=2)


def test_an_incident_is_opened_before_it_is_closed(pg, web):
    web.answer = lambda _: (500, {}, b"")
    enqueue(pg, "open", "PAGERDUTY", dedup="incident")
    enqueue(pg, "over", "PAGERDUTY", "RESOLUTION", dedup="incident")
    assert send(pg).later == 1
    web.answer = lambda _: (202, {}, b"")
    web.requests.clear()
    a_day_passes(pg)
    assert send(pg).sent == 2
    assert [
        (request.document["event_action"], request.document["dedup_key"]) for request in web.requests
    ] == [
        ("trigger", "incident"),
        ("resolve", "incident"),
    ]


def test_a_breach_reaches_people_and_so_does_its_end(pg, web, mailbox):
    with vault.open(pg.dsn) as opened:
        opened.register("SYSTEM", "STORAGE", "cluster", 1000, "bytes")
        opened.make_thresholds("SYSTEM")
        pg.run(
            "UPDATE capacity_planning.capacity_threshold_s "
            "SET notification_channels = '{email,PAGERDUTY}', evaluation_frequency_minutes = NULL "
            "WHERE load_end_date IS NULL AND threshold_type = 'CRITICAL'"
        )
        pg.run(
            "UPDATE capacity_planning.capacity_threshold_s SET alert_enabled = false "
            "WHERE load_end_date IS NULL AND (threshold_type <> 'CRITICAL' OR resource_type <> 'STORAGE')"
        )
        opened.capture()
        opened.evaluate()
        assert delivery.send_due(Outbox(opened)) == Summary(sent=2)
        opened.register("SYSTEM", "STORAGE", "cluster", 1e15, "bytes")
        opened.capture()
        opened.evaluate()
        assert delivery.send_due(Outbox(opened)) == Summary(sent=2)
    told, over = mailbox.mails
    assert "STORAGE" in told["Subject"]
    assert told["References"] == over["References"]
    assert told["X-Capacity-Key"] != over["X-Capacity-Key"]
    for mail in (told, over):
        assert mail.get_content().rstrip().endswith(f"key: {mail['X-Capacity-Key']}")
    opening, closing = (request.document for request in web.requests)
    assert (opening["event_action"], closing["event_action"]) == ("trigger", "resolve")
    assert opening["dedup_key"] == closing["dedup_key"]
    assert opening["payload"]["severity"] == "critical"


def evaluated(pg):
    pg.run("SELECT count(*) FROM capacity_planning.evaluate_capacity_thresholds()")


def test_the_world_outside_hears_of_each_evaluation_once(pg, web, monkeypatch):
    monkeypatch.setenv("CAPACITY_HEARTBEAT_URL", f"http://127.0.0.1:{web.port}/ping/s3cret")
    assert send(pg).heartbeat is None
    evaluated(pg)
    web.answer = lambda _: (500, {}, b"")
    done = send(pg)
    assert done.heartbeat is False
    assert done.troubles == ("heartbeat: 127.0.0.1 answered 500",)
    web.answer = lambda _: OK
    assert send(pg).heartbeat is True
    assert send(pg).heartbeat is None
    evaluated(pg)
    assert send(pg).heartbeat is True
    assert [(request.method, request.path) for request in web.requests] == [("GET", "/ping/s3cret")] * 3
    assert "s3cret" not in str(pg.rows("SELECT * FROM capacity_alerting.heartbeat"))


def test_watching_goes_on_through_failures_and_ends_when_told(pg, web):
    told = []
    with outbox_of(pg) as outbox, watching(outbox, told.append):
        enqueue(pg, "before")
        until(lambda: keys(web)["before"])
        pg.server.run(f"ALTER DATABASE {pg.name} ALLOW_CONNECTIONS false")
        pg.server.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{pg.name}'")
        until(lambda: [summary for summary in told if summary.troubles])
        pg.server.run(f"ALTER DATABASE {pg.name} ALLOW_CONNECTIONS true")
        enqueue(pg, "after")
        until(lambda: keys(web)["after"])
    assert keys(web) == {"before": 1, "after": 1}
    assert len([summary for summary in told if summary.troubles]) < 5


def test_watching_ends_soon_though_much_is_due(pg, web):
    def slowly(_):
        time.sleep(0.05)
        return OK

    web.answer = slowly
    for number in range(100):
        enqueue(pg, f"key {number}")
    with outbox_of(pg) as outbox, watching(outbox, lambda _: None):
        until(lambda: len(web.requests) >= 3)
    sent = len(web.requests)
    assert sent < 50
    assert pg.value("SELECT count(*) FROM capacity_alerting.outbox WHERE leased_by IS NOT NULL") == 0
    assert pg.value("SELECT count(*) FROM capacity_alerting.delivery_s WHERE outcome = 'SENT'") == sent


@contextmanager
def watching(outbox, tell):
    """Watch in a thread that comes to an end, whatever the test finds."""
    stop = threading.Event()
    thread = threading.Thread(
        target=delivery.watch, args=(outbox,), kwargs={"every": 0.05, "stop": stop, "tell": tell}, daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
