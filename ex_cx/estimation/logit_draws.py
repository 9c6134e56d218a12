"""Many logits at once: the same rows refitted under many sets of cluster counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["refit_logits"]

_MOST_STEPS = 30
_TOLERANCE = 1e-9
"""Change of every standardised coefficient at which a draw has settled."""
_CELLS = 1 << 22
"""Rows times draws held at a time."""
_ROWS = 1 << 13
_DEPENDENT = 1e-11
"""Smallest eigenvalue of the scaled Hessian, net of constants, that identifies the terms."""


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
    pairs of columns are weighted by one matrix product, constants are swept out (their block of the
    Hessian is diagonal). Rows of a level whose constant is infinite are fitted exactly and tell
    nothing of the others: they are left out of the likelihood.
    """
    order = np.argsort(levels, kind="stable")
    centre, spread = x.mean(axis=0), x.std(axis=0)
    rows = _Rows.sorted((x[order] - centre) / spread, y[order], levels[order])
    block = max(_CELLS // len(y), 1)
    coef, constants = [], []
    for at in range(0, len(masses), block):
        found, base = _block(rows, masses[at : at + block][:, order], start * spread)
        coef.append(found / spread)
        constants.append(base - (found @ (centre / spread))[:, None])
    return np.concatenate(coef), np.concatenate(constants)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """Standardised columns (n, p), shares (n,), level of each row ascending and first of each."""

    z: np.ndarray
    y: np.ndarray
    levels: np.ndarray
    starts: np.ndarray

    @classmethod
    def sorted(cls, z: np.ndarray, y: np.ndarray, levels: np.ndarray) -> _Rows:
        return cls(z=z, y=y, levels=levels, starts=np.searchsorted(levels, np.unique(levels)))

    def by_level(self, lines: np.ndarray) -> np.ndarray:
        """Sums over the rows of each level, (draws, n) -> (draws, T)."""
        return np.add.reduceat(lines, self.starts, axis=1)

    def products(self, mass: np.ndarray) -> np.ndarray:
        """Cross-products of the columns, weighted: (draws, n) -> (draws, p, p)."""
        p = self.z.shape[1]
        upper = np.triu_indices(p)
        sums = np.zeros((len(mass), len(upper[0])))
        for lo in range(0, len(self.y), _ROWS):
            part = self.z[lo : lo + _ROWS]
            sums += mass[:, lo : lo + _ROWS] @ (part[:, upper[0]] * part[:, upper[1]])
        out = np.empty((len(mass), p, p))
        out[:, upper[0], upper[1]] = sums
        out[:, upper[1], upper[0]] = sums
        return out


def _block(rows: _Rows, masses: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total, hits = rows.by_level(masses), rows.by_level(masses * rows.y)
    inner = (hits > 0) & (hits < total)
    used = masses * inner[:, rows.levels]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(inner, hits / total, 0.5)
    coef, base = np.tile(start, (len(masses), 1)), np.log(share / (1 - share))
    active = np.ones(len(masses), dtype=bool)
    for _ in range(_MOST_STEPS):
        at = np.flatnonzero(active)
        change, shift = _newton(rows, used[at], coef[at], base[at])
        coef[at] += change
        base[at] += shift
        with np.errstate(invalid="ignore"):
            done = (np.abs(change) <= _TOLERANCE * (1 + np.abs(coef[at]))).all(axis=1)
            done &= (np.abs(shift) <= _TOLERANCE * (1 + np.abs(base[at]))).all(axis=1)
        active[at[done | ~np.isfinite(change).all(axis=1)]] = False
        if not active.any():
            break
    coef[active] = np.nan
    base = np.where(inner, base, np.where(hits > 0, np.inf, -np.inf))
    return coef, np.where(total > 0, base, np.nan)


def _newton(
    rows: _Rows, used: np.ndarray, coef: np.ndarray, base: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One step of coefficients (draws, p) and constants (draws, T); NaN where it is singular."""
    from scipy.special import expit

    fitted = expit(coef @ rows.z.T + base[:, rows.levels])
    residual = used * (rows.y - fitted)
    mass = used * fitted * (1 - fitted)
    gradient, level_gradient = residual @ rows.z, rows.by_level(residual)
    diagonal = rows.by_level(mass)
    cross = np.stack([rows.by_level(mass * column) for column in rows.z.T], axis=1)
    inverse = 1 / np.where(diagonal > 0, diagonal, 1.0)  # constants of unused levels stay
    hessian = rows.products(mass)
    scale = np.sqrt(np.einsum("djj->dj", hessian))
    swept = hessian - (cross * inverse[:, None]) @ cross.transpose(0, 2, 1)
    right = gradient - np.einsum("djt,dt->dj", cross, level_gradient * inverse)
    change = _solve(swept, right, scale)
    shift = (level_gradient - np.einsum("djt,dj->dt", cross, change)) * inverse
    return change, shift


def _solve(swept: np.ndarray, right: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Solutions where the matrix, scaled by the columns' size before constants, is sound."""
    out = np.full_like(right, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = swept / (scale[:, :, None] * scale[:, None, :])
    finite = np.flatnonzero(np.isfinite(scaled).all(axis=(1, 2)))
    if len(finite):
        sound = finite[np.linalg.eigvalsh(scaled[finite])[:, 0] > _DEPENDENT]
        found = np.linalg.solve(scaled[sound], (right[sound] / scale[sound])[:, :, None])
        out[sound] = found[:, :, 0] / scale[sound]
    return out
