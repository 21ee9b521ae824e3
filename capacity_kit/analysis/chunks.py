"""What travels to a worker and can be pickled: some resources, and what was measured of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# What sql/queries/engine_series.sql sends: microseconds since 2000 and a value, as PostgreSQL's binary format has them.
_PAIR = np.dtype([("at", ">i8"), ("value", ">f8")])
_EPOCH = 946_684_800.0  # 2000-01-01 in seconds since 1970


@dataclass(frozen=True)
class Resource:
    """One resource as it stands.

    Attributes
    ----------
    key : str
        Hex of resource_utilization_hk.
    tenant : str or None
        Hex of tenant_hk; None for the system.
    resource_type, resource_name, resource_category, unit : str
    usage : float
        The newest measurement.
    capacity : float
        What it can hold; NaN where that is unknown.
    warning, critical : float
        Levels in percent of the capacity; NaN where there are none.
    measured_at : datetime
        When the newest measurement was taken.
    origin : datetime
        That, moved on by whole days to the last one before the time that is looked from: forecasts count from here.
    changes : tuple of (float, float)
        What it will hold from later times on, as far as that is known: seconds since 1970, and capacity.
    """

    key: str
    tenant: str | None
    resource_type: str
    resource_name: str
    resource_category: str
    unit: str
    usage: float
    capacity: float
    warning: float
    critical: float
    measured_at: datetime
    origin: datetime
    changes: tuple[tuple[float, float], ...] = ()

    def capacity_at(self, when: Floats) -> Floats:
        """What it holds at times after its newest measurement, given in seconds since 1970."""
        held = np.array([self.capacity, *(capacity for _, capacity in self.changes)])
        return held[np.searchsorted([start for start, _ in self.changes], when, side="right")]


@dataclass(frozen=True)
class Chunk:
    """Some resources and their measurements.

    Attributes
    ----------
    as_of : datetime
        The time that is looked from.
    resources : tuple of Resource
    times : tuple of ndarray, each of shape (measurements,)
        Seconds since 1970, in any order.
    values : tuple of ndarray, each of shape (measurements,)
        In the resource's unit.
    """

    as_of: datetime
    resources: tuple[Resource, ...]
    times: tuple[Floats, ...]
    values: tuple[Floats, ...]

    def __len__(self) -> int:
        """How many resources."""
        return len(self.resources)

    def of(self, rows: Sequence[int]) -> Chunk:
        """Some of the resources, by their place."""
        return Chunk(
            self.as_of,
            tuple(self.resources[i] for i in rows),
            tuple(self.times[i] for i in rows),
            tuple(self.values[i] for i in rows),
        )


def measurements(packed: str | None) -> tuple[Floats, Floats]:
    """Times and values from the hex of what the database packed together; empty where it had nothing.

    Returns
    -------
    times : ndarray, shape (measurements,)
        Seconds since 1970.
    values : ndarray, shape (measurements,)
    """
    pairs = np.frombuffer(bytes.fromhex(packed or ""), _PAIR)
    return pairs["at"] / 1e6 + _EPOCH, pairs["value"].astype(float)
