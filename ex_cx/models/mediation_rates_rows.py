"""The rows of a mediation of a rate, and both of its equations on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ex_cx.errors import InferenceError, RankError
from ex_cx.estimation.design import DesignTerm, build_design
from ex_cx.estimation.equation import check_resampling, fit_equation
from ex_cx.estimation.inference import bootstrap_counts, sweep_columns
from ex_cx.estimation.logit import fit_logit
from ex_cx.estimation.logit_draws import refit_logits
from ex_cx.estimation.moments import ClusterMoments, MomentRows
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation_rates_spec import RateMediationSpec
from ex_cx.models.rate_rows import RateRows, rate_columns, term_means, varying_rows
from ex_cx.models.rate_spec import as_share

__all__ = ["RateEquations", "rate_equations", "rate_mediation_rows"]

_CELLS = 1 << 22
"""Rows times draws held at a time."""


def rate_mediation_rows(panel: Panel, spec: RateMediationSpec) -> RateRows:
    """The complete rows of both equations; those lost are counted by reason."""
    lags = (spec.exposure_lag, *(spec.lag_outcome for _ in spec.mediators))
    moved = zip((spec.exposure, *spec.mediators), lags, strict=True)
    terms = [*(DesignTerm(t, lag) for t, lag in moved), *(DesignTerm(c) for c in spec.controls)]
    effects = (("unit",) if spec.unit_means else ()) + (("period",) if spec.periods else ())
    design = build_design(
        panel,
        [DesignTerm(spec.outcome), *terms],
        absorb=effects,
        cluster=spec.cluster,
        weights=spec.denominator,
    )
    columns = dict(zip(spec.names, design.columns[1:], strict=True))
    weights = np.ones(design.n_obs) if design.weights is None else design.weights
    sample = RateRows(
        y=as_share(design.columns[0], panel, design.source, spec.rate),
        terms=columns,
        factors={},
        base={},
        means=term_means(columns, weights, design.unit_starts) if spec.unit_means else {},
        weights=weights,
        mass=float(weights.sum()),
        periods=design.periods,
        unit_starts=design.unit_starts,
        cluster_starts=design.cluster_starts,
        rows_in=design.rows_in,
        lost=design.lost,
    )
    if sample.n_clusters < 2:
        raise InferenceError(
            f"A cluster bootstrap needs at least 2 clusters; the rows used have "
            f"{sample.n_clusters}. Add units, or cluster by a finer column."
        )
    return sample


@dataclass(frozen=True, kw_only=True, eq=False)
class RateEquations:
    """Both equations on their rows.

    `x` (n, p) columns of the logit without its constants, `coef` (p,) and `base` (T,) its
    coefficients and constants, `levels` (n,) which constant a row has; `at` positions of exposure
    and mediators among the columns; `ends` (2, n) the two values of each row's exposure less its
    own; `moments` of mediators, exposure, controls.
    """

    sample: RateRows
    n_mediators: int
    moments: ClusterMoments
    x: np.ndarray
    levels: np.ndarray
    coef: np.ndarray
    base: np.ndarray
    at: tuple[int, ...]
    ends: np.ndarray
    cautions: tuple[str, ...]

    @property
    def n_coefficients(self) -> int:
        """Coefficients and constants of the logit."""
        return self.x.shape[1] + len(self.base)

    def estimates(self) -> np.ndarray:
        """Every term on the rows as they are, shape (terms,)."""
        ones = np.ones((1, self.sample.n_clusters))
        return self.effects(ones, self.first(ones), self.coef[None], self.base[None])[0]

    def first(self, counts: np.ndarray) -> np.ndarray:
        """The paths a of all mediators in each draw, shape (draws, mediators)."""
        n = self.n_mediators
        chosen = list(range(n, len(self.moments.total)))
        swept = sweep_columns(self.moments.cross_products(counts), chosen, self.moments.before)
        return swept[:, :n, n]

    def bootstrap(self, n_draws: int, rng: np.random.Generator) -> np.ndarray:
        """Every term in draws of whole clusters, (draws, terms); NaN where one has no maximum."""
        block = max(_CELLS // len(self.sample.y), 1)
        found = []
        for at in range(0, n_draws, block):
            counts = bootstrap_counts(self.sample.n_clusters, min(block, n_draws - at), rng)
            coef, base = refit_logits(
                self.x, self.sample.y, self._masses(counts), self.coef, self.levels
            )
            found.append(self.effects(counts, self.first(counts), coef, base))
        return np.concatenate(found)

    def _masses(self, counts: np.ndarray) -> np.ndarray:
        lengths = np.diff(self.sample.cluster_starts, append=len(self.sample.y))
        return np.repeat(counts, lengths, axis=1) * self.sample.weights

    def effects(
        self, counts: np.ndarray, a: np.ndarray, coef: np.ndarray, base: np.ndarray
    ) -> np.ndarray:
        """Every term from both equations' coefficients, shape (draws, terms)."""
        from scipy.special import expit

        constants = np.where(np.isnan(base), 0.0, base)[:, self.levels]
        log_odds = coef @ self.x.T + constants
        mass = self._masses(counts)
        mass = mass / mass.sum(axis=1, keepdims=True)
        direct = coef[:, self.at[:1]]
        b = coef[:, self.at[1:]]
        through = (a * b).sum(axis=1, keepdims=True)

        def outcome(own: int, mediators: int) -> np.ndarray:
            moved = direct * self.ends[own] + through * self.ends[mediators]
            return 100 * (mass * expit(log_odds + moved)).sum(axis=1)

        low, high = outcome(0, 0), outcome(1, 1)
        moved_only, through_only = outcome(1, 0), outcome(0, 1)
        fitted = expit(log_odds)
        slope = 100 * (mass * fitted * (1 - fitted)).sum(axis=1, keepdims=True) * b
        pure, total = moved_only - low, high - through_only
        back, onwards = through_only - low, high - moved_only
        indirect = (back + onwards) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            share = indirect / (high - low)
        whole = (pure, total, back, onwards, (pure + total) / 2, indirect, high - low, share)
        return np.concatenate([a, slope, np.stack(whole, axis=1)], axis=1)


def rate_equations(sample: RateRows, spec: RateMediationSpec) -> RateEquations:
    """Both equations, fitted once to the rows as they are.

    Raises
    ------
    RankError, InferenceError : paths that are not identified, separation, no convergence.
    """
    moments = _first_equations(sample, spec)
    kept = varying_rows(sample, spec.rate)
    columns, names, cautions = rate_columns(kept, spec.rate)
    fit = fit_logit(columns, kept.y, kept.weights, kept.cluster_starts, names)
    held = sample.terms | sample.means
    of = {name: coef for name, coef in zip(names, fit.coef, strict=True) if name in held}
    moved = sample.terms[spec.names[0]]
    ends = (moved, moved + 1) if spec.contrast is None else spec.contrast
    return RateEquations(
        sample=sample,
        n_mediators=len(spec.mediators),
        moments=moments,
        x=np.stack([held[name] for name in of], axis=1),
        levels=sample.periods if spec.periods else np.zeros(len(moved), dtype=np.int64),
        coef=np.array(list(of.values())),
        base=_constants(sample, spec, fit.coef[0], fit.coef[len(of) + 1 :]),
        at=tuple(list(of).index(name) for name in spec.names[: 1 + len(spec.mediators)]),
        ends=np.stack([end - moved for end in ends]),
        cautions=(*cautions, *_exact(sample, kept)),
    )


def _constants(
    sample: RateRows, spec: RateMediationSpec, first: float, others: np.ndarray
) -> np.ndarray:
    """The constant of each period, infinite where the rate is 0 (or 1) in every row of it."""
    if not spec.periods:
        return np.array([first])
    count = np.bincount(sample.periods)
    total = np.bincount(sample.periods, weights=sample.y)
    found = np.where(total == 0, -np.inf, np.inf)
    found[(total > 0) & (total < count)] = first + np.array([0.0, *others])
    return found


def _exact(sample: RateRows, kept: RateRows) -> list[str]:
    """Rows that the constant of their period fits exactly."""
    n, periods = len(sample.y) - len(kept.y), sample.periods.max() - kept.periods.max()
    if not n:
        return []
    told = (
        f"{n} rows of {periods} period(s) in which the rate is 0 in every row, or 1 in every row, "
        "count with no effect on the rate"
    )
    return [told]


def _first_equations(sample: RateRows, spec: RateMediationSpec) -> ClusterMoments:
    """Moments of mediators, exposure and controls, from which every a follows."""
    n = len(spec.mediators)
    names = [*spec.names[1 : 1 + n], spec.names[0], *spec.names[1 + n :]]
    constant = None if spec.unit_means else np.zeros(len(sample.y), dtype=np.int64)
    moments = ClusterMoments(
        MomentRows(
            columns=tuple(sample.terms[name] for name in names),
            unit_starts=sample.unit_starts if spec.unit_means else sample.cluster_starts,
            cluster_starts=sample.cluster_starts,
            periods=sample.periods if spec.periods else constant,
            weights=sample.weights,
            absorbs_unit=spec.unit_means,
        )
    )
    absorbed = (("unit",) if spec.unit_means else ()) + (("period",) if spec.periods else ())
    regressors = list(range(n, len(names)))
    for mediator in range(n):
        try:
            fit = fit_equation(moments, mediator, regressors, names[n:], absorbed)
            check_resampling(fit)
        except (RankError, InferenceError) as error:
            raise type(error)(f"Equation of the mediator {names[mediator]!r}: {error}") from error
    return moments
