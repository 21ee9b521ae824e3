"""Two methods of forecasting, one headline: the database's own analysis, and what the growth engine has recorded.

A report shows the better of the two by backtest, and the engine's bands wherever it has any. The frames here are those
of `capacity_kit.reporting.study.Study.outlook` and of the queries ``report_ledger`` and ``report_announced``.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from capacity_kit import units

NAMES: Final = {"SQL": "database", "ENGINE": "engine"}
"""What each method is called in a report."""

BY: Final = (7, 30, 90, 365)
"""Days within which the probability of reaching a level is recorded."""

DOUBT: Final = "; do not lean on it: "
"""What stands in the engine's sentence between what it says and why not to believe it."""

HELD_ENOUGH: Final = 0.6
"""Share of the backtest's origins that an 80 % band must hold: with three of six a reader is told."""

_TAKEN: Final = (
    "forecast_7d",
    "forecast_30d",
    "forecast_90d",
    "forecast_1y",
    "confidence_level",
    "trend_direction",
    "recommended_action",
    "action_priority",
    "pattern_type",
)
_TIMES: Final = ("time_to_warning_days", "time_to_critical_days", "time_to_capacity_days")


def headline(outlook: pd.DataFrame, recorded: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """The analysis with the engine's forecast in its place wherever that did better in its backtest.

    Parameters
    ----------
    outlook : DataFrame
        One row a resource, of the database's own analysis.
    recorded : DataFrame
        The query ``report_forecasts``.
    as_of : Timestamp
        Days are counted from here.

    Returns
    -------
    DataFrame
        `outlook` and ``method`` ('SQL' or 'ENGINE': whose headline it is), ``sql_confidence``, ``engine_confidence``,
        and ``engine``: its model_parameters with ``issued_at``, ``passed`` (days since) and ``why``; None where it has
        no forecast.
    """
    by_resource = recorded.set_index("resource")
    rows = []
    for _, row in outlook.iterrows():
        own: dict[Any, Any] = {**row, "method": "SQL", "engine": None, "engine_confidence": np.nan}
        own["sql_confidence"] = row["confidence_level"]
        if row["resource"] in by_resource.index:
            said = by_resource.loc[row["resource"]]
            own["engine"] = said["model_parameters"] | {
                "issued_at": said["issued_at"],
                "why": said["pattern_description"],
                "passed": int((as_of - said["issued_at"]) / pd.Timedelta(days=1)),
            }
            own["engine_confidence"] = said["confidence_level"]
            if said["is_better"]:
                own |= _of_engine(row, said, own["engine"])
        rows.append(own)
    columns = [*outlook.columns, "method", "engine", "sql_confidence", "engine_confidence"]
    made = pd.DataFrame(rows, columns=columns)
    # A column at a time: of a frame's times that are all missing, pandas would forget the zone.
    kinds = {c: pd.Series(list(made[c]), dtype=outlook.dtypes[c]) for c in outlook.columns}
    return made.assign(**{str(c): values for c, values in kinds.items()})


def _of_engine(row: pd.Series[Any], said: pd.Series[Any], parameters: dict[str, Any]) -> dict[str, Any]:
    taken: dict[str, Any] = {name: said[name] for name in _TAKEN}
    for name in _TIMES:
        taken[name] = pd.NA if units.missing(said[name]) else max(0, int(said[name]) - parameters["passed"])
    taken |= {
        name: parameters.get(name) if parameters.get(name) is not None else np.nan
        for name in ("wape_7d", "wape_30d", "wape_90d")
    }
    by_year = probability(parameters, "capacity", 365)
    reason = None
    if units.missing(row["capacity"]):
        reason = "capacity unknown, so no days to it"
    elif units.missing(taken["time_to_capacity_days"]):
        reason = f"not expected within a year (probability {units.share(by_year)})"
    return taken | {
        "method": "ENGINE",
        "growth_per_day": parameters["per_day"],
        "backtest_origins": parameters["origins"],
        "reason": reason,
    }


def shifts(outlook: pd.DataFrame, recorded: pd.DataFrame, since: pd.Timestamp) -> list[list[dict[str, Any]]]:
    """Every level shift of each resource, oldest first: the engine's, and the database's own where that one is shown.

    Parameters
    ----------
    outlook : DataFrame
        As `headline` gives it; ``pattern_breaks`` are the database's own ([{"at", "change"}]).
    recorded : DataFrame
        The query ``engine_shifts``.
    since : Timestamp
        Earlier ones are left out.

    Returns
    -------
    list of list of dict
        By row of `outlook`: ``at`` (ISO 8601), ``change`` (in the resource's unit), ``by`` ('SQL' or 'ENGINE'),
        ``cause`` and ``evidence`` (None where the database knows nothing that explains it). Of two that both methods
        found within two days of each other, the engine's stays.
    """
    found = []
    for _, row in outlook.iterrows():
        known = recorded[(recorded["resource"] == row["resource"]) & (recorded["shifted_at"] >= since)]
        listed = [
            {
                "at": shift.shifted_at.isoformat(),
                "change": float(shift.change),
                "by": "ENGINE",
                "cause": None if units.missing(shift.cause) else str(shift.cause),
                "evidence": None if units.missing(shift.evidence) else str(shift.evidence),
            }
            for shift in known.itertuples()
        ]
        if row["method"] == "SQL" and isinstance(row["pattern_breaks"], list):
            own = [
                {**jump, "by": "SQL", "cause": None, "evidence": None}
                for jump in row["pattern_breaks"]
                if not any(_near(jump["at"], shift["at"]) for shift in listed)
            ]
            listed += own
        found.append(sorted(listed, key=lambda shift: pd.Timestamp(shift["at"])))
    return found


def _near(one: str, other: str) -> bool:
    return abs(pd.Timestamp(one) - pd.Timestamp(other)) <= pd.Timedelta(days=2)


def probability(engine: dict[str, Any] | None, level: str, days: int) -> float:
    """That a level is reached within some days, from 0 to 1; NaN where the engine has not said."""
    said = ((engine or {}).get("runway", {}).get(level) or {}).get("by", {}).get(str(days))
    return float("nan") if said is None else float(said)


def date(engine: dict[str, Any] | None, level: str, part: str) -> pd.Timestamp | None:
    """The day by which a level is reached with a probability of 10, 50 or 90 %: ``p10``, ``p50``, ``p90``.

    None where that is more than a year away, or the engine has not said.
    """
    days = ((engine or {}).get("runway", {}).get(level) or {}).get(part)
    return None if engine is None or days is None else engine["issued_at"] + pd.Timedelta(days=days)


def band(engine: dict[str, Any] | None, days: int) -> tuple[float, ...]:
    """The quantiles .05 .1 .25 .5 .75 .9 .95 so many days ahead; empty where the engine has none."""
    return tuple(((engine or {}).get("quantiles") or {}).get(str(days)) or ())


def doubts(engine: dict[str, Any] | None) -> str:
    """Why not to lean on the engine's forecast, by its own words and backtest; empty where nothing says so."""
    own = str((engine or {}).get("why", "")).partition(DOUBT)[2].rstrip(".")
    held = (engine or {}).get("coverage_30d")
    if held is None or held >= HELD_ENOUGH:
        return own
    missed = f"its 80 % band held {units.share(held)} of what came 30 days ahead in the backtest"
    return f"{own}; {missed}" if own else missed


def apart(row: pd.Series[Any]) -> str:
    """A warning where the database's forecast is the one shown, and the engine's band of 9 in 10 leaves it out."""
    if row["method"] == "ENGINE":
        return ""
    for days, column in ((90, "forecast_90d"), (365, "forecast_1y")):
        found = band(row["engine"], days)
        if found and not units.missing(row[column]) and not found[0] <= row[column] <= found[-1]:
            low, high = (units.quantity(q, row["unit"]) for q in (found[0], found[-1]))
            return f"The methods disagree: for {days} days ahead the engine gives {low} to {high} 9 chances in 10."
    return ""


def scores(ledger: pd.DataFrame) -> pd.DataFrame:
    """How both methods, and the headlines that were made of them, did at each horizon.

    A resource's error is its sum of absolute errors in percent of the sum of what was measured, and the loss is twice
    the mean pinball loss of all quantiles in the same percent: for a forecast without a band they are one and the same.
    Both are means over resources, so that bytes do not outweigh users. Only where both methods had issued a forecast
    at the same moment, if both have any.

    Parameters
    ----------
    ledger : DataFrame
        The query ``report_ledger``.

    Returns
    -------
    DataFrame
        ``horizon_days``, ``method`` ('SQL', 'ENGINE', 'better'), ``forecasts``, ``error``, ``loss`` (percent),
        ``cover_50``, ``cover_80``, ``cover_90`` (percent of truths inside the band; NaN without one).
    """
    known = ledger[ledger["measured"].notna()]
    both = len(known["method"].unique()) > 1
    paired = known.groupby(["resource", "horizon_days", "issued_at"])["method"].transform("nunique")
    known = known[paired > 1] if both else known
    found = []
    for days, at in known.groupby("horizon_days"):
        groups = [(name, at[at["method"] == name]) for name in NAMES if (at["method"] == name).any()]
        if both:
            groups.append(("better", at[at["is_better"]]))
        found += [{"horizon_days": days, "method": name, **_scored(rows)} for name, rows in groups]
    names = ["horizon_days", "method", "forecasts", "error", "loss", "cover_50", "cover_80", "cover_90"]
    return pd.DataFrame(found, columns=names)


_LEVELS: Final = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])


def _scored(rows: pd.DataFrame) -> dict[str, float]:
    measured = rows["measured"].to_numpy(float)[:, None]
    point = rows["forecast"].to_numpy(float)[:, None]
    has_band = np.array([isinstance(q, list) for q in rows["quantiles"]])
    quantiles = np.repeat(point, len(_LEVELS), axis=1)
    if has_band.any():
        quantiles[has_band] = np.array(rows.loc[has_band, "quantiles"].tolist(), dtype=float)
    off = measured - quantiles
    loss = 2 * np.maximum(_LEVELS * off, (_LEVELS - 1) * off).mean(axis=1)
    sums = pd.DataFrame(
        {
            "resource": rows["resource"].to_numpy(),
            "error": np.abs(measured - point)[:, 0],
            "loss": loss,
            "measured": measured[:, 0],
        }
    )
    sums = sums.groupby("resource").sum()
    sums = sums[sums["measured"] > 0]
    inside = {
        f"cover_{held}": 100 * float(np.mean((off[has_band, low] >= 0) & (off[has_band, -1 - low] <= 0)))
        if has_band.all()
        else float("nan")
        for held, low in ((90, 0), (80, 1), (50, 2))
    }
    return {
        "forecasts": len(rows),
        "error": 100 * float((sums["error"] / sums["measured"]).mean()),
        "loss": 100 * float((sums["loss"] / sums["measured"]).mean()),
        **inside,
    }


def decisions(announced: pd.DataFrame) -> pd.DataFrame:
    """Of the critical levels that were reached, how many each method had announced, and how often in vain.

    Parameters
    ----------
    announced : DataFrame
        The query ``report_announced`` at one horizon.

    Returns
    -------
    DataFrame
        One row a method: ``method``, ``forecasts``, ``reached``, ``announced`` (of those reached), ``false``
        (announced and not reached), ``brier`` (mean square of what was said less what came).
    """
    found = []
    for name in NAMES:
        rows = announced[announced["method"] == name]
        if rows.empty:
            continue
        reached, said = rows["is_reached"].astype(bool), rows["is_announced"].astype(bool)
        brier = float(((rows["probability"].astype(float) - reached) ** 2).mean())
        counts = (int(reached.sum()), int((reached & said).sum()), int((said & ~reached).sum()))
        found.append((name, len(rows), *counts, brier))
    return pd.DataFrame(found, columns=["method", "forecasts", "reached", "announced", "false", "brier"])
