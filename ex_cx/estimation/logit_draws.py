"""Many logits at once: the same rows refitted under many sets of cluster counts."""

from __future__ import annotations

import numpy as np

__all__ = ["refit_logits"]

_MOST_STEPS = 30
_TOLERANCE = 1e-9
"""Change of every standardised coefficient at which a draw has settled."""
_CELLS = 1 << 22
"""Rows times draws held at a time."""
_ROWS = 1 << 13


def refit_logits(
    x: np.ndarray,
    y: np.ndarray,
    masses: np.ndarray,
    start: np.ndarray,
    levels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Quasi-maximum likelihood of a logit under each of many sets of row weights.

    Parameters
    ----------
    x : shape (n, p), without constant and dummies; y : shape (n,), shares 0-1.
    masses : shape (draws, n), weights of the rows in each draw, 0 where a row is not drawn.
    start : shape (p,), coefficients to begin from.
    levels : shape (n,), codes 0..T-1 of the constants: one for each period, or all 0.

    Returns
    -------
    Coefficients, shape (draws, p), NaN in draws without a maximum (terms that the rows drawn do not
    identify, separation); constants, shape (draws, T), minus or plus infinity where the outcome is
    0 or 1 in every row drawn of a level, NaN where no row of it is drawn.

    Notes
    -----
    Newton's method on standardised columns for all draws of a block together: cross-products of all
    pairs of columns are weighted by one matrix product. Rows of a level whose constant is infinite
    are fitted exactly and tell nothing of the others: they are left out of the likelihood.
    """
    centre, spread = x.mean(axis=0), x.std(axis=0)
    z = (x - centre) / spread
    block = max(_CELLS // len(y), 1)
    coef, constants = [], []
    for at in range(0, len(masses), block):
        found, base = _block(z, y, masses[at : at + block], start * spread, levels)
        coef.append(found / spread)
        constants.append(base - (found @ (centre / spread))[:, None])
    return np.concatenate(coef), np.concatenate(constants)


def _block(
    z: np.ndarray, y: np.ndarray, masses: np.ndarray, start: np.ndarray, levels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    n_levels, p = int(levels.max()) + 1, z.shape[1]
    dummies = (levels[:, None] == np.arange(n_levels)).astype(float)
    total, hits = masses @ dummies, (masses * y) @ dummies
    inner = (hits > 0) & (hits < total)
    used = masses * inner[:, levels]
    columns = np.concatenate([z, dummies], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(inner, hits / total, 0.5)
    coef = np.concatenate([np.tile(start, (len(masses), 1)), np.log(share / (1 - share))], axis=1)
    active = np.ones(len(masses), dtype=bool)
    for _ in range(_MOST_STEPS):
        at = np.flatnonzero(active)
        change = _newton(columns, y, used[at], coef[at], p)
        coef[at] += change
        with np.errstate(invalid="ignore"):
            done = (np.abs(change) <= _TOLERANCE * (1 + np.abs(coef[at]))).all(axis=1)
        active[at[done | ~np.isfinite(change).all(axis=1)]] = False
        if not active.any():
            break
    coef[active] = np.nan
    base = np.where(inner, coef[:, p:], np.where(hits > 0, np.inf, -np.inf))
    return coef[:, :p], np.where(total > 0, base, np.nan)


def _newton(
    columns: np.ndarray, y: np.ndarray, used: np.ndarray, coef: np.ndarray, p: int
) -> np.ndarray:
    """One step for each draw, shape (draws, columns); NaN where the Hessian is singular."""
    from scipy.special import expit

    upper = np.triu_indices(columns.shape[1])
    gradient = np.zeros_like(coef)
    curvature = np.zeros((len(coef), len(upper[0])))
    for lo in range(0, len(y), _ROWS):
        part = columns[lo : lo + _ROWS]
        fitted = expit(coef @ part.T)
        mass = used[:, lo : lo + _ROWS]
        gradient += (mass * (y[lo : lo + _ROWS] - fitted)) @ part
        pairs = part[:, upper[0]] * part[:, upper[1]]
        curvature += (mass * fitted * (1 - fitted)) @ pairs
    k = columns.shape[1]
    hessian = np.zeros((len(coef), k, k))
    hessian[:, upper[0], upper[1]] = curvature
    hessian[:, upper[1], upper[0]] = curvature
    return _solve(hessian, gradient, p)


def _solve(hessian: np.ndarray, gradient: np.ndarray, p: int) -> np.ndarray:
    """Solutions where the Hessian, scaled to a unit diagonal, is sound; else NaN.

    Constants of levels without rows, after the first `p` columns, stay as they are.
    """
    diagonal = np.einsum("djj->dj", hessian).copy()
    unused = diagonal == 0
    scale = np.sqrt(np.where(unused, 1.0, diagonal))
    scaled = hessian / (scale[:, :, None] * scale[:, None, :])
    at = np.arange(hessian.shape[1])
    scaled[:, at, at] = 1.0
    out = np.full_like(gradient, np.nan)
    carried = ~unused[:, :p].any(axis=1)
    finite = np.flatnonzero(carried & np.isfinite(scaled).all(axis=(1, 2)))
    if len(finite):
        smallest = np.linalg.eigvalsh(scaled[finite])[:, 0]
        sound = finite[smallest > 1e-12]
        right = (gradient[sound] / scale[sound])[:, :, None]
        out[sound] = np.linalg.solve(scaled[sound], right)[:, :, 0] / scale[sound]
    return out
