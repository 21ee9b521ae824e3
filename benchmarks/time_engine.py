"""How many series a second the engine forecasts on one core, and how much memory that takes.

    OMP_NUM_THREADS=1 python benchmarks/time_engine.py

The first pass, seven quantiles at every step and the runway of one level a series are included.
The series are made up, and differ. Processor time says what the engine costs; elapsed time also says how busy the
machine is.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt

from capacity_kit import growth

Floats = npt.NDArray[np.float64]

# name, series, history, horizon, seasons, series a second that must be reached
CASES = (
    ("daily", 1000, 365, 90, (7,), 1000),
    ("hourly", 100, 2160, 168, (24, 168), 100),
)
MEMORY = (10_000, 365, 90, (7,), 300)  # series, history, horizon, seasons, MB above import
REPEATS = 5


def made_up(series: int, length: int, cycle: int) -> Floats:
    """Series that drift, cycle, burst and stand still."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 4, (series, 1))
    x = rng.normal(0.05, 1, (series, length)).cumsum(axis=1) + 1000
    x = np.where(kind == 1, x + 30 * np.sin(2 * np.pi * np.arange(length) / cycle), x)
    x = np.where(kind == 2, 100 * (rng.random((series, length)) < 0.05).cumsum(axis=1), x)
    return np.where(kind == 3, rng.poisson(0.5, (series, length)), x)


def run(x: Floats, horizon: int, seasons: tuple[int, ...]) -> None:
    """All that a caller asks for."""
    said = growth.forecast(list(x), horizon, seasons, growth.learn(list(x), horizon, seasons))
    said.reached(x[:, -1] * 1.1 + 1)


def peak_memory() -> float:
    """MB that the process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_memory() -> None:
    """Print what one large call adds to the process, the series themselves not counted."""
    before = peak_memory()
    series, length, horizon, seasons, _ = MEMORY
    x = made_up(200, length, seasons[0])
    histories = [x[i % len(x)] for i in range(series)]  # the same arrays over again: the input weighs nothing
    said = growth.forecast(histories, horizon, seasons, growth.learn(histories, horizon, seasons))
    said.reached(said.last * 1.1 + 1)
    print(f"{peak_memory() - before:.0f}")


def main() -> int:
    """Print a table; 1 if a bar is missed."""
    good = True
    print(
        f"{'':8}{'series':>8}{'history':>9}{'horizon':>9}{'a second of processor time':>28}{'elapsed':>10}{'must':>7}"
    )
    for name, series, length, horizon, seasons, must in CASES:
        x = made_up(series, length, seasons[0])
        run(x[:50], horizon, seasons)
        spent, elapsed = [], []
        for _ in range(REPEATS):
            started, clock = time.process_time(), time.perf_counter()
            run(x, horizon, seasons)
            spent.append(time.process_time() - started)
            elapsed.append(time.perf_counter() - clock)
        rate = series / float(np.median(spent))
        good &= rate >= must
        print(
            f"{name:8}{series:8,}{length:9,}{horizon:9}{rate:28,.0f}{series / min(elapsed):10,.0f}{must:7,}"
        )
    child = subprocess.run([sys.executable, __file__, "--memory"], capture_output=True, text=True, check=True)
    used, most = float(child.stdout), MEMORY[-1]
    good &= used <= most
    print(f"memory: {used:.0f} MB above import for {MEMORY[0]:,} daily series in one call (at most {most})")
    return 0 if good else 1


if __name__ == "__main__":
    if "--memory" in sys.argv:
        measure_memory()
    else:
        sys.exit(main())
