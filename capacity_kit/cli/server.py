"""The server and its schema: up, down, deploy, verify."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Final, NoReturn

import typer

from capacity_kit import console, vault
from capacity_kit.cli.common import Dsn, Json, opened_vault, resource
from capacity_kit.errors import ATTENTION, OK
from capacity_kit.vault import embedded
from capacity_kit.vault import verify as verification


def up(as_json: Json = False) -> None:
    """Start the embedded server, making it on the first call."""
    with console.progress("Starting the embedded server"):
        found = embedded.up()
        with vault.open(found.dsn) as opened:
            opened.execute("install_extensions")
    _tell_server(found, as_json)


def down(as_json: Json = False) -> None:
    """Stop the embedded server; its data stay."""
    stopped = embedded.down()
    if as_json:
        console.as_json({"stopped": stopped})
    else:
        console.out.print(
            "The embedded server is stopped." if stopped else "The embedded server was not running."
        )


def deploy(dsn: Dsn = None, as_json: Json = False) -> None:
    """Bring the database up to this package's schema: wholly, or not at all."""
    with opened_vault(dsn, deployed=False) as opened:
        with console.progress("Deploying the schema"):
            state = opened.deploy()
        if as_json:
            console.as_json(asdict(state))
        else:
            versions = ", ".join(f"step {step} {version}" for step, version in sorted(state.versions.items()))
            console.out.print(
                f"Deployed in {opened.server.database} on PostgreSQL {opened.server.version}: {versions}.",
            )


def verify(
    dsn: Dsn = None,
    alerts: Annotated[
        bool,
        typer.Option(
            "--alerts",
            help="Instead: a synthetic breach of each active threshold, from evaluation to a rendered message, undone.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Go through the deployment guide's verification list; exit code 3 when something needs doing."""
    if alerts:
        _verify_alerts(dsn, as_json)
    with opened_vault(dsn, deployed=False) as opened:
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


_LINKED: Final = {"runbook_url": "a runbook", "report_url": "the reports"}


def _verify_alerts(dsn: str | None, as_json: bool) -> NoReturn:
    with opened_vault(dsn) as opened, console.progress("Rehearsing"):
        found = verification.rehearse(opened)
        unset = verification.unset_links(opened)
    failed = int(found["verdict"].eq("failed").sum())
    if as_json:
        console.as_json(found)
    elif found.empty:
        console.out.print("There are no active thresholds; capacity analyze --thresholds makes the defaults.")
    else:
        console.table(
            ["tenant", "threshold", "resource", "verdict", "found", "to do"],
            [
                (row.tenant, row.threshold_name, resource(row), row.verdict, row.found, row.to_do)
                for row in console.rows(found)
            ],
            prose=True,
        )
        console.out.print(
            f"{len(found) - failed:,} of {len(found):,} thresholds reach a message; nothing of it stays."
        )
        for name in unset:
            console.out.print(
                f"No message has a link to {_LINKED[name]}: "
                f"set {name} in capacity_alerting.text_setting, as the README says."
            )
    raise typer.Exit(ATTENTION if found["verdict"].ne("ok").any() else OK)


def _tell_server(found: embedded.Status, as_json: bool) -> None:
    if as_json:
        console.as_json(asdict(found))
    else:
        console.out.print(f"The embedded server is {found.state}; its data are in {found.home}.")
        console.out.print(f"CAPACITY_DSN={found.dsn!r}")
