"""Regression of a rate: logit of a share, with unit means, in percentage points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ex_cx.errors import InferenceError
from ex_cx.estimation.design import same_source
from ex_cx.estimation.inference import cluster_factor, t_columns
from ex_cx.estimation.logit import average_partial_effects, fit_logit
from ex_cx.linkage.panel import Panel
from ex_cx.models.rate_rows import RateRows, rate_columns, rate_rows, rate_slopes
from ex_cx.models.rate_spec import RateSpec, check_rate_spec
from ex_cx.results import Result, sample_counts

__all__ = ["RateResult", "RateSpec", "fit_rate"]

FEW_CLUSTERS = 40
"""Below this many clusters clustered errors are known to be too small (Cameron and Miller 2015)."""
CONVENTION = (
    "average partial effects: derivative of the fitted share, averaged over the rows used (and, at "
    "0, those that their period's dummy fits) with the weights of the likelihood; delta method, "
    "rows as given; CR1: G/(G-1) * (n-1)/(n-k), k every coefficient of the logit; t(G-1)"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RateResult(Result):
    """Estimates from one regression of a rate.

    Attributes
    ----------
    spec : the request, verbatim; `weights` : column of the rows' weights, if any.
    variables : names of the m variables whose effects are shown: the columns of the terms (with
        their lag). A column's effect runs through all terms that hold it.
    effects : shape (m,), percentage points of the outcome per one unit of the variable.
    vcov : shape (m, m), clustered.
    names, coef, coef_vcov : the p coefficients of the logit, log-odds per unit, and their
        covariance: `(constant)`, the terms, `<term>_between` for unit means, then the rest.
    df_t : clusters minus one.
    mean_pct : mean of the outcome in per cent, with the weights of the likelihood.
    dispersion : Pearson chi-square / (n - p): above 1 where rates vary more than binomial sampling
        makes them (clustered errors allow for it); missing without a denominator.
    n_obs, n_units, n_periods, n_clusters : used.
    rows_in : rows of the panel; `lost` : reason -> rows not used.
    steps : iterations of the fit.
    warnings : what makes a right number fragile.
    """

    spec: RateSpec
    weights: str | None
    variables: tuple[str, ...]
    effects: np.ndarray
    vcov: np.ndarray
    names: tuple[str, ...]
    coef: np.ndarray
    coef_vcov: np.ndarray
    df_t: int
    mean_pct: float
    dispersion: float
    n_obs: int
    n_units: int
    n_periods: int
    n_clusters: int
    rows_in: int
    lost: dict[str, int]
    steps: int
    warnings: tuple[str, ...]

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """One row per variable: percentage points of the outcome per unit of it, t interval."""
        return _tidy(self.variables, self.effects, self.vcov, self.df_t, conf_level)

    def coefficients(self, conf_level: float = 0.95) -> pd.DataFrame:
        """The tidy columns for every coefficient of the logit: log-odds per unit."""
        return _tidy(self.names, self.coef, self.coef_vcov, self.df_t, conf_level)

    def glance(self) -> pd.DataFrame:
        """One row: counts, rows lost and why, likelihood, conventions, warnings."""
        spec = self.spec
        return pd.DataFrame(
            {
                "outcome": [spec.outcome],
                "scale": spec.scale,
                "likelihood": _likelihood(spec, self.weights),
                "unit_means": ", ".join(n for n in self.names if n.endswith("_between")),
                "period_dummies": spec.periods,
                "mean_pct": self.mean_pct,
                "dispersion": self.dispersion,
                **sample_counts(self),
                "df_t": self.df_t,
                "iterations": self.steps,
                "convention": CONVENTION,
                "warnings": "; ".join(self.warnings),
            }
        )

    def _headline(self) -> str:
        return f"{self.spec.outcome}: {_likelihood(self.spec, self.weights)}, {self.n_obs} rows"


def fit_rate(panel: Panel, spec: RateSpec) -> RateResult:
    """Estimate one regression of a rate between 0 and 1 (or 0 and 100 per cent).

    Parameters
    ----------
    panel : unit x period rows.
    spec : what to estimate.

    Returns
    -------
    Average partial effects in percentage points, which compare directly with the coefficients of
    `fit_panel` on a rate in per cent, and the logit behind them.

    Raises
    ------
    SpecError : a column or choice that does not exist, rates outside their scale, no usable row.
    RankError : a coefficient that is not identified: a constant or collinear term, a rate that
        never varies, separation.
    InferenceError : fewer than two clusters, more parameters than rows, no convergence.

    Notes
    -----
    E(y | x) = 1 / (1 + exp(-(a + b'x + c'unit means + period))), by quasi-maximum likelihood; y may
    be 0 or 1. Unit means are taken over the rows used, with the weights of the likelihood: the
    logit then compares a unit with itself so far as unit effects depend on the terms through these
    means (and, in unbalanced panels, the number of rows). The effect of a column is the derivative
    of the share by it, its unit mean held fixed, also for columns that are 0 or 1. Errors hold the
    rows as given (the default of Stata's margins), so that they speak of these rows' mean effect.
    Source: Papke and Wooldridge (2008), J. Econometrics 145(1-2), 121-133; Wooldridge (2019),
    J. Econometrics 211(1), 137-150, for unbalanced panels.

    Examples
    --------
    >>> rows = pd.DataFrame({"unit": np.arange(80) // 4, "period": np.arange(80) % 4, "n": 50})
    >>> rows["x"] = np.sin(np.arange(80.0))
    >>> rows["left"] = 1 / (1 + np.exp(3 - 0.5 * rows["x"]))
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = RateSpec(outcome="left", exposures=("x",), scale="share", denominator="n")
    >>> result = fit_rate(panel, spec)
    >>> result.coefficients().set_index("term")["estimate"].round(6)["x"]
    np.float64(0.5)
    """
    check_rate_spec(panel, spec)
    sample = rate_rows(panel, spec)
    if sample.n_clusters < 2:
        raise InferenceError(
            f"Clustered errors need at least 2 clusters; the rows used have {sample.n_clusters}. "
            "Add clusters, or cluster by a finer column."
        )
    x, names, caution = rate_columns(sample, spec)
    factor = cluster_factor(sample.n_clusters, len(x), x.shape[1], 0)
    fit = fit_logit(x, sample.y, sample.weights, sample.cluster_starts, names)
    coef_vcov = factor * fit.influence.T @ fit.influence
    slopes = rate_slopes(sample, names)
    mass = sample.weights / sample.mass
    effects, influence = average_partial_effects(fit, list(slopes.values()), mass)
    return RateResult(
        spec=spec,
        weights=spec.denominator or panel.weights,
        variables=tuple(slopes),
        effects=100 * effects,
        vcov=1e4 * factor * influence.T @ influence,
        names=tuple(names),
        coef=fit.coef,
        coef_vcov=coef_vcov,
        df_t=sample.n_clusters - 1,
        mean_pct=100 * float(np.average(sample.y, weights=sample.weights)),
        dispersion=fit.dispersion if spec.denominator else np.nan,
        n_obs=len(x),
        n_units=len(sample.unit_starts),
        n_periods=len(np.unique(sample.periods)),
        n_clusters=sample.n_clusters,
        rows_in=sample.rows_in,
        lost=sample.lost,
        steps=fit.steps,
        warnings=(*_warnings(panel, spec, sample), *caution),
    )


def _warnings(panel: Panel, spec: RateSpec, sample: RateRows) -> tuple[str, ...]:
    found = []
    if sample.n_clusters < FEW_CLUSTERS:
        found.append(
            f"{sample.n_clusters} clusters, fewer than {FEW_CLUSTERS}: clustered errors tend to be "
            "too small; compare `wild_cluster_test` on the rate as a straight line"
        )
    lengths = np.diff(sample.unit_starts, append=len(sample.y))
    if spec.unit_means and np.ptp(lengths):
        found.append(
            f"units have {lengths.min()} to {lengths.max()} rows: unit means and the number of "
            "rows stand for the unit effects, which is approximate (Wooldridge 2019)"
        )
    if not spec.unit_means or lengths.max() == 1:
        found.append("compares units with each other: no statement about change within a unit")
    if spec.scale == "percent" and sample.y.max() <= 0.01:
        found.append(
            f"every {spec.outcome} is 1 per cent or less: if the column holds shares, say "
            "scale='share'"
        )
    return (*found, *same_source(panel, [spec.outcome], spec.exposures))


def _likelihood(spec: RateSpec, weights: str | None) -> str:
    if spec.denominator:
        return f"binomial logit, counts of {spec.denominator}"
    weighted = f", weighted by {weights}" if weights else ""
    return f"fractional logit (Bernoulli quasi-likelihood{weighted})"


def _tidy(
    names: tuple[str, ...],
    estimate: np.ndarray,
    vcov: np.ndarray,
    df_t: int,
    conf_level: float,
) -> pd.DataFrame:
    columns = t_columns(estimate, np.sqrt(np.diag(vcov)), df_t, conf_level)
    return pd.DataFrame({"term": list(names)} | columns)
