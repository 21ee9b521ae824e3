"""What changed since the last report: what a reader of the earlier one did not expect, and nothing else."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from capacity_kit.reporting import changes
from capacity_kit.reporting.result import Failure, Kpi, Result, Runway


def runway(name="documents", p50=60, *, p10=40, p90=90, risk=False, method="ENGINE", **other):
    if method != "ENGINE":
        p10 = p90 = None
    key = f"STORAGE|{name}|SYSTEM"
    days = {"p10_days": p10, "p50_days": p50, "p90_days": p90}
    return Runway(key, "Harbour", "STORAGE", name, "capacity", 100.0, risk, method, **days, **other)


def report(*runways, day="2026-11-01", verdict="ok", **other):
    return Result(verdict, "Said.", runway=runways, as_of=f"{day}T00:00:00+00:00", **other)


def between(then, now):
    return changes.changes(report(*then, day="2026-11-01"), report(*now, day="2026-11-11"))


def test_the_first_report_says_that_there_is_none_before():
    first = changes.compared(report(), None)
    assert (first.compared_with, first.changes) == ("", ())
    assert changes.told(first) == (
        "This is the first report of this kind, so there is none to compare it with.",
    )


def test_days_that_passed_are_no_change():
    then, now = report(runway(p50=60)), report(runway(p50=50), day="2026-11-11")
    found = changes.compared(now, then)
    assert found.compared_with == then.as_of
    assert found.changes == ()
    assert changes.told(found) == ("Nothing that was not expected.",)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (30, ()),  # of 40 to 90 days ten have passed: 30 to 80 is what was expected
        (80, ()),
        (29, ("Shorter runway: Storage documents of Harbour: 29 days; expected 50 days.",)),
        (81, ("Longer runway: Storage documents of Harbour: 81 days; expected 50 days.",)),
        (0, ("Shorter runway: Storage documents of Harbour: full; expected 50 days.",)),
        (None, ("Longer runway: Storage documents of Harbour: more than a year; expected 50 days.",)),
    ],
)
def test_a_runway_changed_where_it_left_its_band(now, said):
    assert between([runway()], [runway(p50=now)]) == said


def test_without_a_band_a_quarter_and_a_week_are_a_change():
    for days, changed in ((50, False), (38, False), (37, True), (62, False), (63, True)):
        found = between([runway(p50=60, method="SQL")], [runway(p50=days, method="SQL")])
        assert bool(found) is changed, days


def test_a_band_that_ends_later_than_a_year_allows_all_that_is_longer_and_nothing_within():
    never = runway(p50=None, p10=None, p90=None)
    assert between([never], [replace(never)]) == ()
    assert between([never], [runway(p50=355)]) == ()
    assert between([never], [runway(p50=354)]) == (
        "Shorter runway: Storage documents of Harbour: 354 days; expected more than a year.",
    )
    assert between([runway(p90=None)], [never]) == ()


def test_what_is_not_forecast_has_no_runway_to_compare():
    unknown = runway(p50=None, method=None, reason="its capacity is not known")
    assert between([unknown], [runway(p50=5)]) == ()
    assert between([runway()], [unknown]) == ()


def test_who_comes_to_be_at_risk_and_who_no_longer_is():
    then = [runway("a", risk=True), runway("b"), runway("c", risk=True)]
    now = [runway("a", p50=50), runway("b", p50=50, risk=True), runway("d", p50=0, risk=True)]
    assert between(then, now) == (
        "Newly at risk: Storage b of Harbour (full in 50 days), Storage d of Harbour (full).",
        "No longer at risk: Storage a of Harbour.",
        "At risk before, and not in this report: Storage c of Harbour.",
    )


def test_of_many_the_first_are_named_and_the_rest_is_counted():
    names = "abcdefg"
    found = between([runway(n) for n in names], [runway(n, p50=5, risk=True) for n in names])
    assert found[0].startswith("Newly at risk: Storage a of Harbour (full in 5 days), ")
    assert found[0].endswith(", and 2 more.")
    assert len([text for text in found if text.startswith("Shorter runway: Storage")]) == changes.TOP
    assert found[-1] == "Shorter runway: 2 more."


def test_the_verdict_the_key_figures_and_the_software_are_told():
    then = report(kpis=(Kpi("Accuracy", "91 %", "good"), Kpi("Stale", "0")), versions={"capacity-kit": "0.1"})
    now = report(
        day="2026-11-11",
        verdict="at risk",
        kpis=(Kpi("Accuracy", "80 %", "attention"), Kpi("Stale", "0"), Kpi("New", "1")),
        versions={"capacity-kit": "0.2", "Python": "3.11"},
        sql={"a.sql": "b" * 64},
    )
    assert changes.changes(replace(then, sql={"a.sql": "a" * 64}), now) == (
        "The verdict is “at risk”; it was “ok”.",
        "Accuracy: 80 %, was 91 % – watch, was on target.",
        "It was made in another way, which may be behind some of this: capacity-kit 0.2, was 0.1, a.sql is another.",
    )


def test_of_a_failed_report_only_the_verdict_is_told():
    failed = report(verdict="failed", failure=Failure("n", 1, "", "no luck"), day="2026-11-11")
    assert changes.changes(report(runway(risk=True)), failed) == ("The verdict is “failed”; it was “ok”.",)


def test_of_one_that_failed_again_nothing_is_said_to_be_as_expected():
    failed = report(verdict="failed", failure=Failure("n", 1, "", "no luck"), day="2026-11-11")
    before = replace(failed, as_of="2026-11-01T00:00:00+00:00")
    assert changes.told(changes.compared(failed, before)) == ("It failed the last time too.",)
    assert changes.told(changes.compared(failed, None)) == ("There is no earlier one of this kind.",)


def test_the_report_before_is_the_last_complete_one_with_the_same_parameters(tmp_path):
    def put(name, found):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(found if isinstance(found, str) else found.to_json())

    now = report(day="2026-11-11", parameters={"tenant": "ALL", "days": 30, "as_of": "2026-11-11"})
    assert changes.before(tmp_path, now) is None
    same = {"tenant": "ALL", "days": 30, "as_of": None}
    put("1", report(day="2026-10-01", parameters=same))
    put("2", report(day="2026-11-01", parameters=same))
    put("3", report(day="2026-11-05", parameters={"tenant": "ALL", "days": 60}))
    put("4", report(day="2026-11-10", parameters=same, verdict="failed"))
    put("5", now)
    put("6", report(day="2026-12-01", parameters=same))
    put("7", "{broken")
    assert changes.before(tmp_path, now).as_of.startswith("2026-11-01")
    for name in ("1", "2"):
        (tmp_path / name / "result.json").unlink()
    assert changes.before(tmp_path, now).verdict == "failed"


@pytest.mark.parametrize(
    "damage",
    [
        {"as_of": "yesterday"}, {"as_of": 5}, {"as_of": "2026-10-01T00:00:00"}, {"as_of": "2026-99-01T00:00:00Z"},
        {"as_of": "0001-01-01T00:00:00+14:00"}, {"parameters": []}, {"parameters": None}, {"versions": None},
        {"sql": 3}, {"verdict": ["ok"]}, {"headline": 4}, {"kpis": [{"label": "L", "value": "1", "mood": "odd"}]},
        *({"runway": [{**vars(runway()), "p50_days": days}]} for days in ("soon", 10**400, float("nan"))),
    ],
)  # fmt: skip
def test_a_damaged_report_is_no_report_before(damage, tmp_path):
    place = tmp_path / "2026-10-01T000000Z"
    place.mkdir()
    (place / "result.json").write_text(json.dumps({**json.loads(report().to_json()), **damage}))
    assert changes.before(tmp_path, report(day="2026-11-11")) is None


def test_what_is_no_file_of_a_report_is_not_read(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "a/result.json")
    (tmp_path / "b/result.json").write_text("[" * 200_000)
    (tmp_path / "c/result.json").write_text(report(day="2026-11-01").to_json() + " " * (1 << 20))
    assert changes.before(tmp_path, report(day="2026-11-11")) is None
