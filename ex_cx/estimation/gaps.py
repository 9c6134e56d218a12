"""Panels with few gaps: the periods that units miss say what those observed say, in less numbers.

A unit that misses the periods z (ones where it does) and has n others has C = diag(1 - z) -
(1 - z)(1 - z)' / n. Let P take the mean over periods out of a vector. C sends the vector of ones to
zero, and so does P, hence C = P (diag(1 - z) - z z' / n) P. Summed over a draw of clusters, with M
the sum of the inner matrices, and for columns B that sum to zero over the periods,

    B' C^+ B = B' M^-1 B - (B' M^-1 1)(1' M^-1 B) / (1' M^-1 1)

wherever M is positive definite, which few gaps ensure. z z' is all but empty: the sum over
clusters is a sparse product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Gaps", "find_gaps"]

MOST_PAIRS = 0.06
"""Share of pairs of periods that units miss on average, above which a dense product is as fast."""
LEAST_LEFT = 0.1
"""Smallest eigenvalue of M, its diagonal scaled to one, in the whole sample."""
DRAWS = 125
"""Draws whose products are turned over at a time, while they are in the cache; no power of two, at
whose strides numbers push one another out of it."""
LEAST_PIVOT = 1e-6
"""Square root of the share of the largest pivot below which a draw is solved otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Gaps:
    """Pairs of periods that each cluster's units miss.

    Attributes
    ----------
    pairs : shape (T(T+1)/2, G), sum over the cluster's units of z_i z_j / n, in the packed order.
    on_diagonal : shape (T,), the packed position of each period's place on the diagonal.
    """

    pairs: csr_array
    on_diagonal: np.ndarray

    def total(self, weights: np.ndarray) -> np.ndarray:
        """The pairs missed by each draw's units, shape (draws, T(T+1)/2); weights (draws, G)."""
        from concurrent.futures import ThreadPoolExecutor

        out = np.empty((len(weights), self.pairs.shape[0]))

        def fill(at: int) -> None:
            part = np.ascontiguousarray(weights[at : at + DRAWS].T)
            out[at : at + DRAWS] = (self.pairs @ part).T

        with ThreadPoolExecutor(2) as threads:  # the product lets go of Python's lock
            list(threads.map(fill, range(0, len(weights), DRAWS)))
        return out

    def total_without(self, left_out: slice) -> np.ndarray:
        """As `total`, of all clusters but one, for each one in `left_out`."""
        rest = np.asarray(self.pairs.sum(axis=1))
        return np.subtract(rest, self.pairs[:, left_out].toarray().T, order="C")

    def sweep(
        self, missed: np.ndarray, mass: np.ndarray, cross: np.ndarray, sums: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """A - B' C^+ B for each draw, and where M is not safely positive definite.

        Parameters
        ----------
        missed : from `total`; mass : (draws, T), units that a draw has in each period;
        cross : (draws, k, k); sums : (draws, T, k), adding up to zero over the periods.
        """
        from scipy.linalg import lapack

        draws, t, k = sums.shape
        inner = np.negative(missed, order="C")
        inner[:, self.on_diagonal] += mass
        solved, failed = np.ones((draws, t, k + 1)), np.zeros(draws, dtype=bool)
        solved[:, :, :k] = sums
        for draw, (factor, columns) in enumerate(zip(inner, solved, strict=True)):  # in place
            _, failed[draw] = lapack.dpftrf(t, factor, uplo="L", overwrite_a=1)
            lapack.dtfsm(1.0, factor, columns.T, side="R", uplo="L", trans="T", overwrite_b=1)
        products = np.swapaxes(solved, 1, 2) @ solved
        pivots = inner[:, self.on_diagonal]
        with np.errstate(divide="ignore", invalid="ignore"):
            level = products[:, :k, k:] @ products[:, k:, :k] / products[:, k:, k:]
        loose = failed | ~(pivots.min(axis=1) > LEAST_PIVOT * np.sqrt(mass.max(axis=1)))
        return cross - products[:, :k, :k] + level, loose


def find_gaps(
    patterns: np.ndarray, held: csr_array, places: tuple[np.ndarray, np.ndarray]
) -> Gaps | None:
    """The gaps, where they are few enough for this to be the faster way; None elsewhere.

    Parameters
    ----------
    patterns : shape (P, T), ones where a pattern has a row; held : (G, P), units of each pattern in
        a cluster; places : row and column of each packed number.
    """
    if not ((patterns == 0) | (patterns == 1)).all():
        return None
    missing, units = 1 - patterns, np.asarray(held.sum(axis=0)).ravel()
    counts = missing.sum(axis=1)
    t = patterns.shape[1]
    if units @ (counts * (counts + 1)) > MOST_PAIRS * units.sum() * t * (t + 1):
        return None
    share = missing / (t - counts)[:, None]
    inner = np.diag(units @ patterns) - missing.T @ (units[:, None] * share)
    scale = np.sqrt(units @ patterns)
    if np.linalg.eigvalsh(inner / np.outer(scale, scale))[0] < LEAST_LEFT:
        return None
    pairs = (held @ _pairs(missing, share, places)).T.tocsr()
    (on_diagonal,) = np.nonzero(places[0] == places[1])
    return Gaps(pairs, on_diagonal[np.argsort(places[0][on_diagonal])])


def _pairs(
    missing: np.ndarray, share: np.ndarray, places: tuple[np.ndarray, np.ndarray]
) -> csr_array:
    """z_i z_j / n of each pattern at the packed places, shape (P, T(T+1)/2)."""
    from scipy.sparse import csr_array

    n_patterns, t = missing.shape
    place = np.empty((t, t), dtype=np.int64)
    place[places] = place[places[::-1]] = np.arange(len(places[0]))
    pattern, period = np.nonzero(missing)
    starts = np.searchsorted(pattern, np.arange(n_patterns + 1))
    nth = np.arange(len(pattern)) - starts[pattern]  # each pairs with itself and those before it
    one = np.repeat(np.arange(len(pattern)), nth + 1)
    other = (
        starts[pattern[one]]
        + np.arange(len(one))
        - np.repeat(np.cumsum(nth + 1) - nth - 1, nth + 1)
    )
    ends = np.append(0, np.cumsum(nth + 1))[starts]
    found = (share[pattern[one], period[one]], place[period[one], period[other]], ends)
    return csr_array(found, shape=(n_patterns, len(places[0])))
