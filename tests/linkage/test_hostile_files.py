"""Files made, or damaged, to break a reader: one message each, never a number made up."""

from __future__ import annotations

import os
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ex_cx import Panel
from ex_cx.errors import PanelError, SchemaError, SourceError
from ex_cx.linkage.check import check_table
from ex_cx.linkage.files import typed
from ex_cx.linkage.schema import ColumnRule, TableSchema
from ex_cx.linkage.sources import read_table


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xef\xbb\xbf\n\n", "'t.csv' is empty: it holds no text. Export it again."),
        (b"\xff\xfe", "'t.csv' is empty: it holds no text. Export it again."),
        (b"unit,score", "'t.csv' has a header but no rows. Export it again."),
    ],
)
def test_a_file_of_marks_or_of_a_header_only_is_empty(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(SourceError) as caught:
        read_table(tmp_path / "t.csv")
    assert str(caught.value) == words


def test_a_header_of_any_length_is_read_whole(tmp_path):
    names = [f"a_column_with_a_long_name_{i:04d}" for i in range(3000)]
    text = ",".join(names) + "\n" + ",".join(["1"] * len(names)) + "\n"
    (tmp_path / "t.csv").write_text(text)
    assert list(read_table(tmp_path / "t.csv").frame.columns) == names


def test_a_line_ends_where_a_csv_says_so(tmp_path):
    """Vertical tabs, U+0085 and U+2028 end lines in Python's `splitlines`, not in a file."""
    text = 'un\x0bit,\u2028score\x85,"long\nname"\n007,1,2\n'
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    frame = read_table(tmp_path / "t.csv").frame
    assert frame.shape == (1, 3)
    assert frame.iloc[0, 0] == "007"


@pytest.mark.parametrize("delimiter", [",,", '"', "\n", "é"])
def test_a_delimiter_is_one_plain_character(tmp_path, delimiter):
    (tmp_path / "t.csv").write_text("unit,score\na,1\n")
    with pytest.raises(SourceError) as caught:
        read_table(tmp_path / "t.csv", delimiter=delimiter)
    assert str(caught.value) == (
        f"{delimiter!r} cannot stand between the columns of 't.csv': a delimiter is one plain "
        "character. State one such as ',' or ';', or leave it to be detected."
    )


@pytest.mark.parametrize("form", ["%Q", "%Y-%m%Y"])
def test_a_date_format_that_is_none_is_refused(tmp_path, form):
    (tmp_path / "t.csv").write_text("day,score\n2024-01-01,1\n")
    with pytest.raises(SchemaError, match=f"date_format='{form}' is no strptime form"):
        read_table(tmp_path / "t.csv", dates=["day"], date_format=form)


def test_a_name_that_no_file_can_have(tmp_path):
    with pytest.raises(SourceError, match=r"cannot be opened: .* Check its name and who may read"):
        read_table(tmp_path / f"{'a' * 300}.csv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(SourceError, match=r"is no regular file. Name a file that holds the table"):
        read_table(tmp_path / "t.csv")


def test_an_excel_file_that_unpacks_to_very_much_is_not_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "t.xlsx"
    pd.DataFrame({"unit": ["a"], "score": [1]}).to_excel(path, index=False)
    monkeypatch.setattr(typed, "MOST_UNPACKED", 1000)
    with pytest.raises(SourceError, match=r"'t.xlsx' unpacks to .* GiB; an Excel file is read up"):
        read_table(path)


def test_a_damaged_sheet_is_told_in_one_message(tmp_path):
    path = tmp_path / "t.xlsx"
    pd.DataFrame({"unit": ["a"], "score": [1]}).to_excel(path, index=False)
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    with zipfile.ZipFile(path, "w") as book:
        for name, content in parts.items():
            book.writestr(name, b"<broken" if name.endswith("sheet1.xml") else content)
    with pytest.raises(SourceError, match=r"'t.xlsx' is not an Excel file that can be read"):
        read_table(path)


def test_parquet_with_a_repeated_name_or_with_bytes(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    with pytest.raises(SourceError, match=r"has 1 column name more than once \('a'\)"):
        read_table(path)
    pq.write_table(pa.table({"unit": pa.array([b"007"]), "score": pa.array([1])}), path)
    with pytest.raises(SourceError) as caught:
        read_table(path)
    assert str(caught.value) == (
        "'t.parquet' has 1 column of bytes, not text ('unit'). Export them as text."
    )


def test_hexadecimal_text_is_no_number(tmp_path):
    (tmp_path / "t.csv").write_text("unit,score\na,0x10\nb,2\n")
    assert read_table(tmp_path / "t.csv").frame["score"].tolist() == ["0x10", "2"]


def test_dates_and_durations_are_no_numbers():
    """As numbers they would be microseconds since 1970."""
    rules = TableSchema(name="t.parquet", columns=(ColumnRule(name="x"),))
    for column in (pd.to_datetime(["2024-01-01"]), pd.to_timedelta([1], unit="D")):
        with pytest.raises(SchemaError, match="'x': 1 of 1 values are not numbers"):
            check_table(pd.DataFrame({"x": column}), rules)


@pytest.mark.parametrize("period", [np.inf, 1e300])
def test_a_period_that_no_calendar_holds(period):
    frame = pd.DataFrame({"unit": ["a", "b"], "period": [1.0, period]})
    with pytest.raises(PanelError, match="1 of 2 periods in 'period' are not whole numbers"):
        Panel.from_frame(frame, unit="unit", period="period")


def test_a_file_of_blanks_of_unicode_only_is_empty(tmp_path):
    (tmp_path / "t.csv").write_text("\u2003\u2028\n\u3000\n", encoding="utf-8")
    with pytest.raises(SourceError, match="is empty: it holds no text"):
        read_table(tmp_path / "t.csv")
