"""DuckDB files and folders of Parquet are opened, not read; a wrong one is refused by name."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from ex_cx.errors import SchemaError, SourceError
from ex_cx.linkage.link import link_study_data
from ex_cx.linkage.measure import measure_source
from ex_cx.linkage.opening import read_source
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


def test_files_are_hashed_when_somebody_asks_and_must_be_those_that_were_opened(folder):
    parts = sorted((folder / "answers").iterdir())
    digests = [hashlib.sha256(part.read_bytes()).hexdigest() for part in parts]
    listed = "".join(f"{d}  {part.name}\n" for d, part in zip(digests, parts, strict=True))
    opened = open_table(folder / "answers").report
    assert opened.to_dict()["sha256"] == hashlib.sha256(listed.encode()).hexdigest()
    assert open_table(folder / "answers" / "part-1.parquet").report.sha256 == digests[0]
    unasked = open_table(folder / "answers" / "part-2.parquet").report
    ROWS.head(3).to_parquet(folder / "answers" / "part-2.parquet")
    told = r"1 file changed while the rows were used \('part-2\.parquet'\)\. Keep the files"
    with pytest.raises(SourceError, match=told):
        unasked.to_dict()
    (folder / "answers" / "part-2.parquet").unlink()
    with pytest.raises(SourceError, match=told):
        _ = unasked.sha256


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
        ("answers", {"memory": "much"}, "the settings `memory`"),
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


def database(folder: Path, *statements: str) -> Path:
    """A DuckDB file that these statements fill."""
    path = folder / "strange.duckdb"
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)
    return path


def test_a_view_that_fails_is_told_without_a_value_of_its_rows(folder):
    rows = "SELECT 'T1' AS team, DATE '2024-01-05' AS day, 'Ann Lee' AS score"
    view = "SELECT team, day, CAST(score AS INTEGER) AS score FROM people"
    database(folder, f"CREATE TABLE people AS {rows}", f"CREATE VIEW seen AS {view}")
    source = replace(spec("strange.duckdb"), database=DatabaseSpec(table="seen"))
    told = r"cannot answer what is asked of .*: a value does not fit the type.*ConversionExc"
    with pytest.raises(SourceError, match=told) as caught:
        measure_source(read_source(source, folder), source, "answers")
    assert "Ann" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_view_reaches_no_file_beside_its_database(folder):
    beside = folder / "secret.csv"
    beside.write_text("a\n1\n")
    database(folder, f"CREATE VIEW far AS SELECT * FROM read_csv('{beside}')")
    with pytest.raises(SourceError, match=r"'strange.duckdb, table far': a view asks for a file"):
        open_table(folder / "strange.duckdb")


def test_two_tables_of_one_file_are_open_at_a_time(folder):
    one = open_table(folder / "house.duckdb", table="answers", memory="500MB")
    two = open_table(folder / "house.duckdb", table="others", threads=1)
    pd.testing.assert_frame_equal(one.table.execute(), two.table.execute())


def test_a_file_that_is_written_to_is_told_so(folder):
    file = folder / "house.duckdb"
    with duckdb.connect(str(file)), pytest.raises(SourceError, match="has it open for writing"):
        open_table(file, table="answers")


@pytest.mark.parametrize("name", ["main", "temp", "memory", "we'ird \"x", "information_schema"])
def test_a_file_may_have_any_name(folder, name):
    file = (folder / "house.duckdb").rename(folder / f"{name}.duckdb")
    assert len(open_table(file, table="others").table.execute()) == len(ROWS)


def test_views_may_name_the_database_they_are_in(folder):
    with duckdb.connect(str(folder / "house.duckdb")) as connection:
        connection.execute("create view whole as from house.main.answers")
    assert len(open_table(folder / "house.duckdb", table="whole").table.execute()) == len(ROWS)


def test_no_more_threads_are_begun_than_there_are_processors(folder):
    found = open_table(folder / "house.duckdb", table="answers", threads=10**9).table
    asked = "SELECT current_setting('threads')"
    assert found.get_backend().con.execute(asked).fetchone()[0] == os.cpu_count()
    with pytest.raises(SourceError, match=r"`threads` is -1\. State how many"):
        open_table(folder / "house.duckdb", table="answers", threads=-1)


def test_a_path_from_here_is_read(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert open_table("answers.parquet").report.rows == 40
    assert open_table("house.duckdb", table="answers").report.rows == 40


@pytest.mark.parametrize("edge", [{"first": -(10**30)}, {"last": 10**30}])
def test_a_window_that_no_database_counts_is_refused(folder, edge):
    wide = spec("answers.parquet", frequency="integer", database=DatabaseSpec(), **edge)
    with pytest.raises(SchemaError, match=r"is beyond 1e\+15, farther than periods are counted"):
        measure_source(read_source(wide, folder), wide, "answers")
