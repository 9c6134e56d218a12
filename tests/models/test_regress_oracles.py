"""Every estimator and every kind of error against software that shares no line with ours.

Conventions, applied by hand: statsmodels fits the dummies, so that its non-robust errors
(rss / df) and HC1 (n / df) charge every absorbed level, as ours do. pyfixest is asked for no
small-sample factor at all; CR1 is G/(G-1) * (n-1)/(n-k-k_absorbed) on top. Its CRV3 is then
clubSandwich's, sum (b_g - b)(b_g - b)', and ours is (G-1)/G of it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyfixest as pf
import pytest
import statsmodels.api as sm
from linearmodels.panel import BetweenOLS, FirstDifferenceOLS, PanelOLS, PooledOLS
from numpy.testing import assert_allclose
from pyfixest.demeaners import MapDemeaner

from ex_cx.estimation.inference import cluster_factor
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelSpec, fit_panel

pytestmark = pytest.mark.filterwarnings("ignore::Warning")  # the oracles' own

EXACT = {
    "ssc": pf.ssc(k_adj=False, G_adj=False),
    "demeaner": MapDemeaner(fixef_tol=1e-14, fixef_maxiter=100_000),
}
SPEC = PanelSpec(outcome="y", exposures=("x",), controls=("z",))
EFFECTS = {("unit",): "unit", ("period",): "period", ("unit", "period"): "unit + period"}


def _rows(n_units=12, n_periods=7, share=1.0, seed=1) -> pd.DataFrame:
    """Units in sites of three, effects of both kinds in everything, `share` of the rows seen."""
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    unit, period = np.divmod(np.arange(n), n_periods)
    effect = 2 * rng.normal(size=n_units)[unit] + rng.normal(size=n_periods)[period]
    frame = pd.DataFrame({"unit": unit, "period": period, "site": unit // 3})
    frame["x"] = effect / 2 + rng.normal(size=n)
    frame["z"] = effect / 3 + frame["x"] / 2 + rng.normal(size=n)
    frame["y"] = 0.4 * frame["x"] - 0.3 * frame["z"] + effect + rng.normal(size=n)
    frame["w"] = rng.uniform(0.3, 3, size=n)
    return frame[rng.uniform(size=n) < share].reset_index(drop=True)


def _panel(rows, weights=None, cluster=None) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period", weights=weights, cluster=cluster)


def _errors(result) -> np.ndarray:
    return np.sqrt(np.diag(result.vcov))


def _dummies(rows, effects) -> np.ndarray:
    """Constant, x, z and a dummy for all but the first level of each effect."""
    parts = [pd.get_dummies(rows[e], drop_first=True).to_numpy(float) for e in effects]
    return np.column_stack([np.ones(len(rows)), rows["x"], rows["z"], *parts])


def _statsmodels(rows, effects, weights):
    design = _dummies(rows, effects)
    if weights is None:
        return sm.OLS(rows["y"].to_numpy(), design)
    return sm.WLS(rows["y"].to_numpy(), design, weights=rows[weights].to_numpy())


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("share", [1.0, 0.7])
@pytest.mark.parametrize("effects", [(), ("unit",), ("period",), ("unit", "period")])
def test_unadjusted_and_robust_errors_are_those_of_least_squares_on_dummies(
    effects, share, weights
):
    rows = _rows(share=share)
    spec = replace(SPEC, absorb=effects, estimator="within" if effects else "pooled")
    oracle = _statsmodels(rows, effects, weights)
    for vcov, cov_type in (("unadjusted", "nonrobust"), ("robust", "HC1")):
        ours = fit_panel(_panel(rows, weights), replace(spec, vcov=vcov))
        theirs = oracle.fit(cov_type=cov_type)
        assert_allclose(ours.coef, theirs.params[1:3], rtol=1e-10)
        assert_allclose(ours.vcov, theirs.cov_params()[1:3, 1:3], rtol=1e-9)
        assert ours.df_t == theirs.df_resid


@pytest.mark.parametrize("cluster", ["unit", "site"])
@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("share", [1.0, 0.7])
@pytest.mark.parametrize("effects", list(EFFECTS))
def test_clustered_errors_are_those_of_pyfixest_times_the_factor(effects, share, weights, cluster):
    rows = _rows(share=share)
    ours = fit_panel(_panel(rows, weights, cluster), replace(SPEC, absorb=effects))
    theirs = pf.feols(
        f"y ~ x + z | {EFFECTS[effects]}", rows, vcov={"CRV1": cluster}, weights=weights, **EXACT
    )
    absorbed = {("unit",): 1, ("period",): 7, ("unit", "period"): 7}[effects]
    factor = cluster_factor(rows[cluster].nunique(), len(rows), 2, absorbed)
    assert_allclose(ours.coef, theirs.coef()[["x", "z"]], rtol=1e-10)
    assert_allclose(_errors(ours), np.sqrt(factor) * theirs.se()[["x", "z"]], rtol=1e-9)
    assert ours.df_t == rows[cluster].nunique() - 1


@pytest.mark.parametrize("cluster", ["unit", "site"])
@pytest.mark.parametrize("weights", [None, "w"])
def test_pooled_clustered_errors_are_those_of_statsmodels(weights, cluster):
    # statsmodels' factor is G/(G-1) * (n-1)/(n-3), the constant counted: ours exactly
    rows = _rows(share=0.8)
    ours = fit_panel(_panel(rows, weights, cluster), replace(SPEC, estimator="pooled"))
    theirs = _statsmodels(rows, (), weights).fit(
        cov_type="cluster", cov_kwds={"groups": rows[cluster], "use_correction": True}
    )
    assert_allclose(ours.vcov, theirs.cov_params()[1:, 1:], rtol=1e-9)


@pytest.mark.parametrize("cluster", ["unit", "site"])
@pytest.mark.parametrize("effects", [("unit", "period"), ("unit",), ("period",)])
@pytest.mark.parametrize("weights", [None, "w"])
def test_jackknife_equals_refitting_without_each_cluster(effects, cluster, weights):
    rows = _rows(n_units=9, share=0.8, seed=4)
    spec = replace(SPEC, absorb=effects, vcov="jackknife")
    ours = fit_panel(_panel(rows, weights, cluster), spec)
    formula = f"y ~ x + z | {EFFECTS[effects]}"
    left_out = np.array(
        [
            pf.feols(formula, rows[rows[cluster] != g], weights=weights, **EXACT)
            .coef()[["x", "z"]]
            .to_numpy()
            for g in rows[cluster].unique()
        ]
    )
    g = len(left_out)
    deviation = left_out - ours.coef
    assert_allclose(ours.vcov, (g - 1) / g * deviation.T @ deviation, rtol=1e-8)


def test_jackknife_is_that_of_clubsandwich_less_one_in_g():
    rows = _rows(n_units=9, share=0.8)
    ours = fit_panel(_panel(rows), replace(SPEC, vcov="jackknife"))
    theirs = pf.feols("y ~ x + z | unit + period", rows, vcov={"CRV3": "unit"}, **EXACT)
    assert_allclose(_errors(ours), np.sqrt(8 / 9) * theirs.se()[["x", "z"]], rtol=1e-8)


@pytest.mark.parametrize("share", [1.0, 0.7])
def test_linearmodels_within(share):
    # debiased with effects counted: rss / (n - k - N - T + 1), and n / that, as ours; clustered
    # with group_debias: G/(G-1) * (n-1)/n * n/(n-k-N-T+1), where ours charges 1 for the units
    rows = _rows(share=share)
    n, units, periods = len(rows), 12, 7
    indexed = rows.set_index(["unit", "period"])
    oracle = PanelOLS(
        indexed["y"], indexed[["x", "z"]], entity_effects=True, time_effects=True, singletons=False
    )
    shared = {"debiased": True, "auto_df": False, "count_effects": True}
    for vcov, options in (
        ("unadjusted", {"cov_type": "unadjusted"}),
        ("robust", {"cov_type": "robust"}),
        ("cluster", {"cov_type": "clustered", "cluster_entity": True, "group_debias": True}),
    ):
        ours = fit_panel(_panel(rows), replace(SPEC, vcov=vcov))
        theirs = oracle.fit(**shared, **options)
        counted = n - 2 - (units + periods - 1)
        factor = counted / (n - 2 - periods) if vcov == "cluster" else 1.0
        assert_allclose(ours.coef, theirs.params, rtol=1e-9)
        assert_allclose(ours.vcov, factor * theirs.cov, rtol=1e-8)


@pytest.mark.parametrize("share", [1.0, 0.7])
@pytest.mark.parametrize("weights", [None, "w"])
def test_linearmodels_pooled(share, weights):
    rows = _rows(share=share)
    indexed = rows.assign(constant=1.0).set_index(["unit", "period"])
    oracle = PooledOLS(
        indexed["y"],
        indexed[["constant", "x", "z"]],
        weights=None if weights is None else indexed[weights],
    )
    for vcov, options in (
        ("unadjusted", {"cov_type": "unadjusted"}),
        ("robust", {"cov_type": "robust"}),
        ("cluster", {"cov_type": "clustered", "cluster_entity": True, "group_debias": True}),
    ):
        ours = fit_panel(_panel(rows, weights), replace(SPEC, estimator="pooled", vcov=vcov))
        theirs = oracle.fit(debiased=True, **options)
        assert_allclose(ours.coef, theirs.params[1:], rtol=1e-9)
        assert_allclose(ours.vcov, theirs.cov.iloc[1:, 1:], rtol=1e-8)


@pytest.mark.parametrize("share", [1.0, 0.7])
def test_linearmodels_between(share):
    # unit means, each counting once however many rows it has (reweight=False)
    rows = _rows(share=share)
    indexed = rows.assign(constant=1.0).set_index(["unit", "period"])
    oracle = BetweenOLS(indexed["y"], indexed[["constant", "x", "z"]])
    for vcov, cov_type in (("unadjusted", "unadjusted"), ("robust", "robust")):
        ours = fit_panel(_panel(rows), replace(SPEC, estimator="between", vcov=vcov))
        theirs = oracle.fit(reweight=False, cov_type=cov_type, debiased=True)
        assert_allclose(ours.coef, theirs.params[1:], rtol=1e-9)
        assert_allclose(ours.vcov, theirs.cov.iloc[1:, 1:], rtol=1e-8)
    sites = indexed[["site"]]
    ours = fit_panel(_panel(rows, cluster="site"), replace(SPEC, estimator="between"))
    theirs = oracle.fit(cov_type="clustered", clusters=sites, group_debias=True, debiased=True)
    assert_allclose(ours.vcov, theirs.cov.iloc[1:, 1:], rtol=1e-8)


def test_between_with_weights_is_weighted_least_squares_on_weighted_means():
    rows = _rows(share=0.7)
    mass = rows.groupby("unit")["w"].sum()
    means = {c: (rows[c] * rows["w"]).groupby(rows["unit"]).sum() / mass for c in ("y", "x", "z")}
    design = np.column_stack([np.ones(len(mass)), means["x"], means["z"]])
    theirs = sm.WLS(means["y"].to_numpy(), design, weights=mass.to_numpy()).fit(cov_type="HC1")
    spec = replace(SPEC, estimator="between", vcov="robust")
    ours = fit_panel(_panel(rows, "w"), spec)
    assert_allclose(ours.coef, theirs.params[1:], rtol=1e-9)
    assert_allclose(ours.vcov, theirs.cov_params()[1:, 1:], rtol=1e-8)


def test_linearmodels_first_difference():
    rows = _rows()
    indexed = rows.set_index(["unit", "period"])
    oracle = FirstDifferenceOLS(indexed["y"], indexed[["x", "z"]])
    for vcov, options in (
        ("unadjusted", {"cov_type": "unadjusted"}),
        ("robust", {"cov_type": "robust"}),
        ("cluster", {"cov_type": "clustered", "cluster_entity": True, "group_debias": True}),
    ):
        spec = replace(SPEC, estimator="first_difference", absorb=("unit",), vcov=vcov)
        ours = fit_panel(_panel(rows), spec)
        theirs = oracle.fit(debiased=True, **options)
        assert_allclose(ours.coef, theirs.params, rtol=1e-9)
        assert_allclose(ours.vcov, theirs.cov, rtol=1e-8)


def _changes(rows) -> pd.DataFrame:
    """Changes from the period before by merging on the calendar; weights as precisions."""
    before = rows.assign(period=rows["period"] + 1)
    both = rows.merge(before, on=["unit", "period"], suffixes=("", "_0"))
    for name in ("y", "x", "z"):
        both[name] -= both[f"{name}_0"]
    both["w"] = 1 / (1 / both["w"] + 1 / both["w_0"])
    return both


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("cluster", ["unit", "site"])
def test_first_difference_with_period_effects_and_gaps(weights, cluster):
    rows = _rows(share=0.7)
    changes = _changes(rows)
    spec = replace(SPEC, estimator="first_difference")
    ours = fit_panel(_panel(rows, weights, cluster), spec)
    theirs = pf.feols(
        "y ~ x + z | period", changes, vcov={"CRV1": cluster}, weights=weights, **EXACT
    )
    factor = cluster_factor(changes[cluster].nunique(), len(changes), 2, 6)
    assert ours.n_obs == len(changes)
    assert ours.lost == {"no row one period earlier": len(rows) - len(changes)}
    assert_allclose(ours.coef, theirs.coef()[["x", "z"]], rtol=1e-9)
    assert_allclose(_errors(ours), np.sqrt(factor) * theirs.se()[["x", "z"]], rtol=1e-8)


def test_lags_by_calendar_equal_a_merge_on_the_calendar():
    rows = _rows(share=0.7)
    earlier = rows[["unit", "period", "x"]].assign(period=rows["period"] + 2)
    merged = rows.merge(earlier, on=["unit", "period"], suffixes=("", "_2"))
    ours = fit_panel(_panel(rows), replace(SPEC, lag=2))
    theirs = pf.feols("y ~ x_2 + z | unit + period", merged, vcov={"CRV1": "unit"}, **EXACT)
    used = merged.iloc[theirs._data.index] if len(merged) != theirs._N else merged
    factor = cluster_factor(used["unit"].nunique(), theirs._N, 2, used["period"].nunique())
    assert ours.terms == ("x_lag2", "z")
    assert ours.n_obs == theirs._N
    assert_allclose(ours.coef, theirs.coef()[["x_2", "z"]], rtol=1e-9)
    assert_allclose(_errors(ours), np.sqrt(factor) * theirs.se()[["x_2", "z"]], rtol=1e-8)


def test_products_and_powers_equal_columns_made_by_hand():
    rows = _rows(share=0.8)
    by_hand = rows.assign(xz=rows["x"] * rows["z"], x2=rows["x"] ** 2, x3=rows["x"] ** 3)
    ours = fit_panel(_panel(rows), replace(SPEC, exposures=("x", "x^2", "x^3", "x:z")))
    theirs = pf.feols(
        "y ~ x + x2 + x3 + xz + z | unit + period", by_hand, vcov={"CRV1": "unit"}, **EXACT
    )
    factor = cluster_factor(12, len(rows), 5, 7)
    assert_allclose(ours.coef, theirs.coef(), rtol=1e-9)
    assert_allclose(_errors(ours), np.sqrt(factor) * theirs.se(), rtol=1e-8)


def test_sets_of_periods_that_never_meet():
    # even units in periods 0-3, odd units in 4-6: the rank is one less, and the errors know it
    rows = _rows(n_units=16)
    rows = rows[(rows["unit"] % 2 == 0) == (rows["period"] < 4)].reset_index(drop=True)
    oracle = _statsmodels(rows, ("unit", "period"), None)  # pinv: df is n minus the rank
    for vcov, cov_type in (("unadjusted", "nonrobust"), ("robust", "HC1")):
        ours = fit_panel(_panel(rows), replace(SPEC, vcov=vcov))
        theirs = oracle.fit(cov_type=cov_type)
        assert_allclose(ours.coef, theirs.params[1:3], rtol=1e-9)
        assert_allclose(ours.vcov, theirs.cov_params()[1:3, 1:3], rtol=1e-8)
        assert ours.df_t == theirs.df_resid == len(rows) - 2 - (16 + 7 - 2)
    clustered = fit_panel(_panel(rows), SPEC)
    crv1 = pf.feols("y ~ x + z | unit + period", rows, vcov={"CRV1": "unit"}, **EXACT)
    factor = cluster_factor(16, len(rows), 2, 1 + 7 - 2)
    assert_allclose(_errors(clustered), np.sqrt(factor) * crv1.se(), rtol=1e-8)
    jackknife = fit_panel(_panel(rows), replace(SPEC, vcov="jackknife"))
    left_out = [
        pf.feols("y ~ x + z | unit + period", rows[rows["unit"] != g], **EXACT).coef()
        for g in range(16)
    ]
    deviation = np.array(left_out) - clustered.coef
    assert_allclose(jackknife.vcov, 15 / 16 * deviation.T @ deviation, rtol=1e-8)


@pytest.mark.parametrize("conf_level", [0.9, 0.95])
def test_intervals_and_p_values_are_those_of_student(conf_level):
    from scipy import stats

    result = fit_panel(_panel(_rows()), SPEC)
    tidy = result.tidy(conf_level)
    t = stats.t(11)  # 12 clusters
    assert_allclose(tidy["statistic"], tidy["estimate"] / tidy["std_error"], rtol=1e-14)
    assert_allclose(tidy["p_value"], 2 * t.sf(np.abs(tidy["statistic"])), rtol=1e-12)
    half = t.ppf((1 + conf_level) / 2) * tidy["std_error"]
    assert_allclose(tidy["conf_low"], tidy["estimate"] - half, rtol=1e-12)
    assert_allclose(tidy["conf_high"], tidy["estimate"] + half, rtol=1e-12)
    assert (tidy["conf_level"] == conf_level).all()
