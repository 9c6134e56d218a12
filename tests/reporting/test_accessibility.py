"""Real reports of every kind in a real browser, as readers with a phone, a keyboard or no script.

axe-core looks at each page: light and dark, at a desk and on a phone, with everything unfolded.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ex_cx.linkage.sources import shared_path
from ex_cx.studies.runner import run_study
from tests.reporting.browsing import WIDER, chromium

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"  # 4.14.1, of npm
LARGEST = 400_000
UNFOLD = "document.querySelectorAll('details').forEach(part => part.open = true)"
MEDIATION = "exposure: ex_occupancy_pct, outcome: cx_nps, n_boot: 199, n_boot_checks: 99"
BAD = "bad"
SHAPES = {
    "parallel": "mediators: [cx_effort, cx_fcr_pct]",
    "serial": "mediators: [cx_effort, cx_fcr_pct], structure: serial",
    "moderated": "mediators: [cx_effort], moderator: ex_attrition_pct, moderated: [a]",
    "interaction": "mediators: [cx_effort], interaction: true",
    BAD: "mediators: [cx_effort], moderator: cx_effort, moderated: [a]",
}
RUNS = """\
notebooks: [data_audit, panel_regression]
segments: {region: [panel_regression]}
runs:
  - notebook: panel_regression
    name: controls
    parameters: {outcome: cx_retention_pct, controls: [ex_aht_seconds]}
"""
KINDS = ("data_audit", "controls", "panel_regression--cx_nps--region-north", *SHAPES)


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """A report of every kind, and the index of their study, in which one run failed."""
    folder = tmp_path_factory.mktemp("pages")
    embedded = shared_path("data", "contact_centre")
    whole = (embedded / "study.yaml").read_text(encoding="utf-8")
    runs = [
        f"  - {{notebook: mediation, name: {name}, parameters: {{{MEDIATION}, {shape}}}}}\n"
        for name, shape in SHAPES.items()
    ]
    head = whole[: whole.index("notebooks: [")]
    (folder / "study.yaml").write_text(head + RUNS + "".join(runs), encoding="utf-8")
    outcome = run_study(folder / "study.yaml", data_root=embedded, out=folder / "runs", jobs=2)
    good = [run for run in outcome.runs if run.status == "ok"]
    failed = [run for run in outcome.runs if run.status == "failed"]
    assert len(failed) == 1
    assert "more than one role" in failed[0].reason
    found = {run.run.name: run.folder / "report.html" for run in good}
    return {name: found[name] for name in KINDS if name != BAD} | {"index": outcome.index}


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def visit(browser):
    """Opens a page: what it fetched and complained of must be nothing."""
    contexts = []

    def show(path: Path, *, width: int = 1280, scheme: str = "light", script: bool = True):
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            java_script_enabled=script,
        )
        contexts.append(context)
        page = context.new_page()
        fetched, said = [], []
        context.on("request", lambda one: fetched.append(one.url))
        page.on("console", lambda one: said.append(one.text))
        page.on("pageerror", lambda one: said.append(str(one)))
        page.goto(path.as_uri())
        assert fetched == [path.as_uri()]
        assert said == []
        return page

    yield show
    for context in contexts:
        context.close()


def test_the_judge_is_the_published_one():
    assert hashlib.sha256(AXE.encode()).hexdigest() == AXE_SHA256


def violations(page) -> list[str]:
    page.evaluate(UNFOLD)
    page.evaluate(f"{AXE};0")
    return page.evaluate(
        """async () => (await axe.run(document, {resultTypes: ['violations']})).violations.flatMap(
            one => one.nodes.map(node => one.id + ': ' + node.html.slice(0, 120)))"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_on_any_page(visit, pages, width, scheme):
    found = {
        name: violations(visit(path, width=width, scheme=scheme)) for name, path in pages.items()
    }
    assert found == {name: [] for name in pages}


def test_axe_sees_what_is_wrong(visit, pages, tmp_path):
    page = pages["index"].read_text(encoding="utf-8")
    (tmp_path / "wrong.html").write_text(
        page.replace('lang="en"', "").replace("--soft: #59636e", "--soft: #ddd")
    )
    found = violations(visit(tmp_path / "wrong.html"))
    assert {"html-has-lang", "color-contrast"} <= {line.split(":")[0] for line in found}


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_overflows_with_everything_unfolded(visit, pages, width):
    wider = {}
    for name, path in pages.items():
        page = visit(path, width=width)
        page.evaluate(UNFOLD)
        wider[name] = page.evaluate(WIDER)
    assert wider == dict.fromkeys(pages, 0)


def test_reports_are_small(pages):
    sizes = {name: path.stat().st_size for name, path in pages.items()}
    assert {name: size for name, size in sizes.items() if size >= LARGEST} == {}


def test_everything_is_read_without_a_script(visit, pages):
    for path in pages.values():
        page = visit(path, width=390, script=False)
        for summary in page.locator("summary").all():
            closed = summary.evaluate("node => !node.parentElement.open")
            if closed and summary.is_visible():  # those within are reached once their own is open
                summary.click()
        hidden = page.evaluate(
            """() => {
                const texts = 'main :is(p, td, th, dd, figcaption)';
                return [...document.querySelectorAll(texts)].filter(node => node.textContent.trim()
                    && !node.closest('.guards thead, .notebook details')
                    && !node.checkVisibility()).map(node => node.textContent.slice(0, 60));
            }"""
        )
        assert hidden == []
        assert page.locator("button").count() == 0


def column(page, at: int) -> list[str]:
    return page.locator(f".scroll table >> nth=0 >> tbody tr > :nth-child({at})").all_inner_texts()


def test_tables_sort_by_keyboard_and_back(visit, pages):
    page = visit(pages["controls"])
    head = page.locator(".scroll table >> nth=0 >> thead th", has_text="std. error")
    printed = column(page, 4)
    numbers = [float(text.replace("−", "-")) for text in printed]
    assert numbers not in (sorted(numbers), sorted(numbers, reverse=True))
    head.locator("button").focus()
    for sort, wanted in (
        ("ascending", sorted(numbers)),
        ("descending", sorted(numbers, reverse=True)),
        (None, numbers),
    ):
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == sort
        assert [float(text.replace("−", "-")) for text in column(page, 4)] == wanted
        told = page.locator("body > [role=status]").inner_text()
        assert told == (
            f"Sorted by std. error, {sort}." if sort else "Rows in their printed order."
        )


def test_figures_are_enlarged_by_keyboard_and_go_back(visit, pages):
    page = visit(pages["serial"], width=390)
    figure = page.locator("main figure").first
    before = figure.locator("svg").bounding_box()["width"]
    figure.locator("button").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Figure 1")
    assert dialog.is_visible()
    assert violations(page) == []
    page.keyboard.press("Tab")  # from Larger to Smaller
    page.keyboard.press("Shift+Tab")
    for _ in range(4):
        page.keyboard.press("Enter")
    assert dialog.locator("svg").bounding_box()["width"] > 2 * before
    assert page.evaluate(WIDER) <= 0
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert figure.locator("svg").bounding_box()["width"] == before
    assert page.evaluate("document.activeElement.className") == "enlarge"


def test_the_filter_of_the_index_is_told(visit, pages):
    page = visit(pages["index"], width=390)
    page.locator(".filters summary").click()
    page.get_by_label("Customer retention").focus()
    page.keyboard.press("Space")
    cards = page.locator(".reports > .card")
    shown = sum(card.is_visible() for card in cards.all())
    assert 0 < shown < cards.count()
    told = page.locator("body > [role=status]").inner_text()
    assert told == f"{shown} of {cards.count()} reports shown."
    questions = page.locator("main section")
    empty = [one for one in questions.all() if not one.locator(".card:visible").count()]
    assert 0 < len(empty) < questions.count()
    assert not any(one.locator("h3").is_visible() for one in empty)


def test_a_line_of_the_index_opens_by_keyboard_without_a_script(visit, pages):
    page = visit(pages["index"], width=390, script=False)
    line = page.locator(".reports > .card").last
    answer = line.locator("details p").first
    assert not answer.is_visible()
    line.locator("a").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert answer.is_visible()
