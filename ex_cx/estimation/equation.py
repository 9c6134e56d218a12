"""One least-squares equation from compressed moments, or from its rows where they are coarse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ex_cx.errors import InferenceError, RankError
from ex_cx.estimation.inference import check_rank, solve_equation
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
    Solved from the cross-products, or by QR of the rows when `coarseness` is above 3e3, then
    corrected once by the scores, which the rows give exactly (corrected seminormal equations;
    Bjorck 1996, Numerical Methods for Least Squares Problems, section 6.6.5).
    """
    chosen = list(regressors)
    normal = moments.total[np.ix_(chosen, chosen)]
    condition = check_rank(normal, moments.before[chosen], list(names), absorbed)
    if condition > HOPELESS:
        raise RankError(
            f"The regressors are nearly dependent (condition number {condition:.1e}, at most "
            f"{HOPELESS:.0e}): {', '.join(map(repr, names))}. Centre them, or drop one."
        )
    check_outcome(moments, outcome, absorbed)
    coarseness = condition / float(np.sqrt(moments.left[chosen].min()))
    if coarseness > ILL_CONDITIONED:
        coef, bread = _solve_rows(moments, outcome, chosen)
    else:
        coef = solve_equation(moments.total, outcome, chosen)
        scale = np.sqrt(np.diag(normal))
        bread = np.linalg.inv(normal / np.outer(scale, scale)) / np.outer(scale, scale)
    contrast, scores, rss = _residual_scores(moments, outcome, chosen, coef)
    correction = bread @ scores.sum(axis=0)
    if np.any(np.abs(correction) > 1e-13 * np.abs(coef)):
        coef = coef + correction
        contrast, scores, rss = _residual_scores(moments, outcome, chosen, coef)
    return Equation(
        coef=coef,
        bread=bread,
        scores=scores,
        contrast=contrast,
        rss=rss,
        tss=float(moments.total[outcome, outcome]),
        condition_number=condition,
        coarseness=coarseness,
    )


def check_resampling(equation: Equation) -> None:
    """Refuse to resample moments whose equation had to be solved from the rows."""
    if equation.coarseness > TOO_COARSE:
        raise InferenceError(
            f"The regressors are nearly dependent on each other or on the period effects (condition "
            f"number {equation.coarseness:.1e}); refitting without or with repeated clusters is "
            f"exact to rounding only below {TOO_COARSE:.0e}. Centre them, drop one, or use "
            "vcov='cluster'."
        )


def _residual_scores(
    moments: ClusterMoments, outcome: int, regressors: list[int], coef: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    contrast = np.zeros(len(moments.total))
    contrast[outcome] = 1.0
    contrast[regressors] = -coef
    scores, rss = moments.scores(contrast)
    return contrast, scores[:, regressors], rss


def _solve_rows(
    moments: ClusterMoments, outcome: int, regressors: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    rows = np.concatenate([block[[*regressors, outcome]] for block in moments.demeaned()], axis=1)
    if moments.rows.weights is not None:
        rows *= np.sqrt(moments.rows.weights)
    scale = np.sqrt((rows[:-1] ** 2).sum(axis=1))
    q, r = np.linalg.qr((rows[:-1] / scale[:, None]).T)
    inverse = np.linalg.inv(r) / scale[:, None]
    return inverse @ (q.T @ rows[-1]), inverse @ inverse.T
