"""Measures of the same answers in one study: what one shows beside another, or less another.

The same file may be two sources, and one column may have several measures. Two checks:

1. `check_together` refuses what shows answers without their protection: rows counted and answers
   summed by a source that does not measure them, a ratio of answers, the same answers weighted and
   not, and the same answers by two kinds of units;
2. `apart` finds where two measures of the same answers rest on nearly the same people. A scale of
   those who answered all items, and one of those who answered half of them, differ by the few in
   between: their sum is the difference of two shown sums. There the second is withheld, and others
   with it, so that no difference tells of fewer than `min_n` people.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import pandas as pd

from ex_cx.errors import LinkError, some
from ex_cx.linkage.calendar import calendar_codes
from ex_cx.linkage.confidentiality.disclosure import lattice_sums, withheld_everywhere
from ex_cx.linkage.confidentiality.withholding import (
    CellTable,
    PeopleCells,
    Plan,
    about_people,
    cell_table,
    hide,
    spread,
    thresholds,
)
from ex_cx.linkage.measure import MeasuredSource
from ex_cx.linkage.periods import period_label
from ex_cx.linkage.schema import ANSWER_METRICS, MIN_N, Frequency, MeasureSpec, SourceSpec

__all__ = ["apart", "check_together", "hidden_totals"]


def check_together(sources: Sequence[MeasuredSource]) -> None:
    """No source shows, unprotected, the answers that a source of the same file protects.

    Raises
    ------
    LinkError : one does; it says which, and what to do.
    """
    known = [(each, each.spec) for each in sources if each.spec is not None]
    for source, own in known:
        for first, spec in known:
            if _file(spec) == _file(own):
                _check_unprotected(first.name, spec, source.name, own)
                if source is not first:
                    _check_alike(first, spec, source, own)


def apart(
    source: MeasuredSource, earlier: Sequence[MeasuredSource], groups: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, int], frozenset[tuple[str, str, str]]]:
    """The frame of a source without what another measure of the study, less it, would tell.

    Parameters
    ----------
    earlier : the sources before it. groups : unit, and the attributes of all sources.

    Returns
    -------
    The frame; for each measure how many values are withheld; source, measure and period whose
    total over all units may not be told.
    """
    frame, lost = source.frame, dict.fromkeys(source.people.n, 0)
    hidden: set[tuple[str, str, str]] = set()
    if source.spec is None or not lost:
        return frame, lost, frozenset()
    position = calendar_codes(frame["period"])
    parts = [part for each in (*earlier, source) for part in _alike(source, each)]
    done: list[str] = []
    for name in source.people.n:
        before = [(each, label) for each in earlier for label in each.people.n]
        for other, label in (*before, *((source, each) for each in done)):
            if _near(source, name, other, label, parts):
                cells = _both(other.people, label, source.people, name)
                table = cell_table(cells, groups, source.spec.unit)
                least, most = thresholds(source.spec.measures[name], source.spec)
                plan = _difference(cells, table, range(min(MIN_N, least), most + 1))
                frame, away = hide(frame, position, cells, source.spec, {name: plan})
                lost[name] += away[name]
                hidden |= {(source.name, name, at) for at in hidden_totals(table, plan[least])}
        done.append(name)
    return frame, lost, frozenset(hidden)


def hidden_totals(table: CellTable, masks: Sequence[np.ndarray]) -> Iterator[str]:
    """Periods, as they are written, whose total over all units is withheld."""
    for mask, whens in zip(masks, table.when, strict=True):
        for frequency, at in (whens[i] for i in np.flatnonzero(mask[-1])):
            if frequency:
                yield period_label(at, cast(Frequency, frequency))


def _check_unprotected(first: str, spec: SourceSpec, name: str, other: SourceSpec) -> None:
    """Neither counts nor sums nor ratios of the answers stand beside their means."""
    answers = {c for each in spec.measures.values() for c in _answers(spec, each)}
    if not answers:
        return
    bare = [
        label
        for label, each in other.measures.items()
        if (_of_sides(other, each) | _bare_sum(other, each)) & answers
        or (each.metric == "count" and not about_people(each, other))
    ]
    if bare:
        raise LinkError(
            f"{some(bare)} of {name!r} would show sums, ratios or numbers of the answers that "
            f"{first!r} measures ({spec.place!r}), also of few people. Measure answers by mean, "
            f"share or nps, count and sum them in {first!r} itself, and use other columns for "
            "ratios."
        )


def _check_alike(
    first: MeasuredSource, spec: SourceSpec, source: MeasuredSource, other: SourceSpec
) -> None:
    """The same answers in two sources are weighted alike, of the same units and periods."""
    mine, its = (
        {c for each in one.measures.values() for c in _answers(one, each)} for one in (spec, other)
    )
    if not mine & its:
        return
    what = {
        "weighting": (spec.weighting, other.weighting),
        "crosswalk": (spec.crosswalk, other.crosswalk),
        "unit": (_origin(spec, spec.unit), _origin(other, other.unit)),
        "frequency": (first.people.frequency, source.people.frequency),
    }
    unlike = [key for key, (one, two) in what.items() if one != two]
    if unlike:
        raise LinkError(
            f"{first.name!r} and {source.name!r} measure the same answers ({spec.place!r}, column "
            f"{some(sorted(mine & its))}) with different {' and '.join(map(repr, unlike))}: side "
            "by side they could tell of few people. State the same in both, or make two studies "
            "and publish one."
        )


def _alike(source: MeasuredSource, other: MeasuredSource) -> list[frozenset[str]]:
    """The columns of each measure of people of a source of the same file, or of this one."""
    if source.spec is None or other.spec is None or _file(source.spec) != _file(other.spec):
        return []
    return [_answers(other.spec, other.spec.measures[name]) for name in other.people.n]


def _near(
    source: MeasuredSource,
    name: str,
    other: MeasuredSource,
    label: str,
    parts: Sequence[frozenset[str]],
) -> bool:
    """Could the answers of one be computed from the other, if the people were the same?

    They are made of the same columns; or one of more columns, all of which have measures (`parts`).
    """
    if source.spec is None or other.spec is None or _file(source.spec) != _file(other.spec):
        return False
    one = _answers(source.spec, source.spec.measures[name])
    two = _answers(other.spec, other.spec.measures[label])
    small, large = sorted((one, two), key=len)
    if not small or not small <= large:
        return False
    within = [part for part in parts if part < large]
    return small == large or frozenset().union(*within) == large


def _difference(cells: PeopleCells, table: CellTable, every: range) -> Plan:
    """What is withheld of a table of the people by whom two measures differ."""
    layout = table.layout
    one, two = (spread(cells, cells.n[each]) for each in ("one", "two"))
    sums = zip(lattice_sums(one, layout), lattice_sums(two, layout), strict=True)
    gaps = [np.abs(first - second) for first, second in sums]
    known = {
        each: {time: (gap > 0) & (gap < each) for time, gap in enumerate(gaps)} for each in every
    }
    plan = withheld_everywhere(np.abs(one - two), layout, every, known)
    return {
        each: [mask | known[each][time] for time, mask in enumerate(plan[each])] for each in every
    }


def _both(one: PeopleCells, first: str, two: PeopleCells, second: str) -> PeopleCells:
    """The cells of two measures in one table."""
    labels, unit = np.unique(
        np.concatenate([each.labels[each.unit].astype(str) for each in (one, two)]),
        return_inverse=True,
    )
    before, after = (np.zeros(len(each.unit), dtype=np.int64) for each in (one, two))
    return PeopleCells(
        frequency=two.frequency,
        labels=labels.astype(object),
        unit=unit,
        position=np.concatenate([one.position, two.position]),
        n={
            "one": np.concatenate([one.n[first], after]),
            "two": np.concatenate([before, two.n[second]]),
        },
    )


def _file(spec: SourceSpec) -> tuple[str, str, str]:
    """The table that a source reads: its file or connection, and the table or the sheet in it."""
    form = spec.mapping.file if spec.mapping is not None else spec.read
    asked = spec.database
    if asked is not None and asked.connection:
        return asked.variable, asked.schema, asked.table
    table = asked.table if asked is not None else ""
    return os.path.normpath(spec.path), table, str(form.sheet or "")


def _origin(spec: SourceSpec, column: str) -> frozenset[str]:
    """The columns of the file that a name stands for."""
    found = spec.mapping.columns.get(column) if spec.mapping is not None else None
    if found is None:
        return frozenset({column})
    return frozenset(found.columns or {found.column or column})


def _of(spec: SourceSpec, columns: Sequence[str]) -> frozenset[str]:
    return frozenset().union(*(_origin(spec, each) for each in columns if each))


def _answers(spec: SourceSpec, measure: MeasureSpec) -> frozenset[str]:
    """The columns of the file whose answers a measure is made of."""
    asked = measure.metric in ANSWER_METRICS
    return _of(spec, (measure.score, *measure.items)) if asked else frozenset()


def _bare_sum(spec: SourceSpec, measure: MeasureSpec) -> frozenset[str]:
    """The column of a sum that is not withheld."""
    bare = measure.metric == "sum" and not about_people(measure, spec)
    return _of(spec, (measure.score,)) if bare else frozenset()


def _of_sides(spec: SourceSpec, measure: MeasureSpec) -> frozenset[str]:
    """The columns of a ratio."""
    sides = (measure.numerator, measure.denominator)
    every = [c for side in sides for c in ((side,) if isinstance(side, str) else side)]
    return _of(spec, [each.removeprefix("-") for each in every])
