"""Two methods, one headline: which is shown, what it says of chances, and how both are scored against what came."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from capacity_kit.reporting import findings, methods, tables

NOW = pd.Timestamp("2026-11-01T00:00:00Z")
ISSUED = NOW - pd.Timedelta(days=3)
GIB = 2**30


def engine(**other):
    """What the engine records of a resource that is full in 40 days, more or less."""
    reach = {
        "level": 500 * GIB,
        "p10": 30,
        "p50": 40,
        "p90": None,
        "by": {"7": 0, "30": 0.1, "90": 0.7, "365": 0.85},
    }
    return {
        "origin": ISSUED.isoformat(),
        "level": 400.0 * GIB,
        "per_day": 2.5 * GIB,
        "origins": 6,
        "wape_7d": 1.0,
        "wape_30d": 2.0,
        "wape_90d": None,
        "coverage_30d": 0.8333,
        "quantiles": {d: [(400 + int(d) + k) * GIB for k in range(-3, 4)] for d in ("7", "30", "90", "365")},
        "runway": {
            "capacity": reach,
            "critical": {**reach, "level": 450 * GIB, "p10": 0, "p50": 0, "p90": 0},
        },
        **other,
    }


def outlook():
    """Of the database's own analysis: two resources, the second without a capacity."""
    return pd.DataFrame(
        {
            "resource": ["a", "b"],
            "tenant": ["Harbour", "Harbour"],
            "resource_type": "STORAGE",
            "resource_name": ["documents", "logs"],
            "unit": "bytes",
            "capacity": [500.0 * GIB, np.nan],
            "current_usage": 400.0 * GIB,
            "time_to_warning_days": pd.array([5, pd.NA], "Int64"),
            "time_to_critical_days": pd.array([10, pd.NA], "Int64"),
            "time_to_capacity_days": pd.array([20, pd.NA], "Int64"),
            "forecast_7d": 410.0 * GIB,
            "forecast_30d": 430.0 * GIB,
            "forecast_90d": 490.0 * GIB,
            "forecast_1y": 900.0 * GIB,
            "confidence_level": 90.0,
            "trend_direction": "INCREASING",
            "recommended_action": "by the database",
            "action_priority": "HIGH",
            "pattern_type": "LINEAR",
            "growth_per_day": 1.0,
            "backtest_origins": 13,
            "wape_7d": 5.0,
            "wape_30d": 10.0,
            "wape_90d": 20.0,
            "reason": [None, "capacity unknown, so no days to it"],
        }
    )


def recorded(is_better, **other):
    """The query report_forecasts on the first of them."""
    return pd.DataFrame(
        {
            "resource": ["a"],
            "issued_at": ISSUED,
            "forecast_7d": 407.0 * GIB,
            "forecast_30d": 430.0 * GIB,
            "forecast_90d": 490.0 * GIB,
            "forecast_1y": 765.0 * GIB,
            "time_to_warning_days": pd.array([1], "Int64"),
            "time_to_critical_days": pd.array([0], "Int64"),
            "time_to_capacity_days": pd.array([40], "Int64"),
            "confidence_level": 98.0,
            "trend_direction": "INCREASING",
            "recommended_action": "by the engine",
            "action_priority": "MEDIUM",
            "model_parameters": [engine(**other)],
            "pattern_type": "SLOW_GROWTH",
            "pattern_description": "+2.5 GiB a day; do not lean on it: the band is wide.",
            "is_better": is_better,
        }
    )


def shown(is_better=True, **other):
    return methods.headline(outlook(), recorded(is_better, **other), NOW)


def test_times_that_no_resource_has_yet_are_times_still():
    """A database of its first day: nothing was forecast, so nothing has a time."""
    new = outlook().assign(forecast_for=pd.Series([pd.NaT, pd.NaT], dtype="datetime64[us, UTC]"))
    none = pd.DataFrame({"resource": pd.Series(dtype=str)})
    told = methods.headline(new, none, NOW)
    assert told["forecast_for"].dtype == "datetime64[us, UTC]"
    assert told["forecast_for"].isna().all()


def test_the_better_method_is_shown_and_its_days_count_from_now():
    first = shown().iloc[0]
    assert (first["method"], first["recommended_action"], first["confidence_level"]) == (
        "ENGINE",
        "by the engine",
        98,
    )
    assert first["time_to_capacity_days"] == 37, "of the 40 days three have passed"
    assert (first["time_to_warning_days"], first["time_to_critical_days"]) == (0, 0), "no day lies before now"
    assert first["growth_per_day"] == 2.5 * GIB
    assert first["backtest_origins"] == 6
    assert np.isnan(first["wape_90d"])
    assert (first["sql_confidence"], first["engine_confidence"]) == (90, 98)


def test_the_other_method_keeps_the_headline_where_it_is_better_and_the_bands_are_there_all_the_same():
    first = shown(is_better=False).iloc[0]
    assert (first["method"], first["time_to_capacity_days"], first["wape_30d"]) == ("SQL", 20, 10)
    assert methods.band(first["engine"], 30)[3] == 430 * GIB


def test_without_the_engine_all_is_as_it_was():
    alone = methods.headline(outlook(), recorded(True).head(0), NOW)
    pd.testing.assert_frame_equal(alone[outlook().columns], outlook())
    assert set(alone["method"]) == {"SQL"}
    assert tables.bands(alone).empty
    assert tables.odds(alone, "UTC").empty
    assert tables.explained(alone).empty
    assert len(tables.backtests(alone)) == 2


def test_what_is_not_expected_within_a_year_says_how_probable_it_is():
    parameters = engine()
    parameters["runway"]["capacity"] |= {"p50": None, "by": {"7": 0, "30": 0, "90": 0, "365": 0.2}}
    late = recorded(True).assign(
        time_to_capacity_days=pd.array([pd.NA], "Int64"), model_parameters=[parameters]
    )
    first = methods.headline(outlook(), late, NOW).iloc[0]
    assert pd.isna(first["time_to_capacity_days"])
    assert first["reason"] == "not expected within a year (probability 20 %)"


def test_odds_say_dates_and_chances_the_soonest_first():
    said = tables.odds(shown(), "UTC")
    assert list(said["Level"]) == ["critical 450 GiB", "capacity 500 GiB"]
    assert list(said.iloc[0][["1 in 10 by", "Even by", "9 in 10 by"]]) == ["reached"] * 3
    capacity = said.iloc[1]
    assert list(capacity[["1 in 10 by", "Even by", "9 in 10 by"]]) == ["2026-11-28", "2026-12-08", "–"]
    assert list(capacity.iloc[6:]) == ["< 1 %", "10 %", "70 %", "85 %"]


def test_a_band_names_its_unit_once():
    near, far = shown(), shown()
    far["engine"].iloc[0]["quantiles"]["90"][5] = 2048.0 * GIB
    assert tables.bands(near)["90 days"].item() == "488 – 492 GiB"
    assert tables.bands(far)["90 days"].item() == "488 GiB – 2 TiB"


def test_a_level_that_a_year_hardly_reaches_has_no_row():
    parameters = engine()
    for level in parameters["runway"].values():
        level["by"] = {"7": 0, "30": 0, "90": 0, "365": 0.009}
    assert tables.odds(shown(runway=parameters["runway"]), "UTC").empty


def test_a_runway_of_maxima_says_so():
    said = tables.odds(shown(runway_of="the maximum of a day"), "UTC")
    assert said["Level"].iloc[1] == "capacity 500 GiB (peak)"


def test_doubts_are_the_engines_own_and_those_of_its_backtest():
    assert methods.doubts({"why": "level.", "coverage_30d": 0.8}) == ""
    assert methods.doubts({"why": "level; do not lean on it: a and b.", "coverage_30d": None}) == "a and b"
    both = methods.doubts({"why": "level; do not lean on it: a.", "coverage_30d": 0.5})
    assert both == "a; its 80 % band held 50 % of what came 30 days ahead in the backtest"
    said = tables.explained(shown()).iloc[0]
    assert said["Lean on it"] == "with care"
    assert said["What drives it"] == "+2.5 GiB a day; do not lean on it: the band is wide."
    assert tables.caption(shown().iloc[0]) == (
        "Chances to be full within 7, 30, 90, 365 days: < 1 %, 10 %, 70 %, 85 %. Forecasts like this one were off by "
        "1.0 % 7 days ahead, 2.0 % 30 days ahead on average. Do not lean on it: the band is wide."
    )


def test_methods_that_disagree_are_called_so():
    row = shown(is_better=False).iloc[0]
    assert (
        methods.apart(row)
        == "The methods disagree: for 365 days ahead the engine gives 762 GiB to 768 GiB 9 chances in 10."
    )
    assert methods.apart(row) in tables.caption(row)
    row["forecast_1y"] = 765.0 * GIB
    assert methods.apart(row) == ""
    assert methods.apart(shown().iloc[0]) == ""


def test_the_card_and_the_fate_tell_the_chances():
    both = shown()
    assert findings.shortest(both).value == "37 days"
    assert findings.shortest(both).note.endswith("; 1 in 10: 27 days, 9 in 10: later than a year")
    assert findings._fate(both.iloc[0]) == (
        "Storage documents of Harbour is as likely as not full in 37 days (within 90 days: 70 %)"
    )


def ledger(*rows):
    names = ["resource", "issued_at", "method", "forecast", "measured", "quantiles", "is_better"]
    return pd.DataFrame(rows, columns=names).assign(horizon_days=30)


BAND = [80.0, 85.0, 95.0, 100.0, 105.0, 115.0, 120.0]


def test_scores_are_means_over_resources_and_a_point_is_a_band_of_no_width():
    scored = methods.scores(
        ledger(
            ("a", NOW, "SQL", 110.0, 100.0, None, True),
            ("a", NOW, "ENGINE", 100.0, 100.0, BAND, False),
            ("b", NOW, "SQL", 1e9, 2e9, None, False),
            ("b", NOW, "ENGINE", 100.0, 114.0, BAND, True),
            ("b", ISSUED, "ENGINE", 1.0, 114.0, BAND, True),
            ("a", ISSUED, "SQL", 1.0, np.nan, None, True),
        )
    ).set_index("method")
    assert list(scored["forecasts"]) == [2, 2, 2], "only where both had issued one, and it came due"
    assert scored.loc["SQL", "error"] == pytest.approx((10 + 50) / 2)
    assert scored.loc["SQL", "loss"] == pytest.approx(scored.loc["SQL", "error"]), "it has no band"
    assert scored.loc["ENGINE", "error"] == pytest.approx((0 + 100 * 14 / 114) / 2)
    assert scored.loc["ENGINE", "loss"] < scored.loc["SQL", "loss"]
    assert list(scored.loc["ENGINE", ["cover_50", "cover_80", "cover_90"]]) == [50, 100, 100]
    assert np.isnan(scored.loc["SQL", "cover_80"])
    assert scored.loc["better", "error"] == pytest.approx((10 + 100 * 14 / 114) / 2)


def test_the_loss_of_a_band_is_twice_the_mean_pinball_loss():
    scored = methods.scores(ledger(("a", NOW, "ENGINE", 100.0, 110.0, BAND, True))).iloc[0]
    levels = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95]
    pinball = [q * (110 - b) if b <= 110 else (1 - q) * (b - 110) for q, b in zip(levels, BAND, strict=True)]
    assert scored["loss"] == pytest.approx(100 * 2 * np.mean(pinball) / 110)


def test_nothing_came_due():
    assert methods.scores(ledger(("a", NOW, "SQL", 1.0, np.nan, None, True))).empty


def test_decisions_count_what_was_announced_and_what_came():
    said = pd.DataFrame(
        {
            "method": ["SQL", "SQL", "SQL", "ENGINE", "ENGINE"],
            "is_announced": [True, True, False, True, False],
            "is_reached": [True, False, True, True, False],
            "probability": [1.0, 1.0, 0.0, 0.8, 0.1],
        }
    )
    found = methods.decisions(said).set_index("method")
    assert list(found.loc["SQL"]) == [3, 2, 1, 1, pytest.approx(2 / 3)]
    assert list(found.loc["ENGINE"]) == [2, 1, 1, 0, pytest.approx((0.04 + 0.01) / 2)]
    assert methods.decisions(said.head(0)).empty


@pytest.mark.parametrize(("held", "mood"), [(60.0, "attention"), (79.0, "good"), (95.0, "attention")])
def test_a_band_that_holds_too_little_or_too_much_is_watched(held, mood):
    scores = pd.DataFrame({"method": ["ENGINE"], "horizon_days": 30, "forecasts": 10, "cover_80": held})
    (card,) = findings._band(scores)
    assert (card.value, card.mood) == (f"{held} %", mood)
    assert findings._band(scores.head(0)) == []


def placed(method="ENGINE", **other):
    """The second resource has no capacity; `other` goes to the engine's model of the first."""
    found = outlook().assign(method=method, critical=90.0, status="NORMAL", growth_per_day=2.0 * GIB)
    found["engine"] = pd.Series([engine(issued_at=ISSUED, passed=3, **other), None], dtype=object)
    return found


def test_the_runway_for_programs_has_quantiles_that_count_from_the_report():
    listed, left_out = findings.runways(placed())
    assert left_out == 0
    capacity, critical = (e for e in listed if e.resource == "a")
    assert (capacity.p10_days, capacity.p50_days, capacity.p90_days) == (27, 37, None), (
        "less three days passed"
    )
    assert (capacity.probability_30d, capacity.probability_90d, capacity.probability_365d) == (0.1, 0.7, 0.85)
    assert capacity.reason == "later than a year: 9 in 10"
    assert (critical.level_percent, critical.p50_days, critical.reason) == (90.0, 0, "")
    assert capacity.issued_at == ISSUED.isoformat()
    assert capacity.is_at_risk


def test_what_is_not_known_of_a_runway_is_null_with_its_reason():
    unknown = next(e for e in findings.runways(placed())[0] if e.resource == "b")
    assert (unknown.method, unknown.p50_days, unknown.reason) == (None, None, "its capacity is not known")
    own = next(e for e in findings.runways(placed("SQL"))[0] if e.resource == "a")
    assert (own.method, own.p10_days, own.p50_days, own.probability_90d) == ("SQL", None, 20, None)
    assert "gives no probabilities" in own.reason


def test_of_very_many_resources_those_at_risk_are_listed_all(monkeypatch):
    monkeypatch.setattr(findings, "LISTED", 2)
    many = pd.concat([placed().head(1)] * 4, ignore_index=True)
    many["resource"] = list("abcd")
    many["time_to_critical_days"] = pd.array([400, 10, 20, 30], "Int64")
    listed, left_out = findings.runways(many)
    assert [e.resource for e in listed if e.level == "capacity"] == ["b", "c", "d"]
    assert left_out == 1


def shift(resource="a", at="2026-08-04", change=-5.0, evidence="a cleanup of 5 rows"):
    return {
        "resource": resource,
        "shifted_at": pd.Timestamp(at, tz="UTC"),
        "change": change,
        "cause": None if evidence is None else "cleanup",
        "evidence": evidence,
    }


def jump(at):
    return {"at": f"{at}T06:00:00+00:00", "change": 3}


def test_level_shifts_are_the_engines_and_the_databases_own_where_that_is_shown():
    own = [jump("2026-03-01"), jump("2026-08-05")]
    recorded = pd.DataFrame([shift(), shift(at="2025-01-01"), shift("b", evidence=None)])
    since = pd.Timestamp("2025-06-01", tz="UTC")
    for method, expected in (("ENGINE", ["ENGINE"]), ("SQL", ["SQL", "ENGINE"])):
        shown = placed(method)
        shown["pattern_breaks"] = pd.Series([own, None], dtype=object)
        first, second = methods.shifts(shown, recorded, since)
        assert [s["by"] for s in first] == expected, "the jump of 5 August is the engine's of the day before"
        assert first[-1]["evidence"] == "a cleanup of 5 rows"
        assert [s["evidence"] for s in second] == [None]
        shown["pattern_breaks"] = pd.Series([first, second], dtype=object)
        said = tables.regimes(shown, "UTC")
        assert said["Explained by"].tolist().count("nothing that is known") == len(expected)
        assert "a cleanup of 5 rows" in said["Explained by"].tolist()


def test_the_record_of_decisions_is_summed_and_names_who_had_something_to_announce():
    names = ["tenant", "resource_type", "resource_name", "horizon_days", "judged", "reached", "announced"]
    rows = [("A", "STORAGE", "x", 90, 6, 2, 1, 3), ("A", "STORAGE", "y", 90, 6, 0, 0, 0)]
    found = pd.DataFrame(rows, columns=[*names, "false_announcements"])
    assert tables.record_in_words(found) == (
        "Of 12 past days on which a resource was below its critical level, 2 had it reached within 90 days; "
        "the engine would have announced 1 of these, and 3 more in vain."
    )
    assert tables.record(found)["Resource"].tolist() == ["Storage x"]
    assert "no backtest" in tables.record_in_words(found.head(0))


def test_a_resource_of_no_concern_is_said_in_a_line():
    rows = placed().assign(utilization_percentage=[80.0, np.nan], reason=[None, "capacity unknown"])
    first, second = (tables.in_a_line(row) for _, row in rows.iterrows())
    assert first == "Storage documents of Harbour: 80.0 % used, 20 days to capacity"
    assert second == "Storage logs of Harbour: capacity unknown"
