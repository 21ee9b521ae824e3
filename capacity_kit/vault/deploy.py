"""Deploying the SQL, and telling beforehand what stands in the database."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from capacity_kit import resources
from capacity_kit.errors import CapacityError

if TYPE_CHECKING:
    from capacity_kit.vault.vault import Vault

SCHEMA_VERSION: Final = "0.1.0"
"""The version that the step files of this package write into capacity_ops.deployment."""


@dataclass(frozen=True)
class SchemaState:
    """What stands in a database.

    Attributes
    ----------
    state
        ``absent``; ``current``; ``older`` (or incomplete: deploying brings it up to date); ``newer`` than this
        package; ``foreign``: a schema capacity_planning that is not this project's.
    versions
        The version of each step that was applied.
    differences
        What a platform's client would miss, and what is there that this project does not know; one line each.
    """

    state: Literal["absent", "current", "older", "newer", "foreign"]
    versions: dict[int, str] = field(default_factory=dict)
    differences: tuple[str, ...] = ()


def steps() -> list[tuple[int, Path]]:
    """Return the step files with their numbers, in the order in which they apply."""
    named = ((re.match(r"step_(\d+)_", file.name), file) for file in resources.path("sql").glob("step_*.sql"))
    return sorted((int(match[1]), file) for match, file in named if match)


def expected_columns() -> dict[str, set[str]]:
    """Return the columns that each of the ten tables must have for the platform's clients."""
    expected: dict[str, set[str]] = {}
    with (resources.path("sql") / "platform_columns.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            expected.setdefault(row["table"], set()).add(row["column"])
    hubs = [table.removesuffix("_s") for table in expected if table.endswith("_s")]
    return expected | {f"{hub}_h": {f"{hub}_hk", f"{hub}_bk", "load_date", "record_source"} for hub in hubs}


def inspect(vault: Vault) -> SchemaState:
    """Tell what stands in the database, without touching it.

    Parameters
    ----------
    vault
        An open vault.
    """
    found: dict[str, set[str]] = {}
    for table, column in vault.read("schema_columns").itertuples(index=False):
        found.setdefault(table, set()).add(column)
    marked = vault.read("deployment_exists")["present"].item()
    if not found and not marked:
        return SchemaState("absent")
    differences = tuple(_differences(found))
    if not marked:
        return SchemaState("foreign", differences=differences)
    applied = vault.read("deployment")
    versions = dict(zip(applied["step"].tolist(), applied["version"].tolist(), strict=True))
    known = {number for number, _ in steps()}
    if (
        any(_parts(version) > _parts(SCHEMA_VERSION) for version in versions.values())
        or set(versions) - known
    ):
        return SchemaState("newer", versions, differences)
    if (
        differences
        or set(versions) != known
        or any(version != SCHEMA_VERSION for version in versions.values())
    ):
        return SchemaState("older", versions, differences)
    return SchemaState("current", versions)


def deploy(vault: Vault) -> SchemaState:
    """Bring the database up to this package's schema: wholly, or not at all.

    The files bracket themselves with BEGIN and COMMIT for psql; here they share one transaction. What Phases
    1-4 of the platform leave behind is made only where the platform's tenants are missing.

    Parameters
    ----------
    vault
        An open vault, whose role may create schemas in the database.

    Returns
    -------
    SchemaState
        What stands there afterwards.

    Raises
    ------
    CapacityError
        When somebody else's capacity_planning is in the way, a newer one, or one that was changed by hand;
        nothing was touched.
    """
    before = inspect(vault)
    require_ours(before)
    with vault.transaction():
        if not vault.read("platform_exists")["present"].item():
            _apply(vault, resources.path("sql") / "platform_standin.sql")
        for _, file in steps():
            _apply(vault, file)
        after = inspect(vault)
        if after.state != "current":
            raise CapacityError(
                f"The schema in this database was changed by hand: {'; '.join(after.differences)}",
                "Nothing was touched. Put that back, or deploy into another database.",
            )
    return after


def require_ours(state: SchemaState) -> None:
    """Refuse a schema that this package must not write to."""
    if state.state == "foreign":
        shown = "; ".join(state.differences[:5]) + (
            f"; and {len(state.differences) - 5} more" if len(state.differences) > 5 else ""
        )
        raise CapacityError(
            f"This database has a schema capacity_planning that is not this project's: {shown or 'it lacks our mark'}",
            "Nothing was touched. Rename that schema, or deploy into another database.",
        )
    if state.state == "newer":
        raise CapacityError(
            f"The schema in this database is newer ({_newest(state)}) than this package's ({SCHEMA_VERSION})",
            "Nothing was touched. Upgrade capacity-kit.",
        )


def require_deployed(state: SchemaState) -> None:
    """Refuse a database in which the schema is not there, not ours, or behind."""
    require_ours(state)
    if state.state == "absent":
        raise CapacityError("The capacity schema is not in this database", "Run: capacity deploy")
    if state.state == "older":
        missing = "; ".join(state.differences[:3]) or f"it holds {_newest(state) or 'no version'}"
        raise CapacityError(
            f"The schema in this database is behind this package's {SCHEMA_VERSION}: {missing}",
            "Run: capacity deploy",
        )


def _differences(found: dict[str, set[str]]) -> list[str]:
    expected = expected_columns()
    strange = [f"table {table} is not one of the ten" for table in sorted(found.keys() - expected.keys())]
    lacking = [
        f"{table} lacks {', '.join(sorted(columns - found[table]))}"
        for table, columns in sorted(expected.items())
        if table in found and columns - found[table]
    ]
    return (
        strange + lacking + [f"table {table} is missing" for table in sorted(expected.keys() - found.keys())]
    )


def _apply(vault: Vault, file: Path) -> None:
    source = file.read_text(encoding="utf-8")
    bare, brackets = re.subn(r"^(BEGIN|COMMIT);[ \t]*$", "", source, flags=re.MULTILINE)
    if brackets not in (0, 2):
        raise CapacityError(f"{file.name} must be one transaction: BEGIN at its top and COMMIT at its end")
    vault.script(bare)


def _newest(state: SchemaState) -> str:
    return max(state.versions.values(), key=_parts, default="")


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
