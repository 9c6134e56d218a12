"""What a panel regression estimates: the choice, and what is refused before any row is touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ex_cx.errors import SpecError, nearest
from ex_cx.estimation.conventions import Match, Vcov, check_match
from ex_cx.estimation.design import term_columns
from ex_cx.linkage.panel import Panel

__all__ = ["Effect", "Estimator", "PanelSpec", "check_spec", "term_name", "term_names"]

Estimator = Literal[
    "pooled",
    "between",
    "within",
    "first_difference",
    "random",
    "correlated_random",
    "fama_macbeth",
]
Effect = Literal["unit", "period"]
_SERIES = ("unadjusted", "driscoll_kraay")


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelSpec:
    """What to estimate. Vary it with dataclasses.replace, never by editing.

    Attributes
    ----------
    outcome : column to explain.
    exposures, controls : terms: a column, a product `a:b`, or a power `a^2`. Controls are taken in
        the outcome's period; exposures `lag` periods earlier.
    estimator : pooled (one constant), between (unit means), within (effects in `absorb` taken out),
        first_difference (change from the period before; unit effects cancel, period effects are
        absorbed if in `absorb`), random (Swamy-Arora; period dummies if in `absorb`),
        correlated_random (the same with unit means of the terms: Mundlak), fama_macbeth (one
        cross-section a period).
    absorb : effects taken out by within and first_difference.
    lag : periods by which exposures precede the outcome, by calendar.
    vcov : unadjusted, robust (HC1), cluster (CR1), cluster_two_way (cluster and period),
        driscoll_kraay (across units and over time), jackknife (CR3), bias_reduced (CR2 on
        Satterthwaite's degrees of freedom; no weights).
    cluster : column of which each value holds whole units; None means the panel's own, or the unit.
    weights : column; None means the panel's own. Only their ratios matter: a row of weight 2 counts
        as much as two in the estimate, and as one row in n and in degrees of freedom.
    match : the package whose small-sample factor and degrees of freedom the errors take: fixest,
        stata (xtreg, fe), linearmodels, clubsandwich; see `ex_cx.estimation.conventions`.
    """

    outcome: str
    exposures: tuple[str, ...]
    controls: tuple[str, ...] = ()
    estimator: Estimator = "within"
    absorb: tuple[Effect, ...] = ("unit", "period")
    lag: int = 0
    vcov: Vcov = "cluster"
    cluster: str | None = None
    weights: str | None = None
    match: Match = "fixest"


def term_name(term: str, spec: PanelSpec) -> str:
    """Name of an exposure's coefficient, e.g. x_lag1 (x_lead1 for a negative lag)."""
    if spec.lag == 0 or term not in spec.exposures:
        return term
    return f"{term}_lag{spec.lag}" if spec.lag > 0 else f"{term}_lead{-spec.lag}"


def term_names(spec: PanelSpec) -> list[str]:
    """Names of the coefficients: exposures (with their lag), then controls."""
    return [term_name(term, spec) for term in spec.exposures] + list(spec.controls)


def check_spec(panel: Panel, spec: PanelSpec) -> None:
    """Refuse choices and columns that do not exist, or do not go together.

    Raises
    ------
    SpecError : with the nearest right name.
    """
    choices = {"estimator": get_args(Estimator), "vcov": get_args(Vcov)}
    for name, allowed in choices.items():
        value = getattr(spec, name)
        if value not in allowed:
            raise SpecError(
                f"{name}={value!r} is not one of {', '.join(allowed)}.{nearest(value, allowed)}"
            )
    _check_combination(panel, spec)
    absorbs_unit = spec.estimator == "within" and "unit" in spec.absorb
    check_match(spec.match, spec.vcov, spec.estimator, absorbs_unit=absorbs_unit)
    if isinstance(spec.exposures, str) or isinstance(spec.controls, str):
        raise SpecError("exposures and controls are tuples of terms: write ('x',), not 'x'.")
    if not spec.exposures:
        raise SpecError("The spec names no exposure. Give at least one column in `exposures`.")
    if not set(spec.absorb) <= set(get_args(Effect)):
        raise SpecError(
            f"absorb={spec.absorb!r} is not a tuple of effects. Choose from ('unit', 'period'), "
            "('unit',), ('period',) and ()."
        )
    terms = [*term_names(spec)]
    repeated = {term for term in terms if terms.count(term) > 1 or term == spec.outcome}
    if repeated:
        raise SpecError(
            f"The terms name {', '.join(map(repr, sorted(repeated)))} more than once, or also as "
            "the outcome. Name each column once."
        )
    for term in (spec.outcome, *spec.exposures, *spec.controls):
        term_columns(panel, term)


def _check_combination(panel: Panel, spec: PanelSpec) -> None:
    weights = spec.weights or panel.weights
    if weights and spec.estimator in ("random", "correlated_random", "fama_macbeth"):
        raise SpecError(
            f"estimator={spec.estimator!r} does not take weights ({weights!r}). Use "
            "estimator='within', or a panel without weights."
        )
    if spec.estimator == "fama_macbeth" and spec.vcov not in (*_SERIES, "cluster"):
        raise SpecError(
            f"estimator='fama_macbeth' has no vcov={spec.vcov!r}: its errors are the spread of the "
            "coefficients over time. Use vcov='unadjusted', or 'driscoll_kraay' for a series that "
            "remembers itself."
        )
    if spec.vcov == "bias_reduced" and (weights or spec.estimator.endswith("random")):
        what = f"weights ({weights!r})" if weights else f"estimator={spec.estimator!r}"
        raise SpecError(
            "vcov='bias_reduced' is derived for rows that count alike, by least squares, so it "
            f"does not go with {what}. Use vcov='jackknife'."
        )
    if spec.estimator == "between" and spec.vcov in ("driscoll_kraay", "cluster_two_way"):
        raise SpecError(
            f"estimator='between' has one row a unit and no periods, so there is no "
            f"vcov={spec.vcov!r}. Use vcov='robust' or 'cluster'."
        )
