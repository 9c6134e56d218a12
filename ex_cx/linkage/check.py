"""A table against what it must hold: every problem in one error, with rows and the remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError, nearest, some
from ex_cx.linkage.parsing import as_text, is_text, parse_dates, to_numbers
from ex_cx.linkage.schema import ColumnRule, TableSchema
from ex_cx.linkage.wording import counted, some_rows, written_like

if TYPE_CHECKING:
    import pandera.pandas as pandera

__all__ = ["REMEDY", "check_table", "limits", "limits_in_words"]

REMEDY = {
    "are not numbers": "Correct them, or list the marker of missing values under `missing`.",
    "are infinite": "Correct or blank them.",
    "are not among the allowed ones": "Correct the spelling, or allow them.",
    "are missing": "Fill them, or leave the rows out of the file.",
}


def check_table(
    frame: pd.DataFrame, schema: TableSchema, *, numbers: np.ndarray | None = None
) -> pd.DataFrame:
    """The table with its columns as their rules say: numbers as floats, dates, text.

    Columns without a rule are passed on. A number written as text is a number here, a number in a
    text column is text. `frame` is not changed.

    Parameters
    ----------
    numbers : shape (rows,), whole numbers that rise: what messages number the rows by. None: as in
        a spreadsheet, the header being row 1. The index of the table counts alike, from 0.

    Raises
    ------
    SchemaError : once, with every problem found: a column that is not there; text or infinite
        values in a number column; values out of range, not allowed or missing; a repeated key.
        Messages tell how wrong values are written and in which rows, never a value itself.

    >>> rules = TableSchema(name="answers", columns=(ColumnRule(name="score", low=0, high=10),))
    >>> check_table(pd.DataFrame({"score": ["7", "9"]}), rules)["score"].tolist()
    [7.0, 9.0]
    """
    _check_present(frame, schema)
    rows = frame.reset_index(drop=True)
    at = np.arange(len(rows)) + 2 if numbers is None else numbers
    typed, problems = {}, []
    for rule in schema.columns:
        try:
            typed[rule.name] = _typed(rows[rule.name], rule, schema.name, at)
        except SchemaError as error:
            problems.append(str(error).removeprefix(f"{schema.name!r}, column "))
    known = [rule for rule in schema.columns if rule.name in typed]
    problems += _failures(rows, typed, known, at)
    problems += _repeated_keys(rows, schema.key, at)
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        raise SchemaError(
            f"{schema.name!r} has {counted(len(problems), 'problem')} in "
            f"{counted(len(rows), 'row')}.\n{listed}"
        )
    checked = rows.assign(**typed)
    return checked if numbers is None else checked.set_axis(numbers - 2, axis=0)


def _check_present(frame: pd.DataFrame, schema: TableSchema) -> None:
    wanted = dict.fromkeys([*(rule.name for rule in schema.columns), *schema.key])
    lacking = [name for name in wanted if name not in frame.columns]
    if lacking:
        hints = "".join(nearest(name, frame.columns) for name in lacking)
        raise SchemaError(
            f"{schema.name!r} lacks {counted(len(lacking), 'column')} ({some(lacking, 12)})."
            f"{hints} It has {len(frame.columns)}: {some(frame.columns, 12)}."
        )


def _typed(column: pd.Series, rule: ColumnRule, table: str, at: np.ndarray) -> pd.Series:
    if rule.kind == "number":
        return to_numbers(column)
    if rule.kind == "date":
        return parse_dates(column, table=table, rows=at)[0]
    return as_text(column)


def _failures(
    rows: pd.DataFrame, typed: dict[str, pd.Series], rules: Iterable[ColumnRule], at: np.ndarray
) -> list[str]:
    """One line per column and kind of failure, found by pandera in one lazy pass."""
    pandera = _pandera()
    columns = {
        rule.name: pandera.Column(
            nullable=True, checks=_checks(pandera, rows[rule.name], typed[rule.name], rule)
        )
        for rule in rules
    }
    try:
        pandera.DataFrameSchema(columns).validate(rows, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        return [
            _line(rows[name], str(what), group["index"].to_numpy(dtype=np.int64), at)
            for (name, what), group in cases.groupby(["column", "check"], sort=False)
        ]
    return []


def _pandera() -> Any:
    try:
        import pandera.pandas as pandera
    except ImportError as error:
        raise SchemaError(
            "Checking tables needs the package pandera. Install it: pip install 'ex-cx[study]'."
        ) from error
    return pandera


def _checks(
    pandera: Any, cells: pd.Series, typed: pd.Series, rule: ColumnRule
) -> list[pandera.Check]:
    """The rule's tests; each says by its name what the failing values are."""
    absent = cells.isna()
    tests: dict[str, Callable[[pd.Series], pd.Series]] = {}
    if rule.kind == "number":
        tests["are not numbers"] = lambda _: typed.notna() | absent
        tests["are infinite"] = lambda _: ~np.isinf(typed)
    if rule.low is not None or rule.high is not None:
        within = typed.between(*limits(rule)) | typed.isna() | np.isinf(typed)
        tests[f"are not {limits_in_words(rule)}"] = lambda _: within
    if rule.allowed:
        tests["are not among the allowed ones"] = lambda _: typed.isin(rule.allowed) | absent
    if rule.required:
        tests["are missing"] = lambda _: ~absent
    return [
        pandera.Check(test, error=what, name=what, ignore_na=False) for what, test in tests.items()
    ]


def limits(rule: ColumnRule) -> tuple[float, float]:
    """The least and the greatest number that is right."""
    return (
        -np.inf if rule.low is None else rule.low,
        np.inf if rule.high is None else rule.high,
    )


def limits_in_words(rule: ColumnRule) -> str:
    """Such as "1 to 5", or "at least 0"."""
    low, high = limits(rule)
    return f"at least {low:g}" if high == np.inf else f"{low:g} to {high:g}"


def _line(cells: pd.Series, what: str, index: np.ndarray, at: np.ndarray) -> str:
    index = np.sort(index)
    wrong = cells.iloc[index].dropna()
    shown = (
        f"; written like {written_like(wrong.unique())}"
        if len(wrong) and is_text(wrong) and what != "are infinite"
        else ""
    )
    remedy = REMEDY.get(what, "Correct them, or state the range that is right.")
    return (
        f"{cells.name!r}: {len(index):,} of {len(cells):,} values {what} "
        f"({some_rows(at[index])}{shown}). {remedy}"
    )


def _repeated_keys(rows: pd.DataFrame, key: tuple[str, ...], at: np.ndarray) -> list[str]:
    if not key:
        return []
    repeated = np.flatnonzero(rows.duplicated(list(key)))
    if len(repeated) == 0:
        return []
    line = (
        f"{' and '.join(map(repr, key))}: {len(repeated):,} of {len(rows):,} rows repeat a key "
        f"already there ({some_rows(at[repeated])}). Keep one row for each."
    )
    return [line]
