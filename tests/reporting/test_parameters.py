"""Parameters come from the notebook's own cell, and are refused before anything starts."""

from __future__ import annotations

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from capacity_kit.errors import USAGE, CapacityError
from capacity_kit.reporting import parameters

CELL = """
tenant: str = "ALL"  # whose resources
days: int = 30  # days of history to fit
share: float = 80.0  # percent
rehearse: bool = True  # whether to try
as_of: str | None = None  # the moment
"""


def notebook(source: str = CELL):
    return new_notebook(cells=[new_code_cell(source, metadata={"tags": ["parameters"]})])


@pytest.fixture
def declared():
    return parameters.declared(notebook(), "growth")


def test_a_parameter_is_its_line(declared):
    days = declared[1]
    assert (days.name, days.annotation, days.default, days.description) == (
        "days",
        "int",
        30,
        "days of history to fit",
    )
    assert [p.optional for p in declared] == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("days", "14", 14),
        ("days", 14, 14),
        ("share", "82.5", 82.5),
        ("share", 82, 82.0),
        ("rehearse", "no", False),
        ("rehearse", True, True),
        ("as_of", "None", None),
        ("as_of", None, None),
        ("as_of", "2026-11-01", "2026-11-01"),
        ("tenant", "harbour", "harbour"),
        ("tenant", "7", "7"),
    ],
)
def test_text_is_read_as_the_declared_type(declared, name, given, value):
    read = parameters.checked("growth", declared, {name: given})[name]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("days", "14.5"),
        ("days", "soon"),
        ("days", True),
        ("days", 14.0),
        ("days", None),
        ("share", "nan"),
        ("share", "inf"),
        ("rehearse", "perhaps"),
        ("rehearse", 2),
        ("tenant", 7),
        ("tenant", None),
    ],
)
def test_an_ill_typed_value_is_refused_in_one_line_that_names_the_legal_ones(declared, name, given):
    with pytest.raises(CapacityError) as refused:
        parameters.checked("growth", declared, {name: given})
    assert refused.value.exit_code == USAGE
    assert name in refused.value.message
    assert "days (int)" in refused.value.hint
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("given", [0, -1, "0", "-30"])
def test_a_number_of_days_or_rows_is_at_least_one(declared, given):
    with pytest.raises(CapacityError) as refused:
        parameters.checked("growth", declared, {"days": given})
    assert refused.value.exit_code == USAGE
    assert refused.value.message == f"growth: days must be at least 1, not {int(given)}"
    assert "\n" not in str(refused.value)


def test_an_unknown_name_is_refused(declared):
    with pytest.raises(CapacityError, match="no parameter 'tenat'") as refused:
        parameters.checked("growth", declared, {"tenat": "harbour"})
    assert "tenant (str)" in refused.value.hint


def test_what_is_not_given_keeps_its_default(declared):
    assert parameters.checked("growth", declared, {}) == {
        "tenant": "ALL",
        "days": 30,
        "share": 80.0,
        "rehearse": True,
        "as_of": None,
    }


@pytest.mark.parametrize(
    "source",
    [
        "days = 30  # no annotation",
        "days: int = 30",
        "days: list = []  # no plain type",
        "days: int | str = 30  # two types",
        "import os",
    ],
)
def test_a_cell_of_anything_else_is_refused(source):
    with pytest.raises(CapacityError):
        parameters.declared(notebook(source), "growth")


def test_a_notebook_without_the_cell_is_refused():
    with pytest.raises(CapacityError, match="0 cells tagged"):
        parameters.declared(new_notebook(cells=[new_code_cell("x = 1")]), "growth")
