"""From a panel and terms to complete rows: what is parsed, what is lost, what order they are in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from ex_cx.errors import SpecError
from ex_cx.estimation.design import (
    DesignTerm,
    build_design,
    same_source,
    term_columns,
    term_values,
)
from ex_cx.linkage.panel import Panel

ROWS = pd.DataFrame(
    {
        "unit": list("AAABBBCC"),
        "period": [1, 2, 4, 1, 2, 3, 1, 2],
        "site": list("ttttttss"),
        "x": [1.0, 2, 3, 4, 5, 6, 7, 8],
        "y": [1.0, 3, 2, 5, 4, 7, 6, 9],
        "w": [1.0, 2, 3, 4, 1, 2, 3, 4],
        "a:b": 2.0,
    }
)
X, Y = DesignTerm("x"), DesignTerm("y")


def _panel(frame=ROWS, **roles) -> Panel:
    return Panel.from_frame(frame, unit="unit", period="period", **roles)


def _design(panel, terms=(Y, X), absorb=(), cluster=None, weights=None, difference=False):
    return build_design(
        panel, terms, absorb=absorb, cluster=cluster, weights=weights, difference=difference
    )


def test_terms_are_columns_products_and_powers():
    panel = _panel()
    assert term_columns(panel, "x:y:w") == ["x", "y", "w"]
    assert term_columns(panel, "x^3") == ["x", "x", "x"]
    assert term_columns(panel, "a:b") == ["a:b"]  # a column of that name comes first
    assert_allclose(term_values(panel, DesignTerm("x:y")), ROWS["x"] * ROWS["y"])
    assert_allclose(term_values(panel, DesignTerm("x^3")), ROWS["x"] ** 3)
    assert DesignTerm("x:y", 2).label == "x:y (lag 2)"


def test_lagged_terms_are_products_of_lagged_values():
    found = term_values(_panel(), DesignTerm("x:y", 1))
    missing = np.nan
    assert_array_equal(found, [missing, 1, missing, missing, 20, 20, missing, 42])
    assert_array_equal(
        term_values(_panel(), DesignTerm("x", -1)), [2, missing, missing, 5, 6, missing, 8, missing]
    )


def test_rows_are_sorted_by_cluster_and_unit():
    design = _design(_panel(), cluster="site")
    assert ROWS["unit"].iloc[design.source].tolist() == list("CCAAABBB")
    assert design.unit_starts.tolist() == [0, 2, 5]
    assert design.cluster_starts.tolist() == [0, 2]
    assert (design.n_obs, design.n_units, design.n_clusters, design.n_periods) == (8, 3, 2, 4)
    assert_array_equal(design.columns[1], ROWS["x"].iloc[design.source])


def test_clusters_are_ordered_as_text_and_kept_apart_by_type():
    labels = pd.Series([10, 10, 10, 2, 2, 2, "2", "2"], dtype=object)
    design = _design(_panel(ROWS.assign(site=labels)), cluster="site")
    assert design.n_clusters == 3
    assert ROWS["unit"].iloc[design.source[design.cluster_starts]].tolist() == ["A", "B", "C"]


def test_a_specs_roles_come_before_the_panels():
    panel = _panel(cluster="unit", weights="w")
    assert _design(panel).n_clusters == 3
    assert _design(panel, cluster="site").n_clusters == 2
    assert_array_equal(_design(panel).weights, ROWS["w"])
    assert_array_equal(_design(panel, weights="x").weights, ROWS["x"])


def test_periods_without_rows_leave_no_code():
    design = _design(_panel(ROWS[ROWS["period"] != 3]))
    assert design.periods.tolist() == [0, 1, 2, 0, 1, 0, 1]


def test_each_lost_row_has_one_reason():
    frame = ROWS.assign(x=[np.nan, 2, 3, 4, np.nan, 6, 7, 8], y=[np.nan, 3, 2, 5, 4, 7, 6, 9])
    design = _design(_panel(frame), absorb=("unit",))
    assert design.lost == {"missing y": 1, "missing x": 1}
    assert design.rows_in == 8
    assert design.n_obs == 6


def test_singletons_of_what_is_absorbed_only():
    assert _design(_panel()).lost == {}
    assert _design(_panel(), absorb=("unit",)).lost == {}
    # periods 3 and 4 hold one row each
    assert _design(_panel(), absorb=("period",)).lost == {"only row of its period": 2}
    # A and B keep two rows each without them
    both = _design(_panel(), absorb=("unit", "period"))
    assert both.lost == {"only row of its period": 2}


@settings(max_examples=60, deadline=None)
@given(cells=st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=2))
def test_no_singleton_is_left(cells):
    frame = pd.DataFrame(sorted(cells), columns=["unit", "period"]).assign(x=1.0, y=2.0)
    left = frame
    while True:
        kept = left[
            left.groupby("unit")["x"].transform("size").gt(1)
            & left.groupby("period")["x"].transform("size").gt(1)
        ]
        if len(kept) == len(left):
            break
        left = kept
    panel = _panel(frame)
    if left.empty:
        with pytest.raises(SpecError, match="only row of its"):
            _design(panel, absorb=("unit", "period"))
    else:
        design = _design(panel, absorb=("unit", "period"))
        assert_array_equal(frame.index[design.source], left.index)
        assert sum(design.lost.values()) == len(frame) - len(left)


def test_changes_by_hand():
    design = _design(_panel(), difference=True, weights="w")
    # A 1-2, B 1-2 and 2-3, C 1-2; A's row in 4 has none in 3
    assert design.lost == {"no row one period earlier": 4}
    assert_array_equal(design.columns[0], [2, -1, 3, 3])
    assert_array_equal(design.columns[1], [1, 1, 1, 1])
    assert_allclose(design.weights, [1 / (1 + 1 / 2), 1 / (1 / 4 + 1), 2 / 3, 1 / (1 / 3 + 1 / 4)])


def test_changes_that_a_missing_value_or_a_zero_weight_spoils():
    frame = ROWS.assign(x=[1.0, np.nan, 3, 4, 5, 6, 7, 8], w=[1.0, 2, 3, 4, 1, 0, 3, 4])
    design = _design(_panel(frame), difference=True, weights="w")
    assert design.lost == {
        "no row one period earlier": 4,
        "missing x or its value one period earlier": 1,
        "weight missing or zero (w)": 1,
    }
    assert design.n_obs == 2


def test_unit_means_by_hand():
    means = _design(_panel(weights="w"), cluster="site").unit_means()
    # C, then A and B: sums of weights 7, 6, 7
    assert_allclose(means.weights, [7, 6, 7])
    assert_allclose(means.columns[1], [(21 + 32) / 7, (1 + 4 + 9) / 6, (16 + 5 + 12) / 7])
    assert means.cluster_starts.tolist() == [0, 1]
    plain = _design(_panel()).unit_means()
    assert_allclose(plain.columns[1], [2, 5, 7.5])
    assert plain.weights is None


def test_what_the_moments_are_told():
    design = _design(_panel(), cluster="site")
    both = design.moment_rows(("unit", "period"))
    assert both.absorbs_unit
    assert both.n_periods == 4
    assert design.moment_rows(("unit",)).periods is None
    constant = design.moment_rows(())
    assert constant.n_periods == 1
    assert_array_equal(constant.unit_starts, design.cluster_starts)
    assert design.moment_rows((), constant=False).periods is None


def test_same_source_names_each_pair_once():
    panel = _panel(provenance={"x": "staff", "y": "staff", "w": ""})
    (one,) = same_source(panel, ["y"], ["x:w", "w"])
    assert one.startswith("x:w and y have one source (staff): ")
    assert same_source(_panel(), ["y"], ["x"]) == []


def test_nothing_left():
    with pytest.raises(SpecError) as error:
        _design(_panel(ROWS.assign(x=np.nan)))
    assert str(error.value) == (
        "None of the 8 rows of the panel can be used (8 missing x). Check that the columns "
        "overlap, and that the lag is shorter than the panel."
    )
    with pytest.raises(SpecError) as error:
        _design(_panel(ROWS.assign(w=0.0)), weights="w")
    assert "(8 weight missing or zero (w))" in str(error.value)


def test_complex_numbers_and_dates_are_no_numbers():
    for column in (ROWS["x"] + 1j, pd.Series(pd.date_range("2024", periods=8))):
        with pytest.raises(SpecError, match="Column 'x' must be numeric to enter a model"):
            _design(_panel(ROWS.assign(x=column)))
