"""Fama-MacBeth: one cross-section a period, and the spread of its coefficients over time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ex_cx.errors import InferenceError
from ex_cx.estimation.covariance import bartlett
from ex_cx.estimation.design import Design
from ex_cx.estimation.inference import solve_equation

__all__ = ["CrossSections", "fama_macbeth"]


class CrossSections(NamedTuple):
    """Means of the period-by-period coefficients, their covariance, and what was used.

    `by_period` is (periods used, p); `used` marks the rows of the design in those periods.
    """

    coef: np.ndarray
    vcov: np.ndarray
    by_period: np.ndarray
    used: np.ndarray


def fama_macbeth(design: Design, bandwidth: int) -> CrossSections:
    """Least squares with a constant in each period; coefficients averaged over periods.

    Parameters
    ----------
    design : outcome first, then the regressors.
    bandwidth : lags of the Bartlett kernel on the series of coefficients; 0 is their variance.

    Raises
    ------
    InferenceError : fewer than three periods in which the coefficients are identified.

    Notes
    -----
    Covariance: long-run covariance of the coefficients / (T (T-1)).
    Source: Fama and MacBeth (1973), J. Political Economy 81(3), 607-636.
    """
    t, k = design.n_periods, len(design.columns)
    count = np.bincount(design.periods, minlength=t)
    centred = []
    for column in design.columns:
        mean = np.bincount(design.periods, weights=column, minlength=t) / count
        centred.append(column - mean[design.periods])
    cross = np.empty((t, k, k))
    for i in range(k):
        for j in range(i + 1):
            product = centred[i] * centred[j]
            cross[:, i, j] = np.bincount(design.periods, weights=product, minlength=t)
            cross[:, j, i] = cross[:, i, j]
    coef = solve_equation(cross, 0, list(range(1, k)))
    sound = np.isfinite(coef).all(axis=1) & (count > k)
    if sound.sum() < 3:
        raise InferenceError(
            f"Fama-MacBeth needs at least 3 periods in which every coefficient is identified; "
            f"{int(sound.sum())} of {t} are. Use more units a period, or another estimator."
        )
    kept = coef[sound]
    deviation = kept - kept.mean(axis=0)
    vcov = bartlett(deviation, bandwidth) / (len(kept) * (len(kept) - 1))
    return CrossSections(kept.mean(axis=0), vcov, kept, sound[design.periods])
