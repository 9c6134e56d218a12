"""Promoters and detractors: stacked equations by statsmodels, and that they add up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose

from ex_cx.errors import SpecError
from ex_cx.linkage.panel import Panel
from ex_cx.models.precision import precision_weights
from ex_cx.models.promoters import split_nps
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.results import TIDY

SPEC = PanelSpec(outcome="nps", exposures=("x",), controls=("z",))


def _rows(seed: int = 1, n_units: int = 24, n_periods: int = 6) -> pd.DataFrame:
    """x makes 4 points more detractors and 2 fewer promoters; z moves nobody."""
    rng = np.random.default_rng(seed)
    unit, period = np.divmod(np.arange(n_units * n_periods), n_periods)
    rows = pd.DataFrame({"unit": unit, "period": period})
    rows["x"], rows["z"] = rng.normal(size=(2, len(rows)))
    rows["nps_n"] = rng.integers(8, 60, len(rows))
    team = 0.05 * rng.normal(size=n_units)[unit]
    promoter, detractor = 0.45 - 0.02 * rows["x"] + team, 0.25 + 0.04 * rows["x"] - team
    shares = np.column_stack([promoter, detractor, 1 - promoter - detractor])
    drawn = rng.multinomial(rows["nps_n"], shares)
    p, d = drawn[:, 0] / rows["nps_n"], drawn[:, 1] / rows["nps_n"]
    rows["nps_promoter_share"], rows["nps_detractor_share"] = p, d
    rows["nps"], rows["nps_se"] = (
        100 * (p - d),
        100 * np.sqrt((p + d - (p - d) ** 2) / rows["nps_n"]),
    )
    withheld = rows["nps_n"] < 10
    rows.loc[withheld, ["nps_se", "nps_promoter_share", "nps_detractor_share"]] = np.nan
    return rows


def _panel(rows: pd.DataFrame, **roles: str) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period", **roles)


@pytest.mark.parametrize("weights", [None, "nps_n"])
@pytest.mark.parametrize("vcov", ["cluster", "jackknife", "robust", "driscoll_kraay"])
@pytest.mark.parametrize("estimator", ["within", "pooled", "first_difference"])
def test_promoters_less_detractors_is_the_score(estimator, vcov, weights):
    rows = _rows()
    panel = _panel(rows)
    spec = replace(SPEC, estimator=estimator, vcov=vcov, weights=weights)
    found = split_nps(panel, spec)
    tidy = found.tidy().set_index("term")["estimate"]
    whole = fit_panel(_panel(rows.assign(nps=rows["nps"].where(rows["nps_n"] >= 10))), spec)
    for at, term in enumerate(("x", "z")):
        apart = tidy[f"promoters:{term}"] - tidy[f"detractors:{term}"]
        assert_allclose(apart, tidy[f"nps:{term}"], atol=1e-10)
        assert_allclose(tidy[f"nps:{term}"], whole.coef[at], atol=1e-10)
    assert_allclose(found.nps.vcov, whole.vcov, rtol=1e-9)
    # Var(p + d) - Var(p - d) = 4 Cov(p, d)
    apart = (np.diag(found.both.vcov) - np.diag(found.nps.vcov)) / 4
    assert_allclose(found.covariances(), apart, rtol=1e-6, atol=1e-12)


def test_covariance_is_that_of_the_stacked_scores():
    rows = _rows()
    rows = rows[rows["nps_n"] >= 10]
    found = split_nps(_panel(rows), SPEC)
    dummies = pd.get_dummies(rows[["unit", "period"]].astype(str), drop_first=True, dtype=float)
    x = np.column_stack([rows["x"], rows["z"], np.ones(len(rows)), dummies])
    stacked = np.block([[x, np.zeros_like(x)], [np.zeros_like(x), x]])
    y = 100 * np.concatenate([rows["nps_promoter_share"], rows["nps_detractor_share"]])
    groups = np.tile(rows["unit"], 2)
    theirs = sm.OLS(y, stacked).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    # ours on top: G/(G-1) * (n-1)/(n - k - periods), unit effects nested in the clusters
    n, k = len(rows), x.shape[1]
    factor = 24 / 23 * (n - 1) / (n - 2 - 6)
    oracle = factor * theirs.cov_params()
    assert_allclose(found.promoters.coef, theirs.params[:2], rtol=1e-8)
    assert_allclose(found.detractors.coef, theirs.params[k : k + 2], rtol=1e-8)
    assert_allclose(found.covariances(), np.diag(oracle[:2, k : k + 2]), rtol=1e-8)
    sides = found.contributions().set_index("term")
    both = oracle[0, 0] + oracle[k, k] + 2 * oracle[0, k]
    assert_allclose(sides.loc["difference:x", "std_error"], np.sqrt(both), rtol=1e-8)


def test_contributions_add_up_and_their_intervals_are_in_order():
    found = split_nps(_panel(_rows()), SPEC)
    sides, tidy = found.contributions().set_index("term"), found.tidy().set_index("term")
    assert tuple(found.tidy().columns) == tuple(found.contributions().columns) == TIDY
    assert found.tidy()["term"].tolist() == [
        *("promoters:x", "detractors:x", "nps:x", "promoters:z", "detractors:z", "nps:z"),
    ]
    estimate = sides["estimate"]
    total = estimate["by_promoters:x"] + estimate["by_detractors:x"]
    apart = estimate["by_promoters:x"] - estimate["by_detractors:x"]
    assert_allclose(total, tidy.loc["nps:x", "estimate"], atol=1e-10)
    assert_allclose(apart, estimate["difference:x"], atol=1e-10)
    assert (sides["conf_low"] < sides["estimate"]).all()
    assert (sides["conf_high"] > sides["estimate"]).all()


def test_recovers_who_moves():
    # truth: promoters -2, detractors +4 points, so that detractors carry 2 points more of the fall;
    # 120 panels, three Monte Carlo errors
    found, hits = [], []
    for seed in range(120):
        result = split_nps(_panel(_rows(seed)), SPEC)
        found.append([*result.promoters.coef[:1], *result.detractors.coef[:1]])
        difference = result.contributions().set_index("term").loc["difference:x"]
        hits.append(difference["conf_low"] <= 2 <= difference["conf_high"])
    noise = 3 * np.std(found, axis=0) / np.sqrt(120)
    assert (np.abs(np.mean(found, axis=0) - [-2, 4]) < noise).all()
    assert abs(np.mean(hits) - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 120)


def test_rows_with_withheld_shares_are_counted():
    rows = _rows()
    withheld = int((rows["nps_n"] < 10).sum())
    found = split_nps(_panel(rows), SPEC)
    assert withheld > 0
    assert found.nps.lost == {"missing nps or its shares (few answers)": withheld}
    assert found.glance()["outcome"].item() == "nps"
    assert found.glance()["n_obs"].item() == len(rows) - withheld


def test_order_and_labels_do_not_matter_and_weights_carry_over():
    rows = _rows()
    found = split_nps(_panel(rows), SPEC)
    moved = rows.sample(frac=1, random_state=2).assign(unit=lambda r: 100 - r["unit"])
    again = split_nps(_panel(moved), SPEC)
    assert_allclose(again.tidy()["estimate"], found.tidy()["estimate"], rtol=1e-9)
    weighted = precision_weights(_panel(rows), SPEC, errors="own").panel
    assert_allclose(split_nps(weighted, SPEC).nps.coef, fit_panel(weighted, SPEC).coef, rtol=1e-9)


def test_what_is_refused_says_why():
    rows = _rows()
    cases = [
        (rows, replace(SPEC, estimator="random"), "estimator='random' weighs the rows"),
        (rows, replace(SPEC, outcome="csat"), "no column 'csat'"),
        (rows.drop(columns="nps_promoter_share"), SPEC, "no column 'nps_promoter_share'"),
        (rows.assign(nps_promoter_share=45.0), SPEC, "rows have shares of prom.* divide per cent"),
        (rows.assign(nps=rows["nps"] + 1), SPEC, "'nps' is not 100 times promoters less detr"),
    ]
    for given, spec, words in cases:
        with pytest.raises(SpecError, match=words):
            split_nps(_panel(given), spec)
