"""Trying a deployment out: the guide's routines and every threshold, in transactions that are rolled back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import pandas as pd

from capacity_kit import units, vault
from capacity_kit.errors import CapacityError
from capacity_kit.reporting.study import Study
from capacity_kit.vault.verify import verify

Verdict = Literal["ok", "attention", "failed", "not needed", "for a person"]


@dataclass(frozen=True)
class Item:
    """One line of a checklist: what was looked at, the verdict, what was found, and what to do."""

    item: str
    verdict: Verdict
    found: str
    to_do: str = ""


def verified(study: Study) -> list[Item]:
    """The guide's verification list, as the vault goes through it."""
    return [Item(check.item, check.verdict, check.found, check.to_do) for check in verify(study.vault)]


def routines(study: Study) -> list[Item]:
    """The guide's function testing: each routine is called as the guide calls it, and what it wrote is undone."""
    calls: dict[str, Callable[[], pd.DataFrame]] = {
        "capture_resource_utilization": lambda: study.vault.capture(vault.SYSTEM),
        "analyze_growth_patterns": lambda: study.vault.analyze(vault.ALL, "STORAGE", 7),
        "evaluate_capacity_thresholds": lambda: study.vault.evaluate(vault.ALL),
    }
    return [_tried(study, name, call) for name, call in calls.items()]


def _tried(study: Study, name: str, call: Callable[[], pd.DataFrame]) -> Item:
    try:
        with study.vault.transaction(rollback=True):
            answered = len(call()) > 0
    except CapacityError as error:
        return Item(name, "failed", error.message, error.hint or "Run: capacity deploy")
    if answered:
        return Item(name, "ok", "answers with rows")
    return Item(name, "attention", "answers, without any row", "Capture or import measurements first.")


def breaches(study: Study) -> pd.DataFrame:
    """One synthetic breach a threshold, to prove that each can fire; nothing of it stays.

    Returns
    -------
    DataFrame
        ``tenant``, ``threshold_name``, ``resource_type``, ``level`` (percent) and ``verdict``: 'fired' (past its
        level, and quiet just short of it), 'switched off', or 'did not fire'.
    """
    with study.vault.transaction(rollback=True):
        study.vault.execute("report_breach_insert", scope=study.scope, as_of=study.as_of.to_pydatetime())
        found = study.read("report_breach_verdicts")
    right = found["fired"] & ~found["fired_early"]
    found["verdict"] = right.map({True: "fired", False: "did not fire"}).where(
        found["is_watched"], "switched off"
    )
    return found


_FOR_A_PERSON: Final = {
    "Performance benchmarks established": "Run make bench on a machine like the server's, and keep its numbers.",
    "Documentation updated": "Note in your runbook who receives these reports, and how often.",
    "Team trained on new capabilities": "Go through this report and a growth analysis together once.",
}


def checklist(verified: list[Item], tried: list[Item], fired: pd.DataFrame) -> list[Item]:
    """The guide's final verification checklist, answered from what was found.

    Parameters
    ----------
    verified, tried : list of Item
        The verification list, and the routines.
    fired : DataFrame
        From `breaches`; empty when they were not rehearsed.
    """
    by_name = {item.item: item for item in [*verified, *tried]}

    def worst(title: str, *names: str) -> Item:
        found = [by_name[name] for name in names if name in by_name]
        for verdict in ("failed", "attention"):
            for item in found:
                if item.verdict == verdict:
                    return Item(title, item.verdict, f"{item.item}: {item.found}", item.to_do)
        missing = [name for name in names if name not in by_name]
        if missing:
            return Item(title, "failed", f"not looked at: {', '.join(missing)}", "Run: capacity deploy")
        return Item(title, "ok", "; ".join(item.found for item in found[:1]))

    return [
        worst("All tables created successfully", "tables", "schema"),
        worst("All functions and procedures operational", "routines", *(item.item for item in tried)),
        worst("Indexes created and optimized", "indexes"),
        worst("Initial data populated", "forecasts", "thresholds"),
        worst("Dashboard views accessible", "views"),
        worst("Automated monitoring configured", "measurements"),
        _tuned(fired),
        *(Item(name, "for a person", "no query can tell", to_do) for name, to_do in _FOR_A_PERSON.items()),
    ]


def _tuned(fired: pd.DataFrame) -> Item:
    title = "Alert thresholds tuned"
    silent = int((fired["verdict"] == "did not fire").sum()) if len(fired) else 0
    if silent:
        return Item(
            title, "failed", f"{silent} of {len(fired)} thresholds did not fire", "See the rehearsal below."
        )
    return Item(
        title,
        "for a person",
        "no query can tell",
        "Read the threshold tuning report: it replays each threshold over the history.",
    )


def listed(items: list[Item]) -> pd.DataFrame:
    """Items as a table."""
    return pd.DataFrame(
        [(i.item, i.verdict, units.plain(i.found, 200), i.to_do) for i in items],
        columns=["Item", "Verdict", "Found", "What to do"],
        dtype=object,
    )
