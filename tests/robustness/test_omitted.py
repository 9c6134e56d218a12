"""Omitted variables: sensemakr's Darfur numbers, and confounders that are added and refitted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.errors import InferenceError, SpecError
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationSpec, fit_mediation
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.results import TIDY
from ex_cx.robustness.omitted import mediation_omitted_bounds, omitted_variable_bounds
from ex_cx.robustness.omitted_term import OmittedTerm

FOLDER = Path(__file__).parents[1] / "oracles"
ORACLE = json.loads((FOLDER / "sensitivity_sensemakr.json").read_text(encoding="utf-8"))
CONTROLS = ("age", "farmer_dar", "herder_dar", "pastvoted", "hhsize_darfur", "female")
HARM = PanelSpec(
    outcome="peacefactor",
    exposures=("directlyharmed",),
    controls=CONTROLS,
    absorb=("unit",),
    vcov="unadjusted",
)
SPEC = PanelSpec(outcome="y", exposures=("x",), controls=("z", "v"))
PATHS = MediationSpec(outcome="y", exposure="x", mediators=("m",), controls=("z", "v"))


@pytest.fixture(scope="module")
def darfur() -> Panel:
    rows = pd.read_csv(FOLDER / "sensitivity_darfur.csv.gz")
    rows["number"] = rows.groupby("village").cumcount()
    return Panel.from_frame(rows, unit="village", period="number")


def rows_of(n_units=40, n_periods=5, seed=2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    unit, period = np.divmod(np.arange(n), n_periods)
    effect = rng.normal(size=n_units)[unit] + rng.normal(size=n_periods)[period]
    frame = pd.DataFrame({"unit": unit, "period": period, "z": effect + rng.normal(size=n)})
    frame["v"] = rng.normal(size=n)
    frame["x"] = effect / 2 + 0.3 * frame["z"] + rng.normal(size=n)
    frame["m"] = 0.7 * frame["x"] + effect + 0.2 * frame["z"] + rng.normal(size=n)
    frame["y"] = 0.3 * frame["x"] + 0.6 * frame["m"] + 0.4 * frame["z"] + rng.normal(size=n)
    return frame


def panel_of(rows) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period")


def test_darfur_as_sensemakr(darfur):
    """Villages absorbed are village dummies: those of one person cost what they give."""
    row = omitted_variable_bounds(darfur, HARM).tidy().iloc[0]
    stats = ORACLE["stats"]
    assert_allclose(row["estimate"], stats["estimate"], rtol=1e-8)
    assert_allclose(row["std_error"], stats["se"], rtol=1e-8)
    assert_allclose(row["partial_r2"], stats["r2yd_x"], rtol=1e-8)
    assert_allclose(row["robustness_value"], stats["rv_q"], rtol=1e-8)
    assert_allclose(row["robustness_value_interval"], stats["rv_qa"], rtol=1e-8)
    half = omitted_variable_bounds(darfur, HARM, q=0.5).tidy(0.9).iloc[0]
    assert_allclose(half["robustness_value_interval"], ORACLE["half"], rtol=1e-8)


def test_darfur_as_printed(darfur):
    """Cinelli and Hazlett (2020), table 1: partial R2 2.2 %, RV 13.9 %, RV at 5 % 7.6 %."""
    row = omitted_variable_bounds(darfur, HARM).tidy().iloc[0]
    columns = ["partial_r2", "robustness_value", "robustness_value_interval"]
    assert (100 * row[columns].astype(float)).round(1).tolist() == [2.2, 13.9, 7.6]


def test_darfur_bounds_as_sensemakr(darfur):
    """Its intervals use one degree of freedom more than a model with the confounder has."""
    found = omitted_variable_bounds(darfur, HARM, benchmarks=("female", "age")).bounds()
    expected = pd.DataFrame(ORACLE["bounds"])
    assert expected["bound_label"].tolist() == [
        f"{int(k)}x {b}" for b, k in zip(found["benchmark"], found["strength"], strict=True)
    ]
    for ours, theirs in {
        "r2_term": "r2dz_x",
        "r2_outcome": "r2yz_dx",
        "estimate": "adjusted_estimate",
        "std_error": "adjusted_se",
        "statistic": "adjusted_t",
    }.items():
        assert_allclose(found[ours], expected[theirs], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("t", ["1.0", "3.0", "8.0", "40.0"])
def test_robustness_value_on_either_side_of_the_constraint(t):
    item = _item(estimate=float(t), dof=12)
    expected = ORACLE["by_t_with_12_dof"][t]
    assert_allclose(item.robustness_value(1.0, 0.95), expected, rtol=1e-9)


def _item(estimate, dof) -> OmittedTerm:
    return OmittedTerm(
        label="x",
        estimate=estimate,
        std_error=1.0,
        df_t=dof,
        plain_error=1.0,
        dof=dof,
        clustered=False,
        benchmarks=(),
        r2_term=(),
        r2_outcome=(),
    )


def _share(panel, outcome, added, others) -> float:
    """Partial R2 of `added` with `outcome` given `others`, by fit_panel's t."""
    spec = PanelSpec(outcome=outcome, exposures=(added,), controls=others, vcov="unadjusted")
    row = fit_panel(panel, spec)
    t = row.coef[0] / np.sqrt(row.vcov[0, 0])
    return t**2 / (t**2 + row.df_t)


def _with_confounder(rows, cause) -> pd.DataFrame:
    """A column that moves `cause` and y in the direction that inflates their association."""
    noise = np.random.default_rng(8).normal(size=len(rows))
    return rows.assign(hidden=0.4 * rows[cause] + 0.4 * rows["y"] + noise)


def test_formula_equals_the_refit_with_the_confounder():
    panel = panel_of(_with_confounder(rows_of(), "x"))
    plain = replace(SPEC, vcov="unadjusted")
    refit = fit_panel(panel, replace(plain, controls=(*SPEC.controls, "hidden")))
    r2_term = _share(panel, "x", "hidden", SPEC.controls)
    r2_outcome = _share(panel, "y", "hidden", ("x", *SPEC.controls))
    found = omitted_variable_bounds(panel, plain).adjusted("x", r2_term, r2_outcome)
    assert_allclose(
        found[list(TIDY[1:7])].to_numpy(float)[0],
        refit.tidy().loc[0, list(TIDY[1:7])].to_numpy(float),
        rtol=1e-9,
    )


def test_mediation_formula_equals_the_refit_of_each_path():
    rows = rows_of()
    for label, cause, outcome, held in (
        ("a:m", "x", "m", ()),
        ("b:m", "m", "y", ("x",)),
        ("direct", "x", "y", ("m",)),
        ("total", "x", "y", ()),
    ):
        noise = np.random.default_rng(8).normal(size=len(rows))
        panel = panel_of(rows.assign(hidden=0.4 * rows[cause] + 0.4 * rows[outcome] + noise))
        others = (*held, *SPEC.controls)
        refit = fit_panel(
            panel,
            PanelSpec(outcome=outcome, exposures=(cause,), controls=(*others, "hidden")),
        )
        r2 = (
            _share(panel, cause, "hidden", others),
            _share(panel, outcome, "hidden", (cause, *others)),
        )
        found = mediation_omitted_bounds(panel, PATHS).adjusted(label, *r2)
        assert_allclose(found["estimate"].iloc[0], refit.coef[0], rtol=1e-10)


def test_mediation_estimates_are_those_of_the_mediation():
    panel = panel_of(rows_of())
    found = mediation_omitted_bounds(panel, PATHS).tidy().set_index("term")
    usual = fit_mediation(panel, PATHS, n_boot=99, rng=np.random.default_rng(0))
    expected = usual.tidy().set_index("term")["estimate"]
    assert found.index.tolist() == ["a:m", "b:m", "direct", "total"]
    assert_allclose(found["estimate"], expected[found.index], rtol=1e-10)
    total = omitted_variable_bounds(panel, SPEC).tidy().iloc[0]
    assert_allclose(found.loc["total"].astype(float), total.drop("term").astype(float), rtol=1e-9)


def test_serial_a_holds_the_mediators_before_it():
    panel = panel_of(rows_of().assign(k=lambda d: 0.5 * d["m"] - d["v"] ** 2))
    spec = replace(PATHS, mediators=("m", "k"), structure="serial")
    found = mediation_omitted_bounds(panel, spec).tidy().set_index("term")
    step = PanelSpec(outcome="k", exposures=("x",), controls=("z", "v", "m"))
    expected = omitted_variable_bounds(panel, step).tidy().iloc[0]
    assert_allclose(found.loc["a:k"].astype(float), expected.drop("term").astype(float), rtol=1e-8)


@pytest.mark.parametrize("vcov", ["cluster", "unadjusted", "robust"])
@pytest.mark.parametrize("q", [1.0, 0.4])
def test_at_the_robustness_value_the_estimate_and_the_interval_reach_their_mark(vcov, q):
    result = omitted_variable_bounds(panel_of(rows_of()), replace(SPEC, vcov=vcov), q=q)
    row = result.tidy(0.9).iloc[0]
    value = row["robustness_value"]
    left = result.adjusted("x", value, value)["estimate"].iloc[0]
    assert_allclose(left, (1 - q) * row["estimate"], atol=1e-12)
    value = row["robustness_value_interval"]
    assert 0 < value < row["robustness_value"]
    if q == 1.0:
        end = result.adjusted("x", value, value, 0.9)["conf_low"].iloc[0]
        assert_allclose(end, 0, atol=1e-12)


def test_clustered_value_differs_from_plain_by_the_ratio_of_errors_only():
    item = _item(estimate=6.0, dof=300)
    doubled = replace(item, std_error=2.0, plain_error=2.0, estimate=12.0)
    assert_allclose(item.robustness_value(1.0, 0.95), doubled.robustness_value(1.0, 0.95))
    wider = replace(item, std_error=1.5)
    assert wider.robustness_value(1.0, 0.95) < item.robustness_value(1.0, 0.95)
    assert wider.robustness_value(1.0) == item.robustness_value(1.0)


def test_scale_and_sign_do_not_matter():
    rows = rows_of()
    turned = rows.assign(x=-30 * rows["x"], y=rows["y"] / 7, z=2 * rows["z"])
    one, other = (omitted_variable_bounds(panel_of(frame), SPEC) for frame in (rows, turned))
    columns = ["partial_r2", "robustness_value", "robustness_value_interval"]
    assert_allclose(one.tidy()[columns], other.tidy()[columns], rtol=1e-9)
    shares = ["r2_term", "r2_outcome"]
    assert_allclose(one.bounds()[shares], other.bounds()[shares], rtol=1e-8)
    ratio = other.bounds()["estimate"] / one.bounds()["estimate"]
    assert_allclose(ratio, -1 / 210, rtol=1e-8)


def test_a_bound_that_cannot_be_is_said():
    rows = rows_of()
    rows["z"] = rows["x"] + 0.7 * rows["z"]
    bounds = omitted_variable_bounds(panel_of(rows), SPEC, benchmarks=("z",)).bounds()
    last = bounds.iloc[-1]
    assert np.isnan(last["estimate"])
    assert "more of the term than there is" in last["note"]


def test_a_confounder_that_explains_all_leaves_an_estimate_without_interval():
    rows = rows_of()
    rows["z"] = rows["y"] + 0.5 * rows["z"]
    row = omitted_variable_bounds(panel_of(rows), SPEC, benchmarks=("z",)).bounds().iloc[0]
    assert row["r2_outcome"] == 1
    assert np.isfinite(row["estimate"])
    assert np.isnan([row["std_error"], row["conf_low"], row["conf_high"]]).all()
    assert "all of the outcome" in row["note"]


def test_an_outcome_of_which_nothing_is_left_cannot_be_undone():
    exact = replace(_item(estimate=1.0, dof=50), std_error=0.0, plain_error=0.0)
    assert exact.robustness_value(1.0) == exact.robustness_value(1.0, 0.95) == 1.0


def test_other_estimators_and_any_term():
    panel = panel_of(rows_of())
    for estimator in ("pooled", "between", "first_difference"):
        spec = replace(SPEC, estimator=estimator, vcov="robust")
        result = omitted_variable_bounds(panel, spec, "z", benchmarks=("x", "v"))
        expected = fit_panel(panel, spec).tidy().set_index("term").loc["z", "estimate"]
        assert_allclose(result.tidy()["estimate"].iloc[0], expected, rtol=1e-12)
        assert set(result.bounds()["benchmark"]) == {"x", "v"}


def test_without_controls_there_are_no_bounds():
    result = omitted_variable_bounds(panel_of(rows_of()), replace(SPEC, controls=()))
    assert result.bounds().empty
    assert tuple(result.bounds().columns[:8]) == TIDY == tuple(result.tidy().columns[:8])
    assert result.glance()["n_clusters"].iloc[0] == 40


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        (replace(SPEC, estimator="random"), {}, "not one plain least-squares"),
        (SPEC, {"term": "w"}, "term 'w' is not in the model"),
        (SPEC, {"benchmarks": ["w"]}, "benchmark 'w' is not in the model"),
        (SPEC, {"benchmarks": ["x"]}, "is the term itself"),
        (SPEC, {"benchmarks": "z"}, "is a list of terms"),
        (replace(SPEC, instruments={"x": "m"}), {}, "defined for least squares"),
        (SPEC, {"q": 0}, "q=0 is a share"),
        (SPEC, {"strengths": ()}, "strengths are multiples"),
        (SPEC, {"strengths": (-1,)}, "strengths are multiples"),
    ],
)
def test_refusals(spec, options, words):
    with pytest.raises(SpecError, match=words):
        omitted_variable_bounds(panel_of(rows_of()), spec, **options)


def test_refusals_of_the_result():
    result = omitted_variable_bounds(panel_of(rows_of()), SPEC)
    with pytest.raises(SpecError, match="no term 'xx'"):
        result.adjusted("xx", 0.1, 0.1)
    with pytest.raises(SpecError, match="shares of variance"):
        result.adjusted("x", 1.0, 0.1)
    with pytest.raises(InferenceError, match="between 0 and 1"):
        result.tidy(95)


def test_too_few_rows_for_the_formula_are_told():
    bare = replace(PATHS, controls=())
    with pytest.raises(InferenceError, match="leave 1 degrees of freedom"):
        mediation_omitted_bounds(panel_of(rows_of(n_units=3, n_periods=2)), bare)
