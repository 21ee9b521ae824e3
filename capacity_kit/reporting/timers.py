"""Entries for the host's own scheduler: text, and where it goes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from cronsim import CronSim

from capacity_kit.errors import CapacityError
from capacity_kit.reporting.schedule import Install, Schedule, Timer

Target = Literal["cron", "systemd", "windows", "kubernetes"]

BEGIN: Final = "# capacity begin: capacity schedule install writes what follows, and uninstall removes it"
END: Final = "# capacity end"

_DAYS: Final = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_SCHEDULE: Final = "schedule.yml"
_MOUNTED: Final = "/schedule"
_LARGEST_CONFIG_MAP: Final = 1 << 20

_MOMENT: Final = datetime(2026, 1, 1, tzinfo=UTC)


def entries(schedule: Schedule, target: Target, call: Sequence[str]) -> dict[str, str]:
    """What a scheduler is given: file name to text; of cron one block of lines.

    Parameters
    ----------
    schedule : Schedule
        With its part ``install``.
    target : {'cron', 'systemd', 'windows', 'kubernetes'}
        Whose.
    call : sequence of str
        Options that ``capacity run-due`` is called with.

    Raises
    ------
    CapacityError
        If the schedule says nothing of it, or that scheduler cannot express a cron line.
    """
    if schedule.install is None:
        raise CapacityError(
            "This schedule has no part 'install'", "Take it over from the schedule that comes with the kit."
        )
    made = {"cron": _cron, "systemd": _systemd, "windows": _windows, "kubernetes": _kubernetes}[target]
    return made(schedule, schedule.install, call)


def _words(timer: Timer, install: Install, call: Sequence[str], program: str | None = None) -> list[str]:
    """A timer's command, word by word; psql is looked up when it runs, capacity is the one that is running now."""
    if timer.sql is not None:
        if "--dsn" in call:
            return ["psql", "-d", call[call.index("--dsn") + 1], "-c", timer.sql]
        at = install.database
        return ["psql", "-h", at.host, "-U", at.user, "-d", at.name, "-c", timer.sql]
    assert timer.command is not None
    first, *rest = timer.command
    more: list[str] = []
    at = install.database
    named = [] if "--dsn" in call else ["--dsn", f"host={at.host} user={at.user} dbname={at.name}"]
    if timer.command[:2] == ["capacity", "run-due"]:
        more = [*named, *call]
    elif timer.command[:3] == ["capacity", "alerts", "send"]:
        more = named or ["--dsn", call[call.index("--dsn") + 1]]
    return [(program or _capacity()) if first == "capacity" else first, *rest, *more]


def elsewhere(target: Target) -> list[str]:
    """What is to be done on the host of entries that this one cannot run; nothing for entries of its own."""
    if target != "windows" or os.name == "nt":
        return []
    return [
        "These entries are for another host: there, capacity has to be in the system's PATH, and CAPACITY_SCHEDULE and "
        "CAPACITY_SITE have to name its schedule and its site (setx /M CAPACITY_SITE C:\\reports)."
    ]


def _capacity() -> str:
    """The program ``capacity`` by its whole path: a scheduler's PATH has no virtual environment."""
    beside = Path(sys.executable).with_name("capacity")
    return str(beside) if beside.exists() else shutil.which("capacity") or "capacity"


def _shell(words: Sequence[str], statement: str | None) -> str:
    """Words as sh and cmd read them; a statement in double quotes, as the guide writes it."""
    if statement is not None:
        words = words[:-1]
    line = shlex.join(words)
    return line if statement is None else f'{line} "{statement}"'


def _cron(schedule: Schedule, install: Install, call: Sequence[str]) -> dict[str, str]:
    lines = [BEGIN]
    for timer in install.timers:
        command = _shell(_words(timer, install, call), timer.sql).replace("%", r"\%")
        lines += [f"# {timer.comment}", f"{timer.cron} {command} >> {install.log} 2>&1"]
    return {"crontab": "\n".join([*lines, END, ""])}


def _systemd(schedule: Schedule, install: Install, call: Sequence[str]) -> dict[str, str]:
    made = {}
    for timer in install.timers:
        words = _words(timer, install, call)
        program = ["/usr/bin/env", *words] if not words[0].startswith("/") else words
        started = " ".join(_unit_word(word) for word in program)
        name = f"capacity-{timer.name.removeprefix('capacity-')}"
        about = timer.comment.replace("%", "%%")
        made[f"{name}.service"] = (
            f"[Unit]\nDescription={about}\nAfter=network-online.target\n\n"
            f"[Service]\nType=oneshot\nExecStart={started}\n"
            f"StandardOutput=append:{install.log}\nStandardError=append:{install.log}\n"
            "SuccessExitStatus=3 4\n"
        )
        times = "".join(f"OnCalendar={at}\n" for at in on_calendar(timer.cron))
        made[f"{name}.timer"] = (
            f"[Unit]\nDescription={about}\n\n[Timer]\n{times}AccuracySec=1s\nPersistent=true\n\n"
            "[Install]\nWantedBy=timers.target\n"
        )
    return made


def _unit_word(word: str) -> str:
    """A word of ExecStart=, with what systemd would expand doubled."""
    safe = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$").replace('"', '\\"')
    return safe if safe and not any(c in safe for c in " \t;'\"") else f'"{safe}"'


def on_calendar(line: str) -> list[str]:
    """A cron line as systemd's calendar events; two where cron asks for either of two days.

    Raises
    ------
    CapacityError
        For days that systemd cannot express, such as L or 5#2.
    """
    read = CronSim(line, _MOMENT)
    if not all(isinstance(day, int) and day >= 0 for day in [*read.days, *read.weekdays]):
        raise CapacityError(f"systemd cannot express the days of the cron line {line!r}", "Name them.")
    at = f"{_list(read.hours, 24)}:{_list(read.minutes, 60)}:00"
    months = _list(read.months, 12)
    weekdays = {int(day) % 7 for day in read.weekdays if isinstance(day, int)}
    days = f"*-{months}-{_list(read.days, 31)} {at}"
    named = ",".join(_DAYS[day] for day in sorted(weekdays, key=lambda d: (d - 1) % 7))
    if len(weekdays) == 7:
        return [days]
    if len(read.days) == 31 or read.day_and:
        return [f"{named} {days}"]
    return [f"{named} *-{months}-* {at}", days]


def _list(values: Collection[int], full: int) -> str:
    return "*" if len(values) == full else ",".join(f"{value:02d}" for value in sorted(values))


def _windows(schedule: Schedule, install: Install, call: Sequence[str]) -> dict[str, str]:
    made, tasks, gone = {}, ["@echo off"], ["@echo off"]
    for timer in install.timers:
        name = timer.name.replace("-", "_")
        words = _words(timer, install, call, program="capacity" if elsewhere("windows") else None)
        if timer.sql is None:
            command = subprocess.list2cmdline(words)
        else:
            command = f'{subprocess.list2cmdline(words[:-1])} "{timer.sql}"'
        command = command.replace("%", "%%")
        made[f"{name}.bat"] = f"@echo off\r\n{command} >> {install.windows_log} 2>&1\r\n"
        tasks.append(
            f'schtasks /Create /F /TN "capacity\\{name}" /TR "\\"%~dp0{name}.bat\\"" {_task(timer.cron)} /RU SYSTEM'
        )
        gone.append(f'schtasks /Delete /F /TN "capacity\\{name}"')
    made["install_tasks.bat"] = "\r\n".join([*tasks, ""])
    made["remove_tasks.bat"] = "\r\n".join([*gone, ""])
    return made


def _task(line: str) -> str:
    """A cron line as schtasks has it: every so many minutes, daily, weekly or monthly at a time."""
    _, hour, day, month, weekday = line.split()
    read = CronSim(line, _MOMENT)
    if (hour, day, month, weekday) == ("*", "*", "*", "*"):
        every = 60 // len(read.minutes)
        if read.minutes == set(range(0, 60, every)):
            return f"/SC MINUTE /MO {every} /ST 00:00" if every < 60 else "/SC HOURLY /ST 00:00"
    elif len(read.minutes) == len(read.hours) == 1 and month == "*":
        at = f"/ST {min(read.hours):02d}:{min(read.minutes):02d}"
        whole = [number for number in read.weekdays if isinstance(number, int)]
        if (day, weekday) == ("*", "*"):
            return f"/SC DAILY {at}"
        if day == "*" and len(whole) == len(read.weekdays):
            names = ",".join(_DAYS[number].upper() for number in sorted({number % 7 for number in whole}))
            return f"/SC WEEKLY /D {names} {at}"
        if weekday == "*" and len(read.days) == 1 and min(read.days) > 0:
            return f"/SC MONTHLY /D {min(read.days)} {at}"
    raise CapacityError(
        f"The Task Scheduler's command line cannot express the cron line {line!r}",
        "Take one that comes every few minutes, daily, weekly or monthly.",
    )


def _kubernetes(schedule: Schedule, install: Install, call: Sequence[str]) -> dict[str, str]:
    documents: list[dict[str, Any]] = []
    call, files = list(call), {}
    if "--schedule" in call:
        at = call.index("--schedule") + 1
        files = _files(schedule, Path(call[at]))
        call[at] = f"{_MOUNTED}/{_SCHEDULE}"
        documents.append(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "capacity-schedule", "labels": {"app.kubernetes.io/name": "capacity"}},
                "data": {_key(name): text for name, text in files.items()},
            }
        )
    for timer in install.timers:
        words = _words(timer, install, call, program="capacity")
        container: dict[str, Any] = {
            "name": "capacity",
            "image": install.psql_image if timer.sql is not None else install.image,
            # As for systemd: 3 (something needs attention) and 4 (a report failed, and is told of) are no failed job.
            "command": ["sh", "-c", '"$@"; code=$?; case $code in 3|4) exit 0;; esac; exit $code', "sh"],
            "args": words,
            "envFrom": [{"secretRef": {"name": "capacity"}}],
        }
        pod: dict[str, Any] = {"restartPolicy": "Never", "containers": [container]}
        if timer.sql is None:
            container["env"] = [{"name": "CAPACITY_SITE", "value": "/site"}]
            container["volumeMounts"] = [{"name": "site", "mountPath": "/site"}]
            pod["volumes"] = [{"name": "site", "persistentVolumeClaim": {"claimName": "capacity-site"}}]
            if files:
                container["volumeMounts"].append(
                    {"name": "schedule", "mountPath": _MOUNTED, "readOnly": True}
                )
                items = [{"key": _key(name), "path": name} for name in files]
                pod["volumes"].append(
                    {"name": "schedule", "configMap": {"name": "capacity-schedule", "items": items}}
                )
        documents.append(
            {
                "apiVersion": "batch/v1",
                "kind": "CronJob",
                "metadata": {
                    "name": f"capacity-{timer.name.removeprefix('capacity-')}"[:52],
                    "labels": {"app.kubernetes.io/name": "capacity"},
                    "annotations": {"description": timer.comment},
                },
                "spec": {
                    "schedule": timer.cron,
                    "timeZone": "Etc/UTC" if schedule.timezone == "UTC" else schedule.timezone,
                    "concurrencyPolicy": "Forbid",
                    "startingDeadlineSeconds": 300,
                    "jobTemplate": {"spec": {"backoffLimit": 0, "template": {"spec": pod}}},
                },
            }
        )
    return {"capacity-cronjobs.yaml": yaml.safe_dump_all(documents, sort_keys=False, width=1000)}


def _files(schedule: Schedule, file: Path) -> dict[str, str]:
    """The schedule and the notebooks beside it, by their paths from its folder: a pod has none of this host's files."""
    named = dict.fromkeys(r.notebook for r in schedule.reports if r.notebook.endswith(".ipynb"))
    outside = next((name for name in named if Path(name).is_absolute() or ".." in Path(name).parts), None)
    if outside:
        raise CapacityError(
            f"A pod cannot have {outside!r} beside its schedule", "Move it to the schedule's folder."
        )
    try:
        files = {_SCHEDULE: file.read_text(encoding="utf-8")}
        files |= {Path(name).as_posix(): (file.parent / name).read_text(encoding="utf-8") for name in named}
    except (OSError, UnicodeDecodeError) as error:
        raise CapacityError(f"A file of the schedule cannot be read: {error}") from None
    if sum(len(text.encode()) for text in files.values()) > _LARGEST_CONFIG_MAP:
        raise CapacityError(
            "The schedule and its notebooks are larger than a ConfigMap may be, 1 MiB",
            "Clear the notebooks' outputs, or put them into the image.",
        )
    return files


def _key(name: str) -> str:
    """A path as a ConfigMap's key: it may hold letters, digits, dots and dashes, and no other."""
    return re.sub(r"[^A-Za-z0-9.-]", lambda found: f"_{ord(found[0]):x}_", name)


def install(target: Target, made: Mapping[str, str], into: Path | None) -> list[str]:
    """Write entries in place of earlier ones; what to say about it, line by line.

    Raises
    ------
    CapacityError
        If they cannot be written, or the crontab holds half a block.
    """
    if target == "cron":
        before = _crontab()
        _set_crontab(_without(before) + made["crontab"])
        return ["They stand in your crontab: crontab -l shows them."]
    folder = _folder(target, into)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            staged = folder / f".{name}.new"
            staged.write_text(text, encoding="utf-8", newline="")
            staged.replace(folder / name)
    except OSError as error:
        raise CapacityError(
            f"The entries cannot be written to {folder}: {error.strerror}", "Choose another: --into FOLDER."
        ) from None
    units = " ".join(name for name in made if name.endswith(".timer"))
    then = {
        "systemd": f"systemctl {_user()}daemon-reload && systemctl {_user()}enable --now {units}",
        "windows": f"{folder / 'install_tasks.bat'} (as administrator)",
        "kubernetes": f"kubectl apply -f {folder / 'capacity-cronjobs.yaml'} "
        "(it expects a Secret named capacity and a volume claim named capacity-site)",
    }[target]
    return [*(str(folder / name) for name in made), *elsewhere(target), f"Now run: {then}"]


def uninstall(target: Target, made: Mapping[str, str], into: Path | None) -> list[str]:
    """Take out what `install` wrote, and nothing else; what to say about it."""
    if target == "cron":
        before = _crontab()
        after = _without(before)
        if after == before:
            return ["There were no entries in your crontab."]
        _set_crontab(after)
        return ["They are out of your crontab; the rest of it is as it was."]
    folder = _folder(target, into)
    there = [folder / name for name in made if (folder / name).is_file()]
    if not there:
        return [f"There were no entries in {folder}."]
    units = " ".join(name for name in made if name.endswith(".timer"))
    then = {
        "systemd": f"systemctl {_user()}disable --now {units}; systemctl {_user()}daemon-reload",
        "windows": "schtasks /Delete /F /TN capacity\\<name>, for each that remove_tasks.bat named",
        "kubernetes": "kubectl delete cronjob,configmap -l app.kubernetes.io/name=capacity",
    }[target]
    for file in there:
        file.unlink()
    return [*(f"Removed {file}" for file in there), f"Now run: {then}"]


def _user() -> str:
    return "" if _is_root() else "--user "


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _folder(target: Target, into: Path | None) -> Path:
    if into is not None:
        return into
    if target == "systemd":
        return Path("/etc/systemd/system") if _is_root() else Path.home() / ".config/systemd/user"
    return Path.cwd()


def _crontab() -> str:
    """The user's crontab; empty where there is none."""
    done = _call_crontab(["-l"], None)
    if done.returncode == 0:
        return done.stdout.decode(errors="surrogateescape")
    said = done.stderr.decode(errors="replace").strip()
    if "no crontab for" in said:
        return ""
    raise CapacityError(f"crontab -l failed: {said or done.returncode}")


def _set_crontab(text: str) -> None:
    done = _call_crontab(["-"] if text else ["-r"], text or None)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise CapacityError(f"crontab refused the entries: {said or done.returncode}")


def _call_crontab(arguments: list[str], text: str | None) -> subprocess.CompletedProcess[bytes]:
    """Call crontab with bytes: the lines of others need not be UTF-8, and stay as they are."""
    program = shutil.which("crontab")
    if program is None:
        raise CapacityError(
            "There is no crontab on this host",
            "Install cron, or choose another --target; --print shows the lines.",
        )
    given = None if text is None else text.encode(errors="surrogateescape")
    return subprocess.run([program, *arguments], input=given, capture_output=True, check=False, timeout=60)


def _without(crontab: str) -> str:
    """A crontab without our block."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", crontab)
    marks = [(i, line.rstrip("\r\n")) for i, line in enumerate(lines) if line.rstrip("\r\n") in (BEGIN, END)]
    if not marks:
        return crontab if not crontab or crontab.endswith("\n") else crontab + "\n"
    if [mark for _, mark in marks] != [BEGIN, END]:
        raise CapacityError(
            "The crontab holds a part of capacity's block, but not both of its marker lines",
            "Put it right by hand: crontab -e",
        )
    return "".join(lines[: marks[0][0]] + lines[marks[1][0] + 1 :])
