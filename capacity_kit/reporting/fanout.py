"""Many reports at once: each in a process of its own, forked from one that has everything imported.

A worker makes one report and ends: it checks, renders and publishes. The notebook's cells run in yet another process,
forked from the worker, where nothing of publishing is: it may hang, print without end, take too much memory or be
killed, and the worker still publishes how far it came. A worker ends with the process that asked for the report, and
all that the cells started with their worker, so nothing goes on that nobody waits for.
"""

from __future__ import annotations

import base64
import builtins
import copy
import ctypes
import json
import multiprocessing
import os
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, NoReturn

import nbformat
import psutil
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from nbformat import NotebookNode
from papermill.parameterize import parameterize_notebook
from traitlets import Type
from traitlets.config import Config

from capacity_kit import settings, units
from capacity_kit.errors import CapacityError
from capacity_kit.reporting import confine, pdf, run
from capacity_kit.reporting.parameters import Value
from capacity_kit.reporting.result import Failure
from capacity_kit.reporting.run import Progress
from capacity_kit.settings import Settings
from capacity_kit.vault import connection

if sys.platform != "win32":
    import fcntl
    import resource
    import select
    from multiprocessing import forkserver, resource_tracker

TOO_LONG: Final = "The run took longer than it may, and was ended"
"""What is said of a worker that did not end by itself."""

GRACE: Final = 120.0
"""Seconds that rendering and publishing may take after a run's time-out; then its worker is killed."""

_PATIENCE: Final = 5.0
"""Seconds that a cell has for ending by itself when its time is over; then its process is killed."""

_TEXT: Final = 1 << 20
"""Characters of text that are kept of one cell."""

_SHOWN: Final = 32 << 20
"""Characters of displayed data that are kept of one cell."""

_FILE: Final = 1 << 30
"""Bytes of the largest file that a notebook may write."""

_OPEN: Final = 1024
"""Files that a notebook may have open."""

_MESSAGE: Final = 256 << 20
"""Bytes of the longest message about a cell: what is kept of one, and its escapes."""

_OUTPUTS: Final = {
    "stream": ("name", "text"),
    "display_data": ("data", "metadata"),
    "execute_result": ("data", "metadata", "execution_count"),
    "error": ("ename", "evalue", "traceback"),
}
"""What each kind of output consists of."""


@dataclass(frozen=True)
class Job:
    """A report to be made.

    Attributes
    ----------
    notebook : str
        As `capacity_kit.reporting.run.run` takes it.
    parameters : mapping
        The notebook's.
    settings : Settings
        Where to publish, as of when.
    dsn : str or None
        The database: without a password, as `capacity_kit.vault.broker` lends it.
    run_timeout, cell_timeout : int
        Seconds.
    memory : int
        Bytes that the notebook may take.
    environment : mapping
        What the worker has of the caller's environment: what reports need, and no secret.
    site_url : str or None
        Where readers find the site.
    hidden : tuple of Path
        Files with secrets, which the notebook cannot read.
    tells : bool
        Whether the worker tells how far it is.
    pdf : bool
        Whether the page is printed as PDF too.
    """

    notebook: str
    parameters: Mapping[str, Any]
    settings: Settings = field(repr=False)
    dsn: str | None = field(repr=False)
    run_timeout: int = 1800
    cell_timeout: int = 600
    memory: int = 2 << 30
    environment: Mapping[str, str] = field(default_factory=lambda: run.needed(os.environ), repr=False)
    site_url: str | None = None
    hidden: tuple[Path, ...] = ()
    tells: bool = False
    pdf: bool = False


def secret_files() -> tuple[Path, ...]:
    """The file with the channels' addresses, where there is one."""
    file = settings.load().channels
    return (file,) if file is not None else ()


class Worker:
    """A process that makes one report."""

    def __init__(self, process: BaseProcess, answers: Connection, deadline: float) -> None:
        self.answers = answers
        """Ready when the report is made, or the process gone."""
        self.deadline = deadline
        self._process = process

    def result(self) -> dict[str, Any]:
        """What came of it: ``place`` and ``result``, perhaps ``not printed``; or ``error``.

        Of a worker that tells how far it is, also that: ``at``, ``of`` and ``section``.
        """
        try:
            found: dict[str, Any] = json.loads(self.answers.recv_bytes())
            if "at" in found:
                return found
        except (EOFError, OSError):
            self._process.join(5)
            code = self._process.exitcode
            how = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
            found = {"error": f"The process that made the report ended {how}"}
        self.end()
        return found

    def end(self) -> None:
        """Make sure that neither it nor what it started goes on."""
        self._process.join(1)
        for end in (self._process.terminate, self._process.kill):  # asked to, it takes along what it started
            if self._process.is_alive():
                end()
                self._process.join(5)
        self.answers.close()


class Workers:
    """Starts workers, all forked from one process that has everything imported."""

    def __init__(self) -> None:
        self._context: Any = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
        if sys.platform != "win32":
            self._context.set_forkserver_preload(["capacity_kit.reporting.warm"])

    def start(
        self, job: Job, secrets: Mapping[str, str] | None = None, passwords: Iterable[str] = ()
    ) -> Worker:
        """Begin to make a report.

        Parameters
        ----------
        job : Job
            Which.
        secrets : mapping, optional
            What must not be published, from `capacity_kit.reporting.scan.known`. The worker takes it in when the
            notebook has ended, and the notebook's process has no way to it.
        passwords : iterable of str
            What is blotted out of what is published, in the same way: too short to hold a report back.
        """
        if sys.platform != "win32":
            with _environment(
                run.needed(os.environ)
            ):  # for good: /proc shows what a process was started with
                forkserver.ensure_running()
        answers, telling = self._context.Pipe(duplex=True)
        process = self._context.Process(target=_work, args=(telling, job), daemon=True)
        process.start()
        telling.close()
        with suppress(OSError):  # it is gone already: there is nothing to keep from anybody
            answers.send_bytes(
                json.dumps({"secrets": dict(secrets or {}), "passwords": list(passwords)}).encode()
            )
        return Worker(process, answers, time.monotonic() + job.run_timeout + GRACE)


def made(
    jobs: Sequence[Job],
    secrets: Mapping[str, str],
    passwords: Iterable[str] = (),
    *,
    count: int | None = None,
    tell: Callable[[int, int, int, str], None] | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Make reports, several at a time.

    Parameters
    ----------
    jobs : sequence of Job
        Which.
    secrets, passwords
        As `Workers.start` takes them.
    count : int, optional
        How many at a time; default: one a processor.
    tell : callable, optional
        Told of each job that ``tells``: its number, cells done, cells in all, and the section.

    Yields
    ------
    int, dict
        A job's number, and what came of it, as each ends; see `Worker.result`.
    """
    workers = Workers()
    words = list(passwords)
    left = list(enumerate(jobs))
    active: dict[Connection, tuple[int, Worker]] = {}
    try:
        while left or active:
            while left and len(active) < (count or os.cpu_count() or 1):
                number, job = left.pop(0)
                worker = workers.start(job, secrets, words)
                active[worker.answers] = number, worker
            nearest = min(worker.deadline for _, worker in active.values())
            for answers in wait(list(active), max(0.0, nearest - time.monotonic())):
                number, worker = active[answers]  # type: ignore[index]
                came = worker.result()
                if "at" not in came:
                    del active[answers]  # type: ignore[arg-type]
                    yield number, came
                elif tell:
                    tell(number, came["at"], came["of"], came["section"])
            for answers, (number, worker) in list(active.items()):
                if worker.deadline <= time.monotonic():
                    del active[answers]
                    worker.end()
                    yield number, {"error": TOO_LONG}
    finally:
        for _, worker in active.values():
            worker.end()


def _die_with_parent(by: signal.Signals) -> None:
    """Have the system send this process a signal when the one that forked it ends."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(1, by)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


def _end_with(asking: int) -> None:
    """End this process with all below it when it is told to, and when the other end of a socket is gone."""
    if sys.platform == "linux":

        def heard(*_: Any) -> None:
            gone = select.poll()
            gone.register(asking, 0)
            if gone.poll(0):
                _end()

        signal.signal(signal.SIGTERM, _end)
        signal.signal(signal.SIGIO, heard)
        fcntl.fcntl(asking, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(asking, fcntl.F_SETFL, fcntl.fcntl(asking, fcntl.F_GETFL) | os.O_ASYNC)
        heard()  # it may have been gone before


def _end(*_: Any) -> NoReturn:
    _end_below()
    os._exit(1)


def _end_below() -> None:
    """End whatever this process started and what that started, in whichever session it is."""
    while left := psutil.Process().children(recursive=True):
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)


def _work(telling: Connection, job: Job) -> None:
    """Make one report, and tell what came of it. The whole life of a worker."""
    _adopt_orphans()
    _die_with_parent(signal.SIGTERM)
    _end_with(telling.fileno())
    os.environ.clear()  # the process that this one was forked from may be older than what it says
    os.environ.update(job.environment)
    try:
        done = run.run(
            job.notebook,
            job.parameters,
            settings=job.settings,
            dsn=job.dsn,
            cell_timeout=job.cell_timeout,
            progress=partial(_tell, telling) if job.tells else None,
            execute=None if sys.platform == "win32" else partial(_cells, job),
            secrets=partial(_secrets, telling),
            site_url=job.site_url,
            confinement=confine.in_words(),
        )
        place = done.page.parent.relative_to(job.settings.site).as_posix()
        answer = {"place": place, "result": json.loads(done.result.to_json()), **_printed(done.page, job.pdf)}
    except CapacityError as error:
        answer = {"error": str(error), "message": error.message, "hint": error.hint, "code": error.exit_code}
    except Exception as error:  # noqa: BLE001 -- whatever it was, it is this report's failure and no other's
        answer = {"error": f"{type(error).__name__}: {error}"}
    for said in ("error", "message", "hint", "not printed"):
        if said in answer:
            answer[said] = connection.redact_all(answer[said])
    telling.send_bytes(json.dumps(answer).encode())
    telling.close()


def _printed(page: Path, is_asked_for: bool) -> dict[str, str]:
    """Print a page, or take away what was printed of the one before it; why it was not, if it was not."""
    try:
        if is_asked_for:
            pdf.write(page)
        else:
            page.with_name(pdf.NAME).unlink(missing_ok=True)
    except CapacityError as error:
        return {"not printed": error.message, "hint": error.hint}
    return {}


def _tell(telling: Connection, at: int, of: int, section: str) -> None:
    with suppress(OSError):  # nobody listens any more
        telling.send_bytes(json.dumps({"at": at, "of": of, "section": section}).encode())


def _secrets(telling: Connection) -> dict[str, str]:
    """Take in what must not be published: after the notebook has ended, and not before."""
    told = json.loads(telling.recv_bytes())
    connection.keep_secret(*told["passwords"])
    return dict(told["secrets"])


def _adopt_orphans() -> None:
    """Have what the cells start become this process's own when they end, so that it ends too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def _cells(job: Job, *given: Any) -> tuple[NotebookNode, Failure | None]:
    """Run the cells, and end whatever they started, in whichever session it is."""
    try:
        return forked(*given, run_timeout=job.run_timeout, memory=job.memory, hidden=job.hidden)
    finally:
        _end_below()


def forked(
    node: NotebookNode,
    name: str,
    values: Mapping[str, Value],
    environment: Mapping[str, str],
    cell_timeout: int,
    progress: Progress | None,
    *,
    run_timeout: int = 1800,
    memory: int = 2 << 30,
    hidden: Sequence[Path] = (),
) -> tuple[NotebookNode, Failure | None]:
    """Run a notebook's cells in a process forked from this one, with IPython but without a kernel's start.

    Parameters
    ----------
    node, name, values, environment, cell_timeout, progress
        As `capacity_kit.reporting.run.run` hands them on. Of the environment the cells get what they need only.
    run_timeout : int
        Seconds for all cells.
    memory : int
        Bytes of data that their process may hold.
    hidden : sequence of Path
        Files that they cannot read.

    Returns
    -------
    tuple
        The notebook, of a failed one up to the cell that failed; and where it failed if it did.
    """
    executed = copy.deepcopy(node)
    executed.metadata.setdefault("papermill", {})
    for cell in executed.cells:
        cell.metadata.setdefault("tags", [])  # as papermill's own loading leaves it
    executed = parameterize_notebook(  # type: ignore[no-untyped-call]
        executed, dict(values), kernel_name="python3", language="python", engine_name=None
    )
    at, failure = 0, None
    with tempfile.TemporaryDirectory(prefix="capacity-report-") as scratch:
        receiving, sending = multiprocessing.Pipe(duplex=False)
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            _live(executed, sending, Path(scratch), environment, cell_timeout, memory, hidden)
        sending.close()
        end = time.monotonic() + run_timeout
        patience, heard = end, bytearray()
        try:
            while True:
                told = _next(receiving.fileno(), heard, min(end, patience))
                if told is None:
                    over = "run" if time.monotonic() >= end else "cell"
                    limit = run_timeout if over == "run" else cell_timeout
                    failure = f"TimeoutError: the {over} took longer than {limit} seconds, and was ended"
                    break
                if told.get("over"):
                    break
                at = told["cell"]
                cell = executed.cells[at]
                if "outputs" not in told:
                    patience = time.monotonic() + cell_timeout + _PATIENCE
                    if progress:
                        progress(at, len(executed.cells), run.section(executed, at))
                    continue
                cell.outputs = [_output(output) for output in told["outputs"]]
                cell.execution_count = int(told["count"])
        except EOFError:
            failure = "DeadKernelError: the process that ran the notebook ended without a word"
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            failure = "DeadKernelError: the process that ran the notebook said what is none of its messages"
        finally:
            receiving.close()
            _kill(child)
    return run.concluded(executed, name, at, failure)


def _next(receiving: int, heard: bytearray, until: float) -> dict[str, Any] | None:
    """The next message of the cells' process, which may be anything; None when it is not whole by `until`.

    Parameters
    ----------
    receiving : int
        The descriptor it comes from: a `Connection` would wait for the rest of a message, however long.
    heard : bytearray
        What was read so far and is no whole message yet.
    until : float
        By the monotonic clock.

    Raises
    ------
    EOFError
        If there will be none.
    ValueError, RecursionError
        If it is none.
    """
    while True:
        if len(heard) >= 4:
            (size,) = struct.unpack_from("!i", heard)
            if not 0 <= size <= _MESSAGE:
                raise ValueError("a message of no such length")
            if len(heard) >= 4 + size:
                told: dict[str, Any] = json.loads(heard[4 : 4 + size])
                del heard[: 4 + size]
                return told
        left = until - time.monotonic()
        if left <= 0 or not wait([receiving], left):
            return None
        block = os.read(receiving, 1 << 20)
        if not block:
            raise EOFError
        heard += block


def _output(told: Mapping[str, Any]) -> NotebookNode:
    """An output of a cell, with what its kind has and nothing else."""
    kind = told["output_type"]
    found: NotebookNode = nbformat.from_dict(  # type: ignore[no-untyped-call]
        {"output_type": kind, **{name: told[name] for name in _OUTPUTS[kind]}}
    )
    return found


@contextmanager
def _environment(stated: Mapping[str, str]) -> Iterator[None]:
    """Have this process's environment be another one for a moment."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(stated)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _kill(child: int) -> None:
    """End a process and all that it started, and take its end in."""
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue
        except PermissionError:
            continue
    os.waitpid(child, 0)


class CellTimeoutError(BaseException):
    """A cell took longer than it may. No notebook's ``except Exception`` catches it."""


class _Outputs:
    """What a cell gives out, in order, in the notebook format."""

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, count: int) -> None:
        self.kept: list[dict[str, Any]] = []
        self.count = count
        self._text, self._dropped, self._shown = 0, 0, 0

    def stream(self, name: str, text: str) -> None:
        room = max(0, _TEXT - self._text)
        self._text += len(text)
        self._dropped += max(0, len(text) - room)
        text = text[:room]
        if not text:
            return
        if self.kept and self.kept[-1]["output_type"] == "stream" and self.kept[-1]["name"] == name:
            self.kept[-1]["text"] += text
        else:
            self.kept.append({"output_type": "stream", "name": name, "text": text})

    def data(self, kind: str, data: Mapping[str, Any], metadata: Mapping[str, Any] | None) -> None:
        packed = {
            mime: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for mime, value in data.items()
        }
        self._shown += sum(len(value) for value in packed.values() if isinstance(value, str))
        if self._shown > _SHOWN:
            packed, metadata = {"text/plain": "What this cell shows beyond 32 MB is left out."}, {}
        output: dict[str, Any] = {"output_type": kind, "data": packed, "metadata": dict(metadata or {})}
        if kind == "execute_result":
            output["execution_count"] = self.count
        self.kept.append(output)

    def error(self, name: str, value: str, traceback: list[str]) -> None:
        self.kept.append(
            {"output_type": "error", "ename": name, "evalue": value[:_TEXT], "traceback": traceback}
        )

    def finish(self) -> list[dict[str, Any]]:
        if self._dropped:
            note = f"\n{units.number(self._dropped)} more characters are left out.\n"
            self.kept.append({"output_type": "stream", "name": "stderr", "text": note})
        return self.kept


_outputs = _Outputs()


class _Publisher(DisplayPublisher):
    def publish(  # type: ignore[override]
        self, data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        _outputs.data("display_data", data, metadata)

    def clear_output(self, wait: bool = False) -> None:
        _outputs.kept.clear()


class _Hook(DisplayHook):
    def write_output_prompt(self) -> None:
        return

    def write_format_data(
        self, format_dict: Mapping[str, Any], md_dict: Mapping[str, Any] | None = None
    ) -> None:
        _outputs.data("execute_result", format_dict, md_dict)

    def finish_displayhook(self) -> None:
        return


class _Shell(InteractiveShell):
    display_pub_class = Type(_Publisher)
    displayhook_class = Type(_Hook)

    def enable_gui(self, gui: Any = None) -> None:
        return

    def _showtraceback(self, etype: type[BaseException], evalue: BaseException, stb: list[str]) -> None:
        _outputs.error(etype.__name__, str(evalue), list(stb))


class _Stream:
    """sys.stdout and sys.stderr of the cells."""

    encoding, errors = "utf-8", "replace"

    def __init__(self, name: str) -> None:
        self.name = name

    def write(self, text: str) -> int:
        _outputs.stream(self.name, str(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        return

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1 if self.name == "stdout" else 2


def _live(
    executed: NotebookNode,
    telling: Connection,
    scratch: Path,
    environment: Mapping[str, str],
    cell_timeout: int,
    memory: int,
    hidden: Sequence[Path],
) -> NoReturn:
    """Run the cells one by one and tell of each; the whole life of the process that they run in."""
    code = 1
    try:
        os.setsid()
        for sent in (signal.SIGTERM, signal.SIGIO):  # they are the worker's
            signal.signal(sent, signal.SIG_DFL)
        _die_with_parent(signal.SIGKILL)
        os.environ.clear()
        os.environ.update({**run.needed(environment), **_asked(environment), **run.at_home(scratch)})
        tempfile.tempdir = None
        os.chdir(scratch)
        said = _redirect(scratch / ".said")
        _keep_open(telling.fileno(), said)
        limits = (
            (resource.RLIMIT_DATA, memory),
            (resource.RLIMIT_FSIZE, _FILE),
            (resource.RLIMIT_NOFILE, _OPEN),
        )
        for what, limit in limits:
            _, hard = resource.getrlimit(what)
            allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(what, (allowed, hard))
        confine.confine(scratch, hidden)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, _over)
        shell = _shell(scratch)
        for number, cell in enumerate(executed.cells):
            telling.send_bytes(json.dumps({"cell": number}).encode())
            if cell.cell_type != "code" or not cell.source.strip():
                continue
            failed = _cell(shell, cell.source, cell_timeout)
            told = os.read(said, _TEXT)
            os.lseek(said, 0, os.SEEK_END)
            if told:
                _outputs.stream("stdout", told.decode(errors="replace"))
            outputs = _outputs.finish()
            answer = {"cell": number, "outputs": outputs, "count": _outputs.count}
            telling.send_bytes(json.dumps(answer, default=str).encode())
            if failed:
                break
        telling.send_bytes(json.dumps({"over": True}).encode())
        code = 0
    finally:
        os._exit(code)


def _asked(environment: Mapping[str, str]) -> dict[str, str]:
    """What a run tells its notebook."""
    names = ("CAPACITY_DSN", "CAPACITY_AS_OF", "CAPACITY_TIMEZONE")
    return {name: environment[name] for name in names if name in environment}


def _over(*_: Any) -> NoReturn:
    raise CellTimeoutError("the cell took longer than it may")


def _cell(shell: _Shell, source: str, timeout: int) -> bool:
    """Run one cell; whether it failed."""
    _outputs.begin(shell.execution_count)
    try:
        signal.setitimer(signal.ITIMER_REAL, timeout)
        ended = shell.run_cell(source, store_history=True)  # type: ignore[no-untyped-call]
        signal.setitimer(signal.ITIMER_REAL, 0)
        return not ended.success
    except CellTimeoutError as error:
        _outputs.error("CellTimeoutError", str(error), [])
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _redirect(file: Path) -> int:
    """Let what programs write past Python to standard output go to a file; a descriptor to read it from."""
    writing = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    reading = os.open(file, os.O_RDONLY)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(writing, 1)
    os.dup2(writing, 2)
    file.unlink()
    return reading


def _keep_open(*descriptors: int) -> None:
    """Close what this process was born with beyond these: the life line of what forks workers, for one."""
    for descriptor in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
        if descriptor > 2 and descriptor not in descriptors:
            with suppress(OSError):
                os.close(descriptor)
    resource_tracker._resource_tracker._fd = None  # type: ignore[attr-defined] # the cells start their own


def _shell(scratch: Path) -> _Shell:
    """A shell as a kernel has one, without history and without the user's start-up files."""
    config = Config({"HistoryManager": {"enabled": False}, "InteractiveShell": {"cache_size": 0}})
    home = scratch / ".ipython"
    home.mkdir()
    InteractiveShell.clear_instance()
    shell: _Shell = _Shell.instance(config=config, ipython_dir=str(home))
    builtins.input = _no_input
    sys.stdout, sys.stderr = _Stream("stdout"), _Stream("stderr")
    import matplotlib as mpl
    from matplotlib_inline.backend_inline import configure_inline_support

    mpl.use("module://matplotlib_inline.backend_inline")
    configure_inline_support(shell, "inline")  # type: ignore[no-untyped-call]
    return shell


def _no_input(*_: Any) -> NoReturn:
    raise EOFError("a report has nobody to ask")
