"""The path diagram of a mediation: boxes, arrows, and an interval on every edge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ex_cx.reporting.numbers import interval, label, number, split_unit
from ex_cx.reporting.plots import shorten
from ex_cx.reporting.theme import ACCENT, GREY, INK, LINE, PAPER, SOFT, WASH, axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_paths"]

_WIDTH, _BOX, _HIGH = 10.0, 2.5, 1.0
_STEP = 1.75


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
    height = _STEP * len(mediators) + 2.6
    with style():
        ax = axes(ax, 7.6, 0.62 * height + 0.25)
        ax.set_xlim(-0.1, _WIDTH + 0.1)
        ax.set_ylim(-1.35, height - 1.2)
        ax.set_axis_off()
        right = _WIDTH - _BOX
        _arrow(ax, (_BOX, 0), (right, 0), rows.loc["direct"])
        _edge_text(ax, _WIDTH / 2, -0.1, "direct", rows.loc["direct"], "top")
        for i, name in enumerate(mediators):
            _mediator(ax, i, name, rows, names)
        _box(ax, 0, 0, label(exposure, names))
        _box(ax, right, 0, label(outcome, names))
        _whole(ax, rows, len(mediators))
    return ax


def _mediator(ax: Axes, i: int, name: str, rows: pd.DataFrame, names: Mapping[str, str]) -> None:
    y = _STEP * (i + 1) + 0.35
    left, right = (_WIDTH - _BOX) / 2, (_WIDTH + _BOX) / 2
    start_x = _BOX * (0.75 - 0.16 * i)
    _arrow(ax, (start_x, _HIGH / 2), (left, y), rows.loc[f"a:{name}"])
    _arrow(ax, (right, y), (_WIDTH - start_x, _HIGH / 2), rows.loc[f"b:{name}"])
    _edge_text(ax, left - 0.15, y + 0.02, "a", rows.loc[f"a:{name}"], "bottom", "right")
    _edge_text(ax, right + 0.15, y + 0.02, "b", rows.loc[f"b:{name}"], "bottom", "left")
    _box(ax, left, y, label(name, names))
    _edge_text(ax, _WIDTH / 2, y - 0.56, "indirect", rows.loc[f"indirect:{name}"], "top")


def _whole(ax: Axes, rows: pd.DataFrame, n_mediators: int) -> None:
    parts = ["total"] if n_mediators == 1 else ["indirect", "total"]
    written = []
    for term in parts:
        row = rows.loc[term]
        half = (row["conf_high"] - row["conf_low"]) / 2
        span = interval(row["conf_low"], row["conf_high"])
        name = "all indirect" if term == "indirect" else term
        written.append(f"{name} {number(row['estimate'], half)} ({span})")
    ax.text(
        _WIDTH / 2, -1.2, "     ".join(written), ha="center", va="center", color=INK, size=9.5
    )


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


def _box(ax: Axes, x: float, y: float, text: str) -> None:
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
            zorder=2,
        )
    )
    middle = {"ha": "center", "va": "center", "zorder": 3, "parse_math": False}
    ax.text(
        x + _BOX / 2, y + (0.14 if unit else 0), shorten(words, 22), weight="bold", size=9.5, **middle
    )
    if unit:
        ax.text(x + _BOX / 2, y - 0.24, shorten(unit, 26), color=SOFT, size=8.5, **middle)


def _edge_text(
    ax: Axes, x: float, y: float, name: str, row: pd.Series, va: str, ha: str = "center"
) -> None:
    """`name = estimate` and its interval on the line below."""
    clear = _excludes_zero(row)
    estimate, low, high = row["estimate"], row["conf_low"], row["conf_high"]
    shown = number(estimate, (high - low) / 2) if np.isfinite(high - low) else number(estimate)
    first, second = (0.0, -0.36) if va == "top" else (0.36, 0.0)
    place = {"ha": ha, "va": va, "zorder": 4, "bbox": {"color": PAPER, "alpha": 0.0, "pad": 1}}
    ax.text(
        x, y + first, f"{name} = {shown}", color=ACCENT if clear else INK, weight="bold", size=9.5,
        **place,
    )  # fmt: skip
    ax.text(x, y + second, interval(low, high), color=SOFT, size=8.5, **place)
