"""Measures of rows that stay in a database: expressed once in Ibis, run wherever the rows are.

The database groups; what comes back is one row per unit and period with counts, sums and
variances, from which the same code as for rows in memory makes the measures and withholds small
groups. Spells come back as cells: how many of one unit start and end in the same periods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.errors import SchemaError
from ex_cx.linkage.audit import Flow
from ex_cx.linkage.compute import Counts, check_occur, people_sums, show_measures
from ex_cx.linkage.confidentiality.withholding import PeopleCells, about_people, finest
from ex_cx.linkage.indatabase.columns import Columns, position_of, typed_columns
from ex_cx.linkage.indatabase.groups import (
    add_contacts,
    answer_bounds,
    count_groups,
    group_rows,
    group_values,
    sort_groups,
    unseen,
)
from ex_cx.linkage.rules import need_window, refuse_long, spell_dates
from ex_cx.linkage.schema import Frequency, MeasureSpec, SourceSpec, TableSchema
from ex_cx.linkage.spells import spell_rates
from ex_cx.linkage.tenure import NEVER
from ex_cx.linkage.weighing import Weighed
from ex_cx.linkage.wording import counted

__all__ = [
    "Edges",
    "Taken",
    "attribute_ends",
    "check_rows",
    "clip_positions",
    "count_losses",
    "fetch_rows",
    "inside_window",
    "measure_table",
    "people_behind",
    "refuse_halves",
    "refuse_unseen",
    "spell_groups",
    "spell_measures",
]

Edges = tuple[int | None, int | None]
_FEW_PERIODS = ("month", "quarter", "year")
_MOST_VALUES = 10_000
"""Different values of a column of answers that are fetched to find the one that was meant."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taken:
    """What was measured of the rows of a source.

    Attributes
    ----------
    frame : unit, period (position), then the measured columns; sorted.
    counts : measure -> how many unit-periods are shown and withheld.
    incomplete : ready column -> values left out because parts of them are absent.
    flow : what became of the rows; `n_rows` of them there were.
    attributes : unit and the columns of the attributes, of the rows kept.
    cells : the people behind each measure, by the finest periods.
    weighed : the weights of respondents, of rows in memory.
    """

    frame: pd.DataFrame
    counts: Counts
    incomplete: Mapping[str, int] = field(default_factory=dict)
    flow: Flow
    attributes: pd.DataFrame
    n_rows: int
    cells: PeopleCells = field(default_factory=PeopleCells)
    weighed: Weighed | None = None


def fetch_rows(table: Any, schema: TableSchema, spec: SourceSpec) -> pd.DataFrame:
    """The columns that are needed, brought into memory."""
    return typed_columns(table, schema, spec).fetched()


def measure_table(
    table: Any,
    schema: TableSchema,
    spec: SourceSpec,
    name: str,
    edges: Edges,
    own: Frequency | None = None,
) -> Taken:
    """Measure a table in a database by unit and period.

    Parameters
    ----------
    table : an Ibis table.
    schema : what it must hold; `spec` : what to measure, at the frequency of the panel.
    edges : first and last position of the window, None where it is open.
    own : frequency that the source states; None: that of `spec`.

    Raises
    ------
    SchemaError : as for rows in memory, without the numbers of rows, which a database has not.
    """
    refuse_halves(spec, name)
    columns = typed_columns(table, schema, spec)
    if spec.is_spells:
        return spell_measures(*spell_groups(columns, spec, name, edges), spec, name, edges)
    return _dated(columns, spec, name, edges, finest(own or spec.frequency, spec))


def refuse_halves(spec: SourceSpec, name: str) -> None:
    """Refuse random halves of respondents."""
    for new, measure in spec.measures.items():
        if measure.split_seed is not None:
            raise SchemaError(
                f"{new!r} of {name!r} asks for random halves (`split_seed`), drawn row by row, and "
                "rows in a database have no order. Leave `split_seed` out, or read the "
                "rows as a file."
            )


def _dated(columns: Columns, spec: SourceSpec, name: str, edges: Edges, fine: Frequency) -> Taken:
    """Measures of rows that have one date each."""
    rows, period = columns.rows, columns.name(spec.period)
    rows = rows.mutate(
        unit_=rows[columns.name(spec.unit)], position_=position_of(rows[period], spec.frequency)
    )
    columns = replace(columns, rows=rows)
    facts = check_rows(columns, spec, name, edges)
    kept = rows.filter(inside_window(rows, edges))
    cells, flow = _grouped(columns, spec, name, edges, facts)
    cells = add_contacts(cells, kept, columns, spec)
    for measure in unseen(cells, spec):
        refuse_unseen(measure, kept, columns)
    found = group_values(cells, spec)
    unit, positions = cells["unit_"].to_numpy(dtype=object), cells["position_"].to_numpy(np.int64)
    frame, counts = show_measures(unit, positions, found, spec, {})
    return Taken(
        frame=frame.astype({"unit": "str"}),
        counts=counts,
        flow=flow,
        attributes=attribute_ends(kept, columns, spec, unit),
        n_rows=flow.steps[0][3],
        cells=people_behind(kept, columns, spec, facts, cells, fine),
    )


def inside_window(rows: Any, edges: Edges) -> Any:
    """Rows with a unit and a position in the window."""
    position = rows["position_"]
    tests = [rows["unit_"].notnull(), position.notnull()]
    tests += [position >= edges[0]] if edges[0] is not None else []
    tests += [position <= edges[1]] if edges[1] is not None else []
    return _all(dict(enumerate(tests)))


def check_rows(columns: Columns, spec: SourceSpec, name: str, edges: Edges) -> Mapping[str, Any]:
    """What has to be known before rows are grouped; a pass over all rows only if something has.

    Months, quarters and years of dates are few; for anything else, a calendar of very many periods
    is refused before its groups are made.
    """
    rows, written = columns.rows, columns.rows[columns.name(spec.period)]
    is_calendar = written.type().is_timestamp() and spec.frequency in _FEW_PERIODS
    extra = answer_bounds(columns, spec)
    if not is_calendar:
        position, inside = rows["position_"], inside_window(rows, edges)
        extra |= {"first_": position.min(where=inside), "last_": position.max(where=inside)}
        extra |= {"broken_": (written.notnull() & position.isnull()).sum()}
    if not extra and not columns.doubtful:
        return {}
    facts: dict[Any, Any] = columns.facts(extra).to_dict()
    if not written.type().is_timestamp():
        _refuse_broken(columns, spec, int(facts["broken_"]), int(facts["n_"]))
    if pd.notna(facts.get("first_")):
        refuse_long(int(facts["first_"]), int(facts["last_"]), spec.frequency, name)
    return facts


def _grouped(
    columns: Columns, spec: SourceSpec, name: str, edges: Edges, facts: Mapping[str, Any]
) -> tuple[pd.DataFrame, Flow]:
    """The groups inside the window, sorted, and the rows that are in none, counted by reason.

    One pass: rows before and after the window are one group each of a unit, and rows without a
    unit or a period are groups, too.
    """
    rows = columns.rows
    cells = count_groups(clip_positions(rows, edges), columns, spec, facts)
    return count_losses(cells, spec, name, edges)


def clip_positions(rows: Any, edges: Edges) -> Any:
    """The rows with what is before, or after, the window in one period."""
    if edges == (None, None):
        return rows
    lower = None if edges[0] is None else edges[0] - 1
    upper = None if edges[1] is None else edges[1] + 1
    return rows.mutate(position_=rows["position_"].clip(lower=lower, upper=upper))


def count_losses(
    cells: pd.DataFrame, spec: SourceSpec, name: str, edges: Edges
) -> tuple[pd.DataFrame, Flow]:
    """The groups inside the window, sorted, and the rows that are in none, by `size_`.

    `cells` are groups of rows after `clip_positions`.
    """
    position = cells["position_"].astype("Int64")
    tests = {"no unit": cells["unit_"].notna(), "no period": position.notna()}
    if edges[0] is not None:
        tests["before the window"] = position.ge(edges[0]).fillna(False)
    if edges[1] is not None:
        tests["after the window"] = position.le(edges[1]).fillna(False)
    size, keep = cells["size_"].to_numpy(np.int64), np.ones(len(cells), dtype=bool)
    flow = Flow(source=name).step("rows read", int(size.sum()))
    for reason, test in tests.items():
        keep &= test.to_numpy(dtype=bool)
        flow = flow.lose(size[keep], reason)
    cells = sort_groups(cells[keep].assign(position_=position[keep].astype("int64")))
    if len(cells):
        first, last = cells["position_"].min(), cells["position_"].max()
        refuse_long(int(first), int(last), spec.frequency, name)
    return cells, flow


def people_behind(
    kept: Any,
    columns: Columns,
    spec: SourceSpec,
    facts: Mapping[str, Any],
    cells: pd.DataFrame,
    fine: Frequency,
) -> PeopleCells:
    """The people behind each measure in periods of `fine`; `cells` are those of the panel's."""
    about = [name for name, measure in spec.measures.items() if about_people(measure, spec)]
    if not about or not len(cells):
        return PeopleCells()
    if fine != spec.frequency:
        rows = kept.mutate(position_=position_of(kept[columns.name(spec.period)], fine))
        cells = group_rows(rows, columns, spec, facts)
    found = group_values(cells, spec)
    labels, unit = np.unique(cells["unit_"].to_numpy(dtype=object), return_inverse=True)
    return PeopleCells(
        frequency=fine,
        labels=labels,
        unit=unit,
        position=cells["position_"].to_numpy(np.int64),
        n={name: found[name][0]["n"].to_numpy() for name in about},
        sums={name: people_sums(found[name][0], spec.measures[name]) for name in about},
    )


def _all(tests: Mapping[Any, Any]) -> Any:
    first, *others = tests.values()
    for test in others:
        first = first & test
    return first.fill_null(False)


def _flow(
    columns: Columns, tests: Mapping[str, Any], name: str, extra: Mapping[str, Any]
) -> tuple[Flow, pd.Series]:
    """The check of all columns, the rows that pass the `tests` one after the other, and `extra`."""
    names = list(tests)
    passed = {
        f"passed{at}_": _all({each: tests[each] for each in names[: at + 1]}).sum()
        for at in range(len(names))
    }
    facts = columns.facts({**passed, **extra})
    flow = Flow(source=name).step("rows read", int(facts["n_"]))
    for at, reason in enumerate(names):
        left = 0 if pd.isna(facts[f"passed{at}_"]) else int(facts[f"passed{at}_"])
        flow = flow.lose(np.array(left), reason)
    return flow, facts


def _refuse_broken(columns: Columns, spec: SourceSpec, broken: int, n: int) -> None:
    if broken:
        raise SchemaError(
            f"{columns.schema.name!r}, column {spec.period!r}: {counted(broken, 'value')} of {n:,} "
            "are not whole numbers. Correct them, or state another frequency."
        )


def refuse_unseen(measure: MeasureSpec, kept: Any, columns: Columns) -> None:
    """Refuse a value that never occurs if it looks misspelt, in the words of `check_occur`."""
    metric_field = "types" if measure.types else "positive"
    wanted, column = (
        (measure.types, measure.exit_type) if measure.types else (measure.positive, measure.score)
    )
    name = columns.name(column)
    seen = kept[[name]].distinct().limit(_MOST_VALUES).to_pandas()[name]
    check_occur(wanted, seen.astype("str"), column, metric_field)


def attribute_ends(
    kept: Any, columns: Columns, spec: SourceSpec, units: np.ndarray
) -> pd.DataFrame:
    """Unit, and the least and greatest value of each attribute in it: two rows a unit."""
    ends: dict[str, Any] = {}
    for at, column in enumerate(spec.attributes.values()):
        value = kept[columns.name(column)]
        ends |= {f"least{at}": value.min(), f"most{at}": value.max()}
    if not ends:
        return pd.DataFrame({spec.unit: pd.Series(units, dtype="str")})
    found = kept.group_by("unit_").aggregate(**ends).to_pandas().sort_values("unit_")
    parts = [
        pd.DataFrame(
            {spec.unit: found["unit_"]}
            | {c: found[f"{end}{at}"] for at, c in enumerate(spec.attributes.values())}
        )
        for end in ("least", "most")
    ]
    return pd.concat(parts, ignore_index=True)


def spell_groups(
    columns: Columns, spec: SourceSpec, name: str, edges: Edges
) -> tuple[pd.DataFrame, pd.DataFrame, Flow]:
    """Cells of spells by unit, their attributes, and what became of the rows."""
    first, last = need_window(edges, name)
    begin, finish = (columns.name(column) for column in spell_dates(spec, name))
    rows = columns.rows
    rows = rows.mutate(
        unit_=rows[columns.name(spec.unit)],
        start_=position_of(rows[begin], spec.frequency),
        end_=position_of(rows[finish], spec.frequency),
    )
    columns = replace(columns, rows=rows)
    known = rows["start_"].notnull()
    tests = {
        "no unit": rows["unit_"].notnull(),
        "no start date": known,
        "ended before the window": (rows["end_"] >= first).fill_null(True),
        "started after the window": rows["start_"] <= last,
    }
    flow, facts = _flow(columns, tests, name, {"reversed_": (rows[finish] < rows[begin]).sum()})
    if int(facts["n_"]) and facts["reversed_"] > 0:
        backwards = counted(int(facts["reversed_"]), "row")
        raise SchemaError(
            f"{name!r}: {backwards} of {int(facts['n_']):,} end before they start "
            f"({spell_dates(spec, name)[1]!r} before {spell_dates(spec, name)[0]!r}). Correct the "
            "dates."
        )
    kept = rows.filter(_all(tests))
    cells = _cells(kept, columns, spec, first, last)
    units = cells[spec.unit].to_numpy(dtype=object)
    return cells, attribute_ends(kept, columns, spec, units), flow


def spell_measures(
    cells: pd.DataFrame,
    attributes: pd.DataFrame,
    flow: Flow,
    spec: SourceSpec,
    name: str,
    edges: Edges,
) -> Taken:
    """Attrition and retention of what `spell_groups` returns."""
    first, last = need_window(edges, name)
    never = cells["end_"].isna()
    end = np.where(never, NEVER, cells["end_"].fillna(0).to_numpy(np.int64))
    start = cells["start_"].to_numpy(np.int64)
    count = cells["count_"].to_numpy(dtype=float)
    frame, counts, heads = spell_rates(cells, start, end, count, spec, first=first, last=last)
    return Taken(
        frame=frame,
        counts=counts,
        flow=flow,
        attributes=attributes,
        n_rows=flow.steps[0][3],
        cells=heads,
    )


def _cells(kept: Any, columns: Columns, spec: SourceSpec, first: int, last: int) -> pd.DataFrame:
    """How many spells of a unit start and end in the same periods, counted from `first`.

    Starts before the window are one, and ends after it; sums of a weight and kinds of exit are
    under the names of their columns. Spells without a weight are cells of their own.
    """
    measures = spec.measures.values()
    kinds = {m.exit_type: columns.name(m.exit_type) for m in measures if m.exit_type}
    weights = {m.weight: columns.name(m.weight) for m in measures if m.weight}
    keys = {
        "unit_": kept["unit_"],
        "start_": (kept["start_"] - first).clip(lower=-1),
        "end_": (kept["end_"] - first).clip(upper=last - first + 1),
    }
    keys |= {f"kind{at}_": kept[kind] for at, kind in enumerate(kinds.values())}
    keys |= {f"lacks{at}_": kept[weight].isnull() for at, weight in enumerate(weights.values())}
    sums = {f"sum{at}_": kept[weight].sum() for at, weight in enumerate(weights.values())}
    cells = kept.group_by(**keys).aggregate(count_=kept.count(), **sums).to_pandas()
    names = {"unit_": spec.unit}
    names |= {f"kind{at}_": kind for at, kind in enumerate(kinds)}
    names |= {f"sum{at}_": weight for at, weight in enumerate(weights)}
    return cells.rename(columns=names)
