"""Dates to positions on a calendar of one frequency, and back to what a panel shows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError, some
from ex_cx.linkage.parsing import parse_dates
from ex_cx.linkage.schema import Frequency
from ex_cx.linkage.wording import counted, some_rows

__all__ = ["dates_needed", "period_label", "period_position", "period_positions", "period_values"]

MISSING = np.iinfo(np.int64).min
"""Position of a missing date."""

_NUMPY_UNITS = {"month": "M", "quarter": "M", "day": "D", "hour": "h", "year": "Y"}
_PANDAS = {"month": "M", "quarter": "Q", "day": "D", "hour": "h"}


def dates_needed(frequency: Frequency) -> bool:
    """Is a period of this frequency written as a date? Years and integers are numbers."""
    return frequency in _PANDAS


def period_positions(column: pd.Series, frequency: Frequency, *, table: str) -> np.ndarray:
    """Calendar positions, shape (rows,), `MISSING` for a missing date.

    Parameters
    ----------
    column : datetime64, or whole numbers for years and integers.
    frequency : what one step is; months, quarters, days and hours count from January 1970.

    Raises
    ------
    SchemaError : numbers that are not whole.

    >>> dates = pd.Series(pd.to_datetime(["1970-02-28", "2024-01-01"]))
    >>> period_positions(dates, "month", table="calls").tolist()
    [1, 648]
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        unit = _NUMPY_UNITS.get(frequency, "D")
        steps = column.to_numpy("datetime64[us]").astype(f"datetime64[{unit}]").astype(np.int64)
        if frequency == "quarter":
            steps = steps // 3
        elif frequency == "year":
            steps = steps + 1970
        return np.where(column.isna(), MISSING, steps)
    values = column.to_numpy(dtype=float)
    broken = np.flatnonzero(values % 1 != 0)
    broken = broken[~np.isnan(values[broken])]
    if len(broken):
        raise SchemaError(
            f"{table!r}, column {column.name!r}: {counted(len(broken), 'value')} of "
            f"{len(values):,} are not whole numbers ({some_rows(broken + 2)}; first: "
            f"{some(column.iloc[broken], 1)}). Correct them, or state another frequency."
        )
    return np.where(np.isnan(values), MISSING, np.nan_to_num(values).astype(np.int64))


def period_position(text: str | int, frequency: Frequency, *, what: str) -> int:
    """The position of one period written as text, such as 2024-03, 2024Q1, 2024 or 7.

    >>> period_position("1970-03", "month", what="first")
    2
    """
    try:
        if not dates_needed(frequency):
            return int(text)
        dates, _ = parse_dates(pd.Series([str(text)], dtype="str"))
        return int(period_positions(dates, frequency, table=what)[0])
    except (ValueError, SchemaError) as error:
        example = {"month": "2024-03", "quarter": "2024Q1", "year": "2024", "integer": "7"}
        raise SchemaError(
            f"{what} is {str(text)!r}, which is not a {frequency}. Write it like "
            f"{example.get(frequency, '2024-03-31')!r}."
        ) from error


def period_values(positions: np.ndarray, frequency: Frequency) -> pd.Series:
    """What a panel shows: pandas periods, or integers for years and integers.

    >>> period_values(np.array([648]), "month").astype(str).tolist()
    ['2024-01']
    """
    if not dates_needed(frequency):
        return pd.Series(positions, dtype=np.int64)
    index = pd.PeriodIndex.from_ordinals(positions, freq=_PANDAS[frequency])  # type: ignore[attr-defined]
    return pd.Series(index)


def period_label(position: int, frequency: Frequency) -> str:
    """One position as text."""
    return str(period_values(np.array([position]), frequency).iloc[0])
