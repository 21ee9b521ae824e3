"""Growth: analyze."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import pandas as pd
import typer

from capacity_kit import console, units, vault
from capacity_kit.cli.common import (
    SHOWN,
    AsOf,
    Dsn,
    Json,
    Tenant,
    leave_alone_if_inactive,
    opened_vault,
    resource,
    tell_what_to_register,
    used,
    whose,
)
from capacity_kit.errors import USAGE, CapacityError
from capacity_kit.vault import Vault


class Engine(StrEnum):
    """Who analyses."""

    SQL = "sql"
    LOCAL = "local"
    DASK = "dask"
    SPARK = "spark"


def analyze(
    dsn: Dsn = None,
    tenant: Tenant = vault.ALL,
    resource_type: Annotated[str, typer.Option("--type", help="ALL, or one resource type.")] = vault.ALL,
    days: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=36_500,
            show_default=False,
            help="How many days back a fit looks. Default: 30; engine 730.",
        ),
    ] = None,
    as_of: AsOf = None,
    history: Annotated[
        bool,
        typer.Option(
            "--history",
            help="Also from the first of each month since measuring began, so that forecasts can be scored.",
        ),
    ] = False,
    thresholds: Annotated[
        bool, typer.Option("--thresholds", help="Also make the default thresholds that are missing.")
    ] = False,
    engine: Annotated[
        Engine,
        typer.Option(
            help="sql: the database's own analysis. The others: the growth engine, here or on a cluster."
        ),
    ] = Engine.SQL,
    workers: Annotated[int, typer.Option(min=1, help="Processes that the growth engine works in.")] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            show_default=False,
            help="Address of a Dask scheduler or a Spark master, instead of --workers here.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Analyse and record nothing; the right to read is enough.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Analyse growth and record forecasts: how fast each resource grows, and when it is full."""
    if engine is Engine.SQL and (workers != 1 or scheduler):
        raise CapacityError(
            "The database's own analysis has no workers", "Say --engine local, dask or spark.", USAGE
        )
    if scheduler and engine is Engine.LOCAL:
        raise CapacityError("--scheduler is of a cluster", "Say --engine dask or spark.", USAGE)
    if dry_run and (history or thresholds):
        raise CapacityError(
            "--history and --thresholds are there to record something", "Leave out --dry-run.", USAGE
        )
    with opened_vault(dsn) as opened:
        leave_alone_if_inactive(opened, tenant, as_json)
        if engine is not Engine.SQL:
            if thresholds:
                opened.make_thresholds(tenant)
            over = _over(engine, workers, scheduler)
            _analyze_by_engine(opened, over, as_json, tenant, resource_type, days, as_of, history, dry_run)
            return
        days = days or 30
        if history:
            if resource_type != vault.ALL or days != 30:
                raise CapacityError(
                    "--history analyses all types over 30 days", "Leave out --type and --days.", USAGE
                )
            with console.progress("Analysing", None) as tell:
                analysed = opened.analyze_history(
                    tenant, as_of, lambda done, total: tell(done, f"{done} of {total} months", total)
                )
        else:
            with console.progress("Analysing"), opened.transaction(read_only=dry_run):
                analysed = opened.analyze(tenant, resource_type, days, as_of)
        if thresholds:
            opened.make_thresholds(tenant)
    if as_json:
        console.as_json(analysed)
        return
    if analysed.empty:
        raise CapacityError("There are no measurements to analyse", "Capture, import or simulate some first.")
    console.table(
        ["tenant", "resource", "pattern", "usage", "a day", "in 30 days", "full in", "confidence", "action"],
        [
            (
                whose(row),
                resource(row),
                row.pattern_type,
                used(row.current_usage, row),
                units.percent(row.growth_rate_percentage),
                units.quantity(row.forecast_30d, row.unit),
                units.days(row.time_to_capacity_days),
                units.percent(row.confidence_level),
                _action(row),
            )
            for row in console.rows(analysed)
        ],
    )
    tell_what_to_register(analysed[analysed["capacity"].isna()], dsn)


def _action(row: Any) -> str:
    """The recommended action; in place of a call in SQL that registers a capacity, the command printed below it."""
    action = "" if pd.isna(row.recommended_action) else str(row.recommended_action)
    if not pd.isna(row.capacity):
        return action
    return f"{action.partition('Its capacity is unknown: SELECT')[0]}Register its capacity."


def _over(
    engine: Engine, count: int, scheduler: str | None
) -> AbstractContextManager[Callable[[Iterable[Any]], Iterator[Any]]]:
    """Where the growth engine works; imported when it is asked for, since that takes a while."""
    if engine is Engine.DASK:
        from capacity_kit.analysis import dask

        return dask.cluster(count, scheduler)
    if engine is Engine.SPARK:
        from capacity_kit.analysis import spark

        return spark.session(count, scheduler)
    from capacity_kit.analysis import local

    return local.workers(count)


def _analyze_by_engine(
    opened: Vault,
    where: AbstractContextManager[Callable[[Iterable[Any]], Iterator[Any]]],
    as_json: bool,
    tenant: str,
    resource_type: str,
    days: int | None,
    as_of: datetime | None,
    history: bool,
    dry_run: bool,
) -> None:
    """Run the growth engine over the resources, and tell of the most urgent of them, or of all in JSON."""
    from capacity_kit.analysis import run
    from capacity_kit.analysis.work import Record

    done: run.Analysed | None = None
    told: list[Record] = []
    new = same = skipped = later = 0
    scope = (tenant, resource_type, days or run.DAYS)
    origins: list[datetime | None] = [*opened.origins(tenant, as_of, "ENGINE")] if history else []
    with ExitStack() as listed:
        more = listed.enter_context(console.json_list()) if as_json else None
        try:
            with where as over, console.progress("Analysing", None) as tell:
                for months, origin in enumerate(origins[:-1]):
                    tell(months, f"{months} of {len(origins)} months", len(origins))
                    for _ in run.analyse(opened, *scope, origin, over=over):
                        pass
                last = origins[-1] if origins else as_of
                for done in run.analyse(opened, *scope, last, over=over, dry_run=dry_run, tell=tell):
                    left = _long(done.seconds_left)
                    tell(done.done, f"{done.done:,} of {done.total:,} resources, {left} left", done.total)
                    new, same = new + done.recorded.recorded, same + done.recorded.unchanged
                    skipped, later = skipped + done.recorded.skipped, later + done.recorded.later
                    if more:
                        more(done.records)
                    else:
                        told = heapq.nsmallest(SHOWN, told + done.records, key=run.urgency)
        except (KeyboardInterrupt, CapacityError):
            if done and not dry_run:
                console.err.print(
                    f"{done.done:,} of {done.total:,} resources are done; "
                    f"the same command with --as-of {done.as_of.isoformat()} goes on from there."
                )
            raise
    if as_json:
        return
    if done is None:
        moment, measured = run.measured(opened, tenant, resource_type, last)
        if not measured:
            raise CapacityError("There is nothing to analyse", "Nothing was measured of it by then.")
        console.out.print(f"All {measured:,} resources are recorded as of {units.at(moment)} already.")
        return
    known = opened.tenants().set_index("tenant_hk")["tenant_bk"]
    _tell_of(told, {f"\\x{hk}": name for hk, name in known.items()}, run.runway)
    more_of = f"; shown are the {len(told)} most urgent" if done.done > len(told) else ""
    became = [f"{new:,} new forecasts", f"{same:,} as before"]
    became += [f"{later:,} left alone since a later one is there"] if later else []
    became += [f"{skipped:,} not recorded since another session was recording"] if skipped else []
    what = "nothing recorded" if dry_run else ", ".join(became)
    console.out.print(f"{done.done:,} resources as of {units.at(done.as_of)}: {what}{more_of}.")


def _tell_of(
    records: list[Any], tenants: Mapping[str, str], runway: Callable[[Any, str], int | None]
) -> None:
    """What the engine found: a row each on a pipe, and on a terminal its sentence below the row."""
    rows = [
        {
            "tenant": tenants.get(record["tenant_hk"] or "", "SYSTEM"),
            "resource": f"{record['resource_type']} {record['resource_name']}",
            "pattern": record["pattern_type"],
            "usage": units.quantity(record["current_usage"], record["unit"]),
            "a day": units.percent(record.get("growth_rate_percentage")),
            "in 30 days": units.quantity(record.get("projected_usage_30d"), record["unit"]),
            "full in": units.days(runway(record, "p50")),
            "at the earliest": units.days(runway(record, "p10")),
            "why": record["pattern_description"],
        }
        for record in records
    ]
    if not console.out.is_terminal:
        console.table([*rows[0]], [[*row.values()] for row in rows])
        return
    console.paragraphs(
        ["resource", "full in", "at the earliest"],
        [
            (
                f"{row['tenant']} {row['resource']}",
                row["full in"],
                row["at the earliest"],
                f"{row['pattern']}, {row['usage']} now, {row['in 30 days']} in 30 days: {row['why']}",
            )
            for row in rows
        ],
    )


def _long(seconds: float) -> str:
    """How long it will take, about."""
    if seconds < 90:
        return f"{units.number(max(1.0, seconds), 1)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
