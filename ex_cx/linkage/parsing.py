"""Text to numbers and dates, a whole column at a time, refusing what can be read in two ways."""

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError, SourceError
from ex_cx.linkage.wording import counted, some_rows, written_like

__all__ = [
    "as_text",
    "beyond_floats",
    "detect_decimal",
    "is_text",
    "parse_dates",
    "parse_distinct",
    "parse_numbers",
    "to_numbers",
]

_IDENTIFIER = r"^[+-]?0[\dxX]|^[+-]?\d{19,}$"
_COMMA_NUMBER = r"^[+-]?\d+(,\d+)?$"
_THOUSANDS = r"^[+-]?[1-9]\d{0,2}(,\d{3})+$"
EXACT_FLOATS = 2**53
"""Whole numbers up to this one are all different as floats."""
_CLOCK = r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?"
_ZONE = r"(?:Z|[+-]\d{2}:?\d{2})?"
_FORMS = {
    "2024-03-31": rf"\d{{4}}-\d{{2}}-\d{{2}}{_CLOCK}{_ZONE}",
    "2024-03": r"\d{4}-\d{2}",
    "202403": r"\d{6}",
    "2024Q1": r"\d{4}-?[Qq][1-4]",
    "20240331": r"\d{8}",
    "2024/03/31": rf"\d{{4}}/\d{{1,2}}/\d{{1,2}}{_CLOCK}",
    "day and month": rf"\d{{1,2}}([./-])\d{{1,2}}\1\d{{4}}{_CLOCK}",
}


def is_text(column: pd.Series) -> bool:
    """Does the column hold text (and missing values) only?"""
    return isinstance(column.dtype, pd.StringDtype)


def as_text(column: pd.Series) -> pd.Series:
    """The values as text: whole numbers without a decimal point, dates as 2024-03-31.

    >>> as_text(pd.Series([7.0, None, 8.5])).tolist()
    ['7', nan, '8.5']
    """
    if is_text(column):
        return column
    if pd.api.types.is_integer_dtype(column) and not column.hasnans:
        return column.astype("str")
    present = column.notna()
    if pd.api.types.is_float_dtype(column) and _all_in_int64(column[present]):
        text = column.astype("Int64").astype("str")
    else:
        text = column.map(_one_text, na_action="ignore").astype("str")
    text = text.str.strip()
    return text.where(present & (text != ""))


def _all_in_int64(numbers: pd.Series) -> bool:
    wide = numbers.astype(float)
    return bool(((wide % 1 == 0) & (wide.abs() < 2.0**63)).all())


def _one_text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ").removesuffix(" 00:00:00")
    return str(value)


def parse_numbers(column: pd.Series, decimal: str = ".") -> pd.Series | None:
    """The numbers that a text column holds, or None if one of its values is not a number.

    Identifiers are not numbers: a leading zero (`007`) or more than 18 digits, nor are whole
    numbers above 2^53 in a column with blanks: floats would make neighbours equal.

    >>> parse_numbers(pd.Series(["1,5", "2"], dtype="str"), ",").tolist()
    [1.5, 2.0]
    >>> parse_numbers(pd.Series(["007", "12"], dtype="str")) is None
    True
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pa.array(column.array, type=pa.string(), from_pandas=True)
    if decimal == ",":
        if _any(pc.match_substring(text, ".")):
            return None
        text = pc.replace_substring(text, ",", ".")
    for kind in (pa.int64(), pa.float64()):
        try:
            numbers = pc.cast(text, kind)
        except pa.ArrowInvalid:
            continue
        if _any(pc.match_substring_regex(text, _IDENTIFIER)):
            return None
        if beyond_floats(numbers):
            return None
        values = numbers.to_numpy(zero_copy_only=False)
        return pd.Series(values, index=column.index, name=column.name)
    return None


def beyond_floats(numbers: Any) -> bool:
    """Are these whole numbers with blanks, which become floats, too large to stay apart as such?

    >>> import pyarrow as pa
    >>> beyond_floats(pa.array([2**53 + 1, None])), beyond_floats(pa.array([2**53 + 1]))
    (True, False)
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_integer(numbers.type) or not numbers.null_count:
        return False
    ends = pc.min_max(numbers).as_py()
    return any(end is not None and abs(end) > EXACT_FLOATS for end in ends.values())


def to_numbers(column: pd.Series) -> pd.Series:
    """Floats for a column of any kind, missing where a value is not a number; a date is none."""
    if column.dtype.kind in "mMc" or isinstance(column.dtype, pd.PeriodDtype):
        return pd.Series(np.nan, index=column.index, name=column.name)
    if pd.api.types.is_numeric_dtype(column):
        return column.astype(float)
    whole = parse_numbers(column) if is_text(column) else None
    return (
        pd.to_numeric(column, errors="coerce").astype(float)
        if whole is None
        else whole.astype(float)
    )


def detect_decimal(cells: pd.DataFrame, table: str) -> str:
    """Comma if a column that is no column of plain numbers is one of numbers with a comma.

    Raises
    ------
    SourceError : every such value could also be a number with commas between thousands.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    doubtful = []
    for name in cells.columns:
        if not is_text(cells[name]):
            continue
        text = pa.array(cells[name].array, type=pa.string(), from_pandas=True).drop_null()
        commas = text.filter(pc.match_substring(text, ","))
        if len(commas) == 0 or not _all(pc.match_substring_regex(text, _COMMA_NUMBER)):
            continue
        if not _all(pc.match_substring_regex(commas, _THOUSANDS)):
            return ","
        doubtful.append((name, commas[0].as_py()))
    if doubtful:
        name, example = doubtful[0]
        raise SourceError(
            f"{table!r} has {counted(len(doubtful), 'column')} of numbers written like "
            f"{written_like([example])} ({name!r}), where the comma may stand for the decimals or "
            "the thousands. State decimal=',' or export the numbers without separators."
        )
    return "."


def parse_dates(
    column: pd.Series,
    date_format: str | None = None,
    *,
    table: str = "the table",
    rows: np.ndarray | None = None,
) -> tuple[pd.Series, str]:
    """Dates (datetime64, clock time as written, zones dropped) and the form they were written in.

    `table` and `rows` are what messages call the table and number its rows by; the first is row 2.

    Raises
    ------
    SchemaError : values that are no dates, or day and month that could be exchanged.

    >>> dates, form = parse_dates(pd.Series(["31/03/2024", "02/04/2024"], dtype="str"))
    >>> dates.dt.month.tolist(), form
    ([3, 4], '%d/%m/%Y')
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        return column.dt.tz_localize(None) if column.dt.tz is not None else column, "typed"
    text = as_text(column)
    codes, labels = pd.factorize(text)
    distinct = pd.Series(np.asarray(labels, dtype=object), dtype="str")
    if len(distinct) == 0:
        return pd.Series(pd.NaT, index=column.index, name=column.name, dtype="datetime64[us]"), ""
    if date_format:
        parsed, form = _parse_stated(distinct, date_format), date_format
    else:
        parsed, form = parse_distinct(distinct, column.name, table)
    wrong = parsed.isna().to_numpy()
    if wrong.any():
        hit = np.flatnonzero(np.append(wrong, False)[codes])
        lines = hit + 2 if rows is None else rows[hit]
        raise SchemaError(
            f"{table!r}, column {column.name!r}: {len(hit)} of {len(column)} values are not dates "
            f"of the form {form} ({some_rows(lines)}; written like "
            f"{written_like(distinct[wrong])}). Correct them, or state `date_format`."
        )
    values = np.append(parsed.to_numpy("datetime64[us]"), np.datetime64("NaT"))[codes]
    return pd.Series(values, index=column.index, name=column.name), form


def _parse_stated(text: pd.Series, date_format: str) -> pd.Series:
    try:
        return pd.to_datetime(text, format=date_format, errors="coerce")
    except (ValueError, re.error) as error:
        raise SchemaError(
            f"date_format={date_format!r} is no strptime form ({str(error)[:100]}). State one "
            "such as '%d/%m/%Y'."
        ) from error


def parse_distinct(text: pd.Series, name: object, table: str) -> tuple[pd.Series, str]:
    """Each value parsed in the form that most values have, NaT where it does not fit.

    Raises
    ------
    SchemaError : day and month could be exchanged.
    """
    fits = {form: text.str.fullmatch(pattern) for form, pattern in _FORMS.items()}
    form = max(fits, key=lambda each: int(fits[each].sum()))
    fit = text.where(fits[form])
    if form == "2024-03-31":
        plain = fit.str.replace(r"(?<=:\d\d)(Z|[+-]\d{2}:?\d{2})$|(?<=\d)Z$", "", regex=True)
        return pd.to_datetime(plain, format="ISO8601", errors="coerce"), form
    if form == "2024-03":
        return pd.to_datetime(fit, format="%Y-%m", errors="coerce"), form
    if form == "202403":
        return pd.to_datetime(fit, format="%Y%m", errors="coerce"), form
    if form == "20240331":
        return pd.to_datetime(fit, format="%Y%m%d", errors="coerce"), form
    if form == "2024Q1":
        month = fit.str[-1].astype("Int64") * 3 - 2
        return pd.to_datetime(fit.str[:4] + "-" + month.astype("str"), format="%Y-%m"), form
    written = "%Y/%m/%d" if form == "2024/03/31" else _day_or_month_first(fit, name, table)
    days = fit.str.extract(r"^(\S+?)(?:[T ]|$)")[0]
    clock = fit.str.extract(r"[T ](\S+)$")[0]
    time = pd.to_timedelta(clock.str.replace(r"^(\d{1,2}:\d{2})$", r"\1:00", regex=True))
    parsed = pd.to_datetime(days, format=written, errors="coerce")
    return parsed + time.fillna(pd.Timedelta(0)), written


def _day_or_month_first(text: pd.Series, name: object, table: str) -> str:
    parts = text.dropna().str.extract(r"^(\d{1,2})([./-])(\d{1,2})")
    first, second = parts[0].astype(int).max(), parts[2].astype(int).max()
    mark = parts[1].iloc[0]
    if mark == "." or (first > 12 >= second):
        return f"%d{mark}%m{mark}%Y"
    if second > 12 >= first:
        return f"%m{mark}%d{mark}%Y"
    which = (
        "some with the day first and some with the month first"
        if first > 12
        else ("which may have the day or the month first")
    )
    day, month = f"%d{mark}%m{mark}%Y", f"%m{mark}%d{mark}%Y"
    raise SchemaError(
        f"{table!r}, column {name!r}: {counted(len(text), 'different date')} written "
        f"like {written_like(text.dropna().iloc[:1])}, {which}. State date_format={day!r} or "
        f"{month!r}."
    )


def _any(flags: Any) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(flags).as_py())


def _all(flags: Any) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(flags).as_py())
