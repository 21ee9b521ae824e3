"""Delivery: what is due in the outbox goes out through the channels, at least once, under its key.

A notification is claimed, and the claim committed, before it is sent; how that ended is settled afterwards. A sender
that dies in between leaves the lease to expire, and the notification goes out again under the same key. Each is sent
in a thread of its own, few at a time for each channel, so that a server that hangs holds up nobody else's.
"""

from __future__ import annotations

import os
import queue
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from capacity_kit import settings, units
from capacity_kit.alerting.channels import EMAIL, Channel, Message, Undelivered, call, channels
from capacity_kit.errors import CapacityError

__all__ = ["Channel", "Notification", "Outbox", "Sender", "Summary", "channels", "send_due", "watch"]

_THREADS: Final = 6
_PER_CHANNEL: Final = 2
_PATIENCE: Final = 2
"""A channel whose server failed so many times on end is left alone for the rest of a run."""


class Notification(Message, Protocol):
    """A message with its way: what :class:`capacity_kit.vault.outbox.Notification` holds."""

    @property
    def notification_hk(self) -> str:
        """Its hash key."""

    @property
    def channel(self) -> str:
        """The channel that it goes by."""

    @property
    def contact(self) -> str | None:
        """Whom in particular."""

    @property
    def is_known_channel(self) -> bool:
        """Whether the database knows the channel that it goes by: its contact's, if it has one."""


class Outbox(Protocol):
    """What lends notifications: see :class:`capacity_kit.vault.outbox.Outbox`."""

    def claim(
        self,
        sender: str,
        limit: int,
        lease: float,
        excluded: Collection[str] = (),
        channels: Collection[str] | None = None,
    ) -> Sequence[Notification]:
        """Borrow what is due, committed."""

    def settle(
        self,
        notification_hk: str,
        sender: str,
        outcome: str,
        error: str | None,
        duration_ms: int,
        retry_after: int | None = None,
    ) -> str:
        """Record how it ended; return what follows."""

    def claim_heartbeat(self, sender: str, lease: float) -> datetime | None:
        """The evaluation to tell the world outside of."""

    def settle_heartbeat(self, sender: str, evaluated_at: datetime, error: str | None) -> None:
        """Record how that ended."""


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes
    ----------
    sent
        Were taken by their receivers.
    later
        Failed, and are tried again.
    dead
        Became dead letters.
    heartbeat
        Whether the world outside heard; None: there was nothing to tell it.
    troubles
        What went wrong, one line each, secrets masked.
    """

    sent: int = 0
    later: int = 0
    dead: int = 0
    heartbeat: bool | None = None
    troubles: tuple[str, ...] = ()


@dataclass(eq=False)
class _Flight:
    """One attempt under way."""

    notification: Notification
    began: float = field(default_factory=time.monotonic)

    @property
    def duration_ms(self) -> int:
        return round(1000 * (time.monotonic() - self.began))


class Sender:
    """One run of a sender, or many in a row.

    Parameters
    ----------
    outbox
        Where notifications come from.
    timeout
        How many seconds an attempt may take; a third of it for each answer of the other side.
    lease
        For how many seconds a notification is borrowed (default: twice the timeout and half a minute).
    stop
        When set, no more is borrowed, and a run ends when what is under way has ended.
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        timeout: float = 30.0,
        lease: float | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._outbox = outbox
        self._stop = stop or threading.Event()
        self._timeout = timeout
        self._lease = 2 * timeout + 30 if lease is None else lease
        self._name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._landed: queue.SimpleQueue[tuple[_Flight, str | Undelivered | None]] = queue.SimpleQueue()
        self._rests_until: dict[str, float] = {}

    def run(self, limit: int | None = None) -> Summary:
        """Send until nothing is due; see :func:`send_due`."""
        heartbeat, trouble = self._heartbeat()
        known = channels()
        if not known:
            raise CapacityError(
                "No channel has an address here, so nothing can be sent",
                "Set CAPACITY_CHANNEL_EMAIL, or name a file of addresses by CAPACITY_CHANNELS.",
            )
        return self._empty(known, limit, heartbeat, [trouble] if trouble else [])

    def _empty(
        self, known: Mapping[str, Channel], limit: int | None, heartbeat: bool | None, troubles: list[str]
    ) -> Summary:
        """Claim, send and settle until nothing is due. A failing database is waited for by the next run, not here."""
        counts: Counter[str] = Counter()
        failures: Counter[str] = Counter()
        flights: list[_Flight] = []
        tried = 0
        broken: CapacityError | None = None
        while True:
            if broken is None and not self._stop.is_set() and (limit is None or tried < limit):
                try:
                    borrowed = self._borrow(
                        known, flights, failures, None if limit is None else limit - tried
                    )
                except CapacityError as error:
                    borrowed, broken = (), error
                for notification in borrowed:
                    tried += 1
                    flights.append(self._start(notification, known))
            if not flights:
                break
            flight, ended = self._wait(flights)
            if flight is None:
                continue
            if flight in flights:
                flights.remove(flight)
            elif isinstance(ended, Undelivered):
                continue  # it had taken too long, and was settled so
            if isinstance(ended, Undelivered):
                self._rest(flight.notification.channel, ended, failures)
            else:
                failures[flight.notification.channel] = 0
            try:
                outcome = self._settle(flight, ended)
            except CapacityError as error:
                broken = broken or error
                continue
            counts[outcome] += 1
            if ended is not None:
                troubles.append(f"{_label(flight.notification)}: {ended}")
        if broken is not None:
            raise broken
        return Summary(
            counts["SENT"], counts["FAILED"], counts["DEAD"], heartbeat, tuple(dict.fromkeys(troubles))
        )

    def _borrow(
        self, known: Mapping[str, Channel], flights: list[_Flight], failures: Counter[str], left: int | None
    ) -> Sequence[Notification]:
        """Claim what can be sent now: few of each channel at a time, none of one that asked for patience."""
        now = time.monotonic()
        busy = Counter(flight.notification.channel for flight in flights)
        excluded = {name for name, count in busy.items() if count >= _PER_CHANNEL}
        excluded |= {name for name, count in failures.items() if count >= _PATIENCE}
        excluded |= {name for name, until in self._rests_until.items() if until > now}
        most = max((count for name, count in busy.items() if name not in excluded), default=0)
        room = min(_THREADS - len(flights), _PER_CHANNEL - most, *([] if left is None else [left]))
        return self._outbox.claim(self._name, room, self._lease, excluded, set(known)) if room > 0 else ()

    def _start(self, notification: Notification, known: Mapping[str, Channel]) -> _Flight:
        """Send in a thread, which is left behind should the other side never come to an end."""
        flight = _Flight(notification)

        def fly() -> None:
            ended: str | Undelivered | None
            try:
                channel, contact = _route(notification, known)
                ended = channel.send(notification, contact, self._timeout / 3)
            except Undelivered as error:
                ended = error
            self._landed.put((flight, ended))

        threading.Thread(target=fly, name=f"send {notification.channel}", daemon=True).start()
        return flight

    def _wait(self, flights: list[_Flight]) -> tuple[_Flight | None, str | Undelivered | None]:
        """Wait for an attempt to end, or for the oldest to have taken too long."""
        oldest = min(flights, key=lambda flight: flight.began)
        left = oldest.began + self._timeout - time.monotonic()
        try:
            return self._landed.get(timeout=max(0.0, left))
        except queue.Empty:
            if time.monotonic() < oldest.began + self._timeout:
                return None, None
            return oldest, Undelivered(f"no end within {self._timeout:g} s", is_down=True)

    def _rest(self, channel: str, error: Undelivered, failures: Counter[str]) -> None:
        """Leave a channel alone whose server is down or asks for patience; the others go on."""
        if error.is_down:
            failures[channel] += 1
        if error.retry_after:
            self._rests_until[channel] = time.monotonic() + error.retry_after

    def _settle(self, flight: _Flight, ended: str | Undelivered | None) -> str:
        failed = ended if isinstance(ended, Undelivered) else None

        def settle(said: str | None) -> str:
            return self._outbox.settle(
                flight.notification.notification_hk,
                self._name,
                "SENT" if failed is None else "DEAD" if failed.permanent else "FAILED",
                said,
                flight.duration_ms,
                None if failed is None else failed.retry_after,
            )

        said = None if ended is None else str(ended)
        try:
            return settle(said)
        except CapacityError:
            pass
        try:
            return settle(said)  # a lost connection is made anew
        except CapacityError:
            if said is None:
                raise
            return settle("what was said of this could not be recorded")  # unsettled, it would go out again

    def _heartbeat(self) -> tuple[bool | None, str | None]:
        """Tell the world outside that an evaluation was made."""
        address = settings.load().heartbeat_url
        if address is None:
            return None, None
        evaluated_at = self._outbox.claim_heartbeat(self._name, self._lease)
        if evaluated_at is None:
            return None, None
        ended: queue.SimpleQueue[str | None] = queue.SimpleQueue()

        def beat() -> None:
            try:
                call(address, self._timeout / 3)
                ended.put(None)
            except Undelivered as error:
                ended.put(str(error))

        threading.Thread(target=beat, name="heartbeat", daemon=True).start()
        try:
            error = ended.get(timeout=self._timeout)
        except queue.Empty:
            error = f"no end within {self._timeout:g} s"
        self._outbox.settle_heartbeat(self._name, evaluated_at, error)
        return error is None, None if error is None else f"heartbeat: {error}"


def send_due(
    outbox: Outbox, limit: int | None = None, *, timeout: float = 30.0, lease: float | None = None
) -> Summary:
    """Send what is due, and what becomes due meanwhile; tell the world outside of the newest evaluation.

    Parameters
    ----------
    outbox
        :class:`capacity_kit.vault.outbox.Outbox` of an open vault.
    limit
        How many attempts at most; None: until nothing is due.
    timeout
        How many seconds an attempt may take; a third of it for each answer of the other side.
    lease
        For how many seconds a notification is borrowed (default: twice the timeout and half a minute).

    Raises
    ------
    CapacityError
        When no channel has an address here, or the database failed; what was sent and could not be settled goes out
        again, under the same key, when its lease is over.
    """
    return Sender(outbox, timeout=timeout, lease=lease).run(limit)


def watch(
    outbox: Outbox,
    *,
    every: float = 5.0,
    stop: threading.Event,
    tell: Callable[[Summary], None],
    timeout: float = 30.0,
) -> None:
    """Send what is due, again and again; a database that is away is waited for.

    Parameters
    ----------
    outbox
        :class:`capacity_kit.vault.outbox.Outbox` of an open vault.
    every
        Seconds from the end of a run to the next.
    stop
        Ends it when set, once what is under way has ended.
    tell
        Called with what a run did, if it did anything; with a trouble that lasts, once.
    timeout
        As of :func:`send_due`.
    """
    sender = Sender(outbox, timeout=timeout, stop=stop)
    told: Summary | None = None
    while not stop.is_set():
        try:
            done = sender.run()
        except CapacityError as error:
            done = Summary(troubles=(str(error),))
        if done != Summary() and (done != told or done.sent or done.later or done.dead):
            tell(done)
        told = done
        stop.wait(every)


def _route(notification: Notification, known: Mapping[str, Channel]) -> tuple[Channel, str | None]:
    """Find the channel that leads to whom a notification is for, and the mail address if that is one.

    Raises
    ------
    Undelivered
        When none does: permanent where nobody could know the channel or read the contact.
    """
    name, contact = notification.channel, notification.contact
    if contact and "@" in contact:
        if EMAIL not in known:
            raise Undelivered(
                f"this sender has no address of channel {EMAIL}, through which contacts are told"
            )
        return known[EMAIL], contact
    if contact:
        if contact.upper() in known:
            return known[contact.upper()], None
        if notification.is_known_channel:
            raise Undelivered(
                f"this sender has no address of channel {contact.upper()}: set CAPACITY_CHANNEL_{contact.upper()}"
            )
        raise Undelivered(
            f"contact {units.plain(contact)!r} is neither a mail address nor a channel", permanent=True
        )
    if name in known:
        return known[name], None
    if notification.is_known_channel:
        raise Undelivered(f"this sender has no address of channel {name}: set CAPACITY_CHANNEL_{name}")
    raise Undelivered(f"there is no channel {units.plain(name)!r}", permanent=True)


def _label(notification: Notification) -> str:
    whom = f" to {units.plain(notification.contact)}" if notification.contact else ""
    return f"{units.plain(notification.channel)}{whom}"
