"""Thresholds replayed over history: carries measurements from the vault through the alerting policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from capacity_kit.alerting import policy
from capacity_kit.reporting.study import Study

_AT_ONCE: Final = 50
"""Resources whose histories are held in memory together."""
_POINTS: Final = 40_000
"""Measurements of a resource that are looked at: thirteen months every quarter of an hour."""


@dataclass(frozen=True)
class Replayed:
    """Thresholds against history.

    Attributes
    ----------
    scores : DataFrame
        One row a threshold: the columns of ``report_thresholds``, those of `policy.Score`, ``resources`` (how many it
        was replayed on) and ``recommendation`` (None: not decided).
    total : Score
        All thresholds' alerts as one.
    reached : DataFrame
        ``resource`` and ``at`` of every time that a critical level was reached.
    drawn : list of (Series, DataFrame, DataFrame)
        Threshold, history and alerts of those resources with the most alerts, most first.
    """

    scores: pd.DataFrame
    total: policy.Score
    reached: pd.DataFrame
    drawn: list[tuple[pd.Series[Any], pd.DataFrame, pd.DataFrame]]


def replay(
    study: Study,
    *,
    resource_type: str,
    history_days: int,
    horizon_days: int,
    lead_time_hours: int,
    minimum: int,
    top: int = 4,
) -> Replayed:
    """Every active upper threshold of the study's tenants against their history.

    Parameters
    ----------
    study : Study
        Whose thresholds, as of when.
    resource_type : str
        ALL or one type.
    history_days : int
        How far back.
    horizon_days, lead_time_hours, minimum : int
        See `policy.outcomes`, `policy.announced` and `policy.score`.
    top : int
        How many histories are kept for drawing.
    """
    thresholds = study.read("report_thresholds", resource_type=resource_type)
    thresholds = thresholds[thresholds["is_active"] & thresholds["threshold_operator"].isin([">=", ">"])]
    resources = study.read("report_resources", resource_type=resource_type, days=1)
    pairs = thresholds.merge(
        resources[["resource", "resource_name", "tenant_key", "resource_type"]],
        on=["tenant_key", "resource_type"],
    )
    replays: list[tuple[pd.Series[Any], pd.DataFrame, policy.Replay]] = []
    wanted = pairs["resource"].drop_duplicates().tolist()
    for start in range(0, len(wanted), _AT_ONCE):
        chunk = wanted[start : start + _AT_ONCE]
        histories = dict(iter(study.history(chunk, history_days, _POINTS).groupby("resource")))
        for _, pair in pairs[pairs["resource"].isin(chunk)].iterrows():
            measured = histories.get(pair["resource"])
            if measured is None or measured["utilization"].isna().all():
                continue
            measured = measured.reset_index(drop=True)
            found = policy.replay(
                measured,
                level=pair["level"],
                target=pair["target"],
                horizon=pd.Timedelta(days=horizon_days),
                lead_time=pd.Timedelta(hours=lead_time_hours),
                as_of=study.as_of,
            )
            replays.append((pair, measured, found))
        replays.sort(key=lambda entry: -len(entry[2].alerts))
        # Beyond those that may be drawn, the alerts are enough: histories of a large fleet would fill the memory.
        replays = [(p, m if i < top else m.head(0), f) for i, (p, m, f) in enumerate(replays)]
    by_threshold: dict[str, list[policy.Replay]] = {key: [] for key in thresholds["threshold"]}
    for pair, _, found in replays:
        by_threshold[pair["threshold"]].append(found)
    rows = [
        {**threshold.to_dict(), **_scored(by_threshold[threshold["threshold"]], minimum)}
        for _, threshold in thresholds.iterrows()
    ]
    return Replayed(
        scores=pd.DataFrame(rows, columns=[*thresholds.columns, *_scored([], minimum)]),
        total=_score([found for _, _, found in replays], minimum),
        reached=_reached(replays),
        drawn=[
            (pair, measured, found.alerts) for pair, measured, found in replays[:top] if len(found.alerts)
        ],
    )


def _score(found: list[policy.Replay], minimum: int) -> policy.Score:
    outcome = pd.concat([f.alerts["outcome"] for f in found]) if found else pd.Series(dtype=object)
    told = pd.concat([f.reached["announced"] for f in found]) if found else pd.Series(dtype=bool)
    return policy.score(outcome, told, minimum)


def _scored(found: list[policy.Replay], minimum: int) -> dict[str, object]:
    scored = _score(found, minimum)
    return {
        "resources": len(found),
        **scored._asdict(),
        "recommendation": policy.recommendation(scored.false_positive_rate, scored.recall),
    }


def _reached(replays: list[tuple[pd.Series[Any], pd.DataFrame, policy.Replay]]) -> pd.DataFrame:
    rows = [
        (pair["resource"], at)
        for pair, _, found in replays
        if pair["threshold_type"] == "WARNING"
        for at in found.reached["start"]
    ]
    return pd.DataFrame(rows, columns=["resource", "at"]).drop_duplicates(ignore_index=True)


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
