from pathlib import Path

import pandas as pd
import psutil

from capacity_kit.sources import host
from capacity_kit.sources.frame import COLUMNS, Refusals, check


def test_the_host_is_measured_as_it_is():
    frame = host.measure(Path.cwd(), seconds=0.1)
    refusals = Refusals("host")
    check(frame, refusals, pd.Timestamp.now("UTC"))
    assert not refusals, str(refusals)
    assert tuple(frame.columns) == COLUMNS
    row = frame.set_index("resource_type")
    assert row.loc["MEMORY", "capacity"] == psutil.virtual_memory().total
    assert row.loc["CPU", "capacity"] == psutil.cpu_count()
    assert (frame["value"] <= frame["capacity"]).all()
    assert "DISK" in set(frame["resource_type"])
    assert not frame.duplicated(["resource_type", "resource_name"]).any()


def test_the_data_directorys_disk_is_measured_whatever_is_listed(monkeypatch, tmp_path):
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: [])
    assert host.mounts() == []
    (mount,) = host.mounts(tmp_path)
    assert Path(mount).is_mount()
    assert tmp_path.is_relative_to(mount)
    assert host.mounts(tmp_path / "not there") == []


def test_a_disk_that_cannot_be_measured_is_left_out_and_said(monkeypatch, tmp_path):
    def unreadable(mount):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(psutil, "disk_usage", unreadable)
    notes = []
    frame = host.measure(tmp_path, seconds=0, note=notes.append)
    assert set(frame["resource_type"]) == {"MEMORY", "CPU"}
    assert "Permission denied" in notes[0]
