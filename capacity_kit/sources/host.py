"""The host's memory, processors and disks: what a database cannot measure of the machine that it runs on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pandas as pd
import psutil

from capacity_kit.sources import frame as measurements

RECORD_SOURCE: Final = "HOST:psutil"
METHOD: Final = (
    "psutil on the host: memory not available, processors busy over the interval, disk blocks used"
)

Note = Callable[[str], None]


def measure(
    data_directory: Path | None = None,
    seconds: float = 1.0,
    note: Note | None = None,
    now: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """Measure this host once.

    Parameters
    ----------
    data_directory
        The server's data directory: the file system that holds it is measured too, even where it is not
        listed as a disk (in a container).
    seconds
        How long the processors are watched.
    note
        Told what could not be measured, and why.
    now
        The time to file it under, in UTC (default: the clock's).

    Returns
    -------
    DataFrame
        A measurement frame: MEMORY (bytes), CPU (cores), and DISK (bytes) for each file system, its
        capacity what an unprivileged process can fill.
    """
    note = note or (lambda said: None)
    memory = psutil.virtual_memory()
    cores = psutil.cpu_count() or 1
    busy = psutil.cpu_percent(interval=seconds) / 100 * cores
    rows: list[tuple[str, str, float, float, str]] = [
        ("MEMORY", "host", memory.total - memory.available, memory.total, "bytes"),
        ("CPU", "host", min(round(busy, 4), cores), cores, "cores"),
    ]
    for mount in mounts(data_directory):
        try:
            usage = psutil.disk_usage(mount)
        except OSError as error:
            note(f"DISK {mount} is not measured: {error.strerror or error}")
            continue
        if usage.used + usage.free > 0:  # what has no blocks of its own cannot fill up
            rows.append(("DISK", mount, usage.used, usage.used + usage.free, "bytes"))
    frame = pd.DataFrame(rows, columns=["resource_type", "resource_name", "value", "capacity", "unit"])
    frame = frame.astype({"value": float, "capacity": float})
    moment = (now or pd.Timestamp.now("UTC")).as_unit("us")
    return frame.assign(measured_at=moment, tenant=None, line=range(1, len(frame) + 1))[
        list(measurements.COLUMNS)
    ]


def mounts(data_directory: Path | None = None) -> list[str]:
    """Where this host's disks are mounted, each disk once, and where the data directory's file system is.

    Parameters
    ----------
    data_directory
        A directory on this host; None, or one that may not be looked at: disks only.
    """
    by_device: dict[int, str] = {}
    listed = [
        part.mountpoint for part in psutil.disk_partitions(all=False) if "ro" not in part.opts.split(",")
    ]
    holding = [_mount_of(data_directory)] if data_directory is not None else []
    for mount in [*(mount for mount in holding if mount), *sorted(listed, key=len)]:
        try:
            by_device.setdefault(Path(mount).stat().st_dev, mount)
        except OSError:
            continue  # not ours to look at; measure() would only fail again
    return sorted(by_device.values())


def _mount_of(directory: Path) -> str | None:
    """Find the mount point above a directory."""
    try:
        here = directory.resolve(strict=True)
        while not os.path.ismount(here):
            here = here.parent
    except OSError:
        return None
    return str(here)
