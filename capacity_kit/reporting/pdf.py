"""A report as PDF: its page, printed by a browser that is there already."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from capacity_kit import settings
from capacity_kit.errors import CapacityError

NAME: Final = "report.pdf"
"""What it is called beside its page."""

_NAMES: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_SECONDS: Final = 90


def write(page: Path, to: Path | None = None) -> Path:
    """Print a page as PDF, whole or not at all.

    Parameters
    ----------
    page : Path
        An HTML page that stands alone.
    to : Path, optional
        The file; ``report.pdf`` beside the page when left out.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    CapacityError
        If no browser is there, or it did not print the page.
    """
    target = page.with_name(NAME) if to is None else to
    program = browser()
    with tempfile.TemporaryDirectory(prefix="capacity-print-") as scratch:
        printed = Path(scratch, NAME)
        command = [
            program,
            "--headless",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-extensions",
            "--disable-background-networking",
            "--no-first-run",
            "--no-pdf-header-footer",
            f"--user-data-dir={scratch}/profile",
            f"--print-to-pdf={printed}",
            page.resolve().as_uri(),
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.insert(
                1, "--no-sandbox"
            )  # root has no other way; the page holds no script and no address
        # Of this process's environment it needs where programs are; not where the database is.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": scratch, "TMPDIR": scratch}
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, timeout=_SECONDS, check=False, cwd=scratch
            )
        except subprocess.TimeoutExpired:
            raise _not_printed(page, f"{program} took more than {_SECONDS} seconds") from None
        except OSError as error:
            raise _not_printed(page, f"{program}: {error.strerror or error}") from error
        if done.returncode or not printed.is_file() or not printed.read_bytes().startswith(b"%PDF-"):
            raise _not_printed(page, f"{program} ended with {done.returncode} and without a file")
        unfinished = target.with_name(f".unfinished-{target.name}")
        try:
            shutil.copyfile(printed, unfinished)
            unfinished.replace(target)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise _not_printed(page, f"{target}: {error.strerror or error}") from error
    return target


def browser() -> str:
    """The program that prints: what ``CAPACITY_BROWSER`` names, else the first known one that is installed.

    Raises
    ------
    CapacityError
        If there is none.
    """
    named = settings.load().browser
    for name in (named,) if named else _NAMES:
        if found := shutil.which(name):
            return found
    missing = f"There is no program {named!r}" if named else "There is no Chromium or Chrome on the path"
    raise CapacityError(
        f"A PDF is printed by a browser: {missing}",
        "Install chromium, or name one by CAPACITY_BROWSER; or print the page from any browser.",
    )


def _not_printed(page: Path, why: str) -> CapacityError:
    return CapacityError(
        f"{page} was not printed: {why}", "The page itself is there; print it from any browser."
    )
