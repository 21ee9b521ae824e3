"""What a report leaves behind for programs: result.json, as its schema has it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import jsonschema
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from typer.testing import CliRunner

from capacity_kit import cli
from capacity_kit.reporting import result
from capacity_kit.reporting.result import Failure, Kpi, Result, Runway

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "reports/result.schema.json").read_text())
FOUND = Result(
    verdict="at risk",
    headline="Full in 12 days.",
    kpis=(Kpi("Runway", "12 days", "bad", "target 30"),),
    as_of="2026-11-01T00:00:00+00:00",
    parameters={"tenant": "ALL", "days": 30, "as_of": None},
    versions={"capacity-kit": "0.1.0"},
    sql={"report_resources.sql": "a" * 64},
    data_as_of="1 Nov 2026 00:00 UTC",
    measured_until="2026-11-01T00:00:00+00:00",
    runway=(
        Runway("STORAGE|x|SYSTEM", "The system", "STORAGE", "x", "capacity", 100.0, True, "SQL", p50_days=12),
        Runway("STORAGE|y|SYSTEM", "The system", "STORAGE", "y", "critical", None, False, reason="unknown"),
    ),
    compared_with="2026-10-01T00:00:00+00:00",
    changes=("The verdict is “at risk”; it was “ok”.",),
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
    later = ("sql", "measured_until", "runway", "runway_left_out", "compared_with", "changes")
    earlier = {key: value for key, value in json.loads(FOUND.to_json()).items() if key not in later}
    plain = replace(FOUND, sql={}, measured_until="", runway=(), compared_with="", changes=())
    assert Result.from_dict(earlier) == plain


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"verdict": "fine"}, "verdict"),
        ({"headline": 3}, "headline"),
        ({"kpis": ({"label": "Days", "value": 3, "mood": "good", "note": ""},)}, "kpis.0.value"),
        ({"kpis": ({"label": "Days", "value": "3", "mood": "fine", "note": ""},)}, "kpis.0.mood"),
        ({"kpis": ({"label": "Days", "value": "3", "mood": "good", "note": "", "more": 1},)}, "kpis.0.more"),
        ({"as_of": "yesterday"}, "as_of"),
        ({"sql": {"a.sql": "abc"}}, "sql.a.sql"),
        ({"measured_until": "today"}, "measured_until"),
        ({"runway": (replace(FOUND.runway[0], level="warning"),)}, "runway.0.level"),
        ({"runway": (replace(FOUND.runway[0], p50_days=1.5),)}, "runway.0.p50_days"),
        ({"runway": (replace(FOUND.runway[0], probability_30d=70),)}, "runway.0.probability_30d"),
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
    assert sorted(digests) == steps
    for name in steps:
        assert digests[name] == hashlib.sha256((ROOT / "sql" / name).read_bytes()).hexdigest()


def test_what_is_published_in_a_notebook_is_read_back_with_the_digests_of_what_it_asked(monkeypatch):
    shown = {}
    monkeypatch.setattr(
        result, "display", lambda data, raw, metadata: shown.update(data=data, metadata=metadata)
    )
    digests = {"report_resources.sql": "a" * 64}
    result.publish("ok", "Fine.", FOUND.kpis, FOUND.runway, sql=digests, measured_until=FOUND.measured_until)
    assert digests["report_resources.sql"] not in str(shown["data"]), "two runs are compared without it"
    cell = new_code_cell(outputs=[new_output("display_data", **shown)])
    found = result.published_in(new_notebook(cells=[new_code_cell(), cell]))
    assert found == Result(
        "ok", "Fine.", FOUND.kpis, runway=FOUND.runway, sql=digests, measured_until=FOUND.measured_until
    )
    assert result.published_in(new_notebook(cells=[new_code_cell()])) is None
