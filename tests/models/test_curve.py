"""Curves against Hmisc's basis, statsmodels with dummies, patsy, exact quantiles, known truths."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from numpy.testing import assert_allclose

from ex_cx.errors import RankError, SpecError
from ex_cx.estimation.contrasts import band_quantile, combine, joint_test
from ex_cx.linkage.panel import Panel
from ex_cx.models.curve import CurveResult, fit_curve, spline_basis
from ex_cx.models.regress import PanelSpec

ORACLE = json.loads((Path(__file__).parents[1] / "oracles" / "spline_hmisc.json").read_text())
SPEC = PanelSpec(outcome="y", exposures=("x",), controls=("z",))
KNOTS = np.array([1.0, 4.0, 6.5, 9.0])
BENT = np.array([0.4, -2.0, 3.0])


def rows_of(seed: int = 1, *, units: int = 40, periods: int = 8) -> pd.DataFrame:
    """Unbalanced rows; the truth is a spline through `KNOTS`, net of effects of units, periods."""
    rng = np.random.default_rng(seed)
    n = units * periods
    rows = pd.DataFrame({"unit": np.arange(n) // periods, "period": np.arange(n) % periods})
    level = rng.normal(size=units)[rows["unit"]]
    rows["x"] = np.clip(5 + level + 2.2 * rng.normal(size=n), 0, 10.5)
    rows["z"] = rng.normal(size=n) + 0.3 * rows["x"]
    shock = rng.normal(size=n) * (0.5 + 0.1 * rows["x"])
    rows["y"] = spline_basis(rows["x"].to_numpy(), KNOTS) @ BENT + 0.5 * rows["z"] + level + shock
    rows["y"] += 0.2 * rows["period"]
    return rows[rng.uniform(size=n) > 0.1].reset_index(drop=True)


def panel_of(rows: pd.DataFrame) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period")


# ---------------------------------------------------------------- the basis and its knots


@pytest.mark.parametrize("which", ["three", "four", "seven"])
def test_basis_is_that_of_hmisc(which):
    ours = spline_basis(np.array(ORACLE["x"]), np.array(ORACLE["places"][which]))
    assert_allclose(ours, np.array(ORACLE["basis"][which]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("k", range(3, 8))
def test_knots_are_those_of_hmisc_where_no_values_are_tied(k):
    z = np.array(ORACLE["z"])
    rows = pd.DataFrame({"unit": np.arange(250) // 10, "period": np.arange(250) % 10, "x": z})
    rows["y"] = np.sin(np.arange(250.0))
    spec = PanelSpec(outcome="y", exposures=("x",), estimator="pooled")
    found = fit_curve(panel_of(rows), spec, "x", knots=k)
    assert_allclose(found.knots, ORACLE["chosen"][k - 3], rtol=1e-12)


def test_far_values_lose_no_digits_on_the_straight_end():
    knots = np.array([0.0, 1.0, 2.0])
    slope = np.diff(spline_basis(np.array([1e9, 1e9 + 1]), knots)[:, 1])
    assert_allclose(slope, 1.5, rtol=1e-6)  # 3 [(2-0)^2 - 2 (2-1)^2] / 2^2


# ---------------------------------------------------------------- the fit


def by_dummies(rows: pd.DataFrame, basis: str, at: np.ndarray, reference: float):
    """Differences and CR1 errors from statsmodels with a dummy for each unit and period."""
    import patsy

    design = patsy.dmatrix(basis, rows)
    columns = np.asarray(design)[:, 2:]  # its columns add up to the constant, so one goes too
    data = rows.assign(**{f"s{j}": columns[:, j] for j in range(columns.shape[1])})
    names = [f"s{j}" for j in range(columns.shape[1])]
    formula = f"y ~ {' + '.join(names)} + z + C(unit) + C(period)"
    fit = smf.ols(formula, data).fit(
        cov_type="cluster", cov_kwds={"groups": data["unit"], "use_correction": False}
    )
    points = pd.DataFrame({"x": np.append(at, reference)})
    new = np.asarray(patsy.build_design_matrices([design.design_info], points)[0])[:, 2:]
    contrast = new[:-1] - new[-1]
    units, periods, n = rows["unit"].nunique(), rows["period"].nunique(), len(rows)
    k = len(names) + 1
    # units are nested in clusters and cost 1, periods their number less one
    factor = units / (units - 1) * (n - 1) / (n - k - 1 - (periods - 1))
    vcov = factor * fit.cov_params().loc[names, names].to_numpy()
    return contrast @ fit.params[names], np.sqrt(np.diag(contrast @ vcov @ contrast.T))


def test_curve_and_errors_are_those_of_patsys_spline_with_dummies():
    """Natural cubic splines through the same knots span one space, whatever their basis."""
    rows = rows_of()
    at = np.linspace(1.0, 9.0, 17)
    inner = ", ".join(map(str, KNOTS[1:-1]))
    # its outer knots are its bounds; rows beyond them are left out on both sides
    basis = f"cr(x, knots=[{inner}], lower_bound={KNOTS[0]}, upper_bound={KNOTS[-1]})"
    inside = rows[rows["x"].between(KNOTS[0], KNOTS[-1])]
    ours = fit_curve(panel_of(inside), SPEC, "x", knots=KNOTS, reference=5.0).curve(at)
    difference, std_error = by_dummies(inside, basis, at, 5.0)
    assert_allclose(ours["difference"], difference, rtol=1e-8, atol=1e-9)
    assert_allclose(ours["std_error"], std_error, rtol=1e-8, atol=1e-9)


def test_tests_are_wald_tests_on_a_basis_of_truncated_cubes():
    rows = rows_of()
    found = fit_curve(panel_of(rows), SPEC, "x", knots=KNOTS)
    x = rows["x"].to_numpy()
    cubes = np.maximum(x[:, None] - KNOTS, 0) ** 3
    gap = KNOTS[-1] - KNOTS[-2]
    data = rows.assign(
        **{
            f"s{j}": cubes[:, j]
            - cubes[:, -2] * (KNOTS[-1] - KNOTS[j]) / gap
            + cubes[:, -1] * (KNOTS[-2] - KNOTS[j]) / gap
            for j in range(2)
        }
    )
    fit = smf.ols("y ~ x + s0 + s1 + z + C(unit) + C(period)", data).fit(
        cov_type="cluster", cov_kwds={"groups": data["unit"], "use_correction": False}
    )
    n, units, periods = len(rows), rows["unit"].nunique(), rows["period"].nunique()
    factor = units / (units - 1) * (n - 1) / (n - 4 - 1 - (periods - 1))
    for names, test in ((["s0", "s1"], found.linearity), (["x", "s0", "s1"], found.association)):
        b, v = fit.params[names], factor * fit.cov_params().loc[names, names]
        assert_allclose(test.statistic, b @ np.linalg.inv(v) @ b / len(names), rtol=1e-6)
        assert (test.df_num, test.df_den) == (len(names), units - 1)
    shown = found.tests().set_index("test")
    assert shown.loc["straight line", "p_value"] == found.linearity.p_value
    assert shown.loc["no association", "df_num"] == 3


def test_order_of_rows_units_of_measurement_and_reference_do_not_matter():
    rows = rows_of()
    at = np.array([2.0, 4.0, 8.0])
    curve = fit_curve(panel_of(rows), SPEC, "x", knots=5, reference=5.0).curve(at)
    mixed = fit_curve(panel_of(rows.sample(frac=1, random_state=0)), SPEC, "x", knots=5)
    moved = mixed.curve(np.append(at, 5.0))["difference"].to_numpy()
    assert_allclose(moved[:-1] - moved[-1], curve["difference"], rtol=1e-8)
    scaled = rows.assign(x=1e6 + 1000 * rows["x"])
    other = fit_curve(panel_of(scaled), SPEC, "x", knots=5, reference=1e6 + 5000)
    pd.testing.assert_frame_equal(
        other.curve(1e6 + 1000 * at).drop(columns=["exposure"]),
        curve.drop(columns=["exposure"]),
        rtol=1e-6,
    )


def test_a_lagged_exposure_is_lagged_by_the_calendar():
    rows = rows_of()
    panel = panel_of(rows)
    found = fit_curve(panel, replace(SPEC, lag=1), "x", knots=KNOTS)
    by_hand = panel.with_lag("x")
    same = fit_curve(
        by_hand, replace(SPEC, exposures=("x_lag1",)), "x_lag1", knots=KNOTS, reference=5.0
    )
    assert found.terms == ("x_lag1", "x_spline2_lag1", "x_spline3_lag1")
    assert_allclose(found.fit.coef, same.fit.coef, rtol=1e-9)
    assert_allclose(found.values, same.values)
    assert found.fit.n_obs == same.fit.n_obs < len(rows)


@pytest.mark.parametrize("estimator", ["pooled", "between", "first_difference", "random"])
def test_knots_are_places_on_the_exposure_itself_for_every_estimator(estimator):
    rows = rows_of(units=120)
    spec = PanelSpec(outcome="y", exposures=("x",), estimator=estimator)
    found = fit_curve(panel_of(rows), spec, "x", knots=3)
    assert_allclose(found.reference, rows["x"].median(), atol=0.3)
    assert 0 <= found.values[0] <= found.values[-1] <= 10.5
    assert (np.diff(found.values) >= 0).all()


# ---------------------------------------------------------------- the bands


def test_band_is_just_wider_than_the_exact_quantile():
    """The tube bounds the error from above; mvtnorm integrates it over 40 points of the curve."""
    contrast, vcov = np.array(ORACLE["contrast"]), np.array(ORACLE["vcov"])
    ours = band_quantile(contrast, vcov, 15, 0.95)
    assert ORACLE["quantile"] - 0.01 < ours < 1.03 * ORACLE["quantile"]


def test_band_of_few_directions_is_t_and_never_wider_than_scheffe():
    from scipy import stats

    line = np.linspace(-1, 1, 9)[:, None]
    assert_allclose(band_quantile(line, np.eye(1), 9, 0.9), stats.t.ppf(0.95, 9))
    ways = np.random.default_rng(0).normal(size=(500, 3))  # a path that goes everywhere
    scheffe = np.sqrt(3 * stats.f.ppf(0.95, 3, 20))
    assert_allclose(band_quantile(ways, np.eye(3), 20, 0.95), scheffe)


def test_interval_and_band_cover_a_truth_that_is_a_spline():
    at = np.linspace(1.0, 9.0, 33)
    truth = (spline_basis(at, KNOTS) - spline_basis(np.array([5.0]), KNOTS)) @ BENT
    points, whole, n = [], [], 200
    for seed in range(n):
        curve = fit_curve(
            panel_of(rows_of(seed, units=60)), SPEC, "x", knots=KNOTS, reference=5.0
        ).curve(at)
        inside = (curve["conf_low"] <= truth) & (truth <= curve["conf_high"])
        points.append(inside.iloc[[0, 8, 28]].mean())
        held = (curve["band_low"] <= truth + 1e-12) & (truth - 1e-12 <= curve["band_high"])
        whole.append(held.all())
    error = np.sqrt(0.95 * 0.05 / n)  # three of them granted; the band may hold more often
    assert abs(np.mean(points) - 0.95) < 3 * error
    assert 0.95 - 3 * error < np.mean(whole)


def test_a_u_and_a_threshold_are_recovered():
    rng = np.random.default_rng(8)
    n = 150 * 20
    rows = pd.DataFrame({"unit": np.arange(n) // 20, "period": np.arange(n) % 20})
    rows["x"] = rng.uniform(0, 10, size=n)
    noise = rng.normal(size=(2, n)) + rng.normal(size=150)[rows["unit"]]
    truths = {
        "u": lambda x: 0.3 * (x - 5) ** 2,
        "threshold": lambda x: np.maximum(x - 6, 0) * 1.5,
    }
    at = np.array([0.5, 2.0, 4.0, 8.0, 9.5])
    for (name, truth), shock in zip(truths.items(), noise, strict=True):
        panel = panel_of(rows.assign(**{name: truth(rows["x"]) + shock}))
        spec = PanelSpec(outcome=name, exposures=("x",))
        found = fit_curve(panel, spec, "x", knots=7, reference=5.0)
        # noise 1 and a knee that a smooth curve rounds off: three errors, and 0.2 for the knee
        off = (found.curve(at)["difference"] - (truth(at) - truth(5.0))).abs()
        assert (off < 3 * found.curve(at)["std_error"] + 0.2).all()
        assert found.linearity.p_value < 1e-6
    straight = panel_of(rows.assign(line=2 * rows["x"] + noise[0]))
    line = fit_curve(straight, PanelSpec(outcome="line", exposures=("x",)), "x")
    assert line.linearity.p_value > 0.01
    assert line.association.p_value < 1e-6


# ---------------------------------------------------------------- what is told


def test_curve_counts_the_rows_near_and_stays_where_the_data_are():
    rows = rows_of()
    found = fit_curve(panel_of(rows), SPEC, "x")
    curve = found.curve()
    low, high = np.quantile(found.values, [0.01, 0.99])
    assert_allclose([curve["exposure"].min(), curve["exposure"].max()], [low, high])
    at = curve.set_index("exposure").loc[found.reference]
    near = (rows["x"] - found.reference).abs() <= (high - low) / 40
    assert (at["difference"], at["std_error"], at["n_near"]) == (0, 0, near.sum())
    assert found.curve([50.0])["n_near"].tolist() == [0]
    wider = found.curve(conf_level=0.99)
    assert (
        (wider["band_high"] - wider["band_low"]) >= (curve["band_high"] - curve["band_low"])
    ).all()
    assert (curve["band_high"] >= curve["conf_high"]).all()


def test_a_mass_at_one_value_leaves_a_range_to_draw():
    rows = rows_of()
    rows["x"] = np.where(np.arange(len(rows)) % 150 == 0, 1 + rows.index / 100, 0.0)
    spec = replace(SPEC, estimator="pooled")
    curve = fit_curve(panel_of(rows), spec, "x", knots=(0, 1.5, 2.4)).curve()
    assert (curve["exposure"].min(), curve["exposure"].max()) == (0, rows["x"].max())


def test_tidy_and_glance_tell_terms_knots_and_tests():
    found = fit_curve(panel_of(rows_of()), SPEC, "x", knots=3)
    assert found.tidy()["term"].tolist() == ["x", "x_spline2", "z"]
    told = found.glance().iloc[0]
    assert told["knots"] == ", ".join(f"{k:.6g}" for k in found.knots)
    assert told["p_linearity"] == found.linearity.p_value
    assert "restricted cubic spline, 3 knots" in repr(found)


def test_few_values_narrow_units_and_few_clusters_are_warned_of():
    rows = rows_of(units=8)
    steps = rows.assign(x=np.round(rows["x"] / 2))
    found = fit_curve(panel_of(steps), SPEC, "x", knots=(1, 2, 4))
    assert "6 distinct values of the exposure, fewer than 10" in "; ".join(found.warnings)
    apart = rows.assign(x=10.0 * rows["unit"] + rows["x"])
    found = fit_curve(panel_of(apart), SPEC, "x", knots=3)
    assert "of the range drawn: the shape is pieced together" in "; ".join(found.warnings)
    few = fit_curve(panel_of(rows[rows["unit"] < 3]), SPEC, "x")
    assert np.isnan(few.association.p_value)
    assert (
        "2 degrees of freedom cannot carry a joint test of 3 terms" in few.glance()["warnings"][0]
    )


def refused(rows: pd.DataFrame, spec: PanelSpec = SPEC, exposure: str = "x", **choices) -> str:
    with pytest.raises((SpecError, RankError)) as found:
        fit_curve(panel_of(rows), spec, exposure, **choices)
    return str(found.value)


def test_every_refusal_says_what_and_why():
    rows = rows_of()
    assert "Did you mean 'x'" in refused(rows, replace(SPEC, exposures=("x", "w")), "xx") or (
        "There is no column 'w'" in refused(rows, replace(SPEC, exposures=("x", "w")), "xx")
    )
    assert "'z' is not a column among the spec's exposures (x)" in refused(rows, SPEC, "z")
    assert "'x' also enters as 'x:z'" in refused(rows, replace(SPEC, exposures=("x", "x:z")))
    assert "knots=9 is not a whole number from 3 to 7" in refused(rows, knots=9)
    assert "knots=3.5 is not a whole number" in refused(rows, knots=3.5)
    assert "knots='four' is not a whole number" in refused(rows, knots="four")
    assert "are not 3 to 7 finite places" in refused(rows, knots=(1.0, 2.0))
    assert "Knots of 'x' do not ascend: '1 and 2 at 4 and 2'" in refused(rows, knots=(4, 2, 8))
    assert "do not lie among the values of 'x'" in refused(rows, knots=(20, 30, 40))
    assert "reference=99 lies outside the values of 'x'" in refused(rows, reference=99)
    tied = rows.assign(x=np.where(rows["x"] < 7, 1.0, rows["x"]))
    assert "Knots of 'x' do not ascend: '1 and 2 at 1 and 1'" in refused(tied)
    two = rows.assign(x=(rows["x"] > 5).astype(float))
    assert "has 2 distinct values on the rows used, too few for 3" in refused(
        two, knots=(0, 0.5, 1)
    )
    assert "whose name the spline needs" in refused(rows.assign(x_spline2=1.0))
    constant = rows.assign(x=rows["unit"] * 1.0)
    assert "A curve of 'x' through 4 knots is not identified" in refused(constant)
    assert "fama_macbeth" in refused(rows, replace(SPEC, estimator="fama_macbeth", vcov="cluster"))
    found = fit_curve(panel_of(rows), SPEC, "x")
    assert isinstance(found, CurveResult)
    with pytest.raises(SpecError, match="one or more finite values"):
        found.curve([np.nan])


# ---------------------------------------------------------------- several coefficients at once


def test_a_negative_variance_is_no_error_and_no_test():
    bad = np.array([[1.0, 2.0], [2.0, 1.0]])  # not a covariance
    found = combine(np.ones(2), bad, np.array([[1.0, -1.0], [1.0, 1.0], [0, 0]]), 9, 0.95)
    assert np.isnan(found["std_error"][0])
    assert_allclose(found["std_error"][1:], [np.sqrt(6), 0])
    assert np.isnan(joint_test(np.ones(2), bad, 9).p_value)


def test_a_number_of_knots_is_whole():
    with pytest.raises(SpecError, match=r"knots=4.0 is not a whole number from 3 to 7"):
        fit_curve(panel_of(rows_of()), SPEC, "x", knots=4.0)
