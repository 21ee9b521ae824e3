"""Where published reports live, and how they get there whole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from capacity_kit.errors import CapacityError
from capacity_kit.reporting.result import State

GRAVITY: Final[dict[State, int]] = {"failed": 0, "cannot be trusted": 1, "at risk": 2, "ok": 3}
"""States of a report, the gravest first."""

TENANTS: Final = "_tenant"
"""Where the tenants' own pages are: no notebook's folder begins with an underscore."""

SEARCH: Final = "search.js"
"""What the search looks through: loaded by the front page when somebody wants to search."""

PATIENCE: Final = 300.0
"""Seconds to wait for another writer: one takes a second or two."""

_LOCK: Final = ".lock"
_PAUSE: Final = 0.05
_UNFINISHED: Final = ".unfinished-"
_ADVICE: Final = {
    errno.ENOSPC: "Free some space there",
    errno.EDQUOT: "Free some space there: your quota is used up",
    errno.EACCES: "You may not write there: ask for the permission",
    errno.EPERM: "You may not write there: ask for the permission",
    errno.EROFS: "That file system is read only: mount it for writing",
    errno.ENOENT: "A folder on that path does not exist: make it",
    errno.ENOTDIR: "A part of that path is a file, not a folder: move it away",
}
"""What to do about a site that cannot be written, by what the system says of it."""
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)$")


def slug(label: str) -> str:
    """A name as one safe part of a path; different names give different parts.

    Small letters, digits, dashes and inner underscores stay. Whatever had to be changed is told apart by a
    digest of the name, so that neither ``a/b`` and ``a b`` nor, where case is ignored, ``Acme`` and ``acme`` meet.
    """
    safe = re.sub(r"[^a-z0-9_]+", "-", label.lower()).strip("-_")[:48]
    if safe and safe == label and not _RESERVED.match(safe):
        return safe
    return f"{safe}-{hashlib.sha256(label.encode()).hexdigest()[:10]}".lstrip("-")


def tenant_folder(tenant: str) -> str:
    """The folder of a tenant's reports; ALL and SYSTEM stand beside the tenants, whatever those are called."""
    return {"ALL": "_all", "SYSTEM": "_system"}.get(tenant, slug(tenant))


def tenant_page(tenant: str) -> str:
    """The page that lists a tenant's reports, from the site's top."""
    return f"{TENANTS}/{tenant_folder(tenant)}/index.html"


def folder(notebook: str, tenant: str, as_of: datetime, others: Mapping[str, Any]) -> Path:
    """Where a report goes: ``<notebook>/<tenant>/<time>``.

    Parameters
    ----------
    notebook, tenant : str
        What was run, for whom.
    as_of : datetime
        For which moment (UTC).
    others : mapping
        Parameters that differ from their defaults: a report on something else is another report.
    """
    stamp = as_of.strftime("%Y-%m-%dT%H%M%SZ")
    if others:
        stamp += (
            "-" + hashlib.sha256(json.dumps(others, sort_keys=True, default=str).encode()).hexdigest()[:8]
        )
    return Path(slug(notebook), tenant_folder(tenant), stamp)


@contextmanager
def locked(site: Path) -> Iterator[None]:
    """Hold the site for one writer at a time, and clear away what a killed one left unfinished.

    The lock is the system's and goes with the process that holds it, however that ends; over NFS it holds between
    hosts too.

    Raises
    ------
    CapacityError
        If the site cannot be written, or another writer keeps it for longer than `PATIENCE`.
    """
    with _explained(site):
        site.mkdir(parents=True, exist_ok=True)
        # Neither followed nor emptied, should somebody have put a link in its place.
        lock = os.open(site / _LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            _lock(site, lock)
            for left in site.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            os.close(lock)


def _lock(site: Path, descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has none: one writer at a time is then up to its scheduler
        return
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > until:
                raise CapacityError(
                    f"Another writer keeps {site}: {_holder(descriptor)}",
                    "See what holds it up, then try again.",
                ) from None
            time.sleep(_PAUSE)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)


def _holder(descriptor: int) -> str:
    """Who wrote its name into the lock, which may be read by whoever reads the site."""
    said = os.pread(descriptor, 200, 0).decode("utf-8", "replace")
    return "".join(letter for letter in said if letter.isprintable()) or "one that did not say its name"


def clock(site: Path) -> int:
    """What time it is by the file system's clock, in nanoseconds: over NFS it is another than this host's."""
    made = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=site))
    try:
        return made.stat().st_mtime_ns
    finally:
        made.rmdir()


def put(site: Path, place: Path, files: Mapping[str, str]) -> None:
    """Write a folder of files, all or none of them; call it while the site is `locked`.

    They are first written whole beside their place. A folder that is there already has its files replaced one
    by one, so that a reader always finds a complete one, and the folder around it is marked as changed.
    """
    if not (site / place).resolve().is_relative_to(site.resolve()):
        raise CapacityError(f"{site / place} leads out of the site by a symbolic link", "Remove the link.")
    staged = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=site))
    try:
        for name, text in files.items():
            _write(staged / name, text)
        target = site / place
        if target.is_dir():
            for name in files:
                (staged / name).replace(target / name)
            _settle(target)
            os.utime(target.parent)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.chmod(0o755)
            _settle(staged)
            staged.rename(target)
        _settle(target.parent)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def put_file(site: Path, name: str, text: str) -> None:
    """Write one file at the site's top, whole or not at all."""
    staged = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=site))
    try:
        _write(staged / name, text)
        (staged / name).replace(site / name)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _settle(folder: Path) -> None:
    """Have the disk know which files a folder holds, where it can be told to."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(opened)


@contextmanager
def _explained(site: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        known = _ADVICE.get(error.errno or 0)
        advice = f"{known}, or choose another folder with" if known else "Choose another folder with"
        raise CapacityError(
            f"The report cannot be written to {site}: {error.strerror or error}",
            f"{advice} CAPACITY_SITE; nothing was published.",
        ) from error
