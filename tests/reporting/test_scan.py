"""What looks like a secret is found however it is printed, and what does not is left alone."""

from __future__ import annotations

import base64
import html
import json
import time
from pathlib import Path
from urllib.parse import quote

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from psycopg import conninfo

from capacity_kit.reporting import scan

HARD = "S3cr%t p@ss/w'\"\\ ‹é"
KEY = "AKIA" + "Q7" * 8


def said(text, mime=None):
    """A notebook whose second cell says `text`."""
    output = (
        new_output("stream", text=text) if mime is None else new_output("display_data", data={mime: text})
    )
    return new_notebook(cells=[new_markdown_cell("# T"), new_code_cell("1", outputs=[output])])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("at postgresql://planner:letmein@db.example.org/x", "a URL with a password"),
        ("proxy HTTPS://u:p@h", "a URL with a password"),
        ("PGPASSWORD=letmein psql", "PGPASSWORD"),
        ("{'PGPASSWORD': 'letmein'}", "PGPASSWORD"),
        ('{"PGPASSWORD": "letmein"}', "PGPASSWORD"),
        ("host=h user=u password=letmein", "a password in a connection string"),
        (f"key {KEY}.", "an access key"),
        ("aws_secret_access_key = " + "aB3/" * 10, "an access key"),
        ("ghp_" + "a1B2" * 9, "an access token"),
        ("-----BEGIN PRIVATE KEY-----", "a private key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "a private key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "a private key"),
    ],
)
def test_a_secret_is_known_by_its_form(text, kind):
    leak = scan.notebook(said(text), {})
    assert (leak.place, leak.kind) == ("cell 2", kind)
    assert scan.notebook(said(f"<p>{html.escape(text)}</p>", "text/html"), {}).kind == kind
    assert scan.notebook(said({"deep": [text]}, "application/json"), {}).kind == kind
    assert scan.page(f"<p>{html.escape(text)}</p>", {}).kind == kind


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://planner@db.example.org:5432/x",
        "postgresql://planner:***@db.example.org/x",
        "password=*** host=h",
        "Leave the password to PGPASSWORD, ~/.pgpass or a service file: no more.",
        "https://example.org/a:b at 12:30, mail ops@example.org",
        "-----BEGIN CERTIFICATE-----",
        "AKIAsmall and AKIA" + "Q" * 40,
        "Passwords: 3 of 12 tenants",
    ],
)
def test_what_is_none_is_left_alone(text):
    assert scan.notebook(said(text), {}) is None
    assert scan.page(f"<p>{html.escape(text)}</p>", {}) is None


@pytest.mark.parametrize(
    "printed",
    [
        str,
        repr,
        json.dumps,
        lambda s: json.dumps(s, ensure_ascii=False),
        lambda s: quote(s, safe=""),
        quote,
        html.escape,
        lambda s: str({"password": s}),
        lambda s: conninfo.make_conninfo(password=s),
        lambda s: f"\x1b[31m{s[:4]}\x1b[0m{s[4:]}",
        lambda s: s.encode().hex(),
        lambda s: base64.b64encode(s.encode()).decode(),
        lambda s: base64.b64encode(f"u:{s}@h".encode()).decode(),
        lambda s: base64.b64encode(f":{s}".encode()).decode(),
    ],
)
def test_what_is_known_is_found_in_every_spelling(printed):
    secrets = {HARD: "the database's password"}
    assert scan.notebook(said(printed(HARD)), secrets).kind == "the database's password"
    assert scan.page(printed(HARD), secrets).kind == "the database's password"


def test_a_secret_in_two_pieces_one_said_after_the_other_is_one():
    cell = new_code_cell(
        "1", outputs=[new_output("stream", text="a-tok"), new_output("stream", text="en-of-ours")]
    )
    assert scan.notebook(new_notebook(cells=[cell]), {"a-token-of-ours": "it"}) == scan.Leak("cell 1", "it")


@pytest.mark.parametrize("where", ["ename", "output", "cell", "id", "attachments", "language"])
def test_it_is_found_wherever_a_file_may_carry_it(where):
    executed = said("nothing")
    error = new_output("error", ename="E", evalue="", traceback=[])
    executed.cells[1].outputs.append(error)
    found = {
        "ename": lambda: error.update(ename=HARD),
        "output": lambda: error.update(more={HARD: 1}),
        "cell": lambda: executed.cells[1].update(more=[HARD]),
        "id": lambda: executed.cells[0].update(id=HARD),
        "attachments": lambda: executed.cells[0].update(attachments={"a": {"text/plain": HARD}}),
        "language": lambda: executed.metadata.update(language_info={"name": HARD}),
    }
    found[where]()
    assert scan.notebook(executed, {HARD: "the database's password"}).kind == "the database's password"


def test_source_text_and_marks_are_looked_at_too_but_code_that_hands_a_password_on_is_none():
    secrets = {"a-token-of-ours": "it"}
    assert (
        scan.notebook(new_notebook(cells=[new_code_cell("x = 'a-token-of-ours'")]), secrets).place == "cell 1"
    )
    assert (
        scan.notebook(new_notebook(cells=[new_markdown_cell("a-token-of-ours")]), secrets).place == "cell 1"
    )
    assert scan.notebook(new_notebook(metadata={"x": "a-token-of-ours"}), secrets).place == "the notebook"
    assert scan.notebook(new_notebook(cells=[new_code_cell("connect(password=asked)")]), secrets) is None


def test_what_is_known_comes_from_the_session_its_environment_and_its_channels(tmp_path, monkeypatch):
    file = tmp_path / "channels.toml"
    file.write_text('[channels]\nEMAIL = "mailtos://user:pass-of-mail@mail.example.org?to=ops@example.org"\n')
    file.chmod(0o600)
    monkeypatch.setenv("CAPACITY_CHANNELS", str(file))
    monkeypatch.setenv("CAPACITY_HEARTBEAT_URL", "https://beat.example.org/0a1b2c3d4e5f6a7b8c9d")
    monkeypatch.setenv("PGPASSWORD", "the-password")
    monkeypatch.setenv("BUILD_API_KEY", "the-key-of-builds")
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    found = scan.known({"of-the-dsn", "one_vault"}, {"one_vault"})
    assert found["of-the-dsn"] == "the database's password"
    assert found["the-password"] == "the value of PGPASSWORD"
    assert found["the-key-of-builds"] == "the value of BUILD_API_KEY"
    assert found["pass-of-mail"] == "the address of channel EMAIL"
    assert found["0a1b2c3d4e5f6a7b8c9d"] == "the address of the heartbeat"
    assert not {"one_vault", "abc", "mail.example.org", "ops@example.org"} & set(found)


def test_pictures_are_no_text_and_long_outputs_cost_no_time():
    picture = new_output("display_data", data={"image/png": KEY, "text/plain": "<Figure>"})
    assert scan.notebook(new_notebook(cells=[new_code_cell("1", outputs=[picture])]), {}) is None
    assert scan.page(f'<img src="data:image/png;base64,{KEY}">', {}) is None
    begin = time.monotonic()
    for text in (
        "x" * 1_000_000,
        "<" * 1_000_000,
        "a://" * 250_000,
        "-----BEGIN " * 90_000,
        "password " * 100_000,
    ):
        assert scan.notebook(said(text), {}) is None
        assert scan.page(text, {}) is None
    assert time.monotonic() - begin < 20


def test_no_notebook_that_comes_with_the_kit_looks_like_a_leak():
    files = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
    assert files
    for file in files:
        assert scan.notebook(nbformat.read(file, as_version=4), {}) is None
