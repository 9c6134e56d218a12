"""Panel regression: y_it = b' x_i,t-L + unit effect + period effect + e_it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from ex_cx.errors import SpecError
from ex_cx.estimation.covariance import Rows, covariance
from ex_cx.estimation.cross_sections import fama_macbeth
from ex_cx.estimation.design import Design, DesignTerm, build_design, same_source
from ex_cx.estimation.effects import random_rows
from ex_cx.estimation.equation import ILL_CONDITIONED, Equation, fit_equation
from ex_cx.estimation.first_stage import first_stage_frame
from ex_cx.estimation.inference import solve_equation, t_columns
from ex_cx.estimation.instruments import TwoStage, fit_two_stage
from ex_cx.estimation.moments import ClusterMoments
from ex_cx.linkage.panel import Panel
from ex_cx.models.spec import (
    PanelSpec,
    check_spec,
    convention_in_words,
    instrument_name,
    instrument_names,
    lagged_outcome_told,
    refuse_instruments,
    term_names,
)
from ex_cx.results import Result, sample_counts

__all__ = ["CompressedPanel", "PanelResult", "PanelSpec", "compress_panel", "fit_panel"]

FEW_CLUSTERS = 40
"""Below this many clusters CR1 errors are known to be too small (Cameron and Miller 2015)."""
FEW_PERIODS = 20
"""Below this many periods we warn: Driscoll-Kraay errors are right as periods grow in number
(Driscoll and Kraay 1998), and tend to be too small with few. The number is our choice."""
PERFECT = 1e-20
"""Share of the outcome's variance below which residuals are rounding."""
_RANDOM = ("random", "correlated_random")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PanelResult(Result):
    """Estimates from one panel regression.

    Attributes
    ----------
    spec : the request, verbatim.
    terms : names of the k coefficients: exposures (with their lag), then controls.
    coef : shape (k,), outcome units per one unit of the term.
    vcov : shape (k, k), of the kind `spec.vcov`.
    df_t : degrees of freedom for t: clusters minus one, or rows minus parameters where errors are
        unadjusted or robust. Where terms differ, the smallest of theirs, which sums and products
        of coefficients use.
    df_by_term : shape (k,), each term's degrees of freedom.
    r2 : share of the outcome's variance, net of the effects, that the terms account for; NaN with
        instruments, whose residuals are not the smallest.
    condition_number : of the regressors net of the effects, each scaled to unit length.
    n_obs, n_units, n_periods, n_clusters : used.
    rows_in : rows of the panel; `lost` : reason -> rows not used.
    convention : the small-sample convention in words, and the package that has it.
    warnings : what makes a right number fragile.
    first_stage : one row for each instrumented term (columns: see
        `ex_cx.estimation.first_stage.first_stage_frame`); empty without instruments.
    """

    spec: PanelSpec
    terms: tuple[str, ...]
    coef: np.ndarray
    vcov: np.ndarray
    df_t: float
    df_by_term: np.ndarray
    r2: float
    condition_number: float
    n_obs: int
    n_units: int
    n_periods: int
    n_clusters: int
    rows_in: int
    lost: dict[str, int]
    convention: str
    warnings: tuple[str, ...]
    first_stage: pd.DataFrame = field(default_factory=pd.DataFrame)

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """One row per term: estimate in outcome units per unit of the term, t interval."""
        std_error = np.sqrt(np.diag(self.vcov))
        columns = t_columns(self.coef, std_error, self.df_by_term, conf_level)
        return pd.DataFrame({"term": list(self.terms)} | columns)

    def glance(self) -> pd.DataFrame:
        """One row: counts, rows lost and why, fit, conventions, warnings."""
        instrumented = {}
        if self.spec.instruments:
            instrumented = {"first_stage_f": float(self.first_stage["f"].min())}
        return pd.DataFrame(
            {
                "outcome": [self.spec.outcome],
                "estimator": self.spec.estimator,
                "absorbed": _effects_in_words(self.spec),
                "vcov": self.spec.vcov,
                **sample_counts(self),
                "r2": self.r2,
                **instrumented,
                "df_t": self.df_t,
                "condition_number": self.condition_number,
                "convention": self.convention,
                "warnings": "; ".join(self.warnings),
            }
        )

    def _headline(self) -> str:
        instrumented = "instrumented " if self.spec.instruments else ""
        kind = f"{self.spec.estimator} {instrumented}estimates"
        return f"{self.spec.outcome}: {kind}, {self.n_obs} rows"


def fit_panel(panel: Panel, spec: PanelSpec) -> PanelResult:
    """Estimate one panel regression.

    Parameters
    ----------
    panel : unit x period rows.
    spec : what to estimate.

    Returns
    -------
    Estimates with errors of the kind asked for; rows that cannot be used are counted by reason.

    Raises
    ------
    SpecError : a column or choice that does not exist, text or infinite values in a model column,
        no usable row.
    RankError : a coefficient that is not identified: constant, wiped out by the absorbed effects,
        collinear, or too ill-conditioned.
    InferenceError : fewer than two clusters, or more parameters than rows.

    Notes
    -----
    With the default `match`: CR1 factor G/(G-1) * (n-1)/(n-k-k_absorbed), absorbed effects nested
    in clusters cost 1, others their levels minus one; t on G-1 degrees of freedom. HC1 and
    unadjusted errors charge every absorbed level. CR3 is the leave-one-cluster-out jackknife with
    (G-1)/G. Other kinds and packages: `ex_cx.estimation.covariance` and `.conventions`. Random
    effects: variance components by Swamy and Arora, taken as known by the errors;
    correlated_random adds the unit means of the terms, whose coefficients `<term>_between` are the
    contextual effects (between less within).
    Source: Cameron and Miller (2015), J. Human Resources 50(2), 317-372; Mundlak (1978),
    Econometrica 46(1), 69-85.

    Examples
    --------
    >>> rows = pd.DataFrame({"unit": list("AAABBB"), "period": [1, 2, 3] * 2,
    ...                      "x": [1.0, 2, 3, 1, 4, 5], "y": [2.0, 4, 6, 1, 7, 9]})
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> result = fit_panel(panel, PanelSpec(outcome="y", exposures=("x",), absorb=("unit",)))
    >>> float(result.coef[0].round(6))
    2.0
    """
    check_spec(panel, spec)
    if spec.estimator == "fama_macbeth":
        return _fit_cross_sections(panel, spec)
    compressed = _compressed(panel, spec)
    design, n_terms = compressed.design, len(compressed.terms)
    charges = _charges(panel, compressed)
    stages = _two_stages(compressed, spec) if spec.instruments else None
    equation = compressed.equation() if stages is None else stages.equation
    found = covariance(
        spec.vcov, compressed.moments, equation, compressed.regressors, charges, spec.match, stages
    )
    first, told = pd.DataFrame(), tuple[str, ...]()
    if stages is not None:
        names = instrument_names(spec)
        first, told = first_stage_frame(spec.vcov, compressed.moments, stages, charges, names)
    explained = _explainable(compressed) if stages is None else 0.0
    return PanelResult(
        spec=spec,
        terms=compressed.terms,
        coef=equation.coef[:n_terms],
        vcov=found.vcov[:n_terms, :n_terms],
        df_t=np.min(found.df_t).item(),
        df_by_term=np.broadcast_to(found.df_t, len(compressed.regressors))[:n_terms],
        r2=1 - equation.rss / explained if explained > 0 else np.nan,
        condition_number=equation.condition_number,
        convention=convention_in_words(spec, found.convention),
        warnings=(*told, *_warnings(panel, spec, design, equation), *filter(None, [found.warning])),
        first_stage=first,
        **design.counts(),
    )


class CompressedPanel(NamedTuple):
    """The rows that a spec uses, and their moments.

    The columns of the moments are the outcome, the terms, then nuisance regressors (a constant and
    dummies that random effects carry explicitly).
    """

    design: Design
    moments: ClusterMoments
    terms: tuple[str, ...]
    nuisance: tuple[str, ...]
    absorbed: tuple[str, ...]

    @property
    def regressors(self) -> list[int]:
        """Positions of all regressors among the moments' columns, the terms first."""
        return list(range(1, 1 + len(self.terms) + len(self.nuisance)))

    def equation(self) -> Equation:
        """The least-squares equation of the outcome on all regressors."""
        names = [*self.terms, *self.nuisance]
        return fit_equation(self.moments, 0, self.regressors, names, self.absorbed)


def compress_panel(panel: Panel, spec: PanelSpec) -> CompressedPanel:
    """What `fit_panel` fits, before it is fitted; resampling and influence start here.

    Raises
    ------
    SpecError : as `fit_panel`; also for fama_macbeth and with instruments, which are not one
        equation.
    """
    check_spec(panel, spec)
    refuse_instruments(spec, "What starts from one equation (resampling, influence, diagnostics)")
    if spec.estimator == "fama_macbeth":
        raise SpecError(
            "estimator='fama_macbeth' is a mean of many equations, so it cannot be resampled or "
            "left out by cluster as one. Use estimator='within'."
        )
    return _compressed(panel, spec)


def _compressed(panel: Panel, spec: PanelSpec) -> CompressedPanel:
    design, absorbed = _design(panel, spec), _absorbed(spec)
    terms: tuple[str, ...] = tuple(term_names(spec))
    nuisance: tuple[str, ...] = ()
    constant = spec.estimator not in ("first_difference", *_RANDOM)
    if spec.estimator in _RANDOM:
        design, terms, nuisance, _ = random_rows(
            design,
            terms,
            periods="period" in spec.absorb,
            correlated=spec.estimator == "correlated_random",
        )
    moments = ClusterMoments(design.moment_rows(absorbed, constant=constant))
    return CompressedPanel(design, moments, terms, nuisance, absorbed)


def _two_stages(compressed: CompressedPanel, spec: PanelSpec) -> TwoStage:
    names = [*compressed.terms, *(instrument_name(z, spec) for z in spec.instrument_terms)]
    n_terms = len(compressed.terms)
    return fit_two_stage(
        compressed.moments,
        [1 + spec.exposures.index(exposure) for exposure in spec.instrumented],
        range(1 + n_terms, 1 + len(names)),
        names,
        compressed.absorbed,
    )


def _fit_cross_sections(panel: Panel, spec: PanelSpec) -> PanelResult:
    design = _design(panel, spec)
    t = design.n_periods
    bandwidth = int(4 * (t / 100) ** (2 / 9)) if spec.vcov == "driscoll_kraay" else 0
    found = fama_macbeth(design, bandwidth)
    unused = int((~found.used).sum())
    kept = dict(design.lost)
    if unused:
        kept["period with too few units for its own cross-section"] = unused
    periods = len(found.by_period)
    counts = design.counts() | {"n_periods": periods, "n_obs": int(found.used.sum()), "lost": kept}
    return PanelResult(
        spec=spec,
        terms=tuple(term_names(spec)),
        coef=found.coef,
        vcov=found.vcov,
        df_t=periods - 1,
        df_by_term=np.full(len(found.coef), periods - 1),
        r2=np.nan,
        condition_number=np.nan,
        convention=(
            f"Fama-MacBeth: spread of {periods} period-by-period coefficients, Bartlett with "
            f"{bandwidth} lags, / (T (T-1)); t(T-1)"
        ),
        warnings=(
            "compares units with each other, period by period: not change within a unit",
            *same_source(panel, [spec.outcome], spec.exposures),
        ),
        **counts,
    )


def _charges(panel: Panel, compressed: CompressedPanel) -> Rows:
    """Absorbed parameters that errors charge: nested effects 1, or every level."""
    design, rank = compressed.design, compressed.moments.period_rank
    unit, period = "unit" in compressed.absorbed, "period" in compressed.absorbed
    return Rows(
        nested=int(unit) + rank,
        levels=(design.n_units if unit else 0) + rank,
        period_levels=design.n_periods - 1 if period else 0,
        calendar=panel.period_codes,
        source=design.source,
        nuisance=len(compressed.nuisance),
    )


def _explainable(compressed: CompressedPanel) -> float:
    """Sum of squares of the outcome net of the effects and of the nuisance regressors."""
    total = compressed.moments.total
    hidden = compressed.regressors[len(compressed.terms) :]
    if not hidden:
        return float(total[0, 0])
    return float(total[0, 0] - solve_equation(total, 0, hidden) @ total[0, hidden])


def _absorbed(spec: PanelSpec) -> tuple[str, ...]:
    if spec.estimator == "within":
        return tuple(effect for effect in ("unit", "period") if effect in spec.absorb)
    if spec.estimator == "first_difference" and "period" in spec.absorb:
        return ("period",)
    return ()


def _effects_in_words(spec: PanelSpec) -> str:
    if spec.estimator in _RANDOM:
        dummies = " + period dummies" if "period" in spec.absorb else ""
        return f"random unit effects{dummies}"
    if spec.estimator == "fama_macbeth":
        return "constant of each period"
    return " + ".join(_absorbed(spec)) or "constant"


def _design(panel: Panel, spec: PanelSpec) -> Design:
    terms = [
        DesignTerm(spec.outcome),
        *(DesignTerm(term, spec.lag) for term in spec.exposures),
        *(DesignTerm(term) for term in spec.controls),
        *(DesignTerm(term, spec.lag) for term in spec.instrument_terms),
    ]
    design = build_design(
        panel,
        terms,
        absorb=_absorbed(spec),
        cluster=spec.cluster,
        weights=spec.weights,
        difference=spec.estimator == "first_difference",
    )
    return design.unit_means() if spec.estimator == "between" else design


def _warnings(panel: Panel, spec: PanelSpec, design: Design, equation: Equation) -> tuple[str, ...]:
    found = []
    two_way = spec.vcov == "cluster_two_way"
    clusters = min(design.n_clusters, design.n_periods) if two_way else design.n_clusters
    clustered = two_way or spec.vcov in ("cluster", "jackknife")
    if clustered and clusters < FEW_CLUSTERS:
        small = "" if spec.vcov == "jackknife" else "CR1 errors tend to be too small; "
        compared = ["vcov='jackknife'"] * bool(small) + ["`wild_cluster_test`"] * (
            not spec.instruments
        )
        advice = " and ".join(compared) or "the Anderson-Rubin interval in `first_stage`"
        groups = "clusters" if clusters == design.n_clusters else "periods"
        found.append(f"{clusters} {groups}, fewer than {FEW_CLUSTERS}: {small}compare {advice}")
    if spec.vcov in ("unadjusted", "robust") and design.n_obs > design.n_units:
        found.append(
            f"{spec.vcov} errors take the rows of a unit as independent, which they seldom are; "
            "compare vcov='cluster'"
        )
    if design.n_periods == 1 or spec.estimator == "between":
        found.append("compares units with each other: no statement about change within a unit")
    if spec.estimator == "random":
        found.append("random effects take unit effects to be unrelated to the terms")
    if spec.vcov == "driscoll_kraay" and design.n_periods < FEW_PERIODS:
        found.append(
            f"{design.n_periods} periods, fewer than {FEW_PERIODS}: Driscoll-Kraay errors rest on "
            "many periods; compare vcov='cluster'"
        )
    found += lagged_outcome_told(spec, design.n_obs / design.n_units)
    found += same_source(panel, [spec.outcome], [*spec.exposures, *spec.instrument_terms])
    if equation.coarseness > ILL_CONDITIONED:
        found.append(
            "regressors nearly dependent on each other or on the period effects (condition number "
            f"{equation.coarseness:.1e}): solved from the rows by QR"
        )
    if equation.rss < PERFECT * equation.tss:
        found.append("the terms reproduce the outcome exactly: is one of them the outcome itself?")
    return tuple(found)
