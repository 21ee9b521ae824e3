"""Walls around a notebook's process that need no privilege: Landlock, where the kernel has it.

Within them it writes below its own folder only; it can neither signal another process nor look into one (its memory,
its environment), and gains no privilege by a program that has the setuid bit. It reads what its account may read, but
for the files that are named here, and it reaches the network: whoever must not do that runs reports under an account
of their own, or in a container. The same holds for what Landlock does not see: sockets of that account (its service
manager, an SSH agent, Docker), how much it starts and writes in all, and a database role that may run programs.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_NO_NEW_PRIVILEGES: Final = 38

_WRITE_FILE, _READ_FILE = 1 << 1, 1 << 2
_REMOVE_FOLDER, _REMOVE_FILE, _MAKE = 1 << 4, 1 << 5, 0b1111111 << 6
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_SIGNAL: Final = 1 << 1

_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/shm")  # noqa: S108
"""What programs write to as a matter of course; shared memory carries the semaphores of Python's own processes."""


@cache
def abi() -> int:
    """The version of the kernel's interface; 0: it has none, or it is switched off."""
    if not sys.platform.startswith("linux"):
        return 0
    with suppress(OSError, AttributeError):
        return max(0, int(ctypes.CDLL(None).syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION)))
    return 0


def in_words() -> str:
    """What keeps a notebook to its folder here; what a report says of it."""
    return f"Landlock {abi()}" if abi() else "none: this kernel has no Landlock"


def confine(own: Path, hidden: Iterable[Path] = ()) -> bool:
    """Confine this process, and all that it will start, for good; it must have one thread.

    Parameters
    ----------
    own : Path
        The folder that it may write below.
    hidden : iterable of Path
        Files that it may not read either. What is made beside them later it may not read.

    Returns
    -------
    bool
        False: this kernel cannot, and nothing was done.

    Raises
    ------
    OSError
        If the kernel refuses.
    """
    version = abi()
    if not version:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    rights = _READ_FILE | _WRITE_FILE | _REMOVE_FOLDER | _REMOVE_FILE | _MAKE
    rights |= (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    rules = _made(libc, _rules(rights, version))
    try:
        for place in (own, *map(Path, _DEVICES)):
            _allow(libc, rules, place, rights)
        for place in _readable([file.resolve() for file in hidden if file.exists()]):
            _allow(libc, rules, place, _READ_FILE)
        if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
        if libc.syscall(_RESTRICT, rules, 0):
            raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    finally:
        os.close(rules)
    return True


def _rules(rights: int, version: int) -> bytes:
    """The kernel's landlock_ruleset_attr, as long as this version knows it: files, network, scopes."""
    known = struct.pack("QQQ", rights, 0, _SIGNAL)
    return known if version >= 6 else known[:8]


def _made(libc: ctypes.CDLL, attributes: bytes) -> int:
    descriptor = int(libc.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    return descriptor


def _allow(libc: ctypes.CDLL, rules: int, place: Path, rights: int) -> None:
    """Allow what is handled below a place; of a file, what a file can have."""
    try:
        opened = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # gone, or behind a folder that this account may not pass: there is nothing to allow
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= _WRITE_FILE | _READ_FILE | _TRUNCATE
        if libc.syscall(_ADD, rules, _PATH_BENEATH, struct.pack("=Qi", rights, opened), 0):
            raise OSError(ctypes.get_errno(), f"landlock_add_rule {place}")
    finally:
        os.close(opened)


def _readable(hidden: list[Path]) -> Iterator[Path]:
    """Everything but these files and other processes: on the way down to them, all that stands beside the way."""
    processes = Path("/proc")
    ways = {folder for file in [*hidden, processes / "self"] for folder in file.parents}
    for folder in ways:
        with suppress(OSError):
            for entry in folder.iterdir():
                if entry in ways or entry in hidden or entry.is_symlink():
                    continue
                if folder != processes or not entry.name.isdecimal() or entry.name == str(os.getpid()):
                    yield entry
