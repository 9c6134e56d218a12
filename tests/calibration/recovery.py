"""Do estimators find the effects that the causal model has? Bias and coverage over many panels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.linkage.panel import Panel
from ex_cx.linkage.simulate import causal_truth, simulate_panel
from ex_cx.linkage.simulator.causal import effect
from ex_cx.models.mediation import MediationSpec, fit_mediation
from ex_cx.models.regress import PanelSpec, fit_panel

REGRESSIONS = (
    ("ex_attrition_pct", ("ex_engagement", "ex_occupancy_pct")),
    ("ex_aht_seconds", ("ex_attrition_pct",)),
    ("cx_effort", ("ex_occupancy_pct", "ex_attrition_pct")),
    ("cx_fcr_pct", ("ex_occupancy_pct", "ex_attrition_pct")),
    ("cx_nps", ("cx_effort", "cx_fcr_pct")),
    ("cx_nps", ("ex_engagement", "ex_occupancy_pct")),
    ("cx_retention_pct", ("cx_nps", "cx_effort")),
    ("cx_retention_pct", ("ex_engagement", "ex_occupancy_pct")),
)
ESTIMATORS = (
    ("within", "cluster"),
    ("within", "jackknife"),
    ("first_difference", "cluster"),
    ("pooled", "cluster"),
)
MEDIATIONS = tuple(causal_truth()["mediations"])
COVERAGE = (0.93, 0.97)
MC_ERRORS = 3.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many panels of which size, and what is estimated in each."""

    n_panels: int
    n_units: int
    n_periods: int = 24
    n_boot: int = 999
    regressions: tuple[tuple[str, tuple[str, ...]], ...] = REGRESSIONS
    estimators: tuple[tuple[str, str], ...] = ESTIMATORS
    mediations: tuple[dict[str, Any], ...] = MEDIATIONS


def estimates_of(panel: Panel, plan: Plan, rng: np.random.Generator) -> pd.DataFrame:
    """Every planned estimate of one panel: model, estimator, term, truth, estimate, covered."""
    frames = [
        _regression(panel, outcome, names, plan.estimators) for outcome, names in plan.regressions
    ]
    frames += [_mediation(panel, design, plan, rng) for design in plan.mediations]
    return pd.concat(frames, ignore_index=True)


def simulate_estimates(
    plan: Plan, *, rng: np.random.Generator, progress: Callable[[int], None] = lambda done: None
) -> pd.DataFrame:
    """The estimates of all panels of the plan, stacked, with the panel's number."""
    frames = []
    for number in range(plan.n_panels):
        panel = simulate_panel(n_units=plan.n_units, n_periods=plan.n_periods, rng=rng)
        frames.append(estimates_of(panel, plan, rng).assign(panel=number))
        progress(number + 1)
    return pd.concat(frames, ignore_index=True)


def score(estimates: pd.DataFrame) -> pd.DataFrame:
    """Bias, its Monte Carlo error and coverage of each estimate.

    The Monte Carlo error of a mean over S panels is sd / sqrt(S); `bias_mc` is bias in such errors.
    """
    keys = ["model", "term", "estimator"]
    groups = estimates.groupby(keys, sort=False)
    table = groups.agg(
        truth=("truth", "first"),
        mean=("estimate", "mean"),
        sd=("estimate", "std"),
        panels=("estimate", "size"),
        coverage=("covered", "mean"),
    ).reset_index()
    bias = table["mean"] - table["truth"]
    mc_error = table["sd"] / np.sqrt(table["panels"])
    return table.assign(bias=bias, mc_error=mc_error, bias_mc=bias / mc_error)


def failing(
    table: pd.DataFrame,
    coverage: tuple[float, float] = COVERAGE,
    mc_errors: float = MC_ERRORS,
) -> pd.DataFrame:
    """Rows that are biased beyond `mc_errors`, or whose intervals cover outside `coverage`."""
    biased = table["bias_mc"].abs() > mc_errors
    off = ~table["coverage"].between(*coverage)
    return table.loc[biased | off]


def is_pooled(table: pd.DataFrame) -> pd.Series:
    """Rows of estimates that leave unit and season effects in."""
    return table["estimator"].str.startswith("pooled")


def _regression(
    panel: Panel, outcome: str, names: tuple[str, ...], estimators: tuple[tuple[str, str], ...]
) -> pd.DataFrame:
    truth = {n: effect(n, outcome, held=[o for o in names if o != n]) for n in names}
    model = f"{outcome} ~ {' + '.join(names)}"
    frames = []
    for estimator, vcov in estimators:
        spec = PanelSpec(outcome=outcome, exposures=names, estimator=estimator, vcov=vcov)
        frames.append(_compare(fit_panel(panel, spec).tidy(), truth, model, f"{estimator}, {vcov}"))
    return pd.concat(frames, ignore_index=True)


def _mediation(
    panel: Panel, design: dict[str, Any], plan: Plan, rng: np.random.Generator
) -> pd.DataFrame:
    frames = []
    for label, absorb in (("within, bootstrap", ("unit", "period")), ("pooled, bootstrap", ())):
        spec = MediationSpec(
            outcome=design["outcome"],
            exposure=design["exposure"],
            mediators=tuple(design["mediators"]),
            controls=tuple(design["controls"]),
            absorb=absorb,
        )
        tidy = fit_mediation(panel, spec, n_boot=plan.n_boot, rng=rng).tidy()
        model = f"{spec.exposure} -> {', '.join(spec.mediators)} -> {spec.outcome}"
        frames.append(_compare(tidy, design["effects"], model, label))
    return pd.concat(frames, ignore_index=True)


def _compare(tidy: pd.DataFrame, truth: dict[str, float], model: str, label: str) -> pd.DataFrame:
    known = tidy[tidy["term"].isin(truth)]
    value = known["term"].map(truth)
    return pd.DataFrame(
        {
            "model": model,
            "estimator": label,
            "term": known["term"],
            "truth": value,
            "estimate": known["estimate"],
            "covered": known["conf_low"].le(value) & known["conf_high"].ge(value),
        }
    )
