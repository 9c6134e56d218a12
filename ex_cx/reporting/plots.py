"""Figures from tidy frames: each plot takes a frame and an optional Axes, and returns the Axes.

Nothing is computed, nothing is saved, no label is read as mathematics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ex_cx.reporting.numbers import interval, label, number, split_unit
from ex_cx.reporting.theme import ACCENT, GREY, INK, LINE, SOFT, axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_coverage", "plot_forest", "plot_trajectories", "plot_within_scatter", "shorten"]

_MANY_UNITS = 60
_EXPLAINED = {
    "pooled": ("Pooled", "units and periods mixed"),
    "between": ("Between units", "averages of the units"),
    "within": ("Within units", "each unit against itself"),
    "first_difference": ("First difference", "change from the period before"),
}


def shorten(text: str, most: int = 34) -> str:
    """A label that fits: at most `most` letters, the rest replaced by an ellipsis.

    >>> shorten("a very long label indeed", 12)
    'a very long…'
    """
    flat = " ".join(str(text).split())
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
        ax = axes(ax, 7.4, 0.55 + 0.46 * -y)
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
    right = {"transform": ax.get_yaxis_transform(), "ha": "left", "parse_math": False}
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
    ax.set_xlabel(shorten(xlabel, 90), parse_math=False)


def plot_within_scatter(
    bins: pd.DataFrame,
    *,
    xlabel: str,
    ylabel: str,
    slope: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Bin means of outcome against exposure, net of the effects and of all other terms.

    Parameters
    ----------
    bins : exposure, outcome (natural units), n (rows in the bin).
    slope : of the line drawn through the mean of the rows, outcome units per unit of exposure.
    """
    import seaborn as sns

    with style():
        ax = axes(ax, 6.4, 3.6)
        if slope is not None:
            x = bins["exposure"].to_numpy()
            centre = np.average(bins[["exposure", "outcome"]], axis=0, weights=bins["n"])
            ends = np.array([x.min(), x.max()])
            line = centre[1] + slope * (ends - centre[0])
            ax.plot(ends, line, color=ACCENT, linewidth=2)
        sns.scatterplot(
            data=bins, x="exposure", y="outcome", color=GREY, s=46, linewidth=0, ax=ax, legend=False
        )
        ax.grid()
        ax.tick_params(length=0)
        ax.set_xlabel(shorten(xlabel, 80), parse_math=False)
        ax.set_ylabel(shorten(ylabel, 46), parse_math=False)
    return ax


def plot_coverage(coverage: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Which unit-periods are observed: one line a unit, one column a period.

    Parameters
    ----------
    coverage : unit, period, observed; one row for each cell of the grid.
    """
    import seaborn as sns
    from matplotlib.colors import ListedColormap

    wide = coverage.set_index(["unit", "period"])["observed"].unstack().astype(float)  # noqa: PD010
    few = len(wide) <= _MANY_UNITS
    with style():
        ax = axes(ax, 7.2, 0.9 + (0.155 * len(wide) if few else 4.2))
        sns.heatmap(
            wide,
            cmap=ListedColormap([ACCENT, LINE]),
            vmin=0,
            vmax=1,
            cbar=False,
            linewidths=0.6 if few else 0,
            linecolor="none",
            rasterized=True,
            yticklabels=False,
            xticklabels=False,
            ax=ax,
        )
        _coverage_ticks(ax, wide, few)
    return ax


def _coverage_ticks(ax: Axes, wide: pd.DataFrame, few: bool) -> None:
    step = max(len(wide.columns) // 8, 1)
    at = np.arange(0, len(wide.columns), step)
    ax.set_xticks(at + 0.5, [shorten(wide.columns[i], 10) for i in at], rotation=0)
    if few:
        texts = [shorten(name, 22) for name in wide.index]
        ax.set_yticks(np.arange(len(wide)) + 0.5, texts, size=7, parse_math=False)
        ax.set_ylabel("")
    else:
        ax.set_ylabel(f"{len(wide):,} units")
    ax.tick_params(length=0)
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
    """Every unit's course in grey, and the mean of the units in the accent colour."""
    import seaborn as sns
    from matplotlib.collections import LineCollection

    rows = frame[[unit, period, value]].dropna().sort_values([unit, period])
    ticks = {name: i for i, name in enumerate(sorted(frame[period].unique()))}
    rows = rows.assign(_x=rows[period].map(ticks).astype(float))
    lines = [part[["_x", value]].to_numpy(float) for _, part in rows.groupby(unit, sort=True)]
    with style():
        ax = axes(ax, 7.2, 3.4)
        many = len(lines) > _MANY_UNITS * 3
        ax.add_collection(
            LineCollection(lines, colors=GREY, alpha=0.35, linewidths=0.7, rasterized=many)
        )
        sns.lineplot(
            data=rows, x="_x", y=value, estimator="mean", errorbar=None, color=ACCENT,
            linewidth=2.4, ax=ax,
        )  # fmt: skip
        ax.autoscale_view()
        step = max(len(ticks) // 8, 1)
        shown = list(ticks)[::step]
        ax.set_xticks([ticks[name] for name in shown], [shorten(str(name), 10) for name in shown])
        ax.grid(axis="y")
        ax.tick_params(length=0)
        ax.set_xlabel("Period. Grey: each unit; blue: mean of the units observed")
        ax.set_ylabel(shorten(ylabel or value, 40), parse_math=False)
    return ax


def axis_label(term: str, labels: Mapping[str, str], suffix: str = "") -> str:
    """`Words (unit)` of a column, with a remark between.

    >>> axis_label("y", {"y": "NPS (points)"}, ", net of effects")
    'NPS, net of effects (points)'
    """
    words, unit = split_unit(label(term, labels))
    return f"{words}{suffix}" + (f" ({unit})" if unit else "")
