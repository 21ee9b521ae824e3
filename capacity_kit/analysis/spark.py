"""Tasks done by Spark: in local mode on this machine, or on a cluster by its master's address."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from capacity_kit.analysis.local import AHEAD, Map, Task
from capacity_kit.errors import CapacityError

try:
    from pyspark.sql import SparkSession
except ImportError as error:
    raise CapacityError("PySpark is not installed", "pip install 'capacity-kit[spark]'") from error


@contextmanager
def session(count: int, address: str | None = None) -> Iterator[Map]:
    """A map over a Spark cluster.

    Tasks go out in waves, a few for every core that there is: Spark wants to know all of a job at its beginning, and
    the memory of this process is that of a wave. The executors need capacity-kit in the version of this one.

    Parameters
    ----------
    count : int
        Cores of this machine in local mode; with an address not looked at.
    address : str, optional
        A master such as spark://master:7077. Spark Connect (sc://) has no way to run this.

    Raises
    ------
    CapacityError
        When Spark does not start: Java 17 or newer is needed, and a master that answers.
    """
    if count < 1:
        raise CapacityError(f"There must be at least one worker, not {count}")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master(address or f"local[{count}]").appName("capacity-kit")
    try:
        spark = builder.config("spark.ui.enabled", "false").getOrCreate()
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise CapacityError(
            f"Spark does not start: {said[0]}", "Check --scheduler, and java -version."
        ) from error
    context = spark.sparkContext
    wave = context.defaultParallelism * (1 + AHEAD)

    def over(tasks: Iterable[Task]) -> Iterator[Any]:
        coming = iter(tasks)
        while batch := list(islice(coming, wave)):
            yield from context.parallelize(batch, len(batch)).mapPartitions(_each).collect()

    try:
        yield over
    finally:
        spark.stop()


def _each(tasks: Iterable[Task]) -> Iterator[Any]:
    return (task() for task in tasks)
