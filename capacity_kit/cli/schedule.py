"""Reports that make themselves: capacity run-due, capacity schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from capacity_kit import console, settings, units
from capacity_kit.cli import reports
from capacity_kit.cli.common import Dsn, Json, opened_vault
from capacity_kit.errors import OK

File = Annotated[
    Path | None,
    typer.Option(
        "--schedule",
        metavar="FILE",
        help="The schedule. Default: CAPACITY_SCHEDULE, else the one that comes with the kit.",
        show_default=False,
    ),
]
Target = Annotated[
    Literal["cron", "systemd", "windows", "kubernetes"],
    typer.Option("--target", metavar="cron|systemd|windows|kubernetes", help="Whose entries."),
]
Into = Annotated[
    Path | None,
    typer.Option(
        "--into",
        metavar="FOLDER",
        help="Where the files go; cron has its crontab. Default for systemd: its folder of units, else here.",
        show_default=False,
    ),
]


def _file(given: Path | None) -> Path:
    from capacity_kit.reporting import schedule

    return given or settings.load().schedule or schedule.default()


def run_due(
    dsn: Dsn = None,
    schedule: File = None,
    site: Annotated[
        Path | None,
        typer.Option(help="Where to publish. Default: CAPACITY_SITE, else reports/site.", show_default=False),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Reports made at a time. Default: one a processor.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the reports that are due, each once however many hosts call; what was cut off before is repeated."""
    from capacity_kit.reporting import due
    from capacity_kit.reporting import schedule as plan

    file = _file(schedule)
    read = settings.load()
    where = read.model_copy(update={"site": site}) if site else read
    made = due.run_due(
        plan.load(file),
        folder=file.resolve().parent,
        settings=where,
        dsn=dsn,
        workers=workers,
        tell=None if as_json else _tell,
    )
    if as_json:
        console.as_json(
            [
                {
                    "name": m.run.name,
                    "target": m.run.target,
                    "due_at": m.run.due_at,
                    "state": m.state,
                    "headline": m.headline,
                    "page": m.page,
                    "is_over": m.is_over,
                    "told": m.told,
                }
                for m in made
            ]
        )
    elif not made:
        console.out.print("Nothing is due.")
    raise typer.Exit(max((m.exit_code for m in made), default=OK))


def _tell(made: object) -> None:
    from capacity_kit.reporting.due import Made

    assert isinstance(made, Made)
    whom = f" {made.run.target}" if made.run.target else ""
    again = "" if made.is_over else " (to be tried again)"
    console.out.print(
        units.plain(f"{made.run.name}{whom}: {made.state}{again}. {made.headline}", 400), markup=False
    )
    if made.page:
        console.out.print(f"  {made.page}", markup=False)


def listed(dsn: Dsn = None, schedule: File = None, as_json: Json = False) -> None:
    """List the scheduled reports: when each was made last, what it found, and when it is due next."""
    from capacity_kit.reporting import due
    from capacity_kit.reporting import schedule as plan
    from capacity_kit.vault.runs import Runs

    found = plan.load(_file(schedule))
    with opened_vault(dsn) as opened:
        now = settings.load().as_of or Runs(opened).now()
        lines = list(due.entries(found, opened, now))
    if as_json:
        console.as_json(lines)
        return
    console.table(
        ["report", "for", "cron", "last", "state", "next"],
        [
            (
                line["name"],
                line["target"] or "",
                line["cron"],
                units.at(line["last"], line["timezone"]) if line["last"] is not None else "never",
                line["state"] or "",
                units.at(line["next"], line["timezone"]),
            )
            for line in lines
        ],
    )


def check(
    dsn: Dsn = None,
    schedule: File = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no database: leave tenants and channels unchecked.")
    ] = False,
    as_schema: Annotated[
        bool, typer.Option("--json-schema", help="Print the JSON schema of schedules, for editors.")
    ] = False,
) -> None:
    """Check a schedule: names, cron lines, notebooks, parameters, tenants, channels. Exit code 1 says what is wrong."""
    from capacity_kit.reporting import due
    from capacity_kit.reporting import schedule as plan

    if as_schema:
        typer.echo(plan.json_schema(), nl=False)
        return
    file = _file(schedule)
    found = plan.load(file)
    if offline:
        due.require(found, file.resolve().parent, None)
    else:
        with opened_vault(dsn) as opened:
            due.require(found, file.resolve().parent, opened)
    console.out.print(f"{file}: {len(found.reports)} reports, nothing wrong with them.", markup=False)
    for remark in due.remarks(found):
        console.out.print(remark, markup=False)


def install(
    target: Target,
    dsn: Dsn = None,
    schedule: File = None,
    into: Into = None,
    printed: Annotated[bool, typer.Option("--print", help="Print them, and change nothing.")] = False,
) -> None:
    """Have the host's own scheduler do the work: write its entries, in place of earlier ones.

    They are about the database that --dsn or CAPACITY_DSN names, else about the schedule's install.database.
    """
    from capacity_kit.reporting import schedule as plan
    from capacity_kit.reporting import timers

    file = _file(schedule)
    made = timers.entries(plan.load(file), target, _call(target, schedule, dsn))
    if printed:
        for name, text in made.items():
            if target != "cron":
                typer.echo(f"# {name}")
            typer.echo(text, nl=False)
        for line in timers.elsewhere(target):
            typer.echo(line, err=True)
        return
    for line in timers.install(target, made, into):
        console.out.print(line, markup=False)


def uninstall(target: Target, schedule: File = None, into: Into = None) -> None:
    """Take the entries out again that install wrote; nothing else."""
    from capacity_kit.reporting import schedule as plan
    from capacity_kit.reporting import timers

    made = timers.entries(plan.load(_file(schedule)), target, [])
    for line in timers.uninstall(target, made, into):
        console.out.print(line, markup=False)


def _call(target: Target, schedule: Path | None, dsn: str | None) -> list[str]:
    """What follows ``capacity run-due`` in an entry, so that it does what this command would."""
    from capacity_kit.reporting import timers
    from capacity_kit.vault.connection import without_secrets

    read = settings.load()
    if dsn:
        dsn = without_secrets(dsn, "--dsn")
    elif read.dsn:
        dsn = without_secrets(read.dsn.get_secret_value(), "CAPACITY_DSN")
    named = schedule or read.schedule
    # Another system has none of this one's folders: there, its own settings name them.
    is_here = not timers.elsewhere(target)
    return [
        *(["--schedule", str(named.resolve())] if named and (is_here or target == "kubernetes") else []),
        *(["--dsn", dsn] if dsn else []),
        *(["--site", str(read.site.absolute())] if is_here and target != "kubernetes" else []),
    ]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("run-due")(run_due)
    group = typer.Typer(
        help="Reports that make themselves: what is made when.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command("list")(listed)
    group.command("check")(check)
    group.command("install")(install)
    group.command("uninstall")(uninstall)
    app.add_typer(group, name="schedule")
    reports.register(app)
