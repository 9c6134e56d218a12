"""Leaving a cluster out equals refitting without it; effective clusters equal dummies' leverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from ex_cx.errors import InferenceError
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.robustness.influence import effective_clusters, influence, leave_one_out

from .panels import draw_panel

SPEC = PanelSpec(outcome="y", exposures=("x",), controls=("z",))
ESTIMATORS = ("pooled", "between", "within", "first_difference")


def weighted(panel: Panel) -> Panel:
    frame = panel.frame.assign(n=np.random.default_rng(2).integers(5, 40, len(panel)))
    return Panel.from_frame(frame, unit="unit", period="period", weights="n")


@pytest.fixture(scope="module", params=["balanced", "gaps", "weights"])
def panel(request) -> Panel:
    drawn = draw_panel(n_units=14, n_periods=6, keep=1.0 if request.param == "balanced" else 0.8)
    return weighted(drawn) if request.param == "weights" else drawn


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("cluster", [None, "region"])
def test_leave_one_out_equals_refits_without_each_cluster(panel, estimator, cluster):
    spec = replace(SPEC, estimator=estimator, cluster=cluster)
    found = leave_one_out(panel, spec)
    column = panel.frame[cluster or "unit"]
    full = fit_panel(panel, spec)
    assert set(found["term"]) == {"x", "z"}
    for label in column.unique():
        refit = fit_panel(panel.where((column != label).to_numpy()), spec)
        part = found[found["cluster"] == label]
        if part.empty:  # a unit that has no row one period after another
            assert refit.n_obs == full.n_obs
            continue
        assert part["term"].tolist() == ["x", "z"]
        assert_allclose(part["estimate"], refit.coef, rtol=1e-9)
        assert_allclose(part["change"], refit.coef - full.coef, rtol=1e-6, atol=1e-12)
    assert found["n_obs"].sum() == 2 * full.n_obs


def test_leave_one_out_by_hand():
    """Slope through the origin of each unit's deviations: 2, 2 and 5 with equal spread."""
    rows = pd.DataFrame(
        {
            "unit": list("AABBCC"),
            "period": [1, 2] * 3,
            "x": [0.0, 2, 1, 3, 5, 7],
            "y": [0.0, 4, 1, 5, 0, 10],
        }
    )
    panel = Panel.from_frame(rows, unit="unit", period="period")
    spec = PanelSpec(outcome="y", exposures=("x",), absorb=("unit",))
    found = leave_one_out(panel, spec)
    assert_allclose(found["estimate"], [3.5, 3.5, 2.0])
    assert_allclose(found["change"], [0.5, 0.5, -1.0])
    told = influence(panel, spec).iloc[0]
    assert (told["lowest"], told["highest"]) == (2.0, 3.5)
    assert (told["most_influential"], told["n_clusters"]) == ("C", 3)
    assert_allclose([told["estimate"], told["change"], told["n_effective"]], [3.0, -1.0, 3.0])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_influence_summarises_leave_one_out(panel, estimator):
    spec = replace(SPEC, estimator=estimator)
    left_out, told = leave_one_out(panel, spec), influence(panel, spec)
    tidy = fit_panel(panel, replace(spec, vcov="cluster")).tidy()
    assert_allclose(told[["estimate", "std_error"]], tidy[["estimate", "std_error"]])
    for row in told.itertuples():
        part = left_out[left_out["term"] == row.term].set_index("cluster")
        assert row.lowest == part["estimate"].min()
        assert row.highest == part["estimate"].max()
        assert row.most_influential == part["change"].abs().idxmax()
        assert_allclose(row.change, part["change"][row.most_influential])
        assert_allclose(row.change_in_se, abs(row.change) / row.std_error)
        assert row.sign_changes == (part["estimate"] * row.estimate < 0).sum()
        assert row.not_identified == 0


def test_a_cluster_on_which_the_estimate_rests_alone_is_told():
    frame = draw_panel(n_units=8, n_periods=4).frame
    only = frame.assign(w=np.where(frame["unit"] == "team 03", frame["x"], 1.0))
    panel = Panel.from_frame(only, unit="unit", period="period")
    spec = PanelSpec(outcome="y", exposures=("w",), absorb=("unit",))
    left_out = leave_one_out(panel, spec)
    assert left_out.loc[left_out["estimate"].isna(), "cluster"].tolist() == ["team 03"]
    with pytest.raises(InferenceError, match="with 8 clusters the scores cancel"):
        influence(panel, spec)  # the scores of the one cluster sum to zero: no clustered error
    assert_allclose(effective_clusters(panel, spec)["n_effective"], 1.0)


@pytest.mark.parametrize("estimator", ["pooled", "within"])
@pytest.mark.parametrize("cluster", [None, "region"])
def test_effective_clusters_equal_the_leverage_of_dummy_regressions(panel, estimator, cluster):
    spec = replace(SPEC, estimator=estimator, cluster=cluster)
    frame = panel.frame
    used = (
        frame[frame.groupby("unit")["x"].transform("size") > 1] if estimator == "within" else frame
    )
    effects = [np.ones((len(used), 1))]
    if estimator == "within":
        effects = [pd.get_dummies(used[key], dtype=float).to_numpy() for key in ("unit", "period")]
    x = np.column_stack([used[["x", "z"]].to_numpy(), *effects])
    mass = np.ones(len(used)) if panel.weights is None else used["n"].to_numpy(dtype=float)
    bread = np.linalg.pinv(x.T @ (x * mass[:, None]))
    groups = used[cluster or "unit"].to_numpy()
    found = effective_clusters(panel, spec)
    for j in range(2):
        h = np.array(
            [
                bread[j]
                @ (x[groups == g].T @ (x[groups == g] * mass[groups == g, None]))
                @ bread[j]
                for g in np.unique(groups)
            ]
        )
        g_star = len(h) / (1 + np.mean((h / h.mean() - 1) ** 2))
        assert_allclose(found["n_effective"].iloc[j], g_star, rtol=1e-8)
    assert set(found["n_clusters"]) == {len(np.unique(groups))}


def test_effective_clusters_do_not_depend_on_units_of_measurement_or_order(panel):
    frame = panel.frame.assign(x=1000 * panel.frame["x"] + 5)
    shuffled = frame.sample(frac=1, random_state=np.random.default_rng(3))
    other = Panel.from_frame(shuffled, unit="unit", period="period", weights=panel.weights)
    assert_frame_equal(effective_clusters(panel, SPEC), effective_clusters(other, SPEC), rtol=1e-8)


def test_one_cluster_cannot_be_left_out():
    panel = draw_panel(n_units=4, n_periods=4)
    frame = panel.frame.assign(company="one")
    panel = Panel.from_frame(frame, unit="unit", period="period", cluster="company")
    message = "^Leaving clusters out needs at least 2 clusters; there is 1.$"
    with pytest.raises(InferenceError, match=message):
        leave_one_out(panel, SPEC)


def test_nearly_dependent_regressors_are_not_refitted():
    frame = draw_panel(n_units=14, n_periods=6).frame
    noise = np.random.default_rng(4).normal(size=len(frame))
    panel = Panel.from_frame(
        frame.assign(x2=frame["x"] + 3e-5 * noise), unit="unit", period="period"
    )
    with pytest.raises(InferenceError, match=r"refitting without or with repeated clusters"):
        leave_one_out(panel, PanelSpec(outcome="y", exposures=("x", "x2")))
