"""How strong instruments are, whether they agree, and what holds where they are weak."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from ex_cx.estimation.conventions import Sizes, Vcov, small_sample
from ex_cx.estimation.covariance import Rows, row_scores
from ex_cx.estimation.equation import Equation
from ex_cx.estimation.instruments import TwoStage
from ex_cx.estimation.moments import ClusterMoments

__all__ = ["Strength", "anderson_rubin", "describe_strength", "first_stage_frame", "strength"]

WEAK = 10.0
"""First-stage F below which instruments are weak by the rule of thumb (Staiger and Stock 1997)."""
SURE = 104.7
"""F from which a 5 % t test on one instrument has its size (Lee et al. 2022, AER 112(10))."""


class Strength(NamedTuple):
    """Of one instrumented term: F of the instruments in its first stage, and their share of it.

    `f` is the Wald statistic over the number of instruments (NaN where clusters are as few as
    these), `effective` the F of Montiel Olea and
    Pflueger (NaN with several instrumented terms), `partial_r2` the share of the term, net of the
    effects and the other terms, that the instruments account for; `df` of the F.
    """

    f: float
    effective: float
    partial_r2: float
    df: tuple[int, float]


def first_stage_frame(
    kind: Vcov,
    moments: ClusterMoments,
    stages: TwoStage,
    rows: Rows,
    instruments: dict[str, tuple[str, ...]],
    conf_level: float = 0.95,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """One row for each instrumented term, and warnings.

    Parameters
    ----------
    instruments : names of each instrumented term and of its instruments, in the order of the first
        stages.

    Returns
    -------
    term, instruments, f, f_effective, partial_r2, df_instruments, df_t; overid (Sargan or Hansen
    J), overid_df, overid_p, of all instruments together; ar_low, ar_high (Anderson-Rubin) at
    ar_conf_level.
    """
    found = strength(kind, moments, stages, rows)
    overid, spare, p_value = overidentification(kind, moments, stages)
    low, high = anderson_rubin(kind, moments, stages, rows, conf_level)
    frame = pd.DataFrame(
        {
            "term": list(instruments),
            "instruments": [", ".join(names) for names in instruments.values()],
            "f": [one.f for one in found],
            "f_effective": [one.effective for one in found],
            "partial_r2": [one.partial_r2 for one in found],
            "df_instruments": [one.df[0] for one in found],
            "df_t": [one.df[1] for one in found],
            "overid": overid,
            "overid_df": spare,
            "overid_p": p_value,
            "ar_low": low,
            "ar_high": high,
            "ar_conf_level": conf_level,
        }
    )
    n = len(stages.excluded)
    told = [describe_strength(name, one, n) for name, one in zip(instruments, found, strict=True)]
    if len(found) > 1:
        told.append(
            "several instrumented terms: each first-stage F speaks of its own term only, not of "
            "whether the instruments move the terms apart"
        )
    return frame, tuple(filter(None, told))


def strength(
    kind: Vcov, moments: ClusterMoments, stages: TwoStage, rows: Rows
) -> tuple[Strength, ...]:
    """First-stage F of each instrumented term, with errors of `kind` (jackknife: by cluster).

    Notes
    -----
    Source: Montiel Olea and Pflueger (2013), JBES 31(3), 358-369, for the effective F.
    """
    found = []
    at = slice(len(stages.exogenous), None)
    for equation in stages.first:
        coef, inverse = equation.coef[at], equation.bread[at, at]
        vcov, df_t = _vcov(kind, moments, [equation], stages, rows, at)
        n = len(coef)
        explained = coef @ np.linalg.solve(inverse, coef)
        # clustered scores sum to zero, so that G - 1 of them are free
        full = kind in ("unadjusted", "robust") or moments.n_clusters > n
        wald = float(coef @ np.linalg.solve(vcov, coef)) if full else np.nan
        effective = explained / np.trace(np.linalg.solve(inverse, vcov))
        found.append(
            Strength(
                f=wald / n,
                effective=float(effective) if len(stages.endogenous) == 1 else np.nan,
                partial_r2=float(explained / (explained + equation.rss)),
                df=(n, df_t),
            )
        )
    return tuple(found)


def overidentification(
    kind: Vcov, moments: ClusterMoments, stages: TwoStage
) -> tuple[float, int, float]:
    """Do instruments beyond the number needed tell the same? Statistic, df, p-value.

    Sargan's n R2 of the residuals on the instruments where errors are unadjusted; else Hansen's J
    of the two-step GMM estimate that weighs the instruments' scores by row (robust) or by cluster.
    NaN where no instrument is to spare, or where the clusters are too few for the weights.

    Source: Hansen (1982), Econometrica 50(4), 1029-1054; Hayashi (2000), Econometrics, ch. 3.
    """
    from scipy.special import chdtrc

    z, terms = stages.instruments, stages.terms
    df = len(stages.excluded) - len(stages.endogenous)
    if df == 0:
        return np.nan, 0, np.nan
    total, contrast = moments.total, stages.equation.contrast
    moved = total[z] @ contrast
    if kind == "unadjusted":
        left = moved @ np.linalg.solve(total[np.ix_(z, z)], moved)
        value = moments.rows.n_obs * left / stages.equation.rss
        return float(value), df, float(chdtrc(df, value))
    if kind == "robust":
        scores = row_scores(moments, stages.equation, z)
    else:
        scores = moments.scores(contrast)[0][:, z]
    if len(scores) <= len(z):
        return np.nan, df, np.nan
    weight = np.linalg.inv(scores.T @ scores)
    zx = total[np.ix_(z, terms)]
    coef = np.linalg.solve(zx.T @ weight @ zx, zx.T @ weight @ total[z, 0])
    gap = total[z, 0] - zx @ coef
    value = gap @ weight @ gap
    return float(value), df, float(chdtrc(df, value))


def anderson_rubin(
    kind: Vcov, moments: ClusterMoments, stages: TwoStage, rows: Rows, conf_level: float
) -> tuple[float, float]:
    """Interval that holds its level however weak the instrument; NaN unless one term has one.

    The values b for which y - b x does not move with the instrument (t test). The ends are -inf and
    inf where nothing is excluded, and low is above high where the values between are excluded.

    Source: Anderson and Rubin (1949), Ann. Math. Statist. 20(1), 46-63; Fieller (1954).
    """
    from scipy.special import stdtrit

    if len(stages.excluded) != 1:
        return np.nan, np.nan
    equations = [stages.reduced, stages.first[0]]
    at = slice(len(stages.exogenous), None)
    vcov, df_t = _vcov(kind, moments, equations, stages, rows, at)
    on_y, on_x = (equation.coef[-1] for equation in equations)
    square = stdtrit(df_t, (1 + conf_level) / 2) ** 2
    a = on_x**2 - square * vcov[1, 1]
    b = on_y * on_x - square * vcov[0, 1]
    c = on_y**2 - square * vcov[0, 0]
    root = b**2 - a * c
    if root <= 0 or a == 0:  # a > 0 has a root at the estimate, so a < 0: nothing is excluded
        return -np.inf, np.inf
    low, high = (b - np.sqrt(root)) / a, (b + np.sqrt(root)) / a
    return float(low), float(high)


def _vcov(
    kind: Vcov,
    moments: ClusterMoments,
    equations: list[Equation],
    stages: TwoStage,
    rows: Rows,
    at: slice,
) -> tuple[np.ndarray, float]:
    """Joint covariance of the coefficients `at` of `equations`, those of the first one first."""
    z = stages.instruments
    counted: Vcov = "cluster" if kind == "jackknife" else kind
    sizes = Sizes(
        n=moments.rows.n_obs,
        p=len(z),
        nested=rows.nested,
        levels=rows.levels,
        period_levels=rows.period_levels,
        n_clusters=moments.n_clusters,
        n_periods=0,
    )
    factor, df_t, _ = small_sample(counted, "fixest", sizes)
    if kind == "unadjusted":
        contrasts = np.array([equation.contrast for equation in equations])
        residual = contrasts @ moments.total @ contrasts.T
        return factor * np.kron(residual, equations[0].bread[at, at]), df_t
    parts = []
    for equation in equations:
        scores = row_scores(moments, equation, z) if kind == "robust" else equation.scores
        parts.append((scores @ equation.bread)[:, at])
    values = np.concatenate(parts, axis=1)
    return factor * values.T @ values, df_t


def describe_strength(name: str, found: Strength, n_terms: int) -> str:
    """A warning about weak instruments; empty where a 5 % t test can be taken at its word.

    >>> describe_strength("x", Strength(250.0, 250.0, 0.4, (1, 40)), 1)
    ''
    """
    f = float(np.fmin(found.f, found.effective))
    if f < WEAK:
        text = (
            f"weak instruments: first-stage F of {name} is {f:.1f}, below {WEAK:g}; estimate and t "
            "interval lean to least squares"
        )
        return text + ("; use the Anderson-Rubin interval" if n_terms == 1 else "")
    if f < SURE:
        return (
            f"first-stage F of {name} is {f:.1f}: above the usual {WEAK:g}, below the {SURE} from "
            "which a 5 % t test on one instrument rejects in 5 % of cases whatever is unobserved "
            "(Lee et al. 2022)"
        )
    return ""
