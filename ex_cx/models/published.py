"""Check a published mediation: from a printed correlation or covariance matrix and its rows.

Least squares needs no more than the covariances, so estimates and conventional errors of a path
model follow from what papers print. What the matrix does not hold (clusters, effects of units and
periods, curvature, outliers) it cannot answer for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ex_cx.errors import InferenceError, SpecError, nearest, some
from ex_cx.estimation.design import DesignTerm
from ex_cx.estimation.inference import (
    bootstrap_p_values,
    check_level,
    percentile_interval,
    t_interval,
    t_p_values,
)
from ex_cx.estimation.path_intervals import blank_shares, check_generator
from ex_cx.estimation.paths import PathModel, linear_paths
from ex_cx.estimation.printed import (
    MOST_DECIMALS,
    PrintedMatrix,
    joint_errors,
    read_printed,
    rounding_range,
)
from ex_cx.results import Result

__all__ = ["PublishedMediation", "fit_mediation_from_covariance"]

Structure = Literal["parallel", "serial"]
INDEPENDENT = (
    "rows are taken as independent: if they share units, teams or waves, errors are too small and "
    "the matrix cannot tell"
)
ROUNDING_DRAWS = 2000
"""Matrices that would be printed alike, drawn to see how far rounding may move the answer."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PublishedMediation(Result):
    """Paths and effects recomputed from a printed matrix, rows taken as independent.

    Attributes
    ----------
    outcome, exposure, mediators, controls, structure : the roles.
    terms, estimates : as in `MediationResult`; in standard deviations where `standardised`.
    errors : shape (terms,), conventional least-squares errors; of products by the delta method
        (Sobel); NaN for the proportion.
    df : shape (terms,), degrees of freedom of single coefficients; NaN for products.
    draws : shape (draws, terms), Monte Carlo from normal coefficients.
    rounding : columns term, estimate, lowest, highest, changes_sign: the estimates of matrices
        that would be printed alike.
    decimals : to which the matrix is taken to be printed.
    n : rows that the matrix is of.
    warnings : what makes a right number fragile.
    """

    outcome: str
    exposure: str
    mediators: tuple[str, ...]
    controls: tuple[str, ...]
    structure: Structure
    terms: tuple[str, ...]
    estimates: np.ndarray
    errors: np.ndarray
    df: np.ndarray
    draws: np.ndarray
    rounding: pd.DataFrame
    decimals: int
    standardised: bool
    n: int
    warnings: tuple[str, ...]

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """One row per term.

        a, b, d, direct and total have t intervals. Products have Monte Carlo percentile intervals
        and p-values, (1 + hits) / (1 + draws) in the smaller tail, doubled, and no statistic: their
        delta-method error is shown beside them, but estimate over error is not normal. The
        proportion mediated is missing where it is no share of the total.
        """
        check_level(conf_level)
        single = np.isfinite(self.df)
        low, high = percentile_interval(self.draws, conf_level)
        p_values = bootstrap_p_values(self.draws)
        df = np.where(single, self.df, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = np.where(single, self.estimates / self.errors, np.nan)
        t_low, t_high = t_interval(self.estimates, self.errors, df, conf_level)
        return blank_shares(
            {
                "term": list(self.terms),
                "estimate": self.estimates,
                "std_error": self.errors,
                "statistic": statistic,
                "p_value": np.where(single, t_p_values(statistic, df), p_values),
                "conf_low": np.where(single, t_low, low),
                "conf_high": np.where(single, t_high, high),
                "conf_level": np.full(len(self.terms), conf_level),
            }
        )

    def glance(self) -> pd.DataFrame:
        """One row: rows, units of the estimates, conventions, warnings."""
        return pd.DataFrame(
            {
                "outcome": [self.outcome],
                "exposure": self.exposure,
                "mediators": ", ".join(self.mediators),
                "controls": ", ".join(self.controls),
                "structure": self.structure,
                "n_obs": self.n,
                "standardised": self.standardised,
                "n_draws": len(self.draws),
                "decimals": self.decimals,
                "convention": (
                    "least squares from the matrix, errors on n less coefficients and constant; "
                    "products: Monte Carlo interval, delta-method error"
                ),
                "warnings": "; ".join(self.warnings),
            }
        )

    def _headline(self) -> str:
        through = ", ".join(self.mediators)
        return f"{self.exposure} -> {through} -> {self.outcome}, from a matrix of {self.n} rows"


def fit_mediation_from_covariance(
    covariance: pd.DataFrame,
    n: int,
    *,
    exposure: str,
    mediators: Sequence[str],
    outcome: str,
    controls: Sequence[str] = (),
    structure: Structure = "parallel",
    sd: Mapping[str, float] | None = None,
    decimals: int | None = None,
    n_draws: int = 20_000,
    rng: np.random.Generator,
) -> PublishedMediation:
    """Direct and indirect effects from a printed correlation or covariance matrix.

    Parameters
    ----------
    covariance : rows and columns named alike; one triangle may be missing, as printed. A diagonal
        of ones makes it a correlation matrix. It may hold more variables than are used.
    n : rows behind it, complete on all variables used.
    exposure, mediators, outcome, controls : names in the matrix.
    structure : parallel or serial, as in `MediationSpec`.
    sd : variable -> standard deviation, with a correlation matrix; without it the estimates are in
        standard deviations of the outcome per standard deviation.
    decimals : to which the matrix was printed; by default the most that an entry shows.
    n_draws : Monte Carlo draws; at least 999.
    rng : source of the draws.

    Raises
    ------
    SpecError : names that are missing, twice, or have two roles; a matrix that is not symmetric,
        holds gaps or correlations beyond 1, or that no data can have (not positive definite).
    InferenceError : n too small for the coefficients, or too few draws.

    Notes
    -----
    Errors are those of lm() in R and of PROCESS (n less coefficients and constant); maximum
    likelihood (lavaan, Mplus, AMOS) divides by n. Standardised estimates have the errors of
    regressions on standardised columns, which take the standard deviations as known. Rounding is
    explored by matrices drawn uniformly, and at the corners, within half a unit of the last decimal
    of each entry, standard deviations as given.
    Source: MacKinnon, Lockwood and Williams (2004), Multivariate Behavioral Research 39(1), 99-128,
    for the intervals; Sobel (1982), Sociological Methodology 13, 290-312, for the errors.

    Examples
    --------
    >>> names = ["x", "m", "y"]
    >>> printed = pd.DataFrame([[1, .4, .3], [.4, 1, .5], [.3, .5, 1]], names, names)
    >>> found = fit_mediation_from_covariance(printed, 200, exposure="x", mediators=["m"],
    ...                                       outcome="y", rng=np.random.default_rng(1))
    >>> found.tidy().set_index("term").loc["indirect", "estimate"].round(4)
    np.float64(0.181)
    """
    names = _roles(exposure, mediators, outcome, controls, structure)
    printed = read_printed(covariance, names, sd, decimals)
    model = linear_paths(
        outcome=DesignTerm(outcome),
        exposures=[DesignTerm(exposure)],
        mediators=[DesignTerm(m) for m in mediators],
        controls=[DesignTerm(c) for c in controls],
        serial=structure == "serial",
    )
    _check_sizes(n, n_draws, len(names))
    check_generator(rng)
    coef, vcov, dof = joint_errors(model, printed.matrix, n)
    rounding, possible = rounding_range(model, printed, ROUNDING_DRAWS, rng)
    return PublishedMediation(
        outcome=outcome,
        exposure=exposure,
        mediators=tuple(mediators),
        controls=tuple(controls),
        structure=structure,
        terms=model.terms,
        estimates=model.effects(coef[None])[0],
        draws=_draws(model, coef, vcov, n_draws, rng),
        rounding=rounding,
        decimals=printed.decimals,
        standardised=printed.standardised,
        n=n,
        warnings=_warnings(printed, rounding, possible),
        **_errors(model, coef, vcov, dof),
    )


def _roles(
    exposure: str,
    mediators: Sequence[str],
    outcome: str,
    controls: Sequence[str],
    structure: str,
) -> list[str]:
    """All names, the outcome first, each in one role."""
    if structure not in get_args(Structure):
        raise SpecError(
            f"structure={structure!r} is not one of {', '.join(get_args(Structure))}."
            f"{nearest(structure, get_args(Structure))}"
        )
    for several in (mediators, controls):
        if isinstance(several, str) or not isinstance(several, Sequence):
            raise SpecError("mediators and controls are lists of names: write ['m'], not 'm'.")
    if not mediators:
        raise SpecError("No mediator is named. Give at least one variable in `mediators`.")
    names = [outcome, exposure, *mediators, *controls]
    unnamed = [name for name in names if not isinstance(name, str)]
    if unnamed:
        raise SpecError(f"{some([repr(name) for name in unnamed])} is not a name. Names are text.")
    arrows = [name for name in mediators if "->" in name]
    if arrows:
        raise SpecError(
            f"{some(arrows)} holds '->', which separates the steps of a path. Rename it in the "
            "matrix."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError(
            f"{', '.join(map(repr, twice))} has more than one role. Give each variable one of "
            "outcome, exposure, mediator, control."
        )
    return names


def _check_sizes(n: int, n_draws: int, n_names: int) -> None:
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise SpecError(f"n={n!r} is the number of rows behind the matrix: a whole number.")
    if n - n_names < 1:
        raise InferenceError(
            f"n={n} rows cannot carry the {n_names - 1} coefficients and the constant of the "
            f"outcome's equation. At least {n_names + 1} are needed; is n the number of rows?"
        )
    if isinstance(n_draws, bool) or not isinstance(n_draws, int | np.integer) or n_draws < 999:
        raise InferenceError(f"n_draws={n_draws!r} cannot carry an interval; use at least 999.")


def _draws(
    model: PathModel, coef: np.ndarray, vcov: np.ndarray, n_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Terms of normal coefficients; the total is what the drawn paths add up to."""
    free = len(vcov) - 1
    scale = np.sqrt(np.diag(vcov)[:free])
    values, vectors = np.linalg.eigh(vcov[:free, :free] / np.outer(scale, scale))
    root = vectors * np.sqrt(np.maximum(values, 0.0)) * scale[:, None]
    drawn = coef[:free] + rng.standard_normal((n_draws, free)) @ root.T
    whole = drawn if model.imply is None else np.hstack([drawn, model.imply(drawn)])
    return model.effects(whole)


def _errors(
    model: PathModel, coef: np.ndarray, vcov: np.ndarray, dof: np.ndarray
) -> dict[str, np.ndarray]:
    """Standard errors and degrees of freedom of the terms; products by the delta method."""
    terms = list(model.terms)
    slopes = np.zeros((len(terms), len(coef)))
    for at in range(len(coef)):  # effects are products of different coefficients: exact slopes
        step = np.zeros(len(coef))
        step[at] = 1.0
        slopes[:, at] = (model.effects((coef + step)[None]) - model.effects((coef - step)[None]))[0]
    slopes /= 2
    errors = np.sqrt(np.einsum("ti,ij,tj->t", slopes, vcov, slopes))
    df = np.full(len(terms), np.nan)
    for at, term in enumerate(terms):
        if term in model.ratios:
            errors[at] = np.nan
        elif not term.startswith("indirect"):
            df[at] = dof[np.flatnonzero(slopes[at])[0]]
    return {"errors": errors, "df": df}


def _warnings(printed: PrintedMatrix, rounding: pd.DataFrame, possible: float) -> tuple[str, ...]:
    found = [INDEPENDENT]
    if printed.decimals < MOST_DECIMALS:
        row = rounding[rounding["term"] == "indirect"].iloc[0]
        places = "1 decimal" if printed.decimals == 1 else f"{printed.decimals} decimals"
        found.append(
            f"printed to {places}: the indirect effect may lie anywhere between "
            f"{row['lowest']:.3g} and {row['highest']:.3g} by rounding alone"
        )
    share = rounding["term"] == "proportion_mediated"
    turned = rounding.loc[rounding["changes_sign"] & ~share, "term"].tolist()
    if turned:
        found.append(f"rounding alone can turn the sign of {', '.join(turned)}")
    if possible < 1:
        found.append(
            f"of the matrices that would be printed alike, data can have {100 * possible:.3g} %: "
            "nearly dependent variables, whose coefficients hang on digits that are not printed"
        )
    if printed.standardised:
        found.append("standardised: errors take the standard deviations as known")
    return tuple(found)
