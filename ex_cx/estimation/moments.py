"""Compress once: per-cluster cross-products from which every linear estimate follows.

Rows are swept of unit means block by block; period effects (or the constant, of which they are
the special case of one period) are taken out afterwards by a Schur complement,

    S(w) = sum_g w_g A_g  -  (sum_g w_g B_g)' (sum_g w_g C_g)^+ (sum_g w_g B_g)

with A_g the cluster's cross-products, B_g its column-by-period sums, C_g the cross-products of its
period dummies, all net of unit means. Weights w are 1 for the fit, counts for a bootstrap draw,
and 1 with one 0 for leaving a cluster out: period effects are re-estimated exactly each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ex_cx.errors import InferenceError
from ex_cx.estimation.overlap import Overlap

__all__ = ["ClusterMoments", "MomentRows"]

_BLOCK_ROWS = 1 << 15  # a block of a few columns stays in cache
_KEEP_ROWS = 1 << 17  # up to here the rows are built once and kept
_CHUNK_BYTES = 1 << 26
_FAR = 1e4  # between unit means that much more, squared, than within: raw rows lack digits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MomentRows:
    """The rows of one analysis, sorted by cluster and within it by unit.

    Attributes
    ----------
    columns : k arrays of shape (n,), finite; outcomes, exposures, mediators, controls.
    unit_starts, cluster_starts : first row of each unit and of each cluster; clusters hold whole
        units. Where no unit effects are absorbed, units are the clusters.
    periods : shape (n,), codes 0..T-1 of the effects taken out by the Schur complement: periods,
        or all 0 for a constant; None where unit effects alone, or nothing at all, are taken out.
    weights : shape (n,), positive, or None.
    absorbs_unit : whether unit means are subtracted.
    """

    columns: tuple[np.ndarray, ...]
    unit_starts: np.ndarray
    cluster_starts: np.ndarray
    periods: np.ndarray | None
    weights: np.ndarray | None
    absorbs_unit: bool

    @property
    def n_obs(self) -> int:
        """Number of rows."""
        return len(self.columns[0])

    @property
    def n_periods(self) -> int:
        """Number of effects taken out by the Schur complement."""
        return 0 if self.periods is None else int(self.periods.max()) + 1


class _Groups(NamedTuple):
    """Runs of rows: where each starts, and its length."""

    starts: np.ndarray
    lengths: np.ndarray

    def of(self, lo: int, hi: int) -> _Groups:
        """Groups lo..hi-1, counted from the first row of the first."""
        starts = self.starts[lo:hi]
        return _Groups(starts - starts[0], self.lengths[lo:hi])


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Consecutive whole clusters: `values` is (k, rows), net of unit means.

    `between` is (k,), the sums of squares that the unit means took out.
    """

    first_cluster: int
    rows: slice
    values: np.ndarray
    weighted: np.ndarray
    between: np.ndarray
    units: _Groups
    clusters: _Groups


class ClusterMoments:
    """Per-cluster cross-products of `rows`; see the module for the algebra.

    Parameters
    ----------
    rows : the analysis; the k columns keep their order in every cross-product.

    Attributes
    ----------
    total : shape (k, k), cross-products with all effects taken out, weights one.
    before : shape (k,), sums of squares about the mean before anything was absorbed: the scale
        against which a column wiped out by the effects is recognised.
    left : shape (k,), share of the sum of squares net of unit means that the periods leave: the
        cross-products in `total` hold fewer digits where it is small.
    period_coef : shape (T, k), coefficients of the period dummies, net of unit means.
    period_inverse : shape (T, T), C(1)^+.
    n_clusters, n_periods, period_rank : G, T, and the rank of the period effects given the unit
        effects.

    Examples
    --------
    >>> x, y = np.array([0.0, 1, 2, 5]), np.array([0.0, 2, 1, 3])
    >>> rows = MomentRows(columns=(x, y), unit_starts=np.array([0, 2]), periods=None, weights=None,
    ...                   cluster_starts=np.array([0, 2]), absorbs_unit=True)
    >>> ClusterMoments(rows).total.tolist()
    [[5.0, 4.0], [4.0, 4.0]]
    """

    def __init__(self, rows: MomentRows) -> None:
        self.rows = rows
        self.n_clusters = len(rows.cluster_starts)
        self.n_periods = rows.n_periods
        self._periods = np.zeros(0, dtype=np.int64) if rows.periods is None else rows.periods
        self._edges = _block_edges(rows)
        self._units, self._clusters = (
            _Groups(starts, np.diff(starts, append=rows.n_obs))
            for starts in (rows.unit_starts, rows.cluster_starts)
        )
        swept = rows.absorbs_unit or rows.periods is not None
        self._centres = [float(c.mean()) if swept else 0.0 for c in rows.columns]
        self._kept = self._build(0) if len(self._edges) == 2 else None
        self._overlap = Overlap(rows) if self.n_periods else None
        cross, sums, between = self._totals()
        self.before = self._sums_of_squares(np.diag(cross) + between)
        self._near = bool(np.all(between <= _FAR * np.diag(cross)))
        if self._overlap is None:
            self.total, self.period_rank = cross, 0
            self.period_inverse = np.zeros((0, 0))
            self.period_coef = np.zeros((0, len(cross)))
        else:
            self.period_inverse, self.period_rank = self._overlap.total_inverse()
            self.period_coef = self.period_inverse @ sums
            self.total = cross - sums.T @ self.period_coef
        self._totals_at_one = cross, sums
        net_of_units = np.diag(cross)
        self.left = np.diag(self.total) / np.where(net_of_units > 0, net_of_units, 1.0)

    def _build(self, index: int, net: bool = True) -> _Block:
        """Copy one block's rows out of the columns, centre them, subtract unit means if `net`."""
        rows = self.rows
        first, last = self._edges[index], self._edges[index + 1]
        start = int(rows.cluster_starts[first])
        stop = int(rows.cluster_starts[last]) if last < self.n_clusters else rows.n_obs
        values = np.empty((len(rows.columns), stop - start))
        for line, column, centre in zip(values, rows.columns, self._centres, strict=True):
            np.subtract(column[start:stop], centre, out=line)
        lo, hi = np.searchsorted(rows.unit_starts, [start, stop])
        units = self._units.of(lo, hi)
        weights = None if rows.weights is None else rows.weights[start:stop]
        between = np.zeros(len(values))
        if rows.absorbs_unit and net:
            means, mass = _unit_means(values, units, weights)
            between = means**2 @ mass
            for line, mean in zip(values, means, strict=True):  # one at a time stays in cache
                line -= np.repeat(mean, units.lengths)
        weighted = values if weights is None else values * weights
        clusters = self._clusters.of(first, last)
        return _Block(int(first), slice(start, stop), values, weighted, between, units, clusters)

    def _blocks(self, net: bool = True) -> Iterator[_Block]:
        if self._kept is not None:
            yield self._kept
            return
        for index in range(len(self._edges) - 1):
            yield self._build(index, net)

    def _totals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cross-products and sums by period, net of unit means; what the unit means took out."""
        k, t = len(self.rows.columns), self.n_periods
        cross, sums, between = np.zeros((k, k)), np.zeros((t, k)), np.zeros(k)
        for block in self._blocks():
            cross += block.weighted @ block.values.T
            between += block.between
            if t:
                codes = self._periods[block.rows]
                for j, line in enumerate(block.weighted):
                    sums[:, j] += np.bincount(codes, weights=line, minlength=t)
        return cross, sums, between

    def _sums_of_squares(self, found: np.ndarray) -> np.ndarray:
        """Those found about the centres, 0 where they are rounding."""
        weights = self.rows.weights
        mass = self.rows.n_obs if weights is None else float(weights.sum())
        rounding = mass * (8 * np.finfo(float).eps * np.array(self._centres)) ** 2
        return np.where(found > rounding, found, 0.0)

    def scores(self, contrast: np.ndarray) -> tuple[np.ndarray, float]:
        """Per-cluster scores and the weighted residual sum of squares of one equation.

        Parameters
        ----------
        contrast : shape (k,); residuals are the columns times it (1 at the outcome, minus the
            coefficient at each regressor, 0 elsewhere), all effects taken out.

        Returns
        -------
        shape (G, k), sum over the cluster's rows of weight x demeaned column x residual; and the
        sum of squares.
        """
        out = np.empty((self.n_clusters, len(contrast)))
        rss = 0.0
        for block in self._blocks(net=not self._near):
            residual, weighted = self._residuals(block, contrast)
            rss += float(residual @ weighted)
            stop = block.first_cluster + len(block.clusters.starts)
            scores = out[block.first_cluster : stop]
            for at, line in enumerate(block.values):
                scores[:, at] = np.add.reduceat(line * weighted, block.clusters.starts)
            if self.rows.periods is not None:
                scores -= self._by_period(block, weighted) @ self.period_coef
        return out, rss

    def _residuals(self, block: _Block, contrast: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Residuals net of all effects, of a block that need not be net of unit means."""
        residual = contrast @ block.values
        weights = None if self.rows.weights is None else self.rows.weights[block.rows]
        if self.rows.periods is not None:
            residual -= (self.period_coef @ contrast)[self.rows.periods[block.rows]]
        if self.rows.absorbs_unit:
            residual -= _unit_part(residual[None, :], block.units, weights)[0]
        return residual, residual if weights is None else residual * weights

    def _by_period(self, block: _Block, line: np.ndarray) -> np.ndarray:
        """Sums of `line` by cluster and period, shape (clusters of the block, T)."""
        t, g = self.n_periods, len(block.clusters.starts)
        cell = np.repeat(np.arange(g) * t, block.clusters.lengths) + self._periods[block.rows]
        return np.bincount(cell, weights=line, minlength=g * t).reshape(g, t)

    def period_sums(self, contrast: np.ndarray) -> np.ndarray:
        """Sums by cluster and period of the columns times `contrast`, net of effects, (G, T)."""
        out = np.zeros((self.n_clusters, self.n_periods))
        if self.rows.periods is not None:
            for block in self._blocks():
                line = self._residuals(block, contrast)[1]
                stop = block.first_cluster + len(block.clusters.starts)
                out[block.first_cluster : stop] = self._by_period(block, line)
        return out

    def demeaned(self) -> Iterator[np.ndarray]:
        """The rows with all effects taken out, as blocks of shape (k, rows), in row order."""
        for block in self._blocks():
            values = block.values
            if self.rows.periods is not None:
                effects = self.period_coef.T[:, self.rows.periods[block.rows]]
                if self.rows.absorbs_unit:
                    weights = None if self.rows.weights is None else self.rows.weights[block.rows]
                    effects = effects - _unit_part(effects, block.units, weights)
                values = values - effects
            yield values

    @cached_property
    def _upper(self) -> tuple[np.ndarray, np.ndarray]:
        row, column = np.triu_indices(len(self.rows.columns))
        return row, column

    @cached_property
    def _stack(self) -> np.ndarray:
        """Per cluster, the upper triangle of A_g then B_g laid flat: shape (G, k(k+1)/2 + T k)."""
        k, t = len(self.rows.columns), self.n_periods
        upper = self._upper
        out = np.empty((self.n_clusters, len(upper[0]) + t * k))
        for block in self._blocks():
            stop = block.first_cluster + len(block.clusters.starts)
            part = out[block.first_cluster : stop]
            for column, (i, j) in enumerate(zip(*upper, strict=True)):
                product = block.weighted[i] * block.values[j]
                part[:, column] = np.add.reduceat(product, block.clusters.starts)
            if t:
                sums = part[:, len(upper[0]) :].reshape(len(part), t, k)
                for at, line in enumerate(block.weighted):
                    sums[:, :, at] = self._by_period(block, line)
        return out

    def _unstack(self, stacked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k, t = len(self.rows.columns), self.n_periods
        upper = self._upper
        cross = np.empty((len(stacked), k, k))
        cross[:, upper[0], upper[1]] = stacked[:, : len(upper[0])]
        cross[:, upper[1], upper[0]] = stacked[:, : len(upper[0])]
        return cross, stacked[:, len(upper[0]) :].reshape(len(stacked), t, k)

    def _chunk(self) -> int:
        t, k = self.n_periods, len(self.rows.columns)
        wide = 0 if self._overlap is None else self._overlap.width
        return max(_CHUNK_BYTES // (8 * (wide + t * k + 2 * k * k + self.n_clusters)), 1)

    def cross_products(self, counts: np.ndarray) -> np.ndarray:
        """S(w) for each row of cluster counts.

        Parameters
        ----------
        counts : shape (draws, G), how often each cluster is taken; clusters in row order.

        Returns
        -------
        shape (draws, k, k), period effects re-estimated in every draw.
        """
        out = np.empty((len(counts), len(self.rows.columns), len(self.rows.columns)))
        step = self._chunk()
        for at in range(0, len(counts), step):
            weights = counts[at : at + step].astype(float, copy=False)
            cross, sums = self._unstack(weights @ self._stack)
            swept = cross if self._overlap is None else self._overlap.sweep(weights, cross, sums)
            out[at : at + step] = swept
        return out

    def leave_one_out(self) -> np.ndarray:
        """S(1 - e_g) for each cluster g in row order, shape (G, k, k).

        Raises
        ------
        InferenceError : fewer than two clusters.
        """
        if self.n_clusters < 2:
            raise InferenceError("Leaving clusters out needs at least 2 clusters; there is 1.")
        out = np.empty((self.n_clusters, len(self.rows.columns), len(self.rows.columns)))
        cross_all, sums_all = self._totals_at_one
        for at in range(0, self.n_clusters, step := self._chunk()):
            cross, sums = self._unstack(self._stack[at : at + step])
            cross, sums = cross_all - cross, sums_all - sums
            if self._overlap is not None:
                cross = self._overlap.sweep_without(slice(at, at + step), cross, sums)
            out[at : at + step] = cross
        return out


def _block_edges(rows: MomentRows) -> np.ndarray:
    """First clusters of blocks of about `_BLOCK_ROWS` rows, and the number of clusters."""
    g = len(rows.cluster_starts)
    step = rows.n_obs if rows.n_obs <= _KEEP_ROWS else _BLOCK_ROWS
    marks = np.arange(0, rows.n_obs, step)
    edges = np.unique(np.searchsorted(rows.cluster_starts, marks))
    return np.append(edges[edges < g], g)


def _unit_means(
    values: np.ndarray, units: _Groups, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Unit means of each line of `values`, shape (lines, units), and the units' weights."""
    if weights is None:
        return np.add.reduceat(values, units.starts, axis=1) / units.lengths, units.lengths
    mass = np.add.reduceat(weights, units.starts)
    return np.add.reduceat(values * weights, units.starts, axis=1) / mass, mass


def _unit_part(values: np.ndarray, units: _Groups, weights: np.ndarray | None) -> np.ndarray:
    """Unit means of each line of `values`, repeated over the unit's rows: shape as `values`."""
    return np.repeat(_unit_means(values, units, weights)[0], units.lengths, axis=1)
