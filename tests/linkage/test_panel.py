"""The panel: sorted, unique, on a calendar; lags by calendar; the caller's frame is left alone."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from ex_cx.errors import PanelError
from ex_cx.linkage.panel import Panel

ROWS = pd.DataFrame(
    {
        "team": ["B", "A", "A", "B", "A"],
        "month": ["2024-01", "2024-04", "2024-01", "2023-12", "2024-02"],
        "nps": [10.0, 20.0, 30.0, np.nan, 50.0],
        "site": ["north", "south", "south", "north", "south"],
        "n": [5, 6, 7, 8, 9],
    }
)


def _panel(frame=ROWS, **roles) -> Panel:
    return Panel.from_frame(frame, **{"unit": "team", "period": "month", **roles})


def test_rows_are_sorted_and_the_calendar_keeps_its_gaps():
    panel = _panel()
    assert panel.frame["team"].tolist() == ["A", "A", "A", "B", "B"]
    assert panel.frame["month"].astype(str).tolist() == [
        "2024-01",
        "2024-02",
        "2024-04",
        "2023-12",
        "2024-01",
    ]
    assert panel.unit_codes.tolist() == [0, 0, 0, 1, 1]
    assert panel.period_codes.tolist() == [1, 2, 4, 0, 1]
    assert (panel.n_units, panel.n_periods, len(panel)) == (2, 5, 5)


def test_the_callers_frame_is_not_changed_nor_does_it_change_the_panel():
    mine = ROWS.copy()
    panel = _panel(mine)
    pd.testing.assert_frame_equal(mine, ROWS)
    mine.loc[:, "nps"] = -1.0
    assert panel.frame["nps"].tolist()[:3] == [30, 50, 20]
    already = panel.frame.copy()
    again = Panel.from_frame(already, unit="team", period="month")
    already.loc[:, "nps"] = -1.0
    assert again.frame["nps"].tolist()[:3] == [30, 50, 20]


def test_panels_are_frozen_and_methods_give_new_ones():
    panel = _panel()
    with pytest.raises(FrozenInstanceError):
        panel.unit = "site"
    panel.with_lag("nps")
    panel.with_within_between("nps")
    assert list(panel.frame.columns) == list(ROWS.columns)


def test_lags_and_leads_by_calendar():
    panel = _panel().with_lag("nps").with_lag(["nps", "n"], by=2).with_lag("n", by=-1)
    frame = panel.frame
    # A: January, February, April; B: December, January
    assert_array_equal(frame["nps_lag1"], [np.nan, 30, np.nan, np.nan, np.nan])
    assert_array_equal(frame["nps_lag2"], [np.nan, np.nan, 50, np.nan, np.nan])
    assert_array_equal(frame["n_lag2"], [np.nan, np.nan, 9, np.nan, np.nan])
    assert_array_equal(frame["n_lead1"], [9, np.nan, np.nan, 5, np.nan])
    # B's December is A's January's neighbour in no sense
    assert panel.rows_at_lag(1).tolist() == [-1, 0, -1, -1, 3]


@settings(max_examples=60, deadline=None)
@given(
    cells=st.sets(st.tuples(st.integers(0, 6), st.integers(-9, 9)), min_size=1),
    by=st.integers(-12, 12),
)
def test_lags_equal_a_merge_on_the_calendar(cells, by):
    frame = pd.DataFrame(sorted(cells, key=hash), columns=["team", "month"])
    frame["nps"] = np.arange(len(frame), dtype=float)
    panel = _panel(frame)
    earlier = frame.assign(month=frame["month"] + by)
    merged = panel.frame.merge(earlier, on=["team", "month"], how="left", suffixes=("", "_then"))
    found = panel.rows_at_lag(by)
    lagged = np.where(found >= 0, panel.frame["nps"].to_numpy()[found], np.nan)
    assert_array_equal(lagged, merged["nps_then"])


def test_lagged_columns_keep_their_kind():
    frame = ROWS.assign(open=pd.array([True, False, True, True, False], dtype="boolean"))
    lagged = _panel(frame).with_lag(["open", "site"]).frame
    assert lagged["open_lag1"].dtype == "boolean"
    assert lagged["site_lag1"].tolist()[1] == "south"


def test_within_and_between_add_up():
    frame = _panel().with_within_between(["nps", "n"]).frame
    assert_allclose(frame["nps_between"], [100 / 3] * 3 + [10] * 2)
    assert_allclose(frame["n_between"], [22 / 3] * 3 + [6.5] * 2)
    whole = frame["nps_within"] + frame["nps_between"]
    assert_allclose(whole, frame["nps"])  # missing where the value is


def test_derived_columns_were_measured_on_whom_their_original_was():
    panel = (
        _panel(provenance={"nps": "customers"}).with_lag("nps").with_within_between(["nps", "n"])
    )
    assert dict(panel.provenance) == {
        "nps": "customers",
        "nps_lag1": "customers",
        "nps_within": "customers",
        "nps_between": "customers",
    }


def test_a_mask_keeps_whole_calendars():
    panel = _panel()
    later = panel.where(panel.frame["month"] >= pd.Period("2024-01", "M"))
    assert later.period_codes.tolist() == [0, 1, 3, 0]
    assert later.unit_codes.tolist() == [0, 0, 0, 1]
    only = panel.where((panel.frame["team"] == "B").to_numpy())
    assert (only.n_units, only.unit_codes.tolist()) == (1, [0, 0])


def test_segments_hold_every_row_once():
    frame = ROWS.assign(site=["north", None, None, "north", None])
    parts = _panel(frame).segments("site")
    assert list(parts) == ["(missing)", "north"]
    assert sum(len(part) for part in parts.values()) == len(frame)
    assert set(_panel().segments("site")) == {"north", "south"}


def test_coverage_is_the_whole_calendar():
    coverage = _panel().coverage(["nps"])
    assert list(coverage.columns) == ["unit", "period", "observed"]
    assert len(coverage) == 2 * 5
    seen = coverage[coverage["observed"]]
    assert [(u, str(p)) for u, p in zip(seen["unit"], seen["period"], strict=True)] == [
        ("A", "2024-01"),
        ("A", "2024-02"),
        ("A", "2024-04"),
        ("B", "2024-01"),
    ]


def test_describe_by_hand():
    row = _panel().describe().set_index("column").loc["nps"]
    # A: 30 50 20 about 100/3; B: 10
    values = np.array([30.0, 50, 20, 10])
    within = ((values[:3] - 100 / 3) ** 2).sum()
    assert (row["n"], row["missing"]) == (4, 1)
    assert_allclose(row["mean"], 27.5)
    assert_allclose(row["sd"], values.std(ddof=1))
    assert_allclose(row["sd_between"], np.std([100 / 3, 10], ddof=1))
    assert_allclose(row["sd_within"], np.sqrt(within / 2))
    assert_allclose(row["within_share"], within / ((values - 27.5) ** 2).sum())


def test_describe_of_nothing_and_of_one_row():
    empty = _panel(ROWS.assign(nps=np.nan)).describe().set_index("column").loc["nps"]
    assert (empty["n"], empty["missing"]) == (0, 5)
    assert np.isnan(empty["mean"])
    one = _panel(ROWS.head(1)).describe().set_index("column").loc["nps"]
    assert one["n"] == 1
    assert np.isnan(one["sd"])


def test_describe_counts_units_and_periods_with_a_value():
    row = _panel().describe().set_index("column").loc["nps"]
    known = ROWS.dropna(subset="nps")
    assert (row["units"], row["periods"]) == (known.iloc[:, 0].nunique(), 3)


def test_a_range_shows_no_single_value_of_few():
    rows = pd.DataFrame({"unit": "A", "period": range(8)})
    rows = rows.assign(score=[1.0, 2, 3, 4, 5, 6, 7, 99], score_n=[9, 8, 7, 6, 5, 9, 9, 3])
    found = _described(rows).loc["score"]
    assert (found["min"], found["max"], found["n"]) == (1, 7, 8)
    assert found["mean"] == pytest.approx(127 / 8)
    assert _described(rows).loc["score_n", "min"] == 5  # a count of three is not told either
    few = _described(rows.head(4)).loc["score"]
    assert np.isnan(few["min"])
    assert np.isnan(few["max"])
    plain = _described(rows.drop(columns="score_n")).loc["score"]
    assert (plain["min"], plain["max"]) == (1, 99)
    alone = _described(rows.drop(columns="score")).loc["score_n"]  # of no column in the panel
    assert alone["min"] == 3


def _described(rows: pd.DataFrame) -> pd.DataFrame:
    return Panel.from_frame(rows, unit="unit", period="period").describe().set_index("column")


def test_page_is_escaped():
    panel = _panel(ROWS.rename(columns={"nps": "<script>"}))
    assert "<script>" not in panel._repr_html_()
    assert f"<strong>{panel.extent}</strong>" in panel._repr_html_()


def test_a_panel_is_shown_on_one_line_and_waves_are_not_called_missing_periods():
    rows = pd.DataFrame({"school": ["A", "A", "B"], "year": [2013, 2016, 2017], "nps": 1.0})
    panel = Panel.from_frame(rows, unit="school", period="year")
    text = "2 units x 3 periods (2013 to 2017, 2 between them without rows), 3 rows"
    assert panel.extent == text
    assert repr(panel) == f"<Panel {text}; columns: 'nps'>"
    assert panel.n_periods == 5
    monthly = rows.assign(year=["2024-01", "2024-02", "2024-03"])
    full = Panel.from_frame(monthly, unit="school", period="year")
    assert full.extent == "2 units x 3 periods (2024-01 to 2024-03), 3 rows"
    assert full.where(np.array([True, False, False])).extent == (
        "1 unit x 1 period (2024-01), 1 row"
    )


def test_a_wide_panel_names_its_first_columns_only():
    rows = pd.DataFrame({f"c{i}": [1.0] for i in range(40)}).assign(unit="A", period=1)
    shown = repr(Panel.from_frame(rows, unit="unit", period="period"))
    assert shown.endswith("columns: 'c0', 'c1', 'c2', 'c3', 'c4', 'c5' and 34 more>")


@pytest.mark.parametrize("labels", [["007", "7"], [1, "1"], [1, "A"], ["../../x", "=cmd()"]])
def test_units_stay_what_they_are(labels):
    frame = pd.DataFrame({"team": pd.Series(labels, dtype=object), "month": 1, "nps": [1.0, 2.0]})
    panel = _panel(frame)
    assert panel.n_units == 2
    assert set(panel.frame["team"]) == set(labels)


def test_units_of_types_that_cannot_be_ordered_are_kept_apart():
    labels = [1, "1", pd.Timestamp("2020-01-01")]
    frame = pd.DataFrame({"team": pd.Series(labels, dtype=object), "month": 1, "nps": 1.0})
    assert sorted(_panel(frame).unit_codes) == [0, 1, 2]


def test_unused_categories_are_no_units():
    frame = ROWS.assign(team=pd.Categorical(ROWS["team"], categories=["C", "B", "A"]))
    assert _panel(frame).n_units == 2


# What it says when it cannot


def _message(frame=ROWS, **roles) -> str:
    with pytest.raises(PanelError) as error:
        _panel(frame, **roles)
    return str(error.value)


def test_columns_that_do_not_exist():
    assert _message(unit="taem") == (
        "There is no column 'taem' among the 5 columns. Did you mean 'team'?"
    )
    assert _message(cluster="sites") == (
        "There is no column 'sites' among the 5 columns. Did you mean 'site'?"
    )
    assert _message(weights="zz") == (
        "There is no column 'zz' among the 5 columns. There are 'team', 'month', 'nps', 'site', "
        "'n'."
    )
    with pytest.raises(PanelError, match="There is no column 'npss' among the 5 columns"):
        _panel().with_lag("npss")
    with pytest.raises(PanelError, match="There is no column 'npss' among the 5 columns"):
        _panel().with_within_between("npss")
    with pytest.raises(PanelError, match="There is no column 'npss' among the 5 columns"):
        _panel().coverage(["npss"])


def test_a_name_for_two_columns():
    twice = pd.concat([ROWS, ROWS[["nps"]]], axis=1)
    assert _message(twice) == (
        "1 column names occur more than once ('nps'). Rename or drop the repeats, so that a name "
        "means one column."
    )


def test_missing_keys():
    broken = ROWS.assign(team=["B", None, "A", None, "A"])
    assert _message(broken) == (
        "2 of 5 rows have no value in 'team' (row positions '1', '3'). Fill or drop them before "
        "making a panel."
    )
    broken = ROWS.assign(month=["2024-01", None, "2024-02", "2024-03", "2024-04"])
    assert _message(broken).startswith("1 of 5 rows have no value in 'month' (row positions '1')")
    broken = ROWS.assign(site=None)
    assert _message(broken, cluster="site").startswith("5 of 5 rows have no value in 'site'")


def test_no_rows():
    assert _message(ROWS.head(0)) == (
        "The frame has no rows, so there is no panel. Check the source or filter."
    )


def test_a_unit_and_period_twice():
    twice = pd.concat([ROWS, ROWS.head(2)])
    assert _message(twice) == (
        "2 of 7 rows repeat a team and month already there (first: 'A, 2024-04', 'B, 2024-01'). "
        "Aggregate them, or add what tells them apart to the unit."
    )


def test_a_unit_and_period_many_times_is_named_once():
    many = pd.concat([ROWS] * 2 + [ROWS.head(1)] * 3)
    assert "(first: 'A, 2024-01', 'A, 2024-02', 'A, 2024-04' and 2 more)" in _message(many)


def test_weights_that_are_none():
    assert _message(ROWS.assign(n=[1.0, -2, np.inf, 3, np.nan]), weights="n") == (
        "2 of 5 weights in 'n' are negative or infinite (row positions '1', '2'). Weights must be "
        "positive; a missing one leaves its row out."
    )
    message = _message(weights="site")
    assert message.startswith("Weights must be numbers; column 'site' has dtype ")


def test_masks_that_are_none():
    panel = _panel()
    with pytest.raises(PanelError) as error:
        panel.where(np.array([1, 0, 1, 0, 1]))
    assert str(error.value) == (
        "A mask needs one true or false for each of the 5 rows; this one has dtype int64 and shape "
        "(5,). Build it from `panel.frame`."
    )
    with pytest.raises(PanelError) as error:
        panel.where(np.array([True]))
    assert "dtype bool and shape (1,)" in str(error.value)
    with pytest.raises(PanelError) as error:
        panel.where(panel.frame.sort_values("nps")["nps"] > 20)
    assert str(error.value) == (
        "The mask's index is not that of `panel.frame`, whose rows are sorted: it may belong to "
        "other rows. Build it from `panel.frame`."
    )
    with pytest.raises(PanelError) as error:
        panel.where(np.zeros(5, dtype=bool))
    assert str(error.value) == "The mask keeps none of the 5 rows. Loosen the condition."
