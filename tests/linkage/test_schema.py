"""A wrong or missing field of a spec is told in full, with the nearest right one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from ex_cx.errors import SchemaError
from ex_cx.linkage.linkspec import DeriveSpec, LinkSpec, WhereSpec
from ex_cx.linkage.schema import MeasureSpec, SourceSpec

NPS = MeasureSpec(metric="nps", score="nps_score")

BAD_MEASURES: list[tuple[dict[str, Any], str]] = [
    (
        {"metric": "npss"},
        (
            "There is no metric 'npss'. Did you mean 'nps'? Metrics: nps, effort, scale_mean, "
            "mean, "
            "share, fcr, attrition, retention, occupancy, aht, ratio, sum, count."
        ),
    ),
    (
        {"metric": "attrition", "hire": "a"},
        "The metric 'attrition' needs 'exit'; state it in its spec.",
    ),
    (
        {"metric": "effort", "score": "effort", "low": 1, "high": 5},
        "The metric 'effort' needs 'direction'; state it in its spec.",
    ),
    (
        {"metric": "retention", "start": "a", "end": "b", "hire": "c"},
        "The metric 'retention' does not use 'hire'. It takes: start, end, weight, window.",
    ),
    (
        {"metric": "count", "score": "x"},
        ("The metric 'count' does not use 'score'. It takes: no further field."),
    ),
    (
        {"metric": "fcr"},
        (
            "The metric 'fcr' needs either 'score' and 'positive' (what customers answered) or "
            "'customer' and 'days' (who contacted again); state one of the two."
        ),
    ),
    (
        {"metric": "fcr", "score": "resolved"},
        "The metric 'fcr' needs 'positive' beside 'score', such as ['yes'].",
    ),
    (
        {"metric": "scale_mean", "items": ("eng_1",), "reverse": ("eng_2",), "low": 1, "high": 5},
        (
            "1 reverse-keyed items are not among the items ('eng_2'). Did you mean 'eng_1'? Name "
            "them "
            "in both lists."
        ),
    ),
    (
        {"metric": "mean", "score": "x", "low": 5, "high": 1},
        "low (5) must be below high (1).",
    ),
    (
        {"metric": "scale_mean", "items": ("a",), "low": 1, "high": 5, "min_share": 1.5},
        "min_share must be above 0 and at most 1; it is 1.5.",
    ),
    (
        {"metric": "attrition", "hire": "a", "exit": "b", "types": ("voluntary",)},
        "'types' lists kinds of exit; state the column 'exit_type', too.",
    ),
]


@pytest.mark.parametrize(("fields", "expected"), BAD_MEASURES)
def test_bad_measures(fields: dict[str, Any], expected: str):
    with pytest.raises(SchemaError) as caught:
        MeasureSpec(**fields)
    assert str(caught.value) == expected


BAD_SOURCES: list[tuple[dict[str, Any], str]] = [
    (
        {"period": "date"},
        (
            "The source 'a.csv' needs either 'columns' (one row per unit and period already) or "
            "'measures' (computed from many rows); state one of the two."
        ),
    ),
    ({"measures": {"x": NPS}}, "The source 'a.csv' needs 'period', its date column."),
    (
        {"period": "date", "frequency": "weekly", "measures": {"x": NPS}},
        "There is no frequency 'weekly'; use one of month, quarter, year, day, hour, integer.",
    ),
    (
        {"measures": {"x": NPS, "y": MeasureSpec(metric="attrition", hire="h", exit="e")}},
        (
            "The source 'a.csv' mixes measures of dated spells ('y') with measures of dated rows. "
            "List "
            "the file as two sources."
        ),
    ),
    (
        {"period": "date", "measures": {"unit": NPS}},
        "The source 'a.csv' brings 'unit', a name that is the key of the panel. Rename it.",
    ),
    (
        {"period": "date", "measures": {"x": NPS}, "attributes": {"x": "site"}},
        "The source 'a.csv' brings 'x', a name that is given twice. Rename it.",
    ),
    (
        {"period": "date", "measures": {"x": NPS}, "min_n": 3},
        (
            "min_n of 'a.csv' is 3; it protects respondents and can only be raised above 5. Leave "
            "it "
            "out, or state more."
        ),
    ),
    (
        {"period": "date", "columns": {"score": "s"}, "ranges": {"scores": (0, 1)}},
        "'ranges' of 'a.csv' names 'scores', which is none of its columns. Did you mean 'score'?",
    ),
    (
        {"period": "date", "measures": {"x": NPS}, "carry": -1},
        "carry of 'a.csv' is -1; it cannot be negative.",
    ),
]


@pytest.mark.parametrize(("fields", "expected"), BAD_SOURCES)
def test_bad_sources(fields: dict[str, Any], expected: str):
    with pytest.raises(SchemaError) as caught:
        SourceSpec(path="a.csv", unit="team", **fields)
    assert str(caught.value) == expected


BAD_STEPS: list[tuple[dict[str, Any], str]] = [
    (
        {"name": "x"},
        (
            "A derived column needs exactly one verb, this one (x) has 0. Verbs: standardise, "
            "mean_of, "
            "first_present, ratio, difference, product, multiply, text_part."
        ),
    ),
    (
        {"name": "x", "mean_of": ("a", "b"), "within": "period"},
        "'mean_of' does not use 'within'. It takes: min_share.",
    ),
    ({"name": "x", "ratio": ("a",)}, "'ratio' needs two columns; 'x' has 1."),
    ({"mean_of": ("a", "b")}, "A 'mean_of' needs 'name', the column it makes."),
    (
        {"name": "unit", "mean_of": ("a", "b")},
        "'unit' is the key of the panel. Name the column otherwise.",
    ),
    (
        {"name": "x", "standardise": ("a", "b")},
        "'standardise' of 2 columns names each <column>_z; leave 'name' ('x') out.",
    ),
]


@pytest.mark.parametrize(("fields", "expected"), BAD_STEPS)
def test_bad_steps(fields: dict[str, Any], expected: str):
    with pytest.raises(SchemaError) as caught:
        DeriveSpec(**fields)
    assert str(caught.value) == expected


def test_a_filter_without_a_condition():
    with pytest.raises(SchemaError) as caught:
        WhereSpec(column="x")
    assert str(caught.value) == (
        "The filter on 'x' states no condition. Give it at_least, at_most, any_of or not_missing."
    )


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (
            SourceSpec,
            {"path": "a", "unit": "u", "period": "p", "columns": {"x": "y"}, "frequncy": 1},
        ),
        (MeasureSpec, {"metric": "nps", "score": "s", "scre": "s"}),
        (DeriveSpec, {"name": "x", "product": ["a", "b"], "from": 1}),
        (WhereSpec, {"column": "x", "min": 1, "at_least": 1}),
        (LinkSpec, {"drive": []}),
    ],
)
def test_a_study_file_may_hold_no_key_that_no_spec_has(kind: type, document: dict[str, Any]):
    with pytest.raises(ValidationError, match="Unexpected keyword argument"):
        TypeAdapter(kind).validate_python(document)


def test_a_study_file_maps_onto_the_specs_one_to_one():
    document = {
        "path": "survey.csv",
        "unit": "team",
        "period": "date",
        "first": 2013,
        "measures": {"cx_nps": {"metric": "nps", "score": "nps_score"}},
        "read": {"delimiter": ";", "missing": ["N/A"]},
    }
    spec = TypeAdapter(SourceSpec).validate_python(document)
    assert spec.measures["cx_nps"] == NPS
    assert spec.read.missing == ("N/A",)
    assert spec.first == 2013


def test_windows_and_days_begin_at_one():
    with pytest.raises(SchemaError) as caught:
        MeasureSpec(metric="retention", start="a", end="b", window=0)
    assert str(caught.value) == "'window' and 'days' count periods and days; the least is 1."
