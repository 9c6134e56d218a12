"""Instrumented exposures against software that shares no line with ours, and against the truth.

Oracles: linearmodels' IV2SLS and IVGMM on all dummies, pyfixest's IV without a small-sample factor,
R's plm (tests/oracles/iv_plm.R, output committed), statsmodels for first stages. Small-sample
factors are applied by hand where theirs differ.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyfixest as pf
import pytest
import statsmodels.api as sm
from linearmodels.datasets import munnell
from linearmodels.iv import IV2SLS, IVGMM
from numpy.testing import assert_allclose
from pyfixest.demeaners import MapDemeaner

from ex_cx.errors import RankError, SpecError
from ex_cx.estimation.inference import cluster_factor
from ex_cx.linkage.panel import Panel
from ex_cx.models.compare import compare_estimators, within_bins
from ex_cx.models.magnitude import effect_sizes
from ex_cx.models.regress import PanelSpec, compress_panel, fit_panel
from ex_cx.models.wild import wild_cluster_test
from ex_cx.robustness.diagnostics import diagnose
from ex_cx.robustness.direction import lead_placebo, reverse_equation
from ex_cx.robustness.guards import check_guards
from ex_cx.robustness.influence import effective_clusters, influence, leave_one_out

pytestmark = pytest.mark.filterwarnings("ignore::Warning")  # the oracles' own

ORACLE = json.loads((Path(__file__).parents[1] / "oracles" / "iv_plm.json").read_text())["results"]
EFFECTS = {"pooled": (), "unit": ("unit",), "period": ("period",), "both": ("unit", "period")}
ONE = PanelSpec(outcome="y", exposures=("x",), controls=("w",), instruments={"x": "q1"})
TWO = replace(ONE, instruments={"x": ("q1", "q2")})
BOTH = replace(ONE, exposures=("x", "v"), instruments={"x": ("q1", "q2"), "v": "q3"})
EXACT = {
    "ssc": pf.ssc(k_adj=False, G_adj=False),
    "demeaner": MapDemeaner(fixef_tol=1e-14, fixef_maxiter=100_000),
}


def rows_of(share: float = 0.8, seed: int = 1, n_units: int = 24) -> pd.DataFrame:
    """Two exposures with a common cause with y, three instruments, a control, effects of both."""
    rng = np.random.default_rng(seed)
    n = n_units * 7
    unit, period = np.divmod(np.arange(n), 7)
    effect = 2 * rng.normal(size=n_units)[unit] + rng.normal(size=7)[period]
    cause = rng.normal(size=n)
    rows = pd.DataFrame({"unit": unit, "period": period, "site": unit // 2})
    for name in ("q1", "q2", "q3", "w"):
        rows[name] = rng.normal(size=n) + effect / 2
    rows["x"] = 0.6 * rows["q1"] + 0.5 * rows["q2"] + cause + effect
    rows["v"] = 0.8 * rows["q3"] - 0.4 * rows["q1"] + cause + rng.normal(size=n)
    rows["y"] = 0.5 * rows["x"] - 0.2 * rows["w"] + effect + 2 * cause + rng.normal(size=n)
    rows["mass"] = rng.uniform(0.3, 3, size=n)
    return rows[rng.uniform(size=n) < share].reset_index(drop=True)


def panel_of(rows, **names) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period", **names)


def with_effects(spec: PanelSpec, effects: tuple[str, ...], **changes) -> PanelSpec:
    return replace(spec, absorb=effects, estimator="within" if effects else "pooled", **changes)


def dummies(rows, effects) -> pd.DataFrame:
    parts = [pd.get_dummies(rows[e], drop_first=True, dtype=float, prefix=e) for e in effects]
    return pd.concat([pd.DataFrame({"one": np.ones(len(rows))}), *parts], axis=1)


def two_stages(rows, spec, effects, estimator=IV2SLS, weights=None, **options):
    """linearmodels' fit of the spec, all effects as dummies."""
    exogenous = [x for x in spec.exposures if x not in spec.instrumented]
    exog = pd.concat([rows[[*exogenous, *spec.controls]], dummies(rows, effects)], axis=1)
    return estimator(
        rows["y"],
        exog,
        rows[list(spec.instrumented)],
        rows[list(spec.instrument_terms)],
        weights=weights,
        **options,
    )


@pytest.mark.parametrize("weights", [None, "mass"])
@pytest.mark.parametrize("spec", [ONE, TWO, BOTH], ids=["one", "two", "both"])
@pytest.mark.parametrize("effects", list(EFFECTS.values()))
def test_estimates_and_errors_are_those_of_linearmodels_on_dummies(effects, spec, weights):
    rows = rows_of()
    panel = panel_of(rows, weights=weights)
    mass = None if weights is None else rows[weights]
    model = two_stages(rows, spec, effects, weights=mass)
    for vcov, cov_type in (("unadjusted", "unadjusted"), ("robust", "robust")):
        ours = fit_panel(panel, with_effects(spec, effects, vcov=vcov))
        theirs = model.fit(cov_type=cov_type, debiased=True)
        terms = list(ours.terms)
        assert_allclose(ours.coef, theirs.params[terms], rtol=1e-8)
        assert_allclose(ours.vcov, theirs.cov.loc[terms, terms], rtol=1e-8)
    theirs = model.fit(cov_type="clustered", clusters=rows["unit"], debiased=False)
    absorbed = {(): 1, ("unit",): 1}.get(effects, 7)
    factor = cluster_factor(24, len(rows), len(terms), absorbed)
    ours = fit_panel(panel, with_effects(spec, effects))
    assert_allclose(ours.vcov, factor * theirs.cov.loc[terms, terms], rtol=1e-8)
    assert ours.df_t == 23


@pytest.mark.parametrize("cluster", ["unit", "site"])
def test_clustered_errors_are_those_of_pyfixest(cluster):
    rows = rows_of()
    theirs = pf.feols("y ~ w | unit + period | x ~ q1", rows, vcov={"CRV1": cluster}, **EXACT)
    ours = fit_panel(panel_of(rows, cluster=cluster), ONE)
    factor = cluster_factor(rows[cluster].nunique(), len(rows), 2, 7)
    assert_allclose(ours.coef, theirs.coef()[["x", "w"]], rtol=1e-8)
    errors = np.sqrt(factor) * theirs.se()[["x", "w"]]
    assert_allclose(np.sqrt(np.diag(ours.vcov)), errors, rtol=1e-8)


@pytest.mark.parametrize("effects", list(EFFECTS))
@pytest.mark.parametrize("name", list(ORACLE))
def test_estimates_and_errors_are_those_of_plm(name, effects):
    rows = munnell.load().sort_values(["STATE", "YR"], ignore_index=True)
    if name == "holed":
        rows = rows[(np.arange(len(rows)) + 1) % 7 != 0]
    logs = {"lgsp": "GSP", "lpcap": "P_CAP", "lpc": "PC", "lemp": "EMP"}
    rows = rows.assign(**{new: np.log(rows[old]) for new, old in logs.items()}, unemp=rows["UNEMP"])
    spec = PanelSpec(
        outcome="lgsp",
        exposures=("lemp",),
        controls=("unemp",),
        instruments={"lemp": ("lpcap", "lpc")},
        vcov="unadjusted",
    )
    panel = Panel.from_frame(rows, unit="STATE", period="YR")
    tidy = fit_panel(panel, with_effects(spec, EFFECTS[effects])).tidy().set_index("term")
    oracle = pd.DataFrame(ORACLE[name][effects]).loc[tidy.index]
    assert_allclose(tidy["estimate"], oracle["coef"], rtol=1e-8)
    assert_allclose(tidy["std_error"], oracle["se"], rtol=1e-8)


@pytest.mark.parametrize("spec", [ONE, TWO, BOTH], ids=["one", "two", "both"])
@pytest.mark.parametrize("cluster", ["unit", "site"])
def test_jackknife_refits_both_stages_without_each_cluster(cluster, spec):
    rows = rows_of()
    ours = fit_panel(panel_of(rows, cluster=cluster), replace(spec, vcov="jackknife"))
    left_out = []
    for g in rows[cluster].unique():
        left = rows[rows[cluster] != g].reset_index(drop=True)
        fit = two_stages(left, spec, ("unit", "period")).fit(cov_type="unadjusted")
        left_out.append(fit.params[list(ours.terms)])
    deviation = np.array(left_out) - ours.coef
    g = len(left_out)
    assert_allclose(ours.vcov, (g - 1) / g * deviation.T @ deviation, rtol=1e-7)


def test_first_difference_with_gaps_and_period_effects():
    rows = rows_of()
    before = rows.assign(period=rows["period"] + 1)
    both = rows.merge(before, on=["unit", "period"], suffixes=("", "_0"))
    for name in ("y", "x", "w", "q1", "q2"):
        both[name] -= both[f"{name}_0"]
    ours = fit_panel(panel_of(rows), replace(TWO, estimator="first_difference", vcov="unadjusted"))
    theirs = two_stages(both, TWO, ("period",)).fit(cov_type="unadjusted", debiased=True)
    assert ours.n_obs == len(both)
    assert_allclose(ours.coef, theirs.params[["x", "w"]], rtol=1e-8)
    assert_allclose(ours.vcov, theirs.cov.loc[["x", "w"], ["x", "w"]], rtol=1e-8)


def test_instruments_take_the_lag_of_their_exposure():
    rows = rows_of(1.0)
    earlier = rows[["unit", "period", "x", "q1"]].assign(period=rows["period"] + 1)
    merged = rows.drop(columns=["x", "q1"]).merge(earlier, on=["unit", "period"])
    ours = fit_panel(panel_of(rows), replace(ONE, lag=1))
    theirs = fit_panel(panel_of(merged), ONE)
    assert ours.terms == ("x_lag1", "w")
    assert_allclose(ours.vcov, theirs.vcov, rtol=1e-10)
    assert ours.first_stage["instruments"].tolist() == ["q1_lag1"]
    assert ours.convention.startswith("two-stage least squares, x_lag1 by q1_lag1; CR1")


def test_more_rows_than_a_block_of_the_moments():
    rows = rows_of(0.9, n_units=21_000)
    ours = fit_panel(panel_of(rows), replace(TWO, vcov="robust"))
    theirs = pf.feols("y ~ w | unit + period | x ~ q1", rows, vcov="iid", **EXACT)
    one = fit_panel(panel_of(rows), ONE)
    assert_allclose(one.coef, theirs.coef()[["x", "w"]], rtol=1e-8)
    assert ours.vcov[0, 0] < fit_panel(panel_of(rows), replace(ONE, vcov="robust")).vcov[0, 0]


# First stages


@pytest.mark.parametrize("vcov", ["unadjusted", "robust", "cluster"])
@pytest.mark.parametrize("spec", [ONE, TWO, BOTH], ids=["one", "two", "both"])
def test_first_stage_f_is_that_of_least_squares_on_dummies(spec, vcov):
    rows = rows_of()
    found = fit_panel(panel_of(rows), replace(spec, vcov=vcov)).first_stage
    excluded = list(spec.instrument_terms)
    effects = dummies(rows, ("unit", "period"))
    design = pd.concat([rows[[*excluded, "w"]], effects], axis=1)
    for term, row in found.set_index("term").iterrows():
        model = sm.OLS(rows[term], design)
        options = {
            "unadjusted": {"cov_type": "nonrobust"},
            "robust": {"cov_type": "HC1"},
            "cluster": {
                "cov_type": "cluster",
                "cov_kwds": {"groups": rows["unit"], "use_correction": False},
            },
        }[vcov]
        fit = model.fit(**options)
        factor = cluster_factor(24, len(rows), len(excluded) + 1, 7) if vcov == "cluster" else 1.0
        covariance = factor * fit.cov_params().loc[excluded, excluded]
        coef = fit.params[excluded]
        wald = coef @ np.linalg.solve(covariance, coef) / len(excluded)
        assert_allclose(row["f"], wald, rtol=1e-7)
        without = sm.OLS(rows[term], design.drop(columns=excluded)).fit()
        assert_allclose(row["partial_r2"], 1 - fit.ssr / without.ssr, rtol=1e-8)
        others = design.drop(columns=excluded)
        instruments = rows[excluded].to_numpy()
        residual = (
            instruments - others.to_numpy() @ np.linalg.lstsq(others, instruments, rcond=None)[0]
        )
        cross = residual.T @ residual
        effective = (coef @ cross @ coef) / np.trace(covariance @ cross)
        if len(found) == 1:
            assert_allclose(row["f_effective"], effective, rtol=1e-7)
        else:
            assert np.isnan(row["f_effective"])


def test_sargan_is_that_of_linearmodels():
    rows = rows_of()
    ours = fit_panel(panel_of(rows), replace(TWO, vcov="unadjusted")).first_stage.iloc[0]
    theirs = two_stages(rows, TWO, ("unit", "period")).fit().sargan
    assert_allclose(ours["overid"], theirs.stat, rtol=1e-8)
    assert_allclose(ours["overid_p"], theirs.pval, rtol=1e-7)


@pytest.mark.parametrize(("vcov", "weight"), [("robust", "robust"), ("cluster", "clustered")])
def test_hansen_is_that_of_two_step_gmm(vcov, weight):
    # net of effects first: as moments of their own, dummies would be weighed too
    rows = rows_of()
    effects = dummies(rows, ("unit", "period"))
    names = ["y", "x", "w", "q1", "q2"]
    fitted = effects @ np.linalg.lstsq(effects, rows[names], rcond=None)[0]
    net = rows[names] - fitted.to_numpy()
    options = {"clusters": rows["unit"]} if vcov == "cluster" else {}
    model = IVGMM(
        net["y"], net[["w"]], net[["x"]], net[["q1", "q2"]], weight_type=weight, **options
    )
    theirs = model.fit(iter_limit=2).j_stat
    ours = fit_panel(panel_of(rows), replace(TWO, vcov=vcov)).first_stage.iloc[0]
    assert ours["overid_df"] == 1
    assert_allclose(ours["overid"], theirs.stat, rtol=1e-8)
    assert_allclose(ours["overid_p"], theirs.pval, rtol=1e-8)


@pytest.mark.parametrize("vcov", ["unadjusted", "robust", "cluster"])
def test_ends_of_anderson_rubin_are_where_the_reduced_form_is_just_not_significant(vcov):
    rows = rows_of()
    row = fit_panel(panel_of(rows), replace(ONE, vcov=vcov)).first_stage.iloc[0]
    plain = PanelSpec(outcome="gap", exposures=("q1",), controls=("w",), vcov=vcov)
    for end in (row["ar_low"], row["ar_high"]):
        gap = rows.assign(gap=rows["y"] - end * rows["x"])
        tested = fit_panel(panel_of(gap), plain).tidy().iloc[0]
        assert_allclose(tested["p_value"], 0.05, rtol=1e-6)


def test_anderson_rubin_without_ends_and_with_a_gap():
    rows = rows_of()
    noise = np.random.default_rng(8)
    unmoved = fit_panel(panel_of(rows.assign(q1=noise.normal(size=len(rows)))), ONE).first_stage
    row = unmoved.iloc[0]
    assert row["f"] < 1
    assert (row["ar_low"], row["ar_high"]) == (-np.inf, np.inf) or row["ar_low"] > row["ar_high"]


def test_weak_instruments_are_told_and_strong_ones_are_not():
    rows = rows_of(1.0, n_units=200)
    strong = fit_panel(panel_of(rows), ONE)
    assert strong.first_stage["f"][0] > 104.7
    assert not any("first-stage" in warning for warning in strong.warnings)
    assert strong.glance()["first_stage_f"][0] == strong.first_stage["f"][0]
    noise = np.random.default_rng(8).normal(size=len(rows))
    middling = fit_panel(panel_of(rows.assign(q1=rows["q1"] + 3 * noise)), ONE)
    assert 10 < middling.first_stage["f"][0] < 104.7
    assert any("below the 104.7" in warning for warning in middling.warnings)
    weak = fit_panel(panel_of(rows.assign(q1=rows["q1"] + 25 * noise)), ONE)
    assert weak.first_stage["f"][0] < 10
    assert any("use the Anderson-Rubin interval" in warning for warning in weak.warnings)


def test_f_needs_more_clusters_than_instruments():
    rows = rows_of()
    panel = panel_of(rows.assign(site=rows["unit"] % 2), cluster="site")
    row = fit_panel(panel, with_effects(TWO, ("unit",))).first_stage.iloc[0]
    assert np.isnan(row["f"])
    assert np.isnan(row["overid"])
    assert np.isfinite(row["f_effective"])


def test_rows_without_an_instrument_are_lost_and_told():
    rows = rows_of(1.0)
    rows.loc[[1, 2, 9], "q1"] = np.nan
    result = fit_panel(panel_of(rows), ONE)
    assert result.lost == {"missing q1": 3}
    few = "24 clusters, fewer than 40: CR1 errors tend to be too small; compare vcov='jackknife'"
    assert few in result.warnings


# Two noisy halves of one exposure


def halves(seed: int, n_units: int = 60, n_periods: int = 8, noise: float = 0.6) -> pd.DataFrame:
    """y rises by 1 a unit of the true exposure, of which two halves are seen with own noise."""
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    unit, period = np.divmod(np.arange(n), n_periods)
    effect = rng.normal(size=n_units)[unit] + rng.normal(size=n_periods)[period]
    truth = effect + 0.6 * rng.normal(size=n)
    rows = pd.DataFrame({"unit": unit, "period": period})
    rows["x_half1"] = truth + noise * rng.normal(size=n)
    rows["x_half2"] = truth + noise * rng.normal(size=n)
    rows["x"] = (rows["x_half1"] + rows["x_half2"]) / 2
    rows["y"] = truth + effect + 0.5 * rng.normal(size=n)
    return rows


def test_one_half_by_the_other_undoes_attenuation():
    plain = PanelSpec(outcome="y", exposures=("x",))
    first = PanelSpec(outcome="y", exposures=("x_half1",), instruments={"x_half1": "x_half2"})
    second = replace(first, exposures=("x_half2",), instruments={"x_half2": "x_half1"})
    draws, covered = [], []
    for seed in range(200):
        panel = panel_of(halves(seed))
        fits = [fit_panel(panel, spec) for spec in (plain, first, second)]
        draws.append([fit.coef[0] for fit in fits])
        covered.append([abs(fit.coef[0] - 1) < 2 * np.sqrt(fit.vcov[0, 0]) for fit in fits])
    found = np.array(draws)
    error = found.std(axis=0) / np.sqrt(len(found))
    # within reliability of the mean of two halves: 0.36 / (0.36 + 0.36 / 2)
    assert abs(found[:, 0].mean() - 2 / 3) < 4 * error[0]
    assert abs(found[:, 1].mean() - 1) < 4 * error[1]
    assert abs(found[:, 2].mean() - 1) < 4 * error[2]
    assert np.mean(covered, axis=0)[0] < 0.2
    assert (np.mean(covered, axis=0)[1:] > 0.9).all()


# Refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimator": "between"}, "estimator='between' takes no instruments"),
        ({"estimator": "random"}, "estimator='random' takes no instruments"),
        ({"estimator": "fama_macbeth"}, "takes no instruments|has no vcov"),
        ({"vcov": "driscoll_kraay"}, "vcov='driscoll_kraay' takes no instruments"),
        ({"vcov": "bias_reduced"}, "vcov='bias_reduced' takes no instruments"),
        ({"match": "linearmodels"}, "match='linearmodels' is not defined with instruments"),
        ({"instruments": {"v": "q1"}}, "names 'v', which is no exposure"),
        ({"instruments": {"x": "q9"}}, "no column 'q9' in the panel"),
        ({"instruments": {"x": ()}}, "no instrument for 'x'"),
        ({"instruments": {"x": "w"}}, "'w' cannot be an instrument and a term"),
        ({"instruments": {"x": "y"}}, "'y' cannot be an instrument"),
        (
            {"exposures": ("x", "v"), "instruments": {"x": "q1", "v": "q1"}},
            "1 instruments .* cannot move 2 exposures",
        ),
    ],
)
def test_what_cannot_be_instrumented_is_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        fit_panel(panel_of(rows_of()), replace(ONE, **changes))


@pytest.mark.parametrize(
    "instruments", ["x", None, 3, {"x": 3}, ("x", "q1"), (("x", "q1"), ("x", "q2"))]
)
def test_instruments_that_say_nothing_are_refused(instruments):
    with pytest.raises(SpecError, match="instruments"):
        replace(ONE, instruments=instruments)


def test_instruments_are_frozen_pairs_however_they_are_given():
    assert ONE.instruments == (("x", ("q1",)),)
    assert hash(replace(ONE, instruments={"x": ["q1"]})) == hash(ONE)
    assert replace(ONE, instruments=(("x", "q1"),)) == ONE


@pytest.mark.parametrize("copy", ["x", "1 - 3 * x", "q1 + x - w"])
def test_an_exposure_that_its_instruments_reproduce_is_refused(copy):
    panel = panel_of(rows_of().eval(f"same = {copy}"))
    spec = replace(ONE, instruments={"x": ("q1", "same")})
    with pytest.raises(RankError, match="instruments reproduce 'x' exactly"):
        fit_panel(panel, spec)


def test_instruments_that_move_nothing_apart_are_refused():
    rows = rows_of()
    rows["q2"] = 2 * rows["q1"]
    with pytest.raises(RankError, match="'q2' is a combination of 'q1'"):
        fit_panel(panel_of(rows), TWO)
    with pytest.raises(RankError, match="'q1' is constant"):
        fit_panel(panel_of(rows.assign(q1=1.0)), ONE)
    with pytest.raises(RankError, match="absorbed effects"):
        fit_panel(panel_of(rows.assign(q1=rows["unit"] + 3 * rows["period"])), ONE)
    net = rows_of(1.0)
    effects = dummies(net, ("unit", "period")).assign(w=net["w"], x=net["x"])
    raw = np.random.default_rng(2).normal(size=len(net))
    net["q1"] = raw - effects @ np.linalg.lstsq(effects, raw, rcond=None)[0]
    with pytest.raises(RankError, match="do not move 'x' apart"):
        fit_panel(panel_of(net), ONE)


@pytest.mark.parametrize(
    "ask",
    [
        lambda panel: compress_panel(panel, ONE),
        lambda panel: diagnose(panel, ONE),
        lambda panel: influence(panel, ONE),
        lambda panel: leave_one_out(panel, ONE),
        lambda panel: effective_clusters(panel, ONE),
        lambda panel: effect_sizes(panel, fit_panel(panel, ONE)),
        lambda panel: within_bins(panel, ONE),
        lambda panel: wild_cluster_test(panel, ONE, "x", rng=np.random.default_rng(1)),
        lambda panel: lead_placebo(panel, ONE),
        lambda panel: reverse_equation(panel, ONE),
        lambda panel: check_guards(panel, ONE),
    ],
)
def test_what_would_pass_over_instruments_refuses_them(ask):
    with pytest.raises(SpecError, match="the spec instruments 'x'"):
        ask(panel_of(rows_of()))


def test_estimators_side_by_side_say_which_take_no_instruments():
    table = compare_estimators(panel_of(rows_of()), ONE).set_index("estimator")
    notes = table["note"].groupby(level=0).first()
    assert "takes no instruments" in notes["between"]
    assert "takes no instruments" in notes["correlated_random"]
    assert notes[["pooled", "within", "first_difference"]].eq("").all()
    own = fit_panel(panel_of(rows_of()), ONE)
    assert_allclose(table.loc["within", "estimate"], own.coef, rtol=1e-14)
