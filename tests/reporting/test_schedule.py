"""Schedules: what they say, what is wrong with one in one line, and when their cron lines come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capacity_kit.errors import CapacityError
from capacity_kit.reporting import due, schedule

ROOT = Path(__file__).resolve().parents[2]
REPORT = "{name: weekly, notebook: growth_analysis, cron: '0 6 * * 1'%s}"


def load(tmp_path, text):
    file = tmp_path / "schedule.yml"
    file.write_text(text)
    return schedule.load(file)


def report(tmp_path, more=""):
    return load(tmp_path, f"reports: [{REPORT % more}]").reports[0]


def refusal(tmp_path, text, **options):
    def asked():
        found = load(tmp_path, text)
        schedule.require(found, due.declared(found, tmp_path), **options)

    with pytest.raises(CapacityError) as refused:
        asked()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_schedule_that_comes_with_the_kit_is_right():
    found = schedule.load()
    due.require(found, schedule.default().parent, None)
    assert {r.notebook for r in found.reports} <= {"growth_analysis", "monthly_review"}


def test_the_schema_for_editors_is_the_models():
    held = (ROOT / "reports" / "schedule.schema.json").read_text()
    assert held == schedule.json_schema(), (
        "capacity schedule check --json-schema > reports/schedule.schema.json"
    )


def test_what_is_left_out_has_a_default(tmp_path):
    found = report(tmp_path)
    assert (found.retries, found.when, found.keep, found.fan_out) == (1, "always", None, None)
    assert schedule.seconds(found.timeouts.run) == 1800
    assert schedule.seconds(found.timeouts.cell) == 600


def test_failures_go_to_the_recipients_unless_others_are_named(tmp_path):
    assert report(tmp_path, ", recipients: [email, a@b.org]").told_of_failures() == ["EMAIL", "a@b.org"]
    assert report(tmp_path, ", recipients: [EMAIL], recipients_of_failures: []").told_of_failures() == []


BOMB = "\n".join(
    ["a0: &a0 {x0: 1, y0: 2}"]
    + [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], x{n}: 1}}" for n in range(1, 25)]
)
INSTALL = "install: {%s, timers: [{name: it, cron: '0 1 * * *', comment: It, sql: SELECT 1}]}"
TIMER = "install: {timers: [{name: it, comment: It, %s}]}"
ONE = "{name: %s, cron: '0 1 * * *', comment: It, sql: SELECT 1}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"reports: [{REPORT % ''}, {REPORT % ''}]", "two reports are called 'weekly'"),
        (f"reports: [{REPORT % ', cron: x'}]", "'cron' stands twice"),
        ("reports: [{name: n, notebook: growth_analysis, cron: '61 * * * *'}]", "'61 * * * *' is not a cron line"),
        ("reports: [{name: n, notebook: growth_analysis, cron: '0 0 30 2 *'}]", "'0 0 30 2 *' is not a cron line"),
        ("reports: [{name: n, notebook: growth_analysis, cron: '* * * * * *'}]", "a cron line has five fields"),
        ("reports:\n- {name: n, notebook: g}\n- cron: */5 * * * *\n", "line 3"),
        ("reports: [{name: n, notebook: nothing, cron: '0 0 * * *'}]", "there is no notebook 'nothing'"),
        (f"reports: [{REPORT % ', parameters: {dais: 3}'}]", "has no parameter 'dais'"),
        (f"reports: [{REPORT % ', parameters: {days: soon}'}]", "days must be int, not 'soon'"),
        (f"reports: [{REPORT % ', parameters: {as_of: 2026-01-01x}'}]", "as_of is the time that it was due at"),
        (f"reports: [{REPORT % ', fan_out: {nothing: [a]}'}]", "has no parameter 'nothing'"),
        (f"reports: [{REPORT % ', fan_out: every tenant, parameters: {tenant: a}'}]", "tenant is fanned out"),
        (f"reports: [{REPORT % ', timezone: Mars/Base'}]", "'Mars/Base' is not a time zone"),
        (f"reports: [{REPORT % ', recipients: [a b]'}]", "'a b' is neither a channel's name"),
        (f"reports: [{REPORT % ', recipients: [mailto://u:secret@h]'}]", "is neither a channel's name"),
        (f"reports: [{REPORT % ', colour: red'}]", "reports 'weekly', colour: there is no such setting"),
        (f"reports: [{REPORT % ', timeouts: {run: soon}'}]", "reports 'weekly', timeouts, run"),
        (f"reports: [{REPORT % ', when: never'}]", "reports 'weekly', when"),
        ("reports: 3", "reports"),
        (BOMB, "its merges (<<) come to more settings than any schedule has"),
        (INSTALL % "database: {host: -h}", "install, database, host"),
        (INSTALL % "database: {user: 'a b'}", "install, database, user"),
        (INSTALL % "database: {name: '$(id)'}", "install, database, name"),
        (INSTALL % "log: here.log", "install, log"),
        (INSTALL % "log: '/var/log/a;id'", "install, log"),
        (INSTALL % "windows_log: '\\here'", "install, windows_log"),
        (TIMER % "cron: '61 * * * *', sql: SELECT 1", "install, timers 'it', cron: '61 * * * *' is not a cron line"),
        (TIMER % "cron: '0 1 * * *', sql: 'SELECT \"a\"'", "install, timers 'it', sql"),
        (TIMER % "cron: '0 1 * * *', sql: 'SELECT `id`'", "install, timers 'it', sql"),
        (TIMER % "cron: '0 1 * * *', command: [\"a\\nb\"]", "install, timers 'it', command"),
        (TIMER % "cron: '0 1 * * *'", "either sql or command"),
        (f"install: {{timers: [{ONE % 'x'}, {ONE % 'capacity-x'}]}}", "two timers are called 'x'"),
        (f"install: {{timers: [{ONE % ('x' * 44)}]}}", "at most 43 characters"),
        ("[" * 5000, "schedule.yml"),
        ("3", "schedule.yml"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, said):
    assert said in refusal(tmp_path, text)


def test_an_unknown_tenant_is_named_with_those_that_come_close(tmp_path):
    text = f"reports: [{REPORT % ', fan_out: {tenant: [harbor, SYSTEM]}'}]"
    said = refusal(tmp_path, text, tenants=["harbour", "lights"])
    assert "there is no tenant 'harbor'" in said
    assert "harbour" in said


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(CapacityError, match="cannot be read: No such file"):
        schedule.load(tmp_path / "none.yml")


def day_of(zone, *when):
    return datetime(*when, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def between(line, zone, begin, end):
    found = []
    for moment in schedule.times(line, zone, begin):
        if moment >= end:
            return found
        found.append(moment)
    return found


@pytest.mark.parametrize("line", ["30 2 * * *", "*/30 2 * * *", "0 */2 * * *", "15 1,2,3 * * *", "0 0 * * *"])
@pytest.mark.parametrize(
    "day", [(2026, 3, 29), (2026, 10, 25), (2026, 7, 1)], ids=["spring", "autumn", "summer"]
)
def test_every_local_time_comes_once_on_days_when_clocks_change(line, day):
    begin, zone = day_of("Europe/Berlin", *day), ZoneInfo("Europe/Berlin")
    end = day_of("Europe/Berlin", *(datetime(*day) + timedelta(days=1)).timetuple()[:3])  # noqa: DTZ001
    found = between(line, "Europe/Berlin", begin - timedelta(seconds=1), end)
    usual = between(
        line,
        "UTC",
        datetime(*day, tzinfo=UTC) - timedelta(seconds=1),
        datetime(*day, tzinfo=UTC) + timedelta(days=1),
    )
    local = [f"{moment.astimezone(zone):%H:%M}" for moment in found]
    skipped = [f"{m:%H:%M}" for m in usual if f"{m:%H:%M}" not in local]
    assert len(local) == len(set(local)), "none twice"
    if day[1] != 3:
        assert local == [f"{m:%H:%M}" for m in usual]
    else:
        assert all(time.startswith("02:") for time in skipped), "only what the clocks skip is elsewhere"
        assert not skipped or "03:00" in local, "and comes when they go on"


def test_an_hourly_line_follows_real_time_when_clocks_change():
    for day, hours in (((2026, 3, 29), 23), ((2026, 10, 25), 25)):
        begin = day_of("Europe/Berlin", *day)
        found = between(
            "0 * * * *", "Europe/Berlin", begin - timedelta(seconds=1), begin + timedelta(hours=hours)
        )
        assert found == [begin + timedelta(hours=n) for n in range(hours)]


ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Kolkata",
]
LINES = [
    "*/5 * * * *",
    "30 2 * * *",
    "0 6 * * 1",
    "59 23 28-31 * *",
    "0 0 1 * *",
    "15 */6 * * *",
    "0 1 29 2 *",
]


@given(
    st.sampled_from(LINES),
    st.sampled_from(ZONES),
    st.datetimes(datetime(2012, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001
)
def test_the_last_and_the_next_time_lie_on_both_sides_with_none_between(line, zone, moment):
    now = moment.replace(tzinfo=UTC)
    last, following = schedule.last_time(line, zone, now), schedule.next_time(line, zone, now)
    assert last is not None
    assert last <= now < following
    assert schedule.next_time(line, zone, last) == following
    assert schedule.last_time(line, zone, last) == last
    assert schedule.last_time(line, zone, following - timedelta(seconds=1)) == last
    assert schedule.last_time(line, zone, following) == following
