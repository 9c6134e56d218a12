"""Covariance of least-squares coefficients, of every kind, with its convention in words."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from ex_cx.errors import InferenceError
from ex_cx.estimation.equation import Equation, check_resampling
from ex_cx.estimation.inference import (
    cluster_factor,
    jackknife_vcov,
    sandwich,
    solve_equation,
)
from ex_cx.estimation.moments import ClusterMoments

__all__ = ["Covariance", "Rows", "Vcov", "bartlett", "covariance"]

VANISHED = 1e-16
"""A clustered variance below this share of the unadjusted one is round-off."""

Vcov = Literal["unadjusted", "robust", "cluster", "cluster_two_way", "driscoll_kraay", "jackknife"]


class Rows(NamedTuple):
    """What covariances need to know about the rows behind an equation.

    Attributes
    ----------
    nested : absorbed parameters that errors clustered by unit charge (effects nested in clusters
        cost 1), levels : all absorbed levels, of which `period_levels` are due to period effects.
    calendar, source : calendar positions of the panel's rows, and the one behind each row used.
    """

    nested: int
    levels: int
    period_levels: int
    calendar: np.ndarray
    source: np.ndarray

    @property
    def periods(self) -> np.ndarray:
        """Calendar positions in the order of the moments' rows, shape (n,)."""
        return self.calendar[self.source]


class Covariance(NamedTuple):
    """A covariance, its degrees of freedom for t, its convention, and what makes it fragile."""

    vcov: np.ndarray
    df_t: int
    convention: str
    warning: str = ""


def covariance(
    kind: Vcov, moments: ClusterMoments, equation: Equation, regressors: list[int], rows: Rows
) -> Covariance:
    """Covariance of the coefficients of one equation.

    Parameters
    ----------
    kind : unadjusted, robust (HC1), cluster (CR1), cluster_two_way (by cluster and period),
        driscoll_kraay (across units and over time, Bartlett), jackknife (CR3).
    moments, equation, regressors : the equation and the positions of its regressors.
    rows : charges, and each row's period.

    Raises
    ------
    InferenceError : too few clusters, periods or rows for the kind asked for.

    Notes
    -----
    Two-way: sum of both one-way matrices less that of their intersection, all with G the smaller
    number of clusters, and 1 charged for effects nested in either; negative eigenvalues are set to
    zero. Source: Cameron, Gelbach and Miller (2011), JBES 29(2), 238-249.
    Driscoll-Kraay: bandwidth floor(4 (T/100)^(2/9)), factor T/(T-1) (n-1)/(n-k-k_absorbed) with
    period effects nested. Source: Driscoll and Kraay (1998), REStat 80(4), 549-560.
    """
    n, p = moments.rows.n_obs, len(regressors)
    if kind == "jackknife":
        return _jackknife(moments, equation, regressors)
    if kind == "cluster":
        factor = cluster_factor(moments.n_clusters, n, p, rows.nested)
        text = (
            "CR1: G/(G-1) * (n-1)/(n - k - k_absorbed), effects nested in clusters cost 1; t(G-1)"
        )
        vcov = factor * sandwich(equation.bread, equation.scores)
        _refuse_vanishing(vcov, equation, n, f"{moments.n_clusters} clusters")
        return Covariance(vcov, moments.n_clusters - 1, text)
    if kind == "cluster_two_way":
        return _two_way(moments, equation, regressors, rows)
    if kind == "driscoll_kraay":
        return _driscoll_kraay(moments, equation, regressors, rows)
    df = n - p - rows.levels
    if df < 1:
        raise InferenceError(
            f"{n} rows cannot carry {p} coefficients and {rows.levels} absorbed levels. Add rows, "
            "or absorb fewer effects."
        )
    if kind == "unadjusted":
        text = "unadjusted: rss / (n - k - absorbed levels); t on the same"
        return Covariance(equation.rss / df * equation.bread, df, text)
    meat = sandwich(equation.bread, row_scores(moments, equation, regressors))
    text = "HC1: n / (n - k - absorbed levels); t on the same"
    return Covariance(n / df * meat, df, text)


def _refuse_vanishing(vcov: np.ndarray, equation: Equation, n: int, groups: str) -> None:
    """Scores that cancel within each of few clusters (two units, both effects) leave round-off."""
    vanished = np.diag(vcov) <= VANISHED * equation.rss / n * np.diag(equation.bread)
    if vanished.any() and equation.rss > 0:
        raise InferenceError(
            f"The clustered errors of {int(vanished.sum())} of {len(vcov)} coefficients vanish: "
            f"with {groups} the scores cancel, so that they say nothing. Use more clusters, absorb "
            "fewer effects, or use vcov='robust'."
        )


def row_scores(moments: ClusterMoments, equation: Equation, regressors: list[int]) -> np.ndarray:
    """Each row's regressors times its residual (and weight), (n, p), in the moments' order."""
    rows = np.concatenate([block.copy() for block in moments.demeaned()], axis=1)
    weights = moments.rows.weights
    residual = equation.contrast @ rows
    scored = residual if weights is None else residual * weights
    return (rows[regressors] * scored).T


def bartlett(scores: np.ndarray, bandwidth: int) -> np.ndarray:
    """Long-run covariance of `scores`, shape (T, p), one row a period: shape (p, p).

    >>> bartlett(np.array([[1.0], [1.0]]), 1)  # 2 + 2 * 0.5 * 1
    array([[3.]])
    """
    total = scores.T @ scores
    for lag in range(1, bandwidth + 1):
        cross = scores[lag:].T @ scores[:-lag]
        total = total + (1 - lag / (bandwidth + 1)) * (cross + cross.T)
    return total


def _jackknife(moments: ClusterMoments, equation: Equation, regressors: list[int]) -> Covariance:
    check_resampling(equation)
    left_out = solve_equation(
        moments.leave_one_out(), _outcome(equation), regressors, moments.before
    )
    text = "CR3: leave one cluster out, (G-1)/G, all effects re-estimated; t(G-1)"
    return Covariance(jackknife_vcov(left_out, equation.coef), moments.n_clusters - 1, text)


def _outcome(equation: Equation) -> int:
    return int(np.flatnonzero(equation.contrast == 1.0)[0])


def _two_way(
    moments: ClusterMoments, equation: Equation, regressors: list[int], rows: Rows
) -> Covariance:
    scores = row_scores(moments, equation, regressors)
    n, p = scores.shape
    starts = moments.rows.cluster_starts
    clusters = np.repeat(np.arange(len(starts)), np.diff(starts, append=n))
    codes = np.unique(rows.periods, return_inverse=True)[1]
    t = int(codes.max()) + 1
    smaller = min(len(starts), t)
    charged = 1 if rows.levels else 0
    factor = cluster_factor(smaller, n, p, charged)
    both = np.unique(clusters * t + codes, return_inverse=True)[1]
    by_cluster, by_period, by_both = (
        sandwich(equation.bread, _sums(scores, code)) for code in (clusters, codes, both)
    )
    vcov = factor * (by_cluster + by_period - by_both)
    values, vectors = np.linalg.eigh(vcov)
    warning = ""
    if values[0] < 0:
        vcov = (vectors * np.maximum(values, 0)) @ vectors.T
        warning = "the two-way covariance had a negative eigenvalue, which was set to zero"
    _refuse_vanishing(vcov, equation, n, f"{len(starts)} clusters and {t} periods")
    text = (
        "two-way CR1 by cluster and period: G the smaller number, (n-1)/(n - k - k_absorbed), "
        "effects nested in either cost 1 together; t(G-1)"
    )
    return Covariance(vcov, smaller - 1, text, warning)


def _driscoll_kraay(
    moments: ClusterMoments, equation: Equation, regressors: list[int], rows: Rows
) -> Covariance:
    scores = row_scores(moments, equation, regressors)
    n, p = scores.shape
    periods = rows.periods - rows.periods.min()
    t = len(np.unique(periods))
    if t < 5:
        raise InferenceError(
            f"Driscoll-Kraay errors need at least 5 periods; the rows used have {t}. Use "
            "vcov='cluster'."
        )
    by_period = _sums(scores, periods)
    bandwidth = int(np.floor(4 * (t / 100) ** (2 / 9)))
    long_run = bartlett(by_period, bandwidth)
    factor = cluster_factor(t, n, p, rows.levels - rows.period_levels)
    vcov = factor * equation.bread @ long_run @ equation.bread
    text = (
        f"Driscoll-Kraay: Bartlett, {bandwidth} lags by calendar, T/(T-1) * (n-1)/(n - k - "
        "k_absorbed), period effects nested; t(T-1)"
    )
    return Covariance(vcov, t - 1, text)


def _sums(scores: np.ndarray, codes: np.ndarray, length: int | None = None) -> np.ndarray:
    """Sums of the rows of `scores` by code, shape (codes, p)."""
    size = int(codes.max()) + 1 if length is None else length
    return np.column_stack([np.bincount(codes, weights=s, minlength=size) for s in scores.T])
