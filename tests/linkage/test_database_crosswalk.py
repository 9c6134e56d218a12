"""Units of rows in DuckDB are mapped where the rows are, as those of rows in memory are."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import ibis
import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import LinkError, SchemaError
from ex_cx.linkage.alignspec import CrosswalkSpec
from ex_cx.linkage.crosswalk import Crosswalk
from ex_cx.linkage.indatabase import columns as database_columns
from ex_cx.linkage.measure import MeasuredSource, measure_source
from ex_cx.linkage.schema import MeasureSpec, ReadSpec, SourceSpec
from tests.linkage.databases import (
    ATTRITION,
    MEASURES,
    RETENTION,
    UNITS,
    assert_same,
    both,
    contact_spec,
    contacts,
    spell_spec,
    spells,
)

NAMED = CrosswalkSpec(path="units.csv")
KEEP = CrosswalkSpec(path="units.csv", unlisted="keep")
CHANGES = [  # a merger on a day inside a month, a rename, a gap, a closure, and units not listed
    ("A", "A", "2023-01-01", "2024-02-02", 1.0),
    ("A", "North", "2024-02-03", "", 1.0),
    ("B'", "North", "2024-01-01", "", 1.0),
    ('C"q"', "Ünit ß", "1960-01-01", "2024-01-31", 1.0),
    ('C"q"', 'C"q"', "2024-03-01", "", 1.0),
    ("Ünit ß", "Ünit ß", "1960-01-01", "", 1.0),
    ("007", "日本", "1960-01-01", "2024-02-05", 1.0),
    ("日本", "日本", "1960-01-01", "", 1.0),
    ("nobody", "North", "1960-01-01", "", 1.0),
]
SPLITS = [
    *CHANGES[1:],
    ("A", "A", "2023-01-01", "2024-02-02", 0.3),
    ("A", "South", "2023-01-01", "2024-02-02", 0.7),
]
ADDED = {
    name: measure
    for name, measure in MEASURES.items()
    if measure.metric in ("sum", "count", "ratio", "occupancy", "aht")
}


def lines(rows: list[tuple[object, ...]], spec: CrosswalkSpec = NAMED, **options) -> Crosswalk:
    names = ["source_unit", "target_unit", "valid_from", "valid_to", "share"]
    return Crosswalk.from_frame(pd.DataFrame(rows, columns=names), spec, **options)


@pytest.fixture(scope="module")
def opened() -> Callable[[pd.DataFrame], ibis.Table]:
    connection = ibis.duckdb.connect(threads=1)
    number = itertools.count()
    return lambda frame: connection.create_table(f"t{next(number)}", frame)


@pytest.fixture(autouse=True)
def nothing_is_fetched(monkeypatch):
    def refuse(_):
        raise AssertionError("the rows were fetched")

    monkeypatch.setattr(database_columns.Columns, "fetched", refuse)


def assert_same_mapping(found: MeasuredSource, wanted: MeasuredSource) -> None:
    assert_same(found, wanted)
    pd.testing.assert_frame_equal(found.crosswalk, wanted.crosswalk)


@pytest.mark.parametrize("named", [NAMED, KEEP], ids=["lose", "keep"])
@pytest.mark.parametrize("frequency", ["month", "quarter", "day"])
def test_units_merge_move_and_close(opened, frequency, named):
    spec = contact_spec(frequency=frequency, crosswalk=named)
    rows = contacts(3).assign(region="all")
    options = {"crosswalk": lines(CHANGES, named), "first": "2023-06-01"}
    found, wanted = both(rows, spec, opened, **options)
    assert_same_mapping(found, wanted)
    outcomes = set(found.crosswalk["outcome"])
    assert {"mapped", "lost: outside the dates of the crosswalk"} <= outcomes
    kept = "not listed, kept as it is" if named is KEEP else "lost: not in the crosswalk"
    assert {kept, "in the crosswalk only"} <= outcomes


@pytest.mark.parametrize("frequency", ["month", "year"])
def test_parts_of_units_are_added_up(opened, frequency):
    read = ReadSpec(dates=('when "it" was',))
    spec = contact_spec(frequency=frequency, measures=ADDED, crosswalk=KEEP, read=read)
    for respondents in ("", "employees"):
        told = replace(spec, respondents=respondents)
        rows = contacts(4).assign(region="all")
        assert_same_mapping(*both(rows, told, opened, crosswalk=lines(SPLITS, KEEP)))


def test_a_coarser_panel_counts_people_by_the_finer_periods(opened):
    spec = contact_spec(crosswalk=NAMED)
    rows = contacts(6).assign(region="all")
    options = {"crosswalk": lines(CHANGES), "frequency": "quarter", "first": "2023-01"}
    found, wanted = both(rows, spec, opened, **options)
    assert_same_mapping(found, wanted)
    assert found.people.frequency == "month"


def test_small_groups_are_withheld_alike(opened):
    rows = contacts(5, n=200).assign(region="all")
    found, wanted = both(rows, contact_spec(crosswalk=NAMED), opened, crosswalk=lines(CHANGES))
    assert_same_mapping(found, wanted)
    assert found.suppressed["suppressed"].sum() > 10
    assert found.suppressed["withheld_for_others"].sum() > 0
    hidden = found.frame.drop(columns=["unit", "period"]).isna()
    assert hidden.equals(wanted.frame.drop(columns=["unit", "period"]).isna())


def test_whole_numbers_are_periods_of_a_crosswalk(opened):
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(
        {
            "unit": rng.choice(["1", "2", "3"], 300),
            "wave": rng.integers(1, 6, 300),
            "score": rng.normal(size=300),
        }
    )
    spec = SourceSpec(
        path="x",
        unit="unit",
        period="wave",
        frequency="integer",
        measures={"mean": MeasureSpec(metric="mean", score="score")},
        crosswalk=NAMED,
    )
    moves = [("1", "1", "1", "2", 1.0), ("1", "2", "3", "", 1.0), ("2", "2", "2", "", 1.0)]
    assert_same_mapping(*both(rows, spec, opened, crosswalk=lines(moves, dated=False)))


@pytest.mark.parametrize("measures", [ATTRITION, RETENTION], ids=["attrition", "retention"])
@pytest.mark.parametrize("named", [NAMED, KEEP], ids=["lose", "keep"])
def test_spells_of_merged_units(opened, measures, named):
    merged = [(unit, "one" if at % 2 else "two", "2023", "", 1.0) for at, unit in enumerate(UNITS)]
    spec = spell_spec(measures, crosswalk=named)
    rows = spells(1).assign(place="here")
    for attributes in ({}, {"place": "place"}):
        told = replace(spec, attributes=attributes)
        assert_same_mapping(
            *both(rows, told, opened, crosswalk=lines([*merged[:-2], *merged[-1:]], named))
        )


def test_what_is_refused_is_refused_in_the_same_words(opened):
    rows = contacts(2).assign(region="all")
    moved = spell_spec(ATTRITION, crosswalk=NAMED)
    several = lines([("A", "x", "2020", "2022", 1.0), ("A", "y", "2023", "", 1.0)])
    mixed = lines([("A", "x", "2000", "", 1.0), ("007", "x", "2000", "", 1.0)])
    cases = [
        (rows, contact_spec(crosswalk=NAMED), {"crosswalk": lines(SPLITS)}, "splits units"),
        (rows, contact_spec(), {"crosswalk": lines(CHANGES)}, "State both"),
        (rows, contact_spec(crosswalk=NAMED), {}, "State both"),
        (spells(1), moved, {"crosswalk": several}, "more than one target"),
        (contacts(2), contact_spec(crosswalk=NAMED), {"crosswalk": mixed}, "one value"),
    ]
    for frame, spec, options, words in cases:
        told = []
        for table in (opened(frame), frame):
            with pytest.raises(LinkError, match=words) as caught:
                measure_source(table, spec, "s", **options)
            told.append(str(caught.value))
        assert told[0] == told[1]


def test_no_row_left_names_the_units(opened):
    spec = contact_spec(crosswalk=NAMED)
    nowhere = lines([("elsewhere", "x", "2020", "", 1.0)])
    for table in (opened(contacts(2)), contacts(2)):
        with pytest.raises(LinkError, match=r"No row of 's' is left.*none of its 9 units") as got:
            measure_source(table, spec, "s", crosswalk=nowhere)
        assert "'elsewhere'" in str(got.value)


def test_a_word_that_never_occurs_after_the_mapping_is_refused(opened):
    measures = {"said": MeasureSpec(metric="share", score="resolved", positive=("jaa",))}
    spec = contact_spec(measures=measures, crosswalk=NAMED)
    rows = contacts(2).assign(region="all")
    for table in (opened(rows), rows):
        with pytest.raises(SchemaError, match="lists 'jaa'"):
            measure_source(table, spec, "s", crosswalk=lines(CHANGES))


@pytest.mark.parametrize("named", [None, NAMED], ids=["plain", "mapped"])
def test_tables_without_rows_are_told_so(opened, named):
    options = {} if named is None else {"crosswalk": lines(CHANGES)}
    rates = spell_spec(ATTRITION, crosswalk=named)
    cases = [(contacts(2), contact_spec(crosswalk=named)), (spells(1), rates)]
    for frame, spec in cases:
        told = []
        for table in (opened(frame.iloc[:0]), frame.iloc[:0]):
            with pytest.raises(LinkError, match="None of the 0 rows") as caught:
                measure_source(table, spec, "s", **options)
            told.append(str(caught.value))
        assert told[0] == told[1]


def test_days_before_1970_and_units_kept_beside_a_target(opened):
    rows = contacts(3).assign(region="all")
    when = rows['when "it" was']
    early = when.mask(rows.index % 2 == 0, pd.Timestamp("1969-12-31 23:30"))
    rows = rows.assign(**{'when "it" was': early})
    turn = [("A", "x", "1969-12-31", "1969-12-31", 1.0), ("A", "007", "1970-01-01", "", 1.0)]
    for named in (NAMED, KEEP):
        spec = contact_spec(crosswalk=named)
        assert_same_mapping(*both(rows, spec, opened, crosswalk=lines(turn, named)))
