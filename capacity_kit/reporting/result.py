"""What a report found, small enough to read without the report: ``result.json``, the index and the exit code."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from html import escape
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from IPython.display import display
from nbformat import NotebookNode
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from capacity_kit import resources
from capacity_kit.errors import ATTENTION, OK, PARTIAL

MIME: Final = "application/vnd.capacity.result+json"

State = Literal["ok", "at risk", "cannot be trusted", "failed"]
EXIT_CODES: Final[dict[State, int]] = {
    "ok": OK,
    "at risk": ATTENTION,
    "cannot be trusted": ATTENTION,
    "failed": PARTIAL,
}
"""What the command that made the report exits with."""

Mood = Literal["good", "attention", "bad", "neutral", "unknown"]
MOOD_WORDS: Final[dict[Mood, str]] = {
    "good": "on target",
    "attention": "watch",
    "bad": "act",
    "neutral": "",
    "unknown": "not known",
}
"""What a KPI card says beside its colour."""


LARGEST: Final = 1 << 20
"""Bytes of a ``result.json`` that is read."""

_STRICT: Final = ConfigDict(extra="forbid")

Moment = Annotated[
    str,
    Field(
        pattern=r"^([12]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?$", description="ISO 8601."
    ),
]
Days = Annotated[int, Field(ge=0, le=2**53)]
Probability = Annotated[float, Field(ge=0, le=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256, in hex.")]


@dataclass(frozen=True)
class Kpi:
    """One card: a number, what it is, whether it is good, and the target or reason behind it."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    label: str
    value: str
    mood: Mood = "neutral"
    note: str = ""


@dataclass(frozen=True)
class Failure:
    """Where a notebook stopped."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    notebook: str
    cell: int | None
    section: str
    error: str


@dataclass(frozen=True)
class Runway:
    """How long one resource lasts until one level, by the method that did better in its backtest.

    Attributes
    ----------
    resource : str
        The hash key of the resource's hub, in hex.
    tenant, resource_type, resource_name : str
        Whose and which it is, in words and as stored.
    level : {'critical', 'capacity'}
        What usage comes to.
    level_percent : float or None
        That level in percent of capacity.
    is_at_risk : bool
        Critical now, or within 90 days.
    method : {'SQL', 'ENGINE'} or None
        Whose forecast it is; None where there is none.
    issued_at : str
        When that was made (ISO 8601, UTC): the probabilities count from here. Days count from the report's ``as_of``.
    p10_days, p50_days, p90_days : int or None
        Days by which the level is reached with a probability of 10, 50 and 90 %; ``p50_days`` of the database's own
        analysis is where its trend gets there. 0: reached.
    probability_30d, probability_90d, probability_365d : float or None
        That it is reached within so many days, from 0 to 1.
    reason : str
        Why something of this is not known; empty when all is.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    resource: str
    tenant: str
    resource_type: str
    resource_name: str
    level: Literal["critical", "capacity"]
    level_percent: float | None
    is_at_risk: bool
    method: Literal["SQL", "ENGINE"] | None = None
    issued_at: Moment = ""
    p10_days: Days | None = None
    p50_days: Days | None = None
    p90_days: Days | None = None
    probability_30d: Probability | None = None
    probability_90d: Probability | None = None
    probability_365d: Probability | None = None
    reason: str = ""


@dataclass(frozen=True)
class Result:
    """A report in a few lines: what ``result.json`` holds, as ``reports/result.schema.json`` has it.

    Attributes
    ----------
    verdict : State
        'ok', 'at risk', 'cannot be trusted' or 'failed'.
    headline : str
        One sentence.
    kpis : tuple of Kpi
        The cards at the top.
    data_as_of : str
        When the newest measurement shown was taken, in words.
    measured_until : str
        The same, as ISO 8601 in UTC; empty where nothing was measured.
    simulated : str
        What of it is simulated, in words; empty when nothing is.
    runway : tuple of Runway
        The resources at risk, then those with the shortest runway, a row each level.
    runway_left_out : int
        Resources that are not listed for their number; none of them is at risk.
    compared_with : str
        The moment of the report before this one (ISO 8601, UTC); empty when there is none.
    changes : tuple of str
        What changed since then, a sentence each. See `capacity_kit.reporting.changes`.
    notebook, title, tenant, tenant_label, as_of, timezone : str
        What was run, for whom (key and words), for which moment (ISO 8601, UTC), and the reader's time zone.
    parameters, versions : mapping
        What it was run with.
    sql : mapping
        File to digest: of each step of the schema, and of each query that the notebook asked.
    failure : Failure or None
        Where it stopped.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    verdict: State
    headline: str
    kpis: tuple[Kpi, ...] = ()
    data_as_of: str = ""
    measured_until: Moment = ""
    simulated: str = ""
    runway: tuple[Runway, ...] = ()
    runway_left_out: int = 0
    compared_with: Moment = ""
    changes: tuple[str, ...] = ()
    notebook: str = ""
    title: str = ""
    tenant: str = ""
    tenant_label: str = ""
    as_of: Moment = ""
    timezone: str = "UTC"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    sql: Mapping[str, Digest] = field(default_factory=dict)
    failure: Failure | None = None

    @property
    def exit_code(self) -> int:
        """The exit code of the command that published this."""
        return EXIT_CODES[self.verdict]

    def to_json(self) -> str:
        """As ``result.json`` holds it."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, default=str) + "\n"

    def complaint(self) -> str | None:
        """What is wrong with it by the schema, in one line without the value; None when nothing is."""
        try:
            _document().validate_json(self.to_json(), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        return None

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Result:
        """From a parsed ``result.json``.

        Raises
        ------
        ValueError, TypeError, KeyError
            If it is none.
        """
        if found["verdict"] not in EXIT_CODES:
            raise ValueError(f"unknown verdict {found['verdict']!r}")
        failure = found.get("failure")
        return cls(
            **{
                **found,
                "kpis": tuple(Kpi(**kpi) for kpi in found.get("kpis", ())),
                "runway": tuple(Runway(**entry) for entry in found.get("runway", ())),
                "changes": tuple(found.get("changes", ())),
                "failure": Failure(**failure) if failure else None,
            }
        )

    @classmethod
    def read(cls, path: Path) -> Result:
        """From the file `path`, which anybody may have written.

        Raises
        ------
        ValueError
            If what it holds is none by the schema.
        OSError
            If it cannot be read, is no file, or is larger than any report's.
        """
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            raise OSError(f"{path} is no file of a report's size")
        return _document().validate_json(path.read_bytes(), strict=True)


@cache
def _document() -> TypeAdapter[Result]:
    return TypeAdapter(Result)


def json_schema() -> str:
    """The JSON schema of ``result.json``; ``reports/result.schema.json`` holds it."""
    found = _document().json_schema(mode="serialization")
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
    described["description"] = "What a report found: verdict, key figures, and what it was made from."
    return json.dumps(described, indent=2) + "\n"


@cache
def sql_digests() -> dict[str, str]:
    """The schema that reports are made on: the digest of each of its steps, by their files' names."""
    return digests(resources.path("sql").glob("step_*.sql"))


def digests(files: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 of each file, by its name."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}


def publish(
    verdict: State, headline: str, kpis: Sequence[Kpi], runway: Sequence[Runway] = (), **facts: Any
) -> None:
    """A notebook's last word: shown in it as cards, and read back when it is rendered.

    Parameters
    ----------
    verdict : {'ok', 'at risk', 'cannot be trusted'}
        What the reader should know first.
    headline : str
        One sentence.
    kpis : sequence of Kpi
        The cards.
    runway : sequence of Runway
        How long the resources last, for programs: it is not shown.
    **facts
        ``data_as_of``, ``measured_until``, ``simulated``, ``runway_left_out``, ``sql``: see `Result`.
    """
    found = Result(verdict, headline, tuple(kpis), runway=tuple(runway), **facts)
    plain = [
        f"{verdict.upper()}: {headline}",
        *(f"{k.label}: {k.value} {MOOD_WORDS[k.mood]} {k.note}".rstrip() for k in kpis),
    ]
    kept = {key: value for key, value in asdict(found).items() if value and key != "sql"}
    display(  # type: ignore[no-untyped-call]
        {MIME: kept, "text/html": cards(found), "text/plain": "\n".join(plain)},
        raw=True,
        # What it was asked with is about the finding, not the finding: two runs are compared without it.
        metadata={MIME: {"sql": dict(found.sql)}},
    )


def cards(found: Result) -> str:
    """The verdict and the KPI cards as HTML; colour never says anything that a word does not."""
    items = "".join(
        f'<div class="kpi {kpi.mood}"><dt>{escape(kpi.label)}</dt>'
        f'<dd class="value">{escape(kpi.value)}</dd>'
        + (f'<dd class="mood">{MOOD_WORDS[kpi.mood]}</dd>' if MOOD_WORDS[kpi.mood] else "")
        + (f'<dd class="note">{escape(kpi.note)}</dd>' if kpi.note else "")
        + "</div>"
        for kpi in found.kpis
    )
    verdict = found.verdict.replace(" ", "-")
    return (
        f'<p class="verdict {verdict}"><strong>{escape(found.verdict)}</strong> {escape(found.headline)}</p>'
        f'<dl class="kpis">{items}</dl>'
    )


def published_in(notebook: NotebookNode) -> Result | None:
    """The last result that a notebook displayed, None if it displayed none."""
    for cell in reversed(notebook.cells):
        for output in reversed(cell.get("outputs", [])):
            data = output.get("data", {})
            if MIME in data:
                return Result.from_dict({**data[MIME], **output.get("metadata", {}).get(MIME, {})})
    return None
