"""What a person is told when something cannot be done: one line, and what to do about it."""

from __future__ import annotations

from typing import Final

OK: Final = 0
ERROR: Final = 1
USAGE: Final = 2
"""The command line itself was wrong (typer's own code)."""
ATTENTION: Final = 3
"""All went well, and the answer is bad news: a critical verdict, or something at risk."""
PARTIAL: Final = 4
"""A report was published although its notebook failed part of the way."""


class CapacityError(Exception):
    """Something cannot be done, for a reason that a person can act on.

    Parameters
    ----------
    message
        What is wrong, in one line. Never holds a password.
    hint
        What to do about it, in one line; may be empty.
    exit_code
        The exit code of the command that meets this error.
    """

    def __init__(self, message: str, hint: str = "", exit_code: int = ERROR) -> None:
        self.message = " ".join(message.split())
        self.hint = " ".join(hint.split())
        self.exit_code = exit_code
        super().__init__(str(self))

    def __str__(self) -> str:
        return f"{self.message.rstrip('.')}. {self.hint}" if self.hint else self.message
