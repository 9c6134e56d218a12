"""A mapping proposed from a file: it loads as it is, reads the file, and marks every guess."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ex_cx import read_mapping, read_table
from ex_cx.errors import SchemaError, SourceError, StudyError
from ex_cx.linkage.exportmaps.column import ColumnMapping
from ex_cx.linkage.exportmaps.draft import propose_mapping
from ex_cx.linkage.exportmaps.spec import TableMapping
from ex_cx.linkage.measure import measure_source
from ex_cx.linkage.opening import read_source
from ex_cx.linkage.sources import shared_path
from ex_cx.studies.proposing import propose_for_file

SAMPLES = shared_path("data", "mappings", "samples")
EXPORTS = [
    *sorted(path for path in SAMPLES.iterdir() if path.suffix in (".csv", ".txt")),
    *sorted(shared_path("data", "contact_centre").glob("*.csv")),
]


@pytest.fixture
def proposed(tmp_path):
    """Writes a file, and returns the proposal's text, its mapping and what it reads."""

    def propose(text: str, name: str = "export.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        written = propose_mapping(tmp_path / name)
        (tmp_path / "p.yaml").write_text(written, encoding="utf-8")
        mapping = read_mapping(tmp_path / "p.yaml")
        return written, mapping.table.columns, read_table(tmp_path / name, mapping=mapping).frame

    return propose


@pytest.mark.parametrize("path", EXPORTS, ids=lambda path: path.stem)
def test_a_proposal_loads_as_it_is_and_reads_its_file(path, tmp_path):
    text = propose_mapping(path)
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    mapping = read_mapping(tmp_path / "p.yaml")
    table = read_table(path, mapping=mapping)
    kept = table.report.rows - sum(n for _, n in table.lost)
    assert len(table.frame) == kept > 0
    assert mapping.source.unit in table.frame
    assert "# guess" in text


def test_a_survey_is_proposed_as_the_ready_mapping_has_it():
    text = propose_mapping(SAMPLES / "qualtrics_survey_text.csv")
    assert "below_header: 2" in text
    assert "{column: Status, none_of: [Survey Preview, Survey Test" in text
    assert 'choices: {"0 - Not at all likely": 0, "10 - Extremely likely": 10}' in text
    assert "Strongly disagree: 1, Somewhat disagree: 2, Neither agree nor disagree: 3" in text
    assert "period: recorded_date  # guess" in text


QUALTRICS = """StartDate,ResponseId,Status,Q1_NPS_GROUP,segment,branch
Start Date,Response ID,Response Type,Group,Segment,Branch
"{""ImportId"":""startDate"",""timeZone"":""ZONE""}","{""ImportId"":""_recordId""}",\
"{""ImportId"":""status""}","{""ImportId"":""QID1_NPS""}","{""ImportId"":""s""}","{""ImportId"":""b""}"
2024-03-01 09:00:00,R_1,IP Address,Promoter,big,A
2024-03-02 09:00:00,R_2,Survey Preview,Detractor,small,B
"""


def test_a_survey_says_its_zone_and_which_column_is_the_unit(proposed):
    text, columns, frame = proposed(QUALTRICS.replace("ZONE", "America/New_York"))
    assert "times: {zone: America/New_York, to: America/New_York}  # guess" in text
    assert "unit: branch  # guess" in text
    assert "period: start_date  # guess" in text
    assert frame["branch"].tolist() == ["A"]
    assert "q1_nps_group" in columns


@pytest.mark.parametrize("zone", ["Mars/Base", "../../etc/passwd", "/etc/passwd", "x" * 70, ""])
def test_a_zone_that_there_is_not_is_not_proposed(proposed, zone):
    text, _, frame = proposed(QUALTRICS.replace("ZONE", zone))
    assert "# times: {zone: ..." in text
    assert len(frame) == 1
    assert not zone or zone not in text


def test_the_only_time_is_the_period(proposed):
    text, _, _ = proposed("ts|branch|handle_sec\n03/01/2024 09:30|A|1\n03/02/2024 10:00|B|2\n")
    assert "period: ts  # guess" in text


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ("hire_date,exit_date", "ex_attrition_pct: {metric: attrition, hire: hire_date, exit:"),
        ("joined,end_date", "ex_attrition_pct: {metric: attrition, hire: joined, exit: end_date}"),
        ("start_date,churn_date", "cx_retention_pct: {metric: retention, start: start_date, end:"),
        ("contract_start,contract_end", "cx_retention_pct: {metric: retention, start: contract"),
    ],
)
def test_first_and_last_days_are_spells_and_no_period(proposed, head, told):
    text, _, _ = proposed(f"{head},branch\n2024-03-01,2024-04-01,A\n2024-03-02,2024-05-01,B\n")
    assert told in text
    assert "period:" not in text


@pytest.mark.parametrize("head", ["start_time,end_time", "StartDate,EndDate", "opened,answered"])
def test_the_end_of_a_call_is_no_spell(proposed, head):
    text, _, _ = proposed(f"{head},branch\n2024-03-01,2024-03-01,A\n2024-03-02,2024-03-02,B\n")
    assert "metric:" not in text
    assert "period:" in text


def test_months_and_yes_and_no_are_measured_as_proposed(tmp_path):
    rows = pd.DataFrame(
        {"team": ["A", "B"] * 20, "wave": "2024-01", "resolved": ["yes", "no"] * 20}
    )
    rows.to_csv(tmp_path / "calls.csv", index=False)
    (tmp_path / "p.yaml").write_text(propose_mapping(tmp_path / "calls.csv"), encoding="utf-8")
    spec = read_mapping(tmp_path / "p.yaml").source_spec("calls.csv")
    found = measure_source(read_source(spec, tmp_path), spec, "calls").frame
    assert found["cx_fcr_pct"].tolist() == [100, 0]
    assert found["period"].astype(str).tolist() == ["2024-01"] * 2


def test_a_shift_file_is_proposed_with_its_clock_and_its_shift():
    text = propose_mapping(SAMPLES / "workforce_intervals.txt")
    assert (
        'interval_start: {column: SHIFT_DATE, format: "%m%d%Y", shift_start: SHIFT_START, '
        "clock: INTERVAL_START}  # guess"
    ) in text


def test_totals_titles_and_the_end_of_time(proposed):
    text, columns, frame = proposed(
        "Report of all accounts\nPrinted on Monday\nstore,closed_date,sales\n"
        '007,12/31/9999,"1,200"\n018,3/14/2024,850\nGrand Total,,"2,050"\n'
    )
    assert "above_header: 2" in text
    assert 'missing: ["12/31/9999"]' in text
    assert columns["sales"].thousands == ","
    assert frame["store"].tolist() == ["007", "018"]
    assert frame["sales"].tolist() == [1200, 850]
    assert frame["closed_date"].isna().tolist() == [True, False]


def test_instants_with_an_offset_are_brought_to_utc(proposed):
    text, _, frame = proposed(
        "queue,started\nA,2024-07-01T09:00:00+02:00\nB,2024-07-01T09:00:00Z\n"
    )
    assert "times: {zone: written, to: UTC}  # guess" in text
    assert frame["started"].dt.hour.tolist() == [7, 9]


def test_people_and_what_they_wrote_are_left_behind_with_no_value_in_sight(proposed):
    text, columns, _ = proposed(
        "team,Employee Name,E-mail,Comment,score\n"
        "A,Grace Hopper,grace@example.org,The late shifts are too long for me to bear them,4\n"
        "B,Alan Turing,alan@example.org,My manager never listens when I say what I need,5\n"
    )
    assert sorted(columns) == ["score", "team"]
    assert 'left behind, it may name a person: "Employee Name"' in text
    for value in ("Grace", "alan@", "manager"):
        assert value not in text


def test_names_that_yaml_would_read_otherwise_and_names_that_collide(proposed):
    text, columns, frame = proposed('team,"true","a: b","a.b",#1,{x}\nA,1,2,3,4,5\nB,2,3,4,5,6\n')
    assert list(columns) == ["team", "true", "a_b", "a_b_2", "c_1", "x"]
    assert frame.iloc[0, 1:].tolist() == [1, 2, 3, 4, 5]
    assert '"true": {column: "true"' in text


def test_text_with_a_leading_equals_sign_stays_text(proposed):
    _, _, frame = proposed('team,customer,cell\nA,"=""0012""",=1+1\nB,"=""0300""",=2+2\n')
    assert frame["customer"].tolist() == ["0012", "0300"]
    assert frame["cell"].tolist() == ["=1+1", "=2+2"]


def test_answers_that_differ_in_capitals_are_one_choice(proposed):
    _, columns, frame = proposed(
        "team,likely\nA,0 - Not at all\nB,0 - not at ALL\nC,10 - Very\nD,7\n"
    )
    assert list(columns["likely"].choices.values()) == [0, 10]
    assert frame["likely"].tolist() == [0, 0, 10, 7]


def test_an_excel_file_with_titles_and_several_sheets(tmp_path):
    rows = [
        ["Headcount", None, None],
        ["store", "month", "n"],
        ["A", "2024-01", 4],
        ["B", "2024-01", 5],
    ]
    with pd.ExcelWriter(tmp_path / "x.xlsx") as book:
        pd.DataFrame(rows).to_excel(book, sheet_name="Data 1", header=False, index=False)
        pd.DataFrame([["x"]]).to_excel(book, sheet_name="Notes", header=False, index=False)
    text = propose_mapping(tmp_path / "x.xlsx")
    assert 'sheet: "Data 1", above_header: 1' in text
    (tmp_path / "p.yaml").write_text(text)
    frame = read_table(tmp_path / "x.xlsx", mapping=read_mapping(tmp_path / "p.yaml")).frame
    assert frame["n"].tolist() == [4, 5]


def test_of_a_huge_file_the_beginning_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr("ex_cx.linkage.exportmaps.draft.MOST_BYTES", 200)
    lines = "".join(f'S{i},"{i}, or\nmore"\n' for i in range(100))
    (tmp_path / "t.csv").write_text(f"store,score\n{lines}")
    assert propose_mapping(tmp_path / "t.csv").startswith(
        "# Proposed by `ex-cx map` from the first 1"
    )


def test_a_proposal_is_never_written_over_a_file(tmp_path):
    out = tmp_path / "p.yaml"
    text, told = propose_for_file(SAMPLES / "hris_headcount.csv", out)
    assert out.read_text(encoding="utf-8") == text
    assert told[:3] == [
        f"written: {out}",
        "It reads 8 of 9 rows into 8 columns.",
        "left out, 'Dept' is 'Grand Total': 1 row",
    ]
    with pytest.raises(StudyError, match="exists, and is not written over"):
        propose_for_file(SAMPLES / "hris_headcount.csv", out)
    with pytest.raises(StudyError, match="cannot be written: No such file or directory"):
        propose_for_file(SAMPLES / "hris_headcount.csv", tmp_path / "no" / "p.yaml")


def test_what_is_no_table_is_told(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\x00\x01\x02")
    with pytest.raises(SourceError, match="it holds null characters"):
        propose_mapping(tmp_path / "t.csv")
    with pytest.raises(SourceError, match="There is no file"):
        propose_mapping(tmp_path / "none.csv")


@pytest.mark.parametrize(("word", "told"), [("n < 5", True), ("*", True), ("Ann Lee", False)])
def test_a_sign_for_no_value_is_written_out_and_what_may_be_a_name_is_not(tmp_path, word, told):
    path = tmp_path / "load.csv"
    path.write_text("team,load\n" + "".join(f"T{n},{n}.5\n" for n in range(9)) + f"T1,{word}\n")
    assert (word in propose_mapping(path)) == told


def test_a_proposal_that_reads_nothing_is_not_written(tmp_path):
    path, out = tmp_path / "people.csv", tmp_path / "mapping.yaml"
    path.write_text("e-mail,comment\na@b.example,\nb@b.example,\n")
    told = "None of the 2 columns of 'people.csv' is one to take: it may name a person; it is empty"
    with pytest.raises(SourceError, match=told):
        propose_for_file(path, out)
    assert not out.exists()


def test_words_beside_a_number_are_written_out_at_the_ends_only(tmp_path):
    path = tmp_path / "asked.csv"
    path.write_text("team,likely\nA,0 - Not at all\nB,9 - Ann Lee\nC,10 - Very\n")
    assert "Ann Lee" not in propose_mapping(path)


def test_a_date_beyond_every_calendar_is_told_without_it(tmp_path):
    path = tmp_path / "people.parquet"
    far = pa.array([2**31 - 1] * 9, pa.int32()).cast(pa.date32())
    pq.write_table(pa.table({"team": ["A"] * 9, "date": far}), path)
    rules = TableMapping(columns={"date": ColumnMapping(kind="time")})
    with pytest.raises(SchemaError, match="'date' holds dates beyond the year 290,000") as caught:
        read_table(path, mapping=rules)
    assert "5881580" not in str(caught.value)
