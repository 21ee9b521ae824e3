"""Thresholds replayed from a real database: what is read, what it says, and what is proposed."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from capacity_kit import plots
from capacity_kit.alerting.policy import Policy, rated
from capacity_kit.alerting.tuning import Costs, Proposal, candidates_of
from capacity_kit.reporting import findings, tuning
from capacity_kit.reporting.study import Study

AS_OF = datetime(2026, 10, 30, tzinfo=UTC)  # a Friday


@pytest.fixture
def store(pg18):
    """The system's STORAGE thresholds at 80 and 90 percent, considered at each evaluation and never suppressed."""
    for kind, level in (("WARNING", 80), ("CRITICAL", 90)):
        pg18.run(
            "SELECT capacity_planning.create_capacity_threshold(NULL, %s, 'STORAGE', %s, %s)",
            f"disk {kind.lower()}", level, kind,
        )  # fmt: skip
    pg18.run(
        "UPDATE capacity_planning.capacity_threshold_s"
        " SET evaluation_frequency_minutes = NULL, suppression_enabled = false"
    )
    return pg18


def plant(pg, shares, *, hours=6, name="disk", until=AS_OF):
    """Measurements in percent of 1000, the last at `until`."""
    at = [until - timedelta(hours=hours * n) for n in range(len(shares))][::-1]
    measured = pd.DataFrame(
        {
            "tenant": None,
            "resource_type": "STORAGE",
            "resource_name": name,
            "measured_at": pd.DatetimeIndex(at),
            "value": 10.0 * np.asarray(shares, dtype=float),
            "unit": "bytes",
            "capacity": 1000.0,
            "line": range(2, 2 + len(shares)),
        }
    )
    with pg.vault() as opened:
        opened.load([measured], "IMPORT:test", label="test", method="IMPORT")


def replayed(pg, **options):
    return tuning.replay(Study(as_of=AS_OF.isoformat(), dsn=pg.dsn), **options)


def one(replayed, name="disk warning"):
    return replayed.scores.set_index("threshold_name").loc[name]


def test_alerts_are_counted_by_what_followed_them(store):
    quiet, false, cut = [70] * 40, [82] * 3 + [79.5] + [77] * 3, [82] * 4 + [70]
    true = [82] * 8 + [91] * 4 + [89.5] * 4 + [70] * 200
    plant(store, quiet + false + [77] * 160 + true + cut + [70] * 20)
    found = replayed(store)
    warning, critical = one(found), one(found, "disk critical")
    assert (warning["alerts"], warning["true"], warning["false"], warning["censored"], warning["open"]) == (
        3, 1, 1, 1, 0,
    )  # fmt: skip
    assert (warning["reached"], warning["announced"]) == (1, 1)
    assert (critical["alerts"], critical["true"], critical["false"]) == (1, 0, 0)
    assert critical["censored"] == 1  # usage was cut before the disk was full
    assert (found.total.alerts, found.total.censored, found.total.precision) == (4, 2, None)
    assert found.reached["at"].tolist() == [found.drawn[0][2]["reached_at"].dropna().iloc[0]]
    threshold, measured, episodes = found.drawn[0]
    assert threshold["threshold_name"] == "disk warning"
    assert len(measured) == 448
    assert episodes["outcome"].tolist() == ["FALSE", "TRUE", "CENSORED"]


def test_hours_maintenance_and_mutes_of_the_database_hold_alerts_back(store):
    plant(store, [70] * 400 + [85] * 9)  # past the level from Tuesday night on
    begun = AS_OF - timedelta(hours=48)
    assert one(replayed(store))["alerts"] == 1
    store.run(
        "UPDATE capacity_planning.capacity_threshold_s SET business_hours_only = true WHERE load_end_date IS NULL"
    )
    raised = replayed(store).drawn[0][2]
    assert raised["start"].tolist() == [pd.Timestamp(begun)]
    assert raised["raised_at"].tolist() == [pd.Timestamp("2026-10-28T09:00Z")]
    assert raised["held_by"].tolist() == ["OUTSIDE_BUSINESS_HOURS"]
    store.run("SELECT capacity_alerting.set_business_calendar(NULL, 'Europe/Berlin')")
    store.run("INSERT INTO capacity_alerting.holiday VALUES (NULL, '2026-10-28', 'a feast')")
    assert replayed(store).drawn[0][2]["raised_at"].tolist() == [pd.Timestamp("2026-10-29T08:00Z")]
    store.run(
        "SELECT capacity_alerting.declare_maintenance('2026-10-01 00:00Z', '2026-10-02 12:00Z', p_repeat_weeks => 1)"
    )  # Thursdays, until Friday noon
    assert one(replayed(store))["alerts"] == 0
    store.run("SELECT capacity_alerting.cancel_maintenance(1)")
    store.run(
        "SELECT capacity_alerting.mute_alerts('2026-11-01', p_from => '2026-10-01', p_resource_type => 'CPU')"
    )
    assert one(replayed(store))["alerts"] == 1
    store.run(
        "SELECT capacity_alerting.mute_alerts('2026-11-01', p_from => '2026-10-01', p_system_only => true)"
    )
    assert one(replayed(store))["alerts"] == 0
    store.run("DELETE FROM capacity_alerting.mute WHERE is_system_only")
    store.run(
        "SELECT capacity_alerting.mute_alerts('2026-11-01', p_from => '2026-10-01', p_resource_name => 'disk')"
    )
    assert one(replayed(store))["alerts"] == 0


def test_a_runway_alert_knows_only_what_was_forecast_before(store):
    plant(store, [70 + 0.1 * n for n in range(200)])
    store.run("SELECT capacity_alerting.create_runway_threshold(NULL, 'disk runway', 'STORAGE', 14, 50, 90)")
    key = store.value(
        "SELECT encode(resource_utilization_hk, 'hex') FROM capacity_planning.resource_utilization_h"
    )
    columns = "tenant_hk, resource_type, resource_name, resource_category, method, current_usage, unit, record_source"
    for days_ago, left in ((20, 30), (10, 9), (3, None)):
        store.run(
            "WITH hub AS (INSERT INTO capacity_planning.capacity_forecast_h VALUES (sha256(%s), %s, now(), 'test')"
            " RETURNING capacity_forecast_hk), sat AS (INSERT INTO capacity_planning.capacity_forecast_s"
            f" (capacity_forecast_hk, load_date, hash_diff, forecast_timestamp, model_parameters, {columns})"
            " SELECT capacity_forecast_hk, now(), '', %s, jsonb_build_object('runway', jsonb_build_object('critical',"
            " jsonb_build_object('p50', %s::int))), NULL, 'STORAGE', 'disk', 'DATABASE', 'ENGINE', 1, 'bytes', 'test'"
            " FROM hub) INSERT INTO capacity_planning.forecast_utilization_l"
            " SELECT sha256(%s), capacity_forecast_hk, decode(%s, 'hex'), NULL, now(), 'test' FROM hub",
            str(days_ago).encode(), str(days_ago), AS_OF - timedelta(days=days_ago), left, str(days_ago).encode(), key,
        )  # fmt: skip
    found = replayed(store)
    runway = one(found, "disk runway")
    assert (runway["alerts"], runway["target"], runway["level"]) == (1, 90, 90)
    assert runway["true"] == 0  # fourteen days are not over, and 90 percent not reached


def test_a_resource_without_a_capacity_is_not_replayed(store):
    plant(store, [70] * 10)
    store.run("UPDATE capacity_planning.resource_utilization_s SET maximum_capacity = NULL")
    found = replayed(store, costs=Costs())
    assert one(found)["resources"] == 0
    assert found.proposals.empty
    assert findings.tuning(found, 5).headline.startswith("No threshold could be replayed")


def test_without_thresholds_nothing_would_raise_an_alert(pg18):
    found = replayed(pg18, costs=Costs())
    assert found.scores.empty
    assert findings.tuning(found, 5).verdict == "cannot be trusted"


def test_a_change_is_proposed_where_it_saves_and_said_first(store):
    plant(store, [72, 76, 81, 77.5, 75, 73, 72] * 104, hours=12)  # nothing falls so fast that somebody cut it
    found = replayed(store, costs=Costs())
    first = found.proposals.iloc[0]
    assert first["threshold_name"] == "disk warning"
    assert first["changes"]
    assert 0 < first["low"] <= first["saved"] <= first["high"]
    assert first["cost_present"] - first["cost_proposed"] == pytest.approx(first["saved"])
    conclusion = findings.tuning(found, 5)
    assert conclusion.verdict == "at risk"
    assert conclusion.headline.startswith(f"Change disk warning of System: {tuning.told(first['changes'])}")
    table = tuning.listed(found.proposals)
    assert table["Proposal"].tolist()[0] == tuning.told(first["changes"])
    assert table["Guide"].tolist()[0] == "INCREASE_THRESHOLD"
    assert table["Saved"].tolist()[0] == f"{first['saved']:,.1f} h"
    assert table["Interval"].tolist()[0] == f"{first['low']:,.1f} to {first['high']:,.1f} h"
    said = tuning.judged(found.proposals)
    assert said.startswith(f"Judged on {first['judged_days']:,.0f} days")
    assert "with 90 %" in said
    together = replayed(store, costs=Costs(), together=True)
    assert len(set(together.proposals["saved"])) == 1


@pytest.mark.parametrize(
    ("true", "false", "reached", "announced", "verdict", "headline"),
    [
        (8, 4, 10, 5, "at risk",
         "Both targets are missed: 33.3 % of the decided alerts were false (target: under 10 %) and 50.0 % of the"
         " reached levels were announced in time (the guide wants 80 %); no change is shown to save anything."),
        (9, 1, 10, 9, "at risk",
         "A target is missed: 10.0 % of the decided alerts were false (target: under 10 %);"
         " no change is shown to save anything."),
        (10, 0, 10, 7, "at risk",
         "A target is missed: 70.0 % of the reached levels were announced in time (the guide wants 80 %);"
         " no change is shown to save anything."),
        (10, 0, 10, 8, "ok", "No threshold needs a change; 1 of 1 have history enough to judge."),
        (0, 4, 4, 0, "ok", "No threshold needs a change; 1 of 1 have history enough to judge."),  # too few for rates
    ],
)  # fmt: skip
def test_a_missed_target_is_no_good_news(true, false, reached, announced, verdict, headline):
    counts = {
        "true": true,
        "false": false,
        "censored": 0,
        "open": 0,
        "reached": reached,
        "announced": announced,
    }
    found = tuning.Replayed(
        scores=pd.DataFrame({"recommendation": ["OPTIMAL"], "resources": [1]}),
        total=rated(counts, 5),
        reached=pd.DataFrame(),
        drawn=[],
        proposals=pd.DataFrame({"changes": [{}]}),
    )
    conclusion = findings.tuning(found, 5)
    assert (conclusion.verdict, conclusion.headline) == (verdict, headline)


def threshold(kind, level, key=None):
    return {
        "threshold": key or kind, "seen": pd.Timestamp(AS_OF), "tenant": "System", "tenant_key": "SYSTEM",
        "threshold_name": kind.lower(), "resource_type": "STORAGE", "threshold_type": kind, "threshold_operator": ">=",
        "threshold_percentage": level, "threshold_value": level, "level": level, "target": 100.0, "margin": 2.0,
    }  # fmt: skip


def proposal(key, present, proposed, saved):
    score = rated(dict.fromkeys(("true", "false", "censored", "open", "reached", "announced"), 0), 5)
    return Proposal(
        key, {key: proposed}, "It saves.", 9.0, 9.0 - saved, saved, 0.1, saved, 0.9, 9, 100.0, None, score,
        pd.DataFrame(),
    )  # fmt: skip


def test_of_two_changes_that_contradict_each_other_the_larger_saving_stays():
    warning, critical = threshold("WARNING", 80.0), threshold("CRITICAL", 90.0)
    presents = [Policy.of(row, row["target"], row["margin"]) for row in (warning, critical)]
    proposals = [
        proposal("WARNING", presents[0], Policy(level=88.0), 2.0),
        proposal("CRITICAL", presents[1], Policy(level=85.0), 5.0),
    ]
    found = tuning.proposed(pd.DataFrame([warning, critical]), proposals).set_index("threshold")
    assert found.loc["CRITICAL", "changes"] == {"threshold_percentage": (90.0, 85.0)}
    assert found.loc["WARNING", "changes"] == {}
    assert "would not come before the critical level" in found.loc["WARNING", "reason"]
    assert [c.threshold for c in tuning.as_changes(found.reset_index()[:1], Costs())] == ["CRITICAL"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"threshold_percentage": (80.0, 85.0)}, "80 % → 85 %"),
        (
            {"suppression_duration_minutes": (60, 240), "recovery_margin": (2.0, 5.0)},
            "suppressed for 60 → 240 minutes, recovery margin 2 → 5",
        ),
        ({"business_hours_only": (False, True)}, "in business hours only"),
        ({}, ""),
    ],
)
def test_changes_are_said_in_words(changes, said):
    assert tuning.told(changes) == said


def test_precision_is_drawn_against_recall_with_the_present_policy_marked():
    candidates = pd.DataFrame(
        {
            "precision": [70.0, 90.0, np.nan],
            "recall": [50.0, 40.0, 30.0],
            "alerts": [10, 7, 1],
        }
    )
    plot = plots.tradeoff(candidates, present=0, proposed=1, name="disk\nwarning")
    assert plot.alt == (
        "disk warning: 2 candidate policies by precision and recall. Now: precision 70.0 %, recall 50.0 %, 10 alerts; "
        "proposed: precision 90.0 %, recall 40.0 %, 7 alerts. 1 more have too few cases for both rates."
    )
    assert {text.get_text() for text in plot.ax.texts} == {"now", "proposed"}
    kept = plots.tradeoff(candidates, present=2, proposed=None, name="x")
    assert "Now: too few cases." in kept.alt
    assert plots.tradeoff(candidates[2:], present=0, proposed=None, name="x").alt.startswith(
        "x: too few cases"
    )


def test_levels_with_too_few_cases_each_are_drawn_together(store):
    full = (
        [82] * 8 + [91] * 8 + [100] * 2 + [70] * 8
    )  # every six hours: both levels are announced two days before
    plant(store, full * 4 + [70] * 150)
    few = replayed(store, costs=Costs())
    assert one(few)["reached"] == one(few, "disk critical")["reached"] == 4
    ((name, candidates, present, proposed),), said = tuning.compared(few, 4, 5)
    assert (name, present, proposed) == ("All levels together", 0, None)
    assert said == (
        "No threshold has alerts and reached levels enough for both rates by itself."
        " Drawn: 2 of them together, all moved by the same steps."
    )
    now, counts = candidates.iloc[0], ["alerts", "true", "false", "open", "censored", "reached", "announced"]
    assert [now[name] for name in counts] == [getattr(few.total, name) for name in counts]
    assert (now["precision"], now["recall"]) == (few.total.precision, few.total.recall)
    assert len(candidates) == len(candidates_of(Policy(level=80.0)))
    assert tuning.compared(few, 4, 9) == (
        [],
        "No threshold has alerts and reached levels enough for both rates.",
    )
    enough = replayed(store, costs=Costs(), minimum=4)
    drawn, said = tuning.compared(enough, 1, 4)
    assert [name.partition(" · ")[2] for name, *_ in drawn] == ["System"]
    assert said == "Drawn: 1 of 2 thresholds, those with alerts and reached levels enough for both rates."


def test_what_was_held_back_or_cannot_be_decided_is_drawn_apart():
    at = pd.date_range("2026-01-01", periods=10, tz="UTC")
    measured = pd.DataFrame({"measured_at": at, "utilization": np.linspace(70, 90, 10)})
    episodes = pd.DataFrame(
        {
            "start": at[[1, 4, 7]],
            "end": [at[2], at[5], pd.NaT],
            "raised_at": [at[1], pd.NaT, at[8]],
            "outcome": ["CENSORED", None, "OPEN"],
        }
    )
    plot = plots.threshold_history(measured, episodes, level=80, name="disk")
    assert "2 alerts: 0 followed by what they warned of, 0 not, 1 still undecided, 1 censored" in plot.alt
    assert plot.alt.endswith("1 more episode held back.")
    assert "▼ 1 censored" in {text.get_text() for text in plot.ax.texts}


def test_what_alerts_ask_of_people_is_said_with_what_a_night_is(store):
    plant(store, [72, 76, 81, 77.5, 75, 73, 72] * 20, hours=12)
    found = replayed(store)
    table = tuning.asked(found.scores)
    [row] = table.to_dict("records")
    warning = one(found)
    assert row["Episodes"] == row["Alerts"] == row["Pages"] == str(warning["alerts"]) == "20"
    assert row["Night pages"] == str(warning["night_pages"]) == "10"  # at midnight, and at noon
    assert row["Lead time"] == "–"
    assert row["Pages a week"] == "2"
    study = Study(as_of=AS_OF.isoformat(), dsn=store.dsn)
    night = "A night page is a message of alerts or of escalations from"
    assert tuning.nights(study) == f"{night} 22:00 to 06:00 in UTC. A storm is one page."
    store.run("INSERT INTO auth.tenant_h VALUES ('\\xaa', 'orchard', now(), 'test')")
    store.run("SELECT capacity_alerting.set_business_calendar('\\xaa', 'Europe/Berlin')")
    assert f"{night} 22:00 to 06:00 in UTC; orchard: 22:00 to 06:00 in Europe/Berlin." in tuning.nights(study)
    own = Study("orchard", AS_OF.isoformat(), store.dsn)
    assert tuning.nights(own) == f"{night} 22:00 to 06:00 in Europe/Berlin. A storm is one page."
    store.run("DELETE FROM capacity_alerting.business_calendar")
    assert "22:00 to 06:00 in UTC." in tuning.nights(study)


def test_the_record_of_alerts_is_shown_with_its_reasons(store):
    study = Study(as_of=AS_OF.isoformat(), dsn=store.dsn)
    table, said = tuning.recorded(study)
    assert (len(table), said) == (0, "")
    plant(store, [70] * 8 + [85] * 9)
    with store.vault() as opened:
        opened.evaluate_history(timedelta(days=4), timedelta(hours=6), as_of=AS_OF)
    table, said = tuning.recorded(Study(as_of=AS_OF.isoformat(), dsn=store.dsn), "STORAGE")
    assert table.iloc[0].tolist() == [
        "System", "disk warning", "0, 0, 1", "0", "0", "0 of 5 cases", "0 of 5 cases", "–", "–",
    ]  # fmt: skip
    assert said == (
        "Of 1 alert raised in the 365 days before 2026-10-30 00:00 UTC (0 true, 0 false, 1 open, 0 censored)"
        " too few are decided for a rate, which needs 5; operators gave 0 verdicts."
    )
    assert tuning.recorded(Study("SYSTEM", AS_OF.isoformat(), store.dsn), "CPU")[0].empty
