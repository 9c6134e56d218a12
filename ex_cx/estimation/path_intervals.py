"""Draws of a path model's terms, and the intervals and p-values made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from ex_cx.errors import InferenceError, SpecError, nearest
from ex_cx.estimation.equation import fit_equation
from ex_cx.estimation.inference import (
    bootstrap_counts,
    bootstrap_p_values,
    check_level,
    cluster_factor,
    expanded_level,
    expanded_p_values,
    percentile_interval,
)
from ex_cx.estimation.moments import ClusterMoments
from ex_cx.estimation.paths import PathModel
from ex_cx.results import TIDY

__all__ = [
    "FEWEST_SOUND",
    "Interval",
    "acceleration",
    "bca_interval",
    "bca_p_values",
    "blank_shares",
    "bootstrap_draws",
    "bootstrap_jointly",
    "check_draws",
    "check_generator",
    "interval_columns",
    "joint_covariance",
    "left_out_terms",
    "monte_carlo_draws",
    "monte_carlo_jointly",
    "outermost_tail",
    "short_of_draws",
]

Interval = Literal["percentile", "bca", "monte_carlo"]

FEWEST_SOUND = 0.9
"""Share of draws that must identify every path."""
MOST_DRAWS = 1_000_000
"""Draws beyond which more of them are no advice."""
SHARE = "proportion_mediated"
_BLOCK_COUNTS = 1 << 19
"""Cluster counts held at a time; draws do not depend on it."""


def check_draws(n_boot: int, interval: str, rng: object) -> None:
    """Refuse an interval that does not exist, too few draws for any, and what is no generator."""
    allowed = get_args(Interval)
    if interval not in allowed:
        raise SpecError(
            f"interval={interval!r} is not one of {', '.join(allowed)}.{nearest(interval, allowed)}"
        )
    if isinstance(n_boot, bool) or not isinstance(n_boot, int | np.integer):
        raise InferenceError(f"n_boot={n_boot!r} is not a whole number of draws, such as 4999.")
    if n_boot < 99:
        raise InferenceError(f"n_boot={n_boot} draws cannot carry an interval; use at least 99.")
    check_generator(rng)


def check_generator(rng: object) -> None:
    """Refuse what numbers cannot be drawn from, such as a bare seed."""
    if not isinstance(rng, np.random.Generator):
        raise InferenceError(
            f"rng={rng!r} is no generator of random numbers. Write "
            "rng=numpy.random.default_rng(1): the same seed gives the same numbers."
        )


def short_of_draws(n_draws: int, tail: float, n_clusters: int) -> list[str]:
    """A warning where a tail of 95 % intervals lies beyond the outermost of the draws.

    >>> short_of_draws(4999, 0.01, 50)
    []
    """
    if tail * (n_draws + 1) >= 1:
        return []
    remedy = "use more draws, or the p-values"
    if tail * MOST_DRAWS < 1:
        remedy = "no number of draws mends that; use the p-values, or a finer cluster"
    told = (
        f"{n_draws:,} draws do not reach the tails of 95 % intervals for {n_clusters} clusters: "
        f"they end at the outermost draws and are too short; {remedy}"
    )
    return [told]


def bootstrap_draws(
    moments: ClusterMoments, model: PathModel, n_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Every term in draws of whole clusters, (draws, terms); NaN where one is not identified."""
    return bootstrap_jointly([moments], model, n_draws, rng)[0]


def bootstrap_jointly(
    sides: Sequence[ClusterMoments], model: PathModel, n_draws: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """As `bootstrap_draws` for several moments of the same clusters, which are drawn together."""
    blocks: list[list[np.ndarray]] = [[] for _ in sides]
    step = _draw_block(sides[0].n_clusters)
    for at in range(0, n_draws, step):
        counts = bootstrap_counts(sides[0].n_clusters, min(step, n_draws - at), rng)
        for moments, found in zip(sides, blocks, strict=True):
            found.append(model.compute(moments.cross_products(counts), moments.before))
    return [np.concatenate(found) for found in blocks]


def _draw_block(width: int) -> int:
    return max(_BLOCK_COUNTS // width, 1)


def left_out_terms(moments: ClusterMoments, model: PathModel) -> np.ndarray:
    """Every term without each cluster in turn, shape (G, terms).

    Raises
    ------
    InferenceError : a cluster without which a path is not identified.
    """
    left_out = model.compute(moments.leave_one_out(), moments.before)
    kept = [at for at, term in enumerate(model.terms) if term not in model.ratios]
    lost = np.flatnonzero(~np.isfinite(left_out[:, kept]).all(axis=1))
    if len(lost):
        raise InferenceError(
            f"Without {len(lost)} of {len(left_out)} clusters, left out one at a time, a path is "
            "not identified, so that its acceleration is unknown. Use interval='percentile'."
        )
    return left_out


def monte_carlo_draws(
    moments: ClusterMoments,
    model: PathModel,
    absorbed: tuple[str, ...],
    n_draws: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Every term from normal draws of the coefficients of all equations at once, (draws, terms).

    Their mean and covariance are those of `joint_covariance`; implied equations follow from the
    draws of the others.

    Source: MacKinnon, Lockwood and Williams (2004), Multivariate Behavioral Research 39(1), 99-128.
    """
    return monte_carlo_jointly([(moments, absorbed)], model, n_draws, rng)[0]


def monte_carlo_jointly(
    sides: Sequence[tuple[ClusterMoments, tuple[str, ...]]],
    model: PathModel,
    n_draws: int,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """As `monte_carlo_draws` for several moments of the same clusters, drawn together."""
    coef, covariance = joint_covariance(sides, model)
    scale = np.sqrt(np.diag(covariance))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    root = vectors * np.sqrt(np.maximum(values, 0.0)) * scale[:, None]
    blocks: list[list[np.ndarray]] = [[] for _ in sides]
    step = _draw_block(len(coef))
    for at in range(0, n_draws, step):
        normal = rng.standard_normal((min(step, n_draws - at), len(coef)))
        drawn = np.split(coef + normal @ root.T, len(sides), axis=1)
        for part, found in zip(drawn, blocks, strict=True):
            whole = part
            if model.imply is not None:
                whole = np.concatenate([part, model.imply(part)], axis=1)
            found.append(model.effects(whole))
    return [np.concatenate(found) for found in blocks]


def joint_covariance(
    sides: Sequence[tuple[ClusterMoments, tuple[str, ...]]], model: PathModel
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of all equations that are drawn, and their joint cluster-robust covariance.

    Parameters
    ----------
    sides : moments of the same clusters, each with the effects taken out.

    Returns
    -------
    The wanted coefficients, equation after equation and side after side, shape (p,); and
    sum_g u_g u_g', shape (p, p), with u_g the stacked sqrt(c_e) bread_e score_eg and c_e the CR1
    factor of equation e: each equation's own block is its CR1 covariance.

    Source: stacked scores as of any system of estimating equations; Cameron and Trivedi (2005),
    Microeconometrics, section 6.9.5.
    """
    coef, parts = [], []
    for moments, absorbed in sides:
        nested = int("unit" in absorbed) + moments.period_rank
        for equation in model.equations[: len(model.equations) - model.implied]:
            names = [model.columns[at].term for at in equation.regressors]
            fit = fit_equation(moments, equation.outcome, equation.regressors, names, absorbed)
            where = [equation.regressors.index(at) for at in equation.wanted]
            factor = cluster_factor(
                moments.n_clusters, moments.rows.n_obs, len(equation.regressors), nested
            )
            coef.append(fit.coef[where])
            parts.append(np.sqrt(factor) * fit.scores @ fit.bread[:, where])
    stacked = np.concatenate(parts, axis=1)
    return np.concatenate(coef), stacked.T @ stacked


def interval_columns(
    terms: tuple[str, ...],
    estimates: np.ndarray,
    draws: np.ndarray,
    *,
    kind: Interval,
    conf_level: float,
    n_clusters: int,
    factor: float,
    left_out: np.ndarray | None = None,
) -> dict[str, Any]:
    """The columns of the tidy table: standard errors, p-values and intervals from draws.

    Parameters
    ----------
    estimates : shape (terms,); draws : (draws, terms); left_out : (G, terms), for bca alone.
    n_clusters, factor : by which tails and p-values are expanded, as for `expanded_level`.
    """
    level = expanded_level(conf_level, n_clusters, factor)
    draws = np.asfortranarray(draws)  # the draws of a term side by side
    if kind == "bca":
        if left_out is None:
            raise InferenceError("BCa intervals need the terms without each cluster.")
        shift = acceleration(left_out)
        low, high = bca_interval(draws, estimates, shift, level)
        p_values = bca_p_values(draws, estimates, shift)
    else:
        low, high = percentile_interval(draws, level)
        p_values = bootstrap_p_values(draws)
    columns = (
        list(terms),
        estimates,
        draws.std(axis=0, ddof=1),
        np.full(len(terms), np.nan),
        expanded_p_values(p_values, n_clusters, factor),
        low,
        high,
        np.full(len(terms), conf_level),
    )
    return dict(zip(TIDY, columns, strict=True))


def blank_shares(columns: Mapping[str, Any]) -> pd.DataFrame:
    """The tidy table of `columns` without shares of the total where there are none.

    The proportion mediated has no standard error and no p-value; it is missing where the interval
    of the total holds zero, and where direct and indirect have opposite signs.
    """
    terms = columns["term"]
    where = {term: at for at, term in enumerate(terms)}
    estimate, low, high = columns["estimate"], columns["conf_low"], columns["conf_high"]
    share = np.array([term.startswith(SHARE) for term in terms])
    blank = share.copy()
    for at in np.flatnonzero(share):
        total = where["total" + terms[at].removeprefix(SHARE)]
        clear = low[total] > 0 or high[total] < 0
        blank[at] = not (clear and 0 <= estimate[at] <= 1)
    hidden = dict.fromkeys(("std_error", "p_value"), share)
    hidden |= dict.fromkeys(("estimate", "conf_low", "conf_high"), blank)
    shown = {name: np.where(mask, np.nan, columns[name]) for name, mask in hidden.items()}
    return pd.DataFrame({**columns, **shown})


def acceleration(left_out: np.ndarray) -> np.ndarray:
    """Efron's acceleration of each term from the jackknife of clusters, shape (terms,).

    sum d^3 / (6 (sum d^2)^1.5) with d the mean over clusters less the value without one.

    >>> acceleration(np.array([[0.0], [0.0], [3.0]])).round(6).tolist()
    [-0.068041]
    """
    d = left_out.mean(axis=0) - left_out
    square = (d**2).sum(axis=0)
    return np.asarray((d**3).sum(axis=0) / (6 * np.where(square > 0, square, 1.0) ** 1.5))


def bca_interval(
    draws: np.ndarray, estimates: np.ndarray, shift: np.ndarray, conf_level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Bias-corrected and accelerated interval of each column of `draws`, shape (draws, terms).

    Tails at Phi(z0 + (z0 + z) / (1 - a (z0 + z))), z0 the normal quantile of the share of draws
    below the estimate (half of those equal to it), a the acceleration `shift`. NaN where every draw
    lies on one side of the estimate. Quantiles by linear interpolation between order statistics.

    Source: Efron (1987), J. American Statistical Association 82(397), 171-185.
    """
    from scipy.special import ndtri

    check_level(conf_level)
    tail = (1 - conf_level) / 2
    tails = [_bca_tail(draws, estimates, shift, z) for z in (ndtri(tail), -ndtri(tail))]
    ends = np.full((2, draws.shape[1]), np.nan)
    for at, probabilities in enumerate(np.array(tails).T):
        if np.isfinite(probabilities).all():
            ends[:, at] = np.nanquantile(draws[:, at], probabilities)
    return ends[0], ends[1]


def outermost_tail(
    draws: np.ndarray, estimates: np.ndarray, left_out: np.ndarray, conf_level: float
) -> float:
    """The smallest share of draws beyond an end of a BCa interval, of all terms."""
    from scipy.special import ndtri

    z = ndtri((1 - conf_level) / 2)
    shift = acceleration(left_out)
    low, high = (_bca_tail(draws, estimates, shift, end) for end in (z, -z))
    return float(np.nanmin(np.minimum(low, 1 - high), initial=0.5))


def _bca_tail(draws: np.ndarray, estimates: np.ndarray, shift: np.ndarray, z: float) -> np.ndarray:
    from scipy.special import ndtr

    sum_ = _bias(draws, estimates) + z
    left = 1 - shift * sum_  # 0 or less beyond every draw, on the side of z
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.where(left > 0, sum_ / left, np.copysign(np.inf, sum_))
        return np.asarray(ndtr(_bias(draws, estimates) + moved))


def _bias(draws: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """z0 of each term; NaN where every draw lies on one side of the estimate."""
    from scipy.special import ndtri

    n = np.isfinite(draws).sum(axis=0)
    share = ((draws < estimates).sum(axis=0) + (draws <= estimates).sum(axis=0)) / (2 * n)
    return np.asarray(ndtri(np.where((share > 0) & (share < 1), share, np.nan)))


def bca_p_values(draws: np.ndarray, estimates: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Two-sided p-value of zero of each term: one less the BCa level whose interval ends there.

    The share of draws beyond zero is counted as (1 + hits) / (1 + draws) on either side and taken
    back through the correction; never below twice 1 / (1 + draws).
    """
    from scipy.special import ndtr, ndtri

    n = np.isfinite(draws).sum(axis=0)
    bias = _bias(draws, estimates)
    below = (1 + (draws <= 0).sum(axis=0)) / (1 + n)
    above = (1 + (draws >= 0).sum(axis=0)) / (1 + n)
    sides = []
    for sign, share in ((1.0, below), (-1.0, above)):
        gap = sign * ndtri(np.minimum(share, n / (1 + n))) - bias
        left = 1 + shift * gap
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.where(left > 0, gap / left, np.copysign(np.inf, gap))
        sides.append(ndtr(sign * (moved - bias)))
    least = np.maximum(np.minimum(*sides), 1 / (1 + n))
    return np.asarray(np.where(np.isnan(bias), np.nan, np.minimum(2 * least, 1.0)))
