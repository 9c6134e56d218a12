"""Weights for an outcome that is known with error, such as a net promoter score of few answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ex_cx.errors import InferenceError, SpecError, nearest
from ex_cx.estimation.design import DesignTerm, term_values
from ex_cx.estimation.moments import ClusterMoments
from ex_cx.linkage.panel import Panel
from ex_cx.models.regress import CompressedPanel, compress_panel, fit_panel
from ex_cx.models.spec import PanelSpec

__all__ = ["PrecisionWeights", "compare_precision", "precision_weights"]

Errors = Literal["own", "pooled"]
TIED = 0.2
"""Correlation of outcome and squared standard errors beyond which own errors are warned of."""
_CLOSE = 1e-13
"""Relative change of the variance between units' months at which its search stops."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrecisionWeights:
    """A panel with weights 1 / (tau_squared + se^2), and how they came about.

    Attributes
    ----------
    panel : the rows given, with the weights as a column and as the panel's own weights.
    column : name of the weights; missing where there is no standard error.
    errors : own or pooled.
    tau_squared : variance of the outcome's errors beyond sampling, net of terms and effects.
    sampling_variance : mean of se^2 over the rows used.
    n_obs, rows_in : rows used to find tau_squared, and rows of the panel.
    lost : reason -> rows without a weight, or of no use to the spec.
    warnings : what makes the weights fragile.
    """

    panel: Panel
    column: str
    errors: Errors
    tau_squared: float
    sampling_variance: float
    n_obs: int
    rows_in: int
    lost: dict[str, int]
    warnings: tuple[str, ...]

    def glance(self) -> pd.DataFrame:
        """One row: variances, counts, rows lost and why, warnings."""
        total = self.tau_squared + self.sampling_variance
        return pd.DataFrame(
            {
                "weights": [self.column],
                "errors": self.errors,
                "tau_squared": self.tau_squared,
                "sampling_variance": self.sampling_variance,
                "sampling_share": self.sampling_variance / total if total > 0 else np.nan,
                "n_obs": self.n_obs,
                "rows_in": self.rows_in,
                "rows_lost": sum(self.lost.values()),
                "lost": "; ".join(f"{n} {reason}" for reason, n in self.lost.items()),
                "convention": "1 / (tau^2 + se^2), tau^2 of Paule and Mandel: the weighted sum of "
                "squared residuals equals its degrees of freedom",
                "warnings": "; ".join(self.warnings),
            }
        )


def precision_weights(
    panel: Panel,
    spec: PanelSpec,
    *,
    errors: Errors = "pooled",
    std_error: str | None = None,
    count: str | None = None,
) -> PrecisionWeights:
    """Weight each row by the inverse variance of its outcome, sampling error included.

    Parameters
    ----------
    panel : unit x period rows, without weights of its own.
    spec : a within regression whose outcome has the errors; its terms and effects are taken out
        before the variance beyond sampling is found.
    errors : pooled (the rows' standard errors make one variance of an answer, which is divided by
        each row's answers) or own (each row's standard error as it is). Own errors of a score are
        made of the same answers as the score, and shrink as it nears its ends: lucky draws weigh
        most, and the estimate is pulled. Pooled ones depend on the number of answers only, and
        exist where an error is withheld.
    std_error, count : columns; None means `<outcome>_se` and `<outcome>_n`.

    Returns
    -------
    The panel with the weights; `fit_panel(weights.panel, spec)` uses them. Rows that lack what a
    weight is made of (an error that is suppressed, no answers) have none, and are counted.

    Raises
    ------
    SpecError : weights already there, an estimator other than within, columns that do not exist,
        text, negative or infinite errors or counts.
    InferenceError : no degrees of freedom, or errors of zero and no variance beyond them.

    Notes
    -----
    y = b'x + effects + u + e with Var(u) = tau^2 and Var(e) = se^2: tau^2 solves
    sum (residual^2 / (tau^2 + se^2)) = n - k - effects, and is 0 where sampling alone explains the
    residuals. Weights are then taken as known; clustered errors do not need them to be right.
    Source: Paule and Mandel (1982), J. Research NBS 87(5), 377-385; DerSimonian and Kacker (2007),
    Contemporary Clinical Trials 28(2), 105-114.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> rows = pd.DataFrame({"unit": np.arange(400) // 8, "period": np.arange(400) % 8})
    >>> rows["nps_se"] = rng.uniform(5, 20, 400)
    >>> rows["nps"] = 5 * rng.normal(size=400) + rows["nps_se"] * rng.normal(size=400)
    >>> rows["x"] = rng.normal(size=400)
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = PanelSpec(outcome="nps", exposures=("x",))
    >>> found = precision_weights(panel, spec, errors="own")
    >>> bool(10 < found.tau_squared < 50)  # truth 25
    True
    """
    _check(panel, spec, errors)
    variance, reason = _sampling_variance(panel, spec, errors, std_error, count)
    column = f"{spec.outcome}_precision"
    if column in panel.frame.columns:
        raise SpecError(
            f"The panel has a column {column!r} already. Rename it, or start from one without it."
        )
    known = np.where(np.isfinite(variance), 1.0, np.nan)
    unweighted = f"weight missing or zero ({column})"
    try:
        compressed = compress_panel(_weighted(panel, column, known), spec)
    except SpecError as error:
        raise SpecError(str(error).replace(unweighted, reason)) from error
    rows = variance[compressed.design.source]
    tau_squared = _paule_mandel(compressed, rows)
    with np.errstate(divide="ignore"):
        weights = 1 / (tau_squared + variance)
    return PrecisionWeights(
        panel=_weighted(panel, column, weights),
        column=column,
        errors=errors,
        tau_squared=tau_squared,
        sampling_variance=float(rows.mean()),
        n_obs=len(rows),
        rows_in=len(panel),
        lost={why.replace(unweighted, reason): n for why, n in compressed.design.lost.items()},
        warnings=_warnings(compressed, rows, tau_squared, errors),
    )


def compare_precision(panel: Panel, spec: PanelSpec, *, conf_level: float = 0.95) -> pd.DataFrame:
    """The terms of a spec without weights and with each kind of them, side by side.

    Parameters
    ----------
    panel, spec : as for `precision_weights`; the outcome has `<outcome>_se` and `<outcome>_n`.

    Returns
    -------
    The tidy columns, then weighting, n_obs, n_clusters, tau_squared; one row per weighting and
    term. `none, all rows` uses every row; all others the same rows: those with a standard error.
    Weightings: none, responses (the count of answers), own errors, pooled errors.
    """
    own = precision_weights(panel, spec, errors="own")
    pooled = precision_weights(panel, spec)
    column = own.column
    shown = np.isfinite(own.panel.frame[column].to_numpy())
    counts = panel.column(f"{spec.outcome}_n").to_numpy(dtype=float, na_value=np.nan)
    kinds = {
        "none, all rows": (panel, np.nan),
        "none": (_weighted(panel, column, np.where(shown, 1.0, np.nan)), np.nan),
        "responses": (_weighted(panel, column, np.where(shown, counts, np.nan)), np.nan),
        "own errors": (own.panel, own.tau_squared),
    }
    held = np.where(shown, pooled.panel.frame[column].to_numpy(), np.nan)
    kinds["pooled errors"] = (_weighted(panel, column, held), pooled.tau_squared)
    frames = []
    for weighting, (rows, tau_squared) in kinds.items():
        result = fit_panel(rows, spec)
        frames.append(
            result.tidy(conf_level).assign(
                weighting=weighting,
                n_obs=result.n_obs,
                n_clusters=result.n_clusters,
                tau_squared=tau_squared,
            )
        )
    return pd.concat(frames, ignore_index=True)


def _warnings(
    compressed: CompressedPanel, variance: np.ndarray, tau_squared: float, errors: Errors
) -> tuple[str, ...]:
    found = []
    if tau_squared == 0:
        found.append(
            "sampling errors account for all that is left of the outcome: tau^2 is 0, and the "
            "weights are those of the standard errors alone"
        )
    zero = int((variance == 0).sum())
    if zero:
        found.append(
            f"{zero} rows have a standard error of 0 (all answers alike) and weigh most; compare "
            "errors='pooled'"
        )
    if errors == "own" and np.ptp(variance) > 0:
        tied = float(np.corrcoef(compressed.design.columns[0], variance)[0, 1])
        if abs(tied) > TIED:
            found.append(
                f"the squared standard errors go along with the outcome (correlation {tied:.2f}), "
                "so that weights depend on what they weigh and pull the estimate; compare "
                "errors='pooled'"
            )
    return tuple(found)


def _check(panel: Panel, spec: PanelSpec, errors: str) -> None:
    if errors not in get_args(Errors):
        raise SpecError(
            f"errors={errors!r} is not one of {', '.join(get_args(Errors))}."
            f"{nearest(errors, get_args(Errors))}"
        )
    if spec.estimator != "within":
        raise SpecError(
            f"Precision weights are found for estimator='within', not {spec.estimator!r}. Find "
            "them so, then use their column in `weights`."
        )
    if spec.weights or panel.weights:
        raise SpecError(
            f"The rows have weights already ({spec.weights or panel.weights!r}), which precision "
            "weights would replace. Leave them out of the spec and of the panel."
        )


def _sampling_variance(
    panel: Panel, spec: PanelSpec, errors: Errors, std_error: str | None, count: str | None
) -> tuple[np.ndarray, str]:
    """Variance of each row's sampling error, NaN where unknown; why rows have none, in words."""
    error = std_error or f"{spec.outcome}_se"
    values = _column(panel, error, "standard errors")
    if errors == "own":
        return values**2, f"no standard error ({error})"
    name = count or f"{spec.outcome}_n"
    answers = _column(panel, name, "counts of answers")
    answers = np.where(answers > 0, answers, np.nan)
    both = np.isfinite(values) & np.isfinite(answers)
    if not both.any():
        raise SpecError(f"No row has both {error!r} and {name!r}, so there is nothing to pool.")
    one_answer = (answers[both] ** 2 * values[both] ** 2).sum() / answers[both].sum()
    return one_answer / answers, f"no answers counted ({name})"


def _column(panel: Panel, name: str, what: str) -> np.ndarray:
    if name not in panel.frame.columns:
        raise SpecError(
            f"There is no column {name!r} of {what} in the panel."
            f"{nearest(name, panel.frame.columns)} Name it with std_error= or count=."
        )
    values = term_values(panel, DesignTerm(name))
    if (values < 0).any():
        raise SpecError(f"{int((values < 0).sum())} {what} in {name!r} are negative. Correct them.")
    return values


def _weighted(panel: Panel, column: str, weights: np.ndarray) -> Panel:
    return replace(panel, frame=panel.frame.assign(**{column: weights}), weights=column)


def _paule_mandel(compressed: CompressedPanel, variance: np.ndarray) -> float:
    """The tau^2 at which the weighted residual sum of squares equals its degrees of freedom."""
    from scipy.optimize import brentq

    design, moments = compressed.design, compressed.moments
    units = design.n_units if "unit" in compressed.absorbed else 0
    df = design.n_obs - len(compressed.terms) - units - moments.period_rank
    if df < 1:
        raise InferenceError(
            f"{design.n_obs} rows leave no degrees of freedom beyond the terms and effects, so "
            "the variance beyond sampling cannot be found. Absorb fewer effects."
        )

    def excess(tau_squared: float) -> float:
        weights = 1 / (tau_squared + variance)
        rows = replace(design, weights=weights).moment_rows(compressed.absorbed)
        fitted = compressed._replace(moments=ClusterMoments(rows)).equation()
        return fitted.rss / df - 1

    most = compressed.equation().rss / df
    if variance.min() > 0 and excess(0.0) <= 0:
        return 0.0
    least = 0.0 if variance.min() > 0 else 1e-9 * most
    if least > 0 and excess(least) <= 0:
        raise InferenceError(
            f"{int((variance == 0).sum())} rows have a standard error of 0 and no variance is left "
            "beyond sampling, so that they would weigh infinitely. Use errors='pooled'."
        )
    if excess(most) >= 0:
        return float(most)
    return float(brentq(excess, least, most, xtol=_CLOSE * most, rtol=1e-14))
