"""Imported once in the process that workers are forked from: what every report needs is then there already.

Not only modules. The first figure loads fonts, the first page compiles templates, the first shell builds its tables;
here each is made once and thrown away.

And the process is made deaf to all but the one that started it. A notebook may find the socket that it listens on,
and whoever is heard there is given a process without walls.
"""

from __future__ import annotations

import os

os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")

import errno
import io
import socket
import struct
import sys
from types import SimpleNamespace
from typing import Any

if sys.platform == "linux":
    from multiprocessing import forkserver

    class _OfItsParent(socket.socket):
        def accept(self) -> tuple[socket.socket, Any]:
            heard, address = super().accept()
            pid, _, _ = struct.unpack("3i", heard.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if pid == os.getppid():
                return heard, address
            heard.close()
            raise ConnectionAbortedError(errno.ECONNABORTED, "not the process that started this one")

    # Where its main() finds it, which passes over a connection that is aborted; first of all, for an import below
    # that fails is passed over too.
    forkserver.socket = SimpleNamespace(**{**vars(socket), "socket": _OfItsParent})  # type: ignore[attr-defined]

import matplotlib.pyplot  # noqa: F401 -- for notebooks that use it
import nbformat.v4
from matplotlib.figure import Figure

from capacity_kit import cli, plots  # noqa: F401 -- cli: a worker imports its parent's main module anew
from capacity_kit.alerting import replay  # noqa: F401
from capacity_kit.reporting import fanout, findings, render, run, show, study, tables  # noqa: F401
from capacity_kit.reporting.result import Result, sql_digests


def _once() -> None:
    drawn = Figure()
    axes = drawn.subplots()
    axes.set_title("Title", fontweight="bold")
    axes.plot([0, 1], [0, 1], label="line")
    axes.legend()
    drawn.savefig(io.BytesIO(), format="png")
    cells = [nbformat.v4.new_markdown_cell("# Title\n\n## Part\n\nText, `code`.")]  # type: ignore[no-untyped-call]
    page = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    warm = Result("ok", "Warm.", sql=sql_digests())
    warm.complaint()
    render.page(page, warm, {})


_once()
