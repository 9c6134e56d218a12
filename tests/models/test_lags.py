"""Distributed lags against statsmodels with dummies and lags merged by hand, and known truths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from numpy.testing import assert_allclose

from ex_cx.errors import RankError, SpecError
from ex_cx.linkage.panel import Panel
from ex_cx.models.lags import LagResult, fit_lags
from ex_cx.models.magnitude import predict_change
from ex_cx.models.regress import PanelSpec

SPEC = PanelSpec(outcome="y", exposures=("x",), controls=("z",))
TRUTH = np.array([1.0, 0.6, 0.3])


def rows_of(seed: int = 1, *, units: int = 40, periods: int = 14, memory: float = 0.3):
    """Unbalanced rows with holes in the calendar; x acts for three periods."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(units, periods + 3))
    for t in range(1, periods + 3):
        x[:, t] = memory * x[:, t - 1] + np.sqrt(1 - memory**2) * x[:, t]
    y = sum(b * x[:, 3 - lag : 3 - lag + periods] for lag, b in enumerate(TRUTH))
    y = y + rng.normal(size=(units, 1)) + 0.2 * np.arange(periods)
    unit, period = np.divmod(np.arange(units * periods), periods)
    rows = pd.DataFrame({"unit": unit, "period": period, "x": x[:, 3:].ravel(), "y": y.ravel()})
    rows["z"] = rng.normal(size=len(rows))
    rows["y"] += 0.5 * rows["z"] + rng.normal(size=len(rows))
    return rows[rng.uniform(size=len(rows)) > 0.06].reset_index(drop=True)


def panel_of(rows: pd.DataFrame) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period")


def merged(rows: pd.DataFrame, lags: range) -> pd.DataFrame:
    """Lags by the keys alone: the value whose period is that many before."""
    data = rows
    for lag in lags:
        earlier = rows[["unit", "period", "x"]].assign(period=rows["period"] + lag)
        data = data.merge(
            earlier.rename(columns={"x": f"l{lag}".replace("-", "m")}),
            on=["unit", "period"],
            how="left",
            validate="one_to_one",
        )
    return data.dropna()


def by_dummies(data: pd.DataFrame, names: list[str]) -> tuple[pd.Series, pd.DataFrame]:
    """Coefficients and CR1 covariance: units, nested in clusters, cost 1, periods T - 1."""
    fit = smf.ols(f"y ~ {' + '.join(names)} + z + C(unit) + C(period)", data).fit(
        cov_type="cluster", cov_kwds={"groups": data["unit"], "use_correction": False}
    )
    n, units, periods = len(data), data["unit"].nunique(), data["period"].nunique()
    factor = units / (units - 1) * (n - 1) / (n - len(names) - 2 - (periods - 1))
    return fit.params[names], factor * fit.cov_params().loc[names, names]


def test_lags_sums_and_errors_are_those_of_dummies_and_lags_merged_by_hand():
    rows = rows_of()
    found = fit_lags(panel_of(rows), SPEC, "x", lags=range(-1, 4))
    data = merged(rows, range(-1, 4))
    assert data["unit"].value_counts().min() > 1  # no row is the only one of its unit
    assert found.fit.n_obs == len(data)
    names = ["lm1", "l0", "l1", "l2", "l3"]
    coef, vcov = by_dummies(data, names)
    each = found.by_lag()
    assert each["term"].tolist() == ["x_lead1", "x", "x_lag1", "x_lag2", "x_lag3"]
    assert each["lag"].tolist() == [-1, 0, 1, 2, 3]
    assert_allclose(each["estimate"], coef, rtol=1e-8)
    assert_allclose(each["std_error"], np.sqrt(np.diag(vcov)), rtol=1e-8)
    sums = found.cumulative()
    for at, lag in enumerate(sums["lag"]):
        ones = np.array([0.0, *np.ones(lag + 1), *np.zeros(3 - lag)])
        assert_allclose(sums["estimate"][at], ones @ coef, rtol=1e-8)
        assert_allclose(sums["std_error"][at], np.sqrt(ones @ vcov @ ones), rtol=1e-8)
    after, v = coef.to_numpy()[1:], vcov.to_numpy()[1:, 1:]
    assert_allclose(found.lag_test.statistic, after @ np.linalg.inv(v) @ after / 4, rtol=1e-7)
    assert_allclose(found.lead_test.statistic, coef["lm1"] ** 2 / vcov.iloc[0, 0], rtol=1e-7)
    assert found.tests()["test"].tolist() == ["no lag", "no lead"]


def test_the_long_run_is_the_joint_change_of_all_lags():
    found = fit_lags(panel_of(rows_of()), SPEC, "x", lags=range(3))
    change = predict_change(found.fit, {"x": 1, "x_lag1": 1, "x_lag2": 1})
    last = found.cumulative().iloc[-1]
    for column in ("estimate", "std_error", "p_value", "conf_low", "conf_high"):
        assert_allclose(last[column], change[column][0], rtol=1e-10)
    told = found.glance().iloc[0]
    assert (told["long_run"], told["lags"]) == (last["estimate"], "0, 1, 2")


def test_shorter_choices_are_fitted_on_the_rows_of_the_longest():
    rows = rows_of()
    found = fit_lags(panel_of(rows), SPEC, "x", lags=range(4))
    data = merged(rows, range(4))
    k_effects = data["unit"].nunique() + data["period"].nunique() - 1
    for longest, row in found.lengths.set_index("longest_lag").iterrows():
        names = [f"l{lag}" for lag in range(longest + 1)]
        fit = smf.ols(f"y ~ {' + '.join(names)} + z + C(unit) + C(period)", data).fit()
        assert_allclose(row["long_run"], fit.params[names].sum(), rtol=1e-8)
        assert_allclose(row["rss"], fit.ssr, rtol=1e-8)
        n = len(data)  # statsmodels counts the effects and the constant of the likelihood too
        constant = n * np.log(2 * np.pi) + n + k_effects * np.log(n)
        assert_allclose(row["bic"], fit.bic - constant, rtol=1e-8)
        assert row["n_obs"] == n
    assert_allclose(found.lengths["long_run"].iloc[-1], found.cumulative()["estimate"].iloc[-1])


def test_a_skipped_period_costs_the_rows_that_would_need_it():
    rows = pd.DataFrame({"unit": np.arange(60) // 6, "period": np.arange(60) % 6})
    rows["x"], rows["y"] = np.random.default_rng(0).normal(size=(2, 60))
    panel = panel_of(rows[~((rows["unit"] == 0) & (rows["period"] == 2))])
    spec = PanelSpec(outcome="y", exposures=("x",))
    found = fit_lags(panel, spec, "x", lags=range(2))
    # 59 rows; each of 10 units loses its first, and the first unit the row after the gap
    assert (found.fit.n_obs, found.rows_without_lags) == (48, 11)
    assert found.fit.lost == {"missing x_lag1": 11}


def test_known_lags_are_recovered_and_a_lead_is_seldom_found():
    sums, covered, leads = [], [], []
    for seed in range(100):
        found = fit_lags(panel_of(rows_of(seed)), SPEC, "x", lags=range(-1, 3))
        frame = found.cumulative()
        truth = np.cumsum(TRUTH)
        sums.append(frame["estimate"])
        covered.append(((frame["conf_low"] <= truth) & (truth <= frame["conf_high"])).iloc[-1])
        leads.append(found.lead_test.p_value < 0.05)
    error = np.std(sums, axis=0, ddof=1) / 10
    assert (np.abs(np.mean(sums, axis=0) - np.cumsum(TRUTH)) < 3.5 * error).all()
    allowed = 3 * np.sqrt(0.95 * 0.05 / 100)
    assert abs(np.mean(covered) - 0.95) < allowed
    assert np.mean(leads) < 0.05 + allowed


def test_first_differences_and_order_of_rows():
    rows = rows_of()
    spec = replace(SPEC, estimator="first_difference")
    found = fit_lags(panel_of(rows), spec, "x", lags=range(3))
    mixed = fit_lags(panel_of(rows.sample(frac=1, random_state=0)), spec, "x", lags=[2, 0, 1])
    pd.testing.assert_frame_equal(found.cumulative(), mixed.cumulative(), rtol=1e-9)
    off = np.abs(found.cumulative()["estimate"] - np.cumsum(TRUTH))
    assert (off < 3.5 * found.cumulative()["std_error"]).all()


def test_other_exposures_stay_where_they_are():
    spec = PanelSpec(outcome="y", exposures=("z", "x"))
    found = fit_lags(panel_of(rows_of()), spec, "x", lags=range(2))
    assert found.tidy()["term"].tolist() == ["z", "x", "x_lag1"]
    assert found.by_lag()["term"].tolist() == ["x", "x_lag1"]


def test_what_is_fragile_is_told():
    slow = panel_of(rows_of(memory=0.999))
    assert "the lags move together (condition number" in "; ".join(
        fit_lags(slow, replace(SPEC, absorb=("period",)), "x").warnings
    )
    panel = panel_of(rows_of())
    assert "lags 1 are left out" not in "; ".join(fit_lags(panel, SPEC, "x").warnings)
    gap = fit_lags(panel, SPEC, "x", lags=(0, 2))
    assert "lag 1 is left out: the sums take it to be zero" in gap.glance()["warnings"][0]
    few = fit_lags(panel_of(rows_of(units=4)), SPEC, "x", lags=range(4))
    assert np.isnan(few.lag_test.p_value)
    assert "3 degrees of freedom cannot carry a joint test of 4 lags" in "; ".join(few.warnings)


def refused(rows: pd.DataFrame, spec: PanelSpec = SPEC, exposure: str = "x", lags=range(3)) -> str:
    with pytest.raises((SpecError, RankError)) as found:
        fit_lags(panel_of(rows), spec, exposure, lags=lags)
    return str(found.value)


def test_every_refusal_says_what_and_why():
    rows = rows_of()
    assert "'z' is not a column among the spec's exposures (x)" in refused(rows, SPEC, "z")
    assert "The spec has lag=1 beside the lags named here" in refused(rows, replace(SPEC, lag=1))
    assert "hold no lag of 0 or more" in refused(rows, lags=(-1, -2))
    assert "hold no lag of 0 or more" in refused(rows, lags=())
    assert "Lags '1' are named more than once" in refused(rows, lags=(0, 1, 1))
    assert "whole numbers of periods; '0.5' are not" in refused(rows, lags=(0, 0.5))
    assert "None of the" in refused(rows, lags=(0, 99))
    assert "does not follow units" in refused(rows, replace(SPEC, estimator="between"))
    by_row = rows.assign(x_lag1=rows.groupby("unit")["x"].shift(1))
    assert "'x_lag1' is not 'x' 1 periods away by the calendar" in refused(by_row)
    also = replace(SPEC, exposures=("x", "x^2"))
    assert "'x' also enters as 'x^2'" in refused(rows, also)
    trend = rows.assign(x=rows["period"] * 1.0 + rows["unit"])
    assert "'x' at lags 0, 1, 2 is not identified" in refused(trend)
    assert isinstance(fit_lags(panel_of(rows), SPEC, "x"), LagResult)


def test_a_number_of_lags_is_no_row_of_lags():
    with pytest.raises(SpecError, match=r"lags=3 is no row of lags: write range\(4\)"):
        fit_lags(panel_of(rows_of()), SPEC, "x", lags=3)
