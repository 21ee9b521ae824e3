"""Alerts as a notebook handles them, and evaluation over stored history."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from capacity_kit.errors import CapacityError
from capacity_kit.vault import alerts

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def store(pg18):
    """A disk that was past its warning level for two days, fell back, and is past both levels now."""
    for kind, level in (("WARNING", 80), ("CRITICAL", 90)):
        pg18.run(
            "SELECT capacity_planning.create_capacity_threshold(NULL, %s, 'STORAGE', %s, %s)",
            kind.lower(), level, kind,
        )  # fmt: skip
    shares = [70] * 16 + [85] * 8 + [70] * 8 + [95] * 9
    at = [NOW - timedelta(hours=6 * n) for n in range(len(shares))][::-1]
    measured = pd.DataFrame(
        {
            "tenant": None,
            "resource_type": "STORAGE",
            "resource_name": "disk",
            "measured_at": pd.DatetimeIndex(at),
            "value": [10.0 * share for share in shares],
            "unit": "bytes",
            "capacity": 1000.0,
            "line": range(2, 2 + len(shares)),
        }
    )
    with pg18.vault() as opened:
        opened.load([measured], "IMPORT:test", label="test", method="IMPORT")
        yield opened


def test_history_is_evaluated_in_the_order_in_which_it_happened(store):
    told = []
    before = alerts.evaluated(store)
    judged = store.evaluate_history(
        timedelta(days=10), timedelta(hours=6), as_of=NOW, progress=lambda *done: told.append(done)
    )
    assert told == [(n, 41) for n in range(1, 42)]
    assert judged["threshold_exceeded"].tolist() == [True, True]
    recorded = alerts.recorded(store, before)
    assert (recorded["evaluations"], recorded["opened"], recorded["ended"], recorded["raised"]) == (
        41,
        3,
        1,
        3,
    )
    found = alerts.listed(store, resolved_too=True)
    assert found["status"].tolist() == ["OPEN", "OPEN", "RESOLVED"]
    assert found["severity"].tolist() == ["CRITICAL", "WARNING", "WARNING"]
    assert found["raised_at"].tolist()[2] == pd.Timestamp(NOW - timedelta(hours=6 * 24))
    assert alerts.evaluated(store)["evaluated_at"] == pd.Timestamp(NOW)


def test_history_that_was_evaluated_is_not_evaluated_again(store):
    store.evaluate_history(timedelta(days=2), timedelta(hours=6), as_of=NOW)
    before = alerts.evaluated(store)
    store.evaluate_history(timedelta(days=4), timedelta(hours=6), as_of=NOW)
    assert alerts.recorded(store, before)["evaluations"] == 0
    assert any("16 times are left out" in notice for notice in store.notices)


def test_nobody_is_told_of_what_lies_back_more_than_a_day(store):
    store.evaluate_history(timedelta(days=10), timedelta(hours=6), as_of=NOW - timedelta(days=1, hours=6))
    found = alerts.listed(store, resolved_too=True)
    assert len(found) == 3
    for alert in found["alert"]:
        assert alerts.show(store, alert)[1].empty


def test_an_alert_is_answered_for_from_a_notebook(store):
    store.evaluate_history(timedelta(days=10), timedelta(hours=6), as_of=NOW)
    critical, warning = alerts.listed(store)["id"]
    assert alerts.acknowledge(store, critical, by="mira", note="ordered") == alerts.find(store, critical)
    assert alerts.show(store, critical)[0]["acknowledged_by"] == "mira"
    alerts.judge(store, warning, "false-positive", by="mira", reason="a copy")
    assert alerts.show(store, warning)[0]["verdict"] == "FALSE"
    alerts.resolve(store, critical, by="mira", how="added")
    assert alerts.listed(store)["id"].tolist() == [warning]
    with pytest.raises(CapacityError, match=f"{critical}: .*resolved"):
        alerts.resolve(store, critical, by="noor")


def test_a_read_only_evaluation_records_nothing(store):
    before = alerts.evaluated(store)
    with store.transaction(read_only=True):
        assert store.evaluate(as_of=NOW)["threshold_exceeded"].all()
    assert alerts.recorded(store, before)["evaluations"] == 0
    assert alerts.listed(store, resolved_too=True).empty


def test_the_record_says_what_became_of_alerts_and_why_a_rate_is_missing(store):
    assert alerts.record(store).empty
    store.evaluate_history(timedelta(days=10), timedelta(hours=6), as_of=NOW)
    found = alerts.listed(store, resolved_too=True).set_index("threshold_type")
    for alert in found.loc["WARNING", "alert"]:
        alerts.judge(store, alert, "false-positive", by="mira")
    record = alerts.record(store).set_index("threshold_name")
    counts = ["alerts", "true_alerts", "false_alerts", "open_alerts", "by_operators", "reaches", "announced"]
    assert record.loc["warning", counts].tolist() == [2, 0, 2, 0, 2, 1, 1]  # the earlier alert was in time
    assert record.loc["critical", counts].tolist() == [1, 0, 0, 1, 0, 0, 0]
    assert record[["false_positive_rate", "true_positive_rate"]].isna().all(axis=None)
    lacking = ["false_positives_lacking", "recall_lacking"]
    assert record.loc["warning", lacking].tolist() == ["2 of 5 decided", "1 of 5 reaches"]
    then = alerts.record(store, as_of=NOW - timedelta(days=5))
    assert then[["threshold_name", "alerts"]].to_numpy().tolist() == [["warning", 1]]
    assert alerts.record(store, resource_type="CPU").empty
    assert len(alerts.record(store, "SYSTEM", resource_type="STORAGE")) == 2


def test_a_rate_on_record_stands_where_there_are_cases_enough(store, pg18):
    pg18.run("UPDATE capacity_ops.setting SET value = 1 WHERE name = 'verdict_minimum'")
    store.evaluate_history(timedelta(days=10), timedelta(hours=6), as_of=NOW)
    earlier = alerts.listed(store, resolved_too=True).iloc[-1]
    alerts.judge(store, earlier["alert"], "false-positive", by="mira")
    record = alerts.record(store).set_index("threshold_name")
    rates = ["false_positive_rate", "true_positive_rate", "lead_hours"]
    assert record.loc["warning", rates].tolist() == [50.0, 100.0, 0.0]
    assert record.loc["warning", ["false_positives_lacking", "recall_lacking"]].isna().all()
    assert record.loc["critical", "false_positives_lacking"] == "0 of 1 decided"
