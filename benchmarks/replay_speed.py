"""How fast whole policies are replayed over a fleet, beside a loop that says the same.

    OMP_NUM_THREADS=1 python benchmarks/replay_speed.py

1,000 made-up resources, 90 days of a measurement every quarter of an hour, 100 candidate policies on levels: levels,
margins, suppression, business hours, maintenance and escalation all differ. RUNWAY policies follow, with an origin a
day; their forecasts are made once, and timed apart. The loop is `policy.Pair`, with which the replay is compared on a
slice of the same fleet in the same run: the slice's episodes must be the same, or there is no figure. Processor time
says what the replay costs; elapsed time also says how busy the machine is. Exits 1 when the quickest of three replays
takes more than 60 s, or more than 2 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import itertools
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
import pandas as pd
import psutil

from capacity_kit import growth
from capacity_kit.alerting.policy import Calendar, Hours, Pair, Policy, Window
from capacity_kit.alerting.replay import Fleet, replay, runways
from capacity_kit.growth.runway import first_step

Floats = npt.NDArray[np.float64]
START = pd.Timestamp("2026-08-01", tz="UTC")
STEPS = 96  # measurements a day
ATTEMPTS = 3
MUST_SECONDS, MUST_MEGABYTES = 60.0, 2000.0


def made_up(resources: int, days: int, seed: int) -> pd.DataFrame:
    """Usage that grows, cycles by the day, flaps about a level, and is cut or given more room now and then."""
    rng = np.random.default_rng(seed)
    size = days * STEPS
    at = pd.date_range(START, periods=size, freq="15min")
    clock = np.arange(size) / STEPS
    frames = []
    for n in range(resources):
        kind = n % 4
        used = rng.uniform(30, 85) + rng.uniform(0, 0.35) * clock  # growth
        if kind == 1:
            used = used + rng.uniform(2, 15) * np.sin(2 * np.pi * clock)
        elif kind == 2:
            used = rng.uniform(70, 95) + rng.normal(0, rng.uniform(0.2, 3), size)  # flaps
        elif kind == 3:
            used = used + rng.normal(0, 1, size).cumsum() * 0.1
        capacity = np.full(size, 100.0)
        if n % 10 == 0:
            capacity[rng.integers(size) :] = 140.0
        if n % 7 == 0:
            used[rng.integers(size) :] *= 0.7
        frames.append(
            pd.DataFrame(
                {
                    "resource": f"r{n:05}",
                    "measured_at": at,
                    "value": np.clip(used, 0, None),
                    "capacity": capacity,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def candidates() -> list[Policy]:
    """A hundred policies on levels."""
    kinds = itertools.product(
        np.linspace(70, 94, 25),
        [(0.0, 0, 0, False), (2.0, 60, 0, False), (2.0, 240, 120, True), (5.0, 0, 240, False)],
    )
    return [
        Policy(
            float(level),
            margin=m,
            target=95.0,
            suppression_minutes=s,
            escalation_minutes=e,
            business_hours_only=b,
        )
        for level, (m, s, e, b) in kinds
    ]


def fleet_of(measured: pd.DataFrame) -> Fleet:
    """With office hours in Berlin and a window of maintenance every Sunday."""
    window = Window(
        START.to_pydatetime() + dt.timedelta(hours=2), START.to_pydatetime() + dt.timedelta(hours=5), 1
    )
    names = measured["resource"].unique()
    return Fleet.of(
        measured,
        hours=Hours(Calendar("Europe/Berlin"), (replace(window, zone="Europe/Berlin"),)),
        accumulating=set(names[::3]),
    )


def by_the_engine(known: Fleet, origin: int, levels: tuple[float, ...]) -> Floats:
    """The growth engine's runway from the last measurement of each day; 90 days ahead."""
    del origin
    ends = known.first[1:]
    daily = [known.value[a:b][::-1][::STEPS][::-1] for a, b in itertools.pairwise(known.first)]
    said = growth.forecast(daily, 90, (7,), growth.learn(daily, 90, (7,)))
    found = [
        np.stack(
            [first_step(said.reached(level / 100 * known.capacity[ends - 1]), p) for p in (0.1, 0.5, 0.9)], -1
        )
        for level in levels
    ]
    return np.stack(found, axis=1)


class Memory:
    """What this process and its children hold together at most, looked at every 20 ms."""

    def __init__(self) -> None:
        self.peak = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        own = psutil.Process()
        while True:
            held = 0
            for process in (own, *own.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    held += process.memory_info().rss
            self.peak = max(self.peak, held / 2**20)
            time.sleep(0.02)


def measure(arguments: argparse.Namespace) -> int:
    """One fresh process: the fleet, the replays, and what they took; 1 when that was too much."""
    memory = Memory()
    fleet = fleet_of(made_up(arguments.resources, arguments.days, arguments.seed))
    chosen = candidates()
    points = len(fleet.resources) * fleet.evaluated_at.size * len(chosen)
    print(f"memory to make the fleet     {memory.peak:8.0f} MB at most")
    taken, processor = [], []
    for _ in range(ATTEMPTS):
        before = sum(os.times()[:4])
        found = replay(fleet, chosen, workers=arguments.workers)
        taken.append(found.seconds)
        processor.append(sum(os.times()[:4]) - before)
    best, worst = min(taken), max(taken)
    print(f"level policies               {len(chosen):8} over {len(fleet.resources)} resources")
    print(
        f"replay, {ATTEMPTS} runs               {best:8.2f} to {worst:.2f} s, {arguments.workers} processes "
        f"(must {MUST_SECONDS:g})"
    )
    print(f"processor time               {min(processor):8.2f} s, all processes together")
    print(f"pair-points a second         {points / best / 1e6:8.0f} million of {points / 1e6:.0f} million")
    total = found.scores[["episodes", "alerts", "true", "false", "censored", "open", "escalations"]].sum()
    print("found                        " + ", ".join(f"{name} {int(n):,}" for name, n in total.items()))
    peak = memory.peak
    print(
        f"memory with the replay       {peak:8.0f} MB at most, all processes together (must {MUST_MEGABYTES:g})"
    )
    beside_a_loop(fleet, chosen, points / best)
    origins = pd.date_range(START + pd.Timedelta(days=30), periods=arguments.origins, freq="D")
    few = fleet.part(0, arguments.forecast)
    made, seconds = runways(few, origins, (95.0,), by_the_engine)
    ahead = [
        Policy(float(d), "RUNWAY", "<=", 2.0, 95.0, p, suppression_minutes=60)
        for d in (7, 14, 21, 28, 35)
        for p in (10, 50, 90)
    ]
    found = replay(replace(few, runways=made), ahead, workers=1)
    print(
        f"runway forecasts, once       {seconds:8.2f} s for {arguments.forecast} resources x {len(origins)} origins"
    )
    print(f"runway policies              {found.seconds:8.2f} s for {len(ahead)} of them, one process")
    return int(best > MUST_SECONDS or peak > MUST_MEGABYTES)


def beside_a_loop(fleet: Fleet, chosen: list[Policy], replayed: float) -> None:
    """The plain policy over a slice, against the replay's pace; and that both find the same."""
    slice_, some = fleet.part(0, 4), chosen[::20]
    gates = Hours(Calendar("Europe/Berlin"), ()).gates(slice_.evaluated_at)
    open_ = [gate._replace(maintenance=bool(m)) for gate, m in zip(gates, slice_.maintenance[0], strict=True)]
    begun = time.perf_counter()
    plain = []
    for policy, row in itertools.product(some, range(4)):
        pair = Pair(policy)
        used = slice_.utilization[slice_.first[row] : slice_.first[row + 1]].tolist()
        for at, value, gate in zip(slice_.evaluated_at.tolist(), used, open_, strict=True):
            pair.evaluate(at, value, gate)
        plain.append((len(pair.episodes), len(pair.alerts)))
    pace = len(plain) * slice_.evaluated_at.size / (time.perf_counter() - begun)
    found = replay(slice_, some)
    same = list(
        zip(*(found.counts[name].sum(axis=1).tolist() for name in ("episodes", "alerts")), strict=True)
    )
    if same != plain:
        raise SystemExit("the loop and the replay differ")
    print(f"a loop over a slice          {pace / 1e6:8.2f} million pair-points a second")
    print(f"the replay beside it         {replayed / pace:8.0f} times as fast")


def main() -> int:
    """Measure in a fresh process, so that nothing else's memory is counted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--resources", type=int, default=1000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--forecast", type=int, default=100, help="resources with runway forecasts")
    parser.add_argument("--origins", type=int, default=60, help="days with a forecast")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        return measure(arguments)
    return subprocess.run([sys.executable, __file__, *sys.argv[1:], "--here"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
