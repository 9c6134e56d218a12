"""The path diagram of a mediation: boxes, arrows, and an interval on every edge."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ex_cx.reporting.numbers import interval, label, number, split_unit
from ex_cx.reporting.plots import shorten
from ex_cx.reporting.theme import ACCENT, GREY, INK, LINE, PAPER, SOFT, WASH, axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_paths"]

_WIDTH, _BOX, _HIGH = 13.6, 2.7, 1.3
_LEFT, _RIGHT = (_WIDTH - _BOX) / 2, (_WIDTH + _BOX) / 2
_STEP, _FIRST = 1.95, 2.1
_ALONG = 0.5  # how far along its arrow a label sits


def plot_paths(
    tidy: pd.DataFrame,
    *,
    exposure: str,
    outcome: str,
    labels: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Exposure, mediators and outcome with a, b, direct and indirect and their intervals.

    Parameters
    ----------
    tidy : a mediation's tidy frame: a:<m>, b:<m>, indirect:<m>, direct, indirect, total.
    exposure, outcome : columns, named by `labels` for the reader.

    Notes
    -----
    An arrow is solid and in the accent colour where its interval excludes zero, dashed and grey
    where it does not.
    """
    names = labels or {}
    rows = tidy.set_index("term")
    mediators = [term[2:] for term in tidy["term"] if str(term).startswith("a:")]
    top = _FIRST + _STEP * (len(mediators) - 1)
    with style():
        ax = axes(ax, 8.6, 0.56 * (top + 2.6))
        ax.set_xlim(-0.1, _WIDTH + 0.1)
        ax.set_ylim(-1.45, top + 0.75)
        ax.set_axis_off()
        for i, name in enumerate(mediators):
            _mediator(ax, _FIRST + _STEP * i, name, rows, names)
        _arrow(ax, (_BOX, -0.2), (_WIDTH - _BOX, -0.2), rows.loc["direct"])
        _edge_text(ax, _WIDTH / 2, -0.2, "direct", rows.loc["direct"])
        _box(ax, 0, 0, label(exposure, names))
        _box(ax, _WIDTH - _BOX, 0, label(outcome, names))
        _whole(ax, rows, len(mediators))
    return ax


def _mediator(ax: Axes, y: float, name: str, rows: pd.DataFrame, names: Mapping[str, str]) -> None:
    a, b, through = (rows.loc[f"{kind}:{name}"] for kind in ("a", "b", "indirect"))
    low = 0.15
    _arrow(ax, (_BOX, low), (_LEFT, y), a)
    _arrow(ax, (_RIGHT, y), (_WIDTH - _BOX, low), b)
    rise = low + _ALONG * (y - low)
    _edge_text(ax, _BOX + _ALONG * (_LEFT - _BOX), rise, "a", a)
    _edge_text(ax, _WIDTH - _BOX - _ALONG * (_LEFT - _BOX), rise, "b", b)
    _box(ax, _LEFT, y, label(name, names), below=through)


def _whole(ax: Axes, rows: pd.DataFrame, n_mediators: int) -> None:
    written = []
    for term in ("indirect", "total"):
        row = rows.loc[term]
        name = "all indirect" if term == "indirect" and n_mediators > 1 else term
        written.append(f"{name} {_estimate(row)} ({interval(row['conf_low'], row['conf_high'])})")
    text = "   ·   ".join(written)
    ax.text(_WIDTH / 2, -1.2, text, ha="center", va="center", color=INK, size=9.5)


def _excludes_zero(row: pd.Series) -> bool:
    return bool(row["conf_low"] > 0 or row["conf_high"] < 0)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], row: pd.Series) -> None:
    from matplotlib.patches import FancyArrowPatch

    clear = _excludes_zero(row)
    ax.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=13,
            shrinkA=0,
            shrinkB=3,
            linewidth=2.2 if clear else 1.6,
            linestyle="solid" if clear else (0, (4, 3)),
            color=ACCENT if clear else GREY,
            zorder=1,
        )
    )


def _box(ax: Axes, x: float, y: float, text: str, *, below: pd.Series | None = None) -> None:
    """A named box with its unit, or with the indirect estimate `below` that runs through it."""
    from matplotlib.patches import FancyBboxPatch

    words, unit = split_unit(text)
    ax.add_patch(
        FancyBboxPatch(
            (x, y - _HIGH / 2),
            _BOX,
            _HIGH,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=WASH,
            edgecolor=LINE,
            linewidth=1.4,
            zorder=5,
        )
    )
    place: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 6, "parse_math": False}
    colour = SOFT if below is None or not _excludes_zero(below) else ACCENT
    bold = [(line, "bold", 9.0, INK) for line in textwrap.wrap(shorten(words, 44), 22)[:2]]
    plain = [unit] if unit and below is None else []
    if below is not None:
        plain = [f"indirect {_estimate(below)}", interval(below["conf_low"], below["conf_high"])]
    lines = [*bold, *((shorten(line, 30), "normal", 8.5, colour) for line in plain)]
    spots = 0.29 * (np.arange(len(lines))[::-1] - (len(lines) - 1) / 2)
    for spot, (line, weight, size, ink) in zip(spots, lines, strict=True):
        ax.text(x + _BOX / 2, y + spot, line, weight=weight, size=size, color=ink, **place)


def _estimate(row: pd.Series) -> str:
    half = (row["conf_high"] - row["conf_low"]) / 2
    return number(row["estimate"], half if np.isfinite(half) else None)


def _edge_text(ax: Axes, x: float, y: float, name: str, row: pd.Series) -> None:
    """`name = estimate` and its interval below, on a patch of paper that hides the arrow."""
    colour = ACCENT if _excludes_zero(row) else INK
    paper = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}
    shown = f"{name} = {_estimate(row)}"
    span = interval(row["conf_low"], row["conf_high"])
    place: dict[str, Any] = {"ha": "center", "va": "center"}
    ax.text(x, y, f"{shown}\n{span}", color=PAPER, size=8.5, zorder=3, bbox=paper, **place)
    ax.text(x, y + 0.19, shown, color=colour, weight="bold", size=9.5, zorder=4, **place)
    ax.text(x, y - 0.2, span, color=SOFT, size=8.5, zorder=4, **place)
