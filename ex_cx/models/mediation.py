"""Mediation: through what does an exposure reach the outcome?

With the same effects absorbed in every equation, on the same rows:

    m_j = a_j x + c_j' controls + effects + error           one equation a mediator
    y   = direct x + sum_j b_j m_j + c' controls + effects + error
    y   = total x + c' controls + effects + error           total = direct + sum_j a_j b_j
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ex_cx.errors import InferenceError, SpecError, nearest
from ex_cx.estimation.design import Design, build_design, same_source
from ex_cx.estimation.equation import check_resampling, fit_equation
from ex_cx.estimation.inference import (
    bootstrap_counts,
    bootstrap_p_values,
    cluster_factor,
    expanded_level,
    expanded_p_values,
    percentile_interval,
)
from ex_cx.estimation.moments import ClusterMoments
from ex_cx.estimation.paths import PathModel, linear_paths
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation_spec import MediationSpec, check_mediation_spec
from ex_cx.results import Result

__all__ = ["MediationResult", "MediationSpec", "fit_mediation"]

Interval = Literal["percentile"]

FEW_CLUSTERS = 40
"""Below this many clusters a cluster bootstrap is warned of, expanded interval or not."""
DRAW_BLOCK = 512
"""Draws taken from the generator at a time; part of what makes a seed reproducible."""
FEWEST_SOUND = 0.9
"""Share of draws that must identify every path."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MediationResult(Result):
    """Paths, indirect, direct and total effects with cluster bootstrap intervals.

    An indirect effect is causal only if there is no unmeasured confounding of exposure and
    mediator, exposure and outcome, or mediator and outcome, and no such confounder is itself moved
    by the exposure. It is a product of associations otherwise.

    Attributes
    ----------
    spec : the request, verbatim.
    terms : a:<m>, b:<m> (all mediators), direct, indirect:<m>, indirect, total,
        proportion_mediated.
    estimates : shape (terms,), outcome units per unit of exposure; a in mediator units per unit of
        exposure, b in outcome units per unit of mediator; the proportion has none.
    draws : shape (sound draws, terms), the bootstrap distribution.
    n_boot, draws_failed : draws asked for, and those in which a path was not identified.
    interval : kind of interval.
    factor : small-sample factor of CR1 errors, by which percentile intervals are expanded.
    n_obs, n_units, n_periods, n_clusters, rows_in, lost : counts as in `PanelResult`.
    warnings : what makes a right number fragile.
    """

    spec: MediationSpec
    terms: tuple[str, ...]
    estimates: np.ndarray
    draws: np.ndarray
    n_boot: int
    draws_failed: int
    interval: Interval
    factor: float
    n_obs: int
    n_units: int
    n_periods: int
    n_clusters: int
    rows_in: int
    lost: dict[str, int]
    warnings: tuple[str, ...]

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """One row per term: the standard error is the standard deviation of the draws.

        Intervals are percentile intervals at a level expanded for the number of clusters. There is
        no test statistic; p-values are (1 + hits) / (1 + draws) in the smaller tail, doubled, and
        expanded alike: below 1 - conf_level the interval excludes zero. The proportion mediated is
        missing where the interval of the total holds zero, and where direct and indirect have
        opposite signs: then they are no shares of the total.
        """
        level = expanded_level(conf_level, self.n_clusters, self.factor)
        low, high = percentile_interval(self.draws, level)
        p_values = bootstrap_p_values(self.draws)
        frame = pd.DataFrame(
            {
                "term": list(self.terms),
                "estimate": self.estimates,
                "std_error": self.draws.std(axis=0, ddof=1),
                "statistic": np.nan,
                "p_value": expanded_p_values(p_values, self.n_clusters, self.factor),
                "conf_low": low,
                "conf_high": high,
                "conf_level": conf_level,
            }
        )
        share = frame["term"] == "proportion_mediated"
        frame.loc[share, ["std_error", "p_value"]] = np.nan
        if not _has_share(frame):
            frame.loc[share, ["estimate", "conf_low", "conf_high"]] = np.nan
        return frame

    def glance(self) -> pd.DataFrame:
        """One row: counts, rows lost and why, draws, conventions, warnings."""
        spec = self.spec
        return pd.DataFrame(
            {
                "outcome": [spec.outcome],
                "exposure": spec.exposure,
                "mediators": ", ".join(spec.mediators),
                "structure": spec.structure,
                "absorbed": " + ".join(spec.absorb) or "constant",
                "interval": self.interval,
                "n_boot": self.n_boot,
                "draws_failed": self.draws_failed,
                "n_obs": self.n_obs,
                "n_units": self.n_units,
                "n_periods": self.n_periods,
                "n_clusters": self.n_clusters,
                "rows_in": self.rows_in,
                "rows_lost": sum(self.lost.values()),
                "lost": "; ".join(f"{n} {reason}" for reason, n in self.lost.items()),
                "convention": (
                    "cluster bootstrap, effects re-estimated in every draw; percentile interval "
                    "and p-value expanded for the number of clusters"
                ),
                "warnings": "; ".join(self.warnings),
            }
        )

    def _headline(self) -> str:
        through = ", ".join(self.spec.mediators)
        return f"{self.spec.exposure} -> {through} -> {self.spec.outcome}, {self.n_obs} rows"


def fit_mediation(
    panel: Panel,
    spec: MediationSpec,
    *,
    n_boot: int = 4999,
    interval: Interval = "percentile",
    rng: np.random.Generator,
) -> MediationResult:
    """Estimate direct and indirect effects with a bootstrap of whole clusters.

    Parameters
    ----------
    panel : unit x period rows.
    spec : what to estimate.
    n_boot : draws of clusters; at least 99.
    interval : percentile.
    rng : source of the draws; the same state gives identical numbers.

    Returns
    -------
    Estimates and draws; direct + indirect = total holds in the estimates and in every draw.

    Raises
    ------
    SpecError : a column or choice that does not exist, text or infinite values, no usable row.
    RankError : a path that is not identified.
    InferenceError : fewer than two clusters, fewer than 99 draws, or more than a tenth of the draws
        in which a path is not identified.

    Notes
    -----
    Whole clusters are drawn with replacement and repeats count as separate clusters; period effects
    are re-estimated exactly in every draw, from compressed moments. The tails of the interval are
    taken at Phi(-sqrt(c) t), c the CR1 factor and t Student's quantile on G-1 degrees of freedom:
    plain percentile intervals are too short when clusters are few.
    Source: Preacher and Hayes (2008), Behavior Research Methods 40(3), 879-891, for the products;
    Cameron, Gelbach and Miller (2008), Rev. Economics and Statistics 90(3), 414-427, for the draws;
    Hesterberg (2015), The American Statistician 69(4), 371-386, for expanded percentiles.

    Examples
    --------
    >>> rng = np.random.default_rng(7)
    >>> x = rng.normal(size=400)
    >>> m = 0.5 * x + rng.normal(size=400)
    >>> units, periods = np.divmod(np.arange(400), 8)
    >>> rows = pd.DataFrame({"unit": units, "period": periods,
    ...                      "x": x, "m": m, "y": 0.4 * m + rng.normal(size=400)})
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = MediationSpec(outcome="y", exposure="x", mediators=("m",))
    >>> paths = fit_mediation(panel, spec, n_boot=999, rng=rng).tidy().set_index("term")["estimate"]
    >>> bool(abs(paths["direct"] + paths["indirect"] - paths["total"]) < 1e-12)
    True
    """
    check_mediation_spec(panel, spec)
    _check_choices(n_boot, interval)
    model = _path_model(spec)
    design = build_design(
        panel, model.columns, absorb=spec.absorb, cluster=spec.cluster, weights=spec.weights
    )
    model = model.for_rows(design)
    moments = ClusterMoments(design.moment_rows(spec.absorb))
    _check_identified(moments, spec, model)
    if design.n_clusters < 2:
        raise InferenceError(
            f"A cluster bootstrap needs at least 2 clusters; the rows used have "
            f"{design.n_clusters}. Add units, or cluster by a finer column."
        )
    estimates = model.compute(moments.total[None], moments.before)[0]
    draws = _draws(moments, model, n_boot, rng)
    sound = _sound(draws, model, design.n_clusters)
    factor = _factor(design, moments, spec, model)
    failed = int((~sound).sum())
    return MediationResult(
        spec=spec,
        terms=model.terms,
        estimates=estimates,
        draws=draws[sound],
        n_boot=n_boot,
        draws_failed=failed,
        interval=interval,
        factor=factor,
        n_obs=design.n_obs,
        n_units=design.n_units,
        n_periods=design.n_periods,
        n_clusters=design.n_clusters,
        rows_in=design.rows_in,
        lost=design.lost,
        warnings=_warnings(panel, spec, design, n_boot, failed, factor),
    )


def _has_share(frame: pd.DataFrame) -> bool:
    """Is a share of the total mediated? The total is clear, direct and indirect share its sign."""
    numbers = frame[["estimate", "conf_low", "conf_high"]].to_numpy(dtype=float)
    _, low, high = numbers[frame["term"] == "total"][0]
    share = numbers[frame["term"] == "proportion_mediated"][0, 0]
    return bool((low > 0 or high < 0) and 0 <= share <= 1)


def _factor(
    design: Design, moments: ClusterMoments, spec: MediationSpec, model: PathModel
) -> float:
    """CR1 factor of the equation with the most regressors."""
    nested = int("unit" in spec.absorb) + moments.period_rank
    n_terms = max(len(equation.regressors) for equation in model.equations)
    return cluster_factor(design.n_clusters, design.n_obs, n_terms, nested)


def _draws(
    moments: ClusterMoments, model: PathModel, n_boot: int, rng: np.random.Generator
) -> np.ndarray:
    blocks = []
    for at in range(0, n_boot, DRAW_BLOCK):
        size = min(DRAW_BLOCK, n_boot - at)
        counts = bootstrap_counts(moments.n_clusters, size, rng)
        blocks.append(model.compute(moments.cross_products(counts), moments.before))
    return np.concatenate(blocks)


def _sound(draws: np.ndarray, model: PathModel, n_clusters: int) -> np.ndarray:
    """Which draws identify every path; too few of them are refused."""
    kept = [at for at, term in enumerate(model.terms) if term not in model.ratios]
    sound = np.isfinite(draws[:, kept]).all(axis=1)
    if sound.mean() < FEWEST_SOUND:
        raise InferenceError(
            f"In {int((~sound).sum())} of {len(draws)} draws of {n_clusters} clusters a path is "
            "not identified: too few clusters carry the variation. Use fewer terms, or more "
            "clusters."
        )
    return sound


def _check_identified(moments: ClusterMoments, spec: MediationSpec, model: PathModel) -> None:
    for equation in model.richest():
        names = [model.columns[at].term for at in equation.regressors]
        check_resampling(
            fit_equation(moments, equation.outcome, equation.regressors, names, spec.absorb)
        )


def _path_model(spec: MediationSpec) -> PathModel:
    """The paths that the spec asks for."""
    return linear_paths(
        outcome=spec.outcome,
        exposure=spec.exposure,
        mediators=spec.mediators,
        controls=spec.controls,
        lag_mediator=spec.lag_mediator,
        lag_outcome=spec.lag_outcome,
    )


def _check_choices(n_boot: int, interval: str) -> None:
    if interval not in get_args(Interval):
        allowed = get_args(Interval)
        raise SpecError(
            f"interval={interval!r} is not one of {', '.join(allowed)}.{nearest(interval, allowed)}"
        )
    if n_boot < 99:
        raise InferenceError(f"n_boot={n_boot} draws cannot carry an interval; use at least 99.")


def _warnings(
    panel: Panel, spec: MediationSpec, design: Design, n_boot: int, failed: int, factor: float
) -> tuple[str, ...]:
    found = []
    if design.n_clusters < FEW_CLUSTERS:
        found.append(
            f"{design.n_clusters} clusters, fewer than {FEW_CLUSTERS}: bootstrap intervals rest "
            "on a correction for few clusters"
        )
    if not spec.lag_mediator and not spec.lag_outcome:
        found.append("exposure, mediators and outcome are from the same period: order is assumed")
    found += same_source(panel, [spec.outcome], [spec.exposure, *spec.mediators])
    found += same_source(panel, spec.mediators, [spec.exposure])
    tail = (1 - expanded_level(0.95, design.n_clusters, factor)) / 2
    if tail * (n_boot - failed + 1) < 1:
        found.append(
            f"{n_boot - failed:,} draws do not reach the tails of 95 % intervals for "
            f"{design.n_clusters} clusters: they end at the outermost draws and are too short; use "
            "more draws, or the p-values"
        )
    if failed:
        found.append(f"{failed} draws did not identify every path and were left out")
    return tuple(found)
