"""What a regression of a rate estimates: the choice, and what is refused before any row is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ex_cx.errors import SpecError, nearest, some
from ex_cx.estimation.design import term_columns
from ex_cx.linkage.panel import Panel

__all__ = ["RateSpec", "Scale", "as_share", "check_rate_spec", "lagged_name"]

Scale = Literal["share", "percent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSpec:
    """What to estimate about a rate. Vary it with dataclasses.replace, never by editing.

    Attributes
    ----------
    outcome : column of rates, such as the share of people who left or of accounts that stayed.
    exposures, controls : terms: a column, a product `a:b`, or a power `a^2`. Controls are taken in
        the outcome's period; exposures `lag` periods earlier.
    scale : share (the outcome runs from 0 to 1) or percent (from 0 to 100). It is never guessed.
    denominator : column of the counts that the rate divides by (heads, accounts): the likelihood is
        binomial and a row counts as many times. None means the panel's own weights, or 1 a row:
        the fractional (Bernoulli quasi-)likelihood of Papke and Wooldridge.
    lag : periods by which exposures precede the outcome, by calendar.
    periods : whether each period has a dummy.
    unit_means : whether the unit means of the terms stand beside them (Mundlak; correlated random
        effects), so that a term is compared within units. Where units have different numbers of
        rows, that number stands beside them too.
    cluster : column of which each value holds whole units; None means the panel's own, or the unit.
    """

    outcome: str
    exposures: tuple[str, ...]
    scale: Scale
    controls: tuple[str, ...] = ()
    denominator: str | None = None
    lag: int = 0
    periods: bool = True
    unit_means: bool = True
    cluster: str | None = None


def lagged_name(term: str, lag: int) -> str:
    """Name of a coefficient: x, x_lag1, or x_lead1 for a negative lag."""
    if lag == 0:
        return term
    return f"{term}_lag{lag}" if lag > 0 else f"{term}_lead{-lag}"


def check_rate_spec(panel: Panel, spec: RateSpec) -> None:
    """Refuse choices and columns that do not exist, or do not go together.

    Raises
    ------
    SpecError : with the nearest right name.
    """
    if spec.scale not in get_args(Scale):
        raise SpecError(
            f"scale={spec.scale!r} is not one of {', '.join(get_args(Scale))}."
            f"{nearest(spec.scale, get_args(Scale))}"
        )
    for terms in (spec.exposures, spec.controls):
        if not isinstance(terms, tuple | list) or not all(isinstance(term, str) for term in terms):
            raise SpecError("exposures and controls are tuples of terms: write ('x',), not 'x'.")
    if isinstance(spec.lag, bool) or not isinstance(spec.lag, int | np.integer):
        raise SpecError(f"lag={spec.lag!r} is not a whole number of periods, such as 1.")
    if not spec.exposures:
        raise SpecError("The spec names no exposure. Give at least one column in `exposures`.")
    names = [*(lagged_name(term, spec.lag) for term in spec.exposures), *spec.controls]
    repeated = {name for name in names if names.count(name) > 1 or name == spec.outcome}
    if repeated:
        raise SpecError(
            f"The terms name {', '.join(map(repr, sorted(repeated)))} more than once, or also as "
            "the outcome. Name each column once."
        )
    for term in (spec.outcome, *spec.exposures, *spec.controls):
        term_columns(panel, term)
    now = spec.controls if spec.lag else (*spec.exposures, *spec.controls)
    own = [term for term in now if spec.outcome in term_columns(panel, term)]
    if own:
        raise SpecError(
            f"{some(own)} holds the outcome {spec.outcome!r} of the same period, so that the "
            "outcome would explain itself. Leave it out, or take it at a lag."
        )
    if spec.denominator is not None and spec.denominator not in panel.frame.columns:
        raise SpecError(
            f"There is no denominator column {spec.denominator!r} in the panel."
            f"{nearest(spec.denominator, panel.frame.columns)}"
        )


def as_share(values: np.ndarray, panel: Panel, rows: np.ndarray, spec: RateSpec) -> np.ndarray:
    """The outcome of the rows used as shares 0-1; values that are no rates are refused.

    Parameters
    ----------
    values : shape (n,). rows : shape (n,), row of the panel behind each.
    """
    top = 100.0 if spec.scale == "percent" else 1.0
    wrong = np.flatnonzero((values < 0) | (values > top))
    if len(wrong):
        keys = panel.frame[[panel.unit, panel.period]].iloc[rows[wrong[:3]]]
        shown = [
            f"{value:g} in {unit}, {period}"
            for value, (unit, period) in zip(
                values[wrong[:3]], keys.itertuples(index=False), strict=True
            )
        ]
        advice = (
            "If the column holds per cent, say scale='percent'; else correct these rows"
            if spec.scale == "share"
            else "Correct these rows"
        )
        raise SpecError(
            f"{len(wrong)} of {len(values)} values of {spec.outcome!r} lie outside 0 to {top:g} "
            f"(first: {some(shown)}). {advice}, or leave them out with `panel.where`: a rate over "
            "a mean headcount can exceed its denominator."
        )
    return values / top
