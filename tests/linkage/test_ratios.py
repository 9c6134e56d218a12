"""Ratios of several columns: service levels, handle time and occupancy from what exports have."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
import pytest

from ex_cx import MeasureSpec, SourceSpec, measure_source
from ex_cx.errors import SchemaError
from ex_cx.linkage import metrics
from ex_cx.linkage.validation import check
from ex_cx.studies.study import load_study

INTERVALS = pd.DataFrame(
    {
        "queue": ["A", "A", "A", "B", "B", "B"],
        "start": pd.to_datetime(["2024-01-02", "2024-01-03", "2024-02-01"] * 2),
        "offered": [100, 50, 80, 40, 60, 20],
        "answered": [90, 40, 70, 40, 50, 10],
        "in_20_s": [72, 30, 60, 38, 20, 5],
        "abandoned": [10, 10, 10, 0, 10, 10],
        "short": [4, 2, 1, 0, 3, np.nan],
        "talk": [900.0, 420.0, 800.0, 400.0, 510.0, 99.0],
        "hold": [90.0, 12.0, 0.0, 40.0, 51.0, 9.0],
        "wrap": [180.0, 60.0, 70.0, 80.0, 90.0, 10.0],
        "waiting": [300.0, 200.0, 100.0, 50.0, 600.0, 70.0],
    }
)


def ratio(numerator, denominator, metric="ratio", **more) -> MeasureSpec:
    per = {"per": 100} if metric == "ratio" else {}
    return MeasureSpec(metric=metric, numerator=numerator, denominator=denominator, **(per | more))


HANDLE = ("talk", "hold", "wrap")
MEASURES = {
    "offered": ratio("in_20_s", "offered"),
    "answered": ratio("in_20_s", "answered"),
    "net_of_short": ratio("in_20_s", ("offered", "-short")),
    "with_abandoned": ratio(("in_20_s", "short"), "offered"),
    "gone": ratio(("abandoned", "-short"), ("offered", "-short")),
    "aht": ratio(HANDLE, "answered", "aht"),
    "occupancy": ratio(HANDLE, (*HANDLE, "waiting"), "occupancy"),
}


def source(**measures) -> SourceSpec:
    return SourceSpec(path="intervals.csv", unit="queue", period="start", measures=measures)


def test_each_convention_of_service_level_is_a_ratio_of_sums():
    """As `metrics.service_level` of the month's counts, and abandonment, by hand the others."""
    first = measure_source(INTERVALS, source(**MEASURES), "intervals").frame.iloc[0]
    month = INTERVALS.iloc[:2].sum(numeric_only=True)
    counts = {"answered": month["answered"], "abandoned": month["abandoned"]}
    for convention in get_args(metrics.ServiceConvention):
        of_counts = metrics.service_level(
            month["in_20_s"], **counts, abandoned_in_time=month["short"], convention=convention
        )
        assert first[convention] == pytest.approx(of_counts.estimate, rel=1e-12)
    gone = metrics.abandonment_rate(month["abandoned"], month["offered"], short=month["short"])
    assert first["gone"] == pytest.approx(gone.estimate, rel=1e-12)
    assert first["aht"] == pytest.approx((1320 + 102 + 240) / 130, rel=1e-12)
    assert first["occupancy"] == pytest.approx(100 * 1662 / (1662 + 500), rel=1e-12)


def test_a_row_that_lacks_one_column_is_in_neither_sum_and_counted():
    found = measure_source(INTERVALS, source(net=MEASURES["net_of_short"]), "intervals")
    assert np.isnan(found.frame.set_index(["unit", "period"])["net"].iloc[-1])  # B, February
    assert found.suppressed["blank_answers"].tolist() == [1]


def test_a_database_adds_up_the_same():
    ibis = pytest.importorskip("ibis")
    pytest.importorskip("duckdb")
    here = measure_source(INTERVALS, source(**MEASURES), "intervals")
    there = measure_source(ibis.memtable(INTERVALS), source(**MEASURES), "intervals")
    pd.testing.assert_frame_equal(here.frame, there.frame, rtol=1e-12)
    pd.testing.assert_frame_equal(here.suppressed, there.suppressed)
    assert here.definitions == there.definitions


def test_the_definition_says_what_is_added_and_what_taken_away():
    found = measure_source(INTERVALS, source(gone=MEASURES["gone"]), "intervals").definitions
    assert found["gone"] == ("100 x sum of ('abandoned' - 'short') / sum of ('offered' - 'short')")


@pytest.mark.parametrize("bad", [("a", "a"), ("-a",), "-a", ("a", ""), (), ("a", "-a")])
def test_a_sum_that_makes_no_sense_is_refused(bad):
    with pytest.raises(SchemaError, match="must name each column once"):
        ratio(bad, "offered")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (5, (("numerator",), "must be text or a list of texts; found the number 5.")),
        ({"a": 1}, (("numerator",), "must be text or a list of texts; found `key: value` pairs.")),
        (["a", 2], (("numerator", 1), "must be text; found the number 2. Put it in quotes.")),
    ],
)
def test_a_wrong_kind_of_value_is_told_once(given, told):
    measure = {"metric": "ratio", "numerator": given, "denominator": "b"}
    assert check(MeasureSpec, measure) == (None, [told])


def test_a_study_file_states_them_as_lists(tmp_path):
    (tmp_path / "study.yaml").write_text(
        """
study: lists
title: Lists
data:
  sources:
    calls:
      path: intervals.csv
      unit: queue
      period: start
      measures:
        cx_net_pct: {metric: ratio, numerator: in_20_s, denominator: [offered, -short], per: 100}
unit: unit
period: period
roles: {exposures: [cx_net_pct], outcomes: [cx_net_pct]}
notebooks: [data_audit]
""".lstrip()
    )
    (measure,) = load_study(tmp_path / "study.yaml").study.data.sources["calls"].measures.values()
    assert measure == ratio("in_20_s", ("offered", "-short"))


@pytest.mark.parametrize("order", [("broad", "narrow"), ("narrow", "broad")])
def test_of_two_ranges_of_one_column_both_hold(order):
    ease = {"metric": "effort", "score": "ease", "direction": "low_is_bad", "low": 1, "high": 7}
    both = {"broad": MeasureSpec(metric="mean", score="ease"), "narrow": MeasureSpec(**ease)}
    rows = INTERVALS.assign(ease=[1, 7, 8, 2, 3, 4])
    with pytest.raises(SchemaError, match="1 of 6 values are not 1 to 7"):
        measure_source(rows, source(**{name: both[name] for name in order}), "intervals")
