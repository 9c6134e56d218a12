"""Slips in a call of the mediation verbs: refused with the reason, never with a bare TypeError."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ex_cx import (
    MediationSpec,
    Panel,
    RateMediationSpec,
    check_mediation_confounding,
    compare_levels,
    e_value,
    fit_mediation,
    fit_mediation_from_covariance,
    fit_rate_mediation,
    mediation_omitted_bounds,
    mediation_sensitivity,
    mediational_e_values,
)
from ex_cx.errors import InferenceError, RankError, SpecError
from ex_cx.estimation.inference import expanded_level

SPEC = MediationSpec(outcome="y", exposure="x", mediators=("m",))
RATE = RateMediationSpec(outcome="q", exposure="x", mediators=("m",), scale="share")


def _rows(n_units: int = 20) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = n_units * 6
    rows = pd.DataFrame({"unit": np.repeat(np.arange(n_units), 6), "period": np.arange(n) % 6})
    rows["half"] = rows["unit"] // (n_units // 2)
    rows["x"] = rng.normal(size=n)
    rows["m"] = 0.5 * rows["x"] + rng.normal(size=n)
    rows["y"] = 0.4 * rows["m"] + rng.normal(size=n)
    rows["q"] = 1 / (1 + np.exp(-rows["y"]))
    rows["lasting"] = rows["unit"] * 1.0
    return rows


def _panel(rows: pd.DataFrame | None = None) -> Panel:
    return Panel.from_frame(_rows() if rows is None else rows, unit="unit", period="period")


def _rng() -> np.random.Generator:
    return np.random.default_rng(1)


SLIPS = [
    ({"lag_mediator": "1"}, "lag_mediator='1', lag_serial=0 and lag_outcome=0 count whole periods"),
    ({"lag_mediator": 1.5}, "lag_mediator=1.5, "),
    ({"lag_outcome": True}, "and lag_outcome=True count whole periods"),
    ({"structure": "serial", "lag_serial": 1}, "or a single one, form no chain"),
    ({"absorb": None}, "absorb=None is not a tuple of effects"),
    ({"absorb": ("unit", "unit")}, r"absorb=\('unit', 'unit'\) is not a tuple of effects"),
    ({"mediators": None}, "mediators and controls are tuples of terms"),
    ({"controls": None}, "mediators and controls are tuples of terms"),
    ({"mediators": (1,)}, "'1' is not the name of a column"),
    ({"exposure": None}, "exposure=None is not a column or a tuple of columns"),
    ({"moderated": None}, "moderated=None is not a tuple of paths"),
    ({"interaction": "no"}, "interaction='no' is not True or False"),
    ({"mediators": ("y^2",)}, r"'y\^2' holds the outcome 'y' of the same period"),
    ({"controls": ("y:m",), "lag_outcome": 1}, "'y:m' holds the outcome 'y' of the same period"),
]


@pytest.mark.parametrize(("change", "words"), SLIPS)
def test_slips_in_the_spec(change, words):
    with pytest.raises(SpecError, match=words):
        fit_mediation(_panel(), replace(SPEC, **change), n_boot=99, rng=_rng())


def test_the_outcome_of_an_earlier_period_may_be_a_mediator():
    spec = replace(SPEC, mediators=("y^2",), lag_outcome=1)
    assert fit_mediation(_panel(), spec, n_boot=99, rng=_rng()).n_obs == 100


@pytest.mark.parametrize("verb", [fit_mediation, compare_levels, mediation_sensitivity])
def test_draws_and_generators_that_are_none(verb):
    for n_boot in (99.5, "99", True, float("nan")):
        with pytest.raises(InferenceError, match="is not a whole number of draws"):
            verb(_panel(), SPEC, n_boot=n_boot, rng=_rng())
    for rng in (None, 7, np.random.RandomState(1)):
        with pytest.raises(InferenceError, match="is no generator of random numbers"):
            verb(_panel(), SPEC, n_boot=99, rng=rng)
    with pytest.raises(SpecError, match="The rows are a DataFrame, not a Panel"):
        verb(_rows(), SPEC, n_boot=99, rng=_rng())


@pytest.mark.parametrize("interval", ["percentile", "bca", "monte_carlo"])
def test_two_clusters_end_at_the_outermost_draws_and_say_so(interval):
    # t on one degree of freedom puts the tails beyond any draw: Phi(-12.7 sqrt(c))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fit_mediation(
            _panel(), replace(SPEC, cluster="half"), n_boot=199, interval=interval, rng=_rng()
        )
        found = result.tidy().set_index("term").loc["b:m"]
    assert 0 < expanded_level(0.95, 2, 2.0) < 1
    assert "no number of draws mends that" in "; ".join(result.warnings)
    at = result.terms.index("b:m")
    if interval != "bca":  # whose tails, moved for bias, may be missing
        assert found["conf_low"] == pytest.approx(result.draws[:, at].min())
        assert found["conf_high"] == pytest.approx(result.draws[:, at].max())
    assert found["p_value"] > 0.05


def test_few_clusters_of_a_rate_and_of_a_sensitivity_say_that_tails_are_not_reached():
    words = "99 draws do not reach the tails of 95 % intervals for 5 clusters"
    rows = _rows().assign(half=lambda f: f["unit"] // 4)
    few, many = _panel(rows), _panel()
    rate = replace(RATE, cluster="half")
    assert words in "; ".join(fit_rate_mediation(few, rate, n_boot=99, rng=_rng()).warnings)
    assert words not in "; ".join(fit_rate_mediation(many, RATE, n_boot=999, rng=_rng()).warnings)
    spec = replace(SPEC, cluster="half")
    glance = mediation_sensitivity(few, spec, n_boot=99, rng=_rng()).glance()
    assert words in glance["warnings"][0]
    glance = mediation_sensitivity(many, SPEC, n_boot=999, rng=_rng()).glance()
    assert "do not reach" not in glance["warnings"][0]


def test_slips_in_a_rate():
    def refused(change, error, words, **options):
        with pytest.raises(error, match=words):
            fit_rate_mediation(
                _panel(), replace(RATE, **change), **({"n_boot": 99, "rng": _rng()} | options)
            )

    refused({"lag_mediator": "1"}, SpecError, "lag_mediator='1' and lag_outcome=0 count whole")
    refused({"lag_outcome": 0.5}, SpecError, "lag_outcome=0.5 count whole periods")
    refused({"contrast": ("a", "b")}, SpecError, "is not two different values")
    refused({"mediators": ("lasting",)}, RankError, "Equation of the mediator 'lasting': ")
    refused({}, InferenceError, "is not a whole number of draws", n_boot=99.5)
    refused({}, InferenceError, "is no generator", rng=5)


def test_values_at_which_effects_are_asked_for():
    panel = _panel()
    crossed = fit_mediation(panel, replace(SPEC, interaction=True), n_boot=99, rng=_rng())
    for options, words in (
        ({"exposure": ("a", "b")}, "does not hold numbers"),
        ({"exposure": (1, 1)}, "is not two different values"),
        ({"mediators": ("a",)}, "does not hold numbers"),
        ({"mediators": (99,)}, r"1 of 1 mediators are held .* rows used: 'm=99 \("),
    ):
        with pytest.raises(SpecError, match=words):
            crossed.decomposition(**options)
    moderated = replace(SPEC, moderator="q", moderated=("a",), outcome="y")
    with pytest.raises(SpecError, match="does not hold numbers"):
        fit_mediation(panel, moderated, n_boot=99, rng=_rng()).conditional(["a"])


def test_mediators_are_held_within_deviations_where_products_are_made_of_them():
    rows = _rows()
    rows["m"] += 100 * rows["unit"]
    spec = replace(SPEC, interaction=True, products="within")
    result = fit_mediation(_panel(rows), spec, n_boot=99, rng=_rng())
    deviations = rows["m"] - rows.groupby("unit")["m"].transform("mean")
    result.decomposition(mediators=(deviations.max(),))
    with pytest.raises(SpecError, match="beyond those of the rows used"):
        result.decomposition(mediators=(rows["m"].max(),))


def test_e_values_of_another_panel_and_of_changes_that_do_not_occur():
    result = fit_mediation(_panel(), SPEC, n_boot=99, rng=_rng())
    with pytest.raises(SpecError, match="n_obs is 60, there 120; n_units is 10, there 20"):
        mediational_e_values(_panel(_rows().query("unit < 10")), result)
    for change in ("a", 0, np.nan):
        with pytest.raises(SpecError, match="of the exposure is none"):
            mediational_e_values(_panel(), result, change=change)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SpecError, match="where a risk ratio means nothing"):
            mediational_e_values(_panel(), result, change=1e300)
    with pytest.raises(SpecError, match="risk_ratio='a' is not a positive number"):
        e_value("a")


def test_guards_and_bounds_pass_a_slip_on():
    # a slip is no finding about the data, so it may not become a caution
    for spec, options, error in (
        (replace(SPEC, mediators=("x",)), {}, SpecError),
        (SPEC, {"rng": None}, InferenceError),
        (SPEC, {"n_boot": 5}, InferenceError),
    ):
        with pytest.raises(error):
            check_mediation_confounding(_panel(), spec, **({"n_boot": 99, "rng": _rng()} | options))
    with pytest.raises(SpecError, match="r2_term='a' and"):
        mediation_omitted_bounds(_panel(), SPEC).adjusted("b:m", "a", 0.1)


def test_slips_beside_a_printed_matrix():
    def refused(words, names=("x", "m", "y"), error=SpecError, **change):
        names = list(names)
        matrix = pd.DataFrame([[1, 0.4, 0.3], [0.4, 1, 0.5], [0.3, 0.5, 1]], names, names)
        roles = {"exposure": "x", "mediators": ["m"], "outcome": "y", "rng": _rng()} | change
        with pytest.raises(error, match=words):
            fit_mediation_from_covariance(matrix, 200, **roles)

    refused("'a->b' holds '->'", ("x", "a->b", "y"), mediators=["a->b"])
    refused("mediators and controls are lists of names", mediators=None)
    refused("mediators and controls are lists of names", controls=None)
    refused("is not a name", exposure=["x"])
    refused("does not say whose it is", sd=[1, 2, 3])
    refused("sd holds what is no number", sd={"x": 1, "m": "a", "y": 1})
    refused("n_draws=999.5 cannot carry", n_draws=999.5, error=InferenceError)
    refused("is no generator", rng=3, error=InferenceError)
