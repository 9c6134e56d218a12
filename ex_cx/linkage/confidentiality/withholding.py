"""What a source may not show: small cells, and the cells from which they could be computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ex_cx.linkage.confidentiality.disclosure import Layout, withheld_cells, withheld_everywhere
from ex_cx.linkage.periods import coarse_positions, coarser_than
from ex_cx.linkage.schema import (
    ANSWER_METRICS,
    MIN_N,
    SPELL_METRICS,
    Frequency,
    MeasureSpec,
    SourceSpec,
)

__all__ = [
    "CellTable",
    "PeopleCells",
    "Plan",
    "about_people",
    "cell_table",
    "finest",
    "hide",
    "is_distribution",
    "planned",
    "spread",
    "thresholds",
    "withhold",
]

Plan = dict[int, list[np.ndarray]]
"""Threshold -> for each time which cells are withheld: units, groups and all of them in rows."""

_DETAILS = ("_se", "_promoter_share", "_detractor_share")
"""Columns beside a measure that need as many people as a distribution."""
_BESIDE = ("", "_n", "_exits", "_half1", "_half2", *_DETAILS)
"""All columns of a measure, by what follows its name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PeopleCells:
    """How many people are behind each unit and period of each measure, before anything is withheld.

    Attributes
    ----------
    frequency : of the periods, the finest that a study of the same rows could ask for.
    labels : the units, sorted; `unit` is the code of each cell's.
    position : of each cell's period.
    n : measure -> people behind each cell.
    sums : measure -> what it sums over them; only compared with earlier releases.
    effective : weighted measure -> effective people behind each cell, at most `n`, which are those
        that must be enough, too. Releases are compared by `n`.
    """

    frequency: Frequency = "month"
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=object))
    unit: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    position: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    n: Mapping[str, np.ndarray] = field(default_factory=dict)
    sums: Mapping[str, np.ndarray] = field(default_factory=dict)
    effective: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellTable:
    """How the cells of a source lie in a table: its rows, its times, and how they add up.

    Attributes
    ----------
    layout : the groups of the rows and the longer times.
    who : name of the column and label of each row: the units, the groups of each attribute, all.
    when : frequency and position of each column, time by time; the last time is the whole.
    """

    layout: Layout
    who: list[tuple[str, str]]
    when: list[list[tuple[str, int]]]


def about_people(measure: MeasureSpec, spec: SourceSpec) -> bool:
    """Does a measure say something of respondents, employees or accounts, so that few of them
    need protection? Answers do, rates of leaving and staying, and numbers and sums of what
    answers come from: over its n such a sum is their mean.
    """
    if measure.metric in (*ANSWER_METRICS, *SPELL_METRICS):
        return True
    asked = [m for m in spec.measures.values() if m.metric in ANSWER_METRICS]
    answers = {c for m in asked for c in (m.score, *m.items)}
    return (measure.metric == "sum" and measure.score in answers) or (
        measure.metric == "count" and bool(asked)
    )


def is_distribution(measure: MeasureSpec) -> bool:
    """Does the value itself tell how the answers are distributed? A share of yes and no does, and
    a mean or a sum of answers 0 and 1, or 1 and 2, is one.
    """
    if measure.low is not None and measure.high is not None and len(measure.items) < 2:
        return measure.high - measure.low <= 1
    return measure.metric in ("share", "fcr")


def finest(own: Frequency, spec: SourceSpec) -> Frequency:
    """The finest periods by which studies of a source are made consistent.

    `own` is the frequency that the source states. A source of dates could be asked for months.
    """
    return "month" if own in ("quarter", "year") and spec.is_dated else own


def withhold(
    frame: pd.DataFrame,
    position: np.ndarray,
    cells: PeopleCells,
    spec: SourceSpec,
    groups: pd.DataFrame,
    all_groups: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The frame without the cells from which small ones could be computed.

    Parameters
    ----------
    frame : unit and the columns of the measures, small cells missing already.
    position : of each row's period, in periods of `spec.frequency`.
    cells : the people behind them; none: nothing is withheld.
    groups : unit, then its attributes in this source.
    all_groups : the attributes of all sources; None: those of this one.

    Returns
    -------
    The frame, and for each measure how many values are withheld for the sake of others.
    """
    if not cells.n:
        return frame, {}
    known = [each for each in (groups, all_groups) if each is not None]
    tables = [cell_table(cells, each, spec.unit) for each in known]
    plans = {name: planned(cells, name, tables, spec) for name in cells.n}
    return hide(frame, position, cells, spec, plans)


def planned(cells: PeopleCells, name: str, tables: Sequence[CellTable], spec: SourceSpec) -> Plan:
    """What is withheld of a measure under all layouts.

    Of a weighted measure that is what is withheld of it unweighted, and what effective people ask
    for beyond: it never shows a cell that is small otherwise.
    """
    least, most = thresholds(spec.measures[name], spec)
    every = range(min(MIN_N, least), most + 1)
    plan = _planned(spread(cells, cells.n[name]), tables, every, {})
    if name not in cells.effective:
        return plan
    n = spread(cells, cells.effective[name])
    begun = {each: {at: m[: len(n)] for at, m in enumerate(plan[each])} for each in every}
    return _planned(n, tables, every, begun)


def _planned(
    n: np.ndarray,
    tables: Sequence[CellTable],
    every: range,
    known: dict[int, dict[int, np.ndarray]],
) -> Plan:
    """Begun with what is known, then with what each layout withholds at any threshold."""
    for table in tables[:-1]:
        masks = withheld_cells(n, table.layout, every, known)
        known = {each: dict(enumerate(masks[each])) for each in every}
    return withheld_everywhere(n, tables[-1].layout, every, known)


def hide(
    frame: pd.DataFrame,
    position: np.ndarray,
    cells: PeopleCells,
    spec: SourceSpec,
    plans: Mapping[str, Plan],
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The frame without what the plans withhold, and how many values of each measure that are."""
    times = _times(cells)[0]
    row, column, carried = _places(frame, position, cells, times, spec.frequency)
    at = _time_of(cells.frequency, spec.frequency)
    out, lost = frame.copy(), {}
    for name, plan in plans.items():
        least, most = thresholds(spec.measures[name], spec)
        hidden, thin = (plan[each][at][row, column] for each in (least, most))
        shown = out[name].notna().to_numpy()
        for ending in _BESIDE:
            if name + ending in out:
                away = thin if ending in _DETAILS else hidden
                out[name + ending] = out[name + ending].mask(away)
        lost[name] = int((shown & hidden & ~carried).sum())
    return out, lost


def cell_table(
    cells: PeopleCells, groups: pd.DataFrame, unit: str, *, whole: bool = False
) -> CellTable:
    """The table of a source's cells.

    Parameters
    ----------
    groups : the unit, then attributes. unit : what it is called.
    whole : also with attributes that put no two units together, or all.
    """
    times, spans = _times(cells)
    found = _codes(groups, cells.labels, whole=whole)
    who = [(unit, str(label)) for label in cells.labels]
    who += [(name, str(value)) for name, (_, values) in found.items() for value in values]
    named = (cells.frequency, *coarser_than(cells.frequency))
    when: list[list[tuple[str, int]]] = [
        [(each, int(at)) for at in positions] for each, positions in zip(named, times, strict=True)
    ]
    return CellTable(
        layout=Layout(groups={name: codes for name, (codes, _) in found.items()}, spans=spans),
        who=[*who, ("", "")],
        when=[*when, [("", 0)]],
    )


def spread(cells: PeopleCells, values: np.ndarray) -> np.ndarray:
    """One number per cell as a table of units and finest periods; 0 where there is no cell."""
    positions = np.unique(cells.position)
    out = np.zeros((len(cells.labels), len(positions)), dtype=values.dtype)
    np.add.at(out, (cells.unit, np.searchsorted(positions, cells.position)), values)
    return out


def thresholds(measure: MeasureSpec, spec: SourceSpec) -> tuple[int, int]:
    """How many people a value of the measure needs, and its standard error."""
    most = max(spec.min_n, spec.min_n_shares)
    return (most if is_distribution(measure) else spec.min_n), most


def _times(cells: PeopleCells) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Positions that occur at each time, finest first, and in which longer one each lies."""
    positions, spans = [np.unique(cells.position)], []
    fine = cells.frequency
    for coarse in coarser_than(fine):
        longer, inverse = np.unique(
            coarse_positions(positions[-1], fine, coarse), return_inverse=True
        )
        positions.append(longer)
        spans.append(inverse)
        fine = coarse
    return positions, spans


def _time_of(fine: Frequency, frequency: Frequency) -> int:
    return 0 if fine == frequency else 1 + coarser_than(fine).index(frequency)


def _codes(
    groups: pd.DataFrame, labels: np.ndarray, *, whole: bool = False
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The group of each unit, and the groups' names, in every attribute that puts two units
    together at least once; with `whole` in every one. By name, so that the order in which a file
    states them does not matter.
    """
    found = {}
    known = groups.drop_duplicates("unit").set_index("unit")
    for name in sorted(known.columns, key=str):
        codes, seen = pd.factorize(known[name].reindex(labels), use_na_sentinel=False)
        if whole or 1 < len(seen) < len(labels):
            found[str(name)] = codes.astype(np.int64), np.asarray(seen)
    return found


def _places(
    frame: pd.DataFrame,
    position: np.ndarray,
    cells: PeopleCells,
    times: Sequence[np.ndarray],
    frequency: Frequency,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row and column of each line of the frame in the table of its time, and was it carried over?

    A line that repeats an earlier wave has the place of that wave.
    """
    own = times[_time_of(cells.frequency, frequency)]
    coarse = cells.position
    if cells.frequency != frequency:
        coarse = coarse_positions(coarse, cells.frequency, frequency)
    span = len(own) + 1
    seen = np.unique(cells.unit * span + np.searchsorted(own, coarse))
    unit = np.searchsorted(cells.labels.astype(str), frame["unit"].to_numpy().astype(str))
    wanted = unit * span + np.searchsorted(own, position, side="right") - 1
    place = seen[np.searchsorted(seen, wanted, side="right") - 1]
    return place // span, place % span, own[place % span] != position
