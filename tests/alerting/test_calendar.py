"""Holidays: the right days of a country, in its own words wherever this runs, written once."""

from __future__ import annotations

from datetime import date

import pytest

from capacity_kit import vault
from capacity_kit.alerting import calendar
from capacity_kit.alerting.calendar import Holiday
from capacity_kit.errors import CapacityError


def test_a_part_of_a_country_has_days_of_its_own():
    everywhere = calendar.holidays("DE", None, [2026])
    bavaria = calendar.holidays("de", "BY", [2026])
    assert Holiday(date(2026, 5, 1), "Erster Mai") in everywhere
    assert {h.day for h in bavaria} - {h.day for h in everywhere} >= {date(2026, 1, 6), date(2026, 11, 1)}
    assert [h.day for h in bavaria] == sorted(h.day for h in bavaria)


@pytest.mark.parametrize("language", ["fr_FR.UTF-8", "de_DE.UTF-8", "C"])
def test_names_do_not_depend_on_where_this_runs(monkeypatch, language):
    for variable in ("LANG", "LANGUAGE", "LC_ALL"):
        monkeypatch.setenv(variable, language)
    assert Holiday(date(2026, 12, 25), "Erster Weihnachtstag") in calendar.holidays("DE", None, [2026])


def test_unknown_places_are_refused_with_what_is_known():
    with pytest.raises(CapacityError, match="country 'ZZ'"):
        calendar.holidays("ZZ", None, [2026])
    with pytest.raises(CapacityError, match="no subdivision 'XX'.*BY"):
        calendar.holidays("DE", "XX", [2026])


def test_a_calendar_is_filled_once_and_what_stands_in_it_stays(pg18):
    pg18.run("INSERT INTO capacity_alerting.holiday VALUES (NULL, '2026-12-25', 'by hand')")
    with vault.open(pg18.dsn) as opened:
        written = calendar.fill(opened, None, "DE", None, [2026])
        assert written == len(calendar.holidays("DE", None, [2026])) - 1
        assert calendar.fill(opened, None, "DE", None, [2026]) == 0
        assert calendar.fill(opened, "0a", "DE", None, [2026]) == written + 1
    assert (
        pg18.value(
            "SELECT name FROM capacity_alerting.holiday WHERE tenant_hk IS NULL AND day = '2026-12-25'"
        )
        == "by hand"
    )
    assert (
        pg18.value("SELECT count(*) FROM capacity_alerting.holiday WHERE tenant_hk = '\\x0a'") == written + 1
    )
