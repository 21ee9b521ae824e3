import json
import subprocess
import sys
import time

import pytest

from capacity_kit.analysis import run
from capacity_kit.errors import CapacityError


def dry(database, **options):
    with database.vault() as store:
        done = list(run.analyse(store, as_of="2026-11-01", size=8, dry_run=True, **options))
    return [record for d in done for record in d.records]


def test_a_cluster_of_this_machine_says_what_this_process_says(dask_cluster, many, close):
    with dask_cluster(2) as over:
        found = dry(many, over=over)
    assert len(found) == 40
    assert close(found, dry(many))


@pytest.fixture
def scheduler(tmp_path):
    """The address of a scheduler in a process of its own, with one worker in another."""
    contact = tmp_path / "scheduler.json"
    common = ["--scheduler-file", str(contact), "--no-dashboard", "--interface", "lo"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    commands = [["scheduler", "--port", "0"], ["worker", "--nthreads", "1", "--no-nanny"]]
    running = []
    try:
        for command in commands:
            running.append(subprocess.Popen([sys.executable, "-m", "dask", *command, *common], **quiet))
            for _ in range(600):
                if contact.exists():
                    break
                time.sleep(0.1)
        yield json.loads(contact.read_text())["address"]
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()


def test_a_scheduler_by_its_address(dask_cluster, scheduler, many, close):
    with dask_cluster(1, scheduler) as over:
        found = dry(many, over=over)
    assert close(found, dry(many))


def test_a_cluster_that_cannot_be_reached_is_said(dask_cluster):
    for address in ("tcp://127.0.0.1:1", "nonsense"):
        with pytest.raises(CapacityError, match="cannot be reached"), dask_cluster(1, address):
            pass
    with pytest.raises(CapacityError, match="at least one worker"), dask_cluster(0):
        pass
