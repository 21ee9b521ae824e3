import time
from datetime import UTC, datetime
from hashlib import sha256

import pandas as pd
import pytest

from capacity_kit import vault
from capacity_kit.errors import CapacityError
from capacity_kit.vault import frames, queries

ACME = sha256(b"acme").hexdigest()


@pytest.fixture
def platform(pg):
    """Two tenants, one of them gone inactive."""
    for name in ("acme", "zenith"):
        pg.run("INSERT INTO auth.tenant_h VALUES (sha256(%s), %s, now(), 'test')", name.encode(), name)
    pg.run(
        "INSERT INTO auth.tenant_profile_s SELECT tenant_hk, now(), NULL, tenant_hk, tenant_bk, NULL, false, 10, 'test'"
        " FROM auth.tenant_h WHERE tenant_bk = 'zenith'"
    )
    with pg.vault() as opened:
        yield opened


def test_a_transaction_is_whole_or_nothing(pg):
    with pg.vault() as opened:
        with pytest.raises(CapacityError, match="Division by zero"), opened.transaction():
            opened.script("CREATE TABLE public.t (i int); SELECT 1 / 0")
        assert pg.value("SELECT to_regclass('t')") is None
        with opened.transaction(rollback=True):
            opened.script("CREATE TABLE public.t (i int)")
        assert pg.value("SELECT to_regclass('t')") is None
        with opened.transaction():
            opened.script("CREATE TABLE public.t (i int)")
        assert pg.value("SELECT to_regclass('t')") is not None


def test_in_a_transaction_that_only_reads_nothing_is_changed_by_what_it_calls(pg):
    with pg.vault() as opened:
        with opened.transaction(read_only=True):
            opened.read("tenants")
            with pytest.raises(CapacityError, match="only reads"), opened.transaction():
                opened.script("CREATE TABLE public.t (i int)")
        with opened.transaction(), opened.transaction(read_only=True):
            opened.read("tenants")
            with pytest.raises(CapacityError, match="only reads"), opened.transaction():
                opened.script("CREATE TABLE public.t (i int)")
        with opened.transaction():
            opened.script("CREATE TABLE public.t (i int)")


def test_a_transaction_within_another_can_be_undone_alone(pg):
    with pg.vault() as opened, opened.transaction():
        opened.script("CREATE TABLE public.kept (i int)")
        with opened.transaction(rollback=True):
            opened.script("CREATE TABLE public.undone (i int)")
        with pytest.raises(CapacityError), opened.transaction():
            opened.script("SELECT 1 / 0")
        opened.script("INSERT INTO public.kept VALUES (1)")
    assert pg.value("SELECT count(*) FROM kept") == 1
    assert pg.value("SELECT to_regclass('undone')") is None


def test_the_types_of_columns_do_not_depend_on_what_is_in_them():
    columns = [("i", 23), ("n", 1700), ("b", 16), ("t", 25), ("z", 1184), ("d", 1186), ("j", 3802)]
    full = frames.frame(
        columns, [(1, 2.5, True, "x", datetime(2026, 1, 1, tzinfo=UTC), pd.Timedelta("1h"), {"a": 1})]
    )
    assert [str(t) for t in full.dtypes] == [
        "int64", "float64", "bool", "str", "datetime64[us, UTC]", "timedelta64[us]", "object",
    ]  # fmt: skip
    assert full["j"].item() == {"a": 1}
    empty = frames.frame(columns, [])
    assert empty.dtypes.equals(full.dtypes)
    assert len(empty) == 0
    missing = frames.frame(columns, [(None,) * len(columns)] * 2)
    assert [str(t) for t in missing.dtypes] == [
        "Int64", "float64", "boolean", "str", "datetime64[us, UTC]", "timedelta64[us]", "object",
    ]  # fmt: skip
    assert missing.isna().all(axis=None)


def test_tenants_are_found_by_key_and_by_hash_key(platform):
    assert platform.tenant("acme") == ACME
    assert platform.tenant(ACME.upper()) == ACME
    assert platform.tenant("ALL") is None
    assert platform.tenant("SYSTEM") is None
    with pytest.raises(CapacityError, match="no tenant 'acmee'.*acme"):
        platform.tenant("acmee")


def test_capture_measures_the_system_and_active_tenants(platform):
    captured = platform.capture("ALL")
    assert {"STORAGE", "CONNECTIONS"} <= set(captured.loc[captured["tenant_hk"].isna(), "resource_type"])
    assert set(captured["tenant_hk"].dropna()) == {ACME}
    assert captured.loc[captured["resource_type"] == "STORAGE", "current_usage"].iloc[0] > 1e6


def test_a_capacity_is_registered_in_the_unit_that_is_measured(platform):
    platform.capture()
    assert platform.unit_of("SYSTEM", "STORAGE", "cluster") == "bytes"
    since = platform.register("SYSTEM", "STORAGE", "cluster", 5e12, "bytes", reason="a new disk")
    assert since.tzinfo is not None
    with pytest.raises(CapacityError, match="measured in bytes, not in GB"):
        platform.register("SYSTEM", "STORAGE", "cluster", 5000, "GB")
    with pytest.raises(CapacityError, match="positive number, not 0"):
        platform.register("SYSTEM", "STORAGE", "cluster", 0, "bytes")
    with pytest.raises(CapacityError, match="no tenant 'nobody'"):
        platform.register("nobody", "USERS", "users", 5, "users")


def test_status_puts_first_what_cannot_be_judged(platform):
    platform.capture()
    found = platform.status()
    unknown = found["capacity"].isna()
    assert unknown.any()
    assert unknown.iloc[: unknown.sum()].all()
    assert set(found.loc[unknown, "status"]) == {"UNKNOWN"}
    later = platform.status(as_of=datetime(2100, 1, 1, tzinfo=UTC))
    assert set(later["status"]) == {"STALE"}
    assert set(platform.status("acme")["tenant"]) == {"acme"}
    assert set(platform.status("SYSTEM")["tenant"]) == {"SYSTEM"}


def test_evaluation_and_analysis_of_nothing_are_empty_and_typed(pg):
    with pg.vault() as opened:
        assert opened.evaluate().empty
        analysed = opened.analyze()
        assert analysed.empty
        assert analysed["growth_rate_percentage"].dtype == "float64"


def test_default_thresholds_are_made_once(platform):
    assert platform.make_thresholds() > 0
    assert platform.make_thresholds() == 0
    evaluated = platform.evaluate("acme")
    assert set(evaluated["tenant"]) <= {"acme"}


def test_times_are_read_as_utc_unless_they_say():
    assert vault.Vault.as_of("2026-11-01") == datetime(2026, 11, 1, tzinfo=UTC)
    assert vault.Vault.as_of("2026-11-01T02:00:00+02:00") == datetime(2026, 11, 1, tzinfo=UTC)
    with pytest.raises(CapacityError, match="'yesterday' is not a time"):
        vault.Vault.as_of("yesterday")


def test_a_query_takes_the_file_of_the_highest_version_that_the_server_reaches(monkeypatch, tmp_path):
    folder = tmp_path / "queries"
    folder.mkdir()
    for name in ("wal.sql", "wal.pg16.sql", "wal.pg18.sql", "wal_other.sql"):
        (folder / name).write_text(f"-- {name}")
    monkeypatch.setattr(queries.resources, "path", lambda name: tmp_path)
    queries.find.cache_clear()
    assert [str(queries.find("wal", major)) for major in (15, 16, 17, 18, 19)] == [
        "-- wal.sql", "-- wal.pg16.sql", "-- wal.pg16.sql", "-- wal.pg18.sql", "-- wal.pg18.sql",
    ]  # fmt: skip
    with pytest.raises(CapacityError, match="no query 'nothing'"):
        queries.find("nothing", 15)
    queries.find.cache_clear()


def test_a_server_knows_whether_its_role_ends_at_the_database(pg):
    with vault.open(pg.dsn) as opened:
        assert opened.server.is_beyond_database
    with pg.connect() as connection:
        for role, is_beyond in (("pg_monitor", False), ("pg_read_server_files", True)):
            connection.execute(f"SET SESSION AUTHORIZATION {role}")
            found = connection.execute(str(queries.find("server", 15)))
            names = [column.name for column in found.description]
            assert dict(zip(names, found.fetchone(), strict=True))["is_beyond_database"] is is_beyond
            connection.execute("RESET SESSION AUTHORIZATION")


def test_a_vault_shows_no_connection_string(pg):
    with pg.vault() as opened:
        assert "postgresql://" not in repr(opened)
        assert "postgresql://" not in repr(vars(opened))


def test_who_drops_a_vault_without_closing_it_leaves_no_session(pg18):
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    dropped = pg18.vault()
    assert pg18.value(others) == 1
    del dropped
    deadline = time.monotonic() + 10
    while pg18.value(others) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert pg18.value(others) == 0
