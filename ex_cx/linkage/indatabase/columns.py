"""The columns of a table in a database as its rules say, and what is wrong with them.

The counterpart of `check` for rows that are not brought into memory: the same problems in the same
words, without numbers of rows, which a database has not. Ibis expressions only; nothing is run but
what `Columns.facts` and `Columns.fetched` ask for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError, nearest, some
from ex_cx.linkage.check import REMEDY, limits, limits_in_words
from ex_cx.linkage.schema import ColumnRule, Frequency, SourceSpec, TableSchema
from ex_cx.linkage.wording import counted, written_like

__all__ = [
    "Columns",
    "Numbers",
    "order_of",
    "position_of",
    "refuse_lacking",
    "refuse_zone",
    "seconds_of",
    "typed_columns",
]

_SHOWN = 200
"""Different wrong values whose forms are told."""
_FEW = 10_000
"""A text column of fewer different values is looked at for padding and blanks beforehand."""
_NUMBER = r"(?i)^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf|infinity|nan)$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What a look over a column of finite numbers shows, so that no group has to be asked again.

    Attributes
    ----------
    low, high : least and greatest.
    complete : none is missing.
    whole : all are whole numbers; False where nobody asked.
    """

    low: float
    high: float
    complete: bool
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """The columns of a table that are needed.

    Attributes
    ----------
    rows : Ibis table of them, typed: text trimmed and blanks missing, numbers as 64-bit floats,
        dates as timestamps; `v0`, `v1` in the order of the rules, and `r0`, `r1` as they were.
    schema : what they must hold.
    doubtful : columns whose values have to be tested one by one.
    numbers : what is known of the others that hold numbers.
    """

    rows: Any
    schema: TableSchema
    doubtful: frozenset[str]
    numbers: Mapping[str, Numbers] = field(default_factory=dict)

    def name(self, column: str) -> str:
        """What a column is called in `rows`."""
        return f"v{[rule.name for rule in self.schema.columns].index(column)}"

    def key(self, column: str) -> str:
        """What a column is called in `rows` where it only tells rows apart: whole numbers stay."""
        name = self.name(column)
        raw = f"r{name[1:]}"
        return raw if self.rows[raw].type().is_integer() else name

    def facts(self, wanted: Mapping[str, Any]) -> pd.Series:
        """One pass over all rows: `wanted` single values, and a check of every column.

        Raises
        ------
        SchemaError : once, with every problem found, in the words of `check_table`.
        """
        tests = {
            f"{at}:{what}": test
            for at, rule in enumerate(self.schema.columns)
            if rule.name in self.doubtful
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
            low, high = limits(rule)
            outside = ((value < low) | (value > high)) & ~value.isinf()
            tests[f"are not {limits_in_words(rule)}"] = outside
        return tests

    def _line(self, name: str, count: int, n: int, test: Any) -> str:
        at, what = name.split(":", 1)
        raw, forms = f"r{at}", ""
        if self.rows[raw].type().is_string():
            wrong = self.rows.filter(test)[[raw]].distinct().order_by(raw)
            forms = f" (written like {written_like(wrong.limit(_SHOWN).to_pandas()[raw])})"
        column = self.schema.columns[int(at)].name
        remedy = REMEDY.get(what, "Correct them, or state the range that is right.")
        return f"{column!r}: {count:,} of {n:,} values {what}{forms}. {remedy}"

    def fetched(self) -> pd.DataFrame:
        """The columns in memory, under their own names: text and dates typed, numbers as stored.

        Dates in place of numbers come as text: a database has some that no calendar here has.
        """
        taken = {}
        for at, rule in enumerate(self.schema.columns):
            raw = self.rows[f"r{at}"]
            stored = raw.cast("string") if raw.type().is_temporal() else raw
            taken[rule.name] = stored if rule.kind == "number" else self.rows[f"v{at}"]
        return self.rows.select(**taken).to_pandas()


def typed_columns(table: Any, schema: TableSchema, spec: SourceSpec) -> Columns:
    """The columns that `schema` names, of the types that it names.

    Raises
    ------
    SchemaError : no Ibis table; a column that is not there, or that is asked for as a date and
        holds none.
    """
    _check_is_table(table, schema.name)
    refuse_lacking(table.columns, [rule.name for rule in schema.columns], schema.name)
    free = {spec.unit, *spec.attributes.values(), *spec.read.text}
    numbers = _look_at_numbers(table, schema, spec)
    plain = _plain_texts(table, schema) | set(numbers)
    chosen = {}
    for at, rule in enumerate(schema.columns):
        raw = table[rule.name]
        markers = () if rule.name in free else spec.read.missing
        if rule.name not in plain or markers:
            raw = _present(raw, markers)
        chosen[f"r{at}"] = raw
        chosen[f"v{at}"] = _typed(raw, rule, schema.name)
    right = {
        rule.name: numbers[rule.name]
        for rule in schema.columns
        if rule.name in numbers and _is_within(numbers[rule.name], rule)
    }
    asked = {rule.name for rule in schema.columns if rule.kind == "number"}
    return Columns(
        rows=table.select(**chosen),
        schema=schema,
        doubtful=frozenset(asked - set(right)),
        numbers=right,
    )


def refuse_lacking(names: Collection[str], wanted: Collection[str], table: str) -> None:
    """Refuse a table that lacks columns; the nearest names are told.

    Raises
    ------
    SchemaError : one of `wanted` is not among the names.
    """
    lacking = [name for name in wanted if name not in names]
    if lacking:
        hints = "".join(nearest(name, names) for name in lacking)
        raise SchemaError(
            f"{table!r} lacks {counted(len(lacking), 'column')} ({some(lacking, 12)})."
            f"{hints} It has {len(names)}: {some(names, 12)}."
        )


def _look_at_numbers(table: Any, schema: TableSchema, spec: SourceSpec) -> dict[str, Numbers]:
    """Columns of numbers that hold no NaN and no infinite one: far cheaper than to look at every
    value again in every group.
    """
    columns = {
        rule.name: table[rule.name]
        for rule in schema.columns
        if (kind := table[rule.name].type()).is_floating()
        or (kind.is_numeric() and rule.kind == "number")
    }
    wholes = {measure.score for measure in spec.measures.values() if measure.metric == "nps"}
    numbers: dict[str, Numbers] = {}
    for name in wholes & set(columns):  # eleven answers, if they are what they should be
        seen, n = _seen(table[[name]].distinct().limit(_FEW), [name], wholes)
        if n < _FEW:
            numbers |= seen
            del columns[name]
    return numbers | (_seen(table, list(columns), wholes)[0] if columns else {})


def _seen(
    table: Any, names: Sequence[str], wholes: Collection[str | None]
) -> tuple[dict[str, Numbers], int]:
    """What one pass tells of columns of numbers, those with NaN or infinite ones left out; rows."""
    asked = {"n": table.count()}
    for at, name in enumerate(names):
        column = table[name]
        asked |= {f"{at}low": column.min(), f"{at}high": column.max(), f"{at}n": column.count()}
        if name in wholes and not column.type().is_integer():
            asked[f"{at}broken"] = (column % 1 != 0).any()
    found = table.aggregate(**asked).to_pandas().iloc[0]
    n, numbers = int(found["n"]), dict[str, Numbers]()
    if not n:
        return numbers, n
    for at, name in enumerate(names):
        low, high = float(found[f"{at}low"]), float(found[f"{at}high"])
        broken = found.get(f"{at}broken", name not in wholes)
        if np.isfinite(low + high):
            numbers[name] = Numbers(
                low=low,
                high=high,
                complete=int(found[f"{at}n"]) == n,
                whole=not (pd.isna(broken) or bool(broken)),
            )
    return numbers, n


def _is_within(seen: Numbers, rule: ColumnRule) -> bool:
    low, high = limits(rule)
    return low <= seen.low and seen.high <= high


def _plain_texts(table: Any, schema: TableSchema) -> set[str]:
    """Columns that need no cleaning: all but numbers with a fraction, and texts of which one is
    padded or blank. Most columns of text hold few different ones, which are looked at here.
    """
    plain = set()
    for rule in schema.columns:
        kind = table[rule.name].type()
        if not kind.is_string():
            plain |= set() if kind.is_floating() else {rule.name}
            continue
        texts = table[[rule.name]].distinct().limit(_FEW).to_pandas()[rule.name].dropna()
        if len(texts) < _FEW and not (texts.eq("") | texts.str.strip().ne(texts)).any():
            plain.add(rule.name)
    return plain


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
    # ibis's strip() takes a v for a vertical tab on Spark; and hardly a text has a blank at its end
    padded = (column.left(1) <= " ") | (column.right(1) <= " ")
    text = padded.ifelse(column.re_replace(r"^\s+|\s+$", ""), column)
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
        return column.ifelse(1.0, (~column).ifelse(0.0, _null("float64")))
    if kind.is_numeric() and not kind.is_decimal():
        return column.cast("float64")
    if not kind.is_string() and not kind.is_decimal():
        return _null("float64")
    value = column.cast("float64") if kind.is_decimal() else _read_number(column)
    return value.isnan().ifelse(_null("float64"), value)


def _read_number(column: Any) -> Any:
    if not _is_postgres(column):
        return column.try_cast("float64")
    number = column.re_search(_NUMBER).ifelse(column, _null("string"))  # it has no cast that tries
    return number.cast("float64")


def _is_postgres(column: Any) -> bool:
    return bool(column.get_backend().name == "postgres")


def order_of(column: Any) -> Any:
    """What text is ordered by as it is here, by code points; PostgreSQL has orders of countries."""
    if not _is_postgres(column):
        return column
    import ibis

    @ibis.udf.scalar.builtin(signature=(("string", "string"), "binary"))
    def convert_to(text, encoding):  # type: ignore[no-untyped-def]
        """Its bytes."""

    return convert_to(column, "UTF8")


def _text(column: Any) -> Any:
    """Whole numbers without a decimal point, dates as 2024-03-31: as in memory."""
    kind = column.type()
    if kind.is_string():
        return column
    if kind.is_boolean():
        return column.ifelse("True", (~column).ifelse("False", _null("string")))
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
    refuse_zone(kind, name, table)
    if kind.is_timestamp():
        return column
    raise SchemaError(
        f"{table!r}, column {name!r}: dates are needed, and the database holds values of the type "
        f"{kind}. Cast them in the database, such as CAST(... AS DATE) in a view."
    )


def refuse_zone(kind: Any, name: str, table: str) -> None:
    """Refuse times of a zone, which are of another day elsewhere.

    Raises
    ------
    SchemaError : the type is one of them.
    """
    if kind.is_timestamp() and kind.timezone is not None:
        raise SchemaError(
            f"{table!r}, column {name!r}: dates are needed, and the database holds times of a "
            "zone. Turn them into clock times of the place, such as AT TIME ZONE 'Europe/Berlin' "
            "in a view."
        )


def position_of(column: Any, frequency: Frequency) -> Any:
    """Calendar positions as `periods.period_positions` counts them, missing where it has none."""
    if not column.type().is_timestamp():
        whole = (column % 1 == 0) & ~column.isinf()
        return whole.ifelse(column, _null("float64")).cast("int64")
    if frequency in ("day", "hour"):
        return seconds_of(column) // (86_400 if frequency == "day" else 3_600)
    if frequency in ("month", "quarter"):
        month = (column.year().cast("int64") - 1970) * 12 + column.month() - 1
        return month if frequency == "month" else month // 3
    return column.year() if frequency == "year" else seconds_of(column) // 86_400


def seconds_of(column: Any) -> Any:
    """Whole seconds since January 1970."""
    return column.epoch_seconds().cast("float64").floor().cast("int64")
