"""Sizes of effects by hand and against statsmodels' linear contrasts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from numpy.testing import assert_allclose

from ex_cx.errors import SpecError
from ex_cx.linkage.panel import Panel
from ex_cx.models.magnitude import effect_sizes, predict_change
from ex_cx.models.regress import PanelSpec, fit_panel

SPEC = PanelSpec(outcome="y", exposures=("x", "z"), vcov="unadjusted")


def _rows() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    n = 20 * 6
    rows = pd.DataFrame({"unit": np.arange(n) // 6, "period": np.arange(n) % 6})
    rows["x"], rows["z"] = rng.normal(size=(2, n))
    rows["x"] += 0.5 * rows["z"]
    rows["y"] = rows["x"] - 2 * rows["z"] + rng.normal(size=20)[rows["unit"]] + rng.normal(size=n)
    return rows


def _panel(rows: pd.DataFrame) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period")


def test_joint_change_equals_a_linear_contrast_of_statsmodels():
    rows = _rows()
    oracle = smf.ols("y ~ x + z + C(unit) + C(period)", rows).fit().t_test("2 * x - 3 * z = 0")
    ours = predict_change(fit_panel(_panel(rows), SPEC), {"x": 2, "z": -3}, conf_level=0.9).iloc[0]
    assert ours["term"] == "x +2, z -3"
    assert_allclose(ours["estimate"], oracle.effect[0], rtol=1e-9)
    assert_allclose(ours["std_error"], oracle.sd.item(), rtol=1e-9)
    assert_allclose(ours["p_value"], oracle.pvalue.item(), rtol=1e-8)
    low, high = oracle.conf_int(alpha=0.1)[0]
    assert_allclose(ours[["conf_low", "conf_high"]].astype(float), [low, high], rtol=1e-8)


def test_one_change_of_one_unit_is_the_coefficient():
    result = fit_panel(_panel(_rows()), SPEC)
    pd.testing.assert_frame_equal(
        predict_change(result, {"z": 1}).drop(columns="term"),
        result.tidy().iloc[[1]].drop(columns="term").reset_index(drop=True),
    )


def test_sizes_by_hand():
    rows = _rows()
    panel = _panel(rows)
    result = fit_panel(panel, SPEC)
    sizes = effect_sizes(panel, result).set_index(["term", "change"])
    within = rows["x"] - rows.groupby("unit")["x"].transform("mean")
    within -= within.groupby(rows["period"]).transform("mean")
    sd = np.sqrt((within**2).mean())
    assert_allclose(sizes.loc[("x", "one within-unit sd"), "size"], sd, rtol=1e-9)
    quartiles = rows.groupby("unit")["x"].quantile([0.25, 0.75]).unstack()  # noqa: PD010
    distance = (quartiles[0.75] - quartiles[0.25]).median()
    change = "25th to 75th percentile of the unit's own history"
    assert_allclose(sizes.loc[("x", change), "size"], distance, rtol=1e-12)
    assert_allclose(sizes.loc[("x", change), "estimate"], result.coef[0] * distance, rtol=1e-9)
    assert_allclose(
        sizes["statistic"].groupby("term").std(), 0, atol=1e-9
    )  # sizes are taken as given


def test_what_does_not_exist_is_said():
    result = fit_panel(_panel(_rows()), SPEC)
    with pytest.raises(SpecError) as found:
        predict_change(result, {"zz": 1})
    assert str(found.value) == "There is no coefficient 'zz' among x, z. Did you mean 'z'?"
    with pytest.raises(SpecError, match="No change is given"):
        predict_change(result, {})


def test_a_weighted_spread_is_that_of_weighted_residuals_whatever_the_weights_scale():
    rows = _rows()
    rows["w"] = 100.0 + 400 * (np.arange(len(rows)) % 7)
    residual = smf.wls("x ~ C(unit) + C(period)", rows, weights=rows["w"]).fit().resid
    by_hand = np.sqrt(np.average(residual**2, weights=rows["w"]))
    for scale in (1.0, 1e-3):
        panel = _panel(rows.assign(w=scale * rows["w"]))
        spec = PanelSpec(outcome="y", exposures=("x",), weights="w")
        sizes = effect_sizes(panel, fit_panel(panel, spec)).set_index("change")
        assert_allclose(sizes.loc["one within-unit sd", "size"], by_hand, rtol=1e-9)


def test_one_unit_of_one_term_has_the_interval_of_the_regression():
    panel = _panel(_rows())
    result = fit_panel(panel, replace(SPEC, vcov="bias_reduced"))  # each term its own df
    assert len(set(result.df_by_term)) == 2
    ones = effect_sizes(panel, result).query("change == 'one unit'")
    both = pd.concat([predict_change(result, {"z": 1.0}), ones], ignore_index=True)
    expected = result.tidy().iloc[[1, 0, 1]]
    for column in ("p_value", "conf_low", "conf_high"):
        assert_allclose(both[column], expected[column], rtol=1e-12)


@pytest.mark.parametrize("estimator", ["pooled", "first_difference", "random", "correlated_random"])
def test_sizes_of_any_estimator_are_those_of_the_exposure_within_units(estimator):
    panel = _panel(_rows())
    within = effect_sizes(panel, fit_panel(panel, SPEC))
    result = fit_panel(panel, replace(SPEC, estimator=estimator))
    sizes = effect_sizes(panel, result)
    assert_allclose(sizes["size"], within["size"], rtol=1e-12)
    assert_allclose(sizes["estimate"], np.repeat(result.coef[:2], 3) * within["size"], rtol=1e-12)


@pytest.mark.parametrize("estimator", ["between", "fama_macbeth"])
def test_estimators_that_compare_units_have_no_sizes_within_them(estimator):
    panel = _panel(_rows())
    result = fit_panel(panel, replace(SPEC, estimator=estimator))
    with pytest.raises(SpecError, match=f"estimator='{estimator}' compares units"):
        effect_sizes(panel, result)


@pytest.mark.parametrize("change", [float("nan"), float("inf"), "1", None])
def test_a_change_that_is_no_number_is_refused(change):
    with pytest.raises(SpecError, match=r"change in 'x' is .* Give a finite number"):
        predict_change(fit_panel(_panel(_rows()), SPEC), {"x": change})
