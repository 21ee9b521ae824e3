"""A short run of what ``make faults-outbox`` does at length."""

from __future__ import annotations

import pytest

from tests.faults import outbox
from tests.faults.outbox import Ledger


@pytest.mark.slow
def test_a_sender_that_is_killed_again_and_again_loses_nothing(pg18):
    ledger = outbox.run(pg18.dsn, kills=2, alerts=8, seed=5)
    assert (ledger.kills, len(ledger.alerts)) == (2, 8)
    assert ledger.is_sound, vars(ledger)


def test_the_ledger_finds_what_is_wrong():
    ledger = Ledger(alerts={"a": ["a1", "a2"]})
    ledger.note("a1", True)
    assert ledger.lost == ["a"]
    ledger.note("a2", False)
    assert ledger.lost == ["a"]
    ledger.note("a2", True)
    assert ledger.is_sound
    for wrong in ({"without_key": 1}, {"strange": {"b1"}}, {"events": {"i": ["resolve", "trigger"]}}):
        assert not Ledger(**wrong).is_sound
