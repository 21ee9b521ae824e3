"""The server and its schema: up, down, deploy, verify."""

from __future__ import annotations

from dataclasses import asdict

import typer

from capacity_kit import console, vault
from capacity_kit.cli.common import (
    Dsn,
    Json,
    opened_vault,
)
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


def verify(dsn: Dsn = None, as_json: Json = False) -> None:
    """Go through the deployment guide's verification list; exit code 3 when something needs doing."""
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


def _tell_server(found: embedded.Status, as_json: bool) -> None:
    if as_json:
        console.as_json(asdict(found))
    else:
        console.out.print(f"The embedded server is {found.state}; its data are in {found.home}.")
        console.out.print(f"CAPACITY_DSN={found.dsn!r}")
