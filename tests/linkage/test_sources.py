"""Reading: what is detected is reported, identifiers survive, every bad file has its message."""

from __future__ import annotations

import hashlib
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ex_cx.errors import SchemaError, SourceError
from ex_cx.linkage.sources import read_table, shared_path


@pytest.fixture
def write(tmp_path: Path):
    def put(name: str, content: str | bytes) -> Path:
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return put


def message(error: type[Exception], path: Path, **options: object) -> str:
    with pytest.raises(error) as caught:
        read_table(path, **options)
    return str(caught.value)


def test_what_was_detected_is_reported(write):
    content = "unit;share;when\n007;1,5;31.12.2024\nNA;2;01.02.2024\n"
    table = read_table(write("a.csv", content), text=["unit"], dates=["when"])
    report = table.report
    assert table.frame["unit"].tolist() == ["007", "NA"]
    assert table.frame["share"].tolist() == [1.5, 2.0]
    assert table.frame["when"].dt.month.tolist() == [12, 2]
    assert (report.name, report.rows, report.columns) == ("a.csv", 2, 3)
    assert (report.encoding, report.delimiter, report.decimal) == ("utf-8", ";", ",")
    assert report.detected == ("encoding", "delimiter", "decimal")
    assert report.date_formats == {"when": "%d.%m.%Y"}
    assert report.sha256 == hashlib.sha256(content.encode()).hexdigest()
    assert str(write("b", "")).rsplit("/", 1)[0] not in str(report.to_dict())  # no folder in it


def test_what_is_stated_is_not_detected(write):
    table = read_table(
        write("a.csv", "x|y\n1,500|2\n"), delimiter="|", encoding="utf-8", decimal=","
    )
    assert table.frame["x"].tolist() == [1.5]
    assert table.report.detected == ()


@pytest.mark.parametrize("code", ["007", "NA", "NO", "null", "1e5", "N/A", "-", "0x1F"])
def test_identifiers_stay_what_they_are(write, code: str):
    table = read_table(write("a.csv", f"unit,x\n{code},1\n"), text=["unit"])
    assert table.frame["unit"].tolist() == [code]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    codes=st.lists(
        st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1).filter(
            lambda text: text.strip() == text
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_identifier_survives_a_csv(tmp_path: Path, codes: list[str]):
    pd.DataFrame({"unit": codes, "x": 1}).to_csv(tmp_path / "a.csv", index=False)
    assert read_table(tmp_path / "a.csv", text=["unit"]).frame["unit"].tolist() == codes


def test_numbers_are_numbers_unless_they_look_like_identifiers(write):
    table = read_table(
        write("a.csv", "n,f,code,long,word\n1,1.5,007,12345678901234567890,a\n,2,08,1,b\n")
    )
    assert table.frame["n"].iloc[0] == 1
    assert np.isnan(table.frame["n"].iloc[1])
    assert table.frame["f"].tolist() == [1.5, 2.0]
    assert table.frame["code"].tolist() == ["007", "08"]
    assert table.frame["long"].tolist() == ["12345678901234567890", "1"]


def test_blanks_and_stated_markers_are_missing_but_not_in_text(write):
    file = write("a.csv", "unit,x\nN/A,N/A\n  , 3 \n")
    frame = read_table(file, text=["unit"], missing=["N/A"]).frame
    assert frame["unit"].iloc[0] == "N/A"
    assert frame["unit"].isna().tolist() == [False, True]
    assert frame["x"].isna().tolist() == [True, False]
    assert frame["x"].iloc[1] == 3


@pytest.mark.parametrize(
    ("encoding", "found"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("utf-16", "utf-16"), ("cp1252", "cp1252")],
)
def test_encodings_are_found(write, encoding: str, found: str):
    table = read_table(write("a.csv", "unit,x\nMünchen,1\n".encode(encoding)))
    assert table.frame.columns.tolist() == ["unit", "x"]
    assert table.frame["unit"].tolist() == ["München"]
    assert table.report.encoding == found


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_delimiters_are_found(write, mark: str):
    content = "".join(f"{mark.join(cells)}\n" for cells in (["a", "b"], ["1", '"x, y; z"']))
    table = read_table(write("a.txt", content))
    assert table.report.delimiter == mark
    assert table.frame["b"].tolist() == ["x, y; z"]


@pytest.mark.parametrize(
    ("written", "month", "form"),
    [
        (["2024-03-31", "2024-04-01T10:00:00Z"], [3, 4], "2024-03-31"),
        (["2024-03", "2024-04"], [3, 4], "2024-03"),
        (["202403", "202404"], [3, 4], "202403"),
        (["2024Q1", "2024-Q3"], [1, 7], "2024Q1"),
        (["20240331", "20240401"], [3, 4], "20240331"),
        (["2024/3/31", "2024/04/01"], [3, 4], "%Y/%m/%d"),
        (["31/03/2024 9:05", "01/04/2024"], [3, 4], "%d/%m/%Y"),
        (["3/31/2024", "4/1/2024"], [3, 4], "%m/%d/%Y"),
        (["1.4.2024", "2.4.2024"], [4, 4], "%d.%m.%Y"),
    ],
)
def test_dates_in_every_form(write, written: list[str], month: list[int], form: str):
    table = read_table(write("a.csv", "d\n" + "\n".join(written) + "\n"), dates=["d"])
    assert table.frame["d"].dt.month.tolist() == month
    assert table.report.date_formats == {"d": form}


def test_a_stated_date_format_decides(write):
    file = write("a.csv", "d\n03/04/2024\n")
    assert read_table(file, dates=["d"], date_format="%d/%m/%Y").frame["d"].dt.month[0] == 4
    assert read_table(file, dates=["d"], date_format="%m/%d/%Y").frame["d"].dt.month[0] == 3


def test_far_dates_mean_still_there(write):
    table = read_table(write("a.csv", "d\n9999-12-31\n2024-01-01\n"), dates=["d"])
    assert table.frame["d"].dt.year.tolist() == [9999, 2024]


def test_parquet_and_excel_hold_the_same(tmp_path: Path):
    frame = pd.DataFrame(
        {
            "unit": ["007", "A", None],
            "n": [7, 8, 9],
            "day": pd.to_datetime(["2024-01-01", None, "2024-02-01"]),
        }
    )
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_excel(tmp_path / "a.xlsx", index=False)
    for name in ("a.parquet", "a.xlsx"):
        read = read_table(tmp_path / name, text=["unit", "n"], dates=["day"]).frame
        assert read["unit"].tolist()[:2] == ["007", "A"]
        assert read["unit"].isna().tolist() == [False, False, True]
        assert read["n"].tolist() == ["7", "8", "9"]
        assert read["day"].dt.month.tolist()[::2] == [1, 2]


def test_the_sheet_is_stated_when_there_are_several(tmp_path: Path):
    with pd.ExcelWriter(tmp_path / "a.xlsx") as book:
        pd.DataFrame({"x": [1]}).to_excel(book, sheet_name="data", index=False)
        pd.DataFrame({"x": [2]}).to_excel(book, sheet_name="notes", index=False)
    assert read_table(tmp_path / "a.xlsx", sheet="notes").frame["x"].tolist() == [2]
    assert message(SourceError, tmp_path / "a.xlsx") == (
        "'a.xlsx' has 2 sheets ('data', 'notes'). State `sheet`."
    )
    assert message(SourceError, tmp_path / "a.xlsx", sheet="dta") == (
        "'a.xlsx' has no sheet 'dta'. Did you mean 'data'? It has: 'data', 'notes'."
    )


def test_missing_file(tmp_path: Path, write):
    write("employees.csv", "a\n1\n")
    assert message(SourceError, tmp_path / "employee.csv") == (
        f"There is no file '{tmp_path}/employee.csv'. Did you mean 'employees.csv'? The folder "
        "holds 1 file ('employees.csv'). Correct the path or the data root."
    )
    assert message(SourceError, tmp_path / "no" / "a.csv") == (
        f"There is no file '{tmp_path}/no/a.csv': the folder '{tmp_path}/no' does not exist. "
        "Correct the path or the data root."
    )
    assert message(SourceError, tmp_path) == (
        f"'{tmp_path}' is a folder, not a file. Name the file in it."
    )


BAD_FILES = [
    ("a.csv", "", "'a.csv' is empty (0 bytes). Export it again."),
    ("a.csv", " \n\n", "'a.csv' is empty (3 bytes). Export it again."),
    ("a.csv", "x,y\n", "'a.csv' has a header but no rows. Export it again."),
    (
        "a.csv",
        "x,y,x\n1,2,3\n",
        (
            "'a.csv' has 1 column name more than once ('x'). Rename the columns in the file, so "
            "that "
            "each name means one."
        ),
    ),
    (
        "a.csv",
        "x,y\n1,2\n1,2,3\n4\n",
        (
            "'a.csv': 2 rows without the 2 columns of the header (rows 3, 4; the first has 3). "
            "Quote "
            "text that holds ',', or state the delimiter."
        ),
    ),
    (
        "a.csv",
        'x,y\n1,"2\n3,4\n',
        (
            "'a.csv' has a quotation mark that opens (row 2) and does not close, so that rows run "
            "together. Close it in the file."
        ),
    ),
    (
        "a.csv",
        b"unit,x\nM\x81,1\n",
        (
            "'a.csv' is not 'utf-8' or 'cp1252': byte 8 (line 2) cannot be decoded. State the "
            "encoding "
            "it was saved in."
        ),
    ),
    (
        "a.csv",
        b"PK\x03\x04\x00\x00",
        (
            "'a.csv' is not text: it holds null characters. If it is an Excel or Parquet file, "
            "give it "
            "that ending; else state its encoding."
        ),
    ),
    (
        "a.csv",
        "unit;x\nA;1,500\n",
        (
            "'a.csv' has 1 column of numbers written like '9,999' ('x'), where the comma may stand "
            "for the decimals or the thousands. State decimal=',' or "
            "export the numbers without separators."
        ),
    ),
    (
        "a.docx",
        "x",
        (
            "'a.docx' has an ending that is not read. Save it as one of: .csv, .txt, .tsv, "
            ".parquet, "
            ".pq, .xlsx, .xlsm, .xls."
        ),
    ),
]


@pytest.mark.parametrize(("name", "content", "expected"), BAD_FILES)
def test_bad_files_have_their_message(write, name: str, content: str | bytes, expected: str):
    assert message(SourceError, write(name, content)) == expected


def test_a_wrong_delimiter_is_told_by_the_one_column(write):
    file = write("a.csv", "team;date;nps_score\nA;2024-01-01;9\n")
    assert message(SourceError, file, delimiter=",") == (
        "'a.csv', read with ',' between columns, has one column, and its name holds ';' 2 times. "
        "State delimiter=';', or leave it to be detected."
    )


def test_a_wrong_encoding_is_told(write):
    file = write("a.csv", "unit\nMünchen\n".encode("cp1252"))
    assert message(SourceError, file, encoding="utf-8") == (
        "'a.csv' is not 'utf-8': byte 6 (line 2) cannot be decoded. State the encoding it was "
        "saved in."
    )
    assert message(SourceError, file, encoding="utf-9") == (
        "There is no encoding 'utf-9'. State one such as utf-8."
    )


def test_what_only_claims_to_be_excel_or_parquet(write):
    for name, kind in (("a.xlsx", "an Excel"), ("a.parquet", "a Parquet")):
        text = message(SourceError, write(name, "abc"))
        assert text.startswith(f"{name!r} is not {kind} file that can be read (")


def test_ambiguous_and_broken_dates(write):
    assert message(SchemaError, write("a.csv", "d\n03/04/2024\n05/06/2024\n"), dates=["d"]) == (
        "'a.csv', column 'd': 2 different dates written like '99/99/9999', which may have the day "
        "or the month first. State date_format='%d/%m/%Y' or '%m/%d/%Y'."
    )
    assert message(SchemaError, write("a.csv", "d\n13/04/2024\n05/16/2024\n"), dates=["d"]) == (
        "'a.csv', column 'd': 2 different dates written like '99/99/9999', some with the day first "
        "and some with the month first. State date_format='%d/%m/%Y' or '%m/%d/%Y'."
    )
    content = "d\n2024-01-01\n2024-02-30\nsoon\n2024-01-02\n"
    assert message(SchemaError, write("a.csv", content), dates=["d"]) == (
        "'a.csv', column 'd': 2 of 4 values are not dates of the form 2024-03-31 (rows 3, 4; "
        "written like '9999-99-99', 'a'). Correct them, or state `date_format`."
    )


def test_an_unknown_column_names_the_nearest(write):
    file = write("a.csv", "team,hire_date\nA,2024-01-01\n")
    assert message(SchemaError, file, dates=["hiredate"]) == (
        "'a.csv' has no column 'hiredate'. Did you mean 'hire_date'? It has 2: 'team', 'hire_date'."
    )


def test_shared_files_are_found_and_a_wrong_one_is_told():
    assert (shared_path("data") / "contact_centre").is_dir()
    with pytest.raises(SourceError, match="'data/nowhere' does not ship with this installation"):
        shared_path("data", "nowhere")


def test_a_quotation_that_swallows_the_file_is_told(write):
    text = message(SourceError, write("a.csv", 'x,y\n1,"2\n' + "3,4\n" * 9_000_000))
    assert text.startswith("'a.csv' cannot be read as comma-separated text")
    assert text.endswith("Look for an opening quotation mark without its end.")


def test_nested_parquet_columns_are_refused(tmp_path: Path):
    pd.DataFrame({"x": [[1, 2], [3]]}).to_parquet(tmp_path / "a.parquet")
    assert message(SourceError, tmp_path / "a.parquet") == (
        "'a.parquet' has 1 column of lists or records ('x'). Flatten them before exporting."
    )


def test_an_empty_sheet_and_a_missing_package_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pd.DataFrame().to_excel(tmp_path / "a.xlsx", sheet_name="data", index=False)
    assert message(SourceError, tmp_path / "a.xlsx") == (
        "The sheet 'data' of 'a.xlsx' is empty. Name another sheet."
    )
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert message(SourceError, tmp_path / "a.xlsx") == (
        "Reading 'a.xlsx' needs a package for Excel. Install it: pip install 'ex-cx[study]'."
    )


def test_parquet_keeps_its_types_and_text_columns_become_text(tmp_path: Path):
    frame = pd.DataFrame(
        {
            "amount": [Decimal("1.50"), Decimal("2.25")],
            "kind": pd.Categorical(["a", "b"]),
            "half": [7.0, 8.5],
            "day": pd.to_datetime(["2024-01-31", "2024-02-01"]),
        }
    )
    frame.to_parquet(tmp_path / "a.parquet")
    read = read_table(tmp_path / "a.parquet", text=["half", "day"]).frame
    assert read["amount"].tolist() == [1.5, 2.25]
    assert read["kind"].tolist() == ["a", "b"]
    assert read["half"].tolist() == ["7", "8.5"]
    assert read["day"].tolist() == ["2024-01-31", "2024-02-01"]


def test_a_file_that_may_not_be_opened(write, monkeypatch: pytest.MonkeyPatch):
    file = write("a.csv", "x\n1\n")

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert message(SourceError, file) == (
        "'a.csv' cannot be opened: Permission denied. Check its name and who may read it."
    )


def test_a_comma_decimal_is_not_mixed_with_points(write):
    read = read_table(write("a.csv", "x;y\n1,5;1.5\n2,5;2.5\n")).frame
    assert read["x"].tolist() == [1.5, 2.5]
    assert read["y"].tolist() == ["1.5", "2.5"]  # no number where the comma is the decimal mark
