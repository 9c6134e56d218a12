"""Diagnostics against R's plm, linearmodels, hand calculations and panels made to light them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from linearmodels.datasets import munnell
from linearmodels.panel import RandomEffects
from numpy.testing import assert_allclose
from scipy import stats
from statsmodels.datasets import grunfeld
from statsmodels.stats.outliers_influence import variance_inflation_factor

from ex_cx.estimation.inference import cluster_factor
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.robustness import diagnostics
from ex_cx.robustness.diagnostics import diagnose

ORACLE = json.loads((Path(__file__).parents[1] / "oracles" / "plm_tests.json").read_text())
SPEC = PanelSpec(outcome="y", exposures=("x",), controls=("z",))
ONE_WAY = replace(SPEC, absorb=("unit",))


def _shipped(name: str) -> tuple[Panel, PanelSpec]:
    if name == "grunfeld":
        rows = grunfeld.load_pandas().data
        rows = rows[rows["firm"] != "American Steel"]
        panel = Panel.from_frame(rows, unit="firm", period="year")
        return panel, PanelSpec(outcome="invest", exposures=("value", "capital"))
    rows = munnell.load()
    logs = {"lgsp": "GSP", "lpcap": "P_CAP", "lpc": "PC", "lemp": "EMP"}
    rows = rows.assign(**{new: np.log(rows[old]) for new, old in logs.items()}, unemp=rows["UNEMP"])
    panel = Panel.from_frame(rows, unit="STATE", period="YR")
    return panel, PanelSpec(outcome="lgsp", exposures=("lpcap", "lpc", "lemp", "unemp"))


def _rows(n_units: int = 60, n_periods: int = 12, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    frame = pd.DataFrame({"unit": np.arange(n) // n_periods, "period": np.arange(n) % n_periods})
    frame["x"], frame["z"] = rng.normal(size=(2, n))
    frame["e"] = rng.normal(size=n)
    frame["y"] = frame["x"] + frame["e"]
    return frame


def _found(rows: pd.DataFrame, spec: PanelSpec = SPEC) -> pd.DataFrame:
    panel = Panel.from_frame(rows, unit="unit", period="period")
    return diagnose(panel, spec).set_index(["diagnostic", "term"])


@pytest.mark.parametrize("name", ["grunfeld", "produc"])
def test_equal_to_plm(name):
    panel, spec = _shipped(name)
    found = diagnose(panel, spec).set_index("diagnostic")
    oracle = ORACLE["results"][name]
    cd = found.loc["Cross-section dependence"]
    assert_allclose(cd["value"], oracle["cd"]["statistic"], rtol=1e-10)
    assert_allclose(cd["p_value"], oracle["cd"]["p"], rtol=1e-8)
    g, t = panel.n_units, panel.n_periods
    factor = cluster_factor(g, g * (t - 2), 1, 1)  # R: HC0, no factor
    serial = found.loc["Serial correlation", "value"] * factor
    assert_allclose(serial, oracle["wooldridge"]["statistic"], rtol=1e-10)


def test_hausman_with_one_variance_by_hand_from_linearmodels_and_with_two_equal_to_plm():
    panel, spec = _shipped("grunfeld")
    two = fit_panel(panel, replace(spec, absorb=("unit",), vcov="unadjusted"))
    one = fit_panel(panel, replace(spec, estimator="random", absorb=(), vcov="unadjusted"))
    classical = (two.coef - one.coef) @ np.linalg.solve(two.vcov - one.vcov, two.coef - one.coef)
    assert_allclose(classical, ORACLE["results"]["grunfeld"]["hausman"]["statistic"], rtol=1e-9)
    rows = panel.frame.set_index([panel.unit, panel.period])
    rows = rows[[spec.outcome, *spec.exposures]].astype(float).assign(constant=1.0)
    theta = float(RandomEffects(rows.iloc[:, 0], rows.iloc[:, 1:]).fit().theta.iloc[0, 0])
    means = rows.groupby(level=0).transform("mean")
    ends = [rows - theta * means, (rows - means).drop(columns="constant")]
    random, within = (sm.OLS(end.iloc[:, 0], end.iloc[:, 1:]).fit() for end in ends)
    gap = within.params - random.params[:-1]
    breads = [fit.normalized_cov_params.iloc[:2, :2] for fit in (within, random)]
    value = float(gap @ np.linalg.solve(random.scale * (breads[0] - breads[1]), gap))
    hausman = diagnose(panel, spec).set_index("diagnostic").loc["Hausman test"]
    assert_allclose(hausman["value"], value, rtol=1e-7)
    assert_allclose(hausman["p_value"], stats.chi2.sf(value, 2), rtol=1e-6)


def test_hausman_exists_where_two_variances_leave_no_positive_matrix():
    panel, spec = _shipped("produc")
    hausman = diagnose(panel, spec).set_index("diagnostic").loc["Hausman test"]
    assert hausman["value"] > 0
    assert 0 <= hausman["p_value"] <= 1


def test_mundlak_by_hand_from_the_correlated_random_effects_fit():
    rows = _rows()
    panel = Panel.from_frame(rows, unit="unit", period="period")
    jackknife = replace(SPEC, estimator="correlated_random", vcov="jackknife")
    fit = fit_panel(panel, jackknife)
    gap, spread = fit.coef[2:], fit.vcov[2:, 2:]
    value = gap @ np.linalg.inv(spread) @ gap / 2
    line = _found(rows).loc[("Mundlak test", "")]
    assert_allclose(line["value"], value, rtol=1e-9)
    assert_allclose(line["p_value"], stats.f.sf(value, 2, 59), rtol=1e-8)


def test_inflation_equals_that_of_dummy_regression():
    rows = _rows(n_units=8, n_periods=6)
    rows["z"] = 0.8 * rows["x"] + 0.4 * rows["z"]
    dummies = pd.get_dummies(rows[["unit", "period"]].astype(str), drop_first=True, dtype=float)
    design = sm.add_constant(pd.concat([rows[["x", "z"]], dummies], axis=1))
    within_x = sm.OLS(rows["x"], design.drop(columns=["x", "z"])).fit().resid
    within_z = sm.OLS(rows["z"], design.drop(columns=["x", "z"])).fit().resid
    r_squared = np.corrcoef(within_x, within_z)[0, 1] ** 2
    line = _found(rows).loc[("Variance inflation", "x")]
    assert_allclose(line["value"], 1 / (1 - r_squared), rtol=1e-8)
    assert line["value"] < variance_inflation_factor(design.to_numpy(), 1)  # dummies count there


def test_nothing_lights_up_where_nothing_is_wrong():
    lights = _found(_rows())["light"]
    assert set(lights) == {"green"}, lights


@pytest.mark.parametrize(
    ("change", "spec", "line", "light"),
    [
        ({"y": "y + 2 * between"}, SPEC, ("Mundlak test", ""), "amber"),
        ({"y": "y + 3 * common"}, ONE_WAY, ("Cross-section dependence", ""), "amber"),
        ({"x": "x * 0.05 + 3 * between"}, SPEC, ("Variation within units", "x"), "red"),
        ({"z": "x + 0.1 * z"}, SPEC, ("Variance inflation", "z"), "red"),
        ({"x": "x * heavy"}, SPEC, ("Leverage of single clusters", "x"), "amber"),
        ({"x": "x * heavy"}, SPEC, ("Effective clusters", "x"), "red"),
        ({"x_se": "0 * x + 0.9"}, SPEC, ("Reliability within units", "x"), "red"),
    ],
)  # fmt: skip
def test_each_lights_up_where_it_must(change, spec, line, light):
    rows = _rows()
    rng = np.random.default_rng(8)
    rows["between"] = rng.normal(size=60)[rows["unit"]]
    rows["x"] = rows["x"] + rows["between"] if "y" in change else rows["x"]
    rows["common"] = rng.normal(size=12)[rows["period"]]
    rows["heavy"] = np.where(rows["unit"] == 5, 50.0, 1.0)
    rows = rows.assign(**{name: rows.eval(text) for name, text in change.items()})
    assert _found(rows, spec).loc[line, "light"] == light


def test_serial_correlation_is_amber_only_for_errors_that_ignore_it():
    rows = _rows()
    walk = rows.groupby("unit")["e"].cumsum()
    rows["y"] = rows["x"] + walk
    key = ("Serial correlation", "")
    assert _found(rows).loc[key, "light"] == "green"
    assert _found(rows).loc[key, "reading"].endswith("the errors asked for allow for it")
    assert _found(rows, replace(SPEC, vcov="robust")).loc[key, "light"] == "amber"


def test_reliability_is_one_less_error_over_variance_net_of_effects():
    rows = _rows()
    rows["x_se"] = 0.5
    line = _found(rows).loc[("Reliability within units", "x")]
    net = rows["x"] - rows.groupby("unit")["x"].transform("mean")
    net = net - net.groupby(rows["period"]).transform("mean")
    variance = (net**2).sum() / (len(rows) - 60)
    assert_allclose(line["value"], 1 - 0.25 / variance, rtol=1e-9)


def test_what_cannot_be_computed_says_why():
    rows = _rows(n_units=40, n_periods=2)
    found = _found(rows)
    assert found.loc[("Cross-section dependence", ""), "reading"] == (
        "Could not be computed: no two units share three periods."
    )


def test_a_withheld_error_counts_with_the_mean_variance_of_an_answer():
    rows = _rows()
    rows["x_n"] = np.where(rows["period"] < 4, 5, 20)
    rows["x_se"] = np.where(rows["x_n"] < 10, np.nan, 2 / np.sqrt(20))
    whole = rows.assign(x_se=2 / np.sqrt(rows["x_n"]))
    key = ("Reliability within units", "x")
    assert_allclose(_found(rows).loc[key, "value"], _found(whole).loc[key, "value"], rtol=1e-12)


def test_of_very_many_units_an_even_spread_is_paired(monkeypatch):
    monkeypatch.setattr(diagnostics, "MANY_UNITS", 30)
    rows = _rows()
    rows["y"] = rows["x"] + rows["e"] + 2 * np.sin(rows["period"])
    line = _found(rows).loc[("Cross-section dependence", "")]
    assert ", by 30 of 60 units" in line["reading"]
    unit = pd.get_dummies(rows["unit"], dtype=float)
    residual = sm.OLS(rows["y"], pd.concat([rows[["x", "z"]], unit], axis=1)).fit().resid
    grid = residual.to_numpy().reshape(60, 12)[np.linspace(0, 59, 30).round().astype(int)]
    pairs = np.corrcoef(grid)[np.triu_indices(30, 1)]
    assert_allclose(line["value"], np.sqrt(12 / len(pairs)) * pairs.sum(), rtol=1e-8)


def test_reliability_does_not_depend_on_the_scale_of_weights():
    rows = _rows()
    rows["x_se"] = 0.2 + 0.02 * rows["period"]
    rows["w"] = 1.0 + rows["period"] % 5
    key = ("Reliability within units", "x")
    spec = replace(SPEC, weights="w")
    one, other = (
        _found(rows.assign(w=scale * rows["w"]), spec).loc[key, "value"] for scale in (1.0, 500.0)
    )
    assert 0 < one < 1
    assert_allclose(one, other, rtol=1e-9)
    assert "count unequally" in _found(rows, spec).loc[("Mundlak test", ""), "reading"]


def test_two_periods_have_no_serial_correlation_to_test():
    found = _found(_rows(n_units=40, n_periods=2))
    assert found.loc[("Serial correlation", ""), "reading"] == (
        "Could not be computed: no unit is seen in three periods in a row."
    )


def test_mundlak_where_a_unit_alone_has_its_pattern_of_periods():
    rows = _rows(n_units=30)
    gaps = pd.MultiIndex.from_tuples([(0, 3), (0, 5), (1, 7)])
    rows = rows[~pd.MultiIndex.from_frame(rows[["unit", "period"]]).isin(gaps)]
    line = _found(rows).loc[("Mundlak test", "")]
    assert np.isfinite(line["value"])
    assert line["light"] == "green"


def test_inflation_by_a_power_of_the_same_column_is_no_red_light():
    rows = _rows()
    rows["x"] += 10
    lines = _found(rows, replace(SPEC, exposures=("x", "x^2")))
    for term, other in (("x", "x^2"), ("x^2", "x")):
        line = lines.loc[("Variance inflation", term)]
        assert line["value"] > diagnostics.SEVERE_VIF
        assert line["light"] == "amber"
        assert f"it shares a column with {other}; read them together" in line["reading"]
    rows["twin"] = rows["x"] + 0.1 * rows["z"] * rows["e"]
    alone = _found(rows, replace(SPEC, exposures=("x", "twin")))
    assert alone.loc[("Variance inflation", "x"), "light"] == "red"
