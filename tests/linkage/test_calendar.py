"""Periods in any form become one regular calendar, or a message that says what to write."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ex_cx.errors import PanelError
from ex_cx.linkage.calendar import calendar_codes, regular_calendar


def _steps(values) -> list[int]:
    codes = calendar_codes(regular_calendar(pd.Series(values)))
    return (codes - codes.min()).tolist()


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ([3, 1, 7], [2, 0, 6]),
        ([3.0, 1.0, 7.0], [2, 0, 6]),
        (pd.array([3, 1, 7], dtype="Int64"), [2, 0, 6]),
        ([2019, 2021, 2022], [0, 2, 3]),
        (["2019", "2021", "2022"], [0, 2, 3]),
        (["7", "12", "9"], [0, 5, 2]),
        (["2023-12", "2024-01", "2024-03"], [0, 1, 3]),
        ([" 2023-12", "2024-01 ", "2024-03"], [0, 1, 3]),
        (["2023Q4", "2024Q1", "2024Q3"], [0, 1, 3]),
        (["2023-Q4", "2024-q1", "2024-Q3"], [0, 1, 3]),
        (["2023-12-31", "2024-12-31", "2026-12-31"], [0, 1, 3]),
        (["2024-01-31", "2024-02-29", "2024-04-30"], [0, 1, 3]),
        (["2024-03-31", "2024-06-30", "2024-12-31"], [0, 1, 3]),
        (["2024-02-28", "2024-02-29", "2024-03-02"], [0, 1, 3]),
        (["2024-02-29 22:00", "2024-02-29 23:00", "2024-03-01 01:00"], [0, 1, 3]),
        (["2024-02-29T22:00:00", "2024-02-29T23:00:00", "2024-03-01T01:00:00"], [0, 1, 3]),
        ([dt.date(2024, 1, 1), dt.date(2024, 2, 1), dt.date(2024, 4, 1)], [0, 1, 3]),
        (pd.to_datetime(["2024-01-15", "2024-02-15", "2024-04-15"]), [0, 1, 3]),
        (pd.to_datetime(["2024-01-15", "2024-02-15"]).tz_localize("Europe/Paris"), [0, 1]),
        (pd.PeriodIndex(["2024-01", "2024-02", "2024-04"], freq="M"), [0, 1, 3]),
        ([pd.Period("2024-01", "M"), pd.Period("2024-03", "M")], [0, 2]),
        (pd.Categorical(["2024-01", "2024-03"]), [0, 2]),
    ],
)
def test_every_accepted_form(values, steps):
    assert _steps(values) == steps


def test_a_chosen_frequency_is_kept():
    weeks = pd.Series(pd.PeriodIndex(["2024-01-01", "2024-01-15"], freq="W"))
    assert regular_calendar(weeks).dtype == weeks.dtype
    assert _steps(weeks) == [0, 2]


@given(st.lists(st.integers(1990 * 12, 2040 * 12), min_size=2, unique=True))
def test_months_as_text_dates_and_periods_are_the_same_calendar(months):
    periods = pd.PeriodIndex.from_ordinals([m - 1970 * 12 for m in months], freq="M")
    expected = [m - min(months) for m in months]
    assert _steps(periods.astype(str)) == expected
    assert _steps(periods) == expected


def _message(values) -> str:
    with pytest.raises(PanelError) as error:
        regular_calendar(pd.Series(values, name="when"))
    return str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([True, False], "Periods must be integers, dates or text; 'when' is true/false."),
        (
            [1.0, 2.5],
            (
                "1 of 2 periods in 'when' are not whole numbers. Use integers, dates, or "
                "text such as 2024-03."
            ),
        ),
        (
            ["2024-03", "April 2024", "2024-05"],
            (
                "1 of 3 periods in 'when' are not written like the others ('9999-99'): 'a "
                "9999'. Write all in one form."
            ),
        ),
        (
            ["2024-03", "2024Q2"],
            (
                "1 of 2 periods in 'when' are not written like the others ('9999-99'): '9999a9'. "
                "Write all in one form."
            ),
        ),
        (
            ["wave 1", "wave 2"],
            (
                "The periods in 'when' are not understood (written like 'a 9'). Use "
                "integers, dates, or text such as 2024-03, 2024Q1 or 2024."
            ),
        ),
        (
            ["202403", "202404"],
            (
                "The periods in 'when' are not understood (written like '999999'). Use "
                "integers, dates, or text such as 2024-03, 2024Q1 or 2024."
            ),
        ),
        (
            [202311, 202312, 202401],
            (
                "The periods in 'when' look like dates written as integers (202311 to 202401), "
                "among which neighbours are not one apart. Write them as text such as 2024-03, or "
                "pass dates."
            ),
        ),
        (
            [20231130.0, 20231231.0],
            (
                "The periods in 'when' look like dates written as integers (20231130 to 20231231), "
                "among which neighbours are not one apart. Write them as text such as 2024-03-31, "
                "or pass dates."
            ),
        ),
        (
            [1_700_000_000, 1_700_086_400],
            None,
        ),
        (
            [0, 1_000_001],
            (
                "The periods in 'when' run from 0 to 1000001, a calendar longer than 1000000 "
                "periods. If they are time stamps, pass dates or pandas periods."
            ),
        ),
        (
            [pd.Period("2024-01", "M"), pd.Period("2024Q2", "Q")],
            (
                "The periods in 'when' have 2 frequencies ('M', 'Q-DEC'). Convert them to one with "
                "`.asfreq`."
            ),
        ),
        (
            pd.to_datetime(["2024-01-01 10:00", "2024-01-01 10:20"]),
            (
                "The dates in 'when' are closer together than an hour. Round them to the interval "
                "that one row stands for, and pass pandas periods of that frequency."
            ),
        ),
    ],
)
def test_messages(values, message):
    if message is None:  # seconds a day apart are a calendar, if a thin one
        assert _steps(values) == [0, 86_400]
    else:
        assert _message(values) == message


def test_dates_that_do_not_exist():
    for values in (["2024-13", "2024-01"], ["2024-02-30", "2024-02-01"]):
        message = _message(values)
        assert message.startswith("A period cannot be read as a date (")
        assert message.endswith("). Use real dates, such as 2024-03-31.")


def test_years_and_sequence_numbers_are_integers():
    assert _steps([1999, 2000, 2099]) == [0, 1, 100]
    assert _steps([202_301, 202_312]) == [0, 11]  # one year: neighbours are one apart
    assert _steps([190_000, 209_999]) == [0, 19_999]
