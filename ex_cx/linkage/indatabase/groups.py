"""Counts, sums and variances by unit and period in a database, and the measures made of them.

Each measure asks the database for what is sufficient for it; `group_values` then gives what
`grouped` gives for rows in memory, by the same formulae.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ex_cx.linkage.grouped import nps_from_counts, refuse_broken_answers
from ex_cx.linkage.indatabase.columns import Columns, seconds_of
from ex_cx.linkage.schema import MeasureSpec, SourceSpec

__all__ = ["KEYS", "answer_bounds", "group_rows", "group_values", "unseen"]

KEYS = ["unit_", "position_"]
_RATIOS = ("occupancy", "aht", "ratio")
_MEANS = ("effort", "scale_mean", "mean")


def answer_bounds(columns: Columns, spec: SourceSpec) -> dict[str, Any]:
    """Least and greatest answer of measures that are means: `b0_least`, `b0_most`."""
    rows = columns.rows
    answers = {
        at: _answer(columns, measure)(rows)
        for at, measure in enumerate(spec.measures.values())
        if measure.metric in _MEANS
    }
    return {f"b{at}_least": answer.min() for at, answer in answers.items()} | {
        f"b{at}_most": answer.max() for at, answer in answers.items()
    }


def group_rows(rows: Any, columns: Columns, spec: SourceSpec, facts: pd.Series) -> pd.DataFrame:
    """One row per unit and period: `unit_`, `position_`, `size_` and what the measures need."""
    wanted = {"size_": rows.count()}
    for at, measure in enumerate(spec.measures.values()):
        if not measure.customer:
            middle = _middle(facts, at)
            parts = _parts(rows, columns, measure, middle)
            wanted |= {f"m{at}_{what}": part for what, part in parts.items()}
    cells = _sorted(rows.group_by(KEYS).aggregate(**wanted).to_pandas())
    for at, measure in enumerate(spec.measures.values()):
        if measure.metric in _MEANS:
            cells[f"m{at}_mean"] += _middle(facts, at)
        if measure.customer:
            cells = _with_resolution(cells, rows, columns, spec, at, measure)
    return cells


def _middle(facts: pd.Series, at: int) -> float:
    """A number amid the answers, taken from them before they are squared."""
    middle = [facts.get(f"b{at}_{end}", np.nan) / 2 for end in ("least", "most")]
    return 0.0 if np.isnan(middle).any() else float(sum(middle))


def _sorted(cells: pd.DataFrame) -> pd.DataFrame:
    return cells.assign(unit_=cells["unit_"].astype("str")).sort_values(KEYS, ignore_index=True)


def _parts(rows: Any, columns: Columns, measure: MeasureSpec, middle: float) -> dict[str, Any]:
    """What the database computes for a measure, in a group."""
    if measure.metric == "count":
        return {}
    if measure.metric in _RATIOS:
        top, bottom = (rows[columns.name(c)] for c in (measure.numerator, measure.denominator))
        both = top.notnull() & bottom.notnull()
        return {
            "n": rows.count(where=both),
            "top": top.sum(where=both),
            "bottom": bottom.sum(where=both),
        }
    answer = _answer(columns, measure)(rows)
    if measure.metric == "nps":
        return {
            "n": answer.count(),
            "promoters": rows.count(where=answer >= 9),
            "detractors": rows.count(where=answer <= 6),
            "wrong": rows.count(where=answer != answer.floor()),  # their range is checked already
        }
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
        float(measure.low or 0) + float(measure.high or 0) - item
        if name in measure.reverse
        else item
        for name, item in zip(measure.items, items, strict=True)
    ]
    answered = sum(
        (item.notnull().cast("int8").cast("float64") for item in items), ibis.literal(0.0)
    )
    total = sum((item.fill_null(0.0) for item in turned), ibis.literal(0.0))
    enough = (answered >= measure.min_share * len(items) - 1e-9) & (answered > 0)
    return enough.ifelse(total / answered.nullif(0.0), ibis.null("float64"))


def _ends(measure: MeasureSpec) -> float:
    """The sum of both ends of the scale, from which a turned answer is what is left."""
    return float(measure.low or 0) + float(measure.high or 0)


def _with_resolution(
    cells: pd.DataFrame,
    rows: Any,
    columns: Columns,
    spec: SourceSpec,
    at: int,
    measure: MeasureSpec,
) -> pd.DataFrame:
    """The cells with resolved contacts and those of which it is known."""
    contacts = _resolved_contacts(rows, columns, spec, measure)
    known = contacts["resolved_"]
    wanted = {f"m{at}_n": known.count(), f"m{at}_sum": known.sum()}
    found = _sorted(contacts.group_by(KEYS).aggregate(**wanted).to_pandas())
    merged = cells.merge(found, on=KEYS, how="left", validate="one_to_one")
    return merged.fillna(dict.fromkeys(wanted, 0))


def _resolved_contacts(rows: Any, columns: Columns, spec: SourceSpec, measure: MeasureSpec) -> Any:
    """Contacts of known customers with `resolved_`: as `grouped.contact_resolution`."""
    import ibis

    customer = columns.name(measure.customer)
    known = rows.filter(rows[customer].notnull())
    known = known.select(
        *KEYS, customer_=known[customer], seconds_=seconds_of(known[columns.name(spec.period)])
    )
    end = known["seconds_"].max().as_scalar()
    following = ibis.window(
        group_by=known["customer_"], order_by=[known["seconds_"], known["unit_"]]
    )
    known = known.mutate(next_=known["seconds_"].lead().over(following))
    window = measure.days * 86_400
    follows = (known["next_"] - known["seconds_"] <= window).fill_null(False)
    open_end = known["seconds_"] > end - window
    resolved = ibis.cases((open_end, ibis.null("float64")), (follows, 0.0), else_=1.0)
    return known.mutate(resolved_=resolved)


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
        refuse_broken_answers(int(np.nansum(part["wrong"])), int(n.sum()))
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
