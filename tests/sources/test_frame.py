import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capacity_kit.errors import CapacityError
from capacity_kit.sources.frame import COLUMNS, Refusals, check

NOW = pd.Timestamp("2026-11-01", tz="UTC")


def frame(**columns):
    """A frame of sound measurements, but for the columns given."""
    count = max((len(values) for values in columns.values() if isinstance(values, list)), default=3)
    sound = {
        "measured_at": NOW,
        "tenant": None,
        "resource_type": "DISK",
        "resource_name": "data",
        "value": 1.0,
        "capacity": float("nan"),
        "unit": "bytes",
        "line": np.arange(2, count + 2),
    }
    return pd.DataFrame(sound | columns, index=range(count))


def refused(measurements):
    refusals = Refusals("x.csv")
    check(measurements, refusals, NOW)
    return str(refusals) if refusals else ""


def test_sound_measurements_pass():
    assert refused(frame()) == ""
    assert refused(frame(capacity=[1.0, 2.0, float("nan")], value=[0.0, 1e300, 5.0])) == ""


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"value": [1.0, float("nan")]}, "x.csv: the value is not a number (line 3)"),
        ({"value": [float("inf"), float("-inf")]}, "x.csv: the value is infinite (lines 2, 3)"),
        ({"value": [-0.5]}, "x.csv: the value is negative (line 2)"),
        ({"capacity": [0.0, -1.0]}, "x.csv: the capacity is 0 or negative (lines 2, 3)"),
        ({"capacity": [float("inf")]}, "x.csv: the capacity is infinite (line 2)"),
        ({"measured_at": [NOW, NOW + pd.Timedelta(days=2)]}, "more than a day ahead of now (line 3)"),
        ({"measured_at": [NOW, pd.NaT]}, "the time is missing (line 3)"),
        ({"resource_type": ["DISK", "disk"]}, "the resource type is not a word of capitals"),
        ({"resource_name": ["", " x", "a\0b", "a\nb", None, "x" * 201]}, "name is missing, longer than 200"),
        ({"unit": ["bytes", ""]}, "the unit is missing"),
    ],
)
def test_each_impossibility_is_named_with_its_lines(columns, said):
    assert said in refused(frame(**columns))


def test_a_clock_a_little_ahead_is_no_fault():
    assert refused(frame(measured_at=[NOW + pd.Timedelta(hours=23)])) == ""


def test_the_first_lines_are_shown_and_the_rest_counted():
    assert refused(frame(value=[-1.0] * 1234)).endswith("(lines 2, 3, 4, 5, 6 and 1,229 more)")


def test_several_reasons_make_one_line():
    refusals = Refusals("x.csv")
    for number in range(9):
        refusals.add(f"reason {number}", [number])
    assert str(refusals).startswith("x.csv: reason 0 (line 0); reason 1 (line 1);")
    assert str(refusals).endswith("; and 5 reasons more")
    with pytest.raises(CapacityError, match="Nothing was stored"):
        refusals.raise_if_any()


@pytest.mark.parametrize(
    "wrong", [frame().drop(columns="unit"), frame(measured_at=pd.Timestamp("2026-01-01"))]
)
def test_what_is_no_frame_is_a_mistake_in_the_source(wrong):
    with pytest.raises(TypeError, match="not a measurement frame"):
        refused(wrong)


def test_the_columns_are_those_that_are_documented():
    assert tuple(frame().columns) == COLUMNS


@given(st.lists(st.floats(), min_size=1, max_size=50), st.lists(st.floats(), min_size=50, max_size=50))
def test_exactly_the_impossible_numbers_are_refused(values, capacities):
    capacities = capacities[: len(values)]
    expected = [
        line
        for line, (value, capacity) in enumerate(zip(values, capacities, strict=True), 2)
        if not (0 <= value < float("inf")) or capacity <= 0 or capacity == float("inf")
    ]
    refusals = Refusals("x.csv")
    check(frame(value=values, capacity=capacities), refusals, NOW)
    assert {line for lines, _ in refusals._found.values() for line in lines} <= set(expected)
    assert bool(refusals) == bool(expected)


@given(st.lists(st.integers(1, 10**9), max_size=40), st.lists(st.integers(1, 10**9), max_size=40))
def test_counts_add_up_over_batches(first, second):
    refusals = Refusals("x.csv")
    refusals.add("bad", first)
    refusals.add("bad", second)
    shown, count = refusals._found["bad"]
    assert shown == (first + second)[:5]
    assert count == len(first) + len(second)
