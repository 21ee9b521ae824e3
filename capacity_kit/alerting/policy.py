"""Thresholds against history, as pure functions: breaches, episodes, what followed, and the rates that come of it.

Words: a *breach* is usage past a threshold, an *episode* a run of breaches. Here every episode raises one
alert at its start; suppression, business hours and escalation come on top of that.

An alert is **true** when what it warned of came within the horizon: for a WARNING the critical level,
for a CRITICAL all of the capacity. It is **false** when the horizon passed without it, and **open** while
the horizon has not passed: open alerts count in no rate.

A *reach* is an episode at the level that was warned of. It was **announced** when an alert began at least
the lead time, and at most the horizon, before it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

FULL: Final = 100.0
"""What a CRITICAL threshold warns of: percent of capacity."""
FALSE_POSITIVE_LIMIT: Final = 20.0
"""Percent of alerts that may be false before the guide raises a threshold."""
TRUE_POSITIVE_LIMIT: Final = 80.0
"""Percent of reaches that must be announced, or the guide lowers the threshold."""


def breaches(utilization: npt.ArrayLike, level: float) -> npt.NDArray[np.bool_]:
    """Where usage is at or past a threshold.

    Parameters
    ----------
    utilization : array_like, shape (n,)
        Percent of capacity; NaN where capacity is not known.
    level : float
        Percent of capacity.

    Returns
    -------
    ndarray of bool, shape (n,)
        False where utilization is NaN: what is not known is no breach.
    """
    shares = np.asarray(utilization, dtype=float)
    return np.asarray(shares >= level, dtype=np.bool_)


def episodes(times: pd.Series[Any], utilization: pd.Series[Any], level: float) -> pd.DataFrame:
    """Runs of breaches.

    Parameters
    ----------
    times : Series of datetime64, shape (n,)
        Ascending.
    utilization : Series of float, shape (n,)
        Percent of capacity; measurements where it is NaN give no verdict, so they neither begin nor end a run.
    level : float
        Percent of capacity.

    Returns
    -------
    DataFrame
        ``start`` (first breach), ``end`` (first measurement below again; NaT while it lasts), ``peak`` (percent).
        A run that is under way at the first measurement begins there.
    """
    known = utilization.notna().to_numpy()
    when = times[known].reset_index(drop=True)
    shares = utilization[known].to_numpy(dtype=float)
    past = breaches(shares, level)
    edges = np.diff(np.concatenate(([False], past, [False])).astype(np.int8))
    first, after = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return pd.DataFrame(
        {
            "start": when.iloc[first].reset_index(drop=True),
            "end": when.reindex(after).reset_index(drop=True),
            "peak": [float(shares[a:b].max()) for a, b in zip(first, after, strict=True)],
        }
    ).astype({"peak": float})


def outcomes(
    alerts: pd.DataFrame, reached: pd.DataFrame, horizon: pd.Timedelta, as_of: pd.Timestamp
) -> pd.Series[Any]:
    """What followed each alert.

    Parameters
    ----------
    alerts, reached : DataFrame
        Episodes of the threshold, and of the level that it warns of.
    horizon : Timedelta
        How long after its start an alert is given to come true.
    as_of : Timestamp
        Where knowledge ends.

    Returns
    -------
    Series of str
        'true', 'false' or 'open', in the order of `alerts`.
    """
    lasting = reached["end"].isna()

    def followed(start: pd.Timestamp) -> str:
        # Held already when the alert began counts too: usage may jump past both levels at once.
        if bool(((reached["start"] <= start + horizon) & (lasting | (reached["end"] > start))).any()):
            return "true"
        return "false" if start + horizon <= as_of else "open"

    return pd.Series([followed(start) for start in alerts["start"]], index=alerts.index, dtype=object)


def announced(
    alerts: pd.DataFrame, reached: pd.DataFrame, lead_time: pd.Timedelta, horizon: pd.Timedelta
) -> pd.Series[Any]:
    """Which reaches were announced: by an alert that began at least `lead_time`, at most `horizon` before.

    Returns
    -------
    Series of bool
        In the order of `reached`.
    """

    def told(start: pd.Timestamp) -> bool:
        return bool(alerts["start"].between(start - horizon, start - lead_time).any())

    return pd.Series([told(start) for start in reached["start"]], index=reached.index, dtype=bool)


class Score(NamedTuple):
    """How good a threshold's alerts were.

    Attributes
    ----------
    alerts, true, false, open : int
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


def score(outcome: pd.Series[Any], told: pd.Series[Any], minimum: int) -> Score:
    """Count, and turn counts into rates where there are enough of them.

    Parameters
    ----------
    outcome : Series of str
        From `outcomes`; those of several resources may be joined.
    told : Series of bool
        From `announced`; likewise.
    minimum : int
        Fewest decided alerts for precision, fewest reaches for recall.
    """
    true, false = int((outcome == "true").sum()), int((outcome == "false").sum())
    reached, in_time = len(told), int(told.sum())
    decided = true + false
    precision = 100 * true / decided if decided and decided >= minimum else None
    return Score(
        alerts=len(outcome),
        true=true,
        false=false,
        open=len(outcome) - decided,
        reached=reached,
        announced=in_time,
        precision=precision,
        false_positive_rate=None if precision is None else 100 - precision,
        recall=100 * in_time / reached if reached and reached >= minimum else None,
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


class Replay(NamedTuple):
    """One threshold on one resource's history: its alerts (``start``, ``end``, ``peak``, ``outcome``) and reaches."""

    alerts: pd.DataFrame
    reached: pd.DataFrame


def replay(
    measured: pd.DataFrame,
    *,
    level: float,
    target: float,
    horizon: pd.Timedelta,
    lead_time: pd.Timedelta,
    as_of: pd.Timestamp,
) -> Replay:
    """The alerts that a threshold would have raised on a resource, with what followed.

    Parameters
    ----------
    measured : DataFrame
        ``measured_at`` ascending and ``utilization`` in percent of capacity.
    level : float
        The threshold, in percent of capacity.
    target : float
        What it warns of, in percent of capacity: the critical level, or 100 for a critical threshold.
    horizon, lead_time : Timedelta
        See `outcomes` and `announced`.
    as_of : Timestamp
        Where knowledge ends.
    """
    alerts = episodes(measured["measured_at"], measured["utilization"], level)
    reached = episodes(measured["measured_at"], measured["utilization"], target)
    alerts["outcome"] = outcomes(alerts, reached, horizon, as_of)
    # What was already reached when the history began could not have been announced in it.
    reached = reached[reached["start"] > measured["measured_at"].min()].reset_index(drop=True)
    reached["announced"] = announced(alerts, reached, lead_time, horizon)
    return Replay(alerts, reached)


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
