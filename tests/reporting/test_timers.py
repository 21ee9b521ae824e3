"""Entries of the host's schedulers: the guide's own by default, put in and taken out without touching anything else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook

from capacity_kit import cli
from capacity_kit.errors import CapacityError
from capacity_kit.reporting import schedule, timers
from tests.conftest import skip_or_fail

GUIDE = """
# Run capacity analysis every 15 minutes
*/15 * * * * psql -h localhost -U postgres -d one_vault -c "SELECT capacity_planning.scheduled_capacity_analysis();" \
>> /var/log/capacity_analysis.log 2>&1
""".strip()


def made(target, call=(), install=None):
    found = schedule.load()
    if install:
        found = found.model_copy(update={"install": schedule.Install.model_validate(install)})
    return timers.entries(found, target, list(call))


def one(cron, **more):
    return {
        "timers": [{"name": "it", "cron": cron, "comment": "It", "command": ["capacity", "run-due"]} | more]
    }


def test_the_guides_two_cron_lines_are_what_the_defaults_give(shared):
    guide = (shared / "contract" / "deployment_guide.md").read_text().splitlines()
    begin = guide.index("# Run capacity analysis every 15 minutes")
    theirs = [line for line in guide[begin : begin + 5] if line and not line.startswith("```")]
    lines = made("cron")["crontab"].splitlines()
    assert lines[0] == timers.BEGIN
    assert lines[1:5] == theirs
    assert lines[-1] == timers.END
    assert len(lines) == 10, "and the reports', and the messages'"


def test_the_guides_batch_file_is_what_the_defaults_give(shared):
    guide = (shared / "contract" / "deployment_guide.md").read_text()
    theirs = guide.split("# Create batch file: capacity_analysis.bat\n", 1)[1].split("\n\n", 1)[0]
    files = made("windows")
    assert files["capacity_analysis.bat"].replace("\r\n", "\n") == theirs + "\n"
    assert all(text.count("\n") == text.count("\r\n") for text in files.values())
    assert "/SC MINUTE /MO 15 " in files["install_tasks.bat"].splitlines()[1]
    assert "/SC DAILY /ST 02:00 " in files["install_tasks.bat"].splitlines()[2]


def test_run_due_is_called_by_its_whole_path_on_the_installed_database():
    line = made("cron", ["--site", "/srv/my site"])["crontab"].splitlines()[6]
    program = line.split()[5]
    assert Path(program).is_absolute()
    assert " run-due --dsn 'host=localhost user=postgres dbname=one_vault' --site '/srv/my site' >> " in line
    other = made("cron", ["--dsn", "service=mine"])["crontab"].splitlines()[6]
    assert "run-due --dsn service=mine >> " in other


def test_the_database_that_is_named_is_the_one_of_every_entry(monkeypatch, capsys):
    monkeypatch.setenv("CAPACITY_DSN", "postgresql://planner@db.example:5433/platform?sslmode=require")
    assert cli.main(["schedule", "install", "--target", "cron", "--print"]) == 0
    lines = capsys.readouterr().out.splitlines()
    there = "'postgresql://planner@db.example:5433/platform?sslmode=require'"
    assert f"psql -d {there} -c " in lines[2]
    assert f"psql -d {there} -c " in lines[4]
    assert f" run-due --dsn {there} " in lines[6]
    assert (
        cli.main(["schedule", "install", "--target", "cron", "--print", "--dsn", "host=other dbname=x"]) == 0
    )
    assert capsys.readouterr().out.count("'host=other dbname=x'") == 4


def test_what_a_scheduler_would_expand_is_escaped():
    install = one("0 5 * * *", command=["echo", "50%", "$HOME", "a b"])
    assert r"0 5 * * * echo 50\% '$HOME' 'a b' >>" in made("cron", install=install)["crontab"]
    assert (
        'ExecStart=/usr/bin/env echo 50%% $$HOME "a b"'
        in made("systemd", install=install)["capacity-it.service"]
    )
    assert 'echo 50%% $HOME "a b" >>' in made("windows", install=install)["it.bat"]


@pytest.mark.parametrize(
    ("line", "events"),
    [
        ("*/15 * * * *", ["*-*-* *:00,15,30,45:00"]),
        ("0 2 * * *", ["*-*-* 02:00:00"]),
        ("30 6 * * 1-5", ["Mon,Tue,Wed,Thu,Fri *-*-* 06:30:00"]),
        ("0 7 1 */3 *", ["*-01,04,07,10-01 07:00:00"]),
        ("0 0 13 * 5", ["Fri *-*-* 00:00:00", "*-*-13 00:00:00"]),
        ("0 0 * * 7", ["Sun *-*-* 00:00:00"]),
    ],
)
def test_a_cron_line_as_systemd_has_it(line, events):
    assert timers.on_calendar(line) == events


@pytest.mark.parametrize("line", ["*/15 * * * *", "0 2 * * *", "30 6 * * 1-5", "0 0 13 * 5", "0 7 1 */3 *"])
def test_systemd_reads_the_same_times(line):
    if not shutil.which("systemd-analyze"):
        skip_or_fail("systemd-analyze", "install it: apt-get install systemd")
    now = datetime(2026, 3, 5, 12, 1, tzinfo=UTC)
    theirs = set()
    for event in timers.on_calendar(line):
        done = subprocess.run(
            ["systemd-analyze", "calendar", "--iterations=6", f"--base-time={now:%Y-%m-%d %H:%M:%S} UTC", event],
            capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC"},
        )  # fmt: skip
        theirs |= {
            datetime.strptime(row.split(": ", 1)[1].strip(), "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
            for row in done.stdout.splitlines()
            if row.strip().startswith(("Next elapse:", "Iteration #", "Iter. #"))
        }
    ours, at = [], now
    for _ in range(6):
        at = schedule.next_time(line, "UTC", at)
        ours.append(at)
    assert ours == sorted(theirs)[:6]


@pytest.mark.parametrize("line", ["0 0 L * *", "0 0 * * 5#2", "0 0 * * 5L"])
def test_days_that_systemd_cannot_express_are_refused(line):
    with pytest.raises(CapacityError, match="systemd cannot express"):
        timers.on_calendar(line)


@pytest.mark.parametrize("line", ["7,13 * * * *", "0 0 13 * 5", "0 7 1 */3 *", "0 1,2 * * *"])
def test_what_the_task_scheduler_cannot_express_is_refused(line):
    with pytest.raises(CapacityError, match="Task Scheduler"):
        made("windows", install=one(line))


def test_kubernetes_runs_one_at_a_time_with_its_secrets_in_a_secret():
    jobs = list(yaml.safe_load_all(made("kubernetes")["capacity-cronjobs.yaml"]))
    assert [job["metadata"]["name"] for job in jobs] == [
        "capacity-analysis",
        "capacity-comprehensive-analysis",
        "capacity-reports",
        "capacity-messages",
    ]
    for job in jobs:
        spec = job["spec"]
        pod = spec["jobTemplate"]["spec"]["template"]["spec"]
        assert (job["apiVersion"], job["kind"], spec["concurrencyPolicy"], spec["timeZone"]) == (
            "batch/v1", "CronJob", "Forbid", "Etc/UTC"
        )  # fmt: skip
        assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "capacity"}}]
    assert [job["spec"]["schedule"] for job in jobs] == [
        "*/15 * * * *",
        "0 2 * * *",
        "*/5 * * * *",
        "* * * * *",
    ]


def test_a_pod_has_the_schedule_and_its_notebooks_mounted(tmp_path, capsys):
    file, inner = tmp_path / "mine.yml", tmp_path / "own books"
    inner.mkdir()
    (inner / "a.ipynb").write_text('{"cells": []}')
    text = "reports: [{name: it, notebook: own books/a.ipynb, cron: '0 6 * * 1'}]\n"
    file.write_text(
        text
        + "install: {timers: [{name: it, cron: '* * * * *', comment: It, command: [capacity, run-due]}]}\n"
    )
    assert (
        cli.main(["schedule", "install", "--target", "kubernetes", "--print", "--schedule", str(file)]) == 0
    )
    said = capsys.readouterr().out
    assert str(tmp_path) not in said, "no path of this host"
    mapped, job = yaml.safe_load_all(said)
    jsonschema.validate(mapped, CONFIG_MAP)
    jsonschema.validate(job, CRON_JOB)
    assert set(mapped["data"].values()) == {file.read_text(), '{"cells": []}'}
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    args = container["args"]
    where = args[args.index("--schedule") + 1]
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    (volume,) = [v for v in pod["volumes"] if "configMap" in v]
    there = {
        f"{mounts[volume['name']]}/{item['path']}": mapped["data"][item["key"]]
        for item in volume["configMap"]["items"]
    }
    assert there[where] == file.read_text()
    assert there[f"{Path(where).parent}/own books/a.ipynb"] == '{"cells": []}'
    file.write_text(file.read_text().replace("own books/a.ipynb", "../a.ipynb"))
    assert (
        cli.main(["schedule", "install", "--target", "kubernetes", "--print", "--schedule", str(file)]) == 1
    )
    assert "beside its schedule" in capsys.readouterr().err


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 1), (3, 0), (4, 0), (5, 5)])
def test_a_report_at_risk_is_no_failed_job(code, ends):
    install = one("0 5 * * *", command=["sh", "-c", 'exit "$1"', "it", str(code)])
    (job,) = yaml.safe_load_all(made("kubernetes", install=install)["capacity-cronjobs.yaml"])
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert subprocess.run([*container["command"], *container["args"]], check=False).returncode == ends


@pytest.mark.skipif(os.name == "nt", reason="its own entries hold its own paths")
def test_entries_for_windows_hold_no_path_of_another_system(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CAPACITY_SITE", str(tmp_path / "site"))
    monkeypatch.setenv("CAPACITY_SCHEDULE", str(schedule.default()))
    assert cli.main(["schedule", "install", "--target", "windows", "--print"]) == 0
    said = capsys.readouterr()
    assert "\ncapacity run-due --dsn " in said.out.replace("\r", "")
    assert not re.search(r"[^0-9*]/[a-z]", said.out), "no path that begins at a root"
    assert "CAPACITY_SCHEDULE and CAPACITY_SITE have to name" in said.err


def test_messages_are_sent_from_the_database_of_every_entry():
    line = made("cron")["crontab"].splitlines()[8]
    assert line.startswith("* * * * * /")
    assert "capacity alerts send --dsn 'host=localhost user=postgres dbname=one_vault' >> " in line
    assert (
        "alerts send --dsn service=mine >> "
        in made("cron", ["--site", "/s", "--dsn", "service=mine"])["crontab"]
    )


@pytest.mark.parametrize("target", ["systemd", "windows", "kubernetes"])
def test_files_are_written_and_taken_out_again(target, tmp_path, capsys):
    (tmp_path / "mine").write_text("kept")
    assert cli.main(["schedule", "install", "--target", target, "--into", str(tmp_path)]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"mine", *made(target)}
    assert "Now run: " in capsys.readouterr().out
    assert cli.main(["schedule", "uninstall", "--target", target, "--into", str(tmp_path)]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_a_password_is_not_written_into_an_entry(capsys, monkeypatch):
    for dsn in (
        "host=h password=secret1",
        "postgresql://me:secret1@h/d",
        "postgresql://h/d?password=secret1",
    ):
        assert cli.main(["schedule", "install", "--target", "cron", "--print", "--dsn", dsn]) == 1
        monkeypatch.setenv("CAPACITY_DSN", dsn)
        assert cli.main(["schedule", "install", "--target", "cron", "--print"]) == 1
    said = capsys.readouterr()
    assert "secret1" not in said.out + said.err
    assert (
        cli.main(["schedule", "install", "--target", "cron", "--print", "--dsn", "postgresql://me@h/d"]) == 0
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("0 1 * * * mine\n", "0 1 * * * mine\n"),
        ("0 1 * * * mine", "0 1 * * * mine\n"),
        (f"a\n{timers.BEGIN}\nold\n{timers.END}\nb\n", "a\nb\n"),
    ],
)
def test_only_what_stands_between_the_markers_is_ours(before, after):
    assert timers._without(before) == after


@pytest.mark.parametrize(
    "broken", [f"{timers.BEGIN}\n", f"{timers.END}\n", f"{timers.END}\n{timers.BEGIN}\n"]
)
def test_half_a_block_is_left_to_its_owner(broken):
    with pytest.raises(CapacityError, match="by hand"):
        timers._without(broken)


@pytest.fixture
def crontab(monkeypatch):
    """Debian's crontab, with this account's own put back afterwards."""
    program = shutil.which("crontab")
    if program is None:
        skip_or_fail("crontab", "install it: apt-get install cron")
    kept = subprocess.run([program, "-l"], capture_output=True, check=False)

    def listed():
        return subprocess.run([program, "-l"], capture_output=True, check=False).stdout.decode(
            errors="replace"
        )

    def raw():
        return subprocess.run([program, "-l"], capture_output=True, check=False).stdout

    def put(text):
        given = text.encode() if isinstance(text, str) else text
        subprocess.run([program, "-"] if given else [program, "-r"], input=given, check=False,
                       stderr=subprocess.DEVNULL)  # fmt: skip

    put("")
    listed.put, listed.raw = put, raw
    yield listed
    put(kept.stdout if kept.returncode == 0 else "")


def test_debians_cron_takes_the_entries_and_gives_them_back(crontab, capsys):
    mine = "MAILTO=me\n0 1 * * * /usr/bin/mine  # keep\n"
    crontab.put(mine)
    for _ in range(2):
        assert cli.main(["schedule", "install", "--target", "cron"]) == 0
    found = crontab()
    assert found.startswith(mine)
    assert found.count(timers.BEGIN) == 1
    assert GUIDE in found
    assert cli.main(["schedule", "uninstall", "--target", "cron"]) == 0
    assert crontab() == mine
    crontab.put("")
    assert cli.main(["schedule", "install", "--target", "cron"]) == 0
    assert cli.main(["schedule", "uninstall", "--target", "cron"]) == 0
    assert crontab() == ""
    assert cli.main(["schedule", "uninstall", "--target", "cron"]) == 0
    assert "no entries" in capsys.readouterr().out


def test_the_lines_of_others_stay_byte_for_byte(crontab):
    mine = b"# caf\xe9, \xff\x85 and \xe2\x80\xa8 here\n0 1 * * * /usr/bin/mine \xa0\n0 2 * * * other\n"
    crontab.put(mine)
    assert crontab.raw() == mine
    assert cli.main(["schedule", "install", "--target", "cron"]) == 0
    assert crontab.raw().startswith(mine + timers.BEGIN.encode())
    assert cli.main(["schedule", "uninstall", "--target", "cron"]) == 0
    assert crontab.raw() == mine


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone may start cron")
def test_debians_cron_makes_a_report(crontab, pg18, tmp_path, monkeypatch):
    parameters = new_code_cell('tenant: str = "ALL"  # whose', metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[parameters, new_code_cell(REPORT)]), tmp_path / "it.ipynb")
    file, site, log = tmp_path / "schedule.yml", tmp_path / "the site", tmp_path / "log"
    file.write_text(
        "reports: [{name: it, notebook: it.ipynb, cron: '* * * * *'}]\n"
        f"install: {{log: {log}, timers: [{{name: it, cron: '* * * * *', comment: It, command: "
        "[capacity, run-due]}]}\n"
    )
    monkeypatch.setenv("CAPACITY_SITE", str(site))
    assert (
        cli.main(["schedule", "install", "--target", "cron", "--schedule", str(file), "--dsn", pg18.dsn]) == 0
    )
    running = subprocess.Popen([shutil.which("cron") or "/usr/sbin/cron", "-f"], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not (log.exists() and "it: " in log.read_text()) and time.monotonic() < end:
            time.sleep(0.5)
    finally:
        running.kill()
        running.wait()
    assert "it: ok. Made by cron." in log.read_text()
    (page,) = site.glob("it/_all/2*/index.html")
    assert "Made by cron." in page.read_text()


REPORT = """
from capacity_kit.reporting.result import publish
publish("ok", "Made by cron.", [])
"""


def test_systemd_takes_the_units(tmp_path, monkeypatch):
    if not shutil.which("systemd-analyze"):
        skip_or_fail("systemd-analyze", "install it: apt-get install systemd")
    monkeypatch.setenv("CAPACITY_SITE", str(tmp_path / "my 100% site"))
    assert cli.main(["schedule", "install", "--target", "systemd", "--into", str(tmp_path)]) == 0
    units = sorted(str(path) for path in tmp_path.glob("capacity-*"))
    assert len(units) == 8
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "capacity-" in line]
    assert ours == []


def test_the_task_schedulers_lines_are_what_it_takes():
    files = made("windows", ["--site", "D:\\the site"])
    for line in files["install_tasks.bat"].splitlines()[1:]:
        found = re.fullmatch(
            r'schtasks /Create /F /TN "capacity\\([a-z_]+)" /TR "\\"%~dp0([a-z_]+)\.bat\\"" '
            r"/SC (MINUTE /MO [1-9]\d?|DAILY|WEEKLY /D [A-Z,]+|MONTHLY /D \d+) /ST \d\d:\d\d /RU SYSTEM",
            line,
        )
        assert found, line
        assert found[1] == found[2]
        assert f"{found[2]}.bat" in files
    removed = re.findall(r'/TN "capacity\\([a-z_]+)"', files["remove_tasks.bat"])
    assert removed == re.findall(r'/TN "capacity\\([a-z_]+)"', files["install_tasks.bat"])
    assert '--site "D:\\the site" >>' in files["reports.bat"]


NAME = r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?"
STRING = {"type": "string", "minLength": 1}


def strict(required, **optional):
    """An object with these parts, and no other: what the API server would refuse as unknown is wrong here too."""
    return {
        "type": "object",
        "properties": required | optional,
        "required": list(required),
        "additionalProperties": False,
    }


TEXTS = {"type": "array", "items": {"type": "string"}}
CONTAINER = strict(
    {"name": {"type": "string", "pattern": f"^{NAME}$"}, "image": STRING},
    command=TEXTS,
    args=TEXTS,
    env={"items": strict({"name": STRING, "value": {"type": "string"}})},
    envFrom={"items": strict({"secretRef": strict({"name": STRING})})},
    volumeMounts={"items": strict({"name": STRING, "mountPath": STRING}, readOnly={"type": "boolean"})},
)
CLAIM = strict({"claimName": STRING})
MAPPED = strict({"name": STRING, "items": {"items": strict({"key": STRING, "path": STRING})}})
POD = strict(
    {
        "restartPolicy": {"enum": ["Never", "OnFailure"]},
        "containers": {"type": "array", "minItems": 1, "items": CONTAINER},
    },
    volumes={"items": strict({"name": STRING}, persistentVolumeClaim=CLAIM, configMap=MAPPED)},
)
JOB = strict({"template": strict({"spec": POD})}, backoffLimit={"type": "integer", "minimum": 0})
CONFIG_MAP = strict(
    {
        "apiVersion": {"const": "v1"},
        "kind": {"const": "ConfigMap"},
        "metadata": strict({"name": STRING}, labels={"type": "object"}),
        "data": {
            "patternProperties": {"^[-._a-zA-Z0-9]+$": {"type": "string"}},
            "additionalProperties": False,
        },
    }
)
CRON_JOB = strict(
    {
        "apiVersion": {"const": "batch/v1"},
        "kind": {"const": "CronJob"},
        "metadata": strict(
            {"name": {"type": "string", "pattern": f"^{NAME}$"}},
            labels={"type": "object"},
            annotations={"type": "object"},
        ),
        "spec": strict(
            {"schedule": STRING, "jobTemplate": strict({"spec": JOB})},
            timeZone=STRING,
            concurrencyPolicy={"enum": ["Allow", "Forbid", "Replace"]},
            startingDeadlineSeconds={"type": "integer", "minimum": 10},
        ),
    }
)
"""What of batch/v1 these entries use."""


def test_kubernetes_knows_every_field():
    long = one("0 5 * * *", name="x" * 43)
    for install in (None, long):
        for job in yaml.safe_load_all(made("kubernetes", install=install)["capacity-cronjobs.yaml"]):
            jsonschema.validate(job, CRON_JOB)
            pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
            mounted = {m["name"] for c in pod["containers"] for m in c.get("volumeMounts", [])}
            assert mounted == {volume["name"] for volume in pod.get("volumes", [])}
