"""What a report leaves behind for programs: result.json, as its schema has it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from capacity_kit import cli
from capacity_kit.reporting import result
from capacity_kit.reporting.result import Failure, Kpi, Result

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "reports/result.schema.json").read_text())
FOUND = Result(
    verdict="at risk",
    headline="Full in 12 days.",
    kpis=(Kpi("Runway", "12 days", "bad", "target 30"),),
    as_of="2026-11-01T00:00:00+00:00",
    parameters={"tenant": "ALL", "days": 30, "as_of": None},
    versions={"capacity-kit": "0.1.0"},
    sql={"queries": "a" * 64},
)


def valid(text):
    jsonschema.validate(json.loads(text), SCHEMA, cls=jsonschema.Draft202012Validator)


def test_the_schema_beside_the_schedule_is_the_models():
    assert (ROOT / "reports/result.schema.json").read_text() == result.json_schema()
    printed = CliRunner().invoke(cli.app, ["report", "--json-schema"])
    assert (printed.exit_code, printed.stdout) == (0, result.json_schema())
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_result_is_as_the_schema_has_it():
    for found in (FOUND, replace(FOUND, verdict="failed", failure=Failure("n", None, "", "no luck"))):
        assert found.complaint() is None
        valid(found.to_json())
        assert Result.from_dict(json.loads(found.to_json())) == found


def test_a_result_of_an_earlier_kit_is_still_read():
    earlier = {key: value for key, value in json.loads(FOUND.to_json()).items() if key != "sql"}
    assert Result.from_dict(earlier) == replace(FOUND, sql={})


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"verdict": "fine"}, "verdict"),
        ({"headline": 3}, "headline"),
        ({"kpis": ({"label": "Days", "value": 3, "mood": "good", "note": ""},)}, "kpis.0.value"),
        ({"kpis": ({"label": "Days", "value": "3", "mood": "fine", "note": ""},)}, "kpis.0.mood"),
        ({"kpis": ({"label": "Days", "value": "3", "mood": "good", "note": "", "more": 1},)}, "kpis.0.more"),
        ({"as_of": "yesterday"}, "as_of"),
        ({"sql": {"queries": "abc"}}, "sql.queries"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_without_its_value(changes, where):
    wrong = replace(FOUND, **changes)
    said = wrong.complaint()
    assert said.startswith(f"{where}: ")
    assert "fine" not in said.replace("'", "").partition(": ")[2].split()
    with pytest.raises(jsonschema.ValidationError):
        valid(json.dumps(asdict(wrong)))


def test_the_digests_are_of_the_sql_that_is_there():
    digests = result.sql_digests()
    steps = sorted(file.name for file in (ROOT / "sql").glob("step_*.sql"))
    assert sorted(digests) == sorted(["queries", *steps])
    for name in steps:
        assert digests[name] == hashlib.sha256((ROOT / "sql" / name).read_bytes()).hexdigest()
