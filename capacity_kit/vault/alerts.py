"""Alerts as people handle them: found by the few characters that somebody typed, answered for, muted, rehearsed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, time
from typing import Any, Final, Literal

import pandas as pd

from capacity_kit import units
from capacity_kit.errors import USAGE, CapacityError
from capacity_kit.vault.vault import ALL, SYSTEM, Vault

How = Literal["added", "cut"]
_HOW: Final = {None: None, "added": "CAPACITY_ADDED", "cut": "USAGE_CUT"}
_VERDICTS: Final = {"true": "TRUE", "false-positive": "FALSE"}


def listed(
    vault: Vault,
    tenant: str = ALL,
    *,
    resolved_too: bool = False,
    since: datetime | None = None,
    most: int | None = None,
) -> pd.DataFrame:
    """Return the alerts, what is open first and the gravest first.

    Parameters
    ----------
    vault
        Where.
    tenant
        ALL, SYSTEM or one tenant.
    resolved_too
        Also those that are resolved.
    since
        Of the resolved ones only those raised since then.
    most
        How many at most; None: all.

    Returns
    -------
    DataFrame
        A row an alert; see ``sql/queries/alert_list.sql``. ``id`` is the shortest that `find` takes for it;
        ``in_all`` and ``in_all_open`` count them all.
    """
    return vault.read(
        "alert_list",
        tenant=vault.tenant(tenant),
        system_only=tenant == SYSTEM,
        resolved_too=resolved_too,
        since=since,
        most=most,
    )


def find(vault: Vault, typed: str) -> str:
    """Return the key (hex) of the alert whose key begins with what somebody typed.

    Where no alert's does, the key of a message is looked for, or of its incident: that is its cause then.

    Raises
    ------
    CapacityError
        When none does, or several: then it names them.
    """
    beginning = typed.strip().lower()
    if not re.fullmatch("[0-9a-f]{1,64}", beginning):
        raise CapacityError(
            f"{units.plain(typed, 40)!r} is no alert's id",
            "An id is made of 0-9 and a-f; see: capacity alerts list",
            USAGE,
        )
    found = vault.read("alert_find", beginning=beginning)
    if found.empty:
        raise CapacityError(
            f"No alert's id and no message's key begins with {beginning}", "See: capacity alerts list --all"
        )
    if len(found) > 1:
        named = [
            f"{row['alert'][: _apart(found['alert'])]} ({_what(row)})" for _, row in found.head(3).iterrows()
        ]
        more = ", ..." if len(found) > 3 else ""
        several = (
            "The key of several alerts' messages begins"
            if found["by_message"].any()
            else "Several alerts' ids begin"
        )
        raise CapacityError(f"{several} with {beginning}", f"Which: {', '.join(named)}{more}")
    return str(found["alert"].iloc[0])


def _apart(keys: pd.Series[Any]) -> int:
    """How many characters tell the keys apart."""
    return next(n for n in range(4, 65) if keys.str[:n].is_unique)


def _what(row: pd.Series[Any]) -> str:
    return units.plain(
        f"{row['tenant']} {row['resource_type']} {row['resource_name']}, {row['status'].lower()}"
    )


def show(vault: Vault, typed: str) -> tuple[pd.Series[Any], pd.DataFrame]:
    """Return all that is known of an alert, and whom was told of it, oldest first."""
    alert = find(vault, typed)
    return vault.read("alert_show", alert=alert).iloc[0], vault.read("alert_notifications", alert=alert)


@contextmanager
def _said_of(typed: str) -> Iterator[None]:
    """Name the alert, of several, that something could not be done to."""
    try:
        yield
    except CapacityError as error:
        raise CapacityError(f"{typed}: {error.message}", error.hint, error.exit_code) from error


def acknowledge(vault: Vault, typed: str, by: str, note: str | None = None) -> str:
    """Say that somebody is at it: it escalates no further, nor what the same message told of, where it leads that.

    Returns the alert's key.
    """
    return acknowledge_all(vault, [typed], by, note)[0][0]


def acknowledge_all(
    vault: Vault, typed: Sequence[str], by: str, note: str | None = None
) -> tuple[list[str], int]:
    """Acknowledge several alerts, or none of them.

    Returns
    -------
    keys : list of str
        Theirs, each once.
    more : int
        How many others went with them: who answers a page answers all of it.
    """
    found = {find(vault, one): one for one in typed}
    count = 0
    with vault.transaction():
        was_open = {key for key in found if show(vault, key)[0]["status"] == "OPEN"}
        for key, one in found.items():
            if key in was_open and show(vault, key)[0]["status"] != "OPEN":
                continue  # it went with one before
            with _said_of(one):
                done = vault.read("alert_acknowledge", alert=key, by=by, note=note)
            count += int(done["acknowledged"].iloc[0])
    return list(found), count - len(found)


def resolve(vault: Vault, typed: str, by: str, note: str | None = None, how: How | None = None) -> str:
    """Say that it is over; a breach that goes on is a new episode at the next evaluation. Returns the alert's key.

    Parameters
    ----------
    vault
        Where.
    typed
        The alert's id, or as much of it as no other has.
    by, note
        Who says so, and what was done.
    how
        ``added`` (capacity) or ``cut`` (usage), where that ended it: then nobody can tell any more whether the alert
        would have come true, and it counts neither as true nor as false.
    """
    if how not in _HOW:
        raise CapacityError(f"How it ended is added or cut, not {units.plain(how, 40)!r}", exit_code=USAGE)
    alert = find(vault, typed)
    with _said_of(typed):
        vault.read("alert_resolve", alert=alert, by=by, note=note, how=_HOW[how])
    return alert


def judge(vault: Vault, typed: str, verdict: str, by: str, reason: str | None = None) -> str:
    """Say whether an alert was true; it stands against what the database would find. Returns the alert's key.

    Parameters
    ----------
    vault
        Where.
    typed
        The alert's id, or as much of it as no other has.
    verdict
        ``true`` or ``false-positive``.
    by, reason
        Who says so, and why.
    """
    if verdict not in _VERDICTS:
        raise CapacityError(
            f"A verdict is {' or '.join(_VERDICTS)}, not {units.plain(verdict, 40)!r}", exit_code=USAGE
        )
    alert = find(vault, typed)
    with _said_of(typed):
        vault.read("alert_judge", alert=alert, verdict=_VERDICTS[verdict], by=by, reason=reason)
    return alert


def evaluated(vault: Vault, tenant: str = ALL) -> pd.Series[Any]:
    """Return up to when it was evaluated (``evaluated_at``; NaT: never), and the last ``evaluation_id`` (0: none)."""
    return vault.read("alert_evaluated", tenant=vault.tenant(tenant)).iloc[0]


def recorded(vault: Vault, before: pd.Series[Any]) -> pd.Series[Any]:
    """Return how many ``evaluations`` were recorded since `before`, and what they ``opened``, ``ended``, ``raised``."""
    return vault.read("alert_recorded", after=int(before["evaluation_id"])).iloc[0]


def record(
    vault: Vault, tenant: str = ALL, *, resource_type: str = ALL, as_of: datetime | None = None
) -> pd.DataFrame:
    """Return what became of the recorded alerts of a year, by threshold; see ``sql/queries/threshold_record.sql``.

    Parameters
    ----------
    vault
        Where.
    tenant
        ALL, SYSTEM or one tenant.
    resource_type
        ALL, or the thresholds that look at one type.
    as_of
        The year ends then; None: now.

    Returns
    -------
    DataFrame
        A row for each threshold with an alert or a reach: the counts, the rates in percent, the median ``lead_hours``,
        and ``false_positives_lacking`` and ``recall_lacking``: why a rate is missing (None: it is not).
    """
    return vault.read(
        "threshold_record", scope=vault.tenant(tenant) or tenant, resource_type=resource_type, as_of=as_of
    )


def channels(vault: Vault) -> pd.DataFrame:
    """Return the channels that people are told by: name, is_default, description."""
    return vault.read("alert_channels")


def mute(
    vault: Vault,
    until: datetime,
    by: str,
    *,
    alert: str | None = None,
    threshold: str | None = None,
    tenant: str = ALL,
    resource_type: str | None = None,
    resource_name: str | None = None,
    since: datetime | None = None,
    reason: str | None = None,
) -> list[int]:
    """Hold alerts back until a time; returns the numbers of the mutes that do, one a threshold.

    Parameters
    ----------
    vault
        Where.
    until, since
        From when (default: now) until when.
    by, reason
        Who says so, and why.
    alert
        An alert's id: mutes its threshold for its resource, and nothing else; the rest is then left out.
    threshold
        A threshold's name.
    tenant
        ALL (everybody's), SYSTEM (the system's alone), or a tenant.
    resource_type, resource_name
        Of resources of that type or name only.

    Raises
    ------
    CapacityError
        When the threshold is not known, or the time has passed.
    """
    keys: list[str | None] = [None]
    owner, system_only = vault.tenant(tenant), tenant == SYSTEM
    if alert is not None:
        row, _ = show(vault, alert)
        keys = [str(row["threshold"])]
        owner = None if pd.isna(row["tenant_hk"]) else str(row["tenant_hk"])
        system_only = owner is None
        resource_type, resource_name = str(row["resource_type"]), str(row["resource_name"])
    elif threshold is not None:
        found = vault.read(
            "alert_thresholds", threshold_name=threshold, tenant=owner, system_only=system_only
        )
        if found.empty:
            raise CapacityError(
                f"There is no active threshold {units.plain(threshold)!r}",
                "capacity evaluate --json names them all.",
            )
        keys = found["threshold"].tolist()
    with vault.transaction():
        made = [
            vault.read(
                "alert_mute",
                threshold=key,
                tenant=owner,
                system_only=system_only,
                resource_type=resource_type,
                resource_name=resource_name,
                since=since,
                until=until,
                by=by,
                reason=reason,
            )
            for key in keys
        ]
    return [int(one["mute_id"].iloc[0]) for one in made]


def mutes(vault: Vault) -> pd.DataFrame:
    """Return the mutes that hold now or later; see ``sql/queries/alert_mutes.sql``."""
    return vault.read("alert_mutes")


def unmute(vault: Vault, number: int) -> None:
    """End a mute now; it stays on record."""
    vault.read("alert_unmute", number=number)


def declare(
    vault: Vault,
    starts: datetime,
    ends: datetime,
    by: str,
    *,
    tenant: str = ALL,
    resource_type: str | None = None,
    repeat_weeks: int | None = None,
    time_zone: str | None = None,
    reason: str | None = None,
) -> int:
    """Declare maintenance, during which alerts wait; returns the window's number.

    Parameters
    ----------
    vault
        Where.
    starts, ends
        From when until when.
    by, reason
        Who says so, and why.
    tenant
        ALL (the system and every tenant), SYSTEM (the system alone), or one tenant.
    resource_type
        Of resources of that type only.
    repeat_weeks
        Again after so many weeks, at the same local time.
    time_zone
        Whose local time that is (default: the business calendar's).
    """
    made = vault.read(
        "alert_declare",
        tenant=vault.tenant(tenant),
        system_only=tenant == SYSTEM,
        resource_type=resource_type,
        starts=starts,
        ends=ends,
        repeat_weeks=repeat_weeks,
        time_zone=time_zone,
        reason=reason,
        by=by,
    )
    return int(made["maintenance_id"].iloc[0])


def windows(vault: Vault) -> pd.DataFrame:
    """Return the maintenance windows that are not over; see ``sql/queries/alert_windows.sql``."""
    return vault.read("alert_windows")


def cancel(vault: Vault, number: int) -> None:
    """Take a maintenance window back."""
    vault.read("alert_cancel", number=number)


def calendars(vault: Vault) -> pd.DataFrame:
    """Return the business calendars and how many holidays lie ahead; see ``sql/queries/alert_calendars.sql``."""
    return vault.read("alert_calendars")


def set_calendar(
    vault: Vault,
    tenant: str | None,
    *,
    time_zone: str | None = None,
    working_days: list[int] | None = None,
    hours: tuple[time, time] | None = None,
    night: tuple[time, time] | None = None,
) -> None:
    """Set a business calendar; what is None stays as it is, or as everyone's.

    Parameters
    ----------
    vault
        Where.
    tenant
        Whose: the hex of tenant_hk; None: everyone's who has none of their own.
    time_zone, working_days, hours, night
        Its time zone, its ISO weekdays (1 is Monday), when business opens and closes, when a page wakes somebody.
    """
    opens, closes = hours or (None, None)
    night_from, night_to = night or (None, None)
    vault.read(
        "alert_set_calendar",
        tenant=tenant,
        time_zone=time_zone,
        working_days=working_days,
        opens=opens,
        closes=closes,
        night_from=night_from,
        night_to=night_to,
    )
