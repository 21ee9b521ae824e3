from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from capacity_kit.errors import CapacityError
from capacity_kit.sources import simulation
from capacity_kit.sources.frame import Refusals, check
from capacity_kit.sources.simulation import TENANTS, history, simulate

AS_OF = datetime(2026, 11, 1, tzinfo=UTC)
TABLES = {
    "tenants": "SELECT count(*) FROM auth.tenant_h",
    "profiles": "SELECT count(*) FROM auth.tenant_profile_s",
    "hubs": "SELECT count(*) FROM capacity_planning.resource_utilization_h",
    "measurements": "SELECT count(*) FROM capacity_planning.resource_utilization_s",
    "capacities": "SELECT count(*) FROM capacity_ops.capacity_registry",
}


def share(tenant, kind, seed=7):
    """Percent of capacity of one resource, by time."""
    (found,) = [one for one in TENANTS if one.key == tenant]
    frame = history(seed, AS_OF)
    frame = frame[(frame["tenant"] == found.hash_key) & (frame["resource_type"] == kind)]
    return (frame["value"] / frame["capacity"] * 100).set_axis(frame["measured_at"])


def test_the_history_is_sound_and_complete():
    frame = history(7, AS_OF)
    refusals = Refusals("simulation")
    check(frame, refusals, pd.Timestamp(AS_OF))
    assert not refusals, str(refusals)
    assert len(frame) == len(TENANTS) * 4 * (396 * 4 + 1)
    assert not frame.duplicated(["tenant", "resource_type", "resource_name", "measured_at"]).any()
    assert frame["measured_at"].max() == pd.Timestamp(AS_OF)
    counts = frame[frame["unit"].isin(["bytes", "users", "connections"])]["value"]
    assert (counts == counts.round()).all()
    assert ((frame["value"] <= frame["capacity"]) | frame["capacity"].isna()).all()


def test_a_seed_and_a_time_give_the_same_numbers_bit_by_bit():
    assert pd.util.hash_pandas_object(history(7, AS_OF)).equals(pd.util.hash_pandas_object(history(7, AS_OF)))
    assert not history(7, AS_OF)["value"].equals(history(8, AS_OF)["value"])
    berlin = datetime(
        2026, 11, 1, 3, 59, tzinfo=simulation.pd.Timestamp(AS_OF).tz_convert("Europe/Berlin").tz
    )
    pd.testing.assert_frame_equal(history(7, AS_OF), history(7, berlin))


@pytest.mark.parametrize("seed", [1, 7, 42])
def test_one_tenant_is_near_the_limit_and_was_warned_of_weeks_before(seed):
    used = share("meridian-logistics", "STORAGE", seed)
    assert 90 <= used.iloc[-1] <= 95
    since = used.index[-1] - used[used < 80].index[-1]
    assert timedelta(weeks=3) <= since <= timedelta(weeks=8)
    daily = used.resample("1D").max() >= 80
    assert (daily & ~daily.shift(fill_value=False)).sum() >= 4  # three cleanups came in time before


def test_one_tenant_took_over_another_companys_users():
    users = share("bluebell-pharmacies", "USERS")
    day = users.index[-1] - pd.Timedelta(days=120)
    assert users[day] - users[day - pd.Timedelta(hours=6)] > 40


def test_one_tenants_storage_was_enlarged():
    frame = history(7, AS_OF)
    kestrel = frame[(frame["tenant"] == TENANTS[3].hash_key) & (frame["resource_type"] == "STORAGE")]
    assert kestrel["capacity"].unique().tolist() == [300 * 1024**3, 450 * 1024**3]


def test_weekends_are_quieter():
    rate = share("harbour-dental", "CONNECTIONS")
    by_day = rate.groupby(rate.index.day_of_week).mean()
    assert by_day[5:].max() < 0.6 * by_day[:5].min()


def test_it_is_written_once(pg):
    with pg.vault() as opened:
        done = simulate(opened, 7, AS_OF)
        assert done.inserted == done.rows == 31_700
        before = {name: pg.value(query) for name, query in TABLES.items()}
        assert before == {"tenants": 5, "profiles": 5, "hubs": 20, "measurements": 31_700, "capacities": 16}
        assert simulate(opened, 7, AS_OF).inserted == 0
        assert simulate(opened).as_of == AS_OF  # the time of what is there, not now
    assert {name: pg.value(query) for name, query in TABLES.items()} == before
    for table in ("auth.tenant_h", "auth.tenant_profile_s", "capacity_planning.resource_utilization_h",
                  "capacity_planning.resource_utilization_s"):  # fmt: skip
        assert pg.value(f"SELECT array_agg(DISTINCT record_source::text) FROM {table}") == ["SIMULATION"]
    assert pg.value("SELECT array_agg(tenant_name::text ORDER BY tenant_bk) FROM capacity_ops.tenant") == [
        one.name for one in sorted(TENANTS, key=lambda one: one.key)
    ]
    assert pg.value("SELECT bool_and(is_simulated AND max_users > 0) FROM capacity_ops.tenant")


def test_what_is_stored_is_what_was_made(pg18):
    with pg18.vault() as opened:
        simulate(opened, 7, AS_OF)
    made = history(7, AS_OF)
    stored = pg18.rows("""
        SELECT encode(tenant_hk, 'hex'), resource_type, resource_name, measurement_timestamp, current_value::float8,
               maximum_capacity::float8, monitoring_frequency_seconds
        FROM capacity_planning.resource_utilization_s""")
    key = ["tenant", "resource_type", "resource_name", "measured_at"]
    frame = pd.DataFrame(stored, columns=[*key, "value", "capacity", "pace"]).sort_values(
        key, ignore_index=True
    )
    made = made.sort_values(key, ignore_index=True)
    np.testing.assert_array_equal(frame["value"], made["value"])
    np.testing.assert_array_equal(frame["capacity"].astype(float), made["capacity"])
    assert set(frame["pace"]) == {6 * 3600}


def test_another_simulation_is_not_mixed_in(pg18):
    with pg18.vault() as opened:
        simulate(opened, 7, AS_OF)
        for seed, as_of in ((8, AS_OF), (7, AS_OF - timedelta(days=30))):
            with pytest.raises(CapacityError, match="already holds another simulation"):
                simulate(opened, seed, as_of)
    assert pg18.value(TABLES["measurements"]) == 31_700


def test_real_tenants_are_not_mixed_with_simulated_ones_unless_forced(pg18):
    pg18.run("INSERT INTO auth.tenant_h VALUES (util.hash_binary('acme'), 'acme', now(), 'TEST')")
    with pg18.vault() as opened:
        with pytest.raises(CapacityError, match="1 real tenants: nothing was simulated"):
            simulate(opened, 7, AS_OF)
        assert pg18.value(TABLES["tenants"]) == 1
        assert simulate(opened, 7, AS_OF, force=True).inserted == 31_700


def test_the_future_is_not_simulated(pg18):
    with pg18.vault() as opened, pytest.raises(CapacityError, match="yet to come"):
        simulate(opened, 7, datetime.now(UTC) + timedelta(days=1))
    assert pg18.value(TABLES["tenants"]) == 0
