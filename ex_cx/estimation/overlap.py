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
from ex_cx.estimation.gaps import Gaps, find_gaps

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
        self._periods = np.zeros(0, dtype=np.int64) if rows.periods is None else rows.periods

    def total_inverse(self) -> tuple[np.ndarray, int]:
        """A generalised inverse of C(1), shape (T, T), and its rank (T - 1 if connected).

        C(1) is scaled to a unit diagonal first, so that a period of little weight counts as one.
        """
        total = self._total()
        diagonal = np.diag(total)
        scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        values, vectors = np.linalg.eigh(total / np.outer(scale, scale))
        keep = values > values[-1] * 1e-12 * self._t
        inverse = (vectors[:, keep] / values[keep]) @ vectors[:, keep].T
        return inverse / np.outer(scale, scale), int(keep.sum())

    def _total(self) -> np.ndarray:
        mass = np.bincount(self._periods, weights=self._rows.weights, minlength=self._t)
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
        step = max((1 << 17) // self._t, 1)
        for at in range(0, len(self._rows.unit_starts), step):
            block = self._unit_periods(at, at + step)
            block /= np.sqrt(block.sum(axis=1, keepdims=True))
            pairs += block.T @ block
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
        cell += self._periods[starts[0] : stop]
        mass = None if rows.weights is None else rows.weights[starts[0] : stop]
        if rows.absorbs_unit:  # one row a unit and period
            flat = np.zeros(len(starts) * self._t)
            flat[cell] = 1.0 if mass is None else mass
        else:
            flat = np.bincount(cell, weights=mass, minlength=len(starts) * self._t).astype(float)
        return flat.reshape(len(starts), self._t)

    @cached_property
    def _patterns(self) -> tuple[np.ndarray, csr_array]:
        """Different unit patterns, (P, T), and how many units of each a cluster has, (G, P)."""
        from scipy.sparse import csr_array

        rows = self._rows
        n_units = len(rows.unit_starts)
        if rows.weights is None and rows.n_obs == n_units * self._t:
            patterns, which = np.ones((1, self._t)), np.zeros(n_units, dtype=np.int64)
        else:
            patterns, which = _different_rows(self._unit_periods(0, n_units))
        cluster = np.searchsorted(rows.cluster_starts, rows.unit_starts, side="right") - 1
        shape = (len(rows.cluster_starts), len(patterns))
        ones = np.ones(len(cluster))
        return patterns, csr_array((ones, (cluster, which.ravel())), shape=shape)

    @cached_property
    def _is_diagonal(self) -> bool:
        """Whether C(w) acts on B(w) as a diagonal matrix.

        It does without unit effects; and where all units share one pattern m, since then
        C = diag(m) - m m' / sum(m) and the columns of B sum to zero, so that C^+ B is B / m up to a
        constant that B' takes out.
        """
        return not self._rows.absorbs_unit or len(self._patterns[0]) == 1

    @cached_property
    def _masses(self) -> np.ndarray:
        """Weight of each cluster in each period, shape (G, T)."""
        if not self._rows.absorbs_unit:
            return self._unit_periods(0, len(self._rows.unit_starts))
        patterns, held = self._patterns
        return held @ patterns

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each number of `_packed`."""
        return _packed_places(self._t)

    @cached_property
    def _gaps(self) -> Gaps | None:
        return find_gaps(*self._patterns, self._places)

    @cached_property
    def _packed(self) -> np.ndarray:
        """Lower triangle of each cluster's C_g in LAPACK's packed order, shape (G, T(T+1)/2)."""
        patterns, held = self._patterns
        one_unit_each = len(self._rows.unit_starts) == len(self._rows.cluster_starts)
        if one_unit_each:
            patterns = held @ patterns
        i, j = self._places
        packed = patterns.take(i, axis=1)
        packed *= patterns.take(j, axis=1)
        packed /= -patterns.sum(axis=1, keepdims=True)
        packed[:, i == j] += patterns[:, i[i == j]]
        return packed if one_unit_each else held @ packed

    @property
    def width(self) -> int:
        """Numbers that a draw needs besides its cross-products and sums."""
        return self._t if self._is_diagonal else self._t * (self._t + 1)

    def sweep(self, weights: np.ndarray, cross: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """A(w) - B(w)' C(w)^+ B(w) for each draw.

        Parameters
        ----------
        weights : shape (draws, G); cross : (draws, k, k); sums : (draws, T, k).

        Returns
        -------
        shape (draws, k, k).
        """
        if self._is_diagonal:
            return _sweep_diagonal(weights @ self._masses, cross, sums)
        if self._gaps is None:
            return _sweep_full(weights @ self._packed, self._places, cross, sums)
        mass = weights @ self._masses
        swept, loose = self._gaps.sweep(self._gaps.total(weights), mass, cross, sums)
        if loose.any():
            packed = weights[loose] @ self._packed
            swept[loose] = _sweep_full(packed, self._places, cross[loose], sums[loose])
        return swept

    def sweep_without(self, left_out: slice, cross: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """As `sweep`, for the clusters in `left_out` left out one at a time."""
        mass = self._masses.sum(axis=0) - self._masses[left_out]
        if self._is_diagonal:
            return _sweep_diagonal(mass, cross, sums)
        if self._gaps is not None:
            missed = self._gaps.total_without(left_out)
            swept, loose = self._gaps.sweep(missed, mass, cross, sums)
            if not loose.any():
                return swept
        rest = self._packed.sum(axis=0) - self._packed[left_out]
        return _sweep_full(rest, self._places, cross, sums)


def _different_rows(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows of a table, sorted, and which of them each row is."""
    if not ((table == 0) | (table == 1)).all():
        return np.unique(table, axis=0, return_inverse=True)
    bits = np.packbits(table.astype(bool), axis=1)  # sorted in the same order, in less time
    _, first, which = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    return table[first], which


def _sweep_diagonal(mass: np.ndarray, cross: np.ndarray, sums: np.ndarray) -> np.ndarray:
    scaled = sums / np.where(mass > 0, mass, 1.0)[:, :, None]
    return cross - np.swapaxes(sums, 1, 2) @ scaled


def _packed_places(t: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each number of a lower triangle in rectangular full packed order.

    Source: Gustavson et al. (2010), ACM Transactions on Mathematical Software 37(2), article 18.
    """
    from scipy.linalg import lapack

    labels = np.arange(t * t, dtype=float).reshape(t, t)
    packed, _ = lapack.dtrttf(np.asfortranarray(labels), uplo="L")
    row, column = np.divmod(packed.astype(np.int64), t)
    return row, column


def _sweep_full(
    packed: np.ndarray,
    places: tuple[np.ndarray, np.ndarray],
    cross: np.ndarray,
    sums: np.ndarray,
) -> np.ndarray:
    """A - (L^-1 B)' (L^-1 B), where C = L L'.

    C has the null vector one, to which the columns of B are orthogonal: adding a constant matrix
    lifts it, and a unit diagonal stands in for a period that a draw does not observe. Neither
    changes the result. Draws whose periods fall apart into unconnected sets are solved by the
    pseudo-inverse.
    """
    from scipy.linalg import lapack

    draws, t, _ = sums.shape
    (on_diagonal,) = np.nonzero(places[0] == places[1])
    diagonal = packed[:, on_diagonal]
    scale = diagonal.max(axis=1, keepdims=True)
    if not np.all(scale > 0):
        raise InferenceError(
            f"{int((scale <= 0).sum())} of {draws} draws of clusters hold no unit seen in two "
            "periods, so nothing varies within units there. Use more clusters, or a longer panel."
        )
    lifted = np.add(packed, scale / t, order="C")
    lifted[:, on_diagonal] += np.where(diagonal <= 1e-12 * scale, scale, 0.0)
    scaled, failed = sums.copy(order="C"), np.zeros(draws, dtype=bool)
    for draw, (factor, columns) in enumerate(zip(lifted, scaled, strict=True)):  # both in place
        _, failed[draw] = lapack.dpftrf(t, factor, uplo="L", overwrite_a=1)
        lapack.dtfsm(1.0, factor, columns.T, side="R", uplo="L", trans="T", overwrite_b=1)
    swept = cross - np.swapaxes(scaled, 1, 2) @ scaled
    loose = failed | (lifted[:, on_diagonal] < 1e-6 * np.sqrt(scale)).any(axis=1)
    if loose.any():
        swept[loose] = _sweep_singular(packed[loose], places, cross[loose], sums[loose])
    return swept


def _sweep_singular(
    packed: np.ndarray,
    places: tuple[np.ndarray, np.ndarray],
    cross: np.ndarray,
    sums: np.ndarray,
) -> np.ndarray:
    t = sums.shape[1]
    i, j = places
    full = np.empty((len(packed), t, t))
    full[:, i, j] = packed
    full[:, j, i] = packed
    return (
        cross - np.swapaxes(sums, 1, 2) @ np.linalg.pinv(full, rcond=1e-10, hermitian=True) @ sums
    )
