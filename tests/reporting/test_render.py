"""A page stands alone: no code, no script, no address, and nothing of what a tenant wrote is markup."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from capacity_kit.reporting import render
from capacity_kit.reporting.result import MIME, Failure, Kpi, Result

EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>'
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


CRUMBS = ("../../../index.html", "../../../_tenant/", "../latest/index.html")
"""Where a page leads: within its own site."""


def shown(*outputs: dict, source: str = "secret_code()") -> object:
    return new_code_cell(
        source, execution_count=1, outputs=[new_output("display_data", **output) for output in outputs]
    )


def assert_harmless(html: str) -> None:
    for element in BeautifulSoup(html, "html.parser").find_all(True):
        assert element.name not in ("script", "iframe", "object", "embed", "form", "base")
        assert not [name for name in element.attrs if name.startswith("on")]
        for name in ("src", "href", "srcset", "action"):
            assert element.get(name, "#").startswith(("#", "data:", *CRUMBS)), element


def page(*cells: object, **facts: object) -> str:
    result = Result(
        **{
            "verdict": "ok",
            "headline": "Fine.",
            "title": "Growth",
            "as_of": "2026-11-01T00:00:00+00:00",
            **facts,
        }
    )
    return render.page(new_notebook(cells=[new_markdown_cell("# Growth\n\nOpening."), *cells]), result, {})


def test_code_and_results_never_show():
    html = page(shown({"data": {MIME: {"verdict": "ok"}, "text/html": "<p>cards</p>"}}))
    assert "secret_code" not in html
    assert "<p>cards</p>" not in html, "the cards stand in the header, once"


@pytest.mark.parametrize("mime", ["text/html", "text/markdown", "text/plain"])
def test_whatever_an_output_holds_cannot_run_or_load(mime):
    html = page(shown({"data": {mime: EVIL + '<a href="https://example.org">x</a><p onclick="y()">z</p>'}}))
    assert_harmless(html)
    assert "<img" not in html


def test_markdown_is_escaped_and_its_links_lead_nowhere():
    html = page(
        new_markdown_cell(
            f"## {EVIL}\n\n{EVIL}\n\nGo [out](https://example.org) ![i](https://example.org/i.png)"
        )
    )
    assert_harmless(html)
    assert "&lt;script&gt;" in html
    assert ">out</a>" in html


def test_a_cell_keeps_the_name_of_its_column():
    html = page(
        shown(
            {
                "data": {
                    "text/html": f"<table><tr><td data-label='Status &lt;b&gt;' data-x='{EVIL}'>x</td></tr></table>"
                }
            }
        )
    )
    cell = BeautifulSoup(html, "html.parser").select_one("main td")
    assert cell.attrs == {"data-label": "Status <b>"}


def test_every_cell_of_the_page_says_its_column():
    html = page(parameters={"days": 30})
    for table in BeautifulSoup(html, "html.parser").find_all("table"):
        heads = [th.text for th in table.find_all("th")]
        for row in table.select("tbody tr"):
            assert [td["data-label"] for td in row.find_all("td")] == heads


def test_names_are_escaped_in_every_part_of_the_header():
    failure = Failure(EVIL, 3, EVIL, EVIL)
    facts = {
        "title": EVIL,
        "tenant_label": EVIL,
        "headline": EVIL,
        "simulated": EVIL,
        "parameters": {EVIL: EVIL},
    }
    for more in (
        {"kpis": (Kpi(EVIL, EVIL, "bad", EVIL),), "versions": {EVIL: EVIL}},
        {"failure": failure, "verdict": "failed"},
    ):
        html = page(**facts, **more)
        assert_harmless(html)
        assert "<img" not in html


def test_a_figure_keeps_its_alt_text_and_its_caption_escaped():
    about = {"image/png": {"alt": EVIL + '" x="', "caption": EVIL, "width": 840, "height": 360}}
    html = page(shown({"data": {"image/png": DOT, "text/plain": "[figure]"}, "metadata": about}))
    assert_harmless(html)
    (image,) = BeautifulSoup(html, "html.parser").find_all("img")
    assert image["alt"] == EVIL + '" x="'
    assert (image["width"], image["height"]) == ("840", "360")
    assert "[figure]" not in html
    (said,) = BeautifulSoup(html, "html.parser").select("details.said")
    assert said.text == "In words" + EVIL + '" x="', "where the figure is too small to be read"


def test_one_h1_and_a_table_of_contents_that_resolves():
    html = page(
        *(new_markdown_cell(f"## {name}\n\nText.") for name in ("History", "Runway", "Runway", "Läufe & <b>"))
    )
    assert html.count("<h1") == 1
    links = [a["href"][1:] for a in BeautifulSoup(html, "html.parser").select("a[href^='#']")]
    assert len(set(links)) == 5, "four headings and the skip link"
    for link in links:
        assert html.count(f'id="{link}"') == 1


def test_a_failure_stands_on_top_with_its_cell_and_error():
    html = page(
        new_markdown_cell("## Later"),
        shown(source=f"1 / 0  # {EVIL}"),
        verdict="failed",
        failure=Failure("growth_analysis", 3, "History", "ZeroDivisionError: division by zero"),
    )
    assert_harmless(html)
    assert html.index("not complete") < html.index("Contents")
    for part in ("growth_analysis", "cell 3", "History", "ZeroDivisionError: division by zero"):
        assert part in html
    assert BeautifulSoup(html, "html.parser").select_one(".failure details pre").text == f"1 / 0  # {EVIL}"


def test_simulated_data_is_said_on_the_face():
    assert "Simulated data." in page(simulated="Every measurement comes from a simulation.")
    assert "Simulated data." not in page()


def test_warnings_stay_out_and_printed_text_is_text():
    cell = new_code_cell(
        "",
        outputs=[
            new_output("stream", name="stderr", text="DeprecationWarning"),
            new_output("stream", name="stdout", text=EVIL),
        ],
    )
    html = page(cell)
    assert "DeprecationWarning" not in html
    assert_harmless(html)


def test_a_page_stays_small_whatever_is_printed_and_says_what_it_leaves_out():
    said = [new_output("stream", name="stdout", text="<" * 60_000) for _ in range(3)]
    said.append(new_output("display_data", data={"text/plain": "x" * 1_000_000}))
    html = page(new_code_cell("", outputs=said))
    assert len(html) < 450_000
    found = BeautifulSoup(html, "html.parser").main
    assert [len(pre.text) for pre in found.find_all("pre")] == [60_000, 40_000]
    assert [p.text.split(" ", 1)[0] for p in found.select("p.more")] == ["20,000", "60,000", "1,000,000"]
    assert found.select("p.more")[0].text.endswith(
        "more characters were printed here; they stand in notebook.ipynb beside this page."
    )


def test_what_changed_stands_before_what_the_notebook_shows():
    html = page(tenant="ALL", compared_with="2026-10-01T00:00:00+00:00", changes=(f"Newly at risk: {EVIL}.",))
    assert_harmless(html)
    section = BeautifulSoup(html, "html.parser").select_one("section.changes")
    assert section.h2.text == "What changed since the report of 2026-10-01 00:00 UTC"
    assert [li.text for li in section.select("li")] == [f"Newly at risk: {EVIL}."]
    assert html.index("<h1") < html.index("What changed") < html.index('id="content"')
    first = BeautifulSoup(page(tenant="ALL"), "html.parser").select_one("section.changes")
    assert (first.h2.text, len(first.select("li"))) == ("What changed", 1)
    assert "first report" in first.li.text


def test_a_page_leads_back_to_the_site_and_to_its_tenant():
    crumbs = BeautifulSoup(page(tenant="SYSTEM", tenant_label=EVIL), "html.parser").select("nav.crumbs a")
    assert [a["href"] for a in crumbs] == [
        "../../../index.html",
        "../../../_tenant/_system/index.html",
        "../latest/index.html",
    ]
    assert crumbs[1].text == f"{EVIL}: every report"


def test_a_figure_of_no_concern_is_folded_and_said_in_a_line():
    for folded in ("", f"{EVIL}: 300 days"):
        about = {"image/png": {"alt": "A line.", "folded": folded}}
        html = page(shown({"data": {"image/png": DOT}, "metadata": about}))
        assert_harmless(html)
        found = BeautifulSoup(html, "html.parser").select(".folded > details + figure.rest")
        assert len(found) == bool(folded)
        if folded:
            assert found[0].find_previous_sibling("details").text == folded


def test_a_narrow_screen_has_a_figure_of_its_own_where_there_is_one():
    about = {"image/png": {"alt": "Bars.", "narrow": {"png": DOT, "width": 420, "height": 300}}}
    html = page(shown({"data": {"image/png": DOT}, "metadata": about}))
    assert_harmless(html)
    (source,) = BeautifulSoup(html, "html.parser").select("picture > source")
    assert source["srcset"] == f"data:image/png;base64,{DOT}"
    assert (source["media"], source["width"]) == ("(max-width: 40rem)", "420")
    assert BeautifulSoup(html, "html.parser").select_one("picture > img")["alt"] == "Bars."


def test_no_two_parts_of_a_page_have_one_name():
    table = {"data": {"text/html": '<div class="table" role="region" aria-label="A &amp; B">x</div>'}}
    figure = {"data": {"image/png": DOT}, "metadata": {"image/png": {"alt": "A line."}}}
    html = page(shown(table, figure, table, figure))
    named = [part["aria-label"] for part in BeautifulSoup(html, "html.parser").select("main [role=region]")]
    assert named == ["A & B", "Figure", "A & B (2)", "Figure (2)"]


def test_a_report_on_one_tenant_does_not_repeat_whose_it_is():
    for tenant, classes in (
        ("ALL", None),
        ("", None),
        ("harbour", ["one-tenant"]),
        ("SYSTEM", ["one-tenant"]),
    ):
        assert BeautifulSoup(page(tenant=tenant), "html.parser").body.get("class") == classes
