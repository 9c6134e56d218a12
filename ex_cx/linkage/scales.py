"""Questionnaire scales: the score of a respondent, and whether units may be averaged.

Sources: Cronbach (1951), Psychometrika 16; Bliese (2000) in Klein & Kozlowski, Multilevel Theory;
James, Demaree & Wolf (1984), J. Applied Psychology 69.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError

__all__ = ["alpha_cronbach", "icc", "rwg_j", "score_scale"]


def score_scale(
    answers: pd.DataFrame,
    *,
    items: Sequence[str],
    low: float,
    high: float,
    reverse: Sequence[str] = (),
    min_share: float = 2 / 3,
) -> pd.Series:
    """Mean of a respondent's answered items, in answer units; reverse-keyed items first turned.

    Missing where fewer than `min_share` of the items are answered (mean of available items).

    Parameters
    ----------
    answers : one row per respondent; the `items` columns hold numbers from `low` to `high`.
    reverse : items worded the other way round, scored low + high - answer.

    >>> answers = pd.DataFrame({"e1": [5.0, 4.0, None], "e2": [1.0, None, None]})
    >>> score_scale(answers, items=["e1", "e2"], reverse=["e2"], low=1, high=5).tolist()
    [5.0, nan, nan]
    """
    if not items:
        raise SchemaError("A scale needs at least one item. List its columns under `items`.")
    total = np.zeros(len(answers))
    answered = np.zeros(len(answers))
    for name in items:
        values = answers[name].to_numpy(dtype=float)
        if name in reverse:
            values = low + high - values
        present = ~np.isnan(values)
        total += np.where(present, values, 0.0)
        answered += present
    enough = answered >= min_share * len(items) - 1e-9
    score = np.divide(total, answered, out=np.full(len(answers), np.nan), where=answered > 0)
    return pd.Series(np.where(enough, score, np.nan), index=answers.index, name="score")


def alpha_cronbach(answers: pd.DataFrame) -> float:
    """Internal consistency k/(k-1) (1 - sum of item variances / variance of the sum).

    `answers` holds one column per item, reverse-keyed already; rows with a missing item are left
    out. Missing below two items or two complete rows, or without any variance.

    >>> round(alpha_cronbach(pd.DataFrame({"a": [1, 2, 3, 4], "b": [2, 2, 4, 4]})), 4)
    0.9412
    """
    complete = answers.dropna().to_numpy(dtype=float)
    n, k = complete.shape
    if n < 2 or k < 2:
        return float("nan")
    total = complete.sum(axis=1).var(ddof=1)
    if total == 0:
        return float("nan")
    return float(k / (k - 1) * (1 - complete.var(axis=0, ddof=1).sum() / total))


def icc(values: pd.Series | np.ndarray, groups: pd.Series | np.ndarray) -> dict[str, float]:
    """ICC(1), ICC(2) and the unit size k0 of one-way groups, with the counts behind them.

    ICC(1) = (MSB - MSW) / (MSB + (k0 - 1) MSW): share of an answer's variance between units.
    ICC(2) = (MSB - MSW) / MSB: reliability of a unit mean. k0 = (N - sum n^2 / N) / (J - 1).

    >>> found = icc(np.array([1.0, 2.0, 4.0, 5.0]), np.array(["a", "a", "b", "b"]))
    >>> round(found["icc1"], 4), round(found["icc2"], 4), found["k0"]
    (0.8947, 0.9444, 2.0)
    """
    answers = np.asarray(values, dtype=float)
    codes, labels = pd.factorize(np.asarray(groups, dtype=object))
    use = ~np.isnan(answers) & (codes >= 0)
    answers, codes = answers[use], codes[use]
    sizes = np.bincount(codes, minlength=len(labels)).astype(float)
    means = np.bincount(codes, weights=answers, minlength=len(labels)) / np.maximum(sizes, 1)
    n, j = len(answers), int((sizes > 0).sum())
    out = {"icc1": np.nan, "icc2": np.nan, "k0": np.nan, "n": float(n), "n_groups": float(j)}
    if j < 2 or n <= j:
        return out
    between = (sizes * (means - answers.mean()) ** 2).sum() / (j - 1)
    within = ((answers - means[codes]) ** 2).sum() / (n - j)
    k0 = (n - (sizes**2).sum() / n) / (j - 1)
    if between > 0:
        out["icc1"] = float((between - within) / (between + (k0 - 1) * within))
        out["icc2"] = float((between - within) / between)
    out["k0"] = float(k0)
    return out


def rwg_j(
    answers: pd.DataFrame, groups: pd.Series | np.ndarray, *, low: float, high: float
) -> pd.Series:
    """Agreement of each group's answers on a J-item scale, against a uniform null.

    r_wg(j) = J (1 - v) / (J (1 - v) + v) with v = mean item variance / ((A^2 - 1) / 12) for
    A answer options from `low` to `high`; v is at most 1, so that the index runs from 0 to 1.
    Missing for groups of fewer than two complete respondents.

    >>> answers = pd.DataFrame({"a": [4, 4, 1, 5], "b": [4, 5, 1, 5]})
    >>> rwg_j(answers, np.array(["x", "x", "y", "y"]), low=1, high=5).round(3).tolist()
    [0.933, 0.0]
    """
    options = high - low + 1
    spread = answers.groupby(np.asarray(groups)).var(ddof=1).mean(axis=1, skipna=False)
    v = (spread / ((options**2 - 1) / 12)).clip(upper=1)
    j = answers.shape[1]
    return (j * (1 - v) / (j * (1 - v) + v)).rename("rwg_j")
