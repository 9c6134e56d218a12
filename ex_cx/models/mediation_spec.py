"""What a mediation is asked to estimate, and whether the panel can answer it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ex_cx.errors import SpecError, nearest
from ex_cx.estimation.design import term_columns
from ex_cx.linkage.panel import Panel

__all__ = ["Effect", "MediationSpec", "Structure", "check_mediation_spec"]

Structure = Literal["parallel"]
Effect = Literal["unit", "period"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediationSpec:
    """What to estimate. Vary it with dataclasses.replace, never by editing.

    Attributes
    ----------
    outcome, exposure, mediators, controls : terms: a column, `a:b`, or `a^2`.
    structure : parallel (mediators do not act on each other; one mediator is the plain case).
    absorb : effects taken out of every equation; () leaves a constant and mixes lasting differences
        between units with what changes inside them.
    lag_mediator : periods from exposure to mediator; lag_outcome : from mediator to outcome, by
        calendar. Controls are taken in the outcome's period.
    cluster, weights : columns; None means the panel's own.
    """

    outcome: str
    exposure: str
    mediators: tuple[str, ...]
    controls: tuple[str, ...] = ()
    structure: Structure = "parallel"
    absorb: tuple[Effect, ...] = ("unit", "period")
    lag_mediator: int = 0
    lag_outcome: int = 0
    cluster: str | None = None
    weights: str | None = None


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
    if isinstance(spec.mediators, str) or isinstance(spec.controls, str):
        raise SpecError("mediators and controls are tuples of terms: write ('m',), not 'm'.")
    if not spec.mediators:
        raise SpecError("The spec names no mediator. Give at least one column in `mediators`.")
    if not set(spec.absorb) <= set(get_args(Effect)):
        raise SpecError(
            f"absorb={spec.absorb!r} is not a tuple of effects. Choose from ('unit', 'period'), "
            "('unit',), ('period',) and ()."
        )
    if min(spec.lag_mediator, spec.lag_outcome) < 0:
        raise SpecError("lag_mediator and lag_outcome count periods forward: use 0 or more.")
    terms = [spec.outcome, spec.exposure, *spec.mediators, *spec.controls]
    repeated = sorted({term for term in terms if terms.count(term) > 1})
    if repeated:
        raise SpecError(
            f"{', '.join(map(repr, repeated))} has more than one role in the spec. Give each "
            "column one of outcome, exposure, mediator, control."
        )
    for term in terms:
        term_columns(panel, term)
