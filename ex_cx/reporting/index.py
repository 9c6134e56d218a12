"""A study's index page: every run's answer at a glance, estimates side by side, failures on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ex_cx.errors import SpecError
from ex_cx.reporting.numbers import count, equals, interval, label, number, split_unit
from ex_cx.reporting.page import inline_svg, template, whole_page
from ex_cx.reporting.plots import plot_forest
from ex_cx.reporting.report import draw_figure
from ex_cx.robustness.pooling import PooledResult, pool_estimates

__all__ = ["render_index"]

ALL, POOLED, NEXT = "all units", "segments pooled", "one more segment"


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
    Beside the runs' own estimates stand those of the segments of one column pooled, and where the
    effect of one more segment is expected; see `pool_estimates`. The filter needs no script.
    """
    from markupsafe import Markup

    good = [card for card in cards if card["status"] in ("ok", "unchanged")]
    left = [card for card in cards if card["status"] in ("not asked", "not started")]
    there = [card for card in left if card["href"]]
    filters = _filters([*good, *there])
    body = template("index.html.j2").render(
        head=head,
        good=len(good),
        total=len(cards),
        dated=dated,
        failed=[card for card in cards if card["status"] == "failed"],
        reports=[{**card, **_glance(card), **_marks(card, filters)} for card in [*good, *there]],
        filters=filters,
        absent=[card for card in left if not card["href"]],
        forests=[
            {**figure, **_numbers(figure, filters)}
            for figure in _forests([*good, *(card for card in there if card["current"])])
        ],
    )
    return whole_page(head["title"], Markup(body))


def _glance(card: Mapping[str, Any]) -> dict[str, str]:
    report = card["report"]
    return {name: report[name] for name in ("title", "answer", "grade", "verdict")}


def _headlines(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a run that answer its question; the exposure is the term unless it is named."""
    return [
        {**row, "exposure": row.get("exposure") or row["term"]}
        for row in card["report"]["results"]
        if row.get("headline") and row.get("estimate") is not None
    ]


def _filters(cards: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What can be filtered by: a kind, its values as stored, and as the reader knows them."""
    labels = _labels(cards)
    found = []
    for kind in ("outcome", "exposure"):
        values = list(dict.fromkeys(row[kind] for card in cards for row in _headlines(card)))
        names = [split_unit(label(str(value), labels))[0] for value in values]
        if len(values) > 1:
            found.append({"kind": kind, "values": values, "names": names})
    return found


def _marks(card: Mapping[str, Any], filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The values of each filter that a run's answer is about, as their numbers."""
    rows = _headlines(card)
    return {"marks": {f["kind"]: _places(f, [row[f["kind"]] for row in rows]) for f in filters}}


def _numbers(figure: Mapping[str, Any], filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"marks": {f["kind"]: _places(f, [figure[f["kind"]]]) for f in filters}}


def _places(chosen: Mapping[str, Any], values: Sequence[Any]) -> str:
    found = (at for at, value in enumerate(chosen["values"], start=1) if value in values)
    return " ".join(map(str, found))


def _labels(cards: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {name: text for card in cards for name, text in card.get("labels", {}).items()}


def _forests(cards: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One forest per model, outcome, exposure and column of segments that two runs estimate."""
    rows = [
        {**row, "run": card["name"], "where": card["segment"] or ALL, "column": _column(card)}
        for card in cards
        for row in _headlines(card)
    ]
    if not rows:
        return []
    frame = pd.DataFrame(rows)
    figures: list[dict[str, Any]] = []
    alike = ["model", "outcome", "exposure", "term"]
    for (model, outcome, exposure, _), part in frame.groupby(alike, sort=False, dropna=False):
        for column in dict.fromkeys(part.loc[part["column"] != "", "column"]):
            drawn = part[part["column"].isin(["", column])]
            if drawn["where"].nunique() < 2:
                continue
            figure = _forest(drawn, f"forest_{len(figures) + 1}", str(model), _labels(cards))
            figures.append({**figure, "outcome": outcome, "exposure": exposure})
    return figures


def _column(card: Mapping[str, Any]) -> str:
    """The column that a run's segment is a value of; empty for all units."""
    return str(card["segment"]).partition(" ")[0]


def _forest(part: pd.DataFrame, name: str, model: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """The runs' estimates, and below them the pooled one and the prediction."""
    level = float(part["conf_level"].iloc[0])
    first = part.iloc[0]
    exposure = label(str(first["exposure"]), labels)
    what = f"{label(str(first['outcome']), labels)} per 1 more {exposure}"
    pooled, said = _pooled(part, level)
    drawn = pd.concat([part, pooled.assign(term=first["term"])]) if len(pooled) else part
    ax = plot_forest(drawn, group="where", accent=POOLED, labels=labels, xlabel=what)
    ends = part[["conf_low", "conf_high", "estimate"]].astype(float)
    low, high = min(ends.min().min(), 0.0), max(ends.max().max(), 0.0)
    left, right = ax.get_xlim()
    most = 0.6 * (high - low)
    ax.set_xlim(max(left, low - most), min(right, high + most))
    cut = " It goes on beyond the frame." if (left, right) != ax.get_xlim() else ""
    caption = (
        f"{model.replace('_', ' ').capitalize()}: {what}, estimated in each segment by itself; "
        f"{100 * level:g} % intervals. {said}{cut}"
    )
    lines = [
        f"{row['where']}: {number(row['estimate'], (row['conf_high'] - row['conf_low']) / 2)} "
        f"({interval(row['conf_low'], row['conf_high'])}{_rows_of(row)})"
        for _, row in drawn.iterrows()
    ]
    figure = draw_figure(ax, name, caption=caption, alt=f"{caption} {'; '.join(lines)}.")
    return {"svg": inline_svg(figure.svg, figure.alt), "caption": caption}


def _rows_of(row: pd.Series) -> str:
    n = row.get("n_obs")
    return "" if n is None or pd.isna(n) else f", {count(n)} rows"


def _pooled(part: pd.DataFrame, level: float) -> tuple[pd.DataFrame, str]:
    """Rows for the pooled estimate and the prediction, and what is said of them or why not."""
    segments = part[part["where"] != ALL].rename(columns={"where": "label"})
    try:
        result = pool_estimates(segments.drop(columns=["column", "run"]))
    except SpecError as error:
        return pd.DataFrame(), f"Segments are not pooled: {error}"
    tidy = result.tidy(level).assign(where=[POOLED, NEXT])
    tidy = tidy[tidy["conf_low"].notna()]
    return tidy, _said(result, tidy, level)


def _said(result: PooledResult, tidy: pd.DataFrame, level: float) -> str:
    spread = number(result.tau, result.std_error)
    text = (
        f"Pooled: the {result.k} segments weighed by restricted likelihood, Hartung-Knapp "
        f"interval; standard deviation between segments {spread}, I² {result.i2:.0f} %, Q p "
        f"{equals(result.q_p)}. Segments share their periods, so that the pooled interval may be "
        "too short."
    )
    if NEXT not in set(tidy["where"]):
        return f"{text} Two segments allow no prediction interval."
    return (
        f"{text} {NEXT.capitalize()}: where the effect of one is expected ({100 * level:g} % "
        "prediction interval)."
    )
