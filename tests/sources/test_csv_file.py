import csv
import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capacity_kit.errors import CapacityError
from capacity_kit.sources import csv_file
from capacity_kit.sources.csv_file import CsvFile, Layout

NOW = pd.Timestamp("2026-11-01", tz="UTC")
ACME = "ac" * 32
CANONICAL = "measured_at,tenant,resource_type,resource_name,value,capacity,unit\n"
LONG = Layout(time="t", values=("v",), name_column="n", resource_type="CPU", unit="cores")


def opened(tmp_path, content, layout=None, name="usage.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return CsvFile(path, {"acme": ACME}.get, layout or Layout())


def read(tmp_path, content, layout=None):
    return pd.concat(opened(tmp_path, content, layout).batches(NOW), ignore_index=True)


def refusal(tmp_path, content, layout=None):
    with pytest.raises(CapacityError) as refused:
        list(opened(tmp_path, content, layout).batches(NOW))
    said = str(refused.value)
    assert said.startswith("usage.csv: ")
    assert "\n" not in said
    return said


def test_a_canonical_file_needs_no_layout(tmp_path):
    frame = read(
        tmp_path,
        CANONICAL
        + "2026-01-01T00:00:00Z,,STORAGE,cluster,93.5,100,GiB\n"
        + '2026-01-01T01:00:00+01:00,acme,users,"users, all",7,,users\n',
    )
    assert frame["measured_at"].tolist() == [pd.Timestamp("2026-01-01", tz="UTC")] * 2
    assert frame["tenant"].fillna("").tolist() == ["", ACME]
    assert frame["resource_type"].tolist() == ["STORAGE", "USERS"]
    assert frame["resource_name"].tolist() == ["cluster", "users, all"]
    assert frame["value"].tolist() == [93.5, 7]
    assert frame["capacity"].tolist()[0] == 100
    assert np.isnan(frame["capacity"][1])
    assert frame["line"].tolist() == [2, 3]


def test_tenant_and_capacity_may_be_absent_and_columns_in_any_order(tmp_path):
    frame = read(tmp_path, "unit,value,resource_name,resource_type,measured_at\nbytes,1,a,DISK,2026-01-01\n")
    assert frame["tenant"].isna().all()
    assert frame.loc[0, ["value", "unit"]].tolist() == [1, "bytes"]


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path):
    content = "\ufeff" + CANONICAL + "\n2026-01-01,,DISK,a,1,,bytes\n\n2026-01-02,,DISK,a,2,,bytes\n"
    assert read(tmp_path, content)["line"].tolist() == [3, 5]


def test_a_wide_file_has_a_resource_in_each_column(tmp_path):
    layout = Layout(
        time="date", values=("src|bytes", "docs=documents"), resource_type="STORAGE", unit="bytes"
    )
    source = opened(tmp_path, "date,src|bytes,other,docs\n2026-01-01,1,x,10\n2026-01-02,,y,20\n", layout)
    frame = pd.concat(source.batches(NOW))
    assert frame[["resource_name", "value", "line"]].to_numpy().tolist() == [
        ["src|bytes", 1, 2],
        ["documents", 10, 2],
        ["documents", 20, 3],
    ]
    assert source.gaps == 1
    assert source.notes == ["times without a zone were read as UTC", "1 empty cells were taken for gaps"]


def test_a_long_file_has_the_name_in_a_column(tmp_path):
    frame = read(tmp_path, "n,t,v\n1019,2026-01-01 00:00:00+00:00,3.9\n", LONG)
    assert frame.loc[0, ["resource_name", "resource_type", "value"]].tolist() == ["1019", "CPU", 3.9]


def test_a_single_column_of_values_can_name_its_resource(tmp_path):
    layout = Layout(time="t", values=("load",), resource_type="CPU", unit="cores", tenant="acme", capacity=8)
    frame = read(tmp_path, "t,load\n2026-01-01,3\n", layout)
    assert frame.loc[0, ["resource_name", "tenant", "capacity"]].tolist() == ["load", ACME, 8]


def test_naive_times_are_read_in_the_zone_that_is_named(tmp_path):
    layout = Layout(
        time="t", values=("v",), name="x", resource_type="CPU", unit="cores", time_zone="Europe/Berlin"
    )
    source = opened(tmp_path, "t,v\n2026-01-01 12:00,1\n2026-07-01 12:00,1\n", layout)
    frame = pd.concat(source.batches(NOW))
    assert frame["measured_at"].dt.hour.tolist() == [11, 10]
    assert source.notes == ["times without a zone were read as Europe/Berlin"]


def test_unix_seconds_are_read_only_when_asked_for(tmp_path):
    content = "t,v\n1767225600,1\n1767225600.5,2\n"
    kwargs = {"time": "t", "values": ("v",), "name": "x", "resource_type": "CPU", "unit": "cores"}
    assert "the time is not understood, such as '1767225600' (lines 2, 3)" in refusal(
        tmp_path, content, Layout(**kwargs)
    )
    frame = read(tmp_path, content, Layout(**kwargs, unix_seconds=True))
    assert [str(moment) for moment in frame["measured_at"]] == [
        "2026-01-01 00:00:00+00:00",
        "2026-01-01 00:00:00.500000+00:00",
    ]
    milliseconds = "t,v\n1767225600000,1\n"
    assert "not in seconds since 1970 (line 2)" in refusal(
        tmp_path, milliseconds, Layout(**kwargs, unix_seconds=True)
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("yesterday,,DISK,a,1,,bytes", "the time is not understood, such as 'yesterday' (line 3)"),
        ("2026-02-30,,DISK,a,1,,bytes", "the time is not understood, such as '2026-02-30' (line 3)"),
        (",,DISK,a,1,,bytes", "the time is not understood, such as '' (line 3)"),
        ("0001-01-01,,DISK,a,-1,,bytes", "the value is negative (line 3)"),
        ("01/02/2026,,DISK,a,1,,bytes", "the time is not understood"),
        ("2126-01-01,,DISK,a,1,,bytes", "the time is more than a day ahead of now (line 3)"),
        ("9999-12-31,,DISK,a,1,,bytes", "the time is more than a day ahead of now (line 3)"),
        ("2026-01-01T00:00:00Z,,DISK,a,1,,bytes", "some times say their zone and others do not (line 3)"),
        ("2026-01-01,,DISK,a,NaN,,bytes", "the value is not a number (line 3)"),
        ("2026-01-01,,DISK,a,,,bytes", "the value is missing (line 3)"),
        ("2026-01-01,,DISK,a,much,,bytes", "the value is not a number (line 3)"),
        ("2026-01-01,,DISK,a,1_000,,bytes", "the value is not a number (line 3)"),
        ('2026-01-01,,DISK,a,"1,000",,bytes', "the value is not a number (line 3)"),
        ("2026-01-01,,DISK,a,-1,,bytes", "the value is negative (line 3)"),
        ("2026-01-01,,DISK,a,inf,,bytes", "the value is infinite (line 3)"),
        ("2026-01-01,,DISK,a,1e999,,bytes", "the value is infinite (line 3)"),
        ("2026-01-01,,DISK,a,1,0,bytes", "the capacity is 0 or negative (line 3)"),
        ("2026-01-01,,DISK,a,1,-5,bytes", "the capacity is 0 or negative (line 3)"),
        ("2026-01-01,,DISK,a,1,nan,bytes", "the capacity is not a number (line 3)"),
        ("2026-01-01,,DISK,a,1,lots,bytes", "the capacity is not a number (line 3)"),
        ("2026-01-01,nobody,DISK,a,1,,bytes", "unknown tenant 'nobody' (line 3)"),
        ("2026-01-01,,DISK,a,1,,", "the unit is missing"),
        ("2026-01-01,,DISK,,1,,bytes", "the resource name is missing"),
        ("2026-01-01,,,a,1,,bytes", "the resource type is not a word"),
        ("2026-01-01,,DISK,a,1", "not as many cells as the header's 7 (line 3)"),
        ("2026-01-01,,DISK,a,1,,bytes,more", "not as many cells as the header's 7 (line 3)"),
        ('2026-01-01,,DISK,"a"b,1,,bytes', "not CSV"),
    ],
)  # fmt: skip
def test_a_line_at_fault_is_named_with_the_reason(tmp_path, row, said):
    assert said in refusal(tmp_path, CANONICAL + "2025-12-31,,DISK,a,1,,bytes\n" + row + "\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "usage.csv: empty"),
        (b"\n\n", "usage.csv: empty"),
        (CANONICAL.encode(), "a header and nothing below it"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not UTF-8 text (line 1)"),
        ("measured_at,value\n2026-01-01,1\n".encode("utf-16"), "not UTF-8 text (line 1)"),
        (
            CANONICAL.encode() + "2026-01-01,,DISK,gr\xfcn,1,,bytes\n".encode("latin-1"),
            "not UTF-8 text (line 2)",
        ),
        (b"\0\0\0\0,\0\0\n", "no column"),
        (
            b"measured_at,value\n2026-01-01,1\n",
            "no column 'resource_name', 'resource_type', 'unit' (line 1 has",
        ),
        (CANONICAL.replace("unit", "value").encode(), "no column 'unit'"),
        (CANONICAL.replace("tenant", "value").encode(), "column 'value' more than once"),
    ],
)
def test_a_file_at_fault_is_refused(tmp_path, content, said):
    assert said in refusal(tmp_path, content)


def test_no_file_and_a_directory_are_said(tmp_path):
    with pytest.raises(CapacityError, match=r"gone\.csv: No such file"):
        list(CsvFile(tmp_path / "gone.csv", {}.get).batches())
    with pytest.raises(CapacityError, match="not a file"):
        list(CsvFile(tmp_path, {}.get).batches())


def test_times_that_a_clock_change_skips_or_repeats_are_refused(tmp_path):
    layout = Layout(
        time="t", values=("v",), name="x", resource_type="CPU", unit="cores", time_zone="Europe/Berlin"
    )
    content = "t,v\n2026-03-29 02:30,1\n2026-10-25 02:30,1\n2026-10-25 04:30,1\n"
    assert "a clock change in Europe/Berlin skips or repeats the time (lines 2, 3)" in refusal(
        tmp_path, content, layout
    )


def test_faults_are_counted_over_the_whole_file_and_nothing_more_is_yielded(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_file, "_BATCH", 10)
    rows = [
        f"2026-01-01T{n // 60:02}:{n % 60:02}:00Z,,DISK,a,{-1 if n > 15 else 1},,bytes" for n in range(100)
    ]
    source = opened(tmp_path, CANONICAL + "\n".join(rows) + "\n")
    frames = []
    with pytest.raises(CapacityError, match=r"negative \(lines 18, 19, 20, 21, 22 and 79 more\)"):
        frames.extend(source.batches(NOW))
    assert len(frames) <= 1


def test_lines_are_counted_as_an_editor_counts_them(tmp_path):
    content = 'n,t,v\n"a\nb",2026-01-01,1\nx,2026-01-02,-1\n'
    said = refusal(tmp_path, content, LONG)
    assert "negative (line 4)" in said
    assert "resource name is missing, longer than 200 characters or not printable (line 3)" in said


@pytest.mark.parametrize(
    "options",
    [
        {"name": "a", "name_column": "b"},
        {"unit": "a", "unit_column": "b"},
        {"values": ()},
        {"values": ("a", "b"), "name": "c"},
        {"time_zone": "Mars/Olympus"},
    ],
)
def test_a_layout_that_contradicts_itself_is_refused(options):
    with pytest.raises(CapacityError) as refused:
        Layout(**options)
    assert refused.value.exit_code == 2


def test_how_far_the_file_is_read_is_known(tmp_path):
    source = opened(tmp_path, CANONICAL + "2026-01-01,,DISK,a,1,,bytes\n")
    assert source.fraction_read == 0
    list(source.batches(NOW))
    assert source.fraction_read == 1


rows = st.lists(
    st.tuples(
        st.datetimes(pd.Timestamp("1970-01-01"), pd.Timestamp("2026-10-31")),
        st.floats(min_value=0, allow_infinity=False, allow_nan=False),
        st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20),
    ),
    min_size=1,
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(rows)
def test_what_pandas_writes_is_read_back_as_it_was(tmp_path, rows):
    wrote = pd.DataFrame(rows, columns=["t", "v", "n"])
    wrote.to_csv(tmp_path / "usage.csv", index=False, encoding="utf-8")
    frame = pd.concat(CsvFile(tmp_path / "usage.csv", {}.get, LONG).batches(NOW), ignore_index=True)
    assert frame["measured_at"].dt.tz_localize(None).tolist() == wrote["t"].tolist()
    assert frame["value"].tolist() == wrote["v"].tolist()
    assert frame["resource_name"].tolist() == wrote["n"].tolist()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(st.binary(max_size=300))
def test_garbage_is_refused_in_one_line_whatever_it_is(tmp_path, garbage):
    for layout in (Layout(), LONG):
        refusal(tmp_path, garbage, layout)
    refusal(tmp_path, CANONICAL.encode() + garbage)


@given(st.lists(st.lists(st.text('a\r\n",', max_size=4), min_size=2, max_size=2), min_size=1, max_size=10))
def test_line_numbers_are_those_of_the_csv_reader(cells):
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows(cells)
    counting = csv.reader(io.StringIO(file.getvalue(), newline=""))
    expected = [counting.line_num for _ in counting]
    reader = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert csv_file._line_numbers(list(reader), 0, expected[-1]).tolist() == expected


def test_what_is_no_file_is_refused_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", Path("/dev/zero")):
        with pytest.raises(CapacityError, match="not a file"):
            list(CsvFile(path, tenant_of=lambda name: None).batches())


def test_a_time_before_unix_time_is_refused_by_line(tmp_path):
    file = tmp_path / "old.csv"
    file.write_text("measured_at,resource_type,resource_name,value,unit\n1900-01-01,STORAGE,old,1,bytes\n")
    with pytest.raises(CapacityError, match=r"before 1970.*2"):
        list(CsvFile(file, tenant_of=lambda name: None).batches())
