"""The runs of scheduled reports: which there were, who makes one now, and how it ended.

A run is held by an open transaction, so that a host that dies lets go of it at once; that it begins is committed by
another one. That transaction holds nothing else: it has no snapshot while a report is made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

if TYPE_CHECKING:
    from capacity_kit.vault.vault import Vault

_LONGEST_KEY: Final = 400
"""Characters that a notification's key may have; a longer one goes by its hash."""


@dataclass(frozen=True, order=True)
class Run:
    """A report of one target for one time that it is due at.

    Attributes
    ----------
    due_at
        The time, in UTC.
    name
        The report's name in the schedule.
    target
        The tenant or the resource type; empty where it is not fanned out.
    """

    due_at: datetime
    name: str
    target: str

    @property
    def key(self) -> str:
        """Its business key, also in the database."""
        return f"{self.name}|{self.target}|{self.due_at:%Y-%m-%dT%H:%M:%SZ}"

    def _parameters(self) -> dict[str, Any]:
        return {"report": self.name, "target": self.target, "due_at": self.due_at}


class Runs:
    """The runs that a vault knows.

    Parameters
    ----------
    vault
        An open vault.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def now(self) -> datetime:
        """The server's clock."""
        moment: pd.Timestamp = self._vault.read("runs_clock")["now"].iloc[0]
        return moment.to_pydatetime()

    def register(self, reports: Iterable[Mapping[str, str]], now: datetime) -> pd.DataFrame:
        """Make scheduled reports known; since when each can have been missed: name, target, since.

        Parameters
        ----------
        reports
            With name, target, cron and time_zone.
        now
            The time that they are due by.
        """
        return self._vault.read("runs_register", reports=json.dumps(list(reports)), now=now)

    def state(self, now: datetime) -> pd.DataFrame:
        """A row for each report's newest run up to `now`, and for each recent one that is not over."""
        return self._vault.read("runs_state", now=now)

    @contextmanager
    def held(self, run: Run) -> Iterator[bool]:
        """Hold a run for as long as this context lasts; what is done within is committed at its end.

        Yields
        ------
        bool
            Whether it is held; False: another one makes it.
        """
        with self._vault.transaction():
            yield bool(self._vault.read("runs_hold", **run._parameters())["is_held"].iloc[0])

    def begin(self, run: Run, host: str) -> tuple[int, int] | None:
        """Record that an attempt begins; its number, and how many before were cut off. None: none is to be made."""
        begun = self._vault.read("runs_begin", **run._parameters(), host=host)
        return None if begun.empty else (int(begun["attempt"].iloc[0]), int(begun["cut_off"].iloc[0]))

    def end(
        self,
        run: Run,
        attempt: int,
        host: str,
        retries: int,
        state: str,
        headline: str,
        place: str | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> bool | None:
        """Record how an attempt ended; whether the run is over, None where somebody else recorded that already."""
        ended = self._vault.read(
            "runs_end",
            **run._parameters(),
            attempt=attempt,
            host=host,
            retries=retries,
            state=state,
            headline=headline,
            place=place,
            result=None if result is None else json.dumps(result, default=str),
        )["is_last"].iloc[0]
        return None if pd.isna(ended) else bool(ended)

    def before(self, run: Run) -> tuple[datetime, str] | None:
        """When the run before was due, and its verdict; None: there was none."""
        found = self._vault.read("runs_before", **run._parameters())
        return None if found.empty else (found["due_at"].iloc[0].to_pydatetime(), str(found["state"].iloc[0]))

    def crossed(
        self, tenant: str | None, system_only: bool, resource_type: str | None, before: datetime, at: datetime
    ) -> int:
        """How many thresholds' levels were crossed between two times; `tenant` is the hex of its key, None for all."""
        return int(
            self._vault.read(
                "runs_crossed",
                tenant=tenant,
                system_only=system_only,
                resource_type=resource_type,
                before=before,
                at=at,
            )["crossed"].iloc[0]
        )

    def notify(
        self,
        run: Run,
        recipient: str,
        severity: str,
        subject: str,
        body: str,
        attachment: str | None = None,
    ) -> None:
        """Queue what a recipient is told: a channel's name, or a mail address. Told once a run, whoever calls again."""
        key = f"{run.key}|{recipient}"
        if len(key) > _LONGEST_KEY:
            key = hashlib.sha256(key.encode()).hexdigest()
        self._vault.read(
            "runs_notify",
            key=key,
            channel="EMAIL" if "@" in recipient else recipient,
            contact=recipient if "@" in recipient else None,
            severity=severity,
            subject=subject,
            body=body,
            due_at=run.due_at,
            attachment=attachment,
        )

    def places(self, run: Run) -> tuple[list[str], set[str]]:
        """Where this report's runs up to this one were published, the newest first; and for which a message waits."""
        found = self._vault.read("runs_places", **run._parameters())
        waiting = found.loc[found["is_awaited"].astype(bool), "place"]
        return [str(place) for place in found["place"]], {str(place) for place in waiting}
