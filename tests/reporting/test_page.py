"""The page of a run: its order, its safety, its accessibility; nothing asked of the network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files
from itertools import pairwise

import nbformat
import pytest

from ex_cx.reporting.clean import cleaned
from ex_cx.reporting.page import mathml, notebook_body, parts_of, render_page
from ex_cx.reporting.report import write_report_parts

MANIFEST = {
    "study": "contact_centre",
    "title": "Busy teams",
    "run": "panel_regression--cx_nps",
    "notebook": "panel_regression",
    "started": "2026-11-22T10:00:00+00:00",
    "seed": 7,
    "git_revision": "abc123",
    "wall_seconds": 1.5,
    "code_sha256": "f" * 64,
    "parameters": {"given": {"outcome": "cx_nps"}, "defaulted": {"lag": 0}},
    "inputs": {"survey.csv": {"sha256": "a" * 64, "rows": 10}},
    "versions": {"numpy": "2.4"},
}


def page_of(report, folder, notebook="", manifest=None):
    write_report_parts(report, folder)
    return render_page(folder, manifest or MANIFEST, notebook)


@pytest.fixture
def page(report, tmp_path) -> str:
    return page_of(report, tmp_path, "<h3>Cells</h3>")


def test_the_order_is_what_a_reader_wants(page, report):
    places = [
        page.index(mark)
        for mark in (
            'class="eyebrow"',
            "<h1>",
            'class="meta"',
            'class="answer"',
            report.grade,
            'class="facts"',
            "<figure>",
            "<table>",
            "How sure are we?",
            "What this does not show",
            "<summary>Method",
            "<summary>Provenance",
            "<summary>Full output of the notebook",
        )
    ]
    assert places == sorted(places)


def test_the_page_is_well_formed_and_accessible(page, read_page):
    read = read_page(page)
    assert read.wrong == []
    assert read.named("html") == [{"lang": "en"}]
    assert len(read.named("h1")) == 1
    assert [attrs["id"] for attrs in read.named("main")] == ["main"]
    assert read.named("a")[0] == {"class": "skip", "href": "#main"}
    assert all("scope" in attrs for attrs in read.named("th"))
    assert len(read.named("caption")) == len(read.named("table"))
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in read.named("svg"))
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [attrs["id"] for _, attrs in read.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_nothing_is_asked_of_the_network_and_only_the_own_script_runs(page, read_page):
    read = read_page(page)
    assert read.named("script") == [{"type": "application/json", "id": "manifest"}, {}]
    for tag, attrs in read.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            assert (attrs.get(name) or "#").startswith(("#", "data:image/")), (tag, attrs)
        assert not [name for name in attrs if name.startswith("on")]
    assert not re.findall(r"@import|url\((?!#)", page)
    policy = next(a["content"] for a in read.named("meta") if "http-equiv" in a)
    own = page.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        f"script-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_the_page_is_small(page):
    assert len(page.encode()) < 200_000


def test_figures_follow_light_and_dark(page):
    drawings = re.findall(r"<svg .*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) == 2
    assert all("var(--main, #0b5cad)" in drawing for drawing in drawings)


def test_the_manifest_is_embedded_and_comes_back_whole(report, tmp_path, read_page):
    manifest = MANIFEST | {"title": "</script><script>alert(1)</script><!-- \u2028 &amp;"}
    page = page_of(report, tmp_path, manifest=manifest)
    read = read_page(page)
    assert len(read.named("script")) == 2
    text, _ = read.text["script"]
    assert json.loads(text) == manifest
    assert "<" not in text


def test_provenance_names_inputs_parameters_seed_and_rows(page, read_page):
    said = " ".join(
        read_page(page).text["dd"] + read_page(page).text["dt"] + read_page(page).text["code"]
    )
    for fact in ("survey.csv", "a" * 64, "cx_nps", "lag", "7", "abc123", "numpy", "rows in"):
        assert fact in said


def test_hostile_labels_inject_nothing(hostile_report, hostile, tmp_path, read_page):
    named = {"given": {hostile: hostile}, "defaulted": {}}
    page = page_of(hostile_report, tmp_path, manifest=MANIFEST | {"parameters": named})
    read = read_page(page)
    assert read.wrong == []
    assert [attrs.get("type") for attrs in read.named("script")] == ["application/json", None]
    assert len(read.named("h1")) == 1
    assert not [attrs for _, attrs in read.tags if any(name.startswith("on") for name in attrs)]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def test_text_has_contrast_in_light_and_dark():
    css = (files("ex_cx.reporting") / "templates" / "style.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)
    for scheme in (light, dark):
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for ink in ("ink", "soft", "main", "ok", "warn", "bad"):
            for ground in ("paper", "wash"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        assert contrast(colours["muted"], colours["paper"]) >= 3  # marks, not text


def test_verdicts_differ_in_sign_and_words_not_only_in_colour(page):
    said = re.findall(r'class="verdict \w+"><span aria-hidden="true">(.)</span> ([\w ]+)', page)
    assert said == [("●", "clear"), ("▲", "caution"), ("■", "limits the claim")]


def test_findings_split_at_semicolons_outside_brackets():
    assert parts_of("a (b; c); d") == ["a (b; c)", "d"]


# --- The executed notebook, folded away ---------------------------------------------------------


def executed(tmp_path, *cells):
    path = tmp_path / "run.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), path)
    return notebook_body(path)


def cell(source="x", *outputs):
    return nbformat.v4.new_code_cell(source, outputs=list(outputs))


def result(**data):
    kinds = {"html": "text/html", "text": "text/plain", "svg": "image/svg+xml", "png": "image/png"}
    bundle = {kinds[name]: value for name, value in data.items()}
    return nbformat.v4.new_output("execute_result", data=bundle, execution_count=1)


def test_execute_results_survive(tmp_path):
    table = "<table><tbody><tr><th>term</th><td>-1.79</td></tr></tbody></table>"
    body = executed(
        tmp_path, cell("tidy", result(html=table, text="plain")), cell("1", result(text="<7>"))
    )
    assert table in body
    assert '<pre tabindex="0">&lt;7&gt;</pre>' in body
    assert "plain" not in body


def test_sentences_in_a_table_are_read_from_the_left_and_wrap(tmp_path):
    said = "within units no association is shown, of 48"
    body = executed(
        tmp_path, cell("t", result(html=f"<table><tr><td>{said}</td><td>-1.79</td></tr></table>"))
    )
    assert f'<td class="l"><span>{said}</span></td><td>-1.79</td>' in body


def test_code_is_folded_and_escaped(tmp_path):
    body = executed(tmp_path, cell("a < '</code><script>'"))
    assert "<details><summary>Code</summary>" in body
    assert "<script>" not in body


def test_printed_lines_and_errors_are_text(tmp_path):
    stream = nbformat.v4.new_output("stream", name="stdout", text="<b>5 rows</b>")
    error = nbformat.v4.new_output(
        "error", ename="LinkError", evalue="<script>", traceback=["\x1b[31mLinkError\x1b[0m"]
    )
    body = executed(tmp_path, cell("x", stream, error))
    assert "&lt;b&gt;5 rows&lt;/b&gt;" in body
    assert "LinkError: &lt;script&gt;" in body


def test_headings_go_below_those_of_the_page(tmp_path):
    body = executed(tmp_path, nbformat.v4.new_markdown_cell("# One\n\n## Two"))
    assert "<h1" not in body
    assert re.findall(r"<h(\d)", body) == ["3", "4"]


def test_formulae_become_mathml(tmp_path):
    body = executed(tmp_path, nbformat.v4.new_markdown_cell("Slope $\\beta_1$ of it."))
    assert "<math" in body
    assert "$" not in body


def test_code_in_markdown_keeps_its_dollars_and_scripts_there_are_text_or_gone(tmp_path):
    source = "`$HOME/$USER`\n\n```\necho $A $B\n```\n\n<script>alert(1)</script>\n\nkept"
    body = executed(tmp_path, nbformat.v4.new_markdown_cell(source))
    assert "<code>$HOME/$USER</code>" in body
    assert "echo $A $B" in body
    assert "<script" not in body
    assert "<p>kept</p>" in body


def test_outputs_are_regions_of_their_own_and_table_corners_no_headers(tmp_path):
    table = "<table><thead><tr><th></th><th>a</th></tr></thead></table>"
    body = executed(tmp_path, cell("x", result(html=table)), cell("y", result(html=table)))
    assert re.findall('aria-label="([^"]*)"', body) == ["Output 1", "Output 2"]
    assert "<td></td><th>a</th>" in body


def test_outputs_lose_scripts_styles_and_open_tags(tmp_path):
    odd = (
        "<style>p{color:red}</style></div></main><h1 onclick='x()'>T</h1><script>1</script><p>kept"
    )
    body = executed(tmp_path, cell("x", result(html=odd)))
    assert "script" not in body
    assert "color:red" not in body
    assert "</main>" not in body
    assert "<h3>T</h3><p>kept</p>" in body


def test_a_drawing_is_a_picture_with_its_alt_text(report, tmp_path, read_page):
    svg, about = report.figures[0]._repr_svg_()
    output = result(svg=svg)
    output["metadata"] = {"image/svg+xml": about}
    read = read_page(executed(tmp_path, cell("x", output)))
    (image,) = read.named("img")
    assert image["alt"] == report.figures[0].alt
    assert image["src"].startswith("data:image/svg+xml;base64,")


def test_the_report_is_not_repeated(report, tmp_path):
    body = executed(tmp_path, cell("report", result(html=report._repr_html_())))
    assert report.answer not in body
    assert "The report above." in body


@pytest.mark.parametrize(
    ("markup", "kept"),
    [
        ("<img src=x onerror=alert(1)>", ""),
        ("<a href='javascript:x'>go</a><a href='#here'>in</a>", '<a>go</a><a href="#here">in</a>'),
        ("<svg><script>1</script><text>t</text></svg>after", "after"),
        ("<td colspan='2' style='x' class='l'>1</td>", '<td colspan="2" class="l">1</td>'),
        ("a <!-- note --> b<br/>c", "a  b<br>c"),
        ("<iframe src=http://x></iframe>&lt;script&gt;", "&lt;script&gt;"),
        ("</p></main><i>x</b></i>", "<i>x</i>"),
        ("<script>never closed <p>text", ""),
    ],
)
def test_cleaned_keeps_only_what_is_harmless(markup, kept):
    assert cleaned(markup) == kept


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("costs $5", "costs $5"),
        ("$5 and $6", "$5 and $6"),
        (r"\$x\$", "$x$"),
        (r"broken $\frac{$ here", r"broken $\frac{$ here"),
        ("$a_b_c$ <i>", "$a_b_c$ &lt;i&gt;"),
        ("code `$HOME/$USER` stays", "code `$HOME/$USER` stays"),
        ("<b>", "&lt;b&gt;"),
    ],
)
def test_mathml_leaves_money_code_and_broken_formulae_readable(text, shown):
    assert mathml(text) == shown


@pytest.mark.parametrize(
    "text", [r"$\text{<img src=x onerror=alert(1)>}$", r"$\href{javascript:alert(1)}{x}$", "$<b>$"]
)
def test_no_formula_brings_in_markup(text, read_page):
    read = read_page(mathml(text))
    assert {tag for tag, _ in read.tags} <= {"math", "mrow", "mtext", "mi", "mo", "mn"}
    assert all(set(attrs) <= {"xmlns", "display", "stretchy"} for _, attrs in read.tags)


def test_formulae_keep_their_stretching_brackets_and_accents():
    shown = mathml(r"$\hat\beta \left(\frac{a}{b}\right)$")
    assert 'accent="true"' in shown
    assert '<mo stretchy="true" fence="true" form="prefix">(</mo>' in shown
