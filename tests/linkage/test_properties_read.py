"""What reading may never do to a table drawn at random: change a cell, or lose a row.

The same cells are written in many forms; every form must give the same table.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal

from ex_cx.linkage.link import link_sources
from ex_cx.linkage.parsing import as_text
from ex_cx.linkage.sources import read_table
from tests.linkage.companies import (
    draw_company,
    estimate,
    link_company,
    measure,
    messes,
    quick,
    read_content,
    to_csv,
)

LETTERS = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))
CELLS = st.text(LETTERS | st.sampled_from(',;|\t"\n= -'), max_size=8).map(str.strip)
NUMBERS = st.decimals(-(10**9), 10**9, places=3).map(str)
NUMBER_OR_NONE = st.one_of(st.integers(-(10**17), 10**17), st.floats(allow_nan=False), st.none())
FORMS = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from([",", ";", "\t", "|"]),
        "end": st.sampled_from(["\n", "\r\n"]),
        "quote": st.sampled_from([0, 1]),
    }
)
CODECS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])


@st.composite
def text_tables(draw: st.DrawFn) -> pd.DataFrame:
    """Cells of any text; a column `id` that is never blank keeps rows apart."""
    rows = draw(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12))
    columns = {"id": [f"r{at}" for at in range(len(rows))]}
    columns |= {name: [row[at] for row in rows] for at, name in enumerate(("one", "two"))}
    return pd.DataFrame(columns, dtype=object)


@quick(80)
@given(table=text_tables(), form=FORMS, codec=CODECS)
def test_every_cell_comes_back_however_it_was_written(table, form, codec):
    content = to_csv(table, **form).encode(codec)
    stated = {"delimiter": form["delimiter"], "text": ["id", "one", "two"]}
    found = read_content(content, **stated)
    assert len(found) == len(table)
    for name in table:
        expected = [None if cell == "" else cell for cell in table[name]]
        assert found[name].astype(object).where(found[name].notna(), None).tolist() == expected


@quick(40)
@given(
    numbers=st.lists(NUMBERS | st.just(""), min_size=1, max_size=15).filter(any),
    decimal=st.sampled_from([".", ","]),
    form=FORMS,
)
def test_numbers_are_the_numbers_that_were_written(numbers, decimal, form):
    table = pd.DataFrame({"id": "x", "value": [n.replace(".", decimal) for n in numbers]})
    text = to_csv(table, **form)
    found = read_content(text, delimiter=form["delimiter"], decimal=decimal, text=["id"])
    expected = np.array([float(n) if n else np.nan for n in numbers])
    assert_array_equal(found["value"].to_numpy(dtype=float), expected)


@quick(8)
@given(mess=messes(), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_lines_and_columns_changes_nothing(mess, seed):
    table = draw_company(mess)["people"]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(table))
    columns = list(rng.permutation(list(table.columns)))
    one = read_content(to_csv(table), dates=["hire", "exit"], text=["team"])
    other = read_content(to_csv(table.iloc[order][columns]), dates=["hire", "exit"], text=["team"])
    assert_frame_equal(one.iloc[order].reset_index(drop=True), other[list(table.columns)])


@quick(6)
@given(mess=messes(), kind=st.sampled_from(["csv", "tsv", "parquet", "xlsx"]))
def test_no_format_changes_the_estimate(mess, kind):
    tables = draw_company(mess)
    reads = {}
    with TemporaryDirectory() as folder:
        for name, table in tables.items():
            path = Path(folder, f"{name}.{kind}")
            write(table, path)
            dates = [c for c in ("date", "month", "hire", "exit") if c in table]
            reads[name] = read_table(path, dates=dates, text=["team"])
            assert reads[name].report.rows == len(table)
    one, other = link_company(tables), link_sources(measure(reads))
    np.testing.assert_allclose(estimate(one.panel), estimate(other.panel), rtol=1e-10, atol=1e-12)
    assert_frame_equal(one.audit.flow, other.audit.flow)


def write(table: pd.DataFrame, path: Path) -> None:
    """Numbers as numbers where the format has them, all else as text; blank is missing."""
    cells = table.mask(table == "").astype(object)
    for name in ("score", "load"):
        if name in cells:
            cells[name] = pd.to_numeric(table[name])
    if path.suffix == ".parquet":
        cells.convert_dtypes().to_parquet(path, index=False)
    elif path.suffix == ".xlsx":
        cells.to_excel(path, index=False)
    else:
        mark = "\t" if path.suffix == ".tsv" else ";"
        path.write_text(to_csv(table, delimiter=mark, end="\r\n"), encoding="utf-16", newline="")


@quick(60)
@given(
    table=text_tables(),
    share=st.floats(0, 1),
    form=FORMS,
)
def test_two_parts_of_a_file_hold_its_rows(table, share, form):
    cut = int(share * len(table))
    parts = [part for part in (table.iloc[:cut], table.iloc[cut:]) if len(part)]
    stated = {"delimiter": form["delimiter"], "text": ["id", "one", "two"]}
    whole = read_content(to_csv(table, **form), **stated)
    joined = pd.concat([read_content(to_csv(part, **form), **stated) for part in parts])
    assert_frame_equal(whole, joined.reset_index(drop=True))


@quick(60)
@given(
    values=st.lists(
        NUMBER_OR_NONE,
        min_size=1,
        max_size=9,
    )
)
def test_numbers_of_a_typed_file_stay_apart_as_text(values):
    """Two identifiers that differ as numbers never become one unit, also beyond 64 bits."""
    seen = {value for value in values if value is not None}
    floats = pd.Series(values, dtype=float)
    for column, n in ((pd.Series(values, dtype=object), len(seen)), (floats, floats.nunique())):
        text = as_text(column)
        assert text.isna().tolist() == [value is None for value in values]
        assert text.nunique() == n


@quick(40)
@given(
    values=st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=1, max_size=9).filter(
        any
    ),
    kind=st.sampled_from(["csv", "parquet"]),
)
def test_large_identifiers_stay_apart_beside_blanks(values, kind):
    """As floats 9007199254740992 and ...993 are one number, and two customers one."""
    with TemporaryDirectory() as folder:
        path = Path(folder, f"t.{kind}")
        table = pd.DataFrame({"id": pd.array(values, dtype="Int64"), "x": "a"})
        table.to_parquet(path) if kind == "parquet" else table.to_csv(path, index=False)
        for stated in ([], ["id"]):
            text = as_text(read_table(path, text=stated).frame["id"])
            expected = [None if value is None else str(value) for value in values]
            assert text.astype(object).where(text.notna(), None).tolist() == expected
