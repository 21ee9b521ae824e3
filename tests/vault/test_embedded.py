import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from capacity_kit.errors import CapacityError
from capacity_kit.vault import embedded

FAST = {"fsync": "off"}


@pytest.fixture
def home():
    """A directory right below /tmp, which the server's account can reach."""
    path = Path(tempfile.mkdtemp(prefix="capacity-test-"))
    yield path
    embedded.down(path)
    shutil.rmtree(path)


def value(dsn, statement):
    with psycopg.connect(dsn) as connection:
        return connection.execute(statement).fetchone()[0]


def test_a_server_is_made_found_again_and_stopped(home):
    assert embedded.status(home).state == "absent"
    first = embedded.up(FAST, home)
    assert first.state == "running"
    assert value(first.dsn, "SELECT current_database()") == embedded.DATABASE
    assert embedded.up(FAST, home).pid == first.pid
    assert embedded.down(home) is True
    assert embedded.status(home).state == "stopped"
    assert embedded.down(home) is False


def test_it_listens_on_no_network_and_lets_only_its_account_in(home):
    found = embedded.up(FAST, home)
    assert value(found.dsn, "SHOW listen_addresses") == ""
    assert (home / "postgres").stat().st_mode & 0o077 == 0


def test_it_outlives_the_command_that_started_it_and_keeps_its_data(home):
    command = [sys.executable, "-m", "capacity_kit", "up"]
    environment = {**os.environ, "CAPACITY_HOME": str(home)}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    found = embedded.status(home)
    assert found.state == "running"
    with psycopg.connect(found.dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    embedded.down(home)
    assert value(embedded.up(FAST, home).dsn, "SELECT n FROM kept") == 1


def test_a_server_that_was_killed_starts_again(home):
    found = embedded.up({}, home)
    children = psutil.Process(found.pid).children()
    os.kill(found.pid, signal.SIGKILL)
    psutil.wait_procs(children, timeout=20)
    assert embedded.status(home).state == "stopped"
    assert (home / "postgres" / "postmaster.pid").exists()
    assert value(embedded.up({}, home).dsn, "SELECT 1") == 1


def test_two_at_once_start_one_server(home):
    found = []
    threads = [threading.Thread(target=lambda: found.append(embedded.up(FAST, home))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({status.pid for status in found}) == 1


def test_what_an_interrupted_start_left_is_cleared_away(home):
    (home / "postgres.new").mkdir()
    (home / "postgres.new" / "half").touch()
    assert embedded.up(FAST, home).state == "running"
    assert not (home / "postgres.new").exists()


def test_a_path_too_long_for_a_socket_serves_too(home):
    deep = home / ("d" * 60) / ("e" * 60)
    try:
        assert value(embedded.up(FAST, deep).dsn, "SELECT 1") == 1
    finally:
        embedded.down(deep)


def test_a_path_with_spaces_and_signs_serves_too(home):
    odd = home / "a b'c é%20"
    try:
        assert value(embedded.up(FAST, odd).dsn, "SELECT 1") == 1
    finally:
        embedded.down(odd)


def test_a_home_that_is_a_file_is_refused(home):
    (home / "file").touch()
    with pytest.raises(CapacityError, match=r"cannot be kept in .*CAPACITY_HOME"):
        embedded.up(FAST, home / "file")


def test_somebody_elses_directory_is_left_alone(home):
    (home / "postgres").mkdir()
    (home / "postgres" / "letter.txt").write_text("dear diary")
    with pytest.raises(CapacityError, match="not a PostgreSQL data directory"):
        embedded.up(FAST, home)
    assert (home / "postgres" / "letter.txt").read_text() == "dear diary"


def test_data_of_another_major_version_are_refused(home):
    embedded.up(FAST, home)
    embedded.down(home)
    (home / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(CapacityError, match="made by PostgreSQL 17, and PostgreSQL 18 is installed"):
        embedded.up(FAST, home)


def test_a_server_that_cannot_start_says_why(home):
    embedded.up(FAST, home)
    embedded.down(home)
    began = time.monotonic()
    with pytest.raises(CapacityError, match=r"pg_ctl failed.*log is "):
        embedded.up({"shared_buffers": "no number"}, home)
    assert time.monotonic() - began < 30
