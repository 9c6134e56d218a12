"""Moderation and interaction in mediation: by hand, lavaan, identities, a known truth."""

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
from ex_cx.estimation.inference import bootstrap_counts
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationSpec, fit_mediation
from ex_cx.reporting.compose import mediation_report
from ex_cx.results import TIDY
from ex_cx.robustness.guards import check_mediation_guards

ORACLES = Path(__file__).parents[1] / "oracles"
SPEC = MediationSpec(outcome="y", exposure="x", mediators=("m",))
MODERATED = replace(SPEC, moderator="w", moderated=("a", "b", "direct"))
CROSSED = replace(SPEC, interaction=True)


def _rows(n_units=14, n_periods=6, share=1.0, seed=1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_units * n_periods
    unit, period = np.divmod(np.arange(n), n_periods)
    effect = rng.normal(size=n_units)[unit] + 0.5 * rng.normal(size=n_periods)[period]
    frame = pd.DataFrame({"unit": unit, "period": period, "site": unit // 2, "kind": unit % 2})
    frame["x"] = 3 + effect / 2 + rng.normal(size=n)
    frame["w"] = 5 + effect / 2 + rng.normal(size=n)
    frame["z"] = effect / 3 + rng.normal(size=n)
    frame["m"] = 0.5 * frame["x"] + 0.2 * frame["x"] * frame["w"] + effect + rng.normal(size=n)
    frame["k"] = -0.4 * frame["x"] + rng.normal(size=n)
    frame["y"] = 0.3 * frame["x"] + 0.2 * frame["m"] + 0.1 * frame["m"] * frame["w"]
    frame["y"] += 0.3 * frame["k"] - 0.2 * frame["z"] + effect + rng.normal(size=n)
    frame["v"] = rng.uniform(0.3, 3, size=n)
    return frame[rng.uniform(size=n) < share].reset_index(drop=True)


def _panel(rows, weights=None, cluster=None) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period", weights=weights, cluster=cluster)


def _fit(rows, spec, n_boot=99, seed=0, interval="percentile", **roles):
    rng = np.random.default_rng(seed)
    return fit_mediation(_panel(rows, **roles), spec, n_boot=n_boot, interval=interval, rng=rng)


def _named(result) -> dict[str, float]:
    return dict(zip(result.terms, result.estimates, strict=True))


def _at(frame: pd.DataFrame, term: str) -> np.ndarray:
    return frame.loc[frame["term"] == term, "estimate"].to_numpy()


# Against rows: statsmodels with dummies, products made of columns as they are


def _refit(rows, formula, weights=None) -> pd.Series:
    formula += " + C(unit) + C(period)"
    fit = smf.ols(formula, rows) if weights is None else smf.wls(formula, rows, weights=weights)
    return fit.fit().params


@pytest.mark.parametrize("share", [1.0, 0.75])
@pytest.mark.parametrize("weights", [None, "v"])
@pytest.mark.parametrize(
    "moderated", [("a",), ("b",), ("direct",), ("a", "b"), ("a", "b", "direct")]
)
def test_conditional_effects_are_those_of_rows(moderated, weights, share):
    rows = _rows(share=share)
    spec = replace(MODERATED, mediators=("m", "k"), controls=("z",), moderated=moderated)
    result = _fit(rows, spec, weights=weights)
    mass = None if weights is None else rows["v"]
    first = "x + w + z" + (" + x:w" if "a" in moderated else "")
    a = {name: _refit(rows, f"{name} ~ {first}", mass) for name in ("m", "k")}
    y = _refit(
        rows,
        "y ~ x + w + z + m + k"
        + (" + x:w" if "direct" in moderated else "")
        + (" + m:w + k:w" if "b" in moderated else ""),
        mass,
    )
    at = np.array([3.5, 4.0, 6.0])
    frame = result.conditional(at)
    through = {}
    for name in ("m", "k"):
        a_at = a[name]["x"] + a[name].get("x:w", 0.0) * at
        b_at = y[name] + y.get(f"{name}:w", 0.0) * at
        through[name] = a_at * b_at
        assert_allclose(_at(frame, f"a:{name}"), a_at, rtol=1e-8)
        assert_allclose(_at(frame, f"b:{name}"), b_at, rtol=1e-8)
        assert_allclose(_at(frame, f"indirect:{name}"), through[name], rtol=1e-8)
    direct = y["x"] + y.get("x:w", 0.0) * at
    indirect = through["m"] + through["k"]
    assert_allclose(_at(frame, "direct"), direct, rtol=1e-8)
    assert_allclose(_at(frame, "indirect"), indirect, rtol=1e-8)
    assert_allclose(_at(frame, "total"), direct + indirect, rtol=1e-8)


def test_index_of_moderated_mediation_is_the_slope_of_the_indirect_effect():
    rows = _rows()
    for moderated in (("a",), ("b",), ("a", "b")):
        result = _fit(rows, replace(MODERATED, mediators=("m", "k"), moderated=moderated))
        terms, mean = _named(result), rows["w"].mean()
        low, middle, high = _at(result.conditional([mean - 0.5, mean, mean + 0.5]), "indirect:m")
        assert_allclose(high - low, terms["index:m"], rtol=1e-10)  # exact for a parabola too
        bend = terms.get("curvature:m", 0.0)
        assert_allclose(high + low - 2 * middle, 0.5 * bend, rtol=0, atol=1e-12)
        assert_allclose(terms["index:m"] + terms["index:k"], terms["index"], rtol=1e-12)
        assert_allclose(middle, terms["indirect:m"], rtol=1e-12)
    both = _named(_fit(rows, replace(MODERATED, moderated=("a",))))
    assert_allclose(both["index:m"], both["a_by_moderator:m"] * both["b:m"], rtol=1e-14)


def test_four_parts_are_those_of_rows():
    rows = _rows(share=0.8)
    spec = replace(CROSSED, mediators=("m", "k"), controls=("z",))
    result = _fit(rows, spec, weights="v")
    a = {name: _refit(rows, f"{name} ~ x + z", rows["v"])["x"] for name in ("m", "k")}
    y = _refit(rows, "y ~ x + z + m + k + x:m + x:k", rows["v"])
    mean = {name: np.average(rows[name], weights=rows["v"]) for name in ("x", "m", "k")}
    low, high, held = 2.0, 4.5, {"m": 4.0, "k": -1.0}

    def expected(x, x_of_mediators):
        """Mean outcome up to what both share: y(x, M(x'))."""
        middle = {n: mean[n] + a[n] * (x_of_mediators - mean["x"]) for n in a}
        return y["x"] * x + sum((y[n] + y[f"x:{n}"] * x) * middle[n] for n in a)

    def controlled(x):
        return y["x"] * x + sum((y[n] + y[f"x:{n}"] * x) * held[n] for n in a)

    parts = result.decomposition((low, high), tuple(held.values())).set_index("term")["estimate"]
    pure_direct = expected(high, low) - expected(low, low)
    total_indirect = expected(high, high) - expected(high, low)
    pure_indirect = expected(low, high) - expected(low, low)
    assert_allclose(parts["controlled_direct"], controlled(high) - controlled(low), rtol=1e-8)
    assert_allclose(parts["pure_direct"], pure_direct, rtol=1e-8)
    assert_allclose(parts["total_indirect"], total_indirect, rtol=1e-8)
    assert_allclose(parts["pure_indirect"], pure_indirect, rtol=1e-8)
    assert_allclose(parts["total"], expected(high, high) - expected(low, low), rtol=1e-8)
    assert_allclose(parts["mediated_interaction"], total_indirect - pure_indirect, rtol=1e-7)
    # at the means, one unit up: the terms of the tidy table
    terms, usual = _named(result), result.decomposition().set_index("term")["estimate"]
    assert_allclose(usual["pure_direct"], terms["direct"], rtol=1e-12)
    assert_allclose(usual["total_indirect"], terms["indirect"], rtol=1e-12)
    assert_allclose(usual["total"], terms["total"], rtol=1e-12)
    assert_allclose(usual["reference_interaction"], 0, atol=1e-12)
    assert_allclose(terms["direct"] + terms["indirect"], terms["total"], rtol=1e-12)


def test_natural_effects_of_an_exposure_of_two_values_start_from_the_lower():
    rows = _rows(share=0.8)
    rows["x"] = (rows["x"] > 3.4).astype(float)
    a, y = _refit(rows, "m ~ x")["x"], _refit(rows, "y ~ x * m")
    result = _fit(rows, CROSSED)
    terms, parts = _named(result), result.decomposition().set_index("term")["estimate"]
    without = rows["m"].mean() - a * rows["x"].mean()
    assert_allclose(terms["b:m"], y["m"], rtol=1e-8)
    assert_allclose(terms["direct"], y["x"] + y["x:m"] * without, rtol=1e-8)
    assert_allclose(terms["indirect"], a * (y["m"] + y["x:m"]), rtol=1e-8)
    assert_allclose(parts["pure_direct"], terms["direct"], rtol=1e-10)
    assert_allclose(parts["total_indirect"], terms["indirect"], rtol=1e-10)
    assert_allclose(parts["pure_indirect"], a * y["m"], rtol=1e-8)
    controlled = y["x"] + y["x:m"] * rows["m"].mean()
    assert_allclose(parts["controlled_direct"], controlled, rtol=1e-8)
    assert_allclose(parts["total"], terms["total"], rtol=1e-10)
    scaled = _fit(rows.assign(x=1 + 2 * rows["x"]), CROSSED)  # two values, a step of 2
    same = scaled.decomposition().set_index("term")["estimate"]
    assert_allclose(same, parts, rtol=1e-8, atol=1e-10)


def test_a_moderator_that_grows_by_one_each_period_in_all_units():
    # months since opening: units and periods determine it, its products they do not
    rows = _rows(share=0.8)
    rows["age"] = rows["period"] + (rows["unit"] % 5)
    result = _fit(rows, replace(MODERATED, moderator="age", moderated=("a",)))
    a = _refit(rows, "m ~ x + x:age")
    assert_allclose(_at(result.conditional([2.0]), "a:m"), a["x"] + 2 * a["x:age"], rtol=1e-8)


def _within(rows, column):
    return rows[column] - rows.groupby("unit")[column].transform("mean")


def test_within_products_are_those_of_columns_net_of_unit_means():
    rows = _rows(share=0.8)
    net = rows.assign(xw=_within(rows, "x") * _within(rows, "w"))
    net["mw"] = _within(rows, "m") * _within(rows, "w")
    result = _fit(rows, replace(MODERATED, products="within"))
    a, y = _refit(net, "m ~ x + w + xw"), _refit(net, "y ~ x + w + xw + m + mw")
    at = np.array([-1.0, 0.0, 0.5])  # deviations from the unit's own mean
    frame = result.conditional(at)
    assert_allclose(_at(frame, "a:m"), a["x"] + a["xw"] * at, rtol=1e-8)
    assert_allclose(_at(frame, "b:m"), y["m"] + y["mw"] * at, rtol=1e-8)
    assert_allclose(_at(frame, "direct"), y["x"] + y["xw"] * at, rtol=1e-8)
    net["xm"] = _within(rows, "x") * _within(rows, "m")
    crossed = _fit(rows, replace(CROSSED, products="within"))
    y = _refit(net, "y ~ x + m + xm")
    terms = _named(crossed)
    assert_allclose(
        [terms["direct"], terms["b:m"], terms["interaction:m"]], y[["x", "m", "xm"]], rtol=1e-8
    )


def test_lags_of_products_follow_the_calendar():
    # x and w two periods before, m one period before the outcome
    rows = _rows(n_units=25, n_periods=9, share=0.9)
    merged = rows[["unit", "period", "y"]]
    for name, by in (("m", 1), ("x", 2), ("w", 2)):
        earlier = rows[["unit", "period", name]].assign(period=rows["period"] + by)
        merged = merged.merge(earlier, on=["unit", "period"])
    spec = replace(MODERATED, lag_mediator=1, lag_outcome=1)
    result = _fit(rows, spec)
    a, y = _refit(merged, "m ~ x * w"), _refit(merged, "y ~ x * w + m + m:w")
    frame = result.conditional([4.0, 5.0])
    assert_allclose(_at(frame, "a:m"), a["x"] + a["x:w"] * np.array([4.0, 5.0]), rtol=1e-8)
    assert_allclose(_at(frame, "b:m"), y["m"] + y["m:w"] * np.array([4.0, 5.0]), rtol=1e-8)
    assert_allclose(_at(frame, "direct"), y["x"] + y["x:w"] * np.array([4.0, 5.0]), rtol=1e-8)
    crossed = _named(_fit(rows, replace(CROSSED, lag_mediator=1, lag_outcome=1)))
    merged = merged.drop(columns="w").dropna()
    y = _refit(merged, "y ~ x * m")
    assert_allclose(crossed["interaction:m"], y["x:m"], rtol=1e-8)


# Against lavaan


@pytest.fixture(scope="module")
def lavaan():
    return json.loads((ORACLES / "conditional_paths.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def soldiers() -> Panel:
    rows = pd.read_csv(ORACLES / "conditional_paths.csv")
    rows["row"] = rows.groupby("GRP").cumcount()
    return Panel.from_frame(rows, unit="GRP", period="row")


ARMY = MediationSpec(outcome="WBEING", exposure="HRS", mediators=("COHES",), absorb=("unit",))


@pytest.mark.parametrize("products", ["raw", "within"])
@pytest.mark.parametrize("model", ["a", "b", "all"])
def test_conditional_indirect_effects_are_those_of_lavaan(soldiers, lavaan, model, products):
    # products="within" refers to deviations from the group's mean, as the script does
    moderated = {"a": ("a",), "b": ("b",), "all": ("a", "b", "direct")}[model]
    spec = replace(ARMY, moderator="LEAD", moderated=moderated, products=products)
    result = fit_mediation(soldiers, spec, n_boot=99, rng=np.random.default_rng(0))
    at = lavaan["at" if products == "raw" else "within_at"]
    said = lavaan[products][model]
    frame = result.conditional(at)
    assert_allclose(_at(frame, "indirect:COHES"), [said[f"i{j}"] for j in (1, 2, 3)], rtol=1e-9)
    assert_allclose(_at(frame, "direct"), [said[f"direct{j}"] for j in (1, 2, 3)], rtol=1e-9)
    terms = _named(result)
    for ours, theirs in (("index:COHES", "index"), ("curvature:COHES", "curvature")):
        if theirs in said:
            assert_allclose(terms[ours], said[theirs], rtol=1e-9)
    assert ("index" in said) or ("curvature" in said)


def test_four_parts_are_those_of_lavaan(soldiers, lavaan):
    spec = replace(ARMY, interaction=True)
    result = fit_mediation(soldiers, spec, n_boot=99, rng=np.random.default_rng(0))
    frame = result.decomposition(tuple(lavaan["exposure"]), (lavaan["mediator"],))
    parts = frame.set_index("term")["estimate"]
    for term in (
        "controlled_direct",
        "reference_interaction",
        "mediated_interaction",
        "pure_indirect",
    ):
        # lavaan iterates, here with products that are not centred
        assert_allclose(parts[term], lavaan["crossed"][term], rtol=1e-7)


# Identities and draws


def test_total_is_that_of_the_equation_without_mediators():
    # with a and direct moderated, the outcome's equation holds all regressors of the mediator's
    rows = _rows(share=0.8)
    result = _fit(rows, replace(MODERATED, moderated=("a", "direct"), controls=("z",)))
    y = _refit(rows, "y ~ x * w + z")
    at = np.array([4.0, 5.0, 6.0])
    assert_allclose(_at(result.conditional(at), "total"), y["x"] + y["x:w"] * at, rtol=1e-8)


@pytest.mark.parametrize("spec", [MODERATED, replace(MODERATED, products="within"), CROSSED])
@pytest.mark.parametrize("cluster", [None, "site"])
def test_every_draw_equals_a_refit_of_the_drawn_rows(spec, cluster):
    # factors centred at the constants of all rows; repeats are clusters of their own
    rows = _rows(share=0.8, seed=5)
    result = _fit(rows, spec, seed=8, cluster=cluster)
    assert result.draws_failed == 0
    made = rows.copy()
    for name in ("x", "m", "w"):
        within = spec.products == "within"
        made[f"{name}c"] = _within(rows, name) if within else rows[name] - rows[name].mean()
    labels = np.sort(rows[cluster or "unit"].unique())
    counts = bootstrap_counts(len(labels), 99, np.random.default_rng(8))
    for drawn, count in list(zip(result.draws, counts, strict=True))[:3]:
        copies = [
            made[made[cluster or "unit"] == g].assign(unit=lambda f, c=c: f["unit"] + 100 * c)
            for g, times in zip(labels, count.astype(int), strict=True)
            for c in range(times)
        ]
        drawn_rows = pd.concat(copies, ignore_index=True)
        named = dict(zip(result.terms, drawn, strict=True))
        if spec.interaction:
            a, y = _refit(drawn_rows, "m ~ x"), _refit(drawn_rows, "y ~ x + m + xc:mc")
            assert_allclose(named["interaction:m"], y["xc:mc"], rtol=1e-7)
            assert_allclose(named["indirect"], a["x"] * (y["m"] + y["xc:mc"]), rtol=1e-7)
        else:
            a = _refit(drawn_rows, "m ~ x + w + xc:wc")
            y = _refit(drawn_rows, "y ~ x + w + m + xc:wc + mc:wc")
            assert_allclose(named["a_by_moderator:m"], a["xc:wc"], rtol=1e-7, atol=1e-9)
            assert_allclose(named["b_by_moderator:m"], y["mc:wc"], rtol=1e-7, atol=1e-9)
            assert_allclose(named["indirect"], a["x"] * y["m"], rtol=1e-7, atol=1e-9)
        assert_allclose(named["direct"], y["x"], rtol=1e-7)


@pytest.mark.parametrize("spec", [replace(MODERATED, moderated=("a",)), CROSSED])
def test_a_moved_origin_changes_no_effect(spec):
    rows = _rows(share=0.8)
    moved = rows.assign(x=rows["x"] + 40, m=rows["m"] - 7, w=rows["w"] + 100)
    one, other = _fit(rows, spec), _fit(moved, spec)
    assert_allclose(other.draws, one.draws, rtol=1e-6, atol=1e-8)
    if spec.interaction:
        frames = one.decomposition((2, 3), (4,)), other.decomposition((42, 43), (-3,))
    else:
        frames = one.conditional([4, 5]), other.conditional([104, 105])
    assert_allclose(frames[1]["estimate"], frames[0]["estimate"], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("interval", ["percentile", "bca", "monte_carlo"])
def test_conditional_intervals_are_those_of_the_terms(interval):
    # at the mean of the moderator the conditional effects are the terms themselves
    rows = _rows(n_units=20)
    result = _fit(rows, MODERATED, n_boot=499, interval=interval)
    tidy = result.tidy(0.9).set_index("term")
    frame = result.conditional([rows["w"].mean()], conf_level=0.9).set_index("term")
    assert tuple(result.conditional().columns[:8]) == TIDY
    for term in ("a:m", "b:m", "direct", "indirect:m", "indirect", "total"):
        columns = ["estimate", "std_error", "p_value", "conf_low", "conf_high"]
        assert_allclose(
            frame.loc[term, columns].astype(float), tidy.loc[term, columns].astype(float), rtol=1e-9
        )
    crossed = _fit(rows, CROSSED, n_boot=499, interval=interval)
    tidy = crossed.tidy(0.9).set_index("term").loc["indirect"]
    parts = crossed.decomposition(conf_level=0.9).set_index("term").loc["total_indirect"]
    assert_allclose(parts[list(TIDY[1:7])].astype(float), tidy[list(TIDY[1:7])].astype(float))


def test_bands_hold_at_all_values_at_once():
    result = _fit(_rows(n_units=40), MODERATED, n_boot=1999)
    frame = result.conditional()
    assert (frame["band_low"] <= frame["conf_low"] + 1e-12).all()
    assert (frame["band_high"] >= frame["conf_high"] - 1e-12).all()
    # one value: the band is the interval, up to the step between two draws
    one = result.conditional([5.0]).set_index("term").loc["indirect"]
    gap = (one["conf_high"] - one["conf_low"]) / 50
    assert abs(one["band_low"] - one["conf_low"]) < gap
    assert abs(one["band_high"] - one["conf_high"]) < gap


# A known truth


def test_raw_and_within_products_against_a_known_truth():
    """Units with high w respond more strongly (a lasting difference), changes of w do nothing.

    The slope of m on x is 0.5 + 0.4 (unit's mean of w): within units the moderator has no effect,
    so a_by_moderator is 0; products of raw columns take the difference between units for it.
    """
    found = {"raw": [], "within": []}
    for seed in range(30):
        rng = np.random.default_rng(seed)
        unit, period = np.divmod(np.arange(60 * 8), 8)
        lasting = rng.normal(size=60)[unit]
        rows = pd.DataFrame({"unit": unit, "period": period})
        rows["w"] = lasting + rng.normal(size=len(rows))
        rows["x"] = rng.normal(size=len(rows))
        rows["m"] = (0.5 + 0.4 * lasting) * rows["x"] + rng.normal(size=len(rows))
        rows["y"] = 0.6 * rows["m"] + rng.normal(size=len(rows))
        for products, values in found.items():
            spec = replace(MODERATED, moderated=("a",), products=products)
            values.append(_named(_fit(rows, spec))["index:m"])
    error = np.std(found["within"], ddof=1) / np.sqrt(30)
    assert abs(np.mean(found["within"])) < 3.5 * error
    # raw: the share of w's variance that is lasting, 1/2, of 0.4 * 0.6
    error = np.std(found["raw"], ddof=1) / np.sqrt(30)
    assert_allclose(np.mean(found["raw"]), 0.12, atol=3.5 * error + 0.005)


def test_both_kinds_of_products_recover_one_slope_for_all():
    """m = (0.5 + 0.3 w) x, whether w moves between or within units; index 0.3 * 0.6."""
    found = {"raw": [], "within": []}
    for seed in range(30):
        rng = np.random.default_rng(seed)
        unit, period = np.divmod(np.arange(60 * 8), 8)
        rows = pd.DataFrame({"unit": unit, "period": period})
        effect = rng.normal(size=60)[unit]
        rows["w"] = effect + rng.normal(size=len(rows))
        rows["x"] = effect + rng.normal(size=len(rows))
        rows["m"] = (0.5 + 0.3 * rows["w"]) * rows["x"] + effect + rng.normal(size=len(rows))
        rows["y"] = 0.6 * rows["m"] + effect + rng.normal(size=len(rows))
        for products, values in found.items():
            spec = replace(MODERATED, moderated=("a",), products=products)
            values.append(_named(_fit(rows, spec))["index:m"])
    for values in found.values():
        assert_allclose(np.mean(values), 0.18, atol=3.5 * np.std(values, ddof=1) / np.sqrt(30))
    assert np.std(found["raw"]) < np.std(found["within"])  # what it buys: precision


# What it says


def test_a_moderator_that_does_not_change_within_units():
    rows = _rows()
    result = _fit(rows, replace(MODERATED, moderator="kind", moderated=("a", "b")))
    assert result.conditional()["moderator"].unique().tolist() == [0, 1]
    assert (
        "kind does not change within units: how paths differ along it compares units with each "
        "other"
    ) in result.warnings
    separate = [
        _refit(rows, "m ~ x + x:kind")["x"],
        _refit(rows, "m ~ x + x:kind")[["x", "x:kind"]].sum(),
    ]
    assert_allclose(_at(result.conditional(), "a:m"), separate, rtol=1e-8)
    with pytest.raises(SpecError) as error:
        _fit(rows, replace(MODERATED, moderator="kind", products="within"))
    assert str(error.value) == (
        "products='within' multiplies changes within units, and 'kind' is the same in all rows of "
        "each unit. Use products='raw'."
    )


def test_raw_products_are_warned_of():
    said = [text for text in _fit(_rows(), MODERATED).warnings if text.startswith("products")]
    assert len(said) == 1
    assert said[0].endswith("of its variance) enter their coefficients; compare products='within'")
    for spec in (replace(MODERATED, products="within"), replace(MODERATED, absorb=("period",))):
        assert not [text for text in _fit(_rows(), spec).warnings if text.startswith("products")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"moderator": "w"},
            (
                "The spec names a moderator but no path that it moderates. Give both, e.g. "
                "moderator='w', moderated=('a',)."
            ),
        ),
        (
            {"moderated": ("a",)},
            (
                "The spec names paths but no moderator that it moderates. Give both, e.g. "
                "moderator='w', moderated=('a',)."
            ),
        ),
        (
            {"moderator": "w", "moderated": "a"},
            (
                "moderated='a' is not a tuple of paths. Choose from 'a' (exposure to mediators), "
                "'b' (mediators to outcome) and 'direct', e.g. ('a',) or ('a', 'b')."
            ),
        ),
        (
            {"moderator": "ww", "moderated": ("a",)},
            (
                "There is no column 'ww' in the panel. Did you mean 'w'? A term is a column, `a:b` "
                "or `a^2`."
            ),
        ),
        (
            {"moderator": "x", "moderated": ("a",)},
            (
                "'x' has more than one role in the spec. Give each column one of outcome, "
                "exposure, mediator, control, moderator."
            ),
        ),
        (
            {"moderator": "w", "moderated": ("a",), "interaction": True},
            (
                "A moderator beside exposure-mediator interaction is not offered: each natural "
                "effect would be a curve of both. Ask for one of them at a time."
            ),
        ),
        (
            {"interaction": True, "structure": "serial", "mediators": ("m", "k")},
            (
                "A moderator, or exposure-mediator interaction, is offered for parallel "
                "mediators. Use structure='parallel', or one mediator."
            ),
        ),
        (
            {"interaction": True, "products": "within", "absorb": ("period",)},
            (
                "products='within' multiplies changes within units; the spec does not absorb unit "
                "effects. Add 'unit' to absorb, or use products='raw'."
            ),
        ),
        (
            {"products": "within"},
            "products='within' needs products: a moderator, or interaction=True.",
        ),
        (
            {"products": "Within", "interaction": True},
            "products='Within' is not one of raw, within. Did you mean 'within'?",
        ),
    ],
)
def test_choices_that_do_not_go_together(change, message):
    with pytest.raises(SpecError) as error:
        _fit(_rows(), replace(SPEC, **change))
    assert str(error.value) == message


def test_questions_that_the_spec_did_not_ask():
    plain, moderated, crossed = (_fit(_rows(), spec) for spec in (SPEC, MODERATED, CROSSED))
    for result in (plain, crossed):
        with pytest.raises(SpecError, match=r"^This mediation has no moderator\. Name one in"):
            result.conditional()
    for result in (plain, moderated):
        with pytest.raises(SpecError, match=r"^This mediation has no exposure-mediator interact"):
            result.decomposition()
    with pytest.raises(SpecError, match=r"^This looks at one exposure at a time; the spec has 2"):
        _fit(_rows(), replace(CROSSED, exposure=("x", "z")))
    with pytest.raises(SpecError, match=r"^2 of 3 values of the moderator 'w' lie outside those"):
        moderated.conditional([-50, 5, 60])
    for wrong in ((2, 90), (2,), (2, np.nan)):
        with pytest.raises(
            SpecError, match=r"is not two different values \(from, to\) of 'x' within those"
        ):
            crossed.decomposition(wrong)
    with pytest.raises(SpecError, match="Column 'site' must be numeric"):
        _fit(_rows().assign(site="A"), replace(MODERATED, moderator="site"))
    holed = _rows().assign(w=lambda f: f["w"].where(f.index % 9 > 0))
    assert _fit(holed, MODERATED).lost["missing w"] == holed["w"].isna().sum()
    with pytest.raises(SpecError, match=r"does not give one number for each of 1 mediators \(m\)"):
        crossed.decomposition((2, 3), (1, 2))


def test_a_moderator_that_the_other_terms_determine():
    rows = _rows().assign(kind=1.0)
    with pytest.raises(RankError, match="is constant on the rows used"):
        _fit(rows, replace(MODERATED, moderator="kind", moderated=("a",)))


def test_glance_guards_and_reports_tell_of_products():
    rows = _rows(n_units=20)
    panel = _panel(rows)
    for spec, told in (
        (MODERATED, "a, b, direct moderated by w (factors as they are)"),
        (
            replace(CROSSED, products="within"),
            "exposure-mediator interaction (factors net of unit means)",
        ),
        (SPEC, ""),
    ):
        result = _fit(rows, spec)
        assert result.glance()["depends_on"][0] == told
        guards = check_mediation_guards(panel, spec, result)
        other = guards.set_index("guard").loc["Reversed order", "finding"]
        assert ("fitted without products" in other) == bool(told)
        page = mediation_report(result, guards, title="t")
        method = " ".join(page.method)
        assert ("Paths that depend on w" in method) == (spec is MODERATED)
        assert ("products of exposure and mediators" in method) == spec.interaction
