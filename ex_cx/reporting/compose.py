"""From a notebook's results to its report: which sentence, facts, figures and tables it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ex_cx.linkage.audit import LinkAudit
from ex_cx.models.curve import CurveResult
from ex_cx.models.mediation import MediationResult
from ex_cx.models.regress import PanelResult
from ex_cx.reporting.figures import draw_forest, draw_paths, draw_scatter, slug
from ex_cx.reporting.losses import clusters_fact, row_counts
from ex_cx.reporting.mediation_levels import level_sections, sensitivity_sections
from ex_cx.reporting.mediation_sections import (
    assumption_section,
    condition_sections,
    effects_table,
    step_sections,
)
from ex_cx.reporting.mediation_wording import answer_mediation
from ex_cx.reporting.method import mediation_method, panel_method
from ex_cx.reporting.numbers import capital, count, interval, label, number
from ex_cx.reporting.report import Figure, Report, Table
from ex_cx.reporting.sections import (
    errors_sections,
    instrument_sections,
    other_terms,
    readable_diagnostics,
    shape_sections,
    size_sections,
)
from ex_cx.reporting.tables import by_term, format_tidy
from ex_cx.reporting.wording import (
    COMPARE_A_UNIT_WITH_ITSELF,
    answer_panel,
    by_kind,
    grade,
    has_estimate,
    jointly,
    kind_of,
    other_errors,
    readable,
    row_of,
    words_of,
)
from ex_cx.robustness.confounding import MediationSensitivity

__all__ = ["draw_forest", "draw_paths", "draw_scatter", "mediation_report", "panel_report"]

NOT_AN_EFFECT = (
    "An association within units is not an effect: something that changes in the same units at the "
    "same time, and is not in the model, can carry it. The guards above look for some of these "
    "ways, not for all."
)
PART_OF_A_SHAPE = "Earned claim: about the slope told here alone, one part of a product or curve"
UNITS_COMPARED = (
    "Units are compared with each other here, not with themselves: whatever lastingly differs "
    "between them, and is not in the model, can carry the association."
)
NO_MECHANISM = (
    "An indirect association is not yet a mechanism: it takes all that is said under the table "
    "about what must hold, and the guards above can test only some of it."
)


def panel_report(
    result: PanelResult,
    comparison: pd.DataFrame,
    bins: pd.DataFrame,
    guards: pd.DataFrame,
    *,
    sizes: pd.DataFrame | None = None,
    change: Mapping[str, float] | None = None,
    curve: CurveResult | str = "",
    instrumented: PanelResult | None = None,
    errors: pd.DataFrame | None = None,
    diagnostics: pd.DataFrame | None = None,
    figures: Sequence[Figure] = (),
    title: str = "",
    segment: str = "",
    labels: Mapping[str, str] | None = None,
    limits: Sequence[str] = (),
    audit: LinkAudit | None = None,
) -> Report:
    """The report of a panel regression; its first exposure is the headline.

    Parameters
    ----------
    result, comparison, bins : from `fit_panel`, `compare_estimators`, `within_bins` on one spec.
    guards : from `check_guards`.
    sizes, change : from `effect_sizes`, and the change (term -> amount) that is told in a sentence.
    curve : from `headline_curve`. instrumented : the spec fitted with instruments.
    errors, diagnostics : from `compare_errors` and `diagnose`. What is left out is not shown.
    figures : those of the same numbers that `draw_forest` and `draw_scatter` have drawn already.
    title : the question; empty: made from the labels.
    segment : which units, for the head; empty: all.
    labels : column -> reader's name, ending on its unit in brackets.
    limits : what these data cannot show; said before what no such study can show.
    audit : of the linkage; it tells which missing values were withheld.
    """
    names = labels or {}
    spec, term = result.spec, result.terms[0]
    level = float(comparison["conf_level"].iloc[0])
    answers = comparison.assign(model="panel_regression", outcome=spec.outcome, exposure=term)
    headline = (answers["estimator"] == spec.estimator) & (answers["term"] == term)
    kind, comparison = kind_of(spec.estimator, spec.absorb), by_kind(comparison, spec.absorb)
    words, verdict = _claim(guards, row_of(comparison, term, kind), kind, result, names)
    forests, scatter = _panel_figures(comparison, bins, result, kind, names, figures)
    tables = _panel_tables(comparison, result, names, kind)
    return Report(
        title=title or f"Does {words_of(spec.outcome, names)} move with {words_of(term, names)}?",
        eyebrow="Study report · panel regression" + (f" · {segment}" if segment else ""),
        **_panel_head(comparison, result, kind, names, audit),
        grade=words,
        verdict=verdict,  # type: ignore[arg-type]
        figures=(*forests[:1], *(() if curve else (scatter,))),
        tables=tuple(tables[:1]),
        guards=readable(guards, names),
        limits=(*limits, NOT_AN_EFFECT if kind in COMPARE_A_UNIT_WITH_ITSELF else UNITS_COMPARED),
        method=panel_method(result, comparison, names),
        results=answers.assign(headline=headline),
        counts=row_counts(result),
        evidence=(
            *other_terms(forests[1:], tables[1:], result),
            *size_sections(sizes, change or {}, result, names),
            *instrument_sections(instrumented, result, names, level),
            *shape_sections(curve, scatter, result, names, level),
        ),
        checks=errors_sections(errors, result, names),
        diagnostics=readable_diagnostics(diagnostics, names),
    )


def mediation_report(
    result: MediationResult,
    guards: pd.DataFrame,
    *,
    levels: pd.DataFrame | str | None = None,
    sensitivity: MediationSensitivity | str | None = None,
    conf_level: float = 0.95,
    title: str = "",
    segment: str = "",
    labels: Mapping[str, str] | None = None,
    limits: Sequence[str] = (),
    audit: LinkAudit | None = None,
) -> Report:
    """The report of a mediation.

    Parameters
    ----------
    result : from `fit_mediation`, of one exposure. guards : from `every_mediation_guard`.
    levels, sensitivity : from `levels_of_paths`, `sensitivity_of_paths`; None shows no such part.
    title, segment, labels, limits, audit : as in `panel_report`.
    """
    names = labels or {}
    spec, tidy = result.spec, result.tidy(conf_level)
    within = "unit" in spec.absorb
    row = by_term(tidy)["indirect"]
    words, verdict = grade(guards, row, "within" if within else "pooled", "indirect association")
    answers = tidy.assign(model="mediation", outcome=spec.outcome, exposure=spec.single_exposure)
    return Report(
        title=title
        or f"Through what does {words_of(spec.outcome, names)} move with "
        f"{words_of(spec.single_exposure, names)}?",
        eyebrow="Study report · mediation" + (f" · {segment}" if segment else ""),
        meta=_meta(result, _through(result, names), names),
        answer=answer_mediation(
            tidy,
            exposure=spec.single_exposure,
            outcome=spec.outcome,
            mediators=spec.mediators,
            moderator=spec.moderator or "",
            own_means=spec.products == "within",
            labels=names,
            within=within,
        ),
        grade=words,
        verdict=verdict,  # type: ignore[arg-type]
        facts=_mediation_facts(tidy, result, names, audit),
        figures=(draw_paths(result, conf_level=conf_level, labels=names),),
        tables=(effects_table(tidy, result, names),),
        guards=readable(guards, names),
        limits=(*limits, NO_MECHANISM),
        method=mediation_method(result, names),
        results=answers.assign(headline=answers["term"] == "indirect"),
        counts=row_counts(result),
        evidence=(
            assumption_section(result, names),
            *step_sections(tidy, result.contrasts(conf_level), result, names),
            *condition_sections(tidy, result, names, conf_level),
            *level_sections(levels, result, names),
        ),
        checks=sensitivity_sections(sensitivity, names, conf_level),
    )


def _through(result: MediationResult, names: Mapping[str, str]) -> str:
    """From what to what, through what."""
    spec = result.spec
    ends = f"{label(spec.single_exposure, names)} to {label(spec.outcome, names)}"
    arrow = " → " if spec.structure == "serial" else ", "
    return f"{ends} through {arrow.join(label(m, names) for m in spec.mediators)}"


def _meta(result: PanelResult | MediationResult, what: str, names: Mapping[str, str]) -> str:
    weights = result.spec.weights
    weighted = f", weighted by {words_of(weights, names)}" if weights else ""
    periods = "period" if result.n_periods == 1 else "periods"
    return (
        f"{capital(what)} · {count(result.n_units)} units, {count(result.n_periods)} {periods}, "
        f"{count(result.n_obs)} rows used{weighted}"
    )


def _panel_figures(
    comparison: pd.DataFrame,
    bins: pd.DataFrame,
    result: PanelResult,
    kind: str,
    names: Mapping[str, str],
    figures: Sequence[Figure],
) -> tuple[list[Figure], Figure]:
    """A forest for each exposure and the scatter of the first; those drawn already are taken."""
    drawn = {figure.name: figure for figure in figures}
    forests = [
        drawn.get(f"forest_{slug(name)}")
        or draw_forest(comparison, result.spec.outcome, name, accent=kind, labels=names)
        for name in result.terms[: len(result.spec.exposures)]
    ]
    level = float(comparison["conf_level"].iloc[0])
    scatter = drawn.get("within_scatter")
    return forests, scatter or draw_scatter(bins, result, conf_level=level, labels=names)


def _claim(
    guards: pd.DataFrame,
    row: pd.Series,
    kind: str,
    result: PanelResult,
    names: Mapping[str, str],
) -> tuple[str, str]:
    """What is earned; of a term that is one part of a shape, no more than its slope."""
    words, verdict = grade(guards, row, kind)
    if jointly(result, result.terms[0], names) and verdict != "limits":
        return PART_OF_A_SHAPE, "caution"
    return words, verdict


def _panel_head(
    comparison: pd.DataFrame,
    result: PanelResult,
    kind: str,
    names: Mapping[str, str],
    audit: LinkAudit | None,
) -> dict[str, Any]:
    """On what, the sentence that answers, and three numbers."""
    term, outcome = result.terms[0], result.spec.outcome
    return {
        "meta": _meta(result, f"{label(outcome, names)} on {label(term, names)}", names),
        "answer": answer_panel(comparison, term=term, outcome=outcome, estimator=kind, labels=names)
        + jointly(result, term, names),
        "facts": _panel_facts(comparison, term, kind, result, names, audit),
    }


def _panel_facts(
    comparison: pd.DataFrame,
    term: str,
    estimator: str,
    result: PanelResult,
    names: Mapping[str, str],
    audit: LinkAudit | None,
) -> tuple[tuple[str, str], ...]:
    words = {
        "within": "change within a unit",
        "between": "difference between units",
        "within_period": "difference between units of one period",
        "pooled": "over all rows",
        "no_effects": "over all rows",
    }
    facts = []
    for name in dict.fromkeys([estimator, "between"]):
        if has_estimate(comparison, term, name):
            row = row_of(comparison, term, name)
            shown = number(row["estimate"], (row["conf_high"] - row["conf_low"]) / 2)
            span = interval(row["conf_low"], row["conf_high"])
            what = words.get(name, name.replace("_", " "))
            facts.append((shown, f"{what}, per 1 more {label(term, names)} ({span})"))
    return (*facts, clusters_fact(result, names, audit))


def _mediation_facts(
    tidy: pd.DataFrame,
    result: MediationResult,
    names: Mapping[str, str],
    audit: LinkAudit | None,
) -> tuple[tuple[str, str], ...]:
    rows = by_term(tidy)
    facts = []
    for term, words in (("indirect", "through the mediators"), ("total", "in total")):
        row = rows[term]
        shown = number(row["estimate"], (row["conf_high"] - row["conf_low"]) / 2)
        facts.append((shown, f"{words} ({interval(row['conf_low'], row['conf_high'])})"))
    share = rows["proportion_mediated"]
    if pd.notna(share["estimate"]):
        low, high = 100 * share["conf_low"], 100 * share["conf_high"]
        facts.append((f"{number(100 * share['estimate'], (high - low) / 2)} %", _share(low, high)))
        return tuple(facts)
    return (*facts, clusters_fact(result, names, audit))


def _share(low: float, high: float) -> str:
    return f"of the total runs through the mediators ({interval(low, high)})"


def _panel_tables(
    comparison: pd.DataFrame, result: PanelResult, names: Mapping[str, str], kind: str
) -> list[Table]:
    """The headline by each estimator, and the other terms if there are any."""
    glance, level = result.glance().iloc[0], comparison["conf_level"].iloc[0]
    what = capital(kind.replace("_", " "))
    caption = (
        f"Outcome: {label(result.spec.outcome, names)}. {what} estimates absorb "
        f"{glance['absorbed']}. Errors: {result.convention}"
        f"{other_errors(comparison, result.spec.vcov)}. {100 * level:g} % intervals."
    )
    order = comparison["term"].map({term: at for at, term in enumerate(result.terms)})
    rows = comparison.iloc[order.argsort(kind="stable")]
    is_headline = rows["term"] == result.terms[0]
    parts = {"estimates": rows[is_headline], "other_estimates": rows[~is_headline]}
    return [
        Table(
            name=name,
            frame=format_tidy(part, names),
            caption=caption,
            text_columns=("estimate by",),
            answer_rows=_where(part["estimator"] == kind),
        )
        for name, part in parts.items()
        if len(part)
    ]


def _where(mask: pd.Series) -> tuple[int, ...]:
    """Positions at which `mask` is true."""
    return tuple(int(at) for at in mask.to_numpy().nonzero()[0])
