"""The guards of a report: ways a study fools itself, checked one by one on the data at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ex_cx.errors import ExCxError, SpecError
from ex_cx.estimation.inference import t_interval
from ex_cx.linkage.panel import Panel
from ex_cx.models.compare import compare_estimators
from ex_cx.models.mediation import MediationResult, MediationSpec
from ex_cx.models.regress import PanelSpec, fit_panel
from ex_cx.models.spec import refuse_instruments
from ex_cx.robustness.direction import (
    lead_placebo,
    reverse_equation,
    timed_term,
    within_spec,
)
from ex_cx.robustness.findings import (
    Finding,
    Verdict,
    about_headline,
    check_conf_level,
    cluster_counts,
    guard_frame,
    holds_zero,
    interval_level,
    number,
    records,
    rows_lost,
    shared_source,
    span,
    spread_within,
    together,
    told,
    variation_within,
    why,
)
from ex_cx.robustness.influence import effective_clusters, influence
from ex_cx.robustness.paths import (
    each_path,
    enough_for_paths,
    failed_draws,
    order_in_time,
    other_order,
)
from ex_cx.robustness.waves import measured_in_every_period

__all__ = ["check_guards", "check_mediation_guards"]

LARGE_LEAD = 0.5
"""Lead over current estimate from which a placebo lead limits the claim, not only cautions."""
LARGE_REVERSE = 0.1
"""Within-unit standard deviations of exposure per one of outcome from which it does."""
WIDER = 1.25
"""Jackknife over CR1 interval width from which they are said to disagree."""


def check_guards(panel: Panel, spec: PanelSpec, *, conf_level: float = 0.95) -> pd.DataFrame:
    """How sure can one be of a panel regression? One row for each guard.

    Parameters
    ----------
    panel, spec : as given to `fit_panel`; the first exposure is the headline, about which the claim
        is. What is found about the others is told, and at most a caution.
    conf_level : of the intervals in the findings. Where several exposures are tested for their
        order in time, each at 1 - (1 - conf_level) / number, so that the guard as a whole keeps
        its level.

    Returns
    -------
    Columns guard, finding (plain words with computed numbers), verdict: clear, caution, or limits
    (the claim). Guards about change within units are left out for the between estimator. A guard
    that the data do not allow is a caution, with the reason.

    Raises
    ------
    SpecError, RankError, InferenceError : as `fit_panel`; InferenceError for a level outside 0-1.

    Examples
    --------
    >>> rng = np.random.default_rng(5)
    >>> rows = pd.DataFrame(rng.normal(size=(360, 2)), columns=["x", "y"])
    >>> rows["unit"], rows["period"] = np.divmod(np.arange(360), 6)
    >>> panel = Panel.from_frame(rows, unit="unit", period="period")
    >>> guards = check_guards(panel, PanelSpec(outcome="y", exposures=("x",)))
    >>> guards.set_index("guard").loc["Rows lost", "finding"]
    'All 360 rows of the panel are used.'
    """
    check_conf_level(conf_level)
    refuse_instruments(spec, "The table of guards")
    spec = replace(spec, match="fixest")  # other packages lack errors that guards compare
    result = fit_panel(panel, spec)
    pairs, headline = [(spec.outcome, x) for x in spec.exposures], spec.exposures[0]
    checks: dict[str, Callable[[], Finding]] = {
        "Within against between": partial(_within_between, panel, spec, conf_level),
        "Enough clusters": partial(_enough_clusters, panel, spec, conf_level),
        "One source for both sides": partial(shared_source, panel, pairs, pairs[:1]),
    }
    if spec.estimator != "between":
        checks |= {
            "Lead placebo": partial(_placebo, panel, spec, conf_level),
            "Reverse equation": partial(_reverse, panel, spec, conf_level),
            "Variation within units": partial(variation_within, panel, spec.exposures, headline),
            "Measured in every period": partial(
                measured_in_every_period, panel, (spec.outcome, *spec.exposures)
            ),
        }
    checks |= {
        "Rows lost": partial(rows_lost, result.rows_in, result.lost),
        "Influence of single units": partial(_single_units, panel, spec, conf_level),
    }
    return guard_frame(checks)


def check_mediation_guards(
    panel: Panel, spec: MediationSpec, result: MediationResult, *, conf_level: float = 0.95
) -> pd.DataFrame:
    """How sure can one be of a mediation? One row for each guard.

    Parameters
    ----------
    panel, spec : as given to `fit_mediation`, and its `result`, whose draws are used.
    conf_level : of the intervals in the findings.

    Returns
    -------
    Columns guard, finding, verdict, as from `check_guards`.

    Raises
    ------
    InferenceError : a level outside 0-1.
    """
    check_conf_level(conf_level)
    causes = [(spec.outcome, spec.single_exposure), *((spec.outcome, m) for m in spec.mediators)]
    pairs = [*causes, *((m, spec.single_exposure) for m in spec.mediators)]
    checks: dict[str, Callable[[], Finding]] = {
        "Order in time": partial(order_in_time, panel, spec),
        "Reversed order": partial(other_order, panel, spec, result, conf_level),
        "Each path clear": partial(each_path, spec, result, conf_level),
        "One source for both sides": partial(shared_source, panel, pairs, pairs),
        "Enough clusters": partial(enough_for_paths, panel, spec, result),
        "Draws that failed": partial(failed_draws, result),
    }
    if "unit" in spec.absorb:
        terms = (spec.single_exposure, *spec.mediators)
        checks["Variation within units"] = partial(variation_within, panel, terms)
    columns = (spec.single_exposure, *spec.mediators, spec.outcome)
    checks["Measured in every period"] = partial(measured_in_every_period, panel, columns)
    checks["Rows lost"] = partial(rows_lost, result.rows_in, result.lost)
    return guard_frame(checks)


def _within_between(panel: Panel, spec: PanelSpec, conf_level: float) -> Finding:
    """Between minus within, the two taken as independent, t on the fewer clusters."""
    claims_change = spec.estimator in ("first_difference", "correlated_random") or (
        spec.estimator == "within" and "unit" in spec.absorb
    )
    frame = compare_estimators(panel, within_spec(spec), ("within", "between"), conf_level)
    if frame["note"].any():
        raise SpecError(frame["note"].max())
    inside, across = (records(frame[frame["estimator"] == name]) for name in ("within", "between"))
    findings = {}
    for name, within, between in zip(spec.exposures, inside, across, strict=False):
        error = np.hypot(within["std_error"], between["std_error"])
        df = min(within["n_clusters"], between["n_clusters"]) - 1
        gap = between["estimate"] - within["estimate"]
        low, high = t_interval(gap, error, df, conf_level)
        alike = holds_zero({"conf_low": low, "conf_high": high})
        findings[name] = _compared(name, within, between, alike, claims_change)
    return about_headline(findings, spec.exposures[0], interval_level(conf_level))


def _compared(
    name: str, within: dict[str, Any], between: dict[str, Any], alike: bool, claims_change: bool
) -> Finding:
    words = f"{name}: within {told(within)}, between {told(between)}"
    only_between = holds_zero(within) and not holds_zero(between)
    if alike and only_between:
        return Finding(f"{words}, the first too imprecise to tell from the second", "caution")
    if alike:
        return Finding(f"{words}, not clearly different", "clear")
    verdict: Verdict = "caution" if claims_change else "limits"
    if only_between:
        words += ": lasting differences between units go with the outcome"
        return Finding(f"{words}, change within units is not shown to", verdict)
    ratio = between["estimate"] / within["estimate"]
    if holds_zero(between) or 0 < ratio < 2:
        words += ": lasting differences between units show another size"
    elif ratio < 0:
        words += ": lasting differences between units point the other way"
    else:
        words += (
            f": the between estimate is {number(ratio)} times the within one, lasting differences "
            "between units carry the association"
        )
    return Finding(words + (", so read the within estimate only" if claims_change else ""), verdict)


def _enough_clusters(panel: Panel, spec: PanelSpec, conf_level: float) -> Finding:
    usual = fit_panel(panel, replace(spec, vcov="cluster"))
    k = len(spec.exposures)
    effective = effective_clusters(panel, spec)["n_effective"].head(k)
    counts = cluster_counts(usual.n_clusters, dict(zip(spec.exposures, effective, strict=True)))
    try:
        careful = fit_panel(panel, replace(spec, vcov="jackknife"))
    except ExCxError as error:
        missing = Finding(f"there is no jackknife interval: {why(error)}", "caution")
        return together([counts, missing])
    pairs = zip(records(usual.tidy(conf_level)), records(careful.tidy(conf_level)), strict=True)
    agreement = [_agreement(*pair) for pair in list(pairs)[:k]]
    return together([counts, *agreement], interval_level(conf_level))


def _agreement(usual: dict[str, Any], careful: dict[str, Any]) -> Finding:
    low, high, from_, to = (
        row[end] for row in (usual, careful) for end in ("conf_low", "conf_high")
    )
    words = f"{usual['term']}: {span(low, high)} by CR1, {span(from_, to)} by jackknife"
    if holds_zero(usual) != holds_zero(careful):
        return Finding(f"{words}, of which one holds zero and the other does not", "caution")
    if to - from_ > WIDER * (high - low):
        return Finding(f"{words}, which is much wider", "caution")
    return Finding(words, "clear")


def _headline(panel: Panel, spec: PanelSpec) -> str:
    """The headline exposure without a lag in its name."""
    return timed_term(panel, spec.exposures[0])[0]


def _shared_level(panel: Panel, spec: PanelSpec, conf_level: float) -> float:
    """The level of each exposure's interval at which all together keep `conf_level`."""
    tested = {timed_term(panel, exposure)[0] for exposure in spec.exposures}
    return 1 - (1 - conf_level) / len(tested)


def _placebo(panel: Panel, spec: PanelSpec, conf_level: float) -> Finding:
    level = _shared_level(panel, spec, conf_level)
    rows = records(lead_placebo(panel, spec, level))
    current = {row["exposure"]: row for row in reversed(rows) if not row["is_lead"]}
    findings = {
        row["exposure"]: _lead(row, current[row["exposure"]]) for row in rows if row["is_lead"]
    }
    return about_headline(findings, _headline(panel, spec), interval_level(level))


def _lead(lead: dict[str, Any], current: dict[str, Any]) -> Finding:
    now = current["estimate"]
    words = (
        f"{lead['exposure']} one period ahead: {told(lead)}, beside {number(now)} for "
        f"{current['term']}"
    )
    if not holds_zero(lead):
        large = abs(lead["estimate"]) >= LARGE_LEAD * abs(now)
        words += ": reverse or common causes are likely, or an exposure recorded late"
        return Finding(words, "limits" if large else "caution")
    if not holds_zero(current) and lead["conf_low"] <= now <= lead["conf_high"]:
        return Finding(f"{words}: too imprecise to rule out as much", "caution")
    return Finding(words, "clear")


def _reverse(panel: Panel, spec: PanelSpec, conf_level: float) -> Finding:
    level = _shared_level(panel, spec, conf_level)
    rows = records(reverse_equation(panel, spec, level))
    spread = spread_within(panel, [spec.outcome, *(row["exposure"] for row in rows)])["sd_within"]
    findings = {}
    for row in rows:
        size = row["estimate"] * spread[spec.outcome] / spread[row["exposure"]]
        findings[row["exposure"]] = _backwards(row, spec.outcome, size)
    end = f"Own past held, within units. {interval_level(level)}"
    return about_headline(findings, _headline(panel, spec), end)


def _backwards(row: dict[str, Any], outcome: str, size: float) -> Finding:
    words = (
        f"{row['exposure']} on {outcome} of the period before: {told(row)}, that is "
        f"{number(size)} standard deviations for one"
    )
    if holds_zero(row):
        return Finding(words, "clear")
    words += ": the outcome may drive the exposure, or reflect what its record misses"
    return Finding(words, "limits" if abs(size) >= LARGE_REVERSE else "caution")


def _single_units(panel: Panel, spec: PanelSpec, conf_level: float) -> Finding:
    full = fit_panel(panel, replace(spec, vcov="cluster")).tidy(conf_level)
    pairs = zip(records(influence(panel, spec)), records(full), strict=True)
    findings = {
        exposure: _weighed(row, sure=not holds_zero(tidy))
        for exposure, (row, tidy) in zip(spec.exposures, pairs, strict=False)
    }
    return about_headline(findings, spec.exposures[0])


def _weighed(row: dict[str, Any], *, sure: bool) -> Finding:
    words = (
        f"{row['term']}: {number(row['estimate'])}, without any one cluster "
        f"{span(row['lowest'], row['highest'])}; {row['most_influential']} moves it most, by "
        f"{number(row['change'])} or {number(row['change_in_se'])} standard errors"
    )
    if row["not_identified"]:
        words += f", and without {row['not_identified']} of them there is no estimate at all"
        return Finding(words, "limits")
    if row["sign_changes"] and sure:
        return Finding(f"{words}, and its sign turns without {row['sign_changes']}", "limits")
    if row["change_in_se"] > 1:
        return Finding(f"{words}, which is more than its own error", "caution")
    return Finding(words, "clear")
