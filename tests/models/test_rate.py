"""Logits of rates against R, statsmodels and hand calculations; a company whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy.special import expit

from ex_cx.errors import InferenceError, RankError, SpecError
from ex_cx.estimation.inference import cluster_factor
from ex_cx.linkage.panel import Panel
from ex_cx.linkage.simulate import simulate_panel
from ex_cx.linkage.simulator.causal import effect
from ex_cx.models.rate import RateSpec, fit_rate
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.results import TIDY

ORACLES = Path(__file__).parents[1] / "oracles"
R = json.loads((ORACLES / "rate_logit.json").read_text())
SPEC = RateSpec(outcome="y", exposures=("x",), scale="share", denominator="n")


def _deaths(*, holed: bool = False) -> Panel:
    rows = pd.read_csv(ORACLES / "rate_fatalities.csv")
    keep = (np.arange(len(rows)) + 1) % 7 != 0 if holed else np.ones(len(rows), bool)
    return Panel.from_frame(rows[keep], unit="state", period="year")


def _rows(seed: int = 1, n_units: int = 40, n_periods: int = 8) -> pd.DataFrame:
    """Units whose effects go along with the mean of x; binomial counts of 20 to 80."""
    rng = np.random.default_rng(seed)
    unit, period = np.divmod(np.arange(n_units * n_periods), n_periods)
    rows = pd.DataFrame({"unit": unit, "period": period})
    rows["x"] = rng.normal(size=n_units)[unit] + rng.normal(size=len(rows))
    rows["z"] = rng.normal(size=len(rows))
    mean = rows.groupby("unit")["x"].transform("mean")
    rows["log_odds"] = -2 + 0.4 * rows["x"] - 0.9 * mean + 0.3 * rng.normal(size=n_units)[unit]
    rows["n"] = rng.integers(20, 80, len(rows))
    rows["y"] = rng.binomial(rows["n"], expit(rows["log_odds"])) / rows["n"]
    return rows


def _panel(rows: pd.DataFrame, **roles: str) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period", **roles)


@pytest.mark.parametrize(
    ("case", "weighted", "holed", "squared"),
    [
        ("binomial", True, False, False),
        ("fractional", False, False, False),
        ("binomial_holed", True, True, False),
        ("fractional_holed", False, True, False),
        ("squared", True, False, True),
    ],
)
def test_r_glm_with_clustered_errors_and_effects_by_hand(case, weighted, holed, squared):
    # R: HC0 by state without a factor; ours is CR1, G/(G-1) * (n-1)/(n-k), on top
    theirs = R[case]
    spec = RateSpec(
        outcome="share",
        exposures=("unemp", "income", *(("unemp^2",) if squared else ())),
        scale="share",
        denominator="fatal" if weighted else None,
    )
    ours = fit_rate(_deaths(holed=holed), spec)
    factor = np.sqrt(cluster_factor(48, theirs["n"], theirs["k"], 0))
    tidy = ours.tidy().set_index("term")
    for name in ("unemp", "income"):
        assert_allclose(tidy.loc[name, "estimate"], 100 * theirs[name]["effect"], rtol=1e-8)
        assert_allclose(tidy.loc[name, "std_error"], 100 * factor * theirs[name]["se"], rtol=1e-8)
    named = {
        "unemp_between": "mu",
        "income_between": "mi",
        "unemp^2": "I(unemp^2)",
        "unemp^2_between": "mu2",
        "(rows of the unit)": "rows",
        "(constant)": "(Intercept)",
    }
    logit = ours.coefficients().set_index("term")
    shown = [name for name in logit.index if not name.startswith("(period")]
    assert len(shown) == len(theirs["coef"])
    for name in shown:
        there = named.get(name, name)
        assert_allclose(logit.loc[name, "estimate"], theirs["coef"][there], rtol=1e-7)
        assert_allclose(logit.loc[name, "std_error"], factor * theirs["se"][there], rtol=1e-7)
    assert ours.df_t == 47
    if weighted:
        assert_allclose(ours.dispersion, theirs["pearson"], rtol=1e-8)
    else:
        assert np.isnan(ours.dispersion)


@pytest.mark.filterwarnings("ignore::Warning")  # the oracle's own
def test_statsmodels_glm_clustered_by_site_with_a_lag_and_holes():
    rows = _rows().assign(site=lambda r: r["unit"] // 4)
    rows = rows[rows["unit"] * 8 + rows["period"] != 21]
    ours = fit_rate(_panel(rows, cluster="site"), replace(SPEC, controls=("z",), lag=1))
    before = rows[["unit", "period", "x"]].assign(period=rows["period"] + 1)
    used = rows.drop(columns="x").merge(before, on=["unit", "period"]).sort_values("unit")
    weights = used["n"].to_numpy(float)
    columns = [np.ones(len(used)), used["x"], used["z"]]
    for name in ("x", "z"):
        total = (used[name] * weights).groupby(used["unit"]).transform("sum")
        columns.append(total / used.groupby("unit")["n"].transform("sum"))
    columns.append(used.groupby("unit")["x"].transform("size"))
    columns += [(used["period"] == t).astype(float) for t in range(2, 8)]
    x = np.column_stack(columns)
    # statsmodels' correction: G/(G-1) * (n-1)/(n-k), ours exactly
    theirs = sm.GLM(used["y"], x, family=sm.families.Binomial(), var_weights=weights).fit(
        tol=1e-14, cov_type="cluster", cov_kwds={"groups": used["site"], "use_correction": True}
    )
    assert_allclose(ours.coef, theirs.params, rtol=1e-8)
    assert_allclose(ours.coef_vcov, theirs.cov_params(), rtol=1e-7, atol=1e-12)
    assert ours.variables == ("x_lag1", "z")
    # 40 first periods, and the row after the hole
    assert ours.lost == {"missing x (lag 1)": 41}
    assert ours.n_clusters == 10


def test_two_groups_by_hand():
    # 12 of 40 leave where x is 1, 10 of 80 where it is 0; one unit-period each, four units
    rows = pd.DataFrame(
        {
            "unit": [1, 2, 3, 4],
            "period": 1,
            "x": [1.0, 1.0, 0.0, 0.0],
            "n": [10, 30, 50, 30],
            "y": [5 / 10, 7 / 30, 6 / 50, 4 / 30],
        }
    )
    result = fit_rate(_panel(rows), replace(SPEC, unit_means=False, periods=False))
    slope = np.log((12 / 28) / (10 / 70))
    spread = 40 * 0.3 * 0.7 + 80 * 0.125 * 0.875
    assert_allclose(result.coef, [np.log(10 / 70), slope], rtol=1e-12)
    assert_allclose(result.effects, [100 * slope * spread / 120], rtol=1e-12)
    assert_allclose(result.mean_pct, 100 * 22 / 120)


def test_a_rate_and_its_complement_are_mirrored():
    rows = _rows()
    stays = rows.assign(y=100 * (1 - rows["y"]))
    ours, mirrored = (
        fit_rate(_panel(rows), SPEC),
        fit_rate(_panel(stays), replace(SPEC, scale="percent")),
    )
    assert_allclose(mirrored.effects, -ours.effects, rtol=1e-10)
    assert_allclose(mirrored.vcov, ours.vcov, rtol=1e-9)


def test_order_labels_units_of_measurement_and_weights_up_to_scale_do_not_matter():
    rows = _rows()
    ours = fit_rate(_panel(rows), SPEC)
    other = rows.sample(frac=1, random_state=3).assign(
        unit=lambda r: 900 - r["unit"] * 7, x=lambda r: 1000 * r["x"] + 5e5, n=lambda r: 3 * r["n"]
    )
    moved = fit_rate(_panel(other), SPEC)
    assert_allclose(1000 * moved.effects, ours.effects, rtol=1e-8)
    assert_allclose(1e6 * moved.vcov, ours.vcov, rtol=1e-7)
    assert_allclose(moved.dispersion, 3 * ours.dispersion, rtol=1e-8)


def test_a_far_origin_costs_no_digits_of_the_effect():
    rows = _rows()
    far = rows.assign(x=rows["x"] + 1e8)
    near = fit_rate(_panel(far.assign(x=far["x"] - 1e8)), SPEC)
    moved = fit_rate(_panel(far), SPEC)
    # the column itself keeps eight digits of its spread
    assert_allclose(moved.effects, near.effects, rtol=1e-6)
    assert_allclose(moved.vcov, near.vcov, rtol=1e-6)


def test_product_enters_through_its_columns():
    # d p / d x = p (1 - p) (b + c z): by moving x a little, its unit mean held
    rows = _rows()
    result = fit_rate(_panel(rows), replace(SPEC, exposures=("x", "z", "x:z"), unit_means=False))
    assert result.variables == ("x", "z")
    coef = dict(zip(result.names, result.coef, strict=True))
    dummies = np.array([0.0, *result.coef[4:]])[rows["period"]]

    def share(x: pd.Series) -> pd.Series:
        terms = coef["x"] * x + coef["z"] * rows["z"] + coef["x:z"] * x * rows["z"]
        return expit(coef["(constant)"] + terms + dummies)

    step = 1e-5
    moved = (share(rows["x"] + step) - share(rows["x"] - step)) / (2 * step)
    assert_allclose(result.effects[0], 100 * np.average(moved, weights=rows["n"]), rtol=1e-7)


def test_recovers_the_effect_within_units_and_covers_it():
    # truth: 0.4 in log-odds and its mean effect at the true shares; Monte Carlo errors are those
    # of the 150 panels drawn; three of them are granted
    found, hits, naive = [], [], []
    for seed in range(150):
        rows = _rows(seed)
        p = expit(rows["log_odds"])
        truth = 100 * np.average(0.4 * p * (1 - p), weights=rows["n"])
        row = fit_rate(_panel(rows), SPEC).tidy().iloc[0]
        found.append(row["estimate"] - truth)
        hits.append(row["conf_low"] <= truth <= row["conf_high"])
        pooled = fit_rate(_panel(rows), replace(SPEC, unit_means=False))
        naive.append(pooled.effects[0] - truth)
    error = np.std(found) / np.sqrt(150)
    assert abs(np.mean(found)) < 3 * error
    assert abs(np.mean(hits) - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 150)
    assert np.mean(naive) < -20 * error


def test_recovers_the_effect_where_rows_are_missing_from_some_units_more():
    # units with a high x miss two rows in five; unit effects go along with their lasting x, not
    # with its mean over the rows seen; 100 panels, three Monte Carlo errors
    off, hits = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        unit, period = np.divmod(np.arange(320), 8)
        lasting = rng.normal(size=40)
        rows = pd.DataFrame({"unit": unit, "period": period, "n": rng.integers(15, 60, 320)})
        rows["x"] = lasting[unit] + 0.3 * np.cos(period) + rng.normal(size=320)
        team = 0.3 * rng.normal(size=40) - 0.9 * lasting
        p = expit(-2.5 + 0.4 * rows["x"] + team[unit] + 0.2 * np.sin(period))
        rows["y"] = rng.binomial(rows["n"], p) / rows["n"]
        seen = rng.uniform(size=320) < np.where(lasting[unit] > 0, 0.6, 1.0)
        truth = 100 * np.average(0.4 * (p * (1 - p))[seen], weights=rows["n"][seen])
        row = fit_rate(_panel(rows[seen]), SPEC).tidy().iloc[0]
        off.append(row["estimate"] / truth - 1)
        hits.append(row["conf_low"] <= truth <= row["conf_high"])
    assert abs(np.mean(off)) < 3 * np.std(off) / 10
    assert abs(np.mean(hits) - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 100)


def test_linear_truth_of_the_simulated_company_in_points():
    # the company's effects are linear in points; over its 48 teams the logit's mean slope is them
    truth = effect("ex_occupancy_pct", "cx_fcr_pct")
    spec = RateSpec(outcome="cx_fcr_pct", exposures=("ex_occupancy_pct",), scale="percent")
    line = PanelSpec(outcome="cx_fcr_pct", exposures=("ex_occupancy_pct",))
    logits, lines = [], []
    for seed in range(25):
        panel = simulate_panel(rng=np.random.default_rng(seed))
        logits.append(fit_rate(panel, spec).effects[0])
        lines.append(fit_panel(panel, line).coef[0])
    assert abs(np.mean(lines) - truth) < 3 * np.std(lines) / 5
    # a logit of a straight line is not exact: two per cent of the effect are granted
    assert abs(np.mean(logits) - truth) < 3 * np.std(logits) / 5 + 0.02 * abs(truth)


def test_rows_lost_are_counted_by_reason():
    rows = _rows()
    rows.loc[3, "n"] = 0
    rows.loc[[5, 6], "y"] = np.nan
    rows.loc[rows["period"] == 7, "y"] = 0.0
    result = fit_rate(_panel(rows), SPEC)
    assert result.lost == {
        "missing y": 2,
        "denominator missing or zero (n)": 1,
        "period in which every rate is 0, or every rate 1 (its dummy fits it; effect 0)": 40,
    }
    assert result.n_obs + sum(result.lost.values()) == result.rows_in == 320
    assert result.n_periods == 7
    assert result.glance()["rows_lost"].item() == 43


@pytest.mark.parametrize("edge", [0.0, 1.0])
def test_a_month_without_leavers_is_the_limit_of_one_with_next_to_none(edge):
    rows = _rows()
    last = rows["period"] == 7
    exact = fit_rate(_panel(rows.assign(y=np.where(last, edge, rows["y"]))), SPEC)
    near = fit_rate(_panel(rows.assign(y=np.where(last, abs(edge - 1e-9), rows["y"]))), SPEC)
    n, k = 320, len(near.names)
    factor = cluster_factor(40, n - 40, k - 1, 0) / cluster_factor(40, n, k, 0)
    assert_allclose(exact.effects, near.effects, rtol=1e-7)
    assert_allclose(exact.vcov, factor * near.vcov, rtol=1e-6)


def test_tidy_glance_and_warnings():
    result = fit_rate(_panel(_rows(n_units=12)), SPEC)
    assert tuple(result.tidy().columns) == tuple(result.coefficients().columns) == TIDY
    glance = result.glance().iloc[0]
    assert glance["likelihood"] == "binomial logit, counts of n"
    assert "12 clusters, fewer than 40" in glance["warnings"]
    holed = fit_rate(_panel(_rows().iloc[3:]), SPEC)
    assert "units have 5 to 8 rows" in "; ".join(holed.warnings)
    fixed = _rows().assign(size=lambda r: np.sin(r["unit"]))
    between = fit_rate(_panel(fixed), replace(SPEC, controls=("size",)))
    assert "size does not vary within units" in "; ".join(between.warnings)
    assert "size_between" not in between.names
    tiny = _rows().assign(y=lambda r: r["y"] / 1.01)
    found = fit_rate(_panel(tiny), replace(SPEC, scale="percent"))
    assert "every y is 1 per cent or less" in "; ".join(found.warnings)
    weighted = fit_rate(_panel(_rows(), weights="n"), replace(SPEC, denominator=None))
    assert weighted.glance()["likelihood"].item().endswith("weighted by n)")
    assert_allclose(weighted.effects, fit_rate(_panel(_rows()), SPEC).effects, rtol=1e-12)


def _refused(rows: pd.DataFrame, spec: RateSpec, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        fit_rate(_panel(rows), spec)


def test_what_is_refused_says_why():
    rows = _rows()
    percent = rows.assign(y=100 * rows["y"])
    _refused(percent, SPEC, SpecError, r"lie outside 0 to 1 \(first: .* say scale='percent'")
    over = rows.assign(y=np.where(rows["unit"] == 3, 150.0, 5.0))
    _refused(
        over, replace(SPEC, scale="percent"), SpecError, "8 of 320 values of 'y' lie outside 0 to"
    )
    _refused(rows, replace(SPEC, scale="percents"), SpecError, "Did you mean 'percent'")
    _refused(rows, replace(SPEC, exposures="x"), SpecError, "tuples of terms")
    _refused(rows, replace(SPEC, exposures=()), SpecError, "names no exposure")
    _refused(rows, replace(SPEC, controls=("x",)), SpecError, "names? 'x' more than once")
    _refused(rows, replace(SPEC, exposures=("xx",)), SpecError, "no column 'xx'")
    _refused(rows, replace(SPEC, denominator="heads"), SpecError, "no denominator column 'heads'")
    _refused(rows.assign(y=0.0), SPEC, RankError, "is 0 .* in each of the 320 rows")
    _refused(rows.assign(x=2.0), SPEC, RankError, "'x' is constant")
    same = rows.assign(w=2 * rows["x"] - rows["z"])
    _refused(
        same, replace(SPEC, controls=("z", "w")), RankError, "'w' is a combination of 'x', 'z'"
    )
    month = rows.assign(x=np.cos(rows["period"]))
    _refused(month, SPEC, RankError, "'x' is a combination of the absorbed effects")
    one = rows.assign(site=1)
    with pytest.raises(InferenceError, match="at least 2 clusters; the rows used have 1"):
        fit_rate(_panel(one, cluster="site"), SPEC)


def test_separation_names_the_term():
    rows = _rows()
    parted = rows.assign(y=(rows["x"] > 0).astype(float))
    _refused(parted, SPEC, RankError, r"separation, along .*'x'")
    # quasi-complete: nobody ever leaves where `closed` is 1
    closed = rows.assign(closed=(np.arange(320) % 11 == 0).astype(float))
    closed["y"] = np.where(closed["closed"] == 1, 0.0, closed["y"])
    _refused(closed, replace(SPEC, controls=("closed",)), RankError, "along 'closed'")


def test_no_convergence_is_an_error(monkeypatch):
    monkeypatch.setattr("ex_cx.estimation.logit._MOST_STEPS", 1)
    _refused(_rows(), SPEC, InferenceError, "did not converge in 1 iterations")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"exposures": ("x", "x:y")}, "'x:y' holds the outcome 'y' of the same period"),
        ({"lag": 1, "controls": ("y^2",)}, "holds the outcome 'y' of the same period"),
        ({"lag": "1"}, "lag='1' is not a whole number of periods"),
        ({"controls": None}, "tuples of terms"),
    ],
)
def test_specs_of_another_kind_and_the_outcome_in_its_own_terms_are_refused(change, words):
    _refused(_rows(), replace(SPEC, **change), SpecError, words)
