"""The only room that talks to PostgreSQL."""

from capacity_kit.vault.deploy import SCHEMA_VERSION, SchemaState
from capacity_kit.vault.vault import ALL, SYSTEM, Server, Vault, open  # noqa: A004 -- vault.open(dsn)

__all__ = ["ALL", "SCHEMA_VERSION", "SYSTEM", "SchemaState", "Server", "Vault", "open"]
