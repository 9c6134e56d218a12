"""The pages in a real browser: nothing overflows on a phone or a desk, nothing is fetched."""

from __future__ import annotations

import shutil

import pytest

from ex_cx.reporting.page import render_page
from ex_cx.reporting.report import write_report_parts

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SPILT = """() => [...document.querySelectorAll('main *')].filter(node =>
    !node.closest('.scroll, .wide, svg, .hidden, .guards thead')
    && node.getBoundingClientRect().right > innerWidth + 1).map(node => node.outerHTML.slice(0, 80))
"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="There is no Chromium to open pages with.")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed.")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.mark.parametrize("kind", ["report", "hostile_report"])
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_fit_and_fetch_nothing(browser, request, tmp_path, kind, width, scheme):
    write_report_parts(request.getfixturevalue(kind), tmp_path)
    path = tmp_path / "report.html"
    path.write_text(render_page(tmp_path, {"study": "s", "title": "t"}, ""), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    fetched, said = [], []
    page.on("request", lambda one: fetched.append(one.url))
    page.on("console", lambda one: said.append(one.text))
    page.on("dialog", lambda one: said.append(one.message))
    page.goto(path.as_uri())
    assert fetched == [path.as_uri()]
    assert said == []
    assert page.evaluate(WIDER) <= 0
    assert page.evaluate(SPILT) == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 24, 28)")
    page.close()
