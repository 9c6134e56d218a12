"""How a study was done, in a few lines for its report; text between dollar signs is LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from ex_cx.models.mediation import MediationResult
from ex_cx.models.regress import PanelResult
from ex_cx.models.spec import PanelSpec
from ex_cx.reporting.numbers import capital, count, label
from ex_cx.reporting.wording import readable_text

__all__ = ["mediation_method", "panel_method"]


def panel_method(
    result: PanelResult, comparison: pd.DataFrame, names: Mapping[str, str]
) -> tuple[str, ...]:
    """Equation, errors, and what must be known to read the numbers of a panel regression."""
    effects, spec = result.glance()["absorbed"].iloc[0], result.spec
    estimator = spec.estimator.replace("_", " ")
    stages = "two-stage least squares" if spec.instruments else "least squares"
    model = (
        f"{_equation(spec)}, {stages}; the {estimator} estimate absorbs {effects}, L = {spec.lag}."
    )
    return (
        model,
        f"Standard errors {result.convention} ({count(result.n_clusters)} clusters).",
        "Between: least squares on unit averages. Pooled: one constant.",
        *_literal(_not_estimated(comparison, names)),
        *_literal(_remarks(result, names)),
    )


def _equation(spec: PanelSpec) -> str:
    r"""The equation of the spec, with its own effects; exposures x are lagged, controls z are not.

    >>> print(_equation(PanelSpec(outcome="y", exposures=("x",), absorb=("period",))))
    $y_{it} = \beta' x_{i,t-L} + \alpha + \delta_t + \varepsilon_{it}$
    """
    units = "unit" in spec.absorb or spec.estimator != "within"
    held = {
        "\\gamma' z_{it}": bool(spec.controls),
        "\\alpha_i" if units else "\\alpha": True,
        "\\delta_t": "period" in spec.absorb,
    }
    parts = ["\\beta' x_{i,t-L}", *(part for part, has in held.items() if has)]
    return f"$y_{{it}} = {' + '.join(parts)} + \\varepsilon_{{it}}$"


def _not_estimated(comparison: pd.DataFrame, names: Mapping[str, str]) -> tuple[str, ...]:
    """Why lines of the comparison are empty."""
    if "note" not in comparison:
        return ()
    empty = comparison.loc[comparison["note"] != "", ["estimator", "note"]].drop_duplicates()
    return tuple(
        f"{capital(estimator.replace('_', ' '))}: not estimated. {readable_text(note, names)}"
        for estimator, note in empty.itertuples(index=False)
    )


def mediation_method(result: MediationResult, names: Mapping[str, str]) -> tuple[str, ...]:
    """Equations, draws, and what must be known to read the numbers of a mediation."""
    glance = result.glance().iloc[0]
    chain = (
        " In the chain each mediator's equation also holds the mediators before it, and the "
        "indirect effect of a path is the product of all its steps."
        if result.spec.structure == "serial" and len(result.spec.mediators) > 1
        else ""
    )
    model = (
        "$m = a x + c_m' z + \\text{effects} + e_m$, "
        "$y = d x + b' m + c_y' z + \\text{effects} + e_y$; indirect $= a b$ along each path, "
        "direct $= d$, total $= d + \\sum a b$, all on the same rows."
    ) + chain
    draws = (
        f"{capital(glance['convention'])}; {count(result.draws_failed)} of {count(result.n_boot)} "
        "draws left out."
    )
    return (
        model,
        *_literal(_products(result, names)),
        *_literal(_held(result, names)),
        *_timing(result),
        f"Effects absorbed in every equation: {glance['absorbed']}.",
        draws,
        *_literal(_remarks(result, names)),
    )


def _products(result: MediationResult, names: Mapping[str, str]) -> tuple[str, ...]:
    """What paths depend on a value, and at which value the terms hold."""
    spec = result.spec
    own = "the unit's own means" if spec.products == "within" else "the means of the rows"
    if spec.interaction:
        crossed = (
            "The outcome's equation also has products of exposure and mediators, factors centred "
            f"at {own}: direct is pure natural and indirect total natural, both for one unit more "
            "from there; b holds there."
        )
        return (crossed,)
    if spec.moderator is None:
        return ()
    moderator = label(spec.moderator, names)
    moderated = (
        f"Paths that depend on {moderator} ({', '.join(spec.moderated)}) have its products, "
        f"factors centred at {own}: paths and effects hold there, and change by the terms per unit "
        f"of the moderator. {capital(moderator)} is taken in the period of the exposure."
    )
    return (moderated,)


def _held(result: MediationResult, names: Mapping[str, str]) -> tuple[str, ...]:
    controls = ", ".join(label(name, names) for name in result.spec.controls)
    return (f"Held constant in every equation, z: {controls}.",) if controls else ()


def _timing(result: MediationResult) -> tuple[str, ...]:
    """Which periods the equations join, where they are not one and the same."""
    spec = result.spec
    if not spec.exposure_lag:
        return ()
    lags = dict.fromkeys(str(spec.lag_of(mediator)) for mediator in spec.mediators)
    before = (
        f"Exposure x is taken {spec.exposure_lag}, mediators m {' and '.join(lags)} periods before "
        "outcome y"
    )
    return (f"{before}; controls z in its period.",)


def _remarks(result: PanelResult | MediationResult, names: Mapping[str, str]) -> tuple[str, ...]:
    weights = result.spec.weights
    weighted = (f"Weighted: each row counts by {label(weights, names)}.",) if weights else ()
    return (*weighted, *(f"Note: {readable_text(text, names)}." for text in result.warnings))


def _literal(lines: Iterable[str]) -> tuple[str, ...]:
    """Lines that hold names from the data: a dollar in them is money."""
    return tuple(line.replace("$", r"\$") for line in lines)
