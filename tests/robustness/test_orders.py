"""Other orders, placebos and E-values: refits, planted worlds, printed cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ex_cx.errors import InferenceError, RankError, SpecError
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationSpec, fit_mediation
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.results import TIDY
from ex_cx.robustness import confounding_guards
from ex_cx.robustness.confounding_guards import check_mediation_confounding
from ex_cx.robustness.direction import reversed_order
from ex_cx.robustness.evalues import e_value, mediational_e_values
from ex_cx.robustness.orders import compare_orders, placebo_paths

SPEC = MediationSpec(outcome="y", exposure="x", mediators=("m",), controls=("z",))
LATER = replace(SPEC, lag_mediator=1, lag_outcome=1)


def rows_of(n_units=60, n_periods=8, seed=4, hidden=0.0) -> pd.DataFrame:
    """x moves m a period later, m moves y a period later; `hidden` moves all at its own pace."""
    rng = np.random.default_rng(seed)
    shape = (n_units, n_periods)
    slow = np.cumsum(rng.normal(size=shape), axis=1) * hidden
    x = rng.normal(size=shape) + slow
    before = np.roll(x, 1, axis=1)
    m = 0.7 * before + rng.normal(size=shape) + slow
    y = 0.6 * np.roll(m, 1, axis=1) + rng.normal(size=shape) + slow
    unit, period = np.divmod(np.arange(n_units * n_periods), n_periods)
    frame = pd.DataFrame({"unit": unit, "period": period})
    frame["z"] = rng.normal(size=len(frame))
    for name, values in {"x": x, "m": m, "y": y}.items():
        frame[name] = values.ravel()
    return frame


def panel_of(rows) -> Panel:
    return Panel.from_frame(rows, unit="unit", period="period")


def orders(panel, spec=SPEC, n_boot=99, **more):
    return compare_orders(panel, spec, n_boot=n_boot, rng=np.random.default_rng(0), **more)


def placebos(panel, spec=SPEC, n_boot=99, **more):
    return placebo_paths(panel, spec, n_boot=n_boot, rng=np.random.default_rng(0), **more)


def indirect(frame, by):
    return frame[frame["term"] == "indirect"].set_index(by)


def test_orders_are_mediations_of_their_own():
    panel = panel_of(rows_of())
    found = orders(panel).set_index(["order", "term"])["estimate"]
    for order, roles in {
        "claimed": {},
        "reversed": {"outcome": "m", "mediators": ("y",)},
        "exposure_swapped": {"exposure": "m", "mediators": ("x",)},
    }.items():
        one = fit_mediation(panel, replace(SPEC, **roles), n_boot=99, rng=np.random.default_rng(1))
        expected = one.tidy().set_index("term")["estimate"]
        assert_allclose(found[order]["indirect"], expected["indirect"], rtol=1e-12)
        assert_allclose(found[order]["direct"], expected["direct"], rtol=1e-12)


def test_reversed_order_agrees_with_the_one_that_guards_use():
    panel = panel_of(rows_of())
    for spec in (SPEC, LATER):
        ours = indirect(orders(panel, spec), "order").loc["reversed", "estimate"]
        theirs = reversed_order(panel, spec)["estimate"].iloc[2]
        assert_allclose(ours, theirs, rtol=1e-10)


def test_lags_tell_the_orders_apart():
    """Demeaned by unit over 8 periods, nothing is a little: less than a tenth."""
    frame = indirect(orders(panel_of(rows_of()), LATER), "order")
    size = frame["standardised"].abs()
    assert (size[["reversed", "exposure_swapped"]] < size["claimed"] / 10).all()
    assert frame.loc["claimed", "conf_low"] > 0
    assert frame["path"].tolist() == ["x -> m -> y", "x -> y -> m", "m -> x -> y"]


def test_standardised_is_the_estimate_of_standardised_columns():
    rows = rows_of()
    deviation = rows.groupby("unit").transform(lambda s: s - s.mean())
    panel = panel_of(rows)
    sd = panel.describe().set_index("column")["sd_within"]
    scaled = rows.assign(**{name: deviation[name] / sd[name] for name in "xmy"})
    found = orders(panel)["standardised"]
    assert_allclose(found, orders(panel_of(scaled))["estimate"], rtol=1e-9)


def test_each_mediator_by_itself_and_a_chain_taken_apart():
    rows = rows_of().assign(k=lambda d: d["m"] + d["z"] ** 2)
    spec = replace(LATER, mediators=("m", "k"), structure="serial", lag_serial=1)
    frame = orders(panel_of(rows), spec)
    assert frame["mediator"].unique().tolist() == ["m", "k"]
    alone = replace(LATER, lag_mediator=1, lag_outcome=2)
    expected = orders(panel_of(rows), alone)["estimate"]
    assert_allclose(frame.loc[frame["mediator"] == "m", "estimate"], expected, rtol=1e-10)


def test_placebos_are_regressions_on_later_values():
    rows = rows_of()
    panel = panel_of(rows)
    frame = placebos(panel, LATER).set_index(["kind", "term"])["estimate"]
    wide = panel.with_lag(["x"], 2).with_lag(["m"], 1).with_lag(["m", "x"], -1)
    kept = ["y", "x_lag2", "m_lag1", "m_lead1", "x_lead1", "z"]
    for kind, x, m in (
        ("placebo_mediator", "x_lag2", "m_lead1"),
        ("placebo_exposure", "x_lead1", "m_lag1"),
    ):
        held = ("z", "m_lag1" if kind == "placebo_mediator" else "x_lag2")
        used = [name for name in kept if name in {"y", x, m, *held}]
        some = wide.where(wide.frame[used].notna().all(axis=1).to_numpy())
        a = fit_panel(some, PanelSpec(outcome=m, exposures=(x,), controls=held)).coef[0]
        b = fit_panel(some, PanelSpec(outcome="y", exposures=(m, x), controls=held)).coef[0]
        assert_allclose(frame[kind]["indirect"], a * b, rtol=1e-9)


def _recorded_late(rows) -> pd.DataFrame:
    """The mediator's record comes two periods late: what follows the outcome is its cause."""
    late = rows.groupby("unit")["m"].shift(2)
    return rows.assign(m=late)


def test_placebos_find_nothing_in_a_clean_world_and_what_is_wrong_in_others():
    clean = indirect(placebos(panel_of(rows_of()), LATER, n_boot=299), "kind")
    held = (clean["conf_low"] <= 0) & (clean["conf_high"] >= 0)
    assert held.to_dict() == {
        "claimed": False,
        "placebo_mediator": True,
        "placebo_exposure": True,
    }
    moved = indirect(placebos(panel_of(rows_of(hidden=1.0)), LATER, n_boot=299), "kind")
    assert moved.loc["placebo_exposure", "conf_low"] > 0
    late = indirect(placebos(panel_of(_recorded_late(rows_of())), LATER, n_boot=299), "kind")
    assert late.loc["placebo_mediator", "conf_low"] > 0
    assert late.loc["claimed", "conf_low"] < 0 < late.loc["claimed", "conf_high"]


def test_placebo_columns_and_paths():
    frame = placebos(panel_of(rows_of()), LATER)
    assert tuple(frame.columns[3:11]) == TIDY
    assert frame["path"].unique().tolist() == [
        "x_lag2 -> m_lag1 -> y",
        "x_lag2 -> m_lead1 -> y",
        "x_lead1 -> m_lag1 -> y",
    ]
    lagged = panel_of(rows_of()).with_lag(["x"], 1)
    by_column = replace(SPEC, exposure="x_lag1", controls=())
    by_field = replace(SPEC, lag_mediator=1, controls=())
    one, other = (
        indirect(placebos(panel, spec), "kind")["estimate"]
        for panel, spec in ((lagged, by_column), (panel_of(rows_of()), by_field))
    )
    assert_allclose(one, other, rtol=1e-10)


def test_a_control_that_is_held_already_is_held_once():
    spec = replace(LATER, controls=("m_lag1",))
    panel = panel_of(rows_of()).with_lag(["m"], 1)
    with pytest.raises(RankError, match="m_lag1"):  # not two roles by name, but in the claim itself
        placebos(panel, spec)


def test_products_have_no_placebo_and_moderated_specs_are_refused():
    panel = panel_of(rows_of())
    with pytest.raises(SpecError, match="'x:z' is a product"):
        placebos(panel, replace(SPEC, exposure="x:z", controls=()))
    with pytest.raises(SpecError, match="moderator or an interaction"):
        orders(panel, replace(SPEC, interaction=True))
    with pytest.raises(SpecError, match="one exposure"):
        orders(panel, replace(SPEC, exposure=("x", "z"), controls=()))


@pytest.mark.parametrize(
    ("ratio", "value"), [(3.9, 7.26), (1.8, 3.0), (1 / 3.9, 7.26), (1.0, 1.0), (2.0, 3.41)]
)
def test_e_values_of_the_paper(ratio, value):
    """VanderWeele and Ding (2017): RR 3.9 (1.8 to 8.7) has 7.26, and 3.0 for the interval."""
    assert round(e_value(ratio), 2) == value


@pytest.mark.parametrize("ratio", [0.0, -1.0, np.inf, np.nan])
def test_e_values_of_what_is_no_ratio(ratio):
    with pytest.raises(SpecError, match="positive number"):
        e_value(ratio)


def test_mediational_e_values_by_hand():
    rows = rows_of()
    panel = panel_of(rows)
    result = fit_mediation(panel, SPEC, n_boot=199, rng=np.random.default_rng(0))
    frame = mediational_e_values(panel, result, change=0.5).set_index("term")
    plain = PanelSpec(outcome="y", exposures=("x",), controls=("z",), vcov="unadjusted")
    whole = fit_panel(panel, plain)
    x_left = fit_panel(panel, replace(plain, outcome="x", exposures=("z",), controls=()))
    ssx = (1 - x_left.r2) * _net_sum_of_squares(panel, "x")
    residual_sd = np.sqrt(whole.vcov[0, 0] * ssx)
    for term in ("direct", "indirect", "total"):
        row = result.tidy().set_index("term").loc[term]
        d = 0.5 * row["estimate"] / residual_sd
        assert_allclose(frame.loc[term, "standardised"], d, rtol=1e-8)
        assert_allclose(frame.loc[term, "e_value"], e_value(np.exp(0.91 * d)), rtol=1e-8)
        ends = np.exp(0.91 * 0.5 * row[["conf_low", "conf_high"]].astype(float) / residual_sd)
        nearest = 1.0 if ends.iloc[0] <= 1 <= ends.iloc[1] else min(e_value(end) for end in ends)
        assert_allclose(frame.loc[term, "e_value_interval"], nearest, rtol=1e-8)


def _net_sum_of_squares(panel, name) -> float:
    values = panel.frame.sort_values(["unit", "period"])[name].to_numpy().reshape(60, 8)
    net = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    return float((net**2).sum())


def test_e_values_do_not_depend_on_units_nor_on_the_sign_of_the_change():
    rows = rows_of()
    scaled = rows.assign(x=10 * rows["x"], y=rows["y"] / 3)
    frames = []
    for one in (rows, scaled):
        panel = panel_of(one)
        result = fit_mediation(panel, SPEC, n_boot=99, rng=np.random.default_rng(0))
        frames.append(mediational_e_values(panel, result))
    columns = ["standardised", "e_value", "e_value_interval"]
    assert_allclose(frames[0][columns], frames[1][columns], rtol=1e-8)
    down = mediational_e_values(panel, result, change=-frames[1]["change"].iloc[0])
    assert_allclose(down["e_value"], frames[1]["e_value"], rtol=1e-10)
    assert_allclose(down["e_value_interval"], frames[1]["e_value_interval"], rtol=1e-10)
    with pytest.raises(SpecError, match="is none"):
        mediational_e_values(panel, result, change=0.0)


def _checked(rows, spec=LATER):
    frame = check_mediation_confounding(
        panel_of(rows), spec, n_boot=199, rng=np.random.default_rng(0)
    )
    return frame.set_index("guard")


def test_guards_of_a_clean_world_and_of_one_with_a_hidden_cause():
    clean, moved = _checked(rows_of()), _checked(rows_of(hidden=1.0))
    assert clean["verdict"].tolist() == ["clear"] * 5
    assert "error correlation of 0." in clean["finding"].iloc[0]
    assert moved.loc["Placebo exposure", "verdict"] != "clear"
    late = _checked(_recorded_late(rows_of()))
    assert late.loc["Placebo mediator", "verdict"] == "limits"


def test_guards_where_there_is_nothing_to_undo_or_no_control():
    rows = rows_of()
    rows["y"] = np.random.default_rng(2).normal(size=len(rows))
    frame = _checked(rows, replace(LATER, controls=()))
    assert frame.loc["Confounder of mediator and outcome", "verdict"] == "caution"
    assert "holds zero already" in frame.loc["Confounder beside the controls", "finding"]


def test_guards_of_a_control_as_strong_as_the_effect():
    rows = rows_of()
    rows["z"] = rows["y"] + rows.groupby("unit")["m"].shift(1).fillna(0) + 0.5 * rows["z"]
    row = _checked(rows).loc["Confounder beside the controls"]
    assert row["verdict"] in ("limits", "caution")
    assert "as strong as z" in row["finding"]


def test_guards_of_a_control_too_strong_to_compare_with():
    """A bound that cannot be is no reassurance."""
    rows = rows_of()
    shifted = rows.groupby("unit")["m"].shift(1)
    rows["z"] = shifted.fillna(0) + 0.3 * rows["z"]
    row = _checked(rows).loc["Confounder beside the controls"]
    assert "m -> y" in row["finding"]
    assert "explained by 'z' that no bound can be drawn" in row["finding"]
    assert row["verdict"] != "clear"


@pytest.mark.parametrize(("shift", "verdict"), [(0.02, "limits"), (0.12, "caution")])
def test_guard_of_correlation_by_size(shift, verdict, monkeypatch):
    rows = rows_of(n_units=400)
    rows["y"] = shift * rows["m"] + np.random.default_rng(5).normal(size=len(rows)) / 10
    if verdict == "limits":
        monkeypatch.setattr(confounding_guards, "WEAK_RHO", 0.9)
    else:
        monkeypatch.setattr(confounding_guards, "MODEST_RHO", 0.99)
    rows["m"] = rows["m"] + rows["x"]
    row = _checked(rows, SPEC).loc["Confounder of mediator and outcome"]
    assert row["verdict"] == verdict, row["finding"]


def test_what_the_rows_do_not_allow_is_a_caution_with_the_reason():
    rows = rows_of()
    rows = rows[rows["period"] < 1]
    frame = _checked(rows, replace(SPEC, absorb=()))
    assert frame.loc["Placebo mediator", "verdict"] == "caution"
    assert "Could not be checked" in frame.loc["Placebo mediator", "finding"]
    with pytest.raises(InferenceError, match="is not between 0 and 1"):
        check_mediation_confounding(
            panel_of(rows_of()), SPEC, rng=np.random.default_rng(0), conf_level=95
        )
