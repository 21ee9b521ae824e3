"""Where the files that travel with the package are: SQL, notebooks and the report theme."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).resolve().parent
_IN_CHECKOUT = {"sql": "sql", "notebooks": "notebooks", "theme": "reports/theme"}


def path(name: Literal["sql", "notebooks", "theme"]) -> Path:
    """Return the directory of one kind of file.

    Parameters
    ----------
    name
        ``sql``, ``notebooks`` or ``theme``.

    Returns
    -------
    Path
        Inside the package when it was installed from its wheel, in the checkout otherwise.

    Raises
    ------
    FileNotFoundError
        When the package was installed without its files.
    """
    for candidate in (_PACKAGE / "_data" / name, _PACKAGE.parent / _IN_CHECKOUT[name]):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"capacity_kit was installed without its {name} directory")
