"""Measures of dated spells: attrition of people and retention of accounts, few of them unshown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from ex_cx.linkage.compute import Counts, check_occur, people_sums
from ex_cx.linkage.confidentiality.withholding import PeopleCells
from ex_cx.linkage.periods import MISSING, period_positions
from ex_cx.linkage.schema import MeasureSpec, SourceSpec
from ex_cx.linkage.tenure import NEVER, attrition, retention

__all__ = ["measure_spells", "spell_rates"]


def measure_spells(
    rows: pd.DataFrame, spec: SourceSpec, name: str, first: int, last: int
) -> tuple[pd.DataFrame, Counts, PeopleCells]:
    """Attrition or retention per unit and period of the window `first` to `last` (positions)."""
    dates = next(iter(spec.measures.values()))
    start = _from_first(rows[dates.hire or dates.start], spec, name, first)
    end = _from_first(rows[dates.exit or dates.end], spec, name, first)
    end = np.where(end == MISSING, NEVER, end)
    return spell_rates(rows, start, end, np.ones(len(rows)), spec, first=first, last=last)


def spell_rates(
    rows: pd.DataFrame,
    start: np.ndarray,
    end: np.ndarray,
    count: np.ndarray,
    spec: SourceSpec,
    *,
    first: int,
    last: int,
) -> tuple[pd.DataFrame, Counts, PeopleCells]:
    """As `measure_spells`, from spells or from cells of `count` spells alike.

    Rates of units that have fewer than `spec.min_n` people or accounts in the period are missing.

    Parameters
    ----------
    rows : unit, kind of exit and weight (summed over a cell) of each cell.
    start, end : shape (cells,), positions counted from `first`; `NEVER` for no end.
    """
    units, labels = pd.factorize(rows[spec.unit], sort=True)
    size = {"n_units": len(labels), "n_periods": last - first + 1}
    rates: list[pd.DataFrame] = []
    counts: Counts = {}
    people: dict[str, pd.DataFrame] = {}
    for new, measure in spec.measures.items():
        spells = (units, start, end, count)
        values, blank = _one_rate(rows, measure, spells, size)
        sums = people_sums(values, measure)
        people[new] = _heads(rows, measure, spells, size, values).assign(sum=sums)
        few = (people[new]["n"] < spec.min_n) & (people[new]["n"] > 0)
        values.loc[few.to_numpy(), list(values.columns[2:])] = np.nan
        renamed = {c: new if c == "value" else f"{new}_{c}" for c in values.columns[2:]}
        rates.append(values.rename(columns=renamed))
        counts[new] = {"unit_periods": len(values), "blank_answers": blank}
        counts[new] |= {"shown": int(values["value"].notna().sum()), "suppressed": int(few.sum())}
    merged = rates[0]
    for values in rates[1:]:
        merged = merged.merge(values, on=["unit", "period"], how="outer")
    found = merged.assign(unit=labels[merged["unit"]], period=merged["period"] + first)
    found = found.sort_values(["unit", "period"], ignore_index=True)
    return found, counts, _spell_cells(people, labels, spec, first)


def _heads(
    rows: pd.DataFrame,
    measure: MeasureSpec,
    spells: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    size: dict[str, int],
    values: pd.DataFrame,
) -> pd.DataFrame:
    """Unit, period and n of a rate, in people or accounts also where a weight makes n an amount."""
    if not measure.weight:
        return values[["unit", "period", "n"]].copy()
    weighed = np.where(rows[measure.weight].isna(), 0.0, spells[3])
    plain = replace(measure, weight="")
    heads, _ = _one_rate(rows, plain, (*spells[:3], weighed), size)
    keys = values[["unit", "period"]]
    merged = keys.merge(heads[["unit", "period", "n"]], on=["unit", "period"], how="left")
    return merged.fillna({"n": 0})


def _spell_cells(
    people: Mapping[str, pd.DataFrame], labels: pd.Index, spec: SourceSpec, first: int
) -> PeopleCells:
    """Whole people at work, or accounts, behind each rate; headcounts of half a person are cut."""
    keys = pd.concat([each[["unit", "period"]] for each in people.values()])
    keys = keys.drop_duplicates().sort_values(["unit", "period"], ignore_index=True)
    whole = {
        name: keys.merge(each, on=["unit", "period"], how="left").fillna(0)
        for name, each in people.items()
    }
    n = {name: each["n"].to_numpy() for name, each in whole.items()}
    return PeopleCells(
        frequency=spec.frequency,
        labels=np.asarray(labels, dtype=object),
        unit=keys["unit"].to_numpy(),
        position=keys["period"].to_numpy() + first,
        n={
            name: np.where(each > 0, np.maximum(each, 1), 0).astype(int) for name, each in n.items()
        },
        sums={name: each["sum"].to_numpy(dtype=float) for name, each in whole.items()},
    )


def _from_first(column: pd.Series, spec: SourceSpec, name: str, first: int) -> np.ndarray:
    position = period_positions(column, spec.frequency, table=name)
    return np.where(position == MISSING, MISSING, position - first)


def _one_rate(
    rows: pd.DataFrame,
    measure: MeasureSpec,
    spells: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    size: dict[str, int],
) -> tuple[pd.DataFrame, int]:
    units, start, end, count = spells
    n_units, n_periods = size["n_units"], size["n_periods"]
    if measure.metric == "attrition":
        kinds, blank = None, 0
        if measure.types:
            check_occur(measure.types, rows[measure.exit_type], measure.exit_type, "types")
            kinds = rows[measure.exit_type].isin(measure.types).to_numpy()
            left = (end >= 0) & (end < n_periods)
            blank = int(count[left & rows[measure.exit_type].isna().to_numpy()].sum())
        found = attrition(
            *(units, start, end),
            n_units=n_units,
            n_periods=n_periods,
            counted=kinds,
            weights=count,
        )
        return found, blank
    weights = rows[measure.weight].to_numpy(dtype=float) if measure.weight else count
    use = ~np.isnan(weights)
    found = retention(
        units[use],
        start[use],
        end[use],
        n_units=n_units,
        n_periods=n_periods,
        window=measure.window,
        weights=weights[use],
    )
    return found, int(count[~use].sum())
