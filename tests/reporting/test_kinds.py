"""A report of every kind: each estimator, mediation, audit; few rows, no labels, many units."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ex_cx.linkage.audit import LinkAudit
from ex_cx.linkage.panel import Panel
from ex_cx.linkage.simulate import simulate_panel
from ex_cx.models.compare import COMPARED, compare_estimators, within_bins
from ex_cx.models.mediation import MediationSpec, fit_mediation
from ex_cx.models.regress import fit_panel
from ex_cx.models.spec import PanelSpec
from ex_cx.reporting.audit import audit_report
from ex_cx.reporting.compose import draw_forest, mediation_report, panel_report
from ex_cx.reporting.page import render_page
from ex_cx.reporting.report import write_report_parts
from ex_cx.robustness.guards import check_guards, check_mediation_guards

SPEC = PanelSpec(outcome="cx_nps", exposures=("ex_occupancy_pct",))
MEDIATORS = ("cx_effort", "cx_fcr_pct", "ex_attrition_pct", "cx_retention_pct")


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulate_panel(n_units=24, n_periods=10, rng=np.random.default_rng(20240501))


@pytest.fixture(scope="module")
def one_period(panel) -> Panel:
    return panel.where(panel.period_codes == 3)


def panel_study(panel, spec, **words):
    mixed = spec.estimator in ("random", "correlated_random")  # these have no bins of their own
    return panel_report(
        fit_panel(panel, spec),
        compare_estimators(panel, spec, tuple(dict.fromkeys([*COMPARED, spec.estimator]))),
        within_bins(panel, replace(spec, estimator="within") if mixed else spec),
        check_guards(panel, spec),
        **words,
    )


def mediation_study(panel, spec, **words):
    result = fit_mediation(panel, spec, n_boot=99, rng=np.random.default_rng(1))
    return mediation_report(result, check_mediation_guards(panel, spec, result), **words)


def page_of(report, folder, read_page):
    """The page, after its record was found to be strict JSON and the page well formed."""
    write_report_parts(report, folder)
    json.loads((folder / "result.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    page = render_page(folder, {}, "")
    read = read_page(page)
    assert read.wrong == []
    assert len(read.named("h1")) == 1
    assert len(page.encode()) < 400_000
    assert not any(word in page for word in (">nan<", ">None<", ">NaT<", "nan to nan"))
    return page


@pytest.mark.parametrize(
    ("estimator", "start"),
    [
        ("within", "Within units, "),
        ("first_difference", "From one period to the next, "),
        ("correlated_random", "Within units, "),
        ("between", "Between units, "),
        ("pooled", "Over all rows, "),
        ("random", "Within and between units together, "),
    ],
)
def test_each_estimator_has_its_report(panel, tmp_path, read_page, estimator, start):
    report = panel_study(panel, replace(SPEC, estimator=estimator))
    page_of(report, tmp_path, read_page)
    assert report.answer.startswith(start)
    assert report.results.loc[report.results["headline"], "estimator"].tolist() == [estimator]
    assert len(report.facts) == (2 if estimator == "between" else 3)
    claims_change = estimator in ("within", "first_difference", "correlated_random")
    mixed = ("not a change within", "no difference between units", "over all rows")
    assert any(words in report.grade for words in mixed) is not claims_change
    assert report.limits[-1].startswith("An assoc" if claims_change else "Units are compared")


@pytest.mark.parametrize(
    ("absorb", "start", "line"),
    [
        (("period",), "Across the units of one period, ", "Within periods"),
        ((), "Over all rows, ", "No effects"),
    ],
)
def test_without_unit_effects_nothing_is_said_of_change_within_units(
    panel, tmp_path, read_page, absorb, start, line
):
    spec = replace(SPEC, absorb=absorb)
    report = panel_study(panel, spec)
    page_of(report, tmp_path, read_page)
    assert report.answer.startswith(start)
    assert ("between units" if absorb else "over all rows") in report.grade
    assert report.verdict == "limits"
    comparison = compare_estimators(panel, spec)
    alone = draw_forest(comparison, "cx_nps", "ex_occupancy_pct", absorb=absorb)
    for svg in (report.figures[0].svg, alone.svg):
        assert f">{line}</text>" in svg
        assert ">Within units</text>" not in svg
    # what is pooled across runs keeps the estimator's own name
    assert "within" in set(report.results["estimator"])


def test_one_period_is_a_comparison_between_units(one_period, tmp_path, read_page):
    report = panel_study(one_period, replace(SPEC, estimator="between"))
    page = page_of(report, tmp_path, read_page)
    assert "24 units, 1 period, 24 rows used" in report.meta
    assert "Within: not estimated." in page
    assert "not a change within them" in report.grade or "no difference" in report.grade


def test_controls_products_squares_and_lags_are_named(panel, tmp_path, read_page):
    spec = PanelSpec(
        outcome="cx_nps",
        exposures=("ex_occupancy_pct", "ex_occupancy_pct:ex_engagement", "ex_engagement^2"),
        controls=("ex_aht_seconds",),
        lag=1,
    )
    labels = {"ex_occupancy_pct": "Occupancy (%)", "ex_engagement": "Engagement (1-5)"}
    report = panel_study(panel, spec, labels=labels)
    page_of(report, tmp_path, read_page)
    assert len(report.every_figure()) == 4  # a forest per exposure and the scatter of the first
    assert len({figure.name for figure in report.every_figure()}) == 4
    assert "Occupancy, 1 period earlier" in report.title
    headline, others = report.every_table()
    assert set(headline.frame["term"]) == {"Occupancy, 1 period earlier (%)"}
    assert "ex_aht_seconds" in set(others.frame["term"])
    assert report.evidence[0].fold == "The other exposures and controls"


@pytest.mark.parametrize(
    "names", [("a" * 60 + "1", "a" * 60 + "2"), ("負荷", "熱意"), ("x y", "x_y")]
)
def test_figures_of_names_that_look_alike_do_not_overwrite_each_other(
    panel, tmp_path, read_page, names
):
    frame = panel.frame.assign(
        **{names[0]: panel.frame["ex_engagement"], names[1]: panel.frame["ex_occupancy_pct"]}
    )
    long = Panel.from_frame(frame, unit="unit", period="period")
    report = panel_study(long, replace(SPEC, exposures=tuple(names)))
    page_of(report, tmp_path, read_page)
    assert len(list((tmp_path / "figures").glob("*.svg"))) == len(report.every_figure()) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", figure.name) for figure in report.every_figure())


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_one_to_four_mediators(panel, tmp_path, read_page, n):
    spec = MediationSpec(
        outcome="cx_nps", exposure="ex_occupancy_pct", mediators=MEDIATORS[:n], controls=()
    )
    report = mediation_study(panel, spec)
    page = page_of(report, tmp_path, read_page)
    through = " and ".join(filter(None, [", ".join(MEDIATORS[: n - 1]), MEDIATORS[n - 1]]))
    assert f"through {through} " in report.answer
    steps = next(table for table in report.every_table() if table.name == "steps")
    assert (len(report.tables[0].frame), len(steps.frame)) == (n + 4, 2 * n)
    assert all(f"indirect through {name}" in page for name in MEDIATORS[:n])
    assert report.results.loc[report.results["headline"], "term"].tolist() == ["indirect"]


def test_a_mediation_of_one_period_claims_no_change(one_period, tmp_path, read_page):
    spec = MediationSpec(
        outcome="cx_nps", exposure="ex_occupancy_pct", mediators=MEDIATORS[:1], absorb=()
    )
    report = mediation_study(one_period, spec)
    page_of(report, tmp_path, read_page)
    assert report.answer.startswith("Over all rows, ")
    assert report.verdict == "limits"
    assert report.grade.startswith("Earned claim: no indirect association over all rows")


def test_dollars_in_names_are_money_in_every_line(panel, tmp_path, read_page):
    labels = {"cx_nps": "Spend ($m) and NPS ($)", "ex_occupancy_pct": "Cost $x_i$ ($)"}
    page = page_of(panel_study(panel, SPEC, labels=labels), tmp_path, read_page)
    assert page.count("<math") == 1  # the equation
    assert "Cost $x_i$" in page


def empty_audit() -> LinkAudit:
    """The audit of rows that were never linked."""
    parts = ("flow", "unmatched", "suppressed", "definitions", "reads")
    return LinkAudit.from_dict({name: [] for name in parts})


@pytest.mark.parametrize(("n_units", "n_periods"), [(2000, 4), (24, 10), (1, 12), (1, 1)])
def test_an_audit_of_one_unit_or_two_thousand(tmp_path, read_page, n_units, n_periods):
    keys = pd.MultiIndex.from_product([range(n_units), range(2020, 2020 + n_periods)])
    frame = keys.to_frame(index=False, name=["unit", "period"])
    frame["x"] = np.where(np.arange(len(frame)) % 7 == 3, np.nan, np.arange(len(frame)) / 3)
    frame["y"] = 1.0
    frame = frame.assign(unit=[f"=cmd() <script> {name}" for name in frame["unit"]])
    panel = Panel.from_frame(frame, unit="unit", period="period")
    report = audit_report(panel, empty_audit(), ["x", "y"])
    page = page_of(report, tmp_path, read_page)
    assert "<script> " not in page
    missing, cells = int(frame["x"].isna().sum()), n_units * n_periods
    assert report.answer.startswith(f"{cells - missing:,} of {cells:,} possible unit-periods")


def test_the_method_says_which_period_each_column_is_from(panel):
    spec = replace(SPEC, controls=("ex_aht_seconds",), lag=1, absorb=("unit",))
    method = panel_study(panel, spec).method[0]
    equation = r"$y_{it} = \beta' x_{i,t-L} + \gamma' z_{it} + \alpha_i + \varepsilon_{it}$"
    assert method == f"{equation}, least squares; the within estimate absorbs unit, L = 1."
    chain = MediationSpec(
        outcome="cx_nps",
        exposure="ex_occupancy_pct",
        mediators=("cx_effort",),
        lag_mediator=2,
        lag_outcome=1,
    )
    line = (
        "Exposure x is taken 3, mediators m 1 periods before outcome y; controls z in its period."
    )
    assert line in mediation_study(panel, chain).method


def test_without_a_share_the_table_says_why(panel):
    spec = MediationSpec(
        outcome="cx_nps", exposure="ex_occupancy_pct", mediators=("cx_effort",), absorb=("unit",)
    )
    frame = panel.frame
    lifted = frame["cx_nps"] + 20 * frame["ex_occupancy_pct"]  # direct: up; indirect: still down
    opposed = replace(panel, frame=frame.assign(cx_nps=lifted))
    caption = mediation_study(opposed, spec).tables[0].caption
    assert caption.endswith("No share mediated is given: direct and indirect have opposite signs.")
    noise = np.random.default_rng(4).normal(size=len(frame))
    nothing = replace(panel, frame=frame.assign(cx_nps=noise))
    caption = mediation_study(nothing, spec).tables[0].caption
    assert caption.endswith("No share mediated is given: the interval of the total holds zero.")


def test_a_mediation_names_what_it_holds_constant(panel):
    spec = MediationSpec(
        outcome="cx_nps",
        exposure="ex_occupancy_pct",
        mediators=("cx_effort",),
        controls=("ex_engagement",),
    )
    method = mediation_study(panel, spec, labels={"ex_engagement": "Engagement (1-5)"}).method
    assert "Held constant in every equation, z: Engagement (1-5)." in method
