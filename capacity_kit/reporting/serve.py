"""The site for a look on one machine: read only, without a login, and on loopback unless another address is named."""

from __future__ import annotations

import ipaddress
import socket
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from capacity_kit.errors import CapacityError
from capacity_kit.reporting import catalogue, feed, site

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".ipynb": "application/x-ipynb+json",
    ".xml": "application/atom+xml; charset=utf-8",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
_MOVING: Final = frozenset({(), ("index.html",), (feed.NAME,), (site.SEARCH,)})
"""What at the site's top says what is newest."""


class Server(ThreadingHTTPServer):
    """Serves one site.

    Parameters
    ----------
    root : Path
        The site's folder.
    port : int
        0: any that is free; see `url`.
    bind : str
        The address to listen on.

    Raises
    ------
    CapacityError
        If there is no such folder, or it cannot listen there.
    """

    daemon_threads = True

    def __init__(self, root: Path, port: int = 8080, bind: str = "127.0.0.1") -> None:
        if not root.is_dir():
            raise CapacityError(f"There is no site at {root}", "Publish a report first: capacity report.")
        self.root = root.resolve()
        try:
            found = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            self.address_family, where = found[0][0], found[0][4]
            super().__init__((str(where[0]), int(where[1])), _Handler)
        except OSError as error:
            raise CapacityError(
                f"Nothing can listen on {bind}, port {port}: {error.strerror or error}",
                "Choose another --port.",
            ) from None
        self.is_loopback = ipaddress.ip_address(str(self.server_address[0]).partition("%")[0]).is_loopback

    @property
    def url(self) -> str:
        """Where it is found."""
        host = str(self.server_address[0])
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_address[1]}/"

    def server_bind(self) -> None:
        """Listen, without asking the network for this host's name."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of readers that go away in the middle."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 30
    server_version, sys_version = "capacity", ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _refuse(self) -> None:
        self._say(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815 -- http.server calls them so

    def _answer(self, *, with_body: bool) -> None:
        if self.server.is_loopback and not self._is_for_loopback():
            # A page from elsewhere may name this machine by a name of its own, and read on.
            self._say(HTTPStatus.MISDIRECTED_REQUEST)
            return
        parts = tuple(part for part in unquote(self._path()).split("/") if part)
        file = self._file(parts)
        if file is None:
            self._say(HTTPStatus.NOT_FOUND)
        elif file.name == "index.html" and parts[-1:] != ("index.html",) and not self._path().endswith("/"):
            self._say(
                HTTPStatus.MOVED_PERMANENTLY,
                {"Location": f"/{quote('/'.join(parts))}/", "Cache-Control": "no-store"},
            )
        else:
            self._send(file, parts, with_body=with_body)

    def _path(self) -> str:
        return urlsplit(f"/{self.path.lstrip('/')}").path

    def _is_for_loopback(self) -> bool:
        try:
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def _file(self, parts: tuple[str, ...]) -> Path | None:
        """The file that is meant, if it is one of the site's: neither hidden, nor elsewhere by a link."""
        if any(part.startswith(".") or "\\" in part or ":" in part or "\0" in part for part in parts):
            return None
        try:
            file = self.server.root.joinpath(*parts).resolve(strict=True)
            if file.is_dir():
                file = (file / "index.html").resolve(strict=True)
        except (OSError, RuntimeError):
            return None
        is_ours = file.is_relative_to(self.server.root) and file.is_file()
        hidden = is_ours and any(part.startswith(".") for part in file.relative_to(self.server.root).parts)
        return file if is_ours and not hidden else None

    def _send(self, file: Path, parts: tuple[str, ...], *, with_body: bool) -> None:
        try:
            content = file.read_bytes()
        except OSError:
            self._say(HTTPStatus.NOT_FOUND)
            return
        is_moving = parts in _MOVING or catalogue.LATEST in parts or parts[0].startswith("_")
        headers = {
            "Content-Type": _TYPES.get(file.suffix, "application/octet-stream"),
            "Cache-Control": "no-store" if is_moving else "no-cache",
        }
        self._say(HTTPStatus.OK, headers, content, with_body=with_body)

    def _say(
        self,
        status: HTTPStatus,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        *,
        with_body: bool = True,
    ) -> None:
        said = f"{status.value} {status.phrase}\n".encode() if content is None else content
        self.send_response(status)
        common = {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": str(len(said)),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
        }
        for name, value in {**common, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body and self.command != "HEAD":
            self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Keep no log of who looked."""
