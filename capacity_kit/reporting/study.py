"""What a notebook works with: the database, whose resources, as of when, and what its reader must be told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from capacity_kit import settings, units, vault
from capacity_kit.reporting import methods
from capacity_kit.reporting.result import Kpi, Runway, State, digests, publish


class Study:
    """One report's view of the data; every query is about the same tenants at the same moment.

    Parameters
    ----------
    tenant : str
        ALL, SYSTEM, a tenant's business key, or the hex of its hash key.
    as_of : str, optional
        ISO 8601; None: ``CAPACITY_AS_OF``, else now.
    dsn : str, optional
        See `capacity_kit.vault.open`; None in every notebook, which has it from its environment.

    Attributes
    ----------
    vault : Vault
        The open database.
    tenant, scope : str
        As asked, and as queries want it: ALL, SYSTEM or the hex of the tenant's key.
    as_of : Timestamp
        UTC.
    timezone : str
        The reader's.
    data_as_of, measured_until : str
        When the newest measurement was taken, in words and as ISO 8601; empty where nothing was measured.
    simulated : str
        What of the data is simulated, in words; empty when nothing is.
    resources, stale : int
        Resources measured at all, and those whose newest measurement is older than three intervals.
    """

    def __init__(self, tenant: str = vault.ALL, as_of: str | None = None, dsn: str | None = None) -> None:
        self.vault = vault.open(dsn)
        self.tenant = tenant
        self.scope = self.vault.tenant(tenant) or tenant
        self.as_of = pd.Timestamp(self.vault.as_of(as_of) or datetime.now(UTC))
        self.timezone = settings.load().timezone
        rests_on = self.read("report_provenance").iloc[0]
        self.resources = int(rests_on["resources"])
        self.stale = int(rests_on["stale_resources"])
        self.data_as_of = "" if not self.resources else units.at(rests_on["newest"], self.timezone)
        self.measured_until = "" if not self.resources else rests_on["newest"].tz_convert("UTC").isoformat()
        self.simulated = _simulated(rests_on)

    def read(self, name: str, **parameters: Any) -> pd.DataFrame:
        """The rows of a named query about this study's tenants, and its moment unless `as_of` says another."""
        asked = {"scope": self.scope, "as_of": self.as_of.to_pydatetime(), **parameters}
        with self.vault.transaction(read_only=True):  # an evaluation, say, records where it may
            return self.vault.read(name, **asked)

    def analyze(self, resource_type: str = vault.ALL, days: int = 30) -> pd.DataFrame:
        """The growth analysis as of this study's moment, recorded nowhere: a report changes nothing that it reports."""
        with self.vault.transaction(read_only=True):
            return self.vault.analyze(self.tenant, resource_type, days, self.as_of.to_pydatetime())

    def outlook(
        self, resource_type: str = vault.ALL, days: int = 30, history_days: int | None = None
    ) -> pd.DataFrame:
        """Every resource's analysis beside how it stands, the shortest runway first.

        Parameters
        ----------
        resource_type : str
            ALL or one type.
        days : int
            What a trend is fitted to.
        history_days : int, optional
            Over how long level shifts are looked for; `days` when left out.

        Returns
        -------
        DataFrame
            The columns of ``analyze_growth_patterns`` (percent, days, the resource's unit) and of the query
            ``report_resources``; ``tenant`` is the tenant's name, ``resource`` the key of the resource's hub. Where the
            growth engine has a forecast that did better in its backtest, it is in place of the database's own; see
            `methods.headline`. ``pattern_breaks`` are those of `methods.shifts`.
        """
        analysed = self.analyze(resource_type, days)
        if history_days is not None and history_days > days:
            longer = self.analyze(resource_type, history_days)
            # Both come in the same order; the longer look knows the level shifts, the shorter one the present.
            analysed["pattern_breaks"] = longer["pattern_breaks"]
        analysed["tenant_key"] = analysed["tenant_hk"].fillna(vault.SYSTEM)
        standing = self.read("report_resources", resource_type=resource_type, days=days)
        kept = ["tenant_key", "resource_type", "resource_name"]
        new = [
            c
            for c in standing.columns
            if c in kept or c not in analysed.columns or c in ("tenant", "is_simulated")
        ]
        both = analysed.drop(columns=["tenant", "is_simulated"]).merge(standing[new], on=kept, how="inner")
        recorded = self.read("report_forecasts", resource_type=resource_type)
        both = methods.headline(both, recorded, self.as_of)
        since = self.as_of - pd.Timedelta(days=max(days, history_days or 0))
        shifts = self.read("engine_shifts", resource_type=resource_type)
        both["pattern_breaks"] = pd.Series(
            methods.shifts(both, shifts, since), index=both.index, dtype=object
        )
        order = ["time_to_capacity_days", "time_to_critical_days", "utilization_percentage", "tenant", *kept]
        return both.sort_values(
            order, ascending=[True, True, False, True, True, True, True], ignore_index=True
        )

    def history(self, resources: list[str], days: int, points: int = 1600) -> pd.DataFrame:
        """Measurements of resources over the last `days` days, each with the capacity of its time.

        Returns
        -------
        DataFrame
            ``resource``, ``resource_type``, ``resource_name``, ``unit``, ``measured_at``, ``value``, ``capacity``,
            ``utilization`` (percent); at most `points` rows a resource, oldest first.
        """
        found = self.read("report_history", resources=list(resources), days=days, points=points)
        return found.assign(utilization=100 * found["value"] / found["capacity"])

    def publish(
        self, verdict: State, headline: str, kpis: list[Kpi], runway: Sequence[Runway] = (), left_out: int = 0
    ) -> None:
        """Publish, saying what the data are and by which queries they were asked for."""
        publish(
            verdict,
            headline,
            kpis,
            runway,
            runway_left_out=left_out,
            data_as_of=self.data_as_of,
            measured_until=self.measured_until,
            simulated=self.simulated,
            sql=digests(self.vault.asked),
        )


def _simulated(rests_on: pd.Series[Any]) -> str:
    resources, made_up = int(rests_on["resources"]), int(rests_on["simulated_resources"])
    if not made_up:
        return ""
    if made_up == resources:
        return "Every measurement in this report comes from a simulation; none of it was measured."
    names = rests_on["simulated_tenants"]
    shown = ", ".join(units.plain(n, 40) for n in (names or [])[:5])
    more = f" and {len(names) - 5} more" if names and len(names) > 5 else ""
    return f"{made_up} of {resources} resources here come from a simulation: {shown}{more}."
