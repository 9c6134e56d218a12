"""Answers on a scale: an ordered scale whose expected answer is exactly the value behind it.

An answer is the number of cut points that a standard normal lies above. The normal's mean is
solved for, so that the expected answer equals the true value: a survey then adds noise but no
bias, as long as the true value is inside the scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["AnswerScale", "mean_answer_variance", "shared_covariance"]

_GRID = np.linspace(-8.0, 8.0, 6401)
_NODES = 21  # of the Gauss-Hermite rule; the integrands are smooth, so round-off is reached


@dataclass(frozen=True, slots=True)
class AnswerScale:
    """An ordered scale.

    Attributes
    ----------
    low : the lowest answer; each cut point passed adds one.
    cuts : increasing cut points on the standard normal.

    Examples
    --------
    >>> yes_no = AnswerScale(0, (0.0,))
    >>> yes_no.mean(yes_no.latent(np.array([0.5, 0.9]))).round(6).tolist()
    [0.5, 0.9]
    """

    low: int
    cuts: tuple[float, ...]

    def mean(self, latent: np.ndarray, sd: float = 1.0) -> np.ndarray:
        """Expected answer where the normal has mean `latent` and standard deviation `sd`."""
        from scipy.special import ndtr

        total = np.full(np.shape(latent), float(self.low))
        for cut in self.cuts:
            total += ndtr((np.asarray(latent) - cut) / sd)
        return total

    def variance(self, latent: np.ndarray) -> np.ndarray:
        """Variance of one answer, same shape as `latent`."""
        from scipy.special import ndtr

        square = np.full(np.shape(latent), float(self.low) ** 2)
        for step, cut in enumerate(self.cuts):
            rise = (self.low + step + 1) ** 2 - (self.low + step) ** 2
            square += rise * ndtr(np.asarray(latent) - cut)
        return square - self.mean(latent) ** 2

    def latent(self, values: np.ndarray) -> np.ndarray:
        """Mean of the normal at which the expected answer is `values`; past the scale, its end."""
        return np.interp(values, self.mean(_GRID), _GRID)

    def answers(self, normal: np.ndarray) -> np.ndarray:
        """The answer for each draw of the normal, int8."""
        return (self.low + np.searchsorted(self.cuts, normal)).astype(np.int8)


def shared_covariance(
    first: tuple[AnswerScale, np.ndarray, float], second: tuple[AnswerScale, np.ndarray, float]
) -> np.ndarray:
    """Covariance of one person's two answers that share that person's mood.

    Parameters
    ----------
    first, second : scale, latent mean (shape of the result), and loading of the latent normal
        on the mood, a standard normal of the person; the rest of it is the answer's own.

    Returns
    -------
    Shape of the latent means; the mood is integrated out by Gauss-Hermite quadrature.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = weights / weights.sum()
    product = np.zeros(np.shape(first[1]))
    for node, weight in zip(nodes, weights, strict=True):
        given = [
            scale.mean(latent + loading * node, sd=np.sqrt(1 - loading**2))
            for scale, latent, loading in (first, second)
        ]
        product += weight * given[0] * given[1]
    return product - first[0].mean(first[1]) * second[0].mean(second[1])


def mean_answer_variance(
    scale: AnswerScale, values: np.ndarray, shifts: np.ndarray, loading: float
) -> np.ndarray:
    """Variance of one person's mean over several items, shape of `values`.

    Parameters
    ----------
    values : expected mean over the items.
    shifts : shape (J,), what is added to it for each item; sums to zero.
    loading : of each item's latent normal on the person's attitude.
    """
    latents = [scale.latent(values + shift) for shift in shifts]
    total = sum(scale.variance(latent) for latent in latents)
    for i, first in enumerate(latents):
        for second in latents[:i]:
            total = total + 2 * shared_covariance((scale, first, loading), (scale, second, loading))
    return np.asarray(total / len(shifts) ** 2)
