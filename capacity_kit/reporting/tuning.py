"""Thresholds replayed over history: carries measurements, calendars and policies from the vault to the replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from capacity_kit import units, vault
from capacity_kit.alerting import policy, tuning
from capacity_kit.alerting import replay as replays
from capacity_kit.alerting.policy import Calendar, Hours, Policy, Window
from capacity_kit.alerting.replay import Fleet, Runway
from capacity_kit.reporting.study import Study
from capacity_kit.vault import alerts
from capacity_kit.vault.outbox import Outbox
from capacity_kit.vault.tunings import Change

_AT_ONCE: Final = 50
"""Resources that are read at once."""
_TOGETHER: Final = 200
"""Resources that are replayed at once: as many as a threshold has, but of several thresholds no more than these."""
_POINTS: Final = 40_000
"""Measurements of a resource that are looked at: thirteen months every quarter of an hour."""


@dataclass(frozen=True)
class Replayed:
    """Thresholds against history.

    Attributes
    ----------
    scores : DataFrame
        One row a threshold: the columns of ``tune_thresholds``, those of `replay.Replayed.scores`, and the guide's
        ``recommendation`` (None: not decided).
    total : Score
        All thresholds' alerts as one.
    reached : DataFrame
        ``resource`` and ``at`` of every time that a critical level was reached.
    drawn : list of (Series, DataFrame, DataFrame)
        Threshold, history and alerts of those resources with the most alerts, most first.
    proposals : DataFrame
        One row a threshold, where costs were given: see `proposed`.
    candidates : dict of str to DataFrame
        By threshold, the scores of the policies that were tried for it.
    """

    scores: pd.DataFrame
    total: policy.Score
    reached: pd.DataFrame
    drawn: list[tuple[pd.Series[Any], pd.DataFrame, pd.DataFrame]]
    proposals: pd.DataFrame = field(default_factory=pd.DataFrame)
    candidates: dict[str, pd.DataFrame] = field(default_factory=dict)


def replay(
    study: Study,
    *,
    resource_type: str = vault.ALL,
    history_days: int = 396,
    horizon_days: int = 30,
    lead_time_hours: int = 24,
    minimum: int = 5,
    top: int = 4,
    costs: tuning.Costs | None = None,
    together: bool = False,
) -> Replayed:
    """Every active threshold of the study's tenants against their history, under its whole policy.

    Parameters
    ----------
    study : Study
        Whose thresholds, as of when.
    resource_type : str
        ALL or one type.
    history_days : int
        How far back.
    horizon_days : int
        How long after it was raised an alert is given to come true.
    lead_time_hours : int
        How long before a level is reached an alert must have been raised to count as in time.
    minimum : int
        Fewest decided alerts for precision, fewest reaches for recall.
    top : int
        How many histories are kept for drawing.
    costs : Costs, optional
        Also propose changes, under these costs.
    together : bool
        One proposal for all thresholds instead of one for each.
    """
    thresholds = study.read("tune_thresholds", resource_type=resource_type)
    resources = study.read("tune_resources", resource_type=resource_type)
    rules: dict[str, Any] = {"horizon_days": horizon_days, "lead_hours": lead_time_hours, "minimum": minimum}
    scores = [_scored(thresholds.head(0), None)]
    reached = [pd.DataFrame({"resource": pd.Series(dtype=str), "at": pd.Series(dtype="datetime64[us, UTC]")})]
    drawn: list[tuple[pd.Series[Any], pd.DataFrame, pd.DataFrame]] = []
    proposals: list[tuning.Proposal] = []
    tuned: set[str] = set()
    for batch in _batches(thresholds, resources, None if together else _TOGETHER):
        measured = _measured(study, batch.resources["resource"].tolist(), history_days)
        if measured.empty:
            scores.append(_scored(batch.thresholds, None))
            continue
        fleet = _fleet(study, batch, measured)
        pairs = batch.pairs(fleet)
        found = replays.replay(
            fleet, batch.policies, pairs, as_of=int(policy.micros([study.as_of])[0]), detail=True, **rules
        )
        scores.append(_scored(batch.thresholds, found))
        reached.append(_reached(batch, fleet, found))
        drawn = _drawn(drawn, batch, fleet, found, measured, top)
        if costs is not None:
            wanted = [
                tuning.Threshold(str(key), present, tuple(pairs[pairs[:, 0] == at, 1].tolist()))
                for at, (key, present) in enumerate(
                    zip(batch.thresholds["threshold"], batch.policies, strict=True)
                )
            ]
            # Together they are moved by the same steps, which only levels have in common.
            wanted = [
                threshold
                for threshold in wanted
                if threshold.resources and (not together or threshold.present.condition == "LEVEL")
            ]
            tuned |= {threshold.key for threshold in wanted}
            proposals += tuning.propose(fleet, wanted, costs, together=together, **rules) if wanted else []
    table = pd.concat(scores, ignore_index=True)
    return Replayed(
        scores=table,
        total=_total(table, minimum),
        reached=pd.concat(reached, ignore_index=True).drop_duplicates(ignore_index=True),
        drawn=drawn,
        proposals=proposed(thresholds[thresholds["threshold"].isin(tuned)], proposals),
        candidates={found.key: found.candidates for found in proposals},
    )


@dataclass(frozen=True)
class _Batch:
    """Thresholds that are replayed at once, and the resources of their tenants."""

    thresholds: pd.DataFrame
    resources: pd.DataFrame

    @property
    def policies(self) -> list[Policy]:
        return [_policy(row) for row in self.thresholds.to_dict("records")]

    def pairs(self, fleet: Fleet) -> npt.NDArray[np.int64]:
        """Which threshold looks at which resource, by their numbers."""
        place = {str(resource): at for at, resource in enumerate(fleet.resources)}
        at = self.resources["resource"].map(place)
        pairs = [
            (number, int(at[resource]))
            for number, (_, threshold) in enumerate(self.thresholds.iterrows())
            for resource in self.resources.index[self._watched(threshold) & at.notna()]
        ]
        return np.asarray(pairs, dtype=np.int64).reshape(-1, 2)

    def _watched(self, threshold: pd.Series[Any]) -> pd.Series[bool]:
        own: pd.Series[bool] = self.resources["tenant_key"].eq(threshold["tenant_key"])
        if threshold["resource_type"] != vault.ALL:
            own &= self.resources["resource_type"].eq(threshold["resource_type"])
        return own


def _batches(thresholds: pd.DataFrame, resources: pd.DataFrame, most: int | None) -> Iterator[_Batch]:
    """Whole tenants, as many at once as have `most` resources."""
    waiting: list[str] = []
    count = 0
    sizes = resources["tenant_key"].value_counts()
    for tenant in dict.fromkeys(thresholds["tenant_key"]):
        size = int(sizes.get(tenant, 0))
        if waiting and most is not None and count + size > most:
            yield _batch(thresholds, resources, waiting)
            waiting, count = [], 0
        waiting.append(tenant)
        count += size
    if waiting:
        yield _batch(thresholds, resources, waiting)


def _batch(thresholds: pd.DataFrame, resources: pd.DataFrame, tenants: Sequence[str]) -> _Batch:
    own = thresholds[thresholds["tenant_key"].isin(tenants)].reset_index(drop=True)
    types = set(own["resource_type"])
    wanted = resources["tenant_key"].isin(tenants)
    if vault.ALL not in types:
        wanted &= resources["resource_type"].isin(types)
    return _Batch(own, resources[wanted].reset_index(drop=True))


def _measured(study: Study, resources: Sequence[str], days: int) -> pd.DataFrame:
    """The histories of those resources that have a capacity at some time, read a few at a time."""
    parts = []
    for start in range(0, len(resources), _AT_ONCE):
        part = study.history(list(resources[start : start + _AT_ONCE]), days, _POINTS)
        known = part.groupby("resource")["capacity"].transform("count") > 0
        parts.append(part.loc[known, ["resource", "measured_at", "value", "capacity", "utilization"]])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["resource"])


def _fleet(study: Study, batch: _Batch, measured: pd.DataFrame) -> Fleet:
    known = batch.resources[batch.resources["resource"].isin(set(measured["resource"]))]
    keys = known["resource"].tolist()
    return Fleet.of(
        measured,
        hours=_hours(study, known),
        stale_minutes=dict(zip(keys, known["stale_minutes"].astype(float), strict=True)),
        accumulating=set(known.loc[known["resource_type"].isin(policy.ACCUMULATING), "resource"]),
        families=dict(zip(keys, known["family"], strict=True)),
        runways=_runways(study, batch, sorted(keys)),
    )


def _hours(study: Study, resources: pd.DataFrame) -> dict[str, Hours]:
    """Calendar, maintenance and mutes of each resource."""
    calendars = {
        None if pd.isna(row["tenant_key"]) else str(row["tenant_key"]): Calendar(
            zone=row["time_zone"],
            working_days=tuple(row["working_days"]),
            opens=row["opens"],
            closes=row["closes"],
            night_from=row["night_from"],
            night_to=row["night_to"],
            holidays=frozenset(row["holidays"]),
        )
        for _, row in study.read("tune_calendars").iterrows()
    }
    everyones = calendars.get(None, Calendar())
    declared = study.read("tune_windows")
    hours: dict[str, Hours] = {}
    for _, resource in resources.iterrows():
        covering = declared[
            (declared["tenant_key"].isna() | (declared["tenant_key"] == resource["tenant_key"]))
            & (declared["resource_type"].isna() | (declared["resource_type"] == resource["resource_type"]))
            & (declared["resource_name"].isna() | (declared["resource_name"] == resource["resource_name"]))
        ]
        windows, mutes = covering[covering["kind"] == "MAINTENANCE"], covering[covering["kind"] == "MUTE"]
        hours[resource["resource"]] = Hours(
            calendar=calendars.get(resource["tenant_key"], everyones),
            windows=tuple(
                Window(
                    row["starts_at"].to_pydatetime(),
                    row["ends_at"].to_pydatetime(),
                    None if pd.isna(row["repeat_weeks"]) else int(row["repeat_weeks"]),
                    row["time_zone"],
                )
                for _, row in windows.iterrows()
            ),
            mutes=tuple(
                (row["starts_at"].to_pydatetime(), row["ends_at"].to_pydatetime())
                for _, row in mutes.iterrows()
            ),
        )
    return hours


def _runways(study: Study, batch: _Batch, resources: Sequence[str]) -> dict[float, Runway]:
    """The forecasts as they were issued, by the level that they are of; read only where a threshold looks at them."""
    wanted = batch.thresholds[batch.thresholds["threshold_type"] == "RUNWAY"]
    if wanted.empty:
        return {}
    issued = study.read("tune_runways", resources=list(resources))
    owner = batch.resources.set_index("resource")["tenant_key"]
    origins = pd.DatetimeIndex(issued["issued_at"].drop_duplicates().sort_values())
    found = {}
    for target, looking in wanted.groupby("target"):
        days = np.full((len(resources), max(len(origins), 1), 3), np.nan)
        for _, threshold in looking.drop_duplicates(["tenant_key", "runway_level"]).iterrows():
            own = issued[
                (issued["level"] == threshold["runway_level"])
                & (issued["resource"].map(owner) == threshold["tenant_key"])
            ]
            row = pd.Index(resources).get_indexer(pd.Index(own["resource"]))
            column = origins.get_indexer(pd.DatetimeIndex(own["issued_at"]))
            # A forecast that gives no day says that the level is not reached within its horizon.
            days[row, column] = own[["p10", "p50", "p90"]].fillna(np.inf)
        known = policy.micros(origins) if len(origins) else np.zeros(1, dtype=np.int64)
        found[float(str(target))] = Runway(known, days)
    return found


_RATES: Final = (
    "precision",
    "recall",
    "false_positive_rate",
    "lead_hours",
    "lead_working_hours",
    "pages_a_week",
    "night_pages_a_week",
)
_COUNTS: Final = (
    "resources",
    "episodes",
    "alerts",
    "true",
    "false",
    "censored",
    "open",
    "reached",
    "announced",
    "escalations",
    "pages",
    "night_pages",
)


def _scored(thresholds: pd.DataFrame, found: replays.Replayed | None) -> pd.DataFrame:
    """Thresholds beside their scores and the guide's recommendation; found None: nothing could be replayed."""
    empty = pd.DataFrame(
        {**dict.fromkeys(_COUNTS, 0), **dict.fromkeys(_RATES, np.nan)}, index=range(len(thresholds))
    )
    scores = empty if found is None else found.scores[list(empty.columns)].reset_index(drop=True)
    said = [
        policy.recommendation(_known(row["false_positive_rate"]), _known(row["recall"]))
        for _, row in scores.iterrows()
    ]
    recommended = pd.Series(said, name="recommendation", dtype=object, index=scores.index)
    return pd.concat([thresholds.reset_index(drop=True), scores, recommended], axis=1)


def _known(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _total(scores: pd.DataFrame, minimum: int) -> policy.Score:
    names = ("true", "false", "censored", "open", "reached", "announced")
    return policy.rated({name: int(scores[name].sum()) for name in names}, minimum)


def _reached(batch: _Batch, fleet: Fleet, found: replays.Replayed) -> pd.DataFrame:
    """When a critical level was reached: what the warnings warn of."""
    warnings = np.flatnonzero(batch.thresholds["threshold_type"] == "WARNING")
    reached = found.reached[found.reached["policy"].isin(warnings)]
    return pd.DataFrame(
        {"resource": np.asarray(fleet.resources, dtype=object)[reached["resource"]], "at": reached["at"]}
    ).reset_index(drop=True)


def _drawn(
    before: list[tuple[pd.Series[Any], pd.DataFrame, pd.DataFrame]],
    batch: _Batch,
    fleet: Fleet,
    found: replays.Replayed,
    measured: pd.DataFrame,
    top: int,
) -> list[tuple[pd.Series[Any], pd.DataFrame, pd.DataFrame]]:
    """The histories with the most alerts of those so far and those of this batch."""
    raised = found.episodes[found.episodes["raised_at"].notna()]
    most = raised.groupby(["policy", "resource"]).size().sort_values(ascending=False, kind="stable").head(top)
    for at, resource in most.index:
        threshold = batch.thresholds.iloc[int(at)]
        if threshold["threshold_type"] in ("RUNWAY", "ABSENCE"):
            continue
        own = found.episodes[(found.episodes["policy"] == at) & (found.episodes["resource"] == resource)]
        history = measured[measured["resource"] == fleet.resources[int(resource)]]
        before.append((threshold, history.reset_index(drop=True), own.reset_index(drop=True)))
    before.sort(key=lambda entry: -int(entry[2]["raised_at"].notna().sum()))
    return before[:top]


def proposed(thresholds: pd.DataFrame, found: Sequence[tuning.Proposal]) -> pd.DataFrame:
    """What is proposed, one row a threshold that was judged, the largest saving first.

    Parameters
    ----------
    thresholds : DataFrame
        From the query ``tune_thresholds``.
    found : sequence of Proposal
        From `tuning.propose`.

    Returns
    -------
    DataFrame
        ``threshold``, ``seen``, ``tenant``, ``threshold_name`` and more of the query; ``changes`` (column to what it is
        and what it would be; empty: it stays); ``reason``, ``cost_present``, ``cost_proposed``, ``saved``, ``low``,
        ``high`` (hours of work over ``judged_days``), ``events``, ``recommendation`` (the guide's). Of thresholds that
        were tuned together the costs are of all, and stand in each row.
    """
    by_key = {proposal.key: proposal for proposal in found}
    rows: list[dict[str, Any]] = []
    for threshold in thresholds.to_dict("records"):
        proposal = by_key.get(threshold["threshold"]) or by_key.get(vault.ALL)
        if proposal is None:
            continue
        chosen = proposal.each.get(threshold["threshold"])
        changes = {} if chosen is None else tuning.changes(_policy(threshold), chosen)
        said = {name: getattr(proposal, name) for name in _PROPOSED}
        rows.append({**{name: threshold[name] for name in _NAMED}, "changes": changes, **said})
    rows.sort(key=lambda row: (not row["changes"], -row["saved"]))
    return pd.DataFrame(_without_contradictions(rows, thresholds), columns=[*_NAMED, "changes", *_PROPOSED])


def _policy(threshold: Mapping[Any, Any]) -> Policy:
    return Policy.of(threshold, threshold["target"], threshold["margin"])


_NAMED: Final = (
    "threshold", "seen", "tenant", "tenant_key", "threshold_name", "resource_type", "threshold_type", "level",
)  # fmt: skip
_PROPOSED: Final = (
    "reason", "cost_present", "cost_proposed", "saved", "low", "high", "confidence", "events", "judged_days",
    "recommendation",
)  # fmt: skip


def _without_contradictions(rows: list[dict[str, Any]], thresholds: pd.DataFrame) -> list[dict[str, Any]]:
    """Keep what would let a warning come no earlier than its critical level; the larger saving goes first."""
    upper = thresholds[thresholds["threshold_operator"].isin([">=", ">"])]
    levels = {row["threshold"]: row for row in upper.to_dict("records")}
    for row in rows:
        change = row["changes"].get("threshold_percentage")
        if change is None or row["threshold"] not in levels:
            continue
        before = levels[row["threshold"]]["level"]
        levels[row["threshold"]]["level"] = change[1]
        own = [
            (other["threshold_type"], other["level"])
            for other in levels.values()
            if (other["tenant_key"], other["resource_type"]) == (row["tenant_key"], row["resource_type"])
        ]
        warnings = [level for kind, level in own if kind == "WARNING"]
        criticals = [level for kind, level in own if kind == "CRITICAL"]
        if warnings and criticals and max(warnings) >= min(criticals):
            levels[row["threshold"]]["level"] = before
            row["changes"] = {}
            row["reason"] = (
                f"Keep: at {units.number(change[1])} % the warning would not come before the critical level."
            )
    return rows


def told(changes: dict[str, tuple[Any, Any]]) -> str:
    """Changes in words, such as '80 % → 85 %, suppressed for 60 → 240 minutes'."""
    said = []
    for column, (before, after) in changes.items():
        was, becomes = (units.number(v, 6) if isinstance(v, int | float) else str(v) for v in (before, after))
        if column == "threshold_percentage":
            said.append(f"{was} % → {becomes} %")
        elif column == "threshold_value":
            said.append(f"{was} → {becomes}")
        elif column == "threshold_probability":
            said.append(f"probability {was} % → {becomes} %")
        elif column == "recovery_margin":
            said.append(f"recovery margin {was} → {becomes}")
        elif column == "suppression_duration_minutes":
            said.append(f"suppressed for {was} → {becomes} minutes")
        elif column == "business_hours_only":
            said.append("in business hours only" if after else "at any hour")
    return ", ".join(said)


def savings(row: Any) -> str:
    """What a proposal would have saved, with its interval, in words."""
    if not row.judged_days:
        return "not judged"
    spread = f"{units.number(row.low)} to {units.number(row.high)} with {100 * row.confidence:.0f} %"
    return f"{units.number(row.saved)} of {units.number(row.cost_present)} h in {row.judged_days:,.0f} days ({spread})"


def listed(proposals: pd.DataFrame) -> pd.DataFrame:
    """Proposals as a table to be read, the guide's rule beside them: those that change or cost anything."""
    columns = ("Tenant", "Threshold", "Guide", "Proposal", "Cost", "Saved", "Interval")
    rows = [
        (
            units.plain(row["tenant"]),
            units.plain(row["threshold_name"]),
            "not decided" if units.missing(row["recommendation"]) else row["recommendation"],
            told(row["changes"]) if row["changes"] else row["reason"],
            f"{row['cost_present']:,.1f} h" if row["judged_days"] else units.DASH,
            f"{row['saved']:,.1f} h" if row["events"] else units.DASH,
            f"{row['low']:,.1f} to {row['high']:,.1f} h" if row["events"] else units.DASH,
        )
        for row in proposals.to_dict("records")
        if row["changes"] or row["cost_present"] or not units.missing(row["recommendation"])
    ]
    return pd.DataFrame(rows, columns=list(columns), dtype=object)


def judged(proposals: pd.DataFrame) -> str:
    """On what proposals were judged, in a sentence; empty: nothing was."""
    days = proposals.loc[proposals["judged_days"] > 0, "judged_days"] if len(proposals) else proposals
    if not len(days):
        return ""
    least, most = (f"{end:,.0f}" for end in (days.min(), days.max()))
    spread = least if least == most else f"{least} to {most}"
    kept = len(proposals) - len(days)
    short = f"; {units.count(kept, 'threshold')} had too little history" if kept else ""
    return (
        f"Judged on {spread} days{short}. Of what would have been saved the interval is given that holds it with"
        f" {100 * proposals['confidence'].iloc[0]:.0f} %."
    )


def asked(scores: pd.DataFrame) -> pd.DataFrame:
    """What each threshold's alerts would have given people, and asked of them: those with alerts, most pages first."""
    columns = ("Tenant", "Threshold", "Episodes", "Alerts", "Censored", "Lead time", "In working hours", "Pages",
               "Pages a week", "Night pages")  # fmt: skip
    fired = scores[scores["alerts"] > 0].sort_values("pages", ascending=False, kind="stable")
    rows = [
        (
            units.plain(row["tenant"]),
            units.plain(row["threshold_name"]),
            *(units.number(row[count]) for count in ("episodes", "alerts", "censored")),
            _lead(row["lead_hours"]),
            _lead(row["lead_working_hours"]),
            units.number(row["pages"]),
            units.number(row["pages_a_week"], 2),
            units.number(row["night_pages"]),
        )
        for row in fired.to_dict("records")
    ]
    return pd.DataFrame(rows, columns=list(columns), dtype=object)


def _lead(lead: float) -> str:
    return units.DASH if units.missing(lead) else f"{units.number(lead)} h"


def nights(study: Study) -> str:
    """What a night page is, in words: by the calendars of those whose thresholds are looked at."""
    calendars = study.read("tune_calendars")
    said = {
        None if units.missing(row.tenant_key) else row.tenant_key: (
            units.plain(row.tenant),
            f"{row.night_from:%H:%M} to {row.night_to:%H:%M} in {units.plain(row.time_zone)}",
        )
        for row in calendars.itertuples()
    }
    usual = Calendar()
    _, everyones = said.pop(None, ("", f"{usual.night_from:%H:%M} to {usual.night_to:%H:%M} in {usual.zone}"))
    if study.scope != vault.ALL:
        _, everyones = said.get(study.scope, ("", everyones))
        said = {}
    others = [f"{tenant}: {hours}" for tenant, hours in said.values() if hours != everyones]
    more = [f"{len(others) - 3} more tenants have nights of their own"] if len(others) > 3 else []
    shown = "; ".join([everyones, *others[:3], *more])
    return f"A night page is a message of alerts or of escalations from {shown}. A storm is one page."


def compared(
    replayed: Replayed, top: int, minimum: int
) -> tuple[list[tuple[str, pd.DataFrame, int, int | None]], str]:
    """Whose candidates can be drawn: name, candidates, and the places of the present and of the proposed one.

    Where no threshold alone has cases enough for both rates, that is all levels together: moved by the same steps.

    Parameters
    ----------
    replayed : Replayed
        With proposals.
    top : int
        Of how many thresholds at most, those with the most alerts first.
    minimum : int
        Fewest decided alerts for precision, fewest reaches for recall.

    Returns
    -------
    list of tuple
        What is drawn.
    str
        What that is, in a sentence.
    """
    names = {
        row["threshold"]: f"{row['threshold_name']} · {row['tenant']}"
        for row in replayed.scores.to_dict("records")
    }
    found = []
    for key, candidates in replayed.candidates.items():
        if candidates[["precision", "recall"]].notna().all(axis=1).any():
            chosen = np.flatnonzero(candidates["is_proposed"])
            present = int(np.flatnonzero(candidates["is_present"])[0])
            place = int(chosen[0]) if len(chosen) and chosen[0] != present else None
            found.append((names.get(key, _TOGETHER_NAME), candidates, present, place))
    if found:
        found.sort(key=lambda entry: -int(entry[1]["alerts"].iloc[entry[2]]))
        most = units.count(len(replayed.candidates), "threshold")
        enough = "those with alerts and reached levels enough for both rates"
        return found[:top], f"Drawn: {len(found[:top])} of {most}, {enough}."
    levels = [c for c in replayed.candidates.values() if _is_level(c["policy"].iloc[0])]
    none = "No threshold has alerts and reached levels enough for both rates"
    if len(levels) > 1:
        pooled = _pooled(levels, minimum)
        if pooled[["precision", "recall"]].notna().all(axis=1).any():
            drawn = f"Drawn: {len(levels)} of them together, all moved by the same steps."
            return [(_TOGETHER_NAME, pooled, 0, None)], f"{none} by itself. {drawn}"
    return [], f"{none}."


_TOGETHER_NAME: Final = "All levels together"


def _is_level(present: Policy) -> bool:
    """Whether `_pooled` takes it: a level that rises, which all are moved alike."""
    return present.condition == "LEVEL" and present.is_judged


def _pooled(levels: Sequence[pd.DataFrame], minimum: int) -> pd.DataFrame:
    """The n-th candidates of all levels as one, the present ones first; of equal candidates each table has one."""
    counts = ["true", "false", "open", "censored", "reached", "announced"]
    total = np.zeros((len(tuning.candidates_of(levels[0]["policy"].iloc[0])), len(counts)), dtype=np.int64)
    for own in levels:
        rows = dict(zip(own["policy"], own[counts].to_numpy(dtype=np.int64), strict=True))
        total += np.array([rows[moved] for moved in tuning.candidates_of(own["policy"].iloc[0])])
    rated = [
        policy.rated({name: int(n) for name, n in zip(counts, row, strict=True)}, minimum) for row in total
    ]
    return pd.DataFrame(rated).astype({"precision": float, "recall": float})


def recorded(study: Study, resource_type: str = vault.ALL) -> tuple[pd.DataFrame, str]:
    """What became of the alerts that evaluation recorded, as a table to be read, and summed up in a sentence.

    Where a rate is missing, the cases that it has stand in its place, and how many it needs.
    """
    found = alerts.record(
        study.vault, study.tenant, resource_type=resource_type, as_of=study.as_of.to_pydatetime()
    )

    def rate(percent: Any, cases: int, least: int) -> str:
        return f"{cases} of {least} cases" if units.missing(percent) else units.percent(percent)

    rows = [
        (
            units.plain(row["tenant_name"]),
            units.plain(row["threshold_name"]),
            f"{row['true_alerts']}, {row['false_alerts']}, {row['open_alerts']}",
            units.number(row["censored_alerts"]),
            units.number(row["by_operators"]),
            rate(row["false_positive_rate"], row["true_alerts"] + row["false_alerts"], row["minimum"]),
            "announces no level"
            if row["threshold_type"] == "ABSENCE"
            else rate(row["true_positive_rate"], row["reaches"], row["minimum"]),
            units.percent(row["threshold_effectiveness_score"]),
            _lead(row["lead_hours"]),
        )
        for row in found.to_dict("records")
    ]
    table = pd.DataFrame(rows, columns=list(_RECORD), dtype=object)
    if not len(found):
        return table, ""
    total = {name: int(found[f"{name}_alerts"].sum()) for name in ("true", "false", "censored", "open")}
    score = policy.rated({**total, "reached": 0, "announced": 0}, int(found["minimum"].iloc[0]))
    became = f"{score.true} true, {score.false} false, {score.open} open, {score.censored} censored"
    rate_of_all = (
        f"{units.percent(score.false_positive_rate)} of those decided were false"
        if score.false_positive_rate is not None
        else f"too few are decided for a rate, which needs {int(found['minimum'].iloc[0])}"
    )
    given = units.count(int(found["by_operators"].sum()), "verdict")
    raised = units.count(score.alerts, "alert")
    return table, (
        f"Of {raised} raised in the 365 days before {units.at(study.as_of, study.timezone)}"
        f" ({became}) {rate_of_all}; operators gave {given}."
    )


_RECORD: Final = (
    "Tenant", "Threshold", "True, false, open", "Censored", "By operators", "False positives", "Recall",
    "Effectiveness", "Lead time",
)  # fmt: skip


def standing(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Alerts that are open, and notifications that reached nobody, as tables to be read."""
    found = alerts.listed(study.vault, study.tenant)
    at = [units.at(when, study.timezone) for when in found["raised_at"]]
    opened = pd.DataFrame(
        {
            "Id": found["id"],
            "Severity": found["severity"],
            "Status": found["status"],
            "Tenant": [units.plain(name) for name in found["tenant"]],
            "Resource": [
                units.resource(str(kind), str(name))
                for kind, name in zip(found["resource_type"], found["resource_name"], strict=True)
            ],
            "Raised": at,
            "Message": [units.plain(text, 200) for text in found["message"]],
        },
        dtype=object,
    )
    stuck = Outbox(study.vault).state()
    letters = pd.DataFrame(
        {
            "State": stuck["state"],
            "Queued": [units.at(when, study.timezone) for when in stuck["queued_at"]],
            "Channel": stuck["channel"],
            "Subject": [units.plain(text) for text in stuck["subject"]],
            "Attempts": stuck["attempts"],
            "Last error": [
                units.DASH if units.missing(text) else units.plain(text, 200) for text in stuck["last_error"]
            ],
        },
        dtype=object,
    )
    return opened, letters


def as_changes(proposals: pd.DataFrame, costs: tuning.Costs) -> list[Change]:
    """Proposals as `capacity_kit.vault.tunings.apply` takes them, with the numbers behind each."""
    numbers = ("cost_present", "cost_proposed", "saved", "low", "high", "confidence", "judged_days")
    said = {"missed": costs.missed, "false": costs.false, "night": costs.night}
    return [
        Change(
            threshold=row["threshold"],
            seen=row["seen"].to_pydatetime(),
            changes={column: after for column, (_, after) in row["changes"].items()},
            reason=row["reason"],
            evidence={
                "costs": said,
                "events": int(row["events"]),
                **{name: float(row[name]) for name in numbers},
            },
        )
        for row in proposals.to_dict("records")
    ]


def lead_times(study: Study, reached: pd.DataFrame) -> pd.Series[Any]:
    """How long before each reach of a critical level the forecasts had been naming it; see `policy.lead_times`."""
    issued = dict(iter(study.read("report_issued").groupby("resource"))) if len(reached) else {}
    none = pd.DataFrame(
        {"issued_at": pd.Series(dtype="datetime64[us, UTC]"), "is_named": pd.Series(dtype=bool)}
    )
    found = [
        policy.lead_times(at, issued.get(resource, none))
        for resource, at in reached.groupby("resource")["at"]
    ]
    return pd.concat(found, ignore_index=True) if found else pd.Series(dtype="timedelta64[us]")
