"""A table's problems come in one message, with rows, counts and what to do."""

from __future__ import annotations

import sys

import pandas as pd
import pytest

from ex_cx.errors import SchemaError
from ex_cx.linkage.check import check_table
from ex_cx.linkage.schema import ColumnRule, TableSchema

ANSWERS = TableSchema(
    name="answers.csv",
    columns=(
        ColumnRule(name="score", low=0, high=10),
        ColumnRule(name="day", kind="date"),
        ColumnRule(name="solved", kind="text", allowed=("yes", "no")),
        ColumnRule(name="team", kind="text", required=True),
    ),
    key=("team", "day"),
)


def good() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "score": ["7", None, "10"],
            "day": ["2024-01-01", "2024-01-02", "2024-01-03"],
            "solved": ["yes", None, "no"],
            "team": ["007", "A", "B"],
            "other": [1, 2, 3],
        }
    )


def message(frame: pd.DataFrame, schema: TableSchema = ANSWERS) -> str:
    with pytest.raises(SchemaError) as caught:
        check_table(frame, schema)
    return str(caught.value)


def test_a_good_table_comes_back_typed_and_the_input_is_untouched():
    frame = good()
    before = frame.copy()
    checked = check_table(frame, ANSWERS)
    pd.testing.assert_frame_equal(frame, before)
    assert checked["score"].tolist()[::2] == [7.0, 10.0]
    assert checked["day"].dt.day.tolist() == [1, 2, 3]
    assert checked["team"].tolist() == ["007", "A", "B"]
    assert checked["other"].tolist() == [1, 2, 3]


def test_all_problems_are_in_one_message():
    frame = pd.DataFrame(
        {
            "score": ["7", "n/a", "12", "inf", None],
            "day": ["2024-01-01", "2024-13-01", "2024-01-02", "2024-01-03", "2024-01-03"],
            "solved": ["yes", "no", "perhaps", None, "no"],
            "team": ["A", "A", None, "B", "B"],
        }
    )
    assert message(frame).splitlines() == [
        "'answers.csv' has 7 problems in 5 rows.",
        (
            "- 'day': 1 of 5 values are not dates of the form 2024-03-31 (row 3; written like "
            "'9999-99-99'). "
            "Correct them, or state `date_format`."
        ),
        (
            "- 'score': 1 of 5 values are not numbers (row 3; written like 'a/a'). Correct them, "
            "or list the marker of missing values under `missing`."
        ),
        "- 'score': 1 of 5 values are infinite (row 5). Correct or blank them.",
        (
            "- 'score': 1 of 5 values are not 0 to 10 (row 4; written like '99'). Correct them, or "
            "state the "
            "range that is right."
        ),
        (
            "- 'solved': 1 of 5 values are not among the allowed ones (row 4; written like 'a'). "
            "Correct the spelling, or allow them."
        ),
        (
            "- 'team': 1 of 5 values are missing (row 4). Fill them, or leave the rows out of the "
            "file."
        ),
        (
            "- 'team' and 'day': 1 of 5 rows repeat a key already there (row 6). "
            "Keep one row for each."
        ),
    ]


def test_text_in_a_numeric_column_names_rows_as_a_spreadsheet_counts_them():
    rows = pd.DataFrame({"x": ["1"] * 10 + ["N<15"] * 8})
    assert message(rows, TableSchema(name="t", columns=(ColumnRule(name="x"),))) == (
        "'t' has 1 problem in 18 rows.\n"
        "- 'x': 8 of 18 values are not numbers (rows 12, 13, 14, 15, 16 and 3 more; written like "
        "'a<99'). Correct them, or list the marker of missing values under `missing`."
    )


def test_infinite_values_of_a_typed_column_are_found():
    rows = pd.DataFrame({"x": [1.0, float("inf"), float("-inf")]})
    assert message(rows, TableSchema(name="t", columns=(ColumnRule(name="x"),))) == (
        "'t' has 1 problem in 3 rows.\n"
        "- 'x': 2 of 3 values are infinite (rows 3, 4). Correct or blank them."
    )


def test_missing_columns_name_the_nearest():
    assert message(good().rename(columns={"score": "scores", "day": "date"})) == (
        "'answers.csv' lacks 2 columns ('score', 'day'). Did you mean 'scores'? It has 5: "
        "'scores', 'date', 'solved', 'team', 'other'."
    )


def test_a_bound_on_one_side_is_worded_as_such():
    rows = pd.DataFrame({"x": [-1.0, 2.0]})
    text = message(rows, TableSchema(name="t", columns=(ColumnRule(name="x", low=0),)))
    assert "'x': 1 of 2 values are not at least 0 (row 2)." in text


def test_without_pandera_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandera.pandas", None)
    assert message(good()) == (
        "Checking tables needs the package pandera. Install it: pip install 'ex-cx[study]'."
    )
