"""What the environment says: one place that reads ``CAPACITY_*``."""

from __future__ import annotations

import os
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
    as_of: Annotated[datetime, AfterValidator(_in_utc)] | None = Field(
        None, description="Look at the measurements as they stood at this time (default: now)."
    )
    timezone: Annotated[str, AfterValidator(_known_zone)] = Field(
        "UTC", description="The reader's time zone; data are kept in UTC."
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
