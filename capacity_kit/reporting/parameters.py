"""A notebook's parameters, read from its own annotated cell and checked before any kernel starts."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nbformat import NotebookNode

from capacity_kit.errors import USAGE, CapacityError

Value = str | int | float | bool | None

_TYPES: Final[dict[str, type]] = {"str": str, "int": int, "float": float, "bool": bool}
_WORDS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


class TooLittleError(ValueError):
    """A whole number below 1: every one that a notebook takes counts days, hours, rows or cases."""


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's parameters cell: ``days: int = 30  # days of history to fit``.

    Attributes
    ----------
    name, annotation, description : str
        As written; the description is the comment.
    type : type
        str, int, float or bool.
    optional : bool
        Whether None may be given.
    default : str, int, float, bool or None
        The value where none is given.
    """

    name: str
    annotation: str
    type: type
    optional: bool
    default: Value
    description: str

    def read(self, given: Any) -> Value:
        """`given` as this parameter's type; text, as a command line gives it, is read.

        Raises
        ------
        ValueError
            If it cannot be; `TooLittleError` where it is a whole number below 1.
        """
        if given is None or (self.optional and isinstance(given, str) and given.lower() in ("none", "")):
            if self.optional:
                return None
            raise ValueError
        if self.type is bool:
            return given if isinstance(given, bool) else _WORDS[str(given).lower()]
        if isinstance(given, bool):
            raise ValueError
        if self.type is float and isinstance(given, int):
            return float(given)
        if isinstance(given, (str, self.type)):
            value: Value = self.type(given)
            if isinstance(value, float) and value - value != 0:
                raise ValueError  # NaN and infinity are no settings
            if isinstance(value, int) and value < 1:
                raise TooLittleError(f"at least 1, not {value}")
            return value
        raise ValueError


def declared(notebook: NotebookNode, name: str) -> list[Parameter]:
    """The parameters that a notebook declares in its cell tagged ``parameters``.

    Parameters
    ----------
    notebook : NotebookNode
        As read by nbformat.
    name : str
        The notebook's name, for messages.

    Raises
    ------
    CapacityError
        If the cell is missing or holds anything but annotated, described parameters with plain defaults.
    """
    cells = [
        c for c in notebook.cells if c.cell_type == "code" and "parameters" in c.metadata.get("tags", [])
    ]
    if len(cells) != 1:
        raise CapacityError(f"{name} has {len(cells)} cells tagged 'parameters', where one is needed")
    source = cells[0].source
    comments = _comments(source)
    found = []
    for line in ast.parse(source).body:
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name) or line.value is None:
            raise CapacityError(
                f"{name}: line {line.lineno} of its parameters cell is no 'name: type = default  # description'"
            )
        annotation = ast.unparse(line.annotation)
        names = [part.strip() for part in annotation.split("|")]
        types = [_TYPES[part] for part in names if part in _TYPES]
        if len(types) != 1 or not set(names) <= {*_TYPES, "None"} or not comments.get(line.lineno):
            raise CapacityError(
                f"{name}: parameter {line.target.id} needs one of str, int, float, bool (or '… | None') and a comment"
            )
        found.append(
            Parameter(
                name=line.target.id,
                annotation=annotation,
                type=types[0],
                optional="None" in names,
                default=ast.literal_eval(line.value),
                description=comments[line.lineno],
            )
        )
    return found


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}


def checked(name: str, parameters: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Value]:
    """Every parameter's value: what was given, read as its type, or its default.

    Raises
    ------
    CapacityError
        For an unknown name, a value of another type or a whole number below 1; it names the legal ones.
    """
    by_name = {p.name: p for p in parameters}
    legal = ", ".join(f"{p.name} ({p.annotation})" for p in parameters)
    values = {p.name: p.default for p in parameters}
    for key, value in given.items():
        if key not in by_name:
            raise CapacityError(f"{name} has no parameter {key!r}", f"It takes {legal}.", USAGE)
        try:
            values[key] = by_name[key].read(value)
        except TooLittleError as error:
            raise CapacityError(f"{name}: {key} must be {error}", f"It takes {legal}.", USAGE) from None
        except (ValueError, KeyError):
            raise CapacityError(
                f"{name}: {key} must be {by_name[key].annotation}, not {value!r}", f"It takes {legal}.", USAGE
            ) from None
    return values
