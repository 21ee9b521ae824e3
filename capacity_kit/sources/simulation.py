"""A made-up platform of five tenants over thirteen months, for trying the workbench without waiting a year.

Everything here carries the record source ``SIMULATION``. The same seed and time give the same numbers, bit
by bit. Each tenant has something to find:

- Harbour Dental Group grows steadily
- Alder & Finch Accountants grows by a constant percentage
- Meridian Logistics is near the limit of its storage; three times cleanups came in time
- Kestrel Insurance cleans up each quarter, and had its storage enlarged
- Bluebell Pharmacies took over another company's users and files on one weekend
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from capacity_kit.errors import CapacityError
from capacity_kit.sources import frame as measurements

RECORD_SOURCE: Final = "SIMULATION"
DAYS: Final = 396
"""Thirteen months."""
STEP: Final = pd.Timedelta(hours=6)

_STEPS_A_DAY: Final = 4
_GIB: Final = 1024**3
_BY_HOUR: Final = np.array([0.30, 0.70, 1.00, 0.55])
"""Activity at 0, 6, 12 and 18 h UTC, as part of the day's peak."""
_WEEKEND: Final = 0.45

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tenant:
    """A made-up tenant. Days count from the last measurement, so they are negative.

    Attributes
    ----------
    key, name
        Its business key and its name.
    users, joining, max_users
        Users at the beginning, joining a day on average, and licensed.
    storage, growth, compound
        GiB at the beginning, GiB added a day, and relative growth a day.
    cleanups
        (day, GiB removed).
    onboarding
        (day, GiB, users) that arrive together.
    limits
        (day, GiB): what its storage can hold from then on; the first holds from the beginning.
    connections, pool
        Connections at a usual peak for each user, and how many the pool allows.
    rush
        How often a day brings a rush on its connections.
    """

    key: str
    name: str
    users: int
    joining: float
    max_users: int
    storage: float
    growth: float
    limits: tuple[tuple[int, float], ...]
    connections: float
    pool: int
    compound: float = 0.0
    cleanups: tuple[tuple[int, float], ...] = ()
    onboarding: tuple[int, float, int] | None = None
    rush: float = 0.0

    @property
    def hash_key(self) -> str:
        """Hex of ``tenant_hk``."""
        return hashlib.sha256(self.key.encode()).hexdigest()


TENANTS: Final = (
    Tenant("harbour-dental", "Harbour Dental Group", 118, 0.18, 250, 220, 0.31, ((-DAYS, 500),), 0.16, 60),
    Tenant("alder-finch", "Alder & Finch Accountants", 64, 0.12, 160, 80, 0.0, ((-DAYS, 512),), 0.38, 80,
           compound=0.0035),
    Tenant("meridian-logistics", "Meridian Logistics", 240, 0.10, 400, 200, 1.7, ((-DAYS, 500),), 0.21, 100,
           cleanups=((-267, 150), (-170, 160), (-89, 105)), rush=0.04),
    Tenant("kestrel-insurance", "Kestrel Insurance", 150, 0.05, 220, 160, 1.0, ((-DAYS, 300), (-80, 450)),
           0.24, 80, cleanups=((-330, 60), (-239, 70), (-148, 80), (-57, 90))),
    Tenant("bluebell-pharmacies", "Bluebell Pharmacies", 88, 0.06, 300, 60, 0.1, ((-DAYS, 250),), 0.18, 80,
           onboarding=(-120, 90, 142)),
)  # fmt: skip


def history(seed: int, as_of: datetime) -> pd.DataFrame:
    """Make up thirteen months of measurements, every six hours.

    Parameters
    ----------
    seed
        Which of the possible histories.
    as_of
        The time of the last measurement, with a zone; rounded down to six hours.

    Returns
    -------
    DataFrame
        A measurement frame: STORAGE (bytes), USERS (users), CONNECTIONS (connections) and TRANSACTIONS
        (transactions/s; capacity unknown) of each tenant.
    """
    times = pd.date_range(end=floor(as_of), periods=DAYS * _STEPS_A_DAY + 1, freq=STEP, unit="us")
    # Each tenant draws from a stream of its own, so that a change to one leaves the others as they are.
    streams = np.random.SeedSequence(seed).spawn(len(TENANTS))
    frames = [
        pd.DataFrame(
            {
                "measured_at": times,
                "tenant": tenant.hash_key,
                "resource_type": kind,
                "resource_name": name,
                "value": value,
                "capacity": capacity,
                "unit": unit,
            }
        )
        for tenant, stream in zip(TENANTS, streams, strict=True)
        for kind, name, unit, value, capacity in _series(
            tenant, times, np.random.Generator(np.random.PCG64(stream))
        )
    ]
    frame: pd.DataFrame = pd.concat(frames, ignore_index=True)
    frame["line"] = np.arange(1, len(frame) + 1)
    return frame[list(measurements.COLUMNS)]


def floor(moment: datetime) -> pd.Timestamp:
    """Round a time with a zone down to the simulation's six hours, in UTC."""
    return pd.Timestamp(moment).tz_convert("UTC").floor(STEP)


def _series(
    tenant: Tenant, times: pd.DatetimeIndex, random: np.random.Generator
) -> Iterable[tuple[str, str, str, Numbers, Numbers]]:
    """Yield (type, name, unit, values, capacities) of each of a tenant's resources."""
    day = np.arange(-DAYS * _STEPS_A_DAY, 1) / _STEPS_A_DAY
    activity = _BY_HOUR[times.hour.to_numpy() // 6] * np.where(
        times.day_of_week.to_numpy() >= 5, _WEEKEND, 1.0
    )
    users = _users(tenant, day, random)
    connections = _connections(tenant, activity * users, random)
    rate = connections * 3.2 * random.lognormal(0.0, 0.12, len(day))
    storage_limit = np.select(
        [day >= start for start, _ in reversed(tenant.limits)],
        [float(limit * _GIB) for _, limit in reversed(tenant.limits)],
    )
    yield "STORAGE", "documents", "bytes", _storage(tenant, day, activity, random), storage_limit
    yield "USERS", "users", "users", users, np.full(len(day), float(tenant.max_users))
    yield "CONNECTIONS", "pool", "connections", connections, np.full(len(day), float(tenant.pool))
    yield "TRANSACTIONS", "application", "transactions/s", rate.round(2), np.full(len(day), np.nan)


def _users(tenant: Tenant, day: Numbers, random: np.random.Generator) -> Numbers:
    """Count users: some join, fewer leave, and a takeover brings many on one day."""
    joined = random.poisson(1.5 * tenant.joining / _STEPS_A_DAY, len(day)).cumsum()
    left = random.poisson(0.5 * tenant.joining / _STEPS_A_DAY, len(day)).cumsum()
    arrived = np.where(day >= tenant.onboarding[0], tenant.onboarding[2], 0) if tenant.onboarding else 0
    present: Numbers = np.clip(tenant.users + joined - left + arrived, 1, tenant.max_users).astype(float)
    return present


def _connections(tenant: Tenant, active: Numbers, random: np.random.Generator) -> Numbers:
    """Count connections: those of active users, with a rush now and then, up to what the pool allows."""
    rush = np.where(random.random(len(active)) < tenant.rush, random.uniform(1.3, 1.9, len(active)), 1.0)
    wanted = tenant.connections * active * rush * random.lognormal(0.0, 0.08, len(active))
    open_now: Numbers = np.clip(np.rint(wanted), 1, tenant.pool)
    return open_now


def _storage(tenant: Tenant, day: Numbers, activity: Numbers, random: np.random.Generator) -> Numbers:
    """Measure stored bytes: growth, cleanups and a takeover, under the week's working files."""
    since = day - day[0]
    level = tenant.storage * np.exp(tenant.compound * since) + tenant.growth * since
    for at, removed in tenant.cleanups:
        level -= np.where(day >= at, removed, 0.0)
    if tenant.onboarding:
        at, arrived, _ = tenant.onboarding
        level += arrived * np.clip((day - at) / 2.0, 0.0, 1.0)  # copied over a weekend
    drift = random.normal(0.0, 0.05, len(day)).cumsum()
    drift -= since / since[-1] * drift[-1]  # so that it ends where growth leads, whatever the seed
    working = 0.006 * level * activity + random.normal(0.0, 0.0008, len(day)) * level
    stored: Numbers = np.rint((level + drift + working) * _GIB)
    return stored


class Store(Protocol):
    """What the simulation needs of a vault."""

    def transaction(self) -> AbstractContextManager[Any]:
        """Do several things as one."""

    def read(self, name: str, **parameters: Any) -> pd.DataFrame:
        """Run a named query."""

    def execute(self, name: str, **parameters: Any) -> int:
        """Run a named statement."""

    def register(
        self,
        tenant: str,
        resource_type: str,
        resource_name: str,
        capacity: float,
        unit: str,
        valid_from: datetime | None = None,
        reason: str | None = None,
        registered_by: str | None = None,
    ) -> datetime:
        """Say what a resource can hold."""

    def load(self, batches: Iterable[pd.DataFrame], record_source: str, **options: Any) -> Any:
        """Store measurements."""


@dataclass(frozen=True)
class Simulated:
    """What a simulation wrote.

    Attributes
    ----------
    seed, as_of
        What it was made from; the last measurement is at ``as_of``.
    tenants
        The tenants' keys.
    rows, inserted
        Measurements made, and those that were not there yet.
    """

    seed: int
    as_of: datetime
    tenants: tuple[str, ...]
    rows: int
    inserted: int


def simulate(
    store: Store,
    seed: int = 7,
    as_of: datetime | None = None,
    *,
    force: bool = False,
    progress: Callable[[str, int], None] | None = None,
) -> Simulated:
    """Write the simulated tenants, their history and their capacities, as one transaction.

    Doing it again with the same seed and time adds nothing.

    Parameters
    ----------
    store
        An open vault.
    seed
        Which of the possible histories.
    as_of
        The time of the last measurement (default: that of the simulation that is already there, else now).
    force
        Write beside real tenants.
    progress
        Told of each stage and each batch.

    Returns
    -------
    Simulated
        What was written.

    Raises
    ------
    CapacityError
        When the database holds real tenants or another simulation, or the time is yet to come.
    """
    with store.transaction():
        found = store.read("simulate_state").iloc[0]
        if found["real_tenants"] and not force:
            raise CapacityError(
                f"This database has {found['real_tenants']:,} real tenants: nothing was simulated",
                "Simulate in a database of its own, or insist with --force.",
            )
        there = found["newest"] if pd.notna(found["newest"]) else None
        end = floor(as_of or there or pd.Timestamp.now("UTC"))
        if end > pd.Timestamp.now("UTC"):
            raise CapacityError(f"{end:%Y-%m-%d %H:%M} UTC is yet to come", "Simulate up to now at most.")
        method = f"capacity simulate: seed {seed}, as of {end:%Y-%m-%dT%H:%MZ}"
        if there is not None and found["method"] != method:
            raise CapacityError(
                f"This database already holds another simulation ({found['method']})",
                "Use its seed and time again, or a database of its own.",
            )
        store.execute(
            "simulate_tenants",
            tenant=[tenant.hash_key for tenant in TENANTS],
            tenant_bk=[tenant.key for tenant in TENANTS],
        )
        store.execute(
            "simulate_profiles",
            tenant=[tenant.hash_key for tenant in TENANTS],
            tenant_bk=[tenant.key for tenant in TENANTS],
            tenant_name=[tenant.name for tenant in TENANTS],
            max_users=[tenant.max_users for tenant in TENANTS],
        )
        made = history(seed, end)
        loaded = store.load([made], RECORD_SOURCE, method=method, progress=progress)
        _register_capacities(store, made)
    return Simulated(seed, end.to_pydatetime(), tuple(t.key for t in TENANTS), loaded.rows, loaded.inserted)


def _register_capacities(store: Store, made: pd.DataFrame) -> None:
    """Register what the measurements say of capacity, from each time on at which it changed."""
    known = made[made["capacity"].notna()]
    resource = known.groupby(measurements.IDENTITY, sort=False)["capacity"]
    changed = known[resource.diff().fillna(1) != 0]
    for measured_at, tenant, kind, name, capacity, unit in zip(
        changed["measured_at"].dt.to_pydatetime(),
        *(changed[column] for column in ("tenant", "resource_type", "resource_name", "capacity", "unit")),
        strict=True,
    ):
        store.register(tenant, kind, name, capacity, unit, measured_at, "simulated", RECORD_SOURCE)
