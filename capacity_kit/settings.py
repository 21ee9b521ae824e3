"""What the environment says: one place that reads ``CAPACITY_*``."""

from __future__ import annotations

import os
import stat
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import platformdirs
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from capacity_kit.errors import CapacityError


def _default_home() -> Path:
    """Choose where the embedded server keeps its data.

    As root the server runs under an account of its own, which has to reach its files: a directory
    below /root would have to be opened to everyone, so root's data goes to /var/lib.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/capacity-kit")
    return platformdirs.user_data_path("capacity-kit")


def _in_utc(moment: datetime) -> datetime:
    """Read a time without a zone as UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _known_zone(name: str) -> str:
    """Refuse a time zone that this machine does not know."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone such as UTC or Europe/Berlin") from None
    return name


class Settings(BaseSettings):
    """The workbench's settings, each from the environment variable ``CAPACITY_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="CAPACITY_", env_ignore_empty=True, extra="ignore")

    dsn: SecretStr | None = Field(None, description="Connection string; libpq's forms are all understood.")
    home: Annotated[Path, AfterValidator(lambda p: p.expanduser().resolve())] = Field(
        default_factory=_default_home, description="Where the embedded server keeps its data."
    )
    site: Path = Field(Path("reports/site"), description="Where reports are published.")
    schedule: Annotated[Path, AfterValidator(Path.expanduser)] | None = Field(
        None, description="What is reported when, to whom (default: the schedule that comes with the kit)."
    )
    as_of: Annotated[datetime, AfterValidator(_in_utc)] | None = Field(
        None, description="Look at the measurements as they stood at this time (default: now)."
    )
    timezone: Annotated[str, AfterValidator(_known_zone)] = Field(
        "UTC", description="The reader's time zone; data are kept in UTC."
    )
    browser: str | None = Field(
        None,
        description="The browser that prints reports as PDF (default: a Chromium or Chrome on the path).",
    )
    channels: Annotated[Path, AfterValidator(Path.expanduser)] | None = Field(
        None, description="A file with the addresses of the channels by which people are told."
    )
    heartbeat_url: SecretStr | None = Field(
        None,
        description="An address outside that is called after each evaluation, and misses the call otherwise.",
    )
    host_metrics: Literal["auto", "yes", "no"] = Field(
        "auto", description="Measure memory, CPU and disks of this host too: auto when the server runs on it."
    )


def load() -> Settings:
    """Read the settings from the environment.

    Raises
    ------
    CapacityError
        When a variable holds what it may not; names the variable and what it expects.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]).upper()
        raise CapacityError(f"CAPACITY_{name}: {first['msg']}", "Correct or unset that variable.") from None


_CHANNEL = "CAPACITY_CHANNEL_"


def channel_addresses() -> dict[str, SecretStr]:
    """Read the channels' addresses: the file that ``CAPACITY_CHANNELS`` names, then ``CAPACITY_CHANNEL_<NAME>``.

    The file is TOML: ``NAME = "address"`` below ``[channels]``. Addresses hold secrets, so nobody but its owner may
    read it.

    Returns
    -------
    dict of str to SecretStr
        The addresses by the channels' names, in capitals; those of the environment win.

    Raises
    ------
    CapacityError
        When the file cannot be read, others may read it, or it is not such a file; no address is repeated.
    """
    file = load().channels
    found = {} if file is None else _from_file(file)
    for variable, address in os.environ.items():
        if variable.startswith(_CHANNEL) and address.strip():
            found[variable.removeprefix(_CHANNEL).upper()] = SecretStr(address.strip())
    return found


def _from_file(file: Path) -> dict[str, SecretStr]:
    """Read a file of addresses that its owner alone may read."""
    try:
        with file.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise CapacityError(
                    f"CAPACITY_CHANNELS: others may read {file} (its mode is {mode:04o}), and it holds secrets",
                    f"Run: chmod 600 {file}",
                )
            content = tomllib.load(opened)
    except OSError as error:
        raise CapacityError(f"CAPACITY_CHANNELS: {file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise CapacityError(
            f"CAPACITY_CHANNELS: {file} is not TOML", 'Expected NAME = "address" below [channels].'
        ) from None
    channels = content.get("channels")
    if not isinstance(channels, dict) or not all(isinstance(address, str) for address in channels.values()):
        raise CapacityError(
            f"CAPACITY_CHANNELS: {file} names no channels", 'Expected NAME = "address" below [channels].'
        )
    return {name.upper(): SecretStr(address.strip()) for name, address in channels.items() if address.strip()}
