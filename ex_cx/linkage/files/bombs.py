"""Files made to fill the memory or to read other files: told before their packages open them."""

from __future__ import annotations

import contextlib
import io
import re
from typing import IO

from ex_cx.errors import SourceError

__all__ = [
    "MOST_BYTES",
    "MOST_CELLS",
    "refuse_hostile_book",
    "refuse_too_large",
    "refuse_too_many_cells",
]

MOST_BYTES = 2**33
"""Of a file that is read into memory."""
MOST_CELLS = 10**9
"""Rows times columns of a table that is read; a panel of a company has a thousandth of that."""
_MOST_EXCEL_CELLS = 10**8
_CHUNK = 2**20
_OVERLAP = 64
_DECLARED = re.compile(rb"<!(?:DOCTYPE|ENTITY)", flags=re.IGNORECASE)
_PLACE = re.compile(rb"\sr=[\"']([A-Z]{0,3})([0-9]{1,7})[\"']")


def refuse_hostile_book(name: str, content: bytes) -> None:
    """Refuse an .xlsx whose XML declares entities, or whose few cells span a huge sheet.

    Neither is in a file that Excel has written: entities name other files or grow without end,
    and one cell in the last corner makes a table of 17 billion.

    Raises
    ------
    SourceError : such a part.
    """
    from lzma import LZMAError
    from zipfile import BadZipFile, ZipFile
    from zlib import error as ZlibError

    # A damaged zip or part is told by what reads it; the parts after a damaged one are looked at.
    kinds = (BadZipFile, ZlibError, LZMAError, EOFError, OSError, ValueError, RuntimeError)
    try:
        parts = ZipFile(io.BytesIO(content))
    except kinds:
        return
    with parts:
        for part in parts.infolist():
            if part.filename.lower().endswith((".xml", ".rels", ".vml")):
                with contextlib.suppress(*kinds), parts.open(part) as file:
                    _refuse_part(name, part.filename, file)


def _refuse_part(name: str, part: str, file: IO[bytes]) -> None:
    tail, rows, columns = b"", 0, 0
    is_sheet = "worksheets/" in part
    while chunk := file.read(_CHUNK):
        text = tail + chunk.replace(b"\x00", b"")  # also of UTF-16
        if _DECLARED.search(text):
            raise SourceError(
                f"{name!r} declares XML entities in its part {part!r}, which no Excel file does. "
                "It may be made to do harm; export the sheet as CSV where it comes from."
            )
        for letters, digits in _PLACE.findall(text) if is_sheet else ():
            rows, columns = max(rows, int(digits)), max(columns, _number(letters))
        if rows * columns > _MOST_EXCEL_CELLS:
            raise SourceError(
                f"A sheet of {name!r} reaches to row {rows:,} and column {columns:,}: with all "
                "that is empty between, more than can be read. Delete what stands alone far out, "
                "or export CSV."
            )
        tail = text[-_OVERLAP:]


def _number(letters: bytes) -> int:
    """A column's place by its letters.

    >>> _number(b"A"), _number(b"XFD"), _number(b"")
    (1, 16384, 0)
    """
    found = 0
    for letter in letters:
        found = 26 * found + letter - 64
    return found


def refuse_too_many_cells(name: str, rows: int, columns: int) -> None:
    """Refuse a table that is small on disk, but of more cells than are read.

    Raises
    ------
    SourceError : it has.
    """
    if rows * columns > MOST_CELLS:
        raise SourceError(
            f"{name!r} says it has {rows:,} rows of {columns:,} columns; a table is read up to "
            f"{MOST_CELLS:,} cells. Keep the columns that are needed, or aggregate it first."
        )


def refuse_too_large(name: str, size: int) -> None:
    """Refuse a file that would not fit into memory.

    Raises
    ------
    SourceError : it is larger than `MOST_BYTES`.
    """
    if size > MOST_BYTES:
        raise SourceError(
            f"{name!r} has {size:,} bytes; a file is read up to {MOST_BYTES:,}. Split it, or store "
            "it as Parquet with the columns that are needed."
        )
