"""A connection for programs that may not know its password: notebooks.

They are given a Unix socket. Whoever connects to it is let in by this process, which answers the server's question for
the password, and from then on passes on what both sides say. So the password is nowhere in the program's own memory,
environment or files. Not more: through the socket it is the same role, with all that this role may do, for as long as
the loan lasts; and what runs under the same account may use the socket too.

Where there is no password to keep (trust, peer, Kerberos), the program is given the connection's other settings.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import secrets
import socket
import ssl
import struct
import tempfile
import threading
import unicodedata
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import conninfo

if TYPE_CHECKING:
    from capacity_kit.vault.vault import Vault

_SECRET: Final = frozenset(
    {"password", "passfile", "sslpassword", "sslkey", "sslcert", "service", "servicefile", "sslkeylogfile"}
    | {"scram_client_key", "scram_server_key", "oauth_client_secret"}
)
"""What of a connection string is a secret, or leads to one."""

_KEPT: Final[tuple[str, ...]] = ("application_name", "options", "connect_timeout", "client_encoding")
"""What a connection through the socket has of the string that it stands for."""

_ON_FILES = hasattr(socket, "AF_UNIX")
_PROTOCOL: Final = 0x0003_0000
_CANCEL, _TLS, _GSS = 80877102, 80877103, 80877104
_LONGEST_STARTUP: Final = 10_000
_BLOCK: Final = 1 << 16


@dataclass(frozen=True)
class Loan:
    """What a program is given.

    Attributes
    ----------
    dsn : str
        A connection string without a secret.
    secrets : frozenset of str
        What it is not given; never to be shown.
    files : tuple of Path
        Where libpq finds secrets here: a program that is not to have them is not to read these either.
    """

    dsn: str
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    files: tuple[Path, ...] = ()


@contextmanager
def lent(opened: Vault) -> Iterator[Loan]:
    """Lend a vault's connection for as long as this context lasts.

    Parameters
    ----------
    opened : Vault
        Connected: what libpq found in service and password files counts.

    Yields
    ------
    Loan
        Many connections may be made with it at a time.
    """
    with opened.transaction() as borrowed:
        driver = borrowed.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        server = _Server.of(driver)
        given = _harmless(driver.info.get_parameters())
    if not server.has_secret:
        yield Loan(_string({**given, **server.certificates(given)}), files=_files())
        return
    kept: dict[str, str] = {name: given[name] for name in _KEPT if name in given}
    with (
        tempfile.TemporaryDirectory(prefix="capacity-db-") as folder,
        _Broker(server, Path(folder)) as broker,
    ):
        named = {**broker.address, "user": server.user, "dbname": server.database}
        yield Loan(_string({**named, **kept}), frozenset({server.password} - {""}), _files())


def _harmless(parameters: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if name not in _SECRET}


def _string(parameters: Mapping[str, str]) -> str:
    return conninfo.make_conninfo("", **parameters)


def _home(name: str) -> str:
    """A file of libpq's in its default place; empty: there is none."""
    file = Path("~/.postgresql").expanduser() / name
    return str(file) if file.is_file() else ""


def _files() -> tuple[Path, ...]:
    """The files with secrets that libpq reads for this account, where they are."""
    named = (
        os.environ.get("PGPASSFILE", "~/.pgpass"),
        os.environ.get("PGSERVICEFILE", "~/.pg_service.conf"),
        os.environ.get("PGSSLKEY", "~/.postgresql/postgresql.key"),
    )
    return tuple(file for file in (Path(name).expanduser() for name in named) if file.is_file())


@dataclass(frozen=True)
class _Server:
    """The server that a connection leads to, and what it takes to be let in."""

    address: str
    """An IP address, or the path of a socket."""
    host: str
    port: int
    user: str
    database: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, driver: psycopg.Connection) -> _Server:
        info = driver.info
        host = info.host
        local = host.startswith(("/", "@"))
        known = {option.keyword.decode(): option.val.decode() for option in driver.pgconn.info if option.val}
        return cls(
            address=f"{host}/.s.PGSQL.{info.port}" if local else info.hostaddr,
            host=host,
            port=info.port,
            user=info.user,
            database=info.dbname,
            password=info.password,
            tls=_tls(known) if driver.pgconn.ssl_in_use else None,
        )

    @property
    def has_secret(self) -> bool:
        """Whether there is something to keep: a password, or a key of this account's."""
        return bool(self.password) or (self.tls is not None and bool(_home("postgresql.key")))

    def certificates(self, given: Mapping[str, str]) -> dict[str, str]:
        """Where libpq looks for certificates below the home folder: a program with another one does not find them."""
        found = {} if self.tls is None or "sslrootcert" in given else {"sslrootcert": _home("root.crt")}
        return {name: file for name, file in found.items() if file}

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        if self.address.startswith(("/", "@")):
            path = "\0" + self.address[1:] if self.address.startswith("@") else self.address
            return await asyncio.open_unix_connection(path)
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        raw = socket.socket(family, socket.SOCK_STREAM)
        try:
            raw.setblocking(False)
            await loop.sock_connect(raw, (self.address, self.port))
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is None:
                return await asyncio.open_connection(sock=raw)
            await loop.sock_sendall(raw, struct.pack("!II", 8, _TLS))
            if await loop.sock_recv(raw, 1) != b"S":
                raise _RefusedError("the server that spoke TLS before does not speak it now")
            return await asyncio.open_connection(sock=raw, ssl=self.tls, server_hostname=self.host)
        except BaseException:
            raw.close()
            raise


def _tls(known: Mapping[str, str]) -> ssl.SSLContext:
    """TLS as libpq speaks it with these settings. See libpq, SSL Support."""
    mode = known.get("sslmode", "prefer")
    root = known.get("sslrootcert") or _home("root.crt")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = mode == "verify-full" or root == "system"
    # With a root certificate at hand, require verifies too.
    verified = mode in ("verify-ca", "verify-full") or (mode == "require" and bool(root))
    context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    if root == "system":
        context.load_default_certs()
    elif verified and root:
        context.load_verify_locations(root)
    if crl := known.get("sslcrl"):
        context.load_verify_locations(crl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    certificate = known.get("sslcert") or _home("postgresql.crt")
    key = known.get("sslkey") or _home("postgresql.key")
    if certificate and key and Path(certificate).is_file() and Path(key).is_file():
        context.load_cert_chain(certificate, key, known.get("sslpassword"))
    return context


class _RefusedError(Exception):
    """A connection that does not come about, with the reason."""


class _Broker:
    """Listens on a socket in a folder that is its account's alone, in a thread of its own.

    Where there are no such sockets it listens on loopback, and lets in who knows a word that is good for this loan.
    """

    def __init__(self, server: _Server, folder: Path) -> None:
        self._server = server
        self._word = ""
        if _ON_FILES:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.bind(str(folder / ".s.PGSQL.5432"))
            self.address = {"host": str(folder), "port": "5432"}
        else:
            self._word = secrets.token_urlsafe(24)
            self._socket = socket.create_server(("127.0.0.1", 0))
            port = str(self._socket.getsockname()[1])
            self.address = {"host": "127.0.0.1", "port": port, "password": self._word, "sslmode": "disable"}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="capacity-broker", daemon=True)

    def __enter__(self) -> _Broker:
        # Listening before anybody is told of it: connections may then come at once.
        self._socket.listen(128)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        listen = asyncio.start_server if self._word else asyncio.start_unix_server
        self._loop.run_until_complete(listen(self._serve, sock=self._socket))
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        with suppress(Exception):
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
        self._socket.close()

    async def _serve(self, asking: asyncio.StreamReader, answering: asyncio.StreamWriter) -> None:
        """One connection, from its first byte to its last."""
        ours: asyncio.StreamWriter | None = None
        try:
            opening = await _opening(asking, answering)
            if self._word and struct.unpack("!I", opening[:4])[0] != _CANCEL:
                await self._admit(asking, answering)
            reader, ours = await self._server.connect()
            code = struct.unpack("!I", opening[:4])[0]
            if code == _CANCEL:
                ours.write(struct.pack("!I", len(opening) + 4) + opening)
                await ours.drain()
                return
            ours.write(self._startup(code, opening[4:]))
            await self._let_in(reader, ours, answering)
            await _passed_on(asking, ours, reader, answering)
        except _RefusedError as error:
            answering.write(_error(str(error)))
        except (OSError, ValueError, struct.error, asyncio.IncompleteReadError) as error:
            answering.write(_error(f"the connection to the server was lost: {error}"))
        finally:
            for writer in (answering, ours):
                if writer is not None:
                    with suppress(Exception):
                        writer.close()

    async def _admit(self, asking: asyncio.StreamReader, answering: asyncio.StreamWriter) -> None:
        """Ask for this loan's word."""
        answering.write(b"R" + struct.pack("!II", 8, 3))
        kind, size = struct.unpack("!cI", await asking.readexactly(5))
        if kind != b"p" or not 4 <= size <= _LONGEST_STARTUP:
            raise _RefusedError("the word of this loan is missing")
        said = await asking.readexactly(size - 4)
        if not hmac.compare_digest(said.rstrip(b"\0"), self._word.encode()):
            raise _RefusedError("this is not the word of this loan")

    def _startup(self, protocol: int, said: bytes) -> bytes:
        """The first message as the server is to have it: whoever was named in it, it is our role and our database."""
        words = said.split(b"\0")
        named = dict(zip(words[::2], words[1::2], strict=False))
        named.pop(b"", None)
        named |= {b"user": self._server.user.encode(), b"database": self._server.database.encode()}
        body = b"".join(name + b"\0" + value + b"\0" for name, value in named.items()) + b"\0"
        return struct.pack("!II", len(body) + 8, protocol) + body

    async def _let_in(
        self, reader: asyncio.StreamReader, ours: asyncio.StreamWriter, answering: asyncio.StreamWriter
    ) -> None:
        """Answer the server's questions until it lets us in, and tell the other side that it is let in."""
        scram: _Scram | None = None
        while True:
            kind = await reader.readexactly(1)
            size = struct.unpack("!I", await reader.readexactly(4))[0]
            body = await reader.readexactly(size - 4)
            if kind != b"R":
                answering.write(kind + struct.pack("!I", size) + body)
                await answering.drain()
                if kind == b"E":
                    raise ConnectionAbortedError("it refused the connection")
                continue
            asked = struct.unpack("!I", body[:4])[0]
            if asked == 0:
                answering.write(b"R" + struct.pack("!II", 8, 0))
                return
            if asked == 3:
                ours.write(_message(b"p", self._server.password.encode() + b"\0"))
            elif asked == 5:
                ours.write(_message(b"p", self._md5(body[4:8]) + b"\0"))
            elif asked == 10 and b"SCRAM-SHA-256" in body[4:].split(b"\0"):
                scram = _Scram(self._server.password)
                first = scram.first()
                ours.write(_message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first))
            elif asked == 11 and scram is not None:
                ours.write(_message(b"p", scram.final(body[4:])))
            elif asked == 12 and scram is not None:
                scram.verify(body[4:])
            else:
                raise _RefusedError(f"the server asks for what is no password (authentication {asked})")

    def _md5(self, salt: bytes) -> bytes:
        inner = hashlib.md5(self._server.password.encode() + self._server.user.encode()).hexdigest()  # noqa: S324
        return b"md5" + hashlib.md5(inner.encode() + salt).hexdigest().encode()  # noqa: S324


async def _opening(asking: asyncio.StreamReader, answering: asyncio.StreamWriter) -> bytes:
    """The first message, without its length; what is offered before it is declined."""
    while True:
        size = struct.unpack("!I", await asking.readexactly(4))[0]
        if not 8 <= size <= _LONGEST_STARTUP:
            raise _RefusedError("this is not PostgreSQL's protocol")
        opening = await asking.readexactly(size - 4)
        code = struct.unpack("!I", opening[:4])[0]
        if code not in (_TLS, _GSS):
            if code != _CANCEL and code >> 16 != _PROTOCOL >> 16:
                raise _RefusedError("this is not the third version of PostgreSQL's protocol")
            return opening
        answering.write(b"N")
        await answering.drain()


async def _passed_on(
    asking: asyncio.StreamReader,
    ours: asyncio.StreamWriter,
    reader: asyncio.StreamReader,
    answering: asyncio.StreamWriter,
) -> None:
    """Pass on what each side says until one of them ends."""

    async def one_way(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while block := await source.read(_BLOCK):
                sink.write(block)
                await sink.drain()

    ways: list[Coroutine[Any, Any, None]] = [one_way(asking, ours), one_way(reader, answering)]
    tasks = [asyncio.ensure_future(way) for way in ways]
    _, unfinished = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in unfinished:
        task.cancel()
    with suppress(ConnectionError):
        await ours.drain()
        await answering.drain()


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _error(said: str) -> bytes:
    fields = (b"SFATAL", b"VFATAL", b"C08006", b"M" + said.encode())
    return _message(b"E", b"\0".join(fields) + b"\0\0")


class _Scram:
    """The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding."""

    def __init__(self, password: str) -> None:
        self._password = unicodedata.normalize("NFKC", password).encode()
        self._bare = f"n=,r={secrets.token_urlsafe(24)}"
        self._signature = b""

    def first(self) -> bytes:
        return f"n,,{self._bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        said = dict(part.split("=", 1) for part in challenge.decode().split(","))
        if not said["r"].startswith(self._bare.partition(",r=")[2]):
            raise _RefusedError("the server's answer is to another question")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, base64.b64decode(said["s"]), int(said["i"]))
        key = _hmac(salted, b"Client Key")
        without_proof = f"c=biws,r={said['r']}"
        whole = f"{self._bare},{challenge.decode()},{without_proof}".encode()
        signed = _hmac(hashlib.sha256(key).digest(), whole)
        proof = bytes(a ^ b for a, b in zip(key, signed, strict=True))
        self._signature = _hmac(_hmac(salted, b"Server Key"), whole)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, said: bytes) -> None:
        """Refuse a server that does not know the password either."""
        if not said.startswith(b"v=") or not hmac.compare_digest(base64.b64decode(said[2:]), self._signature):
            raise _RefusedError("the server does not know the password: it may be another one")


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
