"""A study's index page: every run's answer at a glance, estimates side by side, failures on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ex_cx.errors import SpecError
from ex_cx.reporting.numbers import count, equals, interval, label, number, split_unit
from ex_cx.reporting.page import SIGNS, VERDICTS, inline_svg, template, whole_page
from ex_cx.reporting.plots import plot_forest
from ex_cx.reporting.report import draw_figure
from ex_cx.robustness.pooling import PooledResult, pool_estimates

__all__ = ["render_index"]

ALL, POOLED, NEXT = "all units", "segments pooled", "one more segment"
FEW = 2
"""Figures up to this many stand open; more of them are opened one by one."""


def render_index(
    head: Mapping[str, str], cards: Sequence[Mapping[str, Any]], *, dated: str = ""
) -> str:
    """The index of a study.

    Parameters
    ----------
    head : study, title.
    cards : one per run: name, notebook, segment, variant (what else tells it from others of its
        question), href, status (ok, unchanged, failed, not asked, not started), reason, and for
        good ones report (their result.json) and labels (column -> reader's name). Those not asked
        for or not started have a note, and current: is their report of what decides it today?

    Notes
    -----
    On top counts and failures; then each question with one line a run, and below it the runs' own
    estimates side by side, with those of the segments of one column pooled, and where the effect
    of one more segment is expected; see `pool_estimates`. Lines, figures and the filter open
    without a script.
    """
    from markupsafe import Markup

    good = [card for card in cards if card["status"] in ("ok", "unchanged")]
    left = [card for card in cards if card["status"] in ("not asked", "not started")]
    there = [card for card in left if card["href"]]
    failed = [card for card in cards if card["status"] == "failed"]
    absent = [card for card in left if not card["href"]]
    filters = _filters([*good, *there])
    figures = _forests([*good, *(card for card in there if card["current"])])
    body = template("index.html.j2").render(
        head=head,
        good=len(good),
        total=len(cards),
        dated=dated,
        tally=_tally(failed, [*good, *there], absent),
        failed=_by_reason(failed, "reason"),
        absent=_by_reason(absent, "note"),
        groups=_groups([*good, *there], figures, filters),
        filters=filters,
        open=len(figures) <= FEW,
        signs=SIGNS,
        words=VERDICTS,
    )
    return whole_page(head["title"], Markup(body))


def _tally(
    failed: Sequence[Any], reports: Sequence[Mapping[str, Any]], absent: Sequence[Any]
) -> list[dict[str, Any]]:
    """What there is how many of: failures, reports by verdict, stale ones, those without any."""
    verdicts = [card["report"]["verdict"] for card in reports]
    stale = sum(bool(card.get("note")) and not card["current"] for card in reports)
    found = [("limits", "✕", "failed", len(failed))]
    found += [(name, SIGNS[name], VERDICTS[name], verdicts.count(name)) for name in SIGNS]
    found += [("", "", "of them stale", stale), ("", "", "without a report", len(absent))]
    names = ("look", "sign", "what", "n")
    return [dict(zip(names, one, strict=True)) for one in found if one[-1]]


def _by_reason(cards: Sequence[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    """Runs of one reason together, so that one cause is read once."""
    reasons = dict.fromkeys(card[key] for card in cards)
    return [{"reason": one, "runs": [c for c in cards if c[key] == one]} for one in reasons]


def _groups(
    cards: Sequence[Mapping[str, Any]],
    figures: Sequence[Mapping[str, Any]],
    filters: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Runs of one question: the first one's answer, a line for each, and their figures."""
    parts = dict[tuple[Any, ...], list[Mapping[str, Any]]]()
    for card in cards:
        parts.setdefault(_question(card), []).append(card)
    numbered = list(enumerate(figures, start=1))
    found = []
    for (notebook, title, *_), part in parts.items():
        names = {card["name"] for card in part}
        told_apart = len({card.get("variant", "") for card in part}) > 1
        found.append(
            {
                "notebook": notebook,
                "title": title,
                "lead": _lead(part[0]),
                "measure": _measure(part),
                "runs": [
                    {**_line(card, told_apart), "marks": _marks([card], filters)} for card in part
                ],
                "marks": _marks(part, filters),
                "figures": [{**f, "number": at} for at, f in numbered if f["run"] in names],
            }
        )
    return found


def _lead(card: Mapping[str, Any]) -> str:
    """A run's answer; of which units, unless it is all of them."""
    where = f"{card['segment']}: " if card["segment"] else ""
    return f"{where}{card['report']['answer']}"


def _question(card: Mapping[str, Any]) -> tuple[Any, ...]:
    about = [(row["outcome"], row["exposure"], row["term"]) for row in _headlines(card)[:1]]
    return (card["notebook"], card["report"]["title"], *about)


def _measure(cards: Sequence[Mapping[str, Any]]) -> str:
    """What the numbers of these runs' lines are."""
    rows = _headlines(cards[0])
    if not rows:
        return ""
    labels, row = _labels(cards), rows[0]
    what = _per_one_more(row, labels)
    what += "" if row["term"] == row["exposure"] else f", {row['term'].replace('_', ' ')}"
    return f"{what}; {100 * float(row['conf_level']):g} % intervals"


def _per_one_more(row: Mapping[str, Any] | pd.Series, labels: Mapping[str, str]) -> str:
    outcome, exposure = (label(str(row[kind]), labels) for kind in ("outcome", "exposure"))
    return f"{outcome} per 1 more {exposure}"


def _line(card: Mapping[str, Any], told_apart: bool) -> dict[str, Any]:
    """A run at a glance: where, the number, the verdict; and what its line opens."""
    where = [card["segment"] or ALL, card.get("variant", "") if told_apart else ""]
    report, rows = card["report"], _headlines(card)
    estimate = span = ""
    if rows:
        low, high = rows[0]["conf_low"], rows[0]["conf_high"]
        known = low is not None and high is not None
        estimate = number(rows[0]["estimate"], (high - low) / 2 if known else None)
        span = interval(low, high) if known else "no interval"
    return {
        **{name: report[name] for name in ("answer", "grade", "verdict")},
        "name": card["name"],
        "href": card["href"],
        "where": " · ".join(filter(None, where)),
        "estimate": estimate,
        "span": span,
        "note": card.get("note", ""),
        "stale": bool(card.get("note")) and not card["current"],
    }


def _headlines(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a run that answer its question; the exposure is the term unless it is named."""
    return [
        {**row, "exposure": row.get("exposure") or row["term"]}
        for row in card["report"]["results"]
        if row.get("headline") and row.get("estimate") is not None
    ]


def _filters(cards: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What can be filtered by: a kind, its values as stored, and as the reader knows them."""
    labels = {**_labels(cards), **VERDICTS}
    found = []
    for kind in ("outcome", "exposure", "verdict"):
        values = list(dict.fromkeys(one for card in cards for one in _values(card, kind)))
        if kind == "verdict":
            values.sort(key=list(VERDICTS).index)
        names = [split_unit(label(str(value), labels))[0] for value in values]
        if len(values) > 1:
            found.append({"kind": kind, "values": values, "names": names})
    return found


def _values(card: Mapping[str, Any], kind: str) -> list[Any]:
    if kind == "verdict":
        return [card["report"]["verdict"]]
    return [row[kind] for row in _headlines(card)]


def _marks(
    cards: Sequence[Mapping[str, Any]], filters: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """The values of each filter that the runs' answers are about, as their numbers."""
    return {
        f["kind"]: _places(f, [one for card in cards for one in _values(card, f["kind"])])
        for f in filters
    }


def _places(chosen: Mapping[str, Any], values: Sequence[Any]) -> str:
    found = (at for at, value in enumerate(chosen["values"], start=1) if value in values)
    return " ".join(map(str, found))


def _labels(cards: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {name: text for card in cards for name, text in card.get("labels", {}).items()}


def _forests(cards: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One forest per question, variant and column of segments that two runs estimate."""
    rows = [
        {
            **row,
            "run": card["name"],
            "where": card["segment"] or ALL,
            "column": _column(card),
            "variant": card.get("variant", ""),
        }
        for card in cards
        for row in _headlines(card)
    ]
    if not rows:
        return []
    frame = pd.DataFrame(rows)
    figures: list[dict[str, Any]] = []
    alike = ["variant", "model", "outcome", "exposure", "term"]
    for (variant, model, *_), part in frame.groupby(alike, sort=False, dropna=False):
        for column in dict.fromkeys(part.loc[part["column"] != "", "column"]):
            drawn = part[part["column"].isin(["", column])]
            if drawn["where"].nunique() < 2:
                continue
            what = ", ".join(filter(None, [str(model).replace("_", " "), str(variant)]))
            figure = _forest(drawn, f"forest_{len(figures) + 1}", what, _labels(cards))
            figures.append({**figure, "run": drawn["run"].iloc[0]})
    return figures


def _column(card: Mapping[str, Any]) -> str:
    """The column that a run's segment is a value of; empty for all units."""
    return str(card["segment"]).partition(" ")[0]


def _forest(part: pd.DataFrame, name: str, model: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """The runs' estimates, and below them the pooled one and the prediction."""
    level = float(part["conf_level"].iloc[0])
    first = part.iloc[0]
    what = _per_one_more(first, labels)
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
        f"{model[:1].upper()}{model[1:]}: {what}, estimated in each segment by itself; "
        f"{100 * level:g} % intervals. {said}{cut}"
    )
    lines = [
        f"{row['where']}: {number(row['estimate'], (row['conf_high'] - row['conf_low']) / 2)} "
        f"({interval(row['conf_low'], row['conf_high'])}{_rows_of(row)})"
        for _, row in drawn.iterrows()
    ]
    figure = draw_figure(ax, name, caption=caption, alt=f"{caption} {'; '.join(lines)}.")
    return {
        "svg": inline_svg(figure.svg, figure.alt),
        "caption": caption,
        "pooled": next((line for line in lines if line.startswith(POOLED)), ""),
    }


def _rows_of(row: pd.Series) -> str:
    n = row.get("n_obs")
    return "" if n is None or pd.isna(n) else f", {count(n)} rows"


def _pooled(part: pd.DataFrame, level: float) -> tuple[pd.DataFrame, str]:
    """Rows for the pooled estimate and the prediction, and what is said of them or why not."""
    segments = part[part["where"] != ALL].rename(columns={"where": "label"})
    try:
        result = pool_estimates(segments.drop(columns=["column", "run", "variant"]))
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
