"""Thresholds tuned on evidence: capacity tune."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

import pandas as pd
import typer

from capacity_kit import console, units, vault
from capacity_kit.cli.alerts import By, me
from capacity_kit.cli.common import AsOf, Dsn, Json, Tenant, opened_vault, records, span
from capacity_kit.errors import USAGE, CapacityError
from capacity_kit.vault import tunings


def tune(
    dsn: Dsn = None,
    tenant: Tenant = vault.ALL,
    resource_type: Annotated[str, typer.Option("--type", help="ALL, or one resource type.")] = vault.ALL,
    history: Annotated[
        timedelta | None,
        typer.Option(
            parser=span, metavar="LENGTH", show_default=False, help="How far back to replay. Default: 396d."
        ),
    ] = None,
    as_of: AsOf = None,
    missed: Annotated[
        float, typer.Option(min=0, metavar="HOURS", help="Cost of a level reached without an alert in time.")
    ] = 8.0,
    false: Annotated[float, typer.Option(min=0, metavar="HOURS", help="Cost of a false alert.")] = 0.5,
    night: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="HOURS",
            help="Cost of a night page, on top; capacity alerts calendar has the nights.",
        ),
    ] = 2.0,
    together: Annotated[
        bool,
        typer.Option("--together", help="One proposal for all levels instead of one for each threshold."),
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Apply what is proposed: new versions, with the reason.")
    ] = False,
    revert: Annotated[
        bool, typer.Option("--revert", help="Take the last applied tuning back, as new versions too.")
    ] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Propose cheaper thresholds by replaying history under stated costs; nothing changes without --apply."""
    if apply and revert:
        raise CapacityError("Either --apply or --revert", exit_code=USAGE)
    if revert:
        _revert(dsn, me(by), as_json)
        return
    _propose(
        dsn,
        tenant,
        resource_type,
        history or timedelta(days=396),
        as_of,
        (missed, false, night),
        together,
        apply,
        me(by) if apply else "",
        as_json,
    )


def _propose(
    dsn: str | None,
    tenant: str,
    resource_type: str,
    history: timedelta,
    as_of: datetime | None,
    costs: tuple[float, float, float],
    together: bool,
    apply: bool,
    by: str,
    as_json: bool,
) -> None:
    from capacity_kit.alerting.tuning import Costs
    from capacity_kit.reporting import tuning
    from capacity_kit.reporting.study import Study

    said = Costs(*costs)
    with opened_vault(dsn) as opened:
        tenants = opened.tenants()
        keys = dict(zip(tenants["tenant_hk"], tenants["tenant_bk"], strict=True))
        study = Study(tenant, None if as_of is None else as_of.isoformat(), dsn)
        with console.progress("Replaying"):
            found = tuning.replay(
                study,
                resource_type=resource_type,
                history_days=max(1, history // timedelta(days=1)),
                costs=said,
                together=together,
            ).proposals
        night = tuning.nights(study)
        changing = found[[bool(changes) for changes in found["changes"]]]
        name = None
        if apply and len(changing):
            name = tunings.apply(opened, tuning.as_changes(changing, said), by)
    if as_json:
        console.as_json({"costs": asdict(said), "tuning": name, "thresholds": _plain(found)})
        return
    if found.empty:
        raise CapacityError(
            "There is nothing to tune: no active threshold watches a resource with a history and a capacity",
            "See: capacity status",
        )
    console.out.print(f"{said.explained()} {night}")
    if together:
        console.out.print(f"All levels together: {found['reason'].iloc[0]}")
    if len(changing):
        console.table(
            ["tenant", "threshold", "change", "guide", "would have saved"],
            [
                (
                    keys.get(row.tenant_key, row.tenant_key),  # as --tenant takes it
                    row.threshold_name,
                    tuning.told(row.changes),
                    row.recommendation,
                    tuning.savings(row),
                )
                for row in console.rows(changing)
            ],
            prose=True,
        )
    if not together:
        _tell_kept(found[[not changes for changes in found["changes"]]])
    if name:
        console.out.print(
            f"{_have(len(changing))} a new version (tuning {name}); capacity tune --revert takes it back."
        )
    elif len(changing):
        console.out.print("Nothing was changed: capacity tune --apply does it.")
    else:
        console.out.print("Nothing is proposed.")


def _tell_kept(kept: pd.DataFrame) -> None:
    """Those that stay, by their reasons."""
    if kept.empty:
        return
    counted = kept.groupby(["reason"], sort=False).size().sort_values(ascending=False, kind="stable")
    stay = units.count(len(kept), "threshold stays as it is", "thresholds stay as they are")
    console.out.print(f"{stay}:")
    for reason, count in counted.items():
        console.out.print(units.plain(f"  {count:,} × {reason}", 300))


def _revert(dsn: str | None, by: str, as_json: bool) -> None:
    from capacity_kit.reporting import tuning

    with opened_vault(dsn) as opened:
        done = tunings.revert(opened, by)
    table = done.thresholds
    if as_json:
        console.as_json({"tuning": done.tuning, "applied_by": done.applied_by, "thresholds": records(table)})
        return
    console.table(
        ["tenant", "threshold", "change"],
        [
            (
                row.tenant,
                row.threshold_name,
                tuning.told(
                    {key: (row.became[key], was) for key, was in row.was.items() if row.became[key] != was}
                )
                if row.is_as_tuned
                else "changed since: left as it is",
            )
            for row in console.rows(table)
        ],
        prose=True,
    )
    count = int(table["is_as_tuned"].sum())
    console.out.print(
        f"The tuning {done.tuning} of {done.applied_by} is taken back: {_have(count)} a new version."
    )


def _have(count: int) -> str:
    return units.count(count, "threshold has", "thresholds have")


def _plain(found: pd.DataFrame) -> list[dict[str, Any]]:
    """Proposals for JSON."""
    changes = [
        {column: {"from": before, "to": after} for column, (before, after) in change.items()}
        for change in found["changes"]
    ]
    return [
        {**row, "changes": change}
        for row, change in zip(records(found.drop(columns="changes")), changes, strict=True)
    ]
