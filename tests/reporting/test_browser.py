"""The pages in a real browser: nothing overflows on a phone or a desk, nothing is fetched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ex_cx.reporting.clean import cleaned
from ex_cx.reporting.index import render_index
from ex_cx.reporting.page import render_page
from ex_cx.reporting.report import as_json, write_report_parts
from tests.reporting.browsing import WIDER, chromium
from tests.reporting.conftest import make_report

SPILT = """() => [...document.querySelectorAll('main *')].filter(node =>
    !node.closest('.scroll, .wide, svg, .hidden, .guards thead')
    && node.getBoundingClientRect().right > innerWidth + 1).map(node => node.outerHTML.slice(0, 80))
"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def opened(browser, tmp_path):
    """Opens markup in a browser without scripts: the page, what it fetched, what it said."""
    contexts = []

    def show(markup: str, *, width: int = 1280, scheme: str = "light"):
        path = tmp_path / "page.html"
        path.write_text(markup, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=False
        )
        contexts.append(context)
        page = context.new_page()
        fetched, said = [], []
        page.on("request", lambda one: fetched.append(one.url))
        page.on("console", lambda one: said.append(one.text))
        page.on("dialog", lambda one: said.append(one.message))
        page.goto(path.as_uri())
        assert fetched == [path.as_uri()]
        assert said == []
        return page

    yield show
    for context in contexts:
        context.close()


def page_of(report, folder, notebook=""):
    write_report_parts(report, folder)
    return render_page(folder, {"study": "s", "title": "t"}, notebook)


def index_of(report):
    card = {"name": "a", "notebook": "panel", "href": "a.html", "reason": "", "labels": {}}
    card |= {"report": as_json(report), "segment": "", "status": "ok"}
    failed = card | {"status": "failed", "reason": report.title, "name": "b"}
    return render_index(
        {"study": "s", "title": report.title}, [card, card | {"segment": report.title}, failed]
    )


@pytest.mark.parametrize("kind", ["report", "hostile_report"])
@pytest.mark.parametrize("make", ["page", "index"])
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_fit_and_fetch_nothing(opened, request, tmp_path, kind, make, width, scheme):
    report = request.getfixturevalue(kind)
    markup = index_of(report) if make == "index" else page_of(report, tmp_path)
    page = opened(markup, width=width, scheme=scheme)
    assert page.evaluate(WIDER) <= 0
    assert page.evaluate(SPILT) == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 24, 28)")


def test_all_of_a_page_can_be_opened_and_read_without_scripts(opened, report, tmp_path):
    page = opened(page_of(report, tmp_path, "<p>cells of the notebook</p>"), width=390)
    for words in (report.answer, report.grade, report.limits[0]):
        assert page.get_by_text(words, exact=True).is_visible()
    for name, inside in (
        ("Method", "Standard errors"),
        ("Provenance", "rows in"),
        ("Full output of the notebook", "cells of the notebook"),
    ):
        assert not page.get_by_text(inside).is_visible()
        page.get_by_text(name, exact=True).click()
        assert page.get_by_text(inside).is_visible()
    assert page.evaluate(WIDER) <= 0


def test_the_keyboard_reaches_the_report_and_each_scrolling_part(opened, report, tmp_path):
    page = opened(page_of(report, tmp_path), width=390)
    page.keyboard.press("Tab")
    skip = page.get_by_text("Skip to the report")
    assert skip.bounding_box()["x"] >= 0
    stuck = page.evaluate(
        """() => [...document.querySelectorAll('main *')].filter(node =>
            node.scrollWidth > node.clientWidth + 1
            && ['auto', 'scroll'].includes(getComputedStyle(node).overflowX)
            && node.tabIndex < 0).map(node => node.outerHTML.slice(0, 80))"""
    )
    assert stuck == []


def test_a_printed_page_is_light_holds_the_method_and_leaves_the_cells_out(
    opened, report, tmp_path
):
    page = opened(page_of(report, tmp_path, "<p>cells</p>"), scheme="dark")
    page.emulate_media(media="print")
    colours = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert colours == ["rgb(255, 255, 255)", "rgb(27, 31, 36)"]
    assert page.get_by_text("Standard errors").is_visible()
    assert not page.get_by_text("Full output of the notebook").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_in_a_notebook_brings_its_own_style_and_leaves_the_rest_alone(
    opened, report, scheme
):
    around = "<style>table { color: red } tr { background: lime }</style><p id='out'>beside</p>"
    page = opened(f"<body>{around}{report._repr_html_()}</body>", scheme=scheme)
    look = page.evaluate(
        """() => {
            const of = (what) => getComputedStyle(document.querySelector(what));
            return [of('.ex-cx').backgroundColor, of('.ex-cx td').color,
                of('.ex-cx tr').backgroundColor, of('.ex-cx .answer').borderLeftWidth,
                of('.ex-cx .hidden').width, of('#out').fontFamily == of('.ex-cx').fontFamily];
        }"""
    )
    assert look == [
        "rgb(255, 255, 255)",
        "rgb(27, 31, 36)",
        "rgba(0, 0, 0, 0)",
        "4px",
        "1px",
        False,
    ]


ATTACKS = (
    "<script>window.hit = 1</script>",
    "\"><img src=x onerror='window.hit = 2'>",
    "'><svg onload=window.hit=3>",
    "</script></style></title><script>window.hit = 4</script>",
    "javascript:window.hit=5",
    "{{ 7 * 7 }}<iframe srcdoc='<script>top.hit = 6</script>'>",
    "<base href='http://x.test'><a href=javascript:window.hit=7>go</a>",
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_names_from_data_never_run(browser, tmp_path, attack):
    labels = {"cx_nps": attack, "ex_occupancy_pct": attack}
    report = make_report(labels, title=attack, segment=attack)
    report = replace(report, limits=(attack,), method=(attack, f"${attack}$"), counts={attack: 1})
    manifest = {"study": attack, "title": attack, "run": attack, "inputs": {attack: {"x": attack}}}
    manifest |= {"parameters": {"given": {attack: attack}}, "started": "2026-11-22"}
    write_report_parts(report, tmp_path)
    (tmp_path / "page.html").write_text(render_page(tmp_path, manifest, cleaned(attack)))
    (tmp_path / "index.html").write_text(index_of(report))
    for name in ("page", "index"):
        context = browser.new_context()  # its scripts run
        page, fetched = context.new_page(), []
        page.on("request", lambda one, seen=fetched: seen.append(one.url))
        page.goto((tmp_path / f"{name}.html").as_uri())
        for link in page.locator("main a[href]").all():
            assert not link.get_attribute("href").startswith("javascript")
        assert page.evaluate("window.hit") is None
        assert len(fetched) == 1
        assert page.locator("h1").inner_text().split() == attack.split()
        assert page.locator("main img, main iframe, main base").count() == 0
        context.close()
