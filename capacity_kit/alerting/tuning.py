"""Proposals for thresholds: the cheapest policy under stated costs, chosen on the past and judged on what followed.

A policy that fits the past best flatters itself. So the choice is made again and again as it would have been made
then, on expanding windows of the past, and what it cost is counted on the time that followed. Between what a choice
is made on and what it is judged on lies the horizon, so that no verdict is used before it was known [1]_.

Nothing here changes a threshold. What is proposed is for a person to apply.

References
----------
.. [1] López de Prado (2018), Advances in Financial Machine Learning, chapter 7: purging and embargo.
.. [2] Rubin (1981), The Bayesian bootstrap, Annals of Statistics 9.
.. [3] Owen (2007), The pigeonhole bootstrap, Annals of Applied Statistics 1.
.. [4] Jeffreys' prior of a Poisson mean: Gelman et al. (2013), Bayesian Data Analysis, section 2.8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from capacity_kit import units
from capacity_kit.alerting import policy as rules
from capacity_kit.alerting.policy import DAY, Policy, Score
from capacity_kit.alerting.replay import Fleet, Replayed, replay
from capacity_kit.errors import CapacityError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WEEK: Final = 7 * DAY
DRAWS: Final = 4000
LEARNING_WEEKS: Final = 2
"""Weeks with known verdicts that the first choice needs at least."""
SHIFTS: Final = (0.0, 2.0, -2.0, 5.0, -5.0, 8.0, -8.0, 12.0, -12.0)
"""Percentage points by which candidates move a level, nearest first."""


@dataclass(frozen=True)
class Costs:
    """What goes wrong costs, in hours of work.

    Attributes
    ----------
    missed : float
        A level that was reached without an alert in time. The default is a working day: what an unplanned extension
        or cleanup takes, with what stood still meanwhile.
    false : float
        An alert that nothing followed. The default is half an hour: the response time that the guide aims at.
    night : float
        A night page, whatever it tells of: a message of alerts or of escalations that wakes somebody. A storm is one.
        The default is two hours: the sleep, and the morning after.
    """

    missed: float = 8.0
    false: float = 0.5
    night: float = 2.0

    def __post_init__(self) -> None:
        for name in ("missed", "false", "night"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise CapacityError(f"The cost of {name} must be 0 or more, not {value}")

    def explained(self) -> str:
        """The costs in words, for whoever is shown a proposal."""
        return (
            f"Costs, in hours of work: {self.missed:g} for a level that was reached without an alert in time, "
            f"{self.false:g} for a false alert, {self.night:g} for a night page on top."
        )

    def of(self, counts: Mapping[str, Any]) -> Any:
        """Hours of work that counts of a replay cost."""
        missed = counts["reached"] - counts["announced"]
        return self.missed * missed + self.false * counts["false"] + self.night * counts["night_pages"]


@dataclass(frozen=True)
class Threshold:
    """A threshold to be tuned.

    Attributes
    ----------
    key : str
        What its proposal is found by.
    present : Policy
    resources : tuple of int
        Whom it watches: indices of the fleet.
    candidates : tuple of Policy
        What may be proposed, nearest to the present first; `candidates_of` the present unless given.
    """

    key: str
    present: Policy
    resources: tuple[int, ...]
    candidates: tuple[Policy, ...] = ()


class Proposal(NamedTuple):
    """What to do about a threshold, or about all together.

    Attributes
    ----------
    key : str
        The threshold's, or ALL.
    each : dict from str to Policy
        What is proposed, by threshold; empty: keep the present.
    reason : str
        Why, in a sentence.
    cost_present, cost_proposed : float
        Hours of work on the time judged: of the present policy, and of what would have been chosen before it.
    saved, low, high : float
        Their difference, and its interval.
    confidence : float
        Of the interval.
    events : int
        In how many missed reaches, false alerts and night pages the two differ, of what costs anything: what the
        interval rests on.
    judged_days : float
        How much time was judged; 0: there was too little.
    recommendation : str or None
        The guide's, by the rates of the present policy.
    score : Score
        Of the present policy, over all of the history.
    candidates : DataFrame
        Each candidate over all of the history: ``policy`` (Policy), the counts, ``precision``, ``recall``,
        ``false_positive_rate``, ``night_pages``, ``lead_hours``, ``lead_working_hours``, ``cost`` (hours, on the time
        with known verdicts), ``is_present``, ``is_proposed``.
    """

    key: str
    each: dict[str, Policy]
    reason: str
    cost_present: float
    cost_proposed: float
    saved: float
    low: float
    high: float
    confidence: float
    events: int
    judged_days: float
    recommendation: str | None
    score: Score
    candidates: pd.DataFrame

    @property
    def proposed(self) -> Policy | None:
        """What is proposed for a single threshold; None: keep the present, or it is about several."""
        return next(iter(self.each.values())) if len(self.each) == 1 else None


_JUDGED: Final = ("alerts", "false", "reached", "announced")
_COLUMNS: Final = {
    "margin": "recovery_margin",
    "probability": "threshold_probability",
    "business_hours_only": "business_hours_only",
    "suppression_minutes": "suppression_duration_minutes",
}


def changes(present: Policy, proposed: Policy) -> dict[str, tuple[Any, Any]]:
    """What a proposal changes, by column of the threshold: from what to what.

    A change of the suppression switches it on or off as well.
    """
    level = "threshold_percentage" if present.condition == "LEVEL" else "threshold_value"
    found = {
        column: (getattr(present, name), getattr(proposed, name))
        for name, column in {"level": level, **_COLUMNS}.items()
        if getattr(present, name) != getattr(proposed, name)
    }
    if "suppression_duration_minutes" in found and (
        bool(present.suppression_minutes) != bool(proposed.suppression_minutes)
    ):
        found["suppression_enabled"] = (bool(present.suppression_minutes), bool(proposed.suppression_minutes))
    return found


def candidates_of(present: Policy) -> tuple[Policy, ...]:
    """Policies about the present one, which comes first: levels, suppression, hours and margin.

    Always as many in the same order for thresholds of one condition, so that they can be moved together. A level
    that would leave its room (between 0 and what it warns of) stays.
    """
    return tuple(
        replace(moved, suppression_minutes=suppression, business_hours_only=hours, margin=margin)
        for moved in _moved(present)
        for suppression in (present.suppression_minutes, max(240, present.suppression_minutes))
        for hours in (present.business_hours_only, True)
        for margin in (present.margin, max(5.0, present.margin))
    )


def _moved(present: Policy) -> list[Policy]:
    if present.condition == "ABSENCE":
        return [replace(present, level=present.level * factor) for factor in (1, 2, 4, 8)]
    if present.condition == "RUNWAY":
        likely = [present.probability, *(p for p in (90, 50, 10) if p != present.probability)]
        return [
            replace(present, level=max(1.0, round(present.level * factor)), probability=p)
            for factor in (1, 0.75, 1.5, 0.5, 2)
            for p in likely
        ]
    way = 1 if present.rises else -1
    moved = [present.level + way * shift for shift in SHIFTS]
    top = present.target if present.rises else np.inf
    return [replace(present, level=level if 0 < level < top else present.level) for level in moved]


def propose(
    fleet: Fleet,
    thresholds: Sequence[Threshold],
    costs: Costs = Costs(),
    *,
    together: bool = False,
    folds: int = 4,
    minimum: int = 5,
    confidence: float = 0.9,
    seed: int = 0,
    horizon_days: float = 30,
    lead_hours: float = 24,
    workers: int = 1,
) -> list[Proposal]:
    """Propose the cheapest candidate of each threshold, where there is evidence enough that it saves anything.

    Parameters
    ----------
    fleet : Fleet
    thresholds : sequence of Threshold
    costs : Costs
    together : bool
        One proposal for all: the n-th candidates of all of them are compared as one. All need as many. Those that
        warn of nothing measurable (absences, falling levels) are left as they are.
    folds : int
        How often the choice is made anew on the way through the time that is judged.
    minimum : int
        Fewest events in which a proposal must differ, and fewest cases for a rate.
    confidence : float
        Of the interval of what is saved.
    seed : int
        Of its draws.
    horizon_days, lead_hours, workers
        See `replay`.

    Raises
    ------
    CapacityError
        When there is nothing to tune, or candidates do not fit together.
    """
    if not thresholds:
        raise CapacityError("There is no threshold to tune")
    if folds < 1 or not 0 < confidence < 1:
        raise CapacityError("Tuning needs at least one fold, and a confidence between 0 and 1")
    if not any(threshold.resources for threshold in thresholds):
        raise CapacityError("No threshold to tune watches a resource of the fleet")
    how = _How(costs, folds, minimum, confidence, seed, horizon_days, lead_hours, workers)
    if together:
        moved = [threshold for threshold in thresholds if _is_scored(threshold.present)]
        if not moved:
            raise CapacityError("No threshold to tune warns of anything that measurements could show")
        return _proposed(fleet, moved, [_offered(threshold) for threshold in moved], how, together=True)
    offered = [tuple(dict.fromkeys(_offered(threshold))) for threshold in thresholds]
    # Those that wait as long for their verdicts are judged on the same time.
    waits = [max(p.horizon(horizon_days) for p in some) for some in offered]
    found: dict[int, Proposal] = {}
    for wait in sorted(set(waits)):
        mine = [n for n, own in enumerate(waits) if own == wait]
        said = _proposed(
            fleet, [thresholds[n] for n in mine], [offered[n] for n in mine], how, together=False
        )
        found.update(zip(mine, said, strict=True))
    return [found[n] for n in range(len(thresholds))]


def _is_scored(policy: Policy) -> bool:
    """Whether measurements show what fewer of its alerts would have missed."""
    return policy.is_judged and policy.condition != "ABSENCE"


class _How(NamedTuple):
    """How proposals are made."""

    costs: Costs
    folds: int
    minimum: int
    confidence: float
    seed: int
    horizon_days: float
    lead_hours: float
    workers: int


def _proposed(
    fleet: Fleet,
    thresholds: Sequence[Threshold],
    offered: Sequence[tuple[Policy, ...]],
    how: _How,
    *,
    together: bool,
) -> list[Proposal]:
    """Proposals for thresholds whose alerts wait as long for their verdicts."""
    if together and len({len(policies) for policies in offered}) > 1:
        raise CapacityError("Thresholds that are tuned together must have as many candidates each")
    policies = list(dict.fromkeys(p for some in offered for p in some))
    number = {p: n for n, p in enumerate(policies)}
    pairs = [
        (number[p], r) for t, some in zip(thresholds, offered, strict=True) for p in some for r in t.resources
    ]
    begin, end = int(fleet.evaluated_at[0]), int(fleet.evaluated_at[-1])
    horizon = max(p.horizon(how.horizon_days) for p in policies)
    # Weeks that end where the last verdict is known.
    cuts = np.arange(end - horizon, begin, -WEEK, dtype=np.int64)[::-1]
    replayed = replay(
        fleet,
        policies,
        pairs,
        horizon_days=how.horizon_days,
        lead_hours=how.lead_hours,
        minimum=how.minimum,
        cuts=cuts,
        nights=True,
        workers=how.workers,
    )
    place = {(int(p), int(r)): n for n, (p, r) in enumerate(replayed.pairs)}
    groups = [list(range(len(thresholds)))] if together else [[n] for n in range(len(thresholds))]
    tuner = _Tuner(replayed, how, horizon)
    found = []
    for group in groups:
        # Shape (candidates, units): the pairs of each candidate, the same resources in the same order.
        ids = np.array(
            [
                [place[number[offered[n][c]], r] for n in group for r in thresholds[n].resources]
                for c in range(len(offered[group[0]]))
            ],
            dtype=np.int64,
        ).reshape(len(offered[group[0]]), -1)
        key = "ALL" if together else thresholds[group[0]].key
        found.append(tuner.propose(key, [thresholds[n].key for n in group], [offered[n] for n in group], ids))
    return found


def _offered(threshold: Threshold) -> tuple[Policy, ...]:
    given = threshold.candidates or candidates_of(threshold.present)
    return given if given[0] == threshold.present else (threshold.present, *given)


@dataclass(frozen=True)
class _Tuner:
    """What all proposals share."""

    replayed: Replayed
    how: _How
    horizon: int

    def propose(self, key: str, keys: list[str], offered: list[tuple[Policy, ...]], ids: Ints) -> Proposal:
        """One proposal: `ids` are pairs, shape (candidates, units)."""
        # The last span has no verdicts yet; the first one is what is left of a week.
        known = {name: self.replayed.counts[name][ids, :-1].astype(float) for name in _JUDGED}
        totals = {
            name: counted.sum(axis=1)[ids].sum(axis=1) for name, counted in self.replayed.counts.items()
        }
        nights = self._nights(ids)
        known["night_pages"] = nights[..., :-1]
        totals["night_pages"] = nights.sum(axis=(1, 2)).round()
        cost = self.how.costs.of(known)  # candidates, units, weeks
        score = rules.rated({name: int(total[0]) for name, total in totals.items()}, self.how.minimum)
        guide = rules.recommendation(score.false_positive_rate, score.recall)
        edges = self._edges(cost.shape[2])
        days = (edges[-1] - edges[0]) * WEEK / DAY if edges else 0.0
        best = _cheapest(cost)
        judged = _Judged(0.0, 0.0, 0.0, 0.0, 0.0, 0)
        if edges:
            judged = self._judge(cost, known, edges)
        reason = self._reason(best, judged, bool(edges), score)
        if not all(_is_scored(some[0]) for some in offered):
            reason = "Keep: no measurement shows what fewer of its alerts would have missed."
        is_proposed = not reason
        shown = self._candidates(totals, self._leads(ids), cost, offered[0], best if is_proposed else None)
        if is_proposed:
            reason = (
                f"It would have saved {units.number(judged.saved)} hours of work"
                f" ({units.number(judged.low)} to {units.number(judged.high)}) in the {units.number(days)} days"
                f" that it was judged on."
            )
        each = {k: some[best] for k, some in zip(keys, offered, strict=True)} if is_proposed else {}
        return Proposal(
            key,
            each,
            reason,
            judged.present,
            judged.chosen,
            judged.saved,
            judged.low,
            judged.high,
            self.how.confidence,
            judged.events,
            days,
            guide,
            score,
            shown,
        )

    def _edges(self, weeks: int) -> list[int]:
        """Weeks at which the choice is made anew, and where the last judged one ends; empty: too little history."""
        if weeks <= self._first():
            return []
        first = max(self._first(), weeks // (self.how.folds + 1))
        return sorted({round(edge) for edge in np.linspace(first, weeks, self.how.folds + 1)})

    def _first(self) -> int:
        """Weeks until the first choice: what it is made on, and the horizon after that."""
        return math.ceil(self.horizon / WEEK) + LEARNING_WEEKS

    def _judge(self, cost: Floats, counts: Mapping[str, Floats], edges: list[int]) -> _Judged:
        """What choices made before would have cost afterwards, beside the present policy."""
        costs, embargo = self.how.costs, math.ceil(self.horizon / WEEK)
        differences: list[Floats] = []
        present, chosen_cost, events = 0.0, 0.0, 0
        quieter = False
        for start, end in pairwise(edges):
            chosen = _cheapest(cost[..., : start - embargo])
            then = slice(start, end)
            present += float(cost[0, :, then].sum())
            chosen_cost += float(cost[chosen, :, then].sum())
            differences.append(cost[0, :, then] - cost[chosen, :, then])
            told = counts["night_pages"].sum(axis=1, keepdims=True)  # a page of several is one event
            charged = (
                (costs.missed, counts["reached"] - counts["announced"]),
                (costs.false, counts["false"]),
                (costs.night, told),
            )
            events += sum(
                round(float(np.abs(counted[0, :, then] - counted[chosen, :, then]).sum()))
                for each, counted in charged
                if each
            )
            alerts = counts["alerts"][:, :, then].sum(axis=(1, 2))
            quieter |= bool(alerts[chosen] < alerts[0])
        rng = np.random.default_rng(self.how.seed)
        drawn = _drawn(np.concatenate(differences, axis=1), rng)
        if quieter:
            # It is charged with half a reach that it may miss and none of these weeks could show [4]_.
            drawn -= costs.missed * rng.gamma(0.5, size=DRAWS)
        low, high = np.quantile(drawn, [(1 - self.how.confidence) / 2, (1 + self.how.confidence) / 2])
        return _Judged(present, chosen_cost, present - chosen_cost, float(low), float(high), events)

    def _reason(self, best: int, judged: _Judged, has_history: bool, score: Score) -> str:
        """Why nothing is proposed; empty: something is."""
        if not has_history:
            needed = math.ceil((self._first() * WEEK + self.horizon) / DAY)
            return f"Keep: choosing and judging take more than {needed} days of history."
        if best == 0:
            if not score.alerts and not score.reached:
                return "Keep: it raised no alert, and what it warns of was never reached."
            return "Keep: no candidate would have cost less."
        if not judged.events:
            return "Keep: what the past would have proposed would have changed nothing in the time that followed."
        if judged.events < self.how.minimum:
            return (
                f"Keep: {units.count(judged.events, 'event')} would have differed, and {self.how.minimum} are needed"
                " to decide anything."
            )
        if judged.saved < 0:
            return (
                f"Keep: what the past would have proposed would have cost {units.number(-judged.saved)} hours of work"
                " more in the time that followed."
            )
        if judged.low <= 0:
            return (
                f"Keep: a candidate would have saved {units.number(judged.saved)} hours of work, but the interval "
                f"({units.number(judged.low)} to {units.number(judged.high)}) does not exclude that it saves none."
            )
        return ""

    def _nights(self, ids: Ints) -> Floats:
        """Night pages, shape (candidates, units, spans): of a page of several units, each has an equal share."""
        candidates, many = ids.shape
        of = pd.DataFrame({"pair": ids.ravel(), "place": np.arange(ids.size)})
        told = self.replayed.nights.merge(of, on="pair")
        candidate = told["place"] // max(many, 1)
        share = 1 / told.groupby([candidate, "page"])["place"].transform("size").to_numpy(dtype=float)
        spans = self.replayed.cuts.size + 1
        place = (told["place"] * spans + told["span"]).to_numpy(dtype=np.int64)
        shared = np.bincount(place, share, ids.size * spans).astype(np.float64)
        return shared.reshape(candidates, many, spans)

    def _leads(self, ids: Ints) -> pd.DataFrame:
        """Median lead times of each candidate."""
        of = pd.DataFrame({"pair": ids.ravel(), "candidate": np.arange(ids.shape[0]).repeat(ids.shape[1])})
        mine = self.replayed.leads.merge(of, on="pair").drop(columns="pair")
        return mine.groupby("candidate").median().reindex(range(ids.shape[0]))

    def _candidates(
        self,
        totals: Mapping[str, Any],
        leads: pd.DataFrame,
        cost: Floats,
        offered: tuple[Policy, ...],
        best: int | None,
    ) -> pd.DataFrame:
        rows = []
        for n, policy in enumerate(offered):
            total = {name: int(found[n]) for name, found in totals.items()}
            rows.append(
                {
                    "policy": policy,
                    "episodes": total["episodes"],
                    **rules.rated(total, self.how.minimum)._asdict(),
                    "escalations": total["escalations"],
                    "night_pages": total["night_pages"],
                    "lead_hours": float(leads["hours"][n]),
                    "lead_working_hours": float(leads["working_hours"][n]),
                    "cost": float(cost[n].sum()),
                    "is_present": n == 0,
                    "is_proposed": n == best,
                }
            )
        frame = pd.DataFrame(rows)
        return frame.astype(dict.fromkeys(("precision", "recall", "false_positive_rate"), float))


class _Judged(NamedTuple):
    present: float
    chosen: float
    saved: float
    low: float
    high: float
    events: int


def _drawn(saved: Floats, rng: np.random.Generator) -> Floats:
    """What might have been saved as well: resources and weeks weigh by chance [2]_, each for itself [3]_.

    What many resources have in common in a week, such as a storm, so counts as one event and not as many. The weights
    of weeks are not brought to a sum of one: a single event is as uncertain as a count of one is.

    Parameters
    ----------
    saved : ndarray, shape (units, weeks)
        A unit is a resource under a threshold.
    """
    pairs, weeks = saved.shape
    total, sums = np.zeros(DRAWS), np.zeros((DRAWS, weeks))
    for start in range(0, pairs, 1000):
        weight = rng.exponential(size=(DRAWS, min(1000, pairs - start)))
        total += weight.sum(axis=1)
        sums += weight @ saved[start : start + 1000]
    if pairs:
        sums *= (pairs / total)[:, None]
    return np.asarray((sums * rng.exponential(size=(DRAWS, weeks))).sum(axis=1))


def _cheapest(cost: Floats) -> int:
    """The cheapest candidate, the nearest to the present among equals; shape (candidates, units, weeks)."""
    total = cost.sum(axis=(1, 2))
    return int(np.flatnonzero(total <= total.min() + 1e-9)[0])
