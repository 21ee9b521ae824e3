"""The database and the replay count the same reaches, and call the same of them announced."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from capacity_kit.alerting.policy import Policy
from capacity_kit.alerting.replay import Fleet, replay

STEPS, RESOURCES = 150, 5
LEVELS = {"WARNING": (80, 90), "CRITICAL": (90, 100)}


@pytest.mark.parametrize("seed", [1, 2])
def test_reaches_and_announced_ones_are_the_replays(stage, seed):
    """Usage that hovers at the levels, comes and goes within one episode, and begins beyond them."""
    rng = np.random.default_rng(seed)
    stage.run("UPDATE capacity_ops.setting SET value = 2 WHERE name = 'verdict_lead_hours'")
    stage.run("UPDATE capacity_ops.setting SET value = 0.5 WHERE name = 'verdict_horizon_days'")
    stage.run("UPDATE capacity_ops.setting SET value = 0 WHERE name = 'verdict_minimum'")
    keys = {kind: stage.threshold(level, kind) for kind, (level, _) in LEVELS.items()}
    usage = rng.choice([70, 77, 78, 79, 80, 87, 88, 89, 90, 97, 98, 99, 100, 104], (STEPS, RESOURCES))
    stays = rng.random(usage.shape) < 0.8
    stays[0] = False
    for step in range(1, STEPS):
        usage[step] = np.where(stays[step], usage[step - 1], usage[step])
    usage[0, 0] = 100
    for step, row in enumerate(usage):
        for n, value in enumerate(row):
            stage.measure(15 * step, float(value), name=f"disk {n}")
        stage.evaluate(15 * step)

    at = pd.DatetimeIndex([stage.at(15 * step) for step in range(STEPS)])
    measured = pd.concat(
        pd.DataFrame({"resource": f"disk {n}", "measured_at": at, "value": usage[:, n], "capacity": 100.0})
        for n in range(RESOURCES)
    )
    policies = [Policy(level, target=target) for level, target in LEVELS.values()]
    found = replay(
        Fleet.of(measured, at), policies, horizon_days=0.5, lead_hours=2, margin=2, minimum=0, detail=True
    )
    said = found.reached.assign(kind=[list(LEVELS)[n] for n in found.reached["policy"]])
    recorded = stage.rows(
        "SELECT t.threshold_type AS kind, r.resource_utilization_hk, o.reached_at FROM capacity_alerting.reach o "
        "JOIN capacity_planning.resource_utilization_h r USING (resource_utilization_hk) "
        "JOIN capacity_planning.capacity_threshold_s t ON t.capacity_threshold_hk = o.capacity_threshold_hk "
        "AND t.load_end_date IS NULL WHERE NOT o.is_start AND o.reached_at >= %s",
        stage.at(120),
    )
    assert sorted((row["kind"], pd.Timestamp(row["reached_at"])) for row in recorded) == sorted(
        zip(said["kind"], said["at"], strict=True)
    )
    counted = {
        bytes(row["capacity_threshold_hk"]): (row["reaches"], row["announced"])
        for row in stage.rows("SELECT * FROM capacity_alerting.record_at(NULL, %s)", at[-1].to_pydatetime())
    }
    scores = found.scores[["reached", "announced"]].itertuples(index=False, name=None)
    assert [counted[keys[kind]] for kind in LEVELS] == [tuple(map(int, row)) for row in scores]
    assert found.scores["reached"].min() > 5
    assert 0 < found.scores["announced"].sum() < found.scores["reached"].sum()
