"""From cross-products to coefficients, standard errors, intervals and p-values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ex_cx.errors import InferenceError, RankError, some

__all__ = [
    "bootstrap_counts",
    "bootstrap_p_values",
    "check_level",
    "check_rank",
    "cluster_factor",
    "expanded_level",
    "expanded_p_values",
    "jackknife_vcov",
    "percentile_interval",
    "sandwich",
    "solve_equation",
    "sweep_columns",
    "sweep_stages",
    "t_columns",
    "t_interval",
    "t_p_values",
]

WIPED_OUT = 1e-11
"""Share of a column's sum of squares that must survive the absorbed effects."""
DEPENDENT = 1e-11
"""Share that must then survive the other regressors."""


def solve_equation(
    cross: np.ndarray, outcome: int, regressors: list[int], before: np.ndarray | None = None
) -> np.ndarray:
    """Least-squares coefficients from cross-products, one set for each of a batch.

    Parameters
    ----------
    cross : shape (..., k, k), cross-products with all effects taken out.
    outcome, regressors : positions among the k columns; p regressors.
    before : as for `sweep_columns`.

    Returns
    -------
    shape (..., p); NaN where the regressors of a draw are linearly dependent.

    >>> solve_equation(np.array([[4.0, 2.0], [2.0, 5.0]]), 1, [0])
    array([0.5])
    """
    swept = sweep_columns(cross.reshape(-1, *cross.shape[-2:]), regressors, before)
    return swept[:, outcome, regressors].reshape(*cross.shape[:-2], len(regressors))


def sweep_columns(
    cross: np.ndarray, columns: list[int], before: np.ndarray | None = None
) -> np.ndarray:
    """Sweep regressors out of every other column: all their equations at once.

    Parameters
    ----------
    cross : shape (draws, k, k), symmetric.
    columns : positions of the regressors.
    before : shape (k,), sums of squares of the whole sample before absorption. A draw that keeps
        less than 1e-11 of a regressor's holds nothing but rounding of it, and becomes NaN too.

    Returns
    -------
    shape (draws, k, k): [i, j] for j in `columns` and i not is the coefficient of column j in the
    regression of column i on `columns`; draws with dependent regressors are NaN. Sweeping further
    columns of the result adds them to the regressors.

    Source: Goodnight (1979), The American Statistician 33(3), 149-158.
    """
    (swept,) = sweep_stages(cross, [columns], before)
    return np.moveaxis(swept, -1, 0)


def sweep_stages(
    cross: np.ndarray, stages: Sequence[Sequence[int]], before: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Sweep regressors out in stages, each adding to those before: nested equations at one cost.

    Parameters
    ----------
    cross, before : as for `sweep_columns`.
    stages : positions of the regressors that each stage adds.

    Yields
    ------
    shape (k, k, draws), draws last; the next stage changes it in place.
    """
    work = np.array(np.moveaxis(cross, 0, -1), order="C")
    size = np.abs(np.einsum("jjd->jd", work))
    dependent = np.zeros(work.shape[-1], dtype=bool)
    for columns in stages:
        if before is not None:
            added = list(columns)
            dependent |= ~(size[added] > WIPED_OUT * before[added, None]).all(axis=0)
        for j in columns:
            pivot = work[j, j].copy()
            dependent |= ~(pivot > DEPENDENT * size[j])
            row = work[j] / np.where(dependent, 1.0, pivot)
            column = work[:, j].copy()
            work -= column[:, None] * row[None]
            work[j] = row
            work[:, j] = column / np.where(dependent, 1.0, pivot)
            work[j, j] = np.where(dependent, 1.0, -1 / np.where(dependent, 1.0, pivot))
        work[..., dependent] = np.nan
        yield work


def check_rank(
    cross: np.ndarray, before: np.ndarray, names: list[str], absorbed: tuple[str, ...]
) -> float:
    """Refuse regressors that are not identified; return the condition number of the others.

    Parameters
    ----------
    cross : shape (p, p), cross-products of the regressors with all effects taken out.
    before : shape (p,), their sums of squares about the mean before absorption.
    names : the p regressors; `absorbed` : the effects, for the message.

    Returns
    -------
    The condition number of the regressors (not of their cross-products), scaled to unit length.

    Raises
    ------
    RankError : a constant, one wiped out by the effects, or one that the others determine.
    """
    after = np.diag(cross)
    effects = " and ".join(absorbed) or "constant"
    for name, left, was in zip(names, after, before, strict=True):
        if not was > 0:
            raise RankError(
                f"{name!r} is constant on the rows used, so its coefficient is not identified. "
                "Drop it from the spec, or check the filter."
            )
        if not left > WIPED_OUT * was:
            raise RankError(
                f"{name!r} is a combination of the absorbed effects ({effects}), so its "
                "coefficient is not identified. Drop it from the spec, or absorb fewer effects."
            )
    scale = np.sqrt(after)
    unit = cross / np.outer(scale, scale)
    _check_independent(unit, names)
    values = np.linalg.eigvalsh(unit)
    return float(np.sqrt(values[-1] / max(values[0], np.finfo(float).tiny)))


def _check_independent(unit: np.ndarray, names: list[str]) -> None:
    """Sweep the regressors in order; each must keep a share of itself after those before it."""
    left = unit.copy()
    for j, name in enumerate(names):
        if left[j, j] <= DEPENDENT:
            before = np.linalg.lstsq(unit[:j, :j], unit[:j, j], rcond=None)[0]
            others = [names[i] for i in range(j) if abs(before[i]) > 1e-6]
            powers = any(sign in term for term in (name, *others) for sign in ":^")
            raise RankError(
                f"{name!r} is a combination of {some(others)} once the effects are absorbed, so "
                "its coefficient is not identified. Drop one of them from the spec"
                + (", or centre the columns before they are multiplied." if powers else ".")
            )
        left -= np.outer(left[:, j], left[j]) / left[j, j]


def cluster_factor(n_clusters: int, n_obs: int, n_terms: int, k_absorbed: int) -> float:
    """The CR1 small-sample factor G/(G-1) * (n-1)/(n-k-k_absorbed).

    `k_absorbed` charges 1 for effects nested in clusters, and levels minus one of each other.
    Source: Cameron and Miller (2015), J. Human Resources 50(2), 317-372.

    >>> round(cluster_factor(10, 200, 2, 20), 6)
    1.242197
    """
    if n_clusters < 2:
        raise InferenceError(
            f"Clustered errors need at least 2 clusters; the rows used have {n_clusters}. "
            "Add clusters, or choose vcov='robust' and say why rows are independent."
        )
    if n_obs <= n_terms + k_absorbed:
        raise InferenceError(
            f"{n_obs} rows cannot carry {n_terms} coefficients and {k_absorbed} absorbed effects. "
            "Add rows, or estimate less."
        )
    return n_clusters / (n_clusters - 1) * (n_obs - 1) / (n_obs - n_terms - k_absorbed)


def sandwich(bread: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The product bread (scores' scores) bread, shape (p, p); scores by row or cluster, (n, p)."""
    half = scores @ bread
    return half.T @ half


def jackknife_vcov(left_out: np.ndarray, coef: np.ndarray) -> np.ndarray:
    """Leave-one-cluster-out (CR3) covariance, (G-1)/G sum (b_g - b)(b_g - b)'.

    Centred at the full-sample coefficients. Other software's CR3 leaves out the factor (G-1)/G
    (clubSandwich) or multiplies the CR1 factor on top (pyfixest's default).
    Source: MacKinnon, Nielsen and Webb (2023), J. Econometrics 232(2), 272-299, eq. for CV3.

    >>> jackknife_vcov(np.array([[1.0], [3.0]]), np.array([2.0]))
    array([[1.]])
    """
    g = len(left_out)
    lost = np.flatnonzero(~np.isfinite(left_out).all(axis=1))
    if len(lost):
        raise InferenceError(
            f"Without {len(lost)} of {g} clusters, left out one at a time, a coefficient is not "
            "identified: the estimate rests on them alone. Drop that term, or use vcov='cluster'."
        )
    deviation = left_out - coef
    return (g - 1) / g * deviation.T @ deviation


def check_level(conf_level: float) -> None:
    """Refuse a confidence level that is not a share, such as 95."""
    if not 0 < conf_level < 1:
        raise InferenceError(
            f"conf_level={conf_level} is not between 0 and 1. Write 0.95 for 95 % intervals."
        )


def t_p_values(statistic: np.ndarray, df: float | np.ndarray) -> np.ndarray:
    """Two-sided p-values from Student's t."""
    from scipy.special import stdtr

    return 2 * stdtr(df, -np.abs(statistic))


def t_interval(
    coef: np.ndarray, std_error: np.ndarray, df: float | np.ndarray, conf_level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends of the t interval on `df` degrees of freedom."""
    from scipy.special import stdtrit

    check_level(conf_level)
    half = stdtrit(df, (1 + conf_level) / 2) * std_error
    return coef - half, coef + half


def t_columns(
    estimate: np.ndarray, std_error: np.ndarray, df: float | np.ndarray, conf_level: float
) -> dict[str, np.ndarray | float]:
    """The tidy columns of estimates with t intervals, `term` apart; normal ones for infinite df.

    >>> found = t_columns(np.array([2.0]), np.array([1.0]), np.inf, 0.95)
    >>> {name: np.round(value, 3).tolist() for name, value in list(found.items())[2:5]}
    {'statistic': [2.0], 'p_value': [0.046], 'conf_low': [0.04]}
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = estimate / std_error
    low, high = t_interval(estimate, std_error, df, conf_level)
    return {
        "estimate": estimate,
        "std_error": std_error,
        "statistic": statistic,
        "p_value": t_p_values(statistic, df),
        "conf_low": low,
        "conf_high": high,
        "conf_level": conf_level,
    }


def bootstrap_counts(n_clusters: int, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each cluster is drawn, shape (n_draws, n_clusters), each row summing to n_clusters.

    The j-th draw takes `n_clusters` integers from `rng`, so draws do not depend on how many follow.
    """
    counts = np.empty((n_draws, n_clusters))
    step = max((1 << 15) // n_clusters, 1)
    first = np.arange(step)[:, None] * n_clusters
    for at in range(0, n_draws, step):
        part = counts[at : at + step]
        cell = rng.integers(0, n_clusters, size=part.shape)
        cell += first[: len(part)]
        part.ravel()[:] = np.bincount(cell.ravel(), minlength=part.size)
    return counts


def percentile_interval(draws: np.ndarray, conf_level: float) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of each column of `draws`, shape (draws, terms); NaN draws are left out.

    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, ch. 13; linear
    interpolation between order statistics.
    """
    check_level(conf_level)
    ordered = np.sort(draws, axis=0)  # NaN last
    last = np.maximum((~np.isnan(draws)).sum(axis=0) - 1, 0)
    columns = np.arange(draws.shape[1])
    ends = []
    for share in ((1 - conf_level) / 2, (1 + conf_level) / 2):
        below = np.floor(share * last).astype(np.intp)
        left, right = ordered[below, columns], ordered[np.minimum(below + 1, last), columns]
        with np.errstate(invalid="ignore"):
            ends.append(left + (right - left) * (share * last - below))
    return ends[0], ends[1]


def expanded_level(conf_level: float, n_clusters: int, factor: float) -> float:
    """Level of the percentile interval that makes up for few clusters.

    The tails are taken at Phi(-sqrt(factor) t), t the quantile of Student's t on
    `n_clusters` - 1 degrees of freedom: where estimates are normal, the interval of a cluster
    bootstrap, whose spread is that of errors without a small-sample factor, becomes that of CR1
    with its factor and t.

    Parameters
    ----------
    conf_level : level wanted. n_clusters : G. factor : of CR1, from `cluster_factor`.

    Source: Hesterberg (2015), The American Statistician 69(4), 371-386, section 5.2, whose factor
    for independent rows is n / (n - 1).

    >>> round(expanded_level(0.95, 12, 12 / 11), 4)
    0.9785
    """
    from scipy.special import ndtr, stdtrit

    check_level(conf_level)
    quantile = stdtrit(n_clusters - 1, (1 + conf_level) / 2)
    level = 2 * ndtr(np.sqrt(factor) * quantile) - 1
    return float(min(level, np.nextafter(1.0, 0.0)))  # two clusters: tails beyond any draw


def expanded_p_values(p_values: np.ndarray, n_clusters: int, factor: float) -> np.ndarray:
    """Bootstrap p-values that agree with percentile intervals at an expanded level.

    Parameters
    ----------
    p_values : from `bootstrap_p_values`, in (0, 1]; NaN stays NaN.
    n_clusters, factor : as for `expanded_level`, of which this is the inverse: p is one less the
        level whose expansion has tails of the p-value given. Never zero, never smaller than it.

    Returns
    -------
    p-values: where one is below 1 - level, the interval of `percentile_interval` at the expanded
    level excludes zero. (The interval is interpolated, p counts the observed sample too: very
    rarely it excludes zero beside a p just above.)

    >>> level = expanded_level(0.95, 12, 12 / 11)
    >>> expanded_p_values(np.array([1 - level, 1.0]), 12, 12 / 11).round(12).tolist()
    [0.05, 1.0]
    """
    from scipy.special import ndtri, stdtr

    quantile = -ndtri(np.asarray(p_values) / 2) / np.sqrt(factor)
    return np.asarray(2 * stdtr(n_clusters - 1, -quantile))


def bootstrap_p_values(draws: np.ndarray) -> np.ndarray:
    """Two-sided p-value of zero for each column, shape (terms,).

    Twice the smaller tail's (1 + hits) / (1 + draws), at most 1.

    >>> bootstrap_p_values(np.array([[1.0], [2.0], [-1.0]])).tolist()
    [1.0]
    """
    n = np.isfinite(draws).sum(axis=0)
    below = (1 + (draws <= 0).sum(axis=0)) / (1 + n)
    above = (1 + (draws >= 0).sum(axis=0)) / (1 + n)
    return np.minimum(2 * np.minimum(below, above), 1.0)
