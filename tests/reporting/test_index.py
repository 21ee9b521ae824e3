"""The site's own pages: all reports are found in them, what changed and nothing else is read and written again."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup

from capacity_kit.errors import CapacityError
from capacity_kit.reporting import catalogue, due, index, site, sparkline
from capacity_kit.reporting.result import Result, Runway
from capacity_kit.reporting.sparkline import Point

EVIL = '</script><script>alert("x")</script>\u2028'


def lasting(p50: int | None, p10: int | None = None, p90: int | None = None, **other: object) -> Runway:
    facts = {"resource": "STORAGE|documents|x", "tenant": "X", "resource_type": "STORAGE", "method": "ENGINE"}
    more = {"resource_name": "documents", "level": "capacity", "level_percent": 100.0, "is_at_risk": False}
    return Runway(**{**facts, **more, "p10_days": p10, "p50_days": p50, "p90_days": p90, **other})


def result(tenant: str = "harbour", month: int = 11, **other: object) -> Result:
    facts = {
        "verdict": "ok",
        "headline": "All is well.",
        "notebook": "growth_analysis",
        "title": "Growth analysis",
        "tenant": tenant,
        "tenant_label": tenant.title(),
        "as_of": datetime(2026, month, 1, tzinfo=UTC).isoformat(),
    }
    return Result(**{**facts, **other})


def put(root: Path, *results: Result, **parameters: object) -> list[Path]:
    """Put reports in their places; the site's own pages are not written."""
    places = []
    with site.locked(root):
        for found in results:
            place = site.folder(found.notebook, found.tenant, datetime.fromisoformat(found.as_of), parameters)
            site.put(root, place, {"index.html": "<p>page</p>", "result.json": found.to_json()})
            places.append(root / place)
    return places


def write(root: Path, **options: object) -> None:
    with site.locked(root):
        index.write(root, **options)


def settle(root: Path) -> None:
    """Let the folders of reports have been left alone for an hour."""
    for folder in root.glob("[!_.]*/*"):
        os.utime(folder, (time.time() - 3600,) * 2)


def soup(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(), "html.parser")


def listed(page: Path) -> list[str]:
    """The reports in a page's tables, as places."""
    links = [row.td.a["href"] for row in soup(page).select("table.reports tbody tr")]
    return ["/".join(link.split("/")[-4:-1]) for link in links]


@pytest.fixture
def small(monkeypatch):
    """Pages of few rows."""
    for name, rows in {"LONG": 2, "NEWEST": 1, "FIRST": 1, "NAMED": 1}.items():
        monkeypatch.setattr(index, name, rows)


def test_by_links_alone_every_report_is_reached_and_every_link_leads_somewhere(tmp_path, small):
    states = ("ok", "at risk", "failed")
    reports = [
        result(f"tenant-{t}", month, verdict=states[(t + month) % 3], runway=(lasting(90 * t, 30, None),))
        for t in range(3)
        for month in (9, 10, 11)
    ]
    places = put(tmp_path, *reports)
    write(tmp_path)
    seen, to_see = set(), [tmp_path / "index.html"]
    while to_see:
        page = to_see.pop()
        if page in seen:
            continue
        seen.add(page)
        assert page.is_file(), page
        assert page.stat().st_size < 500_000
        text = page.read_text()
        assert not re.search(r"https?:", text.replace("http://www.w3.org/2005/Atom", ""))
        if page.parent in places or page.suffix != ".html":
            continue
        links = soup(page).select("a[href]")
        to_see += [(page.parent / a["href"]).resolve() for a in links if a["href"][0] != "#"]
    assert {place / "index.html" for place in places} <= seen
    own = {str(page.relative_to(tmp_path)) for page in seen if page.is_relative_to(tmp_path)}
    assert {"_attention/index.html", "_tenant/page-2.html", "_month/2026-10/page-2.html"} <= own
    assert {"_tenant/tenant-0/index.html", "growth_analysis/tenant-0/latest/index.html"} <= own


def test_a_report_is_listed_under_its_month_and_its_tenant(tmp_path):
    put(tmp_path, result("lights"), result(month=9, verdict="failed"), result(month=10), result())
    write(tmp_path)
    assert listed(tmp_path / "_month/2026-11/index.html") == [
        "growth_analysis/harbour/2026-11-01T000000Z",
        "growth_analysis/lights/2026-11-01T000000Z",
    ]
    assert [place[-18:-11] for place in listed(tmp_path / "_tenant/harbour/index.html")] == [
        "2026-11",
        "2026-10",
        "2026-09",
    ]
    month = soup(tmp_path / "_month/2026-10/index.html")
    assert month.find("a", rel="prev")["href"] == "../2026-09/index.html"
    assert month.find("a", rel="next")["href"] == "../2026-11/index.html"


def test_the_gravest_comes_first_then_the_shortest_runway(tmp_path):
    put(
        tmp_path,
        result("a", verdict="at risk", runway=(lasting(50),)),
        result("b", verdict="cannot be trusted"),
        result("c", verdict="at risk", runway=(lasting(None, 40), lasting(12), lasting(3, method=None))),
        result("d", verdict="failed"),
        result("e"),
        result("f", verdict="at risk"),
    )
    write(tmp_path)
    first = soup(tmp_path / "index.html").find("table")
    labels = [row.td.a.contents[0] for row in first.select("tbody tr")]
    assert labels == ["D", "B", "C", "A", "F"]
    assert first.select("tbody tr")[2].find("td", {"data-label": "Runway"}).text == "12 daysStorage documents"
    tally = soup(tmp_path / "index.html").find(class_="tally")
    assert tally.text.split() == ["1", "failed", "1", "cannot", "be", "trusted", "3", "at", "risk"]


def test_many_failures_hide_nothing_at_risk(tmp_path):
    failing = [result(f"f{n:02d}", verdict="failed") for n in range(12)]
    risks = [result(f"r{n}", verdict="at risk", runway=(lasting(20 + n),)) for n in range(2)]
    put(tmp_path, *failing, *risks, result("doubted", verdict="cannot be trusted"))
    write(tmp_path)
    first = soup(tmp_path / "index.html").find("table")
    labels = [row.td.a.contents[0] for row in first.select("tbody tr")]
    assert labels == [*(f"F{n:02d}" for n in range(7)), "Doubted", "R0", "R1"]
    assert first.caption.text == "Some of the latest reports that need attention, the gravest first"
    assert len(listed(tmp_path / "_attention/index.html")) == 15


def test_a_list_explains_what_it_shows_and_nothing_else(tmp_path):
    def keys(month: str) -> list[list[str]]:
        write(tmp_path)
        pages = [tmp_path / f"{page}/index.html" for page in ("_tenant/bay", "_tenant", f"_month/{month}")]
        return [re.findall("Runway: days|The line is", page.read_text()) for page in pages]

    put(tmp_path, result("bay"))
    assert keys("2026-11") == [[], [], []], "no runway is known"
    put(tmp_path, result("bay", runway=(lasting(60),)))
    assert keys("2026-11") == [["Runway: days"]] * 3, "one report makes no line"
    put(tmp_path, result("bay", 12, runway=(lasting(40),)))
    assert keys("2026-12") == [["Runway: days", "The line is"]] * 3


def test_another_parameters_report_stands_until_one_that_looked_at_everything(tmp_path):
    usual, other = result(month=9), result(month=10, verdict="at risk")
    put(tmp_path, usual)
    put(tmp_path, other, resource_type="STORAGE")
    write(tmp_path)
    assert "1 of the latest needs attention" in (tmp_path / "index.html").read_text()
    put(tmp_path, result(month=11))
    write(tmp_path)
    assert "None of the latest needs attention" in (tmp_path / "index.html").read_text()


def test_what_has_not_changed_is_not_read_again(tmp_path):
    (place,) = put(tmp_path, result())
    settle(tmp_path)
    write(tmp_path)
    settle(tmp_path)
    write(tmp_path)
    settled = place.parent.stat().st_mtime_ns
    (place / "result.json").write_text("{")
    assert place.parent.stat().st_mtime_ns == settled
    put(tmp_path, result("lights"))
    write(tmp_path)
    assert "2 reports published" in (tmp_path / "index.html").read_text(), "what was read once is known"
    write(tmp_path, afresh=True)
    assert "1 report published" in (tmp_path / "index.html").read_text()


def test_what_has_not_changed_is_not_written_again(tmp_path):
    put(tmp_path, result("lights", 9), result())
    write(tmp_path)
    pages = [tmp_path / "_month/2026-09/index.html", tmp_path / "_tenant/lights/index.html"]
    before = [page.stat().st_ino for page in pages]
    put(tmp_path, result(month=10))
    write(tmp_path)
    assert [page.stat().st_ino for page in pages][1] == before[1]
    put(tmp_path, result(month=10, headline="Made again."))
    write(tmp_path)
    assert "Made again." in (tmp_path / "_month/2026-10/index.html").read_text()
    assert pages[0].stat().st_ino == before[0], "only the months of what came are written"


def test_a_report_that_was_put_by_a_killed_writer_is_found_by_the_next(tmp_path):
    put(tmp_path, result())
    write(tmp_path)
    settle(tmp_path)
    write(tmp_path)
    put(tmp_path, result(headline="Replaced, and never told of."))
    put(tmp_path, result(month=12))
    write(tmp_path)
    text = (tmp_path / "_tenant/harbour/index.html").read_text()
    assert "never told of" in text
    assert "2026-12-01" in text


def damaged(kept: str) -> list[str]:
    found = json.loads(kept)
    (pair,) = found["pairs"]
    changed, rows = found["pairs"][pair]

    def other(row: object) -> str:
        return json.dumps({**found, "pairs": {pair: [changed, [row]]}})

    def hurt(at: int, fact: object) -> str:
        return other([*rows[0][:at], fact, *rows[0][at + 1 :]])

    short, strange, wrong = rows[0][:5], [*rows[0][:6], "fine", *rows[0][7:]], [1, *rows[0][1:]]
    elsewhere = ("x", "../../../etc/x", "growth_analysis/../x", "growth_analysis/bay/2026-11-01T000000Z")
    times = ("soon", "../../x", "../../../../tmp", "2026-13-01T00:00:00Z")
    runways = (
        ["r", "a", "b", "c"],
        ["r", 1, 10**400, 3],
        ["r", -1, 2, 3],
        ["r", 1.5, 2, 3],
        {"a": 1},
        "rabc",
        0,
    )
    return [
        "",
        "{",
        "[]",
        "[" * 100_000,
        json.dumps({**found, "pairs": 3}),
        *map(other, (short, strange, wrong, None)),
        *(hurt(0, place) for place in elsewhere),
        *(hurt(5, time) for time in times),
        *(hurt(9, lasts) for lasts in runways),
    ]


def test_a_damaged_catalogue_is_made_anew(tmp_path):
    put(tmp_path, result(runway=(lasting(12),)))
    write(tmp_path)
    file = tmp_path / catalogue.NAME
    settle(tmp_path)
    write(tmp_path)
    kept, page = file.read_text(), (tmp_path / "index.html").read_text()
    assert "1 report published" in page
    for text in damaged(kept):
        file.write_text(text)
        write(tmp_path)
        assert (tmp_path / "index.html").read_text() == page
        assert file.read_text() == kept
    file.unlink()
    write(tmp_path)
    assert file.read_text() == kept


@pytest.mark.parametrize(
    "hurt",
    [
        {"as_of": "0001-01-01T00:00:00+14:00"},
        {"as_of": 5},
        {"tenant_label": ["x"]},
        {"runway": [{**vars(lasting(3)), "p50_days": "soon"}]},
        {"runway": [{**vars(lasting(3)), "p50_days": 10**400}]},
        {"runway": [{**vars(lasting(3)), "p10_days": float("nan")}]},
    ],
)
def test_a_damaged_result_is_left_out_and_every_other_report_is_listed(tmp_path, hurt):
    damaged, _ = put(tmp_path, result("bay", runway=(lasting(12),)), result(runway=(lasting(12),)))
    file = damaged / "result.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **hurt}))
    write(tmp_path)
    assert listed(tmp_path / "_month/2026-11/index.html") == ["growth_analysis/harbour/2026-11-01T000000Z"]
    write(tmp_path)


def test_a_tenant_deleted_by_hand_is_nowhere_any_more(tmp_path):
    put(tmp_path, result("gone", 9), result("gone"), result())
    write(tmp_path)
    shutil.rmtree(tmp_path / "growth_analysis/gone")
    write(tmp_path)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or "gone" not in file.read_text().lower(), file
    assert {child.name for child in (tmp_path / "_month").iterdir()} == {"2026-11"}
    assert {child.name for child in (tmp_path / "_tenant").iterdir()} == {"harbour", "index.html"}


def test_retention_takes_a_report_out_of_every_page(tmp_path):
    old, new = put(tmp_path, result(month=9), result(month=10))
    write(tmp_path)
    due.keep(tmp_path, [p.relative_to(tmp_path).as_posix() for p in (new, old)], 1)
    for page in ("index.html", "_tenant/harbour/index.html", "feed.xml", "search.js", catalogue.NAME):
        assert "2026-10-01" in (tmp_path / page).read_text()
        assert "2026-09" not in (tmp_path / page).read_text(), page
    due.keep(tmp_path, [new.relative_to(tmp_path).as_posix()], 0)
    assert "No report has been published yet" in (tmp_path / "index.html").read_text()
    assert not list(tmp_path.glob("_month/*"))


def test_of_a_list_that_became_shorter_no_page_is_left(tmp_path, small):
    places = put(tmp_path, *(result(month=month, verdict="at risk") for month in (1, 2, 3, 4, 5)))
    put(tmp_path, result("lights", verdict="failed"))
    write(tmp_path)
    assert (tmp_path / "_tenant/harbour/page-3.html").is_file()
    assert (tmp_path / "_attention/index.html").is_file()
    for place in places[:3]:
        shutil.rmtree(place)
    put(tmp_path, result("lights", 12))
    write(tmp_path)
    assert [file.name for file in (tmp_path / "_tenant/harbour").iterdir()] == ["index.html"]
    assert not (tmp_path / "_attention").exists()


def test_what_the_search_looks_through_is_what_there_is(tmp_path):
    put(
        tmp_path,
        result(EVIL, title=EVIL, verdict="at risk"),
        result(month=9),
        result(month=10),
        result("SYSTEM"),
    )
    write(tmp_path)
    text = (tmp_path / site.SEARCH).read_text()
    assert text.startswith("capacityReports({")
    assert text.endswith("});\n")
    assert "<" not in text
    assert "\u2028" not in text
    data = json.loads(text[len("capacityReports(") : -3])
    found = {}
    for title, tenant, runs in data["pairs"]:
        for time_at, state in zip(runs[::2], runs[1::2], strict=True):
            parts = (data["titles"][title][0], data["tenants"][tenant][0], data["times"][time_at])
            found["/".join(parts)] = (
                data["titles"][title][1],
                data["tenants"][tenant][1],
                data["states"][state],
            )
    known, _ = catalogue.refreshed(tmp_path, {})
    entries = [entry for pair in known.values() for entry in pair.reports.values()]
    assert {e.place: (e.title, e.label, e.verdict) for e in entries} == found


def writer(root: Path, tenant: str, said: Connection) -> None:
    """Publish eight reports; then, when told to, take the site and keep it."""
    for month in range(1, 9):
        found = result(tenant, month)
        with site.locked(root):
            place = site.folder(found.notebook, tenant, datetime.fromisoformat(found.as_of), {})
            site.put(root, place, {"index.html": "x", "result.json": found.to_json()})
            index.write(root)
    said.send("done")
    said.recv()
    with site.locked(root):
        said.send("taken")
        said.recv()


def test_two_write_at_once_and_one_that_is_killed_keeps_nobody_waiting(tmp_path, monkeypatch):
    forked, ends, started = multiprocessing.get_context("fork"), [], []
    try:
        for tenant in ("one", "two"):
            ours, theirs = forked.Pipe()
            ends.append(ours)
            started.append(forked.Process(target=writer, args=(tmp_path, tenant, theirs)))
            started[-1].start()
        assert [end.recv() for end in ends] == ["done"] * 2
        assert "16 reports published" in (tmp_path / "index.html").read_text()
        assert not list(tmp_path.glob(".unfinished*"))
        ends[0].send("take it")
        assert ends[0].recv() == "taken"
        monkeypatch.setattr(site, "PATIENCE", 0.2)
        holder = rf"Another writer keeps .*: process {started[0].pid} on "
        with pytest.raises(CapacityError, match=holder), site.locked(tmp_path):
            pass
        os.kill(started[0].pid, signal.SIGKILL)
        started[0].join(10)
        put(tmp_path, result())
        write(tmp_path)
        assert "17 reports published" in (tmp_path / "index.html").read_text()
    finally:
        for process in started:
            process.kill()
            process.join(10)


def points(*days: int | None) -> list[Point]:
    return [Point(f"2026-{month:02d}-01T00:00:00Z", None, p50, None) for month, p50 in enumerate(days, 1)]


def test_a_runway_in_words():
    said = [(sparkline.words(point), sparkline.mood(point)) for point in points(None, 400, 90, 30, 1, 0)]
    assert said == [
        ("more than a year", "good"),
        ("400 days", "good"),
        ("90 days", "attention"),
        ("30 days", "bad"),
        ("1 day", "bad"),
        ("full", "bad"),
    ]


def drawing(shown: list[Point]) -> ElementTree.Element:
    return ElementTree.fromstring(str(sparkline.drawn(shown)))


def test_a_line_falls_as_the_runway_does_and_says_so():
    made = drawing(points(None, 365, 90, 10, 0))
    line = made.find("path[@class='line']").get("d")
    heights = [float(at.split()[1]) for at in line[1:].split("L")]
    assert heights[0] == heights[1] == 3, "a year or more is at the top"
    assert heights == sorted(heights), "down the page"
    assert heights[-1] == 33, "full is at the bottom"
    assert made.get("role") == "img"
    assert made.get("aria-label") == (
        "Runway over 5 reports: more than a year on 2026-01-01, full on 2026-05-01"
    )
    assert made.find("path[@class='band']") is None
    band = drawing([Point("2026-01-01T00:00:00Z", 10, 20, None), Point("2026-02-01T00:00:00Z", 5, 9, 90)])
    assert band.find("path[@class='band']") is not None


def test_one_report_makes_no_line():
    assert sparkline.drawn(points(3)) == ""
    assert sparkline.drawn([]) == ""


def test_a_line_keeps_equal_times_equally_apart_and_forgets_the_oldest():
    at = [Point(f"2026-01-{day:02d}T00:00:00Z", None, 9, None) for day in (1, 2, 11)]
    across = [
        float(part.split()[0]) for part in drawing(at).find("path[@class='line']").get("d")[1:].split("L")
    ]
    assert across == [3, 13, 101]
    many = [Point(f"20{year:02d}-01-01T00:00:00Z", None, 9, None) for year in range(99)]
    assert f"over {sparkline.LONGEST} reports" in drawing(many).get("aria-label")
