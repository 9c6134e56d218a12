"""Sensitivity to an unmeasured confounder: maximum likelihood, planted confounders, refits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.errors import InferenceError, RankError, SpecError
from ex_cx.estimation.inference import bootstrap_counts
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationSpec, fit_mediation
from ex_cx.results import TIDY
from ex_cx.robustness.confounding import mediation_sensitivity

ORACLE = json.loads(
    (Path(__file__).parents[1] / "oracles" / "sensitivity_rho.json").read_text(encoding="utf-8")
)
SPEC = MediationSpec(outcome="y", exposure="x", mediators=("m",), controls=("z",))
TWO = replace(SPEC, mediators=("m", "k"))


def rows_of(n_units=30, n_periods=6, seed=1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    unit, period = np.divmod(np.arange(n), n_periods)
    effect = 2 * rng.normal(size=n_units)[unit] + rng.normal(size=n_periods)[period]
    frame = pd.DataFrame({"unit": unit, "period": period, "z": effect + rng.normal(size=n)})
    frame["x"] = effect / 2 + rng.normal(size=n)
    frame["m"] = 0.7 * frame["x"] + effect + rng.normal(size=n)
    frame["k"] = -0.4 * frame["x"] + rng.normal(size=n)
    frame["y"] = 0.3 * frame["x"] + 0.6 * frame["m"] + 0.2 * frame["k"] + rng.normal(size=n)
    return frame


def panel_of(rows) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period")


def sensitivity(rows, spec=SPEC, *, rho=None, n_boot=99, seed=0):
    rng = np.random.default_rng(seed)
    return mediation_sensitivity(panel_of(rows), spec, rho=rho, n_boot=n_boot, rng=rng)


def _oracle_rows() -> pd.DataFrame:
    rows = pd.DataFrame(ORACLE["data"])
    return rows.assign(unit=np.arange(len(rows)) // 3, period=np.arange(len(rows)) % 3)


def test_curve_is_maximum_likelihood_given_the_correlation():
    result = sensitivity(_oracle_rows(), replace(SPEC, absorb=()), rho=ORACLE["rho"])
    assert_allclose(result.curve()["estimate"], ORACLE["indirect"], rtol=1e-6)  # optim's optimum
    row = result.tidy().iloc[0]
    assert_allclose(row["rho_zero"], ORACLE["rho_zero"], rtol=1e-10)
    assert_allclose(row["r2_total"], ORACLE["r2_total"], rtol=1e-10)


@pytest.mark.parametrize("planted", [-0.7, 0.2, 0.55])
@pytest.mark.parametrize("others", [(), ("k",)])
def test_at_the_planted_correlation_the_estimate_is_the_truth(planted, others):
    """Errors made to have exactly this correlation, and none with anything else."""
    rows = rows_of(seed=3)
    held = np.column_stack(
        [
            rows[["x", "z", *others]],
            pd.get_dummies(rows["unit"]).to_numpy(float),
            pd.get_dummies(rows["period"]).to_numpy(float)[:, 1:],
        ]
    )
    noise = np.random.default_rng(4).normal(size=(len(rows), 2))
    noise -= held @ np.linalg.lstsq(held, noise, rcond=None)[0]
    u, v = np.linalg.qr(noise)[0].T
    e = planted * u + np.sqrt(1 - planted**2) * v
    rows["m"] = 0.5 * rows["x"] - 0.2 * rows["z"] + rows["period"] + 2 * u
    rows["y"] = 0.3 * rows["x"] + 0.8 * rows["m"] + rows["z"] + rows["unit"] + 3 * e
    spec = replace(SPEC, mediators=("m", *others))
    found = sensitivity(rows, spec, rho=[planted]).curve()
    assert_allclose(found["estimate"].iloc[0], 0.5 * 0.8, rtol=1e-10)


def test_without_correlation_it_is_the_mediation_itself():
    rows = rows_of()
    rng = np.random.default_rng(0)
    usual = fit_mediation(panel_of(rows), TWO, n_boot=299, rng=rng).tidy().set_index("term")
    found = sensitivity(rows, TWO, n_boot=299).tidy().set_index("term")
    columns = ["estimate", "std_error", "p_value", "conf_low", "conf_high"]
    expected = usual.loc[["indirect:m", "indirect:k"], columns].astype(float)
    assert_allclose(found[columns].astype(float), expected, rtol=1e-9)


@pytest.mark.parametrize(
    "more",
    [
        {"absorb": ()},
        {"absorb": ("unit",), "weights": "w"},
        {"cluster": "site"},
        {"lag_mediator": 1, "lag_outcome": 1},
        {"mediators": ("m",), "structure": "serial"},
    ],
)
def test_rows_are_those_of_the_mediation(more):
    rows = rows_of().assign(
        site=lambda d: d["unit"] // 2, w=np.random.default_rng(2).uniform(0.5, 2, 180)
    )
    rows = rows.drop(index=[3, 50, 51])
    rows.loc[rows.index[20], "m"] = np.nan
    spec = replace(SPEC, **more)
    rng = np.random.default_rng(0)
    usual = fit_mediation(panel_of(rows), spec, n_boot=199, rng=rng)
    found = sensitivity(rows, spec, n_boot=199)
    row = usual.tidy().set_index("term").loc["indirect:m"]
    columns = ["estimate", "conf_low", "conf_high"]
    ours = found.tidy()[columns].iloc[0].astype(float)
    assert_allclose(ours, row[columns].astype(float), rtol=1e-8)
    assert (found.n_obs, found.lost) == (usual.n_obs, usual.lost)


def test_draws_equal_refits_of_the_drawn_rows():
    rows = rows_of(n_units=8)
    result = sensitivity(rows, TWO, n_boot=99)
    counts = bootstrap_counts(8, 99, np.random.default_rng(0))
    for draw in (0, 41, 98):
        units = np.repeat(np.arange(8), counts[draw].astype(int))
        drawn = pd.concat(
            [rows[rows["unit"] == unit].assign(unit=at) for at, unit in enumerate(units)]
        )
        dummies = np.column_stack(
            [
                pd.get_dummies(drawn["unit"]).to_numpy(float),
                pd.get_dummies(drawn["period"]).to_numpy(float)[:, 1:],
            ]
        )

        def left(columns, held, drawn=drawn, dummies=dummies):
            known = np.column_stack([drawn[held], dummies])
            values = drawn[columns].to_numpy()
            return values - known @ np.linalg.lstsq(known, values, rcond=None)[0]

        x, m = left(["x", "m"], ["z"]).T
        m_left, y_left = left(["m", "y"], ["x", "z", "k"]).T
        a, r = m @ x / (x @ x), np.corrcoef(m_left, y_left)[0, 1]
        s = np.sqrt((y_left @ y_left) / (m_left @ m_left))
        assert_allclose(result.draws[draw, 0], [a, r, s], rtol=1e-9)


def test_crossings_are_where_estimate_and_interval_are_zero():
    rows = rows_of()
    result = sensitivity(rows, n_boot=999)
    row = result.tidy().iloc[0]
    assert 0 < row["rho_interval"] < row["rho_zero"] < 1
    again = sensitivity(rows, rho=[row["rho_interval"], row["rho_zero"]], n_boot=999).curve()
    assert_allclose(again["conf_low"].iloc[0], 0, atol=1e-9)
    assert_allclose(again["estimate"].iloc[1], 0, atol=1e-12)
    assert_allclose(row["r2_residual"], row["rho_zero"] ** 2)


@pytest.mark.parametrize(("sign_x", "sign_y"), [(-1, 1), (1, -1)])
def test_mirrored_variables_mirror_the_curve(sign_x, sign_y):
    """Turning the exposure leaves the crossings; turning the outcome turns them."""
    rows = rows_of()
    turned = rows.assign(x=sign_x * rows["x"], y=sign_y * rows["y"])
    one, other = (sensitivity(frame, n_boot=199).tidy().iloc[0] for frame in (rows, turned))
    assert_allclose(other["estimate"], sign_x * sign_y * one["estimate"], rtol=1e-10)
    assert_allclose(
        [other["rho_zero"], other["rho_interval"]],
        [sign_y * one["rho_zero"], sign_y * one["rho_interval"]],
        rtol=1e-7,
    )


def test_an_interval_that_holds_zero_needs_no_confounder():
    rows = rows_of()
    rows["y"] = np.random.default_rng(9).normal(size=len(rows))
    assert sensitivity(rows).tidy()["rho_interval"].iloc[0] == 0


def test_an_outcome_that_is_the_sum_of_its_causes_leaves_nothing_to_confound():
    rows = rows_of()
    rows["y"] = rows["x"] + rows["m"] + rows["z"]
    row = sensitivity(rows).tidy().iloc[0]
    assert_allclose(row["rho_zero"], 1, rtol=1e-7)


def test_scale_does_not_matter_to_the_crossings():
    rows = rows_of()
    scaled = rows.assign(m=1000 * rows["m"], y=rows["y"] / 50, x=7 * rows["x"])
    one, other = (sensitivity(frame).tidy().iloc[0] for frame in (rows, scaled))
    assert_allclose(other["rho_zero"], one["rho_zero"], rtol=1e-9)
    assert_allclose(other["rho_interval"], one["rho_interval"], rtol=1e-7)
    assert_allclose(other["estimate"], one["estimate"] / 350, rtol=1e-9)


def test_tidy_curve_and_glance():
    result = sensitivity(rows_of(), TWO, rho=np.array([-0.5, 0.0, 0.5]))
    assert tuple(result.tidy().columns[:8]) == TIDY
    curve = result.curve(0.9)
    assert curve["term"].tolist() == ["indirect:m"] * 3 + ["indirect:k"] * 3
    assert (curve["conf_low"] < curve["conf_high"]).all()
    assert set(curve["conf_level"]) == {0.9}
    assert result.glance()["n_obs"].iloc[0] == 180
    assert "sensitivity" in repr(result)


@pytest.mark.parametrize(
    ("spec", "rho", "n_boot", "error", "words"),
    [
        (SPEC, [1.0], 99, SpecError, "each between -1 and 1"),
        (SPEC, [np.nan], 99, SpecError, "each between -1 and 1"),
        (SPEC, [], 99, SpecError, "each between -1 and 1"),
        (SPEC, "a", 99, SpecError, "each between -1 and 1"),
        (SPEC, None, 98, InferenceError, "use at least 99"),
        (replace(TWO, structure="serial"), None, 99, SpecError, "chain of mediators"),
        (replace(SPEC, exposure=("x", "z"), controls=()), None, 99, SpecError, "one exposure"),
        (replace(SPEC, controls=("copy",)), None, 99, RankError, "copy"),
    ],
)
def test_refusals(spec, rho, n_boot, error, words):
    rows = rows_of()
    with pytest.raises(error, match=words):
        sensitivity(rows.assign(copy=2 * rows["x"]), spec, rho=rho, n_boot=n_boot)


def test_one_cluster_is_refused():
    rows = rows_of(n_units=2).assign(site=1)
    with pytest.raises(InferenceError, match="at least 2 clusters"):
        sensitivity(rows, replace(SPEC, cluster="site"))


def test_an_exposure_that_moves_in_one_cluster_only_is_refused():
    rows = rows_of(n_units=10)
    rows.loc[rows["unit"] > 0, "x"] = 0.0
    with pytest.raises(InferenceError, match="too few clusters carry the variation"):
        sensitivity(rows)
