"""The guide's success criteria, each computed from this database or said to be unknown, with how."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import pandas as pd

from capacity_kit import units
from capacity_kit.alerting.policy import Score

ACCURACY: Final = 85.0
"""Percent: what 30-day forecasts must be better than."""
FALSE_POSITIVES: Final = 10.0
"""Percent: what the rate of false alerts must stay under."""
RESPONSE_MINUTES: Final = 30.0
"""Minutes: what the mean time to resolve an alert must stay under."""
AUTOMATION: Final = 95.0
"""Percent of measurements that must come without anybody importing a file."""
WARNING_DAYS: Final = 90
"""Days before which a capacity issue must be known."""


class Criterion(NamedTuple):
    """One criterion.

    Attributes
    ----------
    name, value, target : str
        In words; a dash where the value is not known.
    is_met : bool or None
        None: not known.
    how : str
        How it is computed, or why it cannot be.
    """

    name: str
    value: str
    target: str
    is_met: bool | None
    how: str

    @property
    def verdict(self) -> str:
        """'met', 'missed' or 'not known'."""
        return "not known" if self.is_met is None else "met" if self.is_met else "missed"


def forecast_accuracy(confidence: pd.Series[Any]) -> Criterion:
    """Mean over resources of the backtested accuracy at 30 days (percent; NaN where there is no backtest)."""
    known = confidence.dropna()
    if known.empty:
        how = "No resource has history enough for a backtest at 30 days."
        return Criterion("Forecast accuracy", units.DASH, "> 85 %", None, how)
    mean = float(known.mean())
    how = f"Mean over {len(known)} resources of 100 minus the backtested error at 30 days, each by its better method."
    return Criterion("Forecast accuracy", units.percent(mean), "> 85 %", mean > ACCURACY, how)


def alert_effectiveness(total: Score, minimum: int) -> Criterion:
    """Share of decided alerts that were false; not known under the minimum count."""
    name, target, rate = "Alert effectiveness", "< 10 % false", total.false_positive_rate
    if rate is None:
        return Criterion(name, units.DASH, target, None, f"Fewer than {minimum} alerts are decided.")
    how = f"{total.false} of {total.true + total.false} decided alerts were not followed by what they warned of."
    return Criterion(name, f"{units.percent(rate)} false", target, rate < FALSE_POSITIVES, how)


def response_time(minutes: float, resolved: int) -> Criterion:
    """Mean time from raising an alert to its resolution (minutes; NaN where none was resolved), over so many."""
    name, target = "Response time", "< 30 minutes"
    if units.missing(minutes):
        return Criterion(name, units.DASH, target, None, "No alert was resolved in the last month.")
    how = (
        f"Mean time from raising to resolution in the last month (alerts resolved: {units.number(resolved)})."
    )
    return Criterion(name, f"{units.number(minutes)} minutes", target, minutes < RESPONSE_MINUTES, how)


def coverage(found: pd.DataFrame) -> Criterion:
    """Share of tenants' resource types with a threshold that can be judged: the query ``report_coverage``."""
    if found.empty:
        return Criterion("Coverage", units.DASH, "100 %", None, "There is no active threshold.")
    covered = int(found["is_covered"].sum())
    gaps = found[~found["is_covered"]]
    missing = [
        f"{', '.join(sorted({units.title(str(kind)) for kind in group}))} ({reason})"
        for reason, group in gaps.groupby("reason")["resource_type"]
    ]
    how = (
        f"{covered} of {len(found)} tenants' resource types with an active threshold are freshly measured, "
        "against a known capacity."
    )
    if missing:
        how += f" Missing for some: {'; '.join(missing)}."
    if (gaps["reason"] == "capacity unknown").any():
        how += " A threshold on an unknown capacity can never fire."
    return Criterion(
        "Coverage", units.percent(100 * covered / len(found)), "100 %", covered == len(found), how
    )


def automation(month: pd.Series[Any]) -> Criterion:
    """Share of the last month's measurements that came without anybody importing a file: the query ``report_month``."""
    name, target = "Automation", "≥ 95 %"
    measurements, imported, simulated = (int(month[n]) for n in ("measurements", "imported", "simulated"))
    if not measurements:
        aside = f": its {simulated:,} simulated measurements say nothing of it" if simulated else ""
        return Criterion(name, units.DASH, target, None, f"Nothing was measured in the last month{aside}.")
    own = measurements - imported
    share = 100 * own / measurements
    how = (
        f"{own:,} of the last month's {measurements:,} measurements came without anybody importing a file. "
        "It counts measurements, not tasks."
    )
    if simulated:
        how += f" {simulated:,} simulated ones are left out."
    return Criterion(name, units.percent(share), target, share >= AUTOMATION, how)


def proactive_planning(leads: pd.Series[Any]) -> Criterion:
    """Median lead time from `tuning.lead_times`; a level that no forecast had named counts as no lead at all."""
    name, target = "Proactive planning", "≥ 90 days"
    if leads.empty:
        return Criterion(name, units.DASH, target, None, "No critical level was reached in this history.")
    median = float(leads.fillna(pd.Timedelta(0)).dt.total_seconds().median()) / 86400
    how = (
        "Median time for which forecasts had been naming a critical level before it was reached; "
        f"{int(leads.notna().sum())} of {len(leads)} were named at all."
    )
    value = units.days(median) if median >= 1 else "under a day"
    return Criterion(name, value, target, bool(median >= WARNING_DAYS), how)
