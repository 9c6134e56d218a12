"""What a panel regression estimates: the choice, and what is refused before any row is touched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ex_cx.errors import SpecError, nearest, some
from ex_cx.estimation.conventions import Match, Vcov, check_match
from ex_cx.estimation.design import term_columns
from ex_cx.linkage.panel import Panel

__all__ = [
    "Effect",
    "Estimator",
    "PanelSpec",
    "check_lone_exposure",
    "check_spec",
    "convention_in_words",
    "instrument_name",
    "instrument_names",
    "lagged_outcome_told",
    "refuse_instruments",
    "term_name",
    "term_names",
]

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
Pairs = tuple[tuple[str, tuple[str, ...]], ...]
Instruments = Pairs | Mapping[str, str | tuple[str, ...]]
_SERIES = ("unadjusted", "driscoll_kraay")
_TWO_STAGE = ("pooled", "within", "first_difference")
_TWO_STAGE_ERRORS = ("unadjusted", "robust", "cluster", "jackknife")


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
    instruments : exposure -> the instrument (or tuple of them) that moves it, terms too; kept as
        pairs. They take the exposure's lag. Two stages; pooled, within, first_difference only.
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
    instruments: Instruments = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "instruments", _frozen(self.instruments))

    @property
    def instrument_terms(self) -> tuple[str, ...]:
        """The instruments, each once, in the order in which they are named."""
        return tuple(dict.fromkeys(name for _, names in _pairs(self) for name in names))

    @property
    def instrumented(self) -> tuple[str, ...]:
        """The exposures that have instruments."""
        return tuple(exposure for exposure, _ in _pairs(self))


def _frozen(instruments: Instruments) -> Pairs:
    """Instruments as pairs of an exposure and the tuple of its instruments."""
    pairs = instruments.items() if isinstance(instruments, Mapping) else instruments
    if not isinstance(pairs, Iterable) or not all(_is_pair(pair) for pair in pairs):
        raise SpecError(
            f"instruments={instruments!r} does not say which exposure has which instrument. Write "
            "instruments={'x': 'z'}, or {'x': ('z1', 'z2')}."
        )
    frozen = tuple((x, (names,) if isinstance(names, str) else tuple(names)) for x, names in pairs)
    if len(dict(frozen)) < len(frozen):
        raise SpecError(
            "instruments names an exposure more than once. Give it all of its own once."
        )
    return frozen


def _is_pair(pair: object) -> bool:
    """Whether it is an exposure and its instrument or instruments."""
    return isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], str | tuple | list)


def _pairs(spec: PanelSpec) -> Pairs:
    """The instruments as `__post_init__` keeps them."""
    return _frozen(spec.instruments)


def refuse_instruments(spec: PanelSpec, what: str) -> None:
    """Refuse a spec with instruments where they would be passed over in silence.

    Parameters
    ----------
    what : what was asked for, e.g. "The lead placebo".

    Raises
    ------
    SpecError : the spec has instruments.

    >>> refuse_instruments(PanelSpec(outcome="y", exposures=("x",)), "The lead placebo")
    """
    if spec.instruments:
        raise SpecError(
            f"{what} is defined for least squares, and the spec instruments "
            f"{some(spec.instrumented)}. Ask for it without instruments (instruments=()), or use "
            "`fit_panel` for the instrumented estimate."
        )


def term_name(term: str, spec: PanelSpec) -> str:
    """Name of an exposure's coefficient, e.g. x_lag1 (x_lead1 for a negative lag)."""
    return instrument_name(term, spec) if term in spec.exposures else term


def instrument_name(term: str, spec: PanelSpec) -> str:
    """A column taken at the exposures' lag, e.g. x_lag1."""
    if spec.lag == 0:
        return term
    return f"{term}_lag{spec.lag}" if spec.lag > 0 else f"{term}_lead{-spec.lag}"


def instrument_names(spec: PanelSpec) -> dict[str, tuple[str, ...]]:
    """Instrumented coefficients and their instruments, by the names that results use."""
    return {
        term_name(exposure, spec): tuple(instrument_name(name, spec) for name in names)
        for exposure, names in _pairs(spec)
    }


def convention_in_words(spec: PanelSpec, convention: str) -> str:
    """The convention, after what is instrumented by what; random effects are not fixest's.

    >>> spec = PanelSpec(outcome="y", exposures=("x",), instruments={"x": "z"})
    >>> convention_in_words(spec, "CR1 (as fixest)")
    'two-stage least squares, x by z; CR1 (as fixest)'
    """
    if spec.estimator in ("random", "correlated_random"):
        convention = convention.removesuffix(" (as fixest)")
    pairs = [f"{x} by {' and '.join(names)}" for x, names in instrument_names(spec).items()]
    return f"two-stage least squares, {'; '.join(pairs)}; {convention}" if pairs else convention


def term_names(spec: PanelSpec) -> list[str]:
    """Names of the coefficients: exposures (with their lag), then controls."""
    return [term_name(term, spec) for term in spec.exposures] + list(spec.controls)


def lagged_outcome_told(spec: PanelSpec, n_periods: float) -> list[str]:
    """A warning where the outcome's own past is a term beside unit effects.

    Parameters
    ----------
    n_periods : rows of a unit, on average.

    Source: Nickell (1981), Econometrica 49(6), 1417-1426.

    >>> spec = PanelSpec(outcome="y", exposures=("x",), controls=("y_lag1",))
    >>> lagged_outcome_told(spec, 8)[0].split(":")[0]
    'y_lag1 beside unit effects leans downwards'
    """
    past = rf"{re.escape(spec.outcome)}_lag\d+"
    terms = (*(term_name(x, spec) for x in spec.exposures if x not in spec.instrumented),)
    found = [name for name in (*terms, *spec.controls) if re.fullmatch(past, name)]
    if not found:
        return []
    names, compare = ", ".join(found), "compare `fit_dynamic`"
    if spec.estimator == "within" and "unit" in spec.absorb:
        size = f"about (1 + r) / (T - 1), T = {n_periods:.3g} rows a unit (Nickell)"
        return [f"{names} beside unit effects leans downwards: {size}; {compare}"]
    if spec.estimator == "first_difference":
        lean = "holds part of the error of the change it explains, however many the periods"
        return [f"the change of {names} {lean}; {compare}"]
    return []


def check_spec(panel: Panel, spec: PanelSpec) -> None:
    """Refuse choices and columns that do not exist, or do not go together.

    Raises
    ------
    SpecError : with the nearest right name.
    """
    _check_kinds(panel, spec)
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
    for term in (spec.outcome, *spec.exposures, *spec.controls, *spec.instrument_terms):
        term_columns(panel, term)
    if spec.instruments:
        _check_instruments(spec)
    _check_own_outcome(panel, spec)


def check_lone_exposure(panel: Panel, spec: PanelSpec, exposure: str, what: str) -> None:
    """Refuse an exposure that is no column of its own, or enters other terms too.

    `what` is told of it, such as "its curve is".
    """
    if exposure not in spec.exposures or exposure not in panel.frame.columns:
        raise SpecError(
            f"{exposure!r} is not a column among the spec's exposures "
            f"({', '.join(spec.exposures)}).{nearest(exposure, spec.exposures)}"
        )
    others = [t for t in (*spec.exposures, *spec.controls) if t != exposure]
    shared = [term for term in others if exposure in term_columns(panel, term)]
    if shared:
        raise SpecError(
            f"{exposure!r} also enters as {some(shared)}, so {what} not all that it does. "
            "Drop these terms from the spec."
        )


def _check_kinds(panel: Panel, spec: PanelSpec) -> None:
    """Refuse values of another kind than the spec's fields hold, such as a table for a panel."""
    if not isinstance(panel, Panel):
        raise SpecError(
            f"A Panel is needed, not a {type(panel).__name__}. Make one by "
            "Panel.from_frame(frame, unit=..., period=...)."
        )
    for name in ("exposures", "controls"):
        terms = getattr(spec, name)
        if not isinstance(terms, tuple | list) or not all(isinstance(term, str) for term in terms):
            found = "" if isinstance(terms, str) else f" {name}={terms!r} is none."
            raise SpecError(
                f"exposures and controls are tuples of terms: write ('x',), not 'x'.{found}"
            )
    if not isinstance(spec.outcome, str):
        raise SpecError(f"outcome={spec.outcome!r} is no name of a column.")
    if not isinstance(spec.absorb, tuple | list):
        raise SpecError(
            f"absorb={spec.absorb!r} is not a tuple of effects. Choose from ('unit', 'period'), "
            "('unit',), ('period',) and ()."
        )
    if isinstance(spec.lag, bool) or not isinstance(spec.lag, int | np.integer):
        raise SpecError(f"lag={spec.lag!r} is not a whole number of periods, such as 1.")


def _check_own_outcome(panel: Panel, spec: PanelSpec) -> None:
    """Refuse the outcome as a part of a term or instrument of its own period."""
    terms = spec.controls if spec.lag else (*spec.exposures, *spec.controls, *spec.instrument_terms)
    own = [term for term in terms if spec.outcome in term_columns(panel, term)]
    if own:
        raise SpecError(
            f"{some(own)} holds the outcome {spec.outcome!r} of the same period, so that the "
            "outcome would explain itself. Leave it out, or take it at a lag."
        )


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


def _check_instruments(spec: PanelSpec) -> None:
    """Refuse instruments that could not be used, or are no instruments."""
    for choice, allowed in (("estimator", _TWO_STAGE), ("vcov", _TWO_STAGE_ERRORS)):
        value = getattr(spec, choice)
        if value not in allowed:
            raise SpecError(
                f"{choice}={value!r} takes no instruments. With instruments use one of "
                f"{', '.join(allowed)}."
            )
    if spec.match != "fixest":
        raise SpecError(
            f"match={spec.match!r} is not defined with instruments: its panel estimators have "
            "none. Use match='fixest'."
        )
    for exposure, names in _pairs(spec):
        if exposure not in spec.exposures:
            raise SpecError(
                f"instruments names {exposure!r}, which is no exposure of the spec"
                f".{nearest(exposure, spec.exposures)} The exposures are {some(spec.exposures)}."
            )
        if not names:
            raise SpecError(f"instruments gives no instrument for {exposure!r}. Name a column.")
    taken = [n for n in spec.instrument_terms if n in {*spec.exposures, spec.outcome}]
    taken += [n for n in spec.instrument_terms if n in spec.controls and spec.lag == 0]
    if taken:
        raise SpecError(
            f"{some(taken)} cannot be an instrument and a term or the outcome at once: exposures "
            "without instruments and controls are their own instruments already."
        )
    if len(spec.instrument_terms) < len(spec.instrumented):
        raise SpecError(
            f"{len(spec.instrument_terms)} instruments ({some(spec.instrument_terms)}) cannot move "
            f"{len(spec.instrumented)} exposures ({some(spec.instrumented)}) apart. Name at least "
            "one for each."
        )
