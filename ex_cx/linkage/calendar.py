"""Periods on a regular calendar: what one period earlier means."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd

from ex_cx.errors import PanelError, some
from ex_cx.linkage.wording import written_like

__all__ = ["calendar_codes", "regular_calendar"]

LONGEST = 1_000_000
"""Steps of an integer calendar."""
_TEXT_FORMS = (
    (r"\d{1,4}", "integer"),
    (r"\d{4}-\d{2}", "M"),
    (r"\d{4}-?[Qq][1-4]", "Q"),
    (r"\d{4}-\d{2}-\d{2}([T ]\d{2}(:\d{2}(:\d{2})?)?)?", "date"),
)


def regular_calendar(values: pd.Series) -> pd.Series:
    """Integers, or pandas periods of one frequency, for periods given in any accepted form.

    Dates get the coarsest of year, quarter, month, day, hour that keeps different dates apart,
    so that one period earlier is one step of that calendar. Pass pandas periods to choose.

    Raises
    ------
    PanelError : a value that is none of integer, date, period, 2024, 2024-03, 2024Q1, 2024-03-31;
        integers that are dates (202403) or time stamps.

    >>> regular_calendar(pd.Series(["2024Q1", "2023Q4"])).astype(str).tolist()
    ['2024Q1', '2023Q4']
    """
    if isinstance(values.dtype, pd.PeriodDtype):
        return values
    if pd.api.types.is_bool_dtype(values):
        raise PanelError(f"Periods must be integers, dates or text; {values.name!r} is true/false.")
    if pd.api.types.is_integer_dtype(values):
        return _true_integers(values.astype(np.int64))
    if pd.api.types.is_float_dtype(values):
        return _whole_numbers(values)
    if pd.api.types.is_datetime64_any_dtype(values):
        return _periods_of_dates(values)
    objects = values.astype(object)
    if all(isinstance(value, pd.Period) for value in objects):
        return _one_frequency(objects)
    return _parse_text(values.astype(str).str.strip(), values.name)


def calendar_codes(values: pd.Series) -> np.ndarray:
    """Positions on the calendar, shape (rows,): a difference of 1 is one period."""
    if isinstance(values.dtype, pd.PeriodDtype):
        return values.array.asi8.astype(np.int64)
    return values.to_numpy(dtype=np.int64)


def _whole_numbers(values: pd.Series) -> pd.Series:
    broken = values[(values != values.round()) | (values.abs() > 2**53)]
    if len(broken):
        raise PanelError(
            f"{len(broken)} of {len(values)} periods in {values.name!r} are not whole numbers. "
            "Use integers, dates, or text such as 2024-03."
        )
    return _true_integers(values.astype(np.int64))


def _true_integers(values: pd.Series) -> pd.Series:
    """Refuse dates written as integers: one before 202401 is not 202400."""
    low, high = int(values.min()), int(values.max())
    for months, form in ((values, "2024-03"), (values // 100, "2024-03-31")):
        dated = (months // 100).between(1900, 2099) & (months % 100).between(1, 12)
        if dated.all() and low // 100 < high // 100:
            raise PanelError(
                f"The periods in {values.name!r} look like dates written as integers ({low} to "
                f"{high}), among which neighbours are not one apart. Write them as text such as "
                f"{form}, or pass dates."
            )
    if high - low > LONGEST:
        raise PanelError(
            f"The periods in {values.name!r} run from {low} to {high}, a calendar longer than "
            f"{LONGEST} periods. If they are time stamps, pass dates or pandas periods."
        )
    return values


def _one_frequency(objects: pd.Series) -> pd.Series:
    frequencies = sorted({value.freqstr for value in objects})
    if len(frequencies) > 1:
        raise PanelError(
            f"The periods in {objects.name!r} have {len(frequencies)} frequencies "
            f"({some(frequencies)}). Convert them to one with `.asfreq`."
        )
    return pd.Series(pd.PeriodIndex(objects), index=objects.index, name=objects.name)


def _periods_of_dates(values: pd.Series) -> pd.Series:
    naive = values.dt.tz_localize(None) if values.dt.tz is not None else values
    distinct = pd.Series(naive.unique())
    for frequency in ("Y", "Q", "M", "D", "h"):
        if distinct.dt.to_period(frequency).is_unique:
            return naive.dt.to_period(frequency)
    raise PanelError(
        f"The dates in {values.name!r} are closer together than an hour. Round them to the "
        "interval that one row stands for, and pass pandas periods of that frequency."
    )


def _parse_text(text: pd.Series, name: Hashable) -> pd.Series:
    for pattern, form in _TEXT_FORMS:
        fits = text.str.fullmatch(pattern)
        if not fits.any():
            continue
        odd = text[~fits]
        if len(odd):
            raise PanelError(
                f"{len(odd)} of {len(text)} periods in {name!r} are not written like the others "
                f"({written_like(text[fits].iloc[:1])}): {written_like(odd.unique())}. Write all "
                "in one form."
            )
        return pd.Series(_as_form(text, form), name=name)
    raise PanelError(
        f"The periods in {name!r} are not understood (written like "
        f"{written_like(text.unique())}). Use integers, dates, or text such as 2024-03, "
        "2024Q1 or 2024."
    )


def _as_form(text: pd.Series, form: str) -> pd.Series:
    if form == "integer":
        return text.astype(np.int64)
    try:
        if form == "date":
            return _periods_of_dates(pd.to_datetime(text, format="ISO8601"))
        plain = text.str.replace("-", "") if form == "Q" else text
        return pd.Series(pd.PeriodIndex(plain.str.upper(), freq=form), index=text.index)
    except ValueError as error:
        raise PanelError(
            f"A period cannot be read as a date ({error}). Use real dates, such as 2024-03-31."
        ) from error
