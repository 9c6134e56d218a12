"""What a dynamic panel model estimates, and what is refused before any row is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ex_cx.errors import InferenceError, SpecError, nearest
from ex_cx.estimation.design import term_columns
from ex_cx.estimation.gmm import FirstStep
from ex_cx.estimation.gmm_rows import GmmTerm
from ex_cx.linkage.panel import Panel

__all__ = ["DynamicSpec", "DynamicTerm", "check_dynamic"]

Exogeneity = Literal["strict", "predetermined", "endogenous"]
FIRST_LAG = {"predetermined": 1, "endogenous": 2}
"""The latest lag of a level that the change in the errors leaves alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicTerm:
    """An explanatory term, at which lags it enters, and what it may depend on.

    Attributes
    ----------
    term : a column, a product `a:b`, or a power `a^2`.
    lags : periods, by calendar, at which it enters the equation; 0 is the outcome's own.
    exogeneity : strict (unrelated to errors of all periods; its changes instrument themselves),
        predetermined (may react to earlier errors; levels from lag 1 are instruments), endogenous
        (may react to the same period's error too; levels from lag 2).
    instrument_lags : first and last lag of its levels used as instruments; None as last: all there
        are. None: from the first that `exogeneity` allows.
    """

    term: str
    lags: tuple[int, ...] = (0,)
    exogeneity: Exogeneity = "endogenous"
    instrument_lags: tuple[int, int | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicSpec:
    """What to estimate. Vary it with dataclasses.replace, never by editing.

    Attributes
    ----------
    outcome : column to explain.
    terms : `DynamicTerm`s; a plain name is an endogenous term of the outcome's own period.
    outcome_lags : how many lags of the outcome are regressors, from 1 on.
    outcome_instrument_lags : first (2 or more) and last lag of the outcome's levels used as
        instruments of the differenced equation; None as last: all there are.
    estimator : difference (Arellano and Bond), or system (Blundell and Bond: the levels too,
        instrumented with changes; needs changes unrelated to the unit effects).
    steps : 1, or 2 with the estimated optimal weights.
    vcov : robust (two-step with Windmeijer's correction), or unadjusted (two-step without it:
        known to be too small, for comparison with older publications).
    collapse : one instrument a lag instead of one for each lag and period.
    period_effects : whether each period has an effect; otherwise a constant in levels.
    first_step : H of the first-step weights (Z'HZ)^-1; see `ex_cx.estimation.gmm.fit_gmm`.
    """

    outcome: str
    terms: tuple[str | DynamicTerm, ...] = ()
    outcome_lags: int = 1
    outcome_instrument_lags: tuple[int, int | None] = (2, None)
    estimator: Literal["difference", "system"] = "difference"
    steps: Literal[1, 2] = 2
    vcov: Literal["robust", "unadjusted"] = "robust"
    collapse: bool = True
    period_effects: bool = True
    first_step: FirstStep = "differenced"


def check_dynamic(panel: Panel, spec: DynamicSpec) -> list[GmmTerm]:
    """The outcome's own lags, then the terms, each with the lags that are its instruments.

    Raises
    ------
    SpecError : a choice or column that does not exist, or does not go together with another; lags
        longer than the panel; a panel with weights or with clusters other than the units.
    InferenceError : one unit.
    """
    _check_choices(spec)
    if isinstance(spec.terms, str):
        raise SpecError("terms is a tuple of names or DynamicTerms: write ('x',), not 'x'.")
    terms = [DynamicTerm(term=t) if isinstance(t, str) else t for t in spec.terms]
    for term in terms:
        _check_term(term)
    for name in (spec.outcome, *(t.term for t in terms)):
        term_columns(panel, name)
    names = [spec.outcome, *(t.term for t in terms)]
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise SpecError(
            f"The terms name {', '.join(map(repr, repeated))} more than once, or also as the "
            "outcome. Name each column once, with all its lags."
        )
    _check_range(f"outcome {spec.outcome!r}", spec.outcome_instrument_lags, 2)
    longest = max([spec.outcome_lags, *(lag for t in terms for lag in t.lags)])
    if longest + 2 > panel.n_periods:
        raise SpecError(
            f"A change with lag {longest} spans {longest + 2} periods; the panel's calendar has "
            f"{panel.n_periods}. Use shorter lags, or a longer panel."
        )
    if panel.n_units < 2:
        raise InferenceError(
            "GMM compares units, and the panel has one. Add units, or describe the one by itself."
        )
    _check_roles(panel)
    return _regressors(panel, spec, terms)


def _check_roles(panel: Panel) -> None:
    cluster = None if panel.cluster == panel.unit else panel.cluster
    for role, name in (("weights", panel.weights), ("cluster", cluster)):
        if name is not None:
            raise SpecError(
                "fit_dynamic takes units as clusters and gives rows equal weight; the panel has "
                f"{role}={name!r}. Make a panel without it: Panel.from_frame(panel.frame, "
                "unit=..., period=...)."
            )


def _check_choices(spec: DynamicSpec) -> None:
    choices: dict[str, Sequence[object]] = {
        "estimator": ("difference", "system"),
        "steps": (1, 2),
        "vcov": ("robust", "unadjusted"),
        "first_step": get_args(FirstStep),
    }
    for name, allowed in choices.items():
        value = getattr(spec, name)
        if value not in allowed:
            raise SpecError(
                f"{name}={value!r} is not one of {', '.join(map(str, allowed))}."
                f"{nearest(str(value), map(str, allowed))}"
            )
    if spec.steps == 1 and spec.vcov == "unadjusted":
        raise SpecError(
            "One-step GMM has robust errors only. Use vcov='robust', or steps=2 for the "
            "uncorrected two-step errors."
        )
    if spec.outcome_lags < 1:
        raise SpecError(
            f"outcome_lags={spec.outcome_lags}: a dynamic model has at least one lag of its "
            "outcome. Use outcome_lags=1, or fit_panel for a model without any."
        )


def _check_term(term: DynamicTerm) -> None:
    if term.exogeneity not in get_args(Exogeneity):
        raise SpecError(
            f"exogeneity={term.exogeneity!r} of {term.term!r} is not one of "
            f"{', '.join(get_args(Exogeneity))}.{nearest(term.exogeneity, get_args(Exogeneity))}"
        )
    if not term.lags or min(term.lags) < 0 or len(set(term.lags)) < len(term.lags):
        raise SpecError(
            f"lags={term.lags!r} of {term.term!r} must name one or more different lags from 0 on, "
            "such as (0, 1)."
        )
    if term.instrument_lags is None:
        return
    if term.exogeneity == "strict":
        raise SpecError(
            f"{term.term!r} is strictly exogenous, so that its changes instrument themselves. "
            "Leave instrument_lags out, or call it predetermined or endogenous."
        )
    _check_range(f"{term.exogeneity} {term.term!r}", term.instrument_lags, _first(term))


def _check_range(what: str, lags: tuple[int, int | None], least: int) -> None:
    first, last = lags
    if first < least or (last is not None and last < first):
        raise SpecError(
            f"Instrument lags {lags!r} of the {what}: the first must be {least} or more and the "
            f"last no smaller. Write ({least}, None) for all from {least} on."
        )


def _first(term: DynamicTerm) -> int:
    return FIRST_LAG.get(term.exogeneity, 0)


def _range(lags: tuple[int, int | None], panel: Panel, what: str) -> range:
    """The instrument lags that the calendar can hold; an error when there is none."""
    last = panel.n_periods - 1 if lags[1] is None else min(lags[1], panel.n_periods - 1)
    if lags[0] > last:
        raise SpecError(
            f"Instrument lag {lags[0]} of {what!r} reaches before the panel's first period; its "
            f"calendar has {panel.n_periods}. Use shorter lags, or a longer panel."
        )
    return range(lags[0], last + 1)


def _regressors(panel: Panel, spec: DynamicSpec, terms: list[DynamicTerm]) -> list[GmmTerm]:
    """The outcome's own lags, then the terms, each with the lags that are its instruments."""
    own = tuple(range(1, spec.outcome_lags + 1))
    found = [GmmTerm(spec.outcome, own, _range(spec.outcome_instrument_lags, panel, spec.outcome))]
    for term in terms:
        lags = term.instrument_lags or (_first(term), None)
        strict = term.exogeneity == "strict"
        found.append(
            GmmTerm(term.term, term.lags, range(0) if strict else _range(lags, panel, term.term))
        )
    return found
