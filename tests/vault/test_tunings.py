"""A tuning is applied as new versions with its reason, and taken back the same way; nothing is overwritten."""

import json
import threading
import time
from decimal import Decimal

import pytest

from capacity_kit.errors import CapacityError
from capacity_kit.vault import tunings
from capacity_kit.vault.tunings import Change

MAKE = "SELECT encode(capacity_planning.create_capacity_threshold(NULL, %s, 'STORAGE', %s, %s), 'hex')"
NOW = (
    "SELECT threshold_percentage, threshold_value, suppression_duration_minutes, threshold_tuning_history"
    " FROM capacity_planning.capacity_threshold_s"
    " WHERE capacity_threshold_hk = decode(%s, 'hex') AND load_end_date IS NULL"
)
VERSIONS = (
    "SELECT count(*), count(*) FILTER (WHERE load_end_date IS NULL) FROM capacity_planning.capacity_threshold_s"
    " WHERE capacity_threshold_hk = decode(%s, 'hex')"
)


@pytest.fixture
def thresholds(pg):
    """A warning at 80 and a critical at 90 of the system's STORAGE: their keys."""
    return [
        pg.value(MAKE, f"disk {kind.lower()}", level, kind)
        for kind, level in (("WARNING", 80), ("CRITICAL", 90))
    ]


def change(pg, threshold, reason="too many were false", **changes):
    seen = pg.value(
        "SELECT load_date FROM capacity_planning.capacity_threshold_s"
        " WHERE capacity_threshold_hk = decode(%s, 'hex') AND load_end_date IS NULL",
        threshold,
    )
    return Change(threshold, seen, changes, reason, {"episodes": 7})


def test_a_tuning_is_a_new_version_with_its_reason(pg, thresholds):
    warning, _ = thresholds
    with pg.vault() as opened:
        name = tunings.apply(
            opened, [change(pg, warning, threshold_percentage=84, suppression_duration_minutes=240)], "mira"
        )
    level, value, minutes, history = pg.rows(NOW, warning)[0]
    assert (level, value, minutes) == (84, 84, 240)
    assert pg.rows(VERSIONS, warning) == [(2, 1)]
    (entry,) = history
    assert (entry["tuning"], entry["action"], entry["by"]) == (name, "APPLIED", "mira")
    assert entry["reason"] == "too many were false"
    assert entry["evidence"] == {"episodes": 7}
    assert (entry["from"]["threshold_percentage"], entry["to"]["threshold_percentage"]) == (80, 84)
    earlier = pg.value(
        "SELECT threshold_percentage FROM capacity_planning.capacity_threshold_s"
        " WHERE capacity_threshold_hk = decode(%s, 'hex') AND load_end_date IS NOT NULL",
        warning,
    )
    assert earlier == 80


def test_a_tuning_is_taken_back_as_a_new_version(pg, thresholds):
    with pg.vault() as opened:
        tunings.apply(
            opened,
            [
                change(pg, thresholds[0], threshold_percentage=84),
                change(pg, thresholds[1], threshold_percentage=95),
            ],
            "mira",
        )
        reverted = tunings.revert(opened, "noor", "missed one")
        assert reverted.applied_by == "mira"
        assert reverted.thresholds["is_as_tuned"].all()
        for threshold, level in zip(thresholds, (80, 90), strict=True):
            found = pg.rows(NOW, threshold)[0]
            assert found[:2] == (level, level)
            assert [entry["action"] for entry in found[3]] == ["APPLIED", "REVERTED"]
            assert (found[3][1]["by"], found[3][1]["reason"]) == ("noor", "missed one")
            assert pg.rows(VERSIONS, threshold) == [(3, 1)]
        with pytest.raises(CapacityError, match="no tuning to take back"):
            tunings.revert(opened, "noor")


def test_tunings_are_taken_back_the_last_first(pg, thresholds):
    warning = thresholds[0]
    with pg.vault() as opened:
        for level in (82, 85, 88):
            tunings.apply(opened, [change(pg, warning, threshold_percentage=level)], "mira")
        for level in (85, 82, 80):
            tunings.revert(opened, "mira")
            assert pg.rows(NOW, warning)[0][0] == level
    assert pg.rows(VERSIONS, warning) == [(7, 1)]


def test_what_somebody_changed_since_is_left_alone(pg, thresholds):
    warning, critical = thresholds
    with pg.vault() as opened:
        tunings.apply(
            opened,
            [change(pg, warning, threshold_percentage=84), change(pg, critical, threshold_percentage=95)],
            "mira",
        )
        pg.value(MAKE, "disk warning", 70, "WARNING")
        reverted = tunings.revert(opened, "noor")
        assert dict(
            zip(reverted.thresholds["threshold"], reverted.thresholds["is_as_tuned"], strict=True)
        ) == {
            warning: False,
            critical: True,
        }
        assert [pg.rows(NOW, key)[0][0] for key in thresholds] == [70, 90]
        with pytest.raises(CapacityError, match="changed since"):
            tunings.revert(opened, "noor")


def test_a_threshold_changed_since_it_was_looked_at_stops_the_whole_tuning(pg, thresholds):
    warning, critical = thresholds
    proposed = [change(pg, warning, threshold_percentage=84), change(pg, critical, threshold_percentage=95)]
    pg.value(MAKE, "disk critical", 93, "CRITICAL")
    with pg.vault() as opened, pytest.raises(CapacityError, match="1 of 2 thresholds"):
        tunings.apply(opened, proposed, "mira")
    assert [pg.rows(NOW, key)[0][0] for key in thresholds] == [80, 93]


def beside(pg, threshold, act):
    """Do `act` in another session while this one holds the threshold and then changes it; its error."""
    failures = []

    def other():
        try:
            with pg.vault() as opened:
                act(opened)
        except CapacityError as error:
            failures.append(error)

    thread = threading.Thread(target=other)
    with pg.connect(autocommit=False) as held:
        held.execute(
            "UPDATE capacity_planning.capacity_threshold_s SET threshold_percentage = 70"
            " WHERE capacity_threshold_hk = decode(%s, 'hex') AND load_end_date IS NULL",
            [threshold],
        )
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        for _ in range(200):
            if pg.value(waiting):
                break
            time.sleep(0.05)
        assert pg.value(waiting)
    thread.join()
    return failures[0].message


def test_a_tuning_does_not_overwrite_what_another_session_changes_meanwhile(pg, thresholds):
    warning, _ = thresholds
    seen = change(pg, warning, threshold_percentage=85)
    said = beside(pg, warning, lambda opened: tunings.apply(opened, [seen], "mira"))
    assert "1 of 1 thresholds changed since they were looked at" in said
    assert pg.rows(NOW, warning)[0][0] == 70


def test_a_revert_does_not_overwrite_what_another_session_changes_meanwhile(pg, thresholds):
    warning, _ = thresholds
    with pg.vault() as opened:
        tunings.apply(opened, [change(pg, warning, threshold_percentage=85)], "mira")
    said = beside(pg, warning, lambda opened: tunings.revert(opened, "noor"))
    assert "1 of 1 thresholds changed since they were looked at" in said
    assert pg.rows(NOW, warning)[0][0] == 70


def test_a_warning_that_would_not_come_first_is_refused(pg, thresholds):
    with pg.vault() as opened, pytest.raises(CapacityError, match="would warn at 90 %"):
        tunings.apply(opened, [change(pg, thresholds[0], threshold_percentage=90)], "mira")
    assert pg.rows(NOW, thresholds[0])[0] == (80, 80, 60, None)


def test_a_proposal_reaches_no_other_column(pg, thresholds):
    with pg.vault() as opened:
        tunings.apply(
            opened,
            [change(pg, thresholds[0], threshold_percentage=81, is_active=False, threshold_name="gone")],
            "mira",
        )
    assert pg.rows(
        "SELECT threshold_name, is_active, threshold_percentage FROM capacity_planning.capacity_threshold_s"
        " WHERE capacity_threshold_hk = decode(%s, 'hex') AND load_end_date IS NULL",
        thresholds[0],
    ) == [("disk warning", True, Decimal(81))]


def test_a_history_of_another_form_is_kept(pg, thresholds):
    """The guide's own tuning may have written there: what it wrote stays, and is no tuning of this kind."""
    pg.run(
        "UPDATE capacity_planning.capacity_threshold_s SET threshold_tuning_history = %s"
        " WHERE load_end_date IS NULL AND threshold_name = 'disk warning'",
        json.dumps([{"note": "raised by hand"}]),
    )
    with pg.vault() as opened:
        with pytest.raises(CapacityError, match="no tuning"):
            tunings.revert(opened, "mira")
        tunings.apply(opened, [change(pg, thresholds[0], threshold_percentage=84)], "mira")
        tunings.revert(opened, "mira")
    history = pg.rows(NOW, thresholds[0])[0][3]
    assert history[0] == {"note": "raised by hand"}
    assert len(history) == 3
