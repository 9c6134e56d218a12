"""A table of a connection gives what the same rows give as a file; its URL is told nowhere."""

from __future__ import annotations

import os
import sqlite3
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import ibis
import pandas as pd
import pytest

from ex_cx.errors import LinkError, SchemaError, SourceError
from ex_cx.linkage import connections
from ex_cx.linkage.connections import close_table, open_connection
from ex_cx.linkage.link import link_study_data
from ex_cx.linkage.measure import MeasuredSource, measure_source
from ex_cx.linkage.opening import read_source
from ex_cx.linkage.schema import DatabaseSpec, MeasureSpec, ReadSpec, SourceSpec
from ex_cx.linkage.sources import TableRead
from tests.linkage.databases import (
    ATTRITION,
    MEASURES,
    RETENTION,
    assert_same,
    contact_spec,
    contacts,
    spell_spec,
    spells,
)
from tests.linkage.test_database_crosswalk import (
    ADDED,
    CHANGES,
    KEEP,
    NAMED,
    SPLITS,
    assert_same_mapping,
    lines,
)

POSTGRES = os.environ.get("EX_CX_TEST_POSTGRES", "")
"""URL of a server on which tables may be made; `make postgres` says how to have one."""
SECRET = "Tr0ub4dor"
NAME, VARIABLE = "HOUSE", "EX_CX_CONNECTION_HOUSE"
Put = Callable[[pd.DataFrame, str], None]
needs_server = pytest.mark.skipif(not POSTGRES, reason="EX_CX_TEST_POSTGRES names no server")


@pytest.fixture(params=["duckdb", "sqlite", pytest.param("postgres", marks=needs_server)])
def put(request, tmp_path: Path, monkeypatch) -> Put:
    """Makes a frame a table of the connection."""
    kind = request.param
    url = POSTGRES if kind == "postgres" else f"{kind}:///{tmp_path}/house.{kind}"
    monkeypatch.setenv(VARIABLE, url)

    def write(frame: pd.DataFrame, table: str) -> None:
        if kind == "sqlite":
            with sqlite3.connect(tmp_path / "house.sqlite") as connection:
                frame.to_sql(table, connection, index=False, if_exists="replace")
        else:
            connection = ibis.connect(url)
            connection.create_table(table, frame, overwrite=True)
            connection.disconnect()

    return write


def from_connection(spec: SourceSpec, table: str) -> SourceSpec:
    return replace(spec, path="", database=DatabaseSpec(connection=NAME, table=table))


def both(
    put: Put, tmp_path: Path, frame: pd.DataFrame, spec: SourceSpec
) -> tuple[MeasuredSource, MeasuredSource]:
    """Measured by way of the connection, and of a CSV file."""
    put(frame, "rows")
    frame.to_csv(tmp_path / spec.path, index=False)
    there = from_connection(spec, "rows")
    return tuple(measure_source(read_source(each, tmp_path), each, "s") for each in (there, spec))


def csv(spec: SourceSpec) -> SourceSpec:
    return replace(spec, path="rows.csv")


@pytest.mark.parametrize("frequency", ["month", "quarter", "year", "day"])
def test_every_metric_of_dated_rows_is_that_of_a_file(put, tmp_path, frequency):
    spec = csv(contact_spec(frequency=frequency, read=ReadSpec(dates=('when "it" was',))))
    found, wanted = both(put, tmp_path, contacts(1, 900), spec)
    assert len(wanted.frame) > 5
    assert_same(found, wanted)


@pytest.mark.parametrize("measures", [ATTRITION, RETENTION], ids=["attrition", "retention"])
def test_rates_of_spells_are_those_of_a_file(put, tmp_path, measures):
    found, wanted = both(put, tmp_path, spells(2, 400), csv(spell_spec(measures)))
    assert len(wanted.frame) > 5
    assert_same(found, wanted)


def test_windows_thresholds_and_padded_text(put, tmp_path):
    frame = contacts(11, 900)
    frame["the unit"] = ("  " + frame["the unit"] + "\t").fillna("   ")
    chosen = {name: MEASURES[name] for name in ("nps", "said", "per_100", "n")}
    spec = contact_spec(
        measures=chosen, first="2024-01", last="2024-04", carry=2, min_n=12, min_n_shares=30
    )
    assert_same(*both(put, tmp_path, frame, csv(spec)))


def study_spec(**asked: str) -> SourceSpec:
    return SourceSpec(
        unit="team",
        period="day",
        measures={"cx_nps": MeasureSpec(metric="nps", score="score")},
        database=DatabaseSpec(**{"connection": NAME, "table": "answers"} | asked),
    )


ANSWERS = pd.DataFrame(
    {
        "team": ["A", "B"] * 20,
        "day": pd.to_datetime(["2024-01-05", "2024-02-05"]).repeat(20),
        "score": [9.0, 7, 3, 10] * 10,
    }
)


def test_what_is_shown_of_a_table_is_hashed(put):
    def sha256(frame: pd.DataFrame) -> str:
        put(frame, "answers")
        return link_study_data({"s": study_spec()}).audit.reads["sha256"].item()

    first = sha256(ANSWERS)
    assert len(first) == 64
    assert sha256(ANSWERS.iloc[::-1]) == first  # the order of rows is nothing
    changed = ANSWERS.copy()
    changed.loc[0, "score"] = 3
    assert sha256(changed) != first
    assert sha256(pd.concat([ANSWERS, ANSWERS.tail(1).assign(team=None)])) != first


def test_a_table_that_is_written_to_meanwhile_is_refused(put, monkeypatch):
    put(ANSWERS, "answers")

    def slow(source: SourceSpec, root: object) -> object:
        table = read_source(source, root)
        rows = replace(table.report, rows=table.report.rows - 1)
        return replace(table, report=rows)

    monkeypatch.setattr("ex_cx.linkage.link.read_source", slow)
    with pytest.raises(SourceError, match=r"\(HOUSE, table answers\) changed while it was"):
        link_study_data({"s": study_spec()})


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"table": "answer"}, r"no table 'answer'\. Did you mean 'answers'"),
        ({"table": "answers; drop table answers"}, "has no table 'answers; drop table answers'"),
        ({"schema": "nowhere"}, "has no schema 'nowhere'"),
        ({"table": "nowhere.answers"}, "has no schema 'nowhere'"),
    ],
)
def test_a_table_or_schema_that_is_not_there_is_named(put, asked, told):
    put(ANSWERS, "answers")
    with pytest.raises(SourceError, match=told):
        read_source(study_spec(**asked))


def test_a_table_is_found_in_its_schema(put, request):
    put(ANSWERS, "answers")
    default = "public" if "postgres" in request.node.name else "main"
    plain = link_study_data({"s": study_spec()}).panel.frame
    for asked in ({"schema": default}, {"table": f"{default}.answers"}):
        found = link_study_data({"s": study_spec(**asked)}).panel.frame
        pd.testing.assert_frame_equal(found, plain)


def test_a_column_that_is_not_there_is_named(put):
    put(ANSWERS.rename(columns={"score": "scores"}), "answers")
    with pytest.raises(SchemaError, match=r"lacks 1 column \('score'\)\. Did you mean 'scores'"):
        link_study_data({"s": study_spec()})


def test_wrong_values_are_told_without_them(put):
    put(ANSWERS.assign(score=["9", "Ann Lee"] * 20), "answers")
    with pytest.raises(SchemaError, match=r"20 of 40 values are not numbers.*like 'a a'") as told:
        link_study_data({"s": study_spec()})
    assert "Ann" not in "".join(traceback.format_exception(told.value))


def test_blanks_of_yes_and_no_are_no_answers(put, request):
    said = pd.Series([True, False, None, True] * 10, dtype="boolean")
    frame = ANSWERS.assign(score=said)
    put(frame, "answers")
    yes = "1" if "sqlite" in request.node.name else "True"  # SQLite has neither
    found, wanted = (
        measure_source(table, replace(study_spec(), measures=said_yes(word)), "s")
        for table, word in (
            (read_source(replace(study_spec(), measures=said_yes(yes))), yes),
            (frame.assign(score=said.astype("str").where(said.notna())), "True"),
        )
    )
    assert found.suppressed["blank_answers"].item() == 10
    pd.testing.assert_frame_equal(found.frame, wanted.frame)


def said_yes(word: str) -> dict[str, MeasureSpec]:
    return {"x": MeasureSpec(metric="share", score="score", positive=(word,))}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", r"the environment variable EX_CX_CONNECTION_HOUSE is not set\. Set it"),
        (f"{SECRET}", "holds is no URL of a database that Ibis knows"),
        (f"nosuch://u:{SECRET}@h/db", "holds is no URL of a database that Ibis knows"),
        (f"postgres://u:{SECRET}@h:{SECRET}/db", "cannot be opened|package that is not installed"),
        (f"postgres://u:{SECRET}@127.0.0.1:1/db", "cannot be opened|package that is not installed"),
        (f"mysql://u:{SECRET}@h/db", r"package that is not installed: pip install 'ibis-framewor"),
        (f"sqlite:///nowhere/{SECRET}.db", "names a file that is not there"),
        (f"duckdb:///nowhere/{SECRET}.db", "names a file that is not there"),
        (f"duckdb:///x.db?password={SECRET}", "settings behind a question mark"),
    ],
)
def test_a_url_that_does_not_lead_anywhere_is_never_shown(monkeypatch, url, told):
    monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(SourceError, match=told) as error:
        read_source(study_spec())
    assert SECRET not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_a_file_that_is_no_database_is_never_shown(tmp_path, monkeypatch, kind):
    broken = tmp_path / f"{SECRET}.db"
    broken.write_bytes(b"no such thing" * 1_000)
    monkeypatch.setenv(VARIABLE, f"{kind}:///{broken}")
    with pytest.raises(SourceError) as error:
        read_source(study_spec())
    assert SECRET not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_a_file_is_opened_for_reading_only(tmp_path, monkeypatch, kind):
    file = tmp_path / f"house.{kind}"
    url = f"{kind}:///{file}"
    connection = ibis.connect(url)
    connection.create_table("answers", ANSWERS)
    connection.disconnect()
    before = file.read_bytes()
    monkeypatch.setenv(VARIABLE, url)
    opened = open_connection(DatabaseSpec(connection=NAME))
    with pytest.raises((duckdb.Error, sqlite3.Error)):
        opened.table.get_backend().con.execute("drop table answers")
    close_table(opened)
    assert file.read_bytes() == before


def test_bytes_and_a_second_kind_of_value_in_sqlite_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, f"sqlite:///{tmp_path}/house.db")
    with sqlite3.connect(tmp_path / "house.db") as connection:
        connection.execute("create table answers (team text, day date, score real)")
        rows = [("A", "2024-01-05", value) for value in [9, 7.0, "10", 8, 3, 4]]
        connection.executemany("insert into answers values (?, ?, ?)", rows)
    found = link_study_data({"s": study_spec()}).panel.frame
    assert found["cx_nps"].tolist() == pytest.approx([0.0])
    with sqlite3.connect(tmp_path / "house.db") as connection:
        connection.execute("insert into answers values ('A', '2024-01-05', 'Ann Lee')")
    with pytest.raises(SchemaError, match="1 of 7 values are not numbers"):
        link_study_data({"s": study_spec()})
    with sqlite3.connect(tmp_path / "house.db") as connection:
        connection.execute("insert into answers values ('A', '2024-01-05', x'00ff')")
    with pytest.raises(SourceError, match="bytes, not text, in the column 'score'"):
        link_study_data({"s": study_spec()})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"database": DatabaseSpec(connection=NAME), "path": "a.csv"}, "state one of the two"),
        ({}, "needs either 'path'"),
    ],
)
def test_a_source_is_a_file_or_a_connection(options, told):
    with pytest.raises(SchemaError, match=told):
        SourceSpec(unit="team", period="day", columns={"x": "x"}, **options)


@pytest.mark.parametrize("name", [f"postgres://u:{SECRET}@h/db", "a b", "1st", "a-b"])
def test_a_connection_has_a_plain_name(name):
    with pytest.raises(SchemaError, match="letters, digits and underscores") as error:
        DatabaseSpec(connection=name)
    assert SECRET not in str(error.value)
    with pytest.raises(SchemaError, match="Leave it out, or name one"):
        DatabaseSpec(schema="public")


@pytest.mark.parametrize("frequency", ["month", "day"])
def test_a_database_that_is_not_asked_to_group_gives_the_same(
    put, tmp_path, monkeypatch, frequency
):
    monkeypatch.setattr(connections, "GROUPING", ())
    spec = csv(contact_spec(frequency=frequency, read=ReadSpec(dates=('when "it" was',))))
    frame = contacts(3, 900)
    put(frame, "rows")
    assert isinstance(read_source(from_connection(spec, "rows")), TableRead)
    assert_same(*both(put, tmp_path, frame, spec))


@pytest.mark.parametrize(("split", "added"), [(False, False), (True, True)])
def test_units_are_mapped_alike(put, split, added):
    keep = {"crosswalk": KEEP, "measures": ADDED} if added else {"crosswalk": NAMED}
    crosswalk = lines(SPLITS, KEEP) if split else lines(CHANGES)
    frame, spec = contacts(4, 900).assign(region="all"), contact_spec(**keep)
    put(frame, "rows")
    found = measure_source(
        read_source(from_connection(spec, "rows")), spec, "s", crosswalk=crosswalk
    )
    assert_same_mapping(found, measure_source(frame, spec, "s", crosswalk=crosswalk))


def test_identifiers_are_hashed_and_two_sources_share_a_connection(put):
    put(ANSWERS.assign(who=["u1", "u2", "u3", "u4"] * 10), "answers")
    again = {"again": MeasureSpec(metric="fcr", customer="who")}
    found = link_study_data({"s": study_spec(), "t": replace(study_spec(), measures=again)})
    assert {"cx_nps", "again"} <= set(found.panel.frame)
    names = found.audit.reads["name"].tolist()
    assert names == ["HOUSE, table answers", "HOUSE, table answers"]


def test_an_empty_table_is_told(put):
    put(ANSWERS.head(0), "answers")
    with pytest.raises((SchemaError, SourceError, LinkError), match=r"0 rows|no rows"):
        link_study_data({"s": study_spec()})


def test_how_text_is_written_is_stated_where_numbers_and_dates_are_text(put, request):
    if "sqlite" in request.node.name:
        put(ANSWERS, "answers")
        plain = link_study_data({"s": study_spec()}).panel.frame
        score = ANSWERS["score"].map("{:.1f}".format).str.replace(".", ",")
        put(ANSWERS.assign(day=ANSWERS["day"].dt.strftime("%d/%m/%Y"), score=score), "answers")
        written = ReadSpec(decimal=",", date_format="%d/%m/%Y")
        found = link_study_data({"s": replace(study_spec(), read=written)}).panel.frame
        pd.testing.assert_frame_equal(found, plain)
        return
    put(ANSWERS, "answers")
    with pytest.raises(SchemaError, match="which has no 'decimal'"):
        read_source(replace(study_spec(), read=ReadSpec(decimal=",")))


@needs_server
def test_a_server_that_goes_away_is_told_without_its_message(monkeypatch):
    monkeypatch.setenv(VARIABLE, POSTGRES)
    server = ibis.connect(POSTGRES)
    server.create_table("answers", ANSWERS, overwrite=True)
    opened = open_connection(DatabaseSpec(connection=NAME, table="answers"))
    asked = "select pg_backend_pid()"
    number = opened.table.get_backend().con.execute(asked).fetchone()[0]
    server.con.execute("select pg_terminate_backend(%s)", [number])
    with pytest.raises(SourceError, match=r"its server was shut down|out of reach") as error:
        measure_source(opened, study_spec(), "s")
    assert "terminating" not in "".join(traceback.format_exception(error.value))
    close_table(opened)


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"memory": "much"}, "`memory` and `threads`"), ({"threads": -1}, "`threads` is -1")],
)
def test_settings_of_duckdb_are_named(tmp_path, monkeypatch, settings, told):
    url = f"duckdb:///{tmp_path}/house.db"
    connection = ibis.connect(url)
    connection.create_table("answers", ANSWERS)
    connection.disconnect()
    monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(SourceError, match=told):
        open_connection(DatabaseSpec(connection=NAME, **settings))
