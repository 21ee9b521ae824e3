"""The site's own pages in a real browser: found, searched, read and gone through without a mouse."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from capacity_kit.reporting import index, site
from capacity_kit.reporting.result import Result, Runway
from capacity_kit.reporting.serve import Server

STATES = ("failed", "cannot be trusted", "at risk", "ok")

pytestmark = pytest.mark.browser


def report(tenant: str, name: str, month: int, number: int) -> Result:
    lasts = Runway(
        resource=f"STORAGE|documents|{tenant}",
        tenant=name,
        resource_type="STORAGE",
        resource_name="documents",
        level="capacity",
        level_percent=100,
        is_at_risk=number < 45,
        method="ENGINE",
        p10_days=number,
        p50_days=2 * number,
        p90_days=None,
    )
    return Result(
        verdict=STATES[number % 4],
        headline=f"Storage documents of {name} is as likely as not full in {2 * number} days.",
        runway=(lasts,) if number % 4 else (),
        simulated="All of it.",
        notebook="growth_analysis",
        title="Growth analysis",
        tenant=tenant,
        tenant_label=f"{name} ({tenant})",
        as_of=datetime(2026, month, 1, tzinfo=UTC).isoformat(),
    )


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """A site of many tenants, in every state."""
    root = tmp_path_factory.mktemp("crowded-site")
    with site.locked(root), pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "LONG", 30)
        for number in range(35):
            for month in (10, 11) if number < 20 else (11,):
                found = report(f"tenant-{number:03d}", f"Company {number}", month, number)
                place = site.folder(found.notebook, found.tenant, datetime.fromisoformat(found.as_of), {})
                site.put(root, place, {"index.html": "<h1>A report</h1>", "result.json": found.to_json()})
        index.write(root)
    return root


KINDS = {
    "front": "index.html",
    "attention": "_attention/index.html",
    "tenants": "_tenant/page-2.html",
    "tenant": "_tenant/tenant-003/index.html",
    "month": "_month/2026-11/page-2.html",
}
"""A page of each kind that the site makes of its own."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_of_the_site_is_readable(crowded, open_page, readable, cut_off, kind):
    path = crowded / KINDS[kind]
    assert path.stat().st_size < 500_000
    for size in ("desktop", "phone"):
        page = open_page(path, size)
        readable(page, path)
        for part in ("Company", "2026-11"):
            assert part in page.locator("main").inner_text()
        if size == "phone":
            assert cut_off(page) == []
    lines = page.locator("svg.spark").all()
    assert lines or kind in ("tenants", "month"), "those are of tenants with one report"
    for line in lines:
        assert line.get_attribute("aria-label").startswith("Runway over 2 reports")


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_of_the_site_is_accessible(crowded, open_page, accessible, kind):
    page = open_page(crowded / KINDS[kind], "phone")
    if kind == "front":
        page.get_by_label("Find a report").fill("company")
        page.locator("#hits li").first.wait_for()
    accessible(page)


@pytest.fixture
def front(crowded):
    """The front page by both ways of reading it: from the folder, and from the server."""
    with Server(crowded, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield [(crowded / "index.html").as_uri(), server.url]
        server.shutdown()


def test_the_search_finds_by_words_and_filters_with_the_keyboard_alone(front, open_page):
    for address in front:
        page = open_page(address, "phone")
        base = address.removesuffix("index.html")
        assert page.beyond == [address], "what it looks through is not loaded before somebody searches"
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "q"
        page.keyboard.type("CÓMPANY 7 oct")
        said = page.get_by_role("status")
        page.get_by_text("No report has all of that.").wait_for()
        for _ in "oct":
            page.keyboard.press("Backspace")
        page.keyboard.type("2026-10")
        page.get_by_text("2 reports, the newest first.").wait_for()
        hits = page.locator("#hits li")
        assert [hit.split("\n")[0] for hit in hits.all_inner_texts()] == [
            "Growth analysis, Company 7 (tenant-007)",
            "Growth analysis, Company 17 (tenant-017)",
        ]
        page.keyboard.press("Escape")
        assert said.inner_text() == ""
        assert hits.count() == 0
        page.get_by_label("State").select_option("cannot be trusted")
        page.get_by_label("Month").select_option("2026-10")
        assert said.inner_text() == "5 reports, the newest first."
        assert set(page.beyond) == {address, f"{base}search.js"}
        assert page.said == []
        hits.first.locator("a").click()
        assert page.locator("h1").inner_text() == "A report"


def test_without_scripts_the_search_is_not_there_and_all_else_is(crowded, open_page):
    page = open_page(crowded / "index.html", java_script_enabled=False)
    assert not page.locator("form").is_visible()
    page.get_by_role("link", name="each with its state").click()
    page.get_by_role("link", name="Company 7 ").click()
    assert page.locator("h1").inner_text() == "Company 7 (tenant-007)"
    page.locator("main table a").last.click()
    assert page.url.endswith("/2026-10-01T000000Z/index.html")
