"""Where paths depend on a value: of a moderator, of the exposure, or of the mediators.

Everything here is arithmetic on the terms of a fitted path model, the same for the estimates, for
bootstrap draws and for the terms without one cluster: (draws, terms) in, (draws, effects) out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ex_cx.errors import SpecError, some

__all__ = [
    "FOUR_WAY",
    "Moderated",
    "PathLevels",
    "Products",
    "conditional_effects",
    "exposure_ends",
    "four_way",
    "mediator_points",
    "moderator_points",
    "path_bands",
]

Moderated = Literal["a", "b", "direct"]
Products = Literal["raw", "within"]

FOUR_WAY = (
    "controlled_direct",
    "reference_interaction",
    "mediated_interaction",
    "pure_indirect",
    "pure_direct",
    "total_indirect",
    "total",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathLevels:
    """The values at which the terms of a conditional path model hold, on the rows used.

    Attributes
    ----------
    terms : of the model, in the order of every array of values.
    mediators : in the order of the spec.
    exposure_from, exposure_to : the change to which natural effects refer unless another is asked
        for: one unit from the mean; an exposure of two values, from the lower one.
    exposure_range : lowest and highest value on the rows used, of deviations where products were
        made of these.
    exposure_mean, mediator_means, moderator_mean : weighted means of the rows used, about which
        mediators and moderator were centred before they were multiplied; 0 where products were made
        of deviations from each unit's own means.
    mediator_ranges : shape (mediators, 2), lowest and highest value on the rows used, of deviations
        where products were made of these.
    moderator_at : values at which conditional effects are shown unless others are asked for: each
        one where there are no more than five, otherwise the 10th, 25th, 50th, 75th and 90th
        percentile; empty without a moderator.
    every_value : whether these are all its values.
    moderator_range : lowest and highest value on the rows used.
    cautions : what lasting differences between units have to do with the products.
    """

    terms: tuple[str, ...]
    mediators: tuple[str, ...]
    exposure_from: float
    exposure_to: float
    exposure_range: tuple[float, float]
    exposure_mean: float
    mediator_means: np.ndarray
    mediator_ranges: np.ndarray
    moderator_mean: float
    moderator_at: np.ndarray
    every_value: bool
    moderator_range: tuple[float, float]
    cautions: tuple[str, ...]

    def pick(self, values: np.ndarray, kind: str) -> np.ndarray:
        """Terms <kind>:<m> of every mediator, (draws, mediators); 0 where the model has none."""
        names = [f"{kind}:{m}" for m in self.mediators]
        if names[0] not in self.terms:
            return np.zeros((len(values), len(names)))
        return values[:, [self.terms.index(name) for name in names]]

    def one(self, values: np.ndarray, term: str) -> np.ndarray:
        """One term, shape (draws, 1); 0 where the model has none."""
        if term not in self.terms:
            return np.zeros((len(values), 1))
        at = self.terms.index(term)
        return values[:, at : at + 1]


def conditional_effects(
    levels: PathLevels, values: np.ndarray, at: Sequence[float] | np.ndarray
) -> tuple[list[tuple[str, float]], np.ndarray]:
    """Paths and effects where the moderator has given values.

    Parameters
    ----------
    values : shape (draws, terms), of a model with a moderator.
    at : values of the moderator, in its units (as deviations from the unit's own mean where
        products were made of these).

    Returns
    -------
    (term, value of the moderator) of each column, term by term; shape (draws, columns):
    a(w) = a + a_w (w - mean), b(w) = b + b_w (w - mean), indirect(w) = sum of a(w) b(w),
    direct(w), total(w) = direct(w) + indirect(w).

    Source: Edwards and Lambert (2007), Psychological Methods 12(1), 1-22; Preacher, Rucker and
    Hayes (2007), Multivariate Behavioral Research 42(1), 185-227.
    """
    steps = np.asarray(at, dtype=float) - levels.moderator_mean
    a, a_by = levels.pick(values, "a"), levels.pick(values, "a_by_moderator")
    b, b_by = levels.pick(values, "b"), levels.pick(values, "b_by_moderator")
    a_at = a[:, :, None] + a_by[:, :, None] * steps
    b_at = b[:, :, None] + b_by[:, :, None] * steps
    direct = levels.one(values, "direct") + levels.one(values, "direct_by_moderator") * steps
    through = a_at * b_at
    indirect = through.sum(axis=1)
    names = [f"indirect:{m}" for m in levels.mediators]
    groups = [f"a:{m}" for m in levels.mediators] + [f"b:{m}" for m in levels.mediators]
    keys = [
        (term, float(w)) for term in (*groups, "direct", *names, "indirect", "total") for w in at
    ]
    parts = [a_at, b_at, direct[:, None], through, indirect[:, None], (direct + indirect)[:, None]]
    return keys, np.concatenate(parts, axis=1).reshape(len(values), -1)


def four_way(
    levels: PathLevels,
    values: np.ndarray,
    exposure: tuple[float, float],
    mediators: Sequence[float] | np.ndarray,
) -> np.ndarray:
    """The total effect in four parts, by mediation and interaction, shape (draws, 7).

    Parameters
    ----------
    values : shape (draws, terms), of a model with exposure-mediator interaction.
    exposure : from, to. mediators : one value each, at which the controlled direct effect holds.

    Returns
    -------
    Columns `FOUR_WAY`, in outcome units: with x from x0 to x1 and mediators held at m*,

        controlled_direct      (c' + sum i_j (m*_j - mean m_j)) (x1 - x0)
        reference_interaction  sum i_j (mean m_j + a_j (x0 - mean x) - m*_j) (x1 - x0)
        mediated_interaction   sum i_j a_j (x1 - x0)^2
        pure_indirect          sum (b_j + i_j (x0 - mean x)) a_j (x1 - x0)

    c' the direct path at the mean mediators, b_j the last paths at the mean exposure, i_j the
    interaction; afterwards pure_direct (the sum of the first two), total_indirect (of the last
    two), and total (of all four).

    Source: VanderWeele (2014), Epidemiology 25(5), 749-761, for linear models with one mediator.
    Several enter as sums, since they do not interact with each other.
    """
    low, high = exposure
    step, before = high - low, low - levels.exposure_mean
    start = levels.exposure_from - levels.exposure_mean
    away = np.asarray(mediators, dtype=float) - levels.mediator_means
    a, b = levels.pick(values, "a"), levels.pick(values, "b")
    crossed = levels.pick(values, "interaction")
    at_means = levels.one(values, "direct")[:, 0] - start * (crossed * a).sum(axis=1)
    controlled = (at_means + (crossed * away).sum(axis=1)) * step
    reference = (crossed * (a * before - away)).sum(axis=1) * step
    mediated = (crossed * a).sum(axis=1) * step**2
    pure = ((b + crossed * (low - levels.exposure_from)) * a).sum(axis=1) * step
    direct, indirect = controlled + reference, mediated + pure
    parts = (controlled, reference, mediated, pure, direct, indirect, direct + indirect)
    return np.stack(parts, axis=1)


def moderator_points(
    levels: PathLevels, at: Sequence[float] | np.ndarray | None, name: str
) -> np.ndarray:
    """The values to show, ascending.

    Raises
    ------
    SpecError : values beyond those of the rows used, or that are no numbers.
    """
    if at is None:
        return levels.moderator_at
    points = np.unique(_numbers(at, f"at={at!r}"))
    low, high = levels.moderator_range
    outside = points[~((points >= low) & (points <= high))]
    if len(outside) or not len(points):
        shown = ", ".join(f"{value:g}" for value in outside[:3])
        raise SpecError(
            f"{len(outside)} of {len(points)} values of the moderator {name!r} lie outside those "
            f"of the rows used, {low:g} to {high:g}{f' (first: {shown})' if shown else ''}: there "
            "are no rows that tell. Choose values within."
        )
    return points


def exposure_ends(
    levels: PathLevels, ends: tuple[float, float] | None, name: str
) -> tuple[float, float]:
    """From and to of the exposure; those of the terms unless others are asked for.

    Raises
    ------
    SpecError : not two different numbers, or one beyond the values of the rows used.
    """
    if ends is None:
        return levels.exposure_from, levels.exposure_to
    points = _numbers(ends, f"exposure={ends!r}")
    low, high = levels.exposure_range
    within = ((points >= low) & (points <= high)).all()
    if points.shape != (2,) or not within or points[0] == points[1]:
        raise SpecError(
            f"exposure={ends!r} is not two different values (from, to) of {name!r} within those "
            f"of the rows used, {low:g} to {high:g}."
        )
    return float(points[0]), float(points[1])


def mediator_points(levels: PathLevels, at: Sequence[float] | None) -> np.ndarray:
    """One value for each mediator; their means unless others are asked for.

    Raises
    ------
    SpecError : not as many values as mediators, or one beyond the values of the rows used.
    """
    if at is None:
        return levels.mediator_means
    points = _numbers(at, f"mediators={at!r}")
    if points.shape != (len(levels.mediators),) or not np.isfinite(points).all():
        raise SpecError(
            f"mediators={at!r} does not give one number for each of {len(levels.mediators)} "
            f"mediators ({', '.join(levels.mediators)}), in this order."
        )
    low, high = levels.mediator_ranges.T
    outside = np.flatnonzero((points < low) | (points > high))
    if len(outside):
        shown = [
            f"{levels.mediators[j]}={points[j]:g} ({low[j]:g} to {high[j]:g})" for j in outside
        ]
        raise SpecError(
            f"{len(outside)} of {len(points)} mediators are held at values beyond those of the "
            f"rows used: {some(shown)}. There are no rows that tell; choose values within."
        )
    return points


def _numbers(values: object, told: str) -> np.ndarray:
    try:
        return np.atleast_1d(np.asarray(values, dtype=float))
    except (TypeError, ValueError) as error:
        raise SpecError(f"{told} does not hold numbers ({error}).") from error


def path_bands(draws: np.ndarray, n_points: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Bands that hold at all points of a term at once, low and high, shape (columns,) each.

    Parameters
    ----------
    draws : shape (draws, columns), each term's `n_points` columns side by side.
    level : of the band, expanded for the number of clusters as that of the intervals.

    Notes
    -----
    Percentiles of each column at one tail, the widest at which a share `level` of the draws lies
    inside at all points of the term: with one point the percentile interval.
    Source: Montiel Olea and Plagborg-Moller (2019), J. Applied Econometrics 34(1), 1-17, algorithm
    2, here for bootstrap draws.
    """
    n, columns = draws.shape
    rank = draws.argsort(axis=0).argsort(axis=0)
    depth = (np.minimum(rank, n - 1 - rank)).reshape(n, -1, n_points).min(axis=2)
    tails = np.repeat(np.quantile(depth, 1 - level, axis=0) / (n - 1), n_points)
    ends = np.array(
        [np.quantile(draws[:, at], [tails[at], 1 - tails[at]]) for at in range(columns)]
    )
    return ends[:, 0], ends[:, 1]
