"""Published pages in a real browser: opened at a size, and what is asked of each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from capacity_kit.reporting import site

SIZES = {"desktop": (1200, 900), "phone": (360, 740)}


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page at a size; what it requested beyond itself and what ran is kept on it."""
    contexts = []

    def opened(path: Path | str, size: str = "desktop", scheme: str = "light", **more: Any) -> Any:
        width, height = SIZES[size]
        view = {"width": width, "height": height}
        context = browser.new_context(viewport=view, color_scheme=scheme, **more)
        contexts.append(context)
        page = context.new_page()
        page.beyond, page.said = [], []
        page.on("request", lambda r: page.beyond.append(r.url) if not r.url.startswith("data:") else None)
        page.on("console", lambda message: page.said.append(message.text))
        page.on("dialog", lambda dialog: page.said.append(dialog.message))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(path if isinstance(path, str) else path.resolve().as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def readable() -> Callable[[Any, Path], None]:
    """Asserts what holds for every page."""
    return _assert_readable


def _assert_readable(page: Any, path: Path) -> None:
    assert page.beyond == [path.resolve().as_uri()], "the page asks for nothing but itself"
    assert page.said == []
    assert page.locator("h1").count() == 1
    assert page.locator("h1").is_visible()
    over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(over) == 0, "the page is no wider than the screen"
    for link in page.locator("nav.contents a[href^='#']").all():
        assert page.locator(f"[id='{link.get_attribute('href')[1:]}']").count() == 1
    for image in page.locator("img").all():
        assert len(image.get_attribute("alt")) > 20
        assert image.evaluate("i => i.naturalWidth") > 0
    assert page.locator("iframe, link[rel=stylesheet], [onclick], [onerror]").count() == 0
    has_search = path.name == "index.html" and (path.parent / site.SEARCH).exists()
    assert page.locator("script").count() == has_search, "the front page's search is the only script"
    assert page.evaluate("window.hacked") is None


_CUT_OFF = """() => [
  ...document.querySelectorAll('.table, .table td, .table caption, .picture, .picture img')
].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width && (box.right > innerWidth + 1 || box.left < -1 || e.scrollWidth > e.clientWidth + 1);
}).map(e => e.className + ' ' + e.textContent.slice(0, 40))"""


@pytest.fixture
def cut_off() -> Callable[[Any], list[str]]:
    """What of a page's tables and figures a reader has to look for beyond an edge."""
    return lambda page: page.evaluate(_CUT_OFF)


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core, as a script."""
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def accessible(axe: str) -> Callable[[Any], None]:
    """Asserts that axe-core has nothing against a page: in light and dark, on a phone and on a desk."""

    def violations(page: Any, only: str | None = None) -> list[str]:
        found = page.evaluate("only => axe.run(only ? {runOnly: [only]} : {})", only)
        assert found["passes"], "it looked"
        return [f"{v['id']}: {node['html'][:200]}" for v in found["violations"] for node in v["nodes"]]

    def asserted(page: Any) -> None:
        page.evaluate(axe)
        assert violations(page) == []
        page.emulate_media(color_scheme="dark")
        assert violations(page, "color-contrast") == []
        width, height = SIZES["desktop"]
        page.set_viewport_size({"width": width, "height": height})
        assert violations(page) == []

    return asserted
