"""Random effects: variance components, quasi-demeaned rows, and the columns that go with them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ex_cx.errors import InferenceError, RankError
from ex_cx.estimation.design import Design
from ex_cx.estimation.inference import DEPENDENT

__all__ = ["Components", "RandomRows", "independent_columns", "random_rows", "swamy_arora"]


class Components(NamedTuple):
    """Variances of the idiosyncratic error and of the unit effect, and each unit's theta.

    `theta` is the share of its mean that is subtracted from a unit's rows: 0 is pooled, 1 within.
    """

    idiosyncratic: float
    unit: float
    theta: np.ndarray


def swamy_arora(design: Design, nuisance: np.ndarray) -> Components:
    """Variance components by the method of Swamy and Arora.

    Parameters
    ----------
    design : outcome first, then the regressors.
    nuisance : shape (q, n), further regressors such as period dummies and the constant.

    Returns
    -------
    The idiosyncratic variance from the within regression, the unit variance from the regression of
    unit means less idiosyncratic / harmonic mean of the units' rows, at least 0.

    Raises
    ------
    InferenceError : a regression without residual degrees of freedom.

    Notes
    -----
    Degrees of freedom count the coefficients that each regression can estimate.
    Source: Swamy and Arora (1972), Econometrica 40(2), 261-275; unbalanced panels as in Stata's
    xtreg, re and in linearmodels.
    """
    rows = np.vstack([*design.columns, nuisance])
    lengths = np.diff(design.unit_starts, append=design.n_obs)
    means = np.add.reduceat(rows, design.unit_starts, axis=1) / lengths
    within = rows - np.repeat(means, lengths, axis=1)
    scale = np.sqrt((rows[1:] ** 2).sum(axis=1))
    rss, used = _least_squares(within[1:] / np.where(scale > 0, scale, 1)[:, None], within[0])
    df_within = design.n_obs - design.n_units - used
    rss_means, used_means = _least_squares(means[1:], means[0])
    df_means = design.n_units - used_means
    if df_within < 1 or df_means < 1:
        raise InferenceError(
            f"Random effects need rows to spare within and between units; {design.n_obs} rows of "
            f"{design.n_units} units leave {df_within} and {df_means}. Estimate less, or use "
            "estimator='within'."
        )
    idiosyncratic = rss / df_within
    harmonic = len(lengths) / (1 / lengths).sum()
    unit = max(0.0, rss_means / df_means - idiosyncratic / harmonic)
    spread = lengths * unit + idiosyncratic
    theta = 1 - np.sqrt(
        np.divide(idiosyncratic, spread, where=spread > 0, out=np.ones(len(lengths)))
    )
    return Components(idiosyncratic, unit, theta)


def quasi_demean(design: Design, extra: np.ndarray, theta: np.ndarray) -> Design:
    """The design with `theta` of each unit's mean subtracted, and `extra` (q, n) rows appended."""
    rows = np.vstack([*design.columns, extra])
    lengths = np.diff(design.unit_starts, append=design.n_obs)
    means = np.add.reduceat(rows, design.unit_starts, axis=1) / lengths
    return replace(design, columns=tuple(rows - np.repeat(theta * means, lengths, axis=1)))


def unit_mean_columns(design: Design, columns: np.ndarray) -> np.ndarray:
    """Unit means of `columns` (q, n), repeated over the unit's rows: shape (q, n)."""
    lengths = np.diff(design.unit_starts, append=design.n_obs)
    means = np.add.reduceat(columns, design.unit_starts, axis=1) / lengths
    return np.repeat(means, lengths, axis=1)


def independent_columns(kept: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Which rows of `candidates` (q, n) add something to `kept` (p, n) and to those before them."""
    stacked = np.vstack([kept, candidates])
    norm = np.sqrt((stacked**2).sum(axis=1))
    unit = stacked / np.where(norm > 0, norm, 1)[:, None]
    cross = unit @ unit.T
    chosen = []
    for j in range(len(stacked)):
        sound = cross[j, j] > DEPENDENT
        if j >= len(kept) and sound:
            chosen.append(j - len(kept))
        if sound:
            cross -= np.outer(cross[:, j], cross[j]) / cross[j, j]
    return np.array(chosen, dtype=np.int64)


def _least_squares(regressors: np.ndarray, outcome: np.ndarray) -> tuple[float, int]:
    """Residual sum of squares, and the number of coefficients that could be estimated."""
    coef, _, rank, _ = np.linalg.lstsq(regressors.T, outcome, rcond=1e-10)
    residual = outcome - coef @ regressors
    return float(residual @ residual), int(rank)


class RandomRows(NamedTuple):
    """Rows ready for least squares: outcome, the named terms, then nuisance columns.

    `nuisance` names the constant, period dummies and, where terms are correlated with the unit
    effects, the unit means of unbalanced dummies.
    """

    design: Design
    terms: tuple[str, ...]
    nuisance: tuple[str, ...]
    components: Components


def random_rows(
    design: Design, terms: tuple[str, ...], *, periods: bool, correlated: bool
) -> RandomRows:
    """Quasi-demeaned rows of a random-effects regression.

    Parameters
    ----------
    design : outcome, then the columns of `terms`.
    periods : whether period dummies are in the model.
    correlated : whether unit means of the terms are added (Mundlak 1978), so that the terms' own
        coefficients equal the within estimates, also in unbalanced panels (Wooldridge 2019).
    """
    _check_varying(design, terms)
    dummies = _dummies(design.periods) if periods else np.empty((0, design.n_obs))
    constant = np.ones((1, design.n_obs))
    named, columns = list(terms), np.vstack(design.columns[1:])
    if correlated:
        means = unit_mean_columns(design, columns)
        added = independent_columns(np.vstack([constant, columns]), means)
        named += [f"{terms[j]}_between" for j in added]
        columns = np.vstack([columns, means[added]])
        dummies = np.vstack([dummies, unit_mean_columns(design, dummies)])
    kept = independent_columns(np.vstack([constant, columns]), dummies)
    nuisance = np.vstack([constant, dummies[kept]])
    whole = replace(design, columns=(design.columns[0], *columns))
    components = swamy_arora(whole, nuisance)
    names = ("(constant)", *(f"(period dummy {j + 1})" for j in kept))
    return RandomRows(
        quasi_demean(whole, nuisance, components.theta), tuple(named), names, components
    )


def _dummies(periods: np.ndarray) -> np.ndarray:
    return (periods == np.arange(1, int(periods.max()) + 1)[:, None]).astype(float)


def _check_varying(design: Design, terms: tuple[str, ...]) -> None:
    for name, column in zip(terms, design.columns[1:], strict=True):
        if column.max() == column.min():
            raise RankError(
                f"{name!r} is constant on the rows used, so its coefficient is not identified. "
                "Drop it from the spec, or check the filter."
            )
