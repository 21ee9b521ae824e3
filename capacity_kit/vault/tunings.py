"""Tunings of thresholds: applied as new versions with their reason, and taken back the same way."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from capacity_kit.errors import CapacityError
from capacity_kit.vault.vault import Vault


@dataclass(frozen=True)
class Change:
    """What is to change about a threshold.

    Attributes
    ----------
    threshold
        Hex of its hash key.
    seen
        The load_date of the version that was looked at; a threshold that was changed since is not tuned.
    changes
        Column to new value; only what ``tune_apply.sql`` names can be tuned.
    reason
        Why, in a sentence; it goes into ``threshold_tuning_history``.
    evidence
        The numbers behind it.
    """

    threshold: str
    seen: datetime
    changes: Mapping[str, Any]
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reverted:
    """A tuning that was taken back.

    Attributes
    ----------
    tuning
        Which: the time of its application.
    applied_by
        Who had applied it.
    thresholds
        Its thresholds: ``tenant``, ``threshold_name``, ``was``, ``became``, and ``is_as_tuned``: False where somebody
        changed the threshold since, which was then left as it is.
    """

    tuning: str
    applied_by: str
    thresholds: pd.DataFrame


def apply(vault: Vault, proposed: Iterable[Change], by: str) -> str:
    """Apply a tuning: all of it, or nothing.

    Parameters
    ----------
    vault
        Where.
    proposed
        What is to change.
    by
        Who says so.

    Returns
    -------
    str
        The tuning's name, by which `revert` knows it.

    Raises
    ------
    CapacityError
        When a threshold was changed since it was looked at, or a warning would not come before its critical level.
    """
    changes = list(proposed)
    tuning = datetime.now(UTC).isoformat(timespec="microseconds")
    rows = [
        {
            "threshold": c.threshold,
            "seen": c.seen.isoformat(),
            "changes": dict(c.changes),
            "reason": c.reason,
            "evidence": dict(c.evidence),
        }
        for c in changes
    ]
    with vault.transaction():
        done = vault.read("tune_apply", proposals=json.dumps(rows), tuning=tuning, by=by)
        if len(done) < len(changes):
            missed = len(changes) - len(done)
            raise CapacityError(
                f"{missed} of {len(changes)} thresholds changed since they were looked at, or would not change",
                "Nothing was changed; run it again.",
            )
        _refuse_contradictions(vault, done["threshold"].tolist())
    return tuning


def revert(vault: Vault, by: str, reason: str = "taken back") -> Reverted:
    """Take the last tuning back that is in force; what somebody changed since stays.

    Parameters
    ----------
    vault
        Where.
    by
        Who says so.
    reason
        Why; it goes into ``threshold_tuning_history``.

    Raises
    ------
    CapacityError
        When there is no tuning to take back, or each of its thresholds was changed since.
    """
    with vault.transaction():
        last = vault.read("tune_last")
        if last.empty:
            raise CapacityError(
                "There is no tuning to take back", "capacity tune --apply has not been used here."
            )
        kept = last[last["is_as_tuned"]]
        tuning = str(last["tuning"].iloc[0])
        if kept.empty:
            raise CapacityError(
                f"Each threshold of the tuning of {tuning} was changed since",
                "Nothing was changed; set them by hand.",
            )
        rows = [
            {"threshold": threshold, "seen": pd.Timestamp(seen).isoformat()}
            for threshold, seen in zip(kept["threshold"], kept["seen"], strict=True)
        ]
        done = vault.read("tune_revert", tuning=tuning, thresholds=json.dumps(rows), by=by, reason=reason)
        if len(done) < len(kept):
            raise CapacityError(
                f"{len(kept) - len(done)} of {len(kept)} thresholds changed since they were looked at",
                "Nothing was changed; run it again.",
            )
        _refuse_contradictions(vault, done["threshold"].tolist())
    return Reverted(tuning, str(last["applied_by"].iloc[0]), last.drop(columns="seen"))


def _refuse_contradictions(vault: Vault, thresholds: list[str]) -> None:
    found = vault.read("tune_contradictions", thresholds=thresholds)
    if len(found):
        first = found.iloc[0]
        raise CapacityError(
            f"{first['warning']} of {first['tenant']} would warn at {first['warning_level']:g} %, "
            f"not before {first['critical']} at {first['critical_level']:g} %",
            "Nothing was changed.",
        )
