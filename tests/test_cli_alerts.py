"""What an operator types about alerts, at three at night too."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pandas as pd
import pytest
from rich.console import Console

from capacity_kit import cli, console, errors

COMMANDS = ("list", "show", "ack", "resolve", "verdict", "record", "mute", "unmute", "maintenance", "calendar", "send",
            "dead", "requeue", "channels")  # fmt: skip
RECORDS = (
    "SELECT (SELECT count(*) FROM capacity_alerting.evaluation), (SELECT count(*) FROM capacity_alerting.episode_s),"
    " (SELECT count(*) FROM capacity_alerting.alert_s), (SELECT count(*) FROM capacity_alerting.notification_s),"
    " (SELECT count(*) FROM capacity_planning.resource_utilization_s)"
)


def one_line(text):
    return text.count("\n") == 1 and text.startswith("capacity: ") and "Traceback" not in text


def usage(path, shares, *, names=("archive",), hours=6):
    """A file of STORAGE usage in percent of 1000, the last measurement of now."""
    now = datetime.now(UTC)
    lines = [
        f"{now - timedelta(hours=hours * (len(shares) - 1 - n)):%Y-%m-%dT%H:%M:%SZ},{name},{10 * share:.4f}\n"
        for name in names
        for n, share in enumerate(shares)
    ]
    path.write_text("at,name,value\n" + "".join(lines))
    return ("import", "csv", path, "--time", "at", "--value", "value", "--name-column", "name", "--type", "STORAGE",
            "--unit", "bytes", "--capacity", "1000")  # fmt: skip


@pytest.fixture
def store(pg18, monkeypatch):
    """A database with a system's STORAGE thresholds at 80 and 90 percent only."""
    monkeypatch.setenv("CAPACITY_DSN", pg18.dsn)
    return with_thresholds(pg18)


def with_thresholds(pg):
    """Two thresholds that are considered at each evaluation, however soon."""
    for kind, level in (("WARNING", 80), ("CRITICAL", 90)):
        pg.run(
            "SELECT capacity_planning.create_capacity_threshold(NULL, %s, 'STORAGE', %s, %s)",
            f"disk {kind.lower()}", level, kind,
        )  # fmt: skip
    pg.run("UPDATE capacity_planning.capacity_threshold_s SET evaluation_frequency_minutes = NULL")
    return pg


@pytest.fixture(scope="module")
def grown(server18, tmp_path_factory):
    """A database to copy from: an archive that grew past both levels within ten days, evaluated every six hours."""
    made = with_thresholds(server18.create("deployed"))
    where = ("--dsn", made.dsn)
    file = tmp_path_factory.mktemp("grown") / "usage.csv"
    assert (
        cli.main([str(word) for word in (*usage(file, [72 + 0.5 * n for n in range(41)]), *where)])
        == errors.OK
    )
    assert cli.main(["evaluate", "--since", "10d", "--every", "6h", *where]) == errors.ATTENTION
    yield made.name
    made.drop()


@pytest.fixture
def alarmed(server18, grown, monkeypatch):
    """A copy of it."""
    database = server18.create(grown)
    monkeypatch.setenv("CAPACITY_DSN", database.dsn)
    yield database
    database.drop()


def listed(run, *arguments):
    return json.loads(run("alerts", "list", "--json", *arguments)[1])


def state(run, alert):
    return next(row for row in listed(run, "--all") if row["id"] == alert)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run, command):
    code, out, _ = run("alerts", command, "--help")
    assert code == errors.OK
    assert f"Usage: capacity alerts {command}" in out


@pytest.mark.parametrize("command", [("list",), ("ack", "3e9f"), ("send",), ("dead",), ("channels",)])
def test_without_a_server_a_command_says_what_to_do(run, monkeypatch, tmp_path, command):
    monkeypatch.setenv("CAPACITY_HOME", str(tmp_path))
    code, out, err = run("alerts", *command)
    assert (code, out) == (errors.ERROR, "")
    assert one_line(err)
    assert "capacity up" in err


def test_without_an_evaluation_there_is_nothing_to_list(run, store):
    code, out, err = run("alerts", "list")
    assert (code, out) == (errors.ERROR, "")
    assert one_line(err)
    assert "Run: capacity evaluate" in err


def tenant_of(store, name, share):
    """A tenant with a disk of its own, and one threshold on it, named as the system's; gives its hash key."""
    key = store.value(
        "INSERT INTO auth.tenant_h VALUES (sha256(%s), %s, now(), 'test') RETURNING tenant_hk",
        name.encode(),
        name,
    )
    store.run("SELECT capacity_planning.create_capacity_threshold(%s, 'disk warning', 'STORAGE', 80)", key)
    store.run(
        "UPDATE capacity_planning.capacity_threshold_s SET evaluation_frequency_minutes = NULL"
        " WHERE load_end_date IS NULL"
    )
    measured = pd.DataFrame(
        {"tenant": [key.hex()], "resource_type": ["STORAGE"], "resource_name": ["disk"], "unit": ["bytes"],
         "measured_at": pd.DatetimeIndex([datetime.now(UTC)]), "value": [10.0 * share], "capacity": [1000.0],
         "line": [2]}
    )  # fmt: skip
    with store.vault() as opened:
        opened.load([measured], "IMPORT:test", label="test", method="IMPORT")
    return key


def test_evaluate_says_what_it_recorded(run, store, tmp_path):
    assert run(*usage(tmp_path / "usage.csv", [72 + 0.5 * n for n in range(41)]))[0] == errors.OK
    code, out, _ = run("evaluate", "--dry-run")
    assert code == errors.ATTENTION
    assert "Nothing was recorded." in out
    assert store.rows(RECORDS)[0][:4] == (0, 0, 0, 0)
    _, out, _ = run("evaluate", "--since", "10d", "--every", "6h")
    assert (
        "2 verdicts: 2 exceeded, 0 not exceeded. Recorded: 41 evaluations: 2 episodes began and 0 ended, "
        "2 alerts raised; see capacity alerts list." in out
    )
    assert store.value("SELECT count(*) FROM capacity_alerting.evaluation WHERE is_live") == 0
    _, out, _ = run("evaluate")
    assert "Recorded: 0 episodes began and 0 ended, 0 alerts raised." in out
    code, _, err = run("evaluate", "--since", "10d", "--every", "1d")
    assert code == errors.ATTENTION
    assert "10 times are left out" in err
    assert store.value("SELECT count(*) FROM capacity_alerting.evaluation") == 43


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "--every", "6h"),
        ("evaluate", "--since", "10d", "--dry-run"),
        ("evaluate", "--since", "soon"),
        ("alerts", "ack"),
        ("alerts", "ack", "zz"),
        ("alerts", "verdict", "3e9f", "perhaps"),
        ("alerts", "resolve", "3e9f", "--how", "magic"),
        ("alerts", "mute", "--for", "8h"),
        ("alerts", "mute", "3e9f"),
        ("alerts", "mute", "3e9f", "--for", "8h", "--type", "STORAGE"),
        ("alerts", "mute", "3e9f", "--for", "8 hours"),
        ("alerts", "maintenance", "--from", "2026-11-28"),
        ("alerts", "calendar", "--days", "1,8"),
        ("alerts", "calendar", "--days", "Fri-Mon"),
        ("alerts", "calendar", "--days", "Mon-Wed-Fri"),
        ("alerts", "calendar", "--hours", "nine to five"),
        ("alerts", "requeue"),
        ("tune", "--apply", "--revert"),
        ("tune", "--missed", "-1"),
    ],
)
def test_a_wrong_command_line_exits_2_and_changes_nothing(run, store, arguments):
    before = store.rows(RECORDS)
    code, _, err = run(*arguments)
    assert code == errors.USAGE
    assert err
    assert "Traceback" not in err
    assert store.rows(RECORDS) == before


def test_the_life_of_an_alert_on_each_server(run, pg, monkeypatch, tmp_path):
    monkeypatch.setenv("CAPACITY_DSN", pg.dsn)
    with_thresholds(pg)
    assert run(*usage(tmp_path / "usage.csv", [70, 95]))[0] == errors.OK
    assert run("evaluate")[0] == errors.ATTENTION
    ids = [row["id"] for row in listed(run)]
    assert len(ids) == 2
    assert run("alerts", "ack", *ids)[0] == errors.OK
    assert run("alerts", "show", ids[0])[0] == errors.OK
    assert run("alerts", "verdict", ids[0], "true")[0] == errors.OK
    assert run("alerts", "mute", ids[0], "--for", "1h")[0] == errors.OK
    assert run("alerts", "resolve", *ids)[0] == errors.OK
    assert run("alerts", "calendar", "--hours", "08:00-16:00")[0] == errors.OK
    assert run("verify", "--alerts")[0] == errors.OK
    assert listed(run) == []


def test_the_gravest_open_alert_comes_first_with_an_id_to_type(run, alarmed):
    code, out, _ = run("alerts", "list")
    assert code == errors.OK
    first, second = out.splitlines()[1:3]
    assert first.split("\t")[1:5] == ["CRITICAL", "OPEN", "SYSTEM", "STORAGE archive"]
    assert second.split("\t")[1] == "WARNING"
    assert "90.0 % at 90.0 %, peak 92.0 %" in first
    assert "2 open: capacity alerts ack ID" in out
    ids = [line.split("\t")[0] for line in (first, second)]
    assert [row["id"] for row in listed(run)] == ids
    assert all(re.fullmatch("[0-9a-f]{4,64}", alert) for alert in ids)


def test_on_a_narrow_terminal_nothing_that_is_typed_is_cut(run, alarmed, monkeypatch, capsys):
    for width in (80, 60):
        monkeypatch.setattr(
            console, "out", Console(width=width, force_terminal=True, color_system=None, highlight=False)
        )
        run_out = run("alerts", "list")[1]
        assert "…" not in run_out
        assert max(map(len, run_out.splitlines()[:-1])) <= width
        assert listed(run)[0]["id"] in run_out
        assert (
            "…"
            not in run("alerts", "mute", "--threshold", "disk warning", "--for", "1h", "--reason", "x" * 90)[
                1
            ]
        )


def test_what_is_shown_of_an_open_alert_ends_with_what_to_do(run, alarmed):
    critical = listed(run)[0]["id"]
    step = f"capacity alerts ack {critical} says that you are at it."
    shown = run("alerts", "show", critical)[1]
    assert step in shown
    assert critical in shown.splitlines()[0], "what people type stands above"
    assert listed(run)[0]["alert"] not in shown.splitlines()[0]
    assert "is simulated" not in shown
    run("alerts", "ack", critical)
    assert step not in run("alerts", "show", critical)[1]


def test_an_alert_is_acknowledged_once_by_somebody(run, alarmed):
    critical = listed(run)[0]["id"]
    code, out, _ = run("alerts", "ack", critical, "--by", "mira", "--note", "the volume is ordered")
    assert code == errors.OK
    assert out == (
        f"{critical} is acknowledged: SYSTEM STORAGE archive, disk critical.\n"
        "and 1 more that the same message told of.\n"
    )
    row = state(run, critical)
    assert (row["status"], row["acknowledged_by"], row["acknowledged_note"]) == (
        "ACKNOWLEDGED", "mira", "the volume is ordered",
    )  # fmt: skip
    code, _, err = run("alerts", "ack", critical, "--by", "noor")
    assert code == errors.ERROR
    assert one_line(err)
    assert critical in err
    assert "by mira" in err
    assert [row["status"] for row in listed(run)] == ["ACKNOWLEDGED", "ACKNOWLEDGED"]


def test_what_a_message_does_not_lead_with_is_acknowledged_alone(run, alarmed):
    warning = listed(run)[1]["id"]
    _, out, _ = run("alerts", "ack", warning)
    assert out == f"{warning} is acknowledged: SYSTEM STORAGE archive, disk warning.\n"
    assert [row["status"] for row in listed(run)] == ["OPEN", "ACKNOWLEDGED"]


def test_several_are_acknowledged_or_none(run, alarmed):
    first, second = (row["id"] for row in listed(run))
    code, _, err = run("alerts", "ack", first, "0" * 12)
    assert code == errors.ERROR
    assert "No alert's id and no message's key begins with 000000000000" in err
    assert {row["status"] for row in listed(run)} == {"OPEN"}
    code, out, _ = run("alerts", "ack", first, second)
    assert code == errors.OK
    assert len(out.splitlines()) == 2
    assert {row["status"] for row in listed(run)} == {"ACKNOWLEDGED"}


def test_a_short_id_is_enough_and_one_that_is_too_short_is_told_apart(run, store, tmp_path):
    names = [f"disk{n}" for n in range(18)]  # of so many keys, two begin alike
    assert run(*usage(tmp_path / "usage.csv", [70, 85], names=names))[0] == errors.OK
    run("evaluate")
    found = listed(run)
    assert len(found) == 18
    assert len({row["id"] for row in found}) == 18
    begun = [row["alert"][0] for row in found]
    shared = next(letter for letter in begun if begun.count(letter) > 1)
    code, _, err = run("alerts", "show", shared)
    assert code == errors.ERROR
    assert one_line(err)
    assert f"Several alerts' ids begin with {shared}" in err
    offered = re.findall(r"([0-9a-f]{4,64}) \(SYSTEM STORAGE disk", err)
    assert len(offered) >= 2
    for alert in (*offered, found[0]["id"].upper(), found[-1]["id"]):
        assert run("alerts", "show", alert)[0] == errors.OK
    code, out, _ = run("alerts", "show", found[0]["alert"], "--json")
    assert json.loads(out)["id"] == found[0]["id"]


def test_a_resolved_alert_is_over_and_what_lasts_is_a_new_one(run, alarmed, tmp_path):
    critical = listed(run)[0]["id"]
    code, out, _ = run("alerts", "resolve", critical, "--by", "mira", "--how", "added", "--note", "2 TiB")
    assert code == errors.OK
    assert f"{critical} is resolved" in out
    assert critical not in {row["id"] for row in listed(run)}
    row = state(run, critical)
    assert (row["status"], row["resolved_by"], row["resolved_how"]) == ("RESOLVED", "mira", "CAPACITY_ADDED")
    code, _, err = run("alerts", "resolve", critical)
    assert code == errors.ERROR
    assert "was resolved" in err
    run("evaluate")
    assert state(run, critical)["verdict"] == "CENSORED"
    assert listed(run, "--since", "1h") == [
        row for row in listed(run, "--since", "1h") if row["id"] != critical
    ]


def test_an_operators_verdict_stands(run, alarmed):
    warning = listed(run)[1]["id"]
    assert state(run, warning)["verdict"] == "TRUE"  # its critical level was reached
    code, out, _ = run("alerts", "verdict", warning, "false-positive", "--by", "mira", "--reason", "a copy")
    assert code == errors.OK
    assert "judged false-positive" in out
    run("evaluate")
    row = state(run, warning)
    assert (row["verdict"], row["verdict_by"], row["verdict_reason"]) == ("FALSE", "mira", "a copy")
    run("alerts", "verdict", warning, "true")
    assert state(run, warning)["verdict"] == "TRUE"


def test_the_record_shows_what_became_of_alerts_and_who_said_so(run, store, tmp_path):
    code, out, err = run("alerts", "record")
    assert (code, out) == (errors.ERROR, "")
    assert "Nothing was evaluated yet" in err
    assert run(*usage(tmp_path / "usage.csv", [70, 85]))[0] == errors.OK
    run("evaluate")
    assert run("alerts", "record", "--type", "CPU")[1].startswith("No alert was raised in 365 days")
    assert run("alerts", "record")[1].splitlines()[1:] == [
        "SYSTEM\tdisk warning\t1\t1 open\t– (0 of 5 decided)\t– (0 of 5 reaches)\t–",
        "Operators gave 0 verdicts; capacity alerts verdict ID gives one.",
    ]
    run("alerts", "verdict", listed(run)[0]["id"], "false-positive")
    _, out, _ = run("alerts", "record")
    assert "disk warning\t1\t1 false\t– (1 of 5 decided)" in out
    assert "Operators gave 1 verdict;" in out
    [row] = json.loads(run("alerts", "record", "--json")[1])
    assert (row["false_alerts"], row["by_operators"], row["false_positive_rate"]) == (1, 1, None)


def test_what_is_muted_is_alerted_when_the_mute_is_over(run, store, tmp_path):
    assert run(*usage(tmp_path / "usage.csv", [70, 85]))[0] == errors.OK
    code, out, _ = run(
        "alerts", "mute", "--threshold", "disk warning", "--for", "8h", "--reason", "migration"
    )
    assert code == errors.OK
    number = re.search(r"unmute (\d+)", out)[1]
    run("evaluate")
    assert listed(run) == []
    assert run("alerts", "list")[1] == "No alert is open.\n"
    code, out, _ = run("alerts", "unmute")
    assert f"{number}\tdisk warning" in out
    assert run("alerts", "unmute", number)[1] == f"Mute {number} is over.\n"
    assert run("alerts", "unmute")[1] == "Nothing is muted.\n"
    code, _, err = run("alerts", "unmute", number)
    assert code == errors.ERROR
    assert one_line(err)
    run("evaluate")
    assert len(listed(run)) == 1


def test_history_that_was_gone_through_already_ends_with_an_exit_code(run, store, tmp_path):
    assert run(*usage(tmp_path / "usage.csv", [72] * 9))[0] == errors.OK  # nothing is exceeded
    assert run("evaluate", "--since", "1d", "--every", "6h")[0] == errors.OK
    code, _, err = run("evaluate", "--since", "1d", "--every", "6h")
    assert code == errors.ATTENTION
    assert "4 times are left out, since history is gone through once, before the first evaluation" in err
    assert run("evaluate")[0] == errors.OK


def test_the_system_is_muted_alone(run, store, tmp_path):
    tenant_of(store, "meridian", 85)
    assert run(*usage(tmp_path / "usage.csv", [70, 85]))[0] == errors.OK
    assert run("alerts", "mute", "--tenant", "SYSTEM", "--for", "1h")[0] == errors.OK
    assert "SYSTEM\t" in run("alerts", "unmute")[1]
    run("evaluate")
    assert [row["tenant"] for row in listed(run)] == ["meridian"]
    assert run("alerts", "unmute", "1")[0] == errors.OK
    run("evaluate")
    assert {row["tenant"] for row in listed(run)} == {"meridian", "SYSTEM"}


def test_maintenance_of_the_system_holds_no_tenant(run, store, tmp_path):
    tenant_of(store, "meridian", 85)
    assert run(*usage(tmp_path / "usage.csv", [70, 85]))[0] == errors.OK
    now = datetime.now(UTC)
    window = (
        "--from",
        (now - timedelta(hours=1)).isoformat(),
        "--until",
        (now + timedelta(hours=1)).isoformat(),
    )
    assert run("alerts", "maintenance", *window, "--tenant", "SYSTEM")[0] == errors.OK
    assert "1\tSYSTEM\t" in run("alerts", "maintenance")[1]
    run("evaluate")
    assert [row["tenant"] for row in listed(run)] == ["meridian"]


def test_a_threshold_is_muted_for_the_system_or_for_all_and_all_of_it_is_ended(run, store, tmp_path):
    tenant_of(store, "meridian", 85)
    _, out, _ = run("alerts", "mute", "--threshold", "disk warning", "--tenant", "SYSTEM", "--for", "1h")
    assert "capacity alerts unmute 1 ends it" in out
    assert run("alerts", "unmute")[1].count("disk warning SYSTEM\t") == 1
    run("alerts", "unmute", "1")
    code, out, _ = run("alerts", "mute", "--threshold", "disk warning", "--for", "1h", "--json")
    assert json.loads(out)["mutes"] == [2, 3]
    shown = run("alerts", "unmute")[1]
    assert "disk warning SYSTEM\t" in shown
    assert "disk warning meridian\t" in shown
    code, _, err = run("alerts", "unmute", "2", "9")
    assert code == errors.ERROR  # all or none
    assert one_line(err)
    assert "disk warning SYSTEM\t" in run("alerts", "unmute")[1]
    assert run("alerts", "unmute", "2", "3")[1] == "Mute 2 is over.\nMute 3 is over.\n"
    assert run("alerts", "unmute")[1] == "Nothing is muted.\n"


def test_an_alert_is_found_by_what_a_message_of_it_says(run, store, tmp_path):
    assert run(*usage(tmp_path / "usage.csv", [70, 95], names=["one", "two"]))[0] == errors.OK
    run("evaluate")
    key, incident, body = store.rows(
        "SELECT key, dedup_key, body FROM capacity_alerting.notification WHERE severity = 'CRITICAL'"
    )[0]
    typed = re.search("capacity alerts ack ([0-9a-f]+)", body)[1]
    cause = json.loads(run("alerts", "show", typed, "--json")[1])
    assert cause["resource_name"] == "one"
    for beginning in (key, key[:12], incident):
        assert json.loads(run("alerts", "show", beginning, "--json")[1])["alert"] == cause["alert"]
    for row in listed(run):
        run("alerts", "resolve", row["id"])
    ended = store.value(
        "SELECT key FROM capacity_alerting.notification WHERE kind = 'RESOLUTION' AND dedup_key = %s",
        incident,
    )
    assert json.loads(run("alerts", "show", ended, "--json")[1])["alert"] == cause["alert"]
    code, _, err = run("alerts", "show", "0" * 20)
    assert code == errors.ERROR
    assert "No alert's id and no message's key begins with" in err


def test_an_alert_is_muted_by_its_id_for_its_resource_alone(run, store, tmp_path):
    assert run(*usage(tmp_path / "usage.csv", [70, 85], names=["one", "two"]))[0] == errors.OK
    run("evaluate")
    one = next(row for row in listed(run) if row["resource_name"] == "one")
    assert run("alerts", "mute", one["id"], "--for", "1d")[0] == errors.OK
    assert store.rows(
        "SELECT capacity_threshold_hk IS NOT NULL, resource_type, resource_name FROM capacity_alerting.mute"
    ) == [(True, "STORAGE", "one")]
    code, _, err = run("alerts", "mute", "--threshold", "no such", "--for", "1d")
    assert code == errors.ERROR
    assert "no active threshold" in err
    code, _, err = run("alerts", "mute", "--type", "STORAGE", "--until", "2020-01-01")
    assert code == errors.ERROR
    assert one_line(err)


def test_maintenance_is_declared_listed_and_taken_back(run, store):
    begin = datetime.now(UTC) + timedelta(days=1)
    window = ("--from", begin.isoformat(), "--until", (begin + timedelta(hours=4)).isoformat())
    code, out, _ = run(
        "alerts", "maintenance", *window, "--type", "STORAGE", "--every-weeks", "1", "--by", "mira"
    )
    assert code == errors.OK
    number = re.search("--cancel ([0-9]+)", out)[1]
    _, out, _ = run("alerts", "maintenance")
    assert f"{number}\tSTORAGE\t" in out
    assert "every week\tmira" in out
    assert run("alerts", "maintenance", "--cancel", number)[0] == errors.OK
    assert run("alerts", "maintenance")[1] == "No maintenance is declared.\n"
    code, _, err = run("alerts", "maintenance", "--cancel", number)
    assert code == errors.ERROR
    assert one_line(err)
    code, _, err = run("alerts", "maintenance", *window, "--zone", "Middle/Earth", "--every-weeks", "1")
    assert code == errors.ERROR
    assert "Middle/Earth" in err


def test_a_calendar_is_set_and_filled_with_holidays(run, store):
    code, out, _ = run(
        "alerts", "calendar", "DE", "--subdivision", "BY", "--zone", "Europe/Berlin", "--hours", "08:00-18:00",
        "--days", "Mon-Wed,4",
    )  # fmt: skip
    assert code == errors.OK
    assert "everyone\tEurope/Berlin\tMon-Thu\t08:00-18:00\t22:00-06:00" in out
    year = datetime.now(UTC).year
    assert store.value(
        "SELECT count(*) FROM capacity_alerting.holiday WHERE day = make_date(%s, 1, 6)", year + 1
    )  # Epiphany is a holiday in Bavaria
    assert store.value(
        "SELECT count(*) FROM capacity_alerting.holiday WHERE day = make_date(%s, 12, 25)", year - 1
    )  # tuning replays it
    assert "New holidays of DE: 0." in run("alerts", "calendar", "DE", "--subdivision", "BY")[1]
    code, _, err = run("alerts", "calendar", "Atlantis")
    assert code == errors.ERROR
    assert one_line(err)


@pytest.fixture
def receiver():
    """A web hook that keeps what it is sent, and its address."""
    received = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield received, f"json://hook:Tr0ub4dor@127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_what_is_due_is_sent_and_shown_as_told(run, store, tmp_path, monkeypatch, receiver):
    received, address = receiver
    assert run(*usage(tmp_path / "usage.csv", [70, 85]))[0] == errors.OK
    code, _, err = run("alerts", "send")
    assert code == errors.ERROR
    assert one_line(err)
    assert "CAPACITY_CHANNEL_EMAIL" in err
    monkeypatch.setenv("CAPACITY_CHANNEL_EMAIL", address)
    assert run("alerts", "send")[:2] == (errors.OK, "Nothing was due.\n")
    run("evaluate")
    assert "PENDING" in run("alerts", "dead")[1]
    code, out, _ = run("alerts", "channels")
    assert code == errors.OK
    assert "EMAIL\tyes\tyes\t" in out
    assert "SLACK\t\tno: CAPACITY_CHANNEL_SLACK" in out
    assert "Tr0ub4dor" not in out
    code, out, err = run("alerts", "send")
    assert code == errors.OK
    assert out.startswith("1 sent, 0 to be tried again, 0 dead letters")
    assert len(received) == 1
    assert "STORAGE archive is at 85.0% of its capacity" in received[0]["message"]
    _, out, _ = run("alerts", "show", listed(run)[0]["id"])
    assert "\tALERT\tEMAIL\t\tSENT\t1" in out
    assert "Tr0ub4dor" not in out + err
    assert run("alerts", "dead")[1] == "Nothing waits, and there are no dead letters.\n"


def test_a_watching_sender_sends_what_comes_and_ends_when_asked(run, store, tmp_path, receiver):
    received, address = receiver
    watcher = subprocess.Popen(
        [sys.executable, "-m", "capacity_kit", "alerts", "send", "--watch", "--every", "0.2"],
        env={**os.environ, "CAPACITY_DSN": store.dsn, "CAPACITY_CHANNEL_EMAIL": address},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert run(*usage(tmp_path / "usage.csv", [70, 85]))[0] == errors.OK
        run("evaluate")
        until = time.monotonic() + 60
        while not received and time.monotonic() < until:
            time.sleep(0.1)
        assert len(received) == 1
        watcher.send_signal(signal.SIGTERM)
        _, err = watcher.communicate(timeout=30)
    finally:
        watcher.kill()
    assert watcher.returncode == errors.OK, err
    assert "Traceback" not in err


def test_a_dead_letter_is_shown_and_sent_again(run, store, monkeypatch, receiver):
    received, address = receiver
    monkeypatch.setenv("CAPACITY_CHANNEL_EMAIL", address)
    assert run("alerts", "channels", "--test", "pigeon")[0] == errors.OK
    code, out, err = run("alerts", "send")
    assert code == errors.ATTENTION
    assert "1 dead letter" in out
    assert "1 dead letters" not in out
    code, out, _ = run("alerts", "dead")
    assert code == errors.ATTENTION
    assert "DEAD" in out
    assert "PIGEON" in out
    key = json.loads(run("alerts", "dead", "--json")[1])[0]["key"]
    code, _, err = run("alerts", "requeue", "no-such-key")
    assert code == errors.ERROR
    assert one_line(err)
    store.run("INSERT INTO capacity_alerting.channel VALUES ('PIGEON', false, 'a bird')")
    monkeypatch.setenv("CAPACITY_CHANNEL_PIGEON", address)
    assert run("alerts", "requeue", key)[1].startswith("1 will be sent again")
    assert run("alerts", "send")[0] == errors.OK
    assert len(received) == 1


def test_proof_of_life_names_what_cannot_fire_and_leaves_nothing(run, alarmed):
    alarmed.run("SELECT capacity_planning.create_capacity_threshold(NULL, 'no memory', 'MEMORY', 80)")
    before = alarmed.rows(RECORDS), alarmed.rows("SELECT * FROM capacity_alerting.alert_s ORDER BY 1, 2")
    code, out, _ = run("verify", "--alerts")
    assert code == errors.ATTENTION
    assert "no memory\tMEMORY\tfailed\tcannot fire: never measured" in out
    assert "disk warning\tSTORAGE archive\tok\tWARNING: STORAGE archive is at 91.0% of its capacity" in out
    assert "2 of 3 thresholds reach a message; nothing of it stays." in out
    assert "No message has a link to a runbook: set runbook_url in capacity_alerting.text_setting" in out
    alarmed.run(
        "UPDATE capacity_alerting.text_setting SET value = 'https://wiki.example.org/{resource_type}'"
    )
    assert "No message has a link" not in run("verify", "--alerts")[1]
    assert (
        alarmed.rows(RECORDS),
        alarmed.rows("SELECT * FROM capacity_alerting.alert_s ORDER BY 1, 2"),
    ) == before
    alarmed.run(
        "UPDATE capacity_planning.capacity_threshold_s SET is_active = false"
        " WHERE threshold_name = 'no memory' AND load_end_date IS NULL"
    )
    code, out, _ = run("verify", "--alerts", "--json")
    assert code == errors.OK
    rows = json.loads(out)
    assert {row["verdict"] for row in rows} == {"ok"}
    assert all("key: " in row["body"] for row in rows)


def test_what_is_held_for_a_time_can_fire_and_what_contradicts_itself_is_named(run, alarmed):
    run("alerts", "mute", "--threshold", "disk warning", "--for", "1h")
    _, out, _ = run("verify", "--alerts")
    assert "disk warning\tSTORAGE archive\tok\theld back now, muted: WARNING" in out
    alarmed.run("SELECT capacity_planning.create_capacity_threshold(NULL, 'disk warning', 'STORAGE', 95)")
    code, out, _ = run("verify", "--alerts")
    assert code == errors.ATTENTION
    assert "attention\tcontradictory levels" in out


@pytest.fixture
def noisy(store, run, tmp_path):
    """A year of an archive that touches 81 percent twice a week, falls back by itself, and never comes near 90."""
    shares = [72, 76, 81, 77.5, 75, 73, 72] * 104
    assert run(*usage(tmp_path / "usage.csv", shares, hours=12))[0] == errors.OK
    return store


LEVELS = (
    "SELECT threshold_name, threshold_percentage::int, jsonb_array_length(threshold_tuning_history)"
    " FROM capacity_planning.capacity_threshold_s WHERE load_end_date IS NULL ORDER BY 1"
)


VERSIONS = "SELECT count(*) FROM capacity_planning.capacity_threshold_s"


def test_tuning_changes_nothing_by_itself_is_applied_and_taken_back(run, noisy):
    before, versions = noisy.rows(LEVELS), noisy.value(VERSIONS)
    code, out, err = run("tune")
    assert code == errors.OK, err
    assert out.startswith("Costs, in hours of work: 8 for a level")
    assert "Nothing was changed: capacity tune --apply does it." in out
    assert noisy.rows(LEVELS) == before
    proposed = {row["threshold_name"]: row for row in json.loads(run("tune", "--json")[1])["thresholds"]}
    change = proposed["disk warning"]["changes"]
    assert change
    assert proposed["disk critical"]["changes"] == {}
    assert proposed["disk warning"]["low"] > 0
    code, out, _ = run("tune", "--apply", "--by", "mira")
    assert code == errors.OK
    assert "1 threshold has a new version" in out
    entry = noisy.value(
        "SELECT threshold_tuning_history FROM capacity_planning.capacity_threshold_s"
        " WHERE load_end_date IS NULL AND threshold_name = 'disk warning'"
    )[0]
    assert (entry["action"], entry["by"]) == ("APPLIED", "mira")
    assert entry["reason"] == proposed["disk warning"]["reason"]
    assert entry["evidence"]["saved"] == pytest.approx(proposed["disk warning"]["saved"])
    for column, moved in change.items():
        assert entry["to"][column] == moved["to"]
    code, out, _ = run("tune", "--revert", "--by", "noor")
    assert code == errors.OK
    assert "of mira is taken back: 1 threshold has a new version" in out
    now = {name: level for name, level, _ in noisy.rows(LEVELS)}
    assert now == {name: level for name, level, _ in before}
    assert noisy.value(VERSIONS) == versions + 2
    code, _, err = run("tune", "--revert")
    assert code == errors.ERROR
    assert one_line(err)
    assert "no tuning to take back" in err


def test_costs_decide_what_is_proposed(run, noisy):
    code, out, _ = run("tune", "--false", "0", "--night", "0")
    assert code == errors.OK
    assert "Nothing is proposed." in out
    assert "--apply" not in out


def test_without_a_history_there_is_nothing_to_tune(run, store):
    code, out, err = run("tune")
    assert (code, out) == (errors.ERROR, "")
    assert one_line(err)
    assert "nothing to tune" in err
