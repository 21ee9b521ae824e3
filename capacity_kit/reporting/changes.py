"""What changed since the last report: sentences from two results, for the page and for the mail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, Final

import pandas as pd

from capacity_kit import units
from capacity_kit.reporting.result import MOOD_WORDS, Result, Runway

YEAR: Final = 365
"""Days that a runway is looked at: one without a day is longer."""

SHARE: Final = 0.25
LEAST: Final = 7
"""A runway without a band has changed when it is off by more than a quarter of what was expected, and by more days."""

TOP: Final = 5
"""Resources named in a sentence's place before the rest is counted."""


def compared(after: Result, before: Result | None) -> Result:
    """`after` with what changed since `before`; None: it is the first."""
    if before is None:
        return replace(after, compared_with="", changes=())
    return replace(after, compared_with=before.as_of, changes=changes(before, after))


def told(result: Result) -> tuple[str, ...]:
    """What changed in sentences, one of them at least: that there is nothing to compare with, or that nothing did."""
    if result.verdict == "failed" and not result.changes:
        again = (
            "It failed the last time too."
            if result.compared_with
            else "There is no earlier one of this kind."
        )
        return (again,)
    if not result.compared_with:
        return ("This is the first report of this kind, so there is none to compare it with.",)
    return result.changes or ("Nothing that was not expected.",)


def before(folder: Path, after: Result) -> Result | None:
    """The last complete report before `after` with the same parameters, else the last one at all; None without any.

    Parameters
    ----------
    folder : Path
        Where reports of that notebook on that tenant lie, each in a folder that is named for its time.
    after : Result
        The report to be compared.
    """
    failed = None
    for place in sorted(folder.glob("*/result.json"), reverse=True):
        if place.parent.is_symlink():
            continue
        try:
            found = Result.read(place)
            is_earlier = bool(found.as_of) and _moment(found) < _moment(after)
        except (OSError, ValueError):  # damaged, or none of ours
            continue
        if not is_earlier or _asked(found) != _asked(after):
            continue
        if found.verdict != "failed":
            return found
        failed = failed or found
    return failed


def _asked(result: Result) -> dict[str, Any]:
    return {name: value for name, value in result.parameters.items() if name != "as_of"}


def _moment(result: Result) -> pd.Timestamp:
    return pd.Timestamp(result.as_of)


def changes(before: Result, after: Result) -> tuple[str, ...]:
    """What a reader of `before` has to know of `after`: the verdict, resources at risk, runways, key figures.

    A runway has changed where it now lies outside of the days of 1 in 10 to 9 in 10 that it was given then, less the
    days passed since; one without such a band, where it is off by a quarter and a week.
    """
    said = [f"The verdict is “{after.verdict}”; it was “{before.verdict}”."] * (
        after.verdict != before.verdict
    )
    if "failed" in (after.verdict, before.verdict):
        return tuple(said)
    return (
        *said,
        *_risks(before, after),
        *_runways(before, after),
        *_kpis(before, after),
        *_made(before, after),
    )


def _by_resource(result: Result) -> dict[str, Runway]:
    return {entry.resource: entry for entry in result.runway if entry.level == "capacity"}


def _name(entry: Runway) -> str:
    return f"{units.resource(entry.resource_type, entry.resource_name)} of {units.plain(entry.tenant, 40)}"


def _risks(before: Result, after: Result) -> list[str]:
    then, now = _by_resource(before), _by_resource(after)
    if not then or not now:
        return []
    was = {key for key, entry in then.items() if entry.is_at_risk}
    new = [f"{_name(e)}{_left(e)}" for key, e in now.items() if e.is_at_risk and key not in was]
    over = [_name(now[key]) for key in then if key in was and key in now and not now[key].is_at_risk]
    # One that is not listed now is either left out, and then safe, or not measured any more.
    gone = [_name(then[key]) for key in was - set(now)]
    unlisted = "No longer at risk" if after.runway_left_out else "At risk before, and not in this report"
    return [
        *_listed("Newly at risk", new),
        *_listed("No longer at risk", over),
        *_listed(unlisted, sorted(gone)),
    ]


def _left(entry: Runway) -> str:
    if entry.p50_days is None:
        return ""
    return " (full)" if entry.p50_days == 0 else f" (full in {units.days(entry.p50_days)})"


def _listed(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f", and {len(names) - TOP} more" if len(names) > TOP else ""
    return [f"{what}: {', '.join(names[:TOP])}{more}."]


def _runways(before: Result, after: Result) -> list[str]:
    then, now = _by_resource(before), _by_resource(after)
    passed = int((_moment(after) - _moment(before)) / pd.Timedelta(days=1))
    shorter, longer = [], []
    for key, entry in now.items():
        earlier = then.get(key)
        if earlier is None or earlier.method is None or entry.method is None:
            continue
        low, high = _expected(earlier, passed)
        days = inf if entry.p50_days is None else entry.p50_days
        if days < low:
            shorter.append((days, f"{_name(entry)}: {_days(entry)}; expected {_days(earlier, passed)}"))
        elif days > high:
            longer.append((days, f"{_name(entry)}: {_days(entry)}; expected {_days(earlier, passed)}"))
    return [
        *_each("Shorter runway", [text for _, text in sorted(shorter)]),
        *_each("Longer runway", [text for _, text in sorted(longer)]),
    ]


def _expected(earlier: Runway, passed: int) -> tuple[float, float]:
    """Between which days a runway is as it was said to be, now that some days have passed."""
    if earlier.method == "ENGINE":
        low = YEAR if earlier.p10_days is None else earlier.p10_days
        high = inf if earlier.p90_days is None else earlier.p90_days
        return max(0, low - passed), max(0, high - passed)
    if earlier.p50_days is None:
        return max(0, YEAR - passed), inf
    even = max(0, earlier.p50_days - passed)
    room = max(LEAST, SHARE * even)
    return even - room, even + room


def _days(entry: Runway, passed: int = 0) -> str:
    if entry.p50_days is None:
        return "more than a year"
    left = max(0, entry.p50_days - passed)
    return "full" if left == 0 else units.days(left)


def _each(what: str, found: Iterable[str]) -> list[str]:
    entries = list(found)
    more = [f"{what}: {len(entries) - TOP} more."] if len(entries) > TOP else []
    return [*(f"{what}: {text}." for text in entries[:TOP]), *more]


def _kpis(before: Result, after: Result) -> list[str]:
    then = {kpi.label: kpi for kpi in before.kpis}
    said = []
    for kpi in after.kpis:
        old = then.get(kpi.label)
        if old is None or (old.value, old.mood) == (kpi.value, kpi.mood):
            continue
        words = [MOOD_WORDS[k.mood] for k in (kpi, old)]
        turned = f" – {words[0]}, was {words[1]}" if words[0] != words[1] and all(words) else ""
        said.append(f"{kpi.label}: {kpi.value}, was {old.value}{turned}.")
    return said


def _made(before: Result, after: Result) -> list[str]:
    """A warning where not only the measurements are others."""
    other = [
        *(f"{name} {new}, was {old}" for name, old, new in _differing(before.versions, after.versions)),
        *(f"{name} is another" for name, _, _ in _differing(before.sql, after.sql)),
    ]
    return _listed("It was made in another way, which may be behind some of this", other)


def _differing(then: Mapping[str, str], now: Mapping[str, str]) -> list[tuple[str, str, str]]:
    return [(name, then[name], now[name]) for name in now if name in then and then[name] != now[name]]
