"""Questionnaire scales: a respondent's score, how well items hang together, halves of a unit.

Whether units may be averaged at all is the matter of `agreement`.
Sources: Cronbach (1951), Psychometrika 16, 297-334; McDonald (1999), Test Theory; Gillen,
Snowberg and Yariv (2019), J. Political Economy 127(4), 1826-1863, for halves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError, nearest, some
from ex_cx.linkage.schema import MIN_N
from ex_cx.linkage.wording import counted

__all__ = ["cronbach_alpha", "item_total", "omega_total", "score_scale", "split_half"]


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


def cronbach_alpha(items: pd.DataFrame) -> float:
    """Internal consistency k/(k-1) (1 - sum of item variances / variance of the sum).

    `items` holds one column per item, reverse-keyed already; respondents with a missing item are
    left out. Missing below two items or two complete respondents, or without any variance.

    >>> round(cronbach_alpha(pd.DataFrame({"a": [1, 2, 3, 4], "b": [2, 2, 4, 4]})), 4)
    0.9412
    """
    complete = _complete(items)
    n, k = complete.shape
    if n < 2 or k < 2:
        return float("nan")
    total = complete.sum(axis=1).var(ddof=1)
    if total == 0:
        return float("nan")
    return float(k / (k - 1) * (1 - complete.var(axis=0, ddof=1).sum() / total))


def omega_total(items: pd.DataFrame) -> float:
    """Share of a sum score's variance that one common factor accounts for, (sum l)^2 / variance.

    `items` as in `cronbach_alpha`; the variance is (sum l)^2 + sum of unique variances, with
    loadings l and uniquenesses of the maximum-likelihood one-factor model of the correlations.
    Equal to alpha where all items load alike. Missing below three items, where one factor is not
    identified, and where an item does not vary.

    Source: McDonald (1999), Test Theory, eq. 6.20; psych::omega(nfactors = 1, fm = "ml").

    >>> rng = np.random.default_rng(1)
    >>> factor = rng.normal(size=(2000, 1))
    >>> items = pd.DataFrame(factor + rng.normal(size=(2000, 4)))
    >>> bool(abs(omega_total(items) - 0.8) < 0.02)  # 16 / (16 + 4)
    True
    """
    complete = _complete(items)
    n, k = complete.shape
    spread = complete.std(axis=0) if n else np.zeros(k)
    if n <= k or k < 3 or (spread == 0).any():
        return float("nan")
    loadings, unique = _one_factor(np.corrcoef(complete, rowvar=False))
    common = loadings.sum() ** 2
    return float(common / (common + unique.sum()))


def _one_factor(correlations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loadings and uniquenesses of the one-factor model by maximum likelihood, shape (k,) each.

    The discrepancy is minimised over the log uniquenesses, the loadings being their eigenvector
    (Joreskog 1967, Psychometrika 32, 443-482); uniquenesses are held above 0.005.
    """
    from scipy.optimize import minimize

    k = len(correlations)

    def scaled(unique: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        root = 1 / np.sqrt(unique)
        return np.linalg.eigh(correlations * np.outer(root, root))

    def discrepancy(unique: np.ndarray) -> tuple[float, np.ndarray]:
        values, vectors = scaled(unique)
        rest = values[:-1]
        loading = vectors[:, -1] * np.sqrt(max(values[-1] - 1, 0)) * np.sqrt(unique)
        fitted = loading**2 + unique
        return float((rest - np.log(rest)).sum()) - (k - 1), (fitted - 1) / unique**2

    start = 0.5 / np.diag(np.linalg.pinv(correlations))
    found = minimize(
        discrepancy,
        np.clip(start, 0.005, 1),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.005, 1.0)] * k,
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000},
    )
    values, vectors = scaled(found.x)
    loading = vectors[:, -1] * np.sqrt(max(values[-1] - 1, 0)) * np.sqrt(found.x)
    return loading * np.sign(loading.sum() or 1.0), found.x


def item_total(items: pd.DataFrame) -> pd.DataFrame:
    """One row per item: n, mean, sd, corrected item-total correlation, alpha without the item.

    `items` as in `cronbach_alpha`, complete respondents only. The correlation is with the sum of
    the other items; a negative one is the mark of an item that was not reverse-keyed.

    >>> answers = pd.DataFrame({"a": [1, 2, 3, 4], "b": [2, 2, 4, 4], "c": [4, 3, 3, 1]})
    >>> item_total(answers)["item_total"].round(3).tolist()
    [-0.135, 0.577, -0.835]
    """
    complete = _complete(items)
    total = complete.sum(axis=1)
    rows = []
    for at, name in enumerate(items.columns):
        values = complete[:, at]
        rest = total - values
        varies = len(values) > 1 and values.std() > 0 and rest.std() > 0
        rows.append(
            {
                "item": name,
                "n": len(values),
                "mean": values.mean() if len(values) else np.nan,
                "sd": values.std(ddof=1) if len(values) > 1 else np.nan,
                "item_total": np.corrcoef(values, rest)[0, 1] if varies else np.nan,
                "alpha_without": cronbach_alpha(items.drop(columns=name)),
            }
        )
    return pd.DataFrame(rows)


def _complete(items: pd.DataFrame) -> np.ndarray:
    return items.dropna().to_numpy(dtype=float)


def split_half(
    responses: pd.DataFrame,
    *,
    score: str,
    by: Sequence[str] = ("unit", "period"),
    min_n: int = MIN_N,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Means of two random halves of each group's respondents, to instrument each other.

    Each half measures the group with errors of its own, so that one half as instrument of the
    other undoes the attenuation that sampling few respondents brings: see `PanelSpec.instruments`.

    Parameters
    ----------
    responses : one row per respondent.
    score : column of the score; rows where it is missing are left out.
    by : columns that name the group, usually unit and period.
    min_n : fewest respondents behind a half that is shown; at least 5.
    rng : draws the halves; the same state and rows give the same halves.

    Returns
    -------
    One row per group: `by`, `<score>_half1`, `<score>_half2` (missing where either half has fewer
    than `min_n` respondents), `<score>_n` (respondents of both). Halves differ by one at most.

    Raises
    ------
    SchemaError : unknown columns, a group without name, min_n below 5.

    Examples
    --------
    >>> answers = pd.DataFrame({"unit": "A", "period": 1, "x": np.arange(10.0)})
    >>> halves = split_half(answers, score="x", rng=np.random.default_rng(1))
    >>> (halves["x_half1"] + halves["x_half2"]).tolist(), halves["x_n"].tolist()
    ([9.0], [10])
    """
    _check_split(responses, [score, *by], by, min_n)
    values = responses[score].to_numpy(dtype=float)
    answered = responses[~np.isnan(values)]
    groups = answered.groupby(list(by), sort=True).ngroup().to_numpy()
    keys = answered[list(by)].drop_duplicates().sort_values(list(by), ignore_index=True)
    half = halves_of(groups, rng)
    n = np.bincount(groups, minlength=len(keys))
    means = [_means(answered[score].to_numpy(float), groups, half == side) for side in (0, 1)]
    few = n // 2 < min_n
    shown = {f"{score}_half{i}": np.where(few, np.nan, m) for i, m in enumerate(means, start=1)}
    return keys.assign(**shown, **{f"{score}_n": n})


def halves_of(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0 or 1 for each row, at random within its group, halves of a group differing by one at most.

    Which half of an odd group is the larger is random too; rows of group -1 get -1.
    """
    half = np.full(len(groups), -1)
    rows = rng.permutation(np.flatnonzero(groups >= 0))
    if len(rows) == 0:
        return half
    order = rows[np.argsort(groups[rows], kind="stable")]
    sizes = np.bincount(groups[order])
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first = rng.integers(0, 2, size=len(sizes))
    half[order] = (rank + first[groups[order]]) % 2
    return half


def _means(values: np.ndarray, groups: np.ndarray, use: np.ndarray) -> np.ndarray:
    size = int(groups.max()) + 1 if len(groups) else 0
    n = np.bincount(groups[use], minlength=size)
    total = np.bincount(groups[use], weights=values[use], minlength=size)
    return total / np.where(n > 0, n, np.nan)


def _check_split(
    responses: pd.DataFrame, columns: Sequence[str], by: Sequence[str], min_n: int
) -> None:
    absent = [name for name in columns if name not in responses.columns]
    if absent:
        raise SchemaError(
            f"The responses have no column {absent[0]!r}.{nearest(absent[0], responses.columns)} "
            f"They have: {some(list(responses.columns), 6)}."
        )
    unnamed = int(responses[list(by)].isna().any(axis=1).sum())
    if unnamed:
        raise SchemaError(
            f"{counted(unnamed, 'response')} of {len(responses):,} lack one of {', '.join(by)}. "
            "Leave them out, or fill them in."
        )
    if min_n < MIN_N:
        raise SchemaError(f"min_n={min_n} is below {MIN_N}, the least that is shown. Raise it.")
