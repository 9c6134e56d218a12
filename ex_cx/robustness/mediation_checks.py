"""What a report of a mediation asks of its rows beside the paths: levels, sensitivity, guards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ex_cx.errors import ExCxError
from ex_cx.estimation.path_intervals import Interval
from ex_cx.linkage.panel import Panel
from ex_cx.models.levels import compare_levels
from ex_cx.models.mediation import MediationResult, MediationSpec
from ex_cx.robustness.confounding import MediationSensitivity, mediation_sensitivity
from ex_cx.robustness.confounding_guards import check_mediation_confounding
from ex_cx.robustness.findings import why
from ex_cx.robustness.guards import check_mediation_guards

__all__ = ["every_mediation_guard", "levels_of_paths", "sensitivity_of_paths", "without_products"]


def without_products(spec: MediationSpec) -> MediationSpec:
    """The same mediation whose paths are the same everywhere: no moderator, no interaction.

    >>> spec = MediationSpec(
    ...     outcome="y", exposure="x", mediators=("m",), moderator="w", moderated=("a",)
    ... )
    >>> without_products(spec) == MediationSpec(outcome="y", exposure="x", mediators=("m",))
    True
    """
    return replace(spec, moderator=None, moderated=(), interaction=False, products="raw")


def levels_of_paths(
    panel: Panel,
    spec: MediationSpec,
    *,
    n_boot: int = 4999,
    interval: Interval = "percentile",
    rng: np.random.Generator,
    conf_level: float = 0.95,
) -> pd.DataFrame | str:
    """`compare_levels` without products; or, in words, why these rows admit no such comparison.

    With the state of `rng` that `fit_mediation` had, the within level repeats its numbers (not for
    Monte Carlo intervals, whose levels are drawn together).

    Examples
    --------
    >>> rows = pd.DataFrame({"unit": np.arange(30) % 3, "period": np.arange(30) // 3})
    >>> rows[["x", "m", "y"]] = np.random.default_rng(3).normal(size=(30, 3))
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = MediationSpec(outcome="y", exposure="x", mediators=("m",))
    >>> levels_of_paths(panel, spec, n_boot=99, rng=np.random.default_rng(1))
    'The means of 3 units cannot carry 3 coefficients, so there are no paths between units'
    """
    try:
        return compare_levels(
            panel,
            without_products(spec),
            n_boot=n_boot,
            interval=interval,
            rng=rng,
            conf_level=conf_level,
        )
    except ExCxError as error:
        return why(error)


def sensitivity_of_paths(
    panel: Panel, spec: MediationSpec, *, n_boot: int = 499, rng: np.random.Generator
) -> MediationSensitivity | str:
    """`mediation_sensitivity` without products; or, in words, why there is none.

    Examples
    --------
    >>> rows = pd.DataFrame({"unit": np.arange(80) % 8, "period": np.arange(80) // 8})
    >>> rows[["x", "m", "k", "y"]] = np.random.default_rng(3).normal(size=(80, 4))
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = MediationSpec(outcome="y", exposure="x", mediators=("m", "k"), structure="serial")
    >>> sensitivity_of_paths(panel, spec, rng=np.random.default_rng(1))
    'In a chain of mediators each link may be confounded, and one correlation does not say how'
    """
    try:
        return mediation_sensitivity(panel, without_products(spec), n_boot=n_boot, rng=rng)
    except ExCxError as error:
        return why(error)


def every_mediation_guard(
    panel: Panel,
    spec: MediationSpec,
    result: MediationResult,
    *,
    n_boot: int = 499,
    rng: np.random.Generator,
    conf_level: float = 0.95,
) -> pd.DataFrame:
    """The guards of a mediation and those of its confounding: guard, finding, verdict.

    Confounding is looked at without products: where the spec has a moderator or an interaction,
    each finding about it says so.

    Parameters
    ----------
    panel, spec, result : as for `check_mediation_guards`.
    n_boot, rng : draws of clusters for each interval of the confounding guards.

    Examples
    --------
    >>> from ex_cx.models.mediation import fit_mediation
    >>> rows = pd.DataFrame({"unit": np.arange(80) % 8, "period": np.arange(80) // 8})
    >>> rows[["x", "m", "y"]] = np.random.default_rng(3).normal(size=(80, 3))
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> spec = MediationSpec(outcome="y", exposure="x", mediators=("m",))
    >>> rng = np.random.default_rng(1)
    >>> result = fit_mediation(panel, spec, n_boot=99, rng=rng)
    >>> guards = every_mediation_guard(panel, spec, result, n_boot=99, rng=rng)
    >>> len(guards), guards["guard"].iloc[-1]
    (14, 'Placebo exposure')
    """
    first = check_mediation_guards(panel, spec, result, conf_level=conf_level)
    plain = without_products(spec)
    second = check_mediation_confounding(
        panel, plain, n_boot=n_boot, rng=rng, conf_level=conf_level
    )
    if plain != spec:
        left_out = "moderator" if spec.moderator else "interaction"
        second["finding"] += f" Looked at without the {left_out}."
    return pd.concat([first, second], ignore_index=True)
