"""Tenants' forecasts and a rest add up to the system's."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from capacity_kit import growth
from capacity_kit.analysis import run, totals, work
from capacity_kit.analysis.chunks import Chunk
from capacity_kit.analysis.grids import origins
from capacity_kit.analysis.local import workers
from capacity_kit.growth.models import MEDIAN
from capacity_kit.growth.reconcile import reconcile

AS_OF = "2026-11-01"
HORIZONS = ("7", "30", "90", "365")
COLUMNS = {
    "7": "projected_usage_7d",
    "30": "projected_usage_30d",
    "90": "projected_usage_90d",
    "365": "projected_usage_1y",
}
SYSTEM = """
WITH hub AS (
    INSERT INTO capacity_planning.resource_utilization_h
    SELECT capacity_ops.hash_key(key), key, now(), 'test'
    FROM capacity_ops.resource_key('STORAGE', %(name)s, NULL) key RETURNING 1)
INSERT INTO capacity_planning.resource_utilization_s
    (resource_utilization_hk, load_date, hash_diff, measurement_timestamp, current_value, resource_type, resource_name,
     resource_category, unit, maximum_capacity, record_source)
SELECT capacity_ops.hash_key(capacity_ops.resource_key('STORAGE', %(name)s, NULL)), now(), '', s.measurement_timestamp,
       sum(s.current_value) * %(times)s + 1e9 * (200 + extract(doy FROM s.measurement_timestamp)),
       'STORAGE', %(name)s, 'STORAGE', 'bytes', 20e12, 'test'
FROM capacity_planning.resource_utilization_s s WHERE s.tenant_hk IS NOT NULL GROUP BY s.measurement_timestamp"""


def with_system(server18, many, times=1.0, name="cluster"):
    database = server18.create(many.name)
    with database.connect() as connection:
        connection.execute(SYSTEM, {"name": name, "times": times})
    return database


@pytest.fixture(scope="module")
def platform(server18, many):
    """The 40 tenants, and a system that holds theirs and something of its own."""
    database = with_system(server18, many)
    yield database
    database.drop()


def analysed(database, **options):
    with database.vault() as store:
        done = list(run.analyse(store, **{"as_of": AS_OF, "dry_run": True, **options}))
    return [record for d in done for record in d.records]


def split(records):
    (whole,) = (r for r in records if r["tenant_hk"] is None)
    return whole, [r for r in records if r["tenant_hk"] is not None]


def test_medians_add_up(platform):
    whole, parts = split(analysed(platform))
    said = whole["model_parameters"]["reconciled"]
    assert said["parts"] == len(parts) == 40
    assert {r["model_parameters"]["reconciled"]["with"] for r in parts} == {"STORAGE cluster"}
    for days, column in COLUMNS.items():
        together = sum(r[column] for r in parts) + said["unattributed"][days]
        assert together == pytest.approx(whole[column], rel=1e-11)
        assert said["unattributed"][days] > 200e9
        band = said["unattributed_quantiles"][days]
        assert band == sorted(band)
        assert band[0] < band[MEDIAN] == said["unattributed"][days] < band[-1]
    for record in (whole, *parts):
        for days in HORIZONS:
            quantiles = record["model_parameters"]["quantiles"][days]
            assert quantiles == sorted(quantiles)
            assert quantiles[MEDIAN] == record[COLUMNS[days]]


def test_they_add_up_in_the_database_too_and_say_why_not_where_they_do_not(server18, many):
    own = with_system(server18, many)
    try:
        analysed(own, dry_run=False)
        (sums,) = own.rows("""
            SELECT sum(f.projected_usage_30d) FILTER (WHERE f.tenant_hk IS NOT NULL),
                   max(f.projected_usage_30d) FILTER (WHERE f.tenant_hk IS NULL),
                   max((f.model_parameters #>> '{reconciled,unattributed,30}')::numeric)
            FROM capacity_planning.capacity_forecast_s f WHERE f.load_end_date IS NULL""")
        parts, whole, rest = (float(s) for s in sums)
        assert parts + rest == pytest.approx(whole, rel=1e-11)
    finally:
        own.drop()


@pytest.mark.parametrize(
    ("options", "why"), [({"tenant": "t3"}, "only some"), ({"tenant": "SYSTEM"}, "only some")]
)
def test_of_a_part_of_them_no_sum_is_made(platform, options, why):
    for record in analysed(platform, **options):
        said = record["model_parameters"]["reconciled"]
        assert said["with"] is None
        assert why in said["why"]


def test_without_a_system_nothing_is_moved(many):
    for record in analysed(many):
        assert record["model_parameters"]["reconciled"] == {
            "with": None,
            "why": "the system's is not measured in this unit",
        }


def test_tenants_that_are_more_than_the_system_are_left_as_they_are(server18, many):
    own = with_system(server18, many, times=0.1)
    try:
        alone = {r["resource_utilization_hk"]: r["projected_usage_30d"] for r in analysed(many)}
        for record in analysed(own):
            assert (
                record["model_parameters"]["reconciled"]["why"]
                == "the tenants' together are more than the system's"
            )
            if record["tenant_hk"]:
                assert record["projected_usage_30d"] == pytest.approx(
                    alone[record["resource_utilization_hk"]], rel=0.05
                )
    finally:
        own.drop()


def test_neither_chunks_nor_workers_change_it(platform, close, dask_cluster):
    whole = analysed(platform)
    assert close(analysed(platform, size=6), whole)
    for made in (workers(2), dask_cluster(2)):
        with made as over:
            assert close(analysed(platform, size=9, over=over), whole)


def test_killed_and_resumed_the_sums_are_the_same(server18, many, close):
    whole, own = (with_system(server18, many) for _ in range(2))
    try:
        analysed(whole, dry_run=False)
        with own.vault() as store:
            some = run.analyse(store, as_of=AS_OF, size=11)
            next(some)
            some.close()
        analysed(own, dry_run=False)
        said = """SELECT to_jsonb(f) - '{load_date,hash_diff}'::text[]
                  FROM capacity_planning.capacity_forecast_s f ORDER BY capacity_forecast_hk"""
        assert close([r for (r,) in own.rows(said)], [r for (r,) in whole.rows(said)])
    finally:
        whole.drop()
        own.drop()


def line(rng, size, level, slope, noise):
    return np.maximum(level + slope * np.arange(size) + rng.normal(0, noise, size), 0)


def made(chunk, series, days):
    """The parts' chunk, their sums, the whole's chunk, and how far they have to move."""
    back = np.arange(days)[::-1]
    parts = chunk(*((back, values) for values in series[1:]))
    parts = replace(
        parts,
        resources=tuple(replace(r, tenant=f"{i:064x}") for i, r in enumerate(parts.resources)),
    )
    system = chunk((back, series[0]))
    sums = work.summed(parts, work.Known(), "bytes", work.past(system).size, work.before(system))
    return parts, sums, system, work.whole(system, work.Known(), sums)


def test_it_is_the_closed_form(chunk):
    """Against the arrays of all members at once."""
    rng = np.random.default_rng(6)
    parts = [line(rng, 90, 100, 1, 5), line(rng, 90, 300, 0, 30), line(rng, 90, 50, 2, 1)]
    rest = line(rng, 90, 1000, 0, 20)
    _, _, _, whole = made(chunk, [sum(parts) + rest, *parts], 90)
    said = growth.forecast([sum(parts) + rest, *parts, rest], 365, 7, keep_paths=True)
    medians, variance = said.quantiles[..., MEDIAN], said.paths.var(axis=-1)
    agreed, together = reconcile(medians[1:], medians[0], variance[1:], variance[0])
    moved = whole.moved(said.of([1, 2, 3, 4]))
    ordinary = ~whole.by_size
    assert ordinary.mean() > 0.9
    # A part as uncertain as it is large moves less than its variance asks for; here none is.
    assert (variance[1:] < medians[1:] ** 2).all()
    np.testing.assert_allclose(moved.quantiles[..., MEDIAN][:, ordinary], agreed[:, ordinary], rtol=1e-9)
    np.testing.assert_allclose(
        whole.moved(said.of([0]), True).quantiles[0, ordinary, MEDIAN], together[ordinary], rtol=1e-9
    )


def test_no_part_falls_below_zero_and_the_sum_still_holds(chunk):
    """A system that shrinks under tenants that do not."""
    rng = np.random.default_rng(7)
    parts = [line(rng, 120, 20, 0.01, 8), line(rng, 120, 400, 3, 2), rng.poisson(0.3, 120).astype(float)]
    series = [sum(parts) + np.linspace(3000, 5, 120), *parts]
    members, _, system, whole = made(chunk, series, 120)
    said = growth.forecast(series[1:], 365, 7, keep_paths=True)
    assert (whole.gap < -1).any()
    known = work.Known(wholes={("STORAGE", "bytes"): whole})
    (total,) = work.analyse(system, known)
    found = work.analyse(members, known)
    for days, column in COLUMNS.items():
        together = sum(r[column] for r in found) + whole.rest[int(days)]
        assert together == pytest.approx(total[column], rel=1e-9)
        assert min(min(r["model_parameters"]["quantiles"][days]) for r in found) >= 0
    assert (whole.moved(said).quantiles >= 0).all()


def test_an_all_attributed_system_has_no_rest(chunk):
    rng = np.random.default_rng(8)
    parts = [line(rng, 60, 10, 1, 0.5).round(), line(rng, 60, 90, 0, 0.5).round()]
    _, _, _, whole = made(chunk, [sum(parts), *parts], 60)
    assert set(whole.rest.values()) == {0.0}
    assert whole.parts == 2


def test_the_band_of_the_whole_is_that_of_its_paths(chunk):
    """Tenants that go up and down together: the sum's band is as wide as theirs together, not as if each were alone."""
    rng = np.random.default_rng(9)
    common = np.cumsum(rng.normal(0, 5, 200))
    parts = [500 + common + rng.normal(0, 1, 200) for _ in range(4)]
    _, _, system, whole = made(chunk, [sum(parts), *parts], 200)
    (said,) = work.analyse(system, work.Known(wholes={("STORAGE", "bytes"): whole}))
    low, high = (said["model_parameters"]["quantiles"]["30"][at] for at in (1, 5))
    apart = growth.forecast(parts, 365, 7).quantiles[:, 29]
    widths = apart[:, 5] - apart[:, 1]
    assert high - low > 0.7 * widths.sum() > 1.2 * np.sqrt((widths**2).sum())


def cut(chunk, days):
    """The chunk as it was so many days before."""
    at = chunk.as_of - timedelta(days=days)
    kept = [times <= at.timestamp() for times in chunk.times]
    return Chunk(
        at,
        tuple(
            replace(r, measured_at=at, origin=at, usage=float(values[own][np.argmax(times[own])]))
            for r, times, values, own in zip(chunk.resources, chunk.times, chunk.values, kept, strict=True)
        ),
        tuple(times[own] for times, own in zip(chunk.times, kept, strict=True)),
        tuple(values[own] for values, own in zip(chunk.values, kept, strict=True)),
    )


def reconciled(parts, system):
    """What would be recorded of parts and system."""
    sums = work.summed(parts, work.Known(), "bytes", work.past(system).size, work.before(system))
    whole = work.whole(system, work.Known(), sums)
    known = work.Known(wholes={} if isinstance(whole, str) else {("STORAGE", "bytes"): whole})
    return [*work.analyse(parts, known), *work.analyse(system, known)]


def test_the_backtest_is_of_what_is_recorded(chunk, monkeypatch):
    """At each origin the whole of it once more, with nothing known of what came: sums, gaps, records."""
    monkeypatch.setattr(work, "TESTED", work.HORIZON)  # bands know a little of how far ahead they look
    rng = np.random.default_rng(10)
    common = np.cumsum(rng.normal(0, 3, 130))
    series = [400 + common + line(rng, 130, 10, slope, 4) for slope in (0.0, 0.8, 2.0)]
    parts, _, system, _ = made(chunk, [sum(series) + line(rng, 130, 900, 1, 25), *series], 130)
    now = reconciled(parts, system)
    today = int(parts.as_of.timestamp() // 86400)
    dates = origins(system.resources[0], system.times[0])
    off = np.zeros((len(dates), 4))
    truth = np.zeros((len(dates), 4))
    for n, date in enumerate(dates):
        then = reconciled(cut(parts, today - date), cut(system, today - date))
        alone = work.analyse(cut(parts, today - date))
        assert then[0]["projected_usage_30d"] != alone[0]["projected_usage_30d"]
        for i, record in enumerate(then):
            values = (*parts.values, *system.values)[i]
            truth[n, i] = values[129 - (today - date) + 30]
            off[n, i] = abs(record["projected_usage_30d"] - truth[n, i])
    wape = 100 * off.sum(axis=0) / truth.sum(axis=0)
    for record, error in zip(now, wape, strict=True):
        assert record["model_parameters"]["reconciled"]["backtested"] is True
        assert record["model_parameters"]["wape_30d"] == pytest.approx(error, rel=1e-5)
        assert record["confidence_level"] == pytest.approx(100 - error, rel=1e-5)


def test_a_tenant_with_a_shorter_record_than_the_system_is_backtested_alone(chunk):
    rng = np.random.default_rng(11)
    old, young = line(rng, 300, 100, 1, 4), line(rng, 70, 100, 1, 4)
    parts, _, system, _ = made(chunk, [old + line(rng, 300, 900, 1, 9), old], 300)
    both = chunk((np.arange(300)[::-1], old), (np.arange(70)[::-1], young))
    parts = replace(
        both, resources=tuple(replace(r, tenant=f"{i:064x}") for i, r in enumerate(both.resources))
    )
    first, second, whole = reconciled(parts, system)
    assert [r["model_parameters"]["reconciled"]["backtested"] for r in (first, second, whole)] == [
        True,
        False,
        True,
    ]
    (alone,) = work.analyse(parts.of([1]))
    assert second["confidence_level"] == alone["confidence_level"]
    assert second["projected_usage_30d"] != alone["projected_usage_30d"]


def test_what_is_no_longer_measured_is_no_whole(chunk):
    days = np.arange(60.0)
    parts = chunk((days, 100 - days))
    parts = replace(parts, resources=tuple(replace(r, tenant="aa") for r in parts.resources))
    system = chunk((days + 31, 300 - days))
    sums = work.summed(parts, work.Known(), "bytes", 60)
    assert "no longer measured" in work.whole(system, work.Known(), sums)


def test_a_past_is_held_to_its_origin():
    past = totals.held(np.array([np.nan, 1.0, np.nan, 3.0, *[np.nan] * 10]))
    assert past.tolist() == [0, 1, 2, 3] + [3] * 10
    assert totals.newest(past, 16).tolist() == [0, 0, 0, 1, 2, 3] + [3] * 10
    assert totals.newest(past, 2).tolist() == [3, 3]
