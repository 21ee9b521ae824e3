"""The policy of one threshold over one resource, and what makes its alerts true or false: the plain reference.

Usage past a threshold is a *breach*, a run of breaches an *episode*; an episode that the policy lets through raises
an *alert*. `Pair` says one evaluation after the other what becomes of a threshold and a resource, as the database
does; `replay` says the same of many at once, and tests hold the three together.

Times are whole microseconds since 1970 in UTC (`micros`), so that equal is equal here and in the database.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from capacity_kit.errors import CapacityError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MINUTE: Final = 60_000_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
FULL: Final = 100.0
"""What a CRITICAL threshold warns of: percent of capacity."""
FALSE_POSITIVE_LIMIT: Final = 20.0
"""Percent of alerts that may be false before the guide raises a threshold."""
TRUE_POSITIVE_LIMIT: Final = 80.0
"""Percent of reaches that must be announced, or the guide lowers the threshold."""
CUT: Final = 5
"""Percent of its value that usage of an accumulating type must lose at once to have been cut by hand."""
ACCUMULATING: Final = frozenset({"STORAGE", "DISK", "ROWS", "USERS", "SEQUENCES"})
"""Types whose usage piles up: where it falls at once, somebody cleaned up."""

Condition = Literal["LEVEL", "RUNWAY", "ABSENCE"]
Operator = Literal[">=", ">", "<=", "<"]
Gate = Literal["ALREADY_ALERTED", "DISABLED", "MUTED", "MAINTENANCE", "OUTSIDE_BUSINESS_HOURS", "SUPPRESSED"]
Verdict = Literal["TRUE", "FALSE", "CENSORED", "OPEN"]


def micros(times: Any) -> Ints:
    """Times as whole microseconds since 1970 in UTC.

    Parameters
    ----------
    times : array_like of datetime64 or of aware datetimes, DatetimeIndex or Series, shape (n,)
        Naive ones are in UTC.
    """
    index = pd.DatetimeIndex(
        pd.to_datetime(np.asarray(times) if isinstance(times, list) else times, utc=True)
    )
    return np.asarray(index.as_unit("us").asi8, dtype=np.int64)


@dataclass(frozen=True)
class Policy:
    """When a threshold makes an alert of usage.

    Attributes
    ----------
    level : float
        Percent of capacity (LEVEL), days (RUNWAY) or minutes (ABSENCE).
    condition : str
        LEVEL, RUNWAY or ABSENCE.
    operator : str
        How usage passes the level; of a RUNWAY it is <= and of an ABSENCE >.
    margin : float
        How far beyond the level, in its unit, usage must recover to end an episode, and no further than to 0 or
        100 percent; nothing for an ABSENCE.
    target : float
        What an alert warns of, in percent of capacity: of a WARNING the critical level, of a CRITICAL 100, of a
        RUNWAY the level that its days lead to.
    probability : int
        Of a RUNWAY: 10, 50 or 90 percent, by which its forecast reaches the target.
    frequency_minutes, suppression_minutes, escalation_minutes : int
        Slots of the clock in whose first evaluation episodes begin, go on and end, while every evaluation looks at
        what holds an alert and whether it escalates; how long after an alert none follows; how long until one is
        escalated. 0: not at all.
    business_hours_only, maintenance_exempt, alert_enabled, auto_resolution : bool
        As the columns of the threshold say.
    """

    level: float
    condition: Condition = "LEVEL"
    operator: Operator = ">="
    margin: float = 2.0
    target: float = FULL
    probability: int = 90
    frequency_minutes: int = 0
    suppression_minutes: int = 0
    escalation_minutes: int = 0
    business_hours_only: bool = False
    maintenance_exempt: bool = False
    alert_enabled: bool = True
    auto_resolution: bool = True

    def __post_init__(self) -> None:
        if not math.isfinite(self.level):
            raise CapacityError(f"A policy's level must be a number, not {self.level}")
        if not (self.margin >= 0 and math.isfinite(self.margin)):
            raise CapacityError(f"A policy's margin must be 0 or more, not {self.margin}")
        if min(self.frequency_minutes, self.suppression_minutes, self.escalation_minutes) < 0:
            raise CapacityError("A policy's minutes must be 0 or more")
        needed = {"RUNWAY": "<=", "ABSENCE": ">"}.get(self.condition)
        if needed and self.operator != needed:
            raise CapacityError(f"{self.condition} is exceeded by {needed}, not {self.operator}")
        if self.operator not in (">=", ">", "<=", "<"):
            raise CapacityError(f"An operator is >=, >, <= or <, not {self.operator}")
        if self.probability not in (10, 50, 90):
            raise CapacityError(f"A probability is 10, 50 or 90 percent, not {self.probability}")

    @property
    def rises(self) -> bool:
        """Whether larger is worse."""
        return self.operator in (">=", ">")

    @property
    def recovered_at(self) -> float:
        """The value from which on a breach is over, unless it is past the level; never beyond 0 or 100 percent."""
        margin = 0.0 if self.condition == "ABSENCE" else self.margin
        if self.condition == "LEVEL":
            return max(self.level - margin, 0.0) if self.rises else min(self.level + margin, FULL)
        return self.level - margin if self.rises else self.level + margin

    @property
    def is_judged(self) -> bool:
        """Whether time alone can say if its alerts were true: nothing is defined below a falling level."""
        return self.condition != "LEVEL" or self.rises

    def horizon(self, days: float) -> int:
        """Microseconds that its alerts are given to come true: `days`, but of a RUNWAY its own."""
        return round((self.level if self.condition == "RUNWAY" else days) * DAY)

    @classmethod
    def of(cls, row: Mapping[str, Any], target: float, margin: float = 2.0) -> Policy:
        """The policy of a threshold's row.

        Parameters
        ----------
        row : mapping
            Columns of ``capacity_threshold_s``; missing ones and NULLs mean what they mean to the evaluation.
        target : float
            What it warns of, in percent of capacity.
        margin : float
            Where the row has none of its own: the setting ``recovery_margin``.
        """

        def said(name: str, default: Any) -> Any:
            value = row.get(name)
            return default if value is None or pd.isna(value) else value

        kind = str(row["threshold_type"])
        condition: Condition = "RUNWAY" if kind == "RUNWAY" else "ABSENCE" if kind == "ABSENCE" else "LEVEL"
        level = row["threshold_percentage"] if condition == "LEVEL" else row["threshold_value"]
        return cls(
            level=float(level),
            condition=condition,
            operator=row["threshold_operator"],
            margin=float(said("recovery_margin", margin)),
            target=float(target),
            probability=int(said("threshold_probability", 90)),
            frequency_minutes=max(int(said("evaluation_frequency_minutes", 0)), 0),
            suppression_minutes=max(int(said("suppression_duration_minutes", 0)), 0)
            if said("suppression_enabled", False)
            else 0,
            escalation_minutes=max(int(said("escalation_delay_minutes", 0)), 0)
            if said("escalation_enabled", False)
            else 0,
            business_hours_only=bool(said("business_hours_only", False)),
            maintenance_exempt=bool(said("maintenance_window_exempt", False)),
            alert_enabled=bool(said("alert_enabled", True)),
            auto_resolution=bool(said("auto_resolution_enabled", True)),
        )


class Gates(NamedTuple):
    """What holds at an evaluation, whoever the pair is."""

    muted: bool = False
    maintenance: bool = False
    business_hours: bool = True


@dataclass
class Alert:
    """One alert; times in microseconds."""

    raised_at: int
    escalated_at: list[int] = field(default_factory=list)
    acknowledged_at: int | None = None
    resolved_at: int | None = None
    resolved_by: str | None = None

    @property
    def escalations(self) -> int:
        """How often it was escalated."""
        return len(self.escalated_at)


@dataclass
class Episode:
    """One run of breaches; times in microseconds, the peak in the unit of the level."""

    started_at: int
    peak: float
    ended_at: int | None = None
    ended_by: str | None = None
    held_by: Gate | None = None
    alert: Alert | None = None


class Pair:
    """A threshold and a resource, evaluated one time after the other.

    Parameters
    ----------
    policy : Policy

    Attributes
    ----------
    episodes : list of Episode
        All of them, the last one perhaps still open.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.episodes: list[Episode] = []
        self._previous: int | None = None

    @property
    def alerts(self) -> list[Alert]:
        """Every alert, in the order in which they were raised."""
        return [episode.alert for episode in self.episodes if episode.alert]

    def evaluate(self, at: int, value: float, gates: Gates = Gates()) -> None:  # noqa: B008 - it cannot change
        """One evaluation.

        Parameters
        ----------
        at : int
            When.
        value : float
            Percent of capacity, days left (infinite: never) or minutes since the newest measurement; NaN: no verdict.
        gates : Gates
        """
        previous, self._previous = self._previous, at
        cleared = self._is_cleared(value)
        if is_considered(self.policy.frequency_minutes, at, previous):
            self._judge(at, value, cleared)
            cleared = False
        self._raise(at, gates, cleared)
        if self.policy.auto_resolution:  # before escalation: what is over calls nobody
            for ended in self.episodes:
                if ended.ended_at is not None and ended.alert and ended.alert.resolved_at is None:
                    ended.alert.resolved_at, ended.alert.resolved_by = at, "auto"
        self._escalate(at, gates)

    def acknowledge(self, at: int) -> None:
        """An operator has seen the unresolved alerts: none of them escalates any more."""
        for alert in self._unresolved():
            alert.acknowledged_at = alert.acknowledged_at or at

    def resolve(self, at: int, by: str = "operator") -> None:
        """An operator resolves the unresolved alerts; their open episode ends with them."""
        for episode in self.episodes:
            if episode.alert and episode.alert.resolved_at is None:
                episode.alert.resolved_at, episode.alert.resolved_by = at, by
                if episode.ended_at is None:
                    episode.ended_at, episode.ended_by = at, "OPERATOR"

    def _judge(self, at: int, value: float, cleared: bool) -> None:
        """Whether an episode ends, goes on or begins: asked when it is the threshold's turn."""
        episode = self._open_episode()
        if episode and cleared:
            episode.ended_at, episode.ended_by = at, "RECOVERY"
        elif episode:
            episode.peak = self._worse(episode.peak, value)
        elif passes(value, self.policy.operator, self.policy.level):
            self.episodes.append(Episode(at, value))

    def _open_episode(self) -> Episode | None:
        return self.episodes[-1] if self.episodes and self.episodes[-1].ended_at is None else None

    def _unresolved(self) -> list[Alert]:
        return [alert for alert in self.alerts if alert.resolved_at is None]

    def _worse(self, peak: float, value: float) -> float:
        if math.isnan(value):
            return peak
        return max(peak, value) if self.policy.rises else min(peak, value)

    def _is_cleared(self, value: float) -> bool:
        policy = self.policy
        if math.isnan(value) or passes(value, policy.operator, policy.level):
            return False
        return value <= policy.recovered_at if policy.rises else value >= policy.recovered_at

    def _raise(self, at: int, gates: Gates, over: bool) -> None:
        """Alert the open episode, or hold it; one that is over, and waits for its turn to end, is no alert."""
        episode = self._open_episode()
        if episode is None or episode.alert:
            return
        held = self._held_by(at, gates)
        if held:
            episode.held_by = held
        elif not over:
            episode.alert = Alert(at)

    def _held_by(self, at: int, gates: Gates) -> Gate | None:
        policy = self.policy
        if self._unresolved():
            return "ALREADY_ALERTED"
        if not policy.alert_enabled:
            return "DISABLED"
        if gates.muted:
            return "MUTED"
        if gates.maintenance and not policy.maintenance_exempt:
            return "MAINTENANCE"
        if policy.business_hours_only and not gates.business_hours:
            return "OUTSIDE_BUSINESS_HOURS"
        alerts = self.alerts
        if alerts and 0 <= at - alerts[-1].raised_at < policy.suppression_minutes * MINUTE:
            return "SUPPRESSED"
        return None

    def _escalate(self, at: int, gates: Gates) -> None:
        policy = self.policy
        delay = policy.escalation_minutes * MINUTE
        if not delay or gates.muted or (gates.maintenance and not policy.maintenance_exempt):
            return
        if policy.business_hours_only and not gates.business_hours:
            return
        for alert in self._unresolved():
            last = alert.escalated_at[-1] if alert.escalated_at else alert.raised_at
            due = (at - alert.raised_at) // delay > (last - alert.raised_at) // delay
            if alert.acknowledged_at is None and due:
                alert.escalated_at.append(at)


def is_considered(frequency_minutes: int, at: int, previous: int | None) -> bool:
    """Whether an evaluation falls into another slot than the one before it.

    Slots, not differences: what cron is late by skips none. A clock set back is a slot of its own.
    """
    if frequency_minutes <= 0 or previous is None or at < previous:
        return True
    slot = frequency_minutes * MINUTE
    return at // slot > previous // slot


def passes(value: float, operator: Operator, level: float) -> bool:
    """Whether a value is past a level; what is not known (NaN) is not."""
    if operator == ">=":
        return value >= level
    if operator == ">":
        return value > level
    return value <= level if operator == "<=" else value < level


# ------------------------------------------------------------------------------------------------------------------
# What followed
# ------------------------------------------------------------------------------------------------------------------


class Judgement(NamedTuple):
    """What became of an alert: the verdict, since when it is known, and when what it warned of came, if it did."""

    verdict: Verdict
    decided_at: int | None = None
    reached_at: int | None = None


def interventions(value: npt.ArrayLike, capacity: npt.ArrayLike, accumulating: bool) -> Bools:
    """At which measurements somebody had added capacity, or cut usage by hand, since the one before.

    Parameters
    ----------
    value, capacity : array_like, shape (n,)
        Of one resource, in one unit and in order of time; NaN where capacity is not known.
    accumulating : bool
        Whether usage piles up by itself (`ACCUMULATING`), so that a fall of 5 % or more is a hand's.
    """
    used, holds = np.asarray(value, dtype=float), np.asarray(capacity, dtype=float)
    found = np.zeros(used.size, dtype=np.bool_)
    found[1:] = holds[1:] > holds[:-1]
    if accumulating:
        found[1:] |= (used[:-1] > 0) & (used[1:] <= (100 - CUT) * used[:-1] / 100)
    return found


def judge(
    policy: Policy,
    raised_at: int,
    measured_at: Ints,
    utilization: Floats,
    intervened: Bools,
    *,
    horizon_days: float,
    as_of: int,
) -> Judgement:
    """What time says of an alert.

    TRUE when what it warned of was reached at a measurement from its beginning to its horizon (held already when it
    began counts: usage may jump past both levels at once); CENSORED when capacity was added or usage cut before
    that, or nothing at all was measured; FALSE when the horizon passed without it; OPEN until then. An absence is
    itself the fact.

    Parameters
    ----------
    policy : Policy
    raised_at, as_of : int
        When it was raised, and where knowledge ends.
    measured_at, utilization, intervened : ndarray, shape (n,)
        The resource's measurements in order of time, in percent of capacity, and `interventions`.
    horizon_days : float
        The setting ``verdict_horizon_days``.
    """
    if policy.condition == "ABSENCE":
        return Judgement("TRUE", raised_at, raised_at)
    if not policy.is_judged:
        return Judgement("OPEN")
    end = raised_at + policy.horizon(horizon_days)
    before = seen = int(np.searchsorted(measured_at, raised_at, side="right"))
    if before and utilization[before - 1] >= policy.target:
        return Judgement("TRUE", raised_at, raised_at)
    for n in range(before, len(measured_at)):
        at = int(measured_at[n])
        if at > min(end, as_of):
            break
        if intervened[n]:
            return Judgement("CENSORED", at)
        if utilization[n] >= policy.target:
            return Judgement("TRUE", at, at)
        seen = n + 1
    if as_of <= end:
        return Judgement("OPEN")
    return Judgement("FALSE" if seen > before else "CENSORED", end)


def reaches(measured_at: Ints, utilization: Floats, target: float, margin: float) -> list[int]:
    """When a level was reached: measurements at or past it after usage had been below it by the margin.

    What was reached when the history began could not have been announced in it, and does not count.
    """
    found: list[int] = []
    there: bool | None = None
    for at, used in zip(measured_at.tolist(), utilization.tolist(), strict=True):
        if used >= target:
            if there is False:
                found.append(at)
            there = True
        elif used <= target - margin or (there is None and used < target):
            there = False
    return found


def is_announced(raised_at: Iterable[int], reached_at: int, *, lead_hours: float, horizon: int) -> bool:
    """Whether an alert was raised at least the lead time, and at most the horizon, before a reach."""
    lead = round(lead_hours * HOUR)
    return any(reached_at - horizon <= at <= reached_at - lead for at in raised_at)


# ------------------------------------------------------------------------------------------------------------------
# Hours
# ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calendar:
    """When people work, and when they sleep: wall times of one zone.

    Attributes
    ----------
    zone : str
        IANA name.
    working_days : tuple of int
        ISO weekdays, Monday is 1.
    opens, closes : time
        Business hours run from the first to before the second.
    night_from, night_to : time
        Likewise; a night may begin before midnight and end after it.
    holidays : frozenset of date
        Days of the zone on which nobody works.
    """

    zone: str = "UTC"
    working_days: tuple[int, ...] = (1, 2, 3, 4, 5)
    opens: dt.time = dt.time(9)
    closes: dt.time = dt.time(17)
    night_from: dt.time = dt.time(22)
    night_to: dt.time = dt.time(6)
    holidays: frozenset[dt.date] = frozenset()

    def business(self, at: Ints) -> Bools:
        """Which of these times are in business hours.

        Parameters
        ----------
        at : ndarray, shape (n,)
            Microseconds; the wall clock decides, so a day on which the clock changes has its longer or shorter hours.
        """
        days, clock = _wall(at, self.zone)
        off = np.array([np.datetime64(day, "D").astype(np.int64) for day in self.holidays], dtype=np.int64)
        weekday = (days + 3) % 7 + 1  # the first of January 1970 was a Thursday
        open_now = (_clock(self.opens) <= clock) & (clock < _clock(self.closes))
        return open_now & np.isin(weekday, self.working_days) & ~np.isin(days, off)

    def night(self, at: Ints) -> Bools:
        """Which of these times are at night, working day or not."""
        _, clock = _wall(at, self.zone)
        start, end = _clock(self.night_from), _clock(self.night_to)
        if start <= end:
            return (start <= clock) & (clock < end)
        return (start <= clock) | (clock < end)

    def working_time(self, start: int, end: int) -> tuple[Ints, Ints]:
        """Business hours as a clock that runs in them alone.

        Returns
        -------
        at, worked : ndarray, shape (n,)
            From `start` to `end`: times, and microseconds of business hours up to each, linear between them (for
            ``np.interp``). To the minute.
        """
        minutes = np.arange(start // MINUTE * MINUTE, end + MINUTE, MINUTE, dtype=np.int64)
        works = self.business(minutes)
        edges = np.flatnonzero(np.concatenate(([True], works[1:] != works[:-1], [True]))[: minutes.size])
        edges = np.append(edges, minutes.size - 1)
        at = minutes[edges]
        return at, np.concatenate(([0], np.cumsum(np.diff(at) * works[edges[:-1]])))


@dataclass(frozen=True)
class Window:
    """A maintenance window, from its start to before its end.

    Attributes
    ----------
    starts_at, ends_at : datetime
        Aware.
    repeat_weeks : int or None
        Every so many weeks again, at the same wall times of `zone`.
    zone : str
        IANA name.
    """

    starts_at: dt.datetime
    ends_at: dt.datetime
    repeat_weeks: int | None = None
    zone: str = "UTC"

    def covers(self, at: Ints) -> Bools:
        """Which of these times (microseconds) it covers."""
        start, end = micros([self.starts_at, self.ends_at])
        if not self.repeat_weeks:
            return np.asarray((start <= at) & (at < end), dtype=np.bool_)
        walls = [
            days * DAY + clock for days, clock in (_wall(a, self.zone) for a in (at, np.array([start, end])))
        ]
        since = walls[0] - walls[1][0]
        inside = since % (7 * self.repeat_weeks * DAY) < walls[1][1] - walls[1][0]
        return np.asarray((since >= 0) & inside, dtype=np.bool_)


@dataclass(frozen=True)
class Hours:
    """What holds for a resource when: its calendar, its maintenance windows, and from when until when it is muted."""

    calendar: Calendar = Calendar()
    windows: tuple[Window, ...] = ()
    mutes: tuple[tuple[dt.datetime, dt.datetime], ...] = ()

    def maintenance(self, at: Ints) -> Bools:
        """Which of these times (microseconds) a maintenance window covers."""
        return _any((window.covers(at) for window in self.windows), at.size)

    def muted(self, at: Ints) -> Bools:
        """Which of these times (microseconds) a mute covers."""
        spans = (micros(list(mute)) for mute in self.mutes)
        return _any(((start <= at) & (at < end) for start, end in spans), at.size)

    def gates(self, at: Ints) -> list[Gates]:
        """What holds at each of these times (microseconds)."""
        held = (self.muted(at), self.maintenance(at), self.calendar.business(at))
        return [Gates(*map(bool, row)) for row in zip(*held, strict=True)]


def _any(masks: Iterable[Bools], size: int) -> Bools:
    found = np.zeros(size, dtype=np.bool_)
    for mask in masks:
        found |= mask
    return found


def _wall(at: Ints, zone: str) -> tuple[Ints, Ints]:
    """Days since 1970 and microseconds of the day by the wall clock of a zone."""
    moments = pd.DatetimeIndex(np.asarray(at, dtype="datetime64[us]")).tz_localize("UTC").tz_convert(zone)
    local = np.asarray(moments.tz_localize(None).as_unit("us").asi8, dtype=np.int64)
    return local // DAY, local % DAY


def _clock(time: dt.time) -> int:
    return ((time.hour * 60 + time.minute) * 60 + time.second) * 1_000_000 + time.microsecond


# ------------------------------------------------------------------------------------------------------------------
# How good
# ------------------------------------------------------------------------------------------------------------------


class Score(NamedTuple):
    """How good a threshold's alerts were.

    Attributes
    ----------
    alerts, true, false, open, censored : int
        Counts of alerts; the first is the sum of the others.
    reached, announced : int
        Times that the level warned of was reached, and how many of them were announced in time.
    precision, false_positive_rate : float or None
        Percent of decided alerts that were true, false; None under the minimum count.
    recall : float or None
        Percent of reaches announced in time (the guide's true positive rate); None under the minimum count.
    """

    alerts: int
    true: int
    false: int
    open: int
    reached: int
    announced: int
    precision: float | None
    false_positive_rate: float | None
    recall: float | None
    censored: int = 0


def rated(counts: Mapping[str, int], minimum: int) -> Score:
    """Turn counts into rates where there are enough of them.

    Parameters
    ----------
    counts : mapping
        ``true``, ``false``, ``censored``, ``open``, ``reached`` and ``announced``; see `Score`.
    minimum : int
        Fewest decided alerts for precision, fewest reaches for recall.
    """
    true, false, reached = counts["true"], counts["false"], counts["reached"]
    decided = true + false
    precision = 100 * true / decided if decided and decided >= minimum else None
    return Score(
        alerts=decided + counts["censored"] + counts["open"],
        true=true,
        false=false,
        open=counts["open"],
        reached=reached,
        announced=counts["announced"],
        precision=precision,
        false_positive_rate=None if precision is None else 100 - precision,
        recall=100 * counts["announced"] / reached if reached and reached >= minimum else None,
        censored=counts["censored"],
    )


def recommendation(false_positive_rate: float | None, true_positive_rate: float | None) -> str | None:
    """The guide's rule for tuning a threshold.

    Returns
    -------
    str or None
        'INCREASE_THRESHOLD' when more than 20 % of its alerts were false, else 'DECREASE_THRESHOLD' when less
        than 80 % of what it warns of was announced, else 'OPTIMAL'; None when the rates known do not decide it.
    """
    if false_positive_rate is not None and false_positive_rate > FALSE_POSITIVE_LIMIT:
        return "INCREASE_THRESHOLD"
    if false_positive_rate is not None and true_positive_rate is not None:
        return "DECREASE_THRESHOLD" if true_positive_rate < TRUE_POSITIVE_LIMIT else "OPTIMAL"
    return None


def lead_times(reached: pd.Series[Any], issued: pd.DataFrame) -> pd.Series[Any]:
    """How long before each reach the forecasts had been naming it, without interruption.

    Parameters
    ----------
    reached : Series of datetime64
        When a level was reached.
    issued : DataFrame
        Forecasts of the same resource: ``issued_at`` ascending, and ``is_named``: whether it gave a day for that level.

    Returns
    -------
    Series of timedelta64
        In the order of `reached`; NaT where the last forecast before it did not name it, or there was none.
    """

    def lead(at: pd.Timestamp) -> Any:
        before = issued[issued["issued_at"] < at]
        silent = before.loc[~before["is_named"], "issued_at"]
        naming = before if silent.empty else before[before["issued_at"] > silent.iloc[-1]]
        return at - naming["issued_at"].iloc[0] if len(naming) else pd.NaT

    return pd.Series([lead(at) for at in reached], index=reached.index, dtype="timedelta64[us]")
