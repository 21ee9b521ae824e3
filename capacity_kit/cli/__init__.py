"""The front door: thin commands over the rooms, a module a group of them."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from rich.text import Text

from capacity_kit import __version__, console, units
from capacity_kit.cli import alerts, analysis, judging, measuring, reports, schedule, server, tuning
from capacity_kit.errors import ERROR, OK, CapacityError
from capacity_kit.vault import connection

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
handling = typer.Typer(
    help="Alerts: look at them, answer for them, and send what they have to say.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

for command in (
    server.up,
    server.down,
    server.deploy,
    server.verify,
    measuring.capture,
    measuring.simulate,
    analysis.analyze,
    judging.evaluate,
    judging.status,
    tuning.tune,
    measuring.register,
    reports.report,
):
    app.command()(command)
imports.command("csv")(measuring.import_csv)
app.add_typer(imports, name="import")
schedule.register(app)
_HANDLING: dict[str, Callable[..., None]] = {
    "list": alerts.listed,
    "show": alerts.show,
    "ack": alerts.acknowledge,
    "resolve": alerts.resolve,
    "verdict": alerts.verdict,
    "record": alerts.record,
    "mute": alerts.mute,
    "unmute": alerts.unmute,
    "maintenance": alerts.maintenance,
    "calendar": alerts.calendar,
    "send": alerts.send,
    "dead": alerts.dead,
    "requeue": alerts.requeue,
    "channels": alerts.channels,
}
for name, handle in _HANDLING.items():
    handling.command(name)(handle)
app.add_typer(handling, name="alerts")


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
