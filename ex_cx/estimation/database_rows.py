"""The complete rows of an equation, found and kept in the database: `build_design`, in Ibis.

A lag is the same unit's row so many periods earlier by the calendar, joined by unit and position:
a gap is a missing value, as in memory. Only the different periods come back for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import mul
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.errors import SpecError, nearest, some
from ex_cx.estimation.design import DesignTerm, term_parts
from ex_cx.linkage.calendar import calendar_codes, regular_calendar

__all__ = ["TableKeys", "table_rows"]

_KEYS = ("unit_", "period_", "cluster_")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableKeys:
    """Columns that say where a row belongs, and (`weights`, or None) how much it counts."""

    unit: str
    period: str
    cluster: str
    weights: str | None


def table_rows(
    table: Any, terms: Sequence[DesignTerm], keys: TableKeys, absorb: Sequence[str]
) -> tuple[Any, dict[str, Any]]:
    """Rows without missing values and singletons, kept in the database, and what became of all.

    Parameters
    ----------
    table : an Ibis table with one row per unit and period.
    terms : what the columns x0, x1, ... hold.
    absorb : effects whose levels seen in one row only are left out.

    Returns
    -------
    An Ibis table of unit_, period_, cluster_, x0, x1, ... and, with weights, w_; and `rows_in` and
    `lost` (reason -> rows), by the reasons and in the order of `build_design`.

    Raises
    ------
    SpecError : a column that does not exist or holds no numbers, infinite values, negative weights,
        repeated unit and period, no usable row.
    PanelError : a lag of periods that are on no calendar.
    """
    factors = [term_parts(term.term, table.columns, "table") for term in terms]
    parts = list(dict.fromkeys(part for factor in factors for part in factor))
    _check_columns(table, keys, parts)
    rows = _as_numbers(table, factors, parts, keys)
    n = _refused(rows, terms, parts, keys)
    rows = _at_lags(rows, terms, keys)
    rows, left, lost = _whole(rows, terms, keys)
    rows, alone = _without_singletons(rows, [f"{effect}_" for effect in absorb])
    lost |= alone
    if not left - sum(alone.values()):
        reasons = "; ".join(f"{count} {reason}" for reason, count in lost.items())
        raise SpecError(f"None of the {n} rows can be used ({reasons}).")
    return rows, {"rows_in": n, "lost": lost}


def _check_columns(table: Any, keys: TableKeys, numbers: Sequence[str]) -> None:
    weights = [] if keys.weights is None else [keys.weights]
    for name in (keys.unit, keys.period, keys.cluster, *weights):
        if name not in table.columns:
            kind = "weights column" if [name] == weights else "column"
            raise SpecError(
                f"There is no {kind} {name!r} in the table.{nearest(name, table.columns)} It has "
                f"{len(table.columns)}: {some(table.columns, 12)}."
            )
    for name in (*numbers, *weights):
        kind = table[name].type()
        if not kind.is_numeric():
            raise SpecError(
                f"Column {name!r} must be numeric to enter a model; the database holds {kind}. "
                "Convert it there, or leave it out."
            )


def _as_numbers(
    table: Any, factors: Sequence[Sequence[str]], parts: Sequence[str], keys: TableKeys
) -> Any:
    """Keys, terms as x0, x1, ..., their columns as part0_, part1_, ..., the weight as w_."""
    numbers = {part: _number(table[part]) for part in parts}
    wanted = {"unit_": table[keys.unit], "period_": table[keys.period]}
    wanted["cluster_"] = table[keys.cluster]
    wanted |= {f"x{i}": reduce(mul, [numbers[p] for p in own]) for i, own in enumerate(factors)}
    wanted |= {f"part{i}_": numbers[part] for i, part in enumerate(parts)}
    if keys.weights is not None:
        wanted["w_"] = _number(table[keys.weights])
    return table.select(**wanted)


def _number(column: Any) -> Any:
    """As a 64-bit float, NaN missing."""
    import ibis

    value = column.cast("float64")
    return (
        value.isnan().ifelse(ibis.null("float64"), value) if column.type().is_floating() else value
    )


def _counted(rows: Any, wanted: Mapping[str, Any]) -> dict[str, int]:
    """Each of `wanted`, 0 where there is no row to count."""
    found = rows.aggregate(**wanted).to_pandas().iloc[0]
    return {str(name): 0 if pd.isna(value) else int(value) for name, value in found.items()}


def _refused(rows: Any, terms: Sequence[DesignTerm], parts: Sequence[str], keys: TableKeys) -> int:
    """The number of rows, where nothing about them has to be refused."""
    keyless = rows["unit_"].isnull() | rows["period_"].isnull() | rows["cluster_"].isnull()
    wanted = {"n_": rows.count(), "keyless_": keyless.sum()}
    numbers = {f"part{i}_": name for i, name in enumerate(parts)}
    if keys.weights is not None:
        numbers["w_"] = keys.weights
        wanted["negative_"] = (rows["w_"] < 0).sum()
    wanted |= {f"infinite_{name}": rows[name].isinf().sum() for name in numbers}
    wanted |= {f"infinite_x{i}": rows[f"x{i}"].isinf().sum() for i in range(len(terms))}
    facts = _counted(rows, wanted)
    n = facts["n_"]
    if n == 0:
        raise SpecError("The table has no rows.")
    if facts["keyless_"] > 0:
        raise SpecError(
            f"{facts['keyless_']} of {n} rows have no value in {keys.unit!r}, {keys.period!r} or "
            f"{keys.cluster!r}. Fill or drop them."
        )
    different = int(rows.select("unit_", "period_").distinct().count().execute())
    if different < n:
        raise SpecError(
            f"{n - different} of {n} rows repeat a {keys.unit} and {keys.period} already "
            "there. Aggregate them, or add what tells them apart to the unit."
        )
    for at, name in numbers.items():
        if facts[f"infinite_{at}"] > 0:
            raise SpecError(
                f"{facts[f'infinite_{at}']} of {n} values of {name!r} are infinite. Find what "
                "was divided by zero, and set these to missing or correct them."
            )
    for i, term in enumerate(terms):
        if facts[f"infinite_x{i}"] > 0:
            raise SpecError(f"The term {term.term!r} is too large to compute: rescale its columns.")
    if facts.get("negative_", 0) > 0:
        raise SpecError(f"{facts['negative_']} weights in {keys.weights!r} are negative.")
    return n


def _at_lags(rows: Any, terms: Sequence[DesignTerm], keys: TableKeys) -> Any:
    """The rows with lagged terms taken from the unit's row at the earlier position, or missing."""
    names = [*_KEYS, *(f"x{i}" for i in range(len(terms)))]
    names += ["w_"] * (keys.weights is not None)
    lags = sorted({term.lag for term in terms} - {0})
    if not lags:
        return rows.select(*names)
    rows = _with_position(rows.select(*names), keys)
    for lag in lags:
        own = [f"x{i}" for i, term in enumerate(terms) if term.lag == lag]
        earlier = rows.select(
            earlier_unit_=rows["unit_"],
            earlier_position_=rows["position_"] + lag,
            **{f"earlier_{name}": rows[name] for name in own},
        )
        same = [
            rows["unit_"] == earlier["earlier_unit_"],
            rows["position_"] == earlier["earlier_position_"],
        ]
        joined = rows.left_join(earlier, same)
        taken = {name: joined[f"earlier_{name}" if name in own else name] for name in names}
        rows = joined.select(**taken, position_=joined["position_"]).cache()
    return rows.select(*names)


def _with_position(rows: Any, keys: TableKeys) -> Any:
    """The rows with position_ on the calendar of their periods, computed from the different ones.

    Raises
    ------
    SpecError : one period is written in two ways.
    """
    import ibis

    periods = rows.select("period_").distinct().to_pandas()["period_"]
    calendar = regular_calendar(periods.rename(keys.period))
    positions = calendar_codes(calendar)
    twice = len(positions) - len(np.unique(positions))
    if twice:
        raise SpecError(
            f"{twice} periods in {keys.period!r} are written in two ways. Write each in one way, "
            "so that one period earlier is known."
        )
    known = pd.DataFrame({"known_": periods, "position_": positions})
    kinds = {"known_": rows["period_"].type(), "position_": "int64"}
    lines = ibis.memtable(known, schema=kinds)
    rows.get_backend().execute(lines.count())  # Spark's cache() knows it only if it was asked once
    joined = rows.inner_join(lines, rows["period_"] == lines["known_"])
    return joined.select(*rows.columns, "position_").cache()


def _whole(
    rows: Any, terms: Sequence[DesignTerm], keys: TableKeys
) -> tuple[Any, int, dict[str, int]]:
    """Rows that lack nothing and have a weight, their number, and those lost, by the first lack."""
    import ibis

    given = {f"missing {term.label}": rows[f"x{i}"].notnull() for i, term in enumerate(terms)}
    if keys.weights is not None:
        given[f"weight missing or zero ({keys.weights})"] = (rows["w_"] > 0).fill_null(False)
    whole, passed = ibis.literal(True), []
    for good in given.values():
        whole = whole & good
        passed.append(whole.fill_null(False).sum())
    wanted = {"n_": rows.count()} | {f"passed{i}_": count for i, count in enumerate(passed)}
    counts = list(_counted(rows, wanted).values())
    gone = -np.diff(counts)
    lost = {reason: int(count) for reason, count in zip(given, gone, strict=True) if count}
    return rows.filter(whole).cache(), counts[-1], lost


def _without_singletons(rows: Any, effects: Sequence[str]) -> tuple[Any, dict[str, int]]:
    """Rows that are the only one of a level left out, again and again until none is."""
    lost: dict[str, int] = {}
    while alone := [effect for effect in effects if _single(rows, effect)]:
        for effect in alone:
            gone = _single(rows, effect)  # fewer, where the effect before took some of them
            if not gone:
                continue
            reason = f"only row of its {effect.removesuffix('_')}"
            lost[reason] = lost.get(reason, 0) + gone
            sizes = rows.group_by(effect).aggregate(size_=rows.count())
            rows = rows.semi_join(sizes.filter(sizes["size_"] > 1), effect).cache()
    return rows, lost


def _single(rows: Any, effect: str) -> int:
    sizes = rows.group_by(effect).aggregate(size_=rows.count())
    return int(sizes.filter(sizes["size_"] == 1).count().execute())
