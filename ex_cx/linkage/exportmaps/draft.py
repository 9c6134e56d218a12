"""A mapping proposed from a file: it loads as it is, and every guess in it is marked as one.

Only words of answer scales and markers of "no value" are written out; no other value of the file
gets into the proposal.
"""

from __future__ import annotations

import json
import re
import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ex_cx.errors import SourceError
from ex_cx.linkage.exportmaps.column import folded
from ex_cx.linkage.exportmaps.guess import (
    GuessedColumn,
    guess_column,
    is_named,
    odd_words,
    plain_name,
    quoted,
)
from ex_cx.linkage.exportmaps.measured import source_lines
from ex_cx.linkage.exportmaps.spec import FileForm
from ex_cx.linkage.exportmaps.values import distinct_text
from ex_cx.linkage.sources import read_cells
from ex_cx.linkage.wording import counted

__all__ = ["propose_mapping"]

MOST_BYTES = 2**22
TOTALS = ("total", "grand total", "sum", "overall", "all")
_OFFSET = r":\d{2}(?:\.\d+)?\s?(?:Z|[+-]\d{2}:?\d{2})$"
_CLOCKS = r"(?:[01]\d|2[0-3]):?[0-5]\d(?::[0-5]\d)?"
_UNITS = {
    r"ms|milliseconds": "milliseconds",
    r"sec|secs|seconds": "seconds",
    r"min|mins|minutes": "minutes",
    r"hours|hrs": "hours",
}
_TIME = ("kind", "time")


def propose_mapping(path: str | Path) -> str:
    """The text of a mapping file for an export; it loads as it is, and nothing is asked.

    Parameters
    ----------
    path : CSV, Parquet or Excel file; of delimited text the first 4 MiB are looked at.

    Raises
    ------
    SourceError : the file cannot be read as a table, or no column of it is to be taken.
    """
    cells, form, cut = read_cells(path, most_bytes=MOST_BYTES)
    frame = cells.frame
    below = _rows_below(frame)
    form = replace(form, below_header=below)
    zone = _zone(frame.head(below))
    frame = frame.iloc[below:].reset_index(drop=True)
    filters, frame = _filters(frame)
    taken: set[str] = set()
    columns = [_with_unit(guess_column(str(old), frame[old], taken)) for old in frame]
    columns = _with_clocks(columns, frame)
    if all(column.left for column in columns):
        raise SourceError(
            f"None of the {counted(len(columns), 'column')} of {Path(path).name!r} is one to take: "
            f"{'; '.join(dict.fromkeys(column.left for column in columns))}. Export the columns "
            "that say who, when and what."
        )
    seen = f"the first {counted(len(frame), 'row')}" if cut else counted(len(frame), "row")
    lines = [
        f"# Proposed by `ex-cx map` from {seen}. Check every line marked guess, take out what you",
        "# do not need, then name this file as `mapping:` of a source. Keys: docs/mapping_files.md",
        f"mapping: {plain_name(Path(path).stem, set())[:64]}",
        "",
        *_file_lines(form, _markers(frame, columns)),
        *filters,
        *_row_lines(frame, columns, bool(filters)),
        *_time_lines(frame, columns, zone),
        "columns:",
        *(column.line() for column in columns),
        *source_lines(columns),
    ]
    return "\n".join(lines) + "\n"


def _rows_below(frame: pd.DataFrame) -> int:
    """Rows directly below the header that hold import ids, and all above them."""
    for at in range(min(3, len(frame) - 1)):
        texts = frame.iloc[at].dropna().astype(str)
        if len(texts) and texts.str.contains('"ImportId"', regex=False).mean() > 0.5:
            return at + 1
    return 0


def _zone(below: pd.DataFrame) -> str:
    """The zone of the clock that the import ids below the header name, if they name one."""
    ids = pd.Series(below.to_numpy().ravel(), dtype="str")
    named = ids.str.extract(r'"timeZone": ?"([A-Za-z0-9_+/-]{1,64})"')[0].dropna().unique()
    if len(named) != 1:
        return ""
    try:
        return zoneinfo.ZoneInfo(named[0]).key
    except (ValueError, zoneinfo.ZoneInfoNotFoundError, OSError):
        return ""


def _filters(frame: pd.DataFrame) -> tuple[list[str], pd.DataFrame]:
    """Rows of totals and previews, left out: the lines that say so, and the rows that remain."""
    lines = list[str]()
    for old in frame.columns[:3]:
        _, text, _ = distinct_text(frame[old])
        total = [value for value in text if folded(value) in TOTALS]
        if total:
            listed = ", ".join(json.dumps(value, ensure_ascii=False) for value in total)
            rule = f"{{column: {quoted(str(old))}, none_of: [{listed}]}}"
            lines.append(f"    - {rule}  # guess: rows of totals")
            frame = frame[~frame[old].isin(total)]
    names = {folded(str(old)): str(old) for old in frame}
    if "finished" in names and "responseid" in names:
        rule = f'{{column: {quoted(names["finished"])}, any_of: ["True", "1"]}}'
        lines.append(f"    - {rule}  # guess: whole responses")
    if "status" in names and "responseid" in names:
        listed = 'Survey Preview, Survey Test, Spam, "1", "2", "8"'
        rule = f"{{column: {quoted(names['status'])}, none_of: [{listed}]}}"
        lines.append(f"    - {rule}  # guess: no previews")
    return (["rows:", "  keep:", *lines] if lines else []), frame.reset_index(drop=True)


def _with_unit(column: GuessedColumn) -> GuessedColumn:
    """The unit of a duration, by the end of its name."""
    for words, unit in _UNITS.items() if column.keys == (("kind", "number"),) else ():
        if re.search(rf"(?i)[_ (]({words})\)?$", column.old):
            return replace(column, keys=(("unit", unit),), why=f"{unit}, by its name")
    return column


def _with_clocks(columns: Sequence[GuessedColumn], frame: pd.DataFrame) -> list[GuessedColumn]:
    """A time of day beside a date, as one time; the start of the shift tells the day after."""
    dates = [c for c in columns if c.role == "period" and _is_date(c, frame[c.old])]
    clocks = [c.old for c in columns if not c.left and _is_clock(c, frame[c.old])]
    shifts = [old for old in clocks if is_named(old, "shift")]
    if not dates or not clocks:
        return list(columns)
    keys = [key for key in dates[0].keys if key != _TIME]
    keys += [("shift_start", quoted(shifts[0]))] if shifts and len(clocks) > 1 else []
    return [
        replace(
            column,
            old=dates[0].old,
            keys=(*keys, ("clock", quoted(column.old))),
            why="a time of day, with the date beside it",
            role="period",
        )
        if column.old in clocks and column.old not in shifts
        else column
        for column in columns
    ]


def _is_date(column: GuessedColumn, cells: pd.Series) -> bool:
    """Is it a date without a time of day?"""
    _, text, _ = distinct_text(cells)
    return column.is_time and not bool(text.str.contains(":", regex=False).any())


def _is_clock(column: GuessedColumn, cells: pd.Series) -> bool:
    named = is_named(column.old, r"time|start|interval|clock|arrival|begin")
    _, text, _ = distinct_text(cells)
    return named and len(text) > 0 and bool(text.str.fullmatch(_CLOCKS).all())


def _markers(frame: pd.DataFrame, columns: Sequence[GuessedColumn]) -> list[str]:
    """Words for "no value" in columns that are else numbers, times or choices."""
    found = dict[str, None]()
    for column in columns:
        if column.left or ("kind", "text") in column.keys:
            continue
        _, text, _ = distinct_text(frame[column.old])
        found |= dict.fromkeys(odd_words(text))
    return list(found)


def _file_lines(form: FileForm, markers: list[str]) -> Iterator[str]:
    stated = {
        "encoding": form.encoding,
        "delimiter": form.delimiter,
        "sheet": form.sheet,
        "above_header": form.above_header or None,
        "below_header": form.below_header or None,
    }
    parts = [
        f"{key}: {value if isinstance(value, int) else json.dumps(value, ensure_ascii=False)}"
        for key, value in stated.items()
        if value is not None
    ]
    if markers:
        listed = ", ".join(json.dumps(marker, ensure_ascii=False) for marker in markers)
        parts.append(f"missing: [{listed}]")
    if parts:
        yield f"file: {{{', '.join(parts)}}}  # guess"
        yield ""


def _row_lines(frame: pd.DataFrame, columns: Sequence[GuessedColumn], begun: bool) -> Iterator[str]:
    """A column that names every row, if one is called so."""
    for column in columns:
        old = column.old
        cells = frame[old]
        names = is_named(old, r"id|responseid|conversationid|key") and cells.notna().all()
        if names and cells.is_unique and len(cells) > 1:
            yield from ([] if begun else ["rows:"])
            yield f"  unique: [{quoted(old)}]  # guess: it names a row"
            begun = True
            break
    if begun:
        yield ""


def _time_lines(frame: pd.DataFrame, columns: Sequence[GuessedColumn], zone: str) -> Iterator[str]:
    if zone:
        yield f"times: {{zone: {zone}, to: {zone}}}  # guess: the file says so below its header"
        yield ""
        return
    for column in columns:
        if _TIME in column.keys:
            _, text, _ = distinct_text(frame[column.old])
            if text.str.contains(_OFFSET).any():
                yield "times: {zone: written, to: UTC}  # guess: or the zone that you work in"
                yield ""
                return
    yield "# times: {zone: ..., to: ...}   # no time says its zone; state it where clocks differ"
    yield ""
