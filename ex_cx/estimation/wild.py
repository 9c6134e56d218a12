"""The wild cluster bootstrap from compressed moments, for every null value at once.

Under the null b_j = b0 the restricted residuals are r_y - b0 r_x, with r_y and r_x the residuals of
outcome and tested regressor on all else. A draw multiplies them by one sign v_g a cluster. With
X the regressors net of all effects, the draw's coefficient is q_j sum_g v_g X_g'r_g (q_j the row
of the bread), and the score of cluster g along q_j is

    z_g = v_g q_j'X_g'r_g  -  (q_j'X_g'D_g) C^+ sum_h v_h D_h'r_h
          -  (q_j'X_g'X_g) (bread sum_h v_h X_h'r_h)

so that coefficient and scores are matrix products, and both are linear in b0: one pass gives the
test of any null value, and its inversion to a confidence interval costs nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ex_cx.estimation.equation import Equation
from ex_cx.estimation.inference import solve_equation
from ex_cx.estimation.moments import ClusterMoments

__all__ = ["WildDraws", "draw_wild", "wild_interval", "wild_signs"]

_BLOCK = 1024
_WEBB = np.sqrt(np.array([1.5, 1.0, 0.5]))
ENUMERATE_UP_TO = 12
"""Clusters up to which all sign vectors are taken instead of a sample of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WildDraws:
    """Per draw, the centred coefficient and its CR0 variance as functions of the null value b0.

    Attributes
    ----------
    coef, variance : the sample's coefficient and its CR0 variance.
    slope_y, slope_x : shape (draws,); the draw's coefficient less b0 is slope_y - b0 slope_x.
    square_y, square_yx, square_x : shape (draws,); its variance is
        square_y - 2 b0 square_yx + b0^2 square_x.
    enumerated : whether the draws are all sign vectors, the sample's own among them.
    """

    coef: float
    variance: float
    slope_y: np.ndarray
    slope_x: np.ndarray
    square_y: np.ndarray
    square_yx: np.ndarray
    square_x: np.ndarray
    enumerated: bool

    def p_value(self, null: float = 0.0) -> float:
        """Symmetric p-value of b = `null`: share of draws with a |t| at least the sample's.

        The sample counts as one of the draws, (1 + hits) / (1 + draws), unless all sign vectors
        were taken and it is among them.
        """
        sample = abs(self.coef - null) / np.sqrt(self.variance)
        variance = self.square_y - 2 * null * self.square_yx + null**2 * self.square_x
        size = np.abs(self.slope_y - null * self.slope_x)
        # ties with the sample (its own signs, all reversed) must count in spite of rounding
        hits = size >= sample * np.sqrt(np.maximum(variance, 0.0)) * (1 - 1e-9)
        own = 0 if self.enumerated else 1
        return float((hits.sum() + own) / (len(hits) + own))


def wild_signs(
    n_clusters: int, n_draws: int, kind: str, rng: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """Sign vectors, shape (draws, n_clusters), and whether they are all there are.

    rademacher: +1 and -1, every vector once when there are at most 12 clusters and `n_draws` is at
    least their number. webb: six values with equal chances.
    Sources: Cameron, Gelbach and Miller (2008), REStat 90(3), 414-427; Webb (2023), CJE 56(3),
    839-858.
    """
    if kind == "rademacher" and n_clusters <= ENUMERATE_UP_TO and 2**n_clusters <= n_draws:
        bits = np.arange(2**n_clusters)[:, None] >> np.arange(n_clusters) & 1
        return (1 - 2 * bits).astype(np.int8), True
    if kind == "rademacher":  # a byte a sign: they are many
        signs = np.empty((n_draws, n_clusters), dtype=np.int8)
        for at in range(0, n_draws, _BLOCK):
            block = signs[at : at + _BLOCK]
            block[:] = rng.integers(0, 2, size=block.shape) * 2 - 1
        return signs, False
    drawn = rng.integers(0, 6, size=(n_draws, n_clusters))
    return np.concatenate([-_WEBB, _WEBB[::-1]])[drawn], False


def draw_wild(
    moments: ClusterMoments,
    equation: Equation,
    term: int,
    signs: np.ndarray,
    *,
    enumerated: bool,
) -> WildDraws:
    """Wild cluster bootstrap of one coefficient, null imposed (WCR), for every null value.

    Parameters
    ----------
    moments : columns are the outcome, then the regressors of `equation`.
    equation : the unrestricted fit.
    term : position of the tested coefficient among the regressors.
    signs, enumerated : from `wild_signs`.

    Notes
    -----
    Source: MacKinnon (2023), Econometrics and Statistics 28, 52-71, for the bootstrap by
    cluster-level quantities; Cameron, Gelbach and Miller (2008) for the method.
    """
    restricted = [_restricted(moments, column, term) for column in (0, term + 1)]
    along = np.zeros(len(moments.total))
    along[1:] = equation.bread[term]
    weights = moments.scores(along)[0][:, 1:]
    parts = [_Part.of(moments, equation, term, contrast, along) for contrast in restricted]
    slopes: list[list[np.ndarray]] = [[], []]
    squares: list[list[np.ndarray]] = [[], [], []]
    for at in range(0, len(signs), _BLOCK):
        block = signs[at : at + _BLOCK].astype(float)
        (y_slope, y), (x_slope, x) = (part.draw(block, weights) for part in parts)
        slopes[0].append(y_slope)
        slopes[1].append(x_slope)
        for kept, pair in zip(squares, ((y, y), (y, x), (x, x)), strict=True):
            kept.append(np.einsum("dg,dg->d", *pair))
    own = equation.scores @ equation.bread[term]
    return WildDraws(
        coef=float(equation.coef[term]),
        variance=float(own @ own),
        slope_y=np.concatenate(slopes[0]),
        slope_x=np.concatenate(slopes[1]),
        square_y=np.concatenate(squares[0]),
        square_yx=np.concatenate(squares[1]),
        square_x=np.concatenate(squares[2]),
        enumerated=enumerated,
    )


def wild_interval(draws: WildDraws, conf_level: float) -> tuple[float, float]:
    """The null values that the test does not reject: ends by bracketing and bisection.

    An end is infinite where no null value is rejected on that side, as with very few clusters.
    """
    return _end(draws, conf_level, -1.0), _end(draws, conf_level, 1.0)


def _end(draws: WildDraws, conf_level: float, side: float) -> float:
    alpha = 1 - conf_level + 1e-12
    step = np.sqrt(draws.variance)
    inside, reach = 0.0, 2.0
    while draws.p_value(draws.coef + side * reach * step) > alpha:
        inside, reach = reach, 2 * reach
        if reach > 1e6:
            return float(side * np.inf)
    for _ in range(60):
        middle = (inside + reach) / 2
        if draws.p_value(draws.coef + side * middle * step) > alpha:
            inside = middle
        else:
            reach = middle
    return float(draws.coef + side * (inside + reach) / 2 * step)


def _restricted(moments: ClusterMoments, column: int, term: int) -> np.ndarray:
    """Contrast of the residuals of `column` on all regressors but the tested one."""
    others = [j for j in range(1, len(moments.total)) if j != term + 1]
    contrast = np.zeros(len(moments.total))
    contrast[column] = 1.0
    if others:
        contrast[others] = -solve_equation(moments.total, column, others)
    return contrast


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What the draws need of one residual: scores (G, p), period sums (G, T), projections."""

    scores: np.ndarray
    along: np.ndarray
    bread: np.ndarray
    term: int
    periods: np.ndarray
    back: np.ndarray

    @classmethod
    def of(
        cls,
        moments: ClusterMoments,
        equation: Equation,
        term: int,
        contrast: np.ndarray,
        along: np.ndarray,
    ) -> _Part:
        scores = moments.scores(contrast)[0][:, 1:]
        back = moments.period_sums(along) @ moments.period_inverse
        return cls(
            scores,
            scores @ equation.bread[term],
            equation.bread,
            term,
            moments.period_sums(contrast),
            back,
        )

    def draw(self, signs: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The draws' coefficients, shape (draws,), and scores along the term, shape (draws, G)."""
        change = signs @ self.scores @ self.bread
        scores = signs * self.along
        scores -= change @ weights.T
        if self.periods.shape[1]:
            scores -= (signs @ self.periods) @ self.back.T
        return change[:, self.term], scores
