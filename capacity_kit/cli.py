"""The front door: thin commands over the rooms."""

from __future__ import annotations

import errno
import heapq
import re
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.text import Text

from capacity_kit import __version__, console, settings, units, vault
from capacity_kit.errors import ATTENTION, ERROR, OK, USAGE, CapacityError
from capacity_kit.vault import Vault, connection, embedded
from capacity_kit.vault import capture as captures
from capacity_kit.vault import verify as verification

app = typer.Typer(
    name="capacity",
    help="Capacity planning for PostgreSQL: measure, forecast, decide, report.",
    epilog="Exit codes: 0 all is well; 1 it could not be done; 2 the command line is wrong; "
    "3 it was done, and something needs attention; 4 a report is partial.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
imports = typer.Typer(
    help="Bring in measurements from elsewhere.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(imports, name="import")


_SHOWN = 50
"""Resources that a table shows at most: thousands are for --json."""


_NO_CAPACITY = "capacity unknown"
"""The reason that evaluate_capacity_thresholds gives where a registered capacity would allow a verdict."""


class Engine(StrEnum):
    """Who analyses."""

    SQL = "sql"
    LOCAL = "local"
    DASK = "dask"
    SPARK = "spark"


def _moment(text: str) -> datetime:
    """Read a point in time from the command line."""
    try:
        read = Vault.as_of(text)
    except CapacityError as error:
        raise typer.BadParameter(str(error)) from None
    assert read is not None
    return read


_MULTIPLES = {
    "": 1.0,
    **{
        f"{k}{b}": base**n
        for n, k in enumerate("kMGTP", 1)
        for b, base in (("", 1000), ("B", 1000), ("iB", 1024))
    },
}


def _amount(text: str) -> float:
    """Read a capacity such as 5000, 500GB or 64GiB."""
    match = re.fullmatch(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)\s*([kKMGTP]?(?:i?B)?)\s*", text)
    suffix = match[2].replace("K", "k") if match else ""
    if not match or suffix not in _MULTIPLES:
        raise typer.BadParameter(f"{text!r} is not an amount such as 5000, 500GB or 64GiB")
    return float(re.sub("[_,]", "", str(match[1]))) * float(_MULTIPLES[suffix])


Dsn = Annotated[
    str | None,
    typer.Option(
        "--dsn",
        show_default=False,
        help="The database. Default: CAPACITY_DSN, else libpq's variables and service file, else the embedded server. "
        "Leave a password to PGPASSWORD or ~/.pgpass: arguments show in the list of processes.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Tenant = Annotated[
    str, typer.Option(help="Whose resources: ALL, SYSTEM, a tenant's key, or the hex of its hash key.")
]
AsOf = Annotated[
    datetime | None,
    typer.Option(
        parser=_moment,
        metavar="TIME",
        show_default=False,
        help="Look at the measurements as they stood then; UTC unless it says. Default: CAPACITY_AS_OF, else now.",
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        console.out.print(f"capacity {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Read by main() before anything else; here they are for --help."""


@contextmanager
def _vault(dsn: str | None, deployed: bool = True) -> Iterator[Vault]:
    """Open the database, and see first that the schema is there and ours; notices go to stderr at the end."""
    with vault.open(dsn) as opened:
        if deployed:
            opened.require_deployed()
        yield opened
        for notice in dict.fromkeys(opened.notices):
            console.err.print(Text(units.plain(notice, 200), style="dim"))


@app.command()
def up(as_json: Json = False) -> None:
    """Start the embedded server, making it on the first call."""
    with console.progress("Starting the embedded server"):
        found = embedded.up()
        with vault.open(found.dsn) as opened:
            opened.execute("install_extensions")
    _tell_server(found, as_json)


@app.command()
def down(as_json: Json = False) -> None:
    """Stop the embedded server; its data stay."""
    stopped = embedded.down()
    if as_json:
        console.as_json({"stopped": stopped})
    else:
        console.out.print(
            "The embedded server is stopped." if stopped else "The embedded server was not running."
        )


@app.command()
def deploy(dsn: Dsn = None, as_json: Json = False) -> None:
    """Bring the database up to this package's schema: wholly, or not at all."""
    with _vault(dsn, deployed=False) as opened:
        with console.progress("Deploying the schema"):
            state = opened.deploy()
        if as_json:
            console.as_json(asdict(state))
        else:
            versions = ", ".join(f"step {step} {version}" for step, version in sorted(state.versions.items()))
            console.out.print(
                f"Deployed in {opened.server.database} on PostgreSQL {opened.server.version}: {versions}.",
            )


@app.command()
def verify(dsn: Dsn = None, as_json: Json = False) -> None:
    """Go through the deployment guide's verification list; exit code 3 when something needs doing."""
    with _vault(dsn, deployed=False) as opened:
        checks = verification.verify(opened)
    if as_json:
        console.as_json([asdict(check) for check in checks])
    else:
        console.table(
            ["item", "verdict", "found", "to do"],
            [(c.item, c.verdict, c.found, c.to_do) for c in checks],
            prose=True,
        )
    raise typer.Exit(ATTENTION if any(c.verdict in ("failed", "attention") for c in checks) else OK)


@app.command()
def capture(
    dsn: Dsn = None,
    tenant: Tenant = vault.ALL,
    times: Annotated[int, typer.Option(min=1, help="How often to measure.")] = 1,
    every: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="How long from one measurement to the next.")
    ] = 60,
    host_metrics: Annotated[
        str | None,
        typer.Option(
            metavar="auto|yes|no",
            show_default=False,
            help="Measure this host's memory, processors and disks too; auto (default): when the server runs on it.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the server, its tenants and its host once, or several times."""
    chosen = host_metrics or settings.load().host_metrics
    if chosen not in ("auto", "yes", "no"):
        raise CapacityError(f"--host-metrics is auto, yes or no, not {chosen!r}", exit_code=USAGE)
    with _vault(dsn) as opened, console.progress("Measuring", times, shown=times > 1) as tell:
        _leave_alone_if_inactive(opened, tenant, as_json)
        began = time.monotonic()
        for done in range(times):
            time.sleep(max(0.0, began + done * every - time.monotonic()))
            captured = captures.capture(opened, tenant, chosen)  # type: ignore[arg-type]
            tell(done + 1)
        labels = _labels(opened)
    captured.insert(0, "tenant", [labels.get(key, "SYSTEM") for key in captured["tenant_hk"]])
    if as_json:
        console.as_json(captured)
        return
    console.table(
        ["tenant", "resource", "usage", "status", "measured by"],
        [
            (
                row.tenant,
                _resource(row),
                _used(row.current_usage, row),
                row.status,
                row.measurement_method,
            )
            for row in console.rows(captured)
        ],
    )


@imports.command("csv")
def import_csv(
    file: Annotated[Path, typer.Argument(help="A CSV file with a header, in UTF-8.", show_default=False)],
    dsn: Dsn = None,
    time_column: Annotated[
        str, typer.Option("--time", metavar="COLUMN", help="The column of times.")
    ] = "measured_at",
    value: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN[=NAME]",
            show_default=False,
            help="The column of values; several, or with a name: each a resource of its own. Default: value.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The resource's name, for the whole file.")] = None,
    name_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of resource names.")
    ] = None,
    resource_type: Annotated[
        str | None, typer.Option("--type", help="The resource type, such as STORAGE, for the whole file.")
    ] = None,
    type_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of resource types.")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="The unit, such as bytes, for the whole file.")] = None,
    unit_column: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column of units.")] = None,
    tenant: Annotated[
        str | None, typer.Option(help="The tenant, for the whole file; SYSTEM: nobody's.")
    ] = None,
    tenant_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of tenants.")
    ] = None,
    capacity: Annotated[
        float | None, typer.Option(parser=_amount, metavar="AMOUNT", help="The capacity, for the whole file.")
    ] = None,
    capacity_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of capacities.")
    ] = None,
    time_zone: Annotated[str, typer.Option(help="The zone of times that do not say theirs.")] = "UTC",
    unix_seconds: Annotated[
        bool, typer.Option("--unix-seconds", help="Times are seconds since 1970.")
    ] = False,
    duplicates: Annotated[
        str,
        typer.Option(
            metavar="refuse|first|last", help="What to do with two values of one resource at one time."
        ),
    ] = "refuse",
    as_json: Json = False,
) -> None:
    """Import measurements from a CSV file: all of them, or none. Importing a file again adds nothing."""
    from capacity_kit.sources.csv_file import CsvFile, Layout

    if duplicates not in ("refuse", "first", "last"):
        raise CapacityError(f"--duplicates is refuse, first or last, not {duplicates!r}", exit_code=USAGE)
    layout = Layout(
        time=time_column,
        values=tuple(value or ["value"]),
        name=name,
        name_column=name_column,
        resource_type=resource_type,
        type_column=type_column,
        unit=unit,
        unit_column=unit_column,
        tenant=tenant,
        tenant_column=tenant_column,
        capacity=capacity,
        capacity_column=capacity_column,
        time_zone=time_zone,
        unix_seconds=unix_seconds,
    )
    with _vault(dsn) as opened:
        source = CsvFile(file, _tenant_finder(opened), layout)
        with console.progress("Importing", 100) as tell:
            loaded = opened.load(
                source.batches(),
                source.record_source,
                label=file.name,
                method=source.method,
                duplicates=duplicates,
                progress=lambda stage, rows: tell(
                    100 * source.fraction_read, f"{stage} {rows:,} measurements"
                ),
            )
        opened.notices += source.notes
    if as_json:
        console.as_json(asdict(loaded))
    else:
        known = loaded.rows - loaded.inserted - loaded.corrected - loaded.dropped
        console.out.print(
            f"{file.name}: {loaded.rows:,} measurements of {loaded.resources:,} resources; {loaded.inserted:,} new, "
            f"{loaded.corrected:,} corrected, {known:,} known already, {loaded.dropped:,} left out."
        )


@app.command()
def simulate(
    dsn: Dsn = None,
    seed: Annotated[int, typer.Option(min=0, help="Which of the possible histories.")] = 7,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            parser=_moment,
            metavar="TIME",
            show_default=False,
            help="The time of the last measurement. Default: that of the simulation already there, else now.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write beside real tenants.")] = False,
    as_json: Json = False,
) -> None:
    """Write thirteen months of made-up history for five tenants, marked as such wherever it is shown."""
    from capacity_kit.sources import simulation

    with _vault(dsn) as opened, console.progress("Simulating", None) as tell:
        made = simulation.simulate(
            opened,
            seed,
            as_of,
            force=force,
            progress=lambda stage, rows: tell(rows, f"{stage} {rows:,} measurements"),
        )
    if as_json:
        console.as_json(asdict(made))
    else:
        console.out.print(
            f"Simulated {made.rows:,} measurements up to {units.at(made.as_of)} (seed {made.seed}), "
            f"{made.inserted:,} of them new, of {', '.join(made.tenants)}."
        )


@app.command()
def analyze(
    dsn: Dsn = None,
    tenant: Tenant = vault.ALL,
    resource_type: Annotated[str, typer.Option("--type", help="ALL, or one resource type.")] = vault.ALL,
    days: Annotated[
        int | None,
        typer.Option(
            min=1, show_default=False, help="How many days back a fit looks. Default: 30; engine 730."
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
    if (history and (dry_run or engine is not Engine.SQL)) or (thresholds and dry_run):
        raise CapacityError(
            "--history and --thresholds record what --engine sql finds", "Leave out one of them.", USAGE
        )
    with _vault(dsn) as opened:
        _leave_alone_if_inactive(opened, tenant, as_json)
        if engine is not Engine.SQL:
            if thresholds:
                opened.make_thresholds(tenant)
            over = _over(engine, workers, scheduler)
            _analyze_by_engine(opened, over, as_json, tenant, resource_type, days, as_of, dry_run)
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
                _whose(row),
                _resource(row),
                row.pattern_type,
                _used(row.current_usage, row),
                units.percent(row.growth_rate_percentage),
                units.quantity(row.forecast_30d, row.unit),
                units.days(row.time_to_capacity_days),
                units.percent(row.confidence_level),
                row.recommended_action,
            )
            for row in console.rows(analysed)
        ],
    )


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
    dry_run: bool,
) -> None:
    """Run the growth engine over the resources, and tell of the most urgent of them, or of all in JSON."""
    from capacity_kit.analysis import run
    from capacity_kit.analysis.work import Record

    done: run.Analysed | None = None
    told: list[Record] = []
    new = same = 0
    scope = (tenant, resource_type, days or run.DAYS, as_of)
    try:
        with where as over, console.progress("Analysing", None) as tell:
            for done in run.analyse(opened, *scope, over=over, dry_run=dry_run):
                left = units.number(max(1.0, done.seconds_left), 1)
                tell(done.done, f"{done.done:,} of {done.total:,} resources, {left} s left", done.total)
                new, same = new + done.recorded.recorded, same + done.recorded.unchanged
                told += done.records
                if not as_json:
                    told = heapq.nsmallest(_SHOWN, told, key=run.urgency)
    except KeyboardInterrupt:
        if done:
            console.err.print(
                f"{done.done:,} of {done.total:,} resources are done; "
                f"the same command with --as-of {done.as_of.isoformat()} goes on from there."
            )
        raise
    if as_json:
        console.as_json(told)
        return
    if done is None:
        raise CapacityError(
            "There is nothing to analyse", "Nothing was measured, or all is recorded for that time already."
        )
    known = opened.tenants().set_index("tenant_hk")["tenant_bk"]
    console.table(
        [
            "tenant",
            "resource",
            "pattern",
            "usage",
            "a day",
            "in 30 days",
            "full in",
            "at the earliest",
            "why",
        ],
        [
            (
                "SYSTEM" if record["tenant_hk"] is None else known[record["tenant_hk"][2:]],
                f"{record['resource_type']} {record['resource_name']}",
                record["pattern_type"],
                units.quantity(record["current_usage"], record["unit"]),
                units.percent(record.get("growth_rate_percentage")),
                units.quantity(record.get("projected_usage_30d"), record["unit"]),
                units.days(run.runway(record, "p50")),
                units.days(run.runway(record, "p10")),
                record["pattern_description"],
            )
            for record in told
        ],
    )
    more = f"; shown are the {len(told)} most urgent" if done.done > len(told) else ""
    what = "nothing recorded" if dry_run else f"{new:,} new forecasts, {same:,} as before"
    console.out.print(f"{done.done:,} resources as of {done.as_of.isoformat()}: {what}{more}.")


@app.command()
def evaluate(dsn: Dsn = None, tenant: Tenant = vault.ALL, as_of: AsOf = None, as_json: Json = False) -> None:
    """Judge each threshold by the newest measurement; exit code 3 when a CRITICAL one is exceeded."""
    with _vault(dsn) as opened:
        _leave_alone_if_inactive(opened, tenant, as_json)
        judged = opened.evaluate(tenant, as_of)
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
                    _whose(row),
                    row.threshold_name,
                    _resource(row),
                    units.percent(row.current_utilization),
                    units.percent(row.threshold_percentage),
                    "no verdict" if pd.isna(row.threshold_exceeded) else row.alert_severity,
                    "register its capacity" if row.verdict_reason == _NO_CAPACITY else row.recommended_action,
                )
                for row in console.rows(worth_a_line)
            ],
        )
        console.out.print(f"{len(judged) - len(worth_a_line)} of {len(judged)} thresholds are not exceeded.")
        _tell_what_to_register(judged[judged["verdict_reason"] == _NO_CAPACITY], dsn)
    raise typer.Exit(ATTENTION if critical else OK)


@app.command()
def status(dsn: Dsn = None, tenant: Tenant = vault.ALL, as_of: AsOf = None, as_json: Json = False) -> None:
    """Tell what runs out next, the gravest first."""
    with _vault(dsn) as opened:
        _leave_alone_if_inactive(opened, tenant, as_json)
        found = opened.status(tenant, as_of)
    if as_json:
        console.as_json(found)
        return
    if found.empty:
        raise CapacityError(
            "Nothing was measured yet", "Run: capacity capture, capacity import csv or capacity simulate"
        )
    console.table(
        ["tenant", "resource", "status", "usage", "full in", "to do"],
        [
            (
                _whose(row),
                _resource(row),
                row.status,
                _used(row.usage, row),
                units.days(row.time_to_capacity_days),
                _to_do(row),
            )
            for row in console.rows(found)
        ],
    )
    console.out.print(
        f"The newest measurement is of {units.at(found['measured_at'].max(), settings.load().timezone)}."
    )
    _tell_what_to_register(found[found["capacity"].isna() & ~found["is_stale"] & ~found["is_outdated"]], dsn)
    if found["is_simulated"].any():
        console.out.print("Rows marked (simulated) come from capacity simulate: nobody's real usage.")


@app.command()
def register(
    resource_type: Annotated[
        str, typer.Argument(help="The resource's type, such as STORAGE.", show_default=False)
    ],
    resource_name: Annotated[str, typer.Argument(help="Its name, such as cluster.", show_default=False)],
    capacity: Annotated[
        float,
        typer.Argument(
            parser=_amount,
            metavar="CAPACITY",
            help="What it can hold: 5000, 500GB, 64GiB.",
            show_default=False,
        ),
    ],
    dsn: Dsn = None,
    tenant: Annotated[str, typer.Option(help="Whose: SYSTEM, or a tenant's key.")] = vault.SYSTEM,
    unit: Annotated[
        str | None,
        typer.Option(help="The unit. Default: the one that the resource is measured in.", show_default=False),
    ] = None,
    valid_from: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            parser=_moment,
            metavar="TIME",
            help="From when on. Default: from its newest measurement where none was registered before, else from now.",
            show_default=False,
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why, for whoever asks later.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a resource can hold, where PostgreSQL cannot know it."""
    if tenant == vault.ALL:
        raise CapacityError("A capacity is one tenant's, or SYSTEM's", exit_code=USAGE)
    with _vault(dsn) as opened:
        unit = unit or opened.unit_of(tenant, resource_type, resource_name)
        if unit is None:
            raise CapacityError(
                f"{resource_type} {resource_name} was never measured for {tenant}, so its unit is not known",
                "See capacity status for what is measured, or give --unit.",
            )
        since = opened.register(tenant, resource_type, resource_name, capacity, unit, valid_from, reason)
        resource = {
            "tenant": opened.tenant(tenant),
            "resource_type": resource_type,
            "resource_name": resource_name,
        }
        judged_from = opened.read("first_measurement", since=since, **resource)["measured_at"].iloc[0]
    if as_json:
        console.as_json(
            {
                "tenant": tenant,
                "resource_type": resource_type,
                "resource_name": resource_name,
                "capacity": capacity,
                "unit": unit,
                "valid_from": since,
                "judged_from": None if pd.isna(judged_from) else judged_from,
            }
        )
    else:
        zone = settings.load().timezone
        if pd.notna(judged_from):
            judged = f"the measurement of {units.at(judged_from, zone)}"
        elif since > datetime.now(UTC):
            judged = f"the first capture after {units.at(since, zone)}"
        else:
            judged = "the next capture"
        shown = units.quantity(capacity, unit)
        console.out.print(
            f"{tenant} {resource_type} {resource_name} holds {shown}: judged from {judged} on.", markup=False
        )


@app.command()
def report(
    notebooks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NOTEBOOK]...", help="Which: see --list. Default: all of them.", show_default=False
        ),
    ] = None,
    dsn: Dsn = None,
    tenant: Annotated[
        str | None,
        typer.Option(
            help="Whose resources: ALL, SYSTEM or a tenant. Default: the notebook's.", show_default=False
        ),
    ] = None,
    as_of: AsOf = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            "-p",
            metavar="NAME=VALUE",
            help="One of the notebook's parameters.",
            show_default=False,
        ),
    ] = None,
    site: Annotated[
        Path | None,
        typer.Option(help="Where to publish. Default: CAPACITY_SITE, else reports/site.", show_default=False),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the notebooks and their parameters.")] = False,
    as_json: Json = False,
) -> None:
    """Run notebooks and publish them as HTML; exit code 3 when one says so, 4 when one failed on its way."""
    from capacity_kit.reporting import run

    known = run.available()
    if listed:
        _list_notebooks(known, as_json)
        return
    given: dict[str, Any] = {}
    for pair in parameter or []:
        name, equals, text = pair.partition("=")
        if not equals:
            raise CapacityError(f"-p {pair} is not NAME=VALUE", exit_code=USAGE)
        given[name.strip()] = text
    given |= {
        name: said for name, said in (("tenant", tenant), ("as_of", as_of and as_of.isoformat())) if said
    }
    chosen = notebooks or list(known)
    if not chosen:
        raise CapacityError("This package came without notebooks", "Install it anew.")
    if given.get("tenant") not in (None, vault.ALL, vault.SYSTEM):
        with _vault(dsn) as opened:
            _leave_alone_if_inactive(opened, given["tenant"], as_json)
    read = settings.load()
    where = read.model_copy(update={"site": site}) if site else read
    published = []
    for notebook in chosen:
        with console.progress(notebook) as tell:
            done = run.run(
                notebook,
                given,
                settings=where,
                dsn=dsn,
                progress=lambda at, of, section: tell(at, section, of),
            )
        published.append(done)
        if not as_json:
            console.out.print(f"{notebook}: {done.result.verdict}. {units.plain(done.result.headline, 300)}")
            console.out.print(f"  {done.page}")
    if as_json:
        console.as_json(
            [
                {
                    "notebook": p.result.notebook,
                    "verdict": p.result.verdict,
                    "headline": p.result.headline,
                    "page": p.page,
                }
                for p in published
            ]
        )
    raise typer.Exit(max(p.result.exit_code for p in published))


def _list_notebooks(known: Mapping[str, Sequence[Any]], as_json: bool) -> None:
    lines = [(name, p.name, p.annotation, p.default, p.description) for name, ps in known.items() for p in ps]
    header = ["notebook", "parameter", "type", "default", "description"]
    if as_json:
        console.as_json([dict(zip(header, line, strict=True)) for line in lines])
    else:
        console.table(header, lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        The arguments (default: the process's).

    Returns
    -------
    int
        The exit code; see :mod:`capacity_kit.errors`.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        typer.main.get_command(app).main([a for a in given if a != "--debug"], prog_name="capacity")
    except SystemExit as finished:
        code = finished.code if isinstance(finished.code, int) else ERROR
        if code == 130:
            console.err.print("Interrupted: what was not finished is undone.")
        return code
    except CapacityError as error:
        return _fail(error, str(error), error.exit_code, debug)
    except OSError as error:
        full = (
            "The disk is full"
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else (error.strerror or str(error))
        )
        return _fail(error, f"{full}{f': {error.filename}' if error.filename else ''}", ERROR, debug)
    except Exception as error:  # noqa: BLE001 -- whatever else went wrong, a person gets one line
        return _fail(
            error, f"{type(error).__name__}: {error}. This is a defect; --debug shows where.", ERROR, debug
        )
    return OK


def _fail(error: BaseException, line: str, code: int, debug: bool) -> int:
    if debug:
        console.err.print(Text(connection.redact_all("".join(traceback.format_exception(error)))))
    console.err.print(Text(f"capacity: {connection.redact_all(units.plain(line, 600))}", style="red"))
    return code


def _tell_server(found: embedded.Status, as_json: bool) -> None:
    if as_json:
        console.as_json(asdict(found))
    else:
        console.out.print(f"The embedded server is {found.state}; its data are in {found.home}.")
        console.out.print(f"CAPACITY_DSN={found.dsn!r}")


def _tenant_finder(opened: Vault) -> Callable[[str], str | None]:
    """Find tenants by key or hash key, each asked for once a distinct name."""
    known = opened.tenants()
    by_name = dict(zip(known["tenant_bk"], known["tenant_hk"], strict=True))
    keys = set(by_name.values())
    return lambda label: by_name.get(label) or (label.lower() if label.lower() in keys else None)


def _labels(opened: Vault) -> dict[str, str]:
    known = opened.tenants()
    return dict(zip(known["tenant_hk"], known["tenant_bk"], strict=True))


def _whose(row: Any) -> str:
    return f"{row.tenant}{' (simulated)' if row.is_simulated else ''}"


def _resource(row: Any) -> str:
    return (
        str(row.resource_type) if pd.isna(row.resource_name) else f"{row.resource_type} {row.resource_name}"
    )


def _used(usage: float, row: Any) -> str:
    """Usage and capacity in a few words."""
    if pd.isna(row.capacity):
        return units.quantity(usage, row.unit)
    shown = units.quantity(usage, row.unit) if row.unit == "bytes" else units.number(usage)
    return f"{shown} of {units.quantity(row.capacity, row.unit)}, {units.percent(row.utilization_percentage)}"


def _leave_alone_if_inactive(opened: Vault, tenant: str, as_json: bool) -> None:
    """End the command, well, when the tenant that it was asked for is inactive."""
    key = opened.tenant(tenant)
    if key is None or opened.tenants().set_index("tenant_hk").loc[key, "is_active"]:
        return
    if as_json:
        console.as_json([])
    else:
        console.out.print(
            f"{units.plain(tenant)} is inactive: it is neither captured nor judged, and its history stays."
        )
    raise typer.Exit(OK)


def _tell_what_to_register(unknown: pd.DataFrame, dsn: str | None) -> None:
    """Print the command for each resource of unknown capacity: to be copied, so neither cut nor wrapped."""
    commands = list(dict.fromkeys(map(_registration, console.rows(unknown))))
    if not commands:
        return
    with_dsn = ", with the same --dsn" if dsn else ""
    console.out.print(f"What these can hold is yours to say{with_dsn}:")
    for command in commands[:_SHOWN]:
        console.out.print(f"  {command}")
    if len(commands) > _SHOWN:
        console.out.print(f"and {len(commands) - _SHOWN:,} more.")


def _registration(row: Any) -> str:
    """The command that registers a resource's capacity, as a shell takes it once the amount is filled in."""
    whose = row.tenant if units.plain(row.tenant, 2000) == row.tenant else row.tenant_hk
    words = shlex.join(["capacity", "register", row.resource_type, row.resource_name])
    return units.plain(f"{words} <AMOUNT in {row.unit}> --tenant {shlex.quote(whose)}", 2000)


def _to_do(row: Any) -> str:
    if row.status == "STALE":
        return f"measure it again: this is of {units.at(row.measured_at, settings.load().timezone)}"
    if row.is_outdated:
        return "analyse again: capacity analyze"
    if pd.isna(row.capacity):
        return "register its capacity"
    return "" if pd.isna(row.recommended_action) else str(row.recommended_action)
