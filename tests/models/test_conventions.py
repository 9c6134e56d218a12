"""Small-sample conventions, each against the package that has it, with that package's defaults.

Oracles: linearmodels run here; R's clubSandwich by tests/oracles/conventions_clubsandwich.R, whose
output is committed; pyfixest without a small-sample factor (its own changes with the hash seed),
the factor of R's fixest written out by hand; Stata's from its manual, the refits by statsmodels.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pyfixest as pf
import pytest
import statsmodels.api as sm
from linearmodels.datasets import munnell
from linearmodels.panel import FirstDifferenceOLS, PanelOLS, PooledOLS
from numpy.testing import assert_allclose
from pyfixest.demeaners import MapDemeaner
from statsmodels.datasets import grunfeld

from ex_cx.errors import SpecError
from ex_cx.estimation.conventions import Match, Sizes, small_sample
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelSpec, fit_panel

pytestmark = pytest.mark.filterwarnings("ignore::Warning")  # the oracles' own

ORACLE = json.loads(
    (Path(__file__).parents[1] / "oracles" / "conventions_clubsandwich.json").read_text()
)["results"]
EFFECTS = {"pooled": (), "unit": ("unit",), "period": ("period",), "both": ("unit", "period")}
EXACT = {
    "ssc": pf.ssc(k_adj=False, G_adj=False),
    "demeaner": MapDemeaner(fixef_tol=1e-14, fixef_maxiter=100_000),
}
SPEC = PanelSpec(outcome="y", exposures=("x",), controls=("z",))


def rows_of(share: float = 1.0, seed: int = 1, n_units: int = 12, n_periods: int = 7):
    """Units in sites of three, effects of both kinds in everything, `share` of the rows seen."""
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    unit, period = np.divmod(np.arange(n), n_periods)
    effect = 2 * rng.normal(size=n_units)[unit] + rng.normal(size=n_periods)[period]
    frame = pd.DataFrame({"unit": unit, "period": period, "site": unit // 3})
    frame["x"] = effect / 2 + rng.normal(size=n)
    frame["z"] = effect / 3 + frame["x"] / 2 + rng.normal(size=n)
    frame["y"] = 0.4 * frame["x"] - 0.3 * frame["z"] + effect + rng.normal(size=n)
    return frame[rng.uniform(size=n) < share].reset_index(drop=True)


def panel_of(rows, cluster=None) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period", cluster=cluster)


def spec_of(effects: tuple[str, ...], **changes) -> PanelSpec:
    estimator = "within" if effects else "pooled"
    return replace(SPEC, absorb=effects, estimator=estimator, **changes)


def shipped(name: str) -> tuple[Panel, PanelSpec]:
    """The panel and terms behind a case of the R script."""
    if name == "grunfeld":
        rows = grunfeld.load_pandas().data
        rows = rows[rows["firm"] != "American Steel"].rename(columns={"invest": "inv"})
        panel = Panel.from_frame(rows, unit="firm", period="year")
        return panel, PanelSpec(outcome="inv", exposures=("value", "capital"))
    rows = munnell.load().sort_values(["STATE", "YR"], ignore_index=True)
    rows = rows.assign(region=np.arange(len(rows)) // 17 // 5)
    if name.startswith("holed"):
        rows = rows[(np.arange(len(rows)) + 1) % 7 != 0]
    logs = {"lgsp": "GSP", "lpcap": "P_CAP", "lpc": "PC", "lemp": "EMP"}
    rows = rows.assign(**{new: np.log(rows[old]) for new, old in logs.items()}, unemp=rows["UNEMP"])
    cluster = "region" if name.endswith("region") else None
    panel = Panel.from_frame(rows, unit="STATE", period="YR", cluster=cluster)
    return panel, PanelSpec(outcome="lgsp", exposures=("lpcap", "lpc", "lemp", "unemp"))


def equal_to_r(name: str, effects: str, kind: str, **changes) -> None:
    """Estimates, errors and degrees of freedom, to the digits that R printed."""
    panel, spec = shipped(name)
    absorbed = EFFECTS[effects]
    estimator = "within" if absorbed else "pooled"
    result = fit_panel(panel, replace(spec, estimator=estimator, absorb=absorbed, **changes))
    oracle = ORACLE[name][effects][kind]
    tidy = result.tidy().set_index("term")
    expected = pd.DataFrame(oracle).loc[tidy.index]
    assert_allclose(tidy["estimate"], expected["coef"], rtol=1e-8)
    assert_allclose(tidy["std_error"], expected["se"], rtol=1e-8)
    assert_allclose(result.df_by_term, expected["df"], rtol=1e-8)


@pytest.mark.parametrize("effects", list(EFFECTS))
@pytest.mark.parametrize("name", list(ORACLE))
def test_clubsandwich_cr1(name, effects):
    equal_to_r(name, effects, "CR1", match="clubsandwich", vcov="cluster")


@pytest.mark.parametrize("effects", list(EFFECTS))
@pytest.mark.parametrize("name", list(ORACLE))
@pytest.mark.parametrize("match", ["fixest", "clubsandwich"])
def test_clubsandwich_cr2_on_satterthwaite_degrees_of_freedom(name, effects, match):
    equal_to_r(name, effects, "CR2", match=match, vcov="bias_reduced")


@pytest.mark.parametrize(
    ("name", "effects"),
    [(name, e) for name, found in ORACLE.items() for e in found if "CR3" in found[e]],
)
def test_clubsandwich_cr3(name, effects):
    equal_to_r(name, effects, "CR3", match="clubsandwich", vcov="jackknife")


LINEARMODELS = {
    "unadjusted": {"cov_type": "unadjusted"},
    "robust": {"cov_type": "robust"},
    "cluster": {"cov_type": "clustered", "cluster_entity": True},
    "cluster_two_way": {"cov_type": "clustered", "cluster_entity": True, "cluster_time": True},
    "driscoll_kraay": {"cov_type": "kernel", "kernel": "bartlett"},
}


def equal_to_linearmodels(ours, theirs) -> None:
    """Estimates, covariance, degrees of freedom and p-values of the terms."""
    terms = list(ours.terms)
    assert_allclose(ours.coef, theirs.params[terms], rtol=1e-8)
    assert_allclose(ours.vcov, theirs.cov.loc[terms, terms], rtol=1e-8)
    assert ours.df_t == theirs.df_resid
    assert_allclose(ours.tidy()["p_value"], theirs.pvalues[terms], rtol=1e-7)


@pytest.mark.parametrize("vcov", list(LINEARMODELS))
@pytest.mark.parametrize("effects", [e for e in EFFECTS.values() if e])
@pytest.mark.parametrize("share", [1.0, 0.8])
def test_linearmodels_panel_ols_as_it_comes(share, effects, vcov):
    rows = rows_of(share)
    indexed = rows.set_index(["unit", "period"])
    oracle = PanelOLS(
        indexed["y"],
        indexed[["x", "z"]],
        entity_effects="unit" in effects,
        time_effects="period" in effects,
    )
    ours = fit_panel(panel_of(rows), spec_of(effects, vcov=vcov, match="linearmodels"))
    equal_to_linearmodels(ours, oracle.fit(**LINEARMODELS[vcov]))


@pytest.mark.parametrize("effects", [("unit",), ("unit", "period")])
def test_linearmodels_panel_ols_with_clusters_of_units(effects):
    rows = rows_of(0.8)
    indexed = rows.set_index(["unit", "period"])
    oracle = PanelOLS(
        indexed["y"], indexed[["x", "z"]], entity_effects=True, time_effects="period" in effects
    )
    theirs = oracle.fit(cov_type="clustered", clusters=indexed[["site"]])
    ours = fit_panel(panel_of(rows, "site"), spec_of(effects, match="linearmodels"))
    equal_to_linearmodels(ours, theirs)


@pytest.mark.parametrize("vcov", list(LINEARMODELS))
def test_linearmodels_pooled_ols_as_it_comes(vcov):
    rows = rows_of(0.8)
    indexed = rows.assign(constant=1.0).set_index(["unit", "period"])
    theirs = PooledOLS(indexed["y"], indexed[["constant", "x", "z"]]).fit(**LINEARMODELS[vcov])
    ours = fit_panel(panel_of(rows), spec_of((), vcov=vcov, match="linearmodels"))
    equal_to_linearmodels(ours, theirs)


@pytest.mark.parametrize("vcov", ["unadjusted", "robust", "cluster"])
def test_linearmodels_first_difference_as_it_comes(vcov):
    rows = rows_of()
    indexed = rows.set_index(["unit", "period"])
    theirs = FirstDifferenceOLS(indexed["y"], indexed[["x", "z"]]).fit(**LINEARMODELS[vcov])
    spec = replace(SPEC, estimator="first_difference", absorb=("unit",), vcov=vcov)
    ours = fit_panel(panel_of(rows), replace(spec, match="linearmodels"))
    equal_to_linearmodels(ours, theirs)


@pytest.mark.parametrize("cluster", ["unit", "site"])
def test_fixest_is_the_default_and_charges_only_what_is_not_nested(cluster):
    rows = rows_of(0.8)
    theirs = pf.feols("y ~ x + z | unit + period", rows, vcov={"CRV1": cluster}, **EXACT)
    g, n = rows[cluster].nunique(), len(rows)
    factor = g / (g - 1) * (n - 1) / (n - 2 - 1 - 6)  # 1 for the units, 7 - 1 for the periods
    ours = fit_panel(panel_of(rows, cluster), spec_of(("unit", "period")))
    assert_allclose(np.sqrt(np.diag(ours.vcov)), np.sqrt(factor) * theirs.se(), rtol=1e-8)
    assert ours.spec.match == "fixest"


def _least_squares(rows, effects):
    dummies = [pd.get_dummies(rows[e], drop_first=True, dtype=float) for e in effects]
    design = pd.concat([rows[["x", "z"]], *dummies], axis=1).to_numpy()
    return sm.OLS(rows["y"].to_numpy(), sm.add_constant(design)).fit()


@pytest.mark.parametrize("effects", list(EFFECTS.values()))
def test_stata_jackknife_is_about_the_mean_of_the_refits(effects):
    rows = rows_of(0.8)
    refits = [rows[rows["unit"] != u] for u in range(12)]
    coefs = np.array([_least_squares(left, effects).params[1:3] for left in refits])
    deviation = coefs - coefs.mean(axis=0)
    ours = fit_panel(panel_of(rows), spec_of(effects, vcov="jackknife", match="stata"))
    assert_allclose(ours.vcov, 11 / 12 * deviation.T @ deviation, rtol=1e-8)
    assert ours.df_t == 11


@pytest.mark.parametrize("effects", list(EFFECTS.values()))
def test_stata_cluster_counts_the_constant_and_the_dummies_that_xtreg_is_given(effects):
    rows = rows_of(0.8)
    fit = _least_squares(rows, effects)
    scores = pd.DataFrame(fit.model.exog * fit.resid[:, None]).groupby(rows["unit"]).sum()
    bread = np.linalg.inv(fit.model.exog.T @ fit.model.exog)
    meat = (bread @ scores.T @ scores @ bread).to_numpy()[1:3, 1:3]
    n, k = len(rows), 2 + 1 + (6 if "period" in effects else 0)
    ours = fit_panel(panel_of(rows), spec_of(effects, match="stata"))
    assert_allclose(ours.vcov, 12 / 11 * (n - 1) / (n - k) * meat, rtol=1e-8)


def test_the_packages_differ_as_measured_beside_each_other():
    rows = rows_of()
    factors = {
        match: small_sample("cluster", match, Sizes(84, 2, 7, 18, 6, 12, 7)).factor
        for match in get_args(Match)
    }
    assert factors["stata"] == factors["fixest"] > factors["clubsandwich"]
    fits = {m: fit_panel(panel_of(rows), replace(SPEC, match=m)) for m in factors}
    for match, fit in fits.items():
        ratio = factors[match] / factors["fixest"]
        assert_allclose(fit.vcov, ratio * fits["fixest"].vcov, rtol=1e-12)


def test_the_convention_names_its_package():
    rows = rows_of()
    names = {
        "fixest": "(as fixest)",
        "stata": "(as Stata's xtreg)",
        "linearmodels": "(as linearmodels)",
        "clubsandwich": "(as clubSandwich)",
    }
    for match, name in names.items():
        result = fit_panel(panel_of(rows), replace(SPEC, match=match))
        assert result.convention.endswith(name)
        assert result.glance()["convention"][0] == result.convention


def test_no_package_is_named_for_what_it_does_not_have():
    rows = rows_of(n_units=60)
    for changes in (
        {"estimator": "random"},
        {"estimator": "correlated_random"},
        {"vcov": "jackknife"},
        {"vcov": "driscoll_kraay"},
    ):
        assert "fixest" not in fit_panel(panel_of(rows), replace(SPEC, **changes)).convention


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"match": "fixes"}, "Did you mean 'fixest'"),
        ({"match": "clubsandwich", "vcov": "robust"}, "clubSandwich has no vcov='robust'"),
        (
            {"match": "clubsandwich", "vcov": "driscoll_kraay"},
            "it has cluster, jackknife, bias",
        ),
        ({"match": "linearmodels", "vcov": "jackknife"}, "it has unadjusted, robust, cluster"),
        ({"match": "stata", "vcov": "driscoll_kraay"}, "xtreg, fe of Stata 17 has no"),
        ({"match": "stata", "vcov": "robust"}, "clusters by unit"),
        ({"match": "stata", "estimator": "random"}, "not for 'random'"),
    ],
)
def test_what_a_package_does_not_have_is_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        fit_panel(panel_of(rows_of()), replace(SPEC, **changes))
