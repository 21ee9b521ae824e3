"""The walls around a notebook's process, tried from within."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from capacity_kit.reporting import confine

TRIED = """
import json, os, pathlib, signal, subprocess, sys
from capacity_kit.reporting import confine
own, folder, secret, parent = map(pathlib.Path, sys.argv[1:])
assert confine.confine(own, [secret])
def tried(what):
    try:
        what()
    except OSError:
        return False
    return True
print(json.dumps({
    "own": tried(lambda: (own / "a").write_text("x")),
    "below": tried(lambda: (own / "b").mkdir()),
    "null": tried(lambda: pathlib.Path("/dev/null").write_text("x")),
    "new": tried(lambda: (folder / "new").write_text("x")),
    "old": tried(lambda: (folder / "old").write_text("x")),
    "cut": tried(lambda: os.truncate(folder / "old", 0)),
    "gone": tried(lambda: (folder / "old").unlink()),
    "moved": tried(lambda: (folder / "old").rename(own / "old")),
    "link": tried(lambda: (folder / "link").symlink_to(own)),
    "read": tried(lambda: (folder / "old").read_text()),
    "list": tried(lambda: list(folder.iterdir())),
    "secret": tried(lambda: secret.read_text()),
    "by a child": subprocess.run(["cat", str(secret)], capture_output=True).returncode == 0,
    "own environment": tried(lambda: pathlib.Path("/proc/self/environ").read_text()),
    "another environment": tried(lambda: (pathlib.Path("/proc") / parent / "environ").read_bytes()),
    "memory": tried(lambda: open(pathlib.Path("/proc") / parent / "mem", "rb")),
    "signal": tried(lambda: os.kill(int(str(parent)), 0)),
}))
"""
ALLOWED = {"own", "below", "null", "read", "list", "own environment"}


@pytest.mark.skipif(not confine.abi(), reason="this kernel has no Landlock, and a report says so")
def test_within_the_walls(tmp_path):
    own, secret = tmp_path / "own", tmp_path / "secret"
    own.mkdir()
    for file in (secret, tmp_path / "old"):
        file.write_text("hush")
    parent = subprocess.Popen(["sleep", "60"])
    try:
        said = subprocess.run(
            [sys.executable, "-c", TRIED, own, tmp_path, secret, str(parent.pid)],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    finally:
        parent.kill()
        parent.wait()
    told = json.loads(said)
    if confine.abi() < 6:
        told.pop("signal")
    assert {what for what, could in told.items() if could} == ALLOWED
    assert (tmp_path / "old").read_text() == "hush"


def test_a_kernel_without_it_is_told_of(monkeypatch, tmp_path):
    assert confine.in_words() == (f"Landlock {confine.abi()}" if confine.abi() else confine.in_words())
    monkeypatch.setattr(confine, "abi", lambda: 0)
    assert confine.in_words() == "none: this kernel has no Landlock"
    assert confine.confine(tmp_path) is False
    (tmp_path / "free").write_text("x")
    assert os.access(tmp_path, os.W_OK)
