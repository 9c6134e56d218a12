"""Mediation: through what does an exposure reach the outcome?

With the same effects absorbed in every equation, on the same rows:

    m_j = a_j x + c_j' controls + effects + error           one equation a mediator
    y   = direct x + sum_j b_j m_j + c' controls + effects + error
    y   = total x + c' controls + effects + error           total = direct + sum_j a_j b_j

In a serial model each mediator's equation also holds the mediators before it, with coefficients d,
and every way through the chain is a path, e.g. x -> m_1 -> m_2 -> y with effect a_1 d_12 b_2.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ex_cx.errors import InferenceError
from ex_cx.estimation.conditional_paths import conditional_paths
from ex_cx.estimation.design import Design, DesignTerm, build_design, same_source
from ex_cx.estimation.equation import check_resampling, fit_equation
from ex_cx.estimation.inference import cluster_factor, expanded_level
from ex_cx.estimation.moments import ClusterMoments
from ex_cx.estimation.path_intervals import (
    FEWEST_SOUND,
    Interval,
    bootstrap_draws,
    check_draws,
    left_out_terms,
    monte_carlo_draws,
    outermost_tail,
    short_of_draws,
)
from ex_cx.estimation.paths import PathModel, linear_paths
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation_result import MediationResult
from ex_cx.models.mediation_spec import MediationSpec, check_mediation_spec

__all__ = ["MediationResult", "MediationSpec", "fit_mediation"]

FEW_CLUSTERS = 40
"""Below this many clusters a cluster bootstrap is warned of, expanded interval or not."""


def fit_mediation(
    panel: Panel,
    spec: MediationSpec,
    *,
    n_boot: int = 4999,
    interval: Interval = "percentile",
    rng: np.random.Generator,
) -> MediationResult:
    """Estimate direct and indirect effects with a bootstrap of whole clusters.

    Parameters
    ----------
    panel : unit x period rows.
    spec : what to estimate.
    n_boot : draws of clusters, or of coefficients; at least 99.
    interval : percentile, bca (bias-corrected and accelerated, the acceleration from the jackknife
        of clusters), or monte_carlo (coefficients drawn from the joint cluster-robust covariance of
        all equations; no rows are resampled).
    rng : source of the draws; the same state gives identical numbers.

    Returns
    -------
    Estimates and draws; direct + indirect = total holds in the estimates and in every draw.

    Raises
    ------
    SpecError : a column or choice that does not exist, text or infinite values, no usable row.
    RankError : a path that is not identified.
    InferenceError : fewer than two clusters, fewer than 99 draws, more than a tenth of the draws in
        which a path is not identified; for bca, a cluster without which a path is not identified.

    Notes
    -----
    Whole clusters are drawn with replacement and repeats count as separate clusters; period effects
    are re-estimated exactly in every draw, from compressed moments. The tails of the interval are
    taken at Phi(-sqrt(c) t), c the CR1 factor and t Student's quantile on G-1 degrees of freedom:
    plain percentile intervals are too short when clusters are few. BCa tails start from these;
    Monte Carlo tails from Phi(-t), since the covariance holds c. In Monte Carlo draws the total is
    the sum of direct and indirect.
    Source: Preacher and Hayes (2008), Behavior Research Methods 40(3), 879-891, for the products;
    Cameron, Gelbach and Miller (2008), Rev. Economics and Statistics 90(3), 414-427, for the draws;
    Hesterberg (2015), The American Statistician 69(4), 371-386, for expanded percentiles.

    Examples
    --------
    >>> import pandas as pd
    >>> rng = np.random.default_rng(7)
    >>> x = rng.normal(size=400)
    >>> m = 0.5 * x + rng.normal(size=400)
    >>> units, periods = np.divmod(np.arange(400), 8)
    >>> rows = pd.DataFrame({"unit": units, "period": periods,
    ...                      "x": x, "m": m, "y": 0.4 * m + rng.normal(size=400)})
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = MediationSpec(outcome="y", exposure="x", mediators=("m",))
    >>> paths = fit_mediation(panel, spec, n_boot=999, rng=rng).tidy().set_index("term")["estimate"]
    >>> bool(abs(paths["direct"] + paths["indirect"] - paths["total"]) < 1e-12)
    True
    """
    check_mediation_spec(panel, spec)
    check_draws(n_boot, interval, rng)
    model = _path_model(spec)
    model, design, moments = _compress(panel, spec, model)
    _check_identified(moments, spec, model)
    if interval == "monte_carlo":
        draws = monte_carlo_draws(moments, model, spec.absorb, n_boot, rng)
    else:
        draws = bootstrap_draws(moments, model, n_boot, rng)
    sound = _sound(draws, model, design.n_clusters)
    result = MediationResult(
        spec=spec,
        terms=model.terms,
        estimates=model.compute(moments.total[None], moments.before)[0],
        draws=draws if sound.all() else draws[sound],
        n_boot=n_boot,
        draws_failed=int((~sound).sum()),
        interval=interval,
        factor=1.0 if interval == "monte_carlo" else _factor(design, moments, spec, model),
        n_obs=design.n_obs,
        n_units=design.n_units,
        n_periods=design.n_periods,
        n_clusters=design.n_clusters,
        rows_in=design.rows_in,
        lost=design.lost,
        warnings=(),
        left_out=left_out_terms(moments, model) if interval == "bca" else None,
        steps=model.steps,
        rivals=model.rivals,
        levels=model.levels,
        spreads=_spreads(moments, model),
    )
    return replace(result, warnings=_warnings(panel, result))


def _compress(
    panel: Panel, spec: MediationSpec, model: PathModel
) -> tuple[PathModel, Design, ClusterMoments]:
    """The model bound to its complete rows, and their moments; at least two clusters."""
    design = build_design(
        panel, model.columns, absorb=spec.absorb, cluster=spec.cluster, weights=spec.weights
    )
    if design.n_clusters < 2:
        raise InferenceError(
            f"A cluster bootstrap needs at least 2 clusters; the rows used have "
            f"{design.n_clusters}. Add units, or cluster by a finer column."
        )
    bound, design = model.for_rows(design)
    return bound, design, ClusterMoments(design.moment_rows(spec.absorb))


def _spreads(moments: ClusterMoments, model: PathModel) -> dict[str, float]:
    """Root of each column's sum of squares, net of the absorbed effects."""
    squares = np.diag(moments.total)[: len(model.columns)]
    roots = np.sqrt(np.maximum(squares, 0))
    return {column.term: float(root) for column, root in zip(model.columns, roots, strict=True)}


def _factor(
    design: Design, moments: ClusterMoments, spec: MediationSpec, model: PathModel
) -> float:
    """CR1 factor of the equation with the most regressors."""
    nested = int("unit" in spec.absorb) + moments.period_rank
    n_terms = max(len(equation.regressors) for equation in model.equations)
    return cluster_factor(design.n_clusters, design.n_obs, n_terms, nested)


def _sound(draws: np.ndarray, model: PathModel, n_clusters: int) -> np.ndarray:
    """Which draws identify every path; too few of them are refused."""
    kept = [at for at, term in enumerate(model.terms) if term not in model.ratios]
    sound = np.isfinite(draws[:, kept]).all(axis=1)
    if sound.mean() < FEWEST_SOUND:
        raise InferenceError(
            f"In {int((~sound).sum())} of {len(draws)} draws of {n_clusters} clusters a path is "
            "not identified: too few clusters carry the variation. Use fewer terms, or more "
            "clusters."
        )
    return sound


def _check_identified(moments: ClusterMoments, spec: MediationSpec, model: PathModel) -> None:
    for equation in model.richest():
        names = [model.columns[at].term for at in equation.regressors]
        check_resampling(
            fit_equation(moments, equation.outcome, equation.regressors, names, spec.absorb)
        )


def _path_model(spec: MediationSpec) -> PathModel:
    """The paths that the spec asks for."""
    exposures = [DesignTerm(x, spec.exposure_lag) for x in spec.exposures]
    mediators = [DesignTerm(m, spec.lag_of(m)) for m in spec.mediators]
    controls = [DesignTerm(c) for c in spec.controls]
    if spec.interaction or spec.moderator is not None:
        held = spec.moderator
        return conditional_paths(
            outcome=DesignTerm(spec.outcome),
            exposure=exposures[0],
            mediators=mediators,
            controls=controls,
            moderator=None if held is None else DesignTerm(held, spec.exposure_lag),
            moderated=spec.moderated,
            interaction=spec.interaction,
            products=spec.products,
            absorb=spec.absorb,
        )
    return linear_paths(
        outcome=DesignTerm(spec.outcome),
        exposures=exposures,
        mediators=mediators,
        controls=controls,
        serial=spec.structure == "serial",
    )


def _warnings(panel: Panel, result: MediationResult) -> tuple[str, ...]:
    spec, found = result.spec, []
    if result.n_clusters < FEW_CLUSTERS:
        kind = "Monte Carlo" if result.interval == "monte_carlo" else "bootstrap"
        found.append(
            f"{result.n_clusters} clusters, fewer than {FEW_CLUSTERS}: {kind} intervals rest "
            "on a correction for few clusters"
        )
    if not spec.exposure_lag:
        found.append("exposure, mediators and outcome are from the same period: order is assumed")
    elif spec.structure == "serial" and len(spec.mediators) > 1 and not spec.lag_serial:
        found.append("the mediators of the chain are from the same period: their order is assumed")
    found += same_source(panel, [spec.outcome], [*spec.exposures, *spec.mediators])
    found += same_source(panel, spec.mediators, spec.exposures)
    found += [] if result.levels is None else result.levels.cautions
    found += _outermost(result)
    if result.draws_failed:
        found.append(f"{result.draws_failed} draws did not identify every path and were left out")
    return tuple(found)


def _outermost(result: MediationResult) -> list[str]:
    """Do the tails of 95 % intervals lie within the draws?"""
    n = len(result.draws)
    level = expanded_level(0.95, result.n_clusters, result.factor)
    tail = (1 - level) / 2
    if result.interval == "bca" and result.left_out is not None:
        kept = [at for at, t in enumerate(result.terms) if not t.startswith("proportion")]
        tail = outermost_tail(
            result.draws[:, kept], result.estimates[kept], result.left_out[:, kept], level
        )
    return short_of_draws(n, tail, result.n_clusters)
