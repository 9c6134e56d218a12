"""The path diagram of a mediation: boxes, arrows, and an interval on every edge."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ex_cx.reporting.numbers import interval, label, number, split_unit
from ex_cx.reporting.plots import room, shorten
from ex_cx.reporting.tables import by_term
from ex_cx.reporting.theme import ACCENT, GREY, INK, LINE, SOFT, WASH, axes, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_paths"]

# Points on a canvas that is as wide as every other figure.
_WIDTH = 547.0
_BOX, _MIDDLE = 122.0, 150.0  # widths: of the boxes at the ends, of a mediator's box
_LOW, _HIGH = 52.0, 66.0  # their heights
_RISE, _STEP = 98.0, 80.0  # from the ends to the first mediator, from one mediator to the next
_ENTER, _LEAVE = (_WIDTH - _MIDDLE) / 2, (_WIDTH + _MIDDLE) / 2


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
    An arrow is solid where its interval excludes zero, dashed where it does not. What runs through
    the mediators, the answer, is in the accent colour. The first mediator is drawn on top.
    """
    names = labels or {}
    rows = by_term(tidy)
    mediators = [term[2:] for term in tidy["term"] if str(term).startswith("a:")]
    top = _RISE + _STEP * (len(mediators) - 1) + _HIGH / 2
    with style():
        ax = axes(ax, (_WIDTH + 8) / 72, (top + 88) / 72)
        ax.set_xlim(-2, _WIDTH + 2)
        ax.set_ylim(-82, top + 2)
        ax.set_axis_off()
        for at, name in enumerate(mediators):
            _mediator(ax, name, at, len(mediators), rows, names)
        _arrow(ax, [(_BOX, 0), (_WIDTH - _BOX, 0)], rows["direct"])
        _edge_text(ax, _WIDTH / 2, 0, "direct", rows["direct"])
        _box(ax, 0, 0, _BOX, _LOW, _named(label(exposure, names), 15))
        _box(ax, _WIDTH - _BOX, 0, _BOX, _LOW, _named(label(outcome, names), 15))
        _whole(ax, rows, len(mediators))
    return ax


def _mediator(
    ax: Axes, name: str, at: int, n: int, rows: Mapping[str, pd.Series], names: Mapping[str, str]
) -> None:
    """One mediator's box, the arrow into it and the arrow on to the outcome.

    The arrows leave and reach the ends side by side, the topmost outermost, so none cross.
    """
    a, b, through = (rows[f"{kind}:{name}"] for kind in ("a", "b", "indirect"))
    y = _RISE + _STEP * (n - 1 - at)
    spread = np.linspace(0.22, 0.72, n)[at] if n > 1 else 0.5
    up, down = _BOX * spread, _WIDTH - _BOX * spread
    _arrow(ax, [(up, _LOW / 2), (up, y), (_ENTER, y)], a)
    _arrow(ax, [(_LEAVE, y), (down, y), (down, _LOW / 2)], b)
    inner = _BOX * (0.72 if n > 1 else 0.5)
    _edge_text(ax, (inner + _ENTER) / 2 - 2, y, "a", a)
    _edge_text(ax, (_WIDTH - inner + _LEAVE) / 2 + 2, y, "b", b)
    shown = [
        (f"indirect {_estimate(through)}", "bold", 9.5, ACCENT),
        (_span(through), "normal", 8.5, SOFT),
    ]
    _box(ax, _ENTER, y, _MIDDLE, _HIGH, [*_named(label(name, names), 20, unit=False), *shown])


def _whole(ax: Axes, rows: Mapping[str, pd.Series], n_mediators: int) -> None:
    """The sums below the diagram: all that runs through mediators, and the total."""
    indirect = "all indirect" if n_mediators > 1 else "indirect"
    for x, term, name, ink in ((0.3, "indirect", indirect, ACCENT), (0.7, "total", "total", INK)):
        row = rows[term]
        place: dict[str, Any] = {"ha": "center", "va": "center", "parse_math": False}
        text = f"{name} = {_estimate(row)}"
        ax.text(_WIDTH * x, -56, text, color=ink, weight="bold", size=10, **place)
        ax.text(_WIDTH * x, -71, _span(row), color=SOFT, size=8.5, **place)


def _arrow(ax: Axes, corners: list[tuple[float, float]], row: pd.Series) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    clear = bool(row["conf_low"] > 0 or row["conf_high"] < 0)
    ax.add_patch(
        FancyArrowPatch(
            path=Path(*_rounded(np.array(corners))),
            arrowstyle="-|>,head_length=5,head_width=2.6",
            linewidth=1.8,
            linestyle="solid" if clear else (0, (4, 3)),
            facecolor=GREY,
            edgecolor=GREY,
            zorder=1,
        )
    )


def _rounded(corners: np.ndarray, radius: float = 9.0) -> tuple[np.ndarray, list[int]]:
    """Vertices and codes of a line whose bends are rounded."""
    from matplotlib.path import Path

    points, codes = [corners[0]], [int(Path.MOVETO)]
    for before, here, after in zip(corners[:-2], corners[1:-1], corners[2:], strict=True):
        come = (here - before) / np.linalg.norm(here - before)
        go = (after - here) / np.linalg.norm(after - here)
        points += [here - radius * come, here, here + radius * go]
        codes += [int(Path.LINETO), int(Path.CURVE3), int(Path.CURVE3)]
    return np.array([*points, corners[-1]]), [*codes, int(Path.LINETO)]


def _named(text: str, most: int, *, unit: bool = True) -> list[tuple[str, str, float, str]]:
    """A box's name in at most two bold lines, and the unit that it is measured in."""
    words, measured = split_unit(text)
    lines = textwrap.wrap(shorten(words, 6 * most), room(words, most)) or [""]
    if len(lines) > 2:
        lines = [lines[0], lines[1][: room(words, most) - 1].rstrip("….") + "…"]
    shown = [(line, "bold", 9.5, INK) for line in lines]
    return [*shown, (shorten(measured, 22), "normal", 8.5, SOFT)] if unit and measured else shown


def _box(
    ax: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    lines: list[tuple[str, str, float, str]],
) -> None:
    """A box with its lines of text, each with weight, size and colour."""
    from matplotlib.patches import FancyBboxPatch

    ax.add_patch(
        FancyBboxPatch(
            (x, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=6",
            facecolor=WASH,
            edgecolor=LINE,
            linewidth=1.2,
            zorder=5,
        )
    )
    place: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 6, "parse_math": False}
    spots = 14.5 * (np.arange(len(lines))[::-1] - (len(lines) - 1) / 2)
    for spot, (line, weight, size, ink) in zip(spots, lines, strict=True):
        ax.text(x + width / 2, y + spot, line, weight=weight, size=size, color=ink, **place)


def _estimate(row: pd.Series) -> str:
    half = (row["conf_high"] - row["conf_low"]) / 2
    return number(row["estimate"], half if np.isfinite(half) else None)


def _span(row: pd.Series) -> str:
    return interval(row["conf_low"], row["conf_high"])


def _edge_text(ax: Axes, x: float, y: float, name: str, row: pd.Series) -> None:
    """`name = estimate` above an arrow, its interval below."""
    place: dict[str, Any] = {"ha": "center", "parse_math": False}
    text = f"{name} = {_estimate(row)}"
    ax.text(x, y + 5, text, color=INK, weight="bold", size=10, va="bottom", **place)
    ax.text(x, y - 6, _span(row), color=SOFT, size=8.5, va="top", **place)
