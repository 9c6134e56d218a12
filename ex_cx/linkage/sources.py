"""Files to tables, nothing guessed in silence. The only module of this room that opens data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError, SourceError, nearest, some
from ex_cx.linkage.exportmaps.apply import MappedTable, apply_mapping
from ex_cx.linkage.exportmaps.spec import FileForm, TableMapping
from ex_cx.linkage.files.bombs import refuse_too_large
from ex_cx.linkage.files.cells import Cells
from ex_cx.linkage.files.delimited import delimited_cells, guess_lines
from ex_cx.linkage.files.typed import excel_cells, excel_sheets, parquet_cells
from ex_cx.linkage.parsing import (
    as_text,
    detect_decimal,
    is_text,
    parse_dates,
    parse_numbers,
)
from ex_cx.linkage.reads import ReadReport, TableOpen, TableRead
from ex_cx.linkage.wording import counted

if TYPE_CHECKING:
    from ex_cx.linkage.exportmaps.file import ExportMapping

__all__ = [
    "ReadReport",
    "TableOpen",
    "TableRead",
    "read_cells",
    "read_table",
    "shared_path",
    "type_cells",
]

_DELIMITED = (".csv", ".txt", ".tsv")
_PARQUET = (".parquet", ".pq")
_EXCEL = (".xlsx", ".xlsm", ".xls")


def read_table(
    path: str | Path,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    decimal: Literal[".", ","] | None = None,
    dates: Iterable[str] = (),
    date_format: str | None = None,
    text: Iterable[str] = (),
    missing: Iterable[str] = (),
    sheet: str | None = None,
    mapping: TableMapping | ExportMapping | None = None,
) -> TableRead:
    """Read a CSV, Parquet or Excel file; what is not stated is detected and reported.

    Parameters
    ----------
    path : .csv, .txt, .tsv, .parquet, .pq, .xlsx, .xlsm or .xls.
    encoding, delimiter, decimal : stated, or detected: utf-8 (with or without mark), utf-16 with
        mark, else cp1252; comma, semicolon, tab or bar; point or comma.
    dates : columns to read as dates: 2024-03-31 (with a time or without), 2024-03, 2024Q1,
        20240331, 31.3.2024; 31/3/2024 and 3/31/2024 where one of the two is possible only.
    date_format : strptime form that all `dates` have; decides 03/04/2024.
    text : columns that stay text: `007`, `NA` and `NO` are left as they are.
    missing : markers of a missing value in all columns but `text`; a blank always is one.
    sheet : name of the Excel sheet; needed if there are several.
    mapping : what becomes of a system's export, see `read_mapping`; its columns say which are
        dates and text, so that `dates`, `date_format` and `text` are not for it.

    Returns
    -------
    TableRead
        Text is trimmed. A column all of whose values are numbers holds numbers, unless one is
        written like an identifier (leading zero, more than 18 digits).

    Raises
    ------
    SourceError : no such file, an empty one, one that is not what its name says, undecodable
        bytes, a wrong delimiter, rows of another width, a repeated column name, several sheets.
    SchemaError : a stated column does not exist; values in a date column that are no dates or
        could be two.
    """
    file = Path(path)
    content = _read_bytes(file)
    if mapping is not None:
        if any((*dates, *text)) or date_format:
            _refuse_columns(file)
        rules = mapping if isinstance(mapping, TableMapping) else mapping.table
        stated = {"encoding": encoding, "delimiter": delimiter, "decimal": decimal, "sheet": sheet}
        return _read_mapped(file, content, _with_form(rules, stated, missing))
    raw = _raw_table(file, content, FileForm(encoding=encoding, delimiter=delimiter, sheet=sheet))
    report = _report(file, content, raw, _detected(raw, encoding, delimiter, decimal))
    formats = dict.fromkeys(dates, date_format)
    return type_cells(raw, report, dates=formats, text=text, missing=missing, decimal=decimal)


def type_cells(
    raw: Cells,
    report: ReadReport,
    *,
    dates: Mapping[str, str | None],
    text: Iterable[str] = (),
    missing: Iterable[str] = (),
    decimal: Literal[".", ","] | None = None,
) -> TableRead:
    """The table that cells make; as `read_table`, where the cells came from elsewhere.

    Parameters
    ----------
    report : of the cells; how numbers and dates are written is added to it.
    dates : columns of dates -> their stated form, None where it is to be found.
    """
    text_columns = set(text)
    _check_names(report.name, raw.frame.columns, [*dates, *text_columns])
    cells = _without_markers(raw.frame, frozenset(missing), text_columns)
    free = [name for name in cells.columns if name not in text_columns | set(dates)]
    point = decimal or detect_decimal(cells[free] if raw.guess_numbers else cells[[]], report.name)
    frame, formats = _typed_columns(
        cells,
        dates=dict(dates),
        text=text_columns,
        point=point if raw.guess_numbers else "",
        table=report.name,
        rows=raw.rows,
    )
    written = replace(report, decimal=point if raw.guess_numbers else "", date_formats=formats)
    return TableRead(frame=frame, rows=raw.rows, report=written)


def _refuse_columns(file: Path) -> NoReturn:
    raise SchemaError(
        f"{file.name!r} is read by a mapping, whose `columns` say what is a time and what is text. "
        "Leave `dates`, `date_format` and `text` out."
    )


def _with_form(
    rules: TableMapping, stated: Mapping[str, Any], missing: Iterable[str]
) -> TableMapping:
    """The mapping with the form that is stated beside it."""
    given = {key: value for key, value in stated.items() if value is not None}
    marks = tuple(dict.fromkeys((*rules.file.missing, *missing)))
    return replace(rules, file=replace(rules.file, **given, missing=marks))


def read_cells(path: str | Path, *, most_bytes: int) -> tuple[Cells, FileForm, bool]:
    """The cells of an export, in the form that its first lines tell; for a proposal of a mapping.

    Parameters
    ----------
    most_bytes : of delimited text that is looked at.

    Returns
    -------
    The cells, the form as guessed, and whether the file goes on beyond what was looked at.

    Raises
    ------
    SourceError : as `read_table`.
    """
    file = Path(path)
    content = _read_bytes(file)
    suffix = file.suffix.lower()
    if suffix in _DELIMITED:
        cut = len(content) > most_bytes and not content.startswith((b"\xff\xfe", b"\xfe\xff"))
        content = _first_rows(content, most_bytes) if cut else content
        encoding, delimiter, above = guess_lines(file.name, content)
        form = FileForm(encoding=encoding, delimiter=delimiter, above_header=min(above, 1000))
        return _raw_table(file, content, form), form, cut
    form = FileForm()
    if suffix in _EXCEL:
        sheets = excel_sheets(file.name, content)
        form = FileForm(sheet=sheets[0] if len(sheets) > 1 else None)
        above = _rows_above(_raw_table(file, content, form))
        form = replace(form, above_header=above)
    return _raw_table(file, content, form), form, False


def _first_rows(content: bytes, most: int) -> bytes:
    """The first bytes, up to a line's end outside of quotation marks."""
    last = end = content.rfind(b"\n", 0, most)
    for _ in range(200):  # a cell of more lines has a quotation mark that does not close
        if end <= 0 or content.count(b'"', 0, end) % 2 == 0:
            break
        end = content.rfind(b"\n", 0, end)
    else:
        end = last
    return content[: end + 1] if end > 0 else content


def _rows_above(cells: Cells) -> int:
    """Rows above the first one that fills most columns, where the first row does not."""
    frame = cells.frame
    named = [not str(name).startswith("column_") for name in frame]
    if 2 * sum(named) > len(named):
        return 0
    filled = frame.head(50).notna().mean(axis=1).to_numpy()
    full = np.flatnonzero(filled > 0.5)
    return int(full[0]) + 1 if len(full) else 0


def _read_mapped(file: Path, content: bytes, rules: TableMapping) -> TableRead:
    """The clean table that a mapping makes of the file's cells, and how it came about."""
    form = rules.file
    raw = _raw_table(file, content, form)
    first = form.above_header + form.below_header + 2
    made = apply_mapping(raw.frame, rules, name=file.name, first_row=first, numbers=raw.rows)
    detected = _detected(raw, form.encoding, form.delimiter, form.decimal)
    return TableRead(
        frame=made.frame,
        report=replace(
            _report(file, content, raw, detected),
            decimal=made.decimal if raw.guess_numbers else "",
            date_formats=made.date_formats,
            coercions=_told(made),
        ),
        coercions=made.coercions,
        lost=made.lost,
        rows=made.rows,
    )


def _report(file: Path, content: bytes, raw: Cells, detected: tuple[str, ...]) -> ReadReport:
    """Of the cells of a file, before their numbers and dates are read."""
    return ReadReport(
        name=file.name,
        hashed=hashlib.sha256(content).hexdigest(),
        rows=len(raw.frame),
        columns=len(raw.frame.columns),
        encoding=raw.encoding,
        delimiter=raw.delimiter,
        detected=detected,
        date_formats={},
    )


def _told(made: MappedTable) -> tuple[str, ...]:
    """The coercions as lines, for records."""
    lines = [
        f"{row['column']}: {row['coercion']}, {row['values']:,} of {row['of']:,}"
        for row in made.coercions.to_dict("records")
    ]
    behind = len(made.left_behind)
    return (*lines, *([f"{counted(behind, 'column')} of the export left behind"] if behind else []))


def _typed_columns(
    cells: pd.DataFrame,
    *,
    dates: dict[str, str | None],
    text: set[str],
    point: str,
    table: str,
    rows: np.ndarray | None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Dates, text and numbers of their types, and the form of each date column.

    `dates` maps a column to its stated form; without a decimal `point` no number is guessed.
    """
    frame, formats = {}, {}
    for name in cells.columns:
        column = cells[name]
        numbers = None
        if name in dates:
            column, formats[name] = parse_dates(column, dates[name], table=table, rows=rows)
        elif name in text:
            column = as_text(column)
        elif point and is_text(column):
            numbers = parse_numbers(column, point)
        frame[name] = column if numbers is None else numbers
    return pd.DataFrame(frame, index=cells.index), formats


def shared_path(*parts: str) -> Path:
    """Where a file that ships with the package lies: installed, or at the top of a checkout.

    >>> shared_path("data").name
    'data'
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "_share"
    base = installed if installed.is_dir() else package.parent
    found = base.joinpath(*parts)
    if not found.exists():
        raise SourceError(
            f"{'/'.join(parts)!r} does not ship with this installation of ex_cx. Install the "
            "package again, or work in a checkout of its repository."
        )
    return found


def _detected(
    raw: Cells, encoding: str | None, delimiter: str | None, decimal: str | None
) -> tuple[str, ...]:
    stated = {"encoding": encoding, "delimiter": delimiter}
    found = [name for name, value in stated.items() if value is None and raw.delimiter]
    return (*found, *(["decimal"] if decimal is None and raw.guess_numbers else []))


def _read_bytes(file: Path) -> bytes:
    try:
        if not file.is_file():
            _refuse_no_file(file)
        refuse_too_large(file.name, file.stat().st_size)
        content = file.read_bytes()
    except (OSError, ValueError) as error:  # no permission, too long a name, a null character
        reason = getattr(error, "strerror", None) or error
        raise SourceError(
            f"{file.name[-200:]!r} cannot be opened: {reason}. Check its name and who may read it."
        ) from error
    if not content.strip():
        raise SourceError(f"{file.name!r} is empty ({len(content)} bytes). Export it again.")
    return content


def _refuse_no_file(file: Path) -> NoReturn:
    if file.is_dir():
        raise SourceError(f"{str(file)!r} is a folder, not a file. Name the file in it.")
    if file.exists():
        raise SourceError(f"{str(file)!r} is no regular file. Name a file that holds the table.")
    folder = file.parent
    if not folder.is_dir():
        raise SourceError(
            f"There is no file {str(file)!r}: the folder {str(folder)!r} does not exist. "
            "Correct the path or the data root."
        )
    others = sorted(other.name for other in folder.iterdir() if other.is_file())
    raise SourceError(
        f"There is no file {str(file)!r}.{nearest(file.name, others)} The folder holds "
        f"{counted(len(others), 'file')}{f' ({some(others)})' if others else ''}. Correct "
        "the path or the data root."
    )


def _raw_table(file: Path, content: bytes, form: FileForm) -> Cells:
    suffix = file.suffix.lower()
    if suffix in _DELIMITED:
        raw = delimited_cells(
            file.name,
            content,
            encoding=form.encoding,
            delimiter=form.delimiter,
            above_header=form.above_header,
        )
    elif suffix in _PARQUET:
        if form.above_header or form.below_header:
            raise SchemaError(
                f"{file.name!r} is Parquet, which has no rows about its header. Leave "
                "`above_header` and `below_header` out."
            )
        raw = parquet_cells(file.name, content)
    elif suffix in _EXCEL:
        raw = excel_cells(file.name, content, form.sheet, above_header=form.above_header)
    else:
        known = ", ".join((*_DELIMITED, *_PARQUET, *_EXCEL))
        raise SourceError(
            f"{file.name!r} has an ending that is not read. Save it as one of: {known}."
        )
    if form.below_header:
        rows = None if raw.rows is None else raw.rows[form.below_header :]
        frame = raw.frame.iloc[form.below_header :].reset_index(drop=True)
        raw = replace(raw, frame=frame, rows=rows)
    if len(raw.frame) == 0:
        raise SourceError(f"{file.name!r} has a header but no rows. Export it again.")
    return raw


def _check_names(name: str, columns: pd.Index, wanted: Sequence[str]) -> None:
    unknown = [column for column in wanted if column not in columns]
    if unknown:
        raise SchemaError(
            f"{name!r} has no column {unknown[0]!r}.{nearest(unknown[0], columns)} It has "
            f"{len(columns)}: {some(columns, 12)}."
        )


def _without_markers(frame: pd.DataFrame, markers: frozenset[str], text: set[str]) -> pd.DataFrame:
    """Trimmed text, with blanks and the stated markers missing."""
    cells = {}
    for name in frame.columns:
        column = frame[name]
        if is_text(column):
            column = column.str.strip()
            blank = {""} if name in text else {"", *markers}
            column = column.mask(column.isin(blank))
        cells[name] = column
    return pd.DataFrame(cells, index=frame.index)
