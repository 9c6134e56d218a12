"""What a source may not show: small cells, and the cells from which they could be computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ex_cx.linkage.confidentiality.disclosure import Layout, withheld_cells
from ex_cx.linkage.periods import coarse_positions, coarser_than
from ex_cx.linkage.schema import (
    ANSWER_METRICS,
    MIN_N,
    SPELL_METRICS,
    Frequency,
    MeasureSpec,
    SourceSpec,
)

__all__ = ["PeopleCells", "about_people", "finest", "is_distribution", "withhold"]

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
    """

    frequency: Frequency = "month"
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=object))
    unit: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    position: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    n: Mapping[str, np.ndarray] = field(default_factory=dict)


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
    """Does the value itself tell how the answers are distributed? A share of yes and no does."""
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
    times, spans = _times(cells, spec.frequency)
    layouts = [
        Layout(groups=_codes(each, cells.labels), spans=spans)
        for each in (groups, all_groups)
        if each is not None
    ]
    row, column, carried = _places(frame, position, cells, times, spec.frequency)
    at = _time_of(cells.frequency, spec.frequency)
    out, lost = frame.copy(), {}
    for name, people in cells.n.items():
        n = np.zeros((len(cells.labels), len(times[0])), dtype=np.int64)
        np.add.at(n, (cells.unit, np.searchsorted(times[0], cells.position)), people)
        least, most = _thresholds(spec.measures[name], spec)
        masks = _masks(n, layouts, least, most)
        hidden, thin = (masks[each][at][row, column] for each in (least, most))
        shown = out[name].notna().to_numpy()
        for ending in _BESIDE:
            if name + ending in out:
                away = thin if ending in _DETAILS else hidden
                out[name + ending] = out[name + ending].mask(away)
        lost[name] = int((shown & hidden & ~carried).sum())
    return out, lost


def _masks(
    n: np.ndarray, layouts: Sequence[Layout], least: int, most: int
) -> dict[int, list[np.ndarray]]:
    """What is withheld under all layouts: begun with what the first withholds at any threshold."""
    every = range(min(MIN_N, least), most + 1)
    masks = withheld_cells(n, layouts[0], every)
    for layout in layouts[1:]:
        known = {each: dict(enumerate(masks[each])) for each in every}
        masks = withheld_cells(n, layout, every, known)
    return masks


def _thresholds(measure: MeasureSpec, spec: SourceSpec) -> tuple[int, int]:
    most = max(spec.min_n, spec.min_n_shares)
    return (most if is_distribution(measure) else spec.min_n), most


def _times(cells: PeopleCells, frequency: Frequency) -> tuple[list[np.ndarray], list[np.ndarray]]:
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


def _codes(groups: pd.DataFrame, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The group of each unit in every attribute that puts two units together at least once."""
    found = {}
    known = groups.drop_duplicates("unit").set_index("unit")
    for name in known.columns:
        codes, seen = pd.factorize(known[name].reindex(labels), use_na_sentinel=False)
        if 1 < len(seen) < len(labels):
            found[str(name)] = codes.astype(np.int64)
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
