"""Measures of groups of rows: net promoter score, means, shares, ratios and repeat contacts.

Every function takes a value per row and the row's group (integers from 0; -1 for none) and returns
one row per group, with `value` and the `n` behind it. Rates are sums over sums, never means of
rates. Definitions: METHODS.md section 1.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError
from ex_cx.linkage.wording import counted

__all__ = [
    "contact_resolution",
    "group_mean",
    "group_nps",
    "group_ratio",
    "group_share",
    "group_sum",
    "group_weighted",
    "nps_from_counts",
    "refuse_broken_answers",
]


def nps_from_counts(
    promoters: np.ndarray, detractors: np.ndarray, n: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Net promoter score and its standard error, both in points (-100..100).

    Parameters
    ----------
    promoters, detractors, n : counts of answers 9-10, of answers 0-6, and of all; same shape.

    Notes
    -----
    Var(p - d) = [p + d - (p - d)^2] / n for shares p and d of a multinomial sample (unadjusted
    Wald). Missing where n is 0.

    >>> score, error = nps_from_counts(np.array([6]), np.array([2]), np.array([10]))
    >>> score.round(6).tolist(), error.round(4).tolist()
    ([40.0], [25.2982])
    """
    count = np.where(np.asarray(n) > 0, n, np.nan)
    p, d = promoters / count, detractors / count
    return 100 * (p - d), 100 * np.sqrt((p + d - (p - d) ** 2) / count)


def group_nps(answers: np.ndarray, groups: np.ndarray, n_groups: int) -> pd.DataFrame:
    """Net promoter score per group: value, n, se (points), promoter_share, detractor_share (0-1).

    Parameters
    ----------
    answers : shape (rows,), whole numbers 0 to 10, missing where not answered.
    groups, n_groups : the row's group and how many there are.

    Raises
    ------
    SchemaError : answers that are not whole numbers from 0 to 10.
    """
    answers, groups = _answered(answers, groups)
    wrong = int(((answers < 0) | (answers > 10) | (answers % 1 != 0)).sum())
    refuse_broken_answers(wrong, len(answers))
    n = np.bincount(groups, minlength=n_groups)
    promoters = np.bincount(groups[answers >= 9], minlength=n_groups)
    detractors = np.bincount(groups[answers <= 6], minlength=n_groups)
    value, error = nps_from_counts(promoters, detractors, n)
    some = np.where(n > 0, n, np.nan)
    return pd.DataFrame(
        {
            "value": value,
            "n": n,
            "se": error,
            "promoter_share": promoters / some,
            "detractor_share": detractors / some,
        }
    )


def refuse_broken_answers(wrong: int, n: int) -> None:
    """Refuse `wrong` of `n` answers to the recommendation question, if there are any."""
    if wrong:
        raise SchemaError(
            f"{counted(wrong, 'answer')} of {n:,} to the recommendation question "
            f"{'is' if wrong == 1 else 'are'} not whole numbers from 0 to 10. Correct them, or "
            "take their mean."
        )


def group_mean(answers: np.ndarray, groups: np.ndarray, n_groups: int) -> pd.DataFrame:
    """Mean answer per group: value, n, se = s / sqrt(n) with s on n - 1 (missing for one answer).

    >>> group_mean(np.array([1.0, 3.0, np.nan]), np.array([0, 0, 1]), 2)["value"].tolist()
    [2.0, nan]
    """
    answers, groups = _answered(answers, groups)
    n = np.bincount(groups, minlength=n_groups)
    some = np.where(n > 0, n, np.nan)
    mean = np.bincount(groups, weights=answers, minlength=n_groups) / some
    squares = np.bincount(groups, weights=(answers - mean[groups]) ** 2, minlength=n_groups)
    freedom = np.where(n > 1, n - 1, np.nan)
    return pd.DataFrame({"value": mean, "n": n, "se": np.sqrt(squares / freedom / some)})


def group_weighted(
    answers: np.ndarray, weights: np.ndarray, groups: np.ndarray, n_groups: int
) -> pd.DataFrame:
    """Weighted mean per group: value, n, se, effective = (sum w)^2 / sum w^2 (Kish).

    se = sqrt(n / (n - 1) sum w^2 (y - mean)^2) / sum w, linearised, the weights taken as given and
    each group a sample of its own: R's survey::svymean of the rows of one group, svyby of a design
    whose strata are the groups. `weighted_mean` is the same of one group.

    >>> answers, weights = np.array([1.0, 3.0, np.nan]), np.array([3.0, 1.0, 1.0])
    >>> group_weighted(answers, weights, np.zeros(3, int), 1).round(4).values.tolist()
    [[1.5, 2.0, 0.75, 1.6]]
    """
    use = ~(np.isnan(answers) | np.isnan(weights)) & (groups >= 0)
    y, w, at = answers[use], weights[use], groups[use]
    n = np.bincount(at, minlength=n_groups)
    total = np.bincount(at, weights=w, minlength=n_groups)
    total = np.where(total > 0, total, np.nan)
    mean = np.bincount(at, weights=w * y, minlength=n_groups) / total
    spread = np.bincount(at, weights=(w * (y - mean[at])) ** 2, minlength=n_groups)
    freedom = np.where(n > 1, n - 1, np.nan)
    squares = np.bincount(at, weights=w**2, minlength=n_groups)
    return pd.DataFrame(
        {
            "value": mean,
            "n": n,
            "se": np.sqrt(n / freedom * spread) / total,
            "effective": total**2 / np.where(squares > 0, squares, np.nan),
        }
    )


def group_share(yes: np.ndarray, groups: np.ndarray, n_groups: int) -> pd.DataFrame:
    """Share of yes per group in percent: value, n, se = 100 sqrt(p (1 - p) / n).

    `yes` holds 1, 0, or missing for no answer.

    >>> group_share(np.array([1, 1, 1, 0.0]), np.zeros(4, int), 1).round(2).values.tolist()
    [[75.0, 4.0, 21.65]]
    """
    yes, groups = _answered(yes, groups)
    n = np.bincount(groups, minlength=n_groups)
    some = np.where(n > 0, n, np.nan)
    p = np.bincount(groups, weights=yes, minlength=n_groups) / some
    return pd.DataFrame({"value": 100 * p, "n": n, "se": 100 * np.sqrt(p * (1 - p) / some)})


def group_ratio(
    numerator: np.ndarray,
    denominator: np.ndarray,
    groups: np.ndarray,
    n_groups: int,
    *,
    per: float = 1.0,
) -> pd.DataFrame:
    """`per` times the sum of numerators over the sum of denominators: value, n = that sum.

    Rows that lack one of the two are left out of both sums; a zero denominator gives no value.

    >>> group_ratio(np.array([1.0, 9.0]), np.array([10.0, 30.0]), np.array([0, 0]), 1, per=100)
       value     n
    0   25.0  40.0
    """
    use = ~(np.isnan(numerator) | np.isnan(denominator)) & (groups >= 0)
    top = np.bincount(groups[use], weights=numerator[use], minlength=n_groups)
    bottom = np.bincount(groups[use], weights=denominator[use], minlength=n_groups)
    with np.errstate(over="ignore"):
        value = per * top / np.where(bottom > 0, bottom, np.nan)
    return pd.DataFrame({"value": _held(value), "n": _held(bottom)})


def group_sum(values: np.ndarray, groups: np.ndarray, n_groups: int) -> pd.DataFrame:
    """Sum per group: value, n = values summed; missing where there is none."""
    values, groups = _answered(values, groups)
    n = np.bincount(groups, minlength=n_groups)
    total = np.bincount(groups, weights=values, minlength=n_groups)
    return pd.DataFrame({"value": np.where(n > 0, _held(total), np.nan), "n": n})


def _held(values: np.ndarray) -> np.ndarray:
    """The values, none of which has grown past the largest number that a computer holds."""
    wrong = int(np.isinf(values).sum())
    if wrong:
        raise SchemaError(
            f"{counted(wrong, 'sum')} of {len(values):,} {'is' if wrong == 1 else 'are'} beyond "
            "the largest number there is (1.8e308). Correct the values in the file, or `per`."
        )
    return values


def contact_resolution(
    customers: pd.Series, times: pd.Series, *, days: int = 7, units: pd.Series | None = None
) -> np.ndarray:
    """Was a contact the last of its customer for `days` days? 1, 0, or missing; shape (rows,).

    A contact without a customer is missing; so is every one in the last `days` before the end of
    the data (right-censored), also one that another has followed already: of the last window only
    repeats can be known, and taking those alone would make every share of it zero.

    Parameters
    ----------
    customers : identifiers; times : dates or times of the contacts.
    units : where the contacts were made. Of contacts of a customer at one time that in the last
        unit counts as the last, so that no unit's figure depends on the order of the rows.

    >>> times = pd.Series(pd.to_datetime(["2024-01-01", "2024-01-05", "2024-01-20", "2024-01-30"]))
    >>> contact_resolution(pd.Series(["a", "a", "a", "b"]), times).tolist()
    [0.0, 1.0, 1.0, nan]
    """
    codes = pd.factorize(customers)[0]
    when = times.to_numpy("datetime64[s]").astype(np.int64)
    known = (codes >= 0) & times.notna().to_numpy()
    resolved = np.full(len(codes), np.nan)
    rows = np.flatnonzero(known)
    if len(rows) == 0:
        return resolved
    start = when[rows].min()
    span = when[rows].max() - start + 1
    place = np.zeros(len(codes)) if units is None else pd.factorize(units, sort=True)[0]
    order = rows[np.lexsort((place[rows], codes[rows] * span + when[rows] - start))]
    window = days * 86_400
    follows = np.zeros(len(order), dtype=bool)
    gap = np.diff(when[order])
    follows[:-1] = (np.diff(codes[order]) == 0) & (gap <= window)
    open_end = when[order] > when[rows].max() - window
    resolved[order] = np.where(open_end, np.nan, np.where(follows, 0.0, 1.0))
    return resolved


def _answered(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(values, dtype=float)
    use = ~np.isnan(values) & (groups >= 0)
    return values[use], groups[use]
