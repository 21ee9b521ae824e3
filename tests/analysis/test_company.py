"""Series hear others: of their type, of their tenant, whatever is asked for and however it is divided."""

import numpy as np
import pytest

from capacity_kit import growth
from capacity_kit.analysis import run
from capacity_kit.analysis.company import ALONE, Companies, heard
from capacity_kit.growth import Prior

AS_OF = "2026-11-01"
MORE = """
WITH keyed AS (
    SELECT kind, t.tenant_hk, capacity_ops.resource_key(kind, 'data', t.tenant_hk) AS key
    FROM unnest('{ROWS,USERS,SESSIONS}'::text[]) kind CROSS JOIN auth.tenant_h t WHERE t.tenant_bk = 't3'),
hub AS (
    INSERT INTO capacity_planning.resource_utilization_h
    SELECT capacity_ops.hash_key(key), key, now(), 'test' FROM keyed)
INSERT INTO capacity_planning.resource_utilization_s
    (resource_utilization_hk, load_date, hash_diff, measurement_timestamp, current_value, tenant_hk, resource_type,
     resource_name, resource_category, unit, record_source)
SELECT capacity_ops.hash_key(k.key), now(), '', '2026-11-01T00:00Z'::timestamptz - make_interval(hours => 24 * d),
       1000 + 10 * (40 - d) + 200 * (d % 7 = 0)::int, k.tenant_hk, k.kind, 'data', 'TEST', 'pieces', 'test'
FROM keyed k CROSS JOIN generate_series(0, 39) d"""


def analysed(database, **options):
    with database.vault() as store:
        done = list(run.analyse(store, as_of=AS_OF, dry_run=True, **options))
    return {record["resource_utilization_hk"]: record for d in done for record in d.records}


@pytest.fixture(scope="module")
def company(server18, many):
    """The 40 series, and one tenant with three more of other types."""
    database = server18.create(many.name)
    database.run(MORE)
    yield database
    database.drop()


def test_a_short_series_says_whom_it_heard(company):
    found = analysed(company)
    tenant = "\\x" + company.value(
        "SELECT encode(tenant_hk, 'hex') FROM auth.tenant_h WHERE tenant_bk = 't3'"
    )
    for record in found.values():
        told = record["model_parameters"]["company"]
        assert told["of_type"] == (40 if record["resource_type"] == "STORAGE" else 1)
        assert told["of_tenant"] == (4 if record["tenant_hk"] == tenant else 0)


def test_what_is_heard_does_not_depend_on_what_is_asked_for(company, close):
    whole = analysed(company)
    assert close(analysed(company, size=7), whole)
    for scope in ({"tenant": "t3"}, {"resource_type": "STORAGE"}):
        part = analysed(company, **scope)
        assert 0 < len(part) < len(whole)
        for key, record in part.items():
            ignored = {"reconciled"}
            ours, theirs = (
                r | {"model_parameters": {k: v for k, v in r["model_parameters"].items() if k not in ignored}}
                for r in (record, whole[key])
            )
            assert close(ours, theirs)


def test_a_prior_changes_what_a_short_series_says(chunk):
    """Thirty days of a line among series that go round in weeks, and alone."""
    from capacity_kit.analysis.work import Known, analyse

    rng = np.random.default_rng(2)
    weeks = [100 + 30 * np.sin(np.arange(300) * 2 * np.pi / 7) + rng.normal(0, 1, 300) for _ in range(20)]
    known = Known(Companies({"STORAGE": heard(weeks, 365)}))
    days = np.arange(30)[::-1]
    short = chunk((days, 100 + 30 * np.sin(np.arange(30) * 2 * np.pi / 7) + rng.normal(0, 12, 30)))
    alone, among = (analyse(short, k)[0]["model_parameters"] for k in (Known(), known))
    assert among["company"] == {"of_type": 20, "of_tenant": 0}
    assert among["weights"] != alone["weights"]
    direct = growth.forecast([short.values[0]], 365, 7, known.companies.types["STORAGE"])
    assert among["quantiles"]["30"] == pytest.approx(direct.quantiles[0, 29].tolist(), rel=1e-9)


def test_a_small_company_is_drawn_to_the_large_one(chunk):
    large, small = Prior({"a": 1.0, "b": 0.5}, 256), Prior({"a": 0.0, "c": 2.0}, ALONE)
    companies = Companies({"STORAGE": large}, {"SYSTEM": small})
    one = chunk(([0], [1]), ([0], [1])).resources
    first, second = companies.of(one)
    assert first is second
    assert first.disadvantage == {"a": 0.5, "b": 0.5, "c": 2.0}
    assert first.series == 256 + ALONE
    assert Companies({"STORAGE": large}).of(one)[0] is large
