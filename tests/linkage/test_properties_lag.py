"""A lag is a matter of the calendar: nothing about rows, labels or gaps may change it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import PanelSpec, fit_panel
from tests.linkage.companies import quick

CALENDARS = {"integer": None, "Y": "Y", "Q": "Q", "M": "M", "D": "D", "h": "h"}


@st.composite
def sparse_rows(draw: st.DrawFn) -> pd.DataFrame:
    """Some unit-periods of a calendar, in any order; positions 0 to 11, values all different."""
    cells = [(unit, at) for unit in "ABCDE" for at in range(12)]
    kept = draw(st.lists(st.sampled_from(cells), min_size=8, max_size=40, unique=True))
    frame = pd.DataFrame(kept, columns=["unit", "at"])
    return frame.assign(x=np.arange(len(frame)) + 0.5)


def on_calendar(frame: pd.DataFrame, calendar: str, start: int) -> Panel:
    """The rows with their positions as dates of a calendar, over the turn of a year."""
    if calendar == "integer":
        period = frame["at"] + start
    else:
        first = pd.Period("2019-12-31 21:00", freq="h").asfreq(calendar)
        period = pd.Series([first + int(at) for at in frame["at"]])
    return Panel.from_frame(frame.assign(period=period), unit="unit", period="period")


@quick(60)
@given(
    frame=sparse_rows(),
    calendar=st.sampled_from(list(CALENDARS)),
    start=st.integers(-3000, 3000),
    by=st.integers(-13, 13),
)
def test_a_lag_is_the_value_that_many_periods_earlier(frame, calendar, start, by):
    panel = on_calendar(frame, calendar, start)
    known = {(row.unit, row.at): row.x for row in frame.itertuples()}
    wanted = [known.get((row.unit, row.at - by), np.nan) for row in panel.frame.itertuples()]
    name = f"x_lag{by}" if by >= 0 else f"x_lead{-by}"
    assert_array_equal(panel.with_lag("x", by=by).frame[name], wanted)


@quick(30)
@given(frame=sparse_rows(), one=st.integers(1, 4), two=st.integers(1, 4))
def test_a_lag_of_a_lag_is_the_longer_lag_where_the_row_between_is_there(frame, one, two):
    panel = on_calendar(frame, "M", 0)
    twice = panel.with_lag("x", one).with_lag(f"x_lag{one}", two).frame[f"x_lag{one}_lag{two}"]
    once = panel.with_lag("x", one + two).frame[f"x_lag{one + two}"]
    between = panel.rows_at_lag(two) >= 0
    assert_array_equal(twice, once.where(between))


@quick(30)
@given(frame=sparse_rows(), by=st.integers(1, 6))
def test_a_lead_undoes_a_lag(frame, by):
    panel = on_calendar(frame, "Q", 0)
    there_and_back = panel.with_lag("x", by).with_lag(f"x_lag{by}", -by)
    found = there_and_back.frame[f"x_lag{by}_lead{by}"]
    assert_array_equal(found, panel.frame["x"].where(panel.rows_at_lag(-by) >= 0))


@quick(30)
@given(
    frame=sparse_rows(),
    labels=st.lists(st.text(min_size=1, max_size=5), min_size=5, max_size=5, unique=True),
    seed=st.integers(0, 2**32 - 1),
)
def test_neither_row_order_nor_labels_change_a_lag(frame, labels, seed):
    names = dict(zip("ABCDE", labels, strict=True))
    renamed = frame.assign(unit=frame["unit"].map(names)).sample(frac=1, random_state=seed % 2**31)
    one = on_calendar(frame, "M", 0).with_lag("x").frame
    other = on_calendar(renamed.reset_index(drop=True), "M", 0).with_lag("x").frame
    keyed = other.assign(unit=other["unit"].map({v: k for k, v in names.items()}))
    found = one.merge(keyed, on=["unit", "at"], suffixes=("", "_other"), validate="one_to_one")
    assert len(found) == len(one)
    assert_array_equal(found["x_lag1"], found["x_lag1_other"])


@quick(12)
@given(seed=st.integers(0, 2**32 - 1), lag=st.integers(0, 2), holes=st.integers(0, 12))
def test_a_lagged_estimate_is_that_of_rows_matched_by_hand(seed, lag, holes):
    """Whatever the order of rows, the names of units, and the rows that are not there."""
    rng = np.random.default_rng(seed)
    grid = pd.DataFrame([(u, t) for u in range(8) for t in range(9)], columns=["unit", "at"])
    grid = grid.assign(x=rng.normal(size=72), y=rng.normal(size=72))
    grid = grid.drop(index=rng.choice(72, size=holes, replace=False))
    earlier = grid[["unit", "at", "x"]].assign(at=grid["at"] + lag)
    matched = grid.drop(columns="x").merge(earlier, on=["unit", "at"])
    spec = PanelSpec(outcome="y", exposures=("x",))
    by_hand = fit_panel(on_calendar(matched, "M", 0), spec)
    shuffled = grid.sample(frac=1, random_state=seed % 2**31).reset_index(drop=True)
    shuffled["unit"] = shuffled["unit"].map(lambda code: f"team {(5 * code) % 8}")
    found = fit_panel(
        on_calendar(shuffled, "M", 0), PanelSpec(outcome="y", exposures=("x",), lag=lag)
    )
    assert found.n_obs == by_hand.n_obs == len(matched)
    assert_allclose(found.coef, by_hand.coef, rtol=1e-10)
    assert_allclose(found.vcov, by_hand.vcov, rtol=1e-10)
    assert sum(found.lost.values()) == found.rows_in - found.n_obs


def test_a_lag_never_reaches_into_another_unit():
    """B begins where A ends; the row before B's first is A's last."""
    rows = {"unit": ["A", "A", "B"], "at": [0, 1, 2], "x": [1.0, 2.0, 3.0]}
    panel = on_calendar(pd.DataFrame(rows), "M", 0)
    for by in (1, 2, -1, -2):
        name = f"x_lag{by}" if by > 0 else f"x_lead{-by}"
        found = panel.with_lag("x", by).frame[name]
        assert np.isnan(found[panel.frame["unit"] == "B"]).all()
    assert panel.with_lag("x").frame["x_lag1"].tolist()[1] == pytest.approx(1.0)
