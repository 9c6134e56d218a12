"""A study's index page: every run's answer at a glance, estimates side by side, failures on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ex_cx.reporting.numbers import label
from ex_cx.reporting.page import inline_svg, template, whole_page
from ex_cx.reporting.plots import plot_forest
from ex_cx.reporting.report import draw_figure

__all__ = ["render_index"]


def render_index(
    head: Mapping[str, str], cards: Sequence[Mapping[str, Any]], *, dated: str = ""
) -> str:
    """The index of a study.

    Parameters
    ----------
    head : study, title.
    cards : one per run: name, notebook, segment, href, status (ok, unchanged, failed, not asked,
        not started), reason, and for good ones report (their result.json) and labels (column ->
        reader's name). Those not asked for or not started have a note, and current: is their
        report of what decides it today?

    Notes
    -----
    The side-by-side figures show the runs' own estimates; nothing is pooled.
    """
    from markupsafe import Markup

    good = [card for card in cards if card["status"] in ("ok", "unchanged")]
    left = [card for card in cards if card["status"] in ("not asked", "not started")]
    there = [card for card in left if card["href"]]
    body = template("index.html.j2").render(
        head=head,
        good=len(good),
        total=len(cards),
        dated=dated,
        failed=[card for card in cards if card["status"] == "failed"],
        reports=[{**card, **_glance(card)} for card in [*good, *there]],
        absent=[card for card in left if not card["href"]],
        forests=_forests([*good, *(card for card in there if card["current"])]),
    )
    return whole_page(head["title"], Markup(body))


def _glance(card: Mapping[str, Any]) -> dict[str, str]:
    report = card["report"]
    return {name: report[name] for name in ("title", "answer", "grade", "verdict")}


def _forests(cards: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One forest per model, outcome and exposure that at least two runs estimate."""
    rows = [
        {**row, "run": card["name"], "where": card["segment"] or "all units"}
        for card in cards
        for row in card["report"]["results"]
        if row.get("headline") and row.get("estimate") is not None
    ]
    if not rows:
        return []
    labels: dict[str, str] = {}
    for card in cards:
        labels |= card.get("labels", {})
    frame = pd.DataFrame(rows)
    figures: list[dict[str, Any]] = []
    for (model, outcome, term), part in frame.groupby(["model", "outcome", "term"], sort=False):
        if part["where"].nunique() < 2:
            continue
        level = 100 * part["conf_level"].iloc[0]
        what = f"{label(str(outcome), labels)} per 1 more {label(str(term), labels)}"
        ax = plot_forest(part, group="where", accent="all units", labels=labels, xlabel=what)
        caption = (
            f"{str(model).replace('_', ' ').capitalize()}: {what}, estimated in each segment by "
            f"itself; {level:g} % intervals. Segments are not pooled."
        )
        figure = draw_figure(ax, f"forest_{len(figures) + 1}", caption=caption, alt=caption)
        figures.append({"svg": inline_svg(figure.svg, figure.alt), "caption": caption})
    return figures
