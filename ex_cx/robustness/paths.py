"""The guards of a mediation: order in time, the other order, the draws behind the intervals."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ex_cx.linkage.panel import Panel
from ex_cx.models.mediation import MediationResult, MediationSpec
from ex_cx.models.regress import PanelSpec
from ex_cx.robustness.direction import reversed_order, swapped_spec
from ex_cx.robustness.findings import (
    Finding,
    cluster_counts,
    holds_zero,
    interval_level,
    number,
    records,
    spread_within,
    together,
    told,
)
from ex_cx.robustness.influence import effective_clusters

__all__ = ["each_path", "enough_for_paths", "failed_draws", "order_in_time", "other_order"]

SOME_FAILED, MANY_FAILED = 0.01, 0.05
"""Shares of bootstrap draws without all paths that call for caution, and that limit the claim."""


def order_in_time(panel: Panel, spec: MediationSpec) -> Finding:
    """Does each cause precede what it is said to move?"""
    findings = []
    for mediator in spec.mediators:
        swapped = swapped_spec(panel, spec, mediator)
        first, second = swapped.lag_mediator, swapped.lag_outcome
        words = (
            f"{mediator} is taken {_periods(first)} {spec.single_exposure}, {spec.outcome} "
            f"{_periods(second)} {mediator}"
        )
        if first and second:
            findings.append(Finding(words, "clear"))
        else:
            findings.append(Finding(f"{words}: the order is assumed, not observed", "caution"))
    return together(findings)


def _periods(lag: int) -> str:
    if lag == 0:
        return "in the same period as"
    return f"{lag} period{'s' if lag > 1 else ''} after"


def other_order(
    panel: Panel, spec: MediationSpec, result: MediationResult, conf_level: float
) -> Finding:
    """Would exposure -> outcome -> mediator hold up as well? Both its paths tested jointly."""
    paths = {row["term"]: row["estimate"] for row in records(result.tidy(conf_level))}
    frame = reversed_order(panel, spec, conf_level)
    findings = []
    for mediator, (_, rows) in zip(
        spec.mediators, frame.groupby("mediator", sort=False), strict=True
    ):
        swapped = swapped_spec(panel, spec, mediator)
        ratio = _relative_size(panel, swapped, paths[f"b:{mediator}"], rows)
        findings.append(_judged(records(rows), swapped, ratio))
    end = interval_level(conf_level)
    if spec.moderator is not None or spec.interaction:
        end += " The other order is fitted without products, the order claimed at their means."
    return together(findings, end)


def _relative_size(
    panel: Panel, swapped: MediationSpec, forward: float, rows: pd.DataFrame
) -> float:
    """Standardised last path of the other order over that of the order claimed."""
    (outcome,), mediator = swapped.mediators, swapped.outcome
    column = "sd_within" if "unit" in swapped.absorb else "sd"
    spread = spread_within(panel, [outcome, mediator])[column]
    backward = float(rows["estimate"].iloc[1]) * spread[outcome] / spread[mediator]
    return float(abs(backward / (forward * spread[mediator] / spread[outcome])))


def _judged(rows: list[dict[str, Any]], swapped: MediationSpec, ratio: float) -> Finding:
    a, b, product = rows
    (outcome,) = swapped.mediators
    words = (
        f"{swapped.exposure} -> {outcome} -> {swapped.outcome}: {told(a)} times {told(b)} is "
        f"{number(product['estimate'])}"
    )
    if holds_zero(a) or holds_zero(b):
        return Finding(f"{words}, not clear in both paths", "clear")
    if swapped.lag_outcome == 0:
        return Finding(
            f"{words}: clear too, and within one period the data cannot tell the orders apart",
            "caution",
        )
    words += f": clear too, its last path {number(ratio)} times that claimed in standard deviations"
    return Finding(words, "limits" if ratio >= 1 else "caution")


def each_path(spec: MediationSpec, result: MediationResult, conf_level: float) -> Finding:
    """Does every interval along the way exclude zero?"""
    rows = {row["term"]: row for row in records(result.tidy(conf_level))}
    findings = []
    for terms in result.steps.values():
        steps = {_arrow(term, spec): rows[term] for term in terms}
        words = ", ".join(f"{step} {told(row)}" for step, row in steps.items())
        unclear = [step for step, row in steps.items() if holds_zero(row)]
        if unclear:
            words += f": {' and '.join(unclear)} not distinguished from zero"
        findings.append(Finding(words, "caution" if unclear else "clear"))
    whole = together(findings, interval_level(conf_level))
    if all(finding.verdict != "clear" for finding in findings):
        return Finding(f"No way is clear in both steps. {whole.words}", "limits")
    return whole


def _arrow(term: str, spec: MediationSpec) -> str:
    """A step of a path in words: `x -> m` for a:m, `m -> y` for b:m, `m -> k` for d:m->k."""
    kind, name = term.split(":", 1)
    ends = {"a": f"{spec.single_exposure} -> {name}", "b": f"{name} -> {spec.outcome}"}
    return ends.get(kind) or name.replace("->", " -> ")


def enough_for_paths(panel: Panel, spec: MediationSpec, result: MediationResult) -> Finding:
    """Clusters behind the draws; effective ones by the exposure's leverage on the total effect."""
    total = PanelSpec(
        outcome=spec.outcome,
        exposures=(spec.single_exposure,),
        controls=spec.controls,
        absorb=spec.absorb,
        lag=spec.exposure_lag,
        cluster=spec.cluster,
        weights=spec.weights,
    )
    effective = float(effective_clusters(panel, total)["n_effective"].iloc[0])
    return together([cluster_counts(result.n_clusters, {spec.single_exposure: effective})])


def failed_draws(result: MediationResult) -> Finding:
    """In how many draws was a path not identified?"""
    if not result.draws_failed:
        return Finding(f"All {result.n_boot:,} draws of clusters identify every path.", "clear")
    share = result.draws_failed / result.n_boot
    words = (
        f"{result.draws_failed:,} of {result.n_boot:,} draws ({100 * share:.1f} %) do not identify "
        "every path and are left out"
    )
    if share >= MANY_FAILED:
        return Finding(f"{words}: the paths rest on few clusters.", "limits")
    if share >= SOME_FAILED:
        return Finding(f"{words}: the intervals are likely too short.", "caution")
    return Finding(f"{words}.", "clear")
