"""Mediation from a printed matrix: lavaan, PROCESS as printed, rows that have the matrix, slips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose

from ex_cx.errors import InferenceError, SpecError
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationSpec, fit_mediation
from ex_cx.models.published import fit_mediation_from_covariance
from ex_cx.results import TIDY

ORACLE = json.loads(
    (Path(__file__).parents[1] / "oracles" / "sensitivity_lavaan.json").read_text(encoding="utf-8")
)
MEDIA = pd.DataFrame(ORACLE["media"], ORACLE["columns"], ORACLE["columns"])
KERCKHOFF = pd.DataFrame(ORACLE["kerckhoff"], ORACLE["names"], ORACLE["names"])
NAMES = ["x", "m", "k", "z", "y"]
SMALL = pd.DataFrame([[1, 0.4, 0.3], [0.4, 1, 0.5], [0.3, 0.5, 1]], list("xmy"), list("xmy"))


def fit(matrix, n, *, seed=0, **roles):
    roles = {"exposure": "x", "mediators": ["m"], "outcome": "y"} | roles
    return fit_mediation_from_covariance(matrix, n, rng=np.random.default_rng(seed), **roles)


def media(mediators, **more):
    roles = {"exposure": "cond", "mediators": mediators, "outcome": "reaction"}
    return fit(MEDIA, 123, **roles, **more)


def serial(**more):
    return fit(
        KERCKHOFF,
        767,
        exposure="Intelligence",
        mediators=["Grades", "EducExp"],
        outcome="OccupAsp",
        controls=["Siblings", "FatherEd", "FatherOcc"],
        structure="serial",
        **more,
    )


def _least_squares_errors(run, regressors, n):
    """lavaan's errors (variances over n) as those of least squares (over n - k - 1)."""
    vcov = np.array(run["vcov"])
    scale = [np.sqrt(n / (n - regressors[name] - 1)) for name in run["order"]]
    scaled = pd.DataFrame(vcov * np.outer(scale, scale), run["order"], run["order"])
    return pd.Series({row["label"]: row["est"] for row in run["paths"]}), scaled


def test_simple_mediation_as_lavaan():
    est, vcov = _least_squares_errors(ORACLE["simple"], {"a": 1, "b": 2, "direct": 2}, 123)
    found = media(["pmi"]).tidy().set_index("term")
    terms = ["a:pmi", "b:pmi", "direct"]
    assert_allclose(found.loc[terms, "estimate"], est[["a", "b", "direct"]], rtol=1e-7)
    assert_allclose(found.loc[terms, "std_error"], np.sqrt(np.diag(vcov)), rtol=1e-6)
    assert_allclose(found.loc["indirect", "estimate"], est["indirect"], rtol=1e-7)
    sobel = np.sqrt(est["b"] ** 2 * vcov.loc["a", "a"] + est["a"] ** 2 * vcov.loc["b", "b"])
    assert_allclose(found.loc["indirect", "std_error"], sobel, rtol=1e-6)


def test_two_parallel_mediators_as_lavaan():
    """Errors of the sum hold the covariance of the two a."""
    ks = {"a1": 1, "a2": 1, "b1": 3, "b2": 3, "direct": 3}
    est, vcov = _least_squares_errors(ORACLE["two"], ks, 123)
    found = media(["pmi", "import"]).tidy().set_index("term")
    pairs = {
        "a:pmi": "a1",
        "a:import": "a2",
        "b:pmi": "b1",
        "b:import": "b2",
        "direct": "direct",
        "indirect:pmi": "ind1",
        "indirect:import": "ind2",
        "indirect": "indirect",
        "total": "total",
    }
    assert_allclose(found.loc[list(pairs), "estimate"], est[list(pairs.values())], rtol=1e-6)
    slope = pd.Series(
        {"a1": est["b1"], "a2": est["b2"], "b1": est["a1"], "b2": est["a2"], "direct": 0.0}
    )[vcov.columns]
    assert_allclose(found.loc["indirect", "std_error"] ** 2, slope @ vcov @ slope, rtol=1e-5)


def test_serial_mediation_of_a_printed_matrix_as_lavaan():
    ks = {"a1": 4, "a2": 5, "d": 5, "b1": 6, "b2": 6, "direct": 6}
    est, vcov = _least_squares_errors(ORACLE["serial"], ks, 767)
    found = serial().tidy().set_index("term")
    pairs = {
        "a:Grades": "a1",
        "a:EducExp": "a2",
        "b:Grades": "b1",
        "b:EducExp": "b2",
        "d:Grades->EducExp": "d",
        "direct": "direct",
    }
    assert_allclose(found.loc[list(pairs), "estimate"], est[list(pairs.values())], rtol=1e-6)
    errors = np.sqrt(pd.Series(np.diag(vcov), vcov.index))
    assert_allclose(found.loc[list(pairs), "std_error"], errors[list(pairs.values())], rtol=1e-5)
    chain = "indirect:Grades->EducExp"
    assert_allclose(found.loc[chain, "estimate"], est["ind12"], rtol=1e-6)
    slope = pd.Series(0.0, vcov.index)
    slope["a1"], slope["d"] = est["d"] * est["b2"], est["a1"] * est["b2"]
    slope["b2"] = est["a1"] * est["d"]
    assert_allclose(found.loc[chain, "std_error"] ** 2, slope @ vcov @ slope, rtol=1e-5)


def test_process_as_printed():
    """PROCESS 2.10 for SAS on the standardised media data: 0.3609, 0.1784, 2.0234, p 0.0452."""
    sd = np.sqrt(np.diag(MEDIA))
    scaled = MEDIA / np.outer([1, *sd[1:]], [1, *sd[1:]])
    roles = {"exposure": "cond", "mediators": ["import", "pmi"], "outcome": "reaction"}
    row = fit(scaled, 123, **roles).tidy().set_index("term").loc["a:import"]
    numbers = ["estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high"]
    printed = [0.3609, 0.1784, 2.0234, 0.0452, 0.0078, 0.7141]
    assert row[numbers].astype(float).round(4).tolist() == printed


def _sample(n=80, seed=3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["x", "z"])
    frame["m"] = 0.5 * frame["x"] + frame["z"] + rng.normal(size=n)
    frame["k"] = 0.4 * frame["m"] - frame["x"] + rng.normal(size=n)
    frame["y"] = 3 * frame["m"] + 2 * frame["k"] + frame["x"] + 4 * rng.normal(size=n)
    return frame


@pytest.mark.parametrize("structure", ["parallel", "serial"])
def test_the_rows_behind_the_matrix_give_the_same(structure):
    rows = _sample()
    roles = {"mediators": ("m", "k"), "controls": ("z",), "structure": structure}
    found = fit(rows.cov(), 80, **roles).tidy().set_index("term")
    panel = Panel.from_frame(
        rows.assign(unit=np.arange(80), period=1), unit="unit", period="period"
    )
    spec = MediationSpec(outcome="y", exposure="x", absorb=(), **roles)
    usual = fit_mediation(panel, spec, n_boot=99, rng=np.random.default_rng(0))
    assert found.index.tolist() == list(usual.terms)
    estimates = fit(rows.cov(), 80, **roles).estimates
    assert_allclose(estimates, usual.estimates, rtol=1e-9)
    ols = sm.OLS(rows["y"], sm.add_constant(rows[["x", "z", "m", "k"]])).fit()
    for term, name in {"direct": "x", "b:m": "m", "b:k": "k"}.items():
        numbers = found.loc[term, list(TIDY[1:7])].astype(float)
        expected = [ols.params[name], ols.bse[name], ols.tvalues[name], ols.pvalues[name]]
        assert_allclose(numbers, [*expected, *ols.conf_int().loc[name]], rtol=1e-8)
    total = sm.OLS(rows["y"], sm.add_constant(rows[["x", "z"]])).fit()
    assert_allclose(found.loc["total", "std_error"], total.bse["x"], rtol=1e-9)


def test_standard_deviations_turn_correlations_into_covariances():
    rows = _sample()
    roles = {"mediators": ["m", "k"], "controls": ["z"]}
    one = fit(rows.cov(), 80, **roles)
    exact = rows.corr() * (1 + 1e-13)  # ones up to rounding are ones
    other = fit(exact, 80, sd=rows.std().to_dict(), **roles)
    assert_allclose(other.estimates, one.estimates, rtol=1e-8)
    assert_allclose(other.errors, one.errors, rtol=1e-8)
    assert not other.standardised
    plain = fit(exact, 80, **roles)
    assert plain.standardised
    factor = rows["x"].std() / rows["y"].std()
    at = plain.terms.index("indirect")
    assert_allclose(plain.estimates[at], one.estimates[at] * factor, rtol=1e-8)


def test_direct_plus_indirect_is_total_in_estimate_and_draws():
    result = serial()
    at = {term: i for i, term in enumerate(result.terms)}
    for values in (result.estimates[None], result.draws):
        total = values[:, at["direct"]] + values[:, at["indirect"]]
        assert_allclose(total, values[:, at["total"]], rtol=1e-10, atol=1e-12)


def test_draws_have_the_errors_and_the_products_known_moments():
    """Standard deviation of the draws; var(ab) of independent normals is known exactly."""
    result = media(["pmi"], n_draws=200_000)
    at = {term: i for i, term in enumerate(result.terms)}
    a, b, ab = at["a:pmi"], at["b:pmi"], at["indirect"]
    spread = result.draws.std(axis=0)
    assert_allclose(spread[[a, b]], result.errors[[a, b]], rtol=0.01)
    exact = np.sqrt(
        (result.estimates[b] * result.errors[a]) ** 2
        + (result.estimates[a] * result.errors[b]) ** 2
        + (result.errors[a] * result.errors[b]) ** 2
    )
    assert_allclose(spread[ab], exact, rtol=0.01)


def test_products_have_monte_carlo_intervals_beside_their_delta_error():
    row = media(["pmi"]).tidy().set_index("term").loc["indirect"]
    assert np.isnan(row["statistic"])
    middle = (row["conf_low"] + row["conf_high"]) / 2
    assert middle > row["estimate"]  # skewed, as products are
    assert 0 < row["p_value"] < 1
    assert row["std_error"] > 0


def test_rounding_range_holds_every_matrix_that_would_be_printed_alike():
    rows = _sample(seed=11)
    exact = rows[["x", "m", "y"]].corr().to_numpy(copy=True)
    np.fill_diagonal(exact, 1.0)
    names = ["x", "m", "y"]
    result = fit(pd.DataFrame(exact.round(2), names, names), 80, decimals=2)
    truth = fit(pd.DataFrame(exact, names, names), 80).estimates
    frame = result.rounding
    assert (frame["lowest"] <= frame["estimate"]).all()
    assert ((frame["lowest"] <= truth) & (truth <= frame["highest"])).all()


def test_rounding_range_of_a_single_correlation_by_hand():
    """a of a simple mediation is the correlation itself: 0.40 may be 0.395 to 0.405."""
    frame = fit(SMALL, 200, decimals=2).rounding.set_index("term")
    assert_allclose(frame.loc["a:m", ["lowest", "highest"]].astype(float), [0.395, 0.405])
    assert not frame["changes_sign"].any()


def test_rounding_that_turns_a_sign_is_warned_of():
    weak = SMALL.copy()
    weak.loc["x", "m"] = weak.loc["m", "x"] = 0.003
    result = fit(weak, 200, decimals=2)
    assert any("turn the sign" in text for text in result.warnings)
    assert "independent" in result.glance()["warnings"].iloc[0]


def test_nearly_dependent_variables_are_warned_of_and_a_full_matrix_is_not_rounded():
    close = pd.DataFrame(
        [[1, 0.996, 0.5], [0.996, 1, 0.51], [0.5, 0.51, 1]], list("xmy"), list("xmy")
    )
    assert any("data can have" in text for text in fit(close, 200, decimals=2).warnings)
    full = fit(_sample()[["x", "m", "y"]].cov(), 80)
    assert not any("printed to" in text for text in full.warnings)
    given = fit(SMALL, 200, sd=pd.Series({"x": 2.0, "m": 1.0, "y": 4.0}))
    assert_allclose(given.estimates[0], 0.4 / 2)


def test_decimals_are_read_off_the_entries():
    assert fit(SMALL, 200).decimals == 1
    assert fit(KERCKHOFF, 767, exposure="Intelligence", mediators=["Grades"],
               outcome="OccupAsp").decimals == 3  # fmt: skip
    assert fit(SMALL, 200, decimals=3).decimals == 3


@pytest.mark.parametrize("half", [np.tril, np.triu])
def test_one_triangle_is_enough(half):
    blank = SMALL.where(half(np.ones((3, 3))).astype(bool))
    assert_allclose(fit(blank, 200).estimates, fit(SMALL, 200).estimates)


def test_order_of_rows_and_unnamed_rows_do_not_matter():
    expected = fit(SMALL, 200).estimates
    assert_allclose(fit(SMALL.loc[["y", "x", "m"], ["m", "y", "x"]], 200).estimates, expected)
    assert_allclose(fit(SMALL.reset_index(drop=True), 200).estimates, expected)


def test_tidy_and_repr():
    result = fit(SMALL, 200)
    assert tuple(result.tidy().columns) == TIDY
    assert "matrix of 200 rows" in repr(result)
    again = fit(SMALL, 200)
    pd.testing.assert_frame_equal(result.tidy(), again.tidy())


def _with(i, j, value, *, both=True):
    changed = SMALL.copy()
    changed.loc[i, j] = value
    if both:
        changed.loc[j, i] = value
    return changed


NOT_DEFINITE = pd.DataFrame(
    [[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]], list("xmy"), list("xmy")
)


@pytest.mark.parametrize(
    ("matrix", "roles", "words"),
    [
        (_with("x", "m", 0.5, both=False), {}, "not symmetric: x and m"),
        (_with("x", "m", np.nan), {}, "no number for 'm and x'|no number for 'x and m'"),
        (_with("x", "m", 1.2), {}, "correlate 1.2"),
        (_with("x", "x", 0.0), {}, "not positive"),
        (NOT_DEFINITE, {}, "not positive definite"),
        (SMALL.rename(columns={"x": "w"}), {}, "named differently"),
        (SMALL, {"exposure": "w"}, "has no 'w'"),
        (SMALL, {"mediators": "m"}, "lists of names"),
        (SMALL, {"mediators": []}, "No mediator"),
        (SMALL, {"mediators": ["x"]}, "more than one role"),
        (SMALL, {"structure": "paralel"}, "Did you mean 'parallel'"),
        (SMALL, {"sd": {"x": 1.0}}, "sd has no"),
        (SMALL, {"sd": {"x": 1.0, "m": 0.0, "y": 2.0}}, "positive numbers"),
        (_with("x", "x", 2.0), {"sd": {"x": 1.0, "m": 1.0, "y": 2.0}}, "not all ones"),
        (SMALL, {"decimals": -1}, "decimals=-1"),
        (SMALL, {"decimals": 2.5}, "decimals=2.5"),
        (SMALL.iloc[:2], {}, "square"),
        (SMALL.set_axis(["x", "x", "y"], axis=1), {}, "more than once"),
        (SMALL.astype(object).replace(0.5, ".50**"), {}, "holds text"),
    ],
)
def test_slips_are_told(matrix, roles, words):
    with pytest.raises(SpecError, match=words):
        fit(matrix, 200, **roles)


@pytest.mark.parametrize(("n", "words"), [(3, "cannot carry"), (-5, "cannot carry")])
def test_too_few_rows(n, words):
    with pytest.raises(InferenceError, match=words):
        fit(SMALL, n)


def test_n_is_a_whole_number_and_draws_are_enough():
    with pytest.raises(SpecError, match="whole number"):
        fit(SMALL, 200.5)
    with pytest.raises(InferenceError, match="at least 999"):
        fit(SMALL, 200, n_draws=10)
    with pytest.raises(InferenceError, match="between 0 and 1"):
        fit(SMALL, 200).tidy(95)


def test_variables_that_do_not_correlate_have_paths_of_zero():
    alone = pd.DataFrame(np.eye(3), list("xmy"), list("xmy"))
    frame = fit(alone, 200).tidy().set_index("term")
    assert (frame.loc[["a:m", "b:m", "indirect", "total"], "estimate"] == 0).all()
    assert frame.loc["indirect", "conf_low"] < 0 < frame.loc["indirect", "conf_high"]


def test_the_smallest_n_that_can_be():
    assert np.isfinite(fit(SMALL, 4).errors[:3]).all()


def test_a_proportion_is_no_share_where_signs_differ():
    turned = fit(_with("x", "y", -0.3), 200).tidy().set_index("term")
    assert np.isnan(turned.loc["proportion_mediated", "estimate"])
