"""A table of a connection gives what the same rows give as a file; its URL is told nowhere."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ibis
import pandas as pd
import pytest

from ex_cx.linkage.measure import MeasuredSource, measure_source
from ex_cx.linkage.opening import read_source
from ex_cx.linkage.schema import DatabaseSpec, ReadSpec, SourceSpec
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
