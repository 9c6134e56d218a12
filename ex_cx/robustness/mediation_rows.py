"""The rows of a mediation and what its sensitivity analyses need of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ex_cx.errors import InferenceError, SpecError
from ex_cx.estimation.design import Design, DesignTerm, build_design
from ex_cx.estimation.equation import Equation, check_resampling, fit_equation
from ex_cx.estimation.inference import cluster_factor, sandwich, sweep_columns
from ex_cx.estimation.moments import ClusterMoments
from ex_cx.estimation.paths import PathEquation, PathModel, linear_paths
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationSpec
from ex_cx.models.mediation_spec import check_mediation_spec

__all__ = ["MediationRows", "mediation_rows", "partial_r2", "refuse_products"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MediationRows:
    """The rows that `fit_mediation` uses, compressed, and its linear equations.

    Attributes
    ----------
    model : columns outcome, exposure, mediators, controls; the equations of the mediators, of the
        outcome given them, and of the outcome without them.
    """

    spec: MediationSpec
    model: PathModel
    design: Design
    moments: ClusterMoments

    @property
    def names(self) -> list[str]:
        """The columns' terms, in order."""
        return [column.term for column in self.model.columns]

    def equation(self, path: PathEquation) -> Equation:
        """One of the model's equations by least squares, all effects taken out."""
        names = [self.names[at] for at in path.regressors]
        return fit_equation(self.moments, path.outcome, path.regressors, names, self.spec.absorb)

    def dof(self, path: PathEquation) -> int:
        """Rows less coefficients and every level of the absorbed effects."""
        levels = self.design.n_units if "unit" in self.spec.absorb else 0
        left = self.design.n_obs - len(path.regressors) - levels - self.moments.period_rank
        if left < 2:
            raise InferenceError(
                f"{self.design.n_obs} rows leave {left} degrees of freedom after "
                f"{len(path.regressors)} coefficients and the absorbed effects; at least 2 are "
                "needed. Add rows, or estimate less."
            )
        return left

    def factor(self, n_terms: int) -> float:
        """The CR1 factor of an equation with `n_terms` regressors."""
        nested = int("unit" in self.spec.absorb) + self.moments.period_rank
        return cluster_factor(self.design.n_clusters, self.design.n_obs, n_terms, nested)

    def clustered_errors(self, path: PathEquation, equation: Equation) -> np.ndarray:
        """CR1 standard errors of an equation's coefficients."""
        vcov = sandwich(equation.bread, equation.scores)
        return np.asarray(np.sqrt(self.factor(len(path.regressors)) * np.diag(vcov)))


def mediation_rows(panel: Panel, spec: MediationSpec) -> MediationRows:
    """The rows of a mediation with one exposure, as `fit_mediation` takes them.

    Raises
    ------
    SpecError, RankError, InferenceError : as `fit_mediation`; SpecError for several exposures, a
        moderator or an interaction.
    """
    check_mediation_spec(panel, spec)
    refuse_products(spec)
    model = linear_paths(
        outcome=DesignTerm(spec.outcome),
        exposures=[DesignTerm(spec.single_exposure, spec.exposure_lag)],
        mediators=[DesignTerm(m, spec.lag_of(m)) for m in spec.mediators],
        controls=[DesignTerm(c) for c in spec.controls],
        serial=spec.structure == "serial",
    )
    design = build_design(
        panel, model.columns, absorb=spec.absorb, cluster=spec.cluster, weights=spec.weights
    )
    moments = ClusterMoments(design.moment_rows(spec.absorb))
    rows = MediationRows(spec=spec, model=model, design=design, moments=moments)
    for path in model.richest():
        check_resampling(rows.equation(path))
    if design.n_clusters < 2:
        raise InferenceError(
            f"Clustered errors need at least 2 clusters; the rows used have {design.n_clusters}. "
            "Add units, or cluster by a finer column."
        )
    return rows


def refuse_products(spec: MediationSpec) -> None:
    """Refuse a mediation whose paths depend on a value.

    >>> refuse_products(MediationSpec(outcome="y", exposure="x", mediators=("m",)))
    """
    if spec.moderator is not None or spec.interaction:
        raise SpecError(
            "Sensitivity to confounding is computed for paths that are the same everywhere; the "
            "spec has a moderator or an interaction. Ask for it with moderator=None, moderated=(), "
            "interaction=False."
        )


def partial_r2(cross: np.ndarray, first: int, second: int, held: list[int]) -> float:
    """Squared correlation of two columns net of others.

    Parameters
    ----------
    cross : shape (k, k), cross-products with all effects taken out.
    first, second, held : positions among its columns.

    >>> partial_r2(np.array([[4.0, 2.0], [2.0, 4.0]]), 0, 1, [])
    0.25
    """
    left = sweep_columns(cross[None], held)[0] if held else cross
    return float(left[first, second] ** 2 / (left[first, first] * left[second, second]))
