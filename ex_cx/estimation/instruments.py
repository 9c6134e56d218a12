"""Two-stage least squares from the same compressed moments, all effects taken out of every stage.

With X the terms, W those that are their own instruments, Z = [W, instruments], all net of the
effects: b = (X'P X)^-1 X'P y, P = Z (Z'Z)^-1 Z'. The fitted terms are columns times a matrix, so
that scores, clusters left out, and rows come from moments that hold no fitted column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ex_cx.errors import RankError, some
from ex_cx.estimation.equation import TOO_COARSE, Equation, fit_equation
from ex_cx.estimation.inference import WIPED_OUT, solve_equation
from ex_cx.estimation.moments import ClusterMoments

__all__ = ["TwoStage", "fit_two_stage"]

_UNMOVED = 1e-10
"""Share of a term, net of the effects and the other terms, that the instruments must move."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwoStage:
    """A second stage and what it was made from.

    Attributes
    ----------
    equation : the second stage; its scores and bread are of the fitted terms, its residuals of the
        terms themselves.
    reduced : the outcome on all instruments; `first` : each instrumented term on them.
    terms, exogenous, excluded : positions of the p terms, of those that are their own instruments,
        and of the instruments that are not terms.
    endogenous : positions of the instrumented terms.
    fitted : shape (p, k): the fitted terms are the k columns of the moments times it.
    """

    equation: Equation
    reduced: Equation
    first: tuple[Equation, ...]
    terms: list[int]
    endogenous: list[int]
    exogenous: list[int]
    excluded: list[int]
    fitted: np.ndarray

    @property
    def instruments(self) -> list[int]:
        """Positions of all instruments: the exogenous terms, then those that are no terms."""
        return [*self.exogenous, *self.excluded]

    def leave_one_out(self, moments: ClusterMoments) -> np.ndarray:
        """Second-stage coefficients without each cluster, shape (G, p), both stages refitted."""
        cross = moments.leave_one_out()
        z, p = self.instruments, len(self.terms)
        stages = np.zeros((len(cross), len(z), p))
        for at, term in enumerate(self.terms):
            if term in self.exogenous:
                stages[:, z.index(term), at] = 1.0
            else:
                stages[:, :, at] = solve_equation(cross, term, z, moments.before)
        reduced = solve_equation(cross, 0, z, moments.before)
        moved = stages.transpose(0, 2, 1) @ cross[:, z][:, :, z]
        return np.linalg.solve(moved @ stages, moved @ reduced[:, :, None])[:, :, 0]


def fit_two_stage(
    moments: ClusterMoments,
    endogenous: Sequence[int],
    excluded: Sequence[int],
    names: Sequence[str],
    absorbed: tuple[str, ...],
) -> TwoStage:
    """Two-stage least squares of the first column on the terms.

    Parameters
    ----------
    moments : columns are the outcome, the terms, then the instruments that are not terms.
    endogenous, excluded : positions of the instrumented terms, and of these instruments.
    names : of the terms and the instruments, for messages; `absorbed` : effects taken out.

    Raises
    ------
    RankError : terms or instruments that are not identified, or instruments that do not move the
        instrumented terms apart from each other.

    Notes
    -----
    Solved from cross-products and corrected once by the scores of the rows.
    Source: Wooldridge (2010), Econometric Analysis of Cross Section and Panel Data, ch. 5 and 11.

    Examples
    --------
    >>> from ex_cx.estimation.moments import MomentRows
    >>> y, x, z = np.array([1.0, 2, 4, 7]), np.array([1.0, 3, 4, 4]), np.array([0.0, 1, 1, 2])
    >>> rows = MomentRows(columns=(y, x, z), unit_starts=np.arange(4), weights=None,
    ...                   cluster_starts=np.arange(4), periods=np.zeros(4, int), absorbs_unit=False)
    >>> found = fit_two_stage(ClusterMoments(rows), [1], [2], ["x", "z"], ())
    >>> float(found.equation.coef[0].round(6))  # cov(z, y) / cov(z, x) = 6 / 3
    2.0
    """
    terms = list(range(1, excluded[0]))
    exogenous = [term for term in terms if term not in endogenous]
    z = [*exogenous, *excluded]
    labels = [names[column - 1] for column in z]
    fit_equation(moments, 0, terms, [names[t - 1] for t in terms], absorbed)  # refuses what is lost
    reduced = fit_equation(moments, 0, z, labels, absorbed)
    first = tuple(fit_equation(moments, term, z, labels, absorbed) for term in endogenous)
    fitted = np.zeros((len(terms), len(moments.total)))
    for term in exogenous:
        fitted[term - 1, term] = 1.0
    for term, stage in zip(endogenous, first, strict=True):
        fitted[term - 1, z] = stage.coef
    copied = [t for t, stage in zip(endogenous, first, strict=True) if _is_copy(stage)]
    if copied:
        raise RankError(
            f"The instruments reproduce {some([names[t - 1] for t in copied])} exactly, so that "
            "nothing is instrumented. Use other instruments, or none."
        )
    _check_moved(moments, fitted, terms, [names[t - 1] for t in endogenous])
    coarseness = max(stage.coarseness for stage in (reduced, *first))
    if coarseness > TOO_COARSE:
        raise RankError(
            f"The instruments are nearly dependent (condition number {coarseness:.1e}, at most "
            f"{TOO_COARSE:.0e} in two stages): {some(labels)}. Centre them, or drop one."
        )
    return TwoStage(
        equation=_second_stage(moments, fitted, terms, coarseness),
        reduced=reduced,
        first=first,
        terms=terms,
        endogenous=list(endogenous),
        exogenous=exogenous,
        excluded=list(excluded),
        fitted=fitted,
    )


def _is_copy(stage: Equation) -> bool:
    """Whether a first stage leaves nothing but rounding of its term."""
    return stage.rss <= WIPED_OUT * stage.tss


def _check_moved(
    moments: ClusterMoments, fitted: np.ndarray, terms: list[int], instrumented: list[str]
) -> None:
    """Refuse terms that are not told apart once they are replaced by what the instruments move."""
    scale = np.sqrt(np.diag(moments.total)[terms])
    normal = fitted @ moments.total @ fitted.T / np.outer(scale, scale)
    own = moments.total[np.ix_(terms, terms)] / np.outer(scale, scale)
    if np.linalg.eigvalsh(normal)[0] <= _UNMOVED * np.linalg.eigvalsh(own)[0] + WIPED_OUT:
        raise RankError(
            f"The instruments do not move {some(instrumented)} apart from each other and from the "
            "other terms, so the coefficients are not identified. Use other instruments."
        )


def _second_stage(
    moments: ClusterMoments, fitted: np.ndarray, terms: list[int], coarseness: float
) -> Equation:
    normal = fitted @ moments.total @ fitted.T
    scale = np.sqrt(np.diag(normal))
    unit = normal / np.outer(scale, scale)
    bread = np.linalg.inv(unit) / np.outer(scale, scale)
    coef = bread @ (fitted @ moments.total[:, 0])
    contrast = np.zeros(len(moments.total))
    contrast[0] = 1.0
    contrast[terms] = -coef
    scores, rss = moments.scores(contrast)
    correction = bread @ (scores @ fitted.T).sum(axis=0)
    if np.any(np.abs(correction) > 1e-13 * np.abs(coef)):
        coef = coef + correction
        contrast[terms] = -coef
        scores, rss = moments.scores(contrast)
    values = np.linalg.eigvalsh(unit)
    return Equation(
        coef=coef,
        bread=bread,
        scores=scores @ fitted.T,
        contrast=contrast,
        rss=rss,
        tss=float(moments.total[0, 0]),
        condition_number=float(np.sqrt(values[-1] / values[0])),
        coarseness=coarseness,
    )
