"""Rows in a database under the units of a crosswalk: a join with its stretches, and groups back.

The database counts the rows of each unit, period and stretch of the crosswalk; these counts go
through the same mapping as rows in memory, which refuses, counts the losses and keeps the record.
The join then gives each row its unit in the panel, or a part of itself to each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.linkage.audit import Flow
from ex_cx.linkage.compute import show_measures
from ex_cx.linkage.confidentiality.withholding import finest
from ex_cx.linkage.crosswalk import OPEN, Crosswalk
from ex_cx.linkage.indatabase.columns import Columns, position_of, seconds_of, typed_columns
from ex_cx.linkage.indatabase.groups import KEYS, group_rows, group_values, unseen
from ex_cx.linkage.indatabase.measures import (
    Edges,
    Taken,
    attribute_ends,
    check_rows,
    clip_positions,
    count_losses,
    inside_window,
    people_behind,
    refuse_halves,
    refuse_unseen,
    spell_groups,
    spell_measures,
)
from ex_cx.linkage.mapping import MappedRows, apply_crosswalk
from ex_cx.linkage.schema import Frequency, SourceSpec, TableSchema

__all__ = ["measure_mapped"]

_STRETCH = ["code", "start", "end"]


def measure_mapped(
    table: Any,
    schema: TableSchema,
    spec: SourceSpec,
    name: str,
    edges: Edges,
    crosswalk: Crosswalk,
    own: Frequency,
) -> tuple[Taken, pd.DataFrame]:
    """Measure a table in a database by unit of the panel and period.

    Parameters
    ----------
    table : an Ibis table.
    schema : what it must hold; `spec` : what to measure, at the frequency of the panel.
    edges : first and last position of the window, None where it is open.
    own : frequency that the source states.

    Returns
    -------
    What was measured, and the record of the crosswalk: unit, target, share, rows, outcome.

    Raises
    ------
    SchemaError, LinkError : as for rows in memory; units are told in the order of their names.
    """
    refuse_halves(spec, name)
    columns = typed_columns(table, schema, spec)
    if spec.is_spells:
        return _mapped_spells(columns, spec, name, edges, crosswalk)
    return _mapped_rows(columns, spec, name, edges, crosswalk, finest(own, spec))


def _mapped_spells(
    columns: Columns, spec: SourceSpec, name: str, edges: Edges, crosswalk: Crosswalk
) -> tuple[Taken, pd.DataFrame]:
    """Cells of spells are of one unit each, which has one target at all times."""
    cells, attributes, flow = spell_groups(columns, spec, name, edges)
    cells = cells.sort_values(spec.unit, kind="stable", ignore_index=True)
    size = cells["count_"].to_numpy(np.int64)
    found = apply_crosswalk(cells, spec, name, crosswalk, flow, size)
    targets = found.record.set_index("unit")["target"]
    units = attributes[spec.unit].map(targets[targets != ""])
    attributes = attributes.assign(**{spec.unit: units})[units.notna().to_numpy()]
    taken = spell_measures(found.rows, attributes, found.flow, spec, name, edges)
    return taken, found.record


def _mapped_rows(
    columns: Columns,
    spec: SourceSpec,
    name: str,
    edges: Edges,
    crosswalk: Crosswalk,
    fine: Frequency,
) -> tuple[Taken, pd.DataFrame]:
    """Measures of rows that have one date each."""
    rows = _with_keys(columns, spec)
    columns = replace(columns, rows=rows)
    facts = check_rows(columns, spec, name, edges)
    sizes, flow = count_losses(_stretch_sizes(rows, crosswalk, edges), spec, name, edges)
    found = _mapped_sizes(sizes, spec, name, crosswalk, flow)
    kept = _joined(rows.filter(inside_window(rows, edges)), sizes, crosswalk)
    plain = cells = group_rows(kept, columns, spec, facts)
    if crosswalk.splits:
        cells = group_rows(_parts_of(kept, columns, spec), columns, spec, facts)
    for measure in unseen(cells, spec):
        refuse_unseen(measure, kept, columns)
    values = group_values(cells, spec)
    if crosswalk.splits:
        values = _count_parts(values, cells, found, spec)
    unit, position = cells["unit_"].to_numpy(dtype=object), cells["position_"].to_numpy(np.int64)
    frame, counts = show_measures(unit, position, values, spec, {})
    taken = Taken(
        frame=frame.astype({"unit": "str"}),
        counts=counts,
        flow=found.flow,
        attributes=attribute_ends(kept, columns, spec, unit),
        n_rows=flow.steps[0][3],
        cells=people_behind(kept, columns, spec, facts, plain, fine),
    )
    return taken, found.record


def _with_keys(columns: Columns, spec: SourceSpec) -> Any:
    """The rows with unit, position and `day_`: since January 1970, or the number of the period."""
    rows, period = columns.rows, columns.rows[columns.name(spec.period)]
    position = position_of(period, spec.frequency)
    day = seconds_of(period) // 86_400 if period.type().is_timestamp() else position
    unit = rows[columns.name(spec.unit)]
    return rows.mutate(unit_=unit, position_=position, day_=day.cast("int64"))


def _stretch_sizes(rows: Any, crosswalk: Crosswalk, edges: Edges) -> pd.DataFrame:
    """How many rows there are by unit, position and stretch, and the first day of each group."""
    import ibis

    stretches = crosswalk.pieces.drop_duplicates(["code", "start"])[_STRETCH]
    lines = ibis.memtable(_as_lines(stretches, crosswalk).assign(stretch_=range(len(stretches))))
    rows = clip_positions(rows, edges).select(*KEYS, "day_")
    joined = rows.left_join(lines, _holds(rows, lines))
    sizes = joined.group_by([*KEYS, "stretch_"])
    return sizes.aggregate(size_=joined.count(), day_=joined["day_"].min()).to_pandas()


def _as_lines(pieces: pd.DataFrame, crosswalk: Crosswalk) -> pd.DataFrame:
    units = crosswalk.units[pieces["code"].to_numpy()]
    return pd.DataFrame(
        {
            "listed_": pd.Series(units, dtype="str"),
            "from_": pieces["start"].to_numpy(np.int64),
            "until_": pieces["end"].to_numpy(np.int64),
        }
    )


def _holds(rows: Any, lines: Any) -> list[Any]:
    """The line is of the row's unit, on its day."""
    return [
        rows["unit_"] == lines["listed_"],
        rows["day_"] >= lines["from_"],
        rows["day_"] < lines["until_"],
    ]


def _mapped_sizes(
    sizes: pd.DataFrame, spec: SourceSpec, name: str, crosswalk: Crosswalk, flow: Flow
) -> MappedRows:
    """The counts under the units of the panel; each stands for rows of one stretch."""
    day = sizes["day_"].to_numpy(np.int64)
    when = day.astype("datetime64[D]").astype("datetime64[s]") if spec.is_dated else day
    keys = pd.DataFrame({spec.unit: sizes["unit_"], spec.period: when})
    groups = pd.concat([keys, sizes[["position_", "size_"]]], axis=1)
    return apply_crosswalk(groups, spec, name, crosswalk, flow, sizes["size_"].to_numpy(np.int64))


def _joined(kept: Any, sizes: pd.DataFrame, crosswalk: Crosswalk) -> Any:
    """The rows, or parts of them, under the units of the panel; with `share_`."""
    import ibis

    pieces = crosswalk.pieces
    lines = _as_lines(pieces, crosswalk).assign(
        target_=pieces["target"].astype("str").to_numpy(), share_=pieces["share"].to_numpy(float)
    )
    if crosswalk.spec.unlisted == "keep":
        units = sizes["unit_"].drop_duplicates()
        own = units[~units.isin(crosswalk.units)].to_numpy()
        others = pd.DataFrame({"listed_": own, "target_": own})
        others = others.assign(from_=-OPEN, until_=OPEN, share_=1.0)
        lines = pd.concat([lines, others], ignore_index=True) if len(own) else lines
    table = ibis.memtable(lines)
    joined = kept.inner_join(table, _holds(kept, table))
    return joined.mutate(unit_=joined["target_"])


def _parts_of(kept: Any, columns: Columns, spec: SourceSpec) -> Any:
    """The rows with what is added up taken by the share of each part."""
    added = {
        column
        for measure in spec.measures.values()
        for column in (measure.score, *measure.added("numerator"), *measure.added("denominator"))
        if column
    }
    names = sorted(columns.name(column) for column in added)
    return kept.mutate(**{name: kept[name] * kept["share_"] for name in names})


def _count_parts(
    values: dict[str, tuple[pd.DataFrame, int]],
    cells: pd.DataFrame,
    found: MappedRows,
    spec: SourceSpec,
) -> dict[str, tuple[pd.DataFrame, int]]:
    """The values with counts that add the parts of rows up."""
    part = found.rows["size_"].to_numpy(float) * found.mapped.share
    sums = pd.DataFrame(
        {
            "unit_": found.rows[spec.unit].to_numpy(dtype=object),
            "position_": found.rows["position_"].to_numpy(np.int64),
            "part_": part,
        }
    )
    whole = sums.groupby(KEYS, as_index=False)["part_"].sum()
    keys = cells[KEYS].astype({"unit_": object})
    parts = keys.merge(whole, on=KEYS, how="left", validate="one_to_one")["part_"].to_numpy()
    return {
        name: (each.assign(value=parts), blank) if spec.measures[name].metric == "count" else got
        for name, got in values.items()
        for each, blank in [got]
    }
