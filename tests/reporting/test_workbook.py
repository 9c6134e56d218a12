"""The workbook of a study: numbers stay numbers, hostile text stays text, the same bytes again."""

from __future__ import annotations

import io

import numpy as np
import openpyxl
import pandas as pd
import pytest

from ex_cx.reporting.report import as_json
from ex_cx.reporting.workbook import sheet_name, study_workbook

HOSTILE = ["=cmd|' /C calc'!A0", "+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "http://x.test", "a\x00b"]


@pytest.fixture
def results():
    return pd.DataFrame(
        {
            "run": HOSTILE,
            "estimate": np.linspace(-1, 1, len(HOSTILE)),
            "p_value": [np.nan, *[0.5] * (len(HOSTILE) - 1)],
            "n_obs": range(len(HOSTILE)),
            "headline": True,
        }
    )


@pytest.fixture
def book(results, report):
    content = study_workbook(
        results, {"=run/" + "x" * 40: as_json(report)}, [("study", "=1+1"), ("rows", "3")]
    )
    return openpyxl.load_workbook(io.BytesIO(content))


def test_no_cell_runs_or_links(book):
    cells = [cell for sheet in book for row in sheet for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} <= {"s", "n", "b"}
    assert not any(cell.hyperlink for cell in cells)
    texts = [cell.value for cell in cells if cell.data_type == "s"]
    assert not [text for text in texts if text[:1] in ("=", "+", "-", "@", "\t", "\r")]
    shown = [row[0].value for row in book["results"].iter_rows(min_row=2)]
    assert shown[:4] == [f"'{text}" for text in HOSTILE[:4]]


def test_numbers_stay_numbers_and_what_is_none_is_empty(book, results):
    sheet = book["results"]
    assert [row[1].value for row in sheet.iter_rows(min_row=2)] == pytest.approx(
        list(results["estimate"])
    )
    assert sheet["C2"].value is None
    assert sheet["C3"].number_format == "0.000"
    assert sheet["D3"].value == 1
    assert sheet["E2"].value is True
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == f"A1:E{len(results) + 1}"


def test_a_sheet_a_run_holds_its_tables(book, report):
    names = book.sheetnames
    assert names[:2] == ["contents", "results"]
    assert names[-1] == "provenance"
    assert max(map(len, names)) <= 31
    texts = {cell.value for row in book[names[2]] for cell in row}
    assert report.answer in texts
    assert {table.caption for table in report.every_table()} <= texts
    assert set(report.guards["finding"]) <= texts


def test_the_contents_name_every_sheet_with_question_answer_and_verdict(book, report):
    rows = [[cell.value for cell in row] for row in book["contents"]]
    assert [row[0] for row in rows] == ["sheet", *book.sheetnames[1:]]
    assert rows[2][1:] == [report.title, report.answer, report.grade]


def test_names_that_differ_late_or_in_case_only_get_sheets_of_their_own():
    used: set[str] = set()
    names = [
        sheet_name(text, used) for text in ("x" * 40 + "1", "x" * 40 + "2", "X" * 40, "", "[]")
    ]
    assert len({name.casefold() for name in names}) == 5
    assert max(map(len, names)) <= 31


def test_the_same_study_gives_the_same_bytes(results, report):
    runs = {"a": as_json(report)}
    assert study_workbook(results, runs, []) == study_workbook(results, runs, [])


def test_a_study_without_rows_is_still_a_workbook():
    book = openpyxl.load_workbook(io.BytesIO(study_workbook(pd.DataFrame(), {}, [])))
    assert book.sheetnames == ["contents", "results", "provenance"]
