"""Each kind of channel against a real server: what arrives, what a refusal becomes, and what nobody gets to see."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import shutil
import smtplib
import socket
import ssl
import subprocess
import time
import tracemalloc
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests
import urllib3
from aiosmtpd.smtp import AuthResult
from pydantic import SecretStr

from capacity_kit import settings
from capacity_kit.alerting import channels
from capacity_kit.alerting.channels import Channel, Undelivered
from capacity_kit.errors import CapacityError
from tests.conftest import skip_or_fail
from tests.faults.receivers import Mailbox, Web

KEY = "0123456789abcdef0123456789abcdef"
SECRET, ENCODED = "p@ss/w:rd%20+", "p%40ss%2Fw%3Ard%2520%2B"


@dataclass(frozen=True)
class Message:
    key: str = KEY
    kind: str = "ALERT"
    severity: str | None = "CRITICAL"
    subject: str = "STORAGE cluster is past 90 %"
    body: str = f"It stands at 91 %.\n\nkey: {KEY}"
    dedup_key: str = "fedcba9876543210fedcba9876543210"
    attachment: str | None = None


@pytest.fixture
def web():
    with Web() as opened:
        yield opened


@pytest.fixture
def mailbox():
    with Mailbox() as opened:
        yield opened


def channel(address, name="X"):
    return Channel(name, SecretStr(address))


def chat(web):
    return channel(f"mmost://127.0.0.1:{web.port}/abcdefghijklmnopqrstuvwxyz", "CHAT")


def pager(web):
    return channel(f"pagerduty+http://R0utingKey@127.0.0.1:{web.port}/v2/enqueue", "PAGERDUTY")


def mail(mailbox, receivers="ops%40example.org", more=""):
    return channel(f"mailto://127.0.0.1:{mailbox.port}/{receivers}?from=capacity@example.com{more}", "EMAIL")


# --- mail


def test_a_mail_carries_its_key_where_programs_and_people_find_it(mailbox):
    assert mail(mailbox).send(Message(), None, 5) is None
    (sent,) = mailbox.mails
    assert sent["Message-ID"] == f"<{KEY}@example.com>"
    assert sent["X-Capacity-Key"] == KEY
    assert sent["References"] == "<fedcba9876543210fedcba9876543210.incident@example.com>"
    assert sent["Auto-Submitted"] == "auto-generated"
    assert sent["Subject"] == Message.subject
    assert sent.get_content().rstrip().endswith(f"key: {KEY}")
    assert mailbox.envelopes == [["ops@example.org"]]


def test_the_key_is_added_where_the_text_lacks_it(mailbox):
    mail(mailbox).send(Message(body="no key"), None, 5)
    assert mailbox.mails[0].get_content().split() == ["no", "key", "key:", KEY]


def test_a_second_sending_is_the_same_mail(mailbox):
    for _ in range(2):
        mail(mailbox).send(Message(key="report|2026-11|Größe"), None, 5)
    first, second = mailbox.mails
    assert first["Message-ID"] == second["Message-ID"]
    assert first["X-Capacity-Key"] == second["X-Capacity-Key"] == "report|2026-11|Größe"


def test_a_contact_is_told_through_the_channels_server_alone(mailbox):
    mail(mailbox, more="&cc=boss@example.org&bcc=spy@example.org").send(Message(), "on.call@example.net", 5)
    assert mailbox.envelopes == [["on.call@example.net"]]
    assert mailbox.mails[0]["To"] == "on.call@example.net"


def test_all_receivers_get_one_mail(mailbox):
    mail(mailbox, "a@x.org/b@x.org", "&cc=c@x.org&bcc=d@x.org").send(Message(), None, 5)
    assert mailbox.envelopes == [["a@x.org", "b@x.org", "c@x.org", "d@x.org"]]
    assert "d@x.org" not in str(mailbox.mails[0])


def test_reports_that_are_attached_have_names_of_their_own(mailbox, tmp_path):
    page = tmp_path / "monthly_review/acme/2026-11-02T060000Z/index.html"
    page.parent.mkdir(parents=True)
    page.write_text("<p>Fine.</p>")
    assert mail(mailbox).send(Message(attachment=str(page)), None, 5) is None
    (part,) = mailbox.mails[0].iter_attachments()
    assert part.get_filename() == "monthly_review-acme-2026-11-02T060000Z.html"


def test_a_report_is_attached(mailbox, tmp_path):
    file = tmp_path / "Bericht für Größe.html"
    file.write_text("<h1>Größe</h1>")
    assert mail(mailbox).send(Message(attachment=str(file)), None, 5) is None
    (part,) = mailbox.mails[0].iter_attachments()
    assert (part.get_filename(), part.get_content_type()) == (file.name, "text/html")
    assert part.get_payload(decode=True) == file.read_bytes()


def test_a_report_that_is_gone_does_not_keep_the_mail(mailbox, tmp_path):
    said = mail(mailbox).send(Message(attachment=str(tmp_path / "gone.html")), None, 5)
    assert said == "gone.html could not be attached: No such file or directory"
    assert mailbox.mails[0].get_content().startswith(said)


def test_nothing_but_a_page_leaves_this_host(mailbox, web, tmp_path, monkeypatch):
    secret, pipe, page = tmp_path / "channels.toml", tmp_path / "pipe.html", tmp_path / "index.html"
    secret.write_text("hunter2")
    os.mkfifo(pipe)
    page.symlink_to(secret)
    (tmp_path / "loop.html").symlink_to(tmp_path / "loop.html")
    large = tmp_path / "large.html"
    large.write_text("x" * 100)
    monkeypatch.setattr(channels, "_LARGEST_PAGE", 99)
    for path in (secret, pipe, page, tmp_path / "loop.html", large, tmp_path, "/dev/zero"):
        for used in (mail(mailbox), channel(f"json://127.0.0.1:{web.port}/")):
            said = used.send(Message(attachment=str(path)), None, 5)
            assert "could not be attached: " in said, path
    assert not [sent for sent in mailbox.mails if list(sent.iter_attachments())]
    assert not [request for request in web.requests if request.document["attachments"]]


def test_a_subject_cannot_smuggle_headers(mailbox):
    mail(mailbox).send(Message(subject="full\r\nBcc: victim@example.org\nX: y"), None, 5)
    assert mailbox.mails[0]["Subject"] == "full Bcc: victim@example.org X: y"
    assert mailbox.mails[0]["Bcc"] is None


@pytest.mark.parametrize(
    ("answer", "permanent"), [("550 no such user", True), ("451 greylisted", False), ("450 busy", False)]
)
def test_a_refused_receiver_is_final_when_the_server_says_so(mailbox, answer, permanent):
    mailbox.answer_recipient = lambda _: answer
    with pytest.raises(Undelivered, match=answer) as raised:
        mail(mailbox).send(Message(), None, 5)
    assert raised.value.permanent is permanent
    assert not raised.value.is_down


def test_one_receiver_of_two_that_is_refused_is_said(mailbox):
    mailbox.answer_recipient = lambda address: "550 unknown" if address.startswith("b") else "250 OK"
    said = mail(mailbox, "a@x.org/b@x.org").send(Message(), None, 5)
    assert said == "1 of 2 receivers were refused: 550 unknown"


@pytest.mark.parametrize(("answer", "permanent"), [("554 spam", True), ("452 disk full", False)])
def test_a_refused_mail_is_final_when_the_server_says_so(mailbox, answer, permanent):
    mailbox.answer_data = lambda _: answer
    with pytest.raises(Undelivered, match=answer) as raised:
        mail(mailbox).send(Message(), None, 5)
    assert raised.value.permanent is permanent


@pytest.mark.parametrize("contact", ["a@b@c", "x y@z.org", "x@z.org\r\nRCPT TO:<v@x.org>", "<x@z.org>"])
def test_what_is_no_mail_address_is_final(mailbox, contact):
    with pytest.raises(Undelivered, match="no mail address") as raised:
        mail(mailbox).send(Message(), contact, 5)
    assert raised.value.permanent
    assert mailbox.mails == []


def test_a_contact_cannot_be_told_through_a_chat(web):
    with pytest.raises(Undelivered, match="no mail server") as raised:
        chat(web).send(Message(), "x@example.org", 5)
    assert not raised.value.permanent


def test_mail_that_was_to_be_encrypted_is_not_sent_in_the_clear(mailbox):
    with pytest.raises(Undelivered, match="leave pgp= out"):
        mail(mailbox, more="&pgp=encrypt").send(Message(), None, 5)
    assert mailbox.mails == []


def test_a_mail_server_that_says_nothing_is_not_waited_for_long():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(Undelivered, match=r"no answer within 0\.3 s") as raised:
            channel(f"mailto://127.0.0.1:{silent.getsockname()[1]}/a@x.org?from=b@x.org").send(
                Message(), None, 0.3
            )
    assert time.monotonic() - began < 3
    assert raised.value.is_down
    assert not raised.value.permanent


def test_a_mail_server_that_is_away_is_tried_again():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(Undelivered, match="the connection failed") as raised:
        channel(f"mailto://127.0.0.1:{port}/a@x.org?from=b@x.org").send(Message(), None, 1)
    assert raised.value.is_down
    assert not raised.value.permanent


@pytest.fixture(scope="module")
def guarded_mailbox(tmp_path_factory):
    """A mail server that wants TLS, and a name and a password, as those of providers do."""
    if not shutil.which("openssl"):
        skip_or_fail("openssl", "install it: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def is_let_in(_server, _session, _envelope, _mechanism, login):
        is_right = (login.login, login.password) == (b"someuser", SECRET.encode())
        return AuthResult(success=is_right, handled=False)

    with Mailbox(
        tls_context=context, require_starttls=True, auth_required=True, authenticator=is_let_in
    ) as opened:
        yield opened, certificate


def guarded_mail(mailbox, password, more=""):
    return channel(
        f"mailtos://someuser:{password}@localhost:{mailbox.port}/a@x.org?from=c@x.org&smtp=localhost{more}"
    )


def test_mail_goes_through_tls_with_name_and_password(guarded_mailbox, monkeypatch):
    mailbox, certificate = guarded_mailbox
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    guarded_mail(mailbox, ENCODED).send(Message(), None, 5)
    assert mailbox.mails[-1]["X-Capacity-Key"] == KEY


def test_a_wrong_password_can_be_repaired_and_is_not_said(guarded_mailbox, monkeypatch):
    mailbox, certificate = guarded_mailbox
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(Undelivered, match="535") as raised:
        guarded_mail(mailbox, "wr0ngPassword").send(Message(), None, 5)
    assert not raised.value.permanent
    assert raised.value.is_down
    assert "wr0ngPassword" not in str(raised.value)


def test_a_mail_server_with_a_strange_certificate_gets_no_password(guarded_mailbox):
    mailbox, _ = guarded_mailbox
    sent = len(mailbox.mails)
    with pytest.raises(Undelivered, match="certificate was not accepted"):
        guarded_mail(mailbox, ENCODED).send(Message(), None, 5)
    assert len(mailbox.mails) == sent
    guarded_mail(mailbox, ENCODED, "&verify=no").send(Message(), None, 5)
    assert len(mailbox.mails) == sent + 1


# --- PagerDuty


def test_an_incident_is_opened_and_closed_under_one_key(web):
    web.answer = lambda _: (202, {}, b'{"status": "success"}')
    pager(web).send(Message(), None, 5)
    pager(web).send(Message(kind="RESOLUTION", key="another"), None, 5)
    opened, closed = (request.document for request in web.requests)
    assert opened["event_action"] == "trigger"
    assert opened["routing_key"] == closed["routing_key"] == "R0utingKey"
    assert opened["dedup_key"] == closed["dedup_key"] == Message.dedup_key
    assert opened["payload"]["summary"] == Message.subject
    assert opened["payload"]["severity"] == "critical"
    assert opened["payload"]["custom_details"] == {"message": Message.body, "kind": "ALERT", "key": KEY}
    assert closed["event_action"] == "resolve"


@pytest.mark.parametrize("status", [102, 301, 302, 307, 308])
def test_only_a_yes_is_a_yes(web, status):
    with Web() as elsewhere:
        moved = {"Location": f"http://127.0.0.1:{elsewhere.port}/internal"}
        web.answer = lambda _: (status, moved, b"moved")
        address = SecretStr(f"http://127.0.0.1:{web.port}/ping/abcdef-uuid")
        tries = [lambda used=used: used.send(Message(), None, 5) for used in (pager(web), chat(web))]
        for attempt in (*tries, lambda: channels.call(address, 5)):
            with pytest.raises(Undelivered, match=f"127.0.0.1 answered {status}|connection failed") as raised:
                attempt()
            assert not raised.value.permanent
        assert elsewhere.requests == []


@pytest.mark.parametrize("status", [200, 503])
def test_an_answer_without_end_is_read_to_a_bound(web, status):
    """The status decides; of what is said no more is held than anybody would read."""
    web.answer = lambda _: (status, {}, "endless")
    tracemalloc.start()
    began = time.monotonic()
    try:
        for used in (chat(web), pager(web)):
            if status == 200:
                assert used.send(Message(), None, 2) is None
            else:
                with pytest.raises(Undelivered, match="answered 503"):
                    used.send(Message(), None, 2)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < 8


def test_an_answer_that_trickles_is_not_waited_for(web):
    web.answer = lambda _: (200, {}, "trickle")
    began = time.monotonic()
    assert pager(web).send(Message(), None, 0.5) is None
    assert time.monotonic() - began < 3


def test_an_event_that_is_refused_is_final(web):
    web.answer = lambda _: (400, {}, b'{"message": "Event object is invalid"}')
    with pytest.raises(Undelivered, match="400.*Event object is invalid") as raised:
        pager(web).send(Message(), None, 5)
    assert raised.value.permanent


def test_apprises_own_address_of_pagerduty_is_understood():
    found = channel("pagerduty://integrationkey@apikey?region=eu")
    assert found.problem is None


# --- anything that apprise knows


def test_a_chat_message_ends_in_its_key(web):
    assert chat(web).send(Message(), None, 5) is None
    text = str(web.requests[0].document)
    assert f"key: {KEY}" in text
    assert Message.subject in text


def test_nothing_in_a_message_is_a_template_of_apprises(web):
    chat(web).send(Message(body="{{ app_id }} {app_id} \\n :smile: {{body}}"), None, 5)
    assert "{{ app_id }} {app_id} \\n :smile: {{body}}" in web.requests[0].document["text"]


LIVELY = (
    "usage < 5 & <!channel> <https://evil.example|Runbook> [Runbook](https://evil.example) @everyone <b>x</b>"
)
PLACES = {
    "telegram": "tgram://123456789:ABCdefghijkl-abcdefghijklmnopqrstuvwxyz/12315544/",
    "telegram, markdown": "tgram://123456789:ABCdefghijkl-abcdefghijklmnopqrstuvwxyz/12315544/?format=markdown",
    "slack": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops",
    "slack, blocks": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops?blocks=yes",
    "discord": "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
    "google chat": "gchat://workspace/key/token",
    "teams": "workflows://127.0.0.1:443/workflow/signature",
    "mattermost": "mmost://127.0.0.1/abcdefghijklmnopqrstuvwxyz",
}


@pytest.fixture
def posted(monkeypatch):
    """What is posted to services out there, each of which takes it."""
    bodies = []

    def taken(_session, request, **_):
        bodies.append(request.body if isinstance(request.body, str) else request.body.decode())
        answer = requests.Response()
        answer.status_code, answer.url = 200, request.url
        answer.raw = urllib3.HTTPResponse(
            io.BytesIO(b"ok" if "slack" in request.url else b"{}"), preload_content=False
        )
        return answer

    monkeypatch.setattr(channels, "_send_plainly", taken)
    return bodies


@pytest.mark.parametrize("place", PLACES)
def test_what_a_message_holds_is_text_and_never_markup(posted, place):
    """No tenant's or resource's name calls a whole channel, fakes a link, or makes the receiver refuse the message."""
    body = f"{LIVELY}\n\nRunbook: https://wiki.example.org/run_book?a=1\n\nkey: {KEY}"
    channel(PLACES[place]).send(Message(subject=f"CRITICAL a<b {LIVELY}", body=body), None, 5)
    (sent,) = posted
    said = json.dumps(json.loads(sent), ensure_ascii=False)
    for live in ("<!channel", "<https:", "<b>x", "a<b ", "](https:", "@everyone"):
        assert live not in said, live
    assert said.count("usage ‹ 5 ") == 2, said
    assert "https://wiki.example.org/run" in said
    assert f"key: {KEY}" in said
    if "html" in said.lower():
        assert "‹ 5 &amp; ‹!" in said, said


def test_a_program_gets_the_words_as_they_are(web):
    channel(f"json://127.0.0.1:{web.port}/").send(
        Message(subject=LIVELY, body=f"{LIVELY} key: {KEY}"), None, 5
    )
    assert web.requests[0].document["title"] == LIVELY
    assert web.requests[0].document["message"] == f"{LIVELY} key: {KEY}"


def test_a_log_gets_the_words_as_they_are():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as log:
        log.bind(("127.0.0.1", 0))
        log.settimeout(5)
        channel(f"rsyslog://127.0.0.1:{log.getsockname()[1]}/").send(
            Message(body="usage < 5 <@all> ab"), None, 5
        )
        assert "usage < 5 <@all> ab" in log.recv(4096).decode()


def test_a_mail_that_a_service_sends_has_the_words_as_they_are(posted):
    channel("sendgrid://abcdefghijkl:from@example.org/to@example.org").send(
        Message(subject="a<b", body="usage < 5 <b>x</b>"), None, 5
    )
    sent = json.loads(posted[0])
    assert "a<b" in json.dumps(sent)
    assert (
        "&lt;&nbsp;5&nbsp;&lt;b&gt;x&lt;/b&gt;" in sent["content"][0]["value"]
    )  # a page, which shows them so


def test_patience_that_is_asked_for_is_passed_on(web):
    web.answer = lambda _: (429, {"Retry-After": "17"}, b"slow down")
    for used in (chat(web), pager(web)):
        with pytest.raises(Undelivered, match="429") as raised:
            used.send(Message(), None, 5)
        assert raised.value.retry_after == 17
        assert raised.value.is_down
        assert not raised.value.permanent


def test_patience_can_be_a_date(web):
    then = format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)
    web.answer = lambda _: (503, {"Retry-After": then}, b"")
    with pytest.raises(Undelivered) as raised:
        chat(web).send(Message(), None, 5)
    assert 290 <= raised.value.retry_after <= 300


@pytest.mark.parametrize("odd", ["soon", "-5", "", "9" * 400])
def test_patience_that_makes_no_sense_is_none_or_a_day(web, odd):
    web.answer = lambda _: (429, {"Retry-After": odd}, b"")
    with pytest.raises(Undelivered) as raised:
        chat(web).send(Message(), None, 5)
    assert raised.value.retry_after in (None, 0, 86_400)


@pytest.mark.parametrize(
    ("status", "of_a_chat", "of_a_program"),
    [(400, False, True), (410, False, True), (413, True, True), (401, False, False), (404, False, False),
     (500, False, False)],
)  # fmt: skip
def test_only_what_cannot_be_repaired_is_final(web, status, of_a_chat, of_a_program):
    """Chats answer 400 and 410 also where a chat is not found, is archived or has moved."""
    web.answer = lambda _: (status, {}, b"why")
    program = channel(f"json://127.0.0.1:{web.port}/")
    for used, permanent in ((chat(web), of_a_chat), (program, of_a_program), (pager(web), of_a_program)):
        with pytest.raises(Undelivered, match=f"127.0.0.1 answered {status}: why") as raised:
            used.send(Message(), None, 5)
        assert raised.value.permanent is permanent


@pytest.mark.parametrize("odd", ["hang", "drop"])
def test_a_server_that_hangs_or_hangs_up_is_tried_again(web, odd):
    web.answer = lambda _: odd
    for used in (chat(web), pager(web)):
        with pytest.raises(Undelivered, match="no answer within|connection failed") as raised:
            used.send(Message(), None, 0.3)
        assert raised.value.is_down
        assert not raised.value.permanent


def test_a_file_goes_along_where_the_channel_takes_one_and_is_named_where_not(web, tmp_path):
    file = tmp_path / "report.html"
    file.write_text("<h1>all</h1>")
    taking = channel(f"json://127.0.0.1:{web.port}/")
    assert taking.send(Message(attachment=str(file)), None, 5) is None
    (attached,) = web.requests[0].document["attachments"]
    assert base64.b64decode(attached["base64"]) == file.read_bytes()
    said = chat(web).send(Message(attachment=str(file)), None, 5)
    assert said == "report.html could not be attached: this channel takes no files"
    assert said in web.requests[1].document["text"]


def test_an_address_that_apprise_does_not_know_fails_and_can_be_repaired():
    odd = channel("nonsense://s3cretToken/")
    assert "s3cretToken" not in str(odd.problem)
    with pytest.raises(Undelivered, match="none of apprise's") as raised:
        odd.send(Message(), None, 1)
    assert not raised.value.permanent


# --- secrets


def test_nothing_of_an_address_but_its_host_is_ever_said(web, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    logging.getLogger().setLevel(logging.DEBUG)
    forms = [SECRET, ENCODED, "hooktoken1234", "quer%79secret", "querysecret", "someuser"]
    basic = base64.b64encode(f"someuser:{SECRET}".encode()).decode()
    echo = " ".join([*forms, basic, repr(SECRET)])
    web.answer = lambda request: (500, {}, (echo + " " + str(request.headers)).encode())
    used = channel(f"json://someuser:{ENCODED}@127.0.0.1:{web.port}/hooktoken1234?-key=quer%79secret", "HOOK")
    with pytest.raises(Undelivered) as raised:
        used.send(Message(), None, 5)
    said = [str(raised.value), repr(raised.value), repr(used), str(used), repr(vars(used))]
    said += [caplog.text, *capfd.readouterr()]
    assert "127.0.0.1 answered 500" in said[0]
    for form in (*forms, basic):
        assert not [text for text in said if form in text], form
    assert len(web.requests) == 1


APACHE = """<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">
<html><head>
<title>404 Not Found</title>
</head><body>
<h1>Not Found</h1>
<p>The requested URL {path} was not found on this server.</p>
</body></html>"""
TOKEN = "XXXXSECRETTOKENXXXXabcdef0123456789ABCDEF"


def shared(text, secret):
    """The longest piece of a secret that a text holds."""
    pieces = (secret[a:b] for a in range(len(secret)) for b in range(a + 1, len(secret) + 1))
    return max((piece for piece in pieces if piece in text), key=len, default="")


@pytest.mark.parametrize("ahead", [0, *range(60, 560, 12), 970, 19_960])
def test_a_secret_is_masked_wherever_the_answer_is_cut(web, ahead):
    web.answer = lambda request: (404, {}, (" " * ahead + APACHE.format(path=request.path)).encode())
    used = channel(f"json://127.0.0.1:{web.port}/hook/T00000000/B00000000/{TOKEN}", "HOOK")
    with pytest.raises(Undelivered, match="127.0.0.1 answered 404") as raised:
        used.send(Message(), None, 5)
    assert len(shared(str(raised.value), TOKEN)) < 4


@pytest.mark.parametrize("ahead", range(100, 560, 7))
def test_no_cut_of_the_text_leaves_a_piece_of_a_secret(ahead):
    said = channel(f"json://127.0.0.1/hook/{TOKEN}").mask("." * ahead + TOKEN + "." * 500)
    assert len(said) <= 500
    assert len(shared(said, TOKEN)) < 4


def test_a_secret_that_the_receiver_cut_is_masked_too():
    used = channel(f"json://127.0.0.1/hook/{TOKEN}")
    for cut in (TOKEN[:12], TOKEN[:30], TOKEN[9:], TOKEN[5:25]):
        assert used.mask(f"no such path /hook/{cut}... here") == "no such path /***/***... here"


def test_a_token_with_dots_that_the_receiver_cut_is_masked_too():
    used = channel("json://someone:SG.abcdefghijk.lmnopqrst!u@127.0.0.1/hook")
    assert used.mask("password SG.abcdefghijk.lm...") == "password ***..."


@pytest.mark.parametrize("noise", ["\\", "&", "%", "!", "&#0", " a"])
def test_no_answer_keeps_the_mask_busy(noise):
    used = channel("json://someone:!!p&a%2Fss@127.0.0.1/hook")
    began = time.process_time()
    used.mask(noise * 20_000)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "echoed",
    ["a&amp;b&lt;c/d'e", "a&#38;b&#x3c;c&#x2F;d&#039;e", "A&B<C/D'E", "a%26b%3cc%2fd%27e", "a%2526b%253Cc%252Fd%2527e",
     "a\\u0026b\\u003cc\\/d\\u0027e", "a&b<c/d\\'e", "a&b\u200b<c/d'e"],
)  # fmt: skip
def test_a_secret_is_masked_however_it_is_written(echoed):
    used = channel("json://someone:a%26b%3Cc%2Fd%27e@127.0.0.1/hook")
    assert used.mask(f"the password {echoed} is wrong") == "the password *** is wrong"


def test_an_exception_of_a_plugin_holds_no_secret_either(monkeypatch, web):
    used = channel(f"json://someuser:{ENCODED}@127.0.0.1:{web.port}/hooktoken1234")

    def explode(*_, **__):
        raise RuntimeError(f"https://someuser:{SECRET}@host/hooktoken1234 or {ENCODED}")

    monkeypatch.setattr("apprise.plugins.custom_json.NotifyJSON.send", explode)
    with pytest.raises(Undelivered) as raised:
        used.send(Message(), None, 5)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    for form in (SECRET, ENCODED, "hooktoken1234", "someuser"):
        assert form not in str(raised.value)


def test_a_mail_servers_password_is_not_said(mailbox):
    used = channel(f"mailto://someuser:{ENCODED}@127.0.0.1:{mailbox.port}/a@x.org?from=b@x.org")
    with pytest.raises(Undelivered) as raised:
        used.send(Message(), None, 5)
    assert "127.0.0.1" in str(raised.value)  # this server knows no AUTH
    assert SECRET not in str(raised.value)
    assert isinstance(raised.value.__context__, smtplib.SMTPNotSupportedError | type(None) | Undelivered)


def test_what_a_mail_server_says_of_one_refused_receiver_holds_no_secret(mailbox, monkeypatch):
    monkeypatch.setattr(smtplib.SMTP, "login", lambda *_, **__: None)
    plain = base64.b64encode(b"\0capuser\0hunter2SECRET").decode()
    mailbox.answer_recipient = lambda address: (
        f"550 \x1b[31mrejected for user capuser with hunter2SECRET {plain}" if address[0] == "b" else "250 OK"
    )
    used = channel(f"mailto://capuser:hunter2SECRET@127.0.0.1:{mailbox.port}/a@x.org/b@x.org?from=c@x.org")
    said = used.send(Message(), None, 5)
    assert said == "1 of 2 receivers were refused: 550 [31mrejected for user *** with *** ***=="


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_secret_beyond_ascii_is_masked_in_any_encoding(web, encoding):
    web.answer = lambda _: (500, {"Content-Type": "text/html"}, "no 'Pässwörter'".encode(encoding))
    used = channel(f"json://someone:P%C3%A4ssw%C3%B6rter@127.0.0.1:{web.port}/hook")
    with pytest.raises(Undelivered, match=r"no '\*\*\*'"):
        used.send(Message(), None, 5)


def test_a_token_in_the_place_of_a_host_is_a_secret():
    assert "T1JJ3T3L2" not in channel("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ").mask(
        "no host T1JJ3T3L2, path /A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    )


def test_the_heartbeats_address_is_a_secret(web):
    web.answer = lambda request: (500, {}, request.path.encode())
    address = SecretStr(f"http://127.0.0.1:{web.port}/ping/abcdef-uuid")
    with pytest.raises(Undelivered, match="127.0.0.1 answered 500") as raised:
        channels.call(address, 5)
    assert "abcdef-uuid" not in str(raised.value)
    web.close()
    with pytest.raises(Undelivered) as raised:
        channels.call(address, 1)
    assert "abcdef-uuid" not in str(raised.value)


@pytest.mark.parametrize("address", ["not a url", "ftp://x/secretpath", "http://[::1/secretpath"])
def test_a_heartbeat_to_no_web_address_fails_plainly(address):
    with pytest.raises(Undelivered) as raised:
        channels.call(SecretStr(address), 1)
    assert "secretpath" not in str(raised.value)


# --- where addresses come from


def test_addresses_come_from_the_file_and_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "channels.toml"
    file.write_text('[channels]\nemail = "mailto://a@b.org"\nSLACK = "json://file"\nEMPTY = ""\n')
    file.chmod(0o600)
    monkeypatch.setenv("CAPACITY_CHANNELS", str(file))
    monkeypatch.setenv("CAPACITY_CHANNEL_SLACK", "json://environment")
    monkeypatch.setenv("CAPACITY_CHANNEL_WEBEX", "")
    found = {name: secret.get_secret_value() for name, secret in settings.channel_addresses().items()}
    assert found == {"EMAIL": "mailto://a@b.org", "SLACK": "json://environment"}
    assert "environment" not in repr(settings.channel_addresses())
    assert list(channels.channels()) == ["EMAIL", "SLACK"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(tmp_path, monkeypatch, mode):
    file = tmp_path / "channels.toml"
    file.write_text('[channels]\nEMAIL = "mailto://someuser:secret@b.org"\n')
    file.chmod(mode)
    monkeypatch.setenv("CAPACITY_CHANNELS", str(file))
    with pytest.raises(CapacityError, match=f"mode is {mode:04o}.*chmod 600") as raised:
        settings.channel_addresses()
    assert "secret@" not in str(raised.value)


@pytest.mark.parametrize(
    "content",
    ['EMAIL = "mailto://top:secret@b.org"', "[channels]\nEMAIL = mailto://top:secret@b.org", "channels = 5",
     '[channels.secret]\nEMAIL = "x"', b"\xff\xfesecret"],
)  # fmt: skip
def test_a_file_of_another_form_is_refused_without_repeating_it(tmp_path, monkeypatch, content):
    file = tmp_path / "channels.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(0o600)
    monkeypatch.setenv("CAPACITY_CHANNELS", str(file))
    with pytest.raises(CapacityError, match="CAPACITY_CHANNELS") as raised:
        settings.channel_addresses()
    assert "secret" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_a_file_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPACITY_CHANNELS", str(tmp_path / "none.toml"))
    with pytest.raises(CapacityError, match=r"none\.toml cannot be read: No such file"):
        settings.channel_addresses()


def test_severities_and_kinds_are_told_apart(web):
    used = channel(f"json://127.0.0.1:{web.port}/")
    for message in (Message(), replace(Message(), severity="WARNING"), replace(Message(), kind="RESOLUTION")):
        used.send(message, None, 5)
    assert [request.document["type"] for request in web.requests] == ["failure", "warning", "success"]
