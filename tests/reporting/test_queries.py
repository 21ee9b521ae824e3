"""What the reports count: nothing that was only simulated, and no threshold that can never fire."""

from __future__ import annotations

import pandas as pd
import pytest

from capacity_kit.analysis import run
from capacity_kit.cli import judging
from capacity_kit.reporting import rehearsal, tables
from capacity_kit.reporting.study import Study

AS_OF = pd.Timestamp("2026-11-01T00:00:00Z")


@pytest.fixture
def opened(pg18):
    """A vault with a tenant A."""
    pg18.run("INSERT INTO auth.tenant_h VALUES (sha256('a'), 'A', now(), 'test')")
    with pg18.vault() as vault:
        yield vault


def measure(vault, source, rows=10, *, kind="STORAGE", name="documents", capacity=100.0, until=AS_OF):
    frame = pd.DataFrame(
        {
            "measured_at": pd.date_range(end=until, periods=rows, freq="6h"),
            "tenant": vault.tenant("A"),
            "resource_type": kind,
            "resource_name": name,
            "value": [50.0 + n / 10 for n in range(rows)],
            "capacity": capacity,
            "unit": "bytes",
            "line": range(1, rows + 1),
        }
    )
    vault.load([frame], source)


def asked(vault, name, as_of=AS_OF):
    return vault.read(name, scope="ALL", as_of=pd.Timestamp(as_of).to_pydatetime())


def test_a_month_counts_what_is_simulated_apart(opened):
    measure(opened, "SIMULATION", 8)
    month = asked(opened, "report_month").iloc[0]
    assert (month["measurements"], month["imported"], month["simulated"]) == (0, 0, 8)
    measure(opened, "IMPORT:disk.csv", 3, name="disk")
    measure(opened, "HOST:psutil", 5, name="other")
    month = asked(opened, "report_month").iloc[0]
    assert (month["measurements"], month["imported"], month["simulated"]) == (8, 3, 8)


def test_a_threshold_is_made_once_and_changed_after_that(opened, pg18):
    pg18.run("SELECT capacity_planning.create_capacity_threshold(sha256('a'), 'one', 'STORAGE', 70)")
    pg18.run("SELECT capacity_planning.create_capacity_threshold(sha256('a'), 'two', 'STORAGE', 80)")
    now = pg18.value("SELECT clock_timestamp()")
    month = asked(opened, "report_month", now).iloc[0]
    assert (month["thresholds_made"], month["thresholds_changed"]) == (2, 0)
    pg18.run(
        "UPDATE capacity_planning.capacity_threshold_s SET threshold_percentage = 75 WHERE threshold_name = 'one'"
    )
    month = asked(opened, "report_month", pg18.value("SELECT clock_timestamp()")).iloc[0]
    assert (month["thresholds_made"], month["thresholds_changed"]) == (2, 1)


def test_a_threshold_of_unknown_capacity_covers_nothing(opened, pg18):
    measure(opened, "HOST:psutil")
    measure(opened, "HOST:psutil", kind="TRANSACTIONS", name="application", capacity=float("nan"))
    for kind in ("STORAGE", "TRANSACTIONS", "USERS"):
        pg18.run(f"SELECT capacity_planning.create_capacity_threshold(sha256('a'), '{kind}', '{kind}', 70)")
    found = asked(opened, "report_coverage").set_index("resource_type")
    assert dict(found["is_covered"]) == {"STORAGE": True, "TRANSACTIONS": False, "USERS": False}
    assert found["reason"].fillna("").to_dict() == {
        "STORAGE": "",
        "TRANSACTIONS": "capacity unknown",
        "USERS": "never measured",
    }


def test_old_measurements_are_those_that_were_measured(opened):
    old = AS_OF - pd.Timedelta(days=120)
    measure(opened, "SIMULATION", 8, until=old)
    assert asked(opened, "report_maintenance")["old_measurements"].item() == 0
    measure(opened, "HOST:psutil", 3, name="disk", until=old)
    assert asked(opened, "report_maintenance")["old_measurements"].item() == 3


def test_a_resource_knows_its_peak_of_the_last_30_days(opened):
    measure(opened, "HOST:psutil", 200)
    kept = opened.read(
        "report_resources", scope="ALL", as_of=AS_OF.to_pydatetime(), resource_type="ALL", days=7
    )
    assert kept["peak"].item() == pytest.approx(50 + 19.9)
    later = AS_OF + pd.Timedelta(days=60)
    kept = opened.read(
        "report_resources", scope="ALL", as_of=later.to_pydatetime(), resource_type="ALL", days=7
    )
    assert pd.isna(kept["peak"].item())


def analysed(vault, *moments):
    """Both methods' forecasts as of some moments, the earliest first."""
    for moment in moments:
        vault.analyze(as_of=moment.to_pydatetime())
        assert all(done.recorded.recorded for done in run.analyse(vault, as_of=moment.to_pydatetime()))


def trust(pg18, method, confidence):
    pg18.run(
        "UPDATE capacity_planning.capacity_forecast_s SET confidence_level = %s "
        "WHERE method = %s AND load_end_date IS NULL",
        confidence,
        method,
    )


@pytest.mark.parametrize(("sql", "engine"), [(90, 91), (91, 90), (None, 50), (90, None), (None, None)])
def test_the_engine_is_better_where_the_view_says_so(opened, pg18, sql, engine):
    measure(opened, "HOST:psutil", 400)
    analysed(opened, AS_OF)
    trust(pg18, "SQL", sql)
    trust(pg18, "ENGINE", engine)
    found = opened.read("report_forecasts", scope="ALL", as_of=AS_OF.to_pydatetime(), resource_type="STORAGE")
    view = pg18.value("SELECT method FROM capacity_ops.better_forecast")
    assert found["is_better"].tolist() == [view == "ENGINE"]
    assert found["pattern_description"].item().endswith(".")
    assert set(found["model_parameters"].item()["runway"]) >= {"capacity"}


def test_a_report_of_the_past_knows_what_was_known_then_and_nothing_that_is_too_old(opened):
    measure(opened, "HOST:psutil", 400)
    before = AS_OF - pd.Timedelta(days=30)
    analysed(opened, before, AS_OF)

    def issued(as_of):
        asked = {"scope": "ALL", "resource_type": "ALL", "as_of": as_of.to_pydatetime()}
        return opened.read("report_forecasts", **asked)["issued_at"].tolist()

    assert issued(AS_OF) == [AS_OF]
    assert issued(AS_OF - pd.Timedelta(days=25)) == [before]
    assert issued(AS_OF - pd.Timedelta(days=20)) == []
    assert issued(AS_OF + pd.Timedelta(days=9)) == []
    assert issued(before - pd.Timedelta(days=1)) == []


def load(vault, values, kind, times=None):
    """One measurement every six hours up to AS_OF."""
    frame = pd.DataFrame(
        {
            "measured_at": pd.date_range(end=AS_OF, periods=len(values), freq="6h")
            if times is None
            else times,
            "tenant": vault.tenant("A"),
            "resource_type": kind,
            "resource_name": "pool",
            "value": values,
            "capacity": 100.0,
            "unit": "sessions",
            "line": range(1, len(values) + 1),
        }
    )
    vault.load([frame], "HOST:psutil")


def test_each_forecast_is_held_against_what_it_is_of(opened):
    load(opened, [10.0, 10.0, 12.0, 40.0] * 60 + [10.0], "CONNECTIONS")
    analysed(opened, AS_OF - pd.Timedelta(days=10))
    found = opened.read("report_ledger", scope="ALL", as_of=AS_OF.to_pydatetime(), days=30)
    assert found["horizon_days"].tolist() == [7, 7]
    by_method = found.set_index("method")
    assert by_method.loc["SQL", "measured"] == pytest.approx(11), "the median of its day"
    assert by_method.loc["ENGINE", "measured"] == pytest.approx(18), "the mean of its day"
    assert by_method.loc["SQL", "quantiles"] is None
    assert len(by_method.loc["ENGINE", "quantiles"]) == 7
    assert sorted(by_method["is_better"]) == [False, True]


def test_an_announcement_is_held_against_the_day_that_reached_the_level(opened):
    load(opened, [20 + n * 0.12 for n in range(601)], "STORAGE")  # 92 at the end, 90 reached 4 days before it
    early, late = AS_OF - pd.Timedelta(days=60), AS_OF - pd.Timedelta(days=30)
    analysed(opened, early, late)
    asked = {"scope": "ALL", "as_of": AS_OF.to_pydatetime(), "days": 200}
    found = opened.read("report_announced", horizon=30, **asked).set_index(["issued_at", "method"])
    assert found["is_reached"].to_dict() == {
        (early, "ENGINE"): False,
        (early, "SQL"): False,
        (late, "ENGINE"): True,
        (late, "SQL"): True,
    }
    assert found["is_announced"].to_dict() == found["is_reached"].to_dict()
    assert found.loc[(late, "SQL"), "reached_after_days"] == 27
    assert found.loc[(late, "ENGINE"), "probability"] > 0.9
    assert found.loc[(early, "SQL"), "probability"] == 0
    assert opened.read("report_announced", horizon=90, **asked).empty, "no forecast is 90 days old"


def test_status_shows_the_better_forecast_with_its_chances_and_none_that_is_left_behind(opened, pg18):
    load(opened, [20 + n * 0.12 for n in range(601)], "STORAGE")
    analysed(opened, AS_OF)
    trust(pg18, "SQL", 60)
    trust(pg18, "ENGINE", 90)
    row = opened.status().iloc[0]
    assert (
        judging._runway(row)
        == f"{row['time_to_capacity_days']} days ({row['early_days']} to {row['late_days']})"
    )
    row["time_to_capacity_days"] = row["late_days"] = pd.NA
    assert judging._runway(row) == f"over 365 days (1 in 10: {row['early_days']})"
    row["early_days"] = pd.NA
    assert judging._runway(row) == "–"
    row = opened.status().iloc[0]
    assert row["method"] == "ENGINE"
    assert row["early_days"] <= row["time_to_capacity_days"] <= row["late_days"]
    assert 0.5 <= row["probability_90d"] <= 1
    later = pd.date_range(AS_OF + pd.Timedelta(hours=6), periods=40, freq="6h")
    load(opened, [92.2] * 40, "STORAGE", later)
    opened.analyze(as_of=later[-1].to_pydatetime())
    row = opened.status().iloc[0]
    assert row["method"] == "SQL", "the engine's is ten days behind"
    assert pd.isna(row["early_days"])
    assert pd.isna(row["probability_90d"])


def test_of_two_forecasts_of_one_moment_the_better_counts(opened, pg18):
    load(opened, [20 + n * 0.12 for n in range(601)], "STORAGE")
    analysed(opened, AS_OF)
    for better in ("SQL", "ENGINE"):
        trust(pg18, "SQL", 60 if better == "ENGINE" else 95)
        trust(pg18, "ENGINE", 90)
        now = pg18.value("SELECT clock_timestamp()")
        found = opened.read("report_issued", scope="ALL", as_of=max(now, AS_OF))
        assert found["method"].tolist() == [better]


def test_an_index_is_called_unused_only_when_that_has_been_counted_for_long():
    row = {"table_name": "t", "index_name": "i", "is_unique": False, "is_valid": True, "scans": 0}
    rows = [
        row | {"is_settled": False},
        row | {"is_settled": False, "scans": 5},
        row | {"is_settled": True},
        row | {"is_settled": True, "scans": 5},
        row | {"is_settled": True, "is_unique": True},
        row | {"is_settled": False, "is_unique": True},
        row | {"is_settled": True, "is_valid": False},
    ]
    said = tables.indexes(pd.DataFrame(rows))["Verdict"].tolist()
    assert said == ["not used yet", "used", "unused", "used", "keeps unique", "not used yet", "failed"]


def test_scans_are_counted_since_the_first_resource_was_known(opened, pg18):
    found = asked(opened, "report_indexes")
    assert len(found) >= 20
    assert not found["is_settled"].any()
    measure(opened, "HOST:psutil")
    assert not asked(opened, "report_indexes")["is_settled"].any(), "since a moment ago"


@pytest.fixture
def study(pg18, opened):
    """All that there is to report of a tenant whose documents are measured, with a threshold on their level."""
    measure(opened, "IMPORT:usage.csv")
    pg18.run("SELECT capacity_planning.create_capacity_threshold(sha256('a'), 'high', 'STORAGE', 80)")
    return Study(as_of=AS_OF.isoformat(), dsn=pg18.dsn)


def test_a_report_records_no_evaluation(pg18, study):
    """Asking what is covered would otherwise raise alerts, escalate, and use up a threshold's turn."""
    assert len(study.read("report_coverage"))
    assert len(rehearsal.breaches(study))
    assert pg18.rows("SELECT count(*) FROM capacity_alerting.evaluation") == [(0,)]


def test_a_report_writes_nothing_whatever_it_asks(pg18, study):
    asked = study.read("evaluate", tenant=None, system_only=False)
    assert len(asked)
    assert pg18.rows("SELECT count(*) FROM capacity_alerting.evaluation") == [(0,)]


def test_a_study_knows_which_queries_it_asked(study):
    before = {file.name for file in study.vault.asked}
    study.read("report_coverage")
    assert {file.name for file in study.vault.asked} - before == {"report_coverage.sql"}
    assert "report_provenance.sql" in before
    assert pd.Timestamp(study.measured_until) == study.read("report_provenance")["newest"].iloc[0]


def test_levels_are_rehearsed_beside_thresholds_on_runway_and_absence(pg18, study):
    pg18.run("SELECT capacity_alerting.create_absence_threshold(sha256('a'), 'silence', 'STORAGE', 60)")
    pg18.run("SELECT capacity_alerting.create_runway_threshold(sha256('a'), 'soon', 'STORAGE', 21)")
    found = rehearsal.breaches(study)
    assert found[["threshold_name", "verdict"]].to_numpy().tolist() == [["high", "fired"]]


def test_the_time_to_resolve_is_a_mean_over_alerts(pg18, opened):
    """Not one over thresholds: one slow alert of one would weigh as much as ten quick ones of another."""
    measure(opened, "IMPORT:usage.csv")
    for name in ("quick", "slow"):
        pg18.run("SELECT capacity_planning.create_capacity_threshold(sha256('a'), %s, 'STORAGE', 40)", name)
    pg18.run("UPDATE capacity_planning.capacity_threshold_s SET suppression_enabled = false")
    name_of = "SELECT alert_hk FROM capacity_alerting.alert WHERE threshold_name = %s AND status = 'OPEN'"
    for round_, at in enumerate(pd.date_range(end=AS_OF, periods=3, freq="1h")):
        pg18.run("SELECT capacity_planning.evaluate_capacity_thresholds(NULL, %s)", at)
        names = {"quick": 10} if round_ else {"quick": 10, "slow": 130}
        for name, minutes in names.items():
            [(alert,)] = pg18.rows(name_of, name)
            until = at + pd.Timedelta(minutes=minutes)
            pg18.run("SELECT capacity_alerting.resolve(%s, 'mira', NULL, NULL, %s)", alert, until)
    month = asked(opened, "report_month", AS_OF + pd.Timedelta(hours=3)).iloc[0]
    assert month["response_minutes"] == pytest.approx((3 * 10 + 130) / 4)
    assert month["resolved"] == 4
    assert pd.isna(asked(opened, "report_month", AS_OF - pd.Timedelta(days=1))["response_minutes"].iloc[0])
