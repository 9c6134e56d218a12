"""Dynamic panels: y_it = r' y_i,t-1..p + b' x_it + unit effect + period effect + e_it, by GMM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ex_cx.errors import InferenceError
from ex_cx.estimation.design import same_source
from ex_cx.estimation.gmm import GmmFit, fit_gmm
from ex_cx.estimation.gmm_rows import GmmTerm, build_gmm_rows
from ex_cx.estimation.inference import t_columns, t_p_values
from ex_cx.linkage.panel import Panel
from ex_cx.models.dynamic_spec import DynamicSpec, DynamicTerm, check_dynamic
from ex_cx.results import Result

__all__ = ["DynamicResult", "DynamicSpec", "DynamicTerm", "fit_dynamic"]

FEW_UNITS = 40
"""Below this many units the normal and chi-squared limits are doubtful."""
ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class DynamicResult(Result):
    """Estimates from one dynamic panel model.

    Attributes
    ----------
    spec : the request, verbatim.
    names : the k coefficients: lags of the outcome, then terms with their lags.
    coef : shape (k,), outcome units per one unit of the term.
    vcov : shape (k, k), clustered by unit.
    ar : normal statistics of serial correlation of order 1 and 2 in differenced residuals. Order 1
        is there by construction; order 2 contradicts instruments from lag 2.
    sargan, hansen : tests of the overidentifying restrictions, chi-squared on `overid_df`; Sargan
        assumes one error variance and is NaN for the system; Hansen is robust.
    n_instruments : independent columns; `n_dependent` more were combinations of these.
    condition_number : of the terms as the instruments see them.
    n_obs, n_units, n_periods : rows used (changes, or levels for the system), and whose.
    rows_in : rows of the panel; `lost` : reason -> rows not used.
    convention : in words; `warnings` : what makes a right number fragile.
    """

    spec: DynamicSpec
    names: tuple[str, ...]
    coef: np.ndarray
    vcov: np.ndarray
    ar: tuple[float, float]
    sargan: float
    hansen: float
    overid_df: int
    n_instruments: int
    n_dependent: int
    condition_number: float
    n_obs: int
    n_units: int
    n_periods: int
    rows_in: int
    lost: dict[str, int]
    convention: str
    warnings: tuple[str, ...]

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """One row per term: estimate in outcome units per unit of the term, normal interval."""
        columns = t_columns(self.coef, np.sqrt(np.diag(self.vcov)), np.inf, conf_level)
        return pd.DataFrame({"term": list(self.names)} | columns)

    def glance(self) -> pd.DataFrame:
        """One row: counts, rows lost and why, tests of the instruments, conventions, warnings."""
        ar1_p, ar2_p = _two_sided(self.ar)
        return pd.DataFrame(
            {
                "outcome": [self.spec.outcome],
                "estimator": f"{self.spec.estimator} GMM, {_steps(self.spec)}",
                "vcov": self.spec.vcov,
                "n_obs": self.n_obs,
                "n_units": self.n_units,
                "n_periods": self.n_periods,
                "n_clusters": self.n_units,
                "rows_in": self.rows_in,
                "rows_lost": sum(self.lost.values()),
                "lost": "; ".join(f"{n} {reason}" for reason, n in self.lost.items()),
                "n_instruments": self.n_instruments,
                "n_instruments_dependent": self.n_dependent,
                "ar1": self.ar[0],
                "ar1_p": ar1_p,
                "ar2": self.ar[1],
                "ar2_p": ar2_p,
                "overid_df": self.overid_df,
                "sargan": self.sargan,
                "sargan_p": _upper_tail(self.sargan, self.overid_df),
                "hansen": self.hansen,
                "hansen_p": _upper_tail(self.hansen, self.overid_df),
                "df_t": np.inf,
                "condition_number": self.condition_number,
                "convention": self.convention,
                "warnings": "; ".join(self.warnings),
            }
        )

    def _headline(self) -> str:
        return (
            f"{self.spec.outcome}: {self.spec.estimator} GMM, {_steps(self.spec)}, "
            f"{self.n_obs} rows, {self.n_instruments} instruments"
        )


def fit_dynamic(panel: Panel, spec: DynamicSpec) -> DynamicResult:
    """Estimate a model in which the outcome depends on its own past.

    Unit effects make the lagged outcome correlated with the error of a within regression, which
    biases it by about -(1 + r)/(T - 1) (Nickell 1981). Here unit effects are differenced out and
    the change of the lagged outcome is instrumented with earlier levels: many units, few periods.

    Parameters
    ----------
    panel : unit x period rows without weights; the clusters are the units.
    spec : what to estimate.

    Returns
    -------
    Estimates with errors clustered by unit, and the tests that the instruments must pass. Period
    effects are estimated and not shown. Rows that cannot be used are counted by reason.

    Raises
    ------
    SpecError : a column or choice that does not exist, lags longer than the panel, no usable row.
    RankError : a coefficient that the instruments do not identify.
    InferenceError : one unit; two-step weights that do not exist, as with more instruments than
        units.

    Notes
    -----
    Missing instruments are zero, and columns of zeros and dependent columns are not counted. For
    the system, the level at t is instrumented with the change at t - f + 1, f the first instrument
    lag of the term (as xtabond2 does; plm always takes t - 1); strict terms instrument the
    differenced equation only, and period effects (or the constant) the levels only. No
    small-sample factor; normal tails. The error variance in Sargan's test has n - K.
    Source: Arellano and Bond (1991), Rev. Econ. Studies 58(2), 277-297; Blundell and Bond (1998),
    J. Econometrics 87(1), 115-143; Windmeijer (2005), J. Econometrics 126(1), 25-51.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> y = rng.normal(size=200)
    >>> rows = []
    >>> for period in range(6):
    ...     y = 0.5 * y + rng.normal(size=200)
    ...     rows.append(pd.DataFrame({"unit": range(200), "period": period, "y": y}))
    >>> panel = Panel.from_frame(pd.concat(rows), unit="unit", period="period")
    >>> result = fit_dynamic(panel, DynamicSpec(outcome="y"))
    >>> result.n_obs, result.n_instruments, result.overid_df
    (800, 8, 3)
    >>> tidy = result.tidy().set_index("term")
    >>> bool(abs(tidy.loc["y_lag1", "estimate"] - 0.5) < 2 * tidy.loc["y_lag1", "std_error"])
    True
    """
    terms = check_dynamic(panel, spec)
    rows, counts = build_gmm_rows(
        panel,
        spec.outcome,
        terms,
        system=spec.estimator == "system",
        collapse=spec.collapse,
        period_effects=spec.period_effects,
    )
    if len(rows.y) < 2:
        raise InferenceError(
            f"GMM compares units, and only {len(rows.y)} of {panel.n_units} has usable rows. Use "
            "shorter lags, or add units."
        )
    fit = fit_gmm(
        rows, steps=spec.steps, corrected=spec.vcov == "robust", first_step=spec.first_step
    )
    k = len(rows.names)
    return DynamicResult(
        spec=spec,
        names=rows.names,
        coef=fit.coef[:k],
        vcov=fit.vcov[:k, :k],
        ar=fit.ar,
        sargan=fit.sargan,
        hansen=fit.hansen,
        overid_df=fit.df,
        n_instruments=fit.n_instruments,
        n_dependent=fit.n_dependent,
        condition_number=fit.condition_number,
        n_obs=counts.n_obs,
        n_units=len(rows.y),
        n_periods=counts.n_periods,
        rows_in=len(panel),
        lost=counts.lost,
        convention=_convention(spec),
        warnings=_warnings(panel, spec, terms, fit, len(rows.y)),
    )


def _convention(spec: DynamicSpec) -> str:
    weights = "(Z'MM'Z)^-1" if spec.first_step == "differenced" else "(Z'Z)^-1"
    errors = {
        (1, "robust"): "robust",
        (2, "robust"): "Windmeijer-corrected",
        (2, "unadjusted"): "uncorrected",
    }[spec.steps, spec.vcov]
    kind = "collapsed instruments" if spec.collapse else "instruments by period"
    return (
        f"{spec.estimator} GMM, {_steps(spec)}, first weights {weights}, {kind}; {errors} errors "
        "by unit, no small-sample factor; normal"
    )


def _warnings(
    panel: Panel, spec: DynamicSpec, terms: list[GmmTerm], fit: GmmFit, n_units: int
) -> tuple[str, ...]:
    found = []
    if fit.n_instruments >= n_units:
        found.append(
            f"{fit.n_instruments} instruments for {n_units} units: they overfit the outcome's past "
            "and disarm the Hansen test; set collapse=True or limit instrument lags"
        )
    if n_units < FEW_UNITS:
        found.append(
            f"{n_units} units, fewer than {FEW_UNITS}: normal and chi-squared limits are doubtful"
        )
    if np.isnan(fit.hansen):
        found.append(
            "no Hansen test: its weights do not exist with so many instruments for so few units"
        )
    ar2_p, hansen_p = float(_two_sided(fit.ar)[1]), _upper_tail(fit.hansen, fit.df)
    if ar2_p < ALPHA:
        found.append(
            f"serial correlation of order 2 (p = {ar2_p:.3g}): lag 2 is no valid instrument; add "
            "a lag of the outcome, or start instruments later"
        )
    if hansen_p < ALPHA:
        found.append(
            f"Hansen test rejects the instruments (p = {hansen_p:.3g}): at least one of them is "
            "related to the errors"
        )
    return (*found, *same_source(panel, [spec.outcome], [t.term for t in terms[1:]]))


def _steps(spec: DynamicSpec) -> str:
    return "one-step" if spec.steps == 1 else "two-step"


def _two_sided(statistics: tuple[float, ...]) -> np.ndarray:
    return t_p_values(np.array(statistics), np.inf)


def _upper_tail(statistic: float, df: int) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(df, statistic)) if df > 0 else np.nan
