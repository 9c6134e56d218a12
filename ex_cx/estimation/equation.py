"""One least-squares equation from compressed moments, or from its rows where they are coarse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ex_cx.errors import InferenceError, RankError
from ex_cx.estimation.inference import WIPED_OUT, check_rank, solve_equation
from ex_cx.estimation.moments import ClusterMoments

__all__ = ["Equation", "check_resampling", "fit_equation"]

ILL_CONDITIONED = 3e3
"""Condition number of the regressors beyond which they are solved from the rows by QR."""
TOO_COARSE = 1e4
"""Condition number beyond which moments are not resampled."""
HOPELESS = 1e7
"""Condition number beyond which they are refused."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Equation:
    """Coefficients of one equation and what their errors are made of.

    Attributes
    ----------
    coef : shape (p,).
    bread : shape (p, p), inverse of the regressors' cross-products net of the effects.
    scores : shape (G, p), per-cluster sums of regressor times residual.
    contrast : shape (k,), residuals are the columns of the moments times it.
    rss, tss : weighted sums of squares of the residuals, and of the outcome net of the effects.
    condition_number : of the regressors net of the effects, each scaled to unit length.
    coarseness : the condition number times the factor by which period effects shrink a regressor;
        the cross-products hold about 16 digits less twice its order of magnitude.
    """

    coef: np.ndarray
    bread: np.ndarray
    scores: np.ndarray
    contrast: np.ndarray
    rss: float
    tss: float
    condition_number: float
    coarseness: float


def fit_equation(
    moments: ClusterMoments,
    outcome: int,
    regressors: Sequence[int],
    names: Sequence[str],
    absorbed: tuple[str, ...],
) -> Equation:
    """Least squares of one column on others, all effects taken out.

    Parameters
    ----------
    moments : the compressed rows.
    outcome, regressors : positions among its columns; `names` : of the regressors, for messages.
    absorbed : names of the effects taken out, for messages.

    Raises
    ------
    RankError : a regressor that is not identified, an outcome that does not vary net of the
        effects, or a system too ill-conditioned to trust.

    Notes
    -----
    Solved from the cross-products, then corrected once by the scores, which the rows give exactly
    (corrected seminormal equations; Bjorck 1996, Numerical Methods for Least Squares Problems,
    section 6.6.5); or by QR of the rows, net of all effects, when `coarseness` is above 3e3.
    """
    chosen = list(regressors)
    normal = moments.total[np.ix_(chosen, chosen)]
    condition = check_rank(normal, moments.before[chosen], list(names), absorbed)
    if condition > HOPELESS:
        raise RankError(
            f"The regressors are nearly dependent (condition number {condition:.1e}, at most "
            f"{HOPELESS:.0e}): {', '.join(map(repr, names))}. Centre them, or drop one."
        )
    _check_outcome(moments, outcome, absorbed)
    coarseness = condition / float(np.sqrt(moments.left[chosen].min()))
    solve = _solve_rows if coarseness > ILL_CONDITIONED else _solve_moments
    coef, bread, scores, rss = solve(moments, outcome, chosen)
    return Equation(
        coef=coef,
        bread=bread,
        scores=scores,
        contrast=_contrast(moments, outcome, chosen, coef),
        rss=rss,
        tss=float(moments.total[outcome, outcome]),
        condition_number=condition,
        coarseness=coarseness,
    )


def check_resampling(equation: Equation) -> None:
    """Refuse to resample moments whose equation had to be solved from the rows."""
    if equation.coarseness > TOO_COARSE:
        raise InferenceError(
            "The regressors are nearly dependent on each other or on the period effects "
            f"(condition number {equation.coarseness:.1e}); refitting without or with repeated "
            f"clusters is exact to rounding only below {TOO_COARSE:.0e}. Centre them, drop one, or "
            "use vcov='cluster'."
        )


def _check_outcome(moments: ClusterMoments, outcome: int, absorbed: tuple[str, ...]) -> None:
    """Refuse an outcome of which nothing but rounding is left to explain."""
    before = float(moments.before[outcome])
    if not before > 0:
        raise RankError(
            "The outcome is constant on the rows used, so there is nothing to explain. Check the "
            "filter, or whether the column holds what its name says."
        )
    if not moments.total[outcome, outcome] > WIPED_OUT * before:
        effects = " and ".join(absorbed) or "constant"
        raise RankError(
            f"The outcome is a combination of the absorbed effects ({effects}): it does not vary "
            "within them, so there is nothing to explain. Absorb fewer effects."
        )


Solution = tuple[np.ndarray, np.ndarray, np.ndarray, float]
"""Coefficients (p,), bread (p, p), scores by cluster (G, p), residual sum of squares."""


def _contrast(
    moments: ClusterMoments, outcome: int, regressors: list[int], coef: np.ndarray
) -> np.ndarray:
    contrast = np.zeros(len(moments.total))
    contrast[outcome] = 1.0
    contrast[regressors] = -coef
    return contrast


def _solve_moments(moments: ClusterMoments, outcome: int, regressors: list[int]) -> Solution:
    normal = moments.total[np.ix_(regressors, regressors)]
    scale = np.sqrt(np.diag(normal))
    bread = np.linalg.inv(normal / np.outer(scale, scale)) / np.outer(scale, scale)
    coef = solve_equation(moments.total, outcome, regressors)
    scores, rss = moments.scores(_contrast(moments, outcome, regressors, coef))
    correction = bread @ scores[:, regressors].sum(axis=0)
    if np.any(np.abs(correction) > 1e-13 * np.abs(coef)):
        coef = coef + correction
        scores, rss = moments.scores(_contrast(moments, outcome, regressors, coef))
    return coef, bread, scores[:, regressors], rss


def _solve_rows(moments: ClusterMoments, outcome: int, regressors: list[int]) -> Solution:
    rows = np.concatenate([block[[*regressors, outcome]] for block in moments.demeaned()], axis=1)
    if moments.rows.weights is not None:
        rows *= np.sqrt(moments.rows.weights)
    scale = np.sqrt((rows[:-1] ** 2).sum(axis=1))
    q, r = np.linalg.qr((rows[:-1] / scale[:, None]).T)
    inverse = np.linalg.inv(r) / scale[:, None]
    coef = inverse @ (q.T @ rows[-1])
    residual = rows[-1] - coef @ rows[:-1]
    scores = np.add.reduceat(rows[:-1] * residual, moments.rows.cluster_starts, axis=1).T
    return coef, inverse @ inverse.T, scores, float(residual @ residual)
