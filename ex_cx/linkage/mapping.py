"""A crosswalk applied to the rows of a source: every row mapped, or lost with its reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ex_cx.errors import LinkError, some
from ex_cx.linkage.audit import Flow
from ex_cx.linkage.crosswalk import LOST, OPEN, Crosswalk, Mapped
from ex_cx.linkage.periods import period_positions
from ex_cx.linkage.schema import SourceSpec
from ex_cx.linkage.wording import counted

__all__ = ["MappedRows", "apply_crosswalk", "need_both"]

ADDITIVE = ("sum", "count", "ratio", "occupancy", "aht")
"""Measures of which a unit may have a part; an answer is one person's and cannot be taken apart."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MappedRows:
    """Rows under the units of the panel, the flow that counts the lost ones, and the record."""

    rows: pd.DataFrame
    mapped: Mapped
    flow: Flow
    record: pd.DataFrame


def need_both(spec: SourceSpec, name: str, crosswalk: Crosswalk | None) -> Crosswalk:
    """The crosswalk; a LinkError if only the spec, or only the caller, has one."""
    if crosswalk is None or spec.crosswalk is None:
        raise LinkError(
            f"{name!r} was given a crosswalk in one place only: its spec names "
            f"{'none' if spec.crosswalk is None else 'one'} and measure_source got "
            f"{'none' if crosswalk is None else 'one'}. State both."
        )
    return crosswalk


def apply_crosswalk(
    rows: pd.DataFrame,
    spec: SourceSpec,
    name: str,
    crosswalk: Crosswalk,
    flow: Flow,
    sizes: np.ndarray | None = None,
) -> MappedRows:
    """Give each row its unit in the panel on its day.

    `sizes`, shape (rows,): how many rows of the source each stands for, all of one unit and one
    stretch of the crosswalk; None: one each.

    Raises
    ------
    LinkError : a change inside a period of a file of ready columns; units split of which a measure
        has no parts; a unit with several targets where rows have no single day.
    """
    if spec.columns and spec.is_dated:
        _refuse_inside(crosswalk, spec, name)
    if crosswalk.splits:
        _refuse_split(crosswalk, spec, name)
    when = None if spec.is_spells else _ordinals(rows[spec.period], spec)
    mapped = crosswalk.map_rows(rows[spec.unit], when)
    if len(rows) and not len(mapped.row):
        units = pd.unique(rows[spec.unit])
        days = " on their days" if (mapped.reason == 2).any() else ""
        raise LinkError(
            f"No row of {name!r} is left: the crosswalk has none of its "
            f"{counted(len(units), 'unit')}{days} ({some(units)}); it lists "
            f"{some(crosswalk.units)}. Correct the crosswalk, or state `unlisted: keep`."
        )
    size = np.ones(len(rows), dtype=np.int64) if sizes is None else sizes
    flow = flow.lose(size * (mapped.reason != 1), LOST[1], step="crosswalk")
    flow = flow.lose(size * (mapped.reason == 0), LOST[2], step="crosswalk")
    parts = int(size[mapped.row].sum())
    if parts > int(size[mapped.reason == 0].sum()):
        flow = flow.step("parts of rows of split units", parts, counting="parts of rows")
    moved = rows.iloc[mapped.row]
    target = pd.Series(mapped.target, index=moved.index, dtype="str")
    return MappedRows(
        rows=moved.assign(**{spec.unit: target}),
        mapped=mapped,
        flow=flow,
        record=crosswalk.record(rows[spec.unit], mapped, size),
    )


def _ordinals(column: pd.Series, spec: SourceSpec) -> np.ndarray:
    """Days since January 1970, or the whole numbers of a source that counts so."""
    if spec.is_dated:
        return column.to_numpy("datetime64[D]").astype(np.int64)
    return column.to_numpy(dtype=float).astype(np.int64)


def _refuse_inside(crosswalk: Crosswalk, spec: SourceSpec, name: str) -> None:
    """A row that stands for a whole month cannot belong to two units in it."""
    edges = np.unique(crosswalk.lines[["start", "end"]].to_numpy())
    edges = edges[edges != OPEN]
    days = pd.Series(edges.astype("datetime64[D]"))
    before = pd.Series((edges - 1).astype("datetime64[D]"))
    here, there = (period_positions(d, spec.frequency, table=name) for d in (days, before))
    inside = days[here == there].dt.strftime("%Y-%m-%d")
    if len(inside):
        raise LinkError(
            f"The crosswalk {crosswalk.spec.path!r} changes inside a {spec.frequency} on "
            f"{counted(len(inside), 'day')} ({some(inside)}), but a row of {name!r} stands for a "
            f"whole {spec.frequency}. Let lines begin and end with a {spec.frequency}, or bring "
            "the dated rows and `measures`."
        )


def _refuse_split(crosswalk: Crosswalk, spec: SourceSpec, name: str) -> None:
    whole = [new for new, m in spec.measures.items() if m.metric not in ADDITIVE]
    if whole:
        raise LinkError(
            f"The crosswalk {crosswalk.spec.path!r} splits units by shares, but {whole[0]!r} of "
            f"{name!r} is measured on people or accounts, each of whom is in one unit only. Map "
            "the parts to the whole instead, so that the unit stays one throughout; shares are "
            f"for {', '.join(ADDITIVE)} and for ready columns."
        )
