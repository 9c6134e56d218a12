"""Mediation of rates: refits by statsmodels, its own mediation, identities, a known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from numpy.testing import assert_allclose
from scipy.special import expit
from statsmodels.genmod.families import Binomial
from statsmodels.stats.mediation import Mediation

from ex_cx.errors import InferenceError, RankError, SpecError
from ex_cx.estimation.inference import bootstrap_counts
from ex_cx.estimation.logit_draws import refit_logits
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation_rates import RateMediationSpec, fit_rate_mediation
from ex_cx.models.rate import RateSpec, fit_rate
from ex_cx.results import TIDY

SPEC = RateMediationSpec(outcome="y", exposure="x", mediators=("m",), scale="share")
FLAT = replace(SPEC, unit_means=False, periods=False)


def _rows(n_units=30, n_periods=6, share=1.0, seed=1, binary=False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    unit, period = np.divmod(np.arange(n), n_periods)
    effect = rng.normal(size=n_units)[unit]
    frame = pd.DataFrame({"unit": unit, "period": period, "site": unit // 2})
    frame["x"] = effect / 2 + rng.normal(size=n)
    frame["z"] = rng.normal(size=n)
    frame["m"] = 0.6 * frame["x"] + effect / 2 + rng.normal(size=n)
    frame["k"] = -0.5 * frame["x"] + 0.3 * frame["z"] + rng.normal(size=n)
    frame["n"] = rng.integers(10, 60, size=n)
    odds = -0.5 + 0.4 * frame["x"] + 0.7 * frame["m"] - 0.4 * frame["k"] + 0.2 * effect
    trials = 1 if binary else frame["n"]
    frame["y"] = rng.binomial(trials, expit(odds)) / trials
    return frame[rng.uniform(size=n) < share].reset_index(drop=True)


def _panel(rows, cluster=None) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period", cluster=cluster)


def _fit(rows, spec=SPEC, n_boot=99, seed=0, cluster=None):
    return fit_rate_mediation(
        _panel(rows, cluster), spec, n_boot=n_boot, rng=np.random.default_rng(seed)
    )


def _named(result) -> dict[str, float]:
    return dict(zip(result.terms, result.estimates, strict=True))


def _refit(rows, spec) -> dict[str, float]:
    """Both equations by statsmodels with columns made by hand; the formula written out."""
    weights = rows[spec.denominator] if spec.denominator else pd.Series(1.0, index=rows.index)
    frame, dummies = rows.copy(), " + C(period)" if spec.periods else ""
    terms = [spec.exposure, *spec.mediators, *spec.controls]
    logit = "y ~ " + " + ".join(terms) + dummies
    if spec.unit_means:
        for name in terms:
            sums = (frame[name] * weights).groupby(frame["unit"]).transform("sum")
            frame[f"{name}_mean"] = sums / weights.groupby(frame["unit"]).transform("sum")
            logit += f" + {name}_mean"
        frame["size"] = frame.groupby("unit")["unit"].transform("size").astype(float)
        logit += " + size" if np.ptp(frame["size"]) > 0 else ""
    first = " + ".join([spec.exposure, *spec.controls]) + dummies
    first += " + C(unit)" if spec.unit_means else ""
    glm = smf.glm(logit, frame, family=Binomial(), var_weights=weights.to_numpy())
    outcome = glm.fit(tol=1e-13, maxiter=200)
    odds = np.log(outcome.fittedvalues / (1 - outcome.fittedvalues))
    a = {
        m: smf.wls(f"{m} ~ {first}", frame, weights=weights).fit().params["x"]
        for m in spec.mediators
    }
    low, high = (rows["x"], rows["x"] + 1) if spec.contrast is None else spec.contrast

    def mean_at(own, of_mediators):
        moved = outcome.params["x"] * (own - rows["x"])
        for m in spec.mediators:
            moved = moved + outcome.params[m] * a[m] * (of_mediators - rows["x"])
        return 100 * np.average(expit(odds + moved), weights=weights)

    slope = 100 * np.average(outcome.fittedvalues * (1 - outcome.fittedvalues), weights=weights)
    corner = {
        (i, j): mean_at(p, q) for i, p in enumerate((low, high)) for j, q in enumerate((low, high))
    }
    found = {f"a:{m}": a[m] for m in spec.mediators}
    found |= {f"b:{m}": slope * outcome.params[m] for m in spec.mediators}
    found["pure_direct"] = corner[1, 0] - corner[0, 0]
    found["total_direct"] = corner[1, 1] - corner[0, 1]
    found["pure_indirect"] = corner[0, 1] - corner[0, 0]
    found["total_indirect"] = corner[1, 1] - corner[1, 0]
    found["total"] = corner[1, 1] - corner[0, 0]
    return found


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"denominator": "n"},
        {"contrast": (-1.0, 1.5), "controls": ("z",)},
        {"mediators": ("m", "k"), "controls": ("z",), "denominator": "n"},
        {"unit_means": False},
        {"unit_means": False, "periods": False, "contrast": (0.0, 1.0)},
        {"periods": False},
    ],
)
@pytest.mark.parametrize("share", [1.0, 0.8])
def test_estimates_are_those_of_statsmodels(change, share):
    rows, spec = _rows(share=share), replace(SPEC, **change)
    found = _named(_fit(rows, spec))
    for term, value in _refit(rows, spec).items():
        assert_allclose(found[term], value, rtol=1e-7, err_msg=term)


@pytest.mark.parametrize("share", [1.0, 0.8])
@pytest.mark.parametrize("denominator", [None, "n"])
@pytest.mark.parametrize("cluster", [None, "site"])
def test_every_draw_equals_a_refit_of_the_drawn_rows(cluster, denominator, share):
    # repeats of a cluster under new labels: each a cluster, and a unit, of its own
    rows = _rows(share=share, seed=5)
    spec = replace(SPEC, denominator=denominator, controls=("z",))
    result = _fit(rows, spec, seed=8, cluster=cluster)
    assert result.draws_failed == 0
    # clusters other than the unit are in the order of their labels as text
    labels = sorted(rows[cluster or "unit"].unique(), key=str if cluster else None)
    counts = bootstrap_counts(len(labels), 99, np.random.default_rng(8))
    for drawn, count in list(zip(result.draws, counts, strict=True))[:3]:
        copies = [
            rows[rows[cluster or "unit"] == g].assign(unit=lambda f, c=c: f["unit"] + 100 * c)
            for g, times in zip(labels, count.astype(int), strict=True)
            for c in range(times)
        ]
        named = dict(zip(result.terms, drawn, strict=True))
        for term, value in _refit(pd.concat(copies, ignore_index=True), spec).items():
            assert_allclose(named[term], value, rtol=1e-6, err_msg=term)


def test_refits_under_one_of_each_are_the_fit():
    rows = _rows()
    x = rows[["x", "m"]].to_numpy()
    oracle = sm.GLM(rows["y"], sm.add_constant(x), family=Binomial()).fit(tol=1e-13)
    masses = np.ones((2, len(rows)))
    levels = np.zeros(len(rows), dtype=np.int64)
    coef, base = refit_logits(x, rows["y"].to_numpy(), masses, np.zeros(2), levels)
    assert_allclose(coef, np.tile(oracle.params.to_numpy()[1:], (2, 1)), rtol=1e-8)
    assert_allclose(base[:, 0], oracle.params.to_numpy()[0], rtol=1e-8)


def test_refits_leave_out_periods_that_are_fitted_exactly():
    rows = _rows(binary=True)
    rows.loc[rows["period"] == 2, "y"] = 0.0
    rest = rows[rows["period"] != 2]
    x, levels = rows[["x", "m"]].to_numpy(), rows["period"].to_numpy()
    coef, base = refit_logits(x, rows["y"].to_numpy(), np.ones((1, len(rows))), np.zeros(2), levels)
    oracle = smf.glm("y ~ x + m + C(period)", rest, family=Binomial()).fit(tol=1e-13)
    assert_allclose(coef[0], oracle.params[["x", "m"]], rtol=1e-8)
    assert base[0, 2] == -np.inf
    assert np.isfinite(np.delete(base[0], 2)).all()
    no_rows = np.where(levels == 1, 0.0, 1.0)[None]
    assert np.isnan(refit_logits(x, rows["y"].to_numpy(), no_rows, np.zeros(2), levels)[1][0, 1])


def test_periods_fitted_exactly_count_with_no_effect():
    # statsmodels on the other rows of the logit, all rows of the mediator's equation
    rows = _rows(binary=True)
    rows.loc[rows["period"] == 2, "y"] = 0.0
    result = _fit(rows)
    frame = rows.copy()
    for name in ("x", "m"):
        frame[f"{name}_mean"] = frame.groupby("unit")[name].transform("mean")
    rest = frame[frame["period"] != 2]
    outcome = smf.glm("y ~ x + m + x_mean + m_mean + C(period)", rest, family=Binomial())
    outcome = outcome.fit(tol=1e-13)
    a = smf.ols("m ~ x + C(period) + C(unit)", rows).fit().params["x"]
    odds = np.log(outcome.fittedvalues / (1 - outcome.fittedvalues))
    direct, through = outcome.params["x"], a * outcome.params["m"]
    change = expit(odds + direct + through) - expit(odds)
    named = _named(result)
    assert_allclose(named["a:m"], a, rtol=1e-8)
    assert_allclose(named["total"], 100 * change.sum() / len(rows), rtol=1e-7)
    assert result.n_obs == len(rows)
    assert result.warnings[-1] == (
        f"{len(rows) - len(rest)} rows of 1 period(s) in which the rate is 0 in every row, or 1 in "
        "every row, count with no effect on the rate"
    )


def test_separated_draws_have_no_coefficients():
    x = np.linspace(-1, 1, 40)[:, None]
    y = (x[:, 0] > 0).astype(float)
    y[5] = 1.0  # the one row that overlaps
    masses = np.ones((2, 40))
    masses[1, 5] = 0.0
    coef, _ = refit_logits(x, y, masses, np.zeros(1), np.zeros(40, dtype=np.int64))
    assert np.isfinite(coef[0]).all()
    assert np.isnan(coef[1]).all()


# Outside oracle: statsmodels' mediation (Imai, Keele and Tingley's algorithm 2)


def test_effects_are_those_of_statsmodels_mediation():
    """It draws mediators from a normal around their mean; here the rows' own errors are kept.

    With normal errors both tend to the same integral; what is left is the error of 60 draws of its
    parameters (standard error about 1 point each) and of the errors drawn.
    """
    rows = _rows(n_units=400, n_periods=6, binary=True, seed=3)
    result = _named(_fit(rows, replace(FLAT, contrast=(0.0, 1.0))))
    outcome = sm.GLM.from_formula("y ~ x + m", rows, family=Binomial())
    mediator = sm.OLS.from_formula("m ~ x", rows)
    np.random.seed(0)  # it draws from the global generator
    oracle = Mediation(outcome, mediator, "x", "m").fit(method="parametric", n_rep=60)
    said = oracle.summary()["Estimate"]
    pairs = {
        "pure_indirect": "ACME (control)",
        "total_indirect": "ACME (treated)",
        "pure_direct": "ADE (control)",
        "total_direct": "ADE (treated)",
        "total": "Total effect",
    }
    for ours, theirs in pairs.items():
        assert_allclose(result[ours], 100 * said[theirs], atol=0.5, err_msg=ours)
        assert abs(result[ours]) > 5  # so that half a point tells


# Identities


@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, mediators=("m", "k"), contrast=(-1, 1))])
def test_direct_and_indirect_add_up_in_every_draw(spec):
    result = _fit(_rows(share=0.9), spec, n_boot=199)
    for values in (result.estimates[None], result.draws):
        named = dict(zip(result.terms, values.T, strict=True))
        total = named["total"]
        for one, other in (
            ("direct", "indirect"),
            ("pure_direct", "total_indirect"),
            ("total_direct", "pure_indirect"),
        ):
            assert_allclose(named[one] + named[other], total, rtol=0, atol=1e-10)


def test_last_path_is_the_effect_of_the_rate_regression():
    rows = _rows(share=0.8)
    spec = replace(SPEC, denominator="n", controls=("z",))
    rate = RateSpec(
        outcome="y", exposures=("x", "m"), controls=("z",), scale="share", denominator="n"
    )
    points = fit_rate(_panel(rows), rate).tidy().set_index("term")["estimate"]
    assert_allclose(_named(_fit(rows, spec))["b:m"], points["m"], rtol=1e-9)


def test_small_effects_are_products_of_slopes():
    # one thousandth of a unit: natural effects become derivatives, direct c, indirect a b
    rows = _rows()
    tiny = rows.assign(x=rows["x"] * 1000)
    result = _named(_fit(tiny))
    assert_allclose(result["indirect"], result["a:m"] * result["b:m"], rtol=1e-3)
    assert_allclose(result["pure_indirect"], result["total_indirect"], rtol=2e-3)


def test_percent_and_share_are_one():
    rows = _rows()
    percent = rows.assign(y=100 * rows["y"])
    one, other = _fit(rows), _fit(percent, replace(SPEC, scale="percent"))
    assert_allclose(other.draws, one.draws, rtol=1e-9)


def test_lags_follow_the_calendar():
    rows = _rows(n_units=40, n_periods=9, share=0.9)
    merged = rows[["unit", "period", "y"]]
    for name, by in (("m", 1), ("x", 2)):
        earlier = rows[["unit", "period", name]].assign(period=rows["period"] + by)
        merged = merged.merge(earlier, on=["unit", "period"])
    alone = merged.groupby("unit")["y"].transform("size") == 1
    spec = replace(SPEC, lag_mediator=1, lag_outcome=1)
    result = _fit(rows, spec)
    for term, value in _refit(merged[~alone].reset_index(drop=True), spec).items():
        assert_allclose(_named(result)[term], value, rtol=1e-7, err_msg=term)
    assert result.n_obs + sum(result.lost.values()) == result.rows_in == len(rows)


@pytest.mark.parametrize("seed", [1, 2])
def test_row_order_does_not_matter(seed):
    rows = _rows(share=0.8)
    one, other = _fit(rows), _fit(rows.sample(frac=1, random_state=seed))
    assert_allclose(other.draws, one.draws, rtol=1e-7, atol=1e-9)


def test_the_same_generator_gives_the_same_numbers(monkeypatch):
    rows = _rows()
    one, same = _fit(rows, n_boot=299, seed=3), _fit(rows, n_boot=299, seed=3)
    assert np.array_equal(one.draws, same.draws)
    monkeypatch.setattr("ex_cx.models.mediation_rates_rows._CELLS", 1)  # a draw at a time
    monkeypatch.setattr("ex_cx.estimation.logit_draws._ROWS", 50)
    assert_allclose(_fit(rows, n_boot=120, seed=3).draws, one.draws[:120], rtol=1e-8)


# A known truth


def test_recovers_natural_effects_found_by_brute_force():
    """Counterfactual outcomes of a company of 200,000 rows, by drawing each of its worlds."""
    rng = np.random.default_rng(0)

    def company(n_units, n_periods=8):
        unit, period = np.divmod(np.arange(n_units * n_periods), n_periods)
        effect = rng.normal(size=n_units)[unit]
        x = 0.7 * effect + rng.normal(size=len(unit))
        error = rng.standard_exponential(len(unit)) - 1  # far from normal

        def mediator(x):
            return 0.8 * x + effect + error

        def odds(x, m):
            return -1.5 + 0.5 * x + 0.9 * m

        return unit, period, x, mediator, odds

    _, _, x, mediator, odds = company(25_000)
    world = {
        (i, j): 100 * expit(odds(x + i, mediator(x + j))).mean() for i in (0, 1) for j in (0, 1)
    }
    truth = {
        "pure_direct": world[1, 0] - world[0, 0],
        "total_indirect": world[1, 1] - world[1, 0],
        "total": world[1, 1] - world[0, 0],
    }
    found = {term: [] for term in truth}
    for _ in range(20):
        unit, period, x, mediator, odds = company(150)
        m = mediator(x)
        y = rng.binomial(1, expit(odds(x, m))).astype(float)
        rows = pd.DataFrame({"unit": unit, "period": period, "x": x, "m": m, "y": y})
        named = _named(_fit(rows))
        for term, values in found.items():
            values.append(named[term])
    for term, values in found.items():
        error = np.std(values, ddof=1) / np.sqrt(len(values))
        assert abs(np.mean(values) - truth[term]) < 3.5 * error + 0.1, term


# What it says


def test_tidy_glance_and_warnings():
    result = _fit(_rows(share=0.9), replace(SPEC, denominator="n"), n_boot=199)
    tidy, glance = result.tidy(0.9), result.glance().iloc[0]
    assert tuple(tidy.columns) == TIDY
    row = tidy.set_index("term").loc["indirect"]
    draws = result.draws[:, result.terms.index("indirect")]
    assert_allclose(row["std_error"], draws.std(ddof=1))
    assert draws.min() <= row["conf_low"] < np.quantile(draws, 0.05)
    assert np.quantile(draws, 0.95) < row["conf_high"] <= draws.max()
    assert glance["contrast"] == "own value, one unit more"
    assert "exposure, mediators and outcome are from the same period: order is assumed" in (
        result.warnings
    )
    assert [text for text in result.warnings if "which is approximate (Wooldridge 2019)" in text]
    assert "compares units with each other: no statement about change within a unit" in (
        _fit(_rows(), FLAT).warnings
    )


def _message(kind, rows, spec=SPEC, **options):
    with pytest.raises(kind) as error:
        _fit(rows, spec, **options)
    return str(error.value)


def test_what_it_refuses():
    rows = _rows()
    two = rows.assign(x=(rows["x"] > 0).astype(float))
    assert _message(SpecError, two) == (
        "'x' has two values on the rows used (0 and 1), so one unit more has no meaning. Say "
        "contrast=(0, 1)."
    )
    assert _fit(two, replace(SPEC, contrast=(0, 1))).glance()["contrast"][0] == "0 to 1"
    assert _message(SpecError, rows, replace(SPEC, contrast=(0, 90))).startswith(
        "The contrast sets 'x' to 90; on the rows used it runs from "
    )
    assert _message(SpecError, rows, replace(SPEC, contrast=(1, 1))) == (
        "contrast=(1, 1) is not two different values (from, to) of 'x'."
    )
    assert _message(SpecError, rows, replace(SPEC, mediators="m")) == (
        "mediators and controls are tuples of terms: write ('m',), not 'm'."
    )
    assert _message(SpecError, rows, replace(SPEC, mediators=())) == (
        "The spec names no mediator. Give at least one column in `mediators`."
    )
    assert _message(SpecError, rows, replace(SPEC, mediators=("m^2",))).startswith(
        "'m^2' is a product or a power; the effects of a rate are differences between"
    )
    assert _message(SpecError, rows, replace(SPEC, controls=("x:z",))) == (
        "The controls 'x:z' hold the exposure or a mediator, so they would move along with it. "
        "Leave them out."
    )
    assert _message(SpecError, rows, replace(SPEC, lag_outcome=-1)) == (
        "lag_mediator=0 and lag_outcome=-1 count whole periods forward: use 0 or more."
    )
    assert _message(SpecError, rows.assign(y=rows["y"] * 100)).startswith("1")
    assert "lie outside 0 to 1" in _message(SpecError, rows.assign(y=rows["y"] * 100))
    assert "Did you mean 'm'?" in _message(SpecError, rows, replace(SPEC, mediators=("mm",)))
    assert _message(InferenceError, rows, n_boot=50) == (
        "n_boot=50 draws cannot carry an interval; use at least 99."
    )
    one = replace(SPEC, unit_means=False, periods=False)
    assert _message(InferenceError, rows[rows["unit"] == 0], one) == (
        "A cluster bootstrap needs at least 2 clusters; the rows used have 1. Add units, or "
        "cluster by a finer column."
    )
    lasting = rows.assign(x=rows["unit"].astype(float))
    assert "is a combination of the absorbed effects" in _message(RankError, lasting)
    told = rows.assign(y=(rows["m"] > 0).astype(float))
    assert "(separation" in _message(RankError, told, FLAT)


def test_draws_without_a_maximum_are_counted_or_refused():
    # successes in few clusters: draws without them have an outcome of zero throughout
    rows = _rows(n_units=20, n_periods=6, binary=True)
    rows["y"] = np.where(rows["unit"] < 4, rows["y"], 0.0)
    message = _message(
        InferenceError, rows.assign(y=np.where(rows["unit"] < 2, rows["y"], 0.0)), FLAT
    )
    assert "of 99 draws of 20 clusters the logit has no maximum" in message
    result = _fit(rows, FLAT, n_boot=499)
    assert result.draws_failed > 0
    assert len(result.draws) + result.draws_failed == 499
    assert result.warnings[-1] == (
        f"{result.draws_failed} draws had no maximum of the likelihood and were left out"
    )
