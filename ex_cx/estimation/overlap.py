"""Which periods each cluster observes: the cross-products of period dummies, net of unit means.

For a unit with period weights m_u (1 where observed), C_u = diag(m_u) - m_u m_u' / sum(m_u); where
no unit effects are absorbed, C_u = diag(m_u). Units that share a pattern of observation share C_u,
so sums over clusters run over patterns, and a balanced panel has one.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ex_cx.errors import InferenceError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from ex_cx.estimation.moments import MomentRows

__all__ = ["Overlap"]

_SPARSE_BELOW = 0.05


class Overlap:
    """C(w) = sum_g w_g C_g and solves with it, for the rows of one analysis."""

    def __init__(self, rows: MomentRows) -> None:
        self._rows = rows
        self._t = rows.n_periods

    def total_inverse(self) -> tuple[np.ndarray, int]:
        """Pseudo-inverse of C(1), shape (T, T), and its rank (T - 1 in a connected panel)."""
        total = self._total()
        values, vectors = np.linalg.eigh(total)
        keep = values > values[-1] * 1e-12 * self._t
        inverse = (vectors[:, keep] / values[keep]) @ vectors[:, keep].T
        return inverse, int(keep.sum())

    def _total(self) -> np.ndarray:
        mass = np.bincount(self._rows.periods, weights=self._rows.weights, minlength=self._t)
        if not self._rows.absorbs_unit:
            return np.diag(mass.astype(float))
        n_units = len(self._rows.unit_starts)
        pairs = (
            self._sparse_pairs()
            if self._rows.n_obs < _SPARSE_BELOW * n_units * self._t
            else self._dense_pairs()
        )
        return np.diag(mass) - pairs

    def _dense_pairs(self) -> np.ndarray:
        """Sum over units of m m' / sum(m), in blocks of units."""
        pairs = np.zeros((self._t, self._t))
        step = max((1 << 20) // self._t, 1)
        for at in range(0, len(self._rows.unit_starts), step):
            block = self._unit_periods(at, at + step)
            pairs += block.T @ (block / block.sum(axis=1, keepdims=True))
        return pairs

    def _sparse_pairs(self) -> np.ndarray:
        from scipy.sparse import csr_array

        rows = self._rows
        bounds = np.append(rows.unit_starts, rows.n_obs)
        mass = np.ones(rows.n_obs) if rows.weights is None else rows.weights
        share = mass / np.repeat(np.add.reduceat(mass, rows.unit_starts), np.diff(bounds))
        shape = (len(rows.unit_starts), self._t)
        left = csr_array((mass, rows.periods, bounds), shape=shape)
        right = csr_array((share, rows.periods, bounds), shape=shape)
        return (left.T @ right).toarray()

    def _unit_periods(self, first: int, last: int) -> np.ndarray:
        """Row weights of units first..last-1 laid out by period, shape (units, T)."""
        rows = self._rows
        starts = rows.unit_starts[first:last]
        stop = rows.unit_starts[last] if last < len(rows.unit_starts) else rows.n_obs
        lengths = np.diff(starts, append=stop)
        cell = np.repeat(np.arange(len(starts)) * self._t, lengths)
        cell += rows.periods[starts[0] : stop]
        mass = None if rows.weights is None else rows.weights[starts[0] : stop]
        flat = np.bincount(cell, weights=mass, minlength=len(starts) * self._t)
        return flat.reshape(len(starts), self._t).astype(float)

    @cached_property
    def _patterns(self) -> tuple[np.ndarray, csr_array]:
        """Different unit patterns, shape (P, T), and how many units of each a cluster has, (G, P)."""
        from scipy.sparse import csr_array

        rows = self._rows
        all_units = self._unit_periods(0, len(rows.unit_starts))
        patterns, which = np.unique(all_units, axis=0, return_inverse=True)
        cluster = np.searchsorted(rows.cluster_starts, rows.unit_starts, side="right") - 1
        shape = (len(rows.cluster_starts), len(patterns))
        ones = np.ones(len(cluster))
        return patterns, csr_array((ones, (cluster, which.ravel())), shape=shape)

    @cached_property
    def is_constant(self) -> bool:
        """Whether C(w) is the same for all w up to a factor, or diagonal: no T x T solve a draw."""
        return not self._rows.absorbs_unit or len(self._patterns[0]) == 1

    @cached_property
    def _constant_inverse(self) -> np.ndarray:
        pattern = self._patterns[0][0]
        return np.linalg.pinv(np.diag(pattern) - np.outer(pattern, pattern) / pattern.sum())

    @cached_property
    def _packed(self) -> np.ndarray:
        """Upper triangle of each cluster's C_g, shape (G, T(T+1)/2)."""
        patterns, held = self._patterns
        i, j = np.triu_indices(self._t)
        packed = -(patterns[:, i] * patterns[:, j]) / patterns.sum(axis=1, keepdims=True)
        packed[:, i == j] += patterns
        return held @ packed

    @cached_property
    def _masses(self) -> np.ndarray:
        """Weight of each cluster in each period, shape (G, T); no unit effects absorbed."""
        return self._unit_periods(0, len(self._rows.unit_starts))

    @cached_property
    def _units_held(self) -> np.ndarray:
        """Number of units in each cluster, shape (G,)."""
        return self._patterns[1].sum(axis=1)

    def solve(self, weights: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """C(w)^+ B(w) for each draw: `weights` (draws, G), `sums` (draws, T, k), result as `sums`."""
        if not self._rows.absorbs_unit:
            return _divide(sums, weights @ self._masses)
        if self.is_constant:
            return self._constant_inverse @ sums / (weights @ self._units_held)[:, None, None]
        return _solve_singular(self._unpack(weights @ self._packed), sums)

    def solve_without(self, left_out: slice, sums: np.ndarray) -> np.ndarray:
        """C(1 - e_g)^+ B(1 - e_g) for the clusters g in `left_out`; shapes as in `solve`."""
        if not self._rows.absorbs_unit:
            return _divide(sums, self._masses.sum(axis=0) - self._masses[left_out])
        if self.is_constant:
            held = self._units_held.sum() - self._units_held[left_out]
            return self._constant_inverse @ sums / held[:, None, None]
        return _solve_singular(self._unpack(self._packed.sum(axis=0) - self._packed[left_out]), sums)

    def _unpack(self, packed: np.ndarray) -> np.ndarray:
        i, j = np.triu_indices(self._t)
        full = np.empty((len(packed), self._t, self._t))
        full[:, i, j] = packed
        full[:, j, i] = packed
        return full


def _divide(sums: np.ndarray, mass: np.ndarray) -> np.ndarray:
    return sums / np.where(mass > 0, mass, 1.0)[:, :, None]


def _solve_singular(matrices: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """C^+ B for Laplacian-like C (null vector one, B orthogonal to it), batched.

    The null vector is lifted by adding a constant matrix and periods that a draw does not observe
    get a unit diagonal; neither changes C^+ B. A draw whose periods fall apart into unconnected
    sets is solved by the pseudo-inverse.
    """
    t = matrices.shape[1]
    diagonal = np.einsum("dtt->dt", matrices)
    scale = diagonal.max(axis=1)
    if not np.all(scale > 0):
        raise InferenceError(
            "A draw of clusters has no unit seen in two periods, so nothing varies within it. "
            "Use more clusters, or a longer panel."
        )
    lifted = matrices + (scale / t)[:, None, None]
    unseen = diagonal <= 1e-12 * scale[:, None]
    index = np.arange(t)
    lifted[:, index, index] += unseen * scale[:, None]
    try:
        solved = np.linalg.solve(lifted, sums)
    except np.linalg.LinAlgError:
        return np.linalg.pinv(matrices, rcond=1e-10, hermitian=True) @ sums
    size = np.abs(solved).max(axis=(1, 2)) * scale
    loose = ~(size <= 1e8 * np.maximum(np.abs(sums).max(axis=(1, 2)), 1e-300))
    if loose.any():
        solved[loose] = np.linalg.pinv(matrices[loose], rcond=1e-10, hermitian=True) @ sums[loose]
    return solved
