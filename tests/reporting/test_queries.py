"""What the reports count: nothing that was only simulated, and no threshold that can never fire."""

from __future__ import annotations

import pandas as pd
import pytest

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
