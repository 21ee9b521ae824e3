"""What is reported when, and to whom: ``reports/schedule.yml``, read, checked, and asked when something is due."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import yaml
from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from capacity_kit import resources
from capacity_kit.errors import CapacityError
from capacity_kit.reporting.parameters import Parameter, checked

EVERY_TENANT: Final = "every tenant"
EVERY_TYPE: Final = "every resource type"
_LARGEST: Final = 1 << 20
"""Bytes: no schedule is as long."""

_MOST_KEYS: Final = 1000

_SPANS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WINDOWS: Final = (timedelta(hours=2), timedelta(days=2), timedelta(days=63), timedelta(days=3300))
"""How far back a last time is looked for, the nearest first: February 29 may lie eight years back."""


def _line(text: str) -> str:
    """Refuse what is no cron line of five fields, or one that never comes."""
    try:
        if len(text.split()) != 5:
            raise CronSimError("a cron line has five fields")
        next(CronSim(text, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration, AssertionError, ValueError) as error:
        why = str(error) or "it never comes"
        raise ValueError(f"{text!r} is not a cron line such as '0 6 * * 1': {why}") from None
    return " ".join(text.split())


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone such as UTC or Europe/Berlin") from None
    return name


def _recipient(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,49}|[^\s@/:]+@[^\s@/:]+", name):
        raise ValueError(f"{name!r} is neither a channel's name, such as EMAIL, nor a mail address")
    return name if "@" in name else name.upper()


def seconds(span: str) -> int:
    """A length of time such as 90s, 10m, 2h or 1d, in seconds."""
    return int(span[:-1]) * _SPANS[span[-1]]


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")]
Cron = Annotated[str, AfterValidator(_line)]
Zone = Annotated[str, AfterValidator(_zone)]
Span = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,5}[smhd]$")]
Recipient = Annotated[str, AfterValidator(_recipient)]
Plain = bool | int | float | str | None
When = Literal["always", "level crossed", "verdict changed"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Timeouts(_Strict):
    """How long a report may take."""

    run: Span = Field("30m", description="The whole run: what it got so far is then published as failed.")
    cell: Span = Field("10m", description="One cell of the notebook.")


class Report(_Strict):
    """A notebook that is run regularly."""

    name: Name = Field(description="What it is called; history is kept under this name.")
    notebook: str = Field(
        min_length=1,
        description="One that comes with the kit (capacity report --list), or a file beside this one.",
    )
    parameters: dict[str, Plain] = Field(
        default_factory=dict, description="The notebook's parameters; left out: its defaults."
    )
    fan_out: (
        Literal["every tenant", "every resource type"]
        | Annotated[dict[str, Annotated[list[str], Field(min_length=1)]], Field(min_length=1, max_length=1)]
        | None
    ) = Field(
        None,
        description="A report for each: every tenant that is active, every resource type that is measured, or the "
        "values of one parameter, such as tenant: [acme, SYSTEM].",
    )
    cron: Cron = Field(description="When: minute, hour, day of month, month, day of week; quote it.")
    timezone: Zone | None = Field(None, description="The zone of that line (default: the schedule's).")
    timeouts: Timeouts = Field(default_factory=Timeouts, description="How long it may take.")
    memory_mb: int = Field(
        2048, ge=128, le=1 << 20, description="What its notebook may take; the next allocation fails."
    )
    retries: int = Field(
        1,
        ge=0,
        le=10,
        description="How often a failed run is repeated: by the first call of run-due that comes 1, 2, 4, ... "
        "minutes later.",
    )
    recipients: list[Recipient] = Field(
        default_factory=list,
        description="Who is told: channels' names, such as EMAIL or SLACK, and mail addresses.",
    )
    recipients_of_failures: list[Recipient] | None = Field(
        None, description="Who is told when the last attempt failed (default: recipients)."
    )
    when: When = Field(
        "always",
        description="When recipients are told: always; when a threshold's level was crossed since the last report; "
        "when the verdict is another than the last report's. Published it is in any case.",
    )
    attach: bool = Field(False, description="Send the page along.")
    pdf: bool = Field(False, description="Print the page as report.pdf beside it; needs Chromium or Chrome.")
    keep: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="How many reports of each tenant or type stay on the site (default: all).",
    )

    def told_of_failures(self) -> list[str]:
        """Who is told of a failure."""
        return self.recipients if self.recipients_of_failures is None else self.recipients_of_failures


class Database(_Strict):
    """The server that the installed entries' psql connects to. A password is left to ~/.pgpass."""

    host: str = Field("localhost", pattern=r"^[A-Za-z0-9_./:][A-Za-z0-9_./:-]*$")
    user: str = Field("postgres", pattern=r"^[A-Za-z0-9_.][A-Za-z0-9_.-]*$")
    name: str = Field("one_vault", pattern=r"^[A-Za-z0-9_.][A-Za-z0-9_.-]*$")


class Timer(_Strict):
    """An entry of the host's own scheduler: a statement for psql, or a command."""

    name: Annotated[Name, StringConstraints(max_length=43)]  # Kubernetes takes 52, with our prefix
    cron: Cron = Field(description="In the scheduler's own time zone.")
    comment: Annotated[str, StringConstraints(pattern=r"^[^\r\n]{1,200}$")]
    sql: Annotated[str, StringConstraints(pattern=r'^[^\r\n"\\$`!]+$')] | None = None
    command: (
        Annotated[
            list[Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$")]], Field(min_length=1)
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Timer:
        if (self.sql is None) == (self.command is None):
            raise ValueError("either sql or command")
        return self


class Install(_Strict):
    """What ``capacity schedule install`` writes."""

    database: Database = Field(default_factory=Database)
    log: str = Field(
        "/var/log/capacity_analysis.log",
        pattern=r"^/[A-Za-z0-9_./+:@,=-]*[A-Za-z0-9_+@,=-]$",
        description="A file by its whole path: what the entries print goes there.",
    )
    windows_log: str = Field(
        "C:\\logs\\capacity_analysis.log",
        pattern=r"^[A-Za-z]:\\[A-Za-z0-9_.\\-]*[A-Za-z0-9_-]$",
        description="The same on Windows.",
    )
    image: str = Field(
        "capacity-kit", min_length=1, description="Kubernetes: your image with this package in it."
    )
    psql_image: str = Field("postgres", min_length=1, description="Kubernetes: an image with psql in it.")
    timers: list[Timer] = Field(min_length=1)


class Schedule(_Strict):
    """What is reported when, and to whom; and what the host's scheduler has to call."""

    timezone: Zone = Field("UTC", description="The zone of the reports' cron lines.")
    site_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s@]+$",
        description="Where readers find the site; links in messages begin so.",
    )
    reports: list[Report] = Field(default_factory=list)
    install: Install | None = Field(None, description="Entries of the host's scheduler.")

    @model_validator(mode="after")
    def _names_once(self) -> Schedule:
        for what, names in (
            ("reports", [r.name for r in self.reports]),
            (
                "timers",
                [t.name.removeprefix("capacity-") for t in self.install.timers] if self.install else [],
            ),
        ):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice:
                raise ValueError(f"two {what} are called {twice!r}")
        return self

    def zone(self, report: Report) -> str:
        """The zone of a report's cron line."""
        return report.timezone or self.timezone


def default() -> Path:
    """The schedule that comes with the kit."""
    return resources.path("theme").parent / "schedule.yml"


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: YAML would silently take the second; and merges that merge without end."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > _MOST_KEYS:  # each merge of merges doubles them
            raise yaml.constructor.ConstructorError(
                None, None, "its merges (<<) come to more settings than any schedule has", node.start_mark
            )

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(
            key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"
        )
        twice = next((key for key, times in keys.items() if times > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load(file: Path | None = None) -> Schedule:
    """Read a schedule.

    Parameters
    ----------
    file : Path, optional
        The file; default: that which comes with the kit.

    Raises
    ------
    CapacityError
        If it cannot be read or says what no schedule says: one line, with the place.
    """
    file = file or default()
    try:
        if file.stat().st_size > _LARGEST:
            raise CapacityError(f"{file} is larger than any schedule")
        found = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506 -- a SafeLoader
    except OSError as error:
        raise CapacityError(
            f"The schedule {file} cannot be read: {error.strerror}", "Name another: --schedule FILE."
        ) from None
    except UnicodeDecodeError:
        raise CapacityError(f"The schedule {file} is not UTF-8 text") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        said = getattr(error, "problem", None) or "it is nested too deeply"
        hint = "Quote what begins with a star, such as cron: '*/5 * * * *'." if "alias" in str(error) else ""
        raise CapacityError(f"{file}{where}: {said}", hint) from None
    try:
        return Schedule.model_validate(found if found is not None else {})
    except ValidationError as error:
        raise CapacityError(f"{file}: {_said(error, found)}") from None


def _said(error: ValidationError, found: Any) -> str:
    """The first complaint, with the place by names rather than numbers."""
    first = error.errors(include_url=False)[0]
    place: list[str] = []
    at = found
    for part in first["loc"]:
        at = _part(at, part)
        if isinstance(part, int):
            named = at.get("name") if isinstance(at, dict) else None
            place[-1] = f"{place[-1]} {named!r}" if isinstance(named, str) else f"{place[-1]}[{part + 1}]"
        elif not part.startswith(("literal", "dict", "list", "function-", "constrained-")):
            place.append(part)
    said = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if first["type"] == "extra_forbidden" and place:
        said = "there is no such setting"
    return f"{', '.join(place)}: {said}" if place else said


def _part(at: Any, part: int | str) -> Any:
    """A part of what was read; None where it has none of that name or number."""
    if isinstance(at, dict):
        return at.get(part)
    return at[part] if isinstance(at, list) and isinstance(part, int) and part < len(at) else None


def json_schema() -> str:
    """The schedule's JSON schema, for editors; ``reports/schedule.schema.json`` holds it."""
    return (
        json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **Schedule.model_json_schema()},
            indent=2,
        )
        + "\n"
    )


def require(
    schedule: Schedule,
    declared: Mapping[str, Sequence[Parameter]],
    tenants: Iterable[str] | None = None,
    keys: Iterable[str] = (),
    channels: Collection[str] | None = None,
) -> None:
    """Refuse a schedule that asks for what there is not.

    Parameters
    ----------
    schedule : Schedule
        As read.
    declared : mapping
        Parameters by notebook, for each notebook that the schedule names.
    tenants : iterable of str, optional
        The tenants' business keys; None: not known here, and not checked.
    keys : iterable of str
        Their hash keys, which name them as well and are not proposed.
    channels : collection of str, optional
        The channels that the database knows; None: not known here, and not checked.

    Raises
    ------
    CapacityError
        For an unknown notebook, parameter, tenant or channel, or a fan-out over what is no parameter.
    """
    named = None if tenants is None else {"ALL", "SYSTEM", *tenants}
    hashed = set(keys)
    for report in schedule.reports:
        at = f"The schedule's report {report.name!r}"
        if report.notebook not in declared:
            raise CapacityError(
                f"{at}: there is no notebook {report.notebook!r}", f"Known are: {', '.join(sorted(declared))}"
            )
        parameters = declared[report.notebook]
        fanned, values = fanned_over(report)
        try:
            checked(report.notebook, parameters, report.parameters)
            if fanned:
                for value in values or ["ALL"]:
                    checked(report.notebook, parameters, {fanned: value})
        except CapacityError as error:
            raise CapacityError(f"{at}: {error.message}", error.hint) from None
        if fanned in report.parameters:
            raise CapacityError(f"{at}: {fanned} is fanned out, and has a value among its parameters")
        for reserved in ("as_of",):
            if reserved in report.parameters or fanned == reserved:
                raise CapacityError(f"{at}: {reserved} is the time that it was due at, and not to be set")
        given = report.parameters.get("tenant")
        for tenant in [*(values if fanned == "tenant" else []), *([str(given)] if given else [])]:
            if named is not None and tenant not in named and tenant not in hashed:
                raise CapacityError(
                    f"{at}: there is no tenant {tenant!r}", f"Known are: {_like(tenant, named)}"
                )
        for channel in told_through(report):
            if channels is not None and channel not in channels:
                raise CapacityError(
                    f"{at}: there is no channel {channel!r}", f"Known are: {_like(channel, channels)}"
                )


def _like(name: str, known: Iterable[str]) -> str:
    """The names most like one, else the first."""
    names = sorted(known)
    return ", ".join(difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names[:5])


def told_through(report: Report) -> list[str]:
    """The channels that a report's recipients are told through; a mail address goes through EMAIL."""
    everyone = [*report.recipients, *report.told_of_failures()]
    return list(dict.fromkeys("EMAIL" if "@" in one else one for one in everyone))


def fanned_over(report: Report) -> tuple[str | None, list[str]]:
    """The parameter that a report is fanned out over, and its values where the schedule lists them."""
    if report.fan_out is None:
        return None, []
    if isinstance(report.fan_out, dict):
        ((parameter, values),) = report.fan_out.items()
        return parameter, list(dict.fromkeys(values))
    return ("tenant" if report.fan_out == EVERY_TENANT else "resource_type"), []


def times(line: str, zone: str, after: datetime) -> Iterator[datetime]:
    """The times of a cron line after a moment, in UTC and in order.

    A line whose hours are ``*`` follows real time. Any other names local times, and each comes exactly once a day:
    one that the clocks skip comes when they go on, one that they repeat comes the first time.

    Parameters
    ----------
    line : str
        Five fields.
    zone : str
        The line's time zone.
    after : datetime
        Exclusive; aware.
    """
    fields = line.split()
    if fields[1] != "*":
        # The library takes local times as such where neither minute nor hour begins with a star.
        spelt = CronSim(line, datetime(2026, 1, 1, tzinfo=UTC))
        fields[:2] = [",".join(map(str, sorted(part))) for part in (spelt.minutes, spelt.hours)]
    last = after
    # From a little earlier: where clocks are set back, local times by themselves are not in order.
    for local in CronSim(" ".join(fields), (after - timedelta(hours=3)).astimezone(ZoneInfo(zone))):
        moment = local.astimezone(UTC)
        if moment > last:
            last = moment
            yield moment


def last_time(line: str, zone: str, now: datetime) -> datetime | None:
    """The last time of a cron line up to `now`, None if it did not come in nine years."""
    for window in _WINDOWS:
        found = None
        for moment in times(line, zone, now - window):
            if moment > now:
                break
            found = moment
        if found:
            return found
    return None


def next_time(line: str, zone: str, now: datetime) -> datetime:
    """The next time of a cron line after `now`."""
    return next(times(line, zone, now))
