"""Receivers that misbehave on demand: a real HTTP server and a real SMTP server, each on a port of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP


@dataclass(frozen=True)
class Request:
    """What the HTTP server was sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


Answer = tuple[int, dict[str, str], bytes | str]
OK: Answer = (200, {}, b"ok")


class Web:
    """An HTTP server that keeps what it is sent.

    ``answer`` says what it does of each request: an answer, ``"hang"`` (say nothing until closed), ``"drip"`` (say a
    byte now and then, and never come to an end) or ``"drop"`` (close the connection). An answer's body is bytes,
    ``"endless"`` or ``"trickle"`` (a byte now and then). Every request is kept before it is answered.
    """

    def __init__(self, answer: Callable[[Request], Answer | str] | None = None) -> None:
        self.requests: list[Request] = []
        self.answer = answer or (lambda _: OK)
        self._closing = threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                request = Request(
                    self.command, self.path, dict(self.headers.items()), self.rfile.read(length)
                )
                web.requests.append(request)
                answer = web.answer(request)
                if answer == "hang":
                    web._closing.wait(60)
                    return
                if answer == "drip":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drops: ")
                    while not web._closing.wait(0.05):
                        self.wfile.write(b".")
                    return
                if isinstance(answer, str):
                    return  # dropped
                status, headers, body = answer
                if isinstance(body, str):
                    self._never_end(status, headers, body)
                    return
                try:
                    self.send_response(status)
                    for name, value in {**headers, "Content-Length": str(len(body))}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # who asked is gone

            def _never_end(self, status: int, headers: dict[str, str], how: str) -> None:
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    while not web._closing.wait(0.05 if how == "trickle" else 0):
                        self.wfile.write(b"." if how == "trickle" else b"." * 65_536)
                except OSError:
                    pass

            do_GET = do_POST = _handle  # noqa: N815 -- http.server's names

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Web:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Mailbox:
    """An SMTP server that keeps the mails it is sent.

    ``answer_recipient`` and ``answer_data`` say what it answers, ``"hang"`` being an answer that comes late; the mail
    is kept before ``answer_data`` is asked. Options are aiosmtpd's, such as tls_context and authenticator.
    """

    def __init__(self, **options: Any) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[list[str]] = []
        self.answer_recipient: Callable[[str], str] = lambda _: "250 OK"
        self.answer_data: Callable[[EmailMessage], str] = lambda _: "250 OK"
        box = self

        class Handler:
            async def handle_RCPT(  # noqa: N802 -- aiosmtpd's name
                self, _server: SMTP, _session: Any, envelope: Any, address: str, _options: list[str]
            ) -> str:
                answer = box.answer_recipient(address)
                if answer.startswith("250"):
                    envelope.rcpt_tos.append(address)
                return answer

            async def handle_DATA(self, _server: SMTP, _session: Any, envelope: Any) -> str:  # noqa: N802
                mail = message_from_bytes(envelope.content, policy=policy.default)
                assert isinstance(mail, EmailMessage)
                box.mails.append(mail)
                box.envelopes.append(list(envelope.rcpt_tos))
                answer = box.answer_data(mail)
                if answer == "hang":  # it has the mail, and is slow to say so
                    await asyncio.sleep(1.5)
                    return "250 OK"
                return answer

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._controller = Controller(
            Handler(), hostname="127.0.0.1", port=self.port, server_hostname="mailbox", **options
        )
        self._controller.start()

    def close(self) -> None:
        self._controller.stop(no_assert=True)

    def __enter__(self) -> Mailbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
