"""The replay and the database decide alike what a breach is."""

from __future__ import annotations

import pandas as pd

from capacity_kit.alerting import policy

LEVEL = 80
SHARES = [0.0, 79.99, 80.0, 80.01, 100.0, 140.0]


def test_a_breach_of_the_replay_is_one_of_the_evaluation(pg):
    """One resource for each share of its capacity, and one whose capacity nobody knows."""
    resources = [(f"at {share}", share, 100.0) for share in SHARES] + [("unknown", 90.0, None)]
    frame = pd.DataFrame(resources, columns=["resource_name", "value", "capacity"])
    frame = frame.assign(
        measured_at=pd.Timestamp.now("UTC").floor("s"),
        tenant=None,
        resource_type="STORAGE",
        unit="GiB",
        line=1,
    )
    frame["line"] = range(1, len(frame) + 1)
    with pg.vault() as opened:
        opened.load([frame.astype({"capacity": float})], "SIMULATION")
        pg.run("SELECT capacity_planning.create_capacity_threshold(NULL, 'level', 'STORAGE', %s)", LEVEL)
        judged = opened.evaluate().set_index("resource_name")["threshold_exceeded"]
    assert judged.isna().sum() == 1, "no verdict where the capacity is not known"
    decided = judged.fillna(False).astype(bool)
    replayed = policy.breaches(frame["value"] / frame["capacity"].astype(float) * 100, LEVEL)
    assert decided[list(frame["resource_name"])].tolist() == replayed.tolist()
