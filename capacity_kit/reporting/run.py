"""Run a notebook and publish what it shows: whole, or up to where it failed, with the failure on top."""

from __future__ import annotations

import copy
import logging
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import matplotlib as mpl
import nbformat
import pandas as pd
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.execute import execute_notebook

from capacity_kit import resources, units, vault
from capacity_kit.errors import CapacityError
from capacity_kit.reporting import changes, index, parameters, render, scan, site
from capacity_kit.reporting.parameters import Parameter, Value
from capacity_kit.reporting.result import Failure, Result, published_in, sql_digests
from capacity_kit.settings import Settings
from capacity_kit.vault import broker, connection, deploy

Progress = Callable[[int, int, str], None]
"""Called with cells done, cells in all, and the section being worked on."""

Execute = Callable[
    [NotebookNode, str, Mapping[str, Value], dict[str, str], int, Progress | None],
    tuple[NotebookNode, Failure | None],
]
"""Runs a notebook: given it, its name, parameters, environment, seconds a cell may take, and whom to tell how far it
is; gives its state at the end, and where it failed if it did. See `concluded`."""

_BEYOND: Final = "; not by the database, whose role may use files and programs of its host"
"""What a report says of its walls where SQL leads around them."""

_ENGINE: Final = "capacity"
_INJECTED: Final = "injected-parameters"
"""The tag of the one cell that is not its author's, who counts without it."""
_MARKERS: Final = frozenset({"papermill-error-cell-tag"})

_NEEDED: Final = (
    "PATH", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHASHSEED",
    "LD_LIBRARY_PATH", "CAPACITY_HOME", "CAPACITY_HOST_METRICS", "CAPACITY_PG15_BIN", "CAPACITY_BROWSER",
    "PGTZ", "PGDATESTYLE", "PGAPPNAME", "PGCONNECT_TIMEOUT",
    "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "PROGRAMDATA", "PROGRAMFILES",
)  # fmt: skip
_NEEDED_FAMILIES: Final = ("LC_", "OMP_", "OPENBLAS_", "MKL_", "MPL")


def needed(environment: Mapping[str, str]) -> dict[str, str]:
    """What of an environment a notebook gets: no address, password or token, nor where one is."""
    return {
        name: value
        for name, value in environment.items()
        if name in _NEEDED or name.startswith(_NEEDED_FAMILIES)
    }


def at_home(folder: Path) -> dict[str, str]:
    """What makes a folder the place where a notebook's programs leave what they leave."""
    names = ("HOME", "TMPDIR", "TEMP", "TMP", "USERPROFILE", "APPDATA", "LOCALAPPDATA")
    return dict.fromkeys(names, str(folder))


class Published(NamedTuple):
    """A report that is there now.

    Attributes
    ----------
    page : Path
        Its HTML page.
    result : Result
        What it found; ``result.exit_code`` is what a command should exit with.
    """

    page: Path
    result: Result


def available() -> dict[str, list[Parameter]]:
    """The notebooks that come with the kit, each with its parameters."""
    files = sorted(resources.path("notebooks").glob("*.ipynb"))
    return {file.stem: declared_by(file) for file in files}


def run(
    notebook: str,
    given: Mapping[str, Any] | None = None,
    *,
    settings: Settings,
    dsn: str | None = None,
    cell_timeout: int = 600,
    progress: Progress | None = None,
    execute: Execute | None = None,
    secrets: Callable[[], Mapping[str, str]] | None = None,
    site_url: str | None = None,
    confinement: str = "none: run in a kernel",
) -> Published:
    """Run a notebook with papermill and publish it to ``settings.site``.

    Parameters
    ----------
    notebook : str
        The name of one that comes with the kit, or a path to an ``.ipynb`` file.
    given : mapping, optional
        Parameters by name; text is read as the declared type.
    settings : Settings
        Where to publish, as of when, in which time zone.
    dsn : str, optional
        The database; see `capacity_kit.vault.open`. The notebook is given a connection without the password; see
        `capacity_kit.vault.broker`.
    cell_timeout : int
        Seconds that a cell may take.
    progress : callable, optional
        Told before each cell.
    execute : Execute, optional
        How the notebook is run; by papermill in a kernel of its own when left out.
    secrets : callable, optional
        Asked after the run: what else must not be published, as `capacity_kit.reporting.scan.known` gives it.
    site_url : str, optional
        Where readers find the site, for its feed; the site remembers it.
    confinement : str
        What keeps the notebook to its own folder where `execute` runs it, in words; the result says it.

    Returns
    -------
    Published
        Of a notebook that failed too: its result then says 'failed', and its exit code is not zero.

    Raises
    ------
    CapacityError
        If there is no such notebook, a parameter is unknown or ill-typed, the tenant or the resource type is
        unknown, no database answers, the site cannot be written, or what would be published holds what looks
        like a secret. Nothing is published then.
    """
    file = find(notebook)
    node = load(file)
    declared = parameters.declared(node, file.stem)
    values = parameters.checked(file.stem, declared, given or {})
    tenant = str(values.get("tenant", vault.ALL))
    as_of = _moment(values.get("as_of"), settings)
    if "as_of" in values:
        values["as_of"] = as_of.isoformat()
    with ExitStack() as borrowed:
        opened = borrowed.enter_context(vault.open(dsn))
        opened.require_deployed()
        _require_type(opened, str(values.get("resource_type", vault.ALL)))
        key, label = _named(opened, tenant)
        result = Result(
            verdict="failed",
            headline="",
            notebook=file.stem,
            title=render.title_of(node, file.stem),
            tenant=key,
            tenant_label=label,
            as_of=as_of.isoformat(),
            timezone=settings.timezone,
            parameters=values,
            versions={
                "capacity-kit": version("capacity-kit"),
                "schema": deploy.SCHEMA_VERSION,
                "PostgreSQL": opened.server.version.split(" ")[0],
                "Python": platform.python_version(),
                "confinement": confinement + (_BEYOND if opened.server.is_beyond_database else ""),
            },
            sql=sql_digests(),
        )
        loan = borrowed.enter_context(broker.lent(opened))
        opened.close()
        connection.keep_secret(loan.dsn, *loan.secrets)
        passwords = loan.secrets | connection.Target(opened.dsn, "argument").passwords
        named = {opened.server.database, opened.server.role}
        environment = _environment(loan.dsn, settings, as_of)
        executed, failure = (execute or _execute)(
            node, file.stem, values, environment, cell_timeout, progress
        )
    hidden = scan.known(passwords, named) | dict(secrets() if secrets else {})
    _hold_back(file.stem, scan.notebook(executed, hidden))
    _blot(executed)
    result = _conclude(result, executed, failure and Failure(**_without(vars(failure))))
    return _publish(settings.site, declared, executed, result, as_of, hidden, site_url)


def find(notebook: str) -> Path:
    """The file of a notebook given by name or path.

    Raises
    ------
    CapacityError
        If there is none; it names those that there are.
    """
    if notebook.endswith(".ipynb") and Path(notebook).is_file():
        return Path(notebook)
    files = {file.stem: file for file in resources.path("notebooks").glob("*.ipynb")}
    if notebook in files:
        return files[notebook]
    raise CapacityError(
        f"There is no notebook {notebook!r}", f"Choose {', '.join(sorted(files))}, or an .ipynb file."
    )


def declared_by(file: Path) -> list[Parameter]:
    """The parameters of a notebook file."""
    return parameters.declared(load(file), file.stem)


def load(file: Path) -> NotebookNode:
    """The notebook in a file.

    Raises
    ------
    CapacityError
        If it is none.
    """
    try:
        return nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call,no-any-return]
    except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
        raise CapacityError(
            f"{file} is no notebook that can be read: {str(error).splitlines()[0]}"
        ) from error


def _moment(given: Value, settings: Settings) -> datetime:
    if given is None:
        return settings.as_of or datetime.now(UTC).replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(str(given))
    except ValueError:
        raise CapacityError(
            f"as_of {given!r} is no time", "Write it as 2026-11-01 or 2026-11-01T06:00:00Z."
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _require_type(opened: vault.Vault, resource_type: str) -> None:
    known = list(opened.read("report_types")["resource_type"]) if resource_type != vault.ALL else []
    if resource_type != vault.ALL and resource_type not in known:
        hint = f"Known are: {', '.join([vault.ALL, *known])}"
        raise CapacityError(f"There is no resource type {resource_type!r}", hint)


def _named(opened: vault.Vault, tenant: str) -> tuple[str, str]:
    """A tenant's own key, and what to call it; ALL and SYSTEM as they are."""
    key = opened.tenant(tenant)
    if key is None:
        return tenant, "All tenants and the system" if tenant == vault.ALL else "The system as a whole"
    known = opened.tenants().set_index("tenant_hk").loc[key]
    name, business_key = known["tenant_name"], str(known["tenant_bk"])
    if units.missing(name) or name == business_key:
        return business_key, business_key
    return business_key, f"{name} ({business_key})"


def _environment(dsn: str, settings: Settings, as_of: datetime) -> dict[str, str]:
    return {
        **needed(os.environ),
        "CAPACITY_DSN": dsn,
        "CAPACITY_AS_OF": as_of.isoformat(),
        "CAPACITY_TIMEZONE": settings.timezone,
    }


class _Watch:
    """Follows a run: which cell it is at, and the notebook as far as it got."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.notebook: NotebookNode | None = None
        self.cell = 0

    def start(self, notebook: NotebookNode, cell: int) -> None:
        self.notebook, self.cell = notebook, cell
        if self._progress:
            self._progress(cell, len(notebook.cells), section(notebook, cell))


class _Client(PapermillNotebookClient):
    """papermill's client, telling where it is and giving the kernel its environment."""

    watch: _Watch
    environment: dict[str, str]

    def start_new_kernel(self, **kwargs: Any) -> None:
        assert self.km is not None
        if os.name == "posix":
            self.km.transport = "ipc"  # sockets that other accounts of this machine cannot listen to
        # What the notebook writes to stderr is among its outputs; the kernel's own log is nobody's reading.
        super().start_new_kernel(env=self.environment, stderr=subprocess.DEVNULL, **kwargs)

    def execute_cell(self, cell: NotebookNode, index: int, *args: Any, **kwargs: Any) -> Any:
        self.watch.start(self.nb, index)
        return super().execute_cell(cell, index, *args, **kwargs)


class _Engine(NBClientEngine):
    """papermill's engine with our client, so that a run can be followed and its environment is its own."""

    @classmethod
    def execute_managed_notebook(  # type: ignore[override]
        cls,
        nb_man: NotebookExecutionManager,
        kernel_name: str,
        *,
        watch: _Watch,
        environment: dict[str, str],
        execution_timeout: int,
        start_timeout: int = 60,
        **_: Any,
    ) -> None:
        client = _Client(  # type: ignore[no-untyped-call]
            nb_man, timeout=execution_timeout, startup_timeout=start_timeout, kernel_name=kernel_name
        )
        client.watch, client.environment = watch, environment
        watch.notebook = nb_man.nb
        client.execute()  # type: ignore[no-untyped-call]


papermill_engines.register(_ENGINE, _Engine)  # type: ignore[no-untyped-call]


def _execute(
    node: NotebookNode,
    name: str,
    values: Mapping[str, Value],
    environment: dict[str, str],
    cell_timeout: int,
    progress: Progress | None,
) -> tuple[NotebookNode, Failure | None]:
    """Run a notebook; its state at the end, and where it failed if it did. Judged by exceptions and outputs alone."""
    logging.getLogger("papermill").setLevel(logging.ERROR)
    watch = _Watch(progress)
    failure = None
    with tempfile.TemporaryDirectory(prefix="capacity-report-") as scratch:
        # Fonts were listed once already, below the home folder that this kernel is not given.
        environment = {"MPLCONFIGDIR": mpl.get_cachedir(), **environment, **at_home(Path(scratch))}
        try:
            execute_notebook(  # type: ignore[no-untyped-call]
                copy.deepcopy(node),
                None,
                parameters=dict(values),
                engine_name=_ENGINE,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                cwd=scratch,
                execution_timeout=cell_timeout,
                watch=watch,
                environment=environment,
            )
        except PapermillExecutionError as error:
            failure = f"{error.ename}: {error.evalue}"
        except Exception as error:  # noqa: BLE001 -- a kernel may die in any way; each is this report's failure
            failure = f"{type(error).__name__}: {_first_line(error)}"
    executed, failed = concluded(watch.notebook or copy.deepcopy(node), name, watch.cell, failure)
    if failed is None and progress:
        progress(len(executed.cells), len(executed.cells), "")
    return executed, failed


def concluded(
    executed: NotebookNode, name: str, cell: int, failure: str | None
) -> tuple[NotebookNode, Failure | None]:
    """A notebook as it is shown: whole, or up to the cell that failed, and then where and why.

    Parameters
    ----------
    executed : NotebookNode
        As far as it got.
    name : str
        What it is called.
    cell : int
        The cell that was worked on last.
    failure : str, optional
        What went wrong, where not an output says so.
    """
    executed.cells = [c for c in executed.cells if not _MARKERS & set(c.metadata.get("tags", []))]
    stopped = next((i for i, c in enumerate(executed.cells) if _error(c)), None)
    if failure is None and stopped is None:
        return executed, None
    at = cell if stopped is None else stopped
    said = failure or _error(executed.cells[at]) or "the notebook failed"
    executed.cells = executed.cells[: at + 1]
    own = sum(_INJECTED not in cell.metadata.get("tags", []) for cell in executed.cells[: at + 1])
    return executed, Failure(name, own, section(executed, at), units.plain(said, 600))


def _error(cell: NotebookNode) -> str | None:
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            return f"{output.ename}: {output.evalue}"
    return None


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), "no message")


def section(notebook: NotebookNode, cell: int) -> str:
    """The heading under which a cell stands."""
    for earlier in reversed(notebook.cells[: cell + 1]):
        if earlier.cell_type == "markdown":
            headings = [
                line.lstrip("# ").strip() for line in earlier.source.splitlines() if line.startswith("#")
            ]
            if headings:
                return str(headings[-1])
    return ""


def _hold_back(name: str, leak: scan.Leak | None) -> None:
    """Refuse to publish what holds a secret."""
    if leak is not None:
        raise CapacityError(
            f"The report {name} is held back: {leak}",
            "Nothing of it was published; take it out of the notebook.",
        )


def _blot(executed: NotebookNode) -> None:
    """Blot every secret out of what the cells said; not out of the notebook's own structure."""
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            for part in ("text", "data", "metadata", "evalue", "traceback"):
                if part in output:
                    output[part] = _without(output[part])


def _without(found: Any) -> Any:
    """`found` with every secret in its texts blotted out."""
    if isinstance(found, str):
        return connection.redact_all(found)
    if isinstance(found, dict):
        cleaned = {key: _without(value) for key, value in found.items()}
        return NotebookNode(cleaned) if isinstance(found, NotebookNode) else cleaned  # type: ignore[no-untyped-call]
    if isinstance(found, list | tuple):
        return [_without(value) for value in found]
    return found


def _conclude(result: Result, executed: NotebookNode, failure: Failure | None) -> Result:
    """`result` with what the notebook published, or with its failure: what it published may be no result."""
    found = None
    try:
        found = published_in(executed)
        wrong = "the notebook ended without publishing a result" if found is None else None
    except (KeyError, TypeError, ValueError) as error:
        wrong = f"what the notebook published is no result: {units.plain(str(error), 200)}"
    if failure is None and found is not None:
        complete = replace(
            result,
            verdict=found.verdict,
            headline=found.headline,
            kpis=found.kpis,
            data_as_of=found.data_as_of,
            measured_until=found.measured_until,
            simulated=found.simulated,
            runway=found.runway,
            runway_left_out=found.runway_left_out,
            sql={**result.sql, **found.sql},
        )
        complaint = complete.complaint()
        if complaint is None:
            return complete
        wrong = f"what the notebook published is no result: {complaint}"
    failure = failure or Failure(result.notebook, None, "", str(wrong))
    return replace(result, verdict="failed", headline=f"Failed: {failure.error}", failure=failure)


def _publish(
    root: Path,
    declared: list[Parameter],
    executed: NotebookNode,
    result: Result,
    as_of: datetime,
    hidden: Mapping[str, str],
    site_url: str | None,
) -> Published:
    defaults = {p.name: p.default for p in declared}
    others = {k: v for k, v in result.parameters.items() if k not in ("tenant", "as_of") and v != defaults[k]}
    place = site.folder(result.notebook, result.tenant, pd.Timestamp(as_of).to_pydatetime(), others)
    result = changes.compared(result, changes.before(root / place.parent, result))
    files = {
        "notebook.ipynb": nbformat.writes(executed),  # type: ignore[no-untyped-call]
        "index.html": render.page(executed, result, {p.name: p.description for p in declared}),
        "result.json": result.to_json(),
    }
    for shown in ("index.html", "result.json"):
        _hold_back(result.notebook, scan.page(files[shown], hidden))
    with site.locked(root):
        site.put(root, place, files)
        index.write(root, site_url)
    return Published(root / place / "index.html", result)
