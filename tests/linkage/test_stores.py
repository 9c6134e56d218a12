"""DuckDB files and folders of Parquet are opened, not read; a wrong one is refused by name."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import pytest

from ex_cx.errors import SchemaError, SourceError
from ex_cx.linkage.link import link_study_data, read_source
from ex_cx.linkage.schema import DatabaseSpec, MeasureSpec, ReadSpec, SourceSpec
from ex_cx.linkage.stores import open_table

ROWS = pd.DataFrame(
    {
        "team": ["A", "B"] * 20,
        "day": pd.to_datetime(["2024-01-05", "2024-02-05"]).repeat(20),
        "score": [9.0, 7, 3, 10] * 10,
    }
)
MEASURES = {"cx_nps": MeasureSpec(metric="nps", score="score")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    parts = tmp_path / "answers"
    parts.mkdir()
    ROWS.head(15).to_parquet(parts / "part-1.parquet")
    ROWS.tail(25).to_parquet(parts / "part-2.parquet")
    ROWS.to_parquet(tmp_path / "answers.parquet")
    with duckdb.connect(str(tmp_path / "house.duckdb")) as connection:
        connection.register("given", ROWS)
        connection.execute("create table answers as from given")
        connection.execute("create view others as from answers")
    return tmp_path


def spec(path: str, **options: object) -> SourceSpec:
    return SourceSpec(path=path, unit="team", period="day", measures=MEASURES, **options)


def test_a_study_links_the_same_from_file_folder_and_database(folder):
    read = link_study_data({"s": spec("answers.parquet")}, root=folder)
    for other in (
        spec("answers.parquet", database=DatabaseSpec(memory="500MB", threads=1)),
        spec("answers", database=DatabaseSpec()),
        spec("house.duckdb", database=DatabaseSpec(table="answers")),
        spec("house.duckdb", database=DatabaseSpec(table="others")),
    ):
        found = link_study_data({"s": other}, root=folder)
        pd.testing.assert_frame_equal(found.panel.frame, read.panel.frame)
        pd.testing.assert_frame_equal(found.audit.flow, read.audit.flow)
        assert found.audit.reads["rows"].tolist() == [40]


def test_the_report_says_what_was_opened(folder):
    report = open_table(folder / "house.duckdb", table="answers").report
    assert (report.name, report.rows, report.columns) == ("house.duckdb, table answers", 40, 3)
    before = open_table(folder / "answers").report.sha256
    ROWS.head(3).to_parquet(folder / "answers" / "part-2.parquet")
    after = open_table(folder / "answers").report
    assert after.sha256 != before
    assert after.rows == 18


@pytest.mark.parametrize(
    ("path", "options", "told"),
    [
        ("nothing.duckdb", {}, "There is no file or folder"),
        ("house.duckdb", {}, r"which table\? It has 2 tables \('answers', 'others'\)"),
        ("house.duckdb", {"table": "answer"}, r"no table 'answer'\. Did you mean 'answers'"),
        ("rows.csv", {}, "cannot stay in a database"),
        ("empty", {}, "The folder 'empty' holds no Parquet file"),
        ("broken.duckdb", {}, "'broken.duckdb' cannot be opened by DuckDB"),
        ("broken.parquet", {}, "'broken.parquet' cannot be opened by DuckDB"),
        ("answers", {"memory": "much"}, "Check the file and the settings `memory`"),
    ],
)
def test_what_cannot_be_opened_is_named(folder, path, options, told):
    (folder / "rows.csv").write_text("a,b\n1,2\n")
    (folder / "empty").mkdir()
    for name in ("broken.duckdb", "broken.parquet"):
        (folder / name).write_bytes(b"no such thing" * 1_000)
    with pytest.raises(SourceError, match=told):
        open_table(folder / path, **options)


def test_a_part_that_leads_out_of_its_folder_is_refused(folder):
    (folder / "answers" / "part-3.parquet").symlink_to(folder / "answers.parquet")
    with pytest.raises(SourceError, match=r"1 file of the folder 'answers' lead out of it"):
        open_table(folder / "answers")


def test_how_a_file_is_written_has_no_meaning_in_a_database(folder):
    wrong = spec("answers.parquet", database=DatabaseSpec(), read=ReadSpec(delimiter=";"))
    with pytest.raises(SchemaError, match=r"which has no 'delimiter'\. Leave it out"):
        read_source(wrong, folder)
