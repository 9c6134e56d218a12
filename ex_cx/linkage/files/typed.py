"""The bytes of a Parquet or Excel file to a table of cells."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ex_cx.errors import SourceError, nearest, some
from ex_cx.linkage.files.bombs import refuse_hostile_book, refuse_too_many_cells
from ex_cx.linkage.files.cells import Cells, check_header, refuse_data_for_names
from ex_cx.linkage.parsing import as_text, beyond_floats
from ex_cx.linkage.wording import counted

__all__ = ["arrow_cells", "excel_cells", "excel_sheets", "parquet_cells"]

MOST_UNPACKED = 2**29
"""Bytes; a small file that unpacks to more is a mistake, or made to fill the memory."""


def parquet_cells(name: str, content: bytes) -> Cells:
    """Columns as typed in the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        refuse_too_many_cells(name, file.metadata.num_rows, file.metadata.num_columns)
        table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"{name!r} is not a Parquet file that can be read ({str(error)[:200]}). Export it "
            "again."
        ) from error
    return arrow_cells(name, table)


def arrow_cells(name: str, table: Any) -> Cells:
    """Columns as typed in an Arrow table.

    Raises
    ------
    SourceError : columns of lists, records or bytes; a repeated column name.
    """
    import pyarrow as pa

    names = check_header(name, table.column_names)
    nested = [field.name for field in table.schema if pa.types.is_nested(field.type)]
    if nested:
        raise SourceError(
            f"{name!r} has {counted(len(nested), 'column')} of lists or records "
            f"({some(nested)}). Flatten them before exporting."
        )
    raw = [field.name for field in table.schema if _is_bytes(field.type)]
    if raw:
        raise SourceError(
            f"{name!r} has {counted(len(raw), 'column')} of bytes, not text ({some(raw)}). Export "
            "them as text."
        )
    for at, column in enumerate(table.columns):
        if beyond_floats(column):  # identifiers
            table = table.set_column(at, table.schema[at].name, column.cast(pa.string()))
    frame = table.rename_columns(names).to_pandas(date_as_object=False, ignore_metadata=True)
    for field, column in zip(table.schema, names, strict=True):
        if pa.types.is_decimal(field.type):
            frame[column] = frame[column].astype(float)
        elif pa.types.is_dictionary(field.type):
            frame[column] = as_text(frame[column].astype(object))
    return Cells(frame=frame, guess_numbers=False)


def _is_bytes(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(
        types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    )


def excel_cells(name: str, content: bytes, sheet: str | None, *, above_header: int = 0) -> Cells:
    """Cells of one sheet; a column of one kind of value has its type, any other is text.

    `above_header` rows are left out before the header.
    """
    _refuse_zip_bomb(name, content)
    refuse_hostile_book(name, content)
    try:
        book = pd.ExcelFile(io.BytesIO(content))
        sheets = [str(title) for title in book.sheet_names]
        chosen = _choose_sheet(name, sheets, sheet)
        cells = pd.read_excel(
            book, chosen, header=None, dtype=object, keep_default_na=False, na_values=[""]
        )
    except ImportError as error:
        raise SourceError(
            f"Reading {name!r} needs a package for Excel. Install it: pip install 'ex-cx[study]'."
        ) from error
    except SourceError:
        raise
    except Exception as error:  # a damaged file makes the Excel packages fail in any way
        raise _unreadable(name, error) from None
    if len(cells) == 0:
        raise SourceError(f"The sheet {chosen!r} of {name!r} is empty. Name another sheet.")
    if len(cells) <= above_header:
        raise SourceError(
            f"{name!r} has no {above_header} rows above a header. Correct `above_header` of its "
            "mapping."
        )
    cells = cells.iloc[above_header:].reset_index(drop=True)
    header = ["" if pd.isna(value) else str(value) for value in cells.iloc[0]]
    below = cells.iloc[1:30].astype(object).map(str).to_numpy().tolist()
    refuse_data_for_names(name, header, below)
    frame = cells.iloc[1:].reset_index(drop=True).set_axis(check_header(name, header), axis=1)
    return Cells(frame=pd.DataFrame({column: _plain(frame[column]) for column in frame}))


def excel_sheets(name: str, content: bytes) -> list[str]:
    """Names of the sheets.

    Raises
    ------
    SourceError : no Excel file, or one that unpacks to very much.
    """
    _refuse_zip_bomb(name, content)
    refuse_hostile_book(name, content)
    try:
        return [str(title) for title in pd.ExcelFile(io.BytesIO(content)).sheet_names]
    except Exception as error:  # a damaged file makes the Excel packages fail in any way
        raise _unreadable(name, error) from None


def _unreadable(name: str, error: Exception) -> SourceError:
    """What is wrong with a workbook; packages for Excel may quote cells, that for zip does not."""
    from zipfile import BadZipFile

    told = isinstance(error, BadZipFile | OSError | KeyError) and str(error)
    return SourceError(
        f"{name!r} is not an Excel file that can be read "
        f"({(told or type(error).__name__)[:200]}). Save it again as .xlsx, or export CSV."
    )


def _refuse_zip_bomb(name: str, content: bytes) -> None:
    """An .xlsx is a zip; what it unpacks to is known before anything is unpacked."""
    from zipfile import BadZipFile, ZipFile

    try:
        with ZipFile(io.BytesIO(content)) as parts:
            unpacked = sum(part.file_size for part in parts.infolist())
    except (BadZipFile, ValueError, OSError, RuntimeError):  # told by what reads it
        return
    if unpacked > MOST_UNPACKED:
        raise SourceError(
            f"{name!r} unpacks to {unpacked / 2**30:.1f} GiB; an Excel file is read up to "
            f"{MOST_UNPACKED / 2**30:g} GiB. Export the sheet as CSV or Parquet."
        )


def _choose_sheet(name: str, sheets: Sequence[str], wanted: str | None) -> str:
    if not sheets:
        raise SourceError(f"{name!r} has no sheet. Save it again as .xlsx, or export CSV.")
    if wanted is None and len(sheets) == 1:
        return sheets[0]
    if wanted is None:
        raise SourceError(f"{name!r} has {len(sheets)} sheets ({some(sheets, 9)}). State `sheet`.")
    if wanted not in sheets:
        raise SourceError(
            f"{name!r} has no sheet {wanted!r}.{nearest(wanted, sheets)} It has: {some(sheets, 9)}."
        )
    return wanted


def _plain(column: pd.Series) -> pd.Series:
    """Excel cells of one kind as that kind; a mixture as text."""
    plain = column.infer_objects()
    return as_text(plain) if plain.dtype == object else plain
