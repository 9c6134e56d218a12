"""Counts, sums and variances by unit and period in a database, and the measures made of them.

Each measure asks the database for what is sufficient for it; `group_values` then gives what
`grouped` gives for rows in memory, by the same formulae.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.linkage.grouped import nps_from_counts, refuse_broken_answers
from ex_cx.linkage.indatabase.columns import Columns, Numbers, order_of, seconds_of
from ex_cx.linkage.schema import MeasureSpec, SourceSpec

__all__ = [
    "KEYS",
    "add_contacts",
    "answer_bounds",
    "count_groups",
    "group_rows",
    "group_values",
    "sort_groups",
    "unseen",
]

KEYS = ["unit_", "position_"]
_RATIOS = ("occupancy", "aht", "ratio")
_MEANS = ("effort", "scale_mean", "mean")


def answer_bounds(columns: Columns, spec: SourceSpec) -> dict[str, Any]:
    """Least and greatest answer of means of which no number is known: `b0_least`, `b0_most`."""
    rows = columns.rows
    answers = {
        at: _answer(columns, measure)(rows)
        for at, measure in enumerate(spec.measures.values())
        if measure.metric in _MEANS and not _numbers(columns, measure)
    }
    return {f"b{at}_least": answer.min() for at, answer in answers.items()} | {
        f"b{at}_most": answer.max() for at, answer in answers.items()
    }


def group_rows(
    rows: Any, columns: Columns, spec: SourceSpec, facts: Mapping[str, Any]
) -> pd.DataFrame:
    """One row per unit and period: `unit_`, `position_`, `size_` and what the measures need.

    `rows` have both keys; `facts` are the answers to `answer_bounds`.
    """
    cells = sort_groups(count_groups(rows, columns, spec, facts))
    return add_contacts(cells, rows, columns, spec)


def count_groups(
    rows: Any, columns: Columns, spec: SourceSpec, facts: Mapping[str, Any]
) -> pd.DataFrame:
    """The groups in no order, with those of rows that have no unit or position."""
    wanted = {"size_": rows.count()}
    middles = {
        at: _middle(columns, measure, facts, at)
        for at, measure in enumerate(spec.measures.values())
        if measure.metric in _MEANS
    }
    for at, measure in enumerate(spec.measures.values()):
        if not measure.customer:
            parts = _parts(rows, columns, measure, middles.get(at, 0.0))
            wanted |= {f"m{at}_{what}": part for what, part in parts.items()}
    cells = rows.group_by(KEYS).aggregate(**wanted).to_pandas()
    for at, middle in middles.items():
        cells[f"m{at}_mean"] += middle
    return cells


def add_contacts(
    cells: pd.DataFrame, rows: Any, columns: Columns, spec: SourceSpec
) -> pd.DataFrame:
    """The groups with resolved contacts, of `rows` that have both keys, and those of which it is
    known; the contacts of a customer are put in order once for all measures.
    """
    customers: dict[str, dict[int, int]] = {}
    for at, measure in enumerate(spec.measures.values()):
        if measure.customer:
            customers.setdefault(measure.customer, {})[at] = measure.days
    for customer, days in customers.items():
        contacts = _resolved_contacts(rows, columns, spec, customer, days)
        known = {at: contacts[f"resolved{at}_"] for at in days}
        wanted = {f"m{at}_n": each.count() for at, each in known.items()}
        wanted |= {f"m{at}_sum": each.sum() for at, each in known.items()}
        found = sort_groups(contacts.group_by(KEYS).aggregate(**wanted).to_pandas())
        cells = cells.merge(found, on=KEYS, how="left", validate="one_to_one")
        cells = cells.fillna(dict.fromkeys(wanted, 0))
    return cells


def _numbers(columns: Columns, measure: MeasureSpec) -> list[Numbers]:
    """What is known of the columns of an answer; empty unless of all."""
    names = measure.items or (measure.score,)
    known = [columns.numbers[name] for name in names if name in columns.numbers]
    return known if len(known) == len(names) else []


def _middle(columns: Columns, measure: MeasureSpec, facts: Mapping[str, Any], at: int) -> float:
    """A number amid the answers, taken from them before they are squared."""
    middles = [seen.low / 2 + seen.high / 2 for seen in _numbers(columns, measure)]
    if not middles:
        middle = [facts.get(f"b{at}_{end}", np.nan) / 2 for end in ("least", "most")]
        return 0.0 if np.isnan(middle).any() else float(sum(middle))
    if measure.items:
        pairs = zip(measure.items, middles, strict=True)
        middles = [_ends(measure) - at if name in measure.reverse else at for name, at in pairs]
    return sum(middles) / len(middles)


def sort_groups(cells: pd.DataFrame) -> pd.DataFrame:
    """The groups by unit, as text, and position."""
    return cells.assign(unit_=cells["unit_"].astype("str")).sort_values(KEYS, ignore_index=True)


def _parts(rows: Any, columns: Columns, measure: MeasureSpec, middle: float) -> dict[str, Any]:
    """What the database computes for a measure, in a group."""
    if measure.metric == "count":
        return {}
    if measure.metric in _RATIOS:
        return _ratio_parts(rows, columns, measure)
    answer = _answer(columns, measure)(rows)
    if measure.metric == "nps":
        numbers = columns.numbers.get(measure.score or "")
        parts = {
            "n": answer.count(),
            "promoters": rows.count(where=answer >= 9),
            "detractors": rows.count(where=answer <= 6),
        }
        if numbers is None or not numbers.whole:  # their range is checked already
            parts["wrong"] = rows.count(where=answer != answer.floor())
        return parts
    if measure.metric in ("share", "fcr", "sum"):
        column = rows[columns.name(measure.score)]
        if measure.metric == "sum":
            return {"n": answer.count(), "sum": answer.sum()}
        seen = {
            f"seen{i}": rows.count(where=column == value)
            for i, value in enumerate(dict.fromkeys(measure.positive))
        }
        return {"n": column.count(), **seen}
    about = answer - middle
    return {"n": answer.count(), "mean": about.mean(), "var": about.var(how="sample")}


def _ratio_parts(rows: Any, columns: Columns, measure: MeasureSpec) -> dict[str, Any]:
    """Sums over the rows that have both; no row is asked about a number that is never missing."""
    sides = [measure.added("numerator"), measure.added("denominator")]
    gaps = [
        rows[columns.name(name)].notnull()
        for name in dict.fromkeys(itertools.chain(*sides))
        if not (name in columns.numbers and columns.numbers[name].complete)
    ]
    both = functools.reduce(operator.and_, gaps) if gaps else None
    top, bottom = (
        functools.reduce(operator.add, (_signed(rows[columns.name(n)], s) for n, s in side.items()))
        for side in sides
    )
    return {
        "n": rows.count(where=both),
        "top": top.sum(where=both),
        "bottom": bottom.sum(where=both),
    }


def _signed(column: Any, sign: int) -> Any:
    return column if sign > 0 else -column


def _answer(columns: Columns, measure: MeasureSpec) -> Any:
    """From rows to one number per row (or text): the answer, or the scale score."""

    def answer(rows: Any) -> Any:
        if measure.metric == "scale_mean":
            return _scale(rows, columns, measure)
        return rows[columns.name(measure.score)]

    return answer


def _scale(rows: Any, columns: Columns, measure: MeasureSpec) -> Any:
    """As `scales.score_scale`: mean of the answered items, reverse-keyed ones turned."""
    import ibis

    items = [rows[columns.name(item)] for item in measure.items]
    turned = [
        _ends(measure) - item if name in measure.reverse else item
        for name, item in zip(measure.items, items, strict=True)
    ]
    answered = sum((item.notnull().ifelse(1.0, 0.0) for item in items), ibis.literal(0.0))
    total = sum((item.fill_null(0.0) for item in turned), ibis.literal(0.0))
    enough = (answered >= measure.min_share * len(items) - 1e-9) & (answered > 0)
    return enough.ifelse(total / answered.nullif(0.0), ibis.null("float64"))


def _ends(measure: MeasureSpec) -> float:
    """The sum of both ends of the scale, from which a turned answer is what is left."""
    return float(measure.low or 0) + float(measure.high or 0)


def _resolved_contacts(
    rows: Any, columns: Columns, spec: SourceSpec, customer: str, days: Mapping[int, int]
) -> Any:
    """Contacts of known customers with `resolved{at}_`: as `grouped.contact_resolution`.

    Their end is asked for beforehand: to a database, it is one number more in every row.
    """
    import ibis

    key = columns.key(customer)
    known = rows.filter(rows[key].notnull())
    known = known.select(
        *KEYS, customer_=known[key], seconds_=seconds_of(known[columns.name(spec.period)])
    )
    latest = known["seconds_"].max().execute()
    end = 0 if pd.isna(latest) else int(latest)
    following = ibis.window(
        group_by=known["customer_"], order_by=[known["seconds_"], order_of(known["unit_"])]
    )
    known = known.mutate(next_=known["seconds_"].lead().over(following))
    gap, nothing = known["next_"] - known["seconds_"], ibis.null("float64")
    resolved = {
        f"resolved{at}_": ibis.cases(
            (known["seconds_"] > end - 86_400 * each, nothing),
            ((gap <= 86_400 * each).fill_null(False), 0.0),
            else_=1.0,
        )
        for at, each in days.items()
    }
    return known.mutate(**resolved)


def unseen(cells: pd.DataFrame, spec: SourceSpec) -> list[MeasureSpec]:
    """Measures of which a value of `positive` does not occur, though there are answers."""
    return [
        measure
        for at, measure in enumerate(spec.measures.values())
        if measure.positive and cells[f"m{at}_n"].sum() > 0
        for i in range(len(set(measure.positive)))
        if not cells[f"m{at}_seen{i}"].sum() > 0
    ]


def group_values(cells: pd.DataFrame, spec: SourceSpec) -> dict[str, tuple[pd.DataFrame, int]]:
    """Measure -> its value, n and what else it has per unit and period; rows without an answer."""
    rows = int(cells["size_"].sum())
    found = {}
    for at, (name, measure) in enumerate(spec.measures.items()):
        part = {
            str(column).removeprefix(f"m{at}_"): cells[column].to_numpy(dtype=float)
            for column in cells
            if str(column).startswith(f"m{at}_")
        }
        if measure.metric == "count":
            size = cells["size_"].to_numpy()
            found[name] = pd.DataFrame({"value": size.astype(float), "n": size}), 0
        else:
            blank = rows - int(part["n"].sum())
            found[name] = _values(part, measure), blank
    return found


def _values(part: dict[str, np.ndarray], measure: MeasureSpec) -> pd.DataFrame:
    n = part["n"]
    some = np.where(n > 0, n, np.nan)
    if measure.metric in _RATIOS:
        per = 100.0 if measure.metric == "occupancy" else measure.per
        top, bottom = np.nan_to_num(part["top"]), np.nan_to_num(part["bottom"])
        value = per * top / np.where(bottom > 0, bottom, np.nan)
        return pd.DataFrame({"value": value, "n": bottom})
    whole = n.astype(np.int64)
    if measure.metric == "nps":
        refuse_broken_answers(int(np.nansum(part.get("wrong", 0))), int(n.sum()))
        promoters, detractors = np.nan_to_num(part["promoters"]), np.nan_to_num(part["detractors"])
        value, error = nps_from_counts(promoters, detractors, n)
        shares = {"promoter_share": promoters / some, "detractor_share": detractors / some}
        return pd.DataFrame({"value": value, "n": whole, "se": error, **shares})
    if measure.metric == "sum":
        return pd.DataFrame({"value": np.where(n > 0, part["sum"], np.nan), "n": whole})
    if measure.metric in ("share", "fcr"):
        seen = [part[f"seen{i}"] for i in range(len(set(measure.positive)))]
        p = (sum(seen) if seen else part["sum"]) / some
        error = 100 * np.sqrt(p * (1 - p) / some)
        return pd.DataFrame({"value": 100 * p, "n": whole, "se": error})
    return pd.DataFrame({"value": part["mean"], "n": whole, "se": np.sqrt(part["var"] / some)})
