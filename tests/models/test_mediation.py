"""Mediation: by hand, against refits of whole draws by pyfixest, by identities and invariances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyfixest as pf
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pyfixest.demeaners import MapDemeaner
from scipy import stats

from ex_cx.errors import InferenceError, RankError, SpecError
from ex_cx.estimation import moments
from ex_cx.estimation.inference import bootstrap_counts, bootstrap_p_values
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationResult, MediationSpec, fit_mediation
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.results import TIDY

pytestmark = pytest.mark.filterwarnings("ignore::Warning:pyfixest")

EXACT = {
    "ssc": pf.ssc(k_adj=False, G_adj=False),
    "demeaner": MapDemeaner(fixef_tol=1e-14, fixef_maxiter=100_000),
}
SPEC = MediationSpec(outcome="y", exposure="x", mediators=("m",))
TWO = replace(SPEC, mediators=("m", "k"), controls=("z",))


def _rows(n_units=12, n_periods=6, share=1.0, seed=1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    unit, period = np.divmod(np.arange(n), n_periods)
    effect = 2 * rng.normal(size=n_units)[unit] + rng.normal(size=n_periods)[period]
    frame = pd.DataFrame({"unit": unit, "period": period, "site": unit // 2})
    frame["x"] = effect / 2 + rng.normal(size=n)
    frame["z"] = effect / 3 + rng.normal(size=n)
    frame["m"] = 0.5 * frame["x"] + effect / 2 + rng.normal(size=n)
    frame["k"] = -0.4 * frame["x"] + 0.2 * frame["m"] + rng.normal(size=n)
    frame["y"] = 0.3 * frame["x"] + 0.6 * frame["m"] + 0.2 * frame["k"] - 0.1 * frame["z"]
    frame["y"] += effect + rng.normal(size=n)
    frame["w"] = rng.uniform(0.3, 3, size=n)
    return frame[rng.uniform(size=n) < share].reset_index(drop=True)


def _panel(rows, weights=None, cluster=None, provenance=None) -> Panel:
    return Panel.from_frame(
        rows, unit="unit", period="period", weights=weights, cluster=cluster, provenance=provenance
    )


def _fit(rows, spec=SPEC, n_boot=99, seed=0, **roles):
    return fit_mediation(
        _panel(rows, **roles), spec, n_boot=n_boot, rng=np.random.default_rng(seed)
    )


def _refit(rows, spec, weights) -> np.ndarray:
    """a, b, direct, indirect by mediator, indirect, total, from three kinds of pyfixest fit."""
    controls = "".join(f" + {c}" for c in spec.controls)
    mediators = " + ".join(spec.mediators)
    options = {"weights": weights, "vcov": "iid", **EXACT}

    def fit(formula):
        return pf.feols(f"{formula}{controls} | {' + '.join(spec.absorb)}", rows, **options).coef()

    a = np.array([fit(f"{m} ~ x")["x"] for m in spec.mediators])
    outcome = fit(f"y ~ x + {mediators}")
    b = outcome[list(spec.mediators)].to_numpy()
    total = fit("y ~ x")["x"]
    return np.r_[a, b, outcome["x"], a * b, (a * b).sum(), total]


# By hand

BY_HAND = pd.DataFrame(
    {
        "unit": list("AAABBB"),
        "period": [1, 2, 3] * 2,
        "x": [-1.0, 0, 1, -1, 0, 1],
        "m": [-2.0, 1, 1, -1, 2, -1],
    }
).assign(y=lambda f: 3 * f["m"] + 2 * f["x"])


def test_paths_by_hand():
    # x'x = 4; x'm = 2 + 1 + 1 - 1 = 3, so a = 3/4; y = 3 m + 2 x exactly
    result = _fit(BY_HAND, replace(SPEC, absorb=("unit",)), cluster=None)
    paths = dict(zip(result.terms, result.estimates, strict=True))
    expected = {
        "a:m": 0.75,
        "b:m": 3,
        "direct": 2,
        "indirect:m": 2.25,
        "indirect": 2.25,
        "total": 4.25,
        "proportion_mediated": 2.25 / 4.25,
    }
    assert list(paths) == list(expected)
    assert_allclose(list(paths.values()), list(expected.values()), rtol=1e-12)


def test_lags_follow_the_calendar():
    # exposure 2 periods before, mediator 1 before the outcome; a gap breaks the chain
    rows = _rows(n_units=20, n_periods=8, share=0.85)
    merged = rows[["unit", "period", "y", "z"]]
    for name, by in (("m", 1), ("x", 3)):
        earlier = rows[["unit", "period", name]].assign(period=rows["period"] + by)
        merged = merged.merge(earlier, on=["unit", "period"])
    spec = replace(SPEC, controls=("z",), lag_mediator=2, lag_outcome=1)
    result = _fit(rows, spec)
    assert_allclose(result.estimates[:-1], _refit(merged, spec, None), rtol=1e-9)
    assert set(result.lost) >= {"missing x (lag 3)", "missing m (lag 1)"}
    assert result.rows_in == len(rows)
    assert result.n_obs + sum(result.lost.values()) == len(rows)


# Outside oracles


@pytest.mark.parametrize("absorb", [("unit", "period"), ("unit",), ("period",)])
@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("share", [1.0, 0.7])
def test_estimates_are_those_of_pyfixest(absorb, weights, share):
    rows, spec = _rows(share=share), replace(TWO, absorb=absorb)
    result = _fit(rows, spec, weights=weights)
    assert_allclose(result.estimates[:-1], _refit(rows, spec, weights), rtol=1e-9)


def test_estimates_without_effects_are_those_of_statsmodels():
    rows, spec = _rows(share=0.8), replace(SPEC, absorb=())
    one = np.ones(len(rows))
    a = sm.OLS(rows["m"], np.c_[one, rows["x"]]).fit().params.to_numpy()[1]
    outcome = sm.OLS(rows["y"], np.c_[one, rows[["x", "m"]]]).fit().params.to_numpy()
    total = sm.OLS(rows["y"], np.c_[one, rows["x"]]).fit().params.to_numpy()[1]
    expected = [a, outcome[2], outcome[1], a * outcome[2], a * outcome[2], total]
    assert_allclose(_fit(rows, spec).estimates[:-1], expected, rtol=1e-9)


def test_paths_are_those_of_the_panel_regressions():
    rows = _rows(share=0.8)
    result = _fit(rows, TWO, weights="w")
    panel = _panel(rows, weights="w")
    outcome = PanelSpec(outcome="y", exposures=("x", "m", "k"), controls=("z",))
    direct, b_m, b_k, _ = fit_panel(panel, outcome).coef
    equation = replace(outcome, exposures=("x",))
    a_m, a_k, total = (
        fit_panel(panel, replace(equation, outcome=name)).coef[0] for name in ("m", "k", "y")
    )
    expected = [a_m, a_k, b_m, b_k, direct, a_m * b_m, a_k * b_k, a_m * b_m + a_k * b_k, total]
    assert_allclose(result.estimates[:-1], expected, rtol=1e-10)


@pytest.mark.parametrize("share", [1.0, 0.75])
@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("cluster", [None, "site"])
@pytest.mark.parametrize("absorb", [("unit", "period"), ("unit",)])
def test_every_draw_equals_a_refit_of_the_drawn_rows(share, weights, cluster, absorb):
    # the drawn clusters' rows under new labels, each repeat a cluster of its own
    rows, spec = _rows(share=share, seed=5), replace(SPEC, controls=("z",), absorb=absorb)
    result = _fit(rows, spec, seed=8, weights=weights, cluster=cluster)
    assert result.draws_failed == 0
    labels = np.sort(rows[cluster or "unit"].unique())
    counts = bootstrap_counts(len(labels), 99, np.random.default_rng(8))
    for drawn, count in list(zip(result.draws, counts, strict=True))[:2]:
        copies = [
            rows[rows[cluster or "unit"] == g].assign(unit=lambda f, c=c: f["unit"] + 100 * c)
            for g, times in zip(labels, count.astype(int), strict=True)
            for c in range(times)
        ]
        drawn_rows = pd.concat(copies, ignore_index=True)
        assert_allclose(drawn[:-1], _refit(drawn_rows, spec, weights), rtol=1e-8, atol=1e-9)


def test_draws_that_lose_a_period_leave_its_effect_out():
    # units 0 and 1 alone are seen in periods 0 and 1: draws without either lose both periods
    rows = _rows(n_units=10, seed=3)
    rows = rows[(rows["unit"] < 2) | (rows["period"] > 1)].reset_index(drop=True)
    result = _fit(rows, seed=4)
    counts = bootstrap_counts(10, 99, np.random.default_rng(4))
    without = np.flatnonzero((counts[:, 0] == 0) & (counts[:, 1] == 0))[:2]
    assert len(without) == 2
    for draw in without:
        copies = [
            rows[rows["unit"] == g].assign(unit=100 * c + g)
            for g in range(10)
            for c in range(int(counts[draw, g]))
        ]
        drawn_rows = pd.concat(copies, ignore_index=True)
        assert drawn_rows["period"].nunique() == 4
        assert_allclose(result.draws[draw, :-1], _refit(drawn_rows, SPEC, None), rtol=1e-8)


def test_draws_of_sets_of_periods_that_never_meet():
    rows = _rows(n_units=14, seed=6)
    rows = rows[(rows["unit"] % 2 == 0) == (rows["period"] < 3)].reset_index(drop=True)
    result = _fit(rows, seed=2)
    counts = bootstrap_counts(14, 99, np.random.default_rng(2))
    for draw in range(2):
        copies = [
            rows[rows["unit"] == g].assign(unit=100 * c + g)
            for g in range(14)
            for c in range(int(counts[draw, g]))
        ]
        refit = _refit(pd.concat(copies, ignore_index=True), SPEC, None)
        assert_allclose(result.draws[draw, :-1], refit, rtol=1e-8)


# Identities


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("share", [1.0, 0.7])
@pytest.mark.parametrize("absorb", [("unit", "period"), ("unit",), ("period",), ()])
def test_direct_and_indirect_add_up_in_every_draw(absorb, share, weights):
    result = _fit(_rows(share=share), replace(TWO, absorb=absorb), n_boot=999, weights=weights)
    for terms in (result.estimates[None], result.draws):
        named = dict(zip(result.terms, terms.T, strict=True))
        assert_allclose(named["direct"] + named["indirect"], named["total"], rtol=0, atol=1e-12)
        assert_allclose(named["a:m"] * named["b:m"], named["indirect:m"], rtol=1e-14)
        assert_allclose(named["a:k"] * named["b:k"], named["indirect:k"], rtol=1e-14)
        summed = named["indirect:m"] + named["indirect:k"]
        assert_allclose(summed, named["indirect"], rtol=0, atol=1e-14)
        assert_allclose(named["indirect"] / named["total"], named["proportion_mediated"])


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("share", [1.0, 0.7])
def test_many_blocks_are_one(monkeypatch, share, weights):
    rows = _rows(share=share)
    whole = _fit(rows, TWO, weights=weights, cluster="site")
    monkeypatch.setattr(moments, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(moments, "_KEEP_ROWS", 0)
    monkeypatch.setattr(moments, "_CHUNK_BYTES", 1)  # a draw at a time
    parts = _fit(rows, TWO, weights=weights, cluster="site")
    assert_allclose(parts.estimates, whole.estimates, rtol=1e-11)
    assert_allclose(parts.draws, whole.draws, rtol=1e-9, atol=1e-11)


def test_products_equal_columns_made_by_hand():
    rows = _rows(share=0.8)
    by_hand = rows.assign(xz=rows["x"] * rows["z"], m2=rows["m"] ** 2)
    terms = _fit(rows, replace(SPEC, exposure="x:z", mediators=("m^2",)))
    columns = _fit(by_hand, replace(SPEC, exposure="xz", mediators=("m2",)))
    assert_allclose(terms.draws, columns.draws, rtol=1e-12)
    assert terms.terms[:2] == ("a:m^2", "b:m^2")


# Intervals, p-values, draws

_FEW = MediationResult(
    spec=SPEC,
    terms=("a:m", "b:m", "direct", "indirect", "total", "proportion_mediated"),
    estimates=np.ones(6),
    draws=np.ones((99, 6)),
    n_boot=99,
    draws_failed=0,
    interval="percentile",
    factor=1.3,
    n_obs=40,
    n_units=6,
    n_periods=7,
    n_clusters=6,
    rows_in=40,
    lost={},
    warnings=(),
)


def test_intervals_and_p_values_by_counting():
    result = _fit(_rows(), n_boot=199)
    tidy = result.tidy(0.9)
    assert tuple(tidy.columns) == TIDY
    assert_allclose(tidy["estimate"], result.estimates)
    ordered = np.sort(result.draws, axis=0)
    # tails at Phi(-sqrt(c) t): c the CR1 factor of the outcome equation, t on G - 1 degrees
    g, n, t = result.n_clusters, result.n_obs, result.n_periods
    regressors = 1 + len(SPEC.mediators) + len(SPEC.controls)
    factor = g / (g - 1) * (n - 1) / (n - regressors - t)
    tail = stats.norm.cdf(-np.sqrt(factor) * stats.t.ppf(0.95, g - 1))
    # linear interpolation: the tail's share of 198 gaps above the smallest
    whole, part = divmod(tail * 198, 1)
    low = ordered[int(whole)] + part * (ordered[int(whole) + 1] - ordered[int(whole)])
    down = 198 - int(whole)
    high = ordered[down] - part * (ordered[down] - ordered[down - 1])
    assert_allclose(tidy["conf_low"], low, rtol=1e-9)
    assert_allclose(tidy["conf_high"], high, rtol=1e-9)
    assert_allclose(tidy["std_error"][:-1], result.draws[:, :-1].std(axis=0, ddof=1))
    for at, p in enumerate(tidy["p_value"][:-1]):
        hits = min((result.draws[:, at] <= 0).sum(), (result.draws[:, at] >= 0).sum())
        counted = min(1.0, 2 * (1 + hits) / 200)
        # the tail Phi(-sqrt(c) t) that was counted is that of t on G - 1 degrees of freedom
        assert_allclose(p, 2 * stats.t.sf(-stats.norm.ppf(counted / 2) / np.sqrt(factor), g - 1))
    assert tidy["statistic"].isna().all()


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_no_small_p_value_stands_beside_an_interval_that_holds_zero(level):
    # draws of few clusters beside zero: without expanding p, many pairs would disagree
    pairs, everything = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        draws = rng.normal(loc=rng.uniform(1, 5, size=6), size=(1999, 6))
        result = replace(_FEW, draws=draws, estimates=draws.mean(axis=0))
        everything.append(draws)
        pairs.append(result.tidy(level)[["p_value", "conf_low", "conf_high"]].iloc[:-1])
    rows = pd.concat(pairs)
    assert rows["p_value"].min() > 0
    excluded = (rows["conf_low"] > 0) | (rows["conf_high"] < 0)
    small = rows["p_value"] < 1 - level
    assert excluded[small].all()
    # the other way round they differ by one draw in counting, next to the end of the interval
    assert small.sum() >= 0.9 * excluded.sum()
    counted = np.concatenate([bootstrap_p_values(d)[:-1] for d in everything]) < 1 - level
    assert (counted & ~excluded).sum() > 20


def test_too_few_draws_for_the_tails_of_few_clusters_are_told():
    # 6 clusters: tails at Phi(-sqrt(c) t), t = 2.57 on 5 degrees, c about 1.4: some 0.1 % each
    rows = _rows(n_units=6, n_periods=12)
    said = (
        "99 draws do not reach the tails of 95 % intervals for 6 clusters: they end at the "
        "outermost draws and are too short; use more draws, or the p-values"
    )
    few = _fit(rows, n_boot=99, cluster=None)
    assert few.draws_failed == 0
    assert said in few.warnings
    assert (few.tidy()["p_value"][:-1] > 0.05).all()
    many = _fit(rows, n_boot=4999, cluster=None)
    assert not [text for text in many.warnings if "tails" in text]


def test_opposite_direct_and_indirect_have_no_share():
    # m = 0.9 x, y = 2 x - m: the direct path 2 is more than the total 1.1
    rng = np.random.default_rng(5)
    rows = _rows(n_units=40)
    m = 0.9 * rows["x"] + rng.normal(size=len(rows))
    rows = rows.assign(m=m, y=2 * rows["x"] - m + 0.1 * rng.normal(size=len(rows)))
    tidy = _fit(rows, n_boot=999).tidy().set_index("term")
    assert tidy.loc["total", "conf_low"] > 0
    assert tidy.loc["indirect", "conf_high"] < 0 < tidy.loc["direct", "conf_low"]
    assert tidy.loc["proportion_mediated", ["estimate", "conf_low", "conf_high"]].isna().all()


def test_interval_is_that_of_cr1_where_draws_are_normal():
    # the total effect is linear in the data: widths agree up to the bootstrap's own error, about
    # 3 % of the width for tails of 4,999 draws, and what 20 clusters leave of non-normality
    rows = _rows(n_units=20, n_periods=20)
    result = _fit(rows, n_boot=4999)
    row = result.tidy().set_index("term").loc["total"]
    terms = (SPEC.exposure, *SPEC.controls)
    panel = fit_panel(_panel(rows), PanelSpec(outcome=SPEC.outcome, exposures=terms)).tidy()
    width = (panel["conf_high"] - panel["conf_low"])[0]
    assert_allclose(row["conf_high"] - row["conf_low"], width, rtol=0.12)


def test_a_share_of_nothing_is_missing():
    rng = np.random.default_rng(0)
    rows = _rows(n_units=20).assign(y=lambda f: rng.normal(size=len(f)))
    share = _fit(rows, n_boot=999).tidy().set_index("term").loc["proportion_mediated"]
    assert share[["estimate", "std_error", "p_value", "conf_low", "conf_high"]].isna().all()
    clear = _rows(n_units=40).assign(y=lambda f: 5 * f["x"] + f["m"] + f["y"])
    share = _fit(clear, n_boot=999).tidy().set_index("term").loc["proportion_mediated"]
    assert share[["estimate", "conf_low", "conf_high"]].notna().all()
    assert share[["std_error", "p_value"]].isna().all()


def test_the_same_generator_gives_the_same_numbers():
    rows = _rows(share=0.8)
    one, same, other = (_fit(rows, TWO, n_boot=999, seed=s) for s in (3, 3, 4))
    assert np.array_equal(one.draws, same.draws)
    assert not np.array_equal(one.draws, other.draws)
    pd.testing.assert_frame_equal(one.tidy(), same.tidy())


def test_more_draws_begin_with_the_same_ones():
    rows = _rows()
    few, many = _fit(rows, n_boot=600), _fit(rows, n_boot=1500)
    assert np.array_equal(many.draws[:600], few.draws)


def test_every_cluster_is_drawn_whole_and_as_often_as_there_are_clusters():
    counts = bootstrap_counts(7, 4000, np.random.default_rng(0))
    assert counts.shape == (4000, 7)
    assert (counts.sum(axis=1) == 7).all()
    # each count is binomial(7, 1/7): mean 1, standard error of the mean sqrt(6/7/4000)
    assert_allclose(counts.mean(axis=0), 1, atol=4 * np.sqrt(6 / 7 / 4000))


# Invariances


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), weights=st.sampled_from([None, "w"]))
def test_row_order_and_the_calendar_start_do_not_matter(seed, weights):
    rows = _rows(share=0.8, seed=seed)
    other = rows.sample(frac=1, random_state=seed).assign(period=lambda f: f["period"] + 1990)
    one, same = (_fit(r, TWO, weights=weights) for r in (rows, other))
    assert_allclose(same.estimates, one.estimates, rtol=1e-8)
    assert_allclose(same.draws, one.draws, rtol=1e-6, atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(
    x=st.sampled_from([1e-12, 1.0, 1e5]),
    m=st.sampled_from([1e-6, 1.0, 1e9]),
    y=st.sampled_from([1e-3, 1.0, 1e6]),
)
def test_rescaled_columns_rescale_paths(x, m, y):
    rows = _rows(share=0.9)
    one = _fit(rows)
    other = _fit(rows.assign(x=rows["x"] * x, m=rows["m"] * m, y=rows["y"] * y))
    factor = np.array([m / x, y / m, y / x, y / x, y / x, y / x, 1.0])
    assert_allclose(other.estimates, one.estimates * factor, rtol=1e-9)
    assert_allclose(other.draws, one.draws * factor, rtol=1e-6, atol=1e-9 * factor.max())


def test_the_order_of_mediators_does_not_matter():
    rows = _rows(share=0.8)
    one, other = _fit(rows, TWO), _fit(rows, replace(TWO, mediators=("k", "m")))
    turned = [other.terms.index(term) for term in one.terms]
    assert_allclose(other.draws[:, turned], one.draws, rtol=1e-9, atol=1e-12)


# What it warns of


def test_warnings():
    rows = _rows(n_units=50)
    same_period = "exposure, mediators and outcome are from the same period: order is assumed"
    assert _fit(rows).warnings == (same_period,)
    assert _fit(rows, replace(SPEC, lag_mediator=1)).warnings == ()
    assert _fit(_rows(), n_boot=999).warnings == (
        "12 clusters, fewer than 40: bootstrap intervals rest on a correction for few clusters",
        same_period,
    )
    who = {"x": "staff", "m": "staff", "k": "customers", "y": "customers"}
    result = _fit(rows, replace(TWO, lag_mediator=1), provenance=who)
    brought = "their association may be inflated by what that source brings to both"
    assert result.warnings == (
        f"k and y have one source (customers): {brought}",
        f"x and m have one source (staff): {brought}",
    )
    assert result.glance()["warnings"][0] == "; ".join(result.warnings)


def test_draws_that_do_not_identify_a_path_are_counted_and_left_out():
    # x moves in 3 of 30 units: a draw misses all three with probability 0.9^30 = 0.042
    rows = _rows(n_units=30)
    for constant in (0.0, 0.1, 5300.0):
        few = rows.assign(x=rows["x"].where(rows["unit"] < 3, constant))
        result = _fit(few, n_boot=999, weights="w")
        counts = bootstrap_counts(30, 999, np.random.default_rng(0))
        missed = int((counts[:, :3].sum(axis=1) == 0).sum())
        assert missed > 0
        assert result.draws_failed == missed
        assert len(result.draws) == 999 - missed
        assert result.warnings[-1] == (
            f"{missed} draws did not identify every path and were left out"
        )


# What it says when it cannot


def _message(error_type, rows, spec=SPEC, n_boot=99, **roles):
    with pytest.raises(error_type) as error:
        _fit(rows, spec, n_boot=n_boot, **roles)
    return str(error.value)


def test_paths_that_rest_on_one_cluster():
    rows = _rows().assign(x=lambda f: f["x"].where(f["unit"] == 3, 0.1))
    message = _message(InferenceError, rows, weights="w")
    assert message.endswith(
        " of 99 draws of 12 clusters a path is not identified: too few clusters carry the "
        "variation. Use fewer terms, or more clusters."
    )


def test_one_cluster():
    spec = replace(SPEC, absorb=("unit",))
    assert _message(InferenceError, _rows(n_units=1), spec) == (
        "A cluster bootstrap needs at least 2 clusters; the rows used have 1. Add units, or "
        "cluster by a finer column."
    )


def test_paths_that_are_not_identified():
    rows = _rows()
    assert _message(RankError, rows.assign(x=0.1)) == (
        "'x' is constant on the rows used, so its coefficient is not identified. Drop it from the "
        "spec, or check the filter."
    )
    assert _message(RankError, rows.assign(m=lambda f: 2 * f["x"] + f["unit"])) == (
        "'m' is a combination of 'x' once the effects are absorbed, so its coefficient is not "
        "identified. Drop one of them from the spec."
    )
    assert _message(RankError, rows.assign(m=lambda f: 0.1 * f["unit"])) == (
        "'m' is a combination of the absorbed effects (unit and period), so its coefficient is not "
        "identified. Drop it from the spec, or absorb fewer effects."
    )
    assert _message(RankError, rows.assign(y=0.3)) == (
        "The outcome is constant on the rows used, so there is nothing to explain. Check the "
        "filter, or whether the column holds what its name says."
    )


def test_nearly_dependent_columns_are_not_resampled():
    rows = _rows().assign(m=lambda f: f["x"] + 1e-5 * f["m"])
    assert "refitting without or with repeated clusters is exact to rounding only below" in (
        _message(InferenceError, rows)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"structure": "series"},
            "structure='series' is not one of parallel, serial. Did you mean 'serial'?",
        ),
        (
            {"mediators": "m"},
            "mediators and controls are tuples of terms: write ('m',), not 'm'.",
        ),
        (
            {"mediators": ()},
            "The spec names no mediator. Give at least one column in `mediators`.",
        ),
        (
            {"absorb": ("units",)},
            (
                "absorb=('units',) is not a tuple of effects. Choose from ('unit', 'period'), "
                "('unit',), ('period',) and ()."
            ),
        ),
        (
            {"lag_outcome": -1},
            (
                "lag_mediator=0, lag_serial=0 and lag_outcome=-1 count whole periods forward: use "
                "0 or more."
            ),
        ),
        (
            {"controls": ("x", "y")},
            (
                "'x', 'y' has more than one role in the spec. Give each column one of outcome, "
                "exposure, mediator, control, moderator."
            ),
        ),
        (
            {"mediators": ("mm",)},
            (
                "There is no column 'mm' in the panel. Did you mean 'm'? A term is a column, `a:b` "
                "or `a^2`."
            ),
        ),
    ],
)
def test_choices_that_do_not_exist(change, message):
    assert _message(SpecError, _rows(), replace(SPEC, **change)) == message


def test_intervals_that_do_not_exist_and_too_few_draws():
    with pytest.raises(SpecError, match="interval='percentil' is not one of percentile"):
        fit_mediation(_panel(_rows()), SPEC, interval="percentil", rng=np.random.default_rng(0))
    assert _message(InferenceError, _rows(), n_boot=98) == (
        "n_boot=98 draws cannot carry an interval; use at least 99."
    )
    with pytest.raises(InferenceError, match="conf_level=95 is not between 0 and 1"):
        _fit(_rows()).tidy(95)


def test_result_presents_what_it_stores():
    result = _fit(_rows(share=0.9), TWO, weights="w")
    glance = result.glance()
    assert len(glance) == 1
    assert glance["rows_lost"][0] == result.rows_in - result.n_obs
    assert glance["mediators"][0] == "m, k"
    assert glance["n_boot"][0] == 99
    assert "x -> m, k -> y" in result.summary()
    assert "<table" in result._repr_html_()
