"""Dates to positions on a calendar of one frequency, and back to what a panel shows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError
from ex_cx.linkage.parsing import parse_dates
from ex_cx.linkage.schema import Frequency
from ex_cx.linkage.wording import counted, some_rows

__all__ = [
    "check_coarser",
    "coarse_positions",
    "coarser_than",
    "dates_needed",
    "finer_in",
    "full_periods",
    "period_label",
    "period_position",
    "period_positions",
    "period_starts",
    "period_values",
]

MISSING = np.iinfo(np.int64).min
"""Position of a missing date."""

_NUMPY_UNITS = {"month": "M", "quarter": "M", "day": "D", "hour": "h", "year": "Y"}
_FINEST_FIRST: tuple[Frequency, ...] = ("hour", "day", "month", "quarter", "year")
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
    SchemaError : numbers that are not whole; their rows are those of the index, from 2 on.

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
        lines = column.index.to_numpy()[broken] + 2
        raise SchemaError(
            f"{table!r}, column {column.name!r}: {counted(len(broken), 'value')} of "
            f"{len(values):,} are not whole numbers ({some_rows(lines)}). Correct them, "
            "or state another frequency."
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
            f"{what} is {str(text)!r}, which is no {frequency}. Write it like "
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


def period_starts(positions: np.ndarray, frequency: Frequency) -> np.ndarray:
    """The moment at which each period begins, datetime64.

    >>> period_starts(np.array([216]), "quarter").astype("datetime64[D]").tolist()
    [datetime.date(2024, 1, 1)]
    """
    months = 3 * positions if frequency == "quarter" else positions
    steps = positions - 1970 if frequency == "year" else months
    unit = _NUMPY_UNITS[frequency]
    return steps.astype(np.int64).astype(f"datetime64[{unit}]").astype("datetime64[us]")


def check_coarser(fine: Frequency, coarse: Frequency, *, source: str) -> None:
    """Can a source of periods `fine` be brought to periods `coarse`? An error says how else."""
    if fine == coarse:
        return
    if "integer" in (fine, coarse):
        raise SchemaError(
            f"{source!r} counts its periods as {fine} and the link as {coarse}: plain integers are "
            "no dates. Give both one frequency."
        )
    if _FINEST_FIRST.index(fine) > _FINEST_FIRST.index(coarse):
        raise SchemaError(
            f"{source!r} has one value per {fine}, which is coarser than the {coarse} of the link; "
            f"a value cannot be taken apart. State `frequency: {coarse}` for {source!r} and for "
            "how many periods each value stands with `carry`, or a coarser `frequency` of the link."
        )


def coarser_than(frequency: Frequency) -> tuple[Frequency, ...]:
    """The longer periods of the calendar; plain integers have none.

    >>> coarser_than("month"), coarser_than("integer")
    (('quarter', 'year'), ())
    """
    if frequency not in _FINEST_FIRST:
        return ()
    return _FINEST_FIRST[_FINEST_FIRST.index(frequency) + 1 :]


def coarse_positions(positions: np.ndarray, fine: Frequency, coarse: Frequency) -> np.ndarray:
    """The coarser period in which each finer one lies.

    >>> coarse_positions(np.array([648, 650, 651]), "month", "quarter").tolist()
    [216, 216, 217]
    """
    starts = pd.Series(period_starts(np.asarray(positions), fine))
    return period_positions(starts, coarse, table="periods")


def finer_in(
    positions: np.ndarray, fine: Frequency, coarse: Frequency
) -> tuple[np.ndarray, np.ndarray]:
    """How many finer periods each coarser one has, and the position of its last.

    >>> finer_in(np.array([216]), "month", "quarter")
    (array([3]), array([650]))
    """
    first, after = (
        period_positions(pd.Series(period_starts(edge, coarse)), fine, table="periods")
        for edge in (positions, positions + 1)
    )
    return after - first, after - 1


def full_periods(
    first: int | None, last: int | None, fine: Frequency, coarse: Frequency
) -> tuple[int | None, int | None]:
    """First and last coarser period that finer periods `first` to `last` cover in full.

    >>> full_periods(649, 658, "month", "quarter")  # February to November 2024
    (217, 218)
    """
    begin = end = None
    if first is not None:
        begin = int(coarse_positions(np.array([first]), fine, coarse)[0])
        size, final = finer_in(np.array([begin]), fine, coarse)
        begin += int(first > final[0] - size[0] + 1)
    if last is not None:
        end = int(coarse_positions(np.array([last]), fine, coarse)[0])
        end -= int(last < finer_in(np.array([end]), fine, coarse)[1][0])
    return begin, end
