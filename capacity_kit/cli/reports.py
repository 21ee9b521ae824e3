"""What is published: report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from capacity_kit import console, settings, units, vault
from capacity_kit.cli.common import (
    AsOf,
    Dsn,
    Json,
    leave_alone_if_inactive,
    opened_vault,
)
from capacity_kit.errors import ERROR, OK, USAGE, CapacityError


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
    site_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where readers find the site, for its feed. It remembers it.",
            show_default=False,
        ),
    ] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Print each page as report.pdf too; needs Chromium or Chrome.")
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the notebooks and their parameters.")] = False,
    as_schema: Annotated[
        bool, typer.Option("--json-schema", help="Print the JSON schema of each report's result.json.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run notebooks and publish them as HTML; exit code 3 when one says so, 4 when one failed on its way."""
    from capacity_kit.reporting import result, run

    if as_schema:
        typer.echo(result.json_schema(), nl=False)
        return
    if site_url and not re.fullmatch(r"https?://[^\s@]+", site_url):
        raise CapacityError("--site-url is no address such as https://reports.example.org/", exit_code=USAGE)
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
    chosen = list(dict.fromkeys(notebooks or known))
    if not chosen:
        raise CapacityError("This package came without notebooks", "Install it anew.")
    for notebook in chosen:
        run.find(notebook)
    read = settings.load()
    where = read.model_copy(update={"site": (site or read.site).absolute()})
    with opened_vault(dsn) as opened:
        if given.get("tenant") not in (None, vault.ALL, vault.SYSTEM):
            leave_alone_if_inactive(opened, given["tenant"], as_json)
        found, wrong = _made(opened, chosen, given, where, site_url, pdf, as_json)
    if as_json:
        console.as_json(
            [
                {
                    "notebook": notebook,
                    "verdict": found[notebook]["result"]["verdict"],
                    "headline": found[notebook]["result"]["headline"],
                    "page": where.site / found[notebook]["place"] / "index.html",
                }
                for notebook in chosen
                if notebook in found
            ]
        )
    if wrong:
        raise CapacityError(
            wrong.get("message", wrong["error"]), wrong.get("hint", ""), wrong.get("code", ERROR)
        )
    raise typer.Exit(max(result.EXIT_CODES[came["result"]["verdict"]] for came in found.values()))


def _made(
    opened: vault.Vault,
    notebooks: Sequence[str],
    given: Mapping[str, Any],
    where: settings.Settings,
    site_url: str | None,
    pdf: bool,
    quiet: bool,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Make the reports on all processors, and say of each how it ended: what came of each, and of one that did not."""
    from capacity_kit.reporting import fanout, scan
    from capacity_kit.vault import broker

    found: dict[str, dict[str, Any]] = {}
    wrong: dict[str, Any] = {}
    done = [0.0] * len(notebooks)
    with broker.lent(opened) as loan, console.progress(_named(notebooks)) as progress:
        hidden = (*loan.files, *fanout.secret_files())
        jobs = [
            fanout.Job(n, given, where, loan.dsn, site_url=site_url, hidden=hidden, tells=True, pdf=pdf)
            for n in notebooks
        ]

        def tell(number: int, at: int, of: int, section: str) -> None:
            done[number] = at / max(1, of)
            progress(sum(done), f"{notebooks[number]}: {section}", len(notebooks))

        secrets = scan.known(loan.secrets, {opened.server.database, opened.server.role})
        for number, came in fanout.made(jobs, secrets, loan.secrets, tell=tell):
            tell(number, 1, 1, "made")
            if "result" not in came:
                wrong = wrong or came
                continue
            found[notebooks[number]] = came
            if "not printed" in came:
                wrong = wrong or {"error": came["not printed"], "hint": came.get("hint", "")}
            if not quiet:
                headline = units.plain(came["result"]["headline"], 300)
                console.out.print(f"{notebooks[number]}: {came['result']['verdict']}. {headline}")
                console.out.print(f"  {where.site / came['place'] / 'index.html'}")
    return found, wrong


def _named(notebooks: Sequence[str]) -> str:
    return notebooks[0] if len(notebooks) == 1 else f"{len(notebooks)} reports"


def _list_notebooks(known: Mapping[str, Sequence[Any]], as_json: bool) -> None:
    lines = [(name, p.name, p.annotation, p.default, p.description) for name, ps in known.items() for p in ps]
    header = ["notebook", "parameter", "type", "default", "description"]
    if as_json:
        console.as_json([dict(zip(header, line, strict=True)) for line in lines])
    else:
        console.table(header, lines)


def serve(
    site: Annotated[
        Path | None,
        typer.Option(help="Which site. Default: CAPACITY_SITE, else reports/site.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0: any that is free.")] = 8080,
    bind: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="Where to listen. Beyond loopback nobody is asked who they are."
        ),
    ] = "127.0.0.1",
) -> None:
    """Serve the site for a look at it, read only, until Ctrl-C."""
    from capacity_kit.reporting.serve import Server

    with Server(site or settings.load().site, port, bind) as server:
        typer.echo(server.url)
        if not server.is_loopback:
            typer.echo("Whoever reaches this address can read it: nobody is asked for a login.", err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            raise typer.Exit(OK) from None


def index(
    site: Annotated[
        Path | None,
        typer.Option(help="Which site. Default: CAPACITY_SITE, else reports/site.", show_default=False),
    ] = None,
) -> None:
    """Write the site's own pages anew from the reports that are there: after copying some in, or deleting some."""
    from capacity_kit.reporting import index as pages
    from capacity_kit.reporting.site import locked

    root = site or settings.load().site
    with locked(root):
        typer.echo(pages.write(root, afresh=True))


def register(app: typer.Typer) -> None:
    """Add the commands about the site."""
    group = typer.Typer(help="The published site.", no_args_is_help=True, rich_markup_mode=None)
    group.callback()(_site)
    group.command("serve")(serve)
    group.command("index")(index)
    app.add_typer(group, name="site")


def _site() -> None:
    """The published site."""
