"""From a panel and the terms of a spec to the complete rows that an analysis uses.

A term is a column, a product `a:b`, or a power `a^2`. Terms are parsed, never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.errors import SpecError, nearest, some
from ex_cx.estimation.moments import MomentRows
from ex_cx.linkage.panel import Panel

__all__ = [
    "Design",
    "DesignTerm",
    "build_design",
    "same_source",
    "term_columns",
    "term_parts",
    "term_values",
]

_ROUNDING = 1e-10
"""Spread of unit means, relative to that of the rows, up to which it is rounding."""


@dataclass(frozen=True, slots=True)
class DesignTerm:
    """A term and by how many periods its value precedes the row's period."""

    term: str
    lag: int = 0

    @property
    def label(self) -> str:
        """How the term is named in messages: `x`, or `x (lag 2)`."""
        return f"{self.term} (lag {self.lag})" if self.lag else self.term


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Design:
    """The rows used, sorted by cluster and unit, and what became of the others.

    Attributes
    ----------
    columns : one array of shape (n,) for each term.
    periods : codes 0.. without gaps, shape (n,).
    unit_starts, cluster_starts : first row of each unit and cluster; clusters hold whole units.
    weights : shape (n,), or None.
    source : row of the panel behind each row, shape (n,).
    rows_in : rows of the panel.
    lost : reason -> rows lost to it; each lost row is counted once.
    """

    columns: tuple[np.ndarray, ...]
    periods: np.ndarray
    unit_starts: np.ndarray
    cluster_starts: np.ndarray
    weights: np.ndarray | None
    source: np.ndarray
    rows_in: int
    lost: dict[str, int]

    @property
    def n_obs(self) -> int:
        """Rows used."""
        return len(self.periods)

    @property
    def n_units(self) -> int:
        """Units that contribute rows."""
        return len(self.unit_starts)

    @property
    def n_clusters(self) -> int:
        """Clusters that contribute rows."""
        return len(self.cluster_starts)

    @property
    def n_periods(self) -> int:
        """Periods that contribute rows."""
        return int(self.periods.max()) + 1

    def counts(self) -> dict[str, Any]:
        """What every result says of its rows: those used, and those lost with the reason."""
        return {
            "n_obs": self.n_obs,
            "n_units": self.n_units,
            "n_periods": self.n_periods,
            "n_clusters": self.n_clusters,
            "rows_in": self.rows_in,
            "lost": self.lost,
        }

    def moment_rows(self, absorb: Sequence[str], *, constant: bool = True) -> MomentRows:
        """The rows as `ClusterMoments` takes them; where nothing is absorbed, a `constant` is."""
        unit, period = "unit" in absorb, "period" in absorb
        same = np.zeros(self.n_obs, dtype=np.int64) if constant and not unit else None
        return MomentRows(
            columns=self.columns,
            unit_starts=self.unit_starts if unit else self.cluster_starts,
            cluster_starts=self.cluster_starts,
            periods=self.periods if period else same,
            weights=self.weights,
            absorbs_unit=unit,
        )

    def unit_means(self) -> Design:
        """One row per unit: weighted means over its rows, with the sum of their weights.

        Means that differ by rounding only, as those of a column net of its unit means do, are made
        equal, so that they are found out to be no regressor.
        """
        starts = self.unit_starts
        mass = np.ones(self.n_obs) if self.weights is None else self.weights
        total = np.add.reduceat(mass, starts)
        return replace(
            self,
            columns=tuple(
                _level(np.add.reduceat(c * mass, starts) / total, c) for c in self.columns
            ),
            periods=np.zeros(len(starts), dtype=np.int64),
            unit_starts=np.arange(len(starts)),
            cluster_starts=np.searchsorted(starts, self.cluster_starts),
            weights=None if self.weights is None else total,
            source=self.source[starts],
        )


def _level(means: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The means of `rows` by unit, all equal where they differ by rounding only."""
    if np.ptp(means) <= _ROUNDING * np.ptp(rows):
        return np.full_like(means, means.mean())
    return means


def same_source(panel: Panel, outcomes: Sequence[str], causes: Sequence[str]) -> list[str]:
    """A warning for each pair of terms that have the same respondents, by the provenance."""
    found = []
    for outcome in outcomes:
        for cause in causes:
            left = {panel.provenance.get(c) for c in term_columns(panel, outcome)}
            right = {panel.provenance.get(c) for c in term_columns(panel, cause)}
            shared = (left & right) - {None, ""}
            if shared:
                found.append(
                    f"{cause} and {outcome} have one source "
                    f"({', '.join(sorted(map(str, shared)))}): "
                    "their association may be inflated by what that source brings to both"
                )
    return found


def term_columns(panel: Panel, term: str) -> list[str]:
    """The columns of a term; a SpecError names the nearest one to a column that does not exist.

    >>> rows = pd.DataFrame({"unit": ["A"], "period": [1], "x": [1.0], "z": [2.0]})
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> term_columns(panel, "x:z"), term_columns(panel, "x^2")
    (['x', 'z'], ['x', 'x'])
    """
    return term_parts(term, panel.frame.columns, "panel")


def term_parts(term: str, columns: Collection[str], where: str) -> list[str]:
    """As `term_columns`, of the `columns` that a panel or table (`where`) has.

    >>> term_parts("x^3", ["x", "z"], "table"), term_parts("x:z", ["x", "z", "x:z"], "table")
    (['x', 'x', 'x'], ['x:z'])
    """
    if term in columns:
        return [term]
    power = re.fullmatch(r"(.+)\^([2-9])", term)
    parts = [power[1]] * int(power[2]) if power else term.split(":")
    for part in parts:
        if part not in columns:
            raise SpecError(
                f"There is no column {part!r} in the {where}"
                + ("" if part == term else f" (in the term {term!r})")
                + f".{nearest(part, columns)} A term is a column, `a:b` or `a^2`."
            )
    return parts


def term_values(panel: Panel, term: DesignTerm) -> np.ndarray:
    """Values of a term, shape (rows of the panel,), taken `lag` periods earlier; NaN where missing.

    Raises
    ------
    SpecError : unknown column, a column that is not numeric, infinite values.
    """
    factors = [_numbers(panel, name) for name in term_columns(panel, term.term)]
    with np.errstate(over="ignore"):
        values = factors[0] if len(factors) == 1 else np.prod(factors, axis=0)
    if len(factors) > 1 and np.isinf(values).any():
        raise SpecError(f"The term {term.term!r} is too large to compute: rescale its columns.")
    if term.lag == 0:
        return values
    source = panel.rows_at_lag(term.lag)
    return np.where(source >= 0, values[source], np.nan)


def _numbers(panel: Panel, name: str) -> np.ndarray:
    column = panel.frame[name]
    if not pd.api.types.is_numeric_dtype(column.dtype) or column.dtype.kind == "c":
        raise SpecError(
            f"Column {name!r} must be numeric to enter a model; its dtype is {column.dtype} "
            f"(first values: {some(column.dropna().unique()[:3])}). Convert it, or leave it out."
        )
    values = column.to_numpy(dtype=float, na_value=np.nan)
    if not _complete(values) and np.isinf(values).any():
        rows = np.flatnonzero(np.isinf(values))
        where = [
            f"{panel.frame[panel.unit].iloc[i]}, {panel.frame[panel.period].iloc[i]}"
            for i in rows[:3]
        ]
        raise SpecError(
            f"{len(rows)} of {len(values)} values of {name!r} are infinite (first: {some(where)}). "
            "Find what was divided by zero, and set these to missing or correct them."
        )
    return values


def _complete(values: np.ndarray) -> bool:
    """Whether the sum is finite, so that no value is missing or infinite; the cheapest look."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()))


def build_design(
    panel: Panel,
    terms: Sequence[DesignTerm],
    *,
    absorb: Sequence[str],
    cluster: str | None,
    weights: str | None,
    difference: bool = False,
) -> Design:
    """Complete rows of `terms`, without singletons of the absorbed effects, sorted for the moments.

    Parameters
    ----------
    absorb : effects whose levels seen in one row only are dropped, again and again until none is
        left.
    cluster, weights : columns, or None for the panel's own.
    difference : take each term's change from the period before (calendar), instead of its level;
        weights, read as precisions, become 1 / (1/w_t + 1/w_t-1).

    Raises
    ------
    SpecError : unknown or non-numeric columns, infinite values, units that are in more than one
        cluster, no complete row left.
    """
    values = [term_values(panel, term) for term in terms]
    if difference:
        before = panel.rows_at_lag(1)
        values = [v - np.where(before >= 0, v[before], np.nan) for v in values]
    lost: dict[str, int] = {}
    keep = np.ones(len(panel.frame), dtype=bool)
    if difference:
        _drop(keep, before >= 0, "no row one period earlier", lost)
    for term, column in zip(terms, values, strict=True):
        change = " or its value one period earlier" if difference else ""
        if not _complete(column):
            _drop(keep, ~np.isnan(column), f"missing {term.label}{change}", lost)
    mass = _weights(panel, weights)
    if mass is not None and difference:
        with np.errstate(divide="ignore"):
            mass = 1 / (1 / mass + 1 / np.where(before >= 0, mass[before], np.nan))
    if mass is not None:
        _drop(keep, mass > 0, f"weight missing or zero ({weights or panel.weights})", lost)
    _drop_singletons(panel, keep, absorb, lost)
    _check_any(keep, lost)
    return _sorted(panel, values, keep, cluster, mass, lost)


def _drop(keep: np.ndarray, good: np.ndarray, reason: str, lost: dict[str, int]) -> np.ndarray:
    """Mark rows that are not `good` as lost to `reason`, once each; the rows newly lost."""
    gone = np.flatnonzero(keep & ~good)
    if len(gone):
        lost[reason] = lost.get(reason, 0) + len(gone)
        keep[gone] = False
    return gone


def _drop_singletons(
    panel: Panel, keep: np.ndarray, absorb: Sequence[str], lost: dict[str, int]
) -> None:
    every = {"unit": panel.unit_codes, "period": panel.period_codes}
    codes = {effect: every[effect] for effect in absorb}
    count = {e: np.bincount(c if keep.all() else c[keep]) for e, c in codes.items()}
    while alone := [effect for effect in absorb if (count[effect] == 1).any()]:
        for effect in alone:
            shared = np.append(count[effect], 0) != 1
            level = np.minimum(codes[effect], len(count[effect]))
            gone = _drop(keep, shared[level], f"only row of its {effect}", lost)
            for other, code in codes.items():
                count[other] -= np.bincount(code[gone], minlength=len(count[other]))


def _check_any(keep: np.ndarray, lost: dict[str, int]) -> None:
    if not keep.any():
        reasons = "; ".join(f"{count} {reason}" for reason, count in lost.items())
        remedy = (
            "Absorb fewer effects, or compare units (estimator='pooled' or 'between')."
            if any(reason.startswith("only row") for reason in lost)
            else "Check that the columns overlap, and that the lag is shorter than the panel."
        )
        raise SpecError(
            f"None of the {len(keep)} rows of the panel can be used ({reasons}). {remedy}"
        )


def _weights(panel: Panel, weights: str | None) -> np.ndarray | None:
    name = weights or panel.weights
    if name is None:
        return None
    if name not in panel.frame.columns:
        raise SpecError(
            f"There is no weights column {name!r} in the panel.{nearest(name, panel.frame.columns)}"
        )
    values = _numbers(panel, name)
    if (values < 0).any():
        raise SpecError(f"{int((values < 0).sum())} weights in {name!r} are negative.")
    return values


def _sorted(
    panel: Panel,
    values: list[np.ndarray],
    keep: np.ndarray,
    cluster: str | None,
    mass: np.ndarray | None,
    lost: dict[str, int],
) -> Design:
    whole = bool(keep.all())
    rows = np.flatnonzero(keep)
    units = panel.unit_codes if whole else panel.unit_codes[keep]
    unit_starts = _starts(units)
    clusters = _cluster_codes(panel, rows, units, cluster)
    used: np.ndarray | slice = slice(None) if whole else keep
    if clusters is None:
        cluster_starts = unit_starts
    else:
        order = np.lexsort((np.arange(len(rows)), units, clusters))
        used = rows = rows[order]
        unit_starts = np.flatnonzero(np.diff(units[order], prepend=-1))
        cluster_starts = _starts(clusters[order])
    return Design(
        columns=tuple(v[used] for v in values),
        periods=_dense(panel.period_codes[used]),
        unit_starts=unit_starts,
        cluster_starts=cluster_starts,
        weights=None if mass is None else mass[used],
        source=rows,
        rows_in=len(keep),
        lost=lost,
    )


def _cluster_codes(
    panel: Panel, rows: np.ndarray, units: np.ndarray, cluster: str | None
) -> np.ndarray | None:
    """Cluster codes of `rows`; None where the clusters are the units."""
    name = cluster or panel.cluster
    if name is None or name == panel.unit:
        return None
    if name not in panel.frame.columns:
        raise SpecError(
            f"There is no cluster column {name!r} in the panel.{nearest(name, panel.frame.columns)}"
        )
    labels = panel.frame[name].iloc[rows]
    if labels.isna().any():
        raise SpecError(
            f"{int(labels.isna().sum())} of {len(rows)} rows used have no value of the cluster "
            f"{name!r}. Fill it in, or leave these rows out."
        )
    found, names = pd.factorize(labels)
    order = np.argsort(np.array([str(label) for label in names]), kind="stable")
    codes = np.argsort(order)[found]
    low, high = (np.full(int(units.max()) + 1, fill) for fill in (codes.max() + 1, -1))
    np.minimum.at(low, units, codes)
    np.maximum.at(high, units, codes)
    moved = np.flatnonzero(high > low)
    if len(moved):
        where = panel.frame[panel.unit].iloc[rows].to_numpy()[np.searchsorted(units, moved[:3])]
        raise SpecError(
            f"{len(moved)} units are in more than one cluster of {name!r} (first: {some(where)}). "
            "A cluster must hold whole units: choose a coarser one, or split these units."
        )
    return codes


def _dense(codes: np.ndarray) -> np.ndarray:
    """Codes 0.. in the same order without the values that do not occur."""
    seen = np.bincount(codes) > 0
    return codes if seen.all() else (np.cumsum(seen) - 1)[codes]


def _starts(codes: np.ndarray) -> np.ndarray:
    """First row of each run of `codes`, which ascend from 0 or more."""
    counts = np.bincount(codes)
    counts = counts[counts > 0]
    return np.cumsum(counts) - counts
