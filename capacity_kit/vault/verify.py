"""The guide's verification list, each item with a verdict and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import pandas as pd

from capacity_kit import units
from capacity_kit.errors import CapacityError
from capacity_kit.vault.connection import OLDEST
from capacity_kit.vault.deploy import expected_columns

if TYPE_CHECKING:
    from capacity_kit.vault.vault import Vault

ROUTINES: Final = frozenset(
    {
        "analyze_growth_patterns",
        "capture_resource_utilization",
        "create_capacity_threshold",
        "evaluate_capacity_thresholds",
        "run_capacity_analysis",
    }
)
_SCHEDULED: Final = "scheduled_capacity_analysis"  # shipped, and replaced by the guide with its own body
_INDEXES: Final = 20


@dataclass(frozen=True)
class Check:
    """One item of the list.

    Attributes
    ----------
    item
        What was looked at.
    verdict
        ``ok``, ``attention`` (works, and needs doing), ``failed`` or ``not needed``.
    found
        What was found.
    to_do
        What to do about it; empty when nothing.
    """

    item: str
    verdict: Literal["ok", "attention", "failed", "not needed"]
    found: str
    to_do: str = ""


def verify(vault: Vault) -> list[Check]:
    """Go through the guide's verification list.

    Parameters
    ----------
    vault
        An open vault; nothing in its database is changed.

    Returns
    -------
    list of Check
        Where the schema is not this project's, or not there, the list ends with that.
    """
    state = vault.inspect()
    catalog = vault.read("verification_catalog").iloc[0]
    checks = [_version(vault), *_extensions(catalog)]
    versions = ", ".join(f"step {step}: {version}" for step, version in sorted(state.versions.items()))
    if state.state != "current":
        to_do = (
            "Run: capacity deploy"
            if state.state in ("absent", "older")
            else "See: capacity deploy, which explains"
        )
        return [
            *checks,
            Check(
                "schema",
                "failed",
                f"{state.state} {'; '.join((versions, *state.differences))}".strip(),
                to_do,
            ),
        ]
    return [*checks, Check("schema", "ok", versions), *_catalog(catalog), *_views(vault), *_data(vault)]


_HELD: Final = {
    "MUTED": "muted",
    "MAINTENANCE": "in maintenance",
    "OUTSIDE_BUSINESS_HOURS": "outside business hours",
    "SUPPRESSED": "suppressed after the alert before",
}
"""What holds an alert for a time only: its threshold can fire all the same."""
_TO_DO: Final = {
    "DISABLED": "Set alert_enabled, or is_active to false.",
    "no channel": "Make a channel the default, or set notification_channels.",
    "stale": "Run: capacity capture, and schedule it",
}


def rehearse(vault: Vault) -> pd.DataFrame:
    """Send a synthetic breach of each active threshold through evaluation to a rendered message, and undo all of it.

    Parameters
    ----------
    vault
        An open vault; nothing in its database is changed.

    Returns
    -------
    DataFrame
        A row a threshold, what cannot fire first: ``tenant``, ``threshold_name``, ``resource_type``, ``resource_name``,
        ``condition``, ``subject``, ``body``, ``channels``; ``verdict`` (``ok``; ``attention``: it fires, and something
        about it needs doing; ``failed``: it cannot fire), ``found`` (the message, or the reason), ``to_do``.
    """
    with vault.transaction(rollback=True):
        rows = vault.read("verify_alerts")
    judged = [_rehearsed(row) for row in rows.astype(object).where(rows.notna(), None).to_dict("records")]
    rows = rows.assign(
        verdict=pd.Series([j[0] for j in judged], dtype="str"),
        found=pd.Series([j[1] for j in judged], dtype="str"),
        to_do=pd.Series([j[2] for j in judged], dtype="str"),
    )
    order = rows["verdict"].map({"failed": 0, "attention": 1, "ok": 2})
    kept = [
        *("tenant", "threshold_name", "resource_type", "resource_name", "condition"),
        *("verdict", "found", "to_do", "subject", "body", "channels"),
    ]
    return rows.loc[order.sort_values(kind="stable").index, kept].reset_index(drop=True)


def unset_links(vault: Vault) -> list[str]:
    """Return the text settings, of those that messages take their links from, that nobody has set."""
    return vault.read("verify_links")["name"].tolist()


def _rehearsed(row: dict[Any, Any]) -> tuple[str, str, str]:
    """Verdict, what was found, and what to do."""
    reason, problem, advice = row["reason"], row["problem"], row["advice"] or ""
    message = units.plain(row["message"] or row["subject"] or "", 200)
    if not row["fired"] and (reason not in _HELD or row["body"] is None):
        return "failed", f"cannot fire: {_HELD.get(reason, reason)}", advice or _TO_DO.get(reason, "")
    held = "" if row["fired"] else f"held back now, {_HELD[reason]}: "
    if problem:
        return "attention", f"{problem}; {held}{message}", advice
    return "ok", f"{held}{message}", ""


def _version(vault: Vault) -> Check:
    return Check("PostgreSQL", "ok", f"{vault.server.version} ({OLDEST} or newer is needed)")


def _extensions(catalog: pd.Series[Any]) -> Iterator[Check]:
    installed, available = _names(catalog["extensions"]), _names(catalog["available_extensions"])
    if "pg_stat_statements" in installed:
        yield Check("pg_stat_statements", "ok", "installed")
    elif "pg_stat_statements" in available:
        yield Check(
            "pg_stat_statements",
            "attention",
            "available, not installed",
            "As a superuser: CREATE EXTENSION pg_stat_statements",
        )
    else:
        yield Check(
            "pg_stat_statements",
            "attention",
            "not available",
            "Install PostgreSQL's contrib package on the server.",
        )
    yield Check("pgcrypto", "ok" if "pgcrypto" in installed else "not needed", "sha256() is built in")


def _catalog(catalog: pd.Series[Any]) -> Iterator[Check]:
    again = "Run: capacity deploy"
    expected = set(expected_columns())
    tables = _names(catalog["tables"])
    yield (
        Check("tables", "ok", f"the guide's {len(expected)}")
        if set(tables) == expected
        else Check("tables", "failed", f"differ: {', '.join(sorted(set(tables) ^ expected))}", again)
    )
    routines = [name for name in _names(catalog["routines"]) if name != _SCHEDULED]
    yield (
        Check("routines", "ok", f"the guide's {len(ROUTINES)}, none overloaded")
        if sorted(routines) == sorted(ROUTINES)
        else Check("routines", "failed", f"found {', '.join(routines) or 'none'}", again)
    )
    count, broken = int(catalog["indexes"]), int(catalog["broken_indexes"])
    if broken:
        yield Check(
            "indexes", "failed", f"{broken} of {count} are invalid", "REINDEX SCHEMA capacity_planning;"
        )
    else:
        enough = count >= _INDEXES
        yield Check(
            "indexes", "ok" if enough else "failed", f"{count} ({_INDEXES} or more)", "" if enough else again
        )


def _views(vault: Vault) -> Iterator[Check]:
    try:
        rows = vault.read("verification_views").iloc[0]
    except CapacityError as error:
        yield Check("views", "failed", error.message, "Run: capacity deploy")
        return
    yield Check(
        "views", "ok", ", ".join(f"{name} ({units.number(count)} rows)" for name, count in rows.items())
    )


def _data(vault: Vault) -> Iterator[Check]:
    data = vault.read("verification_data").iloc[0]
    captured, interval = data["captured_at"], pd.Timedelta(seconds=data["interval_seconds"])
    schedule = "Run: capacity capture, and schedule it"
    if pd.isna(captured):
        yield Check("measurements", "attention", "this server was never measured", schedule)
    else:
        stale = data["now"] - captured > 3 * interval
        yield Check(
            "measurements",
            "attention" if stale else "ok",
            f"the newest is of {units.at(captured)}{', more than three intervals ago' if stale else ''}",
            schedule if stale else "",
        )
    for name, to_do in (
        ("forecasts", "Run: capacity analyze, once there are 14 days of measurements"),
        ("thresholds", "Run: capacity analyze --thresholds"),
    ):
        count = int(data[name])
        yield Check(
            name, "ok" if count else "attention", f"{units.number(count)} current", "" if count else to_do
        )


def _names(found: object) -> list[str]:
    return [str(name) for name in found] if isinstance(found, list) else []
