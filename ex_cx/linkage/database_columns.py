"""The columns of a table in a database as its rules say, and what is wrong with them.

The counterpart of `check` for rows that are not brought into memory: the same problems in the same
words, without numbers of rows, which a database has not. Ibis expressions only; nothing is run but
what `Columns.facts` and `Columns.fetched` ask for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ex_cx.errors import SchemaError, nearest, some
from ex_cx.linkage.check import REMEDY
from ex_cx.linkage.schema import ColumnRule, Frequency, SourceSpec, TableSchema
from ex_cx.linkage.wording import counted

__all__ = ["Columns", "position_of", "seconds_of", "typed_columns"]

_SHOWN = 4
"""Wrong values that are fetched for a message, which shows three."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """The columns of a table that are needed.

    Attributes
    ----------
    rows : Ibis table of them, typed: text trimmed and blanks missing, numbers as 64-bit floats,
        dates as timestamps; `v0`, `v1` in the order of the rules, and `r0`, `r1` as they were.
    schema : what they must hold.
    """

    rows: Any
    schema: TableSchema

    def name(self, column: str) -> str:
        """What a column is called in `rows`."""
        return f"v{[rule.name for rule in self.schema.columns].index(column)}"

    def facts(self, wanted: Mapping[str, Any]) -> pd.Series:
        """One pass over all rows: `wanted` single values, and a check of every column.

        Raises
        ------
        SchemaError : once, with every problem found, in the words of `check_table`.
        """
        tests = {
            f"{at}:{what}": test
            for at, rule in enumerate(self.schema.columns)
            for what, test in self._tests(at, rule).items()
        }
        failed = {name: test.fill_null(False).sum() for name, test in tests.items()}
        found = self.rows.aggregate(n_=self.rows.count(), **wanted, **failed).to_pandas().iloc[0]
        n = int(found["n_"])
        wrong = {name: int(found[name]) for name in tests if n and found[name] > 0}
        if wrong:
            lines = "".join(
                f"\n- {self._line(name, count, n, tests[name])}" for name, count in wrong.items()
            )
            raise SchemaError(
                f"{self.schema.name!r} has {counted(len(wrong), 'problem')} in "
                f"{counted(n, 'row')}.{lines}"
            )
        return found

    def _tests(self, at: int, rule: ColumnRule) -> dict[str, Any]:
        """What failing values are -> which they are."""
        if rule.kind != "number":
            return {}
        value, raw = self.rows[f"v{at}"], self.rows[f"r{at}"]
        tests = {"are infinite": value.isinf()}
        if not raw.type().is_numeric():
            tests["are not numbers"] = raw.notnull() & value.isnull()
        if rule.low is not None or rule.high is not None:
            between = (
                f"at least {rule.low:g}" if rule.high is None else f"{rule.low:g} to {rule.high:g}"
            )
            outside = [value < rule.low] if rule.low is not None else []
            outside += [value > rule.high] if rule.high is not None else []
            either = outside[0] if len(outside) == 1 else outside[0] | outside[1]
            tests[f"are not {between}"] = either & ~value.isinf()
        return tests

    def _line(self, name: str, count: int, n: int, test: Any) -> str:
        at, what = name.split(":", 1)
        raw = f"r{at}"
        shown = (
            self.rows.filter(test)[[raw]].distinct().order_by(raw).limit(_SHOWN).to_pandas()[raw]
        )
        column = self.schema.columns[int(at)].name
        remedy = REMEDY.get(what, "Correct them, or state the range that is right.")
        return f"{column!r}: {count:,} of {n:,} values {what} (such as {some(shown[:3])}). {remedy}"

    def fetched(self) -> pd.DataFrame:
        """The columns in memory, under their own names: text and dates typed, numbers as stored."""
        taken = {
            rule.name: self.rows[f"{'r' if rule.kind == 'number' else 'v'}{at}"]
            for at, rule in enumerate(self.schema.columns)
        }
        return self.rows.select(**taken).to_pandas()


def typed_columns(table: Any, schema: TableSchema, spec: SourceSpec) -> Columns:
    """The columns that `schema` names, of the types that it names.

    Raises
    ------
    SchemaError : no Ibis table; a column that is not there, or that is asked for as a date and
        holds none.
    """
    _check_is_table(table, schema.name)
    names = list(table.columns)
    lacking = [rule.name for rule in schema.columns if rule.name not in names]
    if lacking:
        hints = "".join(nearest(name, names) for name in lacking)
        raise SchemaError(
            f"{schema.name!r} lacks {counted(len(lacking), 'column')} ({some(lacking, 12)})."
            f"{hints} It has {len(names)}: {some(names, 12)}."
        )
    free = {spec.unit, *spec.attributes.values(), *spec.read.text}
    chosen = {}
    for at, rule in enumerate(schema.columns):
        raw = _present(table[rule.name], () if rule.name in free else spec.read.missing)
        chosen[f"r{at}"] = raw
        chosen[f"v{at}"] = _typed(raw, rule, schema.name)
    return Columns(rows=table.select(**chosen), schema=schema)


def _check_is_table(table: Any, name: str) -> None:
    try:
        import ibis.expr.types as ir
    except ImportError as error:
        raise SchemaError(
            f"The rows of {name!r} are neither a frame nor a file that was read, and tables in a "
            "database need the package ibis. Install it: pip install 'ex-cx[db]'."
        ) from error
    if not isinstance(table, ir.Table):
        raise SchemaError(
            f"The rows of {name!r} are a {type(table).__name__}. Give a frame, what `read_table` "
            "or `open_table` returns, or an Ibis table."
        )


def _present(column: Any, markers: Sequence[str]) -> Any:
    """The column with blanks, markers of missing values and NaN missing."""
    kind = column.type()
    if kind.is_floating():
        return column.isnan().ifelse(_null(kind), column)
    if not kind.is_string():
        return column
    text = column.strip()
    return text.isin(["", *markers]).ifelse(_null("string"), text)


def _null(kind: Any) -> Any:
    import ibis

    return ibis.null(kind)


def _typed(column: Any, rule: ColumnRule, table: str) -> Any:
    if rule.kind == "number":
        return _number(column)
    return _text(column) if rule.kind == "text" else _date(column, rule.name, table)


def _number(column: Any) -> Any:
    kind = column.type()
    if kind.is_boolean():
        return column.cast("int8").cast("float64")
    if kind.is_numeric():
        return column.cast("float64")
    if not kind.is_string():
        return _null("float64")
    value = column.try_cast("float64")
    return value.isnan().ifelse(_null("float64"), value)


def _text(column: Any) -> Any:
    """Whole numbers without a decimal point, dates as 2024-03-31: as in memory."""
    kind = column.type()
    if kind.is_string():
        return column
    if kind.is_boolean():
        return column.ifelse("True", "False")
    if kind.is_floating() or kind.is_decimal():
        value = column.cast("float64")
        whole = (value % 1 == 0) & (value.abs() < 2.0**53)
        return whole.ifelse(
            whole.ifelse(value, 0.0).cast("int64").cast("string"), value.cast("string")
        )
    text = column.cast("string")
    return text.re_replace(" 00:00:00$", "") if kind.is_timestamp() else text


def _date(column: Any, name: str, table: str) -> Any:
    kind = column.type()
    if kind.is_date():
        return column.cast("timestamp")
    if kind.is_timestamp() and kind.timezone is None:
        return column
    told = "times of a zone" if kind.is_timestamp() else f"values of the type {kind}"
    how = (
        "Turn them into clock times of the place, such as AT TIME ZONE 'Europe/Berlin' in a view"
        if kind.is_timestamp()
        else "Cast them in the database, such as CAST(... AS DATE) in a view"
    )
    raise SchemaError(
        f"{table!r}, column {name!r}: dates are needed, and the database holds {told}. {how}."
    )


def position_of(column: Any, frequency: Frequency) -> Any:
    """Calendar positions as `periods.period_positions` counts them, missing where it has none."""
    if not column.type().is_timestamp():
        whole = (column % 1 == 0) & ~column.isinf()
        return whole.ifelse(column, _null("float64")).cast("int64")
    if frequency in ("day", "hour"):
        return seconds_of(column) // (86_400 if frequency == "day" else 3_600)
    year = column.year().cast("int64")
    if frequency in ("month", "quarter"):
        month = year * 12 + column.month().cast("int64") - 1 - 1970 * 12
        return month if frequency == "month" else month // 3
    return year if frequency == "year" else seconds_of(column) // 86_400


def seconds_of(column: Any) -> Any:
    """Whole seconds since January 1970."""
    return column.epoch_seconds().cast("float64").floor().cast("int64")
