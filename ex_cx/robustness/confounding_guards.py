"""Confounding of a mediation as guards: what was found in words, and what it does to a claim."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.errors import some
from ex_cx.estimation.path_intervals import check_draws
from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationSpec
from ex_cx.models.mediation_spec import check_mediation_spec
from ex_cx.robustness.confounding import mediation_sensitivity
from ex_cx.robustness.findings import (
    Finding,
    check_conf_level,
    guard_frame,
    holds_zero,
    interval_level,
    number,
    records,
    together,
    told,
)
from ex_cx.robustness.omitted import OmittedVariables, mediation_omitted_bounds
from ex_cx.robustness.orders import compare_orders, placebo_paths

__all__ = ["check_mediation_confounding"]

WEAK_RHO, MODEST_RHO = 0.1, 0.3
"""Error correlations, small and medium by Cohen (1988), that limit a claim or call for caution."""
WEAK_SHARE, MODEST_SHARE = 0.02, 0.13
"""Shares of residual variance, small and medium by Cohen (1988), where no control is at hand."""
LARGE_PLACEBO = 0.5
"""Placebo over claimed effect from which a placebo limits the claim, not only cautions."""


def check_mediation_confounding(
    panel: Panel,
    spec: MediationSpec,
    *,
    n_boot: int = 999,
    rng: np.random.Generator,
    conf_level: float = 0.95,
) -> pd.DataFrame:
    """How easily could confounding undo a mediation? One row for each guard.

    Parameters
    ----------
    panel, spec : as for `fit_mediation`, one exposure.
    n_boot, rng : draws of clusters for each interval.
    conf_level : of the intervals in the findings.

    Returns
    -------
    Columns guard, finding, verdict, as from `check_mediation_guards`. Clear says that no weak
    confounder does it, never that there is none.

    Raises
    ------
    SpecError : a spec that `fit_mediation` refuses.
    InferenceError : a level outside 0-1, too few draws, no generator. What the rows do not allow is
        a caution, with the reason.

    Notes
    -----
    The thresholds are conventions: correlations of 0.1 and 0.3, shares of variance of 0.02 and
    0.13 (Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, 2nd ed.), and
    confounders once and three times as strong as an observed control.
    """
    check_conf_level(conf_level)
    check_draws(n_boot, "percentile", rng)
    check_mediation_spec(panel, spec)
    options: dict[str, Any] = {"n_boot": n_boot, "rng": rng}
    checks: dict[str, Callable[[], Finding]] = {
        "Confounder of mediator and outcome": partial(_rho, panel, spec, conf_level, options),
        "Confounder beside the controls": partial(_shares, panel, spec, conf_level),
        "Exposure and mediator swapped": partial(_swapped, panel, spec, conf_level, options),
        "Placebo mediator": partial(_placebo, panel, spec, conf_level, options, "placebo_mediator"),
        "Placebo exposure": partial(_placebo, panel, spec, conf_level, options, "placebo_exposure"),
    }
    return guard_frame(checks)


def _rho(panel: Panel, spec: MediationSpec, conf_level: float, options: dict[str, Any]) -> Finding:
    """At which correlation of errors is a path undone?"""
    result = mediation_sensitivity(panel, spec, rho=np.zeros(1), **options)
    findings = []
    for row in records(result.tidy(conf_level)):
        words = f"{_path(row['term'], spec)} {told(row)}"
        zero, end = row["rho_zero"], row["rho_interval"]
        if end == 0:
            findings.append(
                Finding(f"{words} holds zero already, without any confounder", "caution")
            )
            continue
        words += f": zero at an error correlation of {number(zero)}"
        if np.isfinite(end):
            words += f", its interval reaches it at {number(end)}"
        nearest = abs(end) if np.isfinite(end) else abs(zero)
        if nearest < WEAK_RHO:
            findings.append(Finding(f"{words}: a weak confounder undoes it", "limits"))
        elif nearest < MODEST_RHO:
            findings.append(Finding(f"{words}: a modest confounder undoes it", "caution"))
        else:
            findings.append(Finding(words, "clear"))
    return together(findings, interval_level(conf_level))


def _shares(panel: Panel, spec: MediationSpec, conf_level: float) -> Finding:
    """Would a confounder like an observed control undo a or b?"""
    result = mediation_omitted_bounds(panel, spec)
    rows = [row for row in records(result.tidy(conf_level)) if row["term"][:2] in ("a:", "b:")]
    findings = [_share(result, row, spec, conf_level) for row in rows]
    return together(findings, interval_level(conf_level))


def _path(term: str, spec: MediationSpec) -> str:
    """A step or a path as an arrow: `x -> m` for a:m, `m -> y` for b:m, `x -> m -> y` for both."""
    kind, name = term.split(":", 1)
    first = [spec.single_exposure] if kind != "b" else []
    last = [spec.outcome] if kind != "a" else []
    return " -> ".join([*first, name, *last])


def _share(
    result: OmittedVariables, row: dict[str, Any], spec: MediationSpec, conf_level: float
) -> Finding:
    words = f"{_path(row['term'], spec)} {told(row)}"
    if holds_zero(row):
        return Finding(f"{words} holds zero already, without any confounder", "caution")
    value = row["robustness_value_interval"]
    words += f": undone by {100 * value:.2g} % of what is left of both sides"
    bounds = result.bounds(conf_level)
    bounds = bounds[bounds["term"] == row["term"]]
    if bounds.empty:
        words += ", and no control is at hand to compare with"
        if value < WEAK_SHARE:
            return Finding(words, "limits")
        return Finding(words, "caution" if value < MODEST_SHARE else "clear")
    told_of, verdict = _compared(row, bounds)
    return Finding(words + told_of, verdict)


def _compared(row: dict[str, Any], bounds: pd.DataFrame) -> Finding:
    """What is left with confounders like the controls; one too strong to compare with is told."""
    possible = records(bounds[bounds["estimate"].notna()])
    undone = [one for one in possible if _undone(row, one)]
    if undone:
        first = min(undone, key=lambda one: float(one["strength"]))
        words = f", one {_times(first['strength'])}as strong as {first['benchmark']} does it"
        return Finding(words, "limits" if first["strength"] <= 1 else "caution")
    words = ""
    if possible:
        most = max(possible, key=lambda one: float(one["strength"]))
        words = f", one {_times(most['strength'])}as strong as {most['benchmark']} leaves it"
    weakest = bounds[bounds["strength"] == bounds["strength"].min()]
    beyond = weakest.loc[weakest["estimate"].isna(), "benchmark"].tolist()
    if beyond:
        words += f", so much of it is explained by {some(beyond)} that no bound can be drawn"
    return Finding(words, "caution" if beyond else "clear")


def _undone(row: dict[str, Any], bound: dict[str, Any]) -> bool:
    """Does the interval, moved towards zero, hold it? Without one: has the estimate passed it?"""
    side, end = (1, "conf_low") if row["estimate"] > 0 else (-1, "conf_high")
    nearest = bound["estimate"] if np.isnan(bound[end]) else bound[end]
    return bool(side * nearest <= 0)


def _swapped(
    panel: Panel, spec: MediationSpec, conf_level: float, options: dict[str, Any]
) -> Finding:
    """Would mediator -> exposure -> outcome hold up as well?"""
    frame = compare_orders(panel, spec, conf_level=conf_level, **options)
    findings = []
    for mediator in spec.mediators:
        rows = frame[(frame["mediator"] == mediator) & (frame["term"] == "indirect")]
        by_order = {row["order"]: row for row in records(rows)}
        claimed, other = by_order["claimed"], by_order["exposure_swapped"]
        words = f"{other['path']}: {told(other)}"
        if holds_zero(other):
            findings.append(Finding(f"{words}, not clear", "clear"))
            continue
        ratio = abs(other["standardised"] / claimed["standardised"])
        words += f": clear too, {number(ratio)} times that claimed in standard deviations"
        if spec.exposure_lag == 0:
            words += ", and within one period the data cannot tell the orders apart"
            findings.append(Finding(words, "caution"))
        else:
            findings.append(Finding(words, "limits" if ratio >= 1 else "caution"))
    return together(findings, interval_level(conf_level))


def _placebo(
    panel: Panel, spec: MediationSpec, conf_level: float, options: dict[str, Any], kind: str
) -> Finding:
    """Is there a path through what comes too late?"""
    frame = placebo_paths(panel, spec, conf_level=conf_level, **options)
    findings = []
    for mediator in spec.mediators:
        rows = frame[(frame["mediator"] == mediator) & (frame["term"] == "indirect")]
        by_kind = {row["kind"]: row for row in records(rows)}
        claimed, placebo = by_kind["claimed"], by_kind[kind]
        words = f"{placebo['path']}: {told(placebo)}, beside {number(claimed['estimate'])}"
        if holds_zero(placebo):
            findings.append(Finding(words, "clear"))
            continue
        words += ": something else moves these, or one is recorded late"
        large = abs(placebo["standardised"]) >= LARGE_PLACEBO * abs(claimed["standardised"])
        findings.append(Finding(words, "limits" if large else "caution"))
    return together(findings, interval_level(conf_level))


def _times(strength: float) -> str:
    return "" if strength == 1 else f"{strength:g} times "
