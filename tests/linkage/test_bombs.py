"""Small files made to fill the memory, or to read others: refused before they are opened."""

from __future__ import annotations

import time
import zipfile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ex_cx.errors import SourceError
from ex_cx.linkage.files import bombs
from ex_cx.linkage.sources import read_table

LAUGHS = "".join(f'<!ENTITY l{at} "{f"&l{at - 1};" * 10 if at else "ha"}">' for at in range(12))
DECLARED = {
    "laughs": f"<!DOCTYPE x [{LAUGHS}]>",
    "other file": '<!DOCTYPE x [<!ENTITY l11 SYSTEM "file:///etc/hostname">]>',
    "no type": "<!doctype x>",
}


@pytest.fixture
def book(tmp_path):
    """An .xlsx with one part changed."""

    def make(part: str, change, encoding="utf-8"):
        path = tmp_path / "t.xlsx"
        pd.DataFrame({"unit": ["a", "b"], "score": [1, 2]}).to_excel(path, index=False)
        with zipfile.ZipFile(path) as file:
            parts = {name: file.read(name) for name in file.namelist()}
        found = next(name for name in parts if name.endswith(part))
        parts[found] = change(parts[found].decode()).encode(encoding)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in parts.items():
                file.writestr(name, content)
        return path

    return make


@pytest.mark.parametrize("kind", DECLARED)
@pytest.mark.parametrize("part", ["sheet1.xml", "sharedStrings.xml", "styles.xml", "workbook.xml"])
def test_entities_of_xml_are_refused(book, kind, part):
    def declare(text):
        head, mark, rest = text.partition("?>") if text.startswith("<?xml") else ("", "", text)
        return f"{head}{mark}<!--{'x' * 2**20}-->{DECLARED[kind]}{rest}"

    path = book(part, declare)
    with pytest.raises(
        SourceError, match=rf"'t.xlsx' declares XML entities in its part '.*{part}'"
    ):
        read_table(path)


def test_entities_are_also_seen_in_utf_16(book):
    def declare(text):
        return DECLARED["laughs"] + text.partition("?>")[2]

    with pytest.raises(SourceError, match="declares XML entities"):
        read_table(book("sheet1.xml", declare, "utf-16"))


@pytest.mark.parametrize("cell", ["XFD1048576", "A30000"])
def test_a_cell_in_the_last_corner_makes_no_huge_table(book, cell):
    row = f'<row r="{cell.lstrip("XFDA")}"><c r="{cell}" t="n"><v>1</v></c></row></sheetData>'
    path = book("sheet1.xml", lambda text: text.replace("</sheetData>", row))
    begun = time.monotonic()
    if cell.startswith("X"):
        with pytest.raises(SourceError, match=r"reaches to row 1,048,576 and column 16,384"):
            read_table(path)
        assert time.monotonic() - begun < 5
    else:
        assert len(read_table(path).frame) == 29_999  # what a sheet may hold is read


def test_a_plain_workbook_is_read(book):
    frame = read_table(book("sheet1.xml", lambda text: text)).frame
    assert frame["score"].tolist() == [1, 2]


def test_a_parquet_file_of_very_many_equal_rows_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"x": pa.array([0] * 100_000)}), path)
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(bombs, "MOST_CELLS", 99_999)
    with pytest.raises(
        SourceError, match=r"says it has 100,000 rows of 1 columns; a table is read"
    ):
        read_table(path)


def test_a_file_larger_than_is_read_into_memory_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.truncate(bombs.MOST_BYTES + 1)  # sparse: it takes no room
    with pytest.raises(SourceError, match=r"'t.csv' has .* bytes; a file is read up to"):
        read_table(path)


def test_a_damaged_part_hides_no_declaration_behind_it(book):
    """The first part has lost a byte; what is declared in a later one is found all the same."""
    path = book("sheet1.xml", lambda text: text.replace("?>", f"?>{DECLARED['laughs']}", 1))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        first = file.infolist()[0]
    content[first.header_offset + 30 + len(first.filename) + 5] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"declares XML entities in its part 'xl/worksheets"):
        read_table(path)
