"""A server that really grows, held against what was captured of it. The long version is the script itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "pgbench_growth.py"


@pytest.mark.slow
def test_what_is_captured_under_load_is_what_the_server_says(empty):
    if not SCRIPT.exists():
        pytest.skip("the benchmarks are not installed")
    options = ["--dsn", empty.dsn, "--seconds", "6", "--every", "1", "--rate", "300"]
    done = subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    told = json.loads(done.stdout)
    assert told["agrees"], told
    assert told["captures"] >= 5
    assert told["transactions_pgbench"] > 1000
