"""The guards of a mediation: each fires where it must, and says why in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import InferenceError, SpecError
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationResult, MediationSpec, fit_mediation
from ex_cx.robustness.direction import reversed_order, swapped_spec
from ex_cx.robustness.findings import number, told
from ex_cx.robustness.guards import check_mediation_guards

from .panels import SOURCES

SPEC = MediationSpec(outcome="y", exposure="x", mediators=("m",), lag_mediator=1, lag_outcome=1)
GUARDS = [
    "Order in time",
    "Reversed order",
    "Each path clear",
    "One source for both sides",
    "Enough clusters",
    "Draws that failed",
    "Variation within units",
    "Measured in every period",
    "Rows lost",
]


def draw_chain(
    *, n_units: int = 60, n_periods: int = 14, a: float = 0.6, b: float = 0.6, back: float = 0.0
) -> Panel:
    """m_t = a x_t-1 + back y_t-1 + noise; y_t = b m_t-1 + noise; w is a second, idle mediator."""
    rng = np.random.default_rng(13)
    x, noise_m, noise_y, w = rng.normal(size=(4, n_units, n_periods))
    m, y = noise_m.copy(), noise_y.copy()
    for t in range(1, n_periods):
        m[:, t] += a * x[:, t - 1] + back * y[:, t - 1]
        y[:, t] += b * m[:, t - 1]
    units, periods = np.divmod(np.arange(n_units * n_periods), n_periods)
    values = {"x": x, "m": m, "y": y, "w": w}
    frame = pd.DataFrame({name: column.ravel() for name, column in values.items()})
    frame = frame.assign(unit=units, period=periods)
    labels = SOURCES | {"w": "audits"}
    return Panel.from_frame(frame, unit="unit", period="period", provenance=labels)


def fit(panel: Panel, spec: MediationSpec = SPEC) -> MediationResult:
    return fit_mediation(panel, spec, n_boot=399, rng=np.random.default_rng(21))


def guards(panel: Panel, spec: MediationSpec = SPEC) -> pd.DataFrame:
    return check_mediation_guards(panel, spec, fit(panel, spec)).set_index("guard")


@pytest.fixture(scope="module")
def clean() -> Panel:
    return draw_chain()


def test_nothing_fires_on_a_clean_chain(clean):
    found = check_mediation_guards(clean, SPEC, fit(clean))
    assert list(found) == ["guard", "finding", "verdict"]
    assert found["guard"].tolist() == GUARDS
    assert found["verdict"].drop(index=8).tolist() == ["clear"] * 8, found["finding"].tolist()
    assert found["verdict"][8] == "clear"


def test_the_words_of_a_clean_chain_hold_the_numbers_of_the_models(clean):
    result = fit(clean)
    words = check_mediation_guards(clean, SPEC, result).set_index("guard")["finding"]
    assert words["Order in time"] == "m is taken 1 period after x, y 1 period after m."
    a, b, product = (row for _, row in reversed_order(clean, SPEC).iterrows())
    assert words["Reversed order"] == (
        f"x -> y -> m: {told(a)} times {told(b)} is {number(product['estimate'])}, not clear in "
        "both paths. 95 % intervals."
    )
    tidy = result.tidy().set_index("term")
    assert words["Each path clear"] == (
        f"x -> m {told(tidy.loc['a:m'])}, m -> y {told(tidy.loc['b:m'])}. 95 % intervals."
    )
    assert words["One source for both sides"] == (
        "Different sources: y from customers, x from employees, m from supervisors."
    )
    assert words["Enough clusters"].startswith("60 clusters (by leverage worth ")
    assert words["Enough clusters"].endswith(" for x).")
    assert words["Draws that failed"] == "All 399 draws of clusters identify every path."
    assert words["Rows lost"] == (
        "720 of 840 rows are used, 120 (14.3 %) are not: 120 missing x (lag 2)."
    )


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (0, 0, "m is taken in the same period as x, y in the same period as m"),
        (2, 0, "m is taken 2 periods after x, y in the same period as m"),
        (0, 1, "m is taken in the same period as x, y 1 period after m"),
    ],
)
def test_one_period_for_cause_and_effect_is_an_assumed_order(clean, first, second, words):
    row = guards(clean, replace(SPEC, lag_mediator=first, lag_outcome=second)).loc["Order in time"]
    assert row["finding"] == f"{words}: the order is assumed, not observed."
    assert row["verdict"] == "caution"


def test_lags_in_column_names_count_as_lags(clean):
    lagged = clean.with_lag("x", 2).with_lag("m", 1)
    spec = MediationSpec(outcome="y", exposure="x_lag2", mediators=("m_lag1",))
    row = guards(lagged, spec).loc["Order in time"]
    assert row["verdict"] == "clear"
    assert row["finding"] == "m_lag1 is taken 1 period after x_lag2, y 1 period after m_lag1."


def test_a_chain_is_judged_by_all_its_steps_and_its_own_lags(clean):
    # k follows m by a period and moves nothing: paths through k are unclear in their last step
    frame = clean.with_lag("m", 1).frame
    rng = np.random.default_rng(8)
    frame = frame.assign(k=0.6 * frame["m_lag1"] + rng.normal(size=len(frame)))
    panel = Panel.from_frame(frame, unit="unit", period="period")
    spec = replace(SPEC, mediators=("m", "k"), structure="serial", lag_serial=1, lag_outcome=1)
    result = fit(panel, spec)
    words = check_mediation_guards(panel, spec, result).set_index("guard")
    assert words.loc["Order in time", "finding"] == (
        "m is taken 1 period after x, y 2 periods after m; "
        "k is taken 2 periods after x, y 1 period after k."
    )
    tidy = result.tidy().set_index("term")
    steps = [
        f"x -> m {told(tidy.loc['a:m'])}",
        f"m -> k {told(tidy.loc['d:m->k'])}",
        f"k -> y {told(tidy.loc['b:k'])}",
    ]
    assert ", ".join(steps) in words.loc["Each path clear", "finding"]
    assert "m -> k not distinguished" not in words.loc["Each path clear", "finding"]
    assert "k -> y not distinguished from zero" in words.loc["Each path clear", "finding"]
    for mediator, lags in (("m", (1, 2)), ("k", (2, 1))):
        swapped = swapped_spec(panel, spec, mediator)
        assert (swapped.lag_mediator, swapped.lag_outcome) == lags
        assert (swapped.structure, swapped.lag_serial) == ("parallel", 0)


def test_several_exposures_are_judged_one_at_a_time(clean):
    panel = Panel.from_frame(
        clean.frame.assign(v=np.random.default_rng(2).normal(size=len(clean.frame))),
        unit="unit",
        period="period",
    )
    spec = replace(SPEC, exposure=("x", "v"))
    with pytest.raises(SpecError) as error:
        check_mediation_guards(panel, spec, fit(panel, spec))
    assert str(error.value) == (
        "This looks at one exposure at a time; the spec has 2 (x, v). Make the others controls "
        "(lagged by Panel.with_lag where the spec has lags), e.g. dataclasses.replace(spec, "
        "exposure='x', controls=(*spec.controls, 'v'))."
    )


def test_within_one_period_the_other_order_fits_as_well(clean):
    frame = clean.frame
    rng = np.random.default_rng(5)
    m = 0.6 * frame["x"] + rng.normal(size=len(frame))
    now = Panel.from_frame(
        frame.assign(m=m, y=0.6 * m + rng.normal(size=len(frame))), unit="unit", period="period"
    )
    row = guards(now, replace(SPEC, lag_mediator=0, lag_outcome=0)).loc["Reversed order"]
    assert row["finding"].endswith(
        ": clear too, and within one period the data cannot tell the orders apart. 95 % intervals."
    )
    assert row["verdict"] == "caution"


@pytest.mark.parametrize(("b", "back", "verdict"), [(0.8, 0.2, "caution"), (0.2, 0.8, "limits")])
def test_an_outcome_that_moves_the_mediator_sets_off_the_other_order(b, back, verdict):
    panel = draw_chain(b=b, back=back)
    direct = panel.frame["y"] + 0.8 * panel.with_lag("x").frame["x_lag1"].fillna(0)
    panel = replace(panel, frame=panel.frame.assign(y=direct))
    row = guards(panel).loc["Reversed order"]
    forward = fit(panel).tidy().set_index("term").loc["b:m", "estimate"]
    backward = reversed_order(panel, SPEC)["estimate"][1]
    spread = panel.describe().set_index("column")["sd_within"]
    ratio = number(abs(backward / forward) * (spread["y"] / spread["m"]) ** 2)
    assert row["finding"].endswith(
        f": clear too, its last path {ratio} times that claimed in standard deviations. "
        "95 % intervals."
    )
    assert row["verdict"] == verdict


def test_a_path_that_is_not_clear_is_named(clean):
    both = guards(clean, replace(SPEC, mediators=("m", "w"))).loc["Each path clear"]
    assert both["finding"].startswith("x -> w ")
    assert ": x -> w and w -> y not distinguished from zero; x -> m " in both["finding"]
    assert both["verdict"] == "caution"
    alone = guards(clean, replace(SPEC, mediators=("w",))).loc["Each path clear"]
    assert alone["finding"].startswith("No way is clear in both steps. x -> w ")
    assert alone["verdict"] == "limits"


def test_mediator_and_outcome_of_one_source(clean):
    shared = replace(clean, provenance=SOURCES | {"m": "customers"})
    row = guards(shared).loc["One source for both sides"]
    assert row["finding"] == (
        "m and y have one source (customers): their association may be inflated by what that "
        "source brings to both."
    )
    assert row["verdict"] == "limits"


@pytest.mark.parametrize(("n_units", "verdict"), [(30, "caution"), (10, "limits")])
def test_few_clusters_behind_the_draws(n_units, verdict):
    row = guards(draw_chain(n_units=n_units)).loc["Enough clusters"]
    assert row["finding"].startswith(f"{n_units} clusters (by leverage worth ")
    assert row["verdict"] == verdict


@pytest.mark.parametrize(
    ("failed", "verdict", "count", "end"),
    [
        (1, "clear", "1 of 999 draws (0.1 %)", "."),
        (20, "caution", "20 of 999 draws (2.0 %)", ": the intervals are likely too short."),
        (80, "limits", "80 of 999 draws (8.0 %)", ": the paths rest on few clusters."),
    ],
)
def test_draws_that_failed_are_counted(clean, failed, verdict, count, end):
    result = replace(fit(clean), n_boot=999, draws_failed=failed)
    found = check_mediation_guards(clean, SPEC, result).set_index("guard")
    words = f"{count} do not identify every path and are left out{end}"
    assert found.loc["Draws that failed"].tolist() == [words, verdict]


def test_without_unit_effects_variation_within_units_is_not_asked(clean):
    found = guards(clean, replace(SPEC, absorb=("period",)))
    assert found.index.tolist() == [name for name in GUARDS if name != "Variation within units"]


def test_an_order_that_cannot_be_fitted_is_a_caution(clean):
    spec = MediationSpec(outcome="y", exposure="x", mediators=("m_lag1",))
    found = guards(clean.with_lag("m"), spec)
    for name in ("Order in time", "Reversed order"):
        assert found.loc[name, "finding"] == (
            "Could not be checked on these rows: By its lagged columns the spec puts 'x' -1 "
            "periods before 'm_lag1' and that 1 before 'y': neither may be negative."
        )
        assert found.loc[name, "verdict"] == "caution"


def test_a_level_is_a_share(clean):
    message = "^conf_level=2 is not between 0 and 1. For 95 % intervals use 0.95.$"
    with pytest.raises(InferenceError, match=message):
        check_mediation_guards(clean, SPEC, fit(clean), conf_level=2)
