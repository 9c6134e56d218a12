"""Mediation of a rate: natural direct and indirect effects in percentage points.

On the same rows, with unit effects in the first and unit means in the second equation,

    m_j = a_j x + controls + effects + error
    E(y) = 1 / (1 + exp(-(c x + sum_j b_j m_j + controls + unit means + period)))

and y(x, M(x')) the mean of y with the exposure at x and the mediators as they are at x'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ex_cx.errors import InferenceError
from ex_cx.estimation.design import same_source
from ex_cx.estimation.inference import cluster_factor, expanded_level
from ex_cx.estimation.path_intervals import (
    SHARE,
    blank_shares,
    check_draws,
    interval_columns,
    short_of_draws,
)
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation_rates_rows import rate_equations, rate_mediation_rows
from ex_cx.models.mediation_rates_spec import (
    RateMediationSpec,
    check_contrast,
    check_rate_mediation,
)
from ex_cx.models.rate_rows import RateRows
from ex_cx.results import Result, sample_counts

__all__ = ["RateMediationResult", "RateMediationSpec", "fit_rate_mediation"]

FEW_CLUSTERS = 40
"""Below this many clusters a cluster bootstrap is warned of, expanded interval or not."""
FEWEST_SOUND = 0.9
"""Share of draws in which the logit must have a maximum."""
CONVENTION = (
    "natural effects by the mediation formula, averaged over the rows used with the weights of the "
    "likelihood, unit means held fixed; direct and indirect are means of pure and total; cluster "
    "bootstrap of both equations; percentile interval and p-value expanded for the number of "
    "clusters"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RateMediationResult(Result):
    """Natural direct and indirect effects on a rate, with cluster bootstrap intervals.

    They are causal only if there is no unmeasured confounding of exposure and mediators, exposure
    and outcome, or mediators and outcome, and no such confounder is itself moved by the exposure.

    Attributes
    ----------
    spec : the request, verbatim.
    terms : a:<m>, b:<m>, pure_direct, total_direct, pure_indirect, total_indirect, direct,
        indirect, total, proportion_mediated.
    estimates : shape (terms,), percentage points of the outcome for the contrast; a in mediator
        units per unit of exposure, b in points per unit of mediator (average partial effect).
    draws : shape (sound draws, terms). n_boot, draws_failed : draws asked for, and those without a
        maximum of the likelihood.
    factor : CR1 factor of the logit, by which the intervals are expanded.
    mean_pct : mean of the outcome in per cent, with the weights of the likelihood.
    n_obs, n_units, n_periods, n_clusters, rows_in, lost, warnings : as in `RateResult`.
    """

    spec: RateMediationSpec
    terms: tuple[str, ...]
    estimates: np.ndarray
    draws: np.ndarray
    n_boot: int
    draws_failed: int
    factor: float
    mean_pct: float
    n_obs: int
    n_units: int
    n_periods: int
    n_clusters: int
    rows_in: int
    lost: dict[str, int]
    warnings: tuple[str, ...]

    def tidy(self, conf_level: float = 0.95) -> pd.DataFrame:
        """One row per term; errors, intervals and p-values from the draws as in `fit_mediation`.

        The proportion mediated is missing where the interval of the total holds zero, and where
        direct and indirect have opposite signs.
        """
        return blank_shares(
            interval_columns(
                self.terms,
                self.estimates,
                self.draws,
                kind="percentile",
                conf_level=conf_level,
                n_clusters=self.n_clusters,
                factor=self.factor,
            )
        )

    def glance(self) -> pd.DataFrame:
        """One row: counts, rows lost and why, the contrast, draws, conventions, warnings."""
        spec = self.spec
        ends = spec.contrast
        return pd.DataFrame(
            {
                "outcome": [spec.outcome],
                "exposure": spec.exposure,
                "mediators": ", ".join(spec.mediators),
                "contrast": "own value, one unit more"
                if ends is None
                else f"{ends[0]:g} to {ends[1]:g}",
                "likelihood": "binomial logit" if spec.denominator else "fractional logit",
                "unit_means": spec.unit_means,
                "periods": spec.periods,
                "mean_pct": self.mean_pct,
                "n_boot": self.n_boot,
                "draws_failed": self.draws_failed,
                **sample_counts(self),
                "convention": CONVENTION,
                "warnings": "; ".join(self.warnings),
            }
        )

    def _headline(self) -> str:
        through = ", ".join(self.spec.mediators)
        return (
            f"{self.spec.exposure} -> {through} -> {self.spec.outcome} (percentage points), "
            f"{self.n_obs} rows"
        )


def fit_rate_mediation(
    panel: Panel, spec: RateMediationSpec, *, n_boot: int = 999, rng: np.random.Generator
) -> RateMediationResult:
    """Estimate natural direct and indirect effects on a rate between 0 and 1, or on 0 and 1.

    Parameters
    ----------
    panel : unit x period rows. spec : what to estimate.
    n_boot : draws of whole clusters, at least 99; each refits both equations.
    rng : source of the draws; the same state gives identical numbers.

    Returns
    -------
    Estimates and draws; pure direct + total indirect = total direct + pure indirect = total, and
    direct + indirect = total, in the estimates and in every draw.

    Raises
    ------
    SpecError : a column or choice that does not exist, rates outside their scale, no usable row.
    RankError : a path that is not identified, or separation.
    InferenceError : fewer than two clusters, fewer than 99 draws, no convergence, more than a tenth
        of the draws without a maximum of the likelihood.

    Notes
    -----
    With x0, x1 the contrast: pure direct y(x1, M(x0)) - y(x0, M(x0)), total direct y(x1, M(x1)) -
    y(x0, M(x1)), pure indirect y(x0, M(x1)) - y(x0, M(x0)), total indirect y(x1, M(x1)) -
    y(x1, M(x0)); direct and indirect are the means of pure and total. M(x') is the row's own
    mediators plus a (x' - its own x): it keeps its unit effect and its error, and no distribution
    of errors is assumed. Unit means in the logit stay as they are. Several mediators move together.
    Whole clusters are drawn with replacement, repeats count as separate clusters, and the mean is
    over the rows drawn.
    Source: Imai, Keele and Tingley (2010), Psychological Methods 15(4), 309-334, whose pure and
    total effects these are at the two ends, and whose simulated mediators are replaced by the rows'
    own; Papke and Wooldridge (2008), J. Econometrics 145(1-2), 121-133, for the logit.

    Examples
    --------
    >>> rng = np.random.default_rng(7)
    >>> rows = pd.DataFrame({"unit": np.arange(400) // 8, "period": np.arange(400) % 8})
    >>> rows["x"] = rng.normal(size=400)
    >>> rows["m"] = 0.5 * rows["x"] + rng.normal(size=400)
    >>> rows["left"] = rng.binomial(40, 1 / (1 + np.exp(2 + 0.4 * rows["m"]))) / 40
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = RateMediationSpec(outcome="left", exposure="x", mediators=("m",), scale="share")
    >>> result = fit_rate_mediation(panel, spec, n_boot=199, rng=rng)
    >>> points = result.tidy().set_index("term")["estimate"]
    >>> bool(abs(points["direct"] + points["indirect"] - points["total"]) < 1e-12)
    True
    """
    check_rate_mediation(panel, spec)
    check_draws(n_boot, "percentile", rng)
    sample = rate_mediation_rows(panel, spec)
    check_contrast(spec, sample.terms[spec.names[0]])
    model = rate_equations(sample, spec)
    draws = model.bootstrap(n_boot, rng)
    sound = np.isfinite(draws[:, :-1]).all(axis=1)
    if sound.mean() < FEWEST_SOUND:
        raise InferenceError(
            f"In {int((~sound).sum())} of {n_boot} draws of {sample.n_clusters} clusters the logit "
            "has no maximum: too few clusters carry the variation. Use fewer terms, "
            "periods=False, or longer periods."
        )
    failed = int((~sound).sum())
    factor = cluster_factor(sample.n_clusters, len(sample.y), model.n_coefficients, 0)
    tail = (1 - expanded_level(0.95, sample.n_clusters, factor)) / 2
    short = short_of_draws(n_boot - failed, tail, sample.n_clusters)
    return RateMediationResult(
        spec=spec,
        terms=_terms(spec),
        estimates=model.estimates(),
        draws=draws[sound],
        n_boot=n_boot,
        draws_failed=failed,
        factor=factor,
        mean_pct=100 * float(np.average(sample.y, weights=sample.weights)),
        n_obs=len(sample.y),
        n_units=len(sample.unit_starts),
        n_periods=len(np.unique(sample.periods)),
        n_clusters=sample.n_clusters,
        rows_in=sample.rows_in,
        lost=sample.lost,
        warnings=(*_warnings(panel, spec, sample, failed), *short, *model.cautions),
    )


def _terms(spec: RateMediationSpec) -> tuple[str, ...]:
    ends = ("pure_direct", "total_direct", "pure_indirect", "total_indirect")
    paths = (*(f"a:{m}" for m in spec.mediators), *(f"b:{m}" for m in spec.mediators))
    return (*paths, *ends, "direct", "indirect", "total", SHARE)


def _warnings(
    panel: Panel, spec: RateMediationSpec, sample: RateRows, failed: int
) -> tuple[str, ...]:
    found = []
    if sample.n_clusters < FEW_CLUSTERS:
        found.append(
            f"{sample.n_clusters} clusters, fewer than {FEW_CLUSTERS}: bootstrap intervals rest on "
            "a correction for few clusters"
        )
    lengths = np.diff(sample.unit_starts, append=len(sample.y))
    if spec.unit_means and np.ptp(lengths):
        found.append(
            f"units have {lengths.min()} to {lengths.max()} rows: unit means and the number of "
            "rows stand for the unit effects of the logit, which is approximate (Wooldridge 2019)"
        )
    if not spec.unit_means:
        found.append("compares units with each other: no statement about change within a unit")
    if not spec.exposure_lag:
        found.append("exposure, mediators and outcome are from the same period: order is assumed")
    found += same_source(panel, [spec.outcome], [spec.exposure, *spec.mediators])
    found += same_source(panel, spec.mediators, [spec.exposure])
    if failed:
        found.append(f"{failed} draws had no maximum of the likelihood and were left out")
    return tuple(found)
