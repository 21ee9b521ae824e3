"""What is due is made once: by however many hosts, after a downtime, and wherever a call was cut off."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from capacity_kit import cli, settings, vault
from capacity_kit.errors import CapacityError
from capacity_kit.reporting import confine, due, schedule
from capacity_kit.vault.runs import Run
from tests.conftest import skip_or_fail

MONDAY = datetime(2026, 11, 2, 6, tzinfo=UTC)
WEEK = timedelta(days=7)
PARAMETERS = """
tenant: str = "ALL"  # whose resources
resource_type: str = "ALL"  # which of them
mood: str = "ok"  # what it finds
as_of: str | None = None  # the moment
"""
PUBLISH = """
import pathlib
from capacity_kit.reporting.result import Kpi, publish
said = pathlib.Path({mood!r})
mood = said.read_text() if said.is_file() else mood
if mood == "failed" or (mood == "one fails" and tenant == "b"):
    raise RuntimeError("no luck")
found = [Kpi("Runway", "12 days", "bad", "of 4 resources")]
publish("ok" if mood == "one fails" else mood, f"About {{tenant}}.", found)
"""


class Station:
    """A schedule, a site and a database, and the clock that things are due by."""

    def __init__(self, folder, database):
        self.folder, self.database, self.site = folder, database, folder / "site"
        self.file = folder / "schedule.yml"
        self.mood = folder / "mood"
        self.publish = PUBLISH.format(mood=str(self.mood))
        self.notebook("trial", self.publish)
        self.reports("")

    def notebook(self, name, *sources):
        cells = [
            new_markdown_cell("# Trial\n\nOpening."),
            new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
            *(new_code_cell(source) for source in sources),
        ]
        nbformat.write(new_notebook(cells=cells), self.folder / f"{name}.ipynb")

    def reports(self, *more, notebook="trial", cron="0 6 * * 1"):
        lines = [
            f"{{name: report{n or ''}, notebook: {notebook}.ipynb, cron: '{cron}', {extra}}}"
            for n, extra in enumerate(more)
        ]
        self.file.write_text(f"reports: [{', '.join(lines)}]\n")

    def call(self, now, **options):
        where = settings.load().model_copy(update={"site": self.site, "as_of": now})
        return due.run_due(
            schedule.load(self.file),
            folder=self.folder,
            settings=where,
            dsn=self.database.dsn,
            **{"workers": 2, **options},
        )

    def command(self, now):
        """A call in a process of its own, as cron makes it."""
        environment = {**os.environ, "CAPACITY_AS_OF": now.isoformat(), "CAPACITY_SITE": str(self.site)}
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(self.file), self.database.dsn],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def pages(self):
        found = (p.parent for p in self.site.glob("*/*/*/index.html") if p.parent.name != "latest")
        return sorted(place.relative_to(self.site).as_posix() for place in found)

    def runs(self, columns="key, state, is_over, attempts"):
        return self.database.rows(f"SELECT {columns} FROM capacity_reporting.report_run ORDER BY key")

    def told(self):
        return self.database.rows(
            "SELECT key, channel, contact, severity, subject, body, attachment "
            "FROM capacity_alerting.notification ORDER BY key"
        )

    def tenants(self, *names):
        for name in names:
            self.database.run(
                "INSERT INTO auth.tenant_h (tenant_hk, tenant_bk, load_date, record_source) "
                "VALUES (capacity_ops.hash_key(%s), %s, now(), 'test')",
                name,
                name,
            )


COMMAND = """
import sys
from pathlib import Path
from capacity_kit import cli, settings, vault
from capacity_kit.reporting import confine, due, schedule
if __name__ == "__main__":
    file = Path(sys.argv[1])
    due.run_due(schedule.load(file), folder=file.parent, settings=settings.load(), dsn=sys.argv[2], workers=2)
"""


@pytest.fixture
def station(tmp_path, pg18):
    return Station(tmp_path, pg18)


def test_a_report_is_made_when_it_is_due_and_once(station):
    assert station.call(MONDAY - timedelta(days=1)) == []
    assert station.pages() == []
    (made,) = station.call(MONDAY + timedelta(minutes=1))
    assert (made.run, made.state, made.is_over) == (Run(MONDAY, "report", ""), "ok", True)
    assert made.page == station.site / "trial/_all/2026-11-02T060000Z/index.html"
    assert "About ALL." in made.page.read_text()
    assert station.call(MONDAY + timedelta(minutes=2)) == []
    assert station.runs() == [("report||2026-11-02T06:00:00Z", "ok", True, 1)]


def test_a_channels_address_holds_a_report_back_though_its_notebook_never_had_it(station, monkeypatch):
    monkeypatch.setenv("CAPACITY_CHANNEL_CHAT", "slack://T0KEN4ABCDEFGHIJKL/rest")
    station.notebook(
        "trial", "import os; print('T0KEN4' + 'ABCDEFGHIJKL', os.environ.get('CAPACITY_CHANNEL_CHAT'))"
    )
    station.reports("recipients: [CHAT], retries: 0")
    (made,) = station.call(MONDAY + timedelta(minutes=1))
    assert (made.state, made.page, made.is_over, made.told) == ("failed", None, True, 1)
    assert made.headline.startswith(
        "Failed: The report trial is held back: cell 4 holds the address of channel CHAT."
    )
    assert not list(station.site.rglob("*")), "nothing of it is there"
    assert "T0KEN" not in str(station.told()) + str(station.runs("*"))


LOOKING = """
import gc, os, pathlib, subprocess, sys
from capacity_kit import vault
from capacity_kit.reporting.study import Study
study = Study(tenant)
found = [str(dict(os.environ)), repr(study.__dict__), repr(study.vault), repr(study.vault.dsn.get_secret_value()),
         repr(study.vault._engine.url), repr(vars(study.vault.target))]
for process in ["self", *(p.name for p in pathlib.Path("/proc").iterdir() if p.name.isdecimal())]:
    try:
        found.append(pathlib.Path("/proc", process, "environ").read_text(errors="replace"))
    except OSError:
        continue
for file in {files!r}:
    try:
        found.append(pathlib.Path(file).read_text())
    except OSError:
        continue
found += [str(o) for o in gc.get_objects() if isinstance(o, (dict, list, tuple)) and len(o) < 1000]
frame = sys._getframe()
while frame:
    found.append(repr(frame.f_locals))
    frame = frame.f_back
secret = "".join(chr(ord(c) - 1) for c in {shifted!r})
print("read", [i for i, text in enumerate(found) if secret in text], len(found))
print("asked", study.read("runs_clock").shape)
"""


def test_a_notebook_finds_the_password_nowhere(station, guarded, monkeypatch, tmp_path):
    port, secret = guarded
    with vault.open(f"postgresql://clerk:{secret}@127.0.0.1:{port}/capacity") as opened:
        opened.deploy()
    for name, value in (("PGHOST", "127.0.0.1"), ("PGPORT", str(port)), ("PGUSER", "clerk")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PGDATABASE", "capacity")
    monkeypatch.setenv("PGPASSWORD", secret)
    files = [tmp_path / "pgpass", tmp_path / "channels.toml"]
    for file, variable in zip(files, ("PGPASSFILE", "CAPACITY_CHANNELS"), strict=True):
        file.write_text(f'[channels]\nCHAT = "slack://{secret}"\n')
        file.chmod(0o600)
        monkeypatch.setenv(variable, str(file))
    shifted = "".join(chr(ord(c) + 1) for c in secret)
    looking = LOOKING.format(files=[str(file) for file in files], shifted=shifted)
    station.notebook("trial", looking, station.publish)
    station.reports("")
    monkeypatch.setattr(station, "database", Given(None))
    (made,) = station.call(MONDAY)
    assert made.state == "ok", made.headline
    said = made.page.read_text()
    assert "read []" in said
    assert "asked (1, 1)" in said


@dataclass(frozen=True)
class Given:
    """A database that the environment names."""

    dsn: str | None


OUTSIDE = """
import os, pathlib, signal
for place in {places!r}:
    try:
        pathlib.Path(place).write_text("x")
        print("wrote", place)
    except OSError as error:
        print("kept out:", error.strerror)
try:
    os.kill(os.getppid(), signal.SIGTERM)
    print("killed")
except PermissionError:
    print("kept from others")
import tempfile
with tempfile.NamedTemporaryFile() as file:
    print("own", file.name.startswith(os.getcwd()), os.path.expanduser("~") == os.getcwd())
"""


@pytest.mark.skipif(not confine.abi(), reason="this kernel has no Landlock, and a report says so")
def test_a_notebook_writes_nowhere_but_in_its_own_folder(station):
    station.call(MONDAY - timedelta(days=1))
    station.site.mkdir()
    places = [station.folder / "x", station.site / "index.html", station.file, "/tmp/x-of-a-notebook"]
    station.notebook("trial", OUTSIDE.format(places=[str(p) for p in places]), station.publish)
    before = station.file.read_text()
    (made,) = station.call(MONDAY)
    assert made.state == "ok", made.headline
    said = made.page.read_text()
    assert said.count("kept out: Permission denied") == len(places)
    assert "kept from others" in said
    assert "own True True" in said
    assert station.file.read_text() == before
    assert not (station.folder / "x").exists()
    result = json.loads((made.page.parent / "result.json").read_text())
    assert result["versions"]["confinement"].startswith("Landlock")


def test_what_a_notebook_leaves_running_ends_with_it(station):
    mark = f"sleep 5{os.getpid()}"
    station.notebook(
        "trial",
        f"import subprocess; subprocess.Popen({mark.split()!r}, start_new_session=True); print('begun')",
        station.publish,
    )
    (made,) = station.call(MONDAY)
    assert made.state == "ok"
    assert (
        mark not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    )


def test_a_report_is_printed_where_that_is_asked_for(station, chromium, monkeypatch):
    station.reports("pdf: true")
    monkeypatch.setenv("CAPACITY_BROWSER", "no-such-browser")
    (made,) = station.call(MONDAY)
    assert made.state == "ok", "a page without a PDF is a report"
    assert "(No PDF: A PDF is printed by a browser: There is no program 'no-such-browser')" in made.headline
    monkeypatch.setenv("CAPACITY_BROWSER", chromium)
    (made,) = station.call(MONDAY + WEEK)
    assert made.page.with_name("report.pdf").read_bytes().startswith(b"%PDF-")


@pytest.fixture
def small_disk(station):
    """The site on a file system of half a megabyte."""
    if os.geteuid() != 0:
        skip_or_fail("A file system to fill", "run the tests as root")
    station.site.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(station.site)], check=True)
    yield station.site
    subprocess.run(["umount", "--lazy", str(station.site)], check=True)


def test_a_full_disk_publishes_nothing_by_half_and_the_next_attempt_makes_it(station, small_disk):
    station.reports("recipients: [EMAIL]")
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * (500 << 10))
    (made,) = station.call(MONDAY)
    assert (made.state, made.page, made.is_over, made.told) == ("failed", None, False, 0)
    assert "cannot be written" in made.headline
    assert "No space left on device" in made.headline
    assert "\n" not in made.headline
    assert not list(small_disk.glob("trial/**/*"))
    assert not list(small_disk.glob(".unfinished*"))
    assert station.runs("state, is_over") == [("failed", False)]
    filler.unlink()
    wait_is_over(station)
    (made,) = station.call(MONDAY + timedelta(minutes=5))
    assert (made.state, made.is_over, made.told) == ("ok", True, 1)
    assert made.page.read_text().rstrip().endswith("</html>")


def test_a_database_that_is_gone_at_the_end_has_the_run_repeated(station):
    station.reports("recipients: [EMAIL]")
    gone = (
        "from capacity_kit.reporting.study import Study\n"
        "with Study().vault.transaction() as opened:\n"
        "    opened.connection.driver_connection.execute('SELECT pg_terminate_backend(pid) "
        "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()')\n"
    )
    station.notebook("trial", gone, station.publish)
    (made,) = station.call(MONDAY)
    assert (made.state, made.is_over, made.told) == ("failed", False, 0)
    assert made.headline.startswith("It could not be recorded, and will be repeated: ")
    assert station.told() == []
    station.notebook("trial", station.publish)
    (made,) = station.call(MONDAY + timedelta(minutes=1))
    assert (made.state, made.is_over, made.told) == ("ok", True, 1)
    assert len(station.pages()) == 1


def test_a_line_that_is_read_as_it_comes_due_is_not_late(station):
    assert [made.run.due_at for made in station.call(MONDAY + timedelta(seconds=2))] == [MONDAY]


def test_of_runs_that_were_missed_one_catches_up(station):
    station.call(MONDAY - timedelta(days=1))
    made = station.call(MONDAY + 3 * WEEK + timedelta(days=2))
    assert [m.run.due_at for m in made] == [MONDAY + 3 * WEEK]
    assert station.call(MONDAY + 3 * WEEK + timedelta(days=3)) == []


def test_what_lies_before_a_line_was_there_was_not_missed(station):
    assert station.call(MONDAY + timedelta(days=2)) == []
    station.reports("", cron="0 5 * * *")
    assert station.call(MONDAY + timedelta(days=3)) == [], "a line that was changed begins anew"
    assert len(station.call(MONDAY + timedelta(days=4))) == 1


def test_a_clock_that_jumps_ahead_and_back_loses_nothing_and_makes_nothing_twice(station):
    station.call(MONDAY - timedelta(days=1))
    assert len(station.call(MONDAY + 50 * WEEK)) == 1
    assert [m.run.due_at for m in station.call(MONDAY + timedelta(hours=1))] == [MONDAY]
    assert station.call(MONDAY + timedelta(hours=2)) == []
    assert [m.run.due_at for m in station.call(MONDAY + WEEK)] == [MONDAY + WEEK]


def test_a_line_first_read_by_a_clock_that_was_ahead_counts_from_now(station):
    station.call(MONDAY + 50 * WEEK + timedelta(days=1))
    assert station.call(MONDAY - timedelta(hours=1)) == []
    assert len(station.call(MONDAY + timedelta(hours=1))) == 1


def test_every_tenant_has_its_own_and_one_that_fails_harms_no_other(station):
    station.tenants("a", "b", "c")
    station.mood.write_text("one fails")
    station.reports("fan_out: every tenant, retries: 0")
    made = {m.run.target: m for m in station.call(MONDAY)}
    assert {target: m.state for target, m in made.items()} == {"a": "ok", "b": "failed", "c": "ok"}
    assert "RuntimeError: no luck" in made["b"].headline
    assert "no luck" in made["b"].page.read_text(), "what it got so far is published"
    assert len(station.pages()) == 3


def test_a_tenant_that_there_is_not_is_its_own_reports_failure(station):
    station.tenants("a")
    station.reports("fan_out: {tenant: [a, gone]}, retries: 0")
    made = {m.run.target: m for m in station.call(MONDAY)}
    assert made["a"].state == "ok"
    assert "There is no tenant 'gone'" in made["gone"].headline
    assert made["gone"].page is None


def test_fanned_out_over_resource_types(station):
    station.database.run("SELECT capacity_planning.capture_resource_utilization(NULL)")
    station.reports("fan_out: every resource type")
    types = [kind for (kind,) in station.database.rows(
        "SELECT DISTINCT resource_type FROM capacity_planning.resource_utilization_s ORDER BY 1")]  # fmt: skip
    made = station.call(MONDAY, workers=4)
    assert sorted(m.run.target for m in made) == types
    assert len(station.pages()) == len(types)


def test_whoever_is_to_be_told_is_told_once_in_the_transaction_that_records_it(station):
    station.reports("recipients: [SLACK, ops@example.org], attach: true")
    station.file.write_text("site_url: https://reports.example/site/\n" + station.file.read_text())
    (made,) = station.call(MONDAY)
    assert made.told == 2
    mail, slack = sorted(station.told(), key=lambda row: row[1])
    assert mail[:4] == ("report||2026-11-02T06:00:00Z|ops@example.org", "EMAIL", "ops@example.org", "INFO")
    assert slack[:4] == ("report||2026-11-02T06:00:00Z|SLACK", "SLACK", None, "INFO")
    assert mail[4] == "Trial, All tenants and the system: ok"
    body = mail[5].splitlines()
    assert body[0] == "About ALL."
    assert "Runway: 12 days (act); of 4 resources" in body
    assert not [line for line in body if line.startswith("key: ")], "the sender adds it"
    assert "- This is the first report of this kind, so there is none to compare it with." in body
    assert "Report: https://reports.example/site/trial/_all/2026-11-02T060000Z/index.html" in body
    assert mail[6] == str(made.page)


def test_failures_go_to_their_own_recipients_after_the_last_attempt(station):
    station.mood.write_text("failed")
    station.reports("recipients: [EMAIL], recipients_of_failures: [PAGERDUTY], retries: 1")
    (first,) = station.call(MONDAY)
    assert (first.state, first.is_over, first.told) == ("failed", False, 0)
    assert station.call(MONDAY + timedelta(minutes=1)) == [], "the next attempt is yet to wait"
    wait_is_over(station)
    (second,) = station.call(MONDAY + timedelta(minutes=5))
    assert (second.state, second.is_over, second.told) == ("failed", True, 1)
    assert [(row[1], row[3]) for row in station.told()] == [("PAGERDUTY", "CRITICAL")]
    assert station.call(MONDAY + timedelta(hours=1)) == []
    assert station.runs("attempts, state, is_over") == [(2, "failed", True)]


def test_an_attempt_that_succeeds_ends_it(station):
    station.mood.write_text("failed")
    station.reports("recipients: [EMAIL], retries: 3")
    station.call(MONDAY)
    wait_is_over(station)
    station.mood.write_text("at risk")
    (made,) = station.call(MONDAY + timedelta(minutes=5))
    assert (made.state, made.is_over) == ("at risk", True)
    assert [row[3] for row in station.told()] == ["WARNING"]
    assert "no luck" not in made.page.read_text()


def wait_is_over(station):
    station.database.run("ALTER TABLE capacity_reporting.report_run_s DISABLE TRIGGER refuse_change")
    station.database.run(
        "UPDATE capacity_reporting.report_run_s SET next_at = '2026-01-01' WHERE next_at IS NOT NULL"
    )
    station.database.run("ALTER TABLE capacity_reporting.report_run_s ENABLE TRIGGER refuse_change")


def test_when_the_verdict_changed(station):
    station.reports("recipients: [EMAIL], when: verdict changed")
    told = []
    for week, mood in enumerate(["ok", "ok", "at risk", "at risk", "cannot be trusted", "ok"]):
        station.mood.write_text(mood)
        told += [m.told for m in station.call(MONDAY + week * WEEK)]
    assert told == [1, 0, 1, 0, 1, 1]
    last = station.told()[-1][5]
    assert "What changed since 2026-11-30 06:00 UTC:" in last.splitlines()
    assert "- The verdict is “ok”; it was “cannot be trusted”." in last.splitlines()
    assert len(station.pages()) == 6, "they are made and published in any case"


def test_when_a_level_was_crossed(station):
    station.tenants("a")
    station.reports("fan_out: {tenant: [a]}, recipients: [EMAIL], when: level crossed")
    station.database.run(
        "SELECT capacity_ops.register_capacity("
        "capacity_ops.hash_key('a'), 'STORAGE', 'disk', 100, 'bytes', '2026-01-01')"
    )
    station.database.run(
        "SELECT capacity_planning.create_capacity_threshold(capacity_ops.hash_key('a'), 'full', 'STORAGE', 80)"
    )
    told = []
    for week, used in enumerate([50, 60, 85, 86, 70], -8):
        measure(station, MONDAY + week * WEEK - timedelta(minutes=5), used)
        told += [m.told for m in station.call(MONDAY + week * WEEK)]
    assert told == [1, 0, 1, 0, 1], "the first, up through it, and down again"
    (stale,) = station.call(MONDAY - 2 * WEEK)
    assert stale.told == 0, "of what has no verdict nothing is known"
    measure(station, MONDAY - WEEK - timedelta(minutes=5), 95)
    (over,) = station.call(MONDAY - WEEK)
    assert over.told == 1, "there was no verdict at the last report, and it is over now"


def measure(station, at, used):
    with station.database.vault() as opened:
        opened.load(
            [pd.DataFrame({
                "tenant": [opened.tenant("a")], "resource_type": ["STORAGE"],
                "resource_name": ["disk"], "measured_at": [pd.Timestamp(at)], "value": [float(used)],
                "capacity": [100.0], "unit": ["bytes"], "line": [1],
            })],
            "test",
        )  # fmt: skip


def test_old_periods_leave_the_site_and_what_nobody_scheduled_stays(station):
    station.reports("keep: 2")
    other = station.site / "trial/_all/2020-01-01T000000Z"
    other.mkdir(parents=True)
    for week in range(4):
        station.call(MONDAY + week * WEEK)
    left = sorted(p.name for p in (station.site / "trial/_all").iterdir())
    assert left == ["2020-01-01T000000Z", "2026-11-16T060000Z", "2026-11-23T060000Z", "latest"]
    assert "2026-11-02T060000Z" not in (station.site / "index.html").read_text()
    assert not list(station.site.glob(".unfinished*"))


def test_a_page_that_a_message_waits_for_stays_until_it_is_sent(station):
    station.reports("keep: 1, attach: true, recipients: [EMAIL]")
    for week in range(2):
        station.call(MONDAY + week * WEEK)
    assert len(station.pages()) == 2
    assert all(Path(row[6]).is_file() for row in station.told())
    station.database.run("DELETE FROM capacity_alerting.outbox")
    station.call(MONDAY + 2 * WEEK)
    assert [Path(page).name for page in station.pages()] == ["2026-11-16T060000Z"]


def test_a_place_that_leads_out_of_the_site_is_not_removed(tmp_path):
    (tmp_path / "precious").mkdir()
    root = tmp_path / "site"
    (root / "a").mkdir(parents=True)
    (root / "a/link").symlink_to(tmp_path / "precious")
    due.keep(root, ["new", "../precious", "a/link"], 1)
    assert (tmp_path / "precious").is_dir()
    assert (root / "a/link").is_symlink()


def test_hosts_that_call_at_once_make_each_report_once(station):
    station.tenants("a", "b", "c", "d")
    station.notebook("slow", "import time; time.sleep(0.5)", station.publish)
    station.reports("fan_out: every tenant, recipients: [EMAIL]", notebook="slow")
    with ThreadPoolExecutor(3) as pool:
        made = [m for call in pool.map(station.call, [MONDAY] * 3) for m in call]
    assert len(made) == 4
    assert station.runs("state, is_over, attempts") == [("ok", True, 1)] * 4
    assert len(station.told()) == len(station.pages()) == 4


@pytest.mark.slow
def test_cut_off_anywhere_nothing_is_lost_halved_or_told_twice(station):
    station.tenants("a", "b")
    station.notebook("slow", "import time; time.sleep(0.3)", station.publish)
    station.reports("fan_out: every tenant, recipients: [EMAIL]", notebook="slow")
    draw = random.Random(7)
    ended = False
    for attempt in range(2):
        call = station.command(MONDAY)
        # As the first reports are begun or made: from before the first beginning to after the last end.
        watch(station, attempt, draw.uniform(0, 1.2))
        call.send_signal(signal.SIGKILL)
        call.wait()
        call.stdout.close()
        call.stderr.close()
        for page in station.pages():
            whole = station.site / page
            assert json.loads((whole / "result.json").read_text())["verdict"] == "ok"
            assert (whole / "index.html").read_text().rstrip().endswith("</html>")
        ended = all(over for (over,) in station.runs("is_over")) and len(station.runs()) == 2
    if not ended:
        station.call(MONDAY + timedelta(minutes=5))
    assert station.runs("state, is_over") == [("ok", True)] * 2
    assert len(station.told()) == len(station.pages()) == 2
    assert station.call(MONDAY + timedelta(minutes=10)) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a notebook is ended by its kernel's manager")
def test_of_a_call_that_is_killed_nothing_goes_on(station):
    mark = f"8{os.getpid()}"
    station.call(MONDAY - timedelta(days=1))
    begin = f"import subprocess; subprocess.run(['sleep', '{mark}'], start_new_session=True)"
    station.notebook("trial", begin, station.publish)
    call = psutil.Process(station.command(MONDAY).pid)
    waited_for(lambda: any(mark in " ".join(p.cmdline()) for p in call.children(recursive=True)))
    below = call.children(recursive=True)
    assert len(below) > 3  # of the sleep, the cells, the worker, and what forked it
    call.kill()
    waited_for(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in below))


def waited_for(happens, seconds=90):
    end = time.monotonic() + seconds
    while not (happened := happens()) and time.monotonic() < end:
        time.sleep(0.05)
    assert happened


def watch(station, attempt, more):
    """Wait until this call has begun a run, or there is none left to begin; then a little more."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        begun = station.database.value("SELECT coalesce(sum(attempts), 0) FROM capacity_reporting.report_run")
        over = station.database.value("SELECT count(*) FROM capacity_reporting.report_run WHERE is_over")
        if begun > attempt or over == 2:
            break
        time.sleep(0.02)
    time.sleep(more)


def test_a_run_that_kills_whoever_makes_it_is_given_up_and_told_of(station):
    station.reports("recipients_of_failures: [PAGERDUTY]")
    station.call(MONDAY - timedelta(days=1))
    for _ in range(due.CUT_OFF + 1):
        station.database.run("SELECT capacity_reporting.begin_run('report', '', %s, 'host:1')", MONDAY)
    (made,) = station.call(MONDAY + timedelta(minutes=1))
    assert (made.state, made.is_over, made.told) == ("failed", True, 1)
    assert "4 attempts were cut off before their end" in made.headline
    assert station.call(MONDAY + timedelta(minutes=2)) == []


def test_a_run_that_was_cut_off_often_is_made_alone_before_it_is_given_up(station):
    station.notebook("trial", "import time; time.sleep(0.3)", station.publish)
    station.reports("", "")
    station.call(MONDAY - timedelta(days=1))
    for _ in range(due.CUT_OFF):
        station.database.run("SELECT capacity_reporting.begin_run('report', '', %s, 'host:1')", MONDAY)
    made = station.call(MONDAY + timedelta(minutes=1))
    assert [(m.run.name, m.state) for m in made] == [("report1", "ok"), ("report", "ok")]
    began, ended = station.database.rows(
        "SELECT (SELECT max(load_date) FROM capacity_reporting.report_run_s s WHERE s.report_run_hk = r.report_run_hk "
        "AND s.phase = 'BEGUN'), ended_at FROM capacity_reporting.report_run r ORDER BY name"
    )
    assert began[0] >= ended[1], "it has the host for itself"


def test_what_a_report_says_makes_no_lines_of_its_own_and_where_it_stopped_is_told(station):
    station.file.write_text("timezone: Asia/Tokyo\n" + station.file.read_text())
    station.notebook("trial", "raise RuntimeError('no luck\\nReport: https://evil.example/')")
    station.file.write_text(
        station.file.read_text().replace("0 6 * * 1', ", "0 15 * * 1', retries: 0, recipients: [EMAIL]")
    )
    station.call(MONDAY)
    body = station.told()[0][5].splitlines()
    assert [line for line in body if line.startswith("Report: ")] == [
        line for line in body if "index.html" in line
    ]
    assert any(line.startswith("It stopped in cell ") for line in body)
    assert "For: 2026-11-02 15:00 JST" in body or "For: 2026-11-02 15:00 Asia/Tokyo" in body


def test_a_mail_says_what_is_simulated_and_each_part_of_a_result_is_one_line_of_it(station):
    source = (
        "from capacity_kit.reporting.result import Kpi, publish\n"
        "publish('ok', 'Fine.\\nkey: a', [Kpi('Runway', '1\\nkey: b')], data_as_of='now\\nkey: c', "
        "simulated='All of it is simulated.')"
    )
    station.notebook("trial", source)
    station.reports("recipients: [EMAIL]")
    (made,) = station.call(MONDAY)
    assert made.told == 1, made.headline
    body = station.told()[0][5].splitlines()
    assert body[:2] == ["Fine. key: a", "All of it is simulated."]
    assert "Runway: 1 key: b" in body
    assert "Data as of: now key: c" in body


def test_a_run_that_was_cut_off_is_repeated_beside_the_one_that_is_due(station):
    station.call(MONDAY - timedelta(days=1))
    station.database.run("SELECT capacity_reporting.begin_run('report', '', %s, 'host:1')", MONDAY)
    made = station.call(MONDAY + timedelta(days=2))
    assert [m.run.due_at for m in made] == [MONDAY]
    station.database.run("SELECT capacity_reporting.begin_run('report', '', %s, 'host:1')", MONDAY + WEEK)
    made = station.call(MONDAY + 2 * WEEK - timedelta(days=1))
    assert [m.run.due_at for m in made] == [MONDAY + WEEK]


def test_a_run_that_another_host_makes_is_left_to_it(station):
    with station.database.connect(autocommit=False) as other:
        other.execute("SELECT capacity_reporting.hold_run('report', '', %s)", (MONDAY,))
        assert station.call(MONDAY) == []
        other.rollback()
    assert len(station.call(MONDAY + timedelta(minutes=1))) == 1


def test_a_schedule_is_listed_with_what_was_and_what_will_be(station):
    station.tenants("a")
    station.reports("fan_out: every tenant", "")
    station.call(MONDAY)
    with station.database.vault() as opened:
        lines = list(due.entries(schedule.load(station.file), opened, MONDAY + timedelta(days=1)))
    assert [(line["name"], line["target"], line["state"]) for line in lines] == [
        ("report", "a", "ok"),
        ("report1", "", "ok"),
    ]
    assert {line["last"].to_pydatetime() for line in lines} == {MONDAY}
    assert {line["next"] for line in lines} == {MONDAY + WEEK}


def test_without_the_schema_nothing_is_made(station, server18):
    bare = server18.create()
    station.database = bare
    try:
        with pytest.raises(CapacityError, match="capacity deploy"):
            station.call(MONDAY)
    finally:
        bare.drop()
    assert not Path(station.site).exists()


def test_the_commands_say_what_is_due_what_was_made_and_what_is_wrong(station, monkeypatch, capsys):
    station.mood.write_text("at risk")
    monkeypatch.setenv("CAPACITY_DSN", station.database.dsn)
    monkeypatch.setenv("CAPACITY_SCHEDULE", str(station.file))
    monkeypatch.setenv("CAPACITY_SITE", str(station.site))
    monkeypatch.setenv("CAPACITY_AS_OF", MONDAY.isoformat())
    assert cli.main(["schedule", "check"]) == 0
    assert cli.main(["run-due"]) == 3
    said = capsys.readouterr().out
    assert "report: at risk. About ALL." in said
    assert str(station.site / "trial/_all/2026-11-02T060000Z/index.html") in said
    assert cli.main(["run-due"]) == 0
    assert "Nothing is due." in capsys.readouterr().out
    assert cli.main(["schedule", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split("\t") == [
        "report", "", "0 6 * * 1", "2026-11-02 06:00 UTC", "at risk", "2026-11-09 06:00 UTC"
    ]  # fmt: skip
    station.tenants("a", "b")
    station.reports("fan_out: {tenant: [nobody]}")
    assert cli.main(["schedule", "check"]) == 1
    said = capsys.readouterr().err
    assert "there is no tenant 'nobody'" in said
    assert "Known are: ALL, SYSTEM, a, b" in said, "names, and no hash keys"
    station.reports("recipients: [EMIAL]")
    assert cli.main(["schedule", "check"]) == 1
    assert "there is no channel 'EMIAL'" in (said := capsys.readouterr().err)
    assert "EMAIL" in said
    station.reports("recipients: [EMAIL]")
    assert cli.main(["schedule", "check"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "nothing wrong with them." in said
    assert "No address of EMAIL is known on this host" in said
    assert "No timer of its part 'install' calls capacity alerts send" in said
    assert "It has no site_url" in said


def test_a_tenant_with_a_long_name_is_told_of_too(station):
    name, address = "n" * 250, f"{'a' * 120}@example.org"
    station.tenants(name)
    station.reports(f"fan_out: every tenant, recipients: [{address}]")
    assert [made.told for made in station.call(MONDAY)] == [1]
    assert len(station.told()[0][0]) == 64
