"""Tasks done by a Dask cluster: one of this machine's own, or a scheduler's by its address."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from capacity_kit.analysis.local import AHEAD, Map, Task, windowed
from capacity_kit.errors import CapacityError

try:
    from distributed import Client, LocalCluster
    from distributed.comm.addressing import get_address_host_port
except ImportError as error:
    raise CapacityError("Dask is not installed", "pip install 'capacity-kit[dask]'") from error


@contextmanager
def cluster(count: int, address: str | None = None) -> Iterator[Map]:
    """A map over a Dask cluster.

    The workers need capacity-kit in the version of this one.

    Parameters
    ----------
    count : int
        Processes of a cluster on this machine; with an address not looked at.
    address : str, optional
        A scheduler such as tcp://scheduler:8786.

    Raises
    ------
    CapacityError
        When the scheduler does not answer, or there is no worker.
    """
    if count < 1:
        raise CapacityError(f"There must be at least one worker, not {count}")
    with ExitStack() as open_until_done:
        try:
            client = open_until_done.enter_context(_client(count, address))
            threads = _threads(client)
        except (OSError, ValueError) as error:
            raise CapacityError(
                f"The Dask cluster cannot be reached: {error}", "Check --scheduler."
            ) from error

        def over(tasks: Iterable[Task]) -> Iterator[Any]:
            # Not pure: the scheduler would have to hash every chunk to find out that it is a new one.
            return windowed(lambda task: client.submit(task, pure=False), tasks, threads * (1 + AHEAD))

        yield over


def _threads(client: Client) -> int:
    """How much it can do at once; a worker that has just been started is waited for."""
    try:
        client.wait_for_workers(1, timeout=30)
    except TimeoutError:
        raise CapacityError("The Dask cluster has no workers", "Start some: dask worker ADDRESS.") from None
    return sum(client.nthreads().values())


@contextmanager
def _client(count: int, address: str | None) -> Iterator[Client]:
    if address:
        # A client that was made and found nobody hangs on its way out, so somebody is looked for first.
        socket.create_connection(get_address_host_port(address), timeout=10).close()
        with Client(address, timeout="10s", set_as_default=False) as client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as own,
        Client(own, set_as_default=False) as client,
    ):
        yield client
