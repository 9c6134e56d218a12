"""Sizes, shape, errors side by side, instruments, diagnostics: sentences follow the numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ex_cx.linkage.panel import Panel
from ex_cx.models.compare import compare_estimators, within_bins
from ex_cx.models.curve import fit_curve
from ex_cx.models.magnitude import effect_sizes, predict_change
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.reporting.compose import panel_report
from ex_cx.reporting.figures import draw_scatter
from ex_cx.reporting.numbers import number
from ex_cx.reporting.page import by_diagnostic, render_page
from ex_cx.reporting.report import write_report_parts
from ex_cx.reporting.sections import (
    errors_sections,
    instrument_sections,
    readable_diagnostics,
    shape_sections,
    size_sections,
)
from ex_cx.robustness.diagnostics import diagnose
from ex_cx.robustness.error_kinds import compare_errors
from ex_cx.robustness.guards import check_guards
from ex_cx.robustness.shape import headline_curve

SPEC = PanelSpec(outcome="y", exposures=("x", "z"))
NAMES = {"x": "Load (%)", "z": "Mood (1-5)", "y": "NPS (points)", "h": "Mood, other half (1-5)"}


def draw(n_units: int = 16, bend: float = 0.0) -> Panel:
    rng = np.random.default_rng(12)
    n = n_units * 10
    rows = pd.DataFrame(rng.normal(size=(n, 4)), columns=["x", "z", "e", "h"])
    rows["unit"], rows["period"] = np.arange(n) // 10, np.arange(n) % 10
    rows["h"] += rows["z"]
    rows["y"] = -2 * rows["x"] + bend * rows["x"] ** 2 + rows["e"]
    return Panel.from_frame(rows, unit="unit", period="period")


@pytest.fixture(scope="module")
def panel() -> Panel:
    return draw()


def size_text(panel, spec, changes):
    result = fit_panel(panel, spec)
    (section,) = size_sections(effect_sizes(panel, result), changes, result, NAMES)
    return section, result


def test_a_stated_change_is_told_with_the_numbers_of_predict_change(panel):
    section, result = size_text(panel, SPEC, {"x": -5.0, "z": 0.5})
    row = predict_change(result, {"x": -5.0, "z": 0.5}).iloc[0]
    (text,) = section.text
    assert text.startswith(
        "Load lower by 5 percentage points and Mood higher by 0.5 together are associated with NPS "
        f"higher by {number(row['estimate'], (row['conf_high'] - row['conf_low']) / 2)} points (95"
    )
    assert "standard deviation" not in text


def test_one_standard_deviation_is_said_to_be_one(panel):
    sizes = effect_sizes(panel, fit_panel(panel, SPEC))
    amount = sizes.loc[1, "size"]
    (text,) = size_text(panel, SPEC, {"x": amount})[0].text
    assert "which is one standard deviation within units, net of what periods share, is" in text
    (text,) = size_text(panel, replace(SPEC, absorb=("period",)), {"x": 1.0})[0].text
    assert "within units" not in text


def test_a_change_whose_interval_holds_zero_shows_no_difference(panel):
    (text,) = size_text(panel, SPEC, {"z": 1.0})[0].text
    assert text.startswith("No difference in NPS is shown for Mood higher by 1: ")
    assert text.endswith(", which holds zero.")


def test_the_table_of_sizes_has_every_exposure_and_what_each_change_is(panel):
    (table,) = size_text(panel, SPEC, {"x": 1.0})[0].tables
    assert table.frame["change"].str.startswith(("Load", "Mood")).all()
    assert table.frame["the change is"].tolist() == 2 * [
        "one more",
        "one standard deviation",
        "across the middle half",
    ]


def test_a_term_that_also_enters_squared_has_no_one_size(panel):
    spec = replace(SPEC, exposures=("x", "x^2"))
    section, _ = size_text(panel, spec, {"x": 1.0})
    assert section.text[0].startswith("Load also enters the model in products or powers")
    assert not section.tables
    section, _ = size_text(panel, spec, {"x": 1.0, "x^2": 2.0})
    assert "associated with NPS" in section.text[0]
    assert len(section.tables[0].frame) == 3
    assert "Products and squares move with their parts" in section.tables[0].caption


def shape_text(panel, curve):
    result = fit_panel(panel, SPEC)
    scatter = draw_scatter(within_bins(panel, SPEC), result)
    return shape_sections(curve, scatter, result, NAMES, 0.95)


@pytest.mark.parametrize(
    ("p", "said"),
    [(0.051, "does not fit better than the straight line"), (0.049, "fits better than the")],
)
def test_the_sentence_on_shape_follows_the_test(panel, p, said):
    curve = fit_curve(panel, SPEC, "x")
    known = replace(curve, linearity=replace_p(curve.linearity, p))
    first, rows = shape_text(panel, known)
    assert said in first.text[0]
    assert f"p = {p}" in first.text[0]
    assert [figure.name for figure in (*first.figures, *rows.figures)] == [
        "curve",
        "within_scatter",
    ]
    assert not first.fold
    assert rows.fold


def test_a_test_that_cannot_be_had_speaks_for_no_side(panel):
    curve = fit_curve(panel, SPEC, "x")
    unknown = replace(curve, linearity=replace_p(curve.linearity, np.nan))
    text = shape_text(panel, unknown)[0].text[0]
    assert text == "These rows are too few to test a flexible curve of Load against the line."


def test_a_bend_in_the_data_is_told():
    bent = draw(bend=1.5)
    assert "fits better" in shape_text(bent, headline_curve(bent, SPEC))[0].text[0]


def test_no_association_either_only_where_the_line_shows_none(panel):
    clear = fit_curve(panel, SPEC, "x")
    vague = replace(clear, association=replace_p(clear.association, 0.4),
                    linearity=replace_p(clear.linearity, 0.4))  # fmt: skip
    assert "either" not in shape_text(panel, vague)[0].text[0]
    line = fit_panel(panel, replace(SPEC, exposures=("z", "x")))
    scatter = draw_scatter(within_bins(panel, SPEC), line)
    text = shape_sections(vague, scatter, line, NAMES, 0.95)[0].text[0]
    assert text.startswith("A flexible curve of Mood shows no association either")


def replace_p(test, p):
    return test._replace(p_value=p) if hasattr(test, "_replace") else replace(test, p_value=p)


def test_why_there_is_no_curve_is_told_and_the_rows_are_drawn(panel):
    (section,) = shape_text(panel, "'x' takes only 3 values")
    assert section.text == ("No curve of Load is drawn: 'Load' takes only 3 values.",)
    assert [figure.name for figure in section.figures] == ["within_scatter"]
    assert shape_text(panel, "") == ()


def errors_of(panel):
    return compare_errors(panel, SPEC, n_boot=199, rng=np.random.default_rng(1))


def test_few_clusters_show_the_errors_and_many_fold_them(panel):
    (few,) = errors_sections(errors_of(panel), fit_panel(panel, SPEC), NAMES)
    assert few.heading == "Errors side by side"
    assert few.text[0].startswith("With 16 clusters, clustered errors (CR1) are easily too small")
    assert not few.fold
    wide = draw(n_units=41)
    (many,) = errors_sections(errors_of(wide), fit_panel(wide, SPEC), NAMES)
    assert many.text == ()
    assert many.fold == (
        "Errors side by side: the 95 % interval of Load excludes zero by clustered (CR1), "
        "jackknife and wild bootstrap errors"
    )
    assert many.tables[0].frame["errors"].tolist()[:3] == [
        "clustered (CR1)",
        "jackknife",
        "wild bootstrap",
    ]
    assert many.tables[0].answer_rows == (0, 3)


def test_errors_that_disagree_about_zero_are_told(panel):
    errors = errors_of(panel)
    odd = (errors["errors"] == "wild") & (errors["term"] == "x")
    errors.loc[odd, "conf_high"] = 1.0
    gone = (errors["errors"] == "jackknife") & (errors["term"] == "x")
    errors.loc[gone, ["conf_low", "conf_high", "p_value", "std_error"]] = np.nan
    errors.loc[gone, "note"] = "There is 1 cluster"
    (section,) = errors_sections(errors, fit_panel(panel, SPEC), NAMES)
    assert section.text[0].endswith(
        "The 95 % interval of Load excludes zero by clustered (CR1) errors, but holds zero by wild "
        "bootstrap (none by jackknife)."
    )
    assert "Jackknife: There is 1 cluster." in section.tables[0].caption


def test_instruments_are_told_beside_the_answer(panel):
    result = fit_panel(panel, SPEC)
    moved = fit_panel(panel, replace(SPEC, instruments={"z": "h"}))
    (section,) = instrument_sections(moved, result, NAMES, 0.95)
    text = " ".join(section.text)
    assert text.startswith("As far as Mood is moved by Mood, other half: ")
    assert number(result.coef[1], result.tidy()["std_error"][1]) in text
    assert "irst-stage F" in text
    assert instrument_sections(result, result, NAMES, 0.95) == ()
    assert instrument_sections(None, result, NAMES, 0.95) == ()


def test_diagnostics_speak_of_columns_by_their_labels(panel):
    found = readable_diagnostics(diagnose(panel, SPEC), NAMES)
    leverage = found.loc[found["diagnostic"] == "Leverage of single clusters", "reading"]
    assert [text.split(":")[0] for text in leverage] == ["Load", "Mood"]
    assert found["asks"].str.endswith("?").all()
    tested = found["p_value"].notna()
    assert found.loc[tested, "reading"].str.contains(r"\(p [=<]").all()
    assert not found.loc[~tested, "reading"].str.contains(r"\(p ").any()
    assert readable_diagnostics(None, NAMES).empty


def test_a_diagnostic_has_the_worst_light_of_its_lines():
    lines = [
        {"diagnostic": name, "asks": "", "reading": "r", "light": light}
        for name, light in [("A", "green"), ("A", "red"), ("B", "amber"), ("C", "green")]
    ]
    found = by_diagnostic(lines)
    assert [(row["name"], row["light"], row["verdict"]) for row in found["rows"]] == [
        ("A", "red", "limits"),
        ("B", "amber", "caution"),
        ("C", "green", "clear"),
    ]
    assert found["fold"] == "Diagnostics: 1 red (A), 1 amber (B), 1 green"


def full_report(panel, labels):
    result = fit_panel(panel, SPEC)
    return panel_report(
        result,
        compare_estimators(panel, SPEC),
        within_bins(panel, SPEC),
        check_guards(panel, SPEC),
        sizes=effect_sizes(panel, result),
        change={"x": 2.0},
        curve=headline_curve(panel, SPEC),
        instrumented=fit_panel(panel, replace(SPEC, instruments={"z": "h"})),
        errors=errors_of(panel),
        diagnostics=diagnose(panel, SPEC),
        labels=labels,
    )


def test_a_full_page_has_its_parts_in_the_order_of_a_reader(panel, tmp_path, read_page):
    report = full_report(panel, NAMES)
    write_report_parts(report, tmp_path)
    markup = render_page(tmp_path, {}, "")
    order = [
        "What the data show",
        "The other exposure",
        "How large is it?",
        "With instruments",
        "Is it a straight line?",
        "How sure are we?",
        "Enough clusters",
        "Errors side by side",
        "Diagnostics: ",
        "What this does not show",
        "<summary>Method",
    ]
    places = [markup.index(words) for words in order]
    assert places == sorted(places)
    page = read_page(markup)
    assert not page.wrong
    assert not page.open
    lights = [text for text in page.text["td"] if text.strip() in ("red", "amber", "green")]
    assert len(lights) == report.diagnostics["diagnostic"].nunique()
    assert [f"Figure {i}. " in markup for i in range(1, 5)] == [True] * 4
    assert len(markup.encode()) < 400_000
    tables = {path.stem for path in (tmp_path / "tables").iterdir()}
    assert {"estimates", "other_estimates", "sizes", "errors", "diagnostics"} <= tables


def test_hostile_labels_break_no_section(panel, tmp_path, read_page, hostile):
    write_report_parts(full_report(panel, dict.fromkeys("xzyh", hostile)), tmp_path)
    json.loads((tmp_path / "result.json").read_text("utf-8"), parse_constant=pytest.fail)
    markup = render_page(tmp_path, {}, "")
    page = read_page(markup)
    assert not page.wrong
    assert "<script>alert" not in markup
    assert [attrs.get("id") for attrs in page.named("script")] == ["manifest", None]


def test_a_bent_association_is_not_called_none_where_its_slope_at_one_value_is_none():
    rng = np.random.default_rng(5)
    rows = pd.DataFrame({"unit": np.arange(600) // 12, "period": np.arange(600) % 12})
    rows["x"] = rng.uniform(0, 10, size=600)
    rows["y"] = rows["x"] ** 2 / 10 + rng.normal(size=600)
    panel = Panel.from_frame(rows, unit="unit", period="period")
    spec = PanelSpec(outcome="y", exposures=("x", "x^2"))
    result = fit_panel(panel, spec)
    comparison, guards = compare_estimators(panel, spec), check_guards(panel, spec)
    report = panel_report(result, comparison, within_bins(panel, spec), guards)
    assert "no association" in report.answer
    assert report.answer.endswith("all 2 terms with x together: p <0.001.")
    assert report.grade.startswith("Earned claim: about the slope told here alone")
    plain = replace(spec, exposures=("x",))
    comparison, guards = compare_estimators(panel, plain), check_guards(panel, plain)
    bins = within_bins(panel, plain)
    straight = panel_report(fit_panel(panel, plain), comparison, bins, guards)
    assert "together" not in straight.answer
