"""The wild cluster bootstrap equals refitting every draw by hand, whatever the null value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyfixest as pf
import pytest
from numpy.testing import assert_allclose

from ex_cx.errors import InferenceError, SpecError
from ex_cx.estimation.wild import draw_wild, wild_signs
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelSpec, compress_panel, fit_panel
from ex_cx.models.wild import wild_cluster_test

SPEC = PanelSpec(outcome="y", exposures=("x0", "x1"), controls=("x2",))


def _rows(n_units: int, n_periods: int, share: float, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    unit, period = np.divmod(np.arange(n), n_periods)
    effect = 2 * rng.normal(size=n_units)[unit] + rng.normal(size=n_periods)[period]
    frame = pd.DataFrame({"unit": unit, "period": period, "site": unit // 5})
    for name in ("x0", "x1", "x2"):
        frame[name] = rng.normal(size=n) + effect / 2
    frame["y"] = 0.1 * frame["x0"] + 0.2 * frame["x1"] + effect + rng.normal(size=n)
    frame["w"] = rng.uniform(0.5, 2, size=n)
    return frame[rng.uniform(size=n) < share].reset_index(drop=True)


@pytest.mark.parametrize("share", [1.0, 0.7])
@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("cluster", [None, "site"])
def test_every_draw_equals_a_refit(share, weights, cluster):
    null = 0.07
    panel = Panel.from_frame(
        _rows(30, 8, share, seed=3), unit="unit", period="period", weights=weights, cluster=cluster
    )
    compressed = compress_panel(panel, SPEC)
    design, moments, equation = compressed.design, compressed.moments, compressed.equation()
    signs, enumerated = wild_signs(moments.n_clusters, 9, "webb", np.random.default_rng(1))
    draws = draw_wild(moments, equation, 0, signs, enumerated=enumerated)
    t_ours = (draws.slope_y - null * draws.slope_x) / np.sqrt(
        draws.square_y - 2 * null * draws.square_yx + null**2 * draws.square_x
    )
    rows = panel.frame.iloc[design.source].reset_index(drop=True)
    sizes = np.diff(np.append(design.cluster_starts, design.n_obs))
    rows["g"] = np.repeat(np.arange(design.n_clusters), sizes)
    rows["restricted"] = rows["y"] - null * rows["x0"]
    exact = {"weights": weights, "fixef_tol": 1e-13, "ssc": pf.ssc(k_adj=False, G_adj=False)}
    residual = pf.feols("restricted ~ x1 + x2 | unit + period", rows, **exact).resid()
    fitted = rows["y"] - residual
    for v, ours in zip(signs, t_ours, strict=True):
        rows["drawn"] = fitted + v[rows["g"]] * residual
        refit = pf.feols("drawn ~ x0 + x1 + x2 | unit + period", rows, vcov={"CRV1": "g"}, **exact)
        assert_allclose(ours, (refit.coef()["x0"] - null) / refit.se()["x0"], rtol=1e-8)


def test_few_clusters_take_every_sign_vector_once():
    signs, enumerated = wild_signs(5, 99, "rademacher", np.random.default_rng(0))
    assert enumerated
    assert len(np.unique(signs, axis=0)) == len(signs) == 32


def test_enumerated_p_value_is_never_below_two_in_all_vectors():
    # the sample's own signs and their reverse always count: p >= 2 / 2^5
    rows = _rows(5, 40, 1.0, seed=1)
    rows["y"] = rows["x0"] + 1e-3 * rows["y"]
    panel = Panel.from_frame(rows, unit="unit", period="period")
    test = wild_cluster_test(panel, SPEC, "x0", rng=np.random.default_rng(0))
    assert test.n_boot == 32
    assert test.tidy()["p_value"][0] >= 2 / 32


def test_interval_ends_are_where_the_test_turns():
    panel = Panel.from_frame(_rows(30, 8, 0.8, seed=2), unit="unit", period="period")
    test = wild_cluster_test(panel, SPEC, "x1", n_boot=1999, rng=np.random.default_rng(4))
    row = test.tidy(0.9).iloc[0]
    width = row["conf_high"] - row["conf_low"]
    for end, outward in ((row["conf_low"], -1), (row["conf_high"], 1)):
        assert test.draws.p_value(end - outward * 1e-6 * width) > 0.1
        assert test.draws.p_value(end + outward * 1e-6 * width) <= 0.1


def test_no_end_where_nothing_is_rejected():
    # 4 clusters: 16 sign vectors, the smallest p is 2/16, so a 95 % interval is the whole line
    panel = Panel.from_frame(_rows(4, 30, 1.0, seed=2), unit="unit", period="period")
    row = wild_cluster_test(panel, SPEC, "x1", rng=np.random.default_rng(4)).tidy().iloc[0]
    assert (row["conf_low"], row["conf_high"]) == (-np.inf, np.inf)


def test_many_clusters_agree_with_cr1():
    panel = Panel.from_frame(_rows(300, 6, 1.0, seed=5), unit="unit", period="period")
    wild = wild_cluster_test(panel, SPEC, "x1", n_boot=9999, rng=np.random.default_rng(1)).tidy()
    cr1 = fit_panel(panel, SPEC).tidy().set_index("term").loc["x1"]
    # 9,999 draws leave the 2.5 % quantile of t uncertain by about 0.03 standard errors
    for end in ("conf_low", "conf_high"):
        assert abs(wild[end][0] - cr1[end]) < 0.12 * cr1["std_error"]


def test_same_generator_same_numbers():
    panel = Panel.from_frame(_rows(30, 8, 0.8, seed=2), unit="unit", period="period")
    one, two = (
        wild_cluster_test(panel, SPEC, "x1", n_boot=999, rng=np.random.default_rng(4)).tidy()
        for _ in range(2)
    )
    pd.testing.assert_frame_equal(one, two)


def test_what_cannot_be_tested_is_said():
    panel = Panel.from_frame(_rows(30, 8, 1.0, seed=2), unit="unit", period="period")
    rng = np.random.default_rng(0)
    with pytest.raises(SpecError, match=r"no coefficient 'x9' among x0, x1, x2\."):
        wild_cluster_test(panel, SPEC, "x9", rng=rng)
    with pytest.raises(SpecError, match="signs='web' is not one of rademacher, webb"):
        wild_cluster_test(panel, SPEC, "x1", signs="web", rng=rng)
    with pytest.raises(InferenceError, match="n_boot=9 draws cannot carry a test"):
        wild_cluster_test(panel, SPEC, "x1", n_boot=9, rng=rng)
    with pytest.raises(SpecError, match=r"n_boot=999\.5 is not a whole number of draws"):
        wild_cluster_test(panel, SPEC, "x1", n_boot=999.5, rng=rng)
    with pytest.raises(InferenceError, match="n_boot=1,000,001: at most 1,000,000 draws"):
        wild_cluster_test(panel, SPEC, "x1", n_boot=1_000_001, rng=rng)
    exact = _rows(30, 8, 1.0, seed=2).assign(y=lambda f: 2 * f["x0"] + f["x1"])
    with pytest.raises(InferenceError, match="The terms reproduce 'y' exactly"):
        wild_cluster_test(
            Panel.from_frame(exact, unit="unit", period="period"), SPEC, "x1", rng=rng
        )


def test_signs_are_one_stream_however_they_are_drawn():
    drawn, enumerated = wild_signs(17, 5000, "rademacher", np.random.default_rng(3))
    assert not enumerated
    assert_allclose(drawn, np.random.default_rng(3).integers(0, 2, size=(5000, 17)) * 2 - 1)
    assert abs(drawn.mean()) < 4 / np.sqrt(drawn.size)


def test_a_seed_is_no_source_of_draws():
    panel = Panel.from_frame(_rows(8, 6, 1.0, 1), unit="unit", period="period")
    with pytest.raises(SpecError, match="rng=3 is no source of draws"):
        wild_cluster_test(panel, SPEC, "x0", rng=3)
