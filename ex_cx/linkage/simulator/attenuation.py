"""What survey noise does to a coefficient: the estimate to expect from the simulated exports.

A panel measured with noise estimates, with unit and period effects absorbed,

    (S_xx + W_xx)^-1 (S_xy + W_xy)

where S holds the expected cross-products of the error-free series around their unit means, with
engagement carried forward from its last wave, and W those of the sampling noise: 1/n of the
variance of one answer, and its covariances where the same respondents answer both sides.
Source: Fuller (1987), Measurement Error Models, section 2.2. The formula is the ratio of expected
cross-products; with tens of units the mean estimate differs from it by a few percent at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from ex_cx.linkage.simulator.answers import mean_answer_variance, shared_covariance
from ex_cx.linkage.simulator.causal import NAMES, effect, noise_autocovariance
from ex_cx.linkage.simulator.exports import (
    BLANK,
    EFFORT,
    ITEM_LOADING,
    ITEM_SHIFTS,
    LIKERT,
    MOOD,
    NPS,
    RESOLVED,
    WAVE_EVERY,
)

__all__ = ["MeasurementNoise", "expected_coefficients", "measurement_noise"]

_FEWEST = 5  # respondents; a survey mean of fewer is suppressed and brings no noise
_SURVEYED = {"cx_nps": (NPS, 100.0), "cx_effort": (EFFORT, 1.0), "cx_fcr_pct": (RESOLVED, 100.0)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasurementNoise:
    """Sampling noise of the measured columns, averaged over the measured unit-periods.

    Attributes
    ----------
    monthly : shape (k, k), covariance of the noise of one month, in the order of `NAMES`.
    wave : variance of the noise of one wave of the employee survey.
    """

    monthly: np.ndarray
    wave: float


def measurement_noise(
    values: np.ndarray,
    *,
    staff: np.ndarray,
    accounts: np.ndarray,
    employees_n: np.ndarray,
    customers_n: np.ndarray,
) -> MeasurementNoise:
    """Noise that the drawn numbers of respondents, staff and accounts imply.

    Parameters
    ----------
    values : shape (N, T, k), error-free values.
    staff, accounts, customers_n : shape (N, T), headcount, open accounts, survey respondents; 0
        where a team is not open.
    employees_n : shape (N, W), respondents by wave.
    """
    by_name = dict(zip(NAMES, np.moveaxis(values, -1, 0), strict=True))
    monthly = np.zeros((len(NAMES), len(NAMES)))
    exits, kept = NAMES.index("ex_attrition_pct"), NAMES.index("cx_retention_pct")
    rate = np.clip(by_name["ex_attrition_pct"], 0.0, 100.0)
    # exits also lower the headcount they are divided by, which adds to the scatter
    wider = 1 + rate / 100 + 1 / np.maximum(staff, 1)
    monthly[exits, exits] = _mean_over(rate * (100.0 - rate) * wider, staff, fewest=1)
    rate = np.clip(by_name["cx_retention_pct"], 0.0, 100.0)
    monthly[kept, kept] = _mean_over(rate * (100.0 - rate), accounts, fewest=1)
    for first, second in combinations_with_replacement(_SURVEYED, 2):
        covariance = _answer_covariance(first, second, by_name)
        # of two different answers, blanks thin out the shared respondents as much as the product
        share = 1.0 if first != second or first == "cx_nps" else 1.0 - BLANK
        i, j = NAMES.index(first), NAMES.index(second)
        monthly[i, j] = monthly[j, i] = _mean_over(covariance, customers_n * share)
    waves = by_name["ex_engagement"][:, ::WAVE_EVERY]
    grid = np.linspace(1.0, 5.0, 161)
    curve = mean_answer_variance(LIKERT, grid, ITEM_SHIFTS, ITEM_LOADING)
    wave = _mean_over(np.interp(waves, grid, curve), employees_n)
    return MeasurementNoise(monthly=monthly, wave=wave)


def expected_coefficients(
    outcome: str, exposures: Sequence[str], noise: MeasurementNoise, n_periods: int
) -> list[dict[str, object]]:
    """One entry per exposure: structural effect, expected measured coefficient, their ratio.

    The structural effect is the total one with the other exposures held fixed. The expectation is
    None where a measured exposure does not vary (one wave) or no cell has enough respondents.
    """
    products = _cross_products([*exposures, outcome], noise, n_periods)
    k = len(exposures)
    varies = np.isfinite(products).all() and (np.diag(products)[:k] > 1e-9).all()
    expected = np.linalg.solve(products[:k, :k], products[:k, k]) if varies else [None] * k
    rows: list[dict[str, object]] = []
    for name, value in zip(exposures, expected, strict=True):
        held = [other for other in exposures if other != name]
        structural = effect(name, outcome, held=held)
        rows.append(
            {
                "outcome": outcome,
                "exposure": name,
                "given": held,
                "structural": round(structural, 6),
                "expected_in_exports": None if value is None else round(float(value), 4),
                "factor": round(float(value / structural), 3) if varies and structural else None,
            }
        )
    return rows


def _cross_products(names: Sequence[str], noise: MeasurementNoise, n_periods: int) -> np.ndarray:
    """Expected within-unit cross-products of the measured columns, per unit and period."""
    covariance = noise_autocovariance(n_periods)
    centre = np.eye(n_periods) - 1.0 / n_periods
    months = np.arange(n_periods)
    carry = (months // WAVE_EVERY * WAVE_EVERY)[:, None] == months
    observe = {name: np.eye(n_periods) for name in NAMES} | {"ex_engagement": carry.astype(float)}
    products = np.zeros((len(names), len(names)))
    for i, first in enumerate(names):
        for j, second in enumerate(names):
            a, b = NAMES.index(first), NAMES.index(second)
            inner = covariance[a, b] + noise.monthly[a, b] * np.eye(n_periods)
            if first == second == "ex_engagement":
                inner = inner + noise.wave * np.eye(n_periods)
            seen = observe[first] @ inner @ observe[second].T
            products[i, j] = (centre * seen).sum() / n_periods
    return products


def _answer_covariance(first: str, second: str, values: dict[str, np.ndarray]) -> np.ndarray:
    """Covariance of one customer's two answers, in the units of the two columns."""
    (scale, per), (other, other_per) = _SURVEYED[first], _SURVEYED[second]
    latent = scale.latent(values[first] / per)
    if first == second:
        return scale.variance(latent) * per**2
    other_latent = other.latent(values[second] / other_per)
    shared = shared_covariance((scale, latent, MOOD[first]), (other, other_latent, MOOD[second]))
    return shared * per * other_per


def _mean_over(variance: np.ndarray, counts: np.ndarray, fewest: int = _FEWEST) -> float:
    """Mean of variance / count over the cells that have enough."""
    shown = counts >= fewest
    if not shown.any():
        return float("nan")
    return float((variance[shown] / counts[shown]).mean())
