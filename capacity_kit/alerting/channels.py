"""Channels: the ways by which people are told, each behind an address that nobody gets to see.

An address is one that apprise knows. Mail and PagerDuty are spoken here, since a receiver's refusal, the identity of a
mail and the end of an incident matter; everything else apprise sends.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import html
import logging
import re
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, formataddr, parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, unquote, unquote_plus, urlsplit

import apprise
import requests
import urllib3
from apprise.plugins.email.base import NotifyEmail
from apprise.plugins.pagerduty import PAGERDUTY_API_LOOKUP, NotifyPagerDuty
from pydantic import SecretStr

from capacity_kit import settings, units

EMAIL: Final = "EMAIL"
"""The channel through whose server mail to a contact's address goes."""

_SHORTEST_SECRET: Final = 4
_PART: Final = 8
"""So many characters of a token are as secret as all of it."""
_LONGEST_SAID: Final = 20_000
_REFUSED: Final = frozenset({400, 410, 413, 415, 422})
"""A program's answers that would be the same to another attempt. Not a wrong token or path: that can be repaired."""
_REFUSED_BY_PEOPLE: Final = frozenset({413})
"""The same of a chat: those say 400 and 410 also of a room that is not found, is archived or has moved."""
_PROGRAMS: Final = ("json", "jsons", "xml", "xmls", "form", "forms")
"""What apprise posts as it is, for programs to read."""
_NO_CHATS: Final = frozenset(
    {
        *_PROGRAMS,
        *("amqp", "amqps", "mqtt", "mqtts", "rsyslog", "syslog", "sns", "splunk"),  # queues and logs
        *(
            "brevo",
            "mailersend",
            "mailgun",
            "postmark",
            "resend",
            "sendgrid",
            "ses",
            "smtp2go",
            "sparkpost",
        ),  # mails
    }
)
"""What finds no markup in a text, so that it has the words as they are. Whatever is not here might be a chat."""
_LONGEST_ANSWER: Final = 1 << 20
_LARGEST_PAGE: Final = 25 << 20

_EVENTS: Final = re.compile(r"pagerduty\+(https?)://([^/@]+)@(.+)", re.IGNORECASE | re.DOTALL)
_MAIL_ADDRESS: Final = re.compile(r"[^@\s<>,;:\"()\[\]\\]+@[^@\s<>,;:\"()\[\]\\]+")
_SEVERITIES: Final = {"CRITICAL": "critical", "WARNING": "warning"}


class Undelivered(Exception):  # noqa: N818 -- it says what became of a message
    """A message was not taken.

    Parameters
    ----------
    why
        What happened; may hold secrets until a channel has masked it.
    permanent
        Whether another attempt would surely end the same.
    retry_after
        The seconds of patience that the receiver asked for.
    is_down
        Whether it is the way to the channel that failed, and not this one message.
    """

    def __init__(
        self, why: str, *, permanent: bool = False, retry_after: int | None = None, is_down: bool = False
    ) -> None:
        super().__init__(why)
        self.permanent = permanent
        self.retry_after = retry_after
        self.is_down = is_down


class Message(Protocol):
    """What is to be told."""

    @property
    def key(self) -> str:
        """The idempotency key."""

    @property
    def kind(self) -> str:
        """ALERT, ESCALATION, RESOLUTION, REPORT or TEST."""

    @property
    def severity(self) -> str | None:
        """CRITICAL, WARNING, ..."""

    @property
    def subject(self) -> str:
        """One line."""

    @property
    def body(self) -> str:
        """The text."""

    @property
    def dedup_key(self) -> str:
        """The incident's key."""

    @property
    def attachment(self) -> str | None:
        """A file, or None."""


class Channel:
    """A way by which people are told.

    Parameters
    ----------
    name
        Its name, such as EMAIL.
    address
        Its address; kept from every text.

    Attributes
    ----------
    problem
        Why the address is none that can be used; None: it can.
    """

    def __init__(self, name: str, address: SecretStr) -> None:
        self.name = name
        self._address = address
        _hush()
        usable = _EVENTS.fullmatch(address.get_secret_value()) or self._plugin() is not None
        self.problem = None if usable else f"the address of channel {units.plain(name)} is none of apprise's"

    def __repr__(self) -> str:
        return f"<Channel {self.name}>"

    def send(self, message: Message, contact: str | None, timeout: float) -> str | None:
        """Tell the people behind this channel, or one of them.

        Parameters
        ----------
        message
            What to tell.
        contact
            A mail address that this channel's server sends to instead of its own receivers; None: those.
        timeout
            How many seconds the other side may take for each of its answers.

        Returns
        -------
        str or None
            What the receiver should know went otherwise than meant, although the message was taken.

        Raises
        ------
        Undelivered
            When it was not taken; its text holds no secret.
        """
        try:
            said = self._send(message, contact, timeout)
            return None if said is None else self.mask(said)
        except Undelivered as error:
            raise Undelivered(
                self.mask(str(error)),
                permanent=error.permanent,
                retry_after=error.retry_after,
                is_down=error.is_down,
            ) from None
        except Exception as error:  # noqa: BLE001 -- whatever a plugin raises, the attempt has to be settled
            raise Undelivered(self.mask(f"{type(error).__name__}: {error}")) from None

    def mask(self, text: str) -> str:
        """Return a text on one line in which nothing of the address but its host can be read."""
        return _masked(text, self._address)

    def _send(self, message: Message, contact: str | None, timeout: float) -> str | None:
        if self.problem:
            raise Undelivered(self.problem)
        events = _EVENTS.fullmatch(self._address.get_secret_value())
        plugin = None if events else self._plugin()
        if contact is not None:
            if type(plugin) is not NotifyEmail:
                raise Undelivered(f"channel {self.name} has no mail server's address (mailto, mailtos)")
            if not _MAIL_ADDRESS.fullmatch(contact):
                raise Undelivered(f"{contact!r} is no mail address", permanent=True)
        if type(plugin) is NotifyEmail:
            return _mail(plugin, message, contact, timeout)
        if events:
            _page(f"{events[1]}://{events[3]}", unquote(events[2]), message, timeout)
            return None
        if isinstance(plugin, NotifyPagerDuty):
            _page(PAGERDUTY_API_LOOKUP[plugin.region_name], str(plugin.integration_key), message, timeout)
            return None
        assert plugin is not None
        return _by_apprise(plugin, message, timeout)

    def _plugin(self) -> apprise.NotifyBase | None:
        """A plugin of apprise's for this address: a fresh one, since it remembers what it sent."""
        found = apprise.Apprise.instantiate(
            self._address.get_secret_value(), asset=_asset(), suppress_exceptions=True
        )
        return found if isinstance(found, apprise.NotifyBase) else None


def channels() -> dict[str, Channel]:
    """Return the channels that this machine has addresses of, by name.

    Raises
    ------
    CapacityError
        When the file of addresses cannot be used.
    """
    return {name: Channel(name, address) for name, address in sorted(settings.channel_addresses().items())}


def call(address: SecretStr, timeout: float) -> None:
    """Call an address outside, such as that of a dead man's switch.

    Raises
    ------
    Undelivered
        When it did not answer that it heard; its text holds no secret.
    """
    _hush()
    try:
        with _listening() as heard:
            _judge(heard, _is_yes(requests.get(address.get_secret_value(), timeout=timeout)), timeout)
    except (Undelivered, requests.RequestException, ValueError) as error:
        why = str(error) if isinstance(error, Undelivered) else _words(error, timeout)
        raise Undelivered(_masked(why, address)) from None


def _text(message: Message) -> str:
    """The body, with the key where the receiver can see it."""
    return message.body if message.key in message.body else f"{message.body.rstrip()}\n\nkey: {message.key}\n"


def _page_of(message: Message) -> tuple[Path | None, str | None]:
    """The page that goes along, or why none does. Whoever may queue a message cannot have another file sent."""
    if not message.attachment:
        return None, None
    why = None
    try:
        page = Path(message.attachment).resolve(strict=True)
        if not page.is_file() or page.suffix != ".html":
            why = "it is no page of a report"
        elif page.stat().st_size > _LARGEST_PAGE:
            why = f"it is larger than {_LARGEST_PAGE >> 20} MiB"
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "its link leads nowhere"
    if why:
        return None, f"{units.plain(Path(message.attachment).name)} could not be attached: {why}"
    return page, None


def _file_name(page: Path) -> str:
    """What a page is called among others: <notebook>-<tenant>-<time>.html, from the folders that it lies in."""
    return f"{'-'.join(page.parts[-4:-1])}.html" if page.name == "index.html" else page.name


# --- mail ---------------------------------------------------------------------------------------------------------


def _mail(plugin: NotifyEmail, message: Message, contact: str | None, timeout: float) -> str | None:
    """Send a mail. One that was sent before is the same mail to its receiver's mailbox: its Message-ID is the key's."""
    if str(plugin.pgp_mode) != "no":
        raise Undelivered("mail is not encrypted here: leave pgp= out of the address")
    sender = str(plugin.from_addr[1])
    domain = sender.rpartition("@")[2]
    mail = EmailMessage()
    mail["Subject"] = units.plain(message.subject, 200)
    mail["From"] = formataddr((str(plugin.from_addr[0] or ""), sender))
    to = [contact] if contact else [str(address) for _, address in plugin.targets]
    cc = [] if contact else sorted(map(str, plugin.cc))
    mail["To"] = ", ".join(to)
    if cc:
        mail["Cc"] = ", ".join(cc)
    if plugin.reply_to:
        mail["Reply-To"] = ", ".join(sorted(map(str, plugin.reply_to)))
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = f"<{_identity(message.key)}@{domain}>"
    mail["References"] = f"<{_identity(message.dedup_key)}.incident@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Capacity-Key"] = units.plain(message.key, 400)
    for name, value in plugin.headers.items():
        mail[str(name)] = units.plain(value, 400)
    page, lacking = _page_of(message)
    mail.set_content(f"{lacking}.\n\n{_text(message)}" if lacking else _text(message))
    if page:
        mail.add_attachment(page.read_bytes(), maintype="text", subtype="html", filename=_file_name(page))
    everyone = [*to, *cc, *([] if contact else sorted(map(str, plugin.bcc)))]
    refused = _transmit(plugin, mail, sender, everyone, timeout)
    if refused:
        said = f"{len(refused)} of {len(everyone)} receivers were refused: {_smtp_said(next(iter(refused.values())))}"
        return f"{lacking}; {said}" if lacking else said
    return lacking


def _identity(key: str) -> str:
    """A key as a Message-ID can hold it."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]{8,64}", key) else hashlib.sha256(key.encode()).hexdigest()[:32]


def _transmit(
    plugin: NotifyEmail, mail: EmailMessage, sender: str, to: list[str], timeout: float
) -> dict[str, tuple[int, bytes]]:
    """Hand a mail to its server; return whom that refused, while it took others."""
    port = plugin.port or 0
    server = f"{plugin.smtp_host}:{port}"
    options: dict[str, Any] = {"timeout": timeout, "local_hostname": _own_name()}
    stage = "connect"
    try:
        opened = (
            smtplib.SMTP_SSL(plugin.smtp_host, port, context=_trust(plugin), **options)
            if plugin.secure_mode == "ssl"
            else smtplib.SMTP(plugin.smtp_host, port, **options)
        )
        with opened as smtp:
            if plugin.secure_mode == "starttls":
                smtp.starttls(context=_trust(plugin))
            if plugin.user and plugin.password:
                smtp.login(plugin.user, plugin.password)
            stage = "mail"
            refused = smtp.send_message(mail, sender, to)
            stage = "sent"
            return refused
    except smtplib.SMTPRecipientsRefused as error:
        answers = list(error.recipients.values())
        raise Undelivered(
            f"{server} refused every receiver: {_smtp_said(answers[0])}",
            permanent=all(500 <= code < 600 for code, _ in answers),
        ) from None
    except smtplib.SMTPNotSupportedError as error:
        raise Undelivered(f"{server} cannot do this: {error}", permanent=stage == "mail") from None
    except smtplib.SMTPResponseException as error:
        if stage == "sent":  # it took the mail; how it says goodbye does not matter
            return {}
        permanent = isinstance(error, smtplib.SMTPDataError) and 500 <= error.smtp_code < 600
        raise Undelivered(
            f"{server} answered {_smtp_said((error.smtp_code, error.smtp_error))}",
            permanent=permanent,
            is_down=stage == "connect",
        ) from None
    except (OSError, smtplib.SMTPException) as error:
        if stage == "sent":
            return {}
        raise Undelivered(f"{server}: {_words(error, timeout)}", is_down=True) from None


def _trust(plugin: NotifyEmail) -> ssl.SSLContext:
    """Whose certificates are accepted: those that this host trusts, unless the address says verify=no."""
    context = ssl.create_default_context()
    if not plugin.verify_certificate:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _smtp_said(answer: tuple[int, bytes | str]) -> str:
    code, said = answer
    return f"{code} {said.decode(errors='replace') if isinstance(said, bytes) else said}"


@functools.cache
def _own_name() -> str:
    """The name of this host; asking for it can take seconds, so it is asked for once."""
    return socket.getfqdn()


# --- PagerDuty ----------------------------------------------------------------------------------------------------


def _page(where: str, routing_key: str, message: Message, timeout: float) -> None:
    """Post an event (PagerDuty's Events API v2): an incident is opened, or closed, under the dedup_key."""
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "dedup_key": message.dedup_key[:255],
        "event_action": "resolve" if message.kind == "RESOLUTION" else "trigger",
    }
    if message.kind != "RESOLUTION":
        event["client"] = "capacity-kit"
        event["payload"] = {
            "summary": units.plain(message.subject, 1000),
            "source": "capacity-kit",
            "severity": _SEVERITIES.get(message.severity or "", "info"),
            "custom_details": {
                "message": message.body[:100_000],
                "kind": message.kind,
                "key": message.key,
            },
        }
    with _listening() as heard:
        taken = False
        try:
            taken = _is_yes(requests.post(where, json=event, timeout=timeout))
        except requests.RequestException as error:
            heard.error = error
        _judge(heard, taken, timeout)


# --- everything else ----------------------------------------------------------------------------------------------


def _by_apprise(plugin: apprise.NotifyBase, message: Message, timeout: float) -> str | None:
    """Have apprise send it, and find out from what went over the wire why that did not work."""
    for name in ("socket_connect_timeout", "socket_read_timeout"):
        setattr(plugin, name, timeout)
    page, lacking = _page_of(message)
    if page and not plugin.attachment_support:
        lacking = f"{page.name} could not be attached: this channel takes no files"
        page = None
    title = units.plain(message.subject, 200)
    body = f"{lacking}.\n\n{_text(message)}" if lacking else _text(message)
    body_format: apprise.NotifyFormat | None = apprise.NotifyFormat.TEXT
    is_program = plugin.schema in _PROGRAMS
    if plugin.schema not in _NO_CHATS:
        title, body = _harmless(title), _harmless(body)
    if not is_program:
        if plugin.title_maxlen <= 0:  # apprise would put it before the text as it is, and not as text
            title, body = "", f"{title}\n{body}"
        if type(plugin).notify_format == apprise.NotifyFormat.MARKDOWN:
            body_format = None  # apprise would quote the dots and underlines of links, too
    if message.kind == "RESOLUTION":
        notify_type = apprise.NotifyType.SUCCESS
    else:
        grave = {"CRITICAL": apprise.NotifyType.FAILURE, "WARNING": apprise.NotifyType.WARNING}
        notify_type = grave.get(message.severity or "", apprise.NotifyType.INFO)
    with _listening() as heard:
        taken = plugin.notify(
            body=body,
            title=title,
            body_format=body_format,
            notify_type=notify_type,
            attach=apprise.AppriseAttachment(str(page)) if page else None,
            overflow=apprise.OverflowMode.SPLIT,  # the key stands at the end, and must not be cut off
        )
        _judge(heard, taken, timeout, _REFUSED if is_program else _REFUSED_BY_PEOPLE)
    return lacking


def _harmless(text: str) -> str:
    """A text in which no chat finds a tag, a link with a name of its own, or a call to everybody."""
    text = text.replace("<", "‹").replace(">", "›").replace("](", "]\u200b(")
    return re.sub(r"(?<!\w)@(?=\w)", "@\u200b", text)


class _Heard(threading.local):
    """What this thread's requests met, and what apprise said of it."""

    def __init__(self) -> None:
        self.listening = False
        self.answer: requests.Response | None = None
        self.error: requests.RequestException | None = None
        self.said: list[str] = []


_heard = _Heard()


@contextlib.contextmanager
def _listening() -> Iterator[_Heard]:
    """Note what this thread's requests meet: apprise's plugins only say that something went wrong."""
    _heard.listening, _heard.answer, _heard.error, _heard.said = True, None, None, []
    try:
        yield _heard
    finally:
        _heard.listening = False


_send_plainly = requests.Session.send


def _send_noting(
    self: requests.Session, request: requests.PreparedRequest, **options: Any
) -> requests.Response:
    if not _heard.listening:
        return _send_plainly(self, request, **options)
    began = time.monotonic()
    try:
        # A redirect is not followed: what is there is nobody's whom the address names.
        answer = _send_plainly(self, request, **{**options, "stream": True, "allow_redirects": False})
    except requests.RequestException as error:
        _heard.error = error
        raise
    _heard.answer = answer
    if not options.get("stream"):
        _read_some(answer, began + _seconds(options.get("timeout")))
    return answer


def _read_some(answer: requests.Response, until: float) -> None:
    """Take what an answer says up to a bound of time and length; its status stands already."""
    read = bytearray()
    with contextlib.suppress(urllib3.exceptions.HTTPError, OSError), answer:
        while len(read) < _LONGEST_ANSWER and time.monotonic() < until:
            piece = answer.raw.read1(65_536, decode_content=True)
            if not piece:
                break
            read += piece
    answer._content = bytes(read[:_LONGEST_ANSWER])


def _seconds(timeout: Any) -> float:
    """The seconds of a timeout of requests: one number, or one for connecting and one for reading."""
    longest = timeout[-1] if isinstance(timeout, tuple) else timeout
    return float(longest) if longest else 10.0


def _is_yes(answer: requests.Response) -> bool:
    return 200 <= answer.status_code < 300


requests.Session.send = _send_noting  # type: ignore[method-assign]


def _judge(heard: _Heard, taken: bool, timeout: float, refused: frozenset[int] = _REFUSED) -> None:
    """Raise what a message met, unless it was taken."""
    if taken:
        return
    answer = heard.answer
    if heard.error is not None:
        asked = heard.error.request
        host = (asked is not None and urlsplit(asked.url or "").hostname) or "its server"
        raise Undelivered(f"{host}: {_words(heard.error, timeout)}", is_down=True)
    if answer is None or _is_yes(answer):
        raise Undelivered(" ".join(heard.said) or "apprise could not send it, and did not say why")
    # As long as it is: a secret that is cut looks like any other word.
    said = answer.content.decode(errors="replace").strip()
    raise Undelivered(
        f"{urlsplit(answer.url).hostname} answered {answer.status_code}{': ' if said else ''}{said}",
        permanent=answer.status_code in refused,
        retry_after=_retry_after(answer.headers.get("Retry-After")),
        is_down=answer.status_code in (429, 500, 502, 503, 504),
    )


def _retry_after(value: str | None) -> int | None:
    """The seconds that a Retry-After asks for: it holds them, or a date."""
    if value is None:
        return None
    if value.strip().isdigit():
        return min(int(value.strip()[:9]), 86_400)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return min(max(0, round((at - datetime.now(UTC)).total_seconds())), 86_400)


def _words(error: Exception, timeout: float) -> str:
    """Why a connection failed, in words of which none comes from an address."""
    said = str(error)
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {timeout:g} s"
    if isinstance(error, TimeoutError | requests.Timeout) or "timed out" in said:
        return f"no answer within {timeout:g} s"
    if isinstance(error, ssl.SSLError | requests.exceptions.SSLError):
        found = re.search(r"certificate verify failed: ([a-z A-Z-]+)", said)
        return f"its certificate was not accepted{': ' + found[1].strip() if found else ''}"
    if isinstance(error, socket.gaierror) or "resolve" in said:
        return "its name is not known"
    for words in ("refused", "unreachable", "reset", "unexpectedly closed", "without response"):
        if words in said:
            return f"the connection failed ({words})"
    return f"the connection failed ({type(error).__name__})"


# --- secrets ------------------------------------------------------------------------------------------------------


def _masked(text: str, address: SecretStr) -> str:
    """A text on one line without what an address holds. It is cut afterwards: half a secret would not be found."""
    if len(text) > _LONGEST_SAID:
        text = text[:_LONGEST_SAID].rsplit(maxsplit=1)[0]
    secrets = _secrets(address.get_secret_value())
    written = re.compile("|".join(map(_however_written, secrets)) or r"(?!)", re.IGNORECASE)
    text = units.plain(written.sub("***", text), _LONGEST_SAID)
    text = written.sub("***", text)  # again: what stood between two parts of one is gone
    return units.plain(_without_parts(text, secrets), 500)


def _however_written(secret: str) -> str:
    """A pattern of a secret as HTML, JSON, a URL, a program's own quotes or a wrong encoding may write it."""
    return "".join(c if c.isascii() and c.isalnum() else f"(?:{'|'.join(_spellings(c))})" for c in secret)


def _spellings(c: str) -> tuple[str, ...]:
    in_url = "".join(f"%{byte:02x}" for byte in c.encode())
    in_html = (re.escape(html.escape(c)), rf"&\#(?:0*{ord(c)}|x0*{ord(c):x});")
    return (rf"\\{{0,4}}{re.escape(c)}", in_url, *in_html, rf"\\{{1,4}}u{ord(c):04x}", "\ufffd{1,4}")


def _without_parts(text: str, secrets: list[str]) -> str:
    """A text without longer parts of tokens: a receiver may itself have cut what it repeats."""
    parts = {
        token[at : at + _PART]
        for token in secrets
        if re.fullmatch(r"[^\s/:@?&=]{12,}", token)
        for at in range(len(token) - _PART + 1)
    }
    hidden = [False] * len(text)
    for at in range(len(text) - _PART + 1):
        if text[at : at + _PART] in parts:
            hidden[at : at + _PART] = [True] * _PART
    return re.sub("\0+", "***", "".join("\0" if h else c for c, h in zip(text, hidden, strict=True)))


def _secrets(address: str) -> list[str]:
    """Whatever of an address must not be read, as it stands there, decoded and in base64, the longest first."""
    rest = address.partition("://")[2]
    authority, _, tail = rest.partition("/")
    if "@" in tail.partition("?")[0] and not re.fullmatch(r"(.*@)?[^@:]*(:\d*)?", authority):
        # a password with a / in it
        authority, _, tail = rest.rpartition("@")
    before_query, _, query = tail.partition("?")
    if "?" in authority:
        authority, _, query = authority.partition("?")
    user, _, host = authority.rpartition("@")
    login = unquote(user).partition(":")
    plainly = f"\0{login[0]}\0{login[2]}"  # as AUTH PLAIN has it
    pieces = [
        rest,
        user,
        plainly,
        *user.split(":", 1),
        tail,
        *before_query.split("/"),
        *before_query.split("#"),
    ]
    pieces += [value for pair in query.split("&") for value in pair.split("=", 1)[1:]]
    pieces += [value for _, value in parse_qsl(query)]
    name = host.partition(":")[0]
    seen = {value for key, value in parse_qsl(query) if key == "smtp"}
    if "." in name or name == "localhost" or name.startswith("["):
        seen.add(name)
    else:
        pieces.append(name)  # many services have a token where others have a host
    forms: set[str] = set()
    for piece in pieces:
        for form in (piece, unquote(piece), unquote_plus(piece)):
            forms |= {form, form.strip(), base64.b64encode(form.encode()).decode().rstrip("=")}
    return sorted((f for f in forms - seen if len(f) >= _SHORTEST_SECRET), key=len, reverse=True)


class _Note(logging.Filter):
    """Keep what is logged to the thread that asked, and from everybody else: these loggers' lines hold addresses."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _heard.listening and record.levelno >= logging.WARNING:
            _heard.said.append(record.getMessage())
        return False


@functools.cache
def _hush() -> None:
    """Keep apprise's and urllib3's log records out of the program's logs."""
    for name in ("apprise", "urllib3.connectionpool"):
        logging.getLogger(name).addFilter(_Note())


@functools.cache
def _asset() -> apprise.AppriseAsset:
    """What apprise says of itself to receivers, and that it keeps nothing on disk."""
    return apprise.AppriseAsset(
        app_id="capacity-kit",
        app_desc="capacity-kit",
        app_url="",
        async_mode=False,
        secure_logging=True,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        allow_templates=False,  # what a message says is settled when it is queued
    )
