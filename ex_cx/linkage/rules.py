"""What the table of a source must hold for its measures to be computed, and what is refused."""

from __future__ import annotations

from dataclasses import replace

from ex_cx.errors import SchemaError
from ex_cx.linkage.periods import dates_needed, period_label
from ex_cx.linkage.schema import ColumnRule, Frequency, MeasureSpec, SourceSpec, TableSchema

__all__ = ["need_window", "refuse_long", "source_rules", "spell_dates"]

MOST_PERIODS = 100_000
"""A longer calendar is taken for a mistake: it is eleven years of hours."""


def source_rules(spec: SourceSpec, name: str) -> TableSchema:
    """What the table of a source must hold for its spec to be computed."""
    rules = {spec.unit: ColumnRule(name=spec.unit, kind="text")}
    if spec.period and not spec.is_spells:
        dated = dates_needed(spec.frequency) or spec.period in spec.read.dates
        rules[spec.period] = ColumnRule(name=spec.period, kind="date" if dated else "number")
    for column in spec.attributes.values():
        rules.setdefault(column, ColumnRule(name=column, kind="text"))
    typed = {*spec.read.text, *spec.read.dates}
    for new, column in spec.columns.items():
        if column not in typed and column not in rules:
            low, high = spec.ranges.get(new, (None, None))
            rules[column] = ColumnRule(name=column, low=low, high=high)
    for weight in filter(None, (each.by for each in spec.combine.values())):
        rule = ColumnRule(name=weight, low=0)
        rules[weight] = _narrowed(rules.get(weight, rule), rule)
    for measure in spec.measures.values():
        for column, kind in measure.columns().items():
            low, high = _limits(measure, column)
            rule = ColumnRule(name=column, kind=kind, low=low, high=high)
            other = rules.setdefault(column, rule)
            if other.kind != kind:
                raise SchemaError(
                    f"{name!r} uses the column {column!r} as {other.kind} and as {kind}. "
                    "Name another column for one of the two."
                )
            rules[column] = _narrowed(other, rule)
    for margin in () if spec.weighting is None else spec.weighting.margins:
        rules.setdefault(margin, ColumnRule(name=margin, kind="text"))
    return TableSchema(name=name, columns=tuple(rules.values()))


def _narrowed(one: ColumnRule, other: ColumnRule) -> ColumnRule:
    """What holds to both: two measures of a column may have different ranges."""
    lows = [rule.low for rule in (one, other) if rule.low is not None]
    highs = [rule.high for rule in (one, other) if rule.high is not None]
    return replace(one, low=max(lows, default=None), high=min(highs, default=None))


def _limits(measure: MeasureSpec, column: str) -> tuple[float | None, float | None]:
    if measure.metric == "nps":
        return 0, 10
    if column == measure.weight or column in measure.added("denominator"):
        return 0, None
    if measure.metric in ("occupancy", "aht") and column in measure.added("numerator"):
        return 0, None
    return measure.low, measure.high


def need_window(edges: tuple[int | None, int | None], name: str) -> tuple[int, int]:
    """First and last position of a source of spells, which must be stated."""
    first, last = edges
    if first is None or last is None:
        raise SchemaError(
            f"The source {name!r} counts people or accounts from their dates, so it needs the "
            "first and last period that the file covers in full. State `first` and `last`, there "
            "or under `link` for all sources, such as first: 2024-01."
        )
    if last < first:
        raise SchemaError(f"The window of {name!r} ends before it starts. Correct first and last.")
    return first, last


def spell_dates(spec: SourceSpec, name: str) -> tuple[str, str]:
    """The columns of start and end that all measures of a source of spells have."""
    spells = {(m.hire or m.start, m.exit or m.end) for m in spec.measures.values()}
    if len(spells) > 1:
        raise SchemaError(
            f"The measures of {name!r} use {len(spells)} pairs of start and end dates. List the "
            "file as a source for each."
        )
    return spells.pop()


def refuse_long(first: int, last: int, frequency: Frequency, name: str) -> None:
    """A calendar of very many periods comes from a mistyped date, or the wrong frequency."""
    if last - first >= MOST_PERIODS:
        ends = [period_label(position, frequency) for position in (first, last)]
        raise SchemaError(
            f"{name!r} runs over more than {MOST_PERIODS:,} periods of one {frequency} (from "
            f"{ends[0]} to {ends[1]}). Correct the dates, or state `first` and `last`."
        )
