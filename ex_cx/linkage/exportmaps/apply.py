"""An export made a clean table as its mapping says: every row and every change counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError, nearest, some
from ex_cx.linkage.exportmaps.column import ColumnMapping, folded
from ex_cx.linkage.exportmaps.spec import RowFilter, TableMapping
from ex_cx.linkage.exportmaps.times import convert_times
from ex_cx.linkage.exportmaps.values import Converted, bare_text, convert_values
from ex_cx.linkage.parsing import as_text, detect_decimal, is_text
from ex_cx.linkage.wording import counted, some_rows

__all__ = ["MappedTable", "apply_mapping"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MappedTable:
    """A clean table and what became of the export's rows and values.

    Attributes
    ----------
    frame : the columns that the mapping names, in its order; rows that are left out are gone.
    coercions : column, coercion, values, of: what was done to how many of how many values.
    rows : shape (rows,), the number in the file of the row that each row of the frame comes from.
    lost : reason and number of the rows left out, in order.
    date_formats : column of times -> how they were written.
    decimal : point or comma, as stated or detected.
    left_behind : columns of the export that no column of the table comes from.
    """

    frame: pd.DataFrame
    coercions: pd.DataFrame
    rows: np.ndarray
    lost: tuple[tuple[str, int], ...]
    date_formats: dict[str, str]
    decimal: str
    left_behind: tuple[str, ...]


def apply_mapping(
    export: pd.DataFrame,
    mapping: TableMapping,
    *,
    name: str = "the export",
    first_row: int = 2,
    numbers: np.ndarray | None = None,
) -> MappedTable:
    """Make an export a clean table; the frame that is given is not changed.

    Parameters
    ----------
    export : the columns as the system writes them, text or typed.
    mapping : what becomes of them.
    name : what messages call the export.
    first_row : number of its first row in the file, for messages.
    numbers : of all its rows, where they do not follow one another; shape (rows,).

    Raises
    ------
    SchemaError : a column that is not there; values that no rule covers (unknown choices, numbers
        out of range, times that a clock never shows or shows twice), all in one message with how
        many they are and in which rows; rows repeated; no row left.

    Examples
    --------
    >>> rules = {"effort": ColumnMapping(column="Q2", choices={"Very easy": 7, "Very hard": 1})}
    >>> export = pd.DataFrame({"Q2": ["very easy", "Very hard", None]})
    >>> table = apply_mapping(export, TableMapping(columns=rules))
    >>> table.frame["effort"].tolist()
    [7.0, 1.0, nan]
    >>> table.coercions[["coercion", "values"]].values.tolist()
    [['choice text to its code', 2]]
    """
    _check_there(export, mapping, name)
    rows = np.arange(len(export)) + first_row if numbers is None else numbers
    keep, lost = _kept_rows(export, mapping, name, rows)
    taken, at = export[keep].reset_index(drop=True), rows[keep]
    point = mapping.file.decimal or _decimal(taken, mapping, name)
    found = {
        new: _one_column(taken, new, each, mapping, point, at)
        for new, each in mapping.columns.items()
    }
    _refuse(found, name)
    gone = np.zeros(len(taken), dtype=bool)
    for new, each in found.items():
        for reason, where in each.lost.items():
            extra = where & ~gone
            gone |= where
            lost += [(f"{new!r} {reason}", int(extra.sum()))] if extra.any() else []
    if gone.all():
        raise SchemaError(f"The mapping leaves no row of {name!r}: {_reasons(lost)}.")
    frame = pd.DataFrame({new: each.column for new, each in found.items()})[~gone]
    used = set(mapping.needed())
    return MappedTable(
        frame=frame.reset_index(drop=True),
        coercions=_coercions(found, mapping, len(taken)),
        rows=at[~gone],
        lost=tuple(lost),
        date_formats={new: each.form for new, each in found.items() if each.form},
        decimal=point,
        left_behind=tuple(str(column) for column in export if column not in used),
    )


def _check_there(export: pd.DataFrame, mapping: TableMapping, name: str) -> None:
    lacking = [column for column in mapping.needed() if column not in export.columns]
    if lacking:
        hints = "".join(nearest(column, export.columns) for column in lacking[:3])
        raise SchemaError(
            f"{name!r} lacks {counted(len(lacking), 'column')} that the mapping names "
            f"({some(lacking, 12)}).{hints} It has {len(export.columns)}: "
            f"{some(export.columns, 12)}. Is it the mapping of another export?"
        )


def _kept_rows(
    export: pd.DataFrame, mapping: TableMapping, name: str, rows: np.ndarray
) -> tuple[np.ndarray, list[tuple[str, int]]]:
    """Which rows are taken, shape (rows,), and how many were left out for which reason."""
    keep, lost = np.ones(len(export), dtype=bool), list[tuple[str, int]]()
    for rule in mapping.rows.keep:
        meets = keep & _meets(export[rule.column], rule)
        if keep.sum() > meets.sum():
            lost.append((rule.describe(), int(keep.sum() - meets.sum())))
        keep = meets
    unique = list(mapping.rows.unique)
    if unique and keep.any():
        kept = export.loc[keep, unique]
        known = kept.notna().all(axis=1).to_numpy()
        again = kept.duplicated(keep="first").to_numpy() & known
        if mapping.rows.repeated == "last":
            again = kept.duplicated(keep="last").to_numpy() & known
        if again.any() and mapping.rows.repeated == "refuse":
            raise SchemaError(
                f"{name!r}: {counted(int(again.sum()), 'row')} of {int(keep.sum()):,} repeat the "
                f"{some(unique)} of an earlier row ({some_rows(rows[keep][again])}). Correct the "
                "file, or state `repeated` as `first` or `last`."
            )
        if again.any():
            lost.append((f"{some(unique)} is there already", int(again.sum())))
        keep[np.flatnonzero(keep)[again]] = False
    if not keep.any():
        raise SchemaError(f"The mapping leaves no row of {name!r}: {_reasons(lost)}.")
    return keep, lost


def _meets(column: pd.Series, rule: RowFilter) -> np.ndarray:
    text = as_text(column)
    if rule.not_missing:
        return (text.notna() & (text.str.strip() != "")).to_numpy(dtype=bool)
    codes, labels = pd.factorize(text)
    listed = {folded(value) for value in (*rule.any_of, *rule.none_of)}
    hits = np.append([folded(str(label)) in listed for label in labels], False)[codes]
    return hits.astype(bool) if rule.any_of else ~hits.astype(bool)


def _reasons(lost: list[tuple[str, int]]) -> str:
    return "; ".join(f"{counted(n, 'row')}: {reason}" for reason, n in lost) or "it has none"


def _decimal(taken: pd.DataFrame, mapping: TableMapping, name: str) -> str:
    """Point or comma, as the columns that may hold numbers tell; markers tell nothing."""
    bare = dict[str, pd.Series]()
    for new, each in mapping.columns.items():
        no_number = each.kind == "text" or each.is_time or each.choices or each.thousands
        if no_number or each.stated(("case", "pad")):
            continue
        for old in each.columns or (each.column or new,):
            if is_text(taken[old]):
                bare[old] = bare_text(taken[old], each, mapping.file.missing)
    return detect_decimal(pd.DataFrame(bare), name) if bare else "."


def _one_column(
    taken: pd.DataFrame,
    new: str,
    each: ColumnMapping,
    mapping: TableMapping,
    point: str,
    at: np.ndarray,
) -> Converted:
    marks = mapping.file.missing
    if not each.columns:
        name = each.column or new
        typed = taken[name].dtype.kind == "M" and not each.kind and not each.is_number
        if each.is_time or (typed and not each.choices):
            cells = {str(c): taken[c] for c in taken}
            return convert_times(cells, name, each, mapping.times, missing=marks, rows=at)
        return convert_values(taken[name], each, missing=marks, point=point, rows=at)
    parts = [
        convert_values(taken[old], each, missing=marks, point=point, rows=at)
        for old in each.columns
    ]
    notes: dict[str, int] = {}
    for part in parts:
        for what, n in part.notes.items():
            notes[what] = notes.get(what, 0) + n
    problems = [
        f"{old!r}: {line}"
        for old, part in zip(each.columns, parts, strict=True)
        for line in part.problems
    ]
    if problems:
        return Converted(column=parts[0].column, problems=tuple(problems))
    column = _combined([part.column for part in parts], each)
    how = {"sum": "summed", "mean": "averaged", "first": "first present", "join": "joined"}
    known = sum(int(part.column.notna().sum()) for part in parts)
    notes[f"{len(parts)} columns {how[each.combine]}"] = known
    return Converted(column=column, notes=notes)


def _combined(parts: list[pd.Series], each: ColumnMapping) -> pd.Series:
    if each.combine in ("sum", "mean"):
        side = pd.concat(parts, axis=1)
        return side.sum(axis=1, skipna=False) / (len(parts) if each.combine == "mean" else 1)
    whole = parts[0]
    for part in parts[1:]:
        if each.combine == "first":
            whole = whole.where(whole.notna(), part)
        else:
            whole = (as_text(whole) + " / " + as_text(part)).astype("str")
    return whole


def _refuse(found: Mapping[str, Converted], name: str) -> None:
    """One error with every problem of every column."""
    lines = [f"{new!r}: {line}" for new, each in found.items() for line in each.problems]
    if lines:
        listed = "\n".join(f"- {line}" for line in lines)
        raise SchemaError(
            f"{name!r} does not fit its mapping in {counted(len(lines), 'way')}. Correct the file "
            "or the mapping; `invalid: missing` makes such values missing and counts them.\n"
            f"{listed}"
        )


def _coercions(found: Mapping[str, Converted], mapping: TableMapping, n: int) -> pd.DataFrame:
    """What was done to how many of how many values; a column made of two has twice as many."""
    rows = [
        (new, what, count, n * (len(mapping.columns[new].columns) or 1))
        for new, each in found.items()
        for what, count in each.notes.items()
    ]
    return pd.DataFrame(rows, columns=["column", "coercion", "values", "of"])
