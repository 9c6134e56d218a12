"""Who did not answer: respondents weighted to the known make-up of those who were asked.

Raking makes weighted counts equal to known ones, margin by margin, and changes the respondents as
little as that allows. It mends what goes with the margins and nothing else: among people alike in
them, those who answered are taken to stand for those who did not.
Sources: Deming and Stephan (1940), Annals of Mathematical Statistics 11, 427-444; Deville, Saerndal
and Sautory (1993), JASA 88, 1013-1020; Kish (1965), Survey Sampling, 11.7, for the design effect.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError, nearest, some
from ex_cx.linkage.metrics import Estimate, Numbers
from ex_cx.linkage.schema import MIN_N
from ex_cx.linkage.wording import counted, written_like

__all__ = ["RakedWeights", "rake_weights", "weighted_mean"]

_AGREE = 1e-6
"""Relative difference up to which the totals of two margins are one number."""
_CLOSE = 1e-10
"""Relative distance of every weighted count from its target at which raking has converged."""
_ROUNDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RakedWeights:
    """Weights of respondents, and what they cost.

    Attributes
    ----------
    weights : one per respondent, with the index of the respondents; they add up to the number of
        people asked.
    margins : margin, category, respondents, answered_pct, known_pct, weighted_pct. The last two are
        equal unless weights were trimmed.
    n, population : respondents, people asked (the total of every margin).
    design_effect : n sum w^2 / (sum w)^2, what unequal weights multiply the variance of a mean by.
    effective_n : respondents that a survey of equal weights would need for the same precision.
    rounds : passes over the margins until every count was met.
    trimmed : weights cut down to the limit.
    furthest_pct : largest distance of a weighted from a known share, in points; 0 if not trimmed.
    """

    weights: pd.Series
    margins: pd.DataFrame
    n: int
    population: float
    design_effect: float
    effective_n: float
    rounds: int
    trimmed: int
    furthest_pct: float

    @property
    def reading(self) -> str:
        """What the weights do, in a sentence."""
        rate = 100 * self.n / self.population
        cut = (
            f" {counted(self.trimmed, 'weight')} cut down; shares are now up to "
            f"{self.furthest_pct:.1f} points from the known ones."
            if self.trimmed
            else ""
        )
        return (
            f"{counted(self.n, 'respondent')} of {self.population:,.0f} asked ({rate:.0f} %); "
            f"design effect {self.design_effect:.2f}: as precise as {self.effective_n:.0f} "
            f"respondents of equal weight.{cut}"
        )

    def __repr__(self) -> str:
        """One line; `.weights` and `.margins` hold the rest."""
        return f"<RakedWeights {self.reading}>"

    def _repr_html_(self) -> str:
        table = self.margins.to_html(index=False, escape=True, float_format=lambda v: f"{v:.1f}")
        return f"<p>{html.escape(self.reading)}</p>{table}"


def rake_weights(
    respondents: pd.DataFrame,
    margins: Mapping[str, Mapping[Any, float]],
    *,
    base: str | None = None,
    trim: float | None = None,
    min_n: int = MIN_N,
) -> RakedWeights:
    """Weights that give the respondents the known margins (iterative proportional fitting).

    Parameters
    ----------
    respondents : one row each; it is not changed.
    margins : column -> category -> people asked. All margins have the same total.
    base : column of weights to start from, such as one over the chance of being asked; none: 1.
    trim : no weight above this many times the mean one. What is cut off is spread evenly over the
        others, so that the total stays and the margins are met only nearly. None: no trimming.
    min_n : fewest respondents of a category that can be raked; at least 5.

    Raises
    ------
    SchemaError : unknown columns; respondents without a category; categories without a known
        count, or with too few respondents; totals that differ; margins that contradict each other
        among those who answered, so that no weights meet them all.

    Notes
    -----
    The solution is that of R's survey::rake run to convergence, the trimming that of
    survey::trimWeights(strict = TRUE).

    Examples
    --------
    >>> staff = pd.DataFrame({"shift": ["day"] * 15 + ["night"] * 5})
    >>> found = rake_weights(staff, {"shift": {"day": 30, "night": 30}})
    >>> found.weights.unique().tolist(), round(found.design_effect, 4)
    ([2.0, 6.0], 1.3333)
    """
    if min_n < MIN_N:
        raise SchemaError(f"min_n={min_n} is below {MIN_N}, the least that is shown. Raise it.")
    if trim is not None and not trim > 1:
        raise SchemaError(f"trim={trim:g} must exceed 1: a weight cannot be held below the mean.")
    targets = _targets(margins)
    codes = {name: _coded(respondents, name, known, min_n) for name, known in targets.items()}
    start = _base(respondents, base)
    raked, rounds = _rake(start, codes, targets)
    weights, trimmed = (raked, 0) if trim is None else _trim(raked, trim * raked.mean())
    table = _margin_table(weights, codes, targets)
    effect = len(weights) * (weights**2).sum() / weights.sum() ** 2
    off = (table["weighted_pct"] - table["known_pct"]).abs().max()
    return RakedWeights(
        weights=pd.Series(weights, index=respondents.index, name="weight"),
        margins=table,
        n=len(weights),
        population=float(weights.sum()),
        design_effect=float(effect),
        effective_n=float(len(weights) / effect),
        rounds=rounds,
        trimmed=trimmed,
        furthest_pct=float(off) if trimmed else 0.0,
    )


def _targets(margins: Mapping[str, Mapping[Any, float]]) -> dict[str, pd.Series]:
    """Known counts by margin, as positive numbers with one total."""
    if not margins:
        raise SchemaError("There are no margins. Give a column with the people asked by category.")
    found = {
        name: pd.to_numeric(pd.Series(dict(known), dtype=object), errors="coerce").astype(float)
        for name, known in margins.items()
    }
    for name, known in found.items():
        bad = known.index[~(np.isfinite(known) & (known > 0))]
        if len(bad) or len(known) == 0:
            raise SchemaError(
                f"The margin {name!r} has {counted(len(bad), 'category', 'categories')} without a "
                f"positive count ({some(bad)}). Leave out what nobody belongs to."
            )
    totals = {name: float(known.sum()) for name, known in found.items()}
    first, total = next(iter(totals.items()))
    for name, other in totals.items():
        if abs(other - total) > _AGREE * total:
            raise SchemaError(
                f"The margins count different numbers of people: {total:,.6g} by {first!r}, "
                f"{other:,.6g} by {name!r}. Correct them; all describe the same people."
            )
    return {name: known * (total / known.sum()) for name, known in found.items()}


def _coded(frame: pd.DataFrame, name: str, known: pd.Series, min_n: int) -> np.ndarray:
    """The category of every respondent as a position in `known`."""
    if name not in frame.columns:
        raise SchemaError(
            f"The respondents have no column {name!r}.{nearest(name, frame.columns)} They have: "
            f"{some(list(frame.columns), 6)}."
        )
    missing = int(frame[name].isna().sum())
    if missing:
        raise SchemaError(
            f"{counted(missing, 'respondent')} of {len(frame):,} have no {name!r}. Give them a "
            "category of their own with a known count, or leave them out."
        )
    codes = known.index.get_indexer(pd.Index(frame[name]))
    strange = frame[name][codes < 0].unique()
    if len(strange):
        raise SchemaError(
            f"The margin {name!r} knows no count for "
            f"{counted(len(strange), 'category', 'categories')} of the respondents "
            f"(written like {written_like(strange)}). Add the people asked."
        )
    few = int((np.bincount(codes, minlength=len(known)) < min_n).sum())
    if few:
        raise SchemaError(
            f"{counted(few, 'category', 'categories')} of the margin {name!r} "
            f"{'has' if few == 1 else 'have'} fewer than {min_n} respondents, too few to stand for "
            "those who did not answer. Merge them with others, in the margin and in the answers."
        )
    return codes


def _base(frame: pd.DataFrame, base: str | None) -> np.ndarray:
    if base is None:
        return np.ones(len(frame))
    if base not in frame.columns:
        raise SchemaError(f"The respondents have no column {base!r}.{nearest(base, frame.columns)}")
    start = frame[base].to_numpy(dtype=float)
    wrong = int((~(np.isfinite(start) & (start > 0))).sum())
    if wrong:
        raise SchemaError(
            f"{counted(wrong, 'base weight')} of {len(start):,} in {base!r} "
            f"{'is' if wrong == 1 else 'are'} missing, infinite or not positive. Correct them."
        )
    return start


def _rake(
    start: np.ndarray, codes: Mapping[str, np.ndarray], targets: Mapping[str, pd.Series]
) -> tuple[np.ndarray, int]:
    """Multiply margin by margin until all are met; refuse if that does not come to an end."""
    total = float(next(iter(targets.values())).sum())
    weights = start * (total / start.sum())
    away = dict.fromkeys(targets, np.inf)
    for done in range(1, _ROUNDS + 1):
        for name, known in targets.items():
            now = np.bincount(codes[name], weights=weights, minlength=len(known))
            weights = weights * (known.to_numpy() / now)[codes[name]]
        for name, known in targets.items():
            now = np.bincount(codes[name], weights=weights, minlength=len(known))
            away[name] = float(np.abs(now / known.to_numpy() - 1).max())
        if max(away.values()) < _CLOSE:
            return weights, done
    worst = max(away, key=lambda name: away[name])
    raise SchemaError(
        f"No weights meet all {len(targets)} margins: after {_ROUNDS:,} rounds a count of "
        f"{worst!r} is still {100 * away[worst]:.2g} % off. Some combinations of categories have "
        "no respondent; merge categories, or give up a margin."
    )


def _trim(weights: np.ndarray, most: float) -> tuple[np.ndarray, int]:
    """No weight above `most`; the excess is added in equal parts to the others (same total)."""
    shift, over = 0.0, weights > most
    while True:
        excess = weights.sum() - over.sum() * most - weights[~over].sum()
        shift = excess / max(int((~over).sum()), 1)
        further = over | (weights + shift > most)
        if (further == over).all():
            return np.where(over, most, weights + shift), int(over.sum())
        over = further


def _margin_table(
    weights: np.ndarray, codes: Mapping[str, np.ndarray], targets: Mapping[str, pd.Series]
) -> pd.DataFrame:
    parts = []
    for name, known in targets.items():
        n = np.bincount(codes[name], minlength=len(known))
        now = np.bincount(codes[name], weights=weights, minlength=len(known))
        columns = {
            "margin": name,
            "category": known.index.astype(str),
            "respondents": n,
            "answered_pct": 100 * n / n.sum(),
            "known_pct": 100 * known.to_numpy() / known.sum(),
            "weighted_pct": 100 * now / now.sum(),
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def weighted_mean(scores: Numbers, weights: Numbers) -> Estimate:
    """Mean of answers with a weight each; rows that lack one of the two are left out.

    The error is linearised, the weights taken as given: sqrt(n / (n - 1) sum w^2 (y - mean)^2) /
    sum w, as R's survey::svymean has it for such weights. That raking also takes variance away
    where answers go with the margins is not counted: the error is on the safe side.

    >>> weighted_mean([1.0, 3.0], [3.0, 1.0]).estimate
    1.5
    """
    values, weight = (np.atleast_1d(np.asarray(v, dtype=float)) for v in (scores, weights))
    if values.shape != weight.shape:
        raise SchemaError(
            f"There are {len(values):,} scores and {len(weight):,} weights. Give each its own."
        )
    wrong = int((~np.isnan(weight) & ~((weight >= 0) & np.isfinite(weight))).sum())
    if wrong:
        raise SchemaError(
            f"{counted(wrong, 'weight')} of {len(weight):,} "
            f"{'is' if wrong == 1 else 'are'} negative or infinite. Correct them."
        )
    use = ~(np.isnan(values) | np.isnan(weight)) & (weight > 0)
    values, weight, n = values[use], weight[use], int(use.sum())
    if n == 0:
        return Estimate(np.nan, np.nan, 0)
    mean = float((weight * values).sum() / weight.sum())
    if n == 1:
        return Estimate(mean, np.nan, n)
    spread = (weight**2 * (values - mean) ** 2).sum() * n / (n - 1)
    return Estimate(mean, float(np.sqrt(spread) / weight.sum()), n)
