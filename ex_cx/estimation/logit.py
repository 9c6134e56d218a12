"""The logit of a share: quasi-maximum likelihood, clustered influence, average partial effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ex_cx.errors import InferenceError, RankError, some

__all__ = ["LogitFit", "average_partial_effects", "fit_logit"]

_MOST_STEPS = 100
_TOLERANCE = 1e-10
"""Change of every standardised coefficient at which the iterations stop."""
_ROUNDING = 1e-12
"""Share of the log-likelihood by which a step may lower it."""
_SINGULAR = 1e14
"""Condition number of the Hessian of standardised columns beyond which it is not inverted."""
_SLOW, _EXTREME = 20, 1e-12
"""Steps above which, and fitted p (1 - p) below which, the rows are examined for separation: along
it log-odds grow by 1 a step until rounding stops them, while other fits take a dozen steps."""


class LogitFit(NamedTuple):
    """Coefficients of a logit and what their clustered errors are made of.

    Attributes
    ----------
    coef : shape (p,), log-odds per unit of the column.
    influence : shape (G, p), each cluster's score times the inverse Hessian: coef' covariance is
        influence' influence, times a small-sample factor.
    standard : the same for coefficients of the columns centred and scaled to `columns`, (n, p), by
        `spread`, (p,); the constant comes first and stays.
    fitted : shape (n,), shares 0-1.
    dispersion : Pearson chi-square / (n - p); 1 for a binomial sample, more where rows of one
        count vary beyond it. Without counts it has no such meaning.
    steps : iterations used.
    """

    coef: np.ndarray
    influence: np.ndarray
    standard: np.ndarray
    columns: np.ndarray
    spread: np.ndarray
    fitted: np.ndarray
    dispersion: float
    steps: int


def fit_logit(
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    cluster_starts: np.ndarray,
    names: list[str],
) -> LogitFit:
    """Maximise the (quasi-)likelihood sum w [y log p + (1 - y) log(1 - p)], p = 1/(1+exp(-xb)).

    Parameters
    ----------
    x : shape (n, p), full rank, the first column a constant; `names` : of its columns.
    y : shape (n,), shares 0-1. weights : shape (n,), counts behind them, or ones.
    cluster_starts : shape (G,), first row of each cluster; rows are sorted by cluster.

    Raises
    ------
    RankError : separation: a combination of columns tells shares of 0 (or 1) from all others, so
        that the likelihood has no maximum.
    InferenceError : no convergence although nothing separates.

    Notes
    -----
    The estimates need the mean only: any share in 0..1, whatever its distribution, has them
    consistent if the mean is a logit. Newton's method on standardised columns; the likelihood is
    concave, so that halved steps reach its only maximum.
    Source: Papke and Wooldridge (1996), J. Applied Econometrics 11(6), 619-632.
    """
    z, move = _standardised(x)
    found, steps, converged = _iterate(z, y, weights)
    fitted = _share(z @ found)
    variance = fitted * (1 - fitted)
    if not converged or steps > _SLOW or variance.min() < _EXTREME:
        _refuse_separation(z, y, names)
    if not converged:
        raise InferenceError(
            f"The logit did not converge in {_MOST_STEPS} iterations. Drop a term, or estimate the "
            "share as a straight line with `fit_panel`."
        )
    bread = np.linalg.inv(z.T @ (z * (weights * variance)[:, None]))
    found = found + bread @ (z.T @ (weights * (y - fitted)))
    fitted = _share(z @ found)
    variance = fitted * (1 - fitted)
    bread = np.linalg.inv(z.T @ (z * (weights * variance)[:, None]))
    scores = np.add.reduceat(z * (weights * (y - fitted))[:, None], cluster_starts, axis=0)
    spare = len(y) - x.shape[1]
    pearson = float((weights * (y - fitted) ** 2 / variance).sum())
    return LogitFit(
        coef=move @ found,
        influence=scores @ bread @ move.T,
        standard=scores @ bread,
        columns=z,
        spread=1 / np.diag(move),
        fitted=fitted,
        dispersion=pearson / spare if spare > 0 else np.nan,
        steps=steps,
    )


def average_partial_effects(
    fit: LogitFit, slopes: Sequence[Mapping[int, np.ndarray]], mass: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the rows of dp/dv for variables v, and each cluster's influence on it.

    Parameters
    ----------
    fit : the logit.
    slopes : for each of m variables, position of a column -> how it changes with it, shape (n,).
    mass : shape (n,), each row's share in the mean; less than 1 together where rows that have no
        effect were left out.

    Returns
    -------
    effects (m,), shares per unit of the variable; influence (G, m) by the delta method, the rows
    taken as given: their covariance is influence' influence, times a small-sample factor.
    """
    variance = fit.fitted * (1 - fit.fitted)
    first, second = mass * variance, mass * variance * (1 - 2 * fit.fitted)
    effects, jacobian = [], []
    for slope in slopes:
        log_odds = sum((fit.coef[at] * change for at, change in slope.items()), np.zeros(len(mass)))
        row = (second * log_odds) @ fit.columns
        for at, change in slope.items():
            row[at] += first @ change / fit.spread[at]
        effects.append(first @ log_odds)
        jacobian.append(row)
    return np.array(effects), fit.standard @ np.array(jacobian).T


def _share(log_odds: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return np.asarray(expit(log_odds))


def _standardised(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns centred and scaled but the first, and the matrix that takes their coefficients back.

    Coefficients b of the standardised columns become move @ b of the columns as they were.
    """
    centre, spread = x.mean(axis=0), x.std(axis=0)
    centre[0], spread[0] = 0.0, 1.0
    move = np.diag(1 / spread)
    move[0, 1:] = -centre[1:] / spread[1:]
    return (x - centre) / spread, move


def _iterate(z: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, int, bool]:
    """Coefficients by Newton's method with halved steps, steps taken, and whether they settled."""
    mass = weights / weights.mean()
    mean = float(mass @ y / mass.sum())
    coef = np.zeros(z.shape[1])
    coef[0] = np.log(mean / (1 - mean))
    log_odds = z @ coef
    reached = _likelihood(log_odds, y, mass)
    for step in range(1, _MOST_STEPS + 1):
        fitted = _share(log_odds)
        hessian = z.T @ (z * (mass * fitted * (1 - fitted))[:, None])
        if not np.linalg.cond(hessian) < _SINGULAR:
            return coef, step, False
        change = np.linalg.solve(hessian, z.T @ (mass * (y - fitted)))
        settled = bool((np.abs(change) <= _TOLERANCE * (1 + np.abs(coef))).all())
        log_odds = z @ (coef + change)
        moved = _likelihood(log_odds, y, mass)
        while moved < reached - abs(reached) * _ROUNDING:
            change = change / 2
            log_odds = z @ (coef + change)
            moved = _likelihood(log_odds, y, mass)
        coef, reached = coef + change, moved
        if settled:
            return coef, step, True
    return coef, _MOST_STEPS, False


def _likelihood(log_odds: np.ndarray, y: np.ndarray, mass: np.ndarray) -> float:
    return float(mass @ (y * log_odds - np.logaddexp(0.0, log_odds)))


def _refuse_separation(z: np.ndarray, y: np.ndarray, names: list[str]) -> None:
    """Look for a direction along which the likelihood never falls.

    Such a direction d has x'd <= 0 where y is 0, x'd >= 0 where y is 1, x'd = 0 elsewhere, not all
    of them 0. Source: Konis (2007), Linear Programming Algorithms for Detecting Separated Data in
    Binary Logistic Regression Models, University of Oxford.
    """
    from scipy.optimize import linprog

    sign = np.where(y >= 1, 1.0, -1.0)
    whole = (y <= 0) | (y >= 1)
    signed = z[whole] * sign[whole, None]
    if not len(signed):
        return
    inner = z[~whole]
    found = linprog(
        -signed.sum(axis=0),
        A_ub=-signed,
        b_ub=np.zeros(len(signed)),
        A_eq=inner if len(inner) else None,
        b_eq=np.zeros(len(inner)) if len(inner) else None,
        bounds=(-1, 1),
        method="highs",
    )
    if found.status != 0 or -found.fun < 1e-6:
        return
    told = signed @ found.x > 1e-7
    guilty = [n for n, d in zip(names[1:], found.x[1:], strict=True) if abs(d) > 1e-7]
    raise RankError(
        f"The terms tell {int(told.sum())} rows with a share of exactly 0 or 1 from all others, so "
        f"the logit has no finite coefficients (separation, along {some(guilty)}). Drop such a "
        "term, use periods=False, or take longer periods or larger units."
    )
