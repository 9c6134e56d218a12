"""A printed covariance matrix: read with care, regressed on, and rounded as printers do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ex_cx.errors import SpecError, nearest, some
from ex_cx.estimation.paths import PathModel

__all__ = ["MOST_DECIMALS", "PrintedMatrix", "joint_errors", "read_printed", "rounding_range"]

MOST_DECIMALS = 8
"""Decimals from which a matrix counts as given in full."""
SMALLEST_ROOT = 1e-8
"""Eigenvalue, of correlations, from which a matrix is positive definite."""
ONE = 1e-10
"""How far from one the diagonal of a correlation matrix may be, by rounding."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrintedMatrix:
    """A covariance matrix and how exactly it is known.

    Attributes
    ----------
    matrix : shape (k, k), in the order asked for, scaled by the standard deviations.
    scale : shape (k,), standard deviations by which it was scaled; ones without.
    is_correlation : whether the diagonal is one by definition, and was not rounded.
    standardised : a correlation matrix without standard deviations.
    decimals : to which it was printed.
    """

    matrix: np.ndarray
    scale: np.ndarray
    is_correlation: bool
    standardised: bool
    decimals: int


def read_printed(
    frame: pd.DataFrame,
    names: list[str],
    sd: Mapping[str, float] | None,
    decimals: int | None,
) -> PrintedMatrix:
    """The part of a printed matrix that is asked for, checked.

    Raises
    ------
    SpecError : names missing or twice, gaps, asymmetry, variances that are not positive,
        correlations beyond 1, standard deviations that do not fit, or no positive definite matrix.
    """
    values = _whole(_named(frame, names), names)
    variances = np.diag(values)
    if not (variances > 0).all():
        wrong = [name for name, v in zip(names, variances, strict=True) if not v > 0]
        raise SpecError(f"The diagonal of {some(wrong)} is not positive. Check the matrix.")
    root = np.sqrt(variances)
    correlations = values / np.outer(root, root)
    _check_correlations(correlations, names)
    is_correlation = bool((np.abs(variances - 1) < ONE).all())
    scale = np.ones(len(names)) if sd is None else _scale(sd, names, is_correlation)
    if decimals is None:
        decimals = _shown(values)
    elif decimals not in range(MOST_DECIMALS + 1):
        raise SpecError(f"decimals={decimals} is not a whole number from 0 to {MOST_DECIMALS}.")
    return PrintedMatrix(
        matrix=values * np.outer(scale, scale),
        scale=scale,
        is_correlation=is_correlation,
        standardised=is_correlation and sd is None,
        decimals=decimals,
    )


def _named(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Rows and columns of the names, in their order."""
    if not isinstance(frame, pd.DataFrame) or frame.shape[0] != frame.shape[1]:
        shape = getattr(frame, "shape", type(frame).__name__)
        raise SpecError(f"The matrix must be a square DataFrame with names; it is {shape}.")
    columns = [str(name) for name in frame.columns]
    unnamed = isinstance(frame.index, pd.RangeIndex)
    index = columns if unnamed else [str(name) for name in frame.index]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise SpecError(f"The matrix holds {some(twice)} more than once. Name each variable once.")
    if sorted(index) != sorted(columns):
        odd = sorted(set(index) ^ set(columns))
        raise SpecError(
            f"Rows and columns of the matrix are named differently ({some(odd)}). Name them alike."
        )
    missing = [name for name in names if name not in columns]
    if missing:
        raise SpecError(
            f"The matrix has no {some(missing)}.{nearest(missing[0], columns)} It has "
            f"{some(columns, 8)}."
        )
    return frame.set_axis(columns, axis=1).set_axis(index, axis=0).loc[names, names]


def _whole(frame: pd.DataFrame, names: list[str]) -> np.ndarray:
    """The matrix with a missing triangle filled in; the halves must agree."""
    try:
        values = frame.to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"The matrix must be numeric; it holds text ({error}). Remove stars and blanks."
        ) from error
    values = np.where(np.isnan(values), values.T, values)
    gaps = np.argwhere(~np.isfinite(values))
    if len(gaps):
        pairs = [f"{names[i]} and {names[j]}" for i, j in gaps if i <= j]
        raise SpecError(
            f"The matrix holds no number for {some(pairs)}. Give one triangle and the diagonal."
        )
    apart = np.argwhere(np.abs(values - values.T) > 1e-8 * (1 + np.abs(values)))
    if len(apart):
        i, j = apart[0]
        raise SpecError(
            f"The matrix is not symmetric: {names[i]} and {names[j]} have {values[i, j]:g} in one "
            f"half and {values[j, i]:g} in the other. Correct it, or give one triangle."
        )
    return values


def _check_correlations(correlations: np.ndarray, names: list[str]) -> None:
    beyond = np.argwhere(np.triu(np.abs(correlations) > 1 + 1e-12, 1))
    if len(beyond):
        i, j = beyond[0]
        raise SpecError(
            f"{names[i]} and {names[j]} correlate {correlations[i, j]:.3g}, which is not between "
            "-1 and 1. Is it a covariance beside a diagonal of ones, or a slip of the pen?"
        )
    smallest = float(np.linalg.eigvalsh(correlations)[0])
    if smallest < SMALLEST_ROOT:
        raise SpecError(
            "No data have this matrix: it is not positive definite (smallest eigenvalue of the "
            f"correlations {smallest:.2g}). Look for a slip, for correlations from different rows "
            "(pairwise deletion), or for a variable that is the sum of others."
        )


def _scale(sd: Mapping[str, float], names: list[str], is_correlation: bool) -> np.ndarray:
    if not is_correlation:
        raise SpecError(
            "sd goes with a correlation matrix; the diagonal of this one is not all ones. Leave sd "
            "out for covariances, or put ones on the diagonal."
        )
    if not isinstance(sd, Mapping | pd.Series):
        raise SpecError(f"sd={sd!r} does not say whose it is. Write sd={{{names[0]!r}: 1.2, ...}}.")
    given = dict(sd)
    missing = [name for name in names if name not in given]
    if missing:
        raise SpecError(f"sd has no {some(missing)}.{nearest(missing[0], list(given))}")
    try:
        scale = np.array([float(given[name]) for name in names])
    except (TypeError, ValueError) as error:
        raise SpecError(f"sd holds what is no number ({error}).") from error
    if not ((scale > 0) & np.isfinite(scale)).all():
        raise SpecError("Standard deviations are positive numbers; check sd.")
    return scale


def _shown(values: np.ndarray) -> int:
    """The most decimals that an entry needs."""
    for decimals in range(MOST_DECIMALS):
        if np.allclose(values, values.round(decimals), rtol=0, atol=1e-12):
            return decimals
    return MOST_DECIMALS


def joint_errors(
    model: PathModel, covariance: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wanted coefficients of all equations, their covariance, and each one's degrees of freedom.

    Parameters
    ----------
    covariance : shape (k, k), divisor n - 1, columns as in the model.

    Returns
    -------
    shapes (p,), (p, p), (p,). Between equations e and f the covariance is
    s_ef (X_e'X_e)^-1 X_e'X_f (X_f'X_f)^-1, s_ef the residuals' cross-product over
    sqrt(dof_e dof_f), dof rows less coefficients and constant.

    Source: Zellner (1962), J. American Statistical Association 57(298), 348-368.
    """
    cross = (n - 1) * covariance
    coef, half, contrasts, dof = [], [], [], []
    for equation in model.equations:
        chosen = list(equation.regressors)
        bread = np.linalg.inv(cross[np.ix_(chosen, chosen)])
        slopes = bread @ cross[chosen, equation.outcome]
        contrast = np.zeros(len(cross))
        contrast[equation.outcome] = 1.0
        contrast[chosen] = -slopes
        for column in equation.wanted:
            at = chosen.index(column)
            influence = np.zeros(len(cross))
            influence[chosen] = bread[at]
            coef.append(slopes[at])
            half.append(influence)
            contrasts.append(contrast)
            dof.append(n - len(chosen) - 1)
    h, c, df = np.array(half), np.array(contrasts), np.array(dof, dtype=float)
    errors = (c @ cross @ c.T) / np.sqrt(np.outer(df, df))
    return np.array(coef), errors * (h @ cross @ h.T), df


def rounding_range(
    model: PathModel, printed: PrintedMatrix, n_draws: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, float]:
    """How far the terms may lie from those of the matrix as printed, by rounding alone.

    Parameters
    ----------
    n_draws : matrices drawn within half a unit of the last decimal of each entry, half of them at
        the corners; those that no data can have are left out.

    Returns
    -------
    Columns term, estimate, lowest, highest, changes_sign; and the share of the matrices drawn that
    data can have.
    """
    k = len(printed.matrix)
    half = 0.5 * 10.0**-printed.decimals
    noise = rng.uniform(-half, half, size=(n_draws, k, k))
    noise[: n_draws // 2] = half * np.sign(noise[: n_draws // 2])
    noise = np.tril(noise, -1 if printed.is_correlation else 0)
    noise = noise + np.swapaxes(np.tril(noise, -1), 1, 2)
    drawn = printed.matrix + noise * np.outer(printed.scale, printed.scale)
    possible = np.linalg.eigvalsh(drawn)[:, 0] > 0
    nothing = np.zeros(k)
    found = model.compute(drawn[possible], nothing)
    estimate = model.compute(printed.matrix[None], nothing)[0]
    low = np.fmin(np.nanmin(found, axis=0, initial=np.inf), estimate)
    high = np.fmax(np.nanmax(found, axis=0, initial=-np.inf), estimate)
    frame = pd.DataFrame(
        {
            "term": list(model.terms),
            "estimate": estimate,
            "lowest": low,
            "highest": high,
            "changes_sign": low * high < 0,
        }
    )
    return frame, float(possible.mean())
