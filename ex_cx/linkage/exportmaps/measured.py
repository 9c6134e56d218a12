"""What a source may measure, by the columns as they were guessed: unit, period and measures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ex_cx.linkage.exportmaps.guess import VAGUE_UNITS, GuessedColumn, is_named, quoted

__all__ = ["source_lines"]

BEGINS = r"hire|hired|joined|entry|start|opened|since"
LEAVES = r"exit|left|leaving|termination|terminated|resigned|separation"
CHURNS = r"churn|churned|cancelled|canceled"
ENDS = r"end|closed"
HIRES = r"hire|hired|joined|entry"
ACCOUNTS = r"account|contract|subscription"
LATER = r"record|answered|submit"
"""Of several times of an answer, the one at which it was given."""


def source_lines(columns: Sequence[GuessedColumn]) -> Iterator[str]:
    """The lines of `source:`; the proposal loads as it is, also where nothing is guessed."""
    taken = [column for column in columns if not column.left]
    spells = list(_spells(taken))
    unit, period = _unit(taken), None if spells else _period(taken)
    yield ""
    yield "source:"
    if unit is not None:
        yield f"  unit: {quoted(unit.new)}  # guess"
    else:
        yield "  # unit: no column is called like one"
    if period is not None:
        yield f"  period: {quoted(period.new)}  # guess"
    measures = [*spells, *_measures(taken)]
    if measures:
        yield "  measures:  # guess: `ex_` is of employees, `cx_` of customers"
        yield from measures
    elif unit is None and period is None:
        yield '  respondents: ""'


def _unit(columns: Sequence[GuessedColumn]) -> GuessedColumn | None:
    units = [column for column in columns if column.role == "unit"]
    sure = [column for column in units if not is_named(column.old, VAGUE_UNITS)]
    return next(iter((*sure, *units)), None)


def _period(columns: Sequence[GuessedColumn]) -> GuessedColumn | None:
    """The time called like one, of several the latest; else the only one."""
    periods = [column for column in columns if column.role == "period"]
    later = [column for column in periods if is_named(column.old, LATER)]
    times = [column for column in columns if column.is_time]
    return next(iter((*later, *periods, *times[: len(times) == 1])), None)


def _spells(columns: Sequence[GuessedColumn]) -> Iterator[str]:
    """One row for each time that somebody belonged to a unit, with its first and its last day.

    A plain "end", which calls and shifts have, too, is one only beside a hire or an account.
    """
    times = [column for column in columns if column.is_time]
    begins = [column for column in times if is_named(column.old, BEGINS)]
    of_people = any(is_named(column.old, HIRES) for column in begins)
    of_accounts = any(is_named(column.old, ACCOUNTS) for column in columns)
    words = (LEAVES, CHURNS, *((ENDS,) if of_people or of_accounts else ()))
    ends = [(column, kind) for kind in words for column in times if is_named(column.old, kind)]
    if len(begins) != 1 or not ends or begins[0] is ends[0][0]:
        return
    begin, (end, kind) = quoted(begins[0].new), ends[0]
    if kind == LEAVES or (kind == ENDS and of_people):
        yield f"    ex_attrition_pct: {{metric: attrition, hire: {begin}, exit: {quoted(end.new)}}}"
    else:
        yield f"    cx_retention_pct: {{metric: retention, start: {begin}, end: {quoted(end.new)}}}"


def _measures(columns: Sequence[GuessedColumn]) -> Iterator[str]:
    for column in columns:
        name, new = re.sub(r"\W", "_", column.new), quoted(column.new)
        if column.role == "nps":
            yield f"    cx_{name}: {{metric: nps, score: {new}}}"
        if column.role in ("ces_v1", "ces_2"):
            high, way = (5, "high_is_bad") if column.role == "ces_v1" else (7, "low_is_bad")
            fields = f"score: {new}, low: 1, high: {high}, direction: {way}"
            yield f"    cx_{name}: {{metric: effort, {fields}}}"
        if column.role == "yes_no" and is_named(column.old, "resolved|solved|fcr"):
            yield f'    cx_fcr_pct: {{metric: fcr, score: {new}, positive: ["1"]}}'
    for role, high in (("likert_5", 5), ("likert_7", 7)):
        items = [quoted(column.new) for column in columns if column.role == role]
        if items:
            listed = ", ".join(items)
            fields = f"items: [{listed}], low: 1, high: {high}"
            yield f"    ex_{role}: {{metric: scale_mean, {fields}}}"
