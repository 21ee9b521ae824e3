import os
import threading

import psycopg
import pytest
from pydantic import SecretStr

from capacity_kit import vault
from capacity_kit.errors import CapacityError
from capacity_kit.vault import connection

SECRET = "s3cr3t-Wörd/@:%"


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No embedded server, and nothing else named."""
    monkeypatch.setenv("CAPACITY_HOME", str(tmp_path / "home"))


def test_the_argument_comes_first_then_the_setting_then_libpq_then_the_embedded_server(nowhere, monkeypatch):
    with pytest.raises(CapacityError, match="No server is named.*capacity up"):
        connection.resolve()
    monkeypatch.setenv("PGSERVICE", "platform")
    assert connection.resolve().origin == "libpq"
    monkeypatch.setenv("CAPACITY_DSN", "host=b")
    assert connection.resolve().dsn.get_secret_value() == "host=b"
    assert connection.resolve("host=a").dsn.get_secret_value() == "host=a"


@pytest.mark.parametrize("name", ["PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE"])
def test_any_of_libpqs_variables_names_a_server(nowhere, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert connection.resolve().origin == "libpq"


def test_libpqs_service_file_is_followed(pg18, monkeypatch, tmp_path):
    file = tmp_path / "services"
    file.write_text(
        f"[platform]\nhost={pg18.server.cluster.data}\nport=5432\nuser=postgres\ndbname={pg18.name}\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    monkeypatch.setenv("PGSERVICE", "platform")
    with vault.open() as opened:
        assert opened.server.database == pg18.name


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:p@ss@host/db",
        "postgresql://u:p/w@host/db",
        "postgresql://u:ab%zz@host/db",
        "host=h pass word=x",
        "nonsense",
        "postgresql://host:port/db",
    ],
)
def test_a_string_that_cannot_be_read_is_refused_and_not_repeated(dsn):
    with pytest.raises(CapacityError) as caught:
        vault.open(dsn)
    assert dsn not in str(caught.value)
    for part in ("p@ss", "ss@host", "p/w", "ab%zz"):
        assert part not in str(caught.value)


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("host=127.0.0.1 port=1", r"No server answers: .*Connection refused.*capacity up"),
        ("host=/nowhere", r"No server answers: .*No such file"),
        ("host=no-such-host.invalid", r"host's name is not known"),
        ("service=no_such_service", r"service file does not serve"),
    ],
)
def test_a_server_that_is_not_there_is_named_with_what_to_do(dsn, said):
    with pytest.raises(CapacityError, match=said):
        vault.open(dsn)


def test_an_unknown_database_and_an_unknown_role_are_named(pg18):
    with pytest.raises(CapacityError, match="no database nowhere on that server.*createdb"):
        vault.open(pg18.server.dsn("nowhere"))
    with pytest.raises(CapacityError, match="no role nobody_known on that server"):
        vault.open(pg18.dsn.replace("postgres@", "nobody_known@"))


@pytest.mark.parametrize("version", [90603, 130014])
def test_a_server_that_is_too_old_is_refused(version):
    with pytest.raises(CapacityError, match=f"14 or newer is needed; this server is {version // 10000}"):
        connection.require_version(version)


def test_a_supported_version_is_not_refused():
    connection.require_version(140000)


def test_a_password_shows_in_no_representation():
    target = connection.Target(SecretStr(f"postgresql://u:{'geheim'}@127.0.0.1:1/d"), "argument")
    engine = connection.engine(target)
    for shown in (repr(target), str(target), repr(engine), str(engine.url), repr(vars(target))):
        assert "geheim" not in shown


def test_no_message_of_a_failed_connection_holds_the_password():
    target = connection.Target(SecretStr("host=h password=geheim"), "argument")
    error = psycopg.OperationalError("connection failed: something odd with geheim in it")
    assert "geheim" not in str(connection.unreachable(error, target))


def test_what_the_server_refuses_is_said_in_one_line(pg18):
    with pg18.vault() as opened:
        with pytest.raises(CapacityError) as caught:
            opened.script("SELECT 1 / 0")
        assert str(caught.value) == "Division by zero"
        with pytest.raises(CapacityError, match="capacity schema is not.*capacity deploy"):
            opened.script("SELECT * FROM capacity_planning.nothing_such")
        with pytest.raises(CapacityError, match="only reads"):
            opened.script("SET TRANSACTION READ ONLY; CREATE TABLE t (i int)")


def test_a_lost_connection_is_said_and_the_next_use_works(pg18):
    with pg18.vault() as opened:
        opened.read("server")
        pg18.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with pytest.raises(CapacityError, match="connection to the server was lost"):
            opened.read("server")
        assert opened.read("server")["database"].item() == pg18.name


def test_sessions_speak_utc_whatever_the_role_says(pg18, monkeypatch):
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    pg18.run(f"ALTER DATABASE {pg18.name} SET timezone = 'America/New_York'")
    pg18.run(f"ALTER DATABASE {pg18.name} SET bytea_output = 'escape'")
    with pg18.vault() as opened:
        found = opened.read("deployment")
        assert str(found["applied_at"].dtype) == "datetime64[us, UTC]"


def test_sessions_are_named_for_whoever_looks(pg18):
    with pg18.vault():
        assert ("capacity-kit",) in pg18.rows("SELECT application_name FROM pg_stat_activity")


def test_a_vault_can_be_used_by_one_thread_after_another(pg18):
    with pg18.vault() as opened:
        found = []
        thread = threading.Thread(target=lambda: found.append(opened.read("server")))
        thread.start()
        thread.join()
        assert len(found[0]) == 1


def test_the_environment_of_the_tests_names_no_server():
    assert not [name for name in os.environ if name.startswith("PG")]
