"""How long people and accounts stay: measures of dated spells, each an `Estimate`.

A spell that is still open at the end of the data is censored there: it counts as long as it is
seen. A spell that began before the data do counts from then on only (left truncation), since those
who had left by then are in no file. The tenure of those who are there today is no measure of how
long people stay: the long ones are over-represented in it.
Sources: METHODS.md section 1; Kaplan and Meier (1958), JASA 53, 457-481, with delayed entry; errors
by Greenwood (1926).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError
from ex_cx.linkage.metrics import (
    AttritionConvention,
    Estimate,
    Numbers,
    attrition_rate,
)
from ex_cx.linkage.scales import score_scale
from ex_cx.linkage.schema import MIN_N
from ex_cx.linkage.wording import almost_there, counted

__all__ = [
    "attrition_by_type",
    "cohort_retention",
    "employee_retention",
    "engagement_score",
    "median_tenure",
]

Dates = Sequence[Any] | pd.Series | pd.DatetimeIndex


def employee_retention(
    hired: Dates,
    left: Dates,
    *,
    first: Any,
    last: Any,
    after: int = 365,
    kinds: Sequence[Any] | pd.Series | None = None,
    counted_kinds: Sequence[str] = (),
    min_n: int = MIN_N,
) -> Estimate:
    """Share of those hired who are still there `after` days later, percent; n at risk at any time.

    Parameters
    ----------
    hired, left : first and last day of work by person; `left` missing for those still there.
    first, last : first and last day that the file covers in full.
    kinds, counted_kinds : kind of exit by person, and the kinds that count (none: all). Others
        leave the people at risk without having left in this sense: a cause-specific survival.
    min_n : fewest people at risk; at least 5.

    Returns
    -------
    Estimate
        Missing, not 0 or 100, where nobody is observed that long, or fewer than `min_n` were at
        risk when somebody left on the way there.

    Raises
    ------
    SchemaError : dates that are none, people who leave before they are hired, unknown kinds.

    Examples
    --------
    >>> hired = pd.Series(pd.to_datetime(["2024-01-01"] * 10))
    >>> left = pd.Series(pd.to_datetime(["2024-03-01"] * 2 + [None] * 8))
    >>> found = employee_retention(hired, left, first="2024-01-01", last="2024-12-31", after=180)
    >>> found.estimate, round(found.std_error, 2), found.n
    (80.0, 12.65, 10)
    """
    entry, out, event = _spells(hired, left, first, last, kinds, counted_kinds, min_n)
    times, at_risk, exits = _risk_sets(entry, out, event)
    n = len(entry)
    on_the_way = times <= after
    watched = int(((entry < after) & (out >= after)).sum())
    if watched < min_n or (at_risk[on_the_way] < min_n).any():
        return Estimate(np.nan, np.nan, n)
    stay, error = _survival(at_risk[on_the_way], exits[on_the_way])
    return Estimate(float(100 * stay[-1]), float(100 * error[-1]), n)


def median_tenure(
    hired: Dates,
    left: Dates,
    *,
    first: Any,
    last: Any,
    kinds: Sequence[Any] | pd.Series | None = None,
    counted_kinds: Sequence[str] = (),
    min_n: int = MIN_N,
) -> Estimate:
    """Days after which half of those hired have left; arguments as in `employee_retention`.

    Missing where fewer than half are seen to leave, or the people at risk were fewer than `min_n`
    on the way. It has no simple standard error (NaN).

    >>> hired = pd.Series(pd.to_datetime(["2024-01-01"] * 12))
    >>> left = pd.Series(pd.to_datetime(["2024-01-10"] * 7 + [None] * 5))
    >>> median_tenure(hired, left, first="2024-01-01", last="2024-12-31").estimate
    10.0
    """
    entry, out, event = _spells(hired, left, first, last, kinds, counted_kinds, min_n)
    times, at_risk, exits = _risk_sets(entry, out, event)
    stay, _ = _survival(at_risk, exits)
    below = np.flatnonzero(stay[1:] <= 0.5 + 1e-12)
    reached = len(below) > 0 and not (at_risk[: below[0] + 1] < min_n).any()
    return Estimate(float(times[below[0]]) if reached else np.nan, np.nan, len(entry))


def _spells(
    hired: Dates,
    left: Dates,
    first: Any,
    last: Any,
    kinds: Sequence[Any] | pd.Series | None,
    counted_kinds: Sequence[str],
    min_n: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Days of tenure at which each person comes under observation and leaves it; did they exit?"""
    if min_n < MIN_N:
        raise SchemaError(f"min_n={min_n} is below {MIN_N}, the least that is shown. Raise it.")
    start, end = _days(hired, "hired"), _days(left, "left")
    opened, closed = (
        float(_days([day], name)[0]) for day, name in ((first, "first"), (last, "last"))
    )
    if len(start) != len(end):
        raise SchemaError(f"There are {len(start):,} hires and {len(end):,} exits; give one each.")
    wrong = int((end < start).sum())
    if wrong:
        raise SchemaError(
            f"{counted(wrong, 'person', 'people')} of {len(start):,} left before being hired. "
            "Correct the dates."
        )
    leaves = end <= closed
    if counted_kinds:
        leaves &= _of_kinds(kinds, counted_kinds, len(start))
    seen = ~np.isnan(start) & (start <= closed) & ~(end < opened)
    out = np.where(np.isnan(end) | (end > closed), closed, end) - start + 1
    entry = np.maximum(opened - start, 0.0)
    return entry[seen], out[seen], leaves[seen]


def _days(dates: Dates, name: str) -> np.ndarray:
    """Days since 1970; NaN where there is no date."""
    try:
        when = pd.Series(pd.to_datetime(pd.Series(list(dates)), format="ISO8601"))
    except (ValueError, TypeError):  # their text quotes the values
        raise SchemaError(
            f"`{name}` holds values that are no dates such as 2024-03-31. Correct them."
        ) from None
    days = when.to_numpy("datetime64[D]")
    return np.where(np.isnat(days), np.nan, days.astype(np.int64).astype(float))


def _of_kinds(kinds: Sequence[Any] | pd.Series | None, wanted: Sequence[str], n: int) -> np.ndarray:
    if kinds is None or len(kinds) != n:
        given = "none" if kinds is None else f"{len(kinds):,}"
        raise SchemaError(f"Kinds of exit that count need a kind for each of {n:,} people: {given}")
    column = pd.Series(list(kinds))
    seen = sorted(str(kind) for kind in column.dropna().unique())
    for kind in wanted:
        if kind not in seen:
            raise SchemaError(
                f"No exit is of the kind {kind!r}.{almost_there(kind, seen)} There are "
                f"{counted(len(seen), 'kind')}."
            )
    return column.isin(list(wanted)).to_numpy()


def _risk_sets(
    entry: np.ndarray, out: np.ndarray, event: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tenures at which somebody exits, people at risk just before, and exits; sorted."""
    times, exits = np.unique(out[event], return_counts=True)
    entered = np.searchsorted(np.sort(entry), times, side="left")
    gone = np.searchsorted(np.sort(out), times, side="left")
    return times, entered - gone, exits


def _survival(at_risk: np.ndarray, exits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Survival and Greenwood's error after each exit, beginning with 1 and 0."""
    stay = np.concatenate([[1.0], np.cumprod(1 - exits / at_risk)])
    left = at_risk - exits
    terms = np.divide(exits, at_risk * left, out=np.zeros(len(exits)), where=left > 0)
    return stay, stay * np.sqrt(np.concatenate([[0.0], np.cumsum(terms)]))


def cohort_retention(
    started: Dates,
    ended: Dates,
    *,
    on: Any,
    days: int,
    last: Any,
    revenue: Numbers | None = None,
    revenue_later: Numbers | None = None,
) -> Estimate:
    """Of the accounts open on a day, those still open `days` later, percent.

    Parameters
    ----------
    started, ended : first and last day of each account; `ended` missing while it is open.
    on : the cohort are the accounts that started before this day and had not ended before it.
    last : last day that the file covers; a window that reaches past it gives a missing value.
    revenue : of each account on that day: gross revenue retention in place of accounts.
    revenue_later : at the end of the window: net revenue retention, which growth may lift over
        100; gross retention counts an account at most with what it had.

    >>> ended = pd.Series(pd.to_datetime(["2024-02-01", None, None, None]))
    >>> started = pd.Series(pd.to_datetime(["2023-01-01"] * 4))
    >>> [cohort_retention(started, ended, on="2024-01-01", days=90, last=last).estimate
    ...  for last in ("2024-12-31", "2024-02-28")]
    [75.0, nan]
    """
    start, end = _days(started, "started"), _days(ended, "ended")
    day, until = (float(_days([d], n)[0]) for d, n in ((on, "on"), (last, "last")))
    there = (start < day) & ~(end < day)
    kept = there & ~(end < day + days)
    if revenue is None and revenue_later is not None:
        raise SchemaError("Net revenue retention needs `revenue` on the day, too. Give both.")
    before = np.ones(len(start)) if revenue is None else np.asarray(revenue, dtype=float)
    after = before if revenue_later is None else np.asarray(revenue_later, dtype=float)
    if not len(start) == len(end) == len(before) == len(after):
        raise SchemaError("Accounts, their ends and their revenue differ in number; give one each.")
    before, after = before[there], np.where(kept, after, 0.0)[there]
    use = np.isfinite(before) & np.isfinite(after)
    before, after = before[use], after[use]
    total, n = before.sum(), len(before)
    if day + days > until + 1 or not total > 0:
        return Estimate(np.nan, np.nan, float(total))
    share = float(after.sum() / total)
    if revenue is None:
        return Estimate(100 * share, float(100 * np.sqrt(share * (1 - share) / n)), n)
    spread = ((after - share * before) ** 2).sum() * n / (n - 1) if n > 1 else np.nan
    return Estimate(100 * share, float(100 * np.sqrt(spread) / total), float(total))


def attrition_by_type(
    exits: Mapping[str, Numbers],
    headcount: Numbers,
    *,
    periods_a_year: float = 12,
    convention: AttritionConvention = "simple",
) -> dict[str, Estimate]:
    """`attrition_rate` of each kind of exit: voluntary, involuntary and transfers kept apart.

    Simple and annualised rates add up to that of all exits; compound ones do not.

    >>> found = attrition_by_type({"voluntary": [2, 1], "transfer": [0, 3]}, [50, 50])
    >>> {kind: rate.estimate for kind, rate in found.items()}
    {'voluntary': 3.0, 'transfer': 3.0}
    """
    return {
        kind: attrition_rate(
            number, headcount, periods_a_year=periods_a_year, convention=convention
        )
        for kind, number in exits.items()
    }


def engagement_score(
    answers: pd.DataFrame,
    *,
    items: Sequence[str],
    low: float,
    high: float,
    reverse: Sequence[str] = (),
    min_share: float = 2 / 3,
) -> Estimate:
    """Mean of the respondents' scale scores, in answer units; arguments as in `score_scale`.

    >>> answers = pd.DataFrame({"e1": [5.0, 3.0], "e2": [1.0, 3.0]})
    >>> engagement_score(answers, items=["e1", "e2"], reverse=["e2"], low=1, high=5).estimate
    4.0
    """
    scores = score_scale(
        answers, items=items, low=low, high=high, reverse=reverse, min_share=min_share
    ).to_numpy()
    scores = scores[~np.isnan(scores)]
    n = len(scores)
    error = float(scores.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
    return Estimate(float(scores.mean()) if n else np.nan, error, n)
