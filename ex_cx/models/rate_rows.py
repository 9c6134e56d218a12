"""The rows of a regression of a rate, and the columns of its logit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ex_cx.errors import RankError
from ex_cx.estimation.design import Design, DesignTerm, build_design, term_columns, term_values
from ex_cx.estimation.effects import independent_columns
from ex_cx.estimation.inference import check_rank
from ex_cx.linkage.panel import Panel
from ex_cx.models.rate_spec import RateSpec, as_share, lagged_name

__all__ = [
    "RateRows",
    "rate_columns",
    "rate_rows",
    "rate_slopes",
    "term_means",
    "varying_rows",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateRows:
    """The rows used, sorted by cluster and unit.

    `y` holds shares, `terms` label -> column of shape (n,), `factors` label -> the labels that
    multiply to it, `base` label of a single column -> its values, `means` label -> unit means of a
    term (and the unit's number of rows, where it differs). `mass` is the sum of the weights of
    these rows and of those that their period's dummy fits exactly.
    """

    y: np.ndarray
    terms: dict[str, np.ndarray]
    factors: dict[str, tuple[str, ...]]
    base: dict[str, np.ndarray]
    means: dict[str, np.ndarray]
    weights: np.ndarray
    mass: float
    periods: np.ndarray
    unit_starts: np.ndarray
    cluster_starts: np.ndarray
    rows_in: int
    lost: dict[str, int]

    @property
    def n_clusters(self) -> int:
        """Clusters that contribute rows."""
        return len(self.cluster_starts)

    def where(self, keep: np.ndarray, reason: str) -> RateRows:
        """The rows to keep; the others are counted as lost to `reason`."""
        return replace(
            self,
            y=self.y[keep],
            terms={name: column[keep] for name, column in self.terms.items()},
            base={name: column[keep] for name, column in self.base.items()},
            means={name: column[keep] for name, column in self.means.items()},
            weights=self.weights[keep],
            periods=np.unique(self.periods[keep], return_inverse=True)[1],
            unit_starts=_starts_after(self.unit_starts, keep),
            cluster_starts=_starts_after(self.cluster_starts, keep),
            lost={**self.lost, reason: int((~keep).sum())},
        )


def _starts_after(starts: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """First row of each group that has rows left, among the rows kept."""
    sizes = np.add.reduceat(keep.astype(np.int64), starts)
    sizes = sizes[sizes > 0]
    return np.cumsum(sizes) - sizes


def rate_rows(panel: Panel, spec: RateSpec) -> RateRows:
    """The complete rows of a spec; those lost are counted by reason.

    Raises
    ------
    SpecError : what `build_design` and `as_share` refuse.
    RankError : a rate that is the same in every row.
    """
    chosen = {lagged_name(t, spec.lag): DesignTerm(t, spec.lag) for t in spec.exposures}
    chosen |= {t: DesignTerm(t) for t in spec.controls}
    terms = [DesignTerm(spec.outcome), *chosen.values()]
    design = build_design(panel, terms, absorb=(), cluster=spec.cluster, weights=spec.denominator)
    factors: dict[str, tuple[str, ...]] = {}
    base: dict[str, np.ndarray] = {}
    for name, term in chosen.items():
        columns = term_columns(panel, term.term)
        factors[name] = tuple(lagged_name(column, term.lag) for column in columns)
        for label, column in zip(factors[name], columns, strict=True):
            base[label] = term_values(panel, DesignTerm(column, term.lag))[design.source]
    columns_of = dict(zip(chosen, design.columns[1:], strict=True))
    weights = np.ones(design.n_obs) if design.weights is None else design.weights
    sample = RateRows(
        y=as_share(design.columns[0], panel, design.source, spec),
        terms=columns_of,
        factors=factors,
        base=base,
        means=term_means(columns_of, weights, design.unit_starts) if spec.unit_means else {},
        weights=weights,
        mass=float(weights.sum()),
        periods=design.periods,
        unit_starts=design.unit_starts,
        cluster_starts=design.cluster_starts,
        rows_in=design.rows_in,
        lost=_reasons(design, spec),
    )
    return varying_rows(sample, spec)


def _reasons(design: Design, spec: RateSpec) -> dict[str, int]:
    weight = f"weight missing or zero ({spec.denominator})"
    told = {weight: f"denominator missing or zero ({spec.denominator})"}
    return {told.get(reason, reason): n for reason, n in design.lost.items()}


def varying_rows(sample: RateRows, spec: RateSpec) -> RateRows:
    """Refuse a rate that never varies; set aside periods that their dummy fits exactly.

    In the limit of the likelihood such rows have a fitted share of 0 or 1: they say nothing about
    the terms, and their effect is 0.
    """
    if np.ptp(sample.y) == 0:
        raise RankError(
            f"{spec.outcome!r} is {sample.y[0]:g} (as a share) in each of the {len(sample.y)} rows "
            "used, so there is nothing to explain. Check the filter, or take longer periods."
        )
    if not spec.periods:
        return sample
    count = np.bincount(sample.periods)
    total = np.bincount(sample.periods, weights=sample.y)
    exact = (total == 0) | (total == count)
    if not exact.any():
        return sample
    reason = "period in which every rate is 0, or every rate 1 (its dummy fits it; effect 0)"
    return sample.where(~exact[sample.periods], reason)


def rate_columns(sample: RateRows, spec: RateSpec) -> tuple[np.ndarray, list[str], list[str]]:
    """Columns of the logit (n, p): constant, terms, unit means, dummies; their names; cautions.

    Raises
    ------
    RankError : a term that is constant, the same for all units, or determined by others.
    """
    n = len(sample.y)
    names = list(sample.terms)
    terms = np.vstack(list(sample.terms.values()))
    dummies = np.empty((0, n))
    if spec.periods:
        dummies = (sample.periods == np.arange(1, sample.periods.max() + 1)[:, None]).astype(float)
    _check_terms(terms, names, sample.periods if spec.periods else None)
    kept = np.vstack([np.ones((1, n)), dummies, _scaled(terms)])
    stacked, caution = [np.ones((1, n)), terms], []
    labels = ["(constant)", *names]
    if spec.unit_means:
        means = np.vstack(list(sample.means.values()))
        chosen = independent_columns(kept, _scaled(means))
        stacked.append(means[chosen])
        labels += [list(sample.means)[j] for j in chosen]
        caution = _between_only(sample, terms, names)
    labels += [f"(period dummy {j + 1})" for j in range(len(dummies))]
    return np.vstack([*stacked, dummies]).T, labels, caution


def _scaled(rows: np.ndarray) -> np.ndarray:
    """Each row less its mean, at unit spread; a constant one becomes zero."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    flat = spread <= 1e-12 * np.abs(rows).max(axis=1, keepdims=True)
    return np.where(flat, 0.0, centred / np.where(flat, 1.0, spread))


def _check_terms(terms: np.ndarray, names: list[str], periods: np.ndarray | None) -> None:
    """Refuse terms that are constant, the same for all units, or determined by others."""
    scaled = _scaled(terms)
    before = (scaled**2).sum(axis=1)
    if periods is not None:
        count = np.bincount(periods)
        means = [np.bincount(periods, weights=row) / count for row in scaled]
        scaled = scaled - np.array(means)[:, periods]
    check_rank(scaled @ scaled.T, before, names, () if periods is None else ("period",))


def term_means(
    terms: dict[str, np.ndarray], weights: np.ndarray, unit_starts: np.ndarray
) -> dict[str, np.ndarray]:
    """Weighted unit means of the terms, (n,) each; the unit's number of rows where it varies."""
    lengths = np.diff(unit_starts, append=len(weights))
    total = np.add.reduceat(weights, unit_starts)
    found = {
        f"{name}_between": np.repeat(
            np.add.reduceat(column * weights, unit_starts) / total, lengths
        )
        for name, column in terms.items()
    }
    if np.ptp(lengths):
        found["(rows of the unit)"] = np.repeat(lengths.astype(float), lengths)
    return found


def _between_only(sample: RateRows, terms: np.ndarray, names: list[str]) -> list[str]:
    low = np.minimum.reduceat(terms, sample.unit_starts, axis=1)
    high = np.maximum.reduceat(terms, sample.unit_starts, axis=1)
    return [
        f"{name} does not vary within units: its effect compares units with each other"
        for name, same in zip(names, (low == high).all(axis=1), strict=True)
        if same
    ]


def rate_slopes(sample: RateRows, names: list[str]) -> dict[str, dict[int, np.ndarray]]:
    """For each variable, which columns of the logit change with it, and by how much, (n,)."""
    ones = np.ones(len(sample.y))
    found: dict[str, dict[int, np.ndarray]] = {variable: {} for variable in sample.base}
    for term, factors in sample.factors.items():
        for at, factor in enumerate(factors):
            others = [sample.base[f] for i, f in enumerate(factors) if i != at]
            change = np.prod([ones, *others], axis=0)
            column = names.index(term)
            found[factor][column] = found[factor].get(column, 0.0) + change
    return found
