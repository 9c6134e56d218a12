"""Dynamic panels against plm, StatsPAI, Stata's printed output and the published tables on EmplUK.

Conventions: tests/oracles/dynamic_README.md. Stata prints 7 decimals; xtabond2's `small` multiplies
variances by (n-1)/(n-K) * G/(G-1), with G + 1 for G where there is no constant (it then prints
F(K, G)), and its Sargan statistic has an error variance on n.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from linearmodels.iv import IV2SLS
from numpy.testing import assert_allclose

from ex_cx.linkage.panel import Panel
from ex_cx.models.dynamic import DynamicSpec, DynamicTerm, fit_dynamic

FOLDER = Path(__file__).resolve().parents[1] / "oracles"
STATSPAI = json.loads((FOLDER / "dynamic_statspai.json").read_text(encoding="utf-8"))
PLM = json.loads((FOLDER / "dynamic_plm.json").read_text(encoding="utf-8"))


def _strict(term, *lags) -> DynamicTerm:
    return DynamicTerm(term=term, lags=lags, exogeneity="strict")


A = DynamicSpec(  # Arellano and Bond (1991), table 4, columns (a1) and (a2)
    outcome="n",
    outcome_lags=2,
    terms=(_strict("w", 0, 1), _strict("k", 0, 1, 2), _strict("ys", 0, 1, 2)),
    collapse=False,
)
B = replace(A, terms=(_strict("w", 0, 1), _strict("k", 0), _strict("ys", 0, 1)))  # column (b)
LIMITED = replace(
    A,
    outcome_instrument_lags=(2, 4),
    terms=(
        DynamicTerm(term="w", lags=(0, 1), instrument_lags=(2, 3)),
        DynamicTerm(term="k", exogeneity="predetermined", instrument_lags=(1, 2)),
        _strict("ys", 0, 1),
    ),
)
DIFFERENCE = DynamicSpec(  # the equation of Blundell and Bond (1998), table 4
    outcome="n",
    terms=(DynamicTerm(term="w", lags=(0, 1)), DynamicTerm(term="k", lags=(0, 1))),
    collapse=False,
)
SYSTEM = replace(DIFFERENCE, estimator="system")
SPECS = {
    "a": A,
    "b": B,
    "b_no_periods": replace(B, period_effects=False),
    "limited": LIMITED,
    "difference": DIFFERENCE,
    "system": SYSTEM,
}


def _firms() -> pd.DataFrame:
    firms = pd.read_csv(FOLDER / "dynamic_empluk.csv")
    logs = {"n": "emp", "w": "wage", "k": "capital", "ys": "output"}
    return firms.assign(**{new: np.log(firms[old]) for new, old in logs.items()})


def _panel(gaps=False) -> Panel:
    firms = _firms()
    if gaps:
        firms = firms[np.arange(1, len(firms) + 1) % 17 != 0]
    return Panel.from_frame(firms, unit="firm", period="year")


def _stata_panel() -> Panel:
    """Stata's abdata holds logarithms in single precision, which moves estimates by 1e-6."""
    logs = _firms()
    logs[["n", "w", "k", "ys"]] = logs[["n", "w", "k", "ys"]].astype("float32").astype(float)
    return Panel.from_frame(logs, unit="firm", period="year")


def _errors(result) -> np.ndarray:
    return np.sqrt(np.diag(result.vcov))


@pytest.mark.parametrize("case", PLM)
def test_plm(case):
    oracle, name = PLM[case], case
    gaps = name.startswith("gaps_")
    name, steps = name.removeprefix("gaps_").rsplit("_", 1)
    spec = SPECS[name.removesuffix("_collapsed")]
    spec = replace(spec, collapse="collapsed" in name, steps=1 if steps == "onestep" else 2)
    result = fit_dynamic(_panel(gaps), spec)
    assert result.n_instruments == oracle["instruments"]
    assert result.n_dependent == 0
    assert_allclose(result.coef, oracle["coef"], rtol=1e-8)
    assert_allclose(result.vcov, oracle["robust"], rtol=1e-6, atol=1e-9 * result.vcov.max())
    if "ar" in oracle:
        assert_allclose(result.ar, oracle["ar"], rtol=1e-7)
    if spec.steps == 2:
        assert_allclose(result.hansen, oracle["hansen"], rtol=1e-8)
        assert result.overid_df == oracle["df"]
        plain = fit_dynamic(_panel(gaps), replace(spec, vcov="unadjusted"))
        assert_allclose(plain.vcov, oracle["unadjusted"], rtol=1e-6, atol=1e-9 * plain.vcov.max())
        if "ar" in oracle:
            assert_allclose(plain.ar, oracle["ar_unadjusted"], rtol=1e-7)


@pytest.mark.parametrize("case", STATSPAI)
def test_statspai_on_a_panel_with_holes(case):
    estimator, steps, periods = case.split("_")
    spec = DynamicSpec(
        outcome="n",
        terms=(DynamicTerm(term="w", exogeneity="predetermined"), "k"),
        estimator=estimator,
        steps=int(steps),
        period_effects=periods == "periods",
    )
    result, oracle = fit_dynamic(_panel(gaps=True), spec), STATSPAI[case]
    assert_allclose(result.coef, oracle["coef"], rtol=1e-8)
    assert_allclose(_errors(result), oracle["std_error"], rtol=1e-8)
    assert_allclose([*result.ar, result.hansen], [*oracle["ar"], oracle["hansen"]], rtol=1e-8)
    assert (result.n_instruments, result.overid_df) == (oracle["instruments"], oracle["df"])


def test_stata_xtabond_manual():
    # xtabond n l(0/1).w l(0/2).(k ys) yr1980-yr1984 year, lags(2) noconstant [twostep] vce(robust)
    one = fit_dynamic(_stata_panel(), replace(A, steps=1))
    assert (one.n_obs, one.n_units, one.n_instruments) == (611, 140, 41)
    coef = "6862261 -0853582 -6078208 3926237 3568456 -0580012 -0199475 6085073 -7111651 1057969"
    error = "1445943 0560155 1782055 1679931 0590203 0731797 0327126 1725313 2317163 1412021"
    assert_allclose(one.coef, [float(c) / 1e7 for c in coef.split()], rtol=0, atol=1e-6)
    assert_allclose(_errors(one), [float(e) / 1e7 for e in error.split()], rtol=0, atol=1e-6)
    assert_allclose(one.ar, [-3.5996, -0.51603], rtol=0, atol=5e-5)
    two = fit_dynamic(_stata_panel(), A)
    assert_allclose([two.coef[0], _errors(two)[0]], [0.6287089, 0.1934138], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "coef", "error", "sargan"),
    [
        (
            replace(A, steps=1),
            [0.686, -0.085, -0.608, 0.393, 0.357, -0.058, -0.020, 0.609, -0.711, 0.106],
            [0.145, 0.056, 0.178, 0.168, 0.059, 0.073, 0.033, 0.173, 0.232, 0.141],
            65.8,
        ),
        (
            replace(A, vcov="unadjusted"),
            [0.629, -0.065, -0.526, 0.311, 0.278, 0.014, -0.040, 0.592, -0.566, 0.101],
            [0.090, 0.027, 0.054, 0.094, 0.045, 0.053, 0.026, 0.116, 0.140, 0.113],
            31.4,
        ),
        (
            replace(B, vcov="unadjusted"),
            [0.474, -0.053, -0.513, 0.225, 0.293, 0.610, -0.446],
            [0.085, 0.027, 0.049, 0.080, 0.039, 0.109, 0.125],
            30.1,
        ),
    ],
    ids=["a1", "a2", "b"],
)
def test_arellano_and_bond_1991_table_4(spec, coef, error, sargan):
    result = fit_dynamic(_panel(), spec)
    assert_allclose(result.coef, coef, rtol=0, atol=0.00051)
    assert_allclose(_errors(result), error, rtol=0, atol=0.00051)
    statistic = result.sargan if spec.steps == 1 else result.hansen
    assert_allclose(statistic, sargan, rtol=0, atol=0.051)
    assert result.overid_df == 25


def test_xtabond2_wages_and_capital_instrumented():
    # Roodman (2009), section 3.3: gmm(L.(n w k)) iv(L(0/2).ys yr*) nolevel robust small
    terms = (
        DynamicTerm(term="w", lags=(0, 1)),
        DynamicTerm(term="k", lags=(0, 1, 2)),
        _strict("ys", 0, 1, 2),
    )
    result = fit_dynamic(_stata_panel(), replace(A, terms=terms, steps=1))
    coef = "8179867 -1122756 -6816685 6557083 3525689 -1536626 -0304529 6509498 -9162028 2786584"
    assert_allclose(result.coef, [float(c) / 1e7 for c in coef.split()], rtol=0, atol=2e-6)
    n, k, g = result.n_obs, 16, result.n_units
    small = np.sqrt((n - 1) / (n - k) * (g + 1) / g)
    error = "0859761 0502366 1425813 202368 1217997 0862928 0321355 189582 2639274 1855286"
    error = [float(f"0.{e}") for e in error.split()]
    assert_allclose(small * _errors(result), error, rtol=0, atol=2e-6)
    assert_allclose(result.ar, [-5.39, -0.78], rtol=0, atol=0.0051)
    assert (result.n_instruments, result.overid_df) == (90, 74)
    assert_allclose(result.sargan * n / (n - k), 120.62, rtol=0, atol=0.0051)
    assert_allclose(result.hansen, 73.72, rtol=0, atol=0.0051)


def test_xtabond2_system():
    # Roodman (2009), section 3.4: gmmstyle(L.(n w k)) ivstyle(yr*, equation(level)) robust small
    result = fit_dynamic(_stata_panel(), replace(SYSTEM, steps=1))
    assert (result.n_obs, result.n_units, result.n_instruments) == (891, 140, 113)
    assert_allclose(
        result.coef, [0.9356053, -0.6309761, 0.4826203, 0.4839299, -0.4243928], rtol=0, atol=2e-6
    )
    small = np.sqrt(890 / (891 - 13) * 140 / 139)
    assert_allclose(
        small * _errors(result),
        [0.026569, 0.1192834, 0.1383132, 0.0544281, 0.059088],
        rtol=0,
        atol=2e-6,
    )
    assert_allclose(result.ar, [-5.46, -0.25], rtol=0, atol=0.0051)
    assert_allclose(result.hansen, 110.70, rtol=0, atol=0.0051)
    assert result.overid_df == 100


def test_identity_weights_are_two_stage_least_squares():
    spec = replace(
        A,
        outcome_lags=1,
        outcome_instrument_lags=(2, 3),
        terms=(_strict("k", 0),),
        collapse=True,
        steps=1,
        first_step="identity",
    )
    result = fit_dynamic(_panel(), spec)
    firms = _firms().sort_values(["firm", "year"])  # firms have no gaps, so that rows are years
    by = firms.groupby("firm")
    change = by[["n", "k"]].diff().assign(firm=firms["firm"], year=firms["year"])
    change["n_lag1"] = change.groupby("firm")["n"].shift()
    change["z2"], change["z3"] = by["n"].shift(2), by["n"].shift(3).fillna(0)
    rows = change.dropna()
    periods = pd.get_dummies(rows["year"], dtype=float)
    exogenous = pd.concat([rows[["k"]], periods], axis=1)
    exogenous.columns = [f"exogenous{i}" for i in range(exogenous.shape[1])]
    oracle = IV2SLS(rows["n"], exogenous, rows[["n_lag1"]], rows[["z2", "z3"]]).fit(
        cov_type="clustered", clusters=rows["firm"], debiased=False
    )
    pick = ["n_lag1", "exogenous0"]
    assert_allclose(result.coef, oracle.params[pick], rtol=1e-9)
    assert_allclose(result.vcov, oracle.cov.loc[pick, pick], rtol=1e-8)
