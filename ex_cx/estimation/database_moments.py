"""The compressed moments of rows that stay in a database: a GROUP BY in place of a pass in memory.

`ClusterMoments` needs of its rows: cross-products net of unit means, sums by period, and which
periods each cluster observes. A database gives each of them by cluster, whoever counts the rows;
nothing row by row comes back. Expressed once in Ibis, on float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.errors import InferenceError, SpecError
from ex_cx.estimation.database_rows import TableKeys, table_rows
from ex_cx.estimation.design import DesignTerm
from ex_cx.linkage.indatabase.failures import asking
from ex_cx.linkage.reads import TableOpen

__all__ = ["TableMoments", "compress_table"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableMoments:
    """Per-cluster moments of a table with one row per unit and period.

    Attributes
    ----------
    columns : names of the k columns; their order is that of every cross-product.
    clusters : shape (G,), labels, sorted. periods : shape (T,), those observed, sorted.
    cross : shape (G, k, k), sums of products net of unit means; weighted, as all that follows.
    sums : shape (G, T, k), sums by period net of unit means; T is 0 without period effects.
    overlap : shape (G, T, T), cross-products of the period dummies net of unit means: for a unit of
        period weights m, diag(m) - m m' / sum(m).
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
        diagonal = np.diagonal(overlap, axis1=1, axis2=2)
        scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        outer = scale[:, :, None] * scale[:, None, :]  # a period of little weight counts as one
        inverse = np.linalg.pinv(overlap / outer, rcond=1e-10, hermitian=True) / outer
        return out - np.swapaxes(sums, 1, 2) @ inverse @ sums

    def leave_one_out(self) -> np.ndarray:
        """S(1 - e_g) for each cluster, shape (G, k, k)."""
        if self.n_clusters < 2:
            raise InferenceError("Leaving clusters out needs at least 2 clusters; there is 1.")
        return self.cross_products(1.0 - np.eye(self.n_clusters))


def compress_table(
    table: Any,
    columns: Sequence[str | DesignTerm],
    *,
    unit: str,
    period: str,
    cluster: str | None = None,
    weights: str | None = None,
    absorb: Sequence[str] = ("unit", "period"),
) -> TableMoments:
    """Compress a table in a database to the moments of its clusters.

    Parameters
    ----------
    table : what `open_table` opens or an Ibis table, with one row per unit and period.
    columns : terms (a column of numbers, `a:b`, `a^2`), or a `DesignTerm` with a lag; the outcome
        and all else that an equation may hold. Rows that lack one, or are the only one of an
        absorbed unit or period, are left out and counted.
    unit, period, cluster : columns; clusters (default: the units) hold whole units.
    weights : column, of which only the ratios matter; rows where it is missing or zero are left out
        and counted.
    absorb : unit, or unit and period.

    Raises
    ------
    SpecError : no Ibis table; a column that does not exist or holds no numbers, infinite values,
        negative weights, repeated unit and period, a unit in several clusters, no usable row, other
        effects to absorb.
    PanelError : a lag of periods that are on no calendar.
    SourceError : the database failed; its own message, which may quote values, is not passed on.

    Notes
    -----
    All clusters' overlaps take 8 G T^2 bytes here: with very many clusters and periods, choose a
    coarser cluster.
    """
    import ibis

    name = "the table"
    if isinstance(table, TableOpen):
        table, name = table.table, table.report.name
    if not isinstance(table, ibis.Table):
        raise SpecError(
            f"An Ibis table is needed, not a {type(table).__name__}. Open one by `open_table`, or "
            "put rows in memory into a Panel and use `fit_panel`."
        )
    if tuple(absorb) not in (("unit",), ("unit", "period")):
        raise SpecError(f"absorb={tuple(absorb)!r}: in a database unit, or unit and period, only.")
    terms = [DesignTerm(term) if isinstance(term, str) else term for term in columns]
    keys = TableKeys(unit=unit, period=period, cluster=cluster or unit, weights=weights)
    with asking(name):
        rows, counts = table_rows(table, terms, keys, absorb)
        rows, centre, squares = _centred(rows, len(terms))
        names = tuple(term.label for term in terms)
        return _grouped(rows, names, (centre, squares), "period" in absorb, counts)


def _mass(rows: Any) -> Any:
    """Sum of the weights; rows, where there are none."""
    return rows["w_"].sum() if "w_" in rows.columns else rows.count().cast("float64")


def _weighted(rows: Any, value: Any) -> Any:
    return value * rows["w_"] if "w_" in rows.columns else value


def _centred(rows: Any, k: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """Columns net of their means and of their unit means; the means, and sums of squares about.

    Those that are rounding are 0, as in `ClusterMoments`.
    """
    names = [f"x{i}" for i in range(k)]
    means = rows.aggregate(**{name: rows[name].mean() for name in names}).to_pandas().iloc[0]
    centre = means[names].to_numpy(dtype=float)
    rows = rows.mutate(**{name: rows[name] - at for name, at in zip(names, centre, strict=True)})
    squares = {name: _weighted(rows, rows[name] * rows[name]).sum() for name in names}
    found = rows.aggregate(mass_=_mass(rows), **squares).to_pandas().iloc[0]
    before = found[names].to_numpy(dtype=float)
    rounding = float(found["mass_"]) * (8 * np.finfo(float).eps * centre) ** 2
    before = np.where(before > rounding, before, 0.0)
    own = {f"u{i}": _weighted(rows, rows[x]).sum() / _mass(rows) for i, x in enumerate(names)}
    units = rows.group_by("unit_").aggregate(mass_=_mass(rows), **own)
    joined = rows.join(units, "unit_")
    net = {name: joined[name] - joined[f"u{i}"] for i, name in enumerate(names)}
    weight = [name for name in rows.columns if name == "w_"]
    kept = joined.select("unit_", "period_", "cluster_", "mass_", *weight, **net)
    return kept.cache(), centre, before


def _grouped(
    rows: Any, columns: tuple[str, ...], means: tuple[np.ndarray, np.ndarray], t: bool, counts: Any
) -> TableMoments:
    """The three groupings: products by cluster, sums by cluster and period, pairs of periods."""
    k = len(columns)
    upper = list(zip(*np.triu_indices(k), strict=True))
    products = {f"p{i}_{j}": _weighted(rows, rows[f"x{i}"] * rows[f"x{j}"]).sum() for i, j in upper}
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
    import ibis

    wanted = {f"s{i}": _weighted(rows, rows[f"x{i}"]).sum() for i in range(k)}
    found = rows.group_by("cluster_", "period_").aggregate(mass_=_mass(rows), **wanted).to_pandas()
    periods = pd.Index(found["period_"].unique()).sort_values()
    g, t = len(clusters), len(periods)
    at = clusters.get_indexer(found["cluster_"]), periods.get_indexer(found["period_"])
    sums, overlap = np.zeros((g, t, k)), np.zeros((g, t, t))
    sums[at] = found[[f"s{i}" for i in range(k)]].to_numpy(dtype=float)
    overlap[(*at, at[1])] = found["mass_"].to_numpy(dtype=float)
    own = _weighted(rows, ibis.literal(1.0))
    left = rows.select("unit_", "cluster_", "mass_", s_=rows["period_"], first_=own)
    pairs = left.join(rows.select("unit_", t_=rows["period_"], second_=own), "unit_")
    share = (pairs["first_"] * pairs["second_"] / pairs["mass_"]).sum()
    both = pairs.group_by("cluster_", "s_", "t_").aggregate(share_=share).to_pandas()
    first, second = periods.get_indexer(both["s_"]), periods.get_indexer(both["t_"])
    overlap[clusters.get_indexer(both["cluster_"]), first, second] -= both["share_"].to_numpy()
    return periods.to_numpy(), sums, overlap
