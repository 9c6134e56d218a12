"""CR2: clustered errors that are unbiased under independence, with Satterthwaite's t.

The residuals of each cluster are multiplied by A_g = ((I - H)_gg)^(+1/2), H the projection on the
terms and on every absorbed effect, before they enter the sandwich. With the effects taken out of
the terms X, the unit effects nested in clusters and Z = [period dummies net of unit means, X],

    (I - H)_gg = P_g - Z_g K Z_g',   K = blockdiag(C^+, (X'X)^-1),

P_g the projection that takes out unit means, so that A_g X_g = X_g + Z_g F_g needs no matrix of the
size of the cluster, only its cross-products G_g = Z_g'Z_g. F_g = f(K G_g) K Z_g'X_g with
f(s) = ((1 - s)^(-1/2) - 1) / s: its power series where the cluster's leverage is small, an
eigendecomposition where it is not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ex_cx.estimation.equation import Equation
from ex_cx.estimation.moments import ClusterMoments

__all__ = ["bias_reduced"]

_SMALL = 0.3
"""Leverage of a cluster (the trace of K G_g) up to which the power series is used."""
_NOTHING_LEFT = 1e-10
"""Eigenvalue of (I - H)_gg below which the effects and terms fit a direction exactly."""
_CHUNK_BYTES = 1 << 26


class _Cross(NamedTuple):
    """Cross-products of a run of clusters: Z'Z (c, d, d), Z'X (c, d, p), Z'e (c, d)."""

    zz: np.ndarray
    zx: np.ndarray
    ze: np.ndarray


class _Parts(NamedTuple):
    """Of each cluster: corrected scores (c, p), R'R (c, p, p) and Z'R (c, d, p), R = A X."""

    scores: np.ndarray
    rr: np.ndarray
    zr: np.ndarray


def bias_reduced(
    moments: ClusterMoments, equation: Equation, regressors: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """CR2 covariance and Satterthwaite degrees of freedom, the working model being independence.

    Parameters
    ----------
    moments : rows without weights. equation, regressors : the equation and its regressors.

    Returns
    -------
    Covariance, shape (p, p), and degrees of freedom of each coefficient, shape (p,): for the
    coefficient with residual-maker vectors a_g, (tr W)^2 / tr(W W), W_gh = a_g' (I - H)_gh a_h.

    Notes
    -----
    Exact for the fit with all dummies. Source: Bell and McCaffrey (2002), Survey Methodology 28(2),
    169-181; Pustejovsky and Tipton (2018), JBES 36(4), 672-683, and its correction of theorem 2.

    Examples
    --------
    One row a cluster and a constant: e_i^2 / (1 - 1/n), summed, over n^2, is the usual variance.

    >>> from ex_cx.estimation.equation import fit_equation
    >>> from ex_cx.estimation.moments import MomentRows
    >>> y, one = np.array([1.0, 2.0, 6.0]), np.ones(3)
    >>> rows = MomentRows(columns=(y, one), unit_starts=np.arange(3), periods=None, weights=None,
    ...                   cluster_starts=np.arange(3), absorbs_unit=False)
    >>> moments = ClusterMoments(rows)
    >>> vcov, df = bias_reduced(moments, fit_equation(moments, 0, [1], ["one"], ()), [1])
    >>> bool(np.isclose(vcov[0, 0], y.var(ddof=1) / 3)), df.round(6).tolist()
    (True, [2.0])
    """
    rows = np.concatenate([block.copy() for block in moments.demeaned()], axis=1)
    scale = np.sqrt((rows[regressors] ** 2).sum(axis=1))
    x, residual = rows[regressors] / scale[:, None], equation.contrast @ rows
    bread = equation.bread * np.outer(scale, scale)
    t, p = moments.n_periods, len(regressors)
    kernel = np.zeros((t + p, t + p))
    kernel[:t, :t], kernel[t:, t:] = moments.period_inverse, bread
    values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)
    keep = values > values[-1] * 1e-13
    root = vectors[:, keep] * np.sqrt(values[keep])
    step = max(_CHUNK_BYTES // (32 * (t + p) ** 2), 1)
    found = []
    for at in range(0, moments.n_clusters, step):
        cross = _cross_products(moments, x, residual, at, min(at + step, moments.n_clusters))
        found.append(_correct(cross, kernel, root, t))
    parts = _Parts(*(np.concatenate(part) for part in zip(*found, strict=True)))
    half = parts.scores @ bread
    df = np.array([_satterthwaite(parts, root, direction) for direction in bread.T])
    return half.T @ half / np.outer(scale, scale), df


def _cross_products(
    moments: ClusterMoments, x: np.ndarray, residual: np.ndarray, first: int, last: int
) -> _Cross:
    """Of clusters first..last-1; `x` is (p, n), net of all effects, as is `residual`, (n,)."""
    layout, t, p = moments.rows, moments.n_periods, len(x)
    bounds = np.append(layout.cluster_starts, layout.n_obs)[first : last + 1]
    part = slice(int(bounds[0]), int(bounds[-1]))
    starts, count = bounds[:-1] - bounds[0], last - first
    lines = np.vstack([x[:, part], residual[part]])
    d = t + p
    products = np.empty((count, p, p + 1))
    for i in range(p):
        products[:, i] = np.add.reduceat(lines[i] * lines, starts, axis=1).T
    zz, with_lines = np.zeros((count, d, d)), np.zeros((count, d, p + 1))
    with_lines[:, t:] = products
    if layout.periods is not None:
        cells = np.repeat(np.arange(count) * t, np.diff(bounds)) + layout.periods[part]
        for i, line in enumerate(lines):
            with_lines[:, :t, i] = np.bincount(cells, line, count * t).reshape(count, t)
        zz[:, :t, :t] = _period_products(moments, cells, bounds, count)
    zz[:, :, t:] = with_lines[:, :, :p]
    zz[:, t:, :t] = with_lines[:, :t, :p].transpose(0, 2, 1)
    return _Cross(zz, with_lines[:, :, :p], with_lines[:, :, p])


def _period_products(
    moments: ClusterMoments, cells: np.ndarray, bounds: np.ndarray, count: int
) -> np.ndarray:
    """Cross-products of the period dummies, net of unit means, by cluster: (count, T, T)."""
    layout, t = moments.rows, moments.n_periods
    seen = np.bincount(cells, minlength=count * t).reshape(count, t).astype(float)
    out = np.zeros((count, t, t))
    out[:, np.arange(t), np.arange(t)] = seen
    if not layout.absorbs_unit:
        return out
    lo, hi = np.searchsorted(layout.unit_starts, [bounds[0], bounds[-1]])
    lengths = np.diff(layout.unit_starts[lo:hi], append=bounds[-1])
    observed = np.zeros((hi - lo, t))
    observed[np.repeat(np.arange(hi - lo), lengths), cells % t] = 1.0
    edges = np.searchsorted(layout.unit_starts[lo:hi], bounds)
    share = observed / lengths[:, None]
    if hi - lo == count:
        out -= observed[:, :, None] * share[:, None, :]
        return out
    for g in range(count):
        units = slice(edges[g], edges[g + 1])
        out[g] -= observed[units].T @ share[units]
    return out


def _correct(cross: _Cross, kernel: np.ndarray, root: np.ndarray, t: int) -> _Parts:
    """R = A X = X + Z F of each cluster, by what the sandwich and its t need of it."""
    leverage = np.einsum("ij,cji->c", kernel, cross.zz)
    f = np.empty_like(cross.zx)
    small = leverage <= _SMALL
    if small.any():
        f[small] = _by_series(cross.zz[small], cross.zx[small], kernel)
    if not small.all():
        f[~small] = _by_eigenvalues(cross.zz[~small], cross.zx[~small], root)
    zr = cross.zx + cross.zz @ f
    crossed = f.transpose(0, 2, 1) @ cross.zx
    rr = cross.zx[:, t:] + crossed + f.transpose(0, 2, 1) @ zr
    scores = cross.ze[:, t:] + np.einsum("cdp,cd->cp", f, cross.ze)
    return _Parts(scores, rr, zr)


def _by_series(zz: np.ndarray, zx: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """F by the power series of f; a_j = (2j-1)/(2j) a_(j-1) are those of (1 - s)^(-1/2)."""
    power = kernel @ zx
    coefficient = 0.5
    out = coefficient * power
    size = np.abs(out).max()
    for j in range(2, 64):
        power = kernel @ (zz @ power)
        coefficient *= (2 * j - 1) / (2 * j)
        out += coefficient * power
        if np.abs(power).max() <= 1e-17 * size:
            break
    return out


def _by_eigenvalues(zz: np.ndarray, zx: np.ndarray, root: np.ndarray) -> np.ndarray:
    """F by the eigenvalues s of root' Z'Z root; directions with 1 - s = 0 are left out of A."""
    share, vectors = np.linalg.eigh(root.T @ zz @ root)
    left = 1 - share
    inside = left > _NOTHING_LEFT
    fitted = np.where(inside, 1 / np.sqrt(np.where(inside, left, 1.0)), 0.0) - 1
    tiny = np.abs(share) < 1e-8
    f = np.where(tiny, 0.5, fitted / np.where(tiny, 1.0, share))
    turned = root @ vectors
    return (turned * f[:, None, :]) @ (turned.transpose(0, 2, 1) @ zx)


def _satterthwaite(parts: _Parts, root: np.ndarray, direction: np.ndarray) -> float:
    """Degrees of freedom of the coefficient whose row of the bread is `direction`, (p,)."""
    own = np.einsum("p,cpq,q->c", direction, parts.rr, direction)
    shared = (parts.zr @ direction) @ root
    outer = shared.T @ shared
    trace = own.sum() - np.trace(outer)
    square = (own**2).sum() - 2 * (own * (shared**2).sum(axis=1)).sum() + (outer**2).sum()
    return float(trace**2 / square)
