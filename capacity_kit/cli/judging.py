"""Where things stand: evaluate, status."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import pandas as pd
import typer

from capacity_kit import console, settings, units, vault
from capacity_kit.cli.common import (
    AsOf,
    Dsn,
    Json,
    Tenant,
    leave_alone_if_inactive,
    opened_vault,
    resource,
    span,
    tell_what_to_register,
    used,
    whose,
)
from capacity_kit.errors import ATTENTION, OK, USAGE, CapacityError
from capacity_kit.vault import alerts

_NO_CAPACITY = "capacity unknown"
"""The reason that evaluate_capacity_thresholds gives where a registered capacity would allow a verdict."""


def evaluate(
    dsn: Dsn = None,
    tenant: Tenant = vault.ALL,
    as_of: AsOf = None,
    since: Annotated[
        timedelta | None,
        typer.Option(
            parser=span,
            metavar="LENGTH",
            show_default=False,
            help="Begin so long ago, such as 30d, and go through stored history: the alerts that it would have raised. "
            "Before the first evaluation; later it only goes on from the last, and exits with 3 when nothing is left.",
        ),
    ] = None,
    every: Annotated[
        timedelta | None,
        typer.Option(
            parser=span,
            metavar="LENGTH",
            show_default=False,
            help="With --since: how long from one evaluation to the next. Default: 6h.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Judge and record nothing; the right to read is enough.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Judge each threshold and record the alerts that follow; exit code 3 when a CRITICAL one is exceeded."""
    if every and not since:
        raise CapacityError("--every is of --since", "Say how far back to begin: --since 30d.", USAGE)
    if since and dry_run:
        raise CapacityError("--since records what it finds", "Leave out --dry-run.", USAGE)
    with opened_vault(dsn) as opened:
        leave_alone_if_inactive(opened, tenant, as_json)
        step = every or timedelta(hours=6)
        before = alerts.evaluated(opened, tenant)
        if since:
            with console.progress("Evaluating", None) as tell:
                judged = opened.evaluate_history(
                    since,
                    step,
                    tenant,
                    as_of,
                    lambda done, total: tell(done, f"{done:,} of {total:,} times", total),
                )
        else:
            with opened.transaction(read_only=dry_run):
                judged = opened.evaluate(tenant, as_of)
        recorded = alerts.recorded(opened, before)
    was_known = (
        since is not None and since >= step and recorded["evaluations"] < 2
    )  # the last time, or nothing
    exceeded = judged["threshold_exceeded"].eq(True)  # NULL: no verdict
    critical = bool((exceeded & judged["alert_severity"].eq("CRITICAL")).any())
    if as_json:
        console.as_json(judged)
    elif judged.empty:
        console.out.print("There are no thresholds; capacity analyze --thresholds makes the defaults.")
    else:
        worth_a_line = judged[exceeded | judged["threshold_exceeded"].isna()]
        console.table(
            ["tenant", "threshold", "resource", "full", "threshold at", "verdict", "action"],
            [
                (
                    whose(row),
                    row.threshold_name,
                    resource(row),
                    units.percent(row.current_utilization),
                    units.percent(row.threshold_percentage),
                    "no verdict" if pd.isna(row.threshold_exceeded) else row.alert_severity,
                    "register its capacity" if row.verdict_reason == _NO_CAPACITY else row.recommended_action,
                )
                for row in console.rows(worth_a_line)
            ],
        )
        console.out.print(f"{_counted(judged)} {_recorded(recorded)}")
        tell_what_to_register(judged[judged["verdict_reason"] == _NO_CAPACITY], dsn)
    raise typer.Exit(ATTENTION if critical or was_known else OK)


def _counted(judged: pd.DataFrame) -> str:
    """How many thresholds are exceeded, are not, and have no verdict."""
    unknown = int(judged["threshold_exceeded"].isna().sum())
    exceeded = int(judged["threshold_exceeded"].eq(True).sum())
    below = len(judged) - exceeded - unknown
    said = f"{units.count(len(judged), 'verdict')}: {exceeded:,} exceeded, {below:,} not exceeded"
    return f"{said}, {unknown:,} unknown." if unknown else f"{said}."


def _recorded(recorded: pd.Series[Any]) -> str:
    """What the evaluations began and ended."""
    if not recorded["evaluations"]:
        return "Nothing was recorded."
    times = f" {recorded['evaluations']:,} evaluations:" if recorded["evaluations"] > 1 else ""
    said = (
        f"Recorded:{times} {units.count(recorded['opened'], 'episode')} began and {recorded['ended']:,} ended, "
        f"{units.count(recorded['raised'], 'alert')} raised"
    )
    return f"{said}; see capacity alerts list." if recorded["raised"] else f"{said}."


def status(dsn: Dsn = None, tenant: Tenant = vault.ALL, as_of: AsOf = None, as_json: Json = False) -> None:
    """Tell what runs out next, the gravest first."""
    with opened_vault(dsn) as opened:
        leave_alone_if_inactive(opened, tenant, as_json)
        found = opened.status(tenant, as_of)
    if as_json:
        console.as_json(found)
        return
    if found.empty:
        raise CapacityError(
            "Nothing was measured yet", "Run: capacity capture, capacity import csv or capacity simulate"
        )
    console.table(
        ["tenant", "resource", "status", "usage", "full in", "within 90 days", "to do"],
        [
            (
                whose(row),
                resource(row),
                row.status,
                used(row.usage, row),
                _runway(row),
                units.share(row.probability_90d),
                _to_do(row),
            )
            for row in console.rows(found)
        ],
    )
    console.out.print(
        f"The newest measurement is of {units.at(found['measured_at'].max(), settings.load().timezone)}."
    )
    tell_what_to_register(found[found["capacity"].isna() & ~found["is_stale"] & ~found["is_outdated"]], dsn)
    if found["is_simulated"].any():
        console.out.print("Rows marked (simulated) come from capacity simulate: nobody's real usage.")


def _runway(row: Any) -> str:
    """Days until it is full, and where the engine says so those of 1 chance in 10 and of 9 in 10."""
    said = units.days(row.time_to_capacity_days)
    if pd.isna(row.early_days) or said == units.days(0):
        return said
    early = f"{int(row.early_days):,}"
    if pd.isna(row.time_to_capacity_days):
        return f"over 365 days (1 in 10: {early})"
    return f"{said} ({early} to {'over 365' if pd.isna(row.late_days) else f'{int(row.late_days):,}'})"


def _to_do(row: Any) -> str:
    if row.status == "STALE":
        return f"measure it again: this is of {units.at(row.measured_at, settings.load().timezone)}"
    if row.is_outdated:
        return "analyse again: capacity analyze"
    if pd.isna(row.capacity):
        return "register its capacity"
    return "" if pd.isna(row.recommended_action) else str(row.recommended_action)
