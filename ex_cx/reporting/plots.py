"""Figures from tidy frames: each plot takes a frame and an optional Axes, and returns the Axes.

Nothing is computed, nothing is saved, no label is read as mathematics.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ex_cx.reporting.numbers import interval, label, number, split_unit
from ex_cx.reporting.theme import ACCENT, GREY, INK, LINE, PAPER, SOFT, WIDE, axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "finish_axes",
    "plot_coverage",
    "plot_forest",
    "plot_trajectories",
    "plot_within_scatter",
    "room",
    "shorten",
]

_MANY_UNITS, _MANY_BOXES = 60, 2000
_EXPLAINED = {
    "pooled": ("Pooled", "units and periods mixed"),
    "between": ("Between units", "averages of the units"),
    "within": ("Within units", "each unit against itself"),
    "first_difference": ("First difference", "change from the period before"),
    "correlated_random": ("Correlated random", "units' averages held constant"),
    "random": ("Random effects", "within and between, weighed"),
    "fama_macbeth": ("Fama-MacBeth", "units compared, by period"),
    "within_period": ("Within periods", "units of a period compared"),
    "no_effects": ("No effects", "units and periods mixed"),
}


def room(text: str, most: int) -> int:
    """How many of `most` letters' room the letters of `text` leave: wide scripts take double.

    >>> room("engagement", 12), room("従業員", 12)
    (12, 6)
    """
    wide = any(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return most // 2 if wide else most


def finish_axes(ax: Axes, xlabel: str, ylabel: str) -> Axes:
    """Lines at the heights only, no ticks, and axes named in plain text, shortened where long."""
    ax.grid(axis="y")
    ax.tick_params(length=0)
    ax.set_xlabel(shorten(xlabel, 80), parse_math=False)
    ax.set_ylabel(shorten(ylabel, 46), parse_math=False)
    return ax


def shorten(text: object, most: int = 34) -> str:
    r"""A label that fits on one line: at most `most` letters, the rest replaced by an ellipsis.

    Control signs and signs that turn the direction of writing are left out.

    >>> shorten("a very long label indeed", 12), shorten("two\nlines")
    ('a very long…', 'two lines')
    """
    plain = "".join(
        " " if letter.isspace() else letter
        for letter in str(text)
        if letter.isspace() or unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Cn")
    )
    flat = " ".join(plain.split())
    most = room(flat, most)
    return flat if len(flat) <= most else flat[: most - 1].rstrip() + "…"


def plot_forest(
    tidy: pd.DataFrame,
    *,
    group: str = "estimator",
    accent: str = "within",
    labels: Mapping[str, str] | None = None,
    xlabel: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Estimates with their intervals, one line a row, grouped by term.

    Parameters
    ----------
    tidy : columns term, estimate, conf_low, conf_high, conf_level and `group`.
    group : column that names the lines of a term; `accent` is the value drawn in the accent colour.
    labels : names of the terms for the reader.
    xlabel : what the axis shows, with its unit.
    """
    names = labels or {}
    terms = list(dict.fromkeys(tidy["term"]))
    several = len(terms) > 1
    rows: list[tuple[float, pd.Series]] = []
    heads: list[tuple[float, str]] = []
    y = 0.0
    for term in terms:
        if several:
            heads.append((y, label(term, names)))
            y -= 0.85
        for _, row in tidy[tidy["term"] == term].iterrows():
            rows.append((y, row))
            y -= 1.0
        y -= 0.25
    with style():
        ax = axes(ax, WIDE, 0.6 + 0.5 * -y)
        ax.axvline(0, color=INK, linewidth=1)
        for at, row in rows:
            _forest_row(ax, at, row, group, row[group] == accent)
        for at, text in heads:
            _left(ax, at, shorten(text, 60), INK, "bold")
        _frame_forest(ax, y, xlabel or f"{100 * tidy['conf_level'].iloc[0]:g} % intervals")
    return ax


def _forest_row(ax: Axes, y: float, row: pd.Series, group: str, is_answer: bool) -> None:
    colour = ACCENT if is_answer else GREY
    low, high = row["conf_low"], row["conf_high"]
    if np.isfinite([low, high]).all():
        ax.plot([low, high], [y, y], color=colour, linewidth=3, solid_capstyle="round")
    ax.plot([row["estimate"]], [y], "o", color=colour, markersize=7)
    head, sub = _EXPLAINED.get(str(row[group]), (shorten(str(row[group])), ""))
    _left(ax, y + (0.14 if sub else 0), head, colour if is_answer else INK, "bold")
    if sub:
        _left(ax, y - 0.26, sub, SOFT, "normal", size=8.5)
    right: dict[str, Any] = {
        "transform": ax.get_yaxis_transform(),
        "ha": "left",
        "parse_math": False,
    }
    shown = number(row["estimate"], (high - low) / 2)
    ax.text(1.03, y + 0.14, shown, color=colour if is_answer else INK, weight="bold", **right)
    ax.text(1.03, y - 0.26, interval(low, high), color=SOFT, size=8.5, **right)


def _left(ax: Axes, y: float, text: str, colour: str, weight: str, size: float = 10) -> None:
    ax.text(
        -0.03,
        y,
        text,
        transform=ax.get_yaxis_transform(),
        ha="right",
        va="center",
        color=colour,
        weight=weight,
        size=size,
        parse_math=False,
    )


def _frame_forest(ax: Axes, lowest: float, xlabel: str) -> None:
    ax.set_ylim(lowest + 0.35, 0.65)
    ax.set_yticks([])
    ax.margins(x=0.06)
    ax.grid(axis="x")
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.tick_params(length=0)
    ax.locator_params(axis="x", nbins=7)
    ax.set_xlabel(shorten(xlabel, 76), parse_math=False)


def plot_within_scatter(
    bins: pd.DataFrame,
    *,
    xlabel: str,
    ylabel: str,
    estimate: pd.Series | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Bin means of outcome against exposure, net of the effects and of all other terms.

    Parameters
    ----------
    bins : exposure, outcome (natural units), n (rows in the bin).
    estimate : a tidy row (estimate, conf_low, conf_high, conf_level), in outcome units per unit of
        exposure: the slope drawn through the mean of the rows, with its interval.
    """
    with style():
        ax = axes(ax, WIDE, 3.7)
        if estimate is not None and len(bins):
            _slope(ax, bins, estimate)
        ax.scatter(bins["exposure"], bins["outcome"], color=GREY, s=46, linewidth=0)
        ax.grid()
        ax.tick_params(length=0)
        ax.set_xlabel(shorten(xlabel, 80), parse_math=False)
        ax.set_ylabel(shorten(ylabel, 46), parse_math=False)
    return ax


def _slope(ax: Axes, bins: pd.DataFrame, row: pd.Series) -> None:
    """The line through the mean of the rows, the lines its interval allows, and the number."""
    x = bins["exposure"].to_numpy(float)
    centre = np.average(bins[["exposure", "outcome"]], axis=0, weights=bins["n"])
    ends = np.array([x.min(), centre[0], x.max()])
    slopes = [row["conf_low"], row["estimate"], row["conf_high"]]
    low, line, high = (centre[1] + slope * (ends - centre[0]) for slope in slopes)
    if np.isfinite([low, high]).all():
        ax.fill_between(ends, low, high, color=ACCENT, alpha=0.13, linewidth=0)
    ax.plot(ends, line, color=ACCENT, linewidth=2)
    half = (row["conf_high"] - row["conf_low"]) / 2
    falls = row["estimate"] < 0
    ax.text(
        0.98 if falls else 0.02,
        0.97,
        f"slope {number(row['estimate'], half)} "
        f"({100 * row['conf_level']:g} % interval {interval(row['conf_low'], row['conf_high'])})",
        transform=ax.transAxes,
        ha="right" if falls else "left",
        va="top",
        color=ACCENT,
        weight="bold",
        parse_math=False,
    )
    ax.margins(y=0.12)


def plot_coverage(coverage: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Which unit-periods are observed: one line a unit, one column a period.

    Parameters
    ----------
    coverage : unit, period, observed; one row for each cell of the grid.

    Notes
    -----
    More than 60 units are sorted by which periods they have, and drawn without their names.
    """
    wide = coverage.set_index(["unit", "period"])["observed"].unstack()  # noqa: PD010
    seen = wide.to_numpy(float, na_value=0.0) > 0.5
    few = len(seen) <= _MANY_UNITS
    if not few:
        seen = seen[np.lexsort(seen.T[::-1])[::-1]]
    with style():
        ax = axes(ax, WIDE, 0.9 + (0.15 * len(seen) if few else 4.2))
        _missing_cells(ax, seen)
        ax.set_xlim(0, seen.shape[1])
        ax.set_ylim(len(seen), 0)
        if few and seen.shape[1] <= _MANY_UNITS:
            ax.hlines(range(1, len(seen)), 0, seen.shape[1], color=PAPER, linewidth=0.8)
            ax.vlines(range(1, seen.shape[1]), 0, len(seen), color=PAPER, linewidth=0.8)
        _coverage_ticks(ax, wide, few)
    return ax


def _missing_cells(ax: Axes, seen: np.ndarray) -> None:
    """The grid in grey and what is missing on it in the accent colour, as one outline."""
    from matplotlib.patches import PathPatch, Rectangle
    from matplotlib.path import Path

    n, width = seen.shape
    ax.add_patch(Rectangle((0, 0), width, n, facecolor=LINE, linewidth=0))
    starts = np.flatnonzero(np.r_[True, (seen[1:] != seen[:-1]).any(axis=1)])
    boxes = []
    for top, bottom in zip(starts, [*starts[1:], n], strict=True):
        edges = np.flatnonzero(np.diff(np.r_[0, ~seen[top], 0].astype(int)))
        for left, right in edges.reshape(-1, 2):
            box = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
            boxes.append(Path(np.array(box, float), closed=True))
    if boxes:
        outline = PathPatch(Path.make_compound_path(*boxes), facecolor=ACCENT, linewidth=0)
        outline.set_rasterized(len(boxes) > _MANY_BOXES)
        ax.add_patch(outline)


def _coverage_ticks(ax: Axes, wide: pd.DataFrame, few: bool) -> None:
    step = -(-len(wide.columns) // 8)
    at = np.arange(0, len(wide.columns), step)
    texts = [shorten(name, 10) for name in wide.columns[::step]]
    ax.set_xticks(at + 0.5, texts, rotation=0, parse_math=False)
    if few:
        texts = [shorten(name, 22) for name in wide.index]
        ax.set_yticks(np.arange(len(wide)) + 0.5, texts, size=8, parse_math=False)
        ax.set_ylabel("")
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{len(wide):,} units, sorted by the periods they have")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("Period. Grey: every column of the study observed; blue: at least one missing")


def plot_trajectories(
    frame: pd.DataFrame,
    *,
    unit: str,
    period: str,
    value: str,
    ylabel: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Every unit's course in grey, and the mean of the units in the accent colour.

    A line breaks where its unit lacks a period that others have; periods lie at their place in the
    calendar. Of more than 60 units, 60 from all along their order are drawn; the mean is of all.
    """
    import seaborn as sns
    from matplotlib.collections import LineCollection

    rows = frame[[unit, period, value]].dropna()
    ticks = _calendar(rows[period])
    rows = rows.assign(_x=rows[period].map(ticks).astype(float))
    units = np.sort(rows[unit].unique())
    places = np.linspace(0, max(len(units) - 1, 0), _MANY_UNITS).round().astype(int)
    drawn = units[np.unique(places)[: len(units)]]
    lines, alone = _courses(
        rows[rows[unit].isin(drawn)], unit, value, np.array(sorted(ticks.values()), float)
    )
    with style():
        ax = axes(ax, WIDE, 3.5)
        ax.add_collection(LineCollection(lines, colors=GREY, linewidths=0.8, alpha=0.4))
        ax.plot(*alone.T, "o", color=GREY, markersize=2, markeredgewidth=0, alpha=0.4)
        sns.lineplot(
            data=rows, x="_x", y=value, estimator="mean", errorbar=None, color=ACCENT,
            linewidth=2.4, ax=ax,
        )  # fmt: skip
        ax.autoscale_view()
        shown = list(ticks)[:: -(-len(ticks) // 8) or 1]
        texts = [shorten(str(name), 10) for name in shown]
        ax.set_xticks([ticks[name] for name in shown], texts, parse_math=False)
        ax.grid(axis="y")
        ax.tick_params(length=0)
        each = f"{len(drawn)} of {len(units):,} units" if len(drawn) < len(units) else "each unit"
        ax.set_xlabel(f"Period. Grey: {each}; blue: mean of all units observed")
        ax.set_ylabel(shorten(ylabel or value, 40), parse_math=False)
    return ax


def _calendar(periods: pd.Series) -> dict[Any, int]:
    """Each period that occurs, in order, and its place in the calendar."""
    names = sorted(periods.unique())
    return {name: int(getattr(name, "ordinal", name)) for name in names}


def _courses(
    rows: pd.DataFrame, unit: str, value: str, calendar: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Unbroken stretches of each unit as (m, 2) arrays, and the points that stand alone."""
    rows = rows.sort_values([unit, "_x"])
    wave = np.searchsorted(calendar, rows["_x"])
    breaks = (np.diff(wave) != 1) | (rows[unit].to_numpy()[1:] != rows[unit].to_numpy()[:-1])
    parts = np.split(rows[["_x", value]].to_numpy(float), np.flatnonzero(breaks) + 1)
    alone = [part for part in parts if len(part) == 1]
    points = np.concatenate(alone) if alone else np.empty((0, 2))
    return [part for part in parts if len(part) > 1], points


def axis_label(term: str, labels: Mapping[str, str], suffix: str = "") -> str:
    """`Words (unit)` of a column, with a remark between.

    >>> axis_label("y", {"y": "NPS (points)"}, ", net of effects")
    'NPS, net of effects (points)'
    """
    words, unit = split_unit(label(term, labels))
    return f"{words}{suffix}" + (f" ({unit})" if unit else "")
