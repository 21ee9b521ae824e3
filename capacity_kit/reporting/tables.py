"""Frames of numbers turned into frames of words, ready for `capacity_kit.reporting.show.table`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from capacity_kit import units
from capacity_kit.reporting import methods

if TYPE_CHECKING:
    from capacity_kit.reporting.criteria import Criterion

if TYPE_CHECKING:
    Row = pd.Series[Any]
else:
    Row = pd.Series


def _words(frame: pd.DataFrame, columns: dict[str, Callable[[Row], Any]]) -> pd.DataFrame:
    rows = [row for _, row in frame.iterrows()]
    return pd.DataFrame({name: [said(row) for row in rows] for name, said in columns.items()}, dtype=object)


def resource(row: Row) -> str:
    """'Storage documents' of a row with ``resource_type`` and ``resource_name``."""
    return units.resource(str(row["resource_type"]), str(row["resource_name"]))


def named(row: Row) -> str:
    """A resource with its owner: 'Storage documents of Harbour Dental Group'."""
    return f"{resource(row)} of {units.plain(row['tenant'], 40)}"


def standing(resources: pd.DataFrame, timezone: str) -> pd.DataFrame:
    """Where each resource stands: usage, capacity, utilization, peak, status, age of the measurement."""
    return _words(
        resources,
        {
            "Tenant": lambda r: units.plain(r["tenant"]),
            "Resource": resource,
            "Usage": lambda r: units.quantity(r["usage"], r["unit"]),
            "Capacity": lambda r: (
                "not known" if units.missing(r["capacity"]) else units.quantity(r["capacity"], r["unit"])
            ),
            "Used": lambda r: units.percent(r["utilization"]),
            "Peak, 30 days": lambda r: units.quantity(r["peak"], r["unit"]),
            "Status": lambda r: "stale" if r["is_stale"] else r["status"],
            "Measured": lambda r: units.at(r["measured_at"], timezone, clock=False),
        },
    )


def forecasts(outlook: pd.DataFrame) -> pd.DataFrame:
    """Usage now and 7, 30, 90 and 365 days ahead, with the days until each level."""

    def ahead(column: str) -> Callable[[Row], str]:
        return lambda r: _amount(r[column], r["unit"])

    return _words(
        outlook,
        {
            "Tenant": lambda r: units.plain(r["tenant"]),
            "Resource": resource,
            "Pattern": lambda r: str(r["pattern_type"]).replace("_", " ").lower(),
            "Now": lambda r: units.quantity(r["current_usage"], r["unit"]),
            "A day": lambda r: _signed(r["growth_per_day"], r["unit"], _amount),
            "7 days": ahead("forecast_7d"),
            "30 days": ahead("forecast_30d"),
            "90 days": ahead("forecast_90d"),
            "1 year": ahead("forecast_1y"),
        },
    )


def method(row: Row) -> str:
    """Whose forecast is shown: the database's or the engine's."""
    return methods.NAMES[row["method"]]


def bands(outlook: pd.DataFrame) -> pd.DataFrame:
    """Between which amounts the engine expects usage with a probability of 80 %, 7, 30, 90 and 365 days ahead."""

    def between(days: int) -> Callable[[Row], str]:
        def said(row: Row) -> str:
            found = methods.band(row["engine"], days)
            low, high = (_amount(found[at], row["unit"]) for at in (1, 5))
            number, _, same = low.partition(" ")
            return f"{number if same == high.partition(' ')[2] else low} – {high}"

        return said

    return _words(
        outlook[outlook["engine"].notna()],
        {
            "Tenant": lambda r: units.plain(r["tenant"]),
            "Resource": resource,
            "Now": lambda r: units.quantity(r["current_usage"], r["unit"]),
            "7 days": between(7),
            "30 days": between(30),
            "90 days": between(90),
            "1 year": between(365),
        },
    )


def odds(outlook: pd.DataFrame, timezone: str) -> pd.DataFrame:
    """When the engine expects a level to be reached, and how probable that is: a row a resource and level.

    Only where a year makes it at least 1 % probable; the soonest first.
    """
    rows = [
        (row, level, methods.probability(row["engine"], level, 365))
        for _, row in outlook.iterrows()
        for level in ("critical", "capacity")
    ]
    likely = [(row, level) for row, level, by_year in rows if by_year >= LEAST_ODDS]

    def soonness(entry: tuple[Row, str]) -> tuple[float, ...]:
        row, level = entry
        runway = row["engine"]["runway"][level]
        late = [float("inf") if runway[p] is None else runway[p] for p in ("p50", "p10")]
        return (*late, -methods.probability(row["engine"], level, 365))

    def said(row: Row, level: str) -> tuple[str, ...]:
        engine = row["engine"]
        amount = units.quantity(engine["runway"][level]["level"], row["unit"])
        dates = [methods.date(engine, level, part) for part in ("p10", "p50", "p90")]
        return (
            units.plain(row["tenant"]),
            resource(row),
            f"{level} {amount}{' (peak)' if 'runway_of' in engine else ''}",
            *("reached" if d == engine["issued_at"] else units.at(d, timezone, clock=False) for d in dates),
            *(units.share(methods.probability(engine, level, days)) for days in methods.BY),
        )

    names = ["Tenant", "Resource", "Level", "1 in 10 by", "Even by", "9 in 10 by"]
    names += [f"{d} days" if d < 365 else "1 year" for d in methods.BY]
    found = [said(*entry) for entry in sorted(likely, key=soonness)]
    return pd.DataFrame(found, columns=names, dtype=object)


LEAST_ODDS = 0.01
"""Probability within a year from which on a level is worth a row."""


def explained(outlook: pd.DataFrame) -> pd.DataFrame:
    """The engine's sentence on each forecast, and whether to lean on it; if not, why."""

    def said(row: Row) -> str:
        own = row["engine"]["why"].partition(methods.DOUBT)[0].rstrip(".")
        doubt = methods.doubts(row["engine"])
        return f"{own}{methods.DOUBT}{doubt}." if doubt else f"{own}."

    return _words(
        outlook[outlook["engine"].notna()],
        {
            "Tenant": lambda r: units.plain(r["tenant"]),
            "Resource": resource,
            "Lean on it": lambda r: "with care" if methods.doubts(r["engine"]) else "yes",
            "What drives it": said,
        },
    )


def runways(outlook: pd.DataFrame) -> pd.DataFrame:
    """Days until warning, critical and capacity, in words."""
    return _words(
        outlook,
        {
            "Tenant": lambda r: units.plain(r["tenant"]),
            "Resource": resource,
            "Used": lambda r: units.percent(r["utilization_percentage"]),
            "To warning": lambda r: until(
                r["time_to_warning_days"], r["utilization_percentage"], r["warning"]
            ),
            "To critical": lambda r: until(
                r["time_to_critical_days"], r["utilization_percentage"], r["critical"]
            ),
            "To capacity": lambda r: until(r["time_to_capacity_days"], r["utilization_percentage"], 100.0),
            "By": method,
            "Note": lambda r: "" if units.missing(r["reason"]) else str(r["reason"]),
        },
    )


def in_a_line(row: Row) -> str:
    """A resource that needs no figure: how full it is, and how long it lasts."""
    said = f"{units.percent(row['utilization_percentage'])} used, "
    if units.missing(row["utilization_percentage"]):
        said = ""
    if not units.missing(row["time_to_capacity_days"]):
        left = until(row["time_to_capacity_days"], row["utilization_percentage"], 100.0)
        return f"{named(row)}: {said}{left} to capacity"
    return f"{named(row)}: {said}{'no forecast' if units.missing(row['reason']) else row['reason']}"


def actions(outlook: pd.DataFrame) -> pd.DataFrame:
    """What to do, the most urgent first."""
    order = ["CRITICAL", "HIGH", "MEDIUM", "LOW"]
    ranked = outlook.assign(_rank=outlook["action_priority"].map({name: i for i, name in enumerate(order)}))
    ranked = ranked.sort_values("_rank", kind="stable", na_position="last")
    return _words(
        ranked,
        {
            "Tenant": lambda r: units.plain(r["tenant"]),
            "Resource": resource,
            "Priority": lambda r: units.DASH if units.missing(r["action_priority"]) else r["action_priority"],
            "What to do": action,
        },
    )


def action(row: Row) -> str:
    """The recommended action; where the capacity is not known, how to say it to the workbench."""
    said = "" if units.missing(row["recommended_action"]) else str(row["recommended_action"])
    if not units.missing(row["capacity"]):
        return said
    head = said.split(" Its capacity is unknown")[0]
    return f"{head} Its capacity is not known: register it with “capacity register”.".strip()


def trust(outlook: pd.DataFrame) -> pd.DataFrame:
    """How far each forecast rests on good measurements."""
    return _words(
        outlook,
        {
            "Tenant": lambda r: units.plain(r["tenant"]),
            "Resource": resource,
            "Measurements": lambda r: units.number(r["measurements"], 7),
            "Complete": lambda r: units.percent(r["completeness"]),
            "Longest gap": lambda r: span(r["longest_gap"]),
            "Quality": lambda r: units.percent(r["quality"]),
        },
    )


def backtests(outlook: pd.DataFrame) -> pd.DataFrame:
    """The backtested errors of the forecasts shown, and how the two methods compare 30 days ahead."""

    def off(accuracy: float) -> str:
        return units.DASH if units.missing(accuracy) else units.percent(100 - accuracy)

    def held(row: Row) -> str:
        return units.share((row["engine"] or {}).get("coverage_30d") or float("nan"))

    return _words(
        outlook,
        {
            "Tenant": lambda r: units.plain(r["tenant"]),
            "Resource": resource,
            "By": method,
            "Backtests": lambda r: units.number(r["backtest_origins"]),
            "7 days": lambda r: units.percent(r["wape_7d"]),
            "30 days": lambda r: units.percent(r["wape_30d"]),
            "90 days": lambda r: units.percent(r["wape_90d"]),
            "Database, 30 days": lambda r: off(r["sql_confidence"]),
            "Engine, 30 days": lambda r: off(r["engine_confidence"]),
            "80 % band held": held,
        },
    )


def scores(found: pd.DataFrame) -> pd.DataFrame:
    """How the methods did as issued: `methods.scores` in words."""
    names = methods.NAMES | {"better": "the better of the two"}
    return _words(
        found,
        {
            "Ahead": lambda r: f"{r['horizon_days']} days",
            "By": lambda r: names[r["method"]],
            "Forecasts": lambda r: units.number(r["forecasts"], 7),
            "Error": lambda r: units.percent(r["error"]),
            "Loss": lambda r: units.percent(r["loss"]),
            "50 % band held": lambda r: units.percent(r["cover_50"]),
            "80 % band held": lambda r: units.percent(r["cover_80"]),
            "90 % band held": lambda r: units.percent(r["cover_90"]),
        },
    )


def decisions(found: pd.DataFrame) -> pd.DataFrame:
    """How the methods announced critical levels: `methods.decisions` in words."""
    return _words(
        found,
        {
            "By": lambda r: methods.NAMES[r["method"]],
            "Forecasts": lambda r: units.number(r["forecasts"], 7),
            "Level reached": lambda r: units.number(r["reached"], 7),
            "Announced of these": lambda r: units.number(r["announced"], 7),
            "Announced in vain": lambda r: units.number(r["false"], 7),
            "Brier score": lambda r: f"{r['brier']:.3f}",
        },
    )


def regimes(outlook: pd.DataFrame, timezone: str) -> pd.DataFrame:
    """Every level shift of `methods.shifts`, newest first, with what the database knows of that day."""
    found = [
        (pd.Timestamp(b["at"]), row, b)
        for _, row in outlook.iterrows()
        for b in (row["pattern_breaks"] if isinstance(row["pattern_breaks"], list) else [])
    ]
    found.sort(key=lambda entry: entry[0], reverse=True)
    return pd.DataFrame(
        [
            (
                units.plain(row["tenant"]),
                resource(row),
                units.at(at, timezone, clock=False),
                _signed(shift.get("change"), row["unit"]),
                methods.NAMES[shift["by"]],
                shift["evidence"] or "nothing that is known",
            )
            for at, row, shift in found
        ],
        columns=[
            "Tenant",
            "Resource",
            "Since",
            "Change of level",
            "Found by",
            "Explained by",
        ],
        dtype=object,
    )


def record(found: pd.DataFrame) -> pd.DataFrame:
    """The engine's backtest of the decision, by resource: the query ``engine_decisions``, where something happened."""
    told = found[(found["reached"] > 0) | (found["false_announcements"] > 0)]
    told = told.assign(_missed=told["reached"] - told["announced"])
    return _words(
        told.sort_values(["_missed", "false_announcements"], ascending=False, kind="stable"),
        {
            "Tenant": lambda r: units.plain(r["tenant"]),
            "Resource": resource,
            "Days judged": lambda r: units.number(r["judged"]),
            "Level reached": lambda r: units.number(r["reached"]),
            "Announced of these": lambda r: units.number(r["announced"]),
            "Announced in vain": lambda r: units.number(r["false_announcements"]),
        },
    )


def record_in_words(found: pd.DataFrame) -> str:
    """The same of all resources in a sentence."""
    if found.empty:
        return "The engine has no backtest here that can judge an announcement."
    judged, reached, announced, false = (
        int(found[name].sum()) for name in ("judged", "reached", "announced", "false_announcements")
    )
    days = int(found["horizon_days"].iloc[0])
    return (
        f"Of {judged:,} past days on which a resource was below its critical level, "
        f"{reached:,} had it reached within {days} days; the engine would have announced {announced:,} of these, "
        f"and {false:,} more in vain."
    )


def until(days: Any, used: float, level: float) -> str:
    """Whole days until a level in words; a dash where it is not in sight. `used` and `level` are in percent."""
    if units.missing(days):
        return units.DASH
    if days >= 1:
        return units.days(days)
    return "reached" if used >= level else "under a day"


def span(length: Any) -> str:
    """A time span in its largest sensible unit."""
    if units.missing(length):
        return units.DASH
    hours = pd.Timedelta(length) / pd.Timedelta(hours=1)
    if hours < 1 / 60:
        return f"{units.number(3600 * hours)} s"
    if hours < 1:
        return f"{units.number(60 * hours)} min"
    return f"{units.number(hours)} h" if hours < 48 else f"{units.number(hours / 24)} days"


def _amount(value: Any, unit: str) -> str:
    """A quantity whose unit is told elsewhere in its row; bytes keep theirs, since it changes with their size."""
    return units.quantity(value, unit) if unit == "bytes" else units.number(value)


def _signed(value: Any, unit: str, said: Callable[[Any, str], str] = units.quantity) -> str:
    if units.missing(value):
        return units.DASH
    text = said(value, unit)
    return f"+{text}" if value > 0 else text


def joined(names: Iterable[str], top: int = 3) -> str:
    """'A, B, C and 4 more'."""
    listed = list(names)
    more = f" and {len(listed) - top} more" if len(listed) > top else ""
    return ", ".join(listed[:top]) + more


def thresholds(scores: pd.DataFrame) -> pd.DataFrame:
    """Each threshold's alerts over history, its rates, and the guide's recommendation; those with most alerts first."""
    return _words(
        scores.sort_values(["alerts", "resources"], ascending=False, kind="stable"),
        {
            "Tenant": lambda r: units.plain(r["tenant"]),
            "Threshold": lambda r: units.plain(r["threshold_name"]),
            "Recommendation": lambda r: (
                "not decided" if units.missing(r["recommendation"]) else r["recommendation"]
            ),
            "Level": lambda r: units.DASH if units.missing(r["level"]) else f"{units.number(r['level'])} %",
            "Warns of": lambda r: (
                units.DASH if units.missing(r["target"]) else f"{units.number(r['target'])} %"
            ),
            "Alerts": lambda r: units.number(r["alerts"]),
            "True, false, open": lambda r: f"{r['true']}, {r['false']}, {r['open']}",
            "Censored": lambda r: units.number(r["censored"]),
            "False positives": lambda r: units.percent(r["false_positive_rate"]),
            "Announced": lambda r: f"{r['announced']} of {r['reached']}",
            "Recall": lambda r: units.percent(r["recall"]),
        },
    )


def undecided(scores: pd.DataFrame, minimum: int) -> pd.DataFrame:
    """Why no recommendation is given, in counts of thresholds."""
    open_ = scores[scores["recommendation"].isna()]
    reasons = pd.Series(
        [
            "nothing of this type has been measured, or its capacity is not known"
            if row["resources"] == 0
            else "it would never have fired"
            if row["alerts"] == 0
            else f"fewer than {minimum} of its alerts are decided"
            if units.missing(row["false_positive_rate"])
            else f"what it warns of was reached fewer than {minimum} times"
            for _, row in open_.iterrows()
        ],
        dtype=object,
    )
    counted = reasons.value_counts().sort_index()
    return pd.DataFrame(
        {"Reason": list(counted.index), "Thresholds": [str(n) for n in counted]}, dtype=object
    )


def criteria(found: Iterable[Criterion]) -> pd.DataFrame:
    """Success criteria: name, value, target, verdict and how it is computed (or why it cannot be)."""
    entries = [(c.name, c.value, c.target, c.verdict, c.how) for c in found]
    return pd.DataFrame(
        entries, columns=["Criterion", "Value", "Target", "Verdict", "How it is computed"], dtype=object
    )


def changes(now: pd.DataFrame, then: pd.DataFrame) -> pd.DataFrame:
    """Usage and utilization against an earlier moment, the largest change of utilization first.

    Parameters
    ----------
    now, then : DataFrame
        The query ``report_resources`` at both moments.
    """
    kept = then[["resource", "usage", "utilization", "status"]].rename(
        columns=lambda c: c if c == "resource" else f"{c}_then"
    )
    both = now.merge(kept, on="resource", how="left")
    both["points"] = both["utilization"] - both["utilization_then"]
    both["_size"] = both["points"].abs()
    both = both.sort_values("_size", ascending=False, na_position="last", kind="stable")
    return _words(
        both,
        {
            "Tenant": lambda r: units.plain(r["tenant"]),
            "Resource": resource,
            "Then": lambda r: units.quantity(r["usage_then"], r["unit"]),
            "Now": lambda r: units.quantity(r["usage"], r["unit"]),
            "Change": lambda r: _signed(r["usage"] - r["usage_then"], r["unit"]),
            "Used then": lambda r: units.percent(r["utilization_then"]),
            "Used now": lambda r: units.percent(r["utilization"]),
            "Status": lambda r: (
                str(r["status"])
                if units.missing(r["status_then"]) or r["status_then"] == r["status"]
                else f"{r['status']}, was {r['status_then']}"
            ),
        },
    )


def caption(row: Row) -> str:
    """What stands under a resource's figure: its chances to be full, its backtested error, and why to doubt it."""
    return " ".join(said for said in (_chances(row), error_sentence(row), _doubt(row)) if said)


def _chances(row: Row) -> str:
    """How probable the engine holds it that the capacity is reached; empty where that is hardly so or not known."""
    if not methods.probability(row["engine"], "capacity", 365) >= LEAST_ODDS:
        return ""
    said = ", ".join(units.share(methods.probability(row["engine"], "capacity", days)) for days in methods.BY)
    return f"Chances to be full within {', '.join(str(d) for d in methods.BY)} days: {said}."


def error_sentence(row: Row) -> str:
    """The backtested error of a resource's forecasts, as a sentence."""
    known = [
        f"{units.percent(row[column])} {days} days ahead"
        for column, days in (("wape_7d", 7), ("wape_30d", 30), ("wape_90d", 90))
        if not units.missing(row[column])
    ]
    if not known:
        return "The history is too short for a backtest of these forecasts."
    return f"Forecasts like this one were off by {', '.join(known)} on average."


def _doubt(row: Row) -> str:
    doubt = methods.doubts(row["engine"]) if row["method"] == "ENGINE" else ""
    return f"Do not lean on it: {doubt}." if doubt else methods.apart(row)


_EXPECTED = {"_h": (4, 4), "forecast_s": (35, 10), "utilization_s": (40, 10)}
"""The guide's least columns and required columns, by the end of a table's name."""


def structure(found: pd.DataFrame) -> pd.DataFrame:
    """The tables with their columns, against what the guide expects of some of them."""

    def expected(row: Row) -> tuple[int, int] | None:
        return next((e for end, e in _EXPECTED.items() if str(row["table_name"]).endswith(end)), None)

    def verdict(row: Row) -> str:
        least = expected(row) or (1, 1)
        exact = str(row["table_name"]).endswith("_h")
        columns, required = int(row["columns"]), int(row["required"])
        fits = (columns, required) == least if exact else columns >= least[0] and required >= least[1]
        return "ok" if fits else "failed"

    def wanted(row: Row) -> str:
        least = expected(row)
        if least is None:
            return units.DASH
        return f"{least[0]}, {least[1]} required" if least == (4, 4) else f"{least[0]}+, {least[1]}+ required"

    return _words(
        found,
        {
            "Table": lambda r: r["table_name"],
            "Columns": lambda r: units.number(r["columns"]),
            "Required": lambda r: units.number(r["required"]),
            "Expected": wanted,
            "Verdict": verdict,
        },
    )


def extensions(found: pd.DataFrame) -> pd.DataFrame:
    """The guide's extensions: the version installed, and the one that the server could install."""

    def version(column: str) -> Callable[[Row], str]:
        return lambda r: units.DASH if units.missing(r[column]) else f"version {r[column]}"

    return _words(
        found,
        {
            "Extension": lambda r: r["name"],
            "Installed": version("installed"),
            "Available": version("available"),
        },
    )


def data(found: pd.DataFrame, timezone: str) -> pd.DataFrame:
    """Measurements by type: how many, of how many resources, how full on average, how new."""
    return _words(
        found,
        {
            "Type": lambda r: units.title(str(r["resource_type"])),
            "Resources": lambda r: units.number(r["resources"]),
            "Measurements": lambda r: units.number(r["measurements"], 9),
            "Above zero": lambda r: units.number(r["above_zero"], 9),
            "Mean utilization": lambda r: units.percent(r["utilization"]),
            "Newest": lambda r: units.at(r["newest"], timezone),
        },
    )


def indexes(found: pd.DataFrame) -> pd.DataFrame:
    """Indexes with how often they were used: the query ``report_indexes``.

    One that no query has used is *not used yet* until that has been counted for 30 days. After these a plain one is
    *unused*; a unique one earns its place by what it refuses, searched or not.
    """

    def verdict(row: Row) -> str:
        if not row["is_valid"]:
            return "failed"
        if row["scans"]:
            return "used"
        if not row["is_settled"]:
            return "not used yet"
        return "keeps unique" if row["is_unique"] else "unused"

    return _words(
        found,
        {
            "Table": lambda r: r["table_name"],
            "Index": lambda r: r["index_name"],
            "Kind": lambda r: "unique" if r["is_unique"] else "plain",
            "Used": lambda r: f"{int(r['scans']):,} scans",
            "Verdict": verdict,
        },
    )


def fired(found: pd.DataFrame) -> pd.DataFrame:
    """The rehearsal of every threshold, those of one name together; what did not fire comes first."""
    if found.empty:
        return found
    order = {"did not fire": 0, "switched off": 1, "fired": 2}
    alike = ["verdict", "threshold_name", "resource_type", "level"]
    groups = found.groupby(alike, sort=True)["tenant"].agg(list).reset_index()
    groups = groups.sort_values("verdict", key=lambda said: said.map(order), kind="stable")
    return _words(
        groups,
        {
            "Threshold": lambda r: units.plain(r["threshold_name"]),
            "Type": lambda r: units.title(str(r["resource_type"])),
            "Level": lambda r: f"{units.number(r['level'])} %",
            "Of": lambda r: joined((units.plain(name, 40) for name in r["tenant"]), top=2),
            "Verdict": lambda r: r["verdict"],
        },
    )
