"""Panel regression: y_it = b' x_i,t-L + unit effect + period effect + e_it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from ex_cx.errors import InferenceError, SpecError, nearest
from ex_cx.estimation.design import Design, DesignTerm, build_design, same_source, term_columns
from ex_cx.estimation.equation import (
    ILL_CONDITIONED,
    Equation,
    check_resampling,
    fit_equation,
)
from ex_cx.estimation.inference import (
    cluster_factor,
    jackknife_vcov,
    sandwich,
    solve_equation,
    t_interval,
    t_p_values,
)
from ex_cx.estimation.moments import ClusterMoments
from ex_cx.linkage.panel import Panel
from ex_cx.results import Result

__all__ = [
    "CompressedPanel",
    "PanelResult",
    "PanelSpec",
    "compress_panel",
    "fit_panel",
    "term_name",
]

Estimator = Literal["pooled", "between", "within", "first_difference"]
Vcov = Literal["unadjusted", "robust", "cluster", "jackknife"]
Effect = Literal["unit", "period"]

FEW_CLUSTERS = 40
"""Below this many clusters CR1 errors are known to be too small (Cameron and Miller 2015)."""
PERFECT = 1e-20
"""Share of the outcome's variance below which residuals are rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelSpec:
    """What to estimate. Vary it with dataclasses.replace, never by editing.

    Attributes
    ----------
    outcome : column to explain.
    exposures, controls : terms: a column, a product `a:b`, or a power `a^2`. Controls are taken in
        the outcome's period; exposures `lag` periods earlier.
    estimator : pooled (one constant), between (unit means), within (effects in `absorb` taken out),
        first_difference (change from the period before; unit effects cancel, period effects are
        absorbed if in `absorb`).
    absorb : effects taken out by within and first_difference.
    lag : periods by which exposures precede the outcome, by calendar.
    vcov : unadjusted, robust (HC1), cluster (CR1), jackknife (CR3).
    cluster, weights : columns; None means the panel's own.
    """

    outcome: str
    exposures: tuple[str, ...]
    controls: tuple[str, ...] = ()
    estimator: Estimator = "within"
    absorb: tuple[Effect, ...] = ("unit", "period")
    lag: int = 0
    vcov: Vcov = "cluster"
    cluster: str | None = None
    weights: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PanelResult(Result):
    """Estimates from one panel regression.

    Attributes
    ----------
    spec : the request, verbatim.
    terms : names of the k coefficients: exposures (with their lag), then controls.
    coef : shape (k,), outcome units per one unit of the term.
    vcov : shape (k, k), of the kind `spec.vcov`.
    df_t : degrees of freedom for t: clusters minus one, or rows minus parameters where errors are
        unadjusted or robust.
    r2 : share of the outcome's variance, net of the effects, that the terms account for.
    condition_number : of the regressors net of the effects, each scaled to unit length.
    n_obs, n_units, n_periods, n_clusters : used.
    rows_in : rows of the panel; `lost` : reason -> rows not used.
    convention : the small-sample convention, in words.
    warnings : what makes a right number fragile.
    """

    spec: PanelSpec
    terms: tuple[str, ...]
    coef: np.ndarray
    vcov: np.ndarray
    df_t: int
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

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """One row per term: estimate in outcome units per unit of the term, t interval."""
        std_error = np.sqrt(np.diag(self.vcov))
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = self.coef / std_error
        low, high = t_interval(self.coef, std_error, self.df_t, conf_level)
        return pd.DataFrame(
            {
                "term": list(self.terms),
                "estimate": self.coef,
                "std_error": std_error,
                "statistic": statistic,
                "p_value": t_p_values(statistic, self.df_t),
                "conf_low": low,
                "conf_high": high,
                "conf_level": conf_level,
            }
        )

    def glance(self) -> pd.DataFrame:
        """One row: counts, rows lost and why, fit, conventions, warnings."""
        return pd.DataFrame(
            {
                "outcome": [self.spec.outcome],
                "estimator": self.spec.estimator,
                "absorbed": " + ".join(_absorbed(self.spec)) or "constant",
                "vcov": self.spec.vcov,
                "n_obs": self.n_obs,
                "n_units": self.n_units,
                "n_periods": self.n_periods,
                "n_clusters": self.n_clusters,
                "rows_in": self.rows_in,
                "rows_lost": sum(self.lost.values()),
                "lost": "; ".join(f"{n} {reason}" for reason, n in self.lost.items()),
                "r2": self.r2,
                "df_t": self.df_t,
                "condition_number": self.condition_number,
                "convention": self.convention,
                "warnings": "; ".join(self.warnings),
            }
        )

    def _headline(self) -> str:
        return f"{self.spec.outcome}: {self.spec.estimator} estimates, {self.n_obs} rows"


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
    CR1 factor G/(G-1) * (n-1)/(n-k-k_absorbed): absorbed effects nested in clusters cost 1, others
    their levels minus one; t on G-1 degrees of freedom. HC1 and unadjusted errors charge every
    absorbed level. CR3 is the leave-one-cluster-out jackknife with (G-1)/G.
    Source: Cameron and Miller (2015), J. Human Resources 50(2), 317-372.

    Examples
    --------
    >>> rows = pd.DataFrame({"unit": list("AAABBB"), "period": [1, 2, 3] * 2,
    ...                      "x": [1.0, 2, 3, 1, 4, 5], "y": [2.0, 4, 6, 1, 7, 9]})
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> result = fit_panel(panel, PanelSpec(outcome="y", exposures=("x",), absorb=("unit",)))
    >>> float(result.coef[0].round(6))
    2.0
    """
    design, moments, names, absorb = compress_panel(panel, spec)
    equation = fit_equation(moments, 0, range(1, len(names) + 1), names, absorb)
    df_rows = design.n_obs - len(names) - _levels(design, moments, absorb)
    clustered = spec.vcov in ("cluster", "jackknife")
    return PanelResult(
        spec=spec,
        terms=names,
        coef=equation.coef,
        vcov=_vcov(spec, design, moments, equation, df_rows),
        df_t=design.n_clusters - 1 if clustered else df_rows,
        r2=1 - equation.rss / equation.tss if equation.tss > 0 else np.nan,
        condition_number=equation.condition_number,
        n_obs=design.n_obs,
        n_units=design.n_units,
        n_periods=design.n_periods,
        n_clusters=design.n_clusters,
        rows_in=design.rows_in,
        lost=design.lost,
        convention=_CONVENTIONS[spec.vcov],
        warnings=_warnings(panel, spec, design, equation),
    )


class CompressedPanel(NamedTuple):
    """The rows that a spec uses, and their moments: columns are the outcome, then the terms."""

    design: Design
    moments: ClusterMoments
    terms: tuple[str, ...]
    absorbed: tuple[str, ...]


def compress_panel(panel: Panel, spec: PanelSpec) -> CompressedPanel:
    """What `fit_panel` fits, before it is fitted; resampling and influence start here.

    Raises
    ------
    SpecError : as `fit_panel`.
    """
    _check_spec(panel, spec)
    design, absorbed = _design(panel, spec), _absorbed(spec)
    constant = spec.estimator != "first_difference"
    moments = ClusterMoments(design.moment_rows(absorbed, constant=constant))
    return CompressedPanel(design, moments, tuple(_term_names(spec)), absorbed)


_CONVENTIONS = {
    "unadjusted": "unadjusted: rss / (n - k - absorbed levels); t on the same",
    "robust": "HC1: n / (n - k - absorbed levels); t on the same",
    "cluster": (
        "CR1: G/(G-1) * (n-1)/(n - k - k_absorbed), effects nested in clusters cost 1; t(G-1)"
    ),
    "jackknife": "CR3: leave one cluster out, (G-1)/G, all effects re-estimated; t(G-1)",
}


def _absorbed(spec: PanelSpec) -> tuple[str, ...]:
    if spec.estimator == "within":
        return tuple(effect for effect in ("unit", "period") if effect in spec.absorb)
    if spec.estimator == "first_difference" and "period" in spec.absorb:
        return ("period",)
    return ()


def term_name(term: str, spec: PanelSpec) -> str:
    """Name of an exposure's coefficient, e.g. x_lag1 (x_lead1 for a negative lag)."""
    if spec.lag == 0 or term not in spec.exposures:
        return term
    return f"{term}_lag{spec.lag}" if spec.lag > 0 else f"{term}_lead{-spec.lag}"


def _term_names(spec: PanelSpec) -> list[str]:
    return [term_name(term, spec) for term in spec.exposures] + list(spec.controls)


def _check_spec(panel: Panel, spec: PanelSpec) -> None:
    choices = {"estimator": get_args(Estimator), "vcov": get_args(Vcov)}
    for name, allowed in choices.items():
        value = getattr(spec, name)
        if value not in allowed:
            raise SpecError(
                f"{name}={value!r} is not one of {', '.join(allowed)}.{nearest(value, allowed)}"
            )
    if isinstance(spec.exposures, str) or isinstance(spec.controls, str):
        raise SpecError("exposures and controls are tuples of terms: write ('x',), not 'x'.")
    if not spec.exposures:
        raise SpecError("The spec names no exposure. Give at least one column in `exposures`.")
    if not set(spec.absorb) <= set(get_args(Effect)):
        raise SpecError(
            f"absorb={spec.absorb!r} is not a tuple of effects. Choose from ('unit', 'period'), "
            "('unit',), ('period',) and ()."
        )
    terms = [*_term_names(spec)]
    repeated = {term for term in terms if terms.count(term) > 1 or term == spec.outcome}
    if repeated:
        raise SpecError(
            f"The terms name {', '.join(map(repr, sorted(repeated)))} more than once, or also as "
            "the outcome. Name each column once."
        )
    for term in (spec.outcome, *spec.exposures, *spec.controls):
        term_columns(panel, term)


def _design(panel: Panel, spec: PanelSpec) -> Design:
    terms = [
        DesignTerm(spec.outcome),
        *(DesignTerm(term, spec.lag) for term in spec.exposures),
        *(DesignTerm(term) for term in spec.controls),
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


def _levels(design: Design, moments: ClusterMoments, absorb: tuple[str, ...]) -> int:
    """Every absorbed level, constant included: what unadjusted and robust errors charge."""
    return (design.n_units if "unit" in absorb else 0) + moments.period_rank


def _vcov(
    spec: PanelSpec, design: Design, moments: ClusterMoments, equation: Equation, df_rows: int
) -> np.ndarray:
    n, p = design.n_obs, len(equation.coef)
    if spec.vcov == "jackknife":
        check_resampling(equation)
        chosen = list(range(1, p + 1))
        left_out = solve_equation(moments.leave_one_out(), 0, chosen, moments.before)
        return jackknife_vcov(left_out, equation.coef)
    if spec.vcov == "cluster":
        nested = int("unit" in _absorbed(spec)) + moments.period_rank
        factor = cluster_factor(design.n_clusters, n, p, nested)
        return factor * sandwich(equation.bread, equation.scores)
    if df_rows < 1:
        raise InferenceError(
            f"{n} rows cannot carry {p} coefficients and {n - p - df_rows} absorbed levels. Add "
            "rows, or absorb fewer effects."
        )
    if spec.vcov == "unadjusted":
        return equation.rss / df_rows * equation.bread
    return n / df_rows * sandwich(equation.bread, _row_scores(moments, equation))


def _row_scores(moments: ClusterMoments, equation: Equation) -> np.ndarray:
    """Each row's regressors times its residual (and weight), shape (n, p)."""
    rows = np.concatenate([block.copy() for block in moments.demeaned()], axis=1)
    weights = moments.rows.weights
    residual = equation.contrast @ rows
    scored = residual if weights is None else residual * weights
    return (rows[1:] * scored).T


def _warnings(panel: Panel, spec: PanelSpec, design: Design, equation: Equation) -> tuple[str, ...]:
    found = []
    if spec.vcov in ("cluster", "jackknife") and design.n_clusters < FEW_CLUSTERS:
        found.append(
            f"{design.n_clusters} clusters, fewer than {FEW_CLUSTERS}: CR1 errors are too small; "
            "compare vcov='jackknife'"
        )
    if design.n_periods == 1 or (spec.estimator == "between"):
        found.append("compares units with each other: no statement about change within a unit")
    found += same_source(panel, [spec.outcome], spec.exposures)
    if equation.coarseness > ILL_CONDITIONED:
        found.append(
            "regressors nearly dependent on each other or on the period effects (condition number "
            f"{equation.coarseness:.1e}): solved from the rows by QR"
        )
    if equation.rss < PERFECT * equation.tss:
        found.append("the terms reproduce the outcome exactly: is one of them the outcome itself?")
    return tuple(found)
