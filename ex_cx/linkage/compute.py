"""The measures of a source's rows, with small groups of respondents left unshown."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError, nearest
from ex_cx.linkage.confidentiality.withholding import PeopleCells, about_people, is_distribution
from ex_cx.linkage.grouped import (
    contact_resolution,
    group_mean,
    group_nps,
    group_ratio,
    group_share,
    group_sum,
)
from ex_cx.linkage.scales import halves_of, score_scale
from ex_cx.linkage.schema import ANSWER_METRICS, Frequency, MeasureSpec, SourceSpec
from ex_cx.linkage.weighing import weighted_values
from ex_cx.linkage.wording import almost_there, counted, written_like

__all__ = [
    "Counts",
    "all_answers",
    "check_occur",
    "enough_people",
    "measure_rows",
    "people_cells",
    "people_sums",
    "show_measures",
]

Counts = dict[str, dict[str, int]]


def measure_rows(
    rows: pd.DataFrame,
    period: np.ndarray,
    spec: SourceSpec,
    shares: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> tuple[pd.DataFrame, Counts]:
    """All measures per unit and period; `period` holds the position of each row.

    `shares` holds the part of each row that belongs to its unit, where units were split: sums and
    counts take that part of it. `weights` holds what each respondent counts for.

    Means and shares of fewer than `spec.min_n` respondents are missing, distributions below
    `spec.min_n_shares`: the shares behind a net promoter score, and every standard error, which
    beside the mean of a few whole numbers gives the very answers away.
    """
    labels, groups, keys, span, origin = _grouped(rows[spec.unit], period)
    answers = all_answers(rows, spec)
    found = {
        name: _one_measure(rows, measure, answers.get(name), groups, len(keys), shares, weights)
        for name, measure in spec.measures.items()
    }
    halves = {
        name: _halves(rows, spec, name, answers[name], groups, len(keys), weights)
        for name, measure in spec.measures.items()
        if measure.split_seed is not None
    }
    unit = np.asarray(labels[keys // span])
    return show_measures(unit, keys % span + origin, found, spec, halves)


def people_cells(
    rows: pd.DataFrame,
    position: np.ndarray,
    spec: SourceSpec,
    frequency: Frequency,
    weights: np.ndarray | None = None,
) -> PeopleCells:
    """How many people are behind each unit and period of `frequency`, by measure.

    `position` holds the position of each row in those periods. Sums of weighted answers are the
    rounded values, as they are shown, times n, and marked: of the same answers under other weights
    readers would learn more, so that to later releases they are revised answers.
    """
    about = [name for name, measure in spec.measures.items() if about_people(measure, spec)]
    if not about or not len(rows):
        return PeopleCells()
    labels, groups, keys, span, origin = _grouped(rows[spec.unit], position)
    answers = all_answers(rows, spec)
    n, sums, effective = {}, {}, {}
    for name in about:
        given = groups if name not in answers else groups[~np.isnan(answers[name])]
        n[name] = np.bincount(given, minlength=len(keys))
        measure = spec.measures[name]
        found, _ = _one_measure(
            rows, measure, answers.get(name), groups, len(keys), weights=weights
        )
        sums[name] = people_sums(found, measure)
        if spec.weighting is not None:
            effective[name] = enough_people(found)
            sums[name] += spec.weighting.mark * found["n"].to_numpy()
    return PeopleCells(
        frequency=frequency,
        labels=np.asarray(labels, dtype=object),
        unit=keys // span,
        position=keys % span + origin,
        n=n,
        sums=sums,
        effective=effective,
    )


def enough_people(values: pd.DataFrame) -> np.ndarray:
    """How many people the values count for when they are few: no more than effective ones."""
    n = values["n"].to_numpy()
    if "effective" not in values:
        return n
    return np.minimum(n, np.nan_to_num(values["effective"].to_numpy())).astype(n.dtype)


def people_sums(values: pd.DataFrame, measure: MeasureSpec) -> np.ndarray:
    """What a measure sums over the people of each group, 0 where there are none: its value times n,
    unless the value is a sum itself.
    """
    times = 1.0 if measure.metric in ("sum", "count") else values["n"].to_numpy(dtype=float)
    return np.nan_to_num(values["value"].to_numpy(dtype=float) * times)


def _grouped(
    units: pd.Series, period: np.ndarray
) -> tuple[pd.Index, np.ndarray, np.ndarray, int, int]:
    """Labels of units, the group of each row, the key of each group (code of the unit * span +
    period - origin), the span and the origin.
    """
    codes, labels = pd.factorize(units, sort=True)
    origin = int(period.min()) if len(period) else 0
    span = int(period.max()) - origin + 1 if len(period) else 1
    groups, keys = pd.factorize(codes * span + (period - origin), sort=True)
    return labels, groups, keys, span, origin


def all_answers(rows: pd.DataFrame, spec: SourceSpec) -> dict[str, np.ndarray]:
    """Measure -> one number per row, for those that are made of answers."""
    return {
        name: _answers(rows, spec, measure)
        for name, measure in spec.measures.items()
        if measure.metric in (*ANSWER_METRICS, "sum")
    }


def show_measures(
    unit: np.ndarray,
    period: np.ndarray,
    found: Mapping[str, tuple[pd.DataFrame, int]],
    spec: SourceSpec,
    halves: Mapping[str, dict[str, np.ndarray]],
) -> tuple[pd.DataFrame, Counts]:
    """The measures of all unit-periods side by side, with what may not be shown withheld.

    Parameters
    ----------
    unit, period : of each unit-period, sorted.
    found : measure -> its value, n and what else it has, unsuppressed; and rows without an answer.
    halves : measure -> columns of its two halves, already withheld where they are small.
    """
    out: dict[str, np.ndarray] = {"unit": unit, "period": period}
    counts: Counts = {}
    for name, (values, blank) in found.items():
        shown, hidden = _suppress(values, spec.measures[name], spec)
        out |= _named(name, shown)
        counts[name] = {"unit_periods": len(unit), "blank_answers": blank, **hidden}
        counts[name]["shown"] = int(shown["value"].notna().sum())
        out |= halves.get(name, {})
    return pd.DataFrame(out), counts


def _halves(
    rows: pd.DataFrame,
    spec: SourceSpec,
    name: str,
    answers: np.ndarray,
    groups: np.ndarray,
    n: int,
    weights: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The measure of two random halves of each group's answers, both shown or neither."""
    measure = spec.measures[name]
    answered = np.where(np.isnan(answers), -1, groups)
    half = halves_of(answered, np.random.default_rng(measure.split_seed))
    sides = [np.where(half == side, groups, -1) for side in (0, 1)]
    both = [_one_measure(rows, measure, answers, at, n, weights=weights)[0] for at in sides]
    most = max(spec.min_n, spec.min_n_shares)
    least = most if is_distribution(measure) else spec.min_n
    few = np.minimum(*(enough_people(values) for values in both)) < least
    return {
        f"{name}_half{at}": np.where(few, np.nan, values["value"])
        for at, values in enumerate(both, start=1)
    }


def _one_measure(
    rows: pd.DataFrame,
    measure: MeasureSpec,
    answers: np.ndarray | None,
    groups: np.ndarray,
    n: int,
    shares: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> tuple[pd.DataFrame, int]:
    """The measure per group, and how many rows had nothing to measure."""
    part = np.ones(len(groups)) if shares is None else shares
    if measure.metric == "count":
        size = np.bincount(groups, minlength=n)
        return pd.DataFrame({"value": np.bincount(groups, weights=part, minlength=n), "n": size}), 0
    if answers is None:
        per = 100.0 if measure.metric == "occupancy" else measure.per
        top = part * _added(rows, measure.added("numerator"))
        bottom = part * _added(rows, measure.added("denominator"))
        blank = int((np.isnan(top) | np.isnan(bottom)).sum())
        return group_ratio(top, bottom, groups, n, per=per), blank
    blank = int(np.isnan(answers).sum())
    if weights is not None:
        return weighted_values(rows, measure, answers, weights, groups, n), blank
    if measure.metric == "nps":
        return group_nps(answers, groups, n), blank
    if measure.metric == "sum":
        return group_sum(part * answers, groups, n), blank
    if measure.metric in ("share", "fcr"):
        return group_share(answers, groups, n), blank
    return group_mean(answers, groups, n), blank


def _added(rows: pd.DataFrame, signs: Mapping[str, int]) -> np.ndarray:
    """Columns added up row by row, or taken away; missing where one of them is."""
    columns = [sign * rows[name].to_numpy(float) for name, sign in signs.items()]
    return np.sum(columns, axis=0)


def _answers(rows: pd.DataFrame, spec: SourceSpec, measure: MeasureSpec) -> np.ndarray:
    """One number per row: the answer, the scale score, or 1 and 0 for yes and no."""
    if measure.metric == "scale_mean":
        score = score_scale(
            rows,
            items=measure.items,
            reverse=measure.reverse,
            low=float(measure.low or 0),
            high=float(measure.high or 0),
            min_share=measure.min_share,
        )
        return score.to_numpy()
    if measure.customer:
        who, when = rows[measure.customer], rows[spec.period]
        return contact_resolution(who, when, days=measure.days, units=rows[spec.unit])
    column = rows[measure.score]
    if measure.metric in ("share", "fcr"):
        check_occur(measure.positive, column, measure.score, "positive")
        return np.where(column.isna(), np.nan, column.isin(measure.positive).astype(float))
    return column.to_numpy(dtype=float)


def check_occur(wanted: tuple[str, ...], column: pd.Series, name: str, field: str) -> None:
    """Refuse a value that never occurs if it looks misspelt, or if none of them occurs."""
    seen = pd.unique(column.dropna())
    others = [value for value in seen if value not in wanted]
    absent = [value for value in wanted if value not in seen]
    misspelt = [value for value in absent if nearest(value, others)]
    if len(seen) and (misspelt or len(absent) == len(wanted)):
        absent = misspelt or absent
        raise SchemaError(
            f"`{field}` lists {absent[0]!r}, which is none of the {counted(len(seen), 'value')} of "
            f"{name!r} (written like {written_like(sorted(seen))})."
            f"{almost_there(absent[0], others)} Correct the list."
        )


def _suppress(
    values: pd.DataFrame, measure: MeasureSpec, spec: SourceSpec
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Withhold all of a cell of too few people, also how many they are."""
    if not about_people(measure, spec):
        return values, {"suppressed": 0, "shares_suppressed": 0}
    most = max(spec.min_n, spec.min_n_shares)
    least = most if is_distribution(measure) else spec.min_n
    enough = enough_people(values)
    few = (enough < least) & (values["n"] > 0)
    thin = (enough < most) & (values["n"] > 0)
    shown = values.drop(columns="effective", errors="ignore").astype({"n": float})
    shown.loc[few, list(shown.columns)] = np.nan
    shown.loc[thin, [c for c in shown.columns if c not in ("n", "value", "exits")]] = np.nan
    thin_shares = int(thin.sum()) if measure.metric == "nps" else 0
    return shown, {"suppressed": int(few.sum()), "shares_suppressed": thin_shares}


def _named(name: str, values: pd.DataFrame) -> dict[str, np.ndarray]:
    """`value` becomes the measure's name, all else `<name>_<what>`."""
    return {
        name if column == "value" else f"{name}_{column}": values[column].to_numpy()
        for column in values.columns
    }
