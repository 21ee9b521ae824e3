"""The outbox: notifications lent to a sender, and how their delivery ended.

A claim is committed before anything is sent, so no other sender takes it meanwhile; what a sender never settled is
lent again when its lease is over. Delivery is therefore at least once, always under the same key.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pandas as pd

from capacity_kit import units
from capacity_kit.errors import CapacityError

if TYPE_CHECKING:
    from capacity_kit.vault.vault import Vault


@dataclass(frozen=True)
class Notification:
    """A notification as it was queued.

    Attributes
    ----------
    notification_hk
        Hex of its hash key.
    key
        The idempotency key: the same however often it goes out.
    kind
        ALERT, ESCALATION, RESOLUTION, REPORT or TEST.
    channel, contact
        Where it goes, and whom in particular; contact None: whom the channel reaches.
    severity
        CRITICAL, WARNING, ... or None.
    subject, body
        What it says.
    dedup_key
        The incident that it belongs to.
    attachment
        A file on this host, or None.
    attempt
        Its number, from 1.
    is_known_channel
        Whether the database knows the channel that it goes by: its contact's, if it has one.
    """

    notification_hk: str
    key: str
    kind: str
    channel: str
    contact: str | None
    severity: str | None
    subject: str
    body: str
    dedup_key: str
    attachment: str | None
    attempt: int
    is_known_channel: bool


class Outbox:
    """The outbox of an open vault.

    Parameters
    ----------
    vault
        An open vault.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def claim(
        self,
        sender: str,
        limit: int,
        lease: float,
        excluded: Iterable[str] = (),
        channels: Iterable[str] | None = None,
    ) -> list[Notification]:
        """Borrow what is due, and commit that.

        Parameters
        ----------
        sender
            A name that no other run of a sender bears.
        limit
            How many at most.
        lease
            For how many seconds.
        excluded
            Channels of which none is wanted.
        channels
            Those that the sender has addresses of (None: any). What goes by another is left for ten minutes to a sender
            that has its address.
        """
        found = self._vault.read(
            "outbox_claim",
            sender=sender,
            limit=limit,
            lease=max(1, round(lease)),
            excluded=sorted(excluded),
            channels=None if channels is None else sorted(channels),
        )
        rows = found.astype(object).where(found.notna(), None).to_dict("records")
        return [Notification(**{str(name): value for name, value in row.items()}) for row in rows]

    def settle(
        self,
        notification_hk: str,
        sender: str,
        outcome: str,
        error: str | None,
        duration_ms: int,
        retry_after: int | None = None,
    ) -> str:
        """Record how an attempt ended; return what follows: SENT, FAILED (another attempt) or DEAD.

        Parameters
        ----------
        notification_hk, sender
            As claimed, and by whom.
        outcome
            SENT, FAILED or DEAD.
        error
            What went wrong, its secrets masked.
        duration_ms
            How long the attempt took.
        retry_after
            The seconds of patience that the receiver asked for.
        """
        settled = self._vault.read(
            "outbox_settle",
            notification_hk=notification_hk,
            sender=sender,
            outcome=outcome,
            error=error,
            duration_ms=duration_ms,
            retry_after=retry_after,
        )
        return str(settled["outcome"].iloc[0])

    def requeue(self, key: str | None = None) -> int:
        """Send again what was settled; return how many were put back.

        Parameters
        ----------
        key
            A notification's key; None: every dead letter.

        Raises
        ------
        CapacityError
            When there is no such notification.
        """
        found = self._vault.read("outbox_requeue", key=key).iloc[0]
        if key is not None and not found["found"]:
            raise CapacityError(f"There is no notification {units.plain(key)!r}")
        return int(found["requeued"])

    def state(self) -> pd.DataFrame:
        """Return what has reached nobody yet, dead letters first.

        Returns
        -------
        DataFrame
            A row a notification: key, kind, channel, contact, severity, subject, state (PENDING or DEAD), attempts,
            due_at, last_attempt_at, last_error, queued_at.
        """
        return self._vault.read("outbox_state")

    def enqueue_test(self, channel: str, contact: str | None = None) -> str:
        """Queue a message for trying a channel; return its key."""
        key = f"test-{secrets.token_hex(12)}"
        self._vault.read(
            "outbox_test",
            key=key,
            channel=channel,
            contact=contact,
            subject="A test of this channel",
            body=f"If you read this, the channel {channel.upper()} works. There is nothing to do.\n\nkey: {key}",
        )
        return key

    def claim_heartbeat(self, sender: str, lease: float) -> datetime | None:
        """Return the newest evaluation, if this sender is to tell the world outside of it."""
        moment = self._vault.read("outbox_heartbeat", sender=sender, lease=max(1, round(lease)))[
            "evaluated_at"
        ].iloc[0]
        return None if pd.isna(moment) else moment.to_pydatetime()

    def settle_heartbeat(self, sender: str, evaluated_at: datetime, error: str | None) -> None:
        """Record that the heartbeat of an evaluation went out (error None), or why it did not."""
        self._vault.execute("outbox_heartbeat_settle", sender=sender, evaluated_at=evaluated_at, error=error)
