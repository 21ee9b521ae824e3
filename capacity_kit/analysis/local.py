"""Tasks done by this machine: in this process, or in processes of its own."""

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

from capacity_kit.errors import CapacityError

Task = Callable[[], Any]
"""A function with all that it needs, such as a chunk: what travels to a worker and can be pickled."""

Map = Callable[[Iterable[Task]], Iterator[Any]]
"""Has tasks done: yields what each returned, in their order, and takes no more of them than it needs to."""

AHEAD: Final = 1
"""Tasks that wait for each worker beside the one that it is at, so that none is idle and few are in memory."""


class Future(Protocol):
    """What comes back once somebody has done it."""

    def result(self) -> Any:
        """Wait for it."""


def windowed(submit: Callable[[Task], Future], tasks: Iterable[Task], most: int) -> Iterator[Any]:
    """Have at most so many tasks under way; memory is theirs, however many there are in all."""
    waiting: deque[Future] = deque()
    for task in tasks:
        waiting.append(submit(task))
        if len(waiting) >= most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def in_process(tasks: Iterable[Task]) -> Iterator[Any]:
    """A map in this process."""
    for task in tasks:
        yield task()


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

            def over(tasks: Iterable[Task]) -> Iterator[Any]:
                return windowed(pool.submit, tasks, count * (1 + AHEAD))

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
