"""The published pages in a real browser: what a reader sees, on a desk and on a phone, and what no name can do."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from capacity_kit import settings, vault
from capacity_kit.analysis import run as analysis
from capacity_kit.reporting import render, run
from capacity_kit.reporting.result import Failure, Result

NOTEBOOKS = ("deployment_verification", "growth_analysis", "monthly_review", "threshold_tuning")
SIZES = ("desktop", "phone")
EVIL = '<script>window.hacked = 1</script><img src=x onerror="window.hacked=1">'
AS_OF = "2026-11-01T00:00:00+00:00"

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def published(seeded, tmp_path_factory):
    """The four reports on the seeded database, and the index."""
    root = tmp_path_factory.mktemp("seeded-site")
    where = settings.Settings(site=root, as_of=pd.Timestamp(AS_OF).to_pydatetime())
    return root, {name: run.run(name, {}, settings=where, dsn=seeded) for name in NOTEBOOKS}


@pytest.fixture(scope="module")
def evil(server18, tmp_path_factory):
    """The four reports on a database whose every name is an attack."""
    database = server18.create("deployed")
    key = "sha256('evil')"
    database.run("INSERT INTO auth.tenant_h VALUES (sha256('evil'), %s, now(), 'test')", EVIL)
    database.run(
        "INSERT INTO auth.tenant_profile_s (tenant_hk, load_date, hash_diff, tenant_name, record_source) "
        f"VALUES ({key}, now(), '', %s, 'test')",
        EVIL,
    )
    with database.vault() as opened:
        opened.load([_attack(opened.tenant(EVIL))], "SIMULATION")
        opened.analyze_history(vault.ALL, AS_OF)
        for origin in opened.origins(vault.ALL, AS_OF, "ENGINE"):
            assert all(analysis.analyse(opened, as_of=origin))
        opened.make_thresholds(vault.ALL)
    database.run(f"SELECT capacity_planning.create_capacity_threshold({key}, %s, 'STORAGE', 70)", EVIL)
    root = tmp_path_factory.mktemp("evil-site")
    where = settings.Settings(site=root, as_of=pd.Timestamp(AS_OF).to_pydatetime())
    yield (
        root,
        {name: run.run(name, {"tenant": EVIL}, settings=where, dsn=database.dsn) for name in NOTEBOOKS},
    )
    database.drop()


def _attack(tenant: str) -> pd.DataFrame:
    times = pd.date_range(end=AS_OF, periods=400, freq="6h")
    usage = 60 + np.arange(400) / 10 - 30 * (np.arange(400) > 200)
    return pd.DataFrame(
        {
            "measured_at": times,
            "tenant": tenant,
            "resource_type": "STORAGE",
            "resource_name": EVIL,
            "value": usage,
            "capacity": 100.0,
            "unit": "<b>units",
            "line": np.arange(1, 401),
        }
    )


def assert_no_code(page) -> None:
    text = page.locator("body").inner_text()
    for word in ("import ", "study.", "show.table", "def ", "Traceback", "In [", "Out["):
        assert word not in text


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_report_is_readable(published, open_page, name, size, readable):
    done = published[1][name]
    assert done.result.failure is None
    page = open_page(done.page, size)
    readable(page, done.page)
    assert_no_code(page)
    assert page.locator("nav.contents a").count() >= 4
    assert page.locator(".kpi").count() >= 4
    assert page.locator(".banner").inner_text().startswith("Simulated data.")
    header = page.locator("header").inner_text()
    assert "as of 2026-11-01 00:00 UTC. Measured up to then." in header
    footer = page.locator("footer").inner_text()
    assert "PostgreSQL 18" in footer
    assert "Python 3" in footer
    for caption in page.locator("caption").all():
        assert caption.inner_text().strip()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_nothing_is_hidden_sideways_on_a_phone(published, open_page, name, cut_off):
    for path in (published[1][name].page, published[0] / "index.html"):
        page = open_page(path, "phone")
        for unfolded in (False, True):
            page.evaluate(
                "open => document.querySelectorAll('.folded > details').forEach(d => d.open = open)", unfolded
            )
            for size in ({"width": 390, "height": 844}, {"width": 320, "height": 640}):
                page.set_viewport_size(size)
                assert cut_off(page) == []
        for said in page.locator("figure").all():
            assert said.locator("summary").is_visible()
        label = "e => getComputedStyle(e, '::before').content"
        for cell in page.locator("tbody tr").first.locator("td:not(:empty)").all():
            heading = cell.get_attribute("data-label")
            assert cell.evaluate(label) == ("none" if heading in ("Tenant", "Resource") else f'"{heading}"')


def test_on_a_desk_a_table_is_a_table(published, open_page):
    page = open_page(published[1]["growth_analysis"].page)
    cell = page.locator("tbody td").first
    assert cell.evaluate("e => getComputedStyle(e).display") == "table-cell"
    assert cell.evaluate("e => getComputedStyle(e, '::before').content") == "none"


def test_a_report_has_figures_and_stays_small(published):
    html = published[1]["growth_analysis"].page.read_text()
    assert html.count("<img ") == 7
    assert all(done.page.stat().st_size < 500_000 for done in published[1].values())


@pytest.mark.parametrize("size", SIZES)
def test_the_index_leads_to_every_report(published, open_page, size, readable):
    root, reports = published
    page = open_page(root / "index.html", size)
    readable(page, root / "index.html")
    text = page.locator("body").inner_text()
    assert "4 reports published" in text
    for done in reports.values():
        assert done.result.headline in text
        href = done.page.relative_to(root).as_posix()
        assert page.locator(f"a[href='{href}']").count() >= 1
    page.locator("main table a[href]").first.click()
    assert page.locator("h1").count() == 1
    assert page.url.endswith("Z/index.html")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_report_is_accessible(published, open_page, name, accessible):
    accessible(open_page(published[1][name].page, "phone"))


def test_printed_text_is_wrapped_and_needs_no_scrolling(open_page, tmp_path, accessible, readable):
    long, lines = "x" * 5_000, "".join(f"row {n:03d}   " * 30 + "\n" for n in range(50))
    outputs = [new_output("stream", name="stdout", text=text) for text in (long, lines)]
    notebook = new_notebook(cells=[new_code_cell("y = 1 # " + "z" * 500, outputs=outputs)])
    failure = Failure(notebook="printing", cell=1, section="", error="ValueError: " + "e" * 1_000)
    done = Result("failed", "Failed.", title="Printing", as_of=AS_OF, failure=failure)
    file = tmp_path / "index.html"
    file.write_text(render.page(notebook, done, {}))
    page = open_page(file, "phone")
    page.locator(".failure summary").click()
    readable(page, file)
    scrolled = (
        "[...document.querySelectorAll('pre, .error')].filter(e => e.scrollWidth > e.clientWidth).length"
    )
    assert page.locator("pre").count() == 3
    assert page.evaluate(scrolled) == 0
    accessible(page)


def test_the_latest_address_is_accessible_and_leads_on(published, open_page, tmp_path, accessible):
    latest = published[0] / "growth_analysis/_all/latest/index.html"
    page = open_page(latest)
    page.wait_for_url(published[1]["growth_analysis"].page.resolve().as_uri())
    still = tmp_path / "index.html"
    still.write_text(latest.read_text().replace('http-equiv="refresh"', 'name="still"'))
    accessible(open_page(still, "phone"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_names_that_attack_are_only_names(evil, open_page, name, readable):
    done = evil[1][name]
    assert done.result.failure is None, done.result.failure
    for size in SIZES:
        page = open_page(done.page, size)
        readable(page, done.page)
        assert "<script>" in page.locator("body").inner_text(), "the name is shown as it is"
    for file in done.page.parent.glob("*.html"):
        assert "<script" not in file.read_text()


def test_names_that_attack_are_only_names_on_the_index(evil, open_page, readable):
    root = evil[0]
    page = open_page(root / "index.html", "phone")
    readable(page, root / "index.html")
    assert "<script>" in page.locator("body").inner_text()
    page.get_by_label("Find a report").fill("hacked")
    page.locator("#hits li").first.wait_for()
    assert EVIL in page.locator("#hits").inner_text()
    assert page.evaluate("window.hacked") is None
    assert page.said == []
    for path in root.rglob("*"):
        assert not set(path.name) & set('<>"&; ')


def test_dark_and_print_are_looked_after(published, open_page, tmp_path):
    done = published[1]["growth_analysis"]
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = (open_page(done.page, scheme=scheme).evaluate(ground) for scheme in ("light", "dark"))
    assert light != dark
    page = open_page(done.page, scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate(ground) == "rgb(255, 255, 255)", "paper is white"
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").stat().st_size > 50_000
    folded = page.locator(".folded .rest")
    assert folded.count() > 20
    assert all(part.is_visible() for part in folded.all()), "paper unfolds nothing, so it shows all"
    page.emulate_media(media="screen")
    assert not any(part.is_visible() for part in folded.all())
    page.locator(".folded > details > summary").first.click()
    assert folded.first.is_visible()


def test_a_failed_report_says_so_first(published, seeded, open_page, tmp_path, readable):
    copy = tmp_path / "site"
    shutil.copytree(published[0], copy)
    broken = (
        run.find("growth_analysis").read_text().replace("plots.runway(outlook)", "plots.runaway(outlook)")
    )
    (tmp_path / "growth_analysis.ipynb").write_text(broken)
    where = settings.Settings(site=copy, as_of=pd.Timestamp("2026-10-01T00:00:00Z").to_pydatetime())
    done = run.run(str(tmp_path / "growth_analysis.ipynb"), {}, settings=where, dsn=seeded)
    assert done.result.exit_code == 4
    page = open_page(done.page, "phone")
    readable(page, done.page)
    assert "AttributeError" in page.locator(".failure").inner_text()
    assert "How long it lasts" in page.locator(".failure").inner_text()
    front = open_page(copy / "index.html")
    assert front.locator(".mark.failed").count() >= 1
