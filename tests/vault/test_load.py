import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pandas as pd
import pytest

from capacity_kit.errors import CapacityError
from capacity_kit.sources.frame import COLUMNS
from capacity_kit.vault.load import Loaded, load

CURRENT = """
    SELECT s.*, h.resource_utilization_bk
    FROM capacity_planning.resource_utilization_s s
    JOIN capacity_planning.resource_utilization_h h USING (resource_utilization_hk)
    WHERE s.load_end_date IS NULL ORDER BY h.resource_utilization_bk, s.measurement_timestamp"""
CLOSED = """
    SELECT current_value, load_end_date FROM capacity_planning.resource_utilization_s WHERE load_end_date IS NOT NULL"""
END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""
COUNT = "SELECT count(*) FROM capacity_planning.resource_utilization_s"


def measured(
    values,
    *,
    name="data",
    kind="DISK",
    unit="bytes",
    tenant=None,
    capacity=None,
    start="2026-01-01",
    every="1h",
):
    """A measurement frame of one resource."""
    count = len(values)
    return pd.DataFrame(
        {
            "measured_at": pd.date_range(start, periods=count, freq=every, tz="UTC", unit="us"),
            "tenant": np.full(count, tenant, dtype=object),
            "resource_type": kind,
            "resource_name": name,
            "value": np.asarray(values, dtype=float),
            "capacity": float("nan") if capacity is None else float(capacity),
            "unit": unit,
            "line": np.arange(2, count + 2),
        }
    )[list(COLUMNS)]


def store(pg, *frames, record_source="IMPORT:usage.csv", **options):
    with pg.vault() as opened, opened.transaction() as connection:
        return load(connection, list(frames), record_source, **options)


def current(pg):
    with pg.connect() as connection, connection.cursor() as cursor:
        cursor.execute(CURRENT)
        return [dict(zip([c.name for c in cursor.description], row, strict=True)) for row in cursor]


def make_tenant(pg, key="acme"):
    pg.run("INSERT INTO auth.tenant_h VALUES (util.hash_binary(%s), %s, now(), 'TEST')", key, key)
    return pg.value("SELECT encode(util.hash_binary(%s), 'hex')", key)


def test_measurements_are_stored_with_their_resource(pg):
    tenant = make_tenant(pg)
    done = store(
        pg,
        measured([10, 20, 40], capacity=80),
        measured([5], tenant=tenant, kind="USERS", name="users", unit="users"),
        label="usage.csv",
        method="by hand",
    )
    assert done == Loaded(rows=4, inserted=4, corrected=0, resources=2)
    disk, users = current(pg)[:3], current(pg)[3]
    assert [float(row["current_value"]) for row in disk] == [10, 20, 40]
    assert [float(row["utilization_percentage"]) for row in disk] == [12.5, 25, 50]
    assert {row["monitoring_frequency_seconds"] for row in disk} == {3600}
    assert disk[0]["resource_utilization_bk"] == "DISK|data|SYSTEM"
    assert disk[0]["resource_utilization_hk"] == pg.value("SELECT util.hash_binary('DISK|data|SYSTEM')")
    assert disk[0]["resource_category"] == "HOST"
    assert (disk[0]["measurement_source"], disk[0]["measurement_method"]) == ("usage.csv", "by hand")
    assert {row["record_source"] for row in disk} == {"IMPORT:usage.csv"}
    assert disk[0]["peak_value_24h"] is disk[0]["system_identifier"] is disk[0]["data_quality_score"] is None
    assert users["resource_utilization_bk"] == f"USERS|users|{tenant}"
    assert users["tenant_hk"].hex() == tenant
    assert (
        users["maximum_capacity"]
        is users["utilization_percentage"]
        is users["monitoring_frequency_seconds"]
        is None
    )


def test_every_number_comes_back_as_it_was(pg):
    values = [0.0, 0.1 + 0.2, 1 / 3, 2.0**53, 2.0**60, 93.1 * 1024**3, 1e22, 1e300, 5e-324, 14.012]
    store(pg, measured(values))
    assert [float(row["current_value"]) for row in current(pg)] == values


def test_loading_again_adds_nothing(pg):
    frame = measured([1.5, 2.5, 1e17, 0.1], capacity=3e17)
    store(pg, frame)
    before = pg.rows("SELECT xmin::text, * FROM capacity_planning.resource_utilization_s")
    assert store(pg, frame) == Loaded(rows=4, inserted=0, corrected=0, resources=1)
    assert pg.rows("SELECT xmin::text, * FROM capacity_planning.resource_utilization_s") == before


def test_a_longer_file_adds_what_is_new(pg):
    store(pg, measured([1, 2]))
    assert store(pg, measured([1, 2, 3])).inserted == 1
    assert [float(row["current_value"]) for row in current(pg)] == [1, 2, 3]


def test_a_correction_keeps_the_earlier_version_closed(pg):
    store(pg, measured([1, 2, 3], capacity=10))
    done = store(pg, measured([1, 7, 3], capacity=10), record_source="IMPORT:corrected.csv")
    assert (done.inserted, done.corrected) == (0, 1)
    assert [float(row["current_value"]) for row in current(pg)] == [1, 7, 3]
    assert [row["record_source"] for row in current(pg)] == [
        "IMPORT:usage.csv",
        "IMPORT:corrected.csv",
        "IMPORT:usage.csv",
    ]
    closed = pg.rows(CLOSED)
    assert len(closed) == 1
    assert closed[0] == (2, current(pg)[1]["load_date"])


def test_corrections_can_follow_each_other(pg):
    for value in (1, 2, 1, 2):
        store(pg, measured([value]))
    assert pg.value(COUNT) == 4
    assert float(current(pg)[0]["current_value"]) == 2


def test_a_capacity_that_is_not_said_is_not_unsaid(pg):
    store(pg, measured([1, 2], capacity=10))
    assert store(pg, measured([1, 2])).corrected == 0
    store(pg, measured([1, 5]))
    assert [float(row["utilization_percentage"]) for row in current(pg)] == [10, 50]
    assert store(pg, measured([1, 5], capacity=20)).corrected == 2


def test_the_median_spacing_is_kept_whatever_the_gaps(pg):
    frame = measured([1] * 5)
    frame["measured_at"] = pd.to_datetime(
        ["2026-01-01", "2026-01-01T00:05Z", "2026-01-01T00:10Z", "2026-01-01T00:15Z", "2026-02-01"],
        utc=True,
        format="ISO8601",
    ).as_unit("us")
    store(pg, frame)
    store(pg, measured([9], start="2026-03-01"))
    assert {row["monitoring_frequency_seconds"] for row in current(pg)} == {300}


def test_names_are_taken_literally(pg):
    name = "d'a\"ta|%s :x <script> ß"
    store(pg, measured([1], name=name))
    assert current(pg)[0]["resource_name"] == name


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([measured([1, 2]), measured([3], start="2026-01-01T01:00")], "time more than once (lines 2, 3)"),
        ([measured([1]), measured([2], unit="GiB", start="2026-02-01")], "measured in bytes, not in GiB (line 2)"),
        ([measured([1], tenant="ab" * 32)], f"unknown tenant {'ab' * 32} (line 2)"),
        ([measured([1, float("nan")])], "the value is not a number (line 3)"),
        ([measured([1, float("inf"), float("inf")])], "the value is infinite (lines 3, 4)"),
        ([measured([-1])], "the value is negative (line 2)"),
        ([measured([1], capacity=0)], "the capacity is 0 or negative (line 2)"),
        ([measured([1], start="2126-01-01")], "more than a day ahead of now (line 2)"),
        ([], "no measurements in it"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_whole(pg, frames, said):
    store(pg, measured([5], name="before"))
    with pytest.raises(CapacityError) as refusal:
        store(pg, measured([1], name="good"), *frames) if frames else store(pg)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert pg.value(COUNT) == 1
    assert pg.value("SELECT count(*) FROM capacity_planning.resource_utilization_h") == 1


def test_a_unit_other_than_the_stored_one_is_refused(pg):
    store(pg, measured([1]))
    with pytest.raises(CapacityError, match="is measured in bytes, not in GiB"):
        store(pg, measured([1], unit="GiB", start="2026-02-01"))


def test_a_unit_other_than_the_registered_one_is_refused(pg):
    pg.run("SELECT capacity_ops.register_capacity(NULL, 'DISK', 'data', 100, 'bytes')")
    with pytest.raises(CapacityError, match="is measured in bytes, not in GiB"):
        store(pg, measured([1], unit="GiB"))


@pytest.mark.parametrize(("keep", "kept"), [("first", 1), ("last", 3)])
def test_of_duplicates_the_first_or_the_last_is_kept_when_asked(pg, keep, kept):
    frame = pd.concat([measured([1]), measured([2]), measured([3])], ignore_index=True).assign(line=[2, 3, 4])
    assert store(pg, frame, duplicates=keep) == Loaded(
        rows=3, inserted=1, corrected=0, resources=1, dropped=2
    )
    assert float(current(pg)[0]["current_value"]) == kept


def test_progress_is_told(pg):
    told = []
    store(pg, measured([1, 2]), measured([3], name="other"), progress=lambda *said: told.append(said))
    assert told == [("reading", 2), ("reading", 3), ("checking", 3), ("recording", 3)]


def test_a_source_that_breaks_off_leaves_nothing(pg):
    def breaking():
        yield measured(range(1000))
        raise OSError("the disk went away")

    with pg.vault() as opened, pytest.raises(OSError, match="went away"), opened.transaction() as connection:
        load(connection, breaking(), "IMPORT:x.csv")
    assert pg.value(COUNT) == 0


def test_a_server_that_ends_the_session_leaves_nothing(pg):
    def ending():
        yield measured(range(1000))
        pg.run(END_OTHERS)
        yield measured(range(100_000), name="other", every="1s")

    with pytest.raises(CapacityError, match="lost"), pg.vault() as opened, opened.transaction() as connection:
        load(connection, ending(), "IMPORT:x.csv")
    assert pg.value(COUNT) == 0


@pytest.mark.parametrize("stage", ["reading", "checking", "recording"])
def test_a_killed_load_leaves_nothing(pg, stage):
    program = f"""
        import sys, time
        import numpy as np, pandas as pd
        from capacity_kit import vault
        from capacity_kit.vault.load import load

        def batches():
            for name in ("a", "b"):
                yield pd.DataFrame({{
                    "measured_at": pd.date_range("2020-01-01", periods=50_000, freq="1h", tz="UTC", unit="us"),
                    "tenant": None, "resource_type": "DISK", "resource_name": name, "value": 1.0, "capacity": 2.0,
                    "unit": "bytes", "line": np.arange(50_000)}})

        def tell(stage, rows):
            if stage == {stage!r}:
                print(stage, flush=True)

        with vault.open({pg.dsn!r}) as opened, opened.transaction() as connection:
            load(connection, batches(), "IMPORT:x.csv", progress=tell)
            time.sleep(60)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline().strip() == stage
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert pg.value(COUNT) == 0
    assert store(pg, measured(range(10))).inserted == 10  # and holds no lock for long


def test_two_loads_at_once_end_as_one_after_the_other(pg):
    results, start = [], threading.Barrier(3)

    def run(value):
        frame = measured(np.full(5000, value))
        start.wait()
        results.append(store(pg, frame))

    threads = [threading.Thread(target=run, args=(value,)) for value in (1, 1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert sum(done.inserted for done in results) == 5000
    assert len(current(pg)) == 5000
    assert len({row["current_value"] for row in current(pg)}) == 1


def test_a_load_in_a_larger_transaction_can_be_repeated_in_it(pg):
    with pg.vault() as opened, opened.transaction() as connection:
        assert load(connection, [measured([1])], "A").inserted == 1
        assert load(connection, [measured([1, 2])], "B").inserted == 1
    assert pg.value(COUNT) == 2
