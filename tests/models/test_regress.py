"""Panel regression: by hand, by identities, by invariances, and what it says when it cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from ex_cx.errors import InferenceError, RankError, SpecError
from ex_cx.estimation import moments
from ex_cx.linkage.panel import Panel
from ex_cx.models.compare import COMPARED, compare_estimators, within_bins
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.results import TIDY

SPEC = PanelSpec(outcome="y", exposures=("x",), controls=("z",))
VCOVS = ("unadjusted", "robust", "cluster", "jackknife")
ESTIMATORS = ("pooled", "between", "within", "first_difference")


def _rows(n_units=12, n_periods=6, share=1.0, seed=1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    unit, period = np.divmod(np.arange(n), n_periods)
    effect = 2 * rng.normal(size=n_units)[unit] + rng.normal(size=n_periods)[period]
    frame = pd.DataFrame({"unit": unit, "period": period, "site": unit // 3})
    frame["x"] = effect / 2 + rng.normal(size=n)
    frame["z"] = effect / 3 + rng.normal(size=n)
    frame["y"] = 0.4 * frame["x"] - 0.3 * frame["z"] + effect + rng.normal(size=n)
    frame["w"] = rng.uniform(0.3, 3, size=n)
    return frame[rng.uniform(size=n) < share].reset_index(drop=True)


def _panel(rows, weights=None, cluster=None, provenance=None) -> Panel:
    return Panel.from_frame(
        rows, unit="unit", period="period", weights=weights, cluster=cluster, provenance=provenance
    )


def _fit(rows, spec=SPEC, **roles):
    return fit_panel(_panel(rows, **roles), spec)


def _same(one, other, rtol=1e-10):
    """Coefficients and covariances agree, each relative to the errors it is read against."""
    errors = np.sqrt(np.diag(other.vcov))
    assert_allclose(one.coef / errors, other.coef / errors, rtol=rtol, atol=rtol)
    scale = np.outer(errors, errors)
    assert_allclose(one.vcov / scale, other.vcov / scale, rtol=0, atol=10 * rtol)


# By hand

TWO_UNITS = pd.DataFrame(
    {"unit": list("AAABBB"), "period": [1, 2, 3] * 2, "x": [0.0, 1, 2, 0, 0, 3], "z": 0.0}
).assign(y=[1.0, 2, 6, 5, 6, 10])
ONE = PanelSpec(outcome="y", exposures=("x",), absorb=("unit",))


def test_within_by_hand():
    # x about unit means: -1 0 1 and -1 -1 2, squares 2 + 6; y: -2 -1 3 and -2 -1 3; products 5 + 9
    result = _fit(TWO_UNITS, ONE)
    assert_allclose(result.coef, [14 / 8])
    # residuals y - 1.75 x: -.25 -1 1.25 and -.25 .75 -.5; scores 1.5 and -1.5; CR1 factor
    # G/(G-1) * (n-1)/(n-k-1) = 2 * 5/4
    assert_allclose(result.vcov, [[2 * 5 / 4 * (1.5**2 + 1.5**2) / 8**2]])
    assert result.df_t == 1


def test_pooled_by_hand():
    # mean x 1, mean y 5: x -1 0 1 -1 -1 2, y -4 -3 1 0 1 5: products 4+0+1+0-1+10, squares 8
    assert_allclose(_fit(TWO_UNITS, replace(ONE, estimator="pooled")).coef, [14 / 8])


def test_between_by_hand():
    three = pd.concat([TWO_UNITS, TWO_UNITS.tail(1).assign(unit="C", x=4.0, y=3.0)])
    # unit means of x 1 1 4, of y 3 7 3: about their means -1 -1 2 and -4/3 8/3 -4/3
    result = _fit(three, replace(ONE, estimator="between", vcov="unadjusted"))
    assert_allclose(result.coef, [(4 / 3 - 8 / 3 - 8 / 3) / 6])
    assert result.n_obs == 3
    assert result.df_t == 1


def test_first_difference_by_hand():
    # changes of x 1 1 0 3, of y 1 4 1 4, no constant
    spec = replace(ONE, estimator="first_difference", vcov="unadjusted")
    result = _fit(TWO_UNITS, spec)
    assert_allclose(result.coef, [(1 + 4 + 12) / 11])
    rss = (1 - 17 / 11) ** 2 + (4 - 17 / 11) ** 2 + 1 + (4 - 51 / 11) ** 2
    assert_allclose(result.vcov, [[rss / 3 / 11]])


def test_jackknife_by_hand():
    # without B the slope is 5/2, without A 9/6; the whole 14/8; (G-1)/G = 1/2
    result = _fit(TWO_UNITS, replace(ONE, vcov="jackknife"))
    assert_allclose(result.vcov, [[0.5 * (0.75**2 + 0.25**2)]])


def test_r2_is_the_share_of_the_variance_within():
    # y about unit means: squares 14 + 14; residuals: 0.0625 + 1 + 1.5625 + 0.0625 + 0.5625 + 0.25
    assert_allclose(_fit(TWO_UNITS, ONE).r2, 1 - 3.5 / 28)


def test_lags_follow_the_calendar_after_a_skipped_survey():
    rows = pd.DataFrame({"unit": list("AAAABBBB"), "period": [2018, 2019, 2021, 2022] * 2}).assign(
        x=[1.0, 2, 3, 4, 0, 5, 6, 7], y=[0.0, 1, 9, 3, 0, 2, 8, 1]
    )
    result = _fit(rows, replace(ONE, estimator="pooled", vcov="unadjusted", lag=1))
    # pairs by calendar only: A (1 -> 1), (3 -> 3), B (0 -> 2), (6 -> 1)
    slope = np.polyfit([1, 3, 0, 6], [1, 3, 2, 1], 1)[0]
    assert_allclose(result.coef, [slope])
    assert result.lost == {"missing x (lag 1)": 4}
    assert result.terms == ("x_lag1",)


def test_rows_that_cannot_be_used_are_counted_once_by_reason():
    rows = _rows()
    rows.loc[[0, 1], "y"] = np.nan
    rows.loc[[1, 2], "x"] = np.nan  # row 1 already lost to y
    rows.loc[3, "w"] = 0.0
    rows.loc[4, "w"] = np.nan  # leaves unit 0 with row 5 only
    result = _fit(rows, weights="w")
    assert result.lost == {
        "missing y": 2,
        "missing x": 1,
        "weight missing or zero (w)": 2,
        "only row of its unit": 1,
    }
    assert result.rows_in == 72
    assert result.n_obs == 66
    _same(result, _fit(rows[rows["unit"] > 0], weights="w"))


def test_singletons_are_dropped_until_none_is_left():
    # unit C is seen once, in period 9; without it period 9 holds D alone; then D has one row left
    rows = pd.concat(
        [
            _rows(n_units=4),
            pd.DataFrame(
                {"unit": [90, 91, 91], "period": [9, 9, 2], "x": 1.0, "z": 2.0, "y": [3.0, 4, 5]}
            ),
        ]
    )
    result = _fit(rows)
    assert result.lost == {"only row of its unit": 2, "only row of its period": 1}
    _same(result, _fit(_rows(n_units=4)))


# Identities


@pytest.mark.parametrize("vcov", VCOVS)
@pytest.mark.parametrize("weights", [None, "w"])
def test_absorbing_units_is_subtracting_their_means(vcov, weights):
    rows = _rows(share=0.8)
    mass = rows["w"] if weights else pd.Series(1.0, rows.index)
    total = mass.groupby(rows["unit"]).transform("sum")
    taken = rows.copy()
    for name in ("x", "z", "y"):
        mean = (rows[name] * mass).groupby(rows["unit"]).transform("sum") / total
        taken[name] = rows[name] - mean
    spec = replace(SPEC, absorb=("unit",), vcov=vcov)
    _same(_fit(taken, spec, weights=weights), _fit(rows, spec, weights=weights))


def test_two_periods_first_difference_is_within():
    rows = _rows(n_periods=2)
    within = _fit(rows, replace(SPEC, absorb=("unit", "period")))
    change = _fit(rows, replace(SPEC, estimator="first_difference"))
    assert_allclose(change.coef, within.coef, rtol=1e-11)


def test_within_between_and_pooled_agree_in_the_hybrid_model():
    # y on x_within and x_between, pooled: the within and the between estimates, balanced panel
    panel = _panel(_rows()).with_within_between("x")
    spec = PanelSpec(outcome="y", exposures=("x_within", "x_between"), estimator="pooled")
    both = fit_panel(panel, spec).coef
    within = fit_panel(panel, replace(SPEC, controls=(), absorb=("unit",))).coef
    between = fit_panel(panel, replace(SPEC, controls=(), estimator="between")).coef
    assert_allclose(both, [within[0], between[0]], rtol=1e-11)


def test_one_row_a_cell_repeated_as_weights():
    # weights of 2 everywhere: the same estimates and errors as none
    rows = _rows(share=0.8).assign(w=2.0)
    for vcov in VCOVS:
        spec = replace(SPEC, vcov=vcov)
        _same(_fit(rows, spec, weights="w"), _fit(rows, spec))


def test_a_zero_weight_is_a_dropped_row():
    rows = _rows()
    rows.loc[::5, "w"] = 0.0
    kept = rows[rows["w"] > 0]
    for estimator in ESTIMATORS[:3]:
        spec = replace(SPEC, estimator=estimator)
        _same(_fit(rows, spec, weights="w"), _fit(kept, spec, weights="w"))


@pytest.mark.parametrize("share", [1.0, 0.7])
@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("cluster", [None, "site"])
def test_many_blocks_are_one(monkeypatch, share, weights, cluster):
    rows = _rows(n_units=15, share=share)
    specs = [
        replace(SPEC, vcov=v, absorb=a) for v in VCOVS for a in (("unit", "period"), ("unit",))
    ]
    specs.append(replace(SPEC, estimator="pooled"))
    whole = [_fit(rows, spec, weights=weights, cluster=cluster) for spec in specs]
    monkeypatch.setattr(moments, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(moments, "_KEEP_ROWS", 0)
    monkeypatch.setattr(moments, "_CHUNK_BYTES", 1)
    for spec, expected in zip(specs, whole, strict=True):
        _same(_fit(rows, spec, weights=weights, cluster=cluster), expected, rtol=1e-12)


def test_within_bins_lie_on_the_line_that_is_fitted():
    panel = _panel(_rows(share=0.8))
    result = fit_panel(panel, SPEC)
    bins = within_bins(panel, SPEC, "x", n_bins=10_000)  # a bin a row
    assert (bins["n"] == 1).all()
    assert len(bins) == result.n_obs
    assert_allclose(np.polyfit(bins["exposure"], bins["outcome"], 1)[0], result.coef[0], rtol=1e-10)
    assert_allclose(bins[["exposure", "outcome"]].mean(), panel.frame[["x", "y"]].mean())
    few = within_bins(panel, SPEC, n_bins=7)
    assert few["n"].sum() == result.n_obs
    assert few["n"].max() - few["n"].min() <= 1
    assert few["exposure"].is_monotonic_increasing


@pytest.mark.parametrize("offset", [0.0, 1e5])
@pytest.mark.parametrize("weights", [None, "w"])
def test_a_column_net_of_its_unit_means_has_no_between_estimate(offset, weights):
    rows = _rows(share=0.9)
    if weights:
        rows["w"] = rows["unit"] + 1.0
    x = rows["x"] + offset
    rows["x"] = x - x.groupby(rows["unit"]).transform("mean")  # means are rounding, 1e-17
    with pytest.raises(RankError, match=r"^'x' "):
        _fit(rows, replace(SPEC, estimator="between"), weights=weights)


def test_estimators_side_by_side():
    panel = _panel(_rows(), cluster="site")
    side = compare_estimators(panel, SPEC, ESTIMATORS, conf_level=0.9)
    assert list(side.columns) == [*TIDY, "estimator", "vcov", "n_obs", "n_clusters", "note"]
    for estimator in ESTIMATORS:
        alone = fit_panel(panel, replace(SPEC, estimator=estimator))
        mine = side[side["estimator"] == estimator].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine[list(TIDY)], alone.tidy(0.9))
        assert set(mine["n_obs"]) == {alone.n_obs}
        assert set(mine["n_clusters"]) == {4}
    assert set(side["note"]) == {""}


def test_correlated_random_effects_stand_beside_within_without_their_own_terms():
    side = compare_estimators(_panel(_rows()), SPEC).set_index(["estimator", "term"])
    assert list(dict.fromkeys(side.index.get_level_values(0))) == list(COMPARED)
    assert set(side.index.get_level_values(1)) == {"x", "z"}
    within, random = side.loc["within"], side.loc["correlated_random"]
    assert_allclose(random["estimate"], within["estimate"], rtol=1e-9)  # balanced: Mundlak


def test_an_estimator_that_the_rows_do_not_admit_says_why():
    rows = _rows().query("period % 2 == 0").assign(w=1.0)  # no two periods in a row
    side = compare_estimators(_panel(rows, weights="w"), SPEC).set_index("estimator")
    assert set(side.index[side["estimate"].isna()]) == {"first_difference", "correlated_random"}
    assert set(side.loc["first_difference", "note"]) == {
        (
            f"None of the {len(rows)} rows of the panel can be used ({len(rows)} no row one "
            "period earlier). Check that the columns overlap, and that the lag is shorter than "
            "the panel."
        )
    }
    assert "does not take weights" in side["note"]["correlated_random"].iloc[0]
    assert (side.loc["first_difference", "n_obs"] == 0).all()
    assert (side.loc["within", "note"] == "").all()


def test_the_specs_own_estimator_and_a_wrong_name_still_raise():
    panel = _panel(_rows().query("period % 2 == 0"))
    first = replace(SPEC, estimator="first_difference")
    with pytest.raises(SpecError, match=r"^None of the 36 rows"):
        compare_estimators(panel, first)
    with pytest.raises(SpecError, match=r"^None of the 36 rows"):
        compare_estimators(panel, SPEC, ("first_difference",))
    with pytest.raises(SpecError, match=r"Did you mean 'within'\?$"):
        compare_estimators(panel, SPEC, ("pooled", "withn"))  # type: ignore[arg-type]


@pytest.mark.parametrize("vcov", ["cluster_two_way", "driscoll_kraay", "robust"])
def test_errors_that_an_estimator_does_not_have_are_replaced_and_named(vcov):
    chosen = ("between", "within", "fama_macbeth")
    side = compare_estimators(_panel(_rows()), replace(SPEC, vcov=vcov), chosen)
    kinds = side.drop_duplicates("estimator").set_index("estimator")["vcov"].to_dict()
    assert kinds == {
        "within": vcov,
        "between": vcov if vcov == "robust" else "cluster",
        "fama_macbeth": vcov if vcov == "driscoll_kraay" else "unadjusted",
    }


# Invariances


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    vcov=st.sampled_from(VCOVS),
    absorb=st.sampled_from([("unit",), ("period",), ("unit", "period")]),
    weights=st.sampled_from([None, "w"]),
    cluster=st.sampled_from([None, "site"]),
)
def test_row_order_labels_and_the_calendar_start_do_not_matter(
    seed, vcov, absorb, weights, cluster
):
    rng = np.random.default_rng(seed)
    rows = _rows(share=0.8, seed=seed)
    names = rng.permutation([f"team {chr(65 + i)}" for i in range(12)])
    other = rows.sample(frac=1, random_state=seed).assign(
        unit=lambda f: names[f["unit"]], period=lambda f: f["period"] + 2000
    )
    spec = replace(SPEC, vcov=vcov, absorb=absorb)
    roles = {"weights": weights, "cluster": cluster}
    _same(_fit(other, spec, **roles), _fit(rows, spec, **roles), rtol=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    estimator=st.sampled_from(ESTIMATORS),
    vcov=st.sampled_from(VCOVS),
    x=st.sampled_from([1e-12, 1e-3, 7.0, 1e6]),
    y=st.sampled_from([1e-9, 1.0, 1e8]),
    moved=st.sampled_from([0.0, -3.0, 1e5]),
)
def test_rescaled_and_moved_columns(estimator, vcov, x, y, moved):
    rows = _rows(share=0.9)
    spec = replace(SPEC, estimator=estimator, vcov=vcov)
    before = _fit(rows, spec)
    scaled = rows.assign(x=(rows["x"] + moved) * x, y=(rows["y"] - moved) * y)
    after = _fit(scaled, spec)
    factor = np.array([y / x, y])
    assert_allclose(after.coef, before.coef * factor, rtol=1e-8)
    assert_allclose(after.vcov, before.vcov * np.outer(factor, factor), rtol=1e-8)
    assert_allclose(after.tidy()["p_value"], before.tidy()["p_value"], rtol=1e-7)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([1.0, 100.0]))
def test_anything_constant_in_units_or_common_to_periods_is_taken_out(seed, size):
    rng = np.random.default_rng(seed)
    rows = _rows(share=0.8, seed=seed)
    lift = {
        name: size * (rng.normal(size=12)[rows["unit"]] + rng.normal(size=6)[rows["period"]])
        for name in ("x", "y", "z")
    }
    lifted = rows.assign(**{name: rows[name] + by for name, by in lift.items()})
    for vcov in VCOVS:
        spec = replace(SPEC, vcov=vcov)
        _same(_fit(lifted, spec), _fit(rows, spec), rtol=1e-9)


def test_the_order_of_terms_does_not_matter():
    rows = _rows(share=0.8)
    one = _fit(rows, replace(SPEC, exposures=("x", "z"), controls=()))
    other = _fit(rows, replace(SPEC, exposures=("z", "x"), controls=()))
    assert_allclose(one.coef, other.coef[::-1], rtol=1e-12)
    assert_allclose(one.vcov, other.vcov[::-1, ::-1], rtol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64[pyarrow]", "Float64", "Int64", "int8"])
def test_numbers_of_any_type_are_the_same_numbers(dtype):
    rows = _rows()
    rows["x"] = (rows["x"] * 4).round()
    _same(_fit(rows.astype({"x": dtype})), _fit(rows), rtol=1e-14)


def test_true_and_false_are_one_and_zero():
    rows = _rows()
    flags = rows.assign(x=rows["x"] > 0)
    for dtype in ("bool", "boolean"):
        _same(_fit(flags.astype({"x": dtype})), _fit(flags.astype({"x": float})), rtol=1e-14)


def test_missing_values_of_nullable_columns_are_missing():
    rows = _rows()
    rows["x"] = pd.array((rows["x"] * 4).round(), dtype="Int64")
    rows.loc[[3, 9], "x"] = pd.NA
    result = _fit(rows)
    assert result.lost == {"missing x": 2}
    _same(result, _fit(rows.dropna().astype({"x": float})))


def test_units_may_be_categories_and_periods_text_with_gaps():
    rows = _rows(n_periods=6)
    rows = rows[rows["period"] != 3]
    months = ["2023-11", "2023-12", "2024-01", "", "2024-03", "2024-04"]
    text = rows.assign(
        unit=pd.Categorical(
            rows["unit"].map("u{:02d}".format), categories=[f"u{i:02d}" for i in range(20)]
        ),
        period=rows["period"].map(lambda p: months[p]),
    )
    for lag in (0, 1):
        spec = replace(SPEC, lag=lag)
        _same(_fit(text, spec), _fit(rows, spec), rtol=1e-14)


# Edges that are right


def test_one_degree_of_freedom_is_enough_and_none_is_too_few():
    rows = _rows(n_units=2, n_periods=3, seed=3)
    spec = PanelSpec(outcome="y", exposures=("x",), vcov="unadjusted")
    assert _fit(rows, spec).df_t == 1  # 6 rows, 4 levels, 1 coefficient
    with pytest.raises(InferenceError) as error:
        _fit(rows, replace(spec, controls=("z",)))
    assert str(error.value) == (
        "6 rows cannot carry 2 coefficients and 4 absorbed levels. Add rows, or absorb fewer "
        "effects."
    )


def test_a_perfect_fit_is_exact_and_says_so():
    rows = _rows().assign(y=lambda f: 3 * f["x"])
    result = _fit(rows, replace(SPEC, controls=()))
    assert_allclose(result.coef, [3], rtol=1e-12)
    assert_allclose(result.r2, 1)
    assert result.warnings[-1] == (
        "the terms reproduce the outcome exactly: is one of them the outcome itself?"
    )
    assert "exactly" not in " ".join(_fit(_rows()).warnings)


def test_long_panels_of_few_units():
    rows = _rows(n_units=4, n_periods=300, share=0.9)
    result = _fit(rows, replace(SPEC, vcov="unadjusted"))
    design = np.column_stack(
        [
            rows[["x", "z"]],
            pd.get_dummies(rows["unit"]).to_numpy(float),
            pd.get_dummies(rows["period"], drop_first=True).to_numpy(float),
        ]
    )
    coef, rss = np.linalg.lstsq(design, rows["y"], rcond=None)[:2]
    lost = design[:, 2:].sum(axis=0) == 1  # periods seen once are dropped, at no cost
    assert lost.sum() == sum(result.lost.values())
    assert_allclose(result.coef, coef[:2], rtol=1e-10)
    bread = np.linalg.inv(design.T @ design)[:2, :2]
    assert_allclose(result.vcov, rss / (len(rows) - design.shape[1]) * bread, rtol=1e-9)


def test_result_presents_what_it_stores():
    result = _fit(_rows(share=0.9), weights="w")
    tidy, glance = result.tidy(), result.glance()
    assert tuple(tidy.columns) == TIDY
    assert len(glance) == 1
    assert glance["rows_lost"][0] == result.rows_in - result.n_obs
    assert glance["absorbed"][0] == "unit + period"
    text = result.summary()
    assert "y: within estimates" in text
    assert "95 % intervals" in text
    page = _fit(_rows().rename(columns={"x": "<b>"}), replace(SPEC, exposures=("<b>",)))
    assert "<td>&lt;b&gt;</td>" in page._repr_html_()


def test_conventions_are_stated():
    stated = {v: _fit(_rows(), replace(SPEC, vcov=v)).glance()["convention"][0] for v in VCOVS}
    assert stated == {
        "unadjusted": "unadjusted: rss / (n - k - absorbed levels); t on the same (as fixest)",
        "robust": "HC1: n / (n - k - absorbed levels); t on the same (as fixest)",
        "cluster": "CR1: G/(G-1) * (n-1)/(n - k - k_absorbed), effects nested in clusters cost 1; "
        "t(G-1) (as fixest)",
        "jackknife": "CR3: leave one cluster out, (G-1)/G, all effects re-estimated; t(G-1)",
    }


# Warnings


def test_few_clusters_warn_and_many_do_not():
    few = (
        "12 clusters, fewer than 40: CR1 errors tend to be too small; compare vcov='jackknife' "
        "and `wild_cluster_test`"
    )
    assert _fit(_rows()).warnings == (few,)
    assert _fit(_rows(n_units=40)).warnings == ()
    (careful,) = _fit(_rows(), replace(SPEC, vcov="jackknife")).warnings
    assert careful == "12 clusters, fewer than 40: compare `wild_cluster_test`"


@pytest.mark.parametrize("vcov", ["robust", "unadjusted"])
def test_errors_that_take_rows_as_independent_say_so(vcov):
    (said,) = _fit(_rows(), replace(SPEC, vcov=vcov)).warnings
    assert said == (
        f"{vcov} errors take the rows of a unit as independent, which they seldom are; compare "
        "vcov='cluster'"
    )
    assert _fit(_rows(n_units=40), replace(SPEC, estimator="between", vcov=vcov)).warnings == (
        "compares units with each other: no statement about change within a unit",
    )


def test_comparing_units_is_said():
    said = "compares units with each other: no statement about change within a unit"
    assert said in _fit(_rows(), replace(SPEC, estimator="between")).warnings
    one_wave = _rows(n_units=50, n_periods=2)
    one_wave = one_wave[one_wave["period"] == 0]
    assert _fit(one_wave, replace(SPEC, estimator="pooled")).warnings == (said,)


@pytest.mark.parametrize("exposure", ["x", "x^2", "x:z", "x_lag1", "x_within"])
def test_one_source_on_both_sides_is_said(exposure):
    panel = _panel(_rows(n_units=50), provenance={"x": "staff", "y": "staff", "z": "customers"})
    panel = panel.with_lag("x").with_within_between("x")
    spec = PanelSpec(outcome="y", exposures=(exposure,))
    assert fit_panel(panel, spec).warnings == (
        (
            f"{exposure} and y have one source (staff): their association may be inflated by what "
            "that source brings to both"
        ),
    )
    assert fit_panel(panel, replace(spec, exposures=("z",))).warnings == ()


# Ill-conditioning


def test_nearly_dependent_regressors_are_solved_from_the_rows_and_said():
    rows = _rows(n_units=50)
    rows["z"] = rows["x"] + 1e-5 * rows["z"]
    (warning,) = _fit(rows).warnings
    assert warning.startswith(
        "regressors nearly dependent on each other or on the period effects (condition number "
    )
    number = warning[warning.index("number") :].split(")")[0]
    with pytest.raises(InferenceError) as error:
        _fit(rows, replace(SPEC, vcov="jackknife"))
    assert str(error.value) == (
        "The regressors are nearly dependent on each other or on the period effects (condition "
        f"{number}); refitting without or with repeated clusters is "
        "exact to rounding only below 1e+04. Centre them, drop one, or use vcov='cluster'."
    )


def test_a_square_far_from_zero_equals_the_centred_one():
    # x around 1000: x and x^2 are all but collinear, but span what centred ones span
    rows = _rows(n_units=20).assign(x=lambda f: (f["x"] * 64).round() / 64 + 1000)
    far = _fit(rows, replace(SPEC, exposures=("x", "x^2")))
    near = _fit(rows.assign(x=rows["x"] - 1000), replace(SPEC, exposures=("x", "x^2")))
    turn = np.array([[1.0, -2000, 0], [0, 1, 0], [0, 0, 1]])
    assert_allclose(far.coef, turn @ near.coef, rtol=1e-9)
    assert_allclose(far.vcov, turn @ near.vcov @ turn.T, rtol=1e-8)


# What it says when it cannot


def _message(error_type, rows, spec=SPEC, **roles):
    with pytest.raises(error_type) as error:
        _fit(rows, spec, **roles)
    return str(error.value)


@pytest.mark.parametrize("estimator", ["pooled", "between", "within"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e9 + 0.1])
def test_constant_exposure(estimator, value):
    spec = replace(SPEC, estimator=estimator)
    assert _message(RankError, _rows().assign(x=value), spec) == (
        "'x' is constant on the rows used, so its coefficient is not identified. Drop it from the "
        "spec, or check the filter."
    )


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 + 0.1])
@pytest.mark.parametrize("estimator", ["pooled", "between", "within"])
def test_constant_outcome(estimator, value):
    spec = replace(SPEC, estimator=estimator)
    assert _message(RankError, _rows().assign(y=value), spec) == (
        "The outcome is constant on the rows used, so there is nothing to explain. Check the "
        "filter, or whether the column holds what its name says."
    )


def test_outcome_that_the_effects_explain():
    rows = _rows().assign(y=lambda f: 0.1 * f["unit"] + 0.3 * f["period"])
    assert _message(RankError, rows) == (
        "The outcome is a combination of the absorbed effects (unit and period): it does not vary "
        "within them, so there is nothing to explain. Absorb fewer effects."
    )


@pytest.mark.parametrize(
    ("absorb", "effects"),
    [(("unit",), "unit"), (("unit", "period"), "unit and period"), (("period",), "period")],
)
def test_exposure_that_the_effects_explain(absorb, effects):
    trend = _rows().assign(x=lambda f: 0.1 * f["period" if absorb == ("period",) else "unit"])
    assert _message(RankError, trend, replace(SPEC, absorb=absorb)) == (
        f"'x' is a combination of the absorbed effects ({effects}), so its coefficient is not "
        "identified. Drop it from the spec, or absorb fewer effects."
    )


@pytest.mark.parametrize("share", [1.0, 0.7])
def test_unit_trend_minus_calendar_is_found(share):
    # a sum of both effects, each large: nothing of it is left
    rows = _rows(share=share).assign(x=lambda f: 1e3 * f["unit"] + 0.1 * f["period"])
    assert "'x' is a combination of the absorbed effects" in _message(RankError, rows)


def test_collinear_exposures():
    rows = _rows().assign(v=lambda f: 2 * f["x"] - f["z"] + f["unit"])
    spec = replace(SPEC, controls=("z", "v"))
    assert _message(RankError, rows, spec) == (
        "'v' is a combination of 'x', 'z' once the effects are absorbed, so its coefficient is not "
        "identified. Drop one of them from the spec."
    )
    assert _message(RankError, rows, replace(SPEC, exposures=("x:z", "z:x"))) == (
        "'z:x' is a combination of 'x:z' once the effects are absorbed, so its coefficient is not "
        "identified. Drop one of them from the spec, or centre the columns before they are "
        "multiplied."
    )


def test_columns_that_do_not_exist():
    rows = _rows().rename(columns={"x": "engagement"})
    spec = replace(SPEC, exposures=("engagment",))
    assert _message(SpecError, rows, spec) == (
        "There is no column 'engagment' in the panel. Did you mean 'engagement'? A term is a "
        "column, `a:b` or `a^2`."
    )
    spec = replace(SPEC, exposures=("engagement", "engagment:z"))
    assert _message(SpecError, rows, spec) == (
        "There is no column 'engagment' in the panel (in the term 'engagment:z'). Did you mean "
        "'engagement'? A term is a column, `a:b` or `a^2`."
    )


@pytest.mark.parametrize("term", ["x+z", "np.log(x)", "x^1", "x^12", "x**2", "C(unit)", ""])
def test_terms_are_never_evaluated(term):
    message = _message(SpecError, _rows(), replace(SPEC, exposures=(term,)))
    assert message.startswith(f"There is no column {term!r} in the panel")


def test_text_in_a_model_column():
    rows = _rows().assign(x=lambda f: np.where(f["unit"] == 3, "n/a", "1.5"))
    message = _message(SpecError, rows)
    assert message.startswith("Column 'x' must be numeric to enter a model; its dtype is ")
    assert message.endswith("(first values: '1.5', 'n/a'). Convert it, or leave it out.")


def test_infinite_values():
    rows = _rows()
    rows.loc[[7, 8, 20, 30], "x"] = np.inf
    assert _message(SpecError, rows) == (
        "4 of 72 values of 'x' are infinite (first: '1, 1', '1, 2', '3, 2'). Find what was divided "
        "by zero, and set these to missing or correct them."
    )


def test_products_too_large_to_hold():
    rows = _rows().assign(x=lambda f: f["x"] * 1e100)
    assert _message(SpecError, rows, replace(SPEC, exposures=("x^4",))) == (
        "The term 'x^4' is too large to compute: rescale its columns."
    )


def test_one_unit_one_period():
    assert _message(SpecError, _rows(n_units=1)) == (
        "None of the 6 rows of the panel can be used (6 only row of its period). Absorb fewer "
        "effects, or compare units (estimator='pooled' or 'between')."
    )
    assert _message(SpecError, _rows(n_periods=1)) == (
        "None of the 12 rows of the panel can be used (12 only row of its unit). Absorb fewer "
        "effects, or compare units (estimator='pooled' or 'between')."
    )
    for vcov in ("cluster", "jackknife"):
        spec = replace(SPEC, absorb=("unit",), vcov=vcov)
        message = _message(InferenceError, _rows(n_units=1), spec)
        assert "at least 2 clusters" in message
    assert _message(InferenceError, _rows(n_units=1), replace(SPEC, absorb=("unit",))) == (
        "Clustered errors need at least 2 clusters; the rows used have 1. Add clusters, or choose "
        "vcov='robust' and say why rows are independent."
    )


def test_nothing_left_after_a_lag():
    assert _message(SpecError, _rows(), replace(SPEC, lag=9)) == (
        "None of the 72 rows of the panel can be used (72 missing x (lag 9)). Check that the "
        "columns overlap, and that the lag is shorter than the panel."
    )


def test_too_few_rows_for_clustered_errors():
    rows = _rows(n_units=2, n_periods=3, seed=3).assign(v=lambda f: f["x"] ** 3)
    spec = replace(SPEC, exposures=("x", "v"), absorb=("period",))
    assert _message(InferenceError, rows, spec) == (
        "6 rows cannot carry 3 coefficients and 3 absorbed effects. Add rows, or estimate less."
    )


def test_clusters_must_hold_whole_units():
    rows = _rows()
    rows.loc[[2, 8], "site"] = 99
    assert _message(SpecError, rows, cluster="site") == (
        "2 units are in more than one cluster of 'site' (first: '0', '1'). A cluster must hold "
        "whole units: choose a coarser one, or split these units."
    )


def test_cluster_and_weights_columns():
    assert _message(SpecError, _rows(), replace(SPEC, cluster="sites")) == (
        "There is no cluster column 'sites' in the panel. Did you mean 'site'?"
    )
    rows = _rows()
    rows["site"] = rows["site"].astype("Int64")
    rows.loc[[1, 5], "site"] = pd.NA
    assert _message(SpecError, rows, replace(SPEC, cluster="site")) == (
        "2 of 72 rows used have no value of the cluster 'site'. Fill it in, or leave these rows "
        "out."
    )
    assert _message(SpecError, _rows(), replace(SPEC, weights="ww")) == (
        "There is no weights column 'ww' in the panel. Did you mean 'w'?"
    )
    negative = _rows().assign(w=lambda f: f["w"] - 1)
    assert _message(SpecError, negative, replace(SPEC, weights="w")) == (
        f"{int((negative['w'] < 0).sum())} weights in 'w' are negative."
    )


def test_jackknife_of_an_estimate_that_rests_on_one_cluster():
    # rounding of the constant elsewhere must not pass for variation
    for seed in range(10):
        rows = _rows(seed=seed)
        for constant in (0.1, 5300.0):
            for absorb in (("unit",), ("unit", "period")):
                alone = rows.assign(x=rows["x"].where(rows["unit"] == 3, constant))
                spec = replace(SPEC, vcov="jackknife", absorb=absorb, weights="w")
                assert _message(InferenceError, alone, spec) == (
                    "Without 1 of 12 clusters, left out one at a time, a coefficient is not "
                    "identified: the estimate rests on them alone. Drop that term, or use "
                    "vcov='cluster'."
                )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"exposures": "x"},
            "exposures and controls are tuples of terms: write ('x',), not 'x'.",
        ),
        ({"exposures": ()}, "The spec names no exposure. Give at least one column in `exposures`."),
        (
            {"absorb": "unit"},
            (
                "absorb='unit' is not a tuple of effects. Choose from ('unit', 'period'), "
                "('unit',), ('period',) and ()."
            ),
        ),
        (
            {"exposures": ("x", "z")},
            "The terms name 'z' more than once, or also as the outcome. Name each column once.",
        ),
        (
            {"exposures": ("y",)},
            "The terms name 'y' more than once, or also as the outcome. Name each column once.",
        ),
        (
            {"controls": None},
            (
                "exposures and controls are tuples of terms: write ('x',), not 'x'. controls=None "
                "is none."
            ),
        ),
        ({"outcome": None}, "outcome=None is no name of a column."),
        ({"lag": "1"}, "lag='1' is not a whole number of periods, such as 1."),
        ({"lag": 1.0}, "lag=1.0 is not a whole number of periods, such as 1."),
        (
            {"exposures": ("x", "x:y")},
            (
                "'x:y' holds the outcome 'y' of the same period, so that the outcome would explain "
                "itself. Leave it out, or take it at a lag."
            ),
        ),
        (
            {"lag": 1, "controls": ("y^2",)},
            (
                "'y^2' holds the outcome 'y' of the same period, so that the outcome would explain "
                "itself. Leave it out, or take it at a lag."
            ),
        ),
    ],
)
def test_choices_that_do_not_exist(change, message):
    assert _message(SpecError, _rows(), replace(SPEC, **change)) == message


def test_a_table_is_no_panel():
    with pytest.raises(SpecError, match=r"A Panel is needed, not a DataFrame. Make one by Panel"):
        fit_panel(_rows(), SPEC)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"exposures": ("y",), "lag": 1}, "y_lag1 beside unit effects leans downwards"),
        ({"exposures": ("x", "y_lag2")}, "y_lag2 beside unit effects leans downwards"),
        (
            {"exposures": ("y",), "lag": 1, "estimator": "first_difference"},
            "the change of y_lag1 holds part of the error of the change it explains",
        ),
        ({"exposures": ("y",), "lag": 1, "absorb": ("period",)}, None),
        ({"exposures": ("x",), "lag": 1}, None),
    ],
)
def test_the_outcome_s_own_past_beside_unit_effects_is_told(change, told):
    panel = Panel.from_frame(_rows(), unit="unit", period="period").with_lag("y", 2)
    found = [w for w in fit_panel(panel, replace(SPEC, **change)).warnings if "fit_dynamic" in w]
    assert [w.startswith(told) for w in found] == ([] if told is None else [True])


def test_two_way_errors_say_of_what_there_are_few():
    panel = Panel.from_frame(_rows(n_periods=3), unit="unit", period="period")
    warned = fit_panel(panel, replace(SPEC, vcov="cluster_two_way")).warnings[0]
    assert warned.startswith("3 periods, fewer than 40: ")


@pytest.mark.parametrize(
    ("field", "written", "meant"), [("estimator", "witin", "within"), ("vcov", "robst", "robust")]
)
def test_misspelt_choices_are_named_with_the_nearest(field, written, meant):
    allowed = ", ".join(get_args(get_type_hints(PanelSpec)[field]))
    assert _message(SpecError, _rows(), replace(SPEC, **{field: written})) == (
        f"{field}={written!r} is not one of {allowed}. Did you mean {meant!r}?"
    )


def test_a_lagged_outcome_is_not_the_outcome():
    assert _fit(_rows(), replace(SPEC, exposures=("y",), lag=1)).terms == ("y_lag1", "z")
    assert _fit(_rows(), replace(SPEC, lag=-1)).terms == ("x_lead1", "z")


@pytest.mark.parametrize("conf_level", [0, 1, 95, -0.5, float("nan")])
def test_confidence_levels_are_shares(conf_level):
    with pytest.raises(InferenceError) as error:
        _fit(_rows()).tidy(conf_level)
    assert str(error.value) == (
        f"conf_level={conf_level} is not between 0 and 1. Write 0.95 for 95 % intervals."
    )


def test_bins_of_something_else():
    with pytest.raises(SpecError) as error:
        within_bins(_panel(_rows()), SPEC, "zz")
    assert str(error.value) == "'zz' is not a term of the spec (x, z). Did you mean 'z'?"


def test_the_callers_frame_is_left_alone():
    rows = _rows().sample(frac=1, random_state=0)
    before = rows.copy()
    _fit(rows, weights="w", cluster="site")
    pd.testing.assert_frame_equal(rows, before)


def test_a_result_is_shown_on_one_line():
    shown = repr(_fit(_rows()))
    assert shown == "<PanelResult y: within estimates, 72 rows; .tidy(), .glance(), .summary()>"
