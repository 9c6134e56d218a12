"""One Excel workbook a study: its contents, every tidy row, each run's tables, provenance."""

from __future__ import annotations

import datetime as dt
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from ex_cx.reporting.tables import neutralise

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

__all__ = ["study_provenance", "study_workbook"]

_LONGEST_NAME, _WIDEST, _LONGEST_TEXT = 31, 60, 32_767
_NO_LETTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_FACTS = (
    "started",
    "seed",
    "git_revision",
    "code_sha256",
    "rows",
    "inputs",
    "parameters",
    "versions",
)
_FORMATS = {"p_value": "0.000", "conf_level": "0%"}


def study_workbook(
    results: pd.DataFrame,
    reports: Mapping[str, Mapping[str, Any]],
    provenance: Sequence[tuple[str, str]],
) -> bytes:
    """The bytes of an .xlsx file; the same study gives the same bytes.

    Parameters
    ----------
    results : every tidy row of the study: the sheet `results`, after the `contents`.
    reports : name of a run -> its result.json; one sheet a run, its tables below one another.
    provenance : pairs of a fact and its value: the last sheet.

    Notes
    -----
    Text that a spreadsheet would run is neutralised, as in the CSV files, and no cell is written
    as a formula or a link. Numbers stay numbers; one that is not finite is an empty cell.

    Examples
    --------
    >>> frame = pd.DataFrame({"term": ["=x"], "estimate": [0.5]})
    >>> study_workbook(frame, {}, [("study", "demo")])[:2]
    b'PK'
    """
    from xlsxwriter import Workbook

    buffer = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with Workbook(buffer, options) as book:
        book.set_properties({"created": dt.datetime(2000, 1, 1)})  # fixed: the same bytes
        used = {"contents"}
        contents = book.add_worksheet("contents")
        _write_results(book, _sheet(book, "results", used), results)
        listed = [("results", "every estimate of every run", "", "")]
        for name, report in reports.items():
            sheet = _sheet(book, name, used)
            _write_run(book, sheet, name, report)
            told = (str(report.get(key, "")) for key in ("title", "answer", "grade"))
            listed.append((sheet.get_name(), *told))
        facts = pd.DataFrame(list(provenance), columns=["fact", "value"])
        _write_results(book, _sheet(book, "provenance", used), facts)
        listed.append(("provenance", "what was read, by what code, with which settings", "", ""))
        columns = ["sheet", "question", "answer", "verdict"]
        _write_results(book, contents, pd.DataFrame(listed, columns=columns))
    return buffer.getvalue()


def study_provenance(
    head: Mapping[str, str], manifests: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Facts on a study and on each of its runs: what was read, by what code, with which settings.

    >>> study_provenance({"study": "demo"}, {"a": {"seed": 7, "inputs": {"x.csv": "1f"}}})
    [('study', 'demo'), ('a: seed', '7'), ('a: inputs, x.csv', '1f')]
    """
    facts = [(name, str(value)) for name, value in head.items()]
    for run, manifest in manifests.items():
        for name in _FACTS:
            facts += _flat(f"{run}: {name.replace('_', ' ')}", manifest.get(name))
    return facts


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    """One fact a value, however deep; nothing for what is not there."""
    if isinstance(value, Mapping):
        return [fact for key, part in value.items() for fact in _flat(f"{name}, {key}", part)]
    if value is None or value == "":
        return []
    return [(name, str(value))]


def sheet_name(name: str, used: set[str]) -> str:
    """A name that Excel takes, at most 31 letters, unlike those used in any case; and now used.

    >>> sheet_name("a/b: " + "long " * 9, set()), sheet_name("X", {"x"})
    ('a-b-long-lon-ong-long-long-long', 'X-2')
    """
    plain = re.sub(r"[^\w]+", "-", name).strip("-") or "run"
    if plain.casefold() == "history":  # a name that Excel keeps for itself
        plain = "history-run"
    if len(plain) > _LONGEST_NAME:  # runs of a study differ at their ends
        plain = f"{plain[:12].rstrip('-')}-{plain[-18:].lstrip('-')}"
    found, at = plain, 2
    while found.casefold() in used:
        mark = f"-{at}"
        found, at = plain[: _LONGEST_NAME - len(mark)].rstrip("-") + mark, at + 1
    used.add(found.casefold())
    return found


def _sheet(book: Workbook, name: str, used: set[str]) -> Worksheet:
    return book.add_worksheet(sheet_name(name, used))


def _write_results(book: Workbook, sheet: Worksheet, frame: pd.DataFrame) -> None:
    """A frame from the first cell on, its header frozen and filterable."""
    columns = [list(values) for _, values in frame.items()]
    last = _write_table(book, sheet, 0, list(frame.columns), columns)
    sheet.freeze_panes(1, 0)
    if len(frame.columns):
        sheet.autofilter(0, 0, max(last - 1, 1), len(frame.columns) - 1)
    for at, (column, values) in enumerate(zip(frame.columns, columns, strict=True)):
        sheet.set_column(at, at, _width([column, *values]))


def _write_run(book: Workbook, sheet: Worksheet, name: str, report: Mapping[str, Any]) -> None:
    """Name, question and answer, frozen; then each table below its caption."""
    bold = book.add_format({"bold": True})
    heads = (name, report.get("title", ""), report.get("answer", ""))
    for at, text in enumerate(heads):
        _write_cell(sheet, at, 0, text, bold if at < 2 else None)
    sheet.freeze_panes(len(heads), 0)
    row, widths = len(heads) + 1, dict[int, float]()
    for table in _tables(report):
        names, rows = table["columns"], table["rows"]
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        _write_cell(sheet, row, 0, table["caption"], bold)
        row = _write_table(book, sheet, row + 1, names, columns) + 1
        for at, (column, values) in enumerate(zip(names, columns, strict=True)):
            widths[at] = max(_width([column, *values]), widths.get(at, 0))
    for at, wide in widths.items():
        sheet.set_column(at, at, wide)


def _tables(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every table of a report, in the order of its page; its guards last."""
    parts = (report, *report.get("evidence", ()), *report.get("checks", ()))
    tables = [table for part in parts for table in part.get("tables", ())]
    for name in ("guards", "diagnostics"):
        rows = report.get(name, ())
        if rows:
            columns = list(dict.fromkeys(key for row in rows for key in row))
            values = [[row.get(key) for key in columns] for row in rows]
            tables.append({"caption": name.capitalize(), "columns": columns, "rows": values})
    return tables


def _write_table(
    book: Workbook,
    sheet: Worksheet,
    top: int,
    names: Sequence[str],
    columns: Sequence[Sequence[Any]],
) -> int:
    """Header and columns from row `top` on; the row below the last."""
    head = book.add_format({"bold": True, "bottom": 1, "bg_color": "#E9EEF4"})
    whole = book.add_format({"num_format": "#,##0"})
    last = top
    for at, (name, values) in enumerate(zip(names, columns, strict=True)):
        _write_cell(sheet, top, at, str(name), head)
        shape = book.add_format({"num_format": _FORMATS.get(str(name), "#,##0.0000")})
        for last, value in enumerate(values, start=top + 1):
            _write_cell(sheet, last, at, value, whole if _is_whole(value) else shape)
    return last + 1


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool | str) and hasattr(value, "__index__")


def _write_cell(sheet: Worksheet, row: int, at: int, value: Any, shape: Format | None) -> None:
    """A number as a number, a truth as a truth, all else as text that nothing runs."""
    plain = value.item() if hasattr(value, "item") else value
    if plain is None or plain is pd.NA or plain is pd.NaT:
        sheet.write_blank(row, at, None)
    elif isinstance(plain, bool):
        sheet.write_boolean(row, at, plain)
    elif isinstance(plain, int | float):
        if math.isfinite(plain):
            sheet.write_number(row, at, plain, shape)
    else:
        text = str(neutralise(_NO_LETTER.sub(" ", str(plain))))
        sheet.write_string(row, at, text[:_LONGEST_TEXT], None if _is_number(shape) else shape)


def _is_number(shape: Format | None) -> bool:
    return shape is not None and shape.num_format != "General"


def _width(values: Sequence[Any]) -> float:
    """Letters that the widest value takes, within bounds."""
    longest = max(
        (10 if isinstance(value, float) else len(str(value)) for value in values), default=8
    )
    return min(max(longest + 2, 8), _WIDEST)
