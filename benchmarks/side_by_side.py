"""The engine beside AutoETS, AutoTheta, Prophet and a straight line: series a second, and how good the forecasts are.

    python benchmarks/side_by_side.py

Real series where the data are there (BENCH_DATA, by default ../shared/data, with the scorer beside it in ../bench),
and made-up ones. All run in one go, in turns, one thread each: the engine in this environment, the others in one of
their own (.capacity/bench, built at the first run from requirements-reference.txt). What is told is processor time,
which depends little on what else the machine does. The engine's includes what the others do not do: seven quantiles
instead of three, and the runway of a level.

relSPL is the mean pinball loss at .1, .5 and .9 against the seasonal naive forecast's, as the scorer has it: lower is
better, below 1 is better than naive. Of made-up series it is not told: what they are like was ours to choose.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
import time_engine

from capacity_kit import growth, units
from capacity_kit.growth.models import LEVELS

Floats = npt.NDArray[np.float64]

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parent / ".capacity" / "bench"
REQUIREMENTS = HERE / "requirements-reference.txt"
DATA = Path(os.environ.get("BENCH_DATA", HERE.parents[1] / "shared" / "data"))
REFERENCES = {"AutoETS": "AutoETS", "AutoTheta": "AutoTheta", "Prophet": "Prophet", "line": "straight line"}
ROUNDS = 3  # the engine forecasts everything in each; the others a third in each
MANY = 1000  # series in one call of the engine, where there are so many
FEW = 6  # made-up series for the others: each takes seconds


@dataclass
class Case:
    """Series of one kind; truth and the naive model's loss only of real ones."""

    title: str
    horizon: int
    seasons: tuple[int, ...]
    freq: str
    histories: list[Floats]
    many: list[Floats]
    loss: Callable[[Any], tuple[float, float]] | None = None
    seconds: dict[str, list[float]] = field(default_factory=dict)
    bands: dict[str, dict[int, Floats]] = field(default_factory=dict)


def python() -> Path:
    """The interpreter of the others' environment, built if it is not there or not of these versions."""
    stamp = ENVIRONMENT / ".built"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    own = ENVIRONMENT / "bin" / "python"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        install = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS]
        subprocess.run(install, check=True, capture_output=True)
        stamp.write_text(wanted, encoding="utf-8")
    return own


def scorer() -> ModuleType | None:
    """The scorer that lies beside the data; None where it does not."""
    path = DATA.parent / "bench" / "score.py"
    if not (DATA.is_dir() and path.exists()):
        return None
    spec = importlib.util.spec_from_file_location("score", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def real(score: ModuleType, task: str) -> Case:
    """A task of the scorer: its windows, and how a model's forecasts of them are judged."""
    import pandas as pd

    length, horizon, season, freq = score.TASKS[task]
    baselines = pd.read_csv(DATA.parent / "bench" / "baselines.csv", dtype={"series": str})
    found = score.windows(task, DATA, baselines)
    naive = baselines[(baselines.task == task) & (baselines.model == "SeasonalNaive")]
    naive = naive.set_index(["series", "offset"]).spl

    def loss(bands: dict[int, Floats]) -> tuple[float, float]:
        """RelSPL and the share of truths in the 80 % band."""
        rows = {found[i][:2]: score.score(found[i][2], found[i][3], b, season) for i, b in bands.items()}
        scored = pd.DataFrame(rows).T
        return score.relative(scored.spl, naive.loc[scored.index]), float(scored["cov"].mean())

    histories = [history for _, _, history, _ in found]
    many = score.origins(task, DATA)[0][:MANY]
    seasons = (season, 7 * season) if freq == "h" else (season,)
    name = "day" if freq == "D" else "hour"
    title = f"{len(found)} windows of real series ({task}), {length} {name}s to {horizon} ahead"
    return Case(title, horizon, seasons, freq, histories, many, loss)


def made_up(series: int, length: int, horizon: int, seasons: tuple[int, ...], freq: str) -> Case:
    """Made-up series, as time_engine.py makes them."""
    x = time_engine.made_up(series, length, seasons[0])
    name = "day" if freq == "D" else "hour"
    title = f"{FEW} made-up series, {length:,} {name}s to {horizon} ahead"
    return Case(title, horizon, seasons, freq, list(x[:FEW]), list(x))


def engine(histories: list[Floats], case: Case) -> tuple[float, Floats]:
    """Seconds, and the quantiles that the others have too."""
    started = time.process_time()
    said = growth.forecast(
        histories, case.horizon, case.seasons, growth.learn(histories, case.horizon, case.seasons)
    )
    said.reached(said.last * 1.1 + 1)
    seconds = time.process_time() - started
    return seconds, np.moveaxis(said.quantiles[..., np.isin(LEVELS, (0.1, 0.5, 0.9))], 1, 2)


def reference(name: str, case: Case, numbers: Iterable[int], own: Path, directory: Path) -> None:
    """Have one of the others forecast some of the series."""
    source, target = directory / "series.npz", directory / "forecasts.npz"
    np.savez(source, **{str(i): case.histories[i] for i in numbers})
    command = [own, HERE / "side_by_side_reference.py", name, source, target]
    command += [str(case.horizon), str(case.seasons[0]), case.freq]
    done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    case.seconds.setdefault(name, []).append(done["seconds"])
    with np.load(target) as found:
        case.bands.setdefault(name, {}).update({int(i): found[i] for i in found.files})


def measure(case: Case, own: Path, directory: Path) -> None:
    """All in turns, so that what else the machine does meets all alike."""
    engine(case.histories[:2], case)
    for turn in range(ROUNDS):
        for what, histories in (("engine", case.histories), ("many", case.many)):
            seconds, bands = engine(histories, case)
            case.seconds.setdefault(what, []).append(seconds)
            if what == "engine":
                case.bands[what] = dict(enumerate(bands))
        for name in REFERENCES:
            reference(name, case, range(turn, len(case.histories), ROUNDS), own, directory)


def tell(case: Case) -> None:
    """A table in Markdown."""
    pace = {name: len(case.histories) / sum(case.seconds[name]) for name in REFERENCES}
    pace["engine"] = len(case.histories) / float(np.median(case.seconds["engine"]))
    pace["many"] = len(case.many) / float(np.median(case.seconds["many"]))
    words = {"engine": "engine", "many": f"engine, {len(case.many):,} series in one call", **REFERENCES}
    columns = ["model", "series a second of processor time", "engine is faster"] + [
        "relSPL",
        "80 % band holds",
    ] * bool(case.loss)
    print(f"{case.title}:\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name, said in words.items():
        cells = [said, units.number(pace[name])]
        cells.append(f"{units.number(pace['engine'] / pace[name])} times" if name in REFERENCES else "")
        if case.loss and name in case.bands:
            loss, inside = case.loss(case.bands[name])
            cells += [f"{loss:.3f}", "no band" if name == "line" else f"{inside:.0%}"]
        print(f"| {' | '.join([*cells, '', ''][: len(columns)])} |")
    print(flush=True)


def main() -> int:
    """Measure and print; nothing, and 0, where the others cannot be had, which one line beside it says."""
    try:
        own = python()
    except subprocess.CalledProcessError as error:
        print(f"Not measured: the reference models cannot be installed here ({error}).", file=sys.stderr)
        return 0
    score = scorer()
    cases = (
        [real(score, task) for task in ("storage90", "cpu168")]
        if score
        else [made_up(MANY, 365, 90, (7,), "D")]
    )
    if not score:
        print(f"No real series: {DATA} is not here (BENCH_DATA names another place).\n")
    cases.append(made_up(100, 2160, 168, (24, 168), "h"))
    with tempfile.TemporaryDirectory(prefix="capacity-side-by-side-") as directory:
        for case in cases:
            measure(case, own, Path(directory))
            tell(case)
    return 0


if __name__ == "__main__":
    sys.exit(main())
