"""Finer sources in a coarser panel: measures anew from rows, ready columns by a declared rule."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import LinkError, SchemaError
from ex_cx.linkage.alignspec import CombineSpec
from ex_cx.linkage.measure import measure_source
from ex_cx.linkage.schema import MeasureSpec, SourceSpec

MONTHS = pd.DataFrame(
    {
        "team": "A",
        "month": ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"],
        "score": [1.0, 2.0, 6.0, 8.0, 9.0],
        "n": [10.0, 20.0, 30.0, 1.0, 1.0],
    }
)


def ready(rule: CombineSpec | None, **options: object) -> SourceSpec:
    combine = {"x": rule} if rule else {}
    settings = {"path": "m.csv", "unit": "team", "period": "month", **options}
    return SourceSpec(columns={"x": "score"}, combine=combine, **settings)


@pytest.mark.parametrize(
    ("rule", "first", "second"),
    [
        (CombineSpec(rule="mean"), 3.0, np.nan),
        (CombineSpec(rule="sum"), 9.0, np.nan),
        (CombineSpec(rule="last"), 6.0, np.nan),
        (CombineSpec(rule="weighted_mean", by="n"), (10 + 40 + 180) / 60, np.nan),
        (CombineSpec(rule="mean", min_share=0.5), 3.0, 8.5),
        (CombineSpec(rule="sum", min_share=0.6), 9.0, 17.0),
    ],
)
def test_months_become_quarters_by_the_rule(rule, first, second):
    found = measure_source(MONTHS, ready(rule), "s", frequency="quarter")
    assert found.frame["period"].astype(str).tolist() == ["2024Q1", "2024Q2"]
    np.testing.assert_allclose(found.frame["x"], [first, second])
    assert found.combined["incomplete"].tolist() == [int(np.isnan(second))]
    assert found.frequency == "quarter"


def test_ready_columns_without_a_rule_are_refused():
    with pytest.raises(
        LinkError, match=r"one row per month and the link one per quarter: 1 column"
    ):
        measure_source(MONTHS, ready(None), "s", frequency="quarter")


def test_measures_are_computed_from_the_rows_of_the_longer_period():
    measures = {"r": MeasureSpec(metric="ratio", numerator="score", denominator="n")}
    spec = SourceSpec(path="m.csv", unit="team", period="month", measures=measures)
    found = measure_source(MONTHS, spec, "s", frequency="quarter")
    np.testing.assert_allclose(found.frame["r"], [9 / 60, 17 / 2])
    year = measure_source(MONTHS, spec, "s", frequency="year")
    assert year.frame["period"].tolist() == [2024]
    np.testing.assert_allclose(year.frame["r"], [26 / 62])


def test_a_quarter_that_the_file_covers_in_part_is_left_out_and_counted():
    measures = {"n_rows": MeasureSpec(metric="count")}
    spec = SourceSpec(
        path="m.csv", unit="team", period="month", measures=measures, first="2024-02",
        last="2024-06",
    )  # fmt: skip
    found = measure_source(MONTHS, spec, "s", frequency="quarter")
    assert found.frame["period"].astype(str).tolist() == ["2024Q2"]
    assert found.flow.frame().query("reason == 'before the window'")["rows_lost"].tolist() == [3]


@pytest.mark.parametrize(
    ("options", "frequency", "message"),
    [
        ({"frequency": "quarter"}, "month", "State `frequency: month` for 's'.*`carry`"),
        ({"carry": 1}, "quarter", "Leave `carry` out"),
        ({"frequency": "integer"}, "year", "plain integers are no dates"),
    ],
)
def test_what_cannot_be_aligned_is_refused_with_the_remedy(options, frequency, message):
    with pytest.raises(SchemaError, match=message):
        measure_source(MONTHS, ready(None, **options), "s", frequency=frequency)


def test_days_of_a_leap_february_are_counted():
    days = pd.DataFrame(
        {"team": "A", "month": pd.date_range("2024-02-01", "2024-02-29"), "score": 1.0}
    )
    spec = ready(CombineSpec(rule="sum"), frequency="day")
    assert measure_source(days, spec, "s", frequency="month").frame["x"].tolist() == [29.0]
    short = measure_source(days.iloc[1:], spec, "s", frequency="month")
    assert short.frame["x"].isna().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "median"}, "There is no rule 'median'"),
        ({"rule": "weighted_mean"}, "needs 'by'"),
        ({"rule": "sum", "by": "n"}, "no other rule takes it"),
        ({"rule": "mean", "min_share": 0}, "min_share must be above 0"),
        ({"rule": "last", "min_share": 0.5}, "takes one value"),
    ],
)
def test_rules_that_say_nothing_are_refused(settings, message):
    with pytest.raises(SchemaError, match=message):
        CombineSpec(**settings)
