"""Many policies over the histories of many resources, as if each had been evaluated all along.

What `policy.Pair` says one evaluation after the other is worked out here from where a series crosses a line: an
episode runs from one crossing to another, and all else (gates, suppression, escalation, what followed) looks at
episodes, which are few. Tests hold that both say the same.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from capacity_kit.alerting import policy as rules
from capacity_kit.alerting.policy import DAY, HOUR, MINUTE, Bools, Floats, Hours, Ints, Policy, Score, micros
from capacity_kit.errors import CapacityError

Smalls = npt.NDArray[np.int32]

AT_ONCE: Final = 64
"""Resources that a process holds at a time: their ranks fit into a core's cache, their histories into 30 MB."""
EPISODES_AT_ONCE: Final = 1_000_000
"""Episodes that are followed at a time; series that flap on the line have thousands each."""
FRESH: Final = 7 * DAY
"""How old a forecast may be that a RUNWAY is judged by."""
PROBABILITIES: Final = (10, 50, 90)
NEVER: Final = np.int64(2**62)
OUTCOMES: Final = np.array(["TRUE", "FALSE", "CENSORED", "OPEN"], dtype=object)
GATES: Final = np.array(
    [None, "ALREADY_ALERTED", "DISABLED", "MUTED", "MAINTENANCE", "OUTSIDE_BUSINESS_HOURS", "SUPPRESSED"],
    dtype=object,
)
COUNTED: Final = (
    "episodes",
    "alerts",
    "true",
    "false",
    "censored",
    "open",
    "escalations",
    "reached",
    "announced",
)
"""What is counted for each pair and span of time, by when it began."""


# ------------------------------------------------------------------------------------------------------------------
# What is replayed
# ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Runway:
    """What forecasts said of how long a level was away, each at its origin.

    Attributes
    ----------
    origins : ndarray of int, shape (origins,)
        Microseconds, ascending: a forecast is known from its origin on.
    days : ndarray, shape (resources, origins, 3)
        Days from the origin until the level is reached with 10, 50 and 90 percent; infinite: not within the
        forecast's horizon; NaN: there was none from this origin, and the one before stands.
    """

    origins: Ints
    days: Floats


@dataclass(frozen=True)
class Fleet:
    """The histories of resources, and the evaluations that looked at them.

    Attributes
    ----------
    resources : tuple of str
        Their order is that of the indices of pairs.
    evaluated_at : ndarray of int, shape (evaluations,)
        Microseconds, ascending.
    first : ndarray of int, shape (resources + 1,)
        Where each resource's measurements begin in the following arrays, and where the last one's end.
    measured_at, value, capacity, utilization, intervened : ndarray, shape (measurements,)
        Microseconds, the unit of the resource, percent, and `policy.interventions`.
    stale_after : ndarray of int, shape (resources,)
        Microseconds after which the newest measurement says nothing of a level any more.
    business, night, maintenance, muted : ndarray of bool, shape (hours, evaluations)
        What held at each evaluation, for each of the different `Hours`.
    hours_of : ndarray of int, shape (resources,)
        Which of them are a resource's.
    family_of : ndarray of int, shape (resources,)
        What fails together has one number: its alerts of one evaluation are one page.
    working : tuple of (ndarray, ndarray)
        For each of the hours, `policy.Calendar.working_time`.
    runways : dict
        For levels in percent of capacity, what forecasts had said of them.
    """

    resources: tuple[str, ...]
    evaluated_at: Ints
    first: Ints
    measured_at: Ints
    value: Floats
    capacity: Floats
    utilization: Floats
    intervened: Bools
    stale_after: Ints
    business: Bools
    night: Bools
    maintenance: Bools
    muted: Bools
    hours_of: Ints
    family_of: Ints
    working: tuple[tuple[Ints, Ints], ...]
    runways: Mapping[float, Runway] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        measured: pd.DataFrame,
        evaluated_at: pd.DatetimeIndex | None = None,
        *,
        hours: Hours | Mapping[str, Hours] = Hours(),  # noqa: B008 - it cannot change
        stale_minutes: float | Mapping[str, float] | None = None,
        accumulating: Collection[str] = (),
        families: Mapping[str, str] | None = None,
        runways: Mapping[float, Runway] | None = None,
    ) -> Fleet:
        """A fleet from a frame of measurements.

        Parameters
        ----------
        measured : DataFrame
            ``resource``, ``measured_at`` (UTC), ``value`` and ``capacity`` (in one unit a resource; NaN: not known).
        evaluated_at : DatetimeIndex, optional
            Every quarter of an hour from the first to after the last measurement unless given.
        hours : Hours or mapping from resource to Hours
        stale_minutes : float or mapping from resource to float, optional
            After how many minutes without a measurement a level has no verdict; None: never.
        accumulating : collection of str
            The resources whose usage piles up by itself; see `policy.ACCUMULATING`.
        families : mapping from resource to str, optional
            What fails together (``capacity_alerting.family``); all of it unless given.
        runways : mapping from level to Runway, optional
            See `runways`, which makes them.

        Raises
        ------
        CapacityError
            When there is nothing to replay, or evaluations do not follow each other in time.
        """
        if measured.empty:
            raise CapacityError("There is no measurement to replay")
        order = measured.sort_values(["resource", "measured_at"], kind="stable")
        codes, names = pd.factorize(order["resource"])
        first = np.searchsorted(codes, np.arange(len(names) + 1)).astype(np.int64)
        at = micros(order["measured_at"])
        if evaluated_at is None:
            quarter = 15 * MINUTE
            grid = np.arange(at.min() // quarter * quarter, at.max() + quarter, quarter, dtype=np.int64)
            evaluated = grid[grid >= at.min()]
        else:
            evaluated = micros(evaluated_at)
        if evaluated.size == 0 or bool((np.diff(evaluated) <= 0).any()):
            raise CapacityError("Evaluations must follow each other in time")
        resources = tuple(str(name) for name in names)
        value, capacity = (order[name].to_numpy(dtype=float) for name in ("value", "capacity"))
        piled = np.repeat([name in set(accumulating) for name in resources], np.diff(first))
        ours = [hours if isinstance(hours, Hours) else hours.get(name, Hours()) for name in resources]
        different = list(dict.fromkeys(ours))
        stale = [
            stale_minutes.get(name, np.inf)
            if isinstance(stale_minutes, Mapping)
            else (stale_minutes or np.inf)
            for name in resources
        ]
        with np.errstate(divide="ignore", invalid="ignore"):
            utilization = np.where(capacity > 0, 100 * value / capacity, np.nan)
        return cls(
            resources=resources,
            evaluated_at=evaluated,
            first=first,
            measured_at=at,
            value=value,
            capacity=capacity,
            utilization=utilization,
            intervened=_interventions(value, capacity, piled, first),
            stale_after=np.minimum(np.array(stale) * MINUTE, float(NEVER)).astype(np.int64),
            business=np.array([h.calendar.business(evaluated) for h in different]),
            night=np.array([h.calendar.night(evaluated) for h in different]),
            maintenance=np.array([h.maintenance(evaluated) for h in different]),
            muted=np.array([h.muted(evaluated) for h in different]),
            hours_of=np.array([different.index(h) for h in ours], dtype=np.int64),
            family_of=pd.factorize(np.array([(families or {}).get(name, "") for name in resources]))[0],
            working=_working_times(different, int(evaluated[0]), int(max(evaluated[-1], at.max()))),
            runways=dict(runways or {}),
        )

    def part(self, start: int, end: int) -> Fleet:
        """Some of the resources, by index, with what belongs to them only."""
        a, b = self.first[start], self.first[end]
        mine, hours_of = np.unique(self.hours_of[start:end], return_inverse=True)
        return replace(
            self,
            resources=self.resources[start:end],
            first=self.first[start : end + 1] - a,
            **{
                name: getattr(self, name)[a:b]
                for name in ("measured_at", "value", "capacity", "utilization", "intervened")
            },
            stale_after=self.stale_after[start:end],
            **{name: getattr(self, name)[mine] for name in ("business", "night", "maintenance", "muted")},
            hours_of=hours_of.astype(np.int64),
            family_of=self.family_of[start:end],
            working=tuple(self.working[n] for n in mine),
            runways={level: Runway(r.origins, r.days[start:end]) for level, r in self.runways.items()},
        )

    def known(self, at: int) -> Fleet:
        """What was measured up to a time (microseconds), and nothing of what came after it."""
        kept = self.measured_at <= at
        counts = np.add.reduceat(np.append(kept, False).astype(np.int64), self.first[:-1])
        counts[np.diff(self.first) == 0] = 0
        return replace(
            self,
            evaluated_at=self.evaluated_at[:0],
            first=np.concatenate(([0], np.cumsum(counts))),
            **{
                name: getattr(self, name)[kept]
                for name in ("measured_at", "value", "capacity", "utilization", "intervened")
            },
            runways={},
        )


def _interventions(value: Floats, capacity: Floats, piled: Bools, first: Ints) -> Bools:
    found = rules.interventions(value, capacity, accumulating=False)
    found |= piled & rules.interventions(value, capacity, accumulating=True)
    starts = first[:-1][np.diff(first) > 0]
    found[starts] = False  # the measurement before is another resource's
    return found


def _working_times(different: list[Hours], start: int, end: int) -> tuple[tuple[Ints, Ints], ...]:
    """Business hours of each; those that share a calendar share the work."""
    made = {h.calendar: h.calendar.working_time(start, end) for h in different}
    return tuple(made[h.calendar] for h in different)


Forecast = Callable[[Fleet, int, tuple[float, ...]], Floats]
"""What was known at an origin (microseconds), and levels (percent): days, shape (resources, levels, 3)."""


def runways(
    fleet: Fleet, origins: pd.DatetimeIndex, levels: Sequence[float], forecast: Forecast
) -> tuple[dict[float, Runway], float]:
    """Forecasts from each origin, made once for all the policies that look at them.

    Parameters
    ----------
    fleet : Fleet
    origins : DatetimeIndex
        Ascending; daily as a rule.
    levels : sequence of float
        Percent of capacity.
    forecast : callable
        Is given `Fleet.known` at the origin: it cannot see what came after.

    Returns
    -------
    runways : dict
        For `Fleet.of` or ``dataclasses.replace``.
    seconds : float
        How long the forecasts took.
    """
    begun = time.perf_counter()
    at = micros(origins)
    wanted = tuple(float(level) for level in levels)
    said = np.stack([forecast(fleet.known(int(origin)), int(origin), wanted) for origin in at], axis=2)
    made = {level: Runway(at, np.ascontiguousarray(said[:, n])) for n, level in enumerate(wanted)}
    return made, time.perf_counter() - begun


# ------------------------------------------------------------------------------------------------------------------
# The replay
# ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What every block of a replay is asked alike."""

    policies: tuple[Policy, ...]
    horizon_days: float
    lead_hours: float
    margin: float
    as_of: int
    cuts: Ints
    detail: bool
    nights: bool
    families: int


@dataclass(frozen=True)
class Replayed:
    """What the policies would have done.

    Attributes
    ----------
    scores : DataFrame
        One row a policy, in their order: ``resources``, the counts, the rates in percent (NaN under the minimum),
        ``lead_hours`` and ``lead_working_hours`` (medians over true alerts), ``pages`` (messages of alerts or of
        escalations; what fails together at one evaluation is one), ``pages_a_week``; ``night_pages`` (those of them
        that wake somebody: it is night by a resource's calendar), ``night_pages_a_week``.
    pairs : ndarray of int, shape (pairs, 2)
        Indices of policy and resource.
    counts : dict from str to ndarray of int, shape (pairs, spans)
        `COUNTED` for each pair and each span of time between the cuts.
    cuts : ndarray of int, shape (spans - 1,)
        Microseconds.
    minimum : int
        Of decided alerts, or reaches, for a rate.
    leads : DataFrame
        Of every true alert: ``pair`` (index), ``hours``, ``working_hours``.
    nights : DataFrame
        Where they were asked for, what night pages tell of: ``pair`` (index), ``page`` (a number; those of one
        threshold with the same one are one page), ``span`` (of `counts`).
    episodes : DataFrame
        Where details were asked for: ``policy``, ``resource`` (indices), ``start``, ``end`` (NaT: lasts), ``peak``,
        ``held_by``, ``raised_at`` (NaT: never), ``resolved_at``, ``escalations``, ``outcome``, ``reached_at``.
    reached : DataFrame
        Likewise: ``policy``, ``resource``, ``at``, ``announced``.
    seconds : float
        How long the replay took.
    """

    scores: pd.DataFrame
    pairs: Ints
    counts: Mapping[str, Smalls]
    cuts: Ints
    minimum: int
    leads: pd.DataFrame
    nights: pd.DataFrame
    episodes: pd.DataFrame
    reached: pd.DataFrame
    seconds: float

    def score(self, policy: int | None = None) -> Score:
        """One policy's alerts and rates, by index; None: all policies' alerts as one."""
        mine = slice(None) if policy is None else self.pairs[:, 0] == policy
        total = {name: int(counted[mine].sum()) for name, counted in self.counts.items()}
        return rules.rated(total, self.minimum)


def replay(
    fleet: Fleet,
    policies: Sequence[Policy],
    pairs: npt.ArrayLike | None = None,
    *,
    horizon_days: float = 30,
    lead_hours: float = 24,
    margin: float = 2.0,
    minimum: int = 5,
    as_of: int | None = None,
    cuts: Ints | None = None,
    detail: bool = False,
    nights: bool = False,
    workers: int = 1,
) -> Replayed:
    """Replay policies over a fleet.

    Parameters
    ----------
    fleet : Fleet
    policies : sequence of Policy
    pairs : array_like of int, shape (pairs, 2), optional
        Which policy over which resource, by index; every one over every one unless given.
    horizon_days, lead_hours : float
        How long alerts are given to come true, and how long before a reach one must be raised to announce it.
    margin : float
        How far below a level usage must fall before it can be reached again.
    minimum : int
        Fewest decided alerts, or reaches, for a rate.
    as_of : int, optional
        Microseconds; where knowledge ends: the last evaluation unless given.
    cuts : ndarray of int, optional
        Microseconds at which counts are kept apart.
    detail : bool
        Whether episodes and reaches are returned one by one.
    nights : bool
        Likewise, what night pages tell of.
    workers : int
        Processes; 1 is this one.

    Raises
    ------
    CapacityError
        When a policy cannot be replayed, or a process dies at it.
    """
    begun = time.perf_counter()
    _check(fleet, policies, workers)
    asked = Asked(
        tuple(policies),
        horizon_days,
        lead_hours,
        margin,
        int(fleet.evaluated_at[-1]) if as_of is None else as_of,
        np.sort(np.asarray([] if cuts is None else cuts, dtype=np.int64)),
        detail,
        nights,
        int(fleet.family_of.max(initial=0)) + 1,
    )
    everyone = pairs is None
    if everyone:
        chosen = np.indices((len(policies), len(fleet.resources))).reshape(2, -1).T.astype(np.int64)
    else:
        chosen = np.unique(np.asarray(pairs, dtype=np.int64).reshape(-1, 2), axis=0)
    counts = {name: np.zeros((len(chosen), asked.cuts.size + 1), dtype=np.int32) for name in COUNTED}
    gathered: dict[str, list[Any]] = {
        name: [] for name in ("alert", "escalation", "leads", "nights", "episodes", "reached")
    }
    for ids, done in _worked(_blocks(fleet, chosen, asked), workers):
        for name in COUNTED:
            counts[name][ids] = done.counts[name]
        gathered["alert"].append(done.alert_pages)
        gathered["escalation"].append(done.escalation_pages)
        gathered["leads"].append(done.leads)
        gathered["nights"].append(done.nights)
        gathered["episodes"].append(done.episodes)
        gathered["reached"].append(done.reached)
    pair, *lead = np.concatenate([*gathered["leads"], np.zeros((3, 0))], axis=1)
    leads = pd.DataFrame({"pair": pair.astype(np.int64), "hours": lead[0], "working_hours": lead[1]})
    told = np.concatenate([*gathered["nights"], np.zeros((3, 0), np.int64)], axis=1)
    scores = _scores(fleet, asked, chosen, counts, gathered, leads, minimum)
    return Replayed(
        scores,
        chosen,
        counts,
        asked.cuts,
        minimum,
        leads,
        pd.DataFrame(dict(zip(("pair", "page", "span"), told, strict=True))),
        _joined(gathered["episodes"], _EPISODES),
        _joined(gathered["reached"], _REACHED),
        time.perf_counter() - begun,
    )


def _check(fleet: Fleet, policies: Sequence[Policy], workers: int) -> None:
    if not policies:
        raise CapacityError("There is no policy to replay")
    if workers < 1:
        raise CapacityError(f"There must be at least one worker, not {workers}")
    missing = {p.target for p in policies if p.condition == "RUNWAY"} - set(fleet.runways)
    if missing:
        raise CapacityError(f"No forecasts are known of the level of {min(missing):g} %")


@dataclass(frozen=True)
class _Done:
    """What came of a block: counts by pair, and what can be summed up over all blocks only."""

    counts: dict[str, Smalls]
    alert_pages: Ints
    escalation_pages: Ints
    leads: Floats
    nights: Ints
    episodes: pd.DataFrame
    reached: pd.DataFrame


_Block = tuple[Ints, tuple[Fleet, int, Ints, Asked]]


def _blocks(fleet: Fleet, pairs: Ints, asked: Asked) -> Iterator[_Block]:
    """Resources in blocks: ids of the block's pairs, its fleet, its first resource, its pairs, what is asked."""
    for start in range(0, len(fleet.resources), AT_ONCE):
        end = min(start + AT_ONCE, len(fleet.resources))
        ids = np.flatnonzero((pairs[:, 1] >= start) & (pairs[:, 1] < end))
        if ids.size:
            used, local = np.unique(pairs[ids, 0], return_inverse=True)
            mine = replace(asked, policies=tuple(asked.policies[n] for n in used))
            own = np.stack([local, pairs[ids, 1] - start, pairs[ids, 0], ids], axis=1)
            yield ids, (fleet.part(start, end), start, own, mine)


def _worked(blocks: Iterator[_Block], workers: int) -> Iterator[tuple[Ints, _Done]]:
    if workers == 1:
        for ids, rest in blocks:
            yield ids, _work(*rest)
        return
    waiting: deque[tuple[Ints, Future[_Done]]] = deque()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin) as pool:
        try:
            for ids, rest in blocks:
                waiting.append((ids, pool.submit(_work, *rest)))
                if len(waiting) > 2 * workers:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        except BrokenProcessPool:
            raise CapacityError(
                "A process of the replay died, perhaps for want of memory", "Try again with fewer workers."
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin() -> None:
    """Have a process end with the one that it works for; an interruption is that one's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


# ------------------------------------------------------------------------------------------------------------------
# One block
# ------------------------------------------------------------------------------------------------------------------


def _work(fleet: Fleet, start: int, pairs: Ints, asked: Asked) -> _Done:
    """All policies over some resources; `pairs`: policy and resource in the block, policy and pair in all."""
    block = _Replay(fleet, pairs, asked)
    for frequency in sorted({p.frequency_minutes for p in asked.policies}):
        block.replay(frequency)
    return block.done(start)


def _considered(at: Ints, frequency_minutes: int) -> Ints:
    """Indices of the evaluations that fall into another slot than the one before."""
    if not frequency_minutes:
        return np.arange(at.size)
    slot = at // (frequency_minutes * MINUTE)
    return np.flatnonzero(np.concatenate(([True], slot[1:] > slot[:-1])))


@dataclass(frozen=True)
class _Rule:
    """What two policies share that see the same episodes: a signal that rises towards worse, and two cuts in it.

    An episode opens where the signal is at `opens` or above, and ends where it is below `ends`.
    """

    signal: tuple[str, float]
    opens: float
    ends: float

    @classmethod
    def of(cls, p: Policy) -> _Rule:
        sign = 1.0 if p.rises else -1.0
        level = sign * p.level
        opens = level if p.operator in (">=", "<=") else np.nextafter(level, np.inf)
        # Ended: where it is recovered, and not past the level itself.
        ends = min(np.nextafter(sign * p.recovered_at, np.inf), opens)
        kind = f"{p.condition} {p.probability if p.condition == 'RUNWAY' else sign:g}"
        return cls((kind, p.target if p.condition == "RUNWAY" else 0.0), float(opens), float(ends))


def _runs(opening: Bools, ending: Bools) -> tuple[Ints, Ints]:
    """Where runs open and end in a row of evaluations, flat; nothing is open before the first.

    Returns
    -------
    start, end : ndarray of int, shape (runs,)
        `end` is the place after the last one where the run lasts.
    """
    state = opening.view(np.int8) - ending.view(np.int8)
    changes = np.flatnonzero(state[1:] != state[:-1]) + 1
    at = np.concatenate(([0], changes))
    said = state[at]
    told = said != 0
    at, said = at[told], said[told]
    news = said != np.concatenate(([-1], said[:-1]))
    at, said = at[news], said[news]
    start, end = at[said == 1], at[said == -1]
    if end.size < start.size:
        end = np.append(end, opening.size)
    return start, end


class _Replay:
    """The work on one block."""

    def __init__(self, fleet: Fleet, pairs: Ints, asked: Asked) -> None:
        self.fleet, self.asked, self.pairs = fleet, asked, pairs
        self.policies = asked.policies
        count = len(fleet.resources)
        self.slot = np.full((len(self.policies), count), -1, dtype=np.int64)
        self.slot[pairs[:, 0], pairs[:, 1]] = np.arange(len(pairs))
        self.global_policy = np.zeros(len(self.policies), dtype=np.int64)
        self.global_policy[pairs[:, 0]] = pairs[:, 2]
        self.newest = self._newest()
        self.spans = asked.cuts.size + 1
        self.counts = {name: np.zeros(len(pairs) * self.spans, dtype=np.int64) for name in COUNTED}
        self.leads: list[Floats] = [np.zeros((3, 0))]
        self.nights: list[Ints] = [np.zeros((3, 0), np.int64)]
        self.pages: dict[str, list[Ints]] = {
            "alert": [np.zeros(0, np.int64)],
            "escalation": [np.zeros(0, np.int64)],
        }
        self.episodes: list[pd.DataFrame] = []
        self.reached: list[pd.DataFrame] = []
        self.next_reach: dict[float, Ints] = {}
        self.reaches: dict[float, tuple[Ints, Ints]] = {}
        self.rules = [_Rule.of(p) for p in self.policies]
        self.ends = np.array([rule.ends for rule in self.rules])
        signals = [rule.signal for rule in self.rules]
        self.alike = np.array([signals.index(s) for s in signals])  # the first policy that sees the same
        self.signals: dict[tuple[str, float], Floats] = {}
        self.next_intervention = _next(fleet.intervened)
        self.horizon = np.array([p.horizon(asked.horizon_days) for p in self.policies], dtype=np.int64)

    # What was known ----------------------------------------------------------------------------------------------

    def _newest(self) -> Smalls:
        """The newest measurement at each evaluation, shape (resources, evaluations); -1: none yet."""
        fleet = self.fleet
        found = np.empty((len(fleet.resources), fleet.evaluated_at.size), dtype=np.int32)
        for r in range(len(fleet.resources)):
            a, b = fleet.first[r], fleet.first[r + 1]
            at = fleet.measured_at[a:b]
            if at.size == fleet.evaluated_at.size and np.array_equal(at, fleet.evaluated_at):
                found[r] = np.arange(a, b)
            else:
                place = np.searchsorted(at, fleet.evaluated_at, side="right") - 1
                found[r] = np.where(place >= 0, place + a, -1)
        return found

    def _signal(self, rule: _Rule, considered: Ints) -> Floats:
        """The signal of a rule at the evaluations considered, shape (resources, evaluations); NaN: no verdict."""
        fleet, now = self.fleet, self.fleet.evaluated_at[considered]
        newest = self.newest if considered.size == self.newest.shape[1] else self.newest[:, considered]
        kind, target = rule.signal
        condition, sign = kind.split()
        if condition == "ABSENCE":
            return np.where(newest >= 0, (now - fleet.measured_at[newest]) / MINUTE, np.nan)
        used = fleet.utilization[newest]
        if (newest[:, 0] < 0).any():
            used[newest < 0] = np.nan
        if condition == "LEVEL":
            if (fleet.stale_after < NEVER).any():
                used[now - fleet.measured_at[newest] > fleet.stale_after[:, None]] = np.nan
            return used if sign == "1" else -used
        runway = fleet.runways[target]
        said = runway.days[:, :, PROBABILITIES.index(int(sign))]
        # Which origin's forecast stands: the last at which there was one.
        issued = np.maximum.accumulate(np.where(np.isnan(said), -1, np.arange(runway.origins.size)), axis=1)
        latest = np.searchsorted(runway.origins, now, side="right") - 1
        origin = np.where(latest >= 0, issued[:, latest], -1)
        age = now - runway.origins[origin]
        left = np.maximum(np.take_along_axis(said, origin, axis=1) - age / DAY, 0.0)
        left[(origin < 0) | (age > FRESH)] = np.nan
        left[used >= target] = 0.0
        left[np.isnan(used)] = np.nan
        return -left

    def signal(self, rule: _Rule) -> Floats:
        """`_signal` at every evaluation; kept, for it is asked for again."""
        if rule.signal not in self.signals:
            self.signals[rule.signal] = self._signal(rule, np.arange(self.fleet.evaluated_at.size))
        return self.signals[rule.signal]

    def _ranks(self, signal: Floats, cuts: Floats) -> npt.NDArray[Any]:
        """How many cuts the signal is at or above, after a first column of nothing; an unknown one is as before."""
        rows, columns = signal.shape
        unknown = np.isnan(signal)
        kind = np.uint8 if cuts.size < 256 else np.uint16
        ranks = np.zeros((rows, columns + 1), dtype=kind)
        ranks[:, 1:] = np.searchsorted(cuts, signal.ravel(), side="right").reshape(rows, columns)
        if unknown.any():
            ranks[:, 1:][unknown] = 0
            known = np.zeros((rows, columns + 1), dtype=np.int32)
            known[:, 1:] = np.where(unknown, 0, np.arange(1, columns + 1))
            ranks = np.take_along_axis(ranks, np.maximum.accumulate(known, axis=1), axis=1)
        return ranks

    # Episodes ----------------------------------------------------------------------------------------------------

    def replay(self, frequency_minutes: int) -> None:
        """Those policies that look so often."""
        considered = _considered(self.fleet.evaluated_at, frequency_minutes)
        mine = [n for n, p in enumerate(self.policies) if p.frequency_minutes == frequency_minutes]
        by_rule: dict[_Rule, list[int]] = {}
        for n in mine:
            by_rule.setdefault(self.rules[n], []).append(n)
        by_signal: dict[tuple[str, float], list[_Rule]] = {}
        for rule in by_rule:
            by_signal.setdefault(rule.signal, []).append(rule)
        opened = _Opened(self, considered)
        for group in by_signal.values():
            signal = self._signal(group[0], considered)
            cuts = np.unique([cut for rule in group for cut in (rule.opens, rule.ends)])
            ranks = self._ranks(signal, cuts).ravel()
            width = considered.size + 1
            for rule in group:
                opening = ranks > int(np.searchsorted(cuts, rule.opens))
                ending = ranks <= int(np.searchsorted(cuts, rule.ends))
                start, end = _runs(opening, ending)
                row = start // width
                start, end = start - row * width - 1, np.minimum(end - row * width, width) - 1
                peak = _peaks(signal, row, start, end) if self.asked.detail else None
                for n in by_rule[rule]:
                    opened.add(n, row, start, end, peak)
        opened.follow()

    def count(self, name: str, slot: Ints, at: Ints) -> None:
        """Count what happened to pairs at times (microseconds)."""
        span = np.searchsorted(self.asked.cuts, at, side="right") if self.asked.cuts.size else 0
        self.counts[name] += np.bincount(slot * self.spans + span, minlength=self.counts[name].size)

    # What followed -----------------------------------------------------------------------------------------------

    def following(self, target: float) -> Ints:
        """The next measurement at or past a level, from each measurement on."""
        if target not in self.next_reach:
            self.next_reach[target] = _next(self.fleet.utilization >= target)
        return self.next_reach[target]

    def reaches_of(self, target: float) -> tuple[Ints, Ints]:
        """Resource and time of every reach of a level that could have been announced."""
        if target not in self.reaches:
            fleet, asked = self.fleet, self.asked
            earliest = int(fleet.evaluated_at[0]) + round(asked.lead_hours * HOUR)
            rows: list[Ints] = [np.zeros(0, np.int64)]
            times: list[Ints] = [np.zeros(0, np.int64)]
            for r in range(len(fleet.resources)):
                mine = slice(fleet.first[r], fleet.first[r + 1])
                used, at = fleet.utilization[mine], fleet.measured_at[mine]
                known = ~np.isnan(used)
                used, at = used[known], at[known]
                if not used.size:
                    continue
                start, _ = _runs(used >= target, used <= target - asked.margin)
                found = at[start[start > 0]]
                found = found[(found >= earliest) & (found <= asked.as_of)]
                rows.append(np.full(found.size, r))
                times.append(found)
            self.reaches[target] = np.concatenate(rows), np.concatenate(times)
        return self.reaches[target]

    def done(self, start: int) -> _Done:
        """The counts, as they are sent back."""
        wide = {
            name: counted.reshape(-1, self.spans).astype(np.int32) for name, counted in self.counts.items()
        }
        episodes, reached = _joined(self.episodes, _EPISODES), _joined(self.reached, _REACHED)
        episodes["resource"] += start
        reached["resource"] += start
        return _Done(
            wide,
            np.unique(np.concatenate(self.pages["alert"])),
            np.unique(np.concatenate(self.pages["escalation"])),
            np.concatenate(self.leads, axis=1),
            np.concatenate(self.nights, axis=1),
            episodes,
            reached,
        )


def _next(held: Bools) -> Ints:
    """From each place, and from the one after the last, the first place where it holds; the size where none does."""
    places = np.where(held, np.arange(held.size), held.size)
    return np.append(np.minimum.accumulate(places[::-1])[::-1], held.size)


def _peaks(signal: Floats, row: Ints, start: Ints, end: Ints) -> Floats:
    """The worst that a signal was in each run."""
    if not row.size:
        return np.zeros(0)
    flat = np.append(signal.ravel(), np.nan)
    width = signal.shape[1]
    edges = np.stack([row * width + start, row * width + end], axis=1).ravel()
    return np.asarray(np.fmax.reduceat(flat, edges)[::2])


class _Opened:
    """Episodes of policies that share their turns, gathered until there are enough to follow together.

    They begin and end at the evaluations considered, but from there on every evaluation counts: indices are of all.
    """

    def __init__(self, block: _Replay, considered: Ints) -> None:
        self.block = block
        self.at = block.fleet.evaluated_at
        self.considered = np.append(considered, self.at.size)
        self.is_turn = np.zeros(self.at.size + 1, dtype=np.bool_)
        self.is_turn[self.considered] = True
        self.waiting: list[tuple[int, Ints, Ints, Ints, Floats | None]] = []
        self.size = 0
        masks = block.fleet
        self.business, self.night = masks.business, masks.night
        self.maintenance, self.muted = masks.maintenance, masks.muted
        closed = [
            self.muted | (self.maintenance & ~exempt) | (~self.business & hours)
            for exempt in (np.False_, np.True_)
            for hours in (np.False_, np.True_)
        ]
        # For each way of looking at the gates and each of the hours, the next evaluation at which they are open.
        self.next_open = np.concatenate([_next_rows(~c) for c in closed]).astype(np.int64)

    def add(self, policy: int, row: Ints, start: Ints, end: Ints, peak: Floats | None) -> None:
        """One policy's episodes, in the order of resources and times; places are of the evaluations considered."""
        mine = self.block.slot[policy] >= 0
        if not mine.all():
            kept = mine[row]
            row, start, end = row[kept], start[kept], end[kept]
            peak = None if peak is None else peak[kept]
        self.waiting.append((policy, row, self.considered[start], self.considered[end], peak))
        self.size += row.size
        if self.size >= EPISODES_AT_ONCE:
            self.follow()

    def follow(self) -> None:
        """What became of the episodes that wait."""
        if not self.waiting:
            return
        block, asked, at = self.block, self.block.asked, self.at
        chosen = np.array([n for n, *_ in self.waiting])
        sizes = [row.size for _, row, *_ in self.waiting]
        policy = np.repeat(chosen, sizes)
        row = np.concatenate([w[1] for w in self.waiting])
        start = np.concatenate([w[2] for w in self.waiting])
        end = np.concatenate([w[3] for w in self.waiting])
        peak = np.concatenate([w[4] for w in self.waiting if w[4] is not None]) if asked.detail else None
        self.waiting, self.size = [], 0

        slot = block.slot[policy, row]
        block.count("episodes", slot, at[start])
        raised = self._raised(policy, row, start, end)
        told = np.flatnonzero(raised >= 0)
        p, r, when, s = policy[told], row[told], raised[told], slot[told]
        once = np.array([not q.auto_resolution for q in block.policies])
        until = np.where(once[p], at.size, end[told])
        raised_at = at[when]
        block.count("alerts", s, raised_at)
        outcome, reached_at = self._judged(p, r, when)
        for n, name in enumerate(("true", "false", "censored", "open")):
            this = outcome == n
            block.count(name, s[this], raised_at[this])
        self._page("alert", p, r, when)
        escalations = self._escalate(p, r, when, until)
        true = outcome == 0
        self._lead(p[true], r[true], raised_at[true], reached_at[true])
        self._announce(chosen, p, r, raised_at)
        if asked.detail:
            assert peak is not None
            held = self._held_by(policy, row, start, end, raised)
            spread = np.full((5, policy.size), -1, dtype=np.int64)
            spread[:, told] = (
                raised_at,
                np.where(until < at.size, until, -1),
                escalations,
                outcome,
                reached_at,
            )
            resolved = np.where(spread[1] >= 0, at[spread[1]], -1)
            rises = np.array([q.rises for q in block.policies])[policy]
            block.episodes.append(
                pd.DataFrame(
                    {
                        "policy": block.global_policy[policy],
                        "resource": row,
                        "start": _times(at[start]),
                        "end": _times(np.where(end < at.size, at[np.minimum(end, at.size - 1)], -1)),
                        "peak": np.where(rises, peak, -peak),
                        "held_by": pd.Series(GATES[held], dtype="str"),
                        "raised_at": _times(spread[0]),
                        "resolved_at": _times(resolved),
                        "escalations": np.maximum(spread[2], 0),
                        "outcome": pd.Series(np.where(raised >= 0, OUTCOMES[spread[3]], None), dtype="str"),
                        "reached_at": _times(np.where(spread[4] < NEVER, spread[4], -1)),
                    }
                )
            )

    def _page(self, kind: str, policy: Ints, row: Ints, when: Ints) -> None:
        """Page people: what one policy tells of one family at one evaluation is one page, and may wake somebody."""
        block, fleet = self.block, self.block.fleet
        dark = self.night[fleet.hours_of[row], when]
        absence = np.array([p.condition == "ABSENCE" for p in block.policies])[policy]
        family = np.where(absence, 0, fleet.family_of[row])  # all that is silent is one
        page = when * block.asked.families + family
        place = block.global_policy[policy] * (fleet.evaluated_at.size * block.asked.families) + page
        block.pages[kind].append(np.unique(2 * place + dark))
        if block.asked.nights:
            pair = block.pairs[block.slot[policy[dark], row[dark]], 3]
            span = np.searchsorted(block.asked.cuts, self.at[when[dark]], side="right")
            block.nights.append(np.stack([pair, 2 * page[dark] + (kind == "escalation"), span]))

    def _gate(self, policy: Ints, row: Ints) -> Ints:
        """Where in `next_open` the gates of a pair begin."""
        policies = self.block.policies
        way = np.array([2 * p.maintenance_exempt + p.business_hours_only for p in policies], dtype=np.int64)
        hours = self.business.shape[0]
        return np.asarray((way[policy] * hours + self.block.fleet.hours_of[row]) * (self.at.size + 1))

    def _let_through(self, policy: Ints, row: Ints, gate: Ints, place: Ints) -> Ints:
        """The next evaluation at which the gates are open; between two turns only while the breach is not over."""
        found = self.next_open[gate + place]
        doubtful = np.flatnonzero(~self.is_turn[found])
        while doubtful.size:
            over = self._is_over(policy[doubtful], row[doubtful], found[doubtful])
            doubtful = doubtful[over]
            found[doubtful] = self.next_open[gate[doubtful] + found[doubtful] + 1]
            doubtful = doubtful[~self.is_turn[found[doubtful]]]
        return np.asarray(found)

    def _is_over(self, policy: Ints, row: Ints, when: Ints) -> Bools:
        """Whether an episode would end at an evaluation, were it its turn."""
        block, over = self.block, np.zeros(policy.size, dtype=np.bool_)
        first = block.alike[policy]
        for n in np.unique(first):
            mine = first == n
            signal = block.signal(block.rules[n])
            over[mine] = signal[row[mine], when[mine]] < block.ends[policy[mine]]
        return over

    def _raised(self, policy: Ints, row: Ints, start: Ints, end: Ints) -> Ints:
        """At which evaluation each episode is alerted; -1: never."""
        if not policy.size:
            return np.zeros(0, dtype=np.int64)
        policies, at = self.block.policies, self.at
        gate = self._gate(policy, row)
        raised = self._let_through(policy, row, gate, start)
        enabled = np.array([p.alert_enabled for p in policies])[policy]
        raised[(raised >= end) | ~enabled] = -1
        quiet = np.array([p.suppression_minutes * MINUTE for p in policies], dtype=np.int64)
        once = np.array([not p.auto_resolution for p in policies])
        # A pair whose alerts stand in each other's way is followed from episode to episode, all such pairs at once.
        news = np.flatnonzero(np.concatenate(([True], (policy[1:] != policy[:-1]) | (row[1:] != row[:-1]))))
        many = np.diff(np.append(news, policy.size))
        pair = policy[news]
        bound = ((quiet[pair] > 0) | once[pair]) & enabled[news] & (many > 1)
        first, many = news[bound], many[bound]
        order = np.argsort(-many, kind="stable")
        first, many = first[order], many[order]
        if not first.size:
            return np.asarray(raised)
        wait, single, door = quiet[policy[first]], once[policy[first]], gate[first]
        fewer = -many
        free = np.zeros(first.size, dtype=np.int64)  # from which evaluation on a new alert is let through
        for k in range(int(many[0])):
            n = int(np.searchsorted(fewer, -k, side="left"))
            episode = first[:n] + k
            place = np.maximum(start[episode], free[:n])
            found = self._let_through(policy[episode], row[episode], door[:n], place)
            alerted = found < end[episode]
            raised[episode] = np.where(alerted, found, -1)
            mine = np.flatnonzero(alerted)
            after = np.searchsorted(at, at[found[mine]] + wait[mine], side="left")
            free[mine] = np.where(single[mine], at.size, after)
        return np.asarray(raised)

    def _held_by(self, policy: Ints, row: Ints, start: Ints, end: Ints, raised: Ints) -> Ints:
        """Which gate held each episode last, as an index of `GATES`."""
        block, policies, at = self.block, self.block.policies, self.at
        if not policy.size:
            return np.zeros(0, dtype=np.int64)
        last = np.where(raised >= 0, raised, end) - 1
        hours = block.fleet.hours_of[row]
        pair = np.cumsum(np.concatenate(([False], (policy[1:] != policy[:-1]) | (row[1:] != row[:-1]))))
        # The newest alert of the pair before this episode.
        place = np.where(raised >= 0, np.arange(policy.size), -1)
        before = np.concatenate(([-1], np.maximum.accumulate(place)[:-1]))
        before = np.where((before >= 0) & (pair[before] == pair), before, -1)
        flags = {
            name: np.array([getattr(p, name) for p in policies])[policy]
            for name in ("alert_enabled", "auto_resolution", "maintenance_exempt", "business_hours_only")
        }
        quiet = np.array([p.suppression_minutes * MINUTE for p in policies], dtype=np.int64)[policy]
        while True:
            holds = [
                (before >= 0) & ~flags["auto_resolution"],
                ~flags["alert_enabled"],
                self.muted[hours, last],
                self.maintenance[hours, last] & ~flags["maintenance_exempt"],
                ~self.business[hours, last] & flags["business_hours_only"],
                (before >= 0) & (at[last] - at[raised[before]] < quiet),
            ]
            held = np.where(raised == start, 0, np.select(holds, np.arange(1, 7), 0))
            unheld = (held == 0) & (last >= start) & (raised != start)  # over, between two turns
            if not unheld.any():
                return held
            last = last - unheld

    def _escalate(self, policy: Ints, row: Ints, when: Ints, until: Ints) -> Ints:
        """Count and page the escalations of alerts; returns how many each had."""
        block, at = self.block, self.at
        delay = np.array([p.escalation_minutes * MINUTE for p in block.policies], dtype=np.int64)[policy]
        reached = np.zeros(policy.size, dtype=np.int64)  # how many delays had run up to the last one
        made = np.zeros(policy.size, dtype=np.int64)
        alive = np.flatnonzero(delay > 0)
        if not alive.size:
            return made
        gate, slot = self._gate(policy, row), block.slot[policy, row]
        while alive.size:
            due = at[when[alive]] + (reached[alive] + 1) * delay[alive]
            now = self.next_open[gate[alive] + np.searchsorted(at, due, side="left")]
            on = (now < at.size) & (now < until[alive])
            alive, now = alive[on], now[on]
            reached[alive] = (at[now] - at[when[alive]]) // delay[alive]
            block.count("escalations", slot[alive], at[now])
            made[alive] += 1
            self._page("escalation", policy[alive], row[alive], now)
        return made

    def _judged(self, policy: Ints, row: Ints, when: Ints) -> tuple[Ints, Ints]:
        """Outcome (an index of `OUTCOMES`), and when what was warned of came (NEVER: it did not, or too late)."""
        block, fleet, as_of = self.block, self.block.fleet, self.block.asked.as_of
        raised_at, end_of = self.at[when], fleet.first[row + 1]
        newest = block.newest[row, when].astype(np.int64)
        here = np.where(newest >= 0, newest, fleet.first[row])
        measured_at = np.append(fleet.measured_at, NEVER)
        reached_at = np.full(policy.size, NEVER)
        targets = np.array([p.target for p in block.policies])
        for target in np.unique(targets[policy]):
            mine = targets[policy] == target
            found = block.following(float(target))[here[mine]]
            came = np.where(found < end_of[mine], measured_at[found], NEVER)
            reached_at[mine] = np.maximum(came, raised_at[mine])
        reached_at[reached_at > as_of] = NEVER
        later = np.where(newest >= 0, newest + 1, here)
        hand = block.next_intervention[later]
        hand_at = np.where(hand < end_of, measured_at[hand], NEVER)
        next_at = np.where(later < end_of, measured_at[later], NEVER)
        end = raised_at + block.horizon[policy]
        absence = np.array([p.condition == "ABSENCE" for p in block.policies])[policy]
        judged = np.array([p.is_judged for p in block.policies])[policy]
        reached_at[absence] = raised_at[absence]
        reached_at[~judged] = NEVER
        true = absence | ((reached_at <= end) & (reached_at < hand_at))
        censored = ~true & ((hand_at <= np.minimum(end, as_of)) | ((next_at > end) & (end < as_of)))
        false = ~true & ~censored & (end < as_of)
        outcome = np.where(true, 0, np.where(~judged, 3, np.where(censored, 2, np.where(false, 1, 3))))
        return outcome, np.where(true, reached_at, NEVER)

    def _lead(self, policy: Ints, row: Ints, raised_at: Ints, reached_at: Ints) -> None:
        """Keep the lead times of true alerts: pair, hours, working hours."""
        block, fleet = self.block, self.block.fleet
        worked = np.zeros(policy.size)
        hours = fleet.hours_of[row]
        for n in np.unique(hours):
            mine = hours == n
            at, clock = fleet.working[n]
            worked[mine] = np.interp(reached_at[mine], at, clock) - np.interp(raised_at[mine], at, clock)
        pair = block.pairs[block.slot[policy, row], 3].astype(float)
        block.leads.append(np.array((pair, (reached_at - raised_at) / HOUR, worked / HOUR)))

    def _announce(self, chosen: Ints, policy: Ints, row: Ints, raised_at: Ints) -> None:
        """Count the reaches of what these policies warn of, and those that an alert announced."""
        block, asked = self.block, self.block.asked
        count, begun = len(block.fleet.resources), int(self.at[0])
        place = np.full(len(block.policies), -1)
        place[chosen] = np.arange(chosen.size)
        lead = round(asked.lead_hours * HOUR)
        reach = max(int(block.horizon.max(initial=0)), lead)
        width = 2 * (asked.as_of - begun + reach) + 2
        keys = (place[policy] * count + row) * width + raised_at - begun + reach
        for n, p in enumerate(chosen):
            if not block.policies[p].is_judged or block.policies[p].condition == "ABSENCE":
                continue
            rows, at = block.reaches_of(block.policies[p].target)
            mine = block.slot[p, rows] >= 0
            rows, at = rows[mine], at[mine]
            if not rows.size:
                continue
            base = (n * count + rows) * width - begun + reach
            low = np.searchsorted(keys, base + at - block.horizon[p], side="left")
            high = np.searchsorted(keys, base + at - lead, side="right")
            told, slot = high > low, block.slot[p, rows]
            block.count("reached", slot, at)
            block.count("announced", slot[told], at[told])
            if asked.detail:
                block.reached.append(
                    pd.DataFrame(
                        {
                            "policy": np.full(rows.size, block.global_policy[p]),
                            "resource": rows,
                            "at": _times(at),
                            "announced": told,
                        }
                    )
                )


def _next_rows(held: Bools) -> Ints:
    """`_next` of each row, one after the other."""
    rows, columns = held.shape
    places = np.full((rows, columns + 1), columns)
    places[:, :-1] = np.where(held, np.arange(columns), columns)
    return np.ascontiguousarray(np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1]).ravel()


# ------------------------------------------------------------------------------------------------------------------
# Summing up
# ------------------------------------------------------------------------------------------------------------------

_EPISODES: Final = {
    "policy": "int64",
    "resource": "int64",
    "start": "datetime64[us, UTC]",
    "end": "datetime64[us, UTC]",
    "peak": "float64",
    "held_by": "str",
    "raised_at": "datetime64[us, UTC]",
    "resolved_at": "datetime64[us, UTC]",
    "escalations": "int64",
    "outcome": "str",
    "reached_at": "datetime64[us, UTC]",
}
_REACHED: Final = {"policy": "int64", "resource": "int64", "at": "datetime64[us, UTC]", "announced": "bool"}


def _times(at: Ints) -> pd.DatetimeIndex:
    """Times in UTC; NaT for what is negative."""
    moments = np.where(at >= 0, at, np.iinfo(np.int64).min).astype("datetime64[us]")
    return pd.DatetimeIndex(moments).tz_localize("UTC")


def _joined(frames: Sequence[pd.DataFrame], columns: Mapping[str, str]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
    joined = pd.concat(filled, ignore_index=True).astype(
        {"held_by": object, "outcome": object} if "held_by" in columns else {}
    )
    return joined.sort_values(list(columns)[:3], kind="stable", ignore_index=True)


def _scores(
    fleet: Fleet,
    asked: Asked,
    pairs: Ints,
    counts: Mapping[str, Smalls],
    gathered: Mapping[str, list[Any]],
    leads: pd.DataFrame,
    minimum: int,
) -> pd.DataFrame:
    size, many = fleet.evaluated_at.size * asked.families, len(asked.policies)
    total = {
        name: np.bincount(pairs[:, 0], c.sum(axis=1), many).astype(np.int64) for name, c in counts.items()
    }
    pages = np.zeros(many, dtype=np.int64)
    dark = np.zeros(many, dtype=np.int64)
    for kind in ("alert", "escalation"):
        keys = np.unique(np.concatenate([*gathered[kind], np.zeros(0, np.int64)]))
        pages += np.bincount(np.unique(keys // 2) // size, minlength=many)
        dark += np.bincount(keys[keys % 2 == 1] // 2 // size, minlength=many)
    scored = pd.DataFrame(
        [rules.rated({name: int(c[n]) for name, c in total.items()}, minimum)._asdict() for n in range(many)]
    )
    scored = scored.astype(dict.fromkeys(("precision", "recall", "false_positive_rate"), float))
    scored.insert(0, "resources", np.bincount(pairs[:, 0], minlength=many))
    scored.insert(1, "episodes", total["episodes"])
    medians = leads.assign(policy=pairs[leads["pair"], 0]).groupby("policy").median().reindex(range(many))
    weeks = (fleet.evaluated_at[-1] - fleet.evaluated_at[0]) / (7 * DAY)
    return scored.assign(
        lead_hours=medians["hours"],
        lead_working_hours=medians["working_hours"],
        escalations=total["escalations"],
        pages=pages,
        pages_a_week=pages / weeks if weeks else np.nan,
        night_pages=dark,
        night_pages_a_week=dark / weeks if weeks else np.nan,
    )
