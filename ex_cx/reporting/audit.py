"""The report of a data audit: which rows are there, which are not, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ex_cx.errors import RunError, some
from ex_cx.linkage.audit import LinkAudit
from ex_cx.linkage.link import Linked
from ex_cx.linkage.panel import Panel
from ex_cx.linkage.selective import compare_lost
from ex_cx.linkage.suggest import draft_crosswalk, suggest_from_audit
from ex_cx.linkage.wording import counted
from ex_cx.reporting.flow import draw_flow
from ex_cx.reporting.numbers import capital, count, label, number
from ex_cx.reporting.plots import plot_coverage, plot_trajectories
from ex_cx.reporting.report import Figure, Report, Table, draw_figure
from ex_cx.reporting.scales import scale_guards, scale_sections
from ex_cx.reporting.tables import neutralise_frame

__all__ = ["audit_report", "draw_coverage", "draw_trajectories", "write_draft_crosswalk"]

MUCH_MISSING, MOST_MISSING = 0.2, 0.5
"""Shares of unit-periods without a value from which a column is a caution, and limits the claim."""
MUCH_WEIGHTED = 2.0
"""Design effect of weights from which they are a caution: half of the respondents are lost."""


NOT_SHOWN = (
    "An audit shows what is missing from the files, not why people did not answer, and not units "
    "that no file has ever held."
)
COUNTING = (
    "Sources are joined on unit and period without dropping either side; every row read is counted "
    "once, kept or lost with its reason. Survey means of fewer respondents than the study allows "
    "(five at least) are withheld here and in everything that follows."
)


def audit_report(
    panel: Panel,
    audit: LinkAudit,
    columns: Sequence[str],
    *,
    title: str = "",
    segment: str = "",
    labels: Mapping[str, str] | None = None,
    limits: Sequence[str] = (),
) -> Report:
    """The report of a data audit.

    Parameters
    ----------
    panel, audit : the linked panel and the record of its linkage.
    columns : the columns looked at; the last one is drawn over time.
    title, segment, labels, limits : as in `panel_report`.
    """
    names = labels or {}
    complete = panel.frame[list(columns)].notna().all(axis=1)
    waves = len(np.unique(panel.period_codes))
    cells = panel.n_units * waves
    selective = compare_lost(Linked(panel=panel, audit=audit), columns)
    guards = _every_guard(panel, audit, columns, names, selective)
    flow = draw_flow(audit)
    share = 100 * complete.sum() / cells
    return Report(
        title=title or "Which rows are there, and which are not?",
        eyebrow="Study report · data audit" + (f" · {segment}" if segment else ""),
        meta=f"{count(panel.n_units)} units x {count(waves)} periods, "
        f"{count(len(panel))} unit-periods seen",
        answer=(
            f"{count(complete.sum())} of {count(cells)} possible unit-periods ({share:.0f} %) have "
            f"a value in all {count(len(columns))} columns of the study. Seen with a gap: "
            f"{count(len(panel) - complete.sum())}; not seen at all: {count(cells - len(panel))}."
        ),
        grade=_grade(guards),
        verdict="caution" if (guards["verdict"] != "clear").any() else "clear",
        facts=_facts(audit, share),
        figures=(
            *(() if flow is None else (flow,)),
            draw_coverage(panel, columns),
            draw_trajectories(panel, columns[-1], labels=names),
        ),
        tables=(
            *_tables(panel, audit, columns, names),
            *_selective_table(selective, names),
            *_suggestion_table(audit),
        ),
        guards=guards,
        checks=scale_sections(audit, names),
        limits=(*limits, NOT_SHOWN),
        method=(COUNTING,),
        results=pd.DataFrame(),
        counts={"unit-periods": len(panel), "complete unit-periods": int(complete.sum())},
    )


def write_draft_crosswalk(suggestions: pd.DataFrame, path: str | Path) -> Path:
    """Write `draft_crosswalk(suggestions)` as CSV for a person to edit; no file is overwritten.

    A label that a spreadsheet would run as a formula is set behind an apostrophe.

    Raises
    ------
    RunError : there is such a file already.
    """
    draft, file = neutralise_frame(draft_crosswalk(suggestions)), Path(path)
    try:
        draft.to_csv(file, index=False, mode="x")
    except FileExistsError as error:
        raise RunError(
            f"{file.name} exists already, perhaps with somebody's edits. Name another file."
        ) from error
    return file


def draw_coverage(panel: Panel, columns: Sequence[str]) -> Figure:
    """The panel's grid, of all periods in which any unit is seen: is every column observed?"""
    whole = panel.coverage(columns)
    coverage = whole[whole["period"].isin(panel.frame[panel.period].unique())]
    seen = int(coverage["observed"].sum())
    skipped = whole.loc[~whole.index.isin(coverage.index), "period"].unique()
    gap = f" No unit is seen in {some(skipped)}." if len(skipped) else ""
    caption = (
        f"One line a unit (n = {count(panel.n_units)}), one column a period. {count(seen)} of "
        f"{count(len(coverage))} cells have a value in all {count(len(columns))} columns.{gap}"
    )
    ax = plot_coverage(coverage)
    return draw_figure(ax, "coverage", caption=caption, alt=f"Heat map. {caption}")


def draw_trajectories(
    panel: Panel, column: str, *, labels: Mapping[str, str] | None = None
) -> Figure:
    """Each unit's course of one column, and their mean."""
    name = label(column, labels or {})
    ax = plot_trajectories(
        panel.frame, unit=panel.unit, period=panel.period, value=column, ylabel=name
    )
    n = int(panel.frame[column].notna().sum())
    caption = (
        f"{capital(name)}: {count(n)} unit-periods of {count(panel.n_units)} units; withheld "
        "values are not drawn. No interval is shown: these are the values themselves."
    )
    return draw_figure(ax, "trajectories", caption=caption, alt=f"Lines over time. {caption}")


def _facts(audit: LinkAudit, share: float) -> tuple[tuple[str, str], ...]:
    flow = audit.flow[audit.flow["counting"] == "rows"] if len(audit.flow) else audit.flow
    read = flow.groupby("source")["rows_in"].max().sum() if len(flow) else 0
    lost = flow["rows_lost"].sum() if len(flow) else 0
    held = _held(audit)
    gone = audit.flow.loc[audit.flow["step"] == "where", "rows_lost"].sum() if len(flow) else 0
    filtered = (
        f"; {count(gone)} linked unit-periods left out by the study's filters" if gone else ""
    )
    losses = f"{count(lost)} of them lost, each with its reason" if lost else "none of them lost"
    return (
        (count(read), f"rows read, {losses}{filtered}"),
        (f"{share:.0f} %", "of possible unit-periods complete in the study's columns"),
        (count(held), "values withheld since too few people stand behind them, or for their sake"),
    )


def _held(audit: LinkAudit) -> int:
    """Values withheld for too few people, and so that those cannot be computed."""
    reasons = ["suppressed", "withheld_for_others", "withheld_for_release"]
    return int(audit.suppressed.reindex(columns=reasons).sum().sum())


def _every_guard(
    panel: Panel,
    audit: LinkAudit,
    columns: Sequence[str],
    names: Mapping[str, str],
    selective: pd.DataFrame,
) -> pd.DataFrame:
    parts = [
        _guards(panel, audit, columns, names),
        _selective_guards(selective, names),
        scale_guards(audit, names),
    ]
    return pd.concat(parts, ignore_index=True)


def _guards(
    panel: Panel, audit: LinkAudit, columns: Sequence[str], names: Mapping[str, str]
) -> pd.DataFrame:
    rows = []
    for name in columns:
        missing = float(panel.frame[name].isna().mean())
        verdict = _verdict(missing)
        text = f"{100 * missing:.0f} % of the unit-periods seen have no {label(name, names)}."
        if verdict != "clear":
            rows.append(("Missing values", text, verdict))
    if not rows:
        text = f"No column lacks more than {100 * MUCH_MISSING:.0f} % of the unit-periods seen."
        rows.append(("Missing values", text, "clear"))
    rows.append(_closing(panel, columns))
    if len(audit.suppressed):
        held = _held(audit)
        whole = int(audit.suppressed["unit_periods"].sum())
        text = (
            f"{count(held)} of {count(whole)} values rest on too few people, or are withheld so "
            "that those cannot be computed."
        )
        rows.append(("Small groups", text, _verdict(held / max(whole, 1))))
        rows += _release_guard(audit)
    rows += _weighting_guards(audit)
    return pd.DataFrame(rows, columns=["guard", "finding", "verdict"])


def _release_guard(audit: LinkAudit) -> list[tuple[str, str, str]]:
    """Values that an earlier release has shown otherwise."""
    held = int(audit.suppressed.reindex(columns=["withheld_for_release"]).sum().sum())
    if not held:
        return []
    text = (
        f"Withheld for the sake of earlier releases: {count(held)} of the values. Beside what "
        "those have shown they would tell of a few people more or fewer, or of a revised answer."
    )
    return [("Earlier releases", text, "caution")]


def _weighting_guards(audit: LinkAudit) -> list[tuple[str, str, str]]:
    """What weighting the respondents of a source costs, a line for each."""
    found = []
    for source, periods in audit.weighting.groupby("source") if len(audit.weighting) else ():
        done = periods.dropna(subset="respondents")
        lost, n = len(periods) - len(done), done["respondents"].sum()
        off = done["furthest_pct"].max()
        left = f" {counted(lost, 'period')} cannot be weighted and {'is' if lost == 1 else 'are'} "
        text = (
            f"The {count(int(n))} respondents of {source} are weighted to known margins and count "
            f"as {count(round(done['effective_n'].sum()))} of equal weight."
            + (f"{left}left out." if lost else "")
            + (f" Trimmed, shares are up to {off:.1f} points off." if off > 0 else "")
        )
        costly = lost > 0 or off > 1 or done["effective_n"].sum() < n / MUCH_WEIGHTED
        found.append(("Weighting", text, "caution" if costly else "clear"))
    return found


def _selective_guards(found: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Is what was lost different from what was kept? One line per column that is, else one."""
    whole = found[found["lost_by"] == "all"]
    rows = [
        ("Selective loss", f"{capital(label(row['column'], names))}: {row['reading']}", v)
        for row, v in zip(whole.to_dict("records"), whole["verdict"], strict=True)
        if v != "clear"
    ]
    hidden = int((whole["standardised"].isna() & (whole["lost"] > 0)).sum())
    unknown = f" {count(hidden)} cannot be compared." if hidden else ""
    text = f"No column is shown to differ between rows kept and rows lost.{unknown}"
    return pd.DataFrame(
        rows or [("Selective loss", text, "clear")], columns=["guard", "finding", "verdict"]
    )


def _selective_table(found: pd.DataFrame, names: Mapping[str, str]) -> tuple[Table, ...]:
    if not found["lost"].any():
        return ()
    numbers = {
        name: [number(value, scale) for value, scale in zip(found[name], scales, strict=True)]
        for name, scales in (
            ("kept_mean", found["std_error"]),
            ("lost_mean", found["std_error"]),
            ("difference", found["std_error"]),
        )
    }
    shown = pd.DataFrame(
        {
            "column": [label(name, names) for name in found["column"]],
            "side": found["side"],
            "lost by": found["lost_by"],
            "kept": found["kept"].map(count),
            "lost": found["lost"].map(count),
            "mean kept": numbers["kept_mean"],
            "mean lost": numbers["lost_mean"],
            "difference": numbers["difference"],
            "error": [number(value) for value in found["std_error"]],
            "standardised": [number(value) for value in found["standardised"]],
            "verdict": found["verdict"],
            "reading": found["reading"],
        }
    )
    caption = (
        "Is the loss selective? Unit-periods with a value in all columns against those without, "
        "each column where it is seen; errors clustered. Below five units on a side nothing is "
        "shown. A difference in what is seen says nothing sure about what is not."
    )
    words = ("column", "side", "lost by", "verdict", "reading")
    return (Table(name="selective_loss", frame=shown, caption=caption, text_columns=words),)


def _suggestion_table(audit: LinkAudit) -> tuple[Table, ...]:
    found = suggest_from_audit(audit, most=1)
    if not len(found):
        return ()
    shown = found.assign(score=[f"{value:.0f}" for value in found["score"]])
    shown = shown.head(20).rename(columns=lambda text: text.replace("_", " "))
    caption = (
        f"Units that may be one under two names ({count(len(found))} pairs). None was joined: "
        "write a crosswalk for those that are."
    )
    words = ("left", "right", "why", "left in", "right in")
    return (Table(name="alike_units", frame=shown, caption=caption, text_columns=words),)


def _closing(panel: Panel, columns: Sequence[str]) -> tuple[str, str, str]:
    """Units that end before the panel does: survivors only is one of the traps."""
    alive = (panel.frame[list(columns)].notna().mean(axis=1) >= 0.5).to_numpy()
    last = np.full(panel.n_units, -1)
    np.maximum.at(last, panel.unit_codes[alive], panel.period_codes[alive])
    gone = int((last < panel.n_periods - 1).sum())
    text = (
        f"{count(gone)} of {count(panel.n_units)} units have fewer than half of the columns in the "
        "last period. What was seen of them before stays in the panel."
    )
    return "Survivors only", text, "caution" if gone > MUCH_MISSING * panel.n_units else "clear"


def _verdict(share: float) -> str:
    return "limits" if share > MOST_MISSING else "caution" if share > MUCH_MISSING else "clear"


def _grade(guards: pd.DataFrame) -> str:
    found = int((guards["verdict"] != "clear").sum())
    return "Nothing found that limits a study" if not found else f"{found} findings to read first"


def _tables(
    panel: Panel, audit: LinkAudit, columns: Sequence[str], names: Mapping[str, str]
) -> tuple[Table, ...]:
    spread = panel.describe().set_index("column").loc[list(columns)].reset_index()
    shown = pd.DataFrame(
        {
            "column": [label(name, names) for name in spread["column"]],
            "n": [count(n) for n in spread["n"]],
            "missing": [count(n) for n in spread["missing"]],
            "mean": [number(v, s) for v, s in zip(spread["mean"], spread["sd"], strict=True)],
            "sd between": [number(v) for v in spread["sd_between"]],
            "sd within": [number(v) for v in spread["sd_within"]],
            "within share": [f"{100 * v:.0f} %" for v in spread["within_share"]],
        }
    )
    caption = (
        "What varies where: the within share is the part of a column's variance that lies within "
        "units, which is all that a comparison of a unit with itself can use."
    )
    tables = [Table(name="variation", frame=shown, caption=caption)]
    if len(audit.flow):
        numbers = ["rows_in", "rows_kept", "rows_lost"]
        flow = audit.flow.assign(**{name: audit.flow[name].map(count) for name in numbers})
        flow = flow.rename(columns=lambda text: text.replace("_", " "))
        about = "What became of every row: each step of each source, kept and lost with the reason."
        words = ("step", "source", "counting", "reason")
        tables.append(Table(name="row_flow", frame=flow, caption=about, text_columns=words))
    return tuple(tables)
