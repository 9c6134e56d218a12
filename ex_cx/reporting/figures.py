"""The figures of a report: what each shows, its caption and its alt text, from a result."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from ex_cx.models.mediation import MediationResult
from ex_cx.models.regress import PanelResult
from ex_cx.reporting.numbers import capital, count, interval, label, number, split_unit
from ex_cx.reporting.paths import plot_paths
from ex_cx.reporting.plots import axis_label, plot_forest, plot_within_scatter
from ex_cx.reporting.report import Figure, draw_figure
from ex_cx.reporting.tables import by_term
from ex_cx.reporting.wording import by_kind, kind_of, reading

__all__ = ["draw_forest", "draw_paths", "draw_scatter", "path_name", "slug"]


def draw_forest(
    comparison: pd.DataFrame,
    outcome: str,
    term: str,
    *,
    accent: str = "within",
    absorb: Sequence[str] = ("unit", "period"),
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """One term by several estimators, with their intervals; `absorb` as in their spec."""
    names = labels or {}
    rows, accent = by_kind(comparison[comparison["term"] == term], absorb), kind_of(accent, absorb)
    level = 100 * rows["conf_level"].iloc[0]
    xlabel = f"{label(outcome, names)} per 1 more {label(term, names)}"
    ax = plot_forest(rows, accent=accent, labels=names, xlabel=xlabel)
    said = "; ".join(
        f"{str(row['estimator']).replace('_', ' ')} {number(row['estimate'], row['std_error'])} "
        f"({interval(row['conf_low'], row['conf_high'])})"
        for _, row in rows.iterrows()
    )
    answer = rows[rows["estimator"] == accent] if (rows["estimator"] == accent).any() else rows
    caption = (
        f"{capital(xlabel)}: points and {level:g} % intervals; n = {count(answer['n_obs'].max())} "
        f"rows for the {accent.replace('_', ' ')} estimate, each line's in the table."
        f"{reading(rows)}"
    )
    return draw_figure(
        ax, f"forest_{slug(term)}", caption=caption, alt=f"Estimates for {xlabel}. {said}."
    )


def draw_scatter(
    bins: pd.DataFrame,
    result: PanelResult,
    *,
    conf_level: float = 0.95,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Bin means net of effects and other terms, with the fitted line."""
    names, term = labels or {}, result.terms[0]
    row = result.tidy(conf_level).iloc[0]
    ax = plot_within_scatter(
        bins,
        xlabel=axis_label(term, names, ", net of effects and other terms"),
        ylabel=axis_label(result.spec.outcome, names, ", net of the same"),
        estimate=row,
    )
    caption = (
        f"Each point is the mean of about {count(bins['n'].median())} of {count(bins['n'].sum())} "
        "rows, ordered by exposure, after the effects and all other terms are taken out; moved to "
        "the overall means. The line has the slope reported; the band spans its "
        f"{100 * conf_level:g} % interval."
    )
    alt = (
        f"{len(bins)} bin means of {label(result.spec.outcome, names)} against "
        f"{label(term, names)}, around a line of slope {number(row['estimate'], row['std_error'])} "
        f"({100 * conf_level:g} % interval {interval(row['conf_low'], row['conf_high'])})."
    )
    return draw_figure(ax, "within_scatter", caption=caption, alt=alt)


def draw_paths(
    result: MediationResult, *, conf_level: float = 0.95, labels: Mapping[str, str] | None = None
) -> Figure:
    """The path diagram with its intervals."""
    names, spec, tidy = labels or {}, result.spec, result.tidy(conf_level)
    ax = plot_paths(
        tidy,
        exposure=spec.single_exposure,
        outcome=spec.outcome,
        labels=names,
        spreads=result.spreads,
    )
    drawn = "coefficients" if result.interval == "monte_carlo" else "whole clusters"
    steps = "b and d" if any(term.startswith("d:") for term in tidy["term"]) else "b"
    caption = (
        f"Per 1 more {label(spec.single_exposure, names)}, but {steps} per 1 more of the mediator; "
        f"n = {count(result.n_obs)} rows. "
        f"{100 * conf_level:g} % intervals from {count(len(result.draws))} draws of {drawn} "
        f"({count(result.n_clusters)} clusters): {result.glance()['convention'].iloc[0]}. "
        "Solid: the interval excludes zero; dashed: it does not. Thicker: larger in standard "
        f"deviations.{_held_at(result, names)}"
    )
    said = "; ".join(
        f"{path_name(term, names)} {number(row['estimate'], row['std_error'])} "
        f"({interval(row['conf_low'], row['conf_high'])})"
        for term, row in by_term(tidy).items()
        if term != "proportion_mediated"
    )
    return draw_figure(ax, "paths", caption=caption, alt=f"Path diagram. {said}.")


def _held_at(result: MediationResult, names: Mapping[str, str]) -> str:
    """Where the paths drawn hold, if they depend on a moderator."""
    spec = result.spec
    if spec.moderator is None:
        return ""
    mean = "the unit's own mean" if spec.products == "within" else "the mean"
    return f" Paths as they are at {mean} of {split_unit(label(spec.moderator, names))[0]}."


def slug(name: str) -> str:
    """A term as part of a file's name: letters, digits and underscores; other terms, other names.

    >>> slug("ex_load"), slug("ex load")
    ('ex_load', 'ex_load_8b441a')
    """
    short = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:40]
    if short == name:
        return name
    return f"{short}_{hashlib.sha256(name.encode()).hexdigest()[:6]}".strip("_")


def path_name(term: str, names: Mapping[str, str]) -> str:
    """What a term of a mediation is, for readers."""
    kind, _, mediator = term.partition(":")
    words = {
        "a": "a: exposure to",
        "b": "b: outcome on",
        "d": "d:",
        "indirect": "indirect through",
        "a_by_moderator": "per unit of the moderator, a to",
        "b_by_moderator": "per unit of the moderator, b of",
        "interaction": "exposure times",
        "index": "per unit of the moderator, indirect through",
        "curvature": "curvature along the moderator, indirect through",
    }
    alone = {
        "indirect": "indirect, all paths",
        "proportion_mediated": "share mediated",
        "direct_by_moderator": "per unit of the moderator, direct",
        "index": "per unit of the moderator, indirect, all paths",
    }
    if "->" in mediator:
        steps = [split_unit(label(name, names))[0] for name in mediator.split("->")]
        return f"{words[kind]} {' → '.join(steps)}"
    return f"{words[kind]} {label(mediator, names)}" if mediator else alone.get(kind, kind)
