"""Random and correlated random effects, Fama-MacBeth, two-way and Driscoll-Kraay errors.

Oracles: linearmodels, pyfixest, and R's plm and clubSandwich (tests/oracles/plm_panel.R, whose
output is committed). Data: Grunfeld and Produc, as statsmodels and linearmodels ship them, and
drawn panels.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyfixest as pf
import pytest
from linearmodels.datasets import munnell
from linearmodels.panel import FamaMacBeth, PanelOLS, RandomEffects
from numpy.testing import assert_allclose
from statsmodels.datasets import grunfeld

from ex_cx.errors import InferenceError, RankError, SpecError
from ex_cx.estimation.inference import cluster_factor
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelSpec, compress_panel, fit_panel

ORACLE = json.loads((Path(__file__).parents[1] / "oracles" / "plm_panel.json").read_text())
DRAWN = PanelSpec(outcome="y", exposures=("x0", "x1"))


def _drawn(share: float, seed: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n_units, n_periods = 60, 9
    unit, period = np.divmod(np.arange(n_units * n_periods), n_periods)
    effect = 2 * rng.normal(size=n_units)[unit] + rng.normal(size=n_periods)[period]
    frame = pd.DataFrame({"unit": unit, "period": period, "kind": unit % 3.0})
    for name in ("x0", "x1"):
        frame[name] = rng.normal(size=len(unit)) + effect / 2
    frame["y"] = 0.1 * frame["x0"] + 0.2 * frame["x1"] + effect + rng.normal(size=len(unit))
    return frame[rng.uniform(size=len(unit)) < share].reset_index(drop=True)


def _panel(frame: pd.DataFrame) -> Panel:
    return Panel.from_frame(frame, unit="unit", period="period")


def _shipped(name: str) -> tuple[Panel, PanelSpec]:
    if name == "grunfeld":
        rows = grunfeld.load_pandas().data
        rows = rows[rows["firm"] != "American Steel"].rename(columns={"invest": "inv"})
        panel = Panel.from_frame(rows, unit="firm", period="year")
        return panel, PanelSpec(outcome="inv", exposures=("value", "capital"))
    rows = munnell.load().sort_values(["STATE", "YR"], ignore_index=True)
    if name == "holed":
        rows = rows[(np.arange(len(rows)) + 1) % 7 != 0]
    logs = {"lgsp": "GSP", "lpcap": "P_CAP", "lpc": "PC", "lemp": "EMP"}
    rows = rows.assign(**{new: np.log(rows[old]) for new, old in logs.items()}, unemp=rows["UNEMP"])
    panel = Panel.from_frame(rows, unit="STATE", period="YR")
    return panel, PanelSpec(outcome="lgsp", exposures=("lpcap", "lpc", "lemp", "unemp"))


def _equal_to_r(name: str, model: str, spec: PanelSpec, panel: Panel, factor: float = 1.0) -> None:
    """Estimates, and errors times the ratio of small-sample factors, to the digits printed."""
    result = fit_panel(panel, spec)
    oracle = ORACLE["results"][name][model]
    tidy = result.tidy().set_index("term")
    for term, estimate in oracle["coef"].items():
        assert_allclose(tidy.loc[term, "estimate"], estimate, rtol=1e-9)
        assert_allclose(tidy.loc[term, "std_error"], oracle["se"][term] * factor**0.5, rtol=1e-8)


@pytest.mark.parametrize("name", ["grunfeld", "produc", "holed"])
class TestAgainstR:
    def test_unadjusted(self, name):
        panel, spec = _shipped(name)
        plain = replace(spec, vcov="unadjusted")
        _equal_to_r(name, "pooled", replace(plain, estimator="pooled"), panel)
        _equal_to_r(name, "between", replace(plain, estimator="between"), panel)
        _equal_to_r(name, "within", plain, panel)
        _equal_to_r(name, "within_unit", replace(plain, absorb=("unit",)), panel)

    def test_clustered(self, name):
        panel, spec = _shipped(name)
        result = fit_panel(panel, spec)
        n, k = result.n_obs, len(result.terms)
        cr1 = cluster_factor(result.n_clusters, n, k, result.n_periods)  # R: HC0, no factor
        _equal_to_r(name, "within_arellano", spec, panel, cr1)
        smaller = min(result.n_clusters, result.n_periods)
        two_way = cluster_factor(smaller, n, k, 1)  # R: HC0, no factor
        _equal_to_r(name, "within_double", replace(spec, vcov="cluster_two_way"), panel, two_way)
        g = result.n_clusters
        one_way = replace(spec, absorb=("unit",), vcov="jackknife")
        _equal_to_r(name, "within_unit_cr3", one_way, panel, (g - 1) / g)  # R: no (G-1)/G

    def test_driscoll_kraay(self, name):
        panel, spec = _shipped(name)
        result = fit_panel(panel, replace(spec, vcov="driscoll_kraay"))
        assert "Bartlett, 2 lags" in result.convention  # as pinned in the R script
        t, n = result.n_periods, result.n_obs
        factor = cluster_factor(t, n, len(result.terms), result.n_units)  # R: HC0, no factor
        _equal_to_r(name, "within_scc", replace(spec, vcov="driscoll_kraay"), panel, factor)


@pytest.mark.parametrize("name", ["grunfeld", "produc"])
def test_random_effects_equal_r_where_balanced(name):
    # unbalanced, plm weights units by their rows in the between variance; ours follows linearmodels
    # and Stata, which use the harmonic mean of the rows (next test)
    panel, spec = _shipped(name)
    random = replace(spec, estimator="random", absorb=(), vcov="unadjusted")
    _equal_to_r(name, "random", random, panel)


@pytest.mark.parametrize("share", [1.0, 0.75])
@pytest.mark.parametrize("periods", [False, True])
def test_random_effects_equal_linearmodels(share, periods):
    rows = _drawn(share)
    indexed = rows.set_index(["unit", "period"])
    design = indexed[["x0", "x1", "kind"]].assign(constant=1.0)
    if periods:
        dummies = pd.get_dummies(rows["period"], drop_first=True, dtype=float)
        design = pd.concat([design, dummies.set_index(indexed.index)], axis=1)
    absorb = ("unit", "period") if periods else ("unit",)
    spec = replace(DRAWN, controls=("kind",), estimator="random", absorb=absorb)
    options = {
        "unadjusted": {"cov_type": "unadjusted"},
        "robust": {"cov_type": "robust"},
        "cluster": {"cov_type": "clustered", "cluster_entity": True, "group_debias": True},
    }
    for vcov, option in options.items():
        oracle = RandomEffects(indexed["y"], design).fit(debiased=True, **option)
        ours = fit_panel(_panel(rows), replace(spec, vcov=vcov)).tidy()
        assert_allclose(ours["estimate"], oracle.params.iloc[:3], rtol=1e-9)
        assert_allclose(ours["std_error"], oracle.std_errors.iloc[:3], rtol=1e-9)


@pytest.mark.parametrize("share", [1.0, 0.75])
def test_mundlak_terms_are_the_within_estimates(share):
    panel = _panel(_drawn(share))
    within = fit_panel(panel, DRAWN)
    correlated = fit_panel(panel, replace(DRAWN, estimator="correlated_random"))
    assert correlated.terms == ("x0", "x1", "x0_between", "x1_between")
    assert_allclose(correlated.coef[:2], within.coef, rtol=1e-9)


def test_contextual_effect_is_between_less_within_in_a_balanced_panel():
    panel = _panel(_drawn(1.0))
    spec = replace(DRAWN, absorb=("unit",))
    within = fit_panel(panel, spec).coef
    between = fit_panel(panel, replace(spec, estimator="between")).coef
    correlated = fit_panel(panel, replace(spec, estimator="correlated_random")).coef
    assert_allclose(correlated[2:], between - within, rtol=1e-9)


def test_random_effects_lie_at_pooled_without_unit_effects():
    # two units, two periods, no spread between the unit means: the unit variance is 0, theta is 0
    rows = pd.DataFrame(
        {
            "unit": np.repeat(np.arange(4), 3),
            "period": np.tile(np.arange(3), 4),
            "x": [0.0, 1, 2] * 4,
            "y": [0.0, 1, 4, 1, 0, 4, 0, 2, 3, 1, 1, 3],
        }
    )
    panel, spec = _panel(rows), PanelSpec(outcome="y", exposures=("x",), absorb=("unit",))
    random = fit_panel(panel, replace(spec, estimator="random"))
    assert_allclose(random.coef, fit_panel(panel, replace(spec, estimator="pooled")).coef)


@pytest.mark.parametrize("share", [1.0, 0.75])
@pytest.mark.parametrize(("vcov", "bandwidth"), [("unadjusted", 0), ("driscoll_kraay", 2)])
def test_fama_macbeth_equals_linearmodels(share, vcov, bandwidth):
    rows = _drawn(share)
    indexed = rows.set_index(["unit", "period"])
    design = indexed[["x0", "x1"]].assign(constant=1.0)
    option = {"cov_type": "kernel", "kernel": "bartlett", "bandwidth": bandwidth}
    oracle = FamaMacBeth(indexed["y"], design).fit(debiased=True, **option)
    ours = fit_panel(_panel(rows), replace(DRAWN, estimator="fama_macbeth", vcov=vcov))
    assert_allclose(ours.coef, oracle.params.iloc[:2], rtol=1e-9)
    assert_allclose(np.sqrt(np.diag(ours.vcov)), oracle.std_errors.iloc[:2], rtol=1e-9)


def test_fama_macbeth_counts_the_rows_of_periods_without_a_cross_section():
    rows = _drawn(1.0)
    rows = rows[(rows["period"] > 0) | (rows["unit"] < 2)]
    result = fit_panel(_panel(rows), replace(DRAWN, estimator="fama_macbeth"))
    assert result.lost == {"period with too few units for its own cross-section": 2}
    assert (result.n_periods, result.n_obs, result.df_t) == (8, len(rows) - 2, 7)


@pytest.mark.parametrize("share", [1.0, 0.75])
def test_two_way_errors_equal_pyfixest(share):
    rows = _drawn(share)
    ours = fit_panel(_panel(rows), replace(DRAWN, vcov="cluster_two_way"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = pf.feols(
            "y ~ x0 + x1 | unit + period",
            rows,
            vcov={"CRV1": "unit + period"},
            ssc=pf.ssc(k_adj=False, G_adj=False),
            fixef_tol=1e-13,
        )
    factor = cluster_factor(9, ours.n_obs, 2, 1)
    assert_allclose(np.sqrt(np.diag(ours.vcov)), oracle.se() * factor**0.5, rtol=1e-9)
    assert ours.df_t == 8


@pytest.mark.parametrize("share", [1.0, 0.75])
def test_driscoll_kraay_equals_linearmodels_with_text_units(share):
    rows = _drawn(share).assign(unit=lambda f: "team " + f["unit"].astype(str))
    indexed = rows.set_index(["unit", "period"])
    oracle = PanelOLS(
        indexed["y"], indexed[["x0", "x1"]], entity_effects=True, time_effects=True
    ).fit(cov_type="kernel", kernel="bartlett", bandwidth=2, debiased=False, auto_df=False,
          count_effects=False)  # fmt: skip
    ours = fit_panel(_panel(rows), replace(DRAWN, vcov="driscoll_kraay"))
    factor = cluster_factor(9, ours.n_obs, 2, ours.n_units)
    errors = np.sqrt(np.diag(ours.vcov))
    assert_allclose(errors, oracle.std_errors * factor**0.5, rtol=1e-9)


def test_driscoll_kraay_lags_by_calendar():
    # a skipped period breaks the chain: lags across it are two apart, not one
    rows = _drawn(1.0)
    rows = rows[rows["period"] != 4]
    closed = rows.assign(period=rows["period"] - (rows["period"] > 4))
    spec = replace(DRAWN, vcov="driscoll_kraay", absorb=("unit",))
    gap, none = (fit_panel(_panel(frame), spec) for frame in (rows, closed))
    assert_allclose(gap.coef, none.coef)
    assert not np.allclose(gap.vcov, none.vcov, rtol=1e-6)


def test_jackknife_of_random_effects_is_leaving_out_with_the_same_theta():
    panel = _panel(_drawn(0.75))
    spec = replace(DRAWN, estimator="random", absorb=("unit",), vcov="jackknife")
    compressed = compress_panel(panel, spec)
    rows = np.vstack(compressed.design.columns)
    starts = compressed.design.cluster_starts
    cluster = np.repeat(np.arange(len(starts)), np.diff(starts, append=rows.shape[1]))
    left = []
    for g in range(len(starts)):
        kept = rows[:, cluster != g]
        left.append(np.linalg.lstsq(kept[1:].T, kept[0], rcond=None)[0][:2])
    result = fit_panel(panel, spec)
    deviation = np.array(left) - result.coef
    g = len(starts)
    assert_allclose(result.vcov, (g - 1) / g * deviation.T @ deviation, rtol=1e-8)


NO_WEIGHTS = (
    "estimator='random' does not take weights ('kind'). Use estimator='within', or a panel without "
    "weights."
)
NO_JACKKNIFE = (
    "estimator='fama_macbeth' has no vcov='jackknife': its errors are the spread of the "
    "coefficients over time. Use vcov='unadjusted', or 'driscoll_kraay' for a series that "
    "remembers itself."
)
NO_PERIODS = (
    "estimator='between' has one row a unit and no periods, so there is no vcov='driscoll_kraay'. "
    "Use vcov='robust' or 'cluster'."
)
CONSTANT = (
    "'same' is constant on the rows used, so its coefficient is not identified. Drop it from the "
    "spec, or check the filter."
)
COLLINEAR = (
    "'double' is a combination of 'x0' once the effects are absorbed, so its coefficient is not "
    "identified. Drop one of them from the spec."
)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"estimator": "random", "weights": "kind"}, SpecError, NO_WEIGHTS),
        ({"estimator": "fama_macbeth", "vcov": "jackknife"}, SpecError, NO_JACKKNIFE),
        ({"estimator": "between", "vcov": "driscoll_kraay"}, SpecError, NO_PERIODS),
        ({"estimator": "random", "exposures": ("x0", "same")}, RankError, CONSTANT),
        ({"estimator": "random", "exposures": ("x0", "double")}, RankError, COLLINEAR),
    ],
)
def test_what_cannot_be_had_is_said(change, error, message):
    rows = _drawn(1.0).assign(same=1.5, double=lambda f: 2 * f["x0"])
    with pytest.raises(error) as found:
        fit_panel(_panel(rows), replace(DRAWN, **change))
    assert str(found.value) == message


def test_too_few_periods_are_said():
    rows = _drawn(1.0)
    rows = rows[rows["period"] < 4]
    with pytest.raises(InferenceError) as found:
        fit_panel(_panel(rows), replace(DRAWN, vcov="driscoll_kraay"))
    assert str(found.value) == (
        "Driscoll-Kraay errors need at least 5 periods; the rows used have 4. Use vcov='cluster'."
    )
    with pytest.raises(InferenceError, match=r"needs at least 3 periods .* 2 of 2 are"):
        fit_panel(_panel(rows[rows["period"] < 2]), replace(DRAWN, estimator="fama_macbeth"))


def test_clustered_errors_that_are_round_off_are_refused():
    """Two units, both effects: they mirror each other, and each one's scores sum to zero."""
    panel = _panel(_drawn(1.0)).where(_drawn(1.0)["unit"].to_numpy() < 2)
    words = (
        "The clustered errors of 2 of 2 coefficients vanish: with 2 clusters the scores cancel, so "
        "that they say nothing. Use more clusters, absorb fewer effects, or use vcov='robust'."
    )
    with pytest.raises(InferenceError) as caught:
        fit_panel(panel, DRAWN)
    assert str(caught.value) == words
    assert (fit_panel(panel, replace(DRAWN, vcov="robust")).tidy()["std_error"] > 0.01).all()


def test_jackknife_beside_dummy_means_that_depend_on_each_other_without_a_unit():
    # unit 0 alone has its pattern of periods: without it the means of two dummies are the same
    rows = _drawn(1.0)
    gaps = pd.MultiIndex.from_tuples([(0, 3), (0, 5), (1, 7)])
    rows = rows[~pd.MultiIndex.from_frame(rows[["unit", "period"]]).isin(gaps)]
    panel = _panel(rows.reset_index(drop=True))
    spec = replace(DRAWN, estimator="correlated_random", vcov="jackknife")
    fitted, compressed = fit_panel(panel, spec), compress_panel(panel, spec)
    design, k = compressed.design, len(fitted.terms)
    columns = np.column_stack([design.columns[j] for j in compressed.regressors])
    unit = np.searchsorted(design.cluster_starts, np.arange(design.n_obs), side="right") - 1
    deviation = []
    for g in range(60):
        kept = unit != g
        fit = np.linalg.lstsq(columns[kept], design.columns[0][kept], rcond=1e-10)
        deviation.append(fit[0][:k] - fitted.coef)
    assert np.linalg.matrix_rank(columns[unit != 0]) < columns.shape[1]
    by_hand = 59 / 60 * np.transpose(deviation) @ deviation
    assert_allclose(fitted.vcov, by_hand, rtol=1e-7)
