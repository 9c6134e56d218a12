"""Every estimator and every error against R, on data that packages ship.

The answers are those of plm, sandwich, clubSandwich and lme4 (tests/oracles/estimators.R, with its
output). R's covariances carry no small-sample factor where ours do; `FACTORS` applies ours by
hand. Data: Grunfeld as statsmodels ships it, Produc and wage_panel as linearmodels does, Petersen's
simulated panel from tests/oracles/petersen.csv.gz.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from linearmodels.datasets import munnell, wage_panel
from numpy.testing import assert_allclose
from statsmodels.datasets import grunfeld

from ex_cx.estimation.covariance import Vcov
from ex_cx.estimation.inference import cluster_factor
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelResult, PanelSpec, fit_panel
from ex_cx.models.spec import Estimator

FOLDER = Path(__file__).resolve().parents[1] / "oracles"
ORACLE = json.loads((FOLDER / "estimators.json").read_text(encoding="utf-8"))["results"]
FIXED = {"wage_panel": ("educ", "black")}  # constant within units

SPECS = {
    "pooled": {"estimator": "pooled", "absorb": ()},
    "between": {"estimator": "between", "absorb": ()},
    "unit": {"absorb": ("unit",)},
    "both": {"absorb": ("unit", "period")},
    "difference": {"estimator": "first_difference", "absorb": ("unit",)},
    "random": {"estimator": "random", "absorb": ("unit",)},
    "mundlak": {"estimator": "correlated_random", "absorb": ("unit",)},
    "fama": {"estimator": "fama_macbeth", "absorb": ()},
}
ERRORS = {
    "unadjusted": "unadjusted",
    "reml": "unadjusted",
    "macbeth": "unadjusted",
    "hc1": "robust",
    "cr0": "cluster",
    "cr1": "cluster",
    "cr3": "jackknife",
    "two_way": "cluster_two_way",
    "dk": "driscoll_kraay",
}
# parameters charged beside the terms by errors clustered by unit: the constant, or period effects
# and 1 for the unit effects nested in the clusters; none in differences without a constant
CHARGED = {"unit": 1, "both": "periods", "difference": 0, "random": 1, "mundlak": 1}
# our factor over R's: HC1, CR1 of sandwich and least-squares errors carry the same
FACTORS: dict[str, Callable[[PanelResult, str], float]] = {
    "cr0": lambda r, kind: cluster_factor(
        r.n_clusters, r.n_obs, len(r.terms), r.n_periods if kind == "both" else CHARGED[kind]
    ),
    "cr3": lambda r, kind: (r.n_clusters - 1) / r.n_clusters,
    "two_way": lambda r, kind: cluster_factor(
        min(r.n_clusters, r.n_periods), r.n_obs, len(r.terms), 1
    ),
    "dk": lambda r, kind: cluster_factor(
        r.n_periods, r.n_obs, len(r.terms), 1 if kind == "pooled" else r.n_units
    ),
}


@cache
def _case(name: str) -> tuple[Panel, PanelSpec]:
    if name == "grunfeld":
        rows = grunfeld.load_pandas().data
        rows = rows[rows["firm"] != "American Steel"].rename(columns={"invest": "inv"})
        panel = Panel.from_frame(rows, unit="firm", period="year")
        return panel, PanelSpec(outcome="inv", exposures=("value", "capital"))
    if name in ("produc", "holed"):
        rows = munnell.load().sort_values(["STATE", "YR"], ignore_index=True)
        if name == "holed":
            rows = rows[(np.arange(len(rows)) + 1) % 7 != 0]
        logs = {"lgsp": "GSP", "lpcap": "P_CAP", "lpc": "PC", "lemp": "EMP"}
        rows = rows.assign(**{new: np.log(rows[old]) for new, old in logs.items()})
        panel = Panel.from_frame(rows.rename(columns={"UNEMP": "unemp"}), unit="STATE", period="YR")
        return panel, PanelSpec(outcome="lgsp", exposures=("lpcap", "lpc", "lemp", "unemp"))
    if name == "wage_panel":
        panel = Panel.from_frame(wage_panel.load(), unit="nr", period="year")
        return panel, PanelSpec(outcome="lwage", exposures=("expersq", "married", "union"))
    rows = pd.read_csv(FOLDER / "petersen.csv.gz")
    panel = Panel.from_frame(rows, unit="firm", period="year")
    return panel, PanelSpec(outcome="y", exposures=("x",))


@pytest.mark.parametrize(("name", "case"), [(n, c) for n, cases in ORACLE.items() for c in cases])
def test_r(name, case):
    kind, errors = case.split("_", 1)
    panel, spec = _case(name)
    answer = ORACLE[name][case]
    controls = tuple(c for c in FIXED.get(name, ()) if c in answer["coef"])
    spec = replace(spec, controls=controls, vcov=ERRORS[errors], **SPECS[kind])
    result = fit_panel(panel, spec)
    tidy = result.tidy().set_index("term")
    factor = FACTORS.get(errors, lambda r, kind: 1.0)(result, kind)
    terms = list(answer["coef"])
    assert set(terms) == set(tidy.index)
    # lme4 finds its variances by search, to about 1e-8
    coef_tol, se_tol = (1e-7, 1e-7) if errors == "reml" else (1e-10, 1e-9)
    coef, se = (np.array([answer[what][term] for term in terms]) for what in ("coef", "se"))
    assert_allclose(tidy.loc[terms, "estimate"], coef, rtol=coef_tol)
    assert_allclose(tidy.loc[terms, "std_error"], se * np.sqrt(factor), rtol=se_tol)


def test_r_covers_every_estimator_and_every_error():
    asked = {tuple(case.split("_", 1)) for cases in ORACLE.values() for case in cases}
    assert {SPECS[kind].get("estimator", "within") for kind, _ in asked} == set(get_args(Estimator))
    elsewhere = {"bias_reduced"}  # has a test of its own
    assert {ERRORS[errors] for _, errors in asked} >= set(get_args(Vcov)) - elsewhere


def _one(panel: Panel, spec: PanelSpec, vcov: str) -> tuple[float, float]:
    result = fit_panel(panel, replace(spec, vcov=vcov))
    return float(result.coef[0]), float(np.sqrt(result.vcov[0, 0]))


def test_petersens_published_errors():
    """The figures that Petersen posts with his test data (Petersen 2009, RFS 22(1), 435-480).

    Read as quoted by users who check their code against them; the page is
    kellogg.northwestern.edu/faculty/petersen/htm/papers/se/test_data.htm. Clustering is Stata's CR1
    on each side, and his two-way matrix adds up such matrices, each with its own factor and HC1 for
    the intersection; ours has one factor for all three, that of the smaller number of clusters.
    """
    panel, spec = _case("petersen")
    spec = replace(spec, estimator="pooled", absorb=())
    years_as_units = Panel.from_frame(panel.frame, unit="year", period="firm")
    coef, unadjusted = _one(panel, spec, "unadjusted")
    firm, year = _one(panel, spec, "cluster")[1], _one(years_as_units, spec, "cluster")[1]
    robust = _one(panel, spec, "robust")[1]
    both = np.sqrt(firm**2 + year**2 - robust**2)
    published = [1.0348, 0.028583, 0.050596, 0.033389, 0.053558]
    assert_allclose([round(coef, 4), unadjusted, firm, year, both], published, rtol=0, atol=5.1e-7)


def test_two_way_errors_do_not_depend_on_which_side_is_the_unit():
    panel, spec = _case("petersen")
    spec = replace(spec, estimator="pooled", absorb=())
    turned = Panel.from_frame(panel.frame, unit="year", period="firm")
    ours, theirs = (_one(p, spec, "cluster_two_way") for p in (panel, turned))
    assert_allclose(ours, theirs, rtol=1e-12)
