"""Alerts, and whom they reach: capacity alerts."""

from __future__ import annotations

import getpass
import signal
import threading
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from typing import Annotated, Any

import pandas as pd
import typer
from rich.text import Text

from capacity_kit import console, settings, units, vault
from capacity_kit.cli.common import (
    SHOWN,
    AsOf,
    Dsn,
    Json,
    Tenant,
    moment,
    opened_vault,
    records,
    resource,
    span,
    whose,
)
from capacity_kit.errors import ATTENTION, OK, USAGE, CapacityError
from capacity_kit.vault import Vault, alerts, outbox

Ids = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...", help="From capacity alerts list; as much of it as no other has.", show_default=False
    ),
]
Id = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="From capacity alerts list; as much of it as no other has.", show_default=False
    ),
]
By = Annotated[
    str | None, typer.Option("--by", help="Who says so. Default: your login name.", show_default=False)
]
Note = Annotated[str | None, typer.Option("--note", help="For whoever looks next.", show_default=False)]
Why = Annotated[str | None, typer.Option("--reason", help="Why, for whoever asks later.", show_default=False)]
Kind = Annotated[
    str | None,
    typer.Option("--type", help="One resource type, such as STORAGE. Default: all.", show_default=False),
]


def me(by: str | None) -> str:
    """Who acts: as said, else the login name."""
    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise CapacityError("This session has no login name", "Say who you are: --by NAME", USAGE) from None


def _zone() -> str:
    return settings.load().timezone


def listed(
    dsn: Dsn = None,
    tenant: Tenant = vault.ALL,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are resolved.")] = False,
    since: Annotated[
        timedelta | None,
        typer.Option(
            parser=span,
            metavar="LENGTH",
            show_default=False,
            help="With --all: resolved ones raised since, such as 7d.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the alerts that are open, the gravest first; each has a short id to type."""
    with opened_vault(dsn) as opened:
        begin = datetime.now(UTC) - since if since else None
        found = alerts.listed(
            opened,
            tenant,
            resolved_too=everything or since is not None,
            since=begin,
            most=None if as_json else SHOWN,
        )
        last = alerts.evaluated(opened)
    if as_json:
        console.as_json(found.drop(columns=["in_all", "in_all_open"]))
        return
    if not last["evaluation_id"]:
        raise CapacityError("Nothing was evaluated yet, so there are no alerts", "Run: capacity evaluate")
    if found.empty:
        console.out.print("There is no alert." if everything else "No alert is open.")
    else:
        console.table(
            ["id", "severity", "status", "tenant", "resource", "what", "raised", "by"],
            [
                (
                    row.id,
                    row.severity,
                    _standing(row),
                    whose(row),
                    resource(row),
                    _what(row),
                    units.at(row.raised_at, _zone()),
                    _who(row),
                )
                for row in console.rows(found)
            ],
        )
        more = int(found["in_all"].iloc[0]) - len(found)
        if more:
            console.out.print(f"and {more:,} more: --json has them all.")
        still = int(found["in_all_open"].iloc[0])
        if still:
            console.out.print(f"{still:,} open: capacity alerts ack ID says that you are at it.")
    if last["now"] - last["evaluated_at"] > pd.Timedelta(seconds=3 * last["interval_seconds"]):
        console.out.print(
            f"The last evaluation is of {units.at(last['evaluated_at'], _zone())}: what happened since is not here."
        )


def _standing(row: Any) -> str:
    if row.status == "OPEN" and row.escalations:
        return f"OPEN, escalated {row.escalations}×"
    return str(row.status)


def _what(row: Any) -> str:
    """What the alert is about, in a few words."""
    if row.condition == "ABSENCE":
        return f"nothing measured for {units.number(row.value_at_raise)} minutes"
    if row.condition == "RUNWAY":
        left = "no time" if row.value_at_raise < 1 else units.days(row.value_at_raise)
        return f"{left} left, {row.threshold_name}"
    peak = "" if pd.isna(row.peak) else f", peak {units.percent(row.peak)}"
    return f"{units.percent(row.value_at_raise)} at {units.percent(row.level)}{peak}"


def _who(row: Any) -> str:
    for by in (row.resolved_by, row.acknowledged_by):
        if not pd.isna(by):
            return str(by)
    return ""


def show(alert: Id, dsn: Dsn = None, as_json: Json = False) -> None:
    """Show all that is known of an alert, and whom was told of it."""
    with opened_vault(dsn) as opened:
        found, told = alerts.show(opened, alert)
    if as_json:
        row = pd.DataFrame([found])
        console.as_json({**records(row)[0], "notifications": records(told)})
        return
    zone = _zone()
    times = {name for name, value in found.items() if isinstance(value, pd.Timestamp)}
    lines = [
        (
            "key" if name == "alert" else str(name).replace("_", " "),
            units.at(value, zone) if name in times else _plain(value),
        )
        for name, value in found.drop(["id", "threshold", "tenant_hk"]).items()
        if not units.missing(value) and (name != "is_simulated" or value)
    ]
    lines.sort(key=lambda line: line[0] == "key")  # what people type stands above, the whole key below
    console.table(["alert", str(found["id"])], lines, prose=True)
    if found["status"] == "OPEN":
        console.out.print(f"capacity alerts ack {found['id']} says that you are at it.")
    console.out.print()
    if told.empty:
        console.out.print("Nobody was told of it.")
    else:
        console.table(
            ["told", "kind", "channel", "contact", "state", "attempts", "last error"],
            [
                (
                    units.at(row.sent_at if row.state == "SENT" else row.queued_at, zone),
                    row.kind,
                    row.channel,
                    row.contact,
                    row.state,
                    row.attempts,
                    row.last_error,
                )
                for row in console.rows(told)
            ],
            prose=True,
        )


def _plain(value: Any) -> str:
    if isinstance(value, pd.Timedelta):
        return f"{units.number(value / pd.Timedelta(hours=1))} hours"
    return units.number(value, 6) if isinstance(value, float) else str(value)


def acknowledge(which: Ids, dsn: Dsn = None, by: By = None, note: Note = None, as_json: Json = False) -> None:
    """Say that you are at it: the alert escalates no further, nor all else that the same message told of."""
    with opened_vault(dsn) as opened, opened.transaction():
        done, more = alerts.acknowledge_all(opened, which, me(by), note)
        _tell(opened, done, "acknowledged", as_json)
        if more and not as_json:
            console.out.print(f"and {more:,} more that the same message told of.")


def resolve(
    which: Ids,
    dsn: Dsn = None,
    by: By = None,
    note: Note = None,
    how: Annotated[
        str | None,
        typer.Option(
            metavar="added|cut",
            show_default=False,
            help="Capacity was added, or usage cut: the alert then counts neither as true nor as false.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say that it is over, and tell whom the alert was told. A breach that goes on raises a new one."""
    with opened_vault(dsn) as opened, opened.transaction():
        done = [alerts.resolve(opened, typed, me(by), note, how) for typed in which]  # type: ignore[arg-type]
        _tell(opened, done, "resolved", as_json)


def verdict(
    which: Id,
    judged: Annotated[
        str,
        typer.Argument(
            metavar="true|false-positive", help="Whether it was worth waking up for.", show_default=False
        ),
    ],
    dsn: Dsn = None,
    by: By = None,
    reason: Why = None,
    as_json: Json = False,
) -> None:
    """Say whether an alert was true; it stands against what the database would find."""
    with opened_vault(dsn) as opened, opened.transaction():
        done = alerts.judge(opened, which, judged, me(by), reason)
        _tell(opened, [done], f"judged {judged}", as_json)


def _tell(opened: Vault, done: list[str], what: str, as_json: bool) -> None:
    """Say of each alert what was done to it."""
    found = [alerts.show(opened, alert)[0] for alert in dict.fromkeys(done)]
    if as_json:
        console.as_json(records(pd.DataFrame(found)))
        return
    for row in found:
        name = f"{row['tenant']} {row['resource_type']} {row['resource_name']}"
        console.out.print(units.plain(f"{row['id']} is {what}: {name}, {row['threshold_name']}.", 400))


def record(
    dsn: Dsn = None,
    tenant: Tenant = vault.ALL,
    kind: Kind = None,
    as_of: AsOf = None,
    as_json: Json = False,
) -> None:
    """Show what became of the alerts of a year, by threshold: verdicts, rates, lead time, and why a rate is missing."""
    with opened_vault(dsn) as opened:
        found = alerts.record(
            opened, tenant, resource_type=kind or vault.ALL, as_of=opened.as_of(as_of) or datetime.now(UTC)
        )
        last = alerts.evaluated(opened)
    if as_json:
        console.as_json(found.drop(columns="tenant_name"))
        return
    if not last["evaluation_id"]:
        raise CapacityError("Nothing was evaluated yet, so nothing is on record", "Run: capacity evaluate")
    if found.empty:
        console.out.print("No alert was raised in 365 days, and nothing was reached.")
        return
    console.table(
        ["tenant", "threshold", "alerts", "of these", "false positives", "recall", "lead time"],
        [
            (
                whose(row),
                row.threshold_name,
                row.alerts,
                _became(row),
                _rate(row.false_positive_rate, row.false_positives_lacking),
                _rate(row.true_positive_rate, row.recall_lacking),
                units.DASH if pd.isna(row.lead_hours) else f"{units.number(row.lead_hours)} h",
            )
            for row in console.rows(found.head(SHOWN))
        ],
        prose=True,
    )
    if len(found) > SHOWN:
        console.out.print(f"and {len(found) - SHOWN:,} more: --json has them all.")
    given = units.count(int(found["by_operators"].sum()), "verdict")
    console.out.print(f"Operators gave {given}; capacity alerts verdict ID gives one.")


def _became(row: Any) -> str:
    """What became of a threshold's alerts, in counts: '3 true, 1 open'."""
    counts = {
        "true": row.true_alerts,
        "false": row.false_alerts,
        "open": row.open_alerts,
        "censored": row.censored_alerts,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def _rate(percent: Any, lacking: Any) -> str:
    return f"{units.DASH} ({lacking})" if pd.isna(percent) else units.percent(percent)


def mute(
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]", help="An alert: its threshold for its resource is muted.", show_default=False
        ),
    ] = None,
    length: Annotated[
        timedelta | None,
        typer.Option(
            "--for", parser=span, metavar="LENGTH", show_default=False, help="How long, such as 8h or 2d."
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            parser=moment, metavar="TIME", show_default=False, help="Until when; UTC unless it says."
        ),
    ] = None,
    threshold: Annotated[
        str | None, typer.Option(metavar="NAME", help="A threshold by its name.", show_default=False)
    ] = None,
    tenant: Tenant = vault.ALL,
    kind: Kind = None,
    name: Annotated[str | None, typer.Option(help="One resource's name.", show_default=False)] = None,
    dsn: Dsn = None,
    by: By = None,
    reason: Why = None,
    as_json: Json = False,
) -> None:
    """Hold alerts back for a while; what still lasts when it is over is alerted then."""
    if (length is None) == (until is None):
        raise CapacityError("Say until when: --for 8h, or --until TIME", exit_code=USAGE)
    if which is None and threshold is None and tenant == vault.ALL and kind is None and name is None:
        raise CapacityError(
            "Say what: an alert's id, --threshold, --tenant, --type or --name", exit_code=USAGE
        )
    if which is not None and (threshold or kind or name or tenant != vault.ALL):
        raise CapacityError("An alert's id says it all", "Leave out the other options.", USAGE)
    with opened_vault(dsn) as opened:
        end = until or datetime.now(UTC) + (length or timedelta())
        numbers = alerts.mute(
            opened,
            end,
            me(by),
            alert=which,
            threshold=threshold,
            tenant=tenant,
            resource_type=kind,
            resource_name=name,
            reason=reason,
        )
    if as_json:
        console.as_json({"mutes": numbers, "until": end})
    else:
        ended_by = " ".join(map(str, numbers))
        console.out.print(f"Muted until {units.at(end, _zone())}; capacity alerts unmute {ended_by} ends it.")


def unmute(
    numbers: Annotated[
        list[int] | None,
        typer.Argument(metavar="[NUMBER]...", help="Which; without one they are listed.", show_default=False),
    ] = None,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """End mutes, or list those that hold."""
    with opened_vault(dsn) as opened, opened.transaction():
        for number in numbers or ():
            alerts.unmute(opened, number)
        found = alerts.mutes(opened)
    if as_json:
        console.as_json(found)
    elif numbers:
        for number in numbers:
            console.out.print(f"Mute {number} is over.")
    elif found.empty:
        console.out.print("Nothing is muted.")
    else:
        console.table(
            ["number", "what", "from", "until", "by", "reason"],
            [
                (
                    row.mute_id,
                    _covered(row, row.threshold_name),
                    units.at(row.from_at, _zone()),
                    units.at(row.until_at, _zone()),
                    row.muted_by,
                    row.reason,
                )
                for row in console.rows(found)
            ],
        )


def maintenance(
    starts: Annotated[
        datetime | None,
        typer.Option(
            "--from", parser=moment, metavar="TIME", show_default=False, help="From when; UTC unless it says."
        ),
    ] = None,
    ends: Annotated[
        datetime | None,
        typer.Option(
            "--until",
            parser=moment,
            metavar="TIME",
            show_default=False,
            help="Until when; UTC unless it says.",
        ),
    ] = None,
    tenant: Tenant = vault.ALL,
    kind: Kind = None,
    every_weeks: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="WEEKS",
            show_default=False,
            help="Again so often, at the same local time.",
        ),
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(help="Whose local time. Default: the business calendar's.", show_default=False),
    ] = None,
    cancel: Annotated[
        int | None, typer.Option(metavar="NUMBER", show_default=False, help="Take a window back.")
    ] = None,
    dsn: Dsn = None,
    by: By = None,
    reason: Why = None,
    as_json: Json = False,
) -> None:
    """Declare maintenance, during which alerts wait; without --from and --until: list what is declared."""
    if (starts is None) != (ends is None) or (cancel is not None and starts is not None):
        raise CapacityError(
            "A window is --from TIME --until TIME; another is taken back by --cancel", exit_code=USAGE
        )
    with opened_vault(dsn) as opened:
        number = cancel
        if cancel is not None:
            alerts.cancel(opened, cancel)
        elif starts is not None and ends is not None:
            number = alerts.declare(
                opened,
                starts,
                ends,
                me(by),
                tenant=tenant,
                resource_type=kind,
                repeat_weeks=every_weeks,
                time_zone=zone,
                reason=reason,
            )
        found = alerts.windows(opened)
    if as_json:
        console.as_json(found)
    elif cancel is not None:
        console.out.print(f"Maintenance {number} is taken back.")
    elif number is not None:
        console.out.print(
            f"Maintenance {number} is declared from {units.at(starts, _zone())} until {units.at(ends, _zone())}; "
            f"capacity alerts maintenance --cancel {number} takes it back."
        )
    elif found.empty:
        console.out.print("No maintenance is declared.")
    else:
        console.table(
            ["number", "what", "from", "until", "repeated", "by", "reason"],
            [
                (
                    row.maintenance_id,
                    _covered(row),
                    units.at(row.starts_at, row.time_zone),
                    units.at(row.ends_at, row.time_zone),
                    _repeated(row.repeat_weeks),
                    row.declared_by,
                    row.reason,
                )
                for row in console.rows(found)
            ],
        )


def _repeated(weeks: Any) -> str:
    if units.missing(weeks):
        return "once"
    return "every week" if weeks == 1 else f"every {weeks} weeks"


def _covered(row: Any, threshold: Any = None) -> str:
    """What a mute or a window is about, in a few words."""
    named = [threshold, row.tenant, row.resource_type, getattr(row, "resource_name", None)]
    return " ".join(str(part) for part in named if not units.missing(part)) or "everything"


def calendar(
    country: Annotated[
        str | None,
        typer.Argument(
            metavar="[COUNTRY]", help="Fill in its holidays: a code such as DE.", show_default=False
        ),
    ] = None,
    subdivision: Annotated[
        str | None, typer.Option(help="A part of the country, such as BY.", show_default=False)
    ] = None,
    years: Annotated[
        int,
        typer.Option(
            min=1, max=20, help="The year before, for what is replayed, and so many from this one on."
        ),
    ] = 2,
    tenant: Annotated[str, typer.Option(help="Whose calendar: ALL, or a tenant's key.")] = vault.ALL,
    zone: Annotated[str | None, typer.Option(help="Its time zone.", show_default=False)] = None,
    days: Annotated[
        str | None,
        typer.Option(metavar="Mon-Fri", help="Working days, such as Mon-Thu,Sat.", show_default=False),
    ] = None,
    hours: Annotated[
        str | None, typer.Option(metavar="09:00-17:00", help="Business hours.", show_default=False)
    ] = None,
    night: Annotated[
        str | None,
        typer.Option(metavar="22:00-06:00", help="When a page wakes somebody.", show_default=False),
    ] = None,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Show the business calendars, set one, or fill in a country's holidays."""
    from capacity_kit.alerting import calendar as holidays

    if tenant == vault.SYSTEM:
        raise CapacityError("The system keeps everyone's calendar", "Leave out --tenant.", USAGE)
    with opened_vault(dsn) as opened, opened.transaction():
        owner = opened.tenant(tenant)
        if zone or days or hours or night:
            alerts.set_calendar(
                opened,
                owner,
                time_zone=zone,
                working_days=_days(days),
                hours=_hours("--hours", hours),
                night=_hours("--night", night),
            )
        written = 0
        if country:
            first = (opened.as_of(None) or datetime.now(UTC)).year
            written = holidays.fill(opened, owner, country, subdivision, range(first - 1, first + years))
        found = alerts.calendars(opened)
    if as_json:
        console.as_json(found)
        return
    if country:
        console.out.print(f"New holidays of {country.upper()}: {written:,}.")
    console.table(
        ["whose", "time zone", "working days", "hours", "night", "holidays ahead", "next"],
        [
            (
                row.tenant,
                row.time_zone,
                _named(row.working_days),
                f"{row.opens:%H:%M}-{row.closes:%H:%M}",
                f"{row.night_from:%H:%M}-{row.night_to:%H:%M}",
                row.holidays_ahead,
                row.next_holiday,
            )
            for row in console.rows(found)
        ],
    )


_WEEK = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _days(text: str | None) -> list[int] | None:
    """Working days as they are typed, 1,2,3 or Mon-Fri,Sun, by their ISO numbers."""
    if text is None:
        return None
    known = {**{name: n for n, name in enumerate(_WEEK, 1)}, **{str(n): n for n in range(1, 8)}}
    found: set[int] = set()
    for part in text.split(","):
        first, *rest = (known.get(end.strip().capitalize(), 0) for end in part.split("-"))
        last = rest[0] if len(rest) == 1 else 0 if rest else first
        if not 0 < first <= last:
            raise CapacityError(
                f"--days is such as Mon-Fri or 1,2,3,4,5, not {units.plain(text, 40)!r}", exit_code=USAGE
            )
        found.update(range(first, last + 1))
    return sorted(found)


def _named(days: list[int]) -> str:
    """Working days as `_days` reads them: Mon-Fri, or Mon,Wed."""
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ",".join(
        f"{_WEEK[run[0] - 1]}-{_WEEK[run[-1] - 1]}" if len(run) > 2 else ",".join(_WEEK[n - 1] for n in run)
        for run in runs
    )


def _hours(option: str, text: str | None) -> tuple[clock, clock] | None:
    if text is None:
        return None
    try:
        begin, end = (clock.fromisoformat(part.strip()) for part in text.split("-"))
    except ValueError:
        raise CapacityError(
            f"{option} is such as 09:00-17:00, not {units.plain(text, 40)!r}", exit_code=USAGE
        ) from None
    return begin, end


def send(
    dsn: Dsn = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until interrupted, whatever the server does meanwhile.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="With --watch: how often to look.")
    ] = 5,
    as_json: Json = False,
) -> None:
    """Send what is due; exit code 3 when something could not be delivered. For cron, or with --watch for a service."""
    from capacity_kit.alerting import delivery

    with opened_vault(dsn) as opened:
        box = outbox.Outbox(opened)
        if watch:
            stop = threading.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
            delivery.watch(
                box, every=every, stop=stop, tell=lambda done: _tell_sent(done, as_json, quiet=True)
            )
            return
        done = delivery.send_due(box)
    _tell_sent(done, as_json)
    raise typer.Exit(ATTENTION if done.later or done.dead or done.heartbeat is False else OK)


def _tell_sent(done: Any, as_json: bool, *, quiet: bool = False) -> None:
    """Say what became of what was due; `quiet`: nothing, when nothing was."""
    nothing = not (done.sent or done.later or done.dead) and done.heartbeat is None
    if quiet and nothing:
        return
    if as_json:
        console.as_json(asdict(done))
        return
    if nothing:
        console.out.print("Nothing was due.")
        return
    said = [f"{done.sent:,} sent", f"{done.later:,} to be tried again", units.count(done.dead, "dead letter")]
    heart = {True: "; the heartbeat went out", False: "; the heartbeat did not go out", None: ""}[
        done.heartbeat
    ]
    console.out.print(f"{', '.join(said)}{heart}.")
    for trouble in done.troubles:
        console.err.print(Text(units.plain(trouble, 400), style="yellow"))


def dead(dsn: Dsn = None, as_json: Json = False) -> None:
    """List what reached nobody: dead letters, and what still waits; exit code 3 when there are dead letters."""
    with opened_vault(dsn) as opened:
        found = outbox.Outbox(opened).state()
    if as_json:
        console.as_json(found)
    elif found.empty:
        console.out.print("Nothing waits, and there are no dead letters.")
    else:
        console.table(
            ["key", "state", "queued", "kind", "channel", "contact", "subject", "attempts", "last error"],
            [
                (
                    row.key,
                    row.state,
                    units.at(row.queued_at, _zone()),
                    row.kind,
                    row.channel,
                    row.contact,
                    row.subject,
                    row.attempts,
                    row.last_error,
                )
                for row in console.rows(found.head(SHOWN))
            ],
        )
        if len(found) > SHOWN:
            console.out.print(f"and {len(found) - SHOWN:,} more: --json has them all.")
        if found["state"].eq("DEAD").any():
            console.out.print(
                "capacity alerts requeue KEY sends a dead letter again; --all sends all of them."
            )
    raise typer.Exit(ATTENTION if len(found) and found["state"].eq("DEAD").any() else OK)


def requeue(
    key: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="From capacity alerts dead.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every dead letter.")] = False,
    dsn: Dsn = None,
    as_json: Json = False,
) -> None:
    """Send a dead letter again, under its old key."""
    if everything == (key is not None):
        raise CapacityError("Say which, or --all", "See: capacity alerts dead", USAGE)
    with opened_vault(dsn) as opened:
        count = outbox.Outbox(opened).requeue(key)
    if as_json:
        console.as_json({"requeued": count})
    else:
        console.out.print(f"{count:,} will be sent again by: capacity alerts send")


def channels(
    dsn: Dsn = None,
    test: Annotated[
        str | None,
        typer.Option(
            "--test", metavar="NAME", help="Queue a test message to this channel.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the channels: which are told by default, and which have an address here; addresses are never shown."""
    from capacity_kit.alerting import delivery

    with opened_vault(dsn) as opened:
        if test:
            key = outbox.Outbox(opened).enqueue_test(test.upper())
            if as_json:
                console.as_json({"key": key})
            else:
                console.out.print(f"A test message to {test.upper()} is queued: capacity alerts send")
            return
        known = alerts.channels(opened)
    addresses = set(delivery.channels())
    known["has_address"] = known["name"].isin(addresses)
    if as_json:
        console.as_json(known)
        return
    console.table(
        ["channel", "by default", "address here", "description"],
        [
            (
                row.name,
                "yes" if row.is_default else "",
                "yes" if row.has_address else "no: CAPACITY_CHANNEL_" + str(row.name),
                row.description,
            )
            for row in known.itertuples(index=False)
        ],
        prose=True,
    )
