"""Several values of a ready column to one: units that merge, months of a quarter; by a rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ex_cx.errors import LinkError, SchemaError, some
from ex_cx.linkage.alignspec import CombineSpec
from ex_cx.linkage.periods import (
    coarse_positions,
    finer_in,
    period_label,
    period_positions,
)
from ex_cx.linkage.schema import Frequency, SourceSpec
from ex_cx.linkage.wording import counted, some_rows

__all__ = ["ReadyRows", "combine_periods", "combine_units", "refuse_repeated", "take_columns"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadyRows:
    """Values of ready columns and what each weighs, by unit and period.

    `frame` has unit, period and the columns; `weights` the columns that have a weight, row by row;
    `incomplete` counts, by column, values left out because too few of their parts are there.
    """

    frame: pd.DataFrame
    weights: dict[str, np.ndarray]
    incomplete: Mapping[str, int]


def refuse_repeated(rows: pd.DataFrame, spec: SourceSpec, name: str) -> None:
    """A file of ready columns has one row per unit and period of its own."""
    period = period_positions(rows[spec.period], spec.frequency, table=name)
    keys = pd.DataFrame({"unit": rows[spec.unit], "period": period})
    repeated = np.flatnonzero(keys.duplicated())
    if len(repeated):
        row = keys.iloc[repeated[0]]
        where = f"{row['unit']}, {period_label(row['period'], spec.frequency)}"
        lines = keys.index.to_numpy()[repeated] + 2
        raise LinkError(
            f"{len(repeated):,} of {len(rows):,} rows of {name!r} repeat a unit and period already "
            f"there ({some_rows(lines)}; first: {where!r}). Keep one row for each, or compute "
            "`measures` from the many."
        )


def take_columns(
    rows: pd.DataFrame,
    shares: np.ndarray | None,
    spec: SourceSpec,
    name: str,
    *,
    frequency: Frequency,
) -> tuple[pd.DataFrame, Mapping[str, int]]:
    """The asked-for columns per unit and period of `frequency`; incomplete values by column.

    Parameters
    ----------
    rows : under the units of the panel; `shares` the part of each where units were split.

    Raises
    ------
    LinkError : rows fall on one unit and period, or units were split, and a column has no rule.
    """
    period = period_positions(rows[spec.period], spec.frequency, table=name)
    taken = {"unit": rows[spec.unit].array, "period": period}
    taken |= {new: rows[old].array for new, old in spec.columns.items()}
    weights = {
        new: rows[rule.by].to_numpy(dtype=float) for new, rule in spec.combine.items() if rule.by
    }
    ready = ReadyRows(frame=pd.DataFrame(taken), weights=weights, incomplete={})
    if shares is not None:
        ready = _parts(ready, shares, spec, name)
    ready = combine_periods(combine_units(ready, spec, name), spec, name, frequency)
    return ready.frame.sort_values(["unit", "period"], ignore_index=True), ready.incomplete


def _parts(ready: ReadyRows, shares: np.ndarray, spec: SourceSpec, name: str) -> ReadyRows:
    """Sums and weights take the part of a row; a mean has no parts."""
    what = "the crosswalk splits units into parts"
    _need_rules(ready, spec, name, what, among=("weighted_mean", "sum"))
    sums = {new: ready.frame[new] * shares for new, r in spec.combine.items() if r.rule == "sum"}
    weights = {new: weight * shares for new, weight in ready.weights.items()}
    return ReadyRows(frame=ready.frame.assign(**sums), weights=weights, incomplete={})


def combine_units(ready: ReadyRows, spec: SourceSpec, name: str) -> ReadyRows:
    """One row per unit and period of the source, where a crosswalk has merged units.

    Raises
    ------
    LinkError : units were merged and a column has no rule, or the rule `last`.
    """
    keys = ready.frame[["unit", "period"]]
    if not keys.duplicated().any():
        return ready
    merged = keys.loc[keys.duplicated(), "unit"].unique()
    what = f"the crosswalk merges others into {some(merged)}"
    _need_rules(ready, spec, name, what, among=("mean", "weighted_mean", "sum"))
    groups, order = _groups(keys)
    return _combined(ready, spec.combine, groups, order, np.bincount(groups), np.zeros(len(groups)))


def combine_periods(
    ready: ReadyRows, spec: SourceSpec, name: str, frequency: Frequency
) -> ReadyRows:
    """One row per unit and period of the coarser `frequency`.

    A value is missing, and counted, where fewer of its finer periods are there than the rule asks
    for: two months of a quarter do not make its sum.

    Raises
    ------
    LinkError : a column has no rule.
    """
    if frequency == spec.frequency:
        return ready
    what = f"it has one row per {spec.frequency} and the link one per {frequency}"
    _need_rules(ready, spec, name, what, among=("mean", "weighted_mean", "sum", "last"))
    fine = ready.frame["period"].to_numpy()
    coarse = coarse_positions(fine, spec.frequency, frequency)
    groups, order = _groups(ready.frame[["unit"]].assign(period=coarse))
    size, final = finer_in(order["period"].to_numpy(), spec.frequency, frequency)
    return _combined(ready, spec.combine, groups, order, size, fine - final[groups])


def _need_rules(
    ready: ReadyRows, spec: SourceSpec, name: str, what: str, among: tuple[str, ...]
) -> None:
    columns = list(ready.frame.columns[2:])
    without = [c for c in columns if c not in spec.combine or spec.combine[c].rule not in among]
    if without:
        raise LinkError(
            f"{name!r} has ready columns, and {what}: {counted(len(without), 'column')} "
            f"({some(without)}) {'has' if len(without) == 1 else 'have'} no rule for that. State "
            f"one under `combine`, such as {without[0]}: {{rule: weighted_mean, by: <column of "
            f"the n>}}, or one of {', '.join(among)}; or bring the rows behind and `measures`."
        )
    text = [c for c in columns if not pd.api.types.is_numeric_dtype(ready.frame[c])]
    if text:
        raise SchemaError(
            f"{name!r} combines {text[0]!r}, which holds text. Leave it out of `columns`, or bring "
            "numbers."
        )


def _groups(keys: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    grouped = keys.groupby(["unit", "period"], sort=True)
    groups = grouped.ngroup().to_numpy()
    return groups, keys.drop_duplicates().sort_values(["unit", "period"], ignore_index=True)


def _combined(
    ready: ReadyRows,
    rules: Mapping[str, CombineSpec],
    groups: np.ndarray,
    keys: pd.DataFrame,
    expected: np.ndarray,
    behind: np.ndarray,
) -> ReadyRows:
    """Each column by its rule; `behind` is 0 for the last finer period of a group."""
    n = len(keys)
    out: dict[str, np.ndarray] = {}
    weights: dict[str, np.ndarray] = {}
    incomplete: dict[str, int] = {}
    for name in ready.frame.columns[2:]:
        rule, values = rules[name], ready.frame[name].to_numpy(dtype=float)
        weight = ready.weights.get(name, np.ones(len(values)))
        present = ~np.isnan(values) & ~np.isnan(weight)
        if rule.rule == "last":
            present &= behind == 0
        used, least = groups[present], 0 if rule.rule == "last" else rule.min_share
        count = np.bincount(used, minlength=n)
        enough = (count > 0) & (count >= least * expected - 1e-9)
        mass = np.bincount(used, weights=weight[present], minlength=n)
        factor = weight if rule.rule == "weighted_mean" else np.ones(len(values))
        total: np.ndarray = np.bincount(used, weights=(factor * values)[present], minlength=n)
        if rule.rule in ("mean", "weighted_mean"):
            base: np.ndarray = mass if rule.rule == "weighted_mean" else count.astype(float)
            total = total / np.where(base > 0, base, np.nan)
        out[name] = np.where(enough, total, np.nan)
        if name in ready.weights:
            weights[name] = np.where(enough, mass, np.nan)
        some_there = np.bincount(groups[~np.isnan(values)], minlength=n) > 0
        incomplete[name] = ready.incomplete.get(name, 0) + int((some_there & ~enough).sum())
    return ReadyRows(frame=keys.assign(**out), weights=weights, incomplete=incomplete)
