"""Rows are told by the number that a spreadsheet shows, and a first row of data is no header."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ex_cx.errors import SchemaError, SourceError
from ex_cx.linkage.alignspec import CrosswalkSpec
from ex_cx.linkage.crosswalk import read_crosswalk
from ex_cx.linkage.exportmaps.column import ColumnMapping
from ex_cx.linkage.exportmaps.spec import FileForm, TableMapping
from ex_cx.linkage.files.delimited import delimited_cells
from ex_cx.linkage.files.places import looks_like_data
from ex_cx.linkage.measure import measure_source
from ex_cx.linkage.opening import read_source
from ex_cx.linkage.schema import MeasureSpec, SourceSpec
from ex_cx.linkage.sources import read_table
from tests.linkage.companies import quick

LINES = st.lists(
    st.sampled_from(["", "1,2", '"a\n\nb",x', '"quoted, ""so""",5', '5" by 6",6', " ,"]),
    min_size=1,
    max_size=25,
)


@quick(200)
@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]), st.integers(0, 3))
def test_every_row_has_the_number_that_a_spreadsheet_shows(lines, end, above):
    """By hand: a blank line counts, a line break inside of quotation marks does not."""
    written = [*[""] * above, "a,b", *lines, "9,9"]
    content = end.join(written).encode()
    cells = delimited_cells("t.csv", content, encoding=None, delimiter=",")
    expected = [at for at, line in enumerate(written, start=1) if line and line != "a,b"]
    found = range(2, len(cells.frame) + 2) if cells.rows is None else cells.rows
    assert list(found) == expected


SPEC = SourceSpec(
    path="t.csv", unit="team", period="day", measures={"cx": MeasureSpec(metric="nps", score="s")}
)
GOOD = "team,day,s\n\nT1,2024-01-05,9\n\n\n"


def measured(folder, text: str, spec: SourceSpec = SPEC):
    (folder / "t.csv").write_text(text)
    return measure_source(read_source(spec, folder), spec, "t")


@pytest.mark.parametrize(
    ("row", "column"), [("T1,2024-02-05,many", "s"), ("T1,none,9", "day")], ids=["number", "date"]
)
def test_a_wrong_value_below_blank_lines_is_told_by_its_row(tmp_path, row, column):
    with pytest.raises(SchemaError, match=rf"'{column}'.*\(row 6;"):
        measured(tmp_path, f"{GOOD}{row}\n")


def test_the_rest_of_the_messages_too(tmp_path):
    with pytest.raises(SourceError, match=r"1 row without the 3 columns of the header \(row 6;"):
        measured(tmp_path, f"{GOOD}T1,2024-02-05\n")
    spells = SourceSpec(
        path="t.csv",
        unit="team",
        measures={"ex": MeasureSpec(metric="attrition", hire="day", exit="s")},
        first="2024-01",
        last="2024-03",
    )
    text = "team,day,s\n\nT1,2024-01-05,\n\nT1,2024-02-05,2024-01-01\n"
    with pytest.raises(SchemaError, match=r"1 row of 2 end before they start .* row 5\)"):
        measured(tmp_path, text, spells)
    rules = TableMapping(
        columns={"s": ColumnMapping(kind="number")}, file=FileForm(above_header=1, below_header=1)
    )
    (tmp_path / "m.csv").write_text("An export\nteam,s\n\nid,id\n\nT1,1\n\nT2,x\n")
    with pytest.raises(SchemaError, match=r"\(row 8[;)]"):
        read_table(tmp_path / "m.csv", mapping=rules)


def test_a_line_of_a_crosswalk_too(tmp_path):
    head = "source_unit,target_unit,valid_from,valid_to\n\n\nA,B,2023-01,\n\n"
    (tmp_path / "units.csv").write_text(f"{head}C,D,2024-03,2024-01\n")
    with pytest.raises(SchemaError, match=r"1 line of 2 end before they start \(row 6\)"):
        read_crosswalk(CrosswalkSpec(path="units.csv"), tmp_path, dated=True)
    (tmp_path / "units.csv").write_text(f"{head}C,,2024-03,\n")
    with pytest.raises(SchemaError, match=r"no 'target_unit' \(row 6\)"):
        read_crosswalk(CrosswalkSpec(path="units.csv"), tmp_path, dated=True)


DATA = {
    "values": "T1,2024-01-31,7\nT2,2024-02-29,8\n",
    "an address": "anna.lee@firm.example,x,y\nbert@firm.example,x,z\n",
    "values that stand below": "Anna Lee,North,7\nAnna Lee,North,8\nAnna Lee,North,9\n",
    "money": "Anna Lee,1.25,12.5,13.7\nBert,3,4,5\n",
}


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_a_first_row_of_data_is_not_told_as_names(tmp_path, kind, ending):
    path = tmp_path / f"t.{ending}"
    path.write_text(DATA[kind])
    if ending == "xlsx":
        rows = [line.split(",") for line in DATA[kind].splitlines()]
        pd.DataFrame(rows).to_excel(path, header=False, index=False)
    told = rf"The first row of 't.{ending}' does not look like column names"
    with pytest.raises(SourceError, match=told) as caught:
        read_table(path, dates=["day"])
    assert not any(value in str(caught.value) for value in ("Anna", "anna", "T1", "North", "2024"))


@pytest.mark.parametrize(
    "names",
    [
        ["team", "2022", "2023", "2024"],
        ["team", "2024-01", "2024-02", "2024-03"],
        ["week", *map(str, range(1, 53))],
        ["team", "2024-01-31", "2024-02-29", "2024-03-31"],
        ["team", "score"],
        ["", "", "1"],
        ["unit", "1"],
    ],
)
def test_names_that_are_years_months_or_counted_are_names(names):
    assert not looks_like_data(names, [["T1"] * len(names), ["5"] * len(names)] * 3)


def test_a_header_that_comes_again_is_one():
    again = ["team", "score"]
    assert not looks_like_data(again, [["T1", "5"], again, ["T2", "6"], again])
