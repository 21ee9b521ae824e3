"""Cells in a forked process: as a kernel would run them, and whatever a notebook does, its report comes out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from papermill.execute import execute_notebook

from capacity_kit.reporting import fanout
from capacity_kit.settings import load

PARAMETERS = 'days: int = 30  # days\ntenant: str = "ALL"  # whose\n'


def notebook(*sources):
    cells = [
        new_markdown_cell("# Trial"),
        new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        new_markdown_cell("## Section one"),
        *(new_code_cell(source) for source in sources),
    ]
    return new_notebook(cells=cells)


def forked(*sources, cell=20, environment=None, **options):
    values = {"days": 14, "tenant": "a"}
    return fanout.forked(
        notebook(*sources),
        "trial",
        values,
        environment or dict(os.environ),
        cell,
        None,
        **options,
    )


def outputs(executed):
    return [output for cell in executed.cells for output in cell.get("outputs", [])]


def said(executed):
    return "".join(output.get("text", "") for output in outputs(executed))


SHOWN = """
import sys
from IPython.display import display, HTML
print("one"); print("two"); print("three", file=sys.stderr)
display(HTML("<b>four</b>")); display({"image/png": b"\\x89PNG", "text/plain": "five"}, raw=True)
{"days": days, "tenant": tenant}
"""
PLOT = """
import matplotlib.pyplot as plt
plt.plot([1, 2]); plt.title("T")
plt.show()
"""


def test_outputs_are_those_of_a_kernel(tmp_path):
    ours, failure = forked(SHOWN, PLOT, "import pandas as pd; pd.DataFrame({'a': [1]})", "_x = 3; _x")
    assert failure is None
    file = tmp_path / "trial.ipynb"
    nbformat.write(notebook(SHOWN, PLOT, "import pandas as pd; pd.DataFrame({'a': [1]})", "_x = 3; _x"), file)
    theirs = execute_notebook(
        file,
        None,
        parameters={"days": 14, "tenant": "a"},
        kernel_name="python3",
        language="python",
        progress_bar=False,
    )
    assert [c.source for c in ours.cells] == [c.source for c in theirs.cells]
    for mine, kernels in zip(ours.cells, theirs.cells, strict=True):
        assert shape(mine) == shape(kernels)


def shape(cell):
    """What a cell shows, but for the pixels of pictures and for addresses."""
    return [
        {
            "type": output.output_type,
            "text": output.get("text"),
            "count": output.get("execution_count"),
            "data": {
                mime: None if mime == "image/png" or " at 0x" in str(value) else value
                for mime, value in output.get("data", {}).items()
            },
        }
        for output in cell.get("outputs", [])
    ]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("1/0", "ZeroDivisionError: division by zero"),
        ("import os; os._exit(3)", "DeadKernelError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "DeadKernelError"),
        ("while True: pass", "CellTimeoutError"),
        ("try:\n    import time; time.sleep(60)\nexcept Exception: pass", "CellTimeoutError"),
        ("x = bytearray(600 << 20)", "MemoryError"),
        ("input('who?')", "EOFError: a report has nobody to ask"),
        ("fs = [open('/dev/null') for _ in range(10**7)]", "OSError: [Errno 24] Too many open files"),
    ],
)
def test_what_a_cell_may_do_is_a_failure_with_what_came_before(source, error):
    executed, failure = forked("print('kept')", source, "print('never')", cell=2, memory=512 << 20)
    assert failure.error.startswith(error)
    assert (failure.section, failure.cell) == (
        "Section one",
        5,
    )  # as its author counts, whose parameters alone stand before
    assert said(executed) == "kept\n"
    assert len(executed.cells) == 6


def test_a_cell_deaf_to_its_time_is_ended_with_all_that_it_started(monkeypatch, tmp_path):
    monkeypatch.setattr(fanout, "_PATIENCE", 1.0)
    deaf = "import signal, time, subprocess; signal.signal(signal.SIGALRM, signal.SIG_IGN)\n"
    mark = f"sleep 4{os.getpid()}"
    begin = time.monotonic()
    _, failure = forked(f"{deaf}subprocess.Popen({mark.split()!r}); time.sleep(60)", cell=1)
    assert time.monotonic() - begin < 20
    assert failure.error == "TimeoutError: the cell took longer than 1 seconds, and was ended"
    time.sleep(0.2)
    assert (
        mark not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    )


def test_a_run_has_its_time_too():
    _, failure = forked("import time; time.sleep(1)", "time.sleep(1)", "time.sleep(60)", run_timeout=3)
    assert failure.error == "TimeoutError: the run took longer than 3 seconds, and was ended"


TELLS = """
import gc, os, signal, struct, time
from multiprocessing.connection import Connection
signal.signal(signal.SIGALRM, signal.SIG_IGN)
(telling,) = [o for o in gc.get_objects() if isinstance(o, Connection) and not o.closed and o.writable]
def tell(said, size=None):
    os.write(telling.fileno(), struct.pack("!i", len(said) if size is None else size) + said)
"""


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("b'{', 100_000", "TimeoutError: the run took longer than 3 seconds, and was ended"),
        ("b'', -1", "DeadKernelError: the process that ran the notebook said what is none"),
        ("b'', 2**31 - 1", "DeadKernelError: the process that ran the notebook said what is none"),
        ("b'5'", "DeadKernelError: the process that ran the notebook said what is none"),
        ("b'[' * 60_000", "DeadKernelError: the process that ran the notebook said what is none"),
        ("b'{\"cell\": 99}'", "DeadKernelError: the process that ran the notebook said what is none"),
        (
            'b\'{"cell": 4, "count": 1, "outputs": [{"output_type": "odd"}]}\'',
            "DeadKernelError: the process that ran the notebook said what is none",
        ),
    ],
)
def test_whatever_the_cells_tell_of_themselves_it_is_their_failure(said, error):
    _, failure = forked("print('kept')", f"{TELLS}\ntell({said}); time.sleep(60)", run_timeout=3)
    assert failure.error.startswith(error)


def test_the_cells_have_no_descriptor_that_is_none_of_theirs():
    reading, writing = os.pipe()
    try:
        found, failure = forked(
            "import os\n"
            "for name in os.listdir('/proc/self/fd'):\n"
            "    try: print(os.readlink(f'/proc/self/fd/{name}'))\n"
            "    except OSError: pass",
            "import multiprocessing as m\nwith m.get_context('spawn').Pool(1) as pool: print(pool.map(abs, [-5]))",
        )
        assert failure is None
        assert os.readlink(f"/proc/self/fd/{reading}") not in said(found)  # noqa: PTH115
        assert said(found).count("pipe:") == 1
        assert "[5]" in said(found)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_hundred_megabytes_are_cut_and_the_cut_is_told():
    executed, failure = forked("for _ in range(100): print('x' * 1_000_000)")
    assert failure is None
    assert len(said(executed)) < 1_100_000
    assert said(executed).rstrip().endswith("more characters are left out.")


def test_what_is_written_past_python_is_kept():
    executed, _ = forked("import subprocess; _ = subprocess.run(['echo', 'from below'])")
    assert said(executed) == "from below\n"


def test_cells_work_in_a_folder_of_their_own_that_goes_away():
    executed, failure = forked("import os; open('litter', 'w').write('x'); print(os.getcwd())")
    assert failure is None
    assert not os.path.exists(said(executed).strip())  # noqa: PTH110
    assert os.path.realpath(said(executed).strip()) != os.path.realpath(os.getcwd())  # noqa: PTH109


def test_no_address_or_token_reaches_the_cells():
    secrets = {
        "CAPACITY_CHANNEL_SLACK": "slack://hush", "CAPACITY_CHANNELS": "/hush", "CAPACITY_HEARTBEAT_URL": "hush",
        "AWS_SECRET_ACCESS_KEY": "hush", "GITHUB_TOKEN": "hush",
        "PGPASSWORD": "hush", "PGPASSFILE": "hush", "PGSERVICEFILE": "hush", "XDG_CONFIG_HOME": "hush",
    }  # fmt: skip
    executed, _ = forked(
        "import os; print(dict(os.environ))", environment={**os.environ, **secrets, "CAPACITY_AS_OF": "5"}
    )
    assert "hush" not in said(executed)
    assert "'CAPACITY_AS_OF': '5'" in said(executed)
    job = fanout.Job("n", {}, load(), "host=h password=hush")
    assert "hush" not in repr(job)


def test_a_worker_dies_with_the_process_that_started_it():
    mark = f"6{os.getpid()}"
    source = f"import subprocess; subprocess.run(['sleep', '{mark}'])"
    program = (
        "import os\n"
        "from capacity_kit.reporting import fanout\n"
        "import nbformat.v4 as v4\n"
        "cells = [v4.new_code_cell('a: int = 1  # a', metadata={'tags': ['parameters']}), "
        f"v4.new_code_cell({source!r})]\n"
        "fanout.forked(v4.new_notebook(cells=cells), 't', {'a': 1}, dict(os.environ), 60, None)\n"
    )
    running = psutil.Popen([sys.executable, "-c", program])
    end = time.monotonic() + 60
    while time.monotonic() < end:  # the cell is at it as soon as its own child is there
        below = running.children(recursive=True)
        if any(mark in " ".join(process.cmdline()) for process in below):
            break
        time.sleep(0.05)
    (cells,) = running.children()
    running.kill()
    running.wait()
    end = time.monotonic() + 5
    while time.monotonic() < end and alive(cells.pid):
        time.sleep(0.05)
    assert not alive(cells.pid)
    for process in below:
        with suppress(psutil.Error):
            process.kill()


ASKED = """
import os, pickle, socket, sys
from multiprocessing import reduction
class Run:
    def __reduce__(self):
        return exec, (f"open({sys.argv[2]!r}, 'w').close()",)
asking = socket.socket(socket.AF_UNIX)
asking.connect(sys.argv[1])
if sys.argv[2]:
    (answers, telling), (reading, writing), nothing = os.pipe(), os.pipe(), os.open(os.devnull, os.O_RDWR)
    reduction.sendfds(asking, [reading, telling, nothing, nothing])
    os.write(writing, pickle.dumps({}) + pickle.dumps(Run()))
    os.close(telling)
    os.read(answers, 8), os.read(answers, 8)  # begun, ended
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it asks the kernel who is there")
def test_the_process_that_forks_workers_hears_its_parent_only(tmp_path):
    from multiprocessing import forkserver

    workers = fanout.Workers()
    workers.start(fanout.Job("none", {}, load(), None)).result()
    server = forkserver._forkserver
    before, written = server._forkserver_pid, tmp_path / "written"
    for wanted in ("", str(written)):  # one that hangs up, and one that wants a process without walls
        subprocess.run(
            [sys.executable, "-c", ASKED, server._forkserver_address, wanted],
            check=False, capture_output=True, timeout=20,
        )  # fmt: skip
    assert not written.exists()
    assert "no notebook" in workers.start(fanout.Job("none", {}, load(), None)).result()["error"].lower()
    assert server._forkserver_pid == before


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.strip().startswith("Z")
