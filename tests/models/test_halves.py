"""Split halves: against linearmodels on rows stacked by hand, and against the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from linearmodels.iv import IV2SLS
from numpy.testing import assert_allclose

from ex_cx.errors import PanelError, SpecError
from ex_cx.estimation.inference import cluster_factor
from ex_cx.linkage.panel import Panel
from ex_cx.models.halves import fit_split_half
from ex_cx.models.regress import PanelSpec, fit_panel

pytestmark = pytest.mark.filterwarnings("ignore::Warning")  # the oracle's own

SPEC = PanelSpec(outcome="y", exposures=("x",), controls=("w",))


def rows_of(seed: int = 1, n_units: int = 30, n_periods: int = 8, share: float = 1.0):
    """y rises by 1 with the true exposure, falls by 0.5 with w; halves of noise variance 0.36."""
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    unit, period = np.divmod(np.arange(n), n_periods)
    effect = rng.normal(size=n_units)[unit] + rng.normal(size=n_periods)[period]
    truth = effect + 0.6 * rng.normal(size=n)
    rows = pd.DataFrame({"unit": unit, "period": period, "site": unit // 2})
    rows["w"] = 0.5 * truth + rng.normal(size=n)
    rows["x_half1"], rows["x_half2"] = truth + 0.6 * rng.normal(size=(2, n))
    rows["x"] = (rows["x_half1"] + rows["x_half2"]) / 2
    rows["y"] = truth - 0.5 * rows["w"] + effect + 0.5 * rng.normal(size=n)
    rows["mass"] = rng.uniform(0.5, 2, size=n)
    return rows[rng.uniform(size=n) < share].reset_index(drop=True)


def panel_of(rows, **names) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period", **names)


def stacked_by_hand(rows) -> pd.DataFrame:
    one = rows.assign(x=rows["x_half1"], by1=rows["x_half2"], by2=0.0, half=1)
    other = rows.assign(x=rows["x_half2"], by1=0.0, by2=rows["x_half1"], half=2)
    both = pd.concat([one, other], ignore_index=True)
    both["u"] = both["unit"] + 1000 * both["half"]
    both["p"] = both["period"] + 1000 * both["half"]
    return both


@pytest.mark.parametrize("weights", [None, "mass"])
@pytest.mark.parametrize("cluster", ["unit", "site"])
@pytest.mark.parametrize("share", [1.0, 0.8])
def test_is_two_stage_least_squares_on_the_stacked_rows(share, cluster, weights):
    rows = rows_of(share=share)
    both = stacked_by_hand(rows)
    effects = [
        pd.get_dummies(both["u"], dtype=float),
        pd.get_dummies(both["p"], dtype=float).drop(columns=[1000, 2000]),
    ]
    exog = pd.concat([both[["w"]], *effects], axis=1)
    exog.columns = [f"e{at}" for at in range(exog.shape[1])]
    exog = exog.rename(columns={"e0": "w"})
    mass = None if weights is None else both[weights]
    model = IV2SLS(both["y"], exog, both[["x"]], both[["by1", "by2"]], weights=mass)
    theirs = model.fit(cov_type="clustered", clusters=both[cluster], debiased=False)
    ours = fit_split_half(panel_of(rows, cluster=cluster, weights=weights), SPEC)
    g = rows[cluster].nunique()
    factor = cluster_factor(g, len(both), 2, 1 + 2 * 7)
    terms = ["x", "w"]
    assert ours.terms == ("x", "w")
    assert_allclose(ours.coef, theirs.params[terms], rtol=1e-8)
    # ours charges one for the nested units of each way round together
    assert_allclose(ours.vcov, factor * theirs.cov.loc[terms, terms], rtol=1e-8)
    assert ours.df_t == g - 1


def test_recovers_the_truth_where_the_mean_of_the_halves_does_not():
    draws, covered = [], []
    for seed in range(150):
        panel = panel_of(rows_of(seed, n_units=60))
        fits = fit_panel(panel, SPEC), fit_split_half(panel, SPEC)
        draws.append([[*fit.coef] for fit in fits])
        covered.append([abs(fit.coef[0] - 1) < 2 * fit.vcov[0, 0] ** 0.5 for fit in fits])
    means, error = np.mean(draws, axis=0), np.std(draws, axis=0) / np.sqrt(150)
    # within, given w: variance of the truth 0.36 - 0.18^2 / 1.09, noise 0.18
    left = 0.36 - (0.5 * 0.36) ** 2 / (1 + 0.25 * 0.36)
    assert abs(means[0, 0] - left / (left + 0.18)) < 4 * error[0, 0]
    assert abs(means[1, 0] - 1) < 4 * error[1, 0]
    assert abs(means[1, 1] + 0.5) < 4 * error[1, 1]
    assert abs(means[0, 1] + 0.5) > 10 * error[0, 1]  # the control takes over what x loses
    assert np.mean(covered, axis=0)[0] < 0.1
    assert np.mean(covered, axis=0)[1] > 0.9


def test_rows_are_counted_once_and_by_reason():
    rows = rows_of()
    rows.loc[[3, 70], "x_half1"] = np.nan
    rows.loc[[3, 9], "x_half2"] = np.nan
    rows.loc[20, "y"] = np.nan
    result = fit_split_half(panel_of(rows), SPEC)
    assert result.lost == {"missing y": 1, "missing x": 3}
    assert (result.n_obs, result.rows_in) == (236, 240)
    assert (result.n_units, result.n_periods, result.n_clusters) == (30, 8, 30)
    assert result.convention.startswith("split halves, each row twice")
    complete = rows.dropna()
    assert_allclose(fit_split_half(panel_of(complete), SPEC).coef, result.coef, rtol=1e-10)


def test_lags_differences_and_text_periods():
    rows = rows_of()
    names = ["x", "x_half1", "x_half2"]
    earlier = rows[["unit", "period", *names]].assign(period=rows["period"] + 1)
    merged = rows.drop(columns=names).merge(earlier, on=["unit", "period"])
    lagged = fit_split_half(panel_of(rows), replace(SPEC, lag=1))
    assert lagged.terms == ("x_lag1", "w")
    assert_allclose(lagged.vcov, fit_split_half(panel_of(merged), SPEC).vcov, rtol=1e-10)
    monthly = rows.assign(period=[f"2024-{1 + p:02d}" for p in rows["period"]])
    plain = fit_split_half(panel_of(rows), SPEC)
    assert_allclose(fit_split_half(panel_of(monthly), SPEC).coef, plain.coef, rtol=1e-12)
    changes = fit_split_half(panel_of(rows), replace(SPEC, estimator="first_difference"))
    assert changes.lost == {"no row one period earlier": 30}
    assert 0.5 < changes.coef[0] < 1.5


def test_named_halves_and_several_exposures():
    rows = rows_of()
    rng = np.random.default_rng(9)
    rows["v_a"], rows["v_b"] = rows["w"].to_numpy() + 0.4 * rng.normal(size=(2, len(rows)))
    spec = replace(SPEC, exposures=("x", "v"), controls=())
    halves = {"x": ("x_half1", "x_half2"), "v": ("v_a", "v_b")}
    result = fit_split_half(panel_of(rows), spec, halves)
    assert result.terms == ("x", "v")
    assert result.first_stage["term"].tolist() == ["x", "v"]
    renamed = fit_split_half(
        panel_of(rows.rename(columns={"x_half1": "one"})), SPEC, {"x": ("one", "x_half2")}
    )
    assert_allclose(renamed.coef, fit_split_half(panel_of(rows), SPEC).coef, rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "halves", "message"),
    [
        ({"vcov": "robust"}, None, "count every row twice"),
        ({"estimator": "pooled"}, None, "keep the two appearances of a row apart"),
        ({"instruments": {"x": "w"}}, None, "the spec instruments 'x'"),
        ({"exposures": ("w",), "controls": ()}, None, "no halves of 'w'"),
        ({}, {"v": ("x_half1", "x_half2")}, "names 'v', which is no exposure"),
        ({}, {"x": ("x_half1", "x_half1")}, "Name two different columns"),
        ({"controls": ("x:w",)}, None, "'x:w' holds an exposure that is halved"),
        ({"controls": ("x_half1",)}, None, "'x_half1' holds"),
    ],
)
def test_what_split_halves_cannot_do_is_refused(changes, halves, message):
    with pytest.raises(SpecError, match=message):
        fit_split_half(panel_of(rows_of()), replace(SPEC, **changes), halves)


def test_a_half_that_does_not_exist_is_named():
    with pytest.raises(PanelError, match="Did you mean 'x_half2'"):
        fit_split_half(panel_of(rows_of()), SPEC, {"x": ("x_half1", "x_half3")})
