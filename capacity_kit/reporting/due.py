"""What is due is made, each report once: however many hosts call, and whatever became of the calls before.

The order of things is what holds. A run is held by a lock that its host's end lets go of; that it begins is committed
first; the page is published by an atomic rename; and that it is there is recorded in one transaction with the
notifications that tell of it. Cut off anywhere, the next call finds a beginning without an end and repeats the run,
to the same place, with the same keys.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final

import pandas as pd

from capacity_kit import console, units, vault
from capacity_kit.alerting import channels
from capacity_kit.errors import CapacityError
from capacity_kit.reporting import changes, fanout, index, parameters, run, scan, site
from capacity_kit.reporting import schedule as plan
from capacity_kit.reporting.parameters import Parameter
from capacity_kit.reporting.result import EXIT_CODES, MOOD_WORDS, Kpi, Result
from capacity_kit.reporting.schedule import Report, Schedule
from capacity_kit.settings import Settings
from capacity_kit.vault import Vault, alerts, broker
from capacity_kit.vault.runs import Run, Runs

CUT_OFF: Final = 3
"""Attempts that may be cut off before one is made alone, the last: a run that kills its host is not begun for ever."""

_LARGEST_ATTACHMENT: Final = 8 << 20
"""Bytes: what most mail servers take, encoded; a page is a fraction of it."""

_SEVERITY: Final = {"ok": "INFO", "at risk": "WARNING", "cannot be trusted": "WARNING", "failed": "CRITICAL"}

Tell = Callable[["Made"], None]


@dataclass(frozen=True)
class Made:
    """What became of an attempt at a run.

    Attributes
    ----------
    run : Run
        Which.
    state : str
        'ok', 'at risk', 'cannot be trusted' or 'failed'.
    headline : str
        One sentence.
    page : Path or None
        What was published.
    is_over : bool
        False: another attempt follows.
    told : int
        How many recipients a message was queued for.
    """

    run: Run
    state: str
    headline: str
    page: Path | None
    is_over: bool
    told: int

    @property
    def exit_code(self) -> int:
        """What a command that made this alone should exit with."""
        return EXIT_CODES[self.state]  # type: ignore[index]


def declared(schedule: Schedule, folder: Path) -> dict[str, list[Parameter]]:
    """The parameters of the notebooks that come with the kit, and of those that the schedule names beside itself."""
    known = run.available()
    for report in schedule.reports:
        file = _notebook(report, folder)
        if report.notebook not in known and Path(file).is_file():
            known[report.notebook] = parameters.declared(run.load(Path(file)), Path(file).stem)
    return known


def _notebook(report: Report, folder: Path) -> str:
    """A notebook as `run` finds it: a file beside the schedule by its whole path, else a name."""
    return (
        str((folder / report.notebook).resolve()) if report.notebook.endswith(".ipynb") else report.notebook
    )


def targets(report: Report, opened: Vault) -> list[str]:
    """What a report is fanned out to at this moment; one empty target where it is not."""
    fanned, values = plan.fanned_over(report)
    if not fanned:
        return [""]
    if values:
        return values
    if fanned == "tenant":
        tenants = opened.tenants()
        return [str(key) for key in tenants.loc[tenants["is_active"].astype(bool), "tenant_bk"]]
    return [str(kind) for kind in opened.read("report_types")["resource_type"]]


def due(
    schedule: Schedule,
    fanned: Mapping[str, Sequence[str]],
    since: Mapping[tuple[str, str], datetime],
    state: pd.DataFrame,
    now: datetime,
) -> list[Run]:
    """What is to be made at `now`, the oldest first.

    Of each report and target that is its newest time, unless it is over or lies before its line was there: after a
    downtime one run catches up. Recent runs that were cut off or wait for another attempt are there too.

    Parameters
    ----------
    schedule : Schedule
        The schedule.
    fanned : mapping
        Targets by report.
    since : mapping
        By report and target, from when on times count.
    state : DataFrame
        From `Runs.state`.
    now : datetime
        Aware.
    """
    known: dict[tuple[str, str], dict[datetime, bool]] = {}
    waiting: set[Run] = set()
    for row in console.rows(state):
        at = row.due_at.to_pydatetime()
        known.setdefault((row.name, row.target), {})[at] = bool(row.is_over)
        if not row.is_over and (pd.isna(row.next_at) or row.next_at <= now):
            waiting.add(Run(at, row.name, row.target))
    found = set()
    for report in schedule.reports:
        newest = plan.last_time(report.cron, schedule.zone(report), now)
        for target in fanned.get(report.name, ()):
            place = (report.name, target)
            found |= {run for run in waiting if (run.name, run.target) == place}
            if newest and newest > since.get(place, now) and newest not in known.get(place, {}):
                found.add(Run(newest, *place))
    return sorted(found)


def run_due(
    schedule: Schedule,
    *,
    folder: Path,
    settings: Settings,
    dsn: str | None = None,
    workers: int | None = None,
    tell: Tell | None = None,
) -> list[Made]:
    """Make what is due; what another host makes meanwhile is left to it.

    Parameters
    ----------
    schedule : Schedule
        From `capacity_kit.reporting.schedule.load`.
    folder : Path
        Where the schedule's file is: notebooks are named from there.
    settings : Settings
        Where to publish. With ``as_of`` that is the time by which things are due, else the server's clock is.
    dsn : str, optional
        The database; see `capacity_kit.vault.open`.
    workers : int, optional
        Reports made at a time; default: one a processor.
    tell : callable, optional
        Told of each as it ends.

    Raises
    ------
    CapacityError
        If the database cannot be reached or the schema is not there. What is wrong with a report is its own failure.
    """
    made: list[Made] = []
    with vault.open(dsn) as opened:
        opened.require_deployed()
        runs = Runs(opened)
        now = settings.as_of or runs.now()
        fanned = {report.name: targets(report, opened) for report in schedule.reports}
        since = registered(schedule, fanned, runs, now)
        state = runs.state(now)
        alone = _suspects(state)
        pending = sorted(due(schedule, fanned, since, state, now), key=lambda todo: (todo in alone, todo))
        reports = {report.name: report for report in schedule.reports}
        if not pending:
            return []
        host = f"{socket.gethostname()}:{os.getpid()}"
        count = workers or os.cpu_count() or 1
        with ExitStack() as held:
            loan = held.enter_context(broker.lent(opened))
            making = _Making(opened, dsn, loan, settings, schedule, folder, host)
            held.callback(making.stop)
            while pending or making.active:
                while pending and len(making.active) < count:
                    if making.active and pending[0] in alone:
                        break
                    todo = pending.pop(0)
                    try:
                        made += making.begin(todo, reports[todo.name], tell)
                    except CapacityError:
                        if not making.active:
                            raise
                        # No connection is free, perhaps: after the next one that ends.
                        pending.insert(0, todo)
                        break
                made += making.wait(tell)
    return made


def _suspects(state: pd.DataFrame) -> set[Run]:
    """Runs that were cut off as often as is borne: the next attempt is made alone, for which of them was to blame."""
    return {
        Run(row.due_at.to_pydatetime(), row.name, row.target)
        for row in console.rows(state)
        if not row.is_over and row.cut_off >= CUT_OFF
    }


def registered(
    schedule: Schedule, fanned: Mapping[str, Sequence[str]], runs: Runs, now: datetime
) -> dict[tuple[str, str], datetime]:
    """Make the schedule's reports known to the database; from when on each counts."""
    known = runs.register(
        [
            {"name": r.name, "target": target, "cron": r.cron, "time_zone": schedule.zone(r)}
            for r in schedule.reports
            for target in fanned[r.name]
        ],
        now,
    )
    return {(row.name, row.target): row.since.to_pydatetime() for row in console.rows(known)}


@dataclass
class _Active:
    """A run that is being made: its lock, its worker."""

    run: Run
    report: Report
    attempt: int
    held: ExitStack
    runs: Runs
    worker: Any = None
    """A `fanout.Worker`, once it is at it."""


class _Making:
    """The runs that this process makes at present."""

    def __init__(
        self,
        opened: Vault,
        dsn: str | None,
        loan: broker.Loan,
        settings: Settings,
        schedule: Schedule,
        folder: Path,
        host: str,
    ) -> None:
        self.active: dict[Connection, _Active] = {}
        self._opened, self._dsn, self._settings = opened, dsn, settings
        self._schedule, self._folder, self._host = schedule, folder, host
        self._workers = fanout.Workers()
        self._loan = loan
        self._secrets = scan.known(loan.secrets, {opened.server.database, opened.server.role})

    def begin(self, todo: Run, report: Report, tell: Tell | None) -> list[Made]:
        """Begin a run, if no other host has it; what ended at once."""
        held = ExitStack()
        try:
            store = Runs(held.enter_context(vault.open(self._dsn)))
            if not held.enter_context(store.held(todo)):
                held.close()
                return []
            begun = Runs(self._opened).begin(todo, self._host)
            if begun is None:
                held.close()
                return []
            attempt, cut_off = begun
            one = _Active(todo, report, attempt, held, store)
            if cut_off > CUT_OFF:
                return self._end(
                    one, {"error": f"{cut_off} attempts were cut off before their end", "last": True}, tell
                )
            one.worker = self._workers.start(self._job(todo, report), self._secrets, self._loan.secrets)
            self.active[one.worker.answers] = one
        except BaseException:
            held.close()
            raise
        return []

    def _job(self, todo: Run, report: Report) -> fanout.Job:
        fanned, _ = plan.fanned_over(report)
        return fanout.Job(
            notebook=_notebook(report, self._folder),
            parameters={**report.parameters, **({fanned: todo.target} if fanned else {})},
            settings=self._settings.model_copy(
                update={"as_of": todo.due_at, "site": self._settings.site.absolute()}
            ),
            dsn=self._loan.dsn,
            run_timeout=plan.seconds(report.timeouts.run),
            cell_timeout=plan.seconds(report.timeouts.cell),
            memory=report.memory_mb << 20,
            site_url=self._schedule.site_url,
            pdf=report.pdf,
            hidden=(*self._loan.files, *fanout.secret_files()),
        )

    def wait(self, tell: Tell | None) -> list[Made]:
        """Wait for a run to end, and record those that did."""
        if not self.active:
            return []
        next_end = min(one.worker.deadline for one in self.active.values())
        ready = wait(list(self.active), max(0.0, next_end - time.monotonic()))
        made = []
        for answers in ready:
            one = self.active.pop(answers)  # type: ignore[call-overload]
            made += self._end(one, one.worker.result(), tell)
        for answers, one in list(self.active.items()):
            if one.worker.deadline <= time.monotonic():
                del self.active[answers]
                one.worker.end()
                made += self._end(one, {"error": fanout.TOO_LONG}, tell)
        return made

    def stop(self) -> None:
        """Let go of everything."""
        for one in self.active.values():
            one.worker.end()
            one.held.close()
        self.active.clear()

    def _end(self, one: _Active, came: Mapping[str, Any], tell: Tell | None) -> list[Made]:
        """Record how an attempt ended, and queue what is to be told of it: one transaction."""
        result = Result.from_dict(came["result"]) if "result" in came else None
        state = result.verdict if result else "failed"
        headline = result.headline if result else f"Failed: {came['error']}"
        place = came.get("place")
        page = self._settings.site / place / "index.html" if place else None
        try:
            is_last, told = self._record(one, came, state, headline, page, result)
        except CapacityError as error:
            # It was published, perhaps, and nobody was told: the next call repeats it, to the same place.
            state, headline = "failed", f"It could not be recorded, and will be repeated: {error}"
            is_last, told = False, 0
        if is_last is None:
            return []
        if one.report.keep and is_last:
            try:
                places, awaited = Runs(self._opened).places(one.run)
                keep(self._settings.site, places, one.report.keep, awaited)
            except CapacityError as error:  # the next run tries again
                headline += f" (Old reports stay for now: {error.message})"
        if "not printed" in came:
            headline += f" (No PDF: {came['not printed']})"
        done = Made(one.run, state, headline, page, is_last, told)
        if tell:
            tell(done)
        return [done]

    def _record(
        self,
        one: _Active,
        came: Mapping[str, Any],
        state: str,
        headline: str,
        page: Path | None,
        result: Result | None,
    ) -> tuple[bool | None, int]:
        """Whether the run is over with this (None: another host recorded it), and how many are told."""
        with one.held:
            changed = self._is_news(one, state) if state != "failed" else True
            is_last = one.runs.end(
                one.run,
                one.attempt,
                self._host,
                0 if came.get("last") else one.report.retries,
                state,
                headline,
                came.get("place"),
                _digest(result),
            )
            recipients = one.report.told_of_failures() if state == "failed" else one.report.recipients
            told = recipients if is_last and changed else []
            message = self._message(one, state, headline, result, page) if told else ("", "")
            for recipient in dict.fromkeys(told):
                attachment = self._attachment(one, page)
                one.runs.notify(one.run, recipient, _SEVERITY[state], *message, attachment)
            return is_last, len(set(told))

    def _is_news(self, one: _Active, state: str) -> bool:
        """Whether recipients are to be told of a report that was made."""
        if one.report.when == "always":
            return True
        runs = Runs(self._opened)
        before = runs.before(one.run)
        if before is None:
            return True
        if one.report.when == "verdict changed":
            return before[1] != state
        fanned, _ = plan.fanned_over(one.report)
        asked = {**one.report.parameters, **({fanned: one.run.target} if fanned else {})}
        tenant, kind = str(asked.get("tenant", vault.ALL)), str(asked.get("resource_type", vault.ALL))
        return (
            runs.crossed(
                self._opened.tenant(tenant),
                tenant == vault.SYSTEM,
                None if kind == vault.ALL else kind,
                before[0],
                one.run.due_at,
            )
            > 0
        )

    def _message(
        self, one: _Active, state: str, headline: str, result: Result | None, page: Path | None
    ) -> tuple[str, str]:
        """Subject and body of what recipients are told: the report in short, so that most need not open it."""
        zone = self._schedule.zone(one.report)
        title = result.title if result else one.report.name
        whom = (result.tenant_label if result else one.run.target) or "all"
        lines = [units.plain(headline, 1000)]
        if result:
            lines += [units.plain(result.simulated, 1000)] if result.simulated else []
            lines += _stopped(result)
            lines += ["", *(_in_words(kpi) for kpi in result.kpis)] if result.kpis else []
            since = (
                f" since {units.at(pd.Timestamp(result.compared_with), zone)}" if result.compared_with else ""
            )
            said = (units.plain(change, 1000) for change in changes.told(result))
            lines += ["", f"What changed{since}:", *(f"- {change}" for change in said)]
        else:
            before = Runs(self._opened).before(one.run)
            if before:
                lines += ["", f"The report before, of {units.at(before[0], zone)}: {before[1]}."]
        lines += ["", f"For: {units.at(one.run.due_at, zone)}"]
        if result and result.data_as_of:
            lines.append(f"Data as of: {units.plain(result.data_as_of)}")
        if page:
            lines.append(f"Report: {self._link(page)}")
        subject = units.plain(f"{title}, {whom}: {state}", 200)
        return subject, "\n".join(lines)

    def _attachment(self, one: _Active, page: Path | None) -> str | None:
        """The page where it is to be sent along, and small enough for mail; the link is in the body in any case."""
        if page is None or not one.report.attach or page.stat().st_size > _LARGEST_ATTACHMENT:
            return None
        return str(page.absolute())

    def _link(self, page: Path) -> str:
        """Where readers find a page."""
        if self._schedule.site_url is None:
            return str(page.absolute())
        return f"{self._schedule.site_url.rstrip('/')}/{page.relative_to(self._settings.site).as_posix()}"


def _in_words(kpi: Kpi) -> str:
    """A card of a report as a line of text."""
    mood = f" ({MOOD_WORDS[kpi.mood]})" if MOOD_WORDS[kpi.mood] else ""
    return units.plain(f"{kpi.label}: {kpi.value}{mood}{'; ' if kpi.note else ''}{kpi.note}", 1000)


def _stopped(result: Result) -> list[str]:
    """Where a notebook stopped, as a line of text."""
    failure = result.failure
    if failure is None or failure.cell is None:
        return []
    section = f", section {failure.section!r}" if failure.section else ""
    return [units.plain(f"It stopped in cell {failure.cell} of {failure.notebook}{section}.", 1000)]


def _digest(result: Result | None) -> dict[str, Any] | None:
    """What history keeps of a result: what a comparison needs, without the page."""
    if result is None:
        return None
    kpis = [{"label": k.label, "value": k.value, "mood": k.mood} for k in result.kpis]
    return {
        "verdict": result.verdict,
        "headline": result.headline,
        "kpis": kpis,
        "data_as_of": result.data_as_of,
    }


def keep(root: Path, places: Sequence[str], count: int, awaited: Collection[str] = ()) -> None:
    """Remove from the site what lies beyond the newest `count` of these places, under the site's lock.

    What a message that is not sent yet speaks of (`awaited`) stays until a later call. Reports that nobody scheduled
    are not among the places and stay. A place that would lead out of the site is left alone.
    """
    kept = {*places[:count], *awaited}
    gone = [place for place in dict.fromkeys(places[count:]) if place not in kept and (root / place).is_dir()]
    if not gone:
        return
    with site.locked(root):
        for place in gone:
            folder = root / place
            if folder.is_symlink() or not folder.resolve().is_relative_to(root.resolve()):
                continue
            aside = root / f".unfinished-old-{os.getpid()}"
            folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        index.write(root)


def entries(schedule: Schedule, opened: Vault, now: datetime) -> Iterator[dict[str, Any]]:
    """The schedule as a person asks for it: for each report and target, when it was last made and when it will be."""
    state = Runs(opened).state(now)
    last = {(row.name, row.target): row for row in console.rows(state[state["is_newest"]])}
    for report in schedule.reports:
        following = plan.next_time(report.cron, schedule.zone(report), now)
        for target in targets(report, opened):
            row = last.get((report.name, target))
            yield {
                "name": report.name,
                "target": target,
                "notebook": report.notebook,
                "cron": report.cron,
                "timezone": schedule.zone(report),
                "next": following,
                "last": None if row is None else row.due_at,
                "state": None if row is None else _standing(row),
                "headline": None if row is None or units.missing(row.headline) else row.headline,
            }


def _standing(row: Any) -> str:
    if row.is_over:
        return str(row.state)
    return "begun" if units.missing(row.state) else "failed, to be tried again"


def require(schedule: Schedule, folder: Path, opened: Vault | None) -> None:
    """Refuse a schedule that asks for what there is not; without a vault, tenants are not looked at.

    Raises
    ------
    CapacityError
        In one line.
    """
    found = declared(schedule, folder)
    if opened is None:
        plan.require(schedule, found)
        return
    tenants = opened.tenants()
    plan.require(
        schedule,
        found,
        tenants["tenant_bk"].astype(str),
        tenants["tenant_hk"].astype(str),
        set(alerts.channels(opened)["name"]),
    )


def remarks(schedule: Schedule) -> list[str]:
    """What keeps messages from their readers, though the schedule is not wrong: in sentences."""
    used = list(dict.fromkeys(name for report in schedule.reports for name in plan.told_through(report)))
    if not used:
        return []
    said = []
    here = channels.channels()
    lacking = [name for name in used if name not in here]
    if lacking:
        said.append(
            f"No address of {', '.join(lacking)} is known on this host: call capacity alerts send where it is."
        )
    timers = schedule.install.timers if schedule.install else []
    if not any(timer.command and timer.command[:3] == ["capacity", "alerts", "send"] for timer in timers):
        said.append("No timer of its part 'install' calls capacity alerts send: see that something does.")
    if schedule.site_url is None:
        said.append("It has no site_url: links in messages are paths on the host that makes the reports.")
    return said
