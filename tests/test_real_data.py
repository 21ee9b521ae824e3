"""Real series in the shapes they came in, imported and held against what pandas reads in the same files."""

import math

import numpy as np
import pandas as pd
import pytest

from capacity_kit.errors import CapacityError
from capacity_kit.sources.csv_file import CsvFile, Layout

pytestmark = pytest.mark.shared

PATTERNS = {"LINEAR", "EXPONENTIAL", "SEASONAL", "CYCLICAL", "STABLE", "SLOW_GROWTH", "DECREASING", "IRREGULAR",
            "INSUFFICIENT_DATA"}  # fmt: skip
STORED = """
    SELECT resource_name, measurement_timestamp, current_value::float8
    FROM capacity_planning.resource_utilization_s WHERE load_end_date IS NULL AND record_source = %s"""


@pytest.fixture(scope="session")
def data(shared):
    if not (shared / "data").is_dir():
        pytest.skip("../shared/data is not here: real series are not part of the project")
    return shared / "data"


def storage(path, suffix="live_bytes"):
    """A wide file: each directory's column a resource, its name prefixed by the file's."""
    columns = [column for column in pd.read_csv(path, nrows=0).columns if column.endswith(suffix)]
    values = tuple(f"{column}={path.stem} {column.rpartition('|')[0]}" for column in columns)
    layout = Layout(time="date", values=values, resource_type="STORAGE", unit="bytes")
    expected = pd.read_csv(path, parse_dates=["date"]).melt("date", columns)
    names = f"{path.stem} " + expected["variable"].str.rpartition("|")[0]
    return layout, expected.assign(name=names, at=expected["date"])


def machines(path):
    """A long file: the machine's number in a column, times with their zone."""
    layout = Layout(time="h", values=("cpu_mhz",), name_column="id", resource_type="CPU", unit="MHz")
    expected = pd.read_csv(path)
    return layout, expected.assign(
        name=expected["id"].astype(str), at=pd.to_datetime(expected["h"]), value=expected["cpu_mhz"]
    )


def cloudwatch(path):
    """A file of one resource, which has its name from us."""
    layout = Layout(
        time="timestamp", values=("value",), name=path.stem, resource_type="CPU", unit="percent", capacity=100
    )
    expected = pd.read_csv(path)
    return layout, expected.assign(name=path.stem, at=pd.to_datetime(expected["timestamp"]))


def throughput(path):
    """Irregular measurements of three servers."""
    layout = Layout(
        time="starttime",
        values=("value",),
        name_column="VM_id",
        resource_type="TRANSACTIONS",
        unit="transactions/s",
    )
    expected = pd.read_csv(path)
    return layout, expected.assign(
        name=expected["VM_id"].astype(str), at=pd.to_datetime(expected["starttime"])
    )


FILES = [
    ("storage_growth/redis__redis.csv", storage),
    ("storage_growth/Homebrew__brew.csv", storage),
    ("storage_growth/tldr-pages__tldr.csv", storage),
    ("vm_cpu_hourly.csv", machines),
    ("cloudwatch/rds_cpu_utilization_e47b3b.csv", cloudwatch),
    ("cloudwatch/ec2_cpu_utilization_77c1ca.csv", cloudwatch),
    ("postgres_tps.csv", throughput),
]


def load(database, path, layout, **options):
    with database.vault() as opened:
        source = CsvFile(path, opened.tenant, layout)
        return opened.load(
            source.batches(), source.record_source, label=path.name, method=source.method, **options
        )


@pytest.mark.parametrize(("file", "shape"), FILES, ids=[file for file, _ in FILES])
def test_a_real_file_is_stored_as_it_is(pg, data, file, shape):
    path = data / file
    layout, expected = shape(path)
    expected = expected[["name", "at", "value"]]
    expected["at"] = expected["at"].map(lambda at: at if at.tzinfo else at.tz_localize("UTC"))
    expected = expected.sort_values(["name", "at"], ignore_index=True)

    done = load(pg, path, layout)
    assert done.inserted == done.rows == len(expected)
    assert done.resources == expected["name"].nunique()
    stored = pd.DataFrame(pg.rows(STORED, f"IMPORT:{path.name}"), columns=["name", "at", "value"])
    stored = stored.sort_values(["name", "at"], ignore_index=True)
    assert stored["name"].tolist() == expected["name"].tolist()
    assert [at.timestamp() for at in stored["at"]] == [at.timestamp() for at in expected["at"]]
    np.testing.assert_array_equal(stored["value"], expected["value"].astype(float))

    again = load(pg, path, layout)
    assert (again.inserted, again.corrected) == (0, 0)


def test_a_file_with_times_twice_is_refused_or_thinned_when_asked(pg18, data):
    path = data / "cloudwatch" / "ec2_network_in_5abac7.csv"
    layout, expected = cloudwatch(path)
    with pytest.raises(CapacityError, match=r"same resource and time more than once \(lines 2119, 2120, "):
        load(pg18, path, layout)
    done = load(pg18, path, layout, duplicates="last")
    assert done.dropped == expected["at"].duplicated().sum()
    assert done.inserted == expected["at"].nunique()


@pytest.mark.parametrize(
    ("file", "shape", "days", "backtested"),
    [
        ("storage_growth/redis__redis.csv", storage, 90, True),
        ("storage_growth/tldr-pages__tldr.csv", storage, 30, True),
        ("storage_growth/elastic__detection-rules.csv", storage, 365, True),
        ("vm_cpu_hourly.csv", machines, 30, False),
        ("postgres_tps.csv", throughput, 90, True),
        ("cloudwatch/rds_cpu_utilization_e47b3b.csv", cloudwatch, 30, False),
    ],
)
def test_growth_of_real_series_is_analysed(pg18, data, file, shape, days, backtested):
    layout, expected = shape(data / file)
    done = load(pg18, data / file, layout)
    end = pd.Timestamp(expected["at"].max())
    with pg18.vault() as opened:
        found = opened.analyze(days=days, as_of=end.to_pydatetime())
    assert len(found) == done.resources
    assert set(found["pattern_type"]) <= PATTERNS
    known = found[found["pattern_type"] != "INSUFFICIENT_DATA"]
    assert len(known) >= 0.9 * len(found)
    last = expected.sort_values("at").groupby("name")["value"].last()
    highest = expected.groupby("name")["value"].max()
    for row in known.itertuples():
        for forecast in (row.forecast_7d, row.forecast_30d, row.forecast_90d):
            assert math.isfinite(forecast)
            assert 0 <= forecast <= 20 * highest[row.resource_name] + 1, row
        assert row.current_usage == last[row.resource_name]
    if backtested:
        assert known["wape_30d"].notna().mean() >= 0.8
        assert (known["backtest_origins"] > 0).mean() >= 0.8
        scored = known[known["wape_30d"].notna()]
        np.testing.assert_allclose(
            scored["confidence_level"], (100 - scored["wape_30d"]).clip(lower=0), atol=0.01
        )  # which is how confidence is defined
