"""Rates of leaving and staying, from spells with a start and an end: attrition and retention.

Times are calendar positions (integers, one per period) from 0 for the first period observed to
`n_periods` - 1 for the last. A spell that ended in an unobserved later period, or never, is open:
right-censored spells count as present and are never counted as ended.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["attrition", "retention"]

NEVER = np.iinfo(np.int64).max // 4
"""End position of a spell that has not ended."""


def attrition(
    units: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    *,
    n_units: int,
    n_periods: int,
    counted: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> pd.DataFrame:
    """Exits in the period / mean of open and close headcount, in percent, per unit and period.

    Parameters
    ----------
    units : shape (spells,), unit codes from 0.
    start, end : shape (spells,), positions of hire (any before 0 for hired earlier) and of exit
        (`NEVER` or past the last period for still employed).
    counted : which exits count; the others leave the headcount but are no exits. None: all.
    weights : how many people each spell stands for. None: one.

    Returns
    -------
    One row per unit and period in which the unit had anybody: unit (code), period (position),
    value (percent), n (mean headcount), exits. The value is missing where n is 0 (hired and left
    within the one period, nobody else).

    Notes
    -----
    Open headcount counts those hired before the period and not gone before it; close headcount
    those hired by its end and not gone by its end: an exit is dated by the last day of work.

    >>> attrition(np.array([0, 0, 0, 0]), np.array([-1, -1, -1, 0]), np.array([0, 1, NEVER, NEVER]),
    ...           n_units=1, n_periods=2).round(2).values.tolist()
    [[0.0, 0.0, 33.33, 3.0, 1.0], [0.0, 1.0, 40.0, 2.5, 1.0]]
    """
    amount = np.ones(len(units)) if weights is None else weights
    present = _headcount(units, start, end, n_units, n_periods, amount)
    opened, closed = present[:, :-1], present[:, 1:]
    mean = (opened + closed) / 2
    inside = (end >= 0) & (end < n_periods)
    if counted is not None:
        inside &= counted
    exits = _grid(units[inside], end[inside], n_units, n_periods, amount[inside])
    any_exit = _grid(*_within(units, end, n_periods), n_units, n_periods)
    value = 100 * exits / np.where(mean > 0, mean, np.nan)
    return _long((mean > 0) | (any_exit > 0), {"value": value, "n": mean, "exits": exits})


def retention(
    units: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    *,
    n_units: int,
    n_periods: int,
    window: int = 1,
    weights: np.ndarray | None = None,
) -> pd.DataFrame:
    """Of those there at the start of a period, the percentage still there `window` periods later.

    The cohort of a period are the accounts that started before it and had not ended before it;
    accounts that start within it are not in it: (end - new) / start. With `weights` (revenue),
    amounts replace counts: gross revenue retention.

    Returns
    -------
    One row per unit and period with a cohort: unit, period, value (percent), n (size of the
    cohort). Where the window reaches past the last period the value is missing, not 100.

    >>> retention(np.array([0, 0, 0]), np.array([-1, -1, 0]), np.array([0, NEVER, 1]),
    ...           n_units=1, n_periods=2).values.tolist()
    [[0.0, 0.0, 50.0, 2.0], [0.0, 1.0, 50.0, 2.0]]
    """
    amount = np.ones(len(units)) if weights is None else weights
    cohort = _headcount(units, start, end, n_units, n_periods, amount)[:, :-1]
    ended = np.zeros((n_units, n_periods))
    for later in range(window):
        position = end - later
        hit = (position >= 0) & (position < n_periods) & (start < position)
        ended += _grid(units[hit], position[hit], n_units, n_periods, amount[hit])
    there = _headcount(units, start, end, n_units, n_periods)[:, :-1] > 0
    value = 100 * (cohort - ended) / np.where(there & (cohort > 0), cohort, np.nan)
    value[:, n_periods - window + 1 :] = np.nan
    return _long(there, {"value": value, "n": cohort})


def _headcount(
    units: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    n_units: int,
    n_periods: int,
    amount: np.ndarray | None = None,
) -> np.ndarray:
    """Present at the opening of each period, and at the last one's close: (units, periods + 1).

    A spell is present at the opening of t when it started before t and did not end before t.
    """
    arrivals = np.clip(start + 1, 0, n_periods + 1)
    departures = np.clip(end + 1, 0, n_periods + 1)
    change = _grid(units, arrivals, n_units, n_periods + 2, amount)
    change -= _grid(units, departures, n_units, n_periods + 2, amount)
    return change.cumsum(axis=1)[:, :-1]


def _within(
    units: np.ndarray, position: np.ndarray, n_periods: int
) -> tuple[np.ndarray, np.ndarray]:
    inside = (position >= 0) & (position < n_periods)
    return units[inside], position[inside]


def _grid(
    units: np.ndarray,
    position: np.ndarray,
    n_units: int,
    width: int,
    amount: np.ndarray | None = None,
) -> np.ndarray:
    sums = np.bincount(units * width + position, weights=amount, minlength=n_units * width)
    return sums.astype(float).reshape(n_units, width)


def _long(keep: np.ndarray, columns: dict[str, np.ndarray]) -> pd.DataFrame:
    unit, period = np.nonzero(keep)
    return pd.DataFrame(
        {"unit": unit, "period": period, **{name: grid[keep] for name, grid in columns.items()}}
    )
