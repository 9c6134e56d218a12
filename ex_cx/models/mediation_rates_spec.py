"""What a mediation of a rate estimates: the choice, and what is refused before any row is used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ex_cx.errors import SpecError
from ex_cx.linkage.panel import Panel
from ex_cx.models.rate_spec import RateSpec, Scale, check_rate_spec, lagged_name

__all__ = ["RateMediationSpec", "check_contrast", "check_rate_mediation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateMediationSpec:
    """What to estimate. Vary it with dataclasses.replace, never by editing.

    Attributes
    ----------
    outcome : column of rates, or of 0 and 1; `scale` : share (0 to 1) or percent (0 to 100).
    exposure, mediators : columns; all mediators together carry the indirect effect. controls :
        terms, as in `RateSpec`, without products of exposure or mediators.
    contrast : from, to: every row's exposure is set to both. None means each row's own exposure and
        one unit more.
    denominator : column of the counts behind the rates; None means the panel's weights, or 1 a row.
    lag_mediator : periods from exposure to mediators; lag_outcome : from mediators to outcome.
    periods : whether each period has a constant of its own, in both equations.
    unit_means : whether units are compared with themselves: unit effects in the mediators'
        equations, unit means of all terms in the logit.
    cluster : column of which each value holds whole units; None means the panel's own, or the unit.
    """

    outcome: str
    exposure: str
    mediators: tuple[str, ...]
    scale: Scale
    controls: tuple[str, ...] = ()
    contrast: tuple[float, float] | None = None
    denominator: str | None = None
    lag_mediator: int = 0
    lag_outcome: int = 0
    periods: bool = True
    unit_means: bool = True
    cluster: str | None = None

    @property
    def exposure_lag(self) -> int:
        """Periods from the exposure to the outcome."""
        return self.lag_mediator + self.lag_outcome

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of exposure, mediators and controls in the logit, in this order."""
        lagged = (lagged_name(m, self.lag_outcome) for m in self.mediators)
        return (lagged_name(self.exposure, self.exposure_lag), *lagged, *self.controls)

    @property
    def rate(self) -> RateSpec:
        """The regression of the rate on all terms at once; lags are taken apart from it."""
        return RateSpec(
            outcome=self.outcome,
            exposures=(self.exposure, *self.mediators),
            scale=self.scale,
            controls=self.controls,
            denominator=self.denominator,
            periods=self.periods,
            unit_means=self.unit_means,
            cluster=self.cluster,
        )


def check_rate_mediation(panel: Panel, spec: RateMediationSpec) -> None:
    """Refuse choices and columns that do not exist, or do not go together.

    Raises
    ------
    SpecError : naming what was found and what to write instead.
    """
    if isinstance(spec.mediators, str) or isinstance(spec.controls, str):
        raise SpecError("mediators and controls are tuples of terms: write ('m',), not 'm'.")
    if not spec.mediators:
        raise SpecError("The spec names no mediator. Give at least one column in `mediators`.")
    lags = (spec.lag_mediator, spec.lag_outcome)
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in lags)
    if not whole or min(lags) < 0:
        raise SpecError(
            f"lag_mediator={lags[0]!r} and lag_outcome={lags[1]!r} count whole periods forward: "
            "use 0 or more."
        )
    check_rate_spec(panel, spec.rate)
    moved = (spec.exposure, *spec.mediators)
    for term in moved:
        if term not in panel.frame.columns:
            raise SpecError(
                f"{term!r} is a product or a power; the effects of a rate are differences between "
                "two values of exposure and mediators themselves. Name columns."
            )
    crossed = [c for c in spec.controls if c not in panel.frame.columns and _factors(c) & {*moved}]
    if crossed:
        raise SpecError(
            f"The controls {', '.join(map(repr, crossed))} hold the exposure or a mediator, so "
            "they would move along with it. Leave them out."
        )
    if spec.contrast is not None:
        try:
            ends = np.asarray(spec.contrast, dtype=float)
        except (TypeError, ValueError):
            ends = np.zeros(0)
        if ends.shape != (2,) or not np.isfinite(ends).all() or ends[0] == ends[1]:
            raise SpecError(
                f"contrast={spec.contrast!r} is not two different values (from, to) of "
                f"{spec.exposure!r}."
            )


def _factors(term: str) -> set[str]:
    return set(term.split(":")) | {term.partition("^")[0]}


def check_contrast(spec: RateMediationSpec, exposure: np.ndarray) -> None:
    """Refuse to set an exposure to values beyond those of the rows used, (n,).

    Raises
    ------
    SpecError : an end of the contrast outside the data; one unit more of an exposure that has two
        values.
    """
    low, high = float(exposure.min()), float(exposure.max())
    values = np.unique(exposure)
    if spec.contrast is None:
        if len(values) == 2:
            raise SpecError(
                f"{spec.exposure!r} has two values on the rows used ({values[0]:g} and "
                f"{values[1]:g}), so one unit more has no meaning. Say contrast=({values[0]:g}, "
                f"{values[1]:g})."
            )
        return
    outside = [end for end in spec.contrast if not low <= end <= high]
    if outside:
        shown = " and ".join(f"{end:g}" for end in outside)
        raise SpecError(
            f"The contrast sets {spec.exposure!r} to {shown}; on the rows used it runs from "
            f"{low:g} to {high:g}. Choose values within."
        )
