"""A source whose respondents are weighted: the weights of its rows, and weighted measures.

What is shown of weighted answers holds no more than the same of unweighted ones. A weighted mean of
a few whole answers, exact to the last digit, gives the answers of each kind of respondent away, and
a kind may be one person. So the mean of n respondents is rounded to the nearest that n unweighted
answers can have (n times the value is a whole number of answer steps again), its error likewise,
and a value needs as many effective as plain respondents. The rounding is at most 1 / (2 n) of a
step, its variance some 1 / (12 n) of the sampling variance of answers that vary by a step.
Source: Hundepool et al. (2012), Statistical Disclosure Control, Wiley, chapter 4 (dominance,
rounding); Kish (1965), Survey Sampling, 11.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError, nearest, some
from ex_cx.linkage.grouped import group_weighted, refuse_broken_answers
from ex_cx.linkage.periods import period_label
from ex_cx.linkage.schema import MeasureSpec, SourceSpec
from ex_cx.linkage.weighting import RakedWeights, rake_weights
from ex_cx.linkage.weightspec import WeightingSpec
from ex_cx.linkage.wording import almost_there, counted, written_like

__all__ = ["Weighed", "coarse", "weigh_rows", "weighted_values"]

_DIGITS = 7
"""Digits of a number of answer steps that raking can vouch for; ties are ties beyond them."""
_ERRORS = dict.fromkeys(
    ("nps", "share", "fcr"), "standard error by the design effect of the weights (Kish)"
)
_FEW_VALUES = 3
"""Different answers up to which a shown share tells the spread of the answers, too."""
_ANY_SIZE = 1e-6
"""Answers nearer than this part of their range are amounts, not points of a scale."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weighed:
    """The weights of a source's rows, and the record of them.

    Attributes
    ----------
    weights : shape (rows,), mean 1 in each period; missing where nothing was answered.
    known, raked : shape (rows,), does the row have all categories, and is its period raked? Other
        rows are lost.
    periods : period, respondents, design_effect, effective_n, lowest, highest (mean weight of the
        `min_n` people who have the least and the greatest), trimmed (missing for a few), rounds,
        furthest_pct, outcome.
    margins : period, margin, category, respondents, answered_pct, known_pct, weighted_pct,
        mean_weight; raked periods only, so that every category has `min_n` respondents.
    """

    weights: np.ndarray
    known: np.ndarray
    raked: np.ndarray
    periods: pd.DataFrame
    margins: pd.DataFrame

    def sentence(self, metric: str, spec: SourceSpec) -> str:
        """How a measure of this metric is weighted, for its definition."""
        plan = spec.weighting
        if plan is None:
            return ""
        whole = plan.within == "file"
        done = self.periods.dropna(subset="respondents")
        cut = "" if plan.trim is None else f", none above {plan.trim:g} times the mean"
        return (
            f"; weighted: respondents of {'the file' if whole else f'each {spec.frequency}'} raked "
            f"to known margins of {', '.join(map(repr, plan.margins))}{cut} (weights about "
            f"{done['lowest'].min():.2f} to {done['highest'].max():.2f} of the mean, "
            f"{done['effective_n'].sum():,.0f} effective of {done['respondents'].sum():,.0f} "
            f"respondents), {_ERRORS.get(metric, 'linearised standard error')}, both rounded to "
            "what as many unweighted answers can give; n counts respondents, and as many effective "
            "ones are needed"
        )


def weigh_rows(
    rows: pd.DataFrame, position: np.ndarray, answered: np.ndarray, spec: SourceSpec, name: str
) -> Weighed:
    """Rake the respondents among the rows, period by period or all at once.

    Parameters
    ----------
    rows : of a source; position : shape (rows,), the period of each.
    answered : shape (rows,), has the row any answer? Only such rows are respondents.

    Raises
    ------
    SchemaError : categories that the margins or the file do not have; a category of fewer than
        `spec.min_n` respondents in a period, unless such periods are lost; margins that contradict
        each other among the respondents.
    """
    plan = spec.weighting
    if plan is None:
        raise SchemaError(f"{name!r} states no `weighting`.")
    _check_categories(rows[answered], plan, name)
    blank = rows[list(plan.margins)].isna().any(axis=1).to_numpy()
    known = ~(blank & answered)
    group = position if plan.within == "period" else np.zeros(len(rows), dtype=np.int64)
    use = known & answered
    small = _small_periods(rows[use], group[use], plan, spec, name)
    raked = ~np.isin(group, list(small))
    weights = np.full(len(rows), np.nan)
    found: dict[int, RakedWeights] = {}
    for at in np.unique(group[use & raked]):
        here = use & (group == at)
        found[int(at)] = _raked(rows[here], plan, spec, name, _label(int(at), spec))
        weights[here] = found[int(at)].weights.to_numpy()
    if not found:
        raise SchemaError(
            f"No period of {name!r} can be weighted: {_why(small)} Merge categories, or state "
            "longer periods."
        )
    return Weighed(
        weights=weights,
        known=known,
        raked=raked,
        periods=_periods(found, small, spec),
        margins=_margins(found, spec),
    )


def _check_categories(rows: pd.DataFrame, plan: WeightingSpec, name: str) -> None:
    """Refuse categories that only the margins, or only the respondents, have."""
    for margin, known in plan.margins.items():
        seen = rows[margin].dropna().unique()
        strange = [value for value in seen if value not in known]
        absent = [category for category in known if category not in seen]
        if strange:
            like = almost_there(absent[0], strange) if absent else ""
            raise SchemaError(
                f"{name!r} has {counted(len(strange), 'category', 'categories')} of {margin!r} "
                f"(written like {written_like(sorted(strange))}) of which `weighting` does not say "
                f"how many were asked; it knows {some(list(known))}.{like} Add them to the margin, "
                "or correct the spelling."
            )
        if absent:
            raise SchemaError(
                f"`weighting` of {name!r} counts people of {margin!r} in {some(absent)}, of whom "
                f"nobody answered.{nearest(absent[0], [c for c in known if c not in absent])} "
                "Nobody can stand for them: merge the category with another, in the margin and in "
                "the file, or leave it out."
            )


def _small_periods(
    rows: pd.DataFrame, group: np.ndarray, plan: WeightingSpec, spec: SourceSpec, name: str
) -> dict[int, int]:
    """Period -> how many categories have too few respondents there, refused if so asked."""
    small: dict[int, int] = {}
    places, codes = np.unique(group, return_inverse=True)
    for margin, known in plan.margins.items():
        code = pd.Index(list(known)).get_indexer(pd.Index(rows[margin]))
        sizes = np.bincount(codes * len(known) + code, minlength=len(places) * len(known))
        few = (sizes.reshape(len(places), -1) < spec.min_n).sum(axis=1)
        for at in np.flatnonzero(few):
            small[int(places[at])] = small.get(int(places[at]), 0) + int(few[at])
    if small and plan.too_few == "refuse":
        where, instead = "in all rows together", ""
        if plan.within == "period":
            labels = some([_label(at, spec) for at in sorted(small)])
            where = f"in {counted(len(small), 'period')} of {len(places):,} ({labels})"
            instead = ", state `within: file`, or `too_few: lose` to leave those periods out"
        raise SchemaError(
            f"{name!r}: {where} a category of {', '.join(map(repr, plan.margins))} has fewer than "
            f"{spec.min_n} respondents, too few to stand for those who did not answer. Merge "
            f"categories{instead}."
        )
    return small


def _raked(
    rows: pd.DataFrame, plan: WeightingSpec, spec: SourceSpec, name: str, where: str
) -> RakedWeights:
    """Weights of mean 1: each margin is scaled to the number of respondents."""
    targets = {}
    for margin, known in plan.margins.items():
        scale = len(rows) / sum(known.values())
        targets[margin] = {category: asked * scale for category, asked in known.items()}
    try:
        return rake_weights(rows, targets, trim=plan.trim, min_n=spec.min_n)
    except SchemaError as error:
        raise SchemaError(f"{name!r}, {where}: {error}") from error


def _label(at: int, spec: SourceSpec) -> str:
    if spec.weighting is not None and spec.weighting.within == "file":
        return "all periods"
    return period_label(at, spec.frequency)


def _why(small: Mapping[int, int]) -> str:
    if not small:
        return "no row has an answer and every category."
    return f"in each of {counted(len(small), 'period')} a category has too few respondents."


def _periods(
    found: Mapping[int, RakedWeights], small: Mapping[int, int], spec: SourceSpec
) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    for at in sorted({*found, *small}):
        row: dict[str, object] = {"period": _label(at, spec)}
        if at in found:
            raked = found[at]
            weights = np.sort(raked.weights.to_numpy())
            row |= {
                "respondents": raked.n,
                "design_effect": round(raked.design_effect, 3),
                "effective_n": round(raked.effective_n, 1),
                "lowest": round(float(weights[: spec.min_n].mean()), 3),
                "highest": round(float(weights[-spec.min_n :].mean()), 3),
                "trimmed": np.nan if 0 < raked.trimmed < spec.min_n else raked.trimmed,
                "rounds": raked.rounds,
                "furthest_pct": round(raked.furthest_pct, 1),
                "outcome": "converged",
            }
        else:
            few = counted(small[at], "category", "categories")
            row |= {"outcome": f"left out: {few} of fewer than {spec.min_n} respondents"}
        rows.append(row)
    return pd.DataFrame(rows)


def _margins(found: Mapping[int, RakedWeights], spec: SourceSpec) -> pd.DataFrame:
    parts = []
    for at in sorted(found):
        table = found[at].margins
        mean = table["weighted_pct"] / table["answered_pct"]
        shares = table.assign(mean_weight=mean).round(
            {"answered_pct": 1, "known_pct": 1, "weighted_pct": 1, "mean_weight": 3}
        )
        shares.insert(0, "period", _label(at, spec))
        parts.append(shares)
    return pd.concat(parts, ignore_index=True)


def weighted_values(
    rows: pd.DataFrame,
    measure: MeasureSpec,
    answers: np.ndarray,
    weights: np.ndarray,
    groups: np.ndarray,
    n_groups: int,
) -> pd.DataFrame:
    """A weighted measure per group, rounded: value, n, se, and `effective`, whole respondents.

    Parameters
    ----------
    answers : shape (rows,), as the measure takes them; rows : theirs, for the items of a scale.

    Notes
    -----
    The error is that of `group_weighted`. Where answers have two or three values only (shares, net
    promoter score), it would tell together with the shown shares what the person of the greatest
    weight has answered; there it is sqrt(s^2 / effective n), s^2 being the variance (on n - 1) of
    the shown shares: the linearised error if weights do not go with the spread of the answers.
    """
    if measure.metric == "nps":
        return _weighted_nps(answers, weights, groups, n_groups)
    score = 100.0 * answers if measure.metric in ("share", "fcr") else answers
    exact = group_weighted(score, weights, groups, n_groups)
    mean, se, n, effective = (exact[c].to_numpy(float) for c in ("value", "se", "n", "effective"))
    divisor, squares = n, se**2 * n * (n - 1)
    if len(np.unique(score[~np.isnan(score)])) <= _FEW_VALUES:
        apart = (score - np.where(groups >= 0, mean[groups], np.nan)) ** 2
        spread = group_weighted(apart, weights, groups, n_groups)["value"].to_numpy()
        divisor, squares = effective, n * spread
    step, base = _answer_grid(rows, measure, score)
    value, squares = coarse(mean, squares, n, step, base)
    error = _error(squares, n, divisor)
    return exact.assign(value=value, se=error, effective=np.rint(effective))


def _error(squares: np.ndarray, n: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    """sqrt(s^2 / divisor) with s^2 on n - 1; missing for one respondent."""
    return np.sqrt(squares / np.where(n > 1, n - 1, np.nan) / divisor)


def _weighted_nps(
    answers: np.ndarray, weights: np.ndarray, groups: np.ndarray, n_groups: int
) -> pd.DataFrame:
    """Shares of promoters and detractors in whole respondents, by the largest remainders."""
    given = answers[~np.isnan(answers)]
    refuse_broken_answers(int(((given < 0) | (given > 10) | (given % 1 != 0)).sum()), len(given))
    promoter = np.where(np.isnan(answers), np.nan, answers >= 9)
    detractor = np.where(np.isnan(answers), np.nan, answers <= 6)
    sides = [group_weighted(each, weights, groups, n_groups) for each in (promoter, detractor)]
    n, effective = sides[0]["n"].to_numpy(float), sides[0]["effective"].to_numpy()
    p, d = (n * np.nan_to_num(each["value"].to_numpy()) for each in sides)
    p, d, _ = _whole_parts(np.stack([p, d, n - p - d]))
    some_ = np.where(n > 0, n, np.nan)
    squares = 100.0**2 * (p + d - (p - d) ** 2 / some_)
    return pd.DataFrame(
        {
            "value": 100 * (p - d) / some_,
            "n": sides[0]["n"],
            "se": _error(squares, n, effective),
            "promoter_share": p / some_,
            "detractor_share": d / some_,
            "effective": np.rint(effective),
        }
    )


def _whole_parts(parts: np.ndarray) -> np.ndarray:
    """Whole numbers of the same sums; what is left over goes to the largest remainders."""
    parts = np.round(parts, _DIGITS)
    low = np.floor(parts)
    left = np.rint(parts.sum(axis=0) - low.sum(axis=0))
    order = np.argsort(-(parts - low).round(_DIGITS), axis=0, kind="stable")
    rank = np.argsort(order, axis=0, kind="stable")
    return low + (rank < left)


def coarse(
    mean: np.ndarray, squares: np.ndarray, n: np.ndarray, step: float, base: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sum of squared deviations rounded to the nearest that n unweighted answers can have.

    Parameters
    ----------
    step : distance of answers next to each other, `base` one of them; step 0: answers of any size,
        which are not rounded.

    Notes
    -----
    In steps from the base, the sum S of n answers is whole, and their sum of squares is whole, even
    if S is and odd if S is, and least where the answers are as equal as they can be.

    >>> mean, squares = coarse(np.array([3.44]), np.array([5.0]), np.array([5.0]), 1.0)
    >>> mean.round(6).tolist(), squares.round(6).tolist()  # 17 / 5, and 63 - 17^2 / 5
    ([3.4], [5.2])
    """
    if step == 0:
        return mean, squares
    count = np.where(n > 0, n, np.nan)
    total = np.rint(np.round(count * (mean - base) / step, _DIGITS))
    whole = np.floor(total / count)
    least = total + whole * (2 * total - count * (whole + 1))
    second = squares / step**2 + total**2 / count
    second = np.maximum(2 * np.rint(np.round((second - total) / 2, _DIGITS)) + total, least)
    return base + step * total / count, step**2 * np.maximum(second - total**2 / count, 0)


def _answer_grid(
    rows: pd.DataFrame, measure: MeasureSpec, score: np.ndarray
) -> tuple[float, float]:
    """Distance of answers next to each other, and one of them; of a scale, of its mean."""
    told = rows[list(measure.items)].to_numpy(dtype=float) if measure.items else score
    seen = np.unique(told[~np.isnan(told)])
    apart = np.diff(seen)
    if len(apart) == 0 or apart.min() < _ANY_SIZE * (seen[-1] - seen[0]):
        return 0.0, 0.0
    return float(apart.min()) / max(len(measure.items), 1), float(seen[0])
