"""Numbers, durations, times and names as a reader meets them."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from capacity_kit import units


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0, "bytes", "0 bytes"),
        (1, "bytes", "1 byte"),
        (1023, "bytes", "1,023 bytes"),
        (1024, "bytes", "1 KiB"),
        (1.5 * 2**30, "bytes", "1.5 GiB"),
        (-(2.0**40), "bytes", "-1 TiB"),
        (1, "users", "1 user"),
        (265, "users", "265 users"),
        (1, "transactions/s", "1 transactions/s"),
        (0.0714, "users", "0.0714 users"),
        (2_144_483_647, "transactions", "2,144,483,647 transactions"),
        (None, "users", "–"),
        (math.nan, "bytes", "–"),
        (math.inf, "users", "∞ users"),
    ],
)
def test_a_quantity(value, unit, said):
    assert units.quantity(value, unit) == said


def test_a_count():
    said = [units.count(n, "dead letter") for n in (0, 1, 1204)]
    assert said == ["0 dead letters", "1 dead letter", "1,204 dead letters"]
    assert units.count(2, "threshold has", "thresholds have") == "2 thresholds have"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"),
        (pd.NA, "–"),
        (0, "now"),
        (0.9, "now"),
        (1, "1 day"),
        (365, "365 days"),
        (1461, "4.0 years"),
    ],
)
def test_days(value, said):
    assert units.days(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "< 1 %"), (0.004, "< 1 %"), (0.42, "42 %"), (0.999, "> 99 %"), (None, "–"), (math.nan, "–")],
)
def test_no_probability_is_said_to_be_0_or_100_percent(value, said):
    assert units.share(value) == said


def test_a_time_is_told_in_the_readers_zone():
    noon = pd.Timestamp("2026-07-01T12:00:00Z")
    assert units.at(noon) == "2026-07-01 12:00 UTC"
    assert units.at(noon, "Europe/Berlin") == "2026-07-01 14:00 CEST"
    assert units.at(noon.tz_localize(None), "Asia/Kolkata", clock=False) == "2026-07-01"
    assert units.at(pd.NaT) == "–"


def test_a_name_stays_on_one_line_and_has_no_hidden_characters():
    assert units.plain("a\n\tb\u202ec\u200bd\x00e") == "a bcde"
    assert units.plain("x" * 100, 10) == "xxxxxxxxx…"
    assert units.plain("Zürich 東京 🚀") == "Zürich 東京 🚀"


def test_a_resource_is_named_once():
    assert units.resource("STORAGE", "documents") == "Storage documents"
    assert units.resource("USERS", "users") == "Users"
    assert units.resource("TRANSACTION_ID", "oldest database") == "Transaction id oldest database"
    assert units.resource("CPU", "host") == "CPU host"
