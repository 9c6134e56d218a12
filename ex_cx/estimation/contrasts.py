"""Several coefficients at once: linear combinations, joint tests, bands that hold everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from ex_cx.estimation.inference import check_level, t_columns

__all__ = ["JointTest", "band_quantile", "combine", "joint_test", "joint_test_table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JointTest:
    """F test that several coefficients are zero; NaN where their covariance has too low a rank."""

    statistic: float
    df_num: int
    df_den: float
    p_value: float


def joint_test_table(tests: Mapping[str, JointTest | None]) -> pd.DataFrame:
    """One row per test that there is: test, statistic, df_num, df_den, p_value."""
    return pd.DataFrame(
        [{"test": name, **asdict(test)} for name, test in tests.items() if test is not None]
    )


def combine(
    coef: np.ndarray, vcov: np.ndarray, contrast: np.ndarray, df_t: float, conf_level: float
) -> pd.DataFrame:
    """Linear combinations of coefficients with t intervals.

    Parameters
    ----------
    coef, vcov : shapes (k,) and (k, k). contrast : shape (m, k), one combination a row.

    Returns
    -------
    estimate, std_error, statistic, p_value, conf_low, conf_high, conf_level; m rows. A row of zeros
    has estimate and error 0, and no statistic; a negative variance, which two-way errors can give,
    is no error (NaN).

    >>> combine(np.array([1.0, 2.0]), np.eye(2), np.array([[1.0, 1.0]]), 9, 0.95)["estimate"][0]
    np.float64(3.0)
    """
    estimate = contrast @ coef
    variance = np.einsum("ij,jk,ik->i", contrast, vcov, contrast)
    rounding = 1e-12 * (contrast**2 @ np.abs(np.diag(vcov)))
    std_error = np.sqrt(np.where(variance < -rounding, np.nan, np.maximum(variance, 0.0)))
    return pd.DataFrame(t_columns(estimate, std_error, df_t, conf_level))


def joint_test(coef: np.ndarray, vcov: np.ndarray, df_t: float) -> JointTest:
    """Wald test that all of `coef` are zero, as F with (q, df_t) degrees of freedom.

    Notes
    -----
    The convention of Stata's `test` after clustered errors: b' V^-1 b / q against F(q, G - 1). With
    fewer degrees of freedom than coefficients V is singular, and there is no test.

    >>> joint_test(np.array([2.0]), np.array([[1.0]]), 10).statistic
    4.0
    """
    from scipy.special import fdtrc

    q = len(coef)
    scale = np.sqrt(np.diag(vcov))
    missing = JointTest(statistic=np.nan, df_num=q, df_den=df_t, p_value=np.nan)
    if df_t < q or not (scale > 0).all():
        return missing
    unit = vcov / np.outer(scale, scale)
    if np.linalg.eigvalsh(unit)[0] < q * np.finfo(float).eps * 10:
        return missing
    z = coef / scale
    statistic = float(z @ np.linalg.solve(unit, z) / q)
    return JointTest(
        statistic=statistic, df_num=q, df_den=df_t, p_value=float(fdtrc(q, df_t, statistic))
    )


def band_quantile(contrast: np.ndarray, vcov: np.ndarray, df_t: float, conf_level: float) -> float:
    """Multiple of the standard error at which a band holds along a whole curve.

    Parameters
    ----------
    contrast : shape (m, k), combinations at successive points of the curve, finely spaced; rows of
        zeros (the reference, at which nothing varies) are left out.
    vcov : shape (k, k).
    df_t : degrees of freedom.

    Returns
    -------
    The c for which |T| stays below c at all points with at least `conf_level`: the solution of
    (length / pi) (1 + c^2 / df)^(-df / 2) + P(|t| > c) = 1 - conf_level, and never more than
    Scheffe's. `length` is that of the path of the standardised combinations on the unit sphere.

    Notes
    -----
    The tube formula, an upper bound on the error of a band along a path (Naiman's inequality), so
    no draws are needed. Source: Naiman (1986), Annals of Statistics 14(3), 896-906; Sun and Loader
    (1994), Annals of Statistics 22(3), 1328-1345. Scheffe (1953), Biometrika 40, 87-104.

    >>> round(band_quantile(np.array([[1.0], [2.0]]), np.eye(1), 20, 0.95), 4)  # a line: t
    2.086
    """
    from scipy.optimize import brentq
    from scipy.special import fdtri, stdtr, stdtrit

    check_level(conf_level)
    values, vectors = np.linalg.eigh(vcov)
    kept = values > values[-1] * len(values) * np.finfo(float).eps
    path = contrast @ (vectors[:, kept] * np.sqrt(values[kept]))
    length = np.linalg.norm(path, axis=1)
    path = path[length > 0] / length[length > 0, None]
    turns = np.abs(np.einsum("ij,ij->i", path[:-1], path[1:]))
    along = float(np.arccos(np.minimum(turns, 1.0))[turns < 1 - 1e-15].sum())
    pointwise = float(stdtrit(df_t, (1 + conf_level) / 2))
    rank = int(kept.sum())
    scheffe = float(np.sqrt(rank * fdtri(rank, df_t, conf_level)))

    def excess(c: float) -> float:
        tube = along / np.pi * (1 + c**2 / df_t) ** (-df_t / 2)
        return float(tube + 2 * stdtr(df_t, -c) - (1 - conf_level))

    if along == 0 or rank == 1:
        return pointwise
    return scheffe if excess(scheffe) >= 0 else float(brentq(excess, pointwise, scheffe))
