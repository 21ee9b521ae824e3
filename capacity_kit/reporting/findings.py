"""What each report concludes: its verdict, its headline and its cards, from the frames that it shows."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

import pandas as pd

from capacity_kit import units
from capacity_kit.alerting.policy import Score
from capacity_kit.reporting import criteria as guide
from capacity_kit.reporting import methods, tables
from capacity_kit.reporting.criteria import ACCURACY, FALSE_POSITIVES, WARNING_DAYS, Criterion
from capacity_kit.reporting.rehearsal import Item
from capacity_kit.reporting.result import Kpi, Mood, Runway, State
from capacity_kit.reporting.tuning import Replayed, told

BAND = (72.0, 88.0)
"""Percent of what came that a band of 80 % may hold before a reader is told that it is too narrow or too wide."""

RECALL: Final = 80.0
"""Percent of reached levels that the guide wants announced in time."""

LISTED = 200
"""Resources whose runway stands in ``result.json``; those at risk all do."""


class Finding(NamedTuple):
    """What `Study.publish` takes."""

    verdict: State
    headline: str
    kpis: list[Kpi]
    runway: tuple[Runway, ...] = ()
    left_out: int = 0


def at_risk(outlook: pd.DataFrame) -> pd.DataFrame:
    """The resources that are critical, or will be within 90 days."""
    return outlook[
        (outlook["status"] == "CRITICAL") | (outlook["time_to_critical_days"] <= WARNING_DAYS).fillna(False)
    ]


def growth(outlook: pd.DataFrame) -> Finding:
    """The conclusion of a growth analysis."""
    if outlook.empty:
        return Finding("cannot be trusted", "Nothing has been measured yet, so nothing can be said.", [])
    kpis = [shortest(outlook), _risk(outlook), accuracy(outlook), _unknown(outlook), _stale(outlook)]
    lasts = runways(outlook)
    untrusted = _untrusted(outlook)
    if untrusted:
        return Finding("cannot be trusted", untrusted, kpis, *lasts)
    endangered = at_risk(outlook)
    if endangered.empty:
        return Finding("ok", f"No resource becomes critical within {WARNING_DAYS} days.", kpis, *lasts)
    return Finding("at risk", f"{_fate(endangered.iloc[0])}{_others(len(endangered) - 1)}.", kpis, *lasts)


def runways(outlook: pd.DataFrame) -> tuple[tuple[Runway, ...], int]:
    """How long each resource lasts, for programs: those at risk first, then the shortest; and how many are left out."""
    risky = set(at_risk(outlook)["resource"])
    ranked = outlook.assign(_safe=~outlook["resource"].isin(risky)).sort_values("_safe", kind="stable")
    shown = ranked.head(max(LISTED, len(risky)))
    listed = [
        _runway(row, level, row["resource"] in risky)
        for _, row in shown.iterrows()
        for level in LEVELS
        if level == "capacity" or not units.missing(row["critical"])
    ]
    return tuple(listed), len(ranked) - len(shown)


LEVELS: Final[tuple[Literal["capacity", "critical"], ...]] = ("capacity", "critical")


def _runway(row: tables.Row, level: Literal["capacity", "critical"], is_at_risk: bool) -> Runway:
    of: dict[str, Any] = {
        "resource": str(row["resource"]),
        "tenant": str(row["tenant"]),
        "resource_type": str(row["resource_type"]),
        "resource_name": str(row["resource_name"]),
        "level": level,
        "level_percent": 100.0 if level == "capacity" else float(row["critical"]),
        "is_at_risk": is_at_risk,
    }
    if units.missing(row["capacity"]):
        return Runway(**of, reason="its capacity is not known")
    days = row[f"time_to_{level}_days"]
    even = None if units.missing(days) else int(days)
    if row["method"] != "ENGINE":
        if units.missing(row["growth_per_day"]):
            return Runway(**of, reason="its history is too short for a forecast")
        better = ", which did better in its backtest," if row["engine"] is not None else ""
        reason = f"the database's own analysis{better} gives no probabilities"
        if even is None:
            reason = f"its trend does not lead there within its horizon; {reason}"
        return Runway(**of, method="SQL", p50_days=even, reason=reason)
    engine = row["engine"]
    issued = engine["issued_at"].tz_convert("UTC").isoformat()
    known = engine["runway"].get(level)
    if known is None:
        return Runway(
            **of, method="ENGINE", issued_at=issued, p50_days=even, reason="the engine was not asked for it"
        )
    ends = [
        None if known[p] is None else max(0, int(known[p]) - engine["passed"]) for p in ("p10", "p50", "p90")
    ]
    later = [f"{n} in 10" for n, end in zip((1, 5, 9), ends, strict=True) if end is None]
    return Runway(
        **of,
        method="ENGINE",
        issued_at=issued,
        p10_days=ends[0],
        p50_days=ends[1],
        p90_days=ends[2],
        probability_30d=_probable(known, 30),
        probability_90d=_probable(known, 90),
        probability_365d=_probable(known, 365),
        reason=f"later than a year: {', '.join(later)}" if later else "",
    )


def _probable(known: dict[str, Any], days: int) -> float | None:
    said = known["by"].get(str(days))
    return None if said is None else float(said)


def _untrusted(outlook: pd.DataFrame) -> str:
    stale = int(outlook["is_stale"].sum())
    if 2 * stale > len(outlook):
        return f"{stale} of {len(outlook)} resources have not been measured for more than three of their intervals."
    return ""


def _fate(row: tables.Row) -> str:
    left = row["time_to_capacity_days"]
    name = tables.named(row)
    if units.missing(left):
        return f"{name} is {'critical' if row['status'] == 'CRITICAL' else 'about to become critical'}"
    if left <= 0:
        return f"{name} is full"
    if row["method"] != "ENGINE":
        return f"{name} is full in {units.days(left)}"
    within = units.share(methods.probability(row["engine"], "capacity", WARNING_DAYS))
    return f"{name} is as likely as not full in {units.days(left)} (within {WARNING_DAYS} days: {within})"


def _others(count: int) -> str:
    if not count:
        return ""
    return f"; {count} other resource{'s are' if count > 1 else ' is'} or will be critical within {WARNING_DAYS} days"


def shortest(outlook: pd.DataFrame) -> Kpi:
    """The card of the resource that is full first."""
    known = outlook[outlook["time_to_capacity_days"].notna()]
    if known.empty and outlook["growth_per_day"].isna().all():
        return Kpi("Shortest runway", units.DASH, "unknown", "too little history for a forecast")
    if known.empty:
        return Kpi("Shortest runway", "none in sight", "good", "no resource is on its way to its capacity")
    first = known.iloc[int(known["time_to_capacity_days"].astype(float).argmin())]
    left = first["time_to_capacity_days"]
    mood: Mood = "bad" if left < 30 else "attention" if left < WARNING_DAYS else "good"
    note = tables.named(first)
    runway = first["engine"]["runway"]["capacity"] if first["method"] == "ENGINE" else None
    if runway is not None and left > 0:
        passed = first["engine"]["passed"]
        late = "later than a year" if runway["p90"] is None else units.days(runway["p90"] - passed)
        note += f"; 1 in 10: {units.days(runway['p10'] - passed)}, 9 in 10: {late}"
    return Kpi("Shortest runway", "full now" if left <= 0 else units.days(left), mood, note)


def _risk(outlook: pd.DataFrame) -> Kpi:
    count = len(at_risk(outlook))
    said = f"of {len(outlook)} resources, critical now or within {WARNING_DAYS} days"
    return Kpi("At risk", str(count), "bad" if count else "good", said)


def accuracy(outlook: pd.DataFrame) -> Kpi:
    """The card of the backtest: the mean over resources of 100 minus the error at 30 days."""
    known = outlook["confidence_level"].dropna()
    if known.empty:
        return Kpi("Forecast accuracy", units.DASH, "unknown", "too little history for a backtest at 30 days")
    mean = float(known.mean())
    note = f"30 days ahead, backtested on {len(known)} resources; target: above {units.number(ACCURACY)} %"
    return Kpi("Forecast accuracy", units.percent(mean), "good" if mean > ACCURACY else "attention", note)


def _unknown(outlook: pd.DataFrame) -> Kpi:
    count = int(outlook["capacity"].isna().sum())
    if not count:
        return Kpi("Capacity not known", "0", "good", "every resource has a capacity")
    return Kpi(
        "Capacity not known",
        str(count),
        "attention",
        f"of {len(outlook)} resources: register it to see a runway",
    )


def _stale(outlook: pd.DataFrame) -> Kpi:
    count = int(outlook["is_stale"].sum())
    quality = outlook["quality"].dropna()
    note = (
        f"data quality {units.percent(float(quality.mean()))} on average"
        if len(quality)
        else "no measurement in the window"
    )
    return Kpi("Stale", str(count), "attention" if count else "good", f"of {len(outlook)} resources; {note}")


def tuning(replayed: Replayed, minimum: int) -> Finding:
    """The conclusion of a threshold tuning."""
    scores, total = replayed.scores, replayed.total
    if scores.empty:
        return Finding(
            "cannot be trusted", "There is no active threshold, so nothing would raise an alert.", []
        )
    said = scores["recommendation"].value_counts()
    up, down = int(said.get("INCREASE_THRESHOLD", 0)), int(said.get("DECREASE_THRESHOLD", 0))
    changing = [row for _, row in replayed.proposals.iterrows() if row["changes"]]
    kpis = [
        Kpi("Alerts", units.number(total.alerts), "neutral", outcomes(total)),
        false_positives(total, minimum),
        _recall(total, minimum),
        Kpi(
            "Changes proposed",
            str(len(changing)),
            "attention" if changing else "neutral",
            f"of {len(replayed.proposals)} thresholds with a history",
        ),
        Kpi("Guide's rule", str(up + down), "neutral", f"would move {up} up, {down} down, of {len(scores)}"),
    ]
    if not int(scores["resources"].sum()):
        return Finding(
            "cannot be trusted",
            "No threshold could be replayed: no measured resource has a known capacity.",
            kpis,
        )
    if changing:
        first = changing[0]
        named = f"{units.plain(first['threshold_name'])} of {units.plain(first['tenant'], 40)}"
        others = f"; {len(changing) - 1} more to change" if len(changing) > 1 else ""
        saved = f"{units.number(first['saved'])} hours of work in {units.number(first['judged_days'])} days"
        return Finding(
            "at risk",
            f"Change {named}: {told(first['changes'])}, which would have saved {saved}{others}.",
            kpis,
        )
    missed = _missed(total)
    if missed:
        unproven = (
            "no change is shown to save anything" if len(replayed.proposals) else "no change can be judged"
        )
        return Finding("at risk", f"{missed}; {unproven}.", kpis)
    if up + down:
        rule = f"the guide's rule would move {up + down}, on evidence that does not show a saving"
        return Finding("ok", f"No change is proposed; {rule}.", kpis)
    decided = int(said.get("OPTIMAL", 0))
    if not decided:
        return Finding("ok", "No threshold has raised alerts enough to be judged by.", kpis)
    return Finding(
        "ok", f"No threshold needs a change; {decided} of {len(scores)} have history enough to judge.", kpis
    )


def outcomes(total: Score) -> str:
    """What became of alerts: '13 true, 18 false, 2 open'."""
    said = f"{total.true} true, {total.false} false, {total.open} open"
    return f"{said}, {total.censored} censored" if total.censored else said


def false_positives(total: Score, minimum: int) -> Kpi:
    """The card of the false positive rate, against the guide's target of under 10 %."""
    label = "False positives"
    if total.false_positive_rate is None:
        return Kpi(
            label, units.DASH, "unknown", f"fewer than {minimum} alerts are decided; target: under 10 %"
        )
    rate = total.false_positive_rate
    note = f"of {total.true + total.false} decided alerts; target: under 10 %"
    return Kpi(label, units.percent(rate), "good" if rate < FALSE_POSITIVES else "attention", note)


def _recall(total: Score, minimum: int) -> Kpi:
    if total.recall is None:
        return Kpi("Recall", units.DASH, "unknown", f"a level was reached fewer than {minimum} times")
    note = f"{total.announced} of {total.reached} reached levels were announced in time; the guide wants 80 %"
    return Kpi("Recall", units.percent(total.recall), "good" if total.recall >= RECALL else "attention", note)


def _missed(total: Score) -> str:
    """Which of the guide's targets alerts miss, and by what; empty where none that is known."""
    wrong, found = total.false_positive_rate, total.recall
    said = []
    if wrong is not None and wrong >= FALSE_POSITIVES:
        said.append(f"{units.percent(wrong)} of the decided alerts were false (target: under 10 %)")
    if found is not None and found < RECALL:
        said.append(
            f"{units.percent(found)} of the reached levels were announced in time (the guide wants 80 %)"
        )
    both = "Both targets are missed: " if len(said) > 1 else "A target is missed: " if said else ""
    return both + " and ".join(said)


def _fired(fired: pd.DataFrame) -> Kpi:
    if fired.empty:
        return Kpi("Thresholds that fire", units.DASH, "unknown", "not rehearsed, or there is none")
    count = int((fired["verdict"] == "fired").sum())
    mood: Mood = "good" if count == len(fired) else "attention"
    return Kpi(
        "Thresholds that fire", f"{count} of {len(fired)}", mood, "one synthetic breach each, rolled back"
    )


def verification(checklist: list[Item], fired: pd.DataFrame) -> Finding:
    """The conclusion of a deployment verification."""
    counted = pd.Series([item.verdict for item in checklist]).value_counts()
    failed, watch = int(counted.get("failed", 0)), int(counted.get("attention", 0))
    kpis = [
        Kpi(
            "Passed",
            str(int(counted.get("ok", 0))),
            "neutral" if failed else "good",
            f"of {len(checklist)} items of the final checklist",
        ),
        Kpi("Failed", str(failed), "bad" if failed else "good"),
        Kpi("To do", str(watch), "attention" if watch else "good", "works, and somebody has to do something"),
        Kpi("For a person", str(int(counted.get("for a person", 0))), "neutral", "no query can tell"),
        _fired(fired),
    ]
    if failed:
        first = next(item for item in checklist if item.verdict == "failed")
        return Finding("at risk", f"{first.item}: {first.found}.", kpis)
    if watch:
        first = next(item for item in checklist if item.verdict == "attention")
        return Finding("ok", f"The deployment works. Not yet: {first.item.lower()} ({first.found}).", kpis)
    return Finding("ok", "The deployment works, and nothing is left to do.", kpis)


def criteria(
    outlook: pd.DataFrame,
    replayed: Replayed,
    coverage: pd.DataFrame,
    month: pd.Series[Any],
    leads: pd.Series[Any],
    minimum: int,
) -> list[Criterion]:
    """The guide's six success criteria.

    Parameters
    ----------
    outlook : DataFrame
        From `Study.outlook`.
    replayed : Replayed
        Every threshold against history.
    coverage, month : DataFrame, Series
        The queries ``report_coverage`` and ``report_month``.
    leads : Series of timedelta64
        From `tuning.lead_times`.
    minimum : int
        Fewest decided alerts for a rate.
    """
    return [
        guide.forecast_accuracy(outlook["confidence_level"]),
        guide.alert_effectiveness(replayed.total, minimum),
        guide.response_time(month["response_minutes"], month["resolved"]),
        guide.coverage(coverage),
        guide.automation(month),
        guide.proactive_planning(leads),
    ]


def review(
    outlook: pd.DataFrame, found: list[Criterion], maintenance: list[Item], scores: pd.DataFrame
) -> Finding:
    """The conclusion of a monthly review; `scores` are those of `methods.scores`."""
    if outlook.empty:
        return Finding(
            "cannot be trusted", "Nothing has been measured yet, so there is nothing to review.", []
        )
    met, known = sum(c.is_met is True for c in found), sum(c.is_met is not None for c in found)
    due = sum(item.verdict == "attention" for item in maintenance)
    by_name = {c.name: c for c in found}
    kpis = [
        shortest(outlook),
        _risk(outlook),
        Kpi(
            "Criteria met",
            f"{met} of {known}",
            "good" if met == known else "attention",
            f"{len(found) - known} more cannot be judged yet",
        ),
        *(_card(by_name[name]) for name in ("Forecast accuracy", "Alert effectiveness", "Coverage")),
        *_band(scores),
        Kpi("Maintenance due", str(due), "attention" if due else "good"),
    ]
    lasts = runways(outlook)
    untrusted = _untrusted(outlook)
    if untrusted:
        return Finding("cannot be trusted", untrusted, kpis, *lasts)
    endangered = at_risk(outlook)
    if endangered.empty:
        return Finding(
            "ok",
            f"Nothing becomes critical within {WARNING_DAYS} days; {met} of {known} criteria are met.",
            kpis,
            *lasts,
        )
    return Finding(
        "at risk",
        f"{_fate(endangered.iloc[0])}{_others(len(endangered) - 1)}; {met} of {known} criteria are met.",
        kpis,
        *lasts,
    )


def _band(scores: pd.DataFrame) -> list[Kpi]:
    """The card of the engine's bands as issued; none without a forecast of its that has come due."""
    engine = scores[(scores["method"] == "ENGINE") & (scores["horizon_days"] == 30)]
    if engine.empty:
        return []
    held = float(engine["cover_80"].iloc[0])
    low, high = BAND
    said = (
        "too sure of itself" if held < low else "wider than it need be" if held > high else "as it should be"
    )
    note = (
        f"of {int(engine['forecasts'].iloc[0])} forecasts 30 days ahead lay in the engine's 80 % band: {said}"
    )
    return [Kpi("80 % band", units.percent(held), "good" if low <= held <= high else "attention", note)]


def _card(criterion: Criterion) -> Kpi:
    mood: Mood = "unknown" if criterion.is_met is None else "good" if criterion.is_met else "attention"
    return Kpi(criterion.name, criterion.value, mood, f"target: {criterion.target}")


def maintenance(due: pd.Series[Any], month: pd.Series[Any], as_of: pd.Timestamp, timezone: str) -> list[Item]:
    """The guide's daily, weekly and monthly maintenance: what is due.

    Parameters
    ----------
    due, month : Series
        The queries ``report_maintenance`` and ``report_month``.
    as_of : Timestamp
        When.
    timezone : str
        The reader's.
    """
    last = month["last_forecast"]
    fresh = not units.missing(last) and as_of - last <= pd.Timedelta(days=1)

    def counted(title: str, count: int, what: str, to_do: str) -> Item:
        return Item(title, "attention" if count else "ok", f"{count:,} {what}", to_do if count else "")

    return [
        Item(
            "Daily: the analysis runs",
            "ok" if fresh else "attention",
            "no forecast yet"
            if units.missing(last)
            else f"the last forecast is of {units.at(last, timezone)}",
            "" if fresh else "Schedule capacity analyze, or the guide's cron lines.",
        ),
        counted(
            "Weekly: clean up old measurements",
            int(due["old_measurements"]),
            "measurements are older than 90 days",
            "Delete them as the guide does if space is short; forecasts for a year ahead are better with them.",
        ),
        counted(
            "Monthly: archive old forecasts",
            int(due["unarchived_forecasts"]),
            "forecasts older than six months are not archived",
            "Archive them as the guide's monthly maintenance does.",
        ),
        counted(
            "Monthly: review thresholds",
            int(due["reviews_due"]),
            "thresholds have a review date that has passed",
            "Read the threshold tuning report.",
        ),
        counted(
            "Monthly: analyses due",
            int(due["analyses_due"]),
            "patterns are due to be analysed again",
            "Run: capacity analyze",
        ),
    ]
