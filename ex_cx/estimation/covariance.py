"""Covariance of least-squares coefficients, of every kind, with its convention in words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ex_cx.errors import InferenceError
from ex_cx.estimation.conventions import Match, Sizes, Vcov, small_sample
from ex_cx.estimation.equation import Equation, check_resampling
from ex_cx.estimation.inference import WIPED_OUT, jackknife_vcov, sandwich, solve_equation
from ex_cx.estimation.instruments import TwoStage
from ex_cx.estimation.moments import ClusterMoments
from ex_cx.estimation.reduced_bias import bias_reduced

__all__ = [
    "Covariance",
    "Rows",
    "bartlett",
    "covariance",
    "named_after",
    "refuse_vanishing",
    "row_scores",
]

VANISHED = 1e-16
"""A clustered variance below this share of the unadjusted one is round-off."""
FEW_DEGREES = 4
"""Satterthwaite's t is known to reject too often below this (Tipton 2015, Psych. Methods 20)."""


class Rows(NamedTuple):
    """What covariances need to know about the rows behind an equation.

    Attributes
    ----------
    nested : absorbed parameters that errors clustered by unit charge (effects nested in clusters
        cost 1), levels : all absorbed levels, of which `period_levels` are due to period effects.
    calendar, source : calendar positions of the panel's rows, and the one behind each row used.
    nuisance : how many of the regressors, the last ones, are there for the others' sake only.
    """

    nested: int
    levels: int
    period_levels: int
    calendar: np.ndarray
    source: np.ndarray
    nuisance: int = 0

    @property
    def periods(self) -> np.ndarray:
        """Calendar positions in the order of the moments' rows, shape (n,)."""
        return self.calendar[self.source]


class Covariance(NamedTuple):
    """A covariance, its degrees of freedom for t, its convention, and what makes it fragile.

    `df_t` is one number, or one for each coefficient, shape (p,).
    """

    vcov: np.ndarray
    df_t: float | np.ndarray
    convention: str
    warning: str = ""


def covariance(
    kind: Vcov,
    moments: ClusterMoments,
    equation: Equation,
    regressors: list[int],
    rows: Rows,
    match: Match = "fixest",
    stages: TwoStage | None = None,
) -> Covariance:
    """Covariance of the coefficients of one equation.

    Parameters
    ----------
    kind : unadjusted, robust (HC1), cluster (CR1), cluster_two_way (by cluster and period),
        driscoll_kraay (across units and over time, Bartlett), jackknife (CR3), bias_reduced
        (CR2, rows without weights).
    moments, equation, regressors : the equation and the positions of its regressors.
    rows : charges, and each row's period.
    match : the package whose small-sample factor to use; see `ex_cx.estimation.conventions`.
    stages : of which `equation` is the second, where terms are instrumented.

    Raises
    ------
    InferenceError : too few clusters, periods or rows for the kind asked for.

    Notes
    -----
    Two-way: sum of both one-way matrices less that of their intersection; negative eigenvalues are
    set to zero (linearmodels keeps them). Source: Cameron, Gelbach and Miller (2011), JBES 29(2),
    238-249. Driscoll-Kraay: bandwidth floor(4 (T/100)^(2/9)), by calendar.
    Source: Driscoll and Kraay (1998), REStat 80(4), 549-560.
    """
    if kind == "bias_reduced":
        return _bias_reduced(moments, equation, regressors)
    periods = rows.periods if kind in ("cluster_two_way", "driscoll_kraay") else None
    sizes = Sizes(
        n=moments.rows.n_obs,
        p=len(regressors),
        nested=rows.nested,
        levels=rows.levels,
        period_levels=rows.period_levels,
        n_clusters=moments.n_clusters,
        n_periods=0 if periods is None else len(np.unique(periods)),
    )
    lags, warning = "", ""
    if kind == "jackknife":
        about_mean = match == "stata"
        meat = _jackknife(moments, equation, regressors, stages, rows.nuisance, about_mean)
    elif kind == "unadjusted":
        meat = equation.rss * equation.bread
    elif kind == "cluster":
        meat = sandwich(equation.bread, equation.scores)
    else:
        scores = row_scores(moments, equation, regressors, stages)
        if periods is None:
            meat = sandwich(equation.bread, scores)
        elif kind == "cluster_two_way":
            clip = match != "linearmodels"
            meat, warning = _two_way(scores, equation.bread, moments, periods, clip=clip)
        else:
            bandwidth = _bandwidth(sizes.n_periods)
            lags = f"Driscoll-Kraay: Bartlett, {bandwidth} lags by calendar, "
            by_period = _sums(scores, periods - periods.min())
            meat = equation.bread @ bartlett(by_period, bandwidth) @ equation.bread
    factor, df_t, text = small_sample(kind, match, sizes)
    vcov = factor * meat
    if kind in ("cluster", "cluster_two_way"):
        groups = f"{sizes.n_clusters} clusters"
        if kind == "cluster_two_way":
            groups += f" and {sizes.n_periods} periods"
        refuse_vanishing(vcov, equation.bread, equation.rss, sizes.n, groups)
    return Covariance(vcov, df_t, f"{lags}{text}{named_after(kind, match)}", warning)


def named_after(kind: Vcov, match: Match) -> str:
    """Whose convention it is; fixest has no jackknife, and Driscoll-Kraay with other lags."""
    names = {"stata": "Stata's xtreg", "clubsandwich": "clubSandwich"}
    if match == "fixest" and kind in ("jackknife", "driscoll_kraay"):
        return ""
    return f" (as {names.get(match, match)})"


def refuse_vanishing(vcov: np.ndarray, bread: np.ndarray, rss: float, n: int, groups: str) -> None:
    """Scores that cancel within each of few clusters (two units, both effects) leave round-off.

    Raises
    ------
    InferenceError : a clustered variance that is round-off beside the unadjusted one.
    """
    vanished = np.diag(vcov) <= VANISHED * rss / n * np.diag(bread)
    if vanished.any() and rss > 0:
        raise InferenceError(
            f"The clustered errors of {int(vanished.sum())} of {len(vcov)} coefficients vanish: "
            f"with {groups} the scores cancel, so that they say nothing. Use more clusters, absorb "
            "fewer effects, or use vcov='robust'."
        )


def _bias_reduced(moments: ClusterMoments, equation: Equation, regressors: list[int]) -> Covariance:
    g = moments.n_clusters
    if g < 2:
        raise InferenceError(
            f"Clustered errors need at least 2 clusters; the rows used have {g}. Add clusters, or "
            "choose vcov='robust' and say why rows are independent."
        )
    vcov, df = bias_reduced(moments, equation, regressors)
    refuse_vanishing(vcov, equation.bread, equation.rss, moments.rows.n_obs, f"{g} clusters")
    text = (
        "CR2: residuals corrected for the leverage of their cluster, all effects absorbed, no "
        "factor; t on Satterthwaite's degrees of freedom of each term (as clubSandwich)"
    )
    warning = ""
    if df.min() < FEW_DEGREES:
        warning = (
            f"{df.min():.1f} degrees of freedom by Satterthwaite, fewer than {FEW_DEGREES}: the "
            "clusters that carry an estimate are too few for its t; compare `wild_cluster_test`"
        )
    return Covariance(vcov, df, text, warning)


def row_scores(
    moments: ClusterMoments,
    equation: Equation,
    regressors: list[int],
    stages: TwoStage | None = None,
) -> np.ndarray:
    """Each row's regressors times its residual (and weight), (n, p), in the moments' order.

    Of a second stage, its fitted regressors.
    """
    rows = np.concatenate([block.copy() for block in moments.demeaned()], axis=1)
    weights = moments.rows.weights
    residual = equation.contrast @ rows
    scored = residual if weights is None else residual * weights
    own = rows[regressors] if stages is None else stages.fitted @ rows
    return (own * scored).T


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


def _beside(
    cross: np.ndarray, outcome: int, terms: list[int], others: list[int], before: np.ndarray
) -> np.ndarray:
    """Coefficients of `terms` beside others that may depend on each other; NaN if they do."""
    scale = np.sqrt(np.where(np.diag(cross) > 0, np.diag(cross), 1.0))
    unit = cross / np.outer(scale, scale)
    kept = [outcome, *terms]
    across = unit[np.ix_(kept, others)]
    inverse = np.linalg.pinv(unit[np.ix_(others, others)], rcond=WIPED_OUT, hermitian=True)
    net = unit[np.ix_(kept, kept)] - across @ inverse @ across.T
    net *= np.outer(scale[kept], scale[kept])
    return solve_equation(net, 0, list(range(1, len(kept))), before[kept])


def _jackknife(
    moments: ClusterMoments,
    equation: Equation,
    regressors: list[int],
    stages: TwoStage | None,
    nuisance: int,
    about_mean: bool,
) -> np.ndarray:
    """Sum over clusters of (b_g - c)(b_g - c)', c the estimate or the mean of the b_g.

    Nuisance regressors may depend on each other without a cluster; their part is no covariance.
    """
    check_resampling(equation)
    if stages is None:
        outcome = int(np.flatnonzero(equation.contrast == 1.0)[0])
        cross = moments.leave_one_out()
        left_out = solve_equation(cross, outcome, regressors, moments.before)
        lost = np.flatnonzero(np.isnan(left_out).any(axis=1) & (nuisance > 0))
        for row in lost:
            terms, others = regressors[:-nuisance], regressors[-nuisance:]
            left_out[row, :-nuisance] = _beside(cross[row], outcome, terms, others, moments.before)
            left_out[row, -nuisance:] = equation.coef[-nuisance:]
    else:
        left_out = stages.leave_one_out(moments)
    centre = left_out.mean(axis=0) if about_mean else equation.coef
    g = len(left_out)
    return jackknife_vcov(left_out, centre) * (g / (g - 1))


def _two_way(
    scores: np.ndarray,
    bread: np.ndarray,
    moments: ClusterMoments,
    periods: np.ndarray,
    *,
    clip: bool,
) -> tuple[np.ndarray, str]:
    starts = moments.rows.cluster_starts
    clusters = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(scores)))
    codes = np.unique(periods, return_inverse=True)[1]
    both = np.unique(clusters * (int(codes.max()) + 1) + codes, return_inverse=True)[1]
    by_cluster, by_period, by_both = (
        sandwich(bread, _sums(scores, code)) for code in (clusters, codes, both)
    )
    vcov = by_cluster + by_period - by_both
    values, vectors = np.linalg.eigh(vcov)
    if values[0] >= 0:
        return vcov, ""
    if not clip:
        return vcov, "the two-way covariance has a negative eigenvalue"
    clipped = (vectors * np.maximum(values, 0)) @ vectors.T
    return clipped, "the two-way covariance had a negative eigenvalue, which was set to zero"


def _bandwidth(n_periods: int) -> int:
    if n_periods < 5:
        raise InferenceError(
            f"Driscoll-Kraay errors need at least 5 periods; the rows used have {n_periods}. Use "
            "vcov='cluster'."
        )
    return int(np.floor(4 * (n_periods / 100) ** (2 / 9)))


def _sums(scores: np.ndarray, codes: np.ndarray, length: int | None = None) -> np.ndarray:
    """Sums of the rows of `scores` by code, shape (codes, p)."""
    size = int(codes.max()) + 1 if length is None else length
    return np.column_stack([np.bincount(codes, weights=s, minlength=size) for s in scores.T])
