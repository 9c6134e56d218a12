"""The compressed moments of rows that stay in a database: a GROUP BY in place of a pass in memory.

`ClusterMoments` needs of its rows: cross-products net of unit means, sums by period, and which
periods each cluster observes. A database gives each of them by cluster, whoever counts the rows;
nothing row by row comes back. Expressed once in Ibis, on float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import mul
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.errors import InferenceError, SpecError, nearest, some
from ex_cx.estimation.design import term_parts

__all__ = ["TableMoments", "compress_table"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableMoments:
    """Per-cluster moments of a table with one row per unit and period.

    Attributes
    ----------
    columns : names of the k columns; their order is that of every cross-product.
    clusters : shape (G,), labels, sorted. periods : shape (T,), those observed, sorted.
    cross : shape (G, k, k), sums of products net of unit means.
    sums : shape (G, T, k), sums by period net of unit means; T is 0 without period effects.
    overlap : shape (G, T, T), cross-products of the period dummies net of unit means.
    centre : shape (k,), taken from the columns before all else.
    before : shape (k,), sums of squares about the mean before anything was absorbed.
    n_obs, n_units, n_periods : rows, units and periods used.
    rows_in : rows of the table; `lost` : reason -> rows not used.
    """

    columns: tuple[str, ...]
    clusters: np.ndarray
    periods: np.ndarray
    cross: np.ndarray
    sums: np.ndarray
    overlap: np.ndarray
    centre: np.ndarray
    before: np.ndarray
    n_obs: int
    n_units: int
    n_periods: int
    rows_in: int
    lost: dict[str, int]

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.clusters)

    def period_solution(self) -> tuple[np.ndarray, int]:
        """Coefficients of the period dummies, shape (T, k), and the rank of the period effects."""
        total = self.overlap.sum(axis=0)
        if not len(total):
            return np.zeros((0, len(self.columns))), 0
        diagonal = np.diag(total)
        scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        values, vectors = np.linalg.eigh(total / np.outer(scale, scale))
        keep = values > values[-1] * 1e-12 * len(total)
        inverse = (vectors[:, keep] / values[keep]) @ vectors[:, keep].T / np.outer(scale, scale)
        return inverse @ self.sums.sum(axis=0), int(keep.sum())

    def total(self) -> np.ndarray:
        """Cross-products with all effects taken out, shape (k, k)."""
        effects, _ = self.period_solution()
        return self.cross.sum(axis=0) - self.sums.sum(axis=0).T @ effects

    def scores(self, contrast: np.ndarray) -> np.ndarray:
        """Per-cluster sums of demeaned column x residual, shape (G, k).

        Parameters
        ----------
        contrast : shape (k,); residuals are the columns times it, all effects taken out.

        Notes
        -----
        With z net of unit means, D the dummies net of them and d their coefficients, a cluster's
        sum of (z - Dd)'(z - Dd) c is A c - d'B c - B'd c + d'C d c.
        """
        effects, _ = self.period_solution()
        own = self.cross @ contrast
        if not len(effects):
            return own
        line = effects @ contrast
        return (
            own
            - np.einsum("gtk,k->gt", self.sums, contrast) @ effects
            - np.einsum("gtk,t->gk", self.sums, line)
            + (self.overlap @ line) @ effects
        )

    def cross_products(self, counts: np.ndarray) -> np.ndarray:
        """S(w) for each row of cluster counts, shape (draws, k, k), periods re-estimated."""
        out = np.einsum("dg,gij->dij", counts, self.cross, optimize=True)
        if not len(self.periods):
            return out
        sums = np.einsum("dg,gtk->dtk", counts, self.sums, optimize=True)
        overlap = np.einsum("dg,gst->dst", counts, self.overlap, optimize=True)
        inverse = np.linalg.pinv(overlap, rcond=1e-10, hermitian=True)
        return out - np.swapaxes(sums, 1, 2) @ inverse @ sums

    def leave_one_out(self) -> np.ndarray:
        """S(1 - e_g) for each cluster, shape (G, k, k)."""
        if self.n_clusters < 2:
            raise InferenceError("Leaving clusters out needs at least 2 clusters; there is 1.")
        return self.cross_products(1.0 - np.eye(self.n_clusters))


def compress_table(
    table: Any,
    columns: Sequence[str],
    *,
    unit: str,
    period: str,
    cluster: str | None = None,
    absorb: Sequence[str] = ("unit", "period"),
) -> TableMoments:
    """Compress a table in a database to the moments of its clusters.

    Parameters
    ----------
    table : an Ibis table with one row per unit and period.
    columns : terms (a column of numbers, `a:b`, `a^2`); the outcome and all else that an equation
        may hold. Rows that lack one, or are the only one of an absorbed unit or period, are left
        out and counted.
    unit, period, cluster : columns; clusters (default: the units) hold whole units.
    absorb : unit, or unit and period.

    Raises
    ------
    SpecError : a column that does not exist or holds no numbers, infinite values, repeated unit
        and period, a unit in several clusters, no usable row, other effects to absorb.

    Notes
    -----
    All clusters' overlaps take 8 G T^2 bytes here: with very many clusters and periods, choose a
    coarser cluster.
    """
    if tuple(absorb) not in (("unit",), ("unit", "period")):
        raise SpecError(f"absorb={tuple(absorb)!r}: in a database unit, or unit and period, only.")
    group = cluster or unit
    parts = [part for term in columns for part in term_parts(term, table.columns, "table")]
    _check_columns(table, [unit, period, group], parts)
    rows, counts = _complete(table, columns, unit, period, group, absorb)
    rows, centre, squares = _centred(rows, len(columns))
    return _grouped(rows, tuple(columns), (centre, squares), "period" in absorb, counts)


def _check_columns(table: Any, wanted: Sequence[str], numbers: Sequence[str]) -> None:
    for name in wanted:
        if name not in table.columns:
            raise SpecError(
                f"There is no column {name!r} in the table.{nearest(name, table.columns)} It has "
                f"{len(table.columns)}: {some(table.columns, 12)}."
            )
    for name in numbers:
        kind = table[name].type()
        if not kind.is_numeric():
            raise SpecError(
                f"Column {name!r} must be numeric to enter a model; the database holds {kind}. "
                "Convert it there, or leave it out."
            )


def _complete(
    table: Any,
    columns: Sequence[str],
    unit: str,
    period: str,
    group: str,
    absorb: Sequence[str],
) -> tuple[Any, dict[str, Any]]:
    """Rows without missing values and singletons, kept in the database, and what became of all."""
    import ibis

    terms = [term_parts(term, table.columns, "table") for term in columns]
    parts = list(dict.fromkeys(part for term in terms for part in term))
    numbers = {part: _number(table[part]) for part in parts}
    values = {
        f"x{i}": reduce(mul, [numbers[part] for part in term]) for i, term in enumerate(terms)
    }
    sources = {f"part{i}_": numbers[part] for i, part in enumerate(parts)}
    keys = {"unit_": table[unit], "period_": table[period], "cluster_": table[group]}
    rows = table.select(**keys, **values, **sources)
    passed, whole = [], ibis.literal(True)
    for name in values:
        whole = whole & rows[name].notnull()
        passed.append(whole.fill_null(False).sum())
    keyless = rows["unit_"].isnull() | rows["period_"].isnull() | rows["cluster_"].isnull()
    wanted = {f"infinite{i}_": rows[name].isinf().sum() for i, name in enumerate(sources)}
    wanted |= {f"large{i}_": rows[name].isinf().sum() for i, name in enumerate(values)}
    wanted |= {f"passed{i}_": count for i, count in enumerate(passed)}
    found = rows.aggregate(n_=rows.count(), keyless_=keyless.sum(), **wanted).to_pandas()
    different = int(rows.select("unit_", "period_").distinct().count().execute())
    facts = {name: 0 if pd.isna(value) else int(value) for name, value in found.iloc[0].items()}
    facts["different_"] = different
    _refuse(facts, parts, unit, period, group)
    for i, term in enumerate(columns):
        if facts[f"large{i}_"] > 0:
            raise SpecError(f"The term {term!r} is too large to compute: rescale its columns.")
    left, lost = facts["n_"], {}
    for i, name in enumerate(columns):
        if facts[f"passed{i}_"] < left:
            lost[f"missing {name}"] = left - facts[f"passed{i}_"]
        left = facts[f"passed{i}_"]
    rows = rows.filter(whole).select(*keys, *values).cache()
    rows, alone = _without_singletons(rows, [f"{effect}_" for effect in absorb])
    lost |= alone
    counts = {"rows_in": facts["n_"], "lost": lost}
    if not left - sum(alone.values()):
        reasons = "; ".join(f"{count} {reason}" for reason, count in lost.items())
        raise SpecError(f"None of the {counts['rows_in']} rows can be used ({reasons}).")
    return rows, counts


def _number(column: Any) -> Any:
    """As a 64-bit float, NaN missing."""
    import ibis

    value = column.cast("float64")
    return (
        value.isnan().ifelse(ibis.null("float64"), value) if column.type().is_floating() else value
    )


def _refuse(
    facts: Mapping[Any, int], columns: Sequence[str], unit: str, period: str, group: str
) -> None:
    n = facts["n_"]
    if n == 0:
        raise SpecError("The table has no rows.")
    if facts["keyless_"] > 0:
        raise SpecError(
            f"{facts['keyless_']} of {n} rows have no value in {unit!r}, {period!r} or "
            f"{group!r}. Fill or drop them."
        )
    if facts["different_"] < n:
        raise SpecError(
            f"{n - facts['different_']} of {n} rows repeat a {unit} and {period} already "
            "there. Aggregate them, or add what tells them apart to the unit."
        )
    for i, name in enumerate(columns):
        if facts[f"infinite{i}_"] > 0:
            raise SpecError(
                f"{facts[f'infinite{i}_']} of {n} values of {name!r} are infinite. Find what "
                "was divided by zero, and set these to missing or correct them."
            )


def _without_singletons(rows: Any, effects: Sequence[str]) -> tuple[Any, dict[str, int]]:
    """Rows that are the only one of a level left out, again and again until none is."""
    lost: dict[str, int] = {}
    while True:
        single = {effect: _single(rows, effect) for effect in effects}
        if not any(single.values()):
            return rows, lost
        for effect in [effect for effect, count in single.items() if count]:
            reason = f"only row of its {effect.removesuffix('_')}"
            lost[reason] = lost.get(reason, 0) + _single(rows, effect)
            sizes = rows.group_by(effect).aggregate(size_=rows.count())
            rows = rows.semi_join(sizes.filter(sizes["size_"] > 1), effect).cache()


def _single(rows: Any, effect: str) -> int:
    sizes = rows.group_by(effect).aggregate(size_=rows.count())
    return int(sizes.filter(sizes["size_"] == 1).count().execute())


def _centred(rows: Any, k: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """Columns net of their means and of their unit means; the means, and sums of squares about."""
    names = [f"x{i}" for i in range(k)]
    means = rows.aggregate(**{name: rows[name].mean() for name in names}).to_pandas().iloc[0]
    centre = means[names].to_numpy(dtype=float)
    rows = rows.mutate(**{name: rows[name] - at for name, at in zip(names, centre, strict=True)})
    squares = {name: (rows[name] * rows[name]).sum() for name in names}
    before = rows.aggregate(**squares).to_pandas().iloc[0][names].to_numpy(dtype=float)
    own = {f"u{i}": rows[name].mean() for i, name in enumerate(names)}
    units = rows.group_by("unit_").aggregate(size_=rows.count(), **own)
    joined = rows.join(units, "unit_")
    net = {name: joined[name] - joined[f"u{i}"] for i, name in enumerate(names)}
    kept = joined.select("unit_", "period_", "cluster_", "size_", **net)
    return kept.cache(), centre, before


def _grouped(
    rows: Any, columns: tuple[str, ...], means: tuple[np.ndarray, np.ndarray], t: bool, counts: Any
) -> TableMoments:
    """The three groupings: products by cluster, sums by cluster and period, pairs of periods."""
    k = len(columns)
    upper = list(zip(*np.triu_indices(k), strict=True))
    products = {f"p{i}_{j}": (rows[f"x{i}"] * rows[f"x{j}"]).sum() for i, j in upper}
    units = {"units_": rows["unit_"].nunique(), "n_": rows.count()}
    by_cluster = rows.group_by("cluster_").aggregate(**units, **products).to_pandas()
    by_cluster = by_cluster.sort_values("cluster_", ignore_index=True)
    clusters = pd.Index(by_cluster["cluster_"])
    n_units = int(rows["unit_"].nunique().execute())
    if int(by_cluster["units_"].sum()) != n_units:
        raise SpecError(
            f"{int(by_cluster['units_'].sum()) - n_units} units are in more than one cluster. A "
            "cluster must hold whole units: choose a coarser one, or split these units."
        )
    cross = np.empty((len(clusters), k, k))
    for i, j in upper:
        cross[:, i, j] = cross[:, j, i] = by_cluster[f"p{i}_{j}"].to_numpy(dtype=float)
    periods, sums, overlap = _by_period(rows, clusters, k) if t else _no_periods(len(clusters), k)
    return TableMoments(
        columns=columns,
        clusters=clusters.to_numpy(),
        periods=periods,
        cross=cross,
        sums=sums,
        overlap=overlap,
        centre=means[0],
        before=means[1],
        n_obs=int(by_cluster["n_"].sum()),
        n_units=n_units,
        n_periods=int(rows["period_"].nunique().execute()),
        **counts,
    )


def _no_periods(g: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros(0), np.zeros((g, 0, k)), np.zeros((g, 0, 0))


def _by_period(rows: Any, clusters: pd.Index, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Periods, sums by cluster and period, and the overlap of periods within each cluster."""
    wanted = {f"s{i}": rows[f"x{i}"].sum() for i in range(k)}
    found = rows.group_by("cluster_", "period_").aggregate(n_=rows.count(), **wanted).to_pandas()
    periods = pd.Index(found["period_"].unique()).sort_values()
    g, t = len(clusters), len(periods)
    at = clusters.get_indexer(found["cluster_"]), periods.get_indexer(found["period_"])
    sums, overlap = np.zeros((g, t, k)), np.zeros((g, t, t))
    sums[at] = found[[f"s{i}" for i in range(k)]].to_numpy(dtype=float)
    overlap[(*at, at[1])] = found["n_"].to_numpy(dtype=float)
    left = rows.select("unit_", "cluster_", "size_", s_=rows["period_"])
    pairs = left.join(rows.select("unit_", t_=rows["period_"]), "unit_")
    share = (1.0 / pairs["size_"].cast("float64")).sum()
    both = pairs.group_by("cluster_", "s_", "t_").aggregate(share_=share).to_pandas()
    first, second = periods.get_indexer(both["s_"]), periods.get_indexer(both["t_"])
    overlap[clusters.get_indexer(both["cluster_"]), first, second] -= both["share_"].to_numpy()
    return periods.to_numpy(), sums, overlap
