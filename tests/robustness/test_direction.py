"""Leads, the reverse equation and the swapped order equal regressions written out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyfixest as pf
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from pyfixest.demeaners import MapDemeaner

from ex_cx.errors import SpecError
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationSpec, fit_mediation
from ex_cx.models.regress import PanelSpec
from ex_cx.results import TIDY
from ex_cx.robustness.direction import (
    lead_placebo,
    reverse_equation,
    reversed_order,
    swapped_spec,
    timed_term,
    within_spec,
)

from .panels import draw_panel

SPEC = PanelSpec(outcome="y", exposures=("x",), controls=("z",))


def moved(frame: pd.DataFrame, column: str, by: int) -> pd.Series:
    """Value of the column `by` periods earlier, by an explicit join on the calendar."""
    earlier = frame[["unit", "period", column]].assign(period=frame["period"] + by)
    joined = frame[["unit", "period"]].merge(earlier, on=["unit", "period"], how="left")
    return joined[column].set_axis(frame.index)


def pyfixest_rows(formula: str, frame: pd.DataFrame, terms: list[str]) -> pd.DataFrame:
    """Estimates, CR1 errors and t(G-1) intervals: the factor of `cluster_factor`."""
    fit = pf.feols(
        f"{formula} | unit + period",
        frame,
        vcov={"CRV1": "unit"},
        ssc=pf.ssc(k_adj=True, k_fixef="nonnested", G_adj=True, G_df="conventional"),
        fixef_rm="singleton",
        demeaner=MapDemeaner(fixef_tol=1e-13),
    )
    return fit.tidy().loc[terms].set_axis(range(len(terms)))


def check_equal(found: pd.DataFrame, oracle: pd.DataFrame) -> None:
    assert_allclose(found["estimate"], oracle["Estimate"], rtol=1e-8)
    assert_allclose(found["std_error"], oracle["Std. Error"], rtol=1e-8)
    assert_allclose(found["conf_low"], oracle["2.5%"], rtol=1e-7, atol=1e-9)
    assert_allclose(found["conf_high"], oracle["97.5%"], rtol=1e-7, atol=1e-9)


@pytest.fixture(scope="module", params=[1.0, 0.8], ids=["balanced", "gaps"])
def panel(request) -> Panel:
    return draw_panel(keep=request.param)


def test_lead_placebo_equals_pyfixest_with_a_lead_column(panel):
    frame = panel.frame.assign(x_lead1=moved(panel.frame, "x", -1))
    oracle = pyfixest_rows("y ~ x + z + x_lead1", frame, ["x", "x_lead1"])
    found = lead_placebo(panel, SPEC)
    check_equal(found, oracle)
    assert list(found) == [*TIDY, "exposure", "is_lead", "n_obs", "n_clusters"]
    assert found["term"].tolist() == ["x", "x_lead1"]
    assert found["exposure"].tolist() == ["x", "x"]
    assert found["is_lead"].tolist() == [False, True]
    assert set(found["n_clusters"]) == {60}


def test_lead_placebo_of_a_lagged_exposure_holds_the_present_one_too(panel):
    frame = panel.frame.assign(
        x_lead1=moved(panel.frame, "x", -1), x_lag1=moved(panel.frame, "x", 1)
    )
    oracle = pyfixest_rows("y ~ x_lag1 + z + x + x_lead1", frame, ["x_lag1", "x_lead1"])
    by_spec = lead_placebo(panel, PanelSpec(outcome="y", exposures=("x",), controls=("z",), lag=1))
    check_equal(by_spec, oracle)
    lagged = panel.with_lag("x")
    by_column = lead_placebo(lagged, PanelSpec(outcome="y", exposures=("x_lag1",), controls=("z",)))
    assert_frame_equal(by_spec, by_column)


def test_lead_placebo_is_within_units_whatever_the_estimator(panel):
    pooled = PanelSpec(
        outcome="y", exposures=("x",), controls=("z",), estimator="pooled", vcov="robust"
    )
    assert_frame_equal(lead_placebo(panel, SPEC), lead_placebo(panel, pooled))


def test_lead_placebo_of_products_and_powers_moves_every_factor(panel):
    spec = PanelSpec(outcome="y", exposures=("x", "x^2", "x:z"))
    found = lead_placebo(panel, spec)
    leads = ["x_lead1", "x_lead1^2", "x_lead1:z_lead1"]
    assert found.loc[found["is_lead"], "term"].tolist() == leads
    x, z = (moved(panel.frame, name, -1) for name in ("x", "z"))
    frame = panel.frame.assign(a=panel.frame["x"] ** 2, b=panel.frame["x"] * panel.frame["z"])
    frame = frame.assign(lx=x, la=x**2, lb=x * z)
    names = ["x", "a", "b", "lx", "la", "lb"]
    check_equal(found, pyfixest_rows(f"y ~ {' + '.join(names)}", frame, names))


def test_reverse_equation_equals_pyfixest_with_lag_columns(panel):
    frame = panel.frame.assign(
        **{f"{name}_lag1": moved(panel.frame, name, 1) for name in ("x", "y", "z")}
    )
    oracle = pyfixest_rows("x ~ y_lag1 + x_lag1 + z_lag1", frame, ["y_lag1"])
    found = reverse_equation(panel, SPEC)
    check_equal(found, oracle)
    assert found["term"].tolist() == ["y_lag1"]
    assert found["exposure"].tolist() == ["x"]


def test_reverse_equation_of_a_lagged_spec_holds_what_moved_the_outcome_before(panel):
    frame = panel.frame.assign(
        y_lag1=moved(panel.frame, "y", 1),
        z_lag1=moved(panel.frame, "z", 1),
        x_lag1=moved(panel.frame, "x", 1),
        x_lag3=moved(panel.frame, "x", 3),
    )
    oracle = pyfixest_rows("x ~ y_lag1 + x_lag1 + x_lag3 + z_lag1", frame, ["y_lag1"])
    spec = PanelSpec(outcome="y", exposures=("x",), controls=("z",), lag=2)
    check_equal(reverse_equation(panel, spec), oracle)


def test_reverse_equation_has_one_row_for_each_exposure(panel):
    found = reverse_equation(panel, PanelSpec(outcome="y", exposures=("x", "z")))
    frame = panel.frame.assign(
        **{f"{name}_lag1": moved(panel.frame, name, 1) for name in ("x", "y", "z")}
    )
    for exposure, row in zip(("x", "z"), found.index, strict=True):
        formula = f"{exposure} ~ y_lag1 + x_lag1 + z_lag1"
        check_equal(found.loc[[row]], pyfixest_rows(formula, frame, ["y_lag1"]))


def test_leads_and_reverse_do_not_depend_on_row_order_or_names(panel):
    rng = np.random.default_rng(1)
    other = panel.frame.sample(frac=1, random_state=rng)
    labels = {name: f"u{i}" for i, name in enumerate(rng.permutation(other["unit"].unique()))}
    renamed = Panel.from_frame(
        other.assign(unit=other["unit"].map(labels)), unit="unit", period="period"
    )
    for check in (lead_placebo, reverse_equation):
        assert_frame_equal(check(panel, SPEC), check(renamed, SPEC), rtol=1e-9)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (1, 1)])
def test_reversed_order_equals_the_mediation_of_the_swapped_spec(panel, first, second):
    spec = MediationSpec(
        outcome="y",
        exposure="x",
        mediators=("m",),
        controls=("z",),
        lag_mediator=first,
        lag_outcome=second,
    )
    found = reversed_order(panel, spec)
    swapped = swapped_spec(panel, spec, "m")
    assert (swapped.exposure, swapped.mediators, swapped.outcome) == ("x", ("y",), "m")
    rng = np.random.default_rng(3)
    oracle = fit_mediation(panel, swapped, n_boot=99, rng=rng).tidy().set_index("term")
    wanted = oracle.loc[["a:y", "b:y", "indirect"], "estimate"]
    assert found["term"].tolist() == ["a:y", "b:y", "indirect"]
    assert_allclose(found["estimate"], wanted, rtol=1e-9)
    assert found["mediator"].tolist() == ["m"] * 3
    assert found.loc[2, ["std_error", "p_value", "conf_low", "conf_high"]].isna().all()


def test_reversed_order_reads_lags_from_column_names(panel):
    spec = MediationSpec(outcome="y", exposure="x", mediators=("m",), lag_mediator=1, lag_outcome=1)
    lagged = panel.with_lag("x", 2).with_lag("m", 1)
    by_name = MediationSpec(outcome="y", exposure="x_lag2", mediators=("m_lag1",))
    assert_frame_equal(reversed_order(panel, spec), reversed_order(lagged, by_name))


def test_false_alarms_of_both_tests_come_at_their_nominal_rate():
    """250 panels without a reverse path, x going on by itself, 5 % tests.

    Monte Carlo error sqrt(0.05 * 0.95 / 250) = 0.014; the rates must lie within 3 of it, that is
    between 0.9 % and 9.1 %. Over 2,000 such panels they were 4.7 % and 5.0 % (error 0.5 %).
    """
    draws = 250
    rng = np.random.default_rng(20240501)
    spec = PanelSpec(outcome="y", exposures=("x",), controls=("z",))
    alarms = np.zeros(2)
    for _ in range(draws):
        panel = draw_panel(n_periods=6, seed=rng)
        lead = lead_placebo(panel, spec)["p_value"].iloc[1]
        reverse = reverse_equation(panel, spec)["p_value"].iloc[0]
        alarms += np.array([lead, reverse]) < 0.05
    error = np.sqrt(0.05 * 0.95 / draws)
    assert np.all(np.abs(alarms / draws - 0.05) < 3 * error), alarms / draws


def test_reverse_path_is_recovered():
    """60 panels of 24 periods, reverse effect 0.2; the mean within 4 Monte Carlo errors.

    The bias of order 1/T falls on the held own past, not on the reverse effect, when nothing
    runs backwards; with a reverse path a part of it remains, so that 0.02 more is allowed.
    """
    rng = np.random.default_rng(11)
    spec = PanelSpec(outcome="y", exposures=("x",), controls=("z",))
    found = np.array(
        [
            reverse_equation(draw_panel(n_periods=24, reverse=0.2, seed=rng), spec)["estimate"][0]
            for _ in range(60)
        ]
    )
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert abs(found.mean() - 0.2) < 4 * error + 0.02


def test_timed_term_needs_the_column_without_lag(panel):
    lagged = panel.with_lag(["x", "z"]).with_lag("z", 2)
    assert timed_term(lagged, "x_lag1:z_lag1") == ("x:z", 1)
    alone = Panel.from_frame(panel.frame.assign(pay_lag1=1.0), unit="unit", period="period")
    assert timed_term(alone, "pay_lag1") == ("pay_lag1", 0)
    message = (
        r"^The term 'x_lag1:z_lag2' multiplies columns of different periods \(lags 1, 2\), so it "
        r"has no period of its own to move\.$"
    )
    with pytest.raises(SpecError, match=message):
        timed_term(lagged, "x_lag1:z_lag2")


def test_the_outcomes_own_past_is_no_exposure_to_place_in_time(panel):
    lagged = panel.with_lag("y")
    message = (
        "^The spec's exposures are the past of 'y' itself, so there is no other variable whose "
        r"order in time could be checked\.$"
    )
    for check in (lead_placebo, reverse_equation):
        with pytest.raises(SpecError, match=message):
            check(lagged, PanelSpec(outcome="y", exposures=("y_lag1",)))
        both = check(lagged, PanelSpec(outcome="y", exposures=("y_lag1", "x")))
        assert set(both["exposure"]) <= {"x", "y"}


def test_swapped_spec_refuses_time_that_runs_backwards(panel):
    spec = MediationSpec(outcome="y", exposure="x", mediators=("m_lag1",))
    message = (
        "^By its lagged columns the spec puts 'x' -1 periods before 'm_lag1' and that 1 before "
        "'y': neither may be negative. Use columns without lags, and lag_mediator and "
        r"lag_outcome\.$"
    )
    with pytest.raises(SpecError, match=message):
        swapped_spec(panel.with_lag("m"), spec, "m_lag1")


def test_reversed_order_without_common_rows_says_so():
    frame = draw_panel(n_units=4, n_periods=3).frame
    early = frame["period"] == 2001
    frame = frame.assign(m=frame["m"].where(early), y=frame["y"].where(~early))
    panel = Panel.from_frame(frame, unit="unit", period="period")
    message = (
        "^No row holds x, y and m, so the other order cannot be fitted. Check that the columns "
        r"overlap and the lags fit the panel\.$"
    )
    with pytest.raises(SpecError, match=message):
        reversed_order(panel, MediationSpec(outcome="y", exposure="x", mediators=("m",)))


def test_within_spec_absorbs_units_and_clusters():
    pooled = PanelSpec(
        outcome="y", exposures=("x",), estimator="pooled", absorb=("period",), vcov="robust"
    )
    inside = within_spec(pooled)
    assert (inside.estimator, inside.absorb, inside.vcov) == (
        "within",
        ("unit", "period"),
        "cluster",
    )
    assert (
        within_spec(PanelSpec(outcome="y", exposures=("x",), vcov="jackknife")).vcov == "jackknife"
    )
