"""What a mediation is asked to estimate, and whether the panel can answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ex_cx.errors import SpecError, nearest, some
from ex_cx.estimation.design import term_columns
from ex_cx.estimation.path_levels import Moderated, Products
from ex_cx.linkage.panel import Panel

__all__ = ["Effect", "MediationSpec", "Structure", "check_mediation_spec"]

Structure = Literal["parallel", "serial"]
Effect = Literal["unit", "period"]

MOST_IN_A_CHAIN = 12
"""Mediators of a serial model; 4,095 paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediationSpec:
    """What to estimate. Vary it with dataclasses.replace, never by editing.

    Attributes
    ----------
    outcome, exposure, mediators, controls : terms: a column, `a:b`, or `a^2`. Several exposures
        are a tuple: each has its own direct, indirect and total effect, the others held.
    structure : parallel (mediators do not act on each other), or serial (each may act on all that
        follow it in `mediators`; every way from exposure to outcome is a path). One mediator is
        either.
    absorb : effects taken out of every equation; () leaves a constant and mixes lasting differences
        between units with what changes inside them.
    lag_mediator : periods from exposure to (the first) mediator; lag_serial : from each mediator of
        a chain to the next, by default none; lag_outcome : from (the last) mediator to outcome. By
        calendar. Controls are taken in the outcome's period.
    cluster, weights : columns; None means the panel's own.
    moderator : term on whose value paths depend, taken in the exposure's period and held in every
        equation; moderated : which paths, of a, b and direct. With `interaction`, the outcome's
        equation has products of exposure and mediators. Either needs parallel mediators and one
        exposure.
    products : raw (factors are multiplied as they are, before any effect is taken out: lasting
        differences between units enter) or within (each unit's own mean is taken off first: only
        changes within units enter).
    """

    outcome: str
    exposure: str | tuple[str, ...]
    mediators: tuple[str, ...]
    controls: tuple[str, ...] = ()
    structure: Structure = "parallel"
    absorb: tuple[Effect, ...] = ("unit", "period")
    lag_mediator: int = 0
    lag_serial: int = 0
    lag_outcome: int = 0
    cluster: str | None = None
    weights: str | None = None
    moderator: str | None = None
    moderated: tuple[Moderated, ...] = ()
    interaction: bool = False
    products: Products = "raw"

    @property
    def exposures(self) -> tuple[str, ...]:
        """The exposures, one or several."""
        return (self.exposure,) if isinstance(self.exposure, str) else self.exposure

    @property
    def single_exposure(self) -> str:
        """The one exposure, for what looks at one at a time."""
        if len(self.exposures) > 1:
            raise SpecError(
                f"This looks at one exposure at a time; the spec has {len(self.exposures)} "
                f"({', '.join(self.exposures)}). Make the others controls (lagged by "
                "Panel.with_lag where the spec has lags), e.g. dataclasses.replace(spec, "
                f"exposure={self.exposures[0]!r}, "
                f"controls=(*spec.controls, {self.exposures[1]!r}))."
            )
        return self.exposures[0]

    @property
    def exposure_lag(self) -> int:
        """Periods from the exposure to the outcome."""
        return self.lag_mediator + self.lag_of(self.mediators[0])

    def lag_of(self, mediator: str) -> int:
        """Periods from one of the mediators to the outcome."""
        if self.structure == "parallel":
            return self.lag_outcome
        later = len(self.mediators) - 1 - self.mediators.index(mediator)
        return self.lag_outcome + later * self.lag_serial


def check_mediation_spec(panel: Panel, spec: MediationSpec) -> None:
    """Refuse choices that do not exist, columns the panel lacks, and terms with two roles.

    Raises
    ------
    SpecError : naming what was found and what to write instead.
    """
    if spec.structure not in get_args(Structure):
        allowed = get_args(Structure)
        raise SpecError(
            f"structure={spec.structure!r} is not one of {', '.join(allowed)}."
            f"{nearest(spec.structure, allowed)}"
        )
    _check_roles(spec)
    lags = (spec.lag_mediator, spec.lag_serial, spec.lag_outcome)
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in lags)
    if not whole or min(lags) < 0:
        raise SpecError(
            f"lag_mediator={lags[0]!r}, lag_serial={lags[1]!r} and lag_outcome={lags[2]!r} count "
            "whole periods forward: use 0 or more."
        )
    _check_columns(panel, spec)
    _check_times(spec)
    _check_conditional(spec)


def _check_columns(panel: Panel, spec: MediationSpec) -> None:
    """Every term is in the panel, and none of the outcome's period holds the outcome."""
    if not isinstance(panel, Panel):
        raise SpecError(
            f"The rows are a {type(panel).__name__}, not a Panel. Write Panel.from_frame(rows, "
            "unit=..., period=...)."
        )
    held = () if spec.moderator is None else (spec.moderator,)
    lags = dict.fromkeys((*spec.exposures, *held), spec.exposure_lag)
    lags |= {mediator: spec.lag_of(mediator) for mediator in spec.mediators}
    for term in (spec.outcome, *spec.exposures, *spec.mediators, *spec.controls, *held):
        parts = term_columns(panel, term)
        if term != spec.outcome and spec.outcome in parts and not lags.get(term, 0):
            raise SpecError(
                f"{term!r} holds the outcome {spec.outcome!r} of the same period, so that the "
                "outcome would explain itself. Leave it out, or take it at a lag."
            )


def _check_times(spec: MediationSpec) -> None:
    """Effects that exist, and lags that count whole periods forward."""
    absorb, allowed = spec.absorb, get_args(Effect)
    ill = isinstance(absorb, str) or not isinstance(absorb, Sequence)
    if ill or not set(absorb) <= set(allowed) or len(set(absorb)) < len(absorb):
        raise SpecError(
            f"absorb={spec.absorb!r} is not a tuple of effects. Choose from ('unit', 'period'), "
            "('unit',), ('period',) and ()."
        )
    if spec.lag_serial and (spec.structure == "parallel" or len(spec.mediators) == 1):
        raise SpecError(
            "lag_serial is the time from one mediator of a chain to the next; parallel mediators, "
            "or a single one, form no chain. Use structure='serial' with several mediators, or "
            "leave it 0."
        )


def _check_roles(spec: MediationSpec) -> None:
    """Tuples where tuples are meant, at least one of each, and one role a term."""
    for several in (spec.mediators, spec.controls):
        if isinstance(several, str) or not isinstance(several, Sequence):
            raise SpecError("mediators and controls are tuples of terms: write ('m',), not 'm'.")
    if not isinstance(spec.exposures, Sequence):
        raise SpecError(f"exposure={spec.exposure!r} is not a column or a tuple of columns.")
    if not spec.mediators:
        raise SpecError("The spec names no mediator. Give at least one column in `mediators`.")
    if not spec.exposures:
        raise SpecError("The spec names no exposure. Give a column, or a tuple of columns.")
    if spec.structure == "serial" and len(spec.mediators) > MOST_IN_A_CHAIN:
        raise SpecError(
            f"A chain of {len(spec.mediators)} mediators has {2 ** len(spec.mediators) - 1:,} "
            f"paths; at most {MOST_IN_A_CHAIN} mediators. Shorten the chain, or use parallel ones."
        )
    terms = [spec.outcome, *spec.exposures, *spec.mediators, *spec.controls]
    terms += [] if spec.moderator is None else [spec.moderator]
    unnamed = [term for term in terms if not isinstance(term, str)]
    if unnamed:
        raise SpecError(
            f"{some([repr(term) for term in unnamed])} is not the name of a column. Terms are "
            "text: a column, `a:b` or `a^2`."
        )
    repeated = sorted({term for term in terms if terms.count(term) > 1})
    if repeated:
        raise SpecError(
            f"{', '.join(map(repr, repeated))} has more than one role in the spec. Give each "
            "column one of outcome, exposure, mediator, control, moderator."
        )
    arrows = [term for term in (*spec.exposures, *spec.mediators) if "->" in term]
    if arrows:
        raise SpecError(
            f"{', '.join(map(repr, arrows))} holds '->', which separates the steps of a path. "
            "Rename the column."
        )


def _check_conditional(spec: MediationSpec) -> None:
    """Moderator, moderated paths, interaction and products: what goes together."""
    paths = get_args(Moderated)
    if not isinstance(spec.interaction, bool):
        raise SpecError(f"interaction={spec.interaction!r} is not True or False.")
    ill = isinstance(spec.moderated, str) or not isinstance(spec.moderated, Sequence)
    if ill or not set(spec.moderated) <= set(paths):
        raise SpecError(
            f"moderated={spec.moderated!r} is not a tuple of paths. Choose from 'a' (exposure to "
            "mediators), 'b' (mediators to outcome) and 'direct', e.g. ('a',) or ('a', 'b')."
        )
    if (spec.moderator is None) != (not spec.moderated):
        found = "a moderator but no path" if spec.moderator else "paths but no moderator"
        raise SpecError(
            f"The spec names {found} that it moderates. Give both, e.g. moderator='w', "
            "moderated=('a',)."
        )
    if spec.products not in get_args(Products):
        raise SpecError(
            f"products={spec.products!r} is not one of {', '.join(get_args(Products))}."
            f"{nearest(spec.products, get_args(Products))}"
        )
    if spec.moderator is None and not spec.interaction:
        if spec.products != "raw":
            raise SpecError("products='within' needs products: a moderator, or interaction=True.")
        return
    if spec.moderator is not None and spec.interaction:
        raise SpecError(
            "A moderator beside exposure-mediator interaction is not offered: each natural effect "
            "would be a curve of both. Ask for one of them at a time."
        )
    if spec.structure == "serial" and len(spec.mediators) > 1:
        raise SpecError(
            "A moderator, or exposure-mediator interaction, is offered for parallel mediators. Use "
            "structure='parallel', or one mediator."
        )
    if spec.products == "within" and "unit" not in spec.absorb:
        raise SpecError(
            "products='within' multiplies changes within units; the spec does not absorb unit "
            "effects. Add 'unit' to absorb, or use products='raw'."
        )
    _ = spec.single_exposure
