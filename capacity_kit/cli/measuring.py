"""What comes in: capture, import csv, simulate, register."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from capacity_kit import console, settings, units, vault
from capacity_kit.cli.common import (
    Dsn,
    Json,
    Tenant,
    amount,
    leave_alone_if_inactive,
    moment,
    opened_vault,
    resource,
    used,
)
from capacity_kit.errors import USAGE, CapacityError
from capacity_kit.vault import Vault
from capacity_kit.vault import capture as captures


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
    with opened_vault(dsn) as opened, console.progress("Measuring", times, shown=times > 1) as tell:
        leave_alone_if_inactive(opened, tenant, as_json)
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
                resource(row),
                used(row.current_usage, row),
                row.status,
                row.measurement_method,
            )
            for row in console.rows(captured)
        ],
    )


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
        float | None, typer.Option(parser=amount, metavar="AMOUNT", help="The capacity, for the whole file.")
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
    with opened_vault(dsn) as opened:
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


def simulate(
    dsn: Dsn = None,
    seed: Annotated[int, typer.Option(min=0, help="Which of the possible histories.")] = 7,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            parser=moment,
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

    with opened_vault(dsn) as opened, console.progress("Simulating", None) as tell:
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


def register(
    resource_type: Annotated[
        str, typer.Argument(help="The resource's type, such as STORAGE.", show_default=False)
    ],
    resource_name: Annotated[str, typer.Argument(help="Its name, such as cluster.", show_default=False)],
    capacity: Annotated[
        float,
        typer.Argument(
            parser=amount,
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
            parser=moment,
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
    with opened_vault(dsn) as opened:
        unit = unit or opened.unit_of(tenant, resource_type, resource_name)
        if unit is None:
            raise CapacityError(
                f"{resource_type} {resource_name} was never measured for {tenant}, so its unit is not known",
                "See capacity status for what is measured, or give --unit.",
            )
        since = opened.register(tenant, resource_type, resource_name, capacity, unit, valid_from, reason)
        key = {
            "tenant": opened.tenant(tenant),
            "resource_type": resource_type,
            "resource_name": resource_name,
        }
        judged_from = opened.read("first_measurement", since=since, **key)["measured_at"].iloc[0]
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


def _tenant_finder(opened: Vault) -> Callable[[str], str | None]:
    """Find tenants by key or hash key, each asked for once a distinct name."""
    known = opened.tenants()
    by_name = dict(zip(known["tenant_bk"], known["tenant_hk"], strict=True))
    keys = set(by_name.values())
    return lambda label: by_name.get(label) or (label.lower() if label.lower() in keys else None)


def _labels(opened: Vault) -> dict[str, str]:
    known = opened.tenants()
    return dict(zip(known["tenant_hk"], known["tenant_bk"], strict=True))
