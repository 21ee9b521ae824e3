"""How many truths the engine's 80 % bands hold, by how far ahead they lie for the length of the record.

    OMP_NUM_THREADS=1 python benchmarks/band_cover.py --data DIR

Real directories of source repositories (what is live and what was ever stored), each from records of a month to a year
to 365 days ahead, as `capacity analyze --engine` asks for it; and the tenants of `capacity simulate` from the first of
each month, with and without what nothing in their past announced: a takeover, and the first cleanup there ever was.
"""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
import pandas as pd

from capacity_kit import growth
from capacity_kit.growth import Calendar
from capacity_kit.sources import simulation

Floats = npt.NDArray[np.float64]

HORIZON, WEEK = 365, 7
RECORDS = (28, 56, 112, 224, 365)
AHEAD = (7, 30, 90, 180, 365)
WINDOWS = 6  # of a directory and a length of record, drawn by a seed from one every 45 days
RATIOS = (0, 0.1, 0.3, 0.6, 1.2, 2.5, 20)
SEEDS = (7, 8)
SIMULATED_UP_TO = datetime(2026, 11, 23, 18, tzinfo=UTC)
FLUCTUATING = ("CONNECTIONS", "TRANSACTIONS")


def real(data: Path) -> pd.DataFrame:
    """One row a directory, window and horizon: records' length, days ahead, whether the band held."""
    random = np.random.default_rng(1)
    series: list[Floats] = []
    for file in sorted((data / "storage_growth").glob("*.csv")):
        wide = pd.read_csv(file, index_col=0)
        stored = [wide[name].to_numpy(float) for name in wide if not name.endswith("|changes")]
        series += [values[np.isfinite(values)] for values in stored]
    rows: list[tuple[int, int, bool, bool]] = []
    for record in RECORDS:
        past, truth = [], []
        for values in series:
            ends = np.arange(record, len(values) - WEEK, 45)
            for end in ends[random.permutation(len(ends))[:WINDOWS]]:
                if np.ptp(values[end - record : end][-60:]) > 0:
                    past.append(values[end - record : end])
                    truth.append(values[end : end + HORIZON])
        said = growth.forecast(past, HORIZON, WEEK, growth.learn(past, HORIZON, WEEK)).quantiles
        rows += [
            (record, days, own[days - 1] < band[days - 1, 1], own[days - 1] > band[days - 1, -2])
            for own, band in zip(truth, said, strict=True)
            for days in AHEAD
            if days <= len(own)
        ]
    return pd.DataFrame(rows, columns=["record", "days", "below", "above"])


def simulated(seed: int) -> pd.DataFrame:
    """One row a resource, month and horizon: days ahead, whether the band held, whether the unheard-of came."""
    made = simulation.history(seed, SIMULATED_UP_TO)
    by_type: dict[str, list[tuple[simulation.Tenant, Floats]]] = {}
    for (key, kind), rows in made.groupby(["tenant", "resource_type"], sort=False):
        tenant = next(t for t in simulation.TENANTS if t.hash_key == key)
        days = rows["value"].to_numpy(float)[1:].reshape(-1, 4)
        by_type.setdefault(kind, []).append((tenant, days.mean(1) if kind in FLUCTUATING else days[:, -1]))
    newest = pd.Timestamp(SIMULATED_UP_TO.date())
    found: list[tuple[int, bool, bool, bool]] = []
    for month in pd.date_range(newest - pd.Timedelta(days=simulation.DAYS - 30), newest, freq="MS"):
        origin = -(newest - month).days
        for kind, members in by_type.items():
            past = [values[: values.size + origin] for _, values in members]
            last = (month - pd.Timestamp(0)).days
            calendar = Calendar([last] * len(past)) if kind in FLUCTUATING else None
            prior = growth.learn(past, HORIZON, WEEK, calendar)
            said = growth.forecast(past, HORIZON, WEEK, prior, calendar=calendar).quantiles
            for (tenant, values), band in zip(members, said, strict=True):
                unheard = [tenant.onboarding[0]] if tenant.onboarding else []
                unheard += [tenant.cleanups[0][0]] if tenant.cleanups and kind == "STORAGE" else []
                for ahead in [a for a in AHEAD if a <= -origin]:
                    truth = values[values.size + origin + ahead - 1]
                    came = any(origin < day <= origin + ahead for day in unheard)
                    below, above = truth < band[ahead - 1, 1], truth > band[ahead - 1, -2]
                    found.append((ahead, below, above, came))
    return pd.DataFrame(found, columns=["days", "below", "above", "unheard"])


def table(rows: pd.DataFrame, by: pd.Series, name: str) -> None:
    """Print how many were held, by something."""
    print(f"| {name} | forecasts | held by the 80 % band | truth below | above |\n|---|---|---|---|---|")
    for key, own in rows.groupby(by, observed=True):
        below, above = own["below"].mean(), own["above"].mean()
        print(f"| {key} | {len(own):,} | {1 - below - above:.0%} | {below:.0%} | {above:.0%} |")
    print()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    asked = parser.parse_args()
    if asked.data:
        print("Real directories, by days ahead in lengths of the record:\n")
        rows = real(asked.data)
        labels = [f"{low} to {high}" for low, high in pairwise(RATIOS)]
        table(rows, pd.cut(rows["days"] / rows["record"], RATIOS, labels=labels), "lengths ahead")
    rows = pd.concat([simulated(seed) for seed in SEEDS], ignore_index=True)
    print(f"Simulated tenants, seeds {' and '.join(map(str, SEEDS))}, all forecasts:\n")
    table(rows, rows["days"], "days ahead")
    print("Without those in whose days a tenant was taken over, or cleaned up for the first time:\n")
    heard = rows[~rows["unheard"]]
    table(heard, heard["days"], "days ahead")


if __name__ == "__main__":
    main()
