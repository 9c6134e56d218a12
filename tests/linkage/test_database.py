"""Rows in DuckDB are measured as rows in memory are: every metric, count, loss and error."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import replace

import ibis
import numpy as np
import pandas as pd
import pytest

from ex_cx.errors import LinkError, SchemaError
from ex_cx.linkage.measure import measure_source
from ex_cx.linkage.schema import MeasureSpec, Metric, ReadSpec, SourceSpec
from tests.linkage.databases import (
    ATTRITION,
    MEASURES,
    RETENTION,
    assert_same,
    both,
    contact_spec,
    contacts,
    spell_spec,
    spells,
)


@pytest.fixture(scope="module")
def opened() -> Callable[[pd.DataFrame], ibis.Table]:
    """A frame as a table of DuckDB."""
    connection = ibis.duckdb.connect(threads=1)
    number = itertools.count()
    return lambda frame: connection.create_table(f"t{next(number)}", frame)


def test_every_metric_is_compared():
    compared = {m.metric for m in (*MEASURES.values(), *ATTRITION.values(), *RETENTION.values())}
    assert compared | {"mean"} == set(Metric.__args__)


@pytest.mark.parametrize(
    ("frequency", "seed"), [("month", 1), ("quarter", 2), ("year", 3), ("day", 4), ("hour", 5)]
)
def test_measures_of_dated_rows(opened, frequency, seed):
    read = ReadSpec(dates=('when "it" was',))
    spec = contact_spec(frequency=frequency, read=read)
    first = {"hour": "2023-12-01", "day": "2023-12-01"}.get(frequency, "")
    assert_same(*both(contacts(seed), spec, opened, first=first))


@pytest.mark.parametrize("measures", [ATTRITION, RETENTION], ids=["attrition", "retention"])
def test_rates_of_spells(opened, measures):
    spec = spell_spec(measures, attributes={"place": "team"})
    assert_same(*both(spells(1), spec, opened))
    single = {new: m for new, m in measures.items() if m.window == 1}
    assert_same(*both(spells(2), spell_spec(single), opened, frequency="quarter"))


def test_windows_thresholds_and_carried_waves(opened):
    rows = contacts(11)
    for spec in (
        contact_spec(first="2024-01", last="2024-02"),
        contact_spec(min_n=30, min_n_shares=60),
        contact_spec(carry=2, last="2024-04"),
    ):
        assert_same(*both(rows, spec, opened))
    assert_same(*both(rows, contact_spec(), opened, first="2024-01", frequency="quarter"))


def test_small_groups_are_withheld_alike(opened):
    rows = contacts(5, n=150)
    found, wanted = both(rows, contact_spec(), opened)
    assert_same(found, wanted)
    assert found.suppressed["suppressed"].sum() > 20
    assert found.suppressed["shares_suppressed"].sum() > 0


def test_numbers_far_from_zero_keep_their_spread(opened):
    rng = np.random.default_rng(1)
    rows = contacts(1).assign(revenue=1e9 + rng.normal(size=4_000))
    found, wanted = both(rows, contact_spec(), opened)
    column = "revenue_se"  # s of about 1 beside 1e9: six digits are lost before anything is squared
    np.testing.assert_allclose(found.frame[column], wanted.frame[column], rtol=1e-9)


def test_types_of_a_database_are_read_as_in_memory(opened):
    rows = pd.DataFrame(
        {
            "unit": [7, 7, 8, 8, 8, 9] * 5,
            "year": [2020, 2021, 2020, 2020, 2021, 2021] * 5,
            "score": pd.Series(["1", " 2 ", "3.5", "1e1", "", "4"] * 5, dtype="str"),
            "yes": [True, False, True, True, False, True] * 5,
            "again": [True, False, True, True, False, False] * 5,
        }
    )
    measures = {
        "mean": MeasureSpec(metric="mean", score="score"),
        "share": MeasureSpec(metric="share", score="yes", positive=("True",)),
        "sum": MeasureSpec(metric="sum", score="again"),
    }
    spec = SourceSpec(path="x", unit="unit", period="year", frequency="year", measures=measures)
    plain = rows.assign(score=pd.to_numeric(rows["score"].str.strip()))
    found = measure_source(opened(rows), spec, "s")
    assert_same(found, measure_source(plain, spec, "s"))
    assert found.frame["unit"].tolist() == ["7", "7", "8", "8", "9"]
    floats = opened(rows.assign(unit=rows["unit"].astype(float)))
    assert measure_source(floats, spec, "s").frame["unit"].tolist() == ["7", "7", "8", "8", "9"]


def test_not_a_number_is_missing_and_markers_are(opened):
    rows = contacts(3)
    table = opened(rows.assign(nps=rows["nps"].fillna(0.0)))
    hole = ibis.literal(float("nan"))
    with_nan = table.mutate(nps=(table["nps"] == 3).ifelse(hole, table["nps"]))
    plain = rows.assign(nps=rows["nps"].fillna(0.0).replace(3, np.nan))
    assert_same(
        measure_source(with_nan, contact_spec(), "s"), measure_source(plain, contact_spec(), "s")
    )
    marked = table.mutate(nps=(table["nps"] == 3).ifelse("N/A", table["nps"].cast("string")))
    spec = contact_spec(read=ReadSpec(missing=("N/A",)))
    assert_same(measure_source(marked, spec, "s"), measure_source(plain, spec, "s"))


def test_text_is_trimmed_and_blank_text_is_missing(opened):
    rows = contacts(3)
    padded = rows.assign(**{"the unit": ("  " + rows["the unit"] + "\t").fillna("   ")})
    assert_same(
        measure_source(opened(padded), contact_spec(), "s"),
        measure_source(rows, contact_spec(), "s"),
    )


def test_columns_without_a_gap_and_customers_by_number(opened):
    rows = contacts(9)
    whole = rows.assign(who=rows["who"].fillna("0").astype("int64"))
    full = [*("nps", "effort", "i1", "i2", "i3", "revenue", "money", "handle", "staffed")]
    whole[full] = whole[full].fillna(1.0)
    found, wanted = both(whole, contact_spec(), opened)
    assert_same(found, wanted)
    halves = whole.assign(calls=whole["calls"].astype("float64").mask(whole["calls"].eq(2)))
    assert_same(*both(halves, contact_spec(), opened))


def test_times_of_no_calendar_are_in_no_period(opened):
    rows = contacts(3)
    table = opened(rows)
    when = table['when "it" was']
    endless = ibis.literal("infinity").cast("timestamp")
    lost = when.year() == 1969
    table = table.mutate(**{'when "it" was': lost.ifelse(endless, when)})
    gone = rows['when "it" was'].dt.year.eq(1969)
    plain = rows.assign(**{'when "it" was': rows['when "it" was'].mask(gone)})
    measures = {name: m for name, m in MEASURES.items() if not m.customer}
    spec = contact_spec(measures=measures)
    assert_same(measure_source(table, spec, "s"), measure_source(plain, spec, "s"))


def test_ready_columns_are_fetched(opened):
    rows = pd.DataFrame(
        {"u": ["A", "A", "B"], "m": ["2024-01", "2024-02", "2024-01"], "x": [1, 2, 3]}
    )
    spec = SourceSpec(path="x", unit="u", period="m", columns={"ex_x": "x"})
    assert_same(*both(rows.assign(m=pd.to_datetime(rows["m"])), spec, opened))


@pytest.mark.parametrize(
    "what", [{"columns": {"x": "n"}}, {"measures": {"x": MeasureSpec(metric="mean", score="d")}}]
)
def test_dates_that_no_calendar_has_are_told_where_numbers_belong(what):
    con = ibis.duckdb.connect()
    con.raw_sql(
        "create table far as select 'A' u, 2024 y, 1.0 n, date '290000-01-01 (BC)' d "
        "union all select 'A', 2025, 2.0, date '9999-12-31'"
    )
    period = "d" if "columns" in what else "y"
    spec = SourceSpec(path="x", unit="u", period=period, frequency="year", **what)
    with pytest.raises(SchemaError, match=r"'d': 2 of 2 values are not numbers"):
        measure_source(con.table("far"), spec, "s")


# -- errors ---------------------------------------------------------------------------------------


def same_refusal(rows: pd.DataFrame, spec: SourceSpec, opened: Callable, **options: str) -> str:
    """The words of the error in the database; without row numbers they are those of memory."""
    told = []
    for table in (opened(rows), rows):
        with pytest.raises((SchemaError, LinkError)) as caught:
            measure_source(table, spec, "s", **options)
        told.append((caught.type, str(caught.value)))
    numbered = r" \(rows? [\d, ]+(?: and [\d,]+ more)?\)"
    plain = re.sub(r"\(rows? [\d, ]+(?: and [\d,]+ more)?; ", "(", told[1][1])
    assert told[0][0] is told[1][0]
    assert told[0][1] == re.sub(numbered, "", plain)
    return told[0][1]


def test_answers_out_of_range_are_refused_alike(opened):
    rows = contacts(1)
    rows.loc[5, "nps"] = 11.0
    rows.loc[7, "nps"] = np.inf
    rows.loc[8, "effort"] = 9.0
    rows.loc[9, "staffed"] = -1.0
    text = same_refusal(rows, contact_spec(), opened)
    assert text.splitlines()[0] == "'s' has 4 problems in 4,000 rows."
    assert "- 'staffed': 1 of 4,000 values are not at least 0. " in text


def test_answers_that_are_no_whole_numbers(opened):
    rows = contacts(1)
    rows.loc[rows["nps"].eq(8), "nps"] = 7.5
    assert "are not whole numbers from 0 to 10" in same_refusal(rows, contact_spec(), opened)


def test_text_where_numbers_belong(opened):
    rows = contacts(1)
    texts = rows["effort"].astype("Int64").astype("str").mask(rows["effort"].isna())
    same_refusal(rows.assign(effort=texts.where(texts != "3", "three")), contact_spec(), opened)


def test_misspelt_values_and_columns(opened):
    rows = contacts(1)
    said = MeasureSpec(metric="fcr", score="resolved", positive=("ja", "nein 'nie'"))
    same_refusal(rows, contact_spec(measures={"said": said}), opened)
    nobody = MeasureSpec(metric="share", score="resolved", positive=("oui",))
    same_refusal(rows, contact_spec(measures={"said": nobody}), opened)
    same_refusal(rows.rename(columns={"nps": "NPS"}), contact_spec(), opened)
    kinds = {"chosen": replace(ATTRITION["chosen"], types=("voluntry",))}
    same_refusal(spells(1), spell_spec(kinds), opened)


def test_windows_attributes_and_long_calendars(opened):
    rows = contacts(1)
    same_refusal(rows, contact_spec(first="2030-01"), opened)
    same_refusal(rows, contact_spec(frequency="hour"), opened)
    same_refusal(spells(1), spell_spec(ATTRITION, first=""), opened)
    same_refusal(spells(1), spell_spec(ATTRITION, last="2022-01"), opened)
    moved = opened(rows.assign(region=rows["resolved"]))
    with pytest.raises(LinkError, match="9 units of 9 in 's' have more than one value of 'region'"):
        measure_source(moved, contact_spec(), "s")
    backwards = spells(1).rename(columns={"start": "end", "end": "start"})
    with pytest.raises(SchemaError, match=r"rows of 1,500 end before they start \('end' before"):
        measure_source(opened(backwards), spell_spec(ATTRITION), "s")


def test_years_are_whole_numbers(opened):
    rows = pd.DataFrame({"u": ["A", "B"], "y": [2020.5, 2020], "x": [1.0, 2]})
    measures = {"n": MeasureSpec(metric="count")}
    spec = SourceSpec(path="x", unit="u", period="y", frequency="year", measures=measures)
    with pytest.raises(SchemaError, match=r"column 'y': 1 value of 2 are not whole numbers\. Corr"):
        measure_source(opened(rows), spec, "s")


def test_what_a_database_cannot_do_is_told(opened):
    rows = contacts(1)
    halves = {"nps": MeasureSpec(metric="nps", score="nps", split_seed=1)}
    with pytest.raises(SchemaError, match=r"'nps' of 's' asks for random halves \(`split_seed`\)"):
        measure_source(opened(rows), contact_spec(measures=halves), "s")
    written = rows.assign(**{'when "it" was': rows['when "it" was'].dt.strftime("%Y-%m-%d")})
    with pytest.raises(SchemaError, match=r"dates are needed, and the database holds values of"):
        measure_source(opened(written), contact_spec(), "s")
    zoned = rows.assign(**{'when "it" was': rows['when "it" was'].dt.tz_localize("UTC")})
    with pytest.raises(SchemaError, match="the database holds times of a zone"):
        measure_source(opened(zoned), contact_spec(), "s")
    with pytest.raises(SchemaError, match=r"The rows of 's' are a list\. Give a frame"):
        measure_source([1, 2], contact_spec(), "s")
