"""Reports arrive whole or not at all, in places that no name can lead astray."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup

from capacity_kit.errors import CapacityError
from capacity_kit.reporting import catalogue, due, feed, index, site
from capacity_kit.reporting.result import Kpi, Result

NOW = datetime(2026, 11, 1, tzinfo=UTC)
EVIL = '<script>alert("x")</script>'


@pytest.mark.parametrize(
    "name",
    [EVIL, "../../etc/passwd", "a/b", "a b", "CON", "", ".", "..", "ü" * 300, "-", "x\x00y", "Acme", "_all"],
)
def test_a_slug_is_one_harmless_part_of_a_path(name):
    made = site.slug(name)
    assert made
    assert len(made) <= 60
    assert not set(made) - set("abcdefghijklmnopqrstuvwxyz0123456789-_")
    assert made not in ("con", "nul")


def test_names_that_look_alike_stay_apart():
    names = ["a/b", "a b", "a-b", "A-B", "a--b", "all", "ALL", "_all", "system", "SYSTEM", "con", "CON"]
    folders = {site.tenant_folder(name) for name in names}
    assert len(folders) == len(names)
    assert len({f.lower() for f in folders}) == len(names)


def test_a_plain_name_stays_readable():
    assert (
        site.folder("growth_analysis", "harbour", NOW, {}).as_posix()
        == "growth_analysis/harbour/2026-11-01T000000Z"
    )


def test_other_parameters_make_another_report():
    places = {
        site.folder("n", "t", NOW, others) for others in ({}, {"days": 60}, {"resource_type": "STORAGE"})
    }
    assert len(places) == 3


def publish(root: Path, result: Result, **more: str) -> Path:
    place = site.folder(result.notebook, result.tenant, datetime.fromisoformat(result.as_of), {})
    with site.locked(root):
        site.put(root, place, {"index.html": "<p>page</p>", "result.json": result.to_json(), **more})
        index.write(root)
    return root / place


def listed(root: Path) -> list[str]:
    """The reports that the site knows of, as places."""
    known, _ = catalogue.refreshed(root, {})
    return [place for pair in known.values() for place in pair.reports]


def found(**changes: object) -> Result:
    facts = {
        "verdict": "ok",
        "headline": "All is well.",
        "kpis": (Kpi("Runway", "12 days", "bad"),),
        "notebook": "growth_analysis",
        "title": "Growth analysis",
        "tenant": "harbour",
        "tenant_label": "Harbour (harbour)",
        "as_of": NOW.isoformat(),
    }
    return Result(**{**facts, **changes})


def test_a_result_survives_its_file(tmp_path):
    result = found(parameters={"days": 30}, versions={"Python": "3.11"})
    folder = publish(tmp_path, result)
    assert Result.read(folder / "result.json") == result


def test_the_index_lists_what_is_there_and_escapes_every_name(tmp_path):
    publish(tmp_path, found())
    publish(
        tmp_path,
        found(tenant=EVIL, tenant_label=EVIL, title=EVIL, headline=EVIL, verdict="at risk", simulated=EVIL),
    )
    publish(
        tmp_path,
        found(tenant="lights", tenant_label="Lights", verdict="failed", headline="Failed: ZeroDivisionError"),
    )
    html = (tmp_path / "index.html").read_text()
    assert html.count("<script") == 1, "the search's own"
    assert html.count("&lt;script&gt;") >= 4
    for page in tmp_path.glob("_*/**/*.html"):
        assert "<script" not in page.read_text()
    assert "<script" not in (tmp_path / "search.js").read_text()
    assert "3 reports published" in html
    assert html.index("Failed: ZeroDivisionError") < html.index("All is well."), (
        "what needs attention comes first"
    )
    for place in ("growth_analysis", "harbour", "lights"):
        assert place in html


def test_the_newest_report_comes_first_and_alone_asks_for_attention(tmp_path):
    publish(tmp_path, found(verdict="at risk", headline="Old trouble."))
    publish(tmp_path, found(as_of="2026-12-01T00:00:00+00:00", headline="All is well again."))
    html = (tmp_path / "index.html").read_text()
    assert "None of the latest needs attention" in html
    assert html.index("All is well again.") < html.index("Old trouble.")


def test_on_the_index_a_reports_name_leads_to_it_and_every_cell_is_labelled(tmp_path):
    publish(tmp_path, found(verdict="at risk", headline="Trouble."))
    page = BeautifulSoup((tmp_path / "index.html").read_text(), "html.parser")
    rows = page.select("tbody tr")
    assert len(rows) == 2, "among those that need attention, and under its notebook"
    for row in rows:
        assert row.td.a["href"].startswith("growth_analysis/harbour/")
        table = row.find_parent("table")
        assert [td["data-label"] for td in row.find_all("td")] == [th.text for th in table.find_all("th")]


def test_publishing_again_replaces(tmp_path):
    folder = publish(tmp_path, found())
    assert publish(tmp_path, found(headline="New.")) == folder
    assert json.loads((folder / "result.json").read_text())["headline"] == "New."
    assert "1 report published" in (tmp_path / "index.html").read_text()


def test_what_is_no_report_is_left_out_of_the_index(tmp_path):
    folder = publish(tmp_path, found())
    for name, text in {"a": "{", "b": "{}", "c": '{"verdict": "fine", "headline": ""}'}.items():
        place = folder.parent / name
        place.mkdir()
        (place / "result.json").write_text(text)
        (place / "index.html").write_text("")
    assert len(listed(tmp_path)) == 1


def test_what_a_killed_writer_left_is_cleared_away(tmp_path):
    left = tmp_path / ".unfinished-abc"
    left.mkdir(parents=True)
    (left / "index.html").write_text("half")
    publish(tmp_path, found())
    assert not left.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".catalogue.json",
        ".lock",
        ".site.json",
        "_month",
        "_tenant",
        "feed.xml",
        "growth_analysis",
        "index.html",
        "search.js",
    ]


FILL = """
import resource, sys
from pathlib import Path
from capacity_kit.errors import CapacityError
from capacity_kit.reporting import site
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
root = Path(sys.argv[1])
try:
    with site.locked(root):
        site.put(root, Path("n/t/when"), {"result.json": "{}", "index.html": "x" * 100_000})
except CapacityError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs file size limits")
def test_a_disk_without_room_is_told_in_one_line_and_nothing_is_published(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stdout
    assert done.stdout.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EDQUOT, "Free some space"),
        (errno.EACCES, "may not write"),
        (errno.EROFS, "read only"),
        (errno.ENOENT, "does not exist"),
        (errno.EIO, "Choose another folder"),
    ],
)
def test_the_advice_fits_what_went_wrong(tmp_path, number, advice):
    with pytest.raises(CapacityError) as refused, site.locked(tmp_path):
        raise OSError(number, os.strerror(number))
    assert advice in refused.value.hint
    assert ("Free some space" in refused.value.hint) == (number in (errno.ENOSPC, errno.EDQUOT))
    assert "CAPACITY_SITE" in refused.value.hint


def test_a_site_that_cannot_be_made_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CapacityError, match="cannot be written"):
        publish(tmp_path / "file" / "site", found())


def test_what_is_no_result_disturbs_no_index(tmp_path):
    for name, text in {
        "a": "[" * 100_000,
        "b": '{"verdict": "ok", "as_of": 3}',
        "c": "[]",
        "d": " " * (1 << 21),
    }.items():
        folder = tmp_path / "n" / name / "t"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(text)
        (folder / "index.html").write_text("x")
    pipe = tmp_path / "n" / "e" / "t"
    pipe.mkdir(parents=True)
    os.mkfifo(pipe / "result.json")
    assert catalogue.refreshed(tmp_path, {})[0] == {}


def test_a_link_in_the_site_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "outside").mkdir()
    root = tmp_path / "site"
    root.mkdir()
    (root / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(CapacityError), site.locked(root):
        pass
    assert (tmp_path / "precious").read_text() == "kept"
    (root / ".lock").unlink()
    (root / "notebook").symlink_to(tmp_path / "outside")
    with pytest.raises(CapacityError, match="symbolic link"), site.locked(root):
        site.put(root, Path("notebook/tenant/time"), {"index.html": "x"})
    assert not list((tmp_path / "outside").iterdir())


def leads_to(page: Path) -> Path:
    """Where a reader of `page` ends up, from its file alone."""
    soup = BeautifulSoup(page.read_text(), "html.parser")
    after, _, target = soup.find("meta", {"http-equiv": "refresh"})["content"].partition("; url=")
    assert (after, soup.main.a["href"]) == ("0", target)
    return (page.parent / target).resolve()


def test_latest_leads_to_the_newest_report_of_a_tenant(tmp_path):
    first = publish(tmp_path, found())
    latest = tmp_path / "growth_analysis/harbour/latest/index.html"
    assert leads_to(latest) == first / "index.html"
    second = publish(tmp_path, found(as_of="2026-12-01T00:00:00+00:00", verdict="failed"))
    publish(tmp_path, found(as_of="2026-10-01T00:00:00+00:00"))
    publish(tmp_path, found(tenant="lights"))
    assert leads_to(latest) == second / "index.html"
    assert leads_to(tmp_path / "growth_analysis/lights/latest/index.html").is_file()
    assert len(listed(tmp_path)) == 4, "latest is an address, and no report"


def test_latest_prefers_what_was_asked_without_other_parameters(tmp_path):
    usual = publish(tmp_path, found())
    other = site.folder("growth_analysis", "harbour", NOW.replace(month=12), {"days": 60})
    with site.locked(tmp_path):
        newer = found(as_of="2026-12-01T00:00:00+00:00").to_json()
        site.put(tmp_path, other, {"index.html": "x", "result.json": newer})
        index.write(tmp_path)
    assert leads_to(tmp_path / "growth_analysis/harbour/latest/index.html") == usual / "index.html"


def test_latest_goes_with_the_last_report(tmp_path):
    folder = publish(tmp_path, found())
    due.keep(tmp_path, [folder.relative_to(tmp_path).as_posix()], 0)
    assert not (folder.parent / "latest").exists()
    assert feed_of(tmp_path)[1] == []


def feed_of(root: Path) -> tuple[ElementTree.Element, list[dict[str, str]]]:
    """The feed, and of each entry what a reader makes of it; what RFC 4287 demands of it is there once."""
    atom = "{http://www.w3.org/2005/Atom}"
    top = ElementTree.parse(root / "feed.xml").getroot()
    assert top.tag == f"{atom}feed"
    assert len(top.findall(f"{atom}author/{atom}name")) == 1
    entries = top.findall(f"{atom}entry")
    for element in [top, *entries]:
        for name in ("id", "title", "updated"):
            assert len(element.findall(f"{atom}{name}")) == 1
        assert datetime.fromisoformat(element.findtext(f"{atom}updated")).tzinfo
        assert len(element.findall(f"{atom}link[@rel='alternate']")) == 1
    found = [
        {name: entry.findtext(f"{atom}{name}") for name in ("id", "title", "updated", "summary")}
        | {"href": entry.find(f"{atom}link").get("href")}
        for entry in entries
    ]
    assert len({entry["id"] for entry in found}) == len(found)
    return top, found


def test_the_feed_tells_of_the_newest_first_with_ids_that_stay(tmp_path):
    publish(tmp_path, found())
    folder = publish(
        tmp_path, found(as_of="2026-12-01T06:00:00+00:00", verdict="at risk", headline=EVIL + "\x07")
    )
    top, entries = feed_of(tmp_path)
    assert [entry["updated"] for entry in entries] == ["2026-12-01T06:00:00Z", "2026-11-01T00:00:00Z"]
    assert entries[0]["title"] == "Growth analysis, Harbour (harbour): at risk"
    assert entries[0]["summary"] == EVIL + "\N{REPLACEMENT CHARACTER}"
    assert (tmp_path / entries[0]["href"]).resolve() == folder / "index.html"
    assert top.findtext("{*}updated") == "2026-12-01T06:00:00Z"
    publish(tmp_path, found(headline="Made again."))
    again = feed_of(tmp_path)
    assert again[0].findtext("{*}id") == top.findtext("{*}id")
    assert [entry["id"] for entry in again[1]] == [entry["id"] for entry in entries]
    assert again[1][1]["summary"] == "Made again."
    assert 'href="feed.xml"' in (tmp_path / "index.html").read_text()


def test_the_feeds_links_are_the_sites_address_once_it_is_known(tmp_path):
    publish(tmp_path, found())
    ids = [entry["id"] for entry in feed_of(tmp_path)[1]]
    with site.locked(tmp_path):
        index.write(tmp_path, "https://reports.example.org/capacity")
    publish(tmp_path, found(tenant="lights"))
    top, entries = feed_of(tmp_path)
    assert entries[0]["href"].startswith("https://reports.example.org/capacity/growth_analysis/")
    assert top.find("{*}link[@rel='self']").get("href") == "https://reports.example.org/capacity/feed.xml"
    assert set(ids) < {entry["id"] for entry in entries}


def test_of_very_many_reports_the_feed_tells_the_newest(tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "LONGEST", 2)
    for month in (3, 1, 2):
        publish(tmp_path, found(as_of=f"2026-0{month}-01T00:00:00+00:00"))
    assert [entry["updated"][:7] for entry in feed_of(tmp_path)[1]] == ["2026-03", "2026-02"]
