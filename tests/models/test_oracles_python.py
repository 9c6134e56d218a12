"""Every estimator against linearmodels, statsmodels and pyfixest, on data that they ship.

Panels: Grunfeld (statsmodels), Produc and wage_panel (linearmodels). Small-sample factors of peers
are named at each comparison; "ours" alone means that the conventions are the same.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyfixest as pf
import pytest
import statsmodels.api as sm
from linearmodels.datasets import munnell, wage_panel
from linearmodels.panel import (
    BetweenOLS,
    FamaMacBeth,
    FirstDifferenceOLS,
    PanelOLS,
    PooledOLS,
    RandomEffects,
)
from numpy.testing import assert_allclose
from pyfixest.demeaners import MapDemeaner
from statsmodels.datasets import grunfeld

from ex_cx.estimation.inference import cluster_factor
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelSpec, fit_panel

pytestmark = pytest.mark.filterwarnings("ignore::Warning")  # the oracles' own

EXACT = {
    "ssc": pf.ssc(k_adj=False, G_adj=False),
    "demeaner": MapDemeaner(fixef_tol=1e-11, fixef_maxiter=100_000),
}
LINEARMODELS = {
    "unadjusted": {"cov_type": "unadjusted"},
    "robust": {"cov_type": "robust"},
    "cluster": {"cov_type": "clustered", "cluster_entity": True, "group_debias": True},
}


def _grunfeld() -> tuple[pd.DataFrame, str, list[str]]:
    rows = grunfeld.load_pandas().data
    named = {"firm": "unit", "year": "period", "invest": "y"}
    return rows.rename(columns=named), "y", ["value", "capital"]


def _produc() -> tuple[pd.DataFrame, str, list[str]]:
    rows = munnell.load().rename(columns={"STATE": "unit", "YR": "period", "UNEMP": "unemp"})
    logs = {"y": "GSP", "lpcap": "P_CAP", "lpc": "PC", "lemp": "EMP"}
    rows = rows.assign(**{new: np.log(rows[old]) for new, old in logs.items()})
    return rows, "y", ["lpcap", "lpc", "lemp", "unemp"]


def _wages() -> tuple[pd.DataFrame, str, list[str]]:
    rows = wage_panel.load().rename(columns={"nr": "unit", "year": "period"})
    return rows, "lwage", ["expersq", "married", "union"]


@pytest.fixture(params=[_grunfeld, _produc, _wages], ids=["grunfeld", "produc", "wage_panel"])
def shipped(request):
    rows, outcome, terms = request.param()
    rows = rows[["unit", "period", outcome, *terms]].copy()
    rows["period"] = rows["period"].astype(int)
    rows["unit"] = rows["unit"].astype(str)  # text ids, which pyfixest's Driscoll-Kraay refuses
    panel = Panel.from_frame(rows, unit="unit", period="period")
    return rows, panel, PanelSpec(outcome=outcome, exposures=tuple(terms))


def _equal(ours, coef, cov, factor: float = 1.0) -> None:
    assert_allclose(ours.coef, coef, rtol=1e-8)
    scale = np.sqrt(np.outer(np.diag(ours.vcov), np.diag(ours.vcov)))
    assert_allclose(ours.vcov / scale, factor * np.asarray(cov) / scale, rtol=0, atol=1e-8)


def _indexed(rows: pd.DataFrame, spec: PanelSpec, constant: bool = False):
    """Outcome and terms as linearmodels takes them, the constant last."""
    data = rows.assign(constant=1.0).set_index(["unit", "period"])
    return data[spec.outcome], data[[*spec.exposures, *(["constant"] if constant else [])]]


@pytest.mark.parametrize(
    ("estimator", "vcov"),
    [
        (estimator, vcov)
        for estimator in ("pooled", "between", "random", "first_difference")
        for vcov in LINEARMODELS
        if (estimator, vcov) != ("between", "cluster")  # one row a unit: the same as robust
    ],
)
def test_linearmodels_has_our_conventions(shipped, estimator, vcov):
    rows, panel, spec = shipped
    model = {
        "pooled": PooledOLS,
        "between": BetweenOLS,
        "random": RandomEffects,
        "first_difference": FirstDifferenceOLS,
    }[estimator]
    options = {"reweight": False} if estimator == "between" else {}
    oracle = model(*_indexed(rows, spec, constant=estimator != "first_difference"))
    theirs = oracle.fit(debiased=True, **options, **LINEARMODELS[vcov])
    ours = fit_panel(panel, replace(spec, estimator=estimator, absorb=("unit",), vcov=vcov))
    k = len(spec.exposures)
    _equal(ours, theirs.params.iloc[:k], theirs.cov.iloc[:k, :k])


@pytest.mark.parametrize("vcov", LINEARMODELS)
@pytest.mark.parametrize("absorb", [("unit",), ("period",), ("unit", "period")])
def test_linearmodels_within(shipped, absorb, vcov):
    # clustered errors: theirs charge every absorbed level, ours 1 for the units nested in clusters
    rows, panel, spec = shipped
    ours = fit_panel(panel, replace(spec, absorb=absorb, vcov=vcov))
    oracle = PanelOLS(
        *_indexed(rows, spec),
        entity_effects="unit" in absorb,
        time_effects="period" in absorb,
        singletons=False,
    )
    theirs = oracle.fit(debiased=True, auto_df=False, count_effects=True, **LINEARMODELS[vcov])
    n, k, units, periods = ours.n_obs, len(spec.exposures), ours.n_units, ours.n_periods
    levels = {("unit",): units, ("period",): periods}.get(absorb, units + periods - 1)
    nested = {("unit",): 1}.get(absorb, periods)
    factor = (n - k - levels) / (n - k - nested) if vcov == "cluster" else 1.0
    _equal(ours, theirs.params, theirs.cov, factor)


def test_linearmodels_driscoll_kraay(shipped):
    # theirs without a factor; Bartlett with the same lags
    rows, panel, spec = shipped
    ours = fit_panel(panel, replace(spec, vcov="driscoll_kraay"))
    lags = int(4 * (ours.n_periods / 100) ** (2 / 9))
    oracle = PanelOLS(*_indexed(rows, spec), entity_effects=True, time_effects=True)
    theirs = oracle.fit(
        cov_type="kernel",
        kernel="bartlett",
        bandwidth=lags,
        debiased=False,
        auto_df=False,
        count_effects=False,
    )
    factor = cluster_factor(ours.n_periods, ours.n_obs, len(spec.exposures), ours.n_units)
    _equal(ours, theirs.params, theirs.cov, factor)


@pytest.mark.parametrize(("vcov", "lags"), [("unadjusted", 0), ("driscoll_kraay", None)])
def test_linearmodels_fama_macbeth(shipped, vcov, lags):
    rows, panel, spec = shipped
    ours = fit_panel(panel, replace(spec, estimator="fama_macbeth", vcov=vcov))
    lags = int(4 * (ours.n_periods / 100) ** (2 / 9)) if lags is None else lags
    theirs = FamaMacBeth(*_indexed(rows, spec, constant=True)).fit(
        cov_type="kernel", kernel="bartlett", bandwidth=lags, debiased=True
    )
    k = len(spec.exposures)
    _equal(ours, theirs.params.iloc[:k], theirs.cov.iloc[:k, :k])


@pytest.mark.parametrize("vcov", ["unadjusted", "robust", "cluster"])
def test_statsmodels_pooled(shipped, vcov):
    rows, panel, spec = shipped
    options = {
        "unadjusted": {"cov_type": "nonrobust"},
        "robust": {"cov_type": "HC1"},
        "cluster": {
            "cov_type": "cluster",
            "cov_kwds": {"groups": pd.factorize(rows["unit"])[0], "use_correction": True},
        },
    }
    design = sm.add_constant(rows[list(spec.exposures)].astype(float))
    theirs = sm.OLS(rows[spec.outcome], design).fit(**options[vcov])
    ours = fit_panel(panel, replace(spec, estimator="pooled", vcov=vcov))
    _equal(ours, theirs.params[1:], theirs.cov_params().iloc[1:, 1:])


@pytest.mark.parametrize(
    ("vcov", "theirs"),
    [("cluster", {"CRV1": "unit"}), ("cluster_two_way", {"CRV1": "unit + period"})],
)
def test_pyfixest_two_way_fits(shipped, vcov, theirs):
    # theirs without factors: CR1, and for two-way clusters that of the smaller number
    rows, panel, spec = shipped
    ours = fit_panel(panel, replace(spec, vcov=vcov))
    formula = f"{spec.outcome} ~ {' + '.join(spec.exposures)} | unit + period"
    oracle = pf.feols(formula, rows, vcov=theirs, **EXACT)
    n, k, units, periods = ours.n_obs, len(spec.exposures), ours.n_units, ours.n_periods
    one_way = vcov == "cluster"
    factor = cluster_factor(
        units if one_way else min(units, periods), n, k, periods if one_way else 1
    )
    _equal(ours, oracle.coef(), oracle._vcov, factor)
