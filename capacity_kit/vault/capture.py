"""One capture: the server measures itself, and this host adds what PostgreSQL cannot know of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import pandas as pd

from capacity_kit import units
from capacity_kit.errors import CapacityError
from capacity_kit.sources import host

if TYPE_CHECKING:
    from capacity_kit.vault.vault import Vault

_MOVED: Final = 0.01
"""A filesystem's capacity is registered anew when it moved by more than this share."""


def runs_here(vault: Vault) -> bool:
    """Whether the server runs on this host: reached over a Unix socket, with its data directory in sight."""
    directory = vault.server.data_directory
    return vault.server.is_on_socket and directory is not None and Path(directory).is_dir()


def capture(vault: Vault, tenant: str, host_metrics: Literal["auto", "yes", "no"] = "auto") -> pd.DataFrame:
    """Measure once.

    Parameters
    ----------
    vault
        An open vault.
    tenant
        ALL, SYSTEM or one tenant; see :meth:`capacity_kit.vault.Vault.capture`.
    host_metrics
        Whether to measure this host too: ``auto`` when the server runs on it. What the server measured itself
        of memory and processors is what is recorded.

    Returns
    -------
    DataFrame
        As :meth:`capacity_kit.vault.Vault.capture` returns it.

    Raises
    ------
    CapacityError
        When the tenant is unknown, or ``yes`` is said of a host that the server does not run on.
    """
    system = tenant in ("ALL", "SYSTEM")
    here = runs_here(vault)
    if host_metrics == "yes" and not here and not vault.server.is_on_socket:
        raise CapacityError(
            "The server was reached over the network: this host's memory and disks may not be its own",
            "Capture on the server's host over its Unix socket, or leave --host-metrics at auto.",
        )
    if not system or host_metrics == "no" or not (here or host_metrics == "yes"):
        return vault.capture(tenant)
    directory = Path(vault.server.data_directory) if vault.server.data_directory else None
    if directory:
        _register_storage(vault, directory)
    return vault.capture(tenant, _measured(host.measure(directory, note=vault.notices.append)))


def _measured(frame: pd.DataFrame) -> pd.DataFrame:
    """The host's measurements as a capture takes them."""
    kept = ["resource_type", "resource_name", "value", "unit", "capacity"]
    named = frame[kept].rename(columns={"value": "current_value"})
    return named.assign(method=host.METHOD, source=host.RECORD_SOURCE)


def _register_storage(vault: Vault, directory: Path) -> None:
    """Fill in what the cluster's storage can hold: what is stored, and what is free on its filesystem.

    What a person registered is left alone; so is a cluster whose tablespaces lie elsewhere.
    """
    now = vault.read("storage_capacity").iloc[0]
    if now["tablespaces_elsewhere"]:
        vault.notices.append(
            "STORAGE: tablespaces lie on other filesystems, so its capacity is yours to register"
        )
        return
    by = now["registered_by"]
    if isinstance(by, str) and not by.startswith("filesystem:"):
        return
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        vault.notices.append(
            f"STORAGE: {directory} cannot be looked at ({error.strerror}), so its capacity is not filled in"
        )
        return
    capacity = float(now["stored"]) + free
    if isinstance(by, str) and abs(capacity / now["capacity"] - 1) <= _MOVED:
        return
    vault.register(
        "SYSTEM",
        "STORAGE",
        "cluster",
        capacity,
        "bytes",
        reason=f"all databases and {units.quantity(free, 'bytes')} free",
        registered_by=f"filesystem:{directory}",
    )
