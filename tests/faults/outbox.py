"""Kill the sender at random points, while its receivers fail, hang and ask for patience; then count what arrived.

Notifications are queued in transactions, of which some are rolled back. The sender is a process of its own, ended by
SIGKILL again and again; at last one is left to finish. An alert is lost when one of its notifications was never taken
by its receiver. ``make faults-outbox`` runs it; it exits with 1 when anything was lost, came without its key, came
although it was rolled back, or was left open by its resolution.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

import psycopg

from capacity_kit import vault
from capacity_kit.alerting import delivery
from capacity_kit.vault import embedded
from capacity_kit.vault.outbox import Outbox
from tests.faults.receivers import OK, Answer, Mailbox, Request, Web

ROOT = Path(__file__).resolve().parents[2]
CHANNELS = ("SLACK", "PAGERDUTY", "EMAIL")
ENQUEUE = (
    "SELECT capacity_alerting.enqueue_notification("
    "%s, %s, %s, NULL, 'CRITICAL', 'full', 'It is full.', %s, now())"
)
TIME_PASSES = "UPDATE capacity_alerting.outbox SET due_at = clock_timestamp() WHERE leased_by IS NULL"


@dataclass
class Ledger:
    """What was queued, and what the receivers saw of it.

    Attributes
    ----------
    alerts
        The keys of each alert's notifications that were committed.
    undone
        Keys that were rolled back.
    taken
        How often a receiver took each key.
    events
        What PagerDuty took, in order, by incident.
    """

    alerts: dict[str, list[str]] = field(default_factory=dict)
    undone: set[str] = field(default_factory=set)
    taken: Counter[str] = field(default_factory=Counter)
    seen: int = 0
    without_key: int = 0
    strange: set[str] = field(default_factory=set)
    events: dict[str, list[str]] = field(default_factory=dict)
    died_holding: int = 0
    kills: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, key: str | None, is_taken: bool) -> None:
        """Note that a receiver saw something, and whether it said that it took it."""
        with self.lock:
            self.seen += 1
            if not key:
                self.without_key += 1
            elif is_taken:
                self.taken[key] += 1
            if key and key not in {k for keys in self.alerts.values() for k in keys}:
                self.strange.add(key)

    def wait_for(self, calls: int) -> None:
        """Wait until the receivers were called so many times more, a few seconds at most."""
        until, deadline = self.seen + calls, time.monotonic() + 5
        while self.seen < until and time.monotonic() < deadline:
            time.sleep(0.001)

    @property
    def lost(self) -> list[str]:
        """The alerts of which not every notification was taken."""
        return [alert for alert, keys in self.alerts.items() if not all(self.taken[key] for key in keys)]

    @property
    def out_of_order(self) -> list[str]:
        """The incidents that were not opened first and closed last."""
        return [
            incident
            for incident, events in self.events.items()
            if events[0] != "trigger" or ("resolve" in events and events[-1] != "resolve")
        ]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.without_key or self.strange or self.out_of_order)


def main() -> int:
    """Run it on a server of its own; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--alerts", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        _send()
    home = Path(tempfile.mkdtemp(prefix="capacity-faults-"))
    try:
        embedded.up({"fsync": "off"}, home)
        dsn = embedded.status(home).dsn
        with vault.open(dsn) as opened:
            opened.deploy()
        began = time.monotonic()
        ledger = run(dsn, options.kills, options.alerts, options.seed)
    finally:
        embedded.down(home)
        shutil.rmtree(home, ignore_errors=True)
    duplicates = {key: count for key, count in sorted(ledger.taken.items()) if count > 1}
    print(f"sender killed {ledger.kills} times in {time.monotonic() - began:.0f} s, seed {options.seed};")
    print(
        f"{ledger.died_holding} notifications were in its hands then; receivers were called {ledger.seen} times"
    )
    print(f"rolled back {len(ledger.undone)}, of them arrived {len(ledger.strange)}")
    print(f"incidents {len(ledger.events)}, opened late or left open {len(ledger.out_of_order)}")
    print(f"taken more than once {len(duplicates)}, each time under its one key:")
    for key, count in duplicates.items():
        print(f"  {key} {count} times")
    for alert in ledger.lost:
        print(f"LOST {alert}: {[key for key in ledger.alerts[alert] if not ledger.taken[key]]}")
    print(f"alerts {len(ledger.alerts)}, lost {len(ledger.lost)}, without a key {ledger.without_key}")
    return 0 if ledger.is_sound and ledger.died_holding else 1


def run(dsn: str, kills: int, alerts: int, seed: int) -> Ledger:
    """Queue, kill, let finish, and return what the receivers saw.

    Parameters
    ----------
    dsn
        A database with the schema in it.
    kills
        How often the sender is killed.
    alerts
        How many alerts are queued, spread over the kills; a tenth as many more are rolled back.
    seed
        Of what is queued, when the sender is killed, and how the receivers behave.
    """
    # A stream of its own for each, so that the threads of the receivers do not disturb when the sender dies.
    dice, web_dice, mail_dice = (random.Random(f"{seed} {name}") for name in ("queue", "web", "mail"))
    ledger = Ledger()
    with Web(_misbehaving_web(ledger, web_dice)) as web, Mailbox() as mailbox:
        mailbox.answer_data = _misbehaving_mailbox(ledger, mail_dice)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CAPACITY_", "PG"))},
            "CAPACITY_DSN": dsn,
            "CAPACITY_CHANNEL_SLACK": f"json://127.0.0.1:{web.port}/chat",
            "CAPACITY_CHANNEL_PAGERDUTY": f"pagerduty+http://routing@127.0.0.1:{web.port}/events",
            "CAPACITY_CHANNEL_EMAIL": f"mailto://127.0.0.1:{mailbox.port}/ops@x.org?from=c@x.org",
        }
        with psycopg.connect(dsn, autocommit=True) as connection:
            for number in range(kills):
                _queue(connection, ledger, dice, alerts * (number + 1) // kills - alerts * number // kills)
                connection.execute(TIME_PASSES)
                with _sender(environment) as process:
                    # At any moment, or around one at which a receiver was called: between sending and settling.
                    calls, patience = dice.choice([(0, 0.6), (dice.randint(1, 8), 0.03)])
                    ledger.wait_for(calls)
                    time.sleep(dice.uniform(0, patience))
                    process.kill()
                ledger.kills += 1
            with _sender(environment) as process:
                deadline = time.monotonic() + 120
                while connection.execute("SELECT 1 FROM capacity_alerting.outbox LIMIT 1").fetchone():
                    if time.monotonic() > deadline or process.poll() is not None:
                        break  # and what is left over is counted as lost
                    connection.execute(TIME_PASSES)
                    time.sleep(0.1)
                process.kill()
            found = connection.execute(
                "SELECT count(*) FROM capacity_alerting.delivery_s WHERE error LIKE 'its sender did not say%%'"
            ).fetchone()
            assert found is not None
            ledger.died_holding = found[0]
    return ledger


def _queue(connection: psycopg.Connection, ledger: Ledger, dice: random.Random, count: int) -> None:
    """Queue alerts, each in a transaction; about every tenth is rolled back, and queued anew under another key."""
    for _ in range(count):
        while True:
            alert = f"{dice.getrandbits(128):032x}"
            kinds = ["ALERT", "RESOLUTION"] if dice.random() < 0.5 else ["ALERT"]
            channels = dice.sample(CHANNELS, dice.randint(1, 2))
            queued = [
                (f"{alert[:24]}-{kind}-{channel}", kind, channel) for channel in channels for kind in kinds
            ]
            keys = [key for key, _, _ in queued]
            is_undone = dice.random() < 0.1
            with ledger.lock:
                if is_undone:
                    ledger.undone.update(keys)
                else:
                    ledger.alerts[alert] = keys
            with connection.transaction():
                for key, kind, channel in queued:
                    connection.execute(ENQUEUE, (key, kind, channel, f"{alert[:24]}@{channel}"))
                if is_undone:
                    raise psycopg.Rollback
            if not is_undone:
                break


class _sender:  # noqa: N801 -- it is used as a function
    """A sender in a process of its own, from when it begins."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.outbox", "--send"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _send() -> None:
    """Send until killed."""
    with vault.open() as opened:
        sender = delivery.Sender(Outbox(opened), timeout=1.2, lease=2)
        print("ready", flush=True)
        while True:
            sender.run()
            time.sleep(0.02)


def _misbehaving_web(ledger: Ledger, dice: random.Random) -> object:
    """A receiver that takes seven of ten messages."""

    def answer(request: Request) -> Answer | str:
        document = request.document
        key = _key_of(request.path, document)
        with ledger.lock:
            dart = dice.random()
        is_taken = dart < 0.76
        ledger.note(key, is_taken)
        if is_taken and request.path == "/events":
            with ledger.lock:
                ledger.events.setdefault(document["dedup_key"], []).append(document["event_action"])
        if dart < 0.70:
            return OK
        if dart < 0.73:
            return "hang"  # it took the message, and does not say so
        if dart < 0.76:
            return "drop"
        if dart < 0.88:
            return 500, {}, b"out of order"
        return 429, {"Retry-After": "1"}, b"slow down"

    return answer


def _key_of(path: str, document: dict) -> str | None:
    """The key, from where a receiver finds it."""
    if path == "/events":
        if document["event_action"] == "resolve":
            alert, _, channel = document["dedup_key"].partition("@")
            return f"{alert}-RESOLUTION-{channel}"
        return document["payload"]["custom_details"]["key"]
    return next(
        (line.removeprefix("key: ") for line in document["message"].splitlines() if line.startswith("key: ")),
        None,
    )


def _misbehaving_mailbox(ledger: Ledger, dice: random.Random) -> object:
    """A mail server that takes eight of ten mails."""

    def answer(mail: EmailMessage) -> str:
        with ledger.lock:
            dart = dice.random()
        footer = [line for line in mail.get_content().splitlines() if line.startswith("key: ")]
        key = mail["X-Capacity-Key"]
        ledger.note(key if footer == [f"key: {key}"] else None, dart < 0.8)
        return "250 OK" if dart < 0.76 else "hang" if dart < 0.8 else "451 come back later"

    return answer


if __name__ == "__main__":
    sys.exit(main())
