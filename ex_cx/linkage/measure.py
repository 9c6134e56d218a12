"""One source to one value per unit and period of everything that its spec asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from ex_cx.errors import LinkError, SchemaError, some
from ex_cx.linkage.audit import Flow
from ex_cx.linkage.check import check_table
from ex_cx.linkage.combine import refuse_repeated, take_columns
from ex_cx.linkage.compute import Counts, all_answers, measure_rows, people_cells
from ex_cx.linkage.confidentiality.identifiers import hash_columns
from ex_cx.linkage.confidentiality.withholding import PeopleCells, finest, withhold
from ex_cx.linkage.crosswalk import Crosswalk
from ex_cx.linkage.definitions import definition
from ex_cx.linkage.indatabase.crosswalked import measure_mapped
from ex_cx.linkage.indatabase.failures import asking
from ex_cx.linkage.indatabase.measures import Taken, fetch_rows, measure_table
from ex_cx.linkage.mapping import apply_crosswalk, need_both
from ex_cx.linkage.periods import (
    MISSING,
    period_positions,
    period_values,
)
from ex_cx.linkage.rules import need_window, refuse_long, source_rules, spell_dates
from ex_cx.linkage.schema import Frequency, SourceSpec
from ex_cx.linkage.sources import ReadReport, TableOpen, TableRead
from ex_cx.linkage.spells import measure_spells
from ex_cx.linkage.weighing import Weighed, weigh_rows
from ex_cx.linkage.windows import Edges, aligned_spec, window_edges, window_words
from ex_cx.linkage.wording import counted, some_rows

__all__ = ["MeasuredSource", "measure_source"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredSource:
    """What one source says about each unit and period.

    Attributes
    ----------
    name : of the source.
    frame : unit (text), period, then the measured columns; one row per unit and period, sorted.
    frequency : of the periods.
    attributes : unit, then the columns that are constant within a unit.
    provenance : column -> on whom or what it was measured.
    definitions : measure -> how it is defined, in words.
    flow : what became of every row of the file.
    suppressed : measure, unit_periods, shown, suppressed (too few people), withheld_for_others
        (else those follow), withheld_for_release, shares_suppressed, blank_answers.
    carried : rows that repeat an earlier survey wave.
    crosswalk : unit, target, share, rows, outcome: what a crosswalk did with each unit's rows.
    combined : column, rule, unit_periods, incomplete: ready columns that a rule has combined.
    weighed : how the respondents were weighted, and to what; None: they were not.
    crosswalk_report : how the file of the crosswalk was read, if it was.
    people : how many people are behind each cell, shown or not; for `link_sources`, which
        withholds what only all attributes together show. It is part of no output.
    spec : the choices, at the frequency of the panel.
    report : how the file was read, if it was.
    """

    name: str
    frame: pd.DataFrame
    frequency: Frequency
    attributes: pd.DataFrame
    provenance: dict[str, str]
    definitions: dict[str, str]
    flow: Flow
    suppressed: pd.DataFrame
    carried: int = 0
    report: ReadReport | None = None
    crosswalk: pd.DataFrame = field(default_factory=pd.DataFrame)
    combined: pd.DataFrame = field(default_factory=pd.DataFrame)
    weighed: Weighed | None = None
    crosswalk_report: ReadReport | None = None
    people: PeopleCells = field(default_factory=PeopleCells, repr=False)
    spec: SourceSpec | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Kept:
    """Rows of a source whose unit and date are known and inside the window.

    `position` counts in the periods of the panel. `shares` are the parts of rows whose unit was
    split; `mapping` says what the crosswalk did; `weighed` holds the weights of respondents.
    """

    rows: pd.DataFrame
    position: np.ndarray
    flow: Flow
    first: int | None
    last: int | None
    shares: np.ndarray | None = None
    mapping: pd.DataFrame = field(default_factory=pd.DataFrame)
    weighed: Weighed | None = None


def measure_source(
    table: TableRead | TableOpen | pd.DataFrame | Any,
    spec: SourceSpec,
    name: str,
    *,
    first: str | int = "",
    last: str | int = "",
    frequency: Frequency | Literal[""] = "",
    crosswalk: Crosswalk | None = None,
) -> MeasuredSource:
    """Check a table and compute the columns and measures of `spec` per unit and period.

    Parameters
    ----------
    table : a file as read, or a frame; it is not changed. Or rows in a database: as `open_table`
        gives them, or any Ibis table; they are grouped there, and only groups come back.
    name : what messages and the audit call the source.
    first, last : window used where the spec states none; rows outside it are counted and left out.
    frequency : of the panel, where it is coarser than the source's own. Measures are computed from
        the rows of the longer periods; ready columns need a rule under `combine`.
    crosswalk : which unit of the panel each unit of the source is; needed if the spec names one.

    Raises
    ------
    SchemaError : the table does not hold what the spec needs.
    LinkError : a file said to have one row per unit and period has more, or a unit has two values
        of an attribute.
    """
    aligned = aligned_spec(spec, name, frequency)
    edges = window_edges(spec, aligned, name, first, last)
    if isinstance(table, TableRead | pd.DataFrame):
        taken, mapping = _from_rows(table, spec, aligned, name, edges, crosswalk)
    else:
        if spec.weighting is not None:
            spec.weighting.refuse_database(name)
        taken, mapping = _from_database(table, spec, aligned, name, edges, crosswalk)
    measured, last_one = taken.frame, edges[1]
    if len(measured) == 0:
        raise LinkError(_nothing_inside(taken.n_rows, name, window_words(edges, aligned)))
    begun = taken.flow.preceded(table.lost if isinstance(table, TableRead) else ())
    flow = begun.step("unit-periods measured", len(measured), counting="unit-periods")
    attributes = _attributes(taken.attributes, spec, name)
    position = measured["period"].to_numpy()
    measured, lost = withhold(measured, position, taken.cells, aligned, attributes)
    measured, carried = _carry(measured, spec.carry, last_one)
    values = [column for column in measured.columns if column not in ("unit", "period")]
    period = period_values(measured["period"].to_numpy(), aligned.frequency)
    return MeasuredSource(
        name=name,
        frame=measured.assign(period=period.array),
        frequency=aligned.frequency,
        attributes=attributes,
        provenance=dict.fromkeys(values, spec.respondents or name),
        definitions=_definitions(spec, aligned, taken),
        flow=flow,
        suppressed=_suppressed(taken.counts, lost),
        carried=carried,
        report=table.report if isinstance(table, TableRead | TableOpen) else None,
        crosswalk=mapping,
        weighed=taken.weighed,
        combined=_combined(spec, taken.incomplete, len(taken.frame)),
        crosswalk_report=None if crosswalk is None else crosswalk.report,
        people=taken.cells,
        spec=aligned,
    )


def _nothing_inside(n_rows: int, name: str, window: str) -> str:
    return (
        f"None of the {n_rows:,} rows of {name!r} has a unit and a period inside the window "
        f"({window}). Check the columns, the window and the frequency."
    )


def _from_rows(
    table: TableRead | pd.DataFrame,
    spec: SourceSpec,
    aligned: SourceSpec,
    name: str,
    edges: Edges,
    crosswalk: Crosswalk | None,
) -> tuple[Taken, pd.DataFrame]:
    """What is measured of rows in memory, and what the crosswalk did."""
    raw = table.frame if isinstance(table, TableRead) else table
    file = f" ({table.report.name})" if isinstance(table, TableRead) else ""
    numbers = table.rows if isinstance(table, TableRead) else None
    checked = check_table(raw, source_rules(spec, f"{name}{file}"), numbers=numbers)
    if numbers is not None:  # a message tells a row by its index and 2
        checked = checked.set_axis(numbers - 2)
    rows = _without_names(checked, spec, table.hashed if isinstance(table, TableRead) else ())
    kept = _known_rows(rows, aligned, name, edges)
    if spec.columns:
        refuse_repeated(kept.rows, spec, name)
    if spec.crosswalk is not None or crosswalk is not None:
        kept = _mapped(kept, spec, name, crosswalk)
    if spec.weighting is not None:
        kept = _weighted(kept, aligned, name)
    measured, counts, incomplete, people = _measured(kept, spec, aligned, name)
    taken = Taken(
        frame=measured,
        counts=counts,
        incomplete=incomplete,
        flow=kept.flow,
        attributes=kept.rows,
        n_rows=len(rows),
        cells=people,
        weighed=kept.weighed,
    )
    return taken, kept.mapping


def _without_names(rows: pd.DataFrame, spec: SourceSpec, hashed: Sequence[str]) -> pd.DataFrame:
    """The columns that the spec uses; identifiers of people hashed, if they are not yet."""
    named = [rule.name for rule in source_rules(spec, "").columns]
    period = [spec.period] if spec.period in rows else []
    used = list(dict.fromkeys((*named, *spec.columns.values(), *period)))
    people = [name for name in spec.people if name in used and name not in hashed]
    return hash_columns(rows[used], people, spec.place, unit=spec.unit)


def _from_database(
    table: Any,
    spec: SourceSpec,
    aligned: SourceSpec,
    name: str,
    edges: Edges,
    crosswalk: Crosswalk | None,
) -> tuple[Taken, pd.DataFrame]:
    """The same of rows in a database; those of ready columns or hashed units are fetched."""
    rows = table.table if isinstance(table, TableOpen) else table
    file = f" ({table.report.name})" if isinstance(table, TableOpen) else ""
    schema = source_rules(spec, f"{name}{file}")
    if spec.columns or spec.unit in spec.identifiers:
        with asking(schema.name):
            fetched = fetch_rows(rows, schema, spec)
        return _from_rows(fetched, spec, aligned, name, edges, crosswalk)
    if spec.crosswalk is not None or crosswalk is not None:
        lines = need_both(spec, name, crosswalk)
        with asking(schema.name):
            return measure_mapped(rows, schema, aligned, name, edges, lines, spec.frequency)
    with asking(schema.name):
        taken = measure_table(rows, schema, aligned, name, edges, spec.frequency)
    return taken, pd.DataFrame()


def _measured(
    kept: _Kept, spec: SourceSpec, aligned: SourceSpec, name: str
) -> tuple[pd.DataFrame, Counts, Mapping[str, int], PeopleCells]:
    """Values by unit and period of the panel, counts by measure, incomplete values by column, and
    how many people are behind each.
    """
    if spec.columns:
        found, lost = take_columns(kept.rows, kept.shares, spec, name, frequency=aligned.frequency)
        return found, {}, lost, PeopleCells()
    if spec.is_spells:
        window = need_window((kept.first, kept.last), name)
        rates, counts, heads = measure_spells(kept.rows, aligned, name, *window)
        return rates, counts, {}, heads
    weights = None if kept.weighed is None else kept.weighed.weights
    values, counts = measure_rows(kept.rows, kept.position, aligned, kept.shares, weights)
    fine, position = finest(spec.frequency, aligned), kept.position
    if fine != aligned.frequency:
        position = period_positions(kept.rows[spec.period], fine, table=name)
    return values, counts, {}, people_cells(kept.rows, position, aligned, fine, weights)


def _mapped(kept: _Kept, spec: SourceSpec, name: str, crosswalk: Crosswalk | None) -> _Kept:
    """The rows under the units of the panel; those without one are counted by reason."""
    crosswalk = need_both(spec, name, crosswalk)
    found = apply_crosswalk(kept.rows, spec, name, crosswalk, kept.flow)
    row = found.mapped.row
    return replace(
        kept,
        rows=found.rows,
        position=kept.position[row] if len(kept.position) else kept.position,
        flow=found.flow,
        shares=found.mapped.share if crosswalk.splits else None,
        mapping=found.record,
    )


def _weighted(kept: _Kept, spec: SourceSpec, name: str) -> _Kept:
    """The rows with the weights of respondents; those that cannot have one are counted."""
    if not len(kept.rows):
        return kept
    answers = all_answers(kept.rows, spec).values()
    answered = np.any([~np.isnan(each) for each in answers], axis=0)
    found = weigh_rows(kept.rows, kept.position, answered, spec, name)
    keep = found.known & found.raked
    flow = kept.flow.lose(found.known, "no category to weigh by")
    flow = flow.lose(found.raked[found.known], "in a period with too few of a category to weigh")
    return replace(
        kept,
        rows=kept.rows[keep],
        position=kept.position[keep],
        flow=flow,
        weighed=replace(found, weights=found.weights[keep]),
    )


def _known_rows(
    rows: pd.DataFrame, spec: SourceSpec, name: str, window: tuple[int | None, int | None]
) -> _Kept:
    """Drop, and count by reason, rows without unit or date and rows outside the window."""
    start, end = window
    flow = Flow(source=name).step("rows read", len(rows))
    keep = rows[spec.unit].notna().to_numpy()
    flow = flow.lose(keep, "no unit")
    if spec.is_spells:
        start, end = need_window(window, name)
        early, late, undated = _spell_bounds(rows, spec, name, start, end)
        flow = flow.lose(keep := keep & ~undated, "no start date")
        flow = flow.lose(keep := keep & ~early, "ended before the window")
        flow = flow.lose(keep := keep & ~late, "started after the window")
        nowhere = np.zeros(0, dtype=np.int64)
        return _Kept(rows=rows[keep], position=nowhere, flow=flow, first=start, last=end)
    position = period_positions(rows[spec.period], spec.frequency, table=name)
    flow = flow.lose(keep := keep & (position != MISSING), "no period")
    if start is not None:
        flow = flow.lose(keep := keep & (position >= start), "before the window")
    if end is not None:
        flow = flow.lose(keep := keep & (position <= end), "after the window")
    inside = position[keep]
    if len(inside):
        refuse_long(int(inside.min()), int(inside.max()), spec.frequency, name)
    return _Kept(rows=rows[keep], position=inside, flow=flow, first=start, last=end)


def _spell_bounds(
    rows: pd.DataFrame, spec: SourceSpec, name: str, first: int, last: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which spells are over before the window, begin after it, or have no start date."""
    start_name, end_name = spell_dates(spec, name)
    wrong = np.flatnonzero(rows[end_name] < rows[start_name])
    if len(wrong):
        lines = rows.index.to_numpy()[wrong] + 2
        raise SchemaError(
            f"{name!r}: {counted(len(wrong), 'row')} of {len(rows):,} end before they start "
            f"({end_name!r} before {start_name!r}; {some_rows(lines)}). Correct the dates."
        )
    start = period_positions(rows[start_name], spec.frequency, table=name)
    end = period_positions(rows[end_name], spec.frequency, table=name)
    undated = start == MISSING
    return (end < first) & (end != MISSING) & ~undated, (start > last) & ~undated, undated


def _carry(measured: pd.DataFrame, periods: int, last: int | None) -> tuple[pd.DataFrame, int]:
    """Let each wave stand for up to `periods` later ones that the unit has no wave in."""
    if periods == 0:
        return measured, 0
    waves = measured.groupby("unit", sort=False)["period"]
    room = (waves.shift(-1) - measured["period"] - 1).fillna(periods).clip(upper=periods)
    parts = [measured]
    for later in range(1, periods + 1):
        copied = measured[room >= later]
        copied = copied.assign(period=copied["period"] + later)
        parts.append(copied if last is None else copied[copied["period"] <= last])
    whole = pd.concat(parts).sort_values(["unit", "period"], ignore_index=True)
    return whole, len(whole) - len(measured)


def _attributes(rows: pd.DataFrame, spec: SourceSpec, name: str) -> pd.DataFrame:
    """One row per unit with its constant columns; a unit with two values is an error."""
    units = rows[spec.unit]
    out = pd.DataFrame({"unit": pd.unique(units)})
    for new, old in spec.attributes.items():
        pairs = pd.DataFrame({"unit": units, new: rows[old]}).dropna().drop_duplicates()
        twice = pairs.loc[pairs["unit"].duplicated(), "unit"].unique()
        if len(twice):
            raise LinkError(
                f"{counted(len(twice), 'unit')} of {len(out):,} in {name!r} "
                f"{'has' if len(twice) == 1 else 'have'} more than one value of {old!r} "
                f"({some(twice)}). Correct the file, or take {old!r} as a column per period."
            )
        out = out.merge(pairs, on="unit", how="left", validate="one_to_one")
    return out


def _definitions(spec: SourceSpec, aligned: SourceSpec, taken: Taken) -> dict[str, str]:
    ready = {new: f"column {old!r} as given" for new, old in spec.columns.items()}
    for new in taken.incomplete:
        rule = spec.combine[new].describe()
        ready[new] = f"column {spec.columns[new]!r}, {rule} by unit and {aligned.frequency}"
    measured = {new: definition(each, aligned) for new, each in spec.measures.items()}
    if taken.weighed is not None:
        say = taken.weighed.sentence
        measured = {
            new: f"{t}{say(spec.measures[new].metric, aligned)}" for new, t in measured.items()
        }
    return ready | measured


def _combined(spec: SourceSpec, incomplete: Mapping[str, int], n: int) -> pd.DataFrame:
    rows = [(new, spec.combine[new].describe(), n, lost) for new, lost in incomplete.items()]
    return pd.DataFrame(rows, columns=["column", "rule", "unit_periods", "incomplete"])


def _suppressed(counts: Counts, lost: Mapping[str, int]) -> pd.DataFrame:
    """The counts as a frame; `lost` are values withheld so that others cannot be computed."""
    columns = ["unit_periods", "shown", "suppressed", "withheld_for_others"]
    columns += ["withheld_for_release", "shares_suppressed", "blank_answers"]
    rows: Sequence[dict[str, object]] = [
        {"measure": name, **{column: each.get(column, 0) for column in columns}}
        | {"shown": each["shown"] - lost.get(name, 0), "withheld_for_others": lost.get(name, 0)}
        for name, each in counts.items()
    ]
    return pd.DataFrame(rows, columns=["measure", *columns])
