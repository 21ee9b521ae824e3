"""What looks like a secret: looked for in all that would be published, and never repeated.

A report that holds one is held back whole. What is known to be secret here (the session's password, tokens of the
environment, channels' addresses) is looked for as it is and as programs print it; what else looks like one by its form.
That is against accidents. Who means to carry a secret out finds a spelling that nobody looks for: against them stand
the broker, which keeps it from a notebook, and the walls around its process.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from nbformat import NotebookNode

from capacity_kit import settings

SHORTEST: Final = 8
"""Characters: a shorter secret may be a word of any report. It is blotted out of it, and holds nothing back."""

_FORMS: Final = {
    "a URL with a password": re.compile(
        r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}://[^\s/:@\"'<>\\]{0,256}:(?!\*{3}@)[^\s/@\"'<>\\]{1,1024}@",
        re.IGNORECASE,
    ),
    "PGPASSWORD": re.compile(
        r"""\bPGPASSWORD(?:['"]\]?\s*[=:]\s*|\s*=\s*)\\?['"]?(?!\*{3})[^\s'"\\,;)}\]]""", re.IGNORECASE
    ),
    "an access key": re.compile(
        r"""(?<![A-Za-z0-9+/])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9+/=])"""
        r"""|aws_secret_access_key\W{1,6}[A-Za-z0-9/+=]{40}"""
    ),
    "an access token": re.compile(
        r"(?<![A-Za-z0-9+/])(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|xox[abeprs]-[A-Za-z0-9-]{10,})"
    ),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"),
}
_SAID: Final = {
    "a password in a connection string": re.compile(
        r"\bpassword\s*=\s*(?!['\"]?\*{3})(?!None\b)['\"]?[^\s&'\"<,;)]{3,}", re.IGNORECASE
    )
}
"""Looked for in what cells said, not in what they are: code may well hand on a password that it does not know."""

_TOKEN: Final = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|PRIVATE_KEY)$", re.IGNORECASE)
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_PICTURE: Final = re.compile(r"data:[a-z]+/[a-z0-9.+-]+;base64,[A-Za-z0-9+/=]*")
_TAG: Final = re.compile(r"<[^<>]{0,4096}>")


@dataclass(frozen=True)
class Leak:
    """Where a secret stands, and of what kind it is; never which.

    Attributes
    ----------
    place : str
        Such as 'cell 4'.
    kind : str
        Such as 'a URL with a password'.
    """

    place: str
    kind: str

    def __str__(self) -> str:
        return f"{self.place} holds {self.kind}"


def known(passwords: Iterable[str] = (), harmless: Iterable[str] = ()) -> dict[str, str]:
    """The secrets of this session, each with its kind.

    Parameters
    ----------
    passwords : iterable of str
        Of the database connection.
    harmless : iterable of str
        What is no secret though it may be one's value: the names of the role and the database.

    Raises
    ------
    CapacityError
        When the channels' file is not as it should be; see `capacity_kit.settings.channel_addresses`.
    """
    found = dict.fromkeys(passwords, "the database's password")
    for name, value in os.environ.items():
        if name != "PGPASSWORD" and _TOKEN.search(name) and not name.startswith("CAPACITY_CHANNEL"):
            found.setdefault(value, f"the value of {name}")
    if password := os.environ.get("PGPASSWORD"):
        found[password] = "the value of PGPASSWORD"
    for name, address in settings.channel_addresses().items():
        for part in _parts(address.get_secret_value()):
            found.setdefault(part, f"the address of channel {name}")
    heartbeat = settings.load().heartbeat_url
    for part in _parts(heartbeat.get_secret_value()) if heartbeat else ():
        found.setdefault(part, "the address of the heartbeat")
    spared = {word.casefold() for word in harmless}
    return {
        value: kind
        for value, kind in found.items()
        if len(value) >= SHORTEST and value.casefold() not in spared
    }


def _parts(address: str) -> Iterator[str]:
    """An address, and what of it is secret by itself: its password, and whatever is long and has digits in it."""
    yield address
    try:
        split = urlsplit(address)
        password = split.password
    except ValueError:
        return
    if password:
        yield from (password, unquote(password))
    for part in re.split(r"[/?&=@:#]", address.partition("://")[2]):
        if len(part) >= 2 * SHORTEST and re.search(r"\d", part) and "." not in part:
            yield part


def notebook(executed: NotebookNode, secrets: Mapping[str, str]) -> Leak | None:
    """The first secret in a notebook: in what its cells say, are, or are marked with.

    Parameters
    ----------
    executed : NotebookNode
        As it ended, before anything was blotted out of it.
    secrets : mapping
        From `known`.
    """
    for number, cell in enumerate(executed.cells, start=1):
        place = f"cell {number}"
        told: list[str] = []
        streams: dict[str, str] = {}
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                streams[output.name] = streams.get(output.name, "") + _text(output.text)
            else:
                told += _texts({key: output.get(key) for key in ("data", "metadata", "evalue", "traceback")})
        kind = next(
            (
                k
                for text in [*streams.values(), "".join(streams.values()), *told]
                if (k := _kind(text, secrets))
            ),
            None,
        ) or _kind("\n".join([cell.source, *_texts(dict(cell.metadata))]), secrets, is_code=True)
        if kind:
            return Leak(place, kind)
    kind = _kind("\n".join(_texts(executed)), secrets, is_code=True)  # what else a file may carry along
    return Leak("the notebook", kind) if kind else None


def page(text: str, secrets: Mapping[str, str]) -> Leak | None:
    """The first secret in a page or another text that is to be published."""
    bare = _PICTURE.sub("", text)
    kind = _kind(bare, secrets) or _kind(html.unescape(_TAG.sub("", bare)), secrets)
    return Leak("the page", kind) if kind else None


def _texts(found: Any) -> list[str]:
    """All texts in it but those of pictures, and the words of markup without the markup."""
    if isinstance(found, str):
        return [found, html.unescape(_TAG.sub("", found))] if "<" in found else [found]
    if isinstance(found, Mapping):
        texts = []
        for key, value in found.items():
            if not re.match(r"image/(?!svg)|application/pdf", str(key)):
                texts += [str(key), *_texts(value)]
        return texts
    if isinstance(found, list | tuple):
        lines = [text for value in found for text in _texts(value)]
        return [*lines, "".join(value for value in found if isinstance(value, str))]
    return [] if found is None else [str(found)]


def _text(found: Any) -> str:
    return found if isinstance(found, str) else "".join(found)


def _kind(text: str, secrets: Mapping[str, str], *, is_code: bool = False) -> str | None:
    text = _COLOURS.sub("", text)
    for secret, kind in secrets.items():
        if any(form in text for form in _printed(secret)):
            return kind
    forms = _FORMS if is_code else {**_FORMS, **_SAID}
    return next((kind for kind, form in forms.items() if form.search(text)), None)


@cache
def _printed(secret: str) -> frozenset[str]:
    """A secret as programs print it."""
    return frozenset(_spelled(secret)) | _in_base64(secret.encode())


def _in_base64(secret: bytes) -> frozenset[str]:
    """What of it stands in base64 in any case: wherever in what was encoded it begins, and whatever follows."""
    found = set()
    for before in range(3):
        whole = base64.b64encode(bytes(before) + secret).decode().rstrip("=")
        last = (before + len(secret)) * 8 // 6
        found.add(whole[-(-before * 8 // 6) : last])
    return frozenset(found)


def _spelled(secret: str) -> set[str]:
    return {
        secret,
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        secret.replace("\\", "\\\\").replace("'", "\\'"),  # as a connection string has it
        quote(secret),
        quote(secret, safe=""),
        secret.encode().hex(),
        secret.encode().hex().upper(),
    }
