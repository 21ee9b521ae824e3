"""What the commands share: options, how a resource is told, and what ends a command early."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Annotated, Any

import pandas as pd
import typer
from rich.text import Text

from capacity_kit import console, units, vault
from capacity_kit.errors import OK, CapacityError
from capacity_kit.vault import Vault

SHOWN = 50
"""Resources that a table shows at most: thousands are for --json."""


def moment(text: str) -> datetime:
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


def amount(text: str) -> float:
    """Read a capacity such as 5000, 500GB or 64GiB."""
    match = re.fullmatch(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)\s*([kKMGTP]?(?:i?B)?)\s*", text)
    suffix = match[2].replace("K", "k") if match else ""
    if not match or suffix not in _MULTIPLES:
        raise typer.BadParameter(f"{text!r} is not an amount such as 5000, 500GB or 64GiB")
    return float(re.sub("[_,]", "", str(match[1]))) * float(_MULTIPLES[suffix])


_SPANS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def span(text: str) -> timedelta:
    """Read a length of time such as 90m, 8h, 30d or 2w."""
    match = re.fullmatch(r"\s*([1-9][0-9]{0,5})\s*([mhdw])\s*", text)
    if not match:
        raise typer.BadParameter(f"{text!r} is not a length of time such as 90m, 8h, 30d or 2w")
    return timedelta(**{_SPANS[match[2]]: int(match[1])})


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
        parser=moment,
        metavar="TIME",
        show_default=False,
        help="Look at the measurements as they stood then; UTC unless it says. Default: CAPACITY_AS_OF, else now.",
    ),
]


@contextmanager
def opened_vault(dsn: str | None, deployed: bool = True) -> Iterator[Vault]:
    """Open the database, and see first that the schema is there and ours; notices go to stderr at the end."""
    with vault.open(dsn) as opened:
        if deployed:
            opened.require_deployed()
        yield opened
        for notice in dict.fromkeys(opened.notices):
            console.err.print(Text(units.plain(notice, 200), style="dim"))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON has them: times in ISO 8601, what is unknown as null."""
    told: list[dict[str, Any]] = json.loads(
        frame.to_json(orient="records", date_format="iso", double_precision=15)
    )
    return told


def whose(row: Any) -> str:
    """The tenant, marked where its history is made up."""
    return f"{row.tenant}{' (simulated)' if row.is_simulated else ''}"


def resource(row: Any) -> str:
    """The resource by type and name."""
    return (
        str(row.resource_type) if pd.isna(row.resource_name) else f"{row.resource_type} {row.resource_name}"
    )


def used(usage: float, row: Any) -> str:
    """Usage and capacity in a few words."""
    if pd.isna(row.capacity):
        return units.quantity(usage, row.unit)
    shown = units.quantity(usage, row.unit) if row.unit == "bytes" else units.number(usage)
    return f"{shown} of {units.quantity(row.capacity, row.unit)}, {units.percent(row.utilization_percentage)}"


def leave_alone_if_inactive(opened: Vault, tenant: str, as_json: bool) -> None:
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


def tell_what_to_register(unknown: pd.DataFrame, dsn: str | None) -> None:
    """Print the command for each resource of unknown capacity: to be copied, so neither cut nor wrapped."""
    commands = list(dict.fromkeys(map(_registration, console.rows(unknown))))
    if not commands:
        return
    with_dsn = ", with the same --dsn" if dsn else ""
    console.out.print(f"What these can hold is yours to say{with_dsn}:")
    for command in commands[:SHOWN]:
        console.out.print(f"  {command}")
    if len(commands) > SHOWN:
        console.out.print(f"and {len(commands) - SHOWN:,} more.")


def _registration(row: Any) -> str:
    """The command that registers a resource's capacity, as a shell takes it once the amount is filled in."""
    whose = row.tenant if units.plain(row.tenant, 2000) == row.tenant else row.tenant_hk
    words = shlex.join(["capacity", "register", row.resource_type, row.resource_name])
    return units.plain(f"{words} <AMOUNT in {row.unit}> --tenant {shlex.quote(whose)}", 2000)
