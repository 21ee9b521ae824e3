"""The site over HTTP, asked as browsers and as others ask: what is its own is served, and nothing else."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest
from typer.testing import CliRunner

from capacity_kit import cli
from capacity_kit.errors import CapacityError
from capacity_kit.reporting.serve import Server

FILES = {
    "index.html": "front",
    "feed.xml": "<feed/>",
    "growth/acme/latest/index.html": "latest",
    "growth/acme/2026-11-01T000000Z/index.html": "page é",
    "growth/acme/2026-11-01T000000Z/result.json": "{}",
    "growth/acme/2026-11-01T000000Z/notebook.ipynb": "{}",
    "growth/acme/a b.bin": "?",
    ".lock": "hidden",
    ".unfinished-x/index.html": "hidden",
}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/index.html").write_text("secret")
    site = tmp_path / "site"
    for name, text in FILES.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text, encoding="utf-8")
    (site / "out.html").symlink_to(tmp_path / "outside/index.html")
    (site / "out").symlink_to(tmp_path / "outside")
    (site / "growth/acme/lock.html").symlink_to(site / ".lock")
    (site / "loop").symlink_to(site / "loop")
    (site / "empty").mkdir()
    os.mkfifo(site / "pipe.html")
    return site


@pytest.fixture
def ask(root):
    """A function that sends one request as it is; the answer and its body."""
    with Server(root, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()

        def asked(path, method="GET", **headers):
            connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
            connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer, answer.read().decode()

        yield asked
        server.shutdown()
        thread.join(10)


PAGE = "/growth/acme/2026-11-01T000000Z/"


@pytest.mark.parametrize(
    ("path", "body", "kind", "cache"),
    [
        ("/", "front", "text/html; charset=utf-8", "no-store"),
        ("/index.html", "front", "text/html; charset=utf-8", "no-store"),
        ("/feed.xml", "<feed/>", "application/atom+xml; charset=utf-8", "no-store"),
        ("/growth/acme/latest/", "latest", "text/html; charset=utf-8", "no-store"),
        (PAGE, "page é", "text/html; charset=utf-8", "no-cache"),
        (PAGE + "index.html?x=1", "page é", "text/html; charset=utf-8", "no-cache"),
        (PAGE + "result.json", "{}", "application/json", "no-cache"),
        (PAGE + "notebook.ipynb", "{}", "application/x-ipynb+json", "no-cache"),
        ("/growth/acme/a%20b.bin", "?", "application/octet-stream", "no-cache"),
    ],
)
def test_what_the_site_has_is_served_as_what_it_is(ask, path, body, kind, cache):
    answer, said = ask(path)
    assert (answer.status, said) == (200, body)
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["Cache-Control"] == cache
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    head, nothing = ask(path, "HEAD")
    assert (head.status, nothing) == (200, "")
    assert head.headers["Content-Length"] == answer.headers["Content-Length"] == str(len(body.encode()))


@pytest.mark.parametrize(
    "path",
    [
        "/../outside/index.html", "/%2e%2e/outside/index.html", "/growth/..%2f..%2foutside/index.html",
        "//etc/passwd", "/%2Fetc/passwd", "/..%5coutside", "/C:/x", "/index.html%00", "/out.html", "/out/", "/out",
        "/.lock", "/.unfinished-x/index.html", "/growth/acme/lock.html", "/loop", "/empty/", "/growth/", "/pipe.html",
        "/none", "/" + "a" * 5000, "/index.html/x",
    ],
)  # fmt: skip
def test_what_is_not_the_sites_is_not_there(ask, path):
    answer, said = ask(path)
    assert answer.status == 404
    assert said == "404 Not Found\n"


def test_a_folder_is_asked_for_with_its_slash_and_leads_nowhere_else(ask):
    for path in (PAGE.rstrip("/"), "/" + PAGE.rstrip("/")):
        answer, _ = ask(path)
        assert (answer.status, answer.headers["Location"]) == (301, PAGE)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(ask, root, method):
    before = sorted(root.rglob("*"))
    answer, _ = ask("/index.html", method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8080", 200),
        ("127.0.0.1", 200),
        ("[::1]:1", 200),
        ("evil.example.org", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_a_name_from_elsewhere_for_this_machine_reads_nothing(ask, host, status):
    assert ask("/", Host=host)[0].status == status


def test_it_listens_on_loopback_unless_told_otherwise(root):
    with Server(root, 0) as server:
        assert server.server_address[0] == "127.0.0.1"
        assert server.is_loopback
        with pytest.raises(CapacityError, match="Nothing can listen on 127.0.0.1, port"):
            Server(root, server.server_address[1])
    with Server(root, 0, "0.0.0.0") as server:
        assert not server.is_loopback
    with pytest.raises(CapacityError, match="no site"):
        Server(root / "none")
    with pytest.raises(CapacityError, match="Nothing can listen"):
        Server(root, 0, "no such name")


def test_the_command_says_where_it_is_and_ends_when_told_to(root):
    program = [sys.executable, "-m", "capacity_kit", "site", "serve", "--site", str(root), "--port", "0"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as running:
        try:
            said = running.stdout.readline()
            port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\n", said)[1])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"front"
            listening = socket.socket()
            with listening, pytest.raises(OSError):
                listening.bind(("127.0.0.1", port))
            running.send_signal(signal.SIGINT)
            assert running.wait(60) == 0
        finally:
            running.kill()


def test_an_address_of_the_site_is_checked_before_anything_runs():
    done = CliRunner().invoke(cli.app, ["report", "--site-url", "ftp://x"])
    assert isinstance(done.exception, CapacityError)
    assert done.exception.exit_code == 2
