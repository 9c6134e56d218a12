"""CR2 and its degrees of freedom, against matrices of the full fit with every dummy.

R's clubSandwich is the oracle of `tests/models/test_conventions.py`; here the definition itself,
with matrices as large as the panel, on shapes that R's fits do not have.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.errors import InferenceError, SpecError
from ex_cx.estimation import reduced_bias
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelSpec, fit_panel

SPEC = PanelSpec(outcome="y", exposures=("x", "z"), vcov="bias_reduced")


def rows_of(share: float, n_units: int = 18, n_periods: int = 6, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    unit, period = np.divmod(np.arange(n), n_periods)
    rows = pd.DataFrame({"unit": unit, "period": period, "site": np.sqrt(unit).astype(int)})
    rows["x"] = rng.normal(size=n) * (1 + unit % 5) + period
    rows["z"] = rng.exponential(size=n) + rows["x"] / 3
    rows["y"] = rows["x"] - rows["z"] + unit + rng.normal(size=n)
    return rows[rng.uniform(size=n) < share].reset_index(drop=True)


def panel_of(rows, cluster=None) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period", cluster=cluster)


def by_definition(rows, effects, cluster) -> tuple[np.ndarray, np.ndarray]:
    """CR2 and degrees of freedom of x and z, from n x n matrices and pseudo-inverses."""
    dummies = [pd.get_dummies(rows[e], drop_first=True, dtype=float) for e in effects]
    constant = np.ones((len(rows), 1))
    design = np.hstack([rows[["x", "z"]], constant, *dummies])
    inverse = np.linalg.pinv(design)[:2]  # rows of (D'D)^-1 D' for x and z
    maker = np.eye(len(rows)) - design @ np.linalg.pinv(design)
    residual = maker @ rows["y"].to_numpy()
    codes = rows[cluster].to_numpy()
    scores, vectors = [], []
    for g in np.unique(codes):
        own = codes == g
        values, basis = np.linalg.eigh(maker[np.ix_(own, own)])
        power = np.array([1 / np.sqrt(v) if v > 1e-9 else 0.0 for v in values])
        pulled = inverse[:, own] @ (basis * power) @ basis.T
        scores.append(pulled @ residual[own])
        vectors.append(pulled @ maker[own])
    scores, vectors = np.array(scores), np.array(vectors)
    gram = np.einsum("gpn,hpn->pgh", vectors, vectors)
    df = np.trace(gram, axis1=1, axis2=2) ** 2 / (gram**2).sum(axis=(1, 2))
    return scores.T @ scores, df


@pytest.mark.parametrize("cluster", ["unit", "site"])
@pytest.mark.parametrize("share", [1.0, 0.7])
@pytest.mark.parametrize("effects", [(), ("unit",), ("period",), ("unit", "period")])
def test_equals_its_definition_on_all_dummies(effects, share, cluster):
    rows = rows_of(share)
    estimator = "within" if effects else "pooled"
    spec = replace(SPEC, absorb=effects, estimator=estimator)
    result = fit_panel(panel_of(rows, cluster), spec)
    used = rows[rows.groupby("unit")["y"].transform("size") > 1] if "unit" in effects else rows
    assert result.n_obs == len(used)
    vcov, df = by_definition(used, effects, cluster)
    assert_allclose(result.vcov, vcov, rtol=1e-8)
    assert_allclose(result.df_by_term, df, rtol=1e-8)
    assert result.df_t == result.df_by_term.min()


def test_series_and_eigenvalues_agree(monkeypatch):
    panel = panel_of(rows_of(0.9, n_units=80))
    series = fit_panel(panel, SPEC)
    monkeypatch.setattr(reduced_bias, "_SMALL", -1.0)
    assert_allclose(fit_panel(panel, SPEC).vcov, series.vcov, rtol=1e-12)
    monkeypatch.setattr(reduced_bias, "_CHUNK_BYTES", 32 * 8**2 * 7)  # seven clusters at a time
    chunked = fit_panel(panel, SPEC)
    assert_allclose(chunked.vcov, series.vcov, rtol=1e-12)
    assert_allclose(chunked.df_by_term, series.df_by_term, rtol=1e-12)


def test_does_not_depend_on_units_of_measurement():
    rows = rows_of(0.8)
    plain = fit_panel(panel_of(rows), SPEC)
    scaled = fit_panel(panel_of(rows.assign(x=rows["x"] * 1e8, z=rows["z"] * 1e-7)), SPEC)
    factor = np.array([1e8, 1e-7])
    assert_allclose(scaled.vcov * np.outer(factor, factor), plain.vcov, rtol=1e-8)
    assert_allclose(scaled.df_by_term, plain.df_by_term, rtol=1e-8)


def test_unbiased_under_independence():
    """The mean of CR2 over draws of an independent outcome is the variance of the estimate."""
    rows, rng = rows_of(0.8, n_units=8), np.random.default_rng(5)
    kinds = {"bias_reduced": [], "cluster": []}
    for _ in range(400):
        panel = panel_of(rows.assign(y=rng.normal(size=len(rows))))
        for kind, found in kinds.items():
            result = fit_panel(panel, replace(SPEC, vcov=kind))
            found.append([result.vcov[0, 0], result.coef[0]])
    variance = np.linalg.inv(_net_of_effects(rows).T @ _net_of_effects(rows))[0, 0]
    means = {kind: np.array(found)[:, 0] for kind, found in kinds.items()}
    error = means["bias_reduced"].std() / np.sqrt(400)
    assert abs(means["bias_reduced"].mean() - variance) < 4 * error
    assert means["cluster"].mean() < variance - 4 * error


def _net_of_effects(rows) -> np.ndarray:
    """x and z less their projection on all dummies."""
    dummies = [pd.get_dummies(rows[e], drop_first=True, dtype=float) for e in ("unit", "period")]
    design = np.hstack([np.ones((len(rows), 1)), *dummies])
    x = rows[["x", "z"]].to_numpy()
    return x - design @ np.linalg.lstsq(design, x, rcond=None)[0]


def test_intervals_use_the_degrees_of_freedom_of_their_term():
    from scipy import stats

    result = fit_panel(panel_of(rows_of(0.8)), SPEC)
    tidy = result.tidy(0.9)
    half = stats.t(result.df_by_term).ppf(0.95) * tidy["std_error"]
    assert_allclose(tidy["conf_high"], tidy["estimate"] + half, rtol=1e-12)
    assert len(set(result.df_by_term)) == 2
    assert "Satterthwaite" in result.glance()["convention"][0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "z"}, r"does not go with weights \('z'\)"),
        ({"estimator": "random"}, "does not go with estimator='random'"),
        ({"match": "linearmodels"}, "linearmodels has no vcov='bias_reduced'"),
        ({"match": "stata"}, "has no vcov='bias_reduced'"),
    ],
)
def test_refused_where_it_is_not_derived(changes, message):
    with pytest.raises(SpecError, match=message):
        fit_panel(panel_of(rows_of(0.8)), replace(SPEC, **changes))


def test_too_few_degrees_of_freedom_are_told():
    few = fit_panel(panel_of(rows_of(0.8), "site"), SPEC)
    assert few.df_t < 4
    assert any("degrees of freedom by Satterthwaite" in warning for warning in few.warnings)
    many = fit_panel(panel_of(rows_of(0.8, n_units=60)), SPEC)
    assert not any("Satterthwaite" in warning for warning in many.warnings)


def test_one_cluster_is_refused():
    rows = rows_of(1.0).assign(site=0)
    with pytest.raises(InferenceError, match="at least 2 clusters"):
        fit_panel(panel_of(rows, "site"), SPEC)
