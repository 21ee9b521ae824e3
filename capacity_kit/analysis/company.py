"""Who hears of whom: a series with a short past leans on those of its resource type and of its tenant.

Companies are made of the whole database, whatever is asked for, in the order of the resources' keys: they are the same
for one resource and for all, in every chunk and on every worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from capacity_kit import growth
from capacity_kit.analysis.chunks import Floats, Resource
from capacity_kit.analysis.grids import WEEK
from capacity_kit.growth import Calendar, Prior
from capacity_kit.growth.engine import NOBODY

SYSTEM: Final = "SYSTEM"

ALONE: Final = 16
"""Members at which a tenant's own company says half of what its series hear; the rest says their type's."""

DIGITS: Final = 2
"""Of a disadvantage, a logarithm: no forecast changes by a noticeable part because some other series gained a day."""


@dataclass(frozen=True)
class Companies:
    """What was learnt from each company.

    Attributes
    ----------
    types : mapping of str to Prior
        By resource type.
    tenants : mapping of str to Prior
        By hex of tenant_hk, or SYSTEM; tenants with few resources have none.
    """

    types: Mapping[str, Prior] = field(default_factory=dict)
    tenants: Mapping[str, Prior] = field(default_factory=dict)

    def of(self, resources: Sequence[Resource]) -> list[Prior]:
        """What each resource hears; one and the same object for those that hear the same."""
        made: dict[tuple[str, str], Prior] = {}
        for resource in resources:
            key = resource.resource_type, (resource.tenant or SYSTEM)
            own, tenant = self.types.get(key[0], NOBODY), self.tenants.get(key[1])
            own = own if own.series > 1 else NOBODY  # a company of one says nothing new
            if key not in made:
                made[key] = own if tenant is None else _drawn(tenant, own)
        return [made[r.resource_type, r.tenant or SYSTEM] for r in resources]

    def told(self, resource: Resource) -> dict[str, Any]:
        """Which companies that was, for the record."""
        tenant = self.tenants.get(resource.tenant or SYSTEM)
        return {
            "of_type": self.types.get(resource.resource_type, NOBODY).series,
            "of_tenant": tenant.series if tenant else 0,
        }


def heard(series: Sequence[Floats], horizon: int, calendar: Calendar | None = None) -> Prior:
    """What the members of one company say of the models, to be given to every forecast of a member.

    Parameters
    ----------
    series : sequence of ndarray
        Of the members, by day.
    horizon : int
        Days ahead.
    calendar : Calendar, optional
        Of the series, where their forecasts know one.
    """
    if len(series) < 2:
        return Prior({}, len(series))
    learnt = growth.learn(series, horizon, WEEK, calendar)
    return Prior({name: round(by, DIGITS) for name, by in learnt.disadvantage.items()}, learnt.series)


def _drawn(own: Prior, others: Prior) -> Prior:
    """What a small company says, drawn to what a large one does; the only one that knows a model is heard alone."""
    share = own.series / (own.series + ALONE)
    both = {
        name: share * own.disadvantage.get(name, others.disadvantage.get(name, 0.0))
        + (1 - share) * others.disadvantage.get(name, own.disadvantage.get(name, 0.0))
        for name in sorted({*own.disadvantage, *others.disadvantage})
    }
    return Prior(both, own.series + others.series)
