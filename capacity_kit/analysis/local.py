"""Chunks worked on by this machine: in this process, or in processes of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any, Final, Protocol

from capacity_kit.analysis.chunks import Chunk
from capacity_kit.analysis.work import Record, analyse
from capacity_kit.errors import CapacityError

Done = tuple[Chunk, list[Record]]
Map = Callable[[Iterable[Chunk]], Iterator[Done]]
"""Has chunks worked on: yields each with its records, in their order, and takes no more of them than it needs to."""

AHEAD: Final = 1
"""Chunks that wait for each worker beside the one that it is at, so that none is idle and few are in memory."""


class Future(Protocol):
    """What comes back once somebody has done it."""

    def result(self) -> Any:
        """Wait for it."""


def windowed(submit: Callable[[Chunk], Future], chunks: Iterable[Chunk], most: int) -> Iterator[Done]:
    """Have at most so many chunks under way; memory is theirs, however many there are in all."""
    waiting: deque[tuple[Chunk, Future]] = deque()
    for chunk in chunks:
        waiting.append((chunk, submit(chunk)))
        if len(waiting) >= most:
            first, future = waiting.popleft()
            yield first, future.result()
    while waiting:
        first, future = waiting.popleft()
        yield first, future.result()


def in_process(chunks: Iterable[Chunk]) -> Iterator[Done]:
    """A map in this process."""
    for chunk in chunks:
        yield chunk, analyse(chunk)


def _begin() -> None:
    """Have a worker end with the process that it works for, and by that alone.

    An interruption by keyboard reaches all processes, and it is the first one's to answer; killed, it cannot tell the
    others any more.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def workers(count: int) -> Iterator[Map]:
    """A map over so many processes; 1 is this one.

    Parameters
    ----------
    count : int
        At least 1.

    Raises
    ------
    CapacityError
        When a process dies at its work: what was recorded is, and the rest can be taken up again.
    """
    if count < 1:
        raise CapacityError(f"There must be at least one worker, not {count}")
    if count == 1:
        yield in_process
        return
    # A fresh interpreter, since a copy of this one would share its connections to the database. One thread of linear
    # algebra each: more would only get into each other's way.
    kept = os.environ.get("OMP_NUM_THREADS")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        with ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_begin) as pool:

            def over(chunks: Iterable[Chunk]) -> Iterator[Done]:
                return windowed(lambda chunk: pool.submit(analyse, chunk), chunks, count * (1 + AHEAD))

            try:
                yield over
            except BrokenProcessPool:
                raise CapacityError(
                    "A worker died, perhaps for want of memory",
                    "Try again with fewer workers: given the same --as-of it goes on where it stopped.",
                ) from None
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        if kept is None:
            os.environ.pop("OMP_NUM_THREADS", None)
