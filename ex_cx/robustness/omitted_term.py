"""One coefficient and an omitted variable: robustness value, estimate left, implied strength."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["OmittedTerm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OmittedTerm:
    """A coefficient and what the formulas need of its equation.

    Attributes
    ----------
    label : its name in the tables. estimate, std_error, df_t : as reported, clustered if the spec
        says so.
    plain_error, dof : unadjusted standard error, and rows less every parameter.
    benchmarks : observed regressors; r2_term, r2_outcome : for each, its partial R2 with the term
        given the other regressors, and with the outcome given all others.
    """

    label: str
    estimate: float
    std_error: float
    df_t: float
    plain_error: float
    dof: int
    clustered: bool
    benchmarks: tuple[str, ...]
    r2_term: tuple[float, ...]
    r2_outcome: tuple[float, ...]

    @property
    def partial_f(self) -> float:
        """Cohen's f of the term with the outcome; infinite where nothing is left of the outcome."""
        if self.plain_error == 0:
            return float("inf")
        return abs(self.estimate) / (self.plain_error * float(np.sqrt(self.dof)))

    @property
    def df_adjusted(self) -> float:
        """Degrees of freedom with one more regressor: those of clusters do not change."""
        return self.df_t if self.clustered else self.df_t - 1

    def robustness_value(self, q: float, conf_level: float | None = None) -> float:
        """Share of both residual variances at which q of the estimate is gone.

        With `conf_level`: at which the interval of what is left reaches zero.
        """
        from scipy.special import stdtrit

        f, critical = q * self.partial_f, 0.0
        if np.isinf(f):
            return 1.0
        if conf_level is not None:
            quantile = stdtrit(self.df_adjusted, (1 + conf_level) / 2)
            inflation = self.std_error / self.plain_error
            critical = float(quantile * inflation / np.sqrt(self.dof - 1))
        left = f - critical
        if left <= 0:
            return 0.0
        if f * critical > 1:
            return float((f**2 - critical**2) / (1 + f**2))
        return float((np.sqrt(left**4 + 4 * left**2) - left**2) / 2)

    def adjusted(self, r2_term: float, r2_outcome: float) -> tuple[float, float]:
        """Estimate, moved towards zero and beyond, and standard error, with such a confounder.

        No error where it would explain all of the outcome: there is nothing left to estimate it by.
        """
        if not (0 <= r2_term < 1 and 0 <= r2_outcome <= 1):
            return float("nan"), float("nan")
        odds = r2_term / (1 - r2_term)
        bias = self.plain_error * np.sqrt(self.dof * r2_outcome * odds)
        shrink = np.sqrt((1 - r2_outcome) / (1 - r2_term) * self.dof / (self.dof - 1))
        error = float(self.std_error * shrink) if r2_outcome < 1 else float("nan")
        return float(self.estimate - np.sign(self.estimate) * bias), error

    def implied(self, at: int, strength: float) -> tuple[float, float]:
        """The most that a confounder `strength` times as strong as benchmark `at` can explain.

        NaN where that is more than there is.
        """
        r2_term, r2_outcome = self.r2_term[at], self.r2_outcome[at]
        of_term = strength * r2_term / (1 - r2_term)
        if of_term >= 1:
            return float("nan"), float("nan")
        between = strength * r2_term**2 / ((1 - strength * r2_term) * (1 - r2_term))
        if not 0 <= between < 1:
            return float("nan"), float("nan")
        if r2_outcome >= 1:
            return float(of_term), 1.0
        eta = (np.sqrt(strength) + np.sqrt(between)) / np.sqrt(1 - between)
        of_outcome = eta**2 * r2_outcome / (1 - r2_outcome)
        return float(of_term), float(min(of_outcome, 1.0))
