"""Holidays of a country, as a business calendar keeps them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import holidays as package

from capacity_kit.errors import CapacityError


@dataclass(frozen=True)
class Holiday:
    """A day on which people are not at work.

    Attributes
    ----------
    day
        The date, in the calendar's own time zone.
    name
        What it is called, in the country's own language.
    """

    day: date
    name: str


class Store(Protocol):
    """What holidays are written through: an open vault."""

    def execute(self, name: str, **parameters: Any) -> int:
        """Run a named statement; return the number of rows that it touched."""


def holidays(country: str, subdivision: str | None, years: Iterable[int]) -> list[Holiday]:
    """Return the public holidays of a country, in order.

    Parameters
    ----------
    country
        Its code, such as DE (ISO 3166-1).
    subdivision
        The part of it, such as BY; None: what holds everywhere in it.
    years
        Of these years.

    Raises
    ------
    CapacityError
        When the country or the subdivision is not known.
    """
    known = package.list_supported_countries(include_aliases=True)
    if country.upper() not in known:
        raise CapacityError(
            f"No holidays are known of a country {country!r}",
            "Use its code of two letters, such as DE or US.",
        )
    parts = known[country.upper()]
    if subdivision is not None and subdivision not in parts:
        raise CapacityError(
            f"{country.upper()} has no subdivision {subdivision!r}",
            f"Known are: {', '.join(parts)}" if parts else "Its holidays are the same everywhere.",
        )
    found = package.country_holidays(
        country.upper(),
        subdiv=subdivision,
        years=list(years),
        # Without this the names would be in whatever language this process happens to run in.
        language=package.country_holidays(country.upper()).default_language,
    )
    return [Holiday(day, name) for day, name in sorted(found.items())]


def fill(
    store: Store, tenant: str | None, country: str, subdivision: str | None, years: Iterable[int]
) -> int:
    """Write a country's holidays into a business calendar; what stands there already stays.

    Parameters
    ----------
    store
        An open vault.
    tenant
        Whose calendar: the hex of tenant_hk; None: everyone's who has none of their own.
    country, subdivision, years
        As of :func:`holidays`.

    Returns
    -------
    int
        How many days are new.
    """
    days = [
        {"day": holiday.day.isoformat(), "name": holiday.name}
        for holiday in holidays(country, subdivision, years)
    ]
    return store.execute("calendar_fill", tenant=tenant, days=json.dumps(days))
