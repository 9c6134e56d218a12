"""Path models: from the cross-products of one set of rows to direct, indirect and total effects.

A path model names the columns of the rows, the least-squares equations among them, and how their
coefficients make up its terms. Nothing else is needed to estimate it, to resample it, or to draw
its coefficients from their joint covariance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ex_cx.estimation.design import Design, DesignTerm
from ex_cx.estimation.inference import sweep_columns

__all__ = ["PathEquation", "PathModel", "linear_paths"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PathEquation:
    """One column regressed on others; positions are among the columns of the model.

    Attributes
    ----------
    outcome : position of the column explained.
    regressors : positions of all regressors, in the order in which they are swept out.
    wanted : those of the regressors whose coefficients enter the terms.
    """

    outcome: int
    regressors: tuple[int, ...]
    wanted: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathModel:
    """What a mediation estimates from its rows.

    Attributes
    ----------
    columns : of the moments, the outcome first.
    equations : on the same rows, with the same effects taken out of each.
    terms : names, in the order of the tidy table.
    effects : coefficients -> terms, (draws, coefficients) -> (draws, terms); the coefficients are
        the wanted ones of each equation, one equation after the other.
    ratios : terms that may be infinite or undefined in a draw without the draw being unsound.
    bind : where `effects` needs values of the rows used (means, percentiles): from the rows to the
        model that has them.
    """

    columns: tuple[DesignTerm, ...]
    equations: tuple[PathEquation, ...]
    terms: tuple[str, ...]
    effects: Callable[[np.ndarray], np.ndarray]
    ratios: tuple[str, ...] = ()
    bind: Callable[[Design], PathModel] | None = None

    def for_rows(self, design: Design) -> PathModel:
        """The model with what it needs to know of the rows used."""
        return self if self.bind is None else self.bind(design)

    def compute(self, cross: np.ndarray, before: np.ndarray) -> np.ndarray:
        """All terms from cross-products, shape (draws, terms); NaN where one is not identified.

        Parameters
        ----------
        cross : shape (draws, k, k), all effects taken out.
        before : shape (k,), as for `sweep_columns`.
        """
        return self.effects(self.coefficients(cross, before))

    def coefficients(self, cross: np.ndarray, before: np.ndarray) -> np.ndarray:
        """The wanted coefficients of every equation, shape (draws, coefficients)."""
        swept: dict[tuple[int, ...], np.ndarray] = {}
        for regressors in {equation.regressors for equation in self.equations}:
            swept[regressors] = sweep_columns(cross, list(regressors), before)
        parts = [swept[e.regressors][:, e.outcome, list(e.wanted)] for e in self.equations]
        return np.concatenate(parts, axis=1)

    def richest(self) -> tuple[PathEquation, ...]:
        """Equations that hold every regressor of the others: if they are identified, all are."""
        sets = [frozenset(equation.regressors) for equation in self.equations]
        chosen: dict[frozenset[int], PathEquation] = {}
        for equation, held in zip(self.equations, sets, strict=True):
            if not any(held < other for other in sets):
                chosen.setdefault(held, equation)
        return tuple(chosen.values())


def linear_paths(
    *,
    outcome: str,
    exposure: str,
    mediators: Sequence[str],
    controls: Sequence[str],
    lag_mediator: int = 0,
    lag_outcome: int = 0,
) -> PathModel:
    """Parallel mediators: exposure to each of them, and each of them to the outcome.

    Returns
    -------
    Terms a:<m>, b:<m>, direct, indirect:<m>, indirect, total, proportion_mediated.

    >>> linear_paths(outcome="y", exposure="x", mediators=["m"], controls=[]).terms[:3]
    ('a:m', 'b:m', 'direct')
    """
    n = len(mediators)
    middle = tuple(range(2, 2 + n))
    first = (1, *range(2 + n, 2 + n + len(controls)))
    return PathModel(
        columns=(
            DesignTerm(outcome),
            DesignTerm(exposure, lag_mediator + lag_outcome),
            *(DesignTerm(m, lag_outcome) for m in mediators),
            *(DesignTerm(c) for c in controls),
        ),
        equations=(
            *(PathEquation(outcome=m, regressors=first, wanted=(1,)) for m in middle),
            PathEquation(outcome=0, regressors=(*first, *middle), wanted=(*middle, 1)),
            PathEquation(outcome=0, regressors=first, wanted=(1,)),
        ),
        terms=(
            *(f"a:{m}" for m in mediators),
            *(f"b:{m}" for m in mediators),
            "direct",
            *(f"indirect:{m}" for m in mediators),
            "indirect",
            "total",
            "proportion_mediated",
        ),
        effects=lambda coef: _parallel_effects(coef, n),
        ratios=("proportion_mediated",),
    )


def _parallel_effects(coef: np.ndarray, n_mediators: int) -> np.ndarray:
    """From a of every mediator, b of every mediator, direct, total."""
    a, b = coef[:, :n_mediators], coef[:, n_mediators : 2 * n_mediators]
    direct, total = coef[:, -2:-1], coef[:, -1:]
    through = a * b
    indirect = through.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = indirect / total
    return np.concatenate([a, b, direct, through, indirect, total, share], axis=1)
